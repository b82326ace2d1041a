//! Makes strict JSON of what a server wrote that is nearly JSON, and loses nothing of it.
//!
//! A server whose answer cannot be read has still done what it was asked. So what strict parsers refuse is written another
//! way: half a surrogate pair and bytes that are no UTF-8 become U+FFFD, words that JSON does not have (`NaN`, `Infinity`,
//! `+1`) become texts, control characters in texts and wrong escapes are escaped. A text that was cut at a limit ends
//! where it was cut. Numbers are copied as they are, however long. Each kind of change is reported in a note.
//!
//! Linear in the length of the text, and no recursion, however deep the text nests.

use std::{collections::BTreeSet, fmt::Write};

/// What stands for a value that was cut before or within it, so that it is not known.
const CUT: &str = "\"…\"";

/// Strict JSON, and what was changed to make it so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Salvaged {
    pub text: String,
    pub notes: BTreeSet<Mended>,
}

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mended {
    /// Bytes that are no UTF-8.
    Bytes,
    /// Half a surrogate pair.
    Surrogate,
    /// An escape that JSON does not have, or a raw control character in a text.
    Escape,
    /// A word that is no JSON value.
    Word,
}

impl Mended {
    /// The change in words, for the model and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Mended::Bytes => "it held bytes that are not UTF-8; U+FFFD stands for them",
            Mended::Surrogate => "it held half a UTF-16 surrogate pair; U+FFFD stands for it",
            Mended::Escape => "it held characters that were not escaped as JSON wants",
            Mended::Word => "it held values that JSON does not have, such as NaN; they are shown as texts",
        }
    }
}

/// Reads text that is nearly JSON; `cut` says that its end is missing. `None` when it is not even nearly JSON.
pub(super) fn salvage(bytes: &[u8], cut: bool) -> Option<Salvaged> {
    // A character that was cut in two is left out; the note of the cut covers it.
    let bytes = if cut { whole_characters(bytes) } else { bytes };
    let text = String::from_utf8_lossy(bytes);
    let mut writer = Writer {
        text: String::with_capacity(text.len() + 64),
        notes: BTreeSet::new(),
        open: Vec::new(),
        next: Next::Value,
        comma: false,
    };
    if matches!(text, std::borrow::Cow::Owned(_)) {
        writer.notes.insert(Mended::Bytes);
    }
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            ' ' | '\n' | '\r' | '\t' => &rest[1..],
            '{' | '[' => writer.begin(first).then(|| &rest[1..])?,
            '}' | ']' => writer.end(first).then(|| &rest[1..])?,
            ',' => writer.comma().then(|| &rest[1..])?,
            ':' => writer.colon().then(|| &rest[1..])?,
            '"' => writer.string(&rest[1..], cut)?,
            _ => writer.word(rest, cut)?,
        };
    }
    match (&writer.next, cut) {
        (Next::Nothing, _) => {}
        (_, false) => return None,
        (_, true) => writer.close(),
    }
    Some(Salvaged { text: writer.text, notes: writer.notes })
}

/// The bytes without the start of a character of which the end is missing.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    let from = bytes.len().saturating_sub(3);
    let start = bytes[from..].iter().rposition(|byte| *byte >= 0xc0).map(|at| from + at);
    match start {
        Some(start) if std::str::from_utf8(&bytes[start..]).is_err_and(|error| error.error_len().is_none()) => {
            &bytes[..start]
        }
        _ => bytes,
    }
}

/// What may come next.
enum Next {
    Value,
    /// In an object: a key.
    Key,
    Colon,
    /// Behind a value in an object or array.
    Comma,
    /// Behind the whole.
    Nothing,
}

struct Writer {
    text: String,
    notes: BTreeSet<Mended>,
    /// The brackets that are open.
    open: Vec<char>,
    next: Next,
    /// A comma that is written when something follows it.
    comma: bool,
}

impl Writer {
    fn begin(&mut self, bracket: char) -> bool {
        if !self.value() {
            return false;
        }
        self.text.push(bracket);
        self.open.push(bracket);
        self.next = if bracket == '{' { Next::Key } else { Next::Value };
        true
    }

    fn end(&mut self, bracket: char) -> bool {
        let opened = if bracket == '}' { '{' } else { '[' };
        // A key may be missing, also behind a comma; a value may only in an array.
        let complete = match self.next {
            Next::Key | Next::Comma => true,
            Next::Value => bracket == ']',
            Next::Colon | Next::Nothing => false,
        };
        if !complete || self.open.pop() != Some(opened) {
            return false;
        }
        self.comma = false;
        self.text.push(bracket);
        self.wrote();
        true
    }

    fn comma(&mut self) -> bool {
        let (true, Some(bracket)) = (matches!(self.next, Next::Comma), self.open.last()) else { return false };
        self.next = if *bracket == '{' { Next::Key } else { Next::Value };
        self.comma = true;
        true
    }

