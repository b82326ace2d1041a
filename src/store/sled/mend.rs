//! Mending: what is done about a tree that does not open, or that has pages which cannot be read.
//!
//! sled chokes on a snapshot that is torn or astray, though its log has all that the snapshot says: then the directory is
//! copied aside, the newest snapshot set aside, and the log read in full. And a page that cannot be read would stop any
//! later commit, because sled moves pages about to reuse its file: then every run is copied, as far as it can be read, into a
//! new tree, which takes the place of the old one; the old one is set aside. Always true:
//! - Nothing is deleted that cannot be made again. What is set aside stays until a person removes it.
//! - A crash at any point leaves a tree that opens.
//! - Repeated attempts do not fill the disk.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Options, disk,
    engine::{Cause, Engine, Trouble, caught},
    open::unusable,
};
use crate::{run::RunId, store::Error};

/// Says that a page could not be read in an earlier life.
const MARK: &str = "unreadable";

/// A tree that is being built.
const NEW: &str = "tree.new";

/// How many bytes go into one batch while a tree is built.
const BATCH_BYTES: usize = 1 << 20;

/// Opens the tree, mending it if need be.
pub(super) fn open(dir: &Path, options: &Options) -> Result<Engine, Error> {
    let tree = dir.join("tree");
    let failed = |what, error| unusable(format!("{}: {what}: {error}", dir.display()));
    remove_half_snapshots(&tree).map_err(|error| failed("removing half-written snapshots", error))?;
    let first = match open_sled(&tree, options) {
        Err(Failure::Damage(reason)) => reason,
        opened => return opened.map_err(|failure| failure.into_error(dir)),
    };
    let aside = set_snapshot_aside(dir).map_err(|error| failed("setting a damaged snapshot aside", error))?;
    let Some(aside) = aside else {
        return Err(Failure::Damage(first).into_error(dir));
    };
    tracing::warn!(reason = %first, copy = %aside.display(), "the store was damaged; reading it without its snapshot");
    open_sled(&tree, options).map_err(|failure| failure.into_error(dir))
}

/// Remembers for the next open that a page cannot be read.
pub(super) fn mark(dir: &Path) {
    if let Err(error) = File::create(dir.join(MARK)).and_then(|_| disk::sync_dir(dir)) {
        tracing::warn!(%error, "the damage could not be noted");
    }
}

/// Whether a page could not be read in an earlier life.
pub(super) fn is_marked(dir: &Path) -> bool {
    dir.join(MARK).exists()
}

/// Builds the tree anew from what can be read of these runs. If that fails, the old tree stays.
pub(super) fn rebuild(dir: &Path, engine: Engine, runs: &BTreeSet<RunId>, options: &Options) -> Result<Engine, Error> {
    tracing::warn!(dir = %dir.display(), "a page of the store cannot be read; building it anew");
    let new = dir.join(NEW);
    if let Err(Trouble { reason, .. }) = caught(|| copy_runs(&engine, runs, &new, options)) {
        tracing::error!(%reason, "the store could not be built anew, and goes on damaged");
        let failed = |error| unusable(format!("{}: removing a half-built store: {error}", dir.display()));
        fs::remove_dir_all(&new).map_err(failed)?;
        return Ok(engine);
    }
    drop(engine);
    let swap = || {
        fs::rename(dir.join("tree"), new_aside(dir))?;
        finish(dir)?;
        fs::remove_file(dir.join(MARK)).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        disk::sync_dir(dir)
    };
    swap().map_err(|error| unusable(format!("{}: putting the new store in place: {error}", dir.display())))?;
    open_sled(&dir.join("tree"), options).map_err(|failure| failure.into_error(dir))
}

/// Finishes or undoes what a crash interrupted. The old tree makes room only when the new one is whole.
pub(super) fn finish(dir: &Path) -> io::Result<()> {
    let (tree, new) = (dir.join("tree"), dir.join(NEW));
    if new.is_dir() {
        match tree.is_dir() {
            true => fs::remove_dir_all(new)?,
            false => fs::rename(new, tree)?,
        }
        disk::sync_dir(dir)?;
    }
    Ok(())
}

