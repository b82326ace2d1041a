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
//! - Headers, bodies, answers, connections and the end are bounded, in time as well. When there are too many connections, a new
//!   one takes the place of the one that has been idle longest, so that nobody is kept out by those who do nothing.
//!
//! Left out so far: TCP, tokens, and everything else that `agentd serve` is to have.

pub mod api;
mod client;
mod stream;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{DefaultBodyLimit, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{
        IntoResponse, Response, Sse,
        sse::{self, KeepAlive},
    },
    routing::{get, post},
};
use futures_util::TryStreamExt;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Deserialize;
use stream::Stream;
use tokio::{net::UnixStream, pin, select, sync::Semaphore, task::JoinSet, time::timeout};
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

/// How long a client may take for the body of a request. It is on this machine.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Bodies up to this many bytes are taken at once; for larger ones there are [`LARGE_BODIES_MAX`] places.
const SMALL_BODY: u64 = 256 << 10;

/// Larger bodies that are read at once: each takes up to the size of an entry in memory.
const LARGE_BODIES_MAX: usize = 4;

/// How long a client may take nothing of an answer.
const READS_WITHIN: Duration = Duration::from_secs(30);

/// How long requests under way may take when it is over.
const DRAIN: Duration = Duration::from_secs(2);

/// How often a follower is told that nothing came yet.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// How long to wait after a connection could not be accepted: files are closed meanwhile.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves a slot on its control socket until it is told to stop; then lets what is under way end, for two seconds.
pub async fn serve(slot: Arc<Slot>, socket: Socket, stop: CancellationToken) {
    let app = router(slot);
    let large = Arc::new(Semaphore::new(LARGE_BODIES_MAX));
    let mut connections = JoinSet::new();
    let mut known: Vec<Arc<Peer>> = Vec::new();
    loop {
        select! {
            accepted = socket.accept() => match accepted {
                Ok(stream) => {
                    known.retain(|peer| !peer.gone.is_cancelled());
                    if known.len() >= CONNECTIONS_MAX && let Some(place) = most_idle(&known) {
                        known.swap_remove(place).gone.cancel();
                    }
                    if known.len() >= CONNECTIONS_MAX {
                        // All are at work, which they are for a moment only.
                        drop(stream);
                        continue;
                    }
                    let peer = Arc::new(Peer { gone: CancellationToken::new(), stage: Mutex::new((Stage::Idle, Instant::now())), large: large.clone() });
                    known.push(peer.clone());
                    drop(connections.spawn(connection(stream, app.clone(), peer, stop.clone())));
                }
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

/// A connection, and what it is about.
struct Peer {
    /// Cancelled when the connection is closed or to be closed.
    gone: CancellationToken,
    /// What it does, and since when.
    stage: Mutex<(Stage, Instant)>,
    /// The places of large bodies, of all connections.
    large: Arc<Semaphore>,
}

/// What a connection does, in the order in which it gives way to a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Nothing was asked, or everything is answered.
    Idle,
    /// A request comes in.
    Asking,
    /// It follows a run, and can do so again from where it was.
    Following,
    /// A request is being answered; it never gives way.
    Answering,
}

impl Peer {
    fn stage(&self) -> (Stage, Instant) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = (stage, Instant::now());
    }
}

/// The connection that gives way to a new one: of those that do least, the one that has done so longest.
fn most_idle(known: &[Arc<Peer>]) -> Option<usize> {
    let stages = known.iter().map(|peer| peer.stage()).enumerate();
    stages.filter(|(_, (stage, _))| *stage != Stage::Answering).min_by_key(|(_, stage)| *stage).map(|(place, _)| place)
}

async fn connection(stream: UnixStream, app: Router, peer: Arc<Peer>, stop: CancellationToken) {
    let _gone = peer.gone.clone().drop_guard();
    let mut http = hyper::server::conn::http1::Builder::new();
    // It runs between requests as well, so that an idle connection ends with it.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let app = app.layer(from_fn_with_state(peer.clone(), attend));
    let stream = TokioIo::new(Stream::new(stream, READS_WITHIN));
    let served = http.serve_connection(stream, TowerToHyperService::new(app));
    pin!(served);
    let done = select! {
        done = served.as_mut() => done,
        () = peer.gone.cancelled() => return,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, "a connection to the control socket broke");
    }
}

/// Takes a request in whole, within its time and its place, before anything is done about it.
async fn attend(State(peer): State<Arc<Peer>>, request: Request, next: Next) -> Response {
    peer.enter(Stage::Asking);
    let (head, body) = request.into_parts();
    let length = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // A body in chunks says nothing of its length; without one there is none.
    let chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
    let large = chunked || length.is_some_and(|length| length > SMALL_BODY);
    let read = async {
        let _place = match large {
            true => Some(peer.large.acquire().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?),
            false => None,
        };
        to_bytes(body, frame::FRAME_BYTES_MAX).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)
    };
    let body = match timeout(BODY_WITHIN, read).await {
        Ok(Ok(body)) => body,
        Ok(Err(status)) => return refused(&peer, status, "the body is too long, or broke off"),
        Err(_) => return refused(&peer, StatusCode::REQUEST_TIMEOUT, "the body did not come within 10s"),
    };
    peer.enter(Stage::Answering);
    let answer = next.run(Request::from_parts(head, Body::from(body))).await;
    let follows = answer.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
    peer.enter(if follows { Stage::Following } else { Stage::Idle });
    answer
}

/// Refuses a request whose body was not taken; what is left of it is nobody's next request.
fn refused(peer: &Peer, status: StatusCode, detail: &str) -> Response {
    peer.enter(Stage::Idle);
    let problem = api::Problem { status: status.as_u16(), code: "bad_request".to_owned(), detail: detail.to_owned() };
    let headers = [(header::CONTENT_TYPE, api::PROBLEM), (header::CONNECTION, "close")];
    (status, headers, Json(problem)).into_response()
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
) -> Result<Sse<impl futures_util::Stream<Item = Result<sse::Event, Error>>>, Failure> {
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
