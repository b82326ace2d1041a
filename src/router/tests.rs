//! Whom the router asks, over providers that do as they are told, in virtual time.

mod room;
mod weighed;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{
    Attempt, Conversation, Facts, Memory, Need, Now, Policy, Route, Router, Source, Table, Target, Unfit, Verdict,
    route::Media,
};
use crate::{
    chat::{Answer, AnswerPart, Choice, Draft, Finish, Hold, Message, Part, Request, Senses, Usage},
    provider::{BoxFuture, Class, Delta, Failure, Limits, Means, Patience, Price, Provider, Rates, Served},
    run::{NanoDollars, Time},
};

/// What a provider does with each request in turn; the last one stays.
#[derive(Debug, Clone, Copy)]
enum Does {
    Answers,
    Fails(Class),
    AsksToWait(u64),
    /// Answers, and tells what it still allows.
    Allows(Limits),
    /// Says nothing until the first-token timeout, a minute by itself.
    Stalls,
    /// Answers, unless it is to hold the model to schemas, which it does not know.
    KnowsNoSchemas,
}

struct Double {
    name: &'static str,
    does: Mutex<VecDeque<Does>>,
    asked: AtomicU64,
    /// How often it was asked for its models.
    surveyed: AtomicU64,
}

impl Double {
    fn new(name: &'static str, does: &[Does]) -> Self {
        let does = Mutex::new(does.iter().copied().collect());
        Double { name, does, asked: AtomicU64::new(0), surveyed: AtomicU64::new(0) }
    }
}

impl Provider for Double {
    fn ask<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        self.ask_within(model, request, Patience::default(), seen)
    }

    /// Only `a` is a server on this machine.
    fn loaded(&self) -> Option<BoxFuture<'_, Result<Vec<Served>, Failure>>> {
        self.surveyed.fetch_add(1, Ordering::SeqCst);
        let served = Served { name: "m".to_owned(), window: Some(4096), owner: None };
        (self.name == "a").then(|| Box::pin(async move { Ok(vec![served]) }) as BoxFuture<'_, _>)
    }

    fn means(&self, _: &str, request: &Request) -> Means {
        Means { strict: request.hold != Hold::No, forced: false }
    }

    fn ask_within<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        patience: Patience,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let does = {
                let mut does = self.does.lock().unwrap();
                if does.len() > 1 { does.pop_front().unwrap() } else { does[0] }
            };
            tokio::time::sleep(Duration::from_millis(100)).await;
            match does {
                Does::KnowsNoSchemas if request.hold != Hold::No => {
                    Err(Failure::new(Class::CallerFault, "unknown member: strict"))
                }
                Does::Answers | Does::KnowsNoSchemas => {
                    seen(Delta::Text("hi"));
                    Ok(answer(&format!("{}/{model}", self.name)))
                }
                Does::Allows(limits) => {
                    seen(Delta::Limits(limits));
                    Ok(answer("hi"))
                }
                Does::Stalls => {
                    tokio::time::sleep(patience.first_token.unwrap_or(Duration::from_secs(60))).await;
                    Err(Failure { timed_out: true, ..Failure::new(Class::Transient, "nothing came") })
                }
                Does::Fails(class) => Err(Failure::new(class, "told to fail")),
                Does::AsksToWait(seconds) => Err(Failure {
                    retry_after: Some(Duration::from_secs(seconds)),
                    ..Failure::new(Class::RateLimited, "slow down")
                }),
            }
        })
    }
}

fn answer(text: &str) -> Answer {
    let usage = Usage { input: 100, output: 10, ..Usage::default() };
    Answer {
        parts: vec![AnswerPart::Text(text.into())],
        finish: Finish::Stop,
        usage: Some(usage),
        model: None,
        id: None,
    }
}

fn request() -> Request {
    Request {
        system: None,
        answers: 0,
        messages: vec![Arc::new(Message::User(vec![Part::text("Hi")]))],
        tools: Arc::from([]),
        choice: Choice::Auto,
        output: None,
        temperature: None,
        output_tokens_max: None,
        effort: None,
        hold: Hold::No,
        cache_key: None,
        draft: Draft::default(),
    }
}

