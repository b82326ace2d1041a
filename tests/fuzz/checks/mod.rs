//! What must hold whatever the bytes are: each check takes any bytes, makes an input of them and panics when a promise
//! is broken. The fuzz targets call these with what libFuzzer thinks of; the ordinary tests (`tests/it/fuzz.rs`) call
//! them with the corpus, and with inputs that a seed makes of it.
//!
//! To fuzz, with a nightly toolchain or with `RUSTC_BOOTSTRAP=1` on a stable one:
//!
//! ```text
//! cargo install cargo-fuzz
//! cargo fuzz run --fuzz-dir tests/fuzz -s none repair -- -max_total_time=600 -timeout=5 -max_len=4096
//! cargo fuzz cmin --fuzz-dir tests/fuzz -s none repair
//! ```
//!
//! Targets are the modules below. There is no unsafe code of ours, so sanitizers (`-s none` leaves them out) find nothing
//! and cost half of the speed. What is found gets a test with a name where the fault was; the minimised corpus is
//! committed, at most 200 KiB for a target.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a check panics when a promise is broken")]

pub mod agent;
pub mod answer;
pub mod journal;
pub mod repair;
pub mod text;

use std::sync::{Arc, OnceLock};

use agentd::{
    chat::{Effect, EffectSource, ToolDef, ToolName},
    repair::ToolSet,
};
use serde_json::{Value, json};

/// Checks an input; panics when a promise is broken.
pub type Check = fn(&[u8]);

/// All checks, by the names of their targets.
pub const ALL: &[(&str, Check)] = &[
    ("repair", repair::check),
    ("text", text::check),
    ("answer", answer::check),
    ("journal", journal::check),
    ("agent", agent::check),
];

/// Takes single bytes off the front; zeros when there are none left.
fn byte(bytes: &mut &[u8]) -> u8 {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    *bytes = rest;
    *first
}

/// The sizes of the pieces in which something arrives, made of a seed: mostly small ones.
fn sizes(seed: u8) -> impl Iterator<Item = usize> {
    let mut state = u32::from(seed) | 0x5EED_0000;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = state >> 24;
        Some(1 + if size < 200 { size as usize % 5 } else { size as usize })
    })
}

/// The text in pieces, cut between characters.
fn pieces(text: &str, seed: u8) -> Vec<&str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for size in sizes(seed) {
        if rest.is_empty() {
            break;
        }
        let at = (size..=rest.len()).find(|at| rest.is_char_boundary(*at)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(at);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The tools on offer in all checks: schemas of every kind, also ones that models find hard.
fn tools() -> &'static ToolSet {
    static TOOLS: OnceLock<ToolSet> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let schemas = [
            ("fs", "read_file", Effect::Read, json!({
                "type": "object",
                "properties": {"path": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}},
                "required": ["path"],
            })),
            ("fs", "write_file", Effect::Destructive, json!({
                "type": "object",
                "properties": {"path": {"type": "string"}, "content": {"type": "string"}, "dry_run": {"type": "boolean"}},
                "required": ["path", "content"],
                "additionalProperties": false,
            })),
            ("fs", "edit_file", Effect::Write, json!({
                "type": "object",
                "properties": {
                    "path": {"type": "string", "minLength": 1},
                    "edits": {"type": "array", "items": {
                        "type": "object",
                        "properties": {
                            "old_text": {"type": "string"},
                            "new_text": {"type": "string"},
                            "line": {"type": ["integer", "null"]},
                        },
                        "required": ["old_text", "new_text"],
                        "additionalProperties": false,
                    }},
                    "mode": {"enum": ["exact", "loose"]},
                    "ratio": {"type": "number"},
                },
                "required": ["path", "edits"],
            })),
            ("web", "search", Effect::Read, json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "exact": {"type": "boolean"},
                    "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "integer"}]},
                    "near": {"oneOf": [
                        {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
                        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
                    ]},
                    "filter": {"$ref": "#/$defs/filter"},
                    "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
                    "extra": {"type": "object", "additionalProperties": {"type": "integer"}},
                },
                "required": ["query"],
                "$defs": {"filter": {
                    "type": "object",
                    "properties": {
                        "all": {"type": "array", "items": {"$ref": "#/$defs/filter"}},
                        "field": {"type": "string"},
                        "kind": {"const": "leaf"},
                    },
                    "additionalProperties": false,
                }},
            })),
            ("any", "thing", Effect::Idempotent, json!({"additionalProperties": true})),
            ("clock", "now", Effect::Read, json!({"type": "object", "properties": {}, "additionalProperties": false})),
        ];
        let tools: Vec<ToolDef> = schemas.into_iter().map(|(server, name, effect, schema)| tool(server, name, effect, schema)).collect();
        let (tools, warnings) = ToolSet::new(tools.into());
        assert_eq!(warnings, Vec::<String>::new());
        tools
    })
}

fn tool(server: &str, name: &str, effect: Effect, schema: Value) -> ToolDef {
    ToolDef {
        name: format!("{server}__{name}").as_str().into(),
        origin: ToolName { server: server.to_owned(), tool: name.to_owned() },
        description: "".into(),
        input_schema: Arc::new(schema),
        effect,
        effect_source: EffectSource::Hints,
        repeatable: effect != Effect::Write && effect != Effect::Destructive,
        additive: false,
        hash: format!("fuzz {server} {name}").into(),
    }
}
