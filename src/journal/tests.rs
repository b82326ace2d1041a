use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    chat::{Effect, Part as ChatPart, ToolDef},
    repair::Class,
    run::*,
    store::{self, Appended, BlobHash, BoxFuture, Chain, Columns, Head, InboxId, Part, Store},
};

use super::{
    Damage, Error, Journal, Posted, What, frame,
    golden::{every_event, run_id},
    post, v1,
};

/// A store with room for one run, whose appends can be held back and made to fail.
#[derive(Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Whether the outcomes of appends are held back.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    epoch: u64,
    frames: Vec<Bytes>,
    chain: Chain,
    blobs: BTreeMap<BlobHash, Bytes>,
    inbox: Vec<(InboxId, Bytes)>,
    columns: Columns,
    /// Errors for the next appends; `None` lets one through.
    faults: VecDeque<Option<store::Error>>,
    /// Parts that took effect.
    parts: u64,
    /// What another owner does as soon as the frames are read.
    on_read: Option<fn(&mut State)>,
}

impl Shelf {
    pub(super) fn holding(frames: Vec<Bytes>, blobs: Vec<(BlobHash, Bytes)>) -> Self {
        let shelf = Shelf::default();
        {
            let mut state = shelf.state();
            for frame in frames.iter().map(|bytes| frame::decode(bytes).unwrap()) {
                (state.chain, state.epoch) = (frame.chain, state.epoch.max(frame.epoch));
            }
            (state.frames, state.blobs) = (frames.clone(), blobs.into_iter().collect());
        }
        shelf
    }

    pub(super) fn contents(&self) -> (Vec<Bytes>, Vec<(BlobHash, Bytes)>) {
        let state = self.state();
        (state.frames.clone(), state.blobs.clone().into_iter().collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Fails the next appends with these.
    fn fail(&self, faults: impl IntoIterator<Item = Option<store::Error>>) {
        self.state().faults.extend(faults);
    }
}

impl State {
    fn head(&self) -> Head {
        Head {
            run: run_id(),
            epoch: self.epoch,
            length: self.frames.len() as u64,
            chain: self.chain,
            damage: None,
            columns: self.columns.clone(),
        }
    }

    fn append(&mut self, part: Part) -> Result<Appended, store::Error> {
        if let Some(error) = self.faults.pop_front().flatten() {
            return Err(error);
        }
        if part.epoch != self.epoch {
            return Ok(Appended::Fenced { epoch: self.epoch });
        }
        if part.expected_length != self.frames.len() as u64 {
            return Ok(Appended::Misplaced { length: self.frames.len() as u64 });
        }
        self.parts += 1;
        self.frames.extend(part.frames);
        self.chain = part.chain;
        self.blobs.extend(part.blobs);
        self.inbox.retain(|(id, _)| !part.consumed.contains(id));
        if let Some(columns) = part.columns {
            self.columns = columns;
        }
        Ok(Appended::Done)
    }
}

fn ready<T: Send + 'static>(value: T) -> BoxFuture<T> {
    Box::pin(std::future::ready(value))
}

impl Store for Shelf {
    fn room(&self) -> Result<(), store::Error> {
        Ok(())
    }

    fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, store::Error>> {
        let outcome = parts.into_iter().map(|part| self.state().append(part)).collect();
        let mut held = self.held.subscribe();
        Box::pin(async move {
            held.wait_for(|held| !held).await.unwrap();
            outcome
        })
    }

    fn claim(&self, _: RunId) -> BoxFuture<Result<Head, store::Error>> {
        let mut state = self.state();
        state.epoch += 1;
        ready(Ok(state.head()))
    }

    fn read(&self, _: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, store::Error>> {
        let mut state = self.state();
        if let Some(act) = state.on_read.take() {
            act(&mut state);
        }
        ready(Ok(state.frames[index as usize..].to_vec()))
    }

    fn head(&self, _: RunId) -> BoxFuture<Result<Option<Head>, store::Error>> {
        let state = self.state();
        ready(Ok((state.epoch > 0).then(|| state.head())))
    }

    fn heads(&self, _: Option<RunId>, _: usize) -> BoxFuture<Result<Vec<Head>, store::Error>> {
        ready(Ok(vec![self.state().head()]))
    }

    fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), store::Error>> {
        let mut state = self.state();
        if state.epoch == 0 {
            return ready(Err(store::Error::NotFound(run)));
        }
        state.inbox.push((id, item));
        ready(Ok(()))
    }

