//! A double of the Gemini API: it takes what the real service takes, and streams answers as it does.
//!
//! The rules are those of ai.google.dev/api/generate-content, /api/caching, /gemini-api/docs/function-calling and
//! /gemini-api/docs/thought-signatures, and the texts of the service's refusals (2026-11). It has no memory: the
//! signature and the id of a part are made from the part, so that what it has issued can be told from what it has not.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::model::{Refusal, Reply, Request};

/// The signature that the service lets pass on a call of another model.
pub const SKIP_VALIDATION: &str = "skip_thought_signature_validator";

/// The judge for [`Model::judged`](crate::model::Model::judged).
pub fn judge(request: &Request) -> Result<(), Box<Refusal>> {
    let refused = |code, status, message: &str| Reply::json(code, &error(code, status, message, None));
    let Some(model) = model_of(&request.path) else {
        let reply = refused(404, "NOT_FOUND", &format!("{} {} is not found", request.method, request.path));
        return Err(Box::new(Refusal {
            reply,
            violations: vec![format!("{} is no path of the service", request.path)],
        }));
    };
    if request.header("x-goog-api-key").is_none_or(str::is_empty) {
        let reply = refused(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.");
        return Err(Box::new(Refusal { reply, violations: vec!["no x-goog-api-key".to_owned()] }));
    }
    check(&request.body, model)
        .map_err(|fault| Box::new(Refusal { reply: refused(400, "INVALID_ARGUMENT", &fault), violations: vec![fault] }))
}

/// The model in `/v1beta/models/MODEL:streamGenerateContent?alt=sse`; Google's newer SDKs say `v1`.
pub fn model_of(path: &str) -> Option<&str> {
    let (path, query) = path.split_once('?')?;
    query.split('&').find(|pair| *pair == "alt=sse")?;
    let model = ["/v1beta/models/", "/v1/models/"].iter().find_map(|start| path.strip_prefix(start))?;
    model.strip_suffix(":streamGenerateContent")
}

/// An error as the service words it; with a delay in seconds, after which to try again.
pub fn error(code: u16, status: &str, message: &str, retry_seconds: Option<u32>) -> Value {
    let mut error = json!({"code": code, "message": message, "status": status});
    if let Some(seconds) = retry_seconds {
        error["details"] =
            json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}]);
    }
    json!({"error": error})
}

/// The exact bytes of an answer with these parts: a chunk for each, texts word by word, ids and signatures where `model`
/// gives them (on the first call, else on an empty part at the end).
pub fn answer(model: &str, parts: &[Value], finish: &str) -> Vec<u8> {
    let is_third = is_third(model);
    let mut pieces: Vec<Value> = Vec::new();
    let mut signed = !is_third;
    for (n, part) in parts.iter().enumerate() {
        if let Some(text) = part["text"].as_str() {
            for word in text.split_inclusive(' ') {
                let mut piece = part.clone();
                piece["text"] = word.into();
                pieces.push(piece);
            }
            continue;
        }
        let mut part = part.clone();
        if part.get("functionCall").is_some() && is_third {
            part["functionCall"]["id"] = format!("fc{n}{}", &fingerprint(model, &part)[..6]).into();
            if !signed {
                part["thoughtSignature"] = signature(model, &part).into();
                signed = true;
            }
        }
        pieces.push(part);
    }
    if !signed {
        let mut last = json!({"text": ""});
        last["thoughtSignature"] = signature(model, &last).into();
        pieces.push(last);
    }
    let count = pieces.len();
    let thoughts = pieces.iter().filter(|part| part["thought"] == true).count();
    let mut bytes = Vec::new();
    for (n, part) in pieces.into_iter().enumerate() {
        let mut candidate = json!({"content": {"parts": [part], "role": "model"}, "index": 0});
        if n + 1 == count {
            candidate["finishReason"] = finish.into();
        }
        let chunk = json!({
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": 40, "cachedContentTokenCount": 8, "candidatesTokenCount": n + 1 - thoughts.min(n + 1),
                "thoughtsTokenCount": thoughts, "totalTokenCount": 40 + (n + 1).max(thoughts),
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 40}],
            },
            "modelVersion": model, "responseId": "double-1",
        });
        bytes.extend_from_slice(format!("data: {chunk}\r\n\r\n").as_bytes());
    }
    bytes
}

