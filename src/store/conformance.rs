//! What every store promises, once for each store that there is.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    Act, Appended, BlobHash, BoxFuture, Chain, Change, Changed, Columns, Error, Expected, Head, InboxId, Key, Memory,
    Part, Record, Store,
    sled::{Options, Sled},
};
use crate::run::{RunId, Time};

/// A store, and what must outlive it.
struct Opened {
    store: Arc<dyn Store>,
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Opened {
    Opened { store: Arc::new(Memory::new()), _dir: None }
}

fn sled(segment: u64) -> Opened {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { segment, ..Options::default() };
    Opened { store: Arc::new(Sled::open(dir.path(), options).unwrap()), _dir: Some(dir) }
}

/// Runs each test against each store.
macro_rules! promises {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $name() { super::$name(&*super::memory().store).await })*
        }
        mod in_sled {
            $(#[tokio::test] async fn $name() { super::$name(&*super::sled(64 << 20).store).await })*
        }
        /// Runs are brought into the copy all the time.
        mod in_sled_that_settles {
            $(#[tokio::test] async fn $name() { super::$name(&*super::sled(1024).store).await })*
        }
    };
}

promises! {
    a_run_begins_with_its_first_claim
    frames_come_back_in_order_from_any_index
    a_part_is_taken_only_at_the_epoch_and_length_it_expects
    parts_take_effect_in_the_order_of_the_calls
    parts_of_one_call_see_each_other
    a_dropped_future_withdraws_nothing
    a_claim_fences_out_whoever_appended_before
    a_part_without_frames_changes_only_the_head
    columns_stay_until_they_are_changed
    large_frames_and_blobs_come_back_whole
    an_inbox_keeps_its_order_and_takes_each_id_once
    what_was_consumed_is_gone_with_the_part_that_took_it_in
    posting_to_nobody_is_an_error
    changed_completes_for_a_post_and_for_a_claim
    heads_are_listed_in_order_and_in_pages
    a_removed_run_is_gone_whole_and_can_begin_anew
    nothing_is_found_of_a_run_that_is_not_there
    a_record_is_set_if_it_is_what_was_expected
    a_number_is_added_to_up_to_its_bound
    records_change_all_at_once_or_not_at_all
    records_change_with_the_part_that_brings_them
    records_are_listed_in_order_by_their_beginning
    records_outlive_the_run_that_brought_them
}

fn run(number: u128) -> RunId {
    RunId::from_bytes(number.to_be_bytes())
}

fn id(number: u8) -> InboxId {
    InboxId([number; 16])
}

