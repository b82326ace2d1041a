//! A store for looking alone: takes no lock, writes nothing, and reads the log, so that it works on a disk that cannot be
//! written to, and while another process has the store open. It shows the store as it was when it was opened.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::{
    disk::Disk,
    log::{self, Log},
    open,
    replay::{From, Paths, replay},
    scan::segments,
    table::{Run, Settled, Table},
};
use crate::{
    run::RunId,
    store::{Appended, BlobHash, BoxFuture, Change, Changed, Error, Head, InboxId, Key, Part, Record, Store},
};

/// A store that is looked at.
pub struct View {
    inner: Arc<Inner>,
}

/// The last segment, its length, and when the image was written.
type Stamp = (Option<(PathBuf, u64)>, Option<SystemTime>);

fn stamp(paths: &Paths) -> Stamp {
    let last = segments(&paths.log).ok().and_then(|mut segments| segments.pop());
    let last = last.and_then(|last| Some((last.path.clone(), last.path.metadata().ok()?.len())));
    (last, paths.dir.join("checkpoint").metadata().and_then(|data| data.modified()).ok())
}

struct Inner {
    disk: Disk,
    paths: Paths,
    /// The image, and the log behind it.
    table: Table,
    log: Log,
    noise: Vec<Arc<str>>,
    /// What tells whether it is still as it was.
    stamp: Stamp,
    /// The whole log, once somebody wants what is settled.
    whole: OnceLock<Result<Table, Error>>,
}

impl View {
    /// Looks at the store in `dir`; one that is not there is empty. Blocks while the end of the log is read.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it cannot be read at all.
    pub fn open(dir: &Path) -> Result<View, Error> {
        View::open_from(dir, From::Image)
    }

    fn open_from(dir: &Path, from: From) -> Result<View, Error> {
        let (disk, paths) = (Disk::default(), Paths::of(dir));
        open::refuse_older(&paths)?;
        // What a process has written that is gone now may not be on the disk yet, and is about to be shown.
        if let Some(segment) = segments(&paths.log).ok().and_then(|mut segments| segments.pop()) {
            drop(disk.read(&segment.path).and_then(|file| file.sync()));
        }
        let stamp = stamp(&paths);
        let replayed = replay(&disk, &paths, from)?;
        open::report(&replayed);
        let log = Log::new(disk.clone(), replayed.segments);
        let (table, noise) = (replayed.table, replayed.noise);
        let inner = Inner { disk, paths, table, log, noise, stamp, whole: OnceLock::new() };
        Ok(View { inner: Arc::new(inner) })
    }

    /// Whether nothing was written since then.
    pub fn is_current(&self) -> bool {
        stamp(&self.inner.paths) == self.inner.stamp
    }

    /// Reads everything that the log in `dir` holds. Returns the runs that are damaged, and what else is: what belongs to
    /// no run, and places that took nothing with them. Whether frames are what they were, `journal` checks. Blocks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn check(dir: &Path) -> Result<Checked, Error> {
        let View { inner } = View::open(dir)?;
        let View { inner: whole } = View::open_from(dir, From::Beginning)?;
        let mut checked = Checked { places: inner.noise.clone(), ..Checked::default() };
        checked.places.extend(inner.table.faults.iter().chain(&whole.noise).chain(&whole.table.faults).cloned());
        checked.places.sort();
        checked.places.dedup();
        for table in [&inner.table, &whole.table] {
            let damaged = table.runs.iter().filter_map(|(id, run)| Some((*id, run.damage.clone()?)));
            checked.runs.extend(damaged);
        }
        for (id, run) in inner.table.runs.iter().filter(|(_, run)| run.damage.is_none()) {
            let found = whole.table.runs.get(id).filter(|found| (found.born, found.seq) == (run.born, run.seq));
            let read =
                found.ok_or_else(|| Arc::from("the log does not have all of it")).and_then(|run| whole.read(*id, run));
            if let Err(reason) = read {
                checked.runs.insert(*id, reason);
            }
        }
        Ok(checked)
    }

    fn look<T: Send + 'static>(
        &self,
        run: RunId,
        read: impl FnOnce(&Inner, &Run) -> Result<T, Arc<str>> + Send + 'static,
    ) -> BoxFuture<Result<Option<T>, Error>> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let looked = spawn_blocking(move || {
                let Some(found) = inner.run(run)? else { return Ok(None) };
                read(&inner, found).map(Some).map_err(|reason| Error::Damaged { run, reason })
            });
            looked.await.unwrap_or_else(|error| Err(Error::Poisoned(error.to_string().into())))
        })
    }

    fn tell<T: Send + 'static>(&self, told: Result<T, Error>) -> BoxFuture<Result<T, Error>> {
        Box::pin(std::future::ready(told))
    }

    fn refuse<T: Send + 'static>(&self) -> BoxFuture<Result<T, Error>> {
        self.tell(Err(Error::ReadOnly))
    }
}

