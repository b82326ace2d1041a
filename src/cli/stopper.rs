//! Hears Ctrl-C, SIGTERM, and that the terminal was closed, which is to end like SIGTERM. What follows from them is for
//! each drive to say (`drive`).

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::exit::Signal;

/// Counts the signals of this process; shared by all drives.
#[derive(Debug, Clone)]
pub(super) struct Stopper {
    signals: Arc<watch::Sender<Signals>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Signals {
    first: Option<Signal>,
    last: Option<Signal>,
    count: u32,
}

impl Stopper {
    /// Takes over the signals of this process. Must be called within a runtime.
    pub fn listen() -> io::Result<Self> {
        let stopper = Stopper { signals: Arc::new(watch::Sender::default()) };
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hangup = if hangup_counts() { Some(signal(SignalKind::hangup())?) } else { None };
        let told = stopper.clone();
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = terminate.recv() => Signal::Terminate,
                    Some(()) = async { hangup.as_mut()?.recv().await } => Signal::Terminate,
                    else => return,
                };
                told.take(signal);
            }
        });
        Ok(stopper)
    }

    /// The first signal, if one came.
    pub fn first(&self) -> Option<Signal> {
        self.signals.borrow().first
    }

    /// The last signal, if one came.
    pub fn last(&self) -> Option<Signal> {
        self.signals.borrow().last
    }

    /// How many came so far.
    pub fn count(&self) -> u32 {
        self.signals.borrow().count
    }

    /// Completes when more than `known` signals have come, and says how many.
    pub async fn more_than(&self, known: u32) -> u32 {
        match self.signals.subscribe().wait_for(|signals| signals.count > known).await {
            Ok(signals) => signals.count,
            // The sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    fn take(&self, signal: Signal) {
        self.signals.send_modify(|signals| {
            signals.first = signals.first.or(Some(signal));
            signals.last = Some(signal);
            signals.count = signals.count.saturating_add(1);
        });
    }
}

/// Whether a terminal that is closed is to stop us. Not under nohup, which has the signal ignored; where that cannot be
/// told, it is left as it is.
fn hangup_counts() -> bool {
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & HANGUP == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn signals_are_counted_and_the_first_is_remembered() {
        let stopper = Stopper { signals: Arc::new(watch::Sender::default()) };
        assert_eq!(stopper.first(), None);
        stopper.take(Signal::Terminate);
        assert_eq!(stopper.more_than(0).await, 1);
        stopper.take(Signal::Interrupt);
        assert_eq!((stopper.more_than(1).await, stopper.first()), (2, Some(Signal::Terminate)));
    }
}
