//! Sends a model request to an endpoint that can serve it, and elsewhere when that fails.
//!
//! ```text
//! reference (provider/model, or a route) ─► targets ─► rank (fit? healthy? good at calls? policy) ─► ask, and on failure the next
//!                                              ▲                                                        │
//!                                           memory ◄── answered, failed, judged ─────────────────────────┘
//! ```
//! The caller sees every attempt as it happens ([`Attempt`]), so that the engine can journal it. Always true:
//! - A partial answer is a preview; an answer that breaks off is thrown away and asked again, here or elsewhere.
//! - What waiting cannot help (a wrong key, an empty account) is tried once at each target. A request that is refused as wrong is
//!   sent again without the keyword or the tool that the refusal names ([`Quarantine`]), then to one more target, and no further.
//! - Asking sick endpoints again costs from a common budget, so that an outage does not multiply its load.
//! - What may be asked in a minute is counted before it is sent; who has no room is passed over.
//!
//! It can be used alone:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{collections::BTreeMap, sync::Arc};
//!
//! use agentd::{
//!     chat::{Message, Part, Request},
//!     provider::{Client, Dialect, Provider, scripted::{Script, Scripted}},
//!     router::{Attempt, Conversation, Route, Router, Table},
//! };
//!
//! // A server at which nobody listens, and behind it a script, which needs neither network nor key.
//! let local = Client::builder(Dialect::OpenAiChat, "http://127.0.0.1:9/v1").name("local").build()?;
//! let script = Script::parse("demo", "version: 1\nanswers: [{text: Four., usage: {input: 12, output: 2}}]")?;
//! let providers: [(String, Arc<dyn Provider>); 2] = [
//!     ("local".to_owned(), Arc::new(local)),
//!     ("demo".to_owned(), Arc::new(Scripted::new("demo", script))),
//! ];
//! let router = Router::from(Table {
//!     providers: providers.into(),
//!     routes: BTreeMap::from([("smart".to_owned(), Route::over(["local/qwen3", "demo/any"]))]),
//!     ..Table::default()
//! });
//!
//! let question = Message::User(vec![Part::text("What is two and two?")]);
//! let request = Request { messages: vec![Arc::new(question)], ..Request::default() };
//! let mut failed = 0;
//! let reply = router
//!     .ask("smart", &request, Conversation::default(), &mut |attempt| {
//!         if let Attempt::Failed { .. } = attempt {
//!             failed += 1;
//!         }
//!     })
//!     .await?;
//! assert_eq!((reply.answer.text().as_str(), &*reply.endpoint, failed > 0), ("Four.", "demo/any", true));
//! # Ok(())
//! # }
//! ```
//! `examples/router.rs` is a program that offers a tool and shows every attempt and the cost.

mod budget;
mod latency;
mod memory;
mod purse;
mod quarantine;
mod rate;
mod route;
#[cfg(test)]
mod simulation;
mod spend;
mod table;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

pub use latency::Latency;
pub use memory::{Memory, NO_TOOL, Standing};
pub use purse::{Book, Purse};
pub use quarantine::Quarantine;
pub use rate::{Rate, Size, Spent, Teller, Told};
pub use route::{Conversation, Known, Need, Policy, Route, Target, Unfit, Verdict, rank};
pub use spend::{Account, Allowance, Budgets, Day, Ledger, Scope, Short};
pub use table::{Error, Facts, Lookup, Source, Table};

use self::{
    budget::Budget,
    purse::Order,
    table::{provider, targets, tariff},
};
use crate::{
    chat::{Answer, Hold, Request},
    clock::{Clock, SystemClock},
    provider::{Class, Delta, Failure, Means, Provider, estimate_tokens},
    repair::text::Author,
    run::{NanoDollars, Time},
};

/// Most requests for one answer, all targets together.
pub const ATTEMPTS_MAX: usize = 8;

