//! Reduces the JSON Schema of a tool to what a target accepts. The original goes on validating the arguments here, so what
//! a target cannot express is only left out of what the model is told.
//!
//! A pure function of schema and [`Subset`]; one subset per format, as data (`subset`). First what some service is known to
//! refuse the whole request for is taken out, whoever is asked (`sound`). Then a schema is expanded (here), and
//! written as the target writes such things (`style`). `strict` tells which schemas a model can be held to. A reduced
//! schema is *wider*: what the original accepts it accepts too. Three exceptions, where a format leaves no choice or the wide
//! reading would tell the model nothing: a property that one branch of a merged union names keeps the meaning it has there; a
//! subset that closes objects has none with names that are not listed; and a place that must name a type and takes any has
//! no lists in lists.
//! Always true:
//! - For tools the outermost schema is an object with properties, be the original true, a union, or no schema at all.
//! - References that may not stay are put in place; where they run in circles, or would make the schema explode
//!   ([`INLINED_PLACES_MAX`]), stands the bare type.
//! - No property loses its description.
//!
//! Left out on purpose: keywords that restrict by what does *not* hold (`not`, `if`, `contains`, …) are never rewritten;
//! where schemas are rewritten at all they are dropped, which is wider.

mod sound;
mod strict;
mod style;
mod subset;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value, json};

pub(super) use sound::{keywords, sound, without};
pub(super) use strict::{Budget, strict, unfilled};
pub(super) use subset::{
    ANTHROPIC, ANTHROPIC_OUTPUT, GEMINI_JSON, GEMINI_OUTPUT, GEMINI_PARAMETERS, OPENAI, OPENAI_STRICT, Subset,
};
use subset::{Places, Root};

/// Most places of a schema that may come from references put in place. The largest schemas of real tool servers have
/// some hundreds; what models are told beyond this they do not use, and it is sent again with each turn.
const INLINED_PLACES_MAX: usize = 2_000;

/// Deepest nesting of what is rewritten, for targets that do not say. serde_json reads 128, and stacks are finite.
const DEPTH_MAX: usize = 48;

/// The schema as this target accepts it, borrowed when it is so already.
pub(super) fn reduce<'a>(schema: &'a Value, subset: &Subset) -> Cow<'a, Value> {
    let lists = subset.places.is_none();
    let reduced = match sound(schema, lists) {
        Cow::Borrowed(schema) => reduce_sound(schema, subset),
        Cow::Owned(schema) => Cow::Owned(reduce_sound(&schema, subset).into_owned()),
    };
    match reduced {
        // What was merged may contradict itself: a type of one place beside the values of another.
        Cow::Owned(reduced) => Cow::Owned(sound(&reduced, lists).into_owned()),
        whole => whole,
    }
}

fn reduce_sound<'a>(schema: &'a Value, subset: &Subset) -> Cow<'a, Value> {
    if subset.places.is_none() && (subset.root == Root::Any || is_plain_object(schema)) {
        return Cow::Borrowed(schema);
    }
    let mut reducer = Reducer {
        root: schema,
        places: subset.places.as_ref(),
        left: INLINED_PLACES_MAX,
        open: Vec::new(),
        // Up to draft 7 nothing counts beside a reference.
        is_old: schema.get("$schema").and_then(Value::as_str).is_some_and(|draft| draft.contains("/draft-0")),
    };
    let expanded = match subset.root {
        Root::Object => reducer.root(),
        Root::Any => reducer.place(schema, 0),
    };
    let reduced = match reducer.places {
        Some(places) => reducer.styled(expanded, places),
        None => expanded,
    };
    if reduced == *schema { Cow::Borrowed(schema) } else { Cow::Owned(reduced) }
}