/// The signature that the service gives a part of this model.
pub fn signature(model: &str, part: &Value) -> String {
    // Letters and digits, four by four: base64 that is written in one way only.
    format!("Sig0{}", &fingerprint(model, part)[..28])
}

fn fingerprint(model: &str, part: &Value) -> String {
    let call = &part["functionCall"];
    let essence = json!([model, part["text"], part["thought"], call["name"], call["args"]]);
    blake3::hash(essence.to_string().as_bytes()).to_hex().to_string()
}

fn is_third(model: &str) -> bool {
    model.starts_with("gemini-3")
}

/// What the real service would refuse in a request for this model.
pub fn check(body: &Value, model: &str) -> Result<(), String> {
    let body = &camel(body);
    let body = members(
        body,
        "the body",
        &[
            "contents",
            "tools",
            "toolConfig",
            "systemInstruction",
            "generationConfig",
            "safetySettings",
            "cachedContent",
        ],
    )?;
    let offered = tools(body.get("tools"))?;
    if let Some(config) = body.get("toolConfig") {
        let config = members(config, "tool_config", &["functionCallingConfig"])?;
        if let Some(calling) = config.get("functionCallingConfig") {
            members(calling, "function_calling_config", &["mode", "allowedFunctionNames"])?;
            require(
                ["AUTO", "ANY", "NONE", "VALIDATED"].contains(&calling["mode"].as_str().unwrap_or("AUTO")),
                "unknown mode",
            )?;
            let names = calling["allowedFunctionNames"].as_array().map(Vec::as_slice).unwrap_or_default();
            require(
                names.is_empty() || ["ANY", "VALIDATED"].contains(&calling["mode"].as_str().unwrap_or_default()),
                "allowed_function_names needs mode ANY",
            )?;
            for name in names {
                require(
                    offered.contains(name.as_str().unwrap_or_default()),
                    &format!("allowed function {name} is not declared"),
                )?;
            }
        }
    }
    if let Some(system) = body.get("systemInstruction") {
        members(system, "system_instruction", &["parts", "role"])?;
        let parts = system["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_text = |part: &Value| part["text"].as_str().is_some_and(|text| !text.is_empty());
        require(!parts.is_empty() && parts.iter().all(is_text), "system_instruction must be text")?;
    }
    generation(body.get("generationConfig").unwrap_or(&json!({})), model)?;
    contents(body.get("contents"), model)
}

/// The same with all names in camel case: the service takes its members' names in both (protobuf's JSON mapping), and
/// Google's SDK uses both. What is not the service's own (arguments, results, JSON Schemas) stays.
fn camel(value: &Value) -> Value {
    let Value::Object(members) = value else {
        return match value {
            Value::Array(values) => values.iter().map(camel).collect(),
            other => other.clone(),
        };
    };
    let renamed = members.iter().map(|(name, value)| {
        let mut words = name.split('_');
        let mut camel_name = words.next().unwrap_or_default().to_owned();
        for word in words {
            camel_name.push_str(&word[..word.len().min(1)].to_uppercase());
            camel_name.push_str(word.get(1..).unwrap_or_default());
        }
        let foreign = ["args", "response", "properties", "parametersJsonSchema", "responseJsonSchema"];
        let value = if foreign.contains(&camel_name.as_str()) { value.clone() } else { camel(value) };
        (camel_name, value)
    });
    Value::Object(renamed.collect())
}

fn require(kept: bool, fault: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(fault.to_owned()) }
}

fn members<'a>(value: &'a Value, place: &str, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let members = value.as_object().ok_or_else(|| format!("{place} must be an object"))?;
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            Err(format!("Invalid JSON payload received. Unknown name \"{key}\" at '{place}': Cannot find field."))
        }
        None => Ok(members),
    }
}

