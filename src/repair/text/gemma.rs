//! Calls of the Gemma family: `call:f{k:<|"|>text<|"|>,n:4}`, keys bare, strings between tokens of their own.

use super::{
    region::steps,
    value::{object, quoted},
};

/// How deep values may be nested.
const DEPTH_MAX: usize = 64;

/// Follows such text to the brace that closes the first one.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) at: usize,
    depth: usize,
    in_string: bool,
    quote: &'static str,
}

impl Scan {
    pub(super) fn from(at: usize, quote: &'static str) -> Self {
        Scan { at, depth: 0, in_string: false, quote }
    }

    /// The place behind the closing brace; `None` when it has not come yet.
    pub(super) fn end(&mut self, text: &str, ended: bool) -> Option<usize> {
        while let Some(&byte) = text.as_bytes().get(self.at) {
            steps(1);
            let rest = &text.as_bytes()[self.at..];
            let mut length = 1;
            if rest.starts_with(self.quote.as_bytes()) {
                length = self.quote.len();
                if !self.in_string {
                    self.in_string = true;
                } else {
                    match closes(text, self.at + length) {
                        Some(closes) => self.in_string = !closes,
                        None if ended => self.in_string = false,
                        None => return None,
                    }
                }
            } else if !ended && self.quote.as_bytes().starts_with(rest) {
                return None;
            } else if !self.in_string {
                match byte {
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
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

/// Whether a string may end before this place; the token could also stand in its text. `None` at the end of the text.
fn closes(text: &str, at: usize) -> Option<bool> {
    text.as_bytes().get(at).map(|byte| matches!(byte, b',' | b'}' | b']' | b':'))
}

/// The arguments, braces included, as JSON; `None` when they do not read.
pub(super) fn arguments(text: &str, quote: &'static str) -> Option<String> {
    let mut reader = Reader { text, at: 0, quote };
    let json = reader.value(0)?;
    (json.starts_with('{') && reader.rest().trim().is_empty()).then_some(json)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    quote: &'static str,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take(&mut self, wanted: char) -> bool {
        self.at = self.text.len() - self.rest().trim_start().len();
        let stands = self.rest().starts_with(wanted);
        self.at += if stands { wanted.len_utf8() } else { 0 };
        stands
    }

    fn value(&mut self, depth: usize) -> Option<String> {
        if depth == DEPTH_MAX {
            return None;
        }
        if self.take('{') {
            let mut members: Vec<(String, String)> = Vec::new();
            let mut comma = true;
            while !self.take('}') {
                comma.then_some(())?;
                let key = match self.string() {
                    Some(key) => key,
                    None => self.bare(&[':', '{', '}', ','])?.trim().trim_matches('"').to_owned(),
                };
                self.take(':').then_some(())?;
                members.push((key, self.value(depth + 1)?));
                comma = self.take(',');
            }
            return Some(object(members.iter().map(|(key, value)| (&**key, value.clone()))));
        }
        if self.take('[') {
            let mut values = Vec::new();
            let mut comma = true;
            while !self.take(']') {
                comma.then_some(())?;
                values.push(self.value(depth + 1)?);
                comma = self.take(',');
            }
            return Some(format!("[{}]", values.join(", ")));
        }
        if let Some(text) = self.string() {
            return Some(quoted(&text));
        }
        // A text in JSON's own quotes.
        let mut json = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        if let Some(Ok(text)) = self.rest().starts_with('"').then(|| json.next()).flatten() {
            self.at += json.byte_offset();
            return Some(quoted(&text));
        }
        let bare = self.bare(&[',', '}', ']'])?.trim();
        let is_json = serde_json::from_str::<serde_json::Value>(bare).is_ok();
        (!bare.is_empty()).then(|| if is_json { bare.to_owned() } else { quoted(bare) })
    }

    fn bare(&mut self, ends: &[char]) -> Option<&'a str> {
        let rest = self.rest();
        let length = rest.find(ends)?;
        self.at += length;
        Some(&rest[..length])
    }

    fn string(&mut self) -> Option<String> {
        let text = self.rest().strip_prefix(self.quote)?;
        let mut from = 0;
        loop {
            let end = from + text[from..].find(self.quote)?;
            let behind = end + self.quote.len();
            if closes(text, behind).unwrap_or(true) {
                self.at += self.quote.len() + behind;
                return Some(text[..end].to_owned());
            }
            from = behind;
        }
    }
}
