//! Random operations against each store, and a plain table that says what must come of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::{
    Appended, BlobHash, Chain, Columns, Error, Head, InboxId, Memory, Part, Store,
    sled::{Options, Sled},
};
use crate::run::{RunId, Time};

/// What is done to a store. Runs and inbox items are chosen from few, so that they meet.
#[derive(Debug, Clone)]
enum Act {
    Append { run: u8, place: Place, frames: Vec<usize>, blobs: Vec<u8>, consumed: Vec<u8>, status: Option<u8> },
    Claim(u8),
    Post { run: u8, id: u8, size: usize },
    Delete(u8),
}

/// Where a part says that it belongs.
#[derive(Debug, Clone, Copy)]
enum Place {
    Right,
    OldEpoch,
    WrongLength,
}

/// A few acts, asked for at once; then perhaps the end of the process.
#[derive(Debug, Clone)]
struct Burst {
    acts: Vec<Act>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    GoesOn,
    Reopens,
    /// The process dies, and then the file has lost this many bytes at its end.
    Crashes(u16),
}

const RUNS: std::ops::Range<u8> = 1..6;

fn act() -> impl Strategy<Value = Act> {
    let place = prop_oneof![8 => Just(Place::Right), 1 => Just(Place::OldEpoch), 1 => Just(Place::WrongLength)];
    let sizes = prop_oneof![6 => 0_usize..900, 1 => 4000_usize..4200, 1 => 9_000_usize..30_000];
    let append = (
        RUNS,
        place,
        vec(sizes.clone(), 0..4),
        vec(0_u8..6, 0..2),
        vec(0_u8..5, 0..3),
        proptest::option::of(any::<u8>()),
    )
        .prop_map(|(run, place, frames, blobs, consumed, status)| Act::Append {
            run,
            place,
            frames,
            blobs,
            consumed,
            status,
        });
    prop_oneof![
        10 => append,
        3 => RUNS.prop_map(Act::Claim),
        4 => (RUNS, 0_u8..5, sizes).prop_map(|(run, id, size)| Act::Post { run, id, size }),
        1 => RUNS.prop_map(Act::Delete),
    ]
}

fn burst() -> impl Strategy<Value = Burst> {
    let end = prop_oneof![
        6 => Just(End::GoesOn),
        1 => Just(End::Reopens),
        1 => Just(End::Crashes(0)),
        1 => (1_u16..20_000).prop_map(End::Crashes),
    ];
    (vec(act(), 1..12), end).prop_map(|(acts, end)| Burst { acts, end })
}

/// A run as it must be.
#[derive(Debug, Clone, Default, PartialEq)]
struct Expected {
    epoch: u64,
    frames: Vec<Bytes>,
    chain: Chain,
    columns: Columns,
    inbox: Vec<(InboxId, Bytes)>,
    blobs: HashMap<BlobHash, Bytes>,
}

/// What an act is answered with.
#[derive(Debug, PartialEq)]
enum Answer {
    Appended(Vec<Appended>),
    Claimed(Head),
    Done,
    NotFound,
    Damaged,
}

impl Answer {
    fn of<T>(result: Result<T, Error>, answer: impl FnOnce(T) -> Answer) -> Answer {
        match result {
            Ok(found) => answer(found),
            Err(Error::NotFound(_)) => Answer::NotFound,
            Err(Error::Damaged { .. }) => Answer::Damaged,
            Err(error) => panic!("{error}"),
        }
    }
}

#[derive(Default)]
struct Model {
    runs: BTreeMap<RunId, Expected>,
    /// Runs that have lost something in a crash that took more than a crash may.
    damaged: BTreeSet<RunId>,
    /// Runs that were removed and may have been made again: a loss that takes both back leaves the earlier run, whole.
    removed: BTreeSet<RunId>,
    /// Makes every frame, item and chain another one.
    count: u64,
}

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn blob(number: u8) -> (BlobHash, Bytes) {
    let bytes = Bytes::from(vec![number; usize::from(number) * 1700]);
    (BlobHash(*blake3::hash(&bytes).as_bytes()), bytes)
}

impl Model {
    fn bytes(&mut self, size: usize) -> Bytes {
        self.count += 1;
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&self.count.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes.into()
    }

