//! Power cuts: what a script asks of the disk is written down, and cut off at every step; then what the disk may hold is
//! built, opened, and held against what was acknowledged.
//!
//! A write that was not synced may be on the disk, or not, or partly: any of its sectors, and a sector half written. A name
//! that was not synced may be there or not. sled's files are not written down: after a cut the copy is as good as gone.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{
    Op, Options, Sled, View,
    tests::{State, memory_dir, part, run, state_of, wait},
};
use crate::store::{Act, Change, Columns, Expected, InboxId, Key, Part, Record, Store};

/// What was asked of the disk, or acknowledged.
#[derive(Debug, Clone)]
enum Step {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Sync(PathBuf),
    Cut(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    /// From here on, the store has this state.
    Acknowledged(State),
}

/// Writes steps down, with the names that they have below `dir`.
fn recorder(dir: &Path) -> (Arc<Mutex<Vec<Step>>>, Options) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (writing, dir) = (steps.clone(), dir.to_owned());
    let below = dir.clone();
    let name = move |path: &Path| path.strip_prefix(&dir).unwrap().to_owned();
    let hook = move |op: Op<'_>| {
        if matches!(op, Op::SyncDir(path) if !path.starts_with(&below)) {
            return Ok(());
        }
        let step = match op {
            Op::Create(path) => Step::Create(name(path)),
            Op::Write { path, offset, bytes } => Step::Write(name(path), offset, bytes.to_vec()),
            Op::Sync(path) => Step::Sync(name(path)),
            Op::Cut { path, length } => Step::Cut(name(path), length),
            Op::Rename { from, to } => Step::Rename(name(from), name(to)),
            Op::Remove(path) => Step::Remove(name(path)),
            Op::SyncDir(path) => Step::SyncDir(name(path)),
            Op::Read(_) | Op::Sled(_) => return Ok(()),
        };
        writing.lock().unwrap().push(step);
        Ok(())
    };
    (steps, Options { segment: 5000, hook: Some(Arc::new(hook)), ..Options::default() })
}

/// How a disk treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// The process was killed: all is there.
    Kill,
    /// Nothing is there that was not synced.
    Synced,
    /// All but the last write, of which a beginning is there that ends within a sector.
    Torn,
    /// Any sectors of what was not synced, and any of the names.
    Any(u64),
    /// Nothing was ever synced but names: what a store would leave that forgets to sync.
    Unsynced,
}

#[derive(Debug, Clone, Default)]
struct SimFile {
    synced: Vec<u8>,
    /// Writes and cuts since then.
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Cut(u64),
}

fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + bytes.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(bytes);
}

/// What the disk holds after these steps.
fn disk_after(steps: &[Step], cut: Cut) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(if let Cut::Any(seed) = cut { seed } else { 0 });
    let mut files: Vec<SimFile> = Vec::new();
    let (mut names, mut synced_names) = (BTreeMap::<PathBuf, usize>::new(), BTreeMap::<PathBuf, usize>::new());
    let parent = |path: &Path| path.parent().unwrap().to_owned();
    for step in steps {
        match step {
            Step::Create(path) => {
                files.push(SimFile::default());
                names.insert(path.clone(), files.len() - 1);
            }
            Step::Write(path, offset, bytes) => {
                files[names[path]].pending.push(Pending::Write(*offset, bytes.clone()));
            }
            Step::Cut(path, length) => files[names[path]].pending.push(Pending::Cut(*length)),
            Step::Sync(_) if cut == Cut::Unsynced => {}
            Step::Sync(path) => {
                let SimFile { synced, pending } = &mut files[names[path]];
                for write in pending.drain(..) {
                    match write {
                        Pending::Write(offset, bytes) => put(synced, offset, &bytes),
                        Pending::Cut(length) => synced.truncate(length as usize),
                    }
                }
            }
            Step::Rename(from, to) => {
                // A copy that is set aside is a directory, and not written down.
                names.remove(from).map(|file| names.insert(to.clone(), file));
            }
            Step::Remove(path) => drop(names.remove(path)),
            Step::SyncDir(dir) => {
                synced_names.retain(|path, _| parent(path) != *dir);
                let here = names.iter().filter(|(path, _)| parent(path) == *dir);
                synced_names.extend(here.map(|(path, file)| (path.clone(), *file)));
            }
            Step::Acknowledged(_) => {}
        }
    }
    let names = match cut {
        Cut::Kill | Cut::Torn => names,
        Cut::Synced | Cut::Unsynced => synced_names,
        Cut::Any(_) => match random.bool() {
            true => names,
            false => synced_names,
        },
    };
    let last = |file: &SimFile| file.pending.len();
    let mut disk = BTreeMap::new();
    for (path, file) in names {
        let file = &files[file];
        let mut content = file.synced.clone();
        for (number, pending) in (1..).zip(&file.pending) {
            match (pending, cut) {
                (_, Cut::Synced | Cut::Unsynced) => {}
                (Pending::Cut(length), Cut::Any(_)) if random.bool() => content.truncate(*length as usize),
                (Pending::Cut(_), Cut::Any(_)) => {}
                (Pending::Cut(length), _) => content.truncate(*length as usize),
                (Pending::Write(offset, bytes), Cut::Torn) if number == last(file) => {
                    put(&mut content, *offset, &bytes[..bytes.len() * 2 / 3 + 7.min(bytes.len() / 3)]);
                }
                (Pending::Write(offset, bytes), Cut::Any(_)) => {
                    for (sector, piece) in bytes.chunks(512).enumerate() {
                        let at = offset + sector as u64 * 512;
                        match random.u8(..4) {
                            0 => {}
                            // Half written, or garbage.
                            1 => {
                                let mut half = piece[..piece.len() / 2].to_vec();
                                half.resize(piece.len(), random.u8(..));
                                put(&mut content, at, &half);
                            }
                            _ => put(&mut content, at, piece),
                        }
                    }
                }
                (Pending::Write(offset, bytes), _) => put(&mut content, *offset, bytes),
            }
        }
        disk.insert(path, content);
    }
    disk
}

