//! Names and shapes of what stands in sled's one tree.
//!
//! ```text
//! run (16) · 0                         the head, written by claims, posts and parts without frames
//! run (16) · 1 · index (8) · chunk (2) a frame; the last one of a part carries the head beside it
//! run (16) · 2 · place (8) · chunk (2) an inbox item
//! run (16) · 3 · hash (32) · chunk (2) a blob
//! ```
//! Big endian, so that a run lies together and its frames in order: what damages one page of the tree touches one run
//! and perhaps its neighbours, and removing a run is removing a prefix. The head beside the frame is what makes an
//! append one write and not two; of the two places the one with the higher version counts.
//!
//! A value is `kind (1) · length of the whole (4) · what the kind adds · the first 4 KiB`; what is longer goes on in
//! chunks 1, 2, … without any opening. Integers in values are little endian. A kind never changes its shape: a new shape
//! is a new kind, and an unknown kind is reported as damage. No checksums here: sled has one per page, the frames have
//! their own (`journal`), and blobs are named by their hash.

use bytes::Bytes;

use super::witness::Seen;
use crate::{
    run::{RunId, Time},
    store::{BlobHash, Chain, Columns, Head, InboxId},
};

/// How much of a frame, item or blob one value holds, in bytes. sled moves a tree page into a file that it never syncs
/// when the page exceeds 128 KiB; a page holds at most 20 values (16, one more before it splits, three from a merge).
const CHUNK: usize = 4096;

/// The longest status or agent name that is kept, in bytes.
const NAME_MAX: usize = 255;

const FRAME: u8 = 1;
const FRAME_WITH_HEAD: u8 = 2;
const HEAD: u8 = 3;
const ITEM: u8 = 4;
const BLOB: u8 = 5;

/// One of the four places of a run, in key order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Head = 0,
    Frames = 1,
    Inbox = 2,
    Blobs = 3,
}

/// A head as it is stored. `version` counts the changes to the run, whatever they are: it tells the newer of two
/// copies, and it is by the version that the witness notices a loss.
///
/// sled can lose single pages without a word, so what a run has beside its frames is summed up here: `inbox` is the
/// exclusive or of what waits ([`sum_of_item`]), `blobs` that of its blobs ([`sum_of_blob`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) epoch: u64,
    pub(super) length: u64,
    pub(super) chain: Chain,
    pub(super) inbox: u64,
    pub(super) blobs: u64,
    pub(super) columns: Columns,
}

/// What an inbox item adds to a head's sum: a part of a hash over all that it is.
pub(super) fn sum_of_item(place: u64, id: InboxId, item: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&place.to_le_bytes()).update(&id.0).update(item);
    sum_of_blob(BlobHash(*hasher.finalize().as_bytes()))
}

/// What a blob adds to a head's sum: a part of its name.
pub(super) fn sum_of_blob(hash: BlobHash) -> u64 {
    hash.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What the first value of a thing says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening<'a> {
    /// The head that stands here or beside the frame.
    pub(super) head: Option<Stored>,
    /// The name of an inbox item.
    pub(super) id: Option<InboxId>,
    /// The length of the whole thing, in bytes.
    pub(super) length: usize,
    /// Its beginning.
    pub(super) start: &'a [u8],
}

impl Opening<'_> {
    /// How many chunks follow this value.
    pub(super) fn chunks_behind(&self) -> u16 {
        chunks_behind(self.length)
    }
}

fn chunks_behind(length: usize) -> u16 {
    u16::try_from(length.saturating_sub(1) / CHUNK).unwrap_or(u16::MAX)
}

/// The key of a run's head.
pub(super) fn head(run: RunId) -> Vec<u8> {
    section(run, Section::Head)
}

/// The key of a frame, without its chunk.
pub(super) fn frame(run: RunId, index: u64) -> Vec<u8> {
    placed(run, Section::Frames, &index.to_be_bytes())
}

/// The key of an inbox item, without its chunk.
pub(super) fn item(run: RunId, place: u64) -> Vec<u8> {
    placed(run, Section::Inbox, &place.to_be_bytes())
}

/// The key of a blob, without its chunk.
pub(super) fn blob(run: RunId, hash: BlobHash) -> Vec<u8> {
    placed(run, Section::Blobs, &hash.0)
}

