//! Reads single records of the log, where the table says that they are.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;

use super::{
    disk::{Disk, Handle},
    record::{self, Delta, Found, HEADER, Header, Kind},
    scan::Segment,
    table::Loc,
};
use crate::{run::RunId, store::BlobHash};

/// The segments that there are.
pub(super) struct Log {
    disk: Disk,
    segments: RwLock<BTreeMap<u32, Segment>>,
}

impl Log {
    pub(super) fn new(disk: Disk, segments: Vec<Segment>) -> Self {
        let segments = segments.into_iter().map(|segment| (segment.number, segment)).collect();
        Log { disk, segments: RwLock::new(segments) }
    }

    pub(super) fn add(&self, segment: Segment) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).insert(segment.number, segment);
    }

    pub(super) fn forget(&self, number: u32) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    pub(super) fn segments(&self) -> Vec<Segment> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn segment(&self, number: u32) -> Option<Segment> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// A reader that opens each segment once.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { log: self, open: HashMap::new() }
    }
}

/// Why something of a run cannot be read from the log.
#[derive(Debug, Clone)]
pub(super) struct Unread {
    pub(super) reason: Arc<str>,
    /// Whether it is so for good.
    pub(super) lasting: bool,
}

impl Unread {
    pub(super) fn lasting(reason: String) -> Self {
        Unread { reason: reason.into(), lasting: true }
    }
}

pub(super) struct Reader<'a> {
    log: &'a Log,
    open: HashMap<u32, Handle>,
}

impl Reader<'_> {
    /// The record of a run at this place.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn delta(&mut self, run: RunId, loc: &Loc) -> Result<Delta, Unread> {
        let missing = || Unread::lasting(format!("segment {} is missing", loc.segment));
        let segment = self.log.segment(loc.segment).ok_or_else(missing)?;
        let place = format!("{} at offset {}", segment.path.display(), loc.offset);
        let bytes = self.read(&segment, loc).map_err(|error| {
            // A file that is shorter than it was stays so; a disk that does not read may read again.
            let lasting = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound);
            Unread { reason: format!("{place}: {error}").into(), lasting }
        })?;
        let body = bytes.slice(HEADER.min(bytes.len())..);
        match record::header(&bytes, segment.salt, u64::from(loc.offset)) {
            Found::Header(header) if is_it(&header, run, loc) && header.fits(&body) => Delta::read(&body),
            _ => None,
        }
        .ok_or_else(|| Unread::lasting(format!("{place}: a record is not what it was")))
    }

    fn read(&mut self, segment: &Segment, loc: &Loc) -> io::Result<Bytes> {
        if !self.open.contains_key(&loc.segment) {
            let file = self.log.disk.read(&segment.path)?;
            self.open.insert(loc.segment, file);
        }
        let file = self.open.get(&loc.segment).ok_or(io::ErrorKind::NotFound)?;
        Ok(file.read_at(loc.length as usize, u64::from(loc.offset))?.into())
    }
}

fn is_it(header: &Header, run: RunId, loc: &Loc) -> bool {
    header.kind == Kind::Delta && header.run == run && header.seq == loc.seq
}

/// The blob of this name among those of a record, and whether it is what its name says.
pub(super) fn blob_of(delta: Delta, hash: BlobHash) -> Option<Bytes> {
    delta.blobs.into_iter().find(|(other, _)| *other == hash).map(|(_, blob)| blob)
}