/// What is wrong with a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Runs of which something cannot be read, in the log at least.
    pub runs: BTreeMap<RunId, Arc<str>>,
    /// Places that cannot be read.
    pub places: Vec<Arc<str>>,
}

impl Inner {
    /// A run with all its records in the log.
    fn run(&self, id: RunId) -> Result<Option<&Run>, Error> {
        let Some(run) = self.table.sound(id)? else { return Ok(None) };
        if run.settled == Settled::default() {
            return Ok(Some(run));
        }
        let whole = self.whole.get_or_init(|| Ok(replay(&self.disk, &self.paths, From::Beginning)?.table));
        match whole.as_ref().map_err(Clone::clone)?.sound(id)? {
            Some(found) if found.born == run.born && found.length >= run.length => Ok(Some(found)),
            _ => Err(Error::Damaged { run: id, reason: "the log does not have all of it".into() }),
        }
    }

    fn frames(&self, id: RunId, run: &Run) -> Result<Vec<Bytes>, Arc<str>> {
        let mut reader = self.log.reader();
        let mut frames = Vec::new();
        for loc in run.tail.iter().filter(|loc| loc.frames > 0) {
            frames.extend(reader.delta(id, loc).map_err(|unread| unread.reason)?.frames);
        }
        Ok(frames)
    }

    fn blob(&self, id: RunId, run: &Run, hash: BlobHash) -> Result<Option<Bytes>, Arc<str>> {
        let mut reader = self.log.reader();
        for loc in run.tail.iter().filter(|loc| loc.blobs) {
            if let Some(blob) = log::blob_of(reader.delta(id, loc).map_err(|unread| unread.reason)?, hash) {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }

    fn read(&self, id: RunId, run: &Run) -> Result<(), Arc<str>> {
        let mut reader = self.log.reader();
        let mut frames = 0;
        for loc in &run.tail {
            let delta = reader.delta(id, loc).map_err(|unread| unread.reason)?;
            frames += delta.frames.len() as u64;
            for (hash, blob) in delta.blobs {
                if *blake3::hash(&blob).as_bytes() != hash.0 {
                    return Err("a blob is not what its name says".into());
                }
            }
        }
        match frames == run.length {
            true => Ok(()),
            false => Err(format!("the log has {frames} of {} entries", run.length).into()),
        }
    }
}

impl Store for View {
    fn append(&self, _: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>> {
        self.refuse()
    }

    fn claim(&self, _: RunId) -> BoxFuture<Result<Head, Error>> {
        self.refuse()
    }

    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>> {
        let length = self.inner.table.runs.get(&run).map_or(0, |run| run.length);
        let frames = self.look(run, move |inner, found| inner.frames(run, found));
        Box::pin(async move {
            let mut frames = frames.await?.unwrap_or_default();
            // The whole log may have been read later.
            frames.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            Ok(frames.into_iter().skip(usize::try_from(index).unwrap_or(usize::MAX)).collect())
        })
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        self.tell(Ok(self.inner.table.runs.get(&run).map(|found| found.head(run))))
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        self.tell(Ok(self.inner.table.heads(after, limit)))
    }

    fn post(&self, _: RunId, _: InboxId, _: Bytes) -> BoxFuture<Result<(), Error>> {
        self.refuse()
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        self.tell(self.inner.table.inbox(run))
    }

    /// Never: it stays as it was.
    fn changed(&self, _: RunId) -> BoxFuture<()> {
        Box::pin(std::future::pending())
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        let blob = self.look(run, move |inner, found| inner.blob(run, found, hash));
        Box::pin(async move { Ok(blob.await?.flatten()) })
    }

    fn delete(&self, _: RunId) -> BoxFuture<Result<(), Error>> {
        self.refuse()
    }

    fn record(&self, key: Key) -> BoxFuture<Result<Option<Record>, Error>> {
        self.tell(self.inner.table.record(&key))
    }

    fn records(&self, prefix: Bytes, after: Option<Key>, limit: usize) -> BoxFuture<Result<Vec<(Key, Record)>, Error>> {
        self.tell(Ok(self.inner.table.records(&prefix, after, limit)))
    }

    fn change(&self, _: Vec<Change>) -> BoxFuture<Result<Changed, Error>> {
        self.refuse()
    }

    fn faults(&self) -> Vec<Arc<str>> {
        self.inner.table.faults.clone()
    }

    fn room(&self) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }
}
