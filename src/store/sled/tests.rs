//! Damage, failing disks, and what becomes of the copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::Future,
    io::{Error as IoError, Result as IoResult},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
};

use bytes::Bytes;
use tempfile::TempDir;

use super::{
    Op, Options, Sled, View,
    replay::{From, Paths, replay},
    table::Table,
};
use crate::{
    run::RunId,
    store::{
        Act, Appended, BlobHash, Chain, Change, Columns, Error, Expected, Head, InboxId, Key, Part, Record, Store,
    },
};

pub(super) fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

pub(super) fn bytes(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}

pub(super) fn hash(bytes: &Bytes) -> BlobHash {
    BlobHash(*blake3::hash(bytes).as_bytes())
}

pub(super) fn part(run: RunId, epoch: u64, length: u64, frames: Vec<Bytes>) -> Part {
    let chain = Chain(*blake3::hash(&length.to_le_bytes()).as_bytes().first_chunk().unwrap());
    let columns = Some(Columns { status: format!("at {length}"), ..Columns::default() });
    Part { expected_length: length, frames, chain, columns, ..Part::empty(run, epoch) }
}

/// Does something asynchronous, in a test that is about files.
pub(super) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// In memory if there is such a place: these tests are about what is asked of the disk, and ask it for much.
pub(super) fn memory_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(dir: &Path) -> Result<Sled, Error> {
    Sled::open(dir, Options::default())
}

fn hooked(hook: impl Fn(Op<'_>) -> IoResult<()> + Send + Sync + 'static) -> Options {
    Options { hook: Some(Arc::new(hook)), ..Options::default() }
}

/// All that can be seen of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    head: Head,
    frames: Vec<Bytes>,
    inbox: Vec<(InboxId, Bytes)>,
    blobs: Vec<Option<Bytes>>,
}

/// All that can be seen of a store: each run, or why it is damaged; and the records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    runs: BTreeMap<RunId, Result<Seen, Arc<str>>>,
    records: Vec<(Key, Record)>,
}

impl State {
    /// What is not the same in both.
    pub(super) fn difference(&self, other: &State) -> String {
        let all: BTreeSet<&RunId> = self.runs.keys().chain(other.runs.keys()).collect();
        let say = |state: &State, run: &RunId| match state.runs.get(run) {
            None => "not there".to_owned(),
            Some(Err(reason)) => format!("damaged: {reason}"),
            Some(Ok(seen)) => {
                format!("epoch {}, {} frames, {} waiting", seen.head.epoch, seen.head.length, seen.inbox.len())
            }
        };
        let differs = all.into_iter().filter(|run| self.runs.get(run) != other.runs.get(run));
        let runs: Vec<_> = differs.map(|run| format!("{run}: {} / {}", say(self, run), say(other, run))).collect();
        format!("{runs:?}, records {:?} / {:?}", self.records.len(), other.records.len())
    }

    fn damaged(&self) -> BTreeMap<RunId, Arc<str>> {
        self.runs.iter().filter_map(|(run, seen)| Some((*run, seen.as_ref().err()?.clone()))).collect()
    }
}

/// The blobs that any test may have written to a run.
fn blobs_of(length: u64) -> impl Iterator<Item = BlobHash> {
    (0..length).map(|at| hash(&bytes(900 + at, 3000)))
}

pub(super) async fn state_of(store: &dyn Store) -> Result<State, Error> {
    let mut state = State { records: store.records(Bytes::new(), None, usize::MAX).await?, ..State::default() };
    for head in store.heads(None, usize::MAX).await? {
        let seen = match head.damage.clone() {
            Some(reason) => Err(Error::Damaged { run: head.run, reason }),
            None => look(store, head.clone()).await,
        };
        let seen = match seen {
            Ok(seen) => Ok(seen),
            Err(Error::Damaged { run, reason }) => {
                assert_eq!(run, head.run);
                Err(reason)
            }
            Err(error) => return Err(error),
        };
        state.runs.insert(head.run, seen);
    }
    Ok(state)
}

async fn look(store: &dyn Store, head: Head) -> Result<Seen, Error> {
    let frames = store.read(head.run, 0).await?;
    assert_eq!(frames.len() as u64, head.length, "run {}", head.run);
    let mut blobs = Vec::new();
    if head.run.as_bytes()[0] % 7 == 2 {
        for hash in blobs_of(head.length) {
            blobs.push(store.get_blob(head.run, hash).await?);
        }
    }
    Ok(Seen { frames, inbox: store.inbox(head.run).await?, blobs, head })
}

