//! What can happen to a run. The journal of a run is the list of these, and nothing else.
//!
//! An event carries every decision (effect, policy, repaired arguments, cost, time), so that applying it decides nothing.

use std::{sync::Arc, time::Duration};

use crate::{
    chat::{AnswerPart, CallId, Effect, Finish, OfferedName, Part, ToolDef, ToolName, Usage},
    repair::{Diagnosis, Repair},
};

use super::{NanoDollars, RunId, Time};

/// An event at its place in a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its place, from zero, without gaps.
    pub index: u64,
    /// When it was made.
    pub at: Time,
    /// What happened.
    pub event: Event,
}

/// What happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The run exists. Always the first entry.
    Started(Box<Started>),
    /// Somebody took the run over; what was in flight before is interrupted.
    Claimed(Claimed),
    /// Somebody said something to the agent.
    InputGiven(InputGiven),
    /// The tools of the run, frozen from here on.
    ToolsListed(ToolsListed),
    /// The servers list other tools, or define them otherwise, than the run knew.
    ToolsChanged(ToolsChanged),
    /// A request goes to an endpoint.
    ModelAsked(ModelAsked),
    /// That request brought no answer.
    AttemptFailed(AttemptFailed),
    /// A model answered, with all the calls it makes.
    ModelAnswered(Box<ModelAnswered>),
    /// A call is not executed, and this is its result.
    CallRejected(CallRejected),
    /// A call is about to be sent. A call without this was never sent.
    ToolStarted(ToolStarted),
    /// A call was answered, or certainly never sent.
    ToolFinished(Box<ToolFinished>),
    /// A call was sent and no answer will come: whether it happened is unknown.
    CallLost(CallLost),
    /// What is done about a lost call.
    DoubtResolved(DoubtResolved),
    /// The server wants input before it goes on with a call.
    ToolPaused(ToolPaused),
    /// A call waits for a person.
    ApprovalAsked(ApprovalAsked),
    /// Somebody, or a rule on somebody's behalf, decided about a call.
    ApprovalGiven(ApprovalGiven),
    /// Somebody set a rule for the rest of the run.
    PolicyGiven(PolicyGiven),
    /// Somebody wants the run to stop for good.
    CancelAsked(CancelAsked),
    /// The run has new limits.
    LimitsChanged(LimitsChanged),
    /// The run waits for something that no other entry tells of.
    Waiting(Waiting),
    /// A wait is over, or time has passed that matters.
    Woken(Woken),
    /// A final answer does not fit; the model is told why.
    OutputRejected(OutputRejected),
    /// Older parts of the conversation are no longer sent to models. The journal keeps them.
    Compacted(Compacted),
    /// The run goes on with another definition or other tools.
    Rebound(Rebound),
    /// Everything before this entry was copied from another run.
    Forked(Forked),
    /// A decision worth seeing that changes nothing.
    Noted(Noted),
    /// The run is over, for now.
    Ended(Ended),
}

/// See [`Event::Started`].
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// The agent's name.
    pub agent: String,
    /// The agent file as written, before any expansion.
    pub definition: Arc<str>,
    /// What to call the file in messages.
    pub file: String,
    /// The directory that relative paths of the definition start from.
    pub dir: String,
    /// The model as the agent file or the caller names it.
    pub model: String,
    /// The instructions, rendered; `None` when the agent has none.
    pub instructions: Option<Arc<str>>,
    /// The typed input, JSON text; `None` when the agent takes none.
    pub input: Option<Arc<str>>,
    /// The JSON Schema that the output must fit, as text; `None` for free text.
    pub output_schema: Option<Arc<str>>,
    /// What the run may use.
    pub limits: Limits,
    /// How often an answer without a valid call is asked again in the same turn.
    pub ask_again: u32,
    /// Most bytes of one tool result that a model gets to see; the journal keeps all.
    pub tool_result_bytes_max: u64,
    /// The run and call that this run is a child of.
    pub parent: Option<(RunId, CallId)>,
    /// The caller's key that makes starting idempotent.
    pub key: Option<String>,
}

