//! What the headers of an answer say about waiting and about what may still be asked.
//!
//! Pure functions of headers and a clock. Two families of headers are read: `retry-after`, and the budgets of requests and
//! tokens that most providers send with every answer, each in its own spelling: `x-ratelimit-remaining-tokens` (OpenAI,
//! Azure, Groq, Together, Fireworks), the same with `-minute`, `-hour`, `-day` behind it (Cerebras), without a kind
//! (OpenRouter), `anthropic-ratelimit-input-tokens-remaining` (Anthropic); vendors' documentation, 2026-11. So a name is
//! taken apart into words, and nobody's list of names has to be kept.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::yaml;

/// Longest wait taken from a provider: a quota may come back with the next year. A longer wait is wrong or means "never".
pub(super) const WAIT_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Longest time for which a budget in the headers, or the wait of a server in trouble, is believed.
pub(super) const TOLD_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a provider still allows, as it said with its last answer. Of several budgets of a kind, per minute and per day, the
/// smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests; `None` when not told.
    pub requests_left: Option<u64>,
    /// Tokens; `None` when not told. Where those that may be written are told apart, they only count once they are used up:
    /// nobody knows beforehand how many an answer takes.
    pub tokens_left: Option<u64>,
    /// Until what is used up is there again, or, while nothing is, until the first budget is full again; `None` when not
    /// told.
    pub reset: Option<Duration>,
}

/// What the headers say about budgets; `None` when nothing.
pub(super) fn limits(headers: &HeaderMap, now: SystemTime) -> Option<Limits> {
    let now = clock(headers, now);
    let mut budgets: BTreeMap<Vec<&str>, Budget> = BTreeMap::new();
    for (name, value) in headers {
        let (Some(words), Ok(text)) = (words(name.as_str()), value.to_str()) else { continue };
        let (remaining, reset) = (words.contains(&"remaining"), words.contains(&"reset"));
        let of = words.into_iter().filter(|word| !matches!(*word, "remaining" | "reset")).collect();
        if remaining && let Ok(left) = text.trim().parse() {
            // Azure sends -1 where it does not count.
            budgets.entry(of).or_default().left = Some(left);
        } else if reset && let Some(wait) = wait(text, now) {
            budgets.entry(of).or_default().reset = Some(wait);
        }
    }
    let least = |tokens: bool| {
        let counts = |of: &[&str], budget: &Budget| !of.contains(&"output") || budget.left == Some(0);
        let of_kind = budgets.iter().filter(|(of, budget)| of.contains(&"tokens") == tokens && counts(of, budget));
        of_kind.filter_map(|(_, budget)| budget.left).min()
    };
    let resets = |empty: bool| {
        let wanted = budgets.values().filter(move |budget| !empty || budget.left == Some(0));
        wanted.filter_map(|budget| budget.reset)
    };
    let reset = resets(true).max().or_else(|| resets(false).min()).map(|reset| reset.min(TOLD_MAX));
    let limits = Limits { requests_left: least(false), tokens_left: least(true), reset };
    (limits != Limits::default()).then_some(limits)
}

/// How long the provider asks us to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date, which is
/// taken against the provider's own clock where it tells it. `None` for anything else, in the past included.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|ms| ms / 1000.0);
    let seconds = || {
        let text = text(RETRY_AFTER.as_str())?;
        let date = || Some(date(text)?.duration_since(clock(headers, now)?).as_secs_f64());
        text.parse::<f64>().ok().or_else(date)
    };
    bounded(milliseconds.or_else(seconds)?)
}

