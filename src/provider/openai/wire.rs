//! Reads what servers of the OpenAI chat format send: chunks of a stream and whole answers, through accessors that take
//! every member as optional and every type as possible.
//!
//! Events go in by [`Wire::event`]; [`Wire::take`] gives the answer in wire terms, which `convert` turns into the neutral
//! form. The format as documented at platform.openai.com/docs/api-reference/chat (2026-11) and as real servers
//! deviate from it; each deviation is a row in `tests.rs`. Always true:
//! - Reading takes time linear in what comes.
//! - An answer is whole only if its stream ended with `[DONE]` or gave a finish reason, or it came as one document.
//! - What cannot be read, and what reports an error, is a failure; nothing is passed over that could be part of a call.

use std::borrow::Cow;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    super::{
        Class, Delta, Failure,
        failure::{self, failure},
        json::{self, Step},
        reading::{Event, Progress, Seen, Wire},
    },
    calls::{self, CALLS_MAX, Fragment},
    convert,
};
use crate::chat::Usage;

pub(super) use super::calls::Call;

/// An answer in wire terms.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) parts: Vec<Part>,
    pub(super) calls: Vec<Call>,
    /// As the server wrote it; `None` when it gave none.
    pub(super) finish: Option<String>,
    /// What a gateway says of the reason of the provider behind it (OpenRouter, LiteLLM).
    pub(super) native: Option<String>,
    /// The answer came as one document without the member for the reason.
    pub(super) has_no_finish: bool,
    /// The model declined, in the member that is made for it.
    pub(super) refused: bool,
    pub(super) usage: Counts,
    pub(super) model: Option<String>,
    pub(super) id: Option<String>,
}

/// One piece of an answer, in order of appearance.
#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    /// Thinking, and the member in which it came.
    Reasoning {
        member: &'static str,
        text: String,
    },
    /// The call at this place among the calls.
    Call(usize),
    /// A content part of a kind that we do not know, as JSON text.
    Content {
        kind: String,
        json: String,
    },
    /// OpenRouter's `reasoning_details`, which it wants back unchanged.
    ReasoningDetails(Vec<Map<String, Value>>),
}

/// What a server says of tokens, by member; the largest value wins where it says so repeatedly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) cached: Option<u64>,
    pub(super) cache_write: Option<u64>,
    pub(super) reasoning: Option<u64>,
}

/// An answer being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    answer: Answer,
    progress: Progress,
    /// More came behind a finish reason: this server's finish reasons tell nothing.
    finish_lies: bool,
    choice: Option<u64>,
    /// Grows with whatever of the answer comes.
    came: usize,
}

impl Wire for Reading {
    type Answer = Answer;

    const END: &'static str = "neither an end mark nor a finish reason came";

    fn usual(&mut self, data: &[u8], seen: Seen<'_>) -> Result<bool, Failure> {
        let Some(chunk) = Usual::read(data) else { return Ok(false) };
        if let Some(id) = said(&chunk.id) {
            self.answer.id.get_or_insert_with(|| id.to_owned());
        }
        if let Some(model) = said(&chunk.model) {
            self.answer.model.get_or_insert_with(|| model.to_owned());
        }
        if let Some(usage) = &chunk.usage {
            self.answer.usage.grow(usage.counts());
        }
        for UsualChoice { index, delta, finish_reason, .. } in &chunk.choices {
            let mine = *self.choice.get_or_insert(index.unwrap_or(0));
            if index.is_some_and(|index| index != mine) {
                continue;
            }
            self.progress.answered = true;
            let (was_finished, before) = (self.answer.finish.is_some(), self.came);
            let thinking = [&delta.reasoning_content, &delta.reasoning].into_iter().zip(REASONING);
            if let Some((text, member)) = thinking.into_iter().find_map(|(text, member)| Some((said(text)?, member))) {
                self.reasoning(member, text, false, seen);
            }
            if let Some(text) = said(&delta.content) {
                self.text_part(text, false, seen);
            }
            for UsualCall { index, id, function, .. } in delta.tool_calls.iter().flatten() {
                let fragment = Fragment {
                    index: *index,
                    id: said(id).unwrap_or_default(),
                    name: said(&function.name).unwrap_or_default(),
                    arguments: said(&function.arguments).unwrap_or_default(),
                };
                self.fragment(&fragment, seen)?;
            }
            self.choice_read(was_finished, before, false, said(finish_reason))?;
        }
        Ok(true)
    }

