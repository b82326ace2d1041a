//! Reads the log into a table: from the newest image on, or all of it.
//!
//! ```text
//! image ─► segments from there on ─► records, in their order ─► table
//!                                    names of what there was ─► damage
//! ```
//! A record belongs behind the one that it names as the one before it of the same run. One that is there already is passed
//! over (compaction writes copies); one whose place is not there yet waits for it (compaction moves the beginning of a run
//! behind its end). What still waits at the end has lost what was before it.
//!
//! **What is damage and what is a torn tail.** A commit is written after the one before it is durable. So all in front of
//! the last commit record was durable, and so was all in front of the mark; bytes there that cannot be read are damage.
//! Behind both is the one commit that may not have been acknowledged: it counts up to the first byte that is not right, and
//! what follows is a torn tail, which is none of it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::Disk,
    image,
    record::{
        CLOSED, COPY, Delta, Header, KeyHash, Kind, Mark, Name, Names, Reader, SECTOR, key_hash, read_all_records,
        read_records, up,
    },
    scan::{Item, Scan, Segment, segments},
    table::{Effect, Loc, Position, Table},
};
use crate::{
    run::RunId,
    store::{Chain, Error, Key, Record},
};

/// The files of a store.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    pub(super) log: PathBuf,
    pub(super) mark: PathBuf,
    pub(super) copy: PathBuf,
}

impl Paths {
    pub(super) fn of(dir: &Path) -> Self {
        Paths { dir: dir.to_owned(), log: dir.join("log"), mark: dir.join("mark"), copy: dir.join("sled") }
    }
}

/// How much of the log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// What is not in the image.
    Image,
    /// All of it.
    Beginning,
}

/// A log that was read.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) table: Table,
    pub(super) segments: Vec<Segment>,
    /// How the last segment ends; `None` when there is none.
    pub(super) end: Option<End>,
    /// Larger than any sequence number that was ever given.
    pub(super) next_seq: u64,
    pub(super) next_segment: u32,
    pub(super) next_mark: u64,
    /// What the last commit changed.
    pub(super) names: Names,
    /// Unreadable bytes that took nothing with them.
    pub(super) noise: Vec<Arc<str>>,
    /// How many bytes of the log were read.
    pub(super) read: u64,
    /// Whether there are some that the disk could not read.
    pub(super) unread: bool,
}

/// How the last segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Whether the store was closed behind it.
    pub(super) clean: bool,
    /// Where its last record ends, or the bytes that are known to have been one.
    pub(super) offset: u64,
    /// The length of the file.
    pub(super) length: u64,
}

/// Reads a log. Changes nothing.
///
/// # Errors
/// [`Error::Unusable`] when its directory cannot be read, or a later agentd wrote it.
pub(super) fn replay(disk: &Disk, paths: &Paths, from: From) -> Result<Replayed, Error> {
    let unusable = |error: io::Error| Error::Unusable(format!("{}: {error}", paths.log.display()).into());
    let segments = segments(&paths.log).map_err(unusable)?;
    let marked = disk.read(&paths.mark).and_then(|file| file.read_at(usize::try_from(file.length()?).unwrap_or(0), 0));
    let mark = marked.ok().and_then(|bytes| Mark::read(&bytes));
    let mut fold = Fold::default();
    if from == From::Image {
        match image::read(disk, &paths.dir) {
            Ok(table) => fold.table = table,
            Err(image::Missing::Never) => {}
            Err(image::Missing::Damaged(why)) => fold.noise.push(format!("{why}; the log is read instead").into()),
        }
    }
    let begin = fold.table.position;
    (fold.seq, fold.row, fold.base) = (fold.table.seq, fold.table.seq, fold.table.seq);
    // What the first commit of a log that lost its beginning to compaction names is not there any more.
    fold.headless = begin.segment == 0 && segments.first().is_some_and(|segment| segment.number > 1);
    let known = mark.as_ref().filter(|mark| segments.iter().any(|segment| segment.salt == mark.salt));
    if known.is_none() && mark.as_ref().is_some_and(|mark| !mark.names.runs.is_empty()) {
        fold.faults.push(format!("{}: the segment that was written last is missing", paths.log.display()).into());
    }
    let marked = |which: fn(&Name) -> bool| {
        let names = mark.as_ref().map(|mark| mark.names.clone()).unwrap_or_default();
        Names { runs: names.runs.into_iter().filter(which).collect(), keys: names.keys }
    };
    // The log may know of later changes, deletions among them.
    fold.names(&marked(|name| name.length != Name::DELETED));
    let (mut end, mut read, mut expected) = (None, 0, (begin.segment > 0).then_some(begin.segment));
    for (index, segment) in segments.iter().enumerate() {
        if segment.number < begin.segment {
            continue;
        }
        if let Some(expected) = expected.filter(|expected| *expected < segment.number) {
            let missing = segment.number - expected;
            fold.faults.push(format!("{}: {missing} segments are missing before it", segment.path.display()).into());
        }
        expected = Some(segment.number + 1);
        let offset = if segment.number == begin.segment { begin.offset } else { 0 };
        let last = index + 1 == segments.len();
        let ended = fold.segment(disk, segment, offset, mark.as_ref(), last)?;
        read += ended.length.saturating_sub(offset);
        end = Some(ended);
    }
    // Of deletions it is the last that is heard.
    fold.names(&marked(|name| name.length == Name::DELETED));
    let newest = segments.last().map_or(0, |segment| segment.number).max(begin.segment);
    fold.finish();
    let names = fold.last_names(known.map(|mark| &mark.names));
    fold.table.tidy();
    let Fold { mut table, faults, noise, mut seq, unread, .. } = fold;
    if unread {
        // There may be numbers among it that were given.
        seq += 1 << 32;
    }
    if let (Some(end), Some(segment)) = (end, segments.last()) {
        table.position = Position { segment: segment.number, offset: end.offset };
    }
    table.seq = seq;
    table.faults.extend(faults);
    Ok(Replayed {
        table,
        segments,
        end,
        next_seq: seq + 1,
        next_segment: newest + 1,
        next_mark: mark.map_or(0, |mark| mark.number) + 1,
        names,
        noise,
        read,
        unread,
    })
}

