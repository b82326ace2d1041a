//! Reads files that say what is started or where keys are sent, and tells who else could have written them.
//!
//! Such a file must belong to us or to root, and nobody else may be able to write it: whoever can change it can run
//! programs as us. What is looked at is the file that was opened, not what its name leads to later.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use super::Error;
use crate::yaml;

/// What a file holds, and why it should not be followed; `None` when it may be.
pub struct Source {
    /// Its bytes, one more than may be read of a text at most.
    pub bytes: Vec<u8>,
    /// Who else could have written it, and what mends that.
    pub doubt: Option<String>,
}

/// Reads a file.
///
/// # Errors
/// When it is not there or cannot be read.
pub fn read(path: &Path) -> Result<Source, Error> {
    let unreadable = |source| Error::Io { what: format!("cannot read {}", path.display()), source };
    let open = || -> io::Result<(fs::Metadata, Vec<u8>)> {
        let file = fs::File::open(path)?;
        let data = file.metadata()?;
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to be refused by its place.
        file.take(yaml::TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok((data, bytes))
    };
    let (data, bytes) = open().map_err(unreadable)?;
    // What is no file (a pipe, `/dev/stdin`, `<(…)` of a shell) was written by whoever gave it to us.
    let doubt = data.is_file().then(|| doubt(path, data.permissions().mode(), data.uid())).flatten();
    Ok(Source { bytes, doubt })
}

/// What is wrong with a file of this mode and owner.
fn doubt(path: &Path, mode: u32, owner: u32) -> Option<String> {
    let us = rustix::process::geteuid().as_raw();
    let name = quoted(&path.display().to_string());
    if owner != us && owner != 0 {
        return Some(format!(
            "the file belongs to another user (uid {owner}), and who writes it decides what is started here and where keys \
             go; if you have read it and trust it: sudo chown {us} {name}"
        ));
    }
    let (who, change) = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (false, false) => return None,
        (true, false) => ("its group", "g-w"),
        (false, true) => ("everybody", "o-w"),
        (true, true) => ("its group and everybody", "go-w"),
    };
    Some(format!(
        "the file can be written by {who}, and who writes it decides what is started here and where keys go; mend it: \
         chmod {change} {name}"
    ))
}

/// A path as a shell takes it.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | '@');
    match path.chars().all(plain) && !path.starts_with('-') {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_cannot_write_is_followed() {
        let us = rustix::process::geteuid().as_raw();
        let of = |mode, owner| doubt(Path::new("my agent.yaml"), mode, owner);
        for mode in [0o600, 0o644, 0o755, 0o400] {
            assert_eq!(of(mode, us), None, "{mode:o}");
            assert_eq!(of(mode, 0), None, "{mode:o}");
        }
        for (mode, end) in [(0o664, "chmod g-w 'my agent.yaml'"), (0o646, "chmod o-w"), (0o666, "chmod go-w")] {
            let told = of(mode, us).unwrap();
            assert!(told.contains(end), "{mode:o}: {told}");
        }
        let told = of(0o600, us + 1).unwrap();
        assert!(told.contains("another user") && told.contains(&format!("chown {us}")), "{told}");
    }

    #[test]
    fn what_is_read_is_what_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let source = read(&path).unwrap();
        assert_eq!((source.bytes.as_slice(), source.doubt.is_some()), (&b"x"[..], true));
        assert!(matches!(read(&dir.path().join("gone")), Err(Error::Io { .. })));
        assert!(read(Path::new("/dev/null")).unwrap().doubt.is_none());
    }
}
