//! The root folder: the only way from the tools to the disk.
//!
//! A path of a call is first read as text (relative, no `..`, no NUL), then resolved by cap-std from the open handle of the
//! root: with `openat2(RESOLVE_BENEATH)` on Linux, by hand from handle to handle elsewhere. Links are followed as long
//! as they stay below. What is checked is the handle that is used, so a link swapped in meanwhile changes nothing.
//! Always true:
//! - No handle handed out lies outside of the root.
//! - A change is made in a new file next to the old one, which is synced, renamed over it, and made durable by a sync
//!   of the folder. Readers see the old content or the new, also after a kill or a power cut.
//! - Changes in one folder exclude each other by a lock on the folder (`flock`), also between sessions and processes,
//!   so that an edit cannot undo another. A file system without locks goes without.
//!
//! Left out on purpose: owner, extended attributes and hard links of a replaced file are not carried over (its
//! permission bits are), and a program that writes without taking the lock can still come between the read and the
//! rename of an edit.

use std::{
    fs, io,
    io::{Read, Write},
    path::{Component, Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, File, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt},
};
use cap_tempfile::TempFile;
use rustix::fs::OFlags;

use crate::error::Error;

/// Most bytes of a file that is changed in memory.
const EDIT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Longest path of a call, in bytes; Linux takes no longer one (PATH_MAX).
const PATH_BYTES_MAX: usize = 4096;

/// Most folders of a path. What lies deeper could be written, but never be found by `list` or `search`.
const PATH_PARTS_MAX: usize = crate::walk::DEPTH_MAX as usize;

/// Characters of a path that is too long which are quoted in the refusal.
const PATH_SHOWN: usize = 60;

/// How alike (0 to 1, Damerau-Levenshtein) a name must be to be proposed for a missing one; below half it is noise.
const LIKENESS_MIN: f64 = 0.5;

/// Most entries of a folder that are looked at for a proposal.
const NEAREST_ENTRIES_MAX: usize = 5_000;

/// An open folder that paths cannot lead out of.
pub(crate) struct Root {
    dir: Dir,
}

/// What a write did.
pub(crate) struct Replaced {
    /// The path, without what means nothing in it, such as `./`.
    pub path: String,
    /// False when a file was replaced.
    pub created: bool,
}

impl Root {
    /// Opens `path`, which comes from the operator and so may be anywhere.
    pub fn open(path: &Path) -> io::Result<Root> {
        Ok(Root { dir: Dir::open_ambient_dir(path, ambient_authority())? })
    }

    /// Opens the regular file at `path` for reading, and tells its length in bytes.
    pub fn file(&self, path: &str) -> Result<(File, u64), Error> {
        let wanted = file_path(path)?;
        let file = open_file(&self.dir, &wanted).map_err(|error| self.refusal(path, error))?;
        let meta = file.metadata().map_err(|error| self.refusal(path, error))?;
        match () {
            () if meta.is_file() => Ok((file, meta.len())),
            () if meta.is_dir() => Err(Error::Folder { path: path.into() }),
            () => Err(Error::Special { path: path.into() }),
        }
    }

    /// Opens the folder at `path`; the root itself is `.` or empty.
    pub fn folder(&self, path: &str) -> Result<Dir, Error> {
        let wanted = relative(path)?;
        self.dir.open_dir(or_dot(&wanted)).map_err(|error| self.refusal(path, error))
    }

    /// Puts `text` at `path`, in a new file or in place of the one there. Missing folders are created.
    pub fn replace(&self, path: &str, text: &str) -> Result<Replaced, Error> {
        let wanted = file_path(path)?;
        let io = |error| self.refusal(path, error);
        let folder = make_folder(&self.dir, parent(&wanted)).map_err(io)?;
        let place = Place::lock(folder, &wanted).map_err(io)?;
        let before = self.writable(&place, path)?;
        let permissions = before.as_ref().map(|(_, permissions)| permissions.clone());
        place.put(text, permissions).map_err(io)?;
        Ok(Replaced { path: shown(&wanted), created: before.is_none() })
    }

