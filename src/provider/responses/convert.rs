//! Between the neutral conversation and the OpenAI Responses format, both ways; pure.
//!
//! What is sent is built from async-openai's types and holds for any server of the format. Always true:
//! - Every call has its result and every result its call, under an id of ours.
//! - What a model thought goes back to the issuer and model that it came from, byte for byte, and only in front of what it
//!   led to: a thought without the item that follows it is refused ("without its required following item", 2026-11).
//! - No other item keeps the id that its server gave it: nothing is stored there (`store: false`) under which it could be found.
//! - Nothing is dropped without a word: what the format has no place for stands in the text.

use std::borrow::Cow;

use async_openai::types::responses::{
    EasyInputContent, EasyInputMessage, FunctionCallOutput, FunctionCallOutputItemParam, FunctionToolCall, ImageDetail,
    IncludeEnum, InputContent, InputFileContent, InputImageContent, InputItem, InputTextContent, Item, MessagePhase,
    MessageType, Reasoning as ReasoningParam, ReasoningEffort as EffortParam, ReasoningSummary,
    ResponseFormatJsonSchema, ResponseTextParam, Role, TextResponseFormatConfiguration, ToolChoiceFunction,
    ToolChoiceOptions, ToolChoiceParam,
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{
    super::{
        Class, Failure, Means,
        dialect::{ForceForm, Target, called, offered},
        failure::failure,
        finish::{Reported, finish},
        schema::{self, reduce},
    },
    items::{Item as WireItem, Kind},
    wire,
};
use crate::chat::{
    Answer, AnswerPart, CallId, Choice, Finish, Media, MediaSource, Message, Opaque, OutputFormat, Part, Reasoning,
    ReasoningEffort, Request, ToolDef, ToolResult, WrittenCall,
};

/// Fewest tokens that OpenAI takes as a limit (error text of the API, 2026-11); a lower wish is met as nearly as it can be.
const OUTPUT_TOKENS_MIN: u32 = 16;

/// Longest cache key that OpenAI takes (error text of the API, 2026-11); without one, requests are told apart by prefix.
const CACHE_KEY_BYTES_MAX: usize = 64;

/// The kind of what a model thought.
const REASONING: &str = "reasoning";

/// The kind of the mark that says what part of the work the next message belongs to.
const PHASE: &str = "message.phase";

/// How the kinds of items begin that we do not know.
const ITEM: &str = "item.";

/// The text of a request's body.
///
/// # Errors
/// When it cannot be written as JSON, which nothing in a request can cause.
pub(super) fn body(request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let quirks = target.quirks;
    crate::json::to_vec(&Body {
        model: target.model,
        instructions: request.system.as_deref().filter(|system| !system.trim().is_empty()),
        input: input(request, target),
        tools: offered(request, quirks).map(|tool| Tool::new(tool, target)).collect(),
        tool_choice: match (&request.choice, quirks.force) {
            (Choice::Auto, _) | (Choice::Tool(_), ForceForm::Never) => None,
            (Choice::Tool(_), ForceForm::Required) => Some(ToolChoiceParam::Option(ToolChoiceOptions::Required)),
            (Choice::Tool(name), ForceForm::Named) => {
                Some(ToolChoiceParam::Function(ToolChoiceFunction { name: name.to_string() }))
            }
        },
        text: request.output.as_deref().map(|output| text_format(output, target)),
        reasoning: request.effort.map(|effort| ReasoningParam {
            effort: Some(match effort {
                ReasoningEffort::Low => EffortParam::Low,
                ReasoningEffort::Medium => EffortParam::Medium,
                ReasoningEffort::High => EffortParam::High,
            }),
            summary: (!quirks.no_reasoning_summary).then_some(ReasoningSummary::Auto),
            ..ReasoningParam::default()
        }),
        temperature: request.temperature,
        max_output_tokens: request.output_tokens_max.map(|tokens| tokens.max(OUTPUT_TOKENS_MIN)),
        prompt_cache_key: request.cache_key.as_deref().filter(|key| key.len() <= CACHE_KEY_BYTES_MAX),
        include: if quirks.no_encrypted_reasoning { vec![] } else { vec![IncludeEnum::ReasoningEncryptedContent] },
        store: false,
        stream: true,
    })
}

/// The request without the members that we never send. Tools are borrowed: they are the same in every turn.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Rendered<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoiceParam>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<ResponseTextParam>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<ReasoningParam>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<IncludeEnum>,
    store: bool,
    stream: bool,
}

