//! A double of Anthropic's messages service: checks requests as the service does, signs its thoughts, and streams its
//! answers in the service's own bytes (platform.claude.com/docs: messages, streaming, tool use, thinking, preserved
//! thinking, structured outputs; the refusals worded as in reports of them; 2026-11).
//!
//! [`serve`] puts it behind the HTTP server of [`crate::model`]; [`check`] and [`Answer::stream`] also stand alone.
//! A signature is a hash over a secret, the model, the thought, and the conversation before it, so that a thought of
//! another issuer or model, an altered one, and one whose past was altered are all refused.
#![allow(dead_code, reason = "a tool box: not every test needs every tool")]

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::model::{Model, Refusal, Reply, Request};

/// Serves; with n answers in the conversation the one at place n is given.
pub fn serve(answers: impl IntoIterator<Item = Answer>) -> Model {
    let answers: Vec<_> = answers.into_iter().collect();
    Model::judged(judge, Box::new(move |request| answers.get(request.answers()).map(|answer| answer.reply(request))))
}

/// Serves whatever this makes of a request.
pub fn answering(choose: impl FnMut(&Request) -> Option<Reply> + Send + 'static) -> Model {
    Model::judged(judge, Box::new(choose))
}

/// Serves these replies, one after the other, whatever is asked.
pub fn replying(replies: impl IntoIterator<Item = Reply>) -> Model {
    let mut replies = replies.into_iter().collect::<Vec<_>>().into_iter();
    Model::judged(judge, Box::new(move |_| replies.next()))
}

fn judge(request: &Request) -> Result<(), Box<Refusal>> {
    let refuse = |status, kind: &str, message: &str, violations| {
        Box::new(Refusal { reply: error(status, kind, message), violations })
    };
    if request.method != "POST" || request.path != "/v1/messages" {
        return Err(refuse(404, "not_found_error", "Not found", Vec::new()));
    }
    check(&request.body, &request.headers)
        .map_err(|message| refuse(400, "invalid_request_error", &message, vec![message.clone()]))
}

/// An error as the service words it.
pub fn error(status: u16, kind: &str, message: &str) -> Reply {
    let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"});
    Reply::json(status, &body).header("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy")
}

/// An answer to give.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    blocks: Vec<Block>,
    stop_reason: Option<&'static str>,
    fails_after: Option<usize>,
}

#[derive(Debug, Clone)]
enum Block {
    Thinking(String),
    Redacted(String),
    Text(String),
    Call { name: String, input: String },
}

impl Answer {
    /// One without anything in it.
    pub fn new() -> Self {
        Answer::default()
    }

    fn and(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    pub fn thinking(self, text: &str) -> Self {
        self.and(Block::Thinking(text.to_owned()))
    }

    /// A thought that nobody else can read.
    pub fn redacted(self, text: &str) -> Self {
        self.and(Block::Redacted(text.to_owned()))
    }

    pub fn text(self, text: &str) -> Self {
        self.and(Block::Text(text.to_owned()))
    }

    pub fn call(self, name: &str, input: &Value) -> Self {
        self.and(Block::Call { name: name.to_owned(), input: input.to_string() })
    }

    /// A call whose input stands exactly so.
    pub fn raw_call(self, name: &str, input: &str) -> Self {
        self.and(Block::Call { name: name.to_owned(), input: input.to_owned() })
    }

    /// Another reason for stopping than what fits.
    pub fn stopping(self, stop_reason: &'static str) -> Self {
        Answer { stop_reason: Some(stop_reason), ..self }
    }

    /// After so many events comes an error instead of the rest.
    pub fn failing_after(self, events: usize) -> Self {
        Answer { fails_after: Some(events), ..self }
    }

    fn stop_reason(&self) -> &'static str {
        let calls = self.blocks.iter().any(|block| matches!(block, Block::Call { .. }));
        self.stop_reason.unwrap_or(if calls { "tool_use" } else { "end_turn" })
    }

    /// What the service replies to this request: a stream if it asks for one.
    pub fn reply(&self, request: &Request) -> Reply {
        if request.body["stream"] == true {
            let bytes = self.stream(&request.body, request.n);
            Reply::stream(bytes).split(400).header("cache-control", "no-cache")
        } else {
            Reply::json(200, &self.message(&request.body, request.n))
        }
    }

