//! The loop of one run.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{self, Sleep},
};

use super::{
    Error, Left, Options, Seen, Stop, World, inbox, judge,
    lift::{self, Lifted},
    lists,
};
use crate::{
    agent::Unattended,
    bulkhead, chaos,
    chat::{CallId, Choice, Draft, Effect, Hold, Message, OutputFormat, Part, Request, ToolDef, Usage, WrittenCall},
    journal::Journal,
    mcp::{self, GuardId, Lost, Outcome, Prepared},
    provider::{Class, Delta, Failure, Means, estimate_tokens, written_tokens},
    repair::{Schema, ToolSet, text::Author},
    router::{self, Attempt, Conversation, Reply},
    run::{
        ApprovalGiven, ApprovalReason, Ask, AttemptFailed, CallLost, CallState, CallWant, Decision, End, Ended, Entry,
        Event, FINAL_ANSWER, LEFT_IN_TEXT, Limit, ModelAsked, NanoDollars, Noted, OnDoubt, Run, RunId, Sent,
        ToolFinished, ToolStarted, Wait, WaitKind, Waiting, Want, Woken,
    },
    store::BoxFuture,
};

/// Happenings that may wait for the loop. Senders wait when it is full, so a slow disk slows the streams down.
const HAPPENINGS_MAX: usize = 256;

/// How long an entry that nothing awaits may stay in memory.
const LAZY_COMMIT: Duration = Duration::from_millis(50);

/// How often a server that must be gone is looked at again.
const GONE_POLL: Duration = Duration::from_millis(100);

/// The code of a note that something was left out of a request: a target that cannot be used, a tool that is refused.
pub const LEFT_OUT: &str = "left_out";

/// How often a full disk is looked at again.
const STORE_WAIT: Duration = Duration::from_secs(10);

/// First and longest pause while no provider can be reached; doubled each time.
const PROVIDER_WAIT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Most such pauses in a row, which are about two hours: then the run stops, and can be resumed.
const PROVIDER_WAITS_MAX: u32 = 30;

/// Pause after answers that cannot be read, and most such pauses in a row: a server in trouble gets better soon, and what a
/// model writes wrong every time does not.
const MALFORMED_WAIT: Duration = Duration::from_secs(2);
const MALFORMED_WAITS_MAX: u32 = 2;

/// Something that a task of ours tells the loop. Small, as a channel takes room for 32 of them from the start.
enum Happening {
    /// A preview; dropped when the loop is busy.
    Text(String),
    /// As lossy as a preview.
    Progress(CallId, Box<mcp::Progress>),
    /// A call came back.
    Called(Box<Called>),
}

struct Called {
    call: CallId,
    attempt: u32,
    outcome: Outcome,
    latency: Duration,
}

/// What becomes of a request to a model, in order. Small, as [`Happening`] is.
enum News {
    Sent(Box<Asked>),
    /// Nothing is sent for so many milliseconds.
    Paused(u32),
    Failed(Box<Failed>),
    /// Something is left out of what is sent; in words.
    LeftOut(Box<str>),
    Answered(Box<Reply>),
    GaveUp(Box<Failure>),
}

/// An attempt that is being made.
struct Asked {
    /// Who is asked.
    endpoint: Arc<str>,
    /// What it may cost.
    presumed: Option<NanoDollars>,
    /// What makes the model call a tool.
    means: Means,
}

/// An attempt that brought no answer.
struct Failed {
    failure: Failure,
    cost: Option<NanoDollars>,
    latency: Duration,
}

struct Asking {
    ask: Ask,
    /// Entries that the request was made from.
    seen: u64,
    /// Tokens of the request, estimated.
    tokens: u64,
    /// The attempt in flight; 0 while there is none.
    attempt: u32,
    /// Who was asked by it.
    endpoint: Arc<str>,
    /// What it is presumed to cost.
    presumed: Option<NanoDollars>,
    /// Bytes of the answer that have come by it so far.
    written: Arc<AtomicU64>,
    sent_at: Instant,
    news: mpsc::Receiver<News>,
    task: AbortHandle,
}

struct Calling {
    attempt: u32,
    task: AbortHandle,
    /// What will be recorded of it once its server has certainly stopped working on it. `None` while it may be answered.
    lost: Option<CallLost>,
}

pub(super) struct Drive<'a> {
    world: World,
    run: &'a mut Run,
    journal: &'a mut Journal,
    options: Options,
    stop: watch::Receiver<Stop>,
    seen: &'a mut (dyn FnMut(Seen<'_>) + Send),
    /// What requests offer, their schemas compiled.
    tools: ToolSet,
    /// The form of the final answer.
    output: Option<Schema>,
    /// What requests offer.
    offered: Arc<[ToolDef]>,
    /// What was written of the conversation so far.
    draft: Draft,
    /// Whether the tools were listed since the run was last told something.
    is_listed: bool,
    /// How many requests had been sent when the tools were last listed again.
    listed_for: Option<u64>,
    /// Calls that found their tool changed when they were to be sent, so that the tools were listed again. Once each: a tool
    /// may be another one with every start of its server.
    relisted: HashSet<CallId>,
    asking: Option<Asking>,
    calling: HashMap<CallId, Calling>,
    happened: mpsc::Receiver<Happening>,
    tell: mpsc::Sender<Happening>,
    /// Entries that followers have not seen as durable.
    unseen: VecDeque<Arc<Entry>>,
    /// How often in a row no provider could be reached, and how often all answers were malformed.
    provider_waits: u32,
    /// What was said to be left out of requests.
    left_out: BTreeSet<Box<str>>,
    malformed_waits: u32,
}

