//! One request to a model and the answer that comes back, whatever the dialect.

use std::sync::Arc;

use serde_json::Value;

use super::{Draft, Message, OfferedName, Opaque, Reasoning, ToolDef};

/// One request to a model. The model's name is not part of it: the endpoint knows it. The default asks for nothing:
/// no messages, no tools, and everything else left to the provider.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The instructions; `None` sends no system message.
    pub system: Option<Arc<str>>,
    /// The conversation. Each tool call has its result, right behind the message that holds it.
    pub messages: Vec<Arc<Message>>,
    /// How many answers the conversation has had, at least as many as it shows: one of which nothing can be shown is left
    /// out. Only a script goes by it.
    pub answers: usize,
    /// The tools on offer, in an order that never changes within a run.
    pub tools: Arc<[ToolDef]>,
    /// Whether and what the model must call.
    pub choice: Choice,
    /// Whether the server is to hold the model to the schemas of the tools.
    pub hold: Hold,
    /// The form that the answer must have; `None` for free text. Only when no tools are offered.
    pub output: Option<Arc<OutputFormat>>,
    /// Sampling temperature; `None` leaves it to the provider.
    pub temperature: Option<f64>,
    /// Most tokens to answer with; `None` leaves it to the provider, or to the model's own limit where one must be named.
    pub output_tokens_max: Option<u32>,
    /// How much to think before answering; `None` leaves it to the provider.
    pub effort: Option<ReasoningEffort>,
    /// The same in all requests of one conversation, and in no other: keeps them together at providers that cache
    /// prompts by a key. `None` names none.
    pub cache_key: Option<Arc<str>>,
    /// What was written of the conversation before, to be shared by all of its requests.
    pub draft: Draft,
}

/// How much a model is to think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReasoningEffort {
    /// Little.
    Low,
    /// What most tasks need.
    Medium,
    /// Much.
    High,
}

impl ReasoningEffort {
    /// The name in files, journals and most wire formats.
    pub fn as_str(self) -> &'static str {
        match self {
            ReasoningEffort::Low => "low",
            ReasoningEffort::Medium => "medium",
            ReasoningEffort::High => "high",
        }
    }
}

/// Whether and what the model must call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// The model decides.
    #[default]
    Auto,
    /// It must call this tool, where the endpoint can force it.
    Tool(OfferedName),
}

/// Whether a server is to hold a model to the schemas of the tools while it writes, where it can: a call that is not
/// valid cannot be written then. Servers of which the settings say that they always or never do keep to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Hold {
    /// Nobody wants it.
    #[default]
    No,
    /// Where it can.
    Yes,
    /// Where it can, and then [`Choice::Tool`] is left to the model: what comes is valid, and it may see that another
    /// call is the right one.
    RatherThanForce,
}

/// The JSON Schema of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputFormat {
    /// A name for it, `[A-Za-z0-9_-]{1,64}`; some providers want one.
    pub name: String,
    /// The schema.
    pub schema: Arc<Value>,
}

/// A whole answer of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it said, thought and called, in order.
    pub parts: Vec<AnswerPart>,
    /// Why it stopped, as far as the provider says; not to be trusted for whether a call is complete.
    pub finish: Finish,
    /// Tokens used; `None` when the provider did not say.
    pub usage: Option<Usage>,
    /// The model that answered, in the provider's words; `None` when it did not say.
    pub model: Option<String>,
    /// The provider's id for the answer, for its support and its logs.
    pub id: Option<String>,
}

impl Answer {
    /// The calls, in order.
    pub fn calls(&self) -> impl Iterator<Item = &WrittenCall> {
        self.parts.iter().filter_map(|part| match part {
            AnswerPart::Call(call) => Some(call),
            _ => None,
        })
    }

    /// All text, joined.
    pub fn text(&self) -> String {
        self.parts
            .iter()
            .filter_map(|part| match part {
                AnswerPart::Text(text) => Some(&**text),
                _ => None,
            })
            .collect()
    }
}

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum AnswerPart {
    /// Plain text.
    Text(Arc<str>),
    /// Thinking.
    Reasoning(Reasoning),
    /// A tool call as the model wrote it.
    Call(WrittenCall),
    /// Something that only its issuer understands.
    Opaque(Box<Opaque>),
}

/// A tool call exactly as it came over the wire: nothing about it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenCall {
    /// The provider's id; `None` when it gave none.
    pub provider_id: Option<String>,
    /// The name as written; may be empty, or no tool of ours.
    pub name: String,
    /// The arguments as written; may be no JSON at all.
    pub arguments: Arc<str>,
    /// Whether the stream ended the call properly. A call that was cut is never executed.
    pub complete: bool,
    /// What the issuer wants back with this call.
    pub opaque: Option<Box<Opaque>>,
}

/// Why a model stopped, in its provider's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// It had said all.
    Stop,
    /// It wants its calls answered.
    ToolCalls,
    /// It ran into a limit of tokens: what came last is cut.
    Length,
    /// A filter stopped it, or the model declined. Only in older journals: such an answer counts as none.
    Refused,
    /// Its provider interrupted a long turn, which goes on when the answer is sent back.
    Paused,
    /// Any other reason, or none given (`""`). [`UNREAD_CALL`] is the one of answers that a server took for a broken call.
    Other(String),
}

/// Groq's code for an answer in which it could not read a call.
pub const UNREAD_CALL: &str = "tool_use_failed";

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All tokens read, cached ones and cache writes included.
    pub input: u64,
    /// Of `input`: read from the provider's cache.
    pub cached: u64,
    /// Of `input`: written to the provider's cache.
    pub cache_write: u64,
    /// All tokens written, reasoning included.
    pub output: u64,
    /// Of `output`: spent on reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Tokens read and written.
    pub fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
    }
}
