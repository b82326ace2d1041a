//! What servers of the format really send, one deviation a row, and what we make of it; and what we send.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Responses;
use crate::{
    chat::{
        Answer, AnswerPart, Choice, Effect, EffectSource, Finish, Media, MediaSource, Message, OfferedName, Opaque,
        OutputFormat, Part, Reasoning, ReasoningEffort, Request, ToolDef, ToolName, Usage,
    },
    provider::{
        Class, Quirks,
        dialect::Target,
        table::{Server, answered, bad, call, cut, good, image, request, result, said, tool_call, user},
    },
};

const TARGET: Target<'_> = Target { issuer: "acme", model: "m1", quirks: &Quirks::NONE, strict: false };
const SERVER: Server = Server { format: &Responses, target: TARGET };

/// A stream of these events, each under its type as name.
fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect()
}

fn created() -> Value {
    json!({"type": "response.created", "sequence_number": 0, "response": {"id": "r1", "object": "response", "model": "m1-2026", "status": "in_progress", "output": [], "usage": null, "error": null, "incomplete_details": null}})
}

fn end(status: &str, output: Value, more: Value) -> Value {
    let mut response = json!({"id": "r1", "object": "response", "model": "m1-2026", "status": status, "output": output, "error": null, "incomplete_details": null});
    response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"type": format!("response.{status}"), "response": response})
}

fn completed(output: Value) -> Value {
    end("completed", output, json!({}))
}

fn message(text: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]})
}

fn function_call(n: u32, name: &str, arguments: &str) -> Value {
    json!({"id": format!("fc_{n}"), "type": "function_call", "status": "completed", "call_id": format!("call_{n}"), "name": name, "arguments": arguments})
}

fn added(index: u64, item: Value) -> Value {
    json!({"type": "response.output_item.added", "output_index": index, "item": item})
}

fn done(index: u64, item: Value) -> Value {
    json!({"type": "response.output_item.done", "output_index": index, "item": item})
}

fn text_delta(text: &str) -> Value {
    json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text})
}

fn arguments_delta(n: u32, index: u64, piece: &str) -> Value {
    json!({"type": "response.function_call_arguments.delta", "item_id": format!("fc_{n}"), "output_index": index, "delta": piece})
}

fn arguments_done(n: u32, index: u64, all: &str) -> Value {
    json!({"type": "response.function_call_arguments.done", "item_id": format!("fc_{n}"), "output_index": index, "arguments": all})
}

/// The call as an item begins with it.
fn begun(n: u32, name: &str) -> Value {
    json!({"id": format!("fc_{n}"), "type": "function_call", "status": "in_progress", "call_id": format!("call_{n}"), "name": name, "arguments": ""})
}

fn document(output: Value) -> String {
    completed(output)["response"].to_string()
}

/// These events without the members of these names, wherever they stand.
fn without(events: &[Value], keys: &[&str]) -> String {
    fn strip(value: &mut Value, keys: &[&str]) {
        match value {
            Value::Object(members) => {
                members.retain(|key, _| !keys.contains(&key.as_str()));
                members.values_mut().for_each(|value| strip(value, keys));
            }
            Value::Array(values) => values.iter_mut().for_each(|value| strip(value, keys)),
            _ => {}
        }
    }
    let mut events = events.to_vec();
    let names: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    events.iter_mut().for_each(|event| strip(event, keys));
    events.iter().zip(names).map(|(event, name)| format!("event: {name}\ndata: {event}\n\n")).collect()
}

fn answer(parts: Vec<AnswerPart>, finish: Finish) -> Answer {
    Answer { parts, finish, usage: None, model: Some("m1-2026".into()), id: Some("r1".into()) }
}

fn anonymous(answer: Answer) -> Answer {
    Answer { id: None, model: None, ..answer }
}

fn hello() -> Answer {
    answer(vec![said("Hello")], Finish::Stop)
}

fn calls(parts: Vec<AnswerPart>) -> Answer {
    answer(parts, Finish::ToolCalls)
}

fn thought(text: &str, json: Option<&str>) -> AnswerPart {
    AnswerPart::Reasoning(Reasoning { text: text.into(), opaque: json.map(|json| SERVER.opaque("reasoning", json)) })
}

