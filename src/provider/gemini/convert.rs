//! Between the neutral conversation and the Gemini format, both ways; pure.
//!
//! Always true of what is sent:
//! - The user speaks first, and user and model take turns; no content is without parts.
//! - All results of an answer's calls stand in the user's content right behind it, first and in the order of the calls.
//! - Signatures, ids and parts of other kinds go back only to the issuer and model that they came from, at exactly their
//!   place. Where a model insists on a signature and there is none of its own, stands the one that Google documents for
//!   that.
//! - Nothing is dropped without a word: what the format has no place for stands in the text.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    super::{
        Failure, Means,
        dialect::Target,
        finish::{Reported, finish},
        schema::{self, GEMINI_JSON, GEMINI_OUTPUT, GEMINI_PARAMETERS},
    },
    wire,
};
use crate::chat::{
    Answer, AnswerPart, Choice, Finish, Media, MediaSource, Message, Opaque, Part as ChatPart, Reasoning,
    ReasoningEffort, Request, ToolCall, ToolResult, Usage, WrittenCall,
};

/// What the validation of signatures lets pass, for calls that another model made
/// (ai.google.dev/gemini-api/docs/thought-signatures, 2026-11).
const SKIP_VALIDATION: &str = "skip_thought_signature_validator";

/// The kinds of our opaque parts.
mod kind {
    /// The signature of the text right before it.
    pub(super) const TEXT: &str = "text.thoughtSignature";
    /// The signature of a thought.
    pub(super) const THOUGHT: &str = "thought.thoughtSignature";
    /// Id and signature of a call, as a JSON object.
    pub(super) const CALL: &str = "functionCall";
    /// How the kinds of whole parts begin.
    pub(super) const PART: &str = "part.";
}

/// The text of a request's body.
///
/// # Errors
/// When it cannot be written as JSON, which nothing in a request can cause.
pub(super) fn body(request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let model = Model::named(target.model);
    let declarations: Vec<_> = request
        .tools
        .iter()
        .map(|tool| {
            let old = target.quirks.openapi_schemas;
            let reduced = schema::reduce(&tool.input_schema, if old { &GEMINI_PARAMETERS } else { &GEMINI_JSON });
            // Older models refuse an object without properties there; without the member it is a function of none.
            let is_empty = reduced["properties"].as_object().is_none_or(serde_json::Map::is_empty);
            let (parameters, json_schema) = match old {
                true => (Some(reduced).filter(|_| !is_empty), None),
                false => (None, Some(reduced)),
            };
            Declaration {
                name: tool.name.as_str(),
                description: &tool.description,
                parameters,
                parameters_json_schema: json_schema,
            }
        })
        .collect();
    let system = request.system.as_deref().filter(|system| !system.trim().is_empty());
    crate::json::to_vec(&Body {
        system_instruction: system.map(|system| Instruction { parts: [Part::text(system)] }),
        contents: contents(request, target, model),
        tools: if declarations.is_empty() { vec![] } else { vec![Tools { function_declarations: declarations }] },
        tool_config: match &request.choice {
            // Calls keep to their schemas, and the model may still do without (ai.google.dev/gemini-api/docs/function-calling,
            // function calling modes, 2026-11).
            Choice::Auto if target.strict && !request.tools.is_empty() => {
                Some(json!({"functionCallingConfig": {"mode": "VALIDATED"}}))
            }
            Choice::Auto => None,
            Choice::Tool(name) => {
                Some(json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name.as_str()]}}))
            }
        },
        generation_config: Generation {
            temperature: request.temperature,
            max_output_tokens: request.output_tokens_max,
            response_mime_type: request.output.as_ref().map(|_| "application/json"),
            response_json_schema: request.output.as_ref().map(|output| schema::reduce(&output.schema, &GEMINI_OUTPUT)),
            thinking_config: model.thinking(request.effort),
        },
    })
}