/// What a run may use; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Model answers, those asked again not counted.
    pub turns: Option<u64>,
    /// Calls started.
    pub tool_calls: Option<u64>,
    /// Tokens in and out of all attempts, cached ones included.
    pub tokens: Option<u64>,
    /// Money.
    pub cost: Option<NanoDollars>,
    /// Time driven and not waiting.
    pub active: Option<Duration>,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// [`Limits::turns`].
    Turns,
    /// [`Limits::tool_calls`].
    ToolCalls,
    /// [`Limits::tokens`].
    Tokens,
    /// [`Limits::cost`].
    Cost,
    /// [`Limits::active`].
    Active,
    /// A budget of the settings, which several runs share; it is none of [`Limits`].
    Budget,
}

/// See [`Event::Claimed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The new epoch.
    pub epoch: u64,
    /// Who: a name of the node and process.
    pub node: String,
}

/// See [`Event::InputGiven`].
#[derive(Debug, Clone, PartialEq)]
pub struct InputGiven {
    /// The inbox item it came with, 32 hexadecimal digits; `None` when it came with the start.
    pub inbox: Option<String>,
    /// Who said it.
    pub by: String,
    /// What was said.
    pub parts: Vec<Part>,
    /// Whether this person stopped the answer before that was under way: calls of it that were not sent are withdrawn, and the
    /// model is told.
    pub stopped: bool,
}

/// See [`Event::ToolsListed`].
#[derive(Debug, Clone, PartialEq)]
pub struct ToolsListed {
    /// BLAKE3 over the hashes of `tools`, in hexadecimal.
    pub hash: String,
    /// The tools, in the order in which every model gets them.
    pub tools: Arc<[ToolDef]>,
    /// What a person should know about them.
    pub warnings: Vec<String>,
    /// Optional servers that did not start, and why.
    pub missing: Vec<(String, String)>,
}

/// See [`Event::ToolsChanged`]. Tools that it does not name stay as they are, in their places.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolsChanged {
    /// BLAKE3 over the hashes of all tools as they are now, in hexadecimal.
    pub hash: String,
    /// Tools that the run did not have, behind those that it has.
    pub added: Vec<ToolDef>,
    /// Tools with another definition, in the place of the old one.
    pub changed: Vec<ToolChange>,
    /// Tools that their servers no longer offer.
    pub gone: Vec<ToolName>,
    /// What a person should know about the new list.
    pub warnings: Vec<String>,
    /// Optional servers that did not start, and why. The run keeps their tools.
    pub missing: Vec<(String, String)>,
}

/// A tool with another definition than before.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolChange {
    /// The new definition.
    pub tool: ToolDef,
    /// Whether calls of it wait until a person has seen the difference: what binds has changed, and the tool is or was no read.
    pub held: bool,
}

/// What a model is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// The next step of the run.
    Turn,
    /// A summary of what was said so far.
    Compact,
    /// The final answer in the form that the agent declares.
    Output,
}

/// See [`Event::ModelAsked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelAsked {
    /// The turn.
    pub turn: u32,
    /// Counts the requests of the run, from one.
    pub attempt: u32,
    /// What for.
    pub purpose: Purpose,
    /// The endpoint, `provider/model`.
    pub endpoint: String,
    /// BLAKE3 of the request as sent, in hexadecimal; `None` when it was not kept.
    pub request_hash: Option<String>,
    /// Tokens of the request, estimated; 0 when they were not.
    pub tokens: u64,
    /// What the attempt is presumed to have cost if its end is never journaled; `None` when the price is unknown.
    pub presumed: Option<NanoDollars>,
    /// Whether the server holds the model to the schemas of tools.
    pub strict: bool,
    /// Whether the model must call a tool.
    pub forced: bool,
}

/// See [`Event::AttemptFailed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFailed {
    /// The attempt.
    pub attempt: u32,
    /// The endpoint, `provider/model`.
    pub endpoint: String,
    /// The stable name of the failure class (`provider::Class`), or `interrupted`.
    pub class: String,
    /// What happened, for people.
    pub message: String,
    /// How long the attempt took.
    pub latency: Duration,
    /// Text that had arrived and is thrown away, clipped.
    pub discarded: String,
    /// Tokens that were used all the same, or may have been; `None` when the request was refused or never sent.
    pub usage: Option<Usage>,
    /// What they cost; `None` when unknown, or when there is nothing to pay.
    pub cost: Option<NanoDollars>,
    /// Whether the server told not all of that, so that some is estimated.
    pub estimated: bool,
}

