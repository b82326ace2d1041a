//! Calls written with tags: one for the call, one for each parameter, the values as they are between them.
//!
//! Values are not escaped, so an end tag may stand in a value. It ends the value only if what follows it is the next
//! parameter or the end of the call; and a call ends at its last end, so what follows it is looked at until the next
//! call begins or the text ends. Each byte is looked at a bounded number of times.

use std::collections::HashSet;

use super::{
    Found,
    json::{self, Scanned},
    names,
    region::{
        Around, Look, Step, begins, begins_any, begins_marker, begins_with_suffix, find_near, longest, run, skip_space,
        steps, suffix_of,
    },
    value::{self, Declared, Typed},
};
use crate::chat::ToolDef;

/// Longest tag, its attributes included.
const TAG_BYTES_MAX: usize = 256;

/// How the tags of a dialect look.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) form: Form,
    /// What opens a call, up to its name.
    pub(super) call: &'static [&'static str],
    pub(super) call_end: &'static [&'static str],
    /// What opens a parameter, up to its key; for pairs what stands around the key, and what opens the value.
    pub(super) param: &'static [&'static str],
    pub(super) param_end: &'static [&'static str],
    /// What ends an opening tag.
    pub(super) close: &'static str,
    /// What stands around calls.
    pub(super) around: &'static [&'static str],
    /// A newline at either side of a value belongs to the tags.
    pub(super) framed: bool,
}

/// How a tag tells its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `<function=f>`.
    Equals,
    /// `<invoke name="f">`; an attribute may tell a value's type.
    Attributes,
    /// `f`, and `<arg_key>k</arg_key><arg_value>v</arg_value>`.
    Pairs,
    /// `<k>v</k>`, also nested.
    Named,
    /// The same, and the name of the tool in a tag of its own: `<tool_name>f</tool_name><parameters>…</parameters>`.
    Children,
}

/// A tag as it was read, with its length.
#[derive(Debug, Clone, PartialEq)]
enum Tag {
    Call(String, usize),
    CallEnd(usize),
    Param(String, Typed, usize),
    ParamEnd(usize),
    /// Opens or closes what stands around calls.
    Around(usize),
}

impl Shape {
    /// The tag at the beginning of the text. `key` is the parameter that is open.
    fn tag(&self, text: &str, key: Option<&str>, suffix: &str, ended: bool) -> Look<Tag> {
        let any = |markers: &[&str]| longest(markers.iter().map(|it| begins_with_suffix(text, it, suffix, ended)));
        // What ends comes first: its marker may begin like another one.
        let end = match (self.form, key) {
            (Form::Named | Form::Children, Some(key)) => begins(text, &format!("{}/{key}>", self.param[0]), ended),
            _ => any(self.param_end),
        };
        map(end, Tag::ParamEnd)
            .or(|| map(any(self.call_end), Tag::CallEnd))
            .or(|| map(any(self.around), Tag::Around))
            .or(|| match self.form {
                Form::Pairs | Form::Children => map(any(self.call), |length| Tag::Call(String::new(), length)),
                _ => self.opening(text, self.call, ended, |name, _, length| Tag::Call(name, length)),
            })
            .or(|| match self.form {
                Form::Pairs => self.pair(text, suffix, ended),
                _ => self.opening(text, self.param, ended, Tag::Param),
            })
    }

    /// An opening tag with a name in it.
    fn opening(
        &self,
        text: &str,
        markers: &[&str],
        ended: bool,
        tag: impl FnOnce(String, Typed, usize) -> Tag,
    ) -> Look<Tag> {
        let start = match begins_any(text, markers, ended) {
            Look::Yes(start) => start,
            Look::No => return Look::No,
            Look::More => return Look::More,
        };
        let inside = &text[start..];
        // Only attributes may stand on several lines.
        let has_attributes = self.form == Form::Attributes || self.form == Form::Named && markers == self.call;
        let is_broken = |inside: &str| !has_attributes && inside.contains('\n');
        let length = match find_near(inside, self.close, TAG_BYTES_MAX, ended) {
            Look::Yes(length) if !is_broken(&inside[..length]) => length,
            Look::More if !is_broken(inside) => return Look::More,
            _ => return Look::No,
        };
        let whole = start + length + self.close.len();
        let inside = &inside[..length];
        let read = match has_attributes {
            true => attributes(inside),
            false => Some((inside.trim().trim_matches(['"', '\'']).to_owned(), Typed::BySchema)),
        };
        match read {
            Some((name, typed))
                if !name.is_empty() && !name.contains(['\n', '<', '>', ' ']) && !name.starts_with('/') =>
            {
                Look::Yes(tag(name, typed, whole))
            }
            _ => Look::No,
        }
    }

