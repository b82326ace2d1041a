//! Each of the 43 ways in which a model server misbehaves, at each format, and what becomes of it: an answer that is all there, or a
//! failure whose class says what may help. The numbers are those of a list of faults that a fault campaign has to contain.
//!
//! | fault | shown by |
//! |---|---|
//! | 1–3 rate limits, 4–5 statuses, 6 credentials, 7 model gone, 8 too long | `statuses`; all forms of Retry-After in `provider::limits`, real bodies in `provider::failure` |
//! | 9 refused, 10 black hole, 11 DNS | `provider::{nobody_there, a_connection_that_is_never_made}`: before any format matters |
//! | 12 TLS | `no_tls_is_no_answer`: a server that speaks none. A wrong name and an expired certificate are rustls' to refuse |
//! | 13–16 silence, at once, behind the head, a byte a second, within an event | `silence` |
//! | 17–19 cut, reset, no end mark | `broken_off` |
//! | 20, 21, 22 error events, errors and pages with a good status | `errors_with_a_good_status` |
//! | 23 a document for a stream; the reverse cannot be, as a stream is all we ask for | `documents` |
//! | 24–26 endless, lying lengths, bombs | `too_much`; the largest of each in `provider::{endless_streams_end, a_compressed_answer_is_read_and_a_bomb_is_not}` |
//! | 27–31 damaged text, surrogates, depth, numbers, doubled keys | `odd_texts` |
//! | 32–37 ids, order, names, arguments, finish reasons, very many calls | `odd_calls`; pieces of calls interleaved in each dialect's own `tests.rs` |
//! | 38, 39 nothing, odd usage | `little_or_nothing` |
//! | 40 redirects | `provider::redirects_are_not_followed` |
//! | 41 line ends, comments, a line of 10 MB | `lines` |
//! | 42 two answers | `one_request_is_one_answer`; asking elsewhere is the router's, `failover` |
//! | 43 broken off behind calls | `broken_off`: nothing of the answer is handed out |

use std::time::Duration;

