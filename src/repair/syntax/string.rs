//! Reads a string whose quotes, escapes or end may be wrong.

use super::{
    Broken, Frame, Reader,
    look::{self, Quote},
};
use crate::repair::{draft::Edit, kind::Kind};

/// What is known of the string that is being read.
#[derive(Default)]
struct Seen {
    /// Quotes within it that look like opening ones, and like closing ones.
    openers: usize,
    closers: usize,
    /// Something in it could be read otherwise.
    loose: bool,
    /// Backslashes that escape nothing.
    lone: bool,
    /// An escaped quote or backslash: escapes are meant as such.
    escapes: bool,
    /// `\n`, `\t`, `\r`: a line break, or a path or pattern that was not escaped.
    spaces: Vec<usize>,
    /// `\u{1F600}`: a character, or a part of a pattern where other backslashes stand alone.
    points: bool,
    /// `\b`, `\f`: nobody means these, where other backslashes stand alone.
    rare: Vec<usize>,
}

impl Seen {
    fn inner(&self) -> usize {
        self.openers + self.closers
    }
}

/// What a quote within a string is.
enum Verdict {
    End,
    Inner,
    /// It could be either.
    Unclear,
    /// The end of a string that another one is joined to, whose quote stands here.
    Join(usize),
}

impl Reader<'_, '_> {
    /// Reads a string up to its closing quote.
    pub(super) fn string(&mut self, mut quote: Quote) -> Result<(), Broken> {
        let (start, first_edit) = (self.at, self.edits.len());
        let body = start + quote.open.len();
        let mut seen = Seen::default();
        if quote.open != "\"" {
            self.edit(Edit::replace(start, body, "\"", Kind::Quotes));
        }
        self.at = body;
        self.last.number = false;
        loop {
            let at = self.at;
            let Some(byte) = self.peek() else { return Err(Broken::Cut) };
            match byte {
                b'\\' => self.escape(&mut seen, quote)?,
                0..=0x1f => {
                    let escaped = match byte {
                        b'\n' => "\\n".to_owned(),
                        b'\r' => "\\r".to_owned(),
                        b'\t' => "\\t".to_owned(),
                        byte => format!("\\u{byte:04x}"),
                    };
                    self.edit(Edit::replace(at, at + 1, escaped, Kind::RawControl));
                    self.at += 1;
                }
                b'$' if quote.open == "`" && self.rest().starts_with("${") => return Err(Broken::Unclear),
                b'"' | b'\'' | b'`' | 0xe2 => {
                    let Some(length) = quote.closes(self.rest()) else {
                        if byte == b'"' {
                            self.edit(Edit::insert(at, "\\", Kind::Quotes));
                        }
                        self.at += self.rest().chars().next().map_or(1, char::len_utf8);
                        continue;
                    };
                    if let Some(comma) = self.unclosed(body, at, &seen) {
                        self.edits.retain(|edit| edit.start < comma);
                        self.edit(Edit::insert(comma, "\"", Kind::UnclosedString));
                        self.at = comma;
                        break;
                    }
                    match self.judge(at, at + length, &seen) {
                        Verdict::Unclear => return Err(Broken::Unclear),
                        Verdict::Inner if quote.is_triple() => return Err(Broken::Unclear),
                        Verdict::Inner => self.inner(at, length, quote, &mut seen),
                        Verdict::Join(next) => {
                            let Some(joined) = look::quote(&self.text[next..]) else { return Err(Broken::Unclear) };
                            quote = joined;
                            self.at = next + joined.open.len();
                            self.edit(Edit::delete(at, self.at, Kind::Concatenation));
                        }
                        Verdict::End => {
                            let kind = if seen.loose { Kind::InnerQuotes } else { Kind::Quotes };
                            if &self.text[at..at + length] != "\"" || (seen.loose && quote.open != "\"") {
                                self.edit(Edit::replace(at, at + length, "\"", kind));
                            }
                            self.at = at + length;
                            break;
                        }
                    }
                }
                _ => self.at += 1,
            }
        }
        if seen.openers > seen.closers || (seen.points && seen.lone) {
            // The last quote would be the pair of an inner one, and the string's own end missing.
            return Err(Broken::Unclear);
        }
        self.backslashes(&self.text[body..self.at], &seen);
        // Repairs of escapes come in late; those of one string are in order again.
        self.edits[first_edit..].sort_by_key(|edit| edit.start);
        Ok(())
    }

