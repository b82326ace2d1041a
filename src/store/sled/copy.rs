//! The copy: sled 0.34 behind a wall. It holds the frames and blobs of runs that were settled, and nothing else has them
//! as its only place.
//!
//! ```text
//! 'F' · run (16) · born (8) · piece (4)              a piece of the run's frames, each behind its length (4), as one stream
//! 'B' · run (16) · born (8) · hash (32) · piece (4)  a piece of a blob; the first begins with the blob's length (4)
//! ```
//! Big endian. A value is the CRC32C of key and piece, and the piece. `born` keeps apart two runs of one id. How many
//! pieces count, and what their stream is, is in the table: pieces that a crash left behind that are not read, and are
//! overwritten.
//!
//! sled reports damage sometimes as an error and sometimes by panicking, goes back in time without a word, cuts its log at a
//! bad byte, and never syncs pages over 128 KiB, which it puts into files of their own. So every call is guarded, what is
//! read is held against the table, values are small, and a fdatasync of our own follows its flush. It is opened when it is
//! first needed. One that fails is set aside, and the log is read instead.

use std::{
    any::Any,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::{
    disk::{self, Disk, Op},
    table::Settled,
};
use crate::{run::RunId, store::BlobHash};

/// How much of a stream or blob one value holds, in bytes. sled moves a tree page into a file that it never syncs when the
/// page exceeds 128 KiB; a page holds at most 20 values (16, one more before it splits, three from a merge).
const PIECE: usize = 4096;

/// How long sled may keep its lock after it was closed.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);

/// Why the copy did not do something, in words for a person.
#[derive(Debug, Clone)]
pub(super) struct Trouble(pub(super) Arc<str>);

impl From<sled::Error> for Trouble {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Corruption { .. } => "a page of it is damaged".into(),
            error => Trouble(error.to_string().into()),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Trouble(error.to_string().into())
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Trouble(text.into())
    }
}

/// The copy in one directory.
pub(super) struct Copy {
    dir: PathBuf,
    disk: Disk,
    cache: u64,
    open: RwLock<Option<Open>>,
}

struct Open {
    db: sled::Db,
    /// A descriptor of our own on its file: the same inode, and so all of its dirty pages.
    data: fs::File,
}

impl Copy {
    pub(super) fn new(dir: &Path, disk: Disk, cache: u64) -> Self {
        Copy { dir: dir.to_owned(), disk, cache, open: RwLock::new(None) }
    }

    /// Adds frames to what a run has. Durable with the next [`flush`](Self::flush).
    pub(super) fn put_frames(
        &self,
        run: RunId,
        born: u64,
        mut settled: Settled,
        frames: &[Bytes],
    ) -> Result<Settled, Trouble> {
        if frames.is_empty() {
            return Ok(settled);
        }
        let mut stream = Vec::with_capacity(frames.iter().map(|frame| frame.len() + 4).sum());
        for frame in frames {
            stream.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
            stream.extend_from_slice(frame);
        }
        self.with("write", |open| {
            for piece in stream.chunks(PIECE) {
                let key = frames_key(run, born, Some(settled.pieces));
                open.db.insert(&key, value(&key, piece))?;
                settled.pieces += 1;
            }
            Ok(())
        })?;
        settled.length += frames.len() as u64;
        settled.bytes += stream.len() as u64;
        settled.sum = crc32c::crc32c_append(settled.sum, &stream);
        Ok(settled)
    }

    /// Adds blobs to what a run has.
    pub(super) fn put_blobs(
        &self,
        run: RunId,
        born: u64,
        mut settled: Settled,
        blobs: &[(BlobHash, Bytes)],
    ) -> Result<Settled, Trouble> {
        if blobs.is_empty() {
            return Ok(settled);
        }
        self.with("write", |open| {
            for (hash, blob) in blobs {
                let mut whole = u32::try_from(blob.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
                whole.extend_from_slice(blob);
                for (number, piece) in (0_u32..).zip(whole.chunks(PIECE)) {
                    let key = blob_key(run, born, *hash, Some(number));
                    open.db.insert(&key, value(&key, piece))?;
                }
            }
            settled.blobs = blobs_of(open, run, born)?;
            Ok(())
        })?;
        Ok(settled)
    }

    /// The frames of a run that are settled.
    pub(super) fn frames(&self, run: RunId, born: u64, settled: &Settled) -> Result<Vec<Bytes>, Trouble> {
        let stream = self.with("read", |open| {
            let mut stream = BytesMut::with_capacity(usize::try_from(settled.bytes).unwrap_or(0).min(64 << 20));
            for number in 0..settled.pieces {
                let key = frames_key(run, born, Some(number));
                let piece = open.db.get(&key)?.ok_or("frames are missing")?;
                stream.extend_from_slice(checked(&key, &piece)?);
            }
            Ok(stream.freeze())
        })?;
        if stream.len() as u64 != settled.bytes || crc32c::crc32c(&stream) != settled.sum {
            return Err("frames are not what they were".into());
        }
        let mut frames = Vec::new();
        let mut rest = stream;
        while let Some(length) = rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize) {
            if rest.len() < 4 + length {
                break;
            }
            let _ = rest.split_to(4);
            frames.push(rest.split_to(length));
        }
        match rest.is_empty() && frames.len() as u64 == settled.length {
            true => Ok(frames),
            false => Err("frames are not what they were".into()),
        }
    }