/// An item: one of ours, or one that goes back as it came.
#[derive(Serialize)]
#[serde(untagged)]
enum Rendered<'a> {
    Ours(Box<InputItem>),
    Returned(&'a RawValue),
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: Cow<'a, Value>,
    /// Said aloud, because here the default is strict, which takes a small part of JSON Schema only.
    strict: bool,
}

impl<'a> Tool<'a> {
    fn new(tool: &'a ToolDef, target: Target<'_>) -> Self {
        let strict = target.strictly(&tool.input_schema, &schema::OPENAI_STRICT);
        Tool {
            r#type: "function",
            name: tool.name.as_str(),
            description: &tool.description,
            strict: strict.is_some(),
            parameters: strict.unwrap_or_else(|| reduce(&tool.input_schema, &schema::OPENAI)),
        }
    }
}

/// What makes the model call a tool, and properly, in this body.
pub(super) fn means(request: &Request, target: Target<'_>) -> Means {
    let is_strict = |tool: &ToolDef| target.strictly(&tool.input_schema, &schema::OPENAI_STRICT).is_some();
    Means {
        strict: called(request).any(is_strict),
        forced: matches!(request.choice, Choice::Tool(_)) && target.quirks.force != ForceForm::Never,
    }
}

fn text_format(output: &OutputFormat, target: Target<'_>) -> ResponseTextParam {
    let strict = target.strictly(&output.schema, &schema::OPENAI_STRICT);
    ResponseTextParam {
        format: TextResponseFormatConfiguration::JsonSchema(ResponseFormatJsonSchema {
            name: output.name.clone(),
            strict: Some(strict.is_some()),
            schema: strict.unwrap_or(Cow::Borrowed(&output.schema)).into_owned(),
            ..ResponseFormatJsonSchema::default()
        }),
        verbosity: None,
    }
}

fn input<'a>(request: &'a Request, target: Target<'_>) -> Vec<Rendered<'a>> {
    let mut rendered = Vec::with_capacity(request.messages.len());
    // What the user says: neighbours become one message, as many chat templates want the roles in turns.
    let mut user = Vec::new();
    for message in &request.messages {
        match &**message {
            Message::User(parts) => {
                let before = user.len();
                user.extend(parts.iter().filter_map(content));
                if user.len() == before {
                    user.push(text("(empty)"));
                }
            }
            Message::Assistant(parts) => {
                let items = assistant(parts, target);
                if !items.is_empty() {
                    flush(&mut user, &mut rendered);
                    rendered.extend(items);
                }
            }
            Message::Tool(result) => {
                flush(&mut user, &mut rendered);
                rendered.push(ours(Item::FunctionCallOutput(output(result))));
            }
        }
    }
    flush(&mut user, &mut rendered);
    rendered
}

fn ours(item: Item) -> Rendered<'static> {
    Rendered::Ours(Box::new(InputItem::Item(item)))
}

fn said(role: Role, content: EasyInputContent, phase: Option<MessagePhase>) -> Rendered<'static> {
    let message = EasyInputMessage { r#type: MessageType::Message, role, content, phase };
    Rendered::Ours(Box::new(InputItem::EasyMessage(message)))
}

fn flush(user: &mut Vec<InputContent>, rendered: &mut Vec<Rendered<'_>>) {
    let mut parts = std::mem::take(user);
    let content = match parts.as_mut_slice() {
        [] => return,
        [InputContent::InputText(only)] => EasyInputContent::Text(std::mem::take(&mut only.text)),
        _ => EasyInputContent::ContentList(parts),
    };
    rendered.push(said(Role::User, content, None));
}

