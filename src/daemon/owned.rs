//! Reads files that say what is started or where keys are sent, and tells who else could have written them.
//!
//! Such a file must belong to us or to root, and nobody else may be able to write it: whoever can change it can run
//! programs as us. The same holds for every folder on the way to it, links included, since whoever can write a folder can put
//! another file in the place of this one. A folder with the sticky bit, such as `/tmp`, is safe: there only the owner of a file
//! can replace it. What is looked at is the file that was opened, not what its name leads to later.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

use super::Error;
use crate::yaml;

/// Most links on the way to a file, as many as Linux follows.
const LINKS_MAX: usize = 40;

/// What a file holds, and why it should not be followed; `None` when it may be.
pub struct Source {
    /// Its bytes, one more than may be read of a text at most.
    pub bytes: Vec<u8>,
    /// Who else could have written it, and what mends that.
    pub doubt: Option<String>,
    /// Whether it is a file of the user of this process. What came through a pipe, and what belongs to root, is not.
    pub own: bool,
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
    // What is no file (a pipe, `/dev/stdin`, `<(…)` of a shell) was written by whoever gave it to us, and so was a file
    // that no folder holds any more.
    let named = data.is_file() && data.nlink() > 0;
    let doubt =
        named.then(|| doubt(path, "file", data.mode(), data.uid()).or_else(|| on_the_way(path, &data))).flatten();
    let own = named && doubt.is_none() && data.uid() == us();
    Ok(Source { bytes, doubt, own })
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// What is wrong with a file or folder of this mode and owner.
fn doubt(path: &Path, what: &str, mode: u32, owner: u32) -> Option<String> {
    const POWER: &str = "decides what is started here, what may be done, and where keys go";
    let us = us();
    let name = quoted(&path.display().to_string());
    let whose = if what == "file" { "the file".to_owned() } else { format!("the {what} {name}") };
    if owner != us && owner != 0 {
        return Some(format!(
            "{whose} belongs to another user (uid {owner}), and who writes it {POWER}; if you have read it and trust it: sudo \
             chown {us} {name}"
        ));
    }
    if what == "folder" && mode & 0o1000 != 0 {
        return None;
    }
    let (who, change) = match (mode & 0o020 != 0, mode & 0o002 != 0) {
        (false, false) => return None,
        (true, false) => ("its group", "g-w"),
        (false, true) => ("everybody", "o-w"),
        (true, true) => ("its group and everybody", "go-w"),
    };
    Some(format!("{whose} can be written by {who}, and who writes it {POWER}; mend it: chmod {change} {name}"))
}

/// What is wrong with a folder, or a link, on the way to a file that was opened.
fn on_the_way(path: &Path, opened: &fs::Metadata) -> Option<String> {
    let unclear = || Some("it cannot be told who could have written the file: the way to it has changed".to_owned());
    match walk(path, opened) {
        Ok(found) => found,
        Err(_) => unclear(),
    }
}

fn walk(path: &Path, opened: &fs::Metadata) -> io::Result<Option<String>> {
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    let mut left: VecDeque<OsString> = VecDeque::new();
    let steps = |path: &Path| -> Vec<OsString> {
        let steps = path.components().filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir));
        steps.map(|step| step.as_os_str().to_owned()).collect()
    };
    left.extend(steps(&std::path::absolute(path)?));
    let mut data = fs::symlink_metadata(&at)?;
    loop {
        if data.is_dir()
            && let Some(doubt) = doubt(&at, "folder", data.mode(), data.uid())
        {
            return Ok(Some(doubt));
        }
        let Some(step) = left.pop_front() else { break };
        if step == ".." {
            at.pop();
            data = fs::symlink_metadata(&at)?;
            continue;
        }
        let next = at.join(&step);
        let found = fs::symlink_metadata(&next)?;
        if !found.is_symlink() {
            (at, data) = (next, found);
            continue;
        }
        // A link has no mode of its own.
        if let Some(doubt) = doubt(&next, "link", 0, found.uid()) {
            return Ok(Some(doubt));
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        steps(&target).into_iter().rev().for_each(|step| left.push_front(step));
        data = fs::symlink_metadata(&at)?;
    }
    let same = (data.dev(), data.ino()) == (opened.dev(), opened.ino());
    if same { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) }
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_what_others_cannot_write_is_followed() {
        let us = rustix::process::geteuid().as_raw();
        let of = |mode, owner| doubt(Path::new("my agent.yaml"), "file", mode, owner);
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

    #[test]
    fn a_folder_or_link_of_others_on_the_way_is_told() {
        use std::os::unix::fs::{chown, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("folder/below/a.yaml"));
        fs::create_dir_all(dir.path().join("folder/below")).unwrap();
        fs::write(&file, "x").unwrap();
        let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let told = |path: &Path| read(path).unwrap().doubt.unwrap_or_default();
        for (bits, end) in [(0o775, "chmod g-w"), (0o757, "chmod o-w"), (0o777, "chmod go-w")] {
            mode(bits);
            let told = told(&file);
            assert!(told.contains(end) && told.contains("/folder"), "{bits:o}: {told}");
        }
        for bits in [0o755, 0o700, 0o1777] {
            mode(bits);
            assert_eq!((told(&file).as_str(), read(&file).unwrap().own), ("", true), "{bits:o}");
        }
        // Through a link that stands in a folder of everybody.
        let open = dir.path().join("open");
        fs::create_dir(&open).unwrap();
        symlink(&file, open.join("link.yaml")).unwrap();
        symlink("../folder/below", open.join("way")).unwrap();
        for path in ["link.yaml", "way/a.yaml", "../open/way/../below/a.yaml"].map(|path| open.join(path)) {
            fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
            assert!(told(&path).contains("/open"), "{}", path.display());
            fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(told(&path), "", "{}", path.display());
        }
        // Only root gives files away.
        if us() == 0 {
            chown(&folder, Some(4711), None).unwrap();
            assert!(told(&file).contains("belongs to another user (uid 4711)"));
        }
    }
}
