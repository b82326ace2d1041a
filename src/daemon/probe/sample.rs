//! A value that fits a JSON Schema, for schemas as tool servers write them. Pure and bounded.
//!
//! What it finds is a guess that the caller checks: a schema that no guess fits gets none. Always true: the same schema
//! gives the same value, and the depth is bounded, as is the work, so that schemas that refer to themselves come to an end.

use std::sync::Arc;

use serde_json::{Map, Number, Value, json};

use crate::repair::Schema;

/// Deepest nesting of what is made; members that need not be there are left out below half of it.
const DEPTH_MAX: usize = 8;

/// Most members of one object; those that must be there are there in any case.
const MEMBERS_MAX: usize = 16;

/// Most values looked at: forms within forms multiply, and schemas come from servers that nobody vouches for.
const STEPS_MAX: usize = 20_000;

/// Texts to take where any will do: what models get wrong when they escape it.
const TEXTS: [&str; 6] = [
    r"C:\temp\new.txt",
    "say \"hi\" & <go>",
    r"^\d+\.(\w*)$",
    "two lines:\n\tZoë's café",
    "{\"key\": \"it's\"}",
    "東京 100 % — \\o/",
];

/// Texts to try where a pattern or a length must be kept.
const TRIED: [&str; 24] = [
    "a",
    "A",
    "1",
    "ab",
    "abc",
    "name",
    "Name1",
    "abc-123",
    "ABC-123",
    "abc_def",
    "a.b",
    "a/b",
    "/a/b",
    "user@example.org",
    "https://example.org/a",
    "2026-11-21",
    "12:30",
    "2026-11-21T12:30:00Z",
    "1.2.3",
    "v1.2.3",
    "0644",
    "#a1b2c3",
    "AB-1234",
    "0123456789abcdef0123456789abcdef01234567",
];

/// A value that should fit; `None` when none was thought of.
pub(super) fn example(schema: &Value) -> Option<Value> {
    Sampler { root: schema, taken: 0, steps: 0 }.value(schema, 0)
}

struct Sampler<'a> {
    root: &'a Value,
    /// How many texts were taken, so that neighbours differ.
    taken: usize,
    steps: usize,
}

impl Sampler<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Option<Value> {
        self.steps += 1;
        if depth > DEPTH_MAX || self.steps > STEPS_MAX {
            return None;
        }
        let members = match schema {
            Value::Bool(true) => return Some(self.text()),
            Value::Object(members) => members,
            _ => return None,
        };
        if let Some(place) = members.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(place.strip_prefix('#')?)?;
            return self.value(target, depth + 1);
        }
        if let Some(only) = members.get("const") {
            return Some(only.clone());
        }
        if let Some(first) = members.get("enum").and_then(Value::as_array) {
            return first.iter().find(|value| !value.is_null()).or(first.first()).cloned();
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(forms) = members.get(key).and_then(Value::as_array) {
                let mut values = forms.iter().filter_map(|form| self.value(form, depth + 1)).collect::<Vec<_>>();
                // Null is the easy way out.
                let at = values.iter().position(|value| !value.is_null()).unwrap_or(0);
                let value = if values.is_empty() { return None } else { values.swap_remove(at) };
                return self.joined(members, value, depth);
            }
        }
        if let Some(parts) = members.get("allOf").and_then(Value::as_array) {
            let mut all = json!({});
            for part in parts {
                match (self.value(part, depth + 1)?, &mut all) {
                    (Value::Object(more), Value::Object(all)) => all.extend(more),
                    (value, all) => *all = value,
                }
            }
            return self.joined(members, all, depth);
        }
        self.typed(members, depth)
    }

    /// What one of several forms gave, with the members that the schema beside them asks for.
    fn joined(&mut self, members: &Map<String, Value>, value: Value, depth: usize) -> Option<Value> {
        match value {
            Value::Object(form) if members.contains_key("properties") => {
                let mut all = self.object(members, depth)?;
                all.extend(form);
                Some(Value::Object(all))
            }
            value => Some(value),
        }
    }

    fn typed(&mut self, members: &Map<String, Value>, depth: usize) -> Option<Value> {
        let kind = match members.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("null")
            }
            _ if members.contains_key("properties") => "object",
            _ if members.contains_key("items") => "array",
            _ => "string",
        };
        match kind {
            "object" => self.object(members, depth).map(Value::Object),
            "array" => self.array(members, depth),
            "string" => self.string(members),
            "integer" => number(members, 1.0),
            "number" => number(members, 0.5),
            "boolean" => Some(Value::Bool(true)),
            "null" => Some(Value::Null),
            _ => None,
        }
    }

    fn object(&mut self, members: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
        let needed: Vec<&str> =
            members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let none = Map::new();
        let properties = members.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut object = Map::new();
        for (name, schema) in properties {
            let must = needed.contains(&name.as_str());
            if !must && (depth >= DEPTH_MAX / 2 || object.len() >= MEMBERS_MAX) {
                continue;
            }
            match self.value(schema, depth + 1) {
                Some(value) => drop(object.insert(name.clone(), value)),
                None if must => return None,
                None => {}
            }
        }
        for name in needed {
            if !object.contains_key(name) {
                let value = match members.get("additionalProperties") {
                    Some(schema) => self.value(schema, depth + 1)?,
                    None => self.text(),
                };
                object.insert(name.to_owned(), value);
            }
        }
        Some(object)
    }

    fn array(&mut self, members: &Map<String, Value>, depth: usize) -> Option<Value> {
        let whole = |key: &str| members.get(key).and_then(Value::as_u64);
        let least = whole("minItems").unwrap_or(0);
        if depth >= DEPTH_MAX / 2 && least == 0 {
            return Some(json!([]));
        }
        let count = least.max(2).min(whole("maxItems").unwrap_or(u64::MAX)).min(MEMBERS_MAX as u64);
        let any = Value::Bool(true);
        let schema = members.get("items").unwrap_or(&any);
        let mut items: Vec<Value> = Vec::new();
        for at in 0..count {
            // Of listed values, one after the other, for arrays that hold none twice.
            let listed = schema.get("enum").and_then(Value::as_array).and_then(|listed| listed.get(at as usize));
            let item = match listed {
                Some(item) => item.clone(),
                None => self.value(schema, depth + 1)?,
            };
            if members.get("uniqueItems") != Some(&Value::Bool(true)) || !items.contains(&item) {
                items.push(item);
            }
        }
        Some(Value::Array(items))
    }

    fn string(&mut self, members: &Map<String, Value>) -> Option<Value> {
        let formed = match members.get("format").and_then(Value::as_str) {
            Some("date-time") => Some("2026-11-21T08:30:00+01:00"),
            Some("date") => Some("2026-11-21"),
            Some("time") => Some("08:30:00Z"),
            Some("duration") => Some("PT15M"),
            Some("email" | "idn-email") => Some("zoe+test@example.org"),
            Some("uri" | "url" | "iri" | "uri-reference") => Some("https://example.org/a?b=%22c%22#d"),
            Some("uuid") => Some("0199c2d4-7f60-7a10-8000-0000000000a1"),
            Some("ipv4") => Some("192.0.2.7"),
            Some("ipv6") => Some("2001:db8::7"),
            Some("hostname") => Some("api.example.org"),
            _ => None,
        };
        let bounded = ["pattern", "minLength", "maxLength"].iter().any(|key| members.contains_key(*key));
        match formed {
            Some(formed) => Some(formed.into()),
            None if bounded => {
                let schema = Schema::compile(&Arc::new(Value::Object(members.clone()))).ok()?;
                let least = members.get("minLength").and_then(Value::as_u64).unwrap_or(0).min(4096) as usize;
                let long = ["x".repeat(least)];
                let all = TEXTS.iter().copied().chain(TRIED).chain(long.iter().map(String::as_str));
                all.map(Value::from).find(|text| schema.check_value(text).is_ok())
            }
            None => Some(self.text()),
        }
    }

    fn text(&mut self) -> Value {
        let text = TEXTS[self.taken % TEXTS.len()];
        self.taken += 1;
        text.into()
    }
}

