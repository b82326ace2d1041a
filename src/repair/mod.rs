//! Is this tool call valid; if not, what is the only valid call that it can have been; and if there is none, what exactly
//! is wrong with it.
//!
//! [`repair`] takes a call as it came over the wire, the tools on offer and a [`Policy`] for each tool. It is a ladder: a
//! valid call is *exact*; else its name is looked up (`names`), what surrounds the arguments is taken off (`wire`), they
//! are read as the JSON that they nearly are (`syntax`), and brought into the form that the schema wants (`align`, over the
//! layout in `shape`). Every step is a list of edits of the text (`draft`), so what is not broken stays byte-identical, and
//! the [`Repair`]s can be made again ([`replay`]). Where several readings are left, the cheapest ones must agree. It is pure
//! and bounded: no I/O, no clock, no panic. Always true:
//! - What is valid stays byte-identical; nothing that was not validated is ever returned.
//! - A call that was cut is never valid: no open string, number, comma or colon is closed. Brackets alone may be missing,
//!   and only where a wrong reading does no harm.
//! - No value is invented, clamped or picked from several, and no option is dropped.
//! - Whatever a schema or a call looks like, the time is linear in the size of the call, and the stack is bounded.

mod align;
mod clip;
mod draft;
mod explain;
mod json;
mod keys;
mod kind;
mod ladder;
mod names;
mod schema;
mod shape;
mod standin;
mod syntax;
pub mod text;
mod tools;
mod tree;
mod weight;
mod wire;
mod words;

#[cfg(test)]
mod caution;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod taxonomy;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::chat::OfferedName;

pub use clip::clip;
pub use draft::replay;
pub use json::{DEPTH_MAX, JSON_BYTES_MAX, canonical, complete_json, is_object};
pub use ladder::repair;
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
    /// The rung: `text`, `wire`, `syntax`, `name` or `schema`.
    pub rung: String,
    /// The kind of repair, a stable name.
    pub kind: String,
    /// Where: a JSON pointer into the arguments; empty for the whole.
    pub path: String,
    /// Which bytes, in the text as the repairs before this one left it: of the name for the rung `name`, else of the
    /// arguments. `None` in journals of 0.1.
    pub span: Option<Span>,
    /// What stood there.
    pub before: String,
    /// What stands there now.
    pub after: String,
    /// How sure it is.
    pub risk: Risk,
}

/// A range of bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

/// How sure a repair is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Class A: another spelling of the same meaning.
    #[default]
    Lossless,
    /// Class B: the only reading that makes sense.
    Unique,
}

impl Risk {
    /// The stable name in journals and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Risk::Lossless => "A",
            Risk::Unique => "B",
        }
    }
}

/// How far repairs of a call may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Policy {
    /// Not at all: only what is exact is executed.
    Off,
    /// As far as the meaning certainly stays.
    Lossless,
    /// As far as there is only one reading.
    Unique,
}

impl Policy {
    /// The name in files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Off => "off",
            Policy::Lossless => "lossless",
            Policy::Unique => "unique",
        }
    }
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
