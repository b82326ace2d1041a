//! The tool servers of an agent, as the file has them and ready to start.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{Agent, Approval, Approvals, Unattended};
use crate::{
    chat::Effect,
    yaml::{Expanded, Place, Problem, Problems, Written},
};

/// A tool server.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Its name, `[a-z][a-z0-9-]{0,31}`, unique in the agent.
    pub name: String,
    /// Where it stands in the file.
    pub place: Place,
    /// How it is started.
    pub start: Start,
    /// Whether a run needs it. Default `true`.
    pub required: bool,
    /// Whether its hints are believed. Default [`Trust::Hints`]: the operator's own file names it.
    pub trust: Trust,
    /// The effect of all its tools; `None` leaves it to its hints.
    pub effect: Option<Effect>,
    /// Longest silence during a call. Default 60 s.
    pub timeout: Duration,
    /// Hard cap on a call. Default ten times `timeout`.
    pub total_timeout: Duration,
    /// Longest time from the start to an open session; `None` leaves it to the host.
    pub start_timeout: Option<Duration>,
    /// Which of its tools are offered.
    pub tools: ToolFilter,
}

/// How a server is started. Variables are not yet looked up.
#[derive(Debug, Clone, PartialEq)]
pub enum Start {
    /// The bundled `files` server, in our own process.
    Files {
        /// The folder that it is confined to.
        root: Written,
    },
    /// A program that speaks MCP over its standard input and output.
    Command {
        /// The program: a name to be found on `PATH`, or a path.
        command: Written,
        /// Its arguments.
        args: Vec<Written>,
        /// What is added to its environment.
        env: Vec<(String, Written)>,
        /// Where it runs; `None` for the directory of the agent file.
        cwd: Option<Written>,
    },
}

/// Whether a server's annotations decide about effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// They do.
    Hints,
    /// They are ignored: what the file does not say is a write.
    None,
}

/// Which tools of a server are offered, by globs over their own names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolFilter {
    /// Only those that match one of these; all when empty.
    pub allow: Vec<String>,
    /// But none that matches one of these.
    pub deny: Vec<String>,
}

/// The servers of an agent with their variables looked up.
#[derive(Debug, Clone)]
pub struct Servers {
    /// Those that can be started.
    pub ready: Vec<Ready>,
    /// Optional ones that cannot, because a variable is not set.
    pub left_out: Vec<(String, Problem)>,
}

/// A server ready to start. `Debug` shows it as the file has it, without the values of variables.
#[derive(Clone)]
pub struct Ready {
    /// As the file has it.
    pub server: Server,
    /// What to start.
    pub launch: Launch,
}

/// What to start: values looked up, paths absolute if the directory given was.
#[derive(Clone)]
pub enum Launch {
    /// The bundled `files` server.
    Files {
        /// The folder that it is confined to.
        root: PathBuf,
    },
    /// A program.
    Command {
        /// The program: a path, or a name without slashes to be found on `PATH`.
        command: PathBuf,
        /// Its arguments.
        args: Vec<Expanded>,
        /// What is added to its environment.
        env: Vec<(String, Expanded)>,
        /// Where it runs.
        cwd: PathBuf,
    },
}

impl ToolFilter {
    /// Whether a tool of this name is offered.
    pub fn offers(&self, tool: &str) -> bool {
        let matches = |globs: &[String]| globs.iter().any(|glob| crate::chat::glob(glob, tool));
        (self.allow.is_empty() || matches(&self.allow)) && !matches(&self.deny)
    }
}

impl Agent {
    /// The variables that its servers get, each once. Those of folders are not among them: they are no secrets.
    pub fn variables(&self) -> BTreeSet<&str> {
        let written = self.servers.iter().flat_map(|server| match &server.start {
            Start::Files { .. } => Vec::new(),
            Start::Command { command, args, env, .. } => {
                std::iter::once(command).chain(args).chain(env.iter().map(|(_, value)| value)).collect()
            }
        });
        written.flat_map(Written::variables).collect()
    }

    /// A problem at the first line that acts: a server, which is a program or opens a folder, or a word that lets calls run.
    /// `None` when the file does nothing but describe.
    pub fn distrusted(&self, why: &str) -> Option<Problem> {
        let server = self.servers.first().map(|server| server.place);
        let rule = || self.rules.iter().find(|rule| rule.approve == Some(Approval::Allow)).map(|rule| rule.place);
        let Approvals { default, unattended, on_expire_allow, .. } = self.approvals;
        let allows = default == Approval::Allow || unattended == Unattended::Allow || on_expire_allow;
        let top = Place { line: 1, col: 1, start: 0, end: 0 };
        let approvals = || allows.then(|| self.approvals_place.unwrap_or(top));
        Some(self.source.problem(server.or_else(rule).or_else(approvals)?, why))
    }

