//! Which tool a name in the text means.

use crate::chat::ToolDef;

use super::super::ToolSet;

/// Longest name that is looked at, in bytes; offered names have at most 64.
pub(super) const NAME_BYTES_MAX: usize = 128;

/// What models and their servers put in front of names.
const PREFIXES: [&str; 6] = ["functions.", "function.", "default_api.", "tools.", "tool.", "tool:"];

/// The tool that is on offer under a name, or under the name without what models are known to put around it.
pub(super) fn offered<'t>(name: &str, tools: &'t ToolSet) -> Option<&'t ToolDef> {
    tools.get(name).or_else(|| tools.get(bare(name)))
}

/// The name without a known prefix, a call's number (`f:0`) or empty parentheses.
pub(super) fn bare(name: &str) -> &str {
    let name = name.trim();
    let name = name.strip_suffix("()").unwrap_or(name);
    let name = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    match name.rsplit_once(':') {
        Some((name, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Whether a text could be the name of a tool.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.chars().all(is_name_char)
}

/// Whether a character may stand in the name of a tool, prefixes and numbers included.
pub(super) fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':')
}
