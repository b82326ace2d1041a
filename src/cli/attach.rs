//! Files that go with a prompt: a text as text, a picture, sound or PDF as what it is. What a file is, its bytes say, not its name.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::exit::Trouble;
use crate::chat::{Media, MediaSource, Part};

/// Most bytes of all files of a prompt together: with base64 and JSON on top they fit into an entry of a journal (16 MiB), and
/// into what providers take in a request.
const BYTES_MAX: u64 = 8 << 20;

/// Pictures that all providers with eyes can read (OpenAI, Anthropic and Gemini documentation, 2026-11).
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Sounds that the providers with ears can read, in the types that `infer` has for them (OpenAI: WAV and MP3; 2026-11).
const SOUNDS: [&str; 2] = ["audio/x-wav", "audio/mpeg"];

/// The only documents that models read as such.
const PDF: &str = "application/pdf";

/// What goes with a prompt, in the order of the files.
pub(super) fn parts(files: &[PathBuf]) -> Result<Vec<Part>, Trouble> {
    let mut left = BYTES_MAX;
    files.iter().map(|file| part(file, &mut left)).collect()
}

fn part(path: &Path, left: &mut u64) -> Result<Part, Trouble> {
    let file = path.display();
    let wrong = |why: String| Trouble::usage(format!("{file}: {why}"));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|open| open.take(*left + 1).read_to_end(&mut bytes));
    read.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::not_found(format!("{file}: there is no such file")),
        _ => wrong(format!("cannot be read: {error}")),
    })?;
    *left = left
        .checked_sub(bytes.len() as u64)
        .ok_or_else(|| wrong("with it, the files are larger than 8 MiB".to_owned()))?;
    match infer::get(&bytes).map(|kind| kind.mime_type()) {
        Some(mime) if PICTURES.contains(&mime) || SOUNDS.contains(&mime) || mime == PDF => {
            let source = MediaSource::Base64(BASE64_STANDARD.encode(&bytes).into());
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let media = Media { name, mime: mime.to_owned(), source };
            Ok(match mime {
                PDF => Part::Document(media),
                _ if SOUNDS.contains(&mime) => Part::Audio(media),
                _ => Part::Image(media),
            })
        }
        found => match String::from_utf8(bytes) {
            // Markup and scripts have kinds of their own, and are texts all the same.
            Ok(text) if !text.contains('\0') => Ok(Part::text(format!("File {file}:\n\n{text}"))),
            _ => {
                let kind = found.map(|mime| format!(" ({mime})")).unwrap_or_default();
                Err(wrong(format!(
                    "neither a text in UTF-8 nor a picture (PNG, JPEG, GIF, WebP), a sound (WAV, MP3) or a PDF{kind}"
                )))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest beginning of a PNG file.
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    fn given(files: &[(&str, &[u8])]) -> Result<Vec<Part>, String> {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| dir.path().join(name)).collect();
        for (path, (_, bytes)) in paths.iter().zip(files) {
            std::fs::write(path, bytes).unwrap();
        }
        let named = |text: &str| text.replace(&format!("{}/", dir.path().display()), "");
        let parts = parts(&paths).map_err(|trouble| named(&trouble.message))?;
        Ok(parts
            .into_iter()
            .map(|part| match part {
                Part::Text(text) => Part::text(named(&text)),
                other => other,
            })
            .collect())
    }

    #[test]
    fn bytes_say_what_a_file_is() {
        let picture = Part::Image(Media {
            name: Some("photo.txt".to_owned()),
            mime: "image/png".to_owned(),
            source: MediaSource::Base64("iVBORw0KGgoAAAANSUhEUg==".into()),
        });
        let given =
            given(&[("notes.png", "a text, ü".as_bytes()), ("photo.txt", PNG), ("page.html", b"<!DOCTYPE html>")]);
        assert_eq!(
            given.unwrap(),
            [Part::text("File notes.png:\n\na text, ü"), picture, Part::text("File page.html:\n\n<!DOCTYPE html>")]
        );
    }

    #[test]
    fn what_no_model_reads_is_refused() {
        let zip = given(&[("a.zip", b"PK\x03\x04\xff\xff")]).unwrap_err();
        let kinds = "neither a text in UTF-8 nor a picture (PNG, JPEG, GIF, WebP), a sound (WAV, MP3) or a PDF";
        assert_eq!(zip, format!("a.zip: {kinds} (application/zip)"));
        let pdf = given(&[("a.pdf", b"%PDF-1.7\n\xff")]).unwrap();
        assert!(matches!(&pdf[..], [Part::Document(media)] if media.name.as_deref() == Some("a.pdf")), "{pdf:?}");
        assert!(given(&[("a.bin", b"\0\x01")]).unwrap_err().starts_with("a.bin: neither a text"));
        let long = vec![b'a'; 5 << 20];
        assert_eq!(given(&[("a", &long), ("b", &long)]).unwrap_err(), "b: with it, the files are larger than 8 MiB");
        assert_eq!(parts(&[PathBuf::from("/nowhere/at all")]).unwrap_err().code as u8, 8);
    }
}
