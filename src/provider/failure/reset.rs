//! Finds out when a used-up limit comes back: from members of an error body and from its text.
//!
//! Servers tell it as a number of seconds (`resets_in_seconds`), as a moment (`resets_at`), as a duration in a sentence
//! (`try again in 7m12.5s`) or as a date in one (`you will regain access on 2026-12-01 at 00:00 UTC`).

use std::time::Duration;

use jiff::{Timestamp, fmt::strtime::BrokenDownTime, tz::TimeZone};
use serde_json::Value;

use crate::provider::limits::{self, WAIT_MAX};

/// Deepest object below an error that is searched for such members: details, their metadata, the headers in that.
const DEPTH_MAX: usize = 3;

/// Most members searched in each object.
const MEMBERS_MAX: usize = 64;

/// Longest text behind `again in` that is read as a wait, in bytes.
const TEXT_BYTES_MAX: usize = 64;

const DAY: f64 = 24.0 * 3600.0;

/// The longest wait that members of an error tell: `resets_in_seconds` and `resets_at` of OpenAI's plans, `retryDelay` and
/// `quotaResetDelay` of Google's details, `X-RateLimit-Reset` in the metadata of OpenRouter (documentation and issue threads,
/// 2026-11). `None` where there is none.
pub(super) fn in_members(value: &Value, now: Timestamp) -> Option<Duration> {
    find(value, now, DEPTH_MAX)
}

fn find(value: &Value, now: Timestamp, depth: usize) -> Option<Duration> {
    let Value::Object(members) = value else { return None };
    let waits = members.iter().take(MEMBERS_MAX).map(|(key, value)| match value {
        Value::Number(_) | Value::String(_) => wait_of(key, value, now),
        Value::Object(_) if depth > 0 && is_detail(key) => find(value, now, depth - 1),
        Value::Array(values) if depth > 0 && is_detail(key) => {
            values.iter().take(8).filter_map(|value| find(value, now, depth - 1)).max()
        }
        _ => None,
    });
    waits.flatten().max()
}

fn is_detail(key: &str) -> bool {
    matches!(key, "details" | "metadata" | "headers" | "rate_limit" | "rateLimit" | "limits")
}

/// The wait that a member of this name tells.
fn wait_of(key: &str, value: &Value, now: Timestamp) -> Option<Duration> {
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if !["reset", "retryafter", "retrydelay", "retryin"].iter().any(|part| key.contains(part)) {
        return None;
    }
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        value => value.to_string(),
    };
    let scale = match key.as_str() {
        key if key.ends_with("ms") || key.ends_with("millis") || key.ends_with("milliseconds") => 0.001,
        key if key.ends_with("minutes") => 60.0,
        key if key.ends_with("hours") => 3600.0,
        _ => return limits::wait(&text, Some(now)).or_else(|| date(&text, now)),
    };
    bounded(text.parse::<f64>().ok()? * scale)
}

/// The wait that a message tells, such as `try again in 1.2s` (OpenAI), `in 7m12.5s` (Groq), `retry in 34.07s` (Gemini), `retry
/// after 26 seconds` (Azure), `resets in 3 days`, `your limit will reset at 2026-10-12 19:07:40` (Z.AI). Dates without a zone are
/// read as UTC.
pub(super) fn in_text(message: &str, now: Timestamp) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let behind = |phrase: &&str| {
        let at = lower.find(*phrase)? + phrase.len();
        let rest = message.get(at..)?;
        let mut end = rest.len().min(TEXT_BYTES_MAX);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        Some(&rest[..end])
    };
    let lengths = [
        "again in ",
        "retry in ",
        "retry after ",
        "again after ",
        "resets in ",
        "reset in ",
        "reset after ",
        "resets after ",
        "available in ",
        "refreshed in ",
        "refresh in ",
        "renews in ",
    ];
    let moments = [
        "again at ",
        "again on ",
        "again after ",
        "reset at ",
        "reset at: ",
        "resets at ",
        "resets at: ",
        "reset on ",
        "resets on ",
        "access on ",
        "access at ",
        "available at ",
        "available on ",
        "refreshed on ",
        "renews on ",
        "until ",
    ];
    let length = lengths.iter().filter_map(behind).find_map(length);
    length.or_else(|| moments.iter().filter_map(behind).find_map(|text| date(text, now)))
}

/// The duration that a text begins with: `7m12.5s`, `26 seconds`, `3 days and 4 hours`; a number without a unit counts seconds.
fn length(text: &str) -> Option<Duration> {
    let (mut seconds, mut found) = (0.0, false);
    let mut rest = text.trim_start();
    loop {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        // A full stop behind the number ends the sentence.
        let Ok(number) = rest[..digits].trim_end_matches('.').parse::<f64>() else { break };
        let behind = rest[digits..].trim_start();
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let unit = match behind[..letters].to_ascii_lowercase().as_str() {
            "ms" | "millisecond" | "milliseconds" => 0.001,
            "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
            "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => DAY,
            "w" | "week" | "weeks" => 7.0 * DAY,
            "month" | "months" => 30.0 * DAY,
            _ if !found => return bounded(number),
            _ => break,
        };
        (seconds, found) = (seconds + number * unit, true);
        rest = behind[letters..].trim_start_matches([' ', ',']);
        rest = rest.strip_prefix("and ").unwrap_or(rest);
    }
    found.then(|| bounded(seconds)).flatten()
}

