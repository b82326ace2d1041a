//! The dialect `openai-responses` against the double of its service, and the double against the vendor's own client.

use std::{path::Path, sync::Arc};

use agentd::{
    chat::{Finish, Message, Part, ReasoningEffort, Request, Usage},
    provider::{Class, Client, Dialect, Provider},
};
use serde_json::{Value, json};

use crate::{
    model::{Model, Reply},
    talk::{image, request, result, said, tool, user},
    vendor::responses::{self, check},
};

/// A client under this name, with a key that is the name's own.
fn client(model: &Model, name: &str) -> Client {
    with_key(model, name, name)
}

fn with_key(model: &Model, name: &str, key: &str) -> Client {
    Client::builder(Dialect::OpenAiResponses, model.base_url()).name(name).key(key.into()).build().unwrap()
}

fn asking(messages: Vec<Message>) -> Request {
    Request {
        tools: Arc::new([tool("shot", json!({"type": "object", "properties": {"screen": {"type": "integer"}}}))]),
        output_tokens_max: Some(500),
        effort: Some(ReasoningEffort::Low),
        cache_key: Some("run-7".into()),
        ..request(messages)
    }
}

fn two_calls() -> responses::Answer {
    responses::Answer::default()
        .thought("Two screens, two pictures.")
        .call("shot", &json!({"screen": 1}))
        .call("shot", &json!({"screen": 2}))
}

/// A conversation with everything in it: thoughts, calls side by side, a picture, an error. Then it moves to another
/// provider, which must see none of what the first one encrypted.
#[tokio::test]
async fn a_conversation_is_valid_at_every_turn_and_at_another_provider() {
    let answers = |request: &crate::model::Request| {
        let items = request.body["input"].as_array().unwrap();
        match items.iter().filter(|item| item["type"] == "function_call_output").count() {
            0 => two_calls(),
            2 => responses::Answer::default().thought("One failed.").text("I try again.").call("shot", &json!({})),
            _ => responses::Answer::default().thought("Done.").text("All is well."),
        }
    };
    let openai = responses::serve(answers);
    let mut messages = vec![user("Look")];
    let ask = async |messages: &[Message]| {
        client(&openai, "openai").ask("gpt", &asking(messages.to_vec()), &mut |_| {}).await.unwrap()
    };
    let first = ask(&messages).await;
    assert_eq!((first.calls().count(), first.finish.clone()), (2, Finish::ToolCalls));
    assert_eq!(first.usage, Some(Usage { input: 100, cached: 40, cache_write: 0, output: 20, reasoning: 5 }));
    messages.extend([
        said(1, &first),
        result((1, 1), "shot", vec![Part::text("a screen"), image()], false),
        result((1, 2), "shot", vec![Part::text("no such screen")], true),
    ]);
    let second = ask(&messages).await;
    messages.extend([said(2, &second), result((2, 1), "shot", vec![image()], false), user("So?")]);
    let third = ask(&messages).await;
    assert_eq!((third.text().as_str(), third.finish.clone()), ("All is well.", Finish::Stop));
    messages.extend([said(3, &third), user("Thanks")]);
    ask(&messages).await;
    openai.assert_valid();
    let sent = &openai.requests()[3];
    let thoughts = sent.body["input"].as_array().unwrap().iter().filter(|item| item["type"] == "reasoning").count();
    assert_eq!((thoughts, sent.path.as_str()), (3, "/v1/responses"));

    let other = responses::serve(|_| responses::Answer::default().text("Hello"));
    client(&other, "other").ask("gpt", &asking(messages.clone()), &mut |_| {}).await.unwrap();
    other.assert_valid();
    // The same under the first one's name, with another key: the double knows that it did not issue this.
    let failure = with_key(&other, "openai", "other").ask("gpt", &asking(messages), &mut |_| {}).await.unwrap_err();
    assert_eq!(failure.class, Class::Transient, "{failure}");
    assert!(failure.message.contains("invalid_encrypted_content"), "{failure}");
}

