//! Between the neutral conversation and the Anthropic messages format, both ways; pure.
//!
//! What is sent holds for the service as it checks requests (platform.claude.com/docs, 2026-11). Always true:
//! - Roles take turns, the user begins and ends; no text is blank; the results of all calls open the message behind them.
//! - Thinking and opaque blocks go back byte for byte, to the issuer and model that they came from and to nobody else.
//! - Nothing is dropped without a word: what the format has no place for stands in the text.
//! - The beginning of a conversation is rendered the same in each of its requests, so that caches of it hold.

use std::{borrow::Cow, collections::HashSet};

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    super::{
        Failure, Means,
        dialect::{Target, called},
        finish::{Reported, finish},
        schema::{self, ANTHROPIC, ANTHROPIC_OUTPUT, Budget},
    },
    models::{Model, Thinking as Ability},
    wire::{self, Content},
};
use crate::chat::{
    Answer, AnswerPart, CallId, Choice, Finish, Media, MediaSource, Message, Opaque, OutputFormat, Part, Reasoning,
    ReasoningEffort, Request, ToolDef, ToolResult, Usage, WrittenCall,
};

/// The text of a request's body.
///
/// # Errors
/// When it cannot be written as JSON: the arguments of a call are none, which nothing in a run can cause.
pub(super) fn body(request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let model = Model::named(target.model);
    let tools = tools(request, strictness(target, &model));
    let forced = forced(request, &model);
    let mut turns = turns(request, target)?;
    let max_tokens = request.output_tokens_max.map_or(model.output_tokens_max, |wanted| {
        // More than the model can write is refused; of other servers' models we know no limit.
        if model == Model::OTHER { wanted } else { wanted.min(model.output_tokens_max) }
    });
    let mode = mode(request, &model, max_tokens, forced.is_some(), &turns);
    if !mode.thinks() {
        turns.iter_mut().for_each(Turn::forget_thoughts);
    }
    let effort = request.effort.filter(|_| model.effort).map(ReasoningEffort::as_str);
    let format = request
        .output
        .as_ref()
        .filter(|_| model.output_format)
        .map(|output| Format { r#type: "json_schema", schema: schema::reduce(&output.schema, &ANTHROPIC_OUTPUT) });
    let mut body = Body {
        model: target.model,
        max_tokens,
        system: system(request.system.as_deref(), request.output.as_deref().filter(|_| !model.output_format)),
        tool_choice: match forced {
            Some(name) => Some(ToolChoice::Tool { name }),
            None if request.tools.is_empty() && !tools.is_empty() => Some(ToolChoice::None),
            None => None,
        },
        thinking: match mode {
            // The journal may have elided what stood before a thought: then the thought is to be passed over.
            Mode::AsItIs | Mode::Adaptive if model.binds_thinking && turns.iter().any(Turn::has_thoughts) => {
                Some(Thinking::Adaptive { block_binding: Some(Binding { prefix_mismatch_behavior: "drop_block" }) })
            }
            Mode::AsItIs | Mode::Unasked => None,
            Mode::Adaptive => Some(Thinking::Adaptive { block_binding: None }),
            Mode::Budget(budget_tokens) => Some(Thinking::Enabled { budget_tokens }),
            Mode::Off => Some(Thinking::Disabled),
        },
        output_config: (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format }),
        // While it thinks, a model takes no other than its own; above one the format knows none.
        temperature: request.temperature.filter(|_| model.temperature && !mode.thinks()).map(|wanted| wanted.min(1.0)),
        tools,
        messages: turns,
        stream: true,
    };
    body.mark();
    crate::json::to_vec(&body)
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    stream: bool,
}

impl Body<'_> {
    /// Sets the four marks up to which the service caches: behind the tools, the instructions, and the last two turns of
    /// the user, so that each request finds what the one before has written, and writes for the next.
    fn mark(&mut self) {
        if let Some(tool) = self.tools.last_mut() {
            tool.cache_control = Some(Ephemeral {});
        }
        let turns = self.messages.iter_mut().rev().filter(|turn| turn.role == Role::User).take(2);
        let ends = turns.filter_map(|turn| turn.content.last_mut());
        for block in self.system.last_mut().into_iter().chain(ends) {
            match block {
                Block::Text { cache_control, .. }
                | Block::Image { cache_control, .. }
                | Block::Document { cache_control, .. }
                | Block::ToolResult { cache_control, .. } => *cache_control = Some(Ephemeral {}),
                Block::ToolUse { .. } | Block::Thinking { .. } | Block::RedactedThinking { .. } | Block::Opaque(_) => {}
            }
        }
    }
}