use agentd::{
    chat::{Answer, Finish, Usage},
    provider::{Class, Client, Dialect, Failure, Provider, Timeouts},
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::{
    model::{Model, Reply},
    talk::{request, user},
};

/// Short enough for tests that wait for it.
const SOON: Duration = Duration::from_millis(100);

/// Beyond what any test takes on a slow machine.
const NEVER: Duration = Duration::from_secs(300);

const PATIENT: Timeouts = Timeouts { connect: NEVER, first_token: NEVER, idle: NEVER, total: NEVER };

/// A piece of an answer. Texts are JSON as it stands on the wire, quotes included, so that they can be odd.
#[derive(Clone)]
enum Piece {
    Text(String),
    Call { id: &'static str, name: &'static str, arguments: String },
}

use Piece::Text;

fn text(text: &str) -> Piece {
    Text(Value::from(text).to_string())
}

fn call(id: &'static str, name: &'static str, arguments: &str) -> Piece {
    Piece::Call { id, name, arguments: arguments.to_owned() }
}

/// What a good answer says.
fn good() -> Vec<Piece> {
    vec![text("one "), text("two"), call("a", "f", r#"{"x": 1}"#), call("b", "g", "{}")]
}

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Calls,
    Stop,
    Length,
    /// It does not.
    Never,
}

/// The events of an answer, as a service of this format streams them.
fn events(dialect: Dialect, pieces: &[Piece], end: End, usage: Option<(&str, &str)>) -> Vec<String> {
    let mut data = Vec::new();
    let input = usage.map_or(String::new(), |(input, _)| format!(r#","usage":{{"input_tokens":{input}}}"#));
    match dialect {
        Dialect::AnthropicMessages => data.push(format!(
            r#"{{"type":"message_start","message":{{"id":"m","type":"message","role":"assistant","model":"m","content":[]{input}}}}}"#
        )),
        Dialect::OpenAiResponses => {
            data.push(r#"{"type":"response.created","response":{"id":"m","model":"m","status":"in_progress"}}"#.into());
        }
        Dialect::OpenAiChat => {
            data.push(r#"{"id":"m","model":"m","choices":[{"index":0,"delta":{"role":"assistant"}}]}"#.into());
        }
        Dialect::Gemini => {}
    }
    for (n, piece) in pieces.iter().enumerate() {
        let index = pieces[..n].iter().filter(|piece| matches!(piece, Piece::Call { .. })).count();
        match (dialect, piece) {
            (Dialect::OpenAiChat, Text(text)) => {
                data.push(format!(r#"{{"choices":[{{"index":0,"delta":{{"content":{text}}}}}]}}"#));
            }
            (Dialect::OpenAiChat, Piece::Call { id, name, arguments }) => {
                let arguments = Value::from(arguments.as_str());
                data.push(format!(
                    r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":{arguments}}}}}]}}}}]}}"#
                ));
            }
            (Dialect::OpenAiResponses, Text(text)) => data.push(format!(
                r#"{{"type":"response.output_text.delta","item_id":"msg","output_index":0,"content_index":0,"delta":{text}}}"#
            )),
            (Dialect::OpenAiResponses, Piece::Call { id, name, arguments }) => {
                let arguments = Value::from(arguments.as_str());
                data.push(format!(
                    r#"{{"type":"response.output_item.done","output_index":{},"item":{{"type":"function_call","id":"fc_{n}","call_id":"{id}","name":"{name}","arguments":{arguments},"status":"completed"}}}}"#,
                    n + 1
                ));
            }
            (Dialect::AnthropicMessages, Text(text)) => data.extend([
                format!(r#"{{"type":"content_block_start","index":{n},"content_block":{{"type":"text","text":""}}}}"#),
                format!(
                    r#"{{"type":"content_block_delta","index":{n},"delta":{{"type":"text_delta","text":{text}}}}}"#
                ),
                format!(r#"{{"type":"content_block_stop","index":{n}}}"#),
            ]),
            (Dialect::AnthropicMessages, Piece::Call { id, name, arguments }) => data.extend([
                format!(
                    r#"{{"type":"content_block_start","index":{n},"content_block":{{"type":"tool_use","id":"{id}","name":"{name}","input":{{}}}}}}"#
                ),
                format!(
                    r#"{{"type":"content_block_delta","index":{n},"delta":{{"type":"input_json_delta","partial_json":{}}}}}"#,
                    Value::from(arguments.as_str())
                ),
                format!(r#"{{"type":"content_block_stop","index":{n}}}"#),
            ]),
            (Dialect::Gemini, Text(text)) => {
                data.push(format!(r#"{{"candidates":[{{"index":0,"content":{{"parts":[{{"text":{text}}}]}}}}]}}"#));
            }
            (Dialect::Gemini, Piece::Call { name, arguments, .. }) => {
                // What is no object stands there as a text.
                let is_object = serde_json::from_str::<serde_json::Map<String, Value>>(arguments).is_ok();
                let args = if is_object { arguments.clone() } else { Value::from(arguments.as_str()).to_string() };
                data.push(format!(
                    r#"{{"candidates":[{{"index":0,"content":{{"parts":[{{"functionCall":{{"name":"{name}","args":{args}}}}}]}}}}]}}"#
                ));
            }
        }
    }
    if end == End::Never {
        return framed(dialect, data);
    }
    let (read, written) = usage.unwrap_or(("null", "null"));
    let word = |calls: &'static str, stop: &'static str, length: &'static str| match end {
        End::Calls => calls,
        End::Stop | End::Never => stop,
        End::Length => length,
    };
    match dialect {
        Dialect::OpenAiChat => {
            let word = word("tool_calls", "stop", "length");
            data.push(format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{word}"}}]}}"#));
            if usage.is_some() {
                data.push(format!(
                    r#"{{"choices":[],"usage":{{"prompt_tokens":{read},"completion_tokens":{written}}}}}"#
                ));
            }
            data.push("[DONE]".into());
        }
        Dialect::OpenAiResponses => {
            let (status, details) = match end {
                End::Length => ("incomplete", r#"{"reason":"max_output_tokens"}"#),
                _ => ("completed", "null"),
            };
            data.push(format!(
                r#"{{"type":"response.{status}","response":{{"id":"m","model":"m","status":"{status}","incomplete_details":{details},"usage":{{"input_tokens":{read},"output_tokens":{written}}}}}}}"#
            ));
        }
        Dialect::AnthropicMessages => {
            let word = word("tool_use", "end_turn", "max_tokens");
            data.push(format!(
                r#"{{"type":"message_delta","delta":{{"stop_reason":"{word}"}},"usage":{{"output_tokens":{written}}}}}"#
            ));
            data.push(r#"{"type":"message_stop"}"#.into());
        }
        Dialect::Gemini => {
            let word = word("STOP", "STOP", "MAX_TOKENS");
            data.push(format!(
                r#"{{"candidates":[{{"index":0,"finishReason":"{word}"}}],"usageMetadata":{{"promptTokenCount":{read},"candidatesTokenCount":{written}}},"modelVersion":"m","responseId":"m"}}"#
            ));
        }
    }
    framed(dialect, data)
}

/// Events around these texts, under the name that stands in them where the format has names.
fn framed(dialect: Dialect, data: Vec<String>) -> Vec<String> {
    let named = matches!(dialect, Dialect::AnthropicMessages | Dialect::OpenAiResponses);
    let event = |data: String| {
        let name = data.split('"').nth(3).filter(|_| named).map_or(String::new(), |name| format!("event: {name}\n"));
        format!("{name}data: {data}\n\n")
    };
    data.into_iter().map(event).collect()
}

fn stream(dialect: Dialect) -> String {
    events(dialect, &good(), End::Calls, Some(("9", "3"))).concat()
}

/// The stream with something else in place of its first text.
fn saying(dialect: Dialect, text: &str) -> String {
    events(dialect, &[Text(text.to_owned())], End::Stop, None).concat()
}

/// An error as a service of this format words it.
fn error(dialect: Dialect, status: u16, kind: &str, message: &str) -> Value {
    match dialect {
        Dialect::AnthropicMessages => json!({"type": "error", "error": {"type": kind, "message": message}}),
        Dialect::Gemini => json!({"error": {"code": status, "message": message, "status": kind.to_uppercase()}}),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => json!({"error": {"message": message, "code": kind}}),
    }
}

fn client(dialect: Dialect, model: &Model, timeouts: Timeouts) -> Client {
    Client::builder(dialect, model.base_url()).name("acme").timeouts(timeouts).build().unwrap()
}

async fn ask(client: &Client) -> Result<Answer, Failure> {
    client.ask("m", &request([user("Hi")]), &mut |_| {}).await
}

/// A service that takes any request, and has this one reply.
fn replying(reply: Reply) -> Model {
    let mut reply = Some(reply);
    Model::judged(|_| Ok(()), Box::new(move |_| reply.take()))
}

/// What becomes of one reply. A request is sent once, whatever comes.
async fn came_of(dialect: Dialect, reply: Reply, timeouts: Timeouts) -> Result<Answer, Failure> {
    let model = replying(reply);
    let answer = ask(&client(dialect, &model, timeouts)).await;
    assert_eq!(model.count(), 1, "{}", dialect.as_str());
    answer
}

#[track_caller]
fn fails(answer: Result<Answer, Failure>, class: Class, text: &str, name: &str) -> Failure {
    let failure = answer.expect_err(name);
    assert_eq!(failure.class, class, "{name}: {failure}");
    assert!(failure.message.contains(text), "{name}: {failure}");
    failure
}

fn names_and_arguments(answer: &Answer) -> Vec<(&str, &str, bool)> {
    answer.calls().map(|call| (call.name.as_str(), &*call.arguments, call.complete)).collect()
}

/// The answer without which none of the rows below would tell anything.
#[tokio::test]
async fn a_good_answer_is_read_at_each_format() {
    for dialect in Dialect::ALL {
        let answer = came_of(dialect, Reply::stream(stream(dialect)), PATIENT).await.unwrap();
        assert_eq!((answer.text().as_str(), &answer.finish), ("one two", &Finish::ToolCalls), "{}", dialect.as_str());
        assert_eq!(names_and_arguments(&answer), [("f", r#"{"x": 1}"#, true), ("g", "{}", true)]);
        assert_eq!(answer.usage, Some(Usage { input: 9, output: 3, ..Usage::default() }));
    }
}

#[tokio::test]
async fn statuses() {
    let wait = |seconds: u64| Some(Duration::from_secs(seconds));
    type Row = (&'static str, &'static [(&'static str, &'static str)], Option<Duration>);
    let headers: &[Row] = &[
        ("1 seconds", &[("retry-after", "7")], wait(7)),
        (
            "2 a date",
            &[("date", "Wed, 21 Oct 2015 07:27:30 GMT"), ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")],
            wait(30),
        ),
        ("3 none", &[], None),
        ("3 a negative one", &[("retry-after", "-5")], None),
        ("3 a billion", &[("retry-after", "1000000000")], wait(366 * 24 * 3600)),
    ];
    let plain = [(500, Class::Transient), (502, Class::Transient), (503, Class::Transient), (529, Class::Transient)];
    let plain = plain.into_iter().chain([408, 409, 425].map(|status| (status, Class::Transient)));
    let plain: Vec<_> = plain.chain([401, 403].map(|status| (status, Class::Credential))).collect();
    for dialect in Dialect::ALL {
        for (name, headers, expected) in headers {
            let limited = error(dialect, 429, "rate_limit_error", "Too many requests");
            let reply =
                headers.iter().fold(Reply::json(429, &limited), |reply, (name, value)| reply.header(name, value));
            // A limit that lasts for more than an hour is a quota.
            let lasts = expected.is_some_and(|wait| wait > Duration::from_secs(3600));
            let class = if lasts { Class::Quota } else { Class::RateLimited };
            let failure = fails(came_of(dialect, reply, PATIENT).await, class, "Too many", name);
            assert_eq!((failure.retry_after, failure.status), (*expected, Some(429)), "{name}");
        }
        for (status, class) in &plain {
            let failure = fails(came_of(dialect, Reply::status(*status), PATIENT).await, *class, "", "4-6");
            assert_eq!(failure.status, Some(*status));
        }
        let (gone, long) = match dialect {
            Dialect::AnthropicMessages => (
                error(dialect, 404, "not_found_error", "model: m"),
                error(dialect, 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
            ),
            Dialect::Gemini => (
                error(dialect, 404, "not_found", "models/m is not found for API version v1beta"),
                error(
                    dialect,
                    400,
                    "invalid_argument",
                    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                ),
            ),
            _ => (
                error(dialect, 404, "model_not_found", "The model `m` does not exist or you do not have access to it."),
                error(dialect, 400, "context_length_exceeded", "Your input exceeds the context window of this model."),
            ),
        };
        fails(came_of(dialect, Reply::json(404, &gone), PATIENT).await, Class::ModelGone, "m", "7");
        fails(came_of(dialect, Reply::json(400, &long), PATIENT).await, Class::ContextTooLong, "", "8");
    }
}

#[tokio::test]
async fn no_tls_is_no_answer() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}/v1", listener.local_addr().unwrap());
    let plain = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    for dialect in Dialect::ALL {
        let client = Client::builder(dialect, &address).http(http.clone()).timeouts(PATIENT).build().unwrap();
        fails(ask(&client).await, Class::Transient, "cannot connect", "12");
    }
    plain.abort();
}

#[tokio::test]
async fn silence() {
    for dialect in Dialect::ALL {
        let whole = || Reply::stream(stream(dialect));
        let behind = events(dialect, &[], End::Never, None).concat().len();
        let within = stream(dialect).find("\"two\"").unwrap();
        let first = Timeouts { first_token: SOON, ..PATIENT };
        let idle = Timeouts { idle: SOON, ..PATIENT };
        for (name, reply, timeouts, text) in [
            ("13 never a head", Reply::silence(), first, "first-token timeout"),
            ("14 a head and silence", whole().stall_after(0), first, "first-token timeout"),
            ("14 a beginning without anything in it", whole().stall_after(behind), first, "first-token timeout"),
            (
                "15 a byte now and then",
                whole().split(1).pace(Duration::from_millis(5)),
                Timeouts { total: 3 * SOON, ..PATIENT },
                "total timeout",
            ),
            ("16 within an event", whole().stall_after(within), idle, "idle timeout"),
        ] {
            let name = format!("{name}, {}", dialect.as_str());
            fails(came_of(dialect, reply, timeouts).await, Class::Transient, text, &name);
        }
    }
}

#[tokio::test]
async fn broken_off() {
    for dialect in Dialect::ALL {
        let body = stream(dialect);
        let whole = || Reply::stream(body.clone());
        let within = body.find("\"two\"").unwrap() + 2;
        // Behind the second call, before any word of an end.
        let unended = events(dialect, &good(), End::Never, None).concat();
        for (name, reply) in [
            ("17 within an event", whole().cut_after(within)),
            ("17 within an event, by the length of the body", Reply::stream(&body[..within])),
            ("19 no end of any kind, behind calls (43)", Reply::stream(unended.clone())),
            ("25 less than its length", whole().claiming(1 << 31).cut_after(within)),
        ] {
            let name = format!("{name}, {}", dialect.as_str());
            let failure = fails(came_of(dialect, reply, PATIENT).await, Class::MalformedAnswer, "broke off", &name);
            assert!(failure.discarded.starts_with("one "), "{name}: {failure:?}");
        }
        let failure = came_of(dialect, whole().reset_after(within), PATIENT).await.expect_err("18 reset");
        assert!(matches!(failure.class, Class::MalformedAnswer | Class::Transient), "{failure}");
        // Where the format says both how and that it ended, the first is enough.
        let said = body
            .replace("data: [DONE]\n\n", "")
            .replace("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "");
        let answer = came_of(dialect, Reply::stream(said), PATIENT).await.unwrap();
        assert_eq!(answer.calls().count(), 2, "19, {}", dialect.as_str());
    }
}

#[tokio::test]
async fn errors_with_a_good_status() {
    for dialect in Dialect::ALL {
        let failing = match dialect {
            Dialect::AnthropicMessages => error(dialect, 529, "overloaded_error", "Overloaded"),
            Dialect::Gemini => error(dialect, 503, "unavailable", "Overloaded"),
            Dialect::OpenAiChat => error(dialect, 503, "server_error", "Overloaded"),
            Dialect::OpenAiResponses => {
                json!({"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error", "message": "Overloaded"}}})
            }
        };
        let begun = events(dialect, &[text("one "), text("two")], End::Never, None).concat();
        let page = "<html><head><title>Login</title></head></html>";
        let is_named = matches!(dialect, Dialect::AnthropicMessages);
        let event = if is_named { "event: error\n" } else { "" };
        for (name, reply, class, text) in [
            (
                "20 an error behind words",
                Reply::stream(format!("{begun}{event}data: {failing}\n\n")),
                Class::Transient,
                "Overloaded",
            ),
            (
                "20 an error event of no format",
                Reply::stream(format!("{begun}event: error\ndata: Overloaded, sorry\n\n")),
                Class::Transient,
                "Overloaded",
            ),
            ("21 an error alone", Reply::json(200, &failing), Class::Transient, "Overloaded"),
            (
                "21 an error as the only event",
                Reply::stream(format!("data: {failing}\n\n")),
                Class::Transient,
                "Overloaded",
            ),
            ("22 a page", Reply::body(200, "text/html", page), Class::MalformedAnswer, "HTML"),
            ("22 a page as a stream", Reply::stream(page), Class::MalformedAnswer, "HTML"),
        ] {
            let name = format!("{name}, {}", dialect.as_str());
            let failure = fails(came_of(dialect, reply, PATIENT).await, class, text, &name);
            let discarded = if name.starts_with("20") { "one two" } else { "" };
            assert_eq!(failure.discarded, discarded, "{name}");
            // Gemini's errors say their own status.
            assert!(failure.status == Some(200) || (dialect, failure.status) == (Dialect::Gemini, Some(503)), "{name}");
        }
    }
}

/// 23: the whole answer as JSON, though a stream was asked for.
#[tokio::test]
async fn documents() {
    for (dialect, document) in [
        (Dialect::OpenAiChat, json!({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]})),
        (
            Dialect::OpenAiResponses,
            json!({"object": "response", "status": "completed", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}),
        ),
        (
            Dialect::AnthropicMessages,
            json!({"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"}),
        ),
        (
            Dialect::Gemini,
            json!([{"candidates": [{"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}]}]),
        ),
    ] {
        for reply in [
            Reply::json(200, &document),
            Reply::json(200, &document).header("content-type", "text/event-stream").split(7),
        ] {
            let answer = came_of(dialect, reply, PATIENT).await.unwrap();
            assert_eq!((answer.text().as_str(), answer.finish), ("Hello", Finish::Stop), "{}", dialect.as_str());
        }
    }
}

#[tokio::test]
async fn too_much() {
    for dialect in Dialect::ALL {
        let begun = events(dialect, &[text(&"x".repeat(1 << 20))], End::Never, None).concat();
        let endless = Reply::stream(begun.repeat(34));
        let failure =
            fails(came_of(dialect, endless, PATIENT).await, Class::MalformedAnswer, "larger than 32 MiB", "24");
        assert!(failure.discarded.len() < 4096, "{}", failure.discarded.len());
        // A length that is too small cuts the answer; one that is too large is never reached.
        let body = stream(dialect);
        let within = body.find("\"two\"").unwrap();
        let short = Reply::stream(body).claiming(within);
        fails(came_of(dialect, short, PATIENT).await, Class::MalformedAnswer, "broke off", "25");
        let packed =
            Reply::body(200, "text/event-stream", b"no gzip at all".to_vec()).header("content-encoding", "gzip");
        fails(came_of(dialect, packed, PATIENT).await, Class::MalformedAnswer, "broke off", "26");
    }
}

#[tokio::test]
async fn odd_texts() {
    for dialect in Dialect::ALL {
        // Split within characters.
        let whole = Reply::stream(saying(dialect, "\"Grüße 😀\"")).split(1);
        assert_eq!(came_of(dialect, whole, PATIENT).await.unwrap().text(), "Grüße 😀", "27");
        let mut damaged = saying(dialect, "\"Gr??e\"").into_bytes();
        let at = damaged.windows(2).position(|pair| pair == b"??").unwrap();
        damaged[at..at + 2].copy_from_slice(&[0xC3, 0x28]);
        assert_eq!(came_of(dialect, Reply::stream(damaged), PATIENT).await.unwrap().text(), "Gr\u{fffd}(e", "27");
        let mut broken = events(dialect, &[call("a", "f", r#"{"x": "??"}"#)], End::Calls, None).concat().into_bytes();
        let at = broken.windows(2).position(|pair| pair == b"??").unwrap();
        broken[at] = 0xC3;
        fails(
            came_of(dialect, Reply::stream(broken), PATIENT).await,
            Class::MalformedAnswer,
            "no text",
            "27 in a call",
        );
        for (name, text, expected) in [
            ("28 half of a pair", r#""a\ud800b""#, "a\u{fffd}b"),
            ("28 a whole one", r#""\ud83d\ude00""#, "😀"),
            ("28 nothing", r#""a\u0000b""#, "a\0b"),
            ("31 doubled keys", r#""a","index":0,"index":0,"x":"b""#, "a"),
        ] {
            let answer = came_of(dialect, Reply::stream(saying(dialect, text)), PATIENT).await;
            assert_eq!(answer.unwrap_or_else(|failure| panic!("{name}: {failure}")).text(), expected, "{name}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        fails(came_of(dialect, Reply::stream(saying(dialect, &deep)), PATIENT).await, Class::MalformedAnswer, "", "29");
        fails(
            came_of(dialect, Reply::stream(saying(dialect, "1e400")), PATIENT).await,
            Class::MalformedAnswer,
            "",
            "30",
        );
        // As arguments, whatever they are, they stay as written.
        for arguments in [r#"{"n": 9223372036854775808}"#, r#"{"n": 1.0, "n": 2}"#, r#"{"n": 12345678901234567890123}"#]
        {
            let calling = events(dialect, &[call("a", "f", arguments)], End::Calls, None).concat();
            let answer = came_of(dialect, Reply::stream(calling), PATIENT).await.unwrap();
            assert_eq!(names_and_arguments(&answer), [("f", arguments, true)], "30, 31, {}", dialect.as_str());
        }
    }
}

#[tokio::test]
async fn odd_calls() {
    for dialect in Dialect::ALL {
        let read = async |pieces: &[Piece], end: End| {
            came_of(dialect, Reply::stream(events(dialect, pieces, end, None).concat()), PATIENT).await.unwrap()
        };
        let name = dialect.as_str();
        for id in ["", "same"] {
            let answer = read(&[call(id, "f", r#"{"n": 1}"#), call(id, "g", "{}")], End::Calls).await;
            let calls = names_and_arguments(&answer);
            assert_eq!(calls, [("f", r#"{"n": 1}"#, true), ("g", "{}", true)], "32 {id:?}, {name}");
        }
        let answer = read(&[call("a", "no_such_tool", "{}")], End::Calls).await;
        assert_eq!(names_and_arguments(&answer), [("no_such_tool", "{}", true)], "34, {name}");
        for arguments in ["not JSON", r#"{"x": "a"#, r#""{\"x\": 1}""#, "[1]", r#"{"a": 1} x"#] {
            let answer = read(&[call("a", "f", arguments)], End::Calls).await;
            let call = answer.calls().next().unwrap();
            assert_eq!(&*call.arguments, arguments, "35, {name}");
            assert!(!call.complete || !arguments.ends_with("\"a"), "35 {arguments}, {name}");
        }
        assert_eq!(read(&[text("Hello")], End::Calls).await.calls().count(), 0, "36, {name}");
        assert_eq!(read(&[call("a", "f", "{}")], End::Stop).await.calls().count(), 1, "36, {name}");
        let cut = read(&[call("a", "f", "{}"), call("b", "g", r#"{"x": 1}"#)], End::Length).await;
        assert_eq!(cut.finish, Finish::Length);
        let many: Vec<_> = (0..200).map(|_| call("", "f", r#"{"x": 1}"#)).collect();
        let answer = read(&many, End::Calls).await;
        let whole = answer.calls().filter(|call| call.complete && &*call.arguments == r#"{"x": 1}"#).count();
        assert_eq!(whole, 200, "37, {name}");
    }
}

#[tokio::test]
async fn little_or_nothing() {
    for dialect in Dialect::ALL {
        let name = dialect.as_str();
        fails(came_of(dialect, Reply::stream(""), PATIENT).await, Class::MalformedAnswer, "without an answer", name);
        for (usage, expected) in [
            (None, None),
            (Some(("-5", "-1")), None),
            (Some(("99999999999999999999", "1e30")), None),
            (Some(("\"9\"", "3.0")), Some(Usage { input: 9, output: 3, ..Usage::default() })),
        ] {
            let body = events(dialect, &[text("Hello")], End::Stop, usage).concat();
            let answer = came_of(dialect, Reply::stream(body), PATIENT).await.unwrap();
            assert_eq!(answer.usage, expected, "39 {usage:?}, {name}");
        }
        // 38: an answer with nothing in it says so, or is none; it is never a text.
        match came_of(dialect, Reply::stream(events(dialect, &[], End::Stop, None).concat()), PATIENT).await {
            Ok(answer) => assert_eq!((answer.text().as_str(), answer.calls().count()), ("", 0), "38, {name}"),
            Err(failure) => assert_eq!(failure.class, Class::MalformedAnswer, "38, {name}: {failure}"),
        }
    }
}

/// 41: all that the standard allows of lines, and what servers make of it.
#[tokio::test]
async fn lines() {
    for dialect in Dialect::ALL {
        let body = stream(dialect);
        for (name, body) in [
            ("carriage returns and line feeds", body.replace('\n', "\r\n")),
            ("carriage returns", body.replace('\n', "\r")),
            ("comments", format!(": hello\n\n{}", body.replace("\n\n", "\n\n: still here\n\n"))),
            ("no space", body.replace("data: ", "data:").replace("event: ", "event:")),
            ("no blank line at the end", body.trim_end().to_owned()),
            ("other fields", body.replace("data: ", "id: 1\nretry: 5\nfoo: bar\ndata: ")),
        ] {
            for step in [1 << 20, 1] {
                let answer = came_of(dialect, Reply::stream(body.clone()).split(step), PATIENT).await;
                let answer = answer.unwrap_or_else(|failure| panic!("{name}, {}: {failure}", dialect.as_str()));
                assert_eq!((answer.text().as_str(), answer.calls().count()), ("one two", 2), "{name}");
            }
        }
        let long = "x".repeat(10 << 20);
        let answer = came_of(dialect, Reply::stream(saying(dialect, &format!("\"{long}\""))), PATIENT).await.unwrap();
        assert_eq!(answer.text().len(), 10 << 20);
    }
}

/// 42: whoever asks again elsewhere gets one answer of each, and none of them twice.
#[tokio::test]
async fn one_request_is_one_answer() {
    for dialect in Dialect::ALL {
        let slow = replying(Reply::stream(stream(dialect)).delay(NEVER));
        let fast = replying(Reply::stream(stream(dialect)));
        let first = ask(&client(dialect, &slow, Timeouts { first_token: SOON, ..PATIENT })).await;
        fails(first, Class::Transient, "first-token timeout", "42");
        assert_eq!(ask(&client(dialect, &fast, PATIENT)).await.unwrap().calls().count(), 2);
        assert_eq!((slow.count(), fast.count()), (1, 1));
    }
}
