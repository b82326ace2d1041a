//! Finds out what an error of a provider means: from the status, and from what the body says in whichever form.
//!
//! Maps status and body to a [`Failure`]; the clock is read only to turn a moment that the body names into a wait. The words
//! looked for are those of the providers' own documentation and of the error bodies collected from issue threads (2026-11);
//! what no word tells, the status tells. Messages are for people: one line, bounded, without control characters and without
//! anything that looks like a key.

mod length;
mod reset;

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{Class, Failure, Used, json, limits};
use crate::{
    chat::{UNREAD_CALL, Usage},
    show::{hidden, redact},
};

/// Longest message, in bytes: an error with its reason fits, a page of HTML does not.
const MESSAGE_BYTES_MAX: usize = 600;

/// Most bytes kept of the text of an answer that is thrown away.
const DISCARDED_BYTES_MAX: usize = 2048;

/// Longest wait after which a used-up limit still counts as a rate limit, which a run waits for. A limit that takes longer to
/// come back is a quota.
const RATE_WAIT_MAX: Duration = Duration::from_secs(3600);

/// The failure that an HTTP response with an error status reports.
pub(super) fn of_response(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let now = Timestamp::now();
    let report = Report::read(body, now);
    let message = match report.told().as_str() {
        "" => format!("HTTP {status}"),
        message => format!("HTTP {status}: {message}"),
    };
    let failure = report.failure(Some(status), retry_after, &message, now);
    Failure { status: Some(status), retry_after: failure.retry_after.or(retry_after), ..failure }
}

/// The failure that an answer with a good status reports in its body, or in the midst of its stream.
pub(super) fn of_value(value: &Value) -> Failure {
    let now = Timestamp::now();
    let report = Report::of_value(value, now);
    // OpenRouter and vLLM put the status into the body (their error documentation, 2026-11).
    let status = report.status;
    let message = match report.told() {
        message if message.is_empty() => "the server reports an error".to_owned(),
        message => message,
    };
    Failure { status: status.or(Some(200)), ..report.failure(status, None, &message, now) }
}

/// Whether a JSON value that should be a piece of an answer reports an error instead.
pub(super) fn is_error(value: &Value) -> bool {
    let said = |key| match value.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    };
    let is_answer = value.get("choices").is_some_and(|choices| !choices.is_null());
    said("error")
        || said("errors")
        || json::text(value, "type") == Some("error")
        || (!is_answer
            && (json::text(value, "object") == Some("error")
                || said("detail")
                || said("message") && (said("code") || said("type") || said("status"))))
}

/// A failure of this class, its message cleaned and bounded.
pub(super) fn failure(class: Class, message: &str) -> Failure {
    Failure {
        class,
        message: clean(message, MESSAGE_BYTES_MAX),
        status: None,
        retry_after: None,
        discarded: String::new(),
        used: None,
        timed_out: false,
        unread: false,
    }
}

/// The failure of a piece of an answer that is no JSON.
pub(super) fn unreadable(text: &str, error: &serde_json::Error) -> Failure {
    let start = clip(text.trim(), 120);
    let message = if start.starts_with('<') {
        "the server answered with an HTML page; does the base URL name its API?".to_owned()
    } else if error.is_eof() {
        format!("the answer broke off within a piece: {start:?}")
    } else {
        format!("a piece of the answer is no JSON ({error}): {start:?}")
    };
    failure(Class::MalformedAnswer, &message)
}

impl Failure {
    /// The same, of a limit that comes back after `reset`, unless the failure says itself when to try again. One that comes
    /// back late is a quota.
    pub(super) fn resetting(mut self, reset: Option<Duration>) -> Self {
        // A budget that comes back says nothing about failures of other kinds.
        if self.class == Class::RateLimited && self.retry_after.is_none() {
            self.retry_after = reset;
            if reset.is_some_and(|reset| reset > RATE_WAIT_MAX) {
                self.class = Class::Quota;
                self.tell_reset(Timestamp::now());
            }
        }
        self
    }

    /// Says in the message when the quota comes back.
    fn tell_reset(&mut self, now: Timestamp) {
        let told = self.retry_after.and_then(|wait| reset::told(wait, now));
        self.message.extend(told.map(|told| format!(" ({told})")));
    }

