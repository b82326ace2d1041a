//! What one answer to a task is worth, and the request that asks once more with what was wrong. Pure.
//!
//! Calls are checked as the engine checks those of a run, but as they came: what a run would mend is a fault of the endpoint
//! all the same, and is told beside it. The second request is what a run would send: the conversation of a [`Run`] in which
//! the calls were rejected.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::tasks::Task;
use crate::{
    chat::{Answer, CallId, Finish, Message, Part, Request, WrittenCall},
    repair::{
        self, Class, Diagnosis, Outcome, Policy,
        text::{self, Author},
    },
    run::{
        Call, CallRejected, Entry, Event, InputGiven, LEFT_IN_TEXT, Limits, ModelAnswered, ModelAsked, OutputRejected,
        Purpose, Rejection, Run, Started, Time, ToolsListed,
    },
};

/// What an answer to a task is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The call that was asked for, and valid.
    Right,
    /// Valid, but not what was asked for: another tool, other values, or more than one call.
    Other,
    /// No call at all.
    NoCall,
    /// A call that is not valid; the first one's class.
    Wrong(Class),
}

impl Verdict {
    /// All, in the order in which they are shown.
    pub const ALL: [Verdict; 8] = [
        Verdict::Right,
        Verdict::Other,
        Verdict::NoCall,
        Verdict::Wrong(Class::InvalidJson),
        Verdict::Wrong(Class::UnknownName),
        Verdict::Wrong(Class::SchemaMismatch),
        Verdict::Wrong(Class::Truncated),
        Verdict::Wrong(Class::LeftInText),
    ];

    /// Whether a run would have executed it.
    pub fn is_accepted(self) -> bool {
        matches!(self, Verdict::Right | Verdict::Other)
    }

    /// The stable name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Right => "as_asked",
            Verdict::Other => "other_than_asked",
            Verdict::NoCall => "no_call",
            Verdict::Wrong(class) => class.as_str(),
        }
    }
}

/// A judged answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    pub verdict: Verdict,
    /// Each call by the name it was written with, and why it is not valid.
    pub calls: Vec<(String, Option<Diagnosis>)>,
    /// The class of what is wrong, where a run would mend all of it; `None` where nothing is, or where it would ask again.
    pub mended: Option<Class>,
}

impl Judged {
    /// Which calls were right, by tool, for the router's memory. That none came, where one was asked for, is a fault too.
    pub fn lessons<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = (&'a str, bool)> {
        let offered = |name: &'a String| task.tools.get(name).map_or(NO_TOOL, |_| name.as_str());
        let none = (self.verdict == Verdict::NoCall).then_some((task.tool.as_str(), false));
        self.calls.iter().map(move |(name, fault)| (offered(name), fault.is_none())).chain(none)
    }

    /// Whether asking once more with what was wrong can help. Without any call there is nothing to say.
    pub fn can_be_asked_again(&self) -> bool {
        matches!(self.verdict, Verdict::Wrong(_))
    }
}

/// Judges an answer.
pub(super) fn judge(task: &Task, answer: &Answer) -> Judged {
    let given: Vec<WrittenCall> = answer.calls().cloned().collect();
    if !given.is_empty() {
        return judge_calls(task, answer, given, None);
    }
    let complete = answer.finish != Finish::Length;
    let author = Author::named(answer.model.as_deref().unwrap_or_default());
    let left = text::extract(&answer.text(), &task.tools, &author, complete);
    if let Some(attempt) = left.attempt.filter(|attempt| attempt.ends) {
        let fault = Diagnosis { class: Class::LeftInText, text: attempt.diagnosis() };
        let calls = vec![(attempt.name.unwrap_or_default(), Some(fault))];
        return Judged { verdict: Verdict::Wrong(Class::LeftInText), calls, mended: None };
    }
    let left = left.calls;
    if left.is_empty() {
        return Judged { verdict: Verdict::NoCall, calls: Vec::new(), mended: None };
    }
    let in_text = Diagnosis { class: Class::LeftInText, text: IN_TEXT.to_owned() };
    judge_calls(task, answer, left.into_iter().map(WrittenCall::from).collect(), Some(in_text))
}

