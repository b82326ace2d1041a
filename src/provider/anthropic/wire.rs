//! Reads what servers of the Anthropic messages format send: the events of a stream and whole answers, through accessors
//! that take every member as optional and every type as possible.
//!
//! Events go in by [`Wire::event`]; [`Wire::take`] gives the answer in wire terms, which `convert` turns into the neutral
//! form. The format as documented at platform.claude.com/docs/en/build-with-claude/streaming (2026-11) and as
//! real servers deviate from it; each deviation is a row in `tests.rs`. Always true:
//! - Reading takes time linear in what comes.
//! - An answer is whole only if its stream ended with `message_stop` or gave a stop reason, or it came as one document.
//! - What cannot be read, and what reports an error, is a failure; nothing is passed over that could be part of a call.
//! - A block of a kind that we do not know is kept as it came, or, if that cannot be told for sure, not at all.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    super::{
        Class, Delta, Failure,
        failure::{self, failure},
        json::{self, Scan, Step},
        reading::{Event, Progress, Seen, Wire},
    },
    convert,
};
use crate::chat::Usage;

/// Most blocks in one answer. No model writes more in earnest, and looking for the block of a piece stays cheap.
const BLOCKS_MAX: usize = 4096;

/// An answer in wire terms.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) blocks: Vec<Block>,
    /// As the server wrote it; `None` when it gave none.
    pub(super) stop: Option<String>,
    /// The answer came as one document without the member for the reason.
    pub(super) has_no_stop: bool,
    /// What the service says of a refusal.
    pub(super) refusal: Option<String>,
    pub(super) usage: Counts,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
}

/// One block of an answer, as far as it has come.
#[derive(Debug)]
pub(super) struct Block {
    index: Option<u64>,
    ended: bool,
    pub(super) content: Content,
}

/// What a block holds.
#[derive(Debug)]
pub(super) enum Content {
    Text(String),
    /// Thinking, and what the service wants back with it; `None` when it gave nothing.
    Thinking {
        text: String,
        signature: Option<String>,
    },
    /// Thinking that only the service can read.
    Redacted(String),
    Call(Call),
    /// A block of a kind that we do not know.
    Other(Other),
}

/// One call as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// The input that stood in the block as it began.
    initial: String,
    /// The input that came in pieces.
    pieces: String,
    scan: Scan,
    /// The server said that the block is whole.
    ended: bool,
}

/// A block that is kept for its issuer.
#[derive(Debug)]
pub(super) struct Other {
    pub(super) kind: String,
    /// As JSON text.
    pub(super) json: String,
    /// Its `input`, where that came in pieces.
    input: String,
    /// Pieces have come for it of which we do not know where they belong.
    is_unclear: bool,
}

/// What a server says of tokens; the largest value wins where it says so repeatedly, as the counts are cumulative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Without what was read from the cache or written to it.
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) thinking: Option<u64>,
}

impl Call {
    /// The arguments as written: a call of a tool without parameters has an empty object, or nothing at all.
    pub(super) fn arguments(&self) -> &str {
        match (self.pieces.trim(), self.initial.as_str()) {
            ("", "") => "{}",
            ("", initial) => initial,
            _ => &self.pieces,
        }
    }

    /// Whether the arguments may end where they end.
    pub(super) fn is_closed(&self) -> bool {
        if !self.scan.is_empty() {
            return self.scan.is_closed();
        }
        let initial = Scan::of(&self.initial);
        self.ended || !initial.is_empty() && initial.is_closed()
    }
}

impl Other {
    /// The block as it goes back; `None` when it is not sure how it was.
    pub(super) fn whole(&self) -> Option<Cow<'_, str>> {
        if self.is_unclear {
            return None;
        }
        if self.input.is_empty() {
            return Some(Cow::Borrowed(&self.json));
        }
        let mut block: Value = serde_json::from_str(&self.json).ok()?;
        block["input"] = serde_json::from_str(&self.input).ok()?;
        Some(Cow::Owned(block.to_string()))
    }
}