#[derive(Serialize)]
struct Turn<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Assistant,
}

impl Turn<'_> {
    fn has_thoughts(&self) -> bool {
        self.content.iter().any(Block::is_thought)
    }

    fn forget_thoughts(&mut self) {
        self.content.retain(|block| !block.is_thought());
    }

    fn answers_calls(&self) -> bool {
        matches!(self.content.first(), Some(Block::ToolResult { .. }))
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Ephemeral>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Ephemeral>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Ephemeral>,
    },
    ToolUse {
        id: String,
        name: &'a str,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: String,
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<Ephemeral>,
    },
    Thinking {
        thinking: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<&'a str>,
    },
    RedactedThinking {
        data: &'a str,
    },
    /// A block of a kind that only its issuer knows.
    #[serde(untagged)]
    Opaque(&'a RawValue),
}

impl<'a> Block<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Block::Text { text: text.into(), cache_control: None }
    }

    fn is_thought(&self) -> bool {
        matches!(self, Block::Thinking { .. } | Block::RedactedThinking { .. })
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Url { url: &'a str },
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
struct Ephemeral {}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    input_schema: Cow<'a, Value>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Ephemeral>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToolChoice<'a> {
    Tool { name: &'a str },
    None,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thinking {
    Enabled {
        budget_tokens: u32,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        block_binding: Option<Binding>,
    },
    Disabled,
}

#[derive(Serialize)]
struct Binding {
    prefix_mismatch_behavior: &'static str,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format<'a>>,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    schema: Cow<'a, Value>,
}

/// What a request says of thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing; the model does not think.
    Unasked,
    /// Nothing; the model thinks.
    AsItIs,
    Budget(u32),
    Adaptive,
    Off,
}

impl Mode {
    fn thinks(self) -> bool {
        matches!(self, Mode::AsItIs | Mode::Budget(_) | Mode::Adaptive)
    }
}

/// Whether the model is to think. A model that is forced to call cannot; and one with a budget wants to see the thought
/// with which the open turn began, so that a conversation which comes from elsewhere goes on without until it closes.
fn mode(request: &Request, model: &Model, max_tokens: u32, is_forced: bool, turns: &[Turn<'_>]) -> Mode {
    match (model.thinking, request.effort) {
        (Ability::Never, _) | (Ability::Budget | Ability::Asked, None) => Mode::Unasked,
        (Ability::Budget, Some(effort)) => {
            let budget = budget(effort).min(max_tokens / 2);
            let may = !is_forced && budget >= BUDGET_MIN && open_turn_begins_with_thought(turns);
            if may { Mode::Budget(budget) } else { Mode::Unasked }
        }
        (Ability::Asked, Some(_)) if is_forced => Mode::Unasked,
        (Ability::Default, _) if is_forced => Mode::Off,
        (Ability::Asked | Ability::Default | Ability::Always, Some(_)) => Mode::Adaptive,
        (Ability::Default | Ability::Always, None) => Mode::AsItIs,
    }
}

/// The smallest budget that is taken (platform.claude.com/docs/en/build-with-claude/extended-thinking, 2026-11).
const BUDGET_MIN: u32 = 1024;

/// Tokens to think with, for models that want a number; they count as answer, so that half of it is the most. The middle
/// is the documentation's example; the others are what agents in the field use.
fn budget(effort: ReasoningEffort) -> u32 {
    match effort {
        ReasoningEffort::Low => 4_000,
        ReasoningEffort::Medium => 10_000,
        ReasoningEffort::High => 24_000,
    }
}

/// Whether the answers that are still waiting for what comes of their results begin with a thought; true when the last
/// word is a person's.
fn open_turn_begins_with_thought(turns: &[Turn<'_>]) -> bool {
    let mut first = None;
    for turn in turns.iter().rev() {
        match turn.role {
            Role::User if turn.answers_calls() => {}
            Role::User => break,
            Role::Assistant => first = Some(turn),
        }
    }
    first.is_none_or(|turn| turn.content.first().is_some_and(Block::is_thought))
}

/// What makes the model call a tool, and properly, in this body.
pub(super) fn means(request: &Request, target: Target<'_>) -> Means {
    let model = Model::named(target.model);
    let held = strictness(target, &model);
    let is_strict = |tool: &Tool<'_>| tool.strict && called(request).any(|called| called.name.as_str() == tool.name);
    Means {
        strict: held.strict && tools(request, held).iter().any(is_strict),
        forced: forced(request, &model).is_some(),
    }
}

/// Only some models can be held to schemas.
fn strictness<'a>(target: Target<'a>, model: &Model) -> Target<'a> {
    Target { strict: target.strict && model.output_format, ..target }
}

fn forced<'a>(request: &'a Request, model: &Model) -> Option<&'a str> {
    match &request.choice {
        Choice::Tool(name) if model.can_be_forced && !request.tools.is_empty() => Some(name.as_str()),
        _ => None,
    }
}

/// The tools on offer. Where none are and the conversation has calls, which the format does not take then, those that it
/// calls, of which the model is told that it may not use them.
fn tools<'a>(request: &'a Request, target: Target<'_>) -> Vec<Tool<'a>> {
    if !request.tools.is_empty() {
        let mut budget = Budget::ANTHROPIC;
        return request.tools.iter().map(|tool| Tool::new(tool, target, &mut budget)).collect();
    }
    let mut known = HashSet::new();
    let calls = request.messages.iter().flat_map(|message| match &**message {
        Message::Assistant(parts) => parts.as_slice(),
        Message::User(_) | Message::Tool(_) => &[],
    });
    calls
        .filter_map(|part| match part {
            Part::Call(call) if known.insert(call.name.as_str()) => Some(Tool {
                name: call.name.as_str(),
                description: "",
                input_schema: Cow::Owned(json!({"type": "object", "properties": {}})),
                strict: false,
                cache_control: None,
            }),
            _ => None,
        })
        .collect()
}

impl<'a> Tool<'a> {
    /// A tool: strict as long as the budget for that lasts.
    fn new(tool: &'a ToolDef, target: Target<'_>, budget: &mut Budget) -> Self {
        let strict = target.strictly(&tool.input_schema, &ANTHROPIC_OUTPUT).filter(|schema| budget.take(schema));
        Tool {
            name: tool.name.as_str(),
            description: &tool.description,
            strict: strict.is_some(),
            input_schema: strict.unwrap_or_else(|| schema::reduce(&tool.input_schema, &ANTHROPIC)),
            cache_control: None,
        }
    }
}

/// The instructions, and the form of the answer where the format has no other place for it.
fn system<'a>(text: Option<&'a str>, output: Option<&'a OutputFormat>) -> Vec<Block<'a>> {
    let text = text.filter(|text| !text.trim().is_empty()).map(Block::text);
    let form = output.map(|output| {
        Block::text(format!(
            "Answer with one JSON value alone, without any text or code fence around it. It must fit this JSON Schema:\n{}",
            output.schema
        ))
    });
    text.into_iter().chain(form).collect()
}

fn turns<'a>(request: &'a Request, target: Target<'_>) -> Result<Vec<Turn<'a>>, serde_json::Error> {
    let mut turns: Vec<Turn<'a>> = Vec::with_capacity(request.messages.len() + 1);
    for message in &request.messages {
        match &**message {
            Message::User(parts) => {
                let mut blocks: Vec<_> = parts.iter().filter_map(user_block).collect();
                if blocks.is_empty() {
                    blocks.push(Block::text("(empty)"));
                }
                turn(&mut turns, Role::User).content.extend(blocks);
            }
            Message::Assistant(parts) => {
                let blocks = assistant(parts, target)?;
                if !blocks.is_empty() {
                    turn(&mut turns, Role::Assistant).content.extend(blocks);
                }
            }
            Message::Tool(result) => {
                let (block, beside) = tool_result(result);
                let content = &mut turn(&mut turns, Role::User).content;
                // Before whatever else the user says.
                let at = content.iter().take_while(|block| matches!(block, Block::ToolResult { .. })).count();
                content.insert(at, block);
                content.extend(beside);
            }
        }
    }
    if turns.first().is_none_or(|first| first.role != Role::User) {
        turns.insert(0, Turn { role: Role::User, content: vec![Block::text("Begin.")] });
    }
    if turns.last().is_some_and(|last| last.role != Role::User) {
        // An answer at the end would be taken for the beginning of this one, and is refused by newer models.
        turns.push(Turn { role: Role::User, content: vec![Block::text("Continue.")] });
    }
    Ok(turns)
}

/// The turn to add to: the last one if it is this role's, else a new one.
fn turn<'t, 'a>(turns: &'t mut Vec<Turn<'a>>, role: Role) -> &'t mut Turn<'a> {
    if turns.last().is_none_or(|last| last.role != role) {
        turns.push(Turn { role, content: Vec::new() });
    }
    let last = turns.len() - 1;
    &mut turns[last]
}

fn user_block(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text(text) if !text.trim().is_empty() => Some(Block::text(&**text)),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => Some(media_block(media)),
        Part::Text(_) | Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => None,
    }
}

