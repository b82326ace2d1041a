//! Takes away what stands around the arguments: fences, tokens of chat templates, a call, a second encoding.
//!
//! Each layer is one pass of edits; [`unwrapped`] takes layer after layer until none is left. What can only be told
//! once the object has been read (sentences around it, brackets behind it, the same object again) is [`around`]'s.

use std::ops::Range;

use serde_json::Value;

use crate::chat::ToolDef;

use super::{
    ToolSet,
    draft::{Draft, Edit},
    kind::Kind,
    names,
    shape::{Id, Shapes},
    syntax::{self, Broken, is_odd_space, stands_for_key},
};

/// Most layers that are taken off. Two are seen in the wild, three with a proxy between.
const LAYERS_MAX: usize = 6;

/// Most repetitions of one object that are dropped.
const REPEATS_MAX: usize = 3;

/// Tokens and closing tags that end a call in some model's own format, without those in `<|…|>`.
const TOKENS: &[&str] = &[
    "</tool_call>",
    "</tool_calls>",
    "</function>",
    "</function_call>",
    "</function_calls>",
    "</invoke>",
    "</parameters>",
    "</arguments>",
    "</s>",
    "<eos>",
    "<end_of_turn>",
    "<end_function_call>",
    "<tool_call|>",
    "[/TOOL_CALLS]",
    "[/INST]",
    "</TOOLCALL>",
    "<EOS>",
    "<EOT>",
    "</minimax:tool_call>",
    "</seed:tool_call>",
    "<tool_call>",
    "</tool>",
    "</json>",
    "<json>",
    "<arguments>",
    "<parameters>",
    "<s>",
];

/// Takes off what surrounds the object, layer by layer. `None` when a layer cannot be taken off in one way.
pub(super) fn unwrapped(draft: &mut Draft<'_>, tool: &ToolDef, tools: &ToolSet) -> Option<()> {
    for _ in 0..LAYERS_MAX {
        let edits = layer(&draft.text, tool, tools);
        if edits.is_empty() {
            return Some(());
        }
        draft.cost += 1;
        draft.apply(edits)?;
    }
    None
}

/// The edits that take off the outermost layer; none when there is none.
fn layer(text: &str, tool: &ToolDef, tools: &ToolSet) -> Vec<Edit> {
    let shapes = tools.shapes(tool);
    let root = shapes.root;
    let inner = trimmed(text, 0..text.len());
    let odd = |range: Range<usize>| text[range].contains(|char: char| is_odd_space(char));
    let mut edits = Vec::new();
    if odd(0..inner.start) {
        edits.push(Edit::delete(0, inner.start, Kind::OddSpace));
    }
    if odd(inner.end..text.len()) {
        edits.push(Edit::delete(inner.end, text.len(), Kind::OddSpace));
    }
    if !edits.is_empty() {
        return edits;
    }
    let body = &text[inner.clone()];
    // `inner` bounds what is taken off; everything beyond its new bounds goes.
    let keep = |start: usize, end: usize, kind: Kind| {
        let mut edits = Vec::new();
        if start > 0 {
            edits.push(Edit::delete(0, start, kind));
        }
        if end < text.len() {
            edits.push(Edit::delete(end, text.len(), kind));
        }
        edits
    };
    if let Some(length) = token_at_end(body) {
        return keep(0, inner.end - length, Kind::SpecialToken);
    }
    if let Some(length) = token_at_start(body) {
        return keep(inner.start + length, text.len(), Kind::SpecialToken);
    }
    if let Some(fenced) = fence(body) {
        return keep(inner.start + fenced.start, inner.start + fenced.end, Kind::Fence);
    }
    // A list of nothing but the arguments. Where there are more, what stands behind the first ones tells.
    if let Some(only) = body.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let only = trimmed(text, inner.start + 1..inner.start + 1 + only.len());
        if text[only.clone()].starts_with('{') && text[only.clone()].ends_with('}') {
            return keep(only.start, only.end, Kind::OutOfList);
        }
    }
    if body.starts_with(['"', '\'', '`']) || body.starts_with("{\\\"") {
        if let Some(edit) = encoded_twice(body, inner.start, shapes, root) {
            return edit;
        }
    } else if entities_are_structure(body) {
        return entities(text);
    } else if let Some(called) = call(body, tool, tools) {
        return keep(inner.start + called.start, inner.start + called.end, Kind::CallAround);
    }
    Vec::new()
}

/// The range without spaces at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let space = |char: char| char.is_whitespace() || is_odd_space(char);
    let part = &text[range.clone()];
    let start = range.start + part.len() - part.trim_start_matches(space).len();
    start..start + part.trim_matches(space).len()
}

