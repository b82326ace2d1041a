//! What production runs taught: figures by model, tool, agent and day, read from the journals of the store, and the router's
//! memory beside them.
//!
//! [`Stats::take`] is a pure function of one run's entries; the rest of this file reads run after run, so that no more than
//! one is in memory. Always true:
//! - A damaged run is named and none of it is counted. A run that was deleted meanwhile is none.
//! - What is unknown (a price, the tokens of an answer) is counted as unknown and never as nothing.
//! - With `since`, what happened before is not counted, even of runs that went on.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use super::{Daemon, Error, report::problem, spread::Spread};
use crate::{
    chat::{AnswerPart, CallId, ToolName, Usage},
    repair::Class,
    router::Standing,
    run::{Decision, Entry, Event, ModelAnswered, NanoDollars, Rejection, RunId, Status, Time},
};

/// What stands for all names that no tool has.
pub const NO_TOOL: &str = "(no such tool)";

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// From when on; `None` for all.
    pub since: Option<Time>,
    /// The agent that it is about; `None` for all.
    pub agent: Option<String>,
    /// When it was read.
    pub now: Time,
    /// Runs of which something was counted.
    pub runs: u64,
    /// Runs that cannot be read as they were written, and why.
    pub damaged: Vec<(RunId, String)>,
    /// By endpoint, `provider/model`.
    pub models: BTreeMap<String, Model>,
    /// By tool, `server.tool`, and [`NO_TOOL`].
    pub tools: BTreeMap<String, Tool>,
    /// What was asked about calls, by tool.
    pub approvals: BTreeMap<String, Approvals>,
    /// By agent.
    pub agents: BTreeMap<String, Agent>,
    /// By day in UTC, `2026-11-21`.
    pub days: BTreeMap<String, Spent>,
    /// What the router remembers of each endpoint.
    pub memory: BTreeMap<String, Standing>,
}

/// What answers used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// Answers.
    pub answers: u64,
    /// Tokens of all attempts that told theirs.
    pub usage: Usage,
    /// What was paid, as far as it is known.
    pub known_cost: NanoDollars,
    /// Attempts that used tokens at an unknown price.
    pub unpriced: u64,
}

impl Spent {
    /// What was paid; `None` when that is unknown of any attempt.
    pub fn cost(&self) -> Option<NanoDollars> {
        (self.unpriced == 0).then_some(self.known_cost)
    }

    fn add(&mut self, usage: Option<Usage>, cost: Option<NanoDollars>) {
        self.usage += usage.unwrap_or_default();
        match cost {
            Some(cost) => self.known_cost.0 = self.known_cost.0.saturating_add(cost.0),
            None => self.unpriced += 1,
        }
    }
}

/// The calls of answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    /// Valid ones, mended ones and those that policy refused included.
    pub valid: u64,
    /// Of those: mended.
    pub repaired: u64,
    /// How those were mended, by rung and kind of repair; a call counts once for each kind.
    pub repairs: BTreeMap<(String, String), u64>,
    /// Those that were not valid, by class.
    pub rejected: BTreeMap<Class, u64>,
}

impl Calls {
    /// All calls.
    pub fn all(&self) -> u64 {
        self.valid + self.rejected.values().sum::<u64>()
    }
}

/// What was seen of an endpoint.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Its answers, and what they used.
    pub spent: Spent,
    /// Attempts without an answer, by the stable name of their class.
    pub failed: BTreeMap<String, u64>,
    /// The calls that it made.
    pub calls: Calls,
    /// From request to end of answer.
    pub latency: Spread,
}

/// What was seen of a tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tool {
    /// The calls that models made of it.
    pub calls: Calls,
    /// Calls that policy or a person refused.
    pub denied: u64,
    /// Calls that were sent; repeats count.
    pub started: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Of those: with an error.
    pub errors: u64,
    /// Calls whose outcome was lost.
    pub lost: u64,
    /// From sending to answer.
    pub latency: Spread,
}

