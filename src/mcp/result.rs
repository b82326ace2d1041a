//! Reads what a server answers to a call, whatever its form, and loses nothing of it.
//!
//! Text, images, sounds and the bytes of resources become parts; every other item of content (text resources, links, kinds that
//! are not known yet, items that are not as they should be) is kept as its JSON text. Bytes never become text as base64: those
//! of a text are decoded, and all others are media, also where their item has a kind that is not known yet. All is read from
//! the text as it came, since parsed numbers beyond 64 bits would change. Not kept, as no model is shown them: the annotations
//! and `_meta` of texts, images and sounds, and the `_meta` of the whole result.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rmcp::model::{ErrorData, ServerResult};
use serde_json::{Value, value::RawValue};

use super::{Answered, members::Members, wire::Reply};
use crate::chat::{Media, MediaSource, Part};

/// Most parts of one result. What stands behind them becomes one text, so that an entry of a journal has room for them.
const PARTS_MAX: usize = 256;

/// Longest media type. What is longer is none.
const MIME_BYTES_MAX: usize = 255;

/// Longest name of a part.
const NAME_BYTES_MAX: usize = 1024;

/// A result of a listing as the server wrote it, as far as rmcp kept it.
pub(super) fn raw(result: ServerResult) -> Value {
    match result {
        ServerResult::CustomResult(result) => result.0,
        typed => serde_json::to_value(typed).unwrap_or_default(),
    }
}

/// What came back for a call.
#[derive(Debug, PartialEq)]
pub(super) enum Came {
    /// A result or an error.
    Answered(Answered),
    /// The server wants the same call again, with this state and nothing else.
    Again(State),
    /// Something that nobody can read; the text says why.
    Unreadable(&'static str),
}

/// What a server wants to get back with a call: the text of a JSON string.
#[derive(Debug)]
pub(super) struct State(pub Box<RawValue>);

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Reads what came back for a call.
pub(super) fn read(reply: Reply) -> Came {
    let (result, error, notes, failed) = match reply {
        Reply::Unreadable(why) => return Came::Unreadable(why),
        Reply::Read { result, error, notes, failed } => (result, error, notes, failed),
    };
    let came = match (error, result) {
        (None, result) => of_result(result.as_deref().unwrap_or("null")),
        (Some(error), None) => Came::Answered(of_error(&error)),
        (Some(error), Some(result)) => {
            // Some servers send both. It is an error, and what else it says is not lost.
            let mut answered = of_error(&error);
            if let Came::Answered(beside) = of_result(&result) {
                answered.content.extend(beside.content);
                answered.structured = beside.structured;
                answered.notes = beside.notes;
            }
            Came::Answered(answered)
        }
    };
    match came {
        Came::Answered(answered) => Came::Answered(Answered {
            is_error: answered.is_error || failed,
            notes: notes.into_iter().chain(answered.notes).collect(),
            ..answered
        }),
        other => other,
    }
}

fn of_result(text: &str) -> Came {
    let Some(result) = Members::read(text) else {
        let content = if text == "null" { Vec::new() } else { vec![Part::text(text)] };
        let note = "it is not a tool result as MCP has it".to_owned();
        return Came::Answered(Answered { content, notes: vec![note], ..Answered::default() });
    };
    let kind = result.get("resultType").map(RawValue::get).filter(|kind| *kind != "null");
    match kind {
        None | Some("\"complete\"") => {}
        Some("\"input_required\"") => return input_required(&result),
        Some("\"task\"") => {
            let text = "the server made this call a task of its own, which agentd does not follow yet; whether it takes \
                        effect is unknown";
            return Came::Answered(failed(text.to_owned()));
        }
        Some(other) => {
            return Came::Answered(failed(format!(
                "the server answered with a kind of result that agentd does not know ({other}), so whether the call took \
                 effect is unknown; look before you repeat it. The result: {text}"
            )));
        }
    }
    let is_error = result.get("isError").is_some_and(|is_error| is_error.get() == "true");
    let structured = result.get("structuredContent").map(RawValue::get).filter(|text| *text != "null");
    let content = match result.get("content").map(RawValue::get) {
        Some("null") | None if structured.is_some() => Vec::new(),
        Some("null") | None => rest(&result),
        Some(text) => match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(items) => parts(&items),
            Err(_) => vec![Part::text(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()))],
        },
    };
    Came::Answered(Answered { content, structured: structured.map(Into::into), is_error, notes: Vec::new() })
}