    fn inbox(&self, _: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, store::Error>> {
        ready(Ok(self.state().inbox.clone()))
    }

    fn changed(&self, _: RunId) -> BoxFuture<()> {
        ready(())
    }

    fn get_blob(&self, _: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, store::Error>> {
        ready(Ok(self.state().blobs.get(&hash).cloned()))
    }

    fn delete(&self, _: RunId) -> BoxFuture<Result<(), store::Error>> {
        *self.state() = State::default();
        ready(Ok(()))
    }
}

const FULL: store::Error = store::Error::Full { free: 1, reserve: 2 };

fn poisoned() -> store::Error {
    store::Error::Poisoned("EIO".into())
}

fn note(message: &str) -> Event {
    Event::Noted(Noted { code: "test".into(), message: message.into(), inbox: None })
}

fn text(text: &str) -> Event {
    Event::InputGiven(InputGiven { inbox: None, by: "anna".into(), parts: vec![ChatPart::text(text)], stopped: false })
}

async fn claim(shelf: &Arc<Shelf>) -> (Journal, Vec<Entry>) {
    Journal::claim(shelf.clone(), run_id()).await.unwrap()
}

/// A shelf with these events, in one part.
async fn shelf_with(events: impl IntoIterator<Item = Event>) -> Arc<Shelf> {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    for event in events {
        journal.push(Time(1), event).unwrap();
    }
    journal.commit().await.unwrap();
    shelf
}

fn messages(entries: &[Entry]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| match &entry.event {
            Event::Noted(noted) => &*noted.message,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Puts together frames from kinds, epochs and payloads, with a sound chain.
fn frames(frames: &[(u16, bool, u64, &str)]) -> Shelf {
    let mut chain = Chain::default();
    let frames = frames
        .iter()
        .map(|(kind, ignorable, epoch, payload)| {
            let (bytes, next) = frame::encode(*kind, *ignorable, *epoch, chain, payload.as_bytes()).unwrap();
            chain = next;
            bytes
        })
        .collect();
    Shelf::holding(frames, Vec::new())
}

async fn read(shelf: &Shelf) -> Result<Vec<Entry>, Error> {
    Journal::read(shelf, run_id()).await
}

/// The first entry that cannot be trusted and what is wrong with it.
fn damage<T: std::fmt::Debug>(result: Result<T, Error>) -> (Option<u64>, Damage) {
    match result {
        Err(Error::Corrupt { run, index, source }) if run == run_id() => (index, source),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn entries_are_read_as_they_were_pushed() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, before) = claim(&shelf).await;
    assert_eq!(before, []);
    let mut pushed = Vec::new();
    for event in every_event() {
        pushed.push(Entry::clone(&journal.push(Time(pushed.len() as i64), event).unwrap()));
    }
    assert_eq!((journal.length(), journal.durable(), journal.pending()), (pushed.len() as u64, 0, true));
    journal.commit().await.unwrap();
    assert_eq!((journal.durable(), journal.pending(), journal.commits()), (pushed.len() as u64, false, 1));

    assert_eq!(read(&shelf).await.unwrap(), pushed);
    let (journal, entries) = claim(&shelf).await;
    assert_eq!(entries, pushed);
    assert_eq!((journal.epoch(), journal.length(), journal.durable()), (2, pushed.len() as u64, pushed.len() as u64));
}

#[tokio::test]
async fn only_the_newest_claim_extends_a_run() {
    let shelf = Arc::new(Shelf::default());
    let (mut first, _) = claim(&shelf).await;
    let (mut second, _) = claim(&shelf).await;
    second.push(Time(1), note("second")).unwrap();
    second.commit().await.unwrap();
    first.push(Time(1), note("first")).unwrap();
    for _ in 0..2 {
        assert!(matches!(first.commit().await, Err(Error::Fenced { run, epoch: 2 }) if run == run_id()));
    }
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["second"]);
}

#[tokio::test]
async fn a_commit_waits_for_what_was_started_before() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    shelf.held.send_replace(true);
    journal.push(Time(1), note("a")).unwrap();
    journal.start_commit();
    journal.push(Time(1), note("b")).unwrap();
    assert_eq!(journal.commit().now_or_never().map(Result::ok), None);
    assert_eq!((journal.durable(), journal.pending()), (0, true));
    shelf.held.send_replace(false);
    // The dropped future above withdrew nothing.
    journal.commit().await.unwrap();
    assert_eq!((journal.durable(), journal.pending()), (2, false));
    assert_eq!(shelf.state().parts, 2);
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn what_was_started_can_be_seen_to_land() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    assert!(journal.landed().now_or_never().is_none(), "nothing is under way");
    shelf.held.send_replace(true);
    for message in ["a", "b"] {
        journal.push(Time(1), note(message)).unwrap();
        assert!(journal.queued());
        journal.start_commit();
        assert!(!journal.queued());
    }
    assert!(journal.landed().now_or_never().is_none());
    shelf.held.send_replace(false);
    for durable in [1, 2] {
        journal.landed().await.unwrap();
        assert_eq!((journal.durable(), journal.commits()), (durable, 0));
    }
    assert!(journal.landed().now_or_never().is_none());

    shelf.fail([Some(FULL), Some(poisoned())]);
    journal.push(Time(1), note("c")).unwrap();
    journal.start_commit();
    assert!(matches!(journal.landed().await, Err(Error::Store(store::Error::Full { .. }))));
    assert!(journal.queued());
    journal.start_commit();
    for _ in 0..2 {
        assert!(matches!(journal.landed().await, Err(Error::Store(store::Error::Poisoned(_)))));
    }
}

#[tokio::test]
async fn commits_without_anything_to_wait_for_are_not_counted() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    journal.commit().await.unwrap();
    journal.start_commit();
    assert_eq!((journal.commits(), shelf.state().parts), (0, 0));
    journal.push(Time(1), note("a")).unwrap();
    journal.start_commit();
    assert_eq!((journal.commits(), shelf.state().parts), (0, 1));
    journal.push(Time(1), note("b")).unwrap();
    journal.push(Time(1), note("c")).unwrap();
    journal.commit().await.unwrap();
    assert_eq!((journal.commits(), shelf.state().parts), (1, 2));
    journal.commit().await.unwrap();
    assert_eq!((journal.commits(), shelf.state().parts), (1, 2));
}

#[tokio::test]
async fn the_failure_of_a_started_commit_comes_with_the_next() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    shelf.fail([Some(poisoned())]);
    journal.push(Time(1), note("a")).unwrap();
    journal.start_commit();
    journal.push(Time(1), note("b")).unwrap();
    for _ in 0..2 {
        assert!(matches!(journal.commit().await, Err(Error::Store(store::Error::Poisoned(_)))));
        journal.push(Time(1), note("c")).unwrap();
    }
    assert_eq!((journal.durable(), shelf.state().parts), (0, 0));
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    let columns = |status: &str| Columns { status: status.into(), ..Columns::default() };
    shelf.fail([Some(FULL), None, Some(FULL)]);
    // The first finds no room, the second then has no place, the third finds no room either.
    for message in ["a", "b", "c"] {
        journal.push(Time(1), note(message)).unwrap();
        journal.set_columns(columns(message));
        journal.start_commit();
    }
    journal.push(Time(1), note("d")).unwrap();
    assert!(matches!(journal.commit().await, Err(Error::Store(store::Error::Full { free: 1, reserve: 2 }))));
    assert_eq!((journal.durable(), journal.pending()), (0, true));
    assert_eq!(shelf.state().parts, 0);

