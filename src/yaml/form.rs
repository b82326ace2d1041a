//! What a reader accepts, as a JSON Schema: found by watching it read examples.
//!
//! A reader asks [`Faults`] for what it wants of each node (these keys, a duration, one of these words). [`describe`] has it
//! read examples that hold every key once, keeps what it asked for at each path, and turns that into a schema. So there is
//! one home for what a file may hold, the reader; editors and tests get the same from here. Always true:
//! - Where readers ask for different things (text or a map, a server with `command` or with `builtin`), the schema
//!   accepts either.
//! - A key is required where the reader required it in all examples of such a map.
//! - What stands in the comment of a key in the examples is its description.
//!
//! Left out on purpose: what only the reader can know, such as whether a template fits its input. Patterns of durations and
//! amounts are rough, since the reader has the last word.

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Map, Value, json};

use super::{Content, Document, Faults, Node};

/// The draft that editors know best.
const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// What a reader wants of a node.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    /// A map of these keys.
    Fields(Vec<String>),
    /// The key of that map must be there.
    Required(String),
    /// A map of any keys.
    Members,
    /// A list.
    List,
    /// A scalar or anything of this schema.
    Value(Value),
    /// The text matches this.
    Pattern(&'static str),
    /// The keys of the map match this.
    Keys(&'static str),
}

impl Wish {
    /// Text, which a number or a flag is as well.
    pub fn text() -> Self {
        Wish::Value(json!({"type": ["string", "number", "boolean"]}))
    }

    pub fn flag() -> Self {
        Wish::Value(json!({"type": "boolean"}))
    }

    /// A whole number; with `_` in it, JSON takes it for text.
    pub fn whole(bounds: &RangeInclusive<u64>) -> Self {
        let mut number = json!({"type": "integer", "minimum": bounds.start()});
        if *bounds.end() < u64::MAX {
            number["maximum"] = (*bounds.end()).into();
        }
        Wish::Value(json!({"anyOf": [number, {"type": "string", "pattern": "^[1-9][0-9]*(_[0-9]+)+$"}]}))
    }

    pub fn number(bounds: &RangeInclusive<f64>) -> Self {
        Wish::Value(json!({"type": "number", "minimum": bounds.start(), "maximum": bounds.end()}))
    }

    pub fn duration() -> Self {
        Wish::Value(json!({"type": "string", "pattern": "^[0-9][0-9.,:]* *[A-Za-zµ]"}))
    }

    pub fn bytes(bounds: &RangeInclusive<u64>) -> Self {
        let number = json!({"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()});
        Wish::Value(json!({"anyOf": [number, {"type": "string", "pattern": "^[0-9][0-9.]* *[A-Za-z]+$"}]}))
    }

    pub fn money() -> Self {
        Wish::Value(json!({"type": "string", "pattern": r"^\$[0-9]+(\.[0-9]{1,9})?$"}))
    }

    pub fn dollars() -> Self {
        let text = json!({"type": "string", "pattern": r"^\$?[0-9]+(\.[0-9]{1,9})?$"});
        Wish::Value(json!({"anyOf": [{"type": "number", "minimum": 0}, text]}))
    }

    pub fn choice<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        Wish::Value(json!({"enum": words.into_iter().collect::<Vec<_>>()}))
    }

    pub fn version() -> Self {
        Wish::Value(json!({"enum": [1, "1"]}))
    }

    /// A JSON Schema of an object.
    pub fn schema() -> Self {
        Wish::Value(json!({"type": "object", "properties": {"type": {"const": "object"}}, "required": ["type"]}))
    }
}

/// What was wanted of each node, by its address: the tree stands still while it is read.
pub(super) type Tape = BTreeMap<usize, Vec<Wish>>;

/// Where a node is, for the [`Tape`].
pub(super) fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

/// The schema of what `read` accepts. `examples` are texts without faults that hold every key; with `variables`, any
/// scalar may be a `${VAR}`.
///
/// # Errors
/// The keys that no example holds, and everything that is wrong with one: examples are ours, and tests read them.
pub fn describe(
    title: &str,
    examples: &[&str],
    variables: bool,
    read: impl Fn(&mut Document, Faults) -> Faults,
) -> Result<Value, String> {
    let mut form = Form::default();
    for text in examples {
        let (mut document, faults) = Document::parse(title, text).map_err(|problems| problems.to_string())?;
        let mut faults = read(&mut document, faults.watched());
        let tape = faults.tape();
        document.finish(Some(()), faults).map_err(|problems| problems.to_string())?;
        form.merge(Form::of(document.root(), &tape, text));
    }
    let mut missing = Vec::new();
    let mut schema = form.schema(variables, "", &mut missing);
    if !missing.is_empty() {
        return Err(format!("the examples hold no {}", missing.join(", ")));
    }
    if let Value::Object(members) = &mut schema {
        members.shift_insert(0, "$schema".to_owned(), DRAFT.into());
        members.shift_insert(1, "title".to_owned(), title.into());
    }
    Ok(schema)
}

/// What may stand at a path.
#[derive(Debug, Default)]
struct Form {
    doc: Option<String>,
    /// Schemas of scalars, each once.
    scalars: Vec<Value>,
    /// Maps of known keys, by those keys.
    maps: BTreeMap<Vec<String>, Fields>,
    /// What stands behind any key, and how keys look.
    members: Option<(Box<Form>, Option<&'static str>)>,
    /// What a list holds.
    list: Option<Box<Form>>,
}

/// A map of known keys.
#[derive(Debug, Default)]
struct Fields {
    required: Vec<String>,
    forms: BTreeMap<String, Form>,
}

impl Form {
    /// What was wanted of a node and what is below it.
    fn of(node: &Node, tape: &Tape, text: &str) -> Self {
        let mut form = Form::default();
        let wishes = tape.get(&address(node)).map(Vec::as_slice).unwrap_or_default();
        let required = || {
            let keys =
                wishes.iter().filter_map(|wish| if let Wish::Required(key) = wish { Some(key.clone()) } else { None });
            keys.collect::<Vec<_>>()
        };
        let (mut pattern, mut keys) = (None, None);
        for wish in wishes {
            match (wish, &node.content) {
                (Wish::Fields(known), Content::Map(members)) => {
                    let forms = members.iter().map(|(key, node)| {
                        let doc = comment(text, key.place.start);
                        (key.text.clone(), Form { doc, ..Form::of(node, tape, text) })
                    });
                    form.maps.insert(known.clone(), Fields { required: required(), forms: forms.collect() });
                }
                (Wish::Members, Content::Map(members)) => {
                    let mut below = Form::default();
                    members.iter().for_each(|(_, node)| below.merge(Form::of(node, tape, text)));
                    form.members = Some((Box::new(below), None));
                }
                (Wish::List, Content::List(list)) => {
                    let mut below = Form::default();
                    list.iter().for_each(|node| below.merge(Form::of(node, tape, text)));
                    form.list = Some(Box::new(below));
                }
                (Wish::Value(schema), _) if form.scalars.contains(schema) => {}
                (Wish::Value(schema), _) => form.scalars.push(schema.clone()),
                (Wish::Pattern(text), _) => pattern = Some(*text),
                (Wish::Keys(text), _) => keys = Some(*text),
                _ => {}
            }
        }
        if let Some((_, shape)) = &mut form.members {
            *shape = keys;
        }
        if let Some(pattern) = pattern {
            form.scalars.iter_mut().for_each(|schema| schema["pattern"] = pattern.into());
        }
        // A map that is both looked at and read by its keys is one of those keys.
        if !form.maps.is_empty() {
            form.members = None;
        }
        form
    }

    fn merge(&mut self, other: Form) {
        self.doc = self.doc.take().or(other.doc);
        for schema in other.scalars {
            if !self.scalars.contains(&schema) {
                self.scalars.push(schema);
            }
        }
        for (known, fields) in other.maps {
            match self.maps.get_mut(&known) {
                None => drop(self.maps.insert(known, fields)),
                Some(own) => {
                    own.required.retain(|key| fields.required.contains(key));
                    for (key, form) in fields.forms {
                        own.forms.entry(key).or_default().merge(form);
                    }
                }
            }
        }
        match (&mut self.members, other.members) {
            (Some((own, _)), Some((other, _))) => own.merge(*other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
        match (&mut self.list, other.list) {
            (Some(own), Some(other)) => own.merge(*other),
            (own @ None, other) => *own = other,
            (Some(_), None) => {}
        }
    }

    /// As a schema; `missing` gets the paths of keys about which nothing is known.
    fn schema(&self, variables: bool, path: &str, missing: &mut Vec<String>) -> Value {
        let mut any: Vec<Value> = Vec::new();
        for schema in &self.scalars {
            match schema.get("anyOf").and_then(Value::as_array) {
                Some(alternatives) => any.extend(alternatives.iter().cloned()),
                None => any.push(schema.clone()),
            }
        }
        let plain = |schema: &Value| schema.get("type").is_some_and(Value::is_array) && schema.get("pattern").is_none();
        if variables && !self.scalars.is_empty() && !self.scalars.iter().any(plain) {
            any.push(json!({"type": "string", "pattern": r"\$\{"}));
        }
        for (known, fields) in &self.maps {
            let mut properties = Map::new();
            for key in known {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let form = fields.forms.get(key);
                let schema = form.map_or(Value::Null, |form| form.schema(variables, &path, missing));
                if schema.is_null() {
                    missing.push(path);
                }
                properties.insert(key.clone(), schema);
            }
            let mut map = json!({"type": "object", "additionalProperties": false, "properties": properties});
            if !fields.required.is_empty() {
                map["required"] = fields.required.clone().into();
            }
            any.push(map);
        }
        if let Some((below, keys)) = &self.members {
            let mut map = json!({"type": "object", "additionalProperties": below.schema(variables, &format!("{path}.*"), missing)});
            if let Some(keys) = keys {
                map["propertyNames"] = json!({"pattern": keys});
            }
            any.push(map);
        }
        if let Some(below) = &self.list {
            any.push(json!({"type": "array", "items": below.schema(variables, &format!("{path}[]"), missing)}));
        }
        let mut schema = match any.len() {
            0 => return Value::Null,
            1 => any.remove(0),
            _ => json!({"anyOf": any}),
        };
        if let (Some(doc), Value::Object(members)) = (&self.doc, &mut schema) {
            members.shift_insert(0, "description".to_owned(), doc.as_str().into());
        }
        schema
    }
}

/// What is said of the key that starts at this byte: the comment behind it on its line, else the lines of comment right
/// above it.
fn comment(text: &str, start: usize) -> Option<String> {
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    // A key within braces has no line of its own.
    if !text[line..start].trim_start_matches(['-', ' ']).is_empty() {
        return None;
    }
    let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    if let Some((_, said)) = text[start..end].split_once(" # ") {
        return Some(said.trim().to_owned());
    }
    let above = text[..line].lines().rev().map(str::trim).take_while(|line| line.starts_with("# "));
    let mut said: Vec<&str> = above.map(|line| line[2..].trim()).collect();
    said.reverse();
    (!said.is_empty()).then(|| said.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &mut Document, mut faults: Faults) -> Faults {
        let fields = faults.fields(document.root(), &["kind", "size", "more"]);
        faults.required(&fields, "kind").and_then(|node| faults.choice(node, &[("a", 1), ("b", 2)]));
        fields.get("size").and_then(|node| faults.whole(node, 1..=9));
        for node in fields.get("more").and_then(|node| faults.list(node)).unwrap_or_default() {
            match &node.content {
                Content::Map(_) => {
                    let fields = faults.fields(node, &["name"]);
                    fields.get("name").and_then(|node| faults.text(node).map(drop));
                }
                _ => drop(faults.text(node).map(drop)),
            }
        }
        faults
    }

    #[test]
    fn a_schema_says_what_the_reader_asked_for() {
        let example = "# Which one.\n# Of two.\nkind: a\nsize: 3 # How large.\nmore: [x, {name: y}]\n";
        let schema = describe("Test", &[example, "kind: b\n"], false, read).unwrap();
        insta::assert_json_snapshot!(schema);
        assert_eq!(describe("Test", &["kind: b\nsize: 1\n"], false, read).unwrap_err(), "the examples hold no more");
        assert!(describe("Test", &["kind: c\n"], false, read).unwrap_err().contains("expected a or b"));
    }
}