pub(super) fn copy_dir(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files below a directory, with their length.
fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push((entry.path(), entry.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}

/// A home with fifty runs: short and long ones, with blobs and full inboxes, settled or not or partly, and some that were
/// removed; closed cleanly or left by a crash.
fn fifty(clean: bool) -> (TempDir, State) {
    let dir = memory_dir();
    let store = Sled::open(dir.path(), Options { segment: 40_000, ..Options::default() }).unwrap();
    wait(async {
        let grow = async |numbers: std::ops::RangeInclusive<u8>, rounds: u64| {
            for round in 0..rounds {
                let growing = numbers.clone().map(async |number| {
                    let head = store.head(run(number)).await.unwrap().unwrap();
                    let size = 40 + usize::from(number) * 5 + 300 * usize::from(number % 5 == 0);
                    let mut part =
                        part(run(number), head.epoch, head.length, vec![bytes(round * 99, size), bytes(3, 20)]);
                    if number % 7 == 2 && round == 1 {
                        let blob = bytes(900, 3000);
                        part.blobs = vec![(hash(&blob), blob)];
                    }
                    if number % 10 == 3 {
                        let key = Key::new(format!("key of {number}")).unwrap();
                        part.records = vec![Change { key, act: Act::Add { delta: 1, at_most: None } }];
                    }
                    assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
                });
                for growing in growing {
                    growing.await;
                }
            }
        };
        for number in 1..=54 {
            store.claim(run(number)).await.unwrap();
        }
        grow(1..=40, 3).await;
        store.delete(run(51)).await.unwrap();
        store.checkpoint();
        for number in 20..=30 {
            store.post(run(number), InboxId([number; 16]), bytes(u64::from(number), 60)).await.unwrap();
        }
        grow(30..=50, 2).await;
        for number in 52..=54 {
            store.delete(run(number)).await.unwrap();
        }
        let act = Act::Set { expected: Expected::Any, new: Some(Record::Value(bytes(1, 100))) };
        store.change(vec![Change { key: Key::new("memory").unwrap(), act }]).await.unwrap();
        store.quiet();
    });
    let state = wait(state_of(&store)).unwrap();
    assert_eq!((state.runs.len(), state.damaged().len()), (50, 0));
    let left = memory_dir();
    if clean {
        drop(store);
    }
    copy_dir(dir.path(), left.path());
    (left, state)
}

/// Opens what is left of a home. Everything that is not damaged is as it was, in a store that is looked at, and one that is
/// opened; and goes on. Returns what is damaged.
fn harmed(dir: &Path, whole: &State, what: &str) -> BTreeMap<RunId, Arc<str>> {
    let sound = |state: &State, how: &str| {
        for (run, seen) in &whole.runs {
            match state.runs.get(run) {
                Some(Ok(found)) => assert_eq!(Ok(found), seen.as_ref(), "{what}, {how}: {run} is shown as whole"),
                Some(Err(_)) => {}
                None => panic!("{what}, {how}: {run} is gone"),
            }
        }
        assert_eq!(state.runs.len(), whole.runs.len(), "{what}, {how}");
    };
    let view = View::open(dir).unwrap_or_else(|error| panic!("{what}: looking: {error}"));
    let looked = wait(state_of(&view)).unwrap_or_else(|error| panic!("{what}: looking: {error}"));
    sound(&looked, "looking");
    let store = open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let state = wait(state_of(&store)).unwrap_or_else(|error| panic!("{what}: {error}"));
    sound(&state, "opened");
    let damaged = state.damaged();
    wait(async {
        // Each of those that are whole is resumed.
        let whole = state.runs.iter().filter_map(|(run, seen)| Some((run, seen.as_ref().ok()?)));
        let going: Vec<_> = whole
            .map(async |(run, seen)| {
                let head = store.claim(*run).await.unwrap();
                assert_eq!((head.length, head.epoch), (seen.head.length, seen.head.epoch + 1), "{what}");
                let more = part(*run, head.epoch, head.length, vec![bytes(1, 30)]);
                assert_eq!(store.append(vec![more]).await.unwrap(), [Appended::Done], "{what}");
            })
            .collect();
        for going in going.into_iter().take(5) {
            going.await;
        }
        for run in damaged.keys() {
            let refused = store.claim(*run).await.map(drop);
            assert!(matches!(&refused, Err(Error::Damaged { run: other, .. }) if other == run), "{what}: {refused:?}");
        }
    });
    let now = wait(state_of(&store)).unwrap();
    drop(store);
    // What is damaged stays so, and nothing else is because of it.
    let again = wait(state_of(&open(dir).unwrap())).unwrap();
    assert_eq!(again.damaged().keys().collect::<Vec<_>>(), now.damaged().keys().collect::<Vec<_>>(), "{what}");
    damaged
}

fn flip(dir: &Path, stride: u64, sparse: u64) {
    for clean in [true, false] {
        let (home, state) = fifty(clean);
        let (mut damaged, mut places) = (0, 0);
        for (file, length) in files(home.path()) {
            let name = file.strip_prefix(home.path()).unwrap().to_owned();
            let stride = if name.starts_with("sled") { stride * sparse } else { stride };
            let whole = fs::read(&file).unwrap();
            for (number, at) in (0..length).step_by(stride as usize).enumerate() {
                // Of what is empty for long, as between the slots of the mark, every 64th place.
                let around = &whole[at as usize..whole.len().min(at as usize + 600)];
                if number % 64 > 0 && around.iter().all(|byte| *byte == 0) {
                    continue;
                }
                places += 1;
                let left = tempfile::tempdir_in(dir).unwrap();
                copy_dir(home.path(), left.path());
                let mut content = fs::read(&file).unwrap();
                content[at as usize] ^= 1 << (at % 8);
                fs::write(left.path().join(&name), content).unwrap();
                let what = format!("byte {at} of {}, clean: {clean}", name.display());
                let hurt = harmed(left.path(), &state, &what);
                assert!(hurt.len() <= 1, "{what}: {hurt:?}");
                damaged += hurt.len();
            }
        }
        assert!(damaged > 0 && damaged < places, "{damaged} of {places}");
    }
}

#[test]
fn one_changed_byte_damages_one_run_at_most_and_it_says_so() {
    let dir = memory_dir();
    flip(dir.path(), 509, 211);
}

#[test]
#[ignore = "takes an hour: each byte of all files"]
fn any_changed_byte_damages_one_run_at_most() {
    let dir = memory_dir();
    flip(dir.path(), 1, 37);
}

/// The runs of which some unsettled record lies here.
fn in_sector(table: &Table, segment: u32, from: u64, to: u64) -> BTreeSet<RunId> {
    let here = |loc: &super::table::Loc| {
        loc.segment == segment && u64::from(loc.offset) < to && u64::from(loc.offset) + u64::from(loc.length) > from
    };
    table.runs.iter().filter(|(_, run)| run.tail.iter().any(here)).map(|(run, _)| *run).collect()
}

#[test]
fn a_zeroed_sector_damages_only_those_whose_unsettled_records_lie_in_it() {
    for (clean, size) in [(true, 512), (false, 512), (false, 4096)] {
        let (home, state) = fifty(clean);
        let read = replay(&Default::default(), &Paths::of(home.path()), From::Image).unwrap();
        let mut hit = 0;
        for segment in &read.segments {
            let content = fs::read(&segment.path).unwrap();
            for from in (0..content.len()).step_by(size) {
                let left = memory_dir();
                copy_dir(home.path(), left.path());
                let mut content = content.clone();
                let to = content.len().min(from + size);
                content[from..to].fill(0);
                fs::write(left.path().join("log").join(segment.path.file_name().unwrap()), content).unwrap();
                let there = in_sector(&read.table, segment.number, from as u64, to as u64);
                let what = format!("{size} bytes at {from} of segment {}, clean: {clean}", segment.number);
                let hurt: BTreeSet<RunId> = harmed(left.path(), &state, &what).into_keys().collect();
                // Each that was hit says so, and no other.
                assert_eq!(hurt, there, "{what}");
                hit += hurt.len();
            }
        }
        assert!(hit > 10, "{hit}");
    }
}

#[test]
fn a_cut_file_never_shows_less_of_a_run_as_all_of_it() {
    let (home, state) = fifty(false);
    for (file, length) in files(home.path()) {
        let name = file.strip_prefix(home.path()).unwrap().to_owned();
        for at in (0..length).step_by((length as usize / 8).max(1)) {
            let left = memory_dir();
            copy_dir(home.path(), left.path());
            fs::File::options().write(true).open(left.path().join(&name)).unwrap().set_len(at).unwrap();
            harmed(left.path(), &state, &format!("{} cut at {at}", name.display()));
        }
    }
}

#[test]
fn what_is_behind_the_log_can_be_lost_without_losing_anything() {
    for clean in [true, false] {
        let (home, state) = fifty(clean);
        for lost in ["sled", "checkpoint", "mark", "lock", "all"] {
            let left = memory_dir();
            copy_dir(home.path(), left.path());
            let losing = if lost == "all" { vec!["sled", "checkpoint", "mark", "lock"] } else { vec![lost] };
            for lost in losing {
                let path = left.path().join(lost);
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }
            assert_eq!(harmed(left.path(), &state, lost), BTreeMap::new(), "{lost}");
        }
        // sled's own files, one by one, gone or something else.
        for (file, _) in files(&home.path().join("sled")) {
            for content in [None, Some(""), Some("what is this?")] {
                let left = memory_dir();
                copy_dir(home.path(), left.path());
                let path = left.path().join(file.strip_prefix(home.path()).unwrap());
                match content {
                    None => fs::remove_file(path).unwrap(),
                    Some(content) => fs::write(path, content).unwrap(),
                }
                let what = format!("{}: {content:?}", file.display());
                assert_eq!(harmed(left.path(), &state, &what), BTreeMap::new(), "{what}");
            }
        }
    }
}

#[test]
fn a_copy_that_does_not_read_is_set_aside_and_made_again() {
    let (home, state) = fifty(true);
    fs::write(home.path().join("sled/conf"), "this is no configuration").unwrap();
    let store = open(home.path()).unwrap();
    assert!(!home.path().join("sled.aside").exists(), "nobody needed it");
    assert_eq!(wait(state_of(&store)).unwrap(), state);
    assert!(home.path().join("sled.aside").exists());
    store.checkpoint();
    drop(store);
    let store = open(home.path()).unwrap();
    let tails: usize = store.shared.table().runs.values().map(|run| run.tail.len()).sum();
    assert_eq!(tails, 0, "all is in the copy");
    assert_eq!(wait(state_of(&store)).unwrap(), state);
    store.rebuild().unwrap();
    assert_eq!(wait(state_of(&store)).unwrap(), state);
}

#[test]
fn the_copy_is_read_for_what_is_settled() {
    let (home, state) = fifty(true);
    let store = open(home.path()).unwrap();
    store.checkpoint();
    // Nothing but the last segment is needed any more.
    let mut segments = store.shared.log.segments();
    segments.pop();
    segments.iter().for_each(|segment| fs::remove_file(&segment.path).unwrap());
    assert_eq!(wait(state_of(&store)).unwrap(), state);
    drop(store);
    assert_eq!(wait(state_of(&open(home.path()).unwrap())).unwrap(), state);
}

#[test]
fn a_check_finds_all_of_it_and_writes_nothing() {
    let (home, state) = fifty(false);
    let before: Vec<_> = files(home.path()).into_iter().map(|(file, _)| (fs::read(&file).unwrap(), file)).collect();
    let unchanged = |left: &Path, name: &Path| {
        for (content, file) in &before {
            let here = file.strip_prefix(home.path()).unwrap();
            assert!(here == name || fs::read(left.join(here)).unwrap() == *content, "{} was written", here.display());
        }
        assert_eq!(files(left).len(), before.len());
    };
    assert_eq!(View::check(home.path()).unwrap(), Default::default());
    let segments = fs::read_dir(home.path().join("log")).unwrap().map(|file| file.unwrap().path());
    let first = segments.min().unwrap();
    let name = first.strip_prefix(home.path()).unwrap();
    // Also what is settled, which an opening does not look at.
    let length = fs::metadata(&first).unwrap().len();
    let mut damaged = 0;
    for at in (600..length).step_by(1009) {
        let left = memory_dir();
        copy_dir(home.path(), left.path());
        let mut content = fs::read(&first).unwrap();
        content[at as usize] ^= 4;
        fs::write(left.path().join(name), content).unwrap();
        let found = View::check(left.path()).unwrap();
        assert!(found.runs.len() <= 1, "{at}: {found:?}");
        assert!(
            found.runs.is_empty() || found.places.iter().any(|place| place.contains("at offset")),
            "{at}: {found:?}"
        );
        damaged += found.runs.len();
        unchanged(left.path(), name);
        // It can still be read, from the copy.
        assert_eq!(wait(state_of(&open(left.path()).unwrap())).unwrap(), state);
    }
    assert!(damaged > 3, "{damaged}");
}

#[test]
fn a_home_that_cannot_be_written_is_looked_at() {
    let (home, state) = fifty(false);
    for (file, _) in files(home.path()) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
    }
    let dirs = ["", "log", "sled"].map(|name| home.path().join(name));
    dirs.iter().for_each(|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o500)).unwrap());
    let view = View::open(home.path()).unwrap();
    assert_eq!(wait(state_of(&view)).unwrap(), state);
    let refused = wait(view.claim(run(1)));
    assert!(matches!(refused, Err(Error::ReadOnly)), "{refused:?}");
    dirs.iter().for_each(|dir| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap());
    assert_eq!(wait(View::open(&home.path().join("never made")).unwrap().heads(None, 9)).unwrap(), []);
}

