//! The router of a daemon: its table from the settings, read again when their file changes, and its memory in a file.
//!
//! The memory lies beside the store (`router.json` in the data directory) and is written when a run is let go and every
//! [`EVERY`] while one is driven. Nothing in it is needed: what is lost with a crash is learnt again. Always true:
//! - The file is whole: it is written under a name of its own and renamed, by one writer at a time.
//! - A provider about which the settings say the same as before keeps its client, and so its connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::{task::spawn_blocking, time::Instant};
use uuid::Uuid;

use super::{
    Error, client,
    settings::{self, Server, Settings, Unready},
    spend,
    variables::Variables,
};
use crate::{
    chat::Senses,
    clock::SystemClock,
    engine::World,
    provider::{Provider, catalogue, scripted},
    router::{Facts, Memory, Router, Source, Table},
};

/// How often the memory is written while runs are driven.
const EVERY: Duration = Duration::from_secs(10);

/// Where the model references of these settings lead, with nothing opened or asked.
pub fn router(settings: &Settings) -> Result<Router, Error> {
    with(settings, None, Memory::default())
}

/// The same, remembering what was learnt before.
pub(super) fn remembering(settings: &Settings, home: &Path) -> Result<Router, Error> {
    with(settings, Some(home), fs::read_to_string(file(home)).map(|text| Memory::load(&text)).unwrap_or_default())
}

fn with(settings: &Settings, home: Option<&Path>, memory: Memory) -> Result<Router, Error> {
    let mut made = Made::default();
    let table = paid(made.table(settings)?, settings, home);
    let watched = |file| {
        let home = home.map(Path::to_owned);
        Arc::new(Watched::new(file, home, settings.variables.clone(), made)) as Arc<dyn Source>
    };
    let source = settings.file.clone().map(watched);
    Ok(Router::with(table, source, memory, Arc::new(SystemClock)))
}

/// The same with the budgets of these settings. Without a data directory nothing is booked, and none holds.
fn paid(table: Table, settings: &Settings, home: Option<&Path>) -> Table {
    Table { purse: home.and_then(|home| spend::purse(settings, home)), ..table }
}

fn file(home: &Path) -> PathBuf {
    home.join("router.json")
}

/// Writes what a router has learnt to its file.
pub(super) struct Keeper {
    file: PathBuf,
    /// When the newest writing began; held while it lasts.
    begun: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

impl Keeper {
    pub(super) fn new(home: &Path) -> Self {
        Keeper { file: file(home), begun: Arc::default() }
    }

    /// Writes what was learnt, whole or not at all, unless another writing began after `since`. Once begun, it ends by
    /// itself, whether it is waited for or not.
    pub(super) async fn keep(&self, router: &Router, since: Instant) {
        let mut begun = self.begun.clone().lock_owned().await;
        if begun.is_some_and(|begun| begun > since) {
            return;
        }
        *begun = Some(Instant::now());
        let (router, file) = (router.clone(), self.file.clone());
        let writing = spawn_blocking(move || {
            let written = write(&router.memory(), &file);
            drop(begun);
            written
        });
        if let Err(error) = writing.await.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "what was learnt of the providers could not be kept");
        }
    }

    /// Writes it now and then, as long as this is polled. Runs that are driven at once share the writings.
    pub(super) async fn keep_on(&self, router: &Router) -> Infallible {
        let mut tick = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        loop {
            let now = tick.tick().await;
            self.keep(router, now.checked_sub(EVERY / 2).unwrap_or(now)).await;
        }
    }
}

/// What goes on beside a drive: the router learns what servers on this machine can read, and what it learns is kept.
pub(super) async fn look_after(keeper: &Keeper, world: &World) -> Infallible {
    let models = [&**world.model.name()].into_iter().chain(world.steps.named());
    join_all(models.map(|model| world.router.survey(model))).await;
    keeper.keep_on(&world.router).await
}

fn write(memory: &Memory, file: &Path) -> io::Result<()> {
    if let Some(home) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(home)?;
    }
    // Other processes write here too.
    let new = file.with_extension(format!("{}.new", Uuid::now_v7().simple()));
    let written = fs::write(&new, memory.save()?).and_then(|()| fs::rename(&new, file));
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

