//! What waits for the writer, in the order in which it was asked for.
//!
//! The queue has no bound of its own: `append` takes its place when it is called and cannot wait. A run asks again when
//! it was answered, but for the few results that nobody awaits, so there is never more here than the runs in flight hold
//! in their hands; frames are not copied. What is bounded is the batch (`writer`).

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::record::Header;
use crate::{
    run::RunId,
    store::{Appended, Change, Changed, Error, Head, InboxId, Part},
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
    Change {
        changes: Vec<Change>,
        answer: Answer<Changed>,
    },
    /// Records of runs, to be written again as they are, and with the last of them all records that callers keep.
    Copy {
        records: Vec<(Header, Bytes)>,
        last: bool,
        answer: Answer<()>,
    },
}

impl Request {
    pub(super) fn refuse(self, error: Error) {
        match self {
            Request::Append { answer, .. } => reply(answer, Err(error)),
            Request::Claim { answer, .. } => reply(answer, Err(error)),
            Request::Post { answer, .. } | Request::Delete { answer, .. } => reply(answer, Err(error)),
            Request::Change { answer, .. } => reply(answer, Err(error)),
            Request::Copy { answer, .. } => reply(answer, Err(error)),
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

    /// Takes all requests; with `wait` it waits for the first. Returns whether more may come.
    pub(super) fn take(&self, into: &mut VecDeque<Request>, wait: bool) -> bool {
        let mut waiting = self.waiting();
        while wait && waiting.requests.is_empty() && waiting.closed.is_none() {
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        into.append(&mut waiting.requests);
        waiting.closed.is_none()
    }

    /// Nothing is left half done under this lock.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