/// An answer being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    answer: Answer,
    progress: Progress,
    /// More came behind a stop reason: this server's stop reasons tell nothing.
    stop_lies: bool,
}

impl Wire for Reading {
    type Answer = Answer;

    const END: &'static str = "neither an end mark nor a stop reason came";

    fn event(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let value = event.value;
        if is_error(event) {
            return Err(failure::of_value(value));
        }
        match kind(event) {
            "message_start" => self.message(value.get("message").unwrap_or(value)),
            "content_block_start" => {
                let block = value.get("content_block").unwrap_or(&Value::Null);
                self.begin(block, json::count(value, "index"), event, &[Step::Member("content_block")], seen)?;
            }
            "content_block_delta" => self.delta(event, seen)?,
            "content_block_stop" => self.stop_block(json::count(value, "index")),
            "message_delta" => {
                self.stop(value.get("delta").unwrap_or(value));
                self.answer.usage.take(value.get("usage").or_else(|| value.pointer("/delta/usage")));
            }
            "message_stop" => self.progress.ended = self.progress.answered,
            // All of it at once: as a document, or as one event.
            "message" => {
                self.message(value);
                self.answer.blocks.clear();
                match value.get("content") {
                    Some(Value::String(text)) => {
                        let block = serde_json::json!({"type": "text", "text": text});
                        self.begin(&block, None, event, &[], seen)?;
                    }
                    Some(Value::Array(blocks)) => {
                        for (at, block) in blocks.iter().enumerate() {
                            self.begin(block, None, event, &[Step::Member("content"), Step::Element(at)], seen)?;
                        }
                    }
                    _ => {}
                }
                self.answer.blocks.iter_mut().for_each(Block::end);
                self.stop(value);
                self.answer.has_no_stop = event.is_document && value.get("stop_reason").is_none();
                self.progress.ended = true;
            }
            // `ping`, and whatever the service will think of.
            _ => {}
        }
        self.progress.ended |= event.is_document && self.progress.answered;
        Ok(())
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn is_finished(&self) -> bool {
        self.progress.ended || self.answer.stop.is_some() && !self.stop_lies
    }

    fn usage(&self) -> Option<Usage> {
        convert::usage(&self.answer.usage)
    }

    fn text(&self) -> String {
        let text = |block: &Block| match &block.content {
            Content::Text(text) => Some(text.clone()),
            Content::Call(call) => Some(format!("[call {}({}]", call.name, call.pieces)),
            _ => None,
        };
        self.answer.blocks.iter().filter_map(text).collect()
    }

    fn take(&mut self, _: Seen<'_>) -> Answer {
        std::mem::take(&mut self.answer)
    }
}

impl Reading {
    fn message(&mut self, message: &Value) {
        self.progress.answered = true;
        if let Some(id) = json::id(message, "id") {
            self.answer.id.get_or_insert(id);
        }
        if let Some(model) = json::text(message, "model") {
            self.answer.model.get_or_insert_with(|| model.to_owned());
        }
        self.answer.usage.take(message.get("usage"));
    }

    fn stop(&mut self, delta: &Value) {
        if let Some(reason) = json::text(delta, "stop_reason") {
            self.progress.begun = true;
            self.progress.answered = true;
            self.answer.stop = Some(reason.to_owned());
            let details = delta.get("stop_details").unwrap_or(&Value::Null);
            let told = ["explanation", "category"].iter().find_map(|key| json::text(details, key));
            self.answer.refusal = told.map(str::to_owned);
        }
    }