#[test]
fn what_came_before_the_log_and_what_comes_after_is_refused_by_name() {
    let dir = memory_dir();
    fs::create_dir(dir.path().join("tree")).unwrap();
    let refused = open(dir.path()).map(drop);
    assert!(matches!(&refused, Err(Error::Unusable(text)) if text.contains("tree")), "{refused:?}");
    assert!(View::open(dir.path()).is_err());

    let (home, _) = fifty(true);
    let last = fs::read_dir(home.path().join("log")).unwrap().map(|file| file.unwrap().path()).max().unwrap();
    let mut first = super::record::segment();
    first[8] = 9;
    let sum = crc32c::crc32c(&first[..12]);
    first[12..16].copy_from_slice(&sum.to_le_bytes());
    let next = last.with_file_name("00000099-0000000000000001");
    fs::write(next, first).unwrap();
    let refused = open(home.path()).map(drop);
    assert!(matches!(&refused, Err(Error::Unusable(text)) if text.contains("later agentd")), "{refused:?}");
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let store = open(&path).unwrap();
    let second = open(&path).map(drop);
    assert!(matches!(second, Err(Error::Locked { pid: Some(pid) }) if pid == std::process::id()), "{second:?}");
    for made in [dir.path().join("a"), path.clone(), path.join("log")] {
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
    wait(store.claim(run(1))).unwrap();
    let file = files(&path.join("log")).remove(0).0;
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    drop(store);
    for epoch in 2..6 {
        assert_eq!(wait(open(&path).unwrap().claim(run(1))).unwrap().epoch, epoch, "opened at once again");
    }
    assert_eq!(files(&path.join("log")).len(), 1, "a log that was closed is gone on with");
}

/// sled moves pages over 128 KiB into files of their own, which it never syncs.
#[test]
fn sleds_own_blobs_stay_empty_whatever_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let files = || fs::read_dir(dir.path().join("sled/blobs")).unwrap().count();
    // A small cache, so that pages leave memory while a batch is under way.
    let options = Options { cache: 1 << 20, ..Options::default() };
    let store = Sled::open(dir.path(), options.clone()).unwrap();
    let sizes = [100 << 10, 300 << 10, 1 << 20, 2 << 20, 4096, 4097, 6000, 1];
    wait(async {
        for number in 1..=6 {
            store.claim(run(number)).await.unwrap();
        }
        for (index, size) in (0..).zip(sizes) {
            for number in 1..=6 {
                let seed = index * 10 + u64::from(number);
                let blob = bytes(seed + 500, size);
                let mut part = part(run(number), 1, index, vec![bytes(seed, size)]);
                part.blobs = vec![(hash(&blob), blob)];
                assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
            }
            store.checkpoint();
            assert_eq!(files(), 0, "after frames of {size} bytes");
        }
        // Removing makes sled merge pages.
        for number in [2, 4, 5] {
            store.delete(run(number)).await.unwrap();
            store.checkpoint();
            assert_eq!(files(), 0, "after removing run {number}");
        }
    });
    drop(store);
    let store = Sled::open(dir.path(), options).unwrap();
    let frames = wait(store.read(run(3), 0)).unwrap();
    assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), sizes);
    assert_eq!(frames[3], bytes(33, 2 << 20));
    assert_eq!(wait(store.get_blob(run(3), hash(&bytes(533, 2 << 20)))).unwrap(), Some(bytes(533, 2 << 20)));
    assert_eq!(files(), 0, "after opening again");
    assert!(!dir.path().join("sled.aside").exists());
}

