//! A run killed after any entry goes on in another worker as if nothing had happened, modulo stated doubts.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use super::{
    build::*,
    world::{Driver, Fate, Left, Model, Person, World, posted},
};
use crate::{
    chat::{CallId, Effect, Message},
    run::*,
};

/// A run and everybody around it.
struct Script {
    name: &'static str,
    started: Started,
    rules: Rules,
    model: Model,
    person: Person,
    /// Whether the model says the same whatever its calls came to, so that conversations can be compared.
    stubborn: bool,
    end: End,
}

impl Script {
    fn world(&self) -> World {
        World::new(self.rules.clone(), self.model.clone(), self.person)
    }
}

/// A model that says one thing after the other, and `done` in the end.
fn says(script: Vec<Say>) -> Model {
    Rc::new(move |_, _, said| Some(script.get(said).cloned().unwrap_or_else(|| Say::text("done"))))
}

fn nobody(_: &World, _: &Run) -> Vec<Event> {
    Vec::new()
}

/// Settles each doubt once nothing can happen any more, after a look at what did happen.
fn settles_doubts(world: &World, run: &Run) -> Vec<Event> {
    let settle = |call: &CallRecord| {
        let CallState::Lost(sent) = &call.state else { return None };
        if call.on_doubt() != OnDoubt::Ask || world.now < sent.deadline {
            return None;
        }
        let tool = &call.resolved.as_ref()?.name;
        let happened = || Resolution::Happened(Some(format!("{tool} {} ok", call.arguments()).into()));
        let resolution = if world.times(call.id) > 0 { happened() } else { Resolution::Retry };
        let name = format!("settle {} {}", call.id, call.attempts);
        Some(posted(&name, resolved(&call.id.to_string(), resolution)))
    };
    run.calls().filter_map(settle).collect()
}