    fn colon(&mut self) -> bool {
        let expected = matches!(self.next, Next::Colon);
        if expected {
            self.text.push(':');
            self.next = Next::Value;
        }
        expected
    }

    /// A string behind its opening quote; the text behind it.
    fn string<'a>(&mut self, text: &'a str, cut: bool) -> Option<&'a str> {
        let key = matches!(self.next, Next::Key);
        if key {
            self.separate();
        } else if !self.value() {
            return None;
        }
        self.text.push('"');
        let mut rest = text;
        loop {
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            self.text.push_str(&rest[..plain]);
            rest = &rest[plain..];
            match rest.chars().next() {
                None if cut => break,
                None => return None,
                Some('"') => {
                    rest = &rest[1..];
                    break;
                }
                Some('\\') => rest = self.escape(&rest[1..], cut),
                Some(control) => {
                    self.notes.insert(Mended::Escape);
                    let _ = write!(self.text, "\\u{:04x}", u32::from(control));
                    rest = &rest[1..];
                }
            }
        }
        self.text.push('"');
        match key {
            true => self.next = Next::Colon,
            false => self.wrote(),
        }
        Some(rest)
    }

    /// An escape behind its backslash; the text behind it.
    fn escape<'a>(&mut self, text: &'a str, cut: bool) -> &'a str {
        match text.as_bytes().first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.text.push('\\');
                self.text.push_str(&text[..1]);
                return &text[1..];
            }
            Some(b'u') => match unit(&text[1..]) {
                Some(high @ 0xd800..0xdc00) => {
                    let low = text[5..].strip_prefix("\\u").and_then(unit).filter(|low| (0xdc00..0xe000).contains(low));
                    if let Some(low) = low {
                        let _ = write!(self.text, "\\u{high:04x}\\u{low:04x}");
                        return &text[11..];
                    }
                    if cut && text.len() < 11 && b"\\u".starts_with(&text.as_bytes()[5..text.len().min(7)]) {
                        // The other half was cut off.
                        return "";
                    }
                    self.notes.insert(Mended::Surrogate);
                    self.text.push('\u{fffd}');
                    return &text[5..];
                }
                Some(0xdc00..0xe000) => {
                    self.notes.insert(Mended::Surrogate);
                    self.text.push('\u{fffd}');
                    return &text[5..];
                }
                Some(_) => {
                    self.text.push('\\');
                    self.text.push_str(&text[..5]);
                    return &text[5..];
                }
                None => {}
            },
            _ => {}
        }
        if cut && text.len() < 5 && (text.is_empty() || text.starts_with('u')) {
            return "";
        }
        self.notes.insert(Mended::Escape);
        self.text.push_str("\\\\");
        text
    }

    /// A number, `true`, `false`, `null`, or another word, which becomes a text; the text behind it.
    fn word<'a>(&mut self, text: &'a str, cut: bool) -> Option<&'a str> {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let end = text.find(|c: char| !part(c)).unwrap_or(text.len());
        if end == 0 || !self.value() {
            return None;
        }
        let (word, rest) = text.split_at(end);
        if rest.is_empty() && cut {
            // More of it may have followed.
            self.text.push_str(CUT);
        } else if matches!(word, "true" | "false" | "null") || is_number(word) {
            self.text.push_str(word);
        } else {
            self.notes.insert(Mended::Word);
            let _ = write!(self.text, "\"{word}\"");
        }
        self.wrote();
        Some(rest)
    }

    /// Whether a value may come now; what separates it from the one before is written.
    fn value(&mut self) -> bool {
        let expected = matches!(self.next, Next::Value);
        if expected {
            self.separate();
        }
        expected
    }

    fn separate(&mut self) {
        if std::mem::take(&mut self.comma) {
            self.text.push(',');
        }
    }

    fn wrote(&mut self) {
        self.next = if self.open.is_empty() { Next::Nothing } else { Next::Comma };
    }

    /// Closes what is open at the end of a text that was cut.
    fn close(&mut self) {
        let in_object = self.open.last() == Some(&'{');
        match self.next {
            Next::Colon => self.text.push_str(&format!(":{CUT}")),
            Next::Value if in_object || self.open.is_empty() => self.text.push_str(CUT),
            _ => {}
        }
        while let Some(bracket) = self.open.pop() {
            self.text.push(if bracket == '{' { '}' } else { ']' });
        }
    }
}

/// The UTF-16 unit that four hexadecimal digits at the start of the text stand for.
fn unit(text: &str) -> Option<u32> {
    let digits = text.get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}

