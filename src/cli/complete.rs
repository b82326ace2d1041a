//! What the shell offers behind Tab: commands and flags from their definition, agents and runs as they are now; and the
//! manual pages, from the same definition.
//!
//! The shell calls this program with `COMPLETE` set (see [`clap_complete::env`]); `agentd completions SHELL` prints what
//! makes it do so.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{
    CompletionCandidate, PathCompleter,
    engine::ValueCompleter,
    env::{CompleteEnv, Shells},
};
use tokio::runtime;

use super::{
    args,
    exit::{Code, Trouble},
    open, start,
};
use crate::daemon::Listed;

/// The variable that the shell sets when it wants completions.
const VARIABLE: &str = "COMPLETE";

/// Answers the shell and leaves, if that is what this process was started for.
pub(super) fn answer_the_shell() {
    CompleteEnv::with_factory(args::Line::command).var(VARIABLE).complete();
}

/// Prints what makes a shell ask us.
pub(super) fn completions(it: &args::Completions) -> Result<Code, Trouble> {
    let shells = Shells::builtins();
    let shell = shells.completer(&it.shell).ok_or_else(|| {
        let known: Vec<&str> = shells.names().collect();
        Trouble::usage(format!("no completions for {}; there are some for {}", it.shell, known.join(", ")))
    })?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "agentd", "agentd", "agentd", &mut script).context("cannot make the script")?;
    io::stdout().write_all(&script).context("cannot write to stdout")?;
    Ok(Code::Done)
}

/// Prints a page of the manual, or writes them all.
pub(super) fn man(it: &args::Man) -> Result<Code, Trouble> {
    // Written for pages and not for this terminal.
    let mut line = args::Line::command().disable_help_subcommand(true);
    line.build();
    if let Some(dir) = &it.dir {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        clap_mangen::generate_to(line, dir).with_context(|| format!("cannot write to {}", dir.display()))?;
        return Ok(Code::Done);
    }
    let mut command: &Command = &line;
    for name in &it.command {
        let sub = command.find_subcommand(name);
        command = sub.ok_or_else(|| Trouble::usage(format!("there is no command {}", it.command.join(" "))))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).context("cannot make the page")?;
    io::stdout().write_all(&page).context("cannot write to stdout")?;
    Ok(Code::Done)
}

/// The agents of `agents/`, as names.
pub(super) fn agents(typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut agents = beginning(typed, start::known(Path::new("")).into_iter().map(|name| (name, None)));
    let yaml = |path: &Path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
    agents.extend(PathCompleter::file().filter(yaml).complete(typed));
    agents
}

/// The runs, newest first.
pub(super) fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let told = listed().into_iter().map(|run| {
        let about = format!("{}, {}", run.columns.agent, run.status());
        (run.run.to_string(), Some(about))
    });
    beginning(typed, std::iter::once(("@last".to_owned(), None)).chain(told))
}

/// The names of agents that have had runs.
pub(super) fn names(typed: &OsStr) -> Vec<CompletionCandidate> {
    let names: BTreeSet<String> = listed().into_iter().map(|run| run.columns.agent).collect();
    beginning(typed, names.into_iter().map(|name| (name, None)))
}

/// All runs, as the listings of their slots have them; none when that fails, since a shell that waits for words has no use
/// for a reason.
fn listed() -> Vec<Listed> {
    let listed = || -> Result<_, Trouble> {
        let daemon = open::open(&args::Shared::default())?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
        Ok(runtime.block_on(daemon.runs())?)
    };
    listed().unwrap_or_default()
}

/// The words that begin as typed, in their order.
fn beginning(typed: &OsStr, words: impl Iterator<Item = (String, Option<String>)>) -> Vec<CompletionCandidate> {
    let Some(typed) = typed.to_str() else { return Vec::new() };
    let fitting = words.filter(|(word, _)| word.starts_with(typed)).enumerate();
    let candidate = |(place, (word, about)): (usize, (String, Option<String>))| {
        CompletionCandidate::new(word).help(about.map(Into::into)).display_order(Some(place))
    };
    fitting.map(candidate).collect()
}
