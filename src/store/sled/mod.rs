//! Keeps journals in a log of our own, which is synced and is the truth, with sled behind it as a copy.
//!
//! ```text
//! append, claim, post, delete, change ─► queue ─► writer ─► log (one write, one fdatasync) ─► mark ─► table ─► answer
//!                                                            │
//!                                         every 64 MiB: settle ─► copy (sled) ─► image of the table
//! head, heads, inbox, record ◄─ table        read, get_blob ◄─ copy, then log for what is not settled
//! ```
//! The log holds every run that was not deleted, in segments of records ([`record`]: every byte of the format). The table
//! holds in memory what must be at hand ([`table`]). The copy holds frames and blobs of settled runs ([`copy`]); removing it
//! loses nothing. Always true:
//! - What was answered is in the log, synced. What is shown is durable.
//! - A run that has lost anything is damaged, and says so; other runs go on.
//! - A directory has one process (`lock`), and its writes one order (`writer`).
//! - After a commit that failed, nothing is acknowledged. What fails behind the log stops nothing.
//! - Looking ([`View`]) writes nothing, takes no lock and needs no writable disk.
//!
//! # What a kill or a power cut leaves
//! A kill leaves all that was written; a power cut what was synced, and of the rest any sectors, in any state. Between
//! neighbouring steps:
//!
//! | behind the step | a kill leaves | a power cut leaves | opening makes of it |
//! |---|---|---|---|
//! | directories made, their names synced | them | them | an empty store |
//! | segment created | an empty file | perhaps its name | a segment without records; the next number is taken |
//! | its first sector written and synced, `log/` synced | it | it | the same |
//! | commit written | all or a beginning of it | any sectors of it, the file longer or not | nobody was answered: it counts up to the first byte that is not right, the rest is cut off |
//! | commit synced | it | it | all of it counts. Nobody was answered, or all were |
//! | mark written | it | an older mark, the slot before, or a torn slot | behind an older mark the last commit is whole, and counts; the mark is needed only if that commit is damaged |
//! | answered, next commit written | as above | as above | its commit record shows that all before it was durable: what is not right there is damage |
//! | last commit record (`closed`) synced | it | it | a clean end: the segment is gone on with |
//! | torn tail cut off, synced | it | it, or the tail again | the same, again |
//! | settling: pieces written to sled | some of them | sled may be anything | the image does not speak of them; they are written again, over them |
//! | sled flushed and synced | them | them | the same |
//! | image written under another name, synced | both | both | the old image counts, and the log behind it |
//! | image in place | the new one | the old or the new one | either is whole; the log behind it is there |
//! | `dir` synced | the new one | the new one | |
//! | compaction: copies committed | both | both | of two records with one sequence number one counts |
//! | segment removed | the copies | the segment, or not | the same |
//! | copy set aside | no copy | it, or not | the image speaks of what is not there: the log is read instead |
//!
//! A segment is begun only when the one before is whole, so only the last one can have a torn tail. Since commits begin at
//! sectors of their own, writing one touches no sector that was acknowledged. Damage of
//! - a record: its run is damaged; the next commit, or the mark, names it if its header is gone as well;
//! - a commit record, the mark, a segment's first sector: nothing is lost, they speak of what is there;
//! - the image: the log is read from its beginning;
//! - the copy: it is set aside, the log is read instead, and the next checkpoint fills a new one.
//!
//! Left out on purpose: repairing a damaged run.

mod copy;
pub(crate) mod disk;
mod image;
mod log;
mod open;
mod queue;
mod record;
mod replay;
mod scan;
mod settle;
mod table;
mod view;
mod writer;

#[cfg(test)]
mod cuts;
#[cfg(test)]
mod tests;

use std::{
    ops::Bound,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::oneshot, task::spawn_blocking};

