//! The wire formats, and what each one does for the [`client`](super::client).

use reqwest::{
    Url,
    header::{HeaderMap, InvalidHeaderValue},
};
use secrecy::SecretString;

use super::{Delta, Failure, openai};
use crate::chat::{Answer, Request};

/// The wire format that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, at OpenAI or at any server that claims them.
    OpenAiChat,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 1] = [Dialect::OpenAiChat];

    /// The name in settings and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAiChat => "openai-chat",
        }
    }

    pub(super) fn format(self) -> &'static dyn Format {
        match self {
            Dialect::OpenAiChat => &openai::Chat,
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
}

impl Quirks {
    /// None: the server is as its dialect says.
    pub const NONE: Quirks = Quirks { completion_tokens: false, cuts_prompts: false };
}

/// For whom a request is rendered, and whose an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The provider's name.
    pub(super) issuer: &'a str,
    pub(super) model: &'a str,
    pub(super) quirks: &'a Quirks,
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

    /// The headers of a request, the key among them, marked as sensitive.
    ///
    /// # Errors
    /// When the key holds what no header takes, a line end for example.
    fn headers(&self, key: Option<&SecretString>, target: Target<'_>) -> Result<HeaderMap, InvalidHeaderValue>;

    /// The text of a request's body; asks for a stream.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which nothing in a request can cause.
    fn body(&self, request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error>;

    /// Begins to read an answer.
    fn reading(&self) -> Box<dyn Reading>;
}

/// An answer being read. Any split of the bytes gives the same answer, in time linear in their number.
pub(super) trait Reading: Send {
    /// Takes in bytes, telling `seen` of every piece of the answer in them. Answers whether they held a sign of life.
    ///
    /// # Errors
    /// When the server reports an error, or what it sends is too large or no answer.
    fn push(&mut self, bytes: &[u8], seen: &mut dyn FnMut(Delta<'_>)) -> Result<bool, Failure>;

    /// Whether the end mark has come: nothing can follow.
    fn is_ended(&self) -> bool;

    /// Whether something of the answer has come.
    fn has_begun(&self) -> bool;

    /// Whether the answer is whole as far as the server says, so that what may follow is dispensable.
    fn is_finished(&self) -> bool;

    /// Text that has come so far.
    fn text(&self) -> String;

    /// The answer, at the end of the body.
    ///
    /// # Errors
    /// When it broke off, or was none.
    fn end(&mut self, target: Target<'_>, seen: &mut dyn FnMut(Delta<'_>)) -> Result<Answer, Failure>;
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