    fn event(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        self.chunk(event, seen)?;
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
        self.progress.ended || self.answer.finish.is_some() && !self.finish_lies
    }

    fn usage(&self) -> Option<Usage> {
        convert::usage(&self.answer.usage)
    }

    fn text(&self) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Call(at) => self.answer.calls.get(*at).map(|call| format!("[call {}({}]", call.name, call.arguments)),
            _ => None,
        };
        self.answer.parts.iter().filter_map(text).collect()
    }

    fn take(&mut self, seen: Seen<'_>) -> Answer {
        for call in &mut self.answer.calls {
            call.settle();
            tell(call, seen);
        }
        std::mem::take(&mut self.answer)
    }
}

impl Reading {
    fn chunk(&mut self, event: &Event<'_>, seen: Seen<'_>) -> Result<(), Failure> {
        let Event { value: chunk, source, is_damaged, .. } = *event;
        if failure::is_error(chunk) {
            return Err(failure::of_value(chunk));
        }
        if let Some(id) = json::id(chunk, "id") {
            self.answer.id.get_or_insert(id);
        }
        if let Some(model) = json::text(chunk, "model") {
            self.answer.model.get_or_insert_with(|| model.to_owned());
        }
        self.answer.usage.take(chunk.get("usage"));
        self.answer.usage.take(chunk.pointer("/x_groq/usage"));
        let choices = match chunk.get("choices") {
            Some(Value::Array(choices)) => choices.as_slice(),
            Some(choice @ Value::Object(_)) => std::slice::from_ref(choice),
            _ => return Ok(()),
        };
        for (at, choice) in choices.iter().enumerate().filter(|(_, choice)| choice.is_object()) {
            if failure::is_error(choice) {
                return Err(failure::of_value(choice));
            }
            // One choice was asked for: the first to come is it.
            let index = json::count(choice, "index");
            let mine = *self.choice.get_or_insert(index.unwrap_or(0));
            if index.is_some_and(|index| index != mine) {
                continue;
            }
            self.progress.answered = true;
            let source = source.map(|json| (json, at));
            self.answer.has_no_finish = event.is_document && FINISH.iter().all(|key| choice.get(key).is_none());
            let native = json::text(choice, NATIVE)
                .or_else(|| json::text(choice.get("provider_specific_fields")?, NATIVE))
                .map(str::to_owned);
            self.answer.native = native.or(self.answer.native.take());
            self.choice(choice, source, is_damaged, seen)?;
        }
        Ok(())
    }

    fn choice(
        &mut self,
        choice: &Value,
        source: Option<(&str, usize)>,
        is_damaged: bool,
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        self.answer.usage.take(choice.get("usage"));
        let was_finished = self.answer.finish.is_some();
        let before = self.came;
        let says = |value: &Value| match value {
            Value::Object(members) => !members.is_empty(),
            Value::Array(values) => !values.is_empty(),
            _ => false,
        };
        let (member, message) = ["delta", "message"]
            .iter()
            .find_map(|member| choice.get(member).filter(|message| says(message)).map(|message| (*member, message)))
            .unwrap_or(("", choice));
        let calls = message.get("tool_calls").filter(|calls| says(calls));
        let older_call = message.get("function_call").filter(|call| says(call));
        if is_damaged && (calls.is_some() || older_call.is_some()) {
            return Err(failure(Class::MalformedAnswer, "a tool call holds bytes that are no text"));
        }
        // Beside deltas, a message says all of it once more.
        let has_all = member == "message";
        if let Some((member, text)) = REASONING.iter().find_map(|member| Some((*member, json::text(message, member)?)))
        {
            self.reasoning(member, text, has_all, seen);
        }
        if let Some(Value::Array(details)) = message.get("reasoning_details") {
            details.iter().filter_map(Value::as_object).for_each(|detail| self.reasoning_detail(detail));
        }
        match message.get("content") {
            Some(Value::String(text)) => self.text_part(text, has_all, seen),
            Some(Value::Array(parts)) if !has_all || !self.progress.begun => {
                parts.iter().for_each(|part| self.content(part, seen));
            }
            Some(Value::Array(_)) => {}
            Some(part @ Value::Object(_)) => self.content(part, seen),
            // The older completions put the text beside the choice's index.
            _ => self.text_part(json::text(choice, "text").unwrap_or_default(), has_all, seen),
        }
        if let Some(refusal) = json::text(message, "refusal") {
            self.answer.refused = true;
            self.text_part(refusal, has_all, seen);
        }
        let source = |path: &[Step<'_>]| {
            let (json, at) = source?;
            let path = [&[Step::Member("choices"), Step::Element(at), Step::Member(member)], path].concat();
            json::source(json, &path)
        };
        match calls {
            Some(Value::Array(calls)) => {
                for (at, call) in calls.iter().enumerate() {
                    let place = [Step::Member("tool_calls"), Step::Element(at)];
                    self.call(call, &|path| source(&[&place[..], path].concat()), seen)?;
                }
            }
            Some(call) => self.call(call, &|path| source(&[&[Step::Member("tool_calls")], path].concat()), seen)?,
            None => {}
        }
        if let Some(call) = older_call {
            self.call(call, &|path| source(&[&[Step::Member("function_call")], path].concat()), seen)?;
        }
        let finish = FINISH.iter().find_map(|key| json::text(choice, key));
        self.choice_read(was_finished, before, has_all, finish)
    }

