//! What becomes of each kind of malformed call: some examples of each, with what they must and must not come to.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Effect, EffectSource, ToolDef, ToolName, WrittenCall};

/// What a call must come to.
pub(super) enum Must {
    /// This, also where only lossless repairs may be made.
    Be(Value),
    /// This where a unique reading may be taken; elsewhere the model is asked again.
    BeUnique(Value),
    /// The model is asked again, always.
    Ask,
}
use Must::{Ask, Be, BeUnique};

pub(super) fn tool(server: &str, name: &str, effect: Effect, schema: Value) -> ToolDef {
    ToolDef {
        name: OfferedName(format!("{server}__{name}").into()),
        origin: ToolName { server: server.to_owned(), tool: name.to_owned() },
        description: "".into(),
        input_schema: Arc::new(schema),
        effect,
        effect_source: EffectSource::Hints,
        repeatable: false,
        additive: false,
        // Compiled once for all cases.
        hash: format!("taxonomy {server} {name}").into(),
    }
}

/// Tools with schemas like those of common servers.
pub(super) fn tools() -> ToolSet {
    let edit = json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "edits": {"type": "array", "items": {
                "type": "object",
                "properties": {"old_text": {"type": "string"}, "new_text": {"type": "string"}},
                "required": ["old_text", "new_text"],
                "additionalProperties": false,
            }},
            "message": {"type": "string"},
            "count": {"type": "integer", "minimum": 0},
            "ratio": {"type": "number"},
            "deep": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "sort": {"type": "string", "enum": ["by_name", "by_size"]},
            "since": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "when": {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
            "options": {"$ref": "#/$defs/options"},
            "mode": {"const": "safe"},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
            "extra": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["path"],
        "$defs": {"options": {"type": "object", "properties": {"depth": {"type": "integer"}, "label": {"type": "string"}}}},
    });
    let write = json!({
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}, "dry_run": {"type": "boolean"}},
        "required": ["path", "content"],
        "additionalProperties": false,
    });
    let none = json!({"type": "object", "properties": {"limit": {"type": "integer"}}});
    let (tools, warnings) = ToolSet::new(
        [
            tool("fs", "edit", Effect::Read, edit),
            tool("fs", "write_file", Effect::Destructive, write.clone()),
            tool("fs", "read_text_file", Effect::Read, none.clone()),
            tool("fs", "list", Effect::Read, none.clone()),
            tool("git", "list", Effect::Read, none.clone()),
            tool("git", "get_branch", Effect::Read, none.clone()),
            tool("git", "enable_hooks", Effect::Read, none.clone()),
            tool("git", "show_version_2", Effect::Read, none),
            tool("any", "thing", Effect::Read, json!({"additionalProperties": true})),
        ]
        .into(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    tools
}

pub(super) fn written(name: &str, arguments: &str) -> WrittenCall {
    WrittenCall { provider_id: None, name: name.to_owned(), arguments: arguments.into(), complete: true, opaque: None }
}

/// What holds of every repair: it can be made again, it needs no further one, and it does not grow.
pub(super) fn sound(call: &WrittenCall, tools: &ToolSet, valid: &Valid, repairs: &[Repair]) {
    let again = replay(&call.name, &call.arguments, repairs);
    let name =
        if again.as_ref().is_some_and(|(name, _)| *name == call.name) { &call.name } else { valid.name.as_str() };
    assert_eq!(again, Some((name.to_owned(), valid.arguments.to_string())), "{call:?} {repairs:?}");
    let once = written(valid.name.as_str(), &valid.arguments);
    assert_eq!(repair(&once, tools, |_| Policy::Unique), Outcome::Exact(valid.clone()), "{call:?}");
    assert!(valid.arguments.len() <= 2 * call.arguments.len().max(1), "{call:?}");
}

fn must(name: &str, cases: Vec<(&str, &str, Must)>) {
    let tools = tools();
    for (row, arguments, must) in cases {
        let call = written(name, arguments);
        let [lossless, unique] = [Policy::Lossless, Policy::Unique].map(|policy| repair(&call, &tools, |_| policy));
        assert!(matches!(repair(&call, &tools, |_| Policy::Off), Outcome::AskAgain(_)), "{row}: {arguments}");
        let is = |outcome: &Outcome, wanted: &Value| match outcome {
            Outcome::Repaired(valid, repairs) => {
                sound(&call, &tools, valid, repairs);
                let got: Value = serde_json::from_str(&valid.arguments).unwrap();
                assert_eq!(got, *wanted, "{row}: {arguments}");
            }
            other => panic!("{row}: {arguments}: {other:?}"),
        };
        let asked =
            |outcome: &Outcome| assert!(matches!(outcome, Outcome::AskAgain(_)), "{row}: {arguments}: {outcome:?}");
        match must {
            Be(wanted) => {
                is(&lossless, &wanted);
                is(&unique, &wanted);
            }
            BeUnique(wanted) => {
                asked(&lossless);
                is(&unique, &wanted);
            }
            Ask => {
                asked(&lossless);
                asked(&unique);
            }
        }
    }
}

/// Texts that are no JSON, by the number of their class, and what a call of `fs__edit` with them comes to.
pub(super) fn broken() -> Vec<(&'static str, &'static str, Must)> {
    let p = || json!({"path": "a"});
    let count = |count: i64| json!({"path": "a", "count": count});
    let message = |message: &str| json!({"path": "a", "message": message});
    let tags = |tags: &[&str]| json!({"path": "a", "tags": tags});
    vec![
        ("1 trailing comma", r#"{"path": "a",}"#, Be(p())),
        ("1", r#"{"path": "a", "tags": ["x",],}"#, Be(tags(&["x"]))),
        ("1", r#"{"path": "a",, "count": 1}"#, Be(count(1))),
        ("1", r#"{"path": "a", "tags": ["x",,"y"]}"#, Ask),
        ("2 single quotes", r#"{'path': 'a', 'message': 'it\'s "so"'}"#, Be(message("it's \"so\""))),
        ("2", "{'path': 'a', 'message': 'don't'}", Be(message("don't"))),
        ("2", "{'path': 'a', 'message': 'the boys', he said'}", Ask),
        ("2", "{'path': 'a', 'message': '''it's\n'so' '''}", Be(message("it's\n'so' "))),
        ("2", "{\"path\": \"a\", \"message\": \"\"\"say \"x\",\n\ty\"\"\"}", Be(message("say \"x\",\n\ty"))),
        ("2", "{\"path\": \"a\", \"message\": \"\"\"x\"\"\" y\"\"\"}", Ask),
        ("14", "{\"path\": \"a\", \"message\": \"\"x\"\"}", BeUnique(message("\"x\""))),
        ("3 unquoted keys", "{path: \"a\", count: 1}", Be(count(1))),
        (
            "4 python literals",
            r#"{"path": "a", "deep": True, "since": None}"#,
            Be(json!({"path": "a", "deep": true, "since": null})),
        ),
        ("5 missing comma", r#"{"path": "a" "count": 1}"#, Be(count(1))),
        ("5", "{\"path\": \"a\"\n\"tags\": [\"x\" \"y\"]}", Be(tags(&["x", "y"]))),
        ("5", "{\"path\": \"a\"\ncount: 1}", Be(count(1))),
        ("5", r#"{"path": "a", "tags": ["x" 5, "y"]}"#, Be(tags(&["x", "5", "y"]))),
        ("14", r#"{"path": "a", "tags": ["x "y" 5", "z"]}"#, BeUnique(tags(&["x \"y\" 5", "z"]))),
        ("6 missing closers", r#"{"path": "a", "tags": ["x"]"#, BeUnique(tags(&["x"]))),
        ("6", r#"{"path": "a""#, BeUnique(p())),
        ("6", r#"{"path": "a", "options": {"label": "x"#, Ask),
        ("6", r#"{"path": "a", "count": 1"#, Ask),
        ("7 extra closers", r#"{"path": "a"}}"#, Be(p())),
        ("7", r#"{"path": "a"}]}"#, Be(p())),
        ("7", r#"{"path": "a"}, "count": 1}"#, Ask),
        ("8 fence", "```json\n{\"path\": \"a\"}\n```", Be(p())),
        ("8", "```\n{\"path\": \"a\"}```\n", Be(p())),
        ("8", "{\"path\": \"a\", \"message\": \"```js\nx\n```\"}", Be(message("```js\nx\n```"))),
        ("9 prose", "Sure, here it is: {\"path\": \"a\"}\nIt reads a file.", BeUnique(p())),
        ("9", "Either {\"path\": \"a\"} or {\"path\": \"b\"}", Ask),
        ("10 comments", "{\"path\": /* this */ \"a\" // that\n}", Be(p())),
        ("10", r#"{"path": "a", "message": "http://x /* y */",}"#, Be(message("http://x /* y */"))),
        ("10", "{\"path\": \"a\" # no\n}", Ask),
        ("11 raw line break", "{\"path\": \"a\", \"message\": \"x: [\n\ty, \"}", Be(message("x: [\n\ty, "))),
        ("12 lone backslash", r#"{"path": "a", "message": "\d+\.\w*"}"#, Be(message(r"\d+\.\w*"))),
        ("12", r#"{"path": "a", "message": "\bx\s\b"}"#, Be(message(r"\bx\s\b"))),
        ("12", r#"{"path": "a", "message": "C:\Users\new"}"#, Be(message(r"C:\Users\new"))),
        ("12", r#"{"path": "a", "message": "\s*\n"}"#, Ask),
        ("12", r#"{"path": "a", "message": "\"\d\"\n"}"#, Be(message("\"\\d\"\n"))),
        ("13 escaped apostrophe", r#"{"path": "a", "message": "don\'t"}"#, Be(message("don't"))),
        ("14 inner quotes", r#"{"path": "a", "message": "the "x" one"}"#, BeUnique(message("the \"x\" one"))),
        ("14", r#"{"path": "a", "message": "a 5" pipe"}"#, BeUnique(message("a 5\" pipe"))),
        ("14", r#"{"path": "a", "message": "say "x"}"#, Ask),
        ("15 inner quotes next to structure", r#"{"path": "a", "message": "x", y""}"#, Ask),
        ("15", r#"{"path": "a", "message": "x "y": z"}"#, Ask),
        ("15", r#"{"path": "a", "message": "x"} y"}"#, Ask),
        ("16 encoded twice", r#""{\"path\": \"a\"}""#, Be(p())),
        ("16", r#""\"{\\\"path\\\": \\\"a\\\"}\"""#, Be(p())),
        ("16", r#"{\"path\": \"a\"}"#, Be(p())),
        ("16", r#"'{"path": "a"}'"#, Be(p())),
        ("17 smart quotes", "{“path”: “a”, “message”: “x “y” z”}", BeUnique(message("x “y” z"))),
        ("17", "{“path”: “a”}", Be(p())),
        ("18 missing colon", r#"{"path" "a", "count" 1}"#, BeUnique(count(1))),
        ("18", r#"{"path": "a", "nothing" 1}"#, Ask),
        ("19 assignment", r#"{"path" => "a", "count" = 1}"#, Be(count(1))),
        ("20 number forms", r#"{"path": "a", "count": +5}"#, Be(count(5))),
        ("20", r#"{"path": "a", "ratio": -.5}"#, Be(json!({"path": "a", "ratio": -0.5}))),
        ("20", r#"{"path": "a", "count": 5.}"#, Be(count(5))),
        ("20", r#"{"path": "a", "count": 007}"#, Ask),
        ("20", r#"{"path": 007}"#, Be(json!({"path": "007"}))),
        ("21 no number", r#"{"path": "a", "ratio": NaN}"#, Ask),
        ("21", r#"{"path": "a", "ratio": -Infinity}"#, Ask),
        ("21", r#"{"path": Infinity}"#, Ask),
        ("23 duplicate key", r#"{"path": "a", "path": "b"}"#, Ask),
        ("23", r#"{"path": "a", "path": "b",}"#, Ask),
        ("24 same object twice", r#"{"path": "a"}{"path":"a"}"#, Be(p())),
        ("25 two objects", r#"{"path": "a"}{"path": "b"}"#, Ask),
        ("25", r#"[{"path": "a"}, {"path": "b"}]"#, Ask),
        ("25", r#"[{"path": "a"}, {"path": "a"}]"#, Ask),
        ("25", r#"[{"path": "a"}]"#, BeUnique(p())),
        ("25", r#"[{"path": "a"}"#, Ask),
        ("26 missing brace", r#""path": "a"}"#, Be(p())),
        ("26", r#""path": "a""#, Ask),
        ("27 missing key quote", r#"{path": "a", "count: 1}"#, Be(count(1))),
        ("28 unclosed string", r#"{"path": "a, "count": 1}"#, BeUnique(count(1))),
        ("28", r#"{"path": "a, "other": 1}"#, Ask),
        ("28", r#"{"count": 1, "path": "a}"#, Ask),
        ("29 odd spaces", "\u{feff}{\"path\":\u{a0}\"a\"}\u{200b}", Be(p())),
        ("30 elision", r#"{"path": "a", ...}"#, Ask),
        ("30", "{\"path\": \"a\" /* rest unchanged */}", Ask),
        ("30", r#"{"path": "a", "tags": ["x", ...]}"#, Ask),
        ("31 nothing", "", Ask),
        ("32 special token", "{\"path\": \"a\"}<|im_end|>", Be(p())),
        ("32", "{\"path\": \"a\"}\n</tool_call>", Be(p())),
        ("32", "{\"path\": \"a\"}<｜tool▁call▁end｜>", Be(p())),
        ("33 concatenation", "{\"path\": \"a\", \"message\": \"x\" +\n \"y\"}", Be(message("xy"))),
        ("34 backticks", "{\"path\": `a`, \"message\": `\"x\"\ny`}", Be(message("\"x\"\ny"))),
        ("34", "{\"path\": \"a\", \"message\": `x${y}`}", Ask),
        ("35 bare text", r#"{"path": a}"#, BeUnique(p())),
        ("35", r#"{"path": /tmp/x y, "count": 1}"#, BeUnique(json!({"path": "/tmp/x y", "count": 1}))),
        ("35", r#"{"path": 2024-05-01}"#, BeUnique(json!({"path": "2024-05-01"}))),
        ("35", r#"{"path": "a", "count": many}"#, Ask),
        ("35", r#"{"path": a"#, Ask),
        (
            "36 entities",
            "{&quot;path&quot;: &quot;a&quot;, &quot;message&quot;: &quot;x &amp;lt; y&quot;}",
            Be(message("x &lt; y")),
        ),
        ("37 call around", r#"edit({"path": "a"});"#, Be(p())),
        ("37", r#"write_file({"path": "a"})"#, Ask),
        ("38 wrong closer", r#"{"path": "a"]"#, Be(p())),
        ("38", r#"{"path": "a", "tags": ["x"}}"#, Be(tags(&["x"]))),
        (
            "38 missing inner closer",
            r#"{"path": "a", "tags": ["x", "count": 1}"#,
            BeUnique(json!({"path": "a", "tags": ["x"], "count": 1})),
        ),
        (
            "38",
            r#"{"edits": [{"old_text": "x", "new_text": "y", "path": "a"}"#,
            BeUnique(json!({"edits": [{"old_text": "x", "new_text": "y"}], "path": "a"})),
        ),
        (
            "38",
            r#"{"path": "a", "edits": [{"old_text": "x", "new_text": "y", {"old_text": "z", "new_text": ""}]}"#,
            BeUnique(json!({"path": "a", "edits": [
                {"old_text": "x", "new_text": "y"},
                {"old_text": "z", "new_text": ""},
            ]})),
        ),
        ("38", r#"{"path": "a", "edits": [{"old_text": "x", {"new_text": "y"}]}"#, Ask),
        ("38", r#"{"path": "a", {"count": 1}"#, Ask),
        ("38", r#"{"path": "a", "tags": [, "count": 1}"#, BeUnique(json!({"path": "a", "tags": [], "count": 1}))),
        ("38", r#"{"path": "a", "tags": [, "x"]}"#, Ask),
        ("38", r#"{"path": "a", "edits": [, "old_text": "x"}"#, Ask),
        ("39 cut", r#"{"path": "a", "message": "half a fi"#, Ask),
        ("40", r#"{"path": "a", "mess"#, Ask),
        ("40", r#"{"path": "a", "message":"#, Ask),
        ("40", r#"{"path": "a", "message""#, Ask),
        ("41", r#"{"path": "a", "count": 12"#, Ask),
        ("42", r#"{"path": "a","#, Ask),
        ("42", r#"{"path": "a", "deep": tru"#, Ask),
        ("42", "```json\n{\"path\": \"a\", \"count\": 12\n```", Ask),
    ]
}

#[test]
fn syntax() {
    must("fs__edit", broken());
}

#[test]
fn schema() {
    let with = |key: &str, value: Value| {
        let mut all = json!({"path": "a"});
        all[key] = value;
        all
    };
    must(
        "fs__edit",
        vec![
            ("43 literal as text", r#"{"path": "a", "count": "5"}"#, Be(with("count", json!(5)))),
            ("43", r#"{"path": "a", "deep": "True"}"#, Be(with("deep", json!(true)))),
            ("43", r#"{"path": "a", "when": "7"}"#, Be(with("when", json!(7)))),
            ("43", r#"{"path": "a", "count": " 5 "}"#, Ask),
            ("44 boolean as word", r#"{"path": "a", "deep": "yes"}"#, Ask),
            ("44", r#"{"path": "a", "deep": 1}"#, Ask),
            ("45 number for text", r#"{"path": 42}"#, Be(json!({"path": "42"}))),
            (
                "45",
                r#"{"path": 123456789012345678901234567890}"#,
                Be(json!({"path": "123456789012345678901234567890"})),
            ),
            ("45", r#"{"path": 1.10}"#, BeUnique(json!({"path": "1.10"}))),
            ("46 scalar for list", r#"{"path": "a", "tags": "x"}"#, BeUnique(with("tags", json!(["x"])))),
            ("47 JSON as text", r#"{"path": "a", "tags": "[\"x\"]"}"#, Be(with("tags", json!(["x"])))),
            ("47", r#"{"path": "a", "options": "{\"depth\": \"1\"}"}"#, Be(with("options", json!({"depth": 1})))),
            ("48 comma list", r#"{"path": "a", "tags": "x, y"}"#, Ask),
            ("49 list for scalar", r#"{"path": ["a"]}"#, BeUnique(json!({"path": "a"}))),
            ("49", r#"{"path": ["a", "b"]}"#, Ask),
            ("49", r#"{"path": []}"#, Ask),
            ("50 spelling of a key", r#"{"Path": "a"}"#, BeUnique(json!({"path": "a"}))),
            (
                "50",
                r#"{"path": "a", "edits": [{"oldText": "x", "new-text": "y"}]}"#,
                BeUnique(with("edits", json!([{"old_text": "x", "new_text": "y"}]))),
            ),
            ("50", r#"{"path": "a", "PATH": "b"}"#, Ask),
            ("51 typo of a key", r#"{"pth": "a"}"#, BeUnique(json!({"path": "a"}))),
            ("51", r#"{"pt": "a"}"#, Ask),
            ("51", r#"{"paht": "a"}"#, BeUnique(json!({"path": "a"}))),
            ("51", r#"{"path": "a", "mesage": "x"}"#, Ask),
            ("51 synonym", r#"{"filename": "a"}"#, BeUnique(json!({"path": "a"}))),
            ("51", r#"{"filename": "a", "file": "b"}"#, Ask),
            ("52 noise", r#"{"path": "a", "explanation": "x"}"#, Be(json!({"path": "a"}))),
            ("52", r#"{"reasoning": "x", "path": "a"}"#, Be(json!({"path": "a"}))),
            ("53 invented option", r#"{"path": "a", "dry_run": true}"#, Ask),
            ("53", r#"{"path": "a", "force": false,}"#, Ask),
            ("54 wrapped", r#"{"arguments": {"path": "a"}}"#, Be(json!({"path": "a"}))),
            ("54", r#"{"name": "edit", "arguments": {"path": "a", "count": "1"}}"#, Be(with("count", json!(1)))),
            ("54", r#"{"name": "write_file", "arguments": {"path": "a"}}"#, Ask),
            ("54", r#"{"arguments": {"path": "a"}, "dry_run": true}"#, Ask),
            ("54", r#"{"path": {"value": "a"}}"#, Be(json!({"path": "a"}))),
            ("55 null", r#"{"path": "a", "count": null}"#, Be(json!({"path": "a"}))),
            ("55", r#"{"path": null}"#, Ask),
            (
                "56 spelling of an option",
                r#"{"path": "a", "sort": "By Name"}"#,
                BeUnique(with("sort", json!("by_name"))),
            ),
            ("56", r#"{"path": "a", "sort": "by_date"}"#, Ask),
            ("57 numbers", r#"{"path": "a", "count": 5.7}"#, Ask),
            ("57", r#"{"path": "a", "count": -1}"#, Ask),
            ("57", r#"{"path": "a", "count": "30s"}"#, Ask),
            ("58 missing key", r#"{"count": 1}"#, Ask),
            ("59 schema echoed", r#"{"path": {"type": "string"}}"#, Ask),
            ("59", r#"{"type": "object", "properties": {"path": {"type": "string"}}}"#, Ask),
            (
                "59 index map",
                r#"{"path": "a", "tags": {"0": "x", "1": "y"}}"#,
                BeUnique(with("tags", json!(["x", "y"]))),
            ),
            ("59 positional", r#"["a", 1]"#, Ask),
            ("const", r#"{"path": "a", "mode": "Safe"}"#, BeUnique(with("mode", json!("safe")))),
            ("const", r#"{"path": "a", "mode": "fast"}"#, Ask),
            ("prefixItems", r#"{"path": "a", "pair": ["x", "1"]}"#, Be(with("pair", json!(["x", 1])))),
            ("additionalProperties", r#"{"path": "a", "extra": {"k": "1"}}"#, Be(with("extra", json!({"k": 1})))),
            ("anyOf", r#"{"path": "a", "when": ["1", 2]}"#, Be(with("when", json!([1, 2])))),
            ("$ref", r#"{"path": "a", "options": {"depth": "1", "why": 2}}"#, Ask),
        ],
    );
}

/// Null and false are no guards: what may have been cut off decides.
#[test]
fn brackets_are_not_closed_where_a_guard_may_be_missing() {
    must("fs__write_file", vec![("6", r#"{"path": "a", "content": "b""#, Ask)]);
}

#[test]
fn nothing_is_an_empty_object_where_that_is_valid() {
    must("fs__list", vec![("31", " \n", Be(json!({}))), ("31", "null", Ask)]);
}

#[test]
fn names() {
    let tools = tools();
    let becomes = |written_name: &str, policy: Policy| match repair(&written(written_name, "{}"), &tools, |_| policy) {
        Outcome::Exact(valid) | Outcome::Repaired(valid, _) => Some(valid.name.to_string()),
        Outcome::AskAgain(diagnosis) => {
            assert_eq!(diagnosis.class, Class::UnknownName, "{written_name}");
            None
        }
    };
    let meant = [
        ("read_text_file", "fs__read_text_file"),
        ("ReadTextFile", "fs__read_text_file"),
        ("read-text-file", "fs__read_text_file"),
        ("fs.read_text_file", "fs__read_text_file"),
        ("fs/read_text_file", "fs__read_text_file"),
        ("mcp__fs__read_text_file", "fs__read_text_file"),
        ("functions.fs__read_text_file:0", "fs__read_text_file"),
        ("fs__read_text_file<|channel|>json", "fs__read_text_file"),
        ("default_api.read_text_file()", "fs__read_text_file"),
        ("git.list", "git__list"),
        ("read_text_fil", "fs__read_text_file"),
        ("raed_text_file", "fs__read_text_file"),
        ("fs__read_text_flie", "fs__read_text_file"),
        ("fs__lst", "fs__list"),
    ];
    for (name, tool) in meant {
        assert_eq!(becomes(name, Policy::Unique).as_deref(), Some(tool), "{name}");
        assert_eq!(becomes(name, Policy::Lossless), None, "{name}");
        let Outcome::Repaired(valid, repairs) = repair(&written(name, "{}"), &tools, |_| Policy::Unique) else {
            panic!()
        };
        assert_eq!(replay(name, "{}", &repairs), Some((valid.name.to_string(), "{}".to_owned())));
    }
    let asked = [
        // Nothing, made up, or the beginning of several.
        "",
        " ",
        "run_shell",
        "fs",
        "read",
        // Two servers have it; another server has it; the server does not exist.
        "list",
        "git.read_text_file",
        "mcp__web__read_text_file",
        // Near, but turned around, another number, or not alone.
        "disable_hooks",
        "set_branch",
        "show_version_3",
    ];
    for name in asked {
        assert_eq!(becomes(name, Policy::Unique), None, "{name}");
    }
}

/// A wrong letter never leads to a tool that changes something.
#[test]
fn typos_only_lead_to_reads() {
    let call = written("fs__write_fil", r#"{"path": "a", "content": "b"}"#);
    assert!(matches!(repair(&call, &tools(), |_| Policy::Unique), Outcome::AskAgain(_)));
    let spelt = written("writeFile", r#"{"path": "a", "content": "b"}"#);
    assert!(matches!(repair(&spelt, &tools(), |_| Policy::Unique), Outcome::Repaired(..)));
}

#[test]
fn policies_follow_the_effect() {
    let of =
        |effect: Effect, additive: bool| Policy::by_effect(&ToolDef { additive, ..tool("s", "t", effect, json!({})) });
    assert_eq!(of(Effect::Read, false), Policy::Unique);
    assert_eq!(of(Effect::Idempotent, false), Policy::Unique);
    assert_eq!(of(Effect::Write, true), Policy::Unique);
    assert_eq!(of(Effect::Write, false), Policy::Lossless);
    assert_eq!(of(Effect::Destructive, false), Policy::Lossless);
    assert_eq!(of(Effect::Destructive, true), Policy::Lossless);
}

#[test]
fn many_repairs_are_told_as_one() {
    let arguments = format!("{{'path': 'a', 'tags': [{}]}}", vec!["'x'"; 1000].join(", "));
    let call = written("fs__edit", &arguments);
    let Outcome::Repaired(valid, repairs) = repair(&call, &tools(), |_| Policy::Lossless) else { panic!() };
    sound(&call, &tools(), &valid, &repairs);
    assert_eq!(repairs.iter().map(|repair| &*repair.kind).collect::<Vec<_>>(), ["several"]);
}

/// Definitions that name each other in a long chain, or in a circle, are laid out all the same.
#[test]
fn long_chains_of_definitions_are_laid_out() {
    let mut definitions = serde_json::Map::new();
    for at in 0..5_000 {
        let next = format!("#/$defs/d{}", (at + 1) % 5_000);
        definitions.insert(
            format!("d{at}"),
            json!({"type": "object", "properties": {"next": {"$ref": next}, "n": {"type": "integer"}}}),
        );
    }
    let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let shapes = shape::Shapes::new(&schema);
    let next = shapes.member(shapes.root, "next").and_then(|next| shapes.member(next, "next"));
    assert!(next.is_some_and(|next| shapes.types(shapes.member(next, "n").unwrap_or(next)).has(shape::Types::INTEGER)));
}

/// Much of every kind is read; anything quadratic would not come back.
#[test]
fn much_trouble_is_no_trouble() {
    let tools = tools();
    const SIZE: usize = 1 << 16;
    let units = [
        "\"",
        "'",
        "\\",
        "{",
        "[",
        "}",
        "]",
        ",",
        ":",
        "{}",
        "{\"a\":1}",
        "\"a\":",
        "\"a\" ",
        "\", \"path\": \"",
        " \"x\" ",
        "a,",
        "/*",
        "//",
        "/**/",
        "\n",
        " ",
        "é“",
        "...",
        "<|a|>",
        "```",
        "&quot;",
        "[{",
        "\"a\": [\"b\", ",
        "'b' + ",
        "x=",
        "\\n\\d",
        "{\"path\":\"",
        "a: b, ",
    ];
    for unit in units {
        for (before, behind) in [
            ("", ""),
            ("{\"path\": \"", "\"}"),
            ("{\"path\": \"a\", \"tags\": [", "]}"),
            ("{", "}"),
            ("{\"path\": ", "}"),
        ] {
            let text = format!("{before}{}{behind}", unit.repeat(SIZE / unit.len()));
            let call = written("fs__edit", &text);
            if let Outcome::Repaired(valid, repairs) = repair(&call, &tools, |_| Policy::Unique) {
                assert_eq!(
                    replay("fs__edit", &text, &repairs),
                    Some(("fs__edit".to_owned(), valid.arguments.to_string()))
                );
            }
        }
    }
}

pub(super) fn arguments() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z ]{0,12}", ".{0,12}", r#"[\\"',:{}\n a]{0,12}"#];
    let edits = prop::collection::vec((text.clone(), text.clone()), 0..4);
    let tags = prop::collection::vec(text.clone(), 0..4);
    let optional = (
        prop::option::of(edits),
        prop::option::of(tags),
        prop::option::of(0..1000u32),
        prop::option::of(any::<bool>()),
        prop::option::of(text.clone()),
    );
    (text, optional).prop_map(|(path, (edits, tags, count, deep, label))| {
        let mut all = json!({"path": path});
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                all[key] = value;
            }
        };
        let edit = |(old, new)| json!({"old_text": old, "new_text": new});
        set("edits", edits.map(|edits| edits.into_iter().map(edit).collect()));
        set("tags", tags.map(Value::from));
        set("count", count.map(Value::from));
        set("deep", deep.map(Value::from));
        set("options", label.map(|label| json!({"label": label})));
        all
    })
}

fn spelt(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value).unwrap() } else { value.to_string() }
}

proptest! {
    #[test]
    fn valid_stays_byte_identical(value in arguments(), pretty: bool) {
        let text = spelt(&value, pretty);
        let valid = Valid { name: "fs__edit".into(), arguments: text.as_str().into() };
        prop_assert_eq!(repair(&written("fs__edit", &text), &tools(), |_| Policy::Unique), Outcome::Exact(valid));
    }

    /// A call that was cut is not executed. Where a unique reading may be taken, closing brackets may be missing, and
    /// nothing else: the text must end behind a complete value.
    #[test]
    fn a_cut_call_is_not_executed(value in arguments(), pretty: bool, at: prop::sample::Index) {
        let text = spelt(&value, pretty);
        let cut = &text[..clip::boundary(&text, at.index(text.len()))];
        let call = written("fs__edit", cut);
        let lossless = repair(&call, &tools(), |_| Policy::Lossless);
        prop_assert!(matches!(lossless, Outcome::AskAgain(_)), "{} {:?}", cut, lossless);
        if let Outcome::Repaired(valid, repairs) = repair(&call, &tools(), |_| Policy::Unique) {
            prop_assert!(repairs.iter().all(|repair| repair.kind == "missing_closers"), "{} {:?}", cut, repairs);
            prop_assert!(valid.arguments.starts_with(cut.trim_end()), "{}", cut);
            prop_assert!(!cut.trim_end().ends_with(|char: char| char.is_ascii_digit() || ",:{[".contains(char)), "{}", cut);
        }
        let incomplete = WrittenCall { complete: false, ..written("fs__edit", &text) };
        prop_assert!(matches!(repair(&incomplete, &tools(), |_| Policy::Unique), Outcome::AskAgain(_)));
    }

    /// Whatever is done to a text: what comes out is sound, and nothing panics.
    #[test]
    fn repairs_are_sound(
        value in arguments(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize, r#"([\[\]{}",:\\'`=+ \n]|\PC){0,3}"#), 0..5),
    ) {
        let mut text = value.to_string();
        for (at, length, put) in changes {
            let start = clip::boundary(&text, at.index(text.len() + 1));
            let end = clip::boundary(&text, (start + length).min(text.len())).max(start);
            text.replace_range(start..end, &put);
        }
        let call = written("fs__edit", &text);
        if let Outcome::Repaired(valid, repairs) = repair(&call, &tools(), |_| Policy::Unique) {
            sound(&call, &tools(), &valid, &repairs);
        }
    }

    #[test]
    fn nothing_panics(name in ".{0,40}", text in r#"([\[\]{}",:\\a0'`/*.<>|&; \n]|\PC){0,200}"#) {
        for name in [name.as_str(), "fs__edit", "any__thing"] {
            let call = written(name, &text);
            if let Outcome::Repaired(valid, repairs) = repair(&call, &tools(), |_| Policy::Unique) {
                sound(&call, &tools(), &valid, &repairs);
            }
        }
    }
}
