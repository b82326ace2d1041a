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

use bytes::Bytes;
use reqwest::Url;

use super::{
    Means,
    dialect::{Format, Target, with_path},
    reading::{Reader, Reading},
    schema::{self, Subset},
};
use crate::chat::Request;

/// The format.
pub(super) struct Responses;

impl Format for Responses {
    fn url(&self, base: &Url, _: &str) -> Url {
        with_path(base, "/responses")
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

    fn filled(&self) -> Option<&'static Subset> {
        Some(&schema::OPENAI_STRICT)
    }
}
