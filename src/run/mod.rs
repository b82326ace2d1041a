//! A run as a pure machine: [`Run::next`] says what should be in flight, [`Run::apply`] takes in what did happen.
//!
//! The journal of a run is the list of its events; recovery reads the list and applies it, and there is no other
//! recovery code. Always true:
//! - `apply` decides nothing: every decision stands in the event. An event that does not fit is refused, and the run
//!   is then quarantined by whoever reads the journal.
//! - `next` only looks. Cancel, limits and deadlines are just smaller sets.
//! - The conversation that a model sees is derived from the state ([`Run::conversation`]), never stored.
//!
//! Left out on purpose: clocks, ids, randomness, and every effect. They arrive inside events.

mod compact;
mod event;
mod facts;
mod id;
mod next;
mod render;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use crate::chat::{AnswerPart, CallId, Finish, Part, ToolDef, ToolName, glob};

pub use event::*;
pub use facts::holds;
pub use id::{NanoDollars, RunId, Time};
pub use next::{Ask, CallWant, Want};
pub use render::FINAL_ANSWER;
pub use state::{CallRecord, CallState, Finished, Sent, Status, Tally, Wait};

use state::{Answer, Item};

/// Most sendings of one call whose outcome keeps getting lost, before the model is told.
pub const CALL_ATTEMPTS_MAX: u32 = 3;

/// Most final answers that do not fit before the run fails.
pub const OUTPUT_REJECTIONS_MAX: u32 = 2;

/// The code of an answer that was refused because something like a tool call stands in its text.
pub const LEFT_IN_TEXT: &str = "left_in_text";

/// One execution of an agent.
#[derive(Debug, Clone, Default)]
pub struct Run {
    started: Option<Box<Started>>,
    /// Entries applied.
    length: u64,
    /// The time of the first entry.
    created: Time,
    /// The time of the newest entry.
    now: Time,
    epoch: u64,
    limits: Limits,
    tools: Option<ToolsListed>,
    /// Whether something was said since the tools were listed, and no model was asked yet.
    unlisted: bool,
    /// Tools whose calls wait until a person has seen what changed about them, with the definition that was last known.
    held_tools: BTreeMap<ToolName, Arc<ToolDef>>,
    /// Tool and canonical arguments of calls that a person allowed and that were then not sent, and who that was.
    unused: HashMap<(ToolName, String), String>,
    items: Vec<Item>,
    /// The newest turn.
    turn: u32,
    /// Calls that the newest turn has named so far.
    turn_calls: u32,
    /// The request in flight.
    asking: Option<Asking>,
    /// Final answers refused since the last input.
    output_rejections: u32,
    output_rejection: Option<OutputRejected>,
    /// The entry that asked to cancel, until the cancel is over.
    cancelled: Option<u64>,
    wait: Option<Waiting>,
    end: Option<End>,
    policies: Vec<PolicyGiven>,
    /// Tool and canonical arguments of calls whose outcome is unknown for good.
    doubted: HashSet<(ToolName, String)>,
    elided: BTreeSet<CallId>,
    summary: Option<(u32, Arc<str>)>,
    /// Longest text that models are shown; `None` while all are shown whole.
    text_bytes_max: Option<u64>,
    /// Inbox items taken in.
    inbox: HashSet<String>,
    tally: Tally,
    answered: Option<Answered>,
}

/// Who answered last: its cache may hold the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The endpoint, `provider/model`.
    pub endpoint: Arc<str>,
    /// When the answer came.
    pub at: Time,
    /// Tokens that it says are in its cache, read from there or written to it.
    pub cached: u64,
}

#[derive(Debug, Clone)]
struct Asking {
    turn: u32,
    purpose: Purpose,
    attempt: u32,
    endpoint: String,
    /// See [`ModelAsked::tokens`].
    tokens: u64,
    /// See [`ModelAsked::presumed`].
    presumed: Option<NanoDollars>,
    live: bool,
}

/// An event that does not fit the state: the journal is damaged, or the writer has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} does not fit: {reason}")]
pub struct Misfit {
    /// The entry.
    pub index: u64,
    /// Why.
    pub reason: String,
}

