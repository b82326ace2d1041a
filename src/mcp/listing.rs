//! Lists a server's tools, page by page and tool by tool: one bad tool costs that tool and nothing else.
//!
//! Nothing of what a server writes here is trusted: pages that go round in circles, lists without end, tools without a name or
//! a schema, two tools of one name, texts with characters that nobody sees. What is left out is told in a warning.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use rmcp::{
    model::{ClientRequest, ErrorCode, ListToolsRequest, PaginatedRequestParams},
    service::{Peer, PeerRequestOptions, RoleClient, ServiceError},
};
use serde_json::{Map, Value};

use super::{hints::Hints, result};
use crate::{
    repair::Schema,
    show::{hidden, strip},
};

/// Longest wait for a page, if the server may take that long to start.
const PAGE: Duration = Duration::from_secs(30);

/// Most pages of one list; a server with one tool a page may have many.
const PAGES_MAX: usize = 1_000;

/// Most tools of one server. The largest real ones have hundreds.
const TOOLS_MAX: usize = 2_000;

/// Most bytes of a description. The longest real ones have some ten thousand.
const DESCRIPTION_BYTES_MAX: usize = 32 * 1024;

/// A tool as its server lists it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    pub name: String,
    pub description: Arc<str>,
    pub schema: Arc<Value>,
    pub hints: Hints,
    pub hash: Arc<str>,
    /// What it says of its results; `None` when it says nothing.
    pub output: Option<Arc<Output>>,
}

/// The schema of a tool's results, compiled when it is first needed.
#[derive(Debug)]
pub(super) struct Output {
    value: Arc<Value>,
    schema: OnceLock<Option<Schema>>,
}

impl Output {
    fn new(value: Value) -> Arc<Self> {
        Arc::new(Output { value: Arc::new(value), schema: OnceLock::new() })
    }

    /// The schema; `None` when it cannot be used, so that nothing is checked.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.get_or_init(|| Schema::compile(&self.value).ok()).as_ref()
    }
}

impl PartialEq for Output {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// The tools of one server, in its order.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub tools: Vec<Listed>,
    pub warnings: Vec<String>,
}

/// Lists the tools of `server`, each page within `patience`; the error says why that is impossible.
pub(super) async fn list(peer: &Peer<RoleClient>, server: &str, patience: Duration) -> Result<Listing, String> {
    let patience = patience.min(PAGE);
    let mut items = Vec::new();
    let mut warnings = Vec::new();
    let mut cursors = HashSet::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut page = page(peer, cursor, patience).await?;
        match page.get_mut("tools").map(Value::take) {
            Some(Value::Array(tools)) => items.extend(tools),
            _ => return Err(format!("its list of tools is none: {}", start(&Value::Object(page)))),
        }
        cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
        let Some(next) = &cursor else { break };
        if !cursors.insert(next.clone()) {
            warnings.push("its list of tools goes round in circles; it was cut where it repeats".to_owned());
            break;
        }
        if items.len() > TOOLS_MAX || cursors.len() >= PAGES_MAX {
            break;
        }
    }
    if items.len() > TOOLS_MAX || cursor.is_some() && cursors.len() >= PAGES_MAX {
        items.truncate(TOOLS_MAX);
        warnings
            .push(format!("it offers more than {TOOLS_MAX} tools or {PAGES_MAX} pages of them; the rest is left out"));
    }
    Ok(read(server, items, warnings))
}