/// The questions about calls of a tool, and what became of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Approvals {
    /// Calls that were asked about.
    pub asked: u64,
    /// Calls that were allowed as they were.
    pub allowed: u64,
    /// Calls that were allowed with other arguments.
    pub edited: u64,
    /// Calls that were refused.
    pub denied: u64,
    /// Decisions by who made them: a person (`user@host`), `expiry`, or `policy`.
    pub by: BTreeMap<String, u64>,
    /// From question to decision.
    pub waited: Spread,
}

/// What was seen of an agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agent {
    /// Its runs, by where they stand now.
    pub runs: BTreeMap<&'static str, u64>,
    /// Their answers, and what they used.
    pub spent: Spent,
    /// Attempts without an answer.
    pub failed: u64,
    /// Calls that were sent.
    pub started: u64,
    /// How often runs ended otherwise than done, by the stable code of the error.
    pub troubles: BTreeMap<String, u64>,
    /// From the start of a run to its first end, whatever that was.
    pub length: Spread,
}

impl Daemon {
    /// Reads all runs, of the last `since` only if it is given, and of one agent only if that is.
    ///
    /// # Errors
    /// When the store fails; a damaged run is none.
    pub async fn stats(&self, since: Option<Duration>, agent: Option<&str>) -> Result<Stats, Error> {
        let now = self.clock.now();
        let back = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let since = since.map(|length| Time(now.0.saturating_sub(back(length))));
        let mut stats = Stats { since, agent: agent.map(str::to_owned), now, ..Stats::default() };
        stats.memory = self.router.memory().all().map(|(name, standing)| (name.to_owned(), standing.clone())).collect();
        for slot in 0..self.slots.count() {
            let mut reach = None;
            for listed in self.slots.listed_in(slot).await? {
                if agent.is_some_and(|agent| agent != listed.columns.agent) {
                    continue;
                }
                if let Some(damage) = &listed.damage {
                    stats.damaged.push((listed.run, damage.to_string()));
                } else if since.is_none_or(|since| listed.columns.updated >= since) {
                    let reach = match &reach {
                        Some(reach) => Arc::clone(reach),
                        None => reach.insert(self.reach(slot).await?.0).clone(),
                    };
                    match reach.entries(listed.run).await {
                        Ok(entries) => {
                            stats.take(&entries, Status::parse(&listed.columns.status), listed.driver.is_some());
                        }
                        Err(error) => match error.code() {
                            "store_damaged" => stats.damaged.push((listed.run, error.to_string())),
                            "not_found" => {}
                            _ => return Err(error),
                        },
                    }
                }
            }
        }
        if agent.is_some() {
            // What the router knows is nobody's; it is told of those that this agent has met.
            stats.memory.retain(|name, _| stats.models.contains_key(name));
        }
        Ok(stats)
    }
}

impl Stats {
    /// Takes in one run: its entries, where it stands, and whether it is driven (a running one was interrupted otherwise).
    pub fn take(&mut self, entries: &[Entry], status: Option<Status>, driven: bool) {
        let agent = entries.iter().find_map(|entry| match &entry.event {
            Event::Started(started) => Some(started.agent.clone()),
            _ => None,
        });
        let mut run = Reader { agent: agent.unwrap_or_default(), ..Reader::default() };
        let mut any = false;
        for entry in entries {
            let counts = self.since.is_none_or(|since| entry.at >= since);
            any |= counts;
            run.read(entry, counts.then_some(&mut *self));
        }
        if any {
            self.runs += 1;
            let status = match status {
                Some(Status::Running) | None if !driven => "interrupted",
                None => Status::Running.as_str(),
                Some(status) => status.as_str(),
            };
            *self.agents.entry(run.agent).or_default().runs.entry(status).or_default() += 1;
        }
    }

    fn tool(&mut self, name: &str) -> &mut Tool {
        self.tools.entry(name.to_owned()).or_default()
    }

