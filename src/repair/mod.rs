//! Is this tool call valid; if not, what exactly is wrong with it.
//!
//! [`check`] takes a call as it came over the wire and the tools on offer, and never returns an unvalidated call. It is
//! pure and bounded: no I/O, no clock, no panic. Always true:
//! - A call that was cut is never valid, whatever its text looks like.
//! - What is valid stays byte-identical.
//! - Whatever a schema or a call looks like, the time is linear in the size of the call, and the stack is bounded.
//!
//! This is the seam for the repair ladder: rungs that mend a call slot in between "not exact" and [`Outcome::AskAgain`].

mod check;
mod clip;
mod explain;
mod json;
mod schema;
pub mod text;
mod tools;
mod weight;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::chat::OfferedName;

pub use check::check;
pub use clip::clip;
pub use json::{DEPTH_MAX, JSON_BYTES_MAX, canonical, complete_json, is_object};
pub use schema::{BadSchema, Schema};
pub use tools::ToolSet;

/// What checking a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Valid as written: the arguments are byte-identical.
    Exact(Valid),
    /// Valid after these repairs, in this order.
    Repaired(Valid, Vec<Repair>),
    /// Not valid and not to be mended without guessing: the model is told why.
    AskAgain(Diagnosis),
}

/// A call that may be executed: the tool is on offer and the arguments fit its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// The tool, by its name as offered.
    pub name: OfferedName,
    /// The arguments: the text of a JSON object.
    pub arguments: Arc<str>,
}

/// One repair: what was changed, where, by which rung of the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The rung: `text`, `syntax`, `name` or `schema`.
    pub rung: String,
    /// The kind of repair, a stable name.
    pub kind: String,
    /// Where: a JSON pointer into the arguments; empty for the whole.
    pub path: String,
    /// What stood there.
    pub before: String,
    /// What stands there now.
    pub after: String,
}

/// Why a call is not executed, told so that the model can mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The kind of fault, for statistics.
    pub class: Class,
    /// What is wrong, for the model: exact, and at most [`DIAGNOSIS_BYTES_MAX`] long.
    pub text: String,
}

/// Longest diagnosis, in bytes: enough for a few faults of a schema with what was expected, and small beside any context.
pub const DIAGNOSIS_BYTES_MAX: usize = 2048;

/// The kinds of faulty calls; the first three are named as OpenRouter publishes them (documentation, 2026-08).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The arguments are no JSON object.
    InvalidJson,
    /// No such tool is on offer.
    UnknownName,
    /// The arguments do not fit the tool's schema.
    SchemaMismatch,
    /// The call was cut off.
    Truncated,
    /// The call stood in the text instead of among the calls.
    LeftInText,
}

impl Class {
    /// The stable name in journal, API and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::InvalidJson => "invalid_json",
            Class::UnknownName => "unknown_name",
            Class::SchemaMismatch => "schema_mismatch",
            Class::Truncated => "truncated",
            Class::LeftInText => "left_in_text",
        }
    }
}
