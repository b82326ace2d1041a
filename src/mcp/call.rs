//! One call: sent once, waited for, and told apart into answered, never sent and lost.
//!
//! What rmcp says about a call that failed is not exact enough: `TransportClosed` may mean that it was never written or that
//! its answer got lost. So the [`Ticket`] decides: if it can still be withdrawn, not a byte was written and none will
//! be; otherwise the call counts as lost. After a lost call its connection is spent. Dropping the future of a call does
//! the same: the server is told that the call is cancelled, and its connection is spent.

use std::{sync::Arc, time::Duration};

use rmcp::{
    model::{
        CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientRequest,
        MetaObject, RequestId, RequestMetaObject, ServerResult,
    },
    service::{PeerRequestOptions, ServiceError},
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Answered, BoxFuture, Call, GuardId, Outcome, Prepared, Progress, connection::Connection, result, wire::Ticket,
};

/// Where the idempotency key stands in a request's `_meta`.
const KEY: &str = "agentd/idempotencyKey";

/// A connection on which one call can be made.
pub(super) struct Ready(pub Arc<Connection>);

impl Prepared for Ready {
    fn guard(&self) -> Option<GuardId> {
        self.0.guard().cloned()
    }

    fn call<'a>(self: Box<Self>, call: Call, progress: &'a mut (dyn FnMut(Progress) + Send)) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { make(&self.0, call, progress).await })
    }
}

type Answering = oneshot::Receiver<Result<ServerResult, ServiceError>>;

async fn make(connection: &Arc<Connection>, call: Call, progress: &mut (dyn FnMut(Progress) + Send)) -> Outcome {
    let until = after(call.total);
    let Some((ticket, received)) = Ticket::new(&call.arguments) else {
        return Outcome::NeverSent("the arguments are not a JSON object".to_owned());
    };
    // Held until the call is over.
    let _place = match timeout_at(until, connection.place()).await {
        Ok(Some(place)) => place,
        Ok(None) => return Outcome::NeverSent("the server is being ended".to_owned()),
        Err(_) => return Outcome::NeverSent("the server was busy with other calls all the time".to_owned()),
    };

    let mut request = CallToolRequest::new(CallToolRequestParams::new(call.tool.tool.clone()));
    request.extensions.insert(Arc::clone(&ticket));
    let mut meta = MetaObject::new();
    meta.insert(KEY.to_owned(), Value::from(call.idempotency_key.as_str()));
    request.extensions.insert(RequestMetaObject(meta));
    let mut open = Open { connection, ticket, id: None, over: false };
    let options = PeerRequestOptions::no_options();
    let request = connection.peer().send_request_with_option(ClientRequest::CallToolRequest(request), options);
    // rmcp queues the request; its queue is long, but a server that reads nothing fills it.
    let ended = match timeout_at(until, request).await {
        Ok(Ok(handle)) => {
            open.id = Some(handle.id);
            wait(handle.rx, received, &call, until, progress).await
        }
        Ok(Err(error)) => Ended::Broken(error),
        Err(_) => Ended::TotalOver,
    };
    open.outcome(ended, &call).await
}

/// How the waiting ended.
enum Ended {
    Answered(Answered),
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
                Ok(Ok(result)) => Ended::Answered(result::read(result::raw(result))),
                Ok(Err(ServiceError::McpError(error))) => Ended::Answered(result::refused(&error)),
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
    over: bool,
}

impl Open<'_> {
    async fn outcome(mut self, ended: Ended, call: &Call) -> Outcome {
        let broken = matches!(ended, Ended::Broken(_));
        let why = match ended {
            Ended::Answered(answered) => {
                self.over = true;
                return Outcome::Answered(answered);
            }
            Ended::Broken(error) => {
                let words = self.connection.last_words().await;
                format!("the connection to the server broke ({}){words}", short(&error))
            }
            Ended::IdleOver => format!("the server said nothing for {:?}", call.idle),
            Ended::TotalOver => format!("the server did not finish within {:?}", call.total),
        };
        if self.give_up(&why, broken) { Outcome::NeverSent(why) } else { Outcome::Lost(why) }
    }

    /// Takes the call back, or tells the server that nobody waits for it any more. True if it was never sent. Either way
    /// the connection is not to be used again: it broke, or its server does not react.
    fn give_up(&mut self, why: &str, broken: bool) -> bool {
        self.over = true;
        let withdrawn = self.ticket.withdraw();
        let id = self.id.take().filter(|_| !withdrawn);
        let cancel = |id| CancelledNotification::new(CancelledNotificationParam::new(Some(id), Some(why.to_owned())));
        self.connection.spend(broken, id.map(cancel));
        withdrawn
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.give_up("the call was cancelled", false);
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
