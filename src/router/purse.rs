//! Pays for attempts: what one may cost, that the budgets pay for it before it is sent, and what it did cost.
//!
//! ```text
//! Order, price ─► presumed ─► reserve in the book ─► the attempt ─► cost ─► settle in the book
//! ```
//! Always true:
//! - Nothing with a price is sent before the book has it. Who is killed in flight, or drops the request, has spent what was
//!   reserved.
//! - An attempt that brought no answer costs what the server told of it, else what is estimated; it is free only if it was
//!   refused or never sent.
//! - Without budgets no book is opened.

use std::{io, sync::Arc};

use super::spend::{Allowance, Budgets, Day, Ledger, Short};
use crate::{
    chat::Usage,
    provider::{Class, Failure, Price, Used},
    run::{NanoDollars, Time},
};

/// Tokens of an answer that are paid for in advance where the request bounds them no lower: more than nearly all turns of
/// an agent write. What an answer writes beyond is in the book once it has come, so a request in flight overdraws a
/// budget by that at most.
const OUTPUT_TOKENS: u64 = 4096;

/// Keeps a ledger that several processes share.
pub trait Book: Send + Sync {
    /// Lets `work` read and change the ledger while nobody else does. What it has changed is kept when this returns, also if the
    /// process is killed then. Waits for others' turns, so it is not for the threads of a runtime.
    ///
    /// # Errors
    /// When the book cannot be read or written; then nothing of the change is certain.
    fn turn(&self, work: &mut dyn FnMut(&mut Ledger)) -> io::Result<()>;
}

/// The budgets in force and the book that is kept of them.
#[derive(Clone)]
pub struct Purse {
    /// What may be spent.
    pub budgets: Budgets,
    /// What has been.
    pub book: Arc<dyn Book>,
}

/// A request as far as money is concerned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// The model reference: a route, perhaps.
    pub route: &'a str,
    /// Whose run it is for; empty for nobody's.
    pub agent: &'a str,
    /// Tokens that are read, estimated.
    pub input: u64,
    /// Tokens that may be written.
    pub output: u64,
}

impl<'a> Order<'a> {
    /// `output_max` is the bound that the request sets; `None` when it sets none.
    pub(super) fn new(route: &'a str, agent: &'a str, input: u64, output_max: Option<u32>) -> Self {
        Order { route, agent, input, output: output_max.map_or(OUTPUT_TOKENS, u64::from) }
    }
}

/// What the tokens of one endpoint cost.
#[derive(Debug, Clone)]
pub(super) enum Tariff {
    /// Nothing: a script answers.
    Free,
    Priced(Price),
    Unknown,
}

impl Tariff {
    /// What an attempt may cost: upper estimates of what is read, all of it written to the cache if that is dearer, and of what
    /// is written. `None` when the price is unknown.
    pub(super) fn presumed(&self, order: &Order<'_>) -> Option<NanoDollars> {
        // Estimates are right within a third.
        let input = order.input.saturating_add(order.input / 3);
        let plain = Usage { input, output: order.output, ..Usage::default() };
        let written = Usage { cache_write: input, ..plain };
        [plain, written].iter().filter_map(|usage| self.cost(Some(usage))).max()
    }

    /// What these tokens cost; `None` when tokens or price are unknown.
    pub(super) fn cost(&self, usage: Option<&Usage>) -> Option<NanoDollars> {
        match self {
            Tariff::Free => Some(NanoDollars(0)),
            Tariff::Priced(price) => price.cost(usage?),
            Tariff::Unknown => None,
        }
    }

    /// What an attempt without an answer has used, with estimates where the server told nothing, and what that costs. `None`
    /// twice when it cost nothing.
    pub(super) fn failed(&self, failure: &Failure, order: &Order<'_>) -> (Option<Used>, Option<NanoDollars>) {
        let Some(mut used) = failure.used else { return (None, None) };
        if used.tokens.input == 0 {
            used = Used { tokens: Usage { input: order.input, ..used.tokens }, estimated: true };
        }
        (Some(used), self.cost(Some(&used.tokens)))
    }
}

