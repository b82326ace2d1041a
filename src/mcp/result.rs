//! Reads what a server answers to a call, whatever its form, and loses nothing of it.
//!
//! Text, images and sounds become parts; every other item of content (resources, links, kinds that are not known yet, items
//! that are not as they should be) is kept as its JSON text. Not kept, as no model is shown them: the annotations and `_meta`
//! of texts, images and sounds, and the `_meta` of the whole result.

use rmcp::model::{ErrorData, ServerResult};
use serde_json::{Map, Value};

use super::Answered;
use crate::chat::{Media, MediaSource, Part};

/// A result as the server wrote it, as far as rmcp kept it.
pub(super) fn raw(result: ServerResult) -> Value {
    match result {
        ServerResult::CustomResult(result) => result.0,
        typed => serde_json::to_value(typed).unwrap_or_default(),
    }
}

/// Reads the result of a call.
pub(super) fn read(result: Value) -> Answered {
    let Value::Object(mut result) = result else {
        return failed(format!("the server's answer is not a tool result: {result}"));
    };
    match result.get("resultType").and_then(Value::as_str) {
        Some("input_required") => return failed(asks_for_input(&result)),
        Some("task") => {
            return failed("the server made this call a task of its own, which agentd does not follow yet".into());
        }
        _ => {}
    }
    let is_error = result.get("isError").and_then(Value::as_bool).unwrap_or(false);
    let structured = result.shift_remove("structuredContent").filter(|value| !value.is_null());
    let content = match result.shift_remove("content") {
        Some(Value::Array(items)) => items.into_iter().map(part).collect(),
        Some(Value::String(text)) => vec![Part::text(text)],
        Some(Value::Null) | None if structured.is_some() => Vec::new(),
        Some(Value::Null) | None => rest(&result),
        Some(other) => vec![Part::text(other.to_string())],
    };
    Answered { content, structured, is_error }
}

/// Reads a JSON-RPC error: also an answer.
pub(super) fn refused(error: &ErrorData) -> Answered {
    let data = error.data.as_ref().map(|data| format!(", {data}")).unwrap_or_default();
    failed(format!("{} (error {}{data})", error.message, error.code.0))
}

fn failed(text: String) -> Answered {
    Answered { content: vec![Part::text(text)], structured: None, is_error: true }
}

fn asks_for_input(result: &Map<String, Value>) -> String {
    let asked = result.get("inputRequests").map(|asked| format!(": {asked}")).unwrap_or_default();
    format!("the server needs input from a person, which agentd cannot ask for yet{asked}")
}

/// What stands in a result without content, such as those of servers from before 2024-11-05 (`toolResult`).
fn rest(result: &Map<String, Value>) -> Vec<Part> {
    let said: Map<String, Value> = result
        .iter()
        .filter(|(name, _)| !["_meta", "isError", "resultType"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if said.is_empty() { Vec::new() } else { vec![Part::text(Value::Object(said).to_string())] }
}

fn part(item: Value) -> Part {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let media =
        || Some(Media { mime: text("mimeType")?.to_owned(), source: MediaSource::Base64(text("data")?.into()) });
    let known = match text("type") {
        Some("text") => text("text").map(Part::text),
        Some("image") => media().map(Part::Image),
        Some("audio") => media().map(Part::Audio),
        _ => None,
    };
    known.unwrap_or_else(|| Part::text(item.to_string()))
}

#[cfg(test)]
mod tests {
    use rmcp::model::ErrorCode;
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Vec<Part> {
        vec![Part::text(text)]
    }

    #[test]
    fn content_of_every_kind_is_kept_in_order() {
        let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a", "size": 12});
        let resource =
            json!({"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "x"}});
        let odd = json!({"type": "hologram", "data": [1, 2]});
        let broken = json!({"type": "image", "data": 5});
        let answered = read(json!({"content": [
            {"type": "text", "text": "hello", "annotations": {"priority": 1}},
            {"type": "image", "mimeType": "image/png", "data": "aGk="},
            {"type": "audio", "mimeType": "audio/wav", "data": "aGk="},
            link, resource, odd, broken, "bare", null
        ]}));
        let media = |mime: &str| Media { mime: mime.to_owned(), source: MediaSource::Base64("aGk=".into()) };
        let wanted = vec![
            Part::text("hello"),
            Part::Image(media("image/png")),
            Part::Audio(media("audio/wav")),
            Part::text(link.to_string()),
            Part::text(resource.to_string()),
            Part::text(odd.to_string()),
            Part::text(broken.to_string()),
            Part::text("\"bare\""),
            Part::text("null"),
        ];
        assert_eq!(answered, Answered { content: wanted, structured: None, is_error: false });
    }

    #[test]
    fn structured_content_stands_beside_the_content_or_alone() {
        let both = read(
            json!({"content": [{"type": "text", "text": "4"}], "structuredContent": {"sum": 4}, "isError": false}),
        );
        assert_eq!(both, Answered { content: text("4"), structured: Some(json!({"sum": 4})), is_error: false });
        let alone = read(json!({"structuredContent": [1, 2], "isError": true}));
        assert_eq!(alone, Answered { content: vec![], structured: Some(json!([1, 2])), is_error: true });
    }

    #[test]
    fn results_of_another_form_are_shown_as_they_are() {
        assert_eq!(read(json!({})).content, vec![]);
        assert_eq!(read(json!({"_meta": {"a": 1}})).content, vec![]);
        assert_eq!(read(json!({"toolResult": 5})).content, text("{\"toolResult\":5}"));
        assert_eq!(read(json!({"content": "plain"})).content, text("plain"));
        assert_eq!(read(json!({"content": {"a": 1}})).content, text("{\"a\":1}"));
        assert!(read(json!("nonsense")).is_error);
        assert!(read(json!(null)).is_error);
    }

    #[test]
    fn what_cannot_be_served_is_an_error_that_says_so() {
        let asks =
            read(json!({"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create"}}}));
        assert!(asks.is_error);
        assert!(
            matches!(&asks.content[..], [Part::Text(text)] if text.contains("needs input") && text.contains("elicitation"))
        );
        assert!(read(json!({"resultType": "task", "task": {"taskId": "1"}})).is_error);
        assert_eq!(
            read(json!({"resultType": "complete", "content": []})),
            Answered { content: vec![], structured: None, is_error: false }
        );
    }

    #[test]
    fn an_error_shows_message_code_and_data() {
        let error = ErrorData::new(ErrorCode::INVALID_PARAMS, "no such row", Some(json!({"row": 7})));
        assert_eq!(refused(&error), failed("no such row (error -32602, {\"row\":7})".to_owned()));
    }
}