/// Whether a word is a number as JSON has it (RFC 8259, section 6).
fn is_number(word: &str) -> bool {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = word.strip_prefix('-').unwrap_or(word);
    let whole = digits(rest);
    if whole == 0 || whole > 1 && rest.starts_with('0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        return digits(exponent) == exponent.len() && !exponent.is_empty();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn text(bytes: &[u8]) -> Option<String> {
        salvage(bytes, false).map(|salvaged| salvaged.text)
    }

    #[test]
    fn what_strict_json_refuses_is_kept_another_way() {
        for (bytes, wanted, note) in [
            (&br#"{"a":"x\ud83d... 42"}"#[..], "{\"a\":\"x\u{fffd}... 42\"}", Mended::Surrogate),
            (br#"["\ude00\ud83d\ude00"]"#, "[\"\u{fffd}\\ud83d\\ude00\"]", Mended::Surrogate),
            (br#"["\ud83d\ud83d\ude00"]"#, "[\"\u{fffd}\\ud83d\\ude00\"]", Mended::Surrogate),
            (b"{\"a\":\"caf\xe9\"}", "{\"a\":\"caf\u{fffd}\"}", Mended::Bytes),
            (b"[NaN, -Infinity,+1, .5, 0x1F, 01]", r#"["NaN","-Infinity","+1",".5","0x1F","01"]"#, Mended::Word),
            (b"{\"a\":\"b\tc\\x\\u12\"}", r#"{"a":"b\u0009c\\x\\u12"}"#, Mended::Escape),
        ] {
            let salvaged = salvage(bytes, false).unwrap();
            assert_eq!((&*salvaged.text, salvaged.notes), (wanted, BTreeSet::from([note])));
            assert!(serde_json::from_str::<Value>(wanted).is_ok(), "{wanted}");
        }
    }

    #[test]
    fn numbers_of_any_length_are_copied() {
        let long = "1".repeat(1000);
        let numbers = format!("[{long},-0.{long},1e999,1E-999,{long}.0e+{long}]");
        assert_eq!(text(numbers.as_bytes()), Some(numbers));
    }

    #[test]
    fn what_is_not_nearly_json_is_not_guessed() {
        for no_json in [
            "",
            "{",
            "[1",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\" 1}",
            "1 2",
            "[1 2]",
            "{a:1}",
            "\"a",
            "]",
            "[}",
            "[,]",
            "{,}",
            "<b>",
        ] {
            assert_eq!(text(no_json.as_bytes()), None, "{no_json}");
        }
        assert_eq!(text(b"[1,]").as_deref(), Some("[1]"), "a comma too many says nothing");
    }

    #[test]
    fn a_text_that_was_cut_ends_where_it_was_cut() {
        let whole =
            "{\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"größer \\ud83d\\ude00\"}],\"n\":[12,true]}}";
        for cut in 1..whole.len() {
            let salvaged = salvage(&whole.as_bytes()[..cut], true).unwrap();
            let value = serde_json::from_str::<Value>(&salvaged.text);
            assert!(value.is_ok(), "{} of {cut} bytes", salvaged.text);
            assert!(salvaged.notes.is_empty(), "{salvaged:?}");
        }
        let cut = |text: &str| salvage(text.as_bytes(), true).unwrap().text;
        assert_eq!(cut(r#"{"a":"half a te"#), r#"{"a":"half a te"}"#);
        assert_eq!(cut(r#"{"a":12"#), r#"{"a":"…"}"#, "more digits may have followed");
        assert_eq!(cut(r#"{"a":[1,"#), r#"{"a":[1]}"#);
        assert_eq!(cut(r#"{"a":1,"b"#), r#"{"a":1,"b":"…"}"#);
    }

    #[test]
    fn depth_and_length_cost_no_stack_and_little_time() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert_eq!(text(deep.as_bytes()), Some(deep.clone()));
        assert_eq!(salvage("[".repeat(200_000).as_bytes(), true).map(|salvaged| salvaged.text), Some(deep));
        assert!(text(format!("\"{}\"", "\\".repeat(1 << 20)).as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn strict_json_stays_the_same_value(value in crate_value()) {
            let written = value.to_string();
            let salvaged = salvage(written.as_bytes(), false).unwrap();
            prop_assert!(salvaged.notes.is_empty());
            prop_assert_eq!(serde_json::from_str::<Value>(&salvaged.text).unwrap(), value);
        }

        #[test]
        fn what_is_salvaged_is_strict_json(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut: bool) {
            for start in ["", "{\"a\":\"", "[\"\\ud8"] {
                let bytes = [start.as_bytes(), &bytes].concat();
                if let Some(salvaged) = salvage(&bytes, cut) {
                    prop_assert!(serde_json::from_str::<Box<serde_json::value::RawValue>>(&salvaged.text).is_ok(), "{}", salvaged.text);
                }
            }
        }
    }

    fn crate_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }
}
