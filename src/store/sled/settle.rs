//! Settling: a thread of its own brings runs from the log into the copy, writes the image, and gives room back.
//!
//! ```text
//! 1. read the unsettled records of all runs, write their frames and blobs into the copy
//! 2. flush the copy, fdatasync its file
//! 3. in the table: those are settled
//! 4. write the image of the table, sync it, put it in place, sync the directory
//! 5. if more than half of the log is of deleted runs: write what is alive in the oldest segment again, then remove that
//! ```
//! Nobody waits for any of it. What fails is told and tried again with the next checkpoint; until then the log is read.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering, mpsc},
};

use tokio::sync::oneshot;

use super::{
    Shared,
    copy::Trouble,
    image,
    log::Unread,
    queue::Request,
    record::{Header, Kind},
    replay::{From, replay},
    scan::{Item, Scan, Segment},
    table::{Position, Settled, Table},
};
use crate::{run::RunId, store::Error};

/// How many bytes of a run are in memory at once while it is settled.
const AT_ONCE: usize = 4 << 20;

/// How far the thread steps back where it shares a core.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// What the thread is asked to do.
pub(super) enum Job {
    /// A checkpoint; who waits for its end.
    Checkpoint(Option<mpsc::Sender<()>>),
    #[cfg(test)]
    Nothing(mpsc::Sender<()>),
}

/// Serves until nobody can ask any more, or the store closes.
pub(super) fn run(shared: &Shared, jobs: &mpsc::Receiver<Job>) {
    // Commits are waited for, and this is not. A thread has a niceness of its own on Linux alone.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    while let Ok(job) = jobs.recv() {
        if shared.closing.load(Ordering::Relaxed) {
            return;
        }
        match job {
            Job::Checkpoint(done) => {
                checkpoint(shared);
                drop(done);
            }
            #[cfg(test)]
            Job::Nothing(done) => drop(done),
        }
    }
}

fn checkpoint(shared: &Shared) {
    if let Err(Trouble(reason)) = settle(shared) {
        shared.fall_back(&reason);
    }
    // What an older image speaks of must stay.
    let Some(image) = write_image(shared) else { return };
    for _ in shared.log.segments() {
        match compact(shared, image) {
            Ok(true) if !shared.closing.load(Ordering::Relaxed) => {}
            Ok(_) => return,
            Err(reason) => return tracing::warn!(%reason, "the log of the store could not be compacted"),
        }
    }
}

/// Brings all runs into the copy.
fn settle(shared: &Shared) -> Result<(), Trouble> {
    let (todo, deleted) = {
        let table = shared.table.read().unwrap_or_else(PoisonError::into_inner);
        let unsettled = table.runs.iter().filter(|(_, run)| run.damage.is_none() && !run.tail.is_empty());
        let todo: Vec<_> =
            unsettled.map(|(id, run)| (*id, run.born, run.settled, run.tail.clone(), run.length)).collect();
        (todo, table.deleted.clone())
    };
    let mut settled: Vec<(RunId, u64, u64, Settled)> = Vec::new();
    'runs: for (id, born, mut now, tail, length) in todo {
        if shared.closing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut reader = shared.log.reader();
        let (mut frames, mut blobs, mut held) = (Vec::new(), Vec::new(), 0);
        let last = tail.last().map_or(0, |loc| loc.seq);
        for loc in &tail {
            match reader.delta(id, loc) {
                Ok(delta) => {
                    held += delta.size();
                    frames.extend(delta.frames);
                    blobs.extend(delta.blobs);
                }
                Err(unread) => {
                    drop(shared.found_damage(id, born, last, &unread));
                    continue 'runs;
                }
            }
            if held > AT_ONCE {
                now = shared.copy.put_frames(id, born, now, &std::mem::take(&mut frames))?;
                now = shared.copy.put_blobs(id, born, now, &std::mem::take(&mut blobs))?;
                held = 0;
            }
        }
        now = shared.copy.put_frames(id, born, now, &frames)?;
        now = shared.copy.put_blobs(id, born, now, &blobs)?;
        match now.length == length {
            true => settled.push((id, born, last, now)),
            false => {
                let unread = Unread::lasting(format!("it has {} of {length} entries", now.length));
                drop(shared.found_damage(id, born, last, &unread));
            }
        }
    }
    for (run, born) in &deleted {
        shared.copy.purge(*run, *born)?;
    }
    if settled.is_empty() && deleted.is_empty() {
        return Ok(());
    }
    shared.copy.flush()?;
    let mut table = shared.table.write().unwrap_or_else(PoisonError::into_inner);
    for (id, born, last, now) in settled {
        if let Some(run) = table.runs.get_mut(&id).filter(|run| run.born == born) {
            run.settled = now;
            run.tail = run.tail.iter().copied().filter(|loc| loc.seq > last).collect();
        }
    }
    table.deleted = table.deleted.difference(&deleted).copied().collect::<BTreeSet<_>>();
    Ok(())
}