/// Judges calls, which all have this fault if there is one.
fn judge_calls(task: &Task, answer: &Answer, written: Vec<WrittenCall>, all: Option<Diagnosis>) -> Judged {
    // As in a run: if one call is cut, none of its answer counts.
    let cut = answer.finish == Finish::Length || written.iter().any(|call| !call.complete);
    let (mut calls, mut valid, mut mendable) = (Vec::new(), Vec::new(), !cut);
    for call in written {
        let fault = match repair::repair(&call, &task.tools, |_| Policy::Off) {
            _ if all.is_some() => all.clone(),
            _ if cut => Some(Diagnosis { class: Class::Truncated, text: CUT.to_owned() }),
            Outcome::Exact(it) | Outcome::Repaired(it, _) => {
                valid.push(it);
                None
            }
            Outcome::AskAgain(diagnosis) => Some(diagnosis),
        };
        mendable &= !matches!(repair::repair(&call, &task.tools, Policy::by_effect), Outcome::AskAgain(_));
        calls.push((call.name, fault));
    }
    let first = calls.iter().find_map(|(_, fault)| fault.as_ref().map(|diagnosis| diagnosis.class));
    let asked = |it: &repair::Valid| {
        it.name == task.tool && serde_json::from_str(&it.arguments).is_ok_and(|arguments: Value| task.wants(&arguments))
    };
    let verdict = match (first, &valid[..]) {
        (Some(class), _) => Verdict::Wrong(class),
        (None, [only]) if asked(only) => Verdict::Right,
        (None, _) => Verdict::Other,
    };
    Judged { verdict, calls, mended: first.filter(|_| mendable) }
}

/// What stands for all names that no tool has: made-up ones must not fill the memory.
const NO_TOOL: &str = "";

const IN_TEXT: &str = "Your answer holds a tool call as text, which is not executed. Make the call as a tool call.";

const CUT: &str = "the answer was cut off, so no call of it was executed; make the call again";

/// The request that asks once more, with what was wrong; `None` when there is nothing to say.
pub(super) fn again(task: &Task, answer: &Answer, judged: &Judged, endpoint: &str) -> Option<Request> {
    if !judged.can_be_asked_again() {
        return None;
    }
    let messages = conversation(task, answer, judged, endpoint)?;
    Some(Request { messages, answers: 1, ..task.request() })
}

/// The conversation of a run that got this answer.
fn conversation(task: &Task, answer: &Answer, judged: &Judged, endpoint: &str) -> Option<Vec<Arc<Message>>> {
    let started = Started {
        agent: "probe".to_owned(),
        definition: "".into(),
        file: String::new(),
        dir: String::new(),
        model: endpoint.to_owned(),
        instructions: None,
        input: None,
        output_schema: None,
        limits: Limits::default(),
        ask_again: 1,
        tool_result_bytes_max: u64::MAX,
        parent: None,
        key: None,
    };
    let listed = ToolsListed {
        hash: String::new(),
        tools: task.tools.tools().clone(),
        warnings: Vec::new(),
        missing: Vec::new(),
    };
    let given =
        InputGiven { inbox: None, by: "probe".to_owned(), parts: vec![Part::Text(task.ask.clone())], stopped: false };
    let asked = ModelAsked {
        turn: 1,
        attempt: 1,
        purpose: Purpose::Turn,
        endpoint: endpoint.to_owned(),
        request_hash: None,
        tokens: 0,
        presumed: None,
        strict: false,
        forced: false,
    };
    let ids = (1..).map(|call| CallId { turn: 1, call });
    let calls: Vec<Call> = answer.calls().zip(ids).map(|(_, id)| Call { id, resolved: None }).collect();
    let rejected = calls.iter().zip(&judged.calls).map(|(call, (_, fault))| {
        let reason = match fault {
            Some(diagnosis) => Rejection::Invalid(diagnosis.clone()),
            None => Rejection::Denied(BESIDE.to_owned()),
        };
        Event::CallRejected(CallRejected { call: call.id, reason })
    });
    // A text gets a word of ours; a call is told by its result.
    let in_text = judged.calls.iter().filter(|_| calls.is_empty()).filter_map(|(_, fault)| fault.as_ref());
    let refused = in_text.map(|diagnosis| {
        Event::OutputRejected(OutputRejected {
            turn: 1,
            diagnosis: diagnosis.text.clone(),
            code: LEFT_IN_TEXT.to_owned(),
        })
    });
    let after: Vec<Event> = rejected.chain(refused).collect();
    let answered = ModelAnswered {
        turn: 1,
        attempt: 1,
        purpose: Purpose::Turn,
        endpoint: endpoint.to_owned(),
        seen: 4,
        parts: answer.parts.clone(),
        calls,
        finish: answer.finish.clone(),
        output: None,
        output_repairs: Vec::new(),
        usage: None,
        cost: None,
        latency: Duration::ZERO,
        provider_id: None,
    };
    let before = [
        Event::Started(Box::new(started)),
        Event::ToolsListed(listed),
        Event::InputGiven(given),
        Event::ModelAsked(asked),
        Event::ModelAnswered(Box::new(answered)),
    ];
    let entries = (0..).zip(before.into_iter().chain(after)).map(|(index, event)| Entry { index, at: Time(0), event });
    let mut run = Run::default();
    for entry in entries {
        // The events are ours and fit; if they did not, the task would not be asked again.
        run.apply(&entry).ok()?;
    }
    Some(run.conversation())
}

