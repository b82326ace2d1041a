//! One server process: started with little of our environment, watched, and ended for good.
//!
//! A task owns the child and is the only one to signal it, so that no signal goes to a number that may already belong to
//! another process. Always true:
//! - The process leads a group, and what is ended is the whole group. Under a guard it is the guard that leads.
//! - A process that is dropped is killed.
//! - However much the server writes to stderr, it is read, and the last of it is kept.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    pin::pin,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{
    GuardId,
    guard::{self, Program},
    locks::Locks,
};
use crate::show::{hidden, redact};

/// What a server sees of our environment; everything else it gets only if the agent file names it. As the TypeScript and
/// Python SDKs of MCP (`DEFAULT_INHERITED_ENV_VARS`), and what decides language, time zone and temporary files.
const INHERITED: [&str; 9] = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// How long each polite step of ending a server may take: first its stdin ends, then it gets SIGTERM.
const POLITE: Duration = Duration::from_millis(1500);

/// How long killing may take before the next, cruder way is tried.
const KILL: Duration = Duration::from_secs(1);

/// How long the last words of a dead server may be on their way.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Bytes of stderr that are kept: a stack trace or two.
const STDERR_BYTES_MAX: usize = 8 * 1024;

/// Lines of stderr in an error message.
const STDERR_LINES_MAX: usize = 12;

/// How to start a server.
#[derive(Clone)]
pub(super) struct Launch {
    pub command: String,
    pub args: Vec<String>,
    /// Beside what is inherited.
    pub env: Vec<(String, String)>,
    /// `None`: ours.
    pub cwd: Option<PathBuf>,
}

/// A running server process.
pub(super) struct Process {
    orders: mpsc::UnboundedSender<Order>,
    status: watch::Receiver<Option<ExitStatus>>,
    ended: CancellationToken,
    stderr: Arc<Tail>,
    guard: Option<GuardId>,
}

/// The two pipes of a server process.
pub(super) struct Pipes {
    pub stdout: ChildStdout,
    pub stdin: ChildStdin,
}

impl Process {
    /// Starts a server, under `guard` if there is one. That the command exists shows only when the server speaks.
    pub fn start(launch: &Launch, guard: Option<(&Program, &Locks)>) -> io::Result<(Self, Pipes)> {
        let (mut command, guard) = match guard {
            Some((program, locks)) => {
                let (id, lock) = locks.name()?;
                (program.command(&lock, &launch.command), Some(id))
            }
            None => (tokio::process::Command::new(&launch.command), None),
        };
        command.args(&launch.args).env_clear().process_group(0);
        command.envs(inherited()).envs(launch.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = &launch.cwd {
            command.current_dir(cwd);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("the server has no pipes"));
        };

        let tail = Arc::<Tail>::default();
        let ended = CancellationToken::new();
        tokio::spawn(read(stderr, Arc::clone(&tail), ended.clone()));
        let (orders, received) = mpsc::unbounded_channel();
        let (told, status) = watch::channel(None);
        let group = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let leash = Leash { child, group, guarded: guard.is_some() };
        tokio::spawn(keep(leash, received, told, ended.clone()));
        Ok((Process { orders, status, ended, stderr: tail, guard }, Pipes { stdout, stdin }))
    }

    /// The guard; `None` when the server runs without.
    pub fn guard(&self) -> Option<&GuardId> {
        self.guard.as_ref()
    }

    /// Cancelled when the process has ended.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Whether the command could not even be started.
    pub fn never_ran(&self) -> bool {
        let unusable = [guard::NOT_FOUND, guard::NOT_EXECUTABLE].map(i32::from);
        self.guard.is_some()
            && self.status.borrow().and_then(|status| status.code()).is_some_and(|code| unusable.contains(&code))
    }

