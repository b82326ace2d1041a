//! Keeps journals in sled 0.34, and makes of it what a journal needs.
//!
//! ```text
//! append, claim, post, delete ─► queue ─► flusher ─► draft ─► engine (apply, flush, fdatasync) ─► witness ─► answer
//! read, head, heads, inbox, get_blob ───────────────────────► engine
//! ```
//! sled alone would lose acknowledged writes at a power cut (its flush does not fsync on Linux), go back without a word
//! after damage, put large pages into files that it never syncs, and panic. So: our own fdatasync behind every flush;
//! a witness outside of sled; values of at most 6 KiB, so that its `blobs/` stays empty; every call guarded. Always true:
//! - What was answered is in sled, synced, and noted by the witness. What is shown is durable.
//! - A run that has lost anything that the witness had seen is damaged, and says so; other runs go on.
//! - A directory has one process (`lock`), and the writes of that process one order (`flusher`).
//! - After a commit that failed, nothing is acknowledged; dropping the store never panics.
//!
//! What a damaged page of sled's takes with it is found when it is read: at open for heads, later for the rest.
//! [`Sled::check`] reads everything. Memory: sled's cache, 4,096 heads, and for each parked run about 30 bytes here, beside
//! what sled's own page table takes.
//!
//! Left out on purpose: giving space back (copy what is worth keeping into a new store), and mending a damaged run.

mod disk;
mod draft;
mod engine;
mod faults;
mod flusher;
mod keys;
mod mend;
mod open;
mod pulse;
mod queue;
mod witness;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
};

#[cfg(any(test, feature = "chaos"))]
pub use self::faults::{Fault, Point};
pub use self::open::Lock;
use self::{
    disk::Space,
    engine::{Cause, Engine, Trouble},
    flusher::Flusher,
    open::Opened,
    pulse::Pulse,
    queue::{Answer, Queue, Request},
    witness::Slots,
};
use super::{Appended, BlobHash, BoxFuture, Error, Head, InboxId, Part, Store, wake::Wakes};
use crate::run::RunId;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// How much of the tree sled keeps in memory, in bytes. Default: 32 MiB.
    pub cache: u64,
    /// How much of the disk stays free, in bytes. Below this [`Store::room`] says [`Error::Full`]; below a quarter of it
    /// nothing is appended or posted any more. Default: 256 MiB.
    pub reserve: u64,
    /// How long a commit may take before the store gives it up and is poisoned. Default: 2 minutes.
    pub stall: Duration,
    /// What is asked before each step of the engine; `None`: nothing.
    #[cfg(any(test, feature = "chaos"))]
    pub fault: Option<Fault>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache: 32 << 20,
            reserve: 256 << 20,
            stall: Duration::from_secs(120),
            #[cfg(any(test, feature = "chaos"))]
            fault: None,
        }
    }
}

impl Options {
    fn faults(&self) -> faults::Faults {
        faults::Faults {
            #[cfg(any(test, feature = "chaos"))]
            fault: self.fault.clone(),
        }
    }
}

/// A store in one directory, for one process. Dropping it finishes what was asked of it, and closes it; after a failure
/// inside sled itself the directory stays locked until the process ends.
///
/// Reads run on tokio's blocking threads, so the futures of `read`, `head`, `heads`, `inbox` and `get_blob` must be
/// polled on a tokio runtime.
pub struct Sled {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
    watcher: Option<JoinHandle<()>>,
}

/// What the writer, the readers and the handle have in common.
struct Shared {
    queue: Queue,
    pulse: Pulse,
    /// `None` once the store is closed. Only closing takes it for writing, and so waits for readers.
    engine: RwLock<Option<Engine>>,
    /// Let go of when the engine is.
    lock: Mutex<Option<Lock>>,
    /// All runs that there are, in order.
    slots: Slots,
    /// Runs that have lost something, with the head that they should have.
    damaged: RwLock<BTreeMap<RunId, Head>>,
    /// The number of the commit that was last begun, and of the one that was last durable.
    applied: AtomicU64,
    durable: watch::Sender<u64>,
    wakes: Wakes,
    dir: PathBuf,
    space: Space,
    reserve: u64,
}