/// Most requests to the last target that is left. Four tries with the delays below span about 10 s, which outlasts most
/// short outages.
const LAST_MAX: usize = 4;

/// Most requests to a target behind which another one waits, and most malformed answers of any target: what a model got
/// wrong twice, time does not mend.
const EACH_MAX: usize = 2;

/// First delay between two attempts at the last target; doubled each time, with jitter.
const DELAY_MIN: Duration = Duration::from_millis(500);

/// Longest delay between two attempts. A provider that asks for a longer pause makes the run wait instead.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// Most times that a request is sent again to a target with something left out of it.
const LEFT_OUT_MAX: usize = 4;

/// How long what a server said of its models is believed: until it may have been started anew with another window.
const SURVEYED: Duration = Duration::from_secs(3600);

/// How long a server on this machine may take to tell its models: it has them at hand.
const SURVEY_MAX: Duration = Duration::from_secs(2);

/// Tells the time; replaced in simulations.
pub type Now = Arc<dyn Clock>;

/// Knows providers, routes and how both fared, and asks their models. Cheap to clone; clones share all of it.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
}

struct Shared {
    table: RwLock<Arc<Table>>,
    source: Option<Arc<dyn Source>>,
    reading: Mutex<()>,
    memory: Mutex<Memory>,
    budget: Mutex<Budget>,
    clock: Now,
}

/// What a model reference leads to: one endpoint or the targets of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    name: Arc<str>,
    scripted: bool,
}

impl Model {
    /// The reference: `provider/model`, or the name of a route.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a script may answer and no model.
    pub fn scripted(&self) -> bool {
        self.scripted
    }
}

/// What happens on the way to an answer.
#[derive(Debug)]
pub enum Attempt<'a> {
    /// A request is being sent.
    Asked {
        /// To whom, `provider/model`.
        endpoint: &'a str,
        /// What it may cost, and is presumed to have cost if nobody hears of its end; `None` when the price is unknown.
        presumed: Option<NanoDollars>,
        /// What makes the model call a tool, and properly.
        means: Means,
    },
    /// Before the next request nothing is sent for a while: the last one failed in a way that may pass, or the rate of the
    /// settings leaves no room yet.
    Paused {
        /// Who will be asked then, `provider/model`.
        endpoint: &'a str,
        /// How long it will take.
        length: Duration,
    },
    /// Something is left out of what is sent: a target of the route that cannot be used, or a part of the request that the
    /// endpoint refuses.
    LeftOut {
        /// Who is concerned, `provider/model`.
        endpoint: &'a str,
        /// What is left out, and why, for people.
        what: &'a str,
    },
    /// A piece of the answer arrived. Worth nothing if the attempt fails.
    Seen(Delta<'a>),
    /// The attempt brought no answer.
    Failed {
        /// Who failed, `provider/model`.
        endpoint: &'a str,
        /// Why, and what was used all the same, with estimates where the server told nothing.
        failure: &'a Failure,
        /// What that costs; `None` when nothing was used, or the price is unknown.
        cost: Option<NanoDollars>,
        /// How long it took.
        latency: Duration,
    },
}

/// An answer and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// Who answered, `provider/model`.
    pub endpoint: Arc<str>,
    /// Whether a script answered and no model.
    pub scripted: bool,
    /// What it cost; `None` when that is unknown. A script costs nothing.
    pub cost: Option<NanoDollars>,
    /// From the request to the end of the answer.
    pub latency: Duration,
}

impl Router {
    /// A router over these providers, by name, without routes.
    pub fn new(providers: BTreeMap<String, Arc<dyn Provider>>) -> Self {
        Router::from(Table { providers, ..Table::default() })
    }

    /// A router with all that it can have. `source` is looked at once for each request ([`refresh`](Self::refresh)).
    pub fn with(table: Table, source: Option<Arc<dyn Source>>, memory: Memory, clock: Now) -> Self {
        let budget = Mutex::new(Budget::new(clock.now()));
        let table = RwLock::new(Arc::new(table));
        let (memory, reading) = (Mutex::new(memory), Mutex::default());
        Router { shared: Arc::new(Shared { table, source, reading, memory, budget, clock }) }
    }

