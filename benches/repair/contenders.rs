//! Who repairs: agentd, through its command line, and libraries that mend JSON.
//!
//! A library knows nothing of tools, names and text. It is given the arguments alone, and none of the cases about names;
//! where what it returns parses and fits the tool's schema, that is what would have been executed.

use std::{
    collections::HashMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    cases::{Group, Outcome, Spoilt, Wire},
    tools::Offer,
};

/// A case as it is given to everybody.
pub struct Given {
    pub id: usize,
    pub group: Group,
    pub offer: Offer,
    /// The schema of the tool that was meant.
    pub schema: Value,
    pub spoilt: Spoilt,
}

/// What agentd makes of the cases, by id. `policy`: for all tools, or `None` for what each tool's annotations say.
pub fn agentd(cases: &[Given], policy: Option<&str>, scratch: &Path) -> HashMap<usize, Outcome> {
    let file = scratch.join("cases.jsonl");
    let mut lines = Vec::new();
    for case in cases {
        let tool =
            |it: &super::tools::Tool| json!({"name": it.name, "inputSchema": it.schema, "annotations": it.annotations});
        let tools: Vec<Value> = case.offer.iter().map(tool).collect();
        let line = match &case.spoilt.wire {
            Wire::Call { name, arguments } => {
                json!({"id": case.id.to_string(), "tools": tools, "call": {"name": name, "arguments": arguments}})
            }
            Wire::Text { text, family, finish, .. } => {
                json!({"id": case.id.to_string(), "tools": tools, "text": text, "family": family, "finish_reason": finish})
            }
        };
        writeln!(lines, "{line}").unwrap();
    }
    std::fs::write(&file, lines).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.args(["repair", "--json", "--batch"]).arg(&file).args(policy.iter().flat_map(|it| ["--policy", it]));
    let done = command.stderr(Stdio::inherit()).output().unwrap();
    let outcomes = String::from_utf8(done.stdout).unwrap();
    outcomes.lines().map(|line| outcome(&serde_json::from_str(line).unwrap())).collect()
}

fn outcome(line: &Value) -> (usize, Outcome) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let call = |call: &Value| (text(&call["name"]), text(&call["arguments"]));
    let outcome = Outcome {
        accepted: line["outcome"] != "ask_again",
        exact: line["outcome"] == "exact",
        calls: line["calls"].as_array().into_iter().flatten().map(call).collect(),
        text: line["text"].as_str().unwrap_or_default().to_owned(),
        nanoseconds: line["ns"].as_u64(),
    };
    (line["id"].as_str().unwrap().parse().unwrap(), outcome)
}

/// The cases that a library is given, with their arguments.
fn arguments(cases: &[Given]) -> impl Iterator<Item = (&Given, &str)> {
    cases.iter().filter(|case| case.group != Group::Name).filter_map(|case| match &case.spoilt.wire {
        Wire::Call { arguments, .. } => Some((case, arguments.as_str())),
        Wire::Text { .. } => None,
    })
}

/// A library that mends JSON in this process.
pub fn library(cases: &[Given], mend: impl Fn(&str) -> Option<String>) -> HashMap<usize, Outcome> {
    let one = |(case, text): (&Given, &str)| {
        let begun = Instant::now();
        let mended = mend(text);
        (case.id, executed(case, text, mended, begun.elapsed().as_nanos() as u64))
    };
    arguments(cases).map(one).collect()
}

/// What a host would execute that has the arguments mended and then checks them.
fn executed(case: &Given, before: &str, mended: Option<String>, nanoseconds: u64) -> Outcome {
    let Wire::Call { name, .. } = &case.spoilt.wire else { return Outcome::default() };
    let fits = |text: &String| {
        let value: Option<Value> = serde_json::from_str(text).ok();
        value.is_some_and(|value| jsonschema::is_valid(&case.schema, &value))
    };
    let exact = serde_json::from_str::<Value>(before).is_ok();
    let text = if exact { Some(before.to_owned()) } else { mended }.filter(fits);
    Outcome {
        accepted: text.is_some(),
        exact,
        calls: text.into_iter().map(|text| (name.clone(), text)).collect(),
        text: String::new(),
        nanoseconds: Some(nanoseconds),
    }
}

/// A library in another language: a program that reads `[text, schema]` a line and answers `[mended or null, nanoseconds]`.
/// `None` when it does not run.
pub fn program(cases: &[Given], command: &mut Command) -> Option<HashMap<usize, Outcome>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let lines: String = arguments(cases).map(|(case, text)| format!("{}\n", json!([text, case.schema]))).collect();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()));
    let done = child.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    let answers = String::from_utf8(done.stdout).ok()?;
    let one = |((case, text), line): ((&Given, &str), &str)| {
        let (mended, nanoseconds) = serde_json::from_str(line).ok()?;
        Some((case.id, executed(case, text, mended, nanoseconds)))
    };
    (answers.lines().count() == arguments(cases).count()).then_some(())?;
    arguments(cases).zip(answers.lines()).map(one).collect()
}
