//! Reads what the Gemini API streams, through accessors that take every member as optional and every type as possible.
//!
//! Events go in by [`Wire::event`]; [`Wire::take`] gives the answer in wire terms, which `convert` turns into the neutral
//! form. Each chunk is a `GenerateContentResponse` with the parts that are new (ai.google.dev/api/generate-content,
//! 2026-11); without `alt=sse` they come as one array, which is read too. Always true:
//! - Reading takes time linear in what comes.
//! - An answer is whole only if a finish reason came: the format has no end mark.
//! - A function call comes whole in one part; its arguments keep their source text.
//! - A part that carries a signature is never joined with another, because the signature goes back on exactly that part.

use serde_json::{Value, value::RawValue};

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

/// Most calls in one answer. No model makes more in earnest.
const CALLS_MAX: usize = 1024;

/// An answer in wire terms.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) parts: Vec<Part>,
    /// As the server wrote it.
    pub(super) finish: String,
    /// What the server says about the finish; for malformed calls it holds what the model wrote.
    pub(super) finish_message: Option<String>,
    pub(super) usage: Counts,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
}

/// One part of an answer, with its signature if it has one.
#[derive(Debug)]
pub(super) enum Part {
    Text {
        text: String,
        signature: Option<String>,
    },
    Thought {
        text: String,
        signature: Option<String>,
    },
    Call {
        id: Option<String>,
        name: String,
        /// The source text.
        arguments: String,
        /// The server says that more of the arguments would follow, which it only does where that was asked for.
        is_open: bool,
        signature: Option<String>,
    },
    /// A part of a kind that we do not know, as its source text.
    Other {
        kind: String,
        json: String,
    },
}

/// What the server says of tokens; the largest value wins where it says so repeatedly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Cached ones included.
    pub(super) prompt: u64,
    pub(super) cached: u64,
    /// Read by Google's own tools, beyond the prompt.
    pub(super) tools: u64,
    /// Thoughts not included.
    pub(super) candidates: u64,
    pub(super) thoughts: u64,
    pub(super) total: u64,
}

/// An answer being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    answer: Answer,
    progress: Progress,
    candidate: Option<u64>,
    calls: usize,
}

impl Wire for Reading {
    type Answer = Answer;

    const END: &'static str = "no finish reason came";

    fn event(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let json = event.source.unwrap_or_default();
        self.chunk(event.value, &Source { json, path: Vec::new(), is_damaged: event.is_damaged }, seen)?;
        self.progress.ended |= event.is_document && self.is_finished();
        Ok(())
    }

    fn progress(&self) -> Progress {
        self.progress
    }

    fn progress_mut(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn is_finished(&self) -> bool {
        !self.answer.finish.is_empty()
    }

    fn usage(&self) -> Option<Usage> {
        convert::usage(&self.answer.usage)
    }

    fn text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text { text, .. } => Some(text.clone()),
            Part::Call { name, arguments, .. } => Some(format!("[call {name}({arguments}]")),
            Part::Thought { .. } | Part::Other { .. } => None,
        };
        self.answer.parts.iter().filter_map(text).collect()
    }

    fn take(&mut self, _: Seen<'_>) -> Answer {
        std::mem::take(&mut self.answer)
    }
}