/// A script in which everything happens that changes the disk.
async fn script(dir: &Path, options: Options, steps: &Mutex<Vec<Step>>) {
    let mut epoch = 0;
    for life in 0..3_u64 {
        let store = Sled::open(dir, options.clone()).unwrap();
        let acknowledge = || {
            let state = state_of(&store);
            async {
                let state = state.await.unwrap();
                steps.lock().unwrap().push(Step::Acknowledged(state));
            }
        };
        epoch += 1;
        for number in 1..4 {
            store.claim(run(number)).await.unwrap();
            acknowledge().await;
        }
        for round in 0..3 {
            for number in 1..4_u8 {
                let length = store.head(run(number)).await.unwrap().unwrap().length;
                let size = 100 + usize::from(number) * 400 * round as usize;
                let frames = vec![super::tests::bytes(length * 7 + u64::from(number), size)];
                let mut part = part(run(number), epoch, length, frames);
                if number == 2 {
                    let key = Key::new(format!("key {round}")).unwrap();
                    let act = Act::Add { delta: life as i64 + 1, at_most: None };
                    part.records = vec![Change { key, act }];
                    let blob = super::tests::bytes(900 + length, 3000);
                    part.blobs = vec![(super::tests::hash(&blob), blob)];
                }
                store.append(vec![part]).await.unwrap();
                acknowledge().await;
            }
            let id = InboxId([life as u8 * 10 + round as u8; 16]);
            store.post(run(1), id, Bytes::from_static(b"please")).await.unwrap();
            acknowledge().await;
        }
        let consumed = Part { consumed: vec![InboxId([life as u8 * 10; 16])], ..Part::empty(run(1), epoch) };
        let length = store.head(run(1)).await.unwrap().unwrap().length;
        store.append(vec![Part { expected_length: length, ..consumed }]).await.unwrap();
        acknowledge().await;
        let set = Act::Set { expected: Expected::Any, new: Some(Record::Value(vec![life as u8; 40].into())) };
        store.change(vec![Change { key: Key::new("memory").unwrap(), act: set }]).await.unwrap();
        acknowledge().await;
        store.claim(run(9)).await.unwrap();
        acknowledge().await;
        store.append(vec![part(run(9), 1, 0, vec![super::tests::bytes(life, 2000)])]).await.unwrap();
        acknowledge().await;
        store.delete(run(9)).await.unwrap();
        acknowledge().await;
        let unset = Act::Set { expected: Expected::Any, new: None };
        store.change(vec![Change { key: Key::new("memory").unwrap(), act: unset }]).await.unwrap();
        acknowledge().await;
        // Two lives end well, one does not.
        store.quiet();
        if life == 1 {
            store.shared.copy.close();
            drop(store.shared.lock.lock().unwrap().take());
            std::mem::forget(store);
        }
    }
}

