//! sled behind a wall: every call is guarded, and what comes back are heads, frames, items and blobs.
//!
//! sled 0.34 reports damage sometimes as an error and sometimes by panicking, so each call runs under `catch_unwind`.
//! A [`Trouble`] while reading says that the thing asked for cannot be read; a trouble while committing is the end of
//! this handle (`flusher`). Either may mean that the tree has an unreadable page ([`Cause`]), which sled would stumble
//! over again whenever it tidies up; then the next open builds the tree anew (`mend`). Nothing here knows what else is
//! going on: a reader beside the flusher may find a thing half gone, and must ask again where nothing moves
//! (`Sled::look`).

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    ops::Bound,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

use super::{
    faults::{Faults, Point},
    keys::{self, Opening, Section, Slot, Stored, Writes},
    witness::Seen,
};
use crate::{
    run::RunId,
    store::{BlobHash, Chain, Columns, InboxId},
};

/// Why something was not done, in words for a person.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) reason: Arc<str>,
    pub(super) cause: Cause,
}

/// What kind of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The tree can be read, and something is not in it that should be.
    Missing,
    /// The tree cannot be read: sled says so, or panics.
    Tree,
    /// The operating system says no.
    Disk,
}

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            sled::Error::Corruption { .. } => {
                Trouble { reason: "a page of the store is damaged".into(), cause: Cause::Tree }
            }
            error => Trouble { reason: error.to_string().into(), cause: Cause::Tree },
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Trouble { reason: error.to_string().into(), cause: Cause::Disk }
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Trouble { reason: text.into(), cause: Cause::Missing }
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Trouble { reason: text.into(), cause: Cause::Missing }
    }
}

/// An inbox item with its place in the row.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) place: u64,
    pub(super) id: InboxId,
    /// What it adds to the sum in the head.
    pub(super) sum: u64,
    pub(super) bytes: Bytes,
}

/// An open tree, and a descriptor of our own on its file.
pub(super) struct Engine {
    /// `None` only while it is being dropped.
    db: Option<sled::Db>,
    data: File,
    faults: Faults,
    /// Whether a batch was left half applied.
    torn: AtomicBool,
}

impl Engine {
    /// Takes over a tree that was just opened in this directory.
    pub(super) fn new(db: sled::Db, dir: &Path, faults: Faults) -> std::io::Result<Self> {
        // For syncing; the same inode as sled's, so all of its dirty pages.
        let data = File::options().read(true).write(true).open(dir.join("db"))?;
        Ok(Engine { db: Some(db), data, faults, torn: AtomicBool::new(false) })
    }

    /// The newest head of a run; `None` when it is not there.
    pub(super) fn head(&self, run: RunId) -> Result<Option<Stored>, Trouble> {
        self.guarded(Point::Read, |db| {
            let own = match db.get(keys::head(run))? {
                Some(value) => opening(&value)?.head,
                None => None,
            };
            let tail = last_pack(db, run)?;
            let Some(own) = own else {
                return if tail.is_some() { Err("its head is missing".into()) } else { Ok(None) };
            };
            let (frames, slots) = tail.as_ref().map_or((0, 0), |stored| (stored.length, stored.slots));
            let newest = match tail {
                Some(stored) if stored.version > own.version => stored,
                _ => own,
            };
            if (frames, slots) != (newest.length, newest.slots) {
                return Err(format!("it has {frames} of {} frames", newest.length).into());
            }
            Ok(Some(newest))
        })
    }

    /// What can be read of a damaged run's columns.
    pub(super) fn columns(&self, run: RunId) -> Option<Columns> {
        let own = self.guarded(Point::Read, |db| Ok(db.get(keys::head(run))?)).ok()??;
        Some(keys::open(&own)?.head?.columns)
    }

    /// The head of a run, held against what the witness saw.
    pub(super) fn checked_head(&self, run: RunId, seen: &Seen) -> Result<Option<Stored>, Trouble> {
        let Some(stored) = self.head(run)? else {
            return Err(format!("it is gone; it had {} frames", seen.length).into());
        };
        if stored.version < seen.version || stored.length < seen.length || stored.epoch < seen.epoch {
            let lost = seen.version.saturating_sub(stored.version);
            let frames = format!("it has {} of {} frames", stored.length, seen.length);
            return Err(format!("its last {lost} changes are gone: {frames}").into());
        }
        let chain = match seen.length.checked_sub(1) {
            Some(last) if last + 1 < stored.length => self.chain_at(run, &stored, seen.length)?,
            Some(_) => Some(stored.chain),
            None => Some(Chain::default()),
        };
        if chain != Some(seen.chain) {
            return Err(format!("the first {} frames are not the ones that it had", seen.length).into());
        }
        Ok(Some(stored))
    }