/// A part as the user or a tool says it.
fn content(part: &Part) -> Option<InputContent> {
    match part {
        Part::Text(said) if !said.trim().is_empty() => Some(text(&**said)),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => Some(shown(media)),
        Part::Text(_) | Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => None,
    }
}

fn text(text: impl Into<String>) -> InputContent {
    InputContent::InputText(InputTextContent { text: text.into(), prompt_cache_breakpoint: None })
}

/// A picture or a PDF; of anything else, what stands in its place. The format takes no sounds (its reference, 2026-11).
fn shown(media: &Media) -> InputContent {
    match &media.source {
        source if media.mime == "application/pdf" => {
            let (data, url) = match source {
                MediaSource::Base64(data) => (Some(format!("data:{};base64,{data}", media.mime)), None),
                MediaSource::Url(url) => (None, Some(url.clone())),
            };
            let name = media.name.clone().unwrap_or_else(|| "document.pdf".to_owned());
            // A file behind a URL has its name from there, and may not be given another.
            let filename = data.is_some().then_some(name);
            InputContent::InputFile(InputFileContent {
                file_data: data,
                file_url: url,
                filename,
                ..InputFileContent::default()
            })
        }
        source if media.mime.starts_with("image/") => InputContent::InputImage(InputImageContent {
            detail: ImageDetail::Auto,
            image_url: Some(match source {
                MediaSource::Base64(data) => format!("data:{};base64,{data}", media.mime),
                MediaSource::Url(url) => url.clone(),
            }),
            ..InputImageContent::default()
        }),
        _ => text(media.without_place()),
    }
}

/// A result: a text, which every server takes, or a list where there is more to it.
fn output(result: &ToolResult) -> FunctionCallOutputItemParam {
    let mut parts: Vec<_> = result.content.iter().filter_map(content).collect();
    if parts.is_empty() {
        parts.push(text("(no content)"));
    }
    if result.is_error {
        // The format has no member for it.
        match parts.first_mut() {
            Some(InputContent::InputText(first)) => first.text.insert_str(0, "Error: "),
            _ => parts.insert(0, text("Error:")),
        }
    }
    let is_text = |part: &InputContent| matches!(part, InputContent::InputText(_));
    let lines = parts.iter().filter_map(|part| match part {
        InputContent::InputText(line) => Some(line.text.as_str()),
        _ => None,
    });
    let output = if parts.iter().all(is_text) {
        FunctionCallOutput::Text(lines.collect::<Vec<_>>().join("\n"))
    } else {
        FunctionCallOutput::Content(parts)
    };
    FunctionCallOutputItemParam {
        call_id: Some(rendered_id(result.call)),
        output,
        id: None,
        status: None,
        name: None,
        namespace: None,
        caller: None,
    }
}

/// What the model said, thought and called, as far as this target may see it.
fn assistant<'a>(parts: &'a [Part], target: Target<'_>) -> Vec<Rendered<'a>> {
    let mut rendered = Vec::with_capacity(parts.len());
    // Thoughts that wait for the item that follows them.
    let mut thoughts = Vec::new();
    let mut phase = None;
    for part in parts {
        let item = match part {
            Part::Reasoning(Reasoning { opaque: Some(opaque), .. }) => {
                thoughts.extend(returned(opaque, target, |kind| kind == REASONING));
                continue;
            }
            Part::Opaque(opaque) if opaque.kind == PHASE => {
                phase = target.issued(opaque).then(|| serde_json::from_str(&opaque.data).ok()).flatten();
                continue;
            }
            Part::Opaque(opaque) => returned(opaque, target, |kind| kind.starts_with(ITEM)),
            Part::Text(text) if text.trim().is_empty() => None,
            Part::Text(text) => Some(said(Role::Assistant, EasyInputContent::Text(text.to_string()), phase.take())),
            Part::Image(media) | Part::Audio(media) | Part::Document(media) => {
                Some(said(Role::Assistant, EasyInputContent::Text(format!("[{}]", media.mime)), None))
            }
            Part::Call(call) => Some(ours(Item::FunctionCall(FunctionToolCall {
                arguments: call.arguments.to_string(),
                call_id: rendered_id(call.id),
                name: call.name.to_string(),
                ..FunctionToolCall::default()
            }))),
            Part::Reasoning(_) => None,
        };
        if let Some(item) = item {
            rendered.append(&mut thoughts);
            rendered.push(item);
        }
    }
    rendered
}

