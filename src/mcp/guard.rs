//! The guard: a small process between us and a tool server, so that no server outlives us, even after `kill -9`.
//!
//! The host starts `agentd __guard PID LOCK -- COMMAND ARGS…` as the leader of a process group of its own. The guard
//! takes the lock of `locks`, starts the server with its own stdin, stdout and stderr, watches both sides, and
//! exits with the server's code. Always true:
//! - When the host or the server ends, everything that the server started ends: its process group, and on Linux also
//!   what left the group, because orphans fall to the guard.
//! - The guard survives the signals that end programs politely; the server gets them, since they go to the group.
//!   SIGUSR1, sent to the guard alone, makes it end the server at once.
//! - The server inherits the lock's open file: should even the guard be killed, the lock tells that the server lives.
//!
//! Left out on purpose: what leaves the group when the guard is killed as well (that needs a cgroup), and work that a server
//! hands to somebody else's process, such as a container.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::process::{ExitStatusExt, parent_id},
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rustix::{
    io::FdFlags,
    process::{Pid, Signal, WaitOptions},
};
use tokio::signal::unix::{Signal as Told, SignalKind, signal};

use super::locks;

/// The first argument of a program that shall be a guard.
const ARGUMENT: &str = "__guard";

/// How long a server whose host is gone may take to end by itself: enough to finish a write, and short, since whoever
/// resumes the run waits for it.
const GRACE: Duration = Duration::from_millis(500);

/// How often the host is looked for where no pidfd tells of its end.
const POLL: Duration = Duration::from_millis(200);

/// How long killed processes may take to be gone before the guard gives up on them.
const END: Duration = Duration::from_secs(2);

/// Exit codes as shells use them: the guard itself failed.
const FAILED: u8 = 125;
/// The command cannot be executed.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
pub(super) const NOT_FOUND: u8 = 127;

/// Makes this process a guard if it was started as one, and then never returns; otherwise returns at once. For programs
/// that use agentd as a library and name themselves as guard program: call it first in `main`.
pub fn enter() {
    let mut args = env::args_os().skip(1);
    if args.next().is_some_and(|first| first == ARGUMENT) {
        std::process::exit(i32::from(run(args)));
    }
}

/// A program that acts as guard when it is started with `__guard` as first argument.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// The program at `path`; its `main` calls [`agentd::guard`](crate::guard) first.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Program { path: path.into() }
    }

    /// This very program, if it calls [`agentd::guard`](crate::guard) first in `main`.
    ///
    /// # Errors
    /// When the system does not tell where the program is.
    pub fn this() -> io::Result<Self> {
        // On Linux this name also holds after the file was replaced by an update.
        let path = if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { env::current_exe()? };
        Ok(Program { path })
    }

    /// The command that starts `command` under this guard; its arguments follow.
    pub(super) fn command(&self, lock: &Path, command: &str) -> tokio::process::Command {
        let mut guard = tokio::process::Command::new(&self.path);
        guard.arg0("agentd").arg(ARGUMENT).arg(std::process::id().to_string()).arg(lock).arg("--").arg(command);
        guard
    }
}

/// Is a guard for its whole life; `args` are those behind `__guard`. For programs that parse their own command line.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    run(args).into()
}

fn run(args: impl Iterator<Item = OsString>) -> u8 {
    let Some(order) = Order::read(args) else {
        complain(format_args!("usage: {ARGUMENT} PID LOCK -- COMMAND [ARGUMENT]…"));
        return FAILED;
    };
    let guarded = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(guard(&order)));
    match guarded {
        Ok(code) => code,
        Err(error) => {
            complain(format_args!("cannot start {:?}: {error}", order.command));
            match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                io::ErrorKind::PermissionDenied => NOT_EXECUTABLE,
                _ => FAILED,
            }
        }
    }
}

/// What a guard is told on its command line.
struct Order {
    host: Pid,
    lock: PathBuf,
    command: OsString,
    args: Vec<OsString>,
}

impl Order {
    fn read(mut args: impl Iterator<Item = OsString>) -> Option<Self> {
        let host = args.next()?.to_str()?.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)?;
        let lock = PathBuf::from(args.next()?);
        let command = args.next().filter(|dashes| dashes == "--").and_then(|_| args.next())?;
        Some(Order { host, lock, command, args: args.collect() })
    }
}

async fn guard(order: &Order) -> io::Result<u8> {
    // Before anything else, so that no signal finds us unprepared.
    let mut signals = Signals::listen()?;
    let own = rustix::process::getpid();
    // No change for the host's child, which already leads its group.
    rustix::process::setpgid(None, None)?;
    #[cfg(target_os = "linux")]
    {
        // Killing everything named `agentd` must leave the guards to do their work.
        rustix::thread::set_name(c"tool-guard")?;
        rustix::process::set_child_subreaper(Some(own))?;
    }
    let mut host_end = pin!(host_end(order.host));
    // Polled once, so that nothing is started for a host that is gone.
    if let Some(gone) = (&mut host_end).now_or_never() {
        gone?;
        return Ok(FAILED);
    }
    let mut lock = locks::hold(&order.lock)?;
    locks::name_group(&mut lock, own, format_args!("of process {}: {:?}", order.host, order.command))?;
    rustix::io::fcntl_setfd(&lock, FdFlags::empty())?;

    let server = Command::new(&order.command).args(&order.args).spawn()?;
    let server = Pid::from_child(&server);
    let_go_of_stdio()?;

    let mut host_lives = true;
    let mut status = tokio::select! {
        status = server_end(&mut signals.child, server) => Some(status),
        _ = signals.end_now.recv() => None,
        gone = &mut host_end => {
            gone?;
            host_lives = false;
            None
        }
    };
    if !host_lives {
        let _all_may_be_gone = rustix::process::kill_process_group(own, Signal::TERM);
        status = tokio::time::timeout(GRACE, server_end(&mut signals.child, server)).await.ok();
    }
    let (ended, nothing_left) = end_all(own, host_lives.then_some(order.host), server);
    // Only Linux tells of everything below us. Elsewhere, and if something cannot be killed, the lock has to tell.
    if nothing_left && cfg!(target_os = "linux") {
        let _swept_later = fs::remove_file(&order.lock);
    }
    Ok(status.or(ended).map_or(FAILED, exit_code))
}