/// What all keys of a section begin with; for the head, its key.
pub(super) fn section(run: RunId, section: Section) -> Vec<u8> {
    placed(run, section, &[])
}

/// A key with its chunk.
pub(super) fn chunk(mut key: Vec<u8>, chunk: u16) -> Vec<u8> {
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

fn placed(run: RunId, section: Section, place: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(17 + place.len() + 2);
    key.extend_from_slice(run.as_bytes());
    key.push(section as u8);
    key.extend_from_slice(place);
    key
}

/// The run that a key belongs to.
pub(super) fn run_of(key: &[u8]) -> Option<RunId> {
    key.first_chunk().map(|id| RunId::from_bytes(*id))
}

/// The index of a frame or the place of an inbox item.
pub(super) fn place_of(key: &[u8]) -> Option<u64> {
    key.get(17..)?.first_chunk().map(|place| u64::from_be_bytes(*place))
}

/// The hash that a blob's key has.
pub(super) fn hash_of(key: &[u8]) -> Option<BlobHash> {
    key.get(17..)?.first_chunk().map(|hash| BlobHash(*hash))
}

/// Whether this key is a thing's first.
pub(super) fn is_first_chunk(key: &[u8]) -> bool {
    key.last_chunk::<2>() == Some(&[0, 0])
}

/// Puts a frame into a batch, with the head beside it if it is the last of its part. Returns the bytes of the values.
pub(super) fn put_frame(
    batch: &mut sled::Batch,
    run: RunId,
    index: u64,
    frame: &Bytes,
    with_head: Option<&Stored>,
) -> usize {
    let mut opening = opened(if with_head.is_some() { FRAME_WITH_HEAD } else { FRAME }, frame.len());
    if let Some(stored) = with_head {
        write_head(&mut opening, stored);
    }
    put(batch, &self::frame(run, index), opening, frame)
}

/// Puts a head into a batch.
pub(super) fn put_head(batch: &mut sled::Batch, run: RunId, stored: &Stored) -> usize {
    let mut value = opened(HEAD, 0);
    write_head(&mut value, stored);
    let bytes = value.len();
    batch.insert(head(run), value);
    bytes
}

/// Puts an inbox item into a batch.
pub(super) fn put_item(batch: &mut sled::Batch, run: RunId, place: u64, id: InboxId, item: &Bytes) -> usize {
    let mut opening = opened(ITEM, item.len());
    opening.extend_from_slice(&id.0);
    put(batch, &self::item(run, place), opening, item)
}

/// Puts a blob into a batch.
pub(super) fn put_blob(batch: &mut sled::Batch, run: RunId, hash: BlobHash, blob: &Bytes) -> usize {
    put(batch, &self::blob(run, hash), opened(BLOB, blob.len()), blob)
}

/// Removes a frame, item or blob of this many bytes.
pub(super) fn remove(batch: &mut sled::Batch, key: &[u8], length: usize) {
    (0..=chunks_behind(length)).for_each(|number| batch.remove(chunk(key.to_vec(), number)));
}

fn put(batch: &mut sled::Batch, key: &[u8], mut opening: Vec<u8>, whole: &[u8]) -> usize {
    let (start, rest) = whole.split_at(whole.len().min(CHUNK));
    opening.extend_from_slice(start);
    let bytes = opening.len() + rest.len();
    batch.insert(chunk(key.to_vec(), 0), opening);
    for (number, piece) in (1..).zip(rest.chunks(CHUNK)) {
        batch.insert(chunk(key.to_vec(), number), piece);
    }
    bytes
}

fn opened(kind: u8, length: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(128 + length.min(CHUNK));
    value.push(kind);
    value.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    value
}

fn write_head(value: &mut Vec<u8>, stored: &Stored) {
    let Stored { version, epoch, length, chain, inbox, blobs, columns } = stored;
    let Columns { status, agent, created, updated, cost_nano } = columns;
    for number in [version, epoch, length, inbox, blobs] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(&chain.0);
    value.extend_from_slice(&created.0.to_le_bytes());
    value.extend_from_slice(&updated.0.to_le_bytes());
    value.push(u8::from(cost_nano.is_some()));
    value.extend_from_slice(&cost_nano.unwrap_or(0).to_le_bytes());
    for text in [status, agent] {
        let end = (0..=text.len().min(NAME_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        value.push(u8::try_from(end).unwrap_or(0));
        value.extend_from_slice(&text.as_bytes()[..end]);
    }
}

/// Reads a first value. `None` when it has no shape that is known here.
pub(super) fn open(mut value: &[u8]) -> Option<Opening<'_>> {
    let at = &mut value;
    let [kind] = take(at)?;
    let length = usize::try_from(u32::from_le_bytes(take(at)?)).ok()?;
    let (mut head, mut id) = (None, None);
    match kind {
        FRAME | BLOB => {}
        FRAME_WITH_HEAD | HEAD => head = Some(read_head(at)?),
        ITEM => id = Some(InboxId(take(at)?)),
        _ => return None,
    }
    (value.len() == length.min(CHUNK)).then_some(Opening { head, id, length, start: value })
}

fn read_head(at: &mut &[u8]) -> Option<Stored> {
    let numbers = [take(at)?, take(at)?, take(at)?, take(at)?, take(at)?];
    let [version, epoch, length, inbox, blobs] = numbers.map(u64::from_le_bytes);
    let chain = Chain(take(at)?);
    let [created, updated] = [take(at)?, take(at)?].map(|time| Time(i64::from_le_bytes(time)));
    let [priced] = take(at)?;
    let cost = u64::from_le_bytes(take(at)?);
    let cost_nano = (priced != 0).then_some(cost);
    let mut text = || {
        let [length] = take(at)?;
        let (text, rest) = at.split_at_checked(usize::from(length))?;
        *at = rest;
        String::from_utf8(text.to_vec()).ok()
    };
    let (status, agent) = (text()?, text()?);
    let columns = Columns { status, agent, created, updated, cost_nano };
    Some(Stored { version, epoch, length, chain, inbox, blobs, columns })
}

fn take<const N: usize>(at: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = at.split_first_chunk()?;
    *at = rest;
    Some(*bytes)
}

impl Stored {
    /// What the witness is told of it.
    pub(super) fn seen(&self) -> Seen {
        Seen { version: self.version, epoch: self.epoch, length: self.length, chain: self.chain }
    }

    pub(super) fn to_head(&self, run: RunId) -> Head {
        Head {
            run,
            epoch: self.epoch,
            length: self.length,
            chain: self.chain,
            damage: None,
            columns: self.columns.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_it_was_written() {
        let stored = Stored {
            version: 7,
            epoch: 3,
            length: 9,
            chain: Chain([5; 16]),
            inbox: 11,
            blobs: 12,
            columns: Columns {
                status: "waiting".into(),
                agent: "triage".into(),
                created: Time(-1),
                updated: Time(99),
                cost_nano: Some(0),
            },
        };
        let mut value = opened(HEAD, 0);
        write_head(&mut value, &stored);
        assert_eq!(open(&value), Some(Opening { head: Some(stored), id: None, length: 0, start: &[] }));
        for cut in 0..value.len() {
            assert_eq!(open(&value[..cut]), None, "cut {cut}");
        }
    }

    #[test]
    fn names_are_cut_to_what_a_head_holds_without_splitting_a_letter() {
        let columns = Columns { status: "ü".repeat(200), ..Columns::default() };
        let mut value = opened(HEAD, 0);
        write_head(&mut value, &Stored { columns, ..Stored::default() });
        let read = open(&value).and_then(|opening| opening.head).map(|head| head.columns.status);
        assert_eq!(read, Some("ü".repeat(127)));
    }

    #[test]
    fn no_value_exceeds_what_keeps_sleds_pages_in_its_log() {
        let columns = Columns { status: "s".repeat(300), agent: "a".repeat(300), ..Columns::default() };
        let mut value = opened(FRAME_WITH_HEAD, CHUNK);
        write_head(&mut value, &Stored { columns, ..Stored::default() });
        value.extend_from_slice(&[0; CHUNK]);
        assert!(20 * (value.len() + 64) < 128 * 1024 - 64, "{} bytes", value.len());
    }
}