    /// A block begins, or stands there whole at this path.
    fn begin(
        &mut self,
        block: &Value,
        index: Option<u64>,
        event: &Event<'_>,
        path: &[Step<'_>],
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        let source = |member: Option<&'static str>, value: &Value| {
            let path: Vec<_> = path.iter().copied().chain(member.map(Step::Member)).collect();
            event
                .source
                .and_then(|json| json::source(json, &path))
                .map_or_else(|| value.to_string(), |source| source.trim().to_owned())
        };
        let text = |key| json::text(block, key).unwrap_or_default().to_owned();
        let has = |key: &str| block.get(key).is_some();
        // What is left out may be plain from the rest.
        let plain = || ["text", "thinking"].into_iter().find(|key| has(key)).or(has("name").then_some("tool_use"));
        let content = match json::text(block, "type").or_else(plain).unwrap_or_default() {
            "text" => Content::Text(text("text")),
            "thinking" => Content::Thinking {
                text: text("thinking"),
                signature: json::text(block, "signature").map(str::to_owned),
            },
            "redacted_thinking" => Content::Redacted(text("data")),
            "tool_use" => {
                let initial = match block.get("input") {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::Object(members)) if members.is_empty() => String::new(),
                    // Some servers write it as text, as the format's deltas have it.
                    Some(Value::String(text)) => text.clone(),
                    Some(input) => source(Some("input"), input),
                };
                let id = json::id(block, "id").unwrap_or_default();
                Content::Call(Call { id, name: text("name"), initial, ..Call::default() })
            }
            kind => Content::Other(Other {
                kind: kind.to_owned(),
                json: source(None, block),
                input: String::new(),
                is_unclear: event.is_damaged || !block.is_object(),
            }),
        };
        match &content {
            Content::Text(text) if !text.is_empty() => seen(Delta::Text(text)),
            Content::Thinking { text, .. } if !text.is_empty() => seen(Delta::Reasoning(text)),
            Content::Call(_) if event.is_damaged => return Err(damaged()),
            Content::Call(call) => {
                if !call.name.is_empty() {
                    seen(Delta::Call(&call.name));
                }
                if !call.initial.is_empty() {
                    seen(Delta::Arguments(&call.initial));
                }
            }
            _ => {}
        }
        self.add(index, content)
    }

    fn add(&mut self, index: Option<u64>, content: Content) -> Result<(), Failure> {
        if self.answer.blocks.len() >= BLOCKS_MAX {
            return Err(failure(Class::MalformedAnswer, &format!("more than {BLOCKS_MAX} blocks in one answer")));
        }
        self.came();
        self.answer.blocks.push(Block { index, ended: false, content });
        Ok(())
    }

    /// Something of the answer has come.
    fn came(&mut self) {
        self.progress.answered = true;
        self.progress.begun = true;
        self.stop_lies |= self.answer.stop.is_some();
    }

    /// The open block of this index; where several have it, or nothing is said of it, the last one.
    fn open(&mut self, index: Option<u64>) -> Option<&mut Block> {
        let blocks = &mut self.answer.blocks;
        let at = match index {
            Some(_) => blocks.iter().rposition(|block| block.index == index)?,
            None => blocks.len().checked_sub(1)?,
        };
        blocks.get_mut(at).filter(|block| !block.ended)
    }

    fn stop_block(&mut self, index: Option<u64>) {
        if let Some(block) = self.open(index) {
            block.end();
        }
    }

