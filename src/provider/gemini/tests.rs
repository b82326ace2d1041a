//! What Google documents, what its servers and those that claim its format send, and what we make of it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::Gemini;
use crate::{
    chat::{
        Answer, AnswerPart, Choice, Finish, Media, MediaSource, Message, Opaque, OutputFormat, Part, Reasoning,
        ReasoningEffort, Request, Usage, WrittenCall,
    },
    provider::{
        Class, Quirks,
        dialect::{Format, Target},
        table::{Server, bad, described, good, own_call, request, result, said, tool, user},
    },
};

const PLAIN: Quirks = Quirks::NONE;
const TARGET: Target<'_> = Target { issuer: "google", model: "gemini-3-pro-preview", quirks: &PLAIN, strict: false };
const OLD: Target<'_> = Target { model: "gemini-2.0-flash", ..TARGET };
const SERVER: Server = Server { format: &Gemini, target: TARGET };

fn sse(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

fn chunk(parts: Value, finish: Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}], "modelVersion": "m-001", "responseId": "r1"})
}

/// A chunk with these parts, and more to come.
fn some(parts: Value) -> Value {
    chunk(parts, Value::Null)
}

/// A stream of one chunk with these parts.
fn one(parts: Value, finish: &str) -> String {
    sse(&[chunk(parts, finish.into())])
}

fn answer(parts: Vec<AnswerPart>, finish: Finish) -> Answer {
    Answer { parts, finish, usage: None, model: Some("m-001".into()), id: Some("r1".into()) }
}

fn hello() -> Answer {
    answer(vec![said("Hello")], Finish::Stop)
}

fn thought(text: &str) -> AnswerPart {
    AnswerPart::Reasoning(Reasoning { text: text.into(), opaque: None })
}

fn written(name: &str, arguments: &str, id: Option<&str>, own: Option<&str>) -> AnswerPart {
    AnswerPart::Call(WrittenCall {
        provider_id: id.map(str::to_owned),
        name: name.into(),
        arguments: arguments.into(),
        complete: true,
        opaque: own.map(|own| SERVER.opaque("functionCall", own)),
    })
}