impl Reading {
    fn chunk(&mut self, chunk: &Value, source: &Source<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        // Vertex and some proxies wrap it.
        if let Some(inner) = chunk.get("response").filter(|inner| inner.get("candidates").is_some()) {
            return self.chunk(inner, &source.at(&[Step::Member("response")]), seen);
        }
        if failure::is_error(chunk) {
            return Err(failure::of_value(chunk));
        }
        if let Some(id) = either(chunk, "responseId", "response_id").and_then(Value::as_str) {
            self.answer.id.get_or_insert_with(|| id.to_owned());
        }
        if let Some(model) = either(chunk, "modelVersion", "model_version").and_then(Value::as_str) {
            self.answer.model.get_or_insert_with(|| model.to_owned());
        }
        self.answer.usage.take(either(chunk, "usageMetadata", "usage_metadata"));
        let feedback = either(chunk, "promptFeedback", "prompt_feedback");
        if let Some(reason) = feedback.and_then(|feedback| either(feedback, "blockReason", "block_reason")?.as_str())
            && reason != "BLOCKED_REASON_UNSPECIFIED"
        {
            let said = feedback.and_then(|feedback| json::text(feedback, "blockReasonMessage")).unwrap_or_default();
            let message = format!("the prompt was blocked: {reason} {said}");
            return Err(failure(Class::ContentRefused, message.trim()));
        }
        let candidates = match chunk.get("candidates") {
            Some(Value::Array(candidates)) => candidates.as_slice(),
            Some(candidate @ Value::Object(_)) => std::slice::from_ref(candidate),
            _ => return Ok(()),
        };
        for (at, candidate) in candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_object()) {
            // One candidate was asked for: the first to come is it.
            let index = json::count(candidate, "index").unwrap_or(0);
            if *self.candidate.get_or_insert(index) == index {
                let is_listed = chunk.get("candidates").is_some_and(Value::is_array);
                let path = [Step::Member("candidates"), Step::Element(at)];
                self.candidate(candidate, &source.at(if is_listed { &path } else { &path[..1] }), seen)?;
            }
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: &Value, source: &Source<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let path = [Step::Member("content"), Step::Member("parts")];
        match candidate.pointer("/content/parts") {
            Some(Value::Array(parts)) => {
                let source = source.at(&path);
                let sources = source.elements();
                for (at, part) in parts.iter().enumerate() {
                    self.part(part, &source.of(sources.get(at)), seen)?;
                }
            }
            Some(part @ Value::Object(_)) => self.part(part, &source.at(&path), seen)?,
            _ => {}
        }
        let finish = either(candidate, "finishReason", "finish_reason").and_then(Value::as_str);
        // Some servers of the format send a reason with every chunk; the last one counts.
        if let Some(finish) = finish.filter(|finish| !finish.is_empty() && *finish != "FINISH_REASON_UNSPECIFIED") {
            (self.progress.begun, self.progress.answered) = (true, true);
            self.answer.finish = finish.to_ascii_uppercase();
        }
        if let Some(message) = either(candidate, "finishMessage", "finish_message").and_then(Value::as_str) {
            self.answer.finish_message = Some(message.to_owned());
        }
        Ok(())
    }

    fn part(&mut self, part: &Value, source: &Source<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let Value::Object(members) = part else { return Ok(()) };
        let signature = either(part, "thoughtSignature", "thought_signature").and_then(Value::as_str);
        let signature = signature.filter(|signature| !signature.is_empty()).map(str::to_owned);
        let is_thought = part.get("thought") == Some(&Value::Bool(true));
        let kinds: Vec<&str> = members.keys().map(String::as_str).filter(|key| !ASIDE.contains(key)).collect();
        self.progress.begun |= !kinds.is_empty() || signature.is_some();
        self.progress.answered |= self.progress.begun;
        let is_call = |kind: &str| matches!(kind, "functionCall" | "function_call") && part[kind].is_object();
        // A part is of one kind by the book; some servers put a text and a call into one. The signature goes back with
        // the call, where it is wanted.
        let owner = kinds.iter().rposition(|kind| is_call(kind)).or(kinds.len().checked_sub(1));
        for (at, kind) in kinds.iter().copied().enumerate() {
            let signature = signature.clone().filter(|_| owner == Some(at));
            match &part[kind] {
                Value::String(text) if kind == "text" && is_thought => self.thought(text, signature, seen),
                Value::String(text) if kind == "text" => self.text_part(text, signature, seen),
                Value::Null if kind == "text" => self.text_part("", signature, seen),
                call if is_call(kind) => self.call(call, &source.at(&[Step::Member(kind)]), signature, seen)?,
                // What cannot go back as it came does not go back at all.
                _ if source.is_damaged => {}
                _ => {
                    let alone = kinds.len() == 1;
                    let whole = source.text().filter(|_| alone).map(str::to_owned);
                    let json = whole.unwrap_or_else(|| {
                        let own = members.iter().filter(|(key, _)| *key == kind || ASIDE.contains(&key.as_str()));
                        own.map(|(key, value)| (key.clone(), value.clone())).collect::<Value>().to_string()
                    });
                    self.answer.parts.push(Part::Other { kind: kind.to_owned(), json });
                }
            }
        }
        if kinds.is_empty() {
            // A signature may come alone.
            self.text_part("", signature, seen);
        }
        Ok(())
    }

