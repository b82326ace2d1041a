//! What servers of the format send, one deviation a row, and what we make of it; and what we send to each kind of model.
//!
//! The golden streams are the vendor's documented examples (platform.claude.com/docs: streaming, tool use, thinking, web
//! search; 2026-11); the golden request is ours, and the double of the service takes it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Messages;
use crate::{
    chat::{
        Answer, AnswerPart, Choice, Finish, Media, MediaSource, Message, Opaque, OutputFormat, Part, Reasoning,
        ReasoningEffort, Request, ToolDef, Usage,
    },
    provider::{
        Class, Quirks,
        dialect::{Format as _, Target},
        table::{Server, bad, call, cut, good, image, request, result, said, tool, tool_call, user},
    },
};

const TARGET: Target<'_> =
    Target { issuer: "anthropic", model: "claude-sonnet-4-5", quirks: &Quirks::NONE, strict: false };
const SERVER: Server = Server { format: &Messages, target: TARGET };

fn thought(text: &str, kind: &str, data: &str) -> AnswerPart {
    AnswerPart::Reasoning(Reasoning { text: text.into(), opaque: Some(SERVER.opaque(kind, data)) })
}

fn kept(kind: &str, json: &str) -> AnswerPart {
    AnswerPart::Opaque(SERVER.opaque(&format!("content.{kind}"), json))
}

fn used(input: u64, output: u64) -> Option<Usage> {
    Some(Usage { input, output, ..Usage::default() })
}

#[test]
fn the_documented_examples() {
    let answer = |id: &str, parts, finish, usage| Answer {
        parts,
        finish,
        usage,
        model: Some("claude-opus-4-6".into()),
        id: Some(id.into()),
    };
    let search = r#"{"type":"server_tool_use","id":"srvtoolu_014hJH82Qum7Td6UV8gDXThB","name":"web_search","input":{"query":"weather NYC today"}}"#;
    let found = r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_014hJH82Qum7Td6UV8gDXThB","content":[{"type":"web_search_result","title":"Weather in New York City","url":"https://world-weather.info/forecast/usa/new_york/","encrypted_content":"Ev0DCioIAxgCIiQ3NmU4ZmI4OC1k","page_age":null}]}"#;
    SERVER.check(vec![
        good(
            "text",
            include_bytes!("../../../tests/golden/anthropic/text.sse"),
            answer("msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", vec![said("Hello!")], Finish::Stop, used(25, 15)),
        ),
        good(
            "tool use",
            include_bytes!("../../../tests/golden/anthropic/tool_use.sse"),
            answer(
                "msg_014p7gG3wDgGV9EUtLvnow3U",
                vec![
                    said("Okay, let's check the weather:"),
                    call(
                        "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
                        "get_weather",
                        r#"{"location": "San Francisco, CA", "unit": "fahrenheit"}"#,
                    ),
                ],
                Finish::ToolCalls,
                used(472, 89),
            ),
        ),
        good(
            "thinking",
            include_bytes!("../../../tests/golden/anthropic/thinking.sse"),
            answer(
                "msg_01HCDu5LRGtGAfQF8Bv4WLx7",
                vec![
                    thought(
                        "I need to find the GCD of 1071 and 462 using the Euclidean algorithm.\n\n1071 = 2 × 462 + 147\n462 = 3 × 147 + 21\n147 = 7 × 21 + 0\n\nSo GCD(1071, 462) = 21",
                        "thinking.signature",
                        "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds",
                    ),
                    thought(
                        "",
                        "redacted_thinking",
                        "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIwxtE3rAFBa8cr3qpPkNRj2YfWXGmKDxH4mPnZ5sQ7vB9URj2pLmN3kF8",
                    ),
                    said("The greatest common divisor of 1071 and 462 is **21**."),
                ],
                Finish::Stop,
                Some(Usage { input: 50, output: 188, reasoning: 160, ..Usage::default() }),
            ),
        ),
        good(
            "web search",
            include_bytes!("../../../tests/golden/anthropic/web_search.sse"),
            answer(
                "msg_01G6zNcfAbNJoEEXACEAjXJC",
                vec![
                    said("I'll check the current weather in New York City for you."),
                    kept("server_tool_use", search),
                    kept("web_search_tool_result", found),
                    said("It is sunny."),
                ],
                Finish::Stop,
                Some(Usage { input: 11782, cached: 1000, cache_write: 100, output: 510, reasoning: 0 }),
            ),
        ),
        good(
            "a whole message",
            include_bytes!("../../../tests/golden/anthropic/message.json"),
            answer(
                "msg_01Aq9w938a90dw8q",
                vec![
                    said("I'll check the current weather in San Francisco for you."),
                    call(
                        "toolu_01A09q90qw90lq917835lq9",
                        "get_weather",
                        r#"{"location": "San Francisco, CA", "unit": "celsius"}"#,
                    ),
                ],
                Finish::ToolCalls,
                Some(Usage { input: 188_119, cached: 12, cache_write: 188_086, output: 65, reasoning: 0 }),
            ),
        ),
        bad(
            "an error in the midst",
            include_bytes!("../../../tests/golden/anthropic/overloaded.sse"),
            Class::Transient,
            "Overloaded",
        ),
        bad(
            "a refusal before anything",
            include_bytes!("../../../tests/golden/anthropic/refusal.sse"),
            Class::ContentRefused,
            "could enable cyber harm",
        ),
    ]);
}

