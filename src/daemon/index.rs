//! The file `index` of a slot: what listings show of its runs, for those who cannot open its store or need not.
//!
//! ```text
//! append, delete, damage ─► Indexed (a store that looks on) ─► rows ─► a line of slot/index
//! ```
//! A line is a change: of several about one run the last one holds. Each change costs its line, however many runs there
//! are; the whole file is written when a slot is taken, and when most of its lines are outdated. Always true:
//! - A file whose last line says that it is closed is exact: it was written by the holder of the slot, and whoever takes the
//!   slot removes it first.
//! - Any other counts only while its writer holds the slot. Afterwards the store must be opened, which makes a new one.
//! - A row never shows what is not durable, and a run that is driven is marked before anything is done with it.
//! - A line that could not be written is followed by none: the next change writes the file anew.
//!
//! Nothing is synced: after a power cut the file is not closed, or its last line is torn, and the store is opened.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    run::{RunId, Status, Time},
    store::{Appended, BlobHash, BoxFuture, Columns, Error, Head, InboxId, Part, Store},
};

/// The file's name in the directory of a slot.
const FILE: &str = "index";

/// The form of the file that this version reads and writes.
const VERSION: u32 = 2;

/// How many lines a file may have for each run, and more than that, before it is written anew.
const LINES_PER_RUN: usize = 8;
const LINES_MIN: usize = 1000;

/// Longest last line of a closed file, and the end of the one before it.
const CLOSED_BYTES_MAX: u64 = 64;

/// A run in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The run.
    pub run: RunId,
    /// What its journal says: status and what it waits for, agent, times, cost.
    pub columns: Columns,
    /// Why it is quarantined; `None` for a sound run.
    pub damage: Option<Arc<str>>,
    /// The process that drives it now; `None` while nobody does.
    pub driver: Option<u32>,
    /// The slot that holds it.
    pub(super) slot: usize,
}

impl Listed {
    /// A run that nobody drives.
    pub fn parked(run: RunId, columns: Columns, damage: Option<Arc<str>>) -> Self {
        Listed { run, columns, damage, driver: None, slot: 0 }
    }

    /// The status to show: a run that is running and that nobody drives was interrupted.
    pub fn status(&self) -> &str {
        match Status::parse(&self.columns.status) {
            _ if self.damage.is_some() => Status::Quarantined.as_str(),
            Some(Status::Running) if self.driver.is_none() => INTERRUPTED,
            Some(status) => status.as_str(),
            None => &self.columns.status,
        }
    }

    /// The kinds of what it waits for: `approval`, `doubt`, `provider` … While it is driven, also beside what is in flight.
    pub fn waits(&self) -> impl Iterator<Item = &str> {
        self.columns.status.split(' ').skip(1)
    }

    /// Whether the status is `running` and nobody drives it.
    pub(super) fn is_interrupted(&self) -> bool {
        self.status() == INTERRUPTED
    }
}

/// What is shown of a run that is running without an owner.
pub(super) const INTERRUPTED: &str = "interrupted";