/// What makes the model call a tool, and properly, in this body. A call that is forced is validated too.
pub(super) fn means(request: &Request, target: Target<'_>) -> Means {
    let forced = matches!(request.choice, Choice::Tool(_));
    Means { strict: target.strict && !request.tools.is_empty(), forced }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Instruction<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<Value>,
    generation_config: Generation<'a>,
}

#[derive(Serialize)]
struct Instruction<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Cow<'a, Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Cow<'a, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<Value>,
}

#[derive(Serialize)]
struct Content<'a> {
    role: Role,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Model,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Known(Box<Known<'a>>),
    /// As it came.
    Whole(&'a RawValue),
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<Blob<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_data: Option<File<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<Response<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: &'a str,
    data: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    mime_type: &'a str,
    file_uri: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: &'a str,
    args: Arguments<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Arguments<'a> {
    /// As the model wrote them.
    Exact(&'a RawValue),
    /// Of a call whose arguments are no JSON, which a conversation does not hold.
    Odd(Value),
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: &'a str,
    response: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part<'a>>,
}

impl<'a> From<Known<'a>> for Part<'a> {
    fn from(known: Known<'a>) -> Self {
        Part::Known(Box::new(known))
    }
}

impl<'a> Part<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Known { text: Some(text.into()), ..Known::default() }.into()
    }
}

/// What is known of a model by its name.
#[derive(Debug, Clone, Copy)]
struct Model<'a> {
    name: &'a str,
    /// 2.5 is 25; what has no number is the newest.
    version: u32,
}

impl<'a> Model<'a> {
    fn named(name: &'a str) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name);
        let version = match name.strip_prefix("gemini-") {
            Some(rest) => {
                let mut digits = rest.split(|c: char| !c.is_ascii_digit());
                let major = digits.next().and_then(|digits| digits.parse::<u32>().ok());
                let minor = rest
                    .split_once('.')
                    .and_then(|(_, minor)| minor.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u32>().ok());
                // "gemini-flash-latest", and versions beyond counting.
                major.filter(|major| *major < 1000).map_or(u32::MAX, |major| major * 10 + minor.unwrap_or(0).min(9))
            }
            // Gemma and other models behind the same API neither think nor sign.
            None => 0,
        };
        Model { name, version }
    }

    /// Whether calls must be signed, and results may hold pictures.
    fn is_third(self) -> bool {
        self.version >= 30
    }

    /// How to think, with the levels and budgets of ai.google.dev/gemini-api/docs/thinking and /docs/openai (2026-11). What
    /// is thought is always asked for where the model thinks: without that nothing comes while it does.
    fn thinking(self, effort: Option<ReasoningEffort>) -> Option<Value> {
        if self.version < 25 {
            return None;
        }
        let is_lite = self.name.contains("lite");
        let mut config = json!({"includeThoughts": true});
        match effort {
            // It thinks only when told to.
            None if is_lite && !self.is_third() => return None,
            None => {}
            // The first of the third generation knows two levels.
            Some(ReasoningEffort::Medium) if self.name.starts_with("gemini-3-pro") => {
                config["thinkingLevel"] = "high".into();
            }
            Some(effort) if self.is_third() => config["thinkingLevel"] = effort.as_str().into(),
            Some(effort) => {
                config["thinkingBudget"] = match effort {
                    ReasoningEffort::Low => 1_024,
                    ReasoningEffort::Medium => 8_192,
                    ReasoningEffort::High => 24_576,
                }
                .into();
            }
        }
        Some(config)
    }
}

