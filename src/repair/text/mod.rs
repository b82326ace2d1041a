//! Finds the tool calls that a model left in its text, in the dialects of the model families.
//!
//! A text comes to one of three things ([`Extracted`]): it ends in calls, which are taken; or something in it looks like a
//! call, and the model is asked what it meant ([`Attempt`]); or it is an answer.
//!
//! **What is taken.** Calls at the end of the message, with prose before them or without. Behind them stand only
//! closing markers, white space and further calls, or a result that the model invented, which is dropped with all that
//! follows it. They begin the message, or a line of their own behind words, or follow the end of a sentence (`place`);
//! what stands behind anything else (within a sentence, in quotes, brackets, tags, tables, logs, indentation, code) is
//! spoken of. They are in a dialect of the model's family, in one that any model may write, or in one that the endpoint
//! has used before ([`Author`]). JSON or a code fence without a marker of its own must be the whole message, and name
//! tools on offer. What a colon presents may be an example: it counts only if it reads. Where the endpoint delivers
//! native calls, nothing is taken.
//!
//! **What is asked about.** Whatever else looks like a call and ends the text: a call that was not taken, a marker that
//! leads nowhere, tokens of a dialect that nobody knows, JSON, Python or a code fence that names a tool on offer, also
//! with an invented result behind it. And a whole call on lines of its own behind which text goes on, unless a colon
//! presents it. What is quoted is not asked about.
//!
//! **How often.** As often as any answer without a valid call. An answer that ends in something like a call never ends
//! the run; the model is told to write a sentence behind it if it belongs to its answer. One behind which text goes on is
//! asked about once, and then is the answer.
//!
//! [`Extractor`] takes the text as it comes and gives out what is certain to be text; [`extract`] does all of this with a
//! whole text. `extractor` walks over the text and knows prose, code and thinking; `dialect` is the table of markers; from
//! a marker on, one of the readers (`json`, `tags`, `python`, `gemma`, `harmony`, `plain`) reads a *region*, which is a
//! call or turns out to be text; `attempt` looks at a text in which none was found. Always true:
//! - Any split of the text gives what the whole gives, in time linear in its length.
//! - What stands in thinking is no call. A marker alone makes none: behind it a call must follow.
//! - A region that its dialect marks unmistakably is a call even if no such tool is on offer, so that the model can be
//!   told; without such a mark (bare JSON, a code fence, ReAct, Python) only tools on offer are called.
//! - Arguments are given as written; where a dialect writes them as typed parameters they are put together, and what
//!   does not fit its type stays a string. Nothing is repaired here: that is the work of the rungs above.
//! - A call is complete only if its arguments were seen to end.

mod attempt;
mod dialect;
mod extractor;
mod gemma;
mod harmony;
mod json;
mod marked;
mod names;
mod place;
mod plain;
mod python;
mod region;
mod tags;
mod value;

#[cfg(test)]
mod tests;

use super::{ToolSet, clip};
use crate::chat::WrittenCall;

pub use extractor::Extractor;

/// Most bytes of something like a call that are shown.
const SEEN_BYTES_MAX: usize = 200;

/// How calls in text are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextCalls {
    /// By the rule of this module.
    #[default]
    Auto,
    /// Text is text: nothing in it is taken or asked about.
    Off,
    /// By the rule, also where the endpoint delivers native calls, and in the dialects of all families.
    Always,
}

/// The source of a text: a model at an endpoint, and what is known of how it calls tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Author {
    /// The model's name, such as `qwen3-coder-30b`. It rules out the dialects of other families.
    pub model: String,
    /// Whether the endpoint delivers native tool calls.
    pub is_native: bool,
    /// Dialects in which this endpoint has made calls before, whatever the model's family.
    pub dialects: Vec<String>,
    /// How calls in text are treated.
    pub text_calls: TextCalls,
}

