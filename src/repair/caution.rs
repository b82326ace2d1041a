//! Calls that look much like one that could be made and are another one, each beside its neighbour that has one reading.

use serde_json::{Value, json};

use super::{
    Outcome, Policy, ToolSet, repair,
    taxonomy::{sound, tool, written},
};
use crate::chat::Effect::{Destructive, Read};

fn tools() -> ToolSet {
    let object = |properties: Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required});
    let text = || json!({"type": "string"});
    let issue = object(
        json!({"owner": text(), "repo": text(), "issue_number": {"type": "integer"}}),
        &["owner", "repo", "issue_number"],
    );
    let booking = object(
        json!({
            "day": {"type": "string", "format": "date"},
            "key": {"type": "string", "format": "uuid"},
            "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            "code": {"type": "string", "pattern": "^[a-z]+$"},
            "kind": {"type": "string", "enum": ["1", "2"]},
            "phone": {"type": "string", "format": "phone"},
            "note": {"type": "string"},
        }),
        &[],
    );
    let filter = json!({
        "type": "object",
        "properties": {"filter": {"$ref": "#/$defs/filter"}},
        "required": ["filter"],
        "$defs": {"filter": {"oneOf": [
            {"type": "object", "properties": {"op": {"const": "eq"}, "field": {"type": "string"}}, "required": ["op", "field"]},
            {"type": "object", "properties": {"op": {"enum": ["and", "or"]}, "args": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}, "required": ["op", "args"]},
        ]}},
    });
    let path = || object(json!({"path": text(), "limit": {"type": "integer"}}), &["path"]);
    let (tools, warnings) = ToolSet::new(
        [
            tool("db", "purge", Destructive, json!({"type": "object"})),
            tool("db", "reset", Destructive, json!({"type": "object", "properties": {}})),
            tool("db", "vacuum", Destructive, json!({})),
            tool("db", "needs", Destructive, json!({"type": "object", "required": ["only"]})),
            tool("db", "set", Destructive, json!({"type": "object", "additionalProperties": {"type": "integer"}})),
            tool("db", "put", Destructive, json!({"type": "object", "properties": {}, "additionalProperties": true})),
            tool("db", "shut", Destructive, json!({"type": "object", "additionalProperties": false})),
            tool(
                "fs",
                "remove",
                Destructive,
                object(json!({"path": text(), "recursive": {"type": "boolean"}}), &["path"]),
            ),
            tool("fs", "touch", Destructive, object(json!({"path": text()}), &["path"])),
            tool("fs", "read_file", Read, path()),
            tool(
                "fs",
                "read_many",
                Read,
                object(json!({"paths": {"type": "array", "items": {"type": "string"}}}), &["paths"]),
            ),
            tool("fs", "glob", Read, object(json!({"pattern": text()}), &["pattern"])),
            tool("github", "search", Read, object(json!({"q": text()}), &["q"])),
            tool("github", "get_issue", Read, issue),
            tool(
                "web",
                "search_tool",
                Read,
                object(json!({"query": text(), "tags": {"type": "array", "items": {"type": "string"}}}), &["query"]),
            ),
            tool("", "analyze", Read, object(json!({"text": text()}), &["text"])),
            tool("", "ping", Read, object(json!({"host": text()}), &["host"])),
            tool("", "send_money", Destructive, object(json!({"to": text()}), &["to"])),
            tool("", "lookup", Read, object(json!({"user_id": text()}), &["user_id"])),
            tool("", "forms", Read, object(json!({"form_id": text()}), &["form_id"])),
            tool("", "book", Read, booking),
            tool("", "rows", Read, filter),
            tool(
                "",
                "run",
                Destructive,
                object(
                    json!({"command": text(), "args": {"type": "array", "items": {"type": "string"}}}),
                    &["command"],
                ),
            ),
            tool(
                "",
                "write",
                Destructive,
                object(json!({"path": text(), "content": text(), "append": {"type": "boolean"}}), &["path", "content"]),
            ),
        ]
        .map(|mut tool| {
            if tool.origin.server.is_empty() {
                tool.name = tool.origin.tool.as_str().into();
            }
            tool
        })
        .into(),
    );
    assert_eq!(warnings, Vec::<String>::new());
    tools
}

