//! The steps of [`check`]: whole, known, JSON, fitting.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::chat::{ToolDef, WrittenCall};

use super::{
    Class, Diagnosis, Outcome, Repair, ToolSet, Valid,
    clip::{clip, clip_value},
    json, schema,
};

/// Allowed names told for an unknown one.
const NAMES_MAX: usize = 10;
/// Bytes of a name that is looked at; no tool has a longer one.
const NAME_BYTES_MAX: usize = 128;

/// Checks a call as it came over the wire. Linear in its size.
pub fn check(call: &WrittenCall, tools: &ToolSet) -> Outcome {
    match valid(call, tools) {
        Ok(outcome) => outcome,
        Err(diagnosis) => Outcome::AskAgain(diagnosis),
    }
}

fn valid(call: &WrittenCall, tools: &ToolSet) -> Result<Outcome, Diagnosis> {
    let text = &*call.arguments;
    if !call.complete || !json::complete_json(text) {
        return Err(truncated(call));
    }
    let tool = tools.get(&call.name).ok_or_else(|| unknown_name(&call.name, tools))?;
    if text.trim().is_empty() {
        return empty(tool, tools);
    }
    let invalid = |text: String| Diagnosis { class: Class::InvalidJson, text };
    let arguments = json::read(text).map_err(|fault| invalid(format!("the arguments of {} are {fault}", tool.name)))?;
    if !arguments.is_object() {
        let got = clip_value(&arguments, 80);
        return Err(invalid(format!("the arguments of {} must be a JSON object, got {got}", tool.name)));
    }
    fits(tool, tools, &arguments)?;
    Ok(Outcome::Exact(Valid { name: tool.name.clone(), arguments: call.arguments.clone() }))
}

fn fits(tool: &ToolDef, tools: &ToolSet, arguments: &Value) -> Result<(), Diagnosis> {
    tools
        .check_arguments(tool, arguments)
        .map_err(|faults| schema::mismatch(&format!("the arguments of {} do not fit its schema:", tool.name), &faults))
}

/// No arguments at all. Servers write that for a call of a tool that takes none, so it is read as `{}` where `{}` is
/// valid: there is no other reading. It is a repair and not exact, because what is sent is not what was written.
fn empty(tool: &ToolDef, tools: &ToolSet) -> Result<Outcome, Diagnosis> {
    fits(tool, tools, &Value::Object(Map::new()))?;
    let repair = Repair {
        rung: "syntax".to_owned(),
        kind: "empty_arguments".to_owned(),
        path: String::new(),
        before: String::new(),
        after: "{}".to_owned(),
    };
    Ok(Outcome::Repaired(Valid { name: tool.name.clone(), arguments: Arc::from("{}") }, vec![repair]))
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
