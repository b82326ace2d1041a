//! Calls written as JSON: where a value ends, and which name and arguments are in it.
//!
//! Reads what is not quite JSON too, as far as its brackets and quotes tell where things end, and gives the arguments as
//! they are written.

use std::ops::Range;

use serde_json::Value;

use super::region::{SPACE_BYTES_MAX, steps};

/// How deep calls may be wrapped into objects of their own.
const WRAPPERS_MAX: usize = 3;

/// The members that name the tool, and those that hold its arguments.
const NAMES: [&str; 7] = ["name", "tool_name", "function_name", "tool", "function", "recipient_name", "action"];
const ARGUMENTS: [&str; 7] = ["arguments", "parameters", "args", "input", "params", "action_input", "tool_input"];
/// Members beside these in a call.
const BESIDE: [&str; 7] = ["id", "type", "index", "tool_call_id", "call_id", "function_call", "tool_call"];
/// Members of a tool's definition.
const DESCRIBES: [&str; 3] = ["description", "inputSchema", "input_schema"];
/// A member that holds a list of calls.
const LISTS: [&str; 2] = ["tool_calls", "tool_uses"];

/// A tool that stands for several calls at once, as models of OpenAI make it up; the last form only as a call of its own.
pub(super) const PARALLEL: [&str; 3] = ["multi_tool_use.parallel", "multi_tool_use_parallel", "parallel"];

/// Follows text that should be JSON to the end of its first value.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    pub(super) at: usize,
    depth: usize,
    /// The quote of the string that is open; 0 outside of strings.
    quote: u8,
    escaped: bool,
    /// The last byte outside of strings that is no white space.
    before: u8,
}

/// How far a [`Scan`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// Through all there is, and the value has not ended.
    Open,
    /// To the end of the value.
    Closed(usize),
    /// To something outside of strings that no JSON has; the scan can go on behind it.
    Foreign(usize),
}

impl Scan {
    pub(super) fn from(at: usize) -> Self {
        Scan { at, ..Scan::default() }
    }

    /// Goes on, past the foreign byte where it stopped.
    pub(super) fn pass(&mut self) {
        self.at += 1;
    }

    pub(super) fn run(&mut self, text: &str) -> Scanned {
        let bytes = text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            steps(1);
            if self.quote != 0 {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    byte if byte == self.quote => self.quote = 0,
                    _ => {}
                }
                self.at += 1;
                continue;
            }
            match byte {
                b'"' => self.quote = byte,
                // No JSON has these quotes; where a value or a key may begin they are meant as such.
                b'\'' | b'`' if matches!(self.before, b'{' | b'[' | b',' | b':' | b'(') => self.quote = byte,
                b'<' | b'`' => return Scanned::Foreign(self.at),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.at += 1;
                        return Scanned::Closed(self.at);
                    }
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.before = byte;
            }
            self.at += 1;
        }
        Scanned::Open
    }
}

/// A call as it stands in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Call {
    pub(super) name: String,
    /// As written; `None` when there are none.
    pub(super) arguments: Option<String>,
    /// Whether the arguments were seen to end.
    pub(super) closed: bool,
    /// Whether it has members that no call has.
    pub(super) has_more: bool,
    /// Whether it has a description, so that it describes a tool.
    pub(super) is_definition: bool,
}

/// The calls in a value that may be cut: an object, or a list of them. `None` when something else stands there.
pub(super) fn calls(value: &str) -> Option<Vec<Call>> {
    within(value, 0)
}

