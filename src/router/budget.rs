//! How often sick endpoints may be asked again, all runs together: a bucket that answers fill and repeats empty.

use std::time::Duration;

use crate::run::Time;

/// What a full bucket holds, in repeats.
const FULL: f64 = 10.0;

/// What an answer adds, in repeats: one of five requests may be a repeat, as in Finagle's budget (twitter.github.io/finagle,
/// retry budget, 2026-11).
const EARNED: f64 = 0.2;

/// What a second adds, in repeats, so that an outage of everything is felt for.
const A_SECOND: f64 = 0.1;

/// The first answer after so long without any tells that an outage is over. What was spent on it, which was all there was,
/// is given back, since some endpoints are still down and requests must find the others.
const DROUGHT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    at: Time,
    /// When somebody last answered.
    answered_at: Time,
}

impl Budget {
    pub(super) fn new(now: Time) -> Self {
        Budget { left: FULL, at: now, answered_at: now }
    }

    /// Takes in an answer.
    pub(super) fn earn(&mut self, now: Time) {
        self.pass(now);
        let is_over = now.since(self.answered_at) >= DROUGHT;
        self.left = if is_over { FULL } else { FULL.min(self.left + EARNED) };
        self.answered_at = now;
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
