//! All that the store asks of the file system. Tests put a hook here: it sees each step before it is made, and can have
//! it fail or write down what a power cut may leave.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A step that is about to be made.
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// A file is created.
    Create(&'a Path),
    /// A file is opened or read.
    Read(&'a Path),
    /// Bytes are written at an offset.
    Write {
        /// The file.
        path: &'a Path,
        /// Where in it.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
    /// A file's data is made durable.
    Sync(&'a Path),
    /// A file's end is cut off.
    Cut {
        /// The file.
        path: &'a Path,
        /// What remains.
        length: u64,
    },
    /// A file takes another one's place.
    Rename {
        /// Its name so far.
        from: &'a Path,
        /// Its name from now on.
        to: &'a Path,
    },
    /// A file is removed.
    Remove(&'a Path),
    /// The names in a directory are made durable.
    SyncDir(&'a Path),
    /// sled is asked for something.
    Sled(&'static str),
}

/// Called before every step: an error is taken for the disk's; a panic in [`Op::Sled`] for sled's.
pub type Hook = std::sync::Arc<dyn Fn(Op<'_>) -> io::Result<()> + Send + Sync>;

/// The file system, and in tests what looks on.
#[derive(Clone, Default)]
pub(super) struct Disk {
    #[cfg(any(test, feature = "chaos"))]
    pub(super) hook: Option<Hook>,
}

impl Disk {
    #[cfg(any(test, feature = "chaos"))]
    pub(super) fn at(&self, op: Op<'_>) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(op))
    }

    #[cfg(not(any(test, feature = "chaos")))]
    pub(super) fn at(&self, _: Op<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Creates a file that is not there yet, for this user alone.
    pub(super) fn create(&self, path: &Path) -> io::Result<Handle> {
        self.at(Op::Create(path))?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Handle { path: path.to_owned(), file, disk: self.clone() })
    }

    /// Opens a file for writing, which is created if it is not there.
    pub(super) fn open(&self, path: &Path) -> io::Result<Handle> {
        if !path.exists() {
            self.at(Op::Create(path))?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Handle { path: path.to_owned(), file, disk: self.clone() })
    }

    /// Opens a file for reading.
    pub(super) fn read(&self, path: &Path) -> io::Result<Handle> {
        self.at(Op::Read(path))?;
        Ok(Handle { path: path.to_owned(), file: File::open(path)?, disk: self.clone() })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(Op::Rename { from, to })?;
        fs::rename(from, to)
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(Op::Remove(path))?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes durable which names a directory holds.
    pub(super) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.at(Op::SyncDir(dir))?;
        sync_dir(dir)
    }

    /// Makes durable that a directory is there: its name, and those of all above it that may be asked.
    pub(super) fn sync_names(&self, dir: &Path) -> io::Result<()> {
        self.sync_dir(dir)?;
        for above in dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
            match self.sync_dir(above) {
                // Who may not read it did not make what is in it, and some file systems sync no directories.
                Err(error)
                    if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) =>
                {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// An open file.
pub(super) struct Handle {
    path: PathBuf,
    file: File,
    disk: Disk,
}

impl Handle {
    /// Writes all of it. If that fails, a part of it may be there.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.disk.at(Op::Write { path: &self.path, offset, bytes }) {
            // As a disk does that is full, or breaks.
            self.file.write_all_at(bytes.get(..bytes.len() / 2).unwrap_or_default(), offset)?;
            return Err(error);
        }
        self.file.write_all_at(bytes, offset)
    }

    /// fdatasync: the data, and what is needed to find it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.at(Op::Sync(&self.path))?;
        self.file.sync_data()
    }

    pub(super) fn cut(&self, length: u64) -> io::Result<()> {
        self.disk.at(Op::Cut { path: &self.path, length })?;
        self.file.set_len(length)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether nobody finds this file any more, because it was removed.
    pub(super) fn is_removed(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() == 0)
    }

    pub(super) fn read_at(&self, length: usize, offset: u64) -> io::Result<Vec<u8>> {
        self.disk.at(Op::Read(&self.path))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Everything from `offset` on, zeros where the disk cannot read, and how many bytes those are.
    pub(super) fn read_from(&self, offset: u64) -> io::Result<(Vec<u8>, usize)> {
        let length = usize::try_from(self.length()?.saturating_sub(offset)).unwrap_or(usize::MAX);
        if let Ok(bytes) = self.read_at(length, offset) {
            return Ok((bytes, 0));
        }
        let (mut bytes, mut unread) = (vec![0; length], 0);
        for (number, piece) in (0_u64..).zip(bytes.chunks_mut(READ_PIECE)) {
            let at = offset + number * READ_PIECE as u64;
            let read = self.disk.at(Op::Read(&self.path)).and_then(|()| self.file.read_exact_at(piece, at));
            if read.is_err() {
                piece.fill(0);
                unread += piece.len();
            }
        }
        Ok((bytes, unread))
    }

    /// Has what follows be read from the disk and not from memory: after a sync that failed, the page cache may hold,
    /// marked clean, what never reached the disk.
    pub(super) fn forget_cached(&self) -> io::Result<()> {
        self.file.sync_data()?;
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

/// What is lost around a byte that the disk cannot read: a sector of today's disks.
const READ_PIECE: usize = 4096;

/// Creates a directory (mode 0700) and what is missing above it, each durable in its parent.
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = parent(dir);
    create_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(parent),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// The name of the network file system that a directory is on; `None` when it is on none that we know.
///
/// On these an fdatasync ends at another machine, or in a program, whose promises nobody here can check, and file locks
/// may not exclude other machines. FUSE is among them whatever stands behind it: sshfs looks like a disk from here.
/// virtiofs, which shares a host's disk with a guest, looks like FUSE and is refused with it. Magic numbers:
/// linux/magic.h and statfs(2), 2026-11.
#[cfg(target_os = "linux")]
pub(super) fn network_file_system(dir: &Path) -> io::Result<Option<&'static str>> {
    // The width and sign of `f_type` differ from machine to machine; the magic numbers have 32 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "32 bits")]
    let magic = rustix::fs::statfs(dir)?.f_type as u32;
    Ok(match magic {
        0x0000_6969 => Some("nfs"),
        0x0000_517B => Some("smb"),
        0xFE53_4D42 => Some("smb2"),
        0xFF53_4D42 => Some("cifs"),
        0x0000_564C => Some("ncp"),
        0x0102_1997 => Some("9p"),
        0x5346_414F | 0x6B41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x00C3_6400 => Some("ceph"),
        0x0BD0_0BD0 => Some("lustre"),
        0x0116_1970 => Some("gfs2"),
        0x7461_636F => Some("ocfs2"),
        0x6573_5546 => Some("fuse"),
        _ => None,
    })
}

/// Only Linux is asked: elsewhere the type of a file system has no common name.
#[cfg(not(target_os = "linux"))]
pub(super) fn network_file_system(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// How long a look at the free space is believed.
const BELIEVED: Duration = Duration::from_millis(100);

/// The free space below a directory.
pub(super) struct Space {
    dir: File,
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Space {
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Space { dir: File::open(dir)?, seen: Mutex::new(None) })
    }

    /// Bytes that this user may still fill; `None` when the file system does not say.
    pub(super) fn free(&self) -> Option<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((at, free)) if at.elapsed() < BELIEVED => Some(free),
            _ => {
                let disk = rustix::fs::fstatvfs(&self.dir).ok()?;
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                *seen = Some((Instant::now(), free));
                Some(free)
            }
        }
    }
}
