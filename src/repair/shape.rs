//! What a schema says about the form of values, laid out so that repairs can ask quickly.
//!
//! Validation is [`Schema`](super::Schema)'s; this knows only what helps to decide how broken text was meant: which keys
//! an object has, which types a value may have, what the items of a list are. References are followed, alternatives are
//! kept apart, and for each place the keys of all of them together are known. Always true: an unknown keyword only makes
//! the form wider, so what this refuses was meant otherwise, and what it lets pass is still validated.

use std::{cell::Cell, collections::HashMap, sync::Arc};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// Forms that come of putting alternatives together. Real schemas need a handful; beyond, a place takes anything.
const MERGED_MAX: usize = 1000;

/// Steps for putting together what the references of one schema say. Real schemas need some hundreds; where they are used
/// up, a place takes anything.
const STEPS_MAX: usize = 200_000;

/// A form within [`Shapes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(u32);

/// The form that takes anything.
pub(super) const ANY: Id = Id(0);

/// The types of JSON, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    pub const NULL: Types = Types(1);
    pub const BOOL: Types = Types(2);
    pub const INTEGER: Types = Types(4);
    /// Numbers that are no integers.
    pub const FRACTION: Types = Types(8);
    pub const TEXT: Types = Types(16);
    pub const LIST: Types = Types(32);
    pub const OBJECT: Types = Types(64);
    const NONE: Types = Types(0);
    pub const ALL: Types = Types(127);

    /// Whether any of these types is in the set.
    pub fn has(self, types: Types) -> bool {
        self.0 & types.0 != 0
    }

    fn or(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    fn and(self, other: Types) -> Types {
        Types(self.0 & other.0)
    }

    fn named(name: &str) -> Types {
        match name {
            "null" => Types::NULL,
            "boolean" => Types::BOOL,
            "integer" => Types::INTEGER,
            "number" => Types::INTEGER.or(Types::FRACTION),
            "string" => Types::TEXT,
            "array" => Types::LIST,
            "object" => Types::OBJECT,
            _ => Types::ALL,
        }
    }

    fn of(value: &Value) -> Types {
        match value {
            Value::Null => Types::NULL,
            Value::Bool(_) => Types::BOOL,
            Value::Number(number) if number.is_f64() => Types::FRACTION,
            Value::Number(_) => Types::INTEGER,
            Value::String(_) => Types::TEXT,
            Value::Array(_) => Types::LIST,
            Value::Object(_) => Types::OBJECT,
        }
    }
}

/// Members that are not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// Nothing is said of them.
    Unsaid,
    /// There are none.
    Refused,
    /// They are welcome, and have this form.
    Like(Id),
}

/// What one schema says, without what it refers to.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The types that a value may have.
    pub types: Types,
    /// The only values that it may have; `None` when they are not listed.
    pub options: Option<Arc<[Value]>>,
    pub members: HashMap<Arc<str>, Id>,
    pub required: Vec<Arc<str>>,
    pub others: Others,
    /// Keys are also allowed by pattern, or by what is not known here.
    pub patterns: bool,
    /// Whether text has the format that is said of it. Formats that nobody knows are none.
    format: Option<Arc<Validator>>,
    first_items: Vec<Id>,
    other_items: Option<Id>,
    /// Forms that the value must have as well.
    pub all: Vec<Id>,
    /// Of each group, one.
    pub any: Vec<Vec<Id>>,
    /// Forms that it may have under some condition.
    maybe: Vec<Id>,
}

/// What a form and all that it refers to say together.
#[derive(Debug, Clone)]
struct Whole {
    types: Types,
    keys: HashMap<Arc<str>, Id>,
    /// Other keys are welcome: the schema says so, or names none.
    open: bool,
    /// Other keys are welcome, as the schema says.
    declared_open: bool,
    required: Vec<Arc<str>>,
    first_items: Vec<Id>,
    other_items: Id,
}

/// The forms of one schema.
#[derive(Debug, Clone)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    wholes: Vec<Whole>,
    pub root: Id,
}

impl Default for Shape {
    fn default() -> Self {
        Shape {
            types: Types::ALL,
            options: None,
            members: HashMap::new(),
            required: Vec::new(),
            others: Others::Unsaid,
            patterns: false,
            format: None,
            first_items: Vec::new(),
            other_items: None,
            all: Vec::new(),
            any: Vec::new(),
            maybe: Vec::new(),
        }
    }
}