    /// The exact bytes of the stream that answers the n-th request.
    pub fn stream(&self, request: &Value, n: usize) -> Vec<u8> {
        let whole = self.message(request, n);
        let mut message = whole.clone();
        message["content"] = json!([]);
        message["stop_reason"] = Value::Null;
        message["usage"]["output_tokens"] = json!(1);
        let mut events = vec![json!({"type": "message_start", "message": message})];
        let blocks = whole["content"].as_array().unwrap();
        for (index, (block, written)) in blocks.iter().zip(&self.blocks).enumerate() {
            let mut start = block.clone();
            let mut deltas = Vec::new();
            match written {
                Block::Text(text) => {
                    start["text"] = json!("");
                    deltas.extend(text.split_inclusive(' ').map(|word| json!({"type": "text_delta", "text": word})));
                }
                Block::Thinking(text) => {
                    start["thinking"] = json!("");
                    start["signature"] = json!("");
                    deltas.extend(
                        text.split_inclusive(' ').map(|word| json!({"type": "thinking_delta", "thinking": word})),
                    );
                    deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
                }
                Block::Redacted(_) => {}
                Block::Call { input, .. } => {
                    start["input"] = json!({});
                    let letters: Vec<_> = input.chars().collect();
                    let pieces = letters.chunks(12).map(|piece| piece.iter().collect::<String>());
                    // The first piece is empty, and the only one if there is no input.
                    let pieces = [String::new()].into_iter().chain(pieces.filter(|_| input != "{}"));
                    deltas.extend(pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})));
                }
            }
            events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
            if index == 0 {
                events.push(json!({"type": "ping"}));
            }
            let deltas =
                deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta}));
            events.extend(deltas);
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        events.push(json!({
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": null, "stop_details": null},
            "usage": whole["usage"],
        }));
        events.push(json!({"type": "message_stop"}));
        if let Some(after) = self.fails_after {
            events.truncate(after);
            events.push(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
        }
        let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
        events.iter().map(frame).collect::<String>().into_bytes()
    }

    /// The whole message that answers the n-th request.
    pub fn message(&self, request: &Value, n: usize) -> Value {
        let model = request["model"].as_str().unwrap_or_default();
        let past = past(request, request["messages"].as_array().map_or(0, Vec::len));
        let block = |(at, block): (usize, &Block)| match block {
            Block::Text(text) => json!({"type": "text", "text": text}),
            Block::Thinking(text) => {
                json!({"type": "thinking", "thinking": text, "signature": signature(model, text, &past)})
            }
            Block::Redacted(text) => json!({"type": "redacted_thinking", "data": signature(model, text, &past) + text}),
            Block::Call { name, input } => {
                let input = serde_json::from_str(input).unwrap_or_else(|_| json!({}));
                json!({"type": "tool_use", "id": format!("toolu_{n}x{at}"), "name": name, "input": input})
            }
        };
        let content: Vec<_> = self.blocks.iter().enumerate().map(block).collect();
        json!({
            "id": format!("msg_{n}"), "type": "message", "role": "assistant", "model": model, "content": content,
            "stop_reason": self.stop_reason(), "stop_sequence": null,
            "usage": {
                "input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 5, "service_tier": "standard",
            },
        })
    }
}

const SIGNATURE_LENGTH: usize = 64;

/// Half of it is over the thought, half over that and what stood before.
fn signature(model: &str, thought: &str, past: &str) -> String {
    let own = hash(&["own", model, thought]);
    let bound = hash(&["bound", &own, past]);
    own + &bound
}