fn eio() -> IoError {
    IoError::from_raw_os_error(5)
}

fn enospc() -> IoError {
    IoError::from_raw_os_error(28)
}

/// Does some things with a store whose n-th step on the disk fails. Returns whether so many were made, and what was
/// acknowledged.
fn failing(dir: &Path, n: usize, error: fn() -> IoError, sled: Option<bool>) -> (bool, u64, Vec<String>) {
    let (steps, met) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
    let hook = {
        let (steps, met) = (steps.clone(), met.clone());
        move |op: Op<'_>| {
            if matches!(op, Op::Sled(_)) != sled.is_some() || steps.fetch_add(1, Ordering::SeqCst) + 1 != n {
                return Ok(());
            }
            *met.lock().unwrap() = Some(format!("{op:?}").chars().take(60).collect::<String>());
            assert!(sled != Some(true), "a panic inside sled, as far as anybody can tell");
            Err(error())
        }
    };
    let (mut acknowledged, mut refused) = (0, Vec::new());
    let options = Options { segment: 3000, ..hooked(hook) };
    for _ in 0..2 {
        let store = match Sled::open(dir, options.clone()) {
            Ok(store) => store,
            Err(Error::Unusable(why)) => {
                refused.push(why.to_string());
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        wait(async {
            let epoch = match store.claim(run(1)).await {
                Ok(head) => head.epoch,
                Err(error) => return refused.push(error.to_string()),
            };
            for _ in 0..6 {
                let length = store.head(run(1)).await.map(|head| head.unwrap().length).unwrap_or(acknowledged);
                match store.append(vec![part(run(1), epoch, length, vec![bytes(length, 700)])]).await {
                    Ok(appended) => {
                        assert_eq!(appended, [Appended::Done]);
                        acknowledged = length + 1;
                    }
                    Err(error) => refused.push(error.to_string()),
                }
            }
            store.checkpoint();
            match store.read(run(1), 0).await {
                Ok(frames) => assert_eq!(frames.len() as u64, acknowledged),
                Err(error) => refused.push(error.to_string()),
            }
        });
    }
    let met = met.lock().unwrap().clone();
    (met.is_some(), acknowledged, refused)
}

/// Full, broken, or out of its mind: whatever step it is, what was acknowledged is there once the disk works again.
#[test]
fn a_disk_that_fails_at_any_step_loses_nothing_that_was_acknowledged() {
    for error in [eio, enospc] {
        for n in 1.. {
            let dir = memory_dir();
            let (met, acknowledged, _) = failing(dir.path(), n, error, None);
            let store = open(dir.path()).unwrap();
            let frames = wait(store.read(run(1), 0)).unwrap_or_else(|error| panic!("step {n}: {error}"));
            let sent: Vec<Bytes> = (0..frames.len() as u64).map(|length| bytes(length, 700)).collect();
            assert!(
                frames.len() as u64 >= acknowledged,
                "step {n}: {acknowledged} acknowledged, {} kept",
                frames.len()
            );
            assert_eq!(frames, sent, "step {n}");
            if !met {
                assert!(n > 60, "only {n} steps");
                break;
            }
        }
    }
}

#[test]
fn a_copy_that_fails_at_any_step_stops_nothing() {
    for panics in [false, true] {
        for n in 1.. {
            let dir = memory_dir();
            let (met, acknowledged, refused) = failing(dir.path(), n, eio, Some(panics));
            assert_eq!((acknowledged, refused), (12, Vec::new()), "step {n}");
            assert_eq!(wait(open(dir.path()).unwrap().read(run(1), 0)).unwrap().len(), 12, "step {n}");
            if !met {
                assert!(n > 8, "only {n} steps");
                break;
            }
        }
    }
}

/// Fails the n-th sync of the log.
fn fail_at(n: usize, how: fn() -> IoResult<()>) -> Options {
    let count = AtomicUsize::new(0);
    hooked(move |op| match op {
        Op::Sync(path) if path.parent().unwrap().ends_with("log") && count.fetch_add(1, Ordering::SeqCst) + 1 == n => {
            how()
        }
        _ => Ok(()),
    })
}

fn panics() -> IoResult<()> {
    panic!("a panic in the writer")
}

#[test]
fn a_failed_commit_poisons_and_nothing_more_is_acknowledged() {
    for n in 2..6 {
        poisoned(n, || Err(eio()));
        poisoned(n, panics);
    }
}

fn poisoned(n: usize, how: fn() -> IoResult<()>) {
    let dir = memory_dir();
    let store = Sled::open(dir.path(), fail_at(n, how)).unwrap();
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
                        assert_eq!((done, failed), (vec![Appended::Done], false), "{n}");
                        acknowledged += 1;
                    }
                    Err(Error::Poisoned(_)) => failed = true,
                    Err(error) => panic!("{n}: {error}"),
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
            store.change(vec![]).await.map(drop),
            store.record(Key::new("a").unwrap()).await.map(drop),
            store.room(),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(Error::Poisoned(_))), "{n}: {refused:?}");
        }
        acknowledged
    });
    drop(store);
    let frames = wait(open(dir.path()).unwrap().read(run(1), 0)).unwrap();
    let sent: Vec<Bytes> = (0..frames.len() as u64).map(|length| bytes(length, 100)).collect();
    assert!(frames.len() as u64 >= acknowledged, "{n}: {acknowledged} acknowledged, {} kept", frames.len());
    assert_eq!(frames, sent, "{n}");
}

