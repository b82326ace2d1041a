//! What the store asks of the file system: directories that are there after a power cut, a local disk, and room.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

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

/// Makes durable which names a directory holds.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
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