impl TextCalls {
    /// The words for them in files.
    pub const ALL: [(&'static str, TextCalls); 3] =
        [("auto", TextCalls::Auto), ("off", TextCalls::Off), ("always", TextCalls::Always)];
}

impl Author {
    /// A model of which only the name is known.
    pub fn named(model: impl Into<String>) -> Self {
        Author { model: model.into(), ..Author::default() }
    }
}

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

/// Something like a call, which is never executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The tool that it names, as far as that could be read.
    pub name: Option<String>,
    /// The text of it, clipped.
    pub seen: String,
    /// Whether the text ends with it, so that it cannot be the answer.
    pub ends: bool,
}

impl Attempt {
    fn of(calls: &[Found], raw: &str, ends: bool) -> Self {
        let name = calls.first().map(|call| call.name.clone()).filter(|name| !name.is_empty());
        Attempt { name, seen: clip(raw, SEEN_BYTES_MAX).into_owned(), ends }
    }

    /// A text that somebody else took for a call.
    pub(crate) fn whole(text: &str) -> Self {
        Attempt::of(&[], text.trim_start(), true)
    }

    /// What the model is told.
    pub fn diagnosis(&self) -> String {
        let of = self.name.as_ref().map_or(String::new(), |name| format!(" of {name:?}"));
        let seen = self.seen.trim_end();
        match self.ends {
            true => format!(
                "Your answer ends in what looks like a call{of}, written as text, so nothing was executed. It begins: \
                 {seen}\nTo call a tool, make a proper tool call with nothing behind it. If it is a part of your \
                 answer, give the answer again with a sentence behind it."
            ),
            false => format!(
                "Your answer holds what looks like a call{of} with text behind it, so nothing was executed. It begins: \
                 {seen}\nTo call a tool, make a proper tool call with nothing behind it. If it is a part of your \
                 answer, give the same answer again."
            ),
        }
    }
}

/// What a text comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extracted {
    /// The text to be shown. Without any call it is the text as it was.
    pub text: String,
    /// The calls, in order.
    pub calls: Vec<Found>,
    /// Something like a call; never beside calls.
    pub attempt: Option<Attempt>,
}

/// The calls within a call of `multi_tool_use.parallel`, which models of OpenAI make up. `None` for any other call, for one
/// that does not read as a list of calls and nothing else, and where a tool of that name is on offer.
pub(crate) fn parallel(call: &WrittenCall, tools: &ToolSet) -> Option<Vec<WrittenCall>> {
    let name = names::bare(&call.name);
    let is_meant = json::PARALLEL.contains(&name) && call.complete && names::offered(&call.name, tools).is_none();
    let found = json::tool_uses(&call.arguments).filter(|_| is_meant)?;
    let written = |inner: json::Call| WrittenCall {
        provider_id: None,
        name: names::bare(&inner.name).to_owned(),
        arguments: inner.arguments.unwrap_or_default().into(),
        complete: true,
        opaque: None,
    };
    Some(found.into_iter().map(written).collect())
}

/// Reads a whole text. `complete` says whether it ended of itself and not at a limit.
pub fn extract(text: &str, tools: &ToolSet, author: &Author, complete: bool) -> Extracted {
    if author.text_calls == TextCalls::Off || tools.tools().is_empty() {
        return Extracted { text: text.to_owned(), ..Extracted::default() };
    }
    let mut extractor = Extractor::new(tools.clone(), author);
    let shown = extractor.feed(text);
    let mut extracted = extractor.finish(complete);
    extracted.text.insert_str(0, &shown);
    if extracted.calls.is_empty() && !extracted.attempt.as_ref().is_some_and(|attempt| attempt.ends) {
        let found = attempt::find(text, tools);
        extracted.attempt = match (extracted.attempt, found) {
            (_, Some(found)) if found.ends => Some(found),
            (attempt, found) => attempt.or(found),
        };
        if author.is_native && author.text_calls != TextCalls::Always {
            extracted.attempt = extracted.attempt.filter(|attempt| attempt.ends);
        }
    }
    extracted
}