/// A log on its way into a table.
#[derive(Default)]
struct Fold {
    table: Table,
    /// Records whose place is not there yet, by run and the record that they follow.
    waiting: HashMap<RunId, BTreeMap<u64, (Header, Delta, Loc)>>,
    /// The last that is known of each run, whatever of it can be read.
    named: HashMap<RunId, Named>,
    named_keys: HashMap<KeyHash, u64>,
    /// The largest sequence number that was seen or named, and the last one in the row.
    seq: u64,
    row: u64,
    /// What is in the image.
    base: u64,
    headless: bool,
    /// What the last commit changed that changed anything.
    touched: (Vec<RunId>, Vec<Key>),
    fresh: bool,
    unread: bool,
    faults: Vec<Arc<str>>,
    noise: Vec<Arc<str>>,
}

#[derive(Debug, Clone)]
struct Named {
    seq: u64,
    /// How many frames it had, and how its chain ended, if that is known.
    last: Option<(u64, Chain)>,
    /// Where what is missing should be, if that is known.
    place: Option<Arc<str>>,
}

impl Fold {
    fn segment(
        &mut self,
        disk: &Disk,
        segment: &Segment,
        from: u64,
        mark: Option<&Mark>,
        last: bool,
    ) -> Result<End, Error> {
        let file = segment.path.display();
        let mut scan = match Scan::open(disk, segment, from) {
            Ok(scan) => scan,
            Err(error) => {
                self.unread = true;
                self.faults.push(format!("{file}: {error}").into());
                return Ok(End { clean: false, offset: from, length: from });
            }
        };
        if scan.unread > 0 {
            self.unread = true;
            self.noise.push(format!("{file}: the disk cannot read {} bytes of it", scan.unread).into());
        }
        let mut items: Vec<Item> = Vec::new();
        let durable = match last {
            // All of it was, or the next segment would not have been begun.
            false => u64::MAX,
            true => {
                items.extend(&mut scan);
                let commits = items.iter().rev().filter_map(|item| match item {
                    Item::Record(header, loc, _) if header.kind == Kind::Commit => Some(u64::from(loc.offset)),
                    _ => None,
                });
                let marked = mark.filter(|mark| mark.salt == segment.salt).map_or(0, |mark| mark.end);
                commits.take(1).fold(marked, u64::max)
            }
        };
        let mut end = End { clean: false, offset: from, length: scan.end() };
        let mut take = |item: Item| -> bool {
            let (begin, behind) = item.range();
            let whole = matches!(item, Item::Record(..));
            if !whole && begin >= durable {
                return false;
            }
            end.offset = behind.min(end.length);
            end.clean =
                matches!(&item, Item::Record(header, ..) if header.kind == Kind::Commit && header.flags & CLOSED != 0);
            match item {
                Item::Record(header, loc, body) => self.record(segment, header, loc, &body),
                Item::Broken(header, loc) => self.broken(segment, header, loc),
                Item::Noise(from, to) => {
                    let noise = format!("{file}: {} bytes at offset {from} are no record", to - from);
                    self.noise.push(noise.into());
                }
            }
            true
        };
        match last {
            true => {
                let _ = items.into_iter().all(&mut take);
            }
            false => {
                let _ = scan.by_ref().all(&mut take);
            }
        }
        if scan.newer {
            return Err(Error::Unusable(format!("{file}: a later agentd wrote it, which has to open it").into()));
        }
        if last && durable > end.offset && durable != u64::MAX {
            // The file is shorter than it was.
            end.offset = durable.min(end.length);
            if durable > end.length {
                self.faults.push(format!("{file}: it ends at {} and not at {durable}", end.length).into());
            }
        }
        end.clean &= up(end.offset, SECTOR) == end.length;
        Ok(end)
    }