    /// The chain value that a run had at this length; `None` if no part ended there.
    fn chain_at(&self, run: RunId, head: &Stored, length: u64) -> Result<Option<Chain>, Trouble> {
        self.guarded(Point::Read, |db| {
            let mut slots = head.slots;
            while slots > 0 {
                let pack = pack_before(db, run, slots)?;
                if pack.head.length <= length {
                    return Ok((pack.head.length == length).then_some(pack.head.chain));
                }
                slots = pack.slot;
            }
            Ok(None)
        })
    }

    /// The frames of a run from `from` on, all of them.
    pub(super) fn frames(&self, run: RunId, from: u64, head: &Stored) -> Result<Vec<Bytes>, Trouble> {
        self.guarded(Point::Read, |db| {
            let (mut packs, mut slots, mut to) = (Vec::new(), head.slots, head.length);
            // From the end, because there it is known what stands where.
            while to > from {
                let pack = pack_before(db, run, slots)?;
                let mut frames = keys::unpack(pack.bytes).ok_or("a pack is not what it was")?;
                if pack.first + frames.len() as u64 != to {
                    return Err(format!("frames are missing before frame {to} of {}", head.length).into());
                }
                let early = from.saturating_sub(pack.first);
                frames.drain(..usize::try_from(early).unwrap_or(usize::MAX).min(frames.len()));
                packs.push(frames);
                (slots, to) = (pack.slot, pack.first);
            }
            Ok(packs.into_iter().rev().flatten().collect())
        })
    }

    /// What waits in a run's inbox, oldest first, held against the sum in the head.
    pub(super) fn items(&self, run: RunId, sum: u64) -> Result<Vec<Item>, Trouble> {
        self.guarded(Point::Read, |db| {
            let mut items = Vec::new();
            for key in db.scan_prefix(keys::section(run, Section::Inbox)).keys() {
                let key = key?;
                if !keys::is_first_chunk(&key) {
                    continue;
                }
                let place = keys::place_of(&key).ok_or("an inbox item has a strange name")?;
                let Some((bytes, Some(id))) = whole(db, &keys::item(run, place))? else {
                    return Err("an inbox item has no name".into());
                };
                items.push(Item { place, id, sum: keys::sum_of_item(place, id, &bytes), bytes });
            }
            match items.iter().fold(sum, |sum, item| sum ^ item.sum) {
                0 => Ok(items),
                _ => Err("its inbox is not what it was".into()),
            }
        })
    }

    /// One blob of a run; `None` when the run has no such blob.
    pub(super) fn blob(&self, run: RunId, hash: BlobHash) -> Result<Option<Bytes>, Trouble> {
        match self.guarded(Point::Read, |db| whole(db, &keys::blob(run, hash)))? {
            Some((blob, _)) if *blake3::hash(&blob).as_bytes() == hash.0 => Ok(Some(blob)),
            Some(_) => Err("a blob is not what it was".into()),
            // It may be one that was lost.
            None => self.blobs(run).map(|_| None),
        }
    }

    /// Whether a run has a blob, without reading it.
    pub(super) fn has_blob(&self, run: RunId, hash: BlobHash) -> Result<bool, Trouble> {
        self.guarded(Point::Read, |db| Ok(db.contains_key(keys::chunk(keys::blob(run, hash), 0))?))
    }

    /// The hashes of a run's blobs, held against the sum in the head.
    fn blobs(&self, run: RunId) -> Result<Vec<BlobHash>, Trouble> {
        let sum = self.head(run)?.map_or(0, |head| head.blobs);
        let keys = self.keys(&keys::section(run, Section::Blobs))?;
        let first = keys.iter().filter(|key| keys::is_first_chunk(key));
        let hashes: Vec<BlobHash> = first.filter_map(|key| keys::hash_of(key)).collect();
        match hashes.iter().fold(sum, |sum, hash| sum ^ keys::sum_of_blob(*hash)) {
            0 => Ok(hashes),
            _ => Err("it has lost a blob".into()),
        }
    }

    /// All keys that begin so.
    pub(super) fn keys(&self, prefix: &[u8]) -> Result<Vec<sled::IVec>, Trouble> {
        self.guarded(Point::Read, |db| Ok(db.scan_prefix(prefix).keys().collect::<Result<_, _>>()?))
    }

