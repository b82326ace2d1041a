//! What the machine promises, one by one.

use std::time::Duration;

use super::build::*;
use crate::{
    chat::{Effect, Finish, Message, Usage},
    run::*,
};

fn turns(turns: u64) -> Limits {
    Limits { turns: Some(turns), ..Limits::default() }
}

fn tool_calls(tool_calls: u64) -> Limits {
    Limits { tool_calls: Some(tool_calls), ..Limits::default() }
}

fn active(active: Duration) -> Limits {
    Limits { active: Some(active), ..Limits::default() }
}

fn exhausted(limit: Limit) -> Option<End> {
    Some(End::Exhausted { limit, message: None })
}

fn done(output: &str) -> Option<End> {
    Some(End::Done { output: output.into() })
}

fn code(run: &Run) -> &str {
    match run.end() {
        Some(End::Failed { code, .. }) => code,
        end => panic!("{end:?}"),
    }
}

fn reason<'a>(play: &'a Play, call: &str) -> &'a Rejection {
    match play.state(call) {
        CallState::Rejected(reason) => reason,
        state => panic!("{state:?}"),
    }
}

// --- Turns and groups

#[test]
fn tools_are_listed_before_a_model_is_asked() {
    let mut play = Play { run: Run::default(), entries: Vec::new(), rules: Rules::default(), now: Time(0) };
    assert_eq!(play.run.next(), Want::default());
    play.push(Event::Started(Box::new(started())));
    play.push(input("do it"));
    assert_eq!(play.run.next(), Want { list_tools: true, ..Want::default() });
    play.push(listed());
    let ask = Ask { turn: 1, purpose: Purpose::Turn, force_output: false, again: 0 };
    assert_eq!(play.run.next(), Want { ask: Some(ask), ..Want::default() });
}

#[test]
fn a_text_answer_ends_the_run() {
    let mut play = Play::new(started());
    play.says(Say::text("done"));
    assert_eq!((play.run.end(), play.run.status()), (done("done").as_ref(), Status::Done));
    assert_eq!(play.run.next(), Want::default());
}

#[test]
fn neighbours_that_may_run_side_by_side_start_together_and_any_other_call_is_a_barrier() {
    let table = [
        ("read, read, write, read", vec!["+t1c1, +t1c2", "+t1c3", "+t1c4"]),
        ("write, write", vec!["+t1c1", "+t1c2"]),
        ("both, read, both, put", vec!["+t1c1, +t1c2, +t1c3", "+t1c4"]),
        ("nonsense, read", vec!["+t1c2"]),
        ("read, nonsense, read", vec!["+t1c1, +t1c3"]),
        ("drop, read, drop", vec!["+t1c1", "+t1c2", "+t1c3"]),
    ];
    for (calls, groups) in table {
        let mut play = Play::new(started());
        play.calls(calls);
        for group in groups {
            assert_eq!(play.wanted(), group, "{calls}");
            play.start();
            assert_eq!(play.wanted(), group.replace('+', ""), "{calls}");
            for call in group.replace('+', "").split(", ") {
                assert_eq!(play.run.next().ask, None, "{calls}");
                play.finish(call);
            }
        }
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2), "{calls}");
    }
}

#[test]
fn behind_a_rejected_call_only_reads_start() {
    let mut play = Play::new(started());
    play.calls("write, nonsense, read, put, both, read, drop");
    play.work();
    let behind = Rejection::Behind(id("t1c2"));
    for call in ["t1c4", "t1c5", "t1c7"] {
        assert_eq!(reason(&play, call), &behind, "{call}");
    }
    for call in ["t1c1", "t1c3", "t1c6"] {
        assert!(matches!(play.state(call), CallState::Finished(_)), "{call}");
    }
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2));
}

#[test]
fn behind_a_call_that_policy_refuses_everything_starts() {
    let mut play = Play::with(Rules { deny: vec!["drop"], ..Rules::default() });
    play.calls("drop, write");
    assert!(matches!(reason(&play, "t1c1"), Rejection::Denied(_)));
    assert_eq!(play.wanted(), "+t1c2");
}

#[test]
fn an_answer_without_a_valid_call_is_asked_again_as_the_same_turn_and_then_fails() {
    let mut play = Play::new(started());
    for (nth, call) in ["t1c1", "t1c2", "t1c3"].into_iter().enumerate() {
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1), "{nth}");
        play.calls("nonsense");
        assert!(matches!(reason(&play, call), Rejection::Invalid(_)));
    }
    assert_eq!((code(&play.run), play.run.tally().turns, play.run.tally().attempts), ("calls_rejected", 1, 3));
}

#[test]
fn the_same_invalid_call_again_and_again_ends_the_asking() {
    let mut play = Play::new(Started { ask_again: 10, ..started() });
    play.calls("nonsense 1");
    play.calls("nonsense 2");
    for nth in 2..4 {
        assert_eq!(play.run.next().ask.map(|ask| ask.again), Some(nth));
        play.calls("nonsense 2");
    }
    assert_eq!((code(&play.run), play.run.tally().attempts), ("calls_rejected", 4));
}

#[test]
fn the_last_asking_is_known_before_its_answer_is_judged() {
    let is_last = |play: &Play, again: u32, seen: u64, argument: u32| {
        let ask = Ask { turn: 1, purpose: Purpose::Turn, force_output: false, again };
        play.run.is_last_asking(&ask, seen, &[&written("nonsense", &format!(r#"{{"n":{argument}}}"#))])
    };
    let mut play = Play::new(Started { ask_again: 1, ..started() });
    assert!(!is_last(&play, 0, play.run.length(), 1));
    play.calls("nonsense 1");
    assert!(is_last(&play, 1, play.run.length(), 2));
    // What is said meanwhile begins another turn.
    let seen = play.run.length();
    play.push(input("wait"));
    assert!(!is_last(&play, 1, seen, 2));

    // The same again and again ends it sooner.
    let mut play = Play::new(Started { ask_again: 10, ..started() });
    play.calls("nonsense 1");
    play.calls("nonsense 1");
    let seen = play.run.length();
    assert_eq!((is_last(&play, 2, seen, 1), is_last(&play, 2, seen, 2)), (true, false));
}

#[test]
fn a_valid_call_ends_the_turn_that_was_asked_again() {
    let mut play = Play::new(started());
    play.calls("nonsense");
    play.calls("nonsense, read");
    play.work();
    play.calls("nonsense");
    play.calls("nonsense");
    assert_eq!(play.run.end(), None);
    assert_eq!(play.run.turn(), 2);
    assert_eq!(
        play.run.calls().map(|call| call.id.to_string()).collect::<Vec<_>>().join(" "),
        "t1c1 t1c2 t1c3 t2c1 t2c2"
    );
}

#[test]
fn a_call_that_policy_refuses_counts_as_valid() {
    let mut play = Play::with(Rules { deny: vec!["drop"], ..Rules::default() });
    for turn in 1..6 {
        play.calls("drop");
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(turn + 1));
    }
}

#[test]
fn no_call_of_an_answer_that_was_cut_is_executed() {
    for (finish, complete) in [(Finish::Length, true), (Finish::ToolCalls, false), (Finish::Stop, false)] {
        let mut play = Play::new(started());
        let mut cut = written("write", r#"{"n":1"#);
        cut.complete = complete;
        play.says(Say { finish, ..Say::written([written("read", "{}"), cut]) });
        assert_eq!(reason(&play, "t1c1"), &Rejection::CutAnswer);
        // It is asked again, as an answer without a valid call.
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1));
    }
}

#[test]
fn a_call_whose_check_was_never_journaled_is_not_executed_and_nothing_but_reads_runs_behind_it() {
    let mut play = Play::new(started());
    play.ask();
    let events = judge(&play.rules, &play.run, 1, 1, play.run.length(), &Say::calls("nonsense, write, read"));
    // A fork may end right behind the answer.
    play.push(events[0].clone());
    play.settle();
    assert_eq!(reason(&play, "t1c1"), &Rejection::CutAnswer);
    assert_eq!(reason(&play, "t1c2"), &Rejection::Behind(id("t1c1")));
    assert_eq!(play.wanted(), "+t1c3");
}

// --- Limits

#[test]
fn no_turn_begins_beyond_the_limit_and_a_higher_one_lets_the_run_go_on() {
    let mut play = Play::limited(turns(1));
    play.calls("read");
    play.work();
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::Turns).as_ref());
    play.push(input("more"));
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::Turns).as_ref());
    play.push(limited(turns(2)));
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2));
}

