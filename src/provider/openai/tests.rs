//! What servers of the format really send, one deviation a row, and what we make of it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Chat;
use crate::{
    chat::{
        Answer, AnswerPart, Choice, Draft, Effect, EffectSource, Finish, Media, MediaSource, Message, OfferedName,
        Opaque, OutputFormat, Part, Reasoning, ReasoningEffort, Request, ToolDef, ToolName, Usage, WrittenCall,
    },
    provider::{
        Class, EffortForm, ForceForm, Quirks,
        dialect::{Format as _, Target},
        table::{Server, answered, bad, call, cut, good, image, request, result, said, tool_call, user},
    },
};

const TARGET: Target<'_> = Target { issuer: "acme", model: "m1", quirks: &Quirks::NONE, strict: false };
const SERVER: Server = Server { format: &Chat, target: TARGET };

/// A stream of these events and the end mark.
fn sse(events: &[Value]) -> String {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    events + "data: [DONE]\n\n"
}

/// A chunk with this delta.
fn chunk(delta: Value) -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m1-2026", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

/// The chunk that gives the reason for stopping.
fn stop(reason: &str) -> Value {
    json!({"id": "c1", "model": "m1-2026", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn usage_chunk() -> Value {
    json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}})
}

/// A chunk with this tool call in its delta.
fn calling(call: Value) -> Value {
    chunk(json!({"tool_calls": [call]}))
}

/// A whole answer with this message.
fn whole(message: Value, finish: Value) -> Value {
    json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "m1-2026",
           "choices": [{"index": 0, "message": message, "finish_reason": finish}]})
}

fn answer(parts: Vec<AnswerPart>, finish: Finish) -> Answer {
    Answer { parts, finish, usage: None, model: Some("m1-2026".into()), id: Some("c1".into()) }
}

fn hello() -> Answer {
    answer(vec![said("Hello")], Finish::Stop)
}

fn anonymous(answer: Answer) -> Answer {
    Answer { id: None, model: None, ..answer }
}

fn calls(parts: Vec<AnswerPart>) -> Answer {
    answer(parts, Finish::ToolCalls)
}

fn thought(text: &str, member: &str) -> AnswerPart {
    AnswerPart::Reasoning(Reasoning { text: text.into(), opaque: Some(SERVER.opaque(member, "")) })
}

fn used(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

/// A chunk by the book is read on a shorter way, which one member that the book does not have bars.
#[test]
fn both_ways_of_reading_agree() {
    let call = |index: u64, id: &str, name: &str, arguments: &str| json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let more = |index: u64, arguments: &str| json!({"index": index, "function": {"arguments": arguments}});
    let streams = [
        vec![chunk(json!({"role": "assistant", "content": ""})), chunk(json!({"content": "H\u{e9}\n"})), stop("stop")],
        vec![
            chunk(json!({"content": null, "reasoning_content": "hm", "refusal": null})),
            stop("length"),
            usage_chunk(),
        ],
        vec![chunk(json!({"reasoning": "h", "content": "a"})), chunk(json!({"reasoning": "m"})), stop("stop")],
        vec![
            calling(call(0, "a", "f", "")),
            calling(more(0, "{\"x\":")),
            chunk(json!({"tool_calls": [more(0, "1}"), call(1, "b", "g", "{}")]})),
            stop("tool_calls"),
            chunk(json!({"content": "behind it"})),
        ],
        vec![stop("error")],
        vec![json!({"choices": [{"index": 1, "delta": {"content": "a"}}, {"index": 0, "delta": {"content": "b"}}]})],
        vec![],
    ];
    let told = |bytes: &str| {
        let mut told = Vec::new();
        let read = SERVER.read(bytes, 1000, &mut |delta| told.push(format!("{delta:?}")));
        (read, told)
    };
    for stream in streams {
        let odd: Vec<_> = stream.iter().cloned().map(|mut chunk| (chunk["odd"] = json!(1), chunk).1).collect();
        assert_eq!(told(&sse(&stream)), told(&sse(&odd)), "{stream:?}");
    }
}

#[test]
fn framing() {
    let hel = chunk(json!({"content": "Hel"}));
    let lo = chunk(json!({"content": "lo"}));
    let end = stop("stop");
    let lines = |separator: &str| {
        format!("data: {hel}{separator}data: {lo}{separator}data: {end}{separator}data: [DONE]{separator}")
    };
    SERVER.check(vec![
        good(
            "by the book",
            sse(&[chunk(json!({"role": "assistant", "content": ""})), hel.clone(), lo.clone(), end.clone()]),
            hello(),
        ),
        good("carriage returns and line feeds", lines("\r\n\r\n"), hello()),
        good("carriage returns only", lines("\r\r"), hello()),
        good("one line end between events", lines("\n"), hello()),
        good("no space behind the colon", lines("\n\n").replace("data: ", "data:"), hello()),
        good("two spaces behind the colon", lines("\n\n").replace("data: ", "data:  "), hello()),
        good("a byte order mark", format!("\u{feff}{}", lines("\n\n")), hello()),
        good("blank lines first", format!("\n\n{}", lines("\n\n")), hello()),
        good("comments", lines("\n\n").replace("data: ", ": PROCESSING\n\n:\ndata: "), hello()),
        good("words to stay alive", lines("\n\n").replace("data: {", "data: ping\n\ndata: {"), hello()),
        good(
            "names, ids and retries",
            lines("\n\n").replace("data: ", "event: message\nid: 7\nretry: 100\ndata: "),
            hello(),
        ),
        good(
            "unknown fields and lines without colon",
            lines("\n\n").replace("data: ", "foo: bar\nnonsense\ndata: "),
            hello(),
        ),
        good("the field name in capitals", lines("\n\n").replace("data: ", "Data: "), hello()),
        good("the end mark with a space", lines("\n\n").replace("[DONE]", "[DONE] "), hello()),
        good("the end mark quoted", lines("\n\n").replace("[DONE]", "\"[DONE]\""), hello()),
        good("no end mark", lines("\n\n").replace("data: [DONE]\n\n", ""), hello()),
        good("no blank line at the end", format!("data: {hel}\n\ndata: {lo}\n\ndata: {end}\n"), hello()),
        good("no line end at the end", format!("data: {hel}\n\ndata: {lo}\n\ndata: {end}"), hello()),
        bad(
            "an end mark and no finish reason",
            sse(&[hel.clone(), lo.clone()]),
            Class::MalformedAnswer,
            "without a finish reason",
        ),
        bad(
            "an end mark behind a dead upstream",
            sse(&[hel.clone(), json!({"choices": [{"delta": {}, "finish_reason": null}], "usage": {"prompt_tokens": 0, "completion_tokens": 0}})]),
            Class::MalformedAnswer,
            "without a finish reason",
        ),
        good(
            "a call, an end mark and no finish reason",
            sse(&[calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}))]),
            calls(vec![call("a", "f", "{}")]),
        ),
        good(
            "a piece over several lines",
            format!(
                "data: {}\n\ndata: [DONE]\n\n",
                serde_json::to_string_pretty(&whole(json!({"content": "Hello"}), json!("stop")))
                    .unwrap()
                    .replace('\n', "\ndata: ")
            ),
            hello(),
        ),
        good("two pieces in one event", format!("data: {hel}{lo}\n\ndata: {end}\n\n"), hello()),
        good("pieces in an array", sse(&[json!([hel, lo]), end.clone()]), hello()),
        good("what comes behind the end mark", lines("\n\n") + "data: {\"error\": \"late\"}\n\n", hello()),
        good("JSON lines instead of events", format!("{hel}\n{lo}\n{end}\n"), hello()),
        good(
            "a document instead of events",
            whole(json!({"role": "assistant", "content": "Hello"}), json!("stop")).to_string(),
            hello(),
        ),
        good(
            "a document, pretty, with a byte order mark",
            format!(
                "\u{feff}\n{}\n",
                serde_json::to_string_pretty(&whole(json!({"content": "Hello"}), json!("stop"))).unwrap()
            ),
            hello(),
        ),
        good(
            "a document in an event",
            format!("data: {}\n\n", whole(json!({"content": "Hello"}), json!("stop"))),
            hello(),
        ),
        good(
            "tokens counted in a cut last event",
            format!("data: {hel}\n\ndata: {lo}\n\ndata: {end}\n\ndata: {{\"usage\": {{\"prom"),
            hello(),
        ),
        bad("cut between events", format!("data: {hel}\n\n"), Class::MalformedAnswer, "broke off"),
        bad(
            "cut within an event",
            format!("data: {hel}\n\ndata: {{\"choices\": [{{\"del"),
            Class::MalformedAnswer,
            "broke off",
        ),
        bad(
            "a document that is cut",
            &whole(json!({"content": "Hello"}), json!("stop")).to_string()[..60],
            Class::MalformedAnswer,
            "broke off",
        ),
        bad("nothing at all", "", Class::MalformedAnswer, "without an answer"),
        bad("blank lines only", "\n\n", Class::MalformedAnswer, "without an answer"),
        bad("comments only", ": PROCESSING\n\n: PROCESSING\n\n", Class::MalformedAnswer, "without an answer"),
        bad("the end mark only", "data: [DONE]\n\n", Class::MalformedAnswer, "without an answer"),
        bad("plain text", "upstream connect error", Class::MalformedAnswer, "upstream connect error"),
        bad("a page", "<!doctype html><html><title>Login</title></html>", Class::MalformedAnswer, "HTML"),
        bad(
            "a document of something else",
            r#"{"data": [], "object": "list"}"#,
            Class::MalformedAnswer,
            "without an answer",
        ),
        bad("a list of nothing", "[]", Class::MalformedAnswer, "without an answer"),
        bad(
            "garbage in the midst",
            format!("data: {hel}\n\ndata: {{]}}\n\ndata: {end}\n\n"),
            Class::MalformedAnswer,
            "no JSON",
        ),
        bad(
            "nested without end",
            format!("data: {{\"choices\": {}\n\n", "[".repeat(100_000)),
            Class::MalformedAnswer,
            "no JSON",
        ),
        bad(
            "nested without end, a document",
            format!("{{\"choices\": {}", "[".repeat(100_000)),
            Class::MalformedAnswer,
            "no JSON",
        ),
        bad(
            "a number beyond all numbers",
            r#"data: {"choices": [], "created": 1e400}"#,
            Class::MalformedAnswer,
            "no JSON",
        ),
    ]);
}

