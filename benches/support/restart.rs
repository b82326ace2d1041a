//! What it takes to go on after the process has ended: resuming one long run, and finding all that are unfinished.
//!
//! The stores are filled once; each sample is a process of its own that opens them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use agentd::{
    daemon::{Daemon, settings::Settings},
    engine,
    journal::Journal,
    run::{Entry, Run, RunId},
    store::{
        Store,
        sled::{self, Sled},
    },
};
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::{runtime, task::JoinSet};
use uuid::Uuid;

use super::{cold::milliseconds, driven::Driven, model::Script, os, rounds::median, sample};

/// The role of a process that does a part of this.
pub const ROLE: &str = "restart";

/// Turns of a run of a little over 1,000 entries: four a turn, and six around them.
const TURNS: usize = 250;

/// Entries of a run that is left unfinished: five turns of ten, and a call on its way.
const CUT: usize = 25;

/// Runs that are written at once.
const LANES: usize = 500;

/// What a child does.
#[derive(Debug, Serialize, Deserialize)]
enum Job {
    /// Leaves a finished run of [`TURNS`] in one store and unfinished ones in another; answers with [`Filled`].
    Fill { base_url: String, folder: PathBuf, unfinished: usize },
    /// Takes over that long run; answers with milliseconds.
    Resume { folder: PathBuf, run: String },
    /// Finds the unfinished runs; answers with milliseconds.
    Find { folder: PathBuf, unfinished: usize },
}

#[derive(Debug, Serialize, Deserialize)]
struct Filled {
    run: String,
    entries: u64,
}

/// What was measured: medians.
pub struct Found {
    /// Entries of the resumed run.
    pub entries: u64,
    /// Claiming it and reading it back, up to what should be in flight.
    pub resume_ms: f64,
    /// Opening the store and finding what is unfinished.
    pub find_ms: f64,
}

/// Measures each `times` over.
pub fn measure(base_url: &str, folder: &Path, unfinished: usize, times: usize) -> Result<Found> {
    let (base_url, folder) = (base_url.to_owned(), folder.to_owned());
    let Filled { run, entries } = sample::take(ROLE, &Job::Fill { base_url, folder: folder.clone(), unfinished })?;
    let repeat = |job: Job| (0..times).map(|_| sample::take(ROLE, &job)).collect::<Result<Vec<f64>>>();
    let resume_ms = median(repeat(Job::Resume { folder: folder.clone(), run })?);
    let find_ms = median(repeat(Job::Find { folder, unfinished })?);
    Ok(Found { entries, resume_ms, find_ms })
}

/// The work of the child.
pub fn answer(job: &str) -> Result<()> {
    os::pin(os::CONTENDER)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(async {
        match serde_json::from_str(job)? {
            Job::Fill { base_url, folder, unfinished } => {
                Ok(serde_json::to_string(&fill(&base_url, &folder, unfinished).await?)?)
            }
            Job::Resume { folder, run } => Ok(resume(&folder, run.parse()?).await?.to_string()),
            Job::Find { folder, unfinished } => Ok::<_, anyhow::Error>(find(&folder, unfinished).await?.to_string()),
        }
    })?;
    println!("{line}");
    Ok(())
}

fn long(folder: &Path) -> PathBuf {
    folder.join("long")
}

/// A data directory, with the store where a daemon looks for it.
fn home(folder: &Path) -> PathBuf {
    folder.join("home")
}

async fn fill(base_url: &str, folder: &Path, unfinished: usize) -> Result<Filled> {
    let driven = Driven::new(base_url, Some(&long(folder))).await?;
    let run = driven.run(Script { turns: TURNS, bytes: 0, hold: false }).await?.run;
    let short = driven.run(Script { turns: 10, bytes: 0, hold: false }).await?.run;
    let entries = Journal::read(&**driven.store(), run).await?.len() as u64;
    let mut begun = Journal::read(&**driven.store(), short).await?;
    begun.truncate(CUT);

    let store: Arc<dyn Store> =
        Arc::new(Sled::open(&home(folder).join("journal").join("00"), sled::Options::default())?);
    let begun = Arc::new(begun);
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (store, begun) = (store.clone(), begun.clone());
        let mine = unfinished / LANES + usize::from(lane < unfinished % LANES);
        lanes.spawn(async move {
            for _ in 0..mine {
                begin(store.clone(), &begun).await?;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(done) = lanes.join_next().await {
        done??;
    }
    Ok(Filled { run: run.to_string(), entries })
}

/// A run to which the same has happened.
async fn begin(store: Arc<dyn Store>, entries: &[Entry]) -> Result<()> {
    let (mut journal, _) = Journal::claim(store, RunId(Uuid::now_v7())).await?;
    let mut run = Run::default();
    for entry in entries {
        run.apply(&*journal.push(entry.at, entry.event.clone())?)?;
    }
    engine::start_commit(&run, &mut journal);
    Ok(journal.commit().await?)
}

async fn resume(folder: &Path, id: RunId) -> Result<f64> {
    let store: Arc<dyn Store> = Arc::new(Sled::open(&long(folder), sled::Options::default())?);
    let begun = Instant::now();
    let (_journal, entries) = Journal::claim(store, id).await?;
    let run = Run::replay(&entries)?;
    let (_want, _conversation) = (run.next(), run.conversation());
    let took = begun.elapsed();
    ensure!(run.end().is_some(), "the long run has not ended");
    Ok(milliseconds(took))
}

async fn find(folder: &Path, unfinished: usize) -> Result<f64> {
    let settings = Settings::default();
    let begun = Instant::now();
    let daemon = Daemon::open(&settings, &home(folder), None).context("the daemon does not open")?;
    let found = daemon.unfinished().await?.runs.len();
    let took = begun.elapsed();
    ensure!(found == unfinished, "{found} runs found, not {unfinished}");
    Ok(milliseconds(took))
}
