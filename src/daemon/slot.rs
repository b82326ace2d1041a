//! One slot that this process holds: its runs, which of them are driven, and what others want of them.
//!
//! [`Reach`] is what can be done about the runs of a slot wherever one is: here by [`Slot`], from another process over the
//! slot's control socket (`server::Client`), with the same answers. Always true:
//! - A run is driven here, or taken in hand for a moment to move its inbox into its journal; never both.
//! - What is posted is durable before anything is answered, and posted once however often the post is repeated.
//! - Who follows a run misses no entry, and sees none before it is durable.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{Stream, TryStreamExt, stream};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::broadcast,
    time::timeout,
};

use super::{
    Error,
    index::{Index, Listed},
    slots::{Node, heads, lock},
};
use crate::{
    agent::Agent,
    engine,
    journal::{self, Journal, Posted},
    run::{Claimed, Entry, Event, Run, RunId},
    store::{BoxFuture, InboxId, Store},
};

/// Entries that a follower may be behind before it reads the journal again.
const BEHIND_MAX: usize = 256;

/// How long to wait until the driver of a run has come to what was posted: longer than tool servers usually take to start.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// The entries of a run as they become durable.
pub type Follow = Pin<Box<dyn Stream<Item = Result<Arc<Entry>, Error>> + Send>>;

/// What can be done about the runs of a slot, wherever one is.
pub trait Reach: Send + Sync {
    /// All entries of a run.
    fn entries(self: Arc<Self>, run: RunId) -> BoxFuture<Result<Vec<Entry>, Error>>;

    /// The entries of a run from `from` on: those there are, and each that comes as soon as it is durable. Ends when
    /// nobody drives the run, or not any more.
    fn follow(self: Arc<Self>, run: RunId, from: u64) -> BoxFuture<Result<Follow, Error>>;

    /// Puts an item into the inbox of a run, once per `id`, and has it taken into the journal. Returns the entry that did;
    /// `None` when it is durable and its driver has not come to it yet.
    ///
    /// # Errors
    /// [`Error::Refused`] when it did not fit where the run stood.
    fn post(self: Arc<Self>, run: RunId, id: InboxId, posted: Posted) -> BoxFuture<Result<Option<u64>, Error>>;
}

/// A slot that is ours.
pub struct Slot {
    number: usize,
    /// `None` for one in memory.
    dir: Option<PathBuf>,
    index: Option<Arc<Index>>,
    store: Arc<dyn Store>,
    node: Node,
    /// The runs that are driven here, with all who follow them.
    driven: Mutex<HashMap<RunId, broadcast::Sender<Arc<Entry>>>>,
    /// Held while a run is taken in hand.
    turn: tokio::sync::Mutex<()>,
}

impl Slot {
    pub(super) fn new(
        number: usize,
        dir: Option<PathBuf>,
        index: Option<Arc<Index>>,
        store: Arc<dyn Store>,
        node: Node,
    ) -> Self {
        Slot { number, dir, index, store, node, driven: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Its place among the slots.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    #[cfg(test)]
    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Its runs, in the order of their ids.
    pub async fn listed(&self) -> Result<Vec<Listed>, Error> {
        if let Some(index) = &self.index {
            return Ok(index.listed());
        }
        let pid = std::process::id();
        let heads = heads(&*self.store).await?.into_iter().filter(|head| head.length > 0 || head.damage.is_some());
        let driven = lock(&self.driven);
        let listed = heads.map(|head| Listed {
            driver: driven.contains_key(&head.run).then_some(pid),
            run: head.run,
            columns: head.columns,
            damage: head.damage,
            slot: self.number,
        });
        Ok(listed.collect())
    }

    /// Takes a run in hand to drive it.
    pub(super) async fn drive(self: &Arc<Self>, run: RunId) -> Result<(Driving, Journal, Vec<Entry>), Error> {
        let _turn = self.turn.lock().await;
        if self.drives(run) {
            return Err(Error::Driven { run, pid: std::process::id() });
        }
        let driving = Driving::begin(self.clone(), run);
        let (journal, entries) = Journal::claim(self.store.clone(), run).await?;
        Ok((driving, journal, entries))
    }

    /// Whether a run is driven here.
    pub fn drives(&self, run: RunId) -> bool {
        lock(&self.driven).contains_key(&run)
    }

    /// Whether anything waits in the inbox of a run.
    pub(super) async fn waits(&self, run: RunId) -> Result<bool, Error> {
        Ok(!self.store.inbox(run).await?.is_empty())
    }

    /// Moves the inbox of a run into its journal, unless somebody drives it meanwhile.
    pub(super) async fn absorb(&self, run: RunId) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        if lock(&self.driven).contains_key(&run) {
            return Ok(());
        }
        let (mut journal, entries) = Journal::claim(self.store.clone(), run).await?;
        let mut run = Run::replay(&entries)?;
        let claimed = Claimed { epoch: journal.epoch(), node: self.node.name.clone() };
        let agent = run.started().and_then(|started| Agent::parse(&started.file, &started.definition).ok());
        engine::absorb(&mut run, &mut journal, &*self.node.clock, agent.as_ref(), claimed).await?;
        Ok(())
    }

    async fn read(&self, run: RunId) -> Result<Vec<Entry>, Error> {
        Ok(Journal::read(&*self.store, run).await?)
    }

    /// Opens the control socket of this slot, for people of this user alone; `None` for a slot in memory. Others find it
    /// as long as what is returned lives.
    ///
    /// # Errors
    /// When there is no directory for it that is ours alone, or its path is too long.
    pub fn listen(self: &Arc<Self>) -> io::Result<Option<Socket>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let sockets = runtime.map_or_else(|| self.node.home.join("run"), |dir| dir.join("agentd"));
        private_dir(&sockets)?;
        // The whole path must fit into 108 bytes.
        let name = blake3::hash(fs::canonicalize(dir)?.as_os_str().as_encoded_bytes()).to_hex();
        let path = sockets.join(format!("{}.sock", &name[..16]));
        // Whoever left it is gone: the slot is ours.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        self.tell_where(Some(path.clone()));
        Ok(Some(Socket { listener, path, slot: self.clone() }))
    }