    fn delta(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let index = json::count(event.value, "index");
        let delta = event.value.get("delta").unwrap_or(&Value::Null);
        let kind = json::text(delta, "type").unwrap_or_default();
        let text = |key| json::text(delta, key).unwrap_or_default();
        let piece = match kind {
            "text_delta" => text("text"),
            "thinking_delta" => text("thinking"),
            "signature_delta" => text("signature"),
            "input_json_delta" => text("partial_json"),
            // Where in a source a text was found: nothing that the neutral form has a place for.
            "citations_delta" => return Ok(()),
            _ => "",
        };
        if self.open(index).is_none() {
            // The block was never announced.
            match kind {
                "text_delta" => self.add(index, Content::Text(String::new()))?,
                "thinking_delta" | "signature_delta" => {
                    self.add(index, Content::Thinking { text: String::new(), signature: None })?;
                }
                "input_json_delta" if !piece.is_empty() => {
                    return Err(failure(Class::MalformedAnswer, "arguments came for a call that was never begun"));
                }
                _ => return Ok(()),
            }
        }
        let is_damaged = event.is_damaged;
        let Some(block) = self.open(index) else { return Ok(()) };
        match (&mut block.content, kind) {
            (Content::Text(so_far), "text_delta") => {
                so_far.push_str(piece);
                if !piece.is_empty() {
                    seen(Delta::Text(piece));
                }
            }
            (Content::Thinking { text: so_far, .. }, "thinking_delta") => {
                so_far.push_str(piece);
                if !piece.is_empty() {
                    seen(Delta::Reasoning(piece));
                }
            }
            (Content::Thinking { signature, .. }, "signature_delta") => {
                signature.get_or_insert_default().push_str(piece);
            }
            (Content::Call(call), "input_json_delta") => {
                if is_damaged {
                    return Err(damaged());
                }
                call.pieces.push_str(piece);
                call.scan.feed(piece.as_bytes());
                if !piece.is_empty() {
                    seen(Delta::Arguments(piece));
                }
            }
            (Content::Call(_), _) => {
                return Err(failure(Class::MalformedAnswer, &format!("a piece of a call is of the kind {kind:?}")));
            }
            (Content::Other(other), "input_json_delta") => {
                other.is_unclear |= is_damaged;
                other.input.push_str(piece);
            }
            (Content::Other(other), _) => other.is_unclear = true,
            // A piece of one kind in a block of another becomes a block of its own.
            (_, "text_delta") if !piece.is_empty() => {
                self.stop_block(index);
                self.add(index, Content::Text(piece.to_owned()))?;
                seen(Delta::Text(piece));
            }
            (_, "thinking_delta") if !piece.is_empty() => {
                self.stop_block(index);
                self.add(index, Content::Thinking { text: piece.to_owned(), signature: None })?;
                seen(Delta::Reasoning(piece));
            }
            (_, "input_json_delta") if !piece.is_empty() => {
                return Err(failure(Class::MalformedAnswer, "arguments came within a block that is no call"));
            }
            _ => return Ok(()),
        }
        if !piece.is_empty() {
            self.came();
        }
        Ok(())
    }
}

impl Block {
    fn end(&mut self) {
        self.ended = true;
        if let Content::Call(call) = &mut self.content {
            call.ended = true;
        }
    }
}

/// The kind of an event, which stands in the data; some servers only put it beside.
fn kind<'a>(event: &Event<'a>) -> &'a str {
    json::text(event.value, "type").or(event.name).unwrap_or_default()
}

fn is_error(event: &Event<'_>) -> bool {
    let says = |key| match event.value.get(key) {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        _ => false,
    };
    match kind(event) {
        "error" => true,
        "" => failure::is_error(event.value),
        kind => says("error") || kind.ends_with("_error") || json::text(event.value, "object") == Some("error"),
    }
}

impl Counts {
    fn take(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
        let nested = |outer: &str, key: &str| json::count(usage.get(outer)?, key);
        let written = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]
            .iter()
            .filter_map(|key| nested("cache_creation", key))
            .reduce(u64::saturating_add);
        let found = Counts {
            input: json::count(usage, "input_tokens"),
            output: json::count(usage, "output_tokens"),
            cached: json::count(usage, "cache_read_input_tokens"),
            cache_write: json::count(usage, "cache_creation_input_tokens").or(written),
            thinking: nested("output_tokens_details", "thinking_tokens"),
        };
        for (mine, new) in [
            (&mut self.input, found.input),
            (&mut self.output, found.output),
            (&mut self.cached, found.cached),
            (&mut self.cache_write, found.cache_write),
            (&mut self.thinking, found.thinking),
        ] {
            *mine = (*mine).max(new);
        }
    }
}

fn damaged() -> Failure {
    failure(Class::MalformedAnswer, "a tool call holds bytes that are no text")
}