/// See [`Event::ModelAnswered`].
#[derive(Debug, Clone, PartialEq)]
pub struct ModelAnswered {
    /// The turn.
    pub turn: u32,
    /// The attempt that brought it.
    pub attempt: u32,
    /// What for.
    pub purpose: Purpose,
    /// The endpoint, `provider/model`.
    pub endpoint: String,
    /// How many entries the journal had when the request was made: input that came later was not seen.
    pub seen: u64,
    /// What it said, thought and called, in order; calls as written.
    pub parts: Vec<AnswerPart>,
    /// The calls of `parts`, in order.
    pub calls: Vec<Call>,
    /// Why it stopped, in the provider's account.
    pub finish: Finish,
    /// What became of it as a final answer.
    pub output: Option<Arc<str>>,
    /// What was mended in a final answer that came as a call.
    pub output_repairs: Vec<Repair>,
    /// Tokens; `None` when the provider did not say.
    pub usage: Option<Usage>,
    /// What it cost; `None` when the price is unknown.
    pub cost: Option<NanoDollars>,
    /// How long the attempt took.
    pub latency: Duration,
    /// The provider's id for the answer.
    pub provider_id: Option<String>,
}

/// A call of an answer and what was found out about it before anything else happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Our id.
    pub id: CallId,
    /// The call as it may be executed; `None` when it may not (a `CallRejected` says why).
    pub resolved: Option<Resolved>,
}

/// A valid call, and the rules that hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The tool, by its name as offered.
    pub name: OfferedName,
    /// Whose tool that is.
    pub origin: ToolName,
    /// The arguments, where they differ from what was written; `None` when they are byte-identical.
    pub arguments: Option<Arc<str>>,
    /// What was mended.
    pub repairs: Vec<Repair>,
    /// What it may do.
    pub effect: Effect,
    /// A repeat changes nothing more, so a doubt about it is handled as for an idempotent call.
    pub repeatable: bool,
    /// May run beside its neighbours although it is no read.
    pub parallel: bool,
    /// What to do when its outcome is unknown.
    pub on_doubt: OnDoubt,
    /// Why a person must be asked first; `None` when not.
    pub approve: Option<Approve>,
    /// Longest silence of the server.
    pub idle: Duration,
    /// Hard cap on the call.
    pub total: Duration,
    /// How long a call that changes nothing more when it is repeated gets the second time, if the first timed out; `None`
    /// when it is not sent again.
    pub retry: Option<Duration>,
}

/// What to do about a call whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnDoubt {
    /// Run it again with the same arguments and key, a few times.
    Retry,
    /// Tell the model, and hold an identical call for approval.
    Tell,
    /// Wait for a person.
    Ask,
}

/// That a person must be asked, and what follows from silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// Why.
    pub reason: ApprovalReason,
    /// How long the question stands; `None` for ever.
    pub expire: Option<Duration>,
    /// What silence means then: `true` allows.
    pub on_expire_allow: bool,
}

/// Why a person is asked about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalReason {
    /// The policy says so.
    Policy,
    /// An identical call has an unknown outcome.
    HeldRepeat,
    /// The call was mended beyond what its policy lets pass.
    Repaired,
    /// Whether the policy refuses the call cannot be told: a condition of it fails on these arguments.
    Unclear,
    /// The schema of the tool cannot be used, so that nobody has checked the arguments.
    Unchecked,
    /// The definition of its tool has changed in what it binds since the run last knew it.
    Changed,
}

/// See [`Event::CallRejected`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRejected {
    /// The call.
    pub call: CallId,
    /// Why.
    pub reason: Rejection,
}

