//! What the tests of the dialects share: tables of bodies that servers send, each with what it comes to, and the pieces that
//! conversations are made of.
//!
//! Where the rows about each way to deviate stand, by the dialect's own `tests.rs` (`o`: openai, `r`: responses, `a`: anthropic,
//! `g`: gemini; `faults`: `tests/it/faults.rs`, for all four):
//!
//! | what servers do | rows |
//! |---|---|
//! | leave out ids, names, times and types | o `envelopes`, `calls_on_the_wire`; r `framing`, `calls_on_the_wire`; a, g `members_that_are_missing_or_of_other_types` |
//! | write numbers as floats and texts, ids as numbers, indexes as texts | the same |
//! | have finish reasons of their own, empty ones, in other letters | o `finish_reasons`; r `ends`; a `streams_that_are_told_otherwise`; g `reasons_for_stopping` |
//! | send content as parts, one part, a text, null | o `envelopes`, `reasoning`; r `messages`; a, g as the first |
//! | leave out indexes and ids of calls, or give all the same | o, r `calls_on_the_wire`; a `calls`; g has none; `faults` 32 |
//! | send arguments as an object, null, nothing, a list, encoded twice | o, r `calls_on_the_wire`; a `calls`; g `parts`; `faults` 35 |
//! | send all arguments so far with every piece | `openai::calls` |
//! | tell tokens in part, not at all, elsewhere, below nothing | o, r `tokens_used`; g `tokens`; a, g as the first; `faults` 39 |
//! | answer with an error and a good status, as object, text, list, `detail`, event | o `errors_with_a_good_status`; r `failures`; g `errors_in_the_stream`; a, g as the first; `faults` 20–22 |
//! | send events and items of kinds that nobody knows | o `envelopes`; r `framing`, `messages`; a `thoughts_and_unknown_blocks`; g `parts` |
//! | send a document for a stream, a list, JSON lines, two values in one event | o, r, g `framing`; a as the first; `faults` 23 |
//! | end without end mark, with one that is odd, without blank line | o, r, g `framing`; a `streams_that_are_told_otherwise`; `faults` 19, 41 |
//! | keep thoughts and signatures in members of their own, wanted back | o, r `reasoning`; a `thoughts_and_unknown_blocks`; g `parts` |

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Class, Delta, Failure,
    dialect::{Format, Target},
    reading::Seen,
};
use crate::chat::{
    Answer, AnswerPart, CallId, Effect, EffectSource, Media, MediaSource, Message, Opaque, Part, Request, ToolCall,
    ToolDef, ToolName, ToolResult, WrittenCall,
};

/// A server of a format, as the client meets it.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    pub(super) format: &'static dyn Format,
    pub(super) target: Target<'a>,
}

/// What a server sends, and what it comes to: an answer, or a class and what the failure's message must hold.
pub(super) struct Row(pub(super) &'static str, Vec<u8>, Result<Answer, (Class, &'static str)>);

pub(super) fn good(name: &'static str, body: impl Into<Vec<u8>>, answer: Answer) -> Row {
    Row(name, body.into(), Ok(answer))
}

pub(super) fn bad(name: &'static str, body: impl Into<Vec<u8>>, class: Class, text: &'static str) -> Row {
    Row(name, body.into(), Err((class, text)))
}

