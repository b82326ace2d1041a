//! Start keys: what `run --key` was given, so that starting twice is starting once.
//!
//! ```text
//! lock $AGENTD_HOME/keys/<BLAKE3 of the key> ─► whom does it name? ─► name a fresh run ─► its first commit ─► unlock ─► drive
//! ```
//! The file holds the id of a run. Whoever starts with a key holds the lock of its file meanwhile, so that others who come
//! with it wait for a moment and then find the run. Always true:
//! - A run that was started with a key is driven only while the key names it.
//! - A name is durable before the run that it names. A key that names nothing, or a run that is not there, has started none:
//!   whoever gave it was killed in between, or the run was deleted. The next one names another run.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use tokio::time::sleep;

use crate::{chaos, run::RunId, waiting};

/// How often a lock is tried that somebody else holds: for as long as it takes to open a store.
const LOOK: Duration = Duration::from_millis(10);

/// Most bytes of a file: a run's id.
const BYTES_MAX: usize = 36;

/// A start key that nobody else starts with as long as this lives.
#[derive(Debug)]
pub(super) struct Key {
    file: File,
}

impl Key {
    /// Waits until nobody else starts with this key.
    pub(super) async fn hold(home: &Path, key: &str) -> io::Result<Key> {
        let file = open(home, key)?;
        let _waiting = waiting::on("another process, which starts a run with the same key");
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Key { file }),
                Err(TryLockError::WouldBlock) => sleep(LOOK).await,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// The run that it names.
    pub(super) fn run(&self) -> io::Result<Option<RunId>> {
        let mut bytes = [0; BYTES_MAX];
        let read = match self.file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other,
        };
        read?;
        // What is no id was not written to its end, and so nothing was started under it.
        Ok(str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()))
    }

    /// Has it name this run from now on, durably.
    pub(super) fn name(&self, run: RunId) -> io::Result<()> {
        chaos::point("key.name");
        self.file.write_all_at(run.to_string().as_bytes(), 0)?;
        self.file.sync_all()?;
        chaos::point("key.named");
        Ok(())
    }
}

/// The file of a key; that it is there is durable.
fn open(home: &Path, key: &str) -> io::Result<File> {
    let dir = home.join("keys");
    let file = dir.join(blake3::hash(key.as_bytes()).to_hex().as_str());
    match OpenOptions::new().read(true).write(true).open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file)?;
    File::open(&dir)?.sync_all()?;
    File::open(home)?.sync_all()?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run(byte: u8) -> RunId {
        RunId(uuid::Uuid::from_bytes([byte; 16]))
    }

    #[tokio::test]
    async fn a_key_names_what_it_was_last_given() {
        let home = tempfile::tempdir().unwrap();
        let key = Key::hold(home.path(), "nightly").await.unwrap();
        assert_eq!(key.run().unwrap(), None);
        key.name(run(1)).unwrap();
        drop(key);
        let key = Key::hold(home.path(), "nightly").await.unwrap();
        assert_eq!(key.run().unwrap(), Some(run(1)));
        key.name(run(2)).unwrap();
        assert_eq!(key.run().unwrap(), Some(run(2)));
        let other = Key::hold(home.path(), "../nightly").await.unwrap();
        assert_eq!(other.run().unwrap(), None);
        assert_eq!(fs::read_dir(home.path().join("keys")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn what_was_not_written_to_its_end_names_nothing() {
        let home = tempfile::tempdir().unwrap();
        let key = Key::hold(home.path(), "k").await.unwrap();
        key.name(run(1)).unwrap();
        let file = fs::read_dir(home.path().join("keys")).unwrap().next().unwrap().unwrap().path();
        for torn in ["", "0101", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            fs::write(&file, torn).unwrap();
            assert_eq!(key.run().unwrap(), None, "{torn:?}");
        }
    }

    #[tokio::test]
    async fn of_many_at_once_one_holds_it() {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let named = futures_util::future::join_all((1..=8).map(|byte| async move {
            let key = Key::hold(home, "k").await.unwrap();
            tokio::task::yield_now().await;
            match key.run().unwrap() {
                Some(named) => named,
                None => {
                    key.name(run(byte)).unwrap();
                    run(byte)
                }
            }
        }));
        let named = named.await;
        assert!(named.iter().all(|run| run == &named[0]), "{named:?}");
    }
}
