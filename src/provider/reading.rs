//! Reads an answer of any dialect: bytes in, pieces of the body by [`Body`], their JSON as [`Event`]s into what the dialect
//! makes of them (its [`Wire`]), and at the end the neutral answer. Always true:
//! - Any split of the bytes gives the same answer, in time linear in their number.
//! - What is no JSON, and what calls itself an error, is a failure; words in place of JSON keep the connection alive.
//! - An answer is handed out only when its dialect says that it is whole, and there is something in it (`finish`). What
//!   was cut off behind that is not missed.

use std::borrow::Cow;

use serde_json::{Value, value::RawValue};

use super::{
    Class, Delta, Dialect, Failure, Quirks,
    body::{Body, Piece},
    dialect::Target,
    failure::{self, failure},
    finish, json,
};
use crate::chat::{Answer, Usage};

/// Reads a whole answer from the pieces in which its body came: the way of every answer, without a connection. For the
/// checks of `tests/fuzz`.
///
/// # Errors
/// When the body is no whole answer.
pub fn read_answer<'b>(dialect: Dialect, body: impl IntoIterator<Item = &'b [u8]>) -> Result<Answer, Failure> {
    let mut reading = dialect.format().reading();
    for bytes in body {
        if reading.is_ended() {
            break;
        }
        reading.push(bytes, &mut |_| {})?;
    }
    reading.end(Target { issuer: "", model: "", quirks: &Quirks::NONE, strict: false }, &mut |_| {})
}

