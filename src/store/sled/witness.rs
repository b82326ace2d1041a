//! Remembers, outside sled, how far each run had come, so that a loss inside sled is noticed.
//!
//! sled answers damage by going back, without a word, to the last state that it can read. The witness is a file of
//! 64-byte slots, one a run:
//! ```text
//! run (16) · version (8) · epoch (8) · length (8) · chain (16) · zeros (4) · CRC32C of all before (4)
//! ```
//! little endian; a slot of zeros is free. Always true:
//! - A slot is written after the fdatasync that made its content durable in sled, so the witness never knows more.
//! - A run's slot is zeroed, durably, before the run is removed from sled.
//! - Slots are overwritten in place, in a file that grew and was synced before: a write touches one sector, and a torn or
//!   flipped slot fails its CRC and counts as none.
//!
//! The file is synced at most [`LAG`] after a write, and when the store closes. Syncing it with each commit would buy
//! little: a crash of the process loses nothing that was written, and after a power cut the last moments before it are
//! unwitnessed either way.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use crate::{run::RunId, store::Chain};

/// How long a written slot may stay unsynced.
pub(super) const LAG: Duration = Duration::from_millis(100);

const SLOT: usize = 64;

/// How many slots the file grows by: one more sync for every 1,024 new runs.
const GROWTH: u32 = 1024;

/// The runs that have a slot, and which: 20 bytes and a bit for each run of the store.
pub(super) type Slots = Arc<RwLock<BTreeMap<RunId, u32>>>;

/// What the witness knows of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) version: u64,
    pub(super) epoch: u64,
    pub(super) length: u64,
    pub(super) chain: Chain,
}

/// The open file; one writer.
pub(super) struct Witness {
    file: File,
    slots: Slots,
    /// Free slots, the lowest last.
    free: Vec<u32>,
    capacity: u32,
    /// When the oldest unsynced write was made.
    unsynced: Option<Instant>,
}

impl Witness {
    /// Opens or creates the file and reads what it knows.
    pub(super) fn open(path: &Path) -> io::Result<(Witness, BTreeMap<RunId, Seen>)> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = std::fs::read(path)?;
        let mut known: BTreeMap<RunId, (u32, Seen)> = BTreeMap::new();
        let mut free = Vec::new();
        let mut capacity = 0;
        for (slot, bytes) in (0..).zip(bytes.chunks_exact(SLOT)) {
            capacity = slot + 1;
            match decode(bytes) {
                Some((run, seen)) => match known.get(&run) {
                    // Two slots of one run can only come from copying files about; the newer one counts.
                    Some((_, other)) if other.version >= seen.version => free.push(slot),
                    _ => free.extend(known.insert(run, (slot, seen)).map(|(older, _)| older)),
                },
                None => free.push(slot),
            }
        }
        free.sort_unstable_by(|a, b| b.cmp(a));
        let slots = known.iter().map(|(run, (slot, _))| (*run, *slot)).collect();
        let witness = Witness { file, slots: Arc::new(RwLock::new(slots)), free, capacity, unsynced: None };
        Ok((witness, known.into_iter().map(|(run, (_, seen))| (run, seen)).collect()))
    }

    /// The runs that have a slot, to be looked at from elsewhere.
    pub(super) fn slots(&self) -> Slots {
        Arc::clone(&self.slots)
    }

    /// Notes what has become durable. Neighbouring slots are written in one go.
    pub(super) fn note(&mut self, seen: impl Iterator<Item = (RunId, Seen)>) -> io::Result<()> {
        let mut writes = Vec::new();
        for (run, seen) in seen {
            writes.push((self.slot(run)?, encode(run, seen)));
        }
        writes.sort_unstable_by_key(|(slot, _)| *slot);
        for neighbours in writes.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
            let bytes: Vec<u8> = neighbours.iter().flat_map(|(_, bytes)| *bytes).collect();
            if let Some((first, _)) = neighbours.first() {
                self.file.write_all_at(&bytes, offset(*first))?;
            }
        }
        if !writes.is_empty() {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Forgets runs that are about to be removed; durable when this returns.
    pub(super) fn forget(&mut self, runs: &[RunId]) -> io::Result<()> {
        for run in runs {
            let slot = self.slots.write().unwrap_or_else(PoisonError::into_inner).remove(run);
            if let Some(slot) = slot {
                self.file.write_all_at(&[0; SLOT], offset(slot))?;
                self.free.push(slot);
                self.unsynced = Some(Instant::now());
            }
        }
        self.sync()
    }

    /// When the file wants to be synced; `None` when nothing is unsynced.
    pub(super) fn due(&self) -> Option<Instant> {
        self.unsynced.map(|since| since + LAG)
    }

    /// Makes durable what was written.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.take().is_some() {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn slot(&mut self, run: RunId) -> io::Result<u32> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&run) {
            return Ok(*slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let (first, end) = (self.capacity, self.capacity + GROWTH);
                self.file.write_all_at(&vec![0; SLOT * 1024], offset(first))?;
                self.file.sync_all()?;
                self.capacity = end;
                self.free.extend((first + 1..end).rev());
                first
            }
        };
        slots.insert(run, slot);
        Ok(slot)
    }
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * 64
}

