//! agentd

pub mod agent;
pub mod chaos;
pub mod chat;
pub mod journal;
pub mod mcp;
pub mod provider;
pub mod repair;
pub mod run;
pub mod store;
pub mod yaml;
