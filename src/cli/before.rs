//! What stood in a file before a call writes it anew, as far as the run itself knows: nothing is read for that, so that
//! looking at a question has no effects and shows nobody what the agent's server would not.
//!
//! A file is known from the last call of the same server with the same path that read it whole or wrote it whole. When
//! any other call that may change things named that path since, nothing is known.
//!
//! Left out on purpose: paths that are spelt in two ways, and folders that were moved. What is shown says what it is
//! compared with, and the new text is the one that counts.

use serde_json::{Map, Value};

use crate::{
    chat::{CallId, Effect, Part},
    run::{CallRecord, CallState, Run},
};

/// The names under which tools take the path of a file.
const PATHS: [&str; 6] = ["path", "file_path", "filePath", "filepath", "filename", "file"];

/// The names under which tools take its whole text.
const TEXTS: [&str; 6] = ["content", "contents", "text", "file_text", "new_content", "newContent"];

/// What is known of a file that a call is to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// The argument that holds its new text.
    pub argument: &'static str,
    /// Its text before.
    pub text: String,
    /// The call that it is known from.
    pub call: CallId,
    /// Whether that call wrote it, and did not read it.
    pub written: bool,
}

/// What the run knows of the file that `call` is to write; `None` when it writes none, or nothing is known.
pub(super) fn before(run: &Run, call: &CallRecord) -> Option<Before> {
    let arguments = object(call)?;
    let argument = writes(call, &arguments)?;
    let path = path(&arguments)?;
    let mut earlier: Vec<&CallRecord> = run.calls().take_while(|earlier| earlier.id != call.id).collect();
    earlier.reverse();
    for record in earlier.into_iter().filter(|record| server(record) == server(call)) {
        let Some(given) = object(record).filter(|given| self::path(given) == Some(path)) else { continue };
        let effect = record.resolved.as_ref().map(|resolved| resolved.effect);
        match &record.state {
            CallState::Finished(finished) if !finished.is_error => {
                let text = match writes(record, &given) {
                    Some(argument) => given.get(argument).and_then(Value::as_str).map(str::to_owned),
                    None => reads(record, &given).then(|| only_text(&finished.content)).flatten(),
                };
                match text {
                    Some(text) => {
                        return Some(Before { argument, text, call: record.id, written: effect != Some(Effect::Read) });
                    }
                    // It has seen a part of the file, and changed nothing.
                    None if effect == Some(Effect::Read) => {}
                    None => return None,
                }
            }
            CallState::Ready | CallState::Rejected(_) | CallState::NotSent | CallState::DidNot => {}
            // It failed half-way, or nobody knows.
            _ if effect == Some(Effect::Read) => {}
            _ => return None,
        }
    }
    None
}

fn server(call: &CallRecord) -> Option<&str> {
    call.resolved.as_ref().map(|resolved| resolved.origin.server.as_str())
}

fn object(call: &CallRecord) -> Option<Map<String, Value>> {
    match serde_json::from_str(call.arguments()) {
        Ok(Value::Object(arguments)) => Some(arguments),
        _ => None,
    }
}

fn path(arguments: &Map<String, Value>) -> Option<&str> {
    let path = PATHS.iter().find_map(|name| arguments.get(*name)?.as_str())?;
    Some(path.trim_start_matches("./"))
}

/// The argument that holds the whole new text of a file; `None` when the call does not write one.
fn writes(call: &CallRecord, arguments: &Map<String, Value>) -> Option<&'static str> {
    let tool = call.resolved.as_ref()?.origin.tool.to_lowercase();
    let whole = ["write", "create", "save", "overwrite"].iter().any(|word| tool.contains(word));
    // Beside path and text anything may say that only a part is written, or that it is put behind the rest.
    let text = TEXTS.into_iter().find(|name| arguments.get(*name).is_some_and(Value::is_string))?;
    (whole && arguments.len() == 2).then_some(text)
}

/// Whether a call reads a file from its beginning to its end: nothing beside the path says otherwise.
fn reads(call: &CallRecord, arguments: &Map<String, Value>) -> bool {
    let resolved = call.resolved.as_ref().filter(|resolved| resolved.effect == Effect::Read);
    arguments.len() == 1 && resolved.is_some_and(|resolved| resolved.origin.tool.to_lowercase().contains("read"))
}

/// The text of a result that is nothing but one text; a second one would be a remark.
fn only_text(content: &[Part]) -> Option<String> {
    match content {
        [Part::Text(text)] => Some(text.to_string()),
        _ => None,
    }
}
