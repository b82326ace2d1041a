//! The life of one server: started when first needed, started again when it died, ended once.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    Error,
    call::Ready,
    connection::{Connection, Surroundings},
    listing::{Listed, Listing},
    server::{Filter, Server},
};
use crate::{
    chat::{EffectSource, ToolDef, same_binding},
    show::redact,
};

/// Attempts to bring a server back for one call.
const ATTEMPTS: usize = 3;

/// Pause before the second attempt; it doubles from then on, with jitter.
const PAUSE: Duration = Duration::from_millis(200);

/// A server that dies more often than this within [`DEATHS_WITHIN`] is left dead until some of that time has passed.
const DEATHS_MAX: usize = 5;

/// See [`DEATHS_MAX`].
const DEATHS_WITHIN: Duration = Duration::from_secs(60);

/// One server of a host.
pub(super) struct Session {
    pub server: Server,
    surroundings: Arc<Surroundings>,
    closing: CancellationToken,
    life: Mutex<Life>,
    told: std::sync::Mutex<Told>,
}

/// What was last listed for the run, and what the server lists now, as far as either is known.
#[derive(Default)]
struct Told {
    listed: Option<Arc<Listing>>,
    /// The connection that calls are made on, and what it lists.
    now: Option<(Arc<Connection>, Arc<Listing>)>,
}

#[derive(Default)]
struct Life {
    connection: Option<Arc<Connection>>,
    /// When it died lately, by itself.
    deaths: VecDeque<Instant>,
    /// What it said when it died last.
    last_words: String,
}

impl Session {
    pub fn new(server: Server, surroundings: Arc<Surroundings>, closing: CancellationToken) -> Self {
        Session { server, surroundings, closing, life: Mutex::default(), told: std::sync::Mutex::default() }
    }

    /// Starts the server if it is not running, and lists the tools that are offered, with what is to be told about them.
    pub async fn list(&self) -> Result<(Vec<Listed>, Vec<String>), Error> {
        let filter = self.filter()?;
        let connection = self.connection(1).await?;
        let listing = match connection.listing(&self.server, true).await {
            Ok(listing) => listing,
            Err(detail) => {
                connection.spend(false);
                return Err(self.not_started(detail));
            }
        };
        *self.told() = Told { listed: Some(Arc::clone(&listing)), now: Some((connection, Arc::clone(&listing))) };
        let tools = listing.tools.iter().filter(|tool| filter.passes(&tool.name)).cloned().collect();
        let warnings = listing.warnings.iter().map(|warning| format!("server {:?}: {warning}", self.server.name));
        Ok((tools, warnings.collect()))
    }

    /// A live connection to a server that offers this very tool, for one call of it.
    pub async fn offering(&self, tool: &ToolDef) -> Result<Ready, Error> {
        let filter = self.filter()?;
        let mut failed = String::new();
        // A server that no longer lists its tools gets one fresh start.
        for _ in 0..2 {
            let connection = self.connection(ATTEMPTS).await?;
            match connection.listing(&self.server, false).await {
                Ok(listing) => {
                    self.told().now = Some((Arc::clone(&connection), Arc::clone(&listing)));
                    let output = check(&self.server, tool, &listing, &filter)?.output.clone();
                    return Ok(Ready { connection, output });
                }
                Err(detail) => failed = detail,
            }
            connection.spend(false);
        }
        Err(self.not_started(failed))
    }

    /// Whether the server lists other tools now than when they were last listed for the run, or has said so.
    pub fn changed(&self) -> bool {
        let told = self.told();
        let Told { listed: Some(listed), now: Some((connection, now)) } = &*told else { return false };
        // One that is gone is looked at when it is needed again.
        connection.is_usable() && (connection.changed() || listed.tools != now.tools)
    }

    /// Nothing is left half done under this lock.
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends the server, whatever it is doing.
    pub async fn close(&self) {
        if let Some(connection) = self.life.lock().await.connection.take() {
            connection.end().await;
        }
    }

