//! The OpenAI chat client against a server that misbehaves in every way that servers do.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentd::{
    chat::{Answer, AnswerPart, CallId, Choice, Finish, Message, Part, Request, ToolCall, Usage, WrittenCall},
    provider::{Class, Client, Delta, Dialect, Failure, Limits, Patience, Provider, Quirks, Served, Timeouts, Used},
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::{
    model::{Gate, Model, Reply, nobody, violations},
    talk::{self, image, tool, user},
};

/// Short enough for tests that wait for it.
const SOON: Duration = Duration::from_millis(100);

/// Beyond what any test takes on a slow machine.
const NEVER: Duration = Duration::from_secs(300);

const PATIENT: Timeouts = Timeouts { connect: NEVER, first_token: NEVER, idle: NEVER, total: NEVER };

fn client(model: &Model, timeouts: Timeouts) -> Client {
    Client::builder(Dialect::OpenAiChat, model.base_url()).name("acme").timeouts(timeouts).build().unwrap()
}

fn request() -> Request {
    talk::request([user("Hi")])
}

async fn ask(client: &Client) -> Result<Answer, Failure> {
    client.ask("m1", &request(), &mut |_| {}).await
}

/// What becomes of one reply.
async fn answered(reply: Reply) -> Result<Answer, Failure> {
    let model = Model::replying([reply]);
    let answer = ask(&client(&model, PATIENT)).await;
    assert_eq!(model.count(), 1, "a request is sent once, whatever comes");
    model.assert_valid();
    answer
}

#[track_caller]
fn is(failure: Result<Answer, Failure>, class: Class, text: &str) -> Failure {
    let failure = failure.expect_err("no answer may come of this");
    assert_eq!(failure.class, class, "{failure}");
    assert!(failure.message.contains(text), "{failure}");
    failure
}

fn call(id: &str, name: &str, arguments: &str) -> AnswerPart {
    AnswerPart::Call(WrittenCall {
        provider_id: Some(id.into()),
        name: name.into(),
        arguments: arguments.into(),
        complete: true,
        opaque: None,
    })
}