#[test]
fn asking_again_needs_no_turn() {
    let mut play = Play::limited(turns(1));
    play.calls("nonsense");
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1));
}

#[test]
fn if_not_all_calls_of_an_answer_fit_none_starts_until_the_limit_is_raised() {
    let mut play = Play::limited(tool_calls(2));
    play.calls("read, read");
    play.work();
    play.calls("read, write");
    assert_eq!(play.run.end(), exhausted(Limit::ToolCalls).as_ref());
    assert_eq!(play.run.tally().tool_calls, 2);
    play.push(limited(tool_calls(3)));
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::ToolCalls).as_ref());
    play.push(limited(tool_calls(4)));
    assert_eq!(play.wanted(), "+t2c1");
    play.work();
    assert_eq!(play.run.tally().tool_calls, 4);
}

#[test]
fn calls_that_will_not_run_use_up_no_limit() {
    let mut cut = written("write", "{");
    cut.complete = false;
    let mut play = Play::limited(tool_calls(1));
    play.says(Say::written([written("read", "{}"), written("read", "{}"), cut]));
    assert_eq!(play.run.end(), None, "cut");

    let mut play = Play::limited(tool_calls(1));
    play.calls("nonsense, write, read");
    assert_eq!((play.run.end(), play.wanted().as_str()), (None, "+t1c3"), "behind");

    let mut play = Play::limited(tool_calls(1));
    play.rules.deny = vec!["drop"];
    play.calls("drop, read");
    assert_eq!((play.run.end(), play.wanted().as_str()), (None, "+t1c2"), "denied");
}

#[test]
fn sending_a_call_again_uses_up_no_limit() {
    let mut play = Play::limited(tool_calls(1));
    play.calls("read");
    play.start();
    play.lose("t1c1");
    play.start();
    play.finish("t1c1");
    assert_eq!((play.run.tally().tool_calls, play.run.call(id("t1c1")).unwrap().attempts), (1, 2));
}

#[test]
fn tokens_and_money_end_the_run_before_the_next_request() {
    let tokens = Limits { tokens: Some(200), ..Limits::default() };
    let cost = Limits { cost: Some(NanoDollars(2000)), ..Limits::default() };
    for (limits, limit) in [(tokens, Limit::Tokens), (cost, Limit::Cost)] {
        let mut play = Play::limited(limits);
        play.calls("nonsense");
        play.calls("read");
        play.work();
        play.settle();
        assert_eq!(play.run.end(), exhausted(limit).as_ref());
        play.push(limited(Limits::default()));
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2));
    }
}

#[test]
fn a_request_that_nobody_hears_of_again_is_presumed_spent() {
    let asked = |tokens, presumed| match asked(1, 1) {
        Event::ModelAsked(asked) => Event::ModelAsked(ModelAsked { tokens, presumed, ..asked }),
        _ => unreachable!(),
    };
    let table = [
        (700, Some(NanoDollars(90)), (700, 90, false, true)),
        (700, None, (700, 0, true, true)),
        // A journal from before requests told of their length.
        (0, None, (0, 0, false, false)),
    ];
    for (tokens, presumed, expected) in table {
        let mut play = Play::new(started());
        play.push(asked(tokens, presumed));
        play.push(claimed(2));
        play.settle();
        let tally = play.run.tally();
        let used = (tally.usage.input, tally.cost.0, tally.cost_unknown, tally.estimated);
        assert_eq!(used, expected, "{tokens} {presumed:?}");
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1), "and asked again");
    }
}

#[test]
fn attempts_without_an_answer_count_towards_the_limits() {
    let cost = Limits { cost: Some(NanoDollars(50)), ..Limits::default() };
    let tokens = Limits { tokens: Some(50), ..Limits::default() };
    for (limits, limit) in [(cost, Limit::Cost), (tokens, Limit::Tokens)] {
        let mut play = Play::limited(limits);
        play.ask();
        let Event::AttemptFailed(failed) = failed(1) else { unreachable!() };
        let usage = Some(Usage { input: 40, output: 10, ..Usage::default() });
        let failed = AttemptFailed { usage, cost: Some(NanoDollars(50)), estimated: true, ..failed };
        play.push(Event::AttemptFailed(failed));
        play.settle();
        assert_eq!(play.run.end(), exhausted(limit).as_ref());
        assert!(play.run.tally().estimated);
    }
}

#[test]
fn a_run_without_money_goes_on_when_it_is_resumed() {
    let budget = End::Exhausted { limit: Limit::Budget, message: Some("budgets.day is $1.0000 a day".to_owned()) };
    let mut play = Play::new(started());
    play.push(ended(budget.clone()));
    assert_eq!(play.run.status(), Status::Exhausted);
    play.push(claimed(2));
    play.push(woken());
    assert_eq!(play.run.end(), Some(&budget), "no timer brings money");
    play.push(nudged());
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1));
    // What used up a limit of its own does not.
    let mut play = Play::limited(turns(0));
    play.settle();
    play.push(nudged());
    assert_eq!(play.run.end(), exhausted(Limit::Turns).as_ref());
}

#[test]
fn lowering_a_limit_withdraws_the_request_before_the_run_ends() {
    let tokens = Limits { tokens: Some(0), ..Limits::default() };
    let cost = Limits { cost: Some(NanoDollars(0)), ..Limits::default() };
    for limits in [turns(0), tokens, cost] {
        let mut play = Play::new(started());
        play.ask();
        play.push(limited(limits));
        assert_eq!(play.run.next(), Want::default(), "{limits:?}");
        play.push(failed(1));
        assert!(matches!(&play.settle()[..], [Event::Ended(_)]), "{limits:?}");
        play.push(limited(Limits::default()));
        play.says(Say::text("done"));
        assert_eq!(play.run.end(), done("done").as_ref());
    }
}

// --- Time

#[test]
fn only_driven_time_counts() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    let step = |play: &mut Play, act: &mut dyn FnMut(&mut Play), expected: u64, what: &str| {
        act(play);
        assert_eq!(play.run.tally().active, secs(expected), "{what}");
    };
    step(&mut play, &mut |play| play.wait(secs(1)), 0, "no entry yet");
    step(&mut play, &mut |play| _ = play.ask(), 1, "before the request");
    play.wait(secs(10));
    step(&mut play, &mut |play| play.push(failed(1)), 11, "the request");
    step(&mut play, &mut |play| play.push(waiting(WaitKind::Provider, None)), 11, "");
    play.wait(secs(100));
    step(&mut play, &mut |play| play.push(nudged()), 11, "a wait does not count");
    step(&mut play, &mut |play| play.calls("read, write"), 11, "");
    step(&mut play, &mut |play| play.start(), 11, "");
    play.wait(secs(2));
    step(&mut play, &mut |play| play.finish("t1c1"), 13, "a call counts although another waits for a person");
    play.wait(secs(1000));
    step(&mut play, &mut |play| play.push(given("t1c2", Decision::Allow)), 13, "an approval does not count");
    step(&mut play, &mut |play| play.start(), 13, "");
    play.wait(secs(4));
    step(&mut play, &mut |play| play.push(woken()), 17, "a call counts");
    play.wait(secs(10_000));
    step(&mut play, &mut |play| play.push(claimed(2)), 17, "nobody drove it before the claim");
    step(&mut play, &mut |play| _ = play.settle(), 17, "");
    play.wait(secs(8));
    step(&mut play, &mut |play| _ = play.ask(), 25, "between the calls and the request");
    play.push(failed(3));
    play.push(ended(End::Failed { code: String::new(), message: String::new() }));
    play.wait(secs(100_000));
    step(&mut play, &mut |play| play.push(input("more")), 25, "nor does the time after the end");
}