#[test]
fn documented_streams() {
    let told = |parts, finish, usage| Answer {
        parts,
        finish,
        usage: Some(usage),
        model: Some("gemini-3-pro-preview".into()),
        id: Some("mAitaLmkHPPlz7IPvtfUqQ4".into()),
    };
    SERVER.check(vec![
        good(
            "text, with a signature on an empty part at the end",
            include_str!("../../../tests/golden/gemini/text.sse"),
            told(
                vec![
                    said("AI works by learning patterns from data."),
                    AnswerPart::Opaque(SERVER.opaque("part.text", r#"{"text":"","thoughtSignature":"CiQBcsjafA=="}"#)),
                ],
                Finish::Stop,
                Usage { input: 8, output: 109, reasoning: 100, ..Usage::default() },
            ),
        ),
        good(
            "parallel calls, each in a chunk of its own, the first one signed",
            include_str!("../../../tests/golden/gemini/parallel.sse"),
            told(
                vec![
                    thought("**Fetching both temperatures**\n\nTwo cities, two calls."),
                    written(
                        "get_current_temperature",
                        r#"{"location": "Paris"}"#,
                        None,
                        Some(r#"{"thoughtSignature":"<Signature_A>"}"#),
                    ),
                    written("get_current_temperature", r#"{"location": "London"}"#, None, None),
                ],
                Finish::ToolCalls,
                Usage { input: 72, output: 94, reasoning: 58, ..Usage::default() },
            ),
        ),
        bad(
            "a blocked prompt",
            include_str!("../../../tests/golden/gemini/blocked.sse"),
            Class::ContentRefused,
            "PROHIBITED_CONTENT",
        ),
    ]);
}

#[test]
fn framing() {
    let (hel, lo) = (some(json!([{"text": "Hel"}])), chunk(json!([{"text": "lo"}]), json!("STOP")));
    let both = sse(&[hel.clone(), lo.clone()]);
    SERVER.check(vec![
        good("by the book", both.clone(), hello()),
        good("line feeds only", both.replace('\r', ""), hello()),
        good("no blank line at the end", both.trim_end().to_owned(), hello()),
        good("comments and words to stay alive", format!(": hi\n\ndata: ping\n\n{both}"), hello()),
        good("the end mark of another format", both.clone() + "data: [DONE]\n\n", hello()),
        good("an array, as without alt=sse", json!([hel, lo]).to_string(), hello()),
        good("an array over many lines", serde_json::to_string_pretty(&json!([hel, lo])).unwrap(), hello()),
        good("one document", one(json!([{"text": "Hello"}]), "STOP")[6..].to_owned(), hello()),
        good("wrapped in a response", sse(&[json!({"response": hel}), json!({"response": lo})]), hello()),
        good("a reason with every chunk", sse(&[chunk(json!([{"text": "Hel"}]), json!("STOP")), lo.clone()]), hello()),
        good(
            "tokens behind the end",
            sse(&[hel.clone(), lo.clone(), json!({"usageMetadata": {"promptTokenCount": 1}})]),
            Answer { usage: Some(Usage { input: 1, ..Usage::default() }), ..hello() },
        ),
        good("a cut last piece behind the end", both.clone() + "data: {\"usageMeta", hello()),
        bad("no finish reason", sse(std::slice::from_ref(&hel)), Class::MalformedAnswer, "broke off"),
        bad("cut within a chunk", both[..both.len() - 60].to_owned(), Class::MalformedAnswer, "broke off"),
        bad("cut document", json!([hel]).to_string()[..40].to_owned(), Class::MalformedAnswer, "broke off"),
        bad("nothing", "", Class::MalformedAnswer, "without an answer"),
        bad("plain text", "upstream connect error", Class::MalformedAnswer, "upstream connect error"),
        bad("a page", "<html><title>Login</title></html>", Class::MalformedAnswer, "HTML"),
        bad("garbage", "data: {]}\n\n", Class::MalformedAnswer, "no JSON"),
    ]);
}

#[test]
fn parts() {
    let call = |members: Value| json!([{"functionCall": members}]);
    let calls = |parts| answer(parts, Finish::ToolCalls);
    let mut damaged = one(call(json!({"name": "f", "args": {"x": "é"}})), "STOP").into_bytes();
    let at = damaged.iter().position(|byte| *byte == 0xC3).unwrap();
    damaged[at] = 0xFF;
    SERVER.check(vec![
        bad("no parts", one(json!([]), "STOP"), Class::MalformedAnswer, "empty"),
        bad(
            "no content",
            sse(&[json!({"responseId": "r1", "modelVersion": "m-001", "candidates": [{"finishReason": "STOP"}]})]),
            Class::MalformedAnswer,
            "empty",
        ),
        bad("a thought alone", one(json!([{"text": "Hmm.", "thought": true}]), "STOP"), Class::MalformedAnswer, "nothing but reasoning"),
        good(
            "a text and a call in one part",
            one(json!([{"text": "I look.", "functionCall": {"name": "f", "args": {"x": 1}}}]), "STOP"),
            calls(vec![said("I look."), written("f", r#"{"x":1}"#, None, None)]),
        ),
        good(
            "a text behind a call in one part, signed",
            sse(&[chunk(json!([{"functionCall": {"name": "f"}, "text": "I look.", "thoughtSignature": "S"}]), json!("STOP"))]),
            calls(vec![written("f", "{}", None, Some(r#"{"thoughtSignature":"S"}"#)), said("I look.")]),
        ),
        good(
            "a text and a part of an unknown kind in one",
            one(json!([{"text": "Hello", "hologram": {"n": 1}}]), "STOP"),
            answer(vec![said("Hello"), AnswerPart::Opaque(SERVER.opaque("part.hologram", r#"{"hologram":{"n":1}}"#))], Finish::Stop),
        ),
        good("one part without its list", one(json!({"text": "Hello"}), "STOP"), hello()),
        good(
            "another candidate",
            sse(&[
                some(json!([{"text": "Hello"}])),
                json!({"candidates": [{"index": 1, "content": {"parts": [{"text": "Bye"}]}}]}),
                chunk(json!([]), json!("STOP")),
            ]),
            hello(),
        ),
        good(
            "thoughts and text",
            sse(&[
                some(json!([{"text": "Let", "thought": true}])),
                some(json!([{"text": " me", "thought": true}])),
                chunk(json!([{"text": "Hello"}]), json!("STOP")),
            ]),
            answer(vec![thought("Let me"), said("Hello")], Finish::Stop),
        ),
        good(
            "a signed thought",
            one(
                json!([{"text": "a", "thought": true}, {"text": "b", "thought": true, "thoughtSignature": "S"}, {"text": "Hello"}]),
                "STOP",
            ),
            answer(
                vec![
                    thought("a"),
                    AnswerPart::Reasoning(Reasoning {
                        text: "b".into(),
                        opaque: Some(SERVER.opaque("thought.thoughtSignature", "S")),
                    }),
                    said("Hello"),
                ],
                Finish::Stop,
            ),
        ),
        good(
            "signed text stands alone",
            one(json!([{"text": "a"}, {"text": "b", "thoughtSignature": "S"}, {"text": "c"}]), "STOP"),
            answer(
                vec![said("a"), said("b"), AnswerPart::Opaque(SERVER.opaque("text.thoughtSignature", "S")), said("c")],
                Finish::Stop,
            ),
        ),
        good(
            "a signature alone",
            one(json!([{"text": "Hello"}, {"thoughtSignature": "S"}]), "STOP"),
            answer(
                vec![said("Hello"), AnswerPart::Opaque(SERVER.opaque("part.text", r#"{"text":"","thoughtSignature":"S"}"#))],
                Finish::Stop,
            ),
        ),
        good(
            "a call with its id",
            one(
                json!([{"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}, "thoughtSignature": "S"}]),
                "STOP",
            ),
            calls(vec![written("f", r#"{"x":1}"#, Some("c1"), Some(r#"{"id":"c1","thoughtSignature":"S"}"#))]),
        ),
        good(
            "a call without arguments",
            one(call(json!({"name": "f"})), "STOP"),
            calls(vec![written("f", "{}", None, None)]),
        ),
        good(
            "arguments keep their text",
            "data: {\"responseId\":\"r1\",\"modelVersion\":\"m-001\",\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\": 12345678901234567890123, \"n\":1.0}}}]},\"finishReason\":\"STOP\"}]}\n\n",
            calls(vec![written("f", r#"{"n": 12345678901234567890123, "n":1.0}"#, None, None)]),
        ),
        good(
            "arguments in an array of chunks",
            "[{\"responseId\":\"r1\",\"modelVersion\":\"m-001\",\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\": 1.0}}}]},\"finishReason\":\"STOP\"}]}]",
            calls(vec![written("f", r#"{"n": 1.0}"#, None, None)]),
        ),
        good(
            "arguments that are a text",
            one(call(json!({"name": "f", "args": "{\"x\": 1}"})), "STOP"),
            calls(vec![written("f", "{\"x\": 1}", None, None)]),
        ),
        good(
            "a call in the snake's case",
            one(json!([{"function_call": {"name": "f", "args": {}}, "thought_signature": "S"}]), "STOP"),
            calls(vec![written("f", "{}", None, Some(r#"{"thoughtSignature":"S"}"#))]),
        ),
        good(
            "a call whose arguments would go on",
            one(call(json!({"name": "f", "willContinue": true})), "STOP"),
            calls(vec![match written("f", "{}", None, None) {
                AnswerPart::Call(call) => AnswerPart::Call(WrittenCall { complete: false, ..call }),
                other => other,
            }]),
        ),
        good(
            "code that was executed, and other kinds",
            one(
                json!([{"executableCode": {"language": "PYTHON", "code": "1"}}, {"text": "Hello"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "S"}]),
                "STOP",
            ),
            answer(
                vec![
                    AnswerPart::Opaque(SERVER.opaque(
                        "part.executableCode",
                        r#"{"executableCode":{"code":"1","language":"PYTHON"}}"#,
                    )),
                    said("Hello"),
                    AnswerPart::Opaque(SERVER.opaque(
                        "part.inlineData",
                        r#"{"inlineData":{"data":"aGk=","mimeType":"image/png"},"thoughtSignature":"S"}"#,
                    )),
                ]
                .into_iter()
                .map(|part| match part {
                    // The source text, in the order in which it was written.
                    AnswerPart::Opaque(mut own) if own.kind == "part.executableCode" => {
                        own.data = r#"{"executableCode":{"language":"PYTHON","code":"1"}}"#.into();
                        AnswerPart::Opaque(own)
                    }
                    AnswerPart::Opaque(mut own) => {
                        own.data =
                            r#"{"inlineData":{"mimeType":"image/png","data":"aGk="},"thoughtSignature":"S"}"#.into();
                        AnswerPart::Opaque(own)
                    }
                    other => other,
                })
                .collect(),
                Finish::Stop,
            ),
        ),
        bad("a call with bytes that are no text", damaged, Class::MalformedAnswer, "no text"),
        bad(
            "more calls than anybody makes",
            one(Value::Array(vec![json!({"functionCall": {"name": "f"}}); 1025]), "STOP"),
            Class::MalformedAnswer,
            "1024",
        ),
    ]);
}

/// What proxies and servers of other makes do to the format.
#[test]
fn members_that_are_missing_or_of_other_types() {
    let hel = || some(json!([{"text": "Hel"}]));
    let lo = || chunk(json!([{"text": "lo"}]), json!("STOP"));
    let with = |index: Value| {
        let mut chunks = [hel(), lo()];
        chunks.iter_mut().for_each(|chunk| chunk["candidates"][0]["index"] = index.clone());
        sse(&chunks)
    };
    let listless = |mut chunk: Value| {
        chunk["candidates"] = chunk["candidates"][0].take();
        chunk
    };
    let finished = |reason: Value| sse(&[chunk(json!([{"text": "Hello"}]), reason)]);
    let usage = |usage: Value| sse(&[hel(), lo(), json!({"usageMetadata": usage})]);
    let counted = |input, output| Answer { usage: Some(Usage { input, output, ..Usage::default() }), ..hello() };
    let called = |call: Value| one(json!([{"functionCall": call}]), "STOP");
    let calls = |name: &str, arguments: &str| answer(vec![written(name, arguments, None, None)], Finish::ToolCalls);
    SERVER.check(vec![
        good("an index that is a text", with(json!("0")), hello()),
        good("an index that is a float", with(json!(0.0)), hello()),
        good("an index that is null", with(Value::Null), hello()),
        good("one candidate without its list", sse(&[listless(hel()), listless(lo())]), hello()),
        good(
            "candidates that are null",
            sse(&[json!({"candidates": null}), json!({"candidates": [null]}), hel(), lo()]),
            hello(),
        ),
        good(
            "ids and names of other types",
            sse(&[json!({"responseId": 17, "modelVersion": null, "candidates": [{"content": {"role": 5, "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]})]),
            Answer { id: None, model: None, ..hello() },
        ),
        good("a text that is null", sse(&[some(json!([{"text": null}])), hel(), lo()]), hello()),
        good("parts that are null", sse(&[some(Value::Null), some(json!([null])), hel(), lo()]), hello()),
        good("a reason in small letters", finished(json!("stop")), hello()),
        good("an empty reason, and then one", sse(&[hel(), chunk(json!([]), json!("")), lo()]), hello()),
        good("two chunks in one event", format!("data: {} {}\n\n", hel(), lo()), hello()),
        good("half of a surrogate pair", one(json!([{"text": "a?"}]), "STOP").replace('?', "\\ud800"), answer(vec![said("a\u{fffd}")], Finish::Stop)),
        good("a call without a name", called(json!({"args": {}})), calls("", "{}")),
        good("arguments that are null", called(json!({"name": "f", "args": null})), calls("f", "{}")),
        good("arguments that are a list", called(json!({"name": "f", "args": [1]})), calls("f", "[1]")),
        good("one call without the list of parts", one(json!({"functionCall": {"name": "f", "args": {"n": 1.0}}}), "STOP"), calls("f", r#"{"n":1.0}"#)),
        good("tokens as texts and floats", usage(json!({"promptTokenCount": "9", "candidatesTokenCount": 3.0})), counted(9, 3)),
        good("tokens told in part", usage(json!({"candidatesTokenCount": 3})), counted(0, 3)),
        good("tokens below nothing and beyond everything", usage(json!({"promptTokenCount": -9, "candidatesTokenCount": 1e300})), hello()),
        bad("an error that is a text", r#"{"error": "model \"x\" not found, try pulling it first"}"#, Class::ModelGone, "not found"),
        bad("an error as FastAPI's", r#"{"detail": "Rate limit exceeded"}"#, Class::RateLimited, "Rate limit"),
        bad("an error in an event with its name", "event: error\ndata: Overloaded\n\n", Class::Transient, "Overloaded"),
        bad("a call with half of a surrogate pair", called(json!({"name": "f", "args": {"x": "?"}})).replace('?', "\\ud800"), Class::MalformedAnswer, "no text"),
    ]);
}

#[test]
fn reasons_for_stopping() {
    let hello = |finish: &str| one(json!([{"text": "Hello"}]), finish);
    let with = |finish: Finish| answer(vec![said("Hello")], finish);
    let mut rows = vec![
        good("too long", hello("MAX_TOKENS"), with(Finish::Length)),
        bad("other", hello("OTHER"), Class::MalformedAnswer, "OTHER"),
        good("new", hello("SOMETHING_NEW"), with(Finish::Other("SOMETHING_NEW".into()))),
        bad("other and nothing", one(json!([]), "OTHER"), Class::MalformedAnswer, "OTHER"),
        bad(
            "a malformed call",
            sse(&[
                json!({"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: print(default_api.f("}]}),
            ]),
            Class::MalformedAnswer,
            "print(default_api.f(",
        ),
        bad("a call of no tool", hello("UNEXPECTED_TOOL_CALL"), Class::MalformedAnswer, "UNEXPECTED_TOOL_CALL"),
        bad("no signature", one(json!([]), "MISSING_THOUGHT_SIGNATURE"), Class::CallerFault, "SIGNATURE"),
    ];
    for reason in ["SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"] {
        rows.push(bad("refused midway", hello(reason), Class::ContentRefused, reason));
        rows.push(bad("refused at once", one(json!([]), reason), Class::ContentRefused, reason));
    }
    SERVER.check(rows);
}

#[test]
fn tokens() {
    let rows = [
        (
            json!({"promptTokenCount": 100, "cachedContentTokenCount": 64, "candidatesTokenCount": 5, "thoughtsTokenCount": 20, "toolUsePromptTokenCount": 7, "totalTokenCount": 132}),
            Usage { input: 107, cached: 64, cache_write: 0, output: 25, reasoning: 20 },
        ),
        (json!({"promptTokenCount": 10, "totalTokenCount": 14}), Usage { input: 10, output: 4, ..Usage::default() }),
        (
            json!({"promptTokenCount": "10", "candidatesTokenCount": 4.0}),
            Usage { input: 10, output: 4, ..Usage::default() },
        ),
    ];
    for (usage, expected) in rows {
        let mut last = chunk(json!([{"text": "Hello"}]), json!("STOP"));
        last["usageMetadata"] = usage.clone();
        let body = sse(&[json!({"usageMetadata": {"promptTokenCount": 10}}), last]);
        assert_eq!(SERVER.read(&body, 9, &mut |_| {}).unwrap().usage, Some(expected), "{usage}");
    }
}

#[test]
fn errors_in_the_stream() {
    let error = json!({"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}});
    let hel = some(json!([{"text": "Hel"}]));
    SERVER.check(vec![
        bad("an object", error.to_string(), Class::Transient, "overloaded"),
        bad("an array", json!([error]).to_string(), Class::Transient, "overloaded"),
        bad("midway", sse(&[hel.clone(), error.clone()]), Class::Transient, "overloaded"),
        bad("midway and in an array", json!([hel, error]).to_string(), Class::Transient, "overloaded"),
    ]);
    let limited = json!({"error": {"code": 429, "message": "You exceeded your current quota.", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}]}});
    let failure = SERVER.read(sse(&[limited]).as_bytes(), 5, &mut |_| {}).unwrap_err();
    assert_eq!((failure.class, failure.retry_after), (Class::RateLimited, Some(Duration::from_millis(36_500))));
}

#[test]
fn no_beginning_of_an_answer_passes_for_it() {
    let body = include_str!("../../../tests/golden/gemini/parallel.sse");
    SERVER.no_beginning_passes(body, "\"finishReason\"");
}

proptest::proptest! {
    /// Whatever a server sends, reading it ends, does not panic, and does not depend on how the bytes are split.
    #[test]
    fn damage_is_read_the_same_in_any_split(
        at in 0usize..4000, cut in 0usize..40, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20), step in 1usize..50,
    ) {
        SERVER.damaged(include_str!("../../../tests/golden/gemini/parallel.sse"), (at, cut), with, step);
    }
}

#[test]
fn pieces_are_told() {
    let body = sse(&[
        some(json!([{"text": "Hm", "thought": true}])),
        some(json!([{"text": "Let me see."}, {"functionCall": {"name": "f"}}])),
        chunk(json!([{"functionCall": {"name": "g"}}, {"text": "", "thoughtSignature": "S"}]), json!("STOP")),
    ]);
    let told = SERVER.told(&body);
    assert_eq!(told, [r#"Reasoning("Hm")"#, r#"Text("Let me see.")"#, r#"Call("f")"#, r#"Call("g")"#]);
}

fn rendered(request: &Request, target: Target<'_>) -> Value {
    Server { target, ..SERVER }.rendered(request)
}

fn contents(messages: Vec<Message>, target: Target<'_>) -> Value {
    rendered(&request(messages), target)["contents"].take()
}

fn signed(signature: &str) -> Option<Box<Opaque>> {
    Some(SERVER.opaque("functionCall", &json!({"thoughtSignature": signature}).to_string()))
}

#[test]
fn documented_requests() {
    let golden = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let ask = || user("Check flight status for AA100 and book a taxi 2 hours before if delayed.");
    let flights = || described("check_flight", "Gets the current status of a flight", "flight");
    let steps = Request {
        tools: Arc::new([flights(), described("book_taxi", "Book a taxi", "time")]),
        ..request(vec![
            ask(),
            Message::Assistant(vec![own_call(1, "check_flight", r#"{"flight":"AA100"}"#, signed("<Signature_A>"))]),
            result(1, "check_flight", vec![Part::text("delayed, 12 PM")], false),
            Message::Assistant(vec![own_call(2, "book_taxi", r#"{"time":"10 AM"}"#, signed("<Signature_B>"))]),
            result(2, "book_taxi", vec![Part::text("success")], false),
        ])
    };
    assert_eq!(rendered(&steps, TARGET), golden(include_str!("../../../tests/golden/gemini/sequential.request.json")));

    let foreign = Request {
        tools: Arc::new([flights()]),
        ..request(vec![
            ask(),
            Message::Assistant(vec![
                own_call(
                    1,
                    "check_flight",
                    r#"{"flight":"AA100"}"#,
                    Some(Box::new(Opaque {
                        issuer: "other".into(),
                        ..*SERVER.opaque("functionCall", r#"{"id":"x","thoughtSignature":"S"}"#)
                    })),
                ),
                own_call(2, "check_flight", r#"{"flight":"AA101"}"#, None),
            ]),
            // In the order of the calls, whichever came first.
            result(2, "check_flight", vec![Part::text("no such flight")], true),
            result(1, "check_flight", vec![Part::text("delayed, 12 PM")], false),
        ])
    };
    assert_eq!(rendered(&foreign, TARGET), golden(include_str!("../../../tests/golden/gemini/foreign.request.json")));
}

/// Pitfalls 4 and 5: a signature goes back to its issuer and model, on its part, and to nobody else.
#[test]
fn signatures_go_home_and_nowhere_else() {
    let parts = || {
        vec![
            Part::Reasoning(Reasoning {
                text: "Hm".into(),
                opaque: Some(SERVER.opaque("thought.thoughtSignature", "A")),
            }),
            Part::Reasoning(Reasoning { text: "unsigned".into(), opaque: None }),
            Part::text("one"),
            Part::Opaque(SERVER.opaque("text.thoughtSignature", "B")),
            Part::text("two"),
            Part::Opaque(SERVER.opaque("part.executableCode", r#"{"executableCode": {"code": "1.0"}}"#)),
            own_call(1, "f", "{}", Some(SERVER.opaque("functionCall", r#"{"id":"c1","thoughtSignature":"C"}"#))),
            own_call(2, "g", r#"{"n": 1.0}"#, None),
            Part::Opaque(SERVER.opaque("part.text", r#"{"text":"","thoughtSignature":"D"}"#)),
        ]
    };
    let messages =
        || vec![user("Hi"), Message::Assistant(parts()), result(1, "f", vec![], false), result(2, "g", vec![], false)];
    assert_eq!(
        contents(messages(), TARGET)[1]["parts"],
        json!([
            {"text": "Hm", "thought": true, "thoughtSignature": "A"},
            {"text": "one", "thoughtSignature": "B"},
            {"text": "two"},
            {"executableCode": {"code": "1.0"}},
            {"functionCall": {"id": "c1", "name": "f", "args": {}}, "thoughtSignature": "C"},
            {"functionCall": {"name": "g", "args": {"n": 1.0}}},
            {"text": "", "thoughtSignature": "D"},
        ])
    );
    assert_eq!(contents(messages(), TARGET)[2]["parts"][0]["functionResponse"]["id"], "c1");
    let plain = |signature: Option<&str>| {
        let mut first = json!({"functionCall": {"name": "f", "args": {}}});
        if let Some(signature) = signature {
            first["thoughtSignature"] = signature.into();
        }
        json!([{"text": "one"}, {"text": "two"}, first, {"functionCall": {"name": "g", "args": {"n": 1.0}}}])
    };
    let dummy = Some("skip_thought_signature_validator");
    for (target, signature) in [
        (Target { model: "gemini-3.5-flash", ..TARGET }, dummy),
        (Target { issuer: "vertex", ..TARGET }, dummy),
        (Target { model: "models/gemini-flash-latest", ..TARGET }, dummy),
        (Target { model: "gemini-10-pro", ..TARGET }, dummy),
        (Target { model: "gemini-2.5-pro", ..TARGET }, None),
        (Target { model: "gemma-4-31b-it", ..TARGET }, None),
    ] {
        assert_eq!(contents(messages(), target)[1]["parts"], plain(signature), "{target:?}");
        assert_eq!(contents(messages(), target)[2]["parts"][0]["functionResponse"].get("id"), None, "{target:?}");
    }
}

/// Pitfalls 14, 16, 23 and 24: who speaks when.
#[test]
fn turns() {
    let rows = [
        (
            "neighbours join",
            vec![user("a"), user("b")],
            json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]),
        ),
        ("empty ones say so", vec![user(" ")], json!([{"role": "user", "parts": [{"text": "(empty)"}]}])),
        (
            "an answer of nothing is none",
            vec![user("a"), Message::Assistant(vec![Part::text("")]), user("b")],
            json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]),
        ),
        (
            "the user begins",
            vec![Message::Assistant(vec![Part::text("a")]), user("b")],
            json!([{"role": "user", "parts": [{"text": "(what was said before is left out)"}]}, {"role": "model", "parts": [{"text": "a"}]}, {"role": "user", "parts": [{"text": "b"}]}]),
        ),
        (
            "results first, then what the user adds",
            vec![
                user("a"),
                Message::Assistant(vec![own_call(1, "f", "{}", None), own_call(2, "f", "{}", None)]),
                result(1, "f", vec![Part::text("x")], false),
                result(2, "f", vec![], true),
                user("b"),
            ],
            json!([
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "f", "args": {}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "f", "response": {"output": "x"}}},
                    {"functionResponse": {"name": "f", "response": {"error": "(no content)"}}},
                    {"text": "b"},
                ]},
            ]),
        ),
        (
            "a result without its call",
            vec![user("a"), result(1, "f", vec![Part::text("x")], false)],
            json!([{"role": "user", "parts": [{"text": "a"}, {"text": "[result of f] x"}]}]),
        ),
    ];
    for (name, messages, expected) in rows {
        assert_eq!(contents(messages, OLD), expected, "{name}");
    }
}

#[test]
fn pictures_and_sounds() {
    let media = |mime: &str, source| Media { name: None, mime: mime.into(), source };
    let here = |mime: &str| media(mime, MediaSource::Base64("aGk=".into()));
    let ask = Message::User(vec![
        Part::Image(here("image/png")),
        Part::Audio(here("audio/wav")),
        Part::Image(media("image/jpeg", MediaSource::Url("https://example.com/a.jpg".into()))),
        Part::Document(here("application/pdf")),
        Part::Image(here("image/gif")),
    ]);
    assert_eq!(
        contents(vec![ask], OLD)[0]["parts"],
        json!([
            {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
            {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
            {"text": "[image/gif, 2 bytes; left out: this service takes no media of this type]"},
        ])
    );
    let shot = || {
        vec![
            user("Look"),
            Message::Assistant(vec![own_call(1, "shot", "{}", None)]),
            result(
                1,
                "shot",
                vec![Part::text("a screen"), Part::Image(here("image/png")), Part::Audio(here("audio/wav"))],
                false,
            ),
        ]
    };
    let output = json!({"output": "a screen\n[image/png: attached]\n[audio/wav: attached]"});
    let (png, wav) = (
        json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
        json!({"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}),
    );
    assert_eq!(
        contents(shot(), TARGET)[2]["parts"],
        json!([
            {"functionResponse": {"name": "shot", "response": output, "parts": [png]}},
            {"text": "[audio/wav of the result of shot]"}, wav,
        ])
    );
    assert_eq!(
        contents(shot(), OLD)[2]["parts"],
        json!([
            {"functionResponse": {"name": "shot", "response": output}},
            {"text": "[image/png of the result of shot]"}, png,
            {"text": "[audio/wav of the result of shot]"}, wav,
        ])
    );
}

#[test]
fn settings() {
    let output =
        OutputFormat { name: "answer".into(), schema: Arc::new(json!({"type": "array", "items": {"const": "x"}})) };
    let full = Request {
        system: Some("Be brief.".into()),
        tools: Arc::new([
            tool("f", json!({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"x": {"const": 1}}}}})),
            tool("g", json!(true)),
        ]),
        choice: Choice::Tool("f".into()),
        temperature: Some(0.5),
        output_tokens_max: Some(100),
        effort: Some(ReasoningEffort::Low),
        output: Some(Arc::new(output)),
        ..request(vec![user("Hi")])
    };
    let mut expected = json!({
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "tools": [{"functionDeclarations": [
            {"name": "f", "parametersJsonSchema": {"type": "object", "properties": {"x": {"enum": [1]}}}},
            {"name": "g", "parametersJsonSchema": {"type": "object", "properties": {}}},
        ]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "temperature": 0.5, "maxOutputTokens": 100, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "array", "items": {"enum": ["x"]}},
            "thinkingConfig": {"includeThoughts": true, "thinkingLevel": "low"},
        },
    });
    assert_eq!(rendered(&full, TARGET), expected);
    let quirks = Quirks { openapi_schemas: true, ..PLAIN };
    expected["tools"][0]["functionDeclarations"] = json!([
        {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer", "description": "One of: 1."}}}},
        {"name": "g"},
    ]);
    assert_eq!(rendered(&full, Target { quirks: &quirks, ..TARGET }), expected);
}

#[test]
fn thinking() {
    use ReasoningEffort::{High, Low, Medium};
    let rows = [
        ("gemini-3-pro-preview", None, json!({"includeThoughts": true})),
        ("gemini-3-pro-preview", Some(Medium), json!({"includeThoughts": true, "thinkingLevel": "high"})),
        ("gemini-3.1-pro-preview", Some(Medium), json!({"includeThoughts": true, "thinkingLevel": "medium"})),
        ("gemini-3-flash-preview", Some(High), json!({"includeThoughts": true, "thinkingLevel": "high"})),
        ("gemini-2.5-flash", Some(Low), json!({"includeThoughts": true, "thinkingBudget": 1024})),
        ("gemini-2.5-pro", Some(High), json!({"includeThoughts": true, "thinkingBudget": 24576})),
        ("gemini-2.5-flash-lite", None, Value::Null),
        ("gemini-2.0-flash", Some(High), Value::Null),
        ("gemma-3-27b-it", Some(Low), Value::Null),
    ];
    for (model, effort, expected) in rows {
        let request = Request { effort, ..request(vec![user("Hi")]) };
        let body = rendered(&request, Target { model, ..TARGET });
        assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{model} {effort:?}");
    }
}

#[test]
fn addresses_and_keys() {
    let url = |base: &str, model: &str| Gemini.url(&base.parse().unwrap(), model).to_string();
    assert_eq!(
        url("https://generativelanguage.googleapis.com/v1beta", "gemini-3-pro-preview"),
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"
    );
    assert_eq!(
        url("https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/?x=1", "models/m"),
        "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/m:streamGenerateContent?x=1&alt=sse"
    );
    let key = "AQ.k".to_owned().into();
    let headers = Gemini.headers(Some(&key), TARGET).unwrap();
    assert_eq!(headers["x-goog-api-key"], "AQ.k");
    assert!(headers["x-goog-api-key"].is_sensitive());
    let bearer = Quirks { bearer: true, ..PLAIN };
    let headers = Gemini.headers(Some(&key), Target { quirks: &bearer, ..TARGET }).unwrap();
    assert_eq!((headers["authorization"].to_str().map_err(drop), headers.len()), (Ok("Bearer AQ.k"), 1usize));
}