#[test]
fn a_removed_directory_stops_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let store = open(&home).unwrap();
    wait(store.claim(run(1))).unwrap();
    store.room().unwrap();
    fs::remove_dir_all(&home).unwrap();
    let room = store.room();
    assert!(matches!(&room, Err(Error::Poisoned(why)) if why.contains("was removed")), "{room:?}");
    let appended = wait(store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])]));
    assert!(matches!(&appended, Err(Error::Poisoned(why)) if why.contains("was removed")), "{appended:?}");
    drop(store);
    assert!(!home.exists());
}

#[test]
fn a_home_and_what_is_above_it_are_synced_when_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("a/b/c");
    let synced = Arc::new(Mutex::new(BTreeSet::new()));
    let noting = synced.clone();
    let note = move |op: Op<'_>| {
        if let Op::SyncDir(dir) = op {
            noting.lock().unwrap().insert(dir.to_owned());
        }
        Ok(())
    };
    let store = Sled::open(&home, hooked(note)).unwrap();
    let synced = synced.lock().unwrap().clone();
    for name in ["", "a", "a/b", "a/b/c", "a/b/c/log"] {
        assert!(synced.contains(dir.path().join(name).components().as_path()), "{name}: {synced:?}");
    }
    drop(store);
}

#[test]
fn an_answer_comes_after_the_sync_and_the_mark() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, steps) = mpsc::channel();
    let note = move |op: Op<'_>| {
        let step = match op {
            Op::Write { path, .. } => format!("write {}", path.file_name().unwrap().to_str().unwrap().len() > 4),
            Op::Sync(_) => "sync".to_owned(),
            _ => return Ok(()),
        };
        seen.send(step).map_err(IoError::other)
    };
    let store = Sled::open(dir.path(), hooked(note)).unwrap();
    wait(store.claim(run(1))).unwrap();
    steps.try_iter().for_each(drop);
    wait(store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])])).unwrap();
    assert_eq!(steps.try_iter().collect::<Vec<_>>(), ["write true", "sync", "write false"]);
}