/// The wait that a text tells: `6m0s`, `12ms`, seconds, a moment as RFC 3339 or as seconds or milliseconds since 1970.
/// `None` for what is none of these, and for no wait.
pub(super) fn wait(text: &str, now: Option<Timestamp>) -> Option<Duration> {
    /// Larger numbers of seconds are moments: thirty years.
    const MOMENT: f64 = 1e9;
    /// Larger ones still count milliseconds.
    const MOMENT_MS: f64 = 1e12;
    let text = text.trim();
    let until = |moment: Timestamp| Some(moment.duration_since(now?).as_secs_f64());
    let seconds = match text.parse::<f64>() {
        Ok(number) if number >= MOMENT => {
            let since = if number >= MOMENT_MS { number / 1000.0 } else { number };
            Some(since - now?.as_duration().as_secs_f64())
        }
        Ok(number) => Some(number),
        Err(_) => match text.parse::<Timestamp>() {
            Ok(moment) => until(moment),
            Err(_) => yaml::duration(text).map(|wait| wait.as_secs_f64()),
        },
    };
    bounded(seconds?)
}

/// A wait above nothing, and not longer than [`WAIT_MAX`].
fn bounded(seconds: f64) -> Option<Duration> {
    // Not a number is no wait either.
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX).min(WAIT_MAX))
}

#[derive(Default)]
struct Budget {
    left: Option<u64>,
    reset: Option<Duration>,
}

/// The words of a header's name that tells of a budget.
fn words(name: &str) -> Option<Vec<&str>> {
    let rest =
        ["x-ratelimit-", "anthropic-ratelimit-", "ratelimit-"].iter().find_map(|start| name.strip_prefix(start))?;
    Some(rest.split('-').collect())
}

/// What the provider's clock says, or else ours: so that its moments mean what it meant.
fn clock(headers: &HeaderMap, now: SystemTime) -> Option<Timestamp> {
    let told = headers.get(DATE).and_then(|value| date(value.to_str().ok()?));
    told.or_else(|| Timestamp::try_from(now).ok())
}

