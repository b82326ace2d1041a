//! A store that forgets: for tests, and for runs whose loss with the process is accepted.
//!
//! One table behind one lock; every call is done before it returns its future. It keeps the promises of [`Store`] but
//! the one about power cuts, so that it serves as the model that other stores are held against.

use std::{
    collections::{BTreeMap, HashMap},
    future::ready,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Appended, BlobHash, BoxFuture, Chain, Columns, Error, Head, InboxId, Part, Store, wake::Wakes};
use crate::run::RunId;

/// Keeps journals in memory, until it is dropped.
pub struct Memory {
    runs: Mutex<BTreeMap<RunId, Kept>>,
    wakes: Wakes,
}

#[derive(Default)]
struct Kept {
    epoch: u64,
    frames: Vec<Bytes>,
    chain: Chain,
    columns: Columns,
    inbox: Vec<(InboxId, Bytes)>,
    blobs: HashMap<BlobHash, Bytes>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Memory { runs: Mutex::default(), wakes: Wakes::new() }
    }

    /// No call leaves the table half changed, so a panic elsewhere in the process says nothing about it.
    fn runs(&self) -> MutexGuard<'_, BTreeMap<RunId, Kept>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl Store for Memory {
    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>> {
        let mut runs = self.runs();
        let answers = parts
            .into_iter()
            .map(|part| match runs.get_mut(&part.run) {
                None => Appended::Fenced { epoch: 0 },
                Some(kept) => kept.append(part),
            })
            .collect();
        Box::pin(ready(Ok(answers)))
    }

    fn claim(&self, run: RunId) -> BoxFuture<Result<Head, Error>> {
        let mut runs = self.runs();
        let kept = runs.entry(run).or_default();
        kept.epoch += 1;
        let head = kept.head(run);
        drop(runs);
        self.wakes.wake(run);
        Box::pin(ready(Ok(head)))
    }

    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>> {
        let runs = self.runs();
        let frames = runs.get(&run).map(|kept| kept.frames.as_slice()).unwrap_or_default();
        let from = usize::try_from(index).unwrap_or(usize::MAX).min(frames.len());
        Box::pin(ready(Ok(frames.iter().skip(from).cloned().collect())))
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        Box::pin(ready(Ok(self.runs().get(&run).map(|kept| kept.head(run)))))
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let runs = self.runs();
        let heads = runs.range((from, Bound::Unbounded)).take(limit).map(|(run, kept)| kept.head(*run)).collect();
        Box::pin(ready(Ok(heads)))
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>> {
        let mut runs = self.runs();
        let Some(kept) = runs.get_mut(&run) else {
            return Box::pin(ready(Err(Error::NotFound(run))));
        };
        if !kept.inbox.iter().any(|(waiting, _)| *waiting == id) {
            kept.inbox.push((id, item));
        }
        drop(runs);
        self.wakes.wake(run);
        Box::pin(ready(Ok(())))
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        Box::pin(ready(Ok(self.runs().get(&run).map(|kept| kept.inbox.clone()).unwrap_or_default())))
    }

    fn changed(&self, run: RunId) -> BoxFuture<()> {
        self.wakes.changed(run)
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        Box::pin(ready(Ok(self.runs().get(&run).and_then(|kept| kept.blobs.get(&hash).cloned()))))
    }

    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>> {
        self.runs().remove(&run);
        self.wakes.wake(run);
        Box::pin(ready(Ok(())))
    }

    fn room(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Kept {
    fn append(&mut self, part: Part) -> Appended {
        if part.epoch != self.epoch {
            return Appended::Fenced { epoch: self.epoch };
        }
        if part.expected_length != self.length() {
            return Appended::Misplaced { length: self.length() };
        }
        if !part.frames.is_empty() {
            self.frames.extend(part.frames);
            self.chain = part.chain;
        }
        for (hash, blob) in part.blobs {
            self.blobs.entry(hash).or_insert(blob);
        }
        self.inbox.retain(|(id, _)| !part.consumed.contains(id));
        if let Some(columns) = part.columns {
            self.columns = columns;
        }
        Appended::Done
    }

    fn length(&self) -> u64 {
        u64::try_from(self.frames.len()).unwrap_or(u64::MAX)
    }

    fn head(&self, run: RunId) -> Head {
        Head {
            run,
            epoch: self.epoch,
            length: self.length(),
            chain: self.chain,
            damage: None,
            columns: self.columns.clone(),
        }
    }
}
