//! What becomes of schemas: by the table, and of generated ones with the values that they accept.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    ANTHROPIC, ANTHROPIC_OUTPUT, Budget, GEMINI_JSON, GEMINI_OUTPUT, GEMINI_PARAMETERS, INLINED_PLACES_MAX, OPENAI,
    OPENAI_STRICT, Subset, reduce, strict,
    subset::{Objects, Types},
    unfilled,
};
use crate::repair::Schema;

const ALL: [(&str, Subset); 7] = [
    ("openai", OPENAI),
    ("openai strict", OPENAI_STRICT),
    ("anthropic", ANTHROPIC),
    ("anthropic output", ANTHROPIC_OUTPUT),
    ("gemini parameters", GEMINI_PARAMETERS),
    ("gemini json", GEMINI_JSON),
    ("gemini output", GEMINI_OUTPUT),
];

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

#[track_caller]
fn check(subset: &Subset, rows: &[(&str, Value, Value)]) {
    for (name, schema, expected) in rows {
        assert_eq!(*reduce(schema, subset), *expected, "{name}");
    }
}

#[test]
fn what_is_good_already_is_borrowed() {
    let plain =
        json!({"type": "object", "properties": {"a": {"type": "string", "description": "A."}}, "required": ["a"]});
    for (name, subset) in ALL.iter().filter(|(name, _)| !matches!(*name, "openai strict" | "anthropic output")) {
        assert!(matches!(reduce(&plain, subset), std::borrow::Cow::Borrowed(_)), "{name}");
    }
    let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    for subset in [OPENAI_STRICT, ANTHROPIC_OUTPUT] {
        assert!(matches!(reduce(&closed, &subset), std::borrow::Cow::Borrowed(_)));
    }
    let intricate = json!({"$schema": "x", "type": "object", "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"not": {}}}, "$defs": {"a": {}}});
    for subset in [OPENAI, ANTHROPIC] {
        assert!(matches!(reduce(&intricate, &subset), std::borrow::Cow::Borrowed(_)), "below the root anything goes");
    }
}

#[test]
fn what_is_no_schema_of_an_object_takes_any_object() {
    let rows = [
        json!(true),
        json!(false),
        json!(null),
        json!("x"),
        json!([]),
        json!({}),
        json!({"type": "string"}),
        json!({"type": 7, "properties": []}),
    ];
    for schema in rows {
        for (name, subset) in ALL.iter().filter(|(name, _)| *name != "gemini output") {
            let reduced = reduce(&schema, subset);
            assert_eq!(reduced["type"], "object", "{name}: {schema}");
            assert_eq!(reduced["properties"], json!({}), "{name}: {schema}");
        }
    }
    assert_eq!(
        *reduce(&json!({"type": "array", "items": {"type": "string"}}), &GEMINI_OUTPUT),
        json!({"type": "array", "items": {"type": "string"}}),
        "an answer may be a list"
    );
}

/// Pitfall 19: Anthropic refuses the whole request, and OpenAI too.
#[test]
fn unions_at_the_root_become_one_object() {
    for subset in [OPENAI, ANTHROPIC, GEMINI_JSON, GEMINI_PARAMETERS] {
        check(
            &subset,
            &[
                (
                    "any of: properties united, required intersected",
                    json!({"anyOf": [
                        {"type": "object", "properties": {"a": {"type": "string", "description": "A."}, "c": {"type": "string"}}, "required": ["a", "c"]},
                        {"type": "object", "properties": {"b": {"type": "integer"}, "c": {"type": "string"}}, "required": ["b", "c"]},
                    ]}),
                    json!({"type": "object", "properties": {"a": {"type": "string", "description": "A."}, "c": {"type": "string"}, "b": {"type": "integer"}}, "required": ["c"]}),
                ),
                (
                    "one of, with tags, beside own properties",
                    json!({"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "oneOf": [
                        {"properties": {"kind": {"type": "string", "enum": ["x"]}}, "required": ["kind"]},
                        {"properties": {"kind": {"type": "string", "enum": ["y"]}}, "required": ["kind"]},
                    ]}),
                    json!({"type": "object", "properties": {"id": {"type": "string"}, "kind": {"type": "string", "enum": ["x", "y"]}}, "required": ["id", "kind"]}),
                ),
                (
                    "all of: required united",
                    json!({"allOf": [
                        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                        {"$ref": "#/$defs/more"},
                    ], "$defs": {"more": {"properties": {"b": {"type": "string"}}, "required": ["b"]}}}),
                    {
                        let merged = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]});
                        match subset.places {
                            Some(_) => merged,
                            None => {
                                let mut merged = merged;
                                merged["$defs"] =
                                    json!({"more": {"properties": {"b": {"type": "string"}}, "required": ["b"]}});
                                merged
                            }
                        }
                    },
                ),
                (
                    "null is no object",
                    json!({"anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]}),
                    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
                ),
                ("a root that is its own reference", json!({"$ref": "#"}), object(json!({}))),
            ],
        );
    }
}

