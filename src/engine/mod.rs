//! Drives one run: asks the machine what should be in flight, makes it so, and journals what happens.
//!
//! ```text
//! Run::next() ─► Want ─► start what is missing, abort what is gone ─► happenings ─► journal ─► Run::apply()
//! ```
//! Always true:
//! - Nothing is sent before the entry that tells of it is durable: one commit carries an answer, its rejections and
//!   questions, and the start of the group admitted with it.
//! - An entry is shown with its index only when it is durable.
//! - A failed append ends the drive at once; what was applied in memory is dropped with it.
//!
//! Left out on purpose: choosing endpoints and retrying requests (`router`), starting servers (`mcp`), and every
//! decision that follows from the state alone (`run`).

mod drive;
mod inbox;
mod judge;
mod lift;
mod lists;

pub use drive::LEFT_OUT;
pub(crate) use drive::draw;
pub use inbox::{IGNORED, check_arguments};

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

pub use crate::clock::{Clock, SystemClock};

use crate::{
    agent::{Agent, Steps},
    chat::CallId,
    journal::{self, Journal},
    mcp::{self, ToolHost},
    repair::ToolSet,
    router::{self, Router},
    run::{Claimed, Entry, Event, Run, Wait},
    store::Columns,
};

/// What a run needs of the world.
#[derive(Clone)]
pub struct World {
    /// The agent's definition, for the policies that hold for new calls.
    pub agent: Arc<Agent>,
    /// Its tool servers.
    pub host: Arc<dyn ToolHost>,
    /// Optional servers that `host` does not have, and why.
    pub left_out: Vec<(String, String)>,
    /// Knows how to ask models.
    pub router: Router,
    /// The model, or the route to one.
    pub model: router::Model,
    /// Other models for some of the requests.
    pub steps: Steps,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// How a run is driven.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Calls that would ask run without asking. Never what is denied, in doubt, or a held repeat.
    pub allow_all: bool,
    /// Somebody is there who answers questions: the drive stays while the run waits for a person.
    pub attended: bool,
    /// Leave when no provider can be reached, instead of waiting.
    pub no_wait: bool,
}

/// What the owner of a drive wants of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Leave at the next entry: no new work, and tool calls in flight may end.
    Soon,
    /// Leave now: what is in flight is in doubt.
    Now,
}

/// Why a drive left its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The run has ended.
    Ended,
    /// It waits for what this process cannot give: a person, or a provider that waiting does not help with.
    Waiting(Vec<Wait>),
    /// [`Stop`] was asked for.
    Stopped,
}

/// What a follower gets to see while a run is driven.
#[derive(Debug)]
pub enum Seen<'a> {
    /// Something happened; it may not be durable yet, so it is no acknowledgement.
    Applied(&'a Entry),
    /// This entry is durable.
    Durable(&'a Entry),
    /// A piece of an answer on its way; worth nothing if the attempt fails. Empty when what arrives is no text, but
    /// reasoning or a call.
    Text(&'a str),
    /// Before the next request to a model nothing is sent for so long.
    Paused(Duration),
    /// A server tells how far a call is.
    Progress(CallId, &'a mcp::Progress),
}

/// Why a run cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be extended: another owner, a damaged run, or a failed store. The run is let go.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// A required server does not start. The run is as it was.
    #[error(transparent)]
    Tools(#[from] mcp::Error),
    /// The journal holds an entry that does not fit: it is damaged, and a person must look.
    #[error("the journal of this run does not add up")]
    Misfit(#[from] crate::run::Misfit),
}

/// Claims nothing and drives nothing: takes what waits in the inbox of a run that was just claimed into its journal, with
/// all that follows from it by itself, and makes it durable. Returns what the inbox came to. `agent` is `None` when its
/// definition cannot be read any more.
pub async fn absorb(
    run: &mut Run,
    journal: &mut Journal,
    clock: &dyn Clock,
    agent: Option<&Agent>,
    claimed: Claimed,
) -> Result<Vec<Event>, Error> {
    let push = |run: &mut Run, journal: &mut Journal, event| -> Result<(), Error> {
        let entry = journal.push(clock.now().max(run.now()), event)?;
        Ok(run.apply(&entry)?)
    };
    push(run, journal, Event::Claimed(claimed))?;
    let tools = run.tools().map(|listed| listed.tools.clone()).unwrap_or_default();
    let (tools, _) = ToolSet::new(tools);
    let mut taken = Vec::new();
    for (id, posted) in journal.inbox().await? {
        for event in inbox::events(run, &tools, agent, id, posted) {
            taken.push(event.clone());
            push(run, journal, event)?;
        }
        journal.consume(id);
    }
    loop {
        let record = run.next().record;
        if record.is_empty() {
            break;
        }
        for event in record {
            push(run, journal, event)?;
        }
    }
    start_commit(run, journal);
    journal.commit().await?;
    Ok(taken)
}

/// Starts to make durable what is queued, together with what listings show of the run.
pub fn start_commit(run: &Run, journal: &mut Journal) {
    let tally = run.tally();
    journal.set_columns(Columns {
        status: run.headline(),
        agent: run.started().map(|started| started.agent.clone()).unwrap_or_default(),
        created: run.created(),
        updated: run.now(),
        cost_nano: (!tally.cost_unknown).then_some(tally.cost.0),
    });
    journal.start_commit();
}

/// Drives a run until it ends, waits for what this process cannot give, or is told to stop. When this returns, all that
/// was journaled is durable; on an error, what was not yet durable is forgotten. `begun` are entries that `run` holds and
/// nobody has seen yet.
pub async fn drive(
    world: World,
    run: &mut Run,
    journal: &mut Journal,
    begun: Vec<Arc<Entry>>,
    options: Options,
    stop: watch::Receiver<Stop>,
    seen: &mut (dyn FnMut(Seen<'_>) + Send),
) -> Result<Left, Error> {
    drive::Drive::new(world, run, journal, begun, options, stop, seen).go().await
}