#[tokio::test]
async fn answers_come_whole_in_any_form() {
    let answer =
        || responses::Answer::default().thought("Hmm.").text("Let me see.").call("shot", &json!({"screen": 1}));
    let expected = move |request: &Value| answer().events("openai", request);
    let mut told = Vec::new();
    for step in [0, 1, 7, 1000] {
        let model = responses::serve_raw(move |request| Reply::stream(expected(&request.body).concat()).split(step));
        let answer = client(&model, "openai").ask("gpt", &asking(vec![user("Look")]), &mut |_| {}).await.unwrap();
        told.push(answer);
    }
    let model = responses::serve_raw(move |request| Reply::json(200, &answer().document("openai", &request.body)));
    told.push(client(&model, "openai").ask("gpt", &asking(vec![user("Look")]), &mut |_| {}).await.unwrap());
    assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
    assert_eq!(told[0].calls().next().unwrap().arguments.as_ref(), "{\"screen\":1}");

    let cut = responses::Answer::default().call("shot", &json!({"screen": 1})).incomplete("max_output_tokens");
    let model = responses::serve(move |_| cut.clone());
    let answer = client(&model, "openai").ask("gpt", &asking(vec![user("Look")]), &mut |_| {}).await.unwrap();
    assert_eq!((answer.finish.clone(), answer.calls().next().unwrap().complete), (Finish::Length, false));
}

#[tokio::test]
async fn a_failure_behind_a_good_beginning_is_one() {
    for (code, class) in [
        ("insufficient_quota", Class::Quota),
        ("rate_limit_exceeded", Class::RateLimited),
        ("server_error", Class::Transient),
    ] {
        let model = responses::serve_raw(move |request| {
            Reply::stream(responses::failing(&request.body, code, "Sorry.").concat())
        });
        let failure = client(&model, "openai").ask("gpt", &asking(vec![user("Look")]), &mut |_| {}).await.unwrap_err();
        assert_eq!((failure.class, failure.status), (class, Some(200)), "{failure}");
    }
    let long = || two_calls().text("and a good many words");
    let model = responses::serve_raw(move |request| {
        Reply::stream(long().events("openai", &request.body).concat()).cut_after(5000)
    });
    let failure = client(&model, "openai").ask("gpt", &asking(vec![user("Look")]), &mut |_| {}).await.unwrap_err();
    assert_eq!(failure.class, Class::MalformedAnswer, "{failure}");
}

