//! Wires the parts to runs: opens the store that the settings name, makes providers and tool servers, starts and
//! resumes runs, and answers for those who only look.
//!
//! This is where backends have names. A [`Daemon`] holds what all runs share; a [`Driven`] is one run in our hands.
//! Always true:
//! - A run is driven only by who claimed it; whoever else wants something of it posts to its inbox.
//! - Everything that can be refused (a bad file, an unset variable, an unknown model) is refused before a run starts,
//!   and on resume before it is claimed.
//!
//! - A run is in one slot for all its life (`slots`). Whatever is wanted of a run goes to whoever holds that slot
//!   ([`Reach`]): this process, which takes the slot if it is free, or another one, over its control socket.
//!
//! Left out so far: supervision of many runs.

mod error;
mod index;
mod keys;
pub mod models;
pub mod owned;
pub mod probe;
mod report;
mod routing;
pub mod settings;
mod slot;
mod slots;
mod spend;
mod spread;
pub mod stats;
pub mod tools;
pub mod variables;

pub use routing::router;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{
    agent::{Agent, Steps},
    bulkhead,
    chat::{CallId, Part},
    engine::{self, Clock, Left, Options, Seen, Stop, SystemClock, World},
    journal::{self, Journal, Posted, What},
    mcp::{ToolHost, guard},
    provider::{Client, Timeouts},
    router::{self, Conversation, Day, Need, Router},
    run::{
        CallRecord, CallState, Claimed, Decision, End, Entry, Event, InputGiven, Limit, Limits, LimitsChanged,
        NanoDollars, PolicyGiven, Resolution, Run, RunId, Started, Status, Wait, Woken,
    },
    store::{self, InboxId},
    waiting,
};

pub use error::Error;
pub use index::Listed;
use keys::Key;
pub use report::{Mended, Report};
use routing::Keeper;
use settings::Settings;
use slot::Driving;
pub use slot::{Follow, Reach, Slot, Socket};
pub use slots::SLOTS;
use slots::{Holder, Node, Slots};
pub use spread::Spread;
use variables::Variables;

/// What all runs of a process share.
pub struct Daemon {
    home: PathBuf,
    slots: Slots,
    connect: Option<Connect>,
    router: Router,
    keeper: Arc<Keeper>,
    clock: Arc<dyn Clock>,
    guard: Option<guard::Program>,
    variables: Variables,
}

/// Makes the way to the slot whose holder listens at this control socket.
pub type Connect = Box<dyn Fn(&Path) -> Arc<dyn Reach> + Send + Sync>;

/// What a new run starts from.
#[derive(Debug, Clone)]
pub struct New {
    /// What the agent file is called in messages.
    pub file: String,
    /// The agent file as written.
    pub definition: Arc<str>,
    /// The directory that its relative paths start from.
    pub dir: PathBuf,
    /// What the agent is told first; `None` when a typed input is enough.
    pub prompt: Option<String>,
    /// What goes with it: texts and pictures.
    pub attached: Vec<Part>,
    /// The typed input that the agent declares.
    pub input: Option<Value>,
    /// Another model than the file names.
    pub model: Option<String>,
    /// Limits that differ from the file's.
    pub limits: Overrides,
    /// Tools whose calls run without asking, as globs over `server.tool`; never what is denied, in doubt, or a held repeat.
    pub allow: Vec<String>,
    /// Names the start: with a key that has started a run before, nothing is started. `None`: every start is one.
    pub key: Option<String>,
}

/// Limits given beside the file's own; `None` keeps what holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overrides {
    /// See [`Limits::turns`].
    pub turns: Option<u64>,
    /// See [`Limits::tool_calls`].
    pub tool_calls: Option<u64>,
    /// See [`Limits::tokens`].
    pub tokens: Option<u64>,
    /// See [`Limits::cost`].
    pub cost: Option<NanoDollars>,
    /// See [`Limits::active`].
    pub active: Option<std::time::Duration>,
}

impl Overrides {
    /// These limits, with what is given here in their place.
    pub fn over(&self, limits: &Limits) -> Limits {
        Limits {
            turns: self.turns.or(limits.turns),
            tool_calls: self.tool_calls.or(limits.tool_calls),
            tokens: self.tokens.or(limits.tokens),
            cost: self.cost.or(limits.cost),
            active: self.active.or(limits.active),
        }
    }
}

/// How a run is resumed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resume {
    /// What the agent is told; nothing when there is nothing to say.
    pub words: Vec<Part>,
    /// Limits that differ from those in force.
    pub limits: Overrides,
    /// See [`New::allow`]; holds for the rest of the run.
    pub allow: Vec<String>,
}