#[cfg(any(test, feature = "chaos"))]
pub use self::disk::{Hook, Op};
use self::{
    copy::{Copy, Trouble},
    disk::{Disk, Space},
    log::Log,
    queue::{Answer, Queue, Request},
    replay::Paths,
    settle::Job,
    table::{Run, Settled, Table},
    writer::{Closing, Writer},
};
pub use self::{open::Lock, view::View};
use super::{
    Appended, BlobHash, BoxFuture, Change, Changed, Error, Head, InboxId, Key, Part, Record, Store, memory::page,
    wake::Wakes,
};
use crate::run::RunId;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// How much of the copy sled keeps in memory, in bytes, once it is used. Default: 16 MiB.
    pub cache: u64,
    /// How much of the disk stays free, in bytes. Below this [`Store::room`] says [`Error::Full`]; below a quarter of it
    /// nothing is appended or posted any more. Default: 256 MiB.
    pub reserve: u64,
    /// At how many bytes a segment of the log is followed by the next, and runs are brought into the copy. Default: 64 MiB.
    pub segment: u64,
    /// What is called before each step on the disk; `None`: nothing.
    #[cfg(any(test, feature = "chaos"))]
    pub hook: Option<Hook>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache: 16 << 20,
            reserve: 256 << 20,
            segment: 64 << 20,
            #[cfg(any(test, feature = "chaos"))]
            hook: None,
        }
    }
}

impl Options {
    fn disk(&self) -> Disk {
        Disk {
            #[cfg(any(test, feature = "chaos"))]
            hook: self.hook.clone(),
        }
    }
}

/// How much of the log an opening may have to read after a clean end, as a part of a segment.
const READ_AT_OPENING: u64 = 16;

/// How long closing waits for what is being settled; sled can wait for itself for ever.
const CLOSING: Duration = Duration::from_secs(5);

/// A store in one directory, for one process. Dropping it finishes what was asked of it, and closes it.
///
/// Reads run on tokio's blocking threads, so the futures of `read` and `get_blob` must be polled on a tokio runtime.
pub struct Sled {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<Option<Closing>>>,
    settler: Option<JoinHandle<()>>,
    /// Ends when the settling thread does.
    settling: Mutex<mpsc::Receiver<()>>,
}

/// What the threads and the handle have in common.
struct Shared {
    queue: Queue,
    /// What is durable.
    table: RwLock<Table>,
    log: Log,
    copy: Copy,
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    /// How many bytes were written since runs were last settled, and since the last image.
    since_settled: AtomicU64,
    since_image: AtomicU64,
    /// Held while the copy is given up.
    falling: Mutex<()>,
    /// How many checkpoints were asked for.
    #[cfg(test)]
    checkpoints: AtomicU64,
    closing: AtomicBool,
    mark_failed: AtomicBool,
    /// Let go of when the store is closed.
    lock: Mutex<Option<Lock>>,
    wakes: Wakes,
    disk: Disk,
    paths: Paths,
    space: Space,
    reserve: u64,
    segment_bytes: u64,
    /// Whether the disk could not read some of the log when the store was opened.
    unread: bool,
}

impl Sled {
    /// Opens the store in `dir`, or creates it there. Blocks while the end of the log is read; creating threads and files,
    /// it wants no runtime.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it open, or this one; [`Error::Unusable`] with words for a person when
    /// the disk refuses.
    pub fn open(dir: &Path, options: Options) -> Result<Sled, Error> {
        Sled::open_locked(Lock::take(dir)?, options)
    }