/// The length of the special token that the text ends with.
fn token_at_end(text: &str) -> Option<usize> {
    // In a string, a token is text: only behind a bracket, a quote or another token it is one.
    let plain = TOKENS.iter().find(|token| text.ends_with(**token)).map(|token| token.len());
    let barred = [("<|", "|>"), ("<｜", "｜>")].iter().find_map(|(open, close)| {
        let start = text.strip_suffix(close)?.rfind(open)?;
        is_token(&text[start + open.len()..text.len() - close.len()]).then_some(text.len() - start)
    });
    plain.or(barred)
}

fn token_at_start(text: &str) -> Option<usize> {
    let plain = TOKENS.iter().find(|token| text.starts_with(**token)).map(|token| token.len());
    let barred = [("<|", "|>"), ("<｜", "｜>")].iter().find_map(|(open, close)| {
        let length = text.strip_prefix(open)?.find(close)?;
        is_token(&text[open.len()..open.len() + length]).then_some(open.len() + length + close.len())
    });
    plain.or(barred)
}

/// Whether this can be the name of a special token.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.chars().all(|char| char.is_alphanumeric() || "_-▁ :.=".contains(char))
}

/// What stands within a code fence.
fn fence(text: &str) -> Option<Range<usize>> {
    let ticks = ["```", "~~~"].into_iter().find(|ticks| text.starts_with(ticks) || text.ends_with(ticks))?;
    let mut start = 0;
    if let Some(behind) = text.strip_prefix(ticks) {
        let behind = behind.trim_start_matches(&ticks[..1]);
        let label = behind.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        start = text.len() - behind.len() + label;
    }
    let end = text.strip_suffix(ticks).map_or(text.len(), str::len);
    (start <= end).then_some(start..end)
}

/// An object that was written as the text of a string, with its quotes escaped or not.
fn encoded_twice(body: &str, offset: usize, shapes: &Shapes, root: Id) -> Option<Vec<Edit>> {
    let whole = |after: String| vec![Edit::replace(offset, offset + body.len(), after, Kind::DoubleEncoded)];
    if body.starts_with('{') {
        // `{\"a\": 1}`: the quotes of the string are missing. A lone backslash before a quote is nothing else.
        let text: String = serde_json::from_str(&format!("\"{body}\"")).ok()?;
        return text.starts_with('{').then(|| whole(text));
    }
    if let Ok(text) = serde_json::from_str::<String>(body) {
        let inner = text.trim_start();
        let is_object = inner.starts_with('{') || inner.starts_with("\"{") || inner.starts_with("```");
        return is_object.then(|| whole(text));
    }
    let quote = &body[..1];
    let inner = body.strip_prefix(quote)?.strip_suffix(quote)?;
    let plain = inner.trim();
    // The quotes were put around, and nothing within was escaped for them.
    if !plain.starts_with('{') || !plain.ends_with('}') {
        return None;
    }
    if plain.starts_with("{\\\"") {
        let text: String = serde_json::from_str(&format!("\"{inner}\"")).ok()?;
        return Some(whole(text));
    }
    let reading = syntax::read(plain, 0..plain.len(), shapes, root, None).ok()?;
    (reading.end == plain.len()).then(|| {
        let end = offset + body.len();
        vec![Edit::delete(offset, offset + 1, Kind::DoubleEncoded), Edit::delete(end - 1, end, Kind::DoubleEncoded)]
    })
}

/// Entities that stand for what structure and strings are made of.
const ENTITIES: &[(&str, &str)] = &[
    ("&quot;", "\""),
    ("&#34;", "\""),
    ("&#x22;", "\""),
    ("&apos;", "'"),
    ("&#39;", "'"),
    ("&#x27;", "'"),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&amp;", "&"),
    ("&nbsp;", " "),
    ("&#10;", "\n"),
    ("&#38;", "&"),
    ("&#60;", "<"),
    ("&#62;", ">"),
    ("&#x3c;", "<"),
    ("&#x3e;", ">"),
    ("&#x26;", "&"),
    ("&#x3C;", "<"),
    ("&#x3E;", ">"),
    ("&#x2F;", "/"),
    ("&#47;", "/"),
];

/// Whether the quotes of the structure itself are written as entities.
fn entities_are_structure(body: &str) -> bool {
    let quotes = ["&quot;", "&#34;", "&#x22;", "&apos;", "&#39;", "&#x27;"];
    let first = body.strip_prefix('{').unwrap_or(body).trim_start();
    quotes.iter().any(|quote| first.starts_with(quote)) && !body.contains('"')
}

fn entities(text: &str) -> Vec<Edit> {
    let at = |(at, _): (usize, &str)| {
        let (name, stands_for) = ENTITIES.iter().find(|(name, _)| text[at..].starts_with(name))?;
        Some(Edit::replace(at, at + name.len(), *stands_for, Kind::Entities))
    };
    text.match_indices('&').filter_map(at).collect()
}

