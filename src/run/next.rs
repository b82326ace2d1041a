//! What should be in flight, and what follows from the state by itself.

use crate::chat::{CallId, Effect};

use super::{
    ApprovalAsked, ApprovalGiven, ApprovalReason, Asking, AttemptFailed, CALL_ATTEMPTS_MAX, CallLost, CallRecord,
    CallRejected, CallState, Decision, DoubtResolved, End, Ended, Event, Limit, OUTPUT_REJECTIONS_MAX, OnDoubt,
    Purpose, Rejection, Resolution, Run, Sent, Time, Wait, Woken, doubt_key,
    state::{Answer, Item},
};

/// Everything that should be in flight now. The engine starts what is missing and aborts what is gone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Want {
    /// What follows from the state and only needs to be journaled. While there is any of it, the rest is empty.
    pub record: Vec<Event>,
    /// The tools must be listed before anything else.
    pub list_tools: bool,
    /// The calls of the group whose turn it is. Those not yet sent are sent in one append.
    pub calls: Vec<CallWant>,
    /// The request to a model.
    pub ask: Option<Ask>,
    /// When something changes by itself at the latest; a `Woken` entry is then due. `None`: never.
    pub until: Option<Time>,
    /// What the run waits for, also while something is in flight.
    pub waiting: Vec<Wait>,
}

impl Want {
    /// Whether nothing is, or is to be, in flight.
    pub fn is_idle(&self) -> bool {
        self.record.is_empty() && !self.list_tools && self.calls.is_empty() && self.ask.is_none()
    }
}

/// A call that should be in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallWant {
    /// The call.
    pub call: CallId,
    /// Which sending of it should be in flight.
    pub attempt: u32,
    /// Whether it has been sent (a `ToolStarted` exists).
    pub started: bool,
    /// An earlier sending that must certainly be over first: its server gone or its deadline passed. `None`: no need.
    pub after: Option<Sent>,
}

/// A request to a model that should be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The turn it belongs to.
    pub turn: u32,
    /// What for.
    pub purpose: Purpose,
    /// Whether the answer must come through [`FINAL_ANSWER`](super::FINAL_ANSWER), where the endpoint can force that.
    pub force_output: bool,
}

impl Run {
    /// What should be in flight now.
    pub fn next(&self) -> Want {
        let mut want = Want::default();
        if self.started.is_none() || self.end.is_some() {
            return want;
        }
        self.record_interrupted(&mut want);
        if !want.record.is_empty() {
            return want;
        }
        if let Some(end) = self.stopping() {
            if !self.in_flight() {
                want.record.push(ended(end));
            }
            return want;
        }
        if !self.settle_calls(&mut want) {
            self.watch_active(&mut want);
            return want;
        }
        if let Some(wait) = &self.wait {
            match wait.until {
                Some(until) if until <= self.now => want.record.push(Event::Woken(Woken { by: "timer".to_owned() })),
                until => {
                    want.until = until;
                    want.waiting.push(Wait::Other(wait.clone()));
                }
            }
            return want;
        }
        self.go_on(&mut want);
        self.watch_active(&mut want);
        want
    }

    /// What the last owner left in flight will not be answered any more.
    fn record_interrupted(&self, want: &mut Want) {
        if let Some(Asking { attempt, endpoint, live: false }) = &self.asking {
            want.record.push(Event::AttemptFailed(AttemptFailed {
                attempt: *attempt,
                endpoint: endpoint.clone(),
                class: "interrupted".to_owned(),
                message: "the process that asked ended before the answer was journaled".to_owned(),
                latency: std::time::Duration::ZERO,
                discarded: String::new(),
                usage: None,
                cost: None,
            }));
        }
        for call in self.open_calls() {
            if let CallState::Started(Sent { live: false, .. }) | CallState::Paused(Sent { live: false, .. }) =
                &call.state
            {
                want.record.push(Event::CallLost(CallLost {
                    call: call.id,
                    attempt: call.attempts,
                    evidence: "the process that sent it ended before the result was journaled".to_owned(),
                }));
            }
        }
    }

    /// How the run must end as soon as nothing is in flight any more.
    fn stopping(&self) -> Option<End> {
        let active = self.limits.active.is_some_and(|limit| self.tally.active >= limit);
        match (self.cancelled, active) {
            (true, _) => Some(End::Cancelled),
            (false, true) => Some(End::Exhausted { limit: Limit::Active }),
            (false, false) => None,
        }
    }

    fn watch_active(&self, want: &mut Want) {
        let Some(limit) = self.limits.active else { return };
        if !want.calls.is_empty() || want.ask.is_some() {
            let due = self.now.after(limit.saturating_sub(self.tally.active));
            want.until = Some(want.until.map_or(due, |until| until.min(due)));
        }
    }

