//! What should be in flight, and what follows from the state by itself.

use std::time::Duration;

use crate::{
    chat::{CallId, Effect, OfferedName, Part, Usage, WrittenCall},
    repair::clip,
};

use super::{
    ApprovalAsked, ApprovalGiven, ApprovalReason, Asking, AttemptFailed, CALL_ATTEMPTS_MAX, CallLost, CallRecord,
    CallRejected, CallState, Decision, DoubtResolved, EXPIRY, End, Ended, Event, Limit, OUTPUT_REJECTIONS_MAX, OnDoubt,
    OutputRejected, Purpose, Rejection, Resolution, Run, Sent, Status, Time, Wait, Waiting, Woken, call_key, doubt_key,
    state::{Answer, Item},
};

/// Everything that should be in flight now. The engine starts what is missing and aborts what is gone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Want {
    /// What follows from the state and only needs to be journaled. While there is any of it, the rest is empty.
    pub record: Vec<Event>,
    /// The tools must be listed before anything else.
    pub list_tools: bool,
    /// The tools are to be listed again before the request is sent: something new was said.
    pub list_again: bool,
    /// The calls of the group whose turn it is. Those not yet sent are sent in one append.
    pub calls: Vec<CallWant>,
    /// What is to be recorded of calls that will not be answered, each once its sending is certainly over: a person is asked
    /// about them then, and not while their server may still work.
    pub lost: Vec<CallLost>,
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

    /// The status of a run that has not ended and wants this.
    pub(super) fn status(&self) -> Status {
        if self.is_idle() && !self.waiting.is_empty() { Status::Waiting } else { Status::Running }
    }

    fn look_again_by(&mut self, time: Option<Time>) {
        self.until = [self.until, time].into_iter().flatten().min();
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
    /// How many answers of this turn made no valid call. After the first one the call is forced where the endpoint can
    /// ([`Run::missed_tool`]), from the second on another endpoint is asked if there is one.
    pub again: u32,
}

/// Answers in a row with the same invalid calls after which asking again is given up: the model, another endpoint and
/// a forced call have been tried.
const REPEATS_MAX: usize = 3;

/// Answers in a row that a provider may interrupt. Anthropic does so when its own tools take long, and rarely twice.
const PAUSES_MAX: usize = 8;

/// Most bytes of a final answer that was cut that the end of the run repeats. The journal has all of it.
const CUT_BYTES_MAX: usize = 2048;

impl Run {
    /// What should be in flight now.
    pub fn next(&self) -> Want {
        let mut want = Want::default();
        if self.started.is_none() || self.end.is_some() {
            return want;
        }
        self.record_interrupted(&mut want);
        if want.record.is_empty() {
            self.look(&mut want);
        }
        if !want.record.is_empty() {
            return Want { record: want.record, ..Want::default() };
        }
        want
    }

    fn look(&self, want: &mut Want) {
        if self.cancelled.is_some() {
            return self.stop(End::Cancelled, want);
        }
        let settled = self.settle_calls(want);
        match &self.wait {
            _ if !want.record.is_empty() => {}
            Some(wait) => self.hold(wait, want),
            None if settled => self.go_on(want),
            None => {}
        }
        self.watch_active(want);
    }

    /// Ends the run as soon as nothing is in flight any more; until then nothing is wanted.
    fn stop(&self, end: End, want: &mut Want) {
        *want = Want::default();
        if !self.in_flight() {
            want.record.push(ended(end));
        }
    }

    /// While the run waits nothing new begins; calls that were sent go on.
    fn hold(&self, wait: &Waiting, want: &mut Want) {
        match wait.until {
            Some(until) if until <= self.now => want.record.push(Event::Woken(Woken { by: "timer".to_owned() })),
            until => {
                want.calls.retain(|call| call.started);
                want.waiting.push(Wait::Other(wait.clone()));
                want.look_again_by(until);
            }
        }
    }