    /// A key and the opening of its value.
    fn pair(&self, text: &str, suffix: &str, ended: bool) -> Look<Tag> {
        let [open, close, value] = self.param else { return Look::No };
        let start = match begins_with_suffix(text, open, suffix, ended) {
            Look::Yes(start) => start,
            Look::No => return Look::No,
            Look::More => return Look::More,
        };
        // A key has no tags in it.
        let inside = &text[start..];
        let (length, closed) = match inside.find(['<', '\n']) {
            Some(length) => match begins_with_suffix(&inside[length..], close, suffix, ended) {
                Look::Yes(closed) if length <= TAG_BYTES_MAX => (length, closed),
                Look::More => return Look::More,
                _ => return Look::No,
            },
            None if ended || inside.len() > TAG_BYTES_MAX => return Look::No,
            None => return Look::More,
        };
        let key = inside[..length].trim();
        let behind = start + length + closed;
        let space = run(&text[behind..], |c| c.is_whitespace()).len();
        // Between key and value stands a newline at most.
        match begins_with_suffix(&text[behind + space..], value, suffix, ended) {
            _ if space > TAG_BYTES_MAX => Look::No,
            Look::Yes(length) => Look::Yes(Tag::Param(key.to_owned(), Typed::BySchema, behind + space + length)),
            Look::No => Look::No,
            Look::More => Look::More,
        }
    }
}

fn map<T, U>(look: Look<T>, with: impl FnOnce(T) -> U) -> Look<U> {
    match look {
        Look::Yes(value) => Look::Yes(with(value)),
        Look::No => Look::No,
        Look::More => Look::More,
    }
}

/// Name and type from the attributes of a tag.
fn attributes(text: &str) -> Option<(String, Typed)> {
    let get = |wanted: &str| {
        let at = text.find(&format!("{wanted}="))?;
        // Not the end of another attribute's name.
        text[..at].chars().next_back().is_none_or(char::is_whitespace).then_some(())?;
        let value = &text[at + wanted.len() + 1..];
        let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => value[1..].split(quote).next()?,
            None => value.split([' ', '/', '>']).next()?,
        };
        Some(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    };
    let name = ["name", "tool", "key"].iter().find_map(|name| get(name))?;
    let typed = match (get("string").as_deref(), get("type").as_deref()) {
        (Some("true"), _) | (_, Some("string")) => Typed::Text,
        (Some("false"), _) => Typed::Json,
        (_, Some("number" | "integer" | "boolean" | "null" | "object" | "array")) => Typed::Json,
        _ => Typed::BySchema,
    };
    Some((name, typed))
}

/// A call being read.
#[derive(Debug)]
pub(super) struct Reader {
    shape: &'static Shape,
    label: &'static str,
    phase: Phase,
    at: usize,
    name: String,
    /// The suffix of the tags, its colon included.
    suffix: String,
    params: Vec<Param>,
    /// The keys of these.
    given: HashSet<String>,
    /// Parameters opened within the open value and not ended there.
    nested: Vec<String>,
    /// The same of the values before.
    swallowed: Vec<String>,
    /// White space behind `at` that has been passed already.
    passed: usize,
}

#[derive(Debug)]
struct Param {
    key: String,
    typed: Typed,
    start: usize,
    end: usize,
}

#[derive(Debug)]
enum Phase {
    Head,
    /// Between parameters.
    Between,
    /// In the value of the last parameter.
    Value,
    /// Behind the end of the call, which was at this place and may have stood in the last value.
    Closed(usize),
    /// Instead of parameters, JSON that begins here.
    Json(usize, json::Scan),
}

