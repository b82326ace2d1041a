//! The wire formats, and what each one does for the [`client`](super::client).

use std::borrow::Cow;

use bytes::Bytes;
use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    Means, Strict, anthropic, gemini, openai,
    reading::Reading,
    responses,
    schema::{self, Subset},
};
use crate::chat::{Choice, Opaque, Request, ToolDef};

/// The wire format that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, at OpenAI or at any server that claims them.
    OpenAiChat,
    /// Anthropic's messages, at Anthropic or at any server that claims them.
    AnthropicMessages,
    /// Google's Gemini API, and Vertex AI.
    Gemini,
    /// OpenAI's Responses, at OpenAI or at any server that claims them.
    OpenAiResponses,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 4] =
        [Dialect::OpenAiChat, Dialect::OpenAiResponses, Dialect::AnthropicMessages, Dialect::Gemini];

    /// The name in settings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAiChat => "openai-chat",
            Dialect::AnthropicMessages => "anthropic-messages",
            Dialect::Gemini => "gemini",
            Dialect::OpenAiResponses => "openai-responses",
        }
    }

    pub(super) fn format(self) -> &'static dyn Format {
        match self {
            Dialect::OpenAiChat => &openai::Chat,
            Dialect::AnthropicMessages => &anthropic::Messages,
            Dialect::Gemini => &gemini::Gemini,
            Dialect::OpenAiResponses => &responses::Responses,
        }
    }
}

/// In what a server differs from what its dialect would make one expect. The default holds for most servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// `openai-chat`: most tokens go by the newer name `max_completion_tokens`; OpenAI's reasoning models refuse the older
    /// one (platform.openai.com, 2026-11), and most other servers do not know the newer.
    pub completion_tokens: bool,
    /// A prompt that is too long is cut without a word (Ollama, ollama/ollama#18107): the usage is held against an
    /// estimate.
    pub cuts_prompts: bool,
    /// `anthropic-messages`: the key goes as a bearer token, as gateways and other servers of the format want it, and not
    /// in Anthropic's own header. `gemini`: the same, as Vertex AI wants it, and not as `x-goog-api-key`.
    pub bearer: bool,
    /// `gemini`: tools take only `parameters`, the older form of schemas, and not `parametersJsonSchema`, which Google's
    /// own endpoints have for all models (ai.google.dev/api/caching#FunctionDeclaration, 2026-11).
    pub openapi_schemas: bool,
    /// `openai-chat`: the conversation's cache key goes as `prompt_cache_key`. OpenAI (its reference, 2026-11) and Mistral
    /// take it; others refuse members that they do not know.
    pub cache_key: bool,
    /// `openai-chat`: `stream_options` are refused, and tokens are told without being asked for. Mistral: 422
    /// `extra_forbidden` (dnakov/anon-kode#53, vybestack/llxprt-code#114, 2025-08).
    pub no_stream_options: bool,
    /// `openai-chat`: how the wish to think more or less goes.
    pub effort: EffortForm,
    /// `openai-chat` and `openai-responses`: how a call of one tool is forced.
    pub force: ForceForm,
    /// An answer has no limit of its own: requests without one get a bound of ours.
    pub endless: bool,
    /// Tools may be strict: the server holds models to their schemas while they write. What its dialect calls it: `strict`
    /// of OpenAI and Anthropic, Gemini's validated calls.
    pub strict: bool,
    /// Tool calls of its models always come as such, by its vendor's account: something like one in a text is never
    /// executed.
    pub native_calls: bool,
    /// `openai-responses`: no summary of the reasoning is asked for. OpenAI gives it to verified organizations only, and
    /// refuses the whole request of others (platform.openai.com, reasoning summaries, 2026-11).
    pub no_reasoning_summary: bool,
    /// `openai-responses`: encrypted reasoning is not asked for. OpenAI gives it unasked since 2026; older models without
    /// reasoning, and Azure's, refuse the wish for it.
    pub no_encrypted_reasoning: bool,
}

impl Quirks {
    /// None: the server is as its dialect says.
    pub const NONE: Quirks = Quirks {
        completion_tokens: false,
        cache_key: false,
        no_stream_options: false,
        effort: EffortForm::Member,
        force: ForceForm::Named,
        endless: false,
        strict: false,
        native_calls: false,
        no_reasoning_summary: false,
        no_encrypted_reasoning: false,
        cuts_prompts: false,
        bearer: false,
        openapi_schemas: false,
    };

    /// When the server holds models to schemas, unless somebody says so.
    pub fn strictness(&self) -> Strict {
        if self.strict { Strict::Asked } else { Strict::Never }
    }
}