/// Writes the image of the table as it stands. Returns from where on the log is read with it; `None` if it could not be
/// written.
pub(super) fn write_image(shared: &Shared) -> Option<Position> {
    if shared.unread {
        // What could not be read this time is not to be taken for lost for good.
        return None;
    }
    shared.since_image.store(0, Ordering::Relaxed);
    let (image, position) = {
        let table = shared.table();
        (image::encode(&table), table.position)
    };
    match image::write(&shared.disk, &shared.paths.dir, &image) {
        Ok(()) => Some(position),
        Err(error) => {
            tracing::warn!(%error, "no checkpoint could be written; the next opening takes longer");
            None
        }
    }
}

/// Reads all of the log, and has every run be read from there. For when the copy is gone.
pub(super) fn unsettle(shared: &Shared) -> Result<(), Error> {
    let whole = replay(&shared.disk, &shared.paths, From::Beginning)?.table;
    let mut table = shared.table.write().unwrap_or_else(PoisonError::into_inner);
    table.deleted.clear();
    for (id, run) in &mut table.runs {
        if run.settled == Settled::default() || run.damage.is_some() {
            continue;
        }
        let unsettled = run.tail.first().map_or(u64::MAX, |loc| loc.seq);
        let found = whole.runs.get(id).filter(|found| found.born == run.born);
        let settled = found.into_iter().flat_map(|found| &found.tail);
        let settled: Vec<_> = settled.filter(|loc| loc.seq < unsettled && loc.seq <= run.seq).copied().collect();
        let frames: u64 = settled.iter().map(|loc| u64::from(loc.frames)).sum();
        match frames == run.settled.length {
            true => {
                run.tail = settled.into_iter().chain(run.tail.iter().copied()).collect();
                run.settled = Settled::default();
            }
            false => {
                let lost = format!("neither copy has its first {} entries; the log has {frames}", run.settled.length);
                tracing::warn!(run = %id, damage = lost, "a run is damaged");
                run.damage = Some(lost.into());
            }
        }
    }
    Ok(())
}

/// Gives the oldest segment back, if the log is large for what is alive in it. Whether it did.
fn compact(shared: &Shared, image: Position) -> Result<bool, Arc<str>> {
    let segments = shared.log.segments();
    let size = |segment: &Segment| segment.path.metadata().map_or(0, |data| data.len());
    let total: u64 = segments.iter().map(size).sum();
    let table = shared.table.read().unwrap_or_else(PoisonError::into_inner);
    let alive: u64 = table.runs.values().map(|run| run.bytes).sum();
    let many = segments.len() as u64 > 64 + 2 * total / shared.segment_bytes.max(1);
    let oldest = match segments.first() {
        Some(oldest) if many || total > 2 * alive + 2 * shared.segment_bytes => oldest.clone(),
        _ => return Ok(false),
    };
    // What is not settled is read there, and so is what is damaged, by a person.
    let held = |table: &Table| {
        let mut runs = table.runs.values();
        runs.any(|run| run.damage.is_some() || run.tail.iter().any(|loc| loc.segment == oldest.number))
    };
    if image.segment <= oldest.number || held(&table) {
        return Ok(false);
    }
    drop(table);
    let mut scan = Scan::open(&shared.disk, &oldest, 0).map_err(|error| Arc::from(error.to_string()))?;
    let (mut records, mut bytes, mut seen) = (Vec::new(), 0, HashSet::new());
    for item in scan.by_ref() {
        match item {
            Item::Record(header, _, body) if header.kind == Kind::Delta => {
                if seen.insert(header.seq) {
                    bytes += body.len();
                    records.push((header, body));
                }
            }
            Item::Record(..) => {}
            Item::Broken(..) | Item::Noise(..) => return Ok(false),
        }
        if bytes > AT_ONCE {
            copy(shared, std::mem::take(&mut records), false)?;
            bytes = 0;
        }
    }
    if scan.unread > 0 {
        return Ok(false);
    }
    // Records that callers keep go with the last of them.
    copy(shared, records, true)?;
    let removed = shared.disk.remove(&oldest.path).and_then(|()| shared.disk.sync_dir(&shared.paths.log));
    removed.map_err(|error| Arc::from(error.to_string()))?;
    shared.log.forget(oldest.number);
    tracing::info!(segment = oldest.number, "a segment of the log was given back");
    Ok(true)
}

fn copy(shared: &Shared, records: Vec<(Header, bytes::Bytes)>, last: bool) -> Result<(), Arc<str>> {
    let (answer, copied) = oneshot::channel();
    shared.queue.push(Request::Copy { records, last, answer });
    match copied.blocking_recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string().into()),
        Err(_) => Err("the store is closed".into()),
    }
}