    /// Takes up what has changed in the settings. [`ask`](Self::ask) does so by itself; the rest goes by the table that was
    /// taken up last.
    pub async fn refresh(&self) {
        if self.shared.source.as_ref().is_none_or(|source| !source.changed()) {
            return;
        }
        let shared = self.shared.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Who comes second finds the new table in place.
            let _one = shared.reading.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(table) = shared.source.as_ref().and_then(|source| source.read()) {
                *shared.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
            }
        });
        // It fails only when it panics or the runtime ends; the earlier table holds then.
        let _ = reading.await;
    }

    /// What a model reference leads to: `provider/model`, split at the first slash, or a route by name.
    ///
    /// # Errors
    /// When it leads nowhere, or a target of the route does.
    pub fn resolve(&self, reference: &str) -> Result<Model, Error> {
        let table = self.table();
        let targets = targets(&table, reference)?;
        let scripted =
            targets.iter().map(|it| provider(&table, &it.model)).any(|it| it.is_ok_and(|(it, _)| it.scripted()));
        Ok(Model { name: reference.into(), scripted })
    }

    /// The longest window among the models of a reference, by their servers' own account where there is one; `None` when
    /// none is known.
    pub fn window(&self, reference: &str) -> Option<u64> {
        let table = self.table();
        let targets = targets(&table, reference).ok()?;
        let memory = self.remembered();
        let window = |model: &str| memory.of(model).window.or_else(|| (table.facts)(model).window);
        targets.iter().filter_map(|target| window(&target.model)).max()
    }

    /// Asks the servers on this machine that a reference leads to what they are and how much their models can read, unless
    /// they said so within the hour. What they do not tell soon is not waited for.
    pub async fn survey(&self, reference: &str) {
        let (table, now) = (self.table(), self.shared.clock.now());
        let mut asked: BTreeMap<&str, Vec<Target>> = BTreeMap::new();
        for target in targets(&table, reference).unwrap_or_default() {
            let asked_at = self.remembered().of(&target.model).window_at;
            let is_old = asked_at.is_none_or(|at| now.since(at) > SURVEYED);
            let name = target.model.split_once('/').and_then(|(name, _)| table.providers.get_key_value(name));
            if let Some((name, _)) = name.filter(|(_, provider)| is_old || provider.is_unknown()) {
                asked.entry(name).or_default().push(target);
            }
        }
        let asking = asked.into_iter().filter_map(|(name, targets)| {
            let loaded = table.providers.get(name)?.loaded()?;
            Some(async move { (targets, tokio::time::timeout(SURVEY_MAX, loaded).await) })
        });
        for (targets, told) in futures_util::future::join_all(asking).await {
            let Ok(Ok(served)) = told else { continue };
            for target in targets {
                let name = target.model.split_once('/').map_or("", |(_, name)| name);
                // A server of one model, as llama.cpp's, answers with it whatever name is asked for.
                let only = if let [only] = &served[..] { Some(only) } else { None };
                let window = served.iter().find(|it| it.name == name).or(only).and_then(|it| it.window);
                self.learn(|memory, now| memory.serves(&target.model, window, now));
            }
        }
    }

    /// What has been learnt so far.
    pub fn memory(&self) -> Memory {
        self.remembered().clone()
    }

    /// Takes in which calls of an answer were right, by tool.
    pub fn judged<'a>(&self, endpoint: &str, calls: impl IntoIterator<Item = (&'a str, bool)>) {
        self.learn(|memory, now| memory.judged(endpoint, calls, now));
    }

    /// Records that an endpoint delivered a native tool call.
    pub fn called_natively(&self, endpoint: &str) {
        self.learn(|memory, now| memory.called_natively(endpoint, now));
    }

    /// Records that an endpoint made a valid call in its text, in this dialect.
    pub fn called_in_text(&self, endpoint: &str, dialect: &str) {
        self.learn(|memory, _| memory.called_in_text(endpoint, dialect));
    }

    /// The author of what an endpoint writes: what is known of how it calls tools.
    pub fn author(&self, endpoint: &str) -> Author {
        let table = self.table();
        let (provider, model) = endpoint.split_once('/').unwrap_or(("", endpoint));
        let now = self.shared.clock.now();
        let memory = self.remembered();
        let standing = memory.of(endpoint);
        Author {
            model: model.to_owned(),
            is_native: (table.facts)(endpoint).native_calls || standing.is_native(now),
            dialects: standing.dialects.clone(),
            text_calls: table.text_calls.get(provider).copied().unwrap_or_default(),
        }
    }

    /// Who would be asked, in this order, and why; those left out at the end.
    ///
    /// # Errors
    /// When the reference leads nowhere.
    pub async fn explain(&self, reference: &str, need: &Need<'_>) -> Result<Vec<(String, Verdict)>, Error> {
        let table = self.table();
        let mut ranked = self.ranked(&table, reference, need)?;
        if let Some(purse) = &table.purse {
            let order = Order::new(reference, need.conversation.agent, need.conversation.tokens, None);
            for (endpoint, verdict) in &mut ranked {
                let presumed = tariff(&table, endpoint).presumed(&order);
                let is_open = !matches!(verdict, Verdict::LeftOut(_));
                if is_open && purse.short(&order, self.shared.clock.now(), presumed).await.is_some() {
                    *verdict = Verdict::LeftOut(Unfit::NoMoney);
                }
            }
            ranked.sort_by_key(|(_, verdict)| matches!(verdict, Verdict::LeftOut(_)));
        }
        Ok(ranked)
    }

    /// Asks for one answer, telling `watch` of every attempt.
    ///
    /// # Errors
    /// When no attempt is left or none can help: the failure that leaves most hope, which is one that passes, if there was one.
    pub async fn ask(
        &self,
        reference: &str,
        request: &Request,
        conversation: Conversation<'_>,
        watch: &mut (dyn FnMut(Attempt<'_>) + Send),
    ) -> Result<Reply, Failure> {
        self.refresh().await;
        let table = self.table();
        let ranked = self
            .ranked(&table, reference, &Need::of(request, conversation))
            .map_err(|error| Failure::new(Class::CallerFault, error.to_string()))?;
        for (endpoint, _) in ranked.iter().filter(|(_, verdict)| *verdict == Verdict::LeftOut(Unfit::NotReady)) {
            let why = table.unready_at(endpoint).unwrap_or_default();
            watch(Attempt::LeftOut { endpoint, what: &format!("{reference} skips {endpoint}: {why}") });
        }
        let order = order(&ranked, &conversation);
        let tokens = if conversation.tokens > 0 { conversation.tokens } else { estimate_tokens(request) };
        let asking = Asking {
            bill: Order::new(reference, conversation.agent, tokens, request.output_tokens_max),
            table: &table,
            conversation,
        };
        let request = &*wished(&table, reference, request);
        let last = order.is_empty().then(|| nobody(&table, &ranked));
        let mut tries = Tries { left: ATTEMPTS_MAX, last, refused: false };
        for (place, (endpoint, spent)) in order.iter().copied().enumerate() {
            let behind = place + 1 < order.len();
            // Who has no room any more is waited for only when nobody behind it may have some.
            let patience = if spent || !behind { DELAY_MAX } else { Duration::ZERO };
            match self.ask_at(&asking, At { endpoint, behind, patience }, request, &mut tries, watch).await {
                ControlFlow::Break(Some(reply)) => return Ok(reply),
                ControlFlow::Break(None) => break,
                ControlFlow::Continue(()) => {}
            }
        }
        Err(tries.last.unwrap_or_else(|| {
            Failure::new(Class::Transient, "every endpoint has failed of late; they are left alone for a while")
        }))
    }

    /// Asks one target as often as it is worth it. Breaks with the answer, or without one when nobody else is to be asked
    /// either.
    async fn ask_at(
        &self,
        asking: &Asking<'_>,
        At { endpoint, behind, patience }: At<'_>,
        request: &Request,
        tries: &mut Tries,
        watch: &mut (dyn FnMut(Attempt<'_>) + Send),
    ) -> ControlFlow<Option<Reply>> {
        let mut delays = delays(if behind { EACH_MAX } else { LAST_MAX });
        let mut malformed = 0;
        let mut request = Cow::Borrowed(request);
        let mut quarantine = self.learn(|memory, now| memory.quarantine(endpoint, now));
        let (mut learnt, mut said) = (0, BTreeSet::new());
        while tries.left > 0 && self.may_ask(endpoint, ATTEMPTS_MAX - tries.left) {
            if let Err(failure) = self.wait_for_room(asking, endpoint, patience, watch).await {
                tries.no_room(failure);
                break;
            }
            tries.left -= 1;
            let (sent, out) = quarantine.applied(&request);
            for tool in out.into_iter().filter(|tool| said.insert((*tool).to_owned())) {
                let what = format!("the tool {tool} is not offered to {endpoint}, which refuses its definition");
                watch(Attempt::LeftOut { endpoint, what: &what });
            }
            let mut failure = match self.attempt(asking, endpoint, &sent, watch).await {
                Ok(reply) => {
                    if learnt > 0 {
                        self.learn(|memory, _| memory.refuses(endpoint, quarantine));
                    }
                    return ControlFlow::Break(Some(reply));
                }
                Err(failure) => failure,
            };
            if failure.class == Class::CallerFault && learnt < LEFT_OUT_MAX && tries.left > 0 {
                let now = self.shared.clock.now();
                let plain = without_hold(asking.table, endpoint, &request).is_none();
                if let Some(told) = plain.then(|| quarantine.add(&failure.message, &sent, now)).flatten() {
                    learnt += 1;
                    let what = format!("{endpoint} refused the request, which is sent again: {told}");
                    watch(Attempt::LeftOut { endpoint, what: &what });
                    continue;
                }
            }
            if failure.class == Class::CallerFault {
                failure.message = format!("{endpoint} refused the request: {}", failure.message);
            }
            let (class, asked, late) = (failure.class, failure.retry_after, failure.timed_out);
            tries.failed(failure);
            match class {
                // Nothing was sent.
                Class::Budget => tries.left += 1,
                Class::CallerFault => match without_hold(asking.table, endpoint, &request) {
                    Some(plain) => {
                        request = Cow::Owned(plain);
                        continue;
                    }
                    // What two of them refuse is wrong wherever it is sent.
                    None if std::mem::replace(&mut tries.refused, true) => return ControlFlow::Break(None),
                    None => {}
                },
                Class::MalformedAnswer => {
                    malformed += 1;
                    // A decoder that is held to schemas gets stuck where a free one does not.
                    if let Some(plain) = without_hold(asking.table, endpoint, &request) {
                        request = Cow::Owned(plain);
                    }
                }
                _ => {}
            }
            let again = passes(class) && malformed < EACH_MAX;
            let delay = match delays.next().filter(|_| again) {
                // Nobody waits where another can be asked: a pause that was asked for leads there, and what is left is
                // a second try at once, for what was only a hiccup. A timeout was a long wait already.
                Some(_) if behind => {
                    (class != Class::RateLimited && asked.is_none() && !late).then_some(Duration::ZERO)
                }
                Some(delay) => Some(delay.max(asked.unwrap_or_default())).filter(|delay| *delay <= DELAY_MAX),
                None => None,
            };
            match delay {
                // Not even for the tick of a timer.
                Some(Duration::ZERO) => {}
                Some(length) => {
                    watch(Attempt::Paused { endpoint, length });
                    tokio::time::sleep(length).await;
                }
                None => break,
            }
        }
        ControlFlow::Continue(())
    }

    /// One request to one endpoint; what comes of it is remembered.
    async fn attempt(
        &self,
        asking: &Asking<'_>,
        endpoint: &str,
        request: &Request,
        watch: &mut (dyn FnMut(Attempt<'_>) + Send),
    ) -> Result<Reply, Failure> {
        let Asking { table, bill: order, conversation } = asking;
        let (provider, model) =
            provider(table, endpoint).map_err(|error| Failure::new(Class::CallerFault, error.to_string()))?;
        if provider.is_unknown() {
            // What it is decides how it is asked.
            Box::pin(self.survey(endpoint)).await;
        }
        let tariff = tariff(table, endpoint);
        let presumed = tariff.presumed(order);
        let hold = match &table.purse {
            Some(purse) => {
                // Boxed, as what settles it is, or every request in flight would take room for budgets that few have.
                let reserved = Box::pin(purse.reserve(order, self.shared.clock.now(), presumed)).await;
                reserved.inspect_err(|_| {
                    // Nothing is sent, so the room that was taken is free again.
                    self.learn(|memory, now| {
                        memory.give_back(endpoint, table.rate(endpoint), conversation.size(endpoint, now));
                    });
                })?
            }
            None => None,
        };
        // What the model cannot take does not rule it out: it is told what was there.
        let request = &*request.for_senses((table.facts)(endpoint).senses);
        watch(Attempt::Asked { endpoint, presumed, means: provider.means(model, request) });
        let timeouts = table.routes.get(order.route).map(|route| route.timeouts).unwrap_or_default();
        let begun = Instant::now();
        let mut seen = |delta: Delta<'_>| {
            if let Delta::Limits(limits) = delta {
                self.learn(|memory, now| memory.told(endpoint, limits, now));
            }
            watch(Attempt::Seen(delta));
        };
        let asked = provider.ask_within(model, request, timeouts, &mut seen).await;
        let latency = begun.elapsed();
        match asked {
            Ok(answer) => {
                let usage = answer.usage;
                self.learn(|memory, now| {
                    memory.answered(endpoint, latency, usage.map(|usage| usage.output), now);
                    let took = usage.map_or(conversation.tokens, |usage| usage.total());
                    memory.settle(endpoint, table.rate(endpoint), conversation.tokens, took);
                });
                self.spend(|budget, now| budget.earn(now));
                let cost = tariff.cost(answer.usage.as_ref());
                if let Some(hold) = hold {
                    Box::pin(hold.settle(cost)).await;
                }
                Ok(Reply { answer, endpoint: endpoint.into(), scripted: provider.scripted(), cost, latency })
            }
            Err(mut failure) => {
                let cost;
                (failure.used, cost) = tariff.failed(&failure, order);
                if let Some(hold) = hold {
                    Box::pin(hold.settle(if failure.used.is_some() { cost } else { Some(NanoDollars(0)) })).await;
                }
                self.learn(|memory, now| memory.failed(endpoint, failure.class, failure.retry_after, now));
                watch(Attempt::Failed { endpoint, failure: &failure, cost, latency });
                Err(failure)
            }
        }
    }

    /// Waits until a request of this conversation may be sent, and counts it.
    ///
    /// # Errors
    /// When the settings leave no room for it within `patience`.
    async fn wait_for_room(
        &self,
        Asking { table, conversation, .. }: &Asking<'_>,
        endpoint: &str,
        patience: Duration,
        watch: &mut (dyn FnMut(Attempt<'_>) + Send),
    ) -> Result<(), Failure> {
        let rate = table.rate(endpoint);
        let reserved =
            self.learn(|memory, now| memory.reserve(endpoint, rate, conversation.size(endpoint, now), patience, now));
        match reserved {
            Ok(Duration::ZERO) => Ok(()),
            Ok(length) => {
                watch(Attempt::Paused { endpoint, length });
                tokio::time::sleep(length).await;
                Ok(())
            }
            Err(wait) => {
                let spent = Spent { until: self.shared.clock.now().after(wait), by: Teller::Settings };
                Err(Failure {
                    retry_after: Some(wait),
                    ..Failure::new(Class::RateLimited, format!("{endpoint}: {spent}"))
                })
            }
        }
    }

    /// The first attempt is free, and so is any at an endpoint that has not failed of late, and one that finds out whether
    /// an ejected endpoint is back: of those there are only so many, however many ask.
    fn may_ask(&self, endpoint: &str, attempts: usize) -> bool {
        let (sick, probes) = self.learn(|memory, now| (memory.of(endpoint).failures > 0, memory.probes(endpoint, now)));
        attempts == 0 || !sick || probes || self.spend(Budget::spend)
    }

    /// The targets of a reference in the order in which they are asked: see [`rank`].
    fn ranked(&self, table: &Table, reference: &str, need: &Need<'_>) -> Result<Vec<(String, Verdict)>, Error> {
        let targets = targets(table, reference)?;
        let facts: Vec<Facts> = targets.iter().map(|target| (table.facts)(&target.model)).collect();
        let now = self.shared.clock.now();
        let memory = self.remembered();
        let tokens = need.conversation.tokens;
        let known = targets.iter().zip(facts).map(|(target, facts)| {
            let standing = memory.of(&target.model);
            Known {
                endpoint: &target.model,
                weight: target.weight,
                ready: table.unready_at(&target.model).is_none(),
                window: standing.window.or(facts.window),
                tools: facts.tools,
                senses: facts.senses,
                price: facts.price.map(|price| *price.at(tokens)),
                standing,
                spent: memory.spent(
                    &target.model,
                    table.rate(&target.model),
                    need.conversation.size(&target.model, now),
                    now,
                ),
            }
        });
        let known: Vec<Known<'_>> = known.collect();
        let route = table.routes.get(reference);
        let (policy, price_max) = route.map_or((Policy::Order, None), |route| (route.policy, route.price_max));
        let ranked = rank(&known, policy, price_max.map(|most| most.0), need, now);
        Ok(ranked.into_iter().filter_map(|(at, verdict)| Some((known.get(at)?.endpoint.to_owned(), verdict))).collect())
    }

    /// The table of this moment.
    fn table(&self) -> Arc<Table> {
        self.shared.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remembered(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn<T>(&self, take: impl FnOnce(&mut Memory, Time) -> T) -> T {
        let now = self.shared.clock.now();
        take(&mut self.remembered(), now)
    }

    fn spend<T>(&self, take: impl FnOnce(&mut Budget, Time) -> T) -> T {
        let now = self.shared.clock.now();
        take(&mut self.shared.budget.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

impl From<Table> for Router {
    /// A router over this table that has learnt nothing yet.
    fn from(table: Table) -> Self {
        Router::with(table, None, Memory::default(), Arc::new(SystemClock))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

/// What holds for all attempts of one request.
struct Asking<'a> {
    table: &'a Table,
    bill: Order<'a>,
    conversation: Conversation<'a>,
}

/// A target whose turn it is.
struct At<'a> {
    endpoint: &'a str,
    /// Whether another one can be asked after it.
    behind: bool,
    /// How long its room is waited for.
    patience: Duration,
}

/// The targets that can serve, in the order in which they are asked, and which of them have no room now.
fn order<'a>(ranked: &'a [(String, Verdict)], conversation: &Conversation<'_>) -> Vec<(&'a str, bool)> {
    let fit = ranked.iter().filter(|(_, verdict)| !matches!(verdict, Verdict::LeftOut(_)));
    let mut order: Vec<(&str, bool)> =
        fit.map(|(endpoint, verdict)| (endpoint.as_str(), matches!(verdict, Verdict::Spent(_)))).collect();
    if let (true, Some((endpoint, _))) = (conversation.elsewhere, conversation.answered) {
        order.sort_by_key(|(it, spent)| (*spent, *it == endpoint));
    }
    order
}

/// The request with what its route wishes for all of them.
fn wished<'a>(table: &Table, reference: &str, request: &'a Request) -> Cow<'a, Request> {
    match table.routes.get(reference).map(|route| route.hold) {
        Some(hold) if hold != Hold::No && request.hold == Hold::No => Cow::Owned(Request { hold, ..request.clone() }),
        _ => Cow::Borrowed(request),
    }
}

/// The request without the wish that the server hold the model to schemas, which may be what it refuses; `None` where that
/// makes no difference.
fn without_hold(table: &Table, endpoint: &str, request: &Request) -> Option<Request> {
    let (provider, model) = provider(table, endpoint).ok()?;
    let plain = Request { hold: Hold::No, ..request.clone() };
    (provider.means(model, request).strict && !provider.means(model, &plain).strict).then_some(plain)
}

/// What is left of the attempts of one request, and why there is no answer so far.
struct Tries {
    left: usize,
    /// The failure that leaves most hope.
    last: Option<Failure>,
    /// Whether a target has refused the request as wrong.
    refused: bool,
}

impl Tries {
    /// An attempt failed. Of failures that leave the same hope, the latest tells most.
    fn failed(&mut self, mut failure: Failure) {
        if let (Class::CallerFault, Some(before)) = (failure.class, &self.last)
            && before.class == Class::CallerFault
            && before.message != failure.message
        {
            failure.message = format!("{}; {}", before.message, failure.message);
        }
        self.last = self.last.take().filter(|before| hope(before) > hope(&failure)).or(Some(failure));
    }

    /// None was made, for want of room: what an attempt told tells more.
    fn no_room(&mut self, failure: Failure) {
        self.last = self.last.take().filter(|before| hope(before) >= hope(&failure)).or(Some(failure));
    }
}

/// Why nobody can be asked.
fn nobody(table: &Table, ranked: &[(String, Verdict)]) -> Failure {
    let why = ranked.iter().map(|(endpoint, verdict)| match table.unready_at(endpoint) {
        Some(why) => format!("{endpoint}: left out: {why}"),
        None => format!("{endpoint}: {verdict}"),
    });
    let message = why.collect::<Vec<_>>().join("; ");
    let too_long = ranked.iter().any(|(_, verdict)| *verdict == Verdict::LeftOut(Unfit::TooLong));
    Failure::new(
        if too_long { Class::ContextTooLong } else { Class::CallerFault },
        format!("no target can serve this: {message}"),
    )
}

fn delays(tries: usize) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(DELAY_MIN)
        .with_max_delay(DELAY_MAX)
        .with_max_times(tries.saturating_sub(1))
        .with_jitter()
        .build()
}

/// How much hope a failure leaves: what passes by itself, then a shorter conversation or another day, then what a person
/// can mend.
fn hope(failure: &Failure) -> u8 {
    match failure.class {
        Class::Transient | Class::RateLimited | Class::MalformedAnswer => 3,
        Class::ContextTooLong | Class::Budget => 2,
        Class::Quota | Class::Credential | Class::ModelGone | Class::Region => 1,
        Class::CallerFault | Class::ContentRefused => 0,
    }
}

/// Whether the same request to the same endpoint may succeed a little later.
pub fn passes(class: Class) -> bool {
    match class {
        Class::Transient | Class::RateLimited | Class::MalformedAnswer => true,
        Class::Quota
        | Class::Credential
        | Class::ModelGone
        | Class::Region
        | Class::ContextTooLong
        | Class::CallerFault
        | Class::ContentRefused
        | Class::Budget => false,
    }
}
