//! Splits the body of an answer into the JSON texts it is made of, whether it came as server-sent events, as one JSON
//! document or as JSON lines, and whatever was announced: bytes in by [`Body::push`], pieces out by [`Body::next`].
//!
//! Events follow the HTML standard (server-sent events, 2026-09), read more forgivingly: a piece is handed out as soon as
//! its JSON closes, so that neither a missing blank line nor a missing last line end loses it, and what is no field at all
//! is passed over. (`sse-stream`, which rmcp brings along, stops at an unknown field or a line without colon, drops an
//! event without blank line at the end, and has no bounds.) Always true:
//! - Any split of the bytes gives the same pieces, in time linear in their number.
//! - What is kept in memory is bounded by [`EVENT_BYTES_MAX`], what is read at all by [`BODY_BYTES_MAX`].

use std::collections::VecDeque;

use memchr::memchr2;

use super::json::Scan;

/// Most bytes of a body, after decompression: ten times the longest answer of any model, and a bound on endless streams.
pub(super) const BODY_BYTES_MAX: usize = 32 << 20;

/// Most bytes of one event or document. Half a body, so that what is split off never doubles the bound.
pub(super) const EVENT_BYTES_MAX: usize = 16 << 20;

/// Most bytes kept of what is neither field nor comment, to tell a person what the server said instead.
const STRAY_BYTES_MAX: usize = 256;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// One piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The data of an event, and its name if it has one.
    Event { name: Option<String>, data: Vec<u8> },
    /// A body that is no stream of events, whole.
    Document(Vec<u8>),
    /// A comment: the server lives and has nothing to say yet.
    Alive,
}

/// The body is larger than we read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TooLarge {
    #[error("the answer is larger than {} MiB", BODY_BYTES_MAX >> 20)]
    Body,
    #[error("one event of the answer is larger than {} MiB", EVENT_BYTES_MAX >> 20)]
    Event,
}

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct Body {
    form: Form,
    /// Bytes so far.
    total: usize,
    /// The line that has not ended yet; of a document, all of it.
    line: Vec<u8>,
    /// The last line ended in a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    name: Option<String>,
    data: Vec<u8>,
    scan: Scan,
    /// How much of `data` the scan has seen.
    scanned: usize,
    ready: VecDeque<Piece>,
    stray: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Only white space and parts of a byte order mark so far.
    #[default]
    Unknown,
    Events,
    Document,
}

