//! What a command came to, as an exit code: the one place that decides it.
//!
//! Scripts rely on the numbers, so they never change their meaning.

use std::fmt::Write;

use serde_json::{Value, json};

use super::text::{Form, escape};
use crate::{
    daemon, journal,
    run::{End, RunId, Wait, WaitKind},
    store,
};

/// What a process of ours exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Code {
    /// All is well.
    Done = 0,
    /// The run failed, or something went wrong that no other code tells of.
    Failed = 1,
    /// The command line or a file is wrong.
    Usage = 2,
    /// The run waits for a person, a moment or a child.
    Waiting = 3,
    /// No provider can be reached, or it refuses our key or account. Resumable.
    Provider = 4,
    /// A required tool server does not start. Resumable.
    Tools = 5,
    /// A limit is used up. Resumable with a higher one.
    Exhausted = 6,
    /// The output does not fit its schema.
    Output = 7,
    /// No such run or agent.
    NotFound = 8,
    /// The store is locked, damaged, full or failed.
    Store = 9,
    /// Interrupted by Ctrl-C, or cancelled.
    Interrupted = 130,
    /// Told to stop by SIGTERM. Resumable.
    Terminated = 143,
}

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        (code as u8).into()
    }
}

/// The signal that ended a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Code {
    /// Of a run that has ended.
    pub fn of_end(end: &End) -> Code {
        match end {
            End::Done { .. } => Code::Done,
            End::Failed { code, .. } if code == "output_mismatch" => Code::Output,
            End::Failed { .. } => Code::Failed,
            End::Cancelled => Code::Interrupted,
            End::Exhausted { .. } => Code::Exhausted,
        }
    }

    /// Of a run that waits for these. A person comes first, since nothing else helps.
    pub fn of_waits(waits: &[Wait]) -> Code {
        let of = |wait: &Wait| match wait {
            Wait::Approval(_) | Wait::Change(_) | Wait::Doubt(_) | Wait::Input(_) => Code::Waiting,
            Wait::Other(wait) => match wait.kind {
                WaitKind::Approval | WaitKind::Doubt | WaitKind::Input | WaitKind::Change => Code::Waiting,
                WaitKind::Timer | WaitKind::Child => Code::Waiting,
                WaitKind::Provider => Code::Provider,
                WaitKind::Store => Code::Store,
            },
        };
        waits.iter().map(of).min().unwrap_or(Code::Waiting)
    }

    /// Of a run that was let go because of a signal.
    pub fn of_signal(signal: Signal) -> Code {
        match signal {
            Signal::Interrupt => Code::Interrupted,
            Signal::Terminate => Code::Terminated,
        }
    }
}

/// Why a command came to nothing, ready to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub code: Code,
    /// A stable name for machines.
    pub name: String,
    /// For people; may have several lines.
    pub message: String,
    /// The run it is about, if it can be resumed.
    pub run: Option<RunId>,
}

impl Trouble {
    /// The command line does not make sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Trouble { code: Code::Usage, name: "usage".to_owned(), message: message.into(), run: None }
    }

    /// No such agent.
    pub fn not_found(message: impl Into<String>) -> Self {
        Trouble { code: Code::NotFound, name: "not_found".to_owned(), message: message.into(), run: None }
    }

    /// For people, on stderr.
    pub fn text(&self) -> String {
        let resume = self.run.map(|run| format!("\nresume with: agentd resume {run}")).unwrap_or_default();
        format!("error: {}{resume}", escape(&self.message, Form::Text))
    }

    /// For machines, on stdout.
    pub fn document(&self) -> Value {
        let mut document = json!({"error": {"code": self.name, "message": self.message}});
        if let Some(run) = self.run {
            document["run"] = run.to_string().into();
        }
        document
    }

    /// The same, about a run that can be resumed.
    pub fn about(self, run: RunId) -> Self {
        Trouble { run: Some(run), ..self }
    }
}

impl From<daemon::Error> for Trouble {
    fn from(error: daemon::Error) -> Self {
        let ((code, advice), name) = (verdict(&error), error.code().to_owned());
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            // Writing to a string cannot fail. Some texts repeat their cause.
            let text = cause.to_string();
            if !message.ends_with(&text) {
                let _ = write!(message, ": {text}");
            }
            source = cause.source();
        }
        if let Some(advice) = advice {
            let _ = write!(message, "\n{advice}");
        }
        Trouble { code, name, message, run: None }
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Trouble { code: Code::Failed, name: "io".to_owned(), message: format!("{error:#}"), run: None }
    }
}