fn date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    fn map(headers: Headers) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    /// Wed, 21 Oct 2015 07:27:00 GMT
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_420)
    }

    #[test]
    fn retry_after_in_every_form() {
        let table: &[(Headers, Option<Duration>)] = &[
            (&[], None),
            (&[("retry-after", "7")], Some(Duration::from_secs(7))),
            (&[("retry-after", " 0.5 ")], Some(Duration::from_millis(500))),
            (&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], Some(Duration::from_secs(60))),
            (
                &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), ("date", "Wed, 21 Oct 2015 07:27:50 GMT")],
                Some(Duration::from_secs(10)),
            ),
            (&[("retry-after", "9"), ("retry-after-ms", "250")], Some(Duration::from_millis(250))),
            (&[("retry-after", "Wed, 21 Oct 2015 07:26:00 GMT")], None),
            (&[("retry-after", "-5")], None),
            (&[("retry-after", "0")], None),
            (&[("retry-after", "NaN")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "1000000000")], Some(WAIT_MAX)),
            (&[("retry-after", "inf")], Some(WAIT_MAX)),
        ];
        for (headers, expected) in table {
            assert_eq!(retry_after(&map(headers), now()), *expected, "{headers:?}");
        }
    }

    #[test]
    fn waits_in_every_form() {
        let now = Timestamp::try_from(now()).ok();
        let table: &[(&str, Option<Duration>)] = &[
            ("6m0s", Some(Duration::from_secs(360))),
            ("1s", Some(Duration::from_secs(1))),
            ("12ms", Some(Duration::from_millis(12))),
            ("2m59.56s", Some(Duration::from_millis(179_560))),
            ("1h2m3s", Some(Duration::from_secs(3723))),
            ("7.66s", Some(Duration::from_millis(7660))),
            ("33011.5", Some(Duration::from_millis(33_011_500))),
            ("60", Some(Duration::from_secs(60))),
            ("2015-10-21T07:28:00Z", Some(Duration::from_secs(60))),
            ("2015-10-21T09:28:00+02:00", Some(Duration::from_secs(60))),
            ("1445412430", Some(Duration::from_secs(10))),
            ("1445412430500", Some(Duration::from_millis(10_500))),
            ("2015-10-21T07:26:00Z", None),
            ("1445412000", None),
            ("99999999999999", Some(WAIT_MAX)),
            ("100h", Some(Duration::from_secs(360_000))),
            ("9999h", Some(WAIT_MAX)),
            ("0", None),
            ("0s", None),
            ("-1", None),
            ("", None),
            ("soon", None),
        ];
        for (text, expected) in table {
            // Floats of moments are exact to some hundred nanoseconds.
            let rounded = wait(text, now).map(|wait| Duration::from_millis((wait.as_secs_f64() * 1e3).round() as u64));
            assert_eq!(rounded, *expected, "{text:?}");
        }
        assert_eq!(wait("2015-10-21T07:28:00Z", None), None, "without a clock a moment tells nothing");
    }

    #[test]
    fn budgets_of_every_provider() {
        let table: &[(&str, Headers, Option<Limits>)] = &[
            ("none", &[("content-type", "text/html"), ("x-ratelimit-limit-requests", "60")], None),
            (
                "OpenAI, Groq: only what is used up has to be waited for",
                &[
                    ("x-ratelimit-limit-requests", "5000"),
                    ("x-ratelimit-remaining-requests", "4999"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-requests", "12ms"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(Limits { requests_left: Some(4999), tokens_left: Some(0), reset: Some(Duration::from_secs(360)) }),
            ),
            (
                "OpenAI, with plenty of both",
                &[
                    ("x-ratelimit-remaining-requests", "59"),
                    ("x-ratelimit-remaining-tokens", "149984"),
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ],
                Some(Limits {
                    requests_left: Some(59),
                    tokens_left: Some(149_984),
                    reset: Some(Duration::from_secs(1)),
                }),
            ),
            (
                "Azure does not count",
                &[("x-ratelimit-remaining-tokens", "-1"), ("x-ratelimit-reset-tokens", "0")],
                None,
            ),
            (
                "Cerebras, by window",
                &[
                    ("x-ratelimit-remaining-requests-day", "0"),
                    ("x-ratelimit-remaining-requests-minute", "7"),
                    ("x-ratelimit-remaining-tokens-minute", "59000"),
                    ("x-ratelimit-reset-requests-day", "33011"),
                    ("x-ratelimit-reset-tokens-minute", "11"),
                ],
                Some(Limits {
                    requests_left: Some(0),
                    tokens_left: Some(59_000),
                    reset: Some(Duration::from_secs(33_011)),
                }),
            ),
            (
                "Anthropic, as moments",
                &[
                    ("anthropic-ratelimit-requests-remaining", "49"),
                    ("anthropic-ratelimit-requests-reset", "2015-10-21T07:27:01Z"),
                    ("anthropic-ratelimit-input-tokens-remaining", "0"),
                    ("anthropic-ratelimit-input-tokens-reset", "2015-10-21T07:27:40Z"),
                    ("anthropic-ratelimit-output-tokens-remaining", "8000"),
                    ("anthropic-ratelimit-output-tokens-reset", "2015-10-21T07:28:00Z"),
                ],
                Some(Limits { requests_left: Some(49), tokens_left: Some(0), reset: Some(Duration::from_secs(40)) }),
            ),
            (
                "Anthropic, with little left to write",
                &[
                    ("anthropic-ratelimit-input-tokens-remaining", "50000"),
                    ("anthropic-ratelimit-output-tokens-remaining", "8000"),
                ],
                Some(Limits { requests_left: None, tokens_left: Some(50_000), reset: None }),
            ),
            (
                "OpenRouter, without a kind, in milliseconds",
                &[("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "1445412480000")],
                Some(Limits { requests_left: Some(0), tokens_left: None, reset: Some(Duration::from_secs(60)) }),
            ),
            (
                "whatever cannot be read is left out",
                &[("x-ratelimit-remaining-requests", "many"), ("x-ratelimit-reset-requests", "later")],
                None,
            ),
        ];
        for (name, headers, expected) in table {
            assert_eq!(limits(&map(headers), now()), *expected, "{name}");
        }
    }
}