    shelf.fail([Some(FULL)]);
    journal.push(Time(1), note("e")).unwrap();
    assert!(matches!(journal.commit().await, Err(Error::Store(store::Error::Full { .. }))));

    journal.push(Time(1), note("f")).unwrap();
    journal.commit().await.unwrap();
    assert_eq!((journal.durable(), journal.pending(), shelf.state().parts), (6, false, 1));
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(shelf.state().columns, columns("c"));
}

/// Columns alone hold no place, so what follows them may land although they did not.
#[tokio::test]
async fn refused_columns_come_later_but_never_over_newer_ones() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    let columns = |status: &str| Columns { status: status.into(), ..Columns::default() };
    shelf.fail([Some(FULL)]);
    journal.set_columns(columns("waiting"));
    journal.start_commit();
    journal.push(Time(1), note("a")).unwrap();
    assert!(matches!(journal.commit().await, Err(Error::Store(store::Error::Full { .. }))));
    assert_eq!((journal.durable(), journal.pending()), (1, true));
    journal.commit().await.unwrap();
    assert_eq!(shelf.state().columns, columns("waiting"));

    shelf.fail([Some(FULL)]);
    journal.set_columns(columns("running"));
    journal.start_commit();
    journal.push(Time(1), note("b")).unwrap();
    journal.set_columns(columns("done"));
    journal.commit().await.unwrap();
    assert_eq!((journal.durable(), journal.pending()), (2, false));
    assert_eq!(shelf.state().columns, columns("done"));
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn a_journal_that_lost_count_is_corrupt() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    journal.push(Time(1), note("a")).unwrap();
    let stray = journal.written.take();
    journal.queue.frames.clone_from(&stray);
    shelf.state().frames.extend(stray);
    assert_eq!(damage(journal.commit().await), (Some(0), Damage::Length { expected: 0, found: 1 }));
}

