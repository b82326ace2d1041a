//! Reduces the JSON Schema of a tool to what a target accepts. The original goes on validating the arguments here, so what
//! a target cannot express is only left out of what the model is told.
//!
//! A pure function of schema and [`Subset`]; one subset per format, as data. A reduced schema is *wider*: what the original
//! accepts it accepts too. Three exceptions, where a format leaves no choice or the wide reading would tell the model
//! nothing: a property that one branch of a merged union names keeps the meaning it has there; a subset that closes
//! objects has none with names that are not listed; and a place that must name a type and takes any has no lists in lists.
//! Always true:
//! - For tools the outermost schema is an object with properties, be the original true, a union, or no schema at all.
//! - References that may not stay are put in place; where they run in circles, or would make the schema explode
//!   ([`INLINED_PLACES_MAX`]), stands the bare type.
//! - No property loses its description.
//!
//! Left out on purpose: keywords that restrict by what does *not* hold (`not`, `if`, `contains`, …) are never rewritten;
//! where schemas are rewritten at all they are dropped, which is wider.
#![allow(dead_code, reason = "a subset for each format, whichever a build of the dialects uses")]

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// Most places of a schema that may come from references put in place. The largest schemas of real tool servers have
/// some hundreds; what models are told beyond this they do not use, and it is sent again with each turn.
const INLINED_PLACES_MAX: usize = 2_000;

/// Deepest nesting of what is rewritten, for targets that do not say. serde_json reads 128, and stacks are finite.
const DEPTH_MAX: usize = 48;

/// Longest list of values that is told in a description instead of an `enum`, in bytes.
const HINT_BYTES_MAX: usize = 300;

/// What a target accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subset {
    root: Root,
    /// What holds at every place; `None`: whatever is a schema.
    places: Option<Places>,
}

/// What the outermost schema may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    /// An object with properties that is no union: unions are merged into one object.
    Object,
    /// Any schema.
    Any,
}

#[derive(Debug, Clone, Copy)]
struct Places {
    /// Keywords that are kept. `$ref` here means that references to definitions may stay.
    keywords: &'static [&'static str],
    /// Values of `format` that are kept; `None`: all.
    formats: Option<&'static [&'static str]>,
    types: Types,
    enums: Enums,
    objects: Objects,
    /// A union stands alone: what stands beside it goes into its branches.
    lone_unions: bool,
    /// `required` names listed properties only.
    required_listed: bool,
    depth_max: usize,
}

