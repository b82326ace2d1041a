//! Random answers under random trouble: the run always comes to its end, and nothing happens twice.

use std::{collections::HashMap, rc::Rc};

use proptest::prelude::*;

use super::{
    build::*,
    world::{Driver, Fate, Killed, Left, World},
};
use crate::{
    chat::{CallId, Effect, Finish, Message, Part, WrittenCall},
    run::{doubt_key, *},
};

/// Whom a model is asked about, how doubts and limits stand, what it says, and all that goes wrong.
#[derive(Debug, Clone)]
struct Plan {
    says: Vec<Say>,
    rules: Rules,
    limits: Limits,
    output: bool,
    ask_again: u32,
    fate: Fate,
    /// What happens next, and how: two numbers for each step.
    steps: Vec<(u8, u8)>,
}

fn call() -> impl Strategy<Value = WrittenCall> {
    let tool = (0..TOOLS.len(), 0..2).prop_map(|(tool, n)| written(TOOLS[tool].0, &format!(r#"{{"n":{n}}}"#)));
    prop_oneof![
        30 => tool,
        1 => Just(written("nonsense", "{}")),
        1 => Just(written("write", "[1]")),
        1 => Just(written(FINAL_ANSWER, "{}")),
        1 => Just(WrittenCall { complete: false, ..written("write", r#"{"n":"#) }),
    ]
}

fn say() -> impl Strategy<Value = Say> {
    let calls = |most| prop::collection::vec(call(), 1..most).prop_map(Say::written);
    prop_oneof![
        20 => calls(6),
        1 => calls(3).prop_map(|say| Say { finish: Finish::Length, ..say }),
        1 => prop_oneof![Just(""), Just("no"), Just("{}")].prop_map(Say::text),
        1 => prop_oneof![Just("no"), Just("{}")].prop_map(|it| Say::written([written(FINAL_ANSWER, it)])),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let tools = |most| prop::sample::subsequence(TOOLS.map(|(name, ..)| name).to_vec(), 0..most);
    let on_doubt =
        prop_oneof![Just(None), Just(Some(OnDoubt::Retry)), Just(Some(OnDoubt::Ask)), Just(Some(OnDoubt::Tell))];
    let expire = prop_oneof![Just(None), Just(Some(secs(20)))];
    (tools(4), tools(2), on_doubt, expire, any::<bool>()).prop_map(
        |(approve, deny, on_doubt, expire, on_expire_allow)| {
            let reason = ApprovalReason::Policy;
            Rules { approve, reason, expire, on_expire_allow, deny, on_doubt }
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = |range: std::ops::Range<u64>| prop_oneof![3 => Just(None), 1 => range.prop_map(Some)];
    (some(0..8), some(0..30), some(0..2000), some(0..60)).prop_map(|(turns, tool_calls, tokens, active)| Limits {
        turns,
        tool_calls,
        tokens,
        cost: None,
        active: active.map(secs),
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![Just(Fate::Never), Just(Fate::Before), Just(Fate::Later)];
    let says = prop::collection::vec(say(), 0..12);
    let steps = prop::collection::vec(any::<(u8, u8)>(), 0..150);
    (says, rules(), limits(), any::<bool>(), 0..3_u32, fate, steps).prop_map(
        |(says, rules, limits, output, ask_again, fate, steps)| Plan {
            says,
            rules,
            limits,
            output,
            ask_again,
            fate,
            steps,
        },
    )
}

fn nth<T>(of: impl IntoIterator<Item = T>, nth: u8) -> Option<T> {
    let mut all: Vec<_> = of.into_iter().collect();
    (!all.is_empty()).then(|| all.swap_remove(usize::from(nth) % all.len()))
}

/// What can happen to a run.
#[derive(Clone, Copy)]
enum Act {
    ComeBack,
    Fail,
    BreakOff,
    Pause,
    HoldBack,
    Kill,
    KillSoon,
    Input,
    Cancel,
    Decide,
    SetRule,
    Resolve,
    Limits,
    Wait,
    Wake,
    Rebind,
    Compact,
    Pass,
}

/// One thing that happens to the run, of those that can happen now.
fn step(driver: &mut Driver, world: &mut World, (what, how): (u8, u8)) -> Result<(), Killed> {
    use Act::*;
    let (now, run) = (world.now, &driver.run);
    let asked: Vec<_> = run.calls().filter(|call| call.undecided()).map(|call| call.id.to_string()).collect();
    let lost = run.calls().filter(|call| matches!(call.state, CallState::Lost(_)));
    let lost: Vec<_> = lost.map(|call| call.id.to_string()).collect();
    let weights = [
        (ComeBack, if driver.in_flight() > 0 { 20 } else { 0 }),
        (Fail, usize::from(driver.in_flight() > 0)),
        (BreakOff, if driver.in_flight() > 0 { 2 } else { 0 }),
        (Pause, usize::from(driver.in_flight() > 0)),
        (HoldBack, usize::from(driver.in_flight() > 0)),
        (Kill, 1),
        (KillSoon, 1),
        (Input, if run.end().is_some() { 10 } else { 1 }),
        (Cancel, 1),
        (Decide, if asked.is_empty() { 0 } else { 8 }),
        (SetRule, if asked.is_empty() { usize::from(how % 8 == 0) } else { 2 }),
        (Resolve, if lost.is_empty() { 0 } else { 6 }),
        (Limits, if matches!(run.end(), Some(End::Exhausted { .. })) { 10 } else { 1 }),
        (Wait, usize::from(run.end().is_none())),
        (Wake, 1),
        (Rebind, usize::from(how % 4 == 0)),
        (Compact, usize::from(run.turn() > 1 && how % 2 == 0)),
        (Pass, 3),
    ];
    let acts = weights.into_iter().flat_map(|(act, weight)| std::iter::repeat_n(act, weight));
    let place = usize::from(how) % driver.in_flight().max(1);
    match nth(acts, what).unwrap() {
        ComeBack => driver.come_back(world, place, false),
        Fail => driver.come_back(world, place, true),
        BreakOff => driver.break_off(world, place),
        Pause => driver.pause(world, place).map(drop),
        HoldBack => driver.hold_back(world, place).map(drop),
        Kill => Err(Killed),
        KillSoon => {
            driver.stop_at = Some(driver.journal.len() + usize::from(how % 8));
            Ok(())
        }
        Input => driver.push(now, input("and that")),
        Cancel => driver.push(now, cancel()),
        Decide => {
            let edit = || Decision::Edit(format!(r#"{{"n":{}}}"#, how % 3).into());
            let decisions = [Decision::Allow, Decision::Allow, Decision::Deny(None), edit()];
            driver.push(now, given(&nth(asked, how / 4).unwrap(), decisions[usize::from(how % 4)].clone()))
        }
        SetRule => {
            let patterns = ["s.write", "s.d*", "*", "other.*"];
            driver.push(now, policy(patterns[usize::from(how / 64)], how % 3 != 0))
        }
        Resolve => {
            let resolutions = [Resolution::Told, Resolution::Happened(None), Resolution::DidNot, Resolution::Retry];
            driver.push(now, resolved(&nth(lost, how / 4).unwrap(), resolutions[usize::from(how % 4)].clone()))
        }
        Limits => {
            let some = |bit: u8, limit: u64| (how & bit != 0).then_some(limit);
            let (turns, tool_calls, tokens) = (some(1, how.into()), some(2, u64::from(how / 8)), some(4, 500));
            let active = some(64, how.into()).map(secs);
            driver.push(now, limited(crate::run::Limits { turns, tool_calls, tokens, cost: None, active }))
        }
        Wait => {
            let until = (how % 2 == 0).then(|| now.after(secs(how.into())));
            driver.push(now, waiting(if how < 128 { WaitKind::Store } else { WaitKind::Provider }, until))
        }
        Wake => driver.push(now, if how % 2 == 0 { woken() } else { nudged() }),
        Rebind => {
            driver.push(now, Event::Rebound(Rebound { definition: "".into(), model: None, by: "ada".to_owned() }))
        }
        Compact => {
            let through = driver.run.turn() - 1;
            let elided = driver.run.calls().map(|call| call.id).filter(|call| call.turn < u32::from(how % 8)).collect();
            let summary = (how % 4 == 0).then(|| "so far".into());
            driver.push(now, Event::Compacted(Compacted { elided, summary, through, ..Compacted::default() }))
        }
        // Up to what is due by itself.
        Pass => {
            let want = driver.run.next();
            let to = driver.moment(&want).unwrap_or(now.after(secs(how.into())));
            driver.pass(world, to);
            if want.until.is_some_and(|until| until <= world.now) { driver.push(world.now, woken()) } else { Ok(()) }
        }
    }
}

/// Kills the run and lets another worker go on with one of the journals that may be left, or with a copy of it.
fn restart(driver: Driver, world: &mut World, how: u8) -> Driver {
    assert_replays(&driver);
    let left = nth(driver.die(world), how / 2).unwrap();
    world.now = world.now.after(secs(1));
    if how.is_multiple_of(16) { Driver::fork(&left, world) } else { Driver::resume(&left, world) }
}

fn play(plan: Plan) {
    let Plan { says, rules, limits, output, ask_again, fate, steps } = plan;
    let model = move |_: &[std::sync::Arc<Message>], _: u32, said: usize| {
        Some(says.get(said).cloned().unwrap_or_else(|| Say::text("{}")))
    };
    let mut world = World::new(rules, Rc::new(model), |_, _| Vec::new());
    world.fate = fate;
    let output_schema = output.then(|| "{}".into());
    let mut driver = Driver::start(Started { limits, ask_again, output_schema, ..started() }, &world);
    for (what, how) in steps {
        let done = driver.pump(&mut world).map(drop).and_then(|()| step(&mut driver, &mut world, (what, how)));
        if done == Err(Killed) {
            driver = restart(driver, &mut world, how);
        }
    }
    driver.stop_at = None;
    come_to_an_end(&mut driver, &mut world);
    assert_replays(&driver);
    assert_history(&driver.journal, &world);
    assert_shown(&driver);
    assert_robust(&driver);
}

/// From here on nothing goes wrong, and a person answers every question: the run must end.
fn come_to_an_end(driver: &mut Driver, world: &mut World) {
    for _ in 0..200 {
        let left = driver.drive(world).unwrap();
        let now = world.now;
        match (left, driver.run.end()) {
            (Left::Ended, Some(End::Exhausted { .. })) => driver.push(now, limited(Limits::default())).unwrap(),
            (Left::Ended, _) => return,
            (Left::Waiting(waiting), _) => {
                assert!(!waiting.is_empty(), "it waits for nothing: {:#?}", driver.journal);
                for wait in waiting {
                    let answer = match wait {
                        Wait::Approval(call) | Wait::Change(call) => given(&call.to_string(), Decision::Allow),
                        Wait::Doubt(call) => resolved(&call.to_string(), Resolution::Retry),
                        Wait::Input(call) => finished(call, driver.run.call(call).unwrap().attempts, "got it"),
                        Wait::Other(_) => nudged(),
                    };
                    driver.push(now, answer).unwrap();
                }
            }
        }
    }
    panic!("it never ends: {:#?}", driver.journal);
}

/// The journal tells all that there is to know.
fn assert_replays(driver: &Driver) {
    let replayed = Run::replay(&driver.journal).unwrap();
    let lines = |run: &Run| run.conversation().iter().map(|message| line(message)).collect::<Vec<_>>();
    assert_eq!(replayed.next(), driver.run.next());
    assert_eq!(replayed.tally(), driver.run.tally());
    assert_eq!(lines(&replayed), lines(&driver.run));
    assert_eq!((replayed.status(), replayed.end()), (driver.run.status(), driver.run.end()));
    assert_eq!(replayed.length(), driver.journal.len() as u64);
}

/// What must hold along a whole journal, and between it and the world.
fn assert_history(journal: &[Entry], world: &World) {
    let mut run = Run::default();
    let mut retries: HashMap<CallId, u32> = HashMap::new();
    for entry in journal {
        let journal = || format!("{:#?}", &journal[..=entry.index as usize]);
        match &entry.event {
            Event::ModelAsked(asked) => {
                assert!(run.cancelled.is_none() && run.end().is_none(), "asked after a cancel: {}", journal());
                let limits = run.limits();
                let below = |limit: Option<u64>, used: u64| limit.is_none_or(|limit| used < limit);
                assert!(asked.turn == run.turn() || below(limits.turns, run.tally().turns), "turns: {}", journal());
                assert!(below(limits.tokens, run.tally().usage.total()), "tokens: {}", journal());
            }
            Event::ToolStarted(started) => {
                assert!(run.cancelled.is_none() && run.end().is_none(), "sent after a cancel: {}", journal());
                let begun = run.open_calls().iter().any(|call| call.attempts > 0);
                let valid = run.open_calls().iter().filter(|call| !matches!(call.state, CallState::Rejected(_)));
                let all = run.tally().tool_calls + valid.count() as u64;
                assert!(begun || run.limits().tool_calls.is_none_or(|limit| all <= limit), "calls: {}", journal());
                let call = run.call(started.call).unwrap();
                let held = doubt_key(call).is_some_and(|key| started.attempt == 1 && run.doubted.contains(&key));
                let asked = |reason| call.allowed && call.asked.as_ref().is_some_and(|asked| asked.reason == reason);
                assert!(!held || asked(ApprovalReason::HeldRepeat), "{} repeats a doubt: {}", call.id, journal());
                let most = match call.on_doubt() {
                    OnDoubt::Retry => CALL_ATTEMPTS_MAX,
                    _ => 1,
                };
                let asked_for = retries.get(&call.id).copied().unwrap_or(0);
                assert!(started.attempt <= most + asked_for, "{} repeated unasked: {}", call.id, journal());
            }
            Event::ApprovalGiven(given) => {
                let call = run.call(given.call).unwrap();
                let asked = call.asked.as_ref().unwrap();
                let tool = &call.resolved.as_ref().unwrap().origin;
                let allow = given.decision == Decision::Allow;
                match given.by.as_str() {
                    "policy" => {
                        assert_eq!(asked.reason, ApprovalReason::Policy, "{}", journal());
                        assert_eq!(run.policy_on(tool).map(|given| given.allow), Some(allow), "{}", journal());
                    }
                    "expiry" => {
                        let due = asked.expires.is_some_and(|expires| expires <= entry.at.max(run.now()));
                        assert!(due && allow == world.rules.on_expire_allow, "{}", journal());
                    }
                    _ => {}
                }
            }
            Event::DoubtResolved(DoubtResolved { call, resolution: Resolution::Retry, .. }) => {
                *retries.entry(*call).or_default() += 1;
            }
            _ => {}
        }
        run.apply(entry).unwrap();
    }
    assert!(run.calls().all(|call| call.state.settled()), "a call without an end: {journal:#?}");
    let distinct = run.calls().filter(|call| call.attempts > 0).count() as u64;
    assert_eq!(run.tally().tool_calls, distinct);
    for effected in &world.effects {
        let call = run.call(effected.call).unwrap();
        assert!(effected.attempt <= call.attempts, "{} without an entry", call.id);
        assert!(!matches!(call.state, CallState::Rejected(_) | CallState::NotSent), "{} was refused", call.id);
        assert_eq!(&effected.arguments, call.arguments());
        let told = matches!(&call.state, CallState::Finished(it) if it.content == [Part::text(NEVER_SENT)]);
        assert!(!told || effected.effect == Effect::Read, "{} did go out: {journal:#?}", call.id);
        let twice = world.times(call.id) > 1;
        let may = effected.effect <= Effect::Idempotent || call.on_doubt() == OnDoubt::Retry;
        assert!(!twice || may || retries.contains_key(&call.id), "{} happened twice: {journal:#?}", call.id);
    }
}

/// What was shown of a run at any time does not stick: it shows what a run does that was never looked at before.
fn assert_shown(driver: &Driver) {
    let mut watched = Run::default();
    for (number, entry) in (1..).zip(&driver.journal) {
        watched.apply(entry).unwrap();
        let shown = watched.conversation();
        if number % 8 == 0 || number == driver.journal.len() {
            assert_eq!(shown, Run::replay(&driver.journal[..number]).unwrap().conversation(), "after {entry:?}");
        }
    }
}

/// Nothing fits twice that must not, and whatever does fit leaves a run that settles and can be shown.
fn assert_robust(driver: &Driver) {
    let mut run = Run::default();
    for entry in &driver.journal {
        run.apply(entry).unwrap();
        let again = Entry { index: run.length(), ..entry.clone() };
        let mut twice = run.clone();
        let taken = twice.apply(&again).is_ok();
        let may = match &entry.event {
            Event::Ended(ended) => ended.end == End::Cancelled && run.end().is_none(),
            Event::InputGiven(_) | Event::CancelAsked(_) | Event::LimitsChanged(_) | Event::Waiting(_) => true,
            Event::PolicyGiven(_) => true,
            Event::Woken(_) | Event::Rebound(_) | Event::Compacted(_) | Event::Forked(_) | Event::Noted(_) => true,
            _ => false,
        };
        assert_eq!(taken, may, "{entry:?} again");
        if !taken && entry.index % 16 == 0 {
            assert_eq!(format!("{twice:?}"), format!("{run:?}"), "refusing {entry:?} changed the run");
        }
    }
    let half = &driver.journal[..driver.journal.len() / 2];
    for entry in driver.journal.iter().step_by(3) {
        let mut run = Run::replay(half).unwrap();
        if run.apply(&Entry { index: run.length(), ..entry.clone() }).is_err() {
            continue;
        }
        run.conversation();
        for round in 0.. {
            assert!(round < 50, "this never settles: {:?}", run.next());
            let record = run.next().record;
            if record.is_empty() {
                break;
            }
            for event in record {
                run.apply(&Entry { index: run.length(), at: entry.at, event }).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_run_comes_to_its_end_and_nothing_happens_twice(plan in plan()) {
        play(plan);
    }
}