fn contents<'a>(request: &'a Request, target: Target<'_>, model: Model<'_>) -> Vec<Content<'a>> {
    let mut contents = Contents::default();
    let mut messages = request.messages.iter().map(|message| &**message).peekable();
    while let Some(message) = messages.next() {
        match message {
            Message::User(parts) => contents.add(Role::User, user(parts)),
            Message::Assistant(parts) => {
                let mut results = Vec::new();
                while let Some(Message::Tool(result)) = messages.peek() {
                    results.push(result);
                    messages.next();
                }
                let calls = parts.iter().filter_map(|part| match part {
                    ChatPart::Call(call) => Some(call),
                    _ => None,
                });
                let order: Vec<_> = calls.collect();
                results.sort_by_key(|result| order.iter().position(|call| call.id == result.call));
                contents.add(Role::Model, assistant(parts, target, model));
                contents.add(Role::User, tools(&results, &order, target, model));
            }
            // Without the answer that it belongs to: its words are still worth something.
            Message::Tool(result) => {
                let text = format!("[result of {}] {}", result.name, words(result));
                contents.add(Role::User, vec![Part::text(text)]);
            }
        }
    }
    contents.0
}

#[derive(Default)]
struct Contents<'a>(Vec<Content<'a>>);

impl<'a> Contents<'a> {
    /// Adds parts to what this role is saying, or begins its turn.
    fn add(&mut self, role: Role, parts: Vec<Part<'a>>) {
        if parts.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.role == role => last.parts.extend(parts),
            None if role == Role::Model => {
                self.0
                    .push(Content { role: Role::User, parts: vec![Part::text("(what was said before is left out)")] });
                self.0.push(Content { role, parts });
            }
            _ => self.0.push(Content { role, parts }),
        }
    }
}

fn user(parts: &[ChatPart]) -> Vec<Part<'_>> {
    let rendered: Vec<_> = parts
        .iter()
        .filter_map(|part| match part {
            ChatPart::Text(text) if !text.trim().is_empty() => Some(Part::text(&**text)),
            ChatPart::Image(media) | ChatPart::Audio(media) | ChatPart::Document(media) => {
                Some(media_part(media).unwrap_or_else(|| Part::text(media.without_place())))
            }
            ChatPart::Text(_) | ChatPart::Reasoning(_) | ChatPart::Call(_) | ChatPart::Opaque(_) => None,
        })
        .collect();
    if rendered.is_empty() { vec![Part::text("(empty)")] } else { rendered }
}

/// Pictures, sounds and documents that the models take (ai.google.dev/gemini-api/docs/image-understanding, /audio and
/// /document-processing, 2026-11).
const MEDIA: [&str; 17] = [
    "application/pdf",
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/heic",
    "image/heif",
    "audio/wav",
    "audio/x-wav",
    "audio/mp3",
    "audio/mpeg",
    "audio/aiff",
    "audio/aac",
    "audio/ogg",
    "audio/flac",
    "audio/m4a",
    "audio/webm",
    "audio/mp4",
];

/// `None` where the models take no media of this type.
fn media_part(media: &Media) -> Option<Part<'_>> {
    let mime_type = MEDIA.iter().any(|known| *known == media.mime).then_some(&*media.mime)?;
    Some(match &media.source {
        MediaSource::Base64(data) => Known { inline_data: Some(Blob { mime_type, data }), ..Known::default() }.into(),
        MediaSource::Url(url) => {
            Known { file_data: Some(File { mime_type, file_uri: url }), ..Known::default() }.into()
        }
    })
}