#[test]
fn references_are_put_in_place() {
    let defs = json!({"point": {"type": "object", "properties": {"x": {"type": "number", "description": "Right."}}}, "node": {"type": "object", "description": "A node.", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}});
    let with = |properties: Value| json!({"type": "object", "properties": properties, "$defs": defs});
    check(
        &GEMINI_JSON,
        &[
            ("plain", with(json!({"p": {"$ref": "#/$defs/point"}})), object(json!({"p": defs["point"]}))),
            (
                "with words of its own",
                with(json!({"p": {"$ref": "#/$defs/node", "description": "The first."}})),
                object(
                    json!({"p": {"type": "object", "description": "The first.", "properties": {"next": {"type": "object", "description": "A node."}, "name": {"type": "string"}}}}),
                ),
            ),
            (
                "a circle becomes the bare type",
                with(json!({"p": {"$ref": "#/$defs/node"}})),
                object(
                    json!({"p": {"type": "object", "description": "A node.", "properties": {"next": {"type": "object", "description": "A node."}, "name": {"type": "string"}}}}),
                ),
            ),
            (
                "into properties",
                json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}}),
                object(json!({"a": {"type": "string"}, "b": {"type": "string"}})),
            ),
            (
                "to nothing, and elsewhere",
                with(
                    json!({"a": {"$ref": "#/$defs/none", "description": "A."}, "b": {"$ref": "https://example.com/x"}}),
                ),
                object(json!({"a": {"description": "A."}, "b": {}})),
            ),
            (
                "the whole",
                json!({"type": "object", "properties": {"child": {"$ref": "#"}}}),
                object(json!({"child": {"type": "object", "properties": {"child": {"type": "object"}}}})),
            ),
        ],
    );
    let strict =
        reduce(&with(json!({"p": {"$ref": "#/$defs/node", "description": "The first."}})), &OPENAI_STRICT).into_owned();
    assert_eq!(
        strict["properties"]["p"],
        json!({"description": "The first.", "anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    );
    assert_eq!(
        strict["$defs"]["node"]["properties"]["next"],
        json!({"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
    );
}

#[test]
fn references_do_not_explode() {
    let defs: Map<String, Value> = (0..40)
        .map(|n| {
            (
                format!("d{n}"),
                object(
                    json!({"a": {"$ref": format!("#/$defs/d{}", n + 1)}, "b": {"$ref": format!("#/$defs/d{}", n + 1)}}),
                ),
            )
        })
        .collect();
    let schema = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/d0"}}, "$defs": defs});
    fn places(value: &Value) -> usize {
        match value {
            Value::Object(members) => 1 + members.values().map(places).sum::<usize>(),
            Value::Array(items) => items.iter().map(places).sum(),
            _ => 0,
        }
    }
    for (name, subset) in ALL {
        assert!(places(&reduce(&schema, &subset)) < 4 * INLINED_PLACES_MAX, "{name}");
    }
    let unions = |mut schema: Value| {
        for n in 0..30 {
            schema = json!({"type": "object", "properties": {"a": schema}, "anyOf": [{"required": ["a"]}, {"properties": {"b": {"const": n}}}]});
        }
        schema
    };
    for (name, subset) in ALL {
        assert!(places(&reduce(&unions(json!({})), &subset)) < 1000, "{name}");
    }
}

/// Pitfall 20: what Gemini's `parameters` refuses.
#[test]
fn gemini_parameters() {
    let any = || reduce(&object(json!({"x": {}})), &GEMINI_PARAMETERS)["properties"]["x"].clone();
    let items =
        || reduce(&object(json!({"x": {"type": "array"}})), &GEMINI_PARAMETERS)["properties"]["x"]["items"].clone();
    let rows = [
        (
            "meta keywords",
            json!({"$schema": "x", "$id": "y", "type": "string", "examples": ["a"]}),
            json!({"type": "string"}),
        ),
        (
            "closed objects",
            json!({"type": "object", "properties": {}, "additionalProperties": false, "propertyNames": {"pattern": "a"}}),
            json!({"type": "object", "properties": {}}),
        ),
        (
            "exclusive bounds",
            json!({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 2.5}),
            json!({"type": "number", "minimum": 1, "maximum": 2.5}),
        ),
        ("a constant", json!({"const": "a"}), json!({"type": "string", "enum": ["a"]})),
        (
            "a constant number",
            json!({"const": 7, "description": "Seven."}),
            json!({"type": "integer", "description": "Seven. One of: 7."}),
        ),
        (
            "typed lists with null",
            json!({"type": ["string", "null"], "minLength": 1}),
            json!({"type": "string", "minLength": 1, "nullable": true}),
        ),
        (
            "typed lists",
            json!({"type": ["string", "integer"], "minLength": 1, "minimum": 0}),
            json!({"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}]}),
        ),
        (
            "typed lists of three",
            json!({"type": ["string", "integer", "null"]}),
            json!({"anyOf": [{"type": "string", "nullable": true}, {"type": "integer", "nullable": true}]}),
        ),
        (
            "numbers to choose from",
            json!({"type": "integer", "enum": [1, 2]}),
            json!({"type": "integer", "description": "One of: 1, 2."}),
        ),
        (
            "an empty choice",
            json!({"type": "string", "enum": ["", "a"]}),
            json!({"type": "string", "description": "One of: \"\", \"a\"."}),
        ),
        ("no choice", json!({"type": "string", "enum": []}), json!({"type": "string"})),
        (
            "a choice with null",
            json!({"enum": ["a", null]}),
            json!({"type": "string", "enum": ["a"], "nullable": true}),
        ),
        (
            "a union with null",
            json!({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "A.", "default": null}),
            json!({"type": "string", "description": "A.", "nullable": true, "default": null}),
        ),
        (
            "a union stands alone",
            json!({"description": "A.", "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
            json!({"anyOf": [{"type": "string", "description": "A."}, {"type": "array", "items": {"type": "string"}, "description": "A."}]}),
        ),
        (
            "an object's union",
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "anyOf": [{"required": ["a"]}, {"properties": {"b": {"type": "string"}}}]}),
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}),
        ),
        ("formats", json!({"type": "string", "format": "uri"}), json!({"type": "string"})),
        (
            "the format there is",
            json!({"type": "string", "format": "date-time"}),
            json!({"type": "string", "format": "date-time"}),
        ),
        (
            "tuples",
            json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            json!({"type": "array", "items": items()}),
        ),
        (
            "required and not listed",
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b"]}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        ),
        (
            "properties named like keywords",
            object(json!({"const": {"type": "string"}, "$ref": {"type": "string"}})),
            object(json!({"const": {"type": "string"}, "$ref": {"type": "string"}})),
        ),
        ("true", json!(true), any()),
        ("all of", json!({"allOf": [{"type": "string"}, {"minLength": 2}]}), json!({"type": "string", "minLength": 2})),
    ];
    for (name, place, expected) in rows {
        assert_eq!(reduce(&object(json!({"p": place})), &GEMINI_PARAMETERS)["properties"]["p"], expected, "{name}");
    }
}

#[test]
fn gemini_json() {
    let rows = [
        ("typed lists with null", json!({"type": ["string", "null"]}), json!({"type": ["string", "null"]})),
        (
            "typed lists",
            json!({"type": ["string", "integer"]}),
            json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ),
        ("a constant", json!({"const": "a"}), json!({"enum": ["a"]})),
        ("numbers to choose from", json!({"enum": [1, 2]}), json!({"enum": [1, 2]})),
        (
            "a choice with null",
            json!({"type": ["string", "null"], "enum": ["a", null]}),
            json!({"anyOf": [{"enum": ["a"], "type": "string"}, {"type": "null"}]}),
        ),
        ("truth to choose from", json!({"const": true}), json!({"description": "One of: true.", "type": "boolean"})),
        (
            "one of",
            json!({"oneOf": [{"type": "string"}, {"type": "null"}]}),
            json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ),
        (
            "maps",
            json!({"type": "object", "additionalProperties": {"type": "string", "pattern": "x"}}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
        ),
        (
            "patterns of names",
            json!({"type": "object", "patternProperties": {"a": {}}, "additionalProperties": false}),
            json!({"type": "object"}),
        ),
        (
            "tuples",
            json!({"type": "array", "prefixItems": [{"const": 1}], "items": false}),
            json!({"type": "array", "prefixItems": [{"enum": [1]}]}),
        ),
    ];
    for (name, place, expected) in rows {
        assert_eq!(reduce(&object(json!({"p": place})), &GEMINI_JSON)["properties"]["p"], expected, "{name}");
    }
}

/// Pitfall 21: every key required, optional ones nullable.
#[test]
fn openai_strict() {
    let schema = json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "minLength": 1},
            "b": {"type": "integer", "description": "B."},
            "c": {"enum": ["x", "y"], "description": "C."},
            "d": {"type": "array", "items": {"properties": {"e": {"type": ["string", "null"]}}, "type": "object"}},
        },
        "required": ["a"],
    });
    let expected = json!({
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": ["integer", "null"], "description": "B."},
            "c": {"description": "C.", "anyOf": [{"enum": ["x", "y"]}, {"type": "null"}]},
            "d": {"type": ["array", "null"], "items": {
                "type": "object", "properties": {"e": {"type": ["string", "null"]}}, "required": ["e"], "additionalProperties": false,
            }},
        },
        "required": ["a", "b", "c", "d"],
        "additionalProperties": false,
    });
    assert_eq!(*reduce(&schema, &OPENAI_STRICT), expected);
}

/// A schema is offered as strict only if the strict form says all that it says.
#[test]
fn what_would_lose_its_meaning_is_not_strict() {
    let with = |place: Value| json!({"type": "object", "properties": {"p": place}, "required": ["p"]});
    let kept = [
        ("no parameters", json!({"type": "object"})),
        ("a text", with(json!({"type": "string", "title": "P", "description": "A p.", "format": "ipv7"}))),
        ("a bound", with(json!({"type": "integer", "minimum": 1}))),
        ("a choice", with(json!({"enum": ["a", 1, null]}))),
        ("a list of choices", with(json!({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1}))),
        (
            "a union",
            with(json!({"oneOf": [{"type": "string"}, {"type": "object", "properties": {"x": {"const": 1}}}]})),
        ),
        (
            "a wrapped reference",
            json!({"properties": {"p": {"allOf": [{"$ref": "#/$defs/p"}]}}, "$defs": {"p": {"type": "string"}}}),
        ),
        (
            "a tree",
            json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/p"}}, "$defs": {"p": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/p"}, {"type": "null"}]}}}}}),
        ),
        ("closed", json!({"type": "object", "properties": {}, "additionalProperties": false, "$schema": "x"})),
    ];
    for (name, schema) in kept {
        let strict = strict(&schema, &OPENAI_STRICT).unwrap_or_else(|| panic!("{name}: {schema}"));
        assert_eq!(breaks(&strict, &OPENAI_STRICT), None, "{name}: {strict}");
    }
    let lost = [
        ("anything", json!(true)),
        ("a union at the root", json!({"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}]})),
        ("an open object", json!({"type": "object", "properties": {}, "additionalProperties": true})),
        ("a map", with(json!({"type": "object", "additionalProperties": {"type": "string"}}))),
        ("any object", with(json!({"type": "object"}))),
        ("any list", with(json!({"type": "array"}))),
        ("any value", with(json!({"description": "Whatever."}))),
        ("a length", with(json!({"type": "string", "maxLength": 10}))),
        ("a denial", with(json!({"type": "string", "not": {"const": "x"}}))),
        ("a condition", with(json!({"type": "object", "properties": {}, "if": {}, "then": {}}))),
        ("names by pattern", with(json!({"type": "object", "properties": {}, "patternProperties": {"^x": {}}}))),
        ("a tuple", with(json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "string"}}))),
        ("a choice of objects", with(json!({"enum": [{"a": 1}]}))),
        ("all of several", with(json!({"allOf": [{"type": "string"}, {"pattern": "x"}]}))),
        ("a reference to nowhere", with(json!({"$ref": "#/$defs/none"}))),
        ("a reference elsewhere", with(json!({"$ref": "https://example.com/schema"}))),
        ("a name that is required and unknown", json!({"type": "object", "properties": {}, "required": ["a"]})),
        (
            "null or nothing, and they differ",
            json!({"type": "object", "properties": {"p": {"type": ["string", "null"], "default": "x"}}}),
        ),
        (
            "too deep",
            (0..12).fold(json!({"type": "string"}), |inner, _| json!({"type": "object", "properties": {"p": inner}})),
        ),
    ];
    for (name, schema) in lost {
        assert_eq!(strict(&schema, &OPENAI_STRICT), None, "{name}: {schema}");
    }
    let tree = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/p"}}, "$defs": {"p": {"type": "object", "properties": {"p": {"$ref": "#/$defs/p"}}}}});
    assert_eq!(strict(&tree, &ANTHROPIC_OUTPUT), None, "references are put in place there, and this one has no end");
    let default =
        json!({"type": "object", "properties": {"n": {"type": "integer", "default": 3, "description": "How many."}}});
    let told = strict(&default, &OPENAI_STRICT).unwrap();
    assert_eq!(told["properties"]["n"], json!({"type": ["integer", "null"], "description": "How many. Default: 3."}));
}

