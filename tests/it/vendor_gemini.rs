//! The Gemini format over the wire: our client against a double of the service, and Google's SDK against the same double.

use std::{path::Path, sync::Arc, time::Duration};

use agentd::{
    chat::{Finish, Message, Part, Request, Usage},
    provider::{Class, Client, Dialect, Provider},
};
use serde_json::{Value, json};

use crate::{
    model::{Model, Reply},
    talk::{image, request, result, said, tool, user},
    vendor::gemini::{self, SKIP_VALIDATION},
};

const MODEL: &str = "gemini-3-pro-preview";

/// A service that answers the n-th request with the n-th of these parts.
fn service(model: &'static str, answers: Vec<Vec<Value>>) -> Model {
    let mut answers = answers.into_iter();
    let choose = move |_: &_| Some(Reply::stream(gemini::answer(model, &answers.next()?, "STOP")));
    Model::judged(gemini::judge, Box::new(choose))
}

fn client(service: &Model) -> Client {
    let base = format!("http://{}/v1beta", service.address());
    Client::builder(Dialect::Gemini, base).name("google").key("test".to_owned().into()).build().unwrap()
}

fn asking(messages: &[Message]) -> Request {
    // With what the service refuses: a union at the root, references, constants, lists of types.
    let shot = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [
            {"properties": {"kind": {"const": "screen"}, "n": {"type": ["integer", "string", "null"], "exclusiveMinimum": 0}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "window"}, "title": {"$ref": "#/$defs/title", "description": "Its title."}}, "required": ["kind"], "additionalProperties": false},
        ],
        "$defs": {"title": {"type": "string", "minLength": 1, "enum": ["", "a"]}},
    });
    Request { tools: Arc::new([tool("shot", shot), tool("now", json!(true))]), ..request(messages.iter().cloned()) }
}

fn call(name: &str, arguments: Value) -> Value {
    json!({"functionCall": {"name": name, "args": arguments}})
}