const BESIDE: &str = "not run, because another call of the same answer is not valid; make it again if it still applies";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        chat::{AnswerPart, WrittenCall},
        daemon::probe::tasks::bundled,
    };

    fn task() -> Task {
        bundled().unwrap().into_iter().find(|task| task.tool.as_str() == "calendar__find_slot").unwrap()
    }

    fn call(name: &str, arguments: &str) -> AnswerPart {
        let provider_id = Some("x1".to_owned());
        let call = WrittenCall {
            provider_id,
            name: name.to_owned(),
            arguments: arguments.into(),
            complete: true,
            opaque: None,
        };
        AnswerPart::Call(call)
    }

    fn answer(parts: Vec<AnswerPart>) -> Answer {
        Answer { parts, finish: Finish::ToolCalls, usage: None, model: None, id: None }
    }

    fn text(text: &str) -> Answer {
        answer(vec![AnswerPart::Text(text.into())])
    }

    #[test]
    fn answers_are_worth_what_a_run_would_make_of_them() {
        let task = task();
        let right = task.arguments.to_string();
        let slot = "calendar__find_slot";
        let mut off = task.arguments.clone();
        off["minutes"] = json!(45);
        let mut wrong = task.arguments.clone();
        wrong["minutes"] = json!("50");
        let query = r#"{"filter":{"all":[],"any":[]},"fields":["id"],"page_size":5}"#;
        let mut cut = call(slot, &right);
        if let AnswerPart::Call(call) = &mut cut {
            call.complete = false;
        }
        let table = [
            (answer(vec![call(slot, &right)]), Verdict::Right),
            (answer(vec![AnswerPart::Text("Here you are.".into()), call(slot, &right)]), Verdict::Right),
            (answer(vec![call(slot, &off.to_string())]), Verdict::Other),
            (answer(vec![call("calendar__query", query)]), Verdict::Other),
            (answer(vec![call(slot, &right), call(slot, &right)]), Verdict::Other),
            (answer(vec![call(slot, &wrong.to_string())]), Verdict::Wrong(Class::SchemaMismatch)),
            (answer(vec![call(slot, "{\"people\": [}")]), Verdict::Wrong(Class::Truncated)),
            (answer(vec![call(slot, "{people: 1}")]), Verdict::Wrong(Class::InvalidJson)),
            (answer(vec![call("find", &right)]), Verdict::Wrong(Class::UnknownName)),
            (answer(vec![call(slot, &right), call("find", &right)]), Verdict::Wrong(Class::UnknownName)),
            (answer(vec![cut]), Verdict::Wrong(Class::Truncated)),
            (Answer { finish: Finish::Length, ..answer(vec![call(slot, &right)]) }, Verdict::Wrong(Class::Truncated)),
            (text("I cannot look into calendars."), Verdict::NoCall),
            (text("I would call calendar__find_slot with the values {as given}."), Verdict::NoCall),
            (text(&format!("{{\"name\": \"{slot}\", \"arguments\": {right}}}")), Verdict::Wrong(Class::LeftInText)),
            (text(&format!("<function={slot}>\n<parameter=minutes>50</parameter>")), Verdict::Wrong(Class::LeftInText)),
            (text("<tool_call> is how calls begin"), Verdict::NoCall),
            (text(""), Verdict::NoCall),
        ];
        for (answer, expected) in table {
            assert_eq!(judge(&task, &answer).verdict, expected, "{answer:?}");
        }
    }

    #[test]
    fn what_a_run_would_mend_is_told() {
        let task = task();
        let right = task.arguments.to_string();
        let slot = "calendar__find_slot";
        let mut loose = task.arguments.clone();
        loose["minutes"] = json!(loose["minutes"].to_string());
        let mut lacking = task.arguments.clone();
        lacking.as_object_mut().unwrap().shift_remove("minutes");
        let comma = format!("{},}}", right.strip_suffix('}').unwrap());
        for (answer, mended) in [
            (answer(vec![call(slot, &right)]), None),
            (answer(vec![call(slot, &loose.to_string())]), Some(Class::SchemaMismatch)),
            (answer(vec![call(slot, &comma)]), Some(Class::InvalidJson)),
            (answer(vec![call("find_slot", &right)]), Some(Class::UnknownName)),
            (answer(vec![call(slot, &comma), call(slot, &lacking.to_string())]), None),
            (answer(vec![call(slot, &right[..right.len() / 2])]), None),
            (text(&format!("<tool_call>{{\"name\": \"{slot}\", \"arguments\": {right}}}")), Some(Class::LeftInText)),
            (text("No."), None),
        ] {
            assert_eq!(judge(&task, &answer).mended, mended, "{answer:?}");
        }
    }

    #[test]
    fn the_memory_learns_of_each_call_and_of_none() {
        let task = task();
        let lessons = |answer: &Answer| -> Vec<(String, bool)> {
            judge(&task, answer).lessons(&task).map(|(name, right)| (name.to_owned(), right)).collect()
        };
        let named = |name: &str, right| (name.to_owned(), right);
        let slot = "calendar__find_slot";
        let both = answer(vec![call(slot, &task.arguments.to_string()), call("find", "{}")]);
        assert_eq!(lessons(&both), [named(slot, true), named("", false)]);
        assert_eq!(lessons(&text("No.")), [named(slot, false)]);
        assert_eq!(lessons(&text(&format!("{slot} {{}}"))), [named(slot, false)]);
    }

    #[test]
    fn asking_again_tells_what_was_wrong_and_nothing_more() {
        let task = task();
        let slot = "calendar__find_slot";
        let asked_again = |answer: &Answer| again(&task, answer, &judge(&task, answer), "a/m").map(|it| it.messages);
        assert_eq!(asked_again(&answer(vec![call(slot, &task.arguments.to_string())])), None);
        assert_eq!(asked_again(&text("No.")), None);

        // A call of an offered tool with an object goes back with an error as its result.
        let messages = asked_again(&answer(vec![call(slot, "{\"minutes\": 1}")])).unwrap();
        assert_eq!(messages.len(), 3);
        assert!(
            matches!(&*messages[1], Message::Assistant(parts) if matches!(&parts[..], [Part::Call(_)])),
            "{messages:?}"
        );
        let Message::Tool(result) = &*messages[2] else { panic!("no result: {messages:?}") };
        assert!(
            result.is_error && format!("{:?}", result.content).contains("the key \\\"people\\\" is missing"),
            "{result:?}"
        );

        // What cannot go back as a call is told in words; so is a call that stood in the text.
        let in_text = format!("<tool_call>{{\"name\": \"{slot}\", \"arguments\": {{}}}}</tool_call>");
        for wrong in [answer(vec![call("find", "{}")]), text(&in_text)] {
            let messages = asked_again(&wrong).unwrap();
            assert!(matches!(messages.last().map(|last| &**last), Some(Message::User(_))), "{messages:?}");
        }

        // A valid call beside a wrong one is told that it did not run.
        let both = answer(vec![call(slot, &task.arguments.to_string()), call(slot, "{}")]);
        let messages = asked_again(&both).unwrap();
        assert!(format!("{:?}", messages[2]).contains("another call of the same answer"), "{messages:?}");
    }
}
