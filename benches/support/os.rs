//! What the kernel says of this process: its core, CPU time, memory and bytes written.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context, Result};
use rustix::{
    io::Errno,
    process::{Resource, Rlimit},
    thread::CpuSet,
    time::ClockId,
};
use tokio::runtime::{self, Runtime};

/// The core of whoever is measured.
pub const CONTENDER: usize = 0;

/// The core of everything else.
pub const SERVERS: usize = 1;

/// Keeps this thread, and all that it starts, on one core. On a machine without that core it does nothing.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    match rustix::thread::sched_setaffinity(None, &cores) {
        Err(Errno::INVAL) => Ok(()),
        pinned => Ok(pinned?),
    }
}

/// A runtime on the servers' core.
pub fn servers() -> Result<Runtime> {
    let pin = || {
        if let Err(error) = pin(SERVERS) {
            eprintln!("the model server is not pinned: {error:#}");
        }
    };
    Ok(runtime::Builder::new_multi_thread().worker_threads(1).on_thread_start(pin).enable_all().build()?)
}

/// Lets this process hold as many files as the system allows: a thousand runs have a thousand connections.
pub fn raise_file_limit() -> Result<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// CPU time of all threads of this process so far, without its children.
pub fn cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(of: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(of);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Memory of this process that is in RAM now, in bytes.
pub fn resident() -> Result<u64> {
    Ok(number("/proc/self/status", "VmRSS:")? * 1024)
}

/// Bytes that have gone to the disk of this folder so far, whoever wrote them: the machine should do nothing else. What
/// Linux counts for a process (`/proc/self/io`) is no measure: since file systems keep large folios, a byte that is written
/// into one counts as all of it.
pub fn written(folder: &Path) -> Result<u64> {
    let folder = File::open(folder)?;
    rustix::fs::syncfs(&folder)?;
    let device = rustix::fs::fstat(&folder)?.st_dev;
    let file = format!("/sys/dev/block/{}:{}/stat", rustix::fs::major(device), rustix::fs::minor(device));
    let text = std::fs::read_to_string(&file).with_context(|| format!("{file}: the folder is on no disk"))?;
    // The seventh number is the sectors written, of 512 bytes whatever the disk has (Documentation/block/stat.rst).
    let sectors: u64 = text.split_whitespace().nth(6).with_context(|| format!("{file} is too short"))?.parse()?;
    Ok(sectors * 512)
}

/// The number that follows `key` at the beginning of a line.
fn number(file: &str, key: &str) -> Result<u64> {
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.with_context(|| format!("{file} has no {key}"))?.parse()?)
}
