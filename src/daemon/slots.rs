//! Where journals lie: four slots, so that several processes of one machine work side by side.
//!
//! ```text
//! home/journal/00 … 03     each a store with its own lock, and an `index` of its runs (`index`)
//! ```
//! Who drives takes the first free slot; who only looks reads the indexes. Always true:
//! - A slot is held by one process; its lock says which.
//! - What is listed is never behind what a closed or crashed process left: a slot whose index is not closed is opened
//!   before it is listed, unless somebody holds it.
//! - A slot taken to get at a run stays ours until the daemon goes; one taken to list it does not.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    net::UnixStream,
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    Error, PAGE,
    index::{self, Index, Indexed, Listed},
    slot::Slot,
};
use crate::{
    clock::Clock,
    store::{self, Head, Memory, Store},
};

/// How many processes can drive runs at once: each slot costs a store's cache.
pub const SLOTS: usize = 4;

/// How long to wait for a free slot. Commands that only answer a run hold one for a moment.
const FREE_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait for a slot whose holder does not listen: it opens the store, or answers a run and is gone soon.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);

/// How often to look again meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// The slots of a data directory, or what the settings name instead.
pub(super) struct Slots {
    dirs: Vec<PathBuf>,
    /// Who we are in the journals of our slots.
    node: Node,
    /// Slots that are open here, as long as anybody uses them.
    open: Mutex<HashMap<usize, Weak<Slot>>>,
    /// Slots that stay open.
    kept: Mutex<Vec<Arc<Slot>>>,
    /// One opens at a time.
    opening: tokio::sync::Mutex<()>,
}

/// What a process is in journals.
#[derive(Clone)]
pub(super) struct Node {
    /// Host and process.
    pub(super) name: String,
    pub(super) clock: Arc<dyn Clock>,
    /// Where the data is.
    pub(super) home: PathBuf,
}

/// Who has a slot.
pub(super) enum Holder {
    /// This process.
    Here(Arc<Slot>),
    /// Another one.
    There {
        pid: u32,
        /// Where it listens.
        socket: PathBuf,
    },
}

