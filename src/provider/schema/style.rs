//! Writes a schema in the way that a target writes such things: null, unions, lists of types, choices and closed objects. What
//! it says is settled by then.

use serde_json::{Map, Value, json};

use super::{
    Members, Reducer, either, has_type, into_members, is_annotation, is_null, may_be_object,
    subset::{Enums, Objects, Places, Types},
    type_of, types,
};

/// Longest list of values that is told in a description instead of an `enum`, in bytes.
const HINT_BYTES_MAX: usize = 300;

impl Reducer<'_> {
    pub(super) fn styled(&self, schema: Value, places: &Places) -> Value {
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
