//! Takes out of a schema what some service is known to refuse the whole request for, whoever is asked.
//!
//! What it does keeps the meaning or widens it: a schema that is sound accepts whatever the original accepts. The sources are
//! the refusals themselves, in issue threads of clients and servers (2026-11): `required: null` (anthropics/claude-code#44364),
//! an `enum` whose values do not fit the `type` beside it (can1357/oh-my-pi#2652), look-around in patterns (cline/cline#14019),
//! escapes that need none (langchainjs#11351), booleans in the place of schemas and references to other documents (llama.cpp),
//! lists without `items` (OpenAI).

use std::borrow::Cow;

use regex_syntax::ast::{self, Ast, RepetitionKind, RepetitionRange};
use serde_json::{Map, Value, json};

use super::{DEFINITIONS, NUMBERS, TYPES, has_type, type_of, types};

/// Most repetitions that a pattern may ask for: RE2's bound.
const REPETITIONS_MAX: u32 = 1000;

/// Keywords whose value is one schema.
pub(super) const ONE: [&str; 11] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Keywords whose value is a list of schemas.
pub(super) const LIST: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];

/// Keywords whose value is schemas by name.
pub(super) const NAMED: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];

/// The schema without what is known to be refused; borrowed when there is nothing of it. With `lists`, a list says what its items
/// are, if only that they are anything; the formats that are written anew see to that themselves.
pub(in crate::provider) fn sound(schema: &Value, lists: bool) -> Cow<'_, Value> {
    if is_sound(schema, schema, lists) {
        return Cow::Borrowed(schema);
    }
    let mut new = schema.clone();
    mend(&mut new, schema, lists);
    Cow::Owned(new)
}

/// Whether nothing has to be done, found out without copying: nearly all schemas of real servers are sound.
fn is_sound(schema: &Value, root: &Value, lists: bool) -> bool {
    let Value::Object(members) = schema else { return true };
    let place = |schema: &Value| schema.is_object() && is_sound(schema, root, lists);
    members.iter().all(|(key, value)| match (key.as_str(), value) {
        ("additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "additionalItems", Value::Bool(_)) => {
            true
        }
        ("items", Value::Bool(false)) => true,
        (key, value) if ONE.contains(&key) => place(value),
        (key, value) if LIST.contains(&key) => {
            value.as_array().is_some_and(|schemas| !schemas.is_empty() && schemas.iter().all(place))
        }
        ("patternProperties", Value::Object(schemas)) => {
            schemas.iter().all(|(pattern, schema)| pattern_of(pattern).is_some() && place(schema))
        }
        (key, value) if NAMED.contains(&key) => value.as_object().is_some_and(|schemas| schemas.values().all(place)),
        ("pattern", Value::String(pattern)) => pattern_of(pattern).is_some_and(|new| new == *pattern),
        ("enum", Value::Array(values)) => !values.is_empty() && fits(values, members.get("type")),
        ("$ref", Value::String(name)) => resolves(root, name),
        ("type", kind) => {
            is_type(kind)
                && (!lists
                    || !has_type(kind, "array")
                    || members.contains_key("items")
                    || members.contains_key("prefixItems"))
        }
        (key, value) => has_its_form(key, value),
    })
}

/// Whether all values of an `enum` fit the type beside it, and the type names nothing that no value is.
fn fits(values: &[Value], kind: Option<&Value>) -> bool {
    let Some(kind) = kind else { return true };
    let is_used = |name: &str| values.iter().any(|value| is_of(value, name));
    values.iter().all(|value| types(kind).iter().any(|name| is_of(value, name)))
        && types(kind).iter().all(|name| is_used(name))
}

