//! What a router goes by, whatever was measured: the providers, the routes and what is known of models.
//!
//! Always true: a target that [`targets`] gives is at a provider that the table has, or that it knows as not ready.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    purse::{Purse, Tariff},
    rate::Rate,
    route::{Route, Target},
};
use crate::{
    chat::Senses,
    provider::{Price, Provider, catalogue},
    repair::text::TextCalls,
    yaml::nearest,
};

/// What is known of models before anything was measured. `None` of a member: nobody said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Tokens that the model can read, unless its server says otherwise.
    pub window: Option<u64>,
    /// Whether it can call tools.
    pub tools: Option<bool>,
    /// What it takes beside text.
    pub senses: Senses,
    /// What its tokens cost.
    pub price: Option<Price>,
    /// Whether its provider is known to deliver native tool calls.
    pub native_calls: bool,
}

/// Looks up what is known of a model, by `provider/model`.
pub type Lookup = Arc<dyn Fn(&str) -> Facts + Send + Sync>;

/// The providers, routes and facts that a router goes by.
#[derive(Clone)]
pub struct Table {
    /// The providers by name.
    pub providers: BTreeMap<String, Arc<dyn Provider>>,
    /// The providers that cannot be used, by name, each with the reason. Routes skip them.
    pub unready: BTreeMap<String, String>,
    /// The routes by name; no name holds a slash.
    pub routes: BTreeMap<String, Route>,
    /// What is known of models.
    pub facts: Lookup,
    /// What may be asked of providers in a minute, by name; without an entry, anything.
    pub rates: BTreeMap<String, Rate>,
    /// How calls in the text of models are treated, by provider; without an entry, [`TextCalls::Auto`].
    pub text_calls: BTreeMap<String, TextCalls>,
    /// What may be spent; `None`: anything, and nothing is booked.
    pub purse: Option<Purse>,
}

impl Table {
    /// Whether a model, `provider/model`, is at a provider that this table has.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, endpoint: &str) -> Result<(), Error> {
        provider(self, endpoint).map(drop)
    }

    /// Why the provider of an endpoint cannot be used; `None` when it can, or is not known.
    pub fn unready_at(&self, endpoint: &str) -> Option<&str> {
        self.unready.get(endpoint.split_once('/')?.0).map(String::as_str)
    }

    /// What may be asked of the provider of an endpoint.
    pub(super) fn rate(&self, endpoint: &str) -> Rate {
        let provider = endpoint.split_once('/').map(|(provider, _)| provider);
        provider.and_then(|provider| self.rates.get(provider)).copied().unwrap_or_default()
    }
}

impl Default for Table {
    fn default() -> Self {
        Table {
            providers: BTreeMap::new(),
            unready: BTreeMap::new(),
            routes: BTreeMap::new(),
            facts: Arc::new(|_| Facts::default()),
            rates: BTreeMap::new(),
            text_calls: BTreeMap::new(),
            purse: None,
        }
    }
}

/// Where a table comes from that may change.
pub trait Source: Send + Sync {
    /// Whether there may be another table than the one that was read last. Quick: it is asked before each request.
    fn changed(&self) -> bool;
    /// Reads the new table; `None` when nothing has changed after all, or what has is wrong. May block.
    fn read(&self) -> Option<Table>;
}

/// Why a model reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is neither `provider/model` nor a route.
    #[error("{name:?} is no route{}; write provider/model, or name a route of the settings", known(.routes))]
    NoModel {
        /// The reference.
        name: String,
        /// The routes that there are.
        routes: Vec<String>,
    },
    /// No provider that it leads to can be used.
    #[error("{}", unusable(.name, .why))]
    NotReady {
        /// The reference.
        name: String,
        /// Each target, and the reason.
        why: Vec<(String, String)>,
    },
    /// No provider has that name.
    #[error("{}", unknown(.name, .known))]
    UnknownProvider {
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
}

fn known(routes: &[String]) -> String {
    if routes.is_empty() { String::new() } else { format!(" (there are: {})", routes.join(", ")) }
}

fn unusable(name: &str, why: &[(String, String)]) -> String {
    let each = |(endpoint, why): &(String, String)| format!("{endpoint}: {why}");
    match why {
        [(endpoint, why)] if endpoint == name => format!("{name} cannot be used: {why}"),
        why => {
            format!("{name} has no target that can be used: {}", why.iter().map(each).collect::<Vec<_>>().join("; "))
        }
    }
}

/// A provider of the catalogue is only unknown for want of its variables.
fn unknown(name: &str, known: &[String]) -> String {
    let catalogue = catalogue::built_in().ok();
    let missing = catalogue.as_ref().and_then(|catalogue| Some(catalogue.provider(name)?.missing(&|_| None, false)));
    if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
        return format!("the provider {name} needs {} in the environment; see: agentd models", missing.join(" and "));
    }
    let listed = catalogue.iter().flat_map(|catalogue| catalogue.providers()).map(|entry| entry.name.as_str());
    match nearest(name, known.iter().map(String::as_str).chain(listed)) {
        Some(near) => format!("there is no provider {name:?}; did you mean {near:?}?"),
        None => format!("there is no provider {name:?}; known: {}", known.join(", ")),
    }
}

/// The targets of a reference, all of them at known providers, and at least one at a provider that can be used.
pub(super) fn targets(table: &Table, reference: &str) -> Result<Vec<Target>, Error> {
    let targets = match table.routes.get(reference) {
        Some(route) => route.targets.clone(),
        None => vec![Target { model: reference.to_owned(), weight: 1 }],
    };
    let unready = |target: &Target| table.unready_at(&target.model).map(str::to_owned);
    targets.iter().filter(|it| unready(it).is_none()).try_for_each(|it| provider(table, &it.model).map(drop))?;
    if !targets.is_empty() && targets.iter().all(|target| unready(target).is_some()) {
        let why = targets.iter().filter_map(|target| Some((target.model.clone(), unready(target)?))).collect();
        return Err(Error::NotReady { name: reference.to_owned(), why });
    }
    Ok(targets)
}

/// What an endpoint costs.
pub(super) fn tariff(table: &Table, endpoint: &str) -> Tariff {
    match provider(table, endpoint) {
        Ok((provider, _)) if provider.scripted() => Tariff::Free,
        _ => (table.facts)(endpoint).price.map_or(Tariff::Unknown, Tariff::Priced),
    }
}

pub(super) fn provider<'a>(table: &'a Table, endpoint: &'a str) -> Result<(&'a Arc<dyn Provider>, &'a str), Error> {
    let (name, model) = endpoint
        .split_once('/')
        .filter(|(name, model)| !name.is_empty() && !model.is_empty())
        .ok_or_else(|| Error::NoModel { name: endpoint.to_owned(), routes: table.routes.keys().cloned().collect() })?;
    let provider = table.providers.get(name).ok_or_else(|| Error::UnknownProvider {
        name: name.to_owned(),
        known: table.providers.keys().cloned().collect(),
    })?;
    Ok((provider, model))
}
