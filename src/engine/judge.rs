//! What a model's answer comes to: each call checked, named and put under its policy, as the events that say so.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    agent::{Agent, Approval, Unclear},
    chat::{Answer, AnswerPart, Effect, EffectSource, Finish, OfferedName, ToolDef, ToolName, WrittenCall},
    repair::{self, Class, Diagnosis, Outcome, Repair, Schema, ToolSet, Valid, text::Attempt},
    run::{
        ApprovalReason, Approve, Ask, Call, CallRejected, Event, FINAL_ANSWER, LEFT_IN_TEXT, ModelAnswered,
        NanoDollars, Noted, OnDoubt, OutputRejected, Rejection, Resolved, Run,
    },
};

/// What holds for every answer of a run.
pub(super) struct Rules<'a> {
    pub agent: &'a Agent,
    pub tools: &'a ToolSet,
    /// The schema of the final answer; `None` for free text.
    pub output: Option<&'a Schema>,
    pub allow_all: bool,
}

/// Where an answer came from.
pub(super) struct Origin {
    pub ask: Ask,
    pub attempt: u32,
    pub endpoint: Arc<str>,
    pub seen: u64,
    pub latency: Duration,
    /// What it cost; `None` when that is unknown.
    pub cost: Option<NanoDollars>,
}

/// The tool through which a final answer comes when other tools are on offer.
fn offer_output(schema: &Arc<serde_json::Value>) -> ToolDef {
    ToolDef {
        name: FINAL_ANSWER.into(),
        origin: ToolName { server: "agentd".to_owned(), tool: FINAL_ANSWER.to_owned() },
        description: "Gives the final answer and ends the work. Call it alone, when nothing is left to do.".into(),
        input_schema: schema.clone(),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: true,
        additive: true,
        hash: "".into(),
    }
}

/// The answer as an event, and the rejections that come with it. `attempt` is something like a call in its text.
pub(super) fn judge(
    rules: &Rules<'_>,
    run: &Run,
    answer: Answer,
    attempt: Option<&Attempt>,
    origin: Origin,
) -> Vec<Event> {
    let written: Vec<&WrittenCall> = answer.calls().collect();
    let cut = !written.is_empty() && (answer.finish == Finish::Length || written.iter().any(|call| !call.complete));
    let mut output = None;
    let mut output_repairs = Vec::new();
    let mut refused = None;
    let mut verdicts: Vec<Result<Option<Resolved>, Rejection>> = Vec::with_capacity(written.len());
    for call in &written {
        let verdict = match check(rules, call, cut) {
            Checked::Cut => Err(cut_call(call)),
            Checked::Output(_) if written.len() > 1 => Err(Rejection::NotAlone),
            Checked::Output(Ok((value, repairs))) => {
                (output, output_repairs) = (Some(value), repairs);
                Ok(None)
            }
            Checked::Output(Err(diagnosis)) => {
                refused = Some(OutputRejected {
                    turn: origin.ask.turn,
                    diagnosis: diagnosis.text.clone(),
                    code: "mismatch".to_owned(),
                });
                Err(Rejection::Invalid(diagnosis))
            }
            Checked::Call(Ok((valid, repairs))) => admit(rules, run, call, valid, repairs, false).map(Some),
            Checked::Call(Err(diagnosis)) => Err(Rejection::Invalid(diagnosis)),
        };
        verdicts.push(verdict);
    }
    let missed = verdicts.iter().all(|verdict| matches!(verdict, Err(Rejection::Invalid(_)))) && refused.is_none();
    if missed && run.is_last_asking(&origin.ask, origin.seen, &written) {
        propose(rules, run, &written, &mut verdicts);
    }
    let mut calls = Vec::with_capacity(written.len());
    let mut rejections = Vec::new();
    let mut notes = Vec::new();
    for (nth, verdict) in (0..).zip(verdicts) {
        let id = run.call_id(origin.ask.turn, nth);
        let (resolved, rejection) = match verdict {
            Ok(resolved) => (resolved, None),
            Err(rejection) => (None, Some(rejection)),
        };
        let written = written.get(nth as usize).map_or("{}", |call| &call.arguments);
        notes.extend(resolved.as_ref().and_then(|resolved| failed_condition(rules, resolved, written)));
        rejections.extend(rejection.map(|reason| CallRejected { call: id, reason }));
        calls.push(Call { id, resolved });
    }
    // What was interrupted goes on.
    if written.is_empty() && answer.finish != Finish::Paused {
        // Behind which text goes on, it may well be spoken of: then the answer stands the second time.
        let attempt = attempt.filter(|attempt| attempt.ends || origin.ask.again == 0);
        match text_output(rules.output, &answer, attempt, run.output_rejected().0 == 0) {
            Ok(text) => output = Some(text),
            Err((code, diagnosis)) => {
                refused = Some(OutputRejected { turn: origin.ask.turn, diagnosis, code: code.to_owned() });
            }
        }
    }
    // A final answer by call is the output itself: nothing of it is left to run.
    let final_call = output.is_some() && !calls.is_empty();
    let parts = answer.parts.into_iter().filter(|part| !(final_call && matches!(part, AnswerPart::Call(_))));
    let answered = ModelAnswered {
        turn: origin.ask.turn,
        attempt: origin.attempt,
        purpose: origin.ask.purpose,
        endpoint: origin.endpoint.to_string(),
        seen: origin.seen,
        parts: parts.chain(output.as_ref().filter(|_| final_call).map(|text| AnswerPart::Text(text.clone()))).collect(),
        calls: if final_call { Vec::new() } else { calls },
        finish: answer.finish,
        output,
        output_repairs,
        usage: answer.usage,
        cost: origin.cost,
        latency: origin.latency,
        provider_id: answer.id,
    };
    let mut events = vec![Event::ModelAnswered(Box::new(answered))];
    events.extend(rejections.into_iter().map(Event::CallRejected));
    events.extend(refused.map(Event::OutputRejected));
    events.extend(notes.into_iter().map(Event::Noted));
    events
}

