//! Journals that were written once and must be read for ever.
//!
//! `tests/golden/v1/` has a directory for each released version that added something to the format, and `next` for the
//! release to come. Each holds `frames` (one after the other), `blobs/<hash>` and `entries.jsonl` (what they say).
//! - To take a wanted change into `next`: `AGENTD_GOLDEN_WRITE=next cargo test --lib journal::golden`, then look at the
//!   difference of `entries.jsonl`: lines may gain fields, and nothing else.
//! - At a release: copy `next` to a directory named after the version, and put an empty file `RELEASED` into it. From
//!   then on nothing writes there.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    chat::{
        AnswerPart, CallId, Effect, EffectSource, Finish, Media, MediaSource, OfferedName, Opaque, Part, Reasoning,
        ToolCall, ToolDef, ToolName, Usage, WrittenCall,
    },
    repair::{Class, Diagnosis, Repair, Risk, Span},
    run::*,
    store::BlobHash,
};

use super::{Journal, frame, tests::Shelf, v1};

/// What a golden directory holds.
#[derive(Debug, PartialEq)]
struct Golden {
    frames: Vec<Bytes>,
    blobs: Vec<(BlobHash, Bytes)>,
    lines: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

impl Golden {
    /// Every event, as today's code writes it: the first half under epoch 1, the rest under epoch 2.
    async fn today() -> Golden {
        let events = every_event();
        let half = events.len() / 2;
        let shelf = Arc::new(Shelf::default());
        let mut lines = String::new();
        for events in [&events[..half], &events[half..]] {
            let (mut journal, _) = Journal::claim(shelf.clone(), run_id()).await.unwrap();
            for event in events {
                let at = Time(1_790_000_000_000 + journal.length() as i64);
                let entry = journal.push(at, event.clone()).unwrap();
                lines += &v1::line(&entry);
                lines.push('\n');
            }
            journal.commit().await.unwrap();
        }
        let (frames, blobs) = shelf.contents();
        Golden { frames, blobs, lines }
    }

    fn load(dir: &Path) -> Golden {
        let bytes = Bytes::from(fs::read(dir.join("frames")).unwrap());
        let mut frames = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let payload = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
            frames.push(rest.split_to(frame::HEADER_BYTES + payload));
        }
        let mut blobs: Vec<_> = fs::read_dir(dir.join("blobs"))
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                let hash = blake3::Hash::from_hex(path.file_name().unwrap().as_encoded_bytes()).unwrap();
                (BlobHash(*hash.as_bytes()), fs::read(path).unwrap().into())
            })
            .collect();
        blobs.sort();
        Golden { frames, blobs, lines: fs::read_to_string(dir.join("entries.jsonl")).unwrap() }
    }

    /// Writes this as `dir`, which must not be a released format.
    fn write(&self, dir: &Path) -> io::Result<()> {
        if dir.join("RELEASED").exists() {
            return Err(io::Error::other("this format is released: journals of it exist and never change"));
        }
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir.join("blobs"))?;
        fs::write(dir.join("frames"), self.frames.concat())?;
        for (hash, bytes) in &self.blobs {
            fs::write(dir.join("blobs").join(v1::hex(*hash)), bytes)?;
        }
        fs::write(dir.join("entries.jsonl"), &self.lines)
    }
}

/// Before anything is compared, and once, since tests run side by side.
async fn rewrite_if_wanted() {
    static REWRITTEN: OnceCell<()> = OnceCell::const_new();
    let rewrite = async || {
        if let Some(name) = env::var_os("AGENTD_GOLDEN_WRITE") {
            Golden::today().await.write(&root().join(name)).unwrap();
        }
    };
    REWRITTEN.get_or_init(rewrite).await;
}

#[tokio::test]
async fn todays_events_have_the_bytes_of_the_golden_journal() {
    rewrite_if_wanted().await;
    let today = Golden::today().await;
    let golden = Golden::load(&root().join("next"));
    // The lines first: their difference is the one that a person can read.
    assert_eq!(today.lines, golden.lines);
    assert!(today == golden, "the same lines have other frames or blobs");
}

