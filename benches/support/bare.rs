//! The baseline: an agent loop that anybody would write with reqwest and rmcp, and nothing more.
//!
//! It asks, reads the stream, calls the tool, and asks again. It checks nothing, retries nothing, has no limits and no
//! timeouts. With a [`Log`] it also keeps what has happened, durable before each tool call and at the end.

use std::{mem, path::Path};

use agentd::run::RunId;
use anyhow::Result;
use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, JsonObject},
    service::RunningService,
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    INSTRUCTIONS, Kept, PROMPT,
    chat::{Call, Chat, Function, Message},
    log::Log,
    model::Script,
    tool,
};

/// What all runs share.
pub struct Bare {
    chat: Chat,
    tools: RunningService<RoleClient, ()>,
    log: Option<Log>,
}

impl Bare {
    /// Connects to the servers; with `log`, creates the log there.
    pub async fn new(base_url: &str, log: Option<&Path>) -> Result<Self> {
        let tools = tool::connect().await?;
        let offered: Vec<_> = tools.list_all_tools().await?.iter().map(offered).collect();
        Ok(Bare { chat: Chat::new(base_url, &offered)?, tools, log: log.map(Log::create).transpose()? })
    }

    /// One run to its end.
    pub async fn run(&self, script: Script) -> Result<Kept> {
        let mut kept = Kept { run: RunId(Uuid::now_v7()), ..Kept::default() };
        let model = script.to_string();
        let mut messages = vec![Message::text("system", INSTRUCTIONS), Message::text("user", PROMPT)];
        let mut records = Vec::new();
        // How many messages stand in records.
        let mut recorded = 0;
        loop {
            let answer = self.chat.ask(&model, &messages).await?;
            let calls = answer.tool_calls.clone();
            messages.push(answer);
            kept.turns += 1;
            if let Some(log) = &self.log {
                for message in &messages[recorded..] {
                    let record =
                        Record { run: kept.run.to_string(), at_ms: jiff::Timestamp::now().as_millisecond(), message };
                    serde_json::to_writer(&mut records, &record)?;
                    records.push(b'\n');
                }
                recorded = messages.len();
                kept.journal_bytes += records.len();
                kept.commits += 1;
                log.append(mem::take(&mut records)).await?;
            }
            if calls.is_empty() {
                kept.conversation_bytes = serde_json::to_vec(&messages)?.len();
                return Ok(kept);
            }
            for Call { id, function, .. } in calls {
                let text = self.call(function).await?;
                messages.push(Message { tool_call_id: Some(id), ..Message::text("tool", text) });
            }
        }
    }

    async fn call(&self, function: Function) -> Result<String> {
        let arguments: JsonObject = serde_json::from_str(&function.arguments)?;
        let params = CallToolRequestParams::new(function.name).with_arguments(arguments);
        let result = self.tools.call_tool(params).await?;
        let text: Vec<_> =
            result.content.iter().filter_map(|content| content.as_text()).map(|text| &*text.text).collect();
        Ok(text.concat())
    }
}

/// A line of the log.
#[derive(Serialize)]
struct Record<'a> {
    run: String,
    at_ms: i64,
    message: &'a Message,
}

fn offered(tool: &rmcp::model::Tool) -> Value {
    let (name, description, parameters) = (&tool.name, &tool.description, &tool.input_schema);
    json!({"type": "function", "function": {"name": name, "description": description, "parameters": parameters}})
}
