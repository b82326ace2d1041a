//! The router of a daemon: its table from the settings, read again when their file changes, and its memory in a file.
//!
//! The memory lies beside the store (`router.json` in the data directory) and is written when a run is let go and every
//! [`EVERY`] while one is driven. Nothing in it is needed: what is lost with a crash is learnt again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{Error, providers, settings::Settings};
use crate::{
    clock::SystemClock,
    provider::catalogue,
    router::{Facts, Memory, Router, Source, Table},
};

/// How often the memory is written while a run is driven.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Where the model references of these settings lead, with nothing opened or asked.
pub fn router(settings: &Settings) -> Result<Router, Error> {
    Ok(Router::with(table(settings)?, source(settings), Memory::default(), Arc::new(SystemClock)))
}

/// The same, remembering what was learnt before.
pub(super) fn remembering(settings: &Settings, home: &Path) -> Result<Router, Error> {
    let memory = fs::read_to_string(file(home)).map(|text| Memory::load(&text)).unwrap_or_default();
    Ok(Router::with(table(settings)?, source(settings), memory, Arc::new(SystemClock)))
}

/// Writes what was learnt, whole or not at all.
pub(super) fn keep(router: &Router, home: &Path) {
    let kept = || -> io::Result<()> {
        let (file, new) = (file(home), file(home).with_extension("new"));
        fs::write(&new, router.memory().save()?)?;
        fs::rename(new, file)
    };
    if let Err(error) = kept() {
        tracing::warn!(%error, "what was learnt of the providers could not be kept");
    }
}

fn file(home: &Path) -> PathBuf {
    home.join("router.json")
}

fn table(settings: &Settings) -> Result<Table, Error> {
    let prices = settings.prices.clone();
    let facts = move |endpoint: &str| {
        let Some((provider, name)) = endpoint.split_once('/') else { return Facts::default() };
        let model = catalogue::built_in().ok().and_then(|catalogue| catalogue.model(provider, name));
        Facts {
            window: model.and_then(|model| model.window),
            tools: model.and_then(|model| model.tools),
            images: model.and_then(|model| model.media).map(|media| media.image),
            price: prices.of(provider, name).map(|(price, _)| price.clone()),
        }
    };
    let table = Table { providers: providers(settings)?, routes: settings.routes.clone(), facts: Arc::new(facts) };
    for (name, route) in &table.routes {
        for target in &route.targets {
            table.check(&target.model).map_err(|error| Error::File(format!("route {name}: {error}")))?;
        }
    }
    Ok(table)
}

/// Gives a new table when the file of the settings has changed. One that is wrong changes nothing, and is told once.
fn source(settings: &Settings) -> Option<Source> {
    let file = settings.file.clone()?;
    let seen = Mutex::new(changed(&file));
    Some(Arc::new(move || {
        let newest = changed(&file);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == newest {
                return None;
            }
            *seen = newest;
        }
        let env = |name: &str| std::env::var(name).ok();
        let dir = file.parent().unwrap_or(Path::new("/"));
        match Settings::load(Some(&file), dir, &env).and_then(|settings| table(&settings)) {
            Ok(table) => Some(table),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "the changed settings are wrong; the earlier ones hold");
                None
            }
        }
    }))
}

/// What tells one state of a file from another.
fn changed(file: &Path) -> Option<(SystemTime, u64)> {
    let data = fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}
