//! A server of the OpenAI chat format whose answers stand ready: what it does is chosen by the path of its base URL.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::http;

/// Pieces of text in [`STREAM`].
pub const CHUNKS: usize = 50;

/// Base path of what answers with one document.
pub const WHOLE: &str = "/whole";

/// Base path of what answers with a stream of [`CHUNKS`] pieces, each sent by itself.
pub const STREAM: &str = "/stream";

/// Base path of what answers with 503.
pub const BUSY: &str = "/busy";

/// Serves until the process ends.
pub async fn serve(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            // A client that goes away ends its connection, and nothing else.
            let _gone = connection(stream).await;
        });
    }
}

async fn connection(stream: TcpStream) -> Result<()> {
    let answers = [(WHOLE, vec![whole()]), (STREAM, stream_of(CHUNKS)), (BUSY, vec![busy()])];
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    while let Some(head) = http::head(&mut stream).await? {
        body.resize(head.length, 0);
        stream.read_exact(&mut body).await?;
        let (_, pieces) = answers.iter().find(|(path, _)| head.path.starts_with(path)).context("no such path")?;
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await?;
        }
    }
    Ok(())
}

fn usage() -> Value {
    json!({"prompt_tokens": 300, "completion_tokens": CHUNKS, "total_tokens": 300 + CHUNKS})
}

fn whole() -> String {
    let text = "word ".repeat(CHUNKS);
    let message = json!({"role": "assistant", "content": text});
    let answer = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage()});
    http::whole("200 OK", "application/json", &answer.to_string())
}

/// The pieces of a response as they are sent: the first with the head, the last with what ends the stream.
fn stream_of(chunks: usize) -> Vec<String> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": choices, "usage": usage});
        http::event(&chunk.to_string())
    };
    let delta = |delta: Value, finish: Option<&str>| {
        chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]), Value::Null)
    };
    let mut pieces: Vec<String> = (0..chunks).map(|_| delta(json!({"content": "word "}), None)).collect();
    if let Some(first) = pieces.first_mut() {
        first.insert_str(0, http::STREAM);
    }
    let end = [delta(json!({}), Some("stop")), chunk(json!([]), usage()), http::event("[DONE]"), http::END.to_owned()];
    pieces.push(end.concat());
    pieces
}

fn busy() -> String {
    let error = json!({"error": {"message": "The server is overloaded.", "type": "server_error", "code": null}});
    http::whole("503 Service Unavailable", "application/json", &error.to_string())
}