#[test]
fn what_is_not_durable_yet_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (syncing, reached) = mpsc::channel();
    let (go_on, gate) = mpsc::channel();
    let (gate, held) = (Mutex::new(gate), Arc::new(AtomicBool::new(false)));
    let holding = held.clone();
    let hook = move |op: Op<'_>| {
        if matches!(op, Op::Sync(_)) && holding.load(Ordering::SeqCst) && syncing.send(()).is_ok() {
            gate.lock().unwrap().recv().unwrap();
        }
        Ok(())
    };
    let store = Sled::open(dir.path(), hooked(hook)).unwrap();
    wait(async {
        store.claim(run(1)).await.unwrap();
        held.store(true, Ordering::SeqCst);
        let appended = store.append(vec![part(run(1), 1, 0, vec![bytes(1, 10)])]);
        reached.recv().unwrap();
        assert_eq!(store.read(run(1), 0).await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(store.head(run(1)).await.unwrap().unwrap().length, 0);
        held.store(false, Ordering::SeqCst);
        go_on.send(()).unwrap();
        assert_eq!(appended.await.unwrap(), [Appended::Done]);
        assert_eq!(store.read(run(1), 0).await.unwrap(), [bytes(1, 10)]);
    });
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
}

#[test]
fn what_was_removed_gives_its_room_back_and_what_is_kept_stays() {
    let dir = memory_dir();
    let options = Options { segment: 20_000, ..Options::default() };
    let store = Sled::open(dir.path(), options.clone()).unwrap();
    let size = || files(&dir.path().join("log")).iter().map(|(_, length)| length).sum::<u64>();
    let mut largest = 0;
    wait(async {
        let act = Act::Set { expected: Expected::Any, new: Some(Record::Value(bytes(5, 100))) };
        store.change(vec![Change { key: Key::new("kept").unwrap(), act }]).await.unwrap();
        for number in 1..=3 {
            store.claim(run(number)).await.unwrap();
            store.append(vec![part(run(number), 1, 0, vec![bytes(1, 3000)])]).await.unwrap();
        }
        for round in 0..60 {
            let other = run(100);
            let head = store.claim(other).await.unwrap();
            store.append(vec![part(other, head.epoch, 0, vec![bytes(round, 9000)])]).await.unwrap();
            store.append(vec![part(run(1), 1, 1 + round, vec![bytes(round, 50)])]).await.unwrap();
            store.delete(other).await.unwrap();
            if round % 4 == 3 {
                store.checkpoint();
                largest = largest.max(size());
            }
        }
    });
    store.checkpoint();
    let state = wait(state_of(&store)).unwrap();
    assert_eq!((state.runs.len(), state.records.len()), (3, 1));
    assert!(largest < 300_000, "{largest} bytes for runs of 30,000; 600,000 were written");
    drop(store);
    for lost in ["nothing", "checkpoint", "sled"] {
        match lost {
            "checkpoint" => fs::remove_file(dir.path().join(lost)).unwrap(),
            "sled" => fs::remove_dir_all(dir.path().join(lost)).unwrap(),
            _ => {}
        }
        let store = Sled::open(dir.path(), options.clone()).unwrap();
        assert_eq!(store.faults(), Vec::<Arc<str>>::new(), "{lost}");
        assert_eq!(wait(state_of(&store)).unwrap(), state, "{lost}");
    }
    assert_eq!(View::check(dir.path()).unwrap(), Default::default());
}

