//! The tool `list`: what is in a folder, a page at a time.

use std::{fmt, ops::ControlFlow};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    TEXT_BYTES_MAX,
    error::Error,
    plain,
    root::{Root, relative, shown},
    walk::{self, Kind, Missed, walk},
};

/// Which folder to list, how deep, and which page.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The folder, relative to the root. Without it, the root itself.
    #[serde(default = "root_path")]
    pub path: String,
    /// How many levels to show: 1 is the folder itself, 2 also what its folders hold, and so on.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = walk::DEPTH_MAX), transform = plain)]
    pub depth: u32,
    /// The first entry to show, counted from 1, to go on with a long list.
    #[serde(default = "one")]
    #[schemars(range(min = 1), transform = plain)]
    pub offset: u32,
    /// The most entries to show.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = LIMIT_MAX), transform = plain)]
    pub limit: u32,
}

/// Most entries that one result shows.
const LIMIT_MAX: u32 = 1_000;

/// Bytes that the text of an entry has beside its path, such as ` (123456 bytes)`.
const ENTRY_BYTES: usize = 24;

fn root_path() -> String {
    ".".into()
}

fn one() -> u32 {
    1
}

fn limit() -> u32 {
    200
}

/// A page of a folder's list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The entries of this page, sorted by name, each folder followed by what it holds.
    entries: Vec<Entry>,
    /// How many entries there are in all.
    total: usize,
    /// The offset of the next page, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<usize>,
    /// What the list does not show, when it is not whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<String>,
}

/// A file, folder or link.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Entry {
    /// The path, relative to the root.
    path: String,
    /// What it is. Links can be read through, but not written through.
    kind: Kind,
    /// The length of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// Lists a folder.
pub(crate) fn list(root: &Root, input: Input) -> Result<Output, Error> {
    let folder = root.folder(&input.path)?;
    let above = shown(&relative(&input.path)?);
    let (first, limit) = (input.offset.max(1) as usize, input.limit.clamp(1, LIMIT_MAX) as usize);
    let (mut entries, mut total, mut bytes) = (Vec::new(), 0, 0);
    let mut full = false;
    let missed = walk(&folder, &above, input.depth.clamp(1, walk::DEPTH_MAX), &mut |entry| {
        total += 1;
        let length = entry.path.len() + ENTRY_BYTES;
        full |= entries.len() == limit || bytes + length > TEXT_BYTES_MAX;
        if total >= first && !full {
            bytes += length;
            let meta = (entry.kind == Kind::File).then(|| entry.folder.symlink_metadata(entry.name));
            entries.push(Entry {
                path: entry.path,
                kind: entry.kind,
                bytes: meta.and_then(Result::ok).map(|meta| meta.len()),
            });
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| root.refusal(&input.path, error))?;
    if first > total && total > 0 {
        return Err(Error::PastEntries { total });
    }
    let next = first + entries.len();
    Ok(Output { entries, total, next_offset: (next <= total).then_some(next), left_out: left_out(&missed) })
}

/// What a list does not show, in words; `None` when it shows all.
fn left_out(missed: &Missed) -> Option<String> {
    let mut parts = Vec::new();
    if missed.more {
        parts.push("there are more entries than one list goes through: list a folder further down".to_owned());
    }
    if missed.closed > 0 {
        parts.push(format!("{} folders could not be opened", missed.closed));
    }
    if missed.unnamed > 0 {
        parts.push(format!("{} entries have names that are not UTF-8", missed.unnamed));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total == 0 {
            f.write_str("[the folder is empty]")?;
        }
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (entry.kind, entry.bytes) {
                (Kind::File, Some(bytes)) => write!(f, "{} ({bytes} bytes)", entry.path)?,
                (Kind::File, None) => write!(f, "{}", entry.path)?,
                (Kind::Folder, _) => write!(f, "{}/", entry.path)?,
                (Kind::Link, _) => write!(f, "{} (link)", entry.path)?,
                (Kind::Other, _) => write!(f, "{} (neither file nor folder)", entry.path)?,
            }
        }
        if let Some(next) = self.next_offset {
            write!(f, "\n[{} of {} entries; go on with offset {next}]", self.entries.len(), self.total)?;
        }
        if let Some(left_out) = &self.left_out {
            write!(f, "\n[{left_out}]")?;
        }
        Ok(())
    }
}
