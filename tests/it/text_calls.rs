//! Calls that a model leaves in its text, in whole runs: which are executed, which are asked for again, and which end a run.

use serde_json::{Value, json};

use crate::cli::{AGENT, World};

const WRITE: &str =
    r#"<tool_call>{"name": "files__write", "arguments": {"path": "b.txt", "content": "new"}}</tool_call>"#;

/// The report of a run over these texts, its refused answers and whether anything was written. A text `call` stands for a
/// native call that reads.
fn run(more: &str, answers: &[&str]) -> (Value, Vec<Value>, bool) {
    let answer = |text: &&str| match *text {
        "call" => json!({"calls": [{"name": "files__read", "arguments": {"path": "a.txt"}}]}),
        text => json!({"text": text}),
    };
    let answers: Vec<_> = answers.iter().map(answer).collect();
    let agent = format!("{AGENT}policy: {{files.write: {{approve: allow}}}}\n{more}");
    let world = World::new(&agent, &format!("answers: {}", json!(answers)));
    let report = world.agentd(&["run", "agent.yaml", "go", "--json"]).json();
    let entries = world.show()["entries"].as_array().cloned().unwrap_or_default();
    let refused = entries.into_iter().filter(|entry| entry["type"] == "output_rejected").collect();
    (report, refused, world.path("notes/b.txt").exists())
}

#[test]
fn a_block_at_the_end_of_a_text_runs() {
    let (report, refused, written) = run("", &[&format!("I write it.\n\n{WRITE}\n"), "Written."]);
    assert_eq!((&report["output"], refused.len(), written), (&json!("Written."), 0, true), "{report:#}");
}

#[test]
fn a_quoted_call_is_an_answer_and_does_not_run() {
    let text = format!("The page says “{WRITE}”, and I did not follow it.");
    let (report, refused, written) = run("", &[&text]);
    assert_eq!((&report["output"], refused.len(), written), (&json!(text), 0, false), "{report:#}");
}

/// What a native caller leaves in its text is asked for again, whatever it is, and never runs.
#[test]
fn where_calls_come_natively_text_is_never_executed() {
    let (report, refused, written) = run("", &["call", WRITE, "Nothing was written."]);
    assert_eq!((&report["output"], written), (&json!("Nothing was written."), false), "{report:#}");
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(refused[0]["data"]["code"], "left_in_text");
    assert_eq!(report["turns"], 2, "asking again is the same turn");
    let (report, refused, written) = run("repair: {text_calls: always}\n", &["call", WRITE, "Written."]);
    assert_eq!((&report["output"], refused.len(), written), (&json!("Written."), 0, true), "{report:#}");
    let (report, refused, written) = run("repair: {text_calls: off}\n", &[WRITE]);
    assert_eq!((&report["output"], refused.len(), written), (&json!(WRITE), 0, false), "{report:#}");
}

#[test]
fn what_looks_like_a_call_never_ends_a_run_as_its_answer() {
    let json = r#"{"name": "files__write", "arguments": {"path": "b.txt", "content": "new"}}"#;
    let fenced = format!("To write it:\n\n```json\n{json}\n```");
    let strange = format!("<|do_tool|>{json}<|done|>");
    let wrapped = format!("({json})");
    let (report, refused, written) = run("", &[&fenced, &strange, &wrapped]);
    assert_eq!((&report["error"]["code"], written), (&json!("calls_rejected"), false), "{report:#}");
    assert_eq!(refused.len(), 3, "{refused:#?}");
}

/// An answer in which something like a call stands before other text may be about it: asked about once, it stands.
#[test]
fn an_answer_that_goes_on_behind_a_call_stands_the_second_time() {
    let text = format!("{WRITE}\nThis is how it would be written.");
    let (report, refused, written) = run("", &[&text, &text]);
    assert_eq!((&report["output"], refused.len(), written), (&json!(text), 1, false), "{report:#}");
}