#[test]
fn other_runs_go_on_beside_a_damaged_one_until_it_is_removed() {
    let dir = memory_dir();
    let store = open(dir.path()).unwrap();
    wait(async {
        for number in 1..=3 {
            store.claim(run(number)).await.unwrap();
            store.append(vec![part(run(number), 1, 0, vec![bytes(1, 3000)])]).await.unwrap();
        }
    });
    drop(store);
    let log = files(&dir.path().join("log")).remove(0).0;
    let mut content = fs::read(&log).unwrap();
    let half = content.len() / 2;
    content[half] ^= 1;
    fs::write(&log, content).unwrap();
    let store = open(dir.path()).unwrap();
    wait(async {
        let heads = store.heads(None, 9).await.unwrap();
        let sick: Vec<RunId> = heads.iter().filter(|head| head.damage.is_some()).map(|head| head.run).collect();
        assert_eq!((heads.len(), &sick[..]), (3, &[run(2)][..]));
        assert!(heads[1].damage.as_ref().unwrap().contains("has 0 of 1 entries"), "{:?}", heads[1]);
        let mixed = vec![part(run(1), 1, 1, vec![bytes(1, 9)]), part(run(2), 1, 1, vec![])];
        let refusals = [
            store.claim(run(2)).await.map(drop),
            store.append(mixed).await.map(drop),
            store.post(run(2), InboxId([9; 16]), Bytes::new()).await,
            store.read(run(2), 0).await.map(drop),
            store.inbox(run(2)).await.map(drop),
            store.get_blob(run(2), BlobHash([1; 32])).await.map(drop),
        ];
        for refused in refusals {
            assert!(matches!(refused, Err(Error::Damaged { run: other, .. }) if other == run(2)), "{refused:?}");
        }
        // Nothing of the call that named a damaged run was written.
        assert_eq!(store.head(run(1)).await.unwrap().unwrap().length, 1);
        store.checkpoint();
    });
    drop(store);
    let store = open(dir.path()).unwrap();
    wait(async {
        assert!(store.head(run(2)).await.unwrap().unwrap().damage.is_some(), "it is still damaged");
        store.delete(run(2)).await.unwrap();
        assert_eq!(store.head(run(2)).await.unwrap(), None);
        assert_eq!(store.claim(run(2)).await.unwrap().epoch, 1);
    });
    drop(store);
    let head = wait(open(dir.path()).unwrap().head(run(2))).unwrap().unwrap();
    assert_eq!((head.damage, head.epoch, head.length), (None, 1, 0));
}

#[test]
fn a_damaged_record_is_not_taken_for_none() {
    let dir = memory_dir();
    let store = open(dir.path()).unwrap();
    let key = |name: &'static str| Key::new(name).unwrap();
    let set = |name, expected, value: &'static str| {
        let new = Some(Record::Value(Bytes::from_static(value.as_bytes())));
        vec![Change { key: key(name), act: Act::Set { expected, new } }]
    };
    wait(async {
        for (name, value) in [("a", "first of all"), ("b", "second of all"), ("c", "third of all")] {
            store.change(set(name, Expected::Is(None), value)).await.unwrap();
        }
    });
    drop(store);
    let log = files(&dir.path().join("log")).remove(0).0;
    let content = fs::read(&log).unwrap();
    let at = content.windows(6).position(|window| window == b"second").unwrap();
    let mut changed = content.clone();
    changed[at] = b'S';
    fs::write(&log, changed).unwrap();
    let store = open(dir.path()).unwrap();
    wait(async {
        assert!(store.record(key("a")).await.unwrap().is_some() && store.record(key("c")).await.unwrap().is_some());
        let lost = store.record(key("b")).await;
        assert!(matches!(&lost, Err(Error::DamagedRecord(lost)) if *lost == key("b")), "{lost:?}");
        let refused = store.change(set("b", Expected::Is(None), "a second run")).await;
        assert!(matches!(refused, Err(Error::DamagedRecord(_))), "{refused:?}");
        assert!(store.faults().iter().any(|fault| fault.contains("records are lost")), "{:?}", store.faults());
        store.change(set("b", Expected::Any, "whatever it was")).await.unwrap();
        assert!(store.record(key("b")).await.unwrap().is_some());
    });
}

/// What stands in a blob is never taken for a record, also where the record around it is damaged.
#[test]
fn bytes_of_others_are_not_taken_for_records() {
    let dir = memory_dir();
    let store = open(dir.path()).unwrap();
    let forged = {
        // A log of somebody else, laid out as this one is.
        let other = memory_dir();
        let store = open(other.path()).unwrap();
        wait(store.claim(run(66))).unwrap();
        drop(store);
        fs::read(files(&other.path().join("log")).remove(0).0).unwrap()
    };
    wait(async {
        store.claim(run(1)).await.unwrap();
        let mut part = part(run(1), 1, 0, vec![Bytes::from(forged.clone())]);
        let blob = Bytes::from([vec![0; 8], forged.clone()].concat());
        part.blobs = vec![(hash(&blob), blob)];
        store.append(vec![part]).await.unwrap();
        store.claim(run(2)).await.unwrap();
    });
    drop(store);
    let log = files(&dir.path().join("log")).remove(0).0;
    let content = fs::read(&log).unwrap();
    for at in (512..content.len().min(2600)).step_by(4) {
        let mut content = content.clone();
        content[at] ^= 0x40;
        fs::write(&log, content).unwrap();
        let heads = wait(View::open(dir.path()).unwrap().heads(None, 9)).unwrap();
        assert!(heads.iter().all(|head| head.run != run(66)), "{at}: {heads:?}");
    }
}

