//! The one writer: everything that changes the store goes through this thread, in the order in which it was asked for.
//!
//! It takes what waits, makes one commit of it, writes that with one call, syncs, and answers. The longer a commit takes,
//! the more waits for the next one, so batches grow by themselves and no timer is needed; and where runs share a core with
//! this thread, they go first ([`Writer::gather`]). Always true:
//! - An answer is given after the commit that it speaks of, refusals included: they may rest on what the batch changes.
//! - What comes later in a batch sees what came earlier. The table has what is durable, and only that.
//! - A write or sync of the log that fails poisons: its waiters and all later ones get [`Error::Poisoned`], and nothing is
//!   tried again. After a failed sync nobody knows what is on the disk, and a second sync may say that all is well.
//!   A mark or checkpoint that cannot be written harms nobody, and poisons nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
};

use bytes::Bytes;

use super::{
    Shared,
    disk::Handle,
    queue::{Answer, Request, reply},
    record::{self, APART, BODY_MAX, CLOSED, COPY, Delta, Header, Kind, Mark, Name, Names, SECTOR, key_hash},
    replay::Replayed,
    scan::Segment,
    table::{Effect, Loc, Position, Table},
};
use crate::{
    run::RunId,
    store::{
        Act, Appended, Chain, Change, Changed, Columns, Error, Expected, Head, InboxId, Key, Part, Record, changed,
    },
};

/// How often the core is left to others before a commit, at most: each time may take as long as the system lets a
/// thread run.
const YIELDS: usize = 4;

/// How many requests go into one commit.
const REQUESTS: usize = 2048;

/// At how many bytes a commit takes no further request, so that it stays short; one request may be larger.
const BYTES: usize = 4 << 20;

/// The mark names what the commits in the last so many bytes changed, so that it can be told whose was lost if a file is
/// shorter than it was.
const MARKED: u64 = 64 << 10;

/// The writer, with what only it needs.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Where the next commit goes, unless a new segment is begun for it.
    current: Option<Current>,
    /// A segment that was closed cleanly and may be gone on with.
    closed: Option<(Segment, u64)>,
    next_segment: u32,
    next_seq: u64,
    mark: Option<Handle>,
    next_mark: u64,
    /// The ends of the newest commits, with what they changed.
    recent: VecDeque<(u64, Names)>,
    /// Taken from the queue and not yet in a commit.
    pending: VecDeque<Request>,
    /// How many requests the last commit answered.
    answered: usize,
}

struct Current {
    file: Handle,
    segment: Segment,
    offset: u64,
}

