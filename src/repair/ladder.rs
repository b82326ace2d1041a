//! The ladder itself: [`repair`] climbs from "exact" over names, wire, syntax and schema to "ask again".

use std::sync::Arc;

use serde_json::Value;

use crate::chat::{Effect, ToolDef, WrittenCall};

use super::{
    Class, Diagnosis, Outcome, Policy, Risk, ToolSet, Valid,
    align::align,
    clip::{clip, clip_value},
    draft::{Draft, Edit},
    json,
    kind::Kind,
    names, schema,
    shape::{ANY, Shapes},
    syntax::{Broken, Reading},
    tree, wire,
};

/// Allowed names told for an unknown one.
const NAMES_MAX: usize = 10;
/// Bytes of a name that is told.
const NAME_BYTES_MAX: usize = 128;
/// Readings of one text that are compared.
const READINGS_MAX: usize = 4;
/// Passes over a value: each takes off one layer of encoding or wrapping.
const PASSES_MAX: usize = 4;

/// Is this call valid; if not, what is the only valid call that it can have been? `policy` says how far repairs may go
/// for a tool. Linear in the size of the call.
pub fn repair(call: &WrittenCall, tools: &ToolSet, policy: impl Fn(&ToolDef) -> Policy) -> Outcome {
    match climb(call, tools, &policy) {
        Ok(outcome) => outcome,
        Err(diagnosis) => Outcome::AskAgain(diagnosis),
    }
}

fn climb(call: &WrittenCall, tools: &ToolSet, policy: &dyn Fn(&ToolDef) -> Policy) -> Result<Outcome, Diagnosis> {
    if !call.complete {
        return Err(truncated(call));
    }
    if let Some(tool) = tools.get(&call.name) {
        return arguments(call, tool, tools, policy(tool), Draft::new(""));
    }
    if let Some(meant) = names::spelt(&call.name, tools) {
        return named(call, meant, tools, policy);
    }
    if let Some(meant) = names::mistyped(&call.name, tools) {
        return named(call, meant, tools, policy).map_err(|_| unknown_name(&call.name, tools));
    }
    Err(unknown_name(&call.name, tools))
}

/// A call whose name is not on offer but means a tool that is.
fn named(
    call: &WrittenCall,
    meant: names::Meant<'_>,
    tools: &ToolSet,
    policy: &dyn Fn(&ToolDef) -> Policy,
) -> Result<Outcome, Diagnosis> {
    let allowed = policy(meant.tool);
    if !allowed.allows(meant.edit.kind.risk()) {
        return Err(unknown_name(&call.name, tools));
    }
    let mut name = Draft::new(&call.name);
    if name.apply(vec![meant.edit]).is_none() {
        return Err(unknown_name(&call.name, tools));
    }
    arguments(call, meant.tool, tools, allowed, name)
}

