//! Records of the log, and the slots of the mark, byte by byte. Integers are little endian.
//!
//! ```text
//! segment   log/NNNNNNNN-SSSSSSSSSSSSSSSS: number in decimal, salt in hexadecimal digits
//!     0    8  "agentdlg"
//!     8    4  format, now 2
//!    12    4  CRC32C of the 12 bytes before
//!    16  496  zeros
//!   512       commits
//!
//! commit    begins and ends at a multiple of 512: one commit record, the records it makes durable, zeros
//!
//! record    begins at a multiple of 8
//!     0    8  sync word, bytes A9 "agdrec" 02
//!     8    1  kind
//!     9    1  flags: 1 the store was closed behind this commit record, 2 a copy made by compaction
//!    10    2  format
//!    12    4  length of the body
//!    16    8  sequence number: one more than that of the record before; a copy keeps its own
//!    24   16  run; zeros in records of no run
//!    40    8  sequence number of the record of the same run before this one; 0: this begins the run
//!    48    4  CRC32C of the body
//!    52    4  CRC32C of salt, offset of the record in its segment, and the 52 bytes before
//!    56       body
//!
//! kind 1, commit    names: those that the commits before changed, see `Names`
//! kind 2, change of a run    epoch 8 · length 8 · chain 16 · present 1 (1 columns, 2 posted)
//!                   columns: status (1 + n) · agent (1 + n) · created 8 · updated 8 · priced 1 · cost 8
//!                   posted: id 16 · item (4 + n)
//!                   consumed: 4, each id 16 · records: 4, each key (1 + n), value · frames: 4, each (4 + n)
//!                   blobs: 4, each hash 32 · (4 + n)
//! kind 3, deletion of a run  empty
//! kind 4, change of records  records as above
//! kind 5, all records, written by compaction: 4, each key (1 + n) · sequence number 8 · value
//! value             0: removed · 1: bytes (4 + n) · 2: number 8
//!
//! mark      two slots, 256 KiB apart, written in turns
//!     0    8  "agdmark2"
//!     8    4  length of what follows the checksum
//!    12    4  CRC32C of it
//!    16    8  how many times the mark was written, which tells the newer slot
//!    24    8  salt of the segment
//!    32    8  offset behind the last commit that is durable
//!    40       names of what it changed, and the commits shortly before it
//! ```
//! The salt stands in the name of the file, where no damage of its content reaches it. It makes that bytes in a frame or
//! blob, however they were chosen, are not taken for a record, and that a record is not taken from another place.

use bytes::{BufMut, Bytes};

use crate::{
    run::{RunId, Time},
    store::{BlobHash, Chain, Columns, InboxId, Key, Record},
};

/// The format that is written. Records of a later one are not read, and their store is not opened.
pub(super) const FORMAT: u16 = 2;

/// What a disk writes whole, in bytes; a commit never shares one with another.
pub(super) const SECTOR: u64 = 512;

/// How far apart two records must lie so that what one sector takes of one it does not take of the other, in bytes: some
/// disks have sectors of 4 KiB.
pub(super) const APART: u64 = 4096;

/// The length of a record's header, in bytes.
pub(super) const HEADER: usize = 56;

const ALIGNED: u64 = 8;
const SYNC: [u8; 8] = *b"\xA9agdrec\x02";
const SEGMENT: [u8; 8] = *b"agentdlg";
const MARK: [u8; 8] = *b"agdmark2";

/// How far apart the slots of the mark are: room for the names of a full batch.
const SLOT: u64 = 256 << 10;

/// The largest body, in bytes: what is longer is refused.
pub(super) const BODY_MAX: usize = 1 << 30;

/// The longest status or agent name that is kept, in bytes.
const NAME_MAX: usize = 255;

pub(super) const CLOSED: u8 = 1;
pub(super) const COPY: u8 = 2;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Commit = 1,
    Delta = 2,
    Delete = 3,
    Records = 4,
    AllRecords = 5,
}

/// What stands in front of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) length: u32,
    pub(super) seq: u64,
    pub(super) run: RunId,
    pub(super) prev: u64,
    body: u32,
}

impl Header {
    pub(super) fn new(kind: Kind, flags: u8, seq: u64, run: RunId, prev: u64) -> Self {
        Header { kind, flags, length: 0, seq, run, prev, body: 0 }
    }

    /// The length of the whole record, in bytes.
    pub(super) fn total(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    pub(super) fn fits(&self, body: &[u8]) -> bool {
        self.length as usize == body.len() && crc32c::crc32c(body) == self.body
    }
}

/// What stands where a record may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Header(Header),
    /// A record of a format or kind that only a later agentd knows.
    Newer,
    Nothing,
}

