//! Brings arguments into the form that a schema wants, where their meaning stays.
//!
//! Walks value and schema side by side and gathers the edits that make the value fit; alternatives are tried one by one,
//! one that fits as it stands comes first, and two that would change the value differently are no answer. Validation
//! comes afterwards and is not done here. Always true:
//! - No value is invented, clamped, rounded or picked from several.
//! - A key that the schema does not name is renamed or dropped only by [`keys`](super::keys), else there is no answer.
//! - Work and stack are bounded, whatever schema and value look like.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use crate::chat::{Effect, ToolDef};

use super::{
    draft::Edit,
    json, keys,
    kind::Kind,
    names,
    shape::{Id, Others, Shape, Shapes, Types, push},
    standin::is_standin,
    tree::{self, Form, Member, Node},
};

/// Visits for any value, and for each byte of it. Alternatives within alternatives multiply; real schemas stay far below.
const VISITS_BASE: usize = 20_000;
/// Pairs of edits that are compared with each other; beyond, the edits of two schemas must be the same.
const COMPARED_MAX: usize = 10_000;
/// Deepest stack of visits: 64 levels with some references each.
const STACK_MAX: usize = 256;

/// The edits that make the arguments fit; none when they do. `None` when nothing that keeps the meaning does.
pub(super) fn align(text: &str, root: &Node<'_>, shapes: &Shapes, tool: &ToolDef) -> Option<(Vec<Edit>, u32)> {
    let mut aligner =
        Aligner { text, shapes, tool, path: String::new(), visits: VISITS_BASE + 8 * text.len(), stack: 0 };
    let mut fix = aligner.mend(root, shapes.root)?;
    fix.edits.sort_by_key(|edit| (edit.start, edit.end));
    Some((fix.edits, fix.cost))
}

/// Edits and what they weigh.
#[derive(Debug, Clone, Default, PartialEq)]
struct Fix {
    edits: Vec<Edit>,
    cost: u32,
}

impl Fix {
    fn with(&mut self, edits: impl IntoIterator<Item = Edit>) {
        for edit in edits {
            self.cost += match edit.kind.risk() {
                super::Risk::Lossless => 1,
                super::Risk::Unique => 3,
            };
            self.edits.push(edit);
        }
    }

    /// Takes the edits of another part of the text.
    fn beside(&mut self, other: Fix) {
        self.edits.extend(other.edits);
        self.cost += other.cost;
    }

    /// Takes the edits that another schema wants of the same text. `None` when they contradict.
    fn over(&mut self, other: Fix) -> Option<()> {
        if self.edits.is_empty() {
            *self = other;
            return Some(());
        }
        if self.edits.len().saturating_mul(other.edits.len()) > COMPARED_MAX {
            return (self.edits == other.edits).then_some(());
        }
        for edit in other.edits {
            let clash = |mine: &Edit| mine.start < edit.end && edit.start < mine.end || mine.start == edit.start;
            match self.edits.iter().find(|mine| clash(mine)) {
                Some(mine) if *mine == edit => {}
                Some(_) => return None,
                None => self.with([edit]),
            }
        }
        Some(())
    }
}

/// How the members of an object are to be read: each under its key, or (`None`) not at all.
type View<'n> = Vec<Key<'n>>;

/// The key of a member, as it is to be read; `None` when it is left out.
type Key<'n> = Option<Cow<'n, str>>;

struct Aligner<'a> {
    text: &'a str,
    shapes: &'a Shapes,
    /// Its name may stand beside wrapped arguments, its schema be echoed.
    tool: &'a ToolDef,
    path: String,
    visits: usize,
    stack: usize,
}

impl<'a> Aligner<'a> {
    /// What makes a value fit the form at its place.
    fn mend(&mut self, node: &Node<'_>, id: Id) -> Option<Fix> {
        self.visits = self.visits.checked_sub(1)?;
        if self.stack >= STACK_MAX {
            return None;
        }
        self.stack += 1;
        let fix = self.mend_whole(node, id);
        self.stack -= 1;
        fix
    }

