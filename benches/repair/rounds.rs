//! Whole runs against a model that spoils a share of its calls: how often the task is done, what it takes, and that no
//! other call is ever made.
//!
//! A task is a row of valid calls of one server's tools. The model is a server that speaks HTTP: it makes the next call of the
//! row, sometimes spoilt in one of the classes of fault, until the call's result is there; what it says when it is asked again
//! is spoilt as often. The tools do nothing but keep account. All of it follows from the seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use agentd::{
    agent::{Agent, Steps},
    chat::{Part, ToolDef},
    engine::{self, Clock as _, Left, Options, Stop, SystemClock, World},
    journal::Journal,
    mcp::{self, Answered, BoxFuture, Call, GuardId, Listing, Outcome, Prepared, Progress, ToolHost, believed},
    provider::{Client, Dialect, Provider},
    router::Router,
    run::{End, Event, InputGiven, Run, RunId, Started},
    store,
};
use fastrand::Rng;
use serde_json::Value;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    cases::{Class, Group, Seed, Truth, Wire, classes},
    model::{Model, Reply, Request},
    tools::{self, Offer},
    values::{self, same},
};

/// Calls of a task.
const STEPS: usize = 6;

/// What a model may say at one step before it has said it well; more than any run asks.
const TRIES: usize = 8;

/// The model's name, with the number of the task behind it. It leaves calls in text as its family does, or as any model may.
const NAME: &str = "Qwen2.5-72B-Instruct-";
const FAMILIES: [&str; 3] = ["", "some/model", "Qwen/Qwen2.5-72B-Instruct"];

/// A row of calls of the same tools.
struct Task {
    offer: Offer,
    calls: Vec<(String, Value)>,
}

/// What a model says.
#[derive(Clone)]
enum Says {
    Call(String, String),
    Text(String, &'static str),
}

/// What became of the tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub tasks: u64,
    /// All calls made, in order, and the end told.
    pub done: u64,
    /// Waiting for a person's word on a call that was mended beyond its policy.
    pub waiting: u64,
    /// Answers of the model, and those that were asked for again in the same turn.
    pub answers: u64,
    pub again: u64,
    pub tokens: u64,
    /// Repairs made.
    pub repairs: u64,
    /// Calls made that are not the task's at that place.
    pub wrong: u64,
}

/// Runs tasks of which this share of the calls is spoilt, with the ladder as each tool's effect has it, or off.
pub async fn rounds(tasks: usize, spoilt: f64, ladder: bool, seed: u64) -> Totals {
    let mut rng = Rng::with_seed(seed);
    let (offers, classes) = (offers(), usable());
    let mut made = Vec::new();
    let mut said = Vec::new();
    while made.len() < tasks {
        let Some(offer) = rng.choice(&offers).cloned() else { break };
        let Some(seeds) = (0..STEPS).map(|_| one(&mut rng, &offer)).collect::<Option<Vec<_>>>() else { continue };
        said.push(seeds.iter().map(|seed| says(&mut rng, seed, &classes, spoilt)).collect::<Vec<_>>());
        made.push(Task { offer, calls: seeds.iter().map(Seed::call).collect() });
    }
    let mut asked = BTreeMap::new();
    let model = Model::answering(move |request| answer(&said, &mut asked, request));
    let client: Arc<dyn Provider> = Arc::new(Client::builder(Dialect::OpenAiChat, model.base_url()).build().unwrap());
    let router = Router::new(BTreeMap::from([("double".to_owned(), client)]));
    let mut totals = Totals { tasks: made.len() as u64, ..Totals::default() };
    for (number, task) in made.iter().enumerate() {
        run(task, number, &router, ladder, &mut totals).await;
    }
    // What went upstream was valid, whatever had come back.
    model.assert_valid();
    totals
}

/// The servers whose tools all have names that models' servers take.
fn offers() -> Vec<Offer> {
    let is_taken =
        |name: &str| name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    tools::offers().into_iter().filter(|offer| offer.iter().all(|tool| is_taken(&tool.name))).collect()
}

/// All classes of fault.
fn usable() -> Vec<Class> {
    classes().into_iter().filter(|class| class.group != Group::Valid).collect()
}