#[test]
fn time_does_not_count_while_a_person_must_settle_a_doubt() {
    let mut play = Play::new(started());
    play.calls("drop");
    play.start();
    play.lose("t1c1");
    play.wait(secs(100));
    play.push(resolved("t1c1", Resolution::DidNot));
    assert_eq!(play.run.tally().active, Duration::ZERO);
}

#[test]
fn a_fork_made_long_afterwards_costs_no_active_time() {
    let mut play = Play::new(started());
    play.calls("read");
    play.wait(secs(100_000));
    play.push(Event::Forked(Forked { from: RunId::from_bytes([1; 16]), at: play.run.length() }));
    play.push(claimed(1));
    assert_eq!(play.run.tally().active, Duration::ZERO);
}

#[test]
fn a_clock_that_goes_backwards_takes_no_time_away() {
    let mut play = Play::new(started());
    play.ask();
    play.wait(secs(5));
    play.push(failed(1));
    play.now = Time(0);
    play.ask();
    play.now = Time(1_000_000).after(secs(6));
    play.push(failed(2));
    assert_eq!((play.run.tally().active, play.run.now()), (secs(6), play.now));
}

#[test]
fn when_active_time_is_used_up_what_is_in_flight_is_withdrawn_and_the_run_is_exhausted() {
    let mut play = Play::limited(active(secs(10)));
    play.calls("write");
    play.start();
    let due = play.run.next().until.unwrap();
    assert_eq!(due, play.now.after(secs(10)));
    play.now = due;
    play.push(woken());
    assert_eq!(play.run.next(), Want::default());
    play.lose("t1c1");
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::Active).as_ref());
    play.push(limited(Limits::default()));
    play.settle();
    assert_eq!(play.state("t1c1"), &CallState::Unknown);
}

#[test]
fn an_answer_that_came_with_the_last_of_the_time_is_the_output() {
    let mut play = Play::limited(active(secs(10)));
    play.ask();
    play.wait(secs(11));
    play.answer(4, Say::text("done"));
    play.settle();
    assert_eq!(play.run.end(), done("done").as_ref());
}

#[test]
fn a_run_that_only_waits_needs_no_active_time() {
    let mut play = Play::limited(active(secs(10)));
    play.rules.approve = vec!["write"];
    play.ask();
    play.wait(secs(11));
    play.answer(4, Say::calls("write"));
    play.settle();
    assert_eq!((play.run.status(), play.run.next().waiting), (Status::Waiting, vec![Wait::Approval(id("t1c1"))]));
    play.push(given("t1c1", Decision::Allow));
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::Active).as_ref());
}

#[test]
fn waking_up_at_the_time_that_was_named_moves_the_run_on() {
    // A repeat that waits for its predecessor's end, with a moment of active time left.
    let mut play = Play::limited(active(Duration::from_micros(10_000_500)));
    play.calls("put");
    play.start();
    play.wait(secs(10));
    play.lose("t1c1");
    assert_eq!(play.wanted(), "+t1c1 after");
    let mut woke = 0;
    while let Some(until) = play.run.next().until {
        play.now = play.now.max(until);
        play.push(woken());
        play.settle();
        woke += 1;
        assert!(woke < 5, "this never ends");
    }
    assert_eq!(play.run.end(), exhausted(Limit::Active).as_ref());
}

#[test]
fn a_doubt_that_waits_for_a_person_beside_a_repeat_needs_no_waking() {
    let mut play = Play::limited(active(secs(10)));
    play.rules.on_doubt = Some(OnDoubt::Ask);
    play.calls("both, read");
    play.start();
    play.lose("t1c1");
    play.lose("t1c2");
    assert_eq!((play.wanted().as_str(), play.run.next().waiting), ("+t1c2", vec![Wait::Doubt(id("t1c1"))]));
    assert_eq!(play.run.next().until, None);
}

// --- Input

#[test]
fn input_while_the_model_answers_stands_behind_that_answer_and_is_asked_about() {
    let mut play = Play::new(started());
    let seen = play.run.length();
    play.ask();
    play.push(input("and that"));
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(1));
    play.answer(seen, Say::text("done"));
    play.settle();
    assert_eq!(play.run.end(), None);
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2));
    assert_eq!(play.told(), ["user: do it", "assistant: done", "user: and that"]);
}

#[test]
fn input_while_calls_run_stands_behind_their_results() {
    let mut play = Play::new(started());
    play.calls("read");
    play.start();
    play.push(input("and that"));
    play.finish("t1c1");
    assert_eq!(play.told(), ["user: do it", r#"assistant: <t1c1 read {"n":0}>"#, "t1c1: t1c1", "user: and that"]);
}

#[test]
fn a_request_in_flight_stays_the_same_whatever_is_said_meanwhile() {
    let mut play = Play::new(started());
    play.calls("nonsense");
    let ask = play.ask();
    assert_eq!(ask.turn, 1);
    play.push(input("and that"));
    assert_eq!(play.run.next().ask, Some(ask));
}

#[test]
fn a_finished_run_goes_on_with_new_input() {
    let mut play = Play::new(started());
    play.says(Say::text("done"));
    play.push(input("more"));
    play.says(Say::text("done again"));
    assert_eq!(play.run.end(), done("done again").as_ref());
    play.push(input("and more"));
    assert_eq!(play.told()[2..], ["user: more", "assistant: done again", "user: and more"]);
}

#[test]
fn an_inbox_item_counts_as_taken_whatever_it_said() {
    let item = || Some("item".to_owned());
    let by = || "ada".to_owned();
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write");
    let shown = "{}".into();
    let given = ApprovalGiven { call: id("t1c1"), inbox: item(), by: by(), decision: Decision::Allow, shown };
    let noted = Noted { code: String::new(), message: String::new(), inbox: item() };
    let events = [
        Event::InputGiven(InputGiven { inbox: item(), by: by(), parts: Vec::new(), stopped: false }),
        Event::ApprovalGiven(given.clone()),
        Event::CancelAsked(CancelAsked { inbox: item(), by: by() }),
        Event::LimitsChanged(LimitsChanged { inbox: item(), by: by(), limits: Limits::default() }),
        Event::Noted(noted),
    ];
    for event in events {
        let mut play = play.clone();
        assert!(!play.run.has_taken("item"));
        play.push(event);
        assert!(play.run.has_taken("item"));
    }
    play.push(self::given("t1c1", Decision::Allow));
    play.refuses(Event::ApprovalGiven(given));
    assert!(!play.run.has_taken("item"));
}

#[test]
fn what_a_person_stopped_is_told_between_two_prompts_and_what_was_not_sent_is_withdrawn() {
    let mut play = Play::new(started());
    play.push(asked(1, 1));
    play.push(failed(1));
    play.push(stopped_with("something else"));
    let told = ["user: do it", "assistant: [The person stopped this answer.]", "user: something else"];
    assert_eq!(play.told(), told);

    let mut play = Play::new(started());
    play.calls("read, write");
    play.start();
    play.finish("t1c1");
    play.push(stopped_with("do not write"));
    assert_eq!(play.state("t1c2"), &CallState::Withdrawn);
    assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2));
    let told = play.told();
    assert_eq!(told[2..4], ["t1c1: t1c1", "t1c2!: not sent: the person stopped this answer"]);
    assert_eq!(told[4..], ["assistant: [The person stopped this answer.]", "user: do not write"]);

    let mut play = Play::new(started());
    play.says(Say::text("done"));
    play.push(stopped_with("too late"));
    assert_eq!(play.told()[1..], ["assistant: done", "user: too late"], "nothing was left to stop");
}

// --- Lists that change

#[test]
fn tools_are_listed_again_whenever_something_new_is_said_and_before_a_model_is_asked() {
    let mut play = Play::new(started());
    assert!(!play.run.next().list_again, "they were listed for it");
    play.says(Say::text("done"));
    play.push(input("more"));
    let want = play.run.next();
    assert!(want.list_again && want.ask.is_some());
    let mut changed = play.clone();
    changed.push(redefined("write", true));
    assert!(!changed.run.next().list_again);
    play.push(asked(2, 2));
    assert!(!play.run.next().list_again, "nothing had changed");
}