    /// A blob of a run; `None` when no such blob was settled.
    pub(super) fn blob(
        &self,
        run: RunId,
        born: u64,
        settled: &Settled,
        hash: BlobHash,
    ) -> Result<Option<Bytes>, Trouble> {
        self.with("read", |open| {
            let key = blob_key(run, born, hash, Some(0));
            let Some(first) = open.db.get(&key)? else {
                // It may be one that was lost.
                return match blobs_of(open, run, born)? == settled.blobs {
                    true => Ok(None),
                    false => Err("a blob is missing".into()),
                };
            };
            let (length, start) = checked(&key, &first)?.split_first_chunk::<4>().ok_or("a blob is cut off")?;
            let length = u32::from_le_bytes(*length) as usize;
            let mut blob = BytesMut::with_capacity(length.min(64 << 20));
            blob.extend_from_slice(start);
            for number in 1.. {
                if blob.len() >= length {
                    break;
                }
                let key = blob_key(run, born, hash, Some(number));
                let piece = open.db.get(&key)?.ok_or("a blob is cut off")?;
                blob.extend_from_slice(checked(&key, &piece)?);
            }
            match *blake3::hash(&blob).as_bytes() == hash.0 {
                true => Ok(Some(blob.freeze())),
                false => Err("a blob is not what it was".into()),
            }
        })
    }

    /// Removes all of a run.
    pub(super) fn purge(&self, run: RunId, born: u64) -> Result<(), Trouble> {
        self.with("write", |open| {
            for prefix in [frames_key(run, born, None), blob_prefix(run, born)] {
                for key in open.db.scan_prefix(prefix).keys() {
                    open.db.remove(key?)?;
                }
            }
            Ok(())
        })
    }

    /// Makes durable what was written. sled alone stops at `sync_file_range`.
    pub(super) fn flush(&self) -> Result<(), Trouble> {
        self.with("flush", |open| {
            open.db.flush()?;
            Ok(())
        })?;
        self.with("sync", |open| Ok(open.data.sync_data()?))
    }

    /// Closes the copy.
    #[cfg(test)]
    pub(super) fn close(&self) {
        close(self.open.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Closes the copy, and moves it out of the way, so that the next call finds an empty one.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        close(open.take());
        let aside = self.dir.with_extension("aside");
        if aside.exists() {
            fs::remove_dir_all(&aside)?;
        }
        match self.disk.rename(&self.dir, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(aside),
        }
    }

    /// Calls sled, which is opened if it is not yet.
    fn with<T>(&self, what: &'static str, call: impl FnOnce(&Open) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let guarded = |open: &Open| {
            caught(|| {
                self.disk.at(Op::Sled(what))?;
                call(open)
            })
        };
        if let Some(open) = &*self.open.read().unwrap_or_else(PoisonError::into_inner) {
            return guarded(open);
        }
        let mut place = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let open = match place.take() {
            Some(open) => open,
            None => caught(|| self.open())?,
        };
        guarded(place.insert(open))
    }

    fn open(&self) -> Result<Open, Trouble> {
        self.disk.at(Op::Sled("open"))?;
        disk::create_dir(&self.dir)?;
        let config = sled::Config::new().path(&self.dir).mode(sled::Mode::HighThroughput);
        let config = config.cache_capacity(self.cache).flush_every_ms(None);
        let until = Instant::now() + UNLOCKED_WITHIN;
        let db = loop {
            match config.open() {
                // Threads of sled's keep its lock for a moment after it was closed; nobody else has it, since we have ours.
                Err(error) if error.to_string().contains("acquire lock") && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(5));
                }
                opened => break opened?,
            }
        };
        let data = fs::File::options().read(true).write(true).open(self.dir.join("db"))?;
        Ok(Open { db, data })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        close(self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// sled writes once more when it is dropped, and panics when it cannot.
fn close(open: Option<Open>) {
    if let Err(Trouble(reason)) = caught(|| {
        drop(open);
        Ok(())
    }) {
        tracing::warn!(%reason, "the copy in sled did not close cleanly");
    }
}

fn frames_key(run: RunId, born: u64, piece: Option<u32>) -> Vec<u8> {
    let mut key = key(b'F', run, born);
    key.extend(piece.into_iter().flat_map(u32::to_be_bytes));
    key
}

fn blob_prefix(run: RunId, born: u64) -> Vec<u8> {
    key(b'B', run, born)
}

fn blob_key(run: RunId, born: u64, hash: BlobHash, piece: Option<u32>) -> Vec<u8> {
    let mut key = blob_prefix(run, born);
    key.extend_from_slice(&hash.0);
    key.extend(piece.into_iter().flat_map(u32::to_be_bytes));
    key
}

fn key(section: u8, run: RunId, born: u64) -> Vec<u8> {
    let mut key = vec![section];
    key.extend_from_slice(run.as_bytes());
    key.extend_from_slice(&born.to_be_bytes());
    key
}

fn value(key: &[u8], piece: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), piece);
    [&sum.to_le_bytes(), piece].concat()
}

fn checked<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Trouble> {
    let (sum, piece) = value.split_first_chunk::<4>().ok_or("a value is cut off")?;
    match u32::from_le_bytes(*sum) == crc32c::crc32c_append(crc32c::crc32c(key), piece) {
        true => Ok(piece),
        false => Err("a value is not what it was".into()),
    }
}

/// How many different blobs a run has.
fn blobs_of(open: &Open, run: RunId, born: u64) -> Result<u32, Trouble> {
    let mut blobs = 0;
    for key in open.db.scan_prefix(blob_prefix(run, born)).keys() {
        blobs += u32::from(key?.ends_with(&[0; 4]));
    }
    Ok(blobs)
}

/// Calls something that may panic.
fn caught<T>(call: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    // Whatever was touched inside is given up after a panic, or was only read.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(Trouble(said(&*panic).into())))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    // sled prints whole pages into some of its messages.
    let text: String = text.unwrap_or("without a word").chars().take(200).collect();
    format!("it panicked: {text}")
}