/// A world of providers `a`, `b`, … and one route, `r`, over all of them.
struct World {
    doubles: Vec<Arc<Double>>,
    router: Router,
}

fn virtual_time() -> Now {
    let begun = Instant::now();
    Arc::new(move || Time(1_000_000_000_000 + i64::try_from(begun.elapsed().as_millis()).unwrap()))
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn world(policy: Policy, does: &[&[Does]]) -> World {
    world_with(policy, does, |_| Facts::default())
}

fn world_with(policy: Policy, does: &[&[Does]], facts: impl Fn(&str) -> Facts + Send + Sync + 'static) -> World {
    world_of(does, |table| {
        table.routes.values_mut().for_each(|route| route.policy = policy);
        table.facts = Arc::new(facts);
    })
}

fn world_of(does: &[&[Does]], change: impl FnOnce(&mut Table)) -> World {
    let doubles: Vec<_> = does.iter().zip(NAMES).map(|(does, name)| Arc::new(Double::new(name, does))).collect();
    let providers: BTreeMap<String, Arc<dyn Provider>> =
        doubles.iter().map(|it| (it.name.to_owned(), it.clone() as Arc<dyn Provider>)).collect();
    let targets = doubles.iter().map(|it| Target { model: format!("{}/m", it.name), weight: 1 }).collect();
    let routes = BTreeMap::from([("r".to_owned(), Route { targets, ..Route::default() })]);
    let mut table = Table { providers, routes, ..Table::default() };
    change(&mut table);
    World { doubles, router: Router::with(table, None, Memory::default(), virtual_time()) }
}

impl World {
    /// Asks, and tells who was asked in turn and who answered, or how it failed.
    async fn ask(&self) -> (Vec<String>, Result<String, Class>) {
        self.ask_in(Conversation::default()).await
    }

    async fn ask_in(&self, conversation: Conversation<'_>) -> (Vec<String>, Result<String, Class>) {
        let mut asked = Vec::new();
        let reply = self
            .router
            .ask("r", &request(), conversation, &mut |attempt| {
                if let Attempt::Asked { endpoint, .. } = attempt {
                    asked.push(endpoint.to_owned());
                }
            })
            .await;
        (asked, reply.map(|reply| reply.endpoint.to_string()).map_err(|failure| failure.class))
    }

    fn asked(&self) -> Vec<u64> {
        self.doubles.iter().map(|it| it.asked.load(Ordering::SeqCst)).collect()
    }

    fn verdicts(&self, conversation: Conversation<'_>) -> Vec<(String, Verdict)> {
        self.router.explain("r", &Need::of(&request(), conversation)).now_or_never().unwrap().unwrap()
    }
}

use Does::{Allows, Answers, AsksToWait, Fails, KnowsNoSchemas, Stalls};

#[tokio::test(start_paused = true)]
async fn each_class_of_failure_goes_its_own_way() {
    let table: &[(Class, &[&str], Result<&str, Class>)] = &[
        (Class::Transient, &["a/m", "a/m", "b/m"], Ok("b/m")),
        (Class::MalformedAnswer, &["a/m", "a/m", "b/m"], Ok("b/m")),
        (Class::RateLimited, &["a/m", "b/m"], Ok("b/m")),
        (Class::Quota, &["a/m", "b/m"], Ok("b/m")),
        (Class::Credential, &["a/m", "b/m"], Ok("b/m")),
        (Class::ModelGone, &["a/m", "b/m"], Ok("b/m")),
        (Class::Region, &["a/m", "b/m"], Ok("b/m")),
        (Class::ContextTooLong, &["a/m", "b/m"], Ok("b/m")),
        (Class::ContentRefused, &["a/m", "b/m"], Ok("b/m")),
        (Class::CallerFault, &["a/m", "b/m"], Ok("b/m")),
    ];
    for (class, asked, end) in table {
        let world = world(Policy::Order, &[&[Fails(*class)], &[Answers]]);
        let (seen, ended) = world.ask().await;
        assert_eq!(seen, *asked, "{class}");
        assert_eq!(ended.as_deref(), end.as_ref().map(|it| *it), "{class}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_failure_that_leaves_most_hope_is_told() {
    let rows = [
        ([Class::Credential, Class::RateLimited, Class::Quota], Class::RateLimited),
        ([Class::Quota, Class::ContextTooLong, Class::Credential], Class::ContextTooLong),
        ([Class::ContentRefused, Class::Quota, Class::ContentRefused], Class::Quota),
    ];
    for (classes, told) in rows {
        let world = world(Policy::Order, &[&[Fails(classes[0])], &[Fails(classes[1])], &[Fails(classes[2])]]);
        assert_eq!(world.ask().await.1, Err(told));
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_is_waited_for_and_a_long_one_is_not() {
    let short = world(Policy::Order, &[&[AsksToWait(3), Answers]]);
    let begun = Instant::now();
    assert_eq!(short.ask().await.1.as_deref(), Ok("a/m"));
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let long = world(Policy::Order, &[&[AsksToWait(3600), Answers]]);
    assert_eq!(long.ask().await, (vec!["a/m".to_owned()], Err(Class::RateLimited)));
}

#[tokio::test(start_paused = true)]
async fn who_fails_repeatedly_is_left_alone_and_comes_back() {
    let world = world(Policy::Order, &[&[Fails(Class::Transient)], &[Answers]]);
    let _ = world.ask().await;
    // Shaky now: the other goes first.
    assert_eq!(world.ask().await.0, ["b/m"]);
    assert!(matches!(world.verdicts(Conversation::default())[1], (_, Verdict::Shaky)));
    tokio::time::sleep(Duration::from_secs(31)).await;
    // One more failure, the third in a row, and it is ejected.
    assert_eq!(world.ask().await.0[..2], ["a/m", "a/m"]);
    assert!(matches!(world.verdicts(Conversation::default())[1], (_, Verdict::Ejected(_))));
    // It has recovered, and is asked again when the time is over.
    *world.doubles[0].does.lock().unwrap() = [Answers].into();
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(world.ask().await.0, ["a/m"]);
    assert_eq!(world.router.memory().of("a/m").failures, 0);
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_finds_out_whether_an_endpoint_is_back() {
    let world = world(Policy::Order, &[&[AsksToWait(60), Answers], &[Answers]]);
    assert_eq!(world.ask().await.0, ["a/m", "b/m"]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let (one, other) = tokio::join!(world.ask(), world.ask());
    assert_eq!((one.0, other.0), (vec!["a/m".to_owned()], vec!["b/m".to_owned()]));
    let (one, other) = tokio::join!(world.ask(), world.ask());
    assert_eq!((one.0, other.0), (vec!["a/m".to_owned()], vec!["a/m".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_ejected_the_one_that_comes_back_first_is_asked() {
    let world = world(Policy::Order, &[&[AsksToWait(600), Answers], &[AsksToWait(300), Answers]]);
    assert_eq!(world.ask().await.1, Err(Class::RateLimited));
    assert_eq!(world.ask().await, (vec!["b/m".to_owned()], Ok("b/m".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_run_stays_where_its_prompt_is_cached_and_leaves_when_the_cache_is_cold() {
    let world = world(Policy::Order, &[&[Answers], &[Answers]]);
    let now = world.router.shared.clock.clone();
    let sticky = Conversation { answered: Some(("b/m", now.now())), ..Conversation::default() };
    assert_eq!(world.ask_in(sticky).await.0, ["b/m"]);
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(world.ask_in(sticky).await.0, ["a/m"]);
}

#[tokio::test(start_paused = true)]
async fn whose_calls_stay_invalid_is_asked_last() {
    let world = world(Policy::Order, &[&[Answers], &[Answers]]);
    let now = world.router.shared.clock.clone();
    let missed = Conversation { answered: Some(("a/m", now.now())), elsewhere: true, ..Conversation::default() };
    assert_eq!(world.ask_in(missed).await.0, ["b/m"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_everything_is_not_multiplied() {
    let world = world(Policy::Order, &[&[Fails(Class::Transient)], &[Fails(Class::Transient)]]);
    for _ in 0..100 {
        assert!(world.ask().await.1.is_err());
    }
    let asked: u64 = world.asked().iter().sum();
    // Without a budget each of the 100 requests would be sent six times.
    assert!(asked < 100 + 60, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_serve_is_left_out_with_the_reason() {
    let facts = |model: &str| match model {
        "a/m" => Facts { tools: Some(false), window: Some(50), ..Facts::default() },
        "b/m" => Facts { window: Some(1000), ..Facts::default() },
        _ => Facts::default(),
    };
    let world = world_with(Policy::Order, &[&[Answers], &[Answers], &[Answers]], facts);
    let long = Conversation { tokens: 2000, ..Conversation::default() };
    let told: Vec<String> = world.verdicts(long).iter().map(|(name, verdict)| format!("{name}: {verdict}")).collect();
    assert_eq!(
        told,
        [
            "c/m: in its place by the policy",
            "a/m: left out: the conversation is longer than it can read",
            "b/m: left out: the conversation is longer than it can read",
        ]
    );
    let tools = Need { tools: true, ..Need::default() };
    let told = world.router.explain("r", &tools).now_or_never().unwrap().unwrap();
    assert_eq!(told[2], ("a/m".to_owned(), Verdict::LeftOut(Unfit::NoTools)));
}

#[tokio::test(start_paused = true)]
async fn an_estimate_alone_does_not_rule_out_every_target() {
    let facts = |model: &str| Facts { window: Some(if model == "b/m" { 1000 } else { 50 }), ..Facts::default() };
    let long = Conversation { tokens: 2000, ..Conversation::default() };
    let both = world_with(Policy::Order, &[&[Answers], &[Answers]], facts);
    let verdicts = both.verdicts(long);
    assert!(verdicts.iter().all(|(_, verdict)| *verdict == Verdict::Overfull), "{verdicts:?}");
    let (asked, answered) = both.ask_in(long).await;
    assert_eq!((asked, answered.is_ok()), (vec!["b/m".into()], true), "the longest window first");
}

#[tokio::test(start_paused = true)]
async fn who_takes_less_of_the_media_is_asked_after_who_takes_more_and_nobody_is_left_out() {
    let senses = |image, audio| Senses { image: Some(image), audio: Some(audio), document: None };
    let facts = move |model: &str| match model {
        "a/m" => Facts { senses: senses(false, false), ..Facts::default() },
        "b/m" => Facts { senses: senses(true, false), ..Facts::default() },
        _ => Facts::default(),
    };
    let world = world_with(Policy::Order, &[&[Answers], &[Answers], &[Answers]], facts);
    let order = |media: Media| {
        let need = Need { media, ..Need::default() };
        let told = world.router.explain("r", &need).now_or_never().unwrap().unwrap();
        told.into_iter().map(|(name, verdict)| (name, verdict == Verdict::Blind)).collect::<Vec<_>>()
    };
    let told = |order: [(&str, bool); 3]| order.map(|(name, blind)| (name.to_owned(), blind)).to_vec();
    let picture = Media { image: true, ..Media::default() };
    assert_eq!(order(Media::default()), told([("a/m", false), ("b/m", false), ("c/m", false)]));
    assert_eq!(order(picture), told([("b/m", false), ("c/m", false), ("a/m", true)]));
    let both = Media { audio: true, ..picture };
    assert_eq!(order(both), told([("c/m", false), ("a/m", true), ("b/m", true)]));
    let paper = Media { document: true, ..Media::default() };
    assert_eq!(order(paper)[0], ("a/m".to_owned(), false), "nobody said whether it reads documents");
    // Of those that are left, all are asked.
    let alone = world_with(Policy::Order, &[&[Answers]], facts);
    assert_eq!(alone.ask_in(Conversation::default()).await.0, ["a/m"]);
}

#[tokio::test(start_paused = true)]
async fn the_policies_order_by_what_they_say() {
    let facts = |model: &str| {
        let dollar = 1_000_000_000;
        let price = match model {
            "a/m" => Some((3, 15)),
            "b/m" => Some((1, 5)),
            _ => None,
        };
        let price = price.map(|(input, output)| Price {
            rates: Rates {
                input: NanoDollars(input * dollar),
                cached: None,
                cache_write: None,
                output: NanoDollars(output * dollar),
            },
            above: None,
        });
        Facts { price, ..Facts::default() }
    };
    let learn = |router: &Router| {
        router.learn(|memory, now| {
            memory.answered("a/m", Duration::from_secs(1), Some(100), now);
            memory.answered("b/m", Duration::from_secs(5), Some(1000), now);
            memory.answered("c/m", Duration::from_secs(2), Some(10), now);
            for turn in 0..100 {
                memory.judged("a/m", [("t", true)], now);
                memory.judged("b/m", [("t", turn % 2 == 0)], now);
            }
        });
    };
    let rows = [
        (Policy::Order, ["a/m", "c/m", "b/m"]),
        (Policy::Price, ["a/m", "c/m", "b/m"]),
        (Policy::Latency, ["a/m", "c/m", "b/m"]),
        (Policy::Throughput, ["a/m", "c/m", "b/m"]),
        (Policy::Quality, ["a/m", "c/m", "b/m"]),
    ];
    for (policy, expected) in rows {
        let world = world_with(policy, &[&[Answers], &[Answers], &[Answers]], facts);
        learn(&world.router);
        let order: Vec<String> = world.verdicts(Conversation::default()).into_iter().map(|(name, _)| name).collect();
        // `b`, of whose calls every other is wrong, stands behind whatever the policy.
        assert_eq!(order, expected, "{policy:?}");
    }
    // Without the bad calls it is the cheapest and has the most tokens a second.
    for (policy, expected) in [
        (Policy::Price, ["b/m", "a/m", "c/m"]),
        (Policy::Throughput, ["b/m", "a/m", "c/m"]),
        (Policy::Latency, ["a/m", "c/m", "b/m"]),
    ] {
        let world = world_with(policy, &[&[Answers], &[Answers], &[Answers]], facts);
        world.router.learn(|memory, now| {
            memory.answered("a/m", Duration::from_secs(1), Some(100), now);
            memory.answered("b/m", Duration::from_secs(5), Some(1000), now);
            memory.answered("c/m", Duration::from_secs(2), Some(10), now);
        });
        let order: Vec<String> = world.verdicts(Conversation::default()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(order, expected, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn weights_divide_the_runs_and_a_run_keeps_its_target() {
    let world = world(Policy::Weighted, &[&[Answers], &[Answers]]);
    let mut first = [0, 0];
    for draw in 0..100 {
        let conversation = Conversation { draw, ..Conversation::default() };
        let name = world.verdicts(conversation)[0].0.clone();
        assert_eq!(world.verdicts(conversation)[0].0, name);
        first[usize::from(name == "b/m")] += 1;
    }
    assert_eq!(first, [50, 50]);
}

#[tokio::test(start_paused = true)]
async fn what_was_learnt_survives_a_restart() {
    let world = world(Policy::Order, &[&[AsksToWait(600)], &[Answers]]);
    let _ = world.ask().await;
    world.router.judged("b/m", [("files__read", true), ("files__write", false)]);
    let text = world.router.memory().save().unwrap();
    let memory = Memory::load(&text);
    assert_eq!(memory, world.router.memory());
    assert!(memory.of("a/m").ejected_until.is_some());
    assert_eq!(memory.of("b/m").bad, 1.0);
    assert_eq!(memory.of("b/m").tools["files__write"], (0.0, 1.0));
    assert_eq!(Memory::load("garbage"), Memory::default());
}

#[test]
fn the_memory_is_bounded() {
    let mut memory = Memory::default();
    for number in 0..2000 {
        memory.answered(&format!("p/{number}"), Duration::from_secs(1), None, Time(number));
        let tools: Vec<String> = (0..300).map(|tool| format!("t{tool}")).collect();
        if number % 500 == 0 {
            memory.judged(&format!("p/{number}"), tools.iter().map(|tool| (tool.as_str(), true)), Time(number));
        }
    }
    assert_eq!(memory.all().count(), super::memory::ENDPOINTS_MAX);
    assert!(memory.all().all(|(_, it)| it.tools.len() <= super::memory::TOOLS_MAX));
    // The ones used last are there.
    assert!(memory.of("p/1999").latency.percentile(0.5, Time(1999)).is_some());
}

#[test]
fn routes_that_lead_nowhere_are_told() {
    let router = Router::new(BTreeMap::new());
    assert_eq!(
        router.resolve("smart").unwrap_err().to_string(),
        "\"smart\" is no route; write provider/model, or name a route of the settings"
    );
    assert_eq!(router.resolve("x/y").unwrap_err().to_string(), "there is no provider \"x\"; known: ");
}

/// Another table each time it is told to change.
struct Changing {
    to: Mutex<Option<Table>>,
    looks: AtomicU64,
}

impl Source for Changing {
    fn changed(&self) -> bool {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.to.lock().unwrap().is_some()
    }

    fn read(&self) -> Option<Table> {
        self.to.lock().unwrap().take()
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_table_is_taken_up_by_the_next_request() {
    let of = |name: &'static str| {
        let double = Double::new(name, &[Answers]);
        let targets = vec![Target { model: format!("{name}/m"), weight: 1 }];
        Table {
            providers: BTreeMap::from([(name.to_owned(), Arc::new(double) as Arc<dyn Provider>)]),
            routes: BTreeMap::from([("r".to_owned(), Route { targets, ..Route::default() })]),
            ..Table::default()
        }
    };
    let source = Arc::new(Changing { to: Mutex::default(), looks: AtomicU64::new(0) });
    let router = Router::with(of("a"), Some(source.clone()), Memory::default(), virtual_time());
    let world = World { doubles: Vec::new(), router };
    assert_eq!(world.ask().await.0, ["a/m"]);
    *source.to.lock().unwrap() = Some(of("b"));
    assert_eq!(world.ask().await.0, ["b/m"]);
    assert_eq!(world.ask().await.0, ["b/m"]);
    assert_eq!(source.looks.load(Ordering::SeqCst), 3, "once a request");
}

#[tokio::test(start_paused = true)]
async fn a_route_wishes_schemas_to_be_held_to_and_does_without_where_they_are_refused() {
    for (hold, means) in [(Hold::No, vec![false]), (Hold::Yes, vec![true, false])] {
        let held = |table: &mut Table| table.routes.values_mut().for_each(|route| route.hold = hold);
        let world = world_of(&[&[KnowsNoSchemas], &[Answers]], held);
        let mut asked = Vec::new();
        let mut watch = |attempt: Attempt<'_>| {
            if let Attempt::Asked { endpoint, means, .. } = attempt {
                asked.push((endpoint.to_owned(), means.strict));
            }
        };
        let reply = world.router.ask("r", &request(), Conversation::default(), &mut watch).await.unwrap();
        let expected: Vec<_> = means.into_iter().map(|strict| ("a/m".to_owned(), strict)).collect();
        assert_eq!((&*reply.endpoint, asked), ("a/m", expected));
    }
    // What is wrong with the request itself goes on to the next one.
    let held = |table: &mut Table| table.routes.values_mut().for_each(|route| route.hold = Hold::Yes);
    let wrong = world_of(&[&[Fails(Class::CallerFault)], &[Answers]], held);
    assert_eq!(wrong.ask().await, (["a/m", "a/m", "b/m"].map(str::to_owned).to_vec(), Ok("b/m".to_owned())));
}
