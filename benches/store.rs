//! Durable appends per second: our store, bare sled with the same batches, and a plain log.
//!
//! `cargo bench --bench store [seconds per measurement]`. N runs each append a record of 1 KiB, wait until it is durable,
//! and go on. *bare sled* is a loop without anybody waiting: a batch of N records, `apply_batch`, `flush`, fdatasync.
//! *bare sled, awaited* and *raw log, awaited* put the same N waiting tasks in front of a thread that commits what waits,
//! as our store does. Three rounds, in turns; the median of each. Then what opening and reading take.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measurement that fails has nothing to say")]

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use agentd::{
    run::RunId,
    store::{
        Appended, Chain, Columns, Part, Store,
        sled::{Options, Sled},
    },
};
use bytes::Bytes;
use tokio::sync::oneshot;

const RECORD: usize = 1024;

fn main() {
    let seconds = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(2.0);
    let length = Duration::from_secs_f64(seconds);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("durable appends/s, 1 KiB each          (ratio: of bare sled)");
    println!(
        "{:>6} {:>12} {:>20} {:>18} {:>16}",
        "runs", "bare sled", "bare sled, awaited", "raw log, awaited", "our store"
    );
    for runs in [1, 64, 1024] {
        let mut rounds = [const { Vec::new() }; 4];
        for _ in 0..3 {
            rounds[0].push(bare(runs, length));
            rounds[1].push(runtime.block_on(awaited(runs, length, sled_commits)));
            rounds[2].push(runtime.block_on(awaited(runs, length, raw_commits)));
            rounds[3].push(runtime.block_on(ours(runs, length)));
        }
        let [bare, awaited, raw, ours] = rounds.map(median);
        let of = |figure: f64| format!("{figure:.0} ({:.2})", figure / bare);
        println!("{runs:>6} {bare:>12.0} {:>20} {:>18} {:>16}", of(awaited), of(raw), of(ours));
    }
    runtime.block_on(opening());
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// On the disk that the build is on; the usual place for temporary files may be in memory.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn run(number: u64) -> RunId {
    RunId::from_bytes((u128::from(number) << 64 | 7).to_be_bytes())
}