/// The signals that a guard listens to. Those that end programs are only caught, so that they end the server and
/// not the guard.
struct Signals {
    child: Told,
    end_now: Told,
    _caught: [Told; 4],
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals {
            child: signal(SignalKind::child())?,
            end_now: signal(SignalKind::user_defined1())?,
            _caught: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            ],
        })
    }
}

/// Waits until the server has ended, and meanwhile buries the orphans that fall to us.
async fn server_end(child: &mut Told, server: Pid) -> ExitStatus {
    loop {
        child.recv().await;
        if let (Some(status), _) = reap(server) {
            return status;
        }
    }
}

/// Takes leave of all children that have ended. Returns the server's status, if it was among them, and whether
/// children remain.
fn reap(server: Pid) -> (Option<ExitStatus>, bool) {
    let mut ended = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == server => ended = Some(ExitStatus::from_raw(status.as_raw())),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return (ended, true),
            Err(_) => return (ended, false),
        }
    }
}

/// Waits until our parent, which must be `host`, has ended. The error comes at once.
async fn host_end(host: Pid) -> io::Result<()> {
    // The handle first: if `host` is our parent afterwards, it was so when the handle was opened.
    #[cfg(target_os = "linux")]
    let handle = rustix::process::pidfd_open(host, rustix::process::PidfdFlags::empty());
    if !is_parent(host) {
        return Err(io::Error::other("the process to be watched is not the parent"));
    }
    #[cfg(target_os = "linux")]
    if let Ok(handle) = handle {
        use rustix::event::{PollFd, PollFlags, poll};

        let (tell, ended) = tokio::sync::oneshot::channel();
        // A thread of its own, since waiting for a foreign handle in tokio takes unsafe code.
        std::thread::Builder::new().spawn(move || {
            let wait = || poll(&mut [PollFd::new(&handle, PollFlags::IN)], None);
            let waited = std::iter::repeat_with(wait).find(|waited| *waited != Err(rustix::io::Errno::INTR));
            if let Some(Ok(_)) = waited {
                let _over = tell.send(());
            }
        })?;
        if ended.await.is_ok() {
            return Ok(());
        }
    }
    while is_parent(host) {
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

fn is_parent(host: Pid) -> bool {
    i32::try_from(parent_id()).is_ok_and(|parent| parent == host.as_raw_pid())
}

/// Points our own stdin, stdout and stderr elsewhere: each pipe must end when the server lets go of it.
fn let_go_of_stdio() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

/// Kills everything that the server has left, and the server. Returns its status, if it was still running, and whether
/// none of our children is left.
fn end_all(own: Pid, host: Option<Pid>, server: Pid) -> (Option<ExitStatus>, bool) {
    // Our group can be killed without us once we are in the host's.
    let outside = host
        .and_then(|host| rustix::process::getpgid(Some(host)).ok())
        .is_some_and(|group| rustix::process::setpgid(None, Some(group)).is_ok());
    if outside {
        let _may_be_empty = rustix::process::kill_process_group(own, Signal::KILL);
    }
    let mut status = None;
    let until = Instant::now() + END;
    let nothing_left = loop {
        // Each process killed may hand us its own children.
        kill_children(own);
        let (ended, remain) = reap(server);
        status = status.or(ended);
        if !remain || Instant::now() > until {
            break !remain;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    if !outside {
        // The host is gone and nobody waits for our exit code: what is left of the group goes with us.
        let _self = rustix::process::kill_process_group(own, Signal::KILL);
    }
    (status, nothing_left)
}

/// Kills our children: the server, and on Linux every orphan below it, whatever its group.
#[cfg(target_os = "linux")]
fn kill_children(own: Pid) {
    let parent = |pid: &str| -> Option<i32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state ppid …`, proc_pid_stat(5); the name may hold anything.
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with(|first: char| first.is_ascii_digit())) else {
            continue;
        };
        if parent(name) == Some(own.as_raw_pid())
            && let Some(child) = name.parse().ok().and_then(Pid::from_raw)
        {
            let _just_ended = rustix::process::kill_process(child, Signal::KILL);
        }
    }
}

/// Elsewhere the group is all that can be reached.
#[cfg(not(target_os = "linux"))]
fn kill_children(_own: Pid) {}

/// The server's exit code, or 128 and the signal that ended it, as shells say it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// Says what is wrong where the host collects what the server says.
fn complain(what: std::fmt::Arguments<'_>) {
    let _nobody_listens = writeln!(io::stderr(), "agentd guard: {what}");
}