/// A picture of a kind that the format takes, or a PDF; of anything else, what stands in its place.
fn media_block(media: &Media) -> Block<'_> {
    let source = match &media.source {
        MediaSource::Base64(data) => Source::Base64 { media_type: &media.mime, data },
        MediaSource::Url(url) => Source::Url { url },
    };
    match (media.mime.as_str(), &media.source) {
        ("image/png" | "image/jpeg" | "image/gif" | "image/webp", _) => Block::Image { source, cache_control: None },
        // What lies behind a URL is the service's to find out.
        (mime, MediaSource::Url(_)) if mime.starts_with("image/") => Block::Image { source, cache_control: None },
        ("application/pdf", _) => Block::Document { source, title: media.name.as_deref(), cache_control: None },
        _ => Block::text(media.without_place()),
    }
}

/// A result, and what has to stand behind it: the results of failed calls can only be text, so that their pictures go
/// beside, with a word of where they come from.
fn tool_result(result: &ToolResult) -> (Block<'_>, Vec<Block<'_>>) {
    let id = rendered_id(result.call);
    let mut content = Vec::with_capacity(result.content.len());
    let mut beside = Vec::new();
    for block in result.content.iter().filter_map(user_block) {
        if result.is_error && !matches!(block, Block::Text { .. }) {
            let n = beside.len() / 2 + 1;
            content.push(Block::text(format!("[media {n}: behind the results]")));
            beside.push(Block::text(format!("[media {n} of the result of {} ({id})]", result.name)));
            beside.push(block);
        } else {
            content.push(block);
        }
    }
    if content.is_empty() {
        content.push(Block::text("(no content)"));
    }
    (Block::ToolResult { tool_use_id: id, content, is_error: result.is_error, cache_control: None }, beside)
}

