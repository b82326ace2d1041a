//! A world of virtual time: a model that is a function of the conversation, tools that log every effect, a person, and
//! a small engine that drives a run by the rules of the real one. What was sent may outlive its sender.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use super::build::*;
use crate::{
    chat::{CallId, Effect, Message},
    run::*,
};

/// What a model answers to a conversation, given the number of the attempt and of answers so far; `None` fails the attempt.
pub type Model = Rc<dyn Fn(&[Arc<Message>], u32, usize) -> Option<Say>>;

/// What a person posts to the run, given the world and where the run stands. Each item is named, and taken in once.
pub type Person = fn(&World, &Run) -> Vec<Event>;

/// How long a call takes until its effect, and until its answer.
const CALL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(100));

/// How long a model takes.
const ANSWER: Duration = secs(1);

/// How much later an effect lands whose sender is gone; less than [`TOTAL`], after which nothing lands any more.
const LATER: Duration = secs(30);

/// Most entries of a run here; none needs half as many.
const ENTRIES_MAX: usize = 1000;

type Duration = std::time::Duration;

/// What becomes of a call that was sent and whose answer nobody will hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never takes effect.
    Never,
    /// It had taken effect.
    Before,
    /// It takes effect when nobody listens any more.
    Later,
}

/// One effect on the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effected {
    pub call: CallId,
    pub attempt: u32,
    pub tool: String,
    pub arguments: Arc<str>,
    pub effect: Effect,
}

#[derive(Clone)]
pub struct World {
    pub now: Time,
    pub rules: Rules,
    pub model: Model,
    pub person: Person,
    /// What became of calls whose sender died or withdrew them.
    pub fate: Fate,
    /// The call whose first sending gets lost although its sender lives.
    pub lose: Option<(CallId, Fate)>,
    /// All that happened, reads included.
    pub effects: Vec<Effected>,
    /// What will still happen although nobody listens.
    orphans: Vec<(Time, Effected)>,
}

impl World {
    pub fn new(rules: Rules, model: Model, person: Person) -> Self {
        World {
            now: Time(1_000_000),
            rules,
            model,
            person,
            fate: Fate::Never,
            lose: None,
            effects: Vec::new(),
            orphans: Vec::new(),
        }
    }

    /// Effects of calls that change something, by call.
    pub fn writes(&self) -> Vec<&Effected> {
        let mut writes: Vec<_> = self.effects.iter().filter(|it| it.effect != Effect::Read).collect();
        writes.sort_by_key(|it| (it.call, it.attempt));
        writes
    }

    /// How often this call took effect.
    pub fn times(&self, call: CallId) -> usize {
        self.effects.iter().filter(|it| it.call == call).count()
    }

    fn take_effect(&mut self, effected: Effected) -> String {
        let twice = |it: &&Effected| (it.call, it.attempt) == (effected.call, effected.attempt);
        assert!(!self.effects.iter().any(|it| twice(&it)), "one sending, two effects: {effected:?}");
        let result = match &*effected.tool {
            "look" => format!("{} done", self.writes().len()),
            tool => format!("{tool} {} ok", effected.arguments),
        };
        self.effects.push(effected);
        result
    }
}

/// Something in flight.
enum Flight {
    Call {
        effected: Effected,
        /// `None` once it has taken effect.
        effect_at: Option<Time>,
        result: String,
        lost: bool,
        done_at: Time,
    },
    Ask {
        turn: u32,
        attempt: u32,
        seen: u64,
        say: Option<Say>,
        done_at: Time,
    },
}

impl Flight {
    fn done_at(&self) -> Time {
        match self {
            Flight::Call { done_at, .. } | Flight::Ask { done_at, .. } => *done_at,
        }
    }
}

/// The process was killed.
#[derive(Debug, PartialEq, Eq)]
pub struct Killed;

/// How a drive ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    Ended,
    Waiting(Vec<Wait>),
}

