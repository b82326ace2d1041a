//! The OpenAI Responses format (dialect `openai-responses`), at OpenAI or at any server that claims it.
//!
//! `convert` renders a request, `wire` reads what comes, with `items` for what makes items out of events, and `convert`
//! turns that into the neutral answer. Sending is strict, reading is forgiving. Nothing is kept at the server
//! (`store: false`): the whole conversation goes with each request, what the model thought encrypted for its issuer.
//!
//! Left out on purpose: hosted tools, `previous_response_id`, conversations and background answers, whose state we could
//! not bring back after a crash or carry to another provider; sounds, which the format does not take (2026-11).

mod convert;
mod items;
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
pub(super) struct Responses;

impl Format for Responses {
    fn url(&self, base: &Url, _: &str) -> Url {
        with_path(base, "/responses")
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
        // The last event holds everything, and nothing follows it.
        self.is_ended()
    }

    fn text(&self) -> String {
        self.text()
    }

    fn usage(&self) -> Option<Usage> {
        self.usage()
    }

    fn end(&mut self, target: Target<'_>, seen: &mut dyn FnMut(Delta<'_>)) -> Result<Answer, Failure> {
        let answer = self.end(seen)?;
        let told = answer.usage;
        convert::answer(answer, target).map_err(|failure| failure.told(told))
    }
}
