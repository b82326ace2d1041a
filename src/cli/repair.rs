//! `repair`: what the ladder makes of a call by hand, or of a batch of cases, without a run.
//!
//! Tools come as `tools/list` answers have them; how far repairs go follows from their annotations, believed as those of a
//! trusted server, unless `--policy` says otherwise.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    chat::{ToolDef, ToolName, WrittenCall},
    daemon::Mended,
    mcp,
    provider::catalogue,
    repair::{
        self, Outcome, Policy, ToolSet, Valid,
        text::{Author, extract, parallel},
    },
};

use super::{
    args,
    exit::{Code, Trouble},
    out::Out,
    text::{Form, brief, escape},
};

/// Longest piece of a text that is shown of a repair, in characters.
const SHOWN_MAX: usize = 60;

/// Repairs what a file holds, or each line of a batch.
pub(super) fn repair(it: &args::Repair, out: Out) -> Result<Code, Trouble> {
    match (&it.batch, &it.file, &it.tools) {
        (Some(cases), _, _) => batch(it, cases, out),
        (None, Some(file), Some(tools)) => one(it, file, tools, out),
        // The command line does not let this through.
        (None, _, _) => Err(Trouble::usage("name a file and its tools, or a batch")),
    }
}

/// What came of one case.
#[derive(Debug, Default, Serialize)]
struct Done {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Value>,
    /// `exact`, `repaired`, `ask_again`, or `no_call` for a text that is an answer.
    outcome: &'static str,
    /// The calls that may be executed.
    calls: Vec<Call>,
    /// What is left of a text without its calls; `null` for a call.
    text: Option<String>,
    repairs: Vec<Mended>,
    /// Why there is no call; `null` when nothing is wrong.
    diagnosis: Option<Value>,
    /// Time in the ladder alone.
    ns: u64,
}

#[derive(Debug, Serialize)]
struct Call {
    name: String,
    /// The text of a JSON object.
    arguments: String,
}

fn one(it: &args::Repair, file: &Path, tools: &Path, out: Out) -> Result<Code, Trouble> {
    let tools: Value = serde_json::from_str(&read(tools)?)
        .map_err(|error| Trouble::usage(format!("{} is no JSON: {error}", tools.display())))?;
    let (tools, warnings) = tool_set(&tools).map_err(Trouble::usage)?;
    let text = read(file)?;
    let case = match &it.tool {
        Some(name) => Case::Call { name: name.clone(), arguments: text.trim_end_matches('\n').to_owned() },
        None => match serde_json::from_str::<Value>(&text).ok().as_ref().and_then(call) {
            Some(case) => case,
            None => Case::Text { text, family: None },
        },
    };
    let done = run(&case, true, &tools, it.policy);
    let code = if done.outcome == "ask_again" { Code::Failed } else { Code::Done };
    if it.shared.json {
        out.document(&done)?;
    } else {
        out.text(&explained(&done, &warnings))?;
    }
    Ok(code)
}

/// The outcome for people: what may be executed, and what was changed for it.
fn explained(done: &Done, warnings: &[String]) -> String {
    let shown = |text: &str| escape(&brief(text, SHOWN_MAX), Form::Line).into_owned();
    let mut text = String::new();
    for warning in warnings {
        text.push_str(&format!("! {}\n", shown(warning)));
    }
    text.push_str(&format!("{}\n", done.outcome.replace('_', " ")));
    for repair in &done.repairs {
        let Mended { rung, kind, path, before, after, risk, .. } = repair;
        let place = if path.is_empty() { String::new() } else { format!(" at {}", shown(path)) };
        text.push_str(&format!("~ {rung}: {kind}{place} ({risk}): {} -> {}\n", shown(before), shown(after)));
    }
    for call in &done.calls {
        text.push_str(&format!("{} {}\n", escape(&call.name, Form::Line), escape(&call.arguments, Form::Text)));
    }
    if let Some(diagnosis) = done.diagnosis.as_ref().and_then(|diagnosis| diagnosis["text"].as_str()) {
        text.push_str(&format!("{}\n", escape(diagnosis, Form::Text)));
    }
    text
}

/// Prints a line for each case; a line that is no case gets one that says why.
fn batch(it: &args::Repair, cases: &Path, out: Out) -> Result<Code, Trouble> {
    let open = || -> std::io::Result<Box<dyn Read>> {
        match cases.as_os_str() == "-" {
            true => Ok(Box::new(std::io::stdin())),
            false => Ok(Box::new(std::fs::File::open(cases)?)),
        }
    };
    let file = open().map_err(|error| Trouble::usage(format!("{}: {error}", cases.display())))?;
    for line in BufReader::new(file).lines() {
        let line = line.map_err(|error| Trouble::usage(format!("{}: {error}", cases.display())))?;
        if line.trim().is_empty() {
            continue;
        }
        let told = match case(&line, it.policy) {
            Ok(done) => serde_json::to_string(&done),
            Err(message) => serde_json::to_string(&json!({ "error": message })),
        };
        let told = told.map_err(anyhow::Error::from)?;
        match out.line(&told) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            other => other.map_err(anyhow::Error::from)?,
        }
    }
    Ok(Code::Done)
}

fn case(line: &str, policy: Option<Policy>) -> Result<Done, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let (tools, _) = tool_set(&line.tools)?;
    let whole = !matches!(line.finish_reason.as_deref(), Some("length" | "max_tokens" | "MAX_TOKENS"));
    let read = match (&line.call, line.text) {
        (Value::Null, Some(text)) => Case::Text { text, family: line.family },
        (written, _) => call(written).ok_or("a case needs a call with a name and arguments, or a text")?,
    };
    Ok(Done { id: line.id, ..run(&read, whole, &tools, policy) })
}