/// The tasks of a drive end with it.
impl Drop for Drive<'_> {
    fn drop(&mut self) {
        self.asking.iter().for_each(|asking| asking.task.abort());
        self.calling.values().for_each(|calling| calling.task.abort());
    }
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        world: World,
        run: &'a mut Run,
        journal: &'a mut Journal,
        begun: Vec<Arc<Entry>>,
        options: Options,
        stop: watch::Receiver<Stop>,
        seen: &'a mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Self {
        let (tell, happened) = mpsc::channel(HAPPENINGS_MAX);
        let schema = run.started().and_then(|started| started.output_schema.as_deref());
        // It was checked when the agent file was.
        let output = schema.and_then(|schema| Schema::compile(&Arc::new(serde_json::from_str(schema).ok()?)).ok());
        begun.iter().for_each(|entry| seen(Seen::Applied(entry)));
        let mut drive = Drive {
            world,
            run,
            journal,
            options,
            stop,
            seen,
            tools: ToolSet::new(Arc::from([])).0,
            output,
            offered: Arc::from([]),
            draft: Draft::default(),
            is_listed: false,
            listed_for: None,
            relisted: HashSet::new(),
            asking: None,
            calling: HashMap::new(),
            happened,
            tell,
            unseen: begun.into(),
            provider_waits: 0,
            left_out: BTreeSet::new(),
            malformed_waits: 0,
        };
        drive.freeze_tools();
        drive
    }

    pub(super) async fn go(mut self) -> Result<Left, Error> {
        let mut posted = self.journal.changed();
        let mut stoppable = true;
        let mut alarm = Alarm::unset();
        let mut commit_by = None;
        self.take_inbox().await?;
        loop {
            let want = self.run.next();
            if !want.record.is_empty() {
                for event in want.record {
                    self.push(event)?;
                }
                continue;
            }
            if self.record_lost(&want)? {
                continue;
            }
            // What ended in that may have changed what is wanted.
            if self.abort_unwanted(&want)? {
                continue;
            }
            if self.run.end().is_some() {
                return self.leave(Left::Ended).await;
            }
            let stop = *self.stop.borrow_and_update();
            if stop != Stop::No && (stop == Stop::Now || self.calling.values().all(|calling| calling.lost.is_some())) {
                // Whoever drives the run next waits until these are over.
                self.calling.retain(|_, calling| calling.lost.is_none());
                self.abort_unwanted(&Want::default())?;
                return self.leave(Left::Stopped).await;
            }
            if stop == Stop::No {
                if self.decide_unattended(&want.waiting)? {
                    continue;
                }
                if want.list_tools {
                    self.list_tools(&mut posted).await?;
                    continue;
                }
                if self.start_calls(&want, &mut posted).await? {
                    continue;
                }
                if let Some(ask) = want.ask.filter(|_| self.asking.is_none()) {
                    let asked = self.run.tally().attempts;
                    let new = self.listed_for != Some(asked) && self.world.host.changed();
                    if want.list_again && !self.is_listed || new {
                        // Once for each request: a server may say at every listing that it has changed.
                        self.listed_for = Some(asked);
                        let before = self.run.length();
                        match self.list_again(&mut posted, |want| want.ask.is_some()).await {
                            Err(error @ Error::Tools(_)) => {
                                self.commit().await?;
                                return Err(error);
                            }
                            other => other?,
                        }
                        if self.run.length() > before || !self.is_listed {
                            continue;
                        }
                    }
                    if self.wait_for_room()? {
                        continue;
                    }
                    self.start_ask(ask)?;
                }
                if want.is_idle() && want.lost.is_empty() && self.cannot_help(&want.waiting) {
                    return self.leave(Left::Waiting(want.waiting)).await;
                }
            }
            // A call whose lost predecessor is not certainly over is looked at again, and so is one that was lost itself.
            let unsure = want.calls.iter().any(|call| !call.started)
                || !want.lost.is_empty()
                || self.calling.values().any(|calling| calling.lost.is_some());
            let look_again = unsure.then(|| after(GONE_POLL));
            let due = want.until.map(|until| after(until.since(self.world.clock.now())));
            commit_by = self.journal.queued().then(|| commit_by.unwrap_or_else(|| after(LAZY_COMMIT)));
            let ring = [look_again, due, commit_by].into_iter().flatten().min();
            tokio::select! {
                news = news(&mut self.asking) => self.take_news(news)?,
                happening = self.happened.recv() => {
                    if let Some(happening) = happening {
                        self.take(happening)?;
                    }
                    // What else came back meanwhile shares the next commit.
                    while let Ok(happening) = self.happened.try_recv() {
                        self.take(happening)?;
                    }
                }
                () = &mut posted => {
                    posted = self.journal.changed();
                    self.take_inbox().await?;
                }
                changed = self.stop.changed(), if stoppable => stoppable = changed.is_ok(),
                () = alarm.ring(ring) => {
                    let passed = |time: Option<time::Instant>| time.is_some_and(|time| time <= time::Instant::now());
                    if passed(due) {
                        self.push(Event::Woken(Woken { by: "timer".to_owned() }))?;
                    }
                    if passed(commit_by) {
                        commit_by = None;
                        self.start_commit();
                    }
                }
                landed = self.journal.landed() => landed?,
            }
            self.publish();
        }
    }

    /// Queues and applies one event.
    fn push(&mut self, event: Event) -> Result<(), Error> {
        let entry = self.journal.push(self.world.clock.now().max(self.run.now()), event)?;
        self.run.apply(&entry)?;
        self.is_listed &= !matches!(entry.event, Event::InputGiven(_));
        (self.seen)(Seen::Applied(&entry));
        self.unseen.push_back(entry);
        Ok(())
    }

    /// Makes everything so far durable, and waits for it.
    async fn commit(&mut self) -> Result<(), Error> {
        super::start_commit(self.run, self.journal);
        self.journal.commit().await?;
        self.publish();
        Ok(())
    }

    /// Starts to make everything so far durable.
    fn start_commit(&mut self) {
        super::start_commit(self.run, self.journal);
    }

    fn publish(&mut self) {
        let durable = self.journal.durable();
        let known = self.unseen.iter().take_while(|entry| entry.index < durable).count();
        for entry in self.unseen.drain(..known) {
            (self.seen)(Seen::Durable(&entry));
        }
    }

    async fn leave(&mut self, left: Left) -> Result<Left, Error> {
        self.commit().await?;
        Ok(left)
    }

    /// Ends what is in flight and should not be; `true` when something was recorded.
    fn abort_unwanted(&mut self, want: &Want) -> Result<bool, Error> {
        let before = self.run.length();
        if want.ask.is_none()
            && let Some(asking) = self.asking.take()
        {
            asking.task.abort();
            if asking.attempt > 0 {
                self.push(Event::AttemptFailed(AttemptFailed {
                    attempt: asking.attempt,
                    endpoint: asking.endpoint.to_string(),
                    class: "interrupted".to_owned(),
                    message: "the request was no longer wanted".to_owned(),
                    latency: asking.sent_at.elapsed(),
                    discarded: String::new(),
                    // It may be answered all the same, and be paid for; what has come of it was written for sure.
                    usage: Some(Usage {
                        input: asking.tokens,
                        output: written_tokens(asking.written.load(Ordering::Relaxed)),
                        ..Usage::default()
                    }),
                    cost: asking.presumed,
                    estimated: true,
                }))?;
            }
        }
        let wanted = |id: &CallId| want.calls.iter().any(|call| call.call == *id && call.started);
        let mut gone: Vec<_> = self.calling.keys().copied().filter(|id| !wanted(id)).collect();
        gone.sort();
        for call in gone {
            if let Some(Calling { attempt, task, lost }) = self.calling.remove(&call) {
                task.abort();
                let evidence = "it was cancelled after it had been sent".to_owned();
                let cancelled = CallLost { call, attempt, evidence, timed_out: false };
                self.push(Event::CallLost(lost.unwrap_or(cancelled)))?;
            }
        }
        Ok(self.run.length() > before)
    }

    /// Decides what would ask, where the agent file says how while nobody attends; `true` when something was decided.
    fn decide_unattended(&mut self, waiting: &[Wait]) -> Result<bool, Error> {
        let unattended = self.world.agent.approvals.unattended;
        if self.options.attended || unattended == Unattended::Wait {
            return Ok(false);
        }
        let decided = waiting.iter().filter_map(|wait| {
            let call = wait.decides()?;
            let record = self.run.call(call)?;
            let reason = record.asked.as_ref()?.reason;
            let decision = match unattended {
                Unattended::Deny => Decision::Deny(Some("nobody is there who could allow this call".to_owned())),
                // Nobody but a person may repeat a doubt, or allow what may have to be refused.
                Unattended::Allow if reason == ApprovalReason::Policy => Decision::Allow,
                Unattended::Allow | Unattended::Wait => return None,
            };
            let shown = record.arguments().clone();
            Some(ApprovalGiven { call, inbox: None, by: "policy".to_owned(), decision, shown })
        });
        let decided: Vec<_> = decided.collect();
        let some = !decided.is_empty();
        decided.into_iter().try_for_each(|given| self.push(Event::ApprovalGiven(given)))?;
        Ok(some)
    }

    /// Whether nothing that the run waits for can come while this process stays.
    fn cannot_help(&self, waiting: &[Wait]) -> bool {
        waiting.iter().all(|wait| match wait {
            Wait::Approval(_) | Wait::Change(_) | Wait::Doubt(_) | Wait::Input(_) => !self.options.attended,
            Wait::Other(wait) => wait.until.is_none() || self.options.no_wait,
        })
    }

    /// Waits for something that takes as long as servers take to start, and takes in meanwhile what the run is told. `None`
    /// when it is to stop, or nothing of this is `wanted` any more.
    async fn attend<T>(
        &mut self,
        work: impl Future<Output = T>,
        posted: &mut BoxFuture<()>,
        wanted: impl Fn(&Want) -> bool,
    ) -> Result<Option<T>, Error> {
        tokio::pin!(work);
        loop {
            let stop = &mut self.stop;
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                Ok(()) = async { stop.wait_for(|stop| *stop != Stop::No).await.map(drop) } => return Ok(None),
                () = &mut *posted => {
                    *posted = self.journal.changed();
                    self.take_inbox().await?;
                    self.start_commit();
                    if !wanted(&self.run.next()) {
                        return Ok(None);
                    }
                }
                landed = self.journal.landed() => landed?,
            }
            self.publish();
        }
    }

    async fn list_tools(&mut self, posted: &mut BoxFuture<()>) -> Result<(), Error> {
        let host = self.world.host.clone();
        let listing = match self.attend(host.list(), posted, |want| want.list_tools).await? {
            None => return Ok(()),
            Some(Ok(listing)) => listing,
            Some(Err(error)) => {
                self.commit().await?;
                return Err(error.into());
            }
        };
        let listed = lists::listed(listing, &self.world.agent, &self.world.left_out);
        self.push(Event::ToolsListed(listed))?;
        self.freeze_tools();
        self.is_listed = true;
        Ok(())
    }

    /// Lists the tools again and journals what is new about them. `wanted` tells whether that still matters when the run is told
    /// something meanwhile.
    ///
    /// # Errors
    /// [`Error::Tools`] when a required server does not start; nothing is recorded then.
    async fn list_again(&mut self, posted: &mut BoxFuture<()>, wanted: impl Fn(&Want) -> bool) -> Result<(), Error> {
        let host = self.world.host.clone();
        let Some(listing) = self.attend(host.list(), posted, wanted).await? else { return Ok(()) };
        let now = lists::listed(listing?, &self.world.agent, &self.world.left_out);
        self.is_listed = true;
        let Some(changed) = self.run.tools().and_then(|known| lists::changes(known, now)) else { return Ok(()) };
        self.push(Event::ToolsChanged(changed.clone()))?;
        self.freeze_tools();
        for rejected in lists::overtaken(self.run, &self.tools, &changed) {
            self.push(rejected)?;
        }
        Ok(())
    }

    /// Compiles what the run has frozen.
    fn freeze_tools(&mut self) {
        let tools = self.run.tools().map(|listed| listed.tools.clone()).unwrap_or_default();
        self.offered = judge::offer(tools, self.output.as_ref());
        // What is odd about a schema was told when the tools were listed.
        (self.tools, _) = ToolSet::new(self.offered.clone());
    }

    /// Sends the calls that are due, all in one append; `true` when something was recorded.
    async fn start_calls(&mut self, want: &Want, posted: &mut BoxFuture<()>) -> Result<bool, Error> {
        let mut due = Vec::new();
        for wanted in want.calls.iter().filter(|wanted| !wanted.started) {
            let over = wanted.after.as_ref().is_none_or(|sent| self.certainly_over(sent));
            if let Some(call) = self.run.call(wanted.call).and_then(|call| call.resolved.as_ref()).filter(|_| over) {
                due.push((wanted.clone(), self.run.tool(&call.origin).cloned()));
            }
        }
        if due.is_empty() {
            return Ok(false);
        }
        let host = self.world.host.clone();
        let preparing = join_all(due.iter().map(|(_, tool)| async {
            match tool {
                Some(tool) => host.prepare(tool).await.map_err(|error| (error.to_string(), error.is_change())),
                None => Err(("this run knows no such tool any more".to_owned(), false)),
            }
        }));
        let still = |want: &Want| due.iter().all(|(due, _)| want.calls.iter().any(|call| call.call == due.call));
        let Some(prepared) = self.attend(preparing, posted, &still).await? else { return Ok(true) };
        // What was never sent is looked at under the new definition, before an approval is used up by it.
        let changed = due.iter().zip(&prepared).filter_map(|((wanted, _), prepared)| {
            let changed = matches!(prepared, Err((_, true))) && wanted.attempt == 1;
            changed.then_some(wanted.call)
        });
        let changed: Vec<CallId> = changed.filter(|call| !self.relisted.contains(call)).collect();
        if !changed.is_empty() {
            self.relisted.extend(changed);
            match self.list_again(posted, still).await {
                // The call is told when it is prepared again.
                Err(Error::Tools(_)) => {}
                other => other?,
            }
            return Ok(true);
        }
        let mut sending = Vec::new();
        for ((wanted, _), prepared) in due.into_iter().zip(prepared) {
            let guard = prepared.as_ref().ok().and_then(|prepared| prepared.guard());
            let Some(call) = self.start_call(&wanted, guard)? else { continue };
            sending.push((wanted, call, prepared));
        }
        self.commit().await?;
        for (wanted, call, prepared) in sending {
            match prepared {
                Ok(prepared) => self.send(&wanted, call, prepared),
                Err((why, _)) => self.push(never_sent(wanted.call, wanted.attempt, why))?,
            }
        }
        Ok(true)
    }

    /// Journals that a call is about to be sent.
    fn start_call(&mut self, wanted: &CallWant, guard: Option<GuardId>) -> Result<Option<mcp::Call>, Error> {
        let Some(record) = self.run.call(wanted.call) else { return Ok(None) };
        let Some(resolved) = &record.resolved else { return Ok(None) };
        chaos::fault("tool.start");
        let call = mcp::Call {
            tool: resolved.origin.clone(),
            arguments: record.arguments().clone(),
            idempotency_key: idempotency_key(self.journal.run(), wanted.call),
            idle: record.longer().unwrap_or(resolved.idle),
            total: resolved.total.max(record.longer().unwrap_or_default()),
            certain: record.on_doubt() != OnDoubt::Tell && resolved.effect != Effect::Read,
        };
        let started = ToolStarted {
            call: wanted.call,
            attempt: wanted.attempt,
            idempotency_key: call.idempotency_key.clone(),
            effect: resolved.effect,
            arguments: record.edited.clone(),
            deadline: self.world.clock.now().after(call.total + mcp::ENDING),
            guard: guard.map(|guard| guard.0),
            origin: crate::run::Origin::Model,
        };
        self.push(Event::ToolStarted(started))?;
        Ok(Some(call))
    }

    fn send(&mut self, wanted: &CallWant, call: mcp::Call, prepared: Box<dyn Prepared>) {
        let tell = self.tell.clone();
        let (id, attempt) = (wanted.call, wanted.attempt);
        let task = tokio::spawn(async move {
            chaos::point("tool.send");
            let begun = Instant::now();
            let mut progress = |progress| drop(tell.try_send(Happening::Progress(id, Box::new(progress))));
            let answered = async {
                chaos::fault("tool.send");
                prepared.call(call, &mut progress).await
            };
            let outcome = bulkhead::caught(answered).await.unwrap_or_else(|panicked| {
                // It may have been sent, and without an outcome the run would wait for ever.
                let why = format!("agentd failed while it waited for the answer: {panicked}");
                Outcome::Lost(mcp::Lost { why, timed_out: false, over: false })
            });
            chaos::point("tool.answered");
            let called = Box::new(Called { call: id, attempt, outcome, latency: begun.elapsed() });
            // The loop is gone only when nobody wants the outcome any more.
            let _ = tell.send(Happening::Called(called)).await;
        });
        self.calling.insert(id, Calling { attempt, task: task.abort_handle(), lost: None });
    }

    /// Records the calls that were lost and are certainly over by now; `true` when there was one.
    fn record_lost(&mut self, want: &Want) -> Result<bool, Error> {
        let over = |lost: &&CallLost| match self.run.call(lost.call).map(|call| &call.state) {
            Some(CallState::Started(sent)) => self.certainly_over(sent),
            _ => true,
        };
        let held = self.calling.values().filter_map(|calling| calling.lost.as_ref());
        let mut over: Vec<_> = want.lost.iter().chain(held).filter(over).cloned().collect();
        over.sort_by_key(|lost| lost.call);
        let some = !over.is_empty();
        for lost in over {
            self.calling.remove(&lost.call);
            self.push(Event::CallLost(lost))?;
        }
        Ok(some)
    }

    /// Whether nothing of an earlier sending can take effect any more.
    fn certainly_over(&self, sent: &Sent) -> bool {
        let gone = sent.guard.as_ref().is_some_and(|guard| self.world.host.gone(&GuardId(guard.clone())));
        gone || sent.deadline <= self.world.clock.now()
    }

    /// A full disk is met here, before new work begins, and not when its results are to be kept.
    fn wait_for_room(&mut self) -> Result<bool, Error> {
        let Err(full) = self.journal.store().room() else { return Ok(false) };
        self.push(Event::Waiting(Waiting {
            kind: WaitKind::Store,
            until: Some(self.world.clock.now().after(STORE_WAIT)),
            message: full.to_string(),
            code: "disk_full".to_owned(),
        }))?;
        Ok(true)
    }

    fn start_ask(&mut self, ask: Ask) -> Result<(), Error> {
        let (model, request, tokens) = loop {
            let request = self.request(&ask);
            let model = self.model_for(&ask, &request);
            let tokens = estimate_tokens(&request);
            match self.too_long(&model, tokens).then(|| self.run.compaction()).flatten() {
                Some(compacted) => self.push(Event::Compacted(compacted))?,
                None => break (model, request, tokens),
            }
        };
        let (router, tell) = (self.world.router.clone(), self.tell.clone());
        let (answered, draw) = (self.run.answered_by().cloned(), draw(self.journal.run()));
        let world = self.world.clone();
        let agent = self.world.agent.clone();
        let mut preview = lift::Preview::new(self.tools.clone());
        let written = Arc::new(AtomicU64::new(0));
        let wrote = written.clone();
        // Room for all that one request can bring: each attempt waited for twice, sent, failed and told of twice, and the end.
        let (send, news) = mpsc::channel(6 * router::ATTEMPTS_MAX + 1);
        let task = tokio::spawn(async move {
            chaos::point("model.send");
            let cached = answered.as_ref().map_or(0, |answered| answered.cached);
            let answered = answered.as_ref().map(|answered| (&*answered.endpoint, answered.at));
            // What asking again could not mend at one endpoint, another one may get right.
            let elsewhere = ask.again > 1;
            let conversation = Conversation { answered, cached, draw, tokens, agent: &agent.name, elsewhere };
            let show = |text| drop(tell.try_send(Happening::Text(text)));
            let mut stirs = false;
            let came = |piece: &str| _ = wrote.fetch_add(piece.len() as u64, Ordering::Relaxed);
            let asked = router
                .ask(&model, &request, conversation, &mut |attempt| match attempt {
                    Attempt::Asked { endpoint, presumed, means } => {
                        preview.begin(author(&world, endpoint));
                        stirs = false;
                        wrote.store(0, Ordering::Relaxed);
                        let asked = Asked { endpoint: endpoint.into(), presumed, means };
                        drop(send.try_send(News::Sent(Box::new(asked))));
                    }
                    Attempt::Failed { failure, cost, latency, .. } => {
                        let failed = Failed { failure: failure.clone(), cost, latency };
                        drop(send.try_send(News::Failed(Box::new(failed))));
                    }
                    Attempt::Paused { length, .. } => {
                        let ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
                        drop(send.try_send(News::Paused(ms)));
                    }
                    Attempt::LeftOut { what, .. } => drop(send.try_send(News::LeftOut(what.into()))),
                    Attempt::Seen(Delta::Text(text)) => {
                        came(text);
                        preview.feed(text, show);
                    }
                    Attempt::Seen(Delta::Reasoning(piece) | Delta::Call(piece) | Delta::Arguments(piece)) => {
                        came(piece);
                        if !std::mem::replace(&mut stirs, true) {
                            show(String::new());
                        }
                    }
                    Attempt::Seen(Delta::Limits(_)) => {}
                })
                .await;
            chaos::point("model.answered");
            let end = match asked {
                Ok(reply) => {
                    preview.end(show);
                    News::Answered(Box::new(reply))
                }
                Err(failure) => News::GaveUp(Box::new(failure)),
            };
            // The loop is gone only when nobody wants the answer any more.
            let _ = send.send(end).await;
        });
        self.asking = Some(Asking {
            ask,
            seen: self.run.length(),
            tokens,
            attempt: 0,
            endpoint: Arc::from(""),
            presumed: None,
            written,
            sent_at: Instant::now(),
            news,
            task: task.abort_handle(),
        });
        Ok(())
    }

    /// Whether a request fills more of what its model can read than the agent wants.
    fn too_long(&self, model: &str, tokens: u64) -> bool {
        let window = self.world.router.window(model);
        window.is_some_and(|window| tokens as f64 > window as f64 * self.world.agent.compact_at)
    }

    /// Which model a request is for, by what it follows.
    fn model_for(&self, ask: &Ask, request: &Request) -> Arc<str> {
        let steps = &self.world.steps;
        let step = match request.messages.last().map(|message| &**message) {
            _ if ask.force_output => &steps.last,
            Some(Message::Tool(_)) => &steps.tools,
            _ => &steps.first,
        };
        step.as_deref().map_or_else(|| self.world.model.name().clone(), Arc::from)
    }

    fn request(&self, ask: &Ask) -> Request {
        let started = self.run.started();
        let output = self.output.as_ref().filter(|_| self.offered.is_empty());
        Request {
            system: started.and_then(|started| started.instructions.clone()),
            messages: self.run.conversation(),
            answers: self.run.answers_had(),
            tools: self.offered.clone(),
            choice: match &self.output {
                Some(_) if ask.force_output && !self.offered.is_empty() => Choice::Tool(judge::output_name()),
                _ if ask.again > 0 => self.run.missed_tool().map_or(Choice::Auto, Choice::Tool),
                _ => Choice::Auto,
            },
            // What could not be mended the first time may be prevented the second.
            hold: if ask.again > 0 { Hold::RatherThanForce } else { Hold::No },
            output: output
                .map(|schema| Arc::new(OutputFormat { name: FINAL_ANSWER.to_owned(), schema: schema.value().clone() })),
            temperature: self.world.agent.model.temperature,
            output_tokens_max: self.world.agent.model.output_tokens,
            effort: None,
            cache_key: Some(self.journal.run().to_string().into()),
            draft: self.draft.clone(),
        }
    }

    fn take_news(&mut self, news: News) -> Result<(), Error> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        match news {
            News::Sent(asked) => {
                let Asked { endpoint, presumed, means } = *asked;
                (asking.endpoint, asking.presumed) = (endpoint, presumed);
                asking.attempt = u32::try_from(self.run.tally().attempts + 1).unwrap_or(u32::MAX);
                asking.sent_at = Instant::now();
                let asked = ModelAsked {
                    turn: asking.ask.turn,
                    attempt: asking.attempt,
                    purpose: asking.ask.purpose,
                    endpoint: asking.endpoint.to_string(),
                    request_hash: None,
                    tokens: asking.tokens,
                    presumed,
                    strict: means.strict,
                    forced: means.forced,
                };
                self.push(Event::ModelAsked(asked))
            }
            News::Paused(ms) => {
                (self.seen)(Seen::Paused(Duration::from_millis(ms.into())));
                Ok(())
            }
            News::LeftOut(what) => {
                // Once is enough, however often it is left out.
                if !self.left_out.insert(what.clone()) {
                    return Ok(());
                }
                let (code, message) = (LEFT_OUT.to_owned(), what.into());
                self.push(Event::Noted(Noted { code, message, inbox: None }))
            }
            News::Failed(failed) => {
                let Failed { failure, cost, latency } = *failed;
                let failed = AttemptFailed {
                    // Until the next one is sent there is none to be aborted.
                    attempt: std::mem::take(&mut asking.attempt),
                    endpoint: asking.endpoint.to_string(),
                    class: failure.class.as_str().to_owned(),
                    message: failure.message,
                    latency,
                    discarded: failure.discarded,
                    usage: failure.used.map(|used| used.tokens),
                    cost,
                    estimated: failure.used.is_some_and(|used| used.estimated),
                };
                self.push(Event::AttemptFailed(failed))
            }
            News::Answered(reply) => {
                let Reply { answer, endpoint, cost, latency, .. } = *reply;
                (self.provider_waits, self.malformed_waits) = (0, 0);
                let origin = judge::Origin {
                    ask: asking.ask,
                    attempt: asking.attempt,
                    seen: asking.seen,
                    latency,
                    cost,
                    endpoint: endpoint.clone(),
                };
                self.asking = None;
                let is_native = answer.calls().next().is_some();
                if is_native {
                    self.world.router.called_natively(&endpoint);
                }
                let author = author(&self.world, &endpoint);
                let (answer, unpacked) = lift::unpack(answer, &self.tools);
                let Lifted { answer, repairs, attempt } =
                    lift::lift(answer, &self.tools, self.output.as_ref(), &author);
                let rules = judge::Rules {
                    agent: &self.world.agent,
                    tools: &self.tools,
                    output: self.output.as_ref(),
                    allow_all: self.options.allow_all,
                };
                let offered = |name: &str| self.offered.iter().any(|tool| tool.name.as_str() == name);
                let name =
                    |call: &WrittenCall| if offered(&call.name) { &*call.name } else { router::NO_TOOL }.to_owned();
                let written: Vec<String> = answer.calls().map(name).collect();
                let mut events = judge::judge(&rules, self.run, answer, attempt.as_ref(), origin);
                lift::dialects(&repairs, &events).for_each(|it| self.world.router.called_in_text(&endpoint, it));
                lift::record(unpacked, &mut events);
                lift::record(repairs, &mut events);
                let in_text =
                    events.iter().any(|event| matches!(event, Event::OutputRejected(it) if it.code == LEFT_IN_TEXT));
                let named = attempt.as_ref().and_then(|attempt| attempt.name.as_deref()).filter(|name| offered(name));
                let in_text = in_text.then_some((named.unwrap_or(router::NO_TOOL), false));
                self.world.router.judged(&endpoint, judge::verdicts(&written, &events).chain(in_text));
                for event in events {
                    self.push(event)?;
                }
                Ok(())
            }
            News::GaveUp(failure) => {
                let endpoint = asking.endpoint.clone();
                self.asking = None;
                self.gave_up(&failure, &endpoint)
            }
        }
    }

    /// No attempt brought an answer: the run waits, or fails for a reason that waiting cannot help. `endpoint` was asked
    /// last.
    fn gave_up(&mut self, failure: &Failure, endpoint: &str) -> Result<(), Error> {
        let (first, longest) = PROVIDER_WAIT;
        let code = failure.class.as_str().to_owned();
        let mut message = failure.message.clone();
        let until = match failure.class {
            Class::MalformedAnswer if self.malformed_waits >= MALFORMED_WAITS_MAX => {
                let message = with_discarded(endpoint, failure);
                return self.push(Event::Ended(Ended { end: End::Failed { code, message } }));
            }
            Class::Transient | Class::RateLimited if self.provider_waits >= PROVIDER_WAITS_MAX => {
                message.push_str(&format!("; no answer after {PROVIDER_WAITS_MAX} pauses"));
                None
            }
            Class::MalformedAnswer => {
                self.malformed_waits += 1;
                Some(self.world.clock.now().after(MALFORMED_WAIT.max(failure.retry_after.unwrap_or_default())))
            }
            Class::Transient | Class::RateLimited => {
                let pause = longest.min(first.saturating_mul(1 << self.provider_waits.min(16)));
                self.provider_waits += 1;
                Some(self.world.clock.now().after(pause.max(failure.retry_after.unwrap_or_default())))
            }
            Class::Quota | Class::Credential | Class::ModelGone | Class::Region => None,
            Class::Budget => {
                let end = End::Exhausted { limit: Limit::Budget, message: Some(message) };
                return self.push(Event::Ended(Ended { end }));
            }
            Class::ContextTooLong if let Some(compacted) = self.run.reduction() => {
                return self.push(Event::Compacted(compacted));
            }
            Class::ContextTooLong | Class::CallerFault | Class::ContentRefused => {
                let message = with_discarded(endpoint, failure);
                return self.push(Event::Ended(Ended { end: End::Failed { code, message } }));
            }
        };
        self.push(Event::Waiting(Waiting { kind: WaitKind::Provider, until, message, code }))
    }

    fn take(&mut self, happening: Happening) -> Result<(), Error> {
        match happening {
            Happening::Text(text) => (self.seen)(Seen::Text(&text)),
            Happening::Progress(call, progress) => (self.seen)(Seen::Progress(call, &progress)),
            Happening::Called(called) => {
                let Called { call, attempt, outcome, latency } = *called;
                if self.calling.get(&call).is_none_or(|calling| calling.attempt != attempt) {
                    // It was aborted, and its loss is journaled.
                    return Ok(());
                }
                let calling = self.calling.remove(&call);
                let read = self.run.call(call).and_then(|call| call.resolved.as_ref()).map(|it| it.effect)
                    == Some(Effect::Read);
                match outcome {
                    Outcome::Answered(answered) => self.push(Event::ToolFinished(Box::new(ToolFinished {
                        call,
                        attempt,
                        sent: true,
                        content: answered.content,
                        structured: answered.structured,
                        is_error: answered.is_error,
                        notes: answered.notes,
                        latency,
                    })))?,
                    Outcome::NeverSent(why) => self.push(never_sent(call, attempt, why))?,
                    Outcome::Lost(lost) => {
                        let Lost { why: evidence, timed_out, over } = lost;
                        let lost = CallLost { call, attempt, evidence, timed_out };
                        let asks = self.run.call(call).is_some_and(|call| call.on_doubt() == OnDoubt::Ask);
                        match calling.filter(|_| asks && !over) {
                            // Nobody is asked while its server may still work on it.
                            Some(calling) => drop(self.calling.insert(call, Calling { lost: Some(lost), ..calling })),
                            None => self.push(Event::CallLost(lost))?,
                        }
                    }
                }
                if !read {
                    // The window in which a crash leaves a doubt stays small; nobody waits for this.
                    self.start_commit();
                }
            }
        }
        Ok(())
    }

    /// Moves what was posted to the run into its journal, once each.
    async fn take_inbox(&mut self) -> Result<(), Error> {
        for (id, posted) in self.journal.inbox().await? {
            for event in inbox::events(self.run, &self.tools, Some(&self.world.agent), id, posted) {
                self.push(event)?;
            }
            self.journal.consume(id);
        }
        Ok(())
    }
}

