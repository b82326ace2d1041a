//! Reads what servers of the OpenAI Responses format send: the events of a stream and whole answers, through accessors
//! that take every member as optional and every type as possible.
//!
//! Events go in by [`Wire::event`]; [`Wire::take`] gives the answer in wire terms, which `convert` turns into the neutral
//! form. The format as documented at platform.openai.com/docs/api-reference/responses-streaming (2026-11) and as
//! real servers deviate from it; each deviation is a row in `tests.rs`. Always true:
//! - Reading takes time linear in what comes.
//! - An answer is whole only if an event or a document said how it ended, or the stream had an end mark.
//! - What cannot be read, and what reports an error, is a failure. Events of kinds that we do not know are passed over;
//!   items of kinds that we do not know are kept.

use std::borrow::Cow;

use serde_json::{Value, json, value::RawValue};

use super::{
    super::{
        Class, Delta, Failure,
        failure::{self, failure},
        json::{self, Step},
        reading::{Event, Progress, Seen, Wire},
    },
    items::{self, ITEMS_MAX, Item, Kind, Place, Sort, Stage, Texts},
};
use crate::chat::Usage;

/// An answer in wire terms.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) items: Vec<Item>,
    /// How it ended, as the server wrote it; `None` when only the stream ended.
    pub(super) status: Option<String>,
    /// Why it is incomplete.
    pub(super) reason: Option<String>,
    /// The model declined, in the member that is made for it.
    pub(super) refused: bool,
    pub(super) usage: Option<Usage>,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
}

/// An answer being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    answer: Answer,
    progress: Progress,
}

impl Wire for Reading {
    type Answer = Answer;

    const END: &'static str = "no event came that ends it";

    fn event(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        if self.progress.ended {
            return Ok(());
        }
        let kind = json::text(event.value, "type").or(event.name).unwrap_or_default();
        let of_format = kind.starts_with("response.");
        let is_error = match of_format {
            true => event.value.get("error").is_some_and(|error| !error.is_null()),
            false => kind == "error" || event.name == Some("error") || failure::is_error(event.value),
        };
        if is_error {
            return Err(failure::of_value(event.value));
        }
        if of_format {
            return self.of_kind(kind, event, seen);
        }
        let is_answer =
            ["output", "status"].iter().any(|key| event.value.get(key).is_some_and(|found| !found.is_null()));
        if is_answer && (event.is_document || json::text(event.value, "object") == Some("response")) {
            return self.last(event.value, &[], None, event, seen);
        }
        // An event of a kind that nobody has told us of, or something to stay alive.
        Ok(())
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// The last event holds everything, and nothing follows it.
    fn is_finished(&self) -> bool {
        self.progress.ended
    }

    fn usage(&self) -> Option<Usage> {
        self.answer.usage
    }

    fn text(&self) -> String {
        let text = |item: &Item| match &item.kind {
            Kind::Message(message) => message.texts.joined(),
            Kind::Call(call) => format!("[call {}({}]", call.name, call.arguments),
            Kind::Reasoning(_) | Kind::Other { .. } => String::new(),
        };
        self.answer.items.iter().map(text).collect()
    }

    fn take(&mut self, seen: Seen<'_>) -> Answer {
        self.tell_calls(seen);
        std::mem::take(&mut self.answer)
    }
}

impl Reading {
    /// What every event with a whole answer tells of it.
    fn head(&mut self, response: &Value) {
        if let Some(id) = json::id(response, "id") {
            self.answer.id.get_or_insert(id);
        }
        if let Some(model) = json::text(response, "model") {
            self.answer.model.get_or_insert_with(|| model.to_owned());
        }
        if let Some(usage) = response.get("usage").and_then(usage) {
            self.answer.usage = Some(usage);
        }
    }

    fn find(&mut self, sort: Sort, place: Place<'_>, stage: Stage<'_>) -> Result<&mut Item, Failure> {
        (self.progress.begun, self.progress.answered) = (true, true);
        let at = items::find(&mut self.answer.items, sort, place, stage).ok_or_else(too_many)?;
        self.answer.items.get_mut(at).ok_or_else(too_many)
    }

