//! The history of a run: entries in order, durable before anything follows from them, readable for ever.
//!
//! Events go in through [`Journal::push`], which gives each its index and chain value and queues it as a frame
//! ([`frame`]: header, chain, checksum; [`v1`]: what a payload looks like). [`Journal::commit`] hands everything queued
//! to the store as one atomic part and waits until all of it is durable; [`Journal::start_commit`] does the same and
//! waits for nothing. Entries come back through [`Journal::claim`], for the one who extends the run from now on, and
//! [`Journal::read`], for those who only look. What others want of a run arrives through its inbox ([`post`]). Always true:
//! - What [`Journal::durable`] counts survives a power cut; nothing else may be shown with its index.
//! - Entries are read exactly as they were pushed, or not at all: a run whose bytes are damaged is
//!   [`Error::Corrupt`], and a shorter history is never taken for a whole one.
//! - Only the newest claim extends a run. After a failed append the journal refuses all further ones, and its run must be
//!   read again; the one exception is a full disk, where everything stays queued for the next attempt.
//!
//! Left out on purpose: what entries mean (`run`), when to commit (`engine`), how bytes are kept (`store`).

pub mod frame;
mod inbox;
mod load;
pub mod v1;

#[cfg(test)]
pub(crate) mod golden;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    future::{self, Future},
    mem,
    sync::Arc,
};

use crate::{
    chaos,
    run::{Entry, Event, RunId, Time},
    store::{self, Appended, BoxFuture, Chain, Columns, InboxId, Part, Store},
};

use self::v1::Encoded;

pub use inbox::{InboxItem, Posted, Unreadable, What, post, read_posted, write_posted};

/// The journal of one run, in the hands of the one who extends it.
pub struct Journal {
    store: Arc<dyn Store>,
    run: RunId,
    epoch: u64,
    /// Entries, queued ones included, and the chain value behind the last of them.
    length: u64,
    chain: Chain,
    durable: u64,
    /// What goes with the next append, and the frames that go behind its own.
    queue: Part,
    written: frame::Written,
    /// Appends whose outcome is not known yet, oldest first.
    flights: VecDeque<Flight>,
    /// Refused for want of room, and to be tried again in front of the queue once `flights` is empty.
    refused: Option<(Part, store::Error)>,
    /// Why nothing can be appended any more.
    failed: Option<Error>,
    commits: u64,
}

/// An append under way.
struct Flight {
    part: Part,
    outcome: BoxFuture<Result<Vec<Appended>, store::Error>>,
}

impl Journal {
    /// Takes the right to extend a run and reads what has happened to it: whoever owned it before is refused from now
    /// on. A run that is not there yet is created, with no entries; ask [`Store::head`] first where that is not wanted.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the run cannot be read as it was written, [`Error::Fenced`] when somebody else claimed it
    /// meanwhile, [`Error::Store`].
    pub async fn claim(store: Arc<dyn Store>, run: RunId) -> Result<(Journal, Vec<Entry>), Error> {
        chaos::point("claim");
        let head = store.claim(run).await?;
        chaos::point("claimed");
        let entries = load::owned(&*store, &head).await?;
        let journal = Journal {
            run,
            epoch: head.epoch,
            length: head.length,
            chain: head.chain,
            durable: head.length,
            // It gets its place when it is sent.
            queue: Part::empty(run, head.epoch),
            written: frame::Written::default(),
            flights: VecDeque::new(),
            refused: None,
            failed: None,
            commits: 0,
            store,
        };
        Ok((journal, entries))
    }

