//! Calls written in Python: `f(a="x", b=True)`, one behind the other or in a list.
//!
//! [`Scan`] finds where brackets close; [`literal`] and [`arguments`] turn Python's literals into JSON, numbers as they
//! are written. What is no literal (a name, an expression, a formatted string) is not guessed at.

use super::{
    region::steps,
    value::{object, quoted},
};

/// How deep literals may be nested.
const DEPTH_MAX: usize = 64;

/// Follows Python text to the bracket that closes the first one.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    pub(super) at: usize,
    depth: usize,
    /// The quotes of the string that is open; empty outside of strings.
    quotes: &'static str,
}

impl Scan {
    pub(super) fn from(at: usize) -> Self {
        Scan { at, ..Scan::default() }
    }

    /// The place behind the closing bracket; `None` when it has not come yet.
    pub(super) fn end(&mut self, text: &str, ended: bool) -> Option<usize> {
        let bytes = text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            steps(1);
            let rest = &bytes[self.at..];
            let mut length = 1;
            if !self.quotes.is_empty() {
                if byte == b'\\' {
                    length = 2;
                    if rest.len() < length && !ended {
                        return None;
                    }
                } else if rest.starts_with(self.quotes.as_bytes()) {
                    length = self.quotes.len();
                    self.quotes = "";
                } else if !ended && self.quotes.as_bytes().starts_with(rest) {
                    return None;
                }
            } else {
                match byte {
                    b'"' | b'\'' => {
                        let (one, three) = if byte == b'"' { ("\"", "\"\"\"") } else { ("'", "'''") };
                        if rest.len() < 3 && !ended && three.as_bytes().starts_with(rest) {
                            return None;
                        }
                        self.quotes = if rest.starts_with(three.as_bytes()) { three } else { one };
                        length = self.quotes.len();
                    }
                    b'(' | b'[' | b'{' => self.depth += 1,
                    b')' | b']' | b'}' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            self.at += 1;
                            return Some(self.at);
                        }
                    }
                    _ => {}
                }
            }
            self.at += length;
        }
        None
    }
}

/// A Python literal as JSON; `None` when the text is none.
pub(super) fn literal(text: &str) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    let json = reader.value(0)?;
    reader.space();
    (reader.at == text.len()).then_some(json)
}

