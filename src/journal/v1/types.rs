//! The stored types, which are the format: what stands here and in a released version stays as it is, and may only gain
//! fields under `optional`, words and choices. The tables follow the order of `run::event`; each field's meaning is
//! that of the domain's field of the same name.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct};

use crate::{
    chat::{self, CallId},
    journal::{self, Damage},
    repair,
    run::{self, RunId},
};

use super::form::{Choice, Form, Incoming, Outgoing, Text, Written, choices, json_name, stored, words, write_fields};

// Events.

stored! {
    run::Started {
        agent: String,
        definition: Text,
        file: String,
        dir: String,
        model: String,
        ask_again: u32,
        tool_result_bytes_max: u64,
        limits: Limits,
    } optional {
        instructions: Option<Text>,
        input: Option<Text>,
        output_schema: Option<Text>,
        parent: Option<Parent>,
        key: Option<String>,
    };

    run::Claimed {
        epoch: u64,
        node: String,
    };

    run::InputGiven {
        by: String,
        parts: Vec<Part>,
    } optional {
        inbox: Option<String>,
        stopped: bool,
    };

    run::ToolsListed {
        hash: String,
        tools: Vec<ToolDef>,
    } optional {
        warnings: Vec<String>,
        missing: Vec<Missing>,
    };

    run::ToolsChanged {
        hash: String,
    } optional {
        added: Vec<ToolDef>,
        changed: Vec<ToolChange>,
        gone: Vec<ToolName>,
        warnings: Vec<String>,
        missing: Vec<Missing>,
    };

    run::ModelAsked {
        turn: u32,
        attempt: u32,
        endpoint: String,
    } optional {
        purpose: Purpose,
        request_hash: Option<String>,
        tokens: u64,
        presumed as "presumed_nano": Option<u64>,
        strict: bool,
        forced: bool,
    };

    run::AttemptFailed {
        attempt: u32,
        endpoint: String,
        class: String,
        message: String,
        latency as "latency_ms": u64,
    } optional {
        discarded: String,
        usage: Option<Usage>,
        cost as "cost_nano": Option<u64>,
        estimated: bool,
    };

    run::ModelAnswered {
        turn: u32,
        attempt: u32,
        endpoint: String,
        seen: u64,
        parts: Vec<AnswerPart>,
        finish: Finish,
        latency as "latency_ms": u64,
    } optional {
        purpose: Purpose,
        calls: Vec<Call>,
        output: Option<Text>,
        output_repairs: Vec<Repair>,
        usage: Option<Usage>,
        cost as "cost_nano": Option<u64>,
        provider_id: Option<String>,
    };

    run::CallRejected {
        call: String,
        reason: Rejection,
    };

    run::ToolStarted {
        call: String,
        attempt: u32,
        idempotency_key: String,
        effect: Effect,
        deadline as "deadline_ms": i64,
    } optional {
        arguments: Option<Text>,
        guard: Option<String>,
        origin: Origin,
    };

    run::ToolFinished {
        call: String,
        attempt: u32,
        content: Vec<Part>,
        latency as "latency_ms": u64,
    } optional {
        sent: bool,
        structured: Option<Text>,
        is_error: bool,
        notes: Vec<String>,
    };

    run::CallLost {
        call: String,
        attempt: u32,
        evidence: String,
    } optional {
        timed_out: bool,
    };

    run::DoubtResolved {
        call: String,
        by: String,
        resolution: Resolution,
    } optional {
        inbox: Option<String>,
    };

    run::ToolPaused {
        call: String,
        request: Text,
    };

    run::ApprovalAsked {
        call: String,
        reason: ApprovalReason,
    } optional {
        expires as "expires_ms": Option<i64>,
    };

    run::ApprovalGiven {
        call: String,
        by: String,
        decision: Decision,
        shown: Text,
    } optional {
        inbox: Option<String>,
    };

    run::PolicyGiven {
        pattern: String,
        allow: bool,
        by: String,
    } optional {
        inbox: Option<String>,
        exact: bool,
    };

    run::CancelAsked {
        by: String,
    } optional {
        inbox: Option<String>,
    };

    run::LimitsChanged {
        by: String,
        limits: Limits,
    } optional {
        inbox: Option<String>,
    };

    run::Waiting {
        kind: WaitKind,
        message: String,
        code: String,
    } optional {
        until as "until_ms": Option<i64>,
    };

    run::Woken {
        by: String,
    };

    run::OutputRejected {
        turn: u32,
        diagnosis: String,
        code: String,
    };

    run::Compacted {
        through: u32,
    } optional {
        elided: Vec<String>,
        summary: Option<Text>,
        text_bytes_max: Option<u64>,
    };

    run::Rebound {
        definition: Text,
        by: String,
    } optional {
        model: Option<String>,
    };

    run::Forked {
        from: String,
        at: u64,
    };

    run::Noted {
        code: String,
        message: String,
    } optional {
        inbox: Option<String>,
    };

    run::Ended {
        end: End,
    };
}

