//! A history, as bytes: a frame as it stands in a store; and lines of JSON, each the payload of an entry, which a store
//! holds in frames that are sound.

use std::sync::Arc;

use agentd::{
    journal::{
        Error, Journal,
        frame::{self, HEADER_BYTES},
        v1,
    },
    run::{Entry, Run, RunId},
    store::{Appended, Chain, Memory, Part, Store},
};
use futures_util::FutureExt;

/// The names of all kinds of entries, in the order of their numbers, from 1.
const KINDS: &[&str] = &[
    "started",
    "claimed",
    "input_given",
    "tools_listed",
    "model_asked",
    "attempt_failed",
    "model_answered",
    "call_rejected",
    "tool_started",
    "tool_finished",
    "call_lost",
    "doubt_resolved",
    "tool_paused",
    "approval_asked",
    "approval_given",
    "policy_given",
    "cancel_asked",
    "limits_changed",
    "waiting",
    "woken",
    "output_rejected",
    "compacted",
    "rebound",
    "forked",
    "noted",
    "ended",
];

/// Entries of one history; looking at a run after each of them is work.
const LINES_MAX: usize = 64;

/// Checks what is read from a store.
pub fn check(bytes: &[u8]) {
    decode(bytes);
    let Some(entries) = read(bytes) else { return };
    assert_eq!(written_again(&entries), entries);
    let mut run = Run::default();
    for entry in &entries {
        v1::line(entry);
        let before = run.length();
        if run.apply(entry).is_err() {
            assert_eq!(run.length(), before, "an event that does not fit changes nothing: {entry:?}");
            break;
        }
        // Looks only; twice the same.
        assert_eq!(format!("{:?}", run.next()), format!("{:?}", run.next()));
        run.conversation();
        run.status();
    }
}

/// A frame that is read is written the same way again; any change of it is noticed.
fn decode(bytes: &[u8]) {
    let Ok(found) = frame::decode(bytes) else { return };
    assert_eq!(found.payload.len() + HEADER_BYTES, bytes.len());
    if found.verify(Chain::default()).is_ok() {
        let again = frame::encode(found.kind, found.ignorable, found.epoch, Chain::default(), found.payload).unwrap();
        assert_eq!(again.0, bytes);
    }
    let mut changed = bytes.to_vec();
    let at = bytes.len() / 2;
    changed[at] ^= 1;
    assert!(frame::decode(&changed).is_err(), "byte {at} was changed and nobody noticed");
}

/// The entries that the lines are; `None` when they are none.
fn read(bytes: &[u8]) -> Option<Vec<Entry>> {
    let store = Arc::new(Memory::new());
    let run = RunId::from_bytes([1; 16]);
    let head = ready(store.claim(run)).unwrap();
    let mut part = Part::empty(run, head.epoch);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(LINES_MAX) {
        let (frame, chain) = frame::encode(kind(line), false, head.epoch, part.chain, line).unwrap();
        part.frames.push(frame);
        part.chain = chain;
    }
    assert!(matches!(ready(store.append(vec![part])).unwrap()[..], [Appended::Done]));
    match ready(Journal::read(&*store, run)) {
        Ok(entries) => Some(entries),
        Err(Error::Corrupt { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The number of the kind that a payload says it is; an unknown one for any other.
fn kind(line: &[u8]) -> u16 {
    let line = String::from_utf8_lossy(line);
    let named = line.split_once("\"type\":\"").and_then(|(_, rest)| rest.split_once('"'));
    let at = named.and_then(|(name, _)| KINDS.iter().position(|kind| *kind == name));
    at.map_or(999, |at| at as u16 + 1)
}

/// The entries, pushed into a journal of their own and read from it.
fn written_again(entries: &[Entry]) -> Vec<Entry> {
    let store = Arc::new(Memory::new());
    let run = RunId::from_bytes([2; 16]);
    let (mut journal, _) = ready(Journal::claim(store.clone(), run)).unwrap();
    for entry in entries {
        journal.push(entry.at, entry.event.clone()).unwrap();
    }
    ready(journal.commit()).unwrap();
    ready(Journal::read(&*store, run)).unwrap()
}

/// What the store in memory answers; it never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the store in memory does not wait")
}
