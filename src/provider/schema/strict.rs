//! Which schemas a model can be *held to* by the server, and what that costs: nothing of their meaning, or it is not done.
//!
//! Strict formats take a part of JSON Schema. [`strict`] gives a schema in such a form only where every place says what it may be
//! in words that the format has: no free-form object, no keyword that would be dropped, no merging. All else is offered
//! as it is always offered. Two changes are made, and both are told:
//! - A default stands in the description, because the forms have no other place for it.
//! - Where every property must be required (OpenAI), an optional one takes null in addition: [`unfilled`] leaves exactly those
//!   nulls out again which the original forbids, of properties that it does not require. A null that the original takes
//!   is the model's own word and stays.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    DEFINITIONS, DEPTH_MAX, INLINED_PLACES_MAX, NOT_AT_ROOT, NUMBERS, TYPES, has_type, is_annotation, is_definition,
    reduce, sound,
    subset::{Objects, Places, Subset},
    types,
};
use crate::provider::json::Members;

/// What all strict tools of one request may cost together.
#[derive(Debug, Clone, Copy)]
pub(in crate::provider) struct Budget {
    tools: usize,
    optional: usize,
    unions: usize,
}

impl Budget {
    /// Anthropic's: beyond it, the whole request is refused. The figures are remembered from its page on structured outputs
    /// and confirmed by no source; below them a request may still be refused, as its grammar is too large (users' reports:
    /// alphaXiv/agents pull request 49, TanStack/ai issue 682, 2026-11).
    pub(in crate::provider) const ANTHROPIC: Budget = Budget { tools: 20, optional: 24, unions: 16 };

    /// Takes what this schema costs; `false`, and nothing taken, if there is not enough left.
    pub(in crate::provider) fn take(&mut self, schema: &Value) -> bool {
        let left = |left: usize, cost: usize| left.checked_sub(cost);
        match (left(self.tools, 1), left(self.optional, optional(schema)), left(self.unions, unions(schema))) {
            (Some(tools), Some(optional), Some(unions)) => {
                *self = Budget { tools, optional, unions };
                true
            }
            _ => false,
        }
    }
}

/// The schema in the form to which this target can hold a model; `None` where that would lose something of its meaning.
pub(in crate::provider) fn strict<'a>(schema: &'a Value, subset: &Subset) -> Option<Cow<'a, Value>> {
    match sound(schema, false) {
        Cow::Borrowed(schema) => strict_sound(schema, subset),
        Cow::Owned(schema) => strict_sound(&schema, subset).map(|strict| Cow::Owned(strict.into_owned())),
    }
}

fn strict_sound<'a>(schema: &'a Value, subset: &Subset) -> Option<Cow<'a, Value>> {
    let places = subset.places.as_ref()?;
    let mut walk = Walk { root: schema, places, open: Vec::new(), left: INLINED_PLACES_MAX };
    if !walk.root() {
        return None;
    }
    let mut told = Cow::Borrowed(schema);
    if !places.keeps("default") && has_default(schema) {
        tell_defaults(told.to_mut());
    }
    Some(match told {
        Cow::Borrowed(schema) => reduce(schema, subset),
        Cow::Owned(told) => Cow::Owned(reduce(&told, subset).into_owned()),
    })
}

/// Looks at each place of a schema for what would be lost.
struct Walk<'s> {
    root: &'s Value,
    places: &'s Places,
    /// The references within which we are.
    open: Vec<&'s str>,
    left: usize,
}

impl<'s> Walk<'s> {
    fn root(&mut self) -> bool {
        let Value::Object(members) = self.root else { return false };
        let is_plain = NOT_AT_ROOT.iter().all(|keyword| !members.contains_key(*keyword));
        let definitions = DEFINITIONS.iter().filter_map(|keyword| members.get(*keyword));
        let mut definitions = definitions.flat_map(|schemas| schemas.as_object().into_iter().flat_map(Map::values));
        is_plain
            && members.get("type").is_none_or(|own| types(own) == ["object"])
            && (!self.places.keeps("$ref") || definitions.all(|schema| self.keeps(schema, 1)))
            && self.says_it_all(members, 0)
    }

    /// Whether nothing of this place is lost.
    fn keeps(&mut self, schema: &'s Value, depth: usize) -> bool {
        let Value::Object(members) = schema else { return false };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || depth >= self.places.depth_max.min(DEPTH_MAX) {
            return false;
        }
        if let Some(name) = members.get("$ref") {
            return self.follows(members, name, depth);
        }
        let says = |keyword: &str| members.contains_key(keyword);
        let own = members.get("type").unwrap_or(&Value::Null);
        // What may be anything, any object or any list cannot be held to a form.
        ["type", "enum", "const", "anyOf", "oneOf", "allOf"].into_iter().any(says)
            && types(own).contains(&"object") == says("properties")
            && types(own).contains(&"array") == says("items")
            && self.says_it_all(members, depth)
    }