#[test]
fn calls_of_a_changed_tool_wait_until_somebody_has_seen_the_difference() {
    let mut play = Play::new(started());
    play.push(redefined("write", true));
    assert_eq!(play.run.tool(&tools()[3].origin).map(|tool| &*tool.description), Some("otherwise"));
    play.push(policy("*", true));
    play.calls("write");
    let t1c1 = id("t1c1");
    assert_eq!(play.run.next().waiting, [Wait::Change(t1c1)], "no rule answers that");
    assert_eq!(play.run.headline(), "waiting change");
    // Another change is another question.
    play.push(redefined("write", true));
    let asked = ApprovalAsked { call: t1c1, reason: ApprovalReason::Changed, expires: None };
    play.push(Event::ApprovalAsked(asked));
    play.push(given("t1c1", Decision::Deny(None)));
    play.calls("write");
    assert_eq!(play.run.next().waiting, [Wait::Change(id("t2c1"))], "a no is no word on the tool");
    play.push(given("t2c1", Decision::Allow));
    play.work();
    play.calls("write");
    assert_eq!(play.run.next().waiting, []);
}

#[test]
fn a_call_that_was_allowed_is_asked_about_again_when_its_tool_changes_before_it_is_sent() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write");
    play.push(given("t1c1", Decision::Allow));
    let mut described = play.clone();
    described.push(redefined("write", false));
    assert_eq!(described.run.next().calls.len(), 1);
    play.push(redefined("write", true));
    let asked = ApprovalAsked { call: id("t1c1"), reason: ApprovalReason::Changed, expires: None };
    assert_eq!(play.run.next().record, [Event::ApprovalAsked(asked.clone())]);
    play.push(Event::ApprovalAsked(asked));
    play.push(given("t1c1", Decision::Allow));
    assert_eq!(play.run.next().calls.len(), 1);
}

#[test]
fn a_word_on_a_call_that_was_not_sent_holds_for_the_same_call_once() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write");
    play.push(given("t1c1", Decision::Allow));
    play.start();
    play.push(never_sent(id("t1c1"), 1));
    let mut said = play.clone();
    play.calls("write");
    let word = play.run.call(id("t2c1")).unwrap().decided.clone();
    assert_eq!(word.map(|word| (word.by, word.decision)), Some(("ada".to_owned(), Decision::Allow)));
    play.work();
    play.calls("write");
    assert_eq!(play.run.next().waiting, [Wait::Approval(id("t3c1"))]);
    // What is said later may change what somebody would allow.
    said.push(input("more"));
    said.calls("write");
    assert_eq!(said.run.next().waiting, [Wait::Approval(id("t2c1"))]);
}

// --- Approvals

#[test]
fn a_call_that_needs_a_word_waits_for_it_and_so_does_its_group() {
    let mut play = Play::with(Rules { approve: vec!["look"], ..Rules::default() });
    play.calls("read, look, write");
    let want = play.run.next();
    assert_eq!((want.calls, want.waiting, want.until), (vec![], vec![Wait::Approval(id("t1c2"))], None));
    assert_eq!(play.run.status(), Status::Waiting);
    play.push(given("t1c2", Decision::Allow));
    assert_eq!(play.wanted(), "+t1c1, +t1c2");
}

#[test]
fn all_questions_of_an_answer_are_asked_at_once_and_earlier_groups_do_not_wait() {
    let mut play = Play::with(Rules { approve: vec!["write", "drop"], ..Rules::default() });
    play.calls("read, write, drop");
    let want = play.run.next();
    assert_eq!(want.waiting, [Wait::Approval(id("t1c2")), Wait::Approval(id("t1c3"))]);
    assert_eq!((play.wanted().as_str(), play.run.status()), ("+t1c1", Status::Running));
}

#[test]
fn a_refused_call_is_settled_and_what_stands_behind_it_starts() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write, drop");
    play.push(given("t1c1", Decision::Deny(Some("not today".to_owned()))));
    assert_eq!(play.wanted(), "+t1c2");
    play.work();
    assert!(play.told().contains(&"t1c1!: not today".to_owned()));
    assert_eq!(play.run.tally().tool_calls, 1);
}

#[test]
fn a_refusal_between_two_reads_leaves_the_one_in_flight_alone() {
    let mut play = Play::with(Rules { approve: vec!["write", "look"], ..Rules::default() });
    play.calls("read, write, look");
    play.start();
    play.push(given("t1c2", Decision::Deny(None)));
    assert_eq!(play.wanted(), "t1c1");
    play.push(given("t1c3", Decision::Allow));
    assert_eq!(play.wanted(), "t1c1, +t1c3");
}

#[test]
fn silence_means_what_the_policy_says() {
    for allow in [false, true] {
        let rules =
            Rules { approve: vec!["write"], expire: Some(secs(60)), on_expire_allow: allow, ..Rules::default() };
        let mut play = Play::with(rules);
        play.calls("write");
        let until = play.run.next().until.unwrap();
        assert_eq!(until, play.now.after(secs(60)));
        play.wait(secs(59));
        play.push(woken());
        assert_eq!(play.settle(), []);
        play.now = until;
        play.push(woken());
        assert!(matches!(&play.settle()[..], [Event::ApprovalGiven(given)] if given.by == "expiry"));
        assert_eq!(play.wanted(), if allow { "+t1c1" } else { "" });
        play.refuses(given("t1c1", Decision::Allow));
    }
}

#[test]
fn a_no_is_heard_after_the_clock_has_allowed_a_call_until_it_is_sent() {
    let rules = || Rules { approve: vec!["write"], expire: Some(secs(60)), on_expire_allow: true, ..Rules::default() };
    let expired = || {
        let mut play = Play::with(rules());
        play.calls("write");
        play.wait(secs(60));
        play.push(woken());
        play.settle();
        play
    };
    let mut play = expired();
    play.push(given("t1c1", Decision::Deny(Some("not today".to_owned()))));
    assert!(matches!(reason(&play, "t1c1"), Rejection::Denied(why) if why == "not today"));
    play.refuses(given("t1c1", Decision::Deny(None)));
    let mut play = expired();
    play.start();
    play.refuses(given("t1c1", Decision::Deny(None)));
    // What a person has allowed is not taken back.
    let mut play = Play::with(rules());
    play.calls("write");
    play.push(given("t1c1", Decision::Allow));
    play.refuses(given("t1c1", Decision::Deny(None)));
}

#[test]
fn a_question_that_expired_while_nobody_drove_the_run_is_settled_first() {
    let mut play = Play::with(Rules { approve: vec!["write"], expire: Some(secs(60)), ..Rules::default() });
    play.calls("write");
    play.wait(secs(1000));
    play.push(claimed(2));
    play.settle();
    assert!(matches!(reason(&play, "t1c1"), Rejection::Denied(_)));
}