/// An item that goes back as it came, if it is this target's and of the right kind.
fn returned<'a>(opaque: &'a Opaque, target: Target<'_>, is_kind: impl Fn(&str) -> bool) -> Option<Rendered<'a>> {
    let is_item = is_kind(&opaque.kind) && target.issued(opaque) && opaque.data.starts_with('{');
    serde_json::from_str(&opaque.data).ok().filter(|_| is_item).map(Rendered::Returned)
}

/// `call_t3c1`: in the form of the service's own ids, which some servers of the format insist on.
fn rendered_id(id: CallId) -> String {
    format!("call_{id}")
}

/// The neutral form of an answer, which has ended properly, or it would not be one.
///
/// # Errors
/// When it ended in a way that leaves nothing of it to use.
pub(super) fn answer(answer: wire::Answer, target: Target<'_>) -> Result<Answer, Failure> {
    let opaque = |kind: String, data: String| {
        Box::new(Opaque { issuer: target.issuer.to_owned(), model: target.model.to_owned(), kind, data: data.into() })
    };
    let is_call = |item: &WireItem| matches!(item.kind, Kind::Call(_));
    let has_calls = answer.items.iter().any(is_call);
    let reason = answer.reason.filter(|reason| !reason.is_empty());
    let finish = match finish(Reported {
        reason: reason.as_deref().or(answer.status.as_deref()),
        declined: answer.refused,
        has_calls,
        ..Reported::default()
    })? {
        Finish::Stop if has_calls => Finish::ToolCalls,
        // Incomplete for a reason that we do not know.
        Finish::Other(_) if answer.status.as_deref() == Some("incomplete") => Finish::Length,
        finish => finish,
    };
    let is_cut = finish == Finish::Length;
    let last = answer.items.iter().rposition(is_call);
    let mut parts = Vec::with_capacity(answer.items.len());
    for (at, item) in answer.items.into_iter().enumerate() {
        match item.kind {
            Kind::Message(message) => {
                if let Some(phase) = message.phase {
                    parts.push(AnswerPart::Opaque(opaque(PHASE.to_owned(), Value::String(phase).to_string())));
                }
                let text = message.texts.joined();
                if !text.is_empty() {
                    parts.push(AnswerPart::Text(text.into()));
                }
                // To be seen in the journal; the format has no way back for them.
                let others = message.others.into_iter();
                parts.extend(others.map(|(kind, json)| AnswerPart::Opaque(opaque(format!("content.{kind}"), json))));
            }
            Kind::Call(call) if call.name.is_empty() && call.arguments.is_empty() => {}
            Kind::Call(call) => parts.push(AnswerPart::Call(WrittenCall {
                complete: call.is_closed() && !call.is_cut && !(is_cut && last == Some(at)),
                provider_id: Some(call.id).filter(|id| !id.is_empty()),
                name: call.name,
                arguments: call.arguments.into(),
                opaque: None,
            })),
            Kind::Reasoning(thoughts) => {
                let text = thoughts.text();
                if !text.is_empty() || thoughts.json.is_some() {
                    parts.push(AnswerPart::Reasoning(Reasoning {
                        text: text.into(),
                        opaque: thoughts.json.map(|json| opaque(REASONING.to_owned(), json)),
                    }));
                }
            }
            Kind::Other { name, json } => {
                let json = json.map(|json| AnswerPart::Opaque(opaque(format!("{ITEM}{name}"), json)));
                parts.extend(json);
            }
        }
    }
    if parts.is_empty() && finish == Finish::Length && reason.is_none() {
        return Err(failure(Class::MalformedAnswer, "the answer is incomplete and there is nothing in it"));
    }
    Ok(Answer { parts, finish, usage: answer.usage, model: answer.model, id: answer.id })
}