impl Run {
    /// The run with these entries.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, Misfit> {
        let mut run = Run::default();
        for entry in entries {
            run.apply(entry)?;
        }
        Ok(run)
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// When the event does not fit; the run is then unchanged.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Misfit> {
        let misfit = |reason: String| Misfit { index: entry.index, reason };
        if entry.index != self.length {
            return Err(misfit(format!("expected entry {}", self.length)));
        }
        if self.started.is_none() != matches!(entry.event, Event::Started(_)) {
            return Err(misfit("a run starts once, with its first entry".to_owned()));
        }
        // Before a claim and before a fork nobody drove the run.
        let driven = !matches!(entry.event, Event::Claimed(_) | Event::Forked(_));
        let active = driven && self.counts_as_active();
        self.take(entry).map_err(misfit)?;
        if active {
            self.tally.active += entry.at.since(self.now);
        }
        if self.length == 0 {
            self.created = entry.at;
        }
        self.now = self.now.max(entry.at);
        self.length += 1;
        Ok(())
    }

    /// How the run began; `None` before its first entry.
    pub fn started(&self) -> Option<&Started> {
        self.started.as_deref()
    }

    /// Entries so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The time of the first entry.
    pub fn created(&self) -> Time {
        self.created
    }

    /// The time of the newest entry.
    pub fn now(&self) -> Time {
        self.now
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The frozen tools; `None` before they were listed.
    pub fn tools(&self) -> Option<&ToolsListed> {
        self.tools.as_ref()
    }

    /// The tools that the servers were known to offer last, by the tool's own name.
    pub fn tool(&self, name: &ToolName) -> Option<&ToolDef> {
        self.tools.as_ref()?.tools.iter().find(|tool| tool.origin == *name)
    }

    /// The definition that a tool had before, while its calls wait until a person has seen the difference.
    pub fn held_tool(&self, name: &ToolName) -> Option<&ToolDef> {
        self.held_tools.get(name).map(|tool| &**tool)
    }

    /// How it ended; `None` while it goes on.
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// What it has used.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Who answered last; `None` before the first answer.
    pub fn answered_by(&self) -> Option<&Answered> {
        self.answered.as_ref()
    }

    /// The newest turn; 0 before the first.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// The rule that was set for a tool while the run goes on: the newest that speaks of it.
    pub fn policy_on(&self, tool: &ToolName) -> Option<&PolicyGiven> {
        if self.policies.is_empty() {
            return None;
        }
        let name = tool.to_string();
        let speaks = |given: &&PolicyGiven| match given.exact {
            true => given.pattern == name,
            false => glob(&given.pattern, &name),
        };
        self.policies.iter().rev().find(speaks)
    }

    /// Whether this inbox item was taken in already.
    pub fn has_taken(&self, inbox: &str) -> bool {
        self.inbox.contains(inbox)
    }

    /// One call of the run.
    pub fn call(&self, id: CallId) -> Option<&CallRecord> {
        self.answers().flat_map(|answer| &answer.calls).find(|call| call.id == id)
    }

    /// All calls of the run, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = &CallRecord> {
        self.answers().flat_map(|answer| &answer.calls)
    }

    /// How many answers of models the run has had.
    pub fn answers_had(&self) -> usize {
        self.answers().count()
    }

    /// How often the model's final answer was refused since the last input, and the last reason.
    pub fn output_rejected(&self) -> (u32, Option<&OutputRejected>) {
        (self.output_rejections, self.output_rejection.as_ref())
    }

    /// The id for the `nth` call (from zero) of an answer in `turn`.
    pub fn call_id(&self, turn: u32, nth: u32) -> CallId {
        let before = if turn == self.turn { self.turn_calls } else { 0 };
        CallId { turn, call: before + nth + 1 }
    }

    /// Where the run stands.
    pub fn status(&self) -> Status {
        self.end.as_ref().map_or_else(|| self.next().status(), Status::from)
    }

    /// Where the run stands, for listings: the name of its status, and behind it the kinds of what it waits for, also while
    /// something is in flight: `waiting approval doubt`.
    pub fn headline(&self) -> String {
        let Some(end) = &self.end else {
            let want = self.next();
            let mut words = vec![want.status().as_str()];
            for kind in want.waiting.iter().map(|wait| wait.kind().as_str()) {
                if !words.contains(&kind) {
                    words.push(kind);
                }
            }
            return words.join(" ");
        };
        Status::from(end).as_str().to_owned()
    }

    fn answers(&self) -> impl DoubleEndedIterator<Item = &Answer> {
        self.items.iter().filter_map(|item| match item {
            Item::Answer(answer) => Some(answer),
            _ => None,
        })
    }

    fn open_calls(&self) -> &[CallRecord] {
        self.answers().next_back().map_or(&[], |answer| &answer.calls)
    }

    fn open_calls_mut(&mut self) -> &mut [CallRecord] {
        let Some(answer) = self.answers_mut().next_back() else { return &mut [] };
        answer.shown.take();
        &mut answer.calls
    }

    fn answers_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Answer> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Answer(answer) => Some(answer),
            _ => None,
        })
    }

    /// What models were shown of all answers is to be made anew.
    fn forget_shown(&mut self) {
        self.answers_mut().for_each(|answer| drop(answer.shown.take()));
    }

    /// Whether something that we sent may still be answered.
    fn in_flight(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.live)
            || self.open_calls().iter().any(|call| matches!(&call.state, CallState::Started(sent) if sent.live))
    }

    /// Whether the time until the next entry counts as driven.
    fn counts_as_active(&self) -> bool {
        let waits = |call: &CallRecord| match &call.state {
            CallState::Lost(_) => call.on_doubt() == OnDoubt::Ask,
            CallState::Paused(_) => true,
            _ => call.may_still_work() || call.undecided(),
        };
        let idle = || self.wait.is_some() || self.open_calls().iter().any(waits);
        self.started.is_some() && self.end.is_none() && (self.in_flight() || !idle())
    }

    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        match &entry.event {
            Event::Started(started) => {
                self.limits = started.limits;
                self.started = Some(started.clone());
            }
            Event::Claimed(claimed) => self.claim(claimed.epoch)?,
            Event::InputGiven(given) => self.input(entry.index, given),
            Event::ToolsListed(listed) => {
                expect(self.tools.is_none(), "the tools are frozen")?;
                self.tools = Some(listed.clone());
                self.unlisted = false;
                self.forget_shown();
            }
            Event::ToolsChanged(changed) => self.change_tools(changed)?,
            Event::ModelAsked(asked) => self.ask(asked)?,
            Event::AttemptFailed(failed) => {
                let asked = self.asking.as_ref().is_some_and(|asking| asking.attempt == failed.attempt);
                expect(asked, "no such request is in flight")?;
                self.asking = None;
                self.spend(failed.usage.as_ref(), failed.cost, failed.usage.is_some());
                self.tally.estimated |= failed.estimated;
            }
            Event::ModelAnswered(answered) => {
                self.answered(answered)?;
                let cached = answered.usage.map_or(0, |usage| usage.cached.saturating_add(usage.cache_write));
                self.answered = Some(Answered { endpoint: answered.endpoint.as_str().into(), at: entry.at, cached });
            }
            Event::CallRejected(rejected) => {
                let call = self.open(rejected.call)?;
                expect(matches!(call.state, CallState::Ready), "a call that was sent cannot be rejected")?;
                call.state = CallState::Rejected(rejected.reason.clone());
            }
            Event::ToolStarted(started) => self.sent(started)?,
            Event::ToolFinished(finished) => {
                let call = self.open(finished.call)?;
                let (CallState::Started(sent) | CallState::Paused(sent)) = &call.state else {
                    return Err("the call was not sent".to_owned());
                };
                expect(call.attempts == finished.attempt, "another attempt of the call was sent")?;
                // A repeat that never went out says nothing about the sending that was lost before it.
                let still_lost = !finished.sent && call.attempts > 1 && doubt_key(call).is_some();
                let unused = if finished.sent || still_lost { None } else { unused(call) };
                call.state = match still_lost {
                    true => CallState::Lost(sent.clone()),
                    false => CallState::Finished(Box::new(Finished {
                        content: finished.content.clone(),
                        structured: finished.structured.clone(),
                        is_error: finished.is_error,
                        notes: finished.notes.clone(),
                    })),
                };
                self.unused.extend(unused);
            }
            Event::CallLost(lost) => {
                let call = self.open(lost.call)?;
                let (CallState::Started(sent) | CallState::Paused(sent)) = &call.state else {
                    return Err("the call was not sent".to_owned());
                };
                expect(call.attempts == lost.attempt, "another attempt of the call was sent")?;
                call.state = CallState::Lost(sent.clone());
                call.lost = Some(Box::new(lost.clone()));
            }
            Event::DoubtResolved(resolved) => self.resolve(resolved)?,
            Event::ToolPaused(paused) => {
                let call = self.open(paused.call)?;
                let CallState::Started(sent) = &call.state else { return Err("the call was not sent".to_owned()) };
                call.state = CallState::Paused(sent.clone());
            }
            Event::ApprovalAsked(asked) => {
                let call = self.open(asked.call)?;
                expect(matches!(call.state, CallState::Ready), "the call was decided already")?;
                let stands = |it: &ApprovalAsked| call.undecided() && it.reason == asked.reason;
                expect(!call.asked.as_ref().is_some_and(stands), "the question stands already")?;
                call.asked = Some(asked.clone());
                call.allowed = false;
            }
            Event::ApprovalGiven(given) => {
                let call = self.open(given.call)?;
                expect(call.takes(&given.decision), "nobody asked about the call")?;
                let mut made = 0;
                match &given.decision {
                    Decision::Allow => {
                        // Held again after an identical call fell into doubt, it was counted when it was first allowed.
                        let anew = call.asked.as_ref().is_some_and(|asked| asked.reason == ApprovalReason::Repaired);
                        made = if anew { call.repairs() } else { 0 };
                        call.allowed = true;
                    }
                    Decision::Edit(arguments) => {
                        call.allowed = true;
                        call.edited = Some(arguments.clone());
                    }
                    Decision::Deny(text) => {
                        let text = text.clone().unwrap_or_else(|| format!("{} refused this call", given.by));
                        call.state = CallState::Rejected(Rejection::Denied(text));
                    }
                }
                call.decided = Some(Box::new(given.clone()));
                let seen = call.allowed && call.asked.as_ref().is_some_and(|it| it.reason == ApprovalReason::Changed);
                let origin = call.resolved.as_ref().map(|resolved| resolved.origin.clone());
                let used = call_key(call);
                if let Some(origin) = origin.filter(|_| seen) {
                    self.held_tools.remove(&origin);
                }
                if let Some(used) = used {
                    self.unused.remove(&used);
                }
                self.tally.repairs += made;
                self.note_inbox(given.inbox.as_deref());
            }
            Event::PolicyGiven(policy) => {
                self.note_inbox(policy.inbox.as_deref());
                self.policies.push(policy.clone());
            }
            Event::CancelAsked(asked) => {
                self.note_inbox(asked.inbox.as_deref());
                if matches!(self.end, None | Some(End::Exhausted { .. })) {
                    self.end = None;
                    self.cancelled = Some(entry.index);
                }
            }
            Event::LimitsChanged(changed) => {
                self.note_inbox(changed.inbox.as_deref());
                self.limits = changed.limits;
                if matches!(self.end, Some(End::Exhausted { .. })) {
                    self.end = None;
                }
            }
            Event::Waiting(waiting) => {
                self.going_on()?;
                self.wait = Some(waiting.clone());
            }
            Event::Woken(woken) => {
                // The timer may have been set for something else.
                let now = entry.at.max(self.now);
                let due = |wait: &Waiting| wait.until.is_some_and(|until| until <= now);
                if woken.by != "timer" || self.wait.as_ref().is_some_and(due) {
                    self.wait = None;
                }
                // Whether the budget pays for more is seen when it is asked again.
                if woken.by != "timer" && matches!(self.end, Some(End::Exhausted { limit: Limit::Budget, .. })) {
                    self.end = None;
                }
            }
            Event::OutputRejected(rejected) => {
                self.going_on()?;
                self.refuse(rejected)?;
            }
            Event::Compacted(compacted) => {
                self.elided.extend(&compacted.elided);
                self.text_bytes_max = [self.text_bytes_max, compacted.text_bytes_max].into_iter().flatten().min();
                self.forget_shown();
                if let Some(summary) = &compacted.summary {
                    self.summary = Some((compacted.through, summary.clone()));
                }
            }
            Event::Rebound(rebound) => {
                if let Some(started) = &mut self.started {
                    started.definition = rebound.definition.clone();
                    if let Some(model) = &rebound.model {
                        started.model = model.clone();
                    }
                }
                self.tools = None;
                self.held_tools.clear();
                self.forget_shown();
            }
            Event::Forked(_) => {
                // The copy is another run, whose epochs begin anew.
                self.epoch = 0;
                self.interrupt();
            }
            Event::Noted(noted) => self.note_inbox(noted.inbox.as_deref()),
            Event::Ended(ended) => {
                self.going_on()?;
                expect(!self.in_flight(), "something is still in flight")?;
                self.end = Some(ended.end.clone());
                if ended.end == End::Cancelled {
                    self.abandon();
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, epoch: u64) -> Result<(), String> {
        expect(epoch > self.epoch, "an epoch never goes back")?;
        self.epoch = epoch;
        self.wait = None;
        self.interrupt();
        Ok(())
    }

    /// Nobody listens any more for what was in flight.
    fn interrupt(&mut self) {
        if let Some(asking) = &mut self.asking {
            asking.live = false;
        }
        for call in self.open_calls_mut() {
            if let CallState::Started(sent) | CallState::Paused(sent) = &mut call.state {
                sent.live = false;
            }
        }
    }

    /// The calls of a cancelled run get their last word, so that a later input finds every call answered.
    fn abandon(&mut self) {
        let mut unknown = Vec::new();
        for call in self.open_calls_mut().iter_mut().filter(|call| !call.state.settled()) {
            call.state = match call.state {
                CallState::Ready => CallState::NotSent,
                _ => {
                    unknown.extend(doubt_key(call));
                    CallState::Unknown
                }
            };
        }
        self.doubted.extend(unknown);
        // What was said after the cancel goes on from here.
        if matches!(self.items.last(), Some(Item::Input { index, .. }) if Some(*index) > self.cancelled) {
            self.end = None;
        }
        self.cancelled = None;
    }

    /// Takes over what the servers list now.
    fn change_tools(&mut self, changed: &ToolsChanged) -> Result<(), String> {
        let Some(listed) = &self.tools else { return Err("no tools were listed yet".to_owned()) };
        let mut tools = listed.tools.to_vec();
        let known = |name: &ToolName| listed.tools.iter().any(|tool| tool.origin == *name);
        let mut named = changed.gone.iter().chain(changed.changed.iter().map(|change| &change.tool.origin));
        expect(named.all(known), "a tool that changed was not there")?;
        tools.retain(|tool| !changed.gone.contains(&tool.origin));
        for ToolChange { tool: new, held } in &changed.changed {
            let Some(tool) = tools.iter_mut().find(|tool| tool.origin == new.origin) else { continue };
            let old = std::mem::replace(tool, new.clone());
            if *held {
                // What a person has last seen stays what the difference is told against.
                self.held_tools.entry(new.origin.clone()).or_insert_with(|| Arc::new(old));
            }
        }
        tools.extend(changed.added.iter().cloned());
        // Who saw the difference before has not seen this one.
        let held = |name: &ToolName| changed.changed.iter().any(|change| change.held && change.tool.origin == *name);
        for call in self.open_calls_mut().iter_mut().filter(|call| matches!(call.state, CallState::Ready)) {
            let seen = call.asked.as_ref().is_some_and(|asked| asked.reason == ApprovalReason::Changed);
            if seen && call.resolved.as_ref().is_some_and(|resolved| held(&resolved.origin)) {
                (call.asked, call.allowed) = (None, false);
            }
        }
        self.held_tools.retain(|name, _| !changed.gone.contains(name));
        let ToolsChanged { hash, warnings, missing, .. } = changed.clone();
        self.tools = Some(ToolsListed { hash, tools: tools.into(), warnings, missing });
        self.unlisted = false;
        self.forget_shown();
        Ok(())
    }

    fn input(&mut self, index: u64, given: &InputGiven) {
        self.note_inbox(given.inbox.as_deref());
        if given.stopped && self.end.is_none() {
            for call in self.open_calls_mut().iter_mut().filter(|call| matches!(call.state, CallState::Ready)) {
                call.state = CallState::Withdrawn;
            }
            self.items.push(Item::Notice(render::stopped()));
        }
        self.unlisted = self.tools.is_some();
        // What was allowed was meant for what had been said until then.
        self.unused.clear();
        self.items.push(Item::Input { index, message: render::user(given.parts.clone()) });
        self.end = None;
        self.wait = None;
        self.output_rejections = 0;
        self.output_rejection = None;
    }

    fn ask(&mut self, asked: &ModelAsked) -> Result<(), String> {
        self.going_on()?;
        expect(self.cancelled.is_none(), "the run is being cancelled")?;
        expect(self.asking.is_none(), "a request is in flight already")?;
        expect(self.open_calls().iter().all(|call| call.state.settled()), "earlier calls are still open")?;
        expect(u64::from(asked.attempt) == self.tally.attempts + 1, "an attempt was skipped")?;
        expect(asked.turn == self.turn.max(1) || asked.turn == self.turn + 1, "a turn was skipped")?;
        self.tally.attempts += 1;
        self.unlisted = false;
        self.asking = Some(Asking {
            turn: asked.turn,
            purpose: asked.purpose,
            attempt: asked.attempt,
            endpoint: asked.endpoint.clone(),
            tokens: asked.tokens,
            presumed: asked.presumed,
            live: true,
        });
        Ok(())
    }

    fn answered(&mut self, answered: &ModelAnswered) -> Result<(), String> {
        self.going_on()?;
        let asked = |asking: &Asking| {
            asking.live
                && (asking.attempt, asking.turn, asking.purpose) == (answered.attempt, answered.turn, answered.purpose)
        };
        expect(self.asking.as_ref().is_some_and(asked), "no such request is in flight")?;
        let calls = self.records(answered)?;
        self.asking = None;
        self.spend(answered.usage.as_ref(), answered.cost, true);
        if answered.purpose == Purpose::Compact {
            return Ok(());
        }
        if answered.turn != self.turn {
            self.turn = answered.turn;
            self.turn_calls = 0;
            self.tally.turns += 1;
        }
        self.turn_calls += calls.len() as u32;
        self.tally.repairs += calls.iter().filter(|call| !call.beyond_policy()).map(CallRecord::repairs).sum::<u64>();
        self.tally.repairs += answered.output_repairs.len() as u64;
        let answer = Item::Answer(Answer {
            turn: answered.turn,
            parts: answered.parts.iter().map(said).collect(),
            calls,
            output: answered.output.clone(),
            refused: false,
            in_text: false,
            paused: answered.finish == Finish::Paused && answered.calls.is_empty(),
            shown: OnceLock::new(),
        });
        // Input that came while the model answered stands behind the answer that has not seen it.
        let unseen = |item: &Item| matches!(item, Item::Input { index, .. } if *index >= answered.seen);
        let place = self.items.iter().rposition(|item| !unseen(item)).map_or(0, |last| last + 1);
        self.items.insert(place, answer);
        Ok(())
    }

    /// The calls of an answer, as they begin.
    fn records(&self, answered: &ModelAnswered) -> Result<Vec<CallRecord>, String> {
        let written: Vec<_> = answered
            .parts
            .iter()
            .filter_map(|part| match part {
                AnswerPart::Call(call) => Some(call),
                _ => None,
            })
            .collect();
        expect(written.len() == answered.calls.len(), "calls and their parts differ in number")?;
        let cut = answered.finish == Finish::Length || written.iter().any(|call| !call.complete);
        // Kept as long as the run, and large: no more room than they need, which collecting results would make.
        let mut records = Vec::with_capacity(written.len());
        for (nth, (written, call)) in (0..).zip(written.into_iter().zip(&answered.calls)) {
            expect(call.id == self.call_id(answered.turn, nth), "a call has the wrong id")?;
            expect(!cut || call.resolved.is_none(), "no call of an answer that was cut can be valid")?;
            records.push(CallRecord {
                id: call.id,
                written: written.clone(),
                resolved: call.resolved.clone(),
                edited: None,
                attempts: 0,
                asked: None,
                allowed: false,
                decided: None,
                lost: None,
                state: CallState::Ready,
            });
        }
        Ok(records)
    }

    fn refuse(&mut self, rejected: &OutputRejected) -> Result<(), String> {
        let newest = self.items.iter_mut().enumerate().rev().find_map(|(place, item)| match item {
            Item::Answer(answer) => Some((place, answer)),
            _ => None,
        });
        let Some((place, answer)) = newest else { return Err("no model answered yet".to_owned()) };
        let open = answer.turn == rejected.turn && answer.output.is_none() && !answer.refused;
        expect(open, "the newest answer is not open to that")?;
        answer.refused = true;
        // An answer with a call that could not be taken is no final answer, and counts as one without a valid call.
        let is_call = rejected.code == LEFT_IN_TEXT && answer.calls.is_empty();
        answer.in_text = is_call;
        // A rejected call tells the model by its result; text needs a word of ours.
        if answer.calls.is_empty() {
            self.items.insert(place + 1, Item::Notice(render::notice(rejected.diagnosis.as_str())));
        }
        if is_call {
            return Ok(());
        }
        self.output_rejections += 1;
        self.output_rejection = Some(rejected.clone());
        Ok(())
    }

    fn sent(&mut self, started: &ToolStarted) -> Result<(), String> {
        self.going_on()?;
        expect(self.cancelled.is_none(), "the run is being cancelled")?;
        let call = self.open(started.call)?;
        expect(call.resolved.is_some(), "a call that is not valid cannot be sent")?;
        let again = matches!(call.state, CallState::Lost(_) | CallState::Again(_));
        expect(again || matches!(call.state, CallState::Ready), "the call was sent already")?;
        expect(!call.undecided(), "the call waits for a person")?;
        expect(started.attempt == call.attempts + 1, "an attempt was skipped")?;
        call.attempts = started.attempt;
        call.state = CallState::Started(Sent { deadline: started.deadline, guard: started.guard.clone(), live: true });
        if started.attempt == 1 {
            self.tally.tool_calls += 1;
        }
        Ok(())
    }

    fn resolve(&mut self, resolved: &DoubtResolved) -> Result<(), String> {
        let call = self.open(resolved.call)?;
        let CallState::Lost(sent) = &call.state else { return Err("the call is in no doubt".to_owned()) };
        call.state = match &resolved.resolution {
            Resolution::Told => CallState::Unknown,
            Resolution::Happened(result) => CallState::Happened(result.clone()),
            Resolution::DidNot => CallState::DidNot,
            Resolution::Retry => CallState::Again(sent.clone()),
        };
        // A repeat of what changes nothing more needs nobody's word.
        if resolved.resolution == Resolution::Told && !call.is_repeatable() {
            let key = doubt_key(call);
            self.doubted.extend(key);
        }
        self.note_inbox(resolved.inbox.as_deref());
        Ok(())
    }

    fn spend(&mut self, usage: Option<&crate::chat::Usage>, cost: Option<NanoDollars>, priced: bool) {
        if let Some(usage) = usage {
            self.tally.usage += *usage;
        }
        match cost {
            Some(cost) => self.tally.cost.0 = self.tally.cost.0.saturating_add(cost.0),
            None => self.tally.cost_unknown |= priced,
        }
    }

    fn note_inbox(&mut self, inbox: Option<&str>) {
        self.inbox.extend(inbox.map(str::to_owned));
    }

    fn going_on(&self) -> Result<(), String> {
        expect(self.end.is_none(), "the run has ended")
    }

    fn open(&mut self, id: CallId) -> Result<&mut CallRecord, String> {
        self.open_calls_mut().iter_mut().find(|call| call.id == id).ok_or_else(|| format!("{id} is no open call"))
    }
}

/// A piece of an answer as the state keeps it: calls have records of their own.
fn said(part: &AnswerPart) -> Option<Part> {
    match part {
        AnswerPart::Text(text) => Some(Part::Text(text.clone())),
        AnswerPart::Reasoning(reasoning) => Some(Part::Reasoning(reasoning.clone())),
        AnswerPart::Opaque(opaque) => Some(Part::Opaque(opaque.clone())),
        AnswerPart::Call(_) => None,
    }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// The word of a person that a call was allowed by, while it was not sent.
fn unused(call: &CallRecord) -> Option<((ToolName, String), String)> {
    let given = call.decided.as_ref().filter(|given| call.allowed && ![EXPIRY, "policy"].contains(&&*given.by))?;
    call_key(call).map(|key| (key, given.by.clone()))
}

/// What makes two calls the same: the tool and the arguments, whatever their spelling. `None` for a call without
/// consequences.
fn doubt_key(call: &CallRecord) -> Option<(ToolName, String)> {
    call_key(call).filter(|_| call.resolved.as_ref().is_some_and(|it| it.effect != crate::chat::Effect::Read))
}

/// The same for any valid call.
fn call_key(call: &CallRecord) -> Option<(ToolName, String)> {
    let origin = call.resolved.as_ref()?.origin.clone();
    Some((origin, crate::repair::canonical(call.arguments())))
}