    fn of_kind(&mut self, kind: &str, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let place = Place {
            id: json::text(event.value, "item_id").unwrap_or_default(),
            index: json::count(event.value, "output_index"),
        };
        let content = json::count(event.value, "content_index");
        let summary = json::count(event.value, "summary_index");
        let said = |key: &str| json::text(event.value, key).unwrap_or_default();
        let has_room = match kind {
            "response.created" | "response.queued" | "response.in_progress" => {
                self.head(whole(event));
                true
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled"
            | "response.done" => {
                let path = if event.value.get("response").is_some() { &[Step::Member("response")][..] } else { &[] };
                self.last(whole(event), path, kind.strip_prefix("response."), event, seen)?;
                true
            }
            "response.output_item.added" | "response.output_item.done" => {
                if let Some(item) = event.value.get("item").filter(|item| item.is_object()) {
                    let source = || event.source.and_then(|json| json::source(json, &[Step::Member("item")]));
                    let is_done = kind.ends_with("done");
                    let how = if is_done { How::Done } else { How::Added };
                    self.item(item, &source, place.index, how, event, seen)?;
                }
                true
            }
            "response.output_text.delta" => texts(self, place)?.add(content, tell_text(said("delta"), seen)),
            "response.output_text.done" => {
                tell_text(texts(self, place)?.take_whole(content, said("text")), seen);
                true
            }
            "response.refusal.delta" => {
                self.answer.refused = true;
                texts(self, place)?.add(content, tell_text(said("delta"), seen))
            }
            "response.refusal.done" => {
                self.answer.refused = true;
                tell_text(texts(self, place)?.take_whole(content, said("refusal")), seen);
                true
            }
            "response.content_part.done" => {
                let part = event.value.get("part").unwrap_or(&Value::Null);
                match json::text(part, "type") {
                    Some("refusal") => {
                        self.answer.refused = true;
                        let whole = json::text(part, "refusal").unwrap_or_default();
                        tell_text(texts(self, place)?.take_whole(content, whole), seen);
                    }
                    Some("output_text" | "text") => {
                        let whole = json::text(part, "text").unwrap_or_default();
                        tell_text(texts(self, place)?.take_whole(content, whole), seen);
                    }
                    // Thinking has its own events, and its item holds all of it.
                    _ => {}
                }
                true
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_summary.delta" => {
                thoughts(self, place)?.summary.add(summary, tell_thought(said("delta"), seen))
            }
            "response.reasoning_summary_text.done" | "response.reasoning_summary.done" => {
                tell_thought(thoughts(self, place)?.summary.take_whole(summary, said("text")), seen);
                true
            }
            "response.reasoning_summary_part.done" => {
                let whole = event.value.get("part").and_then(|part| json::text(part, "text")).unwrap_or_default();
                tell_thought(thoughts(self, place)?.summary.take_whole(summary, whole), seen);
                true
            }
            // The second name is that of the first version, which some servers still use.
            "response.reasoning_text.delta" | "response.reasoning.delta" => {
                thoughts(self, place)?.content.add(content, tell_thought(said("delta"), seen))
            }
            "response.reasoning_text.done" | "response.reasoning.done" => {
                tell_thought(thoughts(self, place)?.content.take_whole(content, said("text")), seen);
                true
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                unless_damaged(event)?;
                if let Kind::Call(call) = &mut self.find(Sort::Call, place, Stage::Growing)?.kind {
                    call.add(said("delta"));
                    seen(Delta::Arguments(said("delta")));
                }
                self.tell_calls(seen);
                true
            }
            "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
                unless_damaged(event)?;
                let key = if kind.starts_with("response.function") { "arguments" } else { "input" };
                let arguments = written(event.value, event.source, key);
                if let Kind::Call(call) = &mut self.find(Sort::Call, place, Stage::Growing)?.kind {
                    if call.name.is_empty() {
                        said("name").clone_into(&mut call.name);
                    }
                    call.take_whole(&arguments);
                }
                self.tell_calls(seen);
                true
            }
            // Parts that begin and annotations add nothing to the text; hosted tools were not asked for.
            _ => true,
        };
        if has_room { Ok(()) } else { Err(too_many()) }
    }