    fn tell_where(&self, socket: Option<PathBuf>) {
        self.index.iter().for_each(|index| index.listens(socket.clone()));
    }
}

impl Reach for Slot {
    fn entries(self: Arc<Self>, run: RunId) -> BoxFuture<Result<Vec<Entry>, Error>> {
        Box::pin(async move { self.read(run).await })
    }

    fn follow(self: Arc<Self>, run: RunId, from: u64) -> BoxFuture<Result<Follow, Error>> {
        Box::pin(async move {
            // Asked for first, so that nothing falls between what is read and what is heard.
            let heard = lock(&self.driven).get(&run).map(broadcast::Sender::subscribe);
            let mut following = Following { slot: self, run, next: from, ready: VecDeque::new(), heard };
            following.read().await?;
            Ok(Box::pin(stream::try_unfold(following, Following::step)) as Follow)
        })
    }

    fn post(self: Arc<Self>, run: RunId, id: InboxId, posted: Posted) -> BoxFuture<Result<Option<u64>, Error>> {
        Box::pin(async move {
            journal::post(&*self.store, run, id, &posted).await?;
            let found = timeout(TAKEN_WITHIN, async {
                loop {
                    let mut follow = self.clone().follow(run, 0).await?;
                    while let Some(entry) = follow.try_next().await? {
                        if journal::taken(&entry.event) == Some(id) {
                            return outcome(&entry);
                        }
                    }
                    self.absorb(run).await?;
                }
            });
            found.await.map_or(Ok(None), |taken| taken.map(Some))
        })
    }
}

/// What became of an item, given the entry that took it in.
fn outcome(entry: &Entry) -> Result<u64, Error> {
    match &entry.event {
        Event::Noted(noted) if noted.code == engine::IGNORED => Err(Error::Refused(noted.message.clone())),
        _ => Ok(entry.index),
    }
}

/// A follower of one run.
struct Following {
    slot: Arc<Slot>,
    run: RunId,
    /// The index of the entry that comes next.
    next: u64,
    ready: VecDeque<Arc<Entry>>,
    /// `None` when nobody drives the run.
    heard: Option<broadcast::Receiver<Arc<Entry>>>,
}

impl Following {
    async fn read(&mut self) -> Result<(), Error> {
        let entries = self.slot.read(self.run).await?;
        self.ready = entries.into_iter().filter(|entry| entry.index >= self.next).map(Arc::new).collect();
        Ok(())
    }

    async fn step(mut self) -> Result<Option<(Arc<Entry>, Self)>, Error> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                self.next = entry.index + 1;
                return Ok(Some((entry, self)));
            }
            let Some(heard) = &mut self.heard else { return Ok(None) };
            match heard.recv().await {
                Ok(entry) if entry.index == self.next => self.ready.push_back(entry),
                Ok(entry) if entry.index < self.next => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.read().await?,
                Err(broadcast::error::RecvError::Closed) => {
                    self.heard = None;
                    self.read().await?;
                }
            }
        }
    }
}

/// A run that is driven here, as long as this lives.
pub(super) struct Driving {
    slot: Arc<Slot>,
    run: RunId,
    followers: broadcast::Sender<Arc<Entry>>,
}

impl Driving {
    fn begin(slot: Arc<Slot>, run: RunId) -> Self {
        let (followers, _) = broadcast::channel(BEHIND_MAX);
        lock(&slot.driven).insert(run, followers.clone());
        let driving = Driving { slot, run, followers };
        driving.show();
        driving
    }

    /// Has others see the run in listings as it stands, when this returns.
    pub(super) fn show(&self) {
        self.slot.index.iter().for_each(|index| index.driven(self.run, true));
    }

    /// Tells followers of an entry that is durable.
    pub(super) fn tell(&self, entry: &Entry) {
        if self.followers.receiver_count() > 0 {
            // They may all have left meanwhile.
            let _ = self.followers.send(Arc::new(entry.clone()));
        }
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        // Whoever is told that it is over finds it so in the index.
        self.slot.index.iter().for_each(|index| index.driven(self.run, false));
        lock(&self.slot.driven).remove(&self.run);
    }
}

/// The control socket of a slot.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Nobody else takes the slot, and listens there, while this one is.
    slot: Arc<Slot>,
}

impl Socket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next one to connect who is the user of this process; others are turned away.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.uid();
            if peer == rustix::process::geteuid().as_raw() {
                return Ok(stream);
            }
            tracing::warn!(uid = peer, "somebody else was turned away from the control socket");
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.slot.tell_where(None);
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket could not be removed");
        }
    }
}

/// Creates a directory that nobody else may look into, or makes sure that it is one.
fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let found = fs::metadata(dir)?;
    if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    let why = format!("{} is not a directory of this user alone (mode 0700)", dir.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}
