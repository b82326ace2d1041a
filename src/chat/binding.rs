//! The part of a JSON Schema that decides which arguments are valid, apart from the words that only describe them.
//!
//! Two definitions of a tool with the same binding part take the same calls, so a call that was made under one can be sent
//! under the other. A server may build defaults from a set, mend a typo in a description, or list members in another order;
//! none of that changes a call.

use serde_json::{Map, Value};

/// Deepest schema that is looked into; what lies deeper counts as written. serde_json reads no more than 128 levels.
const DEPTH_MAX: usize = 128;

/// Returns the part of a schema that binds, in one form: without descriptions, titles, defaults, examples and keywords that
/// no dialect of JSON Schema defines, and with everything sorted whose order means nothing.
pub fn binding(schema: &Value) -> Value {
    part(schema, 0)
}

fn part(schema: &Value, depth: usize) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    if depth > DEPTH_MAX {
        return schema.clone();
    }
    let mut bound = Map::new();
    for (keyword, value) in members {
        if let Some(value) = keyword_part(keyword, value, depth + 1) {
            bound.insert(keyword.clone(), value);
        }
    }
    bound.sort_keys();
    Value::Object(bound)
}

/// The part of one keyword that binds; `None` for a keyword that binds nothing.
fn keyword_part(keyword: &str, value: &Value, depth: usize) -> Option<Value> {
    Some(match keyword {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
            map(value, |value| if value.is_array() { sorted(value, sort_keys) } else { part(value, depth) })
        }
        "dependentRequired" => map(value, |value| sorted(value, sort_keys)),
        "allOf" | "anyOf" | "oneOf" => sorted(value, |value| part(value, depth)),
        "prefixItems" => list(value, |value| part(value, depth)),
        "items" if value.is_array() => list(value, |value| part(value, depth)),
        "items"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contentSchema" => part(value, depth),
        "required" if value.as_array().is_some_and(Vec::is_empty) => return None,
        "required" | "enum" => sorted(value, sort_keys),
        "type" => match value.as_array().map(Vec::as_slice) {
            Some([only]) => only.clone(),
            _ => sorted(value, Value::clone),
        },
        "const" => sort_keys(value),
        "multipleOf" | "maximum" | "minimum" | "exclusiveMaximum" | "exclusiveMinimum" | "maxLength" | "minLength"
        | "pattern" | "maxItems" | "minItems" | "uniqueItems" | "maxContains" | "minContains" | "maxProperties"
        | "minProperties" | "format" | "contentEncoding" | "contentMediaType" | "nullable" | "$ref" | "$dynamicRef"
        | "$recursiveRef" | "$recursiveAnchor" | "$id" | "id" | "$anchor" | "$dynamicAnchor" | "$schema"
        | "$vocabulary" => value.clone(),
        // MCP, 2026-07-28: the argument also goes into an HTTP header.
        "x-mcp-header" => value.clone(),
        _ => return None,
    })
}

fn map(value: &Value, change: impl Fn(&Value) -> Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let mut changed: Map<String, Value> = members.iter().map(|(name, value)| (name.clone(), change(value))).collect();
    changed.sort_keys();
    Value::Object(changed)
}

fn list(value: &Value, change: impl Fn(&Value) -> Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    items.iter().map(change).collect()
}

fn sorted(value: &Value, change: impl Fn(&Value) -> Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    let mut items: Vec<Value> = items.iter().map(change).collect();
    items.sort_by_cached_key(Value::to_string);
    items.dedup();
    Value::Array(items)
}

/// The same value with its members in order. As deep as the value, which was read from JSON.
fn sort_keys(value: &Value) -> Value {
    match value {
        Value::Object(_) => map(value, sort_keys),
        Value::Array(_) => list(value, sort_keys),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_and_order_bind_nothing() {
        let one = json!({
            "type": "object", "title": "Search", "description": "Searches.", "required": ["q", "kind"],
            "properties": {
                "q": {"type": ["string", "null"], "default": "a,b", "examples": ["x"], "description": "The query."},
                "kind": {"anyOf": [{"const": "a", "title": "A"}, {"enum": ["b", "c"]}], "x-order": 1},
                "title": {"type": ["string"]},
            },
        });
        let other = json!({
            "properties": {
                "title": {"type": "string", "deprecated": true},
                "kind": {"anyOf": [{"enum": ["c", "b"]}, {"const": "a"}]},
                "q": {"type": ["null", "string"], "default": "b,a", "$comment": "sorted"},
            },
            "required": ["kind", "q"], "type": "object", "examples": [],
        });
        assert_eq!(binding(&one).to_string(), binding(&other).to_string());
        assert!(binding(&one)["properties"].get("title").is_some(), "a property may have the name of a keyword");
    }

    #[test]
    fn what_decides_over_a_call_binds() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "string", "enum": ["x", "y"], "pattern": "^x"}, "b": {"prefixItems": [true, {"type": "null"}]}},
        });
        for (path, value) in [
            ("/type", json!("array")),
            ("/required", json!([])),
            ("/additionalProperties", json!(true)),
            ("/properties/a/type", json!("integer")),
            ("/properties/a/enum", json!(["x"])),
            ("/properties/a/pattern", json!("^y")),
            ("/properties/b/prefixItems", json!([{"type": "null"}, true])),
            ("/properties/b", json!({})),
        ] {
            let mut other = schema.clone();
            *other.pointer_mut(path).unwrap() = value;
            assert_ne!(binding(&schema), binding(&other), "{path}");
        }
    }
}