impl Reader {
    pub(super) fn new(shape: &'static Shape, label: &'static str) -> Self {
        Reader {
            shape,
            label,
            phase: Phase::Head,
            at: 0,
            name: String::new(),
            suffix: String::new(),
            params: Vec::new(),
            given: HashSet::new(),
            nested: Vec::new(),
            swallowed: Vec::new(),
            passed: 0,
        }
    }

    /// Reads on. The text begins with the tag that opens the call.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let step = match &mut self.phase {
                Phase::Head => self.head(text, around),
                Phase::Between => self.between(text, around),
                Phase::Value => self.value(text, around),
                Phase::Closed(end) => {
                    let end = *end;
                    self.closed(text, end, around)
                }
                Phase::Json(start, scan) => match scan.run(text) {
                    Scanned::Closed(end) => {
                        let start = *start;
                        return Step::one(end, self.found(text[start..end].to_owned(), true));
                    }
                    Scanned::Foreign(at) => match ends_call(self.shape, &text[at..], &self.suffix, around.ended) {
                        Look::Yes(_) => {
                            let start = *start;
                            return Step::one(at, self.found(text[start..at].trim_end().to_owned(), true));
                        }
                        Look::More => return Step::More,
                        Look::No => {
                            scan.pass();
                            continue;
                        }
                    },
                    Scanned::Open if !around.ended => return Step::More,
                    Scanned::Open => {
                        let start = *start;
                        return Step::one(text.len(), self.found(text[start..].to_owned(), false));
                    }
                },
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        match self.shape.form {
            Form::Pairs => return self.head_of_pairs(text, around),
            Form::Children => return self.head_of_children(text, around),
            Form::Equals => match self.name_before_json(text, around) {
                Look::More => return Some(Step::More),
                Look::Yes((name, start)) => {
                    self.name = name;
                    self.phase = Phase::Json(start, json::Scan::from(start));
                    return None;
                }
                Look::No => {}
            },
            Form::Attributes | Form::Named => {}
        }
        match self.shape.tag(text, None, &self.suffix, around.ended) {
            Look::Yes(Tag::Call(name, length)) => {
                self.name = name;
                self.at = length;
                self.phase = Phase::Between;
                None
            }
            Look::More => Some(Step::More),
            _ => Some(Step::Text),
        }
    }

    /// A tool on offer and its arguments as JSON, with nothing between them: `<function=f{…}`, as Llama 3 writes for Groq.
    fn name_before_json(&self, text: &str, around: &Around<'_>) -> Look<(String, usize)> {
        let start = match begins_any(text, self.shape.call, around.ended) {
            Look::Yes(start) => start,
            Look::More => return Look::More,
            Look::No => return Look::No,
        };
        let name = run(&text[start..], names::is_name_char);
        let end = start + name.len();
        match text[end..].chars().next() {
            _ if name.len() > names::NAME_BYTES_MAX => Look::No,
            None if !around.ended => Look::More,
            Some('{') if names::offered(name, around.tools).is_some() => Look::Yes((name.to_owned(), end)),
            _ => Look::No,
        }
    }

    /// The name in a tag of its own, and what opens the parameters, if anything does.
    fn head_of_children(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let mut at = self.shape.call[0].len();
        let mut name = "";
        for (marker, is_needed) in [("<tool_name>", true), ("</tool_name>", true), ("<parameters>", false)] {
            let start = skip_space(text, at);
            if start - at > TAG_BYTES_MAX {
                return Some(Step::Text);
            }
            match begins(&text[start..], marker, around.ended) {
                Look::More => return Some(Step::More),
                Look::No if is_needed => return Some(Step::Text),
                Look::No => {}
                Look::Yes(length) => at = start + length,
            }
            if name.is_empty() {
                let start = skip_space(text, at);
                name = run(&text[start..], names::is_name_char);
                if name.len() > names::NAME_BYTES_MAX || start - at > TAG_BYTES_MAX {
                    return Some(Step::Text);
                }
                at = start + name.len();
                if at == text.len() && !around.ended {
                    return Some(Step::More);
                }
                if !names::is_name(name) {
                    return Some(Step::Text);
                }
            }
        }
        name.clone_into(&mut self.name);
        self.at = at;
        self.phase = Phase::Between;
        None
    }

    /// The name stands for itself, up to a newline or the first tag.
    fn head_of_pairs(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let marker = match begins_marker(text, self.shape.call[0], around.ended) {
            Look::Yes(marker) => marker,
            Look::More => return Some(Step::More),
            Look::No => return Some(Step::Text),
        };
        self.suffix = suffix_of(text, self.shape.call[0]);
        let start = skip_space(text, marker);
        let name = run(&text[start..], names::is_name_char);
        let mut end = skip_space(text, start + name.len());
        if name.len() > names::NAME_BYTES_MAX || end - start - name.len() > TAG_BYTES_MAX {
            return Some(Step::Text);
        }
        if end == text.len() {
            return Some(if around.ended { Step::Text } else { Step::More });
        }
        // Some put a token between name and arguments, which then may be JSON.
        let around_it = self.shape.around.iter();
        let parted = match longest(around_it.map(|it| begins_with_suffix(&text[end..], it, &self.suffix, around.ended)))
        {
            Look::More => return Some(Step::More),
            Look::Yes(length) if !name.is_empty() => {
                end = skip_space(text, end + length);
                true
            }
            _ => false,
        };
        if parted && end == text.len() && !around.ended {
            return Some(Step::More);
        }
        match self.shape.tag(&text[end..], None, &self.suffix, around.ended) {
            Look::More => return Some(Step::More),
            Look::Yes(Tag::Param(..)) if !name.is_empty() => {}
            Look::No if parted && text[end..].starts_with('{') => {}
            // A name alone is a call only if it is one of a tool.
            Look::Yes(Tag::CallEnd(_)) if names::offered(name, around.tools).is_some() => {}
            _ => return Some(Step::Text),
        }
        name.clone_into(&mut self.name);
        self.at = end;
        self.phase = Phase::Between;
        None
    }

    fn between(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        let rest = &text[self.at..];
        if rest.is_empty() {
            if !around.ended {
                return Some(Step::More);
            }
            if self.params.is_empty() && self.tool(around).is_none() {
                // A tag, and nothing that it could be a call of.
                return Some(Step::Text);
            }
            // Only the end tag tells that no parameter is missing, unless there is none left to come.
            let complete = around.complete && value::is_all(self.keys(), self.tool(around));
            return Some(self.done(text, text.len(), complete, around));
        }
        if self.params.is_empty() {
            if rest.starts_with('{') {
                self.phase = Phase::Json(self.at, json::Scan::from(self.at));
                return None;
            }
            // Kimi K3 may give all arguments in one block.
            match begins(rest, "<|open|>json", around.ended) {
                Look::More => return Some(Step::More),
                Look::Yes(_) => match find_near(rest, self.shape.close, TAG_BYTES_MAX, around.ended) {
                    Look::More => return Some(Step::More),
                    Look::No => return Some(Step::Text),
                    Look::Yes(length) => {
                        let start = self.at + length + self.shape.close.len();
                        self.phase = Phase::Json(start, json::Scan::from(start));
                        return None;
                    }
                },
                Look::No => {}
            }
        }
        match self.shape.tag(rest, None, &self.suffix, around.ended) {
            Look::More => Some(Step::More),
            Look::Yes(Tag::Param(key, typed, length)) => {
                self.at += length;
                self.given.insert(key.clone());
                self.params.push(Param { key, typed, start: self.at, end: self.at });
                self.nested.clear();
                self.phase = Phase::Value;
                None
            }
            Look::Yes(Tag::CallEnd(length)) => {
                self.at += length;
                self.end_call(text, around)
            }
            Look::Yes(Tag::Around(length)) if self.ends_params(&rest[..length]) => {
                self.at += length;
                None
            }
            // The end of the call is missing, and another one or the end of them all is there.
            Look::Yes(Tag::Call(..) | Tag::Around(_)) => Some(self.done(text, self.at, true, around)),
            _ if self.params.is_empty() => Some(Step::Text),
            _ => Some(self.done(text, self.at, false, around)),
        }
    }

    /// Whether this closes the parameters of a call that has not ended.
    fn ends_params(&self, tag: &str) -> bool {
        self.shape.form == Form::Children && tag == "</parameters>"
    }

    /// The call has ended. If its last value is free text, that end may still turn out to be a part of it.
    fn end_call(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let is_text = |param: &Param| value::may_be_text(param.typed, &param.key, self.tool(around));
        if self.params.last().is_some_and(is_text) {
            self.phase = Phase::Closed(self.at);
            return None;
        }
        Some(self.done(text, self.at, true, around))
    }

    /// Looks for the end of the open value.
    fn value(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let Some(at) = self.next_tag(text) else {
            // A value without an end was cut.
            let open = self.params.last_mut();
            open.into_iter().for_each(|param| param.end = text.len());
            return Some(if around.ended { self.done(text, text.len(), false, around) } else { Step::More });
        };
        let key = self.params.last().map(|param| param.key.clone());
        match self.shape.tag(&text[at..], key.as_deref(), &self.suffix, around.ended) {
            Look::More => return Some(Step::More),
            Look::Yes(Tag::Param(inner, _, length)) => {
                // Ends that tell their name need no counting.
                if !matches!(self.shape.form, Form::Named | Form::Children) {
                    self.nested.push(inner);
                }
                self.at = at + length;
            }
            Look::Yes(Tag::ParamEnd(length)) => match self.ends_value(text, at + length, around) {
                None => return Some(Step::More),
                Some(true) => {
                    self.params.last_mut().into_iter().for_each(|param| param.end = at);
                    self.swallowed.append(&mut self.nested);
                    self.at = at + length;
                    self.phase = Phase::Between;
                }
                Some(false) => {
                    self.nested.pop();
                    self.at = at + length;
                }
            },
            _ => self.at = at + 1,
        }
        None
    }

    /// Whether a value may end before this place, by what follows. `None` when that has not come.
    fn ends_value(&mut self, text: &str, behind: usize, around: &Around<'_>) -> Option<bool> {
        let next = skip_space(text, self.passed.max(behind));
        self.passed = next;
        if next == text.len() {
            return around.ended.then_some(true);
        }
        match self.shape.tag(&text[next..], None, &self.suffix, around.ended) {
            Look::More => None,
            Look::Yes(Tag::CallEnd(_)) => Some(true),
            Look::Yes(Tag::Param(key, ..)) => {
                let is_new = !self.given.contains(&key) && value::is_known(&key, self.tool(around));
                Some(self.nested.is_empty() || is_new)
            }
            Look::Yes(Tag::Call(..) | Tag::Around(_)) => Some(self.nested.is_empty()),
            _ => Some(false),
        }
    }

    /// Looks whether the end that was seen stood in a value: then another one follows without a call before it.
    fn closed(&mut self, text: &str, end: usize, around: &Around<'_>) -> Option<Step> {
        let Some(at) = self.next_tag(text) else {
            return Some(if around.ended { self.done(text, end, true, around) } else { Step::More });
        };
        let key = self.params.last().map(|param| param.key.clone());
        match self.shape.tag(&text[at..], key.as_deref(), &self.suffix, around.ended) {
            Look::More => return Some(Step::More),
            Look::Yes(Tag::Call(..)) => return Some(self.done(text, end, true, around)),
            Look::Yes(Tag::Around(length)) if closes(&text[at..at + length]) => self.at = at + length,
            Look::Yes(Tag::Around(_)) => return Some(self.done(text, end, true, around)),
            Look::Yes(Tag::ParamEnd(length)) => match self.ends_value(text, at + length, around) {
                None => return Some(Step::More),
                Some(true) => {
                    self.at = at;
                    self.nested.clear();
                    self.phase = Phase::Value;
                }
                Some(false) => self.at = at + length,
            },
            _ => self.at = at + 1,
        }
        None
    }

    /// The next place where a tag may begin.
    fn next_tag(&mut self, text: &str) -> Option<usize> {
        let first = self.shape.param_end.first().or(self.shape.param.first())?.as_bytes().first()?;
        let found = memchr::memchr(*first, text.as_bytes().get(self.at..)?).map(|at| self.at + at);
        steps(found.unwrap_or(text.len()) - self.at);
        self.at = found.unwrap_or(text.len());
        found
    }

    fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.params.iter().map(|param| &*param.key)
    }

    fn tool<'a>(&self, around: &Around<'a>) -> Option<&'a ToolDef> {
        names::offered(&self.name, around.tools)
    }

    fn done(&self, text: &str, end: usize, complete: bool, around: &Around<'_>) -> Step {
        let tool = self.tool(around);
        let is_lost = |key: &String| !self.given.contains(key) && value::is_known(key, tool);
        if self.swallowed.iter().any(is_lost) {
            // A parameter stands in the value of the one before, whose end may be missing. The whole, as arguments, will be
            // found wrong.
            return Step::one(end, self.found(text[..end].to_owned(), complete));
        }
        let members = self.params.iter().map(|param| {
            let raw = self.framed(&text[param.start..param.end]);
            let declared = Declared::of(tool, &param.key);
            let raw = self.unwrapped(raw);
            let json = match self.shape.form {
                Form::Named | Form::Children => nested(raw, self.shape.param[0], declared, 0),
                _ => value::json(raw, param.typed, declared),
            };
            (&*param.key, json)
        });
        Step::one(end, self.found(value::object(members), complete))
    }

    /// The value without the newlines that belong to its tags.
    fn framed<'t>(&self, raw: &'t str) -> &'t str {
        if !self.shape.framed {
            return raw;
        }
        let (raw, newline) = match raw.strip_prefix("\r\n") {
            Some(raw) => (raw, "\r\n"),
            None => (raw.strip_prefix('\n').unwrap_or(raw), "\n"),
        };
        raw.strip_suffix(newline).unwrap_or(raw)
    }

    /// The value without the marks that keep XML from looking into it.
    fn unwrapped<'t>(&self, raw: &'t str) -> &'t str {
        let is_xml = self.shape.param == ["<param "];
        let inside = raw.trim().strip_prefix("<![CDATA[").and_then(|rest| rest.strip_suffix("]]>"));
        inside.filter(|_| is_xml).unwrap_or(raw)
    }

    fn found(&self, arguments: String, complete: bool) -> Found {
        Found { name: self.name.clone(), arguments, dialect: self.label, complete }
    }
}

