//! Goes through the files and folders below a folder, in the order of their names, a folder before what it holds.
//!
//! It goes from handle to handle and never through a link, so it neither leaves the folder nor runs in circles. The
//! memory and time that it takes are bounded; what is left out is counted, so that no list looks whole when it is not.

use std::{io, ops::ControlFlow};

use cap_std::fs::Dir;
use schemars::JsonSchema;
use serde::Serialize;

/// Most entries that one walk looks at: some seconds on a slow disk.
const ENTRIES_MAX: usize = 50_000;

/// How deep a walk goes at most; each level holds a file handle.
pub(crate) const DEPTH_MAX: u32 = 32;

/// A folder that is shown but not entered: what it holds is a database, not text of the user.
const NOT_ENTERED: &str = ".git";

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Kind {
    File,
    Folder,
    Link,
    Other,
}

/// One thing found on the way.
pub(crate) struct Entry<'a> {
    /// The open folder that holds it.
    pub folder: &'a Dir,
    /// Its name there.
    pub name: &'a str,
    /// Its path, from where the walk's own path is from.
    pub path: String,
    /// What it was when it was found.
    pub kind: Kind,
}

/// What a walk did not show.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    /// True when there were more than [`ENTRIES_MAX`] entries.
    pub more: bool,
    /// Entries whose names are not UTF-8, so that no call can name them.
    pub unnamed: usize,
    /// Folders that could not be read.
    pub closed: usize,
    /// Folders that were not entered because they lie too deep.
    pub deep: usize,
}

/// Shows what lies in `folder`, whose path is `path`, and `depth` - 1 levels below, to `visit`, until that breaks.
/// Fails when `folder` itself cannot be read.
pub(crate) fn walk(
    folder: &Dir,
    path: &str,
    depth: u32,
    visit: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> io::Result<Missed> {
    let mut walk = Walk { seen: 0, missed: Missed::default(), visit };
    // A break is the visitor's wish: nothing was missed by it.
    let _ = walk.enter(folder, path, depth)?;
    Ok(walk.missed)
}

struct Walk<'a> {
    seen: usize,
    missed: Missed,
    visit: &'a mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Dir, path: &str, depth: u32) -> io::Result<ControlFlow<()>> {
        for (name, kind) in self.names(folder)? {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if (self.visit)(Entry { folder, name: &name, path: path.clone(), kind }).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if kind != Kind::Folder || name == NOT_ENTERED {
                continue;
            }
            if depth <= 1 {
                self.missed.deep += 1;
                continue;
            }
            // What cannot be entered costs that folder, not the walk.
            match folder.open_dir(&name).and_then(|below| self.enter(&below, &path, depth - 1)) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                Err(_) => self.missed.closed += 1,
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The names in `folder`, sorted, as far as the bound allows.
    fn names(&mut self, folder: &Dir) -> io::Result<Vec<(String, Kind)>> {
        let mut names = Vec::new();
        for entry in folder.entries()? {
            if self.seen == ENTRIES_MAX {
                self.missed.more = true;
                break;
            }
            self.seen += 1;
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                self.missed.unnamed += 1;
                continue;
            };
            let mut kind = entry.file_type()?;
            if !kind.is_file() && !kind.is_dir() && !kind.is_symlink() {
                // Some file systems do not tell in the folder itself. Gone meanwhile is no error.
                let Ok(meta) = entry.metadata() else { continue };
                kind = meta.file_type();
            }
            names.push((
                name,
                match () {
                    () if kind.is_file() => Kind::File,
                    () if kind.is_dir() => Kind::Folder,
                    () if kind.is_symlink() => Kind::Link,
                    () => Kind::Other,
                },
            ));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }
}