// What events are made of.

stored! {
    run::Limits {} optional {
        turns: Option<u64>,
        tool_calls: Option<u64>,
        tokens: Option<u64>,
        cost as "cost_nano": Option<u64>,
        active as "active_ms": Option<u64>,
    };

    run::ToolChange {
        tool: ToolDef,
    } optional {
        held: bool,
    };

    run::Call {
        id: String,
    } optional {
        resolved: Option<Resolved>,
    };

    run::Resolved {
        name: String,
        origin: ToolName,
        effect: Effect,
        on_doubt: OnDoubt,
        idle as "idle_ms": u64,
        total as "total_ms": u64,
    } optional {
        arguments: Option<Text>,
        repairs: Vec<Repair>,
        repeatable: bool,
        parallel: bool,
        approve: Option<Approve>,
        retry as "retry_ms": Option<u64>,
    };

    run::Approve {
        reason: ApprovalReason,
    } optional {
        expire as "expire_ms": Option<u64>,
        on_expire_allow: bool,
    };

    repair::Repair {
        rung: String,
        kind: String,
        path: String,
        before: Text,
        after: Text,
    } optional {
        span: Option<Span>,
        risk: Risk,
    };

    repair::Span {
        start: u64,
        end: u64,
    };

    repair::Diagnosis {
        class: Class,
        text: String,
    };

    chat::ToolDef {
        name: String,
        origin: ToolName,
        description: Text,
        input_schema: Text,
        effect: Effect,
        effect_source: EffectSource,
        hash: String,
    } optional {
        repeatable: bool,
        additive: bool,
    };

    chat::ToolName {
        server: String,
        tool: String,
    };

    chat::Media {
        mime: String,
        source: MediaSource,
    } optional {
        name: Option<String>,
    };

    chat::Reasoning {
        text: Text,
    } optional {
        opaque: Option<Opaque>,
    };

    chat::Opaque {
        issuer: String,
        model: String,
        kind: String,
        data: Text,
    };

    chat::ToolCall {
        id: String,
        name: String,
        arguments: Text,
    } optional {
        opaque: Option<Opaque>,
    };

    chat::WrittenCall {
        name: String,
        arguments: Text,
    } optional {
        provider_id: Option<String>,
        complete: bool,
        opaque: Option<Opaque>,
    };

    chat::Usage {} optional {
        input: u64,
        cached: u64,
        cache_write: u64,
        output: u64,
        reasoning: u64,
    };
}

choices! {
    chat::Part {
        Text(Text) = "text",
        Image(Media) = "image",
        Audio(Media) = "audio",
        Document(Media) = "document",
        Reasoning(Reasoning) = "reasoning",
        Call(ToolCall) = "call",
        Opaque(Opaque) = "opaque",
    }

    chat::MediaSource {
        Base64(Text) = "base64",
        Url(Text) = "url",
    }

    chat::AnswerPart {
        Text(Text) = "text",
        Reasoning(Reasoning) = "reasoning",
        Call(WrittenCall) = "call",
        Opaque(Opaque) = "opaque",
    }

    chat::Finish {
        Other(Text) = "other",
        ;
        Stop = "stop",
        ToolCalls = "tool_calls",
        Length = "length",
        Refused = "refused",
        Paused = "paused",
    }

    run::Rejection {
        Invalid(Diagnosis) = "invalid",
        Denied(Text) = "denied",
        Behind(Behind) = "behind",
        ;
        CutAnswer = "cut_answer",
        NotAlone = "not_alone",
        ToolChanged = "tool_changed",
    }

    run::Resolution {
        Happened(Happened) = "happened",
        ;
        Told = "told",
        DidNot = "did_not",
        Retry = "retry",
    }

    run::Decision {
        Edit(Text) = "edit",
        Deny(Deny) = "deny",
        ;
        Allow = "allow",
    }
}

