//! The OpenAI chat completions format (dialect `openai-chat`), at OpenAI or at any server that claims it.
//!
//! `convert` renders a request, `wire` reads what comes, with `calls` for what makes tool calls out of
//! pieces, and `convert` turns that into the neutral answer. Sending is strict, reading is forgiving.
//!
//! Left out on purpose: `n`, `seed`, `logprobs` and other knobs that no agent needs; strict schemas, which take a small
//! part of JSON Schema; OpenRouter's `usage: {include: true}`, which has no effect any more (openrouter.ai, 2026-11).

mod calls;
mod convert;
#[cfg(test)]
mod tests;
mod wire;

use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Delta, Failure,
    dialect::{Format, Reading, Target, with_path},
};
use crate::chat::{Answer, Request, Usage};

/// The format.
pub(super) struct Chat;

impl Format for Chat {
    fn url(&self, base: &Url, _: &str) -> Url {
        with_path(base, "/chat/completions")
    }

    fn headers(&self, key: Option<&SecretString>, _: Target<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    fn body(&self, request: &Request, target: Target<'_>) -> Result<Vec<u8>, serde_json::Error> {
        convert::body(request, target)
    }

    fn reading(&self) -> Box<dyn Reading> {
        Box::new(wire::Reading::default())
    }
}

impl Reading for wire::Reading {
    fn push(&mut self, bytes: &[u8], seen: &mut dyn FnMut(Delta<'_>)) -> Result<bool, Failure> {
        self.push(bytes, seen)
    }

    fn is_ended(&self) -> bool {
        self.is_ended()
    }

    fn has_begun(&self) -> bool {
        self.has_begun()
    }

    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn text(&self) -> String {
        self.text()
    }

    fn usage(&self) -> Option<Usage> {
        convert::usage(self.counts())
    }

    fn end(&mut self, target: Target<'_>, seen: &mut dyn FnMut(Delta<'_>)) -> Result<Answer, Failure> {
        let answer = self.end(seen)?;
        let told = convert::usage(&answer.usage);
        convert::answer(answer, target).map_err(|failure| failure.told(told))
    }
}