/// What the model said; empty when there is nothing in it that this target may see.
fn assistant<'a>(parts: &'a [Part], target: Target<'_>) -> Result<Vec<Block<'a>>, serde_json::Error> {
    let mut blocks = Vec::with_capacity(parts.len());
    for part in parts {
        blocks.push(match part {
            Part::Text(text) if !text.trim().is_empty() => Block::text(&**text),
            Part::Call(call) => Block::ToolUse {
                id: rendered_id(call.id),
                name: call.name.as_str(),
                input: serde_json::from_str(&call.arguments)?,
            },
            Part::Reasoning(Reasoning { text, opaque: Some(opaque) }) if target.issued(opaque) => {
                match opaque.kind.as_str() {
                    SIGNATURE => Block::Thinking { thinking: text, signature: Some(&opaque.data) },
                    UNSIGNED => Block::Thinking { thinking: text, signature: None },
                    REDACTED => Block::RedactedThinking { data: &opaque.data },
                    _ => continue,
                }
            }
            Part::Opaque(opaque) if target.issued(opaque) => match serde_json::from_str(&opaque.data) {
                Ok(block) => Block::Opaque(block),
                Err(_) => continue,
            },
            Part::Image(media) | Part::Audio(media) | Part::Document(media) => Block::text(format!("[{}]", media.mime)),
            Part::Text(_) | Part::Reasoning(_) | Part::Opaque(_) => continue,
        });
    }
    // A thought is the beginning of something; at the end of a message it is refused.
    while blocks.last().is_some_and(Block::is_thought) {
        blocks.pop();
    }
    Ok(blocks)
}

