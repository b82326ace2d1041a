//! Short words for runs, answers and calls, and a judge that turns what a model says into events.

use std::{sync::Arc, time::Duration};

use crate::{
    chat::{
        AnswerPart, CallId, Effect, EffectSource, Finish, Message, OfferedName, Part, ToolDef, ToolName, Usage,
        WrittenCall,
    },
    repair::{Class, Diagnosis, is_object},
    run::*,
};

/// The tools of every run here: name, effect, and whether it may run beside its neighbours.
pub const TOOLS: [(&str, Effect, bool); 6] = [
    ("read", Effect::Read, false),
    ("look", Effect::Read, false),
    ("put", Effect::Idempotent, false),
    ("write", Effect::Write, false),
    ("both", Effect::Write, true),
    ("drop", Effect::Destructive, false),
];

/// Longest that a call may take.
pub const TOTAL: Duration = Duration::from_secs(60);

pub fn id(text: &str) -> CallId {
    text.parse().unwrap()
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn tools() -> Vec<ToolDef> {
    TOOLS
        .iter()
        .map(|(name, effect, _)| ToolDef {
            name: OfferedName::from(*name),
            origin: ToolName { server: "s".to_owned(), tool: (*name).to_owned() },
            description: "".into(),
            input_schema: Arc::new(serde_json::json!({"type": "object"})),
            effect: *effect,
            effect_source: EffectSource::Agent,
            repeatable: false,
            additive: false,
            hash: (*name).into(),
        })
        .collect()
}

pub fn started() -> Started {
    Started {
        agent: "agent".to_owned(),
        definition: "name: agent".into(),
        file: "agent.yaml".to_owned(),
        dir: "/".to_owned(),
        model: "p/m".to_owned(),
        instructions: None,
        input: None,
        output_schema: None,
        limits: Limits::default(),
        ask_again: 2,
        tool_result_bytes_max: 1000,
        parent: None,
        key: None,
    }
}

pub fn listed() -> Event {
    Event::ToolsListed(ToolsListed {
        hash: "h".to_owned(),
        tools: tools().into(),
        warnings: Vec::new(),
        missing: Vec::new(),
    })
}

/// What a person says after stopping the answer before.
pub fn stopped_with(text: &str) -> Event {
    let parts = vec![Part::text(text)];
    Event::InputGiven(InputGiven { inbox: None, by: "ada".to_owned(), parts, stopped: true })
}

/// The servers define this tool otherwise.
pub fn redefined(name: &str, held: bool) -> Event {
    let tool = tools().into_iter().find(|tool| tool.name.as_str() == name).unwrap();
    let tool = ToolDef { description: "otherwise".into(), ..tool };
    Event::ToolsChanged(ToolsChanged {
        hash: "i".to_owned(),
        added: Vec::new(),
        changed: vec![ToolChange { tool, held }],
        gone: Vec::new(),
        warnings: Vec::new(),
        missing: Vec::new(),
    })
}

pub fn claimed(epoch: u64) -> Event {
    Event::Claimed(Claimed { epoch, node: "node".to_owned() })
}

pub fn input(text: &str) -> Event {
    Event::InputGiven(InputGiven { inbox: None, by: "ada".to_owned(), parts: vec![Part::text(text)], stopped: false })
}

pub fn cancel() -> Event {
    Event::CancelAsked(CancelAsked { inbox: None, by: "ada".to_owned() })
}

/// The time that was waited for is there.
pub fn woken() -> Event {
    Event::Woken(Woken { by: "timer".to_owned() })
}

/// Somebody wants the run to go on.
pub fn nudged() -> Event {
    Event::Woken(Woken { by: "resume".to_owned() })
}

pub fn limited(limits: Limits) -> Event {
    Event::LimitsChanged(LimitsChanged { inbox: None, by: "ada".to_owned(), limits })
}

pub fn given(call: &str, decision: Decision) -> Event {
    let shown = "{}".into();
    Event::ApprovalGiven(ApprovalGiven { call: id(call), inbox: None, by: "ada".to_owned(), decision, shown })
}

/// Somebody sets a rule for the rest of the run.
pub fn policy(pattern: &str, allow: bool) -> Event {
    Event::PolicyGiven(PolicyGiven {
        pattern: pattern.to_owned(),
        exact: false,
        allow,
        inbox: None,
        by: "ada".to_owned(),
    })
}

pub fn resolved(call: &str, resolution: Resolution) -> Event {
    Event::DoubtResolved(DoubtResolved { call: id(call), inbox: None, by: "ada".to_owned(), resolution })
}

pub fn ended(end: End) -> Event {
    Event::Ended(Ended { end })
}

pub fn failed(attempt: u32) -> Event {
    Event::AttemptFailed(AttemptFailed {
        attempt,
        endpoint: "p/m".to_owned(),
        class: "transient".to_owned(),
        message: "no".to_owned(),
        latency: Duration::ZERO,
        discarded: String::new(),
        usage: None,
        cost: None,
        estimated: false,
    })
}

pub fn asked(turn: u32, attempt: u32) -> Event {
    let endpoint = "p/m".to_owned();
    Event::ModelAsked(ModelAsked {
        turn,
        attempt,
        purpose: Purpose::Turn,
        endpoint,
        request_hash: None,
        tokens: 0,
        presumed: None,
        strict: false,
        forced: false,
    })
}

pub fn waiting(kind: WaitKind, until: Option<Time>) -> Event {
    Event::Waiting(Waiting { kind, until, message: "no".to_owned(), code: "code".to_owned() })
}

pub fn paused(call: &str) -> Event {
    Event::ToolPaused(ToolPaused { call: id(call), request: "{}".into() })
}

pub fn lost(call: CallId, attempt: u32) -> Event {
    Event::CallLost(CallLost { call, attempt, evidence: "gone".to_owned(), timed_out: false })
}

pub fn finished(call: CallId, attempt: u32, text: &str) -> Event {
    Event::ToolFinished(Box::new(ToolFinished {
        call,
        attempt,
        sent: true,
        content: vec![Part::text(text)],
        structured: None,
        is_error: false,
        notes: Vec::new(),
        latency: Duration::ZERO,
    }))
}

/// The call certainly never went out.
pub fn never_sent(call: CallId, attempt: u32) -> Event {
    let Event::ToolFinished(mut finished) = finished(call, attempt, NEVER_SENT) else { unreachable!() };
    (finished.sent, finished.is_error) = (false, true);
    Event::ToolFinished(finished)
}

/// What the model is told then.
pub const NEVER_SENT: &str = "not sent";

/// A call as a model writes it, whole.
pub fn written(name: &str, arguments: &str) -> WrittenCall {
    WrittenCall { provider_id: None, name: name.to_owned(), arguments: arguments.into(), complete: true, opaque: None }
}

/// What a model says.
#[derive(Debug, Clone)]
pub struct Say {
    pub parts: Vec<AnswerPart>,
    pub finish: Finish,
}

impl Say {
    pub fn text(text: &str) -> Self {
        Say { parts: vec![AnswerPart::Text(text.into())], finish: Finish::Stop }
    }

    pub fn written(calls: impl IntoIterator<Item = WrittenCall>) -> Self {
        Say { parts: calls.into_iter().map(AnswerPart::Call).collect(), finish: Finish::ToolCalls }
    }

    /// Calls from `read 1, write 2, nonsense`: a tool and its only argument.
    pub fn calls(calls: &str) -> Self {
        Say::written(calls.split(", ").map(|call| {
            let (name, argument) = call.split_once(' ').unwrap_or((call, "0"));
            written(name, &format!(r#"{{"n":{argument}}}"#))
        }))
    }
}

/// Who must be asked about which tool, and what is done about doubts.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Tools that a person is asked about.
    pub approve: Vec<&'static str>,
    /// Why.
    pub reason: ApprovalReason,
    pub expire: Option<Duration>,
    pub on_expire_allow: bool,
    /// Tools that policy refuses.
    pub deny: Vec<&'static str>,
    /// In place of what the effect stands for.
    pub on_doubt: Option<OnDoubt>,
}

impl Default for Rules {
    fn default() -> Self {
        let reason = ApprovalReason::Policy;
        Rules { approve: Vec::new(), reason, expire: None, on_expire_allow: false, deny: Vec::new(), on_doubt: None }
    }
}

impl Rules {
    pub fn resolve(&self, call: &WrittenCall) -> Result<Resolved, Rejection> {
        let invalid = |class, text: &str| Rejection::Invalid(Diagnosis { class, text: text.to_owned() });
        let Some((name, effect, parallel)) = TOOLS.iter().find(|(name, ..)| *name == call.name) else {
            return Err(invalid(Class::UnknownName, "no such tool"));
        };
        if !is_object(&call.arguments) {
            return Err(invalid(Class::InvalidJson, "no JSON object"));
        }
        if self.deny.contains(name) {
            return Err(Rejection::Denied("the policy refuses it".to_owned()));
        }
        Ok(Resolved {
            retry: None,
            name: OfferedName::from(*name),
            origin: ToolName { server: "s".to_owned(), tool: (*name).to_owned() },
            arguments: None,
            repairs: Vec::new(),
            effect: *effect,
            repeatable: false,
            parallel: *parallel,
            on_doubt: self.on_doubt.unwrap_or(match effect {
                Effect::Read | Effect::Idempotent => OnDoubt::Retry,
                Effect::Write => OnDoubt::Tell,
                Effect::Destructive => OnDoubt::Ask,
            }),
            approve: self.approve.contains(name).then_some(Approve {
                reason: self.reason,
                expire: self.expire,
                on_expire_allow: self.on_expire_allow,
            }),
            idle: TOTAL,
            total: TOTAL,
        })
    }
}

/// The answer as events. With an output schema, whatever is a JSON object fits.
pub fn judge(rules: &Rules, run: &Run, turn: u32, attempt: u32, seen: u64, say: &Say) -> Vec<Event> {
    let schema = run.started().unwrap().output_schema.is_some();
    let calls: Vec<_> = say
        .parts
        .iter()
        .filter_map(|part| match part {
            AnswerPart::Call(call) => Some(call.clone()),
            _ => None,
        })
        .collect();
    let text: String =
        say.parts.iter().map(|part| if let AnswerPart::Text(text) = part { &**text } else { "" }).collect();
    let cut = say.finish == Finish::Length || calls.iter().any(|call| !call.complete);
    let rejected = |text: &str| OutputRejected { turn, diagnosis: text.to_owned(), code: "mismatch".to_owned() };
    let mismatch = || Rejection::Invalid(Diagnosis { class: Class::SchemaMismatch, text: "does not fit".to_owned() });
    let truncated = || Rejection::Invalid(Diagnosis { class: Class::Truncated, text: "cut off".to_owned() });
    let (mut output, mut refused, mut rejections) = (None, None, Vec::new());
    let mut records = Vec::new();
    let mut parts = say.parts.clone();
    for (nth, call) in (0..).zip(&calls) {
        let call_id = run.call_id(turn, nth);
        let verdict = if cut {
            Err(if call.complete { Rejection::CutAnswer } else { truncated() })
        } else if schema && call.name == FINAL_ANSWER {
            match (calls.len(), is_object(&call.arguments)) {
                (1, true) => {
                    output = Some(call.arguments.clone());
                    continue;
                }
                (1, false) => {
                    refused = Some(rejected("does not fit"));
                    Err(mismatch())
                }
                _ => Err(Rejection::NotAlone),
            }
        } else {
            rules.resolve(call)
        };
        records.push(Call { id: call_id, resolved: verdict.as_ref().ok().cloned() });
        rejections.extend(verdict.err().map(|reason| Event::CallRejected(CallRejected { call: call_id, reason })));
    }
    if let Some(output) = &output {
        parts = vec![AnswerPart::Text(output.clone())];
    }
    if calls.is_empty() {
        match () {
            () if say.finish == Finish::Paused => {}
            () if cut => refused = Some(OutputRejected { code: "cut".to_owned(), ..rejected("cut off") }),
            () if text.is_empty() => refused = Some(OutputRejected { code: "empty".to_owned(), ..rejected("empty") }),
            () if schema && !is_object(&text) => refused = Some(rejected("no JSON object")),
            () => output = Some(text.into()),
        }
    }
    let answered = ModelAnswered {
        turn,
        attempt,
        purpose: Purpose::Turn,
        endpoint: "p/m".to_owned(),
        seen,
        parts,
        calls: records,
        finish: say.finish.clone(),
        output,
        output_repairs: Vec::new(),
        usage: Some(Usage { input: 90, output: 10, ..Usage::default() }),
        cost: Some(NanoDollars(1000)),
        latency: Duration::ZERO,
        provider_id: None,
    };
    let mut events = vec![Event::ModelAnswered(Box::new(answered))];
    events.extend(rejections);
    events.extend(refused.map(Event::OutputRejected));
    events
}

/// A run that is played by hand.
#[derive(Clone)]
pub struct Play {
    pub run: Run,
    pub entries: Vec<Entry>,
    pub rules: Rules,
    pub now: Time,
}

impl Play {
    /// A run that was started, claimed, prompted, and knows its tools.
    pub fn new(started: Started) -> Self {
        let mut play = Play { run: Run::default(), entries: Vec::new(), rules: Rules::default(), now: Time(1_000_000) };
        for event in [Event::Started(Box::new(started)), claimed(1), input("do it"), listed()] {
            play.push(event);
        }
        play
    }

    pub fn with(rules: Rules) -> Self {
        Play { rules, ..Play::new(started()) }
    }

    pub fn limited(limits: Limits) -> Self {
        Play::new(Started { limits, ..started() })
    }

    pub fn with_output(ask_again: u32) -> Self {
        Play::new(Started { output_schema: Some(r#"{"type":"object"}"#.into()), ask_again, ..started() })
    }

    pub fn push(&mut self, event: Event) {
        let entry = Entry { index: self.entries.len() as u64, at: self.now, event };
        self.run.apply(&entry).unwrap_or_else(|misfit| panic!("{misfit}: {entry:?}"));
        self.entries.push(entry);
    }

    /// Why the event does not fit; refusing it must change nothing.
    pub fn refuses(&self, event: Event) -> String {
        let mut run = self.run.clone();
        let misfit = run.apply(&Entry { index: self.entries.len() as u64, at: self.now, event: event.clone() });
        let Err(misfit) = misfit else { panic!("{event:?} was taken") };
        assert_eq!(format!("{run:?}"), format!("{:?}", self.run), "refusing changed the run");
        misfit.reason
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Records all that follows from the state, and returns it.
    pub fn settle(&mut self) -> Vec<Event> {
        let mut recorded = Vec::new();
        loop {
            let record = self.run.next().record;
            if record.is_empty() {
                return recorded;
            }
            assert!(recorded.len() < 100, "this never ends: {recorded:?}");
            for event in record {
                self.push(event.clone());
                recorded.push(event);
            }
        }
    }

    /// Sends the request that is wanted.
    pub fn ask(&mut self) -> Ask {
        self.settle();
        let ask = self.run.next().ask.expect("no model is to be asked");
        self.push(asked(ask.turn, self.run.tally().attempts as u32 + 1));
        ask
    }

    /// What comes back for the request in flight.
    pub fn answer(&mut self, seen: u64, say: Say) {
        let attempt = self.run.tally().attempts as u32;
        let turn = self.run.next().ask.map_or(self.run.turn() + 1, |ask| ask.turn);
        for event in judge(&self.rules, &self.run, turn, attempt, seen, &say) {
            self.push(event);
        }
    }

    /// Asks, and takes the answer with all that follows from it.
    pub fn says(&mut self, say: Say) {
        self.settle();
        let seen = self.run.length();
        self.ask();
        self.answer(seen, say);
        self.settle();
    }

    pub fn calls(&mut self, calls: &str) {
        self.says(Say::calls(calls));
    }

    /// The calls that should be in flight, `t1c1` or, when not sent yet, `+t1c1`; with `after` where one must be over.
    pub fn wanted(&self) -> String {
        let want = self.run.next();
        assert_eq!(want.record, []);
        let calls = want.calls.iter().map(|call| {
            let (sent, after) = (if call.started { "" } else { "+" }, if call.after.is_some() { " after" } else { "" });
            format!("{sent}{}{after}", call.call)
        });
        calls.collect::<Vec<_>>().join(", ")
    }

    /// Sends every call that is due.
    pub fn start(&mut self) {
        self.settle();
        for want in self.run.next().calls.into_iter().filter(|want| !want.started) {
            self.push(self.sending(want.call, want.attempt));
        }
    }

    pub fn sending(&self, call: CallId, attempt: u32) -> Event {
        let record = self.run.call(call).unwrap();
        Event::ToolStarted(ToolStarted {
            call,
            attempt,
            idempotency_key: call.to_string(),
            effect: record.resolved.as_ref().map_or(Effect::Write, |resolved| resolved.effect),
            arguments: record.edited.clone(),
            deadline: self.now.after(TOTAL),
            guard: None,
            origin: Origin::Model,
        })
    }

    fn attempt(&self, call: &str) -> u32 {
        self.run.call(id(call)).unwrap().attempts
    }

    pub fn finish(&mut self, call: &str) {
        self.push(finished(id(call), self.attempt(call), call));
    }

    pub fn lose(&mut self, call: &str) {
        self.push(lost(id(call), self.attempt(call)));
    }

    /// Sends and answers calls until the model is to be asked or the run waits or ends.
    pub fn work(&mut self) {
        loop {
            self.start();
            let calls = self.run.next().calls;
            if calls.is_empty() {
                return;
            }
            for want in calls {
                self.finish(&want.call.to_string());
            }
        }
    }

    pub fn state(&self, call: &str) -> &CallState {
        &self.run.call(id(call)).unwrap().state
    }

    /// The conversation, a line a message.
    pub fn told(&self) -> Vec<String> {
        assert_upstream(&self.run);
        self.run.conversation().iter().map(|message| line(message)).collect()
    }
}

/// A message in one line: who, and what.
pub fn line(message: &Message) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.to_string(),
        Part::Call(call) => format!("<{} {} {}>", call.id, call.name, call.arguments),
        Part::Image(_) => "<image>".to_owned(),
        Part::Audio(_) => "<audio>".to_owned(),
        Part::Document(_) => "<document>".to_owned(),
        Part::Reasoning(_) => "<reasoning>".to_owned(),
        Part::Opaque(_) => "<opaque>".to_owned(),
    };
    let parts = |parts: &[Part]| parts.iter().map(part).collect::<Vec<_>>().join(" | ");
    match message {
        Message::User(said) => format!("user: {}", parts(said)),
        Message::Assistant(said) => format!("assistant: {}", parts(said)),
        Message::Tool(result) => {
            format!("{}{}: {}", result.call, if result.is_error { "!" } else { "" }, parts(&result.content))
        }
    }
}

/// What holds for every conversation that goes to a model.
pub fn assert_upstream(run: &Run) {
    let messages = run.conversation();
    let all = || messages.iter().map(|message| line(message)).collect::<Vec<_>>().join("\n");
    assert!(matches!(messages.first().map(|it| &**it), Some(Message::User(_))), "begins with a person:\n{}", all());
    assert!(!matches!(messages.last().map(|it| &**it), Some(Message::Assistant(_))), "ends with a model:\n{}", all());
    let has_output = run.started().unwrap().output_schema.is_some();
    let mut open: Vec<CallId> = Vec::new();
    let mut seen = Vec::new();
    let blank = |part: &Part| matches!(part, Part::Text(text) if text.trim().is_empty());
    for message in &messages {
        let parts = match &**message {
            Message::User(parts) | Message::Assistant(parts) => parts,
            Message::Tool(result) => &result.content,
        };
        assert!(!parts.is_empty() && !parts.iter().any(blank), "a message without content:\n{}", all());
        if let Message::Tool(result) = &**message {
            assert_eq!(open.first(), Some(&result.call), "a result out of place:\n{}", all());
            open.remove(0);
            continue;
        }
        assert_eq!(open, [], "calls without a result:\n{}", all());
        for part in parts {
            let Part::Call(call) = part else { continue };
            assert!(matches!(&**message, Message::Assistant(_)), "only models call:\n{}", all());
            assert!(!seen.contains(&call.id), "{} twice:\n{}", call.id, all());
            assert!(is_object(&call.arguments), "arguments {:?}", call.arguments);
            let offered = TOOLS.iter().any(|(name, ..)| *name == call.name.as_str());
            assert!(offered || has_output && call.name.as_str() == FINAL_ANSWER, "name {}", call.name);
            seen.push(call.id);
            open.push(call.id);
        }
    }
    assert_eq!(open, [], "calls without a result:\n{}", all());
}