/// What the model said, as far as this target may see it.
fn assistant<'a>(parts: &'a [ChatPart], target: Target<'_>, model: Model<'_>) -> Vec<Part<'a>> {
    let mut rendered: Vec<Part<'a>> = Vec::new();
    let mut has_call = false;
    let mut parts = parts.iter().peekable();
    while let Some(part) = parts.next() {
        match part {
            ChatPart::Text(text) => {
                let signature = match parts.peek() {
                    Some(ChatPart::Opaque(opaque)) if opaque.kind == kind::TEXT && target.issued(opaque) => {
                        parts.next();
                        Some(Cow::Borrowed(&*opaque.data))
                    }
                    _ => None,
                };
                if signature.is_some() || !text.trim().is_empty() {
                    let text = Some(Cow::Borrowed(&**text));
                    rendered.push(Known { text, thought_signature: signature, ..Known::default() }.into());
                }
            }
            ChatPart::Call(call) => {
                let (id, signature) = own(call, target);
                let needs = model.is_third() && !has_call;
                has_call = true;
                let signature = signature.map(Cow::Owned).or(needs.then_some(Cow::Borrowed(SKIP_VALIDATION)));
                let args = match serde_json::from_str(&call.arguments) {
                    Ok(exact) => Arguments::Exact(exact),
                    Err(_) => Arguments::Odd(json!({"arguments": &*call.arguments})),
                };
                let function_call = Some(Call { id, name: call.name.as_str(), args });
                rendered.push(Known { function_call, thought_signature: signature, ..Known::default() }.into());
            }
            ChatPart::Reasoning(Reasoning { text, opaque: Some(opaque) })
                if opaque.kind == kind::THOUGHT && target.issued(opaque) =>
            {
                let thought_signature = Some(Cow::Borrowed(&*opaque.data));
                let text = Some(Cow::Borrowed(&**text));
                rendered.push(Known { text, thought: true, thought_signature, ..Known::default() }.into());
            }
            ChatPart::Opaque(opaque) if target.issued(opaque) => {
                if opaque.kind == kind::TEXT {
                    let thought_signature = Some(Cow::Borrowed(&*opaque.data));
                    rendered.push(Known { text: Some("".into()), thought_signature, ..Known::default() }.into());
                } else if opaque.kind.starts_with(kind::PART)
                    && let Ok(whole) = serde_json::from_str(&opaque.data)
                {
                    rendered.push(Part::Whole(whole));
                }
            }
            ChatPart::Image(media) | ChatPart::Audio(media) | ChatPart::Document(media) => {
                rendered.push(Part::text(format!("[{}]", media.mime)));
            }
            ChatPart::Reasoning(_) | ChatPart::Opaque(_) => {}
        }
    }
    rendered
}

/// The results of one answer's calls, then the media that have no place in them.
fn tools<'a>(results: &[&'a ToolResult], calls: &[&ToolCall], target: Target<'_>, model: Model<'_>) -> Vec<Part<'a>> {
    let mut rendered = Vec::new();
    let mut beside = Vec::new();
    for result in results {
        let mut within = Vec::new();
        for part in &result.content {
            // What the models do not take stands among the words.
            let Some((media, shown)) = part.media().and_then(|(_, media)| Some((media, media_part(media)?))) else {
                continue;
            };
            let is_taken = ["image/png", "image/jpeg", "image/webp", "application/pdf"].contains(&media.mime.as_str());
            if model.is_third() && is_taken && matches!(media.source, MediaSource::Base64(_)) {
                within.push(shown);
            } else {
                beside.push(Part::text(format!("[{} of the result of {}]", media.mime, result.name)));
                beside.push(shown);
            }
        }
        let call = calls.iter().find(|call| call.id == result.call);
        let response = Response {
            id: call.and_then(|call| own(call, target).0),
            name: result.name.as_str(),
            // The members that the documentation names for the two outcomes (ai.google.dev/api/caching#FunctionResponse).
            response: json!({if result.is_error { "error" } else { "output" }: words(result)}),
            parts: within,
        };
        rendered.push(Known { function_response: Some(response), ..Known::default() }.into());
    }
    rendered.extend(beside);
    rendered
}

