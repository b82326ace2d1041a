//! Reads an object that is almost JSON, and says which edits make it JSON.
//!
//! One pass, with a stack of its own for what is open. Where JSON is ambiguous the schema decides: its keys tell where an
//! unquoted or unclosed value ends and which bracket is missing, its types whether bare text can be a string. Where two
//! ways remain, the reader takes the usual one and counts a *fork*; reading again with that fork's number takes the other
//! way, and whoever called compares. Always true:
//! - What may be cut is never closed: an open string, a bare number at the end, a dangling comma or colon.
//! - Elided content (`...`, "rest unchanged") is never dropped.
//! - Each byte is looked at a bounded number of times.

mod look;
mod string;

use std::{borrow::Cow, collections::HashSet, ops::Range};

use super::{
    draft::{Edit, TOLD_MAX},
    json::DEPTH_MAX,
    kind::Kind,
    shape::{ANY, Id, Shapes, Types, push},
    standin::is_standin,
};

/// Why there is no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The text ends too early.
    Cut,
    /// Any reading would be a guess.
    Unclear,
}

/// One reading of a text.
#[derive(Debug)]
pub(super) struct Reading {
    /// What makes the object JSON.
    pub edits: Vec<Edit>,
    /// How far that is from what was written; only compared.
    pub cost: u32,
    /// Where the object ends.
    pub end: usize,
    /// How often another way could have been taken.
    pub forks: usize,
    /// Brackets that were put at the end of the text.
    pub closed: usize,
    /// The keys of the object itself, where brackets were put at the end.
    pub keys: HashSet<String>,
}

/// Reads the object that begins at the start of `range`, with or without its brace. At the fork `other`, counted from
/// zero, the less usual way is taken.
pub(super) fn read(
    text: &str,
    range: Range<usize>,
    shapes: &Shapes,
    root: Id,
    other: Option<usize>,
) -> Result<Reading, Broken> {
    let mut reader = Reader {
        text: &text[..range.end],
        at: range.start,
        shapes,
        frames: Vec::new(),
        edits: Vec::new(),
        cost: 0,
        forks: 0,
        other,
        guessed: false,
        last: Last { end: range.start, number: false },
        start: range.start,
        lacks_closers: None,
        closed: 0,
        keys: HashSet::new(),
    };
    reader.object(root)?;
    let Reader { edits, cost, at: end, forks, closed, keys, .. } = reader;
    Ok(Reading { edits, cost, end, forks, closed, keys })
}

pub(super) use look::{is_odd_space, tells_of_elision};

/// Whether a text begins with a key of the object whose brace is missing.
pub(super) fn stands_for_key(text: &str, shapes: &Shapes, root: Id) -> bool {
    let key = look::key(text);
    key.is_some_and(|key| look::quote(text).is_some() || shapes.member(root, &key.text).is_some())
}

/// Keys that keep a call from doing something. Where one of them may have been cut off, nothing is closed.
const GUARDS: &[&str] =
    &["dry_run", "dryrun", "preview", "simulate", "confirm", "check_only", "validate_only", "no_op"];

/// How much a repair weighs against another one.
fn weight(kind: Kind) -> u32 {
    match kind.risk() {
        super::Risk::Lossless => 1,
        super::Risk::Unique => 3,
    }
}

/// An open object or list.
struct Frame<'t> {
    /// The form of what stands in it.
    shape: Id,
    kind: Container<'t>,
    /// Its key, or its place in a list.
    key: Cow<'t, str>,
}

enum Container<'t> {
    Object { seen: HashSet<Cow<'t, str>>, last: Cow<'t, str> },
    List { count: usize },
}

impl Frame<'_> {
    fn is_object(&self) -> bool {
        matches!(self.kind, Container::Object { .. })
    }

    fn closer(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}

/// The value that was read last.
#[derive(Clone, Copy)]
struct Last {
    end: usize,
    /// A bare number: it may go on.
    number: bool,
}

struct Reader<'t, 's> {
    text: &'t str,
    at: usize,
    shapes: &'s Shapes,
    frames: Vec<Frame<'t>>,
    edits: Vec<Edit>,
    cost: u32,
    forks: usize,
    other: Option<usize>,
    /// Something was read in a way that is not certain.
    guessed: bool,
    last: Last,
    start: usize,
    /// Whether the text looks cut by its brackets alone, once that was asked.
    lacks_closers: Option<bool>,
    closed: usize,
    keys: HashSet<String>,
}