/// Which of the calls that wait for approval are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    Only,
    /// All of them.
    All,
    /// This one.
    Call(CallId),
}

/// A run in our hands, ready to be driven.
pub struct Driven {
    run: Run,
    journal: Journal,
    world: World,
    /// Entries that were made here and that no follower has seen.
    begun: Vec<Arc<Entry>>,
    keeper: Arc<Keeper>,
    /// Whether its servers stay between drives.
    stays: bool,
    /// Shows that the run is driven; `None` when that is over.
    driving: Option<Driving>,
}

impl Daemon {
    /// Names the store that `settings` name, below `home`, and makes the providers; the store is opened when it is needed.
    /// `guard` is the program that watches tool servers; with `None` they only end with us.
    pub fn open(settings: &Settings, home: &Path, guard: Option<guard::Program>) -> Result<Self, Error> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let name = format!("{}-{}", hostname(), std::process::id());
        let node = Node { name, clock: clock.clone(), home: home.to_owned() };
        let slots = match &settings.store {
            settings::Store::Memory => Slots::in_memory(node),
            settings::Store::Sled { path: Some(path) } => Slots::in_dirs(vec![path.clone()], node),
            settings::Store::Sled { path: None } => {
                let journal = home.join("journal");
                Slots::in_dirs((0..SLOTS).map(|slot| journal.join(format!("{slot:02}"))).collect(), node)
            }
        };
        Ok(Daemon {
            home: home.to_owned(),
            slots,
            connect: None,
            router: routing::remembering(settings, home)?,
            keeper: Arc::new(Keeper::new(home)),
            clock,
            guard,
            variables: settings.variables.clone(),
        })
    }

    /// Has runs that another process holds reached in this way. Default: they are out of reach.
    pub fn connect(self, connect: Connect) -> Self {
        Daemon { connect: Some(connect), ..self }
    }

    /// The slots that this process holds and keeps: each is to have its control socket served while runs are driven.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.kept()
    }

    /// Starts a run: its first entries are queued, and become durable with its first commit. With a start key they are
    /// durable already.
    ///
    /// # Errors
    /// [`Error::Keyed`] when its key has started such a run before, `Refused` when that was another one.
    pub async fn start(&self, new: New) -> Result<Driven, Error> {
        let agent = parse(&new.file, &new.definition)?;
        let words = first_words(&new)?;
        let key = match &new.key {
            Some(key) => Some(Key::hold(&self.home, key).await.map_err(unkeyed)?),
            None => None,
        };
        if let Some(key) = &key
            && let Some(run) = self.started_by(key).await?
        {
            self.check_same(run, &agent, Some(&words)).await?;
            return Err(Error::Keyed { run });
        }
        let instructions =
            agent.instructions(new.input.as_ref()).map_err(|problem| Error::File(problem.to_string()))?;
        let model = new.model.clone().unwrap_or_else(|| agent.model.name.clone());
        self.router.refresh().await;
        check_patterns(&agent, &new.allow)?;
        let world = self.world(agent, &new.dir, &model)?;
        let agent = &world.agent;
        let started = Started {
            agent: agent.name.clone(),
            definition: new.definition,
            file: new.file,
            dir: new.dir.display().to_string(),
            model,
            instructions: instructions.map(Into::into),
            input: new.input.map(|input| input.to_string().into()),
            output_schema: agent.output.as_ref().map(|schema| schema.to_string().into()),
            limits: new.limits.over(&agent.limits),
            ask_again: agent.ask_again,
            tool_result_bytes_max: agent.tool_result_bytes_max,
            parent: None,
            key: new.key,
        };
        let id = RunId(Uuid::now_v7());
        let slot = self.slots.free().await?;
        if let Some(key) = &key {
            key.name(id).map_err(unkeyed)?;
        }
        let (driving, journal, _) = slot.drive(id).await?;
        let mut driven = self.driven(driving, Run::default(), journal, world);
        driven.push(Event::Started(Box::new(started)))?;
        driven.tell(words)?;
        driven.allow(new.allow)?;
        engine::start_commit(&driven.run, &mut driven.journal);
        if key.is_some() {
            // Whoever holds the key next finds the run.
            driven.journal.commit().await?;
            driven.driving.iter().for_each(Driving::show);
        }
        Ok(driven)
    }

    /// The run that the start key of `new` has started before; `None` without a key, and while it has started none.
    ///
    /// # Errors
    /// `Refused` when that run is of another agent, or was told something else.
    pub async fn keyed(&self, new: &New) -> Result<Option<RunId>, Error> {
        let Some(key) = &new.key else { return Ok(None) };
        let agent = parse(&new.file, &new.definition)?;
        let held = Key::hold(&self.home, key).await.map_err(unkeyed)?;
        let started = self.started_by(&held).await?;
        if let Some(run) = started {
            self.check_same(run, &agent, first_words(new).ok().as_deref()).await?;
        }
        Ok(started)
    }

    /// The run that a key has started; `None` also when it is not there (any more).
    async fn started_by(&self, key: &Key) -> Result<Option<RunId>, Error> {
        let Some(named) = key.run().map_err(unkeyed)? else { return Ok(None) };
        let there = self.slots.listed().await?.iter().any(|listed| listed.run == named);
        Ok(there.then_some(named))
    }

    /// Refuses to take a run for what would be another one: nobody is given the answer to something else.
    async fn check_same(&self, id: RunId, agent: &Agent, words: Option<&[Part]>) -> Result<(), Error> {
        let Shown { run, entries, .. } = self.show(id).await?;
        let started = run.started().map_or("", |started| &*started.agent);
        let told = entries.iter().find_map(|entry| match &entry.event {
            Event::InputGiven(given) => Some(&*given.parts),
            _ => None,
        });
        let other = match () {
            () if started != agent.name => format!("a run of another agent ({started})"),
            () if words.is_some() && told.is_some() && words != told => "a run with another prompt".to_owned(),
            () => return Ok(()),
        };
        let why =
            format!("this key has started {other} already: {id}\nnothing is started; give another key for another run");
        Err(Error::Refused(why))
    }

    /// Refuses to drive a run whose start key has started another one, which happens when its process was killed before
    /// anybody could see it.
    async fn check_key(&self, id: RunId, started: &Started) -> Result<(), Error> {
        let Some(key) = &started.key else { return Ok(()) };
        let key = Key::hold(&self.home, key).await.map_err(unkeyed)?;
        if key.run().map_err(unkeyed)? == Some(id) {
            return Ok(());
        }
        match self.started_by(&key).await? {
            Some(run) => {
                let why = format!("run {id} was never driven, and its key has started run {run} instead");
                Err(Error::Refused(format!("{why}\ndrop it with: agentd cancel {id}")))
            }
            None => key.name(id).map_err(unkeyed),
        }
    }

    /// Takes a run over, to go on with it, in the slot that holds it.
    ///
    /// # Errors
    /// [`Error::Driven`] and [`Error::Busy`] when another process has it, or its slot.
    pub async fn resume(&self, id: RunId, resume: Resume) -> Result<Driven, Error> {
        let slot = match self.slots.holder(self.listed(id).await?.slot).await? {
            Holder::Here(slot) => slot,
            Holder::There { pid, .. } => {
                return Err(match self.listed(id).await?.driver {
                    Some(pid) => Error::Driven { run: id, pid },
                    None => Error::Busy { run: id, pid },
                });
            }
        };
        if slot.drives(id) {
            return Err(Error::Driven { run: id, pid: std::process::id() });
        }
        let mut run = Run::replay(&slot.clone().entries(id).await?)?;
        if refusal(&run, &resume).is_some() && slot.waits(id).await? {
            // Somebody told it more when nobody took that in any more.
            slot.absorb(id).await?;
            run = Run::replay(&slot.clone().entries(id).await?)?;
        }
        if let Some(refusal) = refusal(&run, &resume) {
            return Err(Error::Refused(refusal));
        }
        let started = run.started().ok_or_else(|| Error::NotFound(format!("run {id} never started")))?;
        self.check_key(id, started).await?;
        let agent = parse(&started.file, &started.definition)?;
        self.router.refresh().await;
        check_patterns(&agent, &resume.allow)?;
        let world = self.world(agent, Path::new(&started.dir), &started.model)?;
        let mut driven = self.claim(slot, id, world).await?;
        let limits = resume.limits.over(driven.run.limits());
        if limits != *driven.run.limits() {
            driven.push(Event::LimitsChanged(LimitsChanged { inbox: None, by: user(), limits }))?;
        }
        driven.allow(resume.allow)?;
        if !resume.words.is_empty() {
            driven.tell(resume.words)?;
        }
        if waits_for_budget(&driven.run) {
            driven.push(Event::Woken(Woken { by: "resume".to_owned() }))?;
        }
        Ok(driven)
    }

    /// Tells a run that another process drives what a resuming would tell it: words, other limits. `false` when that is kept
    /// and was not taken in yet.
    pub async fn tell(&self, id: RunId, resume: Resume) -> Result<bool, Error> {
        let run = self.replay(id).await?;
        let limits = resume.limits.over(run.limits());
        let mut whats = Vec::new();
        if limits != *run.limits() {
            whats.push(What::Limits { limits });
        }
        if !resume.words.is_empty() {
            whats.push(What::Prompt { parts: resume.words });
        }
        self.post(id, whats).await
    }

    /// Somebody allows or refuses calls that wait for approval; `for_run` lets the same hold for their tools during the
    /// rest of the run. Returns which calls they were.
    ///
    /// # Errors
    /// When somebody else, or the clock, was faster: the first decision stands.
    pub async fn decide(
        &self,
        id: RunId,
        which: Which,
        decision: Decision,
        for_run: bool,
    ) -> Result<Vec<CallId>, Error> {
        let meant = self.meant(id, which, &decision).await?;
        self.decide_on(id, &meant, decision, for_run).await?;
        Ok(meant.iter().map(|record| record.id).collect())
    }

    /// The same about these calls as they stand here: a call that has other arguments by now is not decided.
    ///
    /// # Errors
    /// As [`decide`](Self::decide).
    pub async fn decide_on(
        &self,
        id: RunId,
        meant: &[CallRecord],
        decision: Decision,
        for_run: bool,
    ) -> Result<(), Error> {
        let word = |record: &CallRecord| {
            let tool = record.resolved.as_ref().map(|resolved| resolved.origin.to_string());
            let (decision, shown) = (decision.clone(), record.arguments().clone());
            What::Approval { call: record.id, decision, shown, for_run: tool.filter(|_| for_run) }
        };
        self.post(id, meant.iter().map(word).collect()).await?;
        Ok(())
    }

    /// The calls that such a decision would be about, as they stand.
    ///
    /// # Errors
    /// When there is none, or more than the one that should be meant.
    pub async fn meant(&self, id: RunId, which: Which, decision: &Decision) -> Result<Vec<CallRecord>, Error> {
        let run = self.replay(id).await?;
        let takes = |call: &CallRecord| call.takes(decision);
        let meant: Vec<&CallRecord> = match which {
            Which::All => match run.calls().filter(|call| takes(call)).collect::<Vec<_>>() {
                open if open.is_empty() => vec![pick(&run, None, takes, "waits for approval")?],
                open => open,
            },
            Which::Only => vec![pick(&run, None, takes, "waits for approval")?],
            Which::Call(call) => match run.call(call) {
                // It may be decided already, and whoever comes late is told by whom.
                Some(record) if record.decided.is_some() => vec![record],
                _ => vec![pick(&run, Some(call), takes, "waits for approval")?],
            },
        };
        Ok(meant.into_iter().cloned().collect())
    }

    /// Checks arguments that somebody would put in place of those of a call that waits for approval.
    ///
    /// # Errors
    /// `Refused` says what is wrong with them.
    pub async fn check_arguments(&self, id: RunId, call: CallId, arguments: &str) -> Result<(), Error> {
        let run = self.replay(id).await?;
        let started = run.started().ok_or_else(|| Error::NotFound(format!("run {id} never started")))?;
        let agent = parse(&started.file, &started.definition)?;
        engine::check_arguments(&run, &agent, call, arguments)
            .map_err(|why| Error::Refused(format!("{call} cannot run with these arguments: {why}")))
    }

    /// Somebody says what became of a call of unknown outcome; `None` means the only one in doubt.
    pub async fn resolve(&self, id: RunId, call: Option<CallId>, resolution: Resolution) -> Result<CallId, Error> {
        let Shown { run, driver, .. } = self.show(id).await?;
        let in_doubt = |call: &CallRecord| matches!(call.state, CallState::Lost(_));
        let running = run.status() == Status::Running && !run.calls().any(in_doubt);
        if running && driver.is_none() {
            let why = "the run was interrupted, and what became of its calls is found out when it goes on";
            return Err(Error::Refused(format!("{why}: agentd resume {id}")));
        }
        let call = pick(&run, call, in_doubt, "is in doubt")?.id;
        self.post(id, vec![What::Doubt { call, resolution }]).await?;
        Ok(call)
    }

    /// Somebody wants the run to stop for good.
    pub async fn cancel(&self, id: RunId) -> Result<(), Error> {
        let run = self.replay(id).await?;
        match run.status() {
            Status::Running | Status::Waiting | Status::Exhausted => self.post(id, vec![What::Cancel]).await.map(drop),
            status => Err(Error::Refused(format!("run {id} is {} already", status.as_str()))),
        }
    }

    /// The runs that can go on by themselves and that no live process owns: interrupted ones, those that wait for a provider
    /// or a moment, those that asked a person for longer than the question stands, and those that used up a budget on an earlier day. Takes all free slots in which there is one. A run whose journal is found
    /// damaged here is among them: whoever resumes it is told, and the others go on. Interrupted ones in slots that other
    /// processes work in are told apart.
    pub async fn unfinished(&self) -> Result<Unfinished, Error> {
        let mut unfinished = Unfinished::default();
        let mut needed = BTreeSet::new();
        let free = self.slots.all_free().await?;
        for listed in self.slots.listed().await?.into_iter().filter(|listed| listed.damage.is_none()) {
            let Some(slot) = free.iter().find(|slot| slot.number() == listed.slot) else {
                unfinished.out_of_reach.extend(listed.is_interrupted().then_some(listed.run));
                continue;
            };
            if listed.driver.is_some() {
                continue;
            }
            let goes_on = match Status::parse(&listed.columns.status) {
                // Written with the entries that it follows from, so none of them needs to be read.
                Some(Status::Running) => true,
                Some(Status::Waiting | Status::Exhausted) => {
                    let replayed = slot.clone().entries(listed.run).await;
                    match replayed.and_then(|entries| Ok(Run::replay(&entries)?)) {
                        Ok(run) if waits_for_budget(&run) => Day::of(run.now()) < Day::of(self.clock.now()),
                        Ok(run) => {
                            let want = run.next();
                            // A question that has expired is answered without a person.
                            let due = want.until.is_some_and(|until| until <= self.clock.now());
                            due || want.waiting.iter().any(|wait| matches!(wait, Wait::Other(_)))
                        }
                        Err(Error::Journal(journal::Error::Corrupt { .. }) | Error::Misfit(_)) => true,
                        Err(error) => return Err(error),
                    }
                }
                _ => false,
            };
            if goes_on {
                unfinished.runs.push(listed.run);
                needed.insert(listed.slot);
            }
        }
        // Others may take the slots in which there is nothing to do.
        self.slots.let_go(|slot| needed.contains(&slot));
        unfinished.runs.sort();
        Ok(unfinished)
    }

    /// A run as it stands.
    pub async fn show(&self, id: RunId) -> Result<Shown, Error> {
        let Listed { slot, driver, .. } = self.listed(id).await?;
        let entries = self.asking(slot, |reach| reach.entries(id)).await?;
        let run = Run::replay(&entries)?;
        variables::hide_those_of(&run, &self.variables);
        Ok(Shown { run, entries, driver })
    }

    /// The entries of a run from `from` on, wherever it is: those there are, and each that comes as soon as it is durable.
    /// Ends when nobody drives the run, or not any more, and with [`Error::Gone`] when whoever drives it is gone.
    pub async fn follow(&self, id: RunId, from: u64) -> Result<Follow, Error> {
        let slot = self.listed(id).await?.slot;
        self.asking(slot, |reach| reach.follow(id, from)).await
    }

    /// All runs that have started, newest first.
    pub async fn runs(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = self.slots.listed().await?;
        listed.sort_by_key(|listed| std::cmp::Reverse((listed.columns.created, listed.run)));
        Ok(listed)
    }

    /// The run that `reference` names: a whole id, the unique beginning of one, or `@last`.
    pub async fn find(&self, reference: &str) -> Result<RunId, Error> {
        let listed = self.runs().await?;
        if reference == "@last" {
            let last = listed.first().map(|listed| listed.run);
            return last.ok_or_else(|| Error::NotFound("there are no runs yet".to_owned()));
        }
        let mut found = listed.iter().map(|listed| listed.run).filter(|run| run.to_string().starts_with(reference));
        match (found.next(), found.next()) {
            (Some(run), None) => Ok(run),
            (None, _) => Err(Error::NotFound(format!("there is no run {reference}; see: agentd runs"))),
            (Some(_), Some(_)) => {
                Err(Error::NotFound(format!("more than one run begins with {reference}; give more of its id")))
            }
        }
    }

    /// How a run is listed.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn listed(&self, id: RunId) -> Result<Listed, Error> {
        let found = self.slots.listed().await?.into_iter().find(|listed| listed.run == id);
        found.ok_or_else(|| store::Error::NotFound(id).into())
    }

    /// Asks whoever holds a slot, and asks again when they went away meanwhile.
    async fn asking<T>(
        &self,
        slot: usize,
        ask: impl Fn(Arc<dyn Reach>) -> store::BoxFuture<Result<T, Error>>,
    ) -> Result<T, Error> {
        let until = Instant::now() + GONE_WITHIN;
        loop {
            let (reach, pid) = self.reach(slot).await?;
            let waiting =
                pid.map(|pid| waiting::on(format!("process {pid}, which holds the slot of this run, to answer")));
            let answer = ask(reach).await;
            drop(waiting);
            match answer {
                Err(Error::Gone(_)) if Instant::now() < until => tokio::time::sleep(GONE_LOOK).await,
                other => return other,
            }
        }
    }

    /// The way to a slot: ours, which it becomes if it is free, or over its control socket to another process.
    async fn reach(&self, slot: usize) -> Result<(Arc<dyn Reach>, Option<u32>), Error> {
        match (self.slots.holder(slot).await?, &self.connect) {
            (Holder::Here(slot), _) => Ok((slot, None)),
            (Holder::There { socket, pid }, Some(connect)) => Ok((connect(&socket), Some(pid))),
            (Holder::There { pid, .. }, None) => Err(store::Error::Locked { pid: Some(pid) }.into()),
        }
    }

    /// What a run of this agent needs of the world. Its servers are not started yet.
    fn world(&self, agent: Agent, dir: &Path, model: &str) -> Result<World, Error> {
        // Who asks for another model asks for it throughout.
        let steps = if model == agent.model.name { agent.model.steps.clone() } else { Steps::default() };
        let model = self.router.resolve(model)?;
        steps.named().try_for_each(|step| self.router.resolve(step).map(drop))?;
        let (host, left_out) = tools::host(&agent, dir, &self.variables, &self.home, self.guard.clone(), None)?;
        let host: Arc<dyn ToolHost> = Arc::new(host);
        let (router, clock) = (self.router.clone(), self.clock.clone());
        Ok(World { agent: Arc::new(agent), host, left_out, router, model, steps, clock })
    }

    async fn claim(&self, slot: Arc<Slot>, id: RunId, world: World) -> Result<Driven, Error> {
        let (driving, journal, entries) = slot.drive(id).await?;
        let run = Run::replay(&entries)?;
        let epoch = journal.epoch();
        let mut driven = self.driven(driving, run, journal, world);
        driven.push(Event::Claimed(Claimed { epoch, node: self.slots.node().to_owned() }))?;
        Ok(driven)
    }

    fn driven(&self, driving: Driving, run: Run, journal: Journal, world: World) -> Driven {
        Driven {
            run,
            journal,
            world,
            begun: Vec::new(),
            keeper: self.keeper.clone(),
            stays: false,
            driving: Some(driving),
        }
    }

    async fn replay(&self, id: RunId) -> Result<Run, Error> {
        Ok(self.show(id).await?.run)
    }

    /// Puts something into the inbox of a run and has it moved on into the journal, by whoever drives the run, or by
    /// whoever holds its slot: then it stands where it leads, and whoever resumes it goes on from there.
    ///
    /// # Errors
    /// `Refused` when something of it came too late or did not fit; the rest holds.
    async fn post(&self, id: RunId, whats: Vec<What>) -> Result<bool, Error> {
        let slot = self.listed(id).await?.slot;
        let (mut refused, mut taken) = (Vec::new(), true);
        for what in whats {
            let posted = Posted { by: user(), at: self.clock.now(), what };
            // One id however often it is asked for, so that it is one post.
            let item = InboxId(Uuid::now_v7().into_bytes());
            match self.asking(slot, |reach| reach.post(id, item, posted.clone())).await {
                Ok(entry) => taken &= entry.is_some(),
                Err(Error::Refused(why)) => refused.push(why),
                Err(error) => return Err(error),
            }
        }
        if refused.is_empty() { Ok(taken) } else { Err(Error::Refused(refused.join("\n"))) }
    }
}

