//! What others posted to a run, as events. What no longer fits becomes a note, so that it is seen and taken in once.

use std::sync::Arc;

use super::judge;
use crate::{
    agent::{Agent, Approval},
    chat::CallId,
    journal::{Posted, Unreadable, What},
    repair::{self, Outcome, ToolSet},
    run::{
        ApprovalGiven, CallRecord, CallState, CancelAsked, Decision, DoubtResolved, End, Event, InputGiven,
        LimitsChanged, Noted, PolicyGiven, Run,
    },
    store::InboxId,
};

/// The code of a note that a posted item changed nothing.
pub const IGNORED: &str = "post_ignored";

/// What a posted item comes to, given where the run stands; nothing if the run holds it already.
///
/// `agent` is `None` when its definition cannot be read any more; then nobody can edit arguments.
pub(super) fn events(
    run: &Run,
    tools: &ToolSet,
    agent: Option<&Agent>,
    id: InboxId,
    posted: Result<Posted, Unreadable>,
) -> Vec<Event> {
    let id = id.to_string();
    if run.has_taken(&id) {
        return Vec::new();
    }
    let item = Some(id);
    let note = |message: String| vec![Event::Noted(Noted { code: IGNORED.to_owned(), message, inbox: item.clone() })];
    let (by, at, what) = match posted {
        Ok(posted) => (posted.by, posted.at, posted.what),
        Err(error) => return note(error.to_string()),
    };
    match what {
        What::Prompt { parts } => {
            vec![Event::InputGiven(InputGiven { inbox: item.clone(), by, parts, stopped: false })]
        }
        What::Approval { call, decision, shown, for_run } => match run.call(call) {
            Some(record) if record.takes(&decision) => {
                let expired = record.asked.as_ref().and_then(|asked| asked.expires).is_some_and(|by| by < at);
                // Who says no before anything was sent is heard, whatever the end of the question would have come to.
                if expired && !matches!(decision, Decision::Deny(_)) {
                    return note(format!("{by} decided about {call} after the question had expired"));
                }
                if *shown != **record.arguments() {
                    return note(format!("{by} decided about {call} with other arguments than it has"));
                }
                if let Err(why) = check_edit(record, tools, agent, &decision) {
                    return note(format!("{call} cannot run with the arguments that {by} gave: {why}"));
                }
                let allow = !matches!(decision, Decision::Deny(_));
                let policy = for_run.map(|tool| PolicyGiven {
                    pattern: tool,
                    exact: true,
                    allow,
                    inbox: item.clone(),
                    by: by.clone(),
                });
                let given = ApprovalGiven { call, inbox: item.clone(), by, decision, shown };
                let policy = policy.map(Event::PolicyGiven);
                [Event::ApprovalGiven(given)].into_iter().chain(policy).collect()
            }
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

/// Checks what a person put in place of a call's arguments; the error says what is wrong with it. Nothing is wrong when
/// nothing was edited.
fn check_edit(record: &CallRecord, tools: &ToolSet, agent: Option<&Agent>, decision: &Decision) -> Result<(), String> {
    let Decision::Edit(arguments) = decision else { return Ok(()) };
    let agent = agent.ok_or("the agent's definition cannot be read any more")?;
    let resolved = record.resolved.as_ref().ok_or("the call is not valid")?;
    let parsed = serde_json::from_str(arguments).map_err(|error| format!("they are no JSON: {error}"))?;
    let mut edited = record.written.clone();
    edited.name = resolved.name.to_string();
    edited.arguments = Arc::clone(arguments);
    edited.complete = true;
    // A person's own words are run as they stand.
    match repair::repair(&edited, tools, |_| repair::Policy::Off) {
        Outcome::Exact(_) => {}
        Outcome::Repaired(..) => return Err("they are not exact".to_owned()),
        Outcome::AskAgain(diagnosis) => return Err(diagnosis.text),
    }
    // Who edits has a word on this call, and not on what the file refuses.
    match agent.approval(&resolved.origin, &parsed) {
        Ok(Approval::Deny) => Err(judge::refusal(agent, &resolved.origin)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Checks arguments that a person would put in place of those of a call that waits for approval, as they will be checked
/// when the decision arrives.
///
/// # Errors
/// What is wrong with them, for people.
pub fn check_arguments(run: &Run, agent: &Agent, call: CallId, arguments: &str) -> Result<(), String> {
    let record = run.call(call).ok_or_else(|| format!("this run has no call {call}"))?;
    let tools = run.tools().map(|listed| listed.tools.clone()).unwrap_or_default();
    let (tools, _) = ToolSet::new(tools);
    check_edit(record, &tools, Some(agent), &Decision::Edit(arguments.into()))
}

fn late(call: CallId, record: Option<&CallRecord>, otherwise: &str, by: &str) -> String {
    let decided = record.and_then(|record| record.decided.as_ref());
    match (record, decided) {
        (Some(_), Some(first)) => {
            let what = match first.decision {
                Decision::Allow => "allowed it",
                Decision::Edit(_) => "allowed it with other arguments",
                Decision::Deny(_) => "refused it",
            };
            format!("{call} is decided already: {} {what}; what {by} says of it comes too late", first.by)
        }
        (Some(_), None) => format!("{by} decided about {call}, which {otherwise} (any more)"),
        (None, _) => format!("{by} decided about {call}, which this run does not have"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        chat::{AnswerPart, Effect, EffectSource, Finish, OfferedName, ToolDef, ToolName, WrittenCall},
        run::{
            ApprovalAsked, ApprovalReason, Approve, Call, Entry, Limits, ModelAnswered, ModelAsked, OnDoubt, Purpose,
            Resolved, Started, Time, ToolsListed,
        },
    };

    const AGENT: &str = "version: 1\nname: a\nmodel: demo/any\nservers: {s: {command: x}}\n\
                         policy: {s.write: {approve: deny, when: args.n > 100}}\n";

    fn agent() -> Agent {
        Agent::parse("a.yaml", AGENT).unwrap()
    }

    fn tool() -> ToolDef {
        ToolDef {
            name: OfferedName::from("s__write"),
            origin: ToolName { server: "s".to_owned(), tool: "write".to_owned() },
            description: "".into(),
            input_schema: Arc::new(json!({
                "type": "object",
                "properties": {"n": {"type": "integer"}},
                "required": ["n"],
            })),
            effect: Effect::Write,
            effect_source: EffectSource::Default,
            repeatable: false,
            additive: false,
            hash: "".into(),
        }
    }

    fn push(run: &mut Run, at: Time, event: Event) {
        run.apply(&Entry { index: run.length(), at, event }).unwrap();
    }

    /// A run that waits for a word on `t1c1` and `t1c2`, until the time 1,000.
    fn waiting() -> Run {
        let mut run = Run::default();
        let started = Started {
            agent: "a".to_owned(),
            definition: AGENT.into(),
            file: "a.yaml".to_owned(),
            dir: "/".to_owned(),
            model: "demo/any".to_owned(),
            instructions: None,
            input: None,
            output_schema: None,
            limits: Limits::default(),
            ask_again: 2,
            tool_result_bytes_max: 1000,
            parent: None,
            key: None,
        };
        let written = || WrittenCall {
            provider_id: None,
            name: "s__write".to_owned(),
            arguments: r#"{"n": 1}"#.into(),
            complete: true,
            opaque: None,
        };
        let minute = std::time::Duration::from_secs(60);
        let call = |call| Call {
            id: CallId { turn: 1, call },
            resolved: Some(Resolved {
                retry: None,
                name: tool().name,
                origin: tool().origin,
                arguments: None,
                repairs: Vec::new(),
                effect: Effect::Write,
                repeatable: false,
                parallel: false,
                on_doubt: OnDoubt::Tell,
                approve: Some(Approve { reason: ApprovalReason::Policy, expire: None, on_expire_allow: false }),
                idle: minute,
                total: minute,
            }),
        };
        let asked = |call| ApprovalAsked {
            call: CallId { turn: 1, call },
            reason: ApprovalReason::Policy,
            expires: Some(Time(1000)),
        };
        let answered = ModelAnswered {
            turn: 1,
            attempt: 1,
            purpose: Purpose::Turn,
            endpoint: "demo/any".to_owned(),
            seen: 3,
            parts: vec![AnswerPart::Call(written()), AnswerPart::Call(written())],
            calls: vec![call(1), call(2)],
            finish: Finish::ToolCalls,
            output: None,
            usage: None,
            cost: None,
            latency: minute,
            provider_id: None,
            output_repairs: vec![],
        };
        let model = ModelAsked {
            turn: 1,
            attempt: 1,
            purpose: Purpose::Turn,
            endpoint: "demo/any".to_owned(),
            request_hash: None,
            tokens: 0,
            presumed: None,
            strict: false,
            forced: false,
        };
        let tools = vec![tool()].into();
        for event in [
            Event::Started(Box::new(started)),
            Event::ToolsListed(ToolsListed { hash: String::new(), tools, warnings: vec![], missing: vec![] }),
            Event::ModelAsked(model),
            Event::ModelAnswered(Box::new(answered)),
            Event::ApprovalAsked(asked(1)),
            Event::ApprovalAsked(asked(2)),
        ] {
            push(&mut run, Time(1), event);
        }
        run
    }

    /// Takes in a decision, and says what it came to.
    fn decide(
        run: &mut Run,
        item: u8,
        by: &str,
        at: i64,
        call: &str,
        decision: Decision,
        for_run: bool,
    ) -> Vec<String> {
        let (tools, _) = ToolSet::new(Arc::from([tool()]));
        let for_run = for_run.then(|| "s.write".to_owned());
        let what = What::Approval { call: call.parse().unwrap(), decision, shown: r#"{"n": 1}"#.into(), for_run };
        let posted = Posted { by: by.to_owned(), at: Time(at), what };
        let events = events(run, &tools, Some(&agent()), InboxId([item; 16]), Ok(posted));
        let told = events.iter().map(|event| match event {
            Event::ApprovalGiven(given) => format!("{} {:?} by {}", given.call, given.decision, given.by),
            Event::PolicyGiven(given) => format!("{} {} by {}", given.pattern, given.allow, given.by),
            Event::Noted(noted) => format!("{}: {}", noted.code, noted.message),
            event => format!("{event:?}"),
        });
        let told = told.collect();
        events.into_iter().for_each(|event| push(run, Time(at), event));
        told
    }

    #[test]
    fn of_two_decisions_the_first_wins_and_the_second_is_told() {
        let mut run = waiting();
        let mut decide = |item, by, decision| decide(&mut run, item, by, 10, "t1c1", decision, false);
        assert_eq!(decide(1, "ada@a", Decision::Allow), ["t1c1 Allow by ada@a"]);
        assert_eq!(decide(1, "ada@a", Decision::Allow), [""; 0], "the same item again");
        assert_eq!(
            decide(2, "bob@b", Decision::Deny(None)),
            ["post_ignored: t1c1 is decided already: ada@a allowed it; what bob@b says of it comes too late"]
        );
    }

    #[test]
    fn a_word_counts_from_when_it_was_given_and_not_from_when_it_was_taken_in() {
        let mut run = waiting();
        push(&mut run, Time(5000), Event::Claimed(crate::run::Claimed { epoch: 1, node: "n".to_owned() }));
        assert_eq!(decide(&mut run, 1, "ada@a", 1000, "t1c1", Decision::Allow, false), ["t1c1 Allow by ada@a"]);
        assert_eq!(
            decide(&mut run, 2, "ada@a", 1001, "t1c2", Decision::Allow, false),
            ["post_ignored: ada@a decided about t1c2 after the question had expired"]
        );
        let [Event::ApprovalGiven(given)] = &run.next().record[..] else { panic!("the other one expires") };
        assert_eq!((given.by.as_str(), given.call.to_string().as_str()), ("expiry", "t1c2"));
        assert_eq!(
            decide(&mut run, 3, "bob@b", 1002, "t1c2", Decision::Deny(None), false),
            ["t1c2 Deny(None) by bob@b"],
            "a no is heard until something is done"
        );
    }

    #[test]
    fn a_word_for_the_run_is_a_rule_beside_the_decision() {
        let mut run = waiting();
        assert_eq!(
            decide(&mut run, 1, "ada@a", 10, "t1c2", Decision::Deny(None), true),
            ["t1c2 Deny(None) by ada@a", "s.write false by ada@a"]
        );
        let [Event::ApprovalGiven(given)] = &run.next().record[..] else {
            panic!("the rule answers the other question")
        };
        assert_eq!((given.by.as_str(), given.call.to_string().as_str()), ("policy", "t1c1"));
    }

    #[test]
    fn edited_arguments_are_checked_as_they_stand() {
        let mut run = waiting();
        let mut item = 0;
        let mut edit = |text: &str| {
            item += 1;
            decide(&mut run, item, "ada@a", 10, "t1c1", Decision::Edit(text.into()), false).concat()
        };
        for (text, why) in [
            (r#"{"n": "two"}"#, "n"),
            (r#"{"n": 2, }"#, "post_ignored"),
            ("{}", "missing"),
            (r#"{"n": 101}"#, "the policy of this agent refuses s.write with these arguments"),
        ] {
            let told = edit(text);
            assert!(told.starts_with("post_ignored: t1c1 cannot run with") && told.contains(why), "{text}: {told}");
        }
        assert_eq!(edit(r#"{"n": 22}"#), r#"t1c1 Edit("{\"n\": 22}") by ada@a"#);
        let t1c1 = "t1c1".parse().unwrap();
        assert_eq!(&**run.call(t1c1).unwrap().arguments(), r#"{"n": 22}"#);
        assert_eq!(check_arguments(&waiting(), &agent(), t1c1, r#"{"n": 22}"#), Ok(()));
        assert!(check_arguments(&waiting(), &agent(), t1c1, r#"{"m": 22}"#).is_err());
    }
}