impl Body {
    /// Takes in the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        self.total = self.total.saturating_add(bytes.len());
        if self.total > BODY_BYTES_MAX {
            return Err(TooLarge::Body);
        }
        if self.form == Form::Unknown {
            bytes = self.sniff(bytes);
        }
        match self.form {
            Form::Unknown => Ok(()),
            Form::Document => self.extend_line(bytes),
            Form::Events => self.split(bytes),
        }
    }

    /// Tells that no more bytes come: what has no proper end yet is as whole as it gets.
    pub(super) fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        match self.form {
            Form::Document => self.ready.push_back(Piece::Document(line)),
            Form::Unknown => {}
            Form::Events => {
                // Too large a line has been refused when it came.
                let _ = self.take_line(&line);
                self.dispatch();
                self.name = None;
            }
        }
    }

    /// The next whole piece, if there is one.
    pub(super) fn next(&mut self) -> Option<Piece> {
        self.ready.pop_front()
    }

    /// Whether this is a document that has begun to arrive.
    pub(super) fn is_document(&self) -> bool {
        self.form == Form::Document
    }

    /// The beginning of what stood in the stream and was neither field nor comment.
    pub(super) fn stray(&self) -> &[u8] {
        &self.stray
    }

    /// Finds out the form by the first byte that says something; answers the bytes from there on.
    fn sniff<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // `line` holds what has come of a byte order mark.
            if BOM.get(self.line.len()) == Some(&byte) {
                self.line.push(byte);
            } else if byte.is_ascii_whitespace() {
                self.line.clear();
            } else {
                self.form = if b"{[<".contains(&byte) { Form::Document } else { Form::Events };
                self.line.clear();
                break;
            }
            at += 1;
        }
        bytes.get(at..).unwrap_or_default()
    }

    fn split(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr2(b'\n', b'\r', bytes) {
            let is_return = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.take_line(&bytes[..end])?;
            } else {
                self.extend_line(&bytes[..end])?;
                let mut line = std::mem::take(&mut self.line);
                self.take_line(&line)?;
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
            if is_return {
                match bytes.first() {
                    Some(b'\n') => bytes = &bytes[1..],
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
        }
        // Whoever leaves out the blank line is not waited for.
        self.dispatch_if_closed();
        self.extend_line(bytes)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + bytes.len() > EVENT_BYTES_MAX {
            return Err(TooLarge::Event);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), TooLarge> {
        let line = line.trim_ascii_start();
        if line.is_empty() {
            self.dispatch();
            self.name = None;
            return Ok(());
        }
        self.dispatch_if_closed();
        if line[0] == b'{' {
            // Some proxies write an error into the stream without making an event of it.
            return self.take_data(line);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let field = &line[..colon];
        let is = |name: &[u8]| field.eq_ignore_ascii_case(name);
        if field.is_empty() {
            self.ready.push_back(Piece::Alive);
        } else if is(b"data") {
            self.take_data(value)?;
        } else if is(b"event") {
            self.name = Some(String::from_utf8_lossy(value).trim().to_owned());
        } else if !is(b"id") && !is(b"retry") && self.stray.len() < STRAY_BYTES_MAX {
            self.stray.extend(line.iter().take(STRAY_BYTES_MAX - self.stray.len()).chain(b"\n"));
        }
        Ok(())
    }

    fn take_data(&mut self, value: &[u8]) -> Result<(), TooLarge> {
        if self.data.len() + value.len() >= EVENT_BYTES_MAX {
            return Err(TooLarge::Event);
        }
        if !self.data.is_empty() {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// Hands out the data if it is whole JSON. Asked only where no blank line tells so, which spares most streams the scan.
    fn dispatch_if_closed(&mut self) {
        if self.scanned < self.data.len() {
            self.scan.feed(&self.data[self.scanned..]);
            self.scanned = self.data.len();
            if self.scan.has_closed() {
                self.dispatch();
            }
        }
    }

    fn dispatch(&mut self) {
        let data = std::mem::take(&mut self.data);
        (self.scan, self.scanned) = (Scan::default(), 0);
        if !data.trim_ascii().is_empty() {
            self.ready.push_back(Piece::Event { name: self.name.clone().filter(|name| !name.is_empty()), data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], step: usize) -> Vec<Piece> {
        let mut body = Body::default();
        let mut pieces = Vec::new();
        for part in bytes.chunks(step) {
            body.push(part).unwrap();
            pieces.extend(std::iter::from_fn(|| body.next()));
        }
        body.end();
        pieces.extend(std::iter::from_fn(|| body.next()));
        pieces
    }

    fn event(data: &str) -> Piece {
        Piece::Event { name: None, data: data.into() }
    }

    #[test]
    fn any_split_gives_the_same_pieces() {
        let named = || Piece::Event { name: Some("error".into()), data: "{}".into() };
        let table: Vec<(&str, Vec<Piece>)> = vec![
            ("data: {\"a\":1}\n\ndata: [DONE]\n\n", vec![event("{\"a\":1}"), event("[DONE]")]),
            ("data:{\"a\":1}\r\n\r\ndata:[DONE]\r\n\r\n", vec![event("{\"a\":1}"), event("[DONE]")]),
            ("data: {}\r\rdata: x\r\r", vec![event("{}"), event("x")]),
            ("\u{feff}\n\n data: {}", vec![event("{}")]),
            ("data: {}\ndata: {}\ndata: [DONE] ", vec![event("{}"), event("{}"), event("[DONE] ")]),
            (": hello\n\ndata: {\ndata:  \"a\": 1}\n\n", vec![Piece::Alive, event("{\n \"a\": 1}")]),
            ("event: error\ndata: {}\n\ndata: {}\n\n", vec![named(), event("{}")]),
            ("id: 1\nretry: x\nnonsense\nfoo: bar\ndata\ndata: y\n\n", vec![event("y")]),
            ("data: {}\n\n{\"error\":\"x\"}\n", vec![event("{}"), event("{\"error\":\"x\"}")]),
            ("\u{feff}{\"a\":\n1}", vec![Piece::Document("{\"a\":\n1}".into())]),
            ("\n<html>", vec![Piece::Document("<html>".into())]),
            ("", vec![]),
            (" \n", vec![]),
        ];
        for (bytes, expected) in table {
            for step in [1, 2, 3, 7, bytes.len().max(1)] {
                assert_eq!(pieces(bytes.as_bytes(), step), expected, "{bytes:?} by {step}");
            }
        }
    }

    #[test]
    fn what_is_no_stream_is_remembered_for_the_message() {
        let mut body = Body::default();
        body.push(b"upstream connect error\n").unwrap();
        assert_eq!(body.stray(), b"upstream connect error\n");
        body.push(&b"x".repeat(1000)).unwrap();
        body.end();
        assert_eq!(body.stray().len(), STRAY_BYTES_MAX + 1);
    }

    #[test]
    fn an_endless_body_is_refused() {
        let mut body = Body::default();
        let line = [b"data: ".as_slice(), &b"x".repeat(1 << 20), b"\n\n"].concat();
        let refused = (0..100).find_map(|_| {
            let refused = body.push(&line).err();
            while body.next().is_some() {}
            refused
        });
        assert_eq!(refused, Some(TooLarge::Body));

        for start in ["data: ", "{", "data: {\ndata: "] {
            let mut body = Body::default();
            body.push(start.as_bytes()).unwrap();
            let refused = (0..17).find_map(|_| body.push(&b"x".repeat(1 << 20)).err());
            assert_eq!(refused, Some(TooLarge::Event), "{start:?}");
        }
    }
}