    fn text_part(&mut self, more: &str, signature: Option<String>, seen: Seen<'_>) {
        match self.answer.parts.last_mut() {
            Some(Part::Text { text, signature: None }) if signature.is_none() => text.push_str(more),
            _ if more.is_empty() && signature.is_none() => return,
            _ => self.answer.parts.push(Part::Text { text: more.to_owned(), signature }),
        }
        if !more.is_empty() {
            seen(Delta::Text(more));
        }
    }

    fn thought(&mut self, more: &str, signature: Option<String>, seen: Seen<'_>) {
        match self.answer.parts.last_mut() {
            Some(Part::Thought { text, signature: None }) if signature.is_none() => text.push_str(more),
            _ if more.is_empty() && signature.is_none() => return,
            _ => self.answer.parts.push(Part::Thought { text: more.to_owned(), signature }),
        }
        if !more.is_empty() {
            seen(Delta::Reasoning(more));
        }
    }

    fn call(
        &mut self,
        call: &Value,
        source: &Source<'_>,
        signature: Option<String>,
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        if source.is_damaged {
            return Err(failure(Class::MalformedAnswer, "a tool call holds bytes that are no text"));
        }
        self.calls += 1;
        if self.calls > CALLS_MAX {
            return Err(failure(Class::MalformedAnswer, &format!("more than {CALLS_MAX} tool calls in one answer")));
        }
        let arguments = match call.get("args") {
            // A function without parameters is called without arguments.
            None | Some(Value::Null) => "{}".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => source.at(&[Step::Member("args")]).text().map_or_else(|| value.to_string(), str::to_owned),
        };
        let name = json::text(call, "name").unwrap_or_default();
        // A text may be cut, as it is in the other formats.
        let is_cut = matches!(call.get("args"), Some(Value::String(_))) && !Scan::of(&arguments).is_closed();
        let is_open =
            is_cut || call.get("partialArgs").is_some() || call.get("willContinue") == Some(&Value::Bool(true));
        seen(Delta::Call(name));
        seen(Delta::Arguments(&arguments));
        let id = json::id(call, "id");
        self.answer.parts.push(Part::Call { id, name: name.to_owned(), arguments, is_open, signature });
        Ok(())
    }
}

/// Members of a part that do not say what kind of part it is.
const ASIDE: [&str; 7] = [
    "thought",
    "thoughtSignature",
    "thought_signature",
    "partMetadata",
    "videoMetadata",
    "mediaResolution",
    "mediaProcessing",
];

/// A place in a JSON text.
struct Source<'a> {
    json: &'a str,
    path: Vec<Step<'a>>,
    /// Bytes of the text were no characters.
    is_damaged: bool,
}

impl<'a> Source<'a> {
    fn at(&self, steps: &[Step<'a>]) -> Source<'a> {
        Source { json: self.json, path: [&self.path, steps].concat(), is_damaged: self.is_damaged }
    }

    fn text(&self) -> Option<&'a str> {
        json::source(self.json, &self.path).filter(|text| !text.is_empty())
    }

    /// The source texts of the elements here, all in one go: one by one, each would be looked for from the beginning.
    fn elements(&self) -> Vec<&'a str> {
        let elements = self.text().and_then(|text| serde_json::from_str::<Vec<&RawValue>>(text).ok());
        elements.unwrap_or_default().into_iter().map(RawValue::get).collect()
    }

    /// The place of one of these elements; of none that has no source text.
    fn of(&self, element: Option<&&'a str>) -> Source<'a> {
        Source { json: element.copied().unwrap_or_default(), path: Vec::new(), is_damaged: self.is_damaged }
    }
}

impl Counts {
    fn take(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage else { return };
        for (mine, key) in [
            (&mut self.prompt, "promptTokenCount"),
            (&mut self.cached, "cachedContentTokenCount"),
            (&mut self.tools, "toolUsePromptTokenCount"),
            (&mut self.candidates, "candidatesTokenCount"),
            (&mut self.thoughts, "thoughtsTokenCount"),
            (&mut self.total, "totalTokenCount"),
        ] {
            *mine = (*mine).max(json::count(usage, key).unwrap_or(0));
        }
    }
}

/// A member by its JSON name, or by the name that some proxies leave it with.
fn either<'a>(value: &'a Value, name: &str, other: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| value.get(other)).filter(|value| !value.is_null())
}