/// What the arguments come to, once the tool is known. `name` holds the repairs of the name.
fn arguments(
    call: &WrittenCall,
    tool: &ToolDef,
    tools: &ToolSet,
    policy: Policy,
    name: Draft<'_>,
) -> Result<Outcome, Diagnosis> {
    let text = &*call.arguments;
    let valid = |arguments: Arc<str>| Valid { name: tool.name.clone(), arguments };
    let read = json::read(text);
    if let Ok(value) = &read
        && fits(tool, tools, value)
    {
        let valid = valid(call.arguments.clone());
        return Ok(match name.repairs.is_empty() {
            true => Outcome::Exact(valid),
            false => Outcome::Repaired(valid, name.repairs),
        });
    }
    if policy != Policy::Off {
        match mended(text, read.is_ok(), tool, tools) {
            Ok(draft) if policy.allows(draft.risk()) => {
                let mut repairs = name.repairs;
                repairs.extend(draft.repairs);
                return Ok(Outcome::Repaired(valid(draft.text.into()), repairs));
            }
            Err(Broken::Cut) if !text.trim().is_empty() => return Err(truncated(call)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(fault(call, tool, tools, read))
}

/// Whether arguments are an object that the tool takes, with no key that nobody declared.
fn fits(tool: &ToolDef, tools: &ToolSet, value: &Value) -> bool {
    value.is_object() && tools.accepts(tool, value) && tools.shapes(tool).unknown_key(value).is_none()
}

/// The only reading of broken arguments that the tool takes.
fn mended<'t>(text: &'t str, is_json: bool, tool: &ToolDef, tools: &ToolSet) -> Result<Draft<'t>, Broken> {
    if text.len() > json::JSON_BYTES_MAX {
        return Err(Broken::Unclear);
    }
    let shapes = tools.shapes(tool);
    let mut draft = Draft::new(text);
    if text.trim().is_empty() {
        // Servers write that for a call of a tool that takes nothing, and there is no other reading.
        let edit = Edit::replace(0, text.len(), "{}", Kind::EmptyArguments);
        draft.apply(vec![edit]).ok_or(Broken::Unclear)?;
        return if shapes.requires_nothing(shapes.root) && tools.accepts(tool, &Value::Object(Default::default())) {
            Ok(draft)
        } else {
            Err(Broken::Unclear)
        };
    }
    if shapes.takes_nothing() && is_nothing(text) {
        draft.apply(vec![Edit::replace(0, text.len(), "{}", Kind::EmptyArguments)]).ok_or(Broken::Unclear)?;
        return Ok(draft);
    }
    let is_object = is_json && text.trim_start().starts_with('{');
    if !is_object {
        wire::unwrapped(&mut draft, tool, tools).ok_or(Broken::Unclear)?;
    }
    let mut readings: Vec<Draft<'t>> = Vec::new();
    let mut broken = Broken::Unclear;
    let mut forks = 0;
    let mut number = 0;
    while number == 0 || (number <= forks && number < READINGS_MAX) {
        let mut reading = draft.clone();
        if !is_object {
            let around = wire::around(&draft.text, shapes, shapes.root, number.checked_sub(1));
            match around {
                Ok(around) => {
                    forks = forks.max(around.reading.forks);
                    if around.reading.closed > 0 && !may_close(&around.reading, tool, shapes) {
                        broken = Broken::Cut;
                        number += 1;
                        continue;
                    }
                    reading.cost += around.reading.cost + around.edits.len() as u32;
                    let mut edits = around.edits;
                    edits.extend(around.reading.edits);
                    if reading.apply(edits).is_some()
                        && let Some(fitting) = fitted(reading, tool, tools, shapes)
                    {
                        readings.push(fitting);
                    }
                }
                Err(why) => {
                    if number == 0 {
                        broken = why;
                    }
                    // The usual way led nowhere: where it went wrong is not known, so the others are tried.
                    forks = forks.max(READINGS_MAX);
                }
            }
        } else if let Some(fitting) = fitted(reading, tool, tools, shapes) {
            readings.push(fitting);
        }
        number += 1;
    }
    let best = readings.iter().map(|reading| reading.cost).min().ok_or(broken)?;
    let mut cheapest = readings.into_iter().filter(|reading| reading.cost == best);
    let first = cheapest.next().ok_or(broken)?;
    let value = |draft: &Draft<'_>| serde_json::from_str::<Value>(&draft.text).ok();
    let agreed = cheapest.all(|other| other.text == first.text || value(&other) == value(&first));
    // What grows beyond twice its size was not meant so.
    let bounded = first.text.len() <= 2 * text.len();
    if agreed && bounded { Ok(first) } else { Err(Broken::Unclear) }
}

/// Whether a text is one of the ways to write that there are no arguments.
fn is_nothing(text: &str) -> bool {
    const WAYS: &[&str] =
        &["null", "None", "nil", "undefined", "\"\"", "''", "[]", "()", "\"null\"", "\"None\"", "\"[]\""];
    WAYS.contains(&text.trim().trim_end_matches(';').trim_end())
}

/// Whether the brackets at the end of a reading may be what was left out. For a tool that changes something a member may have
/// been lost with them, unless there is none that is not there.
fn may_close(reading: &Reading, tool: &ToolDef, shapes: &Shapes) -> bool {
    let all_there = || {
        let root = shapes.root;
        reading.closed == 1
            && !shapes.is_open(root)
            && shapes.keys(root).keys().all(|key| reading.keys.contains(&**key))
    };
    tool.effect == Effect::Read || all_there()
}

/// Brings a JSON text into the form that the tool wants, and validates it.
fn fitted<'t>(mut draft: Draft<'t>, tool: &ToolDef, tools: &ToolSet, shapes: &Shapes) -> Option<Draft<'t>> {
    for _ in 0..PASSES_MAX {
        let value = json::read(&draft.text).ok()?;
        if fits(tool, tools, &value) {
            return Some(draft);
        }
        drop(value);
        if shapes.root == ANY {
            return None;
        }
        let root = tree::read(&draft.text)?;
        let (edits, cost) = align(&draft.text, &root, shapes, tool)?;
        if edits.is_empty() {
            return None;
        }
        drop(root);
        draft.cost += cost;
        draft.apply(edits)?;
    }
    None
}

