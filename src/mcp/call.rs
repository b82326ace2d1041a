//! One call: sent once, waited for, and told apart into answered, never sent and lost.
//!
//! What rmcp says about a call that failed is not exact enough: `TransportClosed` may mean that it was never written or that
//! its answer got lost. So the [`Ticket`] decides: if it can still be withdrawn, not a byte was written and none will
//! be; otherwise the call counts as lost. A call whose time is over is cancelled and its server given time to act on that
//! ([`Connection::settle`]); what it answers meanwhile still counts. Dropping the future of a call cancels it, too.
//!
//! A server may answer that it wants the same call again, with a state of its own and nothing else (`input_required`). That
//! is done here, as it is one call to everybody else.

use std::{sync::Arc, time::Duration};

use rmcp::{
    model::{
        CallToolRequest, CallToolRequestParams, ClientRequest, MetaObject, RequestId, RequestMetaObject, ServerResult,
    },
    service::{PeerRequestOptions, ServiceError},
};
use serde_json::{Value, value::RawValue};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Answered, BoxFuture, Call, GuardId, Lost, Outcome, Prepared, Progress,
    connection::{Connection, Settled},
    listing::Output,
    result::{self, Came},
    wire::Ticket,
};
use crate::{chat::Part, repair::clip, show::redact};

/// Where the idempotency key stands in a request's `_meta`.
const KEY: &str = "agentd/idempotencyKey";

/// Most times that a server may want a call again; what rmcp allows (3.9).
const ROUNDS_MAX: u32 = 10;

/// Pause before a call is made again the second time; it doubles from then on.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// How much of a late error, or of what does not fit a schema, is told.
const SAID_BYTES_MAX: usize = 500;

/// A connection on which one call can be made.
pub(super) struct Ready {
    pub connection: Arc<Connection>,
    /// What the tool says of its results.
    pub output: Option<Arc<Output>>,
}

impl Prepared for Ready {
    fn guard(&self) -> Option<GuardId> {
        self.connection.guard().cloned()
    }

    fn call<'a>(self: Box<Self>, call: Call, progress: &'a mut (dyn FnMut(Progress) + Send)) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match make(&self.connection, call, progress).await {
                Outcome::Answered(answered) => Outcome::Answered(self.checked(answered)),
                // It may quote what the server said last, and with it what a variable stood for.
                Outcome::Lost(lost) => Outcome::Lost(Lost { why: redact(&lost.why).into_owned(), ..lost }),
                Outcome::NeverSent(why) => Outcome::NeverSent(redact(&why).into_owned()),
            }
        })
    }
}

impl Ready {
    /// The answer, with a note if it is not what the tool says of its results. Nothing of it is lost.
    fn checked(&self, mut answered: Answered) -> Answered {
        let structured = answered.structured.as_deref().filter(|_| !answered.is_error);
        if let (Some(structured), Some(output)) = (structured, &self.output)
            && let Ok(structured) = serde_json::from_str::<Value>(structured)
            && let Some(Err(faults)) = output.schema().map(|schema| schema.check_value(&structured))
        {
            let faults = clip(faults.trim(), SAID_BYTES_MAX).into_owned();
            answered.notes.push(format!("its structured content does not fit the tool's output schema:\n{faults}"));
        }
        answered
    }
}

type Answering = oneshot::Receiver<Result<ServerResult, ServiceError>>;

async fn make(connection: &Arc<Connection>, call: Call, progress: &mut (dyn FnMut(Progress) + Send)) -> Outcome {
    let until = after(call.total);
    // Held until the call is over.
    let _place = match timeout_at(until, connection.place()).await {
        Ok(Some(place)) => place,
        Ok(None) => return Outcome::NeverSent("the server is being ended".to_owned()),
        Err(_) => return Outcome::NeverSent("the server was busy with other calls all the time".to_owned()),
    };
    let mut state = None;
    for round in 0..=ROUNDS_MAX {
        if round > 1 {
            tokio::time::sleep(ROUND_PAUSE * 2_u32.saturating_pow(round - 2)).await;
        }
        match once(connection, &call, state.take(), until, progress).await {
            Once::Again(wanted) => state = Some(wanted),
            // The server has seen the call before.
            Once::Over(Outcome::NeverSent(why)) if round > 0 => {
                return Outcome::Lost(Lost::new(format!(
                    "the server wanted it again, and it could not be sent: {why}"
                )));
            }
            Once::Over(outcome) => return outcome,
        }
    }
    Outcome::Answered(Answered {
        content: vec![Part::text(format!("the server wanted this call again more than {ROUNDS_MAX} times"))],
        is_error: true,
        ..Answered::default()
    })
}

/// What sending a call once came to.
enum Once {
    Over(Outcome),
    Again(Box<RawValue>),
}

