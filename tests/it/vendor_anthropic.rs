//! The Anthropic messages dialect against a double that checks as the service does.

use std::{path::Path, sync::Arc};

use agentd::{
    chat::{
        AnswerPart, CallId, Choice, Finish, Message, OutputFormat, Part, ReasoningEffort, Request, ToolResult, Usage,
    },
    provider::{Class, Client, Dialect, Provider, Used},
};
use serde_json::{Value, json};

use crate::{
    model::{Model, Reply},
    talk::{Talk, image, request, tool},
    vendor::anthropic::{Answer, answering, check, error, replying, serve},
};

fn client(model: &Model) -> Client {
    Client::builder(Dialect::AnthropicMessages, model.base_url()).name("anthropic").key("k3y".into()).build().unwrap()
}

fn talk() -> Talk {
    let unions = json!({"oneOf": [
        {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
    ]});
    Talk::new(Request {
        tools: Arc::new([tool("shot", json!({"type": "object"})), tool("read", unions)]),
        temperature: Some(0.2),
        effort: Some(ReasoningEffort::Medium),
        ..request([])
    })
}

fn two_calls() -> Answer {
    Answer::new()
        .thinking("I should look at both.")
        .text("Let me look.")
        .call("shot", &json!({}))
        .call("read", &json!({"path": "a rather long path, so that it comes in pieces"}))
}

/// How many thoughts a request sends back.
fn thoughts(request: &Value) -> usize {
    request["messages"].to_string().matches("\"type\":\"thinking\"").count()
        + request["messages"].to_string().matches("\"type\":\"redacted_thinking\"").count()
}

#[tokio::test]
async fn a_conversation_with_everything_in_it() {
    for name in ["claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-5", "claude-opus-5-5"] {
        let model = serve([
            two_calls(),
            Answer::new().redacted("secret").call("read", &json!({"path": "b"})),
            Answer::new().text("Done."),
            Answer::new().thinking("Again?").text("Yes."),
        ]);
        let client = client(&model);
        let mut talk = talk();
        talk.say(Message::User(vec![Part::text("Look"), image()]));

        let answer = talk.ask(&client, name).await.unwrap();
        let calls: Vec<_> = answer.calls().map(|call| (call.name.as_str(), &*call.arguments, call.complete)).collect();
        let path = r#"{"path":"a rather long path, so that it comes in pieces"}"#;
        assert_eq!(calls, [("shot", "{}", true), ("read", path, true)]);
        assert_eq!((answer.text().as_str(), &answer.finish), ("Let me look.", &Finish::ToolCalls));
        assert_eq!(answer.usage, Some(Usage { input: 60, cached: 30, cache_write: 20, output: 5, reasoning: 0 }));
        assert!(
            matches!(&answer.parts[0], AnswerPart::Reasoning(thought) if &*thought.text == "I should look at both.")
        );

        talk.result(1, "shot", vec![image()], false);
        talk.result(2, "read", vec![Part::text("no such file"), image()], true);
        talk.user("Mind the time.");
        talk.ask(&client, name).await.unwrap();
        talk.result(1, "read", vec![], false);
        assert_eq!(talk.ask(&client, name).await.unwrap().text(), "Done.");
        talk.user("Sure?");
        assert_eq!(talk.ask(&client, name).await.unwrap().text(), "Yes.");
        model.assert_valid();
        let sent: Vec<_> = model.requests().iter().map(|request| thoughts(&request.body)).collect();
        assert_eq!(sent, [0, 1, 2, 2], "{name}");
    }
}

/// Pitfalls 6 and 8: a conversation that moves on in the midst of a turn, and comes back.
#[tokio::test]
async fn a_conversation_that_changes_its_model() {
    let answers = [
        two_calls(),
        Answer::new().thinking("Another mind.").call("read", &json!({"path": "b"})),
        Answer::new().call("read", &json!({"path": "c"})),
        Answer::new().text("Done."),
        Answer::new().thinking("Fresh.").text("Yes."),
    ];
    for [first, second] in [
        ["claude-haiku-4-5", "claude-sonnet-4-5"],
        ["claude-haiku-4-5", "claude-opus-5-5"],
        ["claude-opus-5-5", "claude-haiku-4-5"],
        ["claude-opus-4-6", "claude-haiku-4-5"],
    ] {
        let model = serve(answers.clone());
        let client = client(&model);
        let mut talk = talk();
        talk.user("Look");
        talk.ask(&client, first).await.unwrap();
        talk.result(1, "shot", vec![Part::text("a screen")], false);
        talk.result(2, "read", vec![Part::text("a file")], false);
        talk.ask(&client, second).await.unwrap();
        talk.result(1, "read", vec![Part::text("b")], false);
        talk.ask(&client, second).await.unwrap();
        talk.result(1, "read", vec![Part::text("c")], false);
        assert_eq!(talk.ask(&client, first).await.unwrap().text(), "Done.");
        talk.user("Sure?");
        assert_eq!(talk.ask(&client, second).await.unwrap().text(), "Yes.");
        model.assert_valid();
    }
}

/// Models of 5.5 bind their thoughts to what stood before them; old results may be left out all the same.
#[tokio::test]
async fn a_shortened_conversation_goes_on() {
    let model =
        serve([two_calls(), Answer::new().thinking("Hm.").call("shot", &json!({})), Answer::new().text("Done.")]);
    let client = client(&model);
    let mut talk = talk();
    talk.user("Look");
    talk.ask(&client, "claude-opus-5-5").await.unwrap();
    talk.result(1, "shot", vec![image()], false);
    talk.result(2, "read", vec![Part::text("long")], false);
    talk.ask(&client, "claude-opus-5-5").await.unwrap();
    talk.result(1, "shot", vec![image()], false);
    let elided = ToolResult {
        call: CallId { turn: 1, call: 2 },
        name: "read".into(),
        content: vec![Part::text("[left out]")],
        is_error: false,
    };
    talk.request.messages[3] = Arc::new(Message::Tool(elided));
    assert_eq!(talk.ask(&client, "claude-opus-5-5").await.unwrap().text(), "Done.");
    model.assert_valid();
    assert_eq!(thoughts(&model.requests()[2].body), 2);
}

/// Pitfall 13, pitfall 25, and structured output, at each kind of model.
#[tokio::test]
async fn forced_calls_and_forms() {
    for name in [
        "claude-3-5-haiku-20241022",
        "claude-opus-4-1",
        "claude-haiku-4-5",
        "claude-opus-4-8",
        "claude-opus-5",
        "claude-opus-5-5",
    ] {
        let model = replying([two_calls(), Answer::new().text("{}"), Answer::new().text("{}")].map(|answer| {
            let request = json!({"model": name, "messages": []});
            Reply::stream(answer.stream(&request, 0))
        }));
        let client = client(&model);
        let mut talk = talk();
        talk.request.choice = Choice::Tool("read".into());
        talk.user("Look");
        talk.ask(&client, name).await.unwrap();
        let form = json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]});
        let form = Some(Arc::new(OutputFormat { name: "out".into(), schema: Arc::new(form) }));
        let plain = Request { tools: Arc::new([]), choice: Choice::Auto, output: form, ..talk.request.clone() };
        let alone = Request { messages: plain.messages[..1].to_vec(), ..plain.clone() };
        client.ask(name, &alone, &mut |_| {}).await.unwrap();
        talk.request = Request { effort: None, ..plain };
        talk.result(1, "shot", vec![], false);
        talk.result(2, "read", vec![], true);
        talk.ask(&client, name).await.unwrap();
        model.assert_valid();
        let forced = &model.requests()[0].body["tool_choice"];
        assert_eq!(forced["type"] == "tool", name != "claude-opus-5-5", "{name}: {forced}");
    }
}