    /// Replaces the text of the file at `path` by what `change` makes of it. Its error leaves the file alone.
    pub fn update(&self, path: &str, change: impl FnOnce(&str) -> Result<String, Error>) -> Result<(), Error> {
        let wanted = file_path(path)?;
        let io = |error| self.refusal(path, error);
        let folder = self.dir.open_dir(or_dot(parent(&wanted))).map_err(io)?;
        let place = Place::lock(folder, &wanted).map_err(io)?;
        let (file, permissions) = self.writable(&place, path)?.ok_or_else(|| io(io::ErrorKind::NotFound.into()))?;
        let bytes = file.metadata().map_err(io)?.len();
        let mut content = Vec::new();
        if bytes <= EDIT_BYTES_MAX {
            file.take(EDIT_BYTES_MAX + 1).read_to_end(&mut content).map_err(io)?;
        }
        // Also when it has grown since it was measured: its end must not be lost.
        if bytes.max(content.len() as u64) > EDIT_BYTES_MAX {
            let instead = "edit a smaller file, or ask for this one to be split";
            return Err(Error::TooLarge { path: path.into(), bytes, most: EDIT_BYTES_MAX, instead });
        }
        let content = text(path, content)?;
        place.put(&change(&content)?, Some(permissions)).map_err(io)
    }

    /// The file that a change at `place` would replace, with its permission bits; `None` when there is none.
    fn writable(&self, place: &Place, path: &str) -> Result<Option<(File, Permissions)>, Error> {
        let io = |error| self.refusal(path, error);
        let kind = match place.folder.symlink_metadata(&place.name) {
            Ok(meta) => meta.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        match () {
            () if kind.is_symlink() => return Err(Error::Link { path: path.into() }),
            () if kind.is_dir() => return Err(Error::Folder { path: path.into() }),
            () if !kind.is_file() => return Err(Error::Special { path: path.into() }),
            () => {}
        }
        // A rename needs no right to the file itself, so ask for it: a file that is read-only means it.
        let file = place.folder.open_with(&place.name, options().write(true)).map_err(io)?;
        let mode = file.metadata().map_err(io)?.permissions().mode();
        // Without set-user-id and the like, which any ordinary write takes away too.
        Ok(Some((file, Permissions::from_mode(mode & 0o777))))
    }

    /// What an error on the way to `path` means to the model.
    pub fn refusal(&self, path: &str, error: io::Error) -> Error {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound => self.missing(path),
            // cap-std reports a way out as a denial without an error number.
            io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Error::Outside { path },
            io::ErrorKind::PermissionDenied => Error::Denied { path },
            io::ErrorKind::NotADirectory => Error::NotFolder { path },
            io::ErrorKind::IsADirectory => Error::Folder { path },
            _ => Error::Io { path, source: error },
        }
    }

    /// That `path` is missing, with the last folder on the way that exists, and up to three paths in it that look like
    /// the wanted one, the most alike first.
    fn missing(&self, path: String) -> Error {
        let wanted = relative(&path).unwrap_or_default();
        let found = wanted.ancestors().find_map(|missing| {
            let (above, name) = (missing.parent()?, missing.file_name()?);
            Some((above, name, self.dir.open_dir(or_dot(above)).ok()?))
        });
        let Some((above, name, folder)) = found else {
            return Error::Missing { path, above: ".".into(), nearest: Vec::new() };
        };
        let lower = name.to_string_lossy().to_lowercase();
        let mut alike: Vec<(f64, String)> = (folder.entries().into_iter().flatten())
            .take(NEAREST_ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .map(|other| (strsim::normalized_damerau_levenshtein(&lower, &other.to_lowercase()), other))
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .collect();
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        // For a slip in a folder's name: the file itself, if the rest of the path was right.
        let rest = wanted.strip_prefix(above.join(name)).unwrap_or(Path::new(""));
        let nearest = alike.into_iter().take(3).map(|(_, other)| above.join(other)).map(|other| {
            let whole = other.join(rest);
            shown(if self.dir.exists(&whole) { whole.components().as_path() } else { &other })
        });
        let nearest = nearest.collect();
        Error::Missing { path, above: shown(or_dot(above)), nearest }
    }
}

/// A name in an open, locked folder, where a file is to be put.
struct Place {
    folder: Dir,
    /// The same folder: holds the lock until it is dropped, and syncs the folder after the rename.
    handle: fs::File,
    name: PathBuf,
}

impl Place {
    /// Locks `folder`, and takes the last part of `path` as the name.
    fn lock(folder: Dir, path: &Path) -> io::Result<Place> {
        let handle = handle(&folder)?;
        match handle.lock() {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            locked => locked?,
        }
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.into();
        Ok(Place { folder, handle, name })
    }