#[test]
fn the_double_refuses_what_the_service_refuses() {
    let thought = || {
        let body = json!({"model": "m", "input": "Hi"});
        responses::Answer::default().thought("Hmm.").document("openai", &body)["output"][0].clone()
    };
    let ask = || json!({"type": "message", "role": "user", "content": "Hi"});
    let call = || json!({"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"});
    let output = || json!({"type": "function_call_output", "call_id": "call_1", "output": "x"});
    let with = |input: Value| json!({"model": "m", "input": input, "store": false});
    let and = |key: &str, value: Value| {
        let mut body = with(json!([ask()]));
        body[key] = value;
        body
    };
    let changed = |mut item: Value, key: &str, value: Value| {
        item[key] = value;
        item
    };
    let function = |parameters: Value, strict: bool| json!([{"type": "function", "name": "f", "parameters": parameters, "strict": strict}]);
    let open = || json!({"type": "object", "properties": {"x": {"type": "string"}}});
    let table = [
        (json!([]), "no object"),
        (json!({"input": "Hi"}), "'model'"),
        (json!({"model": "m"}), "'input'"),
        (with(json!([])), "must not be empty"),
        (and("messages", json!([])), "Unknown parameter: 'messages'"),
        (and("max_output_tokens", json!(1)), ">= 16"),
        (and("prompt_cache_key", json!("x".repeat(65))), "maximum length 64"),
        (and("include", json!(["everything"])), "'include'"),
        (and("reasoning", json!({"effort": "huge"})), "reasoning.effort"),
        (and("previous_response_id", json!("resp_1")), "nothing is stored"),
        (and("tool_choice", json!({"type": "function", "name": "f"})), "not found in 'tools'"),
        (and("tools", json!([{"type": "function", "function": {"name": "f"}}])), "Unknown parameter: 'function'"),
        (
            and("tools", json!([{"type": "function", "name": "a.b", "parameters": open(), "strict": false}])),
            "does not match",
        ),
        (and("tools", function(json!({"type": "object"}), false)), "missing properties"),
        (and("tools", function(json!({"anyOf": [open()]}), false)), "type: \"object\""),
        (and("tools", function(json!({"type": "object", "properties": {}, "oneOf": []}), false)), "top level"),
        (and("tools", function(open(), true)), "additionalProperties"),
        (with(json!([{"role": "robot", "content": "x"}])), "role"),
        (with(json!([{"role": "user", "content": " "}])), "must not be empty"),
        (with(json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}])), "Invalid value: 'text'"),
        (
            with(
                json!([{"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,??"}]}]),
            ),
            "image_url",
        ),
        (with(json!([{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}])), "output_text"),
        (with(json!([changed(ask(), "id", json!("x_1"))])), "begins with 'msg'"),
        (with(json!([ask(), call()])), "No tool output found for function call call_1"),
        (with(json!([ask(), call(), ask(), output()])), "No tool output found"),
        (with(json!([ask(), output()])), "No tool call found"),
        (with(json!([ask(), call(), output(), output()])), "No tool call found"),
        (with(json!([ask(), call(), call(), output()])), "Duplicate"),
        (with(json!([ask(), changed(call(), "arguments", json!("{")), output()])), "no JSON object"),
        (with(json!([ask(), changed(call(), "id", json!("call_1")), output()])), "begins with 'fc'"),
        (
            with(json!([ask(), changed(call(), "id", json!("fc_1_after_rs_9")), output()])),
            "without its required 'reasoning' item",
        ),
        (with(json!([ask(), call(), changed(output(), "is_error", json!(true))])), "Unknown parameter: 'is_error'"),
        (with(json!([ask(), thought()])), "without its required following item"),
        (with(json!([ask(), thought(), ask()])), "without its required following item"),
        (with(json!([ask(), changed(thought(), "encrypted_content", Value::Null), call(), output()])), "not persisted"),
        (
            with(json!([ask(), changed(thought(), "encrypted_content", json!("gAAAA0")), call(), output()])),
            "invalid_encrypted_content",
        ),
        (with(json!([ask(), changed(thought(), "summary", json!([])), call(), output()])), "invalid_encrypted_content"),
        (with(json!([ask(), changed(thought(), "summary", Value::Null), call(), output()])), "summary"),
        (with(json!([{"type": "item_reference", "id": "rs_1"}])), "item_reference"),
    ];
    for (body, text) in table {
        let refused = check(&body, "openai").expect_err(&body.to_string());
        assert!(refused.contains(text), "{body}: {refused}");
    }
    let good = with(json!([ask(), thought(), call(), output()]));
    assert_eq!(check(&good, "openai"), Ok(()));
    assert!(check(&good, "other").unwrap_err().contains("invalid_encrypted_content"));
    assert_eq!(check(&and("tools", function(open(), false)), "openai"), Ok(()));
}

/// The strict types of another client read every event of the double.
#[test]
fn the_double_writes_what_strict_types_read() {
    let body = json!({"model": "m", "input": "Hi"});
    for answer in
        [two_calls().text("Let me see."), responses::Answer::default().text("x").incomplete("max_output_tokens")]
    {
        for event in answer.events("openai", &body) {
            let text = String::from_utf8(event).unwrap();
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            serde_json::from_str::<async_openai::types::responses::ResponseStreamEvent>(data)
                .unwrap_or_else(|error| panic!("{error}: {data}"));
        }
        let document = answer.document("openai", &body);
        serde_json::from_value::<async_openai::types::responses::Response>(document).unwrap();
    }
}

/// The vendor's own client holds a conversation with the double: it streams a call, and gives the result.
#[test]
fn the_vendors_client_speaks_with_the_double() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/servers/python/bin/python3");
    assert!(python.exists(), "{} is missing; run tests/servers/install", python.display());
    let model = responses::serve(|request| {
        let items = request.body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
        match items.iter().any(|item| item["type"] == "function_call_output") {
            false => {
                responses::Answer::default().thought("Weather, then.").call("get_weather", &json!({"city": "Paris"}))
            }
            true => responses::Answer::default().text("It is 14 degrees."),
        }
    });
    let output = std::process::Command::new(python)
        .arg(root.join("tests/servers/openai_responses.py"))
        .arg(model.base_url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "get_weather {\"city\":\"Paris\"}\nIt is 14 degrees.\n");
    model.assert_valid();
    assert_eq!(model.count(), 2);
}
