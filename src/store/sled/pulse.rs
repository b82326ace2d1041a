//! Looks after commits that do not end.
//!
//! sled 0.34 can wait for ever: when one of its own threads panics, and, for a moment, when a write fails between two of
//! its looks at the error. So the answers that a commit owes lie here while it is under way, where a second thread can
//! give them. It first nudges sled, which wakes a flush that missed an error, and gives the commit up when it takes longer
//! than any disk that still works. That thread sleeps while nothing is committed, and looks once a second otherwise.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::store::Error;

/// Gives one answer; or the error, if there is one.
pub(super) type Due = Box<dyn FnOnce(Option<Error>) + Send>;

/// After how long sled is nudged.
const NUDGE: Duration = Duration::from_secs(5);

/// How often a commit under way is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The commit under way.
pub(super) struct Pulse {
    beat: Mutex<Beat>,
    bell: Condvar,
}

#[derive(Default)]
struct Beat {
    /// Commits begun so far.
    number: u64,
    since: Option<Instant>,
    owed: Vec<Due>,
    dozing: bool,
    stopped: bool,
    given_up: bool,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Pulse { beat: Mutex::default(), bell: Condvar::new() }
    }

    /// A commit begins that owes these answers.
    pub(super) fn begin(&self, owed: Vec<Due>) {
        let mut beat = self.beat();
        beat.number += 1;
        beat.since = Some(Instant::now());
        beat.owed = owed;
        if beat.dozing {
            self.bell.notify_one();
        }
    }

    /// The commit ended: what it owes. `None` when it was given up before, and others have answered.
    pub(super) fn end(&self) -> Option<Vec<Due>> {
        let mut beat = self.beat();
        beat.since = None;
        let owed = std::mem::take(&mut beat.owed);
        (!beat.given_up).then_some(owed)
    }

    /// There will be no more commits.
    pub(super) fn stop(&self) {
        self.beat().stopped = true;
        self.bell.notify_one();
    }

    /// Whether a commit was given up, so that its thread may never come back.
    pub(super) fn given_up(&self) -> bool {
        self.beat().given_up
    }

    /// Watches until the writer stops. A commit under way for longer than `stall` is given up, and what it owes returned.
    pub(super) fn watch(&self, stall: Duration, nudge: impl Fn()) -> Option<Vec<Due>> {
        let (mut seen, mut nudged) = (0, 0);
        let mut beat = self.beat();
        while !beat.stopped {
            if beat.since.is_none() && beat.number == seen {
                beat.dozing = true;
                beat = self.bell.wait(beat).unwrap_or_else(PoisonError::into_inner);
                beat.dozing = false;
                continue;
            }
            seen = beat.number;
            beat = self.bell.wait_timeout(beat, LOOK.min(stall)).unwrap_or_else(PoisonError::into_inner).0;
            let age = beat.since.map(|since| since.elapsed()).unwrap_or_default();
            if age >= stall {
                beat.given_up = true;
                return Some(std::mem::take(&mut beat.owed));
            }
            if age >= NUDGE && nudged != beat.number {
                nudged = beat.number;
                drop(beat);
                nudge();
                beat = self.beat();
            }
        }
        None
    }

    /// Nothing is left half done under this lock.
    fn beat(&self) -> MutexGuard<'_, Beat> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
