//! Why a tool could not do what it was asked, in words for the model that asked.
//!
//! Every text names the thing in question and what to do next. Paths stand in quotes with control characters escaped.

use std::io;

/// Why a call failed. Nothing has been changed, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "{path:?} leads out of the root: only files below it can be used; pass a path relative to the root, without `..` or a leading slash"
    )]
    Outside { path: String },
    #[error(
        "the path that begins with {start:?} is too long ({bytes} bytes, {parts} parts): pass one of at most 4096 bytes and 32 parts"
    )]
    Long { start: String, bytes: usize, parts: usize },
    #[error("{path:?} does not exist{}", proposals(.above, .nearest))]
    Missing { path: String, above: String, nearest: Vec<String> },
    #[error("{path:?} is a folder, not a file: list it, or name a file")]
    Folder { path: String },
    #[error(
        "{path:?} is not a folder, or lies below a file: read it if it is a file, or list the folder that holds it"
    )]
    NotFolder { path: String },
    #[error("{path:?} is neither a file nor a folder (a pipe, a socket or a device): choose another file")]
    Special { path: String },
    #[error("{path:?} is a symbolic link, and nothing is written through one: write to the file that it points to")]
    Link { path: String },
    #[error("permission denied for {path:?}: choose another file, or ask for the right to use it")]
    Denied { path: String },
    #[error("{path:?} is not UTF-8 text, and these tools handle text only: leave it alone, or ask for a text version")]
    NotText { path: String },
    #[error("{path:?} has {bytes} bytes, more than the {most} that this tool takes: {instead}")]
    TooLarge { path: String, bytes: u64, most: u64, instead: &'static str },
    #[error("{path:?} ends at line {lines}: pass an offset of at most {lines}")]
    PastEnd { path: String, lines: u64 },
    #[error("the list ends at entry {total}: pass an offset of at most {total}")]
    PastEntries { total: usize },
    #[error("the old text is empty: quote the text to replace, or use write for a new file or a whole one")]
    OldEmpty,
    #[error("old and new text are the same, so there is nothing to change")]
    Unchanged,
    #[error(
        "the old text does not occur in {path:?}: read the file again and copy the text exactly, white space included"
    )]
    OldAbsent { path: String },
    #[error("the old text does not occur in {path:?}, but line {line} begins the same text with other white space or line ends: read it again and copy it exactly{}", if *.crlf { " (the lines of this file end in \\r\\n)" } else { "" })]
    OldSimilar { path: String, line: usize, crlf: bool },
    #[error(
        "the old text occurs {found} times in {path:?} ({lines}), not {count}: add lines around it until it is the right place only, or pass count {found} to change all"
    )]
    OldCount { path: String, found: usize, count: u32, lines: String },
    #[error(
        "the pattern is not a regular expression that can be used ({reason}): mend it, or pass regex false to search for the text as it stands"
    )]
    Pattern { reason: String },
    #[error("the pattern is empty: pass the text to look for, or use list to see what is there")]
    PatternEmpty,
    #[error("the glob cannot be used ({reason}): pass one such as *.md or docs/**/*.txt")]
    Glob { reason: String },
    #[error("{path:?}: {source}: check with list or read what is there before going on")]
    Io { path: String, source: io::Error },
    #[error("the call did not finish: check with list or read what is there before calling again")]
    Unfinished,
}

/// What to do about a missing path, as the end of a sentence.
fn proposals(above: &str, nearest: &[String]) -> String {
    let list = format!("list {above:?} to see what is there");
    match nearest {
        [] => format!(": {list}"),
        [name] => format!(": use {name:?}, which is the nearest name, or {list}"),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            format!(": the nearest names are {}; use one of them, or {list}", names.join(", "))
        }
    }
}