    /// Adds the text that had arrived and is thrown away, if there is any.
    pub(super) fn discarding(mut self, text: &str) -> Self {
        if !text.is_empty() {
            self.discarded = clip(text, DISCARDED_BYTES_MAX).into_owned();
        }
        self
    }

    /// The same, of a request that was sent and may have been worked on: what was used is to be estimated.
    pub(super) fn in_flight(self) -> Self {
        Failure { used: Some(Used { tokens: Usage::default(), estimated: true }), ..self }
    }

    /// The same, of an answer that came whole and whose tokens the server has told, if it has.
    pub(super) fn told(self, usage: Option<Usage>) -> Self {
        Failure { used: usage.map(|tokens| Used { tokens, estimated: false }), ..self }
    }

    /// The same, of an answer that came as far as this: the tokens told so far, and those written as far as they came.
    pub(super) fn cut_at(mut self, told: Option<Usage>, written: u64) -> Self {
        // An error that is reported before anything came is a refusal; an answer that cannot be read was written.
        let taken = self.used.is_some() || told.is_some() || written > 0 || self.class == Class::MalformedAnswer;
        let exact = self.used.is_some_and(|used| !used.estimated);
        if taken && !exact {
            let told = told.unwrap_or_default();
            let tokens = Usage { output: told.output.max(written), ..told };
            self.used = Some(Used { tokens, estimated: true });
        }
        self
    }

    /// The same without `secret`, wherever a server has repeated it.
    pub(super) fn without(mut self, secret: &str) -> Self {
        if !secret.is_empty() {
            for text in [&mut self.message, &mut self.discarded] {
                if text.contains(secret) {
                    *text = text.replace(secret, "[key]");
                }
            }
        }
        self
    }
}

/// What an error body says.
#[derive(Debug, Default)]
struct Report {
    message: String,
    /// Codes, types and statuses, as the provider words them.
    codes: String,
    status: Option<u16>,
    /// The time until the limit comes back or the request may be repeated, where the provider has a member for it.
    wait: Option<Duration>,
    /// The part of the request that the provider objects to, such as `tools[1].function.parameters`.
    part: Option<String>,
    /// What the model wrote, where the server could not read it.
    written: Option<String>,
}

impl Report {
    fn read(body: &[u8], now: Timestamp) -> Self {
        if let Ok(value) = serde_json::from_slice::<Value>(body) {
            return Report::of_value(&value, now);
        }
        let text = String::from_utf8_lossy(body);
        Report { message: page_title(&text).unwrap_or_else(|| text.trim().to_owned()), ..Report::default() }
    }

    /// `{"error": {..}}`, `{"error": "text"}`, `{"detail": ..}`, flat, or in an array.
    fn of_value(value: &Value, now: Timestamp) -> Self {
        let value = match value {
            Value::Array(values) => values.first().unwrap_or(&Value::Null),
            value => value,
        };
        let mut report = Report::default();
        report.take(value, now);
        for key in ["error", "errors", "detail", "response"] {
            match value.get(key) {
                Some(Value::Array(values)) => values.iter().take(4).for_each(|value| report.take(value, now)),
                Some(value) => report.take(value, now),
                None => {}
            }
        }
        // What a gateway hands on of the provider behind it (OpenRouter).
        if let Some(raw) = value.pointer("/error/metadata/raw") {
            report.take(raw, now);
        }
        report
    }

    fn take(&mut self, value: &Value, now: Timestamp) {
        if let Value::String(text) = value {
            return match serde_json::from_str::<Value>(text) {
                // Some gateways hand on the error behind them as JSON in a string.
                Ok(inner @ Value::Object(_)) => *self = Report::of_value(&inner, now).behind(std::mem::take(self)),
                _ => self.say(text),
            };
        }
        self.wait = self.wait.max(reset::in_members(value, now));
        for key in ["message", "msg", "Message", "error_message", "error_description", "title"] {
            match value.get(key) {
                Some(Value::String(text)) => self.say(text),
                Some(Value::Object(inner)) => {
                    inner.get("message").and_then(Value::as_str).into_iter().for_each(|text| self.say(text))
                }
                _ => {}
            }
        }
        for key in ["code", "type", "status", "__type", "error_type"] {
            if let Some(code) = json::text(value, key) {
                self.codes.push_str(&code.to_lowercase());
                self.codes.push(' ');
            }
        }
        for key in ["code", "status", "status_code"] {
            let status = json::count(value, key).and_then(|status| u16::try_from(status).ok());
            self.status = self.status.or(status.filter(|status| (400..600).contains(status)));
        }
        self.part = self.part.take().or_else(|| part(value));
        // Groq (console.groq.com/docs/tool-use, 2026-11), beside the code `tool_use_failed`.
        let written = json::text(value, "failed_generation").filter(|text| !text.trim().is_empty());
        self.written = self.written.take().or(written.map(str::to_owned));
    }

