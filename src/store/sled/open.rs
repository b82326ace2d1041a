//! Opening: one process, a local disk, and what the log says.
//!
//! ```text
//! dir/lock                      ours; holds the process id of whoever has the store open
//! dir/log/00000001-9f…          segments of the log
//! dir/mark                      how far the log is known to be durable
//! dir/checkpoint                the image
//! dir/sled/                     the copy, sled's
//! dir/sled.aside/               a copy that did not read
//! ```
//! In order: create the directory durably · refuse network file systems and what an agentd of before wrote · take our lock
//! ([`Lock`]) · drop what an unclean end may have left in the page cache alone · read the log from the image on · cut the
//! torn tail off. That is all: the copy is opened when it is first needed.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    disk::{self, Disk},
    replay::{From, Paths, Replayed, replay},
};
use crate::store::Error;

/// Reads the store that is locked, and makes sure that what was read is on the disk.
pub(super) fn open(lock: &Lock, disk: &Disk) -> Result<Replayed, Error> {
    let paths = Paths::of(lock.dir());
    refuse_older(&paths)?;
    let at =
        |what: &'static str| move |error: io::Error| unusable(format!("{}: {what}: {error}", lock.dir().display()));
    if !paths.log.is_dir() {
        disk::create_dir(&paths.log).map_err(at("creating the directory"))?;
        disk.sync_names(&paths.log).map_err(at("syncing the directories"))?;
    }
    let mut replayed = replay(disk, &paths, From::Image)?;
    let unclean = replayed.end.is_some_and(|end| !end.clean);
    if unclean {
        // Only these can have been written to since anybody last synced all of them.
        for segment in replayed.segments.iter().rev().take(2) {
            let forgotten = disk.read(&segment.path).and_then(|file| {
                disk.at(disk::Op::Sync(&segment.path))?;
                file.forget_cached()
            });
            forgotten.map_err(at("reading the log anew"))?;
        }
        disk.sync_dir(&paths.log).map_err(at("syncing the log"))?;
        replayed = replay(disk, &paths, From::Image)?;
        if let (Some(end), Some(segment)) = (replayed.end, replayed.segments.last())
            && end.offset < end.length
            // What the disk cannot read now it may read again.
            && !replayed.unread
        {
            tracing::debug!(file = %segment.path.display(), from = end.offset, to = end.length, "a torn tail is cut off");
            let cut = disk.open(&segment.path).and_then(|file| {
                file.cut(end.offset)?;
                file.sync()
            });
            cut.map_err(at("cutting a torn tail off"))?;
        }
    }
    report(&replayed);
    Ok(replayed)
}

/// Tells what could not be read.
pub(super) fn report(replayed: &Replayed) {
    for place in replayed.noise.iter().chain(&replayed.table.faults) {
        tracing::warn!(%place, "the log of the store is damaged");
    }
    for (run, found) in &replayed.table.runs {
        if let Some(damage) = &found.damage {
            tracing::warn!(%run, %damage, "a run is damaged");
        }
    }
}

/// What was written before there was a log is not read.
pub(super) fn refuse_older(paths: &Paths) -> Result<(), Error> {
    let old = ["tree", "witness"].map(|name| paths.dir.join(name));
    match old.iter().find(|path| path.exists()).filter(|_| !paths.log.exists()) {
        Some(path) => Err(unusable(format!(
            "{}: an agentd from before the log wrote this ({}), and this one does not read it; move the directory away to begin anew",
            paths.dir.display(),
            path.display()
        ))),
        None => Ok(()),
    }
}

pub(super) fn unusable(text: String) -> Error {
    Error::Unusable(text.into())
}

/// The right to open the store in a directory: its lock file, ours as long as this is. Holds our process id.
pub struct Lock {
    dir: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock of `dir`, which is created if it is not there.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has it, or this one; [`Error::Unusable`] when the disk refuses.
    pub fn take(dir: &Path) -> Result<Lock, Error> {
        let at = |what: &'static str| move |error: io::Error| unusable(format!("{}: {what}: {error}", dir.display()));
        disk::create_dir(dir).map_err(at("creating the directory"))?;
        if let Some(kind) = disk::network_file_system(dir).map_err(at("asking for the file system"))? {
            return Err(unusable(format!(
                "{} is on a network file system ({kind}), which does not keep what a journal needs; choose a local disk",
                dir.display()
            )));
        }
        let failed = at("taking the lock");
        let options = File::options().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(dir.join("lock")).map_err(failed)?;
        let locked = file.try_lock();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        match locked {
            Ok(()) => {}
            // Whoever holds it may not have written its id yet.
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { pid: text.trim().parse().ok() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Lock { dir: dir.to_owned(), file })
    }

    /// The process that holds the lock of `dir`, as far as it says; `None` when nobody does.
    pub fn held_by(dir: &Path) -> Option<Option<u32>> {
        let mut file = File::open(dir.join("lock")).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                Some(file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok()))
            }
            _ => None,
        }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the directory is no longer where it was, so that whoever comes next would not find what is written to it.
    pub(super) fn is_gone(&self) -> bool {
        let here = self.file.metadata().map(|data| (data.dev(), data.ino()));
        let there = fs::metadata(self.dir.join("lock")).map(|data| (data.dev(), data.ino()));
        !matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }
}
