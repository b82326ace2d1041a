//! A JSON Schema, compiled once, that no value and no schema can make slow.
//!
//! [jsonschema](https://docs.rs/jsonschema) validates; nothing is ever fetched. Schemas come from tool servers that we
//! do not trust, so what makes validation explode is looked for before: see [`weight`](super::weight). Always true:
//! - `format` is an annotation, as 2020-12 has it: servers disagree about formats, and a wrong refusal is worse than none.
//! - A pattern that the engine cannot decide within its bounds counts as matched: the model could not mend it, and the
//!   server that wrote the pattern looks at the value anyway.

use std::{fmt, sync::Arc};

use jsonschema::{Draft, PatternOptions, Validator, error::ValidationErrorKind};
use serde_json::Value;

use super::{Class, DIAGNOSIS_BYTES_MAX, Diagnosis, clip::clip, explain, json, weight};

/// A compiled JSON Schema. Clones are cheap.
#[derive(Clone)]
pub struct Schema {
    value: Arc<Value>,
    validator: Arc<Validator>,
    /// Whether there may be patterns in it, which can be undecided.
    has_patterns: bool,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadSchema {
    /// Where in the schema: a JSON pointer; empty for the whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Schema {
    /// Compiles a schema. Its draft is what `$schema` says, else 2020-12 as MCP has it (specification 2025-11-25); a
    /// schema without `$schema` that is only valid in an older draft is read as that draft. One that names a dialect that
    /// nobody here knows cannot be used (specification 2026-07-28).
    pub fn compile(schema: &Arc<Value>) -> Result<Self, BadSchema> {
        weight::check(schema)?;
        let mut drafts = match schema.get("$schema").and_then(Value::as_str) {
            Some(dialect) => vec![draft(dialect).ok_or_else(|| BadSchema {
                path: "/$schema".to_owned(),
                message: format!("{:?} is no dialect of JSON Schema that is known here", clip(dialect, 200)),
            })?],
            None => vec![Draft::Draft202012, Draft::Draft7, Draft::Draft4],
        }
        .into_iter();
        let mut first = None;
        let validator = drafts.find_map(|draft| match build(schema, draft) {
            Ok(validator) => Some(validator),
            Err(error) => {
                first.get_or_insert(error);
                None
            }
        });
        match (validator, first) {
            (Some(validator), _) => Ok(Schema {
                value: schema.clone(),
                validator: Arc::new(validator),
                has_patterns: schema.to_string().contains("pattern"),
            }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(BadSchema { path: String::new(), message: "no draft reads this schema".to_owned() }),
        }
    }

    /// The schema as written.
    pub fn value(&self) -> &Arc<Value> {
        &self.value
    }

    /// Reads a JSON text, a final answer say, and checks it. The diagnosis is for the model that wrote the text.
    pub fn check(&self, text: &str) -> Result<Value, Diagnosis> {
        if !json::complete_json(text) {
            let text = "the answer ends inside a string or an open bracket: it was cut off".to_owned();
            return Err(Diagnosis { class: Class::Truncated, text });
        }
        let value = json::read(text)
            .map_err(|fault| Diagnosis { class: Class::InvalidJson, text: format!("the answer is {fault}") })?;
        self.check_value(&value).map_err(|faults| mismatch("the answer does not fit its schema:", &faults))?;
        Ok(value)
    }

    /// Whether a value fits. A pattern that cannot be decided counts as matched.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        let undecided = || {
            weight::affordable(&self.value, value)
                && self.validator.iter_errors(value).all(|error| is_undecided(error.kind()))
        };
        self.validator.is_valid(value) || (self.has_patterns && undecided())
    }

    /// Checks a value. The error is a list of faults, each a line of its own; it can be long.
    pub fn check_value(&self, value: &Value) -> Result<(), String> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if !weight::affordable(&self.value, value) {
            return Err("\n- the whole: too intricate to say where it goes wrong".to_owned());
        }
        let errors: Vec<_> = self.validator.iter_errors(value).filter(|error| !is_undecided(error.kind())).collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(explain::list(&self.value, &errors)),
        }
    }
}

/// The draft of that name, also where it is written a little otherwise.
fn draft(dialect: &str) -> Option<Draft> {
    let name = dialect.trim().trim_end_matches(['#', '/']);
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    Some(match name.trim_start_matches("www.").strip_prefix("json-schema.org/")? {
        "draft/2020-12/schema" | "schema" => Draft::Draft202012,
        "draft/2019-09/schema" => Draft::Draft201909,
        "draft-07/schema" => Draft::Draft7,
        "draft-06/schema" => Draft::Draft6,
        "draft-04/schema" => Draft::Draft4,
        _ => return None,
    })
}

/// Whether a pattern could not be decided within its bounds.
fn is_undecided(kind: &ValidationErrorKind) -> bool {
    matches!(kind, ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. })
}

/// A diagnosis from [`Schema::check_value`]'s faults, cut to size.
pub(super) fn mismatch(opening: &str, faults: &str) -> Diagnosis {
    let text = clip(&format!("{opening}{faults}"), DIAGNOSIS_BYTES_MAX).into_owned();
    Diagnosis { class: Class::SchemaMismatch, text }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.value.to_string()).finish()
    }
}

fn build(schema: &Value, draft: Draft) -> Result<Validator, BadSchema> {
    // Plain patterns run in linear time; those with look-around or back references backtrack this often at most, some
    // milliseconds. A compiled pattern may take 1 MiB.
    let patterns = PatternOptions::fancy_regex().backtrack_limit(100_000).size_limit(1 << 20);
    jsonschema::options()
        .offline()
        .with_draft(draft)
        .should_validate_formats(false)
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| BadSchema {
            path: error.instance_path().as_str().to_owned(),
            message: match error.kind() {
                ValidationErrorKind::Referencing(error) => error.to_string(),
                _ => explain::one(&Value::Null, &error),
            },
        })
}