/// Drives one run.
pub struct Driver {
    pub run: Run,
    pub journal: Vec<Entry>,
    /// The process is killed when the journal has this many entries.
    pub stop_at: Option<usize>,
    /// Entries that an awaited commit has made durable.
    safe: usize,
    /// Lengths that no crash leaves behind, because one append goes across them.
    joined: HashSet<usize>,
    flights: Vec<Flight>,
}

impl Driver {
    pub fn start(started: Started, world: &World) -> Self {
        let mut driver = Driver {
            run: Run::default(),
            journal: Vec::new(),
            stop_at: None,
            safe: 0,
            joined: HashSet::new(),
            flights: Vec::new(),
        };
        driver.append(world.now, [Event::Started(Box::new(started)), claimed(1), input("do it")]).unwrap();
        driver.safe = driver.journal.len();
        driver
    }

    /// Another worker claims what survived.
    pub fn resume(journal: &[Entry], world: &World) -> Self {
        let epoch = journal.iter().filter(|entry| matches!(entry.event, Event::Claimed(_))).count() as u64 + 1;
        Driver::reopen(journal, world, [claimed(epoch)])
    }

    /// A copy of what survived goes on as another run.
    pub fn fork(journal: &[Entry], world: &World) -> Self {
        let forked = Forked { from: RunId::from_bytes([1; 16]), at: journal.len() as u64 };
        Driver::reopen(journal, world, [Event::Forked(forked), claimed(1)])
    }

    fn reopen(journal: &[Entry], world: &World, events: impl IntoIterator<Item = Event>) -> Self {
        let run = Run::replay(journal).unwrap();
        let journal = journal.to_vec();
        let mut driver = Driver { run, safe: 0, journal, stop_at: None, joined: HashSet::new(), flights: Vec::new() };
        driver.append(world.now, events).unwrap();
        driver.safe = driver.journal.len();
        driver
    }

    /// The process is gone; what it sent may take effect all the same. Returns the journals that may be left.
    pub fn die(mut self, world: &mut World) -> Vec<Vec<Entry>> {
        for flight in std::mem::take(&mut self.flights) {
            orphan(world, flight);
        }
        let lengths = (self.safe..=self.journal.len()).filter(|length| !self.joined.contains(length));
        lengths.map(|length| self.journal[..length].to_vec()).collect()
    }

    pub fn push(&mut self, at: Time, event: Event) -> Result<(), Killed> {
        if self.stop_at.is_some_and(|stop| self.journal.len() >= stop) {
            return Err(Killed);
        }
        let entry = Entry { index: self.journal.len() as u64, at: at.max(self.run.now()), event };
        self.run.apply(&entry).unwrap_or_else(|misfit| panic!("{misfit}: {entry:#?}\n{:#?}", self.journal));
        self.journal.push(entry);
        assert!(self.journal.len() < ENTRIES_MAX, "this never ends: {:#?}", &self.journal[ENTRIES_MAX - 50..]);
        Ok(())
    }

    /// Pushes what goes into one append.
    fn append(&mut self, at: Time, events: impl IntoIterator<Item = Event>) -> Result<(), Killed> {
        let before = self.journal.len();
        let events: Vec<_> = events.into_iter().collect();
        self.joined.extend(before + 1..before + events.len());
        events.into_iter().try_for_each(|event| self.push(at, event))
    }

    /// Drives until the run ends, or waits for what nobody gives.
    pub fn drive(&mut self, world: &mut World) -> Result<Left, Killed> {
        let mut patience = 30;
        loop {
            let want = self.pump(world)?;
            if self.run.end().is_some() {
                return Ok(Left::Ended);
            }
            match self.moment(&want) {
                Some(at) => {
                    patience = 30;
                    self.pass(world, at);
                    self.happen(world)?;
                }
                None if patience == 0 => return Ok(Left::Waiting(want.waiting)),
                None => {
                    patience -= 1;
                    self.pass(world, world.now.after(secs(10)));
                }
            }
        }
    }