    /// What both say, the other one first.
    fn behind(self, first: Report) -> Report {
        let mut report = first;
        report.say(&self.message);
        report.codes.push_str(&self.codes);
        report.status = report.status.or(self.status);
        report.wait = report.wait.max(self.wait);
        report.part = report.part.or(self.part);
        report.written = report.written.or(self.written);
        report
    }

    fn say(&mut self, text: &str) {
        let text = text.trim();
        if !text.is_empty() && !self.message.contains(text) {
            if !self.message.is_empty() {
                self.message.push_str("; ");
            }
            self.message.push_str(&clip(text, MESSAGE_BYTES_MAX));
        }
    }

    /// The message, with the part of the request that it is about.
    fn told(&self) -> String {
        match &self.part {
            Some(part) if !self.message.contains(part.as_str()) => format!("{} (at {part})", self.message),
            _ => self.message.clone(),
        }
    }

    fn failure(&self, status: Option<u16>, retry_after: Option<Duration>, message: &str, now: Timestamp) -> Failure {
        let told = retry_after.or(self.wait);
        let wait = told.or_else(|| reset::in_text(&self.message, now));
        let class = match self.class(status, told.is_some(), wait) {
            Class::RateLimited if wait.is_some_and(|wait| wait > RATE_WAIT_MAX) => Class::Quota,
            class => class,
        };
        let retry_after = match class {
            Class::RateLimited | Class::Quota => wait,
            Class::Transient => wait.map(|wait| wait.min(limits::TOLD_MAX)),
            _ => None,
        };
        let mut failure = Failure { retry_after, ..failure(class, message) };
        if class == Class::MalformedAnswer && self.codes.contains(UNREAD_CALL) {
            failure.unread = self.written.is_some();
            failure.discarded = self.written.clone().unwrap_or_default();
        }
        if class == Class::Quota {
            failure.tell_reset(now);
        }
        failure
    }

    fn class(&self, status: Option<u16>, has_retry_after: bool, wait: Option<Duration>) -> Class {
        let message = self.message.to_lowercase();
        let words = format!("{}{message}", self.codes);
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
        let too_long = || length::too_long(&self.codes, &message);
        // A quota that comes back by itself is a rate limit: Gemini and Cerebras word their limits per minute as quota.
        let passes = !says(NO_QUOTA) && (has_retry_after || says(PASSES));
        let status_class = status.map(of_status);
        match status_class {
            Some(Class::Transient) if too_long() => return Class::ContextTooLong,
            Some(Class::Transient) if says(UNSERVED) => return Class::ModelGone,
            Some(Class::Transient) if says(MALFORMED) => return Class::MalformedAnswer,
            Some(Class::Transient) if says(SCHEMA) => return Class::CallerFault,
            Some(Class::Transient) => return Class::Transient,
            Some(Class::Quota) => return Class::Quota,
            _ => {}
        }
        if status != Some(401) && says(REGION) {
            return Class::Region;
        }
        if status != Some(401) && says(LASTS) && !says(BY_THE_MINUTE) {
            // Also where it says "try again later"; only a near moment makes it worth waiting for.
            return if wait.is_some_and(|wait| wait <= RATE_WAIT_MAX) { Class::RateLimited } else { Class::Quota };
        }
        if status != Some(401) && says(QUOTA) && !passes {
            return Class::Quota;
        }
        if says(FOREIGN) {
            return Class::Transient;
        }
        if status == Some(401) || says(CREDENTIAL) {
            return Class::Credential;
        }
        if too_long() {
            return Class::ContextTooLong;
        }
        if says(REFUSED) {
            return Class::ContentRefused;
        }
        if says(MODEL_GONE) || says(UNSERVED) {
            return Class::ModelGone;
        }
        if says(MALFORMED) {
            return Class::MalformedAnswer;
        }
        if status != Some(403) && says(RATE) {
            return Class::RateLimited;
        }
        match status_class {
            Some(class) => class,
            None if says(CALLER) => Class::CallerFault,
            // An error in the midst of an answer that tells nothing about itself is trouble of the server.
            None => Class::Transient,
        }
    }
}

