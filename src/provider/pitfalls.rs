//! What goes wrong when a conversation with tools changes its provider, each as a promise. The numbers are those of a list that
//! was gathered from the threads of gateways and clients; what each is about stands over its test.
//!
//! | pitfalls | shown by |
//! |---|---|
//! | 1–21, 23–30 | the test of that number here |
//! | 22 names | here that they go out as offered; that they fit every service in `mcp::names`, which makes them |
//! | all at once | `tests/it/pairs.rs`: every pair of formats, the doubles refusing what the services refuse |
//! | 6, 8, 13, 25 over the wire | `tests/it/vendor_anthropic.rs`; 4, 5 in `vendor_gemini.rs`; 9, 10 in `vendor_responses.rs` |
//! | 28 over the wire | `tests/it/provider.rs` |

use serde_json::{Value, json};

use super::{
    Class, Dialect, EffortForm, ForceForm, Quirks,
    dialect::Target,
    estimate, failure,
    schema::{self, GEMINI_PARAMETERS, OPENAI_STRICT},
    table::{Server, image, own_call, request, result, tool, tool_call, user},
};
use crate::chat::{
    Answer, CallId, Choice, Finish, Message, Opaque, Part, Reasoning, ReasoningEffort, Request, ToolCall, ToolResult,
    Usage,
};

const PLAIN: Quirks = Quirks::NONE;

fn server(dialect: Dialect, model: &'static str) -> Server<'static> {
    let target = Target { issuer: "acme", model, quirks: &PLAIN, strict: false };
    Server { format: dialect.format(), target }
}

fn chat() -> Server<'static> {
    server(Dialect::OpenAiChat, "m1")
}

fn responses() -> Server<'static> {
    server(Dialect::OpenAiResponses, "gpt-5")
}

fn claude() -> Server<'static> {
    server(Dialect::AnthropicMessages, "claude-haiku-4-5")
}

fn gemini() -> Server<'static> {
    server(Dialect::Gemini, "gemini-3-pro-preview")
}

fn all() -> [Server<'static>; 4] {
    [chat(), responses(), claude(), gemini()]
}