    /// How the answer ended, and all of it once more; `path` leads to it, `said` is how the event calls its end.
    fn last(
        &mut self,
        response: &Value,
        path: &[Step<'_>],
        said: Option<&str>,
        event: &Event<'_>,
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        self.head(response);
        let status = json::text(response, "status").or(said.filter(|said| *said != "done")).unwrap_or("completed");
        if failure::is_error(response) || status == "failed" {
            return Err(failure::of_value(&json!({"error": response.get("error")})));
        }
        if matches!(status, "cancelled" | "canceled") {
            return Err(failure(Class::Transient, "the server says that the answer was cancelled"));
        }
        let is_over = said.is_some() || !matches!(status, "in_progress" | "queued");
        let sources: Vec<&RawValue> = event
            .source
            .and_then(|json| json::source(json, &[path, &[Step::Member("output")]].concat()))
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let output = response.get("output").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for (at, item) in output.iter().enumerate().filter(|(_, item)| item.is_object()) {
            let source = || sources.get(at).map(|source| source.get());
            self.item(item, &source, u64::try_from(at).ok(), How::Listed, event, seen)?;
        }
        if self.answer.items.is_empty()
            && let Some(text) = json::text(response, "output_text")
        {
            // What SDKs add to the answer, and some servers send.
            tell_text(texts(self, Place::default())?.take_whole(None, text), seen);
        }
        self.answer.reason = response.pointer("/incomplete_details/reason").and_then(Value::as_str).map(str::to_owned);
        self.answer.status = Some(status.to_owned());
        self.progress.answered = true;
        self.progress.ended = is_over;
        Ok(())
    }

    fn item<'s>(
        &mut self,
        item: &Value,
        source: &dyn Fn() -> Option<&'s str>,
        index: Option<u64>,
        how: How,
        event: &Event<'_>,
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        let id = json::text(item, "id").unwrap_or_default();
        let place = Place { id, index };
        let name = json::text(item, "name").unwrap_or_default();
        let call_id = json::id(item, "call_id").unwrap_or_default();
        let kind = json::text(item, "type").unwrap_or("message");
        let stage = |call_id, name| match how {
            How::Added => Stage::Added,
            How::Done => Stage::Done { call_id, name },
            How::Listed => Stage::Listed { call_id, name },
        };
        let is_whole = how != How::Added;
        let sort = match kind {
            "message" => Sort::Message,
            "function_call" | "custom_tool_call" => Sort::Call,
            "reasoning" => Sort::Reasoning,
            _ => Sort::Other,
        };
        let mut refused = false;
        let found = self.find(sort, place, stage(&call_id, name))?;
        found.is_done |= is_whole;
        match &mut found.kind {
            Kind::Call(call) => {
                unless_damaged(event)?;
                if call.id.is_empty() || is_whole {
                    call.id = if call_id.is_empty() { std::mem::take(&mut call.id) } else { call_id };
                }
                if call.name.is_empty() {
                    name.clone_into(&mut call.name);
                }
                let key = if kind == "custom_tool_call" { "input" } else { "arguments" };
                let arguments = written(item, source(), key);
                if is_whole {
                    call.take_whole(&arguments)
                } else {
                    call.begin_with(&arguments)
                }
                call.is_cut |= json::text(item, "status") == Some("incomplete");
            }
            Kind::Message(message) => {
                if let Some(phase) = json::text(item, "phase") {
                    message.phase = Some(phase.to_owned());
                }
                refused = is_whole && whole_message(message, item, seen);
            }
            Kind::Reasoning(thoughts) if is_whole => {
                for (texts, key) in [(&mut thoughts.summary, "summary"), (&mut thoughts.content, "content")] {
                    for (at, part) in item.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
                        let text = part.as_str().or_else(|| json::text(part, "text")).unwrap_or_default();
                        tell_thought(texts.take_whole(u64::try_from(at).ok(), text), seen);
                    }
                }
                // Without these it only refers to what a server remembers, and ours is asked to forget.
                let means_something = json::text(item, "encrypted_content").is_some() || !thoughts.content.is_empty();
                if means_something && !event.is_damaged && thoughts.json.is_none() {
                    thoughts.json = Some(source().map_or_else(|| item.to_string(), str::to_owned));
                }
            }
            Kind::Other { name, json } => {
                kind.clone_into(name);
                if is_whole && json.is_none() {
                    *json = Some(source().map_or_else(|| item.to_string(), str::to_owned));
                }
            }
            Kind::Reasoning(_) => {}
        }
        self.answer.refused |= refused;
        self.tell_calls(seen);
        Ok(())
    }

    fn tell_calls(&mut self, seen: Seen<'_>) {
        for item in &mut self.answer.items {
            if let Kind::Call(call) = &mut item.kind
                && !call.told
                && !call.name.is_empty()
            {
                call.told = true;
                seen(Delta::Call(&call.name));
            }
        }
    }
}