words! {
    run::Purpose { Turn = "turn", Compact = "compact", Output = "output" }
    run::Origin { Model = "model", Verify = "verify" }
    run::OnDoubt { Retry = "retry", Tell = "tell", Ask = "ask" }
    run::ApprovalReason { Policy = "policy", HeldRepeat = "held_repeat", Repaired = "repaired", Unclear = "unclear", Unchecked = "unchecked",
        Changed = "changed",
    }
    run::Limit {
        Turns = "turns", ToolCalls = "tool_calls", Tokens = "tokens", Cost = "cost", Active = "active",
        Budget = "budget",
    }
    run::WaitKind {
        Approval = "approval", Doubt = "doubt", Input = "input", Change = "change",
        Provider = "provider", Store = "store", Timer = "timer", Child = "child",
    }
    chat::Effect { Read = "read", Idempotent = "idempotent", Write = "write", Destructive = "destructive" }
    chat::EffectSource { Hints = "hints", Agent = "agent", Default = "default" }
    repair::Risk { Lossless = "A", Unique = "B" }
    repair::Class {
        InvalidJson = "invalid_json", UnknownName = "unknown_name", SchemaMismatch = "schema_mismatch",
        Truncated = "truncated", LeftInText = "left_in_text",
    }
}

/// See `run::End`.
#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum End {
    Done {
        output: Text,
    },
    Failed {
        code: String,
        message: String,
    },
    Cancelled,
    Exhausted {
        limit: Limit,
        #[serde(default)]
        message: Option<String>,
    },
}

/// The same on its way out.
#[derive(Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum EndWritten<'a> {
    Done {
        output: Written<'a, Arc<str>, Text>,
    },
    Failed {
        code: &'a str,
        message: &'a str,
    },
    Cancelled,
    Exhausted {
        limit: Written<'a, run::Limit, Limit>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
}

impl Form<run::End> for End {
    fn write<S: Serializer>(value: &run::End, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        let written = match value {
            run::End::Done { output } => EndWritten::Done { output: Written::new(output, texts) },
            run::End::Failed { code, message } => EndWritten::Failed { code, message },
            run::End::Cancelled => EndWritten::Cancelled,
            run::End::Exhausted { limit, message } => {
                EndWritten::Exhausted { limit: Written::new(limit, texts), message: message.as_deref() }
            }
        };
        written.serialize(to)
    }

    fn read(self, texts: &mut Incoming) -> Result<run::End, Damage> {
        Ok(match self {
            End::Done { output } => run::End::Done { output: output.read(texts)? },
            End::Failed { code, message } => run::End::Failed { code, message },
            End::Cancelled => run::End::Cancelled,
            End::Exhausted { limit, message } => run::End::Exhausted { limit: limit.read(texts)?, message },
        })
    }
}