    /// What the last owner left in flight will not be answered any more. Of a call that a person is asked about then, that is
    /// only recorded once nothing of it can happen any more.
    fn record_interrupted(&self, want: &mut Want) {
        if let Some(Asking { attempt, endpoint, tokens, presumed, live: false, .. }) = &self.asking {
            // It may have been answered, and be paid for. Older journals do not tell how long it was.
            let usage = (*tokens > 0).then(|| Usage { input: *tokens, ..Usage::default() });
            want.record.push(Event::AttemptFailed(AttemptFailed {
                attempt: *attempt,
                endpoint: endpoint.clone(),
                class: "interrupted".to_owned(),
                message: "the process that asked ended before the answer was journaled".to_owned(),
                latency: std::time::Duration::ZERO,
                discarded: String::new(),
                usage,
                cost: usage.and(*presumed),
                estimated: usage.is_some(),
            }));
        }
        for call in self.open_calls() {
            if let CallState::Started(Sent { live: false, .. }) | CallState::Paused(Sent { live: false, .. }) =
                &call.state
            {
                let lost = CallLost {
                    call: call.id,
                    attempt: call.attempts,
                    evidence: "the process that sent it ended before the result was journaled".to_owned(),
                    timed_out: false,
                };
                if call.may_still_work() && self.cancelled.is_none() {
                    want.lost.push(lost);
                } else {
                    want.record.push(Event::CallLost(lost));
                }
            }
        }
    }

    /// Nothing more is driven once the active time is used up. What only waits, or is over, needs no time.
    fn watch_active(&self, want: &mut Want) {
        let Some(limit) = self.limits.active else { return };
        if want.is_idle() && !self.in_flight() || !want.record.is_empty() {
            return;
        }
        let left = limit.saturating_sub(self.tally.active);
        if left.is_zero() {
            self.stop(exhausted(Limit::Active), want);
        } else if self.counts_as_active() {
            // Time is kept in milliseconds: what is left of one lasts it out.
            want.look_again_by(Some(self.now.after(left.max(Duration::from_millis(1)))));
        }
    }

    /// Brings the calls of the newest answer forward; `true` when all of them are settled.
    fn settle_calls(&self, want: &mut Want) -> bool {
        let Some(answer) = self.answers().next_back() else { return true };
        if answer.calls.iter().all(|call| call.state.settled()) {
            return true;
        }
        self.record_rejections(answer, want);
        if !want.record.is_empty() {
            return false;
        }
        let begun = answer.calls.iter().any(|call| call.attempts > 0);
        let valid = answer.calls.iter().filter(|call| !matches!(call.state, CallState::Rejected(_))).count() as u64;
        if !begun && self.limits.tool_calls.is_some_and(|limit| self.tally.tool_calls + valid > limit) {
            self.stop(exhausted(Limit::ToolCalls), want);
            return false;
        }
        for call in &answer.calls {
            self.record_question(call, want);
        }
        if want.record.is_empty() {
            self.admit(answer, want);
        }
        false
    }

    /// Rejections that follow from the answer as a whole.
    fn record_rejections(&self, answer: &Answer, want: &mut Want) {
        let mut behind = None;
        for call in &answer.calls {
            let reason = match (&call.state, &call.resolved, behind) {
                (
                    CallState::Rejected(
                        Rejection::Invalid(_) | Rejection::Behind(_) | Rejection::CutAnswer | Rejection::ToolChanged,
                    ),
                    ..,
                ) => {
                    behind = behind.or(Some(call.id));
                    continue;
                }
                (CallState::Ready, None, _) => {
                    behind = behind.or(Some(call.id));
                    Rejection::CutAnswer
                }
                (CallState::Ready, Some(resolved), Some(first)) if resolved.effect != Effect::Read => {
                    Rejection::Behind(first)
                }
                _ => continue,
            };
            want.record.push(Event::CallRejected(CallRejected { call: call.id, reason }));
        }
    }