/// Which of the calls that a model wrote were right, by tool, as `events` judge them. What had to be mended, or found in the
/// text, was not right as it came; what was not run for another reason than its own faults counts as right.
pub(super) fn verdicts<'a>(written: &'a [String], events: &'a [Event]) -> impl Iterator<Item = (&'a str, bool)> {
    let rejections =
        || events.iter().filter_map(|event| if let Event::CallRejected(it) = event { Some(it) } else { None });
    let answered = events.iter().find_map(|event| if let Event::ModelAnswered(it) = event { Some(it) } else { None });
    let wrong = move |id| rejections().any(|it| it.call == id && matches!(it.reason, Rejection::Invalid(_)));
    let mended = |call: &Call| call.resolved.as_ref().is_some_and(|resolved| !resolved.repairs.is_empty());
    let right = move |call: &Call| !wrong(call.id) && !mended(call);
    // A final answer that came as a call has become the output.
    let output = answered.filter(|it| it.output.is_some()).map(|it| it.output_repairs.is_empty());
    let right = answered.into_iter().flat_map(|it| &it.calls).map(right).chain(output);
    written.iter().map(String::as_str).zip(right)
}

/// A call of an answer that was cut: the cut one is told so, a whole one is merely not run.
fn cut_call(call: &WrittenCall) -> Rejection {
    if call.complete {
        return Rejection::CutAnswer;
    }
    Rejection::Invalid(Diagnosis {
        class: Class::Truncated,
        text: format!(
            "the call was cut off after {} bytes of arguments and was not executed; make it again, in smaller parts",
            call.arguments.len()
        ),
    })
}

/// A call after the ladder, with its repairs: one of the run's tools, or the final answer.
enum Checked {
    /// Not even looked at.
    Cut,
    Call(Result<(Valid, Vec<Repair>), Diagnosis>),
    Output(Result<(Arc<str>, Vec<Repair>), Diagnosis>),
}

