//! Damage, failing disks, and what sled would do if it were let.

use std::{
    fs,
    io::{Error as IoError, Result as IoResult},
    os::unix::fs::PermissionsExt,
    sync::{LazyLock, atomic::AtomicUsize, mpsc},
    time::Duration,
};

use tempfile::TempDir;

use super::*;
use crate::store::{Chain, Columns};

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn bytes(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn hash(bytes: &Bytes) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

fn part(run: RunId, epoch: u64, length: u64, frames: Vec<Bytes>) -> Part {
    let chain = Chain(*blake3::hash(&length.to_le_bytes()).as_bytes().first_chunk().unwrap());
    let columns = Some(Columns { status: format!("at {length}"), ..Columns::default() });
    Part { run, epoch, expected_length: length, frames, chain, blobs: vec![], consumed: vec![], columns }
}

/// Does something asynchronous, in a test that is about files.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn open(dir: &Path) -> Result<Sled, Error> {
    Sled::open(dir, Options::default())
}

fn failing(fault: impl Fn(Point) -> IoResult<()> + Send + Sync + 'static) -> Options {
    Options { fault: Some(Arc::new(fault)), ..Options::default() }
}

/// All that can be seen of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    head: Head,
    frames: Vec<Bytes>,
    inbox: Vec<(InboxId, Bytes)>,
    blob: Option<Bytes>,
}

async fn look(store: &Sled, number: u8) -> Result<Seen, Error> {
    let head = store.head(run(number)).await?.ok_or(Error::NotFound(run(number)))?;
    if let Some(reason) = head.damage {
        return Err(Error::Damaged { run: head.run, reason });
    }
    Ok(Seen {
        frames: store.read(run(number), 0).await?,
        inbox: store.inbox(run(number)).await?,
        blob: store.get_blob(run(number), hash(&blob_of(number))).await?,
        head,
    })
}

fn blob_of(number: u8) -> Bytes {
    bytes(1000 + u64::from(number), 9000)
}

/// Runs that are appended to in each life, in turns.
const WARM: std::ops::RangeInclusive<u8> = 1..=12;

/// Runs that are finished in the first life.
const COLD: std::ops::RangeInclusive<u8> = 21..=26;

fn runs() -> impl Iterator<Item = u8> {
    WARM.chain(COLD)
}

/// No run is damaged.
const NONE: [u8; 0] = [];

/// A store that crashed after its last answer, and all that it had acknowledged. It lived three times, so that there are
/// pages which only the snapshot knows, and pages which only the log has.
struct Crashed {
    files: Vec<(String, Vec<u8>)>,
    seen: BTreeMap<u8, Seen>,
}

static CRASHED: LazyLock<Crashed> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for life in 0..3 {
        let store = open(dir.path()).unwrap();
        wait(live(&store, life));
        files = copy(dir.path());
    }
    let store = open(dir.path()).unwrap();
    let seen = wait(async {
        let mut seen = BTreeMap::new();
        for number in runs() {
            seen.insert(number, look(&store, number).await.unwrap());
        }
        seen
    });
    Crashed { files, seen }
});

/// The files of a store, as a crash would leave them.
fn copy(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for (part, prefix) in [(dir.to_owned(), ""), (dir.join("tree"), "tree/")] {
        for entry in fs::read_dir(part).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                files.push((name, fs::read(entry.path()).unwrap()));
            }
        }
    }
    files
}

async fn live(store: &Sled, life: u8) {
    let epoch = u64::from(life) + 1;
    for number in COLD.filter(|_| life == 0) {
        store.claim(run(number)).await.unwrap();
        for length in 0..30 {
            let part = part(run(number), 1, length, vec![bytes(length, 3000)]);
            assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
        }
    }
    for number in WARM {
        store.claim(run(number)).await.unwrap();
        store.post(run(number), InboxId([life; 16]), bytes(epoch, 50)).await.unwrap();
    }
    for round in 0..10 {
        let length = u64::from(life) * 20 + round * 2;
        let appended = WARM.map(|number| {
            let frames = vec![bytes(length * 31 + u64::from(number), 700), bytes(length, 30)];
            let mut part = part(run(number), epoch, length, frames);
            if life == 1 && round == 5 {
                part.blobs = vec![(hash(&blob_of(number)), blob_of(number))];
                part.consumed = vec![InboxId([0; 16])];
            }
            store.append(vec![part])
        });
        for appended in appended.collect::<Vec<_>>() {
            assert_eq!(appended.await.unwrap(), [Appended::Done]);
        }
    }
}

