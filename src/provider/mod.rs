//! Speaks to model servers: one folder per dialect, all behind [`Provider`].
//!
//! A dialect has `wire.rs` (the vendor's JSON, read forgivingly) and `convert.rs` (pure, from and to `chat`); `client.rs`
//! moves the bytes of all of them. Streaming is the only path: an answer that arrives whole is a stream of one piece. Always true:
//! - An answer is returned only when the stream ended as its dialect ends streams; all else is a [`Failure`].
//! - Whatever arrives is bounded in bytes and in time.
//! - Keys never appear in errors, logs or `Debug`.
//!
//! Left out on purpose: retries and the choice of another endpoint (`router`), validation of calls (`repair`).

mod anthropic;
mod blame;
mod body;
pub mod catalogue;
mod client;
mod dialect;
mod estimate;
mod failure;
mod finish;
mod gemini;
mod http;
mod json;
mod limits;
mod openai;
#[cfg(test)]
mod pitfalls;
mod price;
mod reading;
mod responses;
mod schema;
pub mod scripted;
mod served;
#[cfg(test)]
mod table;

pub use blame::{Blame, blame, without_keywords};
pub use client::{Builder, Client, Error};
pub use dialect::{Dialect, EffortForm, ForceForm, Quirks};
pub use estimate::{estimate_tokens, tool_tokens, written_tokens};
pub use limits::Limits;
pub use price::{Above, Price, Rates};
#[doc(hidden)]
pub use reading::read_answer;
pub use served::Served;

use std::{pin::Pin, time::Duration};

use crate::chat::{Answer, Request, Usage};

/// A future tied to what it borrows.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A company or server that serves models.
pub trait Provider: Send + Sync {
    /// Sends one request to `model` and reads the answer, telling `seen` of every piece as it arrives. Dropping the
    /// future closes the connection. Pieces told are previews: on a failure they are worth nothing.
    fn ask<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>>;

    /// The same with other timeouts than its own. Who has none, as a script, asks as ever.
    fn ask_within<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        _: Patience,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        self.ask(model, request, seen)
    }

    /// What makes `model` call a tool, and properly, when it is sent this request. A script does as it likes.
    fn means(&self, _model: &str, _: &Request) -> Means {
        Means::default()
    }

    /// Asks its server which models it has, if that is one on this machine: what it was started with is in no catalogue.
    /// `None` for all others.
    fn loaded(&self) -> Option<BoxFuture<'_, Result<Vec<Served>, Failure>>> {
        None
    }

    /// Whether its server is one that is asked by [`loaded`](Self::loaded) and has not been yet.
    fn is_unknown(&self) -> bool {
        false
    }

    /// Whether answers come from a script and not from a model; shown wherever the endpoint is.
    fn scripted(&self) -> bool {
        false
    }
}

/// A piece of an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delta<'a> {
    /// More text.
    Text(&'a str),
    /// More thinking.
    Reasoning(&'a str),
    /// A call has its name; its arguments are still coming.
    Call(&'a str),
    /// More of the arguments of a call. They may be no JSON, and are shown to nobody before the call is whole.
    Arguments(&'a str),
    /// What the provider still allows; comes with the head of the answer, before anything of it.
    Limits(Limits),
}

/// What makes a model call a tool, and properly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Means {
    /// The server holds it to the schema of the tool, or of those that can be held to.
    pub strict: bool,
    /// It must call the tool.
    pub forced: bool,
}

/// When a server is to hold models to the schemas of tools and answers, where none of their meaning is lost by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strict {
    /// Never: it cannot.
    Never,
    /// When a request wishes it ([`Request::hold`]).
    Asked,
    /// Always.
    Always,
}

impl Strict {
    /// All, by the names they have in settings.
    pub const ALL: [(&'static str, Strict); 3] =
        [("auto", Strict::Always), ("asked", Strict::Asked), ("off", Strict::Never)];

    /// The name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Strict::Never => "off",
            Strict::Asked => "asked",
            Strict::Always => "auto",
        }
    }
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection stands. Default 10 s.
    pub connect: Duration,
    /// From the start of the request, connecting included, to the first piece of the answer. Default 60 s.
    pub first_token: Duration,
    /// Between two pieces. Default 60 s.
    pub idle: Duration,
    /// In all. Default 10 min.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(10),
            first_token: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(600),
        }
    }
}