/// A name, arguments, and the name and arguments that they must come to; `None` when the model must be asked again.
type Row = (&'static str, &'static str, Option<(&'static str, Value)>);

fn all(rows: Vec<Row>) {
    let tools = tools();
    let mut wrong = Vec::new();
    for (name, arguments, wanted) in rows {
        let call = written(name, arguments);
        let got = match repair(&call, &tools, |_| Policy::Unique) {
            Outcome::Exact(valid) => Some(valid),
            Outcome::Repaired(valid, repairs) => {
                sound(&call, &tools, &valid, &repairs);
                Some(valid)
            }
            Outcome::AskAgain(_) => None,
        };
        let got = got.map(|valid| (valid.name.to_string(), serde_json::from_str::<Value>(&valid.arguments).unwrap()));
        let wanted = wanted.map(|(name, value)| (name.to_owned(), value));
        if got != wanted {
            wrong.push(format!("{name} {arguments}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Asked again.
fn ask(name: &'static str, arguments: &'static str) -> Row {
    (name, arguments, None)
}

/// Taken, with the name as it is.
fn be(name: &'static str, arguments: &'static str, value: Value) -> Row {
    (name, arguments, Some((name, value)))
}

#[test]
fn a_tool_that_declares_no_arguments_takes_none() {
    let mut rows = Vec::new();
    for name in ["db__purge", "db__reset", "db__vacuum", "db__shut"] {
        for arguments in [
            r#"{"dry_run": true}"#,
            r#"{"only": "cache"}"#,
            r#"{"only": []}"#,
            r#"{"path": "/srv"}"#,
            r#"{"arguments": {"dry_run": true}}"#,
            r#"{"confirm": false,}"#,
            r#"{"reason": "dry run, do not delete yet"}"#,
            r#"{"reason": "tidying"}"#,
            r#"["cache"]"#,
            r#""cache""#,
            "cache",
            "false",
            "0",
            "{",
            "nul",
        ] {
            rows.push(ask(name, arguments));
        }
        for arguments in [
            "{}",
            "",
            " \n",
            "null",
            " null\n",
            "None",
            "\"\"",
            "[]",
            "{},",
            "```json\n{}\n```",
            "\"{}\"",
            r#"{"arguments": {}}"#,
            r#"{"input": "{}"}"#,
            r#"{"properties": {}}"#,
            r#"{"dry_run": null}"#,
            r#"{"reason": ""}"#,
            "callback({});",
        ] {
            rows.push(be(name, arguments, json!({})));
        }
    }
    rows.push(be("db__put", r#"{"dry_run": true}"#, json!({"dry_run": true})));
    rows.push(be("db__set", r#"{"a": "1"}"#, json!({"a": 1})));
    rows.push(ask("db__set", r#"{"a": "x"}"#));
    rows.push(ask("db__put", "null"));
    rows.push(be("db__needs", r#"{"only": "cache"}"#, json!({"only": "cache"})));
    rows.push(ask("db__needs", r#"{"only": "cache", "dry_run": true}"#));
    rows.push(be("db__purge", r#"{"type": "object"}"#, json!({})));
    rows.push(ask("db__purge", r#"{"type": "array"}"#));
    all(rows);
}

#[test]
fn a_key_is_noise_only_when_what_it_says_cannot_matter() {
    let removed = || json!({"path": "a"});
    all(vec![
        ask("fs__remove", r#"{"path": "a", "reason": "dry run, do not delete yet"}"#),
        ask("fs__remove", r#"{"path": "a", "intent": "preview only"}"#),
        ask("fs__remove", r#"{"path": "a", "thought": "maybe ask the user first"}"#),
        ask("fs__remove", r#"{"path": "a", "explanation": "the user asked for it"}"#),
        ask("fs__remove", r#"{"path": "a", "description": "only the empty folders"}"#),
        ask("fs__remove", r#"{"path": "a", "_comment": "keep b"}"#),
        ask("fs__remove", r#"{"path": "a", "reason": ["x"]}"#),
        ask("fs__remove", r#"{"path": "a", "reason": true}"#),
        ask("fs__remove", r#"{"path": "a", "only": ""}"#),
        ask("fs__remove", r#"{"path": "a", "recursive": true, "dry_run": true}"#),
        be("fs__remove", r#"{"path": "a", "reason": ""}"#, removed()),
        be("fs__remove", r#"{"path": "a", "reason": null}"#, removed()),
        be("fs__remove", r#"{"path": "a", "reasoning": []}"#, removed()),
        be("fs__remove", r#"{"path": "a", "reason": "a"}"#, removed()),
        be("fs__remove", r#"{"path": "a", "Path": "a"}"#, removed()),
        be("fs__remove", r#"{"path": "a", "file_path": "a"}"#, removed()),
        ask("fs__remove", r#"{"path": "a", "file_path": "b"}"#),
        be("fs__remove", r#"{"path": "a", "dry_run": null}"#, removed()),
        be("fs__read_file", r#"{"path": "a", "explanation": "I read the file to find the bug."}"#, removed()),
        be("fs__read_file", r#"{"reasoning": "needed for the report", "path": "a"}"#, removed()),
        ask("fs__read_file", r#"{"path": "a", "explanation": "only the first ten lines"}"#),
        ask("fs__read_file", r#"{"path": "a", "reason": "do not open it yet"}"#),
        ask("fs__read_file", r#"{"path": "a", "why": {"limit": 5}}"#),
    ]);
}

#[test]
fn what_repeats_the_schema_is_dropped() {
    all(vec![
        be("fs__remove", r#"{"type": "object", "path": "a"}"#, json!({"path": "a"})),
        be("fs__remove", r#"{"type": "object", "required": ["path"], "path": "a"}"#, json!({"path": "a"})),
        ask("fs__remove", r#"{"type": "file", "path": "a"}"#),
        ask("fs__remove", r#"{"required": ["recursive"], "path": "a"}"#),
        ask("fs__remove", r#"{"additionalProperties": false, "path": "a"}"#),
        ask("fs__remove", r#"{"type": "object"}"#),
        ask("book", r#"{"type": "object"}"#),
        ask("book", r#"{"type": "object", "properties": {"note": {"type": "string"}}, "required": []}"#),
        be("fs__remove", r#"{"properties": {"path": "a"}}"#, json!({"path": "a"})),
        be("fs__remove", r#"{"type": "object", "properties": {"path": "a"}}"#, json!({"path": "a"})),
        be(
            "fs__remove",
            r#"{"type": "object", "properties": {"path": "a"}, "required": ["path"]}"#,
            json!({"path": "a"}),
        ),
        ask("fs__remove", r#"{"properties": {"path": {"type": "string"}}}"#),
        ask("fs__remove", r#"{"properties": {"path": "a"}, "dry_run": true}"#),
        ask("db__put", r#"{"properties": {"a": 1"#),
    ]);
}

#[test]
fn a_name_stays_on_its_server() {
    let found = || Some(("github__search", json!({"q": "x"})));
    let q = r#"{"q": "x"}"#;
    let path = r#"{"path": "a"}"#;
    let read = || Some(("fs__read_file", json!({"path": "a"})));
    let mut rows: Vec<Row> = [
        "github.search",
        "github_search",
        "github/search",
        "mcp__github__search",
        "GitHub.search",
        "functions.github__search",
    ]
    .map(|name| (name, q, found()))
    .into();
    for name in [
        "gitlab_search",
        "gitlab__search",
        "gitlab.search",
        "mcp__gitlab__search",
        "gitea.search",
        "git.search",
        "sandbox.search",
        "test__search",
        "github2__search",
        "githb__search",
    ] {
        rows.push(ask(name, q));
    }
    for name in [
        "read_file",
        "fs.read_file",
        "fs_read_file",
        "readFile",
        "read_fil",
        "fs__read_fle",
        "fs_raed_file",
        "read_file_tool",
        "ReadFileTool",
        "fs.read_file_tool",
    ] {
        rows.push((name, path, read()));
    }
    for name in [
        "simulate.read_file",
        "sandbox__read_file",
        "test__read_file",
        "dry_run.read_file",
        "preview/read_file",
        "noop:read_file",
        "f__read_fil",
        "read_file_2",
        "read_files_v2",
        "unread_file",
        "read_fire",
        "reed_file_tool_x",
    ] {
        rows.push(ask(name, path));
    }
    for name in [
        "simulate.send_money",
        "sandbox.send_money",
        "test__send_money",
        "mcp__sandbox__send_money",
        "mcp__dry_run__send_money",
        "bank.send_money",
        "send_mony",
    ] {
        rows.push(ask(name, r#"{"to": "b"}"#));
    }
    for name in
        ["functions.send_money", "SendMoney", "send_money_tool", "default_api.send_money", "mcp__bank__send_money"]
    {
        rows.push((name, r#"{"to": "b"}"#, Some(("send_money", json!({"to": "b"})))));
    }
    rows.push(("web.search", r#"{"query": "x"}"#, Some(("web__search_tool", json!({"query": "x"})))));
    // Two tools are called so, but for the suffix.
    rows.push(ask("search_tool_tool", q));
    all(rows);
}

#[test]
fn one_word_is_no_slip_of_the_pen_for_another() {
    all(vec![
        ask("github__get_issue", r#"{"owner": "o", "repo": "r", "issue_id": 5}"#),
        ask("github__get_issue", r#"{"owner": "o", "repo": "r", "pull_number": 5}"#),
        ask("github__get_issue", r#"{"owner": "o", "repo": "r", "tissue_number": 5}"#),
        ask("github__get_issue", r#"{"user": "o", "repo": "r", "issue_number": 5}"#),
        ask("github__get_issue", r#"{"owner": "o", "project": "r", "issue_number": 5}"#),
        be(
            "github__get_issue",
            r#"{"owner": "o", "repo": "r", "number": 5}"#,
            json!({"owner": "o", "repo": "r", "issue_number": 5}),
        ),
        be(
            "github__get_issue",
            r#"{"owner": "o", "repo": "r", "isue_number": 5}"#,
            json!({"owner": "o", "repo": "r", "issue_number": 5}),
        ),
        be(
            "github__get_issue",
            r#"{"owner": "o", "repo": "r", "issueNumbr": 5}"#,
            json!({"owner": "o", "repo": "r", "issue_number": 5}),
        ),
        be(
            "github__get_issue",
            r#"{"ownner": "o", "repo": "r", "issue_number": 5}"#,
            json!({"owner": "o", "repo": "r", "issue_number": 5}),
        ),
        ask("forms", r#"{"from_id": "x"}"#),
        ask("forms", r#"{"farm_id": "x"}"#),
        ask("forms", r#"{"form_ip": "x"}"#),
        ask("forms", r#"{"form_d": "x"}"#),
        be("forms", r#"{"form_idd": "x"}"#, json!({"form_id": "x"})),
        ask("forms", r#"{"form_ids": "x"}"#),
        be("forms", r#"{"fom_id": "x"}"#, json!({"form_id": "x"})),
        ask("ping", r#"{"cost": "12"}"#),
        ask("ping", r#"{"post": "12"}"#),
        ask("ping", r#"{"hosts": "12"}"#),
        be("ping", r#"{"hsot": "12"}"#, json!({"host": "12"})),
        ask("analyze", r#"{"test": "unit"}"#),
        ask("analyze", r#"{"next": "unit"}"#),
        ask("analyze", r#"{"context": "unit"}"#),
        be("analyze", r#"{"textt": "unit"}"#, json!({"text": "unit"})),
        ask("fs__glob", r#"{"regex": ".*\\.rs$"}"#),
        ask("fs__glob", r#"{"glob": "*.rs"}"#),
        ask("fs__glob", r#"{"query": "x"}"#),
        ask("lookup", r#"{"username": "ann"}"#),
        ask("lookup", r#"{"user": "ann"}"#),
        ask("lookup", r#"{"user_name": "ann"}"#),
        be("lookup", r#"{"userId": "ann"}"#, json!({"user_id": "ann"})),
        be("fs__read_many", r#"{"path": ["a", "b"]}"#, json!({"paths": ["a", "b"]})),
        ask("fs__read_many", r#"{"path": "a"}"#),
    ]);
}

#[test]
fn what_stands_for_a_value_is_none() {
    let mut rows = Vec::new();
    for value in [
        "$result.path",
        "await f()",
        "<|user|>",
        "N/A",
        "n/a",
        "unknown",
        "TODO",
        "tbd",
        "undefined",
        "nil",
        "user.location",
        "self.pid",
        "today()",
        "os.path.join(a)",
        "path",
        "file_path",
        "my_path",
        "FILE_PATH",
        "${path}",
        "{{path}}",
        "<path>",
        "%path%",
        "a + b",
        "x ? y : z",
        "new File",
        "lambda x",
        "() => x",
        "result?.path",
        "your_path",
        "path/to/file",
        "none",
        "?",
        "...",
        "same as above",
        "@result",
        "a || b",
        "not given",
    ] {
        rows.push((format!("{{\"path\": {value}}}"), None));
        rows.push((format!("{{\"path\": {value}, \"limit\": 5}}"), None));
    }
    for value in [
        "a",
        "a.txt",
        "src/main.rs",
        "/tmp/x y",
        "v2.0.1",
        "notes.md",
        "Ada Lovelace",
        "2024-05-01",
        "*.rs",
        "example.com",
        "feature/login",
        "eu-west-1",
        "README",
        "größe",
        "report (final).pdf",
        "a & b",
        "C++ notes",
    ] {
        rows.push((format!("{{\"path\": {value}}}"), Some(json!({"path": value}))));
        rows.push((format!("{{\"path\": {value}, \"limit\": 5}}"), Some(json!({"path": value, "limit": 5}))));
        // In quotes, it is a text like any other.
    }
    rows.push((r#"{"path": "$result.path",}"#.to_owned(), Some(json!({"path": "$result.path"}))));
    rows.push((r#"{"path": "TODO"}"#.to_owned(), Some(json!({"path": "TODO"}))));
    let tools = tools();
    let mut wrong = Vec::new();
    for (arguments, wanted) in rows {
        let call = written("fs__read_file", &arguments);
        let got = match repair(&call, &tools, |_| Policy::Unique) {
            Outcome::Exact(valid) | Outcome::Repaired(valid, _) => serde_json::from_str::<Value>(&valid.arguments).ok(),
            Outcome::AskAgain(_) => None,
        };
        if got != wanted {
            wrong.push(format!("{arguments}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    all(vec![
        ask("web__search_tool", r#"{"query": "x", "tags": "N/A"}"#),
        ask("web__search_tool", r#"{"query": "x", "tags": "all"}"#),
        ask("web__search_tool", r##"{"query": "x", "tags": "#a #b"}"##),
        be("web__search_tool", r#"{"query": "x", "tags": "rust"}"#, json!({"query": "x", "tags": ["rust"]})),
        ask("run", r#"{"command": "rm", "args": "-rf a"}"#),
        ask("run", r#"{"command": "rm", "args": "a b"}"#),
        be("run", r#"{"command": "rm", "args": "-rf"}"#, json!({"command": "rm", "args": ["-rf"]})),
    ]);
}

#[test]
fn a_number_is_no_text_of_a_format_that_it_does_not_have() {
    all(vec![
        ask("book", r#"{"day": 20260102}"#),
        ask("book", r#"{"day": 2026}"#),
        ask("book", r#"{"key": 5}"#),
        ask("book", r#"{"at": 1767323045}"#),
        ask("book", r#"{"code": 5}"#),
        ask("book", r#"{"kind": 3}"#),
        ask("book", r#"{"day": 2026-1-2}"#),
        ask("book", r#"{"day": tomorrow}"#),
        ask("book", r#"{"day": 007}"#),
        be("book", r#"{"day": 2026-01-02}"#, json!({"day": "2026-01-02"})),
        be("book", r#"{"kind": 2}"#, json!({"kind": "2"})),
        be("book", r#"{"phone": 5551234}"#, json!({"phone": "5551234"})),
        be("book", r#"{"note": 5}"#, json!({"note": "5"})),
    ]);
}

#[test]
fn escapes_of_other_languages_are_decoded_or_asked() {
    all(vec![
        be("analyze", r#"{"text": "a\u{1F600}b"}"#, json!({"text": "a😀b"})),
        be("analyze", r#"{"text": "\u{22}\u{5c}\u{a}"}"#, json!({"text": "\"\\\n"})),
        ask("analyze", r#"{"text": "\u{110000}"}"#),
        ask("analyze", r#"{"text": "\u{}"}"#),
        ask("analyze", r#"{"text": "\u{d800}"}"#),
        ask("analyze", r#"{"text": "\u{1F600"}"#),
        ask("analyze", r#"{"text": "[\u{1F600}]\d"}"#),
        ask("analyze", r#"{"text": "\x41"}"#),
        ask("analyze", r#"{"text": "\U0001F600"}"#),
        ask("analyze", r#"{"text": "\N{BULLET}"}"#),
        be("analyze", r#"{"text": "C:\Users\xavier"}"#, json!({"text": "C:\\Users\\xavier"})),
    ]);
}

#[test]
fn a_call_of_one_argument_around_the_arguments_is_taken_off() {
    let mut rows = Vec::new();
    for around in [
        "callback(*);",
        "cb(*)",
        "JSON.parse(*)",
        "jsonp_123(*);",
        "await handler(*)",
        "remove(*)",
        "fs__remove(*);",
        "(*)",
        "dict(*)",
        "print(*)",
    ] {
        rows.push((around, true));
    }
    for around in [
        "read_file(*)",
        "simulate(*)",
        "dry_run(*)",
        "preview(*);",
        "delete_file(*)",
        "callback(*, null)",
        "callback(1, *)",
        "functions.other(*)",
        "test(*)",
        "mock_call(*)",
        "other__tool(*)",
        "send_money(*)",
        "undo(*)",
        "callback(*); callback(*)x",
    ] {
        rows.push((around, false));
    }
    let tools = tools();
    let mut wrong = Vec::new();
    for (around, taken) in rows {
        let arguments = around.replace('*', r#"{"path": "a"}"#);
        let got = repair(&written("fs__remove", &arguments), &tools, |_| Policy::Unique);
        if matches!(got, Outcome::Repaired(..)) != taken {
            wrong.push(format!("{arguments}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    all(vec![be("fs__remove", r#"JSON.parse("{\"path\": \"a\"}")"#, json!({"path": "a"}))]);
}

#[test]
fn of_what_changes_something_no_member_may_have_been_lost() {
    all(vec![
        ask("write", r#"{"path": "a", "content": "b""#),
        be(
            "write",
            r#"{"path": "a", "content": "b", "append": true"#,
            json!({"path": "a", "content": "b", "append": true}),
        ),
        be("fs__touch", r#"{"path": "a""#, json!({"path": "a"})),
        be("fs__read_file", r#"{"path": "a""#, json!({"path": "a"})),
    ]);
}

#[test]
fn what_is_one_and_what_is_a_list_of_one_are_told_apart() {
    all(vec![
        ask("rows", r#"{"filter": [{"op": "eq", "field": "a"}]}"#),
        be("rows", r#"{"filter": {"op": "eq", "field": "a"}}"#, json!({"filter": {"op": "eq", "field": "a"}})),
        be(
            "rows",
            r#"{"filter": {"op": "and", "args": {"op": "eq", "field": "a"}}}"#,
            json!({"filter": {"op": "and", "args": [{"op": "eq", "field": "a"}]}}),
        ),
        ask("analyze", r#"{"text": "one" "two"}"#),
        ask("analyze", r#"{"text": 'one' 'two'}"#),
        be("analyze", r#"{"text": "the "x" one"}"#, json!({"text": "the \"x\" one"})),
    ]);
}

/// A call that breaks no rule of the schema is not said to.
#[test]
fn an_undeclared_key_is_told_as_such() {
    let Outcome::AskAgain(diagnosis) =
        repair(&written("fs__remove", r#"{"path": "a", "dry_run": true}"#), &tools(), |_| Policy::Unique)
    else {
        panic!()
    };
    insta::assert_snapshot!(diagnosis.text, @r#"
    the arguments of fs__remove have a key that its schema does not declare:
    - the whole: unknown key "dry_run"; the keys are recursive, path
    "#);
}