/// What is owed to one who asked, when the commit is durable.
type Due = Box<dyn FnOnce(Option<Error>) + Send>;

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, replayed: &Replayed) -> Self {
        let end = replayed.end.filter(|end| end.clean && end.length < shared.segment_bytes);
        let closed = end.and_then(|end| Some((replayed.segments.last()?.clone(), end.length)));
        Writer {
            recent: [(closed.as_ref().map_or(0, |(_, end)| *end), replayed.names.clone())].into(),
            current: None,
            closed,
            next_segment: replayed.next_segment,
            next_seq: replayed.next_seq,
            mark: None,
            next_mark: replayed.next_mark,
            pending: VecDeque::new(),
            answered: 0,
            shared,
        }
    }

    /// Serves until the queue is closed and empty, or the store is poisoned. What is returned can close the log.
    pub(super) fn run(mut self) -> Option<Closing> {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let failed = match served {
            Ok(Ok(())) => return Some(Closing(self)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the writer panicked".to_owned(),
        };
        let error = self.shared.poison(failed.into());
        self.pending.into_iter().for_each(|request| request.refuse(error.clone()));
        None
    }

    fn serve(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        loop {
            let idle = self.pending.is_empty();
            let open = shared.queue.take(&mut self.pending, idle);
            if !self.pending.is_empty() {
                self.gather();
                self.commit()?;
            }
            if !open && self.pending.is_empty() {
                return Ok(());
            }
        }
    }

    /// Lets those come who are about to ask. A commit costs the disk some pages and the core many switches, whatever it
    /// holds, and whoever was answered last soon asks again: so as long as there are several, and more come whenever the
    /// core is left to others, it is. That is no wait where nobody else wants the core, and a single run never gets here.
    fn gather(&mut self) {
        if self.answered.max(self.pending.len()) < 2 {
            return;
        }
        for _ in 0..YIELDS {
            let pending = self.pending.len();
            thread::yield_now();
            self.shared.queue.take(&mut self.pending, false);
            if self.pending.len() == pending {
                break;
            }
        }
    }

    /// Makes one commit of what is pending, and answers.
    fn commit(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let (salt, base) = self.place()?;
        let begin = self.next_seq;
        let Made { out, seq, effects, wrote, names, owed, woken } = {
            let table = shared.table.read().unwrap_or_else(PoisonError::into_inner);
            let mut out = record::Writer::new(salt, base);
            let header = Header::new(Kind::Commit, 0, begin, RunId::from_bytes([0; 16]), 0);
            out.record(header, |body| self.names(base, APART).write(body));
            let segment = self.current.as_ref().map_or(0, |current| current.segment.number);
            let mut draft = Drafted::new(&shared, &table, out, segment, begin);
            while let Some(request) = self.pending.pop_front() {
                if draft.ends_before(&request) {
                    self.pending.push_front(request);
                    break;
                }
                draft.take(request);
            }
            draft.finish()
        };
        self.answered = owed.len();
        if wrote {
            // Who waits is told even if this panics: what it drops, drops their senders.
            if let Err(error) = self.write(out, names) {
                let reason = shared.poison(error.to_string().into());
                owed.into_iter().for_each(|due| due(Some(reason.clone())));
                return Err(error);
            }
            self.next_seq = seq + 1;
            let mut table = shared.table.write().unwrap_or_else(PoisonError::into_inner);
            effects.into_iter().for_each(|effect| table.apply(effect));
            if let Some(current) = &self.current {
                table.position = Position { segment: current.segment.number, offset: current.offset };
            }
            table.seq = seq;
        }
        owed.into_iter().for_each(|due| due(None));
        woken.into_iter().for_each(|run| shared.wakes.wake(run));
        Ok(())
    }

    /// The salt of the segment that the next commit goes to, and where in it that begins. A full segment is followed by a new one.
    fn place(&mut self) -> io::Result<(u64, u64)> {
        if self.current.as_ref().is_some_and(|current| current.offset >= self.shared.segment_bytes) {
            self.current = None;
        }
        let current = match self.current.take() {
            Some(current) => current,
            None => self.next_current()?,
        };
        let place = (current.segment.salt, current.offset);
        self.current = Some(current);
        Ok(place)
    }

    fn next_current(&mut self) -> io::Result<Current> {
        let (disk, paths) = (&self.shared.disk, &self.shared.paths);
        if let Some((segment, offset)) = self.closed.take() {
            return Ok(Current { file: disk.open(&segment.path)?, segment, offset });
        }
        let segment = Segment::new(&paths.log, self.next_segment);
        let file = disk.create(&segment.path)?;
        file.write_at(&record::segment(), 0)?;
        file.sync()?;
        disk.sync_dir(&paths.log)?;
        self.next_segment += 1;
        // What the last commit of the segment before changed is named once in this one.
        self.recent.drain(..self.recent.len().saturating_sub(1));
        self.recent.iter_mut().for_each(|(end, _)| *end = 0);
        self.shared.log.add(segment.clone());
        Ok(Current { file, segment, offset: SECTOR })
    }

    /// What the commits changed that end less than `window` in front of `at`, and always the last one.
    fn names(&self, at: u64, window: u64) -> Names {
        let first = at <= SECTOR;
        let near = |end: u64| if end == 0 { first || window > APART } else { at.saturating_sub(end) < window };
        let mut runs = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for (_, names) in self.recent.iter().filter(|(end, _)| near(*end)) {
            runs.extend(names.runs.iter().map(|name| (name.run, *name)));
            keys.extend(names.keys.iter().copied());
        }
        Names { runs: runs.into_values().collect(), keys: keys.into_iter().collect() }
    }

    /// Makes a commit durable.
    fn write(&mut self, out: record::Writer, names: Names) -> io::Result<()> {
        let bytes = out.finish();
        let current = self.current.as_mut().ok_or(io::ErrorKind::NotFound)?;
        current.file.write_at(&bytes, current.offset)?;
        current.file.sync()?;
        if current.file.is_removed()? {
            let dir = self.shared.paths.dir.display();
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{dir} was removed")));
        }
        current.offset += bytes.len() as u64;
        let (end, salt) = (current.offset, current.segment.salt);
        while self.recent.front().is_some_and(|(before, _)| end.saturating_sub(*before) >= MARKED) {
            self.recent.pop_front();
        }
        self.recent.push_back((end, names));
        let mark = Mark { number: self.next_mark, salt, end, names: self.names(end, MARKED) };
        self.next_mark += 1;
        self.note(&mark);
        self.shared.written(bytes.len() as u64);
        Ok(())
    }

    /// Writes the mark. Nobody needs it but who finds the last commit damaged, so what fails here is only told.
    fn note(&mut self, mark: &Mark) {
        let shared = &self.shared;
        let (offset, bytes) = mark.write();
        let noted = match &self.mark {
            Some(file) => file.write_at(&bytes, offset),
            None => {
                shared.disk.open(&shared.paths.mark).and_then(|file| self.mark.insert(file).write_at(&bytes, offset))
            }
        };
        if let Err(error) = noted
            && !shared.mark_failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(%error, file = %shared.paths.mark.display(), "the mark of the log cannot be written");
        }
    }
}

