//! A tool server: rmcp over stdin and stdout, in a process of its own, the same for all contenders.

use std::process::Stdio;

use anyhow::{Context, Result};
use rmcp::{
    RoleClient, ServerHandler, ServiceExt,
    handler::server::wrapper::Parameters,
    schemars::{self, JsonSchema},
    service::RunningService,
    tool, tool_handler, tool_router,
};
use serde::Deserialize;

use super::os;

/// The role of a process that is a tool server.
pub const ROLE: &str = "tool-server";

/// A server with one tool.
struct Echo;

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// What to say.
    text: String,
    /// How many bytes the answer should have at least.
    bytes: usize,
}

#[tool_router]
impl Echo {
    /// Says what it is told.
    #[tool(annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(Input { text, bytes }): Parameters<Input>) -> String {
        let missing = bytes.saturating_sub(text.len());
        text + &" and so on".repeat(missing / 10)
    }
}

#[tool_handler]
impl ServerHandler for Echo {}

/// Serves until stdin ends.
pub fn serve() -> Result<()> {
    os::pin(os::SERVERS)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Echo.serve(rmcp::transport::io::stdio_pipes()).await?.waiting().await?;
        Ok(())
    })
}

/// A session with a server of its own, as rmcp opens it when told nothing.
pub async fn connect() -> Result<RunningService<RoleClient, ()>> {
    let mut server = tokio::process::Command::new(std::env::current_exe()?)
        .arg(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pipes = (server.stdout.take().context("no stdout")?, server.stdin.take().context("no stdin")?);
    tokio::spawn(async move { server.wait().await });
    Ok(().serve(pipes).await?)
}