    /// A problem at a server whose folder leads out of the folder of the file, as far as the text tells; a variable may lead
    /// anywhere. `leads_out` says the same of what the text does not tell: a path with links in it.
    pub fn reaching_out(&self, why: &str, leads_out: &dyn Fn(&str) -> bool) -> Option<Problem> {
        let out = |server: &&Server| match &server.start {
            Start::Files { root } => {
                let path = Path::new(root.as_str());
                let plain = |step| matches!(step, Component::Normal(_) | Component::CurDir);
                !root.variables().is_empty() || !path.components().all(plain) || leads_out(root.as_str())
            }
            Start::Command { .. } => false,
        };
        let server = self.servers.iter().find(out)?;
        Some(self.source.problem(server.place, why))
    }

    /// Looks up the variables in the definitions of the servers that are `wanted`, and makes paths start from `dir`, the
    /// directory of the file.
    ///
    /// # Errors
    /// All variables of required servers that are not set, and values that are empty where something is needed.
    pub fn expand(
        &self,
        dir: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Servers, Problems> {
        let mut servers = Servers { ready: Vec::new(), left_out: Vec::new() };
        let mut problems = Vec::new();
        for server in self.servers.iter().filter(|server| wanted(&server.name)) {
            let mut expansion = Expansion { agent: self, server: &server.name, dir, env, problems: Vec::new() };
            let launch = expansion.launch(&server.start);
            let found = expansion.problems;
            match (launch, found.first()) {
                (Some(launch), None) => servers.ready.push(Ready { server: server.clone(), launch }),
                (_, Some(first)) if !server.required => servers.left_out.push((server.name.clone(), first.clone())),
                _ => problems.extend(found),
            }
        }
        match Problems::collect(problems) {
            None => Ok(servers),
            Some(problems) => Err(problems),
        }
    }
}

struct Expansion<'a> {
    agent: &'a Agent,
    server: &'a str,
    dir: &'a Path,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl Expansion<'_> {
    fn launch(&mut self, start: &Start) -> Option<Launch> {
        match start {
            Start::Files { root } => Some(Launch::Files { root: self.folder("root", root)? }),
            Start::Command { command, args, env, cwd } => {
                // Everything is looked up before anything is given up, so that all problems are told.
                let command = self.command(command);
                let args: Vec<_> = args.iter().map(|arg| self.value("args", arg)).collect();
                let env: Vec<_> = env
                    .iter()
                    .map(|(name, value)| Some((name.clone(), self.value(&format!("env.{name}"), value)?)))
                    .collect();
                let cwd = cwd.as_ref().map_or(Some(self.dir.to_owned()), |cwd| self.folder("cwd", cwd));
                Some(Launch::Command {
                    command: command?,
                    args: args.into_iter().collect::<Option<_>>()?,
                    env: env.into_iter().collect::<Option<_>>()?,
                    cwd: cwd?,
                })
            }
        }
    }

    fn command(&mut self, command: &Written) -> Option<PathBuf> {
        let value = self.filled("command", command, command.expand(self.env))?;
        // As in a shell: a name is looked for on PATH, whatever has a slash is a path.
        let is_path = value.expose().contains('/');
        Some(if is_path { self.path(value.expose()) } else { value.expose().into() })
    }

    fn folder(&mut self, key: &str, folder: &Written) -> Option<PathBuf> {
        let value = folder.expand_open(self.env);
        let value = self.filled(key, folder, value)?;
        Some(self.path(value.expose()))
    }

    fn path(&self, path: &str) -> PathBuf {
        // Only `.` goes; what `..` means depends on links, which are for the system to follow.
        self.dir.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }

    /// A value that must not be empty: an empty folder would be another folder.
    fn filled(&mut self, key: &str, written: &Written, value: Result<Expanded, String>) -> Option<Expanded> {
        let value = self.found(key, written, value)?;
        if value.expose().is_empty() {
            self.problem(key, written, "this is empty once its variables are looked up");
            return None;
        }
        Some(value)
    }

    fn value(&mut self, key: &str, written: &Written) -> Option<Expanded> {
        self.found(key, written, written.expand(self.env))
    }

    fn found(&mut self, key: &str, written: &Written, value: Result<Expanded, String>) -> Option<Expanded> {
        value.map_err(|message| self.problem(key, written, &message)).ok()
    }

    fn problem(&mut self, key: &str, written: &Written, message: &str) {
        let message = format!("servers.{}.{key}: {message}", self.server);
        self.problems.push(self.agent.source.problem(written.place(), message));
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ready").field(&self.server).finish()
    }
}