impl Purse {
    /// Sets aside what an attempt may cost. `None`: unknown, which is counted and set aside nothing for.
    ///
    /// # Errors
    /// When a budget does not pay for it (`Class::Budget`), and when the book cannot be kept, which passes.
    pub(super) async fn reserve(
        &self,
        order: &Order<'_>,
        now: Time,
        amount: Option<NanoDollars>,
    ) -> Result<Option<Hold>, Failure> {
        let (budgets, day) = (self.budgets.of(order.route, order.agent), Day::of(now));
        if budgets.is_empty() || amount == Some(NanoDollars(0)) {
            return Ok(None);
        }
        let hold = Hold { book: self.book.clone(), budgets: budgets.into(), day, amount };
        let budgets = hold.budgets.clone();
        let reserved = turn(&self.book, move |ledger| ledger.reserve(&budgets, day, amount)).await;
        match reserved {
            Ok(Ok(())) => Ok(Some(hold)),
            Ok(Err(short)) => Err(Failure::new(Class::Budget, short.to_string())),
            Err(error) => Err(Failure::new(
                Class::Transient,
                format!("nothing is sent, since what it costs cannot be booked: {error}"),
            )),
        }
    }

    /// Which budget does not pay for an attempt now. Passes over a book that cannot be read.
    pub(super) async fn short(&self, order: &Order<'_>, now: Time, amount: Option<NanoDollars>) -> Option<Short> {
        let budgets = self.budgets.of(order.route, order.agent);
        let amount = amount.filter(|amount| amount.0 > 0 && !budgets.is_empty())?;
        turn(&self.book, move |ledger| ledger.short(&budgets, Day::of(now), amount)).await.ok()?
    }
}

/// What was set aside for one attempt. Dropped without being settled, it counts as spent.
pub(super) struct Hold {
    book: Arc<dyn Book>,
    budgets: Arc<[Allowance]>,
    day: Day,
    amount: Option<NanoDollars>,
}

impl Hold {
    /// The attempt is over and did cost this; `None` when it cannot be told, and what was set aside counts as spent.
    pub(super) async fn settle(self, cost: Option<NanoDollars>) {
        let (Some(reserved), Some(cost)) = (self.amount, cost) else { return };
        let (budgets, day) = (self.budgets, self.day);
        let settled = turn(&self.book, move |ledger| ledger.settle(&budgets, day, reserved, cost)).await;
        if let Err(error) = settled {
            tracing::warn!(%error, "what a request did cost could not be booked; what was set aside for it counts as spent");
        }
    }
}

