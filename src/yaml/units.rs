//! Durations, sizes and money as people write them.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::{SpanRelativeTo, fmt::friendly::SpanParser};

use crate::run::NanoDollars;

/// `30s`, `1h 30m`, `7d`: what jiff calls friendly, up to weeks; a day has 24 hours.
pub fn duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

/// `64KiB`, `1.5 MB`, `4096`: bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().map(|ByteSize(bytes)| bytes)
}

/// An amount in dollars where the sign goes without saying: `1.50` as well as `$1.50`.
pub fn dollars(text: &str) -> Option<NanoDollars> {
    money(&format!("${}", text.strip_prefix('$').unwrap_or(text)))
}

/// `$1.50`: dollars, to nine places.
pub fn money(text: &str) -> Option<NanoDollars> {
    let (whole, part) = match text.strip_prefix('$')?.split_once('.') {
        Some((whole, part)) if (1..=9).contains(&part.len()) => (whole, part),
        Some(_) => return None,
        None => (text.strip_prefix('$')?, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let nanos: u64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos).map(NanoDollars)
}