    /// Takes a quote as part of the text.
    fn inner(&mut self, at: usize, length: usize, quote: Quote, seen: &mut Seen) {
        let before = self.text[..at].chars().next_back();
        let behind = self.text[at + length..].chars().next();
        let word = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let own = &self.text[at..at + length];
        if own == "\"" {
            let kind = if quote.open == "\"" { Kind::InnerQuotes } else { Kind::Quotes };
            self.edit(Edit::insert(at, "\\", kind));
        }
        // An apostrophe within a word is nothing else.
        let apostrophe = own != "\"" && word(before) && word(behind);
        if !apostrophe {
            seen.loose = true;
            match word(behind) && !word(before) {
                true => seen.openers += 1,
                false => seen.closers += 1,
            }
        }
        self.at += length;
    }

    /// The comma before this quote, when it is the quote of the next key: the string was never closed.
    fn unclosed(&self, body: usize, at: usize, seen: &Seen) -> Option<usize> {
        let frame = self.frames.last().filter(|frame| frame.is_object())?;
        let before = self.text[body..at].trim_end();
        let comma = body + before.strip_suffix(',')?.len();
        let spaced = self.text[body..comma].ends_with(char::is_whitespace);
        let key = look::key(&self.text[at..])?;
        (seen.inner() == 0 && !spaced && comma > body && self.lacks(frame, &key.text)).then_some(comma)
    }

    /// Whether the quote up to `after` ends its string.
    fn judge(&self, at: usize, after: usize, seen: &Seen) -> Verdict {
        let in_object = self.frames.last().is_some_and(Frame::is_object);
        let next = look::gap(self.text, after);
        let rest = &self.text[next..];
        let ends = |ends: bool| if ends { Verdict::End } else { Verdict::Inner };
        match rest.bytes().next() {
            None | Some(b'}' | b']') => Verdict::End,
            Some(b',') => {
                let behind = &self.text[look::gap(self.text, next + 1)..];
                let closes = behind.is_empty() || behind.starts_with(['}', ']', ',']) || behind.starts_with("...");
                let goes_on = match in_object {
                    // The next object of the list that this one stands in.
                    true if behind.starts_with('{') => self.is_item(),
                    true => look::key(behind).is_some() || self.key_without_colon(behind),
                    false => look::begins_value(behind) || look::key(behind).is_some(),
                };
                if closes || goes_on { Verdict::End } else { Verdict::Unclear }
            }
            Some(b':') => Verdict::Unclear,
            Some(b'+') if seen.inner() == 0 => {
                let quote = look::gap(self.text, next + 1);
                match look::quote(&self.text[quote..]) {
                    Some(_) => Verdict::Join(quote),
                    None => Verdict::Inner,
                }
            }
            _ if self.is_apostrophe(at, after) => Verdict::Inner,
            _ if !in_object => {
                ends(rest.starts_with(['{', '[']) || look::quote(rest).is_some() || look::is_plain_item(rest))
            }
            // Two texts beside each other: joined as in C, a lost comma or a quote within.
            Some(b'"' | b'\'') if next > after && look::key(rest).is_none() => Verdict::Unclear,
            _ => ends(match look::quote(rest) {
                Some(_) => look::key(rest).is_some(),
                None => look::plain_key(rest).is_some(),
            }),
        }
    }

