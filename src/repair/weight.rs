//! Finds schemas, and values, on which validation would take for ever or overflow the stack.
//!
//! A schema applies others to the same value (`$ref`, `anyOf`, …: *in place*) and to parts of it (`properties`, …).
//! Parts are bounded by the value. In place it is only bounded by the schema: forty definitions that each name the next
//! one twice are a trillion visits. So both the depth and the number of in-place paths are counted once, when the schema
//! is compiled. What is left is the report of errors, which (unlike the yes or no) visits the same part of a recursive
//! value once for each branch at each level: [`affordable`] counts those visits before.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::schema::BadSchema;

/// Deepest chain of in-place references. Real schemas stay below ten; on values at most 64 deep, twice as much still
/// fits 1 MiB of stack in a debug build (tried with jsonschema 0.60.2).
const IN_PLACE_DEPTH_MAX: usize = 32;
/// Most in-place paths from one schema. Real ones have a few hundred at most (unions of unions).
const IN_PLACE_PATHS_MAX: u64 = 10_000;
/// Deepest nesting of a schema: what serde_json reads.
const SCHEMA_DEPTH_MAX: usize = 128;
/// Deepest stack of visits in a report of errors, whose frames are larger: 64 levels with some references each.
const VISIT_DEPTH_MAX: usize = 512;
/// Visits that a report of errors may take for any value; about 10 ms.
const VISITS_BASE: u64 = 10_000;
/// Visits beyond that for each node of the value, so that a long plain list is never the reason for a poor report.
const VISITS_PER_NODE: u64 = 16;

/// Refuses a schema that could make validation explode.
pub(super) fn check(schema: &Value) -> Result<(), BadSchema> {
    let mut scales = Scales { root: schema, weights: HashMap::new() };
    scales.weigh_all(schema, 0, &mut String::new())
}

/// Whether a report of all errors of this value is cheap enough to make.
pub(super) fn affordable(schema: &Value, value: &Value) -> bool {
    let mut visits = VISITS_BASE + VISITS_PER_NODE * count(value);
    visit(schema, schema, value, 0, &mut visits).is_some()
}

/// The chain of in-place references below a schema, and the number of paths through them.
#[derive(Clone, Copy)]
struct Weight {
    depth: usize,
    paths: u64,
}

struct Scales<'s> {
    root: &'s Value,
    /// By address; `None` while the schema is being weighed, so that a circle is noticed.
    weights: HashMap<*const Value, Option<Weight>>,
}