/// A line of the file. Fields and lines are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first: which form this is, and who writes it.
    Index { v: u32, pid: u32 },
    /// How a run stands.
    Run(Row),
    /// A run that was deleted.
    Deleted(String),
    /// The writer drives this run, from now on or not any more.
    Driven { run: String, now: bool },
    /// Where the writer listens.
    Listens { socket: Option<PathBuf> },
    /// The last: nothing was changed in the slot after it. So many runs have not come to their end.
    Closed { unfinished: usize },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Row {
    run: String,
    status: String,
    agent: String,
    created_ms: i64,
    updated_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cost_nano: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// What somebody else's index says.
#[derive(Debug)]
pub(super) struct Read {
    /// Whether nothing was changed in the slot after it.
    pub(super) closed: bool,
    /// The process that wrote it.
    pub(super) pid: u32,
    /// Where that process listens.
    pub(super) socket: Option<PathBuf>,
    pub(super) runs: Vec<Listed>,
}

/// Reads the index in the directory of slot `slot`; `None` when there is none, or none that can be read.
pub(super) fn read(dir: &Path, slot: usize) -> Option<Read> {
    let bytes = fs::read(dir.join(FILE)).ok()?;
    // What comes behind the last end of a line is being written.
    let whole = &bytes[..bytes.iter().rposition(|byte| *byte == b'\n')?];
    let mut lines = whole.split(|byte| *byte == b'\n').map(|line| serde_json::from_slice::<Line>(line).ok());
    let Line::Index { v: VERSION, pid } = lines.next()?? else { return None };
    let mut read = Read { closed: false, pid, socket: None, runs: Vec::new() };
    let mut rows = BTreeMap::new();
    let mut driven = BTreeSet::new();
    for line in lines {
        match line? {
            Line::Index { .. } => return None,
            Line::Run(row) => {
                let columns = Columns {
                    status: row.status,
                    agent: row.agent,
                    created: Time(row.created_ms),
                    updated: Time(row.updated_ms),
                    cost_nano: row.cost_nano,
                };
                rows.insert(row.run.parse::<RunId>().ok()?, (columns, row.damage.map(Arc::from)));
            }
            Line::Deleted(run) => drop(rows.remove(&run.parse::<RunId>().ok()?)),
            Line::Driven { run, now: true } => drop(driven.insert(run.parse::<RunId>().ok()?)),
            Line::Driven { run, now: false } => drop(driven.remove(&run.parse::<RunId>().ok()?)),
            Line::Listens { socket } => read.socket = socket,
            Line::Closed { .. } => read.closed = true,
        }
    }
    let driver = |run: &RunId| (!read.closed && driven.contains(run)).then_some(pid);
    let listed = |(run, (columns, damage))| Listed { driver: driver(&run), run, columns, damage, slot };
    read.runs = rows.into_iter().map(listed).collect();
    Some(read)
}

/// Whether runs may want to go on in the slot in `dir`: some have not come to their end, or it cannot be told.
pub(super) fn is_wanted(dir: &Path) -> bool {
    match last_line(dir) {
        Ok(Line::Closed { unfinished }) => unfinished > 0,
        _ => dir.is_dir(),
    }
}

fn last_line(dir: &Path) -> io::Result<Line> {
    let mut file = File::open(dir.join(FILE))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CLOSED_BYTES_MAX)))?;
    let mut end = Vec::new();
    file.take(CLOSED_BYTES_MAX).read_to_end(&mut end)?;
    let end = end.strip_suffix(b"\n").unwrap_or_default();
    let last = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(last)?)
}

/// Removes the index of a slot that was just locked, so that it is taken for nothing that it no longer is.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The index of a slot that this process holds.
pub(super) struct Index {
    dir: PathBuf,
    slot: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<RunId, (Columns, Option<Arc<str>>)>,
    /// Runs of which the file says something older that is worth no line.
    stale: BTreeSet<RunId>,
    driven: BTreeSet<RunId>,
    socket: Option<PathBuf>,
    /// Changes of which nobody has said yet what became of them.
    under_way: usize,
    file: Told,
}

/// The file, as far as it was written.
#[derive(Default)]
enum Told {
    /// It is to be written anew.
    #[default]
    Not,
    /// So many lines are in it.
    Lines(File, usize),
    /// It belongs to whoever comes next.
    Closed,
}

impl Index {
    /// Begins the index of the slot in `dir`, which holds the runs of these heads, and writes it.
    pub(super) fn begin(dir: &Path, slot: usize, heads: Vec<Head>) -> io::Result<Index> {
        let listed = |head: &Head| head.length > 0 || head.damage.is_some();
        let rows = heads.into_iter().filter(listed).map(|head| (head.run, (head.columns, head.damage)));
        let mut state = State { rows: rows.collect(), ..State::default() };
        state.write(dir)?;
        Ok(Index { dir: dir.to_owned(), slot, state: Mutex::new(state) })
    }

    /// The runs as they stand.
    pub(super) fn listed(&self) -> Vec<Listed> {
        let state = self.lock();
        let pid = std::process::id();
        let listed = |(run, (columns, damage)): (&RunId, &(Columns, Option<Arc<str>>))| Listed {
            run: *run,
            columns: columns.clone(),
            damage: damage.clone(),
            driver: state.driven.contains(run).then_some(pid),
            slot: self.slot,
        };
        state.rows.iter().map(listed).collect()
    }