async fn page(
    peer: &Peer<RoleClient>,
    cursor: Option<String>,
    patience: Duration,
) -> Result<Map<String, Value>, String> {
    let params = cursor.map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
    let request = ListToolsRequest { params, ..ListToolsRequest::default() };
    let options = PeerRequestOptions::with_timeout(patience);
    let answer = match peer.send_request_with_option(ClientRequest::ListToolsRequest(request), options).await {
        Ok(handle) => handle.await_response().await,
        Err(error) => Err(error),
    };
    match answer.map(result::raw) {
        Ok(Value::Object(page)) => Ok(page),
        Ok(other) => Err(format!("its list of tools is none: {}", start(&other))),
        // A server without tools need not know the method.
        Err(ServiceError::McpError(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => {
            Ok(Map::from_iter([("tools".to_owned(), Value::Array(Vec::new()))]))
        }
        Err(ServiceError::McpError(error)) => {
            Err(format!("it does not list its tools: {} ({})", error.message, error.code.0))
        }
        Err(ServiceError::Timeout { .. }) => Err(format!("it did not list its tools within {patience:?}")),
        Err(ServiceError::TransportClosed) => Err("it ended before it listed its tools".to_owned()),
        Err(error) => Err(format!("it did not list its tools: {error}")),
    }
}

fn read(server: &str, items: Vec<Value>, mut warnings: Vec<String>) -> Listing {
    let mut tools: Vec<Listed> = Vec::new();
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut twice = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let name = item.get("name").and_then(Value::as_str).map(str::to_owned);
        if !for_models(&item) {
            continue;
        }
        match tool(server, item, &mut warnings) {
            Ok(tool) => match first.get(&tool.name) {
                None => {
                    first.insert(tool.name.clone(), tools.len());
                    tools.push(tool);
                }
                Some(&earlier) if tools[earlier] == tool => {}
                Some(_) => {
                    twice.insert(tool.name);
                }
            },
            Err(why) => {
                let name = name.map_or_else(|| format!("number {}", index + 1), |name| format!("{name:?}"));
                warnings.push(format!("its tool {name} is left out: {why}"));
            }
        }
    }
    for name in &twice {
        warnings.push(format!("its tool {name:?} is left out: it lists several, and a call could mean any of them"));
    }
    tools.retain(|tool| !twice.contains(&tool.name));
    Listing { tools, warnings }
}

/// Whether a tool may be offered to models: not when it says that it is there for apps alone (MCP Apps, 2026-01-26).
fn for_models(item: &Value) -> bool {
    let meta = &item["_meta"];
    let visibility = meta["ui"]["visibility"].as_array().or_else(|| meta["ui/visibility"].as_array());
    visibility.is_none_or(|visible| visible.iter().any(|to| to == "model"))
}

fn tool(server: &str, mut item: Value, warnings: &mut Vec<String>) -> Result<Listed, String> {
    let name =
        item.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).ok_or("it has no name")?.to_owned();
    let mut schema = item.get_mut("inputSchema").map(Value::take).unwrap_or_default();
    match schema.get("type") {
        _ if !schema.is_object() => return Err(format!("its input schema is no object but {}", start(&schema))),
        Some(Value::Array(kinds)) if kinds.iter().any(|kind| kind == "object") => {}
        Some(kind) if kind != "object" => {
            return Err(format!("its input schema is for {}, not for objects", start(kind)));
        }
        _ => {}
    }
    let output = item.get_mut("outputSchema").map(Value::take).filter(Value::is_object).map(Output::new);
    let description = item.get("description").and_then(Value::as_str).unwrap_or_default();
    let annotations = item.get("annotations").unwrap_or(&Value::Null);
    let hash = hash([&Value::from(server), &Value::from(&*name), &Value::from(description), &schema, annotations]);
    let clean = visible(description);
    let mut hidden = clean.len() != description.len();
    hidden |= clear(&mut schema, false);
    if hidden {
        warnings.push(format!("the definition of its tool {name:?} held invisible characters, or a description of more than {DESCRIPTION_BYTES_MAX} bytes; they are left out"));
    }
    Ok(Listed {
        name,
        description: clean.into(),
        hints: Hints::read(annotations),
        schema: Arc::new(schema),
        hash,
        output,
    })
}

/// A text without the characters that hide instructions from people; cut where it is too long.
fn visible(text: &str) -> String {
    let mut clean = strip(text).into_owned();
    let mut end = DESCRIPTION_BYTES_MAX.min(clean.len());
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    clean.truncate(end);
    clean
}

