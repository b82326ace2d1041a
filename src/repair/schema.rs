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
    /// schema without `$schema` that is only valid in an older draft is read as that draft.
    pub fn compile(schema: &Arc<Value>) -> Result<Self, BadSchema> {
        weight::check(schema)?;
        let declared = Draft::default().detect(schema);
        let mut drafts = match schema.get("$schema") {
            // Nobody knows the private meta-schema that a server may name: the newest draft is the best guess.
            Some(_) if declared == Draft::Unknown => vec![Draft::Draft202012],
            Some(_) => vec![declared],
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
            (Some(validator), _) => Ok(Schema { value: schema.clone(), validator: Arc::new(validator) }),
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

    /// Checks a value. The error is a list of faults, each a line of its own; it can be long.
    pub fn check_value(&self, value: &Value) -> Result<(), String> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if !weight::affordable(&self.value, value) {
            return Err("\n- the whole: too intricate to say where it goes wrong".to_owned());
        }
        let undecided = |kind: &ValidationErrorKind| {
            matches!(
                kind,
                ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. }
            )
        };
        let errors: Vec<_> = self.validator.iter_errors(value).filter(|error| !undecided(error.kind())).collect();
        match errors.is_empty() {
            true => Ok(()),
            false => Err(explain::list(&self.value, &errors)),
        }
    }
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