    /// Does all that needs no time to pass, and returns what is in flight and waited for then.
    pub fn pump(&mut self, world: &mut World) -> Result<Want, Killed> {
        for round in 0.. {
            assert!(round < 200, "this never settles: {:#?}", self.journal);
            for event in (world.person)(world, &self.run) {
                if !item(&event).is_some_and(|item| self.run.has_taken(item)) {
                    self.push(world.now, event)?;
                }
            }
            let want = self.run.next();
            if !want.record.is_empty() {
                let record = want.record.clone();
                assert_eq!(want, Want { record: want.record.clone(), ..Want::default() }, "the rest is empty");
                record.into_iter().try_for_each(|event| self.push(world.now, event))?;
                continue;
            }
            if self.give_up(world, &want)? || self.withdraw(world, &want)? || self.begin(world, &want)? {
                continue;
            }
            return Ok(want);
        }
        unreachable!()
    }

    /// Records the calls of a dead process whose sending is over.
    fn give_up(&mut self, world: &World, want: &Want) -> Result<bool, Killed> {
        let over = want.lost.iter().filter(|lost| deadline(&self.run, lost.call) <= world.now);
        let over: Vec<_> = over.cloned().map(Event::CallLost).collect();
        let some = !over.is_empty();
        over.into_iter().try_for_each(|event| self.push(world.now, event))?;
        Ok(some)
    }

    /// Ends what is in flight and not wanted.
    fn withdraw(&mut self, world: &mut World, want: &Want) -> Result<bool, Killed> {
        let unwanted = |flight: &Flight| match flight {
            Flight::Ask { .. } => want.ask.is_none(),
            Flight::Call { effected, .. } => {
                let (call, attempt) = (effected.call, effected.attempt);
                !want.calls.iter().any(|want| (want.call, want.attempt, want.started) == (call, attempt, true))
            }
        };
        let Some(place) = self.flights.iter().position(unwanted) else { return Ok(false) };
        self.break_off(world, place)?;
        Ok(true)
    }

    /// What is in flight breaks off, before or after it took effect.
    pub fn break_off(&mut self, world: &mut World, place: usize) -> Result<(), Killed> {
        let event = match &self.flights[place] {
            Flight::Call { effected, .. } => lost(effected.call, effected.attempt),
            Flight::Ask { attempt, .. } => failed(*attempt),
        };
        self.push(world.now, event)?;
        orphan(world, self.flights.remove(place));
        Ok(())
    }

    /// Starts what is wanted and not in flight.
    fn begin(&mut self, world: &mut World, want: &Want) -> Result<bool, Killed> {
        if want.list_tools {
            self.push(world.now, listed())?;
            return Ok(true);
        }
        let over = |want: &CallWant| want.after.as_ref().is_none_or(|sent| sent.deadline <= world.now);
        let due: Vec<_> = want.calls.iter().filter(|want| !want.started && over(want)).cloned().collect();
        let starts: Vec<_> = due.iter().map(|want| self.sending(world, want)).collect();
        if !starts.is_empty() {
            self.append(world.now, starts)?;
            self.safe = self.journal.len();
            due.iter().for_each(|want| self.send(world, want));
            return Ok(true);
        }
        for want in want.calls.iter().filter(|want| want.started) {
            let flies = |flight: &Flight| matches!(flight, Flight::Call { effected, .. } if effected.call == want.call);
            assert!(self.flights.iter().any(flies), "{} should be in flight", want.call);
        }
        let Some(ask) = want.ask.filter(|_| !self.flights.iter().any(|it| matches!(it, Flight::Ask { .. }))) else {
            return Ok(false);
        };
        assert_eq!(self.flights.len(), 0, "calls are open while a model is to be asked");
        assert_upstream(&self.run);
        let attempt = u32::try_from(self.run.tally().attempts).unwrap() + 1;
        let seen = self.run.length();
        let say = (world.model)(&self.run.conversation(), attempt, self.run.answers_had());
        self.push(world.now, asked(ask.turn, attempt))?;
        let done_at = world.now.after(ANSWER);
        self.flights.push(Flight::Ask { turn: ask.turn, attempt, seen, say, done_at });
        Ok(true)
    }