/// Everything that is acknowledged is there; nothing is that was not at least asked for.
fn check(disk: &BTreeMap<PathBuf, Vec<u8>>, acknowledged: &State, next: Option<&State>) -> Result<(), String> {
    let dir = memory_dir();
    fs::create_dir(dir.path().join("log")).unwrap();
    for (path, content) in disk {
        fs::write(dir.path().join(path), content).unwrap();
    }
    let fits = |state: &State| state == acknowledged || Some(state) == next;
    let view = View::open(dir.path()).map_err(|error| format!("looking: {error}"))?;
    let seen = wait(state_of(&view)).map_err(|error| format!("looking: {error}"))?;
    if !fits(&seen) {
        return Err(format!("seen by looking: {}", seen.difference(acknowledged)));
    }
    let mut before = seen;
    for _ in 0..2 {
        let store = Sled::open(dir.path(), Options::default()).map_err(|error| format!("opening: {error}"))?;
        let state = wait(state_of(&store)).map_err(|error| format!("opened: {error}"))?;
        if state != before {
            return Err(format!("opened, it is another one: {}", state.difference(&before)));
        }
        // It goes on from there, however it was found.
        wait(async {
            let head = store.claim(run(77)).await.unwrap();
            let appended = part(run(77), head.epoch, head.length, vec![super::tests::bytes(head.length, 50)]);
            store.append(vec![Part { columns: Some(Columns::default()), ..appended }]).await.unwrap();
        });
        before = wait(state_of(&store)).map_err(|error| format!("gone on with: {error}"))?;
    }
    Ok(())
}

fn recorded() -> Vec<Step> {
    let dir = memory_dir();
    let (steps, options) = recorder(dir.path());
    wait(script(dir.path(), options, &steps));
    steps.lock().unwrap().clone()
}

/// Cuts at every step, in all these ways; what goes wrong.
fn cut_everywhere(steps: &[Step], cuts: impl Fn(usize) -> Vec<Cut> + Sync) -> Vec<String> {
    let failures = Mutex::new(Vec::new());
    let next_step = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next_step.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if at > steps.len() {
                        return;
                    }
                    let (before, after) = steps.split_at(at);
                    let state = |step: &Step| match step {
                        Step::Acknowledged(state) => Some(state.clone()),
                        _ => None,
                    };
                    let acknowledged = before.iter().rev().find_map(state).unwrap_or_default();
                    let next = after.iter().find_map(state);
                    for cut in cuts(at) {
                        if let Err(why) = check(&disk_after(before, cut), &acknowledged, next.as_ref()) {
                            let step = format!("{:.80}", format!("{:?}", before.last()));
                            failures.lock().unwrap().push(format!("{cut:?} at step {at} ({step}): {why}"));
                        }
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn a_power_cut_at_any_step_loses_nothing_that_was_acknowledged() {
    let steps = recorded();
    let written = |name: &str| {
        let renamed = |step: &&Step| matches!(step, Step::Rename(_, to) if to.starts_with(name));
        steps.iter().any(|step| renamed(&step) || matches!(step, Step::Write(path, ..) if path.starts_with(name)))
    };
    assert!(["log", "mark", "checkpoint"].iter().all(|name| written(name)), "the script does not touch all files");
    let failures = cut_everywhere(&steps, |at| {
        let seed = at as u64;
        match at.checked_sub(1).and_then(|last| steps.get(last)) {
            // Nothing was done to the disk since the step before.
            Some(Step::Acknowledged(_)) => Vec::new(),
            Some(Step::Write(path, ..)) if path != Path::new("mark") => {
                vec![Cut::Kill, Cut::Synced, Cut::Torn, Cut::Any(seed), Cut::Any(seed + 1000)]
            }
            _ => vec![Cut::Kill, Cut::Synced, Cut::Any(seed)],
        }
    });
    assert!(
        failures.is_empty(),
        "{} of {} steps: {:#?}",
        failures.len(),
        steps.len(),
        &failures[..failures.len().min(10)]
    );
}

/// The check sees what it is there to see.
#[test]
fn a_store_that_forgets_to_sync_is_found_out() {
    let steps = recorded();
    let failures = cut_everywhere(&steps, |at| if at % 20 == 0 { vec![Cut::Unsynced] } else { Vec::new() });
    assert!(!failures.is_empty());
    // Without the names of its files, nothing that is in them is found.
    let nameless: Vec<Step> = steps.into_iter().filter(|step| !matches!(step, Step::SyncDir(_))).collect();
    let failures = cut_everywhere(&nameless, |at| if at % 20 == 0 { vec![Cut::Synced] } else { Vec::new() });
    assert!(!failures.is_empty());
}
