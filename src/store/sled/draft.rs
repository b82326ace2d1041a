//! A batch in the making: checks each request against what the tree has and what the batch already changes.
//!
//! A request is checked in full before anything of it enters the batch, so one that is refused leaves no trace. What a
//! request needs to know of a run is read once per batch, heads seldom more than once at all (`Heads`).

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{
    Shared,
    engine::{Engine, Item, Trouble},
    keys::{self, Stored, Writes},
    pulse::Due,
    queue::{Answer, Request, reply},
};
use crate::{
    run::RunId,
    store::{Appended, BlobHash, Error, Head, InboxId, Part},
};

/// How many requests go into one batch.
const REQUESTS: usize = 2048;

/// At how many bytes a batch takes no further request, so that a commit stays short; one request may be larger.
const BYTES: usize = 4 << 20;

/// How many heads stay at hand between batches: more than there are runs in flight, and a bound on what they take.
const HEADS: usize = 4096;

/// The heads of runs that were touched of late, as the tree has them.
#[derive(Default)]
pub(super) struct Heads(HashMap<RunId, Stored>);

impl Heads {
    /// Takes in what a batch has made durable.
    pub(super) fn keep(&mut self, touched: HashMap<RunId, Touched>) {
        if self.0.len() + touched.len() > HEADS {
            self.0.clear();
        }
        self.0.extend(touched.into_iter().filter_map(|(run, touched)| Some((run, touched.head?))));
    }
}

/// A batch, and what it makes of the runs that it touches.
pub(super) struct Draft<'a> {
    engine: &'a Engine,
    shared: &'a Shared,
    heads: &'a mut Heads,
    pub(super) writes: Writes,
    pub(super) touched: HashMap<RunId, Touched>,
    /// What is owed when the batch is durable.
    pub(super) owed: Vec<Due>,
    /// Whether there is anything to commit.
    pub(super) changed: bool,
    bytes: usize,
}

/// A run in a draft.
#[derive(Default)]
pub(super) struct Touched {
    /// Its head after the batch; `None`: it is not there.
    pub(super) head: Option<Stored>,
    /// Whether the batch changes it.
    pub(super) changed: bool,
    /// Whether the batch removes it.
    pub(super) deleted: bool,
    /// Whether this is news for those who wait for a change.
    pub(super) wakes: bool,
    /// Its inbox after the batch, once somebody asked.
    inbox: Option<Vec<Waiting>>,
    /// The blobs that the batch adds.
    blobs: HashSet<BlobHash>,
}

/// An inbox item, as far as its keys go.
struct Waiting {
    place: u64,
    id: InboxId,
    sum: u64,
    length: usize,
}

impl<'a> Draft<'a> {
    pub(super) fn new(engine: &'a Engine, shared: &'a Shared, heads: &'a mut Heads) -> Self {
        Draft {
            engine,
            shared,
            heads,
            writes: Writes::default(),
            touched: HashMap::new(),
            owed: Vec::new(),
            changed: false,
            bytes: 0,
        }
    }

    /// Whether the batch is full, or the request wants to see its end: a removal reads what to remove from the tree, and
    /// a run that was removed begins anew with an empty tree.
    pub(super) fn ends_before(&self, request: &Request) -> bool {
        let deleted = |run| self.touched.get(run).is_some_and(|touched| touched.deleted);
        self.owed.len() >= REQUESTS
            || self.bytes >= BYTES
            || match request {
                Request::Append { parts, .. } => parts.iter().any(|part| deleted(&part.run)),
                Request::Claim { run, .. } | Request::Post { run, .. } => deleted(run),
                Request::Delete { run, .. } => self.touched.contains_key(run),
                Request::Look(_) => false,
            }
    }

    pub(super) fn take(&mut self, request: Request) {
        match request {
            Request::Append { parts, answer } => {
                let result = self.append(parts);
                self.owe(answer, result);
            }
            Request::Claim { run, answer } => {
                let result = self.claim(run);
                self.owe(answer, result);
            }
            Request::Post { run, id, item, answer } => {
                let result = self.post(run, id, &item);
                self.owe(answer, result);
            }
            Request::Delete { run, answer } => {
                let result = self.delete(run);
                self.owe(answer, result);
            }
            Request::Look(look) => look(self.engine),
        }
    }