/// How `openai-chat` says how much to think. Only what a user asks for is sent; nothing is asked for by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EffortForm {
    /// As `reasoning_effort`: OpenAI (up to GPT-5.2), Groq, DeepSeek, Gemini's endpoint of the format, vLLM.
    #[default]
    Member,
    /// The same, and without tools only. OpenAI's GPT-5.4 and 5.5 refuse it together with tools
    /// (openai/openai-openapi#541, 2026-05).
    WithoutTools,
    /// The same, and `none` with tools: OpenAI's GPT-5.6 refuses tools unless this is said
    /// (BerriAI/litellm#34569, 2026-07). It thinks with tools in `openai-responses`.
    NoneWithTools,
    /// As `reasoning: {effort}`: OpenRouter (openrouter.ai/docs, reasoning tokens, 2026-11).
    Object,
    /// Only whether to think much: `high`, or else `none`: Mistral (docs.mistral.ai, adjustable reasoning, 2026-11).
    HighOrNone,
    /// Not at all: xAI's Grok 4 and most of its other models, which think anyway and refuse the member
    /// (docs.x.ai, reasoning, 2026-11).
    Never,
}

/// How `openai-chat` and `openai-responses` make a model call one tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForceForm {
    /// The tool by name: OpenAI and most others.
    #[default]
    Named,
    /// Any tool (`required`), and none but that one on offer. Servers that know no names here: LM Studio, llama.cpp.
    Required,
    /// Not at all: DeepSeek's thinking models refuse it (BerriAI/litellm#37470, 2026).
    Never,
}

/// For whom a request is rendered, and whose an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The provider's name.
    pub(super) issuer: &'a str,
    pub(super) model: &'a str,
    pub(super) quirks: &'a Quirks,
    /// Whether the model is to be held to the schemas that it is given, where none of their meaning is lost by it.
    pub(super) strict: bool,
}

impl Target<'_> {
    /// Whether this came from here, from the same model: only then does it mean anything here.
    pub(super) fn issued(self, opaque: &Opaque) -> bool {
        opaque.issuer == self.issuer && opaque.model == self.model
    }

    /// The schema in the form of this subset to which the model can be held; `None` where that is not wanted, or would lose
    /// something.
    pub(super) fn strictly<'s>(self, schema: &'s Value, subset: &Subset) -> Option<Cow<'s, Value>> {
        if self.strict { schema::strict(schema, subset) } else { None }
    }
}

/// The tools on offer: where a server can only be told to force some call, the forced tool alone.
pub(super) fn offered<'r>(request: &'r Request, quirks: &Quirks) -> impl Iterator<Item = &'r ToolDef> {
    let alone = quirks.force == ForceForm::Required && called(request).next().is_some();
    let only = if let Choice::Tool(name) = &request.choice { Some(name) } else { None };
    request.tools.iter().filter(move |tool| !alone || only.is_none_or(|name| tool.name == *name))
}

/// What of these tools the request is about: the one that is to be called, or all.
pub(super) fn called(request: &Request) -> impl Iterator<Item = &ToolDef> {
    let only = if let Choice::Tool(name) = &request.choice { Some(name) } else { None };
    request.tools.iter().filter(move |tool| only.is_none_or(|name| tool.name == *name))
}

/// One wire format, without state.
pub(super) trait Format: Send + Sync {
    /// Where requests for this model go.
    fn url(&self, base: &Url, model: &str) -> Url;

    /// Where the list of models is.
    fn models(&self, base: &Url) -> Url {
        // Some base URLs name the path of the dialect itself.
        let mut base = base.clone();
        for own in ["/chat/completions", "/responses", "/messages"] {
            if let Some(before) = base.path().trim_end_matches('/').strip_suffix(own).map(str::to_owned) {
                base.set_path(&before);
            }
        }
        with_path(&base, "/models")
    }

    /// The headers of a request, the key among them, marked as sensitive. Most dialects have no more than a bearer token.
    ///
    /// # Errors
    /// When the key holds what no header takes, a line end for example.
    fn headers(&self, key: Option<&SecretString>, _: Target<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        key_header(key, None)
    }

    /// The text of a request's body; asks for a stream. What it begins with may come from the request's draft.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which nothing in a request can cause.
    fn body(&self, request: &Request, target: Target<'_>) -> Result<Bytes, serde_json::Error>;

    /// What makes the model call a tool, and properly, in the body of this request.
    fn means(&self, request: &Request, target: Target<'_>) -> Means;

    /// Begins to read an answer.
    fn reading(&self) -> Box<dyn Reading>;

    /// The form of strict schemas, where models write null in it for what they leave out; `None` where they leave it out.
    fn filled(&self) -> Option<&'static Subset> {
        None
    }
}

/// The header with the key, marked as sensitive: the dialect's `own`, or else as a bearer token.
///
/// # Errors
/// When the key holds what no header takes, a line end for example.
pub(super) fn key_header(key: Option<&SecretString>, own: Option<HeaderName>) -> Result<HeaderMap, InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key.map(ExposeSecret::expose_secret) {
        let (name, mut value) = match own {
            Some(name) => (name, HeaderValue::from_str(key)?),
            None => (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}"))?),
        };
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A URL with this path behind its own, unless it ends in it already. The query stays.
pub(super) fn with_path(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let own = base.path().trim_end_matches('/');
    if !own.ends_with(path) {
        url.set_path(&format!("{own}{path}"));
    }
    url
}