    fn record(&mut self, segment: &Segment, header: Header, loc: Loc, body: &bytes::Bytes) {
        self.count(segment, &header, loc);
        let read = match header.kind {
            Kind::Commit => Names::read(body).map(|names| {
                self.fresh |= header.flags & CLOSED == 0;
                if !std::mem::take(&mut self.headless) {
                    self.names(&names);
                }
            }),
            Kind::Delta => Delta::read(body).map(|delta| self.delta(header, delta, loc)),
            Kind::Delete => {
                self.delete(header);
                Some(())
            }
            Kind::Records => read_records(body).map(|records| {
                self.touch(None, &records);
                self.table.set(header.seq, records, true);
            }),
            Kind::AllRecords => read_all_records(&mut Reader(body)).map(|records| {
                for (key, seq, record) in records {
                    self.table.set(seq, vec![(key, record)], true);
                }
            }),
        };
        if read.is_none() {
            self.broken(segment, header, loc);
        }
    }

    /// Notices records that are missing from the row.
    fn count(&mut self, segment: &Segment, header: &Header, loc: Loc) {
        self.seq = self.seq.max(header.seq);
        if header.flags & COPY != 0 {
            return;
        }
        if self.row > 0 && header.seq > self.row + 1 {
            let missing = header.seq - self.row - 1;
            let place = format!("{} before offset {}", segment.path.display(), loc.offset);
            self.faults.push(format!("{place}: {missing} records are missing").into());
        }
        self.row = self.row.max(header.seq);
    }

    fn broken(&mut self, segment: &Segment, header: Header, loc: Loc) {
        self.count(segment, &header, loc);
        let place: Arc<str> = format!("{} at offset {}", segment.path.display(), loc.offset).into();
        if matches!(header.kind, Kind::Delta) {
            let named = Named { seq: header.seq, last: None, place: Some(place.clone()) };
            self.name(header.run, named);
        }
        let what =
            if header.kind == Kind::Delta { format!("run {}", header.run) } else { format!("{:?}", header.kind) };
        self.noise.push(format!("{place}: a record ({what}) is not what it was").into());
        if header.kind == Kind::Records || header.kind == Kind::AllRecords {
            self.faults.push(format!("{place}: changes of records are lost").into());
        }
    }

    fn delta(&mut self, header: Header, mut delta: Delta, loc: Loc) {
        let loc = Loc {
            frames: u32::try_from(delta.frames.len()).unwrap_or(u32::MAX),
            blobs: !delta.blobs.is_empty(),
            ..loc
        };
        (delta.frames, delta.blobs) = (Vec::new(), Vec::new());
        // They are whole, whatever was lost of the run; and a copy is older than they may be by now.
        let records = std::mem::take(&mut delta.records);
        if header.flags & COPY == 0 {
            self.touch(Some(header.run), &records);
            self.table.set(header.seq, records, true);
        }
        match self.table.runs.get(&header.run) {
            Some(run) if header.seq <= run.seq => {}
            Some(run) if header.prev == run.seq => self.put(header, delta, loc),
            None if header.prev == 0 => self.put(header, delta, loc),
            _ => drop(self.waiting.entry(header.run).or_default().insert(header.prev, (header, delta, loc))),
        }
    }

    fn put(&mut self, header: Header, delta: Delta, loc: Loc) {
        let (id, mut seq) = (header.run, header.seq);
        self.table.apply(Effect::Delta(header, Box::new(delta), loc));
        if let Some(waiting) = self.waiting.get_mut(&id) {
            while let Some((header, delta, loc)) = waiting.remove(&seq) {
                seq = header.seq;
                self.table.apply(Effect::Delta(header, Box::new(delta), loc));
            }
            if waiting.is_empty() {
                self.waiting.remove(&id);
            }
        }
    }

    /// Remembers what the newest commit changes.
    fn touch(&mut self, run: Option<RunId>, records: &[(Key, Option<Record>)]) {
        if std::mem::take(&mut self.fresh) {
            self.touched = Default::default();
        }
        self.touched.0.extend(run);
        self.touched.1.extend(records.iter().map(|(key, _)| key.clone()));
    }