#[test]
fn envelopes() {
    let bare = |members: Value| {
        let mut choice = json!({"delta": {"content": "Hello"}});
        choice.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        sse(&[json!({"id": "c1", "model": "m1-2026", "choices": [choice]}), stop("stop")])
    };
    let message = |message: Value| whole(message, json!("stop")).to_string();
    SERVER.check(vec![
        good("neither id nor model nor anything else", sse(&[json!({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]})]), anonymous(hello())),
        good("members empty, null and of other types", sse(&[
            json!({"id": "", "object": 7, "created": 1.5e12, "model": "", "service_tier": "on_demand", "system_fingerprint": null, "choices": [{"index": null, "delta": {"role": "", "content": "Hello", "tool_calls": [], "function_call": null, "refusal": null}, "finish_reason": "", "logprobs": {}}]}),
            json!({"choices": [{"delta": null, "finish_reason": "stop"}]}),
        ]), anonymous(hello())),
        good("an id that is a number", sse(&[json!({"id": 17, "model": "m1-2026", "choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]})]), Answer { id: Some("17".into()), ..hello() }),
        good("chunks without choices", sse(&[json!({"type": "ping"}), json!({"id": "c1", "choices": []}), json!({"prompt_filter_results": [], "choices": null}), chunk(json!({"content": "Hello"})), stop("stop")]), hello()),
        good("choices that are null", sse(&[json!({"choices": [null]}), chunk(json!({"content": "Hello"})), stop("stop")]), hello()),
        good("one choice without its list", sse(&[json!({"id": "c1", "model": "m1-2026", "choices": {"delta": {"content": "Hello"}, "finish_reason": "stop"}})]), hello()),
        good("a second choice", sse(&[chunk(json!({"content": "Hello"})), json!({"choices": [{"index": 1, "delta": {"content": "Bye"}}]}), stop("stop")]), hello()),
        good("an index that is a text", bare(json!({"index": "0"})), hello()),
        good("an index that is a float", bare(json!({"index": 0.0})), hello()),
        good("an empty error", sse(&[json!({"error": null, "choices": []}), chunk(json!({"content": "Hello"})), json!({"error": {}, "choices": [{"delta": {}, "finish_reason": "stop"}]})]), hello()),
        good("messages instead of deltas", sse(&[
            json!({"id": "c1", "model": "m1-2026", "choices": [{"message": {"content": "Hel"}}]}),
            json!({"choices": [{"message": {"content": "lo"}, "finish_reason": "stop"}]}),
        ]), hello()),
        good("messages that grow", sse(&[
            json!({"id": "c1", "model": "m1-2026", "choices": [{"message": {"content": "Hel"}}]}),
            json!({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}),
        ]), hello()),
        good("the whole message once more at the end", sse(&[
            chunk(json!({"content": "Hel"})), chunk(json!({"content": "lo"})), calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}})),
            json!({"choices": [{"delta": {}, "message": {"content": "Hello", "tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]}),
        ]), calls(vec![said("Hello"), call("a", "f", "{}")])),
        good("the text beside the index, as in old completions", sse(&[json!({"id": "c1", "model": "m1-2026", "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}]})]), hello()),
        bad("a document that is not finished", whole(json!({"content": "Hello"}), Value::Null).to_string(), Class::MalformedAnswer, "without a finish reason"),
        good("a document of a server without finish reasons", json!({"id": "c1", "model": "m1-2026", "choices": [{"message": {"content": "Hello"}}]}).to_string(), answer(vec![said("Hello")], Finish::Other(String::new()))),
        good("content that is an array", message(json!({"content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]})), hello()),
        good("content that is an array of texts", message(json!({"content": ["Hel", "lo"]})), hello()),
        good("content that is one part", message(json!({"content": {"type": "text", "text": "Hello"}})), hello()),
        bad("content that is null", message(json!({"content": null})), Class::MalformedAnswer, "empty"),
        bad("content that is absent", message(json!({"role": "assistant"})), Class::MalformedAnswer, "empty"),
        bad("content that is blank", message(json!({"content": " \n"})), Class::MalformedAnswer, "nothing but reasoning"),
        bad("reasoning alone", message(json!({"content": null, "reasoning_content": "Hmm."})), Class::MalformedAnswer, "nothing but reasoning"),
        bad("reasoning alone, in the text", message(json!({"content": "<think>\nHmm.\n</think>\n\n"})), Class::MalformedAnswer, "nothing but reasoning"),
        good("a content part of an unknown kind", message(json!({"content": [{"type": "text", "text": "Hello"}, {"type": "hologram", "n": 1.0}]})), answer(vec![said("Hello"), AnswerPart::Opaque(SERVER.opaque("content.hologram", r#"{"type":"hologram","n":1.0}"#))], Finish::Stop)),
        bad("a refusal", message(json!({"content": null, "refusal": "I won't."})), Class::ContentRefused, "refused"),
        good("half a surrogate pair in text", r#"data: {"id": "c1", "model": "m1-2026", "choices": [{"delta": {"content": "a\ud83d \\ud83d \ud83d\ude00 b\udc00"}, "finish_reason": "stop"}]}"#, answer(vec![said("a\u{fffd} \\ud83d 😀 b\u{fffd}")], Finish::Stop)),
        good("bytes that are no text", b"data: {\"id\": \"c1\", \"model\": \"m1-2026\", \"choices\": [{\"delta\": {\"content\": \"a\xff\"}, \"finish_reason\": \"stop\"}]}\n\n", answer(vec![said("a\u{fffd}")], Finish::Stop)),
        good("a zero character", r#"data: {"id": "c1", "model": "m1-2026", "choices": [{"delta": {"content": "a\u0000b"}, "finish_reason": "stop"}]}"#, answer(vec![said("a\0b")], Finish::Stop)),
        good("letters of several bytes", sse(&[chunk(json!({"content": "Grüße 😀"})), stop("stop")]), answer(vec![said("Grüße 😀")], Finish::Stop)),
        good("duplicate members", r#"data: {"id": "c0", "id": "c1", "model": "m1-2026", "choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]}"#, hello()),
        bad("an empty answer", sse(&[chunk(json!({"role": "assistant", "content": ""})), stop("stop")]), Class::MalformedAnswer, "empty"),
        bad("reasoning alone, streamed", sse(&[chunk(json!({"reasoning_content": "Hmm."})), stop("stop")]), Class::MalformedAnswer, "nothing but reasoning"),
    ]);
}

#[test]
fn finish_reasons() {
    let reasons = [
        ("stop", Finish::Stop),
        ("STOP", Finish::Stop),
        ("eos", Finish::Stop),
        ("end_turn", Finish::Stop),
        ("tool_calls", Finish::ToolCalls),
        ("tool-calls", Finish::ToolCalls),
        ("function_call", Finish::ToolCalls),
        ("length", Finish::Length),
        ("MAX_TOKENS", Finish::Length),
        ("<|im_end|>", Finish::Other("<|im_end|>".into())),
    ];
    let mut rows: Vec<_> = reasons
        .into_iter()
        .map(|(reason, finish)| {
            good(reason, sse(&[chunk(json!({"content": "Hello"})), stop(reason)]), answer(vec![said("Hello")], finish))
        })
        .collect();
    rows.extend([
        good("stop with calls", sse(&[calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}})), stop("stop")]), answer(vec![call("a", "f", "{}")], Finish::Stop)),
        good("tool_calls without calls", sse(&[chunk(json!({"content": "Hello"})), stop("tool_calls")]), answer(vec![said("Hello")], Finish::ToolCalls)),
        good("a reason with every piece, and the end mark", sse(&[
            json!({"id": "c1", "model": "m1-2026", "choices": [{"delta": {"content": "Hel"}, "finish_reason": "stop"}]}),
            json!({"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]}),
        ]), hello()),
        bad("a reason with every piece, cut", sse(&[
            json!({"choices": [{"delta": {"content": "Hel"}, "finish_reason": "stop"}]}),
            json!({"choices": [{"delta": {"content": "lo"}, "finish_reason": "stop"}]}),
        ]).replace("data: [DONE]\n\n", ""), Class::MalformedAnswer, "broke off"),
        bad("an error as the reason", sse(&[chunk(json!({"content": "Hel"})), stop("error")]), Class::Transient, "error"),
        bad("a filter", sse(&[chunk(json!({"content": "Hel"})), stop("content_filter")]), Class::ContentRefused, "content_filter"),
        bad("a filter, in a document", whole(json!({"content": "Hel"}), json!("content_filter")).to_string(), Class::ContentRefused, "content_filter"),
        bad("a filter behind a gateway", sse(&[chunk(json!({"content": "Hel"})), json!({"choices": [{"delta": {}, "finish_reason": "stop", "native_finish_reason": "SAFETY"}]})]), Class::ContentRefused, "SAFETY"),
        bad("a server out of resources, behind a gateway", sse(&[chunk(json!({"content": "Hel"})), json!({"choices": [{"delta": {}, "finish_reason": "stop", "provider_specific_fields": {"native_finish_reason": "insufficient_system_resource"}}]})]), Class::Transient, "insufficient_system_resource"),
        bad("a full context", sse(&[chunk(json!({"content": "Hel"})), stop("model_length")]), Class::ContextTooLong, "model_length"),
        bad("a limit before the beginning", sse(&[chunk(json!({"content": ""})), stop("length")]), Class::ContextTooLong, "too long"),
    ]);
    SERVER.check(rows);
}

#[test]
fn calls_on_the_wire() {
    let one = |call: Value| sse(&[calling(call), stop("tool_calls")]);
    let f = |arguments: Value| json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let whole_call =
        |call: Value| whole(json!({"content": null, "tool_calls": [call]}), json!("tool_calls")).to_string();
    SERVER.check(vec![
        good(
            "by the book",
            sse(&[
                chunk(
                    json!({"role": "assistant", "content": null, "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
                ),
                calling(json!({"index": 0, "function": {"arguments": "{\"x\""}})),
                calling(json!({"index": 0, "function": {"arguments": ": 1}"}})),
                stop("tool_calls"),
                usage_chunk(),
            ]),
            Answer { usage: Some(used(9, 3)), ..calls(vec![call("a", "f", "{\"x\": 1}")]) },
        ),
        good(
            "text, then parallel calls in one chunk",
            sse(&[
                chunk(json!({"content": "Let me see."})),
                chunk(
                    json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}, {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
                ),
                stop("tool_calls"),
            ]),
            calls(vec![said("Let me see."), call("a", "f", "{}"), call("b", "g", "{}")]),
        ),
        good(
            "interleaved",
            sse(&[
                chunk(
                    json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}, {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}]}),
                ),
                chunk(
                    json!({"tool_calls": [{"index": 1, "function": {"arguments": "{\"y\":"}}, {"index": 0, "function": {"arguments": "{\"x\":"}}]}),
                ),
                chunk(
                    json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}, {"index": 1, "function": {"arguments": "2}"}}]}),
                ),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{\"x\":1}"), call("b", "g", "{\"y\":2}")]),
        ),
        good(
            "without index, as Gemini's endpoint",
            sse(&[
                calling(json!({"id": "a", "function": {"name": "f", "arguments": "{\"x\":1}"}})),
                calling(json!({"id": "b", "function": {"name": "f", "arguments": "{\"x\":2}"}})),
                stop("stop"),
            ]),
            answer(vec![call("a", "f", "{\"x\":1}"), call("b", "f", "{\"x\":2}")], Finish::Stop),
        ),
        good(
            "index 0 for all",
            sse(&[
                calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}})),
                calling(json!({"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{}"), call("b", "g", "{}")]),
        ),
        good(
            "neither index nor id",
            sse(&[
                calling(json!({"function": {"name": "f", "arguments": "{}"}})),
                calling(json!({"function": {"name": "g", "arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("", "f", "{}"), call("", "g", "{}")]),
        ),
        good(
            "index as text and as float",
            sse(&[
                calling(json!({"index": "0", "id": "a", "function": {"name": "f", "arguments": "{"}})),
                calling(json!({"index": 0.0, "function": {"arguments": "}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{}")]),
        ),
        good(
            "empty texts for absent ones",
            sse(&[
                calling(json!({"index": 0, "id": "a", "type": "", "function": {"name": "f", "arguments": ""}})),
                calling(json!({"index": 0, "id": "", "type": "", "function": {"name": "", "arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{}")]),
        ),
        good(
            "nulls for absent ones",
            sse(&[
                calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": null}})),
                calling(json!({"index": 0, "id": null, "type": null, "function": {"name": null, "arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{}")]),
        ),
        good(
            "the name in pieces",
            sse(&[
                calling(json!({"index": 0, "id": "a", "function": {"name": "files_"}})),
                calling(json!({"index": 0, "function": {"name": "_read"}})),
                calling(json!({"index": 0, "function": {"arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "files__read", "{}")]),
        ),
        good(
            "the whole call sent twice",
            sse(&[calling(f(json!("{\"x\":1}"))), calling(f(json!("{\"x\":1}"))), stop("tool_calls")]),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "the arguments once more in the last chunk",
            sse(&[
                calling(f(json!("{\"x\""))),
                calling(json!({"index": 0, "function": {"arguments": ":1}"}})),
                calling(json!({"index": 0, "function": {"arguments": "{\"x\":1}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "an id that is a number",
            one(json!({"id": 7, "function": {"name": "f", "arguments": "{}"}})),
            calls(vec![call("7", "f", "{}")]),
        ),
        good(
            "arguments that are an object, in a document",
            whole_call(f(json!({"x": 1}))),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "arguments that are an object, as written",
            r#"data: {"id": "c1", "model": "m1-2026", "choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"n": 12345678901234567890123, "f": 1.0, "n": 2}}}]}, "finish_reason": "tool_calls"}]}"#,
            calls(vec![call("a", "f", r#"{"n": 12345678901234567890123, "f": 1.0, "n": 2}"#)]),
        ),
        good("arguments that are null", one(f(Value::Null)), calls(vec![call("a", "f", "")])),
        good(
            "arguments that are absent",
            one(json!({"index": 0, "id": "a", "function": {"name": "f"}})),
            calls(vec![call("a", "f", "")]),
        ),
        good("arguments that are an empty text", one(f(json!(""))), calls(vec![call("a", "f", "")])),
        good("arguments that are an array", one(f(json!([1]))), calls(vec![call("a", "f", "[1]")])),
        good(
            "arguments encoded twice",
            one(f(json!("\"{\\\"x\\\":1}\""))),
            calls(vec![call("a", "f", "\"{\\\"x\\\":1}\"")]),
        ),
        good("arguments that are no JSON", one(f(json!("{'x': 1,}"))), calls(vec![call("a", "f", "{'x': 1,}")])),
        good(
            "parameters instead of arguments",
            one(json!({"index": 0, "id": "a", "function": {"name": "f", "parameters": {"x": 1}}})),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "no level in between",
            one(json!({"index": 0, "id": "a", "name": "f", "arguments": "{}"})),
            calls(vec![call("a", "f", "{}")]),
        ),
        good(
            "no level in between, an object",
            one(json!({"index": 0, "id": "a", "name": "f", "arguments": {"x": 1}})),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "one call without its list",
            sse(&[
                chunk(json!({"tool_calls": {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}})),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{\"x\":1}")]),
        ),
        good(
            "the older function call, in pieces",
            sse(&[
                chunk(json!({"function_call": {"name": "f", "arguments": ""}})),
                chunk(json!({"function_call": {"arguments": "{\"x\""}})),
                chunk(json!({"function_call": {"arguments": ":1}"}})),
                stop("function_call"),
            ]),
            calls(vec![call("", "f", "{\"x\":1}")]),
        ),
        good(
            "a call without a name",
            one(json!({"index": 0, "id": "a", "function": {"arguments": "{}"}})),
            calls(vec![call("a", "", "{}")]),
        ),
        good(
            "a call without anything",
            sse(&[calling(json!({"index": 0})), chunk(json!({"content": "Hello"})), stop("stop")]),
            hello(),
        ),
        good(
            "calls that are null",
            sse(&[chunk(json!({"tool_calls": [null]})), chunk(json!({"content": "Hello"})), stop("stop")]),
            hello(),
        ),
        good(
            "two hundred calls",
            sse(&[
                chunk(
                    json!({"tool_calls": (0..200).map(|n| json!({"index": n, "id": format!("i{n}"), "function": {"name": "f", "arguments": format!("{{\"n\":{n}}}")}})).collect::<Vec<_>>()}),
                ),
                stop("tool_calls"),
            ]),
            calls((0..200).map(|n| call(&format!("i{n}"), "f", &format!("{{\"n\":{n}}}"))).collect()),
        ),
        good(
            "one id for two calls",
            sse(&[
                chunk(
                    json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}, {"index": 1, "id": "a", "function": {"name": "f", "arguments": "{}"}}]}),
                ),
                stop("tool_calls"),
            ]),
            calls(vec![call("a", "f", "{}"), call("a", "f", "{}")]),
        ),
        good(
            "text behind a call",
            sse(&[calling(f(json!("{}"))), chunk(json!({"content": "Done"})), stop("tool_calls")]),
            calls(vec![call("a", "f", "{}"), said("Done")]),
        ),
        good(
            "a signature beside the call",
            one(
                json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "c2ln"}}}),
            ),
            calls(vec![AnswerPart::Call(WrittenCall {
                provider_id: Some("a".into()),
                name: "f".into(),
                arguments: "{}".into(),
                complete: true,
                opaque: Some(SERVER.opaque("extra_content", r#"{"google":{"thought_signature":"c2ln"}}"#)),
            })]),
        ),
        bad(
            "a call that holds bytes which are no text",
            sse(&[calling(f(json!("{\"x\":\"#\"}"))), stop("tool_calls")])
                .bytes()
                .map(|byte| if byte == b'#' { 0xff } else { byte })
                .collect::<Vec<_>>(),
            Class::MalformedAnswer,
            "no text",
        ),
        bad(
            "a call that holds half a surrogate pair",
            sse(&[calling(json!({"index": 0, "function": {"name": "f", "arguments": "#"}})), stop("tool_calls")])
                .replace('#', "\\ud83d"),
            Class::MalformedAnswer,
            "no text",
        ),
        bad(
            "too many calls",
            sse(&[chunk(
                json!({"tool_calls": (0..1100).map(|n| json!({"index": n, "function": {"name": "f"}})).collect::<Vec<_>>()}),
            )]),
            Class::MalformedAnswer,
            "1024",
        ),
    ]);
}

#[test]
fn cut_calls_are_never_complete() {
    let f =
        |arguments: &str| calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}}));
    let cut_at = |name, arguments: &str, reason: &str| {
        let finish = if reason == "length" { Finish::Length } else { Finish::ToolCalls };
        good(name, sse(&[f(arguments), stop(reason)]), answer(vec![cut(call("a", "f", arguments))], finish))
    };
    SERVER.check(vec![
        cut_at("within a text, with a lying reason", "{\"c\": \"half a fi", "tool_calls"),
        cut_at("within a key", "{\"a\": 1, \"b", "tool_calls"),
        cut_at("behind a colon", "{\"a\":", "tool_calls"),
        cut_at("between members", "{\"a\": 1,", "tool_calls"),
        cut_at("within a number", "{\"a\": 12", "tool_calls"),
        cut_at("a bare number", "12", "tool_calls"),
        cut_at("within an escape", "{\"a\": \"x\\", "tool_calls"),
        cut_at("within a nested object", "{\"a\": {\"b\": 1}", "tool_calls"),
        cut_at("closed, but the limit of tokens was reached", "{\"a\": 1}", "length"),
        cut_at("nothing yet, and the limit of tokens was reached", "", "length"),
        good(
            "of several, only the last is cut by the limit",
            sse(&[
                f("{}"),
                calling(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}})),
                stop("length"),
            ]),
            answer(vec![call("a", "f", "{}"), cut(call("b", "g", "{}"))], Finish::Length),
        ),
        bad("a filter cut the last", sse(&[f("{}"), stop("content_filter")]), Class::ContentRefused, "content_filter"),
        good(
            "an open one before a whole one",
            sse(&[
                f("{\"a\": \"x"),
                calling(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}})),
                stop("tool_calls"),
            ]),
            calls(vec![cut(call("a", "f", "{\"a\": \"x")), call("b", "g", "{}")]),
        ),
        bad("a lost stream", sse(&[f("{}")]).replace("data: [DONE]\n\n", ""), Class::MalformedAnswer, "broke off"),
    ]);
}

#[test]
fn reasoning() {
    let text = |delta: Value| sse(&[chunk(delta), chunk(json!({"content": "Hello"})), stop("stop")]);
    SERVER.check(vec![
        good(
            "reasoning_content, in pieces",
            sse(&[
                chunk(json!({"reasoning_content": "Hm", "content": null})),
                chunk(json!({"reasoning_content": "m."})),
                chunk(json!({"reasoning_content": null, "content": "Hello"})),
                stop("stop"),
            ]),
            answer(vec![thought("Hmm.", "reasoning_content"), said("Hello")], Finish::Stop),
        ),
        good(
            "reasoning",
            text(json!({"reasoning": "Hmm."})),
            answer(vec![thought("Hmm.", "reasoning"), said("Hello")], Finish::Stop),
        ),
        good(
            "the same in two members",
            text(json!({"reasoning_content": "Hmm.", "reasoning": "Hmm."})),
            answer(vec![thought("Hmm.", "reasoning_content"), said("Hello")], Finish::Stop),
        ),
        good(
            "thinking as content parts, as Mistral's",
            sse(&[
                chunk(json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]})),
                chunk(json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "m."}]}]})),
                chunk(json!({"content": "Hello"})),
                stop("stop"),
            ]),
            answer(vec![thought("Hmm.", "content.thinking"), said("Hello")], Finish::Stop),
        ),
        good(
            "details that go back unchanged, as OpenRouter's",
            sse(&[
                chunk(
                    json!({"reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0, "format": "x"}]}),
                ),
                chunk(
                    json!({"reasoning_details": [{"type": "reasoning.text", "text": "m.", "index": 0, "signature": "c2ln"}]}),
                ),
                chunk(json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "ZGF0", "index": 1}]})),
                chunk(json!({"content": "Hello"})),
                stop("stop"),
            ]),
            answer(
                vec![
                    AnswerPart::Opaque(SERVER.opaque(
                        "reasoning_details",
                        r#"[{"type":"reasoning.text","text":"Hmm.","index":0,"format":"x","signature":"c2ln"},{"type":"reasoning.encrypted","data":"ZGF0","index":1}]"#,
                    )),
                    said("Hello"),
                ],
                Finish::Stop,
            ),
        ),
    ]);
}

#[test]
fn tokens_used() {
    let with = |name, usage: Value, expected: Option<Usage>| {
        good(
            name,
            sse(&[chunk(json!({"content": "Hello"})), stop("stop"), json!({"choices": [], "usage": usage})]),
            Answer { usage: expected, ..hello() },
        )
    };
    SERVER.check(vec![
        with(
            "by the book",
            json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10}, "completion_tokens_details": {"reasoning_tokens": 5}}),
            Some(Usage { input: 100, cached: 60, cache_write: 10, output: 20, reasoning: 5 }),
        ),
        with("floats and texts", json!({"prompt_tokens": 100.0, "completion_tokens": "20"}), Some(used(100, 20))),
        with("empty", json!({}), None),
        with("null", Value::Null, None),
        with("only zeros", json!({"prompt_tokens": 0, "completion_tokens": 0}), None),
        with("partial", json!({"prompt_tokens": 7}), Some(used(7, 0))),
        with("only the total and one of them", json!({"total_tokens": 9, "prompt_tokens": 7}), Some(used(7, 2))),
        with("negative", json!({"prompt_tokens": -7, "completion_tokens": 3}), Some(used(0, 3))),
        with("huge", json!({"prompt_tokens": 7, "completion_tokens": 1e300}), Some(used(7, 0))),
        with("the names of Responses", json!({"input_tokens": 7, "output_tokens": 3}), Some(used(7, 3))),
        with(
            "a cache as DeepSeek counts it",
            json!({"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}),
            Some(Usage { input: 10, cached: 8, output: 1, ..Usage::default() }),
        ),
        with(
            "reasoning outside of the completion",
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 35, "completion_tokens_details": {"reasoning_tokens": 20}}),
            Some(Usage { input: 10, output: 25, reasoning: 20, ..Usage::default() }),
        ),
        good(
            "with every chunk, growing",
            sse(&[
                json!({"id": "c1", "model": "m1-2026", "choices": [{"delta": {"content": "Hello"}}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}),
                json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}),
            ]),
            Answer { usage: Some(used(5, 2)), ..hello() },
        ),
        good(
            "inside the choice, as Moonshot's",
            sse(&[
                chunk(json!({"content": "Hello"})),
                json!({"choices": [{"delta": {}, "finish_reason": "stop", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}]}),
            ]),
            Answer { usage: Some(used(5, 2)), ..hello() },
        ),
        good(
            "as an extra, as Groq's",
            sse(&[
                chunk(json!({"content": "Hello"})),
                json!({"x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, "choices": [{"delta": {}, "finish_reason": "stop"}]}),
            ]),
            Answer { usage: Some(used(5, 2)), ..hello() },
        ),
    ]);
}

#[test]
fn errors_with_a_good_status() {
    let hel = chunk(json!({"content": "Hel"}));
    SERVER.check(vec![
        bad(
            "a document",
            r#"{"error": {"message": "This model's maximum context length is 8192 tokens", "code": "context_length_exceeded"}}"#,
            Class::ContextTooLong,
            "maximum context",
        ),
        bad(
            "a document with a text",
            r#"{"error": "model \"x\" not found, try pulling it first"}"#,
            Class::ModelGone,
            "not found",
        ),
        bad("a document, FastAPI's", r#"{"detail": "Rate limit exceeded"}"#, Class::RateLimited, "Rate limit"),
        bad(
            "a document, flat",
            r#"{"object": "error", "message": "broken", "type": "InternalServerError", "code": 500}"#,
            Class::Transient,
            "broken",
        ),
        bad(
            "a document, in an array",
            r#"[{"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}]"#,
            Class::Transient,
            "overloaded",
        ),
        bad(
            "an event in the midst",
            sse(&[
                hel.clone(),
                json!({"error": {"code": 502, "message": "Provider disconnected"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}),
            ]),
            Class::Transient,
            "Provider disconnected",
        ),
        bad(
            "an event in the midst, a text",
            sse(&[hel.clone(), json!({"error": "CUDA out of memory"})]),
            Class::Transient,
            "CUDA",
        ),
        bad(
            "an event with a name",
            format!("data: {hel}\n\nevent: error\ndata: {{\"message\": \"Overloaded\"}}\n\n"),
            Class::Transient,
            "Overloaded",
        ),
        bad(
            "an event with a name and words",
            format!("data: {hel}\n\nevent: error\ndata: rate limit exceeded\n\n"),
            Class::RateLimited,
            "rate limit",
        ),
        bad(
            "a line that is no event",
            format!("data: {hel}\n\n{{\"error\": {{\"message\": \"quota\", \"code\": \"insufficient_quota\"}}}}\n"),
            Class::Quota,
            "quota",
        ),
        bad(
            "inside the choice",
            sse(&[json!({"choices": [{"index": 0, "error": {"code": 429, "message": "slow down"}}]})]),
            Class::RateLimited,
            "slow down",
        ),
        bad(
            "before anything",
            sse(&[json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})]),
            Class::Transient,
            "Overloaded",
        ),
    ]);
}

#[test]
fn what_had_arrived_is_kept_clipped() {
    let half = |text: &str| format!("data: {}\n\n", chunk(json!({"content": text})));
    let failure = SERVER.read(half("Hel").as_bytes(), 1000, &mut |_| {}).unwrap_err();
    assert_eq!(failure.discarded, "Hel");
    let failure = SERVER.read(half(&"x".repeat(100_000)).as_bytes(), 1000, &mut |_| {}).unwrap_err();
    assert!(failure.discarded.len() < 3000 && failure.discarded.ends_with('…'));
}

#[test]
fn pieces_are_told_as_they_come() {
    let body = sse(&[
        chunk(json!({"reasoning_content": "Hmm"})),
        chunk(json!({"content": "Hel"})),
        chunk(json!({"content": "lo"})),
        calling(json!({"index": 0, "id": "a", "function": {"name": "files_"}})),
        calling(json!({"index": 0, "function": {"name": "_read"}})),
        calling(json!({"index": 0, "function": {"arguments": "{}"}})),
        calling(json!({"index": 1, "id": "b", "function": {"name": "now"}})),
        stop("tool_calls"),
    ]);
    let told = SERVER.told(&body);
    assert_eq!(
        told,
        [r#"Reasoning("Hmm")"#, r#"Text("Hel")"#, r#"Text("lo")"#, r#"Call("files__read")"#, r#"Call("now")"#]
    );
}

/// An answer with text and two calls, as a good server streams it, and what it comes to.
fn two_calls() -> (String, Answer) {
    let body = sse(&[
        chunk(json!({"role": "assistant", "content": null})),
        chunk(json!({"content": "Grüße 😀"})),
        calling(json!({"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}})),
        calling(json!({"index": 0, "function": {"arguments": "{\"x\": \"a\\n"}})),
        calling(json!({"index": 0, "function": {"arguments": "b\"}"}})),
        calling(
            json!({"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{\"n\": 12"}}),
        ),
        calling(json!({"index": 1, "function": {"arguments": "3}"}})),
        stop("tool_calls"),
        usage_chunk(),
    ]);
    let parts = vec![said("Grüße 😀"), call("a", "f", "{\"x\": \"a\\nb\"}"), call("b", "g", "{\"n\": 123}")];
    (body, Answer { usage: Some(used(9, 3)), ..calls(parts) })
}

#[test]
fn no_beginning_of_an_answer_passes_for_it() {
    SERVER.no_beginning_passes(&two_calls().0, "\"finish_reason\":\"tool_calls\"");
}

proptest::proptest! {
    /// Whatever a server sends, reading it ends, does not panic, and does not depend on how the bytes are split.
    #[test]
    fn damage_is_read_the_same_in_any_split(
        at in 0usize..2000, cut in 0usize..40, with in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20), step in 1usize..50,
    ) {
        SERVER.damaged(&two_calls().0, (at, cut), with, step);
    }

    /// Damage within the arguments never leaves a call that looks complete and reads as other JSON than was meant,
    /// unless a server damages a value into another good value, which nobody can see.
    #[test]
    fn arguments_cut_anywhere_are_not_complete(end in 0usize..60, lie in proptest::bool::ANY) {
        let arguments = r#"{"path": "a \"b\" {c}", "list": [1, {"d": null}], "n": -1.5e3}"#;
        let end = end % arguments.len();
        let body = sse(&[
            calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": &arguments[..end]}})),
            stop(if lie { "stop" } else { "tool_calls" }),
        ]);
        let answer = SERVER.read(&body, 64, &mut |_| {}).unwrap();
        proptest::prop_assert_eq!(answer.calls().next().unwrap().complete, end == 0);
    }
}

/// A reader that looked at all arguments again with every piece would need hours for this.
#[test]
fn many_small_pieces_take_linear_time() {
    let piece = calling(json!({"index": 0, "function": {"arguments": "x"}}));
    let event = format!("data: {piece}\n\n");
    let mut body = sse(&[calling(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\":\""}}))])
        .replace("data: [DONE]\n\n", "");
    body.push_str(&event.repeat(30_000));
    body.push_str(&sse(&[calling(json!({"index": 0, "function": {"arguments": "\"}"}})), stop("tool_calls")]));
    let answer = SERVER.read(&body, 11, &mut |_| {}).unwrap();
    assert_eq!(answer, calls(vec![call("a", "f", &format!("{{\"x\":\"{}\"}}", "x".repeat(30_000)))]));
}

#[test]
fn larger_than_we_read() {
    let line = format!("data: {}\n\n", chunk(json!({"content": "x".repeat(1 << 20)})));
    let mut reading = Chat.reading();
    let failure = (0..40).find_map(|_| reading.push(line.as_bytes(), &mut |_| {}).err()).unwrap();
    assert_eq!((failure.class, failure.message.as_str()), (Class::MalformedAnswer, "the answer is larger than 32 MiB"));
}

/// What is added to the request before is what would have been written anew, whatever a conversation holds.
#[test]
fn a_request_that_goes_on_is_the_one_written_anew() {
    let opaque = |member: &str| SERVER.opaque(member, "{\"a\": 1}");
    let messages = [
        user("Hi"),
        user("there"),
        Message::Assistant(vec![Part::text("Let me see."), tool_call(1, "shot", "{}"), tool_call(2, "now", "{}")]),
        result(1, "shot", vec![Part::text("Here"), image()], false),
        result(2, "now", vec![Part::text("noon")], true),
        Message::Assistant(vec![Part::Opaque(opaque("reasoning_details")), tool_call(3, "now", "{}")]),
        result(3, "now", vec![Part::text("one")], false),
        // Of this nothing is left for another issuer.
        Message::Assistant(vec![Part::Opaque(Box::new(Opaque { issuer: "other".into(), ..*opaque("thinking") }))]),
        user("Go on"),
        Message::Assistant(vec![Part::text("Done.")]),
    ];
    let whole = Request { system: Some("Be brief.".into()), ..request(messages) };
    let first = |count: usize| Request { messages: whole.messages[..count].to_vec(), ..whole.clone() };
    let anew = |request: &Request| SERVER.written(&Request { draft: Draft::default(), ..request.clone() });
    let head = br#"{"model":"m1","messages":[{"role":"system","content":"Be brief."}"#;
    let kept = |count: usize| whole.draft.beginning(TARGET.issuer, head, &first(count).messages);
    let mut known = Vec::new();
    for count in 0..=whole.messages.len() {
        assert_eq!(SERVER.written(&first(count)), anew(&first(count)), "{count} messages");
        known.push(kept(count).unwrap().messages);
    }
    // What the user says, and pictures that results hold, may become one with what follows.
    assert_eq!(known, [0, 0, 0, 3, 3, 3, 6, 7, 8, 8, 10]);
    let shorter = Request { messages: [&whole.messages[..2], &whole.messages[5..]].concat(), ..whole.clone() };
    assert_eq!(SERVER.written(&shorter), anew(&shorter), "a conversation that lost its middle");
    let silent = Request { system: None, ..whole.clone() };
    SERVER.written(&whole);
    assert_eq!(SERVER.written(&silent), anew(&silent), "no instructions any more");
    let other = Server { target: Target { model: "m2", ..TARGET }, ..SERVER };
    let fresh = Request { draft: Draft::default(), ..shorter.clone() };
    assert_eq!(other.written(&shorter), other.written(&fresh), "another model");
}

/// The body as JSON; what async-openai's own types read from it must be the same.
fn rendered(request: &Request) -> Value {
    rendered_for(request, TARGET)
}

fn rendered_for(request: &Request, target: Target<'_>) -> Value {
    let body = Server { target, ..SERVER }.rendered(request);
    serde_json::from_value::<async_openai::types::chat::CreateChatCompletionRequest>(body.clone()).unwrap();
    body
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
            tool("any", "", json!(true)),
        ]),
        choice: Choice::Tool(OfferedName::from("files__read")),
        temperature: Some(0.2),
        output_tokens_max: Some(500),
        effort: None,
        cache_key: None,
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
    let expected = json!({
        "model": "m1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"type": "function", "id": "t0001c001", "function": {"name": "files__read", "arguments": "{\"path\": \"a\"}"}},
                {"type": "function", "id": "t0001c002", "function": {"name": "now", "arguments": "{}"}},
            ]},
            {"role": "tool", "content": "one\ntwo", "tool_call_id": "t0001c001"},
            {"role": "tool", "content": "Error: (no content)", "tool_call_id": "t0001c002"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "files__read", "description": "Reads a file", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}},
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
            {"type": "function", "function": {"name": "any", "parameters": {"type": "object", "properties": {}}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "files__read"}},
        "temperature": 0.2,
        "max_tokens": 500,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    assert_eq!(rendered(&request), expected);
    let newer =
        rendered_for(&request, Target { quirks: &Quirks { completion_tokens: true, ..Quirks::NONE }, ..TARGET });
    assert_eq!((newer.get("max_tokens"), newer.get("max_completion_tokens")), (None, Some(&json!(500))));
}

#[test]
fn wishes_go_as_each_server_takes_them() {
    let tool = ToolDef {
        name: "f".into(),
        origin: ToolName { server: "x".into(), tool: "f".into() },
        description: "".into(),
        input_schema: Arc::new(json!({"type": "object"})),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: false,
        additive: false,
        hash: "".into(),
    };
    let plain =
        Request { effort: Some(ReasoningEffort::Medium), cache_key: Some("run-7".into()), ..request(vec![user("Hi")]) };
    let forced = Request { tools: Arc::new([tool]), choice: Choice::Tool("f".into()), ..plain.clone() };
    let members = |request: &Request, quirks: Quirks| {
        let body = rendered_for(request, Target { quirks: &quirks, ..TARGET });
        let keys = ["reasoning_effort", "reasoning", "prompt_cache_key", "tool_choice", "stream_options"];
        Value::Object(keys.iter().filter_map(|key| Some(((*key).to_owned(), body.get(key)?.clone()))).collect())
    };
    let usage = json!({"include_usage": true});
    let named = json!({"type": "function", "function": {"name": "f"}});
    let effort = |effort| Quirks { effort, ..Quirks::NONE };
    let silent = || Request { effort: None, cache_key: None, ..forced.clone() };
    let table = [
        (&plain, Quirks::NONE, json!({"reasoning_effort": "medium", "stream_options": usage})),
        (&forced, Quirks::NONE, json!({"reasoning_effort": "medium", "tool_choice": named, "stream_options": usage})),
        (&silent(), Quirks::NONE, json!({"tool_choice": named, "stream_options": usage})),
        (&plain, effort(EffortForm::WithoutTools), json!({"reasoning_effort": "medium", "stream_options": usage})),
        (&forced, effort(EffortForm::WithoutTools), json!({"tool_choice": named, "stream_options": usage})),
        (&plain, effort(EffortForm::NoneWithTools), json!({"reasoning_effort": "medium", "stream_options": usage})),
        (
            &silent(),
            effort(EffortForm::NoneWithTools),
            json!({"reasoning_effort": "none", "tool_choice": named, "stream_options": usage}),
        ),
        (&plain, effort(EffortForm::Object), json!({"reasoning": {"effort": "medium"}, "stream_options": usage})),
        (&plain, effort(EffortForm::HighOrNone), json!({"reasoning_effort": "none", "stream_options": usage})),
        (
            &Request { effort: Some(ReasoningEffort::High), ..plain.clone() },
            effort(EffortForm::HighOrNone),
            json!({"reasoning_effort": "high", "stream_options": usage}),
        ),
        (&plain, effort(EffortForm::Never), json!({"stream_options": usage})),
        (
            &forced,
            Quirks { force: ForceForm::Required, ..effort(EffortForm::Never) },
            json!({"tool_choice": "required", "stream_options": usage}),
        ),
        (&forced, Quirks { force: ForceForm::Never, ..effort(EffortForm::Never) }, json!({"stream_options": usage})),
        (
            &plain,
            Quirks { cache_key: true, no_stream_options: true, ..effort(EffortForm::Never) },
            json!({"prompt_cache_key": "run-7"}),
        ),
    ];
    for (request, quirks, expected) in table {
        assert_eq!(members(request, quirks), expected, "{quirks:?}");
    }
}

#[test]
fn an_output_schema_becomes_the_response_format() {
    let output = OutputFormat { name: "answer".into(), schema: Arc::new(json!({"type": "object"})) };
    let request = Request { output: Some(Arc::new(output)), ..request(vec![user("Hi")]) };
    assert_eq!(
        rendered(&request)["response_format"],
        json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}})
    );
}

#[test]
fn pictures_in_results_follow_the_last_result() {
    let request = request(vec![
        user("Look"),
        Message::Assistant(vec![tool_call(1, "shot", "{}"), tool_call(2, "shot", "{}")]),
        result(1, "shot", vec![Part::text("a screen"), image()], false),
        result(2, "shot", vec![image()], true),
        user("And now?"),
    ]);
    assert_eq!(
        rendered(&request)["messages"],
        json!([
            {"role": "user", "content": "Look"},
            {"role": "assistant", "tool_calls": [
                {"type": "function", "id": "t0001c001", "function": {"name": "shot", "arguments": "{}"}},
                {"type": "function", "id": "t0001c002", "function": {"name": "shot", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "t0001c001", "content": "a screen\n[image/png 1: in the next message of the user]"},
            {"role": "tool", "tool_call_id": "t0001c002", "content": "Error: [image/png 1: in the next message of the user]"},
            {"role": "user", "content": [
                {"type": "text", "text": "[image/png 1 of the result of shot (t0001c001)]"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGkh"}},
                {"type": "text", "text": "[image/png 1 of the result of shot (t0001c002)]"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGkh"}},
                {"type": "text", "text": "And now?"},
            ]},
        ])
    );
}

#[test]
fn media_of_the_user() {
    let file = |mime: &str| {
        let (name, source) = (Some("a.pdf".to_owned()), MediaSource::Base64("aGkh".into()));
        Part::Document(Media { name, mime: mime.to_owned(), source })
    };
    let audio = |mime: &str, source| Part::Audio(Media { name: None, mime: mime.into(), source });
    let request = request(vec![Message::User(vec![
        Part::Image(Media { name: None, mime: "image/png".into(), source: MediaSource::Url("https://x/y.png".into()) }),
        audio("audio/wav", MediaSource::Base64("aGkh".into())),
        audio("audio/ogg", MediaSource::Base64("aGkh".into())),
        audio("audio/ogg", MediaSource::Url("https://x/y.ogg".into())),
        file("application/pdf"),
        file("application/zip"),
    ])]);
    assert_eq!(
        rendered(&request)["messages"][0]["content"],
        json!([
            {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            {"type": "input_audio", "input_audio": {"data": "aGkh", "format": "wav"}},
            {"type": "text", "text": "[audio/ogg, 3 bytes; left out: this service takes no media of this type]"},
            {"type": "text", "text": "[audio/ogg, at https://x/y.ogg; left out: this service takes no media of this type]"},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGkh", "filename": "a.pdf"}},
            {"type": "text", "text": "[a.pdf, application/zip, 3 bytes; left out: this service takes no media of this type]"},
        ])
    );
}

#[test]
fn nothing_empty_is_sent() {
    let foreign = Reasoning {
        text: "Hmm".into(),
        opaque: Some(Box::new(Opaque { issuer: "other".into(), ..*SERVER.opaque("reasoning", "") })),
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
    assert_eq!(
        rendered(&request)["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "(empty)"}, {"type": "text", "text": "Still there?"}]},
            {"role": "assistant", "tool_calls": [{"type": "function", "id": "t0001c001", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "t0001c001", "content": "(no content)"},
        ])
    );
}

#[test]
fn what_an_issuer_gave_goes_back_to_it_alone() {
    let answered = |body: String| answered(&SERVER.read(&body, 100, &mut |_| {}).unwrap());
    let thinking = answered(sse(&[
        chunk(json!({"reasoning_content": "Hmm.", "reasoning_details": [{"type": "x", "n": 1}]})),
        chunk(json!({"content": "I look."})),
        calling(
            json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "c2ln"}}}),
        ),
        stop("tool_calls"),
    ]));
    let parts = answered(sse(&[
        chunk(
            json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}, {"type": "hologram"}]}),
        ),
        chunk(json!({"content": "Hello"})),
        stop("stop"),
    ]));
    let only_text =
        answered(sse(&[chunk(json!({"reasoning": "Hmm."})), chunk(json!({"content": "Hello"})), stop("stop")]));

    let conversation = request([thinking, parts, only_text]);
    let messages = |target| Server { target, ..SERVER }.rendered(&conversation)["messages"].take();
    assert_eq!(
        messages(TARGET),
        json!([
            {"role": "assistant", "content": "I look.", "reasoning_content": "Hmm.", "reasoning_details": [{"type": "x", "n": 1}], "tool_calls": [
                {"type": "function", "id": "t0001c001", "function": {"name": "f", "arguments": "{}"}, "extra_content": {"google": {"thought_signature": "c2ln"}}},
            ]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}, {"type": "hologram"}, {"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": "Hello"},
        ])
    );
    let plain = json!([
        {"role": "assistant", "content": "I look.", "tool_calls": [{"type": "function", "id": "t0001c001", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "content": "Hello"},
    ]);
    assert_eq!(messages(Target { model: "m2", ..TARGET }), plain);
    assert_eq!(messages(Target { issuer: "other", ..TARGET }), plain);
}

/// llama.cpp's server (build 10434): a call that its limit cuts, and errors of its decoder within a good stream.
#[test]
fn what_llama_cpp_streams() {
    let begun = r#"data: {"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1,"id":"c1","model":"m1-2026","system_fingerprint":"b1-7e4c0a9","object":"chat.completion.chunk"}"#;
    let broken = |message: &str| {
        let error = json!({"error": {"code": 500, "message": message, "type": "server_error"}});
        format!("{begun}\n\ndata: {error}\n\n")
    };
    let call_begins = r#"data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"id":"V5aON","type":"function","function":{"name":"write_file","arguments":"{"}}]}}],"created":1,"id":"c1","model":"m1-2026","object":"chat.completion.chunk"}"#;
    let more = r#"data: {"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"path\": \"fomo.txt"}}]}}],"created":1,"id":"c1","model":"m1-2026","object":"chat.completion.chunk"}"#;
    let cut_off = r#"data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1,"id":"c1","model":"m1-2026","object":"chat.completion.chunk","timings":{"cache_n":224,"prompt_n":1,"predicted_n":14,"predicted_ms":625.375}}"#;
    let stream = [begun, call_begins, more, cut_off, "data: [DONE]"].join("\n\n") + "\n\n";
    SERVER.check(vec![
        bad(
            "a decoder that finds no way on",
            broken("got exception: Unexpected empty grammar stack after accepting piece: >>> (36991)"),
            Class::MalformedAnswer,
            "empty grammar stack",
        ),
        bad(
            "a decoder that cannot read what it decoded",
            broken("The model produced output that does not match the expected peg-native format"),
            Class::MalformedAnswer,
            "peg-native",
        ),
        good(
            "a cut call",
            stream,
            answer(vec![cut(call("V5aON", "write_file", r#"{"path": "fomo.txt"#))], Finish::Length),
        ),
    ]);
}