    /// Brings the calls of the newest answer forward; `true` when all of them are settled.
    fn settle_calls(&self, want: &mut Want) -> bool {
        let Some(answer) = self.answers().next_back() else { return true };
        if answer.calls.iter().all(|call| call.state.settled()) {
            return true;
        }
        let begun = answer.calls.iter().any(|call| call.attempts > 0);
        let valid = answer.calls.iter().filter(|call| !matches!(call.state, CallState::Rejected(_))).count() as u64;
        if !begun && self.limits.tool_calls.is_some_and(|limit| self.tally.tool_calls + valid > limit) {
            want.record.push(ended(End::Exhausted { limit: Limit::ToolCalls }));
            return false;
        }
        self.record_verdicts(answer, want);
        if want.record.is_empty() {
            self.admit(answer, want);
        }
        false
    }

    /// Rejections and questions that follow from the answer as a whole.
    fn record_verdicts(&self, answer: &Answer, want: &mut Want) {
        let mut behind = None;
        for call in &answer.calls {
            match (&call.state, &call.resolved) {
                (CallState::Rejected(Rejection::Invalid(_) | Rejection::Behind(_)), _) => {
                    behind = behind.or(Some(call.id));
                }
                (CallState::Ready, None) => {
                    let reason = Rejection::CutAnswer;
                    want.record.push(Event::CallRejected(CallRejected { call: call.id, reason }));
                }
                (CallState::Ready, Some(resolved)) => match behind {
                    Some(first) if resolved.effect != Effect::Read => {
                        let reason = Rejection::Behind(first);
                        want.record.push(Event::CallRejected(CallRejected { call: call.id, reason }));
                    }
                    _ => self.record_question(call, want),
                },
                _ => {}
            }
        }
    }

    /// The question that a call needs before it may start, or the answer that its silence stands for.
    fn record_question(&self, call: &CallRecord, want: &mut Want) {
        let Some(resolved) = &call.resolved else { return };
        let held = doubt_key(call).is_some_and(|key| self.doubted.contains(&key));
        let (reason, expire) = match (&resolved.approve, held) {
            (Some(approve), _) => (approve.reason, approve.expire),
            (None, true) => (ApprovalReason::HeldRepeat, None),
            (None, false) => return,
        };
        match &call.asked {
            // A call that was allowed before an identical one fell into doubt is asked about again.
            Some(asked) if call.allowed => {
                if held && asked.reason != ApprovalReason::HeldRepeat {
                    let reason = ApprovalReason::HeldRepeat;
                    want.record.push(Event::ApprovalAsked(ApprovalAsked { call: call.id, reason, expires: None }));
                }
            }
            Some(ApprovalAsked { expires: Some(expires), .. }) if *expires <= self.now => {
                let allow = resolved.approve.as_ref().is_some_and(|approve| approve.on_expire_allow);
                let refusal = "nobody answered in time, so this call was refused";
                want.record.push(Event::ApprovalGiven(ApprovalGiven {
                    call: call.id,
                    inbox: None,
                    by: "expiry".to_owned(),
                    decision: if allow { Decision::Allow } else { Decision::Deny(Some(refusal.to_owned())) },
                    shown: call.arguments().clone(),
                }));
            }
            Some(asked) => {
                want.waiting.push(Wait::Approval(call.id));
                if let Some(expires) = asked.expires {
                    want.until = Some(want.until.map_or(expires, |until| until.min(expires)));
                }
            }
            None => {
                let reason = if held { ApprovalReason::HeldRepeat } else { reason };
                let expires = if held { None } else { expire.map(|expire| self.now.after(expire)) };
                want.record.push(Event::ApprovalAsked(ApprovalAsked { call: call.id, reason, expires }));
            }
        }
    }

    /// The first group that is not settled: all of it, unless a person's word is missing.
    fn admit(&self, answer: &Answer, want: &mut Want) {
        let valid = answer.calls.iter().filter(|call| !matches!(call.state, CallState::Rejected(_)));
        let Some(group) = groups(valid).into_iter().find(|group| group.iter().any(|call| !call.state.settled())) else {
            return;
        };
        if group.iter().any(|call| call.undecided()) {
            return;
        }
        for call in group {
            match &call.state {
                CallState::Ready => want.calls.push(call_want(call, None)),
                CallState::Started(_) => {
                    want.calls.push(CallWant { call: call.id, attempt: call.attempts, started: true, after: None })
                }
                CallState::Paused(_) => want.waiting.push(Wait::Input(call.id)),
                CallState::Again(sent) => want.calls.push(call_want(call, Some(sent))),
                CallState::Lost(sent) => doubt(call, sent, want),
                _ => {}
            }
        }
        if !want.record.is_empty() {
            want.calls.clear();
        }
    }