/// Code, and what to do about it.
fn verdict(error: &daemon::Error) -> (Code, Option<String>) {
    match error {
        daemon::Error::File(_) | daemon::Error::Model(_) | daemon::Error::Refused(_) => (Code::Usage, None),
        daemon::Error::NotFound(_) => (Code::NotFound, None),
        daemon::Error::Taken { holders } => (Code::Store, Some(taken(holders))),
        daemon::Error::Driven { run, .. } => (Code::Store, Some(format!("watch it with: agentd runs watch {run}"))),
        daemon::Error::Busy { run, pid } => (Code::Store, Some(busy(*run, *pid))),
        daemon::Error::Gone(_) => (Code::Store, Some("try again".to_owned())),
        daemon::Error::Keyed { run } => (Code::Usage, Some(format!("see: agentd runs show {run}"))),
        daemon::Error::Remote { code, .. } => (of_remote(code), None),
        daemon::Error::Tools(_) => (Code::Tools, None),
        daemon::Error::Misfit(_) => (Code::Store, Some(DAMAGED.to_owned())),
        daemon::Error::Panicked(_) => (Code::Failed, None),
        daemon::Error::Io { .. } => (Code::Store, None),
        daemon::Error::Journal(error) => match error {
            journal::Error::Fenced { .. } => (Code::Store, None),
            journal::Error::Corrupt { .. } => (Code::Store, Some(DAMAGED.to_owned())),
            journal::Error::TooLarge { .. } => (Code::Failed, None),
            journal::Error::Store(error) => match error {
                store::Error::NotFound(_) => (Code::NotFound, None),
                store::Error::Locked { pid } => (Code::Store, Some(locked(*pid))),
                store::Error::Damaged { .. } => (Code::Store, Some(DAMAGED.to_owned())),
                store::Error::Full { .. } => (Code::Store, Some("make room on that disk, then try again".to_owned())),
                store::Error::Poisoned(_) => {
                    let advice = "what was shown as durable is safe; look at the disk, then try again";
                    (Code::Store, Some(advice.to_owned()))
                }
                store::Error::Unusable(_) => (Code::Store, None),
            },
        },
    }
}

/// Of what the process that holds a slot answered: the code that the same error has here.
fn of_remote(code: &str) -> Code {
    match code {
        "refused" | "invalid_file" | "unknown_model" | "bad_request" => Code::Usage,
        "not_found" => Code::NotFound,
        "tools" => Code::Tools,
        "too_large" => Code::Failed,
        _ => Code::Store,
    }
}

/// What to do when all slots are taken.
fn taken(holders: &[Option<u32>]) -> String {
    let stop = holders.iter().flatten().next().map(|pid| format!(", or stop one: kill {pid}"));
    format!("wait until one of them has ended{}; see: agentd runs", stop.unwrap_or_default())
}

/// What to do about a run whose slot somebody else works in.
fn busy(run: RunId, pid: u32) -> String {
    format!(
        "it can be approved, denied, resolved, cancelled and told more meanwhile, and goes on when that process has ended: agentd resume {run}\n\
         to end that process now, which interrupts its runs until they are resumed: kill {pid}"
    )
}

const DAMAGED: &str = "other runs are not touched; see: agentd runs";

