//! One request over HTTP and its answer as chunks of bytes: the deadlines, the error statuses and what the head of an answer
//! tells.
//!
//! Always true:
//! - An [`Incoming`] has a good status; any other became a [`Failure`], of whose body at most [`ERROR_BYTES_MAX`] were read.
//! - Every wait ends, by a deadline that the failure names.
//! - Redirects are not followed: they would take the key to wherever a server says.

use std::{
    error::Error as _,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use reqwest::header::LOCATION;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    Class, Failure, Limits, Timeouts, failure,
    limits::{limits, retry_after},
};

/// Most bytes read of the body of an error.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// How long to wait for what may follow a finished answer (tokens used, the end of the stream): long enough for a slow
/// link, short beside the idle timeout.
const TAIL: Duration = Duration::from_secs(5);

/// How long to wait for the end of the body behind the end mark, so that the connection can be used again.
const LINGER: Duration = Duration::from_millis(50);

/// An HTTP client for providers, unless the caller brings one. `local` is for addresses on this machine: no proxy and
/// no certificates, so that it is built at once and works where no certificates are installed.
///
/// # Errors
/// When the certificates of the system cannot be loaded.
pub(super) fn client(connect: Duration, local: bool) -> Result<reqwest::Client, reqwest::Error> {
    // An error says that the process has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("agentd/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .connect_timeout(connect);
    if local { builder.no_proxy().tls_certs_only([]) } else { builder }.build()
}

/// An answer with a good status, its body on the way.
#[derive(Debug)]
pub(super) struct Incoming {
    response: reqwest::Response,
    timeouts: Timeouts,
    started: Instant,
    /// When the last sign of life came.
    alive: Instant,
    alarm: Alarm,
}

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first piece of the answer.
    FirstToken,
    /// The next piece.
    Next,
    /// What may follow when the answer is complete.
    Tail,
}

/// Sends a request and waits for the head of the answer. The wait for the first piece begins here, as nothing tells when
/// the connection stood.
pub(super) async fn send(request: reqwest::RequestBuilder, timeouts: Timeouts) -> Result<Incoming, Failure> {
    let started = Instant::now();
    let first = started + timeouts.first_token.min(timeouts.total);
    let mut alarm = Alarm::at(first);
    let response = match alarm.wait_until(first, request.send()).await {
        Some(Ok(response)) => response,
        Some(Err(error)) => return Err(not_sent(&error, timeouts.connect)),
        None => return Err(late(Phase::FirstToken, &timeouts, started)),
    };
    let incoming = Incoming { response, timeouts, started, alive: Instant::now(), alarm };
    if incoming.response.status().is_success() {
        return Ok(incoming);
    }
    // Boxed, or every request in flight would take room for what few need.
    Err(Box::pin(incoming.refusal()).await)
}

impl Incoming {
    /// The next bytes; `None` at the end of the body.
    ///
    /// # Errors
    /// When the deadline of `phase` or the total one passes (transient), or the body breaks off (malformed answer).
    pub(super) async fn chunk(&mut self, phase: Phase) -> Result<Option<Bytes>, Failure> {
        let deadline = match phase {
            Phase::FirstToken => self.started + self.timeouts.first_token,
            Phase::Next => self.alive + self.timeouts.idle,
            Phase::Tail => self.alive + self.timeouts.idle.min(TAIL),
        };
        let deadline = deadline.min(self.started + self.timeouts.total);
        match self.alarm.wait_until(deadline, self.response.chunk()).await {
            Some(Ok(chunk)) => Ok(chunk),
            Some(Err(error)) => {
                let message = format!("the answer broke off: {}", cause(&error));
                Err(failure::failure(Class::MalformedAnswer, &message).in_flight())
            }
            None => Err(late(phase, &self.timeouts, self.started)),
        }
    }

    /// Takes note of a sign of life: the idle timeout starts anew.
    pub(super) fn is_alive(&mut self) {
        self.alive = Instant::now();
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// What the provider still allows, as far as the head of the answer says.
    pub(super) fn limits(&self) -> Option<Limits> {
        limits(self.response.headers(), SystemTime::now())
    }

    /// Waits a moment for the end of the body, so that the connection goes back to the pool.
    pub(super) async fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        while let Some(Ok(Some(_))) = self.alarm.wait_until(deadline, self.response.chunk()).await {}
    }

    /// What the error status and its body mean.
    async fn refusal(mut self) -> Failure {
        let status = self.status();
        let headers = self.response.headers();
        let told = retry_after(headers, SystemTime::now());
        let reset = limits(headers, SystemTime::now()).and_then(|limits| limits.reset);
        if let (300..400, Some(location)) = (status, headers.get(LOCATION)) {
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let message = format!(
                "HTTP {status}: redirected to {location:?}, which is not followed; the base URL must name the real place"
            );
            return Failure { status: Some(status), ..failure::failure(Class::ModelGone, &message) };
        }
        let mut body = Vec::new();
        // The status is known and tells most: a body that breaks off or never comes is used as far as it got.
        while body.len() < ERROR_BYTES_MAX {
            match self.chunk(Phase::Tail).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(ERROR_BYTES_MAX);
        failure::of_response(status, told, &body).resetting(reset)
    }
}

/// The one timer of an answer, which rings when it should or before. With each piece that comes the deadline moves away, and
/// to set a timer anew each time costs more than to look at one too early now and then.
#[derive(Debug)]
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn at(time: Instant) -> Self {
        Alarm(Box::pin(sleep_until(time)))
    }

    /// What the future brings; `None` when it has brought nothing at `deadline`.
    async fn wait_until<T>(&mut self, deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        poll_fn(|context| {
            if let Poll::Ready(done) = future.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            while self.0.as_mut().poll(context).is_ready() {
                if self.0.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                self.0.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

fn late(phase: Phase, timeouts: &Timeouts, started: Instant) -> Failure {
    let message = if started.elapsed() >= timeouts.total {
        format!("no complete answer within {:?} (total timeout)", timeouts.total)
    } else if phase == Phase::FirstToken {
        format!("nothing of an answer within {:?} (first-token timeout)", timeouts.first_token)
    } else {
        format!("the answer stalled for {:?} (idle timeout)", timeouts.idle)
    };
    Failure { timed_out: true, ..failure::failure(Class::Transient, &message).in_flight() }
}

fn not_sent(error: &reqwest::Error, connect: Duration) -> Failure {
    let message = match (error.is_connect(), error.is_timeout()) {
        (true, true) => format!("no connection within {connect:?} (connect timeout)"),
        (true, false) => format!("cannot connect: {}", cause(error)),
        _ => format!("no answer: {}", cause(error)),
    };
    let failure = Failure { timed_out: error.is_timeout(), ..failure::failure(Class::Transient, &message) };
    // Without a connection nothing was sent.
    if error.is_connect() { failure } else { failure.in_flight() }
}

/// The innermost causes, which tell more than "error sending request" and hold no URL.
fn cause(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    match causes.as_slice() {
        [] => "the request failed".to_owned(),
        [.., outer, inner] if !outer.contains(inner.as_str()) => format!("{outer}: {inner}"),
        [.., outer, _] => outer.clone(),
        [only] => only.clone(),
    }
}
