//! Samples: what a contender costs, measured inside a process that does nothing else.
//!
//! The parent starts itself again with a [`Job`]; the child prints one line of JSON.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::task::JoinSet;

use super::{Kept, bare::Bare, driven::Driven, model::Script, os};

/// The role of a process that takes a sample.
pub const ROLE: &str = "sample";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contender {
    /// The loop of our own, which keeps nothing.
    Bare,
    /// The same with a log.
    BareLog,
    /// agentd with the memory store.
    Memory,
    /// agentd with sled.
    Sled,
}

impl Contender {
    /// All of them.
    pub const ALL: [Contender; 4] = [Contender::Bare, Contender::Memory, Contender::BareLog, Contender::Sled];
}

/// What a child is to measure.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Who.
    pub contender: Contender,
    /// Where the model server is, `http://127.0.0.1:1234/v1`.
    pub base_url: String,
    /// An empty folder on a real disk.
    pub folder: PathBuf,
    /// Runs at once.
    pub level: usize,
    /// Runs measured, a multiple of `level`.
    pub runs: usize,
    /// What each run does. With `hold`, memory is measured while all runs are held.
    pub turns: usize,
    /// See [`Script::bytes`].
    pub bytes: usize,
    /// See [`Script::hold`].
    pub hold: bool,
}

/// What a run cost, on average.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of the whole process.
    pub cpu_us: f64,
    /// Wall time divided by the number of runs.
    pub wall_us: f64,
    /// Bytes that went to the disk.
    pub written: f64,
    /// See [`Kept::turns`].
    pub turns: usize,
    /// See [`Kept::commits`].
    pub commits: u64,
    /// See [`Kept::conversation_bytes`].
    pub conversation_bytes: usize,
    /// See [`Kept::journal_bytes`].
    pub journal_bytes: usize,
}

/// What runs in flight take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Held {
    /// Bytes of the process before they started.
    pub before: u64,
    /// And while all of them wait for their last answer.
    pub during: u64,
}

/// Has a child of this program do a job.
pub fn take<T: DeserializeOwned>(role: &str, job: &impl Serialize) -> Result<T> {
    let child = Command::new(std::env::current_exe()?)
        .args([role, &serde_json::to_string(job)?])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(child.status.success(), "{role} failed: {}", serde_json::to_string(job)?);
    serde_json::from_slice(&child.stdout).context("not a sample")
}

enum Side {
    Bare(Bare),
    Driven(Driven),
}

impl Side {
    async fn new(contender: Contender, base_url: &str, folder: &Path) -> Result<Self> {
        Ok(match contender {
            Contender::Bare => Side::Bare(Bare::new(base_url, None).await?),
            Contender::BareLog => Side::Bare(Bare::new(base_url, Some(&folder.join("log"))).await?),
            Contender::Memory => Side::Driven(Driven::new(base_url, None).await?),
            Contender::Sled => Side::Driven(Driven::new(base_url, Some(&folder.join("sled"))).await?),
        })
    }

    async fn run(&self, script: Script) -> Result<Kept> {
        match self {
            Side::Bare(bare) => bare.run(script).await,
            Side::Driven(driven) => driven.run(script).await,
        }
    }
}

/// The work of the child: prints a [`Cost`] or, when runs are held, a [`Held`].
pub fn answer(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)?;
    os::raise_file_limit()?;
    // Before any thread is started, so that all of them stay there.
    os::pin(os::CONTENDER)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        let side = Arc::new(Side::new(job.contender, &job.base_url, &job.folder).await?);
        if job.hold {
            Ok(serde_json::to_string(&hold(&job, &side).await?)?)
        } else {
            Ok::<_, anyhow::Error>(serde_json::to_string(&cost(&job, &side).await?)?)
        }
    })?;
    println!("{line}");
    // Whatever is still held ends with the process.
    std::process::exit(0)
}

async fn cost(job: &Job, side: &Arc<Side>) -> Result<Cost> {
    let script = Script { turns: job.turns, bytes: job.bytes, hold: false };
    // Connections are opened, caches filled and pages touched before the clock starts.
    at_once(side, script, job.level, job.level.max(10)).await?;
    let written = os::written(&job.folder)?;
    let (cpu, begun) = (os::cpu(), Instant::now());
    let mut kept = at_once(side, script, job.level, job.runs).await?;
    let (wall, cpu) = (begun.elapsed(), os::cpu() - cpu);
    let written = os::written(&job.folder)? - written;
    if let Side::Driven(driven) = &**side {
        kept.journal_bytes = driven.journal_bytes(kept.run).await?;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / job.runs as f64;
    Ok(Cost {
        cpu_us: each(cpu),
        wall_us: each(wall),
        written: written as f64 / job.runs as f64,
        turns: kept.turns,
        commits: kept.commits,
        conversation_bytes: kept.conversation_bytes,
        journal_bytes: kept.journal_bytes,
    })
}

/// Does `runs` runs, `level` at once; returns the last of them.
async fn at_once(side: &Arc<Side>, script: Script, level: usize, runs: usize) -> Result<Kept> {
    let mut lanes = JoinSet::new();
    for lane in 0..level {
        let side = side.clone();
        let mine = runs / level + usize::from(lane < runs % level);
        lanes.spawn(async move {
            let mut kept = Kept::default();
            for _ in 0..mine {
                kept = side.run(script).await?;
            }
            Ok::<_, anyhow::Error>(kept)
        });
    }
    let mut last = Kept::default();
    while let Some(kept) = lanes.join_next().await {
        last = kept??;
    }
    Ok(last)
}

async fn hold(job: &Job, side: &Arc<Side>) -> Result<Held> {
    let script = Script { turns: job.turns, bytes: job.bytes, hold: false };
    side.run(script).await?;
    let before = os::resident()?;
    for _ in 0..job.level {
        let side = side.clone();
        tokio::spawn(async move {
            // It ends with the process, and not before.
            if let Err(error) = side.run(Script { hold: true, ..script }).await {
                eprintln!("a held run ended: {error:#}");
            }
        });
    }
    let (http, url) = (reqwest::Client::builder().no_proxy().build()?, job.base_url.replace("/v1", "/held"));
    while http.get(&url).send().await?.text().await?.parse::<usize>()? < job.level {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(Held { before, during: os::resident()? })
}