#[tokio::test]
async fn what_goes_wrong_has_its_class() {
    let table = [
        (error(401, "authentication_error", "invalid x-api-key"), Class::Credential, "invalid x-api-key"),
        (
            error(403, "permission_error", "Your API key does not have permission to use the specified resource."),
            Class::Credential,
            "permission",
        ),
        (error(402, "billing_error", "Billing error"), Class::Quota, "Billing"),
        (
            error(
                400,
                "invalid_request_error",
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
            ),
            Class::Quota,
            "credit balance",
        ),
        (
            error(429, "rate_limit_error", "Number of request tokens has exceeded your per-minute rate limit")
                .header("retry-after", "7"),
            Class::RateLimited,
            "rate limit",
        ),
        (error(404, "not_found_error", "model: claude-opus-9"), Class::ModelGone, "claude-opus-9"),
        (
            error(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            Class::ContextTooLong,
            "210000",
        ),
        (
            error(413, "request_too_large", "Request exceeds the maximum allowed number of bytes."),
            Class::ContextTooLong,
            "bytes",
        ),
        (error(500, "api_error", "Internal server error"), Class::Transient, "Internal"),
        (error(504, "timeout_error", "Request timed out"), Class::Transient, "timed out"),
        (error(529, "overloaded_error", "Overloaded"), Class::Transient, "Overloaded"),
    ];
    for (reply, class, text) in table {
        let model = replying([reply]);
        let mut talk = talk();
        talk.user("Hi");
        let failure = talk.ask(&client(&model), "claude-haiku-4-5").await.unwrap_err();
        assert_eq!(failure.class, class, "{failure}");
        assert!(failure.message.contains(text), "{failure}");
    }
    // The message, a block, a ping and two words have come.
    let answer = Answer::new().text("one two three").failing_after(5);
    let model = serve([answer]);
    let mut talk = talk();
    talk.user("Hi");
    let failure = talk.ask(&client(&model), "claude-haiku-4-5").await.unwrap_err();
    assert_eq!((failure.class, failure.status, failure.discarded.as_str()), (Class::Transient, Some(200), "one two "));
    // The message told what was read, and two words are about two tokens.
    let tokens = Usage { input: 60, cached: 30, cache_write: 20, output: 2, reasoning: 0 };
    assert_eq!(failure.used, Some(Used { tokens, estimated: true }));
    model.assert_valid();
}

#[tokio::test]
async fn keys_go_where_the_server_wants_them() {
    let model = serve([Answer::new().text("Hello")]);
    let mut talk = talk();
    talk.user("Hi");
    talk.ask(&client(&model), "claude-haiku-4-5").await.unwrap();
    let sent = &model.requests()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/v1/messages"));
    assert_eq!((sent.header("x-api-key"), sent.header("authorization")), (Some("k3y"), None));
}

#[test]
fn the_double_refuses_what_the_service_refuses() {
    let headers = |more: &[(&str, &str)]| -> Vec<(String, String)> {
        let all = [("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
        all.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let ask = json!({"role": "user", "content": "Hi"});
    let uses = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let calls = json!({"role": "assistant", "content": [uses("a"), uses("b")]});
    let answers = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": "x"});
    let results = json!({"role": "user", "content": [answers("a"), answers("b")]});
    let text = |text: &str| json!({"type": "text", "text": text});
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let tool = json!({"name": "f", "input_schema": {"type": "object"}});
    let with = |messages: Value| json!({"model": "claude-haiku-4-5", "max_tokens": 3000, "tools": [tool], "messages": messages});
    let but = |member: &str, value: Value| {
        let mut body = with(json!([ask]));
        body[member] = value;
        body
    };
    let on = |model: &str, member: &str, value: Value| {
        let mut body = but(member, value);
        body["model"] = json!(model);
        body
    };
    let user = |content: Value| with(json!([ask, calls, {"role": "user", "content": content}]));
    let budget = json!({"type": "enabled", "budget_tokens": 2000});
    let thinking = |messages: Value| {
        let mut body = with(messages);
        body["thinking"] = budget.clone();
        body
    };
    let schema = |schema: Value| but("tools", json!([{"name": "f", "input_schema": schema}]));
    let signed = Answer::new().thinking("Hmm.").call("f", &json!({})).message(&with(json!([ask])), 0);
    let thoughtful = |change: &dyn Fn(&mut Value)| {
        let mut content = signed["content"].clone();
        change(&mut content);
        let id = content[1]["id"].as_str().unwrap_or_default().to_owned();
        thinking(json!([ask, {"role": "assistant", "content": content}, {"role": "user", "content": [answers(&id)]}]))
    };
    let table = [
        (json!([]), "no JSON object"),
        (but("max_tokens", Value::Null), "max_tokens"),
        (on("claude-opus-4-1", "max_tokens", json!(64_000)), "32000"),
        (but("top_secret", json!(1)), "Extra inputs"),
        (with(json!([])), "at least one message"),
        (with(json!([{"role": "assistant", "content": "x"}])), "first message"),
        (with(json!([ask, {"role": "assistant", "content": "x"}])), "prefill"),
        (with(json!([ask, ask])), "alternate"),
        (with(json!([{"role": "user", "content": ""}])), "non-empty content"),
        (with(json!([{"role": "user", "content": [text("")]}])), "must be non-empty"),
        (with(json!([{"role": "user", "content": [text(" \n")]}])), "non-whitespace"),
        (with(json!([ask, {"role": "system", "content": "x"}, ask])), "unknown \"system\""),
        (with(json!([ask, calls, ask])), "without `tool_result` blocks immediately after: a, b"),
        (user(json!([answers("a")])), "immediately after: b"),
        (user(json!([text("first"), answers("a"), answers("b")])), "must come first"),
        (user(json!([answers("a"), answers("b"), answers("b")])), "unexpected `tool_use_id`"),
        (with(json!([{"role": "user", "content": [answers("a")]}])), "unexpected `tool_use_id`"),
        (
            with(
                json!([ask, {"role": "assistant", "content": [uses("a.b")]}, {"role": "user", "content": [answers("a.b")]}]),
            ),
            "tool_use.id",
        ),
        (with(json!([ask, calls, results, calls, results])), "must be unique"),
        (
            user(
                json!([{"type": "tool_result", "tool_use_id": "a", "is_error": true, "content": [{"type": "image"}]}, answers("b")]),
            ),
            "\"is_error\" is true",
        ),
        (
            user(
                json!([answers("a"), answers("b"), {"type": "image", "source": {"type": "base64", "media_type": "image/tiff", "data": "aGk="}}]),
            ),
            "media_type",
        ),
        (but("tools", json!([{"name": "a.b", "input_schema": {"type": "object"}}])), "should match pattern"),
        (but("tools", json!([tool, tool])), "must be unique"),
        (schema(json!({"properties": {}})), "type: Field required"),
        (schema(json!({"type": "object", "anyOf": [{}]})), "at the top level"),
        (schema(json!({"type": "object", "properties": {"a": {"type": "word"}}})), "draft 2020-12"),
        (but("system", json!([text("")])), "must be non-empty"),
        (but("system", json!(["a", "b", "c", "d", "e"].map(marked))), "Found 5"),
        (but("tool_choice", json!({"type": "tool", "name": "g"})), "not found"),
        (on("claude-opus-5-5", "tool_choice", json!({"type": "tool", "name": "f"})), "not supported for this model"),
        (on("claude-opus-5", "tool_choice", json!({"type": "any"})), "forces tool use"),
        (on("claude-opus-5-5", "thinking", json!({"type": "disabled"})), "thinking.type.disabled"),
        (on("claude-opus-4-8", "thinking", budget.clone()), "thinking.type.enabled"),
        (but("thinking", json!({"type": "adaptive"})), "not supported on this model"),
        (but("thinking", json!({"type": "enabled", "budget_tokens": 1000})), "1024"),
        (but("thinking", json!({"type": "enabled", "budget_tokens": 3000})), "must be greater"),
        (on("claude-opus-5-5", "thinking", json!({"type": "adaptive", "block_binding": {}})), "block_binding"),
        (but("temperature", json!(1.5)), "range"),
        (on("claude-opus-5-5", "temperature", json!(0.5)), "deprecated"),
        (but("output_config", json!({"effort": "huge"})), "effort"),
        (
            but("output_config", json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})),
            "additionalProperties",
        ),
        (thinking(json!([ask, calls, results])), "Expected `thinking`"),
        (thoughtful(&|content| content[0]["thinking"] = json!("Hmm!")), "Invalid `signature`"),
        (thoughtful(&|content| content[0]["signature"] = json!("c2ln")), "Invalid `signature`"),
        (thoughtful(&|content| content.as_array_mut().unwrap().swap(0, 1)), "cannot be `thinking`"),
    ];
    for (body, text) in table {
        let found = check(&body, &headers(&[])).expect_err(&body.to_string());
        assert!(found.contains(text), "{body}: {found:?}");
    }
    assert!(check(&with(json!([ask])), &[]).unwrap_err().contains("anthropic-version"));
    let golden = serde_json::from_str(include_str!("../golden/anthropic/request.json")).unwrap();
    for good in [with(json!([ask, calls, results])), thoughtful(&|_| {}), golden] {
        assert_eq!(check(&good, &headers(&[])), Ok(()), "{good}");
    }

    // A thought of another model, and one whose past was altered.
    let body = |model: &str| on(model, "messages", json!([ask]));
    let signed = Answer::new().thinking("Hmm.").text("Hello").message(&body("claude-opus-5-5"), 0)["content"].clone();
    let later = |model: &str, first: &str| {
        on(
            model,
            "messages",
            json!([{"role": "user", "content": first}, {"role": "assistant", "content": signed}, ask]),
        )
    };
    assert_eq!(check(&later("claude-opus-5-5", "Hi"), &headers(&[])), Ok(()));
    assert!(check(&later("claude-opus-5", "Hi"), &headers(&[])).unwrap_err().contains("Invalid `signature`"));
    assert!(check(&later("claude-opus-5-5", "Ho"), &headers(&[])).unwrap_err().contains("a different conversation"));
    let mut dropping = later("claude-opus-5-5", "Ho");
    dropping["thinking"] = json!({"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}});
    let beta = headers(&[("anthropic-beta", "thinking-binding-controls-2026-08-01")]);
    assert_eq!(check(&dropping, &beta), Ok(()));
}

/// The vendor's own library understands the double, and the double takes what the library sends.
#[test]
fn the_double_speaks_as_the_official_library_expects() {
    let thinks = Answer::new().thinking("Which tool? This one.").text("Let me see.");
    let first = thinks.call("weather", &json!({"city": "Graz, Austria"}));
    let mut answers = [first, Answer::new().text("It is sunny."), Answer::new().text("Hello")].into_iter();
    let model = answering(move |request| answers.next().map(|answer| answer.reply(request)));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/servers/python/bin/python3");
    assert!(python.exists(), "{} is missing; run tests/servers/install", python.display());
    let output = std::process::Command::new(python)
        .arg(root.join("tests/servers/anthropic_client.py"))
        .arg(format!("http://{}", model.address()))
        .env_remove("ANTHROPIC_AUTH_TOKEN")
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let told: Value = serde_json::from_str(told.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("{told}{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(told["blocks"], json!(["thinking", "text", "tool_use"]));
    assert_eq!(told["input"], json!({"city": "Graz, Austria"}));
    assert_eq!((&told["stop"], &told["usage"]), (&json!("tool_use"), &json!([10, 30, 5])));
    assert_eq!((&told["second"], &told["whole"]), (&json!("It is sunny."), &json!("Hello")));
    assert_eq!(told["refused"], "invalid_request_error");
    let kinds: Vec<_> = told["kinds"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for kind in ["message_start", "thinking", "signature", "text", "input_json", "content_block_stop", "message_stop"] {
        assert!(kinds.contains(&kind), "{kind} is missing in {kinds:?}");
    }
    assert_eq!(model.violations(), ["request 3: messages: first message must use the \"user\" role"]);
}