    /// The connection, if need be a new one, for which `attempts` are made.
    async fn connection(&self, attempts: usize) -> Result<Arc<Connection>, Error> {
        let closed = || self.not_started("the host is closed".to_owned());
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closed()),
            connection = self.calm(attempts) => connection,
        }
    }

    /// A connection that no call was just cancelled on, or whose server has shown that it reacts.
    async fn calm(&self, attempts: usize) -> Result<Arc<Connection>, Error> {
        let connection = self.connect(attempts).await?;
        connection.settled().await;
        if connection.is_usable() { Ok(connection) } else { self.connect(attempts).await }
    }

    async fn connect(&self, attempts: usize) -> Result<Arc<Connection>, Error> {
        // Held while starting: whoever else needs the server waits for the same start.
        let mut life = self.life.lock().await;
        if let Some(connection) = life.connection.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        // Apart, as all that starting takes is large, and calls hardly ever have to wait for it.
        Box::pin(self.start(&mut life, attempts)).await
    }

    async fn start(&self, life: &mut Life, attempts: usize) -> Result<Arc<Connection>, Error> {
        if life.connection.as_ref().is_some_and(|connection| connection.died()) {
            life.deaths.push_back(Instant::now());
        }
        // The old one first, in full: two of a kind could get in each other's way.
        if let Some(old) = life.connection.clone() {
            old.finish().await;
            life.last_words = old.last_words().await;
            life.connection = None;
        }
        while life.deaths.front().is_some_and(|death| death.elapsed() > DEATHS_WITHIN) {
            life.deaths.pop_front();
        }
        if life.deaths.len() > DEATHS_MAX {
            let within = DEATHS_WITHIN.as_secs();
            let (times, words) = (life.deaths.len(), &life.last_words);
            return Err(self.not_started(format!("it died {times} times within {within} s{words}")));
        }

        let pauses = ExponentialBuilder::default().with_min_delay(PAUSE).with_max_times(attempts - 1).with_jitter();
        let mut pauses = pauses.build();
        loop {
            let detail = match Connection::open(&self.server, &self.surroundings).await {
                Ok(connection) => {
                    life.connection = Some(Arc::clone(&connection));
                    return Ok(connection);
                }
                Err(detail) => detail,
            };
            let Some(pause) = pauses.next() else { return Err(self.not_started(detail)) };
            tracing::debug!(
                server = self.server.name,
                detail = &*redact(&detail),
                ?pause,
                "the server does not start; it is tried again"
            );
            tokio::time::sleep(pause).await;
        }
    }

    fn filter(&self) -> Result<Filter, Error> {
        self.server.filter().map_err(|error| self.not_started(format!("its tools cannot be chosen: {error}")))
    }

    fn not_started(&self, detail: String) -> Error {
        // It may quote the command, the server or the system, and with them what a variable stood for.
        Error::NotStarted { server: self.server.name.clone(), detail: redact(&detail).into_owned() }
    }
}

/// The tool as it is listed now, if it still takes the calls that it took.
fn check<'l>(server: &Server, tool: &ToolDef, listing: &'l Listing, filter: &Filter) -> Result<&'l Listed, Error> {
    let listed = listing.tools.iter().find(|listed| listed.name == tool.origin.tool && filter.passes(&listed.name));
    let change = match listed {
        Some(listed) if listed.hash == tool.hash || binds(server, tool, listed) => return Ok(listed),
        Some(_) => "changed",
        None => "went away",
    };
    Err(Error::Changed { tool: tool.origin.clone(), change })
}

/// Whether a tool that is listed otherwise than before takes the same calls, with the same effect.
fn binds(server: &Server, tool: &ToolDef, listed: &Listed) -> bool {
    let now = listed.hints.judge(server, &listed.name);
    // Where the agent file has the word, hints say nothing.
    let same_effect = tool.effect_source == EffectSource::Agent
        || (now.effect, now.repeatable, now.additive) == (tool.effect, tool.repeatable, tool.additive);
    same_effect && same_binding(&tool.input_schema, &listed.schema)
}
