//! A double of OpenAI's Responses: refuses what the service refuses, and answers in its exact words.
//!
//! [`check`] judges a request; [`Answer`] makes the bytes of an answer. What the double "encrypts" holds a checksum over
//! issuer (the key) and item, so that it knows its own again without a memory, as the service does with `store: false`. Shapes and
//! error texts: platform.openai.com/docs/api-reference/responses and the threads named at each rule (2026-11).

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value, json};

use crate::model::{Model, Refusal, Reply, Request};

/// A server; `choose` makes the answers to good requests.
pub fn serve(mut choose: impl FnMut(&Request) -> Answer + Send + 'static) -> Model {
    serve_raw(move |request| {
        let (answer, issuer) = (choose(request), issuer(request));
        match request.body["stream"] == true {
            true => Reply::stream(answer.events(issuer, &request.body).concat()),
            false => Reply::json(200, &answer.document(issuer, &request.body)),
        }
    })
}

/// The same with replies of any kind.
pub fn serve_raw(mut choose: impl FnMut(&Request) -> Reply + Send + 'static) -> Model {
    Model::judged(judge, Box::new(move |request| Some(choose(request))))
}

/// Whose encryption it is: an organization's, and so that of its key.
pub fn issuer(request: &Request) -> &str {
    request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

fn judge(request: &Request) -> Result<(), Box<Refusal>> {
    let refusal = |reply, violations| Err(Box::new(Refusal { reply, violations }));
    if request.method != "POST" || request.path != "/v1/responses" {
        let message = format!("Unknown request URL: {} {}", request.method, request.path);
        return refusal(Reply::error(404, &message, "unknown_url"), Vec::new());
    }
    if issuer(request).is_empty() {
        return refusal(Reply::error(401, "You didn't provide an API key.", "invalid_api_key"), Vec::new());
    }
    match check(&request.body, issuer(request)) {
        Ok(()) => Ok(()),
        Err(violation) => refusal(Reply::error(400, &violation, "invalid_request_error"), vec![violation]),
    }
}

/// What the service of this issuer would refuse in a request.
pub fn check(body: &Value, issuer: &str) -> Result<(), String> {
    let body = object(body, "the body")?;
    members(
        body,
        "the body",
        &[
            "background",
            "conversation",
            "include",
            "input",
            "instructions",
            "max_output_tokens",
            "max_tool_calls",
            "metadata",
            "model",
            "parallel_tool_calls",
            "previous_response_id",
            "prompt",
            "prompt_cache_key",
            "reasoning",
            "safety_identifier",
            "service_tier",
            "store",
            "stream",
            "stream_options",
            "temperature",
            "text",
            "tool_choice",
            "tools",
            "top_logprobs",
            "top_p",
            "truncation",
        ],
    )?;
    rule(is_text(body.get("model")), "Missing required parameter: 'model'.")?;
    rule(body.get("instructions").is_none_or(|text| is_text(Some(text))), "instructions must be a text")?;
    rule(body.get("stream").is_none_or(Value::is_boolean), "stream must be true or false")?;
    rule(body.get("store").is_none_or(Value::is_boolean), "store must be true or false")?;
    rule(
        body.get("max_output_tokens").is_none_or(|tokens| tokens.as_u64() >= Some(16)),
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.",
    )?;
    let temperature = body.get("temperature").map(|value| value.as_f64().unwrap_or(-1.0));
    rule(temperature.is_none_or(|value| (0.0..=2.0).contains(&value)), "Invalid 'temperature'")?;
    rule(
        body.get("prompt_cache_key").is_none_or(|key| key.as_str().is_some_and(|key| key.len() <= 64)),
        "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64.",
    )?;
    for wish in list(body.get("include"), "include")? {
        rule(wish == "reasoning.encrypted_content", &format!("Invalid value for 'include': {wish}"))?;
    }
    if let Some(reasoning) = body.get("reasoning") {
        let reasoning = object(reasoning, "reasoning")?;
        members(reasoning, "reasoning", &["effort", "summary"])?;
        let one_of = |key: &str, values: &[&str]| {
            let found = reasoning.get(key).map(|value| value.as_str().unwrap_or_default());
            rule(found.is_none_or(|found| values.contains(&found)), &format!("Invalid value: 'reasoning.{key}'"))
        };
        one_of("effort", &["none", "minimal", "low", "medium", "high", "xhigh"])?;
        one_of("summary", &["auto", "concise", "detailed"])?;
    }
    let offered = tools(body)?;
    match body.get("tool_choice") {
        None => {}
        Some(Value::String(mode)) => {
            rule(["auto", "none", "required"].contains(&mode.as_str()), "Invalid 'tool_choice'")?
        }
        Some(choice) => {
            members(object(choice, "tool_choice")?, "tool_choice", &["type", "name"])?;
            rule(
                choice["type"] == "function" && choice["name"].as_str().is_some_and(|name| offered.contains(name)),
                &format!("Tool choice {choice} not found in 'tools' parameter."),
            )?;
        }
    }
    if let Some(text) = body.get("text") {
        members(object(text, "text")?, "text", &["format", "verbosity"])?;
        let format = object(&text["format"], "text.format")?;
        if format.get("type") == Some(&json!("json_schema")) {
            members(format, "text.format", &["type", "name", "schema", "strict", "description"])?;
            rule(is_name(format.get("name")), "Invalid 'text.format.name'")?;
            schema(&format["schema"], format.get("strict") == Some(&json!(true)), "text.format")?;
        } else {
            rule(text["format"]["type"] == "text", "Invalid 'text.format.type'")?;
        }
    }
    let is_stored = body.get("store") != Some(&json!(false));
    rule(
        is_stored || body.get("previous_response_id").is_none(),
        "Previous response cannot be used: nothing is stored.",
    )?;
    match body.get("input") {
        Some(Value::String(text)) => rule(!text.is_empty(), "input must not be empty"),
        Some(Value::Array(items)) => input(items, issuer),
        _ => Err("Missing required parameter: 'input'.".to_owned()),
    }
}

fn tools(body: &Map<String, Value>) -> Result<HashSet<&str>, String> {
    let mut offered = HashSet::new();
    for tool in list(body.get("tools"), "tools")? {
        let members_of = object(tool, "a tool")?;
        members(members_of, "a tool", &["type", "name", "description", "parameters", "strict"])?;
        rule(tool["type"] == "function", "a tool's type must be function")?;
        rule(
            is_name(tool.get("name")),
            &format!("Invalid 'tools.name': {} does not match '^[a-zA-Z0-9_-]+$'.", tool["name"]),
        )?;
        rule(offered.insert(tool["name"].as_str().unwrap_or_default()), "tool names must be unique")?;
        rule(tool.get("description").is_none_or(Value::is_string), "a tool's description must be a text")?;
        // Left out, it is true.
        let is_strict = tool.get("strict") != Some(&json!(false));
        schema(&tool["parameters"], is_strict, tool["name"].as_str().unwrap_or_default())?;
    }
    Ok(offered)
}

/// An object at the root that is no union; if strict, closed and every property required, all the way down.
fn schema(schema: &Value, is_strict: bool, name: &str) -> Result<(), String> {
    let bad = |why: &str| format!("Invalid schema for '{name}': {why}");
    let root = schema.as_object().ok_or_else(|| bad("schema must be a JSON Schema of 'type: \"object\"'"))?;
    rule(root.get("type") == Some(&json!("object")), &bad("schema must be a JSON Schema of 'type: \"object\"'"))?;
    let unions = ["oneOf", "anyOf", "allOf", "enum", "not"];
    rule(
        !unions.iter().any(|key| root.contains_key(*key)),
        &bad("schema must not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level"),
    )?;
    rule(
        is_strict || name == "text.format" || root.get("properties").is_some_and(Value::is_object),
        &bad("object schema missing properties"),
    )?;
    if is_strict { strict(schema).map_err(|why| bad(&why)) } else { Ok(()) }
}

/// What the strict form of a schema has to be at every place: closed, every property required, without keywords that it does not
/// know (platform.openai.com/docs/guides/structured-outputs, supported schemas, 2026-11).
pub fn strict(schema: &Value) -> Result<(), String> {
    let members = schema.as_object().ok_or("a place is no schema")?;
    for refused in [
        "allOf",
        "contains",
        "default",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "if",
        "maxLength",
        "minLength",
        "not",
        "oneOf",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "uniqueItems",
    ] {
        rule(!members.contains_key(refused), &format!("'{refused}' is not permitted."))?;
    }
    let says = ["type", "enum", "const", "anyOf", "$ref"].iter().any(|key| members.contains_key(*key));
    rule(says, "schema must have a 'type' key.")?;
    let properties = members.get("properties").and_then(Value::as_object);
    if properties.is_some() || members.get("type") == Some(&json!("object")) {
        rule(
            members.get("additionalProperties") == Some(&json!(false)),
            "'additionalProperties' is required to be supplied and to be false",
        )?;
        let required: HashSet<_> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let all = properties.into_iter().flatten().all(|(name, _)| required.contains(name.as_str()));
        rule(all, "'required' is required to be an array including every key in properties")?;
    }
    let named = ["properties", "$defs", "definitions"].into_iter().filter_map(|key| members.get(key)?.as_object());
    named.flat_map(|schemas| schemas.values()).try_for_each(strict)?;
    members.get("items").into_iter().try_for_each(strict)?;
    members.get("anyOf").and_then(Value::as_array).into_iter().flatten().try_for_each(strict)
}

fn input(items: &[Value], issuer: &str) -> Result<(), String> {
    rule(!items.is_empty(), "input must not be empty")?;
    let mut open: Vec<&str> = Vec::new();
    let mut called = HashSet::new();
    let mut thoughts = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        let all = object(item, &format!("input[{at}]"))?;
        let place = format!("input[{at}]");
        let id = all.get("id").map(|id| id.as_str().unwrap_or_default());
        let begins = |prefix: &str| {
            rule(
                id.is_none_or(|id| id.starts_with(prefix)),
                &format!("Invalid '{place}.id': expected an ID that begins with '{prefix}'."),
            )
        };
        match all.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                members(all, &place, &["type", "role", "content", "id", "status", "phase"])?;
                begins("msg")?;
                message(item, &place)?;
                if item["role"] != "assistant" {
                    rule(open.is_empty(), &format!("No tool output found for function call {}.", open.join(", ")))?;
                }
            }
            "function_call" => {
                members(all, &place, &["type", "call_id", "name", "arguments", "id", "status"])?;
                begins("fc")?;
                let call_id = item["call_id"].as_str().unwrap_or_default();
                rule(
                    (1..=64).contains(&call_id.len()),
                    &format!("Invalid '{place}.call_id': a text of 1 to 64 characters"),
                )?;
                rule(called.insert(call_id), &format!("Duplicate call_id {call_id}."))?;
                rule(is_name(all.get("name")), &format!("Invalid '{place}.name': does not match '^[a-zA-Z0-9_-]+$'."))?;
                let arguments = item["arguments"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
                rule(
                    arguments.is_some_and(|value| value.is_object()),
                    &format!("'{place}.arguments' is no JSON object"),
                )?;
                // An item that says which one it is must come with what led to it (0xPlaygrounds/rig#751).
                if let Some((_, needed)) = id.and_then(|id| id.split_once("_after_")) {
                    rule(
                        thoughts.contains(needed),
                        &format!(
                            "Item '{}' of type 'function_call' was provided without its required 'reasoning' item: '{needed}'.",
                            id.unwrap_or_default()
                        ),
                    )?;
                }
                open.push(call_id);
            }
            "function_call_output" => {
                members(all, &place, &["type", "call_id", "output", "id", "status"])?;
                let call_id = item["call_id"].as_str().unwrap_or_default();
                let answers = open.iter().position(|open| *open == call_id);
                let answers = answers
                    .ok_or_else(|| format!("No tool call found for function call output with call_id {call_id}."))?;
                open.remove(answers);
                match &item["output"] {
                    Value::String(text) => rule(!text.is_empty(), "an output must not be empty")?,
                    Value::Array(parts) => {
                        rule(!parts.is_empty(), "an output must not be empty")?;
                        parts.iter().try_for_each(|part| input_part(part, &place))?;
                    }
                    _ => return Err(format!("Invalid type for '{place}.output'")),
                }
            }
            "reasoning" => {
                members(all, &place, &["type", "id", "summary", "content", "encrypted_content", "status"])?;
                begins("rs")?;
                rule(item["summary"].is_array(), &format!("Missing required parameter: '{place}.summary'."))?;
                rule(
                    all.get("status").is_none_or(|status| !status.is_null()),
                    &format!("Invalid type for '{place}.status'"),
                )?;
                let id = id.unwrap_or_default();
                let Some(encrypted) = item["encrypted_content"].as_str() else {
                    return Err(format!(
                        "Item with id '{id}' not found. Items are not persisted when `store` is set to false."
                    ));
                };
                // Another issuer's, or touched on the way (openai/codex#8145).
                rule(
                    encrypted == encrypt(issuer, id, &item["summary"]),
                    "The encrypted content could not be verified. (invalid_encrypted_content)",
                )?;
                thoughts.insert(id);
                let next = items.get(at + 1).unwrap_or(&Value::Null);
                let is_followed = ["reasoning", "function_call"].iter().any(|kind| next["type"] == *kind)
                    || next["role"] == "assistant";
                rule(
                    is_followed,
                    &format!("Item '{id}' of type 'reasoning' was provided without its required following item."),
                )?;
            }
            kind => return Err(format!("Invalid value: '{kind}' for '{place}.type'.")),
        }
    }
    rule(open.is_empty(), &format!("No tool output found for function call {}.", open.join(", ")))
}

