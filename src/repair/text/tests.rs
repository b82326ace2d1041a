//! Each dialect written by a small renderer of its own, and read back: clean, in parallel, in prose, without its end,
//! with its markers in values, spoken of, cut, behind thinking, and in every split.

mod recent;
mod render;

use std::{
    cell::Cell,
    sync::{Arc, OnceLock},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Author, Extracted, Extractor, Found, TextCalls, extract};
use crate::{
    chat::{Effect, EffectSource, ToolDef, ToolName},
    repair::ToolSet,
};
use render::{ALL, Dialect};

thread_local! {
    /// How much was looked at, in bytes and markers ([`region::steps`](super::region::steps)).
    pub(super) static WORK: Cell<usize> = const { Cell::new(0) };
}

type Call = (&'static str, Value);

fn tools() -> ToolSet {
    static TOOLS: OnceLock<ToolSet> = OnceLock::new();
    TOOLS.get_or_init(made_tools).clone()
}

fn made_tools() -> ToolSet {
    let tool = |name: &str, properties: Value, required: Value| ToolDef {
        name: name.into(),
        origin: ToolName { server: "s".to_owned(), tool: name.to_owned() },
        description: "".into(),
        input_schema: Arc::new(json!({"type": "object", "properties": properties, "required": required})),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: true,
        additive: true,
        hash: name.into(),
    };
    let tools = [
        tool("read_file", json!({"path": {"type": "string"}, "limit": {"type": "integer"}}), json!(["path"])),
        tool(
            "write_file",
            json!({"path": {"type": "string"}, "content": {"type": "string"}}),
            json!(["path", "content"]),
        ),
        tool(
            "search",
            json!({
                "query": {"type": "string"},
                "exact": {"type": "boolean"},
                "score": {"type": ["number", "null"]},
                "tags": {"type": "array", "items": {"type": "string"}},
                "options": {"type": "object"},
            }),
            json!(["query"]),
        ),
        tool("now", json!({}), json!([])),
    ];
    ToolSet::new(Arc::from(tools)).0
}

/// Compares case by case and tells of all that differ.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, found: &T, expected: &T, dialect: &Dialect, text: &str) {
        if found != expected {
            self.0.push(format!("{}: {text}\n  gives    {found:?}\n  and not  {expected:?}", dialect.name));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let shown = self.0.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n\n");
        assert!(self.0.is_empty() || std::thread::panicking(), "{} differ:\n{shown}", self.0.len());
    }
}

/// The calls of a text whose arguments are whole, as name and value.
fn whole(extracted: &Extracted) -> Vec<(String, Value)> {
    let value = |call: &Found| serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
    extracted.calls.iter().filter(|call| call.complete).map(|call| (call.name.clone(), value(call))).collect()
}

fn owned(calls: &[Call]) -> Vec<(String, Value)> {
    calls.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.clone())).collect()
}

/// Takes the text in as pieces of so many characters.
fn in_pieces(text: &str, size: usize) -> Extracted {
    let mut extractor = Extractor::new(tools(), &Author::default());
    let characters: Vec<char> = text.chars().collect();
    let shown: String =
        characters.chunks(size).map(|piece| extractor.feed(&piece.iter().collect::<String>())).collect();
    let rest = extractor.finish(true);
    Extracted { text: shown + &rest.text, ..rest }
}

/// The same without what only the whole text tells.
fn parts(extracted: Extracted) -> (String, Vec<Found>) {
    (extracted.text, extracted.calls)
}

fn anybody() -> Author {
    Author::default()
}

/// What the whole gives, checked against every piecemeal reading.
fn read(text: &str) -> Extracted {
    let extracted = extract(text, &tools(), &anybody(), true);
    for size in [1, 2, 7] {
        assert_eq!(parts(in_pieces(text, size)), parts(extracted.clone()), "in pieces of {size}: {text}");
    }
    extracted
}

fn examples() -> Vec<Call> {
    vec![
        ("read_file", json!({"path": "src/main.rs", "limit": 20})),
        ("write_file", json!({"path": "a.txt", "content": "fn main() {\n    println!(\"<b>'hi' & bye</b>\");\n}\n"})),
        (
            "search",
            json!({
                "query": "naïve 日本 \\d+ \u{1F600}",
                "exact": true,
                "score": -0.5,
                "tags": ["a b", "c,d", "]}"],
                "options": {"deep": {"n": 1, "list": [true, null]}},
            }),
        ),
        ("search", json!({"query": "", "exact": false, "score": null, "tags": []})),
    ]
}