/// A number within its bounds, `part` away from one that it must not be.
fn number(members: &Map<String, Value>, part: f64) -> Option<Value> {
    let bound = |key: &str| members.get(key).and_then(Value::as_f64);
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|bound| bound + step.unwrap_or(part)));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|bound| bound - step.unwrap_or(part)));
    let mut value = match (least, most) {
        (Some(least), _) => least,
        (None, Some(most)) => most.min(7.0 * part),
        (None, None) => 7.0 * part,
    };
    if let Some(step) = step {
        value = if least.is_some() { (value / step).ceil() } else { (value / step).floor() } * step;
    }
    if part == 1.0 {
        value = value.ceil();
    }
    // A whole number is written as one.
    let whole = value.fract() == 0.0 && value.abs() < 9e15;
    if whole { Some(json!(value as i64)) } else { Number::from_f64(value).map(Value::Number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_fit_their_schemas() {
        let schemas = [
            json!(true),
            json!({"type": "string"}),
            json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"}),
            json!({"type": "string", "minLength": 200}),
            json!({"type": "string", "maxLength": 3}),
            json!({"type": "integer", "minimum": 3, "maximum": 9, "multipleOf": 5}),
            json!({"type": "integer", "exclusiveMinimum": 3}),
            json!({"type": "number", "maximum": -2.5}),
            json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1}),
            json!({"type": ["null", "boolean"]}),
            json!({"const": {"a": [1]}}),
            json!({"enum": [null, "b"]}),
            json!({"oneOf": [{"type": "null"}, {"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}]}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "anyOf": [{"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}]}),
            json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {}}, "required": ["b"]}]}),
            json!({"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": true}),
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 1}),
            json!({"type": "object", "required": ["x"], "additionalProperties": {"type": "integer"}}),
            json!({"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}, "name": {"type": "string"}}, "required": ["name"]}),
            json!({"$defs": {"p": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}}, "type": "object", "properties": {"p": {"$ref": "#/$defs/p"}}, "required": ["p"], "additionalProperties": false}),
        ];
        for schema in schemas {
            let found = example(&schema).unwrap_or_else(|| panic!("none for {schema}"));
            let fits = Schema::compile(&Arc::new(schema.clone())).unwrap().check_value(&found);
            assert_eq!(fits, Ok(()), "{schema}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_guessed_gets_nothing() {
        for schema in [
            json!(false),
            json!({"type": "string", "pattern": "^correct horse battery staple$"}),
            json!({"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}),
            json!({"$ref": "https://elsewhere/schema"}),
        ] {
            assert_eq!(example(&schema), None, "{schema}");
        }
    }
}