#[test]
fn a_budget_is_for_all_tools_together() {
    let optional = |n: usize| {
        let properties = (0..n).map(|n| (n.to_string(), json!({"type": "string"}))).collect();
        json!({"type": "object", "properties": Value::Object(properties)})
    };
    let mut budget = Budget::ANTHROPIC;
    let taken = [optional(20), optional(5), optional(4), optional(1), optional(0)].map(|schema| budget.take(&schema));
    assert_eq!(taken, [true, false, true, false, true]);
    let mut budget = Budget::ANTHROPIC;
    assert_eq!((0..30).filter(|_| budget.take(&optional(0))).count(), 20);
    let union = object(json!({"a": {"type": ["string", "null"]}, "b": {"anyOf": [{}, {}]}}));
    let union = json!({"required": ["a", "b"], "properties": union["properties"]});
    let mut budget = Budget::ANTHROPIC;
    assert_eq!((0..30).filter(|_| budget.take(&union)).count(), 8);
}

/// Only what the strict form has put there goes: null, where the original has none and wants nothing.
#[test]
fn only_nulls_that_stand_for_nothing_go() {
    let schema = json!({
        "type": "object",
        "properties": {
            "must": {"type": "string"},
            "may": {"type": "string"},
            "nullable": {"type": ["string", "null"]},
            "choice": {"enum": ["a", "b"]},
            "inner": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "list": {"type": "array", "items": {"$ref": "#/$defs/item"}},
            "either": {"anyOf": [
                {"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
                {"type": "object", "properties": {"kind": {"const": "b"}, "x": {"type": "null"}}, "required": ["kind"]},
            ]},
        },
        "required": ["must"],
        "$defs": {"item": {"type": "object", "properties": {"n": {"type": "number"}, "next": {"$ref": "#/$defs/item"}}}},
    });
    for (text, expected) in [
        (r#"{"must": "x", "may": null}"#, Some(r#"{"must":"x"}"#)),
        (r#"{"must": "x", "may": "null"}"#, None),
        (r#"{"must": null}"#, None),
        (r#"{"must": "x", "nullable": null}"#, None),
        (r#"{"must": "x", "unknown": null}"#, None),
        (r#"{"choice": null, "must": "\u0041", "n": 1.0}"#, Some(r#"{"must":"\u0041","n":1.0}"#)),
        (r#"{"inner": {"x": null}, "must": "x"}"#, Some(r#"{"inner":{},"must":"x"}"#)),
        (
            r#"{"list": [{"n": 12345678901234567890123, "next": null}, {"next": {"n": 1, "next": null}}]}"#,
            Some(r#"{"list":[{"n":12345678901234567890123},{"next":{"n":1}}]}"#),
        ),
        (r#"{"either": {"kind": "b", "x": null}}"#, None),
        (r#"{"may": null, "may": "x"}"#, None),
        (r#"{"may": null"#, None),
        ("null", None),
    ] {
        assert_eq!(unfilled(text, &schema).as_deref(), expected, "{text}");
    }
    // A reference that runs in circles through unions ends.
    let circle = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}});
    assert_eq!(unfilled(r#"{"p": {"x": null}}"#, &circle), None);
}

/// The value with null for each property that a strict schema has and the value has not.
fn filled(value: &Value, schema: &Value) -> Value {
    match (value, schema.get("properties")) {
        (Value::Object(members), Some(Value::Object(properties))) => {
            let fill = |(name, schema): (&String, &Value)| {
                (name.clone(), members.get(name).map_or(Value::Null, |value| filled(value, schema)))
            };
            Value::Object(properties.iter().map(fill).collect())
        }
        (Value::Array(items), _) => items.iter().map(|item| filled(item, &schema["items"])).collect(),
        _ => value.clone(),
    }
}

/// A schema and a value that it is likely to accept.
type Pair = (Value, Value);

fn described(pair: Pair, text: Option<&str>) -> Pair {
    let (mut schema, value) = pair;
    if let Some(text) = text {
        schema["description"] = text.into();
    }
    (schema, value)
}

fn leaf() -> impl Strategy<Value = Pair> {
    let row = |schema: Value, value: Value| Just((schema, value));
    prop_oneof![
        row(json!({"type": "string", "minLength": 1, "pattern": "^a"}), json!("ab")),
        row(json!({"type": "string", "format": "uri"}), json!("x:y")),
        row(json!({"type": "integer", "exclusiveMinimum": 1, "maximum": 9}), json!(5)),
        row(json!({"type": "number", "multipleOf": 0.5}), json!(2.5)),
        row(json!({"type": ["string", "null"]}), json!(null)),
        row(json!({"type": ["integer", "string"], "minimum": 3, "maxLength": 2}), json!("x")),
        row(json!({"type": ["integer", "string", "null"], "enum": [1, "a", null]}), json!(1)),
        row(json!({"enum": ["a", "b"]}), json!("b")),
        row(json!({"enum": ["a", null, 3, true]}), json!(true)),
        row(json!({"enum": ["a", null]}), json!(null)),
        row(json!({"enum": [[1], {}]}), json!([1])),
        row(json!({"const": 7}), json!(7)),
        row(json!({"const": null}), json!(null)),
        row(json!({"const": {"k": 1}}), json!({"k": 1})),
        row(json!({"type": "boolean", "default": false}), json!(true)),
        row(json!({"type": "null"}), json!(null)),
        row(json!({}), json!({"any": 1})),
        row(json!({}), json!("any")),
        row(json!({"not": {"type": "string"}}), json!(1)),
        row(json!({"type": "array"}), json!(["x", 1])),
        row(
            json!({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}}),
            json!(["x", 1])
        ),
        row(
            json!({"type": "object", "patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false}),
            json!({"xa": "y"})
        ),
        row(json!({"$ref": "#/$defs/tag"}), json!("t")),
        row(
            json!({"$ref": "#/$defs/node", "minProperties": 1}),
            json!({"name": "a", "next": {"name": "b", "next": null}})
        ),
        row(json!({"$ref": "#/$defs/maybe"}), json!(null)),
        row(json!({"type": "string", "if": {"const": "a"}, "then": {"minLength": 1}}), json!("a")),
    ]
}

/// An object with some of these properties, given as schema, value, whether it is there, and whether it is required.
fn an_object(inner: impl Strategy<Value = Pair> + Clone) -> impl Strategy<Value = Pair> {
    let property =
        (proptest::sample::select(vec!["a", "b", "c", "items", "type"]), inner, any::<bool>(), any::<bool>());
    (proptest::collection::vec(property, 0..4), proptest::option::of(any::<bool>())).prop_map(|(properties, open)| {
        let mut schema = json!({"type": "object", "properties": {}});
        let (mut required, mut value) = (Vec::new(), json!({}));
        for (name, (property, inner), is_required, is_there) in properties {
            if schema["properties"].get(name).is_some() {
                continue;
            }
            schema["properties"][name] = property;
            if is_required || is_there {
                value[name] = inner;
            }
            if is_required {
                required.push(name);
            }
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        match open {
            Some(true) => value["extra"] = 1.into(),
            Some(false) => schema["additionalProperties"] = false.into(),
            None => {}
        }
        (schema, value)
    })
}

fn union_of(pairs: Vec<Pair>, at: usize, keyword: &str) -> Pair {
    let value = pairs[at % pairs.len()].1.clone();
    let branches: Vec<_> = pairs.into_iter().map(|(schema, _)| schema).collect();
    (json!({keyword: branches}), value)
}

fn pair() -> impl Strategy<Value = Pair> + Clone {
    leaf()
        .prop_recursive(4, 24, 4, |inner| {
            let some = || proptest::collection::vec(inner.clone(), 1..4);
            prop_oneof![
                3 => an_object(inner.clone()),
                1 => inner.clone().prop_map(|(schema, value)| (json!({"type": "array", "items": schema, "minItems": 1}), json!([value]))),
                1 => inner.clone().prop_map(|(schema, value)| (json!({"type": "object", "additionalProperties": schema}), json!({"k": value}))),
                2 => (some(), 0..4usize, proptest::sample::select(vec!["anyOf", "oneOf"])).prop_map(|(pairs, at, keyword)| union_of(pairs, at, keyword)),
                1 => (an_object(inner.clone()), inner.clone(), inner).prop_map(|((mut schema, value), one, other)| {
                    schema["anyOf"] = json!([{"properties": {"a": one.0}}, {"required": ["b"]}, {"properties": {"z": other.0}}]);
                    (schema, value)
                }),
                1 => leaf().prop_map(|(schema, value)| (json!({"allOf": [schema, {"title": "T"}]}), value)),
            ]
        })
        .prop_flat_map(|pair| {
            proptest::option::of(Just("Words.")).prop_map(move |text| described(pair.clone(), text))
        })
        .boxed()
}

fn definitions() -> Value {
    json!({
        "tag": {"type": "string", "description": "A tag."},
        "node": {"type": "object", "properties": {"name": {"$ref": "#/$defs/tag"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["name"]},
        "maybe": {"anyOf": [{"$ref": "#/$defs/tag"}, {"type": "null"}]},
    })
}

/// A tool's schema with a value that it accepts.
fn tool() -> impl Strategy<Value = Pair> {
    // A branch must take its own value: through another one, a property may be anything that is not named there.
    let object = || {
        an_object(pair()).prop_filter("refuses its own value", |(schema, value)| {
            let mut schema = schema.clone();
            schema["$defs"] = definitions();
            accepts(&schema, value)
        })
    };
    let root = prop_oneof![
        3 => object(),
        1 => (proptest::collection::vec(object(), 1..4), 0..4usize, proptest::sample::select(vec!["anyOf", "oneOf"])).prop_map(|(pairs, at, keyword)| union_of(pairs, at, keyword)),
        1 => (object(), object()).prop_map(|((one, value), (other, more))| {
            let mut value = value;
            let members = more.as_object().cloned().unwrap_or_default();
            members.into_iter().for_each(|(name, member)| value[name] = member);
            (json!({"allOf": [one, other]}), value)
        }),
    ];
    root.prop_map(|(mut schema, value)| {
        schema["$defs"] = definitions();
        (schema, value)
    })
}

/// The same in plain JSON Schema: `nullable` means something.
fn plain(schema: &Value) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (key, value) in members {
        let value = match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                Value::Object(schemas.iter().map(|(name, schema)| (name.clone(), plain(schema))).collect())
            }
            ("anyOf" | "prefixItems", Value::Array(schemas)) => schemas.iter().map(plain).collect(),
            ("items" | "additionalProperties", schema) => plain(schema),
            (_, value) => value.clone(),
        };
        out.insert(key.clone(), value);
    }
    match out.shift_remove("nullable") {
        Some(_) => json!({"anyOf": [out, {"type": "null"}]}),
        None => Value::Object(out),
    }
}

fn accepts(schema: &Value, value: &Value) -> bool {
    Schema::compile(&Arc::new(schema.clone())).unwrap().check_value(value).is_ok()
}

/// What of a subset is broken at this place or below.
fn breaks(schema: &Value, subset: &Subset) -> Option<String> {
    let places = subset.places?;
    let Value::Object(members) = schema else { return Some(format!("no schema: {schema}")) };
    for (key, value) in members {
        let is_known = places.keywords.contains(&key.as_str()) || key == "nullable" && places.types == Types::Nullable;
        if !is_known {
            return Some(format!("{key} in {schema}"));
        }
        let inner = match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas.values().find_map(|schema| breaks(schema, subset))
            }
            ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter().find_map(|schema| breaks(schema, subset))
            }
            ("items", schema) | ("additionalProperties", schema @ Value::Object(_)) => breaks(schema, subset),
            _ => None,
        };
        if inner.is_some() {
            return inner;
        }
    }
    let has = |keyword: &str| members.contains_key(keyword);
    let is_alone = || members.len() == 1;
    let faults = [
        (has("$ref") && !is_alone(), "something beside a reference"),
        (places.lone_unions && has("anyOf") && !is_alone(), "something beside a union"),
        (
            places.types == Types::Nullable && !has("anyOf") && !members.get("type").is_some_and(Value::is_string),
            "no type",
        ),
        (places.types == Types::Nullable && members.get("type") == Some(&json!("array")) && !has("items"), "no items"),
        (
            places.objects != Objects::Open
                && members.get("type") == Some(&json!("object"))
                && members.get("additionalProperties") != Some(&json!(false)),
            "open",
        ),
    ];
    faults.iter().find(|(broken, _)| *broken).map(|(_, fault)| format!("{fault}: {schema}"))
}

fn descriptions(value: &Value) -> usize {
    match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| usize::from(key == "description") + descriptions(value)).sum()
        }
        Value::Array(items) => items.iter().map(descriptions).sum(),
        _ => 0,
    }
}

/// A tool of the usual kind, and arguments for it.
fn plain_tool() -> impl Strategy<Value = Pair> {
    let leaf = prop_oneof![
        Just((json!({"type": "string"}), json!("x"))),
        Just((json!({"type": "integer", "default": 3}), json!(7))),
        Just((json!({"enum": ["a", "b"], "description": "One."}), json!("b"))),
        Just((json!({"type": "array", "items": {"type": "number"}}), json!([1.5]))),
        Just((json!({"type": ["boolean", "null"]}), json!(true))),
    ];
    let object = |inner: BoxedStrategy<Pair>| {
        proptest::collection::vec((inner, any::<bool>(), any::<bool>()), 0..4).prop_map(|pairs| {
            let (mut properties, mut required, mut value) = (Map::new(), Vec::new(), Map::new());
            for (at, ((schema, own), is_required, is_there)) in pairs.into_iter().enumerate() {
                let name = format!("p{at}");
                if is_required {
                    required.push(name.clone());
                }
                // What may be null is said by the model itself.
                if is_required || is_there || schema["type"].is_array() {
                    value.insert(name.clone(), own);
                }
                properties.insert(name, schema);
            }
            (json!({"type": "object", "properties": properties, "required": required}), Value::Object(value))
        })
    };
    let inner = prop_oneof![leaf.clone(), object(leaf.boxed())].boxed();
    let listed = inner.clone().prop_map(|(schema, value)| (json!({"type": "array", "items": schema}), json!([value])));
    object(prop_oneof![inner, listed].boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is valid under the original is valid under what is sent.
    #[test]
    fn reduced_is_wider((schema, value) in tool()) {
        prop_assume!(accepts(&schema, &value));
        for (name, subset) in ALL.iter().filter(|(_, subset)| subset.places.is_none_or(|places| places.objects == Objects::Open)) {
            let reduced = reduce(&schema, subset);
            prop_assert!(accepts(&plain(&reduced), &value), "{}: {} as {} refuses {}", name, schema, reduced, value);
        }
    }

    /// A model that is held to the strict form can say all that the original takes, and what it says reads as that.
    #[test]
    fn strict_says_the_same((schema, value) in plain_tool()) {
        prop_assume!(accepts(&schema, &value));
        let strict = strict(&schema, &OPENAI_STRICT).unwrap();
        let filled = filled(&value, &strict);
        prop_assert!(accepts(&strict, &filled), "{} as {} refuses {}", schema, strict, filled);
        let text = filled.to_string();
        let read = unfilled(&text, &schema).unwrap_or(text);
        prop_assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), value);
    }

    /// Whatever comes in, what goes out keeps to the subset, and reducing again changes nothing.
    #[test]
    fn reduced_keeps_to_its_subset((schema, _) in tool()) {
        for (name, subset) in ALL {
            let reduced = reduce(&schema, &subset);
            prop_assert_eq!(breaks(&reduced, &subset), None, "{}: {} as {}", name, &schema, &reduced);
            if subset.places.is_none_or(|places| places.types != Types::Nullable) {
                prop_assert_eq!(&*reduce(&reduced, &subset), &*reduced, "{}: {}", name, &schema);
            }
        }
    }

    /// A property that is described stays so.
    #[test]
    fn descriptions_stay((schema, _) in tool()) {
        let words = schema["properties"].as_object().into_iter().flatten().filter(|(_, schema)| schema.get("description").is_some());
        for (property, _) in words {
            for (name, subset) in ALL {
                let reduced = reduce(&schema, &subset);
                prop_assert!(descriptions(&reduced["properties"][property]) > 0, "{}: {} of {}", name, property, reduced);
            }
        }
    }

    /// Any JSON at all is survived.
    #[test]
    fn no_schema_is_too_odd(text in "[\\[\\]{}:,\"a-z$]{0,40}", odd in proptest::sample::select(vec![
        json!({"type": "object", "properties": {"a": {"type": [], "enum": 7, "anyOf": {}, "required": "a", "items": [], "$ref": 3}}}),
        json!({"anyOf": 7, "allOf": [3, null, true], "oneOf": []}),
        json!({"$ref": "#/properties/a", "properties": {"a": {"$ref": "#/properties/a"}}}),
        json!({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}),
        json!({"allOf": [{"$ref": "#"}], "properties": {"x": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}}),
    ])) {
        for (_, subset) in ALL {
            reduce(&odd, &subset);
            if let Ok(value) = serde_json::from_str(&text) {
                reduce(&value, &subset);
            }
        }
    }
}

/// What some service refuses the whole request for; the last column is what is sent to all of them.
#[test]
fn what_is_known_to_be_refused_is_taken_out() {
    let in_property = |schema: Value| object(json!({"a": schema}));
    let rows = [
        (
            "required null",
            json!({"type": "object", "properties": {}, "required": null}),
            json!({"type": "object", "properties": {}}),
        ),
        (
            "required with a number",
            json!({"type": "object", "properties": {}, "required": ["a", 1]}),
            json!({"type": "object", "properties": {}, "required": ["a"]}),
        ),
        (
            "enum that does not fit",
            in_property(json!({"type": "null", "enum": ["A"]})),
            in_property(json!({"type": "null"})),
        ),
        (
            "enum of a list",
            in_property(json!({"type": "array", "enum": [0, 1], "items": {"type": "integer"}})),
            in_property(json!({"type": "array", "items": {"type": "integer"}})),
        ),
        (
            "null in an enum of texts",
            in_property(json!({"type": "string", "enum": ["a", null]})),
            in_property(json!({"type": "string", "enum": ["a"]})),
        ),
        (
            "null that no value is",
            in_property(json!({"type": ["string", "null"], "enum": ["a"]})),
            in_property(json!({"type": "string", "enum": ["a"]})),
        ),
        (
            "look-ahead",
            in_property(json!({"type": "string", "pattern": "^(?=a)a$"})),
            in_property(json!({"type": "string"})),
        ),
        (
            "look-behind",
            in_property(json!({"type": "string", "pattern": "(?<!a)b"})),
            in_property(json!({"type": "string"})),
        ),
        (
            "a reference back",
            in_property(json!({"type": "string", "pattern": r"(a)\1"})),
            in_property(json!({"type": "string"})),
        ),
        (
            "no pattern at all",
            in_property(json!({"type": "string", "pattern": "*.rs"})),
            in_property(json!({"type": "string"})),
        ),
        (
            "many repetitions",
            in_property(json!({"type": "string", "pattern": "^.{0,2000}$"})),
            in_property(json!({"type": "string"})),
        ),
        (
            "needless escapes",
            in_property(json!({"type": "string", "pattern": r"^https\:\/\/\w+\.x\\:$"})),
            in_property(json!({"type": "string", "pattern": r"^https://\w+\.x\\:$"})),
        ),
        ("a boolean property", in_property(json!(true)), in_property(json!({}))),
        (
            "a property that must not be",
            json!({"type": "object", "properties": {"a": false, "b": {}}}),
            json!({"type": "object", "properties": {"b": {}}}),
        ),
        (
            "a far reference",
            in_property(json!({"$ref": "https://example.org/a.json", "description": "A."})),
            in_property(json!({"description": "A."})),
        ),
        ("a reference to nothing", in_property(json!({"$ref": "#/$defs/b"})), in_property(json!({}))),
        (
            "a list of anything",
            in_property(json!({"type": "array"})),
            in_property(json!({"type": "array", "items": {}})),
        ),
        (
            "a list by place",
            in_property(json!({"type": "array", "items": [{"type": "string"}], "additionalItems": false})),
            in_property(json!({"type": "array", "items": false, "prefixItems": [{"type": "string"}]})),
        ),
        (
            "patterns of names",
            json!({"type": "object", "properties": {}, "patternProperties": {"^(?!x)": {}}, "additionalProperties": false}),
            json!({"type": "object", "properties": {}}),
        ),
        (
            "members of the wrong form",
            in_property(json!({"type": "strange", "minimum": "1", "description": 5, "enum": [], "anyOf": []})),
            in_property(json!({})),
        ),
    ];
    check(&OPENAI, &rows);
    check(&ANTHROPIC, &rows);
    for (name, schema, _) in &rows {
        for (target, subset) in ALL {
            let reduced = reduce(schema, &subset).into_owned();
            assert_eq!(*super::sound(&reduced, false), reduced, "{name} for {target}");
        }
    }
}