    /// The question that a call needs before it may start, or the answer that its silence stands for.
    fn record_question(&self, call: &CallRecord, want: &mut Want) {
        let (CallState::Ready, Some(resolved)) = (&call.state, &call.resolved) else { return };
        let held = !self.doubted.is_empty() && doubt_key(call).is_some_and(|key| self.doubted.contains(&key));
        let changed = self.held_tools.contains_key(&resolved.origin);
        let ask = |reason, expires| Event::ApprovalAsked(ApprovalAsked { call: call.id, reason, expires });
        match &call.asked {
            None if changed => want.record.push(ask(ApprovalReason::Changed, None)),
            None if held => want.record.push(ask(ApprovalReason::HeldRepeat, None)),
            None => want.record.extend(resolved.approve.as_ref().map(|approve| {
                let expires = approve.expire.map(|expire| self.now.after(expire));
                ask(approve.reason, expires)
            })),
            // A call that was allowed before its tool changed, or before an identical one fell into doubt, is asked about again.
            Some(asked) if call.allowed => {
                if changed && asked.reason != ApprovalReason::Changed {
                    want.record.push(ask(ApprovalReason::Changed, None));
                } else if held && asked.reason != ApprovalReason::HeldRepeat {
                    want.record.push(ask(ApprovalReason::HeldRepeat, None));
                }
            }
            Some(asked) if asked.expires.is_some_and(|expires| expires <= self.now) => {
                let allow = resolved.approve.as_ref().is_some_and(|approve| approve.on_expire_allow);
                let refusal = "nobody answered in time, so this call was refused";
                want.record.push(decided(call, EXPIRY, allow, refusal.to_owned()));
            }
            // The question is another one now: who sees it must see what changed.
            Some(asked) if changed && asked.reason != ApprovalReason::Changed => {
                want.record.push(ask(ApprovalReason::Changed, None));
            }
            // Somebody has allowed the same call, and it was not sent.
            Some(ApprovalAsked { reason: ApprovalReason::Policy, .. }) if let Some(by) = self.unused_word(call) => {
                want.record.push(decided(call, &by, true, String::new()));
            }
            // Only what the policy asks is answered by a rule that somebody sets meanwhile.
            Some(ApprovalAsked { reason: ApprovalReason::Policy, .. })
                if let Some(given) = self.policy_on(&resolved.origin) =>
            {
                let refusal = format!("{} refuses {} for the rest of this run", given.by, resolved.origin);
                want.record.push(decided(call, "policy", given.allow, refusal));
            }
            Some(asked) => {
                want.waiting.push(match asked.reason {
                    ApprovalReason::Changed => Wait::Change(call.id),
                    _ => Wait::Approval(call.id),
                });
                want.look_again_by(asked.expires);
            }
        }
    }

    /// Who has allowed this very call when it was made before, where it was then not sent.
    fn unused_word(&self, call: &CallRecord) -> Option<String> {
        if self.unused.is_empty() {
            return None;
        }
        self.unused.get(&call_key(call)?).cloned()
    }

    /// The first group that is not settled. None of it starts while a person's word is missing; what was sent goes on.
    fn admit(&self, answer: &Answer, want: &mut Want) {
        let valid = answer.calls.iter().filter(|call| !matches!(call.state, CallState::Rejected(_)));
        let Some(group) = groups(valid).into_iter().find(|group| group.iter().any(|call| !call.state.settled())) else {
            return;
        };
        let undecided = group.iter().any(|call| call.undecided());
        for call in group {
            match &call.state {
                CallState::Ready if undecided => {}
                CallState::Ready => want.calls.push(call_want(call, None)),
                CallState::Started(_) if call.may_still_work() => {}
                CallState::Started(_) => {
                    want.calls.push(CallWant { call: call.id, attempt: call.attempts, started: true, after: None })
                }
                CallState::Paused(_) => want.waiting.push(Wait::Input(call.id)),
                CallState::Again(sent) => want.calls.push(call_want(call, Some(sent))),
                CallState::Lost(sent) => doubt(call, sent, want),
                _ => {}
            }
        }
    }