/// Reads a JSON-RPC error: also an answer.
fn of_error(text: &str) -> Answered {
    let error = Members::read(text);
    let said = error.as_ref().and_then(|error| Some((error.text("message")?, error.get("code")?.get())));
    let Some((message, code)) = said else { return failed(text.to_owned()) };
    let data = error.as_ref().and_then(|error| error.get("data")).filter(|data| data.get() != "null");
    let data = data.map(|data| format!(", {data}")).unwrap_or_default();
    failed(format!("{message} (error {code}{data})"))
}

/// An error that rmcp gives in the server's place.
pub(super) fn refused(error: &ErrorData) -> Answered {
    let data = error.data.as_ref().map(|data| format!(", {data}")).unwrap_or_default();
    failed(format!("{} (error {}{data})", error.message, error.code.0))
}

fn failed(text: String) -> Answered {
    Answered { content: vec![Part::text(text)], is_error: true, ..Answered::default() }
}

/// A call that the server has not made yet (specification 2026-07-28, "Multi Round-Trip Requests").
fn input_required(result: &Members<'_>) -> Came {
    let asked = result.get("inputRequests").map(RawValue::get).filter(|asked| !matches!(*asked, "null" | "{}"));
    match (asked, result.get("requestState").filter(|state| state.get() != "null")) {
        (None, Some(state)) => Came::Again(State(state.to_owned())),
        (asked, _) => {
            let asked = asked.map(|asked| format!(": {asked}")).unwrap_or_default();
            Came::Answered(failed(format!(
                "the server needs input from a person, which agentd cannot ask for yet{asked}"
            )))
        }
    }
}

/// What stands in a result without content, such as those of servers from before 2024-11-05 (`toolResult`).
fn rest(result: &Members<'_>) -> Vec<Part> {
    let said = result.iter().filter(|(name, _)| !["_meta", "isError", "resultType", "content"].contains(name));
    let said: Vec<String> = said.map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    if said.is_empty() { Vec::new() } else { vec![Part::text(format!("{{{}}}", said.join(",")))] }
}

fn parts(items: &[&RawValue]) -> Vec<Part> {
    let (first, others) = items.split_at(items.len().min(PARTS_MAX));
    let mut parts: Vec<Part> = first.iter().map(|item| part(item)).collect();
    if !others.is_empty() {
        let text = |item: &&RawValue| match part(item) {
            Part::Text(text) => text.to_string(),
            _ => item.get().to_owned(),
        };
        parts.push(Part::text(others.iter().map(text).collect::<Vec<_>>().join("\n")));
    }
    parts
}

/// One item of content. What has no form of its own is kept as it was written.
fn part(raw: &RawValue) -> Part {
    serde_json::from_str(raw.get()).ok().and_then(known).unwrap_or_else(|| Part::text(raw.get()))
}