#[test]
fn clean() {
    let mut report = Report::default();
    for dialect in ALL {
        let none: Call = ("now", json!({}));
        for call in examples().into_iter().chain(dialect.without_arguments.then_some(none)) {
            let text = dialect.render(std::slice::from_ref(&call));
            let found = read(&text);
            let names: Vec<_> = found.calls.iter().map(|call| call.dialect).collect();
            report.same(
                &(whole(&found), &*found.text, names),
                &(owned(&[call]), "", vec![dialect.name]),
                dialect,
                &text,
            );
        }
    }
}

#[test]
fn parallel() {
    let mut report = Report::default();
    for dialect in ALL.iter().filter(|dialect| dialect.parallel) {
        let calls = examples();
        let text = dialect.render(&calls);
        let found = read(&text);
        report.same(&(whole(&found), &*found.text), &(owned(&calls), ""), dialect, &text);
    }
}

#[test]
fn in_prose() {
    let mut report = Report::default();
    for dialect in ALL.iter().filter(|dialect| dialect.in_prose) {
        for call in &examples()[..2] {
            let rendered = dialect.render(std::slice::from_ref(call));
            let before = "Let me look, it's `here`: 1 < 2 [see].";
            for (text, expected) in [
                (format!("{before}\n{rendered}"), before.to_owned()),
                (format!("{before}\n\n{rendered}\n"), before.to_owned()),
                (format!("Let me look:\n{rendered}"), "Let me look:".to_owned()),
                (format!("Now I look\n\n{rendered}"), "Now I look".to_owned()),
                (format!("{rendered}<|im_end|>"), String::new()),
                (format!("{before}\n{rendered}\n<|eot_id|>\n"), before.to_owned()),
            ] {
                let found = read(&text);
                report.same(
                    &(whole(&found), found.text),
                    &(owned(std::slice::from_ref(call)), expected),
                    dialect,
                    &text,
                );
            }
        }
    }
}

#[test]
fn the_end_is_missing() {
    let mut report = Report::default();
    for dialect in ALL.iter().filter(|dialect| !dialect.end.is_empty()) {
        for call in examples() {
            let text = dialect.render(std::slice::from_ref(&call));
            let text = text.strip_suffix(dialect.end).expect("it ends so").trim_end();
            let found = read(text);
            // Where only the end tells that no argument is missing, all must be there.
            let may_be_cut = dialect.end_tells_all && call.1.as_object().map_or(0, |it| it.len()) < declared(call.0);
            let expected = if may_be_cut { Vec::new() } else { owned(&[call]) };
            report.same(&(whole(&found), &*found.text), &(expected, ""), dialect, text);
        }
    }
}

fn declared(name: &str) -> usize {
    let tools = tools();
    tools.get(name).and_then(|tool| tool.input_schema["properties"].as_object()).map_or(0, serde_json::Map::len)
}

#[test]
fn markers_in_values() {
    let mut report = Report::default();
    for dialect in ALL {
        for marker in dialect.markers {
            for content in [
                format!("use {marker} here"),
                (*marker).to_owned(),
                format!("it's {marker}\nand \"{marker}\" again"),
                format!("{marker}\n{marker}"),
            ] {
                let calls: [Call; 2] = [
                    ("write_file", json!({"content": content, "path": "notes.md"})),
                    ("write_file", json!({"path": "notes.md", "content": content})),
                ];
                for call in calls {
                    let text = dialect.render(std::slice::from_ref(&call));
                    report.same(&whole(&read(&text)), &owned(&[call]), dialect, &text);
                }
            }
        }
    }
}

/// A text about calls, with a whole one in it, is a value like any other.
#[test]
fn examples_in_values() {
    let mut report = Report::default();
    for dialect in ALL.iter().filter(|dialect| dialect.nests) {
        let example = dialect.render(&[("read_file", json!({"path": "x", "limit": 3}))]);
        for content in [example.clone(), format!("# How to\n\n{example}\n\nAnd so on.")] {
            let call: Call = ("write_file", json!({"path": "notes.md", "content": content}));
            let text = dialect.render(std::slice::from_ref(&call));
            report.same(&whole(&read(&text)), &owned(&[call]), dialect, &text);
        }
    }
}

#[test]
fn spoken_of() {
    let mut report = Report::default();
    for dialect in ALL {
        let rendered = dialect.render(&examples()[..1]);
        let one_line = rendered.replace('\n', " ");
        let with_markers = dialect.markers.iter().flat_map(|marker| {
            [
                format!("The model writes {marker} before a call."),
                format!("Calls begin with `{marker}` and end at some point."),
                format!("{marker} is what it is called."),
                format!("It ends with {marker}"),
                format!("```\n{marker}\n```\nThat was it."),
            ]
        });
        for text in with_markers.chain([
            format!("An example:\n\n```\n{rendered}\n```\n\nThat is all."),
            format!("An example:\n\n~~~xml\n{rendered}\n~~~"),
            format!("Like `{one_line}` for instance."),
            format!("> {one_line}\n\nsaid the manual."),
            format!("He wrote \"{one_line}\" there."),
        ]) {
            // A fence in a fence ends it, and what comes then is not quoted.
            if !(dialect.fenced && text.starts_with("An")) {
                report.same(&parts(read(&text)), &(text.clone(), Vec::new()), dialect, &text);
            }
        }
    }
}