impl Shapes {
    /// Lays out a schema that [`Schema::compile`](super::Schema::compile) accepted: its references end somewhere.
    pub fn new(schema: &Value) -> Self {
        let mut layout = Layout::of(schema);
        let root = match schema {
            // A tool of which nothing is said takes nothing, and that is a form of its own.
            Value::Object(map) if map.is_empty() => layout.place(schema, map),
            _ => layout.lay(schema),
        };
        // One after the other: definitions may name each other in a chain of any length.
        while let Some((id, map)) = layout.ahead.pop() {
            layout.shapes[id.0 as usize] = layout.read(map);
        }
        let mut merging = Merging { shapes: layout.shapes, merged: HashMap::new(), left: Cell::new(STEPS_MAX) };
        let mut wholes = Vec::new();
        while let Some(place) = (wholes.len() < merging.shapes.len()).then_some(wholes.len()) {
            let whole = merging.whole(Id(place as u32));
            wholes.push(whole);
        }
        // What a tool does not declare it does not take; objects within its arguments may have any keys.
        if root != ANY {
            let whole: &mut Whole = &mut wholes[root.0 as usize];
            whole.open = whole.declared_open;
        }
        Shapes { shapes: merging.shapes, wholes, root }
    }

    /// Whether the tool takes no arguments.
    pub fn takes_nothing(&self) -> bool {
        self.keys(self.root).is_empty() && !self.is_open(self.root)
    }

    /// Whether text can have the format that is said of it there.
    pub fn fits_format(&self, id: Id, text: &str) -> bool {
        self.fits_format_within(id, text, FORMAT_DEPTH_MAX)
    }

    fn fits_format_within(&self, id: Id, text: &str, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else { return true };
        let shape = self.shape(id);
        let fits = |part: &Id| self.fits_format_within(*part, text, depth);
        let one = |group: &Vec<Id>| {
            let mut texts = group.iter().filter(|part| self.types(**part).has(Types::TEXT)).peekable();
            texts.peek().is_none() || texts.any(fits)
        };
        let own = shape.format.as_ref().is_none_or(|format| format.is_valid(&Value::from(text)));
        own && shape.all.iter().all(fits) && shape.any.iter().all(one)
    }

    /// Forms that take anything, for a tool without a usable schema.
    pub fn free() -> Self {
        Shapes::new(&Value::Bool(true))
    }

    /// What the schema at this place says by itself.
    pub fn shape(&self, id: Id) -> &Shape {
        &self.shapes[id.0 as usize]
    }

    /// The types that a value may have there.
    pub fn types(&self, id: Id) -> Types {
        self.wholes[id.0 as usize].types
    }

    /// The keys that the schema names there, with the forms of their values.
    pub fn keys(&self, id: Id) -> &HashMap<Arc<str>, Id> {
        &self.wholes[id.0 as usize].keys
    }

    /// Whether an object may have keys there that are not named.
    pub fn is_open(&self, id: Id) -> bool {
        self.wholes[id.0 as usize].open
    }

    /// Whether one form is another one, or only refers to it.
    pub fn is_same(&self, one: Id, other: Id) -> bool {
        one == other
            || self.shape(one).all == [other]
            || self.shape(one).all == self.shape(other).all && !self.shape(one).all.is_empty()
    }

    /// The form of a member; `None` when the schema does not name it.
    pub fn member(&self, id: Id, key: &str) -> Option<Id> {
        self.keys(id).get(key).copied()
    }

    /// Whether an object must have this key there.
    pub fn requires(&self, id: Id, key: &str) -> bool {
        self.wholes[id.0 as usize].required.iter().any(|required| &**required == key)
    }

    /// Whether an object needs no key there.
    pub fn requires_nothing(&self, id: Id) -> bool {
        self.wholes[id.0 as usize].required.is_empty()
    }

    /// The form of an item of a list.
    pub fn item(&self, id: Id, index: usize) -> Id {
        let whole = &self.wholes[id.0 as usize];
        whole.first_items.get(index).copied().unwrap_or(whole.other_items)
    }

    /// The first key that no schema names, where others are named and none are welcome; with the JSON pointer of its
    /// object and its form.
    pub fn unknown_key<'v>(&self, value: &'v Value) -> Option<(String, &'v str, Id)> {
        let mut path = String::new();
        self.unknown_key_at(value, self.root, &mut path)
    }

    fn unknown_key_at<'v>(&self, value: &'v Value, id: Id, path: &mut String) -> Option<(String, &'v str, Id)> {
        if id == ANY {
            return None;
        }
        let length = path.len();
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let below = match self.member(id, key) {
                        Some(below) => below,
                        None if self.is_open(id) => continue,
                        None => return Some((path.clone(), key, id)),
                    };
                    if matches!(value, Value::Object(_) | Value::Array(_)) {
                        push(path, key);
                        let found = self.unknown_key_at(value, below, path);
                        if found.is_some() {
                            return found;
                        }
                        path.truncate(length);
                    }
                }
                None
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    if matches!(item, Value::Object(_) | Value::Array(_)) {
                        push(path, &index.to_string());
                        let found = self.unknown_key_at(item, self.item(id, index), path);
                        if found.is_some() {
                            return found;
                        }
                        path.truncate(length);
                    }
                }
                None
            }
            _ => None,
        }
    }
}