    /// What a choice comes to: whether it brought anything, and whether it says that the answer is whole.
    fn choice_read(
        &mut self,
        was_finished: bool,
        came_before: usize,
        has_all: bool,
        finish: Option<&str>,
    ) -> Result<(), Failure> {
        let brought = self.came > came_before;
        self.progress.begun |= brought;
        self.finish_lies |= was_finished && brought && !has_all;
        if let Some(finish) = finish {
            self.progress.begun = true;
            self.answer.finish = Some(finish.to_owned());
        }
        Ok(())
    }

    fn text_part(&mut self, text: &str, has_all: bool, seen: Seen<'_>) {
        let so_far = match self.answer.parts.last_mut() {
            Some(Part::Text(so_far)) => so_far,
            _ if text.is_empty() => return,
            _ => {
                if has_all && self.answer.parts.iter().any(|part| matches!(part, Part::Text(so_far) if so_far == text))
                {
                    return;
                }
                self.answer.parts.push(Part::Text(String::new()));
                return self.text_part(text, has_all, seen);
            }
        };
        let text = if has_all { text.strip_prefix(so_far.as_str()).unwrap_or(text) } else { text };
        if !text.is_empty() {
            so_far.push_str(text);
            self.came += text.len();
            seen(Delta::Text(text));
        }
    }

    fn reasoning(&mut self, member: &'static str, text: &str, has_all: bool, seen: Seen<'_>) {
        if has_all
            && self
                .answer
                .parts
                .iter()
                .any(|part| matches!(part, Part::Reasoning { text: so_far, .. } if so_far == text))
        {
            return;
        }
        self.came += text.len();
        match self.answer.parts.last_mut() {
            Some(Part::Reasoning { member: same, text: so_far }) if *same == member => so_far.push_str(text),
            _ => self.answer.parts.push(Part::Reasoning { member, text: text.to_owned() }),
        }
        seen(Delta::Reasoning(text));
    }

    /// Pieces of one detail have the same type and index; their texts follow each other.
    fn reasoning_detail(&mut self, piece: &Map<String, Value>) {
        let at =
            self.answer.parts.iter().rposition(|part| matches!(part, Part::ReasoningDetails(_))).unwrap_or_else(|| {
                self.answer.parts.push(Part::ReasoningDetails(Vec::new()));
                self.answer.parts.len() - 1
            });
        let Some(Part::ReasoningDetails(details)) = self.answer.parts.get_mut(at) else { return };
        match details
            .last_mut()
            .filter(|detail| ["type", "index"].iter().all(|key| detail.get(*key) == piece.get(*key)))
        {
            None => details.push(piece.clone()),
            Some(detail) => {
                for (key, value) in piece {
                    match (detail.get_mut(key), value) {
                        (Some(Value::String(text)), Value::String(more))
                            if ["text", "summary", "data"].contains(&key.as_str()) =>
                        {
                            text.push_str(more);
                        }
                        (_, Value::Null) => {}
                        _ => {
                            detail.insert(key.clone(), value.clone());
                        }
                    }
                }
            }
        }
    }