fn tools(tools: Option<&Value>) -> Result<HashSet<String>, String> {
    let mut names = HashSet::new();
    for tool in tools.and_then(Value::as_array).into_iter().flatten() {
        let tool = members(tool, "tools[0]", &["functionDeclarations", "googleSearch", "codeExecution", "urlContext"])?;
        for declaration in tool.get("functionDeclarations").and_then(Value::as_array).into_iter().flatten() {
            members(
                declaration,
                "function_declarations",
                &["name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema"],
            )?;
            let name = declaration["name"].as_str().unwrap_or_default();
            let is_good = |name: &str| {
                name.len() <= 64
                    && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
            };
            require(is_good(name), &format!("Invalid function name {name:?}"))?;
            require(names.insert(name.to_owned()), &format!("Duplicate function declaration found: {name}"))?;
            let (old, new) = (declaration.get("parameters"), declaration.get("parametersJsonSchema"));
            require(old.is_none() || new.is_none(), "parameters and parameters_json_schema are mutually exclusive")?;
            if let Some(schema) = old {
                require(
                    schema["type"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("object")),
                    "parameters must be of type OBJECT",
                )?;
                require(
                    schema["properties"].as_object().is_some_and(|properties| !properties.is_empty()),
                    "parameters.properties: should be non-empty for OBJECT type",
                )?;
                openapi(schema, "parameters")?;
            }
            if let Some(schema) = new {
                require(
                    schema["type"] == "object" && schema["properties"].is_object(),
                    "parameters_json_schema must describe an object",
                )?;
                json_schema(schema, "parameters_json_schema")?;
            }
        }
    }
    Ok(names)
}

/// The resource `Schema`.
fn openapi(schema: &Value, place: &str) -> Result<(), String> {
    let own = members(
        schema,
        place,
        &[
            "type",
            "format",
            "title",
            "description",
            "nullable",
            "enum",
            "maxItems",
            "minItems",
            "properties",
            "required",
            "minProperties",
            "maxProperties",
            "minLength",
            "maxLength",
            "pattern",
            "example",
            "anyOf",
            "propertyOrdering",
            "default",
            "items",
            "minimum",
            "maximum",
        ],
    )?;
    if let Some(branches) = own.get("anyOf") {
        require(own.len() == 1, &format!("{place}.any_of: When using any_of, it must be the only field set"))?;
        return branches
            .as_array()
            .into_iter()
            .flatten()
            .try_for_each(|branch| openapi(branch, &format!("{place}.any_of")));
    }
    let kind = own.get("type").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    require(
        ["string", "number", "integer", "boolean", "array", "object", "null"].contains(&kind.as_str()),
        &format!("{place}.type: must be specified"),
    )?;
    if let Some(values) = own.get("enum").and_then(Value::as_array) {
        require(kind == "string", &format!("{place}.enum: only allowed for STRING type"))?;
        require(
            values.iter().all(|value| value.as_str().is_some_and(|text| !text.is_empty())),
            &format!("{place}.enum: cannot be empty"),
        )?;
    }
    if let Some(format) = own.get("format").and_then(Value::as_str) {
        let known: &[&str] = match kind.as_str() {
            "string" => &["enum", "date-time"],
            "number" => &["float", "double"],
            "integer" => &["int32", "int64"],
            _ => &[],
        };
        require(known.contains(&format), &format!("{place}.format: {format} is not supported for {kind} type"))?;
    }
    let properties = own.get("properties").and_then(Value::as_object);
    for name in own.get("required").and_then(Value::as_array).into_iter().flatten() {
        let is_listed = properties.is_some_and(|properties| properties.contains_key(name.as_str().unwrap_or_default()));
        require(is_listed, &format!("{place}.required[0]: property is not defined"))?;
    }
    require(kind != "array" || own.contains_key("items"), &format!("{place}.items: missing field"))?;
    properties
        .into_iter()
        .flatten()
        .try_for_each(|(name, schema)| openapi(schema, &format!("{place}.properties[{name}]")))?;
    own.get("items").map_or(Ok(()), |items| openapi(items, &format!("{place}.items")))
}

