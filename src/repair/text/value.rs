//! Puts arguments together from parameters, each typed by the tool's schema or by the dialect itself.

use serde_json::Value;

use super::python;
use crate::chat::ToolDef;

/// How deep a schema is followed through references and alternatives.
const SCHEMA_DEPTH_MAX: usize = 8;

/// What a dialect says of a value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing: the schema decides.
    BySchema,
    /// A text, as it stands.
    Text,
    /// JSON.
    Json,
}

/// Arguments as JSON text, from keys and values in JSON, in order. A key that stands twice stands twice.
pub(super) fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let mut json = String::from("{");
    for (key, value) in members {
        if json.len() > 1 {
            json.push_str(", ");
        }
        json.push_str(&quoted(key));
        json.push_str(": ");
        json.push_str(&value);
    }
    json.push('}');
    json
}

/// A text as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// What is declared of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Declared<'a> {
    /// Nothing is known.
    Anything,
    /// The tool has no such parameter: it stays the text that it is, for the rungs above to judge.
    Nothing,
    /// A schema, within the schema of its tool.
    As { root: &'a Value, schema: &'a Value },
}

impl<'a> Declared<'a> {
    /// What a tool declares of a parameter.
    pub(super) fn of(tool: Option<&'a ToolDef>, key: &str) -> Self {
        let Some(tool) = tool else { return Declared::Anything };
        let root = &*tool.input_schema;
        property(root, root, key).map_or(Declared::Nothing, |schema| Declared::As { root, schema })
    }

    /// What is declared of a member of this object.
    pub(super) fn member(self, key: &str) -> Self {
        self.part(|root, schema| property(root, schema, key))
    }

    /// What is declared of the elements of this list.
    pub(super) fn item(self) -> Self {
        self.part(|root, schema| {
            let schema = referred(root, schema).unwrap_or(schema);
            let lists = || ["anyOf", "oneOf"].iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
            schema.get("items").or_else(|| lists().find_map(|part| part.get("items")))
        })
    }

    fn part(self, find: impl FnOnce(&'a Value, &'a Value) -> Option<&'a Value>) -> Self {
        match self {
            Declared::As { root, schema } => {
                find(root, schema).map_or(Declared::Anything, |schema| Declared::As { root, schema })
            }
            other => other,
        }
    }

    /// Whether it may be a text.
    pub(super) fn may_be_text(self) -> bool {
        self.kinds().text
    }

    /// Whether it is a text and nothing else.
    pub(super) fn is_text(self) -> bool {
        self.kinds() == Kinds::TEXT
    }

    /// A list or an object with nothing in it, if it must be one of them.
    pub(super) fn empty(self) -> Option<&'static str> {
        match self.kinds() {
            Kinds { list: true, object: false, .. } => Some("[]"),
            Kinds { list: false, object: true, .. } => Some("{}"),
            _ => None,
        }
    }

    fn kinds(self) -> Kinds {
        match self {
            Declared::Anything => Kinds::ANY,
            Declared::Nothing => Kinds::TEXT,
            Declared::As { root, schema } => match Kinds::within(root, schema, 0) {
                Some(kinds) if kinds != Kinds::NONE => kinds,
                _ => Kinds::ANY,
            },
        }
    }
}

/// The value of a parameter as JSON.
pub(super) fn json(raw: &str, typed: Typed, declared: Declared<'_>) -> String {
    let kinds = match typed {
        Typed::Text => Kinds::TEXT,
        Typed::Json => Kinds { text: false, ..Kinds::ANY },
        Typed::BySchema => declared.kinds(),
    };
    if kinds == Kinds::TEXT {
        return quoted(raw);
    }
    let written = raw.trim();
    match serde_json::from_str::<Value>(written) {
        Ok(value) if !kinds.text || kinds.has(&value) => written.to_owned(),
        // Templates that print a value in Python write `True` and `{'a': 1}`.
        Err(_) if !kinds.text => python::literal(written).unwrap_or_else(|| quoted(raw)),
        _ => quoted(raw),
    }
}

/// Whether a parameter may be a text.
pub(super) fn may_be_text(typed: Typed, key: &str, tool: Option<&ToolDef>) -> bool {
    match typed {
        Typed::Text => true,
        Typed::Json => false,
        Typed::BySchema => Declared::of(tool, key).may_be_text(),
    }
}

