//! How often sick endpoints may be asked again, all runs together: a bucket that answers fill and repeats empty.

use crate::run::Time;

/// What a full bucket holds, in repeats.
const FULL: f64 = 10.0;

/// What an answer adds, in repeats: one of five requests may be a repeat, as in Finagle's budget (twitter.github.io/finagle,
/// retry budget, 2026-11).
const EARNED: f64 = 0.2;

/// What a second adds, in repeats, so that an outage of everything is felt for.
const A_SECOND: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    at: Time,
}

impl Budget {
    pub(super) fn new(now: Time) -> Self {
        Budget { left: FULL, at: now }
    }

    /// Takes in an answer.
    pub(super) fn earn(&mut self, now: Time) {
        self.pass(now);
        self.left = FULL.min(self.left + EARNED);
    }

    /// Takes one repeat out, if there is one.
    pub(super) fn spend(&mut self, now: Time) -> bool {
        self.pass(now);
        let enough = self.left >= 1.0;
        if enough {
            self.left -= 1.0;
        }
        enough
    }

    fn pass(&mut self, now: Time) {
        self.left = FULL.min(self.left + now.since(self.at).as_secs_f64() * A_SECOND);
        self.at = now;
    }
}
