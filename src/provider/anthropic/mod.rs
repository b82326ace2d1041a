//! The Anthropic messages format (dialect `anthropic-messages`), at Anthropic or at any server that claims it.
//!
//! `convert` renders a request, with `models` for what each of the vendor's models takes and refuses; `wire` reads what
//! comes, and `convert` turns that into the neutral answer. Sending is strict, reading is forgiving.
//!
//! Left out on purpose: tools that run at the service (web search, code execution, computer use), citations, the choice
//! of how thinking is shown, and caches that live longer than five minutes.

mod convert;
mod models;
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
use models::Model;

/// The version of the format. The one that every server of the format knows; 2026-10-21 takes away what we never send
/// (platform.claude.com/docs/en/api/versioning, 2026-11).
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Lets a request say that thinking which no longer fits its conversation is to be passed over and not refused
/// (platform.claude.com/docs/en/build-with-claude/preserved-thinking, 2026-11).
const BINDING_CONTROLS: HeaderValue = HeaderValue::from_static("thinking-binding-controls-2026-08-01");

/// The format.
pub(super) struct Messages;

impl Format for Messages {
    fn url(&self, base: &Url, _: &str) -> Url {
        with_path(base, "/messages")
    }

    fn headers(&self, key: Option<&SecretString>, target: Target<'_>) -> Result<HeaderMap, InvalidHeaderValue> {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
        if Model::named(target.model).binds_thinking {
            headers.insert(HeaderName::from_static("anthropic-beta"), BINDING_CONTROLS);
        }
        if let Some(key) = key.map(ExposeSecret::expose_secret) {
            let (name, value) = match target.quirks.bearer {
                true => (AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}"))),
                false => (HeaderName::from_static("x-api-key"), HeaderValue::from_str(key)),
            };
            let mut value = value?;
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
