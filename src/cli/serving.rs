//! The control sockets of this process: others see and steer its runs through them while it drives any.

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use crate::{daemon::Daemon, server};

/// The sockets of all slots that a daemon holds.
pub(super) struct Serving {
    stop: CancellationToken,
    serving: JoinSet<()>,
}

impl Serving {
    /// Opens them. What cannot be opened is told, and the runs go on without.
    pub fn start(daemon: &Daemon, screen: &Screen) -> Self {
        let (stop, mut serving) = (CancellationToken::new(), JoinSet::new());
        for slot in daemon.slots() {
            match slot.listen() {
                Ok(Some(socket)) => drop(serving.spawn(server::serve(slot, socket, stop.clone()))),
                Ok(None) => {}
                Err(error) => screen.tell(format_args!("other processes cannot reach this run: {error}")),
            }
        }
        Serving { stop, serving }
    }

    /// Closes them, when those who follow runs have seen their ends.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.serving.join_next().await.is_some() {}
    }
}