    /// The entries of a run, for those who only look: as many as its head tells of when this is called.
    ///
    /// # Errors
    /// [`Error::Store`] with `NotFound` when there is no such run, [`Error::Corrupt`] when it cannot be read as it was
    /// written.
    pub async fn read(store: &dyn Store, run: RunId) -> Result<Vec<Entry>, Error> {
        load::any(store, run).await
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The store that keeps it.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What proves the right to extend it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many entries there are, those included that are not durable yet.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// How many entries are known to be durable. Grows in [`commit`](Self::commit) and [`landed`](Self::landed) alone.
    pub fn durable(&self) -> u64 {
        self.durable
    }

    /// Whether anything given to this journal was not handed to the store yet.
    pub fn queued(&self) -> bool {
        !self.written.is_empty() || !is_empty(&self.queue)
    }

    /// Whether anything given to this journal is not known to be durable.
    pub fn pending(&self) -> bool {
        self.queued() || !self.flights.is_empty()
    }

    /// How many commits were awaited, those not counted that had nothing to wait for.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Gives the event its place and queues it. The entry returned is what will be read one day: durations are cut to
    /// whole milliseconds. An inbox item that the event names is [consumed](Self::consume) with it.
    ///
    /// # Errors
    /// [`Error::TooLarge`]: the event is not queued, and the journal is as before.
    pub fn push(&mut self, at: Time, mut event: Event) -> Result<Arc<Entry>, Error> {
        v1::cut_durations(&mut event);
        let Encoded { kind, ignorable, blobs } = v1::encode(at, &event, self.written.begin());
        self.chain = self.written.seal(kind, ignorable, self.epoch, self.chain).map_err(|error| match error {
            frame::Error::Large(bytes) => Error::TooLarge { bytes },
            other => Error::Corrupt { run: self.run, index: Some(self.length), source: other.into() },
        })?;
        if let Some(id) = taken(&event) {
            self.consume(id);
        }
        self.queue.blobs.extend(blobs);
        let index = self.length;
        self.length += 1;
        Ok(Arc::new(Entry { index, at, event }))
    }

    /// Has the run's columns in listings replaced, together with the entries queued.
    pub fn set_columns(&mut self, columns: Columns) {
        self.queue.columns = Some(columns);
    }

    /// Has an inbox item removed, together with the entries queued: for an item that the run holds already. An item
    /// that an event names needs no call.
    pub fn consume(&mut self, id: InboxId) {
        if !self.queue.consumed.contains(&id) {
            self.queue.consumed.push(id);
        }
    }

    /// Hands everything queued to the store, in one part, and waits until that and all that was handed over before is
    /// durable. A dropped future withdraws nothing; the next commit waits for the same.
    ///
    /// # Errors
    /// [`Error::Store`] with `Full` when there is no room: nothing is lost, and the next commit tries again. After every
    /// other error nothing more can be appended; let the journal go and read the run again.
    pub async fn commit(&mut self) -> Result<(), Error> {
        self.start_commit();
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if !self.flights.is_empty() {
            self.commits += 1;
        }
        while !self.flights.is_empty() {
            self.land_next().await?;
        }
        Ok(())
    }

    /// Hands everything queued to the store, in one part, and waits for nothing: the next [`commit`](Self::commit)
    /// tells what became of it.
    pub fn start_commit(&mut self) {
        // What was refused comes first, and goes back into the queue when the last append under way has landed.
        if !self.queued() || self.failed.is_some() || self.refused.is_some() {
            return;
        }
        let mut part = mem::replace(&mut self.queue, Part::empty(self.run, self.epoch));
        part.frames.extend(self.written.take());
        part.expected_length = self.length - part.frames.len() as u64;
        part.chain = self.chain;
        chaos::point("append");
        // Frames and blobs are shared, not copied.
        let outcome = self.store.append(vec![part.clone()]);
        self.flights.push_back(Flight { part, outcome });
    }

    /// Completes when something that was handed to the store before is durable; never when nothing is under way. For
    /// those who would rather see [`durable`](Self::durable) grow than wait for all of it. A dropped future withdraws
    /// nothing.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub async fn landed(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.flights.is_empty() {
            return future::pending().await;
        }
        self.land_next().await
    }

    /// What waits in the run's inbox, oldest first. Items that the run holds already may be among them.
    ///
    /// # Errors
    /// [`Error::Store`], when the future is awaited.
    pub fn inbox(&self) -> impl Future<Output = Result<Vec<InboxItem>, Error>> + Send + use<> {
        let items = self.store.inbox(self.run);
        async move { Ok(items.await?.into_iter().map(|(id, item)| (id, inbox::read_posted(&item))).collect()) }
    }

    /// Completes when something may have come into the inbox, or somebody else claimed the run, since this was called.
    pub fn changed(&self) -> BoxFuture<()> {
        self.store.changed(self.run)
    }

    /// Waits for the oldest append under way.
    async fn land_next(&mut self) -> Result<(), Error> {
        let Some(flight) = self.flights.front_mut() else { return Ok(()) };
        let outcome = flight.outcome.as_mut().await;
        if let Some(flight) = self.flights.pop_front()
            && let Err(error) = self.land(flight.part, outcome)
        {
            self.flights.clear();
            self.failed = Some(error.clone());
            return Err(error);
        }
        // All that was refused goes back together, once nothing is under way that counts on its place.
        if self.flights.is_empty()
            && let Some((refused, error)) = self.refused.take()
            && !is_empty(&refused)
        {
            let queue = mem::replace(&mut self.queue, Part::empty(self.run, self.epoch));
            self.queue = merge(refused, queue);
            return Err(error.into());
        }
        Ok(())
    }

    /// Takes in what became of one append.
    fn land(&mut self, part: Part, outcome: Result<Vec<Appended>, store::Error>) -> Result<(), Error> {
        match outcome.map(|mut answers| answers.pop()) {
            Ok(Some(Appended::Done)) => {
                chaos::point("appended");
                self.durable = part.expected_length + part.frames.len() as u64;
                // Columns and consumed items alone hold no place, so this may have overtaken some; newer columns stand.
                if let Some((refused, _)) = &mut self.refused
                    && part.columns.is_some()
                {
                    refused.columns = None;
                }
                Ok(())
            }
            Ok(Some(Appended::Fenced { epoch })) => Err(Error::Fenced { run: self.run, epoch }),
            // It followed entries that found no room, so its place was not there yet.
            Ok(Some(Appended::Misplaced { .. })) if self.refused.is_some() => {
                self.refused = self.refused.take().map(|(before, error)| (merge(before, part), error));
                Ok(())
            }
            Ok(Some(Appended::Misplaced { length })) => Err(Error::Corrupt {
                run: self.run,
                index: Some(part.expected_length),
                source: Damage::Length { expected: part.expected_length, found: length },
            }),
            Ok(None) => Err(store::Error::Poisoned("it gave no answer to an append".into()).into()),
            Err(error @ store::Error::Full { .. }) => {
                let part = match self.refused.take() {
                    Some((before, _)) => merge(before, part),
                    None => part,
                };
                self.refused = Some((part, error));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether a part changes nothing.
fn is_empty(part: &Part) -> bool {
    part.frames.is_empty() && part.consumed.is_empty() && part.columns.is_none()
}

/// One part that does what these two do one after the other, to be given its place when it is sent.
fn merge(mut first: Part, then: Part) -> Part {
    first.frames.extend(then.frames);
    first.blobs.extend(then.blobs);
    first.consumed.extend(then.consumed);
    first.columns = then.columns.or(first.columns);
    first
}

/// The inbox item that an event has taken in; `None` for an event that came about otherwise.
pub fn taken(event: &Event) -> Option<InboxId> {
    let inbox = match event {
        Event::InputGiven(given) => &given.inbox,
        Event::DoubtResolved(resolved) => &resolved.inbox,
        Event::ApprovalGiven(given) => &given.inbox,
        Event::CancelAsked(asked) => &asked.inbox,
        Event::LimitsChanged(changed) => &changed.inbox,
        Event::Noted(noted) => &noted.inbox,
        _ => &None,
    };
    inbox.as_ref()?.parse().ok()
}

/// Why a journal cannot be read or extended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Somebody else has claimed the run: let it go.
    #[error("run {run} belongs to another worker, under epoch {epoch}")]
    Fenced {
        /// The run.
        run: RunId,
        /// Their epoch; 0 when the run was deleted.
        epoch: u64,
    },
    /// The run is not as it was written. It waits for a person; other runs go on.
    #[error("{}run {run} is unreadable; it is left as it is, to be restored from a backup or deleted", entry(*index))]
    Corrupt {
        /// The run.
        run: RunId,
        /// The first entry that cannot be trusted; `None` when the store does not say which.
        index: Option<u64>,
        /// What is wrong.
        source: Damage,
    },
    /// What is to be written is larger than what can be read again. Nothing was written.
    #[error("an entry of {bytes} bytes is more than {} bytes", frame::FRAME_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The store refused or failed. Unless it is full, what was being appended may or may not be there: read the run
    /// again.
    #[error("store unavailable")]
    Store(#[source] store::Error),
}

fn entry(index: Option<u64>) -> String {
    index.map(|index| format!("entry {index} of ")).unwrap_or_default()
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Damaged { run, reason } => Error::Corrupt { run, index: None, source: Damage::Store(reason) },
            other => Error::Store(other),
        }
    }
}

/// What is wrong with the bytes of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// A frame is not whole, or not the next one.
    #[error(transparent)]
    Frame(#[from] frame::Error),
    /// A payload does not say what its kind should.
    #[error("the payload is unreadable: {0}")]
    Payload(Arc<str>),
    /// An entry that must be understood, of a kind that this version does not know.
    #[error("entries of kind {0} are not known here; a newer agentd may read it")]
    Kind(u16),
    /// A blob is not what an entry says.
    #[error("the blob {hash} {reason}")]
    Blob {
        /// Its name.
        hash: String,
        /// What is the matter.
        reason: &'static str,
    },
    /// Entries are missing, or there are too many.
    #[error("{found} entries instead of {expected}")]
    Length {
        /// As many as there should be.
        expected: u64,
        /// As many as there are.
        found: u64,
    },
    /// An entry was written under an older epoch than the one before it, or a newer one than the run has.
    #[error("epoch {found} does not follow epoch {before}")]
    Epoch {
        /// The epoch of the entry before, or the newest of the run.
        before: u64,
        /// The epoch of the entry.
        found: u64,
    },
    /// The last entry is another one than the store remembers.
    #[error("the history does not end as the store remembers")]
    End,
    /// What the store found when it was opened.
    #[error("{0}")]
    Store(Arc<str>),
}