    fn mend_whole(&mut self, node: &Node<'_>, id: Id) -> Option<Fix> {
        let Form::Object(members) = &node.form else { return self.part(node, id, &[]) };
        if !self.shapes.types(id).has(Types::OBJECT) {
            return self.part(node, id, &[]);
        }
        if let Some(fix) = self.unwrap_arguments(node, members, id) {
            return Some(fix);
        }
        let (view, mut fix) = self.view(node, members, id)?;
        let inner = self.part(node, id, &view)?;
        fix.over(inner)?;
        Some(fix)
    }

    /// What one schema, with those that it refers to, wants of a value.
    fn part(&mut self, node: &Node<'_>, id: Id, view: &[Key<'_>]) -> Option<Fix> {
        self.visits = self.visits.checked_sub(1)?;
        if self.stack >= STACK_MAX {
            return None;
        }
        self.stack += 1;
        let fix = self.part_by_part(node, id, view);
        self.stack -= 1;
        fix
    }

    fn part_by_part(&mut self, node: &Node<'_>, id: Id, view: &[Key<'_>]) -> Option<Fix> {
        let shapes = self.shapes;
        let shape = shapes.shape(id);
        if !shape.types.has(type_of(node)) {
            return self.convert(node, id, shape);
        }
        let mut fix = Fix::default();
        if let Some(options) = &shape.options
            && !options.iter().any(|option| self.is(node, option))
        {
            let edit = self.option(node, options)?;
            fix.with([edit]);
            return Some(fix);
        }
        match &node.form {
            Form::Object(members) => {
                let has = |key: &str| view.iter().flatten().any(|there| there == key);
                if shape.required.iter().any(|key| !has(key)) {
                    return None;
                }
                for (member, key) in members.iter().zip(view) {
                    let Some(key) = key else { continue };
                    let below = match (shape.members.get(&**key), shape.others) {
                        (Some(below), _) => *below,
                        (None, Others::Like(below)) => below,
                        (None, Others::Refused) if !shape.patterns => return None,
                        (None, Others::Refused | Others::Unsaid) => continue,
                    };
                    let inner = self.at(key, |aligner| aligner.mend(&member.value, below))?;
                    fix.beside(inner);
                }
            }
            Form::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let below = shapes.item(id, index);
                    let inner = self.at(&index.to_string(), |aligner| aligner.mend(item, below))?;
                    fix.beside(inner);
                }
            }
            _ => {}
        }
        for part in &shape.all {
            let inner = self.part(node, *part, view)?;
            fix.over(inner)?;
        }
        for group in &shape.any {
            let inner = self.one_of(node, id, group, view)?;
            fix.over(inner)?;
        }
        Some(fix)
    }

    /// The alternative that needs least; `None` when two of them need as much and differ.
    fn one_of(&mut self, node: &Node<'_>, owner: Id, group: &[Id], view: &[Key<'_>]) -> Option<Fix> {
        let mut best: Option<Fix> = None;
        let mut tied = false;
        // Where one alternative holds a list of such values, a list of one may be what it holds.
        let holds = |alternative: &Id| {
            let mut below = self.shapes.keys(*alternative).values();
            below.any(|below| {
                self.shapes.types(*below).has(Types::LIST) && self.shapes.is_same(self.shapes.item(*below, 0), owner)
            })
        };
        if matches!(node.form, Form::List(_)) && !self.shapes.types(owner).has(Types::LIST) && group.iter().any(holds) {
            return None;
        }
        for id in group {
            let Some(fix) = self.part(node, *id, view) else { continue };
            if fix.edits.is_empty() {
                return Some(fix);
            }
            match &best {
                Some(other) if other.cost < fix.cost => {}
                Some(other) if other.cost == fix.cost => tied |= other.edits != fix.edits,
                _ => {
                    best = Some(fix);
                    tied = false;
                }
            }
        }
        best.filter(|_| !tied)
    }

    /// Does something one step down.
    fn at<T>(&mut self, step: &str, what: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        push(&mut self.path, step);
        let done = what(self);
        self.path.truncate(length);
        done
    }

    fn edit(&self, start: usize, end: usize, after: impl Into<Cow<'static, str>>, kind: Kind) -> Edit {
        Edit { path: self.path.clone(), ..Edit::replace(start, end, after, kind) }
    }

    fn edit_at(&self, key: &str, edit: Edit) -> Edit {
        let mut path = self.path.clone();
        push(&mut path, key);
        Edit { path, ..edit }
    }

    /// Under which keys the members of an object are to be read, and the edits that make it so.
    fn view<'n>(&mut self, node: &Node<'_>, members: &'n [Member<'_>], id: Id) -> Option<(View<'n>, Fix)> {
        let mut view: View<'n> = Vec::with_capacity(members.len());
        let mut fix = Fix::default();
        for member in members {
            let shapes = self.shapes;
            match shapes.member(id, &member.key) {
                Some(below) if matches!(member.value.form, Form::Null) && !shapes.types(below).has(Types::NULL) => {
                    if shapes.requires(id, &member.key) {
                        return None;
                    }
                    view.push(None);
                }
                Some(_) => view.push(Some(Cow::Borrowed(&*member.key))),
                None if shapes.is_open(id) => view.push(Some(Cow::Borrowed(&*member.key))),
                None => match self.meant(member, members, id) {
                    Some((key, kind)) => {
                        if view.iter().flatten().any(|there| **there == *key) {
                            return None;
                        }
                        let quoted = serde_json::to_string(&*key).ok()?;
                        let edit = Edit::replace(member.key_start, member.key_end, quoted, kind);
                        fix.with([self.edit_at(&member.key, edit)]);
                        view.push(Some(Cow::Owned(key.to_string())));
                    }
                    None if self.says_nothing(member, members, id) => view.push(None),
                    None => return None,
                },
            }
        }
        let echo = view.iter().zip(members).any(|(key, member)| key.is_none() && self.echoes(member, id));
        if echo && view.iter().all(Option::is_none) && !self.shapes.takes_nothing() {
            // The schema for the arguments, and none of them.
            return None;
        }
        fix.beside(self.without(node, members, &view, id));
        Some((view, fix))
    }

    /// The edits that take out the members that are not to be read, each run of them with its commas.
    fn without(&self, node: &Node<'_>, members: &[Member<'_>], view: &[Key<'_>], id: Id) -> Fix {
        let mut fix = Fix::default();
        let mut index = 0;
        while index < members.len() {
            if view[index].is_some() {
                index += 1;
                continue;
            }
            let first = index;
            while index < members.len() && view[index].is_none() {
                index += 1;
            }
            let last_end = members[index - 1].value.end;
            let (start, end) = match (members.get(index), first.checked_sub(1)) {
                (Some(next), _) => (members[first].key_start, next.key_start),
                (None, Some(before)) => (members[before].value.end, last_end),
                (None, None) => (members[first].key_start, last_end),
            };
            debug_assert!(start >= node.start && end <= node.end);
            let out = &members[first..index];
            let kind = match out {
                _ if out.iter().all(|member| matches!(member.value.form, Form::Null)) => Kind::NullOptional,
                _ if out.iter().all(|member| self.echoes(member, id)) => Kind::SchemaEcho,
                _ => Kind::NoiseKey,
            };
            fix.with([self.edit_at(&members[first].key, Edit::delete(start, end, kind))]);
        }
        fix
    }

    /// Whether a member that the schema does not know can be left out, since what it says cannot matter: nothing, what another
    /// member says, what the schema says or, for a tool that only reads, what the call is made for.
    fn says_nothing(&self, member: &Member<'_>, members: &[Member<'_>], id: Id) -> bool {
        let noise = keys::is_noise(&member.key);
        let alike = |other: &&Member<'_>| {
            keys::are_synonyms(&member.key, &other.key) || keys::folded(&member.key) == keys::folded(&other.key)
        };
        let stays = |other: &&Member<'_>| self.shapes.member(id, &other.key).is_some();
        let mut others = members.iter().filter(|other| !std::ptr::eq(*other, member)).filter(stays);
        match &member.value.form {
            Form::Null => true,
            Form::List(items) if items.is_empty() => noise,
            Form::Object(inner) if inner.is_empty() => noise,
            Form::Text(text) if noise && text.trim().is_empty() => true,
            Form::Text(text) if noise && self.tool.effect == Effect::Read && keys::is_plain_intent(text) => true,
            _ => {
                others.any(|other| (noise || alike(&other)) && self.equal(&member.value, &other.value))
                    || self.echoes(member, id)
            }
        }
    }

    /// Whether two values are the same.
    fn equal(&self, one: &Node<'_>, other: &Node<'_>) -> bool {
        let value = |node: &Node<'_>| self.text.get(node.start..node.end).and_then(|text| json::read(text).ok());
        value(one).is_some_and(|one| value(other) == Some(one))
    }

    /// Whether a member of the arguments is one of the schema itself, as it stands there.
    fn echoes(&self, member: &Member<'_>, id: Id) -> bool {
        const ECHOED: &[&str] =
            &["type", "required", "additionalProperties", "$schema", "title", "description", "strict"];
        let whole = id == self.shapes.root && self.path.is_empty();
        let said = self.tool.input_schema.get(&*member.key).filter(|_| whole && ECHOED.contains(&&*member.key));
        said.is_some_and(|said| self.is(&member.value, said))
    }

    /// The key that an unknown one was meant to be.
    fn meant(&mut self, member: &Member<'_>, members: &[Member<'_>], id: Id) -> Option<(Arc<str>, Kind)> {
        let shapes = self.shapes;
        let folded = keys::folded(&member.key);
        let all = || shapes.keys(id).keys();
        let absent = |key: &Arc<str>| !members.iter().any(|member| *member.key == **key);
        let mut alike = all().filter(|key| keys::folded(key) == folded);
        if let Some(key) = alike.next() {
            return (alike.next().is_none() && absent(key)).then(|| (key.clone(), Kind::KeySpelling));
        }
        // More than another spelling only where the call cannot do without it.
        let mut found = None;
        let is_plural =
            |written: &str, key: &str| matches!(member.value.form, Form::List(_)) && keys::is_plural(key, written);
        for (kind, is) in [
            (Kind::KeyTypo, &keys::is_typo as &dyn Fn(&str, &str) -> bool),
            (Kind::KeySynonym, &keys::are_synonyms),
            (Kind::KeySynonym, &is_plural),
        ] {
            for key in all().filter(|key| is(&member.key, key)) {
                match &found {
                    None => found = Some((key.clone(), kind)),
                    Some((other, _)) if other == key => {}
                    Some(_) => return None,
                }
            }
        }
        let (key, kind) = found?;
        if !absent(&key) || !shapes.requires(id, &key) {
            return None;
        }
        let below = shapes.member(id, &key)?;
        let fits = self.mend(&member.value, below).is_some_and(|fix| fix.edits.is_empty());
        fits.then_some((key, kind))
    }

    /// `{"arguments": {…}}`, where the schema has no such key: the arguments are what stands within.
    fn unwrap_arguments(&mut self, node: &Node<'_>, members: &[Member<'_>], id: Id) -> Option<Fix> {
        if id != self.shapes.root || !self.path.is_empty() || members.iter().any(|it| self.knows(id, &it.key)) {
            return None;
        }
        let is_inner = |member: &&Member<'_>| {
            keys::wraps_arguments(&member.key) && matches!(member.value.form, Form::Object(_) | Form::Text(_))
        };
        // The tool's name may stand under a key that could also wrap.
        let names = |member: &Member<'_>| match &member.value.form {
            Form::Text(name) => keys::names_tool(&member.key) && names::is_name_of(name, self.tool.name.as_str()),
            _ => false,
        };
        let mut inner = members.iter().filter(|member| !names(member)).filter(is_inner);
        let wrapper = inner.next().filter(|_| inner.next().is_none())?;
        let others = members.iter().filter(|member| !std::ptr::eq(*member, wrapper));
        let beside = |member: &Member<'_>| {
            names(member)
                || (keys::folded(&member.key) == "type"
                    && matches!(&member.value.form, Form::Text(text) if text == "function"))
                || matches!(keys::folded(&member.key).as_str(), "id" | "callid" | "toolcallid")
                || self.echoes(member, id)
                || (&*wrapper.key == "properties"
                    && &*member.key == "type"
                    && matches!(&member.value.form, Form::Text(text) if text == "object"))
        };
        if &*wrapper.key == "properties" && is_schema(&wrapper.value) {
            return None;
        }
        if !others.clone().all(beside) {
            return None;
        }
        let mut fix = Fix::default();
        let value = &wrapper.value;
        match &value.form {
            Form::Text(text) => {
                json::read(text).ok().filter(Value::is_object)?;
                let root = tree::read(text)?;
                Aligner { text, path: String::new(), ..*self }.mend(&root, id)?;
                fix.with([self.edit_at(
                    &wrapper.key,
                    Edit::replace(node.start, node.end, text.trim().to_owned(), Kind::Wrapper),
                )]);
            }
            _ => {
                // Its own edits come in the next pass: they name other places.
                self.mend(value, id)?;
                fix.with([
                    self.edit_at(&wrapper.key, Edit::delete(node.start, value.start, Kind::Wrapper)),
                    self.edit_at(&wrapper.key, Edit::delete(value.end, node.end, Kind::Wrapper)),
                ]);
            }
        }
        Some(fix)
    }

    fn knows(&self, id: Id, key: &str) -> bool {
        self.shapes.is_open(id) || self.shapes.member(id, key).is_some()
    }

    /// Another spelling of a value that is listed.
    fn option(&self, node: &Node<'_>, options: &[Value]) -> Option<Edit> {
        let replace = |option: &Value, kind| Some(self.edit(node.start, node.end, option.to_string(), kind));
        let text = match &node.form {
            Form::Text(text) => text,
            Form::Number(number) if is_integer(number) => {
                let quoted = options.iter().find(|option| option.as_str() == Some(number))?;
                return replace(quoted, Kind::IntegerAsText);
            }
            _ => return None,
        };
        let literal = |option: &&Value| match option {
            Value::Number(number) => *text == number.to_string(),
            Value::Bool(flag) => literal_bool(text) == Some(*flag),
            _ => false,
        };
        if let Some(option) = options.iter().find(literal) {
            return replace(option, Kind::LiteralInString);
        }
        let folded = keys::folded(text.trim());
        let mut alike =
            options.iter().filter(|option| option.as_str().is_some_and(|it| keys::folded(it.trim()) == folded));
        let option = alike.next().filter(|_| alike.next().is_none())?;
        replace(option, Kind::EnumSpelling)
    }

    /// Makes a value of a wrong type one of a right type.
    fn convert(&mut self, node: &Node<'_>, id: Id, shape: &Shape) -> Option<Fix> {
        let types = shape.types;
        let mut fix = Fix::default();
        match &node.form {
            Form::Text(text) => {
                if let Some(literal) = literal(text, types) {
                    fix.with([self.edit(node.start, node.end, literal, Kind::LiteralInString)]);
                    return Some(fix);
                }
                if types.has(Types::LIST) || types.has(Types::OBJECT) {
                    return self.decode(node, text, id, types);
                }
                None
            }
            Form::Number(number) if types.has(Types::TEXT) && self.shapes.fits_format(id, number) => {
                let kind = if is_integer(number) { Kind::IntegerAsText } else { Kind::NumberAsText };
                fix.with([self.edit(node.start, node.end, format!("\"{number}\""), kind)]);
                Some(fix)
            }
            Form::Number(_) | Form::Bool(_) if types.has(Types::LIST) => self.listed(node, id),
            Form::List(items) if !types.has(Types::LIST) => {
                let [item] = items.as_slice() else { return None };
                if matches!(item.form, Form::Null) {
                    return None;
                }
                fix = self.mend(item, id)?;
                fix.with([
                    self.edit(node.start, item.start, "", Kind::OutOfList),
                    self.edit(item.end, node.end, "", Kind::OutOfList),
                ]);
                Some(fix)
            }
            Form::Object(members) => self.out_of_object(node, members, id, types),
            _ => None,
        }
    }

    /// A list or an object that came as text, or a text where a list is wanted.
    fn decode(&mut self, node: &Node<'_>, text: &str, id: Id, types: Types) -> Option<Fix> {
        let trimmed = text.trim();
        if trimmed.starts_with(['[', '{']) {
            let value = json::read(trimmed).ok()?;
            let root = tree::read(trimmed).filter(|_| value.is_array() || value.is_object())?;
            if !types.has(type_of(&root)) {
                return None;
            }
            // What it needs itself comes in the next pass.
            Aligner { text: trimmed, path: self.path.clone(), ..*self }.mend(&root, id)?;
            let mut fix = Fix::default();
            fix.with([self.edit(node.start, node.end, trimmed.to_owned(), Kind::JsonInString)]);
            return Some(fix);
        }
        // A text with separators may be several items, and a word that stands for none or all of them is no item.
        let key = self.path.rsplit('/').next().unwrap_or_default();
        let several = trimmed.is_empty() || text.contains([',', ';', '\n', '|']) || is_command_line(trimmed, key);
        let no_item = || {
            is_standin(trimmed, key)
                || matches!(trimmed.to_lowercase().as_str(), "all" | "*" | "both" | "every" | "everything")
        };
        if several || !types.has(Types::LIST) || no_item() { None } else { self.listed(node, id) }
    }

    fn listed(&mut self, node: &Node<'_>, id: Id) -> Option<Fix> {
        let item = self.shapes.item(id, 0);
        let mut fix = Fix::default();
        fix.with([
            self.edit(node.start, node.start, "[", Kind::IntoList),
            self.edit(node.end, node.end, "]", Kind::IntoList),
        ]);
        let inner = self.mend(node, item)?;
        fix.beside(inner);
        Some(fix)
    }

    fn out_of_object(&mut self, node: &Node<'_>, members: &[Member<'_>], id: Id, types: Types) -> Option<Fix> {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        if let [member] = members
            && keys::wraps_value(&member.key, name)
            && types.has(type_of(&member.value))
        {
            let mut fix = self.mend(&member.value, id)?;
            fix.with([
                self.edit(node.start, member.value.start, "", Kind::Wrapper),
                self.edit(member.value.end, node.end, "", Kind::Wrapper),
            ]);
            return Some(fix);
        }
        if !types.has(Types::LIST) {
            return None;
        }
        let indexed = members.iter().enumerate().all(|(index, member)| *member.key == index.to_string());
        if indexed && !members.is_empty() {
            let mut fix = Fix::default();
            fix.with([self.edit(node.start, node.start + 1, "[", Kind::IndexMap)]);
            for (index, member) in members.iter().enumerate() {
                fix.with([self.edit(member.key_start, member.value.start, "", Kind::IndexMap)]);
                let item = self.shapes.item(id, index);
                let inner = self.at(&index.to_string(), |aligner| aligner.mend(&member.value, item))?;
                fix.beside(inner);
            }
            fix.with([self.edit(node.end - 1, node.end, "]", Kind::IndexMap)]);
            return Some(fix);
        }
        self.listed(node, id)
    }

    /// Whether a value is the one that is listed.
    fn is(&self, node: &Node<'_>, option: &Value) -> bool {
        match (&node.form, option) {
            (Form::Text(text), Value::String(option)) => text == option,
            (Form::Bool(flag), Value::Bool(option)) => flag == option,
            (Form::Null, Value::Null) => true,
            (Form::Number(number), Value::Number(option)) => number.parse::<f64>().ok() == option.as_f64(),
            (Form::List(_), Value::Array(_)) | (Form::Object(_), Value::Object(_)) => {
                let text = self.text.get(node.start..node.end).unwrap_or_default();
                serde_json::from_str::<Value>(text).is_ok_and(|value| value == *option)
            }
            _ => false,
        }
    }
}

