//! What waits for the writer, in the order in which it was asked for.
//!
//! The queue has no bound of its own: `append` takes its place when it is called and cannot wait. A run asks again when
//! it was answered, but for the few results that nobody awaits, so there is never more here than the runs in flight hold
//! in their hands; frames are not copied. What is bounded is the batch (`draft`).

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::engine::Engine;
use crate::{
    run::RunId,
    store::{Appended, Error, Head, InboxId, Part},
};

/// Who waits for an answer.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// What is asked of the writer.
pub(super) enum Request {
    Append {
        parts: Vec<Part>,
        answer: Answer<Vec<Appended>>,
    },
    Claim {
        run: RunId,
        answer: Answer<Head>,
    },
    Post {
        run: RunId,
        id: InboxId,
        item: Bytes,
        answer: Answer<()>,
    },
    Delete {
        run: RunId,
        answer: Answer<()>,
    },
    /// A read that must not see anything move.
    Look(Box<dyn FnOnce(&Engine) + Send>),
}

impl Request {
    pub(super) fn refuse(self, error: Error) {
        match self {
            Request::Append { answer, .. } => reply(answer, Err(error)),
            Request::Claim { answer, .. } => reply(answer, Err(error)),
            Request::Post { answer, .. } | Request::Delete { answer, .. } => reply(answer, Err(error)),
            // Its sender goes with it, which its waiter notices.
            Request::Look(look) => drop(look),
        }
    }
}

/// Answers. Nobody need be waiting any more: a dropped future withdraws nothing.
pub(super) fn reply<T>(answer: Answer<T>, result: Result<T, Error>) {
    drop(answer.send(result));
}

/// The row of requests.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

struct Waiting {
    requests: VecDeque<Request>,
    /// Why nothing is taken in any more.
    closed: Option<Error>,
}

impl Queue {
    pub(super) fn new() -> Self {
        let waiting = Waiting { requests: VecDeque::new(), closed: None };
        Queue { waiting: Mutex::new(waiting), bell: Condvar::new() }
    }

    /// Gives a request its place, or refuses it.
    pub(super) fn push(&self, request: Request) {
        let mut waiting = self.waiting();
        match waiting.closed.clone() {
            None => {
                waiting.requests.push_back(request);
                drop(waiting);
                self.bell.notify_one();
            }
            Some(error) => {
                drop(waiting);
                request.refuse(error);
            }
        }
    }

    /// Takes nothing in any more. What waits is still served.
    pub(super) fn close(&self, error: Error) {
        self.waiting().closed.get_or_insert(error);
        self.bell.notify_one();
    }

    /// Takes nothing in any more, and refuses what waits.
    pub(super) fn refuse_all(&self, error: &Error) {
        let requests = {
            let mut waiting = self.waiting();
            waiting.closed = Some(error.clone());
            std::mem::take(&mut waiting.requests)
        };
        self.bell.notify_one();
        requests.into_iter().for_each(|request| request.refuse(error.clone()));
    }

    /// Why nothing is taken in any more; `None` while the store is open.
    pub(super) fn closed(&self) -> Option<Error> {
        self.waiting().closed.clone()
    }

    /// Takes all requests, waiting for the first at most until `due`. Returns whether more may come.
    pub(super) fn take(&self, into: &mut VecDeque<Request>, due: Option<Instant>) -> bool {
        let mut waiting = self.waiting();
        while waiting.requests.is_empty() && waiting.closed.is_none() {
            waiting = match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.bell.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        into.append(&mut waiting.requests);
        waiting.closed.is_none()
    }

    /// Nothing is left half done under this lock.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