fn is_of(value: &Value, name: &str) -> bool {
    let own = type_of(value);
    own == name
        || own == "integer" && name == "number"
        || own == "number" && name == "integer" && value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn is_type(kind: &Value) -> bool {
    let known = |name: &Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    known(kind) || kind.as_array().is_some_and(|names| !names.is_empty() && names.iter().all(known))
}

/// Whether a reference leads somewhere in this document.
fn resolves(root: &Value, name: &str) -> bool {
    let Some(rest) = name.strip_prefix('#') else { return false };
    // An anchor is a name and no path.
    (rest.is_empty() || rest.starts_with('/')) && root.pointer(rest).is_some()
        || (!rest.starts_with('/') && !rest.is_empty() && has_anchor(root, rest))
}

fn has_anchor(schema: &Value, name: &str) -> bool {
    match schema {
        Value::Object(members) => {
            members.get("$anchor").and_then(Value::as_str) == Some(name)
                || members.values().any(|value| has_anchor(value, name))
        }
        Value::Array(values) => values.iter().any(|value| has_anchor(value, name)),
        _ => false,
    }
}

/// Whether the value of a keyword has the form that JSON Schema wants for it; of words that it does not know, any.
fn has_its_form(key: &str, value: &Value) -> bool {
    match key {
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "enum" => value.as_array().is_some_and(|values| !values.is_empty()),
        "pattern" | "format" | "title" | "description" | "$ref" => value.is_string(),
        key if NUMBERS.contains(&key) => value.is_number(),
        key if NAMED.contains(&key) => value.is_object(),
        _ => true,
    }
}

fn mend(schema: &mut Value, root: &Value, lists: bool) {
    let Value::Object(members) = schema else { return };
    mend_tuple(members);
    let closed = members.get("additionalProperties") == Some(&Value::Bool(false));
    let mut widened = false;
    members.retain(|key, value| match key.as_str() {
        "type" => is_type(value),
        "$ref" => value.as_str().is_some_and(|name| resolves(root, name)),
        "patternProperties" => {
            let sound = value.as_object().is_some_and(|schemas| schemas.keys().all(|key| pattern_of(key).is_some()));
            widened |= !sound;
            sound
        }
        "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "additionalItems" => {
            value.is_boolean() || value.is_object()
        }
        "items" => value.is_object() || value.is_boolean(),
        key if LIST.contains(&key) => value.as_array().is_some_and(|schemas| !schemas.is_empty()),
        key if ONE.contains(&key) => value.is_object() || value.is_boolean(),
        "required" => value.is_array(),
        key => has_its_form(key, value),
    });
    if widened && closed {
        // What the patterns allowed must stay allowed.
        members.shift_remove("additionalProperties");
    }
    if let Some(Value::Array(names)) = members.get_mut("required") {
        names.retain(Value::is_string);
    }
    match members.get("pattern").and_then(Value::as_str).map(|pattern| pattern_of(pattern).map(Cow::into_owned)) {
        Some(Some(pattern)) => _ = members.insert("pattern".to_owned(), pattern.into()),
        Some(None) => _ = members.shift_remove("pattern"),
        None => {}
    }
    mend_enum(members);
    for (key, value) in members.iter_mut() {
        match (key.as_str(), value) {
            // Open and closed are said by a boolean everywhere.
            (
                "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems" | "additionalItems",
                Value::Bool(_),
            )
            | ("items", Value::Bool(false)) => {}
            (key, value) if ONE.contains(&key) => mend_place(value, root, lists),
            (key, Value::Array(schemas)) if LIST.contains(&key) => {
                schemas.iter_mut().for_each(|schema| mend_place(schema, root, lists));
            }
            (key, Value::Object(schemas)) if NAMED.contains(&key) => {
                // A property that must not be there is one that nobody has to be told of.
                if key == "properties" {
                    schemas.retain(|_, schema| *schema != Value::Bool(false));
                }
                schemas.values_mut().for_each(|schema| mend_place(schema, root, lists));
            }
            _ => {}
        }
    }
    if lists
        && members.get("type").is_some_and(|kind| has_type(kind, "array"))
        && !members.contains_key("items")
        && !members.contains_key("prefixItems")
    {
        members.insert("items".to_owned(), json!({}));
    }
}

/// A place for a schema: `true` is the empty one, `false` forbids all, and what is no schema says nothing.
fn mend_place(schema: &mut Value, root: &Value, lists: bool) {
    match schema {
        Value::Object(_) => mend(schema, root, lists),
        Value::Bool(false) => *schema = json!({"not": {}}),
        _ => *schema = json!({}),
    }
}

/// Up to draft 2019-09 a list of schemas in `items` went by place.
fn mend_tuple(members: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = members.get_mut("items") else { return };
    let items = std::mem::take(items);
    let rest = members.shift_remove("additionalItems").unwrap_or_else(|| json!({}));
    members.insert("items".to_owned(), rest);
    if !items.is_empty() {
        members.insert("prefixItems".to_owned(), items.into());
    }
}

/// Leaves the values that fit the type, and the types that some value has. Where none fits, the values go.
fn mend_enum(members: &mut Map<String, Value>) {
    let (Some(Value::Array(values)), Some(kind)) = (members.get("enum"), members.get("type")) else { return };
    if fits(values, Some(kind)) {
        return;
    }
    let kinds = types(kind);
    let kept: Vec<Value> = values.iter().filter(|value| kinds.iter().any(|name| is_of(value, name))).cloned().collect();
    if kept.is_empty() {
        members.shift_remove("enum");
        return;
    }
    let used: Vec<&str> = kinds.into_iter().filter(|name| kept.iter().any(|value| is_of(value, name))).collect();
    let kind = if let [only] = used[..] { Value::from(only) } else { used.into() };
    members.insert("type".to_owned(), kind);
    members.insert("enum".to_owned(), kept.into());
}

/// The pattern as every service reads it; `None` when some do not, as look-around, references back and thousands of
/// repetitions.
fn pattern_of(pattern: &str) -> Option<Cow<'_, str>> {
    if !pattern.contains('\\') && !pattern.contains("(?") && !pattern.contains('{') {
        // Nothing but what all dialects of regular expressions share, or no expression at all.
        return parse(pattern).is_some().then_some(Cow::Borrowed(pattern));
    }
    let plain = unescaped(pattern);
    let ast = parse(&plain)?;
    let most = ast::visit(&ast, Counts(0)).ok()?;
    (most <= REPETITIONS_MAX).then_some(plain)
}

