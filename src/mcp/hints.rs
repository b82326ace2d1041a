//! What a server's annotations say of a tool's effect, and how far that is believed.

use serde_json::Value;

use super::server::{Server, Trust};
use crate::chat::{Effect, EffectSource};

/// The annotations that tell of effects (MCP `ToolAnnotations`, 2025-03-26 and later); `None` where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Hints {
    read_only: Option<bool>,
    destructive: Option<bool>,
    idempotent: Option<bool>,
}

/// What is taken for a tool's effect; the fields as in [`ToolDef`](crate::chat::ToolDef).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// What calling it may do.
    pub effect: Effect,
    /// Where that was learnt.
    pub source: EffectSource,
    /// A repeat changes nothing more.
    pub repeatable: bool,
    /// It certainly destroys nothing.
    pub additive: bool,
}

/// What the annotations of a tool say, when its server is trusted for hints.
pub fn believed(annotations: &Value) -> Judged {
    Hints::read(annotations).believed()
}

impl Hints {
    /// Reads annotations; what is no boolean says nothing.
    pub fn read(annotations: &Value) -> Self {
        let hint = |name: &str| annotations.get(name).and_then(Value::as_bool);
        Hints {
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            idempotent: hint("idempotentHint"),
        }
    }

    /// The effect of a tool with these hints. What the agent file says of the tool goes before what it says of the server, and
    /// both go before the hints.
    pub fn judge(self, server: &Server, tool: &str) -> Judged {
        let hinted = match server.trust {
            Trust::Hints => self.believed(),
            Trust::None => Hints::default().believed(),
        };
        match server.effects.get(tool).copied().or(server.effect) {
            None => hinted,
            // Hints that the operator agrees with keep their finer points; with others nothing is taken for granted.
            Some(effect) if effect == hinted.effect => Judged { source: EffectSource::Agent, ..hinted },
            Some(effect) => Judged { effect, source: EffectSource::Agent, repeatable: false, additive: false },
        }
    }

    fn believed(self) -> Judged {
        let effect = match self {
            Hints { read_only: Some(true), .. } => Effect::Read,
            Hints { destructive: Some(true), .. } => Effect::Destructive,
            Hints { idempotent: Some(true), .. } => Effect::Idempotent,
            _ => Effect::Write,
        };
        let silent = self == Hints::default();
        Judged {
            effect,
            source: if silent { EffectSource::Default } else { EffectSource::Hints },
            repeatable: effect == Effect::Destructive && self.idempotent == Some(true),
            additive: self.destructive == Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(annotations: Value, server: &Server) -> (Effect, EffectSource, bool, bool) {
        let Judged { effect, source, repeatable, additive } = Hints::read(&annotations).judge(server, "tool");
        (effect, source, repeatable, additive)
    }

    #[test]
    fn the_first_hint_that_matches_decides() {
        use Effect::{Destructive, Idempotent, Read, Write};
        use EffectSource::{Default, Hints};
        let server = Server::stdio("s", "s");
        let table = [
            (json!(null), (Write, Default, false, false)),
            (json!({"title": "T", "openWorldHint": true}), (Write, Default, false, false)),
            (json!({"readOnlyHint": true, "destructiveHint": true}), (Read, Hints, false, false)),
            (json!({"destructiveHint": true}), (Destructive, Hints, false, false)),
            (json!({"destructiveHint": true, "idempotentHint": true}), (Destructive, Hints, true, false)),
            (json!({"idempotentHint": true}), (Idempotent, Hints, false, false)),
            (json!({"idempotentHint": true, "destructiveHint": false}), (Idempotent, Hints, false, true)),
            (json!({"readOnlyHint": false, "destructiveHint": false}), (Write, Hints, false, true)),
            (json!({"readOnlyHint": "yes", "idempotentHint": 1}), (Write, Default, false, false)),
        ];
        for (annotations, wanted) in table {
            assert_eq!(judged(annotations.clone(), &server), wanted, "{annotations}");
        }
    }

    #[test]
    fn an_untrusted_server_is_not_believed() {
        let server = Server::stdio("s", "s").trust(Trust::None);
        let harmless = json!({"readOnlyHint": true, "destructiveHint": false});
        assert_eq!(judged(harmless, &server), (Effect::Write, EffectSource::Default, false, false));
    }

    #[test]
    fn the_agent_file_overrides_by_server_and_by_tool() {
        let server = Server::stdio("s", "s").effect(Effect::Read);
        let destroys = json!({"destructiveHint": true, "idempotentHint": true});
        assert_eq!(judged(destroys.clone(), &server), (Effect::Read, EffectSource::Agent, false, false));
        let server = server.tool_effect("tool", Effect::Destructive);
        assert_eq!(judged(destroys, &server), (Effect::Destructive, EffectSource::Agent, true, false));
    }
}
