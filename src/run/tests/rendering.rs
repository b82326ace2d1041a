//! What a model gets to see.

use std::sync::Arc;

use super::build::*;
use crate::{
    chat::{AnswerPart, CallId, Media, MediaSource, Message, Opaque, Part, Reasoning},
    repair::{Repair, Risk},
    run::*,
};

fn opaque() -> Box<Opaque> {
    Box::new(Opaque { issuer: "i".to_owned(), model: "m".to_owned(), kind: "k".to_owned(), data: "d".into() })
}

/// A run whose model made this call, resolved with these arguments in place of the written ones.
fn mended(arguments: &str, mended: &str, opaque: Option<Box<Opaque>>) -> Play {
    let mut play = Play::new(started());
    play.ask();
    let mut call = written("read", arguments);
    call.opaque = opaque;
    let mut resolved = play.rules.resolve(&written("read", mended)).unwrap();
    resolved.arguments = Some(mended.into());
    resolved.repairs = vec![Repair {
        rung: "syntax".to_owned(),
        kind: "k".to_owned(),
        path: String::new(),
        before: String::new(),
        after: String::new(),
        span: None,
        risk: Risk::Lossless,
    }];
    let mut events = judge(&play.rules, &play.run, 1, 1, 4, &Say::calls("read"));
    let Event::ModelAnswered(answered) = &mut events[0] else { panic!() };
    answered.parts = vec![AnswerPart::Call(call)];
    answered.calls[0].resolved = Some(resolved);
    play.push(events.remove(0));
    play.work();
    play
}