fn one(rng: &mut Rng, offer: &Offer) -> Option<Seed> {
    (0..20).find_map(|_| {
        let at = rng.usize(..offer.len());
        Some(Seed { offer: offer.clone(), at, arguments: values::arguments(rng, &offer[at])? })
    })
}

/// What the model says at one step, time after time.
fn says(rng: &mut Rng, seed: &Seed, classes: &[Class], share: f64) -> Vec<Says> {
    let (name, arguments) = seed.call();
    let well = Says::Call(name, arguments.to_string());
    (0..TRIES).map(|_| if rng.f64() < share { spoilt(rng, seed, classes) } else { well.clone() }).collect()
}

/// The call, spoilt in some way.
fn spoilt(rng: &mut Rng, seed: &Seed, classes: &[Class]) -> Says {
    loop {
        let Some(class) = rng.choice(classes) else { continue };
        let Some(spoilt) = (class.spoil)(rng, seed) else { continue };
        match (spoilt.wire, spoilt.truth) {
            // Several calls at once, one with values of the fault's own, or a text that is no call, are other tasks than this one.
            (_, Truth::Calls(calls, _)) if !is_that(&calls, &seed.call()) => {}
            (_, Truth::CallOrAsk(name, arguments)) if !is_that(&[(name.clone(), arguments.clone())], &seed.call()) => {}
            (Wire::Text { text, family, finish, .. }, Truth::Calls(..)) if FAMILIES.contains(&family) => {
                return Says::Text(text, finish);
            }
            (Wire::Text { .. }, _) => {}
            (Wire::Call { name, arguments }, _) => return Says::Call(name, arguments),
        }
    }
}

/// Whether these are this call alone.
fn is_that(calls: &[(String, Value)], wanted: &(String, Value)) -> bool {
    matches!(calls, [(name, arguments)] if *name == wanted.0 && same(arguments, &wanted.1))
}

/// The model's next word: the task by the model's name, the step by the results that are there (behind which a remark may
/// stand), and how often it was `asked` at that step.
fn answer(said: &[Vec<Vec<Says>>], asked: &mut BTreeMap<(usize, usize), usize>, request: &Request) -> Reply {
    let number =
        request.body["model"].as_str().and_then(|name| name.strip_prefix(NAME)?.parse::<usize>().ok()).unwrap();
    let is_result = |message: &&Value| {
        message["role"] == "tool" && message["content"].as_str().is_some_and(|text| text.starts_with(DONE))
    };
    let step = request.messages().iter().filter(is_result).count();
    let times = asked.entry((number, step)).or_default();
    let tries = *times;
    *times += 1;
    let input = request.bytes.len() as u64 / 4;
    // The assistant's message that led to the result stands before it.
    match said[number].get(step).map(|says| &says[tries.min(TRIES - 1)]) {
        None => Reply::text(DONE).usage(input, 1),
        Some(Says::Call(name, arguments)) => {
            Reply::raw_call(name, arguments).usage(input, (name.len() + arguments.len()) as u64 / 4)
        }
        Some(Says::Text(text, finish)) => Reply::text(text).finish(finish).usage(input, text.len() as u64 / 4),
    }
}

/// What each call gives, and what the model says at the end.
const DONE: &str = "done";