/// One turn at the book, on a thread that may wait.
async fn turn<T: Send + 'static>(
    book: &Arc<dyn Book>,
    mut work: impl FnMut(&mut Ledger) -> T + Send + 'static,
) -> io::Result<T> {
    let book = book.clone();
    let turned = tokio::task::spawn_blocking(move || {
        let mut done = None;
        book.turn(&mut |ledger| done = Some(work(ledger)))?;
        done.ok_or_else(|| io::Error::other("the book gave no turn"))
    });
    turned.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Mutex, RwLock},
    };

    use super::*;
    use crate::{
        chat::{Answer, AnswerPart, Choice, Draft, Finish, Hold, Message, Part, Request},
        provider::{Above, BoxFuture, Delta, Provider, Rates},
        router::{
            Attempt, Conversation, Facts, Memory, Need, Rate, Reply, Route, Router, Scope, Source, Table, Target,
            Verdict,
        },
    };

    /// A book in memory, which may be lost.
    #[derive(Default)]
    struct Notes {
        ledger: Mutex<Ledger>,
        lost: Mutex<bool>,
    }

    impl Book for Notes {
        fn turn(&self, work: &mut dyn FnMut(&mut Ledger)) -> io::Result<()> {
            if *self.lost.lock().unwrap() {
                return Err(io::Error::other("the disk is gone"));
            }
            work(&mut self.ledger.lock().unwrap());
            Ok(())
        }
    }

    impl Notes {
        /// Spent and open of the day, in nano-dollars, and how many requests have no price.
        fn day(&self) -> (u64, u64, u64) {
            let ledger = self.ledger.lock().unwrap();
            let day = ledger.accounts.iter().find(|account| account.scope == Scope::Day);
            day.map_or((0, 0, 0), |day| (day.spent.0, day.open.0, day.unpriced))
        }
    }

    /// A provider that always does the same; `None` never answers.
    struct Double(Option<Result<Answer, Failure>>);

    impl Provider for Double {
        fn ask<'a>(
            &'a self,
            _: &'a str,
            _: &'a Request,
            _: &'a mut (dyn FnMut(Delta<'_>) + Send),
        ) -> BoxFuture<'a, Result<Answer, Failure>> {
            Box::pin(async {
                match &self.0 {
                    Some(does) => does.clone(),
                    None => std::future::pending().await,
                }
            })
        }
    }

    fn answers(usage: Option<Usage>) -> Double {
        let parts = vec![AnswerPart::Text("hi".into())];
        Double(Some(Ok(Answer { parts, finish: Finish::Stop, usage, model: None, id: None })))
    }

    fn fails(class: Class, used: Option<Used>) -> Double {
        Double(Some(Err(Failure { used, ..Failure::new(class, "told to fail") })))
    }

    const READ: Usage = Usage { input: 100, cached: 0, cache_write: 0, output: 10, reasoning: 0 };

    /// Of 90 tokens and at most 10 back, at one and ten nano-dollars a token: 120 and 100 at most.
    fn request() -> Request {
        Request {
            system: None,
            answers: 0,
            messages: vec![Arc::new(Message::User(vec![Part::text("Hi")]))],
            tools: Arc::from([]),
            choice: Choice::Auto,
            output: None,
            temperature: None,
            output_tokens_max: Some(10),
            effort: None,
            hold: Hold::No,
            cache_key: None,
            draft: Draft::default(),
        }
    }

    const ASIDE: u64 = 220;

    fn price(times: u64) -> Price {
        let million = |nano: u64| NanoDollars(nano * times * 1_000_000);
        let rates = Rates { input: million(1), cached: None, cache_write: None, output: million(10) };
        Price { rates, above: None }
    }

    /// A table that may change at any time.
    struct Live(Arc<RwLock<Table>>);

    impl Source for Live {
        fn changed(&self) -> bool {
            true
        }

        fn read(&self) -> Option<Table> {
            Some(self.0.read().unwrap().clone())
        }
    }

    /// Targets `dear/m` (ten times the price), `cheap/m` and `dark/m` (no price), and a route `r` over those that there are.
    struct World {
        notes: Arc<Notes>,
        table: Arc<RwLock<Table>>,
        router: Router,
    }

    impl World {
        fn new(day: u64, doubles: impl IntoIterator<Item = (&'static str, Double)>) -> Self {
            let notes = Arc::new(Notes::default());
            let providers: BTreeMap<String, Arc<dyn Provider>> = doubles
                .into_iter()
                .map(|(name, double)| (name.to_owned(), Arc::new(double) as Arc<dyn Provider>))
                .collect();
            let mut targets: Vec<_> =
                providers.keys().map(|name| Target { model: format!("{name}/m"), weight: 1 }).collect();
            targets.reverse();
            let route = Route { targets, ..Route::default() };
            let facts = |endpoint: &str| Facts {
                price: match endpoint {
                    "dear/m" => Some(price(10)),
                    "cheap/m" => Some(price(1)),
                    _ => None,
                },
                ..Facts::default()
            };
            let budgets = Budgets { day: Some(NanoDollars(day)), ..Budgets::default() };
            let purse = Some(Purse { budgets, book: notes.clone() });
            let routes = BTreeMap::from([("r".to_owned(), route)]);
            let table = Table { providers, routes, facts: Arc::new(facts), purse, ..Table::default() };
            let table = Arc::new(RwLock::new(table));
            let read = table.clone();
            let router = Router::with(
                table.read().unwrap().clone(),
                Some(Arc::new(Live(read))),
                Memory::default(),
                Arc::new(|| Time(1_790_000_000_000)),
            );
            World { notes, table, router }
        }

        /// What comes of a request to the route, and what the failed attempts did cost.
        async fn ask(&self) -> (Result<Reply, Failure>, Vec<Option<u64>>) {
            let mut failed = Vec::new();
            let mut watch = |attempt: Attempt<'_>| {
                if let Attempt::Failed { cost, .. } = attempt {
                    failed.push(cost.map(|cost| cost.0));
                }
            };
            let conversation = Conversation { tokens: 90, ..Conversation::default() };
            (self.router.ask("r", &request(), conversation, &mut watch).await, failed)
        }

        async fn fails(&self) -> Failure {
            self.ask().await.0.unwrap_err()
        }
    }

    #[test]
    fn what_a_request_may_cost_is_an_upper_bound() {
        let order = |input, output| Order { route: "r", agent: "", input, output };
        let dollar = |dollars: u64| NanoDollars(dollars * 1_000_000_000);
        let rates = |cache_write, input| Rates { input: dollar(input), cached: None, cache_write, output: dollar(15) };
        let table = [
            (rates(None, 3), order(300, 100), 400 * 3_000 + 100 * 15_000),
            // Writing to the cache is dearer than reading, or cheaper.
            (rates(Some(dollar(4)), 3), order(300, 100), 400 * 4_000 + 100 * 15_000),
            (rates(Some(dollar(1)), 3), order(300, 100), 400 * 3_000 + 100 * 15_000),
            (rates(None, 3), order(0, 0), 0),
        ];
        for (rates, order, expected) in table {
            let tariff = Tariff::Priced(Price { rates, above: None });
            assert_eq!(tariff.presumed(&order), Some(NanoDollars(expected)), "{rates:?}");
        }
        let above = Some(Above { tokens: 300, rates: rates(None, 6) });
        let long = Tariff::Priced(Price { rates: rates(None, 3), above });
        assert_eq!(long.presumed(&order(300, 0)), Some(NanoDollars(400 * 6_000)));
        assert_eq!(Tariff::Free.presumed(&order(300, 100)), Some(NanoDollars(0)));
        assert_eq!(Tariff::Unknown.presumed(&order(300, 100)), None);
        assert_eq!(Order::new("r", "", 7, None).output, OUTPUT_TOKENS);
        assert_eq!(Order::new("r", "", 7, Some(20_000)).output, 20_000, "whoever bounds it higher pays for it");
    }

    #[tokio::test]
    async fn an_answer_is_settled_at_what_it_did_cost() {
        let world = World::new(1000, [("cheap", answers(Some(READ)))]);
        assert_eq!(world.ask().await.0.unwrap().cost, Some(NanoDollars(200)));
        assert_eq!(world.notes.day(), (200, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_budget_refuses_takes_no_room() {
        let world = World::new(1, [("cheap", answers(Some(READ)))]);
        let one_a_minute = Rate { requests: Some(1), tokens: None };
        world.table.write().unwrap().rates = BTreeMap::from([("cheap".to_owned(), one_a_minute)]);
        assert_eq!(world.fails().await.class, Class::Budget);
        world.table.write().unwrap().purse.as_mut().unwrap().budgets.day = Some(NanoDollars(1000));
        assert!(world.ask().await.0.is_ok(), "the room for it is still there");
        assert_eq!(world.fails().await.class, Class::RateLimited, "and gone with the answer");
    }

    #[tokio::test]
    async fn an_answer_without_usage_keeps_what_was_set_aside() {
        let world = World::new(1000, [("cheap", answers(None))]);
        assert_eq!(world.ask().await.0.unwrap().cost, None, "unknown is not zero");
        assert_eq!(world.notes.day(), (0, ASIDE, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_without_an_answer_costs_what_it_used() {
        let tokens = |input, output| Usage { input, output, ..Usage::default() };
        let table = [
            // Refused, or never sent.
            (Class::Credential, None, (None, None), 0),
            // The server told all of it, or only what was written; or nothing is known.
            (Class::ContentRefused, Some((tokens(50, 4), false)), (Some((tokens(50, 4), false)), Some(90)), 90),
            (Class::ContentRefused, Some((tokens(0, 4), false)), (Some((tokens(90, 4), true)), Some(130)), 130),
            (Class::ContentRefused, Some((tokens(0, 0), true)), (Some((tokens(90, 0), true)), Some(90)), 90),
        ];
        let used = |(tokens, estimated): (Usage, bool)| Used { tokens, estimated };
        for (class, told, (taken, cost), spent) in table {
            let world = World::new(1000, [("cheap", fails(class, told.map(used)))]);
            let (failure, costs) = world.ask().await;
            let failure = failure.unwrap_err();
            assert_eq!((failure.class, failure.used, costs), (class, taken.map(used), vec![cost]));
            assert_eq!(world.notes.day(), (spent, 0, 0), "{class}");
        }
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_has_spent_what_was_set_aside() {
        let world = World::new(1000, [("cheap", Double(None))]);
        tokio::select! {
            _ = world.ask() => panic!("nobody answers"),
            () = async { while world.notes.day().1 == 0 { tokio::task::yield_now().await } } => {}
        }
        assert_eq!(world.notes.day(), (0, ASIDE, 0));
    }

    #[tokio::test]
    async fn a_dear_target_gives_way_to_a_cheaper_one_and_is_explained() {
        let world = World::new(1000, [("dear", answers(Some(READ))), ("cheap", answers(Some(READ)))]);
        let (reply, _) = world.ask().await;
        assert_eq!(&*reply.unwrap().endpoint, "cheap/m");
        let world = World::new(100_000, [("dear", answers(Some(READ))), ("cheap", answers(Some(READ)))]);
        let router = world.router.clone();
        let conversation = Conversation { tokens: 90, ..Conversation::default() };
        let explained = router.explain("r", &Need { conversation, ..Need::default() }).await.unwrap();
        let told: Vec<_> = explained.iter().map(|(name, verdict)| format!("{name}: {verdict}")).collect();
        assert!(matches!(explained[0].1, Verdict::Taken | Verdict::Sticky), "{told:?}");
        assert_eq!(told[1], "dear/m: left out: the rest of a budget does not pay for it");
    }

    #[tokio::test]
    async fn what_no_budget_pays_for_is_not_sent_until_it_is_raised() {
        let world = World::new(300, [("cheap", answers(Some(READ)))]);
        world.ask().await.0.unwrap();
        let failure = world.fails().await;
        assert_eq!((failure.class, world.notes.day()), (Class::Budget, (200, 0, 0)));
        assert!(failure.message.starts_with("budgets.day is $0.0000 a day"), "{}", failure.message);
        if let Some(purse) = &mut world.table.write().unwrap().purse {
            purse.budgets.day = Some(NanoDollars(420));
        }
        world.ask().await.0.unwrap();
        assert_eq!(world.notes.day(), (400, 0, 0));
    }

    #[tokio::test]
    async fn an_unknown_price_is_counted_and_not_held_against_a_budget() {
        let world = World::new(0, [("dark", answers(Some(READ)))]);
        let (reply, _) = world.ask().await;
        assert_eq!((reply.unwrap().cost, world.notes.day()), (None, (0, 0, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_cheaper_target_is_not_out_of_money() {
        let world = World::new(1000, [("dear", answers(None)), ("cheap", fails(Class::Transient, None))]);
        assert_eq!(world.fails().await.class, Class::Transient);
        let world = World::new(1000, [("dear", answers(None)), ("cheap", fails(Class::Credential, None))]);
        assert_eq!(world.fails().await.class, Class::Budget, "another day helps, another try does not");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_that_cannot_be_booked() {
        let world = World::new(1000, [("cheap", answers(Some(READ)))]);
        *world.notes.lost.lock().unwrap() = true;
        let failure = world.fails().await;
        assert_eq!(failure.class, Class::Transient);
        assert!(failure.message.ends_with("cannot be booked: the disk is gone"), "{}", failure.message);
        *world.notes.lost.lock().unwrap() = false;
        world.ask().await.0.unwrap();
    }
}
