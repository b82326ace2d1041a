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

use super::{
    Appended, BlobHash, BoxFuture, Chain, Change, Changed, Columns, Error, Head, InboxId, Key, Part, Record, Store,
    changed, wake::Wakes,
};
use crate::run::RunId;

/// Keeps journals in memory, until it is dropped.
pub struct Memory {
    all: Mutex<All>,
    wakes: Wakes,
}

#[derive(Default)]
struct All {
    runs: BTreeMap<RunId, Kept>,
    records: BTreeMap<Key, Record>,
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
        Memory { all: Mutex::default(), wakes: Wakes::new() }
    }

    /// No call leaves the table half changed, so a panic elsewhere in the process says nothing about it.
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Memory::new()
    }
}

impl Store for Memory {
    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>> {
        let mut all = self.all();
        let All { runs, records } = &mut *all;
        let answers = parts
            .into_iter()
            .map(|part| match runs.get_mut(&part.run) {
                None => Appended::Fenced { epoch: 0 },
                Some(kept) => kept.append(part, records),
            })
            .collect();
        Box::pin(ready(Ok(answers)))
    }

    fn claim(&self, run: RunId) -> BoxFuture<Result<Head, Error>> {
        let mut all = self.all();
        let kept = all.runs.entry(run).or_default();
        kept.epoch += 1;
        let head = kept.head(run);
        drop(all);
        self.wakes.wake(run);
        Box::pin(ready(Ok(head)))
    }

    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>> {
        let all = self.all();
        let frames = all.runs.get(&run).map(|kept| kept.frames.as_slice()).unwrap_or_default();
        let from = usize::try_from(index).unwrap_or(usize::MAX).min(frames.len());
        Box::pin(ready(Ok(frames.iter().skip(from).cloned().collect())))
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        Box::pin(ready(Ok(self.all().runs.get(&run).map(|kept| kept.head(run)))))
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = self.all();
        let heads = all.runs.range((from, Bound::Unbounded)).take(limit).map(|(run, kept)| kept.head(*run)).collect();
        Box::pin(ready(Ok(heads)))
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>> {
        let mut all = self.all();
        let Some(kept) = all.runs.get_mut(&run) else {
            return Box::pin(ready(Err(Error::NotFound(run))));
        };
        if !kept.inbox.iter().any(|(waiting, _)| *waiting == id) {
            kept.inbox.push((id, item));
        }
        drop(all);
        self.wakes.wake(run);
        Box::pin(ready(Ok(())))
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        Box::pin(ready(Ok(self.all().runs.get(&run).map(|kept| kept.inbox.clone()).unwrap_or_default())))
    }

    fn changed(&self, run: RunId) -> BoxFuture<()> {
        self.wakes.changed(run)
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        Box::pin(ready(Ok(self.all().runs.get(&run).and_then(|kept| kept.blobs.get(&hash).cloned()))))
    }

    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>> {
        self.all().runs.remove(&run);
        self.wakes.wake(run);
        Box::pin(ready(Ok(())))
    }

    fn record(&self, key: Key) -> BoxFuture<Result<Option<Record>, Error>> {
        Box::pin(ready(Ok(self.all().records.get(&key).cloned())))
    }

    fn records(&self, prefix: Bytes, after: Option<Key>, limit: usize) -> BoxFuture<Result<Vec<(Key, Record)>, Error>> {
        Box::pin(ready(Ok(page(&self.all().records, &prefix, after, limit, |record| Some(record)))))
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<Result<Changed, Error>> {
        let mut all = self.all();
        let answer = match changed(&changes, |key| all.records.get(key).cloned()) {
            Ok(made) => {
                set(&mut all.records, made);
                Changed::Done
            }
            Err(refused) => refused,
        };
        Box::pin(ready(Ok(answer)))
    }

    fn room(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Kept {
    fn append(&mut self, part: Part, records: &mut BTreeMap<Key, Record>) -> Appended {
        if part.epoch != self.epoch {
            return Appended::Fenced { epoch: self.epoch };
        }
        if part.expected_length != self.length() {
            return Appended::Misplaced { length: self.length() };
        }
        match changed(&part.records, |key| records.get(key).cloned()) {
            Ok(made) => set(records, made),
            Err(Changed::Refused { change, found }) => return Appended::Refused { change, found },
            Err(Changed::Done) => {}
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

/// Replaces records by what became of them.
fn set(records: &mut BTreeMap<Key, Record>, made: BTreeMap<Key, Option<Record>>) {
    for (key, new) in made {
        match new {
            Some(new) => records.insert(key, new),
            None => records.remove(&key),
        };
    }
}

/// The records of a table whose keys begin so, those after `after`.
pub(super) fn page<T>(
    records: &BTreeMap<Key, T>,
    prefix: &Bytes,
    after: Option<Key>,
    limit: usize,
    record: impl for<'a> Fn(&'a T) -> Option<&'a Record>,
) -> Vec<(Key, Record)> {
    let first = Bound::Included(Key(prefix.slice(..prefix.len().min(Key::BYTES_MAX))));
    let from = match after {
        Some(after) if after.as_bytes() >= &prefix[..] => Bound::Excluded(after),
        _ => first,
    };
    let rows = records.range((from, Bound::Unbounded)).take_while(|(key, _)| key.as_bytes().starts_with(prefix));
    rows.filter_map(|(key, row)| Some((key.clone(), record(row)?.clone()))).take(limit).collect()
}