    /// The part that an act speaks of, as things stand.
    fn part(&mut self, act: &Act) -> Option<Part> {
        let Act::Append { run: number, place, frames, blobs, consumed, status } = act else { return None };
        let now = self.runs.get(&run(*number)).cloned().unwrap_or_default();
        let (epoch, length) = (now.epoch, now.frames.len() as u64);
        let frames: Vec<Bytes> = frames.iter().map(|size| self.bytes(*size)).collect();
        Some(Part {
            run: run(*number),
            epoch: if let Place::OldEpoch = place { epoch.wrapping_sub(1) } else { epoch },
            expected_length: if let Place::WrongLength = place { length + 1 } else { length },
            frames,
            chain: Chain(u128::from(self.count).to_le_bytes()),
            blobs: blobs.iter().map(|number| blob(*number)).collect(),
            consumed: consumed.iter().map(|id| InboxId([*id; 16])).collect(),
            columns: status.map(|status| Columns {
                status: status.to_string(),
                agent: "a".repeat(usize::from(status)),
                created: Time(i64::from(status)),
                updated: Time(-1),
                cost_nano: (status > 99).then_some(u64::from(status)),
            }),
        })
    }

    fn append(&mut self, part: &Part) -> Answer {
        if self.damaged.contains(&part.run) {
            return Answer::Damaged;
        }
        let Some(now) = self.runs.get_mut(&part.run) else {
            return Answer::Appended(vec![Appended::Fenced { epoch: 0 }]);
        };
        if now.epoch != part.epoch {
            return Answer::Appended(vec![Appended::Fenced { epoch: now.epoch }]);
        }
        let length = now.frames.len() as u64;
        if length != part.expected_length {
            return Answer::Appended(vec![Appended::Misplaced { length }]);
        }
        if !part.frames.is_empty() {
            now.chain = part.chain;
        }
        now.frames.extend(part.frames.iter().cloned());
        now.blobs.extend(part.blobs.iter().cloned());
        now.inbox.retain(|(id, _)| !part.consumed.contains(id));
        now.columns = part.columns.clone().unwrap_or(now.columns.clone());
        Answer::Appended(vec![Appended::Done])
    }

    fn claim(&mut self, run: RunId) -> Answer {
        if self.damaged.contains(&run) {
            return Answer::Damaged;
        }
        let now = self.runs.entry(run).or_default();
        now.epoch += 1;
        Answer::Claimed(now.head(run))
    }

    fn post(&mut self, run: RunId, id: InboxId, item: &Bytes) -> Answer {
        if self.damaged.contains(&run) {
            return Answer::Damaged;
        }
        let Some(now) = self.runs.get_mut(&run) else { return Answer::NotFound };
        if !now.inbox.iter().any(|(waiting, _)| *waiting == id) {
            now.inbox.push((id, item.clone()));
        }
        Answer::Done
    }
}

impl Expected {
    fn head(&self, run: RunId) -> Head {
        let length = self.frames.len() as u64;
        Head { run, epoch: self.epoch, length, chain: self.chain, damage: None, columns: self.columns.clone() }
    }
}

/// A store under test.
struct Bench {
    store: Option<Arc<dyn Store>>,
    /// Where sled is; `None`: in memory, which neither reopens nor crashes.
    dir: Option<TempDir>,
}

impl Bench {
    fn store(&self) -> &dyn Store {
        self.store.as_deref().unwrap()
    }

    fn open(&mut self) {
        self.store = None;
        let dir = self.dir.as_ref().unwrap().path();
        self.store = Some(Arc::new(Sled::open(dir, Options::default()).unwrap()));
    }