impl Places {
    fn keeps(&self, keyword: &str) -> bool {
        self.keywords.contains(&keyword)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    /// One type, or a list of them.
    Lists,
    /// One type, or one and null.
    OneOrNull,
    /// Exactly one, at every place, with `nullable` for null; lists have `items`. OpenAPI 3.0's way.
    Nullable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enums {
    Scalars,
    StringsAndNumbers,
    /// Strings with something in them.
    Strings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Objects {
    Open,
    /// `additionalProperties: false`.
    Closed,
    /// That, and every property is required: optional ones become nullable.
    ClosedAndFull,
}

/// OpenAI's functions, not strict: any object at the root that is no union (error text of the API, 2026-11).
pub(super) const OPENAI: Subset = Subset { root: Root::Object, places: None };

/// Anthropic's tools: the root is no union (the API refuses the whole request otherwise), 2026-11.
pub(super) const ANTHROPIC: Subset = Subset { root: Root::Object, places: None };

/// OpenAI's strict functions (platform.openai.com/docs/guides/structured-outputs, 2026-11). A model writes null for what it
/// leaves out: whoever reads such arguments drops nulls that the original does not take.
pub(super) const OPENAI_STRICT: Subset = Subset { root: Root::Object, places: Some(STRICT) };

/// OpenAI's strict output.
pub(super) const OPENAI_OUTPUT: Subset = Subset { root: Root::Object, places: Some(STRICT) };

const STRICT: Places = Places {
    keywords: &[
        "$defs",
        "$ref",
        "additionalProperties",
        "anyOf",
        "const",
        "definitions",
        "description",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "multipleOf",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
    ],
    formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"]),
    types: Types::Lists,
    enums: Enums::Scalars,
    objects: Objects::ClosedAndFull,
    lone_unions: false,
    required_listed: true,
    depth_max: 10,
};

/// Anthropic's structured outputs and strict tools (platform.claude.com/docs, structured outputs, 2026-11).
pub(super) const ANTHROPIC_OUTPUT: Subset = Subset {
    root: Root::Object,
    places: Some(Places {
        keywords: &[
            "additionalProperties",
            "allOf",
            "anyOf",
            "const",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "properties",
            "required",
            "title",
            "type",
        ],
        formats: Some(&["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"]),
        types: Types::Lists,
        enums: Enums::Scalars,
        objects: Objects::Closed,
        lone_unions: false,
        required_listed: true,
        depth_max: DEPTH_MAX,
    }),
};

/// Gemini's `parameters`, and `responseSchema`: the resource `Schema` (ai.google.dev/api/caching#Schema, 2026-11). That
/// a union stands alone, an `enum` holds strings and lists have `items` is what the API's refusals say.
pub(super) const GEMINI_PARAMETERS: Subset = Subset {
    root: Root::Object,
    places: Some(Places {
        keywords: &[
            "anyOf",
            "default",
            "description",
            "enum",
            "format",
            "items",
            "maxItems",
            "maxLength",
            "maxProperties",
            "maximum",
            "minItems",
            "minLength",
            "minProperties",
            "minimum",
            "pattern",
            "properties",
            "propertyOrdering",
            "required",
            "title",
            "type",
        ],
        formats: Some(&["date-time", "double", "enum", "float", "int32", "int64"]),
        types: Types::Nullable,
        enums: Enums::Strings,
        objects: Objects::Open,
        lone_unions: true,
        required_listed: true,
        depth_max: DEPTH_MAX,
    }),
};

/// Gemini's `parametersJsonSchema` (ai.google.dev/api/caching#FunctionDeclaration and, for the keywords,
/// ai.google.dev/api/generate-content#GenerationConfig, 2026-11). References would be allowed if nothing stood beside
/// them and no required property led back: they are put in place.
pub(super) const GEMINI_JSON: Subset = Subset { root: Root::Object, places: Some(GEMINI_PLACES) };

/// Gemini's `responseJsonSchema`.
pub(super) const GEMINI_OUTPUT: Subset = Subset { root: Root::Any, places: Some(GEMINI_PLACES) };

const GEMINI_PLACES: Places = Places {
    keywords: &[
        "additionalProperties",
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "prefixItems",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ],
    formats: Some(&["date", "date-time", "time"]),
    types: Types::OneOrNull,
    enums: Enums::StringsAndNumbers,
    objects: Objects::Open,
    lone_unions: false,
    required_listed: true,
    depth_max: DEPTH_MAX,
};

/// The schema as this target accepts it, borrowed when it is so already.
pub(super) fn reduce<'a>(schema: &'a Value, subset: &Subset) -> Cow<'a, Value> {
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

/// Styling.
impl Reducer<'_> {
    fn styled(&self, schema: Value, places: &Places) -> Value {
        let Value::Object(mut out) = schema else { return self.styled(json!({}), places) };
        if let Some(name) = out.shift_remove("$ref") {
            out.retain(|key, _| is_annotation(key));
            if out.is_empty() {
                return json!({"$ref": name});
            }
            // Nothing may stand beside a reference; beside a union of one it may.
            out.insert("anyOf".into(), json!([{"$ref": name}]));
            return Value::Object(out);
        }
        style_enum(&mut out, places);
        let mut is_nullable = false;
        if places.types == Types::Nullable {
            is_nullable |= self.without_null(&mut out);
        }
        self.split_types(&mut out, places, &mut is_nullable);
        if places.lone_unions && out.contains_key("anyOf") {
            self.leave_union_alone(&mut out);
        }
        for (key, value) in out.iter_mut() {
            match (key.as_str(), &mut *value) {
                ("properties" | "$defs" | "definitions", Value::Object(schemas)) => {
                    schemas.values_mut().for_each(|schema| *schema = self.styled(schema.take(), places));
                }
                ("anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                    schemas.iter_mut().for_each(|schema| *schema = self.styled(schema.take(), places));
                }
                ("items", schema) | ("additionalProperties", schema @ Value::Object(_)) => {
                    *schema = self.styled(schema.take(), places);
                }
                _ => {}
            }
        }
        if places.types == Types::Nullable {
            name_type(&mut out);
        }
        if let Some(Value::Array(branches)) = out.get_mut("anyOf").filter(|_| places.lone_unions) {
            flatten(branches);
            if is_nullable {
                branches.iter_mut().for_each(|branch| branch["nullable"] = true.into());
            }
        } else if is_nullable {
            out.insert("nullable".into(), true.into());
        }
        style_object(&mut out, places);
        Value::Object(out)
    }

    /// Takes null out of types and unions; answers whether it was there.
    fn without_null(&self, out: &mut Members) -> bool {
        let mut found = false;
        if let Some(Value::Array(names)) = out.get_mut("type").filter(|names| types(names).len() > 1) {
            let before = names.len();
            names.retain(|name| name != "null");
            found |= names.len() < before;
        }
        let mut only = None;
        if let Some(Value::Array(branches)) = out.get_mut("anyOf")
            && !branches.iter().all(is_null)
        {
            let before = branches.len();
            branches.retain(|branch| !is_null(branch));
            found |= branches.len() < before;
            if branches.len() == 1 {
                only = branches.pop();
            }
        }
        if let Some(only) = only {
            out.shift_remove("anyOf");
            let only = into_members(only);
            *out = self.both(std::mem::take(out), only);
            found |= self.without_null(out);
        }
        found
    }

    /// Writes a list of types as the target writes it.
    fn split_types(&self, out: &mut Members, places: &Places, is_nullable: &mut bool) {
        let Some(Value::Array(names)) = out.get("type") else { return };
        let names: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let has_null = names.iter().any(|name| name == "null");
        match (places.types, names.as_slice()) {
            (_, [only]) => _ = out.insert("type".into(), only.as_str().into()),
            (Types::Lists, _) => {}
            (Types::OneOrNull, [_, _]) if has_null => {}
            _ if out.contains_key("anyOf") => _ = out.shift_remove("type"),
            _ => {
                let kept = |key: &str| is_annotation(key);
                let mut branches = Vec::new();
                for name in &names {
                    let mut branch = Map::from_iter([("type".to_owned(), Value::from(name.as_str()))]);
                    for (key, value) in out.iter().filter(|(key, _)| concerns(key, name)) {
                        branch.insert(key.clone(), value.clone());
                    }
                    if let Some(Value::Array(values)) = out.get("enum") {
                        let own: Vec<_> = values.iter().filter(|value| is_of(value, name)).cloned().collect();
                        if own.is_empty() {
                            continue;
                        }
                        branch.insert("enum".into(), own.into());
                    }
                    branches.push(Value::Object(branch));
                }
                out.retain(|key, _| kept(key));
                if !branches.is_empty() {
                    out.insert("anyOf".into(), branches.into());
                }
                if places.types == Types::Nullable {
                    *is_nullable |= self.without_null(out);
                }
            }
        }
    }

    /// Puts what stands beside a union into its branches; where that is an object, the union becomes that object.
    fn leave_union_alone(&self, out: &mut Members) {
        let Some(Value::Array(branches)) = out.shift_remove("anyOf") else { return };
        if has_type(out.get("type").unwrap_or(&Value::Null), "object")
            || out.contains_key("properties") && branches.iter().all(may_be_object)
        {
            let branches = branches.into_iter().filter(may_be_object).map(into_members).collect();
            let merged = either(branches, out);
            *out = self.both(std::mem::take(out), merged);
            return;
        }
        let mut beside = std::mem::take(out);
        let mut branches: Vec<Members> = branches.into_iter().map(into_members).collect();
        // Large things go to one branch only, lest nested unions explode: that is wider.
        for keyword in ["properties", "required", "additionalProperties", "items", "prefixItems"] {
            let Some(value) = beside.shift_remove(keyword) else { continue };
            let kind = if keyword.ends_with("tems") { "array" } else { "object" };
            let branch = branches.iter_mut().find(|branch| branch.get("type").is_none_or(|own| has_type(own, kind)));
            if let Some(branch) = branch {
                *branch = self.both(std::mem::take(branch), Map::from_iter([(keyword.to_owned(), value)]));
            }
        }
        let branches = branches.into_iter().map(|branch| Value::Object(self.both(branch, beside.clone())));
        out.insert("anyOf".into(), branches.collect());
    }
}

/// Leaves of an `enum` what the target takes. Where that is not all, the values are told in the description.
fn style_enum(out: &mut Members, places: &Places) {
    let Some(Value::Array(values)) = out.shift_remove("enum") else { return };
    let is_taken = |value: &Value| match places.enums {
        Enums::Scalars => !value.is_object() && !value.is_array(),
        Enums::StringsAndNumbers => value.is_string() || value.is_number(),
        Enums::Strings => value.as_str().is_some_and(|text| !text.is_empty()),
    };
    let (nulls, others): (Vec<_>, Vec<_>) = values.into_iter().partition(Value::is_null);
    let fits_type = places.enums != Enums::Strings || out.get("type").is_none_or(|own| has_type(own, "string"));
    if others.is_empty() && nulls.is_empty() {
        return;
    }
    if places.enums == Enums::Scalars && others.iter().all(is_taken) {
        out.insert("enum".into(), others.into_iter().chain(nulls).collect());
    } else if !others.is_empty() && others.iter().all(is_taken) && fits_type {
        if places.enums == Enums::Strings {
            out.insert("type".into(), "string".into());
        }
        let takes_null = !nulls.is_empty() && !out.contains_key("anyOf");
        if takes_null {
            let mut choice = Map::from_iter([("enum".to_owned(), Value::from(others))]);
            if let Some(own) = out.shift_remove("type") {
                let own: Vec<_> = types(&own).into_iter().filter(|name| *name != "null").collect();
                choice.insert("type".into(), if let [only] = own.as_slice() { Value::from(*only) } else { own.into() });
            }
            out.insert("anyOf".into(), json!([choice, {"type": "null"}]));
        } else if nulls.is_empty() {
            out.insert("enum".into(), others.into());
        }
    } else {
        let all: Vec<_> = others.iter().chain(&nulls).map(Value::to_string).collect();
        let hint = format!("One of: {}.", all.join(", "));
        if hint.len() <= HINT_BYTES_MAX {
            let said = out.get("description").and_then(Value::as_str).unwrap_or_default();
            out.insert("description".into(), format!("{said} {hint}").trim().into());
        }
        if !out.contains_key("type") && !out.contains_key("anyOf") {
            let mut names: Vec<_> = others.iter().chain(&nulls).map(type_of).collect();
            names.dedup();
            out.insert("type".into(), names.into());
        }
    }
}

/// Sees to it that there is exactly one type, or a union of some.
fn name_type(out: &mut Members) {
    if !out.contains_key("anyOf") && !out.contains_key("type") {
        let scalar = || [json!({"type": "string"}), json!({"type": "number"}), json!({"type": "boolean"})];
        let object = || json!({"type": "object"});
        if out.contains_key("properties") {
            out.insert("type".into(), "object".into());
        } else if out.contains_key("items") {
            out.insert("type".into(), "array".into());
        } else {
            let item: Vec<_> = scalar().into_iter().chain([object()]).collect();
            let list = json!({"type": "array", "items": {"anyOf": item}});
            let mut any: Vec<_> = item.into_iter().chain([list]).collect();
            // Whatever else stands here holds for some of the kinds and may be left out; its words may not.
            out.retain(|key, _| is_annotation(key));
            let said = std::mem::take(out);
            any.iter_mut().for_each(|kind| {
                said.iter().for_each(|(key, value)| kind[key] = value.clone());
                kind["nullable"] = true.into();
            });
            out.insert("anyOf".into(), any.into());
        }
    }
    if out.get("type").is_some_and(|own| has_type(own, "array")) && !out.contains_key("items") {
        let mut any = Map::new();
        name_type(&mut any);
        if let Some(Value::Array(kinds)) = any.get_mut("anyOf") {
            kinds.retain(|kind| kind["type"] != "array");
        }
        out.insert("items".into(), Value::Object(any));
    }
}

/// A union of unions is a union.
fn flatten(branches: &mut Vec<Value>) {
    let mut flat = Vec::with_capacity(branches.len());
    for mut branch in branches.drain(..) {
        match branch.get_mut("anyOf").map(Value::take) {
            Some(Value::Array(inner)) => flat.extend(inner),
            _ => flat.push(branch),
        }
    }
    *branches = flat;
}

fn style_object(out: &mut Members, places: &Places) {
    let is_object = out.get("type").is_some_and(|own| has_type(own, "object"));
    if is_object && places.objects != Objects::Open {
        out.insert("additionalProperties".into(), false.into());
        let required = match out.get("required") {
            Some(Value::Array(required)) => required.clone(),
            _ => Vec::new(),
        };
        let properties = out.entry("properties").or_insert_with(|| json!({}));
        if let (Objects::ClosedAndFull, Value::Object(properties)) = (places.objects, properties) {
            for (name, schema) in properties.iter_mut() {
                if !required.iter().any(|known| known == name) {
                    nullable(schema);
                }
            }
            let all: Vec<_> = properties.keys().cloned().collect();
            out.insert("required".into(), all.into());
        }
    }
    if places.required_listed {
        for keyword in ["required", "propertyOrdering"] {
            let Some(Value::Array(mut names)) = out.shift_remove(keyword) else { continue };
            let listed = out.get("properties").and_then(Value::as_object);
            names.retain(|name| {
                name.as_str().is_some_and(|name| listed.is_some_and(|listed| listed.contains_key(name)))
            });
            if !names.is_empty() || places.objects == Objects::ClosedAndFull {
                out.insert(keyword.to_owned(), names.into());
            }
        }
    }
}

/// Makes a schema take null too.
fn nullable(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    let is_simple = !["enum", "const", "anyOf", "allOf", "$ref"].iter().any(|keyword| members.contains_key(*keyword));
    match members.get_mut("type") {
        Some(own) if has_type(own, "null") && is_simple => {}
        Some(own) if is_simple => {
            *own = types(own).into_iter().chain(["null"]).collect();
        }
        None if is_simple => {}
        _ => {
            let mut inner = std::mem::take(members);
            for keyword in ["title", "description"] {
                if let Some(said) = inner.shift_remove(keyword) {
                    members.insert(keyword.to_owned(), said);
                }
            }
            let mut branches = match (inner.len(), inner.get_mut("anyOf").map(Value::take)) {
                (1, Some(Value::Array(branches))) => branches,
                (_, branches) => {
                    if let Some(branches) = branches {
                        inner.insert("anyOf".into(), branches);
                    }
                    vec![Value::Object(inner)]
                }
            };
            if !branches.iter().any(is_null) {
                branches.push(json!({"type": "null"}));
            }
            members.insert("anyOf".into(), branches.into());
        }
    }
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

fn is_of(value: &Value, name: &str) -> bool {
    let own = type_of(value);
    own == name
        || own == "integer" && name == "number"
        || own == "number" && name == "integer" && value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Whether a keyword says something about values of this type.
fn concerns(keyword: &str, name: &str) -> bool {
    match keyword {
        "additionalProperties" | "maxProperties" | "minProperties" | "properties" | "propertyOrdering" | "required" => {
            name == "object"
        }
        "items" | "maxItems" | "minItems" | "prefixItems" => name == "array",
        "maxLength" | "minLength" | "pattern" => name == "string",
        "exclusiveMaximum" | "exclusiveMinimum" | "maximum" | "minimum" | "multipleOf" => {
            matches!(name, "number" | "integer")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
