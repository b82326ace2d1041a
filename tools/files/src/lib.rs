//! An MCP server for the files below one folder: `list`, `read`, `write`, `edit`, `search`.
//!
//! A call arrives through rmcp, its arguments become the input type of the tool's own module, and the work runs on
//! tokio's blocking threads against the open root folder (`root.rs`), the only way to the disk. What comes back is text
//! for the model and, except from `read`, the same as structured content for programs. Always true:
//! - Nothing outside of the root is read, listed or changed, whatever the path or the links in it say.
//! - A file is replaced as a whole and durably, or not at all.
//! - Every result is bounded and says how to go on.
//! - What goes wrong in a tool is an `isError` result that says what to do next. JSON-RPC errors are left
//!   for requests that name no tool of ours.
//!
//! Left out on purpose: deleting and moving (an agent that must not lose files needs neither), binary files,
//! and watching for changes.
//!
//! The tools differ in what a repetition does, and say so in their annotations. `write` overwrites content that the
//! caller may never have seen, so it is destructive, and idempotent, since the same call leaves the same file. `edit` is
//! not idempotent (the new text may hold the old one). It is not additive either, so it must not say
//! `destructiveHint: false`; but all that it removes is quoted in the call. So it leaves that hint unset, which cautious
//! hosts read as destructive, and agentd as a write to be checked before it is repeated.
//!
//! One [`Files`] serves one session, over any pipe. In the same process:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use rmcp::ServiceExt;
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let (near, far) = tokio::io::duplex(64 * 1024);
//! let server = tokio::spawn(agentd_files::Files::new(folder)?.serve(tokio::io::split(far)));
//! let client = ().serve(near).await?;
//! assert_eq!(client.list_all_tools().await?.len(), 5);
//! client.cancel().await?;
//! server.await??; // from here on, no call is at work any more
//! # Ok(())
//! # }
//! ```

mod edit;
mod error;
mod list;
mod read;
mod root;
mod search;
mod walk;
mod write;

use std::{fmt::Display, io, path::PathBuf, sync::Arc};

use rmcp::{
    RoleServer, ServerHandler, ServiceExt,
    handler::server::{router::tool::ToolRouter, tool::schema_for_output, wrapper::Parameters},
    model::{CallToolResult, ContentBlock},
    service::RequestContext,
    tool, tool_handler, tool_router,
    transport::IntoTransport,
};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::{error::Error, root::Root};

/// Most bytes of text in one result. It leaves room for a note below the 64 KiB that agentd shows to a model.
const TEXT_BYTES_MAX: usize = 48 * 1024;

/// Most calls of one session at work at once, so that it cannot take all of tokio's blocking threads (512).
const CALLS_MAX: u32 = 8;

/// The server: one root folder, held open, and the tools for what lies below it.
pub struct Files {
    root: Arc<Root>,
    tools: Arc<ToolRouter<Files>>,
    /// One permit per call at work, so that the end of the session can wait for them.
    calls: Arc<Semaphore>,
}

impl Files {
    /// Opens the folder `root`. The server stays with that folder even if it is moved or its name goes to another one.
    ///
    /// # Errors
    /// When `root` is missing, is no folder, or may not be opened.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Files> {
        Ok(Files {
            root: Arc::new(Root::open(&root.into())?),
            tools: Arc::new(Files::tool_router()),
            calls: Arc::new(Semaphore::new(CALLS_MAX as usize)),
        })
    }

    /// Speaks MCP over `transport`, such as `(reader, writer)`, until the client closes it, in either protocol era
    /// (`initialize` up to 2025-11-25, `server/discover` from 2026-07-28). It returns when the last call has ended, also
    /// one that the client has given up: after that nothing below the root is touched. Dropping the future instead
    /// loses this promise.
    ///
    /// # Errors
    /// When the client opens no session, or the session breaks down.
    pub async fn serve<T, E, A>(self, transport: T) -> io::Result<()>
    where
        T: IntoTransport<RoleServer, E, A>,
        E: std::error::Error + Send + Sync + 'static,
    {
        let calls = Arc::clone(&self.calls);
        let session = ServiceExt::serve(self, transport).await.map_err(io::Error::other)?;
        let ended = session.waiting().await;
        // Closed while all permits are held, so that a call which still queues never starts.
        if let Ok(_all) = calls.acquire_many(CALLS_MAX).await {
            calls.close();
        }
        ended.map(drop).map_err(io::Error::other)
    }

    /// Runs `work` on a blocking thread. Once begun it runs to its end, also when the call is cancelled:
    /// a write is never left half done.
    async fn call(&self, work: impl FnOnce(&Root) -> Result<CallToolResult, Error> + Send + 'static) -> CallToolResult {
        let root = Arc::clone(&self.root);
        let done = async {
            let permit = Arc::clone(&self.calls).acquire_owned().await.map_err(|_| Error::Unfinished)?;
            let work = move || {
                let _permit = permit;
                work(&root)
            };
            tokio::task::spawn_blocking(work).await.map_err(|_| Error::Unfinished)?
        };
        done.await.unwrap_or_else(|error| CallToolResult::error(vec![ContentBlock::text(error.to_string())]))
    }
}