/// Bytes that do not repeat.
fn record(seed: u64) -> Bytes {
    let mut bytes = vec![0; RECORD];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn bare_sled(dir: &Path) -> (sled::Db, File) {
    let config = sled::Config::new().path(dir).mode(sled::Mode::HighThroughput);
    let db = config.cache_capacity(Options::default().cache).flush_every_ms(None).open().unwrap();
    (db, File::options().write(true).open(dir.join("db")).unwrap())
}

fn key(run: u64, index: u64) -> Vec<u8> {
    [self::run(run).as_bytes().as_slice(), &index.to_be_bytes()].concat()
}

fn bare(runs: u64, length: Duration) -> f64 {
    let dir = dir();
    let (db, data) = bare_sled(dir.path());
    let records: Vec<Bytes> = (0..runs).map(record).collect();
    let (begun, mut index) = (Instant::now(), 0);
    while begun.elapsed() < length {
        let mut batch = sled::Batch::default();
        for (run, record) in (0..).zip(&records) {
            batch.insert(key(run, index), record.as_ref());
        }
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
        data.sync_data().unwrap();
        index += 1;
    }
    (index * runs) as f64 / begun.elapsed().as_secs_f64()
}

/// A record that waits, and who waits for it.
struct Waiting {
    run: u64,
    index: u64,
    record: Bytes,
    done: oneshot::Sender<()>,
}

/// Makes durable what waits.
type Commit = Box<dyn FnMut(&[Waiting])>;

/// Tasks in front of a thread that commits what waits.
async fn awaited(runs: u64, length: Duration, commits: fn(&Path) -> Commit) -> f64 {
    let dir = dir();
    let (send, waiting) = mpsc::channel::<Waiting>();
    let path = dir.path().to_owned();
    let committer = thread::spawn(move || {
        let mut commit = commits(&path);
        while let Ok(first) = waiting.recv() {
            let batch: Vec<Waiting> = std::iter::once(first).chain(waiting.try_iter()).collect();
            commit(&batch);
            for waiting in batch {
                let _ = waiting.done.send(());
            }
        }
    });
    let figure = tasks(runs, length, move |run, index, record| {
        let (done, answered) = oneshot::channel();
        send.send(Waiting { run, index, record, done }).unwrap();
        async { answered.await.unwrap() }
    })
    .await;
    committer.join().unwrap();
    figure
}

fn sled_commits(dir: &Path) -> Commit {
    let (db, data) = bare_sled(dir);
    Box::new(move |waiting| {
        let mut batch = sled::Batch::default();
        for Waiting { run, index, record, .. } in waiting {
            batch.insert(key(*run, *index), record.as_ref());
        }
        db.apply_batch(batch).unwrap();
        db.flush().unwrap();
        data.sync_data().unwrap();
    })
}

fn raw_commits(dir: &Path) -> Commit {
    let mut log = File::create(dir.join("log")).unwrap();
    Box::new(move |waiting| {
        let bytes: Vec<u8> = waiting.iter().flat_map(|waiting| waiting.record.iter().copied()).collect();
        log.write_all(&bytes).unwrap();
        log.sync_data().unwrap();
    })
}

async fn ours(runs: u64, length: Duration) -> f64 {
    let dir = dir();
    let store = Arc::new(Sled::open(dir.path(), Options::default()).unwrap());
    for claimed in (0..runs).map(|number| store.claim(run(number))).collect::<Vec<_>>() {
        claimed.await.unwrap();
    }
    let appending = Arc::clone(&store);
    tasks(runs, length, move |number, index, record| {
        let appended = appending.append(vec![part(number, index, record)]);
        async { assert_eq!(appended.await.unwrap(), [Appended::Done]) }
    })
    .await
}

/// As a journal would ask: a chain, and columns with every part.
fn part(number: u64, index: u64, frame: Bytes) -> Part {
    let columns = Columns { status: "running".into(), agent: "triage".into(), ..Columns::default() };
    Part {
        run: run(number),
        epoch: 1,
        expected_length: index,
        frames: vec![frame],
        chain: Chain([index as u8; 16]),
        blobs: Vec::new(),
        consumed: Vec::new(),
        columns: Some(columns),
    }
}

/// Appends with so many tasks at once, for so long.
async fn tasks<F: Future<Output = ()> + Send + 'static>(
    runs: u64,
    length: Duration,
    append: impl Fn(u64, u64, Bytes) -> F + Clone + Send + 'static,
) -> f64 {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..runs)
        .map(|run| {
            let (stop, count, append) = (Arc::clone(&stop), Arc::clone(&count), append.clone());
            let record = record(run);
            tokio::spawn(async move {
                let mut index = 0;
                while !stop.load(Ordering::Relaxed) {
                    append(run, index, record.clone()).await;
                    index += 1;
                }
                count.fetch_add(index, Ordering::Relaxed);
            })
        })
        .collect();
    drop(append);
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}

/// What opening takes with 10,000 runs, and reading with 1,000 entries.
async fn opening() {
    const RUNS: u64 = 10_000;
    let dir = dir();
    {
        let store = Sled::open(dir.path(), Options::default()).unwrap();
        for numbers in (0..RUNS).collect::<Vec<_>>().chunks(1000) {
            let claims: Vec<_> = numbers.iter().map(|number| store.claim(run(*number))).collect();
            let appends: Vec<_> = (0..4)
                .flat_map(|index| numbers.iter().map(move |number| (*number, index)))
                .map(|(number, index)| store.append(vec![part(number, index, record(index))]))
                .collect();
            for claim in claims {
                claim.await.unwrap();
            }
            for append in appends {
                append.await.unwrap();
            }
        }
        let parts = (4..1000).map(|index| part(3, index, record(index))).collect();
        store.append(parts).await.unwrap();
    }
    let bytes = std::fs::metadata(dir.path().join("tree/db")).unwrap().len();
    let timed = |what: &str, begun: Instant| println!("{what}: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    println!("\nwith {RUNS} runs of 4 entries, {} MiB:", bytes >> 20);
    let begun = Instant::now();
    let store = Sled::open(dir.path(), Options::default()).unwrap();
    timed("opening, every head held against the witness", begun);
    let begun = Instant::now();
    assert_eq!(store.heads(None, usize::MAX).await.unwrap().len() as u64, RUNS);
    timed("listing all heads", begun);
    let begun = Instant::now();
    assert_eq!(store.read(run(3), 0).await.unwrap().len(), 1000);
    timed("reading a run of 1,000 entries", begun);
}