/// The file of the settings, for changes. One that is wrong changes nothing, and is told once.
struct Watched {
    file: PathBuf,
    /// The data directory.
    home: Option<PathBuf>,
    variables: Variables,
    /// The state that was read last.
    seen: Mutex<Option<State>>,
    made: Mutex<Made>,
}

/// What tells one state of a file from another: when it was written, and its length.
type State = (SystemTime, u64);

impl Watched {
    fn new(file: PathBuf, home: Option<PathBuf>, variables: Variables, made: Made) -> Self {
        Watched { seen: Mutex::new(state(&file)), file, home, variables, made: Mutex::new(made) }
    }
}

impl Source for Watched {
    fn changed(&self) -> bool {
        *lock(&self.seen) != state(&self.file)
    }

    fn read(&self) -> Option<Table> {
        // Looked at before it is read: what changes meanwhile is seen the next time.
        let newest = state(&self.file);
        if *lock(&self.seen) == newest {
            return None;
        }
        let dir = self.file.parent().unwrap_or(Path::new("/"));
        let read = Settings::load(Some(&self.file), dir, &self.variables)
            .and_then(|settings| Ok(paid(lock(&self.made).table(&settings)?, &settings, self.home.as_deref())));
        *lock(&self.seen) = newest;
        let wrong = |error: &Error| {
            tracing::warn!(file = %self.file.display(), %error, "the changed settings are wrong; the earlier ones hold");
        };
        read.inspect_err(wrong).ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state(file: &Path) -> Option<State> {
    let data = fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// The providers of the newest table, each with what it was made from.
#[derive(Default)]
struct Made(BTreeMap<String, (Origin, Arc<dyn Provider>)>);

#[derive(PartialEq)]
enum Origin {
    Server(Server),
    /// Where the script is, and its text.
    Script(PathBuf, String),
}

impl Made {
    fn table(&mut self, settings: &Settings) -> Result<Table, Error> {
        let prices = settings.prices.clone();
        let is_native = |provider: &settings::Provider| matches!(provider, settings::Provider::Server(server) if server.quirks.native_calls);
        let native: BTreeSet<String> =
            settings.providers.iter().filter(|(_, it)| is_native(it)).map(|(name, _)| name.clone()).collect();
        let facts = move |endpoint: &str| {
            let Some((provider, name)) = endpoint.split_once('/') else { return Facts::default() };
            let model = catalogue::built_in().ok().and_then(|catalogue| catalogue.model(provider, name));
            let native_calls = native.contains(provider);
            Facts {
                window: model.and_then(|model| model.window),
                tools: model.and_then(|model| model.tools),
                senses: model.and_then(|model| model.media).map_or_else(Senses::default, |media| Senses {
                    image: Some(media.image),
                    audio: Some(media.audio),
                    document: Some(media.pdf),
                }),
                price: prices.of(provider, name).map(|(price, _)| price.clone()),
                native_calls,
            }
        };
        let (made, mut unready) = self.providers(settings)?;
        unready.extend(settings.unready.iter().map(|(name, why)| (name.clone(), why.to_string())));
        let providers = made.0.iter().map(|(name, (_, provider))| (name.clone(), provider.clone())).collect();
        let (routes, rates) = (settings.routes.clone(), settings.rates.clone());
        let text_calls = settings.text_calls.clone();
        let table = Table { providers, unready, routes, facts: Arc::new(facts), rates, text_calls, purse: None };
        for (name, route) in &table.routes {
            for target in route.targets.iter().filter(|target| table.unready_at(&target.model).is_none()) {
                table.check(&target.model).map_err(|error| Error::File(format!("route {name}: {error}")))?;
            }
        }
        *self = made;
        Ok(table)
    }

    /// The providers that the settings name, and those for which no client can be made.
    fn providers(&self, settings: &Settings) -> Result<(Made, BTreeMap<String, String>), Error> {
        let (mut made, mut unready) = (BTreeMap::new(), BTreeMap::new());
        for (name, it) in &settings.providers {
            match (self.provider(name, it), it) {
                (Ok(provider), _) => _ = made.insert(name.clone(), provider),
                // The others are not at fault.
                (Err(error), settings::Provider::Server(_)) => {
                    unready.insert(name.clone(), Unready::Client(error.to_string()).to_string());
                }
                (Err(error), settings::Provider::Scripted { .. }) => return Err(error),
            }
        }
        Ok((Made(made), unready))
    }

    /// The one that was made before, if nothing is new about it.
    fn provider(&self, name: &str, it: &settings::Provider) -> Result<(Origin, Arc<dyn Provider>), Error> {
        let origin = match it {
            settings::Provider::Server(server) => Origin::Server(server.clone()),
            settings::Provider::Scripted { script } => {
                let unreadable = |source| Error::Io { what: format!("cannot read {}", script.display()), source };
                Origin::Script(script.clone(), fs::read_to_string(script).map_err(unreadable)?)
            }
        };
        let provider: Arc<dyn Provider> = match (self.0.get(name), &origin) {
            (Some((before, provider)), _) if *before == origin => provider.clone(),
            (_, Origin::Server(server)) => Arc::new(client(name, server, server.timeouts)?),
            (_, Origin::Script(file, text)) => {
                let script = scripted::Script::parse(&file.display().to_string(), text)
                    .map_err(|problems| Error::File(problems.to_string()))?;
                Arc::new(scripted::Scripted::new(name, script))
            }
        };
        Ok((origin, provider))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings::parse("agentd.yaml", &format!("version: 1\n{text}"), Path::new("/"), &|_| None).unwrap()
    }

    #[test]
    fn a_provider_keeps_its_client_while_its_settings_stay() {
        let of = |key: &str| {
            settings(&format!(
                "providers:\n  a: {{dialect: openai-chat, base_url: \"http://127.0.0.1:1/v1\"}}\n  \
                 b: {{dialect: openai-chat, base_url: \"http://127.0.0.1:2/v1\", key: {key}}}\n"
            ))
        };
        let mut made = Made::default();
        let before = made.table(&of("k1")).unwrap().providers;
        let after = made.table(&of("k2")).unwrap().providers;
        let same = |name: &str| Arc::ptr_eq(&before[name], &after[name]);
        assert_eq!((same("a"), same("b")), (true, false));
        // What is wrong leaves what was made.
        assert!(made.table(&settings("providers: {s: {dialect: scripted, script: /nowhere.yaml}}")).is_err());
        assert!(Arc::ptr_eq(&made.table(&of("k2")).unwrap().providers["b"], &after["b"]));
    }

    #[test]
    fn a_changed_file_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agentd.yaml");
        let write = |route: &str| fs::write(&file, format!("version: 1\nroutes: {{{route}}}\n")).unwrap();
        write("one: {targets: [ollama/m]}");
        let watched = Watched::new(file.clone(), None, Variables::default(), Made::default());
        assert!(!watched.changed() && watched.read().is_none());
        write("other: {targets: [ollama/m]}");
        assert!(watched.changed());
        assert!(watched.read().unwrap().routes.contains_key("other"));
        assert!(!watched.changed() && watched.read().is_none());
        write("wrong: {targets: []}");
        assert!(watched.changed() && watched.read().is_none() && !watched.changed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learnt_is_kept_by_one_writer_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let (keeper, router) = (Keeper::new(home.path()), Router::new(BTreeMap::new()));
        router.judged("a/m", [("t", true)]);
        join_all((0..20).map(|_| keeper.keep(&router, Instant::now()))).await;
        let kept = || fs::read_to_string(file(home.path())).map(|text| Memory::load(&text)).ok();
        assert_eq!(kept(), Some(router.memory()));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        // Another writing began since: nothing is written.
        tokio::time::advance(EVERY).await;
        fs::remove_file(file(home.path())).unwrap();
        keeper.keep(&router, Instant::now() - 2 * EVERY).await;
        assert_eq!(kept(), None);
        keeper.keep(&router, Instant::now()).await;
        assert_eq!(kept(), Some(router.memory()));
    }
}
