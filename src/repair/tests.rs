use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Effect, EffectSource, ToolDef, ToolName, WrittenCall};

/// Without any repair.
fn check(call: &WrittenCall, tools: &ToolSet) -> Outcome {
    repair(call, tools, |_| Policy::Off)
}

fn tool(name: &str, schema: Value) -> ToolDef {
    ToolDef {
        name: OfferedName(format!("fs__{name}").into()),
        origin: ToolName { server: "fs".to_owned(), tool: name.to_owned() },
        description: "".into(),
        input_schema: Arc::new(schema),
        effect: Effect::Write,
        effect_source: EffectSource::Default,
        repeatable: false,
        additive: false,
        hash: "".into(),
    }
}

fn tools() -> ToolSet {
    let edit = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string", "minLength": 1},
            "edits": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"old_text": {"type": "string"}, "new_text": {"type": "string"}, "line": {"type": ["integer", "null"]}},
                    "required": ["old_text", "new_text"],
                    "additionalProperties": false,
                },
            },
            "mode": {"enum": ["exact", "loose"]},
            "count": {"type": "integer", "minimum": 1, "maximum": 10},
            "when": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "target": {"oneOf": [
                {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            ]},
        },
        "required": ["path", "edits"],
    });
    let list = json!({"type": "object", "properties": {"limit": {"type": "integer"}}});
    let (tools, warnings) = ToolSet::new(
        [tool("edit", edit), tool("list", list), tool("any", json!({"additionalProperties": true}))].into(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    tools
}

fn written(name: &str, arguments: &str) -> WrittenCall {
    WrittenCall { provider_id: None, name: name.to_owned(), arguments: arguments.into(), complete: true, opaque: None }
}

fn exact(name: &str, arguments: &str) -> Outcome {
    Outcome::Exact(Valid { name: name.into(), arguments: arguments.into() })
}

#[test]
fn valid_calls_stay_byte_identical() {
    let calls = [
        ("fs__list", "{}"),
        ("fs__list", " \n{ \"limit\" : 1.0e1 }\t"),
        ("fs__list", r#"{"limit":1,"limit":1}"#),
        ("fs__edit", r#"{"edits":[],"path":"ü\u00fc\\"}"#),
        ("fs__edit", r#"{"path":"a","edits":[{"old_text":"{[","new_text":"\"","line":null}],"target":{"id":1}}"#),
        ("fs__any", r#"{"n":123456789012345678901234567890,"f":1.10}"#),
    ];
    for (name, arguments) in calls {
        assert_eq!(check(&written(name, arguments), &tools()), exact(name, arguments));
    }
}

#[test]
fn faults_are_told_exactly() {
    let calls = [
        // names
        ("", "{}"),
        ("fs__lst", "{}"),
        ("Edit", "{}"),
        // no JSON object
        ("fs__list", "null"),
        ("fs__list", "[1, 2]"),
        ("fs__list", "\"{}\""),
        ("fs__list", "list everything"),
        ("fs__list", "{'limit': 1}"),
        ("fs__list", r#"{"limit": 1,}"#),
        ("fs__list", r#"{"limit": 1}}"#),
        ("fs__list", r#"{"limit": 1} {"limit": 2}"#),
        ("fs__list", r#"{"limit": NaN}"#),
        ("fs__list", r#"{"limit": 1e999}"#),
        ("fs__list", r#"{"limit": 1, "limit": 2}"#),
        ("fs__list", "{\n  \"a\": \"l1\nl2\"\n}"),
        ("fs__list", r#"{"a": "\d"}"#),
        ("fs__list", r#"{"a": "\ud800"}"#),
        // cut
        ("fs__edit", r#"{"path": "a"#),
        ("fs__edit", r#"{"path": "a""#),
        ("fs__edit", r#"{"path": "a", "edits": ["#),
        // empty, where something is required
        ("fs__edit", ""),
        // does not fit
        ("fs__edit", "{}"),
        ("fs__edit", r#"{"path": 5, "edits": "x", "mode": "fuzzy", "count": 11}"#),
        (
            "fs__edit",
            r#"{"path": "", "edits": [{"old": "a", "new_text": "b", "line": "1"}], "when": [], "target": {}}"#,
        ),
        ("fs__list", r#"{"limit": 1.5}"#),
    ];
    let told: Vec<String> = calls
        .iter()
        .map(|(name, arguments)| match check(&written(name, arguments), &tools()) {
            Outcome::AskAgain(diagnosis) => {
                format!("{name} {arguments}\n=> {}: {}\n", diagnosis.class.as_str(), diagnosis.text)
            }
            other => panic!("{name} {arguments} is {other:?}"),
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_cut_call_is_never_valid() {
    let cut = WrittenCall { complete: false, ..written("fs__list", "{}") };
    match check(&cut, &tools()) {
        Outcome::AskAgain(diagnosis) => assert_eq!(diagnosis.class, Class::Truncated),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_arguments_are_an_empty_object_where_that_is_valid() {
    let (tools, call) = (tools(), written("fs__list", " "));
    assert!(matches!(check(&call, &tools), Outcome::AskAgain(_)));
    let Outcome::Repaired(valid, repairs) = repair(&call, &tools, |_| Policy::Lossless) else { panic!() };
    assert_eq!(valid, Valid { name: "fs__list".into(), arguments: "{}".into() });
    assert_eq!(repairs.iter().map(|repair| &*repair.kind).collect::<Vec<_>>(), ["empty_arguments"]);
}

#[test]
fn deep_and_long_arguments_are_refused() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(matches!(check(&written("fs__any", &nested(DEPTH_MAX - 1)), &tools()), Outcome::Exact(_)));
    for arguments in [nested(DEPTH_MAX), nested(100_000), format!("{{\"a\":\"{}\"}}", "x".repeat(JSON_BYTES_MAX))] {
        match check(&written("fs__any", &arguments), &tools()) {
            Outcome::AskAgain(diagnosis) => assert_eq!(diagnosis.class, Class::InvalidJson),
            other => panic!("{other:?}"),
        }
    }
}

/// A megabyte of every kind is checked; anything quadratic would not come back.
#[test]
fn a_megabyte_is_no_trouble() {
    let (tools, _) = ToolSet::new(
        [tool(
            "wide",
            json!({"properties": {
                "t": {"type": "string", "pattern": "^(a|a)*$"},
                "l": {"items": {"type": "integer"}},
                "u": {"uniqueItems": true, "items": {"$ref": "#/$defs/o"}},
                "o": {"additionalProperties": {"type": "integer"}, "minProperties": 1},
                "x": {},
            }, "$defs": {"o": {"type": "object"}}}),
        )]
        .into(),
    );
    let list = |item: &dyn Fn(usize) -> String, count: usize| (0..count).map(item).collect::<Vec<_>>().join(",");
    let valid = [
        format!("{{\"t\":\"{}\"}}", "a".repeat(1 << 20)),
        format!("{{\"l\":[{}]}}", list(&|i| i.to_string(), 150_000)),
        format!("{{\"u\":[{}]}}", list(&|i| format!("{{\"a\":{i}}}"), 80_000)),
        format!("{{\"o\":{{{}}}}}", list(&|i| format!("\"k{i}\":{i}"), 70_000)),
        format!("{{\"x\":\"{}\"}}", "\\\"".repeat(1 << 19)),
    ];
    for arguments in valid {
        assert!(matches!(check(&written("fs__wide", &arguments), &tools), Outcome::Exact(_)), "{}", &arguments[..40]);
    }
    let invalid = [
        (Class::SchemaMismatch, format!("{{\"t\":\"{}b\"}}", "a".repeat(1 << 20))),
        (Class::SchemaMismatch, format!("{{\"l\":[{}]}}", list(&|i| format!("\"{i}\""), 100_000))),
        (Class::SchemaMismatch, format!("{{\"u\":[{}]}}", list(&|_| "{}".to_owned(), 300_000))),
        (Class::SchemaMismatch, format!("{{\"u\":[{}]}}", list(&|i| i.to_string(), 150_000))),
        (Class::Truncated, "{".repeat(1 << 20)),
        (Class::Truncated, "{\"".repeat(1 << 19)),
        (Class::InvalidJson, "\n".repeat(1 << 20) + "x"),
    ];
    for (class, arguments) in invalid {
        match check(&written("fs__wide", &arguments), &tools) {
            Outcome::AskAgain(diagnosis) => {
                assert_eq!(diagnosis.class, class);
                assert!(diagnosis.text.len() <= DIAGNOSIS_BYTES_MAX);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_diagnosis_is_cut_on_a_character() {
    let key = "ü".repeat(5000);
    let bad = format!("{{\"path\":{{\"{key}\":1}},\"edits\":[{}]}}", vec![format!("{{\"{key}\":1}}"); 20].join(","));
    match check(&written("fs__edit", &bad), &tools()) {
        Outcome::AskAgain(diagnosis) => {
            assert_eq!(diagnosis.class, Class::SchemaMismatch);
            assert!(diagnosis.text.len() <= DIAGNOSIS_BYTES_MAX);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn many_tools_are_named_nearest_first() {
    let all: Vec<ToolDef> = (0..40).map(|i| tool(&format!("tool_{i}"), json!({}))).collect();
    let (tools, _) = ToolSet::new(all.into());
    match check(&written("fs__tool_3z", "{}"), &tools) {
        Outcome::AskAgain(diagnosis) => {
            insta::assert_snapshot!(diagnosis.text, @r#"there is no tool "fs__tool_3z"; the nearest of 40 are: fs__tool_3, fs__tool_30, fs__tool_31, fs__tool_32, fs__tool_33, fs__tool_34, fs__tool_35, fs__tool_36, fs__tool_37, fs__tool_38"#)
        }
        other => panic!("{other:?}"),
    }
}

/// A tool whose schema is no good costs itself its checks, and nothing else.
/// Compiled schemas are kept by the hash of their tool, which a server could give to two.
#[test]
fn tools_of_one_hash_keep_their_own_schemas() {
    let one = tool("one", json!({"type": "object", "required": ["a"]}));
    let two = tool("two", json!({"type": "object", "required": ["b"]}));
    for _ in 0..2 {
        let (tools, _) = ToolSet::new([one.clone(), two.clone()].into());
        for (name, fits, not) in [("fs__one", r#"{"a":1}"#, r#"{"b":1}"#), ("fs__two", r#"{"b":1}"#, r#"{"a":1}"#)] {
            assert_eq!(check(&written(name, fits), &tools), exact(name, fits));
            assert!(matches!(check(&written(name, not), &tools), Outcome::AskAgain(_)), "{name}");
        }
    }
}

#[test]
fn unusable_schemas_are_warned_of() {
    let doubling: Value = (0..40)
        .map(|i| {
            (
                format!("d{i}"),
                json!({"allOf": [{"$ref": format!("#/$defs/d{}", i + 1)}, {"$ref": format!("#/$defs/d{}", i + 1)}]}),
            )
        })
        .chain([("d40".to_owned(), json!({}))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    let twenty: Value = doubling
        .as_object()
        .unwrap()
        .iter()
        .skip(26)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let chain: Value = (0..5000)
        .map(|i| (format!("d{i}"), json!({"$ref": format!("#/$defs/d{}", i + 1)})))
        .chain([("d5000".to_owned(), json!({}))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({"items": deep});
    }
    let schemas = [
        json!({"$ref": "https://example.com/a.json"}),
        json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
        json!({"$ref": "#/$defs/nowhere"}),
        json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/d0", "$defs": doubling}),
        json!({"$ref": "#/$defs/d26", "$defs": twenty}),
        json!({"$ref": "#/$defs/d0", "$defs": chain}),
        deep,
        json!({"properties": {"a": {"type": "strin"}}}),
        json!({"properties": {"a": {"pattern": "("}}}),
        json!({"properties": {"a": {"pattern": "((a{1000}){1000}){1000}"}}}),
        json!("no schema"),
    ];
    let all: Vec<ToolDef> = schemas.into_iter().enumerate().map(|(i, schema)| tool(&format!("t{i}"), schema)).collect();
    let count = all.len();
    let (tools, warnings) = ToolSet::new(all.into());
    insta::assert_snapshot!(warnings.join("\n"));
    for i in 0..count {
        let name = format!("fs__t{i}");
        assert_eq!(check(&written(&name, r#"{"a":1}"#), &tools), exact(&name, r#"{"a":1}"#));
        assert!(matches!(check(&written(&name, "[]"), &tools), Outcome::AskAgain(_)));
    }
}

#[test]
fn older_drafts_are_read() {
    let schemas = [
        json!({"properties": {"a": {"minimum": 3, "exclusiveMinimum": true}}}),
        json!({"properties": {"a": {"minimum": 3, "exclusiveMinimum": true}}, "$schema": "http://json-schema.org/draft-04/schema#"}),
        json!({"properties": {"a": {"items": [{"type": "integer"}], "exclusiveMinimum": 3}}}),
        json!({"properties": {"a": {"exclusiveMinimum": 3}}, "$schema": "https://json-schema.org/draft-07/schema"}),
    ];
    let unknown = json!({"properties": {"a": {"exclusiveMinimum": 3}}, "$schema": "https://example.com/private"});
    assert_eq!(Schema::compile(&Arc::new(unknown)).unwrap_err().path, "/$schema");
    for schema in schemas {
        let schema = Schema::compile(&Arc::new(schema)).unwrap();
        assert!(schema.check(r#"{"a": 4}"#).is_ok());
        assert!(schema.check(r#"{"a": 3}"#).is_err());
    }
}

/// Yes or no on a recursive schema takes polynomial time; the report of errors would not, and is left out.
#[test]
fn recursive_schemas_do_not_explode() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}},
        "additionalProperties": false,
    });
    let schema = Schema::compile(&Arc::new(schema)).unwrap();
    let nested = |depth: usize, core: &str| format!("{}{core}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(schema.check(&nested(60, "{}")).is_ok());
    let shallow = schema.check(&nested(2, "3")).unwrap_err();
    insta::assert_snapshot!(shallow.text);
    let deep = schema.check(&nested(60, "3")).unwrap_err();
    insta::assert_snapshot!(deep.text, @r"
    the answer does not fit its schema:
    - the whole: too intricate to say where it goes wrong
    ");
}

/// The longest chain of references at each level of the deepest value: on the 2 MiB stack of a test thread.
#[test]
fn the_worst_schema_fits_the_stack() {
    let mut chain: Value = (0..29)
        .map(|i| (format!("d{i}"), json!({"allOf": [{"$ref": format!("#/$defs/d{}", i + 2)}], "description": i})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for end in ["d29", "d30"] {
        chain[end] =
            json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "unevaluatedProperties": false});
    }
    let schema = Schema::compile(&Arc::new(json!({"$ref": "#/$defs/d0", "$defs": chain}))).unwrap();
    let nested = |core: &str| format!("{}{core}{}", "{\"a\":".repeat(DEPTH_MAX - 1), "}".repeat(DEPTH_MAX - 1));
    assert!(schema.check(&nested("{}")).is_ok());
    assert!(schema.check(&nested("3")).is_err());
}

/// Patterns of untrusted servers: none is slow, and one that cannot be decided does not stop the call.
#[test]
fn regex_bombs_are_harmless() {
    let long = format!("{{\"a\":\"{}\"}}", "a".repeat(50_000));
    for (pattern, fits) in [("^(a+)+$", true), ("(x+x+)+y", false), ("^(?!.*b)(a|aa)+$", true), ("^(a|a)*\\1$", true)] {
        let schema = Schema::compile(&Arc::new(json!({"properties": {"a": {"pattern": pattern}}}))).unwrap();
        assert_eq!(schema.check(&long).is_ok(), fits, "{pattern}");
    }
}

#[test]
fn formats_are_annotations() {
    for draft in ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"] {
        let schema = json!({"$schema": draft, "properties": {"a": {"format": "email"}}});
        assert!(Schema::compile(&Arc::new(schema)).unwrap().check(r#"{"a": "nobody"}"#).is_ok());
    }
}

#[test]
fn outputs_are_checked() {
    let schema =
        json!({"type": "object", "properties": {"severity": {"enum": ["low", "high"]}}, "required": ["severity"]});
    let schema = Schema::compile(&Arc::new(schema)).unwrap();
    assert_eq!(schema.check(r#" {"severity": "low"}"#), Ok(json!({"severity": "low"})));
    let told: Vec<String> = [
        "",
        "It is low.",
        "```json\n{\"severity\": \"low\"}\n```",
        "{\"severity\": \"lo",
        "{}",
        r#"{"severity": "urgent"}"#,
    ]
    .iter()
    .map(|text| {
        schema.check(text).map_err(|diagnosis| format!("{}: {}", diagnosis.class.as_str(), diagnosis.text)).unwrap_err()
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn completeness_looks_at_strings_and_brackets() {
    for text in ["", "{}", r#"{"a":"}"}"#, r#"{"a":"\""}"#, "}", "12", "no json"] {
        assert!(complete_json(text), "{text}");
    }
    for text in ["{", r#"{"a":"}"#, r#"{"a":"\"}"#, "[1, [2]", "\""] {
        assert!(!complete_json(text), "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((".{0,4}", inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever comes: an answer, and one of a bounded size.
    #[test]
    fn checking_never_panics(name in "(fs__edit|fs__list|fs__any|.*)", text in r#"([\[\]{}",:\\a0 ]|\PC)*"#, complete: bool) {
        let call = WrittenCall { complete, ..written(&name, &text) };
        if let Outcome::AskAgain(diagnosis) = check(&call, &tools()) {
            prop_assert!(diagnosis.text.len() <= DIAGNOSIS_BYTES_MAX);
        }
    }

    /// Any object is left alone by a tool that takes any; cut anywhere, it is never executed.
    #[test]
    fn objects_are_exact_and_cut_ones_never(value in any_json(), pretty: bool, at: prop::sample::Index) {
        let text = json!({"value": value});
        let text = if pretty { serde_json::to_string_pretty(&text).unwrap() } else { text.to_string() };
        prop_assert_eq!(check(&written("fs__any", &text), &tools()), exact("fs__any", &text));
        let cut = &text[..clip::boundary(&text, 1 + at.index(text.len() - 1))];
        prop_assert!(matches!(check(&written("fs__any", cut), &tools()), Outcome::AskAgain(_)), "{}", cut);
    }

    /// Values that do not fit are refused with a bounded report, whatever they are.
    #[test]
    fn misfits_are_told(value in any_json()) {
        let text = json!({"path": value, "edits": [value], "when": value, "target": value, "count": value}).to_string();
        if let Outcome::AskAgain(diagnosis) = check(&written("fs__edit", &text), &tools()) {
            prop_assert_eq!(diagnosis.class, Class::SchemaMismatch);
            prop_assert!(diagnosis.text.len() <= DIAGNOSIS_BYTES_MAX);
        }
    }
}