/// Whom to tell of every piece of an answer.
pub(super) type Seen<'a> = &'a mut dyn FnMut(Delta<'_>);

/// An answer being read.
pub(super) trait Reading: Send {
    /// Takes in bytes, telling `seen` of every piece of the answer in them. Answers whether they held a sign of life.
    ///
    /// # Errors
    /// When the server reports an error, or what it sends is too large or no answer.
    fn push(&mut self, bytes: &[u8], seen: Seen<'_>) -> Result<bool, Failure>;

    /// Whether the end mark has come: nothing can follow.
    fn is_ended(&self) -> bool;

    /// Whether something of the answer has come.
    fn has_begun(&self) -> bool;

    /// Whether the answer is whole as far as the server says, so that what may follow is dispensable.
    fn is_finished(&self) -> bool;

    /// Text that has come so far.
    fn text(&self) -> String;

    /// What the server has told of tokens so far; `None` when nothing.
    fn usage(&self) -> Option<Usage>;

    /// The answer, at the end of the body.
    ///
    /// # Errors
    /// When it broke off, or was none.
    fn end(&mut self, target: Target<'_>, seen: Seen<'_>) -> Result<Answer, Failure>;
}

/// What a dialect makes of the events of an answer, one behind the other.
pub(super) trait Wire: Default + Send {
    /// An answer in the dialect's own terms.
    type Answer;

    /// What would have said that the answer is whole, for the message when nothing did.
    const END: &'static str;

    /// Takes in the data of an event that keeps to the book, without building a tree; `false` for any other.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    fn usual(&mut self, _data: &[u8], _seen: Seen<'_>) -> Result<bool, Failure> {
        Ok(false)
    }

    /// Takes in one event.
    ///
    /// # Errors
    /// When the server reports an error, or the event can be no part of an answer.
    fn event(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure>;

    /// How far the answer has come.
    fn progress(&self) -> Progress;

    /// The same, to be moved on.
    fn progress_mut(&mut self) -> &mut Progress;

    /// Whether the answer is whole as far as the server says.
    fn is_finished(&self) -> bool;

    /// Text that has come so far.
    fn text(&self) -> String;

    /// What the server has told of tokens so far; `None` when nothing.
    fn usage(&self) -> Option<Usage>;

    /// Hands out what was read.
    fn take(&mut self, seen: Seen<'_>) -> Self::Answer;
}

/// How far an answer has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Something has come that says that this is an answer, with or without anything in it.
    pub(super) answered: bool,
    /// Something of the answer has come.
    pub(super) begun: bool,
    /// The end mark has come, or all there is in one document: nothing can follow.
    pub(super) ended: bool,
}

/// One JSON value of a body: an event of a stream, an element of one that came as an array, or a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event<'a> {
    /// The name beside the data.
    pub(super) name: Option<&'a str>,
    pub(super) value: &'a Value,
    /// The text that `value` was read from, if it is sure.
    pub(super) source: Option<&'a str>,
    /// Some of it was no text.
    pub(super) is_damaged: bool,
    /// The body is no stream, but this.
    pub(super) is_document: bool,
}

/// An answer of one dialect being read.
pub(super) struct Reader<W: Wire> {
    body: Body,
    wire: W,
    convert: Convert<W::Answer>,
}

/// How an answer in a dialect's own terms becomes the neutral one.
type Convert<A> = fn(A, Target<'_>) -> Result<Answer, Failure>;

impl<W: Wire> Reader<W> {
    /// Begins to read an answer.
    pub(super) fn new(convert: Convert<W::Answer>) -> Self {
        Reader { body: Body::default(), wire: W::default(), convert }
    }

    fn piece(&mut self, piece: &Piece, seen: Seen<'_>) -> Result<(), Failure> {
        let (name, data, is_document) = match piece {
            Piece::Alive => return Ok(()),
            Piece::Event { name: None, data } if self.wire.usual(data, seen)? => return Ok(()),
            Piece::Event { name, data } => (name.as_deref(), data, false),
            Piece::Document(data) => (None, data, true),
        };
        let mut text = String::from_utf8_lossy(data);
        if matches!(text.trim(), "[DONE]" | "\"[DONE]\"" | "DONE") {
            // The chat format's own; some gateways write it behind the others too.
            self.wire.progress_mut().ended = true;
            return Ok(());
        }
        let mut is_damaged = matches!(text, Cow::Owned(_));
        if name == Some("error") {
            let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
            return Err(failure::of_value(&value));
        }
        if !is_document && !text.contains('{') {
            // Some servers keep the connection alive with words. No event is without an object.
            return Ok(());
        }
        let mut values = json::values(&text);
        if values.is_err() {
            // Half of a surrogate pair is no character; everything else of the piece may still be good.
            text = Cow::Owned(json::without_lone_surrogates(&text));
            values = json::values(&text);
            is_damaged = true;
        }
        let values = values.map_err(|error| failure::unreadable(&text, &error))?;
        let mut event = |value, source| self.wire.event(&Event { name, value, source, is_damaged, is_document }, seen);
        match values.as_slice() {
            // Gemini without `alt=sse`, and servers that send what is theirs in a list.
            [Value::Array(values)] => {
                let sources: Vec<&RawValue> = serde_json::from_str(&text).unwrap_or_default();
                let mut sources = sources.into_iter().map(RawValue::get);
                values.iter().try_for_each(|value| event(value, sources.next()))
            }
            [value] => event(value, Some(&text)),
            // Of several values, none has a source text of its own.
            values => values.iter().try_for_each(|value| event(value, None)),
        }
    }
}

impl<W: Wire> Reading for Reader<W> {
    fn push(&mut self, bytes: &[u8], seen: Seen<'_>) -> Result<bool, Failure> {
        self.body.push(bytes).map_err(|error| failure(Class::MalformedAnswer, &error.to_string()))?;
        let mut alive = self.body.is_document();
        while let Some(piece) = self.body.next() {
            alive = true;
            if self.wire.progress().ended {
                break;
            }
            self.piece(&piece, seen)?;
        }
        Ok(alive)
    }

    fn is_ended(&self) -> bool {
        self.wire.progress().ended
    }

    fn has_begun(&self) -> bool {
        self.wire.progress().begun || self.body.is_document()
    }

    fn is_finished(&self) -> bool {
        self.wire.is_finished()
    }

    fn text(&self) -> String {
        self.wire.text()
    }

    fn usage(&self) -> Option<Usage> {
        self.wire.usage()
    }

    fn end(&mut self, target: Target<'_>, seen: Seen<'_>) -> Result<Answer, Failure> {
        self.body.end();
        while let Some(piece) = self.body.next() {
            if self.wire.progress().ended {
                break;
            }
            self.piece(&piece, seen).or_else(|failure| if self.is_finished() { Ok(()) } else { Err(failure) })?;
        }
        if !self.wire.progress().answered {
            let stray = String::from_utf8_lossy(self.body.stray());
            let message = match stray.trim() {
                "" => Cow::Borrowed("the server closed the connection without an answer"),
                stray => Cow::Owned(format!("the server sent no answer but {stray:?}")),
            };
            return Err(failure(Class::MalformedAnswer, &message));
        }
        if !self.wire.is_finished() {
            return Err(failure(Class::MalformedAnswer, &format!("the answer broke off: {}", W::END)));
        }
        let (told, text) = (self.wire.usage(), self.wire.text());
        let answer = (self.convert)(self.wire.take(seen), target).and_then(finish::with_content);
        answer.map_err(|failure| failure.told(told).discarding(&text))
    }
}