impl Sled {
    /// Opens the store in `dir`, or creates it there. Blocks while sled recovers and every head is held against the
    /// witness; creating threads and files, it wants no runtime.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, or this one; [`Error::Unusable`] with words for a person when
    /// the disk or sled refuse.
    pub fn open(dir: &Path, options: Options) -> Result<Sled, Error> {
        Sled::open_locked(Lock::take(dir)?, options)
    }

    /// The same for a directory that is locked already. What was changed in that directory before this is as durable as
    /// the store when this returns.
    pub fn open_locked(lock: Lock, options: Options) -> Result<Sled, Error> {
        let unusable = |what: &str, error: std::io::Error| Error::Unusable(format!("{what}: {error}").into());
        let dir = &*lock.dir().to_owned();
        let Opened { lock, engine, witness, damaged } = open::open(lock, &options)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            pulse: Pulse::new(),
            engine: RwLock::new(Some(engine)),
            lock: Mutex::new(Some(lock)),
            slots: witness.slots(),
            damaged: RwLock::new(damaged),
            applied: AtomicU64::new(0),
            durable: watch::Sender::new(0),
            wakes: Wakes::new(),
            dir: dir.to_owned(),
            space: Space::new(dir).map_err(|error| unusable("looking for free space", error))?,
            reserve: options.reserve,
        });
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
            spawned.map_err(|error| unusable("starting a thread", error))
        };
        // Filled step by step, so that what was started is stopped again if the next step fails.
        let mut sled = Sled { shared: Arc::clone(&shared), flusher: None, watcher: None };
        let flusher = Flusher::new(Arc::clone(&shared), witness);
        sled.flusher = Some(spawn("store", Box::new(move || flusher.run()))?);
        sled.watcher = Some(spawn("store-watch", Box::new(move || shared.watch(options.stall)))?);
        Ok(sled)
    }

    /// Reads everything: all frames, inboxes and blobs are there in full, and blobs are what their names say. Returns what
    /// is wrong, by run; the damage is remembered, as if it had been found in passing. Whether frames are what they were,
    /// `journal` checks. Blocks; wants no runtime.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when the store has failed.
    pub fn check(&self) -> Result<BTreeMap<RunId, Arc<str>>, Error> {
        let runs: Vec<RunId> =
            self.shared.slots.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for run in runs {
            // Each in a pause of the writer, so that nothing moves while it is read.
            let (answer, checked) = oneshot::channel();
            let shared = Arc::clone(&self.shared);
            let look = move |engine: &Engine| {
                let found = engine.check(run).map_err(|trouble| shared.found_damage(engine, run, trouble));
                queue::reply(answer, found);
            };
            self.shared.queue.push(Request::Look(Box::new(look)));
            match checked.blocking_recv() {
                Ok(Ok(()) | Err(Error::Damaged { .. })) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(self.shared.gone()),
            }
        }
        let damaged = self.shared.damaged.read().unwrap_or_else(PoisonError::into_inner);
        Ok(damaged.iter().filter_map(|(run, head)| Some((*run, head.damage.clone()?))).collect())
    }

    /// Puts a request into the queue, now, and waits for its answer.
    fn ask<T: Send + 'static>(&self, request: impl FnOnce(Answer<T>) -> Request) -> BoxFuture<Result<T, Error>> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue.push(request(answer));
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(shared.gone())) })
    }

    /// Reads something of a run, beside the writer. If that fails, what was read may have been half changed or half gone,
    /// so it is read again in a pause of the writer; only what fails then is damage.
    fn look<T: Send + 'static>(
        &self,
        run: RunId,
        read: impl Fn(&Engine) -> Result<T, Trouble> + Send + Sync + 'static,
    ) -> BoxFuture<Result<T, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.look(run, read).await })
    }
}

impl Store for Sled {
    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>> {
        self.ask(|answer| Request::Append { parts, answer })
    }