/// The arguments within a call of this tool, or of a function that hands its only argument on: `f({…});`.
fn call(body: &str, tool: &ToolDef, tools: &ToolSet) -> Option<Range<usize>> {
    let open = body.find('(')?;
    let called = body[..open].trim();
    let name = called.strip_prefix("await ").unwrap_or(called).trim_start();
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-:/".contains(&byte));
    let end = body.trim_end_matches(|char: char| char == ';' || char.is_whitespace()).strip_suffix(')')?.len();
    let inner = trimmed(body, open + 1..end.max(open + 1));
    // The name of another tool would be another call.
    let generic = ["", "call", "invoke", "run", "execute", "call_tool", "invoke_tool", "execute_tool", "use_tool"];
    let ours = generic.contains(&name) || names::is_name_of(name, tool.name.as_str()) || names::hands_on(name, tools);
    (plain && ours && body[inner.clone()].starts_with(['{', '"', '\''])).then_some(inner)
}

/// The object's place and what must go around it.
pub(super) struct Around {
    /// The reading of the object.
    pub reading: syntax::Reading,
    /// The edits around it.
    pub edits: Vec<Edit>,
}

/// Reads the only object of a text, and what stands before and behind it.
pub(super) fn around(text: &str, shapes: &Shapes, root: Id, other: Option<usize>) -> Result<Around, Broken> {
    let whole = trimmed(text, 0..text.len());
    let body = &text[whole.clone()];
    let mut edits = Vec::new();
    let mut start = whole.start;
    if !body.starts_with('{') && !stands_for_key(body, shapes, root) {
        start += body.find('{').ok_or(if body.is_empty() { Broken::Cut } else { Broken::Unclear })?;
        // A list of objects, another call or another text is no prose.
        let before = text[whole.start..start].trim();
        let lists = before.matches('[').count() != before.matches(']').count();
        if before.ends_with(['(', ',', '"', '\'', '`']) || lists || before.contains('}') {
            return Err(Broken::Unclear);
        }
        edits.push(Edit::delete(0, start, Kind::Prose));
    }
    let reading = syntax::read(text, start..whole.end, shapes, root, other)?;
    behind(text, start..reading.end, whole.end, shapes, root, &mut edits)?;
    Ok(Around { reading, edits })
}

/// Finds out what stands behind the object.
fn behind(
    text: &str,
    object: Range<usize>,
    end: usize,
    shapes: &Shapes,
    root: Id,
    edits: &mut Vec<Edit>,
) -> Result<(), Broken> {
    let mut from = object.end;
    let mut repeats = 0;
    let mut take = |from: usize, to: usize, kind| edits.push(Edit::delete(from, to, kind));
    loop {
        let rest = trimmed(text, from..end);
        let left = &text[rest.clone()];
        if left.is_empty() {
            return Ok(());
        }
        let closers = left.len() - left.trim_start_matches(['}', ']', ' ', '\n', '\t', '\r']).len();
        if closers == left.len() {
            take(from, end, Kind::ExtraClosers);
            return Ok(());
        }
        if let Some(comment) = comment(left) {
            take(from, rest.start + comment, Kind::Comment);
            from = rest.start + comment;
            continue;
        }
        if left == "," || left == ";" {
            take(from, end, Kind::ExtraComma);
            return Ok(());
        }
        if left.starts_with('{') && repeats < REPEATS_MAX {
            repeats += 1;
            let again = syntax::read(text, rest.start..end, shapes, root, None)?;
            let value = |range: Range<usize>, edits: Vec<Edit>| -> Option<Value> {
                let mut draft = Draft::new(&text[range.clone()]);
                let shifted = edits.into_iter().map(|edit| Edit {
                    start: edit.start - range.start,
                    end: edit.end - range.start,
                    ..edit
                });
                draft.apply(shifted.collect())?;
                super::json::read(&draft.text).ok()
            };
            let first = syntax::read(text, object.start..end, shapes, root, None)?;
            let same = value(object.clone(), first.edits)
                .is_some_and(|first| value(rest.start..again.end, again.edits).is_some_and(|second| first == second));
            if !same {
                return Err(Broken::Unclear);
            }
            take(from, again.end, Kind::Repeated);
            from = again.end;
            continue;
        }
        // Whatever could be more of the arguments is no prose.
        let prose = closers == 0 && !left.contains(['{', '}']) && left.matches('"').count().is_multiple_of(2);
        if !prose || left.starts_with([',', ':', '"', '+', '[']) {
            return Err(Broken::Unclear);
        }
        take(from, end, if token_at_start(left).is_some() { Kind::SpecialToken } else { Kind::Prose });
        return Ok(());
    }
}

/// The length of the comment that the text begins with, unless it tells of something left out.
fn comment(text: &str) -> Option<usize> {
    let length = match text.as_bytes() {
        [b'/', b'/', ..] => text.find('\n').unwrap_or(text.len()),
        [b'/', b'*', ..] => text.find("*/")? + 2,
        _ => return None,
    };
    (!syntax::tells_of_elision(&text[..length])).then_some(length)
}