/// A run as [`Daemon::show`] found it.
pub struct Shown {
    /// Where it stands.
    pub run: Run,
    /// Its journal.
    pub entries: Vec<Entry>,
    /// The process that drives it; `None` when nobody does.
    pub driver: Option<u32>,
}

/// What [`Daemon::unfinished`] found.
#[derive(Debug, Default)]
pub struct Unfinished {
    /// The runs that can go on, oldest first.
    pub runs: Vec<RunId>,
    /// Interrupted runs in slots that other processes work in: they wait until those have ended.
    pub out_of_reach: Vec<RunId>,
}

/// How long to ask again for a run whose holder went away, and how often.
const GONE_WITHIN: std::time::Duration = std::time::Duration::from_secs(15);
const GONE_LOOK: std::time::Duration = std::time::Duration::from_millis(20);

impl Driven {
    /// The run as it stands.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Its id.
    pub fn id(&self) -> RunId {
        self.journal.run()
    }

    /// The agent that it runs.
    pub fn agent(&self) -> &Arc<Agent> {
        &self.world.agent
    }

    /// The endpoint that answers, and whether it is a script and no model.
    pub fn endpoint(&self) -> (&str, bool) {
        (self.world.model.name(), self.world.model.scripted())
    }

    /// Who would be asked first, in this order, and why; those who would not, at the end.
    pub async fn explain(&self) -> Result<Vec<(String, router::Verdict)>, Error> {
        let (router, model) = (&self.world.router, self.world.model.name());
        let (agent, draw) = (&self.world.agent, engine::draw(self.id()));
        let answered = self.run.answered_by();
        let conversation = Conversation {
            draw,
            agent: &agent.name,
            cached: answered.map_or(0, |answered| answered.cached),
            answered: answered.map(|answered| (&*answered.endpoint, answered.at)),
            ..Conversation::default()
        };
        let need = Need { conversation, tools: !agent.servers.is_empty(), ..Need::default() };
        Ok(router.explain(model, &need).await?)
    }