fn lay(dir: &Path, files: &[(String, Vec<u8>)], change: impl Fn(&str, &mut Vec<u8>)) {
    fs::create_dir(dir.join("tree")).unwrap();
    for (name, content) in files {
        let mut content = content.clone();
        change(name, &mut content);
        fs::write(dir.join(name), content).unwrap();
    }
}

impl Crashed {
    /// Lays the files out, changed as told.
    fn lay(&self, change: impl Fn(&str, &mut Vec<u8>)) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        lay(dir.path(), &self.files, change);
        dir
    }

    fn length(&self, name: &str) -> usize {
        self.files.iter().find(|(other, _)| other == name).unwrap().1.len()
    }

    fn snapshot(&self) -> &str {
        self.files.iter().map(|(name, _)| name).find(|name| name.starts_with("tree/snap.")).unwrap()
    }

    /// Which runs are damaged; the others are whole, or this panics.
    async fn damaged(&self, store: &Sled, what: &str) -> Vec<u8> {
        let mut damaged = Vec::new();
        for (number, seen) in &self.seen {
            match look(store, *number).await {
                Ok(found) => assert_eq!(&found, seen, "{what}: run {number} is shown as whole"),
                Err(Error::Damaged { run: other, .. }) if other == run(*number) => damaged.push(*number),
                Err(error) => panic!("{what}: run {number}: {error}"),
            }
        }
        damaged
    }
}

/// Does `harm` to the data at many places, opens the store, and has every run be whole or damaged.
fn harmed(what: &str, places: usize, harm: fn(&mut Vec<u8>, usize)) -> Vec<Vec<u8>> {
    let length = CRASHED.length("tree/db");
    let places = (0..places).map(|place| length * place / places + place * 13 % 97);
    let harmed = places.map(|at| {
        let dir = CRASHED.lay(|name, content| {
            if name == "tree/db" {
                harm(content, at)
            }
        });
        match open(dir.path()) {
            Ok(store) => wait(CRASHED.damaged(&store, &format!("{what} at {at}"))),
            Err(Error::Unusable(_)) => runs().collect(),
            Err(error) => panic!("{what} at {at}: {error}"),
        }
    });
    harmed.collect()
}

#[test]
fn a_cut_file_never_shows_less_of_a_run_as_all_of_it() {
    let damaged = harmed("cut", 40, |content, at| content.truncate(at));
    // sled may have moved what was last in the file: a cut behind all that is live costs nothing. No cut before it does.
    let live = damaged.iter().take_while(|damaged| !damaged.is_empty()).count();
    assert!(live >= 30 && damaged.iter().skip(live).all(Vec::is_empty), "{damaged:?}");
}

#[test]
fn a_flipped_bit_damages_what_it_touches_and_no_other_run() {
    let damaged = harmed("flip", 80, |content, at| content[at] ^= 0x10);
    let some = damaged.iter().filter(|damaged| (1..6).contains(&damaged.len())).count();
    let none = damaged.iter().filter(|damaged| damaged.is_empty()).count();
    assert!(some > 0 && none > 0, "{damaged:?}");
}

#[test]
fn a_zeroed_page_is_noticed() {
    let damaged = harmed("zero", 30, |content, at| content.iter_mut().skip(at).take(4096).for_each(|byte| *byte = 0));
    assert!(damaged.iter().any(|damaged| !damaged.is_empty()), "{damaged:?}");
}

#[test]
fn a_crash_damages_nothing() {
    let dir = CRASHED.lay(|_, _| {});
    assert_eq!(wait(CRASHED.damaged(&open(dir.path()).unwrap(), "crash")), NONE);
}

/// A store in which one bit has damaged some runs, and not all.
fn partly_damaged() -> (TempDir, Vec<u8>) {
    let length = CRASHED.length("tree/db");
    for at in (length / 3..length).step_by(length / 40) {
        let dir = CRASHED.lay(|name, content| {
            if name == "tree/db" {
                content[at] ^= 1
            }
        });
        let damaged = wait(CRASHED.damaged(&open(dir.path()).unwrap(), "flip"));
        if (1..6).contains(&damaged.len()) {
            return (dir, damaged);
        }
    }
    panic!("no bit damages some runs and not all");
}