async fn once(
    connection: &Arc<Connection>,
    call: &Call,
    state: Option<Box<RawValue>>,
    until: Instant,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Once {
    let Some((ticket, received)) = Ticket::new(&call.arguments, state) else {
        return Once::Over(Outcome::NeverSent("the arguments are not a JSON object".to_owned()));
    };
    let mut request = CallToolRequest::new(CallToolRequestParams::new(call.tool.tool.clone()));
    request.extensions.insert(Arc::clone(&ticket));
    let mut meta = MetaObject::new();
    meta.insert(KEY.to_owned(), Value::from(call.idempotency_key.as_str()));
    request.extensions.insert(RequestMetaObject(meta));
    let mut open = Open { connection, ticket, id: None, certain: call.certain, over: false };
    let options = PeerRequestOptions::no_options();
    let request = connection.peer().send_request_with_option(ClientRequest::CallToolRequest(request), options);
    // rmcp queues the request; its queue is long, but a server that reads nothing fills it.
    let ended = match timeout_at(until, request).await {
        Ok(Ok(handle)) => {
            open.id = Some(handle.id);
            wait(handle.rx, received, call, until, progress).await
        }
        Ok(Err(error)) => Ended::Broken(error),
        Err(_) => Ended::TotalOver,
    };
    open.outcome(ended, call).await
}

/// How the waiting ended.
enum Ended {
    /// The ticket has what came back.
    Replied,
    /// rmcp gave an error in the server's place.
    Refused(Answered),
    Broken(ServiceError),
    IdleOver,
    TotalOver,
}

async fn wait(
    mut answer: Answering,
    mut received: mpsc::Receiver<Box<Progress>>,
    call: &Call,
    until: Instant,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Ended {
    let mut idle = after(call.idle);
    loop {
        tokio::select! {
            biased;
            Some(told) = received.recv() => {
                idle = after(call.idle);
                progress(*told);
            }
            answer = &mut answer => return match answer {
                Ok(Ok(_)) => Ended::Replied,
                Ok(Err(ServiceError::McpError(error))) => Ended::Refused(result::refused(&error)),
                Ok(Err(error)) => Ended::Broken(error),
                Err(_) => Ended::Broken(ServiceError::TransportClosed),
            },
            () = sleep_until(until.min(idle)) => return if until <= idle { Ended::TotalOver } else { Ended::IdleOver },
        }
    }
}

/// A call that is under way. Dropped before it is over, it is cancelled.
struct Open<'a> {
    connection: &'a Arc<Connection>,
    ticket: Arc<Ticket>,
    /// `None` while rmcp has not taken it.
    id: Option<RequestId>,
    certain: bool,
    over: bool,
}

impl Open<'_> {
    async fn outcome(mut self, ended: Ended, call: &Call) -> Once {
        if let Some(reply) = self.ticket.take_reply() {
            self.over = true;
            return match result::read(reply) {
                Came::Answered(answered) => Once::Over(Outcome::Answered(answered)),
                Came::Again(state) => Once::Again(state.0),
                Came::Unreadable(why) => {
                    let lost = Lost { over: true, ..Lost::new(format!("the server answered, but {why}")) };
                    Once::Over(Outcome::Lost(lost))
                }
            };
        }
        let (why, timed_out) = match ended {
            Ended::Refused(answered) => {
                self.over = true;
                return Once::Over(Outcome::Answered(answered));
            }
            Ended::Replied => ("the server answered, but its answer got lost".to_owned(), false),
            Ended::Broken(error) => {
                let words = self.connection.last_words().await;
                (format!("the connection to the server broke ({}){words}", short(&error)), false)
            }
            Ended::IdleOver => (format!("it timed out after {:?} without a word from the server", call.idle), true),
            Ended::TotalOver => (format!("it timed out after {:?}, the most that a call may take", call.total), true),
        };
        if self.ticket.withdraw() {
            self.over = true;
            self.connection.spend(!timed_out);
            return Once::Over(Outcome::NeverSent(why));
        }
        let Some(id) = self.id.clone().filter(|_| timed_out) else {
            self.over = true;
            self.connection.spend(!timed_out);
            return Once::Over(Outcome::Lost(Lost { timed_out, ..Lost::new(why) }));
        };
        let settled = self.connection.settle(id, &self.ticket, &why, call.certain).await;
        self.over = true;
        Once::Over(late(settled, &self.ticket, why))
    }
}

/// The outcome of a call whose time was over and that was cancelled.
fn late(settled: Settled, ticket: &Ticket, why: String) -> Outcome {
    let came = ticket.take_reply().map(result::read);
    match (settled, came) {
        (_, Some(Came::Answered(mut answered))) if !answered.is_error => {
            answered.notes.push(format!("it came late: {why}"));
            Outcome::Answered(answered)
        }
        (_, Some(Came::Answered(error))) => {
            let said = error.content.iter().find_map(|part| match part {
                Part::Text(text) => Some(clip(text, SAID_BYTES_MAX)),
                _ => None,
            });
            let why = format!("{why}; told to cancel it, the server answered {:?}", said.unwrap_or_default());
            Outcome::Lost(Lost { why, timed_out: true, over: true })
        }
        (Settled::Answered, _) => Outcome::Lost(Lost { why, timed_out: true, over: true }),
        (Settled::Reacts, _) => Outcome::Lost(Lost { why, timed_out: true, over: false }),
        (Settled::Ended, _) => {
            let why = format!("{why}; its server is ended, and starts anew for the next call");
            Outcome::Lost(Lost { why, timed_out: true, over: false })
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        match self.id.take().filter(|_| !self.ticket.withdraw()) {
            Some(id) => self.connection.abandon(id, Arc::clone(&self.ticket), self.certain),
            // Never written, or not known to rmcp: there is nothing to cancel.
            None => self.connection.spend(false),
        }
    }
}

/// That much later, or a lifetime later if that is too much for the clock.
fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or(now + Duration::from_secs(100 * 365 * 24 * 3600))
}

/// An error of rmcp without what a debugger would want to know.
fn short(error: &ServiceError) -> String {
    match error {
        ServiceError::TransportSend(error) => error.error.to_string(),
        other => other.to_string().to_lowercase(),
    }
}