fn parse(pattern: &str) -> Option<Ast> {
    ast::parse::Parser::new().parse(pattern).ok()
}

/// The pattern without a backslash before signs that mean nothing special anywhere: engines that know Unicode refuse those.
fn unescaped(pattern: &str) -> Cow<'_, str> {
    const PLAIN: &str = ":@'\",;=!<>%`_/";
    let mut new = String::new();
    let mut characters = pattern.char_indices();
    let mut copied = 0;
    while let Some((at, character)) = characters.next() {
        if character != '\\' {
            continue;
        }
        if let Some((next, escaped)) = characters.next()
            && PLAIN.contains(escaped)
        {
            new.push_str(&pattern[copied..at]);
            copied = next;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(pattern);
    }
    new.push_str(&pattern[copied..]);
    Cow::Owned(new)
}

/// The most repetitions that a pattern asks for.
struct Counts(u32);

impl ast::Visitor for Counts {
    type Output = u32;
    type Err = ();

    fn finish(self) -> Result<u32, ()> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        if let Ast::Repetition(repetition) = ast
            && let RepetitionKind::Range(range) = &repetition.op.kind
        {
            let (RepetitionRange::Exactly(most) | RepetitionRange::AtLeast(most) | RepetitionRange::Bounded(_, most)) =
                range;
            self.0 = self.0.max(*most);
        }
        Ok(())
    }
}

/// Keywords that can be left out of a schema, which is wider then. What says of which kind a thing is and what is in it stays.
pub(in crate::provider) const OPTIONAL: &[&str] = &[
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveRef",
    "$ref",
    "$schema",
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "discriminator",
    "else",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "nullable",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "writeOnly",
];

/// The schema without these keywords, at every place in it.
pub(in crate::provider) fn without(schema: &Value, keywords: &[&str]) -> Value {
    let refers = ["$ref", "$defs", "definitions"].iter().any(|word| keywords.contains(word));
    let inlined =
        if refers { super::reduce(schema, &super::subset::INLINED) } else { super::reduce(schema, &super::OPENAI) };
    let mut new = inlined.into_owned();
    strip(&mut new, keywords);
    new
}

fn strip(schema: &mut Value, keywords: &[&str]) {
    let Value::Object(members) = schema else { return };
    let leaves_rest = |members: &Map<String, Value>, word: &str| keywords.contains(&word) && members.contains_key(word);
    // Without what these leave over, they would mean more than they did.
    if leaves_rest(members, "patternProperties") {
        members.shift_remove("additionalProperties");
    }
    if leaves_rest(members, "prefixItems") {
        members.shift_remove("items");
    }
    if ["allOf", "anyOf", "oneOf", "if"].iter().any(|word| leaves_rest(members, word)) {
        members.shift_remove("unevaluatedProperties");
        members.shift_remove("unevaluatedItems");
    }
    if keywords.contains(&"if") {
        members.shift_remove("then");
        members.shift_remove("else");
    }
    members.retain(|key, _| !keywords.contains(&key.as_str()) || !OPTIONAL.contains(&key.as_str()));
    each_place(members, &mut |schema| strip(schema, keywords));
    if members.get("type").is_some_and(|kind| has_type(kind, "array")) && !members.contains_key("items") {
        members.insert("items".to_owned(), json!({}));
    }
}

/// Calls `visit` for each schema that stands right within these members.
fn each_place(members: &mut Map<String, Value>, visit: &mut dyn FnMut(&mut Value)) {
    for (key, value) in members.iter_mut() {
        match (key.as_str(), value) {
            (key, value @ Value::Object(_)) if ONE.contains(&key) => visit(value),
            (key, Value::Array(schemas)) if LIST.contains(&key) => schemas.iter_mut().for_each(&mut *visit),
            (key, Value::Object(schemas)) if NAMED.contains(&key) => schemas.values_mut().for_each(&mut *visit),
            _ => {}
        }
    }
}

/// Adds the keywords of a schema that can be left out, at all of its places.
pub(in crate::provider) fn keywords<'s>(schema: &'s Value, found: &mut std::collections::BTreeSet<&'s str>) {
    let Value::Object(members) = schema else { return };
    for (key, value) in members {
        if OPTIONAL.contains(&key.as_str()) {
            found.insert(key);
        }
        match (key.as_str(), value) {
            (key, value) if ONE.contains(&key) => keywords(value, found),
            (key, Value::Array(schemas)) if LIST.contains(&key) => schemas.iter().for_each(|it| keywords(it, found)),
            (key, Value::Object(schemas)) if NAMED.contains(&key) || DEFINITIONS.contains(&key) => {
                schemas.values().for_each(|it| keywords(it, found));
            }
            _ => {}
        }
    }
}
