use serde_json::json;

use super::{
    super::table::{request, user},
    *,
};
use crate::chat::{CallId, Finish, Message, Part, ToolCall, ToolResult, Usage, WrittenCall};

fn script(text: &str) -> Scripted {
    Scripted::new("demo", Script::parse("demo.yaml", &format!("version: 1\nanswers:\n{text}")).unwrap())
}

fn called() -> Message {
    let id = CallId { turn: 1, call: 1 };
    Message::Assistant(vec![Part::Call(ToolCall { id, name: "f".into(), arguments: "{}".into(), opaque: None })])
}

fn result(text: &str, is_error: bool) -> Message {
    Message::Tool(ToolResult {
        call: CallId { turn: 1, call: 1 },
        name: "f".into(),
        content: vec![Part::text(text)],
        is_error,
    })
}

/// What is answered, and what was told on the way.
async fn ask(scripted: &Scripted, request: &Request) -> (Result<Answer, Failure>, Vec<String>) {
    let mut told = Vec::new();
    let answer = scripted.ask("any", request, &mut |delta| told.push(format!("{delta:?}"))).await;
    (answer, told)
}

async fn text(scripted: &Scripted, request: &Request) -> String {
    match ask(scripted, request).await.0 {
        Ok(answer) => answer.text(),
        Err(failure) => failure.to_string(),
    }
}

