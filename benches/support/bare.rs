//! The baseline: an agent loop that anybody would write with reqwest and rmcp, and nothing more.
//!
//! It asks, reads the stream, calls the tool, and asks again. It checks nothing, retries nothing, has no limits and no
//! timeouts. With a [`Log`] it also keeps what has happened, durable before each tool call and at the end.

use std::{mem, path::Path};

use agentd::run::RunId;
use anyhow::{Context, Result, bail};
use reqwest::header::CONTENT_TYPE;
use rmcp::{
    RoleClient,
    model::{CallToolRequestParams, JsonObject},
    service::RunningService,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::{INSTRUCTIONS, Kept, PROMPT, log::Log, model::Script, tool};

/// What all runs share.
pub struct Bare {
    http: reqwest::Client,
    url: String,
    tools: RunningService<RoleClient, ()>,
    /// The tools as a request offers them, listed once.
    offered: Box<RawValue>,
    log: Option<Log>,
}

impl Bare {
    /// Connects to the servers; with `log`, creates the log there.
    pub async fn new(base_url: &str, log: Option<&Path>) -> Result<Self> {
        // Another provider may be there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tools = tool::connect().await?;
        let offered: Vec<_> = tools.list_all_tools().await?.iter().map(offered).collect();
        Ok(Bare {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: format!("{base_url}/chat/completions"),
            tools,
            offered: serde_json::value::to_raw_value(&offered)?,
            log: log.map(Log::create).transpose()?,
        })
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
            let answer = self.ask(&model, &messages).await?;
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

    async fn ask(&self, model: &str, messages: &[Message]) -> Result<Message> {
        let stream_options = Options { include_usage: true };
        let request = Request { model, stream: true, stream_options, tools: &self.offered, messages };
        let body = serde_json::to_vec(&request)?;
        let post = self.http.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        let mut response = post.send().await?.error_for_status()?;
        let mut answer = Message::text("assistant", "");
        let mut unread = Vec::new();
        while let Some(bytes) = response.chunk().await? {
            unread.extend_from_slice(&bytes);
            let mut from = 0;
            while let Some(end) = unread[from..].windows(2).position(|two| two == b"\n\n") {
                let event = unread[from..from + end].strip_prefix(b"data: ").context("not an event")?;
                if event != b"[DONE]" {
                    answer.take(serde_json::from_slice(event)?)?;
                }
                from += end + 2;
            }
            unread.drain(..from);
        }
        Ok(answer)
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

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    stream_options: Options,
    tools: &'a RawValue,
    messages: &'a [Message],
}

#[derive(Serialize)]
struct Options {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
}

impl Message {
    fn text(role: &'static str, content: impl Into<String>) -> Self {
        Message { role, content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// Takes in a piece of an answer.
    fn take(&mut self, chunk: Chunk) -> Result<()> {
        for Choice { delta } in chunk.choices {
            self.content.push_str(&delta.content.unwrap_or_default());
            for piece in delta.tool_calls {
                if let Some(id) = piece.id {
                    let function = Function { name: String::new(), arguments: String::new() };
                    self.tool_calls.push(Call { id, kind: "function", function });
                }
                let Some(call) = self.tool_calls.last_mut() else { bail!("a piece of no call") };
                call.function.name.push_str(&piece.function.name.unwrap_or_default());
                call.function.arguments.push_str(&piece.function.arguments.unwrap_or_default());
            }
        }
        Ok(())
    }
}

#[derive(Serialize, Clone)]
struct Call {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function,
}

#[derive(Serialize, Clone)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Chunk {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Delta,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    #[serde(default)]
    tool_calls: Vec<CallPiece>,
}

#[derive(Deserialize)]
struct CallPiece {
    id: Option<String>,
    function: FunctionPiece,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}