#[test]
fn a_rule_for_the_rest_of_the_run_answers_the_questions_of_its_tools_and_no_others() {
    for allow in [true, false] {
        let mut play = Play::with(Rules { approve: vec!["write", "drop"], ..Rules::default() });
        play.calls("write 1, write 2, drop");
        play.push(given("t1c1", Decision::Allow));
        play.push(policy("s.writ?", allow));
        let [Event::ApprovalGiven(given)] = &play.settle()[..] else { panic!("one question is answered") };
        assert_eq!((given.call, given.by.as_str(), &*given.shown), (id("t1c2"), "policy", r#"{"n":2}"#));
        assert_eq!(given.decision == Decision::Allow, allow);
        assert_eq!(play.run.next().waiting, [Wait::Approval(id("t1c3"))]);
    }
}

#[test]
fn the_newest_rule_for_a_tool_holds() {
    let mut play = Play::new(started());
    assert_eq!(play.run.policy_on(&tools()[3].origin), None);
    play.push(policy("s.*", true));
    play.push(policy("s.write", false));
    play.push(policy("other.*", true));
    let allowed = |play: &Play, tool: usize| play.run.policy_on(&tools()[tool].origin).map(|given| given.allow);
    assert_eq!((allowed(&play, 3), allowed(&play, 0)), (Some(false), Some(true)));
    play.push(policy("*", true));
    assert_eq!(allowed(&play, 3), Some(true));
}

#[test]
fn a_rule_for_the_rest_of_the_run_repeats_no_doubt_and_passes_no_mended_or_unclear_call() {
    let mut play = Play::new(started());
    play.calls("write");
    play.start();
    play.push(lost(id("t1c1"), 1));
    play.settle();
    play.push(policy("*", true));
    play.calls("write");
    assert_eq!(play.run.next().waiting, [Wait::Approval(id("t2c1"))]);
    for reason in [ApprovalReason::Repaired, ApprovalReason::Unclear] {
        let mut play = Play::with(Rules { approve: vec!["write"], reason, ..Rules::default() });
        play.push(policy("*", true));
        play.calls("write");
        assert_eq!(play.run.next().waiting, [Wait::Approval(id("t1c1"))], "{reason:?}");
    }
}

#[test]
fn a_question_that_has_expired_is_not_answered_by_a_rule_set_later() {
    let mut play = Play::with(Rules { approve: vec!["write"], expire: Some(secs(60)), ..Rules::default() });
    play.calls("write");
    play.wait(secs(60));
    play.push(policy("*", true));
    assert!(matches!(&play.settle()[..], [Event::ApprovalGiven(given)] if given.by == "expiry"));
}

#[test]
fn who_decided_and_how_is_remembered() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write");
    let decided = |play: &Play| play.run.call(id("t1c1")).unwrap().decided.clone();
    assert_eq!(decided(&play), None);
    play.push(given("t1c1", Decision::Deny(None)));
    let decided = decided(&play).unwrap();
    assert_eq!((decided.by.as_str(), &decided.decision), ("ada", &Decision::Deny(None)));
    play.refuses(given("t1c1", Decision::Allow));
}

#[test]
fn a_person_who_answers_while_the_run_is_exhausted_is_heard() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write");
    play.push(limited(tool_calls(0)));
    play.settle();
    assert_eq!(play.run.end(), exhausted(Limit::ToolCalls).as_ref());
    play.push(given("t1c1", Decision::Allow));
    assert_eq!(play.run.end(), exhausted(Limit::ToolCalls).as_ref());
    play.push(limited(Limits::default()));
    assert_eq!(play.wanted(), "+t1c1");
}

// --- Doubts

#[test]
fn a_doubt_is_handled_by_effect() {
    use Effect::*;
    let table = [
        ("read", None, "+t1c1", false),
        ("put", None, "+t1c1 after", false),
        ("write", None, "told", false),
        ("both", None, "told", false),
        ("drop", None, "", true),
        ("write", Some(OnDoubt::Ask), "", true),
        ("write", Some(OnDoubt::Retry), "+t1c1 after", false),
        ("drop", Some(OnDoubt::Tell), "told", false),
        ("drop", Some(OnDoubt::Retry), "+t1c1 after", false),
        // What a repeat does not change is repeated, whatever the policy says of other tools.
        ("read", Some(OnDoubt::Ask), "+t1c1", false),
        ("put", Some(OnDoubt::Tell), "+t1c1 after", false),
    ];
    assert!(Read < Idempotent && Idempotent < Write && Write < Destructive);
    for (tool, on_doubt, wanted, person) in table {
        for restart in [false, true] {
            let what = format!("{tool} {on_doubt:?} {restart}");
            let mut play = Play::with(Rules { on_doubt, ..Rules::default() });
            play.calls(tool);
            play.start();
            if restart {
                play.push(claimed(2));
                play.settle();
                // Nobody is asked before the sending is over, and whoever drives the run finds out about that.
                let held: Vec<_> = play.run.next().lost.iter().map(|lost| lost.call).collect();
                assert_eq!(held, if person { vec![id("t1c1")] } else { Vec::new() }, "{what}");
                assert_eq!(play.run.next().waiting, [], "{what}");
                play.run.next().lost.into_iter().for_each(|lost| play.push(Event::CallLost(lost)));
            } else {
                play.lose("t1c1");
                play.settle();
            }
            if wanted == "told" {
                assert_eq!((play.wanted().as_str(), play.state("t1c1")), ("", &CallState::Unknown), "{what}");
            } else {
                assert_eq!(play.wanted(), wanted, "{what}");
            }
            let waiting = if person { vec![Wait::Doubt(id("t1c1"))] } else { Vec::new() };
            assert_eq!(play.run.next().waiting, waiting, "{what}");
        }
    }
}

#[test]
fn a_cancel_does_not_wait_for_a_call_that_may_still_work() {
    let mut play = Play::new(started());
    play.calls("drop");
    play.start();
    play.push(claimed(2));
    play.settle();
    assert_eq!((play.run.status(), play.run.next().lost.len()), (Status::Running, 1));
    play.push(cancel());
    play.settle();
    assert_eq!(play.run.end(), Some(&End::Cancelled));
    assert_eq!(play.state("t1c1"), &CallState::Unknown);
}

#[test]
fn a_destructive_call_that_says_a_repeat_changes_nothing_is_repeated() {
    let mut play = Play::new(started());
    play.ask();
    let mut events = judge(&play.rules, &play.run, 1, 1, 4, &Say::calls("drop"));
    let Event::ModelAnswered(answered) = &mut events[0] else { panic!() };
    answered.calls[0].resolved.as_mut().unwrap().repeatable = true;
    play.push(events.remove(0));
    play.start();
    play.lose("t1c1");
    assert_eq!(play.wanted(), "+t1c1 after");
}

#[test]
fn a_call_that_timed_out_is_sent_once_more_only_with_more_time() {
    for (retry, attempts) in [(None, 1), (Some(secs(90)), 2)] {
        let mut play = Play::new(started());
        play.ask();
        let mut events = judge(&play.rules, &play.run, 1, 1, 4, &Say::calls("put"));
        let Event::ModelAnswered(answered) = &mut events[0] else { panic!() };
        answered.calls[0].resolved.as_mut().unwrap().retry = retry;
        play.push(events.remove(0));
        for attempt in 1..=attempts {
            play.start();
            assert_eq!(play.run.call(id("t1c1")).unwrap().longer(), retry.filter(|_| attempt > 1));
            let Event::CallLost(mut timed_out) = lost(id("t1c1"), attempt) else { panic!() };
            timed_out.timed_out = true;
            play.push(Event::CallLost(timed_out));
            play.settle();
        }
        assert_eq!((play.wanted().as_str(), play.state("t1c1")), ("", &CallState::Unknown), "{retry:?}");
    }
}

#[test]
fn a_repeat_that_keeps_getting_lost_is_told_in_the_end() {
    for tool in ["read", "put"] {
        let mut play = Play::new(started());
        play.calls(tool);
        for _ in 0..CALL_ATTEMPTS_MAX {
            play.start();
            play.lose("t1c1");
        }
        play.settle();
        assert_eq!(play.state("t1c1"), &CallState::Unknown, "{tool}");
        assert_eq!(play.run.next().ask.map(|ask| ask.turn), Some(2), "{tool}");
    }
}

#[test]
fn a_person_settles_a_doubt() {
    let table = [
        (Resolution::Told, CallState::Unknown),
        (Resolution::Happened(None), CallState::Happened(None)),
        (Resolution::Happened(Some("7".into())), CallState::Happened(Some("7".into()))),
        (Resolution::DidNot, CallState::DidNot),
    ];
    for (resolution, state) in table {
        let mut play = Play::new(started());
        play.calls("drop, drop");
        play.start();
        play.lose("t1c1");
        play.push(resolved("t1c1", resolution.clone()));
        assert_eq!(play.state("t1c1"), &state);
        play.refuses(resolved("t1c1", resolution));
        play.settle();
        // Only an outcome that stays unknown makes an identical call a repeat.
        let held = matches!(state, CallState::Unknown);
        assert_eq!(play.wanted(), if held { "" } else { "+t1c2" });
    }
    let mut play = Play::new(started());
    play.calls("drop");
    play.start();
    play.lose("t1c1");
    play.push(resolved("t1c1", Resolution::Retry));
    assert_eq!(play.wanted(), "+t1c1 after");
}

