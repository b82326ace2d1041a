//! One live connection to a server: the process, or the bundled server, and the session with it.
//!
//! A connection is used until its pipe breaks, or its server does not react after a call was cancelled; then it is spent,
//! its last calls run out, and it is ended for good. A server that does react is kept: it may hold a session in memory
//! that is worth more than the certainty that the call is over. No answer is ever taken for that of a later call.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    model::{
        CancelledNotification, CancelledNotificationParam, ClientRequest, ListToolsRequest, PingRequest,
        ProtocolVersion, RequestId, SubscriptionFilter,
    },
    service::{Peer, PeerRequestOptions, RoleClient, ServiceError},
};
use tokio::{
    sync::{Mutex, RwLock, Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
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
    wire::{Ticket, Wire},
};

/// Bytes in flight between us and a bundled server, each way; what a pipe holds on Linux.
const PIPE_BYTES: usize = 64 * 1024;

/// How long rmcp's loop may take to let go of its pipe.
const LET_GO: Duration = Duration::from_secs(1);

/// How long telling the server of a cancelled call may take.
const CANCEL: Duration = Duration::from_secs(1);

/// How long a server that reacts may take to answer a call that was cancelled, where nobody needs to know that it is over.
const LINGER: Duration = Duration::from_millis(300);

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
    /// Read while it shows whether the server reacts after a call was cancelled, which new calls wait for.
    settling: Arc<RwLock<()>>,
    /// How long that may take.
    cancel_patience: Duration,
    /// No more calls are made on it.
    spent: AtomicBool,
    /// The server was not ended by us.
    died: AtomicBool,
    /// Whether the tools must be listed again.
    changed: Arc<AtomicBool>,
    listing: Mutex<Option<Arc<Listing>>>,
    /// Ends the task that follows `subscriptions/listen`.
    _listening: DropGuard,
}

/// What came of cancelling a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// The server answered it; its ticket has the answer.
    Answered,
    /// The server reacts, and may still work on it.
    Reacts,
    /// The server is being ended.
    Ended,
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
            settling: Arc::default(),
            cancel_patience: server.cancel_patience,
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
    /// tells whether the server broke it.
    pub fn spend(self: &Arc<Self>, died: bool) {
        if self.spent.swap(true, Ordering::SeqCst) {
            return;
        }
        self.died.store(died, Ordering::SeqCst);
        // Without a runtime nothing is at work any more: the process ends when the connection is dropped.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::clone(self);
        runtime.spawn(async move { connection.finish().await });
    }

    /// Tells the server that nobody waits for a call any more, gives it time to act on that, and finds out whether it still
    /// reacts. A server that does not is spent; so is one that does not answer the call, where it must be `certain` that
    /// the call is over.
    pub async fn settle(self: &Arc<Self>, id: RequestId, ticket: &Ticket, why: &str, certain: bool) -> Settled {
        let _settling = self.settling.read().await;
        self.cancel(id, why).await;
        self.react(ticket, certain).await
    }

    /// As [`settle`](Self::settle), in the background, for a call whose future is dropped.
    pub fn abandon(self: &Arc<Self>, id: RequestId, ticket: Arc<Ticket>, certain: bool) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return self.spend(false) };
        let connection = Arc::clone(self);
        // Taken here, so that an end, or a new call, that begins before the task does waits too.
        let noticing = Arc::clone(&self.notices).try_read_owned();
        let settling = Arc::clone(&self.settling).try_read_owned();
        runtime.spawn(async move {
            connection.cancel(id, "the call was cancelled").await;
            drop(noticing);
            connection.react(&ticket, certain).await;
            drop(settling);
        });
    }

    /// Waits until it shows whether the server reacts after calls were cancelled.
    pub async fn settled(&self) {
        drop(self.settling.write().await);
    }

    async fn cancel(&self, id: RequestId, why: &str) {
        let params = CancelledNotificationParam::new(Some(id), Some(why.to_owned()));
        let notice = self.peer.send_notification(CancelledNotification::new(params).into());
        let _gone = timeout(CANCEL, notice).await;
    }

    async fn react(self: &Arc<Self>, ticket: &Ticket, certain: bool) -> Settled {
        let until = Instant::now() + self.cancel_patience;
        let answered = ticket.replied();
        tokio::pin!(answered);
        let reacts = tokio::select! {
            biased;
            () = &mut answered => return Settled::Answered,
            reacts = timeout_at(until, self.reacts()) => reacts.unwrap_or(false),
        };
        if reacts {
            let linger = if certain { until } else { until.min(Instant::now() + LINGER) };
            if timeout_at(linger, answered).await.is_ok() {
                return Settled::Answered;
            }
            if !certain {
                return Settled::Reacts;
            }
        }
        self.spend(self.is_broken());
        Settled::Ended
    }

    /// Waits for a sign of life. In the new era there is no ping.
    async fn reacts(&self) -> bool {
        let request = match self.is_modern() {
            true => ClientRequest::ListToolsRequest(ListToolsRequest::default()),
            false => ClientRequest::PingRequest(PingRequest::default()),
        };
        match self.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await {
            Ok(handle) => matches!(handle.await_response().await, Ok(_) | Err(ServiceError::McpError(_))),
            Err(_) => false,
        }
    }

    fn is_modern(&self) -> bool {
        is_modern(&self.peer)
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

/// Whether the session is of the new era, without `initialize`.
fn is_modern(peer: &Peer<RoleClient>) -> bool {
    peer.peer_info().is_some_and(|info| info.protocol_version >= ProtocolVersion::NO_INITIALIZE)
}

/// In the new era a server tells of changes only to those who listen. A server that cannot be listened to is left alone.
async fn follow(peer: Peer<RoleClient>, changed: Arc<AtomicBool>, end: CancellationToken) {
    if !is_modern(&peer) {
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