/// Leaves out of a schema what nobody sees: in names, titles, descriptions, enums, defaults, everywhere. Patterns say it in
/// an escape instead, as they mean it. Says whether there was any. As deep as the value, which has at most 128 levels.
fn clear(value: &mut Value, pattern: bool) -> bool {
    let cleared = |text: &str| match strip(text) {
        Cow::Borrowed(_) => None,
        Cow::Owned(_) if pattern => Some(escaped(text)),
        Cow::Owned(stripped) => Some(stripped),
    };
    match value {
        Value::String(text) => match cleared(text) {
            Some(clean) => {
                *text = clean;
                true
            }
            None => false,
        },
        Value::Array(items) => items.iter_mut().fold(false, |some, item| clear(item, false) | some),
        Value::Object(members) => {
            let mut some = false;
            for (name, member) in members.iter_mut() {
                some |= match (name.as_str(), &mut *member) {
                    ("patternProperties", Value::Object(patterns)) => clear_names(patterns, escaped),
                    _ => false,
                };
                some |= clear(member, name == "pattern" && member.is_string());
            }
            clear_names(members, |name| strip(name).into_owned()) | some
        }
        _ => false,
    }
}

fn clear_names(members: &mut Map<String, Value>, clean: impl Fn(&str) -> String) -> bool {
    let some = members.keys().any(|name| clean(name) != *name);
    if some {
        *members = std::mem::take(members).into_iter().map(|(name, member)| (clean(&name), member)).collect();
    }
    some
}

