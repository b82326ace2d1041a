//! What this process waits for at the moment, so that a person can be told.
//!
//! Whoever waits for another process, a server or a reader says so with [`on`] for as long as it takes. The command line tells
//! once of each wait that grows long ([`long`]), and names the oldest ([`oldest`]) when it gives up. The list is the process's
//! and not some part's, because a person wants to know why nothing happens, whatever part it is.

use std::{
    borrow::Cow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

static WAITS: Mutex<Vec<Wait>> = Mutex::new(Vec::new());

struct Wait {
    id: u64,
    what: Cow<'static, str>,
    since: Instant,
    told: bool,
}

/// Something that is waited for, until this is dropped.
#[derive(Debug)]
pub struct Waiting {
    id: u64,
}

/// Waits for this from now on; the text completes "waiting for …".
pub fn on(what: impl Into<Cow<'static, str>>) -> Waiting {
    let mut waits = lock();
    let id = waits.iter().map(|wait| wait.id + 1).max().unwrap_or(0);
    waits.push(Wait { id, what: what.into(), since: Instant::now(), told: false });
    Waiting { id }
}

impl Waiting {
    /// Something has come, and the wait for the next begins.
    pub fn stirred(&self) {
        if let Some(wait) = lock().iter_mut().find(|wait| wait.id == self.id) {
            (wait.since, wait.told) = (Instant::now(), false);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock().retain(|wait| wait.id != self.id);
    }
}

/// What has been waited for at least this long and was not told of yet.
pub fn long(length: Duration) -> Vec<String> {
    let mut waits = lock();
    let long = waits.iter_mut().filter(|wait| !wait.told && wait.since.elapsed() >= length);
    long.map(|wait| {
        wait.told = true;
        wait.what.to_string()
    })
    .collect()
}

/// What has been waited for longest.
pub fn oldest() -> Option<String> {
    lock().iter().min_by_key(|wait| wait.since).map(|wait| wait.what.to_string())
}

fn lock() -> MutexGuard<'static, Vec<Wait>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_once_until_something_comes() {
        let mine = |told: Vec<String>| told.into_iter().filter(|what| what == "a test").count();
        let waiting = on("a test");
        assert_eq!((mine(long(Duration::ZERO)), mine(long(Duration::ZERO))), (1, 0));
        waiting.stirred();
        assert_eq!((mine(long(Duration::from_secs(3600))), mine(long(Duration::ZERO))), (0, 1));
        drop(waiting);
        let again = on("a test");
        again.stirred();
        drop(again);
        assert_eq!(mine(long(Duration::ZERO)), 0);
    }
}