#[test]
fn other_runs_go_on_beside_a_damaged_one_until_it_is_removed() {
    let (dir, damaged) = partly_damaged();
    let sick = damaged[0];
    {
        let store = open(dir.path()).unwrap();
        assert_eq!(asides(dir.path()), 1, "the damaged tree was replaced, and kept");
        let checked = store.check().unwrap();
        assert_eq!(checked.keys().copied().collect::<Vec<_>>(), damaged.iter().map(|n| run(*n)).collect::<Vec<_>>());
        wait(async {
            for number in runs().filter(|number| !damaged.contains(number)) {
                let head = store.claim(run(number)).await.unwrap();
                let more = part(run(number), head.epoch, head.length, vec![bytes(1, 500)]);
                assert_eq!(store.append(vec![more]).await.unwrap(), [Appended::Done]);
            }
            let fresh = store.claim(run(99)).await.unwrap();
            store.claim(run(100)).await.unwrap();
            let refusals = [
                store.claim(run(sick)).await.map(drop),
                store
                    .append(vec![part(run(99), 1, 0, vec![bytes(1, 9)]), part(run(sick), 3, 60, vec![])])
                    .await
                    .map(drop),
                store.post(run(sick), InboxId([9; 16]), Bytes::new()).await,
                store.read(run(sick), 0).await.map(drop),
                store.inbox(run(sick)).await.map(drop),
                store.get_blob(run(sick), hash(&blob_of(sick))).await.map(drop),
            ];
            for refused in refusals {
                assert!(matches!(refused, Err(Error::Damaged { run: other, .. }) if other == run(sick)), "{refused:?}");
            }
            // sled moves pages about when it has written enough, the damaged one too, were it still there.
            for round in 0..30 {
                let length = round * 100;
                let burst: Vec<_> = (length..length + 100)
                    .map(|length| store.append(vec![part(run(100), 1, length, vec![bytes(length, 700)])]))
                    .collect();
                for appended in burst {
                    assert_eq!(appended.await.unwrap(), [Appended::Done]);
                }
            }
            // Nothing of the call that named a damaged run was written.
            assert_eq!(store.head(run(99)).await.unwrap(), Some(fresh));
            let heads = store.heads(None, 100).await.unwrap();
            let sick: Vec<RunId> = heads.iter().filter(|head| head.damage.is_some()).map(|head| head.run).collect();
            assert_eq!(heads.len(), runs().count() + 2);
            assert_eq!(sick, damaged.iter().map(|number| run(*number)).collect::<Vec<_>>());
        });
    }
    let store = open(dir.path()).unwrap();
    wait(async {
        assert!(matches!(look(&store, sick).await, Err(Error::Damaged { .. })), "it is still damaged");
        store.delete(run(sick)).await.unwrap();
        assert_eq!(store.head(run(sick)).await.unwrap(), None);
        assert_eq!(store.claim(run(sick)).await.unwrap().epoch, 1);
    });
    drop(store);
    let head = wait(open(dir.path()).unwrap().head(run(sick))).unwrap().unwrap();
    assert_eq!((head.damage, head.epoch, head.length), (None, 1, 0));
}

/// The copies that were set aside.
fn asides(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().starts_with("aside-")).count()
}

#[test]
fn stray_and_torn_snapshots_cost_nothing() {
    let snapshot = CRASHED.snapshot();
    let with = |name: &str, content: &[u8]| {
        let dir = CRASHED.lay(|_, _| {});
        fs::write(dir.path().join(name), content).unwrap();
        dir
    };
    let cases = [
        ("stray", with("tree/snap.7FFFFFFFFFFFFFFF", b"this is not a snapshot"), 1),
        ("empty", with("tree/snap.7FFFFFFFFFFFFFFF", b""), 1),
        ("half written", with("tree/snap.7FFFFFFFFFFFFFFF.generating", b"this will be"), 0),
        (
            "torn",
            CRASHED.lay(|name, content| {
                if name == snapshot {
                    content.truncate(content.len() / 2)
                }
            }),
            1,
        ),
        (
            "flipped",
            CRASHED.lay(|name, content| {
                if name == snapshot {
                    content[20] ^= 4
                }
            }),
            1,
        ),
    ];
    for (what, dir, copies) in cases {
        let store = open(dir.path()).unwrap();
        assert_eq!(wait(CRASHED.damaged(&store, what)), NONE, "{what}");
        drop(store);
        assert_eq!(asides(dir.path()), copies, "{what}");
        assert_eq!(wait(CRASHED.damaged(&open(dir.path()).unwrap(), what)), NONE, "{what}, opened again");
        assert_eq!(asides(dir.path()), copies, "{what}, opened again");
    }
    let missing = CRASHED.lay(|_, _| {});
    fs::remove_file(missing.path().join(snapshot)).unwrap();
    assert_eq!(wait(CRASHED.damaged(&open(missing.path()).unwrap(), "missing")), NONE);
}