    /// Every call is answered: the next turn, or the end.
    fn go_on(&self, want: &mut Want) {
        let unseen_input = matches!(self.items.last(), Some(Item::Input { .. }));
        let answer = self.answers().next_back().filter(|_| !unseen_input);
        if let Some(answer) = answer {
            if let Some(output) = &answer.output {
                return self.stop(End::Done { output: output.clone() }, want);
            }
            if answer.paused && self.answers().rev().take_while(|answer| answer.paused).count() >= PAUSES_MAX {
                let message = format!("the provider interrupted the turn {PAUSES_MAX} times and brought it to no end");
                return self.stop(failed("malformed_answer", &message), want);
            }
            if answer.calls.is_empty() && !answer.refused && !answer.paused {
                want.record.push(Event::OutputRejected(OutputRejected {
                    turn: answer.turn,
                    diagnosis: "That answer held neither a call nor a final answer.".to_owned(),
                    code: "empty".to_owned(),
                }));
                return;
            }
        }
        if let Some(rejected) = self.output_rejection.as_ref().filter(|_| !unseen_input)
            && self.output_rejections >= OUTPUT_REJECTIONS_MAX
        {
            let refused = self.output_rejections;
            let message = format!("the final answer was refused {refused} times: {}", rejected.diagnosis);
            let (code, message) = match rejected.code.as_str() {
                "mismatch" => ("output_mismatch", message),
                "cut" => ("output_cut", cut_off(refused, answer)),
                _ => ("output_unusable", message),
            };
            return self.stop(failed(code, &message), want);
        }
        let again = answer.is_some_and(Answer::missed);
        if again && self.misses() > self.ask_again() {
            let message = "the model made no valid call, however often it was asked";
            return self.stop(failed("calls_rejected", message), want);
        }
        if again && self.repeats() >= REPEATS_MAX {
            let message = "the model made the same call again and again, which is not valid";
            return self.stop(failed("calls_rejected", message), want);
        }
        let next = (if again { self.turn } else { self.turn + 1 }, Purpose::Turn);
        // A request in flight stays the same one, whatever is said meanwhile.
        let (turn, purpose) = self.asking.as_ref().map_or(next, |asking| (asking.turn, asking.purpose));
        if let Some(limit) = self.used_up(turn) {
            self.stop(exhausted(limit), want);
        } else if self.tools.is_none() {
            want.list_tools = true;
        } else {
            let again = if turn == self.turn { self.misses() } else { 0 };
            want.ask = Some(Ask { turn, purpose, force_output: self.output_rejections > 0, again });
            want.list_again = self.unlisted && self.asking.is_none();
        }
    }

    /// How many of the newest turn's answers, counted from the newest, made calls of which none was valid. Final
    /// answers that do not fit are counted on their own.
    fn misses(&self) -> u32 {
        let missed = self.answers().rev().take_while(|answer| answer.turn == self.turn && answer.missed());
        missed.filter(|answer| !answer.refused || answer.in_text).count() as u32
    }

    /// How many of the newest answers in a row made exactly the same calls, none of them valid.
    fn repeats(&self) -> usize {
        let Some(newest) = self.answers().next_back() else { return 0 };
        self.repeats_of(newest.turn, &newest.calls.iter().map(|call| &call.written).collect::<Vec<_>>())
    }

    /// How many of the newest answers in a row made exactly these calls in this turn, none of them valid.
    fn repeats_of(&self, turn: u32, calls: &[&WrittenCall]) -> usize {
        let same = |call: &CallRecord, other: &&WrittenCall| {
            call.written.name == other.name && call.written.arguments == other.arguments
        };
        let same = |answer: &&Answer| {
            let alike = answer.calls.len() == calls.len() && answer.calls.iter().zip(calls).all(|(a, b)| same(a, b));
            // Of what was left in text there is no call to compare.
            answer.turn == turn && answer.missed() && alike && !answer.in_text
        };
        self.answers().rev().take_while(same).count()
    }