fn encode(run: RunId, seen: Seen) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let fields: [&[u8]; 5] = [
        run.as_bytes(),
        &seen.version.to_le_bytes(),
        &seen.epoch.to_le_bytes(),
        &seen.length.to_le_bytes(),
        &seen.chain.0,
    ];
    let mut rest = slot.as_mut_slice();
    for field in fields {
        let (to, behind) = rest.split_at_mut(field.len());
        to.copy_from_slice(field);
        rest = behind;
    }
    let sum = crc32c::crc32c(&slot[..60]);
    slot[60..].copy_from_slice(&sum.to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<(RunId, Seen)> {
    let (body, sum) = slot.split_at_checked(60)?;
    if body.iter().all(|byte| *byte == 0) || sum != crc32c::crc32c(body).to_le_bytes() {
        return None;
    }
    let number = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let run = RunId::from_bytes(*body.first_chunk()?);
    let chain = Chain(*body.get(40..)?.first_chunk()?);
    Some((run, Seen { version: number(16)?, epoch: number(24)?, length: number(32)?, chain }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u8) -> RunId {
        RunId::from_bytes([number; 16])
    }

    fn seen(version: u64) -> Seen {
        Seen { version, epoch: 2, length: 3, chain: Chain([4; 16]) }
    }

    #[test]
    fn what_was_noted_is_known_when_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let (mut witness, known) = Witness::open(&path).unwrap();
        assert_eq!(known, BTreeMap::new());
        witness.note((1..=5).map(|number| (run(number), seen(u64::from(number))))).unwrap();
        witness.note([(run(2), seen(20))].into_iter()).unwrap();
        witness.forget(&[run(3)]).unwrap();
        witness.note([(run(6), seen(6))].into_iter()).unwrap();
        let (_, known) = Witness::open(&path).unwrap();
        let expected = [(1, 1), (2, 20), (4, 4), (5, 5), (6, 6)];
        assert_eq!(known, expected.into_iter().map(|(number, version)| (run(number), seen(version))).collect());
    }

    #[test]
    fn it_grows_without_losing_anything() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let (mut witness, _) = Witness::open(&path).unwrap();
        let ids: Vec<RunId> = (0..3000_u128).map(|id| RunId::from_bytes((id + 1).to_be_bytes())).collect();
        witness.note(ids.iter().map(|id| (*id, seen(9)))).unwrap();
        let (_, known) = Witness::open(&path).unwrap();
        assert_eq!(known.into_keys().collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_flipped_bit_costs_one_slot_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("witness");
        let (mut witness, _) = Witness::open(&path).unwrap();
        witness.note((1..=3).map(|number| (run(number), seen(1)))).unwrap();
        let sound = std::fs::read(&path).unwrap();
        for bit in 0..SLOT * 8 {
            let mut bytes = sound.clone();
            bytes[SLOT + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            let (_, known) = Witness::open(&path).unwrap();
            assert_eq!(known.into_keys().collect::<Vec<_>>(), [run(1), run(3)], "bit {bit}");
        }
    }
}