fn known(item: Value) -> Option<Part> {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    match text("type") {
        Some("text") => text("text").map(Part::text),
        Some("resource") => item.get("resource").and_then(|resource| bytes(resource, "blob")),
        Some("image" | "audio") => bytes(&item, "data"),
        _ => text("mimeType").and_then(|_| bytes(&item, "data").or_else(|| bytes(&item, "blob"))),
    }
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
    let mime = text("mimeType")
        .or(told)
        .filter(|mime| mime.contains('/') && mime.len() <= MIME_BYTES_MAX)
        .or(known)
        .unwrap_or("application/octet-stream");
    // A type may have parameters, and upper case.
    let mime = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = text("name").or(text("uri")).filter(|name| name.len() <= NAME_BYTES_MAX).map(str::to_owned);
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

    fn came(result: Option<&str>, error: Option<&str>) -> Came {
        let text = |text: &str| text.into();
        read(Reply::Read { result: result.map(text), error: error.map(text), notes: Vec::new(), failed: false })
    }

    fn answer(result: Value) -> Answered {
        match came(Some(&result.to_string()), None) {
            Came::Answered(answered) => answered,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn content_of_every_kind_is_kept_in_order() {
        let link = json!({"type": "resource_link", "uri": "file:///a", "name": "a", "size": 12});
        let resource =
            json!({"type": "resource", "resource": {"uri": "file:///a", "mimeType": "text/plain", "text": "x"}});
        let odd = json!({"type": "hologram", "data": [1, 2]});
        let broken = json!({"type": "image", "data": 5});
        let long = json!({"type": "image", "mimeType": "x".repeat(MIME_BYTES_MAX + 1), "data": "aGk="});
        let answered = answer(json!({"content": [
            {"type": "text", "text": "hello", "annotations": {"priority": 1}},
            {"type": "image", "mimeType": "image/png", "data": "aGk="},
            {"type": "audio", "mimeType": "audio/wav", "data": "aGk="},
            link, resource, odd, broken, long, "bare", null
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
            Part::Document(media("application/octet-stream")),
            Part::text("\"bare\""),
            Part::text("null"),
        ];
        assert_eq!(answered, Answered { content: wanted, ..Answered::default() });
    }

    #[test]
    fn more_parts_than_an_entry_has_room_for_become_one_text() {
        let items: Vec<_> = (0..PARTS_MAX + 2).map(|n| json!({"type": "text", "text": n.to_string()})).collect();
        let content = answer(json!({"content": items})).content;
        assert_eq!((content.len(), content.last()), (PARTS_MAX + 1, Some(&Part::text("256\n257"))));
    }

    #[test]
    fn bytes_are_media_or_the_text_that_they_are_and_never_base64() {
        let resource = |more: Value| {
            let mut resource = json!({"uri": "file:///a"});
            resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let answered = answer(json!({"content": [{"type": "resource", "resource": resource}]}));
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
        assert_eq!(answer(json!({"content": [item.clone()]})).content, self::text(&item.to_string()));
        // A kind of a later time, and pictures whose server says no type.
        let video = json!({"type": "video", "mimeType": "video/mp4", "data": "AAEC"});
        let untyped = json!({"type": "image", "data": "iVBORw0KGgo="});
        let url = json!({"type": "image", "data": "data:image/png;base64,iVBORw0KGgo="});
        let picture = || Part::Image(Media { name: None, ..media("image/png", "iVBORw0KGgo=") });
        let unknown = Part::Document(Media { name: None, ..media("video/mp4", "AAEC") });
        assert_eq!(answer(json!({"content": [video, untyped, url]})).content, [unknown, picture(), picture()]);
    }

    #[test]
    fn structured_content_stands_beside_the_content_or_alone() {
        let both = answer(
            json!({"content": [{"type": "text", "text": "4"}], "structuredContent": {"sum": 4}, "isError": false}),
        );
        assert_eq!(
            both,
            Answered { content: text("4"), structured: Some(r#"{"sum":4}"#.into()), ..Answered::default() }
        );
        let alone = answer(json!({"structuredContent": [1, 2], "isError": true}));
        assert_eq!(alone, Answered { structured: Some("[1,2]".into()), is_error: true, ..Answered::default() });
        assert_eq!(answer(json!({"content": null, "structuredContent": 5})).structured.as_deref(), Some("5"));
    }

    #[test]
    fn numbers_keep_all_their_digits() {
        let number = "123456789012345678901234567890.12345678901234567890e999";
        let result = format!(r#"{{"content":[{{"type":"odd","n":{number}}}],"structuredContent":{{"n":{number}}}}}"#);
        let Came::Answered(answered) = came(Some(&result), None) else { panic!() };
        assert_eq!(answered.content, text(&format!(r#"{{"type":"odd","n":{number}}}"#)));
        assert_eq!(answered.structured.as_deref(), Some(&*format!(r#"{{"n":{number}}}"#)));
        let error = format!(r#"{{"code":-32602,"message":"no","data":{number}}}"#);
        let Came::Answered(refused) = came(None, Some(&error)) else { panic!() };
        assert_eq!(refused.content, text(&format!("no (error -32602, {number})")));
    }

    #[test]
    fn results_of_another_form_are_shown_as_they_are() {
        assert_eq!(answer(json!({})).content, vec![]);
        assert_eq!(answer(json!({"_meta": {"a": 1}})).content, vec![]);
        assert_eq!(answer(json!({"toolResult": 5})).content, text("{\"toolResult\":5}"));
        assert_eq!(answer(json!({"content": "plain"})).content, text("plain"));
        assert_eq!(answer(json!({"content": {"a": 1}})).content, text("{\"a\":1}"));
        for (odd, content) in [(json!("nonsense"), text("\"nonsense\"")), (json!(null), vec![])] {
            let odd = answer(odd);
            assert_eq!((odd.is_error, odd.content, odd.notes.len()), (false, content, 1), "it was done all the same");
        }
    }

    #[test]
    fn of_a_result_and_an_error_in_one_nothing_is_lost() {
        let error = r#"{"code": -32603, "message": "injected"}"#;
        let Came::Answered(both) = came(Some(r#"{"content":[{"type":"text","text":"beside"}]}"#), Some(error)) else {
            panic!()
        };
        let content = vec![Part::text("injected (error -32603)"), Part::text("beside")];
        assert_eq!(both, Answered { content, is_error: true, ..Answered::default() });
        let Came::Answered(bare) = came(None, Some("\"it is broken\"")) else { panic!() };
        assert_eq!(bare, failed("\"it is broken\"".to_owned()));
    }

    #[test]
    fn a_call_that_only_state_is_missing_from_is_made_again_with_it() {
        let again = |result: Value| came(Some(&result.to_string()), None);
        let state = || Came::Again(State(serde_json::value::to_raw_value("a\"b").unwrap()));
        assert_eq!(again(json!({"resultType": "input_required", "requestState": "a\"b"})), state());
        assert_eq!(
            again(json!({"resultType": "input_required", "requestState": "a\"b", "inputRequests": {}})),
            state()
        );
    }

    #[test]
    fn what_cannot_be_served_is_an_error_that_says_so() {
        let asks =
            answer(json!({"resultType": "input_required", "inputRequests": {"a": {"method": "elicitation/create"}}}));
        assert!(asks.is_error);
        assert!(
            matches!(&asks.content[..], [Part::Text(text)] if text.contains("needs input") && text.contains("elicitation"))
        );
        assert!(answer(json!({"resultType": "input_required"})).is_error);
        assert!(answer(json!({"resultType": "task", "task": {"taskId": "1"}})).is_error);
        for unknown in [json!("partial"), json!(5)] {
            let unknown = answer(json!({"resultType": unknown, "content": [{"type": "text", "text": "half"}]}));
            assert!(unknown.is_error && format!("{:?}", unknown.content).contains("half"), "{unknown:?}");
        }
        assert_eq!(answer(json!({"resultType": "complete", "content": []})), Answered::default());
    }

    #[test]
    fn an_error_shows_message_code_and_data() {
        let error = ErrorData::new(ErrorCode::INVALID_PARAMS, "no such row", Some(json!({"row": 7})));
        assert_eq!(refused(&error), failed("no such row (error -32602, {\"row\":7})".to_owned()));
    }
}
