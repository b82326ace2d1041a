//! One document that tells where a run stands: what `--json` prints, and what later surfaces answer with.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::{
    chat::ToolDef,
    repair::Repair,
    run::{CallRecord, CallState, End, Limit, Rejection, Run, RunId, Status, Wait},
};

use super::index::INTERRUPTED;

/// Where a run stands.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The run's id.
    pub run: String,
    /// The agent's name.
    pub agent: String,
    /// The status, in the words of the journal; `interrupted` when it is running and nobody drives it ([`Report::seen`]).
    pub status: &'static str,
    /// The output: the value that fits the agent's schema, else a text; `None` while there is none.
    pub output: Option<Value>,
    /// Turns begun.
    pub turns: u64,
    /// Calls started.
    pub tool_calls: u64,
    /// Repairs made.
    pub repairs: u64,
    /// Requests to models.
    pub attempts: u64,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// What it cost in US dollars; `None` when a price is unknown.
    pub cost_usd: Option<f64>,
    /// Whether usage and cost hold estimates, for requests that brought no answer and of which the provider told no tokens.
    pub estimated: bool,
    /// What it waits for.
    pub waiting: Vec<Waiting>,
    /// Calls that a policy, a person or the lack of one refused, oldest first. A run can be `done` all the same: the model was
    /// told, and has answered without them.
    pub denied: Vec<Denied>,
    /// Why it failed, is exhausted or was cancelled.
    pub error: Option<Problem>,
}

/// Tokens of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Usage {
    /// Read, cached ones included.
    pub input_tokens: u64,
    /// Of those: from the provider's cache.
    pub cached_tokens: u64,
    /// Of those: written to the provider's cache.
    pub cache_write_tokens: u64,
    /// Written, reasoning included.
    pub output_tokens: u64,
    /// Of those: reasoning.
    pub reasoning_tokens: u64,
}

/// One thing that a run waits for.
#[derive(Debug, Clone, Serialize)]
pub struct Waiting {
    /// The kind: `approval`, `doubt`, `input`, `provider` …
    pub kind: &'static str,
    /// The call it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// That call's tool, `server.tool`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// That call's arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    /// Those arguments as the model wrote them, where they were mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
    /// What was mended in that call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Mended>,
    /// What changed about its tool, where the kind is `change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// A stable code, where the kind has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Until when at the latest, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// A call that was refused.
#[derive(Debug, Clone, Serialize)]
pub struct Denied {
    /// The call.
    pub call: String,
    /// Its tool, `server.tool`; as the model named it where it names none.
    pub tool: String,
    /// Its arguments; as text where they are no JSON.
    pub arguments: Value,
    /// Who refused it: a person, `policy`, or `expiry` when nobody answered in time.
    pub by: String,
    /// What the model was told.
    pub reason: String,
}

/// The definition of a tool before and after its server changed it.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// As a person last knew it.
    pub before: Definition,
    /// As the server lists it now.
    pub after: Definition,
}

/// The definition of a tool.
#[derive(Debug, Clone, Serialize)]
pub struct Definition {
    /// What the server says of it.
    pub description: String,
    /// What it may do.
    pub effect: &'static str,
    /// The JSON Schema of its arguments.
    pub input_schema: Arc<Value>,
}

impl From<&ToolDef> for Definition {
    fn from(tool: &ToolDef) -> Self {
        Definition {
            description: tool.description.to_string(),
            effect: tool.effect.as_str(),
            input_schema: tool.input_schema.clone(),
        }
    }
}

/// A repair as it is told.
#[derive(Debug, Clone, Serialize)]
pub struct Mended {
    /// See [`Repair::rung`].
    pub rung: String,
    /// See [`Repair::kind`].
    pub kind: String,
    /// See [`Repair::path`].
    pub path: String,
    /// See [`Repair::span`]: the first byte, and the one behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<[usize; 2]>,
    /// What stood there.
    pub before: String,
    /// What stands there now.
    pub after: String,
    /// How sure it is: `A` (another spelling of the same meaning) or `B` (the only reading that makes sense).
    pub risk: &'static str,
}

impl From<Repair> for Mended {
    fn from(it: Repair) -> Self {
        let span = it.span.map(|span| [span.start, span.end]);
        let Repair { rung, kind, path, before, after, risk, .. } = it;
        Mended { rung, kind, path, span, before, after, risk: risk.as_str() }
    }
}

/// Why a run has no output.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// A stable code.
    pub code: String,
    /// In words.
    pub message: String,
}