async fn run(task: &Task, number: usize, router: &Router, ladder: bool, totals: &mut Totals) {
    let host = Arc::new(Tools::new(&task.offer));
    let off = "repair: {policy: {read: off, idempotent: off, write: off, destructive: off}}\n";
    let definition = format!(
        "version: 1\nname: rounds\nmodel: double/any\napprovals: {{default: allow}}\n{}",
        if ladder { "" } else { off }
    );
    let agent = Agent::parse("rounds.yaml", &definition).unwrap();
    let model = format!("double/{NAME}{number}");
    let started = Started {
        agent: agent.name.clone(),
        definition: definition.into(),
        file: "rounds.yaml".to_owned(),
        dir: ".".to_owned(),
        model: model.clone(),
        instructions: None,
        input: None,
        output_schema: None,
        limits: agent.limits,
        ask_again: agent.ask_again,
        tool_result_bytes_max: agent.tool_result_bytes_max,
        parent: None,
        key: None,
    };
    let given =
        InputGiven { inbox: None, by: "rounds".to_owned(), parts: vec![Part::text("Do it all.")], stopped: false };
    let shelf = Arc::new(store::Memory::new());
    let (mut journal, _) = Journal::claim(shelf, RunId(Uuid::now_v7())).await.unwrap();
    let mut run = Run::default();
    for event in [Event::Started(Box::new(started)), Event::InputGiven(given)] {
        run.apply(&journal.push(SystemClock.now(), event).unwrap()).unwrap();
    }
    let world = World {
        agent: Arc::new(agent),
        host: host.clone(),
        left_out: Vec::new(),
        router: router.clone(),
        model: router.resolve(&model).unwrap(),
        steps: Steps::default(),
        clock: Arc::new(SystemClock),
    };
    let mut answers = 0;
    let mut seen = |seen: engine::Seen<'_>| {
        if let engine::Seen::Applied(entry) = seen {
            answers += u64::from(matches!(entry.event, Event::ModelAnswered(_)));
        }
    };
    let (_stop, stop) = watch::channel(Stop::No);
    let left = engine::drive(world, &mut run, &mut journal, Vec::new(), Options::default(), stop, &mut seen).await;
    let made = host.made();
    let is_right = |((name, text), (wanted, arguments)): (&(String, Arc<str>), &(String, Value))| {
        name == wanted && serde_json::from_str(text).is_ok_and(|made: Value| same(&made, arguments))
    };
    let right = made.iter().zip(&task.calls).filter(|(made, wanted)| is_right((made, wanted))).count();
    let told = matches!(run.end(), Some(End::Done { output }) if &**output == DONE);
    totals.done += u64::from(told && right == task.calls.len() && made.len() == right);
    totals.waiting += u64::from(matches!(left.unwrap(), Left::Waiting(_)));
    totals.answers += answers;
    totals.again += answers - run.tally().turns;
    totals.tokens += run.tally().usage.total();
    totals.repairs += run.tally().repairs;
    totals.wrong += (made.len() - right) as u64;
}

/// Names and arguments of the calls that were made.
type Made = Arc<Mutex<Vec<(String, Arc<str>)>>>;

/// Tools that only keep account of what is called.
struct Tools {
    listing: Vec<ToolDef>,
    made: Made,
}

impl Tools {
    fn new(offer: &Offer) -> Self {
        let listing = offer.iter().map(|tool| {
            let judged = believed(&tool.annotations);
            ToolDef {
                effect: judged.effect,
                effect_source: judged.source,
                repeatable: judged.repeatable,
                additive: judged.additive,
                ..ToolDef::new(&tool.name, "", tool.schema.clone())
            }
        });
        Tools { listing: listing.collect(), made: Arc::default() }
    }

    fn made(&self) -> Vec<(String, Arc<str>)> {
        self.made.lock().unwrap().clone()
    }
}

impl ToolHost for Tools {
    fn list(&self) -> BoxFuture<'_, Result<Listing, mcp::Error>> {
        Box::pin(async { Ok(Listing { tools: self.listing.clone(), ..Listing::default() }) })
    }

    fn changed(&self) -> bool {
        false
    }

    fn prepare<'a>(&'a self, _: &'a ToolDef) -> BoxFuture<'a, Result<Box<dyn Prepared>, mcp::Error>> {
        Box::pin(async { Ok(Box::new(Account(self.made.clone())) as Box<dyn Prepared>) })
    }

    fn gone(&self, _: &GuardId) -> bool {
        true
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

struct Account(Made);

impl Prepared for Account {
    fn guard(&self) -> Option<GuardId> {
        None
    }

    fn call<'a>(self: Box<Self>, call: Call, _: &'a mut (dyn FnMut(Progress) + Send)) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.0.lock().unwrap().push((call.tool.tool, call.arguments));
            Outcome::Answered(Answered { content: vec![Part::text(DONE)], ..Answered::default() })
        })
    }
}
