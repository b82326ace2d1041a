//! Between the neutral conversation and the OpenAI chat format, both ways; pure.
//!
//! What is sent holds for any server of the format: its frame and its rare parts are built from async-openai's types, texts
//! and calls are borrowed from the conversation. Of that each turn adds what is new to what was written before it
//! ([`Draft`](crate::chat::Draft)). Always true:
//! - Every message has content or calls, every call has an id of nine letters and digits, which is what all services
//!   take (Mistral takes no other, docs.mistral.ai, 2026-11), and its result names the same id.
//! - Reasoning and opaque parts go back only to the issuer and model that they came from.
//! - Nothing is dropped without a word: what the format has no place for stands in the text.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _, sync::Arc};

use async_openai::types::chat::{
    ChatCompletionNamedToolChoice, ChatCompletionRequestMessage, ChatCompletionRequestMessageContentPartAudio,
    ChatCompletionRequestMessageContentPartFile, ChatCompletionRequestMessageContentPartImage,
    ChatCompletionRequestMessageContentPartText, ChatCompletionRequestUserMessage,
    ChatCompletionRequestUserMessageContent, ChatCompletionRequestUserMessageContentPart, ChatCompletionStreamOptions,
    ChatCompletionToolChoiceOption, FileObject, FunctionName, ImageUrl, InputAudio, InputAudioFormat, ResponseFormat,
    ResponseFormatJsonSchema, ToolChoiceOptions,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use super::{
    super::{
        Failure, Means,
        dialect::{EffortForm, ForceForm, Target, called, offered},
        finish::{Reported, finish},
        schema::{self, reduce},
    },
    wire,
};
use crate::chat::{
    Answer, AnswerPart, Beginning, CallId, Choice, Finish, Media, MediaSource, Message, Opaque, Part, PerTool,
    Reasoning, ReasoningEffort, Request, ToolCall, ToolDef, ToolResult, Usage, Written, WrittenCall,
};

/// The text of a request's body.
///
/// # Errors
/// When it cannot be written as JSON, which nothing in a request can cause.
pub(super) fn body(request: &Request, target: Target<'_>) -> Result<Bytes, serde_json::Error> {
    let head = Bytes::from(head(request, target)?);
    let begun = request.draft.beginning(target.issuer, &head, &request.messages);
    let anew = || Beginning { text: head.clone(), messages: 0, rest: REST_BYTES };
    let Beginning { text, messages: known, rest } = begun.unwrap_or_else(anew);
    let new = &request.messages[known..];
    let mut body = Vec::with_capacity(text.len() + MESSAGE_BYTES * new.len() + rest);
    body.extend_from_slice(&text);
    let (lasting, end) = write_messages(new, target, &mut body)?;
    write_rest(request, target, &mut body)?;
    let body = Bytes::from(body);
    request.draft.keep(Written {
        issuer: target.issuer.into(),
        messages: request.messages[..known + lasting].to_vec(),
        text: body.slice(..end),
        head: head.len(),
        rest: body.len() - end,
    });
    Ok(body)
}

/// What stands before the messages of the conversation.
fn head(request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let mut head = br#"{"model":"#.to_vec();
    crate::json::write(&mut head, &target.model)?;
    head.extend_from_slice(br#","messages":["#);
    if let Some(system) = request.system.as_deref().filter(|system| !system.trim().is_empty()) {
        write_message(&mut head, &Rendered::Said(Said::text("system", system)))?;
    }
    Ok(head)
}

/// Writes what stands behind the messages.
fn write_rest(request: &Request, target: Target<'_>, body: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let quirks = target.quirks;
    let tokens = request.output_tokens_max;
    let (reasoning_effort, reasoning) = effort(request, quirks.effort);
    let rest = Rest {
        tools: offered(request, quirks).map(|tool| tool_offer(tool, target)).collect::<Result<_, _>>()?,
        tool_choice: match (&request.choice, quirks.force) {
            (Choice::Auto, _) | (Choice::Tool(_), ForceForm::Never) => None,
            (Choice::Tool(_), ForceForm::Required) => {
                Some(ChatCompletionToolChoiceOption::Mode(ToolChoiceOptions::Required))
            }
            (Choice::Tool(name), ForceForm::Named) => {
                Some(ChatCompletionToolChoiceOption::Function(ChatCompletionNamedToolChoice {
                    function: FunctionName { name: name.to_string() },
                }))
            }
        },
        response_format: request.output.as_ref().map(|output| {
            let strict = target.strictly(&output.schema, &schema::OPENAI_STRICT);
            ResponseFormat::JsonSchema {
                json_schema: ResponseFormatJsonSchema {
                    name: output.name.clone(),
                    strict: strict.as_ref().map(|_| true),
                    schema: strict.unwrap_or(Cow::Borrowed(&output.schema)).into_owned(),
                    ..ResponseFormatJsonSchema::default()
                },
            }
        }),
        temperature: request.temperature,
        max_tokens: tokens.filter(|_| !quirks.completion_tokens),
        max_completion_tokens: tokens.filter(|_| quirks.completion_tokens),
        reasoning_effort,
        reasoning,
        prompt_cache_key: request.cache_key.as_deref().filter(|_| quirks.cache_key),
        stream: true,
        stream_options: (!quirks.no_stream_options)
            .then_some(ChatCompletionStreamOptions { include_usage: Some(true), include_obfuscation: None }),
    };
    body.push(b']');
    let at = body.len();
    crate::json::write(body, &rest)?;
    // It goes on in the same object, and never says nothing.
    body[at] = b',';
    Ok(())
}

/// What makes the model call a tool, and properly, in this body.
pub(super) fn means(request: &Request, target: Target<'_>) -> Means {
    let is_strict = |tool: &ToolDef| strict(tool, target).is_ok_and(|held| held.is_some());
    Means {
        strict: called(request).any(is_strict),
        forced: matches!(request.choice, Choice::Tool(_)) && target.quirks.force != ForceForm::Never,
    }
}

/// Room made for what a request says beside its messages, and for each of these, so that most are written without being moved.
const REST_BYTES: usize = 1024;
const MESSAGE_BYTES: usize = 192;

/// How much to think, in the one of two members that this server has for it.
fn effort(request: &Request, form: EffortForm) -> (Option<&'static str>, Option<Value>) {
    let wish = request.effort.map(ReasoningEffort::as_str);
    let has_tools = !request.tools.is_empty();
    match form {
        EffortForm::Member => (wish, None),
        EffortForm::WithoutTools => (wish.filter(|_| !has_tools), None),
        EffortForm::NoneWithTools => (if has_tools { Some("none") } else { wish }, None),
        EffortForm::Object => (None, wish.map(|effort| json!({"effort": effort}))),
        EffortForm::HighOrNone => {
            (request.effort.map(|effort| if effort == ReasoningEffort::High { "high" } else { "none" }), None)
        }
        EffortForm::Never => (None, None),
    }
}

/// The request behind its messages, without the forty members that we never send. Tools are borrowed: they are the same in
/// every turn.
#[derive(Serialize)]
struct Rest<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ChatCompletionToolChoiceOption>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    /// OpenRouter's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<ChatCompletionStreamOptions>,
}

/// A message: what almost all are, by the book, or with members that the types do not know.
#[derive(Serialize)]
#[serde(untagged)]
enum Rendered<'a> {
    Said(Said<'a>),
    ByTheBook(ChatCompletionRequestMessage),
    Extended(Value),
}

/// A message of text and calls alone, and of what is borrowed from the conversation.
#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

#[derive(Serialize)]
struct Called<'a> {
    id: String,
    r#type: &'static str,
    function: CalledFunction<'a>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

/// A part of what has to be said by the user.
enum UserPart<'a> {
    Text(Cow<'a, str>),
    Media(ChatCompletionRequestUserMessageContentPart),
}

impl<'a> Said<'a> {
    fn text(role: &'static str, content: impl Into<Cow<'a, str>>) -> Self {
        Said { role, content: Some(content.into()), tool_calls: Vec::new(), tool_call_id: None }
    }
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    parameters: Arc<RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
}

/// The schemas of tools as this format has them, written out.
static PARAMETERS: PerTool<Arc<RawValue>> = PerTool::new();

/// The same for strict tools; `None` for a tool that cannot be one.
static STRICT: PerTool<Option<Arc<RawValue>>> = PerTool::new();

/// The schema to which the model is held; `None` when it is not.
fn strict(tool: &ToolDef, target: Target<'_>) -> Result<Option<Arc<RawValue>>, serde_json::Error> {
    let strict = |schema: &Arc<Value>| {
        target.strictly(schema, &schema::OPENAI_STRICT).map(|strict| to_raw_value(&strict).map(Arc::from)).transpose()
    };
    if target.strict { STRICT.get(tool, strict) } else { Ok(None) }
}

fn tool_offer<'a>(tool: &'a ToolDef, target: Target<'_>) -> Result<Tool<'a>, serde_json::Error> {
    let (is_strict, parameters) = match strict(tool, target)? {
        Some(parameters) => (true, parameters),
        None => {
            let plain = |schema: &Arc<Value>| to_raw_value(&reduce(schema, &schema::OPENAI)).map(Arc::from);
            (false, PARAMETERS.get(tool, plain)?)
        }
    };
    let function = Function { name: tool.name.as_str(), description: &tool.description, parameters, strict: is_strict };
    Ok(Tool { r#type: "function", function })
}

/// Writes messages behind what is there. Returns how many of them stay as they are written whatever follows, and where
/// the last of those ends.
fn write_messages(
    messages: &[Arc<Message>],
    target: Target<'_>,
    body: &mut Vec<u8>,
) -> Result<(usize, usize), serde_json::Error> {
    let mut lasting = (0, body.len());
    // What has to be said by the user: neighbours become one message, as many chat templates want the roles in turns.
    let mut user = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if user.is_empty() {
            lasting = (at, body.len());
        }
        match &**message {
            Message::User(parts) => {
                let before = user.len();
                user.extend(parts.iter().filter_map(user_part));
                if user.len() == before {
                    user.push(UserPart::Text("(empty)".into()));
                }
            }
            Message::Assistant(parts) => {
                if let Some(message) = assistant(parts, target)? {
                    flush(&mut user, body)?;
                    write_message(body, &message)?;
                }
            }
            Message::Tool(result) => write_message(body, &tool(result, &mut user))?,
        }
    }
    if user.is_empty() {
        lasting = (messages.len(), body.len());
    }
    flush(&mut user, body)?;
    Ok(lasting)
}

/// Writes a message behind those that are there.
fn write_message(body: &mut Vec<u8>, message: &Rendered<'_>) -> Result<(), serde_json::Error> {
    if !body.ends_with(b"[") {
        body.push(b',');
    }
    crate::json::write(body, message)
}

fn flush(user: &mut Vec<UserPart<'_>>, body: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let mut parts = std::mem::take(user);
    let message = match parts.as_mut_slice() {
        [] => return Ok(()),
        [UserPart::Text(only)] => Rendered::Said(Said::text("user", std::mem::take(only))),
        _ => {
            let parts = parts.into_iter().map(|part| match part {
                UserPart::Text(text) => text_part(text),
                UserPart::Media(part) => part,
            });
            Rendered::ByTheBook(ChatCompletionRequestMessage::User(ChatCompletionRequestUserMessage {
                content: ChatCompletionRequestUserMessageContent::Array(parts.collect()),
                name: None,
            }))
        }
    };
    write_message(body, &message)
}

fn user_part(part: &Part) -> Option<UserPart<'_>> {
    match part {
        Part::Text(text) if !text.trim().is_empty() => Some(UserPart::Text(Cow::Borrowed(text))),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => {
            Some(media_part(media).map_or_else(|stub| UserPart::Text(stub.into()), UserPart::Media))
        }
        Part::Text(_) | Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => None,
    }
}

fn text_part(text: impl Into<String>) -> ChatCompletionRequestUserMessageContentPart {
    ChatCompletionRequestUserMessageContentPart::Text(ChatCompletionRequestMessageContentPartText {
        text: text.into(),
        prompt_cache_breakpoint: None,
    })
}

/// A picture, or a sound or document where the format takes its kind (developers.openai.com/api/docs/guides/file-inputs, 2026-11:
/// PDF as data, and nothing else); else what stands in its place.
fn media_part(media: &Media) -> Result<ChatCompletionRequestUserMessageContentPart, String> {
    let format = match media.mime.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some(InputAudioFormat::Wav),
        "audio/mpeg" | "audio/mp3" => Some(InputAudioFormat::Mp3),
        _ => None,
    };
    Ok(match (&media.source, format) {
        (MediaSource::Base64(data), _) if media.mime == "application/pdf" => {
            ChatCompletionRequestUserMessageContentPart::File(ChatCompletionRequestMessageContentPartFile {
                file: FileObject {
                    file_data: Some(format!("data:{};base64,{data}", media.mime)),
                    file_id: None,
                    // Refused without one (error text of the API, 2026-11).
                    filename: Some(media.name.clone().unwrap_or_else(|| "document.pdf".to_owned())),
                },
                ..ChatCompletionRequestMessageContentPartFile::default()
            })
        }
        (MediaSource::Base64(data), Some(format)) => {
            ChatCompletionRequestUserMessageContentPart::InputAudio(ChatCompletionRequestMessageContentPartAudio {
                input_audio: InputAudio { data: data.to_string(), format },
                prompt_cache_breakpoint: None,
            })
        }
        (source, _) if media.mime.starts_with("image/") => {
            let url = match source {
                MediaSource::Base64(data) => format!("data:{};base64,{data}", media.mime),
                MediaSource::Url(url) => url.clone(),
            };
            ChatCompletionRequestUserMessageContentPart::ImageUrl(ChatCompletionRequestMessageContentPartImage {
                image_url: ImageUrl { url, detail: None },
                prompt_cache_breakpoint: None,
            })
        }
        _ => return Err(media.without_place()),
    })
}