#[test]
fn a_new_tree_takes_its_place_whenever_the_crash_came() {
    let whole = CRASHED.lay(|_, _| {});
    let (tree, new) = (whole.path().join("tree"), whole.path().join("tree.new"));
    // Before the new one was whole: the old one still stands.
    fs::create_dir(&new).unwrap();
    fs::write(new.join("db"), b"half").unwrap();
    assert_eq!(wait(CRASHED.damaged(&open(whole.path()).unwrap(), "half built")), NONE);
    assert!(!new.exists());
    // After the old one was set aside.
    fs::rename(&tree, &new).unwrap();
    assert_eq!(wait(CRASHED.damaged(&open(whole.path()).unwrap(), "not yet in place")), NONE);
}

#[test]
fn what_cannot_be_mended_is_left_alone_and_explained() {
    let dir = CRASHED.lay(|name, content| {
        if name == "tree/conf" {
            *content = b"what is this?".to_vec()
        }
    });
    for _ in 0..3 {
        let refused = open(dir.path()).map(drop);
        assert!(matches!(&refused, Err(Error::Unusable(text)) if text.contains("backup")), "{refused:?}");
    }
    assert_eq!(asides(dir.path()), 1, "repeated attempts do not fill the disk");
}

#[test]
fn a_lost_or_garbled_witness_damages_nothing_and_comes_back() {
    let harms: [fn(&mut Vec<u8>); 3] = [Vec::clear, |content| content.truncate(100), |content| content[70] ^= 1];
    for harm in harms {
        let dir = CRASHED.lay(|name, content| {
            if name == "witness" {
                harm(content)
            }
        });
        assert_eq!(wait(CRASHED.damaged(&open(dir.path()).unwrap(), "witness")), NONE);
        let (_, known) = super::witness::Witness::open(&dir.path().join("witness")).unwrap();
        assert_eq!(known.into_keys().collect::<Vec<_>>(), runs().map(run).collect::<Vec<_>>());
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let store = open(&path).unwrap();
    let second = open(&path).map(drop);
    assert!(matches!(second, Err(Error::Locked { pid: Some(pid) }) if pid == std::process::id()), "{second:?}");
    for made in [dir.path().join("a"), path.clone()] {
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
    wait(store.claim(run(1))).unwrap();
    drop(store);
    for epoch in 2..6 {
        assert_eq!(wait(open(&path).unwrap().claim(run(1))).unwrap().epoch, epoch, "opened at once again");
    }
}

/// sled moves pages over 128 KiB into files of their own, which it never syncs.
#[test]
fn sleds_own_blobs_stay_empty_whatever_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = || fs::read_dir(dir.path().join("tree/blobs")).unwrap().count();
    // A small cache, so that pages leave memory while a batch is under way.
    let options = Options { cache: 1 << 20, ..Options::default() };
    let store = Sled::open(dir.path(), options.clone()).unwrap();
    wait(async {
        for number in 1..=6 {
            store.claim(run(number)).await.unwrap();
        }
        let sizes = [100 << 10, 300 << 10, 1 << 20, 2 << 20, 4096, 4097, 6000, 1];
        for (index, size) in (0..).zip(sizes) {
            for number in 1..=6 {
                let seed = index * 10 + u64::from(number);
                let blob = bytes(seed + 500, size);
                let mut part = part(run(number), 1, index, vec![bytes(seed, size)]);
                part.blobs = vec![(hash(&blob), blob)];
                assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
                store.post(run(number), InboxId([seed as u8; 16]), bytes(seed + 900, size / 3)).await.unwrap();
            }
            assert_eq!(files(), 0, "after frames of {size} bytes");
        }
        // Removing makes sled merge pages.
        for number in [2, 4, 5] {
            store.delete(run(number)).await.unwrap();
            assert_eq!(files(), 0, "after removing run {number}");
        }
    });
    drop(store);
    let store = Sled::open(dir.path(), options).unwrap();
    assert_eq!(store.check().unwrap(), BTreeMap::new());
    let frames = wait(store.read(run(3), 0)).unwrap();
    assert_eq!(
        frames.iter().map(Bytes::len).collect::<Vec<_>>(),
        [100 << 10, 300 << 10, 1 << 20, 2 << 20, 4096, 4097, 6000, 1]
    );
    assert_eq!(frames[3], bytes(33, 2 << 20));
    assert_eq!(files(), 0, "after opening again");
}

/// Fails the n-th time that a point is reached.
fn fail_at(point: Point, n: usize, how: fn() -> IoResult<()>) -> Options {
    let count = AtomicUsize::new(0);
    failing(move |at| match at == point && count.fetch_add(1, Ordering::SeqCst) + 1 == n {
        true => how(),
        false => Ok(()),
    })
}

fn eio() -> IoResult<()> {
    Err(IoError::from_raw_os_error(5))
}

fn sled_panics() -> IoResult<()> {
    panic!("a panic inside sled, as far as anybody can tell")
}

#[test]
fn a_failed_commit_poisons_and_nothing_more_is_acknowledged() {
    for point in [Point::Apply, Point::Flush, Point::Sync, Point::Witness] {
        for n in 2..5 {
            poisoned(point, n, eio, false);
            poisoned(point, n, sled_panics, point == Point::Apply);
        }
    }
}

/// `torn`: sled is left with half a batch, which nobody may write out.
fn poisoned(point: Point, n: usize, how: fn() -> IoResult<()>, torn: bool) {
    let what = format!("{point:?} {n}");
    let dir = tempfile::tempdir().unwrap();
    let store = Sled::open(dir.path(), fail_at(point, n, how)).unwrap();
    let acknowledged = wait(async {
        let mut acknowledged = 0;
        let changed = store.changed(run(2));
        let _ = store.claim(run(1)).await;
        loop {
            // Several at once, so that some wait in the queue while the others fail.
            let burst: Vec<_> = (acknowledged..acknowledged + 4)
                .map(|length| store.append(vec![part(run(1), 1, length, vec![bytes(length, 100)])]))
                .collect();
            let mut failed = false;
            for appended in burst {
                match appended.await {
                    Ok(done) => {
                        assert_eq!((done, failed), (vec![Appended::Done], false), "{what}");
                        acknowledged += 1;
                    }
                    Err(Error::Poisoned(_)) => failed = true,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            if failed {
                break;
            }
        }
        // Whoever waits for a change finds out.
        changed.await;
        let refusals = [
            store.append(vec![]).await.map(drop),
            store.claim(run(1)).await.map(drop),
            store.read(run(1), 0).await.map(drop),
            store.head(run(1)).await.map(drop),
            store.heads(None, 9).await.map(drop),
            store.post(run(1), InboxId([1; 16]), Bytes::new()).await,
            store.inbox(run(1)).await.map(drop),
            store.get_blob(run(1), BlobHash([0; 32])).await.map(drop),
            store.delete(run(1)).await,
            store.room(),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(Error::Poisoned(_))), "{what}: {refused:?}");
        }
        acknowledged
    });
    drop(store);
    let mut opened = open(dir.path());
    let after = tempfile::tempdir().unwrap();
    if torn {
        assert!(matches!(opened, Err(Error::Locked { .. })), "{what}");
        // As if the process had ended.
        lay(after.path(), &copy(dir.path()), |_, _| {});
        opened = open(after.path());
    }
    let store = opened.unwrap();
    let frames = wait(store.read(run(1), 0)).unwrap();
    let sent: Vec<Bytes> = (0..frames.len() as u64).map(|length| bytes(length, 100)).collect();
    assert!(frames.len() as u64 >= acknowledged, "{what}: {acknowledged} acknowledged, {} kept", frames.len());
    assert_eq!(frames, sent, "{what}");
}

#[test]
fn dropping_a_store_that_panics_is_quiet() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sled::open(dir.path(), fail_at(Point::Close, 1, sled_panics)).unwrap();
    wait(store.claim(run(1))).unwrap();
    drop(store);
    assert_eq!(wait(open(dir.path()).unwrap().claim(run(1))).unwrap().epoch, 2);
}