/// Wherever a text is cut, nothing is found whole but what is whole.
#[test]
fn cut_anywhere() {
    let mut report = Report::default();
    for dialect in ALL {
        let call = &examples()[..1];
        let text = dialect.render(call);
        for (at, _) in text.char_indices() {
            for complete in [true, false] {
                let found = whole(&extract(&text[..at], &tools(), &anybody(), complete));
                let expected = if found.is_empty() { Vec::new() } else { owned(call) };
                report.same(&found, &expected, dialect, &text[..at]);
            }
        }
    }
}

#[test]
fn behind_thinking() {
    let mut report = Report::default();
    let call = &examples()[..1];
    for dialect in ALL {
        let rendered = dialect.render(call);
        for thoughts in [
            "<think>\nI should look.\n</think>\n\n".to_owned(),
            format!("<think>\nPerhaps {rendered} will do.\n</think>\n"),
            "[THINK]hm[/THINK]".to_owned(),
            format!("So I do:\n{rendered}\nand see.\n</think>\n\n"),
        ] {
            let text = format!("{thoughts}{rendered}");
            report.same(&whole(&read(&text)), &owned(call), dialect, &text);
        }
        let text = format!("<think>\nPerhaps {rendered}");
        report.same(&read(&text), &Extracted { text: text.clone(), ..Extracted::default() }, dialect, &text);
    }
}

#[test]
fn unknown_tools() {
    let mut report = Report::default();
    for dialect in ALL {
        let text = dialect.render(&[("rm_all", json!({"path": "/"}))]);
        let Extracted { text: shown, calls, .. } = read(&text);
        let names: Vec<_> = calls.iter().map(|call| &*call.name).collect();
        let expected = if dialect.is_marked { ("", vec!["rm_all"]) } else { (&*text, Vec::new()) };
        report.same(&(&*shown, names), &expected, dialect, &text);
    }
}

