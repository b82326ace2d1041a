//! The tool `search`: the lines below a folder that hold a text or match a regular expression.
//!
//! Files are looked at one by one, in the order of their paths, so that the same search over the same files gives the
//! same hits. Regular expressions run in linear time (the `regex` crate), so no pattern can hang the server.

use std::{fmt, io::Read, ops::ControlFlow, path::Path};

use cap_std::fs::Dir;
use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    TEXT_BYTES_MAX,
    error::Error,
    plain,
    root::{self, Root, open_file, relative, shown},
    walk::{self, Kind, Missed, walk},
};

/// Most bytes of a file that is searched; what is larger is rarely text that a person wrote.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Most bytes that one search goes through.
const SEARCH_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Most bytes of a line that a hit shows.
const HIT_BYTES_MAX: usize = 300;

/// Bytes that the text of a hit has beside path and line: the line's number and what stands between.
const HIT_BYTES: usize = 16;

/// Most memory that a compiled pattern takes.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// Longest text of a pattern, in bytes. What is parsed grows with it, by a large factor.
const PATTERN_TEXT_MAX: usize = 16 * 1024;

/// Longest glob, in bytes: what is compiled from it stays far below globset's own bound.
const GLOB_TEXT_MAX: usize = 1024;

/// Most braces within each other in a glob. The parser and the compiler behind it call themselves for each level, and a
/// stack overflow would end the process and all that runs in it.
const GLOB_DEPTH_MAX: usize = 16;

/// Lines after which a search looks whether it was cancelled.
const LINES_UNWATCHED: usize = 4096;

/// What to look for, and where.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The text to look for, or a regular expression if `regex` is true. It is looked for in each line.
    pub pattern: String,
    /// Whether the pattern is a regular expression (Rust's syntax, without look-around) and not plain text.
    #[serde(default)]
    pub regex: bool,
    /// Whether upper and lower case count as the same.
    #[serde(default)]
    pub ignore_case: bool,
    /// The folder to search, with all folders below it, or a single file; relative to the root. Without it, everything.
    #[serde(default = "root_path")]
    pub path: String,
    /// Which files to search, such as `*.md` (by name) or `docs/**/*.txt` (by path below `path`). Without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub glob: Option<String>,
    /// The most hits to show.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = LIMIT_MAX), transform = plain)]
    pub limit: u32,
}

/// Most hits that one result shows.
const LIMIT_MAX: u32 = 500;

fn root_path() -> String {
    ".".into()
}

fn limit() -> u32 {
    100
}

/// What was found.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The hits, by path and line.
    hits: Vec<Hit>,
    /// How many files were searched.
    files: usize,
    /// Why there may be more hits than these, when there may.
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
}

/// A line that was found.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Hit {
    /// The file, relative to the root.
    path: String,
    /// The line, counted from 1.
    line: usize,
    /// What the line says; of a long one, the part around the hit.
    text: String,
}