#[test]
fn a_person_may_have_a_call_repeated_beyond_the_bound_and_is_asked_each_time() {
    let mut play = Play::new(started());
    play.calls("drop");
    for attempt in 1..=CALL_ATTEMPTS_MAX + 2 {
        play.start();
        play.lose("t1c1");
        assert_eq!(play.run.next().waiting, [Wait::Doubt(id("t1c1"))], "{attempt}");
        play.push(resolved("t1c1", Resolution::Retry));
    }
}

#[test]
fn a_repeat_that_never_went_out_leaves_the_doubt_about_the_sending_before() {
    for (tool, on_doubt) in [("put", None), ("write", Some(OnDoubt::Retry))] {
        let mut play = Play::with(Rules { on_doubt, ..Rules::default() });
        play.calls(tool);
        play.start();
        play.lose("t1c1");
        for attempt in 2..=CALL_ATTEMPTS_MAX {
            assert_eq!(play.wanted(), "+t1c1 after", "{tool}");
            play.start();
            play.push(never_sent(id("t1c1"), attempt));
        }
        play.settle();
        assert_eq!(play.state("t1c1"), &CallState::Unknown, "{tool}");
    }
    let mut play = Play::new(started());
    play.calls("drop");
    play.start();
    play.lose("t1c1");
    play.push(resolved("t1c1", Resolution::Retry));
    play.start();
    play.push(never_sent(id("t1c1"), 2));
    assert_eq!(play.run.next().waiting, [Wait::Doubt(id("t1c1"))]);

    let mut play = Play::new(started());
    play.calls("write, read");
    play.start();
    play.push(never_sent(id("t1c1"), 1));
    play.start();
    play.lose("t1c2");
    play.start();
    play.push(never_sent(id("t1c2"), 2));
    assert_eq!(play.told()[2..], ["t1c1!: not sent", "t1c2!: not sent"]);
}

#[test]
fn the_group_behind_a_doubt_starts_once_it_is_told() {
    let mut play = Play::new(started());
    play.calls("write 1, write 2");
    play.start();
    play.lose("t1c1");
    play.settle();
    assert_eq!(play.wanted(), "+t1c2");
}

