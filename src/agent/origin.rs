//! What decides about a tool, and where that stands: a line of the policy, its server, or nothing of the file.

use super::{Agent, Approval, Condition, Effect};
use crate::{
    chat::{EffectSource, ToolDef, ToolName},
    yaml::Place,
};

/// Where the file says something of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said<'a> {
    /// In a rule of `policy`.
    Policy {
        /// Its pattern.
        pattern: &'a str,
        /// Where it stands.
        place: Place,
    },
    /// In the tool's server.
    Server(Place),
    /// In `approvals`.
    Approvals(Place),
    /// Nowhere: the default holds.
    Default,
}

impl Said<'_> {
    /// The place; `None` for what the file does not say.
    pub fn place(&self) -> Option<Place> {
        match self {
            Said::Policy { place, .. } | Said::Server(place) | Said::Approvals(place) => Some(*place),
            Said::Default => None,
        }
    }

    /// The word for it in documents.
    pub fn as_str(&self) -> &'static str {
        match self {
            Said::Policy { .. } => "policy",
            Said::Server(_) => "server",
            Said::Approvals(_) => "approvals",
            Said::Default => "default",
        }
    }
}

impl Agent {
    /// The effect that the file gives a tool, and where; `None` when it leaves that to the server's hints.
    pub fn effect_of(&self, tool: &ToolName) -> Option<(Effect, Said<'_>)> {
        let by_rule = self
            .rules_for(tool)
            .into_iter()
            .find_map(|rule| Some((rule.effect?, Said::Policy { pattern: &rule.pattern, place: rule.place })));
        by_rule.or_else(|| {
            let server = self.server_of(tool)?;
            Some((server.effect?, Said::Server(server.place)))
        })
    }

    /// Whether calls of a tool run whatever their arguments are, and where the file says so. A `deny` beats all.
    pub fn approval_of(&self, tool: &ToolName) -> (Approval, Said<'_>) {
        let mut rules = self.rules_for(tool);
        rules.retain(|rule| rule.when.is_none());
        let denied = rules.iter().find(|rule| rule.approve == Some(Approval::Deny));
        match denied.or_else(|| rules.iter().find(|rule| rule.approve.is_some())) {
            Some(rule) => (
                rule.approve.unwrap_or(self.approvals.default),
                Said::Policy { pattern: &rule.pattern, place: rule.place },
            ),
            None => (self.approvals.default, self.approvals_place.map_or(Said::Default, Said::Approvals)),
        }
    }

    /// The words that the file has on calls of a tool for some arguments: the word, for which, and where. The most specific
    /// first.
    pub fn conditional(&self, tool: &ToolName) -> Vec<(Approval, &Condition, Said<'_>)> {
        let rules = self.rules_for(tool).into_iter();
        let told = rules.filter_map(|rule| {
            let (word, when) = (rule.approve?, rule.when.as_ref()?);
            Some((word, when, Said::Policy { pattern: &rule.pattern, place: rule.place }))
        });
        told.collect()
    }

    /// Gives a listed tool the effect that the file says. Hints that the file agrees with keep their finer points; with
    /// others nothing is taken for granted.
    pub fn judge(&self, tool: &mut ToolDef) {
        let Some((effect, _)) = self.effect_of(&tool.origin) else { return };
        if effect != tool.effect {
            (tool.repeatable, tool.additive) = (matches!(effect, Effect::Read | Effect::Idempotent), false);
        }
        (tool.effect, tool.effect_source) = (effect, EffectSource::Agent);
    }
}