/// Why a call is not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// It is not valid.
    Invalid(Diagnosis),
    /// Policy or a person refuses it; the text is for the model. Counts as a valid call.
    Denied(String),
    /// It is no read, and this call before it was rejected.
    Behind(CallId),
    /// It is valid, but another call of its answer was cut, so none of them runs.
    CutAnswer,
    /// `final_answer` next to other calls: it must come alone, after their results.
    NotAlone,
    /// Its server no longer offers the tool, or now says that it has another effect.
    ToolChanged,
}

/// See [`Event::ToolStarted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolStarted {
    /// The call.
    pub call: CallId,
    /// Counts the times this call is sent, from one.
    pub attempt: u32,
    /// Stable over attempts and restarts.
    pub idempotency_key: String,
    /// What it may do.
    pub effect: Effect,
    /// The arguments, where they differ from the resolved ones (edited by a person).
    pub arguments: Option<Arc<str>>,
    /// When the call has certainly ended, whatever happens.
    pub deadline: Time,
    /// The guard of the server process; `None` when there is none.
    pub guard: Option<String>,
    /// Who wants the call.
    pub origin: Origin,
}

/// Who wants a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The model.
    Model,
    /// The check of a doubt.
    Verify,
}

/// See [`Event::ToolFinished`].
#[derive(Debug, Clone, PartialEq)]
pub struct ToolFinished {
    /// The call.
    pub call: CallId,
    /// Which sending of it.
    pub attempt: u32,
    /// Whether the server got it; `false` means that it was certainly never sent.
    pub sent: bool,
    /// The content, whole.
    pub content: Vec<Part>,
    /// The structured content, JSON text.
    pub structured: Option<Arc<str>>,
    /// Whether it is a failure.
    pub is_error: bool,
    /// What there is to know of how it came, for the model and for people.
    pub notes: Vec<String>,
    /// How long it took.
    pub latency: Duration,
}

/// See [`Event::CallLost`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLost {
    /// The call.
    pub call: CallId,
    /// Which sending of it.
    pub attempt: u32,
    /// What is known, as a clause: `it timed out after 60s`.
    pub evidence: String,
    /// Its time was over. A connection that broke is not that.
    pub timed_out: bool,
}

/// See [`Event::DoubtResolved`].
#[derive(Debug, Clone, PartialEq)]
pub struct DoubtResolved {
    /// The call.
    pub call: CallId,
    /// The inbox item it came with.
    pub inbox: Option<String>,
    /// Who decided: a person, or `policy`.
    pub by: String,
    /// What.
    pub resolution: Resolution,
}

/// What is done about a lost call.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// The model is told that the outcome is unknown.
    Told,
    /// It did happen; this is its result, JSON or text, if one is known.
    Happened(Option<Arc<str>>),
    /// It did not happen; the model is told so.
    DidNot,
    /// It is to be sent again.
    Retry,
}

/// See [`Event::ToolPaused`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPaused {
    /// The call.
    pub call: CallId,
    /// What the server asks for, JSON text.
    pub request: Arc<str>,
}

/// See [`Event::ApprovalAsked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalAsked {
    /// The call.
    pub call: CallId,
    /// Why.
    pub reason: ApprovalReason,
    /// When the question expires; `None` never.
    pub expires: Option<Time>,
}

/// See [`Event::ApprovalGiven`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalGiven {
    /// The call.
    pub call: CallId,
    /// The inbox item it came with.
    pub inbox: Option<String>,
    /// Who decided: a person (`user@host`), [`EXPIRY`] when nobody answered in time, or `policy` when a rule did.
    pub by: String,
    /// What.
    pub decision: Decision,
    /// The arguments that were shown.
    pub shown: Arc<str>,
}

/// Who decides about a call when nobody answered in time. A person's no is still heard until the call is sent.
pub const EXPIRY: &str = "expiry";

/// What somebody decided about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Run it.
    Allow,
    /// Run it with these arguments, JSON text.
    Edit(Arc<str>),
    /// Do not run it; the text, if any, is for the model.
    Deny(Option<String>),
}

