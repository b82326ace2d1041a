//! What others posted to a run, as events. What no longer fits becomes a note, so that it is seen and taken in once.

use std::sync::Arc;

use crate::{
    chat::CallId,
    journal::{Posted, Unreadable, What},
    repair::{self, Outcome, ToolSet},
    run::{
        ApprovalGiven, CallRecord, CallState, CancelAsked, Decision, DoubtResolved, End, Event, InputGiven,
        LimitsChanged, Noted, Run,
    },
    store::InboxId,
};

/// What a posted item comes to, given where the run stands; nothing if the run holds it already.
pub(super) fn events(run: &Run, tools: &ToolSet, id: InboxId, posted: Result<Posted, Unreadable>) -> Vec<Event> {
    let id = id.to_string();
    if run.has_taken(&id) {
        return Vec::new();
    }
    let item = Some(id);
    let note =
        |message: String| vec![Event::Noted(Noted { code: "post_ignored".to_owned(), message, inbox: item.clone() })];
    let (by, what) = match posted {
        Ok(posted) => (posted.by, posted.what),
        Err(error) => return note(error.to_string()),
    };
    match what {
        What::Prompt { parts } => vec![Event::InputGiven(InputGiven { inbox: item.clone(), by, parts })],
        What::Approval { call, decision, shown } => match run.call(call) {
            Some(record) if record.undecided() => match unfit(record, tools, &decision) {
                Some(why) => note(format!("the edited arguments of {call} by {by} do not fit: {why}")),
                None => vec![Event::ApprovalGiven(ApprovalGiven { call, inbox: item.clone(), by, decision, shown })],
            },
            record => note(late(call, record, "asks for no approval", &by)),
        },
        What::Doubt { call, resolution } => match run.call(call) {
            Some(record) if matches!(record.state, CallState::Lost(_)) => {
                vec![Event::DoubtResolved(DoubtResolved { call, inbox: item.clone(), by, resolution })]
            }
            record => note(late(call, record, "is in no doubt", &by)),
        },
        What::Cancel => match run.end() {
            None | Some(End::Exhausted { .. }) => vec![Event::CancelAsked(CancelAsked { inbox: item.clone(), by })],
            Some(_) => note(format!("{by} cancelled the run after it had ended")),
        },
        What::Limits { limits } => vec![Event::LimitsChanged(LimitsChanged { inbox: item.clone(), by, limits })],
    }
}

/// Why edited arguments cannot be run; `None` when they can, or nothing was edited.
fn unfit(record: &CallRecord, tools: &ToolSet, decision: &Decision) -> Option<String> {
    let Decision::Edit(arguments) = decision else { return None };
    let mut edited = record.written.clone();
    edited.name = record.resolved.as_ref()?.name.to_string();
    edited.arguments = Arc::clone(arguments);
    edited.complete = true;
    // A person's own words are run as they stand.
    match repair::repair(&edited, tools, |_| repair::Policy::Off) {
        Outcome::Exact(_) => None,
        Outcome::Repaired(..) => Some("they are not exact".to_owned()),
        Outcome::AskAgain(diagnosis) => Some(diagnosis.text),
    }
}

fn late(call: CallId, record: Option<&CallRecord>, otherwise: &str, by: &str) -> String {
    match record {
        Some(_) => format!("{by} decided about {call}, which {otherwise} (any more)"),
        None => format!("{by} decided about {call}, which this run does not have"),
    }
}