/// What is wanted in place of [`Timeouts`]; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// See [`Timeouts::first_token`].
    pub first_token: Option<Duration>,
    /// See [`Timeouts::idle`].
    pub idle: Option<Duration>,
    /// See [`Timeouts::total`].
    pub total: Option<Duration>,
}

impl Patience {
    /// These timeouts, with what is wanted in their place.
    pub fn over(self, timeouts: Timeouts) -> Timeouts {
        Timeouts {
            connect: timeouts.connect,
            first_token: self.first_token.unwrap_or(timeouts.first_token),
            idle: self.idle.unwrap_or(timeouts.idle),
            total: self.total.unwrap_or(timeouts.total),
        }
    }
}

/// Why an attempt brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {message}")]
pub struct Failure {
    /// What kind of failure it is: decides what may help.
    pub class: Class,
    /// What happened, for people: bounded, without secrets.
    pub message: String,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// How long the provider asks us to wait.
    pub retry_after: Option<Duration>,
    /// Text of the answer that had arrived and is thrown away, clipped; empty when nothing had.
    pub discarded: String,
    /// Tokens that were used all the same, or may have been; `None` when the request was refused or never sent, which
    /// costs nothing.
    pub used: Option<Used>,
    /// Whether one of our own timeouts passed. The same wait is likely at the same endpoint, so another one is asked first.
    pub timed_out: bool,
    /// Whether `discarded` is all that the model wrote, and the server reports with this error that it could not read a call
    /// in it (Groq's `failed_generation`). A [`Client`] makes it an answer.
    pub unread: bool,
}

/// Tokens of an attempt that brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// What the server told, and where it told nothing, what is estimated from what arrived; 0 when neither is known.
    pub tokens: Usage,
    /// Whether anything of it is estimated.
    pub estimated: bool,
}

impl Failure {
    /// A failure that no server told of.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        let message = message.into();
        let (status, retry_after, discarded, used) = (None, None, String::new(), None);
        Failure { class, message, status, retry_after, discarded, used, timed_out: false, unread: false }
    }
}

/// What kind of failure an attempt ended with, and so what may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Server trouble, network, timeout: the same endpoint again, then another.
    Transient,
    /// Too many requests: wait, or another endpoint at once.
    RateLimited,
    /// The account is empty, or a limit is used up that comes back after hours or days: another endpoint; nobody waits that
    /// long.
    Quota,
    /// The key is missing, wrong or not allowed.
    Credential,
    /// The endpoint does not serve this model (any more).
    ModelGone,
    /// Not served from or to this region.
    Region,
    /// The conversation is longer than the model can read.
    ContextTooLong,
    /// The endpoint says that the request itself is wrong. It may be one that refuses what others take, so another endpoint is
    /// asked once.
    CallerFault,
    /// The provider refuses this content.
    ContentRefused,
    /// The answer broke off or cannot be read.
    MalformedAnswer,
    /// The rest of a budget does not pay for the request, so nothing was sent: another endpoint may be cheaper.
    Budget,
}

impl Class {
    /// The stable name in journal, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Transient => "transient",
            Class::RateLimited => "rate_limited",
            Class::Quota => "quota",
            Class::Credential => "credential",
            Class::ModelGone => "model_gone",
            Class::Region => "region",
            Class::ContextTooLong => "context_too_long",
            Class::CallerFault => "caller_fault",
            Class::ContentRefused => "content_refused",
            Class::MalformedAnswer => "malformed_answer",
            Class::Budget => "budget",
        }
    }
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