fn message(item: &Value, place: &str) -> Result<(), String> {
    let is_assistant = item["role"] == "assistant";
    let roles = ["user", "assistant", "system", "developer"];
    rule(roles.iter().any(|role| item["role"] == *role), &format!("Invalid value for '{place}.role'"))?;
    let phase = item.get("phase");
    rule(
        phase.is_none_or(|phase| is_assistant && (*phase == "commentary" || *phase == "final_answer")),
        &format!("Invalid value for '{place}.phase'"),
    )?;
    match &item["content"] {
        Value::String(text) => rule(!text.trim().is_empty(), &format!("'{place}.content' must not be empty")),
        Value::Array(parts) if is_assistant => parts.iter().try_for_each(|part| {
            let is_known = ["output_text", "refusal"].iter().any(|kind| part["type"] == *kind);
            rule(
                is_known,
                &format!("Invalid value: {}. Supported values are: 'output_text' and 'refusal'.", part["type"]),
            )
        }),
        Value::Array(parts) => {
            rule(!parts.is_empty(), &format!("'{place}.content' must not be empty"))?;
            parts.iter().try_for_each(|part| input_part(part, place))
        }
        _ => Err(format!("Invalid type for '{place}.content'")),
    }
}

fn input_part(part: &Value, place: &str) -> Result<(), String> {
    let all = object(part, place)?;
    match part["type"].as_str().unwrap_or_default() {
        "input_text" => {
            members(all, place, &["type", "text"])?;
            rule(is_text(all.get("text")), &format!("'{place}' holds an empty text"))
        }
        "input_image" => {
            members(all, place, &["type", "image_url", "file_id", "detail"])?;
            let url = part["image_url"].as_str().unwrap_or_default();
            let data = url.strip_prefix("data:image/").and_then(|rest| rest.split_once(";base64,"));
            let is_base64 = |data: &str| {
                let body = data.trim_end_matches('=');
                data.len().is_multiple_of(4)
                    && !body.is_empty()
                    && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
            };
            rule(
                data.is_some_and(|(_, data)| is_base64(data)) || url.starts_with("https://"),
                &format!("Invalid '{place}.image_url'. Expected a valid URL or base64 data."),
            )?;
            rule(
                ["auto", "low", "high", "original"].iter().any(|detail| part["detail"] == *detail),
                &format!("Invalid '{place}.detail'"),
            )
        }
        kind => Err(format!(
            "Invalid value: '{kind}' in {place}. Supported values are: 'input_text', 'input_image' and 'input_file'."
        )),
    }
}

