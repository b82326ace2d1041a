//! What people and other processes want of a run: items that wait in its inbox until the run's owner takes them into
//! the journal.
//!
//! Whoever wants something chooses an [`InboxId`] and calls [`post`]; a second post of the same id changes nothing, so
//! that a caller who is unsure may simply repeat it. The owner sees the items with [`Journal::inbox`](super::Journal::inbox).

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    chaos,
    chat::{CallId, Part},
    run::{Decision, Limits, Resolution, RunId, Time},
    store::{InboxId, Store},
};

use super::{Damage, Error, frame::FRAME_BYTES_MAX, v1};

/// An item of a run's inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// Who posted it.
    pub by: String,
    /// When, by the poster's clock.
    pub at: Time,
    /// What is wanted.
    pub what: What,
}

/// What is wanted of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The agent is told something.
    Prompt {
        /// What.
        parts: Vec<Part>,
    },
    /// Somebody decided about a call.
    Approval {
        /// The call.
        call: CallId,
        /// What was decided.
        decision: Decision,
        /// The arguments that were shown.
        shown: Arc<str>,
        /// The tool, `server.tool`, that the same is to hold for during the rest of the run; `None`: this call alone.
        for_run: Option<String>,
    },
    /// Somebody knows about a call of unknown outcome.
    Doubt {
        /// The call.
        call: CallId,
        /// What is to be done.
        resolution: Resolution,
    },
    /// The run is to stop for good.
    Cancel,
    /// The run is to have other limits.
    Limits {
        /// The limits from here on, all of them.
        limits: Limits,
    },
}

/// An item with its id, as far as it can be read.
pub type InboxItem = (InboxId, Result<Posted, Unreadable>);

/// Why an inbox item cannot be read: it is damaged, or a newer agentd posted it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the inbox item is unreadable here")]
pub struct Unreadable(#[source] pub(super) Damage);

/// Puts an item into a run's inbox; durable when this returns.
///
/// # Errors
/// [`Error::TooLarge`] above 16 MiB; [`Error::Store`] with `NotFound` when there is no such run.
pub async fn post(store: &dyn Store, run: RunId, id: InboxId, posted: &Posted) -> Result<(), Error> {
    let item = v1::encode_posted(posted);
    if item.len() > FRAME_BYTES_MAX {
        return Err(Error::TooLarge { bytes: item.len() });
    }
    chaos::point("post");
    store.post(run, id, item).await?;
    chaos::point("posted");
    Ok(())
}

/// An inbox item as it is stored, JSON.
pub fn write_posted(posted: &Posted) -> Bytes {
    v1::encode_posted(posted)
}

/// Reads an inbox item as it is stored.
///
/// # Errors
/// [`Unreadable`] also when a newer version wrote it.
pub fn read_posted(item: &[u8]) -> Result<Posted, Unreadable> {
    v1::decode_posted(item).map_err(Unreadable)
}