#[test]
fn what_cannot_be_read_is_damage_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let armed = Arc::new(AtomicUsize::new(0));
    let hook = {
        let armed = Arc::clone(&armed);
        move |point| match (point, armed.load(Ordering::SeqCst)) {
            (Point::Read, 1) => eio(),
            (Point::Read, 2) => sled_panics(),
            _ => Ok(()),
        }
    };
    let store = Sled::open(dir.path(), failing(hook)).unwrap();
    wait(async {
        for number in 1..=3 {
            store.claim(run(number)).await.unwrap();
        }
        for (how, number) in [(1, 1), (2, 2)] {
            armed.store(how, Ordering::SeqCst);
            let read = store.read(run(number), 0).await;
            armed.store(0, Ordering::SeqCst);
            assert!(matches!(read, Err(Error::Damaged { .. })), "{read:?}");
        }
        assert_eq!(store.claim(run(3)).await.unwrap().epoch, 2);
    });
}

#[test]
fn an_answer_comes_after_the_sync_and_the_witness() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, points) = mpsc::channel();
    let store = Sled::open(dir.path(), failing(move |point| seen.send(point).map_err(IoError::other))).unwrap();
    wait(store.claim(run(1))).unwrap();
    points.try_iter().for_each(drop);
    wait(store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])])).unwrap();
    let steps: Vec<Point> = points.try_iter().collect();
    assert_eq!(steps, [Point::Apply, Point::Flush, Point::Sync, Point::Witness]);
}

