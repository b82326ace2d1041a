//! The tool `read`: a text file, or some lines of it, exactly as they are.

use std::io::{self, BufRead, BufReader, Read};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{TEXT_BYTES_MAX, error::Error, plain, root, root::Root};

/// Most bytes of a file that is read at all, since its lines are counted from the start: about a second's work.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Which lines of which file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// The file, relative to the root.
    pub path: String,
    /// The first line to read, counted from 1.
    #[serde(default = "first_line")]
    #[schemars(range(min = 1), transform = plain)]
    pub offset: u32,
    /// The most lines to read.
    #[serde(default = "limit")]
    #[schemars(range(min = 1, max = LIMIT_MAX), transform = plain)]
    pub limit: u32,
}

/// Most lines that one result shows.
const LIMIT_MAX: u32 = 10_000;

fn first_line() -> u32 {
    1
}

fn limit() -> u32 {
    2_000
}

/// What was read.
pub(crate) struct Page {
    /// The lines, byte for byte.
    pub text: String,
    /// Which lines these are and how to go on; `None` when they are the whole file.
    pub note: Option<String>,
}

/// Reads lines of a file.
pub(crate) fn read(root: &Root, input: Input) -> Result<Page, Error> {
    let path = input.path.as_str();
    let (file, bytes) = root.file(path)?;
    if bytes > FILE_BYTES_MAX {
        let instead = "read another file, or ask for this one to be split";
        return Err(Error::TooLarge { path: path.into(), bytes, most: FILE_BYTES_MAX, instead });
    }
    let first = u64::from(input.offset.max(1));
    // Bounded also when the file grows while it is read.
    let mut file = BufReader::new(file.take(FILE_BYTES_MAX));
    let lines = lines(&mut file, first, input.limit.clamp(1, LIMIT_MAX)).map_err(|error| root.refusal(path, error))?;
    if lines.count == 0 && lines.skipped > 0 {
        return Err(Error::PastEnd { path: path.into(), lines: lines.skipped });
    }
    let (last, next) = (lines.skipped + lines.count, lines.skipped + lines.count + 1);
    let note = match () {
        () if lines.count == 0 => Some("[the file is empty]".into()),
        () if lines.cut => Some(format!(
            "[only the beginning of line {first}, which is longer than {TEXT_BYTES_MAX} bytes: find text in the rest with search; the next line has offset {next}]"
        )),
        () if lines.more => Some(format!("[lines {first} to {last}; more follow: go on with offset {next}]")),
        () if first > 1 => Some(format!("[lines {first} to {last}, the last]")),
        () => None,
    };
    Ok(Page { text: root::text(path, lines.bytes)?, note })
}

/// Some lines of a file, as bytes.
struct Lines {
    bytes: Vec<u8>,
    /// How many lines came before.
    skipped: u64,
    /// How many lines these are.
    count: u64,
    /// True when this is one line without its end.
    cut: bool,
    /// True when the file goes on.
    more: bool,
}

/// Reads from line `first` on, at most `limit` lines and [`TEXT_BYTES_MAX`] bytes, in whole lines if at least one fits.
fn lines(file: &mut impl BufRead, first: u64, limit: u32) -> io::Result<Lines> {
    let mut lines = Lines { bytes: Vec::new(), skipped: 0, count: 0, cut: false, more: false };
    while lines.skipped + 1 < first && file.skip_until(b'\n')? > 0 {
        lines.skipped += 1;
    }
    while lines.count < u64::from(limit) {
        let before = lines.bytes.len();
        let room = TEXT_BYTES_MAX - before;
        let read = file.by_ref().take(room as u64).read_until(b'\n', &mut lines.bytes)?;
        let whole = lines.bytes.ends_with(b"\n") || file.fill_buf()?.is_empty();
        if read > 0 && whole {
            lines.count += 1;
        } else if before == 0 && read > 0 {
            lines.count += 1;
            lines.cut = true;
            drop_partial_character(&mut lines.bytes);
            break;
        } else {
            lines.more = !whole;
            lines.bytes.truncate(before);
            break;
        }
    }
    lines.more |= !file.fill_buf()?.is_empty();
    Ok(lines)
}

/// Takes off the bytes of a character that a cut has left without its end.
fn drop_partial_character(bytes: &mut Vec<u8>) {
    if let Err(error) = std::str::from_utf8(bytes)
        && error.error_len().is_none()
    {
        bytes.truncate(error.valid_up_to());
    }
}