    /// How many commits were awaited so far.
    pub fn commits(&self) -> u64 {
        self.journal.commits()
    }

    /// Puts something into the inbox of this run, which the drive takes up at once. Works while it is driven.
    pub fn post(&self) -> impl Fn(What) -> store::BoxFuture<Result<(), Error>> + Send + Sync + 'static {
        let (store, clock, id) = (self.journal.store().clone(), self.world.clock.clone(), self.id());
        move |what| {
            let (store, posted) = (store.clone(), Posted { by: user(), at: clock.now(), what });
            Box::pin(async move {
                journal::post(&*store, id, InboxId(Uuid::now_v7().into_bytes()), &posted).await?;
                Ok(())
            })
        }
    }

    /// Tells the agent something: it goes on with that when it is driven again, also after its end.
    pub fn tell(&mut self, words: Vec<Part>) -> Result<(), Error> {
        self.push(Event::InputGiven(InputGiven { inbox: None, by: user(), parts: words, stopped: false }))
    }

    /// Tells the agent something after the person stopped the answer that was under way: the model is told that too, and calls
    /// of that answer that were not sent are withdrawn.
    pub fn tell_after_stop(&mut self, words: Vec<Part>) -> Result<(), Error> {
        self.push(Event::InputGiven(InputGiven { inbox: None, by: user(), parts: words, stopped: true }))
    }

    /// Completes when somebody has posted something to the run that no drive has taken in; while none does, that is what
    /// the next one begins with.
    pub async fn posted(&self) {
        loop {
            let changed = self.journal.changed();
            match self.journal.inbox().await {
                Ok(items) if items.is_empty() => changed.await,
                // What is wrong with the store the drive tells.
                _ => return,
            }
        }
    }

    /// From now on the servers outlive a drive, until [`close`](Self::close): for who will tell the agent more.
    pub fn stay(&mut self) {
        self.stays = true;
    }

    /// Ends the servers.
    pub async fn close(&self) {
        self.world.host.close().await;
    }

    /// Drives the run until it ends, waits for what this process cannot give, or is told to stop; its servers end with
    /// that, unless they [`stay`](Self::stay).
    pub async fn drive(
        &mut self,
        options: Options,
        stop: watch::Receiver<Stop>,
        seen: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Result<Left, Error> {
        let (world, begun) = (self.world.clone(), std::mem::take(&mut self.begun));
        let driving = &self.driving;
        let mut listed = false;
        let mut told = |shown: Seen<'_>| {
            if let (Seen::Durable(entry), Some(driving)) = (&shown, driving) {
                // Whoever is told of the run finds it.
                if !std::mem::replace(&mut listed, true) {
                    driving.show();
                }
                driving.tell(entry);
            }
            seen(shown);
        };
        let left = tokio::select! {
            left = bulkhead::caught(
                engine::drive(world, &mut self.run, &mut self.journal, begun, options, stop, &mut told),
            ) => left,
            never = routing::look_after(&self.keeper, &self.world) => match never {},
        };
        self.keeper.keep(&self.world.router, Instant::now()).await;
        if !self.stays {
            self.close().await;
            // Followers hear that it is over, and others may take the run in hand.
            self.driving = None;
        }
        Ok(left??)
    }

    /// Lets tools run without asking for the rest of the run.
    fn allow(&mut self, patterns: Vec<String>) -> Result<(), Error> {
        patterns.into_iter().try_for_each(|pattern| {
            self.push(Event::PolicyGiven(PolicyGiven { pattern, exact: false, allow: true, inbox: None, by: user() }))
        })
    }

    fn push(&mut self, event: Event) -> Result<(), Error> {
        let entry = self.journal.push(self.world.clock.now().max(self.run.now()), event)?;
        self.run.apply(&entry)?;
        self.begun.push(entry);
        Ok(())
    }
}