/// The calls in a list of objects whose only key is the name of a tool. `None` when something else stands there.
pub(super) fn keyed(value: &str) -> Option<Vec<Call>> {
    let mut found: Vec<Call> = Vec::new();
    for (element, closed) in elements(value) {
        let object = &value[element];
        match members(object).as_slice() {
            [only] if object.starts_with('{') => found.push(Call {
                name: only.key.clone(),
                arguments: Some(object[only.value.clone()].to_owned()),
                closed: only.closed && closed,
                ..Call::default()
            }),
            // Cut before its value begins.
            _ if !closed => found.iter_mut().for_each(|call| call.closed = false),
            _ => return None,
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The calls of `{"tool_uses": […]}`. `None` unless all of it is whole and consists of them.
pub(super) fn tool_uses(arguments: &str) -> Option<Vec<Call>> {
    let arguments = arguments.trim();
    let Value::Object(object) = serde_json::from_str(arguments).ok()? else { return None };
    let list = object.get(LISTS[1])?.as_array().filter(|_| object.len() == 1)?;
    let is_use = |it: &Value| {
        let is_alone = it.as_object().is_some_and(|it| it.len() == 2);
        is_alone && it["recipient_name"].is_string() && it["parameters"].is_object()
    };
    let found = within(arguments, 0).filter(|_| list.iter().all(is_use))?;
    (found.len() == list.len() && found.iter().all(|call| call.closed && !call.has_more)).then_some(found)
}

fn within(value: &str, wrappers: usize) -> Option<Vec<Call>> {
    match value.as_bytes().first()? {
        b'{' => {
            let members = members(value);
            let list = members.iter().find(|member| LISTS.contains(&&*member.key));
            match list.filter(|_| wrappers < WRAPPERS_MAX) {
                Some(list) => within(&value[list.value.clone()], wrappers + 1),
                None => {
                    let call = call(value, &members, wrappers)?;
                    let several = PARALLEL[..2].contains(&call.name.trim_start_matches("functions."));
                    let inner = call.arguments.as_deref().filter(|_| several && wrappers < WRAPPERS_MAX);
                    Some(inner.and_then(|inner| within(inner.trim(), wrappers + 1)).unwrap_or_else(|| vec![call]))
                }
            }
        }
        b'[' => {
            let mut found = Vec::new();
            for (element, closed) in elements(value) {
                let text = &value[element];
                match within(text, wrappers + 1).filter(|_| text.starts_with('{')) {
                    Some(calls) => found.extend(calls),
                    // What is cut before its name stands there is no call yet, and says that the rest is missing.
                    None if !closed => {
                        found.iter_mut().for_each(|call: &mut Call| call.closed = false);
                    }
                    None => return None,
                }
            }
            (!found.is_empty()).then_some(found)
        }
        _ => None,
    }
}

fn call(object: &str, members: &[Member], wrappers: usize) -> Option<Call> {
    let text = |member: &Member| &object[member.value.clone()];
    let inner = members.iter().find(|member| {
        matches!(&*member.key, "function" | "function_call" | "tool_call") && text(member).starts_with('{')
    });
    if let Some(inner) = inner.filter(|_| wrappers < WRAPPERS_MAX) {
        let mut calls = within(text(inner), wrappers + 1)?;
        return calls.pop().filter(|_| calls.is_empty());
    }
    let find = |keys: &[&str]| keys.iter().find_map(|key| members.iter().find(|member| member.key == *key));
    let arguments = find(&ARGUMENTS);
    let name = find(&NAMES).filter(|member| member.closed && (member.key != "action" || arguments.is_some()))?;
    let name = string(text(name))?;
    let known = |member: &Member| [&NAMES[..], &ARGUMENTS, &BESIDE].concat().contains(&&*member.key);
    Some(Call {
        name,
        // Some write the arguments as the API has them: as a text that holds JSON.
        arguments: arguments.map(|member| match string(text(member)).filter(|_| member.closed) {
            Some(inner) if inner.trim_start().starts_with('{') => inner,
            _ => text(member).to_owned(),
        }),
        closed: arguments.map_or(object.ends_with('}'), |member| member.closed),
        has_more: !members.iter().all(known),
        is_definition: members.iter().any(|member| DESCRIBES.contains(&&*member.key)),
    })
}

/// Whether an object that begins so can be a call: its first key must be one of a call's. `None` when that has not come.
pub(super) fn begins_call(text: &str, ended: bool) -> Option<bool> {
    /// Longer than any of the keys, with its quotes and the space before it.
    const HEAD_BYTES_MAX: usize = 64;
    let open = text.strip_prefix('{').unwrap_or(text);
    let inside = open.trim_start();
    if open.len() - inside.len() > SPACE_BYTES_MAX {
        return Some(false);
    }
    let quote = inside.chars().next().filter(|c| matches!(c, '"' | '\''));
    let near = |quote: char| inside.as_bytes()[1..].iter().take(HEAD_BYTES_MAX).position(|byte| *byte == quote as u8);
    let key = quote.and_then(|quote| near(quote).map(|end| &inside[1..1 + end]));
    match key {
        Some(key) => Some([&NAMES[..], &ARGUMENTS, &BESIDE, &LISTS].concat().contains(&key)),
        None if quote.is_none() && !inside.is_empty() => {
            // A key without quotes.
            let near = inside.bytes().take(HEAD_BYTES_MAX + 1).position(|byte| matches!(byte, b':' | b'='));
            let bare = near.map(|end| inside[..end].trim());
            match bare {
                Some(key) => Some([&NAMES[..], &ARGUMENTS].concat().contains(&key)),
                None => (ended || inside.len() > HEAD_BYTES_MAX).then_some(false),
            }
        }
        None => (ended || inside.len() > HEAD_BYTES_MAX).then_some(false),
    }
}

/// One member of an object.
struct Member {
    key: String,
    value: Range<usize>,
    closed: bool,
}

/// The members of an object, as far as they read.
fn members(object: &str) -> Vec<Member> {
    let mut members = Vec::new();
    let mut at = 1;
    loop {
        at = skip(object, at, &[',']);
        let Some(first) = object[at..].chars().next().filter(|c| *c != '}') else { return members };
        let key = match first {
            '"' | '\'' => {
                let (end, closed) = string_end(object, at);
                let raw = &object[at..end];
                at = end;
                match string(raw).filter(|_| closed) {
                    Some(key) => key,
                    None => return members,
                }
            }
            _ => {
                let Some(length) = object[at..].find([':', '=', '}', '{', '[', '"']) else { return members };
                let key = object[at..at + length].trim().to_owned();
                at += length;
                key
            }
        };
        let colon = skip(object, at, &[':', '=', '>']);
        if colon == at || colon == object.len() {
            return members;
        }
        let (end, closed) = value_end(object, colon);
        if end == colon {
            return members;
        }
        members.push(Member { key, value: colon..end, closed });
        at = end;
    }
}

/// The elements of a list, and whether each was seen to end.
fn elements(list: &str) -> Vec<(Range<usize>, bool)> {
    let mut elements = Vec::new();
    let mut at = 1;
    loop {
        at = skip(list, at, &[',']);
        if at >= list.len() || list[at..].starts_with(']') {
            return elements;
        }
        let (end, closed) = value_end(list, at);
        if end == at {
            return elements;
        }
        elements.push((at..end, closed));
        at = end;
    }
}

/// The next place that is neither white space nor one of these.
fn skip(text: &str, at: usize, also: &[char]) -> usize {
    text.len() - text[at..].trim_start_matches(|c: char| c.is_whitespace() || also.contains(&c)).len()
}

/// Where the value that begins here ends, and whether it was seen to end.
fn value_end(text: &str, at: usize) -> (usize, bool) {
    match text.as_bytes().get(at) {
        Some(b'"' | b'\'') => string_end(text, at),
        Some(b'{' | b'[') => {
            let mut scan = Scan::from(at);
            loop {
                match scan.run(text) {
                    Scanned::Closed(end) => return (end, true),
                    Scanned::Foreign(_) => scan.pass(),
                    Scanned::Open => return (text.len(), false),
                }
            }
        }
        _ => {
            let end = text[at..].find([',', '}', ']', '\n']).map(|length| at + length);
            (end.unwrap_or(text.len()), end.is_some())
        }
    }
}

fn string_end(text: &str, at: usize) -> (usize, bool) {
    let bytes = text.as_bytes();
    let mut escaped = false;
    for (place, &byte) in bytes.iter().enumerate().skip(at + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            byte if byte == bytes[at] => return (place + 1, true),
            _ => {}
        }
    }
    (text.len(), false)
}

/// The text of a string, quotes included; `None` when it is none.
fn string(raw: &str) -> Option<String> {
    match raw.strip_prefix('\'').and_then(|raw| raw.strip_suffix('\'')) {
        Some(inside) => Some(inside.to_owned()),
        None => serde_json::from_str(raw).ok(),
    }
}