    /// Says whether a run is driven by this process, and how it stands; others see it when this returns.
    pub(super) fn driven(&self, run: RunId, driven: bool) {
        self.change(|state| {
            match driven {
                true => state.driven.insert(run),
                false => state.driven.remove(&run),
            };
            let row = state.stale.remove(&run).then(|| state.row(run)).flatten();
            let line = Line::Driven { run: run.to_string(), now: driven };
            row.into_iter().chain([line]).collect()
        });
    }

    /// Says where this process listens; others see it when this returns.
    pub(super) fn listens(&self, socket: Option<PathBuf>) {
        self.change(|state| {
            state.socket.clone_from(&socket);
            vec![Line::Listens { socket }]
        });
    }

    /// Changes the state, and the file by the lines that say so.
    fn change(&self, change: impl FnOnce(&mut State) -> Vec<Line>) {
        let mut state = self.lock();
        let lines = change(&mut state);
        if let Err(error) = state.tell(&self.dir, &lines) {
            tracing::warn!(%error, "the index of a slot cannot be written; others see an older one");
        }
    }

    /// Ends the writing. With everything told, the file is closed.
    fn close(&self) {
        let mut state = self.lock();
        let closed = match state.under_way {
            0 => state.close(&self.dir),
            _ => Ok(()),
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "the index of a slot could not be closed; whoever looks next opens the slot");
        }
        state.file = Told::Closed;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Appends lines that say what was changed, or writes the whole file.
    fn tell(&mut self, dir: &Path, lines: &[Line]) -> io::Result<()> {
        let enough = LINES_MIN + LINES_PER_RUN * self.rows.len();
        match &self.file {
            _ if lines.is_empty() => Ok(()),
            Told::Closed => Ok(()),
            Told::Lines(_, told) if *told < enough => self.append(lines),
            Told::Lines(..) | Told::Not => self.write(dir),
        }
    }

    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let Told::Lines(file, told) = &mut self.file else { return Ok(()) };
        *told += lines.len();
        let written = bytes(lines).and_then(|bytes| file.write_all(&bytes));
        written.inspect_err(|_| self.file = Told::Not)
    }

    fn write(&mut self, dir: &Path) -> io::Result<()> {
        self.file = Told::Not;
        self.stale.clear();
        let mut lines = vec![Line::Index { v: VERSION, pid: std::process::id() }];
        lines.extend(self.rows.keys().filter_map(|run| self.row(*run)));
        lines.extend(self.driven.iter().map(|run| Line::Driven { run: run.to_string(), now: true }));
        lines.push(Line::Listens { socket: self.socket.clone() });
        let fresh = dir.join("index.new");
        let mut file = File::create(&fresh)?;
        file.write_all(&bytes(&lines)?)?;
        fs::rename(&fresh, dir.join(FILE))?;
        self.file = Told::Lines(file, lines.len());
        Ok(())
    }

    fn close(&mut self, dir: &Path) -> io::Result<()> {
        let unfinished = self.rows.values().filter(|(columns, damage)| {
            let status = Status::parse(&columns.status);
            damage.is_none() && matches!(status, Some(Status::Running | Status::Waiting))
        });
        let closed = Line::Closed { unfinished: unfinished.count() };
        let rows = std::mem::take(&mut self.stale).into_iter().filter_map(|run| self.row(run));
        let lines: Vec<Line> = rows.chain([closed]).collect();
        if matches!(self.file, Told::Not) {
            self.write(dir)?;
        }
        self.append(&lines)
    }

    fn row(&self, run: RunId) -> Option<Line> {
        let (columns, damage) = self.rows.get(&run)?;
        Some(Line::Run(Row {
            run: run.to_string(),
            status: columns.status.clone(),
            agent: columns.agent.clone(),
            created_ms: columns.created.0,
            updated_ms: columns.updated.0,
            cost_nano: columns.cost_nano,
            damage: damage.as_ref().map(|damage| damage.to_string()),
        }))
    }
}