    /// The same for a directory that is locked already.
    pub fn open_locked(lock: Lock, options: Options) -> Result<Sled, Error> {
        let unusable = |what: &str, error: std::io::Error| Error::Unusable(format!("{what}: {error}").into());
        let (disk, paths) = (options.disk(), Paths::of(lock.dir()));
        let replayed = open::open(&lock, &disk)?;
        let (jobs, asked) = mpsc::channel();
        let (ended, settling) = mpsc::channel();
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            log: Log::new(disk.clone(), replayed.segments.clone()),
            copy: Copy::new(&paths.copy, disk.clone(), options.cache),
            jobs: Mutex::new(Some(jobs)),
            since_settled: AtomicU64::new(replayed.table.unsettled()),
            since_image: AtomicU64::new(replayed.read),
            falling: Mutex::new(()),
            #[cfg(test)]
            checkpoints: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            mark_failed: AtomicBool::new(false),
            wakes: Wakes::new(),
            space: Space::new(&paths.dir).map_err(|error| unusable("looking for free space", error))?,
            reserve: options.reserve,
            segment_bytes: options.segment,
            unread: replayed.unread,
            table: RwLock::new(replayed.table.clone()),
            lock: Mutex::new(Some(lock)),
            disk,
            paths,
        });
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let failed = |error| unusable("starting a thread", error);
        // Filled step by step, so that what was started is stopped again if the next step fails.
        let mut sled =
            Sled { shared: Arc::clone(&shared), writer: None, settler: None, settling: Mutex::new(settling) };
        let writer = Writer::new(Arc::clone(&shared), &replayed);
        sled.writer = Some(spawn("store").spawn(move || writer.run()).map_err(failed)?);
        let settler = move || {
            settle::run(&shared, &asked);
            drop(shared);
            drop(ended);
        };
        sled.settler = Some(spawn("store-settle").spawn(settler).map_err(failed)?);
        Ok(sled)
    }

    /// Brings all runs into the copy and writes the image, now. Blocks; wants no runtime.
    pub fn checkpoint(&self) {
        let (done, ended) = mpsc::channel();
        self.shared.settle(Some(done));
        // It says nothing, and goes when it is done.
        let _ = ended.recv();
    }

    /// Waits until nothing is being settled, nor will be because of what was done before.
    #[cfg(test)]
    pub(crate) fn quiet(&self) {
        loop {
            let (done, ended) = mpsc::channel();
            let begun = self.shared.checkpoints.load(Ordering::SeqCst);
            let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            jobs.iter().for_each(|jobs| drop(jobs.send(Job::Nothing(done.clone()))));
            drop((jobs, done));
            let _ = ended.recv();
            // Compaction writes as well, and may have brought on another one.
            if self.shared.checkpoints.load(Ordering::SeqCst) == begun {
                return;
            }
        }
    }

    /// Gives the copy up and makes a new one from the log. Blocks; wants no runtime.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the log cannot be read.
    pub fn rebuild(&self) -> Result<(), Error> {
        {
            let _falling = self.shared.falling.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.give_up_copy()?;
        }
        self.checkpoint();
        Ok(())
    }

    /// Puts a request into the queue, now, and waits for its answer.
    fn ask<T: Send + 'static>(&self, request: impl FnOnce(Answer<T>) -> Request) -> BoxFuture<Result<T, Error>> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue.push(request(answer));
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(shared.gone())) })
    }

    /// Reads what is on the disk.
    fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> BoxFuture<Result<T, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let looked = spawn_blocking(move || shared.open().and_then(|()| read(&shared))).await;
            looked.unwrap_or_else(|error| Err(Error::Poisoned(error.to_string().into())))
        })
    }

    /// Answers from what is at hand.
    fn tell<T: Send + 'static>(&self, tell: impl FnOnce(&Table) -> Result<T, Error>) -> BoxFuture<Result<T, Error>> {
        let told = self.shared.open().and_then(|()| tell(&self.shared.table()));
        Box::pin(std::future::ready(told))
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
        self.look(move |shared| shared.frames(run, index))
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        self.tell(|table| Ok(table.runs.get(&run).map(|found| found.head(run))))
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        self.tell(|table| Ok(table.heads(after, limit)))
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>> {
        self.ask(|answer| Request::Post { run, id, item, answer })
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        self.tell(|table| table.inbox(run))
    }

    fn changed(&self, run: RunId) -> BoxFuture<()> {
        self.shared.wakes.changed(run)
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        self.look(move |shared| shared.blob(run, hash))
    }

    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>> {
        self.ask(|answer| Request::Delete { run, answer })
    }

    fn record(&self, key: Key) -> BoxFuture<Result<Option<Record>, Error>> {
        self.tell(|table| table.record(&key))
    }

    fn records(&self, prefix: Bytes, after: Option<Key>, limit: usize) -> BoxFuture<Result<Vec<(Key, Record)>, Error>> {
        self.tell(|table| Ok(table.records(&prefix, after, limit)))
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<Result<Changed, Error>> {
        self.ask(|answer| Request::Change { changes, answer })
    }

    fn faults(&self) -> Vec<Arc<str>> {
        self.shared.table().faults.clone()
    }

    fn room(&self) -> Result<(), Error> {
        self.shared.open()?;
        let lock = self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.as_ref().is_some_and(Lock::is_gone) {
            return Err(Error::Poisoned(format!("{} was removed", self.shared.paths.dir.display()).into()));
        }
        self.shared.room(self.shared.reserve)
    }
}