    /// Puts a new file with `text` here, all or nothing. `None` as permissions gives those of any new file.
    fn put(&self, text: &str, permissions: Option<Permissions>) -> io::Result<()> {
        let mut file = TempFile::new(&self.folder)?;
        file.write_all(text.as_bytes())?;
        if let Some(permissions) = permissions {
            file.as_file().set_permissions(permissions)?;
        }
        file.as_file().sync_all()?;
        file.replace(&self.name)?;
        self.handle.sync_all()
    }
}

/// Opens a file for reading without waiting, as a pipe without a writer would make it.
pub(crate) fn open_file(folder: &Dir, path: &Path) -> io::Result<File> {
    folder.open_with(path, &options())
}

/// Options to open a file for reading that never wait.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// Opens the folder `path` below `dir`, creating what is missing, each new folder made durable in the one above.
fn make_folder(dir: &Dir, path: &Path) -> io::Result<Dir> {
    match dir.open_dir(or_dot(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let above = make_folder(dir, above)?;
    match above.create_dir(name) {
        Ok(()) => handle(&above)?.sync_all()?,
        // Somebody was faster, or it is a link to nothing: opening tells.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    // From the root again, so that the link rules are the same as for any other path.
    dir.open_dir(path)
}

/// Opens a folder once more: that of a [`Dir`] is good for finding things in it only, not for locks and syncs.
fn handle(folder: &Dir) -> io::Result<fs::File> {
    Ok(folder.open(".")?.into_std())
}

/// The content of a file as text.
pub(crate) fn text(path: &str, bytes: Vec<u8>) -> Result<String, Error> {
    // NUL is UTF-8, but no text: it marks binary files, and many JSON readers refuse it.
    let text = if bytes.contains(&0) { None } else { String::from_utf8(bytes).ok() };
    text.ok_or_else(|| Error::NotText { path: path.into() })
}

/// `path` as text says it, as a relative path of plain names; empty for the root itself.
pub(crate) fn relative(path: &str) -> Result<PathBuf, Error> {
    let outside = || Error::Outside { path: path.into() };
    if path.contains('\0') {
        return Err(outside());
    }
    if path.len() > PATH_BYTES_MAX || Path::new(path).components().count() > PATH_PARTS_MAX {
        let start = path.chars().take(PATH_SHOWN).collect();
        return Err(Error::Long { start, bytes: path.len(), parts: Path::new(path).components().count() });
    }
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    Ok(clean)
}

/// Like [`relative`], for a path that must be a file's.
fn file_path(path: &str) -> Result<PathBuf, Error> {
    let clean = relative(path)?;
    if path.ends_with('/') || clean.as_os_str().is_empty() {
        return Err(Error::Folder { path: path.into() });
    }
    Ok(clean)
}

/// The folder that holds `path`; empty for the root itself.
fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// `path`, or `.` where it is empty, which the system would not take.
fn or_dot(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// A path as it is shown in results. It came from text, so nothing is lost.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
