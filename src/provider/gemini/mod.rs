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

use bytes::Bytes;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, InvalidHeaderValue},
};
use secrecy::SecretString;

use super::{
    Means,
    dialect::{Format, Target, key_header, with_path},
    reading::{Reader, Reading},
};
use crate::chat::Request;

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
        key_header(key, (!target.quirks.bearer).then_some(API_KEY))
    }

    fn body(&self, request: &Request, target: Target<'_>) -> Result<Bytes, serde_json::Error> {
        convert::body(request, target).map(Bytes::from)
    }

    fn means(&self, request: &Request, target: Target<'_>) -> Means {
        convert::means(request, target)
    }

    fn reading(&self) -> Box<dyn Reading> {
        Box::new(Reader::<wire::Reading>::new(convert::answer))
    }
}