/// A thought with the signature that it goes back with.
const SIGNATURE: &str = "thinking.signature";

/// A thought to which the server gave no signature; servers other than Anthropic's have none.
const UNSIGNED: &str = "thinking";

/// A thought that only the service can read.
const REDACTED: &str = "redacted_thinking";

/// How the kinds of opaque blocks begin.
const CONTENT: &str = "content.";

/// `t0003c001`: letters and digits, as the format wants them, and the same as in the other dialects.
fn rendered_id(id: CallId) -> String {
    format!("t{:04}c{:03}", id.turn, id.call)
}

/// The neutral form of an answer, which has ended properly, or it would not be one.
///
/// # Errors
/// When it ended in a way that leaves nothing of it to use.
pub(super) fn answer(answer: wire::Answer, target: Target<'_>) -> Result<Answer, Failure> {
    let opaque = |kind: String, data: &str| {
        Box::new(Opaque { issuer: target.issuer.to_owned(), model: target.model.to_owned(), kind, data: data.into() })
    };
    let finish = finish(Reported {
        reason: answer.stop.as_deref(),
        why: answer.refusal.as_deref(),
        has_calls: answer.blocks.iter().any(|block| matches!(block.content, Content::Call(_))),
        has_no_member: answer.has_no_stop,
        ..Reported::default()
    })?;
    let is_cut = finish == Finish::Length;
    let last_call = answer.blocks.iter().rposition(|block| matches!(block.content, Content::Call(_)));
    // Blocks of other kinds belong together, a call of the service's own tools and its result: all of them, or none.
    let others = answer.blocks.iter().all(|block| match &block.content {
        Content::Other(other) => other.whole().is_some(),
        _ => true,
    });
    let part = |(at, block): (usize, &wire::Block)| match &block.content {
        Content::Text(text) if text.is_empty() => None,
        Content::Text(text) => Some(AnswerPart::Text(text.as_str().into())),
        Content::Thinking { text, signature: Some(signature) } => Some(AnswerPart::Reasoning(Reasoning {
            text: text.as_str().into(),
            opaque: Some(opaque(SIGNATURE.to_owned(), signature)),
        })),
        Content::Thinking { text, signature: None } => (!text.is_empty()).then(|| {
            let opaque = Some(opaque(UNSIGNED.to_owned(), ""));
            AnswerPart::Reasoning(Reasoning { text: text.as_str().into(), opaque })
        }),
        Content::Redacted(data) => {
            Some(AnswerPart::Reasoning(Reasoning { text: "".into(), opaque: Some(opaque(REDACTED.to_owned(), data)) }))
        }
        Content::Call(call) => Some(AnswerPart::Call(WrittenCall {
            provider_id: Some(call.id.clone()).filter(|id| !id.is_empty()),
            name: call.name.clone(),
            arguments: call.arguments().into(),
            complete: call.is_closed() && !(is_cut && Some(at) == last_call),
            opaque: None,
        })),
        Content::Other(other) => {
            let block = other.whole().filter(|_| others)?;
            Some(AnswerPart::Opaque(opaque(format!("{CONTENT}{}", other.kind), &block)))
        }
    };
    let parts = answer.blocks.iter().enumerate().filter_map(part).collect();
    Ok(Answer { parts, finish, usage: usage(&answer.usage), model: answer.model, id: answer.id })
}

/// What is read from the cache or written to it is not in the service's count of what was read.
pub(super) fn usage(counts: &wire::Counts) -> Option<Usage> {
    let cached = counts.cached.unwrap_or(0);
    let cache_write = counts.cache_write.unwrap_or(0);
    let output = counts.output.unwrap_or(0);
    let usage = Usage {
        input: counts.input.unwrap_or(0).saturating_add(cached).saturating_add(cache_write),
        cached,
        cache_write,
        output,
        reasoning: counts.thinking.unwrap_or(0).min(output),
    };
    (usage.total() > 0).then_some(usage)
}
