//! Finds the tool calls that a model left in its text, in the dialects of the model families.
//!
//! [`Extractor`] takes the text as it comes and gives out, in order, what is to be shown and which calls were found;
//! [`extract`] does the same with a whole text. `extractor` walks over the text and knows prose, code and thinking;
//! `dialect` is the table of markers; from a marker on, one of the readers (`json`, `tags`, `python`, `gemma`,
//! `harmony`, `plain`) reads a *region*, which is a call or turns out to be text. Always true:
//! - Any split of the text gives what the whole gives, in time linear in its length.
//! - What stands in thinking, in code or in prose is no call. A marker alone makes none: behind it a call must follow.
//! - A region that its dialect marks unmistakably is a call even if no such tool is on offer, so that the model can be
//!   told; without such a mark (bare JSON, a code fence, ReAct, Python) only tools on offer are called.
//! - Arguments are given as written; where a dialect writes them as typed parameters they are put together, and what
//!   does not fit its type stays a string. Nothing is mended here: that is the work of the rungs above.
//! - A call is complete only if its arguments were seen to end.
//!
//! Left out on purpose: JSON or a code fence in the midst of prose, which is as likely an example as a call.

mod dialect;
mod extractor;
mod gemma;
mod harmony;
mod json;
mod marked;
mod names;
mod plain;
mod python;
mod region;
mod tags;
mod value;

#[cfg(test)]
mod tests;

use super::ToolSet;
use crate::chat::WrittenCall;

pub use extractor::{Extractor, Item};

/// A call that stood in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name as written, without what its dialect puts around it.
    pub name: String,
    /// The arguments: JSON text as written, or put together from typed parameters. Not checked; empty if there were none.
    pub arguments: String,
    /// The dialect in which the call was written: a stable name.
    pub dialect: &'static str,
    /// Whether the arguments were seen to end. A call that was cut is never executed.
    pub complete: bool,
}

impl From<Found> for WrittenCall {
    fn from(found: Found) -> Self {
        let Found { name, arguments, complete, .. } = found;
        WrittenCall { provider_id: None, name, arguments: arguments.into(), complete, opaque: None }
    }
}

/// A text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extracted {
    /// What remains to be shown. Without any call it is the text as it was.
    pub text: String,
    /// The calls, in order.
    pub calls: Vec<Found>,
}

/// Finds the calls in a whole text.
///
/// `family` is a model's name, such as `qwen3-coder-30b`; it leaves out the dialects of other families. `complete` says
/// whether the text ended of itself and not at a limit.
pub fn extract(text: &str, tools: &ToolSet, family: Option<&str>, complete: bool) -> Extracted {
    let mut extractor = Extractor::new(tools.clone(), family);
    let mut items = extractor.feed(text);
    items.extend(extractor.finish(complete));
    items.into_iter().collect()
}

impl FromIterator<Item> for Extracted {
    /// Puts together what an [`Extractor`] gave out.
    fn from_iter<T: IntoIterator<Item = Item>>(items: T) -> Self {
        let mut extracted = Extracted::default();
        for item in items {
            match item {
                Item::Text(text) => extracted.text.push_str(&text),
                Item::Call(call) => extracted.calls.push(call),
                Item::Thought => extracted.calls.clear(),
            }
        }
        extracted
    }
}
