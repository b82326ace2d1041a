//! Keeps the frames of many journals and the small head of each: all that a journal asks of an engine.
//!
//! A store knows bytes, indexes and epochs, and nothing of what an entry means, so that each engine uses its own
//! strengths. Frames come in as [`Part`]s and go out through [`Store::read`]; what other processes want of a run waits
//! in its inbox. Always true of every implementation (one conformance suite and one model-based test hold them to it):
//! - A part is atomic: its frames, blobs, consumed inbox items and head appear together or not at all.
//! - Parts take effect in the order in which `append` was *called*, whatever becomes of the returned futures.
//! - What was answered with [`Appended::Done`], and a `post` or `claim` that returned, survives a power cut.
//! - After [`Error::Poisoned`] nothing more is acknowledged; only reopening recovers.
//!
//! Left out on purpose: the meaning of frames (`journal`), retries, and any query but those below.

mod memory;
pub mod sled;
mod wake;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod model;

use std::{fmt, future::Future, pin::Pin, str::FromStr, sync::Arc};

use bytes::Bytes;

pub use memory::Memory;

use crate::run::{RunId, Time};

/// A future that outlives the call which made it.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Keeps the frames of many journals and the small head of each.
pub trait Store: Send + Sync {
    /// Extends journals, each part only if its run still has the epoch and length that it expects. Answers per part,
    /// in order. The parts take their place when this is called, not when the future is polled; a dropped future
    /// withdraws nothing. What is refused with an error other than [`Error::Poisoned`] is refused as a whole: nothing of
    /// the call was written.
    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>>;

    /// Takes the right to extend a run: raises its epoch by one, makes that durable and returns the new head. Creates
    /// the head (epoch 1, length 0) of a run that is not there yet, so that a run starts with its first claim.
    fn claim(&self, run: RunId) -> BoxFuture<Result<Head, Error>>;

    /// The frames of one run from `index` on, in order. Empty for a run that is not there.
    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>>;

    /// The head of one run; `None` when it is not there.
    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>>;

    /// All heads, ordered by run id, those after `after` (`None`: from the first), at most `limit`.
    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>>;

    /// Puts an item into a run's inbox, once per `id`: a second post of an id that still waits there changes nothing.
    /// Durable when this returns. `Error::NotFound` when there is no such run.
    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>>;

    /// What waits in a run's inbox, oldest first.
    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>>;

    /// Completes when something was posted to this run's inbox, or its head was claimed anew, since this was called.
    /// May complete early; the caller looks and calls again.
    fn changed(&self, run: RunId) -> BoxFuture<()>;

    /// One blob of a run; `None` when the run has no such blob.
    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>>;

    /// Removes a run whole: frames, blobs, inbox, head; a damaged one too, as far as it can be read. Removing what is not
    /// there is fine.
    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>>;

    /// Whether new work may begin: `Error::Full` when the disk is down to its reserve. Does not wait. What is already
    /// under way may still be appended for a while, so that its results are not lost; so ask before work is admitted.
    fn room(&self) -> Result<(), Error>;
}

/// One atomic extension of one journal.
#[derive(Debug, Clone)]
pub struct Part {
    /// The journal.
    pub run: RunId,
    /// The epoch that the writer got from its claim.
    pub epoch: u64,
    /// How many frames the journal holds before this part.
    pub expected_length: u64,
    /// The frames, oldest first; each at most 16 MiB.
    pub frames: Vec<Bytes>,
    /// The chain value behind the last of `frames`: what the store's witness remembers of the run. Without frames it says
    /// nothing, and the run keeps the one that it has.
    pub chain: Chain,
    /// Blobs that the frames name; writing one that the run already has changes nothing.
    pub blobs: Vec<(BlobHash, Bytes)>,
    /// Inbox items that the frames have taken in.
    pub consumed: Vec<InboxId>,
    /// The new head columns; `None` leaves them.
    pub columns: Option<Columns>,
}

impl Part {
    /// A part that changes nothing yet, behind no frame.
    pub fn empty(run: RunId, epoch: u64) -> Self {
        Part {
            run,
            epoch,
            expected_length: 0,
            frames: Vec::new(),
            chain: Chain::default(),
            blobs: Vec::new(),
            consumed: Vec::new(),
            columns: None,
        }
    }
}

/// What became of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    Done,
    /// The run has another epoch now (or is gone): somebody else owns it, and nothing was written.
    Fenced {
        /// The epoch that the run has; 0 when the run is not there.
        epoch: u64,
    },
    /// The epoch is right but the length is not: the writer has lost count, and nothing was written.
    Misplaced {
        /// The length that the run has.
        length: u64,
    },
}

/// What a store remembers of a run beside its frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The run.
    pub run: RunId,
    /// Who may append: raised by every claim.
    pub epoch: u64,
    /// How many frames the journal has.
    pub length: u64,
    /// The chain value behind the last frame; zeros while there is none.
    pub chain: Chain,
    /// Why the run's frames cannot be trusted, found when the store was opened; `None` for a sound run. Appending to,
    /// posting to, reading and claiming such a run is refused with [`Error::Damaged`]; removing it is not.
    pub damage: Option<Arc<str>>,
    /// What listings show.
    pub columns: Columns,
}

/// The columns of a head, for listings. The store carries them and decides nothing by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The run's status and what it waits for, in the words of the journal; at most 255 bytes are kept.
    pub status: String,
    /// The agent's name; at most 255 bytes are kept.
    pub agent: String,
    /// When the run started.
    pub created: Time,
    /// When its newest entry was made.
    pub updated: Time,
    /// What it has cost so far, in billionths of a US dollar; `None` when a price is unknown.
    pub cost_nano: Option<u64>,
}

/// A run's running hash, see `journal`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Chain(pub [u8; 16]);

/// The BLAKE3 hash of a blob's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

/// Names an inbox item, chosen by who posts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InboxId(pub [u8; 16]);

impl fmt::Display for InboxId {
    /// 32 hexadecimal digits, as events name the item.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for InboxId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(InboxId(u128::from_str_radix(text, 16)?.to_be_bytes()))
    }
}

/// Why a store refused or failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such run.
    #[error("no run {0}")]
    NotFound(RunId),
    /// This run's bytes are damaged; it waits for a person, other runs go on.
    #[error("run {run} is damaged: {reason}")]
    Damaged {
        /// The run.
        run: RunId,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// Another process holds the store.
    #[error("the store is in use by process {}", .pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    Locked {
        /// The process, if it could be learnt.
        pid: Option<u32>,
    },
    /// There is no room: nothing was written, work waits until there is.
    #[error("the disk is full: {free} bytes free, {reserve} are kept in reserve")]
    Full {
        /// Bytes free.
        free: u64,
        /// Bytes that are kept in reserve.
        reserve: u64,
    },
    /// A write or a sync failed, or the engine panicked. What was in flight may or may not have landed; nothing more is
    /// acknowledged until the store is opened anew.
    #[error("the store failed and must be reopened: {0}")]
    Poisoned(Arc<str>),
    /// The store cannot be opened, and a person must look; the text says what to do.
    #[error("the store cannot be opened: {0}")]
    Unusable(Arc<str>),
}