fn copy_runs(from: &Engine, runs: &BTreeSet<RunId>, new: &Path, options: &Options) -> Result<(), Trouble> {
    disk::create_dir(new)?;
    let into = config(new, options).open()?;
    for run in runs {
        let (mut batch, mut bytes) = (sled::Batch::default(), 0);
        let copied = from.copy(*run, |key, value| {
            bytes += key.len() + value.len();
            batch.insert(key, value);
            if bytes > BATCH_BYTES {
                into.apply_batch(std::mem::take(&mut batch)).map_err(cannot_write)?;
                bytes = 0;
            }
            Ok(())
        });
        match copied {
            Err(trouble) if trouble.cause == Cause::Missing => return Err(trouble),
            // What is left of a damaged run, so that its head can still be listed; its sums tell that it is not whole.
            Err(Trouble { reason, .. }) => tracing::warn!(%run, %reason, "only a part of this run can be read"),
            Ok(()) => {}
        }
        into.apply_batch(batch)?;
    }
    into.flush()?;
    drop(into);
    for entry in fs::read_dir(new)? {
        File::open(entry?.path())?.sync_all()?;
    }
    Ok(disk::sync_dir(new)?)
}

/// Tells a failure of the new tree from one of the old.
fn cannot_write(error: sled::Error) -> Trouble {
    error.to_string().into()
}

/// A place for what is set aside.
fn new_aside(dir: &Path) -> PathBuf {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
    dir.join(format!("aside-{now}"))
}

/// sled writes a snapshot under this name and renames it when it is whole. It chokes on one that was left behind.
fn remove_half_snapshots(dir: &Path) -> io::Result<()> {
    for path in snapshots(dir)? {
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// What sled takes for snapshots, the newest last.
fn snapshots(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b"snap.") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Copies the tree as it is, then takes the newest snapshot out of it: sled finds the same by reading its whole log.
/// Returns the copy; `None`, with nothing done, if there is no snapshot, so that repeated attempts do not fill the disk.
fn set_snapshot_aside(dir: &Path) -> io::Result<Option<PathBuf>> {
    let tree = dir.join("tree");
    let Some(newest) = snapshots(&tree)?.pop() else {
        return Ok(None);
    };
    let aside = new_aside(dir);
    if let Err(error) = copy(&tree, &aside) {
        // Most likely there was no room; what was copied is of no use.
        fs::remove_dir_all(&aside)?;
        return Err(error);
    }
    fs::remove_file(newest)?;
    disk::sync_dir(&tree)?;
    Ok(Some(aside))
}

fn copy(tree: &Path, aside: &Path) -> io::Result<()> {
    disk::create_dir(aside)?;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let copy = aside.join(entry.file_name());
            fs::copy(entry.path(), &copy)?;
            File::open(&copy)?.sync_all()?;
        }
    }
    disk::sync_dir(aside)
}

/// Why sled did not open.
enum Failure {
    /// Somebody holds sled's own lock, who does not know of ours.
    Locked,
    /// What is on the disk cannot be read.
    Damage(String),
    /// Something else, which trying again would not change.
    Other(String),
}

impl Failure {
    fn into_error(self, dir: &Path) -> Error {
        let dir = dir.display();
        match self {
            Failure::Locked => Error::Locked { pid: None },
            Failure::Damage(reason) => unusable(format!(
                "{dir} is damaged beyond what can be mended here: {reason}. Nothing was deleted. Restore it from a \
                 backup, or move it away to begin anew; if it holds `aside-…`, that is a copy from before the attempt \
                 to mend it"
            )),
            Failure::Other(reason) => unusable(format!("{dir}: {reason}")),
        }
    }
}

/// How long sled may take to let go of its file. Its threads finish their last writes after the tree was dropped, so a
/// store that is opened again at once finds sled's lock still held; anybody else would hold ours too.
const LETTING_GO: Duration = Duration::from_secs(3);

fn open_sled(tree: &Path, options: &Options) -> Result<Engine, Failure> {
    let config = config(tree, options);
    let begun = Instant::now();
    loop {
        let opened = caught(|| Ok(config.open()));
        let failure = match opened {
            Ok(Ok(db)) => {
                let engine = Engine::new(db, tree, options.faults());
                let engine = engine.map_err(|error| Failure::Other(error.to_string()))?;
                // sled believes its snapshot, and finds out later that what it points to is not there.
                return match engine.readable() {
                    Ok(()) => Ok(engine),
                    Err(trouble) => Err(Failure::Damage(trouble.reason.to_string())),
                };
            }
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => Failure::Locked,
            Ok(Err(error @ (sled::Error::Io(_) | sled::Error::Unsupported(_)))) => Failure::Other(error.to_string()),
            Ok(Err(error)) => Failure::Damage(error.to_string()),
            Err(trouble) => Failure::Damage(trouble.reason.to_string()),
        };
        if !matches!(failure, Failure::Locked) || begun.elapsed() > LETTING_GO {
            return Err(failure);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn config(tree: &Path, options: &Options) -> sled::Config {
    let config = sled::Config::new().path(tree).mode(sled::Mode::HighThroughput);
    config.cache_capacity(options.cache).flush_every_ms(None)
}