/// What models do beyond their dialects, as text and as calls.
#[test]
fn oddities() {
    let read_main = || ("read_file".to_owned(), json!({"path": "a"}));
    let args = r#"{"path": "a"}"#;
    let object = format!(r#"{{"name": "read_file", "arguments": {args}}}"#);
    type Row<'a> = (&'a str, String, &'a str, Vec<(String, Value)>);
    let rows: Vec<Row<'_>> = vec![
        (
            "several in one tag",
            format!("<tool_call>\n{object}\n{object}\n</tool_call>"),
            "",
            vec![read_main(), read_main()],
        ),
        (
            "attributes on several lines",
            "<function_calls>\n<invoke name=\"read_file\">\n<parameter name=\"path\"\n string=\"true\">a</parameter>\n</invoke>\n</function_calls>".to_owned(),
            "",
            vec![read_main()],
        ),
        (
            "OpenAI's form",
            format!(r#"<tool_call>{{"type": "function", "function": {object}}}</tool_call>"#),
            "",
            vec![read_main()],
        ),
        (
            "arguments as a text",
            r#"<tool_call>{"name": "read_file", "arguments": "{\"path\": \"a\"}"}</tool_call>"#.to_owned(),
            "",
            vec![read_main()],
        ),
        ("brackets too many", format!("<tool_call>{object}}}\n</tool_call>"), "", vec![read_main()]),
        ("a fence within the tag", format!("<tool_call>\n```json\n{object}\n```\n</tool_call>"), "", vec![read_main()]),
        (
            "a comma too many",
            format!("<tool_call>{{'name': 'read_file', 'arguments': {args},}}</tool_call>"),
            "",
            vec![read_main()],
        ),
        (
            "no wrapper",
            "<function=read_file>\n<parameter=path>\na\n</parameter>\n</function>".to_owned(),
            "",
            vec![read_main()],
        ),
        ("JSON between tags", format!("<function=read_file>{args}</function>"), "", vec![read_main()]),
        (
            "the call's end is lost",
            "<tool_call>\n<function=read_file>\n<parameter=path>\na\n</parameter>\n</tool_call>".to_owned(),
            "",
            vec![read_main()],
        ),
        (
            "no wrapper for invoke",
            "<invoke name=\"read_file\"><parameter name=\"path\">a</parameter></invoke>".to_owned(),
            "",
            vec![read_main()],
        ),
        ("Mistral without its separator", format!("[TOOL_CALLS]read_file{args}"), "", vec![read_main()]),
        (
            "harmony, thinking first",
            format!(
                "<|channel|>analysis<|message|>Look at `a` <tool_call>.<|end|><|start|>assistant<|channel|>commentary to=functions.read_file <|constrain|>json<|message|>{args}<|call|>"
            ),
            "",
            vec![read_main()],
        ),
        (
            "harmony, a preamble",
            format!(
                "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.read_file<|message|>{args}<|call|>"
            ),
            "I look.",
            vec![read_main()],
        ),
        (
            "harmony, its first tokens gone",
            format!("to=functions.read_file<|channel|>commentary json<|message|>{args}"),
            "",
            vec![read_main()],
        ),
        (
            "harmony, an answer",
            "<|channel|>analysis<|message|>Easy.<|end|><|start|>assistant<|channel|>final<|message|>It is 4.<|return|>"
                .to_owned(),
            "It is 4.",
            vec![],
        ),
        (
            "Llama's turn end",
            format!(r#"{{"name": "read_file", "parameters": {args}}}<|eom_id|>"#),
            "",
            vec![read_main()],
        ),
        ("a list of calls", format!("[{object}, {object}]"), "", vec![read_main(), read_main()]),
        (
            "Kimi K3 with one block",
            format!(
                "<|open|>response<|sep|>I look.<|close|>response<|sep|><|open|>tools<|sep|><|open|>call tool=\"read_file\" index=\"1\"<|sep|><|open|>json type=\"object\"<|sep|>{args}<|close|>json<|sep|><|close|>call<|sep|><|close|>tools<|sep|>"
            ),
            "I look.",
            vec![read_main()],
        ),
        (
            "lines that end as in Windows",
            "<tool_call>\r\n<function=read_file>\r\n<parameter=path>\r\na\r\n</parameter>\r\n</function>\r\n</tool_call>"
                .to_owned(),
            "",
            vec![read_main()],
        ),
        (
            "the end of a parameter is lost, so it holds the next one",
            "<function=read_file>\n<parameter=path>\na\n<parameter=limit>\n5\n</parameter>\n</function>".to_owned(),
            "",
            vec![(
                "read_file".to_owned(),
                json!(
                    "<function=read_file>\n<parameter=path>\na\n<parameter=limit>\n5\n</parameter>\n</function>"
                ),
            )],
        ),
        ("Mistral with spaces", format!("[TOOL_CALLS] read_file [ARGS] {args}"), "", vec![read_main()]),
        (
            "Llama 4 with its tokens",
            "<|python_start|>[read_file(path=\"a\")]<|python_end|><|eot|>".to_owned(),
            "",
            vec![read_main()],
        ),
        ("tags made up", format!("<tool_use>\n{object}\n</tool_use>"), "", vec![read_main()]),
        ("tags made up, for a list of tools", format!("<tools>{object}</tools>"), "", vec![read_main()]),
        ("ReAct with free text", "Action: read_file\nAction Input: a\nObservation: b".to_owned(), "", vec![read_main()]),
        (
            "ReAct with free text for more than one",
            "Action: write_file\nAction Input: a".to_owned(),
            "",
            vec![("write_file".to_owned(), json!("a"))],
        ),
        (
            "MiniMax-M3 with a map",
            "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"search\">]<]minimax[>[<query>q]<]minimax[>[</query>]<]minimax[>[<options>]<]minimax[>[<größe 2>007]<]minimax[>[</größe 2>]<]minimax[>[</options>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>".to_owned(),
            "",
            vec![("search".to_owned(), json!({"query": "q", "options": {"größe 2": "007"}}))],
        ),
        (
            "ReAct with an invented observation",
            format!(
                "Thought: I look.\nAction: read_file\nAction Input: {args}\nObservation: it is empty\nThought: so\nAction: now\nAction Input: {{}}"
            ),
            "Thought: I look.",
            vec![read_main()],
        ),
        (
            "Python behind prose",
            "I look.\n[read_file(path=\"a\")]\n".to_owned(),
            "I look.",
            vec![read_main()],
        ),
        ("a marked fence", format!("I look.\n```tool_call\n{object}\n```"), "I look.", vec![read_main()]),
        ("a fence in prose is an example", format!("Call it so:\n```json\n{object}\n```"), "=", vec![]),
        ("JSON in prose is an example", format!("Call it so: {object}"), "=", vec![]),
        ("JSON with prose behind it", format!("{object} is how."), "=", vec![]),
        (
            "a tool's definition",
            r#"{"name": "read_file", "description": "reads", "parameters": {"path": "string"}}"#.to_owned(),
            "=",
            vec![],
        ),
        ("an answer in JSON", r#"{"severity": "low"}"#.to_owned(), "=", vec![]),
        ("a link", "[read_file](https://example.org) and [1] {x}".to_owned(), "=", vec![]),
        ("an action that is none", "Action: read_file the whole thing\nthen stop".to_owned(), "=", vec![]),
    ];
    for (name, text, shown, calls) in rows {
        let found = read(&text);
        let expected = if shown == "=" { text.clone() } else { shown.to_owned() };
        assert_eq!((whole(&found), found.text), (calls, expected), "{name}: {text}");
    }
}

const HERMES: &str = r#"<tool_call>{"name": "read_file", "arguments": {"path": "a"}}</tool_call>"#;
const JSON: &str = r#"{"name": "read_file", "arguments": {"path": "a"}}"#;

/// What a text comes to, in a word: `run`, `ask` (the text ends in something like a call), `ask once`, or `answer`.
fn outcome(text: &str, author: &Author) -> &'static str {
    let found = extract(text, &tools(), author, true);
    match found.attempt {
        _ if !found.calls.is_empty() => "run",
        Some(attempt) if attempt.ends => "ask",
        Some(_) => "ask once",
        None => "answer",
    }
}

fn outcomes<T: AsRef<str>>(author: &Author, rows: &[(T, &str)]) {
    let wrong: Vec<_> = rows
        .iter()
        .map(|(text, expected)| (text.as_ref(), outcome(text.as_ref(), author), expected))
        .filter(|(_, found, expected)| found != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// However a call is quoted, it is not executed, and the answer that quotes it is an answer.
#[test]
fn quoted_calls_are_spoken_of() {
    let quoted = [
        format!("The format ({HERMES}) is old."),
        format!("The format is old ({HERMES})."),
        format!("„{HERMES}“"),
        format!("Er schreibt „{HERMES}“."),
        format!("Il écrit «{HERMES}»"),
        format!("Il écrit « {HERMES} »."),
        format!("She writes “{HERMES}”."),
        format!("It is '{HERMES}'."),
        format!("It is \"{HERMES}\""),
        format!("彼は「{HERMES}」と書いた"),
        format!("It is \"\"\"{HERMES}\"\"\""),
        format!("It is:\n\"\"\"\n{HERMES}\n\"\"\""),
        format!("It is `{HERMES}`"),
        format!("It is ``{HERMES}``."),
        format!("<example>{HERMES}</example>"),
        format!("<example>\n{HERMES}\n</example>"),
        format!("So:\n<code>{HERMES}</code>"),
        format!("So:\n<pre><code>{HERMES}</code></pre>"),
        format!("<!-- {HERMES} -->"),
        format!("<!--\n{HERMES}\n-->"),
        format!("So:\n\n    {HERMES}"),
        format!("So:\n\n\t{HERMES}\n"),
        format!("A list:\n- {HERMES}\n- another"),
        format!("A list:\n1. {HERMES}\n2. another"),
        format!("> {HERMES}"),
        format!("He said:\n\n> {HERMES}\n> and left"),
        format!("12:01:02 INFO  model> {HERMES}"),
        format!("[12:01:02] model={HERMES}"),
        format!("2026-11-30T12:00:00Z out | {HERMES}"),
        format!("An example::\n\n  {HERMES}\n"),
        format!(".. code-block:: xml\n\n   {HERMES}\n"),
        format!("[source,xml]\n----\n{HERMES}\n----"),
        format!("....\n{HERMES}\n...."),
        format!("\\begin{{verbatim}}\n{HERMES}\n\\end{{verbatim}}"),
        format!("\\verb|{HERMES}|"),
        format!("| a | {HERMES} |\n|---|---|"),
        format!("+{HERMES}"),
        format!("$ echo {HERMES} | agent"),
        format!("Like this:\n```\n{HERMES}\n```"),
        format!("Like this:\n```xml\n{HERMES}"),
        format!("~~~\n{HERMES}\n~~~\nis the format."),
        format!("Do not write {HERMES}."),
        format!("Do not write {HERMES} anywhere."),
        format!("The page tried this:\n\n{HERMES}\n\nI did not follow it."),
        format!("The page holds {HERMES}, which I did not follow."),
        format!("The last call was:\n\n{JSON}\n\nIt failed."),
        format!("I will not run {JSON} because it is dangerous."),
        "A trace:\n\nThought: so\nAction: read_file\nAction Input: {\"path\": \"x\"}\nObservation: ok\n\nThat was it."
            .to_owned(),
        "Summary\n\nAction: search\nOwner: Ann".to_owned(),
        "The tools are [{\"name\": \"search\", \"description\": \"finds\", \"parameters\": {\"type\": \"object\"}}]"
            .to_owned(),
        "{\"name\": \"search\", \"id\": 5, \"age\": 3}".to_owned(),
        "Call `read_file(path=\"a\")` for that.".to_owned(),
        "The answer is {x | x > 3} and [1].".to_owned(),
    ];
    outcomes(&anybody(), &quoted.map(|text| (text, "answer")));
}

/// What looks like a call and is none that counts is asked about; where text goes on behind it, once.
#[test]
fn what_looks_like_a_call_is_no_answer() {
    let rows = [
        (format!("```\n{HERMES}\n```"), "ask"),
        (format!("I look.\n```json\n{JSON}\n```"), "ask"),
        (format!("To look, I call:\n\n```json\n{JSON}\n```\n"), "ask"),
        (format!("```json\n{JSON}"), "run"),
        (format!("{JSON}\n```"), "ask"),
        (format!("({JSON})"), "ask"),
        (format!("I look.\n{JSON}"), "ask"),
        (format!("I look: {JSON}"), "ask"),
        (format!("I look.\n{JSON}\nThen I tell you."), "ask once"),
        (format!("{JSON}\n{{\"error\": \"no such file\"}}"), "ask"),
        (r#"{"name": "read_file", "arguments": {"path": "a"}, "response": {"text": "b"}}"#.to_owned(), "ask"),
        (r#"{"name": "remove_it", "arguments": {"path": "a"}}"#.to_owned(), "ask"),
        (r#"{"read_file": {"path": "a"}}"#.to_owned(), "ask"),
        (r#"[{"read_file": {"path": "a"}}]"#.to_owned(), "ask"),
        ("I look.\nread_file(path=\"a\")".to_owned(), "ask"),
        ("print(read_file(path=\"a\"))".to_owned(), "ask"),
        (format!("{JSON}\n<tool_response>\nb\n</tool_response>\nIt is b."), "ask"),
        ("Let me look.\n<tool_call>".to_owned(), "ask"),
        ("Let me look.\n<tool_call>\nread_file".to_owned(), "ask"),
        ("Let me look.\n<tool_call>\nOr not.".to_owned(), "ask once"),
        ("<tool_calls:A><tool_call:A>read_file<arg_key:A>path</arg_key:A><arg_value:A>a</arg_value:A></tool_call:A></tool_calls:A>".to_owned(), "ask"),
        ("<|new_model|>read_file<|call_json|>{\"name\": \"read_file\", \"args\": {\"path\": \"a\"}}<|new_end|>".to_owned(), "ask"),
        ("<|calls_prefix|>[{\"read_file\": {\"path\": \"a\"}}]<|calls_suffix|>".to_owned(), "ask"),
        ("Ich schaue.<|sep|><|function_call|>{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}</s>".to_owned(), "ask"),
        ("<x:function_call name=\"read_file\"><a>b</a></x:function_call>".to_owned(), "ask"),
        (format!("{HERMES}\nI will tell you what it says."), "ask once"),
        (format!("{HERMES}\nAnd then\n{HERMES}"), "ask"),
        (format!("<tool_response>\nb\n</tool_response>\n{HERMES}"), "ask"),
        (format!("{HERMES}\n<tool_response>\nb\n</tool_response>\nIt is b."), "run"),
        (format!("I look.\n{HERMES}\n<|im_start|>user\nThanks"), "run"),
        (format!("I look. {HERMES}"), "run"),
        (format!("I look:\n{HERMES}"), "run"),
        (format!("I write:\n{}", HERMES.replace("read", "write")), "run"),
        (format!("I call {HERMES}"), "ask"),
    ];
    outcomes(&anybody(), &rows);
}

/// Whose text it is decides what counts.
#[test]
fn authors() {
    let kimi = "<|tool_call_begin|>functions.read_file:0<|tool_call_argument_begin|>{\"path\": \"a\"}<|tool_call_end|>";
    let qwen = Author::named("qwen3-coder-30b");
    let used = Author { dialects: vec!["kimi_k2".to_owned()], ..qwen.clone() };
    let native = Author { is_native: true, ..Author::named("gpt-5") };
    let always = Author { text_calls: TextCalls::Always, ..native.clone() };
    let off = Author { text_calls: TextCalls::Off, ..qwen.clone() };
    outcomes(&qwen, &[(HERMES, "run"), (kimi, "ask"), (JSON, "run"), ("[read_file(path=\"a\")]", "ask")]);
    outcomes(&used, &[(HERMES, "run"), (kimi, "run")]);
    outcomes(&always, &[(HERMES, "run"), (kimi, "run"), (JSON, "run")]);
    outcomes(&off, &[(HERMES, "answer"), (kimi, "answer"), (JSON, "answer")]);
    let spoken = format!("{HERMES}\nThis is how Hermes does it.");
    outcomes(&native, &[(HERMES, "ask"), (kimi, "ask"), (JSON, "ask"), (&spoken, "answer"), ("It is 4.", "answer")]);
}

/// What a colon presents is taken if it only reads.
#[test]
fn examples_that_a_colon_presents_change_nothing() {
    let mut tools: Vec<ToolDef> = tools().tools().to_vec();
    tools.iter_mut().for_each(|tool| tool.effect = Effect::Write);
    let tools = ToolSet::new(tools.into()).0;
    for (text, calls) in [(format!("So:\n{HERMES}"), 0), (format!("So.\n{HERMES}"), 1)] {
        let found = extract(&text, &tools, &anybody(), true);
        assert_eq!((found.calls.len(), found.attempt.is_some()), (calls, calls == 0), "{text}");
    }
}

/// A family leaves out the dialects of others, and none of what anybody writes.
#[test]
fn families() {
    let call = &examples()[..1];
    let found = |name: &str, family: &str| {
        let dialect = ALL.iter().find(|dialect| dialect.name == name).expect("a dialect");
        let found = extract(&dialect.render(call), &tools(), &Author::named(family), true);
        assert_eq!(found.calls.is_empty(), found.attempt.is_some_and(|attempt| attempt.ends), "{name} by {family}");
        !found.calls.is_empty()
    };
    for (dialect, family, expected) in [
        ("hermes", "nous/hermes-3", true),
        ("hermes", "mistral-large", true),
        ("mistral", "mistralai/Mistral-Small", true),
        ("mistral", "qwen3-coder-30b", false),
        ("kimi_k2", "openrouter/moonshotai/kimi-k2", true),
        ("kimi_k2", "gpt-oss-120b", false),
        ("harmony", "openai/gpt-oss-20b", true),
        ("dsml", "some-new-model", true),
    ] {
        assert_eq!(found(dialect, family), expected, "{dialect} by {family}");
    }
}

/// The answer was cut behind its first call: the second one says so, whatever the server says.
#[test]
fn cut_behind_a_call() {
    for rest in
        ["<tool_call>", "<tool_call>\n{\"na", "<tool_call>\n{\"name\": \"read_file\", \"arguments\": {\"path\": \"b"]
    {
        let first = r#"<tool_call>{"name": "read_file", "arguments": {"path": "a"}}</tool_call>"#;
        let found = read(&format!("{first}\n{rest}"));
        let complete: Vec<_> = found.calls.iter().map(|call| call.complete).collect();
        assert_eq!(complete, [true, false], "{rest}");
    }
}

/// Texts that somebody might send to keep us busy: repeated, nested and alternating delimiters.
fn hostile() -> Vec<String> {
    let repeated = [
        "<",
        ">",
        "<<|",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "{{\"",
        "(",
        "`",
        "``",
        "```",
        "```\n",
        "~",
        "~~~\n",
        "\"",
        "'",
        "\\",
        " ",
        "\n",
        "` `` ",
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        "<tool_call>{",
        "[TOOL_CALLS][{",
        "{\"name\":",
        "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"",
        "<function=f><parameter=a></parameter>",
        "<function=f><parameter=a>x</parameter></function>",
        "<parameter=path>x</parameter>",
        "[read_file(\n",
        "read_file(\n",
        "Action: read_file\nAction Input: {",
        "Observation:\n\n",
        "<|channel|>",
        "<|tool_call>call:f{a:<|\"|>",
        "<tool_response>",
        "{\"read_file\": {",
        "<|x|>",
        "<a",
        "‹",
        "<function=read_file>{",
        "\n\n- ",
        "a.\n",
    ];
    let mut texts: Vec<String> = repeated.iter().map(|piece| piece.repeat(SIZE / piece.len())).collect();
    texts.extend(repeated.windows(2).map(|pair| pair.concat()).map(|pair| pair.repeat(SIZE / pair.len())));
    for (open, close) in [("<", ">"), ("{\"a\":", "}"), ("[", "]"), ("(", ")"), ("<think>", "</think>"), ("\"", "'")] {
        let half = SIZE / 2;
        texts.push(open.repeat(half / open.len()) + &close.repeat(half / close.len()));
    }
    let calls = "<tool_call>{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}</tool_call>\n";
    texts.push(calls.repeat(SIZE / calls.len()));
    texts.push(format!(
        "<function=read_file>{}",
        "<parameter=x>1</parameter><parameter=path>1</parameter>".repeat(SIZE / 54)
    ));
    texts.push(format!("<tool_call>{{\"name\": \"read_file\", \"arguments\": {{}}}}{}", " ".repeat(SIZE)));
    texts
}

/// As long as the longest hostile text, in bytes.
const SIZE: usize = 1 << 14;

/// The work for one byte, in markers and bytes looked at, at most. A text of one byte over and over takes a few; what
/// begins like many markers takes as many as there are.
const WORK_MAX: usize = 600;

fn work(text: &str, piece: usize) -> usize {
    WORK.with(|work| work.set(0));
    if piece == 0 {
        extract(text, &tools(), &anybody(), true);
    } else {
        let mut extractor = Extractor::new(tools(), &anybody());
        let mut rest = text;
        while !rest.is_empty() {
            let end = (piece..).find(|end| rest.is_char_boundary((*end).min(rest.len()))).unwrap_or(0).min(rest.len());
            extractor.feed(&rest[..end]);
            rest = &rest[end..];
        }
        extractor.finish(true);
    }
    WORK.with(Cell::get)
}

/// The work grows with the text and not with its square, whole and in pieces.
#[test]
fn hostile_texts_take_time_in_proportion_to_their_length() {
    let mut slow = Vec::new();
    for text in hostile() {
        for piece in [0, 64] {
            let all = work(&text, piece);
            let mut quarter = text.len() / 4;
            while !text.is_char_boundary(quarter) {
                quarter += 1;
            }
            let some = work(&text[..quarter], piece);
            if all > WORK_MAX * text.len() || all > 6 * some.max(text.len()) {
                slow.push((text.chars().take(40).collect::<String>(), piece, some, all));
            }
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}

/// The same for the longest texts that there are, of the delimiters that everything looks at.
#[test]
fn a_mebibyte_of_delimiters_is_read_like_a_kibibyte() {
    for (piece, size) in [("<", 1 << 20), ("`", 1 << 20), ("[", 1 << 17), ("{", 1 << 17), ("<|", 1 << 17)] {
        let (short, long) = (piece.repeat((1 << 12) / piece.len()), piece.repeat(size / piece.len()));
        let (few, many) = (work(&short, 0).max(short.len()), work(&long, 0));
        assert!(many <= few * (size >> 12) * 5 / 4, "{piece}: {few} and {many}");
    }
}

/// Any text that a value can be: words, and what could be taken for structure.
fn texts() -> impl Strategy<Value = String> {
    let markers: Vec<&str> = ALL.iter().flat_map(|dialect| dialect.markers.iter().copied()).collect();
    let piece = prop_oneof![
        3 => "[ -~]{0,12}",
        1 => "\\PC{0,6}",
        1 => Just("\n".to_owned()),
        1 => prop::sample::select(vec!["\"", "'", "\\", "</", "```\n", "{\"a\": 1}", "null", "5", "\\n", "\"\"\"", "]", ")"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(markers).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        texts().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|number: f64| json!(number)),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,8}", inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// What a dialect that escapes its values writes is read back, whatever the values are.
    #[test]
    fn written_is_read(query in texts(), options in values(), tags in prop::collection::vec(texts(), 0..3)) {
        let options = json!({"it": options});
        let call: Call = ("search", json!({"query": query, "options": options, "tags": tags}));
        for dialect in ALL.iter().filter(|dialect| dialect.escapes) {
            let text = dialect.render(std::slice::from_ref(&call));
            let found = extract(&text, &tools(), &anybody(), true);
            prop_assert_eq!(whole(&found), owned(std::slice::from_ref(&call)), "{}: {}", dialect.name, text);
            prop_assert_eq!(parts(in_pieces(&text, 1)), parts(found), "{}: {}", dialect.name, text);
        }
    }

    /// Values that stand raw between tags are read back unless their text is itself a piece of such tags.
    #[test]
    fn raw_values_are_read(words in "[^<\\]]{0,40}", list in prop::collection::vec("[ -;=-~]{0,5}", 0..3)) {
        let call: Call = ("search", json!({"query": words, "tags": list, "exact": false}));
        for dialect in ALL.iter().filter(|dialect| !dialect.escapes) {
            let text = dialect.render(std::slice::from_ref(&call));
            let found = extract(&text, &tools(), &anybody(), true);
            prop_assert_eq!(whole(&found), owned(std::slice::from_ref(&call)), "{}: {}", dialect.name, text);
            prop_assert_eq!(parts(in_pieces(&text, 1)), parts(found), "{}: {}", dialect.name, text);
        }
    }

    /// Any text, in any pieces: the same, and no text is lost where no call is found.
    #[test]
    fn anything(text in prop::collection::vec(texts(), 0..8), size in 1usize..9) {
        let text = text.concat();
        let found = extract(&text, &tools(), &anybody(), true);
        prop_assert!(!found.calls.is_empty() || found.text == text || found.text.len() < text.len());
        prop_assert_eq!(parts(in_pieces(&text, size)), parts(found));
    }

    /// Damaged calls, in any pieces.
    #[test]
    fn damaged(dialect in prop::sample::select(ALL.to_vec()), at in 0usize..400, junk in texts(), size in 1usize..5) {
        let mut text = dialect.render(&examples());
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &junk);
        prop_assert_eq!(parts(in_pieces(&text, size)), parts(extract(&text, &tools(), &anybody(), true)));
    }
}