#[tokio::test]
async fn a_good_answer() {
    let reply = || {
        Reply::text("Let me see.")
            .and_call("files__read", json!({"path": "a rather long path, so that it comes in pieces"}))
            .and_call("now", json!({}))
            .usage(100, 20)
    };
    let expected = Answer {
        parts: vec![
            AnswerPart::Text("Let me see.".into()),
            call("call_0x0", "files__read", r#"{"path":"a rather long path, so that it comes in pieces"}"#),
            call("call_0x1", "now", "{}"),
        ],
        finish: Finish::ToolCalls,
        usage: Some(Usage { input: 100, output: 20, ..Usage::default() }),
        model: Some("m1".into()),
        id: Some("chatcmpl-0".into()),
    };
    for reply in [reply(), reply().split(1), reply().split(1000), reply().until_close(), reply().no_done()] {
        assert_eq!(answered(reply).await.as_ref(), Ok(&expected));
    }
}

#[tokio::test]
async fn what_is_sent() {
    let model = Model::replying([Reply::text("Hello"), Reply::text("Hello")]);
    let client = Client::builder(Dialect::OpenAiChat, model.base_url() + "/?api-version=7")
        .key("s3cret-key".into())
        .build()
        .unwrap();
    ask(&client).await.unwrap();
    let sent = &model.requests()[0];
    assert_eq!((sent.method.as_str(), sent.path.as_str()), ("POST", "/v1/chat/completions?api-version=7"));
    assert_eq!(sent.header("authorization"), Some("Bearer s3cret-key"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert!(sent.header("accept-encoding").unwrap().contains("gzip"));
    assert!(sent.header("user-agent").unwrap().starts_with("agentd/"));
    assert_eq!(
        sent.body,
        json!({
            "model": "m1",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
    assert!(!format!("{client:?}").contains("s3cret"), "{client:?}");

    ask(&self::client(&model, PATIENT)).await.unwrap();
    assert_eq!(model.requests()[1].header("authorization"), None);
}

/// A conversation with everything in it, as the real service would check it.
#[tokio::test]
async fn every_conversation_is_valid() {
    let call = |call, name: &str| {
        Part::Call(ToolCall { id: CallId { turn: 1, call }, name: name.into(), arguments: "{}".into(), opaque: None })
    };
    let result = |call, name: &str, content, is_error| talk::result((1, call), name, content, is_error);
    let messages = [
        user("Look"),
        user(""),
        Message::Assistant(vec![call(1, "shot"), call(2, "shot")]),
        result(1, "shot", vec![Part::text(""), image()], true),
        result(2, "shot", vec![], false),
        Message::Assistant(vec![Part::text("[call of \"shot\" with \"{\\\"a\"]")]),
        user("That call was not executed."),
        Message::Assistant(vec![Part::text("I see."), call(3, "shot")]),
        result(3, "shot", vec![Part::text("a screen")], false),
    ];
    let request = Request {
        messages: messages.into_iter().map(Arc::new).collect(),
        tools: Arc::new([tool("shot", json!({"type": "object"}))]),
        choice: Choice::Tool("shot".into()),
        temperature: Some(0.0),
        output_tokens_max: Some(100),
        effort: None,
        cache_key: None,
        ..request()
    };
    let model = Model::replying([Reply::text("Hello")]);
    client(&model, PATIENT).ask("m1", &request, &mut |_| {}).await.unwrap();
    model.assert_valid();
}

#[test]
fn the_double_refuses_what_the_service_refuses() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let ask = json!({"role": "user", "content": "Hi"});
    let calls = json!({"role": "assistant", "tool_calls": [call]});
    let result = json!({"role": "tool", "tool_call_id": "a", "content": "x"});
    let with = |messages: Value| json!({"model": "m", "messages": messages});
    let table = [
        (json!([]), "no JSON object"),
        (json!({"messages": [ask]}), "model is missing"),
        (with(json!([])), "must not be empty"),
        (with(json!([{"role": "user", "content": ""}])), "content must not be empty"),
        (with(json!([{"role": "robot", "content": "x"}])), "unknown role"),
        (with(json!([ask, calls])), "have no result"),
        (with(json!([ask, calls, ask])), "have no result"),
        (with(json!([ask, calls, result, result])), "no open call"),
        (with(json!([ask, result])), "no open call"),
        (with(json!([ask, {"role": "assistant", "content": ""}, ask])), "neither content nor tool_calls"),
        (with(json!([ask, {"role": "assistant", "tool_calls": [call, call]}, result])), "not unique"),
        (with(json!([ask, {"role": "assistant", "content": "x"}])), "last word"),
        (
            with(
                json!([ask, {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}]}, result]),
            ),
            "no JSON object",
        ),
        (json!({"model": "m", "messages": [ask], "tools": []}), "tools must not be empty"),
        (
            json!({"model": "m", "messages": [ask], "tools": [{"type": "function", "function": {"name": "a.b", "parameters": {"type": "object", "properties": {}}}}]}),
            "does not match",
        ),
        (
            json!({"model": "m", "messages": [ask], "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}),
            "without properties",
        ),
        (
            json!({"model": "m", "messages": [ask], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            "not offered",
        ),
    ];
    for (body, text) in table {
        let found = violations(&body).join("; ");
        assert!(found.contains(text), "{body}: {found:?}");
    }
    assert_eq!(violations(&with(json!([ask, calls, result]))), Vec::<String>::new());
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let model = Model::answering(|_| Reply::text("Hello"));
    let client = client(&model, PATIENT);
    for _ in 0..5 {
        ask(&client).await.unwrap();
    }
    assert_eq!((model.count(), model.connections()), (5, 1));
}

#[tokio::test]
async fn a_document_instead_of_a_stream() {
    let body =
        json!({"id": "x", "model": "m1", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]});
    let answer = answered(Reply::json(200, &body)).await.unwrap();
    assert_eq!((answer.text(), answer.finish), ("Hello".to_owned(), Finish::Stop));
    let answer = answered(Reply::json(200, &body).header("content-type", "text/event-stream").split(7)).await.unwrap();
    assert_eq!(answer.text(), "Hello");
    is(
        answered(Reply::json(200, &json!({"error": {"message": "no such model", "code": "model_not_found"}}))).await,
        Class::ModelGone,
        "no such model",
    );
    is(
        answered(Reply::body(200, "text/html", "<html><title>Login</title></html>")).await,
        Class::MalformedAnswer,
        "HTML",
    );
    is(answered(Reply::body(200, "application/json", "")).await, Class::MalformedAnswer, "without an answer");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_none() {
    let long = || Reply::text("one two three four").and_call("f", json!({"x": 1}));
    for (name, reply) in [
        ("closed between events", long().until_close().cut_after_events(4)),
        ("closed within an event", long().until_close().cut_after(700)),
        ("closed within a chunk", long().cut_after(700)),
        ("closed between chunks", long().cut_after_events(4)),
        ("less than its length", long().claiming(100_000).cut_after(700)),
        ("more than its length", long().claiming(700)),
    ] {
        let failure = is(answered(reply).await, Class::MalformedAnswer, "broke off");
        assert!(failure.discarded.starts_with("one "), "{name}: {failure:?}");
        assert_eq!(failure.status, Some(200), "{name}");
    }
    // What a reset connection still delivers, the head included, is up to the kernel.
    let failure = answered(long().reset_after_events(4)).await.unwrap_err();
    assert!(matches!(failure.class, Class::MalformedAnswer | Class::Transient), "{failure}");
}

#[tokio::test]
async fn what_an_attempt_without_an_answer_has_used() {
    let event = |text: &str, written: u64| {
        let usage = json!({"prompt_tokens": 70, "completion_tokens": written});
        let choices = json!([{"index": 0, "delta": {"role": "assistant", "content": text}}]);
        format!("data: {}\n\n", json!({"choices": choices, "usage": usage}))
    };
    let document = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}});
    let error = json!({"error": {"message": "overloaded", "type": "server_error"}});
    let thinks = Reply::answer().and_reasoning("what shall I say to that").and_text("one two");
    let tokens = |input, output| Some(Usage { input, output, ..Usage::default() });
    let table = [
        ("refused", Reply::error(429, "slow down", "rate_limited"), None),
        ("refused in a good answer", Reply::json(200, &error), None),
        ("closed without a head", Reply::closed(), tokens(0, 0)),
        ("cut behind a word", Reply::text("one two three").cut_after_events(2), tokens(0, 1)),
        ("cut behind a thought", thinks.cut_after_events(2), tokens(0, 1)),
        ("told less than has come", Reply::stream(event("one two three", 0)), tokens(70, 4)),
        ("told more than has come", Reply::stream(event("one", 0) + &event(" two", 9)), tokens(70, 9)),
        ("no answer in it", Reply::json(200, &document), tokens(3, 2)),
    ];
    for (name, reply, tokens) in table {
        let failure = answered(reply).await.unwrap_err();
        assert_eq!(failure.used, tokens.map(|tokens| Used { tokens, estimated: true }), "{name}: {failure:?}");
    }
    let model = Model::replying([Reply::silence()]);
    let failure = ask(&client(&model, Timeouts { first_token: SOON, ..PATIENT })).await.unwrap_err();
    assert_eq!(failure.used, tokens(0, 0).map(|tokens| Used { tokens, estimated: true }), "it may have been read");
    let nowhere = Client::builder(Dialect::OpenAiChat, nobody()).build().unwrap();
    assert_eq!(ask(&nowhere).await.unwrap_err().used, None, "nothing was sent");
}

#[tokio::test]
async fn a_finished_answer_whose_stream_does_not_end_is_one() {
    // The role, the word and the reason have come; the tokens and the end mark have not.
    for reply in [Reply::text("Hello").stall_after_events(3), Reply::text("Hello").cut_after_events(3)] {
        let model = Model::replying([reply]);
        let answer = ask(&client(&model, Timeouts { idle: SOON, ..PATIENT })).await.unwrap();
        assert_eq!((answer.text(), answer.usage), ("Hello".to_owned(), None));
    }
}

#[tokio::test]
async fn every_wait_has_its_end() {
    let table = [
        ("no head", Reply::silence(), Timeouts { first_token: SOON, ..PATIENT }, "first-token timeout", ""),
        (
            "a head and nothing more",
            Reply::text("Hello").stall_after(0),
            Timeouts { first_token: SOON, ..PATIENT },
            "first-token timeout",
            "",
        ),
        (
            "only a role",
            Reply::text("Hello").stall_after_events(1),
            Timeouts { first_token: SOON, ..PATIENT },
            "first-token timeout",
            "",
        ),
        (
            "silence between events",
            Reply::text("one two").stall_after_events(2),
            Timeouts { idle: SOON, ..PATIENT },
            "idle timeout",
            "one ",
        ),
        (
            "silence within an event",
            Reply::text("one two").stall_after(600),
            Timeouts { idle: SOON, ..PATIENT },
            "idle timeout",
            "one ",
        ),
        (
            "silence within a document",
            Reply::body(200, "application/json", "{\"choices\": [").claiming(1000).stall_after(10),
            Timeouts { idle: SOON, ..PATIENT },
            "idle timeout",
            "",
        ),
        (
            "a byte now and then",
            Reply::text("Hello").split(1).pace(Duration::from_millis(5)),
            Timeouts { total: 3 * SOON, ..PATIENT },
            "total timeout",
            "",
        ),
        (
            "comments for ever",
            Reply::stream(": wait\n\n".repeat(10_000)).split(8).pace(Duration::from_millis(5)),
            Timeouts { first_token: SOON, ..PATIENT },
            "first-token timeout",
            "",
        ),
    ];
    for (name, reply, timeouts, text, discarded) in table {
        let model = Model::replying([reply]);
        let failure = is(ask(&client(&model, timeouts)).await, Class::Transient, text);
        assert_eq!(failure.discarded, discarded, "{name}");
    }
}

#[tokio::test]
async fn other_timeouts_than_its_own_hold_for_one_request() {
    let model = Model::replying([Reply::silence(), Reply::text("Hi.").delay(2 * SOON)]);
    let client = client(&model, Timeouts { first_token: SOON, ..PATIENT });
    let wanted = Patience { first_token: Some(SOON / 2), ..Patience::default() };
    let asked = client.ask_within("m1", &request(), wanted, &mut |_| {}).await;
    is(asked, Class::Transient, &format!("nothing of an answer within {:?} (first-token timeout)", SOON / 2));
    let wanted = Patience { first_token: Some(NEVER), ..Patience::default() };
    assert_eq!(client.ask_within("m1", &request(), wanted, &mut |_| {}).await.unwrap().text(), "Hi.");
}

#[tokio::test]
async fn signs_of_life_keep_an_answer_alive() {
    // Longer in all than the idle timeout, and never silent for nearly so long.
    let slow = Reply::text(&"word ".repeat(50)).pace(Duration::from_millis(50));
    let model = Model::replying([slow]);
    let timeouts = Timeouts { idle: Duration::from_millis(1500), ..PATIENT };
    assert_eq!(ask(&client(&model, timeouts)).await.unwrap().text(), "word ".repeat(50));
}

#[tokio::test]
async fn an_error_whose_body_never_comes_is_still_one() {
    let reply = Reply::error(503, "down", "server_error").stall_after(5);
    let model = Model::replying([reply]);
    let failure = is(ask(&client(&model, Timeouts { idle: SOON, ..PATIENT })).await, Class::Transient, "HTTP 503");
    assert_eq!(failure.status, Some(503));
}

#[tokio::test]
async fn nobody_there() {
    let client = Client::builder(Dialect::OpenAiChat, nobody()).timeouts(PATIENT).build().unwrap();
    let failure = is(ask(&client).await, Class::Transient, "cannot connect");
    assert_eq!(failure.status, None);
    for (name, reply) in
        [("closed", Reply::closed()), ("reset", Reply::reset()), ("garbage", Reply::garbage("SSH-2.0-OpenSSH\r\n"))]
    {
        let model = Model::replying([reply]);
        let failure = is(ask(&self::client(&model, PATIENT)).await, Class::Transient, "");
        assert_eq!((failure.status, model.count()), (None, 1), "{name}");
    }
    let nowhere = Client::builder(Dialect::OpenAiChat, "http://host.invalid/v1").timeouts(PATIENT).build().unwrap();
    is(ask(&nowhere).await, Class::Transient, "cannot connect");
}

#[tokio::test]
async fn a_connection_that_is_never_made() {
    // A listener that accepts nothing takes as many connections as its queue holds; to the next it does not answer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, SOON) {
        queued.push(stream);
    }
    let client = Client::builder(Dialect::OpenAiChat, format!("http://{address}/v1"))
        .timeouts(Timeouts { connect: SOON, ..PATIENT });
    is(ask(&client.build().unwrap()).await, Class::Transient, "connect timeout");
}

#[tokio::test]
async fn a_server_that_comes_back() {
    let model = Model::answering(|_| Reply::text("Hello"));
    let client = client(&model, PATIENT);
    ask(&client).await.unwrap();
    model.go_down();
    is(ask(&client).await, Class::Transient, "");
    model.come_back();
    assert_eq!(ask(&client).await.unwrap().text(), "Hello");
}

#[tokio::test]
async fn statuses_and_how_long_to_wait() {
    let failure = is(
        answered(Reply::error(429, "slow down", "rate_limit_exceeded").header("retry-after", "7")).await,
        Class::RateLimited,
        "HTTP 429: slow down",
    );
    assert_eq!((failure.status, failure.retry_after), (Some(429), Some(Duration::from_secs(7))));
    let failure = is(answered(Reply::status(503).header("retry-after-ms", "250")).await, Class::Transient, "HTTP 503");
    assert_eq!(failure.retry_after, Some(Duration::from_millis(250)));
    let dated = Reply::status(429)
        .header("date", "Wed, 21 Oct 2015 07:27:30 GMT")
        .header("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(is(answered(dated).await, Class::RateLimited, "").retry_after, Some(Duration::from_secs(30)));
    is(
        answered(Reply::body(502, "text/html", "<html><title>502 Bad Gateway</title>")).await,
        Class::Transient,
        "502 Bad Gateway",
    );
    is(
        answered(Reply::error(400, "maximum context length is 8192 tokens", "context_length_exceeded")).await,
        Class::ContextTooLong,
        "8192",
    );
    is(answered(Reply::json(404, &json!({"error": "model not found"}))).await, Class::ModelGone, "model not found");
    is(answered(Reply::status(402)).await, Class::Quota, "");
    is(answered(Reply::status(418)).await, Class::CallerFault, "");

    let model = Model::replying([]);
    model.require_key("right");
    let wrong = Client::builder(Dialect::OpenAiChat, model.base_url()).key("wrong".into()).build().unwrap();
    is(ask(&wrong).await, Class::Credential, "HTTP 401: Incorrect API key provided");
}

#[tokio::test]
async fn budgets_are_told_before_the_answer_and_waited_for() {
    let with_budget = |reply: Reply| {
        reply
            .header("x-ratelimit-remaining-requests", "7")
            .header("x-ratelimit-remaining-tokens", "0")
            .header("x-ratelimit-reset-tokens", "6m0s")
    };
    let model = Model::replying([
        with_budget(Reply::text("Hello")),
        with_budget(Reply::status(429)),
        with_budget(Reply::status(500)),
    ]);
    let client = client(&model, PATIENT);
    let mut seen = Vec::new();
    let limits = Limits { requests_left: Some(7), tokens_left: Some(0), reset: Some(Duration::from_secs(360)) };
    client
        .ask("m1", &request(), &mut |delta| seen.push(matches!(delta, Delta::Limits(told) if told == limits)))
        .await
        .unwrap();
    assert!(seen[0] && seen.len() > 1 && !seen[1..].contains(&true), "{seen:?}");
    assert_eq!(ask(&client).await.unwrap_err().retry_after, Some(Duration::from_secs(360)));
    assert_eq!(ask(&client).await.unwrap_err().retry_after, None, "a budget has nothing to do with other troubles");
}

#[tokio::test]
async fn a_prompt_that_was_cut_is_no_answer() {
    let long = Request { messages: vec![Arc::new(Message::User(vec![Part::text("word ".repeat(8000))]))], ..request() };
    let model = Model::replying([Reply::text("Hello").usage(4096, 5), Reply::text("Hello").usage(4096, 5)]);
    let quirks = Quirks { cuts_prompts: true, ..Quirks::NONE };
    let cuts = Client::builder(Dialect::OpenAiChat, model.base_url()).quirks(quirks).timeouts(PATIENT).build().unwrap();
    let failure = is(cuts.ask("m1", &long, &mut |_| {}).await, Class::ContextTooLong, "has read 4096 tokens");
    assert_eq!(failure.discarded, "Hello");
    client(&model, PATIENT).ask("m1", &long, &mut |_| {}).await.unwrap();
}

#[tokio::test]
async fn the_list_of_models_is_read() {
    let model = Model::replying([]);
    model.lists([json!({"id": "a"}), json!({"id": "b", "context_length": 9})]);
    let served = |name: &str, window| Served { name: name.to_owned(), window, owner: None };
    assert_eq!(client(&model, PATIENT).served().await.unwrap(), [served("a", None), served("b", Some(9))]);
    model.require_key("right");
    let failure = client(&model, PATIENT).served().await.unwrap_err();
    assert_eq!((failure.class, failure.status), (Class::Credential, Some(401)));
}

#[tokio::test]
async fn a_large_error_is_read_in_part() {
    let failure =
        is(answered(Reply::body(500, "text/plain", "x".repeat(10 << 20))).await, Class::Transient, "HTTP 500: xxx");
    assert!(failure.message.len() < 1000);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = Model::answering(|_| Reply::text("stolen"));
    for status in [301, 302, 307, 308] {
        let model = Model::replying([Reply::redirect(status, &format!("{}/chat/completions", other.base_url()))]);
        let client = Client::builder(Dialect::OpenAiChat, model.base_url()).key("s3cret".into()).build().unwrap();
        let failure = is(ask(&client).await, Class::ModelGone, "redirected");
        assert_eq!(failure.status, Some(status));
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn keys_stay_secret() {
    const KEY: &str = "canary-7f3a9c2e";
    let echo = format!("you sent {KEY}");
    let chunk = json!({"choices": [{"delta": {"content": echo}}]});
    for reply in [
        Reply::error(401, &echo, "invalid_api_key"),
        Reply::body(500, "text/plain", echo.clone()),
        Reply::json(200, &json!({"error": echo})),
        Reply::chunks([json!({"error": {"message": echo}})]),
        Reply::stream(format!("data: {chunk}\n\n")),
        Reply::stream(format!("data: {{{echo}\n\n")),
        Reply::redirect(302, &format!("https://example.invalid/?key={KEY}")),
    ] {
        let model = Model::replying([reply]);
        let client =
            Client::builder(Dialect::OpenAiChat, model.base_url()).key(SecretString::from(KEY)).build().unwrap();
        let failure = ask(&client).await.unwrap_err();
        assert!(!format!("{failure:?}{failure}{client:?}").contains(KEY), "{failure:?}");
    }
    for url in [format!("http://user:{KEY}@127.0.0.1/v1"), format!("http://{KEY}:@/v1"), format!("user:{KEY}@host")] {
        let error = Client::builder(Dialect::OpenAiChat, &url).build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
    }
    let error =
        Client::builder(Dialect::OpenAiChat, "http://127.0.0.1").key(format!("{KEY}\n").into()).build().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
}

#[test]
fn urls_that_are_none() {
    for url in ["", "localhost:8000", "ftp://host/v1", "/v1", "http://"] {
        assert!(Client::builder(Dialect::OpenAiChat, url).build().is_err(), "{url:?}");
    }
}

#[tokio::test]
async fn endless_streams_end() {
    let line = format!("data: {}\n\n", json!({"choices": [{"delta": {"content": "x".repeat(60_000)}}]}));
    let failure = is(answered(Reply::stream(line.repeat(600))).await, Class::MalformedAnswer, "larger than 32 MiB");
    assert!(failure.discarded.len() < 4096);
    is(
        answered(Reply::stream(format!("data: {}", "x".repeat(17 << 20)))).await,
        Class::MalformedAnswer,
        "larger than 16 MiB",
    );
}

#[tokio::test]
async fn a_compressed_answer_is_read_and_a_bomb_is_not() {
    let text = "data: {\"choices\": [{\"delta\": {\"content\": \"Hello\"}, \"finish_reason\": \"stop\"}]}\n\n";
    let packed = |bytes| Reply::body(200, "text/event-stream", bytes).header("content-encoding", "gzip");
    assert_eq!(answered(packed(gzip_stored(text.as_bytes()))).await.unwrap().text(), "Hello");
    assert_eq!(answered(packed(gzip_stored(text.as_bytes())).split(1)).await.unwrap().text(), "Hello");
    is(answered(packed(gzip_bomb(100 << 20))).await, Class::MalformedAnswer, "larger than");
    is(answered(packed(b"no gzip at all".to_vec())).await, Class::MalformedAnswer, "broke off");
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let model = Model::replying([Reply::text("one two three").stall_after_events(2)]);
    let client = client(&model, PATIENT);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = tokio::spawn({
        let seen = seen.clone();
        async move { client.ask("m1", &request(), &mut |delta| seen.lock().unwrap().push(format!("{delta:?}"))).await }
    });
    model.has_come(1).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    tokio::task::spawn_blocking(move || model.wait_for_hang_ups(1)).await.unwrap();
}

#[tokio::test]
async fn pieces_are_told_before_the_answer_is_whole() {
    let gate = Gate::new();
    let model = Model::replying([Reply::text("one two").and_call("f", json!({})).hold_after_events(3, &gate)]);
    let mut seen = Vec::new();
    let answer = client(&model, PATIENT)
        .ask("m1", &request(), &mut |delta| {
            seen.push(match delta {
                Delta::Text(text) => text.to_owned(),
                other => format!("{other:?}"),
            });
            // Nothing more would come if what has come were held back until the end.
            if seen.len() == 2 {
                gate.open();
            }
        })
        .await;
    assert_eq!(seen, ["one ", "two", "Call(\"f\")", "Arguments(\"{}\")"]);
    assert_eq!(answer.unwrap().text(), "one two");
}

#[tokio::test]
async fn many_at_once() {
    let model = Model::answering(|request| Reply::text(&format!("{} {}", request.last(), request.n)).split(40));
    let client = client(&model, PATIENT);
    let asked = (0..50).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { ask(&client).await.unwrap().text() })
    });
    for answer in asked.collect::<Vec<_>>() {
        assert!(answer.await.unwrap().starts_with("Hi "));
    }
    assert_eq!(model.count(), 50);
    model.assert_valid();
}

/// A gzip file of stored blocks.
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GZIP_HEAD.to_vec();
    let length = u16::try_from(bytes.len()).unwrap();
    packed.push(1);
    packed.write_all(&length.to_le_bytes()).unwrap();
    packed.write_all(&(!length).to_le_bytes()).unwrap();
    packed.extend_from_slice(bytes);
    packed.write_all(&crc32(bytes).to_le_bytes()).unwrap();
    packed.write_all(&u32::from(length).to_le_bytes()).unwrap();
    packed
}

/// The beginning of a gzip file of so many `x`: one, and then "258 times the byte before" again and again.
fn gzip_bomb(bytes: usize) -> Vec<u8> {
    let mut packed = GZIP_HEAD.to_vec();
    // Last block, fixed codes; then the literal, whose code is 0x30 + byte, highest bit first.
    let start = [1, 1, 0].into_iter().chain((0..8).rev().map(|bit| (0x30 + b'x') >> bit & 1));
    // Length 258 is code 285, 0b11000101; distance 1 is code 0 in five bits.
    let again = [1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
    let bits = start.chain(std::iter::repeat_n(again, bytes / 258).flatten());
    let (mut byte, mut filled) = (0, 0);
    for bit in bits {
        byte |= bit << filled;
        filled += 1;
        if filled == 8 {
            packed.push(byte);
            (byte, filled) = (0, 0);
        }
    }
    packed
}

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