/// A pattern with escapes for what nobody sees.
fn escaped(pattern: &str) -> String {
    let mut escaped = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match hidden(c) {
            true => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// BLAKE3 over values in one form: members sorted by name, no white space.
fn hash<'a>(values: impl IntoIterator<Item = &'a Value>) -> Arc<str> {
    let mut text = String::new();
    for value in values {
        canonical(value, &mut text);
        text.push('\n');
    }
    blake3::hash(text.as_bytes()).to_hex().as_str().into()
}

/// Writes a value with sorted members. As deep as the value: what was read from JSON has at most 128 levels.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, value) in members {
                text.push_str(&Value::from(&**name).to_string());
                text.push(':');
                canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// The start of a value, for a message.
fn start(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(listing: &Listing) -> Vec<&str> {
        listing.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    #[test]
    fn a_bad_tool_costs_that_tool_and_says_why() {
        let schema = json!({"type": "object"});
        let listing = read(
            "s",
            vec![
                json!({"name": "good", "inputSchema": schema}),
                json!({"name": "no schema"}),
                json!({"name": "true schema", "inputSchema": true}),
                json!({"name": "array", "inputSchema": {"type": "array"}}),
                json!({"inputSchema": schema}),
                json!("tool"),
                json!({"name": "", "inputSchema": schema}),
                json!({"name": "untyped", "description": 5, "inputSchema": {"properties": {}}, "annotations": "none"}),
            ],
            Vec::new(),
        );
        assert_eq!(names(&listing), ["good", "untyped"]);
        insta::assert_snapshot!(listing.warnings.join("\n"), @r#"
        its tool "no schema" is left out: its input schema is no object but null
        its tool "true schema" is left out: its input schema is no object but true
        its tool "array" is left out: its input schema is for "array", not for objects
        its tool number 5 is left out: it has no name
        its tool number 6 is left out: it has no name
        its tool "" is left out: it has no name
        "#);
    }

    #[test]
    fn of_two_different_tools_with_one_name_neither_is_offered() {
        let tool = |name: &str, what: &str| json!({"name": name, "description": what, "inputSchema": {}});
        let listing =
            read("s", vec![tool("a", "1"), tool("b", "1"), tool("a", "2"), tool("b", "1"), tool("a", "1")], Vec::new());
        assert_eq!(names(&listing), ["b"], "b was only repeated");
        assert_eq!(listing.warnings.len(), 1);
    }

    #[test]
    fn the_hash_depends_on_everything_but_the_order_of_members() {
        let item = json!({"name": "n", "description": "d", "inputSchema": {"type": "object", "title": "t"}, "annotations": {"readOnlyHint": true}});
        let hash = |server: &str, item: &Value| read(server, vec![item.clone()], Vec::new()).tools[0].hash.clone();
        let one = hash("s", &item);
        let mut same = item.clone();
        same["inputSchema"] = json!({"title": "t", "type": "object"});
        same["_meta"] = json!({"listed": 5});
        assert_eq!(one, hash("s", &same));
        for (part, value) in [
            ("name", json!("m")),
            ("description", json!("e")),
            ("inputSchema", json!({"title": "t"})),
            ("annotations", json!({})),
        ] {
            let mut other = item.clone();
            other[part] = value;
            assert_ne!(one, hash("s", &other), "{part}");
        }
        assert_ne!(one, hash("other", &item));
    }

    #[test]
    fn what_nobody_sees_is_left_out_of_everything_that_a_tool_says() {
        let schema = |zero: &str, pattern: &str| {
            json!({
                "type": "object",
                "title": format!("t{zero}"),
                "properties": {
                    format!("p{zero}"): {
                        "description": format!("d{zero}"),
                        "enum": [format!("e{zero}"), "❤\u{fe0f}"],
                        "default": format!("e{zero}"),
                        "examples": [{"x": format!("x{zero}")}],
                    },
                    "q": {"type": "string", "pattern": format!("^[^{pattern}]*$")},
                },
                "patternProperties": {format!("^{pattern}"): {"title": zero}},
            })
        };
        let listed = |schema: Value| read("s", vec![json!({"name": "n", "inputSchema": schema})], Vec::new());
        let (plain, poisoned) = (listed(schema("", "\\u{200b}")), listed(schema("\u{e0041}\u{1b}", "\u{200b}")));
        assert_eq!(*poisoned.tools[0].schema, schema("", "\\u{200b}"));
        assert!(Schema::compile(&poisoned.tools[0].schema).is_ok());
        assert_eq!((plain.warnings.len(), poisoned.warnings.len()), (0, 1));
        assert_ne!(plain.tools[0].hash, poisoned.tools[0].hash);
    }

    #[test]
    fn tools_for_apps_alone_are_not_offered() {
        let tool = |name: &str, meta: Value| json!({"name": name, "inputSchema": {}, "_meta": meta});
        let listing = read(
            "s",
            vec![
                tool("app", json!({"ui": {"visibility": ["app"]}})),
                tool("both", json!({"ui": {"visibility": ["app", "model"]}})),
                tool("nobody", json!({"ui": {"visibility": []}})),
                tool("silent", json!({"ui": {"resourceUri": "ui://a"}})),
                tool("flat", json!({"ui/visibility": ["app"]})),
            ],
            Vec::new(),
        );
        assert_eq!((names(&listing), listing.warnings.len()), (vec!["both", "silent"], 0));
    }

    #[test]
    fn what_nobody_sees_is_left_out_of_a_description_and_counts_in_its_hash() {
        let tool =
            |what: &str| read("s", vec![json!({"name": "n", "description": what, "inputSchema": {}})], Vec::new());
        let (plain, poisoned) = (tool("adds\n\tnumbers"), tool("adds\n\tnumb\u{200b}ers\u{e0041}\u{1b}"));
        assert_eq!(plain.warnings, Vec::<String>::new());
        assert_eq!(poisoned.warnings.len(), 1);
        assert_eq!(plain.tools[0].description, poisoned.tools[0].description);
        assert_ne!(plain.tools[0].hash, poisoned.tools[0].hash);
        let long = tool(&"é".repeat(DESCRIPTION_BYTES_MAX));
        assert_eq!((long.tools[0].description.len(), long.warnings.len()), (DESCRIPTION_BYTES_MAX, 1));
    }
}