/// A stream of these events.
fn sse(events: &[Value]) -> String {
    let name = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", name(event))).collect()
}

fn start() -> Value {
    json!({"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "content": [], "model": "c1", "usage": {"input_tokens": 9, "output_tokens": 1}}})
}

fn begin(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn text(index: u64, text: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": text}))
}

fn input(index: u64, json: &str) -> Value {
    delta(index, json!({"type": "input_json_delta", "partial_json": json}))
}

fn end(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn reason(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 3}})
}

fn stop() -> Value {
    json!({"type": "message_stop"})
}

fn tool_use(index: u64, name: &str) -> Value {
    begin(index, json!({"type": "tool_use", "id": format!("toolu_{index}"), "name": name, "input": {}}))
}

fn answer(parts: Vec<AnswerPart>, finish: Finish) -> Answer {
    Answer { parts, finish, usage: used(9, 3), model: Some("c1".into()), id: Some("m1".into()) }
}

fn hello() -> Answer {
    answer(vec![said("Hello")], Finish::Stop)
}

#[test]
fn streams_that_are_told_otherwise() {
    let empty = || begin(0, json!({"type": "text", "text": ""}));
    let by_the_book = || vec![start(), empty(), text(0, "Hel"), text(0, "lo"), end(0), reason("end_turn"), stop()];
    let without =
        |kind: &str| sse(&by_the_book().into_iter().filter(|event| event["type"] != kind).collect::<Vec<_>>());
    let body = sse(&by_the_book());
    SERVER.check(vec![
        good("by the book", body.clone(), hello()),
        good("no names", body.lines().filter(|line| !line.starts_with("event")).fold(String::new(), |all, line| all + line + "\n"), hello()),
        good("names and no types", body.replace("\"type\":\"content_block_delta\",", ""), hello()),
        good("pings and unknown events", body.replace("event: content_block_delta", "event: news\ndata: {\"type\": \"news\", \"message\": \"x\", \"code\": 1}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\nevent: content_block_delta"), hello()),
        good("no end mark", without("message_stop"), hello()),
        good("another format's end mark", without("message_stop") + "data: [DONE]\n\n", hello()),
        bad("no stop reason", without("message_delta"), Class::MalformedAnswer, "without a finish reason"),
        bad("no stop reason, in a document", json!({"type": "message", "content": [{"type": "text", "text": "Hello"}], "stop_reason": null}).to_string(), Class::MalformedAnswer, "without a finish reason"),
        bad("a refusal", sse(&[start(), empty(), text(0, "Hel"), reason("refusal"), stop()]), Class::ContentRefused, "refusal"),
        bad("a full context", sse(&[start(), empty(), text(0, "Hel"), reason("model_context_window_exceeded"), stop()]), Class::ContextTooLong, "model_context_window_exceeded"),
        bad("nothing said", sse(&[start(), empty(), reason("end_turn"), stop()]), Class::MalformedAnswer, "empty"),
        bad("thinking alone", sse(&[start(), begin(0, json!({"type": "thinking", "thinking": "Hmm."})), reason("end_turn"), stop()]), Class::MalformedAnswer, "nothing but reasoning"),
        good("no beginning of the block", without("content_block_start"), hello()),
        good("no end of the block", without("content_block_stop"), hello()),
        good("no beginning of the message", without("message_start"), Answer { usage: used(0, 3), model: None, id: None, ..hello() }),
        good("a beginning with text", sse(&[start(), begin(0, json!({"type": "text", "text": "Hel"})), text(0, "lo"), reason("end_turn"), stop()]), hello()),
        good("a whole message as an event", sse(&[json!({"type": "message", "id": "m1", "model": "c1", "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "usage": {"input_tokens": 9, "output_tokens": 3}})]), hello()),
        good("a whole message with mere text", json!({"type": "message", "id": "m1", "model": "c1", "content": "Hello", "stop_reason": "stop_sequence", "usage": {"input_tokens": 9, "output_tokens": 3}}).to_string(), hello()),
        good("half of a surrogate pair", body.replace("\"Hel\"", "\"Hel\\ud83d\""), answer(vec![said("Hel\u{fffd}lo")], Finish::Stop)),
        good("what comes behind the end", body.clone() + "event: error\ndata: {\"type\": \"error\"}\n\n", hello()),
        bad("nothing", "", Class::MalformedAnswer, "without an answer"),
        bad("only a beginning", sse(&[start(), empty(), text(0, "Hel"), end(0)]), Class::MalformedAnswer, "broke off"),
        bad("an HTML page", "<html></html>", Class::MalformedAnswer, "HTML"),
        bad("words", "upstream connect error\n", Class::MalformedAnswer, "upstream connect error"),
        bad("a good status and an error", json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}).to_string(), Class::RateLimited, "slow"),
        bad("another format's error", json!({"error": {"message": "no such model", "code": "model_not_found"}}).to_string(), Class::ModelGone, "no such model"),
        bad("an error without its envelope", sse(&[start(), json!({"type": "api_error", "message": "Internal server error"})]), Class::Transient, "Internal server error"),
    ]);
    for (word, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("pause_turn", Finish::Paused),
    ] {
        let body = sse(&[start(), empty(), text(0, "Hello"), end(0), reason(word), stop()]);
        assert_eq!(SERVER.read(&body, 99, &mut |_| {}), Ok(answer(vec![said("Hello")], finish)));
    }
}

/// What servers of other makes do to the format, as they do to the chat format.
#[test]
fn members_that_are_missing_or_of_other_types() {
    let by = |index: Value, events: [Value; 2]| {
        events.map(|mut event| {
            event["index"] = index.clone();
            event
        })
    };
    let block = || json!({"type": "text", "text": ""});
    let two = |index: Value| by(index, [begin(0, block()), text(0, "Hello")]);
    let with = |events: &[Value]| sse(&[&[start()], events, &[reason("end_turn"), stop()]].concat());
    let usage = |first: Value, last: Value| {
        let mut events = [start(), begin(0, block()), text(0, "Hello"), reason("end_turn"), stop()];
        (events[0]["message"]["usage"], events[3]["usage"]) = (first, last);
        sse(&events)
    };
    let counted = |usage| Answer { usage, ..hello() };
    let mut damaged = with(&two(json!(0))).replace("Hello", "Hel?o").into_bytes();
    let at = damaged.iter().position(|byte| *byte == b'?').unwrap();
    damaged[at] = 0xFF;
    SERVER.check(vec![
        good("an index that is a text", with(&two(json!("0"))), hello()),
        good("an index that is a float", with(&two(json!(0.0))), hello()),
        good("no index", with(&two(Value::Null)), hello()),
        good(
            "ids and names of other types",
            sse(&[
                json!({"type": "message_start", "message": {"id": 17, "role": null, "model": null, "content": null, "usage": null}}),
                begin(0, block()),
                text(0, "Hello"),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": 5}, "usage": "many"}),
                stop(),
            ]),
            Answer { id: Some("17".into()), model: None, usage: None, ..hello() },
        ),
        good("a text that is null", with(&[begin(0, json!({"type": "text", "text": null})), text(0, "Hello")]), hello()),
        good("a block without its type", with(&[begin(0, json!({"text": "Hel"})), text(0, "lo")]), hello()),
        good(
            "a call without its type and id",
            with(&[begin(0, json!({"name": "f", "input": {}})), input(0, "{\"x\":1}"), end(0)]),
            answer(vec![call("", "f", "{\"x\":1}")], Finish::Stop),
        ),
        good("deltas that are null", with(&[begin(0, block()), delta(0, Value::Null), text(0, "Hello")]), hello()),
        good("a block that is null", with(&[begin(0, Value::Null), begin(1, block()), text(1, "Hello")]), hello()),
        good("a reason that is empty, and then one", with(&[begin(0, block()), text(0, "Hello"), reason("")]), hello()),
        good("events in an array", format!("data: {}\n\n", json!([start(), begin(0, block()), text(0, "Hello"), reason("end_turn"), stop()])), hello()),
        good("two events in one", with(&two(json!(0))).replace("\n\nevent: content_block_delta\ndata: ", " "), hello()),
        good("bytes that are no text", damaged, answer(vec![said("Hel\u{fffd}o")], Finish::Stop)),
        good("tokens as texts and floats", usage(json!({"input_tokens": "9", "output_tokens": 1.0}), json!({"output_tokens": 3.0})), hello()),
        good("tokens told in parts", usage(json!({}), json!({"output_tokens": 3})), counted(used(0, 3))),
        good("tokens below nothing and beyond everything", usage(json!({"input_tokens": -9}), json!({"output_tokens": 1e300})), counted(None)),
        good("tokens told at the end", usage(Value::Null, json!({"input_tokens": 9, "output_tokens": 3})), hello()),
        bad("an error that is a text", r#"{"error": "model \"x\" not found, try pulling it first"}"#, Class::ModelGone, "not found"),
        bad("an error as FastAPI's", r#"{"detail": "Rate limit exceeded"}"#, Class::RateLimited, "Rate limit"),
        bad("an error in an array", json!([{"error": {"code": 503, "message": "overloaded"}}]).to_string(), Class::Transient, "overloaded"),
        bad("an error with a number", json!({"error": {"code": 429, "message": "slow down"}}).to_string(), Class::RateLimited, "slow down"),
    ]);
}

#[test]
fn calls() {
    let with = |events: &[Value], why: &str| {
        let tail = [reason(why), stop()];
        sse(&[&[start()], events, &tail].concat())
    };
    let calls = |parts| answer(parts, Finish::ToolCalls);
    let whole = |input: Value| begin(0, json!({"type": "tool_use", "id": "toolu_0", "name": "f", "input": input}));
    let x = || vec![tool_use(0, "f"), input(0, ""), input(0, "{\"x\""), input(0, ": 1}"), end(0)];
    SERVER.check(vec![
        good("in pieces", with(&x(), "tool_use"), calls(vec![call("toolu_0", "f", "{\"x\": 1}")])),
        good(
            "no arguments",
            with(&[tool_use(0, "f"), input(0, ""), end(0)], "tool_use"),
            calls(vec![call("toolu_0", "f", "{}")]),
        ),
        good(
            "no arguments and no piece",
            with(&[tool_use(0, "f"), end(0)], "tool_use"),
            calls(vec![call("toolu_0", "f", "{}")]),
        ),
        good(
            "no input at all",
            with(&[begin(0, json!({"type": "tool_use", "id": "toolu_0", "name": "f"})), end(0)], "tool_use"),
            calls(vec![call("toolu_0", "f", "{}")]),
        ),
        good(
            "whole as it begins",
            with(&[whole(json!({"n": 0})), end(0)], "tool_use")
                .replace("{\"n\":0}", "{\"n\": 12345678901234567890123}"),
            calls(vec![call("toolu_0", "f", "{\"n\": 12345678901234567890123}")]),
        ),
        good(
            "whole, and again in pieces",
            with(&[whole(json!({"x": 1})), input(0, "{\"x\": 1}"), end(0)], "tool_use"),
            calls(vec![call("toolu_0", "f", "{\"x\": 1}")]),
        ),
        good(
            "whole as text",
            with(&[whole(json!("{\"x\":1}")), end(0)], "tool_use"),
            calls(vec![call("toolu_0", "f", "{\"x\":1}")]),
        ),
        good(
            "no end of the block",
            with(&[tool_use(0, "f"), input(0, "{}")], "tool_use"),
            calls(vec![call("toolu_0", "f", "{}")]),
        ),
        good(
            "neither end nor arguments",
            with(&[tool_use(0, "f")], "tool_use"),
            calls(vec![cut(call("toolu_0", "f", "{}"))]),
        ),
        good(
            "in parallel",
            with(
                &[
                    tool_use(0, "f"),
                    input(0, "{\"x\":"),
                    tool_use(1, "g"),
                    input(1, "{\"y\":2}"),
                    input(0, "1}"),
                    end(1),
                    end(0),
                ],
                "tool_use",
            ),
            calls(vec![call("toolu_0", "f", "{\"x\":1}"), call("toolu_1", "g", "{\"y\":2}")]),
        ),
        good(
            "one index for all",
            with(
                &[tool_use(0, "f"), input(0, "{\"x\":1}"), end(0), tool_use(0, "g"), input(0, "{\"y\":2}"), end(0)],
                "tool_use",
            ),
            calls(vec![call("toolu_0", "f", "{\"x\":1}"), call("toolu_0", "g", "{\"y\":2}")]),
        ),
        good(
            "cut by the limit",
            with(&[tool_use(0, "f"), input(0, "{}"), end(0), tool_use(1, "g"), input(1, "{\"y\":")], "max_tokens"),
            answer(vec![call("toolu_0", "f", "{}"), cut(call("toolu_1", "g", "{\"y\":"))], Finish::Length),
        ),
        good(
            "cut by the limit where it looks whole",
            with(&[tool_use(0, "f"), input(0, "{}"), end(0)], "max_tokens"),
            answer(vec![cut(call("toolu_0", "f", "{}"))], Finish::Length),
        ),
        good(
            "cut and denied",
            with(&[tool_use(0, "f"), input(0, "{\"x\": \"a"), end(0)], "tool_use"),
            calls(vec![cut(call("toolu_0", "f", "{\"x\": \"a"))]),
        ),
        bad("arguments for no call", with(&[input(0, "{}")], "tool_use"), Class::MalformedAnswer, "never begun"),
        bad(
            "arguments behind the end of the call",
            with(&[tool_use(0, "f"), input(0, "{}"), end(0), input(0, "{}")], "tool_use"),
            Class::MalformedAnswer,
            "never begun",
        ),
        bad(
            "arguments within a text",
            with(&[begin(0, json!({"type": "text", "text": "x"})), input(0, "{}")], "tool_use"),
            Class::MalformedAnswer,
            "no call",
        ),
        bad(
            "an unknown piece of a call",
            with(&[tool_use(0, "f"), delta(0, json!({"type": "riddle"}))], "tool_use"),
            Class::MalformedAnswer,
            "riddle",
        ),
        bad(
            "arguments that are no text",
            with(&x(), "tool_use").replace("\\\"x\\\"", "\\\"\\ud83d\\\""),
            Class::MalformedAnswer,
            "no text",
        ),
        bad("a lost stream", sse(&[&[start()], &x()[..]].concat()), Class::MalformedAnswer, "broke off"),
    ]);
}

#[test]
fn thoughts_and_unknown_blocks() {
    let with = |events: &[Value]| sse(&[&[start()], events, &[reason("end_turn"), stop()]].concat());
    let thinking = |block: Value| begin(0, block);
    let sign = |text: &str| delta(0, json!({"type": "signature_delta", "signature": text}));
    let think = |text: &str| delta(0, json!({"type": "thinking_delta", "thinking": text}));
    let hello = || [begin(1, json!({"type": "text", "text": "Hello"})), end(1)];
    let only = |part: Option<AnswerPart>| answer(part.into_iter().chain([said("Hello")]).collect(), Finish::Stop);
    let row = |name, events: &[Value], part| good(name, with(&[events, &hello()[..]].concat()), only(part));
    let search = || begin(0, json!({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}));
    SERVER.check(vec![
        row(
            "signed",
            &[
                thinking(json!({"type": "thinking", "thinking": ""})),
                think("Hm"),
                think("m."),
                sign("c2"),
                sign("ln"),
                end(0),
            ],
            Some(thought("Hmm.", "thinking.signature", "c2ln")),
        ),
        row(
            "signed and not shown",
            &[thinking(json!({"type": "thinking", "thinking": "", "signature": ""})), sign("c2ln"), end(0)],
            Some(thought("", "thinking.signature", "c2ln")),
        ),
        row(
            "whole",
            &[thinking(json!({"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"})), end(0)],
            Some(thought("Hmm.", "thinking.signature", "c2ln")),
        ),
        row(
            "not signed",
            &[thinking(json!({"type": "thinking"})), think("Hmm."), end(0)],
            Some(thought("Hmm.", "thinking", "")),
        ),
        row("never announced", &[think("Hmm."), end(0)], Some(thought("Hmm.", "thinking", ""))),
        row("nothing", &[thinking(json!({"type": "thinking"})), end(0)], None),
        row(
            "redacted",
            &[thinking(json!({"type": "redacted_thinking", "data": "c2ln"})), end(0)],
            Some(thought("", "redacted_thinking", "c2ln")),
        ),
        row(
            "an unknown block",
            &[thinking(json!({"type": "hologram", "n": 1.0})), end(0)],
            Some(kept("hologram", r#"{"type":"hologram","n":1.0}"#)),
        ),
        row(
            "with input",
            &[search(), input(0, "{\"q\":"), input(0, "1}"), end(0)],
            Some(kept("server_tool_use", r#"{"type":"server_tool_use","id":"s","name":"n","input":{"q":1}}"#)),
        ),
        row("with input that is none", &[search(), input(0, "{\"q\":"), end(0)], None),
        row(
            "with unknown pieces",
            &[thinking(json!({"type": "hologram"})), delta(0, json!({"type": "light", "x": 1})), end(0)],
            None,
        ),
        row(
            "and all others with it",
            &[search(), input(0, "{"), end(0), begin(2, json!({"type": "hologram"})), end(2)],
            None,
        ),
    ]);
}

#[test]
fn pieces_are_told_as_they_come() {
    let body = sse(&[
        start(),
        begin(0, json!({"type": "thinking", "thinking": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hmm"})),
        end(0),
        begin(1, json!({"type": "text", "text": ""})),
        text(1, "Hel"),
        text(1, "lo"),
        end(1),
        tool_use(2, "files__read"),
        input(2, "{}"),
        end(2),
        reason("tool_use"),
        stop(),
    ]);
    let told = SERVER.told(&body);
    assert_eq!(told, [r#"Reasoning("Hmm")"#, r#"Text("Hel")"#, r#"Text("lo")"#, r#"Call("files__read")"#]);
}

#[test]
fn no_beginning_of_an_answer_passes_for_it() {
    let body = include_str!("../../../tests/golden/anthropic/tool_use.sse");
    SERVER.no_beginning_passes(body, "\"stop_reason\":\"tool_use\"");
}

proptest::proptest! {
    /// Whatever a server sends, reading it ends, does not panic, and does not depend on how the bytes are split.
    #[test]
    fn damage_is_read_the_same_in_any_split(
        at in 0usize..4000, cut in 0usize..40, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20), step in 1usize..50,
    ) {
        SERVER.damaged(include_str!("../../../tests/golden/anthropic/tool_use.sse"), (at, cut), with, step);
    }
}

fn rendered(request: &Request, model: &str) -> Value {
    Server { target: Target { model, ..TARGET }, ..SERVER }.rendered(request)
}

/// The messages without the marks for the cache.
fn messages(request: &Request, model: &str) -> Value {
    let mut messages = rendered(request, model)["messages"].take();
    for block in messages.as_array_mut().unwrap().iter_mut().flat_map(|turn| turn["content"].as_array_mut().unwrap()) {
        block.as_object_mut().unwrap().remove("cache_control");
    }
    messages
}

fn media(mime: &str, source: MediaSource) -> Part {
    Part::Image(Media { name: None, mime: mime.into(), source })
}

#[test]
fn a_request_by_the_book() {
    let request = Request {
        system: Some("Be brief.".into()),
        tools: Arc::new([
            ToolDef {
                description: "Reads".into(),
                ..tool("f", json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}))
            },
            tool("now", json!({"type": "object", "properties": {}})),
        ]),
        choice: Choice::Tool("f".into()),
        temperature: Some(1.5),
        output_tokens_max: Some(500),
        ..request(vec![
            user("Hi"),
            Message::Assistant(vec![
                Part::text("Let me see."),
                tool_call(1, "f", "{\"n\": 1}"),
                tool_call(2, "f", "{}"),
            ]),
            result(1, "f", vec![Part::text("one"), image()], false),
            result(2, "f", vec![], true),
            user("Well?"),
        ])
    };
    let golden: Value = serde_json::from_str(include_str!("../../../tests/golden/anthropic/request.json")).unwrap();
    assert_eq!(rendered(&request, "claude-sonnet-4-5"), golden);
}

#[test]
fn what_goes_beside_the_body() {
    let headers = |model, quirks: &Quirks| {
        let headers = Messages.headers(Some(&"s3cret".into()), Target { model, quirks, ..TARGET }).unwrap();
        let mut told: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        told.sort();
        (told, headers.values().filter(|value| value.is_sensitive()).count())
    };
    let version = "anthropic-version: 2023-06-01".to_owned();
    assert_eq!(headers("claude-opus-4-6", &Quirks::NONE), (vec![version.clone(), "x-api-key: s3cret".into()], 1));
    assert_eq!(
        headers("claude-opus-5-5", &Quirks { bearer: true, ..Quirks::NONE }),
        (
            vec![
                "anthropic-beta: thinking-binding-controls-2026-08-01".into(),
                version,
                "authorization: Bearer s3cret".into()
            ],
            1
        )
    );
    let url = |base: &str| Messages.url(&base.parse().unwrap(), "").to_string();
    assert_eq!(url("https://api.anthropic.com/v1"), "https://api.anthropic.com/v1/messages");
    assert_eq!(url("https://host/v1/messages?x=1"), "https://host/v1/messages?x=1");
}

/// Pitfalls 14, 16, 17, 24: results first and together, nothing blank, roles in turns.
#[test]
fn conversations_are_put_in_order() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let png = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGkh"}});
    let sound = Part::Audio(Media { name: None, mime: "audio/wav".into(), source: MediaSource::Base64("aGkh".into()) });
    let paper = Part::Document(Media {
        name: Some("a.pdf".into()),
        mime: "application/pdf".into(),
        source: MediaSource::Base64("aGkh".into()),
    });
    let at = |mime: &str| media(mime, MediaSource::Url("https://host/x".into()));
    let url = json!({"type": "url", "url": "https://host/x"});
    let request = request(vec![
        Message::Assistant(vec![Part::text("I am here.")]),
        user(" "),
        Message::User(vec![
            at("image/png"),
            sound,
            at("application/pdf"),
            at("audio/wav"),
            media("image/tiff", MediaSource::Base64("aGkh".into())),
            paper,
        ]),
        Message::Assistant(vec![
            Part::text(""),
            tool_call(1, "f", "{}"),
            tool_call(2, "f", "{\"a\": 12345678901234567890123, \"a\": 1.0}"),
        ]),
        result(1, "f", vec![Part::text("broken"), image()], true),
        result(2, "f", vec![Part::text(""), image()], false),
        Message::Assistant(vec![Part::text("\n")]),
        user("Go on"),
        Message::Assistant(vec![Part::text("Yes.")]),
    ]);
    let use_of = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let mut expected = json!([
        {"role": "user", "content": [text("Begin.")]},
        {"role": "assistant", "content": [text("I am here.")]},
        {"role": "user", "content": [
            text("(empty)"),
            {"type": "image", "source": url},
            text("[audio/wav, 3 bytes; left out: this service takes no media of this type]"),
            {"type": "document", "source": url},
            text("[audio/wav, at https://host/x; left out: this service takes no media of this type]"),
            text("[image/tiff, 3 bytes; left out: this service takes no media of this type]"),
            {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGkh"}},
        ]},
        {"role": "assistant", "content": [use_of("t0001c001"), use_of("t0001c002")]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t0001c001", "content": [text("broken"), text("[media 1: behind the results]")], "is_error": true},
            {"type": "tool_result", "tool_use_id": "t0001c002", "content": [png]},
            text("[media 1 of the result of f (t0001c001)]"),
            png,
            text("Go on"),
        ]},
        {"role": "assistant", "content": [text("Yes.")]},
        {"role": "user", "content": [text("Continue.")]},
    ]);
    let mut found = messages(&request, "claude-sonnet-4-5");
    expected[3]["content"][1]["input"] = found[3]["content"][1]["input"].take();
    assert_eq!(found[3]["content"][1]["input"], Value::Null);
    found[3]["content"][1]["input"] = expected[3]["content"][1]["input"].clone();
    assert_eq!(found, expected);
    // What the model wrote goes back as it stood.
    let body = SERVER.written(&request);
    assert!(body.contains(r#""input":{"a": 12345678901234567890123, "a": 1.0}"#), "{body}");
    assert_eq!(
        messages(&self::request(vec![]), "claude-sonnet-4-5"),
        json!([{"role": "user", "content": [text("Begin.")]}])
    );
}

/// Pitfall 25: a conversation with calls, and no tools on offer.
#[test]
fn called_tools_are_named_where_none_are_offered() {
    let request =
        request(vec![user("Hi"), Message::Assistant(vec![tool_call(1, "f", "{}")]), result(1, "f", vec![], false)]);
    let body = rendered(&request, "claude-opus-5-5");
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
    assert_eq!(body["tools"][0]["name"], "f");
    assert_eq!(rendered(&self::request(vec![user("Hi")]), "claude-opus-5-5").get("tools"), None);
}

/// Pitfall 19: a union at the root of one tool's schema has the whole request refused.
#[test]
fn schemas_have_no_union_at_their_root() {
    let schemas = [
        json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "object", "properties": {"b": {}}}]}),
        json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {}, "b": {}}}),
        json!({"allOf": [{"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}]}),
        json!(true),
    ];
    let tools: Vec<_> = schemas.iter().map(|schema| tool("f", schema.clone())).collect();
    let body = rendered(&Request { tools: tools.into(), ..request(vec![user("Hi")]) }, "claude-sonnet-4-5");
    for tool in body["tools"].as_array().unwrap() {
        let schema = tool["input_schema"].as_object().unwrap();
        assert_eq!(schema["type"], "object", "{schema:?}");
        assert!(["anyOf", "oneOf", "allOf"].iter().all(|union| !schema.contains_key(*union)), "{schema:?}");
    }
    assert_eq!(body["tools"][0]["input_schema"]["properties"].as_object().unwrap().len(), 2);
}

#[test]
fn the_form_of_an_answer() {
    let output = OutputFormat {
        name: "out".into(),
        schema: Arc::new(
            json!({"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}),
        ),
    };
    let request =
        Request { output: Some(Arc::new(output)), effort: Some(ReasoningEffort::Low), ..request(vec![user("Hi")]) };
    let body = rendered(&request, "claude-opus-4-6");
    assert_eq!(body["output_config"]["effort"], "low");
    assert_eq!(body["output_config"]["format"]["type"], "json_schema");
    let schema = &body["output_config"]["format"]["schema"];
    assert_eq!((&schema["additionalProperties"], schema["properties"]["n"].get("minimum")), (&json!(false), None));
    // Where there is no member for it, it is said.
    let body = rendered(&request, "claude-opus-4-1");
    assert_eq!(body.get("output_config"), None);
    assert!(body["system"][0]["text"].as_str().unwrap().contains("\"minimum\":1"), "{body}");
}

/// Pitfalls 8 and 13, for each kind of model.
#[test]
fn models_think_where_they_can() {
    let signed = |model: &str| {
        let opaque = Box::new(Opaque { model: model.into(), ..*SERVER.opaque("thinking.signature", "c2ln") });
        Part::Reasoning(Reasoning { text: "Hmm.".into(), opaque: Some(opaque) })
    };
    let plain = |_: &str| vec![user("Hi")];
    // A turn that waits for its results, with the thought that it began with and without.
    let open = |model: &str| {
        vec![
            user("Hi"),
            Message::Assistant(vec![signed(model), tool_call(1, "f", "{}")]),
            result(1, "f", vec![], false),
        ]
    };
    let foreign = |_: &str| open("another");
    let closed =
        |model: &str| [foreign(model), vec![Message::Assistant(vec![Part::text("Done.")]), user("And now?")]].concat();
    let later = |model: &str| {
        [
            foreign(model),
            vec![Message::Assistant(vec![signed(model), tool_call(2, "f", "{}")]), result(2, "f", vec![], false)],
        ]
        .concat()
    };
    type Conversation<'a> = &'a dyn Fn(&str) -> Vec<Message>;
    type Case<'a> = (&'a str, Option<ReasoningEffort>, bool, Conversation<'a>, Value, bool);
    let (low, high) = (Some(ReasoningEffort::Low), Some(ReasoningEffort::High));
    let adaptive = || json!({"type": "adaptive"});
    let bound = || json!({"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}});
    let budget = |tokens: u32| json!({"type": "enabled", "budget_tokens": tokens});
    // Model, effort, whether a call is forced, the conversation; what is said of thinking, whether thoughts go back.
    let table: Vec<Case<'_>> = vec![
        ("claude-3-5-haiku-20241022", high, false, &plain, Value::Null, false),
        ("claude-sonnet-4-5", None, false, &open, Value::Null, false),
        ("claude-sonnet-4-5", low, false, &plain, budget(4_000), false),
        ("claude-sonnet-4-5", high, false, &open, budget(24_000), true),
        ("claude-sonnet-4-5", high, false, &foreign, Value::Null, false),
        ("claude-sonnet-4-5", high, false, &closed, budget(24_000), false),
        ("claude-sonnet-4-5", high, false, &later, Value::Null, false),
        ("claude-sonnet-4-5", high, true, &open, Value::Null, false),
        ("claude-opus-4-6", None, false, &open, Value::Null, false),
        ("claude-opus-4-6", low, false, &open, adaptive(), true),
        ("claude-opus-4-6", low, false, &foreign, adaptive(), false),
        ("claude-opus-4-6", low, true, &open, Value::Null, false),
        ("claude-opus-5", None, false, &open, Value::Null, true),
        ("claude-opus-5", high, false, &open, adaptive(), true),
        ("claude-opus-5", high, true, &open, json!({"type": "disabled"}), false),
        ("claude-opus-5-5", None, false, &plain, Value::Null, false),
        ("claude-opus-5-5", None, false, &open, bound(), true),
        ("claude-opus-5-5", high, true, &later, bound(), true),
        ("claude-opus-5-5", high, false, &foreign, adaptive(), false),
        ("deepseek-chat", low, false, &open, budget(4_000), true),
    ];
    for (n, (model, effort, is_forced, conversation, thinking, goes_back)) in table.into_iter().enumerate() {
        let request = Request {
            effort,
            temperature: Some(0.0),
            tools: Arc::new([tool("f", json!({"type": "object", "properties": {}}))]),
            choice: if is_forced { Choice::Tool("f".into()) } else { Choice::Auto },
            ..request(conversation(model))
        };
        let body = rendered(&request, model);
        let case = format!("row {n}, {model}: {body}");
        assert_eq!(body.get("thinking").unwrap_or(&Value::Null), &thinking, "{case}");
        assert_eq!(body.to_string().contains("\"c2ln\""), goes_back, "{case}");
        let forces = body["tool_choice"]["type"] == "tool";
        assert_eq!(forces, is_forced && model != "claude-opus-5-5", "{case}");
        assert!(!forces || matches!(thinking["type"].as_str(), None | Some("disabled")), "{case}");
        let takes_temperature =
            thinking.is_null() && ["3-5", "4-5", "4-6", "deep"].iter().any(|name| model.contains(name));
        assert_eq!(body.get("temperature").is_some(), takes_temperature, "{case}");
    }
    // A budget is less than what the answer may have; where that is too little, the model does not think.
    for (tokens, thinking) in [(5_000, budget(2_500)), (2_000, Value::Null)] {
        let request = Request { effort: high, output_tokens_max: Some(tokens), ..request(plain("")) };
        assert_eq!(rendered(&request, "claude-sonnet-4-5").get("thinking").unwrap_or(&Value::Null), &thinking);
    }
    let tokens = |model: &str, wanted| {
        rendered(&Request { output_tokens_max: wanted, ..request(plain("")) }, model)["max_tokens"].take()
    };
    assert_eq!(tokens("claude-opus-4-1", None), 32_000);
    assert_eq!(tokens("claude-opus-4-1", Some(90_000)), 32_000);
    assert_eq!(tokens("kimi-k3", None), 8_192);
    assert_eq!(tokens("kimi-k3", Some(90_000)), 90_000);
}

/// Pitfalls 5 and 6: what an issuer gave goes back to it alone, byte for byte.
#[test]
fn what_an_issuer_gave_goes_back_to_it_alone() {
    let block = r#"{"type": "hologram", "n": 1.0}"#;
    let message = Message::Assistant(vec![
        Part::Reasoning(Reasoning {
            text: "Grüße".into(), opaque: Some(SERVER.opaque("thinking.signature", "a+/="))
        }),
        Part::Reasoning(Reasoning { text: "".into(), opaque: Some(SERVER.opaque("redacted_thinking", "b+/=")) }),
        Part::Reasoning(Reasoning { text: "foreign".into(), opaque: None }),
        Part::Opaque(SERVER.opaque("content.hologram", block)),
        Part::text("Hello"),
        Part::Reasoning(Reasoning { text: "trailing".into(), opaque: Some(SERVER.opaque("thinking.signature", "c")) }),
    ]);
    let request = Request { effort: Some(ReasoningEffort::Low), ..request(vec![user("Hi"), message, user("Go on")]) };
    let back = messages(&request, TARGET.model)[1]["content"].take();
    assert_eq!(
        back,
        json!([
            {"type": "thinking", "thinking": "Grüße", "signature": "a+/="},
            {"type": "redacted_thinking", "data": "b+/="},
            {"type": "hologram", "n": 1.0},
            {"type": "text", "text": "Hello"},
        ])
    );
    assert!(SERVER.written(&request).contains(block));
    let plain = json!([{"type": "text", "text": "Hello"}]);
    assert_eq!(messages(&request, "claude-sonnet-4-6")[1]["content"], plain);
    let elsewhere = Server { target: Target { issuer: "bedrock", ..TARGET }, ..SERVER }.rendered(&request);
    assert_eq!(elsewhere["messages"][1]["content"], plain);
}

/// Pitfall 26: at most four marks, and what one request marks the next one finds.
#[test]
fn marks_for_the_cache_move_on() {
    let turn = |n| {
        [
            Message::Assistant(vec![tool_call(n, "f", "{}")]),
            result(n, "f", vec![Part::text(format!("result {n}"))], false),
        ]
    };
    let request = |turns: u32| Request {
        system: Some("Be brief.".into()),
        tools: Arc::new([tool("f", json!({"type": "object", "properties": {}}))]),
        ..request([user("Hi")].into_iter().chain((1..=turns).flat_map(turn)))
    };
    let mut before: Option<Value> = None;
    for turns in 0..5 {
        let body = rendered(&request(turns), "claude-sonnet-4-5");
        assert_eq!(body.to_string().matches("cache_control").count(), if turns == 0 { 3 } else { 4 }, "{body}");
        if let Some(before) = before {
            let end = before["messages"].as_array().unwrap().len() - 1;
            let last = |body: &Value| {
                body["messages"][end]["content"].as_array().unwrap().last().unwrap()["cache_control"].clone()
            };
            assert_eq!((last(&before), last(&body)), (json!({"type": "ephemeral"}), json!({"type": "ephemeral"})));
        }
        before = Some(body);
    }
}

/// llama.cpp's server (build 10434): a call that its limit cuts has open arguments in a stream, and none in a document.
#[test]
fn what_llama_cpp_cuts() {
    let stream = sse(&[
        json!({"type": "message_start", "message": {"id": "m1", "type": "message", "role": "assistant", "content": [], "model": "c1", "stop_reason": null, "usage": {"cache_read_input_tokens": 224, "input_tokens": 1, "output_tokens": 0}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "slVrB", "name": "write_file"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\n  \"path\": \"fo"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "mo.txt"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": null}, "usage": {"output_tokens": 14}}),
        json!({"type": "message_stop"}),
    ]);
    let document = json!({"id": "m1", "type": "message", "role": "assistant", "content": [{"type": "tool_use", "id": "uAqVx", "name": "write_file", "input": {}}], "model": "c1", "stop_reason": "max_tokens", "stop_sequence": null, "usage": {"cache_read_input_tokens": 224, "input_tokens": 1, "output_tokens": 14}});
    let usage = Some(Usage { input: 225, cached: 224, output: 14, ..Usage::default() });
    let f = |id: &str, arguments: &str| Answer {
        usage,
        ..answer(vec![cut(call(id, "write_file", arguments))], Finish::Length)
    };
    SERVER.check(vec![
        good("streamed", stream, f("slVrB", "{\n  \"path\": \"fomo.txt")),
        good("whole", document.to_string(), f("uAqVx", "{}")),
    ]);
}
