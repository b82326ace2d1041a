//! What a run remembers of its calls and of what it has used.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use crate::chat::{CallId, Effect, Message, Part, Usage, WrittenCall};

use super::{
    ApprovalAsked, ApprovalGiven, ApprovalReason, CallLost, Decision, EXPIRY, End, NanoDollars, OnDoubt, Rejection,
    Resolved, Time, WaitKind, Waiting,
};

/// One thing that was said, in the order in which models get to see it.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// By a person.
    Input {
        /// Its place in the journal.
        index: u64,
        message: Arc<Message>,
    },
    /// By a model.
    Answer(Answer),
    /// By us, to the model: why its answer was not taken, or that a person stopped it.
    Notice(Arc<Message>),
}

/// A model's answer and what became of its calls.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub turn: u32,
    /// What it said and thought, in order; `None` where the next of its calls stood.
    pub parts: Vec<Option<Part>>,
    pub calls: Vec<CallRecord>,
    /// The run's output, if this answer is one.
    pub output: Option<Arc<str>>,
    /// Whether it was refused as the final answer.
    pub refused: bool,
    /// Whether it was refused because of something like a call in its text.
    pub in_text: bool,
    /// Whether its provider interrupted it, so that it goes on with the next request.
    pub paused: bool,
    /// What models see of it and its results, once that was asked for; to be forgotten when any of it changes.
    pub shown: OnceLock<Box<[Arc<Message>]>>,
}

impl Answer {
    /// Whether it made calls and none of them was valid, or left something like one in its text.
    pub fn missed(&self) -> bool {
        if self.in_text {
            return true;
        }
        let invalid = |call: &CallRecord| {
            matches!(&call.state, CallState::Rejected(Rejection::Invalid(_) | Rejection::CutAnswer))
        };
        !self.calls.is_empty() && self.calls.iter().all(invalid)
    }
}

/// One call and its story so far.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Our id.
    pub id: CallId,
    /// The call as the model wrote it.
    pub written: WrittenCall,
    /// The call as it may be executed; `None` when it may not.
    pub resolved: Option<Resolved>,
    /// The arguments that a person put in place of the resolved ones.
    pub edited: Option<Arc<str>>,
    /// How often it was sent.
    pub attempts: u32,
    /// The question about it; `None` when nobody was asked.
    pub asked: Option<ApprovalAsked>,
    /// Whether it was allowed when asked.
    pub allowed: bool,
    /// The newest decision about it; `None` while there is none.
    pub decided: Option<Box<ApprovalGiven>>,
    /// What is known of its newest sending that got no answer; `None` when none did.
    pub lost: Option<Box<CallLost>>,
    /// Where it stands.
    pub state: CallState,
}

impl CallRecord {
    /// The arguments it runs with: edited, else mended, else as written.
    pub fn arguments(&self) -> &Arc<str> {
        let mended = self.resolved.as_ref().and_then(|resolved| resolved.arguments.as_ref());
        self.edited.as_ref().or(mended).unwrap_or(&self.written.arguments)
    }

    /// Whether it was mended beyond its policy, so that it only runs when a person says so.
    pub(super) fn beyond_policy(&self) -> bool {
        let approve = self.resolved.as_ref().and_then(|resolved| resolved.approve.as_ref());
        approve.is_some_and(|approve| approve.reason == ApprovalReason::Repaired)
    }

    /// How much of it was mended.
    pub(super) fn repairs(&self) -> u64 {
        self.resolved.as_ref().map_or(0, |resolved| resolved.repairs.len() as u64)
    }

    /// What is to be done about it when its outcome is unknown.
    pub fn on_doubt(&self) -> OnDoubt {
        match &self.resolved {
            Some(_) if self.is_repeatable() => OnDoubt::Retry,
            Some(resolved) => resolved.on_doubt,
            None => OnDoubt::Tell,
        }
    }

    /// Whether nobody waits for its answer any more, its server may still work on it, and a person is asked about it when that
    /// is over.
    pub(super) fn may_still_work(&self) -> bool {
        matches!(&self.state, CallState::Started(sent) if !sent.live) && self.on_doubt() == OnDoubt::Ask
    }

    /// Whether a repeat changes nothing more.
    pub fn is_repeatable(&self) -> bool {
        let repeatable = |resolved: &Resolved| resolved.repeatable || resolved.effect <= Effect::Idempotent;
        self.resolved.as_ref().is_some_and(repeatable)
    }

    /// The time for its next sending, where the agent file says that a call that timed out gets more.
    pub fn longer(&self) -> Option<Duration> {
        self.lost.as_ref().filter(|lost| lost.timed_out).and(self.resolved.as_ref()?.retry)
    }

    /// Whether a person's word is missing before it may start.
    pub fn undecided(&self) -> bool {
        self.asked.is_some() && !self.allowed && matches!(self.state, CallState::Ready)
    }