#[test]
fn a_rejected_call_of_an_offered_tool_stands_as_written_with_its_diagnosis_as_result() {
    let mut play = Play::with(Rules { deny: vec!["drop"], ..Rules::default() });
    play.says(Say::written([written("drop", r#"{ "a" : 1 }"#), written("write", r#"{"b":2}"#)]));
    play.work();
    assert_eq!(
        play.told()[1..],
        [r#"assistant: <t1c1 drop { "a" : 1 }> | <t1c2 write {"b":2}>"#, "t1c1!: the policy refuses it", "t1c2: t1c2"]
    );
}

#[test]
fn a_call_that_cannot_be_rendered_is_described_by_us_and_never_in_the_words_of_the_model() {
    let mut play = Play::new(started());
    play.says(Say::written([written("read", "{}"), written("serch", r#"{"a":1}"#), written("write", r#"{"a":"#)]));
    play.work();
    assert_eq!(
        play.told()[1..],
        [
            "assistant: <t1c1 read {}>",
            "t1c1: t1c1 | This is no part of the result: | Your call of \"serch\" with the arguments \"{\\\"a\\\":1}\" was not \
             executed: no such tool\nYour call of \"write\" with the arguments \"{\\\"a\\\":\" was not executed: no JSON object",
        ]
    );
    // With nothing else in the answer, nothing is said in the name of the model.
    let mut play = Play::new(started());
    play.says(Say::written([written("serch", "{}")]));
    assert_eq!(
        play.told()[1..],
        ["user: Your call of \"serch\" with the arguments \"{}\" was not executed: no such tool"]
    );
}

#[test]
fn a_cut_answer_shows_whole_calls_as_calls_and_describes_the_cut_one() {
    let mut play = Play::new(started());
    let mut cut = written("write", r#"{"a":1}"#);
    cut.complete = false;
    play.says(Say::written([written("read", "{}"), cut]));
    let told = play.told();
    assert_eq!(told[1], "assistant: <t1c1 read {}>");
    assert!(told[2].starts_with("t1c1!: not run: the answer that holds this call was cut off"), "{}", told[2]);
    let described = r#"Your call of "write" with the arguments "{\"a\":1}" was not executed: cut off"#;
    assert!(told.len() == 3 && told[2].ends_with(described), "{told:?}");
}

#[test]
fn what_a_model_wrote_unreadably_comes_back_clipped() {
    let mut play = Play::new(started());
    let long = "é".repeat(100_000);
    play.says(Say::written([written(&long, &long)]));
    assert!(play.told()[1].len() < 2200, "{}", play.told()[1].len());
}

#[test]
fn mended_arguments_are_shown_unless_an_issuer_signed_the_call() {
    let told = |play: Play| play.told()[1].clone();
    assert_eq!(told(mended(r#"{"n":"1"}"#, r#"{"n":1}"#, None)), r#"assistant: <t1c1 read {"n":1}>"#);
    assert_eq!(told(mended(r#"{"n":"1"}"#, r#"{"n":1}"#, Some(opaque()))), r#"assistant: <t1c1 read {"n":"1"}>"#);
    assert_eq!(told(mended(r#"{"n":1,"#, r#"{"n":1}"#, None)), r#"assistant: <t1c1 read {"n":1}>"#);
    // Signed, but no JSON object: no server would take it back.
    let play = mended(r#"{"n":1,"#, r#"{"n":1}"#, Some(opaque()));
    let Message::Assistant(parts) = &*play.run.conversation()[1] else { panic!() };
    let Part::Call(call) = &parts[0] else { panic!() };
    assert_eq!((&*call.arguments, &call.opaque), (r#"{"n":1}"#, &None));
    assert_eq!(play.run.tally().repairs, 1);
}

#[test]
fn a_signature_goes_back_with_its_call() {
    let mut play = Play::new(started());
    let mut call = written("read", "{ }");
    call.opaque = Some(opaque());
    play.says(Say::written([call]));
    play.work();
    let Message::Assistant(parts) = &*play.run.conversation()[1] else { panic!() };
    let Part::Call(call) = &parts[0] else { panic!() };
    assert_eq!((&*call.arguments, &call.opaque), ("{ }", &Some(opaque())));
}

#[test]
fn an_edit_never_rewrites_the_call_and_opens_whatever_it_came_to() {
    let edited = || {
        let mut play = Play::with(Rules { approve: vec!["write"], ..Rules::default() });
        play.calls("write");
        play.push(given("t1c1", Decision::Edit(r#"{"n":7}"#.into())));
        play.start();
        play
    };
    let call = r#"assistant: <t1c1 write {"n":0}>"#;
    let mut play = edited();
    assert_eq!(&**play.run.call(id("t1c1")).unwrap().arguments(), r#"{"n":7}"#);
    play.finish("t1c1");
    assert_eq!(play.told()[1..], [call, r#"t1c1: ran with edited arguments: {"n":7} | t1c1"#]);
    let mut play = edited();
    play.lose("t1c1");
    play.settle();
    let told = play.told();
    assert_eq!(told[1], call);
    assert!(told[2].starts_with(r#"t1c1!: ran with edited arguments: {"n":7} | The outcome"#), "{}", told[2]);
}

#[test]
fn every_end_of_a_call_is_told() {
    let table = [
        (Resolution::Told, "t1c1!: The outcome of this call is unknown"),
        (Resolution::Happened(None), "t1c1: This call took effect; its result was lost."),
        (Resolution::Happened(Some("7".into())), "t1c1: 7"),
        (Resolution::Happened(Some("".into())), "t1c1: (no content)"),
        (Resolution::DidNot, "t1c1!: This call did not take effect."),
    ];
    for (resolution, text) in table {
        let mut play = Play::new(started());
        play.calls("drop");
        play.start();
        play.lose("t1c1");
        play.push(resolved("t1c1", resolution));
        assert!(play.told()[2].starts_with(text), "{}", play.told()[2]);
    }
    let mut play = Play::new(started());
    play.calls("nonsense, write, read");
    play.work();
    assert_eq!(
        play.told()[2..],
        [
            "t1c2!: not run: t1c1 before it was rejected; make this call again if it still applies",
            "t1c3: t1c3 | This is no part of the result: | Your call of \"nonsense\" with the arguments \"{\\\"n\\\":0}\" was \
             not executed: no such tool",
        ]
    );
    let mut play = Play::with_output(2);
    play.says(Say::written([written("read", "{}"), written(FINAL_ANSWER, "{}")]));
    play.work();
    assert_eq!(play.told()[3], "t1c2!: call it alone, after the results of the other calls");
}

#[test]
fn a_final_answer_that_did_not_fit_is_a_call_with_its_diagnosis() {
    let mut play = Play::with_output(2);
    play.says(Say::written([written(FINAL_ANSWER, "[]")]));
    assert_eq!(
        play.told()[1..],
        [r#"user: Your call of "final_answer" with the arguments "[]" was not executed: does not fit"#]
    );
}

fn result(content: Vec<Part>, structured: Option<&str>) -> Vec<Part> {
    let mut play = Play::new(started());
    play.calls("read");
    play.start();
    let Event::ToolFinished(mut finished) = finished(id("t1c1"), 1, "") else { panic!() };
    finished.content = content;
    finished.structured = structured.map(Arc::from);
    play.push(Event::ToolFinished(finished));
    assert_upstream(&play.run);
    let Message::Tool(result) = &*play.run.conversation()[2] else { panic!() };
    result.content.clone()
}

#[test]
fn a_result_is_shown_as_it_is_up_to_its_limit() {
    let image =
        Part::Image(Media { name: None, mime: "image/png".to_owned(), source: MediaSource::Base64("AAAA".into()) });
    let all = vec![Part::text("a"), image.clone(), Part::text("b")];
    assert_eq!(result(all.clone(), Some("{}")), all);
    assert_eq!(result(vec![], Some("{}")), [Part::text("{}")]);
    assert_eq!(result(vec![], None), [Part::text("(no content)")]);
    assert_eq!(result(vec![Part::text(""), Part::text("\n")], None), [Part::text("(no content)")]);
    assert_eq!(result(vec![Part::text(""), image.clone()], None), [image]);

    let long = result(vec![Part::text("x".repeat(600)), Part::text("é".repeat(1000)), Part::text("end")], None);
    let texts: Vec<_> = long.iter().map(|part| if let Part::Text(text) = part { text } else { panic!() }).collect();
    assert_eq!(texts[0].len(), 600);
    assert_eq!(
        &**texts[1],
        &*format!("{}\n[… 1600 bytes of this result left out …]\n{}", "é".repeat(150), "é".repeat(50))
    );
    assert_eq!(&**texts[2], "\n[… 3 bytes of this result left out …]\n");
}

#[test]
fn an_answer_without_anything_to_show_is_left_out() {
    let thought = AnswerPart::Reasoning(Reasoning { text: "hm".into(), opaque: Some(opaque()) });
    let table = [
        (vec![], "user:"),
        (vec![AnswerPart::Text(" \n".into())], "user:"),
        (vec![thought.clone()], "user:"),
        (vec![thought, AnswerPart::Text("".into()), AnswerPart::Text("so".into())], "assistant: <reasoning> | so"),
    ];
    for (parts, told) in table {
        let mut play = Play::with_output(2);
        play.says(Say { parts, ..Say::text("") });
        assert!(play.told()[1].starts_with(told), "{:?}", play.told());
    }
    // Behind a result a notice goes with it, as chat templates want an answer in between.
    let mut play = Play::new(started());
    play.calls("read");
    play.work();
    play.says(Say { parts: vec![], ..Say::text("") });
    play.settle();
    let told = play.told();
    assert!(told.len() == 3 && told[2].contains("no part of the result"), "{told:?}");
}

#[test]
fn a_conversation_begins_with_a_person_even_when_nobody_said_anything() {
    let begin = |input: Option<&str>| {
        let started = Started { input: input.map(Arc::from), ..started() };
        let mut play = Play { run: Run::default(), entries: Vec::new(), rules: Rules::default(), now: Time(0) };
        play.push(Event::Started(Box::new(started)));
        play.push(listed());
        let before = play.told();
        play.calls("read");
        play.work();
        assert_eq!(play.told()[0], before[0]);
        before
    };
    assert_eq!(begin(Some(r#"{"ticket":42}"#)), [r#"user: {"ticket":42}"#]);
    assert_eq!(begin(None), ["user: Begin."]);
    let mut play = Play::new(started());
    play.push(Event::InputGiven(InputGiven { inbox: None, by: "ada".to_owned(), parts: Vec::new(), stopped: false }));
    assert_eq!(play.told(), ["user: do it", "user: (no content)"]);
}

#[test]
fn what_was_compacted_is_left_out_and_calls_keep_their_results() {
    let mut play = Play::new(started());
    for _ in 0..3 {
        play.calls("read, read");
        play.work();
    }
    let compacted = |elided: &[&str], summary: Option<&str>, through| {
        let elided: Vec<CallId> = elided.iter().map(|call| id(call)).collect();
        Event::Compacted(Compacted { elided, summary: summary.map(Arc::from), through, ..Compacted::default() })
    };
    play.push(compacted(&["t1c1", "t3c2"], None, 0));
    let told = play.told();
    assert_eq!((told.len(), &*told[3]), (10, "t1c2: t1c2"));
    for elided in [2, 9] {
        assert!(told[elided].contains("[result of 4 bytes left out to save room"), "{}", told[elided]);
    }
    play.push(compacted(&[], Some("it read"), 2));
    assert_eq!(
        play.told()[..3],
        [
            "user: What happened before, in short:\nit read",
            r#"assistant: <t3c1 read {"n":0}> | <t3c2 read {"n":0}>"#,
            "t3c1: t3c1"
        ]
    );
}

#[test]
fn too_long_a_conversation_loses_its_oldest_results_first_and_in_the_end_all_but_the_notes() {
    let mut play = Play::new(started());
    assert_eq!(play.run.compaction(), None);
    let long = "x".repeat(1000);
    for (turn, text) in [&*long, &long, &long, &long, "short"].into_iter().enumerate() {
        play.calls("read");
        play.start();
        play.push(finished(id(&format!("t{}c1", turn + 1)), 1, text));
    }
    let mut steps = Vec::new();
    while let Some(compacted) = play.run.compaction() {
        steps.push(compacted.elided.iter().map(ToString::to_string).collect::<Vec<_>>());
        play.push(Event::Compacted(compacted));
    }
    assert_eq!(steps, [vec!["t1c1", "t2c1"], vec!["t3c1"], vec!["t4c1"]]);
    // What was too short to be worth it is still there, and so is everything that was said.
    let told = play.told();
    assert_eq!(told.len(), 11);
    assert_eq!(told.last().unwrap(), "t5c1: short");
    assert_eq!(told.iter().filter(|line| line.contains("[result of 1000 bytes left out")).count(), 4);
}

#[test]
fn a_conversation_that_is_still_too_long_loses_turns_and_then_the_middle_of_long_texts() {
    let mut play = Play::new(started());
    for turn in 1..=4 {
        play.calls("read");
        play.start();
        play.push(finished(id(&format!("t{turn}c1")), 1, "short"));
    }
    play.says(Say::text("done"));
    play.push(input(&format!("now {}this", "x".repeat(5000))));
    let mut steps = Vec::new();
    while let Some(compacted) = play.run.reduction() {
        steps.push((compacted.through, compacted.text_bytes_max));
        play.push(Event::Compacted(compacted));
    }
    assert_eq!(steps.iter().map(|step| step.0).filter(|through| *through > 0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(steps.iter().filter_map(|step| step.1).collect::<Vec<_>>(), [2504, 1275, 661, 512]);
    let told = play.told();
    // The task, what was called, and the beginning and the end of the newest message are still there.
    assert!(told[0].contains("The person said first: do it") && told[0].contains("(4)"), "{told:?}");
    assert!(told.last().unwrap().starts_with("user: now xxx") && told.last().unwrap().ends_with("xxxthis"), "{told:?}");
    assert!(told.iter().map(String::len).sum::<usize>() < 1500, "{told:?}");
}
