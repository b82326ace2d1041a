//! Serves the runs of a slot over HTTP: the control socket, and the first part of `/api/v1`.
//!
//! ```text
//! GET  /api/v1/runs                      the runs of this slot
//! GET  /api/v1/runs/ID                   one run: the document of `runs show --json`
//! GET  /api/v1/runs/ID/entries?from=N    its entries as server-sent events, and each that comes; ids are their indexes
//! POST /api/v1/runs/ID/inbox             an inbox item (`journal::v1`); `Idempotency-Key` is its id, 32 hexadecimal digits
//! ```
//! `client` speaks it, with the answers of [`Reach`]. Always true:
//! - Nothing is answered that is not durable.
//! - Errors are problem+json with the stable codes of `daemon::Error`.
//! - Headers, bodies, connections and the end are bounded.
//!
//! Left out so far: TCP, tokens, and everything else that `agentd serve` is to have.

pub mod api;
mod client;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::{get, post},
};
use futures_util::{Stream, TryStreamExt};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Deserialize;
use tokio::{net::UnixStream, pin, select, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    daemon::{Error, Reach, Slot, Socket},
    journal::{self, frame, v1},
    run::{Run, RunId},
    store::InboxId,
};

pub use client::connect;

/// Most connections at once: a person has a few terminals.
const CONNECTIONS_MAX: usize = 64;

/// How long a client may take for the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long requests under way may take when it is over.
const DRAIN: Duration = Duration::from_secs(2);

/// How often a follower is told that nothing came yet.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long to wait after a connection could not be accepted: files are closed meanwhile.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves a slot on its control socket until it is told to stop; then lets what is under way end, for two seconds.
pub async fn serve(slot: Arc<Slot>, socket: Socket, stop: CancellationToken) {
    let app = router(slot);
    let mut connections = JoinSet::new();
    loop {
        select! {
            accepted = socket.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok(stream) => drop(connections.spawn(connection(stream, app.clone(), stop.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "the control socket could not accept");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(stream: UnixStream, app: Router, stop: CancellationToken) {
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    pin!(served);
    let done = select! {
        done = served.as_mut() => done,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection to the control socket broke");
    }
}

fn router(slot: Arc<Slot>) -> Router {
    Router::new()
        .route("/api/v1/runs", get(runs))
        .route("/api/v1/runs/{run}", get(run))
        .route("/api/v1/runs/{run}/entries", get(entries))
        .route("/api/v1/runs/{run}/inbox", post(inbox))
        .fallback(async || Failure(Error::NotFound("there is no such route".to_owned())))
        .layer(DefaultBodyLimit::max(frame::FRAME_BYTES_MAX))
        .with_state(slot)
}

async fn runs(State(slot): State<Arc<Slot>>) -> Result<Json<api::Runs>, Failure> {
    let mut listed = slot.listed().await?;
    listed.sort_by_key(|listed| std::cmp::Reverse((listed.columns.created, listed.run)));
    Ok(Json(api::Runs::new(&listed)))
}

async fn run(State(slot): State<Arc<Slot>>, Path(id): Path<String>) -> Result<Json<api::Shown>, Failure> {
    let id = run_id(&id)?;
    let entries = slot.clone().entries(id).await?;
    let run = Run::replay(&entries).map_err(Error::from)?;
    Ok(Json(api::Shown::new(id, &run, &entries, slot.drives(id))))
}

#[derive(Deserialize)]
struct From {
    /// The index of the first entry that is wanted.
    #[serde(default)]
    from: u64,
}

async fn entries(
    State(slot): State<Arc<Slot>>,
    Path(id): Path<String>,
    Query(From { from }): Query<From>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Error>>>, Failure> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse::<u64>().ok());
    let from = last.map_or(from, |last| last.saturating_add(1));
    let follow = slot.follow(run_id(&id)?, from).await?;
    let events = follow.map_ok(|entry| sse::Event::default().id(entry.index.to_string()).data(v1::line(&entry)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE_EVERY)))
}

async fn inbox(
    State(slot): State<Arc<Slot>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<api::Posted>, Failure> {
    let run = run_id(&id)?;
    let item = headers.get("idempotency-key").and_then(|key| key.to_str().ok()?.parse::<InboxId>().ok());
    let item = item.ok_or_else(|| bad("Idempotency-Key is to have 32 hexadecimal digits"))?;
    let posted = journal::read_posted(&body).map_err(|error| bad(&format!("{error}: see the items of an inbox")))?;
    Ok(Json(api::Posted { seq: slot.post(run, item, posted).await? }))
}

fn run_id(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|_| Error::NotFound(format!("there is no run {text}")))
}

fn bad(message: &str) -> Error {
    Error::Remote { code: "bad_request".to_owned(), message: message.to_owned() }
}

/// An error on its way to a client.
struct Failure(Error);

impl<E: Into<Error>> std::convert::From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = api::Problem::from(&self.0);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, [(header::CONTENT_TYPE, api::PROBLEM)], Json(problem)).into_response()
    }
}
