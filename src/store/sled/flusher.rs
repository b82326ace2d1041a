//! The one writer: everything that changes a run goes through this thread, in the order in which it was asked for.
//!
//! It takes what waits, makes one batch of it, commits, and answers. The longer a commit takes, the more waits for the
//! next one, so batches grow by themselves and no timer is needed; and where runs share a core with this thread, they go
//! first ([`Flusher::gather`]). A commit is: apply the batch, have sled write it out, our own fdatasync, the witness.
//! Always true:
//! - An answer is given after the commit that it speaks of, refusals included: they may rest on what the batch changes.
//! - What comes later in a batch sees what came earlier.
//! - A commit that fails poisons: its waiters and all later ones get [`Error::Poisoned`], and nothing is tried again.
//!   After a failed sync nobody knows what is on the disk, and a second sync may say that all is well.
//!
//! [`Error::Poisoned`]: crate::store::Error::Poisoned

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::Instant,
};

use super::{
    Shared,
    draft::{Draft, Heads},
    engine::{Engine, Trouble, caught},
    faults::Point,
    queue::Request,
    witness::Witness,
};
use crate::run::RunId;

/// How often the core is left to others before a commit, at most: each time may take as long as the system lets a
/// thread run.
const YIELDS: usize = 4;

/// The writer, with what only it needs.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    witness: Witness,
    heads: Heads,
    /// Taken from the queue and not yet in a batch.
    pending: VecDeque<Request>,
    /// How many requests the last commit answered.
    answered: usize,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, witness: Witness) -> Self {
        Flusher { shared, witness, heads: Heads::default(), pending: VecDeque::new(), answered: 0 }
    }

    /// Serves until the queue is closed and empty, or the store is poisoned.
    pub(super) fn run(mut self) {
        if let Err(trouble) = caught(|| self.serve()) {
            let error = self.shared.poison(trouble);
            self.pending.into_iter().for_each(|request| request.refuse(error.clone()));
        }
        self.shared.pulse.stop();
    }

    fn serve(&mut self) -> Result<(), Trouble> {
        let shared = Arc::clone(&self.shared);
        let engine = shared.engine.read().unwrap_or_else(PoisonError::into_inner);
        let engine = engine.as_ref().ok_or("the store is closed")?;
        loop {
            let due = if self.pending.is_empty() { self.witness.due() } else { Some(Instant::now()) };
            let open = shared.queue.take(&mut self.pending, due);
            if !self.pending.is_empty() {
                self.gather();
                self.commit(engine)?;
            }
            let closing = !open && self.pending.is_empty();
            if closing || self.witness.due().is_some_and(|due| due <= Instant::now()) {
                engine.guarded(Point::Witness, |_| Ok(self.witness.sync()?))?;
            }
            if closing {
                return Ok(());
            }
        }
    }

    /// Lets those come who are about to ask. A commit costs the disk some pages and the core many switches, whatever it
    /// holds, and whoever was answered last soon asks again: so as long as there are several, and more come whenever the
    /// core is left to others, it is. That is no wait where nobody else wants the core, and a single run never gets here.
    fn gather(&mut self) {
        if self.answered.max(self.pending.len()) < 2 {
            return;
        }
        for _ in 0..YIELDS {
            let pending = self.pending.len();
            thread::yield_now();
            self.shared.queue.take(&mut self.pending, Some(Instant::now()));
            if self.pending.len() == pending {
                break;
            }
        }
    }

    /// Makes one batch of what is pending, commits it and answers.
    fn commit(&mut self, engine: &Engine) -> Result<(), Trouble> {
        let shared = Arc::clone(&self.shared);
        let mut draft = Draft::new(engine, &shared, &mut self.heads);
        while let Some(request) = self.pending.pop_front() {
            if draft.ends_before(&request) {
                self.pending.push_front(request);
                break;
            }
            draft.take(request);
        }
        let Draft { writes, touched, owed, changed, .. } = draft;
        self.answered = owed.len();
        shared.pulse.begin(owed);
        if changed {
            let deleted: Vec<RunId> =
                touched.iter().filter(|(_, touched)| touched.deleted).map(|(run, _)| *run).collect();
            if !deleted.is_empty() {
                engine.guarded(Point::Witness, |_| Ok(self.witness.forget(&deleted)?))?;
            }
            // From here on a reader may see what is not durable yet, and waits (`Shared::settled`).
            let number = shared.applied.fetch_add(1, Ordering::SeqCst) + 1;
            engine.commit(writes)?;
            let seen = touched.iter().filter(|(_, touched)| touched.changed);
            let seen = seen.filter_map(|(run, touched)| Some((*run, touched.head.as_ref()?.seen())));
            engine.guarded(Point::Witness, |_| Ok(self.witness.note(seen)?))?;
            shared.durable.send_replace(number);
            shared.undamage(&deleted);
        }
        let woken: Vec<RunId> = touched.iter().filter(|(_, touched)| touched.wakes).map(|(run, _)| *run).collect();
        self.heads.keep(touched);
        for due in shared.pulse.end().ok_or("a commit was given up")? {
            due(None);
        }
        woken.into_iter().for_each(|run| shared.wakes.wake(run));
        Ok(())
    }
}
