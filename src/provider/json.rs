//! Reading JSON that others wrote: members of any type, numbers in any form, texts that may have been cut.

use std::collections::HashSet;

use serde_json::{Value, value::RawValue};

/// The member `key` if it is a text with something in it: servers send `""` and `null` for "nothing".
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The member `key` as text, also if it is written as a number, as some servers write ids.
pub(super) fn id(value: &Value, key: &str) -> Option<String> {
    match value.get(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The member `key` as a whole number, also if it is written as a float or as text; `None` for negative ones and for
/// what is beyond [`COUNT_MAX`].
pub(super) fn count(value: &Value, key: &str) -> Option<u64> {
    let count = match value.get(key)? {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
        _ => None,
    };
    count.filter(|count| *count <= COUNT_MAX)
}

/// Larger counts are nonsense: no index, status or number of tokens comes near a trillion.
pub(super) const COUNT_MAX: u64 = 1 << 40;

fn whole(number: f64) -> Option<u64> {
    // Within the range no precision is lost, so the cast is exact.
    (number >= 0.0 && number <= COUNT_MAX as f64).then_some(number as u64)
}

/// All JSON values in a text, of which there should be one.
pub(super) fn values(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    serde_json::Deserializer::from_str(text).into_iter().collect()
}

/// The text with escapes of half a surrogate pair replaced by the replacement character.
pub(super) fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let digits = text.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        clean.push_str(&text[at..escape]);
        let (length, is_lone) = match unit(escape) {
            Some(0xD800..0xDC00) => match unit(escape + 6) {
                Some(0xDC00..0xE000) => (12, false),
                _ => (6, true),
            },
            Some(0xDC00..0xE000) => (6, true),
            // An escaped character takes one byte more, if it is ASCII, and else cannot matter here.
            _ => (2, false),
        };
        let end =
            (escape + length..).find(|end| text.is_char_boundary(*end) || *end >= text.len()).unwrap_or(text.len());
        let end = end.min(text.len());
        clean.push_str(if is_lone { "\\ufffd" } else { &text[escape..end] });
        at = end;
    }
    clean.push_str(&text[at..]);
    clean
}

/// The exact source text at `path` in a JSON text, so that large numbers, number spellings and duplicate keys survive
/// that [`Value`] does not keep. `None` when there is nothing there.
pub(super) fn source<'a>(json: &'a str, path: &[Step<'_>]) -> Option<&'a str> {
    let mut at = json;
    for step in path {
        at = match step {
            Step::Member(name) => Members::read(at)?.last(name)?,
            Step::Element(index) => serde_json::from_str::<Vec<&'a RawValue>>(at).ok()?.get(*index)?.get(),
        };
    }
    Some(at)
}

/// One step into a JSON value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

/// The members of an object with their source texts, duplicates included.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// Reads them from the text of an object; `None` when it is none.
    pub(super) fn read(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Names and texts, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.get()))
    }

    /// Whether no name stands there twice.
    pub(super) fn are_unique(&self) -> bool {
        let mut names = HashSet::new();
        self.0.iter().all(|(name, _)| names.insert(name))
    }

    fn last(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }
}

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// Follows a JSON text that arrives in pieces and knows whether something in it is still open. Judges brackets, strings
/// and the last byte only, so that it also serves texts which are not quite JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// The last two bytes that are not white space.
    last: [u8; 2],
}

impl Scan {
    /// What is known of a text that is all there.
    pub(super) fn of(text: &str) -> Self {
        let mut scan = Scan::default();
        scan.feed(text.as_bytes());
        scan
    }

    /// Takes in the next piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            if !byte.is_ascii_whitespace() {
                self.last = [self.last[1], byte];
            }
        }
    }

    /// Whether nothing but white space has come.
    pub(super) fn is_empty(&self) -> bool {
        self.last[1] == 0
    }

    /// Whether the text may end here: no string or bracket is open, and it ends neither in a number, which could have
    /// more digits, nor in a comma or a colon.
    pub(super) fn is_closed(&self) -> bool {
        let [before, last] = self.last;
        let in_number =
            last.is_ascii_digit() || b".+-".contains(&last) || (b"eE".contains(&last) && before.is_ascii_digit());
        !self.in_string && self.depth == 0 && !in_number && last != b',' && last != b':'
    }

    /// Whether an object or array has just been closed on the outermost level.
    pub(super) fn has_closed(&self) -> bool {
        !self.in_string && self.depth == 0 && matches!(self.last[1], b'}' | b']')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(text: &str) -> bool {
        let mut scan = Scan::default();
        scan.feed(text.as_bytes());
        let mut bytewise = Scan::default();
        text.bytes().for_each(|byte| bytewise.feed(&[byte]));
        assert_eq!(scan, bytewise, "{text}");
        scan.is_closed()
    }

    #[test]
    fn what_may_end_here() {
        for text in [
            "",
            " ",
            "{}",
            r#"{"a":1}"#,
            r#"{"a":"}"}"#,
            r#""x""#,
            r#"{"a":"\""}"#,
            "{\"a\":1}}",
            "{} \n",
            "null",
            "true",
        ] {
            assert!(is_closed(text), "{text:?} is whole");
        }
        for text in [
            "{",
            r#"{"a"#,
            r#"{"a":"b"#,
            r#"{"a":"b\""#,
            r#"{"a":1"#,
            r#"{"a":[1,2]"#,
            "12",
            "1e",
            "-",
            "1.",
            r#""a":1,"#,
            r#""a":"#,
        ] {
            assert!(!is_closed(text), "{text:?} is cut");
        }
    }

    #[test]
    fn the_source_text_survives() {
        let json = r#"{"a":[{"b":{"n":12345678901234567890123, "n": 1.0}}]}"#;
        let path = [Step::Member("a"), Step::Element(0), Step::Member("b")];
        assert_eq!(source(json, &path), Some(r#"{"n":12345678901234567890123, "n": 1.0}"#));
        assert_eq!(source(json, &[Step::Member("b")]), None);
    }

    #[test]
    fn counts_in_every_form() {
        let value = serde_json::json!({"n": 7, "f": 7.0, "s": "7", "t": "7.0", "neg": -1, "huge": 1e300, "x": "seven"});
        for key in ["n", "f", "s", "t"] {
            assert_eq!(count(&value, key), Some(7), "{key}");
        }
        for key in ["neg", "huge", "x", "absent"] {
            assert_eq!(count(&value, key), None, "{key}");
        }
    }
}