/// A result. Its text goes where it belongs; pictures and sounds, which the format does not take there, go with a word
/// of where they come from into the next message of the user.
fn tool<'a>(result: &'a ToolResult, user: &mut Vec<UserPart<'a>>) -> Rendered<'a> {
    let id = rendered_id(result.call);
    let mut text: Cow<'a, str> = Cow::Borrowed("");
    let mut media = 0;
    for part in &result.content {
        let line: Cow<'a, str> = match part {
            Part::Text(text) => Cow::Borrowed(text),
            Part::Image(content) | Part::Audio(content) | Part::Document(content) => match media_part(content) {
                Ok(part) => {
                    media += 1;
                    let origin = format!("[{} {media} of the result of {} ({id})]", content.mime, result.name);
                    user.push(UserPart::Text(origin.into()));
                    user.push(UserPart::Media(part));
                    Cow::Owned(format!("[{} {media}: in the next message of the user]", content.mime))
                }
                Err(stub) => Cow::Owned(stub),
            },
            Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => continue,
        };
        if !text.is_empty() && !line.is_empty() {
            text += "\n";
        }
        text += line;
    }
    if text.trim().is_empty() {
        text = "(no content)".into();
    }
    if result.is_error {
        // The format has no member for it.
        text.to_mut().insert_str(0, "Error: ");
    }
    Rendered::Said(Said { tool_call_id: Some(id), ..Said::text("tool", text) })
}

