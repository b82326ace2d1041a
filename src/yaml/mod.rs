//! YAML that people write (agent files, settings), read so that everything wrong with it can be shown at its place.
//!
//! [`Document::parse`] turns text into a tree whose nodes know where they stand; [`Faults`] reads typed values out of
//! that tree and collects what is wrong, all of it and not the first; [`Document::finish`] turns faults into
//! [`Problems`] with place, path and excerpt. [`describe`] watches a reader and says what it accepts, as a JSON Schema.
//! Always true:
//! - What a reader would have to guess is refused: duplicate keys, anchors and aliases, merge keys, tags, a second
//!   document, `010`, `yes` for `true`.
//! - Input is bounded: 1 MiB, 64 levels deep. Nothing here reads files, clocks or the environment.
//! - A value that looks like a key or a password is not shown in an excerpt.
//!
//! granit-parser (serde-saphyr's) does the parsing. We take its events and not serde's types, because serde stops at
//! the first error and forgets places.

mod document;
mod form;
mod problem;
mod read;
mod units;
mod variables;

#[cfg(test)]
mod tests;

pub use document::{Content, Document, Key, Node, Place, Style, decode};
pub use form::describe;
pub use problem::{Problem, Problems, nearest};
pub use read::{Faults, Fields};
pub use units::{dollars, duration};
pub use variables::{Expanded, Written, variables};

/// Longest text that is read, in bytes. The longest honest agent file is some tens of KiB.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting of lists and maps, as deep as the JSON that we read and write.
pub const DEPTH_MAX: usize = 64;