    fn owe<T: Send + 'static>(&mut self, answer: Answer<T>, result: Result<T, Error>) {
        self.owed.push(Box::new(move |failed| reply(answer, failed.map_or(result, Err))));
    }

    fn append(&mut self, mut parts: Vec<Part>) -> Result<Vec<Appended>, Error> {
        self.shared.room_to_append()?;
        for part in &mut parts {
            self.touch(part.run)?;
            if !part.consumed.is_empty() {
                self.inbox(part.run)?;
            }
            let mut blobs = std::mem::take(&mut part.blobs).into_iter();
            part.blobs = blobs.try_fold(Vec::new(), |mut new, (hash, blob)| {
                if !self.readable(part.run, self.engine.has_blob(part.run, hash))? {
                    new.push((hash, blob));
                }
                Ok(new)
            })?;
        }
        Ok(parts.into_iter().map(|part| self.append_part(part)).collect())
    }

    fn append_part(&mut self, part: Part) -> Appended {
        let run = part.run;
        let touched = self.touched.entry(run).or_default();
        let Some(head) = &mut touched.head else {
            return Appended::Fenced { epoch: 0 };
        };
        if head.epoch != part.epoch {
            return Appended::Fenced { epoch: head.epoch };
        }
        if head.length != part.expected_length {
            return Appended::Misplaced { length: head.length };
        }
        head.version += 1;
        if let Some(columns) = part.columns {
            head.columns = columns;
        }
        touched.changed = true;
        self.changed = true;
        let begun = self.writes.len();
        if let Some(inbox) = &mut touched.inbox {
            for gone in inbox.extract_if(.., |waiting| part.consumed.contains(&waiting.id)) {
                head.inbox ^= gone.sum;
                keys::remove(&mut self.writes, &keys::item(run, gone.place), gone.length);
            }
        }
        for (hash, blob) in part.blobs {
            if touched.blobs.insert(hash) {
                head.blobs ^= keys::sum_of_blob(hash);
                self.bytes += keys::put_blob(&mut self.writes, run, hash, &blob);
            }
        }
        if part.frames.is_empty() {
            self.bytes += keys::put_head(&mut self.writes, run, head);
        } else {
            head.chain = part.chain;
            self.bytes += keys::put_pack(&mut self.writes, run, &part.frames, head);
        }
        self.writes.bind(begun);
        Appended::Done
    }

    fn claim(&mut self, run: RunId) -> Result<Head, Error> {
        self.touch(run)?;
        let touched = self.touched.entry(run).or_default();
        let head = touched.head.get_or_insert_default();
        head.version += 1;
        head.epoch += 1;
        (touched.changed, touched.wakes, self.changed) = (true, true, true);
        self.bytes += keys::put_head(&mut self.writes, run, head);
        Ok(head.to_head(run))
    }

    fn post(&mut self, run: RunId, id: InboxId, item: &Bytes) -> Result<(), Error> {
        self.shared.room_to_append()?;
        if self.touch(run)?.head.is_none() {
            return Err(Error::NotFound(run));
        }
        let inbox = self.inbox(run)?;
        if inbox.iter().any(|waiting| waiting.id == id) {
            return Ok(());
        }
        let place = inbox.last().map_or(0, |last| last.place + 1);
        let sum = keys::sum_of_item(place, id, item);
        inbox.push(Waiting { place, id, sum, length: item.len() });
        let begun = self.writes.len();
        self.bytes += keys::put_item(&mut self.writes, run, place, id, item);
        let touched = self.touched.entry(run).or_default();
        (touched.changed, touched.wakes, self.changed) = (true, true, true);
        if let Some(head) = &mut touched.head {
            head.version += 1;
            head.inbox ^= sum;
            self.bytes += keys::put_head(&mut self.writes, run, head);
        }
        self.writes.bind(begun);
        Ok(())
    }

    /// All of the run in one batch, so that it is gone at once or not at all. Damaged runs too, as far as they can be read.
    fn delete(&mut self, run: RunId) -> Result<(), Error> {
        let keys = self.readable(run, self.engine.keys(run.as_bytes()))?;
        self.heads.0.remove(&run);
        self.touched.insert(run, Touched { deleted: true, wakes: true, ..Touched::default() });
        let begun = self.writes.len();
        for key in keys {
            self.bytes += key.len();
            self.writes.remove(key);
        }
        self.writes.bind(begun);
        self.changed = true;
        Ok(())
    }

    /// The run as the draft has it.
    fn touch(&mut self, run: RunId) -> Result<&mut Touched, Error> {
        if !self.touched.contains_key(&run) {
            self.shared.undamaged(run)?;
            let head = match self.heads.0.remove(&run) {
                Some(head) => Some(head),
                None => self.readable(run, self.engine.head(run))?,
            };
            self.touched.insert(run, Touched { head, ..Touched::default() });
        }
        Ok(self.touched.entry(run).or_default())
    }

    /// The run's inbox as the draft has it.
    fn inbox(&mut self, run: RunId) -> Result<&mut Vec<Waiting>, Error> {
        if self.touch(run)?.inbox.is_none() {
            // Nothing in the batch has touched it yet, so the head still sums up what the tree has.
            let sum = self.touch(run)?.head.as_ref().map_or(0, |head| head.inbox);
            let items = self.readable(run, self.engine.items(run, sum))?;
            let waiting = |Item { place, id, sum, bytes }| Waiting { place, id, sum, length: bytes.len() };
            self.touch(run)?.inbox = Some(items.into_iter().map(waiting).collect());
        }
        Ok(self.touch(run)?.inbox.get_or_insert_default())
    }

    /// What cannot be read is damage to its run, and to no other.
    fn readable<T>(&self, run: RunId, read: Result<T, Trouble>) -> Result<T, Error> {
        read.map_err(|trouble| self.shared.found_damage(self.engine, run, trouble))
    }
}