    /// Whether such a decision about it comes in time: nobody has decided yet, or the clock alone has allowed what a person
    /// refuses before it was sent.
    pub fn takes(&self, decision: &Decision) -> bool {
        let denied = matches!(decision, Decision::Deny(_)) && matches!(self.state, CallState::Ready);
        self.undecided() || denied && self.decided.as_ref().is_some_and(|given| given.by == EXPIRY)
    }
}

/// Where a call stands.
#[derive(Debug, Clone, PartialEq)]
pub enum CallState {
    /// Not sent yet.
    Ready,
    /// Never to be executed.
    Rejected(Rejection),
    /// Sent, or about to be.
    Started(Sent),
    /// The server wants input first.
    Paused(Sent),
    /// Sent, and no answer will come. Nothing is decided yet.
    Lost(Sent),
    /// To be sent again.
    Again(Sent),
    /// Answered.
    Finished(Box<Finished>),
    /// Unknown for good; the model is told.
    Unknown,
    /// It did happen, somebody says, with this result.
    Happened(Option<Arc<str>>),
    /// It did not happen, somebody says.
    DidNot,
    /// The run was cancelled before it was sent.
    NotSent,
    /// The person stopped the answer before it was sent.
    Withdrawn,
}

/// One sending of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// When it has certainly ended.
    pub deadline: Time,
    /// The guard of the server process.
    pub guard: Option<String>,
    /// Whether its sender still lives; a claim ends that.
    pub live: bool,
}

/// A tool's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The content, whole.
    pub content: Vec<Part>,
    /// The structured content, JSON text.
    pub structured: Option<Arc<str>>,
    /// Whether it is a failure.
    pub is_error: bool,
    /// What there is to know of how it came.
    pub notes: Vec<String>,
}

impl CallState {
    /// Whether the model can be told what became of the call, so that the next group may start.
    pub(super) fn settled(&self) -> bool {
        match self {
            CallState::Ready
            | CallState::Started(_)
            | CallState::Paused(_)
            | CallState::Lost(_)
            | CallState::Again(_) => false,
            CallState::Rejected(_)
            | CallState::Finished(_)
            | CallState::Unknown
            | CallState::Happened(_)
            | CallState::DidNot
            | CallState::NotSent
            | CallState::Withdrawn => true,
        }
    }
}

/// What a run has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Turns begun.
    pub turns: u64,
    /// Calls started; sending one again does not count.
    pub tool_calls: u64,
    /// Repairs made.
    pub repairs: u64,
    /// Requests to models.
    pub attempts: u64,
    /// Tokens of all attempts, as far as known.
    pub usage: Usage,
    /// Money of all attempts with a known price.
    pub cost: NanoDollars,
    /// Whether some attempt has no known price, so that `cost` is too low.
    pub cost_unknown: bool,
    /// Whether `usage` and `cost` hold estimates, for attempts that brought no answer.
    pub estimated: bool,
    /// Time driven and not waiting.
    pub active: Duration,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Something is, or should be, in flight.
    Running,
    /// It waits, and nothing is in flight.
    Waiting,
    /// It has an output.
    Done,
    /// It cannot go on by itself.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It has used up a limit.
    Exhausted,
    /// Its journal is damaged.
    Quarantined,
}

impl Status {
    /// The stable name in journal, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Done => "done",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Exhausted => "exhausted",
            Status::Quarantined => "quarantined",
        }
    }

    /// The status of that name, or of that [headline](super::Run::headline); `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        use Status::*;
        let name = name.split_once(' ').map_or(name, |(first, _)| first);
        [Running, Waiting, Done, Failed, Cancelled, Exhausted, Quarantined]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

impl From<&End> for Status {
    fn from(end: &End) -> Self {
        match end {
            End::Done { .. } => Status::Done,
            End::Failed { .. } => Status::Failed,
            End::Cancelled => Status::Cancelled,
            End::Exhausted { .. } => Status::Exhausted,
        }
    }
}

/// One thing that a run waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// A person's word on this call, before it is sent.
    Approval(CallId),
    /// A person's word on the changed definition of this call's tool, before it is sent.
    Change(CallId),
    /// A person's word on this call, whose outcome is unknown.
    Doubt(CallId),
    /// Input that the server of this call asked for.
    Input(CallId),
    /// What a `Waiting` entry says.
    Other(Waiting),
}

impl Wait {
    /// Its kind, as entries name it.
    pub fn kind(&self) -> WaitKind {
        match self {
            Wait::Approval(_) => WaitKind::Approval,
            Wait::Change(_) => WaitKind::Change,
            Wait::Doubt(_) => WaitKind::Doubt,
            Wait::Input(_) => WaitKind::Input,
            Wait::Other(wait) => wait.kind,
        }
    }

    /// The call that a person must allow or refuse before it is sent, if that is what the run waits for.
    pub fn decides(&self) -> Option<CallId> {
        match self {
            Wait::Approval(call) | Wait::Change(call) => Some(*call),
            Wait::Doubt(_) | Wait::Input(_) | Wait::Other(_) => None,
        }
    }
}
