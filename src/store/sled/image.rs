//! The file `checkpoint`: the whole table at a place of the log, so that an opening reads the log from there on.
//!
//! ```text
//!     0    8  "agdimag2"
//!     8   32  BLAKE3 of all that follows
//!    40       segment 4 · offset 8 · sequence number 8
//!             runs: 4, each run 16 · epoch 8 · length 8 · chain 16 · born 8 · sequence number 8 · columns
//!                   settled: length 8 · pieces 4 · bytes 8 · CRC32C 4 · blobs 4
//!                   tail: 4, each sequence number 8 · segment 4 · offset 4 · length 4 · frames 4 · blobs 1
//!                   inbox: 4, each id 16 · item (4 + n) · bytes 8 · damage (4 + n, none for a sound run)
//!             all records, as in the log
//!             lost records: 4, each hash of the key 16 · deleted: 4, each run 16 · born 8
//! ```
//! It is written under another name, synced, and put in place. One that is not what it was counts as none, and the log is
//! read from its beginning.

use std::{io, path::Path};

use bytes::{BufMut, Bytes};

use super::{
    disk::Disk,
    record::{self, Reader, count, long},
    table::{Kept, Loc, Position, Run, Settled, Table},
};
use crate::{
    run::RunId,
    store::{Chain, InboxId},
};

const NAME: &str = "checkpoint";
const MAGIC: [u8; 8] = *b"agdimag2";

/// Puts the image of a table in place of the one before.
pub(super) fn write(disk: &Disk, dir: &Path, image: &[u8]) -> io::Result<()> {
    let (fresh, place) = (dir.join(format!("{NAME}.new")), dir.join(NAME));
    // What a crash has left.
    disk.remove(&fresh)?;
    let file = disk.create(&fresh)?;
    file.write_at(image, 0)?;
    file.sync()?;
    disk.rename(&fresh, &place)?;
    disk.sync_dir(dir)
}

/// Why there is no image to begin with.
#[derive(Debug)]
pub(super) enum Missing {
    /// None was written yet.
    Never,
    /// It cannot be read.
    Damaged(String),
}

/// The table of the newest image.
pub(super) fn read(disk: &Disk, dir: &Path) -> Result<Table, Missing> {
    let path = dir.join(NAME);
    if matches!(path.try_exists(), Ok(false)) {
        return Err(Missing::Never);
    }
    let damaged = |why: &str| Missing::Damaged(format!("{}: {why}", path.display()));
    let read = disk.read(&path).and_then(|file| file.read_at(usize::try_from(file.length()?).unwrap_or(0), 0));
    let bytes = read.map_err(|error| damaged(&error.to_string()))?;
    let mut at = Reader(&bytes);
    let (magic, sum) = (at.array::<8>(), at.array::<32>());
    if magic != Some(MAGIC) || sum != Some(*blake3::hash(at.0).as_bytes()) {
        return Err(damaged("it is not what was written"));
    }
    decode(&mut at).ok_or_else(|| damaged("it has no known shape"))
}

/// The image of a table.
pub(super) fn encode(table: &Table) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.resize(40, 0);
    out.put_u32_le(table.position.segment);
    out.put_u64_le(table.position.offset);
    out.put_u64_le(table.seq);
    count(&mut out, table.runs.len());
    for (id, run) in &table.runs {
        write_run(&mut out, id, run);
    }
    let records = table.records.iter();
    let kept = records.filter_map(|(key, kept)| Some((key, kept.seq, kept.record.as_ref()?)));
    record::write_all_records(&mut out, kept);
    count(&mut out, table.lost.len());
    table.lost.iter().for_each(|hash| out.extend_from_slice(hash));
    count(&mut out, table.deleted.len());
    for (run, born) in &table.deleted {
        out.extend_from_slice(run.as_bytes());
        out.put_u64_le(*born);
    }
    let sum = *blake3::hash(out.get(40..).unwrap_or_default()).as_bytes();
    if let Some(place) = out.get_mut(8..40) {
        place.copy_from_slice(&sum);
    }
    out
}

fn write_run(out: &mut Vec<u8>, id: &RunId, run: &Run) {
    out.extend_from_slice(id.as_bytes());
    out.put_u64_le(run.epoch);
    out.put_u64_le(run.length);
    out.extend_from_slice(&run.chain.0);
    out.put_u64_le(run.born);
    out.put_u64_le(run.seq);
    record::write_columns(out, &run.columns);
    out.put_u64_le(run.settled.length);
    out.put_u32_le(run.settled.pieces);
    out.put_u64_le(run.settled.bytes);
    out.put_u32_le(run.settled.sum);
    out.put_u32_le(run.settled.blobs);
    count(out, run.tail.len());
    for loc in &run.tail {
        out.put_u64_le(loc.seq);
        out.put_u32_le(loc.segment);
        out.put_u32_le(loc.offset);
        out.put_u32_le(loc.length);
        out.put_u32_le(loc.frames);
        out.put_u8(u8::from(loc.blobs));
    }
    count(out, run.inbox.len());
    for (id, item) in &run.inbox {
        out.extend_from_slice(&id.0);
        long(out, item);
    }
    out.put_u64_le(run.bytes);
    long(out, run.damage.as_deref().unwrap_or_default().as_bytes());
}

fn decode(at: &mut Reader<'_>) -> Option<Table> {
    let position = Position { segment: at.u32()?, offset: at.u64()? };
    let mut table = Table { position, seq: at.u64()?, ..Table::default() };
    table.runs = at.many(read_run)?.into_iter().collect();
    let records = record::read_all_records(at)?;
    table.records = records.into_iter().map(|(key, seq, record)| (key, Kept { seq, record })).collect();
    table.lost = at.many(Reader::array)?.into_iter().collect();
    table.deleted = at.many(|at| Some((RunId::from_bytes(at.array()?), at.u64()?)))?.into_iter().collect();
    at.0.is_empty().then_some(table)
}

fn read_run(at: &mut Reader<'_>) -> Option<(RunId, Run)> {
    let id = RunId::from_bytes(at.array()?);
    let mut run = Run { epoch: at.u64()?, length: at.u64()?, chain: Chain(at.array()?), ..Run::default() };
    (run.born, run.seq, run.columns) = (at.u64()?, at.u64()?, at.columns()?);
    let (length, pieces, bytes, sum, blobs) = (at.u64()?, at.u32()?, at.u64()?, at.u32()?, at.u32()?);
    run.settled = Settled { length, pieces, bytes, sum, blobs };
    run.tail = at.many(|at| {
        let (seq, segment, offset, length, frames) = (at.u64()?, at.u32()?, at.u32()?, at.u32()?, at.u32()?);
        Some(Loc { seq, segment, offset, length, frames, blobs: at.u8()? != 0 })
    })?;
    run.inbox = at.many(|at| Some((InboxId(at.array()?), Bytes::copy_from_slice(at.long()?))))?;
    run.bytes = at.u64()?;
    let damage = std::str::from_utf8(at.long()?).ok()?;
    run.damage = (!damage.is_empty()).then(|| damage.into());
    Some((id, run))
}