fn bytes(lines: &[Line]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut bytes, line)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// A store whose runs are in an index.
pub(super) struct Indexed {
    index: Arc<Index>,
    store: Arc<dyn Store>,
}

impl Indexed {
    pub(super) fn new(index: Arc<Index>, store: Arc<dyn Store>) -> Self {
        Indexed { index, store }
    }

    /// Does something to the store that changes rows, and notes how when that is durable. What nobody waits for to the end
    /// stays under way.
    fn noting<T: Send + 'static>(
        &self,
        change: BoxFuture<Result<T, Error>>,
        note: impl FnOnce(&mut State, &T) -> Vec<Line> + Send + 'static,
    ) -> BoxFuture<Result<T, Error>> {
        let index = self.index.clone();
        index.lock().under_way += 1;
        Box::pin(async move {
            let changed = change.await;
            match &changed {
                Ok(answer) => index.change(|state| {
                    state.under_way -= 1;
                    note(state, answer)
                }),
                Err(Error::Full { .. }) => index.lock().under_way -= 1,
                Err(_) => {}
            }
            changed
        })
    }
}

/// The index is closed before the store is, and so before the lock of the slot is free.
impl Drop for Indexed {
    fn drop(&mut self) {
        self.index.close();
    }
}

impl Store for Indexed {
    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, Error>> {
        let news: Vec<(RunId, Option<Columns>)> = parts.iter().map(|part| (part.run, part.columns.clone())).collect();
        let appended = self.store.append(parts);
        if news.iter().all(|(_, columns)| columns.is_none()) {
            return appended;
        }
        self.noting(appended, |state, answers| {
            let done = news.into_iter().zip(answers).filter(|(_, answer)| **answer == Appended::Done);
            let mut lines = Vec::new();
            for ((run, columns), _) in done {
                let Some(columns) = columns else { continue };
                let row = state.rows.entry(run).or_default();
                let changed = row.0.status != columns.status || row.0.agent != columns.agent;
                row.0 = columns;
                match changed {
                    true => lines.extend(state.row(run)),
                    false => drop(state.stale.insert(run)),
                }
            }
            lines
        })
    }

    fn claim(&self, run: RunId) -> BoxFuture<Result<Head, Error>> {
        self.store.claim(run)
    }

    fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, Error>> {
        let (read, known) = (self.store.read(run, index), self.index.clone());
        Box::pin(async move {
            let read = read.await;
            if let Err(Error::Damaged { run, reason }) = &read {
                known.change(|state| {
                    let row = state.rows.entry(*run).or_default();
                    match row.1.replace(reason.clone()) {
                        None => state.row(*run).into_iter().collect(),
                        Some(_) => Vec::new(),
                    }
                });
            }
            read
        })
    }

    fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, Error>> {
        self.store.head(run)
    }

    fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, Error>> {
        self.store.heads(after, limit)
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), Error>> {
        self.store.post(run, id, item)
    }

    fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, Error>> {
        self.store.inbox(run)
    }

    fn changed(&self, run: RunId) -> BoxFuture<()> {
        self.store.changed(run)
    }

    fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, Error>> {
        self.store.get_blob(run, hash)
    }

    fn delete(&self, run: RunId) -> BoxFuture<Result<(), Error>> {
        self.noting(self.store.delete(run), move |state, ()| match state.rows.remove(&run) {
            Some(_) => vec![Line::Deleted(run.to_string())],
            None => Vec::new(),
        })
    }