fn rule(kept: bool, text: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(text.to_owned()) }
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is no object"))
}

fn list<'a>(value: Option<&'a Value>, what: &str) -> Result<&'a [Value], String> {
    match value {
        None => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(format!("{what} is no list")),
    }
}

fn members(object: &Map<String, Value>, what: &str, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("Unknown parameter: '{key}' in {what}.")),
        None => Ok(()),
    }
}

fn is_text(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

fn is_name(value: Option<&Value>) -> bool {
    let letters = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    value.and_then(Value::as_str).is_some_and(|name| (1..=64).contains(&name.len()) && letters(name))
}

/// What only the issuer can make, and knows again with the item that it belongs to.
fn encrypt(issuer: &str, id: &str, summary: &Value) -> String {
    // Members may change their order on the way, as the vendor's own client lets them.
    let texts: Vec<_> = summary.as_array().into_iter().flatten().map(|part| part["text"].as_str()).collect();
    let mut hasher = DefaultHasher::new();
    (issuer, id, texts).hash(&mut hasher);
    format!("gAAAA{:016x}==", hasher.finish())
}

/// An answer of the service.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    parts: Vec<Part>,
    /// Why it is incomplete.
    incomplete: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Part {
    Thought(String),
    Text(String),
    Call { name: String, arguments: String },
}

impl Answer {
    /// One more thought, with this summary.
    pub fn thought(self, summary: &str) -> Self {
        self.and(Part::Thought(summary.to_owned()))
    }

    /// One more message.
    pub fn text(self, text: &str) -> Self {
        self.and(Part::Text(text.to_owned()))
    }

    /// One more call.
    pub fn call(self, name: &str, arguments: &Value) -> Self {
        self.and(Part::Call { name: name.to_owned(), arguments: arguments.to_string() })
    }

    /// Cut for this reason.
    pub fn incomplete(self, reason: &'static str) -> Self {
        Answer { incomplete: Some(reason), ..self }
    }

    fn and(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// The items of the answer, whole.
    fn output(&self, issuer: &str, body: &Value) -> Vec<Value> {
        // Ids differ between the answers of a conversation.
        let turn = body["input"].as_array().map_or(0, Vec::len);
        let mut thought = None;
        let status = if self.incomplete.is_some() { "incomplete" } else { "completed" };
        let item = |(at, part): (usize, &Part)| match part {
            Part::Thought(text) => {
                let id = format!("rs_{turn}x{at}");
                let summary = json!([{"type": "summary_text", "text": text}]);
                let encrypted = encrypt(issuer, &id, &summary);
                thought = Some(id.clone());
                json!({"id": id, "type": "reasoning", "summary": summary, "encrypted_content": encrypted})
            }
            Part::Text(text) => json!({
                "id": format!("msg_{turn}x{at}"), "type": "message", "status": status, "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
            }),
            Part::Call { name, arguments } => {
                let after = thought.as_ref().map(|thought| format!("_after_{thought}")).unwrap_or_default();
                json!({
                    "id": format!("fc_{turn}x{at}{after}"), "type": "function_call", "status": status,
                    "call_id": format!("call_{turn}x{at}"), "name": name, "arguments": arguments,
                })
            }
        };
        self.parts.iter().enumerate().map(item).collect()
    }

    fn response(&self, body: &Value, status: &str, output: Vec<Value>) -> Value {
        let is_over = status != "in_progress";
        json!({
            "id": "resp_1", "object": "response", "created_at": 1_763_000_000, "status": status, "background": false,
            "error": null, "incomplete_details": self.incomplete.filter(|_| is_over).map(|reason| json!({"reason": reason})),
            "instructions": body.get("instructions"), "max_output_tokens": body.get("max_output_tokens"),
            "max_tool_calls": null, "model": body["model"], "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "prompt_cache_key": body.get("prompt_cache_key"),
            "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false, "temperature": 1.0,
            "text": {"format": {"type": "text"}, "verbosity": "medium"}, "tool_choice": "auto", "tools": [],
            "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled", "metadata": {},
            "usage": is_over.then(|| json!({
                "input_tokens": 100, "input_tokens_details": {"cached_tokens": 40}, "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120,
            })),
        })
    }

    fn status(&self) -> &'static str {
        if self.incomplete.is_some() { "incomplete" } else { "completed" }
    }

    /// The answer to a request that asks for no stream.
    pub fn document(&self, issuer: &str, body: &Value) -> Value {
        self.response(body, self.status(), self.output(issuer, body))
    }

    /// The answer as the service streams it, an event apiece.
    pub fn events(&self, issuer: &str, body: &Value) -> Vec<Vec<u8>> {
        let output = self.output(issuer, body);
        let mut events = Events::default();
        events.push("response.created", json!({"response": self.response(body, "in_progress", vec![])}));
        events.push("response.in_progress", json!({"response": self.response(body, "in_progress", vec![])}));
        for (index, (part, item)) in self.parts.iter().zip(&output).enumerate() {
            let mut early = item.clone();
            if early.get("status").is_some() {
                early["status"] = "in_progress".into();
            }
            for (key, empty) in [("content", json!([])), ("summary", json!([])), ("arguments", json!(""))] {
                if early.get(key).is_some() {
                    early[key] = empty;
                }
            }
            if early.get("encrypted_content").is_some() {
                // What stands here at first is not what counts (the reference warns of it).
                early["encrypted_content"] = "gAAAAunfinished".into();
            }
            events.push("response.output_item.added", json!({"output_index": index, "item": early}));
            let at = |more: Value| {
                let mut event = json!({"item_id": item["id"], "output_index": index});
                event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                event
            };
            match part {
                Part::Thought(text) => {
                    let summary = |text: &str| json!({"type": "summary_text", "text": text});
                    events.push(
                        "response.reasoning_summary_part.added",
                        at(json!({"summary_index": 0, "part": summary("")})),
                    );
                    for word in text.split_inclusive(' ') {
                        events.push(
                            "response.reasoning_summary_text.delta",
                            at(json!({"summary_index": 0, "delta": word})),
                        );
                    }
                    events.push("response.reasoning_summary_text.done", at(json!({"summary_index": 0, "text": text})));
                    events.push(
                        "response.reasoning_summary_part.done",
                        at(json!({"summary_index": 0, "part": summary(text)})),
                    );
                }
                Part::Text(text) => {
                    let content =
                        |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
                    events.push("response.content_part.added", at(json!({"content_index": 0, "part": content("")})));
                    for word in text.split_inclusive(' ') {
                        events.push(
                            "response.output_text.delta",
                            at(json!({"content_index": 0, "delta": word, "logprobs": []})),
                        );
                    }
                    events.push(
                        "response.output_text.done",
                        at(json!({"content_index": 0, "text": text, "logprobs": []})),
                    );
                    events.push("response.content_part.done", at(json!({"content_index": 0, "part": content(text)})));
                }
                Part::Call { name, arguments } => {
                    for piece in arguments.chars().collect::<Vec<_>>().chunks(9) {
                        events.push(
                            "response.function_call_arguments.delta",
                            at(json!({"delta": piece.iter().collect::<String>()})),
                        );
                    }
                    events.push(
                        "response.function_call_arguments.done",
                        at(json!({"name": name, "arguments": arguments})),
                    );
                }
            }
            events.push("response.output_item.done", json!({"output_index": index, "item": item}));
        }
        let status = self.status();
        events.push(&format!("response.{status}"), json!({"response": self.response(body, status, output)}));
        events.0
    }
}

/// The bytes of a stream, numbered as they come.
#[derive(Default)]
struct Events(Vec<Vec<u8>>);

impl Events {
    fn push(&mut self, kind: &str, members: Value) {
        let mut event = json!({"type": kind, "sequence_number": self.0.len()});
        event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        self.0.push(format!("event: {kind}\ndata: {event}\n\n").into_bytes());
    }
}

/// A failure that comes in the midst of a stream whose beginning was good.
pub fn failing(body: &Value, code: &str, message: &str) -> Vec<Vec<u8>> {
    let answer = Answer::default();
    let mut failed = answer.response(body, "failed", vec![]);
    failed["error"] = json!({"code": code, "message": message});
    failed["usage"] = Value::Null;
    let mut events = Events::default();
    events.push("response.created", json!({"response": answer.response(body, "in_progress", vec![])}));
    events.push("response.in_progress", json!({"response": answer.response(body, "in_progress", vec![])}));
    events.push("response.failed", json!({"response": failed}));
    events.0
}