/// Keywords that make a root more than a plain object.
const NOT_AT_ROOT: &[&str] =
    &["$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "not", "enum", "const", "if", "then", "else"];

/// Where definitions stand.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Keywords that mean something only together with others of the same schema, and so are not moved into another one.
const LOCAL: &[&str] = &[
    "$anchor",
    "$dynamicAnchor",
    "$id",
    "$schema",
    "contains",
    "dependencies",
    "dependentSchemas",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value must be a number; up to draft 4 two of them were true or false.
const NUMBERS: &[&str] = &[
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
];

const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

type Members = Map<String, Value>;

fn is_plain_object(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
        && schema.get("properties").is_some_and(Value::is_object)
        && NOT_AT_ROOT.iter().all(|keyword| schema.get(keyword).is_none())
}

/// First the schema is *expanded*: keywords are dropped, references put in place, what must be one object is merged. That
/// leaves a JSON Schema in its usual sense, which is then *styled*: written in the way that the target writes such things.
struct Reducer<'s> {
    root: &'s Value,
    places: Option<&'s Places>,
    /// Places that may still come from references.
    left: usize,
    /// The references within which we are.
    open: Vec<String>,
    is_old: bool,
}

/// Expanding.
impl<'s> Reducer<'s> {
    fn keeps(&self, keyword: &str) -> bool {
        self.places.is_none_or(|places| places.keeps(keyword))
    }

    fn root(&mut self) -> Value {
        let mut out = self.object(self.root, 0);
        out.insert("type".into(), "object".into());
        if !out.get("properties").is_some_and(Value::is_object) {
            out.insert("properties".into(), json!({}));
        }
        for keyword in DEFINITIONS {
            if self.keeps(keyword)
                && let Some(Value::Object(definitions)) = self.root.get(keyword)
            {
                let definitions = definitions.iter().map(|(name, schema)| (name.clone(), self.place(schema, 1)));
                out.insert(keyword.to_owned(), Value::Object(definitions.collect()));
            }
        }
        Value::Object(out)
    }

    /// One object for a schema of objects, with all that its unions and references say.
    fn object(&mut self, schema: &Value, depth: usize) -> Members {
        let Value::Object(members) = schema else { return Map::new() };
        if depth > DEPTH_MAX {
            return Map::new();
        }
        let mut out = self.members(members, &[NOT_AT_ROOT, &DEFINITIONS].concat(), depth);
        if NOT_AT_ROOT.iter().any(|keyword| members.contains_key(*keyword)) {
            // What is left over by all others is another set now.
            out.shift_remove("unevaluatedProperties");
        }
        if let Some((name, target)) = self.follow(members) {
            self.open.push(name);
            let target = self.object(target, depth + 1);
            self.open.pop();
            out = self.both(out, target);
        }
        for branch in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let branch = self.object(branch, depth + 1);
            out = self.both(out, branch);
        }
        for keyword in ["anyOf", "oneOf"] {
            let Some(Value::Array(branches)) = members.get(keyword) else { continue };
            let branches = branches.iter().filter(|branch| may_be_object(branch));
            let branches = branches.map(|branch| self.object(branch, depth + 1)).collect();
            let merged = either(branches, &out);
            out = self.both(out, merged);
        }
        out
    }

    /// The target of a reference that can be followed, and its name.
    fn follow(&mut self, members: &Members) -> Option<(String, &'s Value)> {
        let name = members.get("$ref")?.as_str()?;
        let target = self.target(name)?;
        self.left = self.left.saturating_sub(1);
        (self.left > 0 && self.open.len() < DEPTH_MAX && !self.open.iter().any(|open| open == name))
            .then(|| (name.to_owned(), target))
    }

    /// What a reference within the schema names.
    fn target(&self, name: &str) -> Option<&'s Value> {
        self.root.pointer(name.strip_prefix('#')?)
    }

    /// A schema somewhere below the root.
    fn place(&mut self, schema: &Value, depth: usize) -> Value {
        let Some(places) = self.places else { return schema.clone() };
        let Value::Object(members) = schema else { return json!({}) };
        if !self.open.is_empty() {
            self.left = self.left.saturating_sub(1);
        }
        if depth >= places.depth_max || (!self.open.is_empty() && self.left == 0) {
            return Value::Object(self.bare(members));
        }
        let Some(Value::String(name)) = members.get("$ref") else {
            return Value::Object(self.members(members, &[], depth));
        };
        if self.keeps("$ref") && is_definition(name) && self.target(name).is_some() {
            let mut out = self.annotations(members);
            out.insert("$ref".into(), name.as_str().into());
            return Value::Object(out);
        }
        let beside = if self.is_old { self.annotations(members) } else { self.members(members, &["$ref"], depth) };
        let target = match self.follow(members) {
            Some((name, target)) => {
                self.open.push(name);
                let target = self.place(target, depth);
                self.open.pop();
                target
            }
            // A circle, or too much of it, or elsewhere: what kind of thing it is may still be told.
            None => match self.target(name) {
                Some(Value::Object(target)) => Value::Object(self.bare(target)),
                _ => json!({}),
            },
        };
        match target {
            // What is said here of the thing is more to the point than what is said of all things of its kind.
            Value::Object(mut target) => {
                target.retain(|key, _| !is_annotation(key) || !beside.contains_key(key));
                Value::Object(self.both(beside, target))
            }
            _ => Value::Object(beside),
        }
    }

    /// What is kept of the members of a schema, but for those to skip.
    fn members(&mut self, members: &Members, skip: &[&str], depth: usize) -> Members {
        let members = || members.iter().filter(|(key, _)| !skip.contains(&key.as_str()));
        let Some(places) = self.places else {
            return members().map(|(key, value)| (key.clone(), value.clone())).collect();
        };
        let has = |keyword: &str| members().any(|(key, _)| key == keyword);
        // Without what these leave over, they would mean more than they did.
        let is_rest = |key: &str| match key {
            "additionalProperties" => has("patternProperties"),
            "items" => has("prefixItems") && !places.keeps("prefixItems"),
            _ => false,
        };
        let mut out = Map::new();
        for (key, value) in members().filter(|(key, _)| places.keeps(key) && !is_rest(key)) {
            let kept = match (key.as_str(), value) {
                ("anyOf" | "oneOf" | "allOf" | "const", _) => None,
                ("$defs" | "definitions", _) => None,
                ("properties", Value::Object(properties)) => Some(Value::Object(
                    properties.iter().map(|(name, schema)| (name.clone(), self.place(schema, depth + 1))).collect(),
                )),
                ("items", Value::Object(_) | Value::Bool(true)) => Some(self.place(value, depth + 1)),
                ("additionalProperties", Value::Object(_)) => Some(self.place(value, depth + 1)),
                ("additionalProperties", Value::Bool(_)) => Some(value.clone()),
                ("prefixItems", Value::Array(items)) => {
                    Some(items.iter().map(|schema| self.place(schema, depth + 1)).collect())
                }
                ("properties" | "items" | "additionalProperties" | "prefixItems", _) => None,
                ("format", Value::String(format)) => {
                    places.formats.is_none_or(|formats| formats.contains(&format.as_str())).then(|| value.clone())
                }
                ("title" | "description" | "pattern", Value::String(_)) => Some(value.clone()),
                ("title" | "description" | "pattern" | "format", _) => None,
                ("enum" | "required" | "propertyOrdering", Value::Array(_)) => Some(value.clone()),
                ("enum" | "required" | "propertyOrdering", _) => None,
                ("type", Value::String(name)) => TYPES.contains(&name.as_str()).then(|| value.clone()),
                ("type", Value::Array(names)) => {
                    let known = names.iter().all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name)));
                    (known && !names.is_empty()).then(|| value.clone())
                }
                ("type", _) => None,
                (key, value) if NUMBERS.contains(&key) => value.is_number().then(|| value.clone()),
                _ => Some(value.clone()),
            };
            if let Some(kept) = kept {
                out.insert(key.clone(), kept);
            }
        }
        for (key, value) in members() {
            match (key.as_str(), value) {
                ("const", value) if self.keeps("const") => _ = out.insert(key.clone(), value.clone()),
                ("const", value) => out = self.both(out, Map::from_iter([("enum".to_owned(), json!([value]))])),
                // Wider by one value.
                ("exclusiveMinimum", Value::Number(bound)) if !self.keeps(key) && self.keeps("minimum") => {
                    out.entry("minimum").or_insert_with(|| bound.clone().into());
                }
                ("exclusiveMaximum", Value::Number(bound)) if !self.keeps(key) && self.keeps("maximum") => {
                    out.entry("maximum").or_insert_with(|| bound.clone().into());
                }
                ("allOf", Value::Array(branches)) => {
                    let branches: Vec<_> = branches.iter().map(|branch| self.place(branch, depth + 1)).collect();
                    if self.keeps("allOf") {
                        out.insert(key.clone(), branches.into());
                    } else {
                        for branch in branches {
                            out = self.both(out, into_members(branch));
                        }
                    }
                }
                // Of one-of, where branches got wider, more than one may hold.
                ("anyOf" | "oneOf", Value::Array(branches)) if self.keeps("anyOf") && !branches.is_empty() => {
                    let branches: Vec<_> = branches.iter().map(|branch| self.place(branch, depth + 1)).collect();
                    out = self.both(out, Map::from_iter([("anyOf".to_owned(), branches.into())]));
                }
                _ => {}
            }
        }
        out
    }

    /// What kind of thing a schema is about, and nothing of what is within.
    fn bare(&self, members: &Members) -> Members {
        let mut out = self.annotations(members);
        if let Some(name) = members.get("type").filter(|name| name.as_str().is_some_and(|name| TYPES.contains(&name))) {
            out.insert("type".into(), name.clone());
        }
        out
    }

    fn annotations(&self, members: &Members) -> Members {
        let kept = members.iter().filter(|(key, value)| is_annotation(key) && value.is_string() && self.keeps(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A schema that holds where both do, or wider.
    fn both(&self, mut ours: Members, theirs: Members) -> Members {
        for (key, value) in theirs {
            let Some(own) = ours.get_mut(&key) else {
                if !LOCAL.contains(&key.as_str()) {
                    ours.insert(key, value);
                }
                continue;
            };
            match (key.as_str(), own, value) {
                ("properties", Value::Object(own), Value::Object(properties)) => {
                    for (name, schema) in properties {
                        match own.get_mut(&name) {
                            Some(own) => *own = self.both_values(own.take(), schema),
                            None => _ = own.insert(name, schema),
                        }
                    }
                }
                ("required" | "propertyOrdering" | "allOf", Value::Array(own), Value::Array(values)) => {
                    values.into_iter().for_each(|value| {
                        if !own.contains(&value) {
                            own.push(value)
                        }
                    });
                }
                ("enum", Value::Array(own), Value::Array(values)) if own.iter().any(|value| values.contains(value)) => {
                    own.retain(|value| values.contains(value));
                }
                ("type", own, value) => {
                    let common: Vec<_> = types(own).into_iter().filter(|name| has_type(&value, name)).collect();
                    match common.as_slice() {
                        [] => {}
                        [one] => *own = Value::from(*one),
                        several => *own = several.iter().copied().collect(),
                    }
                }
                ("description", Value::String(own), Value::String(value)) if !own.contains(&value) => {
                    own.push(' ');
                    own.push_str(&value);
                }
                ("additionalProperties", own, Value::Bool(false)) => *own = false.into(),
                // Of two that cannot be said at once, the one is wider than both.
                _ => {}
            }
        }
        ours
    }

    fn both_values(&self, ours: Value, theirs: Value) -> Value {
        if ours == theirs {
            return ours;
        }
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => {
                let is_apart = ours.keys().all(|key| !theirs.contains_key(key));
                let refers = ours.contains_key("$ref") || theirs.contains_key("$ref");
                if self.keeps("allOf") && (refers || !is_apart) {
                    json!({"allOf": [ours, theirs]})
                } else if refers {
                    Value::Object(if ours.contains_key("$ref") { theirs } else { ours })
                } else {
                    Value::Object(self.both(ours, theirs))
                }
            }
            // True, or no schema at all.
            (Value::Object(ours), _) => Value::Object(ours),
            (_, theirs) => theirs,
        }
    }
}

/// An object that is what one of these is, or wider: any of their properties, what all require. Of properties that the
/// object `beside` them has, only what all of them say.
fn either(branches: Vec<Members>, beside: &Members) -> Members {
    let count = branches.len();
    let is_beside = |name: &str| beside.get("properties").is_some_and(|properties| properties.get(name).is_some());
    let mut properties: Vec<(String, usize, Vec<Value>)> = Vec::new();
    let mut required: Option<Vec<Value>> = None;
    let is_closed = !branches.is_empty()
        && branches.iter().all(|branch| branch.get("additionalProperties") == Some(&Value::Bool(false)));
    for mut branch in branches {
        if let Some(Value::Object(members)) = branch.shift_remove("properties") {
            for (name, schema) in members {
                match properties.iter_mut().find(|(known, ..)| *known == name) {
                    Some((_, times, schemas)) => {
                        *times += 1;
                        if !schemas.contains(&schema) {
                            schemas.push(schema);
                        }
                    }
                    None => properties.push((name, 1, vec![schema])),
                }
            }
        }
        let names = match branch.shift_remove("required") {
            Some(Value::Array(names)) => names,
            _ => Vec::new(),
        };
        required = Some(match required {
            Some(required) => required.into_iter().filter(|name| names.contains(name)).collect(),
            None => names,
        });
    }
    let mut out = Map::new();
    properties.retain(|(name, times, _)| *times == count || !is_beside(name));
    if !properties.is_empty() {
        let properties = properties.into_iter().map(|(name, _, schemas)| (name, any_of(schemas))).collect();
        out.insert("properties".into(), Value::Object(properties));
    }
    if let Some(required) = required.filter(|required| !required.is_empty()) {
        out.insert("required".into(), required.into());
    }
    if is_closed {
        out.insert("additionalProperties".into(), false.into());
    }
    out
}

/// What one of these is. Values to choose from, as the tags of unions are, become one choice.
fn any_of(mut schemas: Vec<Value>) -> Value {
    if schemas.len() == 1 {
        return schemas.remove(0);
    }
    let mut values: Vec<Value> = Vec::new();
    for schema in &schemas {
        let Value::Object(members) = schema else { return json!({"anyOf": schemas}) };
        let own = match (members.get("enum"), members.get("const")) {
            (Some(Value::Array(own)), None) => own.as_slice(),
            (None, Some(own)) => std::slice::from_ref(own),
            _ => return json!({"anyOf": schemas}),
        };
        let is_choice = |key: &String| matches!(key.as_str(), "enum" | "const" | "type" | "description" | "title");
        if !members.keys().all(is_choice) || members.get("type") != schemas[0].get("type") {
            return json!({"anyOf": schemas});
        }
        for value in own {
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
    }
    let mut out = Map::new();
    if let Some(name) = schemas[0].get("type") {
        out.insert("type".into(), name.clone());
    }
    let mut said: Vec<&str> = schemas.iter().filter_map(|schema| schema.get("description")?.as_str()).collect();
    said.dedup();
    if !said.is_empty() {
        out.insert("description".into(), said.join(" ").into());
    }
    out.insert("enum".into(), values.into());
    Value::Object(out)
}

fn into_members(schema: Value) -> Members {
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn is_annotation(keyword: &str) -> bool {
    matches!(keyword, "description" | "title")
}

/// Whether a reference names a definition by the book, or the root.
fn is_definition(name: &str) -> bool {
    let rest = DEFINITIONS.iter().find_map(|keyword| name.strip_prefix("#/")?.strip_prefix(keyword)?.strip_prefix('/'));
    name == "#" || rest.is_some_and(|rest| !rest.contains('/'))
}

fn may_be_object(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.get("type").is_none_or(|own| types(own).contains(&"object")),
        Value::Bool(any) => *any,
        _ => false,
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|own| types(own) == ["null"])
        || schema.get("const").is_some_and(Value::is_null)
        || schema
            .get("enum")
            .and_then(Value::as_array)
            .is_some_and(|values| !values.is_empty() && values.iter().all(Value::is_null))
}

/// The names in the value of `type`.
fn types(value: &Value) -> Vec<&'static str> {
    let known = |value: &Value| TYPES.into_iter().find(|name| value.as_str() == Some(name));
    match value {
        Value::Array(names) => names.iter().filter_map(known).collect(),
        name => known(name).into_iter().collect(),
    }
}

/// Whether the value of `type` takes this type.
fn has_type(value: &Value, name: &str) -> bool {
    let types = types(value);
    types.contains(&name) || name == "integer" && types.contains(&"number")
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