/// The text of a result, and a word for each of its media.
fn words(result: &ToolResult) -> String {
    let lines = result.content.iter().filter_map(|part| match part {
        ChatPart::Text(text) if !text.is_empty() => Some(Cow::Borrowed(&**text)),
        part => part.media().map(|(_, media)| {
            Cow::Owned(match media_part(media) {
                Some(_) => format!("[{}: attached]", media.mime),
                None => media.without_place(),
            })
        }),
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    if text.trim().is_empty() { "(no content)".to_owned() } else { text }
}

/// The id and the signature that a call came with from this target.
fn own(call: &ToolCall, target: Target<'_>) -> (Option<String>, Option<String>) {
    let opaque = call.opaque.as_ref().filter(|opaque| opaque.kind == kind::CALL && target.issued(opaque));
    let own: Option<Value> = opaque.and_then(|opaque| serde_json::from_str(&opaque.data).ok());
    let member = |name: &str| own.as_ref()?.get(name)?.as_str().map(str::to_owned);
    (member("id"), member("thoughtSignature"))
}

/// The neutral form of an answer, which has ended properly, or it would not be one.
///
/// # Errors
/// When it ended in a way that leaves nothing of it to use.
pub(super) fn answer(answer: wire::Answer, target: Target<'_>) -> Result<Answer, Failure> {
    let opaque = |kind: &str, data: String| {
        Box::new(Opaque {
            issuer: target.issuer.to_owned(),
            model: target.model.to_owned(),
            kind: kind.to_owned(),
            data: data.into(),
        })
    };
    let has_calls = answer.parts.iter().any(|part| matches!(part, wire::Part::Call { .. }));
    let said = Reported { reason: Some(&answer.finish), why: answer.finish_message.as_deref(), ..Reported::default() };
    let finish = match finish(said)? {
        Finish::Stop if has_calls => Finish::ToolCalls,
        finish => finish,
    };
    // Calls come whole, but of the last one before a limit nobody can tell.
    let last = answer.parts.iter().rposition(|part| matches!(part, wire::Part::Call { .. }));
    let is_cut = |at: usize| finish == Finish::Length && last == Some(at);
    let mut parts = Vec::with_capacity(answer.parts.len());
    for (at, part) in answer.parts.into_iter().enumerate() {
        match part {
            wire::Part::Text { text, signature } => {
                let is_empty = text.is_empty();
                if !is_empty {
                    parts.push(AnswerPart::Text(text.into()));
                }
                parts.extend(signature.map(|signature| {
                    AnswerPart::Opaque(match is_empty {
                        // Not the signature of the text before, but a part of its own.
                        true => {
                            let whole = json!({"text": "", "thoughtSignature": signature});
                            opaque(&format!("{}text", kind::PART), whole.to_string())
                        }
                        false => opaque(kind::TEXT, signature),
                    })
                }));
            }
            wire::Part::Thought { text, signature } => parts.push(AnswerPart::Reasoning(Reasoning {
                text: text.into(),
                opaque: signature.map(|signature| opaque(kind::THOUGHT, signature)),
            })),
            wire::Part::Call { id, name, arguments, is_open, signature } => {
                let mut own = serde_json::Map::new();
                own.extend(id.iter().map(|id| ("id".to_owned(), id.as_str().into())));
                own.extend(signature.map(|signature| ("thoughtSignature".to_owned(), signature.into())));
                parts.push(AnswerPart::Call(WrittenCall {
                    provider_id: id,
                    name,
                    arguments: arguments.into(),
                    complete: !is_open && !is_cut(at),
                    opaque: (!own.is_empty()).then(|| opaque(kind::CALL, Value::Object(own).to_string())),
                }));
            }
            wire::Part::Other { kind: part, json } => {
                parts.push(AnswerPart::Opaque(opaque(&format!("{}{part}", kind::PART), json)));
            }
        }
    }
    Ok(Answer { parts, finish, usage: usage(&answer.usage), model: answer.model, id: answer.id })
}

pub(super) fn usage(counts: &wire::Counts) -> Option<Usage> {
    let input = counts.prompt.saturating_add(counts.tools);
    let output = counts.candidates.saturating_add(counts.thoughts);
    let usage = Usage {
        input,
        cached: counts.cached.min(input),
        cache_write: 0,
        // Early chunks tell the total and not yet its parts.
        output: output.max(counts.total.saturating_sub(input)),
        reasoning: counts.thoughts,
    };
    (usage.total() > 0).then_some(usage)
}