/// Allows `write`, edits `put`, refuses `both`, and never says a word about `drop`.
fn decides(_: &World, run: &Run) -> Vec<Event> {
    let decide = |call: &CallRecord| {
        let decision = match call.resolved.as_ref()?.name.as_str() {
            "write" => Decision::Allow,
            "put" => Decision::Edit(r#"{"n":77}"#.into()),
            "both" => Decision::Deny(None),
            _ => return None,
        };
        let name = format!("decide {} {:?}", call.id, call.asked.as_ref()?.reason);
        Some(posted(&name, given(&call.id.to_string(), decision)))
    };
    run.calls().filter(|call| call.undecided()).filter_map(decide).collect()
}

/// Cancels as soon as the first call of turn 2 was sent, and says something when that is over.
fn cancels(_: &World, run: &Run) -> Vec<Event> {
    if run.call(id("t2c1")).is_some_and(|call| call.attempts > 0) && !run.has_taken("stop") {
        return vec![posted("stop", cancel())];
    }
    let over = run.end() == Some(&End::Cancelled);
    if over { vec![posted("go on", input("go on"))] } else { Vec::new() }
}

/// Says something while the first call runs.
fn adds(_: &World, run: &Run) -> Vec<Event> {
    let running = run.call(id("t1c1")).is_some_and(|call| call.attempts > 0);
    if running { vec![posted("add", input("and that"))] } else { Vec::new() }
}

/// Raises whatever limit was used up, once.
fn raises(_: &World, run: &Run) -> Vec<Event> {
    match run.end() {
        Some(End::Exhausted { limit, .. }) => vec![posted(&format!("raise {limit:?}"), limited(Limits::default()))],
        _ => Vec::new(),
    }
}

/// Lets a repeat that is held pass when the first call certainly came to nothing.
fn checks_repeats(world: &World, run: &Run) -> Vec<Event> {
    let first = run.calls().find(|call| matches!(call.state, CallState::Unknown));
    let Some(first) = first else { return Vec::new() };
    // Whatever was sent has ended by then.
    let over = run.now().after(TOTAL);
    let decide = |call: &CallRecord| {
        let asked = format!("check {}", call.id);
        if world.now < over && world.times(first.id) == 0 {
            return None;
        }
        let decision = match world.times(first.id) {
            0 => Decision::Allow,
            _ => Decision::Deny(Some("it happened".to_owned())),
        };
        Some(posted(&asked, given(&call.id.to_string(), decision)))
    };
    run.calls().filter(|call| call.undecided()).filter_map(decide).collect()
}

/// Wants one write, looks when it cannot know, and repeats it only if it is missing.
fn careful(messages: &[Arc<Message>], _: u32, _: usize) -> Option<Say> {
    let Some(Message::Tool(last)) = messages.last().map(|last| &**last) else { return Some(Say::calls("write 1")) };
    let said = line(&Message::Tool(last.clone()));
    Some(match () {
        () if said.contains("is unknown") => Say::calls("look"),
        () if said.contains(" 0 done") => Say::calls("write 1"),
        () => Say::text("done"),
    })
}

fn scripts() -> Vec<Script> {
    let done = || End::Done { output: "done".into() };
    let script = |name, says: Vec<Say>| Script {
        name,
        started: started(),
        rules: Rules::default(),
        model: self::says(says),
        person: settles_doubts,
        stubborn: true,
        end: done(),
    };
    let calls = |calls: &[&str]| calls.iter().map(|calls| Say::calls(calls)).collect::<Vec<_>>();
    let mut cut = written("write", r#"{"n":"#);
    cut.complete = false;
    vec![
        script(
            "reads beside each other, writes one by one",
            calls(&["read 1, read 2, write 3, write 4, read 5", "write 6"]),
        ),
        script("writes that may run beside each other", calls(&["both 1, read 2, both 3, write 4", "both 5, both 6"])),
        script("a person settles doubts", calls(&["drop 1, read 2, drop 3", "put 4, drop 5"])),
        Script {
            rules: Rules { on_doubt: Some(OnDoubt::Retry), ..Rules::default() },
            ..script("repeats", calls(&["put 1, write 2, drop 3"]))
        },
        Script {
            rules: Rules { approve: vec!["write", "put", "both", "drop"], expire: Some(secs(600)), ..Rules::default() },
            person: decides,
            ..script("approvals", calls(&["read 1, write 2, put 3, read 4", "both 5, drop 6, read 7, write 8"]))
        },
        script(
            "calls that are rejected",
            vec![
                Say::calls("nonsense"),
                Say::written([written("read", "{}"), cut]),
                Say::calls("write 1, nonsense, write 2, read 3"),
                Say::calls("write 2"),
            ],
        ),
        Script {
            end: End::Failed {
                code: "calls_rejected".to_owned(),
                message: "the model made no valid call, however often it was asked".to_owned(),
            },
            ..script("no valid call ever", calls(&["write 1", "nonsense", "nonsense", "nonsense"]))
        },
        Script {
            started: Started { output_schema: Some("{}".into()), ..started() },
            end: End::Done { output: r#"{"a":1}"#.into() },
            ..script(
                "an output in a form",
                vec![
                    Say::written([written("write", r#"{"n":1}"#), written(FINAL_ANSWER, "{}")]),
                    Say::text("no"),
                    Say::written([written(FINAL_ANSWER, r#"{"a":1}"#)]),
                ],
            )
        },
        Script {
            person: cancels,
            ..script("a cancel, and more afterwards", calls(&["write 1", "write 2, write 3", "write 4"]))
        },
        Script { person: adds, ..script("input while a call runs", calls(&["write 1, write 2", "read 3"])) },
        Script {
            started: Started {
                limits: Limits { turns: Some(1), tool_calls: Some(2), ..Limits::default() },
                ..started()
            },
            person: raises,
            ..script("limits that are raised", calls(&["write 1, read 2", "write 3"]))
        },
        Script {
            model: Rc::new(|messages, attempt, said| {
                (attempt % 2 == 0).then(|| says(vec![Say::calls("write 1")])(messages, 0, said)).flatten()
            }),
            person: nobody,
            ..script("a provider that comes and goes", vec![])
        },
        Script {
            model: Rc::new(careful),
            person: checks_repeats,
            stubborn: false,
            ..script("a model that checks before it repeats", vec![])
        },
    ]
}

/// The conversation, without what was told of calls whose outcome is unknown.
fn told(run: &Run, unknown: &HashSet<CallId>) -> Vec<String> {
    let told = |message: &Arc<Message>| match &**message {
        Message::Tool(result) if unknown.contains(&result.call) => format!("{}?", result.call),
        message => line(message),
    };
    run.conversation().iter().map(told).collect()
}

fn unknown(run: &Run) -> HashSet<CallId> {
    run.calls().filter(|call| matches!(call.state, CallState::Unknown)).map(|call| call.id).collect()
}

/// The disturbed run came to the same end as the calm one.
fn assert_same(script: &Script, what: &str, calm: (&Driver, &World), other: (&Driver, &World)) {
    let what = format!("{}: {what}\n{:#?}", script.name, other.0.journal);
    assert_eq!(other.0.run.end(), Some(&script.end), "{what}");
    if !script.stubborn {
        assert_eq!(other.1.writes().len(), calm.1.writes().len(), "{what}");
        return;
    }
    let unknown: HashSet<_> = unknown(&calm.0.run).union(&unknown(&other.0.run)).copied().collect();
    assert_eq!(told(&other.0.run, &unknown), told(&calm.0.run, &unknown), "{what}");
    for call in calm.0.run.calls() {
        let Some(resolved) = &call.resolved else { continue };
        let (calm, other) = (calm.1.times(call.id), other.1.times(call.id));
        let repeated = call.on_doubt() == OnDoubt::Retry;
        let fits = match other {
            0 => calm == 0 || unknown.contains(&call.id),
            1 => calm == 1 || unknown.contains(&call.id),
            _ => resolved.effect <= Effect::Idempotent || repeated,
        };
        assert!(fits, "{} happened {other} times instead of {calm}: {what}", call.id);
    }
}

#[test]
fn resumed_equals_undisturbed() {
    let mut kills = 0;
    for script in scripts() {
        let mut calm_world = script.world();
        let mut calm = Driver::start(script.started.clone(), &calm_world);
        assert_eq!(calm.drive(&mut calm_world), Ok(Left::Ended), "{}", script.name);
        assert_same(&script, "calm", (&calm, &calm_world), (&calm, &calm_world));
        for fate in [Fate::Never, Fate::Before, Fate::Later] {
            for cut in 3..=calm.journal.len() {
                let mut world = script.world();
                world.fate = fate;
                let mut driver = Driver::start(script.started.clone(), &world);
                driver.stop_at = Some(cut);
                let _ = driver.drive(&mut world);
                for left in driver.die(&mut world) {
                    let what = format!("killed at {cut}, {} left, {fate:?}", left.len());
                    let mut world = world.clone();
                    let mut resumed = Driver::resume(&left, &world);
                    assert_eq!(resumed.drive(&mut world), Ok(Left::Ended), "{}: {what}", script.name);
                    resumed.pass(&mut world, calm_world.now.after(secs(10_000)));
                    assert_same(&script, &what, (&calm, &calm_world), (&resumed, &world));
                    kills += 1;
                }
            }
        }
    }
    assert!(kills > 500, "{kills}");
}

#[test]
fn a_call_lost_while_its_sender_lives_is_like_one_lost_with_it() {
    for script in scripts() {
        let mut calm_world = script.world();
        let mut calm = Driver::start(script.started.clone(), &calm_world);
        assert_eq!(calm.drive(&mut calm_world), Ok(Left::Ended));
        for call in calm.run.calls().filter(|call| call.attempts > 0) {
            for fate in [Fate::Never, Fate::Before, Fate::Later] {
                let what = format!("{} lost, {fate:?}", call.id);
                let mut world = script.world();
                world.lose = Some((call.id, fate));
                let mut driver = Driver::start(script.started.clone(), &world);
                assert_eq!(driver.drive(&mut world), Ok(Left::Ended), "{}: {what}", script.name);
                driver.pass(&mut world, calm_world.now.after(secs(10_000)));
                assert_same(&script, &what, (&calm, &calm_world), (&driver, &world));
            }
        }
    }
}

#[test]
fn a_run_killed_again_and_again_still_comes_to_its_end() {
    for script in scripts() {
        // Less than that leaves no room for an answer and what a restart adds.
        for stride in 8..14 {
            let mut world = script.world();
            world.fate = Fate::Later;
            let mut driver = Driver::start(script.started.clone(), &world);
            for killed in 0.. {
                assert!(killed < 200, "{} gets nowhere", script.name);
                driver.stop_at = Some(driver.journal.len() + stride);
                if let Ok(left) = driver.drive(&mut world) {
                    assert_eq!(left, Left::Ended, "{}", script.name);
                    break;
                }
                let left = driver.die(&mut world).pop().unwrap();
                driver = Driver::resume(&left, &world);
            }
            for call in driver.run.calls() {
                let repeated = call.on_doubt() == OnDoubt::Retry;
                assert!(world.times(call.id) <= 1 || repeated, "{}: {} happened twice", script.name, call.id);
            }
        }
    }
}
