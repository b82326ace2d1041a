//! One live connection to a server: the process, or the bundled server, and the session with it.
//!
//! A connection is used until a call on it ends without an answer or its pipe breaks; then it is spent, its last
//! calls run out, and it is ended for good. So a call that was lost cannot take effect for long after, and no answer
//! is ever taken for that of a later call.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    model::{CancelledNotification, ProtocolVersion, SubscriptionFilter},
    service::{Peer, RoleClient},
};
use tokio::{
    sync::{Mutex, RwLock, Semaphore, SemaphorePermit},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    GuardId,
    era::{self, Era, Eras, Known, Listener, Plan, Refused, Service},
    guard::Program,
    listing::{self, Listing},
    locks::{Locks, hold},
    process::{Launch, Process},
    server::{Kind, Server},
    wire::Wire,
};

/// Bytes in flight between us and a bundled server, each way; what a pipe holds on Linux.
const PIPE_BYTES: usize = 64 * 1024;

/// How long rmcp's loop may take to let go of its pipe.
const LET_GO: Duration = Duration::from_secs(1);

/// How long telling the server of a cancelled call may take.
const CANCEL: Duration = Duration::from_secs(1);

/// How long the bundled server may take to finish its last calls.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// Most processes started for one connection: one to probe, one for each era.
const STARTS_MAX: usize = 3;

/// What all servers of a host share.
pub(super) struct Surroundings {
    pub guard: Option<Program>,
    /// `None`: no data directory, so no guards either.
    pub locks: Option<Locks>,
    pub eras: Eras,
}

impl Surroundings {
    fn guard(&self) -> Option<(&Program, &Locks)> {
        self.guard.as_ref().zip(self.locks.as_ref())
    }

    /// Whether processes are started under a guard.
    pub fn guarded(&self) -> bool {
        self.guard().is_some()
    }
}

/// A connection.
pub(super) struct Connection {
    peer: Peer<RoleClient>,
    /// `None` once ended. Held while ending, so that whoever asks for it waits until it is done.
    service: Mutex<Option<Service>>,
    /// What runs the server.
    body: Body,
    calls: Semaphore,
    calls_max: u32,
    /// Read while a notice of a cancelled call is on its way, which the end waits for.
    notices: Arc<RwLock<()>>,
    /// A call on it got no answer.
    spent: AtomicBool,
    /// The server was not ended by us.
    died: AtomicBool,
    /// Whether the tools must be listed again.
    changed: Arc<AtomicBool>,
    listing: Mutex<Option<Arc<Listing>>>,
    /// Ends the task that follows `subscriptions/listen`.
    _listening: DropGuard,
}

/// What runs a server.
enum Body {
    Process(Process),
    /// A task in this process; the token is cancelled when it has ended. The lock of its guard is held by the task itself,
    /// so that it is free when the task has ended, or this process.
    Task {
        ended: CancellationToken,
        guard: Option<GuardId>,
    },
}

impl Connection {
    /// Starts the server and opens a session with it; the error says why not, with the server's last words.
    pub async fn open(server: &Server, surroundings: &Surroundings) -> Result<Arc<Self>, String> {
        let patience = server.start_within();
        let opened = match &server.kind {
            Kind::Stdio(launch) => {
                open_process(launch, surroundings, Plan::Probe(server.probe_patience), patience).await?
            }
            Kind::Files(root) => open_files(root, surroundings.locks.as_ref(), patience).await?,
        };
        let peer = opened.service.peer().clone();
        let listening = CancellationToken::new();
        tokio::spawn(follow(peer.clone(), Arc::clone(&opened.changed), listening.clone()));
        Ok(Arc::new(Connection {
            peer,
            service: Mutex::new(Some(opened.service)),
            body: opened.body,
            calls: Semaphore::new(server.calls_max as usize),
            calls_max: server.calls_max,
            notices: Arc::default(),
            spent: AtomicBool::new(false),
            died: AtomicBool::new(false),
            changed: opened.changed,
            listing: Mutex::new(None),
            _listening: listening.drop_guard(),
        }))
    }

    /// rmcp's side of the session.
    pub fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    /// The guard of what runs it.
    pub fn guard(&self) -> Option<&GuardId> {
        match &self.body {
            Body::Process(process) => process.guard(),
            Body::Task { guard, .. } => guard.as_ref(),
        }
    }