impl<'s> Scales<'s> {
    /// Weighs whatever could be a schema. Values that merely look like one (in `default`, say) are weighed too.
    fn weigh_all(&mut self, value: &'s Value, depth: usize, path: &mut String) -> Result<(), BadSchema> {
        let bad = |path: &str, message: &str| Err(BadSchema { path: path.to_owned(), message: message.to_owned() });
        if depth > SCHEMA_DEPTH_MAX {
            return bad("", "the schema is nested too deep");
        }
        let length = path.len();
        match value {
            Value::Object(map) => {
                if depth > 0 && map.get("$id").is_some_and(Value::is_string) {
                    return bad(path, "a schema with its own $id inside a schema is not supported");
                }
                let weight = self.weigh(value, 0).map_err(|message| BadSchema { path: path.clone(), message })?;
                if weight.depth > IN_PLACE_DEPTH_MAX || weight.paths > IN_PLACE_PATHS_MAX {
                    return bad(path, "the schema refers to itself in too many ways");
                }
                for (key, value) in map {
                    path.push('/');
                    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
                    self.weigh_all(value, depth + 1, path)?;
                    path.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    path.push_str(&format!("/{index}"));
                    self.weigh_all(value, depth + 1, path)?;
                    path.truncate(length);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn weigh(&mut self, schema: &'s Value, depth: usize) -> Result<Weight, String> {
        let Value::Object(map) = schema else { return Ok(Weight { depth: 0, paths: 1 }) };
        match self.weights.get(&std::ptr::from_ref(schema)) {
            Some(Some(weight)) => return Ok(*weight),
            Some(None) => return Err("the schema refers to itself in a circle".to_owned()),
            None if depth > IN_PLACE_DEPTH_MAX => return Err("the chain of references is too long".to_owned()),
            None => {}
        }
        self.weights.insert(schema, None);
        let mut weight = Weight { depth: 0, paths: 1 };
        for applied in in_place(self.root, map)? {
            let below = self.weigh(applied, depth + 1)?;
            weight.depth = weight.depth.max(below.depth + 1);
            weight.paths = weight.paths.saturating_add(below.paths);
        }
        self.weights.insert(schema, Some(weight));
        Ok(weight)
    }
}

/// The schemas that a schema applies to the same value.
fn in_place<'s>(root: &'s Value, schema: &'s Map<String, Value>) -> Result<Vec<&'s Value>, String> {
    let mut applied = Vec::new();
    for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
        let Some(Value::String(target)) = schema.get(keyword) else { continue };
        applied.push(resolve(root, target)?);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        applied.extend(schema.get(keyword).and_then(Value::as_array).into_iter().flatten());
    }
    applied.extend(["not", "if", "then", "else"].into_iter().filter_map(|keyword| schema.get(keyword)));
    for keyword in ["dependentSchemas", "dependencies"] {
        applied.extend(schema.get(keyword).and_then(Value::as_object).into_iter().flat_map(Map::values));
    }
    Ok(applied)
}

/// The schema that a reference names. Only JSON pointers into the same document are followed.
fn resolve<'s>(root: &'s Value, target: &str) -> Result<&'s Value, String> {
    let pointer = target.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
    match pointer.map(|pointer| root.pointer(pointer)) {
        Some(Some(schema)) => Ok(schema),
        Some(None) => Err(format!("the reference {target:?} names nothing in the schema")),
        None => Err(format!("the reference {target:?} is not followed; only \"#/…\" within the schema is")),
    }
}

/// Takes the visits that a report of errors for `value` would make; `None` when there are not enough, or when
/// they would stack too high.
fn visit(root: &Value, schema: &Value, value: &Value, depth: usize, visits: &mut u64) -> Option<()> {
    *visits = visits.checked_sub(1)?;
    if depth > VISIT_DEPTH_MAX {
        return None;
    }
    let Value::Object(map) = schema else { return Some(()) };
    for applied in in_place(root, map).ok()? {
        visit(root, applied, value, depth + 1, visits)?;
    }
    match value {
        Value::Object(members) => {
            let named = map.get("properties").and_then(Value::as_object);
            let patterns = map.get("patternProperties").and_then(Value::as_object);
            let all = ["additionalProperties", "unevaluatedProperties"].into_iter().filter_map(|key| map.get(key));
            let all: Vec<&Value> = patterns.into_iter().flat_map(Map::values).chain(all).collect();
            for (key, member) in members {
                for schema in named.and_then(|named| named.get(key)).into_iter().chain(all.iter().copied()) {
                    visit(root, schema, member, depth + 1, visits)?;
                }
            }
        }
        Value::Array(items) => {
            let keywords = ["items", "additionalItems", "unevaluatedItems", "contains"];
            let all: Vec<&Value> = keywords.into_iter().filter_map(|key| map.get(key)).collect();
            let placed = |key| map.get(key).and_then(Value::as_array);
            for (index, item) in items.iter().enumerate() {
                // `items` was a list before 2020-12, where `prefixItems` is.
                let here = ["prefixItems", "items"].into_iter().filter_map(|key| placed(key)?.get(index));
                for schema in here.chain(all.iter().copied()) {
                    visit(root, schema, item, depth + 1, visits)?;
                }
            }
        }
        _ => {}
    }
    Some(())
}

/// The nodes of a value.
fn count(value: &Value) -> u64 {
    match value {
        Value::Object(members) => 1 + members.values().map(count).sum::<u64>(),
        Value::Array(items) => 1 + items.iter().map(count).sum::<u64>(),
        _ => 1,
    }
}