    fn claim(&self, run: RunId) -> BoxFuture<Result<Head, Error>> {
        self.ask(|answer| Request::Claim { run, answer })
    }

    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>> {
        self.look(run, move |engine| match engine.head(run)? {
            Some(head) => engine.frames(run, index, &head),
            None => Ok(Vec::new()),
        })
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.head(run).await })
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.heads(after, limit).await })
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>> {
        self.ask(|answer| Request::Post { run, id, item, answer })
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        self.look(run, move |engine| {
            let items = match engine.head(run)? {
                Some(head) => engine.items(run, head.inbox)?,
                None => Vec::new(),
            };
            Ok(items.into_iter().map(|item| (item.id, item.bytes)).collect())
        })
    }

    fn changed(&self, run: RunId) -> BoxFuture<()> {
        self.shared.wakes.changed(run)
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        self.look(run, move |engine| engine.blob(run, hash))
    }

    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>> {
        self.ask(|answer| Request::Delete { run, answer })
    }

    fn room(&self) -> Result<(), Error> {
        self.shared.queue.closed().map_or(Ok(()), Err)?;
        self.shared.room(self.shared.reserve)
    }
}

impl Shared {
    async fn look<T: Send + 'static>(
        self: Arc<Self>,
        run: RunId,
        read: impl Fn(&Engine) -> Result<T, Trouble> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.undamaged(run)?;
        let read = Arc::new(read);
        let beside = {
            let (shared, read) = (Arc::clone(&self), Arc::clone(&read));
            spawn_blocking(move || shared.with_engine(|engine| read(engine))).await
        };
        self.settled().await?;
        if let Ok(Ok(Ok(found))) = beside {
            return Ok(found);
        }
        let (answer, answered) = oneshot::channel();
        let shared = Arc::clone(&self);
        let again = move |engine: &Engine| {
            queue::reply(answer, read(engine).map_err(|trouble| shared.found_damage(engine, run, trouble)));
        };
        self.queue.push(Request::Look(Box::new(again)));
        answered.await.unwrap_or_else(|_| Err(self.gone()))
    }

    async fn head(self: Arc<Self>, run: RunId) -> Result<Option<Head>, Error> {
        let found = Arc::clone(&self).look(run, move |engine| engine.head(run)).await;
        match found {
            Ok(stored) => Ok(stored.map(|stored| stored.to_head(run))),
            Err(Error::Damaged { .. }) => Ok(self.damaged_head(run)),
            Err(error) => Err(error),
        }
    }

    async fn heads(self: Arc<Self>, after: Option<RunId>, limit: usize) -> Result<Vec<Head>, Error> {
        let runs: Vec<RunId> = {
            let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            slots.range((from, Bound::Unbounded)).map(|(run, _)| *run).take(limit).collect()
        };
        let beside = {
            let shared = Arc::clone(&self);
            let sound = move |run| match shared.damaged_head(run) {
                Some(_) => (run, None),
                None => (run, shared.with_engine(|engine| engine.head(run)).ok().and_then(Result::ok)),
            };
            spawn_blocking(move || runs.into_iter().map(sound).collect::<Vec<_>>()).await
        };
        self.settled().await?;
        let mut heads = Vec::new();
        for (run, found) in beside.map_err(|_| self.gone())? {
            match found {
                Some(stored) => heads.extend(stored.map(|stored| stored.to_head(run))),
                None => heads.extend(Arc::clone(&self).head(run).await?),
            }
        }
        Ok(heads)
    }

    fn with_engine<T>(&self, call: impl FnOnce(&Engine) -> T) -> Result<T, Error> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        Ok(call(engine.as_ref().ok_or_else(|| self.gone())?))
    }

    /// Waits until what a reader may have seen is durable.
    async fn settled(&self) -> Result<(), Error> {
        let applied = self.applied.load(Ordering::SeqCst);
        if *self.durable.borrow() < applied {
            // The sender is here and so cannot be gone.
            drop(self.durable.subscribe().wait_for(|durable| *durable >= applied).await);
        }
        self.queue.closed().map_or(Ok(()), Err)
    }

    /// Why nobody answers.
    fn gone(&self) -> Error {
        self.queue.closed().unwrap_or_else(|| Error::Poisoned("the store is closed".into()))
    }

    /// Ends all acknowledging.
    fn poison(&self, trouble: Trouble) -> Error {
        if trouble.cause == Cause::Tree {
            mend::mark(&self.dir);
        }
        let error = Error::Poisoned(trouble.reason);
        tracing::error!(%error, "the store acknowledges nothing more");
        self.queue.refuse_all(&error);
        for due in self.pulse.end().unwrap_or_default() {
            due(Some(error.clone()));
        }
        self.durable.send_replace(u64::MAX);
        self.wakes.wake_all();
        error
    }

    /// The watcher's thread.
    fn watch(self: Arc<Self>, stall: Duration) {
        let nudge = || {
            let shared = Arc::clone(&self);
            // It may hang like the flush that it is to wake, so nobody waits for it.
            let nudged = thread::Builder::new().spawn(move || shared.with_engine(Engine::nudge));
            drop(nudged);
        };
        if let Some(owed) = self.pulse.watch(stall, nudge) {
            let error = self.poison(format!("a commit did not end within {stall:?}").into());
            owed.into_iter().for_each(|due| due(Some(error.clone())));
        }
    }

    fn room(&self, reserve: u64) -> Result<(), Error> {
        match self.space.free() {
            Some(free) if free < reserve => Err(Error::Full { free, reserve }),
            _ => Ok(()),
        }
    }

    fn room_to_append(&self) -> Result<(), Error> {
        self.room(self.reserve / 4)
    }

    fn undamaged(&self, run: RunId) -> Result<(), Error> {
        match self.damaged_head(run).and_then(|head| head.damage) {
            Some(reason) => Err(Error::Damaged { run, reason }),
            None => Ok(()),
        }
    }

    fn damaged_head(&self, run: RunId) -> Option<Head> {
        self.damaged.read().unwrap_or_else(PoisonError::into_inner).get(&run).cloned()
    }

    /// Remembers that a run cannot be read.
    fn found_damage(&self, engine: &Engine, run: RunId, Trouble { reason, cause }: Trouble) -> Error {
        tracing::warn!(%run, %reason, "a run has lost something");
        if cause != Cause::Missing && !mend::is_marked(&self.dir) {
            mend::mark(&self.dir);
        }
        let head = match engine.head(run) {
            Ok(Some(stored)) => stored.to_head(run),
            _ => Head {
                run,
                epoch: 0,
                length: 0,
                chain: super::Chain::default(),
                damage: None,
                columns: engine.columns(run).unwrap_or_default(),
            },
        };
        let head = Head { damage: Some(Arc::clone(&reason)), ..head };
        self.damaged.write().unwrap_or_else(PoisonError::into_inner).entry(run).or_insert(head);
        Error::Damaged { run, reason }
    }

    /// Forgets the damage of runs that are removed.
    fn undamage(&self, removed: &[RunId]) {
        if !removed.is_empty() {
            let mut damaged = self.damaged.write().unwrap_or_else(PoisonError::into_inner);
            damaged.retain(|run, _| !removed.contains(run));
        }
    }
}