#[tool_router]
impl Files {
    /// Lists the files and folders in a folder.
    #[tool(
        annotations(title = "List files", read_only_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<list::Output>()
    )]
    async fn list(&self, Parameters(input): Parameters<list::Input>) -> CallToolResult {
        self.call(move |root| list::list(root, input).map(answer)).await
    }

    /// Reads a text file, exactly as it is. Long files come in parts: go on with `offset`.
    #[tool(annotations(title = "Read a file", read_only_hint = true, open_world_hint = false))]
    async fn read(&self, Parameters(input): Parameters<read::Input>) -> CallToolResult {
        // No structured content: it would double the text, and some hosts show a model nothing else.
        self.call(move |root| {
            let page = read::read(root, input)?;
            Ok(CallToolResult::success(
                [Some(page.text), page.note].into_iter().flatten().map(ContentBlock::text).collect(),
            ))
        })
        .await
    }

    /// Creates a text file, or replaces the whole content of one. Missing folders are created.
    /// To change a part of a file, use `edit`.
    #[tool(
        annotations(title = "Write a file", read_only_hint = false, destructive_hint = true, idempotent_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<write::Output>()
    )]
    async fn write(&self, Parameters(input): Parameters<write::Input>) -> CallToolResult {
        self.call(move |root| write::write(root, input).map(answer)).await
    }

    /// Replaces a piece of text in a file by another.
    /// The old text must occur exactly `count` times (normally once), else nothing is changed.
    #[tool(
        annotations(title = "Edit a file", read_only_hint = false, idempotent_hint = false, open_world_hint = false),
        output_schema = schema_for_output::<edit::Output>()
    )]
    async fn edit(&self, Parameters(input): Parameters<edit::Input>) -> CallToolResult {
        self.call(move |root| edit::edit(root, input).map(answer)).await
    }

    /// Finds the lines of text files that hold a text or match a regular expression.
    /// Folders named `.git`, links and files that are not text are left out.
    #[tool(
        annotations(title = "Search in files", read_only_hint = true, open_world_hint = false),
        output_schema = schema_for_output::<search::Output>()
    )]
    async fn search(
        &self,
        Parameters(input): Parameters<search::Input>,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let cancelled = context.ct;
        self.call(move |root| search::search(root, input, &|| cancelled.is_cancelled()).map(answer)).await
    }
}

#[tool_handler(
    router = self.tools,
    name = "agentd-files",
    instructions = "Text files below one folder. Paths are relative to that folder, with forward slashes."
)]
impl ServerHandler for Files {}

/// The result of a tool, as text for the model and as structured content.
fn answer(output: impl Display + Serialize) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(output.to_string())]);
    result.structured_content = serde_json::to_value(&output).ok();
    result
}

/// Takes `format` out of the schema of a parameter: `uint32` is none of JSON Schema's, and some model providers refuse
/// what they don't know.
fn plain(schema: &mut schemars::Schema) {
    schema.remove("format");
}

#[cfg(test)]
mod tests;