    /// The runs that the tree has, and those that are known to have been in it, in order; with what kept us from seeing
    /// more.
    pub(super) fn runs(&self, known: &BTreeMap<RunId, Seen>) -> (BTreeSet<RunId>, Option<Trouble>) {
        let (mut runs, mut trouble, mut at) = (known.keys().copied().collect::<BTreeSet<_>>(), None, None);
        loop {
            at = match self.next_run(at) {
                Ok(run) => run,
                // What lies on this page is known; go on behind the next known run.
                Err(error) => {
                    trouble = Some(error);
                    let behind = (at.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
                    known.range(behind).next().map(|(run, _)| *run)
                }
            };
            match at {
                Some(run) => drop(runs.insert(run)),
                None => return (runs, trouble),
            }
        }
    }

    /// The first run behind this one, as far as the tree knows.
    fn next_run(&self, after: Option<RunId>) -> Result<Option<RunId>, Trouble> {
        self.guarded(Point::Read, |db| {
            let from = match after {
                // No section has this number, so this lies behind all keys of the run.
                Some(run) => Bound::Excluded([run.as_bytes().as_slice(), &[u8::MAX]].concat()),
                None => Bound::Unbounded,
            };
            let first = db.range((from, Bound::Unbounded)).keys().next().transpose()?;
            Ok(first.and_then(|key| keys::run_of(&key)))
        })
    }

    /// Whether anything can be read at all: the first page of the tree or the last.
    pub(super) fn readable(&self) -> Result<(), Trouble> {
        let ends = [[0; 17], [u8::MAX; 17]].map(|key| self.guarded(Point::Read, |db| Ok(db.contains_key(key)?)));
        let [first, last] = ends;
        first.or(last).map(|_| ())
    }

    /// Reads everything of a run.
    pub(super) fn check(&self, run: RunId) -> Result<(), Trouble> {
        if let Some(head) = self.head(run)? {
            self.frames(run, 0, &head)?;
            self.items(run, head.inbox)?;
        }
        for hash in self.blobs(run)? {
            self.blob(run, hash)?;
        }
        Ok(())
    }

    /// Hands all of a run to `take`, as it stands in the tree.
    pub(super) fn copy(
        &self,
        run: RunId,
        mut take: impl FnMut(sled::IVec, sled::IVec) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.guarded(Point::Read, |db| {
            db.scan_prefix(run.as_bytes()).try_for_each(|pair| {
                let (key, value) = pair?;
                take(key, value)
            })
        })
    }

    /// Whether sled was left with half a batch, so that only the end of the process ends it.
    pub(super) fn torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed)
    }

    /// Wakes a flush that has missed an error; what comes of it, that flush will tell.
    pub(super) fn nudge(&self) {
        drop(caught(|| Ok(self.db.as_ref().map(|db| db.flush()))));
    }

    /// Puts a batch into the tree and makes it durable.
    pub(super) fn commit(&self, writes: Writes) -> Result<(), Trouble> {
        let applied = self.guarded(Point::Apply, |db| apply(db, writes));
        if matches!(&applied, Err(Trouble { cause: Cause::Tree, .. })) {
            self.torn.store(true, Ordering::Relaxed);
        }
        applied?;
        self.flush()?;
        self.sync()
    }

    /// Has sled write its buffers out, and wait for that. Not durable yet: on Linux it stops at `sync_file_range`.
    pub(super) fn flush(&self) -> Result<(), Trouble> {
        self.guarded(Point::Flush, |db| Ok(db.flush().map(|_| ())?))
    }

    /// Makes durable what was flushed.
    pub(super) fn sync(&self) -> Result<(), Trouble> {
        self.guarded(Point::Sync, |_| Ok(self.data.sync_data()?))
    }

    /// Runs what touches sled or the disk: a panic inside is caught and becomes a trouble.
    pub(super) fn guarded<T>(
        &self,
        point: Point,
        call: impl FnOnce(&sled::Db) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        caught(|| {
            self.faults.at(point)?;
            call(self.db.as_ref().ok_or("the store is closed")?)
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.torn() {
            // sled would write the half out, where recovery takes it for the whole.
            std::mem::forget(self.db.take());
            return;
        }
        let (db, faults) = (self.db.take(), self.faults.clone());
        // sled writes and syncs once more, and panics when it cannot. Whoever waited for this data was told already.
        let dropped = caught(move || {
            let failed = faults.at(Point::Close);
            drop(db);
            Ok(failed?)
        });
        if let Err(Trouble { reason, .. }) = dropped {
            tracing::warn!(%reason, "the store did not close cleanly");
        }
    }
}

/// Calls something that may panic.
pub(super) fn caught<T>(call: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    // Whatever was touched inside is given up after a panic, or was only read.
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(Trouble { reason: said(&*panic).into(), cause: Cause::Tree }))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    // sled prints whole pages into some of its messages.
    let text: String = text.unwrap_or("without a word").chars().take(200).collect();
    format!("the engine panicked: {text}")
}