/// Heads read at once when listing runs.
const PAGE: usize = 1000;

fn client(name: &str, server: &settings::Server, timeouts: Timeouts) -> Result<Client, Error> {
    let client = Client::builder(server.dialect, &server.base_url).name(name).timeouts(timeouts);
    let client = client.quirks(server.quirks);
    let client = match server.strict {
        Some(strict) => client.strict(strict),
        None => client,
    };
    let client = match &server.key {
        Some(key) => client.key(key.clone()),
        None => client,
    };
    client.build().map_err(|error| Error::File(format!("provider {name}: {error}")))
}

fn parse(file: &str, definition: &str) -> Result<Agent, Error> {
    Agent::parse(file, definition).map_err(|problems| Error::File(problems.to_string()))
}

/// Refuses globs that can match no tool of the agent.
fn check_patterns(agent: &Agent, patterns: &[String]) -> Result<(), Error> {
    patterns.iter().try_for_each(|pattern| {
        agent.check_pattern(pattern).map_err(|fault| Error::Refused(format!("--allow {pattern:?}: {fault}")))
    })
}

/// What the agent is told first: the prompt, the typed input, or both, and what goes with them.
fn first_words(new: &New) -> Result<Vec<Part>, Error> {
    let words = match (&new.prompt, &new.input) {
        (Some(prompt), None) => Some(prompt.clone()),
        (None, Some(input)) => Some(input.to_string()),
        (Some(prompt), Some(input)) => Some(format!("{prompt}\n\n{input}")),
        (None, None) if !new.attached.is_empty() => None,
        (None, None) => {
            let nothing = "the run has nothing to begin with: give a prompt, or --input for an agent that declares one";
            return Err(Error::Refused(nothing.to_owned()));
        }
    };
    Ok(words.map(Part::text).into_iter().chain(new.attached.iter().cloned()).collect())
}

