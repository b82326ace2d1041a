//! Finds out what an error of a provider means: from the status, and from what the body says in whichever form.
//!
//! A pure function of status and body to a [`Failure`]. The words looked for are those of the providers' own
//! documentation and of the error bodies collected from issue threads (2026-11); what no word tells, the status tells.
//! Messages are for people: one line, bounded, without control characters and without anything that looks like a key.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

use super::{Class, Failure, Used, json, limits};
use crate::chat::Usage;

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
    let mut line = String::with_capacity(text.len().min(bytes));
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
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
mod tests {
    use super::*;

    /// Bodies as providers send them, shortened.
    #[test]
    fn errors_are_told_apart() {
        let table: &[(u16, &str, Class)] = &[
            (
                400,
                r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
                Class::Credential,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#,
                Class::Credential,
            ),
            (
                403,
                r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
                Class::Credential,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
                Class::Region,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
                Class::ContextTooLong,
            ),
            (
                404,
                r#"{"error":{"code":404,"message":"models/gemini-1.5-pro is not found for API version v1beta, or is not supported for generateContent.","status":"NOT_FOUND"}}"#,
                Class::ModelGone,
            ),
            (
                503,
                r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
                Class::Transient,
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. * Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 10, model: gemini-2.5-flash\nPlease retry in 36.5s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}"#,
                Class::RateLimited,
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. * Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-pro\nPlease retry in 36.5s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}"#,
                Class::Quota,
            ),
            (
                429,
                r#"{"error":{"code":429,"message":"Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.","status":"RESOURCE_EXHAUSTED"}}"#,
                Class::Quota,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"Function call is missing a thought_signature in functionCall parts.","status":"INVALID_ARGUMENT"}}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                Class::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens)","type":"exceed_context_size_error"}}"#,
                Class::ContextTooLong,
            ),
            (
                413,
                r#"{"error":{"message":"Request too large for model `x` on tokens per minute (TPM)","type":"tokens","code":"rate_limit_exceeded"}}"#,
                Class::ContextTooLong,
            ),
            (413, "", Class::ContextTooLong),
            (
                500,
                r#"{"error":{"message":"the prompt is too long: 9000 tokens, context window 4096"}}"#,
                Class::ContextTooLong,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid 'messages[1].role'","type":"invalid_request_error"}}"#,
                Class::CallerFault,
            ),
            (
                422,
                r#"{"detail":[{"loc":["body","messages"],"msg":"field required","type":"value_error.missing"}]}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"object":"error","message":"[{'type': 'missing'}]","type":"BadRequestError","param":null,"code":400}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
                Class::Quota,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                Class::Quota,
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 7s.","status":"RESOURCE_EXHAUSTED"}}]"#,
                Class::RateLimited,
            ),
            (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, Class::Quota),
            (403, r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#, Class::Quota),
            (429, r#"{"error":"too many requests"}"#, Class::RateLimited),
            (429, "slow down", Class::RateLimited),
            (
                400,
                r#"{"error":{"message":"Request was throttled.","code":"Throttling.RateQuota"}}"#,
                Class::RateLimited,
            ),
            (
                401,
                r#"{"error":{"message":"Incorrect API key provided: sk-abc*******xyz","code":"invalid_api_key"}}"#,
                Class::Credential,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
                Class::Credential,
            ),
            (403, r#"{"detail":"Forbidden"}"#, Class::Credential),
            (
                403,
                r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","type":"request_forbidden"}}"#,
                Class::Region,
            ),
            (400, r#"{"error":{"message":"User location is not supported for the API use."}}"#, Class::Region),
            (451, "", Class::Region),
            (
                403,
                r#"{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"]}}}"#,
                Class::ContentRefused,
            ),
            (
                400,
                r#"{"error":{"code":"content_filter","message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy."}}"#,
                Class::ContentRefused,
            ),
            (
                400,
                r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error"}}"#,
                Class::ContentRefused,
            ),
            (
                404,
                r#"{"error":{"message":"The model `gpt-9` does not exist","code":"model_not_found"}}"#,
                Class::ModelGone,
            ),
            (404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, Class::ModelGone),
            (
                400,
                r#"{"error":{"message":"The model `x` has been decommissioned","code":"model_decommissioned"}}"#,
                Class::ModelGone,
            ),
            (400, r#"{"error":{"message":"x is not a valid model ID","code":400}}"#, Class::ModelGone),
            (410, "", Class::ModelGone),
            (500, r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, Class::Transient),
            (502, "<html><head><title>502 Bad Gateway</title></head></html>", Class::Transient),
            (503, r#"{"error":{"message":"rate limit of the upstream"}}"#, Class::Transient),
            (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Class::Transient),
            // Anthropic (platform.claude.com/docs/en/api/errors, and reports; 2026-11).
            (
                401,
                r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}"#,
                Class::Credential,
            ),
            (
                403,
                r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource"},"request_id":"req_1"}"#,
                Class::Credential,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."},"request_id":"req_1"}"#,
                Class::Credential,
            ),
            (
                402,
                r#"{"type":"error","error":{"type":"billing_error","message":"Billing error"},"request_id":"req_1"}"#,
                Class::Quota,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},"request_id":"req_1"}"#,
                Class::Quota,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."},"request_id":"req_1"}"#,
                Class::Quota,
            ),
            (
                403,
                r#"{"type":"error","error":{"type":"forbidden","message":"Access to Anthropic models is not allowed from unsupported countries, regions, or territories."},"request_id":"req_1"}"#,
                Class::Region,
            ),
            (
                404,
                r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-opus-9"},"request_id":"req_1"}"#,
                Class::ModelGone,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}"#,
                Class::ContextTooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000"},"request_id":"req_1"}"#,
                Class::ContextTooLong,
            ),
            (
                413,
                r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum allowed number of bytes."},"request_id":"req_1"}"#,
                Class::ContextTooLong,
            ),
            (
                429,
                r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute."},"request_id":"req_1"}"#,
                Class::RateLimited,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"},"request_id":"req_1"}"#,
                Class::ContentRefused,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"},"request_id":"req_1"}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens"},"request_id":"req_1"}"#,
                Class::CallerFault,
            ),
            (
                409,
                r#"{"type":"error","error":{"type":"conflict_error","message":"Conflict"},"request_id":"req_1"}"#,
                Class::Transient,
            ),
            (
                500,
                r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"},"request_id":"req_1"}"#,
                Class::Transient,
            ),
            (
                504,
                r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out"},"request_id":"req_1"}"#,
                Class::Transient,
            ),
            (408, "", Class::Transient),
            (409, "", Class::Transient),
            (425, "", Class::Transient),
            (405, r#"{"detail":"Method Not Allowed"}"#, Class::CallerFault),
            (501, "", Class::CallerFault),
            (307, "", Class::MalformedAnswer),
            (
                400,
                r#"{"error":{"message":"The encrypted content gAAA... could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#,
                Class::Transient,
            ),
            (
                400,
                r#"{"error":{"message":"Item 'rs_1' of type 'reasoning' was provided without its required following item.","type":"invalid_request_error","param":"input","code":null}}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"error":{"message":"No tool output found for function call call_t1c1.","type":"invalid_request_error","param":"input","code":null}}"#,
                Class::CallerFault,
            ),
            (
                400,
                r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","code":"invalid_prompt"}}"#,
                Class::ContentRefused,
            ),
            (
                400,
                r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
                Class::ContextTooLong,
            ),
        ];
        for (status, body, class) in table {
            let failure = of_response(*status, None, body.as_bytes());
            assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{status} {body}");
        }
    }

    /// A row a kind of error, as the providers of the OpenAI chat format send it (their documentation and bodies quoted in issue
    /// threads, 2026-11; names and ids changed).
    #[test]
    fn errors_of_each_provider() {
        use Class::{
            CallerFault, ContentRefused, ContextTooLong, Credential, MalformedAnswer, ModelGone, Quota, RateLimited,
            Region, Transient,
        };
        type Rows<'a> = &'a [(u16, &'a str, Class)];
        let table: &[(&str, Rows<'_>)] = &[
            (
                "openai",
                &[
                    (
                        401,
                        r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                        Credential,
                    ),
                    (
                        401,
                        r#"{"error":{"message":"You must be a member of an organization to use the API","type":"invalid_request_error","param":null,"code":null}}"#,
                        Credential,
                    ),
                    (
                        403,
                        r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
                        Region,
                    ),
                    (
                        429,
                        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                        Quota,
                    ),
                    (
                        429,
                        r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29500, Requested 1100. Please try again in 1.2s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                        RateLimited,
                    ),
                    (
                        404,
                        r#"{"error":{"message":"The model `gpt-x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 128500 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                        ContextTooLong,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                        CallerFault,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}"#,
                        ContentRefused,
                    ),
                    (
                        500,
                        r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#,
                        Transient,
                    ),
                    (
                        503,
                        r#"{"error":{"message":"That model is currently overloaded with other requests.","type":"server_error","param":null,"code":null}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "azure",
                &[
                    (
                        401,
                        r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
                        Credential,
                    ),
                    (
                        401,
                        r#"{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired."}"#,
                        Credential,
                    ),
                    (
                        404,
                        r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
                        ModelGone,
                    ),
                    (
                        429,
                        r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 26 seconds."}}"#,
                        RateLimited,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                        ContentRefused,
                    ),
                    (
                        500,
                        r#"{"error":{"code":"InternalServerError","message":"Backend returned unexpected response."}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "openrouter",
                &[
                    (401, r#"{"error":{"message":"No auth credentials found","code":401}}"#, Credential),
                    (
                        402,
                        r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 8192 tokens, but can only afford 1024.","code":402}}"#,
                        Quota,
                    ),
                    (
                        403,
                        r#"{"error":{"message":"acme/model requires moderation on Acme. Your input was flagged for \"violence\". No credits were charged.","code":403,"metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
                        ContentRefused,
                    ),
                    (404, r#"{"error":{"message":"No endpoints found that support tool use.","code":404}}"#, ModelGone),
                    (408, r#"{"error":{"message":"Request timed out","code":408}}"#, Transient),
                    (
                        429,
                        r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"acme/model:free is temporarily rate-limited upstream. Please retry shortly.","provider_name":"Acme"}}}"#,
                        RateLimited,
                    ),
                    (
                        429,
                        r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429}}"#,
                        RateLimited,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.","code":400}}"#,
                        ContextTooLong,
                    ),
                    (502, r#"{"error":{"message":"Provider disconnected","code":502}}"#, Transient),
                    (
                        503,
                        r#"{"error":{"message":"There is no available model provider that meets your routing requirements","code":503}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "mistral",
                &[
                    (401, r#"{"message":"Unauthorized","request_id":"x"}"#, Credential),
                    (
                        400,
                        r#"{"object":"error","message":"Invalid model: mistral-x","type":"invalid_model","param":null,"code":"1500"}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}"#,
                        ContextTooLong,
                    ),
                    (
                        400,
                        r#"{"object":"error","message":"Not the same number of function calls and responses","type":"invalid_request_error","param":null,"code":null}"#,
                        CallerFault,
                    ),
                    (
                        422,
                        r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","x"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","param":null,"code":null}"#,
                        CallerFault,
                    ),
                    (429, r#"{"message":"Requests rate limit exceeded"}"#, RateLimited),
                    (
                        429,
                        r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#,
                        RateLimited,
                    ),
                    (
                        503,
                        r#"{"object":"error","message":"Service unavailable.","type":"unreachable_backend","param":null,"code":"1100"}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "deepseek",
                &[
                    (
                        401,
                        r#"{"error":{"message":"Authentication Fails (no such user)","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
                        Credential,
                    ),
                    (
                        402,
                        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                        Quota,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                        ContentRefused,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"This model's maximum context length is 131072 tokens. However, you requested 140000 tokens.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                        ContextTooLong,
                    ),
                    (
                        422,
                        r#"{"error":{"message":"Failed to deserialize the JSON body into the target type","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                        CallerFault,
                    ),
                    (
                        503,
                        r#"{"error":{"message":"Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.","type":"service_unavailable_error"}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "xai",
                &[
                    (
                        400,
                        r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}"#,
                        Credential,
                    ),
                    (
                        403,
                        r#"{"code":"The caller does not have permission to execute the specified operation","error":"Your newly created team doesn't have any credits yet. You can purchase credits on https://console.x.ai."}"#,
                        Quota,
                    ),
                    (
                        429,
                        r#"{"code":"Some resource has been exhausted","error":"Your team x has either used all available credits or reached its monthly spending limit."}"#,
                        Quota,
                    ),
                    (
                        429,
                        r#"{"code":"Some resource has been exhausted","error":"Too many requests for team x and model grok-x. Your team's rate limit is: 1 request per second."}"#,
                        RateLimited,
                    ),
                    (
                        404,
                        r#"{"code":"Some requested entity was not found","error":"The model grok-x does not exist or your team does not have access to it."}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 150000 tokens."}"#,
                        ContextTooLong,
                    ),
                    (
                        403,
                        r#"{"code":"The caller does not have permission to execute the specified operation","error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X"}"#,
                        ContentRefused,
                    ),
                    (
                        400,
                        r#"{"code":"Client specified an invalid argument","error":"Invalid request content: Each message must have at least one content element."}"#,
                        CallerFault,
                    ),
                ],
            ),
            (
                "groq",
                &[
                    (
                        401,
                        r#"{"error":{"message":"Invalid API Key","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                        Credential,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Organization has been restricted. Please reach out to support.","type":"invalid_request_error","code":"organization_restricted"}}"#,
                        Credential,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"The model `x` has been decommissioned and is no longer supported.","type":"invalid_request_error","code":"model_decommissioned"}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=f>{"}}"#,
                        MalformedAnswer,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Failed to generate JSON. Please adjust your prompt.","type":"invalid_request_error","code":"json_validate_failed"}}"#,
                        MalformedAnswer,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                        ContextTooLong,
                    ),
                    (
                        413,
                        r#"{"error":{"message":"Request too large for model `x` in organization `org` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 12000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                        ContextTooLong,
                    ),
                    (
                        429,
                        r#"{"error":{"message":"Rate limit reached for model `x` in organization `org` on tokens per day (TPD): Limit 100000, Used 99500, Requested 1500. Please try again in 14m24s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                        RateLimited,
                    ),
                    (
                        498,
                        r#"{"error":{"message":"Flex tier capacity exceeded","type":"capacity_exceeded"}}"#,
                        RateLimited,
                    ),
                    (503, r#"{"error":{"message":"Service unavailable","type":"internal_server_error"}}"#, Transient),
                ],
            ),
            (
                "together",
                &[
                    (
                        401,
                        r#"{"id":"x","error":{"message":"Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                        Credential,
                    ),
                    (
                        403,
                        r#"{"error":{"message":"Credit limit exceeded, please navigate to the billing page to upgrade.","type":"credit_limit","param":null,"code":null}}"#,
                        Quota,
                    ),
                    (
                        404,
                        r#"{"error":{"message":"Unable to access model acme/x. Please visit the list of supported models.","type":"invalid_request_error","param":null,"code":"model_not_available"}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"Unable to access non-serverless model acme/x.","type":"invalid_request_error","param":null,"code":"model_not_available"}}"#,
                        ModelGone,
                    ),
                    (
                        422,
                        r#"{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`","type":"invalid_request_error","param":null,"code":null}}"#,
                        ContextTooLong,
                    ),
                    (
                        429,
                        r#"{"error":{"message":"You have reached the rate limit specific to this model acme/x.","type":"model_rate_limit","param":null,"code":null}}"#,
                        RateLimited,
                    ),
                    (
                        503,
                        r#"{"error":{"message":"The server is overloaded or not ready yet.","type":"service_unavailable","param":null,"code":null}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "fireworks",
                &[
                    (
                        401,
                        r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"The API key you provided is invalid."}}"#,
                        Credential,
                    ),
                    (
                        404,
                        r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"Model not found, inaccessible, and/or not deployed"}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"The prompt is too long: 140000, model maximum context length: 131071"}}"#,
                        ContextTooLong,
                    ),
                    (
                        412,
                        r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}}"#,
                        Quota,
                    ),
                    (
                        429,
                        r#"{"error":{"object":"error","type":"rate_limit_error","code":"rate_limit_exceeded","message":"Request didn't generate first token before the given deadline"}}"#,
                        RateLimited,
                    ),
                    (
                        503,
                        r#"{"error":{"object":"error","type":"internal_server_error","code":"service_unavailable","message":"Service overloaded"}}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "cerebras",
                &[
                    (
                        401,
                        r#"{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#,
                        Credential,
                    ),
                    (
                        402,
                        r#"{"message":"Payment required to access this resource.","type":"payment_required_error","param":"quota","code":"payment_required"}"#,
                        Quota,
                    ),
                    (
                        404,
                        r#"{"message":"Model x does not exist or you do not have access to it.","type":"not_found_error","param":"model","code":"model_not_found"}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"message":"Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#,
                        ContextTooLong,
                    ),
                    (
                        429,
                        r#"{"message":"Requests per minute limit exceeded - too many requests sent.","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#,
                        RateLimited,
                    ),
                    (
                        429,
                        r#"{"message":"Tokens per day limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}"#,
                        RateLimited,
                    ),
                    (
                        429,
                        r#"{"message":"We're experiencing high traffic right now! Please try again soon.","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}"#,
                        RateLimited,
                    ),
                    (
                        500,
                        r#"{"message":"Encountered a server error, please try again.","type":"server_error","param":"","code":""}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "bedrock",
                &[
                    (403, r#"{"message":"The security token included in the request is invalid."}"#, Credential),
                    (403, r#"{"Message":"Invalid API Key format: Must start with pre-defined prefix"}"#, Credential),
                    (
                        403,
                        r#"{"message":"You don't have access to the model with the specified model ID."}"#,
                        ModelGone,
                    ),
                    (400, r#"{"message":"The provided model identifier is invalid."}"#, ModelGone),
                    (
                        400,
                        r#"{"message":"Invocation of model ID x with on-demand throughput isn't supported. Retry your request with the ID or ARN of an inference profile that contains this model."}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"code":"validation_error","message":"model `x` isn't supported on this route","type":"invalid_request_error"}}"#,
                        ModelGone,
                    ),
                    (400, r#"{"message":"Input is too long for requested model."}"#, ContextTooLong),
                    (
                        400,
                        r#"{"__type":"ServiceQuotaExceededException","message":"Your account has reached a limit of the service."}"#,
                        Quota,
                    ),
                    (
                        400,
                        r#"{"__type":"ValidationException","message":"Malformed input request, please reformat your input and try again."}"#,
                        CallerFault,
                    ),
                    (
                        429,
                        r#"{"__type":"ThrottlingException","message":"Too many tokens, please wait before trying again."}"#,
                        RateLimited,
                    ),
                    (
                        503,
                        r#"{"__type":"ServiceUnavailableException","message":"The service is temporarily unavailable."}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "ollama",
                &[
                    (
                        404,
                        r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"registry.ollama.ai/library/x:2b does not support tools","type":"api_error","param":null,"code":null}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"json: cannot unmarshal string into Go struct field","type":"invalid_request_error","param":null,"code":null}}"#,
                        CallerFault,
                    ),
                    (
                        500,
                        r#"{"error":{"message":"model requires more system memory (8.4 GiB) than is available (5.6 GiB)","type":"api_error","param":null,"code":null}}"#,
                        Transient,
                    ),
                    (
                        503,
                        r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#,
                        Transient,
                    ),
                ],
            ),
            (
                "llama.cpp",
                &[
                    (
                        401,
                        r#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#,
                        Credential,
                    ),
                    (
                        400,
                        r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
                        ContextTooLong,
                    ),
                    (
                        500,
                        r#"{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}"#,
                        ModelGone,
                    ),
                    (
                        500,
                        r#"{"error":{"code":500,"message":"Failed to parse messages: Missing 'content'","type":"server_error"}}"#,
                        Transient,
                    ),
                    (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Transient),
                ],
            ),
            (
                "lm studio",
                &[
                    (
                        400,
                        r#"{"error":"Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}"#,
                        ContextTooLong,
                    ),
                    (
                        400,
                        r#"{"error":"No models loaded. Please load a model in the developer page or use the `lms load` command."}"#,
                        ModelGone,
                    ),
                    (
                        404,
                        r#"{"error":{"message":"Model \"x\" not found","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
                        ModelGone,
                    ),
                    (400, r#"{"error":"'messages' field is required"}"#, CallerFault),
                ],
            ),
            (
                "vllm",
                &[
                    (401, r#"{"error":"Unauthorized"}"#, Credential),
                    (
                        404,
                        r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages, Please reduce the length of the messages.","type":"BadRequestError","param":null,"code":400}"#,
                        ContextTooLong,
                    ),
                    (
                        400,
                        r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}}"#,
                        ModelGone,
                    ),
                    (
                        400,
                        r#"{"object":"error","message":"[{'type': 'missing', 'loc': ('body', 'messages')}]","type":"BadRequestError","param":null,"code":400}"#,
                        CallerFault,
                    ),
                    (
                        500,
                        r#"{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","param":null,"code":500}}"#,
                        Transient,
                    ),
                ],
            ),
        ];
        for (provider, rows) in table {
            for (status, body, class) in *rows {
                let failure = of_response(*status, None, body.as_bytes());
                assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{provider}: {status} {body}");
            }
        }
    }

    #[test]
    fn waits_are_found_in_bodies() {
        let table: &[(u16, &str, Option<Duration>)] = &[
            (
                429,
                r#"{"error":{"message":"Rate limit reached. Please try again in 1.2s. Visit us.","code":"rate_limit_exceeded"}}"#,
                Some(Duration::from_millis(1200)),
            ),
            (
                429,
                r#"{"error":{"message":"Rate limit reached. Please try again in 450ms.","code":"rate_limit_exceeded"}}"#,
                Some(Duration::from_millis(450)),
            ),
            (
                429,
                r#"{"error":{"message":"Please try again in 7m12.5s.","code":"rate_limit_exceeded"}}"#,
                Some(Duration::from_millis(432_500)),
            ),
            (
                429,
                r#"{"error":{"message":"Please try again in 6m0s.","code":"rate_limit_exceeded"}}"#,
                Some(Duration::from_secs(360)),
            ),
            (
                429,
                r#"{"error":{"code":"429","message":"Please retry after 26 seconds. To increase it, ask."}}"#,
                Some(Duration::from_secs(26)),
            ),
            (429, r#"{"error":{"code":"429","message":"Please retry after 1 day."}}"#, Some(limits::WAIT_MAX)),
            (
                429,
                r#"{"error":{"code":429,"message":"Please retry in 34.07s.","status":"RESOURCE_EXHAUSTED"}}"#,
                Some(Duration::from_millis(34_070)),
            ),
            (
                429,
                r#"[{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.Help"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}]"#,
                Some(Duration::from_secs(34)),
            ),
            (503, r#"{"error":{"message":"Overloaded; try again in 20 s"}}"#, Some(Duration::from_secs(20))),
            (429, r#"{"error":{"message":"Please try again in 30"}}"#, Some(Duration::from_secs(30))),
            (429, r#"{"error":{"message":"Please try again in a while."}}"#, None),
            (429, r#"{"error":{"message":"Please try again in -5s."}}"#, None),
            (429, r#"{"error":{"message":"Please try again later."}}"#, None),
            // Waiting does not help there.
            (401, r#"{"error":{"message":"Wrong key; try again in 5s"}}"#, None),
        ];
        for (status, body, expected) in table {
            assert_eq!(of_response(*status, None, body.as_bytes()).retry_after, *expected, "{body}");
        }
        let told = Some(Duration::from_secs(9));
        assert_eq!(of_response(429, told, table[0].1.as_bytes()).retry_after, told, "the header is preferred");
    }

    #[test]
    fn errors_inside_an_answer_are_told_apart() {
        let table: &[(&str, Class, u16)] = &[
            (r#"{"error":{"code":502,"message":"Provider disconnected"},"choices":[]}"#, Class::Transient, 502),
            (r#"{"error":{"code":429,"message":"slow"}}"#, Class::RateLimited, 429),
            (r#"{"error":{"code":"429","message":"slow"}}"#, Class::RateLimited, 429),
            (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Class::Transient, 200),
            (r#"{"error":{"type":"invalid_request_error","message":"bad"}}"#, Class::CallerFault, 200),
            (r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#, Class::RateLimited, 200),
            (r#"{"type":"error","error":{"type":"authentication_error","message":"expired"}}"#, Class::Credential, 200),
            (r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#, Class::Credential, 200),
            (r#"{"type":"error","error":{"type":"billing_error","message":"empty"}}"#, Class::Quota, 200),
            (r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#, Class::ModelGone, 200),
            (
                r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
                Class::Transient,
                200,
            ),
            (r#"{"type":"error","error":{"type":"timeout_error","message":"late"}}"#, Class::Transient, 200),
            (r#"{"error":"out of memory"}"#, Class::Transient, 200),
            (r#"{"detail":"not here"}"#, Class::Transient, 200),
            (r#"{"object":"error","message":"x is not a valid model","code":404}"#, Class::ModelGone, 404),
            (r#"{"message":"Too Many Requests","status":429}"#, Class::RateLimited, 429),
            (r#"{"error":{"message":"x","metadata":{"raw":"context length exceeded"}}}"#, Class::ContextTooLong, 200),
        ];
        for (body, class, status) in table {
            let value = serde_json::from_str(body).unwrap();
            assert!(is_error(&value), "{body}");
            let failure = of_value(&value);
            assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{body}");
        }
        for body in [
            r#"{"choices":[],"error":null}"#,
            r#"{"choices":[],"error":""}"#,
            r#"{"choices":[],"error":{}}"#,
            r#"{"choices":[],"message":"x","code":"y"}"#,
            r#"{"type":"ping"}"#,
            r#"{"id":"x","usage":{}}"#,
        ] {
            assert!(!is_error(&serde_json::from_str(body).unwrap()), "{body}");
        }
    }

    #[test]
    fn messages_are_one_bounded_line_without_keys() {
        let message = |body: &str| of_response(401, None, body.as_bytes()).message;
        assert_eq!(message(""), "HTTP 401");
        assert_eq!(
            message(r#"{"error":{"message":"bad key: sk-abcdefghijklmnop,\n\u001b[31mred"}}"#),
            "HTTP 401: bad key: [key] [31mred"
        );
        assert_eq!(message("<HTML><Title>Login</title>"), r#"HTTP 401: an HTML page, "Login""#);
        assert_eq!(
            message(r#"{"error":{"message":"a task-oriented ask-me-anything"}}"#),
            "HTTP 401: a task-oriented ask-me-anything"
        );
        let long = message(&format!("{{\"error\":\"{}\"}}", "ä".repeat(5000)));
        assert!(long.len() <= MESSAGE_BYTES_MAX && long.ends_with('…'), "{long}");
        let failure = failure(Class::Transient, "key s3cret refused").discarding("s3cret").without("s3cret");
        assert_eq!((failure.message.as_str(), failure.discarded.as_str()), ("key [key] refused", "[key]"));
    }
}