    /// One part of a content that is an array, as Mistral writes it.
    fn content(&mut self, part: &Value, seen: Seen<'_>) {
        if let Value::String(text) = part {
            return self.text_part(text, false, seen);
        }
        let kind = json::text(part, "type").unwrap_or("text");
        let inner = part.get(kind);
        match (kind, inner) {
            ("text" | "output_text" | "input_text", _) if part.get("text").is_some_and(Value::is_string) => {
                self.text_part(json::text(part, "text").unwrap_or_default(), false, seen);
            }
            ("refusal", Some(Value::String(text))) => {
                self.answer.refused = true;
                self.text_part(text, false, seen);
            }
            ("thinking", Some(Value::String(text))) => self.reasoning(THINKING, text, false, seen),
            ("thinking", Some(Value::Array(parts)))
                if parts.iter().all(|part| json::text(part, "type") == Some("text")) =>
            {
                for part in parts {
                    self.reasoning(THINKING, json::text(part, "text").unwrap_or_default(), false, seen);
                }
            }
            _ => {
                self.came += 1;
                self.answer.parts.push(Part::Content { kind: kind.to_owned(), json: part.to_string() });
            }
        }
    }

    fn call<'s>(
        &mut self,
        call: &Value,
        source: &dyn Fn(&[Step<'_>]) -> Option<&'s str>,
        seen: Seen<'_>,
    ) -> Result<(), Failure> {
        if !call.is_object() {
            return Ok(());
        }
        // Some servers leave out the level in between.
        let (function, path) = match call.get("function") {
            Some(function @ Value::Object(_)) => (function, Some(Step::Member("function"))),
            _ => (call, None),
        };
        let key = ["arguments", "parameters", "input"]
            .into_iter()
            .find(|key| function.get(key).is_some_and(|value| !value.is_null()));
        let arguments = match key.and_then(|key| Some((key, function.get(key)?))) {
            None => Cow::Borrowed(""),
            Some((_, Value::String(text))) => Cow::Borrowed(text.as_str()),
            Some((key, value)) => {
                let path: Vec<_> = path.into_iter().chain([Step::Member(key)]).collect();
                source(&path).map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed)
            }
        };
        let id = ["id", "call_id", "tool_call_id"].iter().find_map(|key| json::id(call, key)).unwrap_or_default();
        let fragment = Fragment {
            index: json::count(call, "index"),
            id: &id,
            name: json::text(function, "name").unwrap_or_default(),
            arguments: &arguments,
        };
        let at = self.fragment(&fragment, seen)?;
        // Where Gemini puts the signature that it wants back (ai.google.dev/gemini-api/docs/openai, 2026-11).
        if let Some(extra) = call.get("extra_content").filter(|extra| !extra.is_null()) {
            self.answer.calls[at].extra = Some(extra.to_string());
        }
        Ok(())
    }

    /// Adds a piece of a call; answers at which place.
    fn fragment(&mut self, fragment: &Fragment<'_>, seen: Seen<'_>) -> Result<usize, Failure> {
        self.came += fragment.id.len() + fragment.name.len() + fragment.arguments.len();
        let known = self.answer.calls.len();
        let at = calls::add(&mut self.answer.calls, fragment).ok_or_else(|| {
            failure(Class::MalformedAnswer, &format!("more than {CALLS_MAX} tool calls in one answer"))
        })?;
        if at == known {
            self.answer.parts.push(Part::Call(at));
            // With the next call begun, the names of those before are complete.
            self.answer.calls[..at].iter_mut().rev().take_while(|call| !call.told).for_each(|call| tell(call, seen));
        }
        let call_so_far = &mut self.answer.calls[at];
        if !call_so_far.arguments.is_empty() {
            tell(call_so_far, seen);
        }
        if !fragment.arguments.is_empty() {
            seen(Delta::Arguments(fragment.arguments));
        }
        Ok(at)
    }
}

/// A chunk with nothing in it but what the format has, in the types that it has there. Reading these borrows their texts
/// and builds no tree; one odd member, and the forgiving reader takes the chunk. `()` is a member that is `null`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "members that say nothing to us are known, but not read")]
struct Usual<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    choices: Vec<UsualChoice<'a>>,
    #[serde(default)]
    usage: Option<UsualUsage>,
    #[serde(default)]
    object: IgnoredAny,
    #[serde(default)]
    created: Option<u64>,
    #[serde(default)]
    system_fingerprint: IgnoredAny,
    #[serde(default)]
    service_tier: IgnoredAny,
    #[serde(default)]
    obfuscation: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "members that say nothing to us are known, but not read")]
struct UsualChoice<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow)]
    delta: UsualDelta<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(default)]
    logprobs: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "members that say nothing to us are known, but not read")]
