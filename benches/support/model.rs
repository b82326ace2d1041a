//! A model server: real HTTP and SSE in the OpenAI chat format, the same for all contenders.
//!
//! What it answers follows from the request alone, so it keeps nothing: the model's name says how many turns a run has
//! and how large tool results shall be ([`Script`]), the number of assistant messages says which turn it is. It writes
//! its HTTP by hand because it shares the machine with what is measured and must not be what limits it.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::http;

/// The role of a process that is a model server and nothing else.
pub const ROLE: &str = "model-server";

/// What a model does, written as its name: `10-0`, or `10-0-hold`.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Answers of a run: all but the last make one call.
    pub turns: usize,
    /// Bytes of each tool result; 0 for a tiny one.
    pub bytes: usize,
    /// Whether the last answer never comes.
    pub hold: bool,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}{}", self.turns, self.bytes, if self.hold { "-hold" } else { "" })
    }
}

impl FromStr for Script {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let mut words = name.split('-');
        let mut number = || words.next().context("a word is missing")?.parse().context("not a number");
        Ok(Script { turns: number()?, bytes: number()?, hold: words.next() == Some("hold") })
    }
}

/// What is known of the requests so far.
#[derive(Clone, Default)]
pub struct Watch {
    held: Arc<AtomicUsize>,
    arrivals: Option<mpsc::UnboundedSender<Instant>>,
}

impl Watch {
    /// Tells of every request as it arrives.
    pub fn arrivals() -> (Self, mpsc::UnboundedReceiver<Instant>) {
        let (send, receive) = mpsc::unbounded_channel();
        (Watch { arrivals: Some(send), ..Watch::default() }, receive)
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, watch: Watch) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let watch = watch.clone();
        tokio::spawn(async move {
            // A client that goes away ends its connection, and nothing else.
            let _gone = connection(stream, &watch).await;
        });
    }
}

async fn connection(stream: TcpStream, watch: &Watch) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let Some(head) = http::head(&mut stream).await? else { return Ok(()) };
        if head.path.ends_with("/models") {
            // No list is kept, and no answer is asked for.
            stream.write_all(http::whole("404 Not Found", "text/plain", "").as_bytes()).await?;
            continue;
        }
        if let Some(arrivals) = &watch.arrivals {
            arrivals.send(Instant::now())?;
        }
        body.resize(head.length, 0);
        stream.read_exact(&mut body).await?;
        if head.path == "/held" {
            let held = watch.held.load(Ordering::SeqCst).to_string();
            stream.write_all(http::whole("200 OK", "text/plain", &held).as_bytes()).await?;
            continue;
        }
        match answer(&body)? {
            Some(answer) => stream.write_all(answer.as_bytes()).await?,
            None => {
                watch.held.fetch_add(1, Ordering::SeqCst);
                // Comes back when the client has gone.
                let gone = stream.read(&mut [0]).await;
                watch.held.fetch_sub(1, Ordering::SeqCst);
                gone?;
                return Ok(());
            }
        }
    }
}

#[derive(Deserialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    tools: Vec<Tool<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    role: &'a str,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Function<'a>,
}

#[derive(Deserialize)]
struct Function<'a> {
    name: &'a str,
}

/// The response to a request; `None` if it is to be held.
fn answer(body: &[u8]) -> Result<Option<String>> {
    let request: Request<'_> = serde_json::from_slice(body)?;
    let script: Script = request.model.parse()?;
    let turn = request.messages.iter().filter(|message| message.role == "assistant").count() + 1;
    let last = turn >= script.turns;
    if last && script.hold {
        return Ok(None);
    }
    let [tool] = &request.tools[..] else { bail!("{} tools offered, not one", request.tools.len()) };
    let deltas = if last {
        vec![
            (json!({"role": "assistant", "content": "The work "}), None),
            (json!({"content": "is done."}), Some("stop")),
        ]
    } else {
        let call = json!({"index": 0, "id": format!("call_{turn}"), "type": "function",
            "function": {"name": tool.function.name, "arguments": ""}});
        let piece = |text: String| json!({"tool_calls": [{"index": 0, "function": {"arguments": text}}]});
        vec![
            (json!({"role": "assistant", "content": null, "tool_calls": [call]}), None),
            (piece(format!("{{\"text\":\"turn {turn}\",")), None),
            (piece(format!("\"bytes\":{}}}", script.bytes)), None),
            (json!({}), Some("tool_calls")),
        ]
    };
    let mut response = http::STREAM.to_owned();
    let chunk = |choices: Value, usage: Value| {
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request.model,
            "choices": choices, "usage": usage})
    };
    let mut events: Vec<String> = deltas
        .into_iter()
        .map(|(delta, finish)| {
            chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]), Value::Null).to_string()
        })
        .collect();
    let usage = json!({"prompt_tokens": body.len() / 4, "completion_tokens": 20, "total_tokens": body.len() / 4 + 20});
    events.push(chunk(json!([]), usage).to_string());
    events.push("[DONE]".to_owned());
    for event in events {
        response.push_str(&http::event(&event));
    }
    response.push_str(http::END);
    Ok(Some(response))
}