/// See [`Event::PolicyGiven`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyGiven {
    /// Which tools: a glob over `server.tool`, or with [`exact`](Self::exact) one tool by its name.
    pub pattern: String,
    /// Whether `pattern` is the name of one tool, in which `*` and `?` stand for themselves.
    pub exact: bool,
    /// `true` lets them run without asking, `false` refuses them.
    pub allow: bool,
    /// The inbox item it came with.
    pub inbox: Option<String>,
    /// Who set it.
    pub by: String,
}

/// See [`Event::CancelAsked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelAsked {
    /// The inbox item it came with.
    pub inbox: Option<String>,
    /// Who.
    pub by: String,
}

/// See [`Event::LimitsChanged`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsChanged {
    /// The inbox item it came with.
    pub inbox: Option<String>,
    /// Who.
    pub by: String,
    /// The limits from here on, all of them.
    pub limits: Limits,
}

/// What a run can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WaitKind {
    /// A person's word on a call.
    Approval,
    /// A person's word on a call of unknown outcome.
    Doubt,
    /// Input that a tool server asked for.
    Input,
    /// A person's word on a changed tool definition.
    Change,
    /// A model provider.
    Provider,
    /// Room in the store.
    Store,
    /// A moment.
    Timer,
    /// A child run.
    Child,
}

impl WaitKind {
    /// The stable name in journal, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitKind::Approval => "approval",
            WaitKind::Doubt => "doubt",
            WaitKind::Input => "input",
            WaitKind::Change => "change",
            WaitKind::Provider => "provider",
            WaitKind::Store => "store",
            WaitKind::Timer => "timer",
            WaitKind::Child => "child",
        }
    }
}

/// See [`Event::Waiting`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// For what.
    pub kind: WaitKind,
    /// Until when at the latest; `None` until somebody resumes the run.
    pub until: Option<Time>,
    /// Why, for people.
    pub message: String,
    /// A stable code for machines, such as a failure class.
    pub code: String,
}

/// See [`Event::Woken`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Woken {
    /// What woke it: `timer` or `resume`.
    pub by: String,
}

/// See [`Event::OutputRejected`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRejected {
    /// The turn whose answer it is.
    pub turn: u32,
    /// What is wrong, for the model.
    pub diagnosis: String,
    /// A stable code: `mismatch` (does not fit the schema), `cut` (the answer broke off at a limit of tokens), `empty`,
    /// or [`LEFT_IN_TEXT`](super::LEFT_IN_TEXT) (something like a tool call stands in the text).
    pub code: String,
}

/// See [`Event::Compacted`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Calls whose results are replaced by a note when the conversation is rendered.
    pub elided: Vec<CallId>,
    /// What stands for the turns up to `through`; `None` when nothing but results was elided.
    pub summary: Option<Arc<str>>,
    /// The last turn that `summary` stands for.
    pub through: u32,
    /// Longest text that models are shown from here on; longer ones lose their middle. `None` changes nothing.
    pub text_bytes_max: Option<u64>,
}

/// See [`Event::Rebound`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebound {
    /// The new definition, before any expansion.
    pub definition: Arc<str>,
    /// The new model reference; `None` keeps it.
    pub model: Option<String>,
    /// Who.
    pub by: String,
}

/// See [`Event::Forked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// The run it was copied from.
    pub from: RunId,
    /// How many of that run's entries were copied.
    pub at: u64,
}

/// See [`Event::Noted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// A stable code for machines.
    pub code: String,
    /// For people.
    pub message: String,
    /// The inbox item that it tells of, so that the item counts as taken in.
    pub inbox: Option<String>,
}

/// See [`Event::Ended`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With an output: free text, or JSON text that fits the agent's schema.
    Done {
        /// The output.
        output: Arc<str>,
    },
    /// It cannot go on by itself.
    Failed {
        /// A stable code, such as `calls_rejected`.
        code: String,
        /// What happened, for people.
        message: String,
    },
    /// Somebody cancelled it.
    Cancelled,
    /// It has used up a limit, and goes on when the limit is raised. One that has used up a budget goes on when it is resumed.
    Exhausted {
        /// Which.
        limit: Limit,
        /// What there is to say beyond that, for people.
        message: Option<String>,
    },
}
