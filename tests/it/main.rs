//! The whole-system tests, one program: a module per behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]
#![allow(missing_docs, reason = "nobody outside uses this")]

mod answers;
mod approvals;
mod budgets;
mod canary;
mod cli;
mod commits;
mod control;
mod conversation;
mod crash;
mod doors;
mod example;
mod failover;
mod faults;
mod floors;
mod fuzz;
mod keys;
#[allow(dead_code, reason = "the benchmark needs more of it")]
mod ladder;
mod lists;
mod live;
mod mcp;
mod media;
mod model;
mod pairs;
mod probe;
mod progress;
mod provider;
mod refusals;
mod setup;
mod slots;
mod talk;
mod terminal;
mod text_calls;
mod tools;
mod vendor;
mod vendor_anthropic;
mod vendor_gemini;
mod vendor_responses;