/// The time until the date that a text begins with.
fn date(text: &str, now: Timestamp) -> Option<Duration> {
    // `Dec 3rd, 2026` is `Dec 3 2026`; what stands between day and hour says nothing.
    let words = text.split_whitespace().map(|word| {
        let word = word.trim_matches([',', '(', ')', '"', '\'']).trim_end_matches(['.', ';']);
        match word.find(|c: char| !c.is_ascii_digit()) {
            Some(end) if end > 0 && matches!(&word[end..], "st" | "nd" | "rd" | "th") => &word[..end],
            _ => word,
        }
    });
    let text = words.filter(|word| !matches!(*word, "at" | "")).collect::<Vec<_>>().join(" ");
    let formats = [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%d",
        "%b %d %Y %I:%M %p",
        "%b %d %Y %H:%M",
        "%b %d %Y",
        "%B %d %Y %I:%M %p",
        "%B %d %Y %H:%M",
        "%B %d %Y",
        "%d %b %Y",
        "%d %B %Y",
    ];
    let whole = text.split(' ').next().and_then(|word| word.parse::<Timestamp>().ok());
    let moment = whole.or_else(|| {
        formats.iter().find_map(|format| {
            let (parsed, _) = BrokenDownTime::parse_prefix(format, &text).ok()?;
            let day = parsed.to_date().ok()?;
            let time = parsed.to_time().unwrap_or_default();
            Some(day.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp())
        })
    })?;
    bounded(moment.duration_since(now).as_secs_f64())
}

/// When the limit comes back, for people; `None` when that cannot be written.
pub(super) fn told(wait: Duration, now: Timestamp) -> Option<String> {
    let moment = now.checked_add(wait).ok()?;
    let hours = wait.as_secs().div_ceil(3600);
    let minutes = wait.as_secs().div_ceil(60);
    let length = match (hours, minutes) {
        (48.., _) => format!("{} days", hours.div_ceil(24)),
        (2.., _) => format!("{hours} hours"),
        (_, 2..) => format!("{minutes} minutes"),
        _ => "a minute".to_owned(),
    };
    Some(format!("the limit resets in {length}, at {}", moment.strftime("%Y-%m-%d %H:%M UTC")))
}

fn bounded(seconds: f64) -> Option<Duration> {
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 2026-11-30 20:00 UTC
    fn now() -> Timestamp {
        "2026-11-30T20:00:00Z".parse().unwrap()
    }

    const HOUR: u64 = 3600;

    #[test]
    fn the_reset_is_found_in_every_member() {
        let table = [
            (json!({"resets_in_seconds": 259_200}), Some(72 * HOUR)),
            (json!({"resets_at": 1_796_155_200}), Some(1_796_155_200 - now().as_second() as u64)),
            (json!({"reset_at": "2026-12-01T20:00:00Z"}), Some(24 * HOUR)),
            (json!({"reset_at": "2026-12-01 20:00:00"}), Some(24 * HOUR)),
            (json!({"retry_after": 30}), Some(30)),
            (json!({"retry_after_ms": "90000"}), Some(90)),
            (json!({"retryAfterSeconds": 12.0}), Some(12)),
            (json!({"details": [{"@type": "x"}, {"retryDelay": "34s"}]}), Some(34)),
            (json!({"details": [{"metadata": {"quotaResetDelay": "2h0m0s"}}]}), Some(2 * HOUR)),
            (
                json!({"metadata": {"headers": {"X-RateLimit-Reset": "1796155200000"}}}),
                Some(1_796_155_200 - now().as_second() as u64),
            ),
            (json!({"retryable": true, "message": "reset me", "presets": []}), None),
            (json!({"resets_at": "soon", "resets_in_seconds": -5}), None),
        ];
        for (value, seconds) in table {
            assert_eq!(in_members(&value, now()).map(|wait| wait.as_secs()), seconds, "{value}");
        }
    }

    #[test]
    fn the_reset_is_found_in_sentences() {
        let table = [
            ("Please try again in 1.2s. Visit us.", Some(1)),
            ("Please try again in 7m12.5s.", Some(432)),
            ("Please retry after 26 seconds. To increase it, ask.", Some(26)),
            ("Your limit resets in 3 days and 4 hours.", Some(76 * HOUR)),
            ("Usage limit reached; resets in 2h 30m", Some(2 * HOUR + 1800)),
            ("try again in 30", Some(30)),
            ("You will regain access on 2026-12-01 at 00:00 UTC.", Some(4 * HOUR)),
            ("Your limit will reset at 2026-12-01 19:07:40", Some(23 * HOUR + 460)),
            ("Limit resets at: 2026-12-01T00:00:00Z", Some(4 * HOUR)),
            ("try again at Dec 3rd, 2026 8:00 PM.", Some(72 * HOUR)),
            ("Your quota is used up until December 1, 2026.", Some(4 * HOUR)),
            ("Please try again later.", None),
            ("Please try again in a while.", None),
            ("Please try again in -5s.", None),
            ("It was reset at 2026-11-01 00:00:00", None),
        ];
        for (text, seconds) in table {
            assert_eq!(in_text(text, now()).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }

    #[test]
    fn the_reset_is_told_in_words_and_as_a_moment() {
        let told = |seconds| told(Duration::from_secs(seconds), now()).unwrap();
        assert_eq!(told(72 * HOUR), "the limit resets in 3 days, at 2026-12-03 20:00 UTC");
        assert_eq!(told(90 * 60), "the limit resets in 2 hours, at 2026-11-30 21:30 UTC");
        assert_eq!(told(40), "the limit resets in a minute, at 2026-11-30 20:00 UTC");
    }
}