    /// How what the newest commit changed stands now, and what the mark named; as the mark had it where that was lost, so
    /// that the loss goes on being known.
    fn last_names(&self, marked: Option<&Names>) -> Names {
        let mut runs: BTreeMap<RunId, Name> = BTreeMap::new();
        let mut keys: BTreeMap<KeyHash, u64> = BTreeMap::new();
        for name in marked.into_iter().flat_map(|names| &names.runs) {
            let found = self.table.runs.get(&name.run);
            if found.is_some_and(|run| run.damage.is_some()) || (found.is_none() && name.length == Name::DELETED) {
                runs.insert(name.run, *name);
            }
        }
        keys.extend(marked.into_iter().flat_map(|names| &names.keys).copied());
        for run in self.touched.0.iter().chain(marked.into_iter().flat_map(|names| &names.runs).map(|name| &name.run)) {
            if let Some(found) = self.table.runs.get(run).filter(|run| run.damage.is_none()) {
                let name = Name { run: *run, seq: found.seq, length: found.length, chain: found.chain };
                runs.insert(*run, name);
            }
        }
        for key in &self.touched.1 {
            keys.extend(self.table.records.get(key).map(|kept| (key_hash(key), kept.seq)));
        }
        Names { runs: runs.into_values().collect(), keys: keys.into_iter().collect() }
    }

    fn delete(&mut self, header: Header) {
        if self.table.runs.get(&header.run).is_some_and(|run| run.seq < header.seq) {
            self.table.apply(Effect::Delete(header));
        }
        if let Some(waiting) = self.waiting.get_mut(&header.run) {
            waiting.retain(|_, (waiting, _, _)| waiting.seq > header.seq);
        }
        if self.named.get(&header.run).is_some_and(|named| named.seq < header.seq) {
            self.named.remove(&header.run);
        }
    }

    fn names(&mut self, names: &Names) {
        let base = self.base;
        for Name { run, seq, length, chain } in names.runs.iter().filter(|name| name.seq > base) {
            self.seq = self.seq.max(*seq);
            match *length {
                Name::DELETED => self.delete(Header::new(Kind::Delete, 0, *seq, *run, 0)),
                length => self.name(*run, Named { seq: *seq, last: Some((length, *chain)), place: None }),
            }
        }
        for (hash, seq) in names.keys.iter().filter(|(_, seq)| *seq > base) {
            self.seq = self.seq.max(*seq);
            let named = self.named_keys.entry(*hash).or_default();
            *named = (*named).max(*seq);
        }
    }

    fn name(&mut self, run: RunId, named: Named) {
        match self.named.get_mut(&run) {
            None => drop(self.named.insert(run, named)),
            Some(known) => {
                if named.seq >= known.seq {
                    known.seq = named.seq;
                    known.last = named.last.or(known.last);
                }
                known.place = named.place.or(known.place.take());
            }
        }
    }

    /// Says which runs and records have lost something.
    fn finish(&mut self) {
        for (run, waiting) in std::mem::take(&mut self.waiting) {
            let Some((_, (header, delta, _))) = waiting.into_iter().next_back() else { continue };
            let found = self.table.runs.entry(run).or_default();
            if let Some(columns) = delta.columns {
                found.columns = columns;
            }
            found.epoch = found.epoch.max(delta.epoch);
            self.name(run, Named { seq: header.seq, last: Some((delta.length, delta.chain)), place: None });
        }
        for (run, Named { seq, last, place }) in std::mem::take(&mut self.named) {
            let found = self.table.runs.entry(run).or_default();
            let same = last.is_none_or(|last| last == (found.length, found.chain));
            if found.seq > seq || (found.seq == seq && same) {
                continue;
            }
            let have = found.length;
            if let Some((length, chain)) = last.filter(|(length, _)| *length >= have) {
                (found.length, found.chain) = (length, chain);
            }
            let place = place.map(|place| format!(": {place}")).unwrap_or_default();
            let lost = match found.length - have {
                0 => "a change of it cannot be read".to_owned(),
                _ => format!("it has {have} of {} entries", found.length),
            };
            found.damage.get_or_insert(format!("{lost}{place}").into());
        }
        if !self.named_keys.is_empty() {
            for (key, kept) in &self.table.records {
                let hash = key_hash(key);
                if self.named_keys.get(&hash).is_some_and(|seq| kept.seq >= *seq) {
                    self.named_keys.remove(&hash);
                }
            }
            self.table.lost.extend(std::mem::take(&mut self.named_keys).into_keys());
        }
    }
}