impl Report {
    /// Where `run` stands.
    pub fn new(id: RunId, run: &Run) -> Self {
        let tally = run.tally();
        Report {
            run: id.to_string(),
            agent: run.started().map(|started| started.agent.clone()).unwrap_or_default(),
            status: run.status().as_str(),
            output: output(run),
            turns: tally.turns,
            tool_calls: tally.tool_calls,
            repairs: tally.repairs,
            attempts: tally.attempts,
            usage: Usage {
                input_tokens: tally.usage.input,
                cached_tokens: tally.usage.cached,
                cache_write_tokens: tally.usage.cache_write,
                output_tokens: tally.usage.output,
                reasoning_tokens: tally.usage.reasoning,
            },
            cost_usd: (!tally.cost_unknown).then_some(tally.cost.0 as f64 / 1e9),
            estimated: tally.estimated,
            waiting: waits(run).into_iter().map(|wait| waiting(run, wait)).collect(),
            denied: run.calls().filter_map(denied).collect(),
            error: run.end().and_then(problem),
        }
    }

    /// The same as others see it: a run that is running while nobody drives it was interrupted.
    pub fn seen(self, driven: bool) -> Self {
        let interrupted = !driven && self.status == Status::Running.as_str();
        Report { status: if interrupted { INTERRUPTED } else { self.status }, ..self }
    }
}

/// What a run waits for, if it waits.
fn waits(run: &Run) -> Vec<Wait> {
    let want = run.next();
    if want.is_idle() { want.waiting } else { Vec::new() }
}

fn output(run: &Run) -> Option<Value> {
    let Some(End::Done { output }) = run.end() else { return None };
    let typed = run.started().is_some_and(|started| started.output_schema.is_some());
    let value = typed.then(|| serde_json::from_str(output).ok()).flatten();
    Some(value.unwrap_or_else(|| Value::String(output.to_string())))
}

fn denied(call: &CallRecord) -> Option<Denied> {
    let CallState::Rejected(Rejection::Denied(reason)) = &call.state else { return None };
    let arguments = call.arguments();
    Some(Denied {
        call: call.id.to_string(),
        tool: call.resolved.as_ref().map_or_else(|| call.written.name.clone(), |resolved| resolved.origin.to_string()),
        arguments: serde_json::from_str(arguments).unwrap_or_else(|_| Value::String(arguments.to_string())),
        // What the agent file refuses is refused before anybody is asked.
        by: call.decided.as_ref().map_or_else(|| "policy".to_owned(), |given| given.by.clone()),
        reason: reason.clone(),
    })
}

fn waiting(run: &Run, wait: Wait) -> Waiting {
    let kind = wait.kind().as_str();
    let call = match wait {
        Wait::Approval(call) | Wait::Change(call) | Wait::Doubt(call) | Wait::Input(call) => call,
        Wait::Other(wait) => {
            return Waiting {
                kind,
                call: None,
                tool: None,
                arguments: None,
                written: None,
                repairs: Vec::new(),
                change: None,
                code: Some(wait.code),
                message: Some(wait.message),
                until_ms: wait.until.map(|until| until.0),
            };
        }
    };
    let record = run.call(call);
    let resolved = record.and_then(|record| record.resolved.as_ref());
    let mended = record.filter(|_| resolved.is_some_and(|resolved| resolved.arguments.is_some()));
    Waiting {
        kind,
        call: Some(call.to_string()),
        tool: resolved.map(|resolved| resolved.origin.to_string()),
        arguments: record.and_then(|record| serde_json::from_str(record.arguments()).ok()),
        written: mended.map(|record| record.written.arguments.to_string()),
        repairs: resolved.map(|it| it.repairs.iter().cloned().map(Mended::from).collect()).unwrap_or_default(),
        change: resolved.and_then(|resolved| {
            let (before, after) = (run.held_tool(&resolved.origin)?, run.tool(&resolved.origin)?);
            Some(Change { before: before.into(), after: after.into() })
        }),
        code: None,
        message: None,
        until_ms: record.and_then(|record| record.asked.as_ref()?.expires).map(|expires| expires.0),
    }
}

pub(super) fn problem(end: &End) -> Option<Problem> {
    let (code, message) = match end {
        End::Done { .. } => return None,
        End::Failed { code, message } => (code.clone(), message.clone()),
        End::Cancelled => ("cancelled".to_owned(), "the run was cancelled".to_owned()),
        End::Exhausted { limit, message } => {
            let limit = match limit {
                Limit::Turns => "turns",
                Limit::ToolCalls => "tool_calls",
                Limit::Tokens => "tokens",
                Limit::Cost => "cost",
                Limit::Active => "active",
                Limit::Budget => "budget",
            };
            let usual = || format!("the limit of {limit} is used up; resume the run with a higher one");
            (format!("exhausted_{limit}"), message.clone().unwrap_or_else(usual))
        }
    };
    Some(Problem { code, message })
}