/// Parallel calls, a picture in a result, thoughts with signatures, an error, and what goes back of it all.
#[tokio::test]
async fn a_conversation() {
    let service = service(
        MODEL,
        vec![
            vec![
                json!({"text": "Two tools at once.", "thought": true}),
                call("shot", json!({"kind": "screen"})),
                call("now", json!({})),
                call("shot", json!({"kind": "window"})),
            ],
            vec![json!({"text": "A screen, and no clock."})],
            vec![json!({"text": "You are welcome."})],
        ],
    );
    let client = client(&service);
    let mut messages = vec![user("Look")];
    let first = client.ask(MODEL, &asking(&messages), &mut |_| {}).await.unwrap();
    assert_eq!(first.finish, Finish::ToolCalls);
    let calls: Vec<_> = first.calls().map(|call| (call.name.as_str(), &*call.arguments, call.complete)).collect();
    assert_eq!(
        calls,
        [("shot", r#"{"kind":"screen"}"#, true), ("now", "{}", true), ("shot", r#"{"kind":"window"}"#, true)]
    );
    assert_eq!(first.usage, Some(Usage { input: 40, cached: 8, cache_write: 0, output: 7, reasoning: 4 }));

    messages.push(said(1, &first));
    messages.push(result((1, 1), "shot", vec![Part::text("a screen"), image()], false));
    messages.push(result((1, 2), "now", vec![Part::text("no clock")], true));
    messages.push(result((1, 3), "shot", vec![image()], false));
    let second = client.ask(MODEL, &asking(&messages), &mut |_| {}).await.unwrap();
    assert_eq!((second.text().as_str(), second.finish.clone()), ("A screen, and no clock.", Finish::Stop));

    messages.push(said(2, &second));
    messages.push(user("Thanks"));
    client.ask(MODEL, &asking(&messages), &mut |_| {}).await.unwrap();
    service.assert_valid();

    let sent = service.requests()[2].body["contents"].clone();
    let signed = gemini::signature(MODEL, &call("shot", json!({"kind": "screen"})));
    assert_eq!(sent[1]["parts"][0]["thoughtSignature"], signed.as_str());
    assert_eq!(sent[1]["parts"][1].get("thoughtSignature"), None);
    let result = &sent[2]["parts"][0]["functionResponse"];
    assert_eq!(result["response"], json!({"output": "a screen\n[image/png: attached]"}));
    assert_eq!(result["parts"][0]["inlineData"]["data"], "aGkh");
    assert_eq!(result["id"], sent[1]["parts"][0]["functionCall"]["id"]);
    assert_eq!(sent[2]["parts"][1]["functionResponse"]["response"], json!({"error": "no clock"}));
    assert_eq!(
        sent[3]["parts"][1],
        json!({"text": "", "thoughtSignature": gemini::signature(MODEL, &json!({"text": ""}))})
    );
}

/// A conversation goes on at another model, and comes back: each sees what it may.
#[tokio::test]
async fn a_conversation_that_moves() {
    let answers = || vec![vec![call("shot", json!({"kind": "screen"})), call("now", json!({}))]];
    let begun = service(MODEL, answers());
    let mut messages = vec![user("Look")];
    let first = client(&begun).ask(MODEL, &asking(&messages), &mut |_| {}).await.unwrap();
    messages.push(said(1, &first));
    messages.push(result((1, 1), "shot", vec![image()], false));
    messages.push(result((1, 2), "now", vec![], true));
    for model in ["gemini-3.5-flash", "gemini-2.5-flash", "gemini-2.0-flash"] {
        let moved = service(model, vec![vec![json!({"text": "I see."})]]);
        client(&moved).ask(model, &asking(&messages), &mut |_| {}).await.unwrap();
        moved.assert_valid();
        let first = &moved.requests()[0].body["contents"][1]["parts"][0];
        let expected = model.starts_with("gemini-3").then_some(SKIP_VALIDATION);
        assert_eq!(first.get("thoughtSignature").and_then(Value::as_str), expected, "{model}");
        assert_eq!(first["functionCall"].get("id"), None, "{model}");
    }
}

#[tokio::test]
async fn refusals_are_read() {
    let limited = gemini::error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", Some(7));
    let service = Model::judged(gemini::judge, Box::new(move |_| Some(Reply::json(429, &limited))));
    let failure = client(&service).ask(MODEL, &asking(&[user("Hi")]), &mut |_| {}).await.unwrap_err();
    assert_eq!((failure.class, failure.retry_after), (Class::RateLimited, Some(Duration::from_secs(7))));
    let keyless = Client::builder(Dialect::Gemini, format!("http://{}/v1beta", service.address())).build().unwrap();
    let failure = keyless.ask(MODEL, &asking(&[user("Hi")]), &mut |_| {}).await.unwrap_err();
    assert_eq!(failure.class, Class::Credential);
}

#[test]
fn the_double_refuses_what_the_service_refuses() {
    let ask = json!({"role": "user", "parts": [{"text": "Hi"}]});
    let one = |part: Value| json!({"role": "model", "parts": [part]});
    let mut first = call("f", json!({}));
    first["thoughtSignature"] = gemini::signature(MODEL, &first).into();
    let moved = |to: Value| {
        let mut to = to;
        to["thoughtSignature"] = first["thoughtSignature"].clone();
        to
    };
    let answer = |name: &str| json!({"functionResponse": {"name": name, "response": {"output": "x"}}});
    let results = |parts: Value| json!({"role": "user", "parts": parts});
    let said = |contents: Value| json!({"contents": contents});
    let declared = |declaration: Value| json!({"contents": [ask], "tools": [{"functionDeclarations": [declaration]}]});
    let typed =
        |schema: Value| declared(json!({"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}));
    let table = [
        (json!({}), "contents are required"),
        (json!({"contents": [ask], "model": "m"}), "Unknown name \"model\""),
        (said(json!([{"role": "assistant", "parts": [{"text": "x"}]}])), "valid role"),
        (said(json!([{"role": "user", "parts": []}])), "must not be empty"),
        (said(json!([{"role": "user", "parts": [{"text": ""}]}])), "text parameter"),
        (said(json!([one(json!({"text": "x"})), ask])), "begin with the user"),
        (said(json!([ask, one(json!({"text": "x"}))])), "end with the user"),
        (said(json!([ask, one(call("f", json!({}))), results(json!([answer("f")]))])), "missing a thought_signature"),
        (said(json!([ask, one(first.clone()), ask])), "number of function response parts"),
        (
            said(json!([ask, one(first.clone()), results(json!([answer("f"), answer("f")]))])),
            "number of function response parts",
        ),
        (said(json!([ask, one(first.clone()), results(json!([answer("g")]))])), "does not answer"),
        (said(json!([ask, one(first.clone()), results(json!([{"text": "x"}, answer("f")]))])), "come first"),
        (said(json!([ask, results(json!([answer("f")]))])), "number of function response parts"),
        (
            said(json!([ask, one(moved(call("g", json!({})))), results(json!([answer("g")]))])),
            "Corrupted thought signature",
        ),
        (said(json!([ask, one(moved(json!({"text": "x"}))), ask])), "Corrupted thought signature"),
        (
            said(json!([{"role": "user", "parts": [{"inlineData": {"mimeType": "image/gif", "data": "aGlo"}}]}])),
            "Unsupported MIME type",
        ),
        (
            said(json!([{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "a b"}}]}])),
            "Base64",
        ),
        (declared(json!({"name": "1f"})), "Invalid function name"),
        (declared(json!({"name": "f", "parameters": {"type": "object", "properties": {}}})), "non-empty"),
        (declared(json!({"name": "f", "parametersJsonSchema": {"anyOf": []}})), "describe an object"),
        (
            declared(
                json!({"name": "f", "parametersJsonSchema": {"type": "object", "properties": {"a": {"const": 1}}}}),
            ),
            "Unknown name \"const\"",
        ),
        (typed(json!({"type": "string", "const": "a"})), "Unknown name \"const\""),
        (typed(json!({"type": ["string", "null"]})), "must be specified"),
        (typed(json!({"type": "integer", "enum": ["1"]})), "only allowed for STRING"),
        (typed(json!({"type": "array"})), "missing field"),
        (typed(json!({"anyOf": [{"type": "string"}], "description": "x"})), "only field set"),
        (
            json!({"contents": [ask], "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
            "not declared",
        ),
        (json!({"contents": [ask], "generationConfig": {"temperature": 3}}), "temperature"),
        (
            json!({"contents": [ask], "generationConfig": {"responseJsonSchema": {"type": "object"}}}),
            "response_mime_type",
        ),
        (
            json!({"contents": [ask], "generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "thinkingBudget": 1}}}),
            "together",
        ),
    ];
    for (body, text) in table {
        let fault = gemini::check(&body, MODEL).expect_err(text);
        assert!(fault.contains(text), "{fault} is not {text}");
    }
    let mut dummy = call("f", json!({}));
    dummy["thoughtSignature"] = SKIP_VALIDATION.into();
    for good in [first, dummy] {
        assert_eq!(gemini::check(&said(json!([ask, one(good), results(json!([answer("f")]))])), MODEL), Ok(()));
    }
}

/// Google's own SDK reads what the double streams, and the double takes what it sends.
#[test]
fn the_official_sdk_understands_the_double() {
    let service = service(
        MODEL,
        vec![
            vec![
                json!({"text": "Two calls.", "thought": true}),
                call("weather", json!({"city": "Paris"})),
                call("weather", json!({"city": "London"})),
            ],
            vec![json!({"text": "Sunny in both."})],
        ],
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/servers/python/bin/python3");
    assert!(python.exists(), "{} is missing; run tests/servers/install", python.display());
    let output = std::process::Command::new(python)
        .arg(root.join("tests/servers/gemini_client.py"))
        .args([format!("http://{}", service.address()), MODEL.to_owned()])
        .env_remove("GOOGLE_API_KEY")
        .env_remove("GEMINI_API_KEY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    service.assert_valid();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        told,
        json!([
            {"thoughts": "Two calls.", "text": "", "calls": [["weather", {"city": "Paris"}], ["weather", {"city": "London"}]], "finish": "STOP", "prompt": 40, "model": MODEL},
            {"thoughts": "", "text": "Sunny in both.", "calls": [], "finish": "STOP", "prompt": 40, "model": MODEL},
        ])
    );
}