/// A log that nothing more will be written to, but that it is closed.
pub(super) struct Closing(Writer);

impl Closing {
    /// Writes that the log was closed; not if this process has not written to it.
    pub(super) fn close(mut self) {
        if self.0.current.is_none() {
            return;
        }
        let closed = self.0.place().and_then(|(salt, base)| {
            let mut out = record::Writer::new(salt, base);
            let header = Header::new(Kind::Commit, CLOSED, self.0.next_seq, RunId::from_bytes([0; 16]), 0);
            let names = self.0.names(base, APART);
            out.record(header, |body| names.write(body));
            self.0.write(out, Names::default())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the log could not be closed; the next opening looks more closely");
        }
    }
}

/// A commit in the making: checks each request against what the table has and what the commit already changes.
///
/// A request is checked in full before anything of it enters the commit, so one that is refused leaves no trace.
struct Drafted<'a> {
    shared: &'a Shared,
    table: &'a Table,
    out: record::Writer,
    segment: u32,
    /// The last sequence number given.
    seq: u64,
    runs: HashMap<RunId, Touched>,
    records: HashMap<Key, (u64, Option<Record>)>,
    effects: Vec<Effect>,
    /// Whether there is anything to write.
    wrote: bool,
    names: Names,
    owed: Vec<Due>,
    woken: Vec<RunId>,
}

/// A commit that is ready to be written.
struct Made {
    out: record::Writer,
    seq: u64,
    effects: Vec<Effect>,
    wrote: bool,
    names: Names,
    owed: Vec<Due>,
    woken: Vec<RunId>,
}

/// A run in a commit.
#[derive(Default)]
struct Touched {
    /// `None`: it is not there.
    now: Option<Now>,
    deleted: bool,
    changed: bool,
}

/// A run as the commit has it.
#[derive(Default)]
struct Now {
    epoch: u64,
    length: u64,
    chain: Chain,
    seq: u64,
    born: u64,
    /// If the commit changes them.
    columns: Option<Columns>,
    /// What waits in the inbox, once somebody asked.
    inbox: Option<Vec<InboxId>>,
}