/// Climbs the ladder. The final answer is a read, and what fits its form is taken as it is, with whatever else it holds.
fn check(rules: &Rules<'_>, call: &WrittenCall, cut: bool) -> Checked {
    if cut {
        return Checked::Cut;
    }
    let is_output = |name: &str| rules.output.is_some() && name == FINAL_ANSWER;
    if let Some(schema) = rules.output.filter(|_| call.name == FINAL_ANSWER)
        && schema.check(&call.arguments).is_ok()
    {
        return Checked::Output(Ok((call.arguments.clone(), Vec::new())));
    }
    let (valid, repairs) = match repair::repair(call, rules.tools, |tool| rules.agent.repairs_for(tool)) {
        Outcome::Exact(valid) => (valid, Vec::new()),
        Outcome::Repaired(valid, repairs) => (valid, repairs),
        Outcome::AskAgain(diagnosis) if is_output(&call.name) => return Checked::Output(Err(diagnosis)),
        Outcome::AskAgain(diagnosis) => return Checked::Call(Err(diagnosis)),
    };
    match is_output(valid.name.as_str()) {
        true => Checked::Output(Ok((valid.arguments, repairs))),
        false => Checked::Call(Ok((valid, repairs))),
    }
}

/// The text of an answer without calls as the run's output. `first`: none was refused before.
fn text_output(
    schema: Option<&Schema>,
    answer: &Answer,
    attempt: Option<&Attempt>,
    first: bool,
) -> Result<Arc<str>, (&'static str, String)> {
    let text = answer.text();
    if answer.finish == Finish::Length {
        return Err(("cut", "Your answer was cut off at the limit of tokens. Give it again, shorter.".to_owned()));
    }
    if text.trim().is_empty() {
        return Err(("empty", "Your answer was empty. Give the final answer, or call a tool.".to_owned()));
    }
    if let Some(attempt) = attempt {
        return Err((LEFT_IN_TEXT, attempt.diagnosis()));
    }
    match schema {
        // A server that announces a call has lost it; one that does so again announces calls with every answer.
        None if answer.finish == Finish::ToolCalls && first => Err((
            "no_call",
            "Your answer ended as if it held a call, but none came. Make the call, or give the final answer."
                .to_owned(),
        )),
        None => Ok(text.into()),
        Some(schema) => match schema.check(text.trim()) {
            Ok(_) => Ok(text.trim().into()),
            Err(diagnosis) => Err((
                "mismatch",
                format!("The final answer must be JSON that fits the agreed schema: {}", diagnosis.text),
            )),
        },
    }
}

/// Puts the calls of an answer that nobody will be asked for again to a person, where they have one reading that only the
/// policy stands against. What stands behind a call that has none would not be run, so there it ends. Where repairs are
/// off, none is made in anybody's name.
fn propose(
    rules: &Rules<'_>,
    run: &Run,
    written: &[&WrittenCall],
    verdicts: &mut [Result<Option<Resolved>, Rejection>],
) {
    let policy = |tool: &ToolDef| match rules.agent.repairs_for(tool) {
        repair::Policy::Off => repair::Policy::Off,
        repair::Policy::Lossless | repair::Policy::Unique => repair::Policy::Unique,
    };
    for (call, verdict) in written.iter().zip(verdicts) {
        let Outcome::Repaired(valid, repairs) = repair::repair(call, rules.tools, policy) else { return };
        *verdict = admit(rules, run, call, valid, repairs, true).map(Some);
    }
}

/// A valid call under the rules for its tool. One that was mended `beyond` its policy waits for a person whatever else
/// holds: that calls may run without asking (`--yes`, a rule for the run, silence) is said of calls that models make, and
/// this one is what we take the model to have meant.
fn admit(
    rules: &Rules<'_>,
    run: &Run,
    call: &WrittenCall,
    valid: Valid,
    repairs: Vec<Repair>,
    beyond: bool,
) -> Result<Resolved, Rejection> {
    let Some(tool) = rules.tools.get(valid.name.as_str()) else {
        let text = format!("there is no tool {:?}", valid.name.as_str());
        return Err(Rejection::Invalid(Diagnosis { class: Class::UnknownName, text }));
    };
    let policy = rules.agent.policy_for(&tool.origin);
    let ask = |reason| {
        let approvals = &rules.agent.approvals;
        // What may have to be refused, or was not said so, is not allowed by silence.
        let on_expire_allow = approvals.on_expire_allow && reason == ApprovalReason::Policy;
        Some(Approve { reason, expire: approvals.expire, on_expire_allow })
    };
    let approve = match approval(rules, run, tool, &valid.arguments) {
        Ok(Approval::Deny) => return Err(Rejection::Denied(refusal(rules.agent, &tool.origin))),
        _ if beyond => ask(ApprovalReason::Repaired),
        Err(_) => ask(ApprovalReason::Unclear),
        Ok(Approval::Allow) if is_unchecked(rules, run, tool) => ask(ApprovalReason::Unchecked),
        Ok(Approval::Allow) => None,
        Ok(Approval::Ask | Approval::AskOnWrite) => ask(ApprovalReason::Policy),
    };
    Ok(Resolved {
        arguments: (valid.arguments != call.arguments).then_some(valid.arguments),
        repairs,
        effect: tool.effect,
        repeatable: tool.repeatable,
        parallel: policy.parallel,
        on_doubt: policy.on_doubt.unwrap_or(on_doubt(rules.agent, tool.effect)),
        approve,
        idle: policy.timeout,
        total: policy.total_timeout,
        retry: policy.retry_timeout,
        name: valid.name,
        origin: tool.origin.clone(),
    })
}