#[tokio::test]
async fn columns_and_consumed_items_go_with_the_entries() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    let posted = Posted { by: "anna".into(), at: Time(5), what: What::Cancel };
    for id in [1, 2, 3] {
        post(&*shelf, run_id(), InboxId([id; 16]), &posted).await.unwrap();
    }
    let columns = Columns { status: "cancelled".into(), agent: "triage".into(), ..Columns::default() };
    let cancel = CancelAsked { inbox: Some(InboxId([1; 16]).to_string()), by: "anna".into() };
    journal.push(Time(6), Event::CancelAsked(cancel)).unwrap();
    journal.set_columns(columns.clone());
    let ids = || async { journal_ids(&shelf).await };
    assert_eq!(ids().await, [1, 2, 3]);
    journal.commit().await.unwrap();
    assert_eq!(ids().await, [2, 3]);
    assert_eq!(shelf.state().columns, columns);

    journal.consume(InboxId([3; 16]));
    assert!(journal.pending());
    journal.commit().await.unwrap();
    assert_eq!(ids().await, [2]);
    assert_eq!((journal.durable(), shelf.state().columns.clone()), (1, columns));
}

async fn journal_ids(shelf: &Shelf) -> Vec<u8> {
    shelf.inbox(run_id()).await.unwrap().into_iter().map(|(id, _)| id.0[0]).collect()
}

