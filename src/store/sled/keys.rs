//! Names and shapes of what stands in sled's one tree.
//!
//! ```text
//! run (16) · 0                         the head, written by claims, posts and parts without frames
//! run (16) · 1 · slot (4)              the frames of a part, with the head beside them; or what goes on from the slot before
//! run (16) · 2 · place (8) · chunk (2) an inbox item
//! run (16) · 3 · hash (32) · chunk (2) a blob
//! ```
//! Big endian, so that a run lies together and its frames in order: what damages one page of the tree touches one run
//! and perhaps its neighbours, and removing a run is removing a prefix. The head beside the frames is what makes an
//! append one write and not two; of the two places the one with the higher version counts.
//!
//! The frames of a part are one *pack*, each behind its length (4). A pack takes the next free slot, and those behind it
//! if it is longer than 4 KiB. So an append is one value in the tree, whatever it holds: each value costs sled a log
//! message, and every ninth of them the writing of a page, a half and the index above.
//!
//! A value is `kind (1) · length of the whole (4) · what the kind adds · the first 4 KiB`; what is longer goes on: an item
//! or a blob in chunks 1, 2, … without any opening, a pack in slots that open with `kind (1) · number (4)`. Integers in
//! values are little endian. A kind never changes its shape: a new shape is a new kind, and an unknown kind is reported
//! as damage. No checksums here: sled has one per page, the frames have their own (`journal`), and blobs are named by
//! their hash.

use bytes::Bytes;

use super::witness::Seen;
use crate::{
    run::{RunId, Time},
    store::{BlobHash, Chain, Columns, Head, InboxId},
};

/// How much of a pack, item or blob one value holds, in bytes. sled moves a tree page into a file that it never syncs
/// when the page exceeds 128 KiB; a page holds at most 20 values (16, one more before it splits, three from a merge).
const CHUNK: usize = 4096;

/// The longest status or agent name that is kept, in bytes.
const NAME_MAX: usize = 255;

const PACK: u8 = 1;
const CONTINUED: u8 = 2;
const HEAD: u8 = 3;
const ITEM: u8 = 4;
const BLOB: u8 = 5;

/// One of the four places of a run, in key order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Head = 0,
    Packs = 1,
    Inbox = 2,
    Blobs = 3,
}

/// Changes to the tree, in the order in which they are made.
#[derive(Default)]
pub(super) struct Writes {
    /// Keys with their new values; `None` removes.
    pub(super) list: Vec<(sled::IVec, Option<sled::IVec>)>,
    /// Whether a crash may not come between them, because what appears at once or not at all is more than one of them.
    pub(super) bound: bool,
}

impl Writes {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Says that what was written since then appears at once or not at all.
    pub(super) fn bind(&mut self, since: usize) {
        self.bound |= self.list.len() > since + 1;
    }

    pub(super) fn remove(&mut self, key: impl Into<sled::IVec>) {
        self.list.push((key.into(), None));
    }

    fn insert(&mut self, key: Vec<u8>, value: &[u8]) -> usize {
        self.list.push((key.into(), Some(value.into())));
        value.len()
    }
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
    /// How many slots its packs take.
    pub(super) slots: u32,
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
    /// The head that stands here or beside the frames.
    pub(super) head: Option<Stored>,
    /// The index of a pack's first frame.
    pub(super) first: Option<u64>,
    /// The name of an inbox item.
    pub(super) id: Option<InboxId>,
    /// The length of the whole thing, in bytes.
    pub(super) length: usize,
    /// Its beginning.
    pub(super) start: &'a [u8],
}