impl Slots {
    /// The slots in these directories. Nothing is opened.
    pub(super) fn in_dirs(dirs: Vec<PathBuf>, node: Node) -> Self {
        Slots { dirs, node, open: Mutex::default(), kept: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// One slot that is gone with this process.
    pub(super) fn in_memory(node: Node) -> Self {
        let slot = Arc::new(Slot::new(0, None, None, Arc::new(Memory::new()), node.clone()));
        let slots = Slots::in_dirs(vec![PathBuf::new()], node);
        slots.keep(&slot);
        lock(&slots.open).insert(0, Arc::downgrade(&slot));
        slots
    }

    /// The slot that new runs go to: one that is ours, else the first free one, if possible without runs that have not come to
    /// their end.
    ///
    /// # Errors
    /// [`Error::Taken`] when other processes hold all.
    pub(super) async fn free(&self) -> Result<Arc<Slot>, Error> {
        if let Some(slot) = lock(&self.kept).first() {
            return Ok(slot.clone());
        }
        // Whoever takes a slot is in the way of the runs that are parked there.
        let mut slots: Vec<usize> = (0..self.dirs.len()).collect();
        slots.sort_by_cached_key(|slot| self.dirs.get(*slot).is_some_and(|dir| index::is_wanted(dir)));
        let until = Instant::now() + FREE_WITHIN;
        loop {
            let mut holders = Vec::new();
            for &slot in &slots {
                match self.take(slot).await {
                    Ok(slot) => {
                        self.keep(&slot);
                        return Ok(slot);
                    }
                    Err(store::Error::Locked { pid }) => holders.push(pid),
                    Err(error) => return Err(error.into()),
                }
            }
            if Instant::now() >= until {
                return Err(match holders[..] {
                    [pid] => store::Error::Locked { pid }.into(),
                    _ => Error::Taken { holders },
                });
            }
            sleep(LOOK).await;
        }
    }

    /// All slots that no other process holds, and they stay ours.
    pub(super) async fn all_free(&self) -> Result<Vec<Arc<Slot>>, Error> {
        let mut free = Vec::new();
        for (number, dir) in self.dirs.iter().enumerate() {
            if self.held(number).is_none() && !dir.is_dir() {
                continue;
            }
            match self.take(number).await {
                Ok(slot) => {
                    self.keep(&slot);
                    free.push(slot);
                }
                Err(store::Error::Locked { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(free)
    }

    /// Lets slots go that were kept and that nobody here needs.
    pub(super) fn let_go(&self, needed: impl Fn(usize) -> bool) {
        lock(&self.kept).retain(|slot| needed(slot.number()));
    }

    /// Who has this slot: we, if it was free, and then it stays ours, or somebody who can be reached.
    pub(super) async fn holder(&self, slot: usize) -> Result<Holder, Error> {
        let until = Instant::now() + LISTENS_WITHIN;
        loop {
            let locked = match self.take(slot).await {
                Ok(slot) => {
                    self.keep(&slot);
                    return Ok(Holder::Here(slot));
                }
                Err(error @ store::Error::Locked { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            match self.dirs.get(slot).and_then(|dir| index::read(dir, slot)) {
                // Who was killed a moment ago may seem to hold it still.
                Some(index::Read { closed: false, socket: Some(socket), pid, .. }) if listens(&socket).await => {
                    return Ok(Holder::There { pid, socket });
                }
                _ if Instant::now() >= until => return Err(locked.into()),
                _ => sleep(LOOK).await,
            }
        }
    }

    /// All runs, slot by slot.
    pub(super) async fn listed(&self) -> Result<Vec<Listed>, Error> {
        let mut listed = Vec::new();
        for slot in 0..self.dirs.len() {
            listed.extend(self.listed_in(slot).await?);
        }
        Ok(listed)
    }

    /// How many slots there are.
    pub(super) fn count(&self) -> usize {
        self.dirs.len()
    }

    /// Who we are in journals.
    pub(super) fn node(&self) -> &str {
        &self.node.name
    }

    /// The runs of one slot, in the order of their ids.
    pub(super) async fn listed_in(&self, slot: usize) -> Result<Vec<Listed>, Error> {
        let until = Instant::now() + LISTENS_WITHIN;
        let Some(dir) = self.dirs.get(slot) else { return Ok(Vec::new()) };
        loop {
            if let Some(held) = self.held(slot) {
                return held.listed().await;
            }
            if !dir.is_dir() {
                return Ok(Vec::new());
            }
            let read = index::read(dir, slot);
            if let Some(index::Read { closed: true, runs, .. }) = read {
                return Ok(runs);
            }
            match self.take(slot).await {
                Ok(slot) => return slot.listed().await,
                Err(error @ store::Error::Locked { pid }) => match read {
                    Some(read) if pid.is_none_or(|pid| pid == read.pid) => return Ok(read.runs),
                    // It is being opened, and what an earlier holder left is not exact.
                    _ if Instant::now() >= until => return Err(error.into()),
                    _ => sleep(LOOK).await,
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The slots that stay open here.
    pub(super) fn kept(&self) -> Vec<Arc<Slot>> {
        lock(&self.kept).clone()
    }

    fn keep(&self, slot: &Arc<Slot>) {
        let mut kept = lock(&self.kept);
        if !kept.iter().any(|other| Arc::ptr_eq(other, slot)) {
            kept.push(slot.clone());
        }
    }

    fn held(&self, slot: usize) -> Option<Arc<Slot>> {
        lock(&self.open).get(&slot)?.upgrade()
    }

    /// Opens a slot, or finds it open here.
    async fn take(&self, number: usize) -> Result<Arc<Slot>, store::Error> {
        let _one_at_a_time = self.opening.lock().await;
        if let Some(slot) = self.held(number) {
            return Ok(slot);
        }
        let dir = self.dirs.get(number).cloned().unwrap_or_default();
        let slot = Arc::new(open(number, dir, self.node.clone()).await?);
        lock(&self.open).insert(number, Arc::downgrade(&slot));
        Ok(slot)
    }
}

async fn open(number: usize, dir: PathBuf, node: Node) -> Result<Slot, store::Error> {
    let failed = |dir: &Path, error: std::io::Error| {
        store::Error::Unusable(format!("{}: the index: {error}", dir.display()).into())
    };
    let opening = dir.clone();
    let opened = spawn_blocking(move || {
        let lock = store::sled::Lock::take(&opening)?;
        index::remove(&opening).map_err(|error| failed(&opening, error))?;
        store::sled::Sled::open_locked(lock, store::sled::Options::default())
    });
    let lost = |error: tokio::task::JoinError| store::Error::Unusable(error.to_string().into());
    let store: Arc<dyn Store> = Arc::new(opened.await.map_err(lost)??);
    let heads = heads(&*store).await?;
    let beginning = dir.clone();
    let begun =
        spawn_blocking(move || Index::begin(&beginning, number, heads).map_err(|error| failed(&beginning, error)));
    let index = Arc::new(begun.await.map_err(lost)??);
    let store = Arc::new(Indexed::new(index.clone(), store));
    Ok(Slot::new(number, Some(dir), Some(index), store, node))
}

/// Whether somebody listens at a control socket. Who may not even ask finds out when it matters.
async fn listens(socket: &Path) -> bool {
    // Not a blocking one, which would wait for a process that is stopped.
    let refused = |error: io::Error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
    UnixStream::connect(socket).await.map_or_else(|error| !refused(error), |_| true)
}

/// All heads of a store.
pub(super) async fn heads(store: &dyn Store) -> Result<Vec<Head>, store::Error> {
    let mut heads: Vec<Head> = Vec::new();
    loop {
        let page = store.heads(heads.last().map(|head| head.run), PAGE).await?;
        let last = page.len() < PAGE;
        heads.extend(page);
        if last {
            return Ok(heads);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