    fn follows(&mut self, members: &'s Map<String, Value>, name: &'s Value, depth: usize) -> bool {
        let is_alone = members.keys().all(|key| key == "$ref" || is_aside(key));
        let Some(name) = name.as_str().filter(|name| is_alone && is_definition(name)) else { return false };
        let Some(target) = name.strip_prefix('#').and_then(|path| self.root.pointer(path)) else { return false };
        if self.places.keeps("$ref") {
            // The definitions have been looked at.
            return true;
        }
        if self.open.contains(&name) {
            return false;
        }
        self.open.push(name);
        let keeps = self.keeps(target, depth + 1);
        self.open.pop();
        keeps
    }

    fn says_it_all(&mut self, members: &'s Map<String, Value>, depth: usize) -> bool {
        let properties = members.get("properties").and_then(Value::as_object);
        let mut names = members.get("required").and_then(Value::as_array).into_iter().flatten();
        let is_listed = |name: &Value| properties.zip(name.as_str()).is_some_and(|(all, name)| all.contains_key(name));
        names.all(is_listed)
            && members.iter().all(|(key, value)| match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => properties
                    .iter()
                    .all(|(name, schema)| self.keeps(schema, depth + 1) && !self.is_unclear(members, name, schema)),
                ("items", schema) => self.keeps(schema, depth + 1),
                ("anyOf" | "oneOf", Value::Array(branches)) => {
                    !branches.is_empty() && branches.iter().all(|branch| self.keeps(branch, depth + 1))
                }
                // Of one alone, nothing has to be merged but words.
                ("allOf", Value::Array(branches)) => {
                    let is_alone = members.keys().all(|key| key == "allOf" || is_aside(key));
                    matches!(branches.as_slice(), [only] if is_alone && self.keeps(only, depth + 1))
                }
                ("type", own) => match own {
                    Value::Array(names) => !names.is_empty() && types(own).len() == names.len(),
                    own => own.as_str().is_some_and(|name| TYPES.contains(&name)),
                },
                ("enum", Value::Array(values)) => !values.is_empty() && values.iter().all(is_scalar),
                ("const", value) => is_scalar(value),
                ("additionalProperties", value) => *value == Value::Bool(false),
                ("required", Value::Array(_)) => true,
                ("pattern", Value::String(_)) => self.places.keeps(key),
                (key, Value::Number(_)) if NUMBERS.contains(&key) => self.places.keeps(key),
                // A reference to a definition is a reference to one of the root.
                ("$defs" | "definitions", _) => depth == 0,
                (key, _) => is_aside(key),
            })
    }

    /// Whether leaving a property out and saying null would both be good and mean different things.
    fn is_unclear(&self, members: &Map<String, Value>, name: &str, schema: &Value) -> bool {
        self.places.objects == Objects::ClosedAndFull
            && schema.get("default").is_some_and(|value| !value.is_null())
            && !is_required(members, name)
            && takes_null(schema, self.root, DEPTH_MAX)
    }
}

/// Whether a keyword restricts nothing. Of `format`, most validators only take note.
fn is_aside(keyword: &str) -> bool {
    let known = ["$comment", "$id", "$schema", "default", "deprecated", "examples", "format", "readOnly", "writeOnly"];
    is_annotation(keyword) || known.contains(&keyword) || keyword.starts_with("x-")
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn is_required(members: &Map<String, Value>, name: &str) -> bool {
    members.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|known| known == name))
}

fn has_default(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("default") || members.values().any(has_default),
        Value::Array(values) => values.iter().any(has_default),
        _ => false,
    }
}

/// Puts defaults into descriptions. Only called on what [`Walk`] has found to be a schema throughout.
fn tell_defaults(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(default) = members.get("default").filter(|default| !default.is_null()) {
        let told = format!("Default: {default}.");
        let said = members.get("description").and_then(Value::as_str).unwrap_or_default();
        members.insert("description".into(), format!("{said} {told}").trim().into());
    }
    for keyword in ["properties", "$defs", "definitions"] {
        let schemas = members.get_mut(keyword).and_then(Value::as_object_mut);
        schemas.into_iter().flat_map(|schemas| schemas.values_mut()).for_each(tell_defaults);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let schemas = members.get_mut(keyword).and_then(Value::as_array_mut);
        schemas.into_iter().flatten().for_each(tell_defaults);
    }
    members.get_mut("items").into_iter().for_each(tell_defaults);
}