/// Two calls side by side and what came of them, in the order in which they ended.
fn two_calls() -> Vec<Message> {
    vec![
        user("Look"),
        Message::Assistant(vec![tool_call(1, "shot", r#"{"n":1}"#), tool_call(2, "now", "{}")]),
        result(2, "now", vec![Part::text("no clock")], true),
        result(1, "shot", vec![Part::text("a screen"), image()], false),
    ]
}

fn opaque(issuer: &str, model: &str, kind: &str, data: &str) -> Option<Box<Opaque>> {
    Some(Box::new(Opaque { issuer: issuer.into(), model: model.into(), kind: kind.into(), data: data.into() }))
}

fn thought(text: &str, opaque: Option<Box<Opaque>>) -> Part {
    Part::Reasoning(Reasoning { text: text.into(), opaque })
}

/// The values of this member, wherever it stands, in order.
fn members<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    match value {
        Value::Object(members_of) => members_of
            .iter()
            .flat_map(|(key, value)| {
                let own = (key == name).then_some(value);
                own.into_iter().chain(members(value, name))
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(|value| members(value, name)).collect(),
        _ => Vec::new(),
    }
}

/// What a server makes of a stream of these events.
fn read(server: Server<'_>, events: &[Value]) -> Answer {
    let body: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    server.read(body + "data: [DONE]\n\n", 100, &mut |_| {}).unwrap()
}

fn is_word(id: &Value, lengths: std::ops::RangeInclusive<usize>, more: &str) -> bool {
    let id = id.as_str().unwrap_or_default();
    lengths.contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Mistral takes ids of nine letters and digits and no others.
#[test]
fn p01_ids_of_calls_are_nine_letters_and_digits_in_the_chat_format() {
    let body = chat().rendered(&request(two_calls()));
    let calls: Vec<_> = members(&body, "tool_calls")[0].as_array().unwrap().iter().map(|call| &call["id"]).collect();
    assert!(calls.iter().all(|id| is_word(id, 9..=9, "")), "{calls:?}");
    assert_eq!(members(&body, "tool_call_id"), [calls[1], calls[0]]);
}

/// Anthropic takes letters, digits, `_` and `-`, Bedrock at most 64 of them; other providers' ids have whole signatures in them.
#[test]
fn p02_ids_of_calls_are_short_words_everywhere_and_their_own_turn_long() {
    let id = CallId { turn: u32::MAX, call: u32::MAX };
    let late = Part::Call(ToolCall { id, name: "f".into(), arguments: "{}".into(), opaque: None });
    let there = Message::Tool(ToolResult { call: id, name: "f".into(), content: vec![], is_error: false });
    for server in [chat(), responses(), claude()] {
        let body = server.rendered(&request([user("Hi"), Message::Assistant(vec![late.clone()]), there.clone()]));
        let ids = ["tool_call_id", "call_id", "tool_use_id"].into_iter().flat_map(|name| members(&body, name));
        let ids: Vec<_> = ids.collect();
        assert!(!ids.is_empty() && ids.iter().all(|id| is_word(id, 1..=64, "_-")), "{ids:?}");
    }
}

/// Gemini pairs by name and order; its older models give no ids.
#[test]
fn p03_results_stand_in_the_order_of_their_calls_where_there_are_no_ids() {
    let body = gemini().rendered(&request(two_calls()));
    let names: Vec<_> = members(&body, "functionResponse").into_iter().map(|response| &response["name"]).collect();
    assert_eq!(names, ["shot", "now"]);
    assert_eq!(members(&body, "id"), Vec::<&Value>::new());
}

/// Gemini 3 refuses calls without a signature; for those of others there is a word that its documentation names.
#[test]
fn p04_calls_from_elsewhere_pass_geminis_check_of_signatures() {
    let body = gemini().rendered(&request(two_calls()));
    // The first call of each step, and no other.
    assert_eq!(members(&body, "thoughtSignature"), ["skip_thought_signature_validator"]);
    let older = server(Dialect::Gemini, "gemini-2.5-flash").rendered(&request(two_calls()));
    assert_eq!(members(&older, "thoughtSignature"), Vec::<&Value>::new());
}

/// "Corrupted thought signature", "Invalid signature", "invalid_encrypted_content": all for what somebody else has issued.
#[test]
fn p05_what_one_issuer_gave_is_shown_to_no_other() {
    let kinds =
        ["functionCall", "text.thoughtSignature", "thought.thoughtSignature", "part.text", "thinking.signature"];
    let kinds = kinds.into_iter().chain(["redacted_thinking", "reasoning", "reasoning_details", "extra_content"]);
    let kinds: Vec<_> = kinds.chain(["content.hologram", "item.hologram", "message.phase"]).collect();
    let secret = r#"{"thoughtSignature":"s3cret","encrypted_content":"s3cret","type":"reasoning"}"#;
    for server in all() {
        let Target { issuer, model, .. } = server.target;
        for (issuer, model) in [("other", model), (issuer, "another")] {
            let mut parts = vec![Part::text("Hello")];
            for kind in &kinds {
                let own = || opaque(issuer, model, kind, secret);
                parts.extend([thought("s3cret", own()), Part::Opaque(own().unwrap())]);
            }
            parts.push(own_call(1, "f", "{}", opaque(issuer, model, "functionCall", secret)));
            parts.push(own_call(2, "f", "{}", opaque(issuer, model, "extra_content", secret)));
            let results = [1, 2].map(|n| result(n, "f", vec![], false));
            let asked = [vec![user("Hi"), Message::Assistant(parts)], results.to_vec()].concat();
            let body = server.written(&Request { effort: Some(ReasoningEffort::Low), ..request(asked) });
            assert!(body.contains("Hello") && !body.contains("s3cret"), "{issuer} {model}: {body}");
        }
    }
}

/// A signature of Anthropic's is bound to the exact bytes of the thought.
#[test]
fn p06_a_thought_goes_back_byte_for_byte() {
    let text = "Gr\u{fc}\u{df}e \u{1F600}\u{2028} \"x\" \\u0041 \t\n ";
    let own = thought(text, opaque("acme", "claude-haiku-4-5", "thinking.signature", "a+/=\u{e9}"));
    let asked = request([user("Hi"), Message::Assistant(vec![own, Part::text("Yes.")]), user("Sure?")]);
    let body = claude().rendered(&Request { effort: Some(ReasoningEffort::Low), ..asked });
    assert_eq!(
        body["messages"][1]["content"][0],
        json!({"type": "thinking", "thinking": text, "signature": "a+/=\u{e9}"})
    );
}

/// Whoever waits for a refusal and strips thoughts then has to know how each service words it; Bedrock's words differ. We know
/// before we send, and a refusal ends the chain, as it would be the same everywhere.
#[test]
fn p07_no_wording_of_a_refusal_is_waited_for() {
    for words in [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.0.thinking.signature: Field required",
        "The model returned the following errors: messages.1.content.0.thinking.signature: Field required",
    ] {
        let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": words}}).to_string();
        assert_eq!(failure::of_response(400, None, body.as_bytes()).class, Class::CallerFault, "{words}");
    }
    let unsigned = thought("Hm", opaque("bedrock", "claude-haiku-4-5", "thinking", ""));
    let asked = request([user("Hi"), Message::Assistant(vec![unsigned, Part::text("Yes.")]), user("Sure?")]);
    let body = claude().rendered(&Request { effort: Some(ReasoningEffort::Low), ..asked });
    assert_eq!(members(&body, "thinking").len(), 1, "only the wish to think: {body}");
}

/// "Expected thinking, but found tool_use": a turn that began without a thought of this model goes on without.
#[test]
fn p08_thinking_begins_at_the_next_turn_of_the_user() {
    let with_effort = |messages| {
        let request = Request { effort: Some(ReasoningEffort::Low), ..request(messages) };
        claude().rendered(&request).get("thinking").cloned()
    };
    assert_eq!(with_effort(two_calls()), None);
    let own = thought("Hm", opaque("acme", "claude-haiku-4-5", "thinking.signature", "S"));
    let mut begun_here = two_calls();
    begun_here[1] = Message::Assistant(vec![own, tool_call(1, "shot", "{}"), tool_call(2, "now", "{}")]);
    assert!(with_effort(begun_here).is_some());
    let closed = [two_calls(), vec![Message::Assistant(vec![Part::text("So.")]), user("And?")]].concat();
    assert!(with_effort(closed).is_some());
}

/// Encrypted content opens at its issuer only, and goes there as it came.
#[test]
fn p09_encrypted_reasoning_goes_home_as_it_came() {
    let item = r#"{"id": "rs_1", "type":"reasoning", "encrypted_content": "gA\u0042==", "summary":[ ]}"#;
    let own = thought("", opaque("acme", "gpt-5", "reasoning", item));
    let asked = request([user("Hi"), Message::Assistant(vec![own, Part::text("Yes.")]), user("Sure?")]);
    assert!(responses().written(&asked).contains(item));
    let elsewhere = Server { target: Target { issuer: "azure", ..responses().target }, ..responses() };
    assert!(!elsewhere.written(&asked).contains("rs_1"));
}

/// A reasoning item must be followed by what it led to, and what it led to keeps it.
#[test]
fn p10_reasoning_never_stands_alone_and_never_loses_its_call() {
    let own = || thought("", opaque("acme", "gpt-5", "reasoning", r#"{"type":"reasoning","id":"rs_1","summary":[]}"#));
    let kinds = |parts, more: Vec<Message>| {
        let body = responses().rendered(&request([vec![user("Hi"), Message::Assistant(parts)], more].concat()));
        let items = body["input"].as_array().unwrap();
        items.iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let there = vec![result(1, "f", vec![], false)];
    let expected = ["message", "reasoning", "function_call", "function_call_output"];
    assert_eq!(kinds(vec![own(), tool_call(1, "f", "{}")], there), expected);
    assert_eq!(kinds(vec![Part::text("Yes."), own()], vec![user("Sure?")]), ["message", "message", "message"]);
}

/// DeepSeek wants its thoughts back beside calls, under the name that it gave them; nobody else's have a place there.
#[test]
fn p11_reasoning_content_goes_back_beside_calls() {
    let own = thought("Hm", opaque("acme", "m1", "reasoning_content", ""));
    let redacted = thought("", opaque("anthropic", "claude-haiku-4-5", "redacted_thinking", "s3cret"));
    let called = Message::Assistant(vec![own.clone(), redacted, tool_call(1, "f", "{}")]);
    let body = chat().rendered(&request([user("Hi"), called, result(1, "f", vec![], false)]));
    assert_eq!(members(&body, "reasoning_content"), ["Hm"]);
    assert!(!body.to_string().contains("s3cret"));
    let told = Message::Assistant(vec![own, Part::text("Yes.")]);
    let body = chat().rendered(&request([user("Hi"), told, user("Sure?")]));
    assert_eq!(members(&body, "reasoning_content"), Vec::<&Value>::new());
}

/// Newer models of OpenAI's refuse the wish to think together with tools in the chat format.
#[test]
fn p12_the_wish_to_think_and_tools_go_together_only_where_they_may() {
    let wish = |effort, tools: bool| {
        let quirks = Quirks { effort, ..PLAIN };
        let tools = if tools { vec![tool("f", json!({"type": "object"}))] } else { vec![] };
        let asked = Request { tools: tools.into(), effort: Some(ReasoningEffort::High), ..request([user("Hi")]) };
        let body = Server { target: Target { quirks: &quirks, ..chat().target }, ..chat() }.rendered(&asked);
        body["reasoning_effort"].as_str().map(str::to_owned)
    };
    assert_eq!(wish(EffortForm::Member, true).as_deref(), Some("high"));
    assert_eq!(wish(EffortForm::WithoutTools, true), None);
    assert_eq!(wish(EffortForm::NoneWithTools, true).as_deref(), Some("none"));
    assert_eq!(wish(EffortForm::WithoutTools, false).as_deref(), Some("high"));
}

/// A model that is forced to call does not think: Anthropic refuses both at once, DeepSeek the forcing.
#[test]
fn p13_forcing_a_call_and_thinking_exclude_each_other() {
    let forced = Request {
        tools: vec![tool("f", json!({"type": "object"}))].into(),
        choice: Choice::Tool("f".into()),
        effort: Some(ReasoningEffort::High),
        ..request([user("Hi")])
    };
    for model in ["claude-haiku-4-5", "claude-opus-4-6", "claude-sonnet-5", "claude-opus-5-5"] {
        let body = server(Dialect::AnthropicMessages, model).rendered(&forced);
        let thinks = body.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled");
        assert!(!(thinks && body.get("tool_choice").is_some()), "{model}: {body}");
    }
    let quirks = Quirks { force: ForceForm::Never, ..PLAIN };
    let deepseek = Server { target: Target { quirks: &quirks, ..chat().target }, ..chat() };
    assert_eq!(deepseek.rendered(&forced).get("tool_choice"), None);
}

/// All results of one answer, before anything else, in the form of each service.
#[test]
fn p14_results_of_parallel_calls_come_together_and_first() {
    let asked = request([two_calls(), vec![user("Mind the time.")]].concat());
    let claude = claude().rendered(&asked);
    let kinds = |blocks: &Value, name: &str| -> Vec<String> {
        blocks.as_array().unwrap().iter().map(|block| block[name].as_str().unwrap_or("-").to_owned()).collect()
    };
    assert_eq!(kinds(&claude["messages"][2]["content"], "type"), ["tool_result", "tool_result", "text"]);
    let gemini = gemini().rendered(&asked);
    let turn = gemini["contents"][2]["parts"].as_array().unwrap();
    let responses_first: Vec<_> = turn.iter().map(|part| part.get("functionResponse").is_some()).collect();
    assert_eq!(responses_first, [true, true, false]);
    assert_eq!(kinds(&chat().rendered(&asked)["messages"], "role"), ["user", "assistant", "tool", "tool", "user"]);
    let responses = responses().rendered(&asked);
    let outputs =
        ["message", "function_call", "function_call", "function_call_output", "function_call_output", "message"];
    assert_eq!(kinds(&responses["input"], "type"), outputs);
}

/// Google's own endpoint of the chat format gives each of several calls the index 0.
#[test]
fn p15_calls_that_share_an_index_stay_apart() {
    let call = |id: &str, name: &str, arguments: &str| {
        let call =
            json!({"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": null}]})
    };
    let finish = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    for ids in [["a", "b"], ["", ""]] {
        let answer = read(chat(), &[call(ids[0], "f", r#"{"n":1}"#), call(ids[1], "g", "{}"), finish.clone()]);
        let calls: Vec<_> = answer.calls().map(|call| (&*call.name, &*call.arguments, call.complete)).collect();
        assert_eq!(calls, [("f", r#"{"n":1}"#, true), ("g", "{}", true)]);
    }
    let part = |name: &str| json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": name, "args": {}}}]}, "index": 0}]});
    let finish = json!({"candidates": [{"finishReason": "STOP", "index": 0}]});
    let answer = read(gemini(), &[part("f"), part("f"), finish]);
    assert_eq!(answer.calls().count(), 2);
}

/// Empty texts are refused, and whoever drops answers that have no text loses their calls.
#[test]
fn p16_nothing_blank_is_sent_and_no_call_is_lost() {
    let blank = || Part::text(" \n");
    let messages = [
        Message::User(vec![blank()]),
        Message::Assistant(vec![Part::text(""), tool_call(1, "f", "{}")]),
        result(1, "f", vec![blank()], false),
        Message::Assistant(vec![blank()]),
        user("Well?"),
    ];
    for server in all() {
        let tools = vec![tool("f", json!({"type": "object"}))].into();
        let body = server.rendered(&Request { tools, ..request(messages.clone()) });
        let names = ["text", "content", "output", "arguments"].into_iter().flat_map(|name| members(&body, name));
        for text in names.filter_map(Value::as_str) {
            assert!(!text.trim().is_empty(), "{body}");
        }
        assert_eq!(
            members(&body, "name").into_iter().filter(|name| *name == "f").count(),
            1 + calls_and_results(server),
            "{body}"
        );
    }
}

/// How often the name of one answered call stands in a body of this server's format.
fn calls_and_results(server: Server<'_>) -> usize {
    if server.target.model.starts_with("gemini") { 2 } else { 1 }
}

/// Pictures in results: in their place where there is one, else in the next message of the user.
#[test]
fn p17_pictures_in_results_arrive() {
    for server in all() {
        let body = server.written(&request(two_calls()));
        assert_eq!(body.matches("aGkh").count(), 1, "{body}");
    }
    let body = chat().rendered(&request(two_calls()));
    assert_eq!(members(&body, "image_url").len(), 1, "{body}");
    assert_eq!(body["messages"][4]["role"], "user");
}

/// Most formats have no member that says that a call failed.
#[test]
fn p18_a_failed_call_is_told_as_one() {
    let asked = request(two_calls());
    assert_eq!(chat().rendered(&asked)["messages"][2]["content"], "Error: no clock");
    let outputs = responses().rendered(&asked);
    assert!(outputs["input"].as_array().unwrap().iter().any(|item| item["output"] == "Error: no clock"), "{outputs}");
    assert_eq!(members(&claude().rendered(&asked), "is_error"), [true]);
    assert_eq!(members(&gemini().rendered(&asked), "error"), ["no clock"]);
}

/// One tool with a union at its root has the whole request refused.
#[test]
fn p19_no_schema_is_a_union_at_its_root() {
    let union = json!({"oneOf": [
        {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
        {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
    ]});
    for server in all() {
        let asked = Request { tools: vec![tool("read", union.clone())].into(), ..request([user("Hi")]) };
        let body = server.rendered(&asked);
        let names = ["parameters", "input_schema", "parametersJsonSchema"].into_iter();
        let schema = names.flat_map(|name| members(&body, name)).next().unwrap();
        assert_eq!((&schema["type"], schema.get("oneOf")), (&json!("object"), None));
        let properties: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(properties, ["path", "url"]);
    }
}

/// The older form of Gemini's schemas.
#[test]
fn p20_geminis_parameters_hold_nothing_that_it_refuses() {
    let schema = json!({
        "$schema": "x",
        "type": "object",
        "additionalProperties": false,
        "propertyNames": {"pattern": "x"},
        "properties": {
            "a": {"type": "integer", "exclusiveMinimum": 0},
            "b": {"$ref": "#/$defs/b"},
            "c": {"const": "x"},
            "d": {"type": ["string", "integer"]},
            "e": {"enum": [1, 2]},
            "f": {"enum": ["", "a"]},
        },
        "$defs": {"b": {"type": "string"}},
    });
    let reduced = schema::reduce(&schema, &GEMINI_PARAMETERS);
    for refused in ["$schema", "additionalProperties", "propertyNames", "exclusiveMinimum", "$ref", "$defs", "const"] {
        assert_eq!(members(&reduced, refused), Vec::<&Value>::new(), "{reduced}");
    }
    assert!(members(&reduced, "type").iter().all(|name| name.is_string()), "{reduced}");
    for values in members(&reduced, "enum") {
        let all = values.as_array().unwrap();
        assert!(all.iter().all(|value| value.as_str().is_some_and(|text| !text.is_empty())), "{reduced}");
    }
}

/// OpenAI's strict form requires every key. Without the wish for it nothing is strict.
#[test]
fn p21_optional_keys_of_strict_tools_take_null() {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]});
    let strict = schema::strict(&schema, &OPENAI_STRICT).unwrap();
    assert_eq!(strict["required"], json!(["a", "b"]));
    assert_eq!(
        (&strict["properties"]["a"]["type"], &strict["properties"]["b"]["type"]),
        (&json!("string"), &json!(["string", "null"]))
    );
    assert_eq!(schema::unfilled(r#"{"a":"x","b":null}"#, &schema).as_deref(), Some(r#"{"a":"x"}"#));
    let asked = Request { tools: vec![tool("f", schema.clone())].into(), ..request([user("Hi")]) };
    assert_eq!(members(&chat().rendered(&asked), "strict"), Vec::<&Value>::new());
    assert_eq!(members(&responses().rendered(&asked), "strict"), [false]);
    let held = Server { target: Target { strict: true, ..chat().target }, ..chat() };
    assert_eq!(members(&held.rendered(&asked), "strict"), [true]);
}

/// Names are made to fit every service once, and go out as they are: the same in all of a conversation.
#[test]
fn p22_names_go_out_as_they_were_offered() {
    let name = "server-1__a_rather_long_name_of_a_tool_that_just_fits_in_64_char";
    assert_eq!(name.len(), 64);
    let asked = Request {
        tools: vec![tool(name, json!({"type": "object"}))].into(),
        ..request([user("Hi"), Message::Assistant(vec![tool_call(1, name, "{}")]), result(1, name, vec![], false)])
    };
    for server in all() {
        let body = server.written(&asked);
        assert_eq!(body.matches(&format!("\"{name}\"")).count(), 1 + calls_and_results(server), "{body}");
    }
}

/// Instructions have one place, unjoined with what is said, and never move.
#[test]
fn p23_instructions_stand_in_their_own_place() {
    let asked = Request { system: Some("Be brief.".into()), ..request(two_calls()) };
    let places = ["/messages/0/content", "/instructions", "/system/0/text", "/systemInstruction/parts/0/text"];
    for (server, place) in all().into_iter().zip(places) {
        let body = server.rendered(&asked);
        assert_eq!(body.pointer(place).and_then(Value::as_str), Some("Be brief."), "{body}");
        assert_eq!(body.to_string().matches("Be brief.").count(), 1);
    }
    assert_eq!(chat().rendered(&asked)["messages"][0]["role"], "system");
}

/// Roles take turns, the user begins and has the last word, whatever was left out before.
#[test]
fn p24_roles_take_turns_and_the_user_begins_and_ends() {
    let messages = [
        Message::Assistant(vec![Part::text("Hello.")]),
        user("Look"),
        user("there"),
        Message::Assistant(vec![Part::text("Yes?")]),
        Message::Assistant(vec![Part::text("I see.")]),
    ];
    for (server, place) in [(claude(), "messages"), (gemini(), "contents")] {
        let body = server.rendered(&request(messages[..3].iter().cloned()));
        let roles: Vec<_> = body[place].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
        assert_eq!((roles.first(), roles.last()), (Some(&"user"), Some(&"user")), "{body}");
        assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "{roles:?}");
    }
    let body = claude().rendered(&request(messages));
    assert_eq!(members(&body, "role"), ["user", "assistant", "user", "assistant", "user"]);
}

/// A conversation with calls is refused where no tools are declared.
#[test]
fn p25_called_tools_are_declared_where_none_are_offered() {
    let body = claude().rendered(&request(two_calls()));
    let names: Vec<_> = body["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!((names, &body["tool_choice"]), (vec![&json!("shot"), &json!("now")], &json!({"type": "none"})));
}

/// Four marks at the most, and what one request marks the next one finds.
#[test]
fn p26_marks_for_the_cache_are_four_and_move_on() {
    let asked = |turns: u32| Request {
        system: Some("Be brief.".into()),
        tools: vec![tool("f", json!({"type": "object"}))].into(),
        ..request([user("Hi")].into_iter().chain((1..=turns).flat_map(|n| {
            [Message::Assistant(vec![tool_call(n, "f", "{}")]), result(n, "f", vec![Part::text(n.to_string())], false)]
        })))
    };
    let last_mark =
        |body: &Value| body["messages"].as_array().unwrap().last().unwrap()["content"][0]["cache_control"].clone();
    for turns in 1..5 {
        let (before, body) = (claude().rendered(&asked(turns - 1)), claude().rendered(&asked(turns)));
        assert_eq!(members(&body, "cache_control").len(), 4, "{body}");
        let end = before["messages"].as_array().unwrap().len() - 1;
        assert_eq!(last_mark(&before), json!({"type": "ephemeral"}));
        assert_eq!(body["messages"][end]["content"][0]["cache_control"], json!({"type": "ephemeral"}), "{body}");
    }
    assert!(!chat().written(&asked(2)).contains("cache_control"), "the format does not know them");
}

/// vLLM says `tool_calls` of a call that was cut by the limit: only the arguments themselves tell.
#[test]
fn p27_a_call_is_whole_when_its_arguments_are_whatever_the_finish_says() {
    let with = |arguments: &str, finish: &str| {
        let call = json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}});
        let delta = json!({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": finish}]});
        read(chat(), &[delta]).calls().next().unwrap().complete
    };
    for (arguments, finish, complete) in [
        (r#"{"x": "a"#, "tool_calls", false),
        (r#"{"x": "a""#, "stop", false),
        (r#"{"x": "a"}"#, "tool_calls", true),
        // A forced call ends with `stop`.
        (r#"{"x": "a"}"#, "stop", true),
        (r#"{"x": "a"}"#, "length", false),
    ] {
        assert_eq!(with(arguments, finish), complete, "{arguments} {finish}");
    }
}

/// Ollama cuts a prompt that is too long and says nothing.
#[test]
fn p28_a_prompt_that_was_cut_silently_is_noticed() {
    let long = request([user(&"word ".repeat(8_000))]);
    let read =
        |input| estimate::cut_short(&long, Some(Usage { input, ..Usage::default() })).map(|failure| failure.class);
    assert_eq!((read(4_096), read(9_000)), (Some(Class::ContextTooLong), None));
}

/// OpenRouter reports a conversation that is too long as an answer that was cut.
#[test]
fn p29_an_answer_that_was_cut_before_it_began_is_none() {
    let cut = |output: Value| {
        let response = json!({"id": "r", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": output});
        let body = format!("data: {}\n\n", json!({"type": "response.incomplete", "response": response}));
        responses().read(body, 100, &mut |_| {})
    };
    assert_eq!(cut(json!([])).unwrap_err().class, Class::ContextTooLong);
    let begun = json!([{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]);
    assert_eq!(cut(begun).unwrap().finish, Finish::Length);
}

/// OpenAI counts cached tokens among those read, Anthropic beside them. Here `input` is all, cached ones included.
#[test]
fn p30_cached_tokens_are_counted_once() {
    let expected = Usage { input: 100, cached: 40, cache_write: 10, output: 5, reasoning: 0 };
    let chat_usage = json!({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10}});
    let chat_answer =
        json!({"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "usage": chat_usage});
    assert_eq!(read(chat(), &[chat_answer]).usage, Some(expected));
    let own = json!({"input_tokens": 100, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10}});
    let done = json!({"type": "response.completed", "response": {"status": "completed", "usage": own, "output": [{"type": "message", "content": "x"}]}});
    assert_eq!(read(responses(), &[done]).usage, Some(expected));
    let own = json!({"input_tokens": 50, "output_tokens": 5, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 10});
    let whole =
        json!({"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn", "usage": own});
    assert_eq!(read(claude(), &[whole]).usage, Some(expected));
    let own = json!({"promptTokenCount": 100, "candidatesTokenCount": 5, "cachedContentTokenCount": 40, "totalTokenCount": 105});
    let chunk =
        json!({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": own});
    assert_eq!(read(gemini(), &[chunk]).usage, Some(Usage { cache_write: 0, ..expected }));
}
