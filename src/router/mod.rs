//! Sends a model request to the endpoint it names, and again when an attempt fails in a way that passes.
//!
//! The caller sees every attempt as it happens ([`Attempt`]), so that the engine can journal it. Always true:
//! - A partial answer is a preview; an answer that breaks off is thrown away and asked again.
//! - What waiting cannot help (a wrong key, an empty account, our own fault) is tried once.
//!
//! Left out so far: other endpoints to fail over to, health, quality, money.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::{
    chat::{Answer, Request},
    provider::{Class, Delta, Failure, Provider},
};

/// Most requests for one answer. Four tries with the delays below span about 10 s, which outlasts most short outages.
pub const ATTEMPTS_MAX: usize = 4;

/// First delay between two attempts; doubled each time, with jitter.
const DELAY_MIN: Duration = Duration::from_millis(500);

/// Longest delay between two attempts. A provider that asks for a longer pause makes the run wait instead.
const DELAY_MAX: Duration = Duration::from_secs(8);

/// Knows the providers and asks their models.
#[derive(Clone, Default)]
pub struct Router {
    providers: BTreeMap<String, Arc<dyn Provider>>,
}

/// A model at a provider.
#[derive(Clone)]
pub struct Endpoint {
    name: Arc<str>,
    model: Arc<str>,
    provider: Arc<dyn Provider>,
}

impl Endpoint {
    /// `provider/model`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether a script answers and no model.
    pub fn scripted(&self) -> bool {
        self.provider.scripted()
    }
}

/// Why a model reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not `provider/model`.
    #[error("{0:?} names no model; write it as provider/model")]
    NoModel(String),
    /// No provider has that name.
    #[error("there is no provider {name:?}; known: {}", .known.join(", "))]
    UnknownProvider {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

/// What happens on the way to an answer.
#[derive(Debug)]
pub enum Attempt<'a> {
    /// A request is being sent.
    Asked,
    /// A piece of the answer arrived. Worth nothing if the attempt fails.
    Seen(Delta<'a>),
    /// The attempt brought no answer.
    Failed {
        /// Why.
        failure: &'a Failure,
        /// How long it took.
        latency: Duration,
        /// When the next attempt follows; `None` if this was the last.
        again_in: Option<Duration>,
    },
}

/// An answer and how long the attempt that brought it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// From the request to the end of the answer.
    pub latency: Duration,
}

impl Router {
    /// A router over these providers, by name.
    pub fn new(providers: BTreeMap<String, Arc<dyn Provider>>) -> Self {
        Router { providers }
    }

    /// The endpoint of a model reference, `provider/model`, split at the first slash.
    pub fn resolve(&self, reference: &str) -> Result<Endpoint, Error> {
        let (name, model) = reference
            .split_once('/')
            .filter(|(name, model)| !name.is_empty() && !model.is_empty())
            .ok_or_else(|| Error::NoModel(reference.to_owned()))?;
        let provider = self.providers.get(name).ok_or_else(|| Error::UnknownProvider {
            name: name.to_owned(),
            known: self.providers.keys().cloned().collect(),
        })?;
        Ok(Endpoint { name: reference.into(), model: model.into(), provider: provider.clone() })
    }

    /// Asks for one answer, telling `watch` of every attempt.
    ///
    /// # Errors
    /// The failure of the last attempt, when no attempt is left or none can help.
    pub async fn ask(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        watch: &mut (dyn FnMut(Attempt<'_>) + Send),
    ) -> Result<Reply, Failure> {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(DELAY_MIN)
            .with_max_delay(DELAY_MAX)
            .with_max_times(ATTEMPTS_MAX - 1)
            .with_jitter()
            .build();
        loop {
            watch(Attempt::Asked);
            let begun = Instant::now();
            let asked = endpoint.provider.ask(&endpoint.model, request, &mut |delta| watch(Attempt::Seen(delta))).await;
            let latency = begun.elapsed();
            let failure = match asked {
                Ok(answer) => return Ok(Reply { answer, latency }),
                Err(failure) => failure,
            };
            let again_in = passes(failure.class).then(|| delays.next()).flatten();
            let again_in = match (again_in, failure.retry_after) {
                (Some(delay), Some(asked)) => Some(delay.max(asked)).filter(|delay| *delay <= DELAY_MAX),
                (delay, _) => delay,
            };
            watch(Attempt::Failed { failure: &failure, latency, again_in });
            match again_in {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(failure),
            }
        }
    }
}

/// Whether the same request to the same endpoint may succeed a little later.
pub fn passes(class: Class) -> bool {
    match class {
        Class::Transient | Class::RateLimited | Class::MalformedAnswer => true,
        Class::Quota
        | Class::Credential
        | Class::ModelGone
        | Class::Region
        | Class::ContextTooLong
        | Class::CallerFault
        | Class::ContentRefused => false,
    }
}