    /// Whether calls can still be made on it.
    pub fn is_usable(&self) -> bool {
        !self.spent.load(Ordering::SeqCst) && !self.is_broken()
    }

    /// Whether the server broke it, so that it is not we who ended it.
    pub fn died(&self) -> bool {
        self.died.load(Ordering::SeqCst) || !self.spent.load(Ordering::SeqCst) && self.is_broken()
    }

    fn is_broken(&self) -> bool {
        self.peer.is_transport_closed() || self.ended().is_cancelled()
    }

    /// A place among the calls at work; `None` once the connection is being ended.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.calls.acquire().await.ok()
    }

    /// Whether the server has said that its tools changed, and they were not listed since.
    pub fn changed(&self) -> bool {
        self.changed.load(Ordering::SeqCst)
    }

    /// The server's tools: listed anew if that is wanted, if they never were or if the server says that they changed.
    pub async fn listing(&self, server: &Server, anew: bool) -> Result<Arc<Listing>, String> {
        let mut listing = self.listing.lock().await;
        // Taken before asking: a change while the server answers counts for the next time.
        let changed = self.changed.swap(false, Ordering::SeqCst);
        if let Some(listing) = listing.as_ref().filter(|_| !changed && !anew) {
            return Ok(Arc::clone(listing));
        }
        // Apart, as it is large, and hardly ever more than looked up.
        match Box::pin(listing::list(&self.peer, &server.name, server.start_within())).await {
            Ok(fresh) => Ok(Arc::clone(listing.insert(Arc::new(fresh)))),
            Err(error) => {
                self.changed.store(true, Ordering::SeqCst);
                Err(error + &self.last_words().await)
            }
        }
    }

    /// Lets no more calls be prepared on it, at once, and ends it in the background when the last one at work is over. `died`
    /// tells whether the server broke it; `cancel` is what the server should still hear.
    pub fn spend(self: &Arc<Self>, died: bool, cancel: Option<CancelledNotification>) {
        let first = !self.spent.swap(true, Ordering::SeqCst);
        if first {
            self.died.store(died, Ordering::SeqCst);
        }
        // Without a runtime nothing is at work any more: the process ends when the connection is dropped.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::clone(self);
        // Taken here, so that an end that begins before the task does waits too.
        let noticing = Arc::clone(&self.notices).try_read_owned();
        runtime.spawn(async move {
            if let Some(cancel) = cancel {
                let _gone = tokio::time::timeout(CANCEL, connection.peer.send_notification(cancel.into())).await;
            }
            drop(noticing);
            if first {
                connection.finish().await;
            }
        });
    }

    /// Ends it once the last call at work is over.
    pub async fn finish(&self) {
        let _last_one_out = self.calls.acquire_many(self.calls_max).await;
        self.end().await;
    }

    /// Ends it, whatever is at work. Returns when it has ended, a few seconds later at most.
    pub async fn end(&self) {
        let _all_told = self.notices.write().await;
        let mut service = self.service.lock().await;
        self.calls.close();
        if let Some(mut service) = service.take()
            && let Err(error) = service.close_with_timeout(LET_GO).await
        {
            tracing::warn!(%error, "the session with a tool server did not end cleanly");
        }
        match &self.body {
            Body::Process(process) => process.end().await,
            Body::Task { ended, .. } => {
                if tokio::time::timeout(LAST_CALLS, ended.cancelled()).await.is_err() {
                    tracing::warn!("the bundled files server is still at work");
                }
            }
        }
    }

    /// How its process ended and what it said last.
    pub async fn last_words(&self) -> String {
        match &self.body {
            Body::Process(process) => process.last_words().await,
            Body::Task { .. } => String::new(),
        }
    }

    fn ended(&self) -> &CancellationToken {
        match &self.body {
            Body::Process(process) => process.ended(),
            Body::Task { ended, .. } => ended,
        }
    }
}

/// A session and what runs it.
struct Opened {
    service: Service,
    body: Body,
    changed: Arc<AtomicBool>,
}

