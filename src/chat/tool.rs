//! Tools as they are offered to a model, and what calling one may do to the world.

use std::{fmt, str::FromStr, sync::Arc};

use serde_json::Value;

/// Names one tool call within a run, `t3c1`: turn 3, call 1. Both count from one; calls of an answer that is
/// asked again in the same turn count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    /// The turn, from one.
    pub turn: u32,
    /// The call within the turn, from one.
    pub call: u32,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}c{}", self.turn, self.call)
    }
}

/// A text that is not a call id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a call id; they look like t3c1")]
pub struct BadCallId(String);

impl FromStr for CallId {
    type Err = BadCallId;

    fn from_str(text: &str) -> Result<Self, BadCallId> {
        let parse = || {
            let (turn, call) = text.strip_prefix('t')?.split_once('c')?;
            Some(CallId { turn: turn.parse().ok()?, call: call.parse().ok()? })
        };
        parse().ok_or_else(|| BadCallId(text.to_owned()))
    }
}

/// What a call may do to the world, from harmless to irreversible. Decides what may run side by side, what is
/// repeated after an interruption and what waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Changes something, but a second identical call changes nothing more.
    Idempotent,
    /// Changes something; a second call changes it again. What an unannotated tool is taken for.
    Write,
    /// May destroy something.
    Destructive,
}

impl Effect {
    /// The name in files, journals and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Write => "write",
            Effect::Destructive => "destructive",
        }
    }

    /// The effect of that name; `None` for any other text.
    pub fn parse(name: &str) -> Option<Self> {
        [Effect::Read, Effect::Idempotent, Effect::Write, Effect::Destructive]
            .into_iter()
            .find(|effect| effect.as_str() == name)
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a tool's effect was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EffectSource {
    /// The server's own annotations, believed because it is trusted for hints.
    Hints,
    /// The agent file.
    Agent,
    /// Nobody said anything: it counts as a write.
    Default,
}

/// A tool by its own name on its own server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolName {
    /// The server's name in the agent file.
    pub server: String,
    /// The tool's name as the server gives it.
    pub tool: String,
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.server, self.tool)
    }
}

/// A tool's name as the model sees it: `server__tool`, at most 64 characters of `[A-Za-z0-9_-]`, unique in a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OfferedName(pub Arc<str>);

impl OfferedName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for OfferedName {
    fn from(name: &str) -> Self {
        OfferedName(name.into())
    }
}

impl fmt::Display for OfferedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Tells whether two schemas take the same calls.
pub fn same_binding(one: &Arc<Value>, other: &Arc<Value>) -> bool {
    Arc::ptr_eq(one, other) || one == other || super::binding(one) == super::binding(other)
}

/// A tool as a run knows it, frozen when the run's tools are listed.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDef {
    /// The name that the model sees.
    pub name: OfferedName,
    /// Whose tool it is.
    pub origin: ToolName,
    /// What the server says of it; empty when it says nothing.
    pub description: Arc<str>,
    /// The server's own JSON Schema for the arguments, an object. Never fetched from, never rewritten.
    pub input_schema: Arc<Value>,
    /// What calling it may do.
    pub effect: Effect,
    /// Where `effect` was learnt.
    pub effect_source: EffectSource,
    /// A destructive or writing tool that says a repeat changes nothing more: its doubt is handled as idempotent.
    pub repeatable: bool,
    /// The server denies, in so many words, that the tool destroys anything (`destructiveHint: false`).
    pub additive: bool,
    /// BLAKE3 over server, name, description, schema and annotations as the server gave them, in hexadecimal: a
    /// tool whose hash differs later is another tool.
    pub hash: Arc<str>,
}

impl ToolDef {
    /// Tells whether a call of this tool means the same under the `other` definition: what binds of the schema is equal, and so
    /// is the effect. Descriptions, defaults and order may differ.
    pub fn binds_as(&self, other: &ToolDef) -> bool {
        let effects = |it: &ToolDef| (it.effect, it.repeatable, it.additive);
        effects(self) == effects(other) && same_binding(&self.input_schema, &other.input_schema)
    }

    /// A tool of a program that asks models by itself and does what they call: it has no server, counts as a write, and
    /// its name stands for its hash.
    pub fn new(name: &str, description: impl Into<Arc<str>>, input_schema: Value) -> Self {
        ToolDef {
            name: name.into(),
            origin: ToolName { server: String::new(), tool: name.to_owned() },
            description: description.into(),
            input_schema: Arc::new(input_schema),
            effect: Effect::Write,
            effect_source: EffectSource::Default,
            repeatable: false,
            additive: false,
            hash: Arc::from(name),
        }
    }
}
