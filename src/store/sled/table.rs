//! What the store has in memory: the head of every run, where its unsettled records are, what waits in inboxes, and all
//! records that callers keep. Frames and blobs are not here.
//!
//! The table changes by [`Effect`]s alone, one for each record of the log, in their order: when a commit is durable, and
//! when the log is read at an opening. Two tables that have seen the same records are the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use bytes::Bytes;

use super::record::{Delta, Header, KeyHash, key_hash};
use crate::{
    run::RunId,
    store::{Chain, Columns, Head, InboxId, Key, Record},
};

/// All that is known without reading the disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) records: BTreeMap<Key, Kept>,
    /// Records whose last change was lost.
    pub(super) lost: HashSet<KeyHash>,
    /// How far the log is read into this.
    pub(super) seq: u64,
    pub(super) position: Position,
    /// Runs that were deleted and may have something in the copy: run and `born`.
    pub(super) deleted: BTreeSet<(RunId, u64)>,
    /// What could not be read and belongs to no run that is known.
    pub(super) faults: Vec<Arc<str>>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u32,
    pub(super) offset: u64,
}

/// One run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Run {
    pub(super) epoch: u64,
    pub(super) length: u64,
    pub(super) chain: Chain,
    /// The sequence number of its first record, which tells it from an earlier run of the same id, and of its last.
    pub(super) born: u64,
    pub(super) seq: u64,
    pub(super) columns: Columns,
    pub(super) inbox: Vec<(InboxId, Bytes)>,
    /// What of it is in the copy.
    pub(super) settled: Settled,
    /// The records behind that, oldest first.
    pub(super) tail: Vec<Loc>,
    /// How many bytes of the log it takes.
    pub(super) bytes: u64,
    pub(super) damage: Option<Arc<str>>,
}

/// What of a run is in the copy: its first frames, as one stream of bytes in so many pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// How many frames.
    pub(super) length: u64,
    pub(super) pieces: u32,
    /// The length of the stream, and its CRC32C.
    pub(super) bytes: u64,
    pub(super) sum: u32,
    /// How many different blobs.
    pub(super) blobs: u32,
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loc {
    pub(super) seq: u64,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) frames: u32,
    pub(super) blobs: bool,
}

/// A record that a caller keeps; `None` when it was removed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    pub(super) seq: u64,
    pub(super) record: Option<Record>,
}

/// What a record of the log does to the table.
#[derive(Debug)]
pub(super) enum Effect {
    /// Frames and blobs are not needed any more.
    Delta(Header, Box<Delta>, Loc),
    Delete(Header),
    Records(u64, Vec<(Key, Option<Record>)>),
}

impl Table {
    pub(super) fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Delta(header, delta, loc) => {
                let run = self.runs.entry(header.run).or_insert_with(|| Run { born: header.seq, ..Run::default() });
                run.apply(&header, &delta, loc);
                self.set(header.seq, delta.records, false);
            }
            Effect::Delete(header) => {
                if let Some(run) = self.runs.remove(&header.run) {
                    self.deleted.insert((header.run, run.born));
                }
            }
            Effect::Records(seq, records) => self.set(seq, records, false),
        }
    }

    /// Takes in changed records. With `keep`, those that were removed stay, as removed, for [`tidy`](Self::tidy).
    pub(super) fn set(&mut self, seq: u64, records: Vec<(Key, Option<Record>)>, keep: bool) {
        for (key, record) in records {
            if !self.lost.is_empty() {
                self.lost.remove(&key_hash(&key));
            }
            match self.records.get(&key) {
                Some(kept) if kept.seq > seq => {}
                _ if record.is_none() && !keep => drop(self.records.remove(&key)),
                _ => drop(self.records.insert(key, Kept { seq, record })),
            }
        }
    }

    /// Forgets which records were removed.
    pub(super) fn tidy(&mut self) {
        self.records.retain(|_, kept| kept.record.is_some());
    }

    /// How many bytes of records are not in the copy.
    pub(super) fn unsettled(&self) -> u64 {
        self.runs.values().filter(|run| run.damage.is_none()).map(Run::unsettled).sum()
    }

    pub(super) fn damage(&mut self, run: RunId, reason: Arc<str>) {
        if let Some(run) = self.runs.get_mut(&run) {
            run.damage.get_or_insert(reason);
        }
    }
}

impl Run {
    fn apply(&mut self, header: &Header, delta: &Delta, loc: Loc) {
        self.epoch = delta.epoch;
        self.length = delta.length;
        self.chain = delta.chain;
        self.seq = header.seq;
        if let Some(columns) = &delta.columns {
            self.columns = columns.clone();
        }
        if !delta.consumed.is_empty() {
            self.inbox.retain(|(id, _)| !delta.consumed.contains(id));
            if self.inbox.is_empty() {
                self.inbox = Vec::new();
            }
        }
        self.inbox.extend(delta.posted.clone());
        self.bytes += u64::from(loc.length);
        self.tail.push(loc);
    }

    pub(super) fn unsettled(&self) -> u64 {
        self.tail.iter().map(|loc| u64::from(loc.length)).sum()
    }

    pub(super) fn head(&self, run: RunId) -> Head {
        Head {
            run,
            epoch: self.epoch,
            length: self.length,
            chain: self.chain,
            damage: self.damage.clone(),
            columns: self.columns.clone(),
        }
    }
}
