//! Says what is wrong with a value, so that a model can mend it: where, what was expected, what stands there.

use std::fmt::Write as _;

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::clip::{clip, clip_value};

/// Faults told at once. More would not be read; mending these often mends others.
const FAULTS_MAX: usize = 8;
/// Bytes of a value that is shown.
const VALUE_BYTES_MAX: usize = 80;
/// Names or alternatives told of one fault.
const NAMES_MAX: usize = 12;

/// The faults, each on a line of its own.
pub(super) fn list(schema: &Value, errors: &[ValidationError<'_>]) -> String {
    let mut text = String::new();
    for error in errors.iter().take(FAULTS_MAX) {
        let path = error.instance_path().as_str();
        let path = if path.is_empty() { "the whole".into() } else { clip(path, 200) };
        let _ = write!(text, "\n- {path}: {}", one(schema, error));
    }
    if errors.len() > FAULTS_MAX {
        let _ = write!(text, "\n- and {} more", errors.len() - FAULTS_MAX);
    }
    text
}

/// One fault, without its place.
pub(super) fn one(schema: &Value, error: &ValidationError<'_>) -> String {
    let got = || clip_value(error.instance(), VALUE_BYTES_MAX);
    match error.kind() {
        Kind::Type { kind } => format!("expected {}, got {}", types(kind), got()),
        Kind::Required { property } => format!("the key {} is missing", clip_value(property, VALUE_BYTES_MAX)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unknown_keys(schema, error, unexpected)
        }
        Kind::Enum { options } => match options.as_array() {
            Some(options) => format!("expected {}, got {}", one_of(options), got()),
            None => format!("expected one of the listed values, got {}", got()),
        },
        Kind::Constant { expected_value } => {
            format!("expected {}, got {}", clip_value(expected_value, VALUE_BYTES_MAX), got())
        }
        Kind::Minimum { limit } => format!("expected at least {limit}, got {}", got()),
        Kind::Maximum { limit } => format!("expected at most {limit}, got {}", got()),
        Kind::ExclusiveMinimum { limit } => format!("expected more than {limit}, got {}", got()),
        Kind::ExclusiveMaximum { limit } => format!("expected less than {limit}, got {}", got()),
        Kind::MultipleOf { multiple_of } => format!("expected a multiple of {multiple_of}, got {}", got()),
        Kind::MinLength { limit } => format!("expected at least {limit} characters, got {}", got()),
        Kind::MaxLength { limit } => format!("expected at most {limit} characters, got {}", got()),
        Kind::MinItems { limit } => format!("expected at least {limit} items, got {}", got()),
        Kind::MaxItems { limit } => format!("expected at most {limit} items, got {}", got()),
        Kind::Pattern { pattern } => {
            format!("expected text that matches {}, got {}", clip(pattern, VALUE_BYTES_MAX), got())
        }
        Kind::Format { format } => format!("expected a valid {format}, got {}", got()),
        Kind::FalseSchema => format!("expected nothing here, got {}", got()),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            alternatives(schema, error.instance_path().as_str(), context, &got())
        }
        Kind::OneOfMultipleValid { .. } => format!("fits more than one of the alternatives: {}", got()),
        Kind::PropertyNames { error } => format!("a key is not allowed: {}", one(schema, error)),
        // The rest is rare; the library's own words, without the value.
        _ => clip(&error.masked().to_string(), 2 * VALUE_BYTES_MAX).into_owned(),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => either(kinds.iter().map(|kind| kind.to_string())),
    }
}

fn one_of(options: &[Value]) -> String {
    let shown = options.iter().take(NAMES_MAX).map(|option| clip_value(option, VALUE_BYTES_MAX));
    match options.len().checked_sub(NAMES_MAX) {
        None | Some(0) => either(shown),
        Some(more) => either(shown.chain([format!("{more} others")])),
    }
}

/// `a`, `a or b`, `a, b or c`.
fn either(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} or {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// Keys that the schema does not have, with those that it has.
fn unknown_keys(schema: &Value, error: &ValidationError<'_>, unexpected: &[String]) -> String {
    let shown: Vec<_> =
        unexpected.iter().take(NAMES_MAX).map(|key| format!("{:?}", clip(key, VALUE_BYTES_MAX))).collect();
    let mut text = format!("unknown {} {}", if shown.len() == 1 { "key" } else { "keys" }, shown.join(", "));
    // The keyword's neighbour names the keys.
    let parent = error.schema_path().as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
    let known = schema.pointer(parent).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    match known {
        Some(known) if !known.is_empty() => {
            let mut known: Vec<_> = known.keys().map(String::as_str).collect();
            if let Some(key) = unexpected.first() {
                nearest_first(clip(key, VALUE_BYTES_MAX).as_ref(), &mut known);
            }
            let more = known.len().saturating_sub(NAMES_MAX);
            known.truncate(NAMES_MAX);
            let _ = write!(text, "; the keys are {}", known.join(", "));
            if more > 0 {
                let _ = write!(text, " and {more} others");
            }
        }
        _ => text.push_str("; no others than those declared are allowed"),
    }
    text
}

/// What each alternative wants of the value at `path`.
fn alternatives(schema: &Value, path: &str, context: &[Vec<ValidationError<'static>>], got: &str) -> String {
    // `anyOf: [{type: string}, {type: "null"}]` reads best as one expectation.
    let types: Option<Vec<String>> = context
        .iter()
        .map(|errors| match errors.as_slice() {
            [error] => match error.kind() {
                Kind::Type { kind } if error.instance_path().as_str() == path => Some(types(kind)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    if let Some(types) = types {
        return format!("expected {}, got {got}", either(types.into_iter()));
    }
    let mut text = format!("fits none of the {} alternatives", context.len());
    for (number, errors) in context.iter().enumerate().take(4) {
        let Some(error) = errors.first() else { continue };
        let wish = match error.kind() {
            // Alternatives within alternatives are told by number only, so that the text does not grow with depth.
            Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of its own alternatives".to_owned(),
            _ => one(schema, error),
        };
        let below = error.instance_path().as_str().strip_prefix(path).unwrap_or_default();
        let place = if below.is_empty() { String::new() } else { format!("{}: ", clip(below, VALUE_BYTES_MAX)) };
        let _ = write!(text, "; ({}) {place}{wish}", number + 1);
    }
    text
}

/// Puts the names that look most like `wanted` first.
pub(super) fn nearest_first(wanted: &str, names: &mut [&str]) {
    let wanted = wanted.to_lowercase();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(&wanted, &clip(name, 128).to_lowercase());
    names.sort_by_cached_key(|name| std::cmp::Reverse((likeness(name) * 1e6) as u32));
}