/// The record that begins here, as far as its header tells.
pub(super) fn header(bytes: &[u8], salt: u64, offset: u64) -> Found {
    let Some(bytes) = bytes.first_chunk::<HEADER>().filter(|bytes| bytes.starts_with(&SYNC)) else {
        return Found::Nothing;
    };
    let mut at = Reader(bytes.get(8..).unwrap_or_default());
    let parsed = (|| {
        let (kind, flags, format, length) = (at.u8()?, at.u8()?, at.u16()?, at.u32()?);
        let (seq, run, prev) = (at.u64()?, RunId::from_bytes(at.array()?), at.u64()?);
        let (body, sum) = (at.u32()?, at.u32()?);
        if sum != header_sum(bytes.get(..52)?, salt, offset) {
            return Some(Found::Nothing);
        }
        let kind = match kind {
            1 => Kind::Commit,
            2 => Kind::Delta,
            3 => Kind::Delete,
            4 => Kind::Records,
            5 => Kind::AllRecords,
            _ => return Some(Found::Newer),
        };
        match format == FORMAT {
            true => Some(Found::Header(Header { kind, flags, length, seq, run, prev, body })),
            false => Some(Found::Newer),
        }
    })();
    parsed.unwrap_or(Found::Nothing)
}

fn header_sum(header: &[u8], salt: u64, offset: u64) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &offset.to_le_bytes());
    crc32c::crc32c_append(seed, header)
}

/// A commit in the making.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    salt: u64,
    /// Where in the segment `bytes` begins.
    base: u64,
}

impl Writer {
    pub(super) fn new(salt: u64, base: u64) -> Self {
        Writer { bytes: Vec::new(), salt, base }
    }

    /// Adds a record with the body that `body` writes. Returns where it is, and its length.
    pub(super) fn record(&mut self, header: Header, body: impl FnOnce(&mut Vec<u8>)) -> (u64, u32) {
        self.bytes.resize(up(self.bytes.len() as u64, ALIGNED) as usize, 0);
        let begin = self.bytes.len();
        self.bytes.resize(begin + HEADER, 0);
        body(&mut self.bytes);
        let offset = self.base + begin as u64;
        let written = self.bytes.get(begin + HEADER..).unwrap_or_default();
        let (length, sum) = (u32::try_from(written.len()).unwrap_or(u32::MAX), crc32c::crc32c(written));
        let mut front = Vec::with_capacity(HEADER);
        front.extend_from_slice(&SYNC);
        front.put_u8(header.kind as u8);
        front.put_u8(header.flags);
        front.put_u16_le(FORMAT);
        front.put_u32_le(length);
        front.put_u64_le(header.seq);
        front.extend_from_slice(header.run.as_bytes());
        front.put_u64_le(header.prev);
        front.put_u32_le(sum);
        front.put_u32_le(header_sum(&front, self.salt, offset));
        if let Some(place) = self.bytes.get_mut(begin..begin + HEADER) {
            place.copy_from_slice(&front);
        }
        (offset, length.saturating_add(HEADER as u32))
    }

    /// Fills the last sector up.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.resize(up(self.bytes.len() as u64, SECTOR) as usize, 0);
        self.bytes
    }
}

pub(super) fn up(offset: u64, to: u64) -> u64 {
    offset.div_ceil(to) * to
}

/// The first sector of a segment.
pub(super) fn segment() -> Vec<u8> {
    let mut bytes = SEGMENT.to_vec();
    bytes.put_u32_le(u32::from(FORMAT));
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes.resize(SECTOR as usize, 0);
    bytes
}

/// Whether a segment that begins so was written by a later agentd. What cannot be read was not.
pub(super) fn is_newer_segment(bytes: &[u8]) -> bool {
    let Some((front, rest)) = bytes.split_first_chunk::<12>() else { return false };
    let mut at = Reader(front.get(8..).unwrap_or_default());
    let (format, sum) = (at.u32(), Reader(rest).u32());
    front.starts_with(&SEGMENT) && sum == Some(crc32c::crc32c(front)) && format != Some(u32::from(FORMAT))
}

/// What a record changes of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Delta {
    /// Epoch, length and chain as they are behind it.
    pub(super) epoch: u64,
    pub(super) length: u64,
    pub(super) chain: Chain,
    pub(super) columns: Option<Columns>,
    pub(super) posted: Option<(InboxId, Bytes)>,
    pub(super) consumed: Vec<InboxId>,
    pub(super) records: Vec<(Key, Option<Record>)>,
    pub(super) frames: Vec<Bytes>,
    pub(super) blobs: Vec<(BlobHash, Bytes)>,
}