/// Whether a run stopped because a budget that it shares was used up: it goes on whenever somebody resumes it.
fn waits_for_budget(run: &Run) -> bool {
    matches!(run.end(), Some(End::Exhausted { limit: Limit::Budget, .. }))
}

/// Why a run cannot be resumed so; `None` when it can.
fn refusal(run: &Run, resume: &Resume) -> Option<String> {
    match run.status() {
        _ if !resume.words.is_empty() => None,
        Status::Running | Status::Waiting => None,
        Status::Exhausted if resume.limits != Overrides::default() || waits_for_budget(run) => None,
        Status::Exhausted => Some("the run has used up a limit; raise it, for example with --max-turns".to_owned()),
        Status::Done => Some("the run is done; give it a prompt to go on".to_owned()),
        Status::Failed => Some("the run has failed; give it a prompt to go on".to_owned()),
        Status::Cancelled => Some("the run was cancelled; give it a prompt to go on".to_owned()),
        Status::Quarantined => Some("the run's journal is damaged".to_owned()),
    }
}

/// The call that is meant: the one named, or the only one that qualifies.
fn pick<'a>(
    run: &'a Run,
    call: Option<CallId>,
    qualifies: impl Fn(&CallRecord) -> bool,
    what: &str,
) -> Result<&'a CallRecord, Error> {
    let open: Vec<_> = run.calls().filter(|record| qualifies(record)).collect();
    let names = || open.iter().map(|record| record.id.to_string()).collect::<Vec<_>>().join(", ");
    let lines = || open.iter().map(|record| format!("\n  {}", in_a_line(record))).collect::<String>();
    match (call, &open[..]) {
        (_, []) => Err(Error::Refused(format!("no call of this run {what}"))),
        (None, [only]) => Ok(only),
        (None, _) => {
            Err(Error::Refused(format!("more than one call {what}; name one of these, or all with --all:{}", lines())))
        }
        (Some(id), open) => open
            .iter()
            .find(|record| record.id == id)
            .copied()
            .ok_or_else(|| Error::Refused(format!("{id} is not a call that {what}; these do: {}", names()))),
    }
}

/// Longest arguments in a line, in characters.
const ARGUMENTS_MAX: usize = 72;

/// A call in a line: its id, tool and shortened arguments.
fn in_a_line(record: &CallRecord) -> String {
    let tool = record.resolved.as_ref().map_or_else(|| record.written.name.clone(), |it| it.origin.to_string());
    let arguments = record.arguments().split_whitespace().collect::<Vec<_>>().join(" ");
    let more = if arguments.chars().nth(ARGUMENTS_MAX).is_some() { "…" } else { "" };
    format!("{} {tool} {}{more}", record.id, arguments.chars().take(ARGUMENTS_MAX).collect::<String>())
}

fn unkeyed(source: std::io::Error) -> Error {
    Error::Io { what: "the start key cannot be used".to_owned(), source }
}

/// Who does what is done here: `user@host`.
fn user() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "operator".to_owned());
    format!("{user}@{}", hostname())
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
