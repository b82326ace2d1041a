//! A model asked with reqwest and serde, and nothing more: what the baselines have in place of our clients.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

/// A server of the OpenAI chat format and the tools that it is offered.
pub struct Chat {
    http: reqwest::Client,
    url: String,
    /// The tools as a request offers them, written once.
    offered: Box<RawValue>,
}

impl Chat {
    /// A client for the server at this base URL. Connects to nothing.
    pub fn new(base_url: &str, offered: &[Value]) -> Result<Self> {
        // Another provider may be there already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Chat {
            http: reqwest::Client::builder().no_proxy().build()?,
            url: format!("{base_url}/chat/completions"),
            offered: serde_json::value::to_raw_value(offered)?,
        })
    }

    /// Asks for a stream and reads it.
    pub async fn ask(&self, model: &str, messages: &[Message]) -> Result<Message> {
        let mut response = self.send(model, messages, true).await?;
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

    /// Asks for a whole answer and reads it.
    pub async fn ask_whole(&self, model: &str, messages: &[Message]) -> Result<Message> {
        let bytes = self.send(model, messages, false).await?.bytes().await?;
        let Whole { choices } = serde_json::from_slice(&bytes)?;
        Ok(choices.into_iter().next().context("no answer")?.message)
    }

    async fn send(&self, model: &str, messages: &[Message], stream: bool) -> Result<reqwest::Response> {
        let stream_options = stream.then_some(Options { include_usage: true });
        let request = Request { model, stream, stream_options, tools: &self.offered, messages };
        let body = serde_json::to_vec(&request)?;
        let post = self.http.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        Ok(post.send().await?.error_for_status()?)
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Options>,
    tools: &'a RawValue,
    messages: &'a [Message],
}

#[derive(Serialize)]
struct Options {
    include_usage: bool,
}

/// A message of the conversation.
#[derive(Serialize, Deserialize)]
pub struct Message {
    /// Whose it is.
    pub role: Cow<'static, str>,
    /// Its text.
    pub content: String,
    /// What a model calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Call>,
    /// The call that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl Message {
    /// A message of nothing but text.
    pub fn text(role: &'static str, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into(), tool_calls: Vec::new(), tool_call_id: None }
    }

    /// Takes in a piece of an answer.
    fn take(&mut self, chunk: Chunk) -> Result<()> {
        for Choice { delta } in chunk.choices {
            self.content.push_str(&delta.content.unwrap_or_default());
            for piece in delta.tool_calls {
                if let Some(id) = piece.id {
                    let function = Function { name: String::new(), arguments: String::new() };
                    self.tool_calls.push(Call { id, kind: "function".into(), function });
                }
                let Some(call) = self.tool_calls.last_mut() else { bail!("a piece of no call") };
                call.function.name.push_str(&piece.function.name.unwrap_or_default());
                call.function.arguments.push_str(&piece.function.arguments.unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// A call.
#[derive(Serialize, Deserialize, Clone)]
pub struct Call {
    /// The model's id for it.
    pub id: String,
    /// `function`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What is called.
    pub function: Function,
}

/// What is called.
#[derive(Serialize, Deserialize, Clone)]
pub struct Function {
    /// The tool.
    pub name: String,
    /// The text of a JSON object.
    pub arguments: String,
}

#[derive(Deserialize)]
struct Whole {
    choices: Vec<WholeChoice>,
}

#[derive(Deserialize)]
struct WholeChoice {
    message: Message,
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