/// Searches files. Stops early, with what it has, when `cancelled` turns true.
pub(crate) fn search(root: &Root, input: Input, cancelled: &dyn Fn() -> bool) -> Result<Output, Error> {
    let pattern = pattern(&input)?;
    let glob = input.glob.as_deref().map(glob).transpose()?;
    let mut search = Search {
        pattern,
        cancelled,
        limit: input.limit.clamp(1, LIMIT_MAX) as usize,
        hits: Vec::new(),
        hit_bytes: 0,
        files: 0,
        bytes: 0,
        skipped: 0,
        stopped: None,
    };
    let above = relative(&input.path)?;
    let missed = match root.folder(&input.path) {
        Ok(folder) => walk(&folder, &shown(&above), walk::DEPTH_MAX, &mut |entry| {
            if cancelled() {
                return ControlFlow::Break(());
            }
            let wanted = || glob.as_ref().is_none_or(|glob| glob.takes(entry.name, Path::new(&entry.path), &above));
            if entry.kind == Kind::File && wanted() {
                search.file(entry.folder, Path::new(entry.name), &entry.path);
            }
            if search.stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(|error| root.refusal(&input.path, error))?,
        Err(Error::NotFolder { .. }) => {
            search.content(&shown(&above), root::text(&input.path, single(root, &input.path)?)?);
            Missed::default()
        }
        Err(error) => return Err(error),
    };
    let incomplete = search.incomplete(&missed);
    Ok(Output { hits: search.hits, files: search.files, incomplete })
}

/// The content of a file that the call names itself.
fn single(root: &Root, path: &str) -> Result<Vec<u8>, Error> {
    let (file, bytes) = root.file(path)?;
    if bytes > FILE_BYTES_MAX {
        let instead = "read it in parts";
        return Err(Error::TooLarge { path: path.into(), bytes, most: FILE_BYTES_MAX, instead });
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut content).map_err(|error| root.refusal(path, error))?;
    Ok(content)
}

/// A search under way.
struct Search<'a> {
    pattern: Regex,
    cancelled: &'a dyn Fn() -> bool,
    limit: usize,
    hits: Vec<Hit>,
    hit_bytes: usize,
    files: usize,
    bytes: u64,
    /// Files that are not text, too large, or could not be read.
    skipped: usize,
    /// Why it ended before the last file.
    stopped: Option<String>,
}

impl Search<'_> {
    /// Searches a file that the walk came by. What cannot be searched is counted, not an error.
    fn file(&mut self, folder: &Dir, name: &Path, path: &str) {
        let content = open_file(folder, name).ok().and_then(|file| {
            let meta = file.metadata().ok()?;
            let fits = meta.is_file() && meta.len() <= FILE_BYTES_MAX;
            let mut content = Vec::new();
            (fits && file.take(FILE_BYTES_MAX).read_to_end(&mut content).is_ok()).then_some(content)
        });
        self.bytes += content.as_ref().map_or(0, Vec::len) as u64;
        match content.and_then(|content| root::text(path, content).ok()) {
            Some(content) => self.content(path, content),
            None => self.skipped += 1,
        }
        if self.bytes > SEARCH_BYTES_MAX && self.stopped.is_none() {
            self.stopped =
                Some("the search ended early, as there is too much to go through: narrow it by path or glob".into());
        }
    }

    /// Searches the content of a file.
    fn content(&mut self, path: &str, content: String) {
        self.files += 1;
        for (index, line) in content.lines().enumerate() {
            if index % LINES_UNWATCHED == LINES_UNWATCHED - 1 && (self.cancelled)() {
                return;
            }
            let Some(found) = self.pattern.find(line) else { continue };
            let text = around(line, found.start());
            let length = path.len() + text.len() + HIT_BYTES;
            if self.hits.len() == self.limit || self.hit_bytes + length > TEXT_BYTES_MAX {
                self.stopped =
                    Some("there are more hits than these: narrow the search by path, glob or pattern".into());
                return;
            }
            self.hit_bytes += length;
            self.hits.push(Hit { path: path.into(), line: index + 1, text });
        }
    }

    /// Why there may be more hits than were found; `None` when there are none.
    fn incomplete(&self, missed: &Missed) -> Option<String> {
        let mut parts: Vec<String> = self.stopped.iter().cloned().collect();
        if missed.more {
            parts.push("there are more files than one search goes through: search a folder further down".into());
        }
        if self.skipped > 0 {
            parts.push(format!("{} files are not text, too large or not readable", self.skipped));
        }
        if missed.closed > 0 {
            parts.push(format!("{} folders could not be opened", missed.closed));
        }
        if missed.deep > 0 {
            parts.push(format!("{} folders lie too deep", missed.deep));
        }
        if missed.unnamed > 0 {
            parts.push(format!("{} entries have names that are not UTF-8", missed.unnamed));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Which files a search takes.
struct Glob {
    matcher: GlobMatcher,
    /// Whether it says something of folders, and so is held against the path below the searched folder, not the name.
    by_path: bool,
}

impl Glob {
    fn takes(&self, name: &str, path: &Path, above: &Path) -> bool {
        match path.strip_prefix(above) {
            Ok(below) if self.by_path => self.matcher.is_match(below),
            _ => self.matcher.is_match(name),
        }
    }
}

fn glob(text: &str) -> Result<Glob, Error> {
    let refuse = |reason: String| Err(Error::Glob { reason });
    if text.len() > GLOB_TEXT_MAX {
        return refuse(format!("it has {} bytes, more than {GLOB_TEXT_MAX}", text.len()));
    }
    if depth(text) > GLOB_DEPTH_MAX {
        return refuse(format!("it has more than {GLOB_DEPTH_MAX} braces within each other"));
    }
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|error| Error::Glob { reason: error.kind().to_string() })?;
    Ok(Glob { matcher: glob.compile_matcher(), by_path: text.contains('/') })
}

/// The most braces that are open at once, or more: one that is escaped or in a class is counted too.
fn depth(glob: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for c in glob.chars() {
        match c {
            '{' => open += 1,
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn pattern(input: &Input) -> Result<Regex, Error> {
    if input.pattern.is_empty() {
        return Err(Error::PatternEmpty);
    }
    if input.pattern.len() > PATTERN_TEXT_MAX {
        let reason = format!("it has {} bytes, more than {PATTERN_TEXT_MAX}", input.pattern.len());
        return Err(Error::Pattern { reason });
    }
    let text = if input.regex { input.pattern.clone() } else { regex::escape(&input.pattern) };
    RegexBuilder::new(&text)
        .case_insensitive(input.ignore_case)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| Error::Pattern { reason: last_line(&error.to_string()) })
}

/// The last line of an error of `regex`, which says what is wrong; those before draw the place.
fn last_line(error: &str) -> String {
    error.lines().last().unwrap_or(error).trim_start_matches("error: ").into()
}

/// `line`, or when it is long the part of it around the byte `at`.
fn around(line: &str, at: usize) -> String {
    if line.len() <= HIT_BYTES_MAX {
        return line.into();
    }
    let mut start = at.saturating_sub(HIT_BYTES_MAX / 2);
    let mut end = (start + HIT_BYTES_MAX).min(line.len());
    while !line.is_char_boundary(start) {
        start -= 1;
    }
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("{before}{}{after}", &line[start..end])
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for hit in &self.hits {
            writeln!(f, "{}:{}: {}", hit.path, hit.line, hit.text)?;
        }
        write!(f, "[hits: {}; files searched: {}", self.hits.len(), self.files)?;
        if let Some(incomplete) = &self.incomplete {
            write!(f, "; {incomplete}")?;
        }
        f.write_str("]")
    }
}