/// What comes next.
enum Next {
    /// A key, or the end of the object; behind the comma at this place.
    Key(Option<usize>),
    /// An item, or the end of the list; behind the comma at this place.
    Item(Option<usize>),
    /// A value of this form.
    Value(Id),
    /// A comma, or the end of what is open.
    After,
}

impl<'t> Reader<'t, '_> {
    fn object(&mut self, root: Id) -> Result<(), Broken> {
        match self.peek() {
            Some(b'{') => self.at += 1,
            _ => {
                self.edit(Edit::insert(self.at, "{", Kind::MissingBrace));
                // With both braces missing, it may be any part of something.
                self.guessed = true;
            }
        }
        self.open(root, Container::Object { seen: HashSet::new(), last: Cow::Borrowed("") }, Cow::Borrowed(""))?;
        let mut next = Next::Key(None);
        while !self.frames.is_empty() {
            self.skip()?;
            next = match next {
                Next::Key(comma) => self.key(comma)?,
                Next::Item(comma) => self.item(comma)?,
                Next::Value(shape) => self.value(shape)?,
                Next::After => self.after()?,
            };
        }
        Ok(())
    }

    fn open(&mut self, shape: Id, kind: Container<'t>, key: Cow<'t, str>) -> Result<(), Broken> {
        if self.frames.len() >= DEPTH_MAX {
            return Err(Broken::Unclear);
        }
        self.frames.push(Frame { shape, kind, key });
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn lacks_closers(&mut self) -> bool {
        let body = &self.text[self.start..];
        *self.lacks_closers.get_or_insert_with(|| !super::json::complete_json(body))
    }

    /// The usual way, or the other one?
    fn fork(&mut self) -> bool {
        self.forks += 1;
        self.other == Some(self.forks - 1)
    }

    fn edit(&mut self, edit: Edit) {
        self.cost += weight(edit.kind);
        self.guessed |= edit.kind.risk() == super::Risk::Unique;
        self.edits.push(Edit { path: self.path(), ..edit });
    }

    /// The pointer to what is being read. Told for the first edits only: the rest is told as one.
    fn path(&self) -> String {
        let mut path = String::new();
        if self.edits.len() <= TOLD_MAX {
            for (index, frame) in self.frames.iter().enumerate() {
                if index > 0 {
                    push(&mut path, &frame.key);
                }
            }
            match self.frames.last().map(|frame| &frame.kind) {
                Some(Container::Object { seen, last }) if !seen.is_empty() => push(&mut path, last),
                Some(Container::Object { .. }) => {}
                Some(Container::List { count }) => push(&mut path, &count.to_string()),
                None => {}
            }
        }
        path
    }

    /// Passes spaces and comments.
    fn skip(&mut self) -> Result<(), Broken> {
        loop {
            let start = self.at;
            let rest = self.rest();
            match rest.as_bytes() {
                [b' ' | b'\t' | b'\n' | b'\r', ..] => self.at += 1,
                [b'/', b'/', ..] => {
                    let end = rest.find('\n').ok_or(Broken::Cut)?;
                    self.comment(start, start + end)?;
                }
                [b'/', b'*', ..] => {
                    let end = rest.find("*/").ok_or(Broken::Cut)?;
                    self.comment(start, start + end + 2)?;
                }
                _ => match rest.chars().next().filter(|char| look::is_odd_space(*char)) {
                    Some(char) => {
                        self.at += char.len_utf8();
                        self.edit(Edit::delete(start, self.at, Kind::OddSpace));
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    fn comment(&mut self, start: usize, end: usize) -> Result<(), Broken> {
        if look::tells_of_elision(&self.text[start..end]) {
            return Err(Broken::Unclear);
        }
        self.at = end;
        self.edit(Edit::delete(start, end, Kind::Comment));
        Ok(())
    }

    /// Reads a key up to its colon, or the end of the object.
    fn key(&mut self, comma: Option<usize>) -> Result<Next, Broken> {
        let Some(byte) = self.peek() else { return Err(Broken::Cut) };
        match byte {
            b'}' | b']' => {
                if let Some(comma) = comma {
                    self.edit(Edit::delete(comma, comma + 1, Kind::ExtraComma));
                }
                return self.close(byte);
            }
            b',' if comma.is_some() => {
                self.edit(Edit::delete(self.at, self.at + 1, Kind::ExtraComma));
                self.at += 1;
                return Ok(Next::Key(comma));
            }
            // `[{"a": 1, {"a": 2}]`: the next object of a list, so this one ends before it.
            b'{' if comma.is_some() && self.lacks_closers() => {
                let list = self.frames.len().checked_sub(2).ok_or(Broken::Unclear)?;
                let Container::List { count } = &mut self.frames[list].kind else { return Err(Broken::Unclear) };
                *count += 1;
                self.close_to(list);
                return Ok(Next::Item(comma));
            }
            _ => {}
        }
        let start = self.at;
        let first_edit = self.edits.len();
        let key = match look::quote(self.rest()) {
            Some(quote) => self.quoted_key(quote)?,
            None => self.bare_key()?,
        };
        self.belong(&key, start, first_edit)?;
        let Some(Frame { kind: Container::Object { seen, last }, .. }) = self.frames.last_mut() else {
            return Err(Broken::Unclear);
        };
        seen.insert(key.clone());
        *last = key;
        self.skip()?;
        self.colon()
    }

    /// Takes the colon behind a key, or what stands for it.
    fn colon(&mut self) -> Result<Next, Broken> {
        let value = self.member_shape();
        match self.rest().as_bytes() {
            [] => return Err(Broken::Cut),
            [b':', ..] => self.at += 1,
            [b'=', b'>', ..] => {
                self.edit(Edit::replace(self.at, self.at + 2, ":", Kind::Assignment));
                self.at += 2;
            }
            [b'=', ..] => {
                self.edit(Edit::replace(self.at, self.at + 1, ":", Kind::Assignment));
                self.at += 1;
            }
            _ => match value {
                // Known keys only: else the key may be part of a text.
                Some(_) if look::begins_value(self.rest()) => {
                    self.edit(Edit::insert(self.last.end, ":", Kind::MissingColon));
                }
                _ => return Err(Broken::Unclear),
            },
        }
        Ok(Next::Value(value.unwrap_or(ANY)))
    }

    /// The form of the member whose key was read last; `None` when the schema does not name it.
    fn member_shape(&self) -> Option<Id> {
        let frame = self.frames.last()?;
        match &frame.kind {
            Container::Object { last, .. } => self.shapes.member(frame.shape, last),
            Container::List { .. } => None,
        }
    }

    /// Closes what a key does not belong to: an inner object that does not know it, when an outer one does and lacks it.
    fn belong(&mut self, key: &str, start: usize, first_edit: usize) -> Result<(), Broken> {
        let Some((frame, outer)) = self.frames.split_last() else { return Err(Broken::Unclear) };
        let Some(home) = outer.iter().rposition(|frame| self.lacks(frame, key)) else { return Ok(()) };
        let known = self.shapes.member(frame.shape, key).is_some();
        let seen = matches!(&frame.kind, Container::Object { seen, .. } if seen.contains(key));
        let fits = !seen && (known || self.shapes.is_open(frame.shape));
        // Only closers that are missing speak for the outer one; where the key fits both, they may as well be missing at
        // the end.
        if !self.lacks_closers() || (fits && !self.fork()) {
            return Ok(());
        }
        if self.last.end > start || self.last.end == 0 {
            return Err(Broken::Unclear);
        }
        // The key's own edits keep their order behind this one.
        let own = self.edits.split_off(first_edit);
        self.close_to(home);
        self.edits.extend(own);
        Ok(())
    }

    /// Whether a frame knows a key that it does not have yet.
    fn lacks(&self, frame: &Frame<'_>, key: &str) -> bool {
        match &frame.kind {
            Container::Object { seen, .. } => self.shapes.member(frame.shape, key).is_some() && !seen.contains(key),
            Container::List { .. } => false,
        }
    }

    /// Puts the closers of everything within frame `home` behind the last value.
    fn close_to(&mut self, home: usize) {
        let closers: String = self.frames.drain(home + 1..).rev().map(|frame| char::from(frame.closer())).collect();
        self.edit(Edit::insert(self.last.end, closers, Kind::MissingClosers));
    }

    fn quoted_key(&mut self, quote: look::Quote) -> Result<Cow<'t, str>, Broken> {
        let start = self.at;
        let body = start + quote.open.len();
        let shape = self.frames.last().map_or(ANY, |frame| frame.shape);
        let closed = look::closed_key(self.text, start, quote);
        // `{"a: 1, "b": 2}`: what closes the quote stands behind the colon.
        let bare = look::bare_key(&self.text[body..]).filter(|key| {
            let behind = self.text[body + key.len()..].trim_start();
            behind.starts_with(':') && self.shapes.member(shape, key).is_some()
        });
        let (key, end) = match (closed, bare) {
            (Some(closed), _) if look::assigns(&self.text[closed.end..]) => {
                let key = look::unescaped(&self.text[body..closed.body_end]).ok_or(Broken::Unclear)?;
                let plain = !self.text[body..closed.body_end].contains(['\n', '\r', '\t', '"']);
                if !plain || (bare.is_some() && self.shapes.member(shape, &key).is_none()) {
                    return Err(Broken::Unclear);
                }
                self.requote(start, body, closed.body_end, closed.end);
                (key, closed.end)
            }
            (_, Some(bare)) => {
                let end = body + bare.len();
                if quote.open != "\"" {
                    self.edit(Edit::replace(start, body, "\"", Kind::Quotes));
                }
                self.edit(Edit::insert(end, "\"", Kind::KeyQuotes));
                (Cow::Borrowed(bare), end)
            }
            (Some(closed), None) => {
                let key = look::unescaped(&self.text[body..closed.body_end]).ok_or(Broken::Unclear)?;
                if self.shapes.member(shape, &key).is_none() || self.text[body..closed.body_end].contains('"') {
                    return Err(Broken::Unclear);
                }
                self.requote(start, body, closed.body_end, closed.end);
                (key, closed.end)
            }
            (None, None) => return Err(Broken::Cut),
        };
        self.at = end;
        self.behind_key(end);
        Ok(key)
    }

    /// Makes quotes of another kind into JSON's.
    fn requote(&mut self, start: usize, body: usize, body_end: usize, end: usize) {
        for (from, to) in [(start, body), (body_end, end)] {
            if &self.text[from..to] != "\"" {
                self.edit(Edit::replace(from, to, "\"", Kind::Quotes));
            }
        }
    }

    fn bare_key(&mut self) -> Result<Cow<'t, str>, Broken> {
        let start = self.at;
        let key = look::bare_key(self.rest()).ok_or(Broken::Unclear)?;
        let end = start + key.len();
        let behind = &self.text[end..];
        let quote = look::quote(behind).filter(|quote| look::assigns(&behind[quote.open.len()..]));
        match quote {
            // `{a": 1}`
            Some(quote) => {
                let close = end + quote.open.len();
                self.edit(Edit::insert(start, "\"", Kind::KeyQuotes));
                if quote.open != "\"" {
                    self.edit(Edit::replace(end, close, "\"", Kind::Quotes));
                }
                self.at = close;
            }
            None if look::assigns(behind) => {
                self.edit(Edit::insert(start, "\"", Kind::KeyQuotes));
                self.edit(Edit::insert(end, "\"", Kind::KeyQuotes));
                self.at = end;
            }
            None if behind.trim_start().is_empty() => return Err(Broken::Cut),
            None => return Err(Broken::Unclear),
        }
        self.behind_key(self.at);
        Ok(Cow::Borrowed(key))
    }

    /// A missing colon goes right behind the key. The last value is left where it was until then.
    fn behind_key(&mut self, end: usize) {
        if !look::assigns(&self.text[end..]) {
            self.last = Last { end, number: false };
        }
    }

    fn item(&mut self, comma: Option<usize>) -> Result<Next, Broken> {
        let Some(byte) = self.peek() else { return Err(Broken::Cut) };
        if matches!(byte, b']' | b'}') {
            if let Some(comma) = comma {
                self.edit(Edit::delete(comma, comma + 1, Kind::ExtraComma));
            }
            return self.close(byte);
        }
        let Some(Frame { shape, kind: Container::List { count }, .. }) = self.frames.last() else {
            return Err(Broken::Unclear);
        };
        let (shape, count) = (*shape, *count);
        let mut comma = comma;
        if byte == b',' && comma.is_none() && count == 0 {
            // `[, "b": 1}`: an empty list that ends before the key of an outer object.
            (comma, self.last) = (Some(self.at), Last { end: self.at, number: false });
            self.at += 1;
            self.skip()?;
            if look::key(self.rest()).is_none() {
                return Err(Broken::Unclear);
            }
        }
        // `["x", "b": 1}`: a key of an outer object, so the list ends before it.
        if let (Some(_), Some(key)) = (comma, look::key(self.rest()))
            && let Some(home) = self.frames.iter().rposition(|frame| self.lacks(frame, &key.text))
        {
            if self.shapes.member(self.shapes.item(shape, count), &key.text).is_some() {
                return Err(Broken::Unclear);
            }
            self.close_to(home);
            return Ok(Next::Key(comma));
        }
        Ok(Next::Value(self.shapes.item(shape, count)))
    }

    fn value(&mut self, shape: Id) -> Result<Next, Broken> {
        let Some(byte) = self.peek() else { return Err(Broken::Cut) };
        match byte {
            b'{' | b'[' => {
                let key = match self.frames.last().map(|frame| &frame.kind) {
                    Some(Container::Object { last, .. }) => last.clone(),
                    Some(Container::List { count }) => Cow::Owned(count.to_string()),
                    None => Cow::Borrowed(""),
                };
                self.at += 1;
                if byte == b'{' {
                    self.open(shape, Container::Object { seen: HashSet::new(), last: Cow::Borrowed("") }, key)?;
                    return Ok(Next::Key(None));
                }
                self.open(shape, Container::List { count: 0 }, key)?;
                return Ok(Next::Item(None));
            }
            _ => match look::quote(self.rest()) {
                Some(quote) => self.string(quote)?,
                None => self.scalar(shape)?,
            },
        }
        self.last.end = self.at;
        Ok(Next::After)
    }

    /// A number, a literal, or text without quotes.
    fn scalar(&mut self, shape: Id) -> Result<(), Broken> {
        let (start, types) = (self.at, self.shapes.types(shape));
        let word = look::word(self.rest());
        let end = start + word.len();
        if look::delimits(&self.text[end..]) && !word.is_empty() {
            let literal = match word {
                "true" | "false" | "null" => Some(None),
                "True" => Some(Some("true")),
                "False" => Some(Some("false")),
                "None" => Some(Some("null")),
                "NaN" | "Infinity" | "-Infinity" | "+Infinity" | "nan" | "inf" | "undefined" => {
                    return Err(Broken::Unclear);
                }
                _ => None,
            };
            if let Some(literal) = literal {
                if let Some(literal) = literal {
                    self.edit(Edit::replace(start, end, literal, Kind::Literal));
                }
                self.at = end;
                self.last.number = false;
                return Ok(());
            }
            if self.number(word, shape) {
                self.at = end;
                self.last.number = true;
                return Ok(());
            }
        }
        if !types.has(Types::TEXT) || shape == ANY {
            return Err(if self.rest().len() == word.len() { Broken::Cut } else { Broken::Unclear });
        }
        self.bare_text(shape)
    }

    /// Whether the word is a number, with the edits that make it one of JSON.
    fn number(&mut self, word: &str, shape: Id) -> bool {
        let (start, types) = (self.at, self.shapes.types(shape));
        if look::is_number(word) {
            return true;
        }
        let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
        let sign = word.len() - digits.len();
        let numeric = Types::INTEGER;
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && sign == 0 {
            // `007` is a number nowhere, and text as it stands.
            if types.has(Types::TEXT) && !types.has(numeric) && self.shapes.fits_format(shape, digits) {
                self.edit(Edit::insert(start, "\"", Kind::DigitsAsText));
                self.edit(Edit::insert(start + word.len(), "\"", Kind::DigitsAsText));
                return true;
            }
            return false;
        }
        let zero = if digits.starts_with('.') { "0" } else { "" };
        let dot = look::lonely_dot(digits);
        let fixed = match dot {
            Some(dot) => format!("{zero}{}{}", &digits[..dot], &digits[dot + 1..]),
            None => format!("{zero}{digits}"),
        };
        if !look::is_number(&fixed) || (dot.is_some() && !zero.is_empty()) {
            return false;
        }
        if word.starts_with('+') {
            self.edit(Edit::delete(start, start + 1, Kind::NumberForm));
        }
        if !zero.is_empty() {
            self.edit(Edit::insert(start + sign, "0", Kind::NumberForm));
        }
        if let Some(dot) = dot {
            self.edit(Edit::delete(start + sign + dot, start + sign + dot + 1, Kind::NumberForm));
        }
        true
    }

    /// Text without quotes, up to the next key or the end of what is open.
    fn bare_text(&mut self, shape: Id) -> Result<(), Broken> {
        let start = self.at;
        let in_object = self.frames.last().is_some_and(Frame::is_object);
        let end = look::bare_text(self.text, start, in_object)?;
        let text = self.text[start..end].trim_end();
        let key = match self.frames.last().map(|frame| &frame.kind) {
            Some(Container::Object { last, .. }) => &**last,
            _ => "",
        };
        let options = self.shapes.shape(shape).options.as_deref();
        let is_option = options.is_some_and(|options| options.iter().any(|option| option.as_str() == Some(text)));
        let no_value = || is_standin(text, key) || !self.shapes.fits_format(shape, text);
        if text.is_empty() || look::tells_of_elision(text) || (!is_option && no_value()) {
            return Err(Broken::Unclear);
        }
        let end = start + text.len();
        self.edit(Edit::insert(start, "\"", Kind::BareText));
        for (at, _) in text.match_indices('\\') {
            self.edit(Edit::insert(start + at, "\\", Kind::LoneBackslash));
        }
        self.edit(Edit::insert(end, "\"", Kind::BareText));
        self.at = end;
        self.last.number = false;
        Ok(())
    }

    /// What stands behind a value.
    fn after(&mut self) -> Result<Next, Broken> {
        let in_object = self.frames.last().is_some_and(Frame::is_object);
        let comma = self.at;
        match self.text.as_bytes().get(self.at) {
            None => return self.end(),
            Some(byte @ (b'}' | b']')) => return self.close(*byte),
            Some(b',') => self.at += 1,
            Some(_) if in_object && look::key(self.rest()).is_some() => {
                self.edit(Edit::insert(self.last.end, ",", Kind::MissingComma));
            }
            Some(_) if !in_object && look::begins_value(self.rest()) => {
                self.edit(Edit::insert(self.last.end, ",", Kind::MissingComma));
            }
            _ => return Err(Broken::Unclear),
        }
        let comma = (self.at > comma).then_some(comma);
        match &mut self.frames.last_mut().ok_or(Broken::Unclear)?.kind {
            Container::Object { .. } => Ok(Next::Key(comma)),
            Container::List { count } => {
                *count += 1;
                Ok(Next::Item(comma))
            }
        }
    }

    /// Takes a closing bracket, be it the right one or not.
    fn close(&mut self, byte: u8) -> Result<Next, Broken> {
        let Some(frame) = self.frames.last() else { return Err(Broken::Unclear) };
        if frame.closer() != byte {
            let outer = &self.frames[..self.frames.len() - 1];
            let home = outer.iter().rposition(|frame| frame.closer() == byte);
            let home = home.filter(|_| !self.fork());
            match home {
                Some(home) => self.close_to(home),
                None => {
                    let closer = if byte == b'}' { "]" } else { "}" };
                    self.edit(Edit::replace(self.at, self.at + 1, closer, Kind::WrongCloser));
                }
            }
        }
        self.frames.pop();
        self.at += 1;
        self.last = Last { end: self.at, number: false };
        Ok(Next::After)
    }

    /// The text ends while something is open. Only brackets may be missing, and only when nothing else was guessed.
    fn end(&mut self) -> Result<Next, Broken> {
        let guarded = |frame: &Frame<'_>| {
            let lacks = |key: &&str| self.lacks(frame, key);
            GUARDS.iter().any(lacks)
        };
        if self.last.number || self.guessed || self.frames.iter().any(guarded) {
            return Err(Broken::Cut);
        }
        self.closed = self.frames.len();
        if let Some(Frame { kind: Container::Object { seen, .. }, .. }) = self.frames.first() {
            self.keys = seen.iter().map(|key| key.to_string()).collect();
        }
        let closers: String = self.frames.drain(..).rev().map(|frame| char::from(frame.closer())).collect();
        self.edit(Edit::insert(self.last.end, closers, Kind::MissingClosers));
        Ok(Next::After)
    }
}