impl Table {
    fn heads(&self, after: Option<RunId>, limit: usize) -> Vec<Head> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.runs.range((from, Bound::Unbounded)).take(limit).map(|(run, found)| found.head(*run)).collect()
    }

    /// A run that is there and sound.
    fn sound(&self, run: RunId) -> Result<Option<&Run>, Error> {
        let Some(found) = self.runs.get(&run) else { return Ok(None) };
        match &found.damage {
            Some(reason) => Err(Error::Damaged { run, reason: reason.clone() }),
            None => Ok(Some(found)),
        }
    }

    fn inbox(&self, run: RunId) -> Result<Vec<(InboxId, Bytes)>, Error> {
        Ok(self.sound(run)?.map(|found| found.inbox.clone()).unwrap_or_default())
    }

    fn record(&self, key: &Key) -> Result<Option<Record>, Error> {
        if !self.lost.is_empty() && self.lost.contains(&record::key_hash(key)) {
            return Err(Error::DamagedRecord(key.clone()));
        }
        Ok(self.records.get(key).and_then(|kept| kept.record.clone()))
    }

    fn records(&self, prefix: &Bytes, after: Option<Key>, limit: usize) -> Vec<(Key, Record)> {
        page(&self.records, prefix, after, limit, |kept| kept.record.as_ref())
    }
}

impl Shared {
    fn table(&self) -> RwLockReadGuard<'_, Table> {
        // No change leaves it half made.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frames of a run from `index` on.
    fn frames(&self, id: RunId, index: u64) -> Result<Vec<Bytes>, Error> {
        let frames = self.reading(id, |run| {
            let mut frames = Vec::new();
            if run.settled.length > 0 {
                frames = self.copy.frames(id, run.born, &run.settled).map_err(Unread::Copy)?;
            }
            let mut reader = self.log.reader();
            for loc in run.tail.iter().filter(|loc| loc.frames > 0) {
                frames.extend(reader.delta(id, loc).map_err(Unread::Log)?.frames);
            }
            match frames.len() as u64 == run.length {
                true => Ok(frames),
                false => {
                    let have = format!("it has {} of {} entries", frames.len(), run.length);
                    Err(Unread::Log(log::Unread::lasting(have)))
                }
            }
        })?;
        let from = usize::try_from(index).unwrap_or(usize::MAX);
        Ok(frames.into_iter().flatten().skip(from).collect())
    }

    fn blob(&self, id: RunId, hash: BlobHash) -> Result<Option<Bytes>, Error> {
        let blob = self.reading(id, |run| {
            let mut reader = self.log.reader();
            for loc in run.tail.iter().filter(|loc| loc.blobs) {
                if let Some(blob) = log::blob_of(reader.delta(id, loc).map_err(Unread::Log)?, hash) {
                    return Ok(Some(blob));
                }
            }
            match run.settled.blobs {
                0 => Ok(None),
                _ => self.copy.blob(id, run.born, &run.settled, hash).map_err(Unread::Copy),
            }
        })?;
        Ok(blob.flatten())
    }

    /// Reads something of a run that is there and sound. What it reads may be settled, moved or removed meanwhile; only what
    /// fails while nothing moves is damage.
    fn reading<T>(&self, id: RunId, read: impl Fn(&Run) -> Result<T, Unread>) -> Result<Option<T>, Error> {
        loop {
            let Some(run) = self.table().sound(id)?.cloned() else { return Ok(None) };
            let unread = match read(&run) {
                Ok(found) => return Ok(Some(found)),
                Err(unread) => unread,
            };
            let moved = self.table().runs.get(&id).is_none_or(|now| (now.born, now.settled) != (run.born, run.settled));
            match unread {
                _ if moved => {}
                Unread::Copy(Trouble(reason)) => self.fall_back_from(&reason, id, &run.settled),
                Unread::Log(unread) => {
                    let last = run.tail.last().map_or(0, |loc| loc.seq);
                    return Err(self.found_damage(id, run.born, last, &unread));
                }
            }
        }
    }