/// What the model said; `None` when there is nothing in it that this target may see.
fn assistant<'a>(parts: &'a [Part], target: Target<'_>) -> Result<Option<Rendered<'a>>, serde_json::Error> {
    let mut text: Cow<'a, str> = Cow::Borrowed("");
    let mut calls = Vec::new();
    let mut extras = Extras::default();
    for part in parts {
        match part {
            Part::Text(more) => text += &**more,
            Part::Call(call) => {
                if let Some(opaque) = call.opaque.as_ref().filter(|opaque| target.issued(opaque)) {
                    extras.of_calls.insert(calls.len(), (opaque.kind.clone(), value(opaque)));
                }
                calls.push(rendered_call(call));
            }
            Part::Reasoning(Reasoning { text, opaque: Some(opaque) }) if target.issued(opaque) => {
                extras.reasoning(&opaque.kind, text);
            }
            Part::Opaque(opaque) if target.issued(opaque) => {
                extras.opaque(&opaque.kind, value(opaque));
            }
            Part::Image(media) | Part::Audio(media) | Part::Document(media) => {
                let _ = write!(text.to_mut(), "[{}]", media.mime);
            }
            Part::Reasoning(_) | Part::Opaque(_) => {}
        }
    }
    let has_text = !text.trim().is_empty();
    if !has_text && calls.is_empty() && extras.content.is_empty() {
        return Ok(None);
    }
    let has_calls = !calls.is_empty();
    let message = Said { role: "assistant", content: has_text.then_some(text), tool_calls: calls, tool_call_id: None };
    extras.extend(message, has_calls).map(Some)
}