/// The part of JSON Schema that the service documents.
fn json_schema(schema: &Value, place: &str) -> Result<(), String> {
    let own = members(
        schema,
        place,
        &[
            "$id",
            "$defs",
            "$ref",
            "$anchor",
            "type",
            "format",
            "title",
            "description",
            "enum",
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
            "anyOf",
            "oneOf",
            "properties",
            "additionalProperties",
            "required",
            "propertyOrdering",
        ],
    )?;
    require(
        !own.contains_key("$ref") || own.keys().all(|key| key.starts_with('$')),
        &format!("{place}: nothing may be set beside $ref"),
    )?;
    let is_scalar = |value: &Value| value.is_string() || value.is_number();
    require(
        own.get("enum").and_then(Value::as_array).is_none_or(|values| values.iter().all(is_scalar)),
        &format!("{place}.enum: strings and numbers only"),
    )?;
    for keyword in ["properties", "$defs"] {
        let schemas = own.get(keyword).and_then(Value::as_object).into_iter().flatten();
        schemas
            .into_iter()
            .try_for_each(|(name, schema)| json_schema(schema, &format!("{place}.{keyword}[{name}]")))?;
    }
    for keyword in ["anyOf", "oneOf", "prefixItems"] {
        let schemas = own.get(keyword).and_then(Value::as_array).into_iter().flatten();
        schemas.into_iter().try_for_each(|schema| json_schema(schema, &format!("{place}.{keyword}")))?;
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(schema) = own.get(keyword).filter(|schema| !schema.is_boolean()) {
            json_schema(schema, &format!("{place}.{keyword}"))?;
        }
    }
    Ok(())
}

fn generation(config: &Value, model: &str) -> Result<(), String> {
    let own = members(
        config,
        "generation_config",
        &[
            "temperature",
            "topP",
            "topK",
            "candidateCount",
            "maxOutputTokens",
            "stopSequences",
            "responseMimeType",
            "responseSchema",
            "responseJsonSchema",
            "thinkingConfig",
            "seed",
            "mediaResolution",
        ],
    )?;
    let temperature = own.get("temperature").map_or(1.0, |value| value.as_f64().unwrap_or(-1.0));
    require((0.0..=2.0).contains(&temperature), "temperature must be in the range [0.0, 2.0]")?;
    require(
        own.get("maxOutputTokens").is_none_or(|tokens| tokens.as_u64() > Some(0)),
        "max_output_tokens must be positive",
    )?;
    if let Some(schema) = own.get("responseJsonSchema") {
        require(
            config["responseMimeType"] == "application/json",
            "response_json_schema needs response_mime_type application/json",
        )?;
        require(own.get("responseSchema").is_none(), "response_schema must be omitted")?;
        json_schema(schema, "response_json_schema")?;
    }
    if let Some(thinking) = own.get("thinkingConfig") {
        let thinking = members(thinking, "thinking_config", &["includeThoughts", "thinkingBudget", "thinkingLevel"])?;
        let (level, budget) = (thinking.get("thinkingLevel"), thinking.get("thinkingBudget"));
        require(is_third(model) || model.starts_with("gemini-2.5"), "Thinking is not enabled for this model")?;
        require(level.is_none() || budget.is_none(), "thinking_budget and thinking_level cannot be used together")?;
        require(level.is_none() || is_third(model), "Thinking level is not supported for this model.")?;
        let known = ["minimal", "low", "medium", "high"];
        let is_known =
            |level: &Value| level.as_str().is_some_and(|level| known.contains(&level.to_lowercase().as_str()));
        require(level.is_none_or(is_known), "unknown thinking_level")?;
    }
    Ok(())
}

fn contents(contents: Option<&Value>, model: &str) -> Result<(), String> {
    let contents =
        contents.and_then(Value::as_array).filter(|contents| !contents.is_empty()).ok_or("contents are required")?;
    // Neighbours of one role are one turn.
    let mut turns: Vec<(&str, Vec<&Value>)> = Vec::new();
    for content in contents {
        members(content, "contents", &["role", "parts"])?;
        let role = content["role"].as_str().unwrap_or("user");
        require(["user", "model"].contains(&role), "Please use a valid role: user, model.")?;
        let parts =
            content["parts"].as_array().filter(|parts| !parts.is_empty()).ok_or("contents.parts must not be empty")?;
        match turns.last_mut() {
            Some((last, turn)) if *last == role => turn.extend(parts),
            _ => turns.push((role, parts.iter().collect())),
        }
    }
    require(turns.first().is_some_and(|(role, _)| *role == "user"), "the conversation must begin with the user")?;
    require(turns.last().is_some_and(|(role, _)| *role == "user"), "the conversation must end with the user")?;
    let mut open: Vec<&Value> = Vec::new();
    for (role, parts) in turns {
        for part in &parts {
            check_part(part, role, model)?;
        }
        let pick = |name: &'static str| parts.iter().filter_map(move |part| part.get(name));
        if role == "user" {
            let results: Vec<&Value> = pick("functionResponse").collect();
            require(
                results.len() == open.len(),
                "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.",
            )?;
            for (call, result) in open.iter().zip(&results) {
                require(
                    call["name"] == result["name"],
                    &format!("function response {} does not answer the call of {}", result["name"], call["name"]),
                )?;
                require(
                    call["id"] == result["id"],
                    &format!("function response id {} is not the call's {}", result["id"], call["id"]),
                )?;
            }
            let firsts = parts.iter().take(results.len()).filter(|part| part.get("functionResponse").is_some());
            require(firsts.count() == results.len(), "function responses come first in their turn")?;
            open.clear();
        } else {
            open = pick("functionCall").collect();
            let first = parts.iter().find(|part| part.get("functionCall").is_some());
            if is_third(model)
                && let Some(first) = first
            {
                require(
                    first.get("thoughtSignature").is_some(),
                    &format!(
                        "Function call is missing a thought_signature in functionCall parts: {}",
                        first["functionCall"]["name"]
                    ),
                )?;
            }
        }
    }
    Ok(())
}

