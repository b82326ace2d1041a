//! The OpenAI chat completions format (dialect `openai-chat`), at OpenAI or at any server that claims it.
//!
//! `convert` renders a request, `wire` reads what comes, with `calls` for what makes tool calls out of
//! pieces, and `convert` turns that into the neutral answer. Sending is strict, reading is forgiving.
//!
//! Left out on purpose: `n`, `seed`, `logprobs` and other knobs that no agent needs; OpenRouter's `usage: {include: true}`, which has no effect any more (openrouter.ai, 2026-11).

mod calls;
mod convert;
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
pub(super) struct Chat;

impl Format for Chat {
    fn url(&self, base: &Url, _: &str) -> Url {
        with_path(base, "/chat/completions")
    }

    fn body(&self, request: &Request, target: Target<'_>) -> Result<Bytes, serde_json::Error> {
        convert::body(request, target)
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