/// What an issuer wants back beside the message proper.
#[derive(Default)]
struct Extras {
    /// By the place of the call: member and value.
    of_calls: HashMap<usize, (String, Value)>,
    /// Members of the message.
    members: Map<String, Value>,
    /// Content parts, before the text.
    content: Vec<Value>,
}

impl Extras {
    fn reasoning(&mut self, kind: &str, text: &str) {
        if kind == wire::THINKING {
            self.content.push(json!({"type": "thinking", "thinking": [{"type": "text", "text": text}]}));
            return;
        }
        match self.members.get_mut(kind) {
            Some(Value::String(so_far)) => so_far.push_str(text),
            _ => {
                self.members.insert(kind.to_owned(), text.into());
            }
        }
    }

    fn opaque(&mut self, kind: &str, value: Value) {
        if kind.starts_with(CONTENT) {
            self.content.push(value);
        } else {
            self.members.insert(kind.to_owned(), value);
        }
    }

    fn extend(self, message: Said<'_>, has_calls: bool) -> Result<Rendered<'_>, serde_json::Error> {
        // Thinking is wanted back while its calls are being answered (DeepSeek, Moonshot; their documentation, 2026-11);
        // beside a mere text, older models refuse it.
        let members = if has_calls { self.members } else { Map::new() };
        if members.is_empty() && self.of_calls.is_empty() && self.content.is_empty() {
            return Ok(Rendered::Said(message));
        }
        let mut message = serde_json::to_value(message)?;
        for (at, (member, value)) in self.of_calls {
            if let Some(call) = message.pointer_mut(&format!("/tool_calls/{at}")) {
                call[member] = value;
            }
        }
        if !self.content.is_empty() {
            let text = message["content"].take();
            let text = text.is_string().then(|| json!({"type": "text", "text": text}));
            message["content"] = self.content.into_iter().chain(text).collect();
        }
        for (member, value) in members {
            message[member] = value;
        }
        Ok(Rendered::Extended(message))
    }
}

/// How the kinds of opaque content parts begin.
const CONTENT: &str = "content.";

/// What the issuer gave; as text if it is no JSON, which it was when we read it.
fn value(opaque: &Opaque) -> Value {
    serde_json::from_str(&opaque.data).unwrap_or_else(|_| Value::String(opaque.data.to_string()))
}

fn rendered_call(call: &ToolCall) -> Called<'_> {
    let function = CalledFunction { name: call.name.as_str(), arguments: &call.arguments };
    Called { id: rendered_id(call.id), r#type: "function", function }
}

/// `t0003c001`: nine letters and digits up to turn 9999 and call 999.
fn rendered_id(CallId { turn, call }: CallId) -> String {
    if turn > 9999 || call > 999 {
        return format!("t{turn:04}c{call:03}");
    }
    // By hand, as padding costs more than the rest of a message.
    let digit = |number: u32, unit: u32| b'0' + (number / unit % 10) as u8;
    let [a, b, c, d] = [1000, 100, 10, 1].map(|unit| digit(turn, unit));
    let [e, f, g] = [100, 10, 1].map(|unit| digit(call, unit));
    String::from_utf8(vec![b't', a, b, c, d, b'c', e, f, g]).unwrap_or_default()
}

/// The neutral form of an answer, which has ended properly, or it would not be one.
///
/// # Errors
/// When it ended in a way that leaves nothing of it to use.
pub(super) fn answer(answer: wire::Answer, target: Target<'_>) -> Result<Answer, Failure> {
    let opaque = |kind: String, data: String| {
        Box::new(Opaque { issuer: target.issuer.to_owned(), model: target.model.to_owned(), kind, data: data.into() })
    };
    let is_call = |call: &wire::Call| !call.name.is_empty() || !call.arguments.is_empty();
    let finish = finish(Reported {
        reason: answer.finish.as_deref(),
        native: answer.native.as_deref(),
        declined: answer.refused,
        has_calls: answer.calls.iter().any(is_call),
        has_no_member: answer.has_no_finish,
        ..Reported::default()
    })?;
    let is_cut = finish == Finish::Length;
    let last = answer.calls.len().saturating_sub(1);
    let mut calls: Vec<_> = answer.calls.into_iter().map(Some).collect();
    let mut call = |at: usize| {
        let call = calls.get_mut(at)?.take().filter(is_call)?;
        Some(AnswerPart::Call(WrittenCall {
            complete: call.is_closed() && !(is_cut && at == last),
            provider_id: Some(call.id).filter(|id| !id.is_empty()),
            name: call.name,
            arguments: call.arguments.into(),
            opaque: call.extra.map(|extra| opaque("extra_content".to_owned(), extra)),
        }))
    };
    let parts = answer.parts.into_iter().filter_map(|part| match part {
        wire::Part::Text(text) => Some(AnswerPart::Text(text.into())),
        wire::Part::Reasoning { member, text } => Some(AnswerPart::Reasoning(Reasoning {
            text: text.into(),
            // The text itself is what goes back, under this name.
            opaque: Some(opaque(member.to_owned(), String::new())),
        })),
        wire::Part::Call(at) => call(at),
        wire::Part::Content { kind, json } => Some(AnswerPart::Opaque(opaque(format!("{CONTENT}{kind}"), json))),
        wire::Part::ReasoningDetails(details) => {
            let details = Value::Array(details.into_iter().map(Value::Object).collect());
            Some(AnswerPart::Opaque(opaque("reasoning_details".to_owned(), details.to_string())))
        }
    });
    Ok(Answer { parts: parts.collect(), finish, usage: usage(&answer.usage), model: answer.model, id: answer.id })
}

pub(super) fn usage(counts: &wire::Counts) -> Option<Usage> {
    let input = counts.input.or_else(|| counts.total?.checked_sub(counts.output?));
    let output = counts.output.or_else(|| counts.total?.checked_sub(counts.input?));
    let (input, written) = (input.unwrap_or(0), output.unwrap_or(0));
    // Some count reasoning outside of the completion (xAI, Gemini): the total shows it.
    let output = match counts.total.and_then(|total| total.checked_sub(input)) {
        Some(rest) if rest > written => rest,
        _ => written.max(counts.reasoning.unwrap_or(0)),
    };
    let usage = Usage {
        input,
        cached: counts.cached.unwrap_or(0).min(input),
        cache_write: counts.cache_write.unwrap_or(0).min(input),
        output,
        reasoning: counts.reasoning.unwrap_or(0).min(output),
    };
    (usage.total() > 0).then_some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_nine_places_until_they_need_more() {
        for (turn, call, id) in [
            (1, 1, "t0001c001"),
            (9876, 543, "t9876c543"),
            (9999, 999, "t9999c999"),
            (10_000, 1, "t10000c001"),
            (1, 1000, "t0001c1000"),
        ] {
            assert_eq!(rendered_id(CallId { turn, call }), id);
        }
    }
}
