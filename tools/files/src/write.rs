//! The tool `write`: a whole file, new or in place of an old one.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{error::Error, root::Root};

/// The file and its new content.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The file, relative to the root.
    pub path: String,
    /// The whole new content of the file. What it held before is gone.
    pub content: String,
}

/// What was written.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Output {
    /// The file, relative to the root.
    path: String,
    /// Its length now.
    bytes: usize,
    /// True for a new file, false when one was replaced.
    created: bool,
}

/// Writes a file.
pub(crate) fn write(root: &Root, input: Input) -> Result<Output, Error> {
    let done = root.replace(&input.path, &input.content)?;
    Ok(Output { path: done.path, bytes: input.content.len(), created: done.created })
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let did = if self.created { "created" } else { "replaced" };
        write!(f, "{did} {} ({} bytes)", self.path, self.bytes)
    }
}