async fn open_process(
    launch: &Launch,
    surroundings: &Surroundings,
    probe: Plan,
    patience: Duration,
) -> Result<Opened, String> {
    let until = Instant::now() + patience;
    let key = era::key(&launch.command, &launch.args);
    let known = surroundings.eras.get(&key);
    let mut plan = known.as_ref().map_or(probe, |known| Plan::Straight(known.era));
    let mut starts = 1;
    loop {
        let (process, pipes) = Process::start(launch, surroundings.guard())
            .map_err(|error| format!("cannot start {:?}: {error}", launch.command))?;
        let wire = Wire::new(pipes.stdout, pipes.stdin, process.ended().clone());
        let changed = Arc::<AtomicBool>::default();
        let listener = Listener { changed: Arc::clone(&changed) };
        let Ok(opened) = tokio::time::timeout_at(until, era::open(wire, listener, plan)).await else {
            let words = process.last_words().await;
            surroundings.eras.set(&key, None);
            return Err(format!("it did not open a session within {patience:?}{words}"));
        };
        match opened {
            Ok((service, era)) => {
                remember(&surroundings.eras, &key, known, era, &service);
                return Ok(Opened { service, body: Body::Process(process), changed });
            }
            Err(Refused { next, error }) => {
                let words = process.last_words().await;
                let never_ran = process.never_ran();
                process.end().await;
                // What was remembered may be out of date.
                let outdated = matches!(plan, Plan::Straight(_)) && starts == 1 && known.is_some();
                let next = next.or_else(|| outdated.then_some(probe)).filter(|_| !never_ran && starts < STARTS_MAX);
                let Some(next) = next else {
                    surroundings.eras.set(&key, None);
                    return Err(error + &words);
                };
                tracing::debug!(
                    command = launch.command,
                    error,
                    ?next,
                    "the server opened no session; it is started again"
                );
                plan = next;
                starts += 1;
            }
        }
    }
}

/// Keeps in mind how the session opened. A server with another version than before is forgotten, so that it is probed next time.
fn remember(eras: &Eras, key: &str, known: Option<Known>, era: Era, service: &Service) {
    let info = service.peer().peer_info();
    let version = info.and_then(|info| Some(info.server_info.as_ref()?.version.clone()));
    let now = Known { era, version };
    match known {
        Some(known) if known == now => {}
        Some(known) if known.era == era => eras.set(key, None),
        _ => eras.set(key, Some(&now)),
    }
}

async fn open_files(root: &Path, locks: Option<&Locks>, patience: Duration) -> Result<Opened, String> {
    let files = agentd_files::Files::new(root).map_err(|error| format!("cannot open {root:?}: {error}"))?;
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let ended = CancellationToken::new();
    let end = ended.clone().drop_guard();
    let guard = locks.map(Locks::name).transpose();
    let (guard, path) = guard.map_err(|error| format!("cannot name a guard: {error}"))?.unzip();
    let lock = path.map(|path| hold(&path).map(|lock| (path, lock))).transpose();
    let lock = lock.map_err(|error| format!("cannot lock a guard file: {error}"))?;
    tokio::spawn(async move {
        let _end = end;
        if let Err(error) = files.serve(tokio::io::split(far)).await {
            tracing::warn!(%error, "the bundled files server broke down");
        }
        // No call is at work any more. Where this is not reached, the lock goes with the process.
        if let Some((path, _held)) = lock {
            let _swept_later = std::fs::remove_file(path);
        }
    });
    let (read, write) = tokio::io::split(near);
    let wire = Wire::new(read, write, ended.clone());
    let changed = Arc::<AtomicBool>::default();
    let listener = Listener { changed: Arc::clone(&changed) };
    let opened = tokio::time::timeout(patience, era::open(wire, listener, Plan::Straight(Era::Initialize))).await;
    let (service, _) = opened.map_err(|_| "it did not open a session".to_owned())?.map_err(|refused| refused.error)?;
    Ok(Opened { service, body: Body::Task { ended, guard }, changed })
}

/// In the new era a server tells of changes only to those who listen. A server that cannot be listened to is left alone.
async fn follow(peer: Peer<RoleClient>, changed: Arc<AtomicBool>, end: CancellationToken) {
    let modern = peer.peer_info().is_some_and(|info| info.protocol_version >= ProtocolVersion::NO_INITIALIZE);
    if !modern {
        return;
    }
    let listen = async {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = peer.listen(filter).await?;
        while subscription.next().await?.is_some() {
            changed.store(true, Ordering::SeqCst);
        }
        Ok::<(), rmcp::ServiceError>(())
    };
    tokio::select! {
        heard = listen => {
            // The stream may have ended with a change that nobody heard.
            changed.store(true, Ordering::SeqCst);
            tracing::debug!(?heard, "no longer told of changed tools");
        }
        () = end.cancelled() => {}
    }
}
