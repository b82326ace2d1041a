//! Opening: one process, a local disk, sled's known weaknesses tended to, and every run held against the witness.
//!
//! ```text
//! dir/lock      ours; holds our process id, and nothing after a clean end
//! dir/witness   what each run had come to (`witness`)
//! dir/tree/     sled's
//! dir/aside-…/  what was set aside while mending (`mend`)
//! ```
//! In order: create the directory durably · refuse network file systems · take our lock ([`Lock`]) · drop what an unclean end may
//! have left in the page cache alone · open sled, mending it if need be · hold every head against the witness · if a page
//! of the tree cannot be read, build it anew · sync, so that nothing is shown that a power cut could still take back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::{
    Options, disk,
    engine::{Cause, Engine, Trouble},
    mend,
    witness::{Seen, Witness},
};
use crate::{
    run::RunId,
    store::{Error, Head},
};

/// What an open store consists of.
pub(super) struct Opened {
    pub(super) lock: Lock,
    pub(super) engine: Engine,
    pub(super) witness: Witness,
    /// The runs that have lost something, with the head that they should have.
    pub(super) damaged: BTreeMap<RunId, Head>,
}

/// Opens the store that is locked, see above.
pub(super) fn open(lock: Lock, options: &Options) -> Result<Opened, Error> {
    let dir = &*lock.dir().to_owned();
    let at = |what: &'static str| move |error: io::Error| unusable(format!("{}: {what}: {error}", dir.display()));
    let tree = dir.join("tree");
    mend::finish(dir).map_err(at("finishing what was begun"))?;
    disk::create_dir(&tree).map_err(at("creating the directory"))?;
    if !lock.closed_cleanly {
        forget_cached(&tree.join("db")).map_err(at("reading the data anew"))?;
    }
    let mut engine = mend::open(dir, options)?;
    let (mut witness, known) = Witness::open(&dir.join("witness")).map_err(at("opening the witness"))?;
    let mut compared = Compared::new(&engine, &known);
    if compared.unreadable || mend::is_marked(dir) {
        engine = mend::rebuild(dir, engine, &compared.runs, options)?;
        compared = Compared::new(&engine, &known);
    }
    // sled syncs neither what it makes at its first opening nor what it has just recovered.
    File::open(tree.join("conf")).and_then(|conf| conf.sync_all()).map_err(at("syncing"))?;
    disk::sync_dir(&tree).map_err(at("syncing"))?;
    engine.sync().map_err(|trouble| unusable(format!("{}: syncing: {}", dir.display(), trouble.reason)))?;
    for head in compared.damaged.values() {
        tracing::warn!(run = %head.run, damage = head.damage.as_deref(), "a run has lost something");
    }
    witness.note(compared.news.into_iter()).and_then(|()| witness.sync()).map_err(at("writing the witness"))?;
    disk::sync_dir(dir).map_err(at("syncing"))?;
    Ok(Opened { lock, engine, witness, damaged: compared.damaged })
}

pub(super) fn unusable(text: String) -> Error {
    Error::Unusable(text.into())
}

/// The right to open the store in a directory: its lock file, ours as long as this is. Holds our process id, and nothing
/// after a clean end.
pub struct Lock {
    dir: PathBuf,
    file: File,
    closed_cleanly: bool,
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
        Ok(Lock { dir: dir.to_owned(), file, closed_cleanly: text.is_empty() })
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes that everything was closed as it should.
    pub(super) fn close_cleanly(self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::debug!(%error, "the lock file could not be emptied; the next start looks more closely");
        }
    }
}

/// After a sync that failed, the page cache may hold, marked clean, what never reached the disk; a process that opened
/// the file then would show it as durable. So what can be written is written, and the rest read from the disk again.
fn forget_cached(db: &Path) -> io::Result<()> {
    match File::open(db) {
        Ok(file) => {
            file.sync_data()?;
            #[cfg(target_os = "linux")]
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Every head, held against the witness.
struct Compared {
    runs: BTreeSet<RunId>,
    /// The runs that have lost something. Their slots in the witness stay, so that the loss is seen again next time.
    damaged: BTreeMap<RunId, Head>,
    /// What the witness does not know yet: the last commit before a crash, or everything when the witness was lost.
    news: Vec<(RunId, Seen)>,
    /// Whether there is a page that cannot be read.
    unreadable: bool,
}

impl Compared {
    fn new(engine: &Engine, known: &BTreeMap<RunId, Seen>) -> Self {
        let (runs, trouble) = engine.runs(known);
        let mut compared = Compared { runs, damaged: BTreeMap::new(), news: Vec::new(), unreadable: trouble.is_some() };
        for run in compared.runs.clone() {
            compared.look_at(engine, run, known.get(&run));
        }
        compared
    }

    fn look_at(&mut self, engine: &Engine, run: RunId, seen: Option<&Seen>) {
        let head = match seen {
            Some(seen) => engine.checked_head(run, seen),
            None => engine.head(run),
        };
        match head {
            Ok(Some(stored)) if seen.is_none_or(|seen| seen.version < stored.version) => {
                self.news.push((run, stored.seen()));
            }
            Ok(_) => {}
            Err(Trouble { reason, cause }) => {
                self.unreadable |= cause != Cause::Missing;
                let seen = seen.copied().unwrap_or_else(|| {
                    self.news.push((run, Seen::default()));
                    Seen::default()
                });
                let Seen { epoch, length, chain, .. } = seen;
                let columns = engine.columns(run).unwrap_or_default();
                self.damaged.insert(run, Head { run, epoch, length, chain, damage: Some(reason), columns });
            }
        }
    }
}
