//! The lock files of guards: one file per guarded process tree, locked for as long as something of the tree lives.
//!
//! A guard creates and locks its file and lets the server inherit the open file, so the lock is free only when no
//! process is left that kept it. A server that closes what it inherits outlives the lock if its guard is killed; so the
//! file names the guard's process group, and whoever can take the lock looks whether that is empty before removing the
//! file. Always true:
//! - A file that is missing, or can be locked and whose group is empty, belongs to a tree that is gone.
//! - Only a file whose lock is held by the remover is removed, and only if it is still the file of that name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{io::Errno, process::Pid};
use uuid::Uuid;

use super::GuardId;

/// Most bytes of a lock file that are read.
const LINE_BYTES_MAX: u64 = 4096;

/// The folder of the lock files.
#[derive(Debug, Clone)]
pub(super) struct Locks {
    folder: PathBuf,
}

impl Locks {
    /// The locks below agentd's data directory.
    pub fn below(home: &Path) -> Self {
        Locks { folder: home.join("guards") }
    }

    /// A name for a guard to be started, and the file that it shall lock.
    pub fn name(&self) -> io::Result<(GuardId, PathBuf)> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let id = Uuid::now_v7().simple().to_string();
        let path = self.folder.join(&id);
        Ok((GuardId(id), path))
    }

    /// Whether nothing of the guarded tree is left. An id that could not be ours counts as not gone.
    pub fn gone(&self, id: &GuardId) -> bool {
        Uuid::try_parse(&id.0).is_ok() && remove_if_free(&self.folder.join(&id.0))
    }

    /// Removes the files of trees that are gone.
    pub fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            remove_if_free(&entry.path());
        }
    }
}

/// Creates and locks the file at `path`, waiting for whoever is just removing it.
pub(super) fn hold(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

/// Removes the file at `path` if its lock is free. Says whether it is gone.
fn remove_if_free(path: &Path) -> bool {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    file.try_lock().is_ok() && is_at(&file, path) && !group_lives(&file) && fs::remove_file(path).is_ok()
}

/// Writes into a lock file which process group it stands for; the rest is for people.
pub(super) fn name_group(file: &mut File, group: Pid, what: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(file, "guard {group} {what}")
}

/// Whether something lives in the process group that a lock file names. A group number that was given to others meanwhile
/// only makes us wait longer.
fn group_lives(file: &File) -> bool {
    let mut text = String::new();
    let _what_is_there = file.take(LINE_BYTES_MAX).read_to_string(&mut text);
    let group =
        text.strip_prefix("guard ").and_then(|rest| rest.split(' ').next()?.parse().ok()).and_then(Pid::from_raw);
    group.is_some_and(|group| rustix::process::test_kill_process_group(group) != Err(Errno::SRCH) && !all_dead(group))
}

/// Whether the processes of a group have all ended, and only nobody has taken leave of them.
#[cfg(target_os = "linux")]
fn all_dead(group: Pid) -> bool {
    let lives = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // `pid (name) state ppid pgrp …`, proc_pid_stat(5); the name may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, of) = (fields.next()?, fields.nth(1)?);
        Some(of.parse() == Ok(group.as_raw_pid()) && !matches!(state, "Z" | "X"))
    };
    fs::read_dir("/proc").is_ok_and(|entries| !entries.flatten().any(|entry| lives(entry) == Some(true)))
}

/// Elsewhere it cannot be told.
#[cfg(not(target_os = "linux"))]
fn all_dead(_group: Pid) -> bool {
    false
}

/// Whether `file` is still what `path` names: it could have been removed between opening and locking.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn a_lock_is_gone_when_its_last_holder_is() {
        let home = tempfile::tempdir().unwrap();
        let locks = Locks::below(home.path());
        let (id, path) = locks.name().unwrap();
        let held = hold(&path).unwrap();
        let inherited = held.try_clone().unwrap();
        assert!(!locks.gone(&id));
        drop(held);
        assert!(!locks.gone(&id), "a copy of the open file still holds the lock");
        drop(inherited);
        assert!(locks.gone(&id));
        assert!(!path.exists());
        assert!(locks.gone(&id), "a missing file is gone, too");
    }

    #[test]
    fn a_free_lock_is_not_gone_while_its_process_group_lives() {
        let home = tempfile::tempdir().unwrap();
        let locks = Locks::below(home.path());
        let (id, path) = locks.name().unwrap();
        // It closes what it inherits, as many launchers do.
        let mut server = std::process::Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
        let mut held = hold(&path).unwrap();
        name_group(&mut held, Pid::from_child(&server), format_args!("of process 1: \"x\"")).unwrap();
        drop(held);
        locks.sweep();
        assert!(!locks.gone(&id) && path.exists());
        server.kill().unwrap();
        // Dead, although nobody has taken leave of it.
        for _ in 0..1000 {
            if locks.gone(&id) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!path.exists());
        server.wait().unwrap();
    }

    #[test]
    fn sweeping_removes_free_files_only() {
        let home = tempfile::tempdir().unwrap();
        let locks = Locks::below(home.path());
        let (_, kept) = locks.name().unwrap();
        let (_, stale) = locks.name().unwrap();
        let _held = hold(&kept).unwrap();
        drop(hold(&stale).unwrap());
        locks.sweep();
        assert_eq!((kept.exists(), stale.exists()), (true, false));
    }

    #[test]
    fn an_id_that_is_a_path_is_never_gone() {
        let home = tempfile::tempdir().unwrap();
        assert!(!Locks::below(home.path()).gone(&GuardId("../../etc/none".to_owned())));
    }
}