    /// Every call is answered: the next turn, or the end.
    fn go_on(&self, want: &mut Want) {
        let unseen_input = matches!(self.items.last(), Some(Item::Input { .. }));
        let answer = self.answers().next_back().filter(|_| !unseen_input);
        if let Some(output) = answer.and_then(|answer| answer.output.clone()) {
            want.record.push(ended(End::Done { output }));
            return;
        }
        if let Some(rejected) = self.output_rejection.as_ref().filter(|_| !unseen_input)
            && self.output_rejections >= OUTPUT_REJECTIONS_MAX
        {
            want.record.push(failed(
                match rejected.code.as_str() {
                    "mismatch" => "output_mismatch",
                    _ => "output_unusable",
                },
                &format!("the final answer was refused {} times: {}", self.output_rejections, rejected.diagnosis),
            ));
            return;
        }
        let misses = self.answers_without_valid_call();
        let again = answer.is_some() && misses > 0;
        if again && misses > self.started.as_ref().map_or(0, |started| started.ask_again) {
            want.record.push(failed("calls_rejected", "the model made no valid call, however often it was asked"));
            return;
        }
        let turn = if again { self.turn } else { self.turn + 1 };
        if let Some(limit) = self.used_up(turn) {
            want.record.push(ended(End::Exhausted { limit }));
        } else if self.tools.is_none() {
            want.list_tools = true;
        } else {
            want.ask = Some(Ask { turn, purpose: Purpose::Turn, force_output: self.output_rejections > 0 });
        }
    }

    /// How many of the newest turn's answers, counted from the newest, made calls of which none was valid.
    fn answers_without_valid_call(&self) -> u32 {
        let invalid = |call: &CallRecord| {
            matches!(&call.state, CallState::Rejected(Rejection::Invalid(_) | Rejection::CutAnswer))
        };
        self.answers()
            .rev()
            .take_while(|answer| {
                answer.turn == self.turn && !answer.calls.is_empty() && answer.calls.iter().all(invalid)
            })
            .count() as u32
    }

    fn used_up(&self, turn: u32) -> Option<Limit> {
        let reached = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= limit);
        if turn > self.turn && reached(self.limits.turns, self.tally.turns) {
            Some(Limit::Turns)
        } else if reached(self.limits.tokens, self.tally.usage.total()) {
            Some(Limit::Tokens)
        } else if reached(self.limits.cost.map(|cost| cost.0), self.tally.cost.0) {
            Some(Limit::Cost)
        } else {
            None
        }
    }
}

/// Neighbours that may run side by side, in order; any other call is a group of its own.
fn groups<'a>(calls: impl Iterator<Item = &'a CallRecord>) -> Vec<Vec<&'a CallRecord>> {
    let beside = |call: &CallRecord| {
        call.resolved.as_ref().is_some_and(|resolved| resolved.effect == Effect::Read || resolved.parallel)
    };
    let mut groups: Vec<Vec<&CallRecord>> = Vec::new();
    for call in calls {
        match groups.last_mut() {
            Some(group) if beside(call) && group.iter().all(|other| beside(other)) => group.push(call),
            _ => groups.push(vec![call]),
        }
    }
    groups
}

/// What is done about a call whose outcome is unknown.
fn doubt(call: &CallRecord, sent: &Sent, want: &mut Want) {
    let Some(resolved) = &call.resolved else { return };
    let harmless = resolved.repeatable || matches!(resolved.effect, Effect::Read | Effect::Idempotent);
    let on_doubt = if harmless { OnDoubt::Retry } else { resolved.on_doubt };
    match on_doubt {
        OnDoubt::Retry if call.attempts < CALL_ATTEMPTS_MAX => want.calls.push(call_want(call, Some(sent))),
        OnDoubt::Retry | OnDoubt::Tell => want.record.push(Event::DoubtResolved(DoubtResolved {
            call: call.id,
            inbox: None,
            by: "policy".to_owned(),
            resolution: Resolution::Told,
        })),
        OnDoubt::Ask => want.waiting.push(Wait::Doubt(call.id)),
    }
}

fn call_want(call: &CallRecord, sent: Option<&Sent>) -> CallWant {
    // A read that still runs somewhere harms nobody.
    let harmless = call.resolved.as_ref().is_some_and(|resolved| resolved.effect == Effect::Read);
    let after = sent.filter(|_| !harmless).cloned();
    CallWant { call: call.id, attempt: call.attempts + 1, started: false, after }
}

fn ended(end: End) -> Event {
    Event::Ended(Ended { end })
}

fn failed(code: &str, message: &str) -> Event {
    ended(End::Failed { code: code.to_owned(), message: message.to_owned() })
}