fn locked(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("wait until that process has ended, or stop it: kill {pid}"),
        None => "wait until the other process has ended, or give this one another $AGENTD_HOME".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        chat::CallId,
        mcp, router,
        run::{Limit, Misfit, Waiting},
    };

    const CALL: CallId = CallId { turn: 1, call: 1 };

    fn failed(code: &str) -> End {
        End::Failed { code: code.to_owned(), message: String::new() }
    }

    fn other(kind: WaitKind) -> Wait {
        Wait::Other(Waiting { kind, until: None, message: String::new(), code: String::new() })
    }

    #[test]
    fn ends_have_their_codes() {
        let limits = [Limit::Turns, Limit::ToolCalls, Limit::Tokens, Limit::Cost, Limit::Active, Limit::Budget];
        assert_eq!(Code::of_end(&End::Done { output: "".into() }) as u8, 0);
        assert_eq!(Code::of_end(&failed("calls_rejected")) as u8, 1);
        assert_eq!(Code::of_end(&failed("output_unusable")) as u8, 1);
        assert_eq!(Code::of_end(&failed("output_mismatch")) as u8, 7);
        assert_eq!(limits.map(|limit| Code::of_end(&End::Exhausted { limit, message: None }) as u8), [6; 6]);
        assert_eq!(Code::of_end(&End::Cancelled) as u8, 130);
        assert_eq!([Signal::Interrupt, Signal::Terminate].map(|signal| Code::of_signal(signal) as u8), [130, 143]);
    }

    #[test]
    fn waits_have_their_codes() {
        let person =
            [Wait::Approval(CALL), Wait::Change(CALL), Wait::Doubt(CALL), Wait::Input(CALL), other(WaitKind::Change)];
        assert_eq!(person.map(|wait| Code::of_waits(&[wait]) as u8), [3; 5]);
        let kinds = [WaitKind::Timer, WaitKind::Child, WaitKind::Provider, WaitKind::Store];
        assert_eq!(kinds.map(|kind| Code::of_waits(&[other(kind)]) as u8), [3, 3, 4, 9]);
        assert_eq!(Code::of_waits(&[other(WaitKind::Provider), Wait::Approval(CALL)]) as u8, 3);
    }

    #[test]
    fn errors_have_their_codes_and_names() {
        let run = RunId(uuid::Uuid::nil());
        let text = || "x".to_owned();
        let damage = || journal::Damage::Length { expected: 2, found: 1 };
        let misfit = || Misfit { index: 1, reason: text() };
        let server = || mcp::Error::NotStarted { server: text(), detail: text() };
        let io = || daemon::Error::Io { what: text(), source: std::io::Error::other("x") };
        let store = |error: store::Error| daemon::Error::Journal(journal::Error::Store(error));
        let cases: Vec<(daemon::Error, u8, &str)> = vec![
            (daemon::Error::File(text()), 2, "invalid_file"),
            (router::Error::NoModel { name: text(), routes: Vec::new() }.into(), 2, "unknown_model"),
            (daemon::Error::Refused(text()), 2, "refused"),
            (daemon::Error::NotFound(text()), 8, "not_found"),
            (daemon::Error::Taken { holders: vec![Some(1), None] }, 9, "slots_taken"),
            (daemon::Error::Driven { run, pid: 1 }, 9, "driven_elsewhere"),
            (daemon::Error::Busy { run, pid: 1 }, 9, "slot_busy"),
            (daemon::Error::Gone(None), 9, "gone"),
            (daemon::Error::Keyed { run }, 2, "key_taken"),
            (daemon::Error::Remote { code: "refused".to_owned(), message: text() }, 2, "refused"),
            (daemon::Error::Remote { code: "not_found".to_owned(), message: text() }, 8, "not_found"),
            (daemon::Error::Remote { code: "store_full".to_owned(), message: text() }, 9, "store_full"),
            (server().into(), 5, "tools"),
            (misfit().into(), 9, "store_damaged"),
            (crate::bulkhead::Panicked(text()).into(), 1, "internal"),
            (io(), 9, "io"),
            (journal::Error::Fenced { run, epoch: 2 }.into(), 9, "fenced"),
            (journal::Error::Corrupt { run, index: None, source: damage() }.into(), 9, "store_damaged"),
            (journal::Error::TooLarge { bytes: 1 }.into(), 1, "too_large"),
            (store(store::Error::NotFound(run)), 8, "not_found"),
            (store(store::Error::Locked { pid: Some(1) }), 9, "store_locked"),
            (store(store::Error::Damaged { run, reason: "x".into() }), 9, "store_damaged"),
            (store(store::Error::Full { free: 1, reserve: 2 }), 9, "store_full"),
            (store(store::Error::Poisoned("x".into())), 9, "store_failed"),
            (store(store::Error::Unusable("x".into())), 9, "store_unusable"),
        ];
        for (error, code, name) in cases {
            let trouble = Trouble::from(error);
            assert_eq!((trouble.code as u8, &*trouble.name), (code, name), "{}", trouble.message);
        }
    }

    #[test]
    fn a_locked_store_names_the_process_and_says_what_to_do() {
        let error = daemon::Error::from(store::Error::Locked { pid: Some(4711) });
        assert_eq!(
            Trouble::from(error).message,
            "store unavailable: the store is in use by process 4711\nwait until that process has ended, or stop it: kill 4711"
        );
    }

    #[test]
    fn a_fifth_process_is_told_of_the_four() {
        let holders = vec![Some(11), Some(12), None, Some(14)];
        let text = Trouble::from(daemon::Error::Taken { holders }).message;
        assert_eq!(
            text,
            "4 agentd processes are at work on this machine already (11, 12, 14), which is as many as there can be\n\
             wait until one of them has ended, or stop one: kill 11; see: agentd runs"
        );
    }

    #[test]
    fn causes_are_told_once() {
        let source = journal::Damage::Store(Arc::from("the witness knows 7 entries, the store holds 5"));
        let error =
            daemon::Error::Journal(journal::Error::Corrupt { run: RunId(uuid::Uuid::nil()), index: None, source });
        assert_eq!(Trouble::from(error).message.matches("the witness knows").count(), 1);
    }
}