impl Opening<'_> {
    /// How many chunks follow this value.
    pub(super) fn chunks_behind(&self) -> u32 {
        chunks_behind(self.length)
    }
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// The beginning of a pack, with the head that its part made.
    Pack { first: u64, head: Stored, length: usize, start: &'a [u8] },
    /// The chunk of this number of the pack that began so many slots before.
    Continued { number: u32, bytes: &'a [u8] },
}

fn chunks_behind(length: usize) -> u32 {
    u32::try_from(length.saturating_sub(1) / CHUNK).unwrap_or(u32::MAX)
}

/// The key of a run's head.
pub(super) fn head(run: RunId) -> Vec<u8> {
    section(run, Section::Head)
}

/// The key of a slot.
pub(super) fn slot(run: RunId, slot: u32) -> Vec<u8> {
    placed(run, Section::Packs, &slot.to_be_bytes())
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

/// The slot that a key names.
pub(super) fn slot_of(key: &[u8]) -> Option<u32> {
    key.get(17..)?.first_chunk().map(|slot| u32::from_be_bytes(*slot))
}

/// The place of an inbox item.
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

/// Puts the frames of a part into the head's next slots, with the head beside them: the one that they make. Returns the
/// bytes of the values.
pub(super) fn put_pack(writes: &mut Writes, run: RunId, frames: &[Bytes], head: &mut Stored) -> usize {
    let (first, slot) = (head.length, head.slots);
    let length = frames.iter().map(|frame| 4 + frame.len()).sum();
    head.length += frames.len() as u64;
    head.slots = slot.saturating_add(1).saturating_add(chunks_behind(length));
    let mut value = opened(PACK, length);
    value.extend_from_slice(&first.to_le_bytes());
    write_head(&mut value, head);
    let (mut end, mut number, mut bytes) = (value.len() + CHUNK, 0, 0);
    for frame in frames {
        for mut piece in [&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes(), frame.as_ref()] {
            while !piece.is_empty() {
                if value.len() == end {
                    bytes += writes.insert(self::slot(run, slot.saturating_add(number)), &value);
                    number += 1;
                    value.clear();
                    value.push(CONTINUED);
                    value.extend_from_slice(&number.to_le_bytes());
                    end = value.len() + CHUNK;
                }
                let (now, later) = piece.split_at(piece.len().min(end - value.len()));
                value.extend_from_slice(now);
                piece = later;
            }
        }
    }
    bytes + writes.insert(self::slot(run, slot.saturating_add(number)), &value)
}

/// Puts a head into a batch.
pub(super) fn put_head(writes: &mut Writes, run: RunId, stored: &Stored) -> usize {
    let mut value = opened(HEAD, 0);
    write_head(&mut value, stored);
    writes.insert(head(run), &value)
}

/// Puts an inbox item into a batch.
pub(super) fn put_item(writes: &mut Writes, run: RunId, place: u64, id: InboxId, item: &Bytes) -> usize {
    let mut opening = opened(ITEM, item.len());
    opening.extend_from_slice(&id.0);
    put(writes, &self::item(run, place), opening, item)
}

/// Puts a blob into a batch.
pub(super) fn put_blob(writes: &mut Writes, run: RunId, hash: BlobHash, blob: &Bytes) -> usize {
    put(writes, &self::blob(run, hash), opened(BLOB, blob.len()), blob)
}

/// Removes an item or blob of this many bytes.
pub(super) fn remove(writes: &mut Writes, key: &[u8], length: usize) {
    let last = u16::try_from(chunks_behind(length)).unwrap_or(u16::MAX);
    (0..=last).for_each(|number| writes.remove(chunk(key.to_vec(), number)));
}

fn put(writes: &mut Writes, key: &[u8], mut opening: Vec<u8>, whole: &[u8]) -> usize {
    let (start, rest) = whole.split_at(whole.len().min(CHUNK));
    opening.extend_from_slice(start);
    let mut bytes = writes.insert(chunk(key.to_vec(), 0), &opening);
    for (number, piece) in (1..).zip(rest.chunks(CHUNK)) {
        bytes += writes.insert(chunk(key.to_vec(), number), piece);
    }
    bytes
}

fn opened(kind: u8, length: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(160 + length.min(CHUNK));
    value.push(kind);
    value.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    value
}

fn write_head(value: &mut Vec<u8>, stored: &Stored) {
    let Stored { version, epoch, length, slots, chain, inbox, blobs, columns } = stored;
    let Columns { status, agent, created, updated, cost_nano } = columns;
    for number in [version, epoch, length, inbox, blobs] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(&slots.to_le_bytes());
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

/// Reads a slot. `None` when it has no shape that is known here.
pub(super) fn read_slot(value: &[u8]) -> Option<Slot<'_>> {
    if value.first() == Some(&CONTINUED) {
        let at = &mut value.get(1..)?;
        return Some(Slot::Continued { number: u32::from_le_bytes(take(at)?), bytes: at });
    }
    let Opening { head, first, length, start, .. } = open(value)?;
    Some(Slot::Pack { first: first?, head: head?, length, start })
}

/// Takes a whole pack apart. `None` when it is not what `put_pack` makes.
pub(super) fn unpack(mut pack: Bytes) -> Option<Vec<Bytes>> {
    let mut frames = Vec::new();
    while !pack.is_empty() {
        let length = usize::try_from(u32::from_le_bytes(*pack.first_chunk()?)).ok()?;
        if pack.len() - 4 < length {
            return None;
        }
        drop(pack.split_to(4));
        frames.push(pack.split_to(length));
    }
    Some(frames)
}

/// Reads a first value. `None` when it has no shape that is known here.
pub(super) fn open(mut value: &[u8]) -> Option<Opening<'_>> {
    let at = &mut value;
    let [kind] = take(at)?;
    let length = usize::try_from(u32::from_le_bytes(take(at)?)).ok()?;
    let (mut head, mut first, mut id) = (None, None, None);
    match kind {
        BLOB => {}
        PACK => (first, head) = (Some(u64::from_le_bytes(take(at)?)), Some(read_head(at)?)),
        HEAD => head = Some(read_head(at)?),
        ITEM => id = Some(InboxId(take(at)?)),
        _ => return None,
    }
    (value.len() == length.min(CHUNK)).then_some(Opening { head, first, id, length, start: value })
}

fn read_head(at: &mut &[u8]) -> Option<Stored> {
    let numbers = [take(at)?, take(at)?, take(at)?, take(at)?, take(at)?];
    let [version, epoch, length, inbox, blobs] = numbers.map(u64::from_le_bytes);
    let slots = u32::from_le_bytes(take(at)?);
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
    Some(Stored { version, epoch, length, slots, chain, inbox, blobs, columns })
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
            slots: 4,
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
        assert_eq!(open(&value), Some(Opening { head: Some(stored), first: None, id: None, length: 0, start: &[] }));
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
        let mut head = Stored { columns, ..Stored::default() };
        let mut writes = Writes::default();
        put_pack(&mut writes, RunId::from_bytes([1; 16]), &[Bytes::from(vec![0; 3 * CHUNK])], &mut head);
        for (_, value) in writes.list {
            let length = value.map_or(0, |value| value.len());
            assert!(20 * (length + 64) < 128 * 1024 - 64, "{length} bytes");
        }
    }

    #[test]
    fn a_pack_comes_apart_as_it_was_put_together() {
        let run = RunId::from_bytes([1; 16]);
        for sizes in
            [vec![0], vec![5, 0, 7], vec![CHUNK - 4], vec![CHUNK - 3], vec![CHUNK - 9, 1, 1], vec![9, 3 * CHUNK]]
        {
            let frames: Vec<Bytes> = (1..).zip(&sizes).map(|(byte, size)| vec![byte; *size].into()).collect();
            let mut head = Stored { length: 7, slots: 2, ..Stored::default() };
            let mut writes = Writes::default();
            put_pack(&mut writes, run, &frames, &mut head);
            assert_eq!((head.length, head.slots), (7 + sizes.len() as u64, 2 + writes.list.len() as u32), "{sizes:?}");
            let mut whole = Vec::new();
            for (number, (key, value)) in (0..).zip(&writes.list) {
                assert_eq!(key, &slot(run, 2 + number));
                match read_slot(value.as_ref().unwrap()).unwrap() {
                    Slot::Pack { first: 7, head: beside, length, start } if number == 0 => {
                        assert_eq!((&beside, chunks_behind(length) as usize), (&head, writes.list.len() - 1));
                        whole.extend_from_slice(start);
                    }
                    Slot::Continued { number: told, bytes } if told == number => whole.extend_from_slice(bytes),
                    other => panic!("{sizes:?}: {other:?}"),
                }
            }
            assert_eq!(unpack(whole.clone().into()), Some(frames), "{sizes:?}");
            whole.pop();
            assert!(whole.is_empty() || unpack(whole.into()).is_none(), "{sizes:?}");
        }
    }
}
