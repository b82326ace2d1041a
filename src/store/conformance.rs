//! What every store promises, once for each store that there is.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    Appended, BlobHash, BoxFuture, Chain, Columns, Error, Head, InboxId, Memory, Part, Store,
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

fn sled() -> Opened {
    let dir = tempfile::tempdir().unwrap();
    Opened { store: Arc::new(Sled::open(dir.path(), Options::default()).unwrap()), _dir: Some(dir) }
}

/// Runs each test against each store.
macro_rules! promises {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test] async fn $name() { super::$name(&*super::memory().store).await })*
        }
        mod in_sled {
            $(#[tokio::test] async fn $name() { super::$name(&*super::sled().store).await })*
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
    Part {
        run,
        epoch,
        expected_length,
        frames: Vec::new(),
        chain: Chain::default(),
        blobs: Vec::new(),
        consumed: Vec::new(),
        columns: None,
    }
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