/// The arguments between the parentheses of a call as JSON; `None` when they are not all named literals.
pub(super) fn arguments(text: &str) -> Option<String> {
    let mut reader = Reader { text, at: 0 };
    let mut members = Vec::new();
    loop {
        reader.space();
        if reader.at == text.len() {
            break;
        }
        let key = reader.word()?;
        reader.take("=").then_some(())?;
        members.push((key, reader.value(0)?));
        if !reader.take(",") {
            reader.space();
            (reader.at == text.len()).then_some(())?;
        }
    }
    Some(object(members.into_iter()))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Takes this if it stands next.
    fn take(&mut self, wanted: &str) -> bool {
        self.space();
        let stands = self.rest().starts_with(wanted);
        self.at += if stands { wanted.len() } else { 0 };
        stands
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.at += length;
        (length > 0).then(|| &rest[..length])
    }

    fn value(&mut self, depth: usize) -> Option<String> {
        self.space();
        if depth == DEPTH_MAX {
            return None;
        }
        match self.rest().chars().next()? {
            '[' => self.list('[', ']', depth),
            '(' => self.list('(', ')', depth),
            '{' => self.dict(depth),
            '"' | '\'' => self.strings(),
            '0'..='9' | '-' | '+' | '.' => self.number(),
            _ => {
                let start = self.at;
                match self.word()? {
                    "True" | "true" => Some("true".to_owned()),
                    "False" | "false" => Some("false".to_owned()),
                    "None" | "null" => Some("null".to_owned()),
                    "r" | "R" | "u" | "U" if self.rest().starts_with(['"', '\'']) => {
                        self.at = start;
                        self.strings()
                    }
                    _ => None,
                }
            }
        }
    }

    fn list(&mut self, open: char, close: char, depth: usize) -> Option<String> {
        self.at += open.len_utf8();
        let mut json = String::from("[");
        let (mut count, mut comma) = (0, false);
        loop {
            self.space();
            if self.rest().starts_with(close) {
                self.at += close.len_utf8();
                // Parentheses around one value are no tuple.
                if open == '(' && count == 1 && !comma {
                    return Some(json[1..].to_owned());
                }
                json.push(']');
                return Some(json);
            }
            if count > 0 {
                comma.then_some(())?;
                json.push_str(", ");
            }
            json.push_str(&self.value(depth + 1)?);
            count += 1;
            comma = self.take(",");
        }
    }

    fn dict(&mut self, depth: usize) -> Option<String> {
        self.at += 1;
        let mut members = Vec::new();
        let mut comma = true;
        loop {
            if self.take("}") {
                return Some(object(members.iter().map(|(key, value): &(String, String)| (&**key, value.clone()))));
            }
            comma.then_some(())?;
            self.space();
            let key = self.string_value()?;
            self.take(":").then_some(())?;
            members.push((key, self.value(depth + 1)?));
            comma = self.take(",");
        }
    }

    /// A string, or several in a row, which Python joins.
    fn strings(&mut self) -> Option<String> {
        let mut whole = self.string_value()?;
        loop {
            let before = self.at;
            self.space();
            if !self.rest().starts_with(['"', '\'']) {
                self.at = before;
                return Some(quoted(&whole));
            }
            whole.push_str(&self.string_value()?);
        }
    }

    fn string_value(&mut self) -> Option<String> {
        let raw = self.rest().starts_with(['r', 'R']);
        self.at += usize::from(self.rest().starts_with(['r', 'R', 'u', 'U']));
        let rest = self.rest();
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| rest.starts_with(quotes))?;
        self.at += quotes.len();
        let mut value = String::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quotes) {
                self.at += quotes.len();
                return Some(value);
            }
            let c = rest.chars().next()?;
            self.at += c.len_utf8();
            match c {
                '\\' if raw => {
                    value.push(c);
                    let next = self.rest().chars().next()?;
                    self.at += next.len_utf8();
                    value.push(next);
                }
                '\\' => self.escape(&mut value)?,
                c => value.push(c),
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, value: &mut String) -> Option<()> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        let plain = match c {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'a' => '\u{7}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' | '/' => c,
            '\n' => return Some(()),
            'x' => return self.code(2, value),
            'u' => return self.code(4, value),
            'U' => return self.code(8, value),
            '0'..='7' => {
                let digits = self.rest().bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let code = u32::from_str_radix(&self.text[self.at - 1..self.at + digits], 8).ok()?;
                self.at += digits;
                char::from_u32(code)?
            }
            c => {
                // Python keeps the backslash of an escape that it does not know.
                value.push('\\');
                c
            }
        };
        value.push(plain);
        Some(())
    }

    fn code(&mut self, digits: usize, value: &mut String) -> Option<()> {
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let first = hex(self.rest().get(..digits)?)?;
        self.at += digits;
        // Half a character, as JSON writes those beyond the first plane.
        let code = match first {
            0xD800..0xDC00 if digits == 4 => {
                let second = hex(self.rest().strip_prefix("\\u")?.get(..4)?)?;
                self.at += 6;
                0x10000 + ((first - 0xD800) << 10) + second.checked_sub(0xDC00).filter(|low| *low < 0x400)?
            }
            code => code,
        };
        value.push(char::from_u32(code)?);
        Some(())
    }

    /// A number, its digits as written.
    fn number(&mut self) -> Option<String> {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        self.at += length;
        let written = rest[..length].replace('_', "");
        let (sign, digits) = match written.strip_prefix(['-', '+']) {
            Some(digits) => (if written.starts_with('-') { "-" } else { "" }, digits),
            None => ("", &*written),
        };
        let mut json = format!("{sign}{digits}");
        if digits.starts_with('.') {
            json = format!("{sign}0{digits}");
        }
        if json.ends_with('.') {
            json.push('0');
        }
        json = json.replace(".e", ".0e").replace(".E", ".0E");
        serde_json::from_str::<serde_json::Number>(&json).ok().map(|_| json)
    }
}
