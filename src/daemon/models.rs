//! Which models could be asked now, and why others could not.
//!
//! What is known stands in the settings and the catalogue; only servers on this machine are asked, for which models they have.
//! All of them at once, and none for longer than two seconds.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::{net::TcpStream, time::timeout};

use super::{
    Error, client,
    settings::{Provider, Server, Settings, Unready},
};
use crate::provider::{
    Price, Timeouts,
    catalogue::{self, Catalogue, Prices, Source},
};

/// How long a server on this machine may take to tell its models: it has them at hand.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest wait for a connection on this machine.
const CONNECT: Duration = Duration::from_millis(500);

/// A provider and its models.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Its name in model references.
    pub provider: String,
    /// What it calls itself; `None` when only the settings know it.
    pub title: Option<String>,
    /// The wire format; `scripted` for a script, `unknown` for one that cannot be used and is not in the catalogue.
    pub dialect: &'static str,
    /// Why it cannot be asked now; `None` when it can.
    pub obstacle: Option<Obstacle>,
    /// Its models, as far as they are known. Others that it serves can be asked as well.
    pub models: Vec<Known>,
}

/// Why a provider cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It lacks something.
    #[error("{0}")]
    Unready(Unready),
    /// Nothing answers at its address.
    #[error("nothing listens on {0}")]
    Silent(String),
    /// It answers, but not with its models.
    #[error("{0}")]
    Refused(String),
}

/// What is known of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The name that the provider has for it.
    pub name: String,
    /// Most tokens of a request and its answer together; `None` when unknown.
    pub window: Option<u64>,
    /// Most tokens of an answer; `None` when unknown.
    pub output: Option<u64>,
    /// What it costs; `None` when unknown.
    pub price: Option<Price>,
    /// Where the price was read; `None` when the settings say so, or nobody does.
    pub source: Option<Source>,
}

/// All providers: those that can be asked first, by name.
pub async fn list(settings: &Settings) -> Result<Vec<Listing>, Error> {
    let catalogue = catalogue::built_in().map_err(|problems| Error::File(problems.to_string()))?;
    let ready = settings.providers.iter().map(|(name, provider)| ready(catalogue, settings, name, provider));
    let mut listings = join_all(ready).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (name, unready) in &settings.unready {
        let entry = catalogue.provider(name);
        listings.push(Listing {
            provider: name.clone(),
            title: entry.map(|entry| entry.title.clone()),
            dialect: entry.map_or("unknown", |entry| entry.dialect.as_str()),
            obstacle: Some(Obstacle::Unready(unready.clone())),
            models: known(catalogue, &settings.prices, name),
        });
    }
    listings.sort_by_key(|listing| listing.obstacle.is_some());
    Ok(listings)
}

async fn ready(catalogue: &Catalogue, settings: &Settings, name: &str, provider: &Provider) -> Result<Listing, Error> {
    let listing = |dialect, obstacle, models| Listing {
        provider: name.to_owned(),
        title: catalogue.provider(name).map(|entry| entry.title.clone()),
        dialect,
        obstacle,
        models,
    };
    let server = match provider {
        Provider::Scripted { .. } => return Ok(listing("scripted", None, known(catalogue, &settings.prices, name))),
        Provider::Server(server) => server,
    };
    let dialect = server.dialect.as_str();
    let mut models = known(catalogue, &settings.prices, name);
    if !server.is_local() {
        return Ok(listing(dialect, None, models));
    }
    match served(name, server).await? {
        Err(obstacle) => Ok(listing(dialect, Some(obstacle), models)),
        Ok(served) => {
            for served in served {
                match models.iter_mut().find(|known| known.name == served.name) {
                    Some(known) => known.window = served.window.or(known.window),
                    None => models.push(Known { window: served.window, ..bare(&settings.prices, name, &served.name) }),
                }
            }
            Ok(listing(dialect, None, models))
        }
    }
}

/// Whether a server on this machine shows the tools of a request to its model; `None` when it does not say.
pub async fn shows_tools(name: &str, server: &Server) -> Option<bool> {
    let timeouts = Timeouts { connect: CONNECT, first_token: PATIENCE, idle: PATIENCE, total: PATIENCE };
    client(name, server, timeouts).ok()?.shows_tools().await
}

/// What a server on this machine has.
async fn served(name: &str, server: &Server) -> Result<Result<Vec<crate::provider::Served>, Obstacle>, Error> {
    let url = server.base_url.parse::<http::Uri>().ok();
    let authority = url.as_ref().and_then(http::Uri::authority);
    if let Some(authority) = authority {
        let port = authority.port_u16().unwrap_or(if server.base_url.starts_with("https") { 443 } else { 80 });
        let host = authority.host();
        let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
        if !matches!(timeout(CONNECT, connecting).await, Ok(Ok(_))) {
            return Ok(Err(Obstacle::Silent(format!("{host}:{port}"))));
        }
    }
    let timeouts = Timeouts { connect: CONNECT, first_token: PATIENCE, idle: PATIENCE, total: PATIENCE };
    let asked = client(name, server, timeouts)?.served().await;
    Ok(asked.map_err(|failure| Obstacle::Refused(failure.message)))
}

/// The models of a provider that the catalogue knows or the settings have a price for.
fn known(catalogue: &Catalogue, prices: &Prices, provider: &str) -> Vec<Known> {
    let mut models: Vec<Known> = catalogue
        .models(provider)
        .iter()
        .map(|model| {
            let own = prices.of(provider, &model.name).filter(|(_, own)| *own).map(|(price, _)| price.clone());
            let source = own.is_none().then(|| model.source.clone());
            Known {
                name: model.name.clone(),
                window: model.window,
                output: model.output,
                price: own.or_else(|| model.price.clone()),
                source,
            }
        })
        .collect();
    for (reference, _) in prices.own() {
        match reference.split_once('/') {
            Some((of, name)) if of == provider && !models.iter().any(|known| known.name == name) => {
                models.push(bare(prices, provider, name));
            }
            _ => {}
        }
    }
    models
}

/// A model of which at most the price is known.
fn bare(prices: &Prices, provider: &str, name: &str) -> Known {
    let price = prices.of(provider, name).map(|(price, _)| price.clone());
    Known { name: name.to_owned(), window: None, output: None, price, source: None }
}