/// What is wrong with arguments that are not executed.
fn fault(call: &WrittenCall, tool: &ToolDef, tools: &ToolSet, read: Result<Value, String>) -> Diagnosis {
    let text = &*call.arguments;
    let invalid = |text: String| Diagnosis { class: Class::InvalidJson, text };
    let value = match read {
        Err(_) if !text.trim().is_empty() && !json::complete_json(text) => return truncated(call),
        Err(_) if text.trim().is_empty() => Value::Object(Default::default()),
        Err(fault) => return invalid(format!("the arguments of {} are {fault}", tool.name)),
        Ok(value) => value,
    };
    if !value.is_object() {
        let got = clip_value(&value, 80);
        return invalid(format!("the arguments of {} must be a JSON object, got {got}", tool.name));
    }
    match tools.check_arguments(tool, &value) {
        Err(faults) => schema::mismatch(&format!("the arguments of {} do not fit its schema:", tool.name), &faults),
        Ok(()) => {
            let opening = format!("the arguments of {} have a key that its schema does not declare:", tool.name);
            let shapes = tools.shapes(tool);
            let faults = shapes.unknown_key(&value).map_or_else(String::new, |(path, key, id)| {
                let place = if path.is_empty() { "the whole".into() } else { clip(&path, 200) };
                let known = shapes.keys(id).keys().map(|key| &**key).collect();
                format!("\n- {place}: {}", super::explain::unknown_key(key, known))
            });
            schema::mismatch(&opening, &faults)
        }
    }
}

fn truncated(call: &WrittenCall) -> Diagnosis {
    let name = clip(&call.name, NAME_BYTES_MAX);
    let bytes = call.arguments.len();
    let how = match call.complete {
        true => "ends inside a string or an open bracket",
        false => "was cut off",
    };
    Diagnosis {
        class: Class::Truncated,
        text: format!(
            "the call of {name:?} {how} after {bytes} bytes of arguments, so it was not executed; if they are long, \
             send them in smaller parts"
        ),
    }
}

fn unknown_name(name: &str, tools: &ToolSet) -> Diagnosis {
    let name = clip(name, NAME_BYTES_MAX);
    let names = tools.nearest(&name);
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    let text = match names.len() {
        0 => format!("there is no tool {name:?}; no tools are on offer"),
        count if count > NAMES_MAX => {
            format!("there is no tool {name:?}; the nearest of {count} are: {shown}")
        }
        _ => format!("there is no tool {name:?}; the tools are: {shown}"),
    };
    Diagnosis { class: Class::UnknownName, text }
}

impl Policy {
    /// What holds for a tool when nobody said otherwise: a wrong reading must cost no more than it can be undone.
    pub fn by_effect(tool: &ToolDef) -> Policy {
        match tool.effect {
            Effect::Read | Effect::Idempotent => Policy::Unique,
            Effect::Write if tool.additive => Policy::Unique,
            Effect::Write | Effect::Destructive => Policy::Lossless,
        }
    }

    /// Whether a repair of this risk may be made.
    pub fn allows(self, risk: Risk) -> bool {
        match (self, risk) {
            (Policy::Off, _) | (Policy::Lossless, Risk::Unique) => false,
            (Policy::Lossless, Risk::Lossless) | (Policy::Unique, _) => true,
        }
    }
}