    /// Books what an attempt used, wherever it is to be seen.
    fn spend(&mut self, agent: &str, endpoint: &str, at: Time, book: impl Fn(&mut Spent)) {
        book(&mut self.models.entry(endpoint.to_owned()).or_default().spent);
        book(&mut self.agents.entry(agent.to_owned()).or_default().spent);
        book(self.days.entry(day(at)).or_default());
    }
}

/// What must be known of a run to read its next entry.
#[derive(Default)]
struct Reader {
    agent: String,
    /// The tools on offer, by the names under which they are offered.
    offered: HashMap<String, ToolName>,
    /// The calls so far.
    calls: HashMap<CallId, Made>,
    /// When it started.
    started: Option<Time>,
    /// Whether it has ended before.
    ended: bool,
    /// Questions without a decision, and since when they stand.
    asked: HashMap<CallId, Time>,
}

/// A call: who made it, of which tool, and whether it was valid as it came.
#[derive(Clone)]
struct Made {
    endpoint: String,
    tool: String,
    resolved: bool,
}

impl Reader {
    /// Reads an entry, and counts it where there is something to count it in.
    fn read(&mut self, entry: &Entry, stats: Option<&mut Stats>) {
        match &entry.event {
            Event::ToolsListed(listed) => {
                let named = listed.tools.iter().map(|tool| (tool.name.to_string(), tool.origin.clone()));
                self.offered = named.collect();
            }
            Event::ToolsChanged(it) => {
                let now = it.added.iter().chain(it.changed.iter().map(|change| &change.tool));
                self.offered.extend(now.map(|tool| (tool.name.to_string(), tool.origin.clone())));
            }
            Event::ModelAnswered(answered) => {
                let calls = self.calls_of(answered);
                self.calls.extend(calls.iter().cloned());
                if let Some(stats) = stats {
                    self.count_answer(answered, &calls, entry.at, stats);
                }
            }
            event => {
                if let Some(stats) = stats {
                    self.count(event, entry.at, stats);
                }
                match event {
                    Event::Started(_) => self.started = Some(entry.at),
                    Event::Ended(_) => self.ended = true,
                    Event::ApprovalAsked(asked) => drop(self.asked.insert(asked.call, entry.at)),
                    Event::ApprovalGiven(given) => drop(self.asked.remove(&given.call)),
                    _ => {}
                }
            }
        }
    }

    fn calls_of(&self, answered: &ModelAnswered) -> Vec<(CallId, Made)> {
        let written = answered.parts.iter().filter_map(|part| match part {
            AnswerPart::Call(call) => Some(&call.name),
            _ => None,
        });
        let made = answered.calls.iter().zip(written).map(|(call, name)| {
            let origin = call.resolved.as_ref().map(|resolved| &resolved.origin).or_else(|| self.offered.get(name));
            let made = Made {
                endpoint: answered.endpoint.clone(),
                tool: origin.map_or_else(|| NO_TOOL.to_owned(), ToString::to_string),
                resolved: call.resolved.is_some(),
            };
            (call.id, made)
        });
        made.collect()
    }

    fn count_answer(&self, answered: &ModelAnswered, calls: &[(CallId, Made)], at: Time, stats: &mut Stats) {
        stats.spend(&self.agent, &answered.endpoint, at, |spent| {
            spent.answers += 1;
            spent.add(answered.usage, answered.cost);
        });
        stats.models.entry(answered.endpoint.clone()).or_default().latency.add(answered.latency);
        // What is not resolved is counted with its rejection, which stands in the same append.
        for (call, (_, made)) in answered.calls.iter().zip(calls) {
            let Some(resolved) = &call.resolved else { continue };
            for calls in calls_at(stats, made) {
                calls.valid += 1;
                calls.repaired += u64::from(!resolved.repairs.is_empty());
                let kinds: BTreeSet<_> = resolved.repairs.iter().map(|it| (it.rung.clone(), it.kind.clone())).collect();
                for kind in kinds {
                    *calls.repairs.entry(kind).or_default() += 1;
                }
            }
        }
    }