    /// Remembers that a run cannot be read, if it is for good, and still the run that was looked at.
    fn found_damage(&self, run: RunId, born: u64, last: u64, unread: &log::Unread) -> Error {
        let log::Unread { reason, lasting } = unread;
        if !lasting {
            tracing::warn!(%run, %reason, "a run cannot be read");
            return Error::Damaged { run, reason: reason.clone() };
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = table.runs.get(&run).filter(|found| found.born == born && found.seq >= last)
            && found.damage.is_none()
        {
            tracing::warn!(%run, damage = %reason, "a run is damaged");
            table.damage(run, reason.clone());
        }
        Error::Damaged { run, reason: reason.clone() }
    }

    fn fall_back_from(&self, reason: &str, run: RunId, settled: &Settled) {
        let _falling = self.falling.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have met it first.
        if self.table().runs.get(&run).is_some_and(|now| now.settled == *settled) {
            self.fall(reason);
        }
    }

    /// Gives the copy up, and has the log be read instead.
    fn fall_back(&self, reason: &str) {
        let _falling = self.falling.lock().unwrap_or_else(PoisonError::into_inner);
        self.fall(reason);
    }

    fn fall(&self, reason: &str) {
        let copy = self.paths.copy.display();
        tracing::warn!(%reason, %copy, "the copy of the store does not read; it is set aside, and made again from the log");
        if let Err(error) = self.give_up_copy() {
            tracing::error!(%error, "the log of the store cannot be read");
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            let lost: Arc<str> = format!("neither the copy nor the log can be read: {error}").into();
            let settled = table.runs.values_mut().filter(|run| run.settled != Settled::default());
            settled.for_each(|run| {
                run.damage.get_or_insert(lost.clone());
            });
        }
    }

    fn give_up_copy(&self) -> Result<(), Error> {
        let aside = self.copy.set_aside();
        if let Err(error) = aside {
            tracing::warn!(%error, copy = %self.paths.copy.display(), "the copy could not be set aside");
        }
        settle::unsettle(self)
    }

    /// Counts what was written, and has it be settled when it is much.
    fn written(&self, bytes: u64) {
        self.since_image.fetch_add(bytes, Ordering::Relaxed);
        if self.since_settled.fetch_add(bytes, Ordering::Relaxed) + bytes >= self.segment_bytes {
            self.settle(None);
        }
    }

    fn settle(&self, done: Option<mpsc::Sender<()>>) {
        self.since_settled.store(0, Ordering::Relaxed);
        #[cfg(test)]
        self.checkpoints.fetch_add(1, Ordering::SeqCst);
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        // While the store closes, nobody is there any more.
        jobs.iter().for_each(|jobs| drop(jobs.send(Job::Checkpoint(done.clone()))));
    }

    /// Why nobody answers.
    fn gone(&self) -> Error {
        self.queue.closed().unwrap_or_else(|| Error::Poisoned("the store is closed".into()))
    }

    fn open(&self) -> Result<(), Error> {
        self.queue.closed().map_or(Ok(()), Err)
    }

    /// Ends all acknowledging.
    fn poison(&self, reason: Arc<str>) -> Error {
        let error = Error::Poisoned(reason);
        if self.queue.closed().is_none() {
            tracing::error!(%error, "the store acknowledges nothing more");
        }
        self.queue.refuse_all(&error);
        self.wakes.wake_all();
        error
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
}

/// What could not be read.
enum Unread {
    Copy(Trouble),
    Log(log::Unread),
}

impl Drop for Sled {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.queue.close(Error::Poisoned("the store is closed".into()));
        let writer = self.writer.take().map(JoinHandle::join);
        shared.closing.store(true, Ordering::Relaxed);
        drop(shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let settled = match self.settler.take() {
            // It sends nothing, and drops the other end when it is done.
            Some(settler) => {
                match self.settling.get_mut().unwrap_or_else(PoisonError::into_inner).recv_timeout(CLOSING) {
                    Err(mpsc::RecvTimeoutError::Timeout) => false,
                    _ => settler.join().is_ok(),
                }
            }
            None => true,
        };
        if let Some(Ok(Some(closing))) = writer {
            if settled && shared.since_image.load(Ordering::Relaxed) > shared.segment_bytes / READ_AT_OPENING {
                let _ = settle::write_image(shared);
            }
            closing.close();
        }
        if !settled {
            tracing::warn!("the copy of the store does not come to an end; it is left to the end of the process");
        }
        drop(shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
