//! What goes over the wire of `/api/v1`: types of its own, since what is written down is a promise.
//!
//! Entries and inbox items are in the journal's own stored form (`journal::v1`), so that there is one form of each.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    daemon::{Error, Listed, Report},
    journal::v1,
    run::{Entry, Run, RunId},
};

/// The media type of [`Problem`], RFC 9457.
pub const PROBLEM: &str = "application/problem+json";

/// A list of runs, newest first.
#[derive(Debug, Serialize)]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Row>,
}

impl Runs {
    /// Of these, in this order.
    pub fn new(listed: &[Listed]) -> Self {
        Runs { runs: listed.iter().map(Row::new).collect() }
    }
}

/// A run in a list.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its id.
    pub run: String,
    /// Its status; `interrupted` when it is running and nobody drives it.
    pub status: String,
    /// The kinds of what it waits for, also while it is running: `approval`, `doubt`, `provider` … May lag behind while it
    /// is driven.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    /// The agent's name.
    pub agent: String,
    /// When it started, in milliseconds since 1970.
    pub created_ms: i64,
    /// When its newest entry was made, in milliseconds since 1970; may lag behind while it is driven.
    pub updated_ms: i64,
    /// What it has cost in US dollars; `None` when a price is unknown. May lag behind while it is driven.
    pub cost_usd: Option<f64>,
    /// The process that drives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Why it is quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

impl Row {
    fn new(listed: &Listed) -> Self {
        Row {
            run: listed.run.to_string(),
            status: listed.status().to_owned(),
            waiting: listed.waits().map(str::to_owned).collect(),
            agent: listed.columns.agent.clone(),
            created_ms: listed.columns.created.0,
            updated_ms: listed.columns.updated.0,
            cost_usd: listed.columns.cost_nano.map(|cost| cost as f64 / 1e9),
            pid: listed.driver,
            damage: listed.damage.as_ref().map(|damage| damage.to_string()),
        }
    }
}

/// A run and all its entries.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// Where it stands.
    #[serde(flatten)]
    pub report: Report,
    /// Its journal.
    pub entries: Vec<Box<RawValue>>,
}

impl Shown {
    /// Of a run that these entries led to, and that somebody drives or nobody.
    pub fn new(id: RunId, run: &Run, entries: &[Entry], driven: bool) -> Self {
        // A line is JSON.
        let entries = entries.iter().filter_map(|entry| RawValue::from_string(v1::line(entry)).ok());
        Shown { report: Report::new(id, run).seen(driven), entries: entries.collect() }
    }
}

/// The entries of a run, as [`Shown`] has them.
#[derive(Debug, Deserialize)]
pub(super) struct Entries {
    pub(super) entries: Vec<Box<RawValue>>,
}

/// What became of a post.
#[derive(Debug, Serialize, Deserialize)]
pub struct Posted {
    /// The entry that took it in; `None` when it is durable and its driver has not come to it yet.
    pub seq: Option<u64>,
}

/// Why something was not done, RFC 9457.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// A stable name, as [`Error::code`] has it.
    pub code: String,
    /// In words.
    pub detail: String,
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let status = match error.code() {
            "not_found" => 404,
            "refused" | "driven_elsewhere" | "slot_busy" | "fenced" => 409,
            "too_large" => 413,
            "invalid_file" | "unknown_model" | "bad_request" => 400,
            "store_full" => 507,
            "store_locked" | "gone" => 503,
            _ => 500,
        };
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        Problem { status, code: error.code().to_owned(), detail }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        match &*problem.code {
            "refused" => Error::Refused(problem.detail),
            "not_found" => Error::NotFound(problem.detail),
            _ => Error::Remote { code: problem.code, message: problem.detail },
        }
    }
}
