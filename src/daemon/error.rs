//! Why something could not be done with a run, with a stable name for each reason.

use crate::{
    bulkhead::Panicked,
    engine, journal, mcp, router,
    run::{Misfit, RunId},
    store,
};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An agent file or the settings are wrong; the text has a line for each fault, with its place.
    #[error("{0}")]
    File(String),
    /// The model reference leads nowhere.
    #[error("{0}")]
    Model(#[from] router::Error),
    /// There is no such run, or more than one whose id begins so.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for does not fit where the run stands.
    #[error("{0}")]
    Refused(String),
    /// The store is locked, damaged, full or poisoned, or the run's journal is.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// Other processes hold all slots.
    #[error("{} agentd processes are at work on this machine already{}, which is as many as there can be", .holders.len(), pids(.holders))]
    Taken {
        /// They, as far as it could be learnt.
        holders: Vec<Option<u32>>,
    },
    /// Another process drives the run.
    #[error("run {run} is driven by process {pid}")]
    Driven {
        /// The run.
        run: RunId,
        /// The process.
        pid: u32,
    },
    /// Another process holds the slot of the run and drives other runs in it.
    #[error("run {run} cannot be driven now: it is parked in the slot that process {pid} drives other runs in")]
    Busy {
        /// The run.
        run: RunId,
        /// The process.
        pid: u32,
    },
    /// The process that holds the slot of a run went away before it had answered.
    #[error("the process that was asked went away before it had answered")]
    Gone(#[source] Option<std::io::Error>),
    /// The process that holds the slot of a run says no.
    #[error("{message}")]
    Remote {
        /// A stable code, as [`Error::code`] gives it there.
        code: String,
        /// In words.
        message: String,
    },
    /// The start key has started a run before.
    #[error("this key has started run {run} already")]
    Keyed {
        /// That run.
        run: RunId,
    },
    /// A required server does not start.
    #[error(transparent)]
    Tools(#[from] mcp::Error),
    /// The entries of a run do not add up: its journal is damaged.
    #[error("the journal of this run does not add up: {0}")]
    Misfit(#[from] Misfit),
    /// agentd itself failed while it drove the run: a fault in it, which ended this drive and nothing else. The run stands
    /// as it was last durable.
    #[error(
        "agentd failed while it drove this run, which is a fault in agentd ({0}); the run stands as it was last saved"
    )]
    Panicked(#[from] Panicked),
    /// A directory or file of ours cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// What was to be done, with the path.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
}

fn pids(holders: &[Option<u32>]) -> String {
    let pids: Vec<_> = holders.iter().flatten().map(u32::to_string).collect();
    if pids.is_empty() { String::new() } else { format!(" ({})", pids.join(", ")) }
}

impl Error {
    /// A stable name for machines.
    pub fn code(&self) -> &str {
        match self {
            Error::File(_) => "invalid_file",
            Error::Model(_) => "unknown_model",
            Error::Refused(_) => "refused",
            Error::NotFound(_) => "not_found",
            Error::Taken { .. } => "slots_taken",
            Error::Driven { .. } => "driven_elsewhere",
            Error::Busy { .. } => "slot_busy",
            Error::Gone(_) => "gone",
            Error::Keyed { .. } => "key_taken",
            Error::Remote { code, .. } => code,
            Error::Tools(_) => "tools",
            Error::Misfit(_) => "store_damaged",
            Error::Panicked(_) => "internal",
            Error::Io { .. } => "io",
            Error::Journal(error) => match error {
                journal::Error::Fenced { .. } => "fenced",
                journal::Error::Corrupt { .. } => "store_damaged",
                journal::Error::TooLarge { .. } => "too_large",
                journal::Error::Store(error) => match error {
                    store::Error::NotFound(_) => "not_found",
                    store::Error::Locked { .. } => "store_locked",
                    store::Error::Damaged { .. } => "store_damaged",
                    store::Error::Full { .. } => "store_full",
                    store::Error::Poisoned(_) => "store_failed",
                    store::Error::Unusable(_) => "store_unusable",
                },
            },
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Error::Journal(error.into())
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Journal(error) => error.into(),
            engine::Error::Tools(error) => error.into(),
            engine::Error::Misfit(error) => error.into(),
        }
    }
}