/// The part of the request that an error names, where it is about tools or schemas: OpenAI's `param`, the `loc` of servers in
/// Python.
fn part(value: &Value) -> Option<String> {
    let part = match (value.get("param"), value.get("loc")) {
        (Some(Value::String(param)), _) => param.clone(),
        (_, Some(Value::Array(loc))) => {
            let step = |step: &Value| step.as_str().map_or_else(|| step.to_string(), str::to_owned);
            loc.iter().map(step).collect::<Vec<_>>().join(".")
        }
        _ => return None,
    };
    (part.contains("tool") || part.contains("function")).then_some(part)
}

fn of_status(status: u16) -> Class {
    match status {
        401 | 403 => Class::Credential,
        402 => Class::Quota,
        404 | 410 => Class::ModelGone,
        408 | 409 | 425 | 499 => Class::Transient,
        413 => Class::ContextTooLong,
        // 498 is Groq's for a flexible tier without capacity (console.groq.com/docs/errors, 2026-11).
        429 | 498 => Class::RateLimited,
        451 => Class::Region,
        501 => Class::CallerFault,
        500.. => Class::Transient,
        // Redirects are never followed: the model is somewhere else, and asking here again does not change that.
        300..=399 => Class::ModelGone,
        // Anything else that is neither answer nor error.
        ..=299 => Class::MalformedAnswer,
        _ => Class::CallerFault,
    }
}

const REGION: &[&str] = &[
    "unsupported_country",
    "country, region, or territory",
    "data_residency_mismatch",
    "location is not supported",
    "not available in your region",
    "not available in your country",
    "region is not supported",
    "unsupported countries, regions",
];

const PASSES: &[&str] =
    &["resource_exhausted", "per minute", "per hour", "per day", "retry in", "retry after", "try again in"];

const QUOTA: &[&str] = &[
    "insufficient_quota",
    "insufficient quota",
    "insufficient balance",
    "insufficient_balance",
    "insufficient credits",
    "insufficient funds",
    "credit balance",
    "billing_hard_limit",
    "billing_not_active",
    "billing_error",
    "api usage limits",
    "exceeded your current quota",
    "quota_exceeded",
    "key limit exceeded",
    "spending limit",
    "out of credits",
    "credits are depleted",
    "account is in arrears",
    "credit_limit",
    "credit limit exceeded",
    "have any credits",
    "used all available credits",
    "servicequotaexceeded",
    "payment_required",
];

/// Limits that last for days, until somebody pays, or for a plan's window of hours: of subscriptions (ChatGPT, Kimi, Z.AI),
/// of spending (Anthropic, OpenAI), of a calendar month or week.
const LASTS: &[&str] = &[
    "usage_limit",
    "usage limit",
    "monthly",
    "per month",
    "weekly",
    "per week",
    "billing cycle",
    "billing period",
    "spend limit",
    "spend_limit",
    "spending limit",
    "spending cap",
    "next cycle",
    "limit exhausted",
    "quota exhausted",
    "quota is exhausted",
];

/// What a limit by the minute says of itself, whatever else it is called.
const BY_THE_MINUTE: &[&str] = &["per minute", "per second", "per min", "/min"];

/// A quota of nothing does not come back, even where the server says when to try again.
const NO_QUOTA: &[&str] = &["limit: 0,", "credits are depleted"];

const CREDENTIAL: &[&str] = &[
    "api key expired",
    "invalid_api_key",
    "api key not valid",
    "api_key_invalid",
    "incorrect api key",
    "invalid api key",
    "no api key",
    "authentication_error",
    "invalid_authentication",
    "permission_error",
    "organization has been disabled",
    "wrong_api_key",
    "no auth credentials",
    "security token included in the request is invalid",
    "organization_restricted",
];

const REFUSED: &[&str] = &[
    "content_filter",
    "content_policy",
    "content policy",
    "content management policy",
    "content filtering policy",
    "responsibleaipolicy",
    "moderation",
    "flagged",
    "data_inspection_failed",
    "content exists risk",
    "prohibited_content",
    "safety system",
    "usage policies",
    // Codes of OpenAI's Responses (its reference, 2026-11).
    "invalid_prompt",
    "bio_policy",
    "policy_violation",
    "usage guidelines",
];