#[tokio::test]
async fn everything_that_an_answer_can_hold() {
    let scripted = script(
        r#"
  - reasoning: Hmm.
    text: I look.
    calls:
      - {name: files__read, arguments: {path: 7, deep: {b: [1, no, "x"]}, a: null}}
      - {name: now}
      - {name: files__read, raw: '{"path": "a'}
      - {name: files__read, raw: '{"path": "a"}', cut: true}
      - {name: files__read, raw: "{'path': 1,}"}
      - {name: files__read, raw: ""}
    usage: {input: 100, cached: 60, cache_write: 5, output: 20, reasoning: 7}
    delay: 1ms
"#,
    );
    let (answer, told) = ask(&scripted, &request([user("Hi")])).await;
    let answer = answer.unwrap();
    let calls: Vec<_> = answer.calls().map(|call| (&*call.name, &*call.arguments, call.complete)).collect();
    assert_eq!(
        calls,
        [
            ("files__read", r#"{"path":7,"deep":{"b":[1,"no","x"]},"a":null}"#, true),
            ("now", "{}", true),
            ("files__read", r#"{"path": "a"#, false),
            ("files__read", r#"{"path": "a"}"#, false),
            ("files__read", "{'path': 1,}", true),
            ("files__read", "", true),
        ]
    );
    assert_eq!(answer.text(), "I look.");
    assert_eq!(answer.finish, Finish::ToolCalls);
    assert_eq!(answer.usage, Some(Usage { input: 100, cached: 60, cache_write: 5, output: 20, reasoning: 7 }));
    assert_eq!(
        told[..4],
        [r#"Reasoning("Hmm.")"#, r#"Text("I ")"#, r#"Text("look.")"#, r#"Call("files__read")"#].map(str::to_owned)
    );
    assert!(scripted.scripted());
}

#[tokio::test]
async fn the_conversation_decides_and_nothing_else() {
    let scripted = script("  - {calls: [{name: f}]}\n  - text: second\n  - text: third\n");
    let first = request([user("Hi")]);
    let second = request([user("Hi"), called(), result("x", false)]);
    let third = request([user("Hi"), called(), result("x", false), called(), user("?")]);
    // In any order, as often as asked.
    for (request, expected) in [(&third, "third"), (&second, "second"), (&first, ""), (&second, "second")] {
        assert_eq!(text(&scripted, request).await, expected);
    }
    let over = request([user("Hi"), called(), called(), called()]);
    assert_eq!(
        text(&scripted, &over).await,
        "caller_fault: demo is a script: demo.yaml has no answer 4 for this conversation"
    );
}

#[tokio::test]
async fn what_goes_wrong_first_goes_wrong_once_per_request() {
    let scripted = script(
        r#"
  - first:
      - {status: 429, retry_after: 2s, message: slow down}
      - {cut: "I have re", delay: 1ms}
      - {class: transient}
    text: done
"#,
    );
    let (one, other) = (request([user("one")]), request([user("other")]));
    let seen = async |request| {
        let (answer, told) = ask(&scripted, request).await;
        (answer.map(|answer| answer.text()), told.len())
    };
    let rate_limited = Failure {
        status: Some(429),
        retry_after: Some(Duration::from_secs(2)),
        ..failure(Class::RateLimited, "HTTP 429: slow down")
    };
    let cut = failure(Class::MalformedAnswer, "the answer broke off").discarding("I have re");
    assert_eq!(seen(&one).await, (Err(rate_limited.clone()), 0));
    assert_eq!(seen(&one).await, (Err(cut), 3));
    assert_eq!(seen(&other).await, (Err(rate_limited.clone()), 0));
    assert_eq!(seen(&one).await, (Err(failure(Class::Transient, "as the script has it")), 0));
    assert_eq!(seen(&one).await, (Ok("done".to_owned()), 1));
    // The next run with the same words meets the same.
    assert_eq!(seen(&one).await, (Err(rate_limited), 0));
}

#[tokio::test]
async fn conditions_choose_among_answers() {
    let scripted = script(
        r#"
  - either:
      - {when: {input: ["sort", "tidy"]}, text: tidied}
      - {text: hello}
  - either:
      - {when: {result: "not found", error: true}, text: gave up}
      - {when: {error: true}, text: again}
      - {when: {result: ok}, fail: {status: 503}}
"#,
    );
    assert_eq!(text(&scripted, &request([user("tidy up")])).await, "tidied");
    assert_eq!(text(&scripted, &request([user("Hi")])).await, "hello");
    let after = |word: &str, is_error| request([user("Hi"), called(), result(word, is_error)]);
    assert_eq!(text(&scripted, &after("file not found", true)).await, "gave up");
    assert_eq!(
        text(&scripted, &after("file not found", false)).await,
        "caller_fault: demo is a script: demo.yaml has no answer 2 for this conversation"
    );
    assert_eq!(text(&scripted, &after("boom", true)).await, "again");
    assert_eq!(text(&scripted, &after("ok", false)).await, "transient: HTTP 503");
}

#[tokio::test]
async fn the_last_answer_can_stand_for_all_further_ones() {
    let scripted = script("  - text: once\n  - {text: on and on, repeat: true}\n");
    for answers in 1..5 {
        let request = request(std::iter::once(user("Hi")).chain((0..answers).map(|_| called())));
        assert_eq!(text(&scripted, &request).await, "on and on");
    }
}

#[test]
fn what_is_wrong_is_shown_at_its_place() {
    let problems = |text: &str| {
        let problems = Script::parse("s.yaml", text).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        problems("version: 2\nanswer: []\n"),
        [
            "s.yaml:1:1: the key \"answers\" is missing",
            "s.yaml:1:10: version: expected 1 to 1, found 2",
            "s.yaml:2:1: unknown key \"answer\"; did you mean \"answers\"?",
        ]
    );
    let text = r#"version: 1
answers:
  - txt: hello
  - {}
  - {text: a, repeat: true}
  - {fail: {status: 200}, text: a}
  - {fail: {cut: a, status: 500}}
  - {fail: {class: transitory}}
  - calls: [{arguments: {}}, {name: f, arguments: [1]}, {name: f, arguments: {}, raw: ""}]
  - {either: [{text: a, repeat: true}], text: b}
  - {text: a, finish: halt, delay: 5}
  - {text: a, when: {results: x}}
  - {text: a, usage: {input: -1}}
"#;
    insta::assert_snapshot!(problems(text).join("\n"));
}

#[test]
fn a_written_call_is_judged_as_on_the_wire() {
    let scripted = script("  - calls: [{name: f, arguments: {a: 1}}]\n");
    let line = scripted.script.line(&request([user("Hi")])).unwrap();
    let Says::Answer { parts, .. } = &line.says else { panic!("{line:?}") };
    let call = WrittenCall {
        provider_id: None,
        name: "f".into(),
        arguments: json!({"a": 1}).to_string().into(),
        complete: true,
        opaque: None,
    };
    assert_eq!(*parts, [AnswerPart::Call(call)]);
}

/// The scripts that come with the agents can be read.
#[test]
fn the_bundled_scripts_are_good() {
    for name in ["tidy", "changelog"] {
        let file = format!("{}/agents/{name}.script.yaml", env!("CARGO_MANIFEST_DIR"));
        if let Err(problems) = Script::parse(&file, &std::fs::read_to_string(&file).unwrap()) {
            panic!("{problems}");
        }
    }
}
