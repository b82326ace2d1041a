//! The simplest durable log that can be shared by many runs: one file of JSON lines, one thread that writes whatever is
//! pending, syncs once, and wakes all who wait for it.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::mpsc,
};

use anyhow::{Context, Result};
use tokio::sync::oneshot;

/// What one append brings, and who waits for it.
type Pending = (Vec<u8>, oneshot::Sender<()>);

/// A log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    pending: mpsc::Sender<Pending>,
}

impl Log {
    /// Creates the file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        let (pending, work) = mpsc::channel();
        std::thread::spawn(move || {
            if let Err(error) = flush(file, &work) {
                eprintln!("the log failed: {error}");
            }
        });
        Ok(Log { pending })
    }

    /// Appends records, each of which ends its line, and returns when they are durable.
    pub async fn append(&self, records: Vec<u8>) -> Result<()> {
        let (done, durable) = oneshot::channel();
        self.pending.send((records, done))?;
        durable.await.context("the log failed")
    }
}

fn flush(mut file: File, work: &mpsc::Receiver<Pending>) -> std::io::Result<()> {
    while let Ok(first) = work.recv() {
        let (mut batch, mut waiting) = (first.0, vec![first.1]);
        for (records, done) in work.try_iter() {
            batch.extend(records);
            waiting.push(done);
        }
        file.write_all(&batch)?;
        file.sync_data()?;
        for done in waiting {
            // Who no longer waits needs no answer.
            let _ = done.send(());
        }
    }
    Ok(())
}