    /// Whether an answer with these calls, to a request made from the first `seen` entries, ends the asking if none of them is
    /// valid.
    pub fn is_last_asking(&self, ask: &Ask, seen: u64, calls: &[&WrittenCall]) -> bool {
        // What was said meanwhile is answered next, and with it the asking begins anew.
        let is_unseen = matches!(self.items.last(), Some(Item::Input { index, .. }) if *index >= seen);
        let used_up = ask.again >= self.ask_again() || self.repeats_of(ask.turn, calls) + 1 >= REPEATS_MAX;
        used_up && !is_unseen
    }

    fn ask_again(&self) -> u32 {
        self.started.as_ref().map_or(0, |started| started.ask_again)
    }

    /// The tool that the newest answer called in vain, if it was a single one and is on offer: asked again, the model
    /// can be made to call it.
    pub fn missed_tool(&self) -> Option<OfferedName> {
        let answer = self.answers().next_back().filter(|answer| answer.missed())?;
        let (first, others) = answer.calls.split_first()?;
        let alone = others.iter().all(|call| call.written.name == first.written.name);
        self.offered(&first.written.name).filter(|_| alone)
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
    match call.on_doubt() {
        OnDoubt::Retry if call.attempts < retries_max(call) => want.calls.push(call_want(call, Some(sent))),
        OnDoubt::Retry | OnDoubt::Tell => want.record.push(Event::DoubtResolved(DoubtResolved {
            call: call.id,
            inbox: None,
            by: "policy".to_owned(),
            resolution: Resolution::Told,
        })),
        OnDoubt::Ask => want.waiting.push(Wait::Doubt(call.id)),
    }
}

/// How often a call is sent at most. One that timed out would likely do so again: it is sent once more if the agent file
/// gives it more time, and otherwise not, unless the file wants doubts about it tried again.
fn retries_max(call: &CallRecord) -> u32 {
    let timed_out = call.lost.as_ref().is_some_and(|lost| lost.timed_out);
    match (timed_out && call.is_repeatable(), call.longer()) {
        (false, _) => CALL_ATTEMPTS_MAX,
        (true, Some(_)) => 2,
        (true, None) => 1,
    }
}

fn call_want(call: &CallRecord, sent: Option<&Sent>) -> CallWant {
    // A read that still runs somewhere harms nobody.
    let harmless = call.resolved.as_ref().is_some_and(|resolved| resolved.effect == Effect::Read);
    let after = sent.filter(|_| !harmless).cloned();
    CallWant { call: call.id, attempt: call.attempts + 1, started: false, after }
}

/// A decision about a call on somebody's behalf.
fn decided(call: &CallRecord, by: &str, allow: bool, refusal: String) -> Event {
    Event::ApprovalGiven(ApprovalGiven {
        call: call.id,
        inbox: None,
        by: by.to_owned(),
        decision: if allow { Decision::Allow } else { Decision::Deny(Some(refusal)) },
        shown: call.arguments().clone(),
    })
}

/// What a person is told of a final answer that does not fit into the limit of tokens.
fn cut_off(times: u32, answer: Option<&Answer>) -> String {
    let text = answer.into_iter().flat_map(|answer| &answer.parts).filter_map(|part| match part {
        Some(Part::Text(text)) => Some(&**text),
        _ => None,
    });
    let text: String = text.collect();
    let told = format!(
        "the final answer was cut off at the limit of tokens {times} times; raise `output_tokens`, or say how to go on"
    );
    match text.trim() {
        "" => told,
        text => format!("{told}. So far it says: {}", clip(text, CUT_BYTES_MAX)),
    }
}

fn ended(end: End) -> Event {
    Event::Ended(Ended { end })
}

fn exhausted(limit: Limit) -> End {
    End::Exhausted { limit, message: None }
}

fn failed(code: &str, message: &str) -> End {
    End::Failed { code: code.to_owned(), message: message.to_owned() }
}
