//! Reaches the runs of a slot over the control socket of the process that holds it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::http::{Method, Request, Response, header};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sse_stream::SseStream;
use tokio::net::UnixStream;

use super::api;
use crate::{
    daemon::{Connect, Error, Follow, Reach},
    journal::{self, Posted, v1},
    run::{Entry, RunId},
    store::{BoxFuture, InboxId},
    waiting,
};

/// Most bytes of an answer that is no stream: the largest journals, by far.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// How long to wait until a process that has many waiting may accept another connection.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// The way to slots of other processes, for [`Daemon::connect`](crate::daemon::Daemon::connect).
pub fn connect() -> Connect {
    Box::new(|socket: &Path| Arc::new(Client { socket: socket.to_owned() }))
}

struct Client {
    socket: PathBuf,
}

impl Client {
    /// Sends a request and returns the answer to it, if it is a good one.
    async fn ask(
        &self,
        method: Method,
        path: String,
        item: Option<InboxId>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Error> {
        let connected = loop {
            match UnixStream::connect(&self.socket).await {
                // Others wait at a process that does not accept; so do we.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(CONNECT_AGAIN).await,
                connected => break connected,
            }
        };
        let stream = connected.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Error::Io { what: format!("cannot speak to {}", self.socket.display()), source: error }
            }
            _ => Error::Gone(Some(error)),
        })?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        // It ends with the answer, and says there what went wrong.
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if let Some(item) = item {
            request = request.header("idempotency-key", item.to_string());
        }
        let request = request.body(Full::new(body)).map_err(|error| Error::Gone(Some(io::Error::other(error))))?;
        let answer = sender.send_request(request).await.map_err(gone)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let told: Result<api::Problem, _> = serde_json::from_slice(&whole(answer).await?);
        Err(match told {
            Ok(problem) => problem.into(),
            Err(_) => Error::Remote { code: "remote".to_owned(), message: format!("it answers {status}") },
        })
    }
}

impl Reach for Client {
    fn entries(self: Arc<Self>, run: RunId) -> BoxFuture<Result<Vec<Entry>, Error>> {
        Box::pin(async move {
            let answer = self.ask(Method::GET, format!("/api/v1/runs/{run}"), None, Bytes::new()).await?;
            let shown: api::Entries = serde_json::from_slice(&whole(answer).await?).map_err(strange)?;
            shown.entries.iter().map(|line| v1::read_line(line.get()).map_err(strange)).collect()
        })
    }

    fn follow(self: Arc<Self>, run: RunId, from: u64) -> BoxFuture<Result<Follow, Error>> {
        Box::pin(async move {
            let path = format!("/api/v1/runs/{run}/entries?from={from}");
            let answer = self.ask(Method::GET, path, None, Bytes::new()).await?;
            let waiting =
                waiting::on(format!("the process that drives run {run}, from which nothing has come for a while"));
            let body = answer.into_body().map_frame(move |frame| {
                waiting.stirred();
                frame
            });
            let events = SseStream::new(body).map_err(|error| Error::Gone(Some(io::Error::other(error))));
            let entries = events.try_filter_map(async |event| match event.data {
                Some(line) => v1::read_line(&line).map(|entry| Some(Arc::new(entry))).map_err(strange),
                None => Ok(None),
            });
            Ok(entries.boxed() as Follow)
        })
    }

    fn post(self: Arc<Self>, run: RunId, id: InboxId, posted: Posted) -> BoxFuture<Result<Option<u64>, Error>> {
        Box::pin(async move {
            let path = format!("/api/v1/runs/{run}/inbox");
            let answer = self.ask(Method::POST, path, Some(id), journal::write_posted(&posted)).await?;
            let told: api::Posted = serde_json::from_slice(&whole(answer).await?).map_err(strange)?;
            Ok(told.seq)
        })
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|error| Error::Gone(Some(io::Error::other(error))))?.to_bytes())
}

fn gone(error: hyper::Error) -> Error {
    Error::Gone(Some(io::Error::other(error)))
}

/// An answer that this version cannot read.
fn strange(error: impl std::fmt::Display) -> Error {
    let message = format!("the process that holds the run answers in another way than this version of agentd: {error}");
    Error::Remote { code: "remote".to_owned(), message }
}
