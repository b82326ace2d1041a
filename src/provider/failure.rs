//! Finds out what an error of a provider means: from the status, and from what the body says in whichever form.
//!
//! A pure function of status and body to a [`Failure`]. The words looked for are those of the providers' own
//! documentation and of the error bodies collected from issue threads (2026-11); what no word tells, the status tells.
//! Messages are for people: one line, bounded, without control characters and without anything that looks like a key.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use super::{Class, Failure, Used, json, limits};
use crate::{
    chat::Usage,
    show::{hidden, redact},
};

/// Longest message, in bytes: an error with its reason fits, a page of HTML does not.
const MESSAGE_BYTES_MAX: usize = 600;

/// Most bytes kept of the text of an answer that is thrown away.
const DISCARDED_BYTES_MAX: usize = 2048;

/// The failure that an HTTP response with an error status reports.
pub(super) fn of_response(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let report = Report::read(body);
    let retry_after = retry_after.or(report.retry_after);
    let class = report.class(Some(status), retry_after.is_some());
    let message =
        if report.message.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {}", report.message) };
    let retry_after = retry_after.or_else(|| report.wait(class));
    Failure { status: Some(status), retry_after, ..failure(class, &message) }
}

/// The failure that an answer with a good status reports in its body, or in the midst of its stream.
pub(super) fn of_value(value: &Value) -> Failure {
    let report = Report::of_value(value);
    // OpenRouter and vLLM put the status into the body (their error documentation, 2026-11).
    let status = report.status;
    let class = report.class(status, report.retry_after.is_some());
    let message = if report.message.is_empty() { "the server reports an error" } else { &report.message };
    Failure { status: status.or(Some(200)), retry_after: report.wait(class), ..failure(class, message) }
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
    /// The same, with the text that had arrived and is thrown away.
    pub(super) fn discarding(mut self, text: &str) -> Self {
        self.discarded = clip(text, DISCARDED_BYTES_MAX).into_owned();
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
    /// How long to wait, where the provider has a member of its own for it: Google's `RetryInfo`, where others have a header
    /// (cloud.google.com/apis/design/errors, 2026-11).
    retry_after: Option<Duration>,
}

impl Report {
    fn read(body: &[u8]) -> Self {
        if let Ok(value) = serde_json::from_slice::<Value>(body) {
            return Report::of_value(&value);
        }
        let text = String::from_utf8_lossy(body);
        Report { message: page_title(&text).unwrap_or_else(|| text.trim().to_owned()), ..Report::default() }
    }

    /// `{"error": {..}}`, `{"error": "text"}`, `{"detail": ..}`, flat, or in an array.
    fn of_value(value: &Value) -> Self {
        let value = match value {
            Value::Array(values) => values.first().unwrap_or(&Value::Null),
            value => value,
        };
        let mut report = Report::default();
        report.take(value);
        for key in ["error", "errors", "detail", "response"] {
            match value.get(key) {
                Some(Value::Array(values)) => values.iter().take(4).for_each(|value| report.take(value)),
                Some(value) => report.take(value),
                None => {}
            }
        }
        // What a gateway hands on of the provider behind it (OpenRouter).
        if let Some(raw) = value.pointer("/error/metadata/raw") {
            report.take(raw);
        }
        report
    }

    fn take(&mut self, value: &Value) {
        if let Value::String(text) = value {
            return self.say(text);
        }
        self.take_delay(value);
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
    }

    /// The delay in the details of an error, such as `"36.5s"`.
    fn take_delay(&mut self, value: &Value) {
        let details = value.get("details").and_then(Value::as_array);
        let delay = details.into_iter().flatten().find_map(|detail| json::text(detail, "retryDelay"));
        self.retry_after = self.retry_after.or(delay.and_then(|delay| limits::wait(delay, None)));
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

    /// How long the body asks us to wait, if a failure of this class passes by waiting.
    fn wait(&self, class: Class) -> Option<Duration> {
        if !matches!(class, Class::RateLimited | Class::Transient) {
            return None;
        }
        self.retry_after.or_else(|| wait_in(&self.message.to_lowercase()))
    }

    fn class(&self, status: Option<u16>, has_retry_after: bool) -> Class {
        let words = format!("{}{}", self.codes, self.message.to_lowercase());
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
        // A quota that comes back by itself is a rate limit: Gemini and Cerebras word their limits per minute as quota.
        let passes = !says(NO_QUOTA) && (has_retry_after || says(PASSES));
        let status_class = status.map(of_status);
        match status_class {
            Some(Class::Transient) if says(CONTEXT) => return Class::ContextTooLong,
            Some(Class::Transient) if says(UNSERVED) => return Class::ModelGone,
            Some(Class::Transient) => return Class::Transient,
            Some(Class::Quota) => return Class::Quota,
            _ => {}
        }
        if status != Some(401) && says(REGION) {
            return Class::Region;
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
        if says(CONTEXT) {
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
        // Redirects, which are never followed, and anything that is neither answer nor error.
        ..=399 => Class::MalformedAnswer,
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

const CONTEXT: &[&str] = &[
    "context_length_exceeded",
    "exceed_context_size",
    "context length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "input length",
    "too many input tokens",
    "reduce the length of",
    "exceeds the maximum number of tokens",
    "request too large",
    "request_too_large",
    "max_prompt_tokens",
    "maximum prompt length",
    "`max_new_tokens` must be <=",
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

/// The model's own answer was none, and the server says so with an error status (Groq).
const MALFORMED: &[&str] = &["tool_use_failed", "failed_generation", "json_validate_failed"];

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

/// The wait that a message tells, such as `try again in 1.2s` (OpenAI), `in 7m12.5s` (Groq), `retry in 34.07s` (Gemini),
/// `retry after 26 seconds` (Azure).
fn wait_in(message: &str) -> Option<Duration> {
    let told = |phrase: &&str| message.split_once(*phrase).map(|(_, rest)| rest);
    let rest = ["again in ", "retry in ", "retry after ", "again after "].iter().find_map(told)?;
    let mut words = rest.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ';', ')']));
    let first = words.next()?;
    let mut spelled = || Some(format!("{first} {}", words.next()?));
    match first.parse::<f64>() {
        // A number without a unit counts seconds; a unit may stand apart.
        Ok(_) => spelled().and_then(|text| limits::wait(&text, None)).or_else(|| limits::wait(first, None)),
        Err(_) => limits::wait(first, None),
    }
}

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
