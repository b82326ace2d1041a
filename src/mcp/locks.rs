//! The lock files of guards: one file per guarded process tree, locked for as long as something of the tree lives.
//!
//! A guard creates and locks its file and lets the server inherit the open file, so the lock is free only when no
//! process is left that kept it. Whoever can take the lock removes the file. Always true:
//! - A file that is missing or can be locked belongs to a tree that is gone.
//! - Only a file whose lock is held by the remover is removed, and only if it is still the file of that name.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::GuardId;

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
    file.try_lock().is_ok() && is_at(&file, path) && fs::remove_file(path).is_ok()
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