impl Delta {
    /// How many bytes it takes, about.
    pub(super) fn size(&self) -> usize {
        let frames: usize = self.frames.iter().map(Bytes::len).sum();
        let blobs: usize = self.blobs.iter().map(|(_, blob)| blob.len()).sum();
        let posted = self.posted.as_ref().map_or(0, |(_, item)| item.len());
        frames + blobs + posted + self.records.len() * 64
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.length);
        out.extend_from_slice(&self.chain.0);
        out.put_u8(u8::from(self.columns.is_some()) | u8::from(self.posted.is_some()) << 1);
        if let Some(columns) = &self.columns {
            write_columns(out, columns);
        }
        if let Some((id, item)) = &self.posted {
            out.extend_from_slice(&id.0);
            long(out, item);
        }
        count(out, self.consumed.len());
        self.consumed.iter().for_each(|id| out.extend_from_slice(&id.0));
        write_records(out, &self.records);
        count(out, self.frames.len());
        self.frames.iter().for_each(|frame| long(out, frame));
        count(out, self.blobs.len());
        for (hash, blob) in &self.blobs {
            out.extend_from_slice(&hash.0);
            long(out, blob);
        }
    }

    /// Reads a body. Frames and blobs share its memory, the rest does not.
    pub(super) fn read(body: &Bytes) -> Option<Delta> {
        let mut at = Reader(body);
        let mut delta = Delta { epoch: at.u64()?, length: at.u64()?, chain: Chain(at.array()?), ..Delta::default() };
        let present = at.u8()?;
        if present & 1 != 0 {
            delta.columns = Some(at.columns()?);
        }
        if present & 2 != 0 {
            delta.posted = Some((InboxId(at.array()?), Bytes::copy_from_slice(at.long()?)));
        }
        delta.consumed = at.many(|at| Some(InboxId(at.array()?)))?;
        delta.records = at.many(Reader::record)?;
        delta.frames = at.many(|at| Some(body.slice_ref(at.long()?)))?;
        delta.blobs = at.many(|at| Some((BlobHash(at.array()?), body.slice_ref(at.long()?))))?;
        at.0.is_empty().then_some(delta)
    }
}

/// Changed records, as they stand in a body.
pub(super) fn write_records(out: &mut Vec<u8>, records: &[(Key, Option<Record>)]) {
    count(out, records.len());
    for (key, record) in records {
        short(out, key.as_bytes());
        value(out, record.as_ref());
    }
}

/// Reads what [`write_records`] wrote.
pub(super) fn read_records(body: &[u8]) -> Option<Vec<(Key, Option<Record>)>> {
    let mut at = Reader(body);
    let records = at.many(Reader::record)?;
    at.0.is_empty().then_some(records)
}

