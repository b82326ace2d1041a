//! Reads a segment, record by record, and goes on behind what is not one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    disk::Disk,
    record::{self, Found, HEADER, Header, SECTOR, up},
    table::Loc,
};

/// A segment of the log, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) salt: u64,
    pub(super) path: PathBuf,
}

impl Segment {
    /// A new one in the directory of a log.
    pub(super) fn new(log: &Path, number: u32) -> Self {
        // The last eight bytes of such an id are random.
        let salt = uuid::Uuid::now_v7().as_bytes().last_chunk().copied().map_or(0, u64::from_le_bytes);
        Segment { number, salt, path: log.join(format!("{number:08}-{salt:016x}")) }
    }

    fn of(path: PathBuf) -> Option<Self> {
        let (number, salt) = path.file_name()?.to_str()?.split_once('-')?;
        Some(Segment { number: number.parse().ok()?, salt: u64::from_str_radix(salt, 16).ok()?, path })
    }
}

/// The segments in the directory of a log, oldest first; none when it is not there.
pub(super) fn segments(log: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let entries = match fs::read_dir(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
        entries => entries?,
    };
    for entry in entries {
        segments.extend(Segment::of(entry?.path()));
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

/// Something that was found in a segment.
#[derive(Debug)]
pub(super) enum Item {
    /// A record with its body.
    Record(Header, Loc, Bytes),
    /// A record whose body is not what it was.
    Broken(Header, Loc),
    /// Bytes that are no record: from, to.
    Noise(u64, u64),
}

impl Item {
    /// Where it begins and ends.
    pub(super) fn range(&self) -> (u64, u64) {
        match self {
            Item::Record(_, loc, _) | Item::Broken(_, loc) => {
                (u64::from(loc.offset), u64::from(loc.offset) + u64::from(loc.length))
            }
            Item::Noise(from, to) => (*from, *to),
        }
    }
}

/// Reads a segment from an offset on.
pub(super) struct Scan {
    segment: u32,
    salt: u64,
    /// The bytes from `base` on.
    bytes: Bytes,
    base: u64,
    at: u64,
    /// How many bytes the disk could not read.
    pub(super) unread: usize,
    /// Whether something stands here that only a later agentd can read.
    pub(super) newer: bool,
}

impl Scan {
    /// `from` is where a commit begins, or 0.
    pub(super) fn open(disk: &Disk, segment: &Segment, from: u64) -> io::Result<Scan> {
        let (bytes, unread) = disk.read(&segment.path)?.read_from(from)?;
        let newer = from == 0 && record::is_newer_segment(&bytes);
        let at = from.max(SECTOR);
        Ok(Scan { segment: segment.number, salt: segment.salt, bytes: bytes.into(), base: from, at, unread, newer })
    }

    /// The end of the segment.
    pub(super) fn end(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    fn slice(&self, from: u64, to: u64) -> &[u8] {
        let index = |offset: u64| usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bytes.get(index(from)..index(to.min(self.end()))).unwrap_or_default()
    }

    fn header(&mut self, at: u64) -> Option<Header> {
        match record::header(self.slice(at, at + HEADER as u64), self.salt, at) {
            Found::Header(header) => Some(header),
            Found::Newer => {
                self.newer = true;
                None
            }
            Found::Nothing => None,
        }
    }
}

impl Iterator for Scan {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        // The zeros that fill a sector up.
        let filled = up(self.at, SECTOR).min(self.end());
        if self.header(self.at).is_none() && self.slice(self.at, filled).iter().all(|byte| *byte == 0) {
            self.at = filled;
        }
        if self.at >= self.end() {
            return None;
        }
        let begin = self.at;
        let mut at = begin;
        let header = loop {
            match self.header(at) {
                Some(header) => break Some(header),
                None if at >= self.end() => break None,
                None => at += 8,
            }
        };
        if at > begin {
            self.at = at.min(self.end());
            return Some(Item::Noise(begin, self.at));
        }
        let header = header?;
        let end = at + header.total();
        self.at = up(end, 8).min(self.end());
        let loc = Loc {
            seq: header.seq,
            segment: self.segment,
            offset: u32::try_from(at).ok()?,
            length: u32::try_from(header.total()).ok()?,
            frames: 0,
            blobs: false,
        };
        let body = self.bytes.len().min(usize::try_from(at - self.base).ok()?.saturating_add(HEADER));
        let body = self.bytes.slice(body..).slice(..(header.length as usize).min(self.bytes.len() - body));
        Some(match header.fits(&body) {
            true => Item::Record(header, loc, body),
            false => Item::Broken(header, loc),
        })
    }
}
