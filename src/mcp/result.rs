//! Reads what a server answers to a call, whatever its form, and loses nothing of it.
//!
//! Text, images, sounds and the bytes of resources become parts; every other item of content (text resources, links, kinds that
//! are not known yet, items that are not as they should be) is kept as its JSON text. Bytes never become text as base64: those
//! of a text are decoded, and all others are media, also where their item has a kind that is not known yet. Not kept, as no model is shown them: the annotations and `_meta`
//! of texts, images and sounds, and the `_meta` of the whole result.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
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
    let known = match text("type") {
        Some("text") => text("text").map(Part::text),
        Some("resource") => item.get("resource").and_then(|resource| bytes(resource, "blob")),
        Some("image" | "audio") => bytes(&item, "data"),
        _ => text("mimeType").and_then(|_| bytes(&item, "data").or_else(|| bytes(&item, "blob"))),
    };
    known.unwrap_or_else(|| Part::text(item.to_string()))
}

/// The bytes that an item holds in this member, as what they are; `None` when it holds none.
fn bytes(item: &Value, member: &str) -> Option<Part> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    let data = text(member)?;
    // Some servers write data URLs, and some break lines.
    let (told, data) = match data.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((mime, data)) => (Some(mime), data),
        None => (None, data),
    };
    let clean: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let decoded = ANY_PADDING.decode(&clean).ok()?;
    let known = infer::get(&decoded).map(|kind| kind.mime_type());
    let mime =
        text("mimeType").or(told).filter(|mime| mime.contains('/')).or(known).unwrap_or("application/octet-stream");
    // A type may have parameters, and upper case.
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = text("name").or(text("uri")).map(str::to_owned);
    if is_text(&mime)
        && let Ok(text) = String::from_utf8(decoded)
    {
        return Some(Part::text(match name {
            Some(name) => format!("{name}:\n{text}"),
            None => text,
        }));
    }
    let (top, _) = mime.split_once('/').unwrap_or_default();
    let top = top.to_owned();
    let media = Media { name, mime, source: MediaSource::Base64(clean.into()) };
    Some(match top.as_str() {
        "image" => Part::Image(media),
        "audio" => Part::Audio(media),
        _ => Part::Document(media),
    })
}

/// Whether bytes of this type are a text that a model reads as it is.
fn is_text(mime: &str) -> bool {
    let named = ["application/json", "application/xml", "application/yaml", "application/javascript", "image/svg+xml"];
    mime.starts_with("text/") || named.contains(&mime) || mime.ends_with("+json") || mime.ends_with("+xml")
}

/// Base64 with or without padding.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
        let media =
            |mime: &str| Media { name: None, mime: mime.to_owned(), source: MediaSource::Base64("aGk=".into()) };
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
    fn bytes_are_media_or_the_text_that_they_are_and_never_base64() {
        let resource = |more: Value| {
            let mut resource = json!({"uri": "file:///a"});
            resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answered = read(json!({"content": [{"type": "resource", "resource": resource}]}));
            answered.content.into_iter().next().unwrap()
        };
        let media = |mime: &str, data: &str| Media {
            name: Some("file:///a".to_owned()),
            mime: mime.to_owned(),
            source: MediaSource::Base64(data.into()),
        };
        let pdf = json!({"mimeType": "application/pdf", "blob": "JVBERi0="});
        assert_eq!(resource(pdf), Part::Document(media("application/pdf", "JVBERi0=")));
        let png = json!({"mimeType": "image/PNG", "blob": "iVBOR\nw0KGgo="});
        assert_eq!(resource(png), Part::Image(media("image/png", "iVBORw0KGgo=")));
        assert_eq!(resource(json!({"blob": "JVBERi0xLjc"})), Part::Document(media("application/pdf", "JVBERi0xLjc")));
        assert_eq!(resource(json!({"blob": "AAEC"})), Part::Document(media("application/octet-stream", "AAEC")));
        let text = json!({"mimeType": "text/csv; charset=utf-8", "blob": "YSxiCg=="});
        assert_eq!(resource(text), Part::text("file:///a:\na,b\n"));
        assert_eq!(
            resource(json!({"mimeType": "text/plain", "blob": "//8="})),
            Part::Document(media("text/plain", "//8=")),
            "a text that is none"
        );
        // Nothing is lost that cannot be read.
        let broken = json!({"uri": "file:///a", "blob": "not base64!"});
        let item = json!({"type": "resource", "resource": broken});
        assert_eq!(read(json!({"content": [item.clone()]})).content, self::text(&item.to_string()));
        // A kind of a later time, and pictures whose server says no type.
        let video = json!({"type": "video", "mimeType": "video/mp4", "data": "AAEC"});
        let untyped = json!({"type": "image", "data": "iVBORw0KGgo="});
        let url = json!({"type": "image", "data": "data:image/png;base64,iVBORw0KGgo="});
        let picture = || Part::Image(Media { name: None, ..media("image/png", "iVBORw0KGgo=") });
        let unknown = Part::Document(Media { name: None, ..media("video/mp4", "AAEC") });
        assert_eq!(read(json!({"content": [video, untyped, url]})).content, [unknown, picture(), picture()]);
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