fn too_many() -> Failure {
    failure(Class::MalformedAnswer, &format!("more than {ITEMS_MAX} items in one answer"))
}

/// The whole answer in an event; some send its members beside the type.
fn whole<'a>(event: &Event<'a>) -> &'a Value {
    event.value.get("response").filter(|response| response.is_object()).unwrap_or(event.value)
}

/// The arguments as written; exactly, also where a server sends an object instead of its text.
fn written<'v>(value: &'v Value, source: Option<&'v str>, key: &str) -> Cow<'v, str> {
    match value.get(key) {
        None | Some(Value::Null) => Cow::Borrowed(""),
        Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
        Some(other) => source
            .and_then(|json| json::source(json, &[Step::Member(key)]))
            .map_or_else(|| Cow::Owned(other.to_string()), Cow::Borrowed),
    }
}

fn unless_damaged(event: &Event<'_>) -> Result<(), Failure> {
    if event.is_damaged {
        return Err(failure(Class::MalformedAnswer, "a tool call holds bytes that are no text"));
    }
    Ok(())
}

/// In which kind of event an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Added,
    Done,
    Listed,
}

/// Takes the content of a message given whole; answers whether it is a refusal.
fn whole_message(message: &mut items::Message, item: &Value, seen: Seen<'_>) -> bool {
    let mut refused = false;
    let parts = match item.get("content") {
        Some(Value::Array(parts)) => parts.as_slice(),
        Some(part @ (Value::String(_) | Value::Object(_))) => std::slice::from_ref(part),
        _ => &[],
    };
    message.others.clear();
    for (at, part) in parts.iter().enumerate() {
        let text = match (part, json::text(part, "type")) {
            (Value::String(text), _) => text.as_str(),
            (_, Some("refusal")) => {
                refused = true;
                json::text(part, "refusal").unwrap_or_default()
            }
            (_, None | Some("output_text" | "text" | "input_text")) => json::text(part, "text").unwrap_or_default(),
            (_, Some(kind)) => {
                message.others.push((kind.to_owned(), part.to_string()));
                continue;
            }
        };
        tell_text(message.texts.take_whole(u64::try_from(at).ok(), text), seen);
    }
    refused
}

fn texts<'r>(reading: &'r mut Reading, place: Place<'_>) -> Result<&'r mut Texts, Failure> {
    match &mut reading.find(Sort::Message, place, Stage::Growing)?.kind {
        Kind::Message(message) => Ok(&mut message.texts),
        _ => Err(too_many()),
    }
}

fn thoughts<'r>(reading: &'r mut Reading, place: Place<'_>) -> Result<&'r mut items::Reasoning, Failure> {
    match &mut reading.find(Sort::Reasoning, place, Stage::Growing)?.kind {
        Kind::Reasoning(thoughts) => Ok(thoughts),
        _ => Err(too_many()),
    }
}

fn tell_text<'t>(text: &'t str, seen: Seen<'_>) -> &'t str {
    if !text.is_empty() {
        seen(Delta::Text(text));
    }
    text
}

fn tell_thought<'t>(text: &'t str, seen: Seen<'_>) -> &'t str {
    if !text.is_empty() {
        seen(Delta::Reasoning(text));
    }
    text
}

/// What a server says of tokens; `None` if that is nothing. Some use the names of the chat format.
fn usage(usage: &Value) -> Option<Usage> {
    let first = |keys: [&str; 2]| keys.iter().find_map(|key| json::count(usage, key));
    let nested = |outer: [&str; 2], key: &str| outer.iter().find_map(|outer| json::count(usage.get(outer)?, key));
    let total = json::count(usage, "total_tokens");
    let (input, output) = (first(["input_tokens", "prompt_tokens"]), first(["output_tokens", "completion_tokens"]));
    let rest = |other: Option<u64>| total?.checked_sub(other?);
    let input_details = ["input_tokens_details", "prompt_tokens_details"];
    let output_details = ["output_tokens_details", "completion_tokens_details"];
    let (input, output) = (input.or_else(|| rest(output)).unwrap_or(0), output.or_else(|| rest(input)).unwrap_or(0));
    let found = Usage {
        input,
        cached: nested(input_details, "cached_tokens").unwrap_or(0).min(input),
        cache_write: nested(input_details, "cache_write_tokens").unwrap_or(0).min(input),
        output,
        reasoning: nested(output_details, "reasoning_tokens").unwrap_or(0).min(output),
    };
    (found.total() > 0).then_some(found)
}
