//! Wakes those who wait for a run to change.
//!
//! A fixed table of bells, shared by runs whose ids end alike: waiting costs nothing that must be cleaned up, and a run
//! that nobody waits for costs nothing at all. The price is a needless look now and then, which [`Store::changed`]
//! allows.
//!
//! [`Store::changed`]: super::Store::changed

use std::sync::Arc;

use tokio::sync::Notify;

use super::BoxFuture;
use crate::run::RunId;

/// How many bells: with a thousand waiting runs, four look up for one that changed.
const BELLS: usize = 256;

/// The bells of one store.
pub(super) struct Wakes {
    bells: Vec<Arc<Notify>>,
}

impl Wakes {
    pub(super) fn new() -> Self {
        Wakes { bells: (0..BELLS).map(|_| Arc::default()).collect() }
    }

    /// Completes when `wake` is called for this run, from now on; the future need not be polled for that.
    pub(super) fn changed(&self, run: RunId) -> BoxFuture<()> {
        match self.bell(run) {
            Some(bell) => Box::pin(Arc::clone(bell).notified_owned()),
            None => Box::pin(std::future::ready(())),
        }
    }

    pub(super) fn wake(&self, run: RunId) {
        if let Some(bell) = self.bell(run) {
            bell.notify_waiters();
        }
    }

    /// Wakes everybody, so that they find out what became of the store.
    pub(super) fn wake_all(&self) {
        self.bells.iter().for_each(|bell| bell.notify_waiters());
    }

    /// The last byte of an id is random (version 7) or hashed (a child's).
    fn bell(&self, run: RunId) -> Option<&Arc<Notify>> {
        self.bells.get(usize::from(run.as_bytes()[15]) % BELLS)
    }
}
