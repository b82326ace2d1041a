//! As much of HTTP/1.1 as a server needs that must not be what limits whom it is asked by.

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};

/// What is known of a request before its body.
pub struct Head {
    /// The path.
    pub path: String,
    /// Bytes of the body.
    pub length: usize,
}

/// Reads a request up to its body; `None` at the end of the connection.
pub async fn head(stream: &mut BufReader<TcpStream>) -> Result<Option<Head>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).context("no path")?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some(_) => {}
            None => return Ok(Some(Head { path, length })),
        }
    }
}

/// What a stream of events begins with.
pub const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event of it.
pub fn event(data: &str) -> String {
    format!("{:x}\r\ndata: {data}\n\n\r\n", data.len() + "data: \n\n".len())
}

/// What it ends with.
pub const END: &str = "0\r\n\r\n";

/// A response that is whole.
pub fn whole(status: &str, kind: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