/// Properties that need not be there, at every place.
fn optional(schema: &Value) -> usize {
    let Value::Object(members) = schema else { return schema.as_array().into_iter().flatten().map(optional).sum() };
    let own = members.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    own.filter(|name| !is_required(members, name)).count() + members.values().map(optional).sum::<usize>()
}

/// Places that may be of several kinds.
fn unions(schema: &Value) -> usize {
    let Value::Object(members) = schema else { return schema.as_array().into_iter().flatten().map(unions).sum() };
    let own = members.get("anyOf").is_some_and(Value::is_array)
        || members.get("type").and_then(Value::as_array).is_some_and(|names| names.len() > 1);
    usize::from(own) + members.values().map(unions).sum::<usize>()
}

/// The JSON text without the nulls that stand for what was left out, all else as written; `None` where there are none.
pub(in crate::provider) fn unfilled(text: &str, schema: &Value) -> Option<String> {
    without(text, &[schema], schema, 0)
}

/// The same for a part of it, which one of these schemas is about.
fn without(text: &str, schemas: &[&Value], root: &Value, depth: usize) -> Option<String> {
    let mut known = Vec::new();
    if depth > DEPTH_MAX || !schemas.iter().all(|schema| alternatives(schema, root, &mut known)) {
        return None;
    }
    match text.trim_start().as_bytes().first()? {
        b'{' => {
            let members = Members::read(text)?;
            if !members.are_unique() {
                return None;
            }
            let mut changed = false;
            let mut kept = Vec::new();
            for (name, value) in members.iter() {
                let about: Vec<_> =
                    known.iter().filter_map(|schema| Some((*schema, schema.get("properties")?.get(name)?))).collect();
                let may_be_left_out = |(schema, own): &(&Map<String, Value>, &Value)| {
                    !is_required(schema, name) && !takes_null(own, root, DEPTH_MAX)
                };
                if value == "null" && !about.is_empty() && about.iter().all(may_be_left_out) {
                    changed = true;
                    continue;
                }
                let schemas: Vec<_> = about.iter().map(|(_, own)| *own).collect();
                let inner = without(value, &schemas, root, depth + 1);
                changed |= inner.is_some();
                kept.push(format!("{}:{}", Value::from(name), inner.as_deref().unwrap_or(value)));
            }
            changed.then(|| format!("{{{}}}", kept.join(",")))
        }
        b'[' => {
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
            let schemas: Vec<_> = known.iter().filter_map(|schema| schema.get("items")).collect();
            let inner: Vec<_> = items.iter().map(|item| without(item.get(), &schemas, root, depth + 1)).collect();
            let changed = inner.iter().any(Option::is_some);
            let items = items.iter().zip(&inner).map(|(item, inner)| inner.as_deref().unwrap_or(item.get()));
            changed.then(|| format!("[{}]", items.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

/// Most schemas that one value may be about. More, and nothing is left out.
const ALTERNATIVES_MAX: usize = 256;

/// The schemas that a value of this one may be about, behind all references and unions; `false` when there are too many.
fn alternatives<'s>(schema: &'s Value, root: &'s Value, into: &mut Vec<&'s Map<String, Value>>) -> bool {
    let Value::Object(members) = schema else { return true };
    if into.iter().any(|known| std::ptr::eq(*known, members)) {
        return true;
    }
    if into.len() >= ALTERNATIVES_MAX {
        return false;
    }
    into.push(members);
    let branches = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|keyword| members.get(keyword)?.as_array());
    target(members, root).into_iter().chain(branches.flatten()).all(|branch| alternatives(branch, root, into))
}

fn target<'s>(members: &Map<String, Value>, root: &'s Value) -> Option<&'s Value> {
    root.pointer(members.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// Whether null is a value of this schema, as far as can be told within this depth.
fn takes_null(schema: &Value, root: &Value, depth: usize) -> bool {
    let Value::Object(members) = schema else { return true };
    let Some(depth) = depth.checked_sub(1) else { return true };
    let among = |keyword: &str| members.get(keyword).and_then(Value::as_array);
    target(members, root).is_none_or(|target| takes_null(target, root, depth))
        && members.get("type").is_none_or(|own| has_type(own, "null"))
        && members.get("const").is_none_or(Value::is_null)
        && among("enum").is_none_or(|values| values.iter().any(Value::is_null))
        && ["anyOf", "oneOf"]
            .into_iter()
            .filter_map(among)
            .all(|any| any.iter().any(|one| takes_null(one, root, depth)))
        && among("allOf").is_none_or(|all| all.iter().all(|one| takes_null(one, root, depth)))
}