/// References and alternatives that are followed in search of a format.
const FORMAT_DEPTH_MAX: usize = 8;

fn of_format(format: &str) -> Option<Arc<Validator>> {
    let schema = json!({"format": format});
    jsonschema::options().offline().should_validate_formats(true).build(&schema).ok().map(Arc::new)
}

/// Adds a step to a JSON pointer.
pub(super) fn push(path: &mut String, step: &str) {
    path.push('/');
    for char in step.chars() {
        match char {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            char => path.push(char),
        }
    }
}

struct Layout<'s> {
    root: &'s Value,
    shapes: Vec<Shape>,
    /// By address, so that a schema which refers to itself is laid out once.
    by_place: HashMap<*const Value, Id>,
    /// Schemas that have their place and are still to be read.
    ahead: Vec<(Id, &'s Map<String, Value>)>,
}

impl<'s> Layout<'s> {
    fn of(root: &'s Value) -> Self {
        Layout { root, shapes: vec![Shape::default()], by_place: HashMap::new(), ahead: Vec::new() }
    }

    /// The place of a schema, which is read later.
    fn lay(&mut self, schema: &'s Value) -> Id {
        let Value::Object(map) = schema else { return ANY };
        if map.is_empty() {
            return ANY;
        }
        match self.by_place.get(&std::ptr::from_ref(schema)) {
            Some(id) => *id,
            None => self.place(schema, map),
        }
    }

    fn place(&mut self, schema: &'s Value, map: &'s Map<String, Value>) -> Id {
        let id = Id(self.shapes.len() as u32);
        self.by_place.insert(schema, id);
        self.shapes.push(Shape::default());
        self.ahead.push((id, map));
        id
    }

    fn read(&mut self, map: &'s Map<String, Value>) -> Shape {
        let mut shape = Shape { types: types(map.get("type")), options: options(map), ..Shape::default() };
        if let (None, Some(options)) = (map.get("type"), &shape.options) {
            shape.types = options.iter().map(Types::of).fold(Types::NONE, Types::or);
        }
        for (key, value) in object(map, "properties") {
            let id = self.lay(value);
            shape.members.insert(key.as_str().into(), id);
        }
        shape.required = list(map, "required").filter_map(Value::as_str).map(Arc::from).collect();
        shape.format = map.get("format").and_then(Value::as_str).and_then(of_format);
        shape.others = match map.get("additionalProperties").or_else(|| map.get("unevaluatedProperties")) {
            None => Others::Unsaid,
            Some(Value::Bool(false)) => Others::Refused,
            Some(others) => Others::Like(self.lay(others)),
        };
        // A map is known by what is said of its keys or their number.
        let counts = map.get("minProperties").and_then(Value::as_u64).is_some_and(|least| least > 0);
        shape.patterns = counts || ["patternProperties", "propertyNames"].iter().any(|key| map.contains_key(*key));
        match map.get("items") {
            Some(Value::Array(first)) => {
                shape.first_items = first.iter().map(|item| self.lay(item)).collect();
                shape.other_items = map.get("additionalItems").map(|item| self.lay(item));
            }
            items => {
                shape.first_items = list(map, "prefixItems").map(|item| self.lay(item)).collect();
                shape.other_items = items.map(|item| self.lay(item));
            }
        }
        for keyword in ["$ref", "$dynamicRef", "$recursiveRef"] {
            let target = map.get(keyword).and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            match target.and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => {
                    let id = self.lay(target);
                    shape.all.push(id);
                }
                // What an anchor names is not looked for, so any key may be.
                None => shape.patterns |= map.contains_key(keyword),
            }
        }
        shape.all.extend(list(map, "allOf").map(|part| self.lay(part)).collect::<Vec<_>>());
        for keyword in ["anyOf", "oneOf"] {
            let group: Vec<Id> = list(map, keyword).map(|part| self.lay(part)).collect();
            if !group.is_empty() {
                shape.any.push(group);
            }
        }
        shape.maybe = ["then", "else"].into_iter().filter_map(|key| map.get(key)).map(|part| self.lay(part)).collect();
        shape.maybe.extend(object(map, "dependentSchemas").map(|(_, part)| self.lay(part)).collect::<Vec<_>>());
        shape
    }
}

fn list<'s>(map: &'s Map<String, Value>, key: &str) -> impl Iterator<Item = &'s Value> {
    map.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn object<'s>(map: &'s Map<String, Value>, key: &str) -> impl Iterator<Item = (&'s String, &'s Value)> {
    map.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn types(value: Option<&Value>) -> Types {
    match value {
        Some(Value::String(name)) => Types::named(name),
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(Types::named).fold(Types::NONE, Types::or)
        }
        _ => Types::ALL,
    }
}