#[test]
fn framing() {
    let events = [
        created(),
        json!({"type": "response.in_progress", "response": {"id": "r1"}}),
        added(
            0,
            json!({"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}),
        ),
        json!({"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": ""}}),
        text_delta("Hel"),
        text_delta("lo"),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": "Hello"}),
        json!({"type": "response.content_part.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": {"type": "output_text", "text": "Hello"}}),
        done(0, message("Hello")),
        completed(json!([message("Hello")])),
    ];
    let names_only = |text: String| -> String {
        text.lines()
            .map(|line| if line.starts_with("event") { "" } else { line })
            .map(|line| format!("{line}\n"))
            .collect()
    };
    SERVER.check(vec![
        good("by the book", sse(&events), hello()),
        good("without names", names_only(sse(&events)), hello()),
        good("names instead of types", without(&events, &["type"]), hello()),
        good("no blank line at the end", sse(&events).trim_end(), hello()),
        good("an end mark behind it", sse(&events) + "data: [DONE]\n\n", hello()),
        good(
            "what comes behind the last event",
            sse(&events) + "data: {\"type\": \"error\", \"message\": \"late\"}\n\n",
            hello(),
        ),
        good("carriage returns", sse(&events).replace('\n', "\r\n"), hello()),
        good("only the last event", sse(&events[9..]), hello()),
        good("no item but in the last event", sse(&[created(), completed(json!([message("Hello")]))]), hello()),
        good(
            "deltas and an empty list at the end",
            sse(&[text_delta("Hel"), text_delta("lo"), completed(json!([]))]),
            hello(),
        ),
        good(
            "no response in the last event",
            sse(&[text_delta("Hello"), json!({"type": "response.completed"})]),
            anonymous(hello()),
        ),
        good(
            "the response beside the type",
            sse(&[
                json!({"type": "response.completed", "id": "r1", "model": "m1-2026", "status": "completed", "output": [message("Hello")]}),
            ]),
            hello(),
        ),
        bad(
            "deltas and an end mark alone",
            sse(&[created(), text_delta("Hello")]) + "data: [DONE]\n\n",
            Class::MalformedAnswer,
            "without a finish reason",
        ),
        good(
            "the older last event",
            sse(&[text_delta("Hello"), json!({"type": "response.done", "response": {"id": "r1", "model": "m1-2026"}})]),
            hello(),
        ),
        good(
            "events of other kinds",
            sse(&[
                created(),
                json!({"type": "keepalive", "sequence_number": 1}),
                json!({"type": "response.web_search_call.searching", "item_id": "ws_1"}),
                json!({"type": "response.output_text.annotation.added", "item_id": "msg_1", "annotation": {}}),
                json!({"type": "response.hologram.delta", "delta": "x", "message": "m"}),
                json!({"type": "hologram"}),
                text_delta("Hello"),
                completed(json!([])),
            ]),
            hello(),
        ),
        good("a document", document(json!([message("Hello")])), hello()),
        good(
            "a document without status",
            json!({"id": "r1", "model": "m1-2026", "output": [message("Hello")]}).to_string(),
            hello(),
        ),
        good(
            "a document with the text that SDKs add",
            json!({"id": "r1", "model": "m1-2026", "status": "completed", "output_text": "Hello"}).to_string(),
            hello(),
        ),
        good("a document in an event", format!("data: {}\n\n", document(json!([message("Hello")]))), hello()),
        good(
            "JSON lines instead of events",
            events.iter().map(|event| format!("{event}\n")).collect::<String>(),
            hello(),
        ),
        bad("cut before the last event", sse(&events[..9]), Class::MalformedAnswer, "broke off"),
        bad("cut within an event", &sse(&events)[..700], Class::MalformedAnswer, "broke off"),
        bad("created, and nothing more", sse(&events[..2]), Class::MalformedAnswer, "without an answer"),
        bad("an end mark alone", "data: [DONE]\n\n", Class::MalformedAnswer, "without an answer"),
        bad("nothing", "", Class::MalformedAnswer, "without an answer"),
        bad("plain text", "upstream connect error", Class::MalformedAnswer, "upstream connect error"),
        bad("a page", "<!doctype html><html><title>Login</title></html>", Class::MalformedAnswer, "HTML"),
        bad(
            "another format",
            json!({"choices": [{"message": {"content": "Hello"}}]}).to_string(),
            Class::MalformedAnswer,
            "without an answer",
        ),
        bad(
            "a document that is not over",
            json!({"id": "r1", "status": "in_progress", "output": []}).to_string(),
            Class::MalformedAnswer,
            "broke off",
        ),
        bad("garbage in the midst", format!("{}data: {{]}}\n\n", sse(&events[..5])), Class::MalformedAnswer, "no JSON"),
        bad(
            "nested without end",
            format!("data: {{\"output\": {}\n\n", "[".repeat(100_000)),
            Class::MalformedAnswer,
            "no JSON",
        ),
        bad(
            "too many items",
            sse(&(0..1100).map(|n| added(n, json!({"id": format!("i{n}"), "type": "message"}))).collect::<Vec<_>>()),
            Class::MalformedAnswer,
            "1024",
        ),
        bad(
            "too many texts",
            sse(&(0..1100)
                .map(|n| json!({"type": "response.output_text.delta", "content_index": n, "delta": "x"}))
                .collect::<Vec<_>>()),
            Class::MalformedAnswer,
            "1024",
        ),
    ]);
}

#[test]
fn messages() {
    let with = |content: Value| document(json!([{"type": "message", "role": "assistant", "content": content}]));
    SERVER.check(vec![
        good("no annotations", with(json!([{"type": "output_text", "text": "Hello"}])), hello()),
        good("content that is a text", with(json!("Hello")), hello()),
        good("content that is one part", with(json!({"type": "output_text", "text": "Hello"})), hello()),
        good("parts that are texts", with(json!(["Hel", "lo"])), hello()),
        good("two parts", with(json!([{"type": "output_text", "text": "Hel"}, {"type": "text", "text": "lo"}])), hello()),
        good("an item without a type", document(json!([{"content": [{"text": "Hello"}]}])), hello()),
        bad("no content", with(Value::Null), Class::MalformedAnswer, "empty"),
        good("items that are null", document(json!([null, message("Hello"), 7])), hello()),
        good("a content part of an unknown kind", with(json!([{"type": "hologram", "n": 1.0}, {"type": "output_text", "text": "Hello"}])), answer(vec![said("Hello"), AnswerPart::Opaque(SERVER.opaque("content.hologram", r#"{"type":"hologram","n":1.0}"#))], Finish::Stop)),
        good("an item of an unknown kind, as written", "{\"id\": \"r1\", \"model\": \"m1-2026\", \"status\": \"completed\", \"output\": [{\"type\": \"hologram\",  \"n\": 1.00}, {\"type\": \"message\", \"content\": \"Hello\"}]}", answer(vec![AnswerPart::Opaque(SERVER.opaque("item.hologram", "{\"type\": \"hologram\",  \"n\": 1.00}")), said("Hello")], Finish::Stop)),
        good("two messages", sse(&[
            json!({"type": "response.output_text.delta", "item_id": "a", "output_index": 0, "delta": "One"}),
            json!({"type": "response.output_text.delta", "item_id": "b", "output_index": 1, "delta": "Two"}),
            completed(json!([])),
        ]), answer(vec![said("OneTwo")], Finish::Stop)),
        good("two messages, told apart", sse(&[
            added(0, json!({"id": "a", "type": "message"})), json!({"type": "response.output_text.delta", "item_id": "a", "output_index": 0, "delta": "One"}), done(0, json!({"id": "a", "type": "message", "content": [{"type": "output_text", "text": "One"}]})),
            added(1, json!({"id": "b", "type": "message"})), json!({"type": "response.output_text.delta", "item_id": "b", "output_index": 1, "delta": "Two"}),
            completed(json!([])),
        ]), answer(vec![said("One"), said("Two")], Finish::Stop)),
        good("another id in every event", sse(&[
            added(0, json!({"id": "x1", "type": "message"})),
            json!({"type": "response.output_text.delta", "item_id": "x2", "output_index": 0, "delta": "Hel"}),
            json!({"type": "response.output_text.delta", "item_id": "x3", "output_index": 0, "delta": "lo"}),
            done(0, json!({"id": "x4", "type": "message", "content": [{"type": "output_text", "text": "Hello"}]})),
            completed(json!([{"id": "x5", "type": "message", "content": [{"type": "output_text", "text": "Hello"}]}])),
        ]), hello()),
        good("the whole contradicts the pieces", sse(&[text_delta("Help"), done(0, message("Hello")), completed(json!([]))]), hello()),
        good("the pieces lack the end", sse(&[text_delta("Hel"), completed(json!([message("Hello")]))]), hello()),
        good("an empty whole", sse(&[text_delta("Hello"), json!({"type": "response.output_text.done", "item_id": "msg_1", "text": ""}), completed(json!([]))]), hello()),
        bad("a refusal", sse(&[
            json!({"type": "response.refusal.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "I "}),
            json!({"type": "response.refusal.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "won't."}),
            json!({"type": "response.refusal.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "refusal": "I won't."}),
            completed(json!([])),
        ]), Class::ContentRefused, "refused"),
        bad("a refusal in a document", with(json!([{"type": "refusal", "refusal": "I won't."}])), Class::ContentRefused, "refused"),
        good("a phase", document(json!([{"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "Hello"}]}])), answer(vec![AnswerPart::Opaque(SERVER.opaque("message.phase", "\"commentary\"")), said("Hello")], Finish::Stop)),
        good("half a surrogate pair in text", r#"data: {"type": "response.output_text.delta", "delta": "a\ud83d"}

data: {"type": "response.completed", "response": {"id": "r1", "model": "m1-2026"}}"#, answer(vec![said("a\u{fffd}")], Finish::Stop)),
        good("members of other types", json!({"id": 17, "model": null, "created_at": 1.5, "status": "completed", "error": null, "output": [{"type": "message", "id": 3, "status": null, "role": "", "content": [{"type": "output_text", "text": "Hello", "annotations": {}}]}], "usage": {}, "tools": 5}).to_string(), Answer { id: Some("17".into()), model: None, ..hello() }),
    ]);
}

#[test]
fn calls_on_the_wire() {
    let f = || function_call(1, "f", "{\"x\":1}");
    let g = || function_call(2, "g", "{}");
    let by_the_book = [
        created(),
        added(0, begun(1, "f")),
        arguments_delta(1, 0, "{\"x\""),
        arguments_delta(1, 0, ":1}"),
        arguments_done(1, 0, "{\"x\":1}"),
        done(0, f()),
        added(1, begun(2, "g")),
        arguments_delta(2, 1, "{}"),
        arguments_done(2, 1, "{}"),
        done(1, g()),
        completed(json!([f(), g()])),
    ];
    let both = || calls(vec![call("call_1", "f", "{\"x\":1}"), call("call_2", "g", "{}")]);
    let only_f = || calls(vec![call("call_1", "f", "{\"x\":1}")]);
    let one = |item: Value| document(json!([item]));
    let with_arguments = |arguments: Value| {
        let mut item = f();
        item["arguments"] = arguments;
        one(item)
    };
    SERVER.check(vec![
        good("by the book", sse(&by_the_book), both()),
        good(
            "without sequence numbers, status and object",
            without(&by_the_book[..10], &["sequence_number", "status", "object"]) + &sse(&by_the_book[10..]),
            both(),
        ),
        good("without output indexes, as llama.cpp", without(&by_the_book, &["output_index"]), both()),
        good("without item ids", without(&by_the_book, &["item_id"]), both()),
        good("without item ids and indexes", without(&by_the_book, &["item_id", "output_index"]), both()),
        good(
            "without any id but those of calls",
            without(&by_the_book[1..10], &["item_id", "id"]) + &sse(&by_the_book[10..]),
            both(),
        ),
        good("nothing of the calls at the end", sse(&[&by_the_book[..10], &[completed(json!([]))]].concat()), both()),
        good(
            "arguments only when they are done",
            sse(&[created(), added(0, begun(1, "f")), arguments_done(1, 0, "{\"x\":1}"), completed(json!([]))]),
            only_f(),
        ),
        good(
            "arguments only in the item",
            sse(&[created(), added(0, begun(1, "f")), done(0, f()), completed(json!([]))]),
            only_f(),
        ),
        good(
            "arguments only at the end",
            sse(&[created(), added(0, begun(1, "f")), completed(json!([f()]))]),
            only_f(),
        ),
        good("arguments where the item begins", sse(&[created(), added(0, f()), completed(json!([]))]), only_f()),
        good(
            "arguments where the item begins, and in pieces",
            sse(&[created(), added(0, f()), arguments_delta(1, 0, "{\"x\":1}"), completed(json!([]))]),
            only_f(),
        ),
        good(
            "a stand-in where the item begins",
            sse(&[
                created(),
                added(0, function_call(1, "f", "{}")),
                arguments_done(1, 0, "{\"x\":1}"),
                completed(json!([f()])),
            ]),
            only_f(),
        ),
        good("only at the end", sse(&[created(), completed(json!([f(), g()]))]), both()),
        good("done without a beginning", sse(&[created(), done(0, f()), done(1, g()), completed(json!([]))]), both()),
        good(
            "side by side",
            sse(&[
                created(),
                added(0, begun(1, "f")),
                added(1, begun(2, "g")),
                arguments_delta(1, 0, "{\"x\""),
                arguments_delta(2, 1, "{"),
                arguments_delta(1, 0, ":1}"),
                arguments_delta(2, 1, "}"),
                completed(json!([])),
            ]),
            both(),
        ),
        good(
            "another item id in every event",
            sse(&[
                created(),
                added(0, begun(7, "f")),
                arguments_delta(8, 0, "{\"x\":1}"),
                done(0, f()),
                added(1, begun(9, "g")),
                arguments_delta(10, 1, "{}"),
                done(1, g()),
                completed(json!([f(), g()])),
            ]),
            calls(vec![call("call_1", "f", "{\"x\":1}"), call("call_2", "g", "{}")]),
        ),
        good(
            "another call id at the end, as in the documentation's example",
            sse(&[
                created(),
                added(0, begun(1, "f")),
                arguments_delta(1, 0, "{\"x\":1}"),
                done(
                    0,
                    json!({"id": "fc_1", "type": "function_call", "call_id": "call_9", "name": "f", "arguments": "{\"x\":1}"}),
                ),
                completed(json!([])),
            ]),
            calls(vec![call("call_9", "f", "{\"x\":1}")]),
        ),
        good(
            "pieces that came twice",
            sse(&[
                created(),
                added(0, begun(1, "f")),
                arguments_delta(1, 0, "{\"x\""),
                arguments_delta(1, 0, "{\"x\""),
                arguments_delta(1, 0, ":1}"),
                done(0, f()),
                completed(json!([])),
            ]),
            only_f(),
        ),
        good(
            "the whole in another spelling",
            sse(&[
                created(),
                added(0, begun(1, "f")),
                arguments_delta(1, 0, "{ \"x\" : 1 }"),
                done(0, f()),
                completed(json!([f()])),
            ]),
            only_f(),
        ),
        good(
            "the whole contradicts the pieces: both stay in sight",
            sse(&[
                created(),
                added(0, begun(1, "f")),
                arguments_delta(1, 0, "{\"x\":2}"),
                done(0, f()),
                completed(json!([f()])),
            ]),
            calls(vec![call("call_1", "f", "{\"x\":2}{\"x\":1}")]),
        ),
        good(
            "the same call twice",
            document(json!([
                f(),
                json!({"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "f", "arguments": "{\"x\":1}"})
            ])),
            calls(vec![call("call_1", "f", "{\"x\":1}"), call("call_2", "f", "{\"x\":1}")]),
        ),
        good(
            "text, then a call",
            sse(&[
                created(),
                text_delta("I look."),
                added(1, begun(1, "f")),
                arguments_delta(1, 1, "{\"x\":1}"),
                completed(json!([message("I look."), f()])),
            ]),
            calls(vec![said("I look."), call("call_1", "f", "{\"x\":1}")]),
        ),
        good(
            "no id at all",
            one(json!({"type": "function_call", "name": "f", "arguments": "{}"})),
            calls(vec![call("", "f", "{}")]),
        ),
        good(
            "arguments that are an object, as written",
            "{\"id\": \"r1\", \"model\": \"m1-2026\", \"output\": [{\"type\": \"function_call\", \"call_id\": \"c\", \"name\": \"f\", \"arguments\": {\"n\": 12345678901234567890123, \"f\": 1.0}}]}",
            calls(vec![call("c", "f", "{\"n\": 12345678901234567890123, \"f\": 1.0}")]),
        ),
        good("arguments that are null", with_arguments(Value::Null), calls(vec![call("call_1", "f", "")])),
        good(
            "arguments that are no JSON",
            with_arguments(json!("{'x': 1,}")),
            calls(vec![call("call_1", "f", "{'x': 1,}")]),
        ),
        good(
            "a call of a kind that was not offered",
            one(json!({"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "SELECT x"})),
            calls(vec![call("c", "f", "SELECT x")]),
        ),
        good(
            "a call without name and arguments",
            document(json!([{"type": "function_call"}, message("Hello")])),
            calls(vec![said("Hello")]),
        ),
        bad(
            "a call that holds bytes which are no text",
            sse(&[created(), added(0, begun(1, "f")), arguments_delta(1, 0, "{\"x\":\"#\"}")])
                .bytes()
                .map(|byte| if byte == b'#' { 0xff } else { byte })
                .collect::<Vec<_>>(),
            Class::MalformedAnswer,
            "no text",
        ),
    ]);
}

#[test]
fn cut_calls_are_never_complete() {
    let stream = |arguments: &str, last: Value| {
        sse(&[created(), added(0, begun(1, "f")), arguments_delta(1, 0, arguments), last])
    };
    let out_of_tokens = || end("incomplete", json!([]), json!({"incomplete_details": {"reason": "max_output_tokens"}}));
    let filtered = || end("incomplete", json!([]), json!({"incomplete_details": {"reason": "content_filter"}}));
    let f = |arguments: &str, finish: Finish| answer(vec![cut(call("call_1", "f", arguments))], finish);
    SERVER.check(vec![
        good(
            "by the limit, open",
            stream("{\"x\": \"half a fi", out_of_tokens()),
            f("{\"x\": \"half a fi", Finish::Length),
        ),
        good("by the limit, closed", stream("{\"x\": 1}", out_of_tokens()), f("{\"x\": 1}", Finish::Length)),
        bad("by a filter", stream("{\"x\": 1}", filtered()), Class::ContentRefused, "content_filter"),
        good(
            "for a reason that is not told",
            stream("{\"x\": 1}", end("incomplete", json!([]), json!({}))),
            f("{\"x\": 1}", Finish::Length),
        ),
        good("open, with a lying end", stream("{\"x\": 1", completed(json!([]))), f("{\"x\": 1", Finish::ToolCalls)),
        good(
            "closed, and the item says so",
            sse(&[
                created(),
                done(
                    0,
                    json!({"id": "fc_1", "type": "function_call", "status": "incomplete", "call_id": "call_1", "name": "f", "arguments": "{}"}),
                ),
                completed(json!([])),
            ]),
            f("{}", Finish::ToolCalls),
        ),
        good(
            "of several, the last",
            sse(&[
                created(),
                done(0, function_call(1, "f", "{}")),
                done(1, function_call(2, "g", "{}")),
                out_of_tokens(),
            ]),
            answer(vec![call("call_1", "f", "{}"), cut(call("call_2", "g", "{}"))], Finish::Length),
        ),
        bad(
            "a lost stream",
            sse(&[created(), done(0, function_call(1, "f", "{}"))]),
            Class::MalformedAnswer,
            "broke off",
        ),
    ]);
}

#[test]
fn ends() {
    let with = |status: &str, reason: Value| {
        sse(&[
            created(),
            text_delta("Hello"),
            end(status, json!([]), json!({"incomplete_details": {"reason": reason}})),
        ])
    };
    let empty = |more: Value| sse(&[created(), end("incomplete", json!([]), more)]);
    let length = json!({"reason": "max_output_tokens"});
    let used = Usage { input: 9, output: 64, reasoning: 64, ..Usage::default() };
    SERVER.check(vec![
        good(
            "the limit of tokens",
            with("incomplete", json!("max_output_tokens")),
            answer(vec![said("Hello")], Finish::Length),
        ),
        good(
            "the limit of tokens, under the wrong event",
            with("completed", json!("max_output_tokens")),
            answer(vec![said("Hello")], Finish::Length),
        ),
        bad("a filter", with("incomplete", json!("content_filter")), Class::ContentRefused, "content_filter"),
        good("another reason", with("incomplete", json!("hiccup")), answer(vec![said("Hello")], Finish::Length)),
        good("no reason", with("incomplete", Value::Null), answer(vec![said("Hello")], Finish::Length)),
        bad("an answer without anything", sse(&[created(), completed(json!([]))]), Class::MalformedAnswer, "empty"),
        good(
            "all tokens thought away",
            empty(
                json!({"incomplete_details": length, "usage": {"input_tokens": 9, "output_tokens": 64, "output_tokens_details": {"reasoning_tokens": 64}}}),
            ),
            Answer { usage: Some(used), ..answer(vec![], Finish::Length) },
        ),
        bad(
            "a conversation that is too long, reported as cut, as OpenRouter's",
            empty(json!({"incomplete_details": length})),
            Class::ContextTooLong,
            "too long",
        ),
        bad("nothing, for no reason", empty(json!({})), Class::MalformedAnswer, "nothing in it"),
        bad(
            "a filter before the beginning",
            empty(json!({"incomplete_details": {"reason": "content_filter"}})),
            Class::ContentRefused,
            "filter",
        ),
        bad(
            "cancelled",
            sse(&[created(), text_delta("Hel"), end("cancelled", json!([]), json!({}))]),
            Class::Transient,
            "cancelled",
        ),
    ]);
}

#[test]
fn failures() {
    let failed = |error: Value| sse(&[created(), end("failed", json!([]), json!({"error": error}))]);
    let code = |code: &str| failed(json!({"code": code, "message": "It says why."}));
    let mut rows: Vec<_> = [
        ("rate_limit_exceeded", Class::RateLimited),
        ("server_error", Class::Transient),
        ("insufficient_quota", Class::Quota),
        ("context_length_exceeded", Class::ContextTooLong),
        ("invalid_encrypted_content", Class::Transient),
        ("vector_store_timeout", Class::Transient),
        ("invalid_prompt", Class::ContentRefused),
        ("bio_policy", Class::ContentRefused),
        ("misalignment_policy_violation", Class::ContentRefused),
        ("image_content_policy_violation", Class::ContentRefused),
        ("data_residency_mismatch", Class::Region),
        ("invalid_image_url", Class::CallerFault),
        ("image_too_large", Class::CallerFault),
        ("unsupported_image_media_type", Class::CallerFault),
        ("empty_image_file", Class::CallerFault),
        ("failed_to_download_image", Class::CallerFault),
        ("image_file_not_found", Class::CallerFault),
        ("something_new", Class::Transient),
    ]
    .into_iter()
    .map(|(name, class)| bad(name, code(name), class, "It says why."))
    .collect();
    rows.extend([
        bad("failed without a word", failed(Value::Null), Class::Transient, "reports an error"),
        bad("failed, in a document", json!({"id": "r1", "status": "failed", "error": {"code": "server_error", "message": "Sorry"}, "output": []}).to_string(), Class::Transient, "Sorry"),
        bad("an error event by the book", sse(&[created(), json!({"type": "error", "code": "insufficient_quota", "message": "You exceeded your current quota.", "param": null, "sequence_number": 1})]), Class::Quota, "quota"),
        bad("an error event, nested", sse(&[created(), json!({"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "slow"}})]), Class::RateLimited, "slow"),
        bad("an error under its name alone", "event: error\ndata: out of memory\n\n", Class::Transient, "out of memory"),
        bad("an error instead of an event", "data: {\"error\": {\"code\": 502, \"message\": \"gone\"}}\n\n", Class::Transient, "gone"),
        bad("an error beside the type", sse(&[json!({"type": "response.in_progress", "error": {"message": "no such model", "code": "model_not_found"}})]), Class::ModelGone, "no such model"),
        bad("an error in a document", json!({"error": {"message": "no such model", "code": "model_not_found"}}).to_string(), Class::ModelGone, "no such model"),
        bad("an error in a completed answer", sse(&[end("completed", json!([]), json!({"error": {"code": "server_error", "message": "Sorry"}}))]), Class::Transient, "Sorry"),
    ]);
    SERVER.check(rows);
    let partial = sse(&[
        created(),
        text_delta("Hel"),
        end("failed", json!([]), json!({"error": {"code": "server_error", "message": "x"}})),
    ]);
    assert_eq!(SERVER.read(&partial, 9, &mut |_| {}).unwrap_err().discarded, "Hel");
}

#[test]
fn reasoning() {
    let summary = |delta: &str| json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "delta": delta});
    let raw = r#"{"id": "rs_1", "type":"reasoning",  "encrypted_content": "gAAA\u0042==", "summary":[{"type":"summary_text","text":"Hmm."}]}"#;
    let item_done =
        format!("data: {{\"type\": \"response.output_item.done\", \"output_index\": 0, \"item\": {raw}}}\n\n");
    let bare = json!({"id": "rs_1", "type": "reasoning", "summary": []});
    let open = r#"{"id":"rs_1","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"Hmm."}]}"#;
    let last = || sse(&[completed(json!([]))]);
    SERVER.check(vec![
        good(
            "encrypted, kept as it came",
            sse(&[
                created(),
                added(0, json!({"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gA"})),
                json!({"type": "response.reasoning_summary_part.added", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": ""}}),
                summary("Hm"),
                summary("m."),
                json!({"type": "response.reasoning_summary_text.done", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "text": "Hmm."}),
                json!({"type": "response.reasoning_summary_part.done", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "part": {"type": "summary_text", "text": "Hmm."}}),
            ]) + &item_done
                + &sse(&[completed(
                    json!([{"id": "rs_1", "type": "reasoning", "encrypted_content": "other", "summary": []}, message("Hello")]),
                )]),
            answer(vec![thought("Hmm.", Some(raw)), said("Hello")], Finish::Stop),
        ),
        good(
            "encrypted, in a document",
            format!(
                "{{\"id\": \"r1\", \"model\": \"m1-2026\", \"status\": \"completed\", \"output\": [{raw}, {}]}}",
                message("Hello")
            ),
            answer(vec![thought("Hmm.", Some(raw)), said("Hello")], Finish::Stop),
        ),
        good(
            "without content it means nothing to a server that forgets",
            sse(&[created(), summary("Hmm."), done(0, bare.clone()), completed(json!([bare, message("Hello")]))]),
            answer(vec![thought("Hmm.", None), said("Hello")], Finish::Stop),
        ),
        good("neither text nor content", document(json!([bare, message("Hello")])), hello()),
        good(
            "null for nothing",
            document(
                json!([{"id": "rs_1", "type": "reasoning", "summary": null, "content": null, "encrypted_content": null}, message("Hello")]),
            ),
            hello(),
        ),
        good(
            "in the open, as vLLM",
            sse(&[
                created(),
                json!({"type": "response.reasoning_text.delta", "item_id": "rs_1", "output_index": 0, "content_index": 0, "delta": "Hm"}),
                json!({"type": "response.reasoning_text.done", "item_id": "rs_1", "output_index": 0, "content_index": 0, "text": "Hmm."}),
            ]) + &format!(
                "data: {{\"type\": \"response.output_item.done\", \"output_index\": 0, \"item\": {open}}}\n\n"
            ) + &sse(&[text_delta("Hello"), completed(json!([]))]),
            answer(vec![thought("Hmm.", Some(open)), said("Hello")], Finish::Stop),
        ),
        bad("alone", sse(&[created(), summary("Hmm.")]) + &last(), Class::MalformedAnswer, "nothing but reasoning"),
        good(
            "in the open, by the older names",
            sse(&[
                created(),
                json!({"type": "response.reasoning.delta", "item_id": "rs_1", "output_index": 0, "delta": "Hmm."}),
                text_delta("Hello"),
                completed(json!([])),
            ]),
            answer(vec![thought("Hmm.", None), said("Hello")], Finish::Stop),
        ),
        good(
            "two parts",
            sse(&[
                created(),
                summary("One"),
                json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": 1, "delta": "Two"}),
                text_delta("Hello"),
                completed(json!([])),
            ]),
            answer(vec![thought("One\n\nTwo", None), said("Hello")], Finish::Stop),
        ),
    ]);
}

#[test]
fn tokens_used() {
    let with = |name, usage: Value, expected: Option<Usage>| {
        good(
            name,
            sse(&[text_delta("Hello"), end("completed", json!([]), json!({"usage": usage}))]),
            Answer { usage: expected, ..hello() },
        )
    };
    SERVER.check(vec![
        with(
            "by the book",
            json!({"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10}, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120}),
            Some(Usage { input: 100, cached: 60, cache_write: 10, output: 20, reasoning: 5 }),
        ),
        with(
            "no details, as LM Studio",
            json!({"input_tokens": 100, "output_tokens": 20}),
            Some(Usage { input: 100, output: 20, ..Usage::default() }),
        ),
        with(
            "the names of the chat format",
            json!({"prompt_tokens": 100.0, "completion_tokens": "20", "prompt_tokens_details": {"cached_tokens": 7}}),
            Some(Usage { input: 100, output: 20, cached: 7, ..Usage::default() }),
        ),
        with(
            "the sum and one of them",
            json!({"total_tokens": 120, "input_tokens": 100}),
            Some(Usage { input: 100, output: 20, ..Usage::default() }),
        ),
        with(
            "more cached than read",
            json!({"input_tokens": 10, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 99}}),
            Some(Usage { input: 10, output: 1, cached: 10, ..Usage::default() }),
        ),
        with("empty", json!({}), None),
        with("null", Value::Null, None),
    ]);
}

/// The streams of the vendor's documentation, as kept in `tests/golden/responses`.
#[test]
fn the_documented_streams_are_read() {
    let weather = "{\"location\":\"Paris, France\"}";
    let rows = [
        (
            include_str!("../../../tests/golden/responses/text.sse"),
            Answer {
                parts: vec![said("Hi there! How can I assist you today?")],
                finish: Finish::Stop,
                usage: Some(Usage { input: 37, output: 11, ..Usage::default() }),
                model: Some("gpt-4.1-2025-04-14".into()),
                id: Some("resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654".into()),
            },
        ),
        (
            include_str!("../../../tests/golden/responses/call.sse"),
            Answer {
                parts: vec![call("call_2345abc", "get_weather", weather)],
                finish: Finish::ToolCalls,
                usage: None,
                model: Some("gpt-4.1-2025-04-14".into()),
                id: Some("resp_1234xyz".into()),
            },
        ),
    ];
    for (stream, expected) in rows {
        for step in 1..64 {
            assert_eq!(SERVER.read(stream, step, &mut |_| {}).as_ref(), Ok(&expected), "by {step}");
        }
        for event in stream.lines().filter_map(|line| line.strip_prefix("data: ")) {
            serde_json::from_str::<async_openai::types::responses::ResponseStreamEvent>(event)
                .unwrap_or_else(|error| panic!("{error}: {event}"));
        }
    }
}

#[test]
fn pieces_are_told_once_and_in_order() {
    let body = sse(&[
        created(),
        json!({"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "output_index": 0, "summary_index": 0, "delta": "Hmm."}),
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": "Hel"}),
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 1, "content_index": 0, "text": "Hello"}),
        added(2, begun(1, "f")),
        arguments_delta(1, 2, "{}"),
        done(2, function_call(1, "f", "{}")),
        completed(
            json!([{"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Hmm."}]}, message("Hello"), function_call(1, "f", "{}")]),
        ),
    ]);
    let told = SERVER.told(&body);
    assert_eq!(told, ["Reasoning(\"Hmm.\")", "Text(\"Hel\")", "Text(\"lo\")", "Call(\"f\")"]);
}

#[test]
fn no_beginning_of_an_answer_passes_for_it() {
    let body = include_str!("../../../tests/golden/responses/call.sse").trim_end();
    SERVER.no_beginning_passes(body, "data: ");
}

proptest::proptest! {
    /// Whatever a server sends, reading it ends, does not panic, and does not depend on how the bytes are split.
    #[test]
    fn damage_is_read_the_same_in_any_split(
        at in 0usize..4000, cut in 0usize..40, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20), step in 1usize..50,
    ) {
        SERVER.damaged(include_str!("../../../tests/golden/responses/call.sse"), (at, cut), with, step);
    }
}

/// The body as JSON; async-openai's own types must be able to read it.
fn rendered_for(request: &Request, target: Target<'_>) -> Value {
    let body = Server { target, ..SERVER }.rendered(request);
    serde_json::from_value::<async_openai::types::responses::CreateResponse>(body.clone()).unwrap();
    body
}

fn rendered(request: &Request) -> Value {
    rendered_for(request, TARGET)
}

#[test]
fn a_request_by_the_book() {
    let tool = |name: &str, description: &str, schema: Value| ToolDef {
        name: name.into(),
        origin: ToolName { server: "files".into(), tool: "read".into() },
        description: description.into(),
        input_schema: Arc::new(schema),
        effect: Effect::Read,
        effect_source: EffectSource::Hints,
        repeatable: false,
        additive: false,
        hash: "".into(),
    };
    let request = Request {
        system: Some("Be brief.".into()),
        tools: Arc::new([
            tool(
                "files__read",
                "Reads a file",
                json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}),
            ),
            tool("now", "", json!({"type": "object"})),
        ]),
        choice: Choice::Tool(OfferedName::from("files__read")),
        temperature: Some(0.2),
        output_tokens_max: Some(500),
        effort: Some(ReasoningEffort::High),
        cache_key: Some("run-7".into()),
        ..request(vec![
            user("Hi"),
            Message::Assistant(vec![
                Part::text("Let me see."),
                tool_call(1, "files__read", "{\"path\": \"a\"}"),
                tool_call(2, "now", "{}"),
            ]),
            result(1, "files__read", vec![Part::text("one"), Part::text("two")], false),
            result(2, "now", vec![], true),
        ])
    };
    let expected: Value = serde_json::from_str(include_str!("../../../tests/golden/responses/request.json")).unwrap();
    assert_eq!(rendered(&request), expected);
    let quirks = Quirks { no_reasoning_summary: true, no_encrypted_reasoning: true, ..Quirks::NONE };
    let quirky = rendered_for(&request, Target { quirks: &quirks, ..TARGET });
    assert_eq!((&quirky["reasoning"], quirky.get("include")), (&json!({"effort": "high"}), None));
    let few = Request { output_tokens_max: Some(1), cache_key: Some("x".repeat(65).into()), ..request };
    assert_eq!((&rendered(&few)["max_output_tokens"], rendered(&few).get("prompt_cache_key")), (&json!(16), None));
}

#[test]
fn an_output_schema_becomes_the_text_format() {
    let output = OutputFormat { name: "answer".into(), schema: Arc::new(json!({"type": "object"})) };
    let request = Request { output: Some(Arc::new(output)), ..request(vec![user("Hi")]) };
    assert_eq!(
        rendered(&request)["text"],
        json!({"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": false}})
    );
}

#[test]
fn pictures_stay_in_their_results() {
    let request = request(vec![
        Message::User(vec![Part::text("Look"), image()]),
        Message::Assistant(vec![tool_call(1, "shot", "{}"), tool_call(2, "shot", "{}")]),
        result(1, "shot", vec![Part::text("a screen"), image()], false),
        result(2, "shot", vec![image()], true),
        user("And now?"),
    ]);
    let picture = json!({"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,aGkh"});
    assert_eq!(
        rendered(&request)["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"}, picture]},
            {"type": "function_call", "call_id": "call_t1c1", "name": "shot", "arguments": "{}"},
            {"type": "function_call", "call_id": "call_t1c2", "name": "shot", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_t1c1", "output": [{"type": "input_text", "text": "a screen"}, picture]},
            {"type": "function_call_output", "call_id": "call_t1c2", "output": [{"type": "input_text", "text": "Error:"}, picture]},
            {"type": "message", "role": "user", "content": "And now?"},
        ])
    );
}

#[test]
fn other_media_are_named() {
    let name = || Some("a.pdf".to_owned());
    let paper = |source| Part::Document(Media { name: name(), mime: "application/pdf".into(), source });
    let audio = |source| Part::Audio(Media { name: None, mime: "audio/wav".into(), source });
    let request = request(vec![Message::User(vec![
        Part::Image(Media { name: None, mime: "image/png".into(), source: MediaSource::Url("https://x/y.png".into()) }),
        audio(MediaSource::Base64("aGkh".into())),
        audio(MediaSource::Url("https://x/y.wav".into())),
        paper(MediaSource::Base64("aGkh".into())),
        paper(MediaSource::Url("https://x/y.pdf".into())),
    ])]);
    assert_eq!(
        rendered(&request)["input"][0]["content"],
        json!([
            {"type": "input_image", "detail": "auto", "image_url": "https://x/y.png"},
            {"type": "input_text", "text": "[audio/wav, 3 bytes; left out: this service takes no media of this type]"},
            {"type": "input_text", "text": "[audio/wav, at https://x/y.wav; left out: this service takes no media of this type]"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,aGkh", "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://x/y.pdf"},
        ])
    );
}

#[test]
fn nothing_empty_is_sent() {
    let foreign = Reasoning {
        text: "Hmm".into(),
        opaque: Some(Box::new(Opaque { issuer: "other".into(), ..*SERVER.opaque("reasoning", "{}") })),
    };
    let request = Request {
        system: Some(" ".into()),
        ..request(vec![
            user(" "),
            Message::Assistant(vec![Part::Reasoning(foreign)]),
            user("Still there?"),
            Message::Assistant(vec![Part::text(""), tool_call(1, "f", "{}")]),
            result(1, "f", vec![Part::text("")], false),
        ])
    };
    assert_eq!(rendered(&request).get("instructions"), None);
    assert_eq!(
        rendered(&request)["input"],
        json!([
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "(empty)"}, {"type": "input_text", "text": "Still there?"}]},
            {"type": "function_call", "call_id": "call_t1c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_t1c1", "output": "(no content)"},
        ])
    );
}

#[test]
fn what_an_issuer_gave_goes_back_to_it_alone_and_byte_for_byte() {
    let raw = r#"{"id": "rs_1", "type":"reasoning",  "encrypted_content": "gAAA\u0042==", "summary":[ ]}"#;
    let output = format!(
        "[{raw}, {}, {}, {}]",
        json!({"type": "message", "phase": "commentary", "content": [{"type": "output_text", "text": "I look."}]}),
        json!({"type": "hologram", "id": "h_1"}),
        function_call(1, "f", "{}"),
    );
    let body = format!("{{\"status\": \"completed\", \"output\": {output}}}");
    let message = answered(&SERVER.read(&body, 100, &mut |_| {}).unwrap());
    let input = |target| {
        let request = request(vec![user("Hi"), message.clone(), result(1, "f", vec![Part::text("x")], false)]);
        Server { target, ..SERVER }.written(&request)
    };
    let mine = input(TARGET);
    assert!(mine.contains(&format!("{raw},")), "{mine}");
    let items: Value = serde_json::from_str::<Value>(&mine).unwrap()["input"].take();
    assert_eq!(
        items,
        json!([
            {"type": "message", "role": "user", "content": "Hi"},
            {"id": "rs_1", "type": "reasoning", "encrypted_content": "gAAAB==", "summary": []},
            {"type": "message", "role": "assistant", "content": "I look.", "phase": "commentary"},
            {"type": "hologram", "id": "h_1"},
            {"type": "function_call", "call_id": "call_t1c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_t1c1", "output": "x"},
        ])
    );
    for target in [Target { model: "m2", ..TARGET }, Target { issuer: "other", ..TARGET }] {
        let theirs: Value = serde_json::from_str::<Value>(&input(target)).unwrap()["input"].take();
        assert_eq!(
            theirs,
            json!([
                {"type": "message", "role": "user", "content": "Hi"},
                {"type": "message", "role": "assistant", "content": "I look."},
                {"type": "function_call", "call_id": "call_t1c1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_t1c1", "output": "x"},
            ])
        );
    }
}

#[test]
fn a_thought_never_goes_without_what_follows_it() {
    let thought = |n: u32| {
        let json = format!("{{\"type\":\"reasoning\",\"id\":\"rs_{n}\",\"summary\":[],\"encrypted_content\":\"x\"}}");
        Part::Reasoning(Reasoning { text: "".into(), opaque: Some(SERVER.opaque("reasoning", &json)) })
    };
    let kinds = |parts: Vec<Part>| {
        let body = rendered(&request(vec![user("Hi"), Message::Assistant(parts), user("Go on.")]));
        let items = body["input"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["id"].as_str().or(item["role"].as_str()).unwrap_or("call").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(kinds(vec![thought(1)]), ["user"]);
    assert_eq!(kinds(vec![thought(1), Part::text("A"), thought(2)]), ["user", "rs_1", "assistant", "user"]);
    assert_eq!(
        kinds(vec![thought(1), Part::text(" "), thought(2), Part::text("A")]),
        ["user", "rs_1", "rs_2", "assistant", "user"]
    );
}

/// llama.cpp's server (build 10434): a call that its limit cuts is completed by its own account, and so is the answer.
#[test]
fn what_llama_cpp_says_of_a_cut_call() {
    let arguments = "{\n  \"path\": \"fomo.txt";
    let item = |status: &str, arguments: &str| json!({"id": "fc_p", "type": "function_call", "status": status, "arguments": arguments, "call_id": "call_p", "name": "write_file"});
    let body = sse(&[
        json!({"type": "response.created", "response": {"id": "r1", "object": "response", "status": "in_progress"}}),
        json!({"type": "response.output_item.added", "item": item("in_progress", "")}),
        json!({"type": "response.function_call_arguments.delta", "delta": "{", "item_id": "fc_p"}),
        json!({"type": "response.function_call_arguments.delta", "delta": "\n  \"path\": \"fomo.txt", "item_id": "fc_p"}),
        json!({"type": "response.output_item.done", "item": item("completed", arguments)}),
        json!({"type": "response.completed", "response": {"id": "r1", "object": "response", "status": "completed", "model": "m1-2026", "output": [item("completed", arguments)], "usage": {"input_tokens": 225, "output_tokens": 14, "total_tokens": 239, "input_tokens_details": {"cached_tokens": 224}}}, "timings": {"cache_n": 224}}),
    ]);
    let usage = Some(Usage { input: 225, cached: 224, output: 14, ..Usage::default() });
    let expected = Answer { usage, ..answer(vec![cut(call("call_p", "write_file", arguments))], Finish::ToolCalls) };
    SERVER.check(vec![good("cut", body, expected)]);
}
