//! The questions of a run that a person was last shown, kept in `$AGENTD_HOME/shown/RUN`, so that `approve` without the id of a
//! call allows what was seen and nothing that came since.
//!
//! The file is a memory and no record: without it, a call is shown and its id asked for.

use std::{collections::BTreeSet, fs, io, os::unix::fs::DirBuilderExt, path::PathBuf};

use super::{ask::Board, open::home};
use crate::{
    chat::CallId,
    run::{Run, RunId},
};

/// A question that a person was shown: which, about what, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub call: CallId,
    /// Tells this question from another one about the same call.
    mark: String,
}

/// The questions that a run has now.
pub(super) fn questions(run: &Run) -> BTreeSet<Question> {
    Board::of(run, 0).marks().map(Question::of).collect()
}

impl Question {
    /// The question about a call that has this mark.
    pub(super) fn of((call, mark): (CallId, String)) -> Self {
        Question { call, mark }
    }
}

/// Keeps that a person was shown what the run asks now. Where that cannot be kept, the next `approve` shows it again.
pub(super) fn remember(id: RunId, run: &Run) {
    let questions = questions(run);
    if let Err(error) = write(id, &questions) {
        tracing::debug!(%error, "what was shown is not remembered");
    }
}

/// Keeps that a person was shown this question too.
pub(super) fn remember_also(id: RunId, question: Question) {
    let mut questions = recall(id);
    questions.insert(question);
    if let Err(error) = write(id, &questions) {
        tracing::debug!(%error, "what was shown is not remembered");
    }
}

fn write(id: RunId, questions: &BTreeSet<Question>) -> io::Result<()> {
    let file = file(id).ok_or(io::ErrorKind::NotFound)?;
    if questions.is_empty() {
        return match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let lines: String = questions.iter().map(|it| format!("{} {}\n", it.call, it.mark)).collect();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(file.parent().ok_or(io::ErrorKind::NotFound)?)?;
    let fresh = file.with_extension(format!("{}.new", std::process::id()));
    fs::write(&fresh, lines)?;
    fs::rename(&fresh, &file)
}

/// The questions that a person was last shown of a run.
pub(super) fn recall(id: RunId) -> BTreeSet<Question> {
    let text = file(id).and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let question = |line: &str| {
        let (call, mark) = line.split_once(' ')?;
        Some(Question { call: call.parse().ok()?, mark: mark.to_owned() })
    };
    text.lines().filter_map(question).collect()
}

fn file(id: RunId) -> Option<PathBuf> {
    Some(home().ok()?.join("shown").join(id.to_string()))
}