impl Server<'_> {
    /// Reads a body that arrives in chunks of `step` bytes, as the client does.
    pub(super) fn read(self, body: impl AsRef<[u8]>, step: usize, seen: Seen<'_>) -> Result<Answer, Failure> {
        let mut reading = self.format.reading();
        let mut read = || {
            for chunk in body.as_ref().chunks(step) {
                reading.push(chunk, seen)?;
                if reading.is_ended() {
                    break;
                }
            }
            reading.end(self.target, seen)
        };
        read().map_err(|failure| failure.discarding(&reading.text()))
    }

    /// Each row comes to what it should, however the bytes are split.
    pub(super) fn check(self, rows: Vec<Row>) {
        let mut wrong = Vec::new();
        for Row(name, bytes, expected) in rows {
            for step in [bytes.len().max(1), 1, 2, 3, 17] {
                let read = self.read(&bytes, step, &mut |_| {});
                let is_right = match (&read, &expected) {
                    (Ok(answer), Ok(expected)) => answer == expected,
                    (Err(failure), Err((class, text))) => failure.class == *class && failure.message.contains(text),
                    _ => false,
                };
                if !is_right {
                    wrong.push(format!("{name}, by {step}:\n  {read:?}\n  {expected:?}"));
                    break;
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// What is told of the pieces of a good answer, in order. Arguments, which come in pieces of any size, are only
    /// counted: all that was written of them was told.
    pub(super) fn told(self, body: &str) -> Vec<String> {
        let (mut told, mut arguments) = (Vec::new(), 0);
        let answer = self.read(body, 5, &mut |delta: Delta<'_>| match delta {
            Delta::Arguments(piece) => arguments += piece.len(),
            delta => told.push(format!("{delta:?}")),
        });
        let written: usize = answer.unwrap().calls().map(|call| call.arguments.len()).sum();
        assert!(written.abs_diff(arguments) <= 2, "of {written} bytes of arguments {arguments} were told");
        told
    }

    /// No beginning of this body is read as an answer, unless it holds `last`, the word that the answer is whole: then all
    /// of it is there but perhaps its usage.
    pub(super) fn no_beginning_passes(self, body: &str, last: &str) {
        let whole = self.read(body, 64, &mut |_| {}).unwrap();
        let finished = body.rfind(last).unwrap();
        for end in 0..body.len() {
            match self.read(&body.as_bytes()[..end], 64, &mut |_| {}) {
                Err(failure) => assert_eq!(failure.class, Class::MalformedAnswer, "{end}: {failure}"),
                Ok(read) => {
                    assert!(end > finished, "{end}");
                    assert_eq!(Answer { usage: whole.usage, ..read }, whole, "{end}");
                }
            }
        }
    }

    /// The body with these bytes in place of `cut` of its own is read the same in any split, and reading it ends.
    pub(super) fn damaged(self, body: &str, (at, cut): (usize, usize), with: Vec<u8>, step: usize) {
        let mut body = body.as_bytes().to_vec();
        let at = at % body.len();
        body.splice(at..(at + cut).min(body.len()), with);
        let whole = self.read(&body, body.len().max(1), &mut |_| {});
        assert_eq!(self.read(&body, step, &mut |_| {}), whole, "at {at}, by {step}");
    }

    /// The body of a request, byte for byte.
    pub(super) fn written(self, request: &Request) -> String {
        String::from_utf8(self.format.body(request, self.target).unwrap().to_vec()).unwrap()
    }

    /// The body of a request, as JSON.
    pub(super) fn rendered(self, request: &Request) -> Value {
        serde_json::from_str(&self.written(request)).unwrap()
    }

    /// What only this server understands.
    pub(super) fn opaque(self, kind: &str, data: &str) -> Box<Opaque> {
        let Target { issuer, model, .. } = self.target;
        Box::new(Opaque { issuer: issuer.into(), model: model.into(), kind: kind.into(), data: data.into() })
    }
}

pub(super) fn said(text: &str) -> AnswerPart {
    AnswerPart::Text(text.into())
}

/// A call as a model wrote it; an empty id is none.
pub(super) fn call(id: &str, name: &str, arguments: &str) -> AnswerPart {
    AnswerPart::Call(WrittenCall {
        provider_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        name: name.into(),
        arguments: arguments.into(),
        complete: true,
        opaque: None,
    })
}

/// The same, cut off.
pub(super) fn cut(part: AnswerPart) -> AnswerPart {
    match part {
        AnswerPart::Call(call) => AnswerPart::Call(WrittenCall { complete: false, ..call }),
        other => other,
    }
}

/// The answer as it stands in the conversation of the next request.
pub(super) fn answered(answer: &Answer) -> Message {
    let part = |part: &AnswerPart| match part {
        AnswerPart::Text(text) => Part::Text(text.clone()),
        AnswerPart::Reasoning(reasoning) => Part::Reasoning(reasoning.clone()),
        AnswerPart::Opaque(opaque) => Part::Opaque(opaque.clone()),
        AnswerPart::Call(call) => own_call(1, &call.name, &call.arguments, call.opaque.clone()),
    };
    Message::Assistant(answer.parts.iter().map(part).collect())
}

/// A request of these messages alone.
pub(super) fn request(messages: impl IntoIterator<Item = Message>) -> Request {
    Request { messages: messages.into_iter().map(Arc::new).collect(), ..Request::default() }
}

pub(super) fn user(text: &str) -> Message {
    Message::User(vec![Part::text(text)])
}

/// The n-th call of the first turn.
pub(super) fn tool_call(n: u32, name: &str, arguments: &str) -> Part {
    own_call(n, name, arguments, None)
}

/// The same, with what its issuer wants back.
pub(super) fn own_call(n: u32, name: &str, arguments: &str, own: Option<Box<Opaque>>) -> Part {
    let id = CallId { turn: 1, call: n };
    Part::Call(ToolCall { id, name: name.into(), arguments: arguments.into(), opaque: own })
}

/// The result of the n-th call of the first turn.
pub(super) fn result(n: u32, name: &str, content: Vec<Part>, is_error: bool) -> Message {
    Message::Tool(ToolResult { call: CallId { turn: 1, call: n }, name: name.into(), content, is_error })
}

pub(super) fn image() -> Part {
    Part::Image(Media { name: None, mime: "image/png".into(), source: MediaSource::Base64("aGkh".into()) })
}

pub(super) fn tool(name: &str, schema: Value) -> ToolDef {
    ToolDef {
        name: name.into(),
        origin: ToolName { server: "s".into(), tool: name.into() },
        description: "".into(),
        input_schema: Arc::new(schema),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: false,
        additive: false,
        hash: "".into(),
    }
}

/// A tool that takes one text.
pub(super) fn described(name: &str, description: &str, property: &str) -> ToolDef {
    let schema = json!({"type": "object", "properties": {property: {"type": "string"}}, "required": [property]});
    ToolDef { description: description.into(), ..tool(name, schema) }
}
