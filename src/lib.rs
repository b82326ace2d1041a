//! A runtime for tool-calling agents that finish.
//!
//! An agent is described in YAML; a run of it is a loop of model answers and tool calls, journaled so that it survives
//! `kill -9`. In reading order:
//!
//! - [`run`]: what can happen to a run, and what should be in flight; the heart, and pure.
//! - [`chat`], [`repair`], [`agent`], [`yaml`]: the conversation, the check of tool calls, the definition, and its text.
//!   [`show`]: what others said, made fit to be seen.
//! - [`journal`] over a [`store`]: how what happened becomes durable.
//! - [`provider`] and [`router`]: how models are asked. [`mcp`]: how tools are called.
//! - [`engine`]: drives one run. [`daemon`]: wires everything to runs. `server`: reaches them from other processes.
#![doc = ""]
#![doc = include_str!("../ARCHITECTURE.md")]

pub mod agent;
pub mod bulkhead;
pub mod chaos;
pub mod chat;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod engine;
pub mod journal;
mod json;
pub mod mcp;
pub mod provider;
pub mod repair;
pub mod router;
pub mod run;
#[cfg(feature = "server")]
pub mod server;
pub mod show;
pub mod store;
pub mod waiting;
pub mod yaml;

pub use mcp::guard::enter as guard;