fn opening(value: &[u8]) -> Result<Opening<'_>, Trouble> {
    keys::open(value).ok_or_else(|| "a value has no known shape".into())
}

/// Puts writes into the tree. sled's log brings back what was written in the order in which it was, each write whole; a
/// batch of sled's appears as a whole, and takes a page more, a write and a thread of sled's own.
fn apply(db: &sled::Db, Writes { list, bound }: Writes) -> Result<(), Trouble> {
    if !bound {
        for (key, value) in list {
            match value {
                Some(value) => db.insert(key, value)?,
                None => db.remove(key)?,
            };
        }
        return Ok(());
    }
    let mut batch = sled::Batch::default();
    for (key, value) in list {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    Ok(db.apply_batch(batch)?)
}

/// The head beside the last pack, which is whole.
fn last_pack(db: &sled::Db, run: RunId) -> Result<Option<Stored>, Trouble> {
    let section = keys::section(run, Section::Packs)..keys::section(run, Section::Inbox);
    let Some((key, value)) = db.range(section).next_back().transpose()? else {
        return Ok(None);
    };
    let slot = keys::slot_of(&key).ok_or("a slot has a strange name")?;
    let first = match read_slot(&value)? {
        Slot::Continued { number, .. } => db.get(keys::slot(run, slot.saturating_sub(number)))?,
        Slot::Pack { .. } => Some(value),
    };
    match read_slot(&first.ok_or("its last frames have lost their beginning")?)? {
        Slot::Pack { head, .. } if head.slots == slot.saturating_add(1) => Ok(Some(head)),
        _ => Err("its last frames are not all there".into()),
    }
}

/// The frames of a part, as they are kept.
struct Pack {
    /// Its first slot.
    slot: u32,
    /// The index of its first frame.
    first: u64,
    /// The head that it made.
    head: Stored,
    bytes: Bytes,
}

/// The pack that ends before this slot.
fn pack_before(db: &sled::Db, run: RunId, end: u32) -> Result<Pack, Trouble> {
    let (mut slot, mut behind) = (end, Vec::<sled::IVec>::new());
    loop {
        slot = slot.checked_sub(1).ok_or("its first frames are missing")?;
        let value = db.get(keys::slot(run, slot))?.ok_or_else(|| format!("slot {slot} is missing"))?;
        match read_slot(&value)? {
            Slot::Pack { first, head, length, start } => {
                let mut bytes =
                    BytesMut::with_capacity(start.len() + behind.iter().map(|value| value.len()).sum::<usize>());
                bytes.extend_from_slice(start);
                for (expected, value) in (1..).zip(behind.iter().rev()) {
                    match read_slot(value)? {
                        Slot::Continued { number, bytes: more } if number == expected => bytes.extend_from_slice(more),
                        _ => return Err(format!("slot {slot} goes on elsewhere").into()),
                    }
                }
                return match bytes.len() == length {
                    true => Ok(Pack { slot, first, head, bytes: bytes.freeze() }),
                    false => Err(format!("slot {slot} does not go on").into()),
                };
            }
            Slot::Continued { .. } => behind.push(value),
        }
    }
}

fn read_slot(value: &[u8]) -> Result<Slot<'_>, Trouble> {
    keys::read_slot(value).ok_or_else(|| "a slot has no known shape".into())
}

/// An item or blob with all its chunks.
fn whole(db: &sled::Db, key: &[u8]) -> Result<Option<(Bytes, Option<InboxId>)>, Trouble> {
    let Some(value) = db.get(keys::chunk(key.to_vec(), 0))? else {
        return Ok(None);
    };
    let opening = opening(&value)?;
    let mut bytes = BytesMut::with_capacity(opening.length.min(16 << 20));
    bytes.extend_from_slice(opening.start);
    for number in 1..=u16::try_from(opening.chunks_behind()).unwrap_or(u16::MAX) {
        let piece = db.get(keys::chunk(key.to_vec(), number))?;
        bytes.extend_from_slice(&piece.ok_or("a chunk is missing")?);
    }
    if bytes.len() != opening.length {
        return Err("a chunk has another length than it had".into());
    }
    Ok(Some((bytes.freeze(), opening.id)))
}