#[tokio::test]
async fn inbox_items_are_read_as_they_were_posted() {
    let shelf = Arc::new(Shelf::default());
    let call = "t3c1".parse().unwrap();
    let long = "x".repeat(v1::INLINE_BYTES_MAX + 1);
    let approval = What::Approval { call, decision: Decision::Deny(None), shown: "{\"a\": 1}".into(), for_run: None };
    let whats = [
        (What::Prompt { parts: vec![ChatPart::text("go on"), ChatPart::text(long)] }, None),
        (
            approval,
            Some(
                r#"{"type":"approval","data":{"call":"t3c1","decision":{"type":"deny","data":{}},"shown":{"text":"{\"a\": 1}"}}}"#,
            ),
        ),
        (
            What::Approval { call, decision: Decision::Allow, shown: "{}".into(), for_run: Some("files.write".into()) },
            Some(
                r#"{"type":"approval","data":{"call":"t3c1","decision":{"type":"allow"},"shown":{"text":"{}"},"for_run":"files.write"}}"#,
            ),
        ),
        (
            What::Doubt { call, resolution: Resolution::Happened(Some("ok".into())) },
            Some(
                r#"{"type":"doubt","data":{"call":"t3c1","resolution":{"type":"happened","data":{"result":{"text":"ok"}}}}}"#,
            ),
        ),
        (What::Cancel, Some(r#"{"type":"cancel"}"#)),
        (
            What::Limits { limits: Limits { turns: Some(7), ..Limits::default() } },
            Some(r#"{"type":"limits","data":{"limits":{"turns":7}}}"#),
        ),
    ];
    let posted = |what: &What| Posted { by: "anna".into(), at: Time(5), what: what.clone() };
    assert!(matches!(
        post(&*shelf, run_id(), InboxId([0; 16]), &posted(&What::Cancel)).await,
        Err(Error::Store(store::Error::NotFound(run))) if run == run_id()
    ));
    let (journal, _) = claim(&shelf).await;
    for (id, (what, json)) in (0..).zip(&whats) {
        post(&*shelf, run_id(), InboxId([id; 16]), &posted(what)).await.unwrap();
        if let Some(json) = json {
            let item = shelf.state().inbox[usize::from(id)].1.clone();
            assert_eq!(item, format!(r#"{{"by":"anna","at_ms":5,"what":{json}}}"#));
        }
    }
    // One of a newer agentd, which must not stand in the way of the others.
    shelf.post(run_id(), InboxId([9; 16]), r#"{"by":"x","at_ms":1,"what":{"type":"sing"}}"#.into()).await.unwrap();
    let mut items = journal.inbox().await.unwrap();
    let (id, unreadable) = items.pop().unwrap();
    assert_eq!(id, InboxId([9; 16]));
    assert!(unreadable.unwrap_err().0.to_string().contains("unknown variant `sing`"));
    let items: Vec<_> = items.into_iter().map(|(id, item)| (id, item.unwrap())).collect();
    let expected: Vec<_> = (0..).zip(&whats).map(|(id, (what, _))| (InboxId([id; 16]), posted(what))).collect();
    assert_eq!(items, expected);
}

#[tokio::test]
async fn what_could_not_be_read_again_is_not_written() {
    let shelf = Arc::new(Shelf::default());
    let (mut journal, _) = claim(&shelf).await;
    let large = "x".repeat(frame::FRAME_BYTES_MAX);
    assert!(matches!(journal.push(Time(1), note(&large)), Err(Error::TooLarge { bytes }) if bytes > large.len()));
    journal.push(Time(1), note("small")).unwrap();
    journal.commit().await.unwrap();
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["small"]);

    let what = What::Prompt { parts: vec![ChatPart::text(large)] };
    let posted = Posted { by: "anna".into(), at: Time(1), what };
    assert!(matches!(post(&*shelf, run_id(), InboxId([0; 16]), &posted).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn large_texts_are_blobs_and_small_ones_are_not() {
    let small = "s".repeat(v1::INLINE_BYTES_MAX);
    let large = "l".repeat(v1::INLINE_BYTES_MAX + 1);
    let shelf = shelf_with([text(&small), text(&large), text(&large)]).await;
    let (frames, blobs) = shelf.contents();
    assert_eq!(blobs, [(BlobHash(*blake3::hash(large.as_bytes()).as_bytes()), Bytes::from(large.clone()))]);
    assert!(frames[0].len() > small.len() && frames[1].len() < 300);

    let entries = read(&shelf).await.unwrap();
    assert_eq!(
        entries.iter().map(|entry| &entry.event).collect::<Vec<_>>(),
        [&text(&small), &text(&large), &text(&large)]
    );
    let texts: Vec<_> = entries[1..]
        .iter()
        .map(|entry| match &entry.event {
            Event::InputGiven(given) => match &given.parts[0] {
                ChatPart::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(Arc::ptr_eq(&texts[0], &texts[1]), "one blob, one text in memory");
}

#[tokio::test]
async fn a_run_that_is_not_there_is_not_found() {
    let missing = read(&Shelf::default()).await;
    assert!(matches!(missing, Err(Error::Store(store::Error::NotFound(run))) if run == run_id()), "{missing:?}");
    // Deleted while it was read.
    let shelf = shelf_with([note("a")]).await;
    shelf.state().on_read = Some(|state| *state = State::default());
    assert!(matches!(read(&shelf).await, Err(Error::Store(store::Error::NotFound(_)))));
}

#[tokio::test]
async fn another_owner_is_not_taken_for_damage() {
    let shelf = shelf_with([note("a")]).await;
    let other_owner: fn(&mut State) = |state| {
        state.epoch += 1;
        let mut payload = Vec::new();
        v1::encode(Time(2), &note("b"), &mut payload);
        let (frame, chain) = frame::encode(25, true, state.epoch, state.chain, &payload).unwrap();
        state.frames.push(frame);
        state.chain = chain;
    };
    shelf.state().on_read = Some(other_owner);
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["a"]);
    shelf.state().on_read = Some(other_owner);
    let fenced = Journal::claim(shelf.clone(), run_id()).await;
    assert!(matches!(fenced, Err(Error::Fenced { epoch: 4, .. })), "{:?}", fenced.err());
    assert_eq!(messages(&claim(&shelf).await.1), ["a", "b", "b"]);
}

#[tokio::test]
async fn missing_exchanged_and_added_entries_are_noticed() {
    type Change = fn(&mut State);
    let changes: &[(Change, Option<u64>, Damage)] = &[
        (|state| state.frames.clear(), Some(0), Damage::End),
        (|state| drop(state.frames.pop()), Some(1), Damage::End),
        (|state| drop(state.frames.remove(0)), Some(0), Damage::Frame(frame::Error::Chain)),
        (|state| drop(state.frames.remove(1)), Some(1), Damage::Frame(frame::Error::Chain)),
        (|state| state.frames.swap(1, 2), Some(1), Damage::Frame(frame::Error::Chain)),
        (|state| state.frames[1] = state.frames[0].clone(), Some(1), Damage::Frame(frame::Error::Chain)),
        (|state| state.frames.push(state.frames[2].clone()), Some(3), Damage::Frame(frame::Error::Chain)),
        (|state| state.chain.0[0] ^= 1, Some(2), Damage::End),
    ];
    for (number, (change, index, source)) in changes.iter().enumerate() {
        let shelf = shelf_with(["a", "b", "c"].map(note)).await;
        change(&mut shelf.state());
        let (found_index, found) = damage(read(&shelf).await);
        assert_eq!((found_index, &found), (*index, source), "change {number}");
        assert_eq!(damage(Journal::claim(shelf, run_id()).await.map(|_| ())), (found_index, found), "change {number}");
    }
}

/// A head that tells of another number of frames than there are.
#[tokio::test]
async fn a_shorter_history_is_not_taken_for_a_whole_one() {
    struct Short(Arc<Shelf>);
    impl Store for Short {
        fn room(&self) -> Result<(), store::Error> {
            Ok(())
        }

        fn read(&self, run: RunId, index: u64) -> BoxFuture<Result<Vec<Bytes>, store::Error>> {
            let frames = self.0.read(run, index);
            Box::pin(async move { frames.await.map(|frames| frames[..2].to_vec()) })
        }
        fn head(&self, run: RunId) -> BoxFuture<Result<Option<Head>, store::Error>> {
            self.0.head(run)
        }
        fn claim(&self, run: RunId) -> BoxFuture<Result<Head, store::Error>> {
            self.0.claim(run)
        }
        fn append(&self, parts: Vec<Part>) -> BoxFuture<Result<Vec<Appended>, store::Error>> {
            self.0.append(parts)
        }
        fn heads(&self, after: Option<RunId>, limit: usize) -> BoxFuture<Result<Vec<Head>, store::Error>> {
            self.0.heads(after, limit)
        }
        fn post(&self, run: RunId, id: InboxId, item: Bytes) -> BoxFuture<Result<(), store::Error>> {
            self.0.post(run, id, item)
        }
        fn inbox(&self, run: RunId) -> BoxFuture<Result<Vec<(InboxId, Bytes)>, store::Error>> {
            self.0.inbox(run)
        }
        fn changed(&self, run: RunId) -> BoxFuture<()> {
            self.0.changed(run)
        }
        fn get_blob(&self, run: RunId, hash: BlobHash) -> BoxFuture<Result<Option<Bytes>, store::Error>> {
            self.0.get_blob(run, hash)
        }
        fn delete(&self, run: RunId) -> BoxFuture<Result<(), store::Error>> {
            self.0.delete(run)
        }
    }
    let short = Arc::new(Short(shelf_with(["a", "b", "c"].map(note)).await));
    let expected = (Some(2), Damage::Length { expected: 3, found: 2 });
    assert_eq!(damage(Journal::read(&*short, run_id()).await), expected);
    assert_eq!(damage(Journal::claim(short, run_id()).await.map(|_| ())), expected);
}

#[tokio::test]
async fn every_flipped_bit_of_a_journal_is_noticed() {
    let shelf = shelf_with(["a", "b"].map(note)).await;
    let (frames, _) = shelf.contents();
    for (index, bytes) in frames.iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            shelf.state().frames[index] = damaged.into();
            assert_eq!(damage(read(&shelf).await).0, Some(index as u64), "frame {index}, bit {bit}");
        }
        shelf.state().frames[index] = bytes.clone();
    }
    assert_eq!(messages(&read(&shelf).await.unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn damaged_blobs_are_noticed() {
    let shelf = shelf_with([note("a"), text(&"x".repeat(20_000))]).await;
    let hash = shelf.contents().1[0].0;
    let blob = |reason| (Some(1), Damage::Blob { hash: v1::hex(hash), reason });
    shelf.state().blobs.insert(hash, "y".repeat(20_000).into());
    assert_eq!(damage(read(&shelf).await), blob("holds other bytes"));
    shelf.state().blobs.clear();
    assert_eq!(damage(read(&shelf).await), blob("is missing"));

    let noise = BlobHash(*blake3::hash(b"\xff").as_bytes());
    let payload = format!(
        r#"{{"type":"tool_paused","at_ms":1,"data":{{"call":"t1c1","request":{{"blob":"{}"}}}}}}"#,
        v1::hex(noise)
    );
    let shelf = frames(&[(13, false, 1, &payload)]);
    shelf.state().blobs.insert(noise, b"\xff".as_slice().into());
    assert_eq!(damage(read(&shelf).await), (Some(0), Damage::Blob { hash: v1::hex(noise), reason: "is no text" }));
}

#[tokio::test]
async fn what_the_store_calls_damaged_is_corrupt() {
    let error = Error::from(store::Error::Damaged { run: run_id(), reason: "shorter than its slot".into() });
    assert_eq!(damage(Err::<(), _>(error)), (None, Damage::Store("shorter than its slot".into())));
}

#[tokio::test]
async fn epochs_never_fall() {
    const NOTE: &str = r#"{"type":"noted","at_ms":1,"data":{"code":"a","message":"b"}}"#;
    let shelf = frames(&[(25, true, 1, NOTE), (25, true, 3, NOTE), (25, true, 2, NOTE)]);
    assert_eq!(damage(read(&shelf).await), (Some(2), Damage::Epoch { before: 3, found: 2 }));
    let shelf = frames(&[(25, true, 1, NOTE), (25, true, 3, NOTE)]);
    assert_eq!(read(&shelf).await.unwrap().len(), 2);
    shelf.state().epoch = 2;
    assert_eq!(damage(read(&shelf).await), (Some(1), Damage::Epoch { before: 2, found: 3 }));
}

#[tokio::test]
async fn unknown_kinds_are_passed_over_only_if_they_allow_it() {
    let payload = r#"{"type":"sung","at_ms":77,"data":{"song":1}}"#;
    let entries = read(&frames(&[(900, true, 1, payload), (901, true, 1, "not json")])).await.unwrap();
    let passed = |index, at, kind: u16| {
        let message = format!("an entry of kind {kind}, which this version does not know");
        Entry { index, at, event: Event::Noted(Noted { code: "unknown_entry".into(), message, inbox: None }) }
    };
    assert_eq!(entries, [passed(0, Time(77), 900), passed(1, Time(0), 901)]);
    let shelf = frames(&[(900, true, 1, payload), (901, false, 1, payload)]);
    assert_eq!(damage(read(&shelf).await), (Some(1), Damage::Kind(901)));
}

#[tokio::test]
async fn payloads_that_do_not_fit_their_kind_are_damage() {
    let deep =
        format!(r#"{{"type":"woken","at_ms":1,"data":{{"by":"x","new":{}{}}}}}"#, "[".repeat(62), "]".repeat(62));
    let deeper = deep.replace("[[", "[[[").replace("]]", "]]]");
    let cases: &[(u16, &str, &str)] = &[
        (20, r#"{"type":"noted","at_ms":1,"data":{"by":"x"}}"#, "kind 20 is woken, not noted"),
        (20, r#"{"type":"woken","at_ms":1,"data":{}}"#, "missing field `by`"),
        (20, r#"{"type":"woken","at_ms":1.5,"data":{"by":"x"}}"#, "invalid type: floating point `1.5`, expected i64"),
        (20, r#"{"type":"woken","at_ms":1,"data":{"by":"x"}} {}"#, "trailing characters"),
        (20, "", "EOF while parsing a value"),
        (20, &deeper, "deeper than 64 levels"),
        (
            11,
            r#"{"type":"call_lost","at_ms":1,"data":{"call":"x1","attempt":1,"evidence":""}}"#,
            "\"x1\" is not a call id",
        ),
        (24, r#"{"type":"forked","at_ms":1,"data":{"from":"x","at":1}}"#, "\"x\" is not a run id"),
        (
            13,
            r#"{"type":"tool_paused","at_ms":1,"data":{"call":"t1c1","request":{}}}"#,
            "a text must be either here or in a blob",
        ),
        (
            13,
            r#"{"type":"tool_paused","at_ms":1,"data":{"call":"t1c1","request":{"blob":"x"}}}"#,
            "\"x\" is not a blob",
        ),
    ];
    for (kind, payload, why) in cases {
        match damage(read(&frames(&[(*kind, false, 1, payload)])).await) {
            (Some(0), Damage::Payload(found)) => assert!(found.starts_with(why), "{found}"),
            other => panic!("{other:?}"),
        }
    }
    let woken = Event::Woken(Woken { by: "x".into() });
    assert_eq!(read(&frames(&[(20, false, 1, &deep)])).await.unwrap()[0].event, woken);
}

/// Files written by later versions of this format hold fields that we do not know.
#[tokio::test]
async fn unknown_fields_are_passed_over() {
    fn add(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.values_mut().for_each(add);
                fields.insert("new_field".into(), serde_json::json!({"x": [1, {"y": null}]}));
            }
            Value::Array(items) => items.iter_mut().for_each(add),
            _ => {}
        }
    }
    for mut event in every_event() {
        v1::cut_durations(&mut event);
        let mut payload = Vec::new();
        let encoded = v1::encode(Time(4), &event, &mut payload);
        let mut payload: Value = serde_json::from_slice(&payload).unwrap();
        add(&mut payload);
        let shelf = frames(&[(encoded.kind, encoded.ignorable, 1, &payload.to_string())]);
        shelf.state().blobs.extend(encoded.blobs);
        assert_eq!(read(&shelf).await.unwrap(), [Entry { index: 0, at: Time(4), event }]);
    }
}

/// The journal's words are those that the domain shows elsewhere.
#[test]
fn words_are_the_domains() {
    let data = |event: Event| {
        let line = v1::line(&Entry { index: 0, at: Time(0), event });
        serde_json::from_str::<Value>(&line).unwrap()["data"].clone()
    };
    for event in every_event() {
        match event.clone() {
            Event::ToolStarted(started) => assert_eq!(data(event)["effect"], started.effect.as_str()),
            Event::Waiting(waiting) => assert_eq!(data(event)["kind"], waiting.kind.as_str()),
            Event::CallRejected(CallRejected { reason: Rejection::Invalid(diagnosis), .. }) => {
                assert_eq!(data(event)["reason"]["data"]["class"], diagnosis.class.as_str());
            }
            _ => {}
        }
    }
    assert_eq!(Effect::parse("destructive"), Some(Effect::Destructive));
    assert_eq!(Class::LeftInText.as_str(), "left_in_text");
}

/// Schemas come back with their keys in order and their numbers as they were.
#[tokio::test]
async fn schemas_are_kept_exactly() {
    let schema = r#"{"z":1,"a":{"maximum":0.1,"minimum":-1e-7,"const":18446744073709551615},"m":[1.0,5e300]}"#;
    let Some(Event::ToolsListed(mut listed)) =
        every_event().into_iter().find(|event| matches!(event, Event::ToolsListed(_)))
    else {
        panic!("no tools");
    };
    listed.tools =
        [ToolDef { input_schema: Arc::new(serde_json::from_str(schema).unwrap()), ..listed.tools[0].clone() }].into();
    let shelf = shelf_with([Event::ToolsListed(listed.clone())]).await;
    match &read(&shelf).await.unwrap()[0].event {
        Event::ToolsListed(read) => {
            assert_eq!(*read, listed);
            assert_eq!(read.tools[0].input_schema.to_string(), listed.tools[0].input_schema.to_string());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_journal_can_be_driven_from_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    fn futures(journal: &mut Journal, store: Arc<dyn Store>) {
        is_send(&Journal::claim(store.clone(), run_id()));
        is_send(&Journal::read(&*store, run_id()));
        is_send(&journal.inbox());
        is_send(&journal.commit());
        is_send(&journal.landed());
        is_send(journal);
    }
    let _: fn(&mut Journal, Arc<dyn Store>) = futures;
}

/// Takes fields away, and puts odd values in place of others, as the numbers say.
fn spoil(value: &mut Value, odds: &mut impl Iterator<Item = u8>) {
    let odd = odds.next().unwrap_or(255);
    match (odd, &mut *value) {
        (0, _) => *value = Value::Null,
        (1, _) => *value = serde_json::json!({"text": "x", "blob": "y"}),
        (2, _) => *value = serde_json::json!(-1),
        (3, _) => *value = serde_json::json!("t99999999999c1"),
        (4, Value::Object(fields)) => {
            if let Some(first) = fields.keys().next().cloned() {
                fields.shift_remove(&first);
            }
        }
        (_, Value::Object(fields)) => fields.values_mut().for_each(|field| spoil(field, odds)),
        (_, Value::Array(items)) => items.iter_mut().for_each(|item| spoil(item, odds)),
        _ => {}
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

proptest! {
    #[test]
    fn spoilt_payloads_never_panic(pick in any::<prop::sample::Index>(), odds in prop::collection::vec(0u8..24, 0..200)) {
        let events = every_event();
        let mut payload = Vec::new();
        let encoded = v1::encode(Time(4), &events[pick.index(events.len())], &mut payload);
        let mut payload: Value = serde_json::from_slice(&payload).unwrap();
        spoil(&mut payload, &mut odds.into_iter());
        let shelf = frames(&[(encoded.kind, encoded.ignorable, 1, &payload.to_string())]);
        match block_on(read(&shelf)) {
            Ok(_) => {}
            Err(Error::Corrupt { .. }) => {}
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn arbitrary_payloads_never_panic(kind in 0u16..30, payload in "\\PC*") {
        let shelf = frames(&[(kind, false, 1, &payload)]);
        let read = block_on(read(&shelf));
        prop_assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    }

    #[test]
    fn any_text_is_kept_exactly(prompt in "(?s).*") {
        let shelf = block_on(shelf_with([text(&prompt)]));
        prop_assert_eq!(&block_on(read(&shelf)).unwrap()[0].event, &text(&prompt));
    }

    /// Whatever the order of pushes, started and awaited commits, dropped waits and full disks: what is there at the
    /// end is what was pushed.
    #[test]
    fn no_entry_is_lost_or_moved(steps in prop::collection::vec(0u8..7, 1..40)) {
        let shelf = Arc::new(Shelf::default());
        let (mut journal, _) = block_on(claim(&shelf));
        let mut pushed = Vec::new();
        for step in steps {
            match step {
                0 | 1 => {
                    let entry = journal.push(Time(1), note(&format!("{}", pushed.len()))).unwrap();
                    pushed.push(Entry::clone(&entry));
                }
                2 => journal.start_commit(),
                3 => {
                    shelf.held.send_replace(true);
                    let _ = journal.commit().now_or_never();
                    shelf.held.send_replace(false);
                }
                4 => shelf.fail([Some(FULL)]),
                5 => {
                    let landed = journal.landed().now_or_never();
                    let full = matches!(landed, Some(Err(Error::Store(store::Error::Full { .. }))));
                    prop_assert!(full || matches!(landed, None | Some(Ok(()))), "{landed:?}");
                }
                _ => match block_on(journal.commit()) {
                    Ok(()) => prop_assert_eq!((journal.durable(), journal.pending()), (pushed.len() as u64, false)),
                    Err(error) => prop_assert!(matches!(error, Error::Store(store::Error::Full { .. })), "{error:?}"),
                },
            }
            // What counts as durable is there.
            let there = block_on(read(&shelf)).unwrap();
            prop_assert!(journal.durable() <= there.len() as u64);
        }
        shelf.state().faults.clear();
        while let Err(error) = block_on(journal.commit()) {
            prop_assert!(matches!(error, Error::Store(store::Error::Full { .. })), "{error:?}");
        }
        prop_assert_eq!(block_on(read(&shelf)).unwrap(), pushed);
    }
}