    fn room(&self) -> Result<(), Error> {
        self.store.room()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(byte: u8) -> RunId {
        RunId(uuid::Uuid::from_bytes([byte; 16]))
    }

    fn head(byte: u8, status: &str) -> Head {
        let columns = columns(status, 0);
        Head { run: run(byte), columns, length: 1, epoch: 1, chain: Default::default(), damage: None }
    }

    fn columns(status: &str, cost: u64) -> Columns {
        let (status, agent) = (status.to_owned(), "notes".to_owned());
        Columns { status, agent, created: Time(1), updated: Time(2), cost_nano: Some(cost) }
    }

    /// What others read: whether it is closed, and each run with its status and cost.
    fn seen(dir: &Path) -> (bool, Vec<(RunId, String, Option<u64>)>) {
        let read = read(dir, 0).unwrap();
        let shown = |listed: &Listed| (listed.run, listed.status().to_owned(), listed.columns.cost_nano);
        (read.closed, read.runs.iter().map(shown).collect())
    }

    fn set(index: &Index, byte: u8, status: &str, cost: u64) {
        index.change(|state| {
            state.rows.entry(run(byte)).or_default().0 = columns(status, cost);
            state.row(run(byte)).into_iter().collect()
        });
    }

    #[test]
    fn others_read_what_was_written_as_a_whole_and_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(!is_wanted(&dir.join("never made")) && is_wanted(dir));
        let index = Index::begin(dir, 0, vec![head(1, "done"), head(2, "running")]).unwrap();
        let shown = |byte, status: &str, cost| (run(byte), status.to_owned(), Some(cost));
        assert_eq!(seen(dir), (false, vec![shown(1, "done", 0), shown(2, "interrupted", 0)]));
        index.driven(run(2), true);
        set(&index, 3, "running", 7);
        index.listens(Some("/run/it.sock".into()));
        assert_eq!(seen(dir).1[1..], [shown(2, "running", 0), shown(3, "interrupted", 7)]);
        assert_eq!(read(dir, 0).unwrap().socket.as_deref(), Some(Path::new("/run/it.sock")));
        index.change(|state| {
            state.rows.remove(&run(3));
            vec![Line::Deleted(run(3).to_string())]
        });
        set(&index, 2, "waiting", 9);
        index.driven(run(2), false);
        assert_eq!(index.listed(), read(dir, 0).unwrap().runs);
        assert!(is_wanted(dir), "it is not closed");
        index.close();
        assert_eq!(seen(dir), (true, vec![shown(1, "done", 0), shown(2, "waiting", 9)]));
        assert!(is_wanted(dir));
        // The file is somebody else's now.
        index.listens(None);
        set(&index, 2, "done", 9);
        assert_eq!(seen(dir).1[1], shown(2, "waiting", 9));

        let index = Index::begin(dir, 0, vec![head(1, "done"), head(2, "done")]).unwrap();
        assert!(is_wanted(dir));
        index.close();
        assert!(!is_wanted(dir));
    }

    #[test]
    fn a_closed_file_is_exact_also_about_what_was_worth_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::begin(dir.path(), 0, vec![head(1, "running")]).unwrap();
        let mut state = index.lock();
        state.rows.insert(run(1), (columns("running", 5), None));
        state.stale.insert(run(1));
        drop(state);
        assert_eq!(seen(dir.path()).1[0].2, Some(0));
        index.close();
        assert_eq!(seen(dir.path()), (true, vec![(run(1), "interrupted".to_owned(), Some(5))]));
    }

    #[test]
    fn a_line_that_is_being_written_is_none_yet_and_a_torn_one_ends_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::begin(dir.path(), 0, vec![head(1, "done")]).unwrap();
        let file = dir.path().join(FILE);
        let whole = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{whole}{{\"run\":")).unwrap();
        assert_eq!(seen(dir.path()).1.len(), 1);
        fs::write(&file, format!("{whole}{{\"run\":\n{{\"closed\":{{\"unfinished\":0}}}}\n")).unwrap();
        assert!(read(dir.path(), 0).is_none(), "what cannot be read is not believed");
        // A change that could not be written is in the file with the next one.
        index.lock().file = Told::Not;
        set(&index, 2, "done", 1);
        assert_eq!(seen(dir.path()).1.len(), 2);
    }

    #[test]
    fn outdated_lines_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::begin(dir.path(), 0, vec![head(1, "done")]).unwrap();
        for cost in 0..4000 {
            set(&index, 1, "done", cost);
        }
        let lines = fs::read_to_string(dir.path().join(FILE)).unwrap().lines().count();
        assert!(lines < LINES_MIN + 2 * LINES_PER_RUN, "{lines} lines");
        assert_eq!(seen(dir.path()).1[0].2, Some(3999));
    }
}
