//! Makes arguments that fit a schema, in the manner of what models write.

use fastrand::Rng;
use serde_json::{Map, Number, Value, json};

use super::tools::Tool;

const DEPTH_MAX: usize = 5;

const PATHS: &[&str] = &[
    "/etc/hosts",
    "src/main.rs",
    "./notes/2026-11-21.md",
    "/home/ada/Documents/Q3 report.pdf",
    "C:\\Users\\ada\\notes.txt",
    "data/été/naïve.csv",
    "../shared/config.yaml",
    "/var/log/app/error.log.1",
];
const URLS: &[&str] =
    &["https://example.org/a?b=1&c=%20x#top", "http://127.0.0.1:8080/health", "https://docs.example.com/en/latest/"];
const PROSE: &[&str] = &[
    "Don't forget the milk, eggs and bread.",
    "She said it's fine - we'll see.",
    "open issues, sorted by date",
    "Größe: 3 µm (± 0.5)",
    "first line\nsecond line\n\tindented",
    "Costs rose by 5% in Q3; see table 2.",
    "こんにちは、世界",
    "Ship it 🚀 today",
    "a [draft] of {something}: see <b>bold</b>",
];
const CODE: &[&str] = &[
    "fn main() {\n    println!(\"hello\");\n}\n",
    "for x in range(10):\n    print(x, \"is\", x * x)\n",
    "() => document.querySelector('a[href=\"#\"]').click()",
    "SELECT name, \"order\" FROM t WHERE a >= 3 AND b != 'x';",
    "#!/bin/sh\necho \"$HOME\" | sed 's/a/b/g' > /tmp/out\n",
    "# Title\n\n```json\n{\"a\": 1}\n```\n\nEnd.\n",
];
const PATTERNS: &[&str] = &["\\d+\\.\\w*", "^\\s*#\\s?[A-Z]", "(\\d{4})-(\\d{2})", "\\.\\w+$"];
const WORDS: &[&str] =
    &["main", "triage", "Ada Lovelace", "v2.0.1", "octocat", "feature/login", "42nd", "eu-west-1", "x"];

/// Arguments that the tool accepts; `None` when none were found.
pub fn arguments(rng: &mut Rng, tool: &Tool) -> Option<Value> {
    (0..8)
        .map(|_| value(rng, &tool.schema, &tool.schema, "", 0))
        .find(|value| value.as_object().is_some_and(|object| !object.is_empty()) && tool.accepts(value))
}

fn value(rng: &mut Rng, schema: &Value, root: &Value, key: &str, depth: usize) -> Value {
    if let Some(place) = schema["$ref"].as_str() {
        let target = root.pointer(place.trim_start_matches('#')).unwrap_or(&Value::Null);
        return if depth > DEPTH_MAX { Value::Null } else { value(rng, target, root, key, depth + 1) };
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(choices) = schema["enum"].as_array() {
        return rng.choice(choices).cloned().unwrap_or_default();
    }
    for union in ["anyOf", "oneOf"] {
        if let Some(branches) = schema[union].as_array() {
            return rng.choice(branches).map_or(Value::Null, |branch| value(rng, branch, root, key, depth + 1));
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => rng.choice(kinds).and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => object(rng, schema, root, depth),
        None if schema["properties"].is_object() => object(rng, schema, root, depth),
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(0).max(u64::from(rng.u8(..4) > 0));
            let most = schema["maxItems"].as_u64().unwrap_or(3).max(least);
            (0..rng.u64(least..=most.min(least + 2)))
                .map(|_| value(rng, &schema["items"], root, key, depth + 1))
                .collect()
        }
        Some("integer") => json!(whole(rng, schema)),
        Some("number") if rng.bool() => json!(whole(rng, schema)),
        Some("number") => {
            let half = whole(rng, schema) as f64 + 0.5;
            json!(half)
        }
        Some("boolean") => json!(rng.bool()),
        Some("null") => Value::Null,
        _ => Value::String(text(rng, schema, key)),
    }
}

fn object(rng: &mut Rng, schema: &Value, root: &Value, depth: usize) -> Value {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut made = Map::new();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        if required.iter().any(|it| it == key) || (depth < DEPTH_MAX && rng.u8(..10) < 5) {
            made.insert(key.clone(), value(rng, schema, root, key, depth + 1));
        }
    }
    Value::Object(made)
}

fn whole(rng: &mut Rng, schema: &Value) -> i64 {
    let bound = |name: &str| schema[name].as_f64().map(|it| it.clamp(-1e12, 1e12) as i64);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|it| it + 1)).unwrap_or(1);
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|it| it - 1)).unwrap_or(least.saturating_add(500));
    rng.i64(least..=most.max(least))
}

fn text(rng: &mut Rng, schema: &Value, key: &str) -> String {
    let key = key.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| key.contains(word));
    let pool = match schema["format"].as_str() {
        Some("uri" | "url") => URLS,
        Some("date-time") => &["2026-11-21T08:30:00Z", "2026-02-28T23:59:59+02:00"],
        Some("date") => &["2026-11-21", "1999-12-31"],
        Some("uuid") => &["0192f0c1-4e7a-7cc3-98c4-dc0c0c07398f"],
        Some("email") => &["ada@example.org"],
        _ if has(&["regex", "pattern", "glob"]) => PATTERNS,
        _ if has(&["path", "file", "dir", "source", "destination"]) => PATHS,
        _ if has(&["url", "uri", "link"]) => URLS,
        _ if has(&["code", "script", "expression", "function", "sql", "text", "content"]) => CODE,
        _ if has(&["message", "body", "query", "description", "comment", "prompt", "title", "thought"]) => PROSE,
        _ => WORDS,
    };
    rng.choice(pool).copied().unwrap_or_default().to_owned()
}

/// An equal number in another spelling is equal; everything else must be the same.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || float(a) == float(b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn float(number: &Number) -> Option<f64> {
    number.as_f64()
}