fn frames<const N: usize>(texts: [&'static str; N]) -> Vec<Bytes> {
    texts.into_iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

/// A blob with its name.
fn blob(bytes: Vec<u8>) -> (BlobHash, Bytes) {
    (BlobHash(*blake3::hash(&bytes).as_bytes()), bytes.into())
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

/// A part with nothing in it but its place.
fn part(run: RunId, epoch: u64, expected_length: u64) -> Part {
    Part { expected_length, ..Part::empty(run, epoch) }
}

fn key(text: &'static str) -> Key {
    Key::new(text).unwrap()
}

fn text(text: &'static str) -> Record {
    Record::Value(Bytes::from_static(text.as_bytes()))
}

fn set(name: &'static str, expected: Expected, new: Option<Record>) -> Change {
    Change { key: key(name), act: Act::Set { expected, new } }
}

fn add(name: &'static str, delta: i64, at_most: Option<i64>) -> Change {
    Change { key: key(name), act: Act::Add { delta, at_most } }
}

async fn refused(store: &dyn Store, change: Change, found: Option<Record>) {
    assert_eq!(store.change(vec![change]).await.unwrap(), Changed::Refused { change: 0, found });
}

fn with_frames(run: RunId, epoch: u64, expected_length: u64, frames: Vec<Bytes>) -> Part {
    let length = expected_length + frames.len() as u64;
    Part { frames, chain: Chain([u8::try_from(length).unwrap(); 16]), ..part(run, epoch, expected_length) }
}

fn head(run: RunId, epoch: u64, length: u64) -> Head {
    let chain = Chain([u8::try_from(length).unwrap(); 16]);
    Head { run, epoch, length, chain, damage: None, columns: Columns::default() }
}

async fn done(store: &dyn Store, part: Part) {
    assert_eq!(store.append(vec![part]).await.unwrap(), [Appended::Done]);
}

async fn a_run_begins_with_its_first_claim(store: &dyn Store) {
    assert_eq!(store.head(run(1)).await.unwrap(), None);
    assert_eq!(store.claim(run(1)).await.unwrap(), head(run(1), 1, 0));
    assert_eq!(store.head(run(1)).await.unwrap(), Some(head(run(1), 1, 0)));
}

async fn frames_come_back_in_order_from_any_index(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    done(store, with_frames(run(1), 1, 0, frames(["a", "", "c"]))).await;
    done(store, with_frames(run(1), 1, 3, frames(["d"]))).await;
    let all = frames(["a", "", "c", "d"]);
    for index in 0..6 {
        let expected = all.iter().skip(index).cloned().collect::<Vec<_>>();
        assert_eq!(store.read(run(1), index as u64).await.unwrap(), expected, "from {index}");
    }
    assert_eq!(store.head(run(1)).await.unwrap(), Some(head(run(1), 1, 4)));
}

async fn a_part_is_taken_only_at_the_epoch_and_length_it_expects(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    done(store, with_frames(run(1), 1, 0, frames(["a"]))).await;
    let parts = vec![
        with_frames(run(1), 0, 1, frames(["old"])),
        with_frames(run(1), 2, 1, frames(["early"])),
        with_frames(run(1), 1, 0, frames(["again"])),
        with_frames(run(1), 1, 2, frames(["ahead"])),
        with_frames(run(2), 1, 0, frames(["nobody"])),
        with_frames(run(1), 1, 1, frames(["b"])),
    ];
    let expected = [
        Appended::Fenced { epoch: 1 },
        Appended::Fenced { epoch: 1 },
        Appended::Misplaced { length: 1 },
        Appended::Misplaced { length: 1 },
        Appended::Fenced { epoch: 0 },
        Appended::Done,
    ];
    assert_eq!(store.append(parts).await.unwrap(), expected);
    assert_eq!(store.read(run(1), 0).await.unwrap(), frames(["a", "b"]));
    assert_eq!(store.head(run(2)).await.unwrap(), None);
}

async fn parts_take_effect_in_the_order_of_the_calls(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let pipelined: Vec<_> =
        (0..50).map(|index| store.append(vec![with_frames(run(1), 1, index, frames(["x"]))])).collect();
    let claimed = store.claim(run(1));
    let late = store.append(vec![with_frames(run(1), 1, 50, frames(["late"]))]);
    // Asked in the other order than called.
    assert_eq!(late.await.unwrap(), [Appended::Fenced { epoch: 2 }]);
    assert_eq!(claimed.await.unwrap(), head(run(1), 2, 50));
    for appended in pipelined.into_iter().rev() {
        assert_eq!(appended.await.unwrap(), [Appended::Done]);
    }
}

async fn parts_of_one_call_see_each_other(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let parts = (0..3).map(|index| with_frames(run(1), 1, index, frames(["x"]))).collect();
    assert_eq!(store.append(parts).await.unwrap(), [Appended::Done, Appended::Done, Appended::Done]);
    assert_eq!(store.append(Vec::new()).await.unwrap(), []);
}

async fn a_dropped_future_withdraws_nothing(store: &dyn Store) {
    drop(store.claim(run(1)));
    drop(store.append(vec![with_frames(run(1), 1, 0, frames(["a"]))]));
    done(store, with_frames(run(1), 1, 1, frames(["b"]))).await;
    assert_eq!(store.read(run(1), 0).await.unwrap(), frames(["a", "b"]));
}

async fn a_claim_fences_out_whoever_appended_before(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    done(store, with_frames(run(1), 1, 0, frames(["a"]))).await;
    assert_eq!(store.claim(run(1)).await.unwrap(), head(run(1), 2, 1));
    let zombie = store.append(vec![with_frames(run(1), 1, 1, frames(["b"]))]).await.unwrap();
    assert_eq!(zombie, [Appended::Fenced { epoch: 2 }]);
    done(store, with_frames(run(1), 2, 1, frames(["c"]))).await;
    assert_eq!(store.read(run(1), 0).await.unwrap(), frames(["a", "c"]));
}

async fn a_part_without_frames_changes_only_the_head(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    done(store, with_frames(run(1), 1, 0, frames(["a"]))).await;
    let columns = Columns { status: "done".into(), ..Columns::default() };
    done(store, Part { columns: Some(columns.clone()), chain: Chain([9; 16]), ..part(run(1), 1, 1) }).await;
    assert_eq!(store.head(run(1)).await.unwrap(), Some(Head { columns, ..head(run(1), 1, 1) }));
}

async fn columns_stay_until_they_are_changed(store: &dyn Store) {
    let first = Columns {
        status: "running".into(),
        agent: "triage".into(),
        created: Time(-5),
        updated: Time(7),
        cost_nano: Some(3),
    };
    let second = Columns { status: "waiting".into(), cost_nano: None, ..first.clone() };
    store.claim(run(1)).await.unwrap();
    done(store, Part { columns: Some(first.clone()), ..with_frames(run(1), 1, 0, frames(["a"])) }).await;
    done(store, with_frames(run(1), 1, 1, frames(["b"]))).await;
    assert_eq!(store.claim(run(1)).await.unwrap(), Head { columns: first, ..head(run(1), 2, 2) });
    done(store, Part { columns: Some(second.clone()), ..with_frames(run(1), 2, 2, frames(["c"])) }).await;
    store.post(run(1), id(1), Bytes::new()).await.unwrap();
    assert_eq!(store.head(run(1)).await.unwrap(), Some(Head { columns: second, ..head(run(1), 2, 3) }));
}

async fn large_frames_and_blobs_come_back_whole(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let sizes = [1, 4095, 4096, 4097, 8192, 100 * 1024, 2 * 1024 * 1024];
    let large: Vec<Bytes> = (0..).zip(sizes).map(|(seed, size)| noise(seed, size).into()).collect();
    let blobs: Vec<_> = (100..).zip(sizes).map(|(seed, size)| blob(noise(seed, size))).collect();
    let empty = blob(Vec::new());
    let all = blobs.iter().cloned().chain([empty]).collect::<Vec<_>>();
    done(store, Part { blobs: all.clone(), ..with_frames(run(1), 1, 0, large.clone()) }).await;
    // A blob that is there already is no matter.
    done(store, Part { blobs: all[..1].to_vec(), ..with_frames(run(1), 1, 7, frames(["x"])) }).await;
    assert_eq!(store.read(run(1), 0).await.unwrap()[..7], large);
    for (hash, bytes) in all {
        assert_eq!(store.get_blob(run(1), hash).await.unwrap(), Some(bytes));
    }
}

async fn an_inbox_keeps_its_order_and_takes_each_id_once(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let large = Bytes::from(noise(1, 10_000));
    let posts = [(id(3), large.clone()), (id(1), Bytes::from_static(b"b")), (id(3), Bytes::from_static(b"again"))];
    let posted: Vec<_> = posts.iter().map(|(id, item)| store.post(run(1), *id, item.clone())).collect();
    for post in posted {
        post.await.unwrap();
    }
    store.post(run(1), id(1), Bytes::from_static(b"again")).await.unwrap();
    store.post(run(1), id(2), Bytes::from_static(b"c")).await.unwrap();
    let expected = [(id(3), large), (id(1), Bytes::from_static(b"b")), (id(2), Bytes::from_static(b"c"))];
    assert_eq!(store.inbox(run(1)).await.unwrap(), expected);
}

async fn what_was_consumed_is_gone_with_the_part_that_took_it_in(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let one = Bytes::from(noise(1, 9_000));
    // In one go, so that what is consumed may not have reached the engine yet.
    let posted = [store.post(run(1), id(1), one.clone()), store.post(run(1), id(2), one.clone())];
    let refused = store.append(vec![Part { consumed: vec![id(1)], ..with_frames(run(1), 1, 9, frames(["no"])) }]);
    let taken =
        store.append(vec![Part { consumed: vec![id(1), id(9)], ..with_frames(run(1), 1, 0, frames(["took 1"])) }]);
    let again = store.post(run(1), id(1), Bytes::from_static(b"a second life"));
    for post in posted {
        post.await.unwrap();
    }
    assert_eq!(refused.await.unwrap(), [Appended::Misplaced { length: 0 }]);
    assert_eq!(taken.await.unwrap(), [Appended::Done]);
    again.await.unwrap();
    let left = [(id(2), one), (id(1), Bytes::from_static(b"a second life"))];
    assert_eq!(store.inbox(run(1)).await.unwrap(), left);
    done(store, Part { consumed: vec![id(2), id(1)], ..part(run(1), 1, 1) }).await;
    assert_eq!(store.inbox(run(1)).await.unwrap(), []);
}

async fn posting_to_nobody_is_an_error(store: &dyn Store) {
    let posted = store.post(run(1), id(1), Bytes::new()).await;
    assert!(matches!(posted, Err(Error::NotFound(nobody)) if nobody == run(1)), "{posted:?}");
    assert_eq!(store.inbox(run(1)).await.unwrap(), []);
}

async fn changed_completes_for_a_post_and_for_a_claim(store: &dyn Store) {
    fn is_ready(future: &mut BoxFuture<()>) -> bool {
        matches!(Pin::new(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    }
    store.claim(run(1)).await.unwrap();
    let mut before = store.changed(run(1));
    assert!(!is_ready(&mut before));
    // Nobody has looked at this one yet, and still it must not miss anything.
    let unpolled = store.changed(run(1));
    store.post(run(1), id(1), Bytes::new()).await.unwrap();
    before.await;
    unpolled.await;
    let claimed = store.changed(run(1));
    store.claim(run(1)).await.unwrap();
    claimed.await;
}

async fn heads_are_listed_in_order_and_in_pages(store: &dyn Store) {
    for number in [5, 1, 9, 3, 7] {
        store.claim(run(number)).await.unwrap();
    }
    done(store, with_frames(run(3), 1, 0, frames(["a", "b"]))).await;
    let all = [head(run(1), 1, 0), head(run(3), 1, 2), head(run(5), 1, 0), head(run(7), 1, 0), head(run(9), 1, 0)];
    assert_eq!(store.heads(None, 100).await.unwrap(), all);
    assert_eq!(store.heads(None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.heads(Some(run(3)), 2).await.unwrap(), all[2..4]);
    assert_eq!(store.heads(Some(run(4)), 100).await.unwrap(), all[2..]);
    assert_eq!(store.heads(Some(run(9)), 100).await.unwrap(), []);
    assert_eq!(store.heads(None, 0).await.unwrap(), []);
}

async fn a_removed_run_is_gone_whole_and_can_begin_anew(store: &dyn Store) {
    let (hash, bytes) = blob(noise(1, 50_000));
    for number in 1..=3 {
        store.claim(run(number)).await.unwrap();
        let blobs = vec![(hash, bytes.clone())];
        done(store, Part { blobs, ..with_frames(run(number), 1, 0, frames(["a", "b"])) }).await;
        store.post(run(number), id(1), bytes.clone()).await.unwrap();
    }
    // All at once, so that what is removed is partly still on its way.
    let late = store.append(vec![with_frames(run(2), 1, 2, frames(["late"]))]);
    let removed = [store.delete(run(2)), store.delete(run(2)), store.delete(run(99))];
    let zombie = store.append(vec![with_frames(run(2), 1, 3, frames(["zombie"]))]);
    let posted = store.post(run(2), id(2), Bytes::new());
    assert_eq!(late.await.unwrap(), [Appended::Done]);
    for removed in removed {
        removed.await.unwrap();
    }
    assert_eq!(zombie.await.unwrap(), [Appended::Fenced { epoch: 0 }]);
    assert!(matches!(posted.await, Err(Error::NotFound(_))));
    assert_eq!(store.heads(None, 9).await.unwrap(), [head(run(1), 1, 2), head(run(3), 1, 2)]);
    nothing_is_found(store, run(2), hash).await;
    assert_eq!(store.get_blob(run(1), hash).await.unwrap(), Some(bytes.clone()));
    assert_eq!(store.inbox(run(3)).await.unwrap(), [(id(1), bytes)]);

    let again = [store.delete(run(2)), store.delete(run(3))];
    assert_eq!(store.claim(run(2)).await.unwrap(), head(run(2), 1, 0));
    for again in again {
        again.await.unwrap();
    }
    done(store, with_frames(run(2), 1, 0, frames(["new"]))).await;
    assert_eq!(store.read(run(2), 0).await.unwrap(), frames(["new"]));
    assert_eq!(store.get_blob(run(2), hash).await.unwrap(), None);
    assert_eq!(store.inbox(run(2)).await.unwrap(), []);
}

async fn nothing_is_found_of_a_run_that_is_not_there(store: &dyn Store) {
    nothing_is_found(store, run(1), BlobHash([0; 32])).await;
    assert_eq!(store.heads(None, 9).await.unwrap(), []);
}

async fn nothing_is_found(store: &dyn Store, run: RunId, hash: BlobHash) {
    assert_eq!(store.head(run).await.unwrap(), None);
    assert_eq!(store.read(run, 0).await.unwrap(), Vec::<Bytes>::new());
    assert_eq!(store.inbox(run).await.unwrap(), []);
    assert_eq!(store.get_blob(run, hash).await.unwrap(), None);
}

async fn a_record_is_set_if_it_is_what_was_expected(store: &dyn Store) {
    assert_eq!(store.record(key("a")).await.unwrap(), None);
    refused(store, set("a", Expected::Is(Some(text("1"))), Some(text("2"))), None).await;
    let first = set("a", Expected::Is(None), Some(text("1")));
    assert_eq!(store.change(vec![first.clone()]).await.unwrap(), Changed::Done);
    refused(store, first, Some(text("1"))).await;
    refused(store, set("a", Expected::Is(Some(text("2"))), None), Some(text("1"))).await;
    let next = set("a", Expected::Is(Some(text("1"))), Some(text("2")));
    assert_eq!(store.change(vec![next]).await.unwrap(), Changed::Done);
    assert_eq!(store.record(key("a")).await.unwrap(), Some(text("2")));
    let removed = [set("a", Expected::Any, None), set("b", Expected::Any, None)];
    assert_eq!(store.change(removed.to_vec()).await.unwrap(), Changed::Done);
    assert_eq!(store.record(key("a")).await.unwrap(), None);
    let large = Record::Value(Bytes::from(vec![0; Record::BYTES_MAX + 1]));
    refused(store, set("a", Expected::Any, Some(large)), None).await;
}

async fn a_number_is_added_to_up_to_its_bound(store: &dyn Store) {
    let added: Vec<_> = (0..10).map(|_| store.change(vec![add("n", 3, Some(10))])).collect();
    let mut done = 0;
    for added in added {
        match added.await.unwrap() {
            Changed::Done => done += 1,
            refused => assert_eq!(refused, Changed::Refused { change: 0, found: Some(Record::Count(9)) }),
        }
    }
    assert_eq!((done, store.record(key("n")).await.unwrap()), (3, Some(Record::Count(9))));
    // What settles a reservation lowers it, however low the bound is by now.
    assert_eq!(store.change(vec![add("n", -2, Some(0))]).await.unwrap(), Changed::Done);
    assert_eq!(store.change(vec![add("n", 1, None)]).await.unwrap(), Changed::Done);
    assert_eq!(store.record(key("n")).await.unwrap(), Some(Record::Count(8)));
    refused(store, add("n", i64::MAX, None), Some(Record::Count(8))).await;
    store.change(vec![set("t", Expected::Any, Some(text("no number")))]).await.unwrap();
    refused(store, add("t", 1, None), Some(text("no number"))).await;
}

async fn records_change_all_at_once_or_not_at_all(store: &dyn Store) {
    let changes = vec![add("a", 1, None), add("a", 1, Some(2)), add("b", 1, None), add("a", 1, Some(2))];
    let refused = Changed::Refused { change: 3, found: Some(Record::Count(2)) };
    assert_eq!(store.change(changes.clone()).await.unwrap(), refused);
    assert_eq!((store.record(key("a")).await.unwrap(), store.record(key("b")).await.unwrap()), (None, None));
    assert_eq!(store.change(changes[..3].to_vec()).await.unwrap(), Changed::Done);
    assert_eq!(store.record(key("a")).await.unwrap(), Some(Record::Count(2)));
    assert_eq!(store.change(Vec::new()).await.unwrap(), Changed::Done);
}

async fn records_change_with_the_part_that_brings_them(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let with = |length, records| Part { records, ..with_frames(run(1), 1, length, frames(["x"])) };
    let mine = || set("key", Expected::Is(None), Some(text("run 1")));
    done(store, with(0, vec![mine(), add("spent", 5, Some(7))])).await;
    // In one go: the second is refused by what the first has made of it, the third by its place, before its records.
    let parts = vec![
        with(1, vec![add("spent", 1, Some(7))]),
        with(2, vec![add("spent", 2, Some(7)), mine()]),
        with(9, vec![mine()]),
        with(2, vec![add("spent", 1, Some(7))]),
    ];
    let expected = [
        Appended::Done,
        Appended::Refused { change: 0, found: Some(Record::Count(6)) },
        Appended::Misplaced { length: 2 },
        Appended::Done,
    ];
    assert_eq!(store.append(parts).await.unwrap(), expected);
    let twice = with(3, vec![add("spent", -1, None), mine()]);
    let refused = Appended::Refused { change: 1, found: Some(text("run 1")) };
    assert_eq!(store.append(vec![twice]).await.unwrap(), [refused]);
    assert_eq!(store.read(run(1), 0).await.unwrap().len(), 3);
    assert_eq!(store.record(key("spent")).await.unwrap(), Some(Record::Count(7)));
}

async fn records_are_listed_in_order_by_their_beginning(store: &dyn Store) {
    for name in ["b/2", "a", "b/1", "b", "c", "b/3"] {
        store.change(vec![set(name, Expected::Any, Some(text(name)))]).await.unwrap();
    }
    let names = |found: Vec<(Key, Record)>| found.into_iter().map(|(key, _)| key.to_string()).collect::<Vec<_>>();
    let list = |prefix: &'static str, after: Option<Key>, limit| {
        store.records(Bytes::from_static(prefix.as_bytes()), after, limit)
    };
    assert_eq!(names(list("", None, 9).await.unwrap()), ["a", "b", "b/1", "b/2", "b/3", "c"]);
    assert_eq!(names(list("b/", None, 9).await.unwrap()), ["b/1", "b/2", "b/3"]);
    assert_eq!(names(list("b/", Some(key("b/1")), 1).await.unwrap()), ["b/2"]);
    assert_eq!(names(list("b/", Some(key("a")), 1).await.unwrap()), ["b/1"]);
    assert_eq!(names(list("d", None, 9).await.unwrap()), Vec::<String>::new());
}

async fn records_outlive_the_run_that_brought_them(store: &dyn Store) {
    store.claim(run(1)).await.unwrap();
    let records = vec![set("key", Expected::Is(None), Some(text("run 1")))];
    done(store, Part { records, ..with_frames(run(1), 1, 0, frames(["x"])) }).await;
    store.delete(run(1)).await.unwrap();
    assert_eq!(store.record(key("key")).await.unwrap(), Some(text("run 1")));
}
