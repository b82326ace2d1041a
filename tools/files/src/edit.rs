//! The tool `edit`: one text in place of another, only where it is clear which.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    plain,
    root::{Root, relative, shown},
};

/// Most line numbers that a message names.
const LINES_NAMED_MAX: usize = 10;

/// What to replace by what.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The file, relative to the root.
    pub path: String,
    /// The text to replace, exactly as it stands in the file, white space and line ends included. It may span lines.
    pub old: String,
    /// The text to put in its place; empty to take the old text out.
    pub new: String,
    /// How many times the old text occurs in the file. All of them are replaced.
    #[serde(default = "once")]
    #[schemars(range(min = 1), transform = plain)]
    pub count: u32,
}

fn once() -> u32 {
    1
}

/// What was replaced.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The file, relative to the root.
    path: String,
    /// How many times the old text was replaced.
    replaced: usize,
    /// The lines where it began, in the file as it was.
    lines: Vec<usize>,
}

/// Edits a file.
pub(crate) fn edit(root: &Root, input: Input) -> Result<Output, Error> {
    let Input { path, old, new, count } = input;
    if old.is_empty() {
        return Err(Error::OldEmpty);
    }
    if old == new {
        return Err(Error::Unchanged);
    }
    let mut lines = Vec::new();
    root.update(&path, |text| {
        lines = lines_of(text, &old);
        match lines.len() {
            0 => Err(absent(&path, text, &old)),
            found if found == count as usize => Ok(text.replace(&old, &new)),
            found => Err(Error::OldCount { path: path.clone(), found, count, lines: named(&lines) }),
        }
    })?;
    Ok(Output { path: shown(&relative(&path)?), replaced: lines.len(), lines })
}

/// The lines, counted from 1, where `old` begins in `text`.
fn lines_of(text: &str, old: &str) -> Vec<usize> {
    let (mut line, mut counted) = (1, 0);
    text.match_indices(old)
        .map(|(at, _)| {
            line += text[counted..at].matches('\n').count();
            counted = at;
            line
        })
        .collect()
}

/// Why `old` was not found: for a place that differs in white space only, the line where it begins.
fn absent(path: &str, text: &str, old: &str) -> Error {
    let (lines, wanted) = (even(text), even(old.trim()));
    let path = path.to_owned();
    match lines.find(&wanted) {
        Some(at) if !wanted.is_empty() => {
            let line = 1 + lines[..at].matches('\n').count();
            Error::OldSimilar { path, line, crlf: text.contains("\r\n") }
        }
        _ => Error::OldAbsent { path },
    }
}

/// `text` with all white space within lines as single blanks, and all line ends alike.
fn even(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.join("\n")
}

/// The first few of some line numbers, as text.
fn named(lines: &[usize]) -> String {
    let named: Vec<String> = lines.iter().take(LINES_NAMED_MAX).map(usize::to_string).collect();
    let more = if lines.len() > LINES_NAMED_MAX { ", …" } else { "" };
    format!("line{} {}{more}", if lines.len() == 1 { "" } else { "s" }, named.join(", "))
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replaced in {}, {}", self.path, named(&self.lines))
    }
}