    /// Ends the process whose stdin has just been closed: waits, asks, kills. A few seconds at most.
    pub async fn end(&self) {
        let steps = [(None, POLITE), (Some(Order::Ask), POLITE), (Some(Order::End), KILL), (Some(Order::Kill), KILL)];
        for (order, patience) in steps {
            if let Some(order) = order {
                // An error means that the process has ended.
                let _ended = self.orders.send(order);
            }
            if tokio::time::timeout(patience, self.ended.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// How it ended and what it said last, for an error message; empty when there is nothing to say.
    pub async fn last_words(&self) -> String {
        let _still_running = tokio::time::timeout(LAST_WORDS, self.ended.cancelled()).await;
        let _pipe_kept_open = tokio::time::timeout(LAST_WORDS, self.stderr.whole.cancelled()).await;
        let status = self.status.borrow().map(|status| format!("; it ended with {status}"));
        let said = self.stderr.text();
        let said = (!said.is_empty()).then(|| format!("; on stderr it said:\n{said}"));
        status.unwrap_or_default() + &said.unwrap_or_default()
    }
}

/// The part of our environment that every server gets.
fn inherited() -> impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)> {
    std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(|name| INHERITED.contains(&name) || name.starts_with("LC_")))
}

/// Ways to end a server.
#[derive(Clone, Copy)]
enum Order {
    /// SIGTERM to all of it.
    Ask,
    /// Kills it; under a guard, by telling the guard to.
    End,
    /// Kills it, and the guard with it.
    Kill,
}

/// Waits for the process and passes on what it is told. Ends it when nobody holds the [`Process`] any more.
async fn keep(
    mut leash: Leash,
    mut orders: mpsc::UnboundedReceiver<Order>,
    told: watch::Sender<Option<ExitStatus>>,
    ended: CancellationToken,
) {
    let status = loop {
        tokio::select! {
            status = leash.child.wait() => break status,
            order = orders.recv() => match order {
                Some(order) => leash.signal(order),
                None => {
                    leash.signal(Order::End);
                    if let Ok(status) = tokio::time::timeout(KILL, leash.child.wait()).await {
                        break status;
                    }
                    leash.signal(Order::Kill);
                    break leash.child.wait().await;
                }
            },
        }
    };
    let status = status.ok();
    // A guard that exits has seen to everything. One that was killed has not.
    if !leash.guarded || status.is_none_or(|status| status.code().is_none()) {
        leash.bury();
    }
    let _nobody_asks = told.send(status);
    ended.cancel();
}

/// The child and its group.
struct Leash {
    child: Child,
    group: Option<Pid>,
    guarded: bool,
}

impl Leash {
    fn signal(&self, order: Order) {
        // Once it has been waited for, the number may be somebody else's.
        let Some(pid) = self.group.filter(|_| self.child.id().is_some()) else { return };
        let _just_ended = match order {
            Order::Ask => rustix::process::kill_process_group(pid, Signal::TERM),
            Order::End if self.guarded => rustix::process::kill_process(pid, Signal::USR1),
            Order::End | Order::Kill => rustix::process::kill_process_group(pid, Signal::KILL),
        };
    }

    /// Kills what an ended process left of its group. The number is still that group's if anything is left of it.
    fn bury(&self) {
        if let Some(group) = self.group {
            let _nothing_left = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.signal(Order::End);
    }
}

/// Reads until the pipe ends, or shortly after the process has ended: something that it left may hold the pipe open.
async fn read(mut stderr: ChildStderr, tail: Arc<Tail>, ended: CancellationToken) {
    let mut chunk = vec![0; STDERR_BYTES_MAX];
    let mut late = pin!(async {
        ended.cancelled().await;
        tokio::time::sleep(LAST_WORDS).await;
    });
    loop {
        tokio::select! {
            length = stderr.read(&mut chunk) => match length {
                Ok(length @ 1..) => tail.push(&chunk[..length]),
                _ => break,
            },
            () = &mut late => break,
        }
    }
    tail.whole.cancel();
}

/// The end of what a server wrote to stderr.
#[derive(Default)]
struct Tail {
    bytes: Mutex<VecDeque<u8>>,
    /// Cancelled when there is no more to come.
    whole: CancellationToken,
}

impl Tail {
    fn push(&self, chunk: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = (bytes.len() + chunk.len()).saturating_sub(STDERR_BYTES_MAX);
        let old = surplus.min(bytes.len());
        bytes.drain(..old);
        bytes.extend(&chunk[surplus - old..]);
    }

    /// The last lines, without secrets and what could upset a terminal.
    fn text(&self) -> String {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(bytes.make_contiguous());
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join("\n");
        let last = redact(&last);
        last.chars().filter(|&char| char == '\n' || char == '\t' || !hidden(char)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_bytes_and_shows_the_last_lines() {
        let tail = Tail::default();
        for line in 0..2_000 {
            tail.push(format!("line {line} \u{1b}[31m\n").as_bytes());
        }
        let kept = tail.bytes.lock().unwrap().len();
        assert_eq!(kept, STDERR_BYTES_MAX);
        let lines: Vec<String> = tail.text().lines().map(str::to_owned).collect();
        let wanted: Vec<String> = (1_988..2_000).map(|line| format!("line {line} [31m")).collect();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn a_chunk_larger_than_the_tail_keeps_its_end() {
        let tail = Tail::default();
        tail.push(b"old");
        tail.push(&[&[b'x'; STDERR_BYTES_MAX][..], b"end"].concat());
        assert_eq!(tail.text().len(), STDERR_BYTES_MAX);
        assert!(tail.text().ends_with("xend"));
    }
}
