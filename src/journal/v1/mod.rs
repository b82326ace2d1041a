//! What stands in a frame, and in a line of JSON: format version 1 of every event.
//!
//! A payload is `{"type":"tool_started","at_ms":…,"data":{…}}`; a line ([`line()`]) is the same with `"v":1` and
//! `"seq"`, the entry's index, in front. Only this module knows the stored types (`types.rs`); they convert both ways
//! to `run::Event`. Always true:
//! - A kind has one number for ever, and nothing in the stored types is renamed, retyped or removed. Fields may be added
//!   that older entries lack; unknown fields are passed over, unknown words and choices are not.
//! - Ids and hashes are strings, money is whole nano-dollars (`_nano`), durations and times are whole milliseconds
//!   (`_ms`), and no number has a fraction. What says nothing (`null`, `false`, an empty list) is left out.
//! - A text is `{"text":"…"}`, or, above [`INLINE_BYTES_MAX`], `{"blob":"<BLAKE3>","bytes":N}` with the blob beside the
//!   frame. In lines all texts are there.
//! - An entry is the same value before it is written and after it is read.

mod form;
mod types;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    run::{Entry, Event, Noted, Time},
    store::BlobHash,
};

use super::{Damage, Posted, frame::Frame};

use form::{Form, Outgoing, Written, milliseconds};
pub(super) use form::{Incoming, hex};

/// Longest text that stays inside its entry: large enough that most entries are whole by themselves, small enough that
/// listing and replay stay cheap beside large tool results.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Deepest JSON that is read. Ours is not a quarter as deep, since exact texts are strings.
pub const DEPTH_MAX: usize = 64;

/// An entry whose payload was written.
pub(super) struct Encoded {
    pub(super) kind: u16,
    pub(super) ignorable: bool,
    pub(super) blobs: Vec<(BlobHash, Bytes)>,
}