/// The author of what an endpoint answers to this agent.
fn author(world: &World, endpoint: &str) -> Author {
    let author = world.router.author(endpoint);
    Author { text_calls: world.agent.text_calls.unwrap_or(author.text_calls), ..author }
}

/// Why a request brought no answer, and what of one had come.
fn with_discarded(endpoint: &str, failure: &Failure) -> String {
    let is_named = endpoint.is_empty() || failure.message.starts_with(endpoint);
    let at = if is_named { String::new() } else { format!("{endpoint}: ") };
    match failure.discarded.trim() {
        "" => format!("{at}{}", failure.message),
        text => format!("{at}{}. Before that it wrote: {text}", failure.message),
    }
}

fn never_sent(call: CallId, attempt: u32, why: String) -> Event {
    Event::ToolFinished(Box::new(ToolFinished {
        call,
        attempt,
        sent: false,
        content: vec![Part::text(format!("the call was not sent: {why}"))],
        structured: None,
        is_error: true,
        notes: Vec::new(),
        latency: Duration::ZERO,
    }))
}

/// Draws the target of a weighted route: from the random end of the run's id, so that a run keeps to its target.
pub(crate) fn draw(run: RunId) -> u64 {
    run.as_bytes().last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Stable over attempts and restarts: 32 hexadecimal digits from run and call.
fn idempotency_key(run: RunId, call: CallId) -> String {
    let mut hash = blake3::Hasher::new();
    hash.update(run.as_bytes());
    hash.update(call.to_string().as_bytes());
    hash.finalize().to_hex()[..32].to_owned()
}

/// What the request in flight brings; never completes without one.
async fn news(asking: &mut Option<Asking>) -> News {
    match asking {
        Some(asking) => match asking.news.recv().await {
            Some(news) => news,
            // Only a panic in the task ends it without a last word.
            None => {
                let failure = Failure::new(Class::MalformedAnswer, "the request broke off inside agentd");
                News::GaveUp(Box::new(failure))
            }
        },
        None => std::future::pending().await,
    }
}

/// A timer that rings when it should or before. What it is for mostly moves away before it rings, and to set a timer anew
/// each time costs more than to look at one too early now and then.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set: bool,
}

impl Alarm {
    fn unset() -> Self {
        Alarm { sleep: Box::pin(time::sleep(Duration::ZERO)), set: false }
    }

    /// Completes at `time` at the latest; without one, perhaps never.
    async fn ring(&mut self, time: Option<time::Instant>) {
        if let Some(time) = time.filter(|time| !self.set || *time < self.sleep.deadline()) {
            self.sleep.as_mut().reset(time);
            self.set = true;
        }
        if !self.set {
            return std::future::pending().await;
        }
        self.sleep.as_mut().await;
        self.set = false;
    }
}

/// That much later, or a lifetime later if that is too much for the clock.
fn after(length: Duration) -> time::Instant {
    let now = time::Instant::now();
    now.checked_add(length).unwrap_or(now + Duration::from_secs(100 * 365 * 24 * 3600))
}