/// Whether the tool declares such a parameter.
pub(super) fn is_known(key: &str, tool: Option<&ToolDef>) -> bool {
    matches!(Declared::of(tool, key), Declared::As { .. })
}

/// Whether these keys are all that a tool declares, so that none can be missing.
pub(super) fn is_all<'a>(mut keys: impl Iterator<Item = &'a str> + Clone, tool: Option<&ToolDef>) -> bool {
    let Some(tool) = tool else { return false };
    let schema = &tool.input_schema;
    let is_plain = ["allOf", "anyOf", "oneOf", "$ref", "patternProperties"].iter().all(|key| schema.get(key).is_none());
    let declared = schema.get("properties").and_then(Value::as_object);
    is_plain && declared.is_none_or(|declared| declared.keys().all(|key| keys.clone().any(|given| given == key)))
        || keys.next().is_none() && declared.is_some_and(serde_json::Map::is_empty)
}

/// The schema of a member, also behind a reference or in alternatives.
fn property<'s>(root: &'s Value, schema: &'s Value, key: &str) -> Option<&'s Value> {
    fn within<'s>(root: &'s Value, schema: &'s Value, key: &str, depth: usize) -> Option<&'s Value> {
        if depth == SCHEMA_DEPTH_MAX {
            return None;
        }
        let parts = || ["allOf", "anyOf", "oneOf"].iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
        let direct = schema.get("properties").and_then(|properties| properties.get(key));
        direct
            .or_else(|| within(root, referred(root, schema)?, key, depth + 1))
            .or_else(|| parts().find_map(|part| within(root, part, key, depth + 1)))
            .or_else(|| schema.get("additionalProperties").filter(|more| more.is_object()))
    }
    within(root, schema, key, 0)
}

/// What a local `$ref` points to.
fn referred<'s>(root: &'s Value, schema: &Value) -> Option<&'s Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

/// Which types a schema lets a value have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kinds {
    text: bool,
    number: bool,
    truth: bool,
    null: bool,
    list: bool,
    object: bool,
}

impl Kinds {
    const NONE: Kinds = Kinds { text: false, number: false, truth: false, null: false, list: false, object: false };
    const ANY: Kinds = Kinds { text: true, number: true, truth: true, null: true, list: true, object: true };
    const TEXT: Kinds = Kinds { text: true, ..Kinds::NONE };

    /// The types, as far as the schema tells; `None` where it tells nothing.
    fn within(root: &Value, schema: &Value, depth: usize) -> Option<Self> {
        if depth == SCHEMA_DEPTH_MAX {
            return None;
        }
        let mut kinds = Kinds::NONE;
        match schema.get("type") {
            Some(Value::String(name)) => kinds.add(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).for_each(|name| kinds.add(name)),
            _ => {}
        }
        if kinds != Kinds::NONE {
            return Some(kinds);
        }
        if let Some(target) = referred(root, schema) {
            return Self::within(root, target, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            kinds.add_of(value);
            return Some(kinds);
        }
        if let Some(Value::Array(values)) = schema.get("enum") {
            values.iter().for_each(|value| kinds.add_of(value));
            return Some(kinds);
        }
        if let Some(Value::Array(parts)) = schema.get("allOf") {
            return parts.iter().find_map(|part| Self::within(root, part, depth + 1));
        }
        let parts = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.as_array())?;
        parts.iter().try_fold(kinds, |kinds, part| Some(kinds.and(Self::within(root, part, depth + 1)?)))
    }

    fn add(&mut self, name: &str) {
        match name {
            "string" => self.text = true,
            "number" | "integer" => self.number = true,
            "boolean" => self.truth = true,
            "null" => self.null = true,
            "array" => self.list = true,
            "object" => self.object = true,
            _ => {}
        }
    }

    fn add_of(&mut self, value: &Value) {
        self.add(match value {
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "boolean",
            Value::Null => "null",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        });
    }

    fn and(self, other: Self) -> Self {
        Kinds {
            text: self.text || other.text,
            number: self.number || other.number,
            truth: self.truth || other.truth,
            null: self.null || other.null,
            list: self.list || other.list,
            object: self.object || other.object,
        }
    }

    /// Whether a value other than a text has one of these types.
    fn has(self, value: &Value) -> bool {
        match value {
            Value::String(_) => false,
            Value::Number(_) => self.number,
            Value::Bool(_) => self.truth,
            Value::Null => self.null,
            Value::Array(_) => self.list,
            Value::Object(_) => self.object,
        }
    }
}