    fn count(&self, event: &Event, at: Time, stats: &mut Stats) {
        let tool_of = |call: &CallId| self.calls.get(call).map_or(NO_TOOL, |made| made.tool.as_str());
        match event {
            Event::AttemptFailed(failed) => {
                let model = stats.models.entry(failed.endpoint.clone()).or_default();
                *model.failed.entry(failed.class.clone()).or_default() += 1;
                stats.agents.entry(self.agent.clone()).or_default().failed += 1;
                if failed.usage.is_some() || failed.cost.is_some() {
                    stats.spend(&self.agent, &failed.endpoint, at, |spent| spent.add(failed.usage, failed.cost));
                }
            }
            Event::CallRejected(rejected) => {
                let Some(made) = self.calls.get(&rejected.call) else { return };
                if let Rejection::Denied(_) = rejected.reason {
                    stats.tool(&made.tool).denied += 1;
                }
                match &rejected.reason {
                    Rejection::Invalid(diagnosis) => {
                        for calls in calls_at(stats, made) {
                            *calls.rejected.entry(diagnosis.class).or_default() += 1;
                        }
                    }
                    _ if made.resolved => {}
                    _ => calls_at(stats, made).into_iter().for_each(|calls| calls.valid += 1),
                }
            }
            Event::ApprovalAsked(asked) => {
                stats.approvals.entry(tool_of(&asked.call).to_owned()).or_default().asked += 1;
            }
            Event::ApprovalGiven(given) => {
                let approvals = stats.approvals.entry(tool_of(&given.call).to_owned()).or_default();
                *approvals.by.entry(given.by.clone()).or_default() += 1;
                if let Some(since) = self.asked.get(&given.call) {
                    approvals.waited.add(at.since(*since));
                }
                match given.decision {
                    Decision::Allow => approvals.allowed += 1,
                    Decision::Edit(_) => approvals.edited += 1,
                    Decision::Deny(_) => {
                        approvals.denied += 1;
                        stats.tool(tool_of(&given.call)).denied += 1;
                    }
                }
            }
            Event::Ended(ended) => {
                let agent = stats.agents.entry(self.agent.clone()).or_default();
                if let Some(problem) = problem(&ended.end) {
                    *agent.troubles.entry(problem.code).or_default() += 1;
                }
                if let Some(started) = self.started.filter(|_| !self.ended) {
                    agent.length.add(at.since(started));
                }
            }
            Event::ToolStarted(started) => {
                stats.tool(tool_of(&started.call)).started += 1;
                stats.agents.entry(self.agent.clone()).or_default().started += 1;
            }
            Event::ToolFinished(finished) => {
                let tool = stats.tool(tool_of(&finished.call));
                if finished.sent {
                    tool.answered += 1;
                    tool.errors += u64::from(finished.is_error);
                    tool.latency.add(finished.latency);
                }
            }
            Event::CallLost(lost) => stats.tool(tool_of(&lost.call)).lost += 1,
            _ => {}
        }
    }
}

/// Where a call is counted: at its endpoint and at its tool.
fn calls_at<'a>(stats: &'a mut Stats, made: &Made) -> [&'a mut Calls; 2] {
    let Stats { models, tools, .. } = stats;
    [
        &mut models.entry(made.endpoint.clone()).or_default().calls,
        &mut tools.entry(made.tool.clone()).or_default().calls,
    ]
}