fn check_part(part: &Value, role: &str, model: &str) -> Result<(), String> {
    let data =
        ["text", "inlineData", "fileData", "functionCall", "functionResponse", "executableCode", "codeExecutionResult"];
    let own = members(part, "contents.parts", &[&data[..], &["thought", "thoughtSignature"]].concat())?;
    let kinds: Vec<_> = data.iter().filter(|kind| own.contains_key(**kind)).collect();
    require(kinds.len() == 1, "contents.parts.data: required oneof field 'data' must have one initialized field")?;
    let kind = *kinds[0];
    let inner = &part[kind];
    if let Some(signature) = own.get("thoughtSignature") {
        let is_issued = signature.as_str() == Some(self::signature(model, part).as_str());
        let is_dummy = kind == "functionCall" && signature == SKIP_VALIDATION;
        require(is_issued || is_dummy, "Corrupted thought signature.")?;
        require(role == "model", "thought_signature is for parts of the model")?;
    }
    match kind {
        "text" => {
            let is_said = inner.as_str().is_some_and(|text| !text.is_empty());
            require(
                inner.is_string() && (is_said || own.contains_key("thoughtSignature")),
                "Unable to submit request because it must have a text parameter",
            )
        }
        "functionCall" => {
            require(role == "model", "function calls are the model's")?;
            members(inner, "function_call", &["id", "name", "args"])?;
            require(inner["name"].is_string() && inner["args"].is_object(), "function_call needs name and args")?;
            let is_issued = |id: &str| id.starts_with("fc") && id.ends_with(&fingerprint(model, part)[..6]);
            require(inner.get("id").is_none_or(|id| id.as_str().is_some_and(is_issued)), "unknown function call id")
        }
        "functionResponse" => {
            require(role == "user", "function responses are the user's")?;
            members(inner, "function_response", &["id", "name", "response", "parts"])?;
            require(inner["response"].is_object(), "function_response.response must be an object")?;
            let parts = inner["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
            require(
                parts.is_empty() || is_third(model),
                "Multimodal function responses are not supported by this model",
            )?;
            for part in parts {
                members(part, "function_response.parts", &["inlineData"])?;
                let is_taken = ["image/png", "image/jpeg", "image/webp"]
                    .contains(&part["inlineData"]["mimeType"].as_str().unwrap_or_default());
                require(is_taken, "Unsupported MIME type in function_response.parts")?;
                blob(&part["inlineData"])?;
            }
            Ok(())
        }
        "inlineData" => blob(inner),
        "fileData" => members(inner, "file_data", &["mimeType", "fileUri"]).map(drop),
        _ => Ok(()),
    }
}

fn blob(blob: &Value) -> Result<(), String> {
    members(blob, "inline_data", &["mimeType", "data"])?;
    let mime = blob["mimeType"].as_str().unwrap_or_default();
    let known = [
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/heic",
        "image/heif",
        "audio/wav",
        "audio/mp3",
        "audio/mpeg",
        "audio/aiff",
        "audio/aac",
        "audio/ogg",
        "audio/flac",
    ];
    require(known.contains(&mime), &format!("Unsupported MIME type: {mime}"))?;
    let data = blob["data"].as_str().unwrap_or_default();
    let letters =
        data.trim_end_matches('=').bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte));
    require(!data.is_empty() && data.len().is_multiple_of(4) && letters, "Base64 decoding failed")
}