impl<'a> Drafted<'a> {
    fn new(shared: &'a Shared, table: &'a Table, out: record::Writer, segment: u32, seq: u64) -> Self {
        Drafted {
            shared,
            table,
            out,
            segment,
            seq,
            runs: HashMap::new(),
            records: HashMap::new(),
            effects: Vec::new(),
            wrote: false,
            names: Names::default(),
            owed: Vec::new(),
            woken: Vec::new(),
        }
    }

    /// Whether the commit is full, or the request is about a run that it removes: that begins anew with an empty one.
    fn ends_before(&self, request: &Request) -> bool {
        let deleted = |run: &RunId| self.runs.get(run).is_some_and(|touched| touched.deleted);
        self.owed.len() >= REQUESTS
            || self.out.bytes.len() >= BYTES
            || match request {
                Request::Append { parts, .. } => parts.iter().any(|part| deleted(&part.run)),
                Request::Claim { run, .. } | Request::Post { run, .. } | Request::Delete { run, .. } => deleted(run),
                Request::Change { .. } => false,
                // What it copies must not be older than what the commit has.
                Request::Copy { .. } => !self.owed.is_empty(),
            }
    }

    fn take(&mut self, request: Request) {
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
                let result = self.post(run, id, item);
                self.owe(answer, result);
            }
            Request::Delete { run, answer } => {
                let result = self.delete(run);
                self.owe(answer, result);
            }
            Request::Change { changes, answer } => {
                let result = self.change(changes);
                self.owe(answer, result);
            }
            Request::Copy { records, last, answer } => {
                self.copy(records, last);
                self.owe(answer, Ok(()));
            }
        }
    }

    fn owe<T: Send + 'static>(&mut self, answer: Answer<T>, result: Result<T, Error>) {
        self.owed.push(Box::new(move |failed| reply(answer, failed.map_or(result, Err))));
    }

    /// What came of it, with the names of what it changes.
    fn finish(mut self) -> Made {
        for (run, Touched { now, deleted, changed }) in self.runs.drain() {
            match now {
                Some(Now { seq, length, chain, .. }) if changed => {
                    self.names.runs.push(Name { run, seq, length, chain });
                }
                None if deleted => {
                    let name = Name { run, seq: self.seq, length: Name::DELETED, chain: Chain::default() };
                    self.names.runs.push(name);
                }
                _ => {}
            }
        }
        self.wrote |= !self.effects.is_empty();
        self.names.keys = self.records.drain().map(|(key, (seq, _))| (key_hash(&key), seq)).collect();
        let Drafted { out, seq, effects, wrote, names, owed, woken, .. } = self;
        Made { out, seq, effects, wrote, names, owed, woken }
    }

    fn append(&mut self, parts: Vec<Part>) -> Result<Vec<Appended>, Error> {
        self.shared.room_to_append()?;
        for part in &parts {
            self.touch(part.run)?;
            self.known(&part.records)?;
            let size = part.frames.iter().chain(part.blobs.iter().map(|(_, blob)| blob)).map(Bytes::len).sum();
            if size > BODY_MAX {
                return Err(Error::TooLarge { bytes: size });
            }
        }
        Ok(parts.into_iter().map(|part| self.append_part(part)).collect())
    }

    fn append_part(&mut self, part: Part) -> Appended {
        let Some(now) = self.runs.get(&part.run).and_then(|touched| touched.now.as_ref()) else {
            return Appended::Fenced { epoch: 0 };
        };
        if now.epoch != part.epoch {
            return Appended::Fenced { epoch: now.epoch };
        }
        if now.length != part.expected_length {
            return Appended::Misplaced { length: now.length };
        }
        let records = match changed(&part.records, |key| self.record(key)) {
            Ok(records) => records.into_iter().collect(),
            Err(Changed::Refused { change, found }) => return Appended::Refused { change, found },
            Err(Changed::Done) => Vec::new(),
        };
        let (epoch, mut length, mut chain) = (now.epoch, now.length, now.chain);
        if !part.frames.is_empty() {
            length += part.frames.len() as u64;
            chain = part.chain;
        }
        let consumed = match part.consumed.is_empty() {
            true => Vec::new(),
            false => {
                let inbox = self.inbox(part.run);
                part.consumed.into_iter().filter(|id| inbox.contains(id)).collect()
            }
        };
        let Part { run, frames, blobs, columns, .. } = part;
        let delta = Delta { epoch, length, chain, columns, posted: None, consumed, records, frames, blobs };
        self.write(run, delta);
        Appended::Done
    }

    fn claim(&mut self, run: RunId) -> Result<Head, Error> {
        let touched = self.touch(run)?;
        let now = touched.now.get_or_insert_default();
        let delta = Delta { epoch: now.epoch + 1, length: now.length, chain: now.chain, ..Delta::default() };
        let (epoch, length, chain, columns) = (delta.epoch, delta.length, delta.chain, now.columns.clone());
        self.write(run, delta);
        self.woken.push(run);
        let known = || self.table.runs.get(&run).map(|run| run.columns.clone()).unwrap_or_default();
        Ok(Head { run, epoch, length, chain, damage: None, columns: columns.unwrap_or_else(known) })
    }

    fn post(&mut self, run: RunId, id: InboxId, item: Bytes) -> Result<(), Error> {
        self.shared.room_to_append()?;
        let Some(now) = &self.touch(run)?.now else { return Err(Error::NotFound(run)) };
        if item.len() > BODY_MAX {
            return Err(Error::TooLarge { bytes: item.len() });
        }
        let (epoch, length, chain) = (now.epoch, now.length, now.chain);
        if self.inbox(run).contains(&id) {
            return Ok(());
        }
        self.write(run, Delta { epoch, length, chain, posted: Some((id, item)), ..Delta::default() });
        self.woken.push(run);
        Ok(())
    }

    /// Adds a change of a run that is there, or begins with it.
    fn write(&mut self, run: RunId, mut delta: Delta) {
        self.seq += 1;
        let touched = self.runs.entry(run).or_default();
        let now = touched.now.get_or_insert_default();
        let header = Header::new(Kind::Delta, 0, self.seq, run, now.seq);
        let (offset, length) = self.out.record(header, |body| delta.write(body));
        let loc = Loc {
            seq: self.seq,
            segment: self.segment,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            length,
            frames: u32::try_from(delta.frames.len()).unwrap_or(u32::MAX),
            blobs: !delta.blobs.is_empty(),
        };
        touched.changed = true;
        if now.born == 0 {
            now.born = self.seq;
        }
        (now.seq, now.epoch, now.length, now.chain) = (self.seq, delta.epoch, delta.length, delta.chain);
        if let Some(columns) = &mut delta.columns {
            for text in [&mut columns.status, &mut columns.agent] {
                text.truncate(record::cut(text).len());
            }
            now.columns = Some(columns.clone());
        }
        if let Some(inbox) = &mut now.inbox {
            inbox.retain(|id| !delta.consumed.contains(id));
            inbox.extend(delta.posted.iter().map(|(id, _)| *id));
        }
        for (key, record) in &delta.records {
            self.records.insert(key.clone(), (self.seq, record.clone()));
        }
        (delta.frames, delta.blobs) = (Vec::new(), Vec::new());
        self.effects.push(Effect::Delta(header, Box::new(delta), loc));
    }

    /// Damaged runs too.
    fn delete(&mut self, run: RunId) -> Result<(), Error> {
        let there = match self.runs.get(&run) {
            Some(touched) => touched.now.is_some(),
            None => self.table.runs.contains_key(&run),
        };
        if there {
            self.seq += 1;
            let header = Header::new(Kind::Delete, 0, self.seq, run, 0);
            self.out.record(header, |_| {});
            self.effects.push(Effect::Delete(header));
            self.runs.insert(run, Touched { deleted: true, ..Touched::default() });
        }
        self.woken.push(run);
        Ok(())
    }

    fn change(&mut self, changes: Vec<Change>) -> Result<Changed, Error> {
        self.shared.room_to_append()?;
        self.known(&changes)?;
        let records: Vec<_> = match changed(&changes, |key| self.record(key)) {
            Ok(records) => records.into_iter().collect(),
            Err(refused) => return Ok(refused),
        };
        if records.is_empty() {
            return Ok(Changed::Done);
        }
        self.seq += 1;
        let header = Header::new(Kind::Records, 0, self.seq, RunId::from_bytes([0; 16]), 0);
        self.out.record(header, |body| record::write_records(body, &records));
        for (key, record) in &records {
            self.records.insert(key.clone(), (self.seq, record.clone()));
        }
        self.effects.push(Effect::Records(self.seq, records));
        Ok(Changed::Done)
    }

    /// Writes records of runs again that are still of use, and all records that callers keep.
    fn copy(&mut self, records: Vec<(Header, Bytes)>, last: bool) {
        for (header, body) in records {
            let run = self.table.runs.get(&header.run);
            if run.is_some_and(|run| run.born <= header.seq && header.seq <= run.seq) {
                self.wrote = true;
                let copy = Header::new(header.kind, header.flags | COPY, header.seq, header.run, header.prev);
                self.out.record(copy, |out| out.extend_from_slice(&body));
            }
        }
        if !last {
            return;
        }
        self.wrote = true;
        self.seq += 1;
        let header = Header::new(Kind::AllRecords, 0, self.seq, RunId::from_bytes([0; 16]), 0);
        let kept = self.table.records.iter();
        let kept = kept.filter_map(|(key, kept)| Some((key, kept.seq, kept.record.as_ref()?)));
        self.out.record(header, |body| record::write_all_records(body, kept));
    }

    /// The run as the commit has it.
    fn touch(&mut self, run: RunId) -> Result<&mut Touched, Error> {
        if !self.runs.contains_key(&run) {
            let now = match self.table.runs.get(&run) {
                None => None,
                Some(found) => {
                    if let Some(reason) = &found.damage {
                        return Err(Error::Damaged { run, reason: reason.clone() });
                    }
                    let (epoch, length, chain) = (found.epoch, found.length, found.chain);
                    Some(Now { epoch, length, chain, seq: found.seq, born: found.born, columns: None, inbox: None })
                }
            };
            self.runs.insert(run, Touched { now, ..Touched::default() });
        }
        Ok(self.runs.entry(run).or_default())
    }

    /// What waits in the inbox of a run that was touched.
    fn inbox(&mut self, run: RunId) -> HashSet<InboxId> {
        let table = self.table;
        let Some(now) = self.runs.get_mut(&run).and_then(|touched| touched.now.as_mut()) else { return HashSet::new() };
        // Of a run that this commit begins, the table has at most an older one of the same name.
        let known = || table.runs.get(&run).filter(|found| found.born == now.born).map(|found| &found.inbox);
        let known = known().into_iter().flatten().map(|(id, _)| *id).collect();
        now.inbox.get_or_insert(known).iter().copied().collect()
    }

    fn record(&self, key: &Key) -> Option<Record> {
        match self.records.get(key) {
            Some((_, record)) => record.clone(),
            None => self.table.records.get(key)?.record.clone(),
        }
    }

    /// Refuses changes that ask what a damaged record was.
    fn known(&self, changes: &[Change]) -> Result<(), Error> {
        if self.table.lost.is_empty() {
            return Ok(());
        }
        let asks = |act: &Act| !matches!(act, Act::Set { expected: Expected::Any, .. });
        let lost = |key: &Key| !self.records.contains_key(key) && self.table.lost.contains(&key_hash(key));
        match changes.iter().find(|Change { key, act }| asks(act) && lost(key)) {
            Some(Change { key, .. }) => Err(Error::DamagedRecord(key.clone())),
            None => Ok(()),
        }
    }
}