const MODEL_GONE: &[&str] = &[
    "model_not_found",
    "model not found",
    "not_found_error",
    "model_decommissioned",
    "decommissioned",
    "deploymentnotfound",
    "unknown model",
    "invalid model",
    "not a valid model",
    "no endpoints found",
    "does not have access to model",
    "model does not exist",
    "model is not available",
    "try pulling it first",
    "model not exist",
    "model_not_available",
    "model identifier is invalid",
    "access to the model",
    "no models loaded",
];

/// What the model or the server cannot do, though the request is fine: another target may.
const UNSERVED: &[&str] = &[
    "does not support tools",
    "requires --jinja",
    "requires --enable-auto-tool-choice",
    "on-demand throughput",
    "supported on this route",
];

/// The schema of a tool is one that the server cannot hold the model to. Some builds of llama.cpp say so with a status of 500.
const SCHEMA: &[&str] = &["failed to parse grammar", "schema conversion failed", "error parsing grammar"];

/// The model's own answer was none, and the server says so with an error.
const MALFORMED: &[&str] = &[
    // Groq.
    "tool_use_failed",
    "failed_generation",
    "json_validate_failed",
    // llama.cpp, of its constrained decoder (build 10434) and of calls that it cannot read.
    "does not match the expected",
    "empty grammar stack",
    "failed to parse input at pos",
    "failed to parse tool call",
    // Ollama (ollama/ollama#12064, 2025-08).
    "error parsing tool call",
    "xml syntax error",
    // vLLM: grammars that cannot go on, and OpenAI's Harmony.
    "failed to advance fsm",
    "harmonyerror",
    "unexpected tokens remaining in message header",
];

const RATE: &[&str] = &[
    "rate_limit",
    "rate limit",
    "ratelimit",
    "too many requests",
    "throttling",
    "throttled",
    "resource_exhausted",
    "requests per minute",
    "tokens per min",
    "too_many_requests",
    "tier_capacity_exceeded",
];

const CALLER: &[&str] = &[
    "invalid_request",
    "bad_request",
    "badrequest",
    "invalid_argument",
    "validation",
    "not_supported",
    // Codes of OpenAI's Responses (its reference, 2026-11).
    "invalid_image",
    "invalid_base64_image",
    "image_too_",
    "image_parse_error",
    "image_file_",
    "unsupported_image",
    "empty_image_file",
    "failed_to_download_image",
];

/// The service cannot open what it encrypted itself: another machine or key of it may, and another provider never gets to
/// see it (openai/codex#8145, BerriAI/litellm#18094).
const FOREIGN: &[&str] = &["invalid_encrypted_content", "could not be decrypted or parsed"];

/// The title of an HTML page, or what can be said of it.
fn page_title(text: &str) -> Option<String> {
    if !text.trim_start().starts_with('<') {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|start| start + "<title>".len()).and_then(|start| {
        let end = start + lower[start..].find("</title>")?;
        Some(text[start..end].trim())
    });
    Some(match title {
        Some(title) if !title.is_empty() => format!("an HTML page, {title:?}"),
        _ => "an HTML page".to_owned(),
    })
}

/// One line of at most `bytes`, without control characters and without what looks like a key.
fn clean(text: &str, bytes: usize) -> String {
    let text = &*redact(text);
    let mut line = String::with_capacity(text.len().min(bytes));
    for word in text.split(|c: char| c.is_whitespace() || hidden(c)).filter(|word| !word.is_empty()) {
        if line.len() > bytes {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&hide_key(word));
    }
    clip(&line, bytes).into_owned()
}

/// How the keys of the usual providers begin (their documentation, 2026-11).
const KEY_PREFIXES: [&str; 6] = ["sk-", "sk_", "gsk_", "xai-", "AIza", "csk-"];

fn hide_key(word: &str) -> Cow<'_, str> {
    let start = KEY_PREFIXES.iter().filter_map(|prefix| word.find(prefix)).min();
    match start {
        Some(start)
            if (start == 0 || !word.as_bytes()[start - 1].is_ascii_alphanumeric()) && word.len() - start >= 12 =>
        {
            Cow::Owned(format!("{}[key]", &word[..start]))
        }
        _ => Cow::Borrowed(word),
    }
}

/// The beginning of a text, at most `bytes` long with the mark that says so.
pub(super) fn clip(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let mut end = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests;