struct UsualDelta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<UsualCall<'a>>>,
    #[serde(default)]
    role: IgnoredAny,
    #[serde(default)]
    refusal: (),
    #[serde(default)]
    function_call: (),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "members that say nothing to us are known, but not read")]
struct UsualCall<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: UsualFunction<'a>,
    #[serde(default)]
    r#type: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsualFunction<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsualUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<UsualDetails>,
    #[serde(default)]
    completion_tokens_details: Option<UsualDetails>,
}

/// Of what was read, and of what was written.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "members that say nothing to us are known, but not read")]
struct UsualDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
    #[serde(default)]
    cache_write_tokens: Option<u64>,
    #[serde(default)]
    reasoning_tokens: Option<u64>,
    #[serde(default)]
    audio_tokens: Option<u64>,
    #[serde(default)]
    accepted_prediction_tokens: Option<u64>,
    #[serde(default)]
    rejected_prediction_tokens: Option<u64>,
}

impl UsualUsage {
    fn counts(&self) -> Counts {
        let read = self.prompt_tokens_details.unwrap_or_default();
        let written = self.completion_tokens_details.unwrap_or_default();
        Counts {
            input: Some(self.prompt_tokens),
            output: Some(self.completion_tokens),
            total: Some(self.total_tokens),
            cached: read.cached_tokens,
            cache_write: read.cache_write_tokens,
            reasoning: written.reasoning_tokens,
        }
    }
}

/// A text, borrowed unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Usual<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        // A struct is also read from an array, which is no chunk.
        let text = str::from_utf8(data).ok().filter(|text| text.trim_start().starts_with('{'))?;
        let chunk: Self = serde_json::from_str(text).ok()?;
        let calls = chunk.choices.iter().flat_map(|choice| choice.delta.tool_calls.iter().flatten());
        let indexes = chunk.choices.iter().map(|choice| choice.index).chain(calls.map(|call| call.index));
        let mut counts = indexes.chain(chunk.usage.iter().flat_map(|usage| usage.counts().all())).flatten();
        counts.all(|count| count <= json::COUNT_MAX).then_some(chunk)
    }
}

fn said<'t>(text: &'t Option<Text<'_>>) -> Option<&'t str> {
    text.as_ref().map(|text| &*text.0).filter(|text| !text.is_empty())
}

/// The members in which servers say why a choice ended.
const FINISH: [&str; 2] = ["finish_reason", "finishReason"];

/// The member in which gateways hand on the reason of the provider behind them.
const NATIVE: &str = "native_finish_reason";

/// The members in which servers show thinking; the first that says something counts, as some fill two.
const REASONING: [&str; 3] = ["reasoning_content", "reasoning", "thinking"];

/// Thinking as a content part; its own name, because it goes back as a part too.
pub(super) const THINKING: &str = "content.thinking";

impl Counts {
    fn take(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
        let nested = |outer: &str, key: &str| json::count(usage.get(outer)?, key);
        let first = |keys: &[&str]| keys.iter().find_map(|key| json::count(usage, key));
        let found = Counts {
            input: first(&["prompt_tokens", "input_tokens"]),
            output: first(&["completion_tokens", "output_tokens"]),
            total: first(&["total_tokens"]),
            cached: nested("prompt_tokens_details", "cached_tokens")
                .or_else(|| nested("input_tokens_details", "cached_tokens"))
                .or_else(|| first(&["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens"])),
            cache_write: nested("prompt_tokens_details", "cache_write_tokens")
                .or_else(|| first(&["cache_creation_input_tokens"])),
            reasoning: nested("completion_tokens_details", "reasoning_tokens")
                .or_else(|| nested("output_tokens_details", "reasoning_tokens"))
                .or_else(|| first(&["reasoning_tokens"])),
        };
        self.grow(found);
    }

    fn grow(&mut self, found: Counts) {
        for (mine, new) in [
            (&mut self.input, found.input),
            (&mut self.output, found.output),
            (&mut self.total, found.total),
            (&mut self.cached, found.cached),
            (&mut self.cache_write, found.cache_write),
            (&mut self.reasoning, found.reasoning),
        ] {
            *mine = (*mine).max(new);
        }
    }

    fn all(self) -> [Option<u64>; 6] {
        [self.input, self.output, self.total, self.cached, self.cache_write, self.reasoning]
    }
}

fn tell(call: &mut Call, seen: Seen<'_>) {
    if !call.told && !call.name.is_empty() {
        call.told = true;
        seen(Delta::Call(&call.name));
    }
}
