//! The difference between the tools that a run knows and those that its servers list now.
//!
//! Always true: a tool whose definition is the same stays as it is and where it is, so that the beginning of a request changes
//! as little as possible; and a call that was made under the old definition is looked at again before it is sent.

use crate::{
    agent::Agent,
    chat::{Effect, ToolDef, ToolName},
    mcp::Listing,
    repair::{self, Outcome, ToolSet},
    run::{CallRecord, CallRejected, CallState, Event, Rejection, Run, ToolChange, ToolsChanged, ToolsListed},
};

/// A listing under the rules of the agent file, as an entry.
pub(super) fn listed(mut listing: Listing, agent: &Agent, left_out: &[(String, String)]) -> ToolsListed {
    listing.missing.extend(left_out.iter().cloned());
    listing.missing.sort();
    let mut tools = listing.tools;
    let names: Vec<_> = tools.iter().map(|tool| &tool.origin).collect();
    listing.warnings.extend(agent.idle_rules(&names));
    tools.iter_mut().for_each(|tool| agent.judge(tool));
    ToolsListed { hash: hash(&tools), tools: tools.into(), warnings: listing.warnings, missing: listing.missing }
}

fn hash<'a>(tools: impl IntoIterator<Item = &'a ToolDef>) -> String {
    let mut hash = blake3::Hasher::new();
    for tool in tools {
        hash.update(tool.hash.as_bytes());
    }
    hash.finalize().to_hex().to_string()
}

/// What is new since `known`; `None` when nothing is. Tools of a server that is not there now are kept: that it does not start
/// says nothing of what it offers.
pub(super) fn changes(known: &ToolsListed, now: ToolsListed) -> Option<ToolsChanged> {
    let absent = |tool: &ToolDef| now.missing.iter().any(|(server, _)| *server == tool.origin.server);
    let find = |name: &ToolName| now.tools.iter().find(|tool| tool.origin == *name);
    let (mut changed, mut gone, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for old in known.tools.iter() {
        match find(&old.origin) {
            Some(new) if same(old, new) => kept.push(old),
            Some(new) => {
                let reads = old.effect == Effect::Read && new.effect == Effect::Read;
                changed.push(ToolChange { tool: new.clone(), held: !reads && !old.binds_as(new) });
                kept.push(new);
            }
            None if absent(old) => kept.push(old),
            None => gone.push(old.origin.clone()),
        }
    }
    let is_new = |tool: &&ToolDef| known.tools.iter().all(|old| old.origin != tool.origin);
    let added: Vec<ToolDef> = now.tools.iter().filter(is_new).cloned().collect();
    if changed.is_empty() && gone.is_empty() && added.is_empty() && known.missing == now.missing {
        return None;
    }
    let hash = hash(kept.into_iter().chain(&added));
    Some(ToolsChanged { hash, added, changed, gone, warnings: now.warnings, missing: now.missing })
}

/// Whether nothing of a tool has changed.
fn same(old: &ToolDef, new: &ToolDef) -> bool {
    let judged = |it: &ToolDef| (it.effect, it.repeatable, it.additive);
    old.hash == new.hash && old.name == new.name && judged(old) == judged(new)
}

/// The calls that were not sent yet and cannot be sent as they are, now that the tools have changed. `run` holds the change, and
/// `tools` are those that it has now. A call whose tool binds as before, or whose arguments fit the new schema, stands.
pub(super) fn overtaken(run: &Run, tools: &ToolSet, changed: &ToolsChanged) -> Vec<Event> {
    let ready = |call: &&CallRecord| matches!(call.state, CallState::Ready);
    let rejected = run.calls().filter(ready).filter_map(|call| {
        let resolved = call.resolved.as_ref()?;
        let gone = changed.gone.contains(&resolved.origin);
        let new = changed.changed.iter().map(|change| &change.tool).find(|tool| tool.origin == resolved.origin);
        let reason = match new {
            _ if gone => Rejection::ToolChanged,
            None => return None,
            Some(new) if (new.effect, new.repeatable) != (resolved.effect, resolved.repeatable) => {
                Rejection::ToolChanged
            }
            Some(new) => {
                let mut written = call.written.clone();
                (written.name, written.complete) = (new.name.to_string(), true);
                written.arguments = call.arguments().clone();
                // The arguments were judged once; what does not fit as it stands is the model's to write anew.
                match repair::repair(&written, tools, |_| repair::Policy::Off) {
                    Outcome::Exact(_) => return None,
                    Outcome::Repaired(..) => Rejection::ToolChanged,
                    Outcome::AskAgain(diagnosis) => Rejection::Invalid(diagnosis),
                }
            }
        };
        Some(Event::CallRejected(CallRejected { call: call.id, reason }))
    });
    rejected.collect()
}