/// Whether nobody has checked the arguments of a call that may change something, and nobody has said that such calls may
/// run all the same: by a rule of the agent file for this very tool, by a rule for the run, or with `--yes`.
fn is_unchecked(rules: &Rules<'_>, run: &Run, tool: &ToolDef) -> bool {
    let named = |pattern: &str| pattern == tool.origin.to_string();
    tool.effect != Effect::Read
        && !rules.tools.checks(tool.name.as_str())
        && !rules.allow_all
        && run.policy_on(&tool.origin).is_none()
        && !rules.agent.rules.iter().any(|rule| rule.approve == Some(Approval::Allow) && named(&rule.pattern))
}

/// Which condition of the agent file could not be told for a call, so that a person is asked.
fn failed_condition(rules: &Rules<'_>, resolved: &Resolved, written: &str) -> Option<Noted> {
    resolved.approve.as_ref().filter(|approve| approve.reason == ApprovalReason::Unclear)?;
    let arguments = serde_json::from_str(resolved.arguments.as_deref().unwrap_or(written)).unwrap_or_default();
    let unclear = rules.agent.approval(&resolved.origin, &arguments).err()?;
    Some(Noted { code: "condition_failed".to_owned(), message: unclear.to_string(), inbox: None })
}

/// What a model is told when the agent file refuses its call.
pub(super) fn refusal(agent: &Agent, tool: &ToolName) -> String {
    let with = if agent.policy_for(tool).approve == Some(Approval::Deny) { "" } else { " with these arguments" };
    format!("the policy of this agent refuses {tool}{with}")
}

fn on_doubt(agent: &Agent, effect: Effect) -> OnDoubt {
    match effect {
        Effect::Read | Effect::Idempotent => OnDoubt::Retry,
        Effect::Write => agent.on_doubt.write,
        Effect::Destructive => agent.on_doubt.destructive,
    }
}

/// The word on a call: what was set while the run goes on, then the agent file, then its default. Deny beats all.
fn approval(rules: &Rules<'_>, run: &Run, tool: &ToolDef, arguments: &str) -> Result<Approval, Unclear> {
    // Only conditions look at them. Valid arguments are JSON; of nothing, no condition can be told.
    let looked_at = rules.agent.has_conditions();
    let arguments = if looked_at { serde_json::from_str(arguments).unwrap_or_default() } else { Value::Null };
    let by_file = rules.agent.approval(&tool.origin, &arguments);
    let word = match (by_file, run.policy_on(&tool.origin)) {
        (Ok(Approval::Deny), _) => Approval::Deny,
        (_, Some(given)) if !given.allow => Approval::Deny,
        (Err(unclear), _) => return Err(unclear),
        (Ok(_), Some(_)) => Approval::Allow,
        (Ok(word), None) => word,
    };
    Ok(match word {
        Approval::AskOnWrite if tool.effect == Effect::Read => Approval::Allow,
        Approval::Ask | Approval::AskOnWrite if rules.allow_all => Approval::Allow,
        word => word,
    })
}

/// The tools as a request offers them: those of the run, and the final answer behind them when it has a form.
pub(super) fn offer(tools: Arc<[ToolDef]>, output: Option<&Schema>) -> Arc<[ToolDef]> {
    match output {
        Some(schema) if !tools.is_empty() => tools.iter().cloned().chain([offer_output(schema.value())]).collect(),
        _ => tools,
    }
}

/// The name by which the final answer is forced.
pub(super) fn output_name() -> OfferedName {
    FINAL_ANSWER.into()
}
