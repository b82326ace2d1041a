//! The OpenAI chat completions format (dialect `openai-chat`), at OpenAI or at any server that claims it.
//!
//! `convert` renders a request, `client` sends it, `wire` reads what comes, with `calls` for what makes tool calls out of
//! pieces, and `convert` turns that into the neutral answer. Sending is strict, reading is forgiving.
//!
//! Left out on purpose: `n`, `seed`, `logprobs` and other knobs that no agent needs; strict schemas and other quirks
//! per provider, which belong to the catalogue.

mod calls;
mod client;
mod convert;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Builder, Client, Error};
