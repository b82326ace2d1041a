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

use bytes::Bytes;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
};
use secrecy::SecretString;

use super::{
    Means,
    dialect::{Format, Target, key_header, with_path},
    reading::{Reader, Reading},
};
use crate::chat::Request;
use models::Model;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

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
        let mut headers = key_header(key, (!target.quirks.bearer).then_some(API_KEY))?;
        headers.insert(HeaderName::from_static("anthropic-version"), VERSION);
        if Model::named(target.model).binds_thinking {
            headers.insert(HeaderName::from_static("anthropic-beta"), BINDING_CONTROLS);
        }
        Ok(headers)
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
