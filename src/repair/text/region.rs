//! What the readers of regions share: looking ahead in a text that may go on.

use super::{super::ToolSet, Found};

/// Counts work: so many bytes or markers were looked at. A test holds the sum against the length of the text.
#[inline]
pub(super) fn steps(_count: usize) {
    #[cfg(test)]
    super::tests::WORK.with(|work| work.set(work.get() + _count));
}

/// How a region reads.
#[derive(Debug)]
pub(super) enum Step {
    /// Not to be told before more of the text has come.
    More,
    /// The region ends here, counted from its marker; these calls are in it.
    Done { end: usize, calls: Vec<Found> },
    /// No call: the marker is text.
    Text,
}

impl Step {
    pub(super) fn one(end: usize, call: Found) -> Self {
        Step::Done { end, calls: vec![call] }
    }
}

/// What a reader knows of the world around its region.
pub(super) struct Around<'a> {
    pub(super) tools: &'a ToolSet,
    /// Nothing more will come.
    pub(super) ended: bool,
    /// The text ended of itself, as far as is known.
    pub(super) complete: bool,
}

/// Whether something stands at the beginning of a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Look<T> {
    Yes(T),
    No,
    /// It does as far as the text has come.
    More,
}

impl<T> Look<T> {
    /// This one, unless it says no.
    pub(super) fn or(self, other: impl FnOnce() -> Self) -> Self {
        if let Look::No = self { other() } else { self }
    }
}

/// Whether the text begins with the marker.
pub(super) fn begins(text: &str, marker: &str, ended: bool) -> Look<usize> {
    steps(1);
    if text.starts_with(marker) {
        Look::Yes(marker.len())
    } else if !ended && text.len() < marker.len() && marker.starts_with(text) {
        Look::More
    } else {
        Look::No
    }
}

/// Longest suffix of a marker, in bytes.
const SUFFIX_BYTES_MAX: usize = 32;

/// Whether the text begins with the marker. One that ends in `:>` has a suffix between these, which its model's release
/// has chosen: a hash or a word.
pub(super) fn begins_marker(text: &str, marker: &str, ended: bool) -> Look<usize> {
    let Some(word) = marker.strip_suffix('>').filter(|word| word.ends_with(':')) else {
        return begins(text, marker, ended);
    };
    let start = match begins(text, word, ended) {
        Look::Yes(start) => start,
        look => return look,
    };
    let length = text.as_bytes()[start..].iter().take(SUFFIX_BYTES_MAX + 1).take_while(|byte| is_suffix(byte)).count();
    steps(length);
    match text.as_bytes().get(start + length) {
        _ if length > SUFFIX_BYTES_MAX => Look::No,
        Some(b'>') if length > 0 => Look::Yes(start + length + 1),
        None if !ended => Look::More,
        _ => Look::No,
    }
}

fn is_suffix(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-')
}

/// What a marker's suffix is in a text that begins with it, its colon included; empty where it has none.
pub(super) fn suffix_of(text: &str, marker: &str) -> String {
    let Some(word) = marker.strip_suffix(":>") else { return String::new() };
    let rest = text.get(word.len()..).unwrap_or_default();
    rest[..rest.find('>').unwrap_or(rest.len())].to_owned()
}

/// Whether the text begins with the marker, with this suffix where it has one.
pub(super) fn begins_with_suffix(text: &str, marker: &str, suffix: &str, ended: bool) -> Look<usize> {
    let Some(word) = marker.strip_suffix(":>") else { return begins(text, marker, ended) };
    let mut length = 0;
    for part in [word, suffix, ">"] {
        match begins(&text[length..], part, ended) {
            Look::Yes(part) => length += part,
            look => return look,
        }
    }
    Look::Yes(length)
}

/// Whether the text begins with one of the markers; the longest counts.
pub(super) fn begins_any(text: &str, markers: &[&str], ended: bool) -> Look<usize> {
    longest(markers.iter().map(|marker| begins(text, marker, ended)))
}

/// The longest of what may begin a text.
pub(super) fn longest(looks: impl Iterator<Item = Look<usize>>) -> Look<usize> {
    let mut found = Look::No;
    for look in looks {
        match (look, &found) {
            (Look::Yes(length), Look::Yes(longest)) if length <= *longest => {}
            (Look::Yes(length), Look::Yes(_) | Look::No) => found = Look::Yes(length),
            // What may become a longer one decides later.
            (Look::More, _) => found = Look::More,
            _ => {}
        }
    }
    found
}

/// Most white space within the head of a call, in bytes: what is more is looked at once and not again and again.
pub(super) const SPACE_BYTES_MAX: usize = 256;

/// The first character that is no white space, if it is near.
pub(super) fn next_solid(text: &str, ended: bool) -> Look<char> {
    let behind = text.trim_start();
    steps(text.len() - behind.len());
    match behind.chars().next() {
        _ if text.len() - behind.len() > SPACE_BYTES_MAX => Look::No,
        Some(c) => Look::Yes(c),
        None if ended => Look::No,
        None => Look::More,
    }
}

/// The first place from `at` on that is no white space; the length of the text if there is none.
pub(super) fn skip_space(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    let solid = text.len() - rest.trim_start().len();
    steps(solid - at.min(solid));
    solid
}

/// The place of a text that begins within the next `bytes_max` bytes; [`Look::No`] when it is not there.
pub(super) fn find_near(text: &str, wanted: &str, bytes_max: usize, ended: bool) -> Look<usize> {
    let mut end = text.len().min(bytes_max + wanted.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let found = text[..end].find(wanted);
    steps(found.unwrap_or(end));
    match found {
        Some(at) => Look::Yes(at),
        None if ended || text.len() > bytes_max + wanted.len() => Look::No,
        None => Look::More,
    }
}

/// The text at the beginning as far as it consists of such characters.
pub(super) fn run(text: &str, is_in: impl Fn(char) -> bool) -> &str {
    let length = text.find(|c| !is_in(c)).unwrap_or(text.len());
    steps(length);
    &text[..length]
}
