//! What an agent file says of one tool server.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::process::Launch;
use crate::chat::Effect;

/// Longest start of a server that a run cannot do without: `npx` may have to download it first.
const START: Duration = Duration::from_secs(60);

/// Longest start of an optional server: the first turn waits for it.
const START_OPTIONAL: Duration = Duration::from_secs(10);

/// Longest wait for the answer to a probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// Longest wait for a server to react after a call was cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Calls at work at once in one server, unless told otherwise; what rmcp allows over HTTP (3.9).
const CALLS_MAX: u32 = 16;

/// A tool server and how to deal with it.
#[derive(Clone)]
pub struct Server {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) trust: Trust,
    pub(super) effect: Option<Effect>,
    pub(super) effects: BTreeMap<String, Effect>,
    pub(super) calls_max: u32,
    allow: Vec<String>,
    deny: Vec<String>,
    start_timeout: Option<Duration>,
    pub(super) probe_patience: Duration,
    pub(super) cancel_patience: Duration,
}

/// Where a server is.
#[derive(Clone)]
pub(super) enum Kind {
    /// A program that speaks over its stdin and stdout.
    Stdio(Launch),
    /// The bundled `files` server for the folder, in this process.
    Files(PathBuf),
}

/// Whether a server's annotations are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// They decide a tool's effect, where the agent file does not.
    Hints,
    /// They are ignored: every tool counts as a write.
    None,
}

impl Server {
    /// The program `command`, found on `PATH` or by its path. It gets no arguments and a small part of our environment.
    pub fn stdio(name: impl Into<String>, command: impl Into<String>) -> Self {
        let launch = Launch { command: command.into(), args: Vec::new(), env: Vec::new(), cwd: None };
        Server::new(name.into(), Kind::Stdio(launch))
    }

    /// The bundled `files` server, confined to the folder `root`.
    pub fn files(name: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Server::new(name.into(), Kind::Files(root.into()))
    }

    fn new(name: String, kind: Kind) -> Self {
        Server {
            name,
            kind,
            required: true,
            trust: Trust::Hints,
            effect: None,
            effects: BTreeMap::new(),
            calls_max: CALLS_MAX,
            allow: Vec::new(),
            deny: Vec::new(),
            start_timeout: None,
            probe_patience: PROBE_PATIENCE,
            cancel_patience: CANCEL_PATIENCE,
        }
    }

    /// Adds arguments of the program. Without meaning for a bundled server, like `env` and `cwd`.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if let Kind::Stdio(launch) = &mut self.kind {
            launch.args.extend(args.into_iter().map(Into::into));
        }
        self
    }

    /// Adds a variable to the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        if let Kind::Stdio(launch) = &mut self.kind {
            launch.env.push((name.into(), value.into()));
        }
        self
    }

    /// Where the program runs; without, where we do.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        if let Kind::Stdio(launch) = &mut self.kind {
            launch.cwd = Some(folder.into());
        }
        self
    }

    /// Lets runs go without this server if it does not start. By default, a server is required.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Whether its annotations are believed. By default they are: the operator chose the server.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The effect of all its tools, whatever they say.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = Some(effect);
        self
    }

    /// The effect of the tool that the server calls `tool`, whatever else is said.
    #[must_use]
    pub fn tool_effect(mut self, tool: impl Into<String>, effect: Effect) -> Self {
        self.effects.insert(tool.into(), effect);
        self
    }

    /// Offers only tools whose name matches a glob given here. Without, all are offered.
    #[must_use]
    pub fn allow(mut self, glob: impl Into<String>) -> Self {
        self.allow.push(glob.into());
        self
    }

    /// Never offers tools whose name matches the glob, even if allowed.
    #[must_use]
    pub fn deny(mut self, glob: impl Into<String>) -> Self {
        self.deny.push(glob.into());
        self
    }

    /// Longest time from starting the server to an open session: 60 s by default, 10 s for an optional one.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// How long the server may take to say which protocol era it speaks before it is taken for one of the old era: 3 s by
    /// default, which is longer than most take to start.
    #[must_use]
    pub fn probe_patience(mut self, patience: Duration) -> Self {
        self.probe_patience = patience;
        self
    }

    /// Sets how long the server may take to react after a call was cancelled, before it is ended: 5 s by default.
    #[must_use]
    pub fn cancel_patience(mut self, patience: Duration) -> Self {
        self.cancel_patience = patience;
        self
    }

    /// Most calls at work at once, at least one; others wait. 16 by default.
    #[must_use]
    pub fn calls_max(mut self, calls: u32) -> Self {
        self.calls_max = calls.clamp(1, 1 << 16);
        self
    }

    pub(super) fn start_within(&self) -> Duration {
        self.start_timeout.unwrap_or(if self.required { START } else { START_OPTIONAL })
    }

    /// Which tools are offered, or which glob is none.
    pub(super) fn filter(&self) -> Result<Filter, globset::Error> {
        let set = |globs: &[String]| {
            let mut set = GlobSetBuilder::new();
            for glob in globs {
                set.add(Glob::new(glob)?);
            }
            set.build()
        };
        let allow = if self.allow.is_empty() { None } else { Some(set(&self.allow)?) };
        Ok(Filter { allow, deny: set(&self.deny)? })
    }
}

/// Which tools of a server are offered.
pub(super) struct Filter {
    /// `None`: all.
    allow: Option<GlobSet>,
    deny: GlobSet,
}

impl Filter {
    pub fn passes(&self, tool: &str) -> bool {
        !self.deny.is_match(tool) && self.allow.as_ref().is_none_or(|allow| allow.is_match(tool))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_beats_allow_and_no_allow_is_all() {
        let passes = |server: Server, tool: &str| server.filter().unwrap().passes(tool);
        let server = || Server::stdio("s", "s");
        assert!(passes(server(), "anything"));
        assert!(passes(server().allow("issue_*"), "issue_create"));
        assert!(!passes(server().allow("issue_*"), "repo_create"));
        assert!(!passes(server().allow("issue_*").deny("*delete*"), "issue_delete"));
        assert!(!passes(server().deny("*delete*"), "delete"));
        assert!(passes(server().allow("*"), "a/b.c"));
        assert!(server().allow("[").filter().is_err());
    }
}
