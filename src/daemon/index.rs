//! The file `index` of a slot: what listings show of its runs, for those who cannot open its store or need not.
//!
//! ```text
//! append, delete, damage ─► Indexed (a store that looks on) ─► rows ─► writer ─► slot/index
//! ```
//! The file says whether it is closed. Always true:
//! - A closed file is exact: it was written last, by the holder of the slot, and whoever takes the slot removes it first.
//! - In a file that is not closed, statuses lag a moment behind; it counts only while its writer holds the slot. Afterwards
//!   the store must be opened, which makes a new one.
//! - A row never shows what is not durable, and a run that is driven is marked before anything is done with it.
//! - The file is replaced as a whole, and never more often than a twentieth of the time goes into that.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    run::{RunId, Status, Time},
    store::{Appended, BlobHash, BoxFuture, Columns, Error, Head, InboxId, Part, Store},
};

/// The file's name in the directory of a slot.
const FILE: &str = "index";

/// Shortest pause between two writings of the file.
const PAUSE: Duration = Duration::from_millis(20);

/// A run in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The run.
    pub run: RunId,
    /// What its journal says: status, agent, times, cost.
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

    /// Whether the status is `running` and nobody drives it.
    pub(super) fn is_interrupted(&self) -> bool {
        self.status() == INTERRUPTED
    }
}

/// What is shown of a run that is running without an owner.
const INTERRUPTED: &str = "interrupted";

/// The file as it is stored. Fields are only ever added.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    v: u32,
    /// Who wrote it.
    pid: u32,
    closed: bool,
    /// Where the writer listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    runs: Vec<Row>,
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
    /// Whether the writer drives it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    driven: bool,
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
    let stored: Stored = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
    let listed = |row: Row| {
        Some(Listed {
            run: row.run.parse().ok()?,
            columns: Columns {
                status: row.status,
                agent: row.agent,
                created: Time(row.created_ms),
                updated: Time(row.updated_ms),
                cost_nano: row.cost_nano,
            },
            damage: row.damage.map(Arc::from),
            driver: (row.driven && !stored.closed).then_some(stored.pid),
            slot,
        })
    };
    let runs = stored.runs.into_iter().map(listed).collect::<Option<Vec<_>>>()?;
    Some(Read { closed: stored.closed, pid: stored.pid, socket: stored.socket, runs })
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
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    dir: PathBuf,
    slot: usize,
    /// Held while the file is written; taken before `state`.
    file: Mutex<()>,
    state: Mutex<State>,
    /// Rung when there is something to write.
    work: Condvar,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<RunId, (Columns, Option<Arc<str>>)>,
    driven: BTreeSet<RunId>,
    socket: Option<PathBuf>,
    dirty: bool,
    /// Changes of which nobody has said yet what became of them.
    under_way: usize,
    ended: bool,
}

impl Index {
    /// Begins the index of the slot in `dir`, which holds the runs of these heads, and writes it.
    pub(super) fn begin(dir: &Path, slot: usize, heads: Vec<Head>) -> io::Result<Index> {
        let listed = |head: &Head| head.length > 0 || head.damage.is_some();
        let rows = heads.into_iter().filter(listed).map(|head| (head.run, (head.columns, head.damage)));
        let state = Mutex::new(State { rows: rows.collect(), ..State::default() });
        let shared = Shared { dir: dir.to_owned(), slot, file: Mutex::new(()), state, work: Condvar::new() };
        let shared = Arc::new(shared);
        shared.write(false)?;
        let writing = shared.clone();
        let writer = thread::Builder::new().name("index".to_owned()).spawn(move || writing.keep_writing())?;
        Ok(Index { shared, writer: Mutex::new(Some(writer)) })
    }

    /// The runs as they stand.
    pub(super) fn listed(&self) -> Vec<Listed> {
        let state = self.shared.lock();
        let pid = std::process::id();
        let listed = |(run, (columns, damage)): (&RunId, &(Columns, Option<Arc<str>>))| Listed {
            run: *run,
            columns: columns.clone(),
            damage: damage.clone(),
            driver: state.driven.contains(run).then_some(pid),
            slot: self.shared.slot,
        };
        state.rows.iter().map(listed).collect()
    }