/// Ties a stored struct with one field, or one for each place of a tuple, to a domain value that has no field names.
macro_rules! named {
    ($($name:ident { $($field:ident: $form:ty),* } $(optional { $opt:ident: $opt_form:ty })?
        = $domain:ty as $pattern:pat => $value:expr;)*) => {$(
        #[derive(Deserialize)]
        struct $name {
            $($field: $form,)*
            $(#[serde(default)] $opt: $opt_form,)?
        }

        impl Form<$domain> for $name {
            fn write<S: Serializer>($pattern: &$domain, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
                write_fields! {
                    texts, to,
                    [$($field => stringify!($field), $form;)*],
                    [$($opt => stringify!($opt), $opt_form;)?]
                }
            }

            fn read(self, texts: &mut Incoming) -> Result<$domain, Damage> {
                $(let $field = Form::read(self.$field, texts)?;)*
                $(let $opt = Form::read(self.$opt, texts)?;)?
                Ok($value)
            }
        }
    )*};
}

named! {
    Parent { run: String, call: String } = (RunId, CallId) as (run, call) => (run, call);
    Missing { server: String, reason: String } = (String, String) as (server, reason) => (server, reason);
    Behind { call: String } = CallId as call => call;
    Happened {} optional { result: Option<Text> } = Option<Arc<str>> as result => result;
    Deny {} optional { text: Option<String> } = Option<String> as text => text;
}

/// See `journal::Posted`.
#[derive(Deserialize)]
pub(super) struct Posted {
    by: String,
    at_ms: i64,
    what: What,
}

impl Form<journal::Posted> for Posted {
    fn write<S: Serializer>(value: &journal::Posted, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        write_fields! {
            texts, to,
            [&value.by => "by", String; &value.at => "at_ms", i64; &value.what => "what", What;],
            []
        }
    }

    fn read(self, texts: &mut Incoming) -> Result<journal::Posted, Damage> {
        Ok(journal::Posted { by: self.by, at: self.at_ms.read(texts)?, what: self.what.read(texts)? })
    }
}

/// See `journal::What`.
#[derive(Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum What {
    Prompt {
        parts: Vec<Part>,
    },
    Approval {
        call: String,
        decision: Decision,
        shown: Text,
        #[serde(default, skip_serializing_if = "absent")]
        for_run: Option<String>,
    },
    Doubt {
        call: String,
        resolution: Resolution,
    },
    Cancel,
    Limits {
        limits: Limits,
    },
}

/// The same on its way out.
#[derive(Serialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
enum WhatWritten<'a> {
    Prompt {
        parts: Written<'a, Vec<chat::Part>, Vec<Part>>,
    },
    Approval {
        call: Written<'a, CallId, String>,
        decision: Written<'a, run::Decision, Decision>,
        shown: Written<'a, Arc<str>, Text>,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_run: &'a Option<String>,
    },
    Doubt {
        call: Written<'a, CallId, String>,
        resolution: Written<'a, run::Resolution, Resolution>,
    },
    Cancel,
    Limits {
        limits: Written<'a, run::Limits, Limits>,
    },
}

impl Form<journal::What> for What {
    fn write<S: Serializer>(value: &journal::What, texts: &Outgoing, to: S) -> Result<S::Ok, S::Error> {
        let written = match value {
            journal::What::Prompt { parts } => WhatWritten::Prompt { parts: Written::new(parts, texts) },
            journal::What::Approval { call, decision, shown, for_run } => WhatWritten::Approval {
                call: Written::new(call, texts),
                decision: Written::new(decision, texts),
                shown: Written::new(shown, texts),
                for_run,
            },
            journal::What::Doubt { call, resolution } => {
                WhatWritten::Doubt { call: Written::new(call, texts), resolution: Written::new(resolution, texts) }
            }
            journal::What::Cancel => WhatWritten::Cancel,
            journal::What::Limits { limits } => WhatWritten::Limits { limits: Written::new(limits, texts) },
        };
        written.serialize(to)
    }

    fn read(self, texts: &mut Incoming) -> Result<journal::What, Damage> {
        Ok(match self {
            What::Prompt { parts } => journal::What::Prompt { parts: parts.read(texts)? },
            What::Approval { call, decision, shown, for_run } => journal::What::Approval {
                call: call.read(texts)?,
                decision: decision.read(texts)?,
                shown: shown.read(texts)?,
                for_run,
            },
            What::Doubt { call, resolution } => {
                journal::What::Doubt { call: call.read(texts)?, resolution: resolution.read(texts)? }
            }
            What::Cancel => journal::What::Cancel,
            What::Limits { limits } => journal::What::Limits { limits: limits.read(texts)? },
        })
    }
}