fn hash(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in ["the service's secret"].iter().chain(texts) {
        hasher.update(&text.len().to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..SIGNATURE_LENGTH / 2].to_owned()
}

/// What stands before the message at this place: marks for the cache and thoughts do not count.
fn past(request: &Value, until: usize) -> String {
    fn bare(value: &Value) -> Value {
        match value {
            Value::Array(values) => {
                let is_thought = |value: &&Value| !is_thought(value);
                values.iter().filter(is_thought).map(bare).collect()
            }
            Value::Object(members) => {
                let kept = members.iter().filter(|(key, _)| *key != "cache_control");
                kept.map(|(key, value)| (key.clone(), bare(value))).collect::<Map<_, _>>().into()
            }
            value => value.clone(),
        }
    }
    let messages: Vec<_> = list(&request["messages"]).iter().take(until).map(bare).collect();
    json!([bare(&request["system"]), bare(&request["tools"]), messages]).to_string()
}

fn is_thought(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

macro_rules! ensure {
    ($kept:expr, $($message:tt)+) => {
        if !$kept {
            return Err(format!($($message)+));
        }
    };
}

/// What the service would say of this request; headers with names in lower case.
pub fn check(body: &Value, headers: &[(String, String)]) -> Result<(), String> {
    let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    let version = header("anthropic-version");
    ensure!(version.is_some(), "anthropic-version: header is required");
    ensure!(["2023-06-01", "2026-10-21"].contains(&version.unwrap_or_default()), "anthropic-version: unknown version");
    ensure!(header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "content-type: not JSON");
    let known = [
        "model",
        "max_tokens",
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "temperature",
        "stream",
        "stop_sequences",
        "metadata",
    ];
    let Value::Object(members) = body else { return Err("the body is no JSON object".to_owned()) };
    for member in members.keys() {
        ensure!(known.contains(&member.as_str()), "{member}: Extra inputs are not permitted");
    }
    let model = body["model"].as_str().unwrap_or_default();
    ensure!(!model.is_empty(), "model: Field required");
    let max_tokens = body["max_tokens"].as_u64().unwrap_or(0);
    ensure!(max_tokens > 0, "max_tokens: Field required");
    ensure!(!model.contains("opus-4-1") || max_tokens <= 32_000, "max_tokens: {max_tokens} > 32000");
    let marks = body.to_string().matches("\"cache_control\":").count();
    ensure!(marks <= 4, "A maximum of 4 blocks with cache_control may be provided. Found {marks}.");
    match &body["system"] {
        Value::Null => {}
        Value::String(text) => ensure!(!text.is_empty(), "system: text content blocks must be non-empty"),
        system => {
            ensure!(!list(system).is_empty(), "system: must not be empty");
            list(system).iter().try_for_each(|block| text_block(block, "system"))?;
        }
    }
    let offered = tools(&body["tools"])?;
    thinking(body, model, max_tokens, header("anthropic-beta").unwrap_or_default())?;
    choice(body, model, &offered)?;
    output(&body["output_config"])?;
    messages(body, model, offered.is_empty())
}

/// Models of 5.5 and later, and the families that came with them.
fn is_newest(model: &str) -> bool {
    ["opus-5-5", "sonnet-5-5", "fable", "mythos"].iter().any(|name| model.contains(name))
}

fn is_bound(model: &str) -> bool {
    ["-5-5", "fable-5-", "mythos-5-"].iter().any(|name| model.contains(name))
}

/// The models before 4.6.
fn has_budgets(model: &str) -> bool {
    ["-3-7", "-4-5", "-4-1", "-4-0", "-4-2"].iter().any(|name| model.contains(name))
}

fn thinking(body: &Value, model: &str, max_tokens: u64, beta: &str) -> Result<(), String> {
    let thinking = &body["thinking"];
    let kind = thinking["type"].as_str().unwrap_or_default();
    let not_supported = format!("\"thinking.type.{kind}\" is not supported for this model.");
    match kind {
        "" => ensure!(thinking.is_null(), "thinking.type: Field required"),
        "enabled" => {
            ensure!(has_budgets(model) || model.contains("-4-6"), "{not_supported} Use \"thinking.type.adaptive\"");
            let budget = thinking["budget_tokens"].as_u64().unwrap_or(0);
            ensure!(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024");
            ensure!(max_tokens > budget, "`max_tokens` must be greater than `thinking.budget_tokens`.");
        }
        "adaptive" => {
            ensure!(!has_budgets(model), "adaptive thinking is not supported on this model");
            ensure!(
                thinking.get("budget_tokens").is_none(),
                "thinking.adaptive.budget_tokens: Extra inputs are not permitted"
            );
        }
        "disabled" => ensure!(!is_newest(model), "{not_supported}"),
        kind => return Err(format!("thinking.type: unknown {kind}")),
    }
    if thinking.get("block_binding").is_some() {
        ensure!(
            beta.contains("thinking-binding-controls-2026-08-01"),
            "thinking.block_binding: Extra inputs are not permitted"
        );
    }
    let temperature = body["temperature"].as_f64();
    ensure!(body.get("temperature").is_none() || temperature.is_some(), "temperature: Input should be a valid number");
    if let Some(temperature) = temperature {
        ensure!((0.0..=1.0).contains(&temperature), "temperature: range: 0..1");
        let thinks = matches!(kind, "enabled" | "adaptive");
        ensure!(!thinks || temperature == 1.0, "`temperature` may only be set to 1 when thinking is enabled.");
        ensure!(
            has_budgets(model) || ["-3-", "-4-6"].iter().any(|name| model.contains(name)),
            "`temperature` is deprecated for this model."
        );
    }
    Ok(())
}

fn choice(body: &Value, model: &str, offered: &HashSet<&str>) -> Result<(), String> {
    let choice = &body["tool_choice"];
    match choice["type"].as_str().unwrap_or_default() {
        "" => ensure!(choice.is_null(), "tool_choice.type: Field required"),
        "auto" | "none" => ensure!(!offered.is_empty(), "tool_choice: may only be specified while providing tools"),
        kind @ ("any" | "tool") => {
            ensure!(!is_newest(model), "tool_choice: type \"tool\" and \"any\" are not supported for this model.");
            let name = choice["name"].as_str().unwrap_or_default();
            ensure!(
                kind == "any" || offered.contains(name),
                "tool_choice.name: Tool '{name}' not found in provided tools"
            );
            let thinks = match body["thinking"]["type"].as_str() {
                None => ["opus-5", "sonnet-5", "haiku-5"].iter().any(|name| model.contains(name)),
                Some(kind) => kind != "disabled",
            };
            ensure!(!thinks, "Thinking may not be enabled when tool_choice forces tool use.");
        }
        kind => return Err(format!("tool_choice.type: unknown {kind}")),
    }
    Ok(())
}

fn is_word(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn tools(tools: &Value) -> Result<HashSet<&str>, String> {
    let mut names = HashSet::new();
    ensure!(tools.is_null() || tools.is_array(), "tools: Input should be a valid list");
    for (n, tool) in list(tools).iter().enumerate() {
        for member in tool.as_object().into_iter().flat_map(Map::keys) {
            let is_known =
                ["name", "description", "input_schema", "cache_control", "type", "strict"].contains(&member.as_str());
            ensure!(is_known, "tools.{n}.custom.{member}: Extra inputs are not permitted");
        }
        let name = tool["name"].as_str().unwrap_or_default();
        ensure!(is_word(name, 128), "tools.{n}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'");
        ensure!(names.insert(name), "tools: Tool names must be unique.");
        ensure!(tool.get("description").is_none_or(Value::is_string), "tools.{n}.custom.description: not a string");
        let schema = &tool["input_schema"];
        ensure!(schema["type"] == "object", "tools.{n}.custom.input_schema.type: Field required");
        let union = ["oneOf", "allOf", "anyOf"].iter().any(|union| schema.get(union).is_some());
        ensure!(
            !union,
            "tools.{n}.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"
        );
        ensure!(
            jsonschema::draft202012::meta::is_valid(schema),
            "tools.{n}.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12"
        );
        if tool["strict"] == true {
            strict(schema)?;
        }
        cache_control(tool)?;
    }
    let held = list(tools).iter().filter(|tool| tool["strict"] == true).count();
    ensure!(held <= 20, "tools: Too many strict tools ({held}). The maximum number of strict tools supported is 20.");
    Ok(names)
}

fn cache_control(block: &Value) -> Result<(), String> {
    let mark = &block["cache_control"];
    ensure!(mark.is_null() || mark["type"] == "ephemeral", "cache_control.type: must be ephemeral");
    Ok(())
}

fn output(config: &Value) -> Result<(), String> {
    let effort = &config["effort"];
    let known = ["low", "medium", "high", "xhigh", "max"];
    ensure!(effort.as_str().is_none_or(|effort| known.contains(&effort)), "output_config.effort: unknown");
    let format = &config["format"];
    if !format.is_null() {
        ensure!(format["type"] == "json_schema", "output_config.format.type: must be json_schema");
        strict(&format["schema"])?;
    }
    Ok(())
}

fn strict(schema: &Value) -> Result<(), String> {
    ensure!(schema.is_object(), "output_config.format.schema: not a schema");
    if schema["type"] == "object" {
        let closed = schema["additionalProperties"] == false;
        ensure!(
            closed,
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        );
    }
    for keyword in ["minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", "oneOf", "not", "if"] {
        ensure!(schema.get(keyword).is_none(), "output_config.format.schema: property '{keyword}' is not supported");
    }
    schema["properties"].as_object().into_iter().flat_map(Map::values).try_for_each(strict)
}

fn text_block(block: &Value, at: &str) -> Result<(), String> {
    ensure!(block["type"] == "text", "{at}: must be text");
    let text = block["text"].as_str().unwrap_or_default();
    ensure!(!text.is_empty(), "{at}: text content blocks must be non-empty");
    ensure!(!text.trim().is_empty(), "{at}: text content blocks must contain non-whitespace text");
    cache_control(block)
}

fn messages(body: &Value, model: &str, no_tools: bool) -> Result<(), String> {
    let messages = list(&body["messages"]);
    ensure!(!messages.is_empty(), "messages: at least one message is required");
    ensure!(messages[0]["role"] == "user", "messages: first message must use the \"user\" role");
    ensure!(
        messages.last().is_some_and(|last| last["role"] == "user"),
        "This model does not support assistant message prefill. The conversation must end with a user message."
    );
    let mut ids = HashSet::new();
    let mut open: Vec<&str> = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        ensure!(["user", "assistant"].contains(&role), "messages.{n}.role: unknown {role:?}");
        ensure!(
            n == 0 || messages[n - 1]["role"] != role,
            "messages: roles must alternate, but found multiple {role:?} roles in a row"
        );
        let text = message["content"].as_str();
        ensure!(
            text.is_none_or(|text| !text.trim().is_empty()),
            "messages.{n}: all messages must have non-empty content"
        );
        let blocks = list(&message["content"]);
        ensure!(text.is_some() || !blocks.is_empty(), "messages.{n}: all messages must have non-empty content");
        if role == "user" {
            for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block["type"] == "tool_result") {
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                let first = blocks[..at].iter().all(|block| block["type"] == "tool_result");
                ensure!(first, "messages.{n}: tool_result blocks must come first in content");
                let found = open.iter().position(|open| *open == id);
                let Some(found) = found else {
                    return Err(format!(
                        "messages.{n}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each \
                         `tool_result` block must have a corresponding `tool_use` block in the previous message."
                    ));
                };
                open.remove(found);
                tool_result(block, &format!("messages.{n}.content.{at}"))?;
            }
            ensure!(
                open.is_empty(),
                "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}",
                n.saturating_sub(1),
                open.join(", ")
            );
        }
        for (at, block) in blocks.iter().enumerate() {
            let place = format!("messages.{n}.content.{at}");
            match (block["type"].as_str().unwrap_or_default(), role) {
                ("text", _) => text_block(block, &place)?,
                ("image" | "document", "user") => media(block, &place)?,
                ("tool_result", "user") => {}
                ("tool_use", "assistant") => {
                    let id = block["id"].as_str().unwrap_or_default();
                    ensure!(
                        is_word(id, usize::MAX),
                        "{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
                    );
                    ensure!(ids.insert(id), "{place}: `tool_use` ids must be unique");
                    ensure!(
                        is_word(block["name"].as_str().unwrap_or_default(), 200),
                        "{place}.tool_use.name: bad pattern"
                    );
                    ensure!(block["input"].is_object(), "{place}.tool_use.input: Input should be a valid dictionary");
                    ensure!(!no_tools, "Requests which include `tool_use` or `tool_result` blocks must define tools");
                    open.push(id);
                }
                ("thinking" | "redacted_thinking", "assistant") => {
                    ensure!(
                        at + 1 < blocks.len(),
                        "messages.{n}: The final block in an assistant message cannot be `thinking`."
                    );
                    thought(body, block, model, n, &place)?;
                }
                (kind, role) => return Err(format!("{place}: Input tag {kind:?} is not expected from the {role}")),
            }
        }
    }
    if body["thinking"]["type"] == "enabled" {
        open_turn(messages)?;
    }
    Ok(())
}

/// With a budget, the turn that waits for what comes of its results began with a thought.
fn open_turn(messages: &[Value]) -> Result<(), String> {
    let is_waiting = |message: &Value| message["role"] == "assistant" || message["content"][0]["type"] == "tool_result";
    let start = messages.iter().rposition(|message| !is_waiting(message)).map_or(0, |last| last + 1);
    if let Some(first) = messages.get(start) {
        let found = &first["content"][0]["type"];
        ensure!(
            is_thought(&first["content"][0]),
            "messages.{start}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is \
             enabled, a final `assistant` message must start with a thinking block.",
            found.as_str().unwrap_or_default()
        );
    }
    Ok(())
}

fn thought(body: &Value, block: &Value, model: &str, n: usize, place: &str) -> Result<(), String> {
    let kind = block["type"].as_str().unwrap_or_default();
    let (found, text) = if kind == "thinking" {
        (block["signature"].as_str().unwrap_or_default(), block["thinking"].as_str().unwrap_or_default())
    } else {
        block["data"].as_str().unwrap_or_default().split_at_checked(SIGNATURE_LENGTH).unwrap_or_default()
    };
    let expected = signature(model, text, &past(body, n));
    let half = SIGNATURE_LENGTH / 2;
    ensure!(
        found.len() == SIGNATURE_LENGTH && found[..half] == expected[..half],
        "{place}: Invalid `signature` in `{kind}` block"
    );
    let drops = body["thinking"]["block_binding"]["prefix_mismatch_behavior"] == "drop_block";
    ensure!(
        !is_bound(model) || drops || found == expected,
        "{place}: Invalid `signature` in `{kind}` block. The block is bound to a different conversation."
    );
    Ok(())
}

fn media(block: &Value, place: &str) -> Result<(), String> {
    let source = &block["source"];
    let kinds: &[&str] = match block["type"].as_str() {
        Some("image") => &["image/jpeg", "image/png", "image/gif", "image/webp"],
        _ => &["application/pdf"],
    };
    match source["type"].as_str().unwrap_or_default() {
        "base64" => {
            let kind = source["media_type"].as_str().unwrap_or_default();
            ensure!(kinds.contains(&kind), "{place}.source.media_type: {kind:?} is none of {kinds:?}");
            let data = source["data"].as_str().unwrap_or_default();
            let letters = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
            ensure!(
                !data.is_empty() && data.len().is_multiple_of(4) && letters,
                "{place}.source.base64.data: invalid base64"
            );
        }
        "url" => {
            ensure!(source["url"].as_str().is_some_and(|url| url.starts_with("http")), "{place}.source.url: no URL")
        }
        kind => return Err(format!("{place}.source.type: unknown {kind:?}")),
    }
    cache_control(block)
}

fn tool_result(block: &Value, place: &str) -> Result<(), String> {
    ensure!(block.get("is_error").is_none_or(Value::is_boolean), "{place}.is_error: not a boolean");
    let content = &block["content"];
    ensure!(content.is_null() || content.is_string() || content.is_array(), "{place}.content: not content");
    for part in list(content) {
        match part["type"].as_str().unwrap_or_default() {
            "text" => text_block(part, place)?,
            _ if block["is_error"] == true => {
                return Err(format!("{place}: all content must be type \"text\" if \"is_error\" is true"));
            }
            "image" | "document" => media(part, place)?,
            kind => return Err(format!("{place}: Input tag {kind:?} is not expected in a result")),
        }
    }
    cache_control(block)
}
