//! Cutting texts to size, and making them fit to show.

use std::{borrow::Cow, io};

use serde_json::Value;

/// The text itself, or its start and an ellipsis; at most `bytes_max` bytes.
pub fn clip(text: &str, bytes_max: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = boundary(text, bytes_max.saturating_sub(ELLIPSIS.len()));
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..end]))
}

/// The last place up to `at` where the text can be cut.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The text on one line, with control characters escaped.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// A value as JSON, clipped; a large value is not rendered beyond what is shown.
pub fn clip_value(value: &Value, bytes_max: usize) -> String {
    let mut start = Start { bytes: Vec::new(), room: bytes_max + 1 };
    // It fails when there is no more room, which is all we want to know.
    let _ = serde_json::to_writer(&mut start, value);
    clip(&String::from_utf8_lossy(&start.bytes), bytes_max).into_owned()
}

/// Takes the first bytes and refuses the rest.
struct Start {
    bytes: Vec<u8>,
    room: usize,
}

impl io::Write for Start {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.bytes.extend_from_slice(&bytes[..taken]);
        // Nothing taken makes `write_all` fail.
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