fn options(map: &Map<String, Value>) -> Option<Arc<[Value]>> {
    match (map.get("const"), map.get("enum")) {
        (Some(only), _) => Some([only.clone()].into()),
        (None, Some(Value::Array(options))) => Some(options.clone().into()),
        _ => None,
    }
}

/// Puts together what forms that hold for one value say.
struct Merging {
    shapes: Vec<Shape>,
    /// The form that is one of several, by those.
    merged: HashMap<Vec<Id>, Id>,
    /// Steps that are left.
    left: Cell<usize>,
}

/// What is gathered from a form and those that it refers to.
#[derive(Default)]
struct Gathered {
    keys: HashMap<Arc<str>, Vec<Id>>,
    /// The schema says that other keys are welcome.
    open: bool,
    /// Somewhere it says nothing but that this is an object.
    free: bool,
    /// Keys that must be there in some case.
    named: Vec<Arc<str>>,
    required: Vec<Arc<str>>,
    first_items: Vec<Vec<Id>>,
    other_items: Vec<Id>,
}

impl Merging {
    fn whole(&mut self, id: Id) -> Whole {
        let mut gathered = Gathered::default();
        self.gather(id, true, &mut gathered);
        let closed = self.refuses(id);
        let open = gathered.open || gathered.free || (gathered.keys.is_empty() && !closed);
        // What must be there is declared, if only so.
        for key in gathered.named {
            gathered.keys.entry(key).or_insert_with(|| vec![ANY]);
        }
        Whole {
            declared_open: gathered.open,
            types: self.types(id),
            keys: gathered.keys.into_iter().map(|(key, ids)| (key, self.one_of(ids))).collect(),
            open,
            required: gathered.required,
            first_items: gathered.first_items.into_iter().map(|ids| self.one_of(ids)).collect(),
            other_items: self.one_of(gathered.other_items),
        }
    }

    /// Whether a step is left.
    fn step(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.left.get() > 0
    }

    /// Takes what a form says; `certain` when it holds in any case.
    fn gather(&self, id: Id, certain: bool, gathered: &mut Gathered) {
        if !self.step() {
            gathered.open = true;
            return;
        }
        let shape = &self.shapes[id.0 as usize];
        for (key, id) in &shape.members {
            let ids = gathered.keys.entry(key.clone()).or_default();
            if !ids.contains(id) {
                ids.push(*id);
            }
        }
        let plain = shape.members.is_empty() && shape.all.is_empty() && shape.any.is_empty();
        let free = plain && shape.others == Others::Unsaid && shape.types == Types::OBJECT && shape.required.is_empty();
        gathered.free |= free;
        gathered.open |= shape.patterns || matches!(shape.others, Others::Like(_));
        gathered.named.extend(shape.required.iter().cloned());
        if certain {
            gathered.required.extend(shape.required.iter().cloned());
        }
        for (index, id) in shape.first_items.iter().enumerate() {
            if gathered.first_items.len() <= index {
                gathered.first_items.push(Vec::new());
            }
            gathered.first_items[index].push(*id);
        }
        gathered.other_items.extend(shape.other_items);
        for part in &shape.all {
            self.gather(*part, certain, gathered);
        }
        for part in shape.any.iter().flatten().chain(&shape.maybe) {
            self.gather(*part, false, gathered);
        }
    }

    /// Whether an object must not have keys that are not named.
    fn refuses(&self, id: Id) -> bool {
        let shape = &self.shapes[id.0 as usize];
        shape.others == Others::Refused || self.step() && shape.all.iter().any(|part| self.refuses(*part))
    }

    fn types(&self, id: Id) -> Types {
        let shape = &self.shapes[id.0 as usize];
        if !self.step() {
            return Types::ALL;
        }
        let all = shape.all.iter().map(|part| self.types(*part)).fold(shape.types, Types::and);
        let groups =
            shape.any.iter().map(|group| group.iter().map(|part| self.types(*part)).fold(Types::NONE, Types::or));
        groups.fold(all, Types::and)
    }

    fn one_of(&mut self, mut ids: Vec<Id>) -> Id {
        ids.sort();
        ids.dedup();
        match ids.as_slice() {
            [] => ANY,
            [id] => *id,
            _ if ids.contains(&ANY) || self.merged.len() >= MERGED_MAX => ANY,
            _ => {
                let next = Id(self.shapes.len() as u32);
                let id = *self.merged.entry(ids.clone()).or_insert(next);
                if id == next {
                    self.shapes.push(Shape { any: vec![ids], ..Shape::default() });
                }
                id
            }
        }
    }
}