    fn sending(&self, world: &World, want: &CallWant) -> Event {
        let record = self.run.call(want.call).unwrap();
        let resolved = record.resolved.as_ref().expect("only valid calls are sent");
        assert!(!record.undecided() && (resolved.approve.is_none() || record.allowed), "{} needs a word", want.call);
        Event::ToolStarted(ToolStarted {
            call: want.call,
            attempt: want.attempt,
            idempotency_key: want.call.to_string(),
            effect: resolved.effect,
            arguments: record.edited.clone(),
            deadline: world.now.after(resolved.total),
            guard: None,
            origin: Origin::Model,
        })
    }

    fn send(&mut self, world: &mut World, want: &CallWant) {
        let record = self.run.call(want.call).unwrap();
        let resolved = record.resolved.as_ref().unwrap();
        let effected = Effected {
            call: want.call,
            attempt: want.attempt,
            tool: resolved.name.to_string(),
            arguments: record.arguments().clone(),
            effect: resolved.effect,
        };
        let alone = |resolved: &Resolved| resolved.effect != Effect::Read && !resolved.parallel;
        for flight in &self.flights {
            let Flight::Call { effected, .. } = flight else { panic!("{} while a model is asked", want.call) };
            let other = self.run.call(effected.call).and_then(|call| call.resolved.as_ref()).unwrap();
            assert!(!alone(resolved) && !alone(other), "{} beside {}", want.call, effected.call);
        }
        let open = self.run.calls().any(|call| call.id < want.call && !call.state.settled());
        assert!(!alone(resolved) || !open, "{} has to wait for earlier calls", want.call);
        let orphaned = world.orphans.iter().any(|(_, orphan)| orphan.call == want.call);
        assert!(!orphaned || resolved.effect == Effect::Read, "{} is repeated too early", want.call);
        let lost = world.lose.filter(|(call, _)| (*call, 1) == (want.call, want.attempt)).map(|(_, fate)| fate);
        let (until_effect, until_answer) = CALL;
        let effect_at = (lost != Some(Fate::Never) && lost != Some(Fate::Later)).then(|| world.now.after(until_effect));
        if lost == Some(Fate::Later) {
            world.orphans.push((world.now.after(LATER), effected.clone()));
        }
        let done_at = world.now.after(until_answer);
        self.flights.push(Flight::Call { effected, effect_at, result: String::new(), lost: lost.is_some(), done_at });
    }

    /// When something happens by itself next.
    pub fn moment(&self, want: &Want) -> Option<Time> {
        let flights = self.flights.iter().map(Flight::done_at);
        let over = want.calls.iter().filter_map(|want| Some(want.after.as_ref()?.deadline));
        let lost = want.lost.iter().map(|lost| deadline(&self.run, lost.call));
        flights.chain(over).chain(lost).chain(want.until).min()
    }

    /// Lets time pass, with all that takes effect meanwhile.
    pub fn pass(&mut self, world: &mut World, to: Time) {
        let to = to.max(world.now);
        let due = |at: Time| at <= to;
        let mut effects: Vec<(Time, Option<usize>)> = Vec::new();
        effects.extend(self.flights.iter().enumerate().filter_map(|(place, flight)| match flight {
            Flight::Call { effect_at: Some(at), .. } if due(*at) => Some((*at, Some(place))),
            _ => None,
        }));
        effects.extend(world.orphans.iter().filter(|(at, _)| due(*at)).map(|(at, _)| (*at, None)));
        effects.sort();
        for (_, place) in effects {
            match place.map(|place| &mut self.flights[place]) {
                Some(Flight::Call { effected, effect_at, result, .. }) => {
                    *effect_at = None;
                    *result = world.take_effect(effected.clone());
                }
                Some(Flight::Ask { .. }) => unreachable!(),
                None => {
                    let first = (0..world.orphans.len()).min_by_key(|place| world.orphans[*place].0).unwrap();
                    let (_, effected) = world.orphans.remove(first);
                    world.take_effect(effected);
                }
            }
        }
        world.now = to;
    }