/// A home as it was written once, and must be read for ever. To take a wanted change into `next`:
/// `AGENTD_GOLDEN_STORE=next cargo test --lib store::sled`. At a release, `next` is copied to a directory named after the
/// version, and never written again.
#[test]
fn a_home_of_each_layout_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store");
    if std::env::var("AGENTD_GOLDEN_STORE").is_ok_and(|what| what == "next") {
        write_golden(&golden.join("next"));
    }
    let mut read = 0;
    for version in fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().path()) {
        let left = memory_dir();
        copy_dir(&version.join("home"), left.path());
        let expected = fs::read_to_string(version.join("state.txt")).unwrap();
        assert_eq!(View::check(left.path()).unwrap(), Default::default(), "{}", version.display());
        let looked = wait(state_of(&View::open(left.path()).unwrap())).unwrap();
        assert_eq!(format!("{looked:#?}\n"), expected, "{}", version.display());
        let opened = wait(state_of(&open(left.path()).unwrap())).unwrap();
        assert_eq!(format!("{opened:#?}\n"), expected, "{}", version.display());
        read += 1;
    }
    assert!(read > 0);
}

/// A store in which each kind of record is, without its copy.
fn write_golden(dir: &Path) {
    let home = memory_dir();
    let store = Sled::open(home.path(), Options { segment: 6000, ..Options::default() }).unwrap();
    wait(async {
        for number in 1..=4 {
            store.claim(run(number)).await.unwrap();
            for length in 0..3 {
                let mut part = part(run(number), 1, length, vec![bytes(length, 200)]);
                if number == 2 {
                    let blob = bytes(900 + length, 3000);
                    part.blobs = vec![(hash(&blob), blob)];
                    part.records = vec![Change {
                        key: Key::new("a count").unwrap(),
                        act: Act::Add { delta: 2, at_most: Some(9) },
                    }];
                }
                assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
            }
            store.post(run(number), InboxId([1; 16]), bytes(7, 30)).await.unwrap();
        }
        let act = Act::Set { expected: Expected::Any, new: Some(Record::Value(bytes(1, 40))) };
        store.change(vec![Change { key: Key::new("a value").unwrap(), act }]).await.unwrap();
        store.checkpoint();
        let taken = Part { consumed: vec![InboxId([1; 16])], ..part(run(3), 1, 3, vec![bytes(3, 100)]) };
        store.append(vec![taken]).await.unwrap();
        store.delete(run(4)).await.unwrap();
    });
    let state = wait(state_of(&store)).unwrap();
    drop(store);
    fs::remove_dir_all(home.path().join("sled")).unwrap();
    fs::remove_file(home.path().join("lock")).unwrap();
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir.join("home")).unwrap();
    copy_dir(home.path(), &dir.join("home"));
    fs::write(dir.join("state.txt"), format!("{state:#?}\n")).unwrap();
}

#[test]
#[ignore = "writes for minutes"]
fn a_hundred_thousand_runs() {
    let dir = tempfile::tempdir().unwrap();
    let many = |number: u32| RunId::from_bytes((u128::from(number) << 64 | 7).to_be_bytes());
    let store = open(dir.path()).unwrap();
    wait(async {
        for chunk in (0..100_000).collect::<Vec<u32>>().chunks(1000) {
            let claims: Vec<_> = chunk.iter().map(|number| store.claim(many(*number))).collect();
            let frames = |number: u32| vec![bytes(u64::from(number), 600), bytes(1, 600)];
            let parts = chunk.iter().map(|number| part(many(*number), 1, 0, frames(*number))).collect();
            let appended = store.append(parts);
            for claim in claims {
                claim.await.unwrap();
            }
            assert!(appended.await.unwrap().iter().all(|appended| *appended == Appended::Done));
        }
    });
    drop(store);
    for how in ["closed", "without its image"] {
        if how != "closed" {
            fs::remove_file(dir.path().join("checkpoint")).unwrap();
        }
        let begun = std::time::Instant::now();
        let store = open(dir.path()).unwrap();
        println!("{how}: {:?}", begun.elapsed());
        wait(async {
            assert_eq!(store.heads(None, usize::MAX).await.unwrap().len(), 100_000);
            for number in (0..100_000).step_by(997) {
                assert_eq!(store.read(many(number), 0).await.unwrap()[0], bytes(u64::from(number), 600), "{how}");
            }
        });
    }
}

#[test]
#[ignore = "writes for minutes"]
fn a_run_of_a_hundred_thousand_entries() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    wait(async {
        store.claim(run(1)).await.unwrap();
        for length in (0..100_000).step_by(500) {
            let parts =
                (length..length + 500).map(|length| part(run(1), 1, length, vec![bytes(length, 700)])).collect();
            let appended = store.append(parts).await.unwrap();
            assert!(appended.iter().all(|appended| *appended == Appended::Done));
        }
    });
    let whole = |store: &Sled| {
        let frames = wait(store.read(run(1), 0)).unwrap();
        assert_eq!(frames.len(), 100_000);
        assert!((0..100_000).step_by(501).all(|at| frames[at] == bytes(at as u64, 700)));
    };
    whole(&store);
    store.checkpoint();
    whole(&store);
    drop(store);
    let begun = std::time::Instant::now();
    let store = open(dir.path()).unwrap();
    println!("opened: {:?}", begun.elapsed());
    whole(&store);
    println!("opened and read: {:?}", begun.elapsed());
}
