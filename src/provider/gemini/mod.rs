//! The Gemini format (dialect `gemini`): `streamGenerateContent` of Google's Gemini API, and of Vertex AI, where it is the
//! same with another base URL and a bearer token ([`Quirks::bearer`](super::Quirks)).
//!
//! `convert` renders a request, `wire` reads what comes, and `convert` turns that into the neutral answer. Sending is
//! strict, reading is forgiving. Sources: ai.google.dev/api/generate-content, /gemini-api/docs/function-calling and
//! /gemini-api/docs/thought-signatures, 2026-11.
//!
//! Left out on purpose: cached content as a resource (prefixes are cached by themselves), Google's own tools, arguments
//! streamed in pieces (Vertex, only on request), and getting tokens for Vertex.

mod convert;
#[cfg(test)]
mod tests;
mod wire;

use reqwest::{
    Url,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    Delta, Failure,
    dialect::{Format, Reading, Target, with_path},
};
use crate::chat::{Answer, Request, Usage};

const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The format.
pub(super) struct Gemini;

impl Format for Gemini {
    fn url(&self, base: &Url, model: &str) -> Url {
        let model = model.strip_prefix("models/").unwrap_or(model);
        let mut url = with_path(base, &format!("/models/{model}:streamGenerateContent"));
        // Without it the answer is one JSON array, which we read too, but only whole.
        url.query_pairs_mut().append_pair("alt", "sse");
        url
    }

    fn headers(&self, key: Option<&SecretString>, target: Target<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let key = key.expose_secret();
            let (name, mut value) = match target.quirks.bearer {
                true => (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}"))?),
                false => (API_KEY, HeaderValue::from_str(key)?),
            };
            value.set_sensitive(true);
            headers.insert(name, value);
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