/// How long the drop of a failed engine may take; sled can wait for itself for ever then.
const CLOSING: Duration = Duration::from_secs(5);

impl Drop for Sled {
    fn drop(&mut self) {
        let closed = Error::Poisoned("the store is closed".into());
        self.shared.queue.close(closed);
        if self.flusher.is_none() {
            self.shared.pulse.stop();
        }
        if self.shared.pulse.given_up() {
            // The writer may never come back, and holds the engine; so the lock stays taken as well.
            return;
        }
        for thread in [self.flusher.take(), self.watcher.take()].into_iter().flatten() {
            // It catches its own panics.
            drop(thread.join());
        }
        let engine = self.shared.engine.write().unwrap_or_else(PoisonError::into_inner).take();
        if engine.as_ref().is_some_and(Engine::torn) {
            // sled's own lock stays taken until the process ends, and so does ours.
            std::mem::forget(self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
        let lock = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if *self.shared.durable.borrow() != u64::MAX {
            drop(engine);
            lock.into_iter().for_each(Lock::close_cleanly);
            return;
        }
        let (done, closed) = mpsc::channel();
        let dropping = thread::Builder::new().spawn(move || {
            drop(engine);
            let _ = done.send(());
        });
        if dropping.is_ok() {
            // Late or not, there is nothing more to do.
            let _ = closed.recv_timeout(CLOSING);
        }
        drop(lock);
    }
}