/// Whether the members of an object are described rather than given: each by a type of JSON.
fn is_schema(node: &Node<'_>) -> bool {
    const TYPES: &[&str] = &["string", "integer", "number", "boolean", "object", "array", "null"];
    let described = |member: &Member<'_>| match &member.value.form {
        Form::Object(inner) => inner.iter().any(|it| {
            let is_type = matches!(&it.value.form, Form::Text(text) if TYPES.contains(&&**text));
            (&*it.key == "type" && is_type) || matches!(&*it.key, "anyOf" | "oneOf" | "$ref" | "enum")
        }),
        _ => false,
    };
    matches!(&node.form, Form::Object(members) if members.iter().any(described))
}

/// Whether a text holds several words of a command line, and not one of them.
fn is_command_line(text: &str, key: &str) -> bool {
    const KEYS: &[&str] =
        &["args", "argv", "arguments", "command", "cmd", "commands", "flags", "params", "parameters", "switches"];
    let several = text.contains(char::is_whitespace);
    several
        && (KEYS.contains(&keys::folded(key).as_str())
            || text.split_whitespace().any(|word| word.starts_with(['-', '#', '@']) || word.contains('@')))
}

fn type_of(node: &Node<'_>) -> Types {
    match &node.form {
        Form::Null => Types::NULL,
        Form::Bool(_) => Types::BOOL,
        Form::Number(number) if is_whole(number) => Types::INTEGER,
        Form::Number(_) => Types::FRACTION,
        Form::Text(_) => Types::TEXT,
        Form::List(_) => Types::LIST,
        Form::Object(_) => Types::OBJECT,
    }
}

/// Whether a number is written as an integer.
fn is_integer(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// Whether a number is an integer, `5.0` included, as JSON Schema has it.
fn is_whole(number: &str) -> bool {
    is_integer(number) || number.parse::<f64>().is_ok_and(|number| number.fract() == 0.0)
}

/// The literal that a text is, where the types want one and no text.
fn literal(text: &str, types: Types) -> Option<String> {
    let is_json = |text: &str| serde_json::from_str::<f64>(text).is_ok() && !text.contains(char::is_whitespace);
    if is_json(text) {
        if types.has(Types::FRACTION) || (types.has(Types::INTEGER) && is_integer(text)) {
            return Some(text.to_owned());
        }
        let whole = text.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|digit| digit == b'0'));
        return whole.filter(|_| types.has(Types::INTEGER)).map(|(whole, _)| whole.to_owned());
    }
    match literal_bool(text) {
        Some(flag) if types.has(Types::BOOL) => return Some(flag.to_string()),
        _ => {}
    }
    (matches!(text, "null" | "None") && types.has(Types::NULL)).then(|| "null".to_owned())
}

fn literal_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "True" => Some(true),
        "false" | "False" => Some(false),
        _ => None,
    }
}