/// All kinds of entries: number, name, event, and whether a reader that does not know it may pass over it.
macro_rules! kinds {
    ($($kind:literal $name:literal $event:ident $ignorable:literal;)*) => {
        /// Writes the payload of an event behind what is there.
        pub(super) fn encode(at: Time, event: &Event, into: &mut Vec<u8>) -> Encoded {
            let texts = Outgoing::new(INLINE_BYTES_MAX);
            let (kind, ignorable) = match event {
                $(Event::$event(data) => {
                    let data = Written::<_, types::$event>::new(data, &texts);
                    json(into, &Payload { r#type: $name.into(), at_ms: at.0, data });
                    ($kind, $ignorable)
                })*
            };
            Encoded { kind, ignorable, blobs: texts.into_blobs() }
        }

        /// The entry as one line of JSON, without a line break at its end.
        pub fn line(entry: &Entry) -> String {
            let texts = Outgoing::new(usize::MAX);
            let mut line = Vec::new();
            match &entry.event {
                $(Event::$event(data) => {
                    let data = Written::<_, types::$event>::new(data, &texts);
                    json(&mut line, &Line { v: 1, seq: entry.index, at_ms: entry.at.0, r#type: $name, data });
                })*
            }
            text(line)
        }

        /// Reads an entry that [`line()`] wrote.
        ///
        /// # Errors
        /// Also for an entry of a kind that this version does not know.
        pub fn read_line(line: &str) -> Result<Entry, Damage> {
            let read: ReadLine<'_> = parse(line.as_bytes())?;
            let mut texts = Incoming::default();
            let event = match &*read.r#type {
                $($name => Event::$event(Form::read(
                    parse::<types::$event>(read.data.get().as_bytes())?,
                    &mut texts,
                )?),)*
                other => return Err(Damage::Payload(format!("an entry of the unknown kind {other}").into())),
            };
            Ok(Entry { index: read.seq, at: Time(read.at_ms), event })
        }

        fn decode_known(frame: &Frame<'_>, texts: &mut Incoming) -> Option<Result<(Time, Event), Damage>> {
            match frame.kind {
                $($kind => Some(payload::<types::$event>(frame, $name).and_then(|(at, data)| {
                    Ok((at, Event::$event(Form::read(data, texts)?)))
                })),)*
                _ => None,
            }
        }

        /// The numbers and names of all kinds.
        #[cfg(test)]
        pub(super) const KINDS: &[(u16, &str)] = &[$(($kind, $name)),*];
    };
}

kinds! {
    1 "started" Started false;
    2 "claimed" Claimed false;
    3 "input_given" InputGiven false;
    4 "tools_listed" ToolsListed false;
    5 "model_asked" ModelAsked false;
    6 "attempt_failed" AttemptFailed false;
    7 "model_answered" ModelAnswered false;
    8 "call_rejected" CallRejected false;
    9 "tool_started" ToolStarted false;
    10 "tool_finished" ToolFinished false;
    11 "call_lost" CallLost false;
    12 "doubt_resolved" DoubtResolved false;
    13 "tool_paused" ToolPaused false;
    14 "approval_asked" ApprovalAsked false;
    15 "approval_given" ApprovalGiven false;
    16 "policy_given" PolicyGiven false;
    17 "cancel_asked" CancelAsked false;
    18 "limits_changed" LimitsChanged false;
    19 "waiting" Waiting false;
    20 "woken" Woken false;
    21 "output_rejected" OutputRejected false;
    22 "compacted" Compacted false;
    23 "rebound" Rebound false;
    24 "forked" Forked false;
    25 "noted" Noted true;
    26 "ended" Ended false;
    27 "tools_changed" ToolsChanged false;
}

/// Reads the entry in a frame. Blobs that it names and `texts` lacks are noted there, and the entry is then not whole:
/// get them and read again.
///
/// An entry of an unknown kind that may be passed over comes as [`Event::Noted`], which changes nothing, so that
/// indexes stay dense.
pub(super) fn decode(index: u64, frame: &Frame<'_>, texts: &mut Incoming) -> Result<Entry, Damage> {
    match decode_known(frame, texts) {
        Some(decoded) => decoded.map(|(at, event)| Entry { index, at, event }),
        None if frame.ignorable => {
            let message = format!("an entry of kind {}, which this version does not know", frame.kind);
            let event = Event::Noted(Noted { code: "unknown_entry".to_owned(), message, inbox: None });
            Ok(Entry { index, at: time(frame), event })
        }
        None => Err(Damage::Kind(frame.kind)),
    }
}

/// The stored form of an inbox item; all its texts are in it, since inboxes have no blobs.
pub(super) fn encode_posted(posted: &Posted) -> Bytes {
    let mut item = Vec::new();
    json(&mut item, &Written::<_, types::Posted>::new(posted, &Outgoing::new(usize::MAX)));
    item.into()
}

/// Reads an inbox item.
pub(super) fn decode_posted(bytes: &[u8]) -> Result<Posted, Damage> {
    let mut texts = Incoming::default();
    let posted = parse::<types::Posted>(bytes)?.read(&mut texts)?;
    match texts.missing.first() {
        Some(hash) => Err(Damage::Blob { hash: hex(*hash), reason: "cannot be named by an inbox item" }),
        None => Ok(posted),
    }
}

/// Cuts the durations of an event to what is stored of them.
pub(super) fn cut_durations(event: &mut Event) {
    fn cut(duration: &mut Duration) {
        *duration = Duration::from_millis(milliseconds(*duration));
    }
    match event {
        Event::Started(started) => started.limits.active.iter_mut().for_each(cut),
        Event::LimitsChanged(changed) => changed.limits.active.iter_mut().for_each(cut),
        Event::AttemptFailed(failed) => cut(&mut failed.latency),
        Event::ToolFinished(finished) => cut(&mut finished.latency),
        Event::ModelAnswered(answered) => {
            cut(&mut answered.latency);
            for resolved in answered.calls.iter_mut().filter_map(|call| call.resolved.as_mut()) {
                cut(&mut resolved.idle);
                cut(&mut resolved.total);
                resolved.retry.iter_mut().for_each(cut);
                resolved.approve.iter_mut().filter_map(|approve| approve.expire.as_mut()).for_each(cut);
            }
        }
        _ => {}
    }
}

#[derive(Serialize, Deserialize)]
struct Payload<'a, D> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    at_ms: i64,
    data: D,
}

#[derive(Serialize)]
struct Line<'a, D> {
    v: u32,
    seq: u64,
    at_ms: i64,
    r#type: &'a str,
    data: D,
}

#[derive(Deserialize)]
struct ReadLine<'a> {
    seq: u64,
    at_ms: i64,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn payload<D: DeserializeOwned>(frame: &Frame<'_>, name: &str) -> Result<(Time, D), Damage> {
    let payload: Payload<'_, D> = parse(frame.payload)?;
    if payload.r#type != name {
        return Err(Damage::Payload(format!("kind {} is {name}, not {}", frame.kind, payload.r#type).into()));
    }
    Ok((Time(payload.at_ms), payload.data))
}

/// When an entry of an unknown kind was made; 1970 if it does not say so in our way.
fn time(frame: &Frame<'_>) -> Time {
    #[derive(Deserialize)]
    struct At {
        at_ms: i64,
    }
    Time(parse::<At>(frame.payload).map_or(0, |at| at.at_ms))
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Damage> {
    if depth(bytes) > DEPTH_MAX {
        return Err(Damage::Payload(format!("deeper than {DEPTH_MAX} levels").into()));
    }
    serde_json::from_slice(bytes).map_err(|error| Damage::Payload(error.to_string().into()))
}

/// How deep arrays and objects are nested in JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[expect(clippy::expect_used, reason = "JSON is UTF-8")]
fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).expect("JSON is UTF-8")
}

#[expect(clippy::expect_used, reason = "stored types have string keys and no numbers that JSON lacks")]
fn json<T: Serialize>(into: &mut Vec<u8>, value: &T) {
    crate::json::write(into, value).expect("stored types are JSON");
}