#[tokio::test]
async fn golden_journals_are_read_as_they_were_written() {
    rewrite_if_wanted().await;
    let mut names = Vec::new();
    for dir in fs::read_dir(root()).unwrap() {
        let dir = dir.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(dir.join("RELEASED").exists(), name != "next", "{name}");
        let golden = Golden::load(&dir);
        let shelf = Shelf::holding(golden.frames, golden.blobs);
        let entries = Journal::read(&shelf, run_id()).await.unwrap();
        let lines: String = entries.iter().map(|entry| v1::line(entry) + "\n").collect();
        assert_eq!(lines, golden.lines, "{name}");
        if name == "next" {
            let mut events = every_event();
            events.iter_mut().for_each(v1::cut_durations);
            assert_eq!(entries.into_iter().map(|entry| entry.event).collect::<Vec<_>>(), events);
        }
        names.push(name);
    }
    assert!(names.contains(&"next".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_released_format_is_not_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let next = dir.path().join("next");
    let today = Golden::today().await;
    today.write(&next).unwrap();
    today.write(&next).unwrap();
    assert_eq!(Golden::load(&next), today);
    fs::write(next.join("RELEASED"), "").unwrap();
    today.write(&next).unwrap_err();
}

/// The golden journal would be worth little if it lacked something.
#[test]
fn the_golden_journal_has_every_kind() {
    let mut kinds: Vec<u16> =
        every_event().iter().map(|event| v1::encode(Time(0), event, &mut Vec::new()).kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, v1::KINDS.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
}

/// Whole numbers alone, no deeper than a reader goes, and every text in its place.
#[test]
fn lines_hold_what_the_format_allows() {
    fn visit(value: &Value, depth: usize) {
        assert!(depth <= v1::DEPTH_MAX / 4);
        match value {
            Value::Number(number) => assert!(number.is_u64() || number.is_i64(), "{number}"),
            Value::Array(items) => items.iter().for_each(|item| visit(item, depth + 1)),
            Value::Object(fields) => {
                assert!(!fields.contains_key("blob"), "{fields:?}");
                fields.values().for_each(|field| visit(field, depth + 1));
            }
            Value::Null => panic!("null says nothing"),
            Value::Bool(_) | Value::String(_) => {}
        }
    }
    for (index, event) in (0..).zip(every_event()) {
        let line: Value = serde_json::from_str(&v1::line(&Entry { index, at: Time(7), event })).unwrap();
        visit(&line, 1);
        assert_eq!((&line["v"], &line["seq"], &line["at_ms"]), (&json!(1), &json!(index), &json!(7)));
    }
}

pub(super) fn run_id() -> RunId {
    "01991f3a-0000-7000-8000-000000000001".parse().unwrap()
}

/// Every event at least once, with every word and choice, with and without what is optional.
pub(crate) fn every_event() -> Vec<Event> {
    let parent = "01991f3a-0000-7000-8000-000000000002".parse().unwrap();
    let call = |call| CallId { turn: 3, call };
    // Long enough for a blob, and named twice.
    let long: Arc<str> = "every line of it is the same\n".repeat(600).into();
    let opaque = |kind: &str| {
        Box::new(Opaque {
            issuer: "anthropic".into(),
            model: "claude-sonnet-5".into(),
            kind: kind.into(),
            data: "EqQBCkYIBxgCKkBzaWduYXR1cmU=".into(),
        })
    };
    let limits = Limits {
        turns: Some(50),
        tool_calls: Some(500),
        tokens: Some(2_000_000),
        cost: Some(NanoDollars(1_500_000_000)),
        active: Some(Duration::from_secs(3600)),
    };
    let usage = Usage { input: 1200, cached: 1000, cache_write: 100, output: 80, reasoning: 30 };
    let name = OfferedName::from("files__write_file");
    let origin = ToolName { server: "files".into(), tool: "write_file".into() };
    let inbox = || Some("00112233445566778899aabbccddeeff".to_owned());
    let by = || "anna".to_owned();

    let tool = |effect, effect_source, tool: &str| ToolDef {
        name: OfferedName(format!("files__{tool}").into()),
        origin: ToolName { server: "files".into(), tool: tool.into() },
        description: "Does it.\nAnd says \"so\".".into(),
        input_schema: Arc::new(
            json!({"type": "object", "properties": {"z": {"type": "number", "maximum": 0.1}, "a": {}}}),
        ),
        effect,
        effect_source,
        repeatable: effect == Effect::Destructive,
        additive: effect == Effect::Write,
        hash: "9f".repeat(32).into(),
    };
    let resolved = |on_doubt, approve| Resolved {
        retry: None,
        name: name.clone(),
        origin: origin.clone(),
        arguments: None,
        repairs: Vec::new(),
        effect: Effect::Write,
        repeatable: false,
        parallel: false,
        on_doubt,
        approve,
        idle: Duration::from_secs(60),
        total: Duration::from_secs(600),
    };
    let answered = ModelAnswered {
        turn: 3,
        attempt: 5,
        purpose: Purpose::Turn,
        endpoint: "openai/gpt-5".into(),
        seen: 9,
        parts: vec![AnswerPart::Text("Done: é ✓".into())],
        calls: Vec::new(),
        finish: Finish::Stop,
        output: None,
        output_repairs: Vec::new(),
        usage: None,
        cost: None,
        latency: Duration::from_micros(1_234_567),
        provider_id: None,
    };
    let repair = Repair {
        rung: "schema".into(),
        kind: "string_to_number".into(),
        path: "/count".into(),
        before: "\"3\"".into(),
        after: "3".into(),
        span: Some(Span { start: 17, end: 20 }),
        risk: Risk::Unique,
    };
    let written = WrittenCall {
        provider_id: Some("call_abc".into()),
        name: "files__write_file".into(),
        arguments: "{ \"path\": \"a.txt\",\n \"text\":\"\\u00e9\" }".into(),
        complete: true,
        opaque: Some(opaque("thought_signature")),
    };
    let finished = ToolFinished {
        call: call(1),
        attempt: 1,
        sent: true,
        content: vec![Part::text("ok")],
        structured: None,
        is_error: false,
        notes: Vec::new(),
        latency: Duration::from_micros(12_345),
    };
    let noted = finished.clone();
    let started = |effect, origin| ToolStarted {
        call: call(1),
        attempt: 1,
        idempotency_key: "5f0c9d".into(),
        effect,
        arguments: None,
        deadline: Time(1_790_000_600_000),
        guard: None,
        origin,
    };
    let approval = |decision| {
        Event::ApprovalGiven(ApprovalGiven { call: call(1), inbox: None, by: by(), decision, shown: "{}".into() })
    };
    let doubt = |resolution| {
        Event::DoubtResolved(DoubtResolved { call: call(1), inbox: None, by: "policy".into(), resolution })
    };
    let rejected = |reason| Event::CallRejected(CallRejected { call: call(2), reason });
    let waiting = |kind| Event::Waiting(Waiting { kind, until: None, message: "soon".into(), code: "later".into() });

    let mut events = vec![
        Event::Started(Box::new(Started {
            agent: "triage".into(),
            definition: "version: 1\nname: triage\n".into(),
            file: "agents/triage.yaml".into(),
            dir: "/srv/agents".into(),
            model: "smart".into(),
            instructions: Some("You sort tickets.".into()),
            input: Some("{\"ticket\": 42}".into()),
            output_schema: Some("{\"type\":\"object\"}".into()),
            limits,
            ask_again: 2,
            tool_result_bytes_max: 65536,
            parent: Some((parent, call(1))),
            key: Some("cron-2026-11-21".into()),
        })),
        Event::Claimed(Claimed { epoch: 1, node: "host-1:4242".into() }),
        Event::InputGiven(InputGiven {
            inbox: None,
            by: by(),
            parts: vec![
                Part::text("sort this"),
                Part::Image(Media {
                    name: None,
                    mime: "image/png".into(),
                    source: MediaSource::Base64("iVBORw0KGgo=".into()),
                }),
                Part::Audio(Media {
                    name: None,
                    mime: "audio/wav".into(),
                    source: MediaSource::Url("https://a.example/b".into()),
                }),
            ],
            stopped: false,
        }),
        Event::InputGiven(InputGiven {
            inbox: inbox(),
            by: by(),
            parts: vec![Part::Text(long.clone())],
            stopped: false,
        }),
        Event::ToolsListed(ToolsListed {
            hash: "3a".repeat(32),
            tools: vec![
                tool(Effect::Read, EffectSource::Hints, "read_file"),
                tool(Effect::Idempotent, EffectSource::Agent, "touch"),
                tool(Effect::Write, EffectSource::Default, "write_file"),
                tool(Effect::Destructive, EffectSource::Hints, "remove"),
            ]
            .into(),
            warnings: vec!["server docs gives a tool twice".into()],
            missing: vec![("docs".into(), "it did not answer within 10 s".into())],
        }),
        Event::ToolsListed(ToolsListed {
            hash: "3b".repeat(32),
            tools: Vec::new().into(),
            warnings: Vec::new(),
            missing: Vec::new(),
        }),
        Event::ModelAsked(ModelAsked {
            turn: 3,
            attempt: 4,
            purpose: Purpose::Output,
            endpoint: "anthropic/claude-sonnet-5".into(),
            request_hash: Some("77".repeat(32)),
            tokens: 4321,
            presumed: Some(NanoDollars(74_403_000)),
            strict: true,
            forced: true,
        }),
        Event::AttemptFailed(AttemptFailed {
            attempt: 4,
            endpoint: "anthropic/claude-sonnet-5".into(),
            class: "rate_limited".into(),
            message: "HTTP 429".into(),
            latency: Duration::from_micros(99_999),
            discarded: "I will".into(),
            usage: Some(Usage { input: 10, ..Usage::default() }),
            cost: Some(NanoDollars(30_000)),
            estimated: true,
        }),
        Event::AttemptFailed(AttemptFailed {
            attempt: 5,
            endpoint: "openai/gpt-5".into(),
            class: "interrupted".into(),
            message: "the program ended".into(),
            latency: Duration::ZERO,
            discarded: String::new(),
            usage: None,
            cost: None,
            estimated: false,
        }),
        Event::ModelAsked(ModelAsked {
            turn: 3,
            attempt: 6,
            purpose: Purpose::Turn,
            endpoint: "openai/gpt-5".into(),
            request_hash: None,
            tokens: 0,
            presumed: None,
            strict: false,
            forced: false,
        }),
        Event::ModelAnswered(Box::new(ModelAnswered {
            parts: vec![
                AnswerPart::Reasoning(Reasoning {
                    text: "I write it.".into(),
                    opaque: Some(opaque("thinking.signature")),
                }),
                AnswerPart::Reasoning(Reasoning { text: "".into(), opaque: None }),
                AnswerPart::Text("Writing.".into()),
                AnswerPart::Call(written.clone()),
                AnswerPart::Call(WrittenCall {
                    provider_id: None,
                    name: String::new(),
                    arguments: "{\"pa".into(),
                    complete: false,
                    opaque: None,
                }),
                AnswerPart::Opaque(opaque("redacted_thinking")),
            ],
            calls: vec![
                Call {
                    id: call(1),
                    resolved: Some(Resolved {
                        retry: Some(Duration::from_secs(120)),
                        arguments: Some("{\"path\":\"a.txt\"}".into()),
                        repairs: vec![repair.clone()],
                        repeatable: true,
                        parallel: true,
                        ..resolved(
                            OnDoubt::Ask,
                            Some(Approve {
                                reason: ApprovalReason::Repaired,
                                expire: Some(Duration::from_secs(86_400)),
                                on_expire_allow: true,
                            }),
                        )
                    }),
                },
                Call { id: call(2), resolved: None },
                Call {
                    id: call(3),
                    resolved: Some(resolved(
                        OnDoubt::Tell,
                        Some(Approve { reason: ApprovalReason::Policy, expire: None, on_expire_allow: false }),
                    )),
                },
                Call { id: call(4), resolved: Some(resolved(OnDoubt::Retry, None)) },
            ],
            finish: Finish::ToolCalls,
            usage: Some(usage),
            cost: Some(NanoDollars(4_200_000)),
            provider_id: Some("chatcmpl-1".into()),
            ..answered.clone()
        })),
        rejected(Rejection::Denied("not on Sundays".into())),
        rejected(Rejection::Behind(call(1))),
        rejected(Rejection::CutAnswer),
        rejected(Rejection::NotAlone),
        Event::ApprovalAsked(ApprovalAsked {
            call: call(1),
            reason: ApprovalReason::HeldRepeat,
            expires: Some(Time(1_790_086_400_000)),
        }),
        Event::ApprovalAsked(ApprovalAsked { call: call(3), reason: ApprovalReason::Policy, expires: None }),
        Event::ApprovalGiven(ApprovalGiven {
            call: call(1),
            inbox: inbox(),
            by: by(),
            decision: Decision::Allow,
            shown: "{\"path\":\"a.txt\"}".into(),
        }),
        approval(Decision::Edit("{\"path\":\"b.txt\"}".into())),
        approval(Decision::Deny(Some("write it elsewhere".into()))),
        approval(Decision::Deny(None)),
        Event::PolicyGiven(PolicyGiven { pattern: "files.*".into(), exact: false, allow: true, inbox: None, by: by() }),
        Event::PolicyGiven(PolicyGiven {
            pattern: "git.*".into(),
            exact: false,
            allow: false,
            inbox: inbox(),
            by: by(),
        }),
        Event::ToolStarted(ToolStarted {
            arguments: Some("{\"path\":\"b.txt\"}".into()),
            guard: Some("g-1".into()),
            ..started(Effect::Write, Origin::Verify)
        }),
        Event::ToolFinished(Box::new(finished.clone())),
        Event::ToolFinished(Box::new(ToolFinished {
            sent: false,
            content: vec![
                Part::Text(long),
                Part::Reasoning(Reasoning { text: "hm".into(), opaque: None }),
                Part::Call(ToolCall {
                    id: call(4),
                    name: name.clone(),
                    arguments: "{}".into(),
                    opaque: Some(opaque("thought_signature")),
                }),
                Part::Opaque(opaque("search_result")),
            ],
            structured: Some("{\"bytes\": 12}".into()),
            is_error: true,
            ..finished
        })),
        Event::CallLost(CallLost {
            call: call(1),
            attempt: 1,
            evidence: "the server's pipe closed".into(),
            timed_out: false,
        }),
        Event::DoubtResolved(DoubtResolved {
            call: call(1),
            inbox: inbox(),
            by: by(),
            resolution: Resolution::Happened(Some("{\"ok\":true}".into())),
        }),
        doubt(Resolution::Happened(None)),
        doubt(Resolution::Told),
        doubt(Resolution::DidNot),
        doubt(Resolution::Retry),
        Event::ToolPaused(ToolPaused { call: call(1), request: "{\"message\":\"which branch?\"}".into() }),
        Event::CancelAsked(CancelAsked { inbox: inbox(), by: by() }),
        Event::CancelAsked(CancelAsked { inbox: None, by: by() }),
        Event::LimitsChanged(LimitsChanged { inbox: inbox(), by: by(), limits }),
        Event::LimitsChanged(LimitsChanged { inbox: None, by: by(), limits: Limits::default() }),
        Event::Waiting(Waiting {
            kind: WaitKind::Provider,
            until: Some(Time(1_790_000_060_000)),
            message: "all endpoints are busy".into(),
            code: "rate_limited".into(),
        }),
        Event::Woken(Woken { by: "timer".into() }),
        Event::OutputRejected(OutputRejected {
            turn: 3,
            diagnosis: "severity is missing".into(),
            code: "mismatch".into(),
        }),
        Event::Compacted(Compacted {
            elided: vec![call(1), call(2)],
            summary: Some("They talked.".into()),
            through: 2,
            text_bytes_max: None,
        }),
        Event::Compacted(Compacted::default()),
        Event::Rebound(Rebound { definition: "version: 1\n".into(), model: Some("openai/gpt-5".into()), by: by() }),
        Event::Rebound(Rebound { definition: "version: 1\n".into(), model: None, by: by() }),
        Event::Forked(Forked { from: parent, at: 12 }),
        Event::Noted(Noted { code: "failover".into(), message: "next endpoint".into(), inbox: inbox() }),
        Event::Noted(Noted { code: "no_guard".into(), message: "servers end on drop".into(), inbox: None }),
        Event::Ended(Ended { end: End::Done { output: "{\"severity\":\"low\"}".into() } }),
        Event::Ended(Ended { end: End::Failed { code: "calls_rejected".into(), message: "no valid call".into() } }),
        Event::Ended(Ended { end: End::Cancelled }),
    ];
    for class in [Class::InvalidJson, Class::UnknownName, Class::SchemaMismatch, Class::Truncated, Class::LeftInText] {
        events.push(rejected(Rejection::Invalid(Diagnosis { class, text: "no tool \"serch\"".into() })));
    }
    for (purpose, finish) in [
        (Purpose::Compact, Finish::Length),
        (Purpose::Output, Finish::Stop),
        (Purpose::Turn, Finish::Refused),
        (Purpose::Turn, Finish::Other("pause_turn".into())),
        (Purpose::Turn, Finish::Other(String::new())),
    ] {
        let output = (purpose == Purpose::Output).then(|| "{\"severity\":\"low\"}".into());
        let output_repairs = output.iter().map(|_: &Arc<str>| repair.clone()).collect();
        let answered = ModelAnswered { purpose, finish, output, output_repairs, ..answered.clone() };
        events.push(Event::ModelAnswered(Box::new(answered)));
    }
    for effect in [Effect::Read, Effect::Idempotent, Effect::Destructive] {
        events.push(Event::ToolStarted(started(effect, Origin::Model)));
    }
    for kind in [
        WaitKind::Approval,
        WaitKind::Doubt,
        WaitKind::Input,
        WaitKind::Change,
        WaitKind::Store,
        WaitKind::Timer,
        WaitKind::Child,
    ] {
        events.push(waiting(kind));
    }
    for limit in [Limit::Turns, Limit::ToolCalls, Limit::Tokens, Limit::Cost, Limit::Active] {
        events.push(Event::Ended(Ended { end: End::Exhausted { limit, message: None } }));
    }
    let message = Some("budgets.day is $20.0000 a day".to_owned());
    events.push(Event::Ended(Ended { end: End::Exhausted { limit: Limit::Budget, message } }));
    events.push(Event::ApprovalAsked(ApprovalAsked { call: call(4), reason: ApprovalReason::Unclear, expires: None }));
    events.push(Event::ToolsChanged(ToolsChanged {
        hash: "4b".repeat(32),
        added: vec![tool(Effect::Read, EffectSource::Hints, "stat")],
        changed: vec![
            ToolChange { tool: tool(Effect::Write, EffectSource::Default, "write_file"), held: true },
            ToolChange { tool: tool(Effect::Read, EffectSource::Hints, "read_file"), held: false },
        ],
        gone: vec![ToolName { server: "files".into(), tool: "touch".into() }],
        warnings: vec!["server docs gives a tool twice".into()],
        missing: vec![("docs".into(), "it does not start".into())],
    }));
    events.push(Event::ToolsChanged(ToolsChanged {
        hash: "4b".repeat(32),
        added: Vec::new(),
        changed: Vec::new(),
        gone: Vec::new(),
        warnings: Vec::new(),
        missing: Vec::new(),
    }));
    events.push(Event::ApprovalAsked(ApprovalAsked { call: call(4), reason: ApprovalReason::Changed, expires: None }));
    events.push(rejected(Rejection::ToolChanged));
    let paper = Media {
        name: Some("a.pdf".into()),
        mime: "application/pdf".into(),
        source: MediaSource::Base64("JVBERi0=".into()),
    };
    let parts = vec![Part::Document(paper)];
    events.push(Event::InputGiven(InputGiven { inbox: None, by: by(), parts, stopped: false }));
    events.push(Event::InputGiven(InputGiven {
        inbox: None,
        by: by(),
        parts: vec![Part::text("no, wait")],
        stopped: true,
    }));
    let reason = ApprovalReason::Unchecked;
    events.push(Event::ApprovalAsked(ApprovalAsked { call: call(4), reason, expires: None }));
    events.push(Event::ToolFinished(Box::new(ToolFinished { notes: vec!["it was cut".into()], ..noted })));
    events.push(Event::CallLost(CallLost {
        call: call(1),
        attempt: 1,
        evidence: "it timed out after 60s".into(),
        timed_out: true,
    }));
    events
}