    /// Whether the object that is being read is an item of a list.
    fn is_item(&self) -> bool {
        matches!(self.frames.as_slice(), [.., outer, _] if !outer.is_object())
    }

    /// Whether a quote stands within a word.
    fn is_apostrophe(&self, at: usize, after: usize) -> bool {
        let word = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        &self.text[at..after] != "\""
            && word(self.text[..at].chars().next_back())
            && word(self.text[after..].chars().next())
    }

    /// Whether a known key stands here that only lacks its colon.
    fn key_without_colon(&self, text: &str) -> bool {
        let Some(quote) = look::quote(text) else { return false };
        let Some(closed) = look::closed_key(text, 0, quote) else { return false };
        let key = look::unescaped(&text[quote.open.len()..closed.body_end]);
        let known = |key: &str| self.frames.last().is_some_and(|frame| self.lacks(frame, key));
        key.is_some_and(|key| known(&key)) && look::begins_value(text[closed.end..].trim_start())
    }

    /// Reads a backslash and what it escapes, if it does.
    fn escape(&mut self, seen: &mut Seen, quote: Quote) -> Result<(), Broken> {
        let at = self.at;
        let rest = self.rest();
        let hex = |from: usize, count: usize| {
            rest.get(from..from + count).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        match *rest.as_bytes().get(1).ok_or(Broken::Cut)? {
            b'"' | b'\\' => {
                seen.escapes = true;
                self.at += 2;
            }
            b'/' => self.at += 2,
            b'n' | b't' | b'r' => {
                seen.spaces.push(at);
                self.at += 2;
            }
            b'b' | b'f' => {
                seen.rare.push(at);
                self.at += 2;
            }
            b'u' if hex(2, 4) => self.at += 6,
            b'u' if rest[2..].starts_with('{') => {
                seen.points = true;
                let end = rest
                    .bytes()
                    .take(10)
                    .position(|byte| byte == b'}')
                    .filter(|end| *end > 3)
                    .ok_or(Broken::Unclear)?;
                let point =
                    u32::from_str_radix(&rest[3..end], 16).ok().and_then(char::from_u32).ok_or(Broken::Unclear)?;
                let char = serde_json::to_string(&point).map_err(|_| Broken::Unclear)?;
                self.edit(Edit::replace(at, at + end + 1, char[1..char.len() - 1].to_owned(), Kind::CodePoint));
                self.at += end + 1;
            }
            b'\'' => {
                self.edit(Edit::delete(at, at + 1, Kind::EscapedApostrophe));
                self.at += 2;
            }
            b'`' if quote.open == "`" => {
                self.edit(Edit::delete(at, at + 1, Kind::Quotes));
                self.at += 2;
            }
            // Python and JavaScript read these, JSON does not, and a pattern means something else by them.
            b'x' if hex(2, 2) => return Err(Broken::Unclear),
            b'U' if hex(2, 8) => return Err(Broken::Unclear),
            b'N' if rest[2..].starts_with('{') => return Err(Broken::Unclear),
            // A line that goes on, or a backslash before a line break.
            b'\n' | b'\r' => return Err(Broken::Unclear),
            _ => {
                seen.lone = true;
                self.edit(Edit::insert(at, "\\", Kind::LoneBackslash));
                self.at += 1;
            }
        }
        Ok(())
    }

    /// Decides what `\n` and `\b` are in a string in which other backslashes escape nothing.
    fn backslashes(&mut self, body: &str, seen: &Seen) {
        if !seen.lone {
            return;
        }
        // Both readings weigh the same, so that they only stand when they agree.
        let cost = self.cost;
        let drive = matches!(body.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
        let raw = !seen.escapes && !seen.spaces.is_empty() && (drive || self.fork());
        let spaces = seen.spaces.iter().filter(|_| raw);
        for at in seen.rare.iter().chain(spaces) {
            self.edit(Edit::insert(*at, "\\", Kind::LoneBackslash));
        }
        self.cost = cost;
    }
}