    /// The first thing in flight that is over comes back, or the time that was waited for is there.
    pub fn happen(&mut self, world: &mut World) -> Result<(), Killed> {
        let first = (0..self.flights.len()).min_by_key(|place| self.flights[*place].done_at());
        match first.filter(|place| self.flights[*place].done_at() <= world.now) {
            Some(place) => self.come_back(world, place, false),
            None if self.run.next().until.is_some_and(|until| until <= world.now) => self.push(world.now, woken()),
            None => Ok(()),
        }
    }

    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What is in flight comes back, or fails although its sender lives.
    pub fn come_back(&mut self, world: &mut World, place: usize, fails: bool) -> Result<(), Killed> {
        let at = self.flights[place].done_at();
        self.pass(world, at);
        match self.flights.remove(place) {
            Flight::Call { effected, result, lost: false, .. } if !fails => {
                self.push(world.now, finished(effected.call, effected.attempt, &result))
            }
            Flight::Call { effected, .. } => self.push(world.now, lost(effected.call, effected.attempt)),
            Flight::Ask { turn, attempt, seen, say: Some(say), .. } if !fails => {
                let events = judge(&world.rules, &self.run, turn, attempt, seen, &say);
                self.append(world.now, events)
            }
            Flight::Ask { attempt, .. } => {
                self.push(world.now, failed(attempt))?;
                self.push(world.now, waiting(WaitKind::Provider, Some(world.now.after(secs(5)))))
            }
        }
    }

    /// A call that was about to be sent never goes out; `false` when that is no call, or too late.
    pub fn hold_back(&mut self, world: &mut World, place: usize) -> Result<bool, Killed> {
        let Flight::Call { effected, effect_at: Some(_), .. } = &self.flights[place] else { return Ok(false) };
        self.push(world.now, never_sent(effected.call, effected.attempt))?;
        self.flights.remove(place);
        Ok(true)
    }

    /// The server of something in flight wants input; `false` when that is no call.
    pub fn pause(&mut self, world: &mut World, place: usize) -> Result<bool, Killed> {
        let Flight::Call { effected, .. } = &self.flights[place] else { return Ok(false) };
        self.push(world.now, paused(&effected.call.to_string()))?;
        self.flights.remove(place);
        Ok(true)
    }
}

/// Nobody listens any more.
fn orphan(world: &mut World, flight: Flight) {
    if let Flight::Call { effected, effect_at: Some(_), .. } = flight {
        match world.fate {
            Fate::Never => {}
            Fate::Before => drop(world.take_effect(effected)),
            Fate::Later => world.orphans.push((world.now.after(LATER), effected)),
        }
    }
}

/// The name of what was posted.
pub fn item(event: &Event) -> Option<&str> {
    match event {
        Event::InputGiven(given) => given.inbox.as_deref(),
        Event::ApprovalGiven(given) => given.inbox.as_deref(),
        Event::DoubtResolved(resolved) => resolved.inbox.as_deref(),
        Event::CancelAsked(asked) => asked.inbox.as_deref(),
        Event::LimitsChanged(changed) => changed.inbox.as_deref(),
        _ => None,
    }
}

/// The same event under a name, so that it is taken in once.
pub fn posted(name: &str, mut event: Event) -> Event {
    let inbox = match &mut event {
        Event::InputGiven(given) => &mut given.inbox,
        Event::ApprovalGiven(given) => &mut given.inbox,
        Event::DoubtResolved(resolved) => &mut resolved.inbox,
        Event::CancelAsked(asked) => &mut asked.inbox,
        Event::LimitsChanged(changed) => &mut changed.inbox,
        event => panic!("{event:?} cannot be posted"),
    };
    *inbox = Some(name.to_owned());
    event
}

/// When the newest sending of a call has certainly ended.
fn deadline(run: &Run, call: CallId) -> Time {
    let CallState::Started(sent) = &run.call(call).unwrap().state else { panic!("{call} is in flight nowhere") };
    sent.deadline
}