    /// Goes on with what a crash at this moment would leave.
    fn crash(&mut self, lost: u16) {
        let left = tempfile::tempdir().unwrap();
        copy(self.dir.as_ref().unwrap().path(), left.path());
        let db = fs::File::options().write(true).open(left.path().join("tree/db")).unwrap();
        db.set_len(db.metadata().unwrap().len().saturating_sub(u64::from(lost))).unwrap();
        self.store = None;
        self.dir = Some(left);
        self.open();
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Does all that a script says, and compares all that can be seen, after each burst.
async fn play(mut bench: Bench, script: Vec<Burst>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for Burst { acts, end } in script {
        let mut expected = Vec::new();
        let mut asked = Vec::new();
        for act in &acts {
            // Asked for in order and without waiting, so that they meet in one batch.
            match act {
                Act::Append { .. } => {
                    let Some(part) = model.part(act) else { continue };
                    expected.push(model.append(&part));
                    let append = bench.store().append(vec![part]);
                    asked.push(tokio::spawn(async { Answer::of(append.await, Answer::Appended) }));
                }
                Act::Claim(number) => {
                    expected.push(model.claim(run(*number)));
                    let claim = bench.store().claim(run(*number));
                    asked.push(tokio::spawn(async { Answer::of(claim.await, Answer::Claimed) }));
                }
                Act::Post { run: number, id, size } => {
                    let (run, id, item) = (run(*number), InboxId([*id; 16]), model.bytes(*size));
                    expected.push(model.post(run, id, &item));
                    let post = bench.store().post(run, id, item);
                    asked.push(tokio::spawn(async { Answer::of(post.await, |()| Answer::Done) }));
                }
                Act::Delete(number) => {
                    model.runs.remove(&run(*number));
                    model.damaged.remove(&run(*number));
                    model.removed.insert(run(*number));
                    expected.push(Answer::Done);
                    let delete = bench.store().delete(run(*number));
                    asked.push(tokio::spawn(async { Answer::of(delete.await, |()| Answer::Done) }));
                }
            }
        }
        for ((asked, expected), act) in asked.into_iter().zip(expected).zip(&acts) {
            prop_assert_eq!(asked.await.unwrap(), expected, "{:?}", act);
        }
        match end {
            _ if bench.dir.is_none() => {}
            End::GoesOn => {}
            End::Reopens => bench.open(),
            End::Crashes(lost) => {
                bench.crash(lost);
                if lost > 0 {
                    take_stock(&bench, &mut model).await;
                }
            }
        }
        compare(bench.store(), &model).await?;
    }
    Ok(())
}

/// After the file has lost its end: what is damaged, says so; what was removed may be back.
async fn take_stock(bench: &Bench, model: &mut Model) {
    for run in std::mem::take(&mut model.removed) {
        bench.store().delete(run).await.unwrap();
        model.runs.remove(&run);
    }
    for head in bench.store().heads(None, usize::MAX).await.unwrap() {
        if !model.runs.contains_key(&head.run) {
            bench.store().delete(head.run).await.unwrap();
        } else if head.damage.is_some() {
            model.damaged.insert(head.run);
        }
    }
    // What lies beside the frames is only looked at when somebody asks.
    for run in model.runs.keys() {
        if let Err(Error::Damaged { .. }) = see(bench.store(), *run).await {
            model.damaged.insert(*run);
        }
    }
}

/// All that a store shows of a run.
async fn see(store: &dyn Store, run: RunId) -> Result<Expected, Error> {
    let head = store.head(run).await?.ok_or(Error::NotFound(run))?;
    if let Some(reason) = head.damage {
        return Err(Error::Damaged { run, reason });
    }
    let mut blobs = HashMap::new();
    for hash in (0..6).map(|number| blob(number).0) {
        blobs.extend(store.get_blob(run, hash).await?.map(|blob| (hash, blob)));
    }
    let frames = store.read(run, 0).await?;
    assert_eq!(frames.len() as u64, head.length);
    let (epoch, chain, columns) = (head.epoch, head.chain, head.columns);
    Ok(Expected { epoch, frames, chain, columns, inbox: store.inbox(run).await?, blobs })
}

async fn compare(store: &dyn Store, model: &Model) -> Result<(), TestCaseError> {
    let heads = store.heads(None, usize::MAX).await.unwrap();
    let listed: Vec<RunId> = heads.iter().map(|head| head.run).collect();
    prop_assert_eq!(listed, model.runs.keys().copied().collect::<Vec<_>>());
    for (head, (run, expected)) in heads.into_iter().zip(&model.runs) {
        match see(store, *run).await {
            Err(Error::Damaged { .. }) => prop_assert!(model.damaged.contains(run), "run {} is damaged", run),
            Err(error) => panic!("{error}"),
            Ok(seen) => {
                prop_assert!(!model.damaged.contains(run), "run {} is damaged no more", run);
                prop_assert_eq!(&seen, expected);
                prop_assert_eq!(head, expected.head(*run));
            }
        }
    }
    Ok(())
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_table_says(script in vec(burst(), 1..10)) {
        wait(play(Bench { store: Some(Arc::new(Memory::new())), dir: None }, script))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Through crashes and reopening too; and where a crash took what it may not take, the run says so.
    #[test]
    fn sled_does_what_the_table_says(script in vec(burst(), 1..10)) {
        let mut bench = Bench { store: None, dir: Some(tempfile::tempdir().unwrap()) };
        bench.open();
        wait(play(bench, script))?;
    }
}