    /// Says whether a run is driven by this process; others see it when this returns.
    pub(super) fn driven(&self, run: RunId, driven: bool) {
        self.change(|state| match driven {
            true => drop(state.driven.insert(run)),
            false => drop(state.driven.remove(&run)),
        });
    }

    /// Says where this process listens; others see it when this returns.
    pub(super) fn listens(&self, socket: Option<PathBuf>) {
        self.change(|state| state.socket = socket);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock());
        self.shared.write_or_warn();
    }

    fn note(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.shared.lock();
        if change(&mut state) {
            state.dirty = true;
            self.shared.work.notify_one();
        }
    }

    /// Ends the writing. With everything told, the file is closed.
    fn close(&self) {
        self.shared.lock().ended = true;
        self.shared.work.notify_one();
        // It does not panic.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take().map(JoinHandle::join);
        if let Err(error) = self.shared.write(true) {
            tracing::debug!(%error, "the index of a slot could not be closed; whoever looks next opens the slot");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer's thread.
    fn keep_writing(&self) {
        loop {
            let state = self.lock();
            let idle = self.work.wait_while(state, |state| !state.dirty && !state.ended);
            if idle.unwrap_or_else(PoisonError::into_inner).ended {
                return;
            }
            let begun = Instant::now();
            self.write_or_warn();
            let pause =
                self.work.wait_timeout_while(self.lock(), PAUSE.max(begun.elapsed() * 20), |state| !state.ended);
            drop(pause);
        }
    }

    fn write_or_warn(&self) {
        if let Err(error) = self.write(false) {
            tracing::warn!(%error, "the index of a slot cannot be written; others see an older one");
        }
    }

    /// Writes the file. It is closed if that is asked for and everything is told.
    fn write(&self, close: bool) -> io::Result<()> {
        let _one_at_a_time = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = {
            let mut state = self.lock();
            state.dirty = false;
            serde_json::to_vec(&state.stored(close && state.under_way == 0))?
        };
        let fresh = self.dir.join("index.new");
        fs::write(&fresh, bytes)?;
        fs::rename(&fresh, self.dir.join(FILE))
    }
}

impl State {
    fn stored(&self, closed: bool) -> Stored {
        let row = |(run, (columns, damage)): (&RunId, &(Columns, Option<Arc<str>>))| Row {
            run: run.to_string(),
            status: columns.status.clone(),
            agent: columns.agent.clone(),
            created_ms: columns.created.0,
            updated_ms: columns.updated.0,
            cost_nano: columns.cost_nano,
            damage: damage.as_ref().map(|damage| damage.to_string()),
            driven: !closed && self.driven.contains(run),
        };
        Stored {
            v: 1,
            pid: std::process::id(),
            closed,
            socket: self.socket.clone().filter(|_| !closed),
            runs: self.rows.iter().map(row).collect(),
        }
    }
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
        note: impl FnOnce(&mut State, &T) -> bool + Send + 'static,
    ) -> BoxFuture<Result<T, Error>> {
        let index = self.index.clone();
        index.shared.lock().under_way += 1;
        Box::pin(async move {
            let changed = change.await;
            index.note(|state| match &changed {
                Ok(answer) => {
                    state.under_way -= 1;
                    note(state, answer)
                }
                Err(Error::Full { .. }) => {
                    state.under_way -= 1;
                    false
                }
                Err(_) => false,
            });
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
            let mut changed = false;
            for ((run, columns), _) in done {
                let Some(columns) = columns else { continue };
                let row = state.rows.entry(run).or_default();
                changed |= row.0.status != columns.status || row.0.agent != columns.agent;
                row.0 = columns;
            }
            changed
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
                known.note(|state| {
                    let row = state.rows.entry(*run).or_default();
                    row.1.replace(reason.clone()).is_none()
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
        self.noting(self.store.delete(run), move |state, ()| state.rows.remove(&run).is_some())
    }

    fn room(&self) -> Result<(), Error> {
        self.store.room()
    }
}