#[test]
fn an_identical_call_is_held_once_the_outcome_of_the_first_is_unknown() {
    let mut play = Play::new(started());
    play.calls("write");
    play.start();
    play.lose("t1c1");
    let spelled = written("write", " {\n\"n\" : 0 } ");
    play.says(Say::written([written("write", r#"{"n":1}"#), spelled, written("drop", r#"{"n":0}"#)]));
    assert_eq!((play.wanted().as_str(), play.run.next().waiting), ("+t2c1", vec![Wait::Approval(id("t2c2"))]));
    let asked = play.run.call(id("t2c2")).unwrap().asked.clone().unwrap();
    assert_eq!((asked.reason, asked.expires), (ApprovalReason::HeldRepeat, None));
    play.work();
    play.push(given("t2c2", Decision::Allow));
    assert_eq!(play.wanted(), "+t2c2");
}

#[test]
fn a_call_that_was_allowed_is_asked_about_again_when_an_identical_one_falls_into_doubt_first() {
    let mut play = Play::with(Rules { approve: vec!["write"], expire: Some(secs(60)), ..Rules::default() });
    play.calls("write, write");
    play.push(given("t1c1", Decision::Allow));
    play.push(given("t1c2", Decision::Allow));
    play.start();
    play.lose("t1c1");
    play.settle();
    assert_eq!((play.wanted().as_str(), play.run.next().waiting), ("", vec![Wait::Approval(id("t1c2"))]));
    play.wait(secs(1000));
    play.push(woken());
    assert_eq!(play.settle(), [], "a held repeat never expires");
    play.push(given("t1c2", Decision::Allow));
    assert_eq!(play.wanted(), "+t1c2");
}

#[test]
fn arguments_that_a_person_edits_are_what_is_compared_with_doubts() {
    let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    play.calls("write 1, write 2, write 1");
    play.push(given("t1c1", Decision::Edit(r#"{"n":9}"#.into())));
    play.push(given("t1c2", Decision::Edit(r#"{"n":9}"#.into())));
    play.push(given("t1c3", Decision::Allow));
    play.start();
    play.lose("t1c1");
    play.settle();
    assert_eq!(play.run.next().waiting, [Wait::Approval(id("t1c2"))]);
    play.push(given("t1c2", Decision::Edit(r#"{"n":3}"#.into())));
    assert_eq!(play.wanted(), "+t1c2");
    play.work();
    assert!(matches!(play.state("t1c3"), CallState::Finished(_)));
}

// --- After a restart

#[test]
fn what_the_last_owner_left_in_flight_is_journaled_as_interrupted() {
    let mut play = Play::new(started());
    play.ask();
    play.push(claimed(2));
    assert!(matches!(&play.settle()[..], [Event::AttemptFailed(failed)] if failed.class == "interrupted"));
    play.calls("read, read, write");
    play.start();
    play.finish("t1c1");
    play.push(claimed(3));
    let lost = play.settle();
    assert!(matches!(&lost[..], [Event::CallLost(lost)] if lost.call == id("t1c2")), "{lost:?}");
    assert_eq!(play.wanted(), "+t1c2");
}

#[test]
fn nothing_but_a_claim_interrupts() {
    let mut play = Play::new(started());
    play.calls("read");
    play.start();
    for event in [input("more"), woken(), limited(Limits::default()), waiting(WaitKind::Timer, None)] {
        play.push(event);
        assert_eq!(play.wanted(), "t1c1");
    }
}

#[test]
fn epochs_rise_and_begin_anew_in_a_fork() {
    let mut play = Play::new(started());
    play.push(claimed(7));
    play.refuses(claimed(7));
    play.refuses(claimed(6));
    play.push(Event::Forked(Forked { from: RunId::from_bytes([1; 16]), at: play.run.length() }));
    play.push(claimed(1));
}

#[test]
fn a_fork_leaves_what_was_in_flight_to_the_original() {
    let mut play = Play::new(started());
    play.calls("write");
    play.start();
    play.push(Event::Forked(Forked { from: RunId::from_bytes([1; 16]), at: play.run.length() }));
    play.settle();
    assert_eq!(play.state("t1c1"), &CallState::Unknown);
}

// --- Waiting

#[test]
fn a_wait_ends_at_its_time_or_with_a_claim_or_with_input() {
    let mut play = Play::new(started());
    let until = play.now.after(secs(60));
    for end in [nudged(), claimed(2), input("now")] {
        play.push(waiting(WaitKind::Provider, Some(until)));
        let want = play.run.next();
        assert_eq!((play.run.status(), want.until, want.ask), (Status::Waiting, Some(until), None));
        assert!(matches!(&want.waiting[..], [Wait::Other(wait)] if wait.kind == WaitKind::Provider));
        play.push(end);
        assert!(play.run.next().ask.is_some());
    }
    play.push(waiting(WaitKind::Provider, Some(until)));
    play.now = until;
    play.push(Event::Noted(Noted { code: String::new(), message: String::new(), inbox: None }));
    assert_eq!(play.settle(), [woken()]);
    assert!(play.run.next().ask.is_some());
}

#[test]
fn a_timer_that_was_set_for_something_else_ends_no_wait() {
    let mut play = Play::with(Rules { approve: vec!["write"], expire: Some(secs(60)), ..Rules::default() });
    play.calls("write, write");
    for (until, wait) in [(None, secs(60)), (Some(play.now.after(secs(1000))), secs(0))] {
        play.push(waiting(WaitKind::Store, until));
        play.wait(wait);
        play.push(woken());
        play.settle();
        assert!(matches!(reason(&play, "t1c1"), Rejection::Denied(_)));
        assert_eq!((play.run.status(), play.run.next().until), (Status::Waiting, until));
    }
    play.wait(secs(1000));
    play.push(woken());
    assert!(play.run.next().ask.is_some());
}

#[test]
fn a_wait_that_is_due_ends_although_the_clock_went_backwards() {
    let mut play = Play::new(started());
    play.push(waiting(WaitKind::Provider, Some(play.now)));
    play.now = Time(0);
    play.settle();
    assert!(play.run.next().ask.is_some());
}

#[test]
fn while_the_run_waits_no_call_starts_and_those_in_flight_go_on() {
    let mut play = Play::new(started());
    play.calls("read, write");
    play.push(waiting(WaitKind::Store, None));
    assert_eq!((play.wanted().as_str(), play.run.status()), ("", Status::Waiting));
    play.push(nudged());
    play.start();
    play.push(waiting(WaitKind::Store, None));
    assert_eq!((play.wanted().as_str(), play.run.status()), ("t1c1", Status::Running));
    play.wait(secs(5));
    play.finish("t1c1");
    assert_eq!((play.wanted().as_str(), play.run.status()), ("", Status::Waiting));
    assert_eq!(play.run.tally().active, secs(5), "a call in flight counts");
    play.push(nudged());
    assert_eq!(play.wanted(), "+t1c2");
}

#[test]
fn a_paused_call_waits_for_input_and_costs_no_time() {
    let mut play = Play::new(started());
    play.calls("write");
    play.start();
    play.push(paused("t1c1"));
    assert_eq!((play.run.status(), play.run.next().waiting), (Status::Waiting, vec![Wait::Input(id("t1c1"))]));
    play.wait(secs(100));
    play.finish("t1c1");
    assert_eq!(play.run.tally().active, Duration::ZERO);
}

// --- Cancel

#[test]
fn a_cancelled_run_gives_every_call_its_last_word() {
    let mut play = Play::with(Rules { approve: vec!["drop"], ..Rules::default() });
    play.calls("both 1, both 2, both 3, drop, read");
    play.start();
    play.finish("t1c1");
    play.push(paused("t1c2"));
    play.push(cancel());
    assert_eq!(play.run.next(), Want::default());
    play.lose("t1c3");
    play.settle();
    assert_eq!((play.run.end(), play.run.status()), (Some(&End::Cancelled), Status::Cancelled));
    let states = ["t1c2", "t1c3", "t1c4", "t1c5"].map(|call| play.state(call).clone());
    assert_eq!(states, [CallState::Unknown, CallState::Unknown, CallState::NotSent, CallState::NotSent]);
    play.push(input("go on"));
    play.told();
    // What may have happened is not repeated unasked.
    play.calls("both 2, both 3");
    assert_eq!(play.run.next().waiting, [Wait::Approval(id("t2c1")), Wait::Approval(id("t2c2"))]);
}

#[test]
fn a_cancel_reaches_a_run_that_waits_or_is_exhausted_and_no_other_end() {
    let mut play = Play::new(started());
    play.push(waiting(WaitKind::Provider, None));
    play.push(cancel());
    play.settle();
    assert_eq!(play.run.end(), Some(&End::Cancelled));

    let mut play = Play::limited(tool_calls(0));
    play.calls("write");
    assert_eq!(play.run.end(), exhausted(Limit::ToolCalls).as_ref());
    play.push(cancel());
    play.settle();
    assert_eq!((play.run.end(), play.state("t1c1")), (Some(&End::Cancelled), &CallState::NotSent));

    let mut play = Play::new(started());
    play.says(Say::text("done"));
    play.push(cancel());
    assert_eq!((play.settle(), play.run.end()), (vec![], done("done").as_ref()));
}

#[test]
fn a_cancel_survives_a_restart() {
    let mut play = Play::new(started());
    play.calls("write, write");
    play.start();
    play.push(cancel());
    play.push(claimed(2));
    play.settle();
    assert_eq!((play.run.end(), play.state("t1c1")), (Some(&End::Cancelled), &CallState::Unknown));
}

#[test]
fn input_behind_a_cancel_does_not_undo_it_and_is_answered_afterwards() {
    let mut play = Play::new(started());
    play.calls("write 1, write 2");
    play.start();
    play.push(cancel());
    play.push(input("do that instead"));
    assert_eq!(play.run.next(), Want::default());
    play.lose("t1c1");
    assert_eq!(play.settle(), [ended(End::Cancelled)]);
    assert_eq!((play.state("t1c2"), play.run.status()), (&CallState::NotSent, Status::Running));
    play.says(Say::text("done"));
    assert_eq!(play.run.end(), done("done").as_ref());

    let mut play = Play::new(started());
    play.push(input("and that"));
    play.push(cancel());
    play.settle();
    assert_eq!(play.run.status(), Status::Cancelled, "what was said before is cancelled too");
}

// --- Output

#[test]
fn a_final_answer_that_does_not_fit_is_asked_for_once_more_and_then_fails() {
    for ask_again in [0, 2] {
        for say in [Say::text("no"), Say::written([written(FINAL_ANSWER, "no")])] {
            let mut play = Play::with_output(ask_again);
            play.says(say.clone());
            assert!(play.run.next().ask.is_some_and(|ask| ask.force_output), "{say:?} {ask_again}");
            assert_eq!(play.run.output_rejected().0, 1);
            let mut fits = play.clone();
            fits.says(Say::written([written(FINAL_ANSWER, r#"{"a":1}"#)]));
            assert_eq!(fits.run.end(), done(r#"{"a":1}"#).as_ref());
            play.says(say.clone());
            assert_eq!(code(&play.run), "output_mismatch", "{say:?} {ask_again}");
        }
    }
}

#[test]
fn calls_that_are_not_valid_between_final_answers_that_do_not_fit_still_come_to_an_end() {
    let refused = || Say::written([written(FINAL_ANSWER, "no")]);
    let mut play = Play::with_output(1);
    play.calls("nonsense");
    play.says(refused());
    play.calls("nonsense");
    assert_eq!(code(&play.run), "calls_rejected");
}

#[test]
fn a_final_answer_next_to_other_calls_is_refused_and_they_run() {
    let mut play = Play::with_output(2);
    play.says(Say::written([written("read", "{}"), written(FINAL_ANSWER, "{}"), written("write", "{}")]));
    assert_eq!(reason(&play, "t1c2"), &Rejection::NotAlone);
    assert_eq!(play.wanted(), "+t1c1");
    play.work();
    assert!(matches!(play.state("t1c3"), CallState::Finished(_)));
    assert_eq!((play.run.output_rejected().0, play.run.turn()), (0, 1));
    play.says(Say::text("{}"));
    assert_eq!(play.run.end(), done("{}").as_ref());
}

#[test]
fn new_input_forgives_final_answers_that_did_not_fit() {
    let mut play = Play::with_output(2);
    play.says(Say::text("no"));
    play.says(Say::text("no"));
    assert_eq!(code(&play.run), "output_mismatch");
    play.push(input("try harder"));
    assert!(play.run.next().ask.is_some_and(|ask| !ask.force_output));
    play.says(Say::text("no"));
    assert_eq!(play.run.end(), None);
}

#[test]
fn the_word_on_a_refused_answer_stands_right_behind_it_and_hides_no_input() {
    let mut play = Play::with_output(2);
    play.says(Say::text("no"));
    let seen = play.run.length();
    play.ask();
    play.push(input("and that"));
    play.answer(seen, Say::text("still no"));
    play.settle();
    assert_eq!(play.run.end(), None, "the input is not answered yet");
    assert_eq!(
        play.told(),
        [
            "user: do it",
            "assistant: no",
            "user: no JSON object",
            "assistant: still no",
            "user: no JSON object",
            "user: and that",
        ]
    );
}

#[test]
fn an_answer_that_says_nothing_is_refused_even_when_nobody_journaled_that() {
    let mut play = Play::new(started());
    play.ask();
    let events = judge(&play.rules, &play.run, 1, 1, 4, &Say::text(""));
    // A fork may end right behind the answer.
    play.push(events[0].clone());
    assert!(matches!(&play.settle()[..], [Event::OutputRejected(rejected)] if rejected.code == "empty"));
    play.told();
    play.says(Say::text(""));
    assert_eq!(code(&play.run), "output_unusable");
}

#[test]
fn a_turn_that_its_provider_interrupts_goes_on_but_not_for_ever() {
    let paused = || Say { finish: Finish::Paused, ..Say::text("I search.") };
    let mut play = Play::new(started());
    play.says(paused());
    assert_eq!((play.run.end(), play.run.output_rejected().0), (None, 0));
    assert!(play.run.next().ask.is_some());
    // It is sent back as it came.
    assert!(matches!(play.run.conversation().last().map(|last| &**last), Some(Message::Assistant(_))));
    play.says(Say::text("Found."));
    assert_eq!(play.run.end(), Some(&End::Done { output: "Found.".into() }));
    let mut play = Play::new(started());
    for _ in 0..8 {
        play.says(paused());
    }
    assert_eq!(code(&play.run), "malformed_answer");
}

#[test]
fn a_final_text_that_is_cut_says_so_and_does_not_end_the_conversation() {
    let cut = || Say { finish: Finish::Length, ..Say::text("Once") };
    let mut play = Play::new(started());
    play.says(cut());
    play.says(cut());
    assert_eq!(code(&play.run), "output_cut");
    play.push(input("go on"));
    play.says(Say::text("upon a time."));
    assert_eq!(play.run.end(), Some(&End::Done { output: "upon a time.".into() }));
}

// --- What does not fit

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let fresh = || Play::new(started());
    let mut asking = fresh();
    asking.ask();
    let answer = judge(&asking.rules, &asking.run, 1, 1, 4, &Say::calls("read, write, nonsense"));
    let mut calling = fresh();
    calling.calls("read, nonsense, write, look");
    let mut sent = fresh();
    sent.calls("write, read");
    let start = sent.sending(id("t1c1"), 1);
    sent.start();
    let mut repeated = fresh();
    repeated.calls("put");
    repeated.start();
    repeated.lose("t1c1");
    repeated.start();
    let new = fresh();
    let mut cancelled = fresh();
    cancelled.push(cancel());
    let mut withdrawn = sent.clone();
    withdrawn.finish("t1c1");
    withdrawn.push(cancel());
    let mut questioned = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
    questioned.calls("write");
    let mut over = fresh();
    over.says(Say::text("done"));
    let reject = |call: &str| Event::CallRejected(CallRejected { call: id(call), reason: Rejection::CutAnswer });
    let question = |call: &str| {
        Event::ApprovalAsked(ApprovalAsked { call: id(call), reason: ApprovalReason::Policy, expires: None })
    };
    let changed = |change: &dyn Fn(&mut ModelAnswered)| {
        let Event::ModelAnswered(mut answered) = answer[0].clone() else { panic!() };
        change(&mut answered);
        Event::ModelAnswered(answered)
    };
    let refused = Event::OutputRejected(OutputRejected { turn: 1, diagnosis: String::new(), code: String::new() });
    let table: Vec<(&str, &Play, Event)> = vec![
        ("a second start", &asking, Event::Started(Box::new(started()))),
        ("tools that were listed before", &asking, listed()),
        ("a request beside another", &asking, asked(1, 2)),
        ("a request out of turn", &sent, asked(2, 2)),
        ("a request after a cancel", &cancelled, asked(1, 1)),
        ("a call after a cancel", &withdrawn, withdrawn.sending(id("t1c2"), 1)),
        ("a question that stands already", &questioned, question("t1c1")),
        ("sending what waits for a word", &questioned, questioned.sending(id("t1c1"), 1)),
        ("a skipped attempt", &new, asked(1, 2)),
        ("a skipped turn", &new, asked(2, 1)),
        ("turn 0", &new, asked(0, 1)),
        ("a failure that nobody waits for", &new, failed(1)),
        ("the failure of another request", &asking, failed(2)),
        ("an answer that nobody waits for", &new, answer[0].clone()),
        ("an answer to another request", &asking, changed(&|answered| answered.attempt = 2)),
        ("an answer to another turn", &asking, changed(&|answered| answered.turn = 2)),
        ("an answer for another purpose", &asking, changed(&|answered| answered.purpose = Purpose::Compact)),
        ("a call too few", &asking, changed(&|answered| drop(answered.calls.pop()))),
        ("a wrong id", &asking, changed(&|answered| answered.calls[1].id = id("t1c3"))),
        ("a valid call of a cut answer", &asking, changed(&|answered| answered.finish = Finish::Length)),
        ("an end while the model answers", &asking, ended(End::Cancelled)),
        ("an end while a call runs", &sent, ended(End::Cancelled)),
        ("a rejection of a call that was sent", &sent, reject("t1c1")),
        ("a rejection of an unknown call", &sent, reject("t1c9")),
        ("sending what was sent", &sent, start.clone()),
        ("sending what is not valid", &calling, calling.sending(id("t1c2"), 1)),
        ("sending what was not run behind another", &calling, calling.sending(id("t1c3"), 1)),
        ("a skipped sending", &calling, calling.sending(id("t1c1"), 2)),
        ("a result of what was not sent", &calling, finished(id("t1c1"), 0, "")),
        ("a result of another sending", &repeated, finished(id("t1c1"), 1, "")),
        ("the loss of another sending", &repeated, lost(id("t1c1"), 1)),
        ("the loss of what was not sent", &calling, lost(id("t1c1"), 0)),
        ("a pause of what was not sent", &calling, paused("t1c1")),
        ("a doubt about what is not lost", &sent, resolved("t1c1", Resolution::Told)),
        ("a word that nobody asked for", &calling, given("t1c1", Decision::Allow)),
        ("a question about what was sent", &sent, question("t1c1")),
        ("a refused output without an answer", &new, refused.clone()),
        ("a refused output that was taken", &over, refused),
        ("a wait after the end", &over, waiting(WaitKind::Timer, None)),
        ("a second end", &over, ended(End::Cancelled)),
        ("a result after the end", &over, finished(id("t1c1"), 1, "")),
        ("an old epoch", &new, claimed(1)),
    ];
    for (what, play, event) in table {
        assert!(!play.refuses(event).is_empty(), "{what}");
    }
    let mut run = Run::default();
    assert!(run.apply(&Entry { index: 0, at: Time(0), event: claimed(1) }).is_err());
    assert!(run.apply(&Entry { index: 1, at: Time(0), event: Event::Started(Box::new(started())) }).is_err());
    let gap = Entry { index: 9, at: Time(0), event: woken() };
    assert_eq!(fresh().run.apply(&gap).unwrap_err().to_string(), "entry 9 does not fit: expected entry 4");
}

#[test]
fn failover_asks_again_within_the_turn() {
    let mut play = Play::new(started());
    play.ask();
    play.push(failed(1));
    assert_eq!(play.ask().turn, 1);
    play.answer(4, Say::text("done"));
    play.settle();
    assert_eq!((play.run.end(), play.run.tally().attempts, play.run.tally().turns), (done("done").as_ref(), 2, 1));
}

#[test]
fn the_tally_adds_up_what_is_known_and_says_what_is_not() {
    let mut play = Play::new(started());
    play.calls("read, read");
    play.work();
    play.ask();
    play.push(failed(2));
    assert_eq!(
        (play.run.tally().usage.total(), play.run.tally().cost, play.run.tally().cost_unknown),
        (100, NanoDollars(1000), false)
    );
    play.ask();
    let Event::AttemptFailed(mut unpriced) = failed(3) else { panic!() };
    unpriced.usage = Some(crate::chat::Usage { input: 5, ..Default::default() });
    play.push(Event::AttemptFailed(unpriced));
    let tally = *play.run.tally();
    assert_eq!((tally.usage.total(), tally.cost_unknown, tally.attempts, tally.tool_calls), (105, true, 3, 2));
}
