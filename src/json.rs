//! Writes JSON, for all that is written out often: requests, calls, journal entries.
//!
//! It is serde_json, but for how its pieces come together. It hands out text in pieces, and most of them are a quote, a
//! colon or a comma: to push such a byte costs a tenth of having it copied like a text.

use std::io::{self, Write};

use serde::Serialize;

/// The value as JSON.
///
/// # Errors
/// When JSON has no form for it.
pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = Vec::with_capacity(256);
    write(&mut json, value)?;
    Ok(json)
}

/// Writes the value as JSON behind what is there.
///
/// # Errors
/// When JSON has no form for it.
pub(crate) fn write(into: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_writer(Pieces(into), value)
}

struct Pieces<'a>(&'a mut Vec<u8>);

impl Write for Pieces<'_> {
    #[inline]
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        match *piece {
            [one] => self.0.push(one),
            [one, two] => self.0.extend([one, two]),
            _ => self.0.extend_from_slice(piece),
        }
        Ok(piece.len())
    }

    #[inline]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        self.write(piece).map(drop)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn it_is_what_serde_json_writes() {
        let value = json!({"a": [1, -2.5, null, true, {}], "\"é\n": "\u{1}\\ \u{1F600}", "": ["", [[]]]});
        assert_eq!(super::to_vec(&value).unwrap(), value.to_string().as_bytes());
        let mut behind = b"x".to_vec();
        super::write(&mut behind, &value).unwrap();
        assert_eq!(behind, format!("x{value}").as_bytes());
    }
}
