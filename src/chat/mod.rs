//! The neutral conversation: what is said to a model, what it answers, what its tools are.
//!
//! Every dialect converts from and to these types, never to another dialect. Always true:
//! - Nothing here does I/O or knows a vendor; what only one vendor understands travels as [`Opaque`], tagged with its issuer.
//! - Text that must stay exact (arguments as written, signatures) is kept as a string, never as a re-serialised value.

mod binding;
mod draft;
mod glob;
mod made;
mod media;
mod request;
mod tool;

use std::sync::Arc;

pub use binding::binding;
pub use draft::{Beginning, Draft, Written};
pub use glob::{glob, specificity};
pub use made::PerTool;
pub use media::{Media, MediaKind, MediaSource, Senses};
pub use request::{
    Answer, AnswerPart, Choice, Finish, Hold, OutputFormat, ReasoningEffort, Request, UNREAD_CALL, Usage, WrittenCall,
};
pub use tool::{CallId, Effect, EffectSource, OfferedName, ToolDef, ToolName, same_binding};

/// One message of a conversation, as it is sent to a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What a person, or the host on a person's behalf, says.
    User(Vec<Part>),
    /// What a model said earlier, its tool calls in the order in which it made them.
    Assistant(Vec<Part>),
    /// What one tool call came to. Follows the assistant message that holds the call; every call has exactly one.
    Tool(ToolResult),
}

/// One piece of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Plain text.
    Text(Arc<str>),
    /// A picture.
    Image(Media),
    /// A sound.
    Audio(Media),
    /// A document.
    Document(Media),
    /// What the model thought before it answered. Goes back only to the issuer of its opaque part.
    Reasoning(Reasoning),
    /// A tool call of the model. Only in assistant messages.
    Call(ToolCall),
    /// Something that only its issuer understands, at the place where it stood.
    Opaque(Box<Opaque>),
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Part::Text(text.into())
    }
}

/// The thinking that a model shows, and what its issuer wants back with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasoning {
    /// The text as shown; empty when the issuer only gives it encrypted.
    pub text: Arc<str>,
    /// Signature or encrypted content; `None` when the provider sent none.
    pub opaque: Option<Box<Opaque>>,
}

/// Bytes that go back unchanged to the one who issued them, and to nobody else. Large, and in few parts of a conversation:
/// hence boxed wherever it may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opaque {
    /// Name of the provider that issued it.
    pub issuer: String,
    /// The model it was issued for.
    pub model: String,
    /// What it is, in the issuer's words, such as `thinking.signature`.
    pub kind: String,
    /// The exact text.
    pub data: Arc<str>,
}

/// A tool call in a conversation: its name is offered and its arguments are a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Our id; each dialect renders it in the form that its provider wants.
    pub id: CallId,
    /// The name as offered to the model.
    pub name: OfferedName,
    /// The arguments: the text of a JSON object.
    pub arguments: Arc<str>,
    /// What the issuer wants back with this call.
    pub opaque: Option<Box<Opaque>>,
}

/// What one tool call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call that it answers.
    pub call: CallId,
    /// The name of that call, as offered; some dialects repeat it.
    pub name: OfferedName,
    /// The content: text, pictures, sounds, documents.
    pub content: Vec<Part>,
    /// Whether the tool reports a failure.
    pub is_error: bool,
}
