//! What weighs in the choice beside the policy's own measure: a lost cache, the tools on offer, the usual latency.

use super::*;
use crate::{
    chat::{Effect, EffectSource, ToolDef, ToolName},
    router::NO_TOOL,
};

const DOLLAR: u64 = 1_000_000_000;

/// `b` costs two dollars, and a tenth of that for what is cached; `a` costs this.
fn prices(price_of_a: u64) -> impl Fn(&str) -> Facts + Send + Sync + 'static {
    move |model| {
        let (input, cached) = if model == "a/m" { (price_of_a, None) } else { (2 * DOLLAR, Some(DOLLAR / 5)) };
        let (input, output, cached) = (NanoDollars(input), NanoDollars(10 * input), cached.map(NanoDollars));
        let rates = Rates { input, cached, cache_write: None, output };
        Facts { price: Some(Price { rates, above: None }), ..Facts::default() }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_cache_is_counted_in_the_price_of_going_elsewhere() {
    let rows = [
        // A quarter cheaper: not worth the cache, unless little of the prompt is in it.
        (DOLLAR * 3 / 2, 90_000, "b/m"),
        (DOLLAR * 3 / 2, 10_000, "a/m"),
        (DOLLAR * 3 / 2, 0, "a/m"),
        // A tenth of the price: always worth it.
        (DOLLAR / 5, 90_000, "a/m"),
    ];
    for (policy, (price_of_a, cached, first)) in
        [Policy::Price, Policy::Quality].into_iter().flat_map(|policy| rows.map(|row| (policy, row)))
    {
        let world = world_with(policy, &[&[Answers], &[Answers]], prices(price_of_a));
        let answered = Some(("b/m", world.router.shared.clock.now()));
        let conversation = Conversation { answered, cached, tokens: 100_000, ..Conversation::default() };
        let told = world.verdicts(conversation);
        assert_eq!(told[0].0, first, "{policy:?} {price_of_a} {cached}");
        // $1.80 for each million of what is cached.
        let holder = &told.iter().find(|(endpoint, _)| endpoint == "b/m").unwrap().1;
        let holds = if cached == 0 { Verdict::Taken } else { Verdict::Holds(NanoDollars(cached * 1800)) };
        assert_eq!(*holder, holds);
        // When it has gone cold it holds nobody.
        tokio::time::sleep(Duration::from_secs(301)).await;
        assert_eq!(world.verdicts(conversation)[0].0, "a/m");
    }
    assert_eq!(
        Verdict::Holds(NanoDollars(162_000_000)).to_string(),
        "in its place by the policy, which counts the $0.1620 that its cache saves against the others"
    );
}

#[tokio::test(start_paused = true)]
async fn of_equal_prices_the_one_that_answered_stays() {
    let world = world_with(Policy::Price, &[&[Answers], &[Answers]], prices(2 * DOLLAR));
    let answered = Some(("b/m", world.router.shared.clock.now()));
    assert_eq!(world.verdicts(Conversation { answered, ..Conversation::default() })[0].0, "b/m");
}

fn tool(name: &str) -> ToolDef {
    ToolDef {
        name: name.into(),
        origin: ToolName { server: "s".to_owned(), tool: name.to_owned() },
        description: "".into(),
        input_schema: Arc::new(serde_json::json!({"type": "object"})),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: true,
        additive: true,
        hash: "".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_tools_on_offer_decide_whose_calls_are_worse() {
    let world = world(Policy::Order, &[&[Answers], &[Answers]]);
    world.router.learn(|memory, now| {
        for turn in 0..100 {
            let calls = [("easy", true), ("hard", turn % 2 == 0), ("rare", false)];
            memory.judged("a/m", calls.into_iter().take(if turn < 10 { 3 } else { 2 }), now);
            memory.judged("b/m", [("easy", true), ("hard", turn % 10 != 0)], now);
        }
    });
    let first = |offered: &[&str]| {
        let offered: Vec<ToolDef> = offered.iter().map(|name| tool(name)).collect();
        let need = Need { tools: true, offered: &offered, ..Need::default() };
        world.router.explain("r", &need).now_or_never().unwrap().unwrap()[0].0.clone()
    };
    assert_eq!(first(&["easy"]), "a/m");
    assert_eq!(first(&["hard"]), "b/m");
    // Ten calls of `rare` say too little: all calls count, and of those `a` made more wrong ones.
    assert_eq!(first(&["rare"]), "b/m");
    assert_eq!(first(&[]), "b/m");
    // Who names tools that are not there is worse at any.
    world.router.learn(|memory, now| (0..100).for_each(|_| memory.judged("a/m", [(NO_TOOL, false)], now)));
    assert_eq!(first(&["easy"]), "b/m");
}

#[tokio::test(start_paused = true)]
async fn the_median_decides_and_not_the_odd_slow_answer() {
    let world = world(Policy::Latency, &[&[Answers], &[Answers]]);
    let first = || world.verdicts(Conversation::default())[0].0.clone();
    world.router.learn(|memory, now| {
        for nth in 0..40 {
            memory.answered("a/m", Duration::from_secs(if nth % 5 == 4 { 60 } else { 1 }), None, now);
            memory.answered("b/m", Duration::from_secs(3), None, now);
        }
    });
    assert_eq!(first(), "a/m");
    // What was measured long ago is not believed: who was slow then is measured again.
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    world.router.learn(|memory, now| memory.answered("a/m", Duration::from_secs(1), None, now));
    assert_eq!(first(), "b/m");
}
