//! The host side of MCP: starts tool servers, lists their tools, calls them. Every tool is an MCP tool.
//!
//! rmcp stays behind this module. A [`Host`] holds the servers of one agent; the engine sees it as a
//! [`ToolHost`]. Always true:
//! - Whoever got [`Outcome::NeverSent`] can be sure that the server has not seen the call; whoever got
//!   [`Outcome::Lost`] cannot be sure of anything.
//! - A server that is given up on a call is told so (`notifications/cancelled`) and given time to act on it. One that then
//!   reacts is kept, unless nothing of the call may take effect any more ([`Call::certain`]). Any other is ended as soon
//!   as its other calls are over, so that [`ToolHost::gone`] turns true, and `prepare` starts a new one.
//! - What came back for a call is a result or a doubt: it is never taken for a call that did not run.
//! - No server outlives us (`guard`), and none sees more of our environment than it was given.
//! - One bad tool costs that tool, one bad server that server.
//!
//! Left out on purpose: policy, approval, journaling (`engine`), and any retry of a call.

mod bundled;
mod call;
mod connection;
mod era;
pub mod guard;
mod hints;
pub mod host;
mod listing;
mod locks;
mod members;
mod names;
mod process;
mod result;
mod salvage;
pub mod server;
mod session;
mod wire;

use std::{pin::Pin, sync::Arc, time::Duration};

use crate::chat::{Part, ToolDef, ToolName};

pub use bundled::files;
pub use hints::{Judged, believed};
pub use host::Host;
pub use server::{Server, Trust};

/// Longest time from when the time of a call is over until it is certainly over, with its server ended if need be: the
/// server is told, given time to react, asked to end and killed.
pub const ENDING: Duration = Duration::from_secs(15);

/// A future tied to what it borrows.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an engine asks of tool servers.
pub trait ToolHost: Send + Sync {
    /// Starts what is not yet started and lists all tools, in a stable order: by server name, then as the server lists
    /// them. Fails only for a required server; others end up in [`Listing::missing`].
    fn list(&self) -> BoxFuture<'_, Result<Listing, Error>>;

    /// Tells whether a server has said, since the tools were last listed, that its list is another one now, or was started
    /// again and lists its tools otherwise.
    fn changed(&self) -> bool;

    /// Gets hold of a live connection for one call, restarting the server if it died. Nothing has been sent when this
    /// returns. Fails when the server cannot be reached, or no longer offers a tool of this name that
    /// [binds](ToolDef::binds_as) as this one does.
    fn prepare<'a>(&'a self, tool: &'a ToolDef) -> BoxFuture<'a, Result<Box<dyn Prepared>, Error>>;

    /// Whether nothing of the server process that this guard watched is left, so that a call it was given can no
    /// longer take effect.
    fn gone(&self, guard: &GuardId) -> bool;

    /// Ends all servers, in parallel, within a few seconds.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A live connection on which one call can be made.
pub trait Prepared: Send {
    /// The guard of the server process; `None` when there is none (in-process, remote, unguarded).
    fn guard(&self) -> Option<GuardId>;

    /// Sends the call and waits for its answer. Dropping the future tells the server that the call is cancelled.
    fn call<'a>(self: Box<Self>, call: Call, progress: &'a mut (dyn FnMut(Progress) + Send)) -> BoxFuture<'a, Outcome>;
}

/// One call, ready to be sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// The tool.
    pub tool: ToolName,
    /// The arguments: the text of a JSON object.
    pub arguments: Arc<str>,
    /// Stable over restarts; goes into the request's `_meta` as `agentd/idempotencyKey`.
    pub idempotency_key: String,
    /// Longest silence; progress of the server starts it anew.
    pub idle: Duration,
    /// Hard cap from now on, whatever the progress.
    pub total: Duration,
    /// Whether nothing of the call may take effect after it was lost: its server is then ended even if it still reacts.
    /// Otherwise such a server is kept, with all that it holds in memory.
    pub certain: bool,
}

/// What a server says while a call runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// How far it is.
    pub done: f64,
    /// Out of how much; `None` when it does not know.
    pub total: Option<f64>,
    /// In words; `None` when it says nothing.
    pub message: Option<String>,
}

/// How a call ended, as far as we can know.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The server answered, with a result or an error: both are results.
    Answered(Answered),
    /// The call was never handed to the server; the text says why.
    NeverSent(String),
    /// It was sent, and no answer will come.
    Lost(Lost),
}

/// A call of unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// What is known, as a clause: `it timed out after 60s`.
    pub why: String,
    /// The time for the call was over. A connection that broke is not that.
    pub timed_out: bool,
    /// The server answered after all that it no longer works on the call.
    pub over: bool,
}

impl Lost {
    fn new(why: impl Into<String>) -> Self {
        Lost { why: why.into(), timed_out: false, over: false }
    }
}

/// A server's answer to a call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answered {
    /// Its content, whole: nothing is dropped or cut here. A part that has no neutral form is kept as its JSON text.
    pub content: Vec<Part>,
    /// Its structured content, JSON text as the server wrote it; `None` when it gave none.
    pub structured: Option<Arc<str>>,
    /// Whether it reports a failure.
    pub is_error: bool,
    /// What model and people should know of how it came: what had to be changed so that it could be read, that it was
    /// cut, that it does not fit the tool's output schema, that the server was restarted before the call.
    pub notes: Vec<String>,
}

/// What the servers of an agent offer.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// All usable tools, with names unique among them.
    pub tools: Vec<ToolDef>,
    /// What a person should know: skipped tools, odd schemas, shortened names.
    pub warnings: Vec<String>,
    /// Optional servers that are not there, and why.
    pub missing: Vec<(String, String)>,
}

/// Names one guarded server process: the file below the guard folder whose lock lives as long as the process tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GuardId(pub String);

/// Why a server or a tool cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server does not start or does not speak MCP; `detail` ends with what it said on stderr.
    #[error("server {server:?} does not start: {detail}")]
    NotStarted {
        /// The server's name in the agent file.
        server: String,
        /// What happened.
        detail: String,
    },
    /// The tool is gone, or takes other calls than when the run listed its tools.
    #[error("tool {tool} {change} since the run listed its tools")]
    Changed {
        /// The tool.
        tool: ToolName,
        /// `changed` or `went away`.
        change: &'static str,
    },
}

impl Error {
    /// Whether the tool is not what it was, so that listing the tools again tells what it is now.
    pub fn is_change(&self) -> bool {
        matches!(self, Error::Changed { .. })
    }
}