/// One case of a batch. Members that are not read may be of any depth.
#[derive(Debug, Deserialize)]
struct Line {
    id: Option<Value>,
    #[serde(default)]
    tools: Value,
    #[serde(default)]
    call: Value,
    text: Option<String>,
    family: Option<String>,
    finish_reason: Option<String>,
}

/// What is to be repaired.
enum Case {
    Call { name: String, arguments: String },
    Text { text: String, family: Option<String> },
}

/// A call as a document has it; arguments that are no text are written as one.
fn call(value: &Value) -> Option<Case> {
    let name = value.get("name")?.as_str()?.to_owned();
    let arguments = match value.get("arguments")? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(Case::Call { name, arguments })
}

fn run(case: &Case, whole: bool, tools: &ToolSet, policy: Option<Policy>) -> Done {
    let rule = |tool: &ToolDef| policy.unwrap_or_else(|| Policy::by_effect(tool));
    let written = |name: &str, arguments: &str, complete: bool| WrittenCall {
        provider_id: None,
        name: name.to_owned(),
        arguments: arguments.into(),
        complete: complete && whole,
        opaque: None,
    };
    let climb = |call: &WrittenCall| {
        let start = Instant::now();
        let outcome = repair::repair(call, tools, rule);
        (outcome, start.elapsed())
    };
    match case {
        Case::Call { name, arguments } => {
            let written = written(name, arguments, whole);
            let within = parallel(&written, tools);
            let outcome = if within.is_some() { "repaired" } else { "exact" };
            let mut done = Done { outcome, ..Done::default() };
            let mut took = Duration::ZERO;
            for call in within.unwrap_or_else(|| vec![written]) {
                let (outcome, time) = climb(&call);
                took += time;
                if !done.take(outcome) {
                    break;
                }
            }
            done.ns = nanoseconds(took);
            done
        }
        Case::Text { text, family } => {
            let author = author(family.as_deref().unwrap_or_default());
            let start = Instant::now();
            let found = extract(text, tools, &author, whole);
            let mut took = start.elapsed();
            let mut done = Done { outcome: "no_call", text: Some(found.text), ..Done::default() };
            if let Some(attempt) = found.attempt {
                done.outcome = "ask_again";
                let class = repair::Class::LeftInText.as_str();
                done.diagnosis = Some(json!({"class": class, "text": attempt.diagnosis()}));
            }
            for call in found.calls {
                done.outcome = "repaired";
                done.repairs.push(Mended {
                    rung: "text".to_owned(),
                    kind: call.dialect.to_owned(),
                    path: String::new(),
                    span: None,
                    before: String::new(),
                    after: call.name.clone(),
                    risk: repair::Risk::Lossless.as_str(),
                });
                let (outcome, time) = climb(&written(&call.name, &call.arguments, call.complete));
                took += time;
                if !done.take(outcome) {
                    break;
                }
            }
            done.ns = nanoseconds(took);
            done
        }
    }
}

/// The author of a text: a model of this name, at no endpoint in particular.
fn author(model: &str) -> Author {
    let is_native = catalogue::built_in().is_ok_and(|catalogue| catalogue.calls_natively(model));
    Author { is_native, ..Author::named(model) }
}

impl Done {
    /// Adds what came of one call; `false` when nothing of the answer may be executed any more, since it was cut.
    fn take(&mut self, outcome: Outcome) -> bool {
        let call = |valid: Valid| Call { name: valid.name.to_string(), arguments: valid.arguments.to_string() };
        match outcome {
            Outcome::Exact(valid) => self.calls.push(call(valid)),
            Outcome::Repaired(valid, repairs) => {
                self.calls.push(call(valid));
                self.repairs.extend(repairs.into_iter().map(Mended::from));
                if self.outcome == "exact" {
                    self.outcome = "repaired";
                }
            }
            Outcome::AskAgain(diagnosis) => {
                self.outcome = "ask_again";
                let cut = diagnosis.class == repair::Class::Truncated;
                self.diagnosis = Some(json!({"class": diagnosis.class.as_str(), "text": diagnosis.text}));
                if cut {
                    self.calls.clear();
                    return false;
                }
            }
        }
        true
    }
}

/// Tools as a list, or as an answer to `tools/list`; with what is wrong with their schemas.
fn tool_set(value: &Value) -> Result<(ToolSet, Vec<String>), String> {
    let list = value.as_array().or_else(|| value.get("tools")?.as_array()).ok_or("tools must be a list")?;
    let tools: Option<Vec<ToolDef>> = list.iter().map(tool).collect();
    let tools = tools.ok_or("a tool needs a name")?;
    Ok(ToolSet::new(tools.into()))
}

fn tool(value: &Value) -> Option<ToolDef> {
    let name = value.get("name")?.as_str()?;
    let schema = value.get("inputSchema").cloned().unwrap_or_else(|| json!({"type": "object"}));
    let judged = mcp::believed(&value["annotations"]);
    Some(ToolDef {
        name: name.into(),
        // Its server is what its name says, as in `github__search`, or not known.
        origin: ToolName { server: String::new(), tool: name.to_owned() },
        description: value["description"].as_str().unwrap_or_default().into(),
        hash: blake3::hash(schema.to_string().as_bytes()).to_hex().as_str().into(),
        input_schema: Arc::new(schema),
        effect: judged.effect,
        effect_source: judged.source,
        repeatable: judged.repeatable,
        additive: judged.additive,
    })
}

fn read(path: &Path) -> Result<String, Trouble> {
    let text = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    text.map_err(|error| Trouble::usage(format!("{}: {error}", path.display())))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