/// The day of a moment in UTC.
fn day(at: Time) -> String {
    let written = jiff::Timestamp::from_millisecond(at.0).map(|moment| moment.to_string());
    // RFC 3339 begins with the day.
    written.ok().and_then(|text| Some(text.split_once('T')?.0.to_owned())).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::WrittenCall,
        daemon::settings::{self, Settings},
        journal::{Journal, golden::every_event},
        repair::Diagnosis,
        run::{ApprovalAsked, ApprovalGiven, Call, CallRejected, End, Ended, Limit},
        store::{Chain, Columns, Part},
    };

    /// A journal in the making; events come from the golden one and are changed to need.
    struct Told {
        entries: Vec<Entry>,
        at: Time,
    }

    macro_rules! golden {
        ($kind:ident) => {
            every_event()
                .into_iter()
                .find_map(|event| if let Event::$kind(it) = event { Some(it) } else { None })
                .unwrap()
        };
    }

    impl Told {
        fn of(agent: &str, day: i64) -> Self {
            let mut journal = Told { entries: Vec::new(), at: Time(day * 86_400_000) };
            let mut started = golden!(Started);
            started.agent = agent.to_owned();
            journal.push(Event::Started(started));
            journal.push(Event::ToolsListed(golden!(ToolsListed)));
            journal
        }

        fn push(&mut self, event: Event) {
            self.entries.push(Entry { index: self.entries.len() as u64, at: self.at, event });
        }

        /// An answer with calls by their written names, each valid or with the reason why it is not.
        fn answer(&mut self, endpoint: &str, turn: u32, cost: Option<u64>, calls: &[(&str, Option<Rejection>)]) {
            let mut answered = golden!(ModelAnswered);
            let resolved = answered.calls.iter().find_map(|call| call.resolved.clone()).unwrap();
            answered.endpoint = endpoint.to_owned();
            answered.usage = Some(Usage { input: 100, output: 10, ..Usage::default() });
            answered.cost = cost.map(NanoDollars);
            answered.latency = Duration::from_secs(1);
            answered.parts.clear();
            answered.calls.clear();
            let mut rejections = Vec::new();
            for (id, (name, reason)) in (1..).map(|call| CallId { turn, call }).zip(calls) {
                let written = WrittenCall {
                    provider_id: None,
                    name: (*name).to_owned(),
                    arguments: "{}".into(),
                    complete: true,
                    opaque: None,
                };
                answered.parts.push(AnswerPart::Call(written));
                answered.calls.push(Call { id, resolved: reason.is_none().then(|| resolved.clone()) });
                rejections.extend(reason.clone().map(|reason| Event::CallRejected(CallRejected { call: id, reason })));
            }
            self.push(Event::ModelAnswered(answered));
            rejections.into_iter().for_each(|event| self.push(event));
        }

        fn finish(&mut self, turn: u32, sent: bool, is_error: bool) {
            let id = CallId { turn, call: 1 };
            let (mut started, mut finished) = (golden!(ToolStarted), golden!(ToolFinished));
            (started.call, finished.call, finished.sent, finished.is_error) = (id, id, sent, is_error);
            self.push(Event::ToolStarted(started));
            self.push(Event::ToolFinished(finished));
        }

        fn fail(&mut self, endpoint: &str, class: &str, cost: Option<u64>) {
            let mut failed = golden!(AttemptFailed);
            (failed.endpoint, failed.class) = (endpoint.to_owned(), class.to_owned());
            failed.usage = cost.map(|_| Usage { input: 7, ..Usage::default() });
            failed.cost = cost.map(NanoDollars);
            self.push(Event::AttemptFailed(failed));
        }
    }

    fn invalid(class: Class) -> Option<Rejection> {
        Some(Rejection::Invalid(Diagnosis { class, text: String::new() }))
    }

    #[test]
    fn every_figure_has_its_place() {
        let write = "files__write_file";
        let mut first = Told::of("triage", 0);
        first.answer("a/m", 1, Some(50), &[(write, None)]);
        first.finish(1, true, false);
        first.answer(
            "a/m",
            2,
            None,
            &[(write, invalid(Class::SchemaMismatch)), ("run_shell", invalid(Class::UnknownName))],
        );
        first.at = Time(86_400_000);
        first.fail("b/m", "transient", None);
        first.fail("b/m", "malformed_answer", Some(3));
        first.answer(
            "b/m",
            3,
            Some(7),
            &[(write, Some(Rejection::Denied(String::new()))), (write, Some(Rejection::CutAnswer))],
        );
        let mut second = Told::of("tidy", 1);
        second.answer("a/m", 1, Some(1), &[(write, None)]);
        second.finish(1, true, true);
        second.answer("a/m", 2, Some(1), &[(write, None)]);
        second.finish(2, false, true);
        let mut lost = golden!(CallLost);
        lost.call = CallId { turn: 2, call: 1 };
        second.push(Event::CallLost(lost));

        let mut stats = Stats::default();
        stats.take(&first.entries, Some(Status::Done), false);
        stats.take(&second.entries, Some(Status::Running), false);
        assert_eq!(stats.runs, 2);

        let (a, b) = (&stats.models["a/m"], &stats.models["b/m"]);
        assert_eq!(
            (a.spent.answers, a.spent.cost(), a.spent.known_cost, a.spent.unpriced),
            (4, None, NanoDollars(52), 1)
        );
        assert_eq!((b.spent.answers, b.spent.cost(), b.spent.usage.input), (1, Some(NanoDollars(10)), 107));
        assert_eq!(b.failed, BTreeMap::from([("malformed_answer".to_owned(), 1), ("transient".to_owned(), 1)]));
        assert_eq!((a.calls.valid, b.calls.valid), (3, 2));
        let golden = golden!(ModelAnswered).calls.into_iter().find_map(|call| call.resolved).unwrap().repairs;
        let kinds: BTreeMap<_, _> = golden.into_iter().map(|it| ((it.rung, it.kind), 3)).collect();
        assert!(!kinds.is_empty());
        assert_eq!((a.calls.repaired, &a.calls.repairs), (3, &kinds));
        assert_eq!(stats.tools["files.write_file"].calls.repairs, kinds);
        assert_eq!(a.calls.rejected, BTreeMap::from([(Class::UnknownName, 1), (Class::SchemaMismatch, 1)]));
        assert!((a.latency.percentile(0.5).unwrap().as_secs_f64() - 1.0).abs() < 0.02);

        let tool = &stats.tools["files.write_file"];
        assert_eq!((tool.calls.valid, tool.calls.all(), tool.denied), (5, 6, 1));
        assert_eq!((tool.started, tool.answered, tool.errors, tool.lost), (3, 2, 1, 1));
        assert_eq!(stats.tools[NO_TOOL].calls.rejected, BTreeMap::from([(Class::UnknownName, 1)]));

        let triage = &stats.agents["triage"];
        assert_eq!((triage.runs.clone(), triage.failed, triage.started), (BTreeMap::from([("done", 1)]), 2, 1));
        assert_eq!(stats.agents["tidy"].runs, BTreeMap::from([("interrupted", 1)]));

        let days: Vec<_> = stats.days.iter().map(|(day, spent)| (day.as_str(), spent.answers, spent.cost())).collect();
        assert_eq!(days, [("1970-01-01", 2, None), ("1970-01-02", 3, Some(NanoDollars(12)))]);
    }

    #[tokio::test]
    async fn damaged_runs_are_named_and_the_others_counted() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings { store: settings::Store::Memory, ..Settings::default() };
        let daemon = Daemon::open(&settings, home.path(), None).unwrap();
        let store = daemon.slots()[0].store().clone();
        let [sound, old, damaged] = [1, 2, 3].map(|byte| RunId::from_bytes([byte; 16]));
        let now = daemon.clock.now();
        for (run, updated) in [(sound, now), (old, Time(now.0 - 100_000_000))] {
            let (mut journal, _) = Journal::claim(store.clone(), run).await.unwrap();
            let mut told = Told::of("tidy", 0);
            told.at = updated;
            told.answer("a/m", 1, Some(5), &[("files__write_file", None)]);
            for entry in told.entries {
                journal.push(entry.at, entry.event).unwrap();
            }
            let (status, agent) = ("done".to_owned(), "tidy".to_owned());
            journal.set_columns(Columns { status, agent, created: updated, updated, cost_nano: Some(5) });
            journal.commit().await.unwrap();
        }
        let epoch = store.claim(damaged).await.unwrap().epoch;
        let part = Part {
            run: damaged,
            epoch,
            expected_length: 0,
            frames: vec![bytes::Bytes::from_static(b"no frame of ours")],
            chain: Chain::default(),
            blobs: Vec::new(),
            consumed: Vec::new(),
            columns: Some(Columns { updated: now, ..Columns::default() }),
        };
        store.append(vec![part]).await.unwrap();

        let stats = daemon.stats(None, None).await.unwrap();
        assert_eq!((stats.runs, stats.models["a/m"].spent.answers), (2, 2));
        assert_eq!(stats.damaged.iter().map(|(run, _)| *run).collect::<Vec<_>>(), [damaged]);
        let newest = daemon.stats(Some(Duration::from_secs(3600)), None).await.unwrap();
        assert_eq!((newest.runs, newest.models["a/m"].spent.answers, newest.damaged.len()), (1, 1, 1));
        let of = |agent: &'static str| daemon.stats(None, Some(agent));
        assert_eq!((of("tidy").await.unwrap().runs, of("other").await.unwrap().runs), (2, 0));
    }

    #[test]
    fn questions_and_ends_are_counted() {
        let mut run = Told::of("triage", 0);
        let write = "files__write_file";
        run.answer("a/m", 1, Some(1), &[(write, None), (write, None), (write, None)]);
        let of = |call| CallId { turn: 1, call };
        for call in 1..=3 {
            run.push(Event::ApprovalAsked(ApprovalAsked { call: of(call), ..golden!(ApprovalAsked) }));
        }
        run.at = Time(60_000);
        let given = |call, by: &str, decision| {
            let by = by.to_owned();
            Event::ApprovalGiven(ApprovalGiven { call: of(call), by, decision, ..golden!(ApprovalGiven) })
        };
        run.push(given(1, "me@here", Decision::Allow));
        run.push(given(2, "me@here", Decision::Edit("{}".into())));
        run.push(given(3, "expiry", Decision::Deny(None)));
        let ended = |end| Event::Ended(Ended { end });
        run.push(ended(End::Exhausted { limit: Limit::Turns, message: None }));
        run.at = Time(90_000);
        run.push(ended(End::Done { output: "done".into() }));
        let mut stats = Stats::default();
        stats.take(&run.entries, Some(Status::Done), false);

        let found = &stats.approvals["files.write_file"];
        assert_eq!((found.asked, found.allowed, found.edited, found.denied), (3, 1, 1, 1));
        assert_eq!(found.by, BTreeMap::from([("expiry".to_owned(), 1), ("me@here".to_owned(), 2)]));
        let minute = |spread: &Spread| spread.percentile(0.95).unwrap().as_secs_f64() / 60.0;
        assert!((minute(&found.waited) - 1.0).abs() < 0.02);
        let agent = &stats.agents["triage"];
        assert_eq!(agent.troubles, BTreeMap::from([("exhausted_turns".to_owned(), 1)]));
        assert!((minute(&agent.length) - 1.0).abs() < 0.02, "the first end counts");
    }

    #[test]
    fn what_was_before_is_not_counted_but_known() {
        let mut run = Told::of("triage", 0);
        run.answer("a/m", 1, Some(50), &[("files__write_file", None)]);
        run.at = Time(86_400_000);
        run.finish(1, true, false);
        let mut stats = Stats { since: Some(Time(80_000_000)), ..Stats::default() };
        stats.take(&run.entries, Some(Status::Waiting), false);
        assert!(stats.models.is_empty() && stats.days.is_empty(), "{stats:?}");
        assert_eq!((stats.runs, stats.tools["files.write_file"].answered), (1, 1), "the call is still known");

        let mut stats = Stats { since: Some(Time(90_000_000)), ..Stats::default() };
        stats.take(&run.entries, Some(Status::Waiting), false);
        assert_eq!(stats, Stats { since: Some(Time(90_000_000)), ..Stats::default() });
    }
}