/// All records with the sequence numbers of their changes.
pub(super) fn write_all_records<'a>(out: &mut Vec<u8>, records: impl Iterator<Item = (&'a Key, u64, &'a Record)>) {
    let begin = out.len();
    count(out, 0);
    let mut number = 0_u32;
    for (key, seq, record) in records {
        short(out, key.as_bytes());
        out.put_u64_le(seq);
        value(out, Some(record));
        number += 1;
    }
    if let Some(place) = out.get_mut(begin..begin + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Reads what [`write_all_records`] wrote.
pub(super) fn read_all_records(at: &mut Reader<'_>) -> Option<Vec<(Key, u64, Option<Record>)>> {
    at.many(|at| Some((at.key()?, at.u64()?, at.value()?)))
}

fn value(out: &mut Vec<u8>, record: Option<&Record>) {
    match record {
        None => out.put_u8(0),
        Some(Record::Value(bytes)) => {
            out.put_u8(1);
            long(out, bytes);
        }
        Some(Record::Count(count)) => {
            out.put_u8(2);
            out.put_i64_le(*count);
        }
    }
}

pub(super) fn write_columns(out: &mut Vec<u8>, columns: &Columns) {
    short(out, cut(&columns.status).as_bytes());
    short(out, cut(&columns.agent).as_bytes());
    out.put_i64_le(columns.created.0);
    out.put_i64_le(columns.updated.0);
    out.put_u8(u8::from(columns.cost_nano.is_some()));
    out.put_u64_le(columns.cost_nano.unwrap_or(0));
}

/// As much of a text as is kept.
pub(super) fn cut(text: &str) -> &str {
    let mut ends = (0..=NAME_MAX.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

pub(super) fn count(out: &mut Vec<u8>, number: usize) {
    out.put_u32_le(u32::try_from(number).unwrap_or(u32::MAX));
}

pub(super) fn long(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn short(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u8(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

/// What is known to have been changed, so that its loss is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) runs: Vec<Name>,
    pub(super) keys: Vec<(KeyHash, u64)>,
}

/// How a run stands behind a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) run: RunId,
    /// The sequence number of the change.
    pub(super) seq: u64,
    /// How many frames the run has; [`Name::DELETED`].
    pub(super) length: u64,
    pub(super) chain: Chain,
}

impl Name {
    pub(super) const DELETED: u64 = u64::MAX;
}

/// The beginning of the BLAKE3 hash of a key.
pub(super) type KeyHash = [u8; 16];

pub(super) fn key_hash(key: &Key) -> KeyHash {
    blake3::hash(key.as_bytes()).as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Names {
    /// Names 4, each run 16 · sequence number 8 · length 8 · chain 16; then 4, each hash of a key 16 · sequence number 8.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        count(out, self.runs.len());
        for name in &self.runs {
            out.extend_from_slice(name.run.as_bytes());
            out.put_u64_le(name.seq);
            out.put_u64_le(name.length);
            out.extend_from_slice(&name.chain.0);
        }
        count(out, self.keys.len());
        for (hash, seq) in &self.keys {
            out.extend_from_slice(hash);
            out.put_u64_le(*seq);
        }
    }

    pub(super) fn read(body: &[u8]) -> Option<Names> {
        let mut at = Reader(body);
        let runs = at.many(|at| {
            let (run, seq, length) = (RunId::from_bytes(at.array()?), at.u64()?, at.u64()?);
            Some(Name { run, seq, length, chain: Chain(at.array()?) })
        })?;
        let keys = at.many(|at| Some((at.array()?, at.u64()?)))?;
        at.0.is_empty().then_some(Names { runs, keys })
    }
}

/// How far the log is known to be durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) end: u64,
    pub(super) names: Names,
}

impl Mark {
    /// Where it belongs, and what is to be written there.
    pub(super) fn write(&self) -> (u64, Vec<u8>) {
        let mut body = Vec::new();
        body.put_u64_le(self.number);
        body.put_u64_le(self.salt);
        body.put_u64_le(self.end);
        self.names.write(&mut body);
        if body.len() as u64 + 16 > SLOT {
            // More than any batch brings; how far the log is durable counts for more than whose it is.
            body.truncate(24);
            Names::default().write(&mut body);
        }
        let mut bytes = MARK.to_vec();
        bytes.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
        bytes.put_u32_le(crc32c::crc32c(&body));
        bytes.extend_from_slice(&body);
        (self.number % 2 * SLOT, bytes)
    }

    /// The newer of the two slots, if one of them can be read.
    pub(super) fn read(file: &[u8]) -> Option<Mark> {
        let slot = |number: u64| {
            let mut at = Reader(file.get(usize::try_from(number * SLOT).ok()?..)?);
            let (magic, length, sum) = (at.array::<8>()?, at.u32()?, at.u32()?);
            let body = at.take(length as usize).filter(|body| magic == MARK && crc32c::crc32c(body) == sum)?;
            let mut at = Reader(body);
            let (number, salt, end) = (at.u64()?, at.u64()?, at.u64()?);
            Some(Mark { number, salt, end, names: Names::read(at.0)? })
        };
        [slot(0), slot(1)].into_iter().flatten().max_by_key(|mark| mark.number)
    }
}

/// Reads what was written, and nothing behind its end.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        Some(u8::from_le_bytes(self.array()?))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }

    fn i64(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.array()?))
    }

    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.take(usize::try_from(length).ok()?)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn key(&mut self) -> Option<Key> {
        Key::new(Bytes::copy_from_slice(self.short()?))
    }

    fn value(&mut self) -> Option<Option<Record>> {
        Some(match self.u8()? {
            0 => None,
            1 => Some(Record::Value(Bytes::copy_from_slice(self.long()?))),
            2 => Some(Record::Count(self.i64()?)),
            _ => return None,
        })
    }

    fn record(&mut self) -> Option<(Key, Option<Record>)> {
        Some((self.key()?, self.value()?))
    }

    pub(super) fn columns(&mut self) -> Option<Columns> {
        let mut text = || Some(std::str::from_utf8(self.short()?).ok()?.to_owned());
        let (status, agent) = (text()?, text()?);
        let (created, updated) = (Time(self.i64()?), Time(self.i64()?));
        let (priced, cost) = (self.u8()? != 0, self.u64()?);
        Some(Columns { status, agent, created, updated, cost_nano: priced.then_some(cost) })
    }

    /// So many things as the number in front of them says.
    pub(super) fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let number = self.u32()?;
        let mut many = Vec::new();
        for _ in 0..number {
            many.push(one(self)?);
        }
        Some(many)
    }
}