#[test]
fn what_is_not_durable_yet_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (syncing, reached) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let hook = move |point| {
        if point == Point::Sync && syncing.send(()).is_ok() {
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(())
    };
    go_on.send(()).unwrap();
    let store = Sled::open(dir.path(), failing(hook)).unwrap();
    go_on.send(()).unwrap();
    wait(async {
        store.claim(run(1)).await.unwrap();
        let appended = store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])]);
        reached.iter().take(3).for_each(drop);
        let mut read = store.read(run(1), 0);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut read).await;
        assert!(early.is_err(), "{early:?}");
        go_on.send(()).unwrap();
        assert_eq!(read.await.unwrap(), [bytes(1, 10)]);
        assert_eq!(appended.await.unwrap(), [Appended::Done]);
        drop(reached);
    });
}

#[test]
fn a_commit_that_does_not_end_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (release, held) = mpsc::channel::<()>();
    let (held, first) = (Mutex::new(held), AtomicUsize::new(0));
    let hook = move |point| {
        // Opening syncs as well.
        if point == Point::Sync && first.fetch_add(1, Ordering::SeqCst) > 0 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(())
    };
    let options = Options { stall: Duration::from_millis(30), ..failing(hook) };
    let store = Sled::open(dir.path(), options).unwrap();
    let claimed = wait(store.claim(run(1)));
    assert!(matches!(claimed, Err(Error::Poisoned(_))), "{claimed:?}");
    let later = wait(store.claim(run(1)));
    assert!(matches!(later, Err(Error::Poisoned(_))), "{later:?}");
    drop(store);
    let again = open(dir.path()).map(drop);
    assert!(matches!(again, Err(Error::Locked { .. })), "its writer is still there: {again:?}");
    drop(release);
}

#[test]
fn a_full_disk_stops_new_work_and_lets_a_run_be_steered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sled::open(dir.path(), Options { reserve: u64::MAX, ..Options::default() }).unwrap();
    wait(async {
        assert!(matches!(store.room(), Err(Error::Full { .. })));
        let before = store.claim(run(1)).await.unwrap();
        let refused = store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])]).await;
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
        let refused = store.post(run(1), InboxId([1; 16]), Bytes::new()).await;
        assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
        assert_eq!(store.head(run(1)).await.unwrap(), Some(before));
        store.delete(run(1)).await.unwrap();
    });
    drop(store);
    // Between the reserve and a quarter of it, what is under way comes to its end.
    let free = rustix::fs::statvfs(dir.path()).map(|disk| disk.f_bavail * disk.f_frsize).unwrap();
    let store = Sled::open(dir.path(), Options { reserve: free * 2, ..Options::default() }).unwrap();
    wait(async {
        assert!(matches!(store.room(), Err(Error::Full { .. })));
        store.claim(run(1)).await.unwrap();
        let part = part(run(1), 1, 0, vec![bytes(1, 10)]);
        assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
    });
}

#[test]
fn dropping_the_store_finishes_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    drop(store.claim(run(1)));
    for length in 0..100 {
        drop(store.append(vec![part(run(1), 1, length, vec![bytes(length, 2000)])]));
    }
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(wait(store.read(run(1), 0)).unwrap().len(), 100);
    assert_eq!(fs::read_to_string(dir.path().join("lock")).unwrap().trim(), std::process::id().to_string());
    drop(store);
    assert_eq!(fs::read(dir.path().join("lock")).unwrap(), b"");
}