/// A value that may consist of tags itself: members of an object by their names, elements of a list as `item`.
fn nested(raw: &str, prefix: &str, declared: Declared<'_>, depth: usize) -> String {
    /// How deep values may be nested.
    const DEPTH_MAX: usize = 32;
    let plain = || value::json(raw, Typed::BySchema, declared);
    let inside = raw.trim();
    if inside.is_empty() && !declared.may_be_text() {
        return declared.empty().map_or_else(plain, str::to_owned);
    }
    if depth == DEPTH_MAX || declared.is_text() || !inside.starts_with(prefix) {
        return plain();
    }
    let mut members = Vec::new();
    let mut rest = inside;
    while !rest.is_empty() {
        let Some((name, behind)) = rest.strip_prefix(prefix).and_then(|tag| tag.split_once('>')) else {
            return plain();
        };
        let (open, close) = (format!("{prefix}{name}>"), format!("{prefix}/{name}>"));
        // The keys of a map may be anything that a tag can hold.
        let is_key = !name.is_empty() && name.len() <= TAG_BYTES_MAX && !name.contains(['<', '\n', '/']);
        let Some(end) = closing(behind, &open, &close).filter(|_| is_key) else { return plain() };
        let declared = if name == "item" { declared.item() } else { declared.member(name) };
        members.push((name, nested(&behind[..end], prefix, declared, depth + 1)));
        rest = behind[end + close.len()..].trim_start();
    }
    if members.iter().all(|(name, _)| *name == "item") {
        let items: Vec<_> = members.into_iter().map(|(_, item)| item).collect();
        return format!("[{}]", items.join(", "));
    }
    value::object(members.into_iter())
}

fn ends_call(shape: &Shape, text: &str, suffix: &str, ended: bool) -> Look<usize> {
    longest(shape.call_end.iter().map(|marker| begins_with_suffix(text, marker, suffix, ended)))
}

/// Whether a tag around calls closes them.
fn closes(tag: &str) -> bool {
    ["</", "[</", "close", "_end"].iter().any(|mark| tag.contains(mark))
}

/// Where the tag ends that was opened before, with tags of the same name within it.
fn closing(text: &str, open: &str, close: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let end = at + text[at..].find(close)?;
        depth += text[at..end].matches(open).count();
        if depth == 0 {
            return Some(end);
        }
        depth -= 1;
        at = end + close.len();
    }
}
