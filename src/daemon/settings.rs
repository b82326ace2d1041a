//! The settings of a machine, `agentd.yaml`: which providers there are and where runs are kept.
//!
//! Looked for at `--config`, `$AGENTD_CONFIG`, then `agentd.yaml` in the working directory or one above it, then in the
//! user's configuration directory; the first found is the one. Without any, the defaults hold: the store is sled below the
//! data directory, and every provider of the catalogue whose key is in the environment is there, as are local servers.

mod origin;

pub use origin::{Origin, Shown};

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};

use super::{Error, owned, variables::Variables};
use crate::{
    agent::is_name,
    chat::Hold,
    provider::{
        Dialect, Patience, Price, Quirks, Strict, Timeouts,
        catalogue::{self, Catalogue, Entry, Prices},
    },
    repair::text::TextCalls,
    router::{Budgets, Policy, Rate, Route, Target},
    show::hide,
    yaml::{Content, Document, Faults, Key, Node, Problems, decode, describe, nearest},
};

/// What to call the file.
pub const FILE_NAME: &str = "agentd.yaml";

/// The settings in force.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file they come from; `None` for the defaults alone.
    pub file: Option<PathBuf>,
    /// The providers that can be asked, by name.
    pub providers: BTreeMap<String, Provider>,
    /// The providers that cannot be asked, by name, and what they lack. Routes skip them, and nothing else is affected.
    pub unready: BTreeMap<String, Unready>,
    /// What may be asked of them in a minute, by name.
    pub rates: BTreeMap<String, Rate>,
    /// How calls in the text of their models are treated, by name.
    pub text_calls: BTreeMap<String, TextCalls>,
    /// Choices of models, by name.
    pub routes: BTreeMap<String, Route>,
    /// What tokens cost.
    pub prices: Prices,
    /// What may be spent in a day.
    pub budgets: Budgets,
    /// Where runs are kept.
    pub store: Store,
    /// What variables are looked up in.
    pub variables: Variables,
}

/// Why a provider cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// These variables are not set.
    #[error("set {}", .0.join(" and "))]
    Unset(Vec<String>),
    /// Its key cannot be sent, because a line end or another character that no header takes is in it. Where the key comes from.
    #[error("the key in {0} holds a line end or another character that cannot be sent")]
    Key(String),
    /// No client can be made for it.
    #[error("{0}")]
    Client(String),
}

/// A provider and how to reach it.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A server.
    Server(Server),
    /// A script that plays a model.
    Scripted {
        /// Where it is.
        script: PathBuf,
    },
}

/// A server that speaks a known format.
#[derive(Debug, Clone)]
pub struct Server {
    /// The format.
    pub dialect: Dialect,
    /// Its address; the path of the format is put behind it.
    pub base_url: String,
    /// The key; `None` sends none.
    pub key: Option<SecretString>,
    /// How long requests may take.
    pub timeouts: Timeouts,
    /// In what it differs from the format.
    pub quirks: Quirks,
    /// When models are held to schemas by the server; `None` leaves that to what is known of it.
    pub strict: Option<Strict>,
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart, so that a new member is not forgotten.
        let Server { dialect, base_url, key, timeouts, quirks, strict } = self;
        *dialect == other.dialect
            && *base_url == other.base_url
            && *timeouts == other.timeouts
            && *quirks == other.quirks
            && *strict == other.strict
            && key.as_ref().map(ExposeSecret::expose_secret) == other.key.as_ref().map(ExposeSecret::expose_secret)
    }
}

impl Server {
    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.base_url.parse::<http::Uri>().is_ok_and(|url| loopback(url.host()))
    }
}

/// Where runs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// Nowhere: they end with the process.
    Memory,
    /// In a sled of our own.
    Sled {
        /// Its directory; `None` for the one below the data directory.
        path: Option<PathBuf>,
    },
}

impl Default for Store {
    fn default() -> Self {
        Store::Sled { path: None }
    }
}

/// Every key of the settings, with what it is for.
const REFERENCE: &str = include_str!("settings/reference.yaml");

/// How names of routes and agents look, for editors; [`is_name`] checks.
const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Finds and reads the settings. `file` is what the caller names; `dir` is the working directory.
    ///
    /// # Errors
    /// A file that was named and is not there, one that cannot be read or that others can write, and everything that is
    /// wrong with its text.
    pub fn load(file: Option<&Path>, dir: &Path, variables: &Variables) -> Result<Settings, Error> {
        let env: Env<'_> = &|name| variables.get(name);
        let named = file.map(Path::to_owned).or_else(|| env("AGENTD_CONFIG").map(PathBuf::from));
        let found = match named {
            Some(named) => Some(named),
            None => dir
                .ancestors()
                .map(|dir| dir.join(FILE_NAME))
                .chain(user_dir(env).map(|dir| dir.join(FILE_NAME)))
                .find(|file| file.is_file()),
        };
        let mut settings = match found {
            None => Settings::default(),
            Some(file) => {
                let unreadable =
                    |source: io::Error| Error::Io { what: format!("cannot read {}", file.display()), source };
                let owned::Source { bytes, doubt, .. } = owned::read(&file)?;
                let name = file.display().to_string();
                if let Some(doubt) = doubt {
                    return Err(Error::File(format!("{name}: {doubt}")));
                }
                let dir = std::path::absolute(&file).map_err(unreadable)?;
                let dir = dir.parent().unwrap_or(Path::new("/"));
                let read = decode(&name, &bytes).and_then(|text| Settings::parse(&name, text, dir, env));
                Settings { file: Some(file), ..read.map_err(|problems| Error::File(problems.to_string()))? }
            }
        };
        let catalogue = catalogue::built_in().map_err(|problems| Error::File(problems.to_string()))?;
        settings.add_known(catalogue, env);
        settings.variables = variables.clone();
        Ok(settings)
    }

    /// What the provider of a model, `provider/model`, lacks; `None` when it can be asked, or is not known.
    pub fn unready_at(&self, model: &str) -> Option<&Unready> {
        self.unready.get(model.split_once('/')?.0)
    }

    /// Reads settings from their text. `file` is what to call it in problems; relative paths start from `dir`.
    pub fn parse(file: &str, text: &str, dir: &Path, env: Env<'_>) -> Result<Settings, Problems> {
        let (mut document, mut faults) = Document::parse(file, text)?;
        let unset = document.take_unset("providers", env).into_iter();
        let unready = unset.map(|(name, variables)| (name, Unready::Unset(variables))).collect();
        document.expand(env, &mut faults);
        let catalogue = catalogue::built_in().map_err(Problems::clone)?;
        let settings = Settings { unready, ..Settings::default() };
        let mut reader = Reader { faults, dir, env, catalogue, settings };
        reader.settings(document.root());
        document.finish(Some(reader.settings), reader.faults)
    }

    /// The JSON Schema of settings, for editors. Drawn from what [`Settings::parse`] asks for in an example.
    ///
    /// # Errors
    /// When the example is not whole, which a test sees to.
    pub fn schema() -> Result<serde_json::Value, String> {
        let catalogue = catalogue::built_in().map_err(|problems| problems.to_string())?;
        let read = |document: &mut Document, mut faults| {
            let env: Env<'_> = &|_| Some("key".to_owned());
            document.expand(env, &mut faults);
            let settings = Settings::default();
            let mut reader = Reader { faults, dir: Path::new("/"), env, catalogue, settings };
            reader.settings(document.root());
            reader.faults
        };
        describe("Settings of agentd", &[REFERENCE], true, read)
    }

    /// Adds the providers of the catalogue that nothing was said about.
    fn add_known(&mut self, catalogue: &Catalogue, env: Env<'_>) {
        for entry in catalogue.providers() {
            if self.providers.contains_key(&entry.name) || self.unready.contains_key(&entry.name) {
                continue;
            }
            match entry.base_url.fill(env) {
                Ok(base_url) if entry.missing(env, false).is_empty() => {
                    let key = entry.key(env);
                    if let Some(unready) = key.as_deref().and_then(|key| unsendable(key, &entry.key_variable(env))) {
                        self.unready.insert(entry.name.clone(), unready);
                        continue;
                    }
                    let key = key.map(SecretString::from);
                    let (dialect, timeouts, quirks) = (entry.dialect, Timeouts::default(), entry.quirks());
                    let server = Server { dialect, base_url, key, timeouts, quirks, strict: None };
                    self.providers.insert(entry.name.clone(), Provider::Server(server));
                }
                _ => drop(self.unready.insert(entry.name.clone(), Unready::Unset(entry.missing(env, false)))),
            }
        }
    }
}

/// Why this key cannot be sent; `None` when it can. `from` is where it comes from.
fn unsendable(key: &str, from: &str) -> Option<Unready> {
    http::HeaderValue::from_str(key).is_err().then(|| Unready::Key(from.to_owned()))
}

/// The user's configuration directory, as the XDG base directory specification 0.8 has it.
fn user_dir(env: Env<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?.join("agentd"))
}

/// What settings may hold at their top level.
pub const KEYS: [&str; 6] = ["version", "providers", "routes", "prices", "budgets", "store"];

struct Reader<'a> {
    faults: Faults,
    dir: &'a Path,
    env: Env<'a>,
    catalogue: &'a Catalogue,
    settings: Settings,
}

impl Reader<'_> {
    fn settings(&mut self, root: &Node) {
        let fields = self.faults.fields(root, &KEYS);
        self.faults.version(&fields);
        let providers = fields.get("providers").and_then(|node| self.faults.members(node)).unwrap_or_default();
        let shapes = [("providers", "^[a-z0-9._-]{1,64}$"), ("routes", NAME), ("prices", "^[^/]+/.")];
        for (key, shape) in shapes {
            if let Some(node) = fields.get(key) {
                self.faults.keyed(node, shape);
            }
        }
        for (key, node) in providers {
            self.provider(key, node);
        }
        for (key, node) in fields.get("routes").and_then(|node| self.faults.members(node)).unwrap_or_default() {
            if !is_name(&key.text) {
                self.faults.add(
                    key.place,
                    "a route's name has up to 64 of a-z, 0-9, _ and -, and begins with a letter or digit",
                );
            }
            if let Some(route) = self.route(node, providers) {
                self.settings.routes.insert(key.text.clone(), route);
            }
        }
        if let Some(node) = fields.get("prices") {
            self.prices(node, providers);
        }
        if let Some(node) = fields.get("budgets") {
            self.budgets(node);
        }
        self.settings.store = fields.get("store").and_then(|node| self.store(node)).unwrap_or_default();
    }

    /// A provider with a format of its own, or what differs from the catalogue.
    fn provider(&mut self, key: &Key, node: &Node) -> Option<()> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if key.text.is_empty() || key.text.len() > 64 || !key.text.chars().all(inner) {
            self.faults.add(key.place, "a provider's name has up to 64 of a-z, 0-9, '.', '-' and '_'");
        }
        let known = self.catalogue.provider(&key.text);
        let members = self.faults.members(node)?;
        let formats = Dialect::ALL.map(|dialect| (dialect.as_str(), Some(dialect)));
        let formats: Vec<_> = formats.into_iter().chain([("scripted", None)]).collect();
        let dialect = match (members.iter().find(|(key, _)| key.text == "dialect"), known) {
            (Some((_, node)), _) => self.faults.choice(node, &formats)?,
            (None, Some(entry)) => Some(entry.dialect),
            (None, None) => {
                let names: Vec<_> = formats.iter().map(|(name, _)| *name).collect();
                let near = nearest(&key.text, self.catalogue.providers().map(|entry| entry.name.as_str()));
                let near = near.map_or(String::new(), |near| format!("; did you mean the provider {near:?}?"));
                let list = names.join(", ");
                self.faults.of(node, format!("the key \"dialect\" is missing; it is one of {list}{near}"));
                return None;
            }
        };
        if let Some((_, node)) = members.iter().find(|(key, _)| key.text == "rate") {
            let fields = self.faults.fields(node, &["requests", "tokens"]);
            let mut most = |name| fields.get(name).and_then(|node| self.faults.whole(node, 1..=u64::MAX));
            self.settings.rates.insert(key.text.clone(), Rate { requests: most("requests"), tokens: most("tokens") });
        }
        if let Some((_, node)) = members.iter().find(|(key, _)| key.text == "repair") {
            let fields = self.faults.fields(node, &["text_calls"]);
            let text_calls = fields.get("text_calls").and_then(|node| self.faults.choice(node, &TextCalls::ALL));
            self.settings.text_calls.extend(text_calls.map(|it| (key.text.clone(), it)));
        }
        let provider = match dialect {
            None => self.scripted(node)?,
            Some(dialect) => {
                let known = known.filter(|entry| entry.dialect == dialect);
                Provider::Server(self.server(key, node, dialect, known)?)
            }
        };
        self.settings.providers.insert(key.text.clone(), provider);
        Some(())
    }

    fn scripted(&mut self, node: &Node) -> Option<Provider> {
        let fields = self.faults.fields(node, &["dialect", "script", "rate", "repair"]);
        let script = self.faults.required(&fields, "script")?;
        Some(Provider::Scripted { script: self.dir.join(self.faults.text(script)?) })
    }

    /// A server. `None` when something is wrong, and when a known one still wants variables, which is noted.
    fn server(&mut self, name: &Key, node: &Node, dialect: Dialect, known: Option<&Entry>) -> Option<Server> {
        let fields = self.faults.fields(node, &["dialect", "base_url", "key", "strict", "timeouts", "rate", "repair"]);
        let key = fields.get("key").and_then(|node| self.faults.text(node)).map(str::to_owned);
        let timeouts = fields.get("timeouts").map(|node| self.timeouts(node)).unwrap_or_default();
        let strict = fields.get("strict").and_then(|node| self.faults.choice(node, &Strict::ALL));
        if let Some(key) = &key {
            hide(&format!("providers.{}.key", name.text), key);
        }
        let source = match (&key, known) {
            (None, Some(entry)) => entry.key_variable(self.env),
            _ => format!("providers.{}.key", name.text),
        };
        let from_env = || known.and_then(|entry| entry.key(self.env));
        let key = key.or_else(from_env);
        let unready = key.as_deref().and_then(|key| unsendable(key, &source));
        let key = key.map(SecretString::from);
        let base_url = match (fields.get("base_url"), known) {
            (None, Some(entry)) => {
                let missing = entry.missing(self.env, key.is_some());
                if !missing.is_empty() {
                    self.settings.unready.insert(name.text.clone(), Unready::Unset(missing));
                    return None;
                }
                entry.base_url.fill(self.env).ok()?
            }
            _ => {
                let url = self.faults.required(&fields, "base_url")?;
                let base_url = self.faults.text(url)?.to_owned();
                self.faults.shaped(url, "^https?://.");
                self.check(url, &base_url, key.is_some());
                base_url
            }
        };
        if let Some(unready) = unready {
            self.settings.unready.insert(name.text.clone(), unready);
            return None;
        }
        let quirks = known.map(Entry::quirks).unwrap_or_else(|| self.catalogue.quirks_at(dialect, &base_url));
        Some(Server { dialect, base_url, key, timeouts, quirks, strict })
    }

    /// Whether an address can be one.
    fn check(&mut self, node: &Node, base_url: &str, has_key: bool) {
        match base_url.parse::<http::Uri>() {
            Ok(parsed) if parsed.host().is_none() || !matches!(parsed.scheme_str(), Some("http" | "https")) => {
                self.faults.of(node, "this is no address of a server, such as https://api.example/v1");
            }
            Ok(parsed) if parsed.scheme_str() == Some("http") && has_key && !loopback(parsed.host()) => {
                self.faults.of(node, "a key is only sent over https, or to this machine");
            }
            Ok(_) => {}
            Err(error) => self.faults.of(node, format!("this is no address: {error}")),
        }
    }

    /// A choice of targets.
    fn route(&mut self, node: &Node, providers: &[(Key, Node)]) -> Option<Route> {
        let fields = self.faults.fields(node, &["targets", "policy", "price_max", "strict", "timeouts"]);
        let policy = fields.get("policy").and_then(|node| self.faults.choice(node, &Policy::ALL)).unwrap_or_default();
        let price_max = fields.get("price_max").and_then(|node| self.faults.dollars(node));
        let hold = [("auto", Hold::Yes), ("off", Hold::No)];
        let hold = fields.get("strict").and_then(|node| self.faults.choice(node, &hold)).unwrap_or_default();
        let timeouts = fields.get("timeouts").map(|node| self.patience(node)).unwrap_or_default();
        let list = self.faults.required(&fields, "targets")?;
        let nodes = self.faults.list(list)?;
        if nodes.is_empty() {
            self.faults.of(list, "a route needs at least one target");
        }
        let targets = nodes.iter().filter_map(|node| self.target(node, providers)).collect();
        Some(Route { targets, policy, price_max, hold, timeouts })
    }

    /// A model, or a model and its weight.
    fn target(&mut self, node: &Node, providers: &[(Key, Node)]) -> Option<Target> {
        let (node, weight) = match &node.content {
            Content::Map(_) => {
                let fields = self.faults.fields(node, &["model", "weight"]);
                let most = u64::from(u32::MAX);
                let weight = fields.get("weight").and_then(|node| self.faults.whole(node, 1..=most));
                (self.faults.required(&fields, "model")?, weight.and_then(|it| u32::try_from(it).ok()).unwrap_or(1))
            }
            _ => (node, 1),
        };
        let model = self.faults.text(node)?;
        self.faults.shaped(node, "^[^/]+/.");
        match model.split_once('/').filter(|(provider, name)| !provider.is_empty() && !name.is_empty()) {
            None => self.faults.of(node, "a target is a model, written provider/model"),
            Some((provider, _)) => {
                if let Some(fault) = self.unknown(provider, providers) {
                    self.faults.of(node, fault);
                }
            }
        }
        Some(Target { model: model.to_owned(), weight })
    }

    /// What is wrong with a provider's name, if neither these settings nor the catalogue know it.
    fn unknown(&self, provider: &str, providers: &[(Key, Node)]) -> Option<String> {
        let known = || {
            let own = providers.iter().map(|(key, _)| key.text.as_str());
            own.chain(self.catalogue.providers().map(|entry| entry.name.as_str()))
        };
        if known().any(|name| name == provider) || self.settings.unready.contains_key(provider) {
            return None;
        }
        let near = nearest(provider, known()).map_or(String::new(), |near| format!("; did you mean {near:?}?"));
        Some(format!("there is no provider {provider:?}{near}"))
    }

    /// Prices by `provider/model`.
    fn prices(&mut self, node: &Node, providers: &[(Key, Node)]) {
        let mut own: BTreeMap<String, Price> = BTreeMap::new();
        for (key, node) in self.faults.members(node).unwrap_or_default() {
            match key.text.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty()) {
                None => self.faults.add(key.place, "a price is that of a model, written provider/model"),
                Some((provider, _)) => {
                    if let Some(fault) = self.unknown(provider, providers) {
                        self.faults.add(key.place, fault);
                    }
                }
            }
            own.extend(Price::read(&mut self.faults, node).map(|price| (key.text.clone(), price)));
        }
        self.settings.prices = Prices::new(own);
    }

    /// Budgets by day, those of routes and agents by name. Reads the routes first.
    fn budgets(&mut self, node: &Node) {
        let fields = self.faults.fields(node, &["day", "routes", "agents"]);
        let day = fields.get("day").and_then(|node| self.faults.dollars(node));
        let (mut routes, mut agents) = (BTreeMap::new(), BTreeMap::new());
        for (key, node) in fields.get("routes").and_then(|node| self.faults.members(node)).unwrap_or_default() {
            if !self.settings.routes.contains_key(&key.text) {
                let near = nearest(&key.text, self.settings.routes.keys().map(String::as_str));
                let near = near.map_or(String::new(), |near| format!("; did you mean {near:?}?"));
                self.faults.add(key.place, format!("there is no route {:?}{near}", key.text));
            }
            routes.extend(self.faults.dollars(node).map(|most| (key.text.clone(), most)));
        }
        if let Some(node) = fields.get("agents") {
            self.faults.keyed(node, NAME);
        }
        for (key, node) in fields.get("agents").and_then(|node| self.faults.members(node)).unwrap_or_default() {
            if !is_name(&key.text) {
                self.faults.add(
                    key.place,
                    "an agent's name has up to 64 of a-z, 0-9, _ and -, and begins with a letter or digit",
                );
            }
            agents.extend(self.faults.dollars(node).map(|most| (key.text.clone(), most)));
        }
        self.settings.budgets = Budgets { day, routes, agents };
    }

    fn timeouts(&mut self, node: &Node) -> Timeouts {
        let fields = self.faults.fields(node, &["connect", "first_token", "idle", "total"]);
        let default = Timeouts::default();
        let mut read = |key, default| fields.get(key).and_then(|node| self.faults.duration(node)).unwrap_or(default);
        Timeouts {
            connect: read("connect", default.connect),
            first_token: read("first_token", default.first_token),
            idle: read("idle", default.idle),
            total: read("total", default.total),
        }
    }

    /// What a route wants in place of the providers' own timeouts.
    fn patience(&mut self, node: &Node) -> Patience {
        let fields = self.faults.fields(node, &["first_token", "idle", "total"]);
        let mut read = |key| fields.get(key).and_then(|node| self.faults.duration(node));
        Patience { first_token: read("first_token"), idle: read("idle"), total: read("total") }
    }

    fn store(&mut self, node: &Node) -> Option<Store> {
        let text = self.faults.text(node)?;
        self.faults.shaped(node, "^(memory|sled|sled:.+)$");
        match text {
            "memory" => Some(Store::Memory),
            "sled" => Some(Store::Sled { path: None }),
            text => match text.strip_prefix("sled:").filter(|path| !path.is_empty()) {
                Some(path) => Some(Store::Sled { path: Some(self.dir.join(path)) }),
                None => {
                    self.faults.of(node, "the store is memory, sled, or sled:PATH");
                    None
                }
            },
        }
    }
}

fn loopback(host: Option<&str>) -> bool {
    host.is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::repair::Schema;

    #[test]
    fn the_schema_holds_every_key_with_what_it_is_for() {
        insta::assert_json_snapshot!(Settings::schema().unwrap());
    }

    fn parse(text: &str) -> Result<Settings, String> {
        let env = |name: &str| (name == "KEY").then(|| "sk-canary".to_owned());
        Settings::parse("agentd.yaml", text, Path::new("/etc/agentd"), &env).map_err(|problems| problems.to_string())
    }

    #[test]
    fn good_settings_are_read() {
        let text = "version: 1\nstore: sled:runs\nproviders:\n  \
            local: {dialect: openai-chat, base_url: \"http://127.0.0.1:8000/v1\", key: \"${KEY}\", timeouts: {idle: 5s}}\n  \
            demo: {dialect: scripted, script: ./demo.yaml}\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.store, Store::Sled { path: Some("/etc/agentd/runs".into()) });
        assert!(matches!(&settings.providers["demo"],
            Provider::Scripted { script } if script == Path::new("/etc/agentd/./demo.yaml")));
        let Provider::Server(server) = &settings.providers["local"] else { panic!() };
        assert_eq!((server.dialect, server.base_url.as_str()), (Dialect::OpenAiChat, "http://127.0.0.1:8000/v1"));
        assert_eq!(server.timeouts.idle.as_secs(), 5);
        assert!(server.key.is_some() && server.is_local());
        assert!(!format!("{settings:?}").contains("sk-canary"), "a key must not be shown");
    }

    #[test]
    fn bad_settings_are_told_with_their_places() {
        let bad = [
            ("providers: {}\n", "version"),
            ("version: 2\n", "version 1"),
            ("version: 1\nprovider: {}\n", "did you mean \"providers\""),
            ("version: 1\nproviders: {a: {base_url: x}}\n", "dialect"),
            ("version: 1\nproviders: {a: {dialect: openai}}\n", "openai-chat"),
            ("version: 1\nproviders: {a: {dialect: openai-chat, base_url: \"ftp://x/\"}}\n", "no address of a server"),
            ("version: 1\nproviders: {a: {dialect: openai-chat, base_url: \"http://far.example\", key: k}}\n", "https"),
            ("version: 1\nstore: \"${NOPE}\"\n", "NOPE"),
            ("version: 1\nproviders: {a: {dialect: scripted}}\n", "script"),
            ("version: 1\nstore: redis\n", "sled:PATH"),
            ("version: 1\nproviders: {opnai: {key: k}}\n", "did you mean the provider \"openai\""),
            ("version: 1\nproviders: {openai: {ky: k}}\n", "did you mean \"key\""),
            ("version: 1\nproviders: {openai: {base_url: \"http://far.example\", key: k}}\n", "https"),
            ("version: 1\nproviders: {openai: {dialect: telepathy}}\n", "openai-chat"),
            ("version: 1\nproviders: {openai: {key: k, strict: aut}}\n", "did you mean auto"),
            ("version: 1\nprices: {qwen3: {input: 0, output: 0}}\n", "provider/model"),
            ("version: 1\nprices: {opnai/gpt-5: {input: 0, output: 0}}\n", "did you mean \"openai\""),
            ("version: 1\nprices: {openai/gpt-5: {input: 0}}\n", "\"output\" is missing"),
            ("version: 1\nprices: {openai/gpt-5: {input: 0, output: dear}}\n", "an amount in dollars"),
            ("version: 1\nproviders: {a: {dialect: scripted, script: x, key: y}}\n", "key"),
            ("version: 1\nproviders: {openai: {rate: {request: 1}}}\n", "did you mean \"requests\""),
            ("version: 1\nproviders: {openai: {rate: {tokens: 0}}}\n", "at least 1"),
            (
                "version: 1\nroutes: {r: {targets: [ollama/m], timeouts: {first_tokn: 1s}}}\n",
                "did you mean \"first_token\"",
            ),
            ("version: 1\nroutes: {r: {targets: [ollama/m], timeouts: {connect: 1s}}}\n", "connect"),
            ("version: 1\nroutes: {r: {targets: [ollama/m], timeouts: {idle: soon}}}\n", "30s"),
            ("version: 1\nbudgets: {dya: $20}\n", "did you mean \"day\""),
            ("version: 1\nbudgets: {day: cheap}\n", "an amount in dollars"),
            ("version: 1\nbudgets: {routes: {smart: $5}}\n", "there is no route \"smart\""),
            (
                "version: 1\nroutes: {smart: {targets: [ollama/x]}}\nbudgets: {routes: {smrat: $5}}\n",
                "did you mean \"smart\"",
            ),
            ("version: 1\nbudgets: {agents: {Triage: $2}}\n", "an agent's name"),
        ];
        // What only the reader knows: the catalogue, other keys, and which variables are set.
        let reader_only = [
            "https",
            "NOPE",
            "script",
            "did you mean the provider \"openai\"",
            "did you mean \"openai\"",
            "there is no route \"smart\"",
            "did you mean \"smart\"",
        ];
        let schema = Schema::compile(&Arc::new(Settings::schema().unwrap())).unwrap();
        for (text, expected) in bad {
            let (document, mut faults) = Document::parse("agentd.yaml", text).unwrap();
            let seen = faults.json(document.root()).unwrap();
            assert_eq!(schema.check_value(&seen).is_ok(), reader_only.contains(&expected), "{text}");
            let problems = parse(text).unwrap_err();
            assert!(problems.contains(expected), "{text}: {problems}");
            assert!(problems.starts_with("agentd.yaml:"), "{problems}");
        }
    }

    fn with(text: &str, set: &[(&str, &str)]) -> Settings {
        let env = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let mut settings = Settings::parse("agentd.yaml", text, Path::new("/"), &env).unwrap();
        settings.add_known(catalogue::built_in().unwrap(), &env);
        settings
    }

    fn server<'s>(settings: &'s Settings, name: &str) -> &'s Server {
        match &settings.providers[name] {
            Provider::Server(server) => server,
            Provider::Scripted { .. } => panic!("{name} is a script"),
        }
    }

    fn unset<'s>(settings: &'s Settings, name: &str) -> &'s [String] {
        match &settings.unready[name] {
            Unready::Unset(variables) => variables,
            other => panic!("{name}: {other}"),
        }
    }

    #[test]
    fn a_provider_that_cannot_be_used_leaves_the_others_alone() {
        let text = "version: 1\nproviders:\n  \
            mine: {dialect: openai-chat, base_url: \"https://${MY_HOST}/v1\", key: \"${MY_KEY}\"}\n  \
            other: {dialect: openai-chat, base_url: \"https://api.example/v1\", key: \"${BROKEN}\"}\n  \
            good: {dialect: openai-chat, base_url: \"http://127.0.0.1:8000/v1\"}\n\
            routes: {r: {targets: [mine/m, other/m, good/m]}}\n\
            prices: {mine/m: {input: 1, output: 1}}\n";
        let settings =
            with(text, &[("OPENAI_API_KEY", "sk-canary-1\n"), ("BROKEN", "sk-canary-2\n"), ("GROQ_API_KEY", "k")]);
        assert_eq!(unset(&settings, "mine"), ["MY_HOST", "MY_KEY"]);
        assert_eq!(settings.unready["openai"], Unready::Key("OPENAI_API_KEY".to_owned()));
        assert_eq!(settings.unready["other"], Unready::Key("providers.other.key".to_owned()));
        assert!(settings.providers.contains_key("good") && settings.providers.contains_key("groq"));
        assert_eq!(settings.routes["r"].targets.len(), 3);
        assert!(!format!("{:?}", settings.unready).contains("canary"));
    }

    fn key(server: &Server) -> Option<&str> {
        server.key.as_ref().map(secrecy::ExposeSecret::expose_secret)
    }

    #[test]
    fn models_are_held_to_schemas_where_that_is_asked_for() {
        let strict = |word: &str| {
            server(&with(&format!("version: 1\nproviders: {{openai: {{key: k{word}}}}}\n"), &[]), "openai").strict
        };
        let words = ["", ", strict: off", ", strict: asked", ", strict: auto"].map(strict);
        assert_eq!(words, [None, Some(Strict::Never), Some(Strict::Asked), Some(Strict::Always)]);
        let route = |word: &str| {
            let settings = with(&format!("version: 1\nroutes: {{r: {{targets: [ollama/m]{word}}}}}\n"), &[]);
            settings.routes["r"].hold
        };
        assert_eq!(["", ", strict: off", ", strict: auto"].map(route), [Hold::No, Hold::No, Hold::Yes]);
    }

    #[test]
    fn a_key_in_the_environment_is_enough() {
        let settings = with("version: 1\n", &[("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "")]);
        let openai = server(&settings, "openai");
        assert_eq!((openai.base_url.as_str(), key(openai)), ("https://api.openai.com/v1", Some("sk-1")));
        assert_eq!(openai.dialect, Dialect::OpenAiResponses);
        assert!(openai.quirks.no_reasoning_summary);
        assert_eq!(unset(&settings, "groq"), ["GROQ_API_KEY"], "an empty key is none");
        assert_eq!(unset(&settings, "azure"), ["AZURE_OPENAI_API_KEY", "AZURE_OPENAI_RESOURCE"]);
        let ollama = server(&settings, "ollama");
        assert!(ollama.is_local() && ollama.quirks.cuts_prompts && ollama.key.is_none());

        let azure = with("version: 1\n", &[("AZURE_OPENAI_API_KEY", "k"), ("AZURE_OPENAI_RESOURCE", "mine")]);
        assert_eq!(server(&azure, "azure").base_url, "https://mine.openai.azure.com/openai/v1");
        let half = with("version: 1\n", &[("AZURE_OPENAI_API_KEY", "k")]);
        assert_eq!(unset(&half, "azure"), ["AZURE_OPENAI_RESOURCE"]);
    }

    #[test]
    fn an_entry_says_only_what_differs_from_the_catalogue() {
        let text = "version: 1\nproviders:\n  \
            openai: {timeouts: {idle: 5s}}\n  \
            groq: {key: mine}\n  \
            mistral: {timeouts: {idle: 5s}}\n  \
            deepseek: {base_url: \"https://proxy.example/v1\"}\n  \
            ollama: {base_url: \"http://127.0.0.1:9999/v1\"}\n  \
            mine: {dialect: openai-chat, base_url: \"https://api.openai.com/v1\", key: k}\n";
        let settings = with(text, &[("OPENAI_API_KEY", "sk-1"), ("GROQ_API_KEY", "other"), ("DEEPSEEK_API_KEY", "ds")]);
        let openai = server(&settings, "openai");
        assert_eq!((key(openai), openai.timeouts.idle.as_secs()), (Some("sk-1"), 5));
        assert!(openai.quirks.no_reasoning_summary);
        assert_eq!(key(server(&settings, "groq")), Some("mine"), "the file goes before the environment");
        assert_eq!(unset(&settings, "mistral"), ["MISTRAL_API_KEY"]);
        let deepseek = server(&settings, "deepseek");
        assert_eq!((deepseek.base_url.as_str(), key(deepseek)), ("https://proxy.example/v1", Some("ds")));
        assert!(server(&settings, "ollama").quirks.cuts_prompts);
        assert!(server(&settings, "mine").quirks.completion_tokens, "what is known of an address holds under any name");
    }

    #[test]
    fn rates_and_timeouts_are_read() {
        let settings = with(
            "version: 1\nproviders:\n  \
                ollama: {rate: {requests: 60, tokens: 100_000}}\n  \
                openai: {rate: {requests: 5}}\n\
             routes: {r: {targets: [ollama/m], timeouts: {first_token: 20s, total: 10m}}}\n",
            &[],
        );
        let rate = |requests, tokens| Rate { requests, tokens };
        assert_eq!(settings.rates["ollama"], rate(Some(60), Some(100_000)));
        assert_eq!(settings.rates["openai"], rate(Some(5), None));
        let seconds = |seconds| Some(std::time::Duration::from_secs(seconds));
        assert_eq!(
            settings.routes["r"].timeouts,
            Patience { first_token: seconds(20), idle: None, total: seconds(600) }
        );
    }

    #[test]
    fn budgets_are_read() {
        let text = "version: 1\nroutes: {smart: {targets: [ollama/x]}}\n\
            budgets: {day: $20, routes: {smart: $5}, agents: {triage: 2.5}}\n";
        let budgets = parse(text).unwrap().budgets;
        assert_eq!(budgets.day.map(|most| most.0), Some(20_000_000_000));
        assert_eq!(budgets.routes["smart"].0, 5_000_000_000);
        assert_eq!(budgets.agents["triage"].0, 2_500_000_000);
        assert!(parse("version: 1\n").unwrap().budgets.is_empty());
    }

    #[test]
    fn prices_are_overridden() {
        let settings = with(
            "version: 1\nprices: {ollama/qwen3: {input: 0, output: 0}, openai/gpt-5: {input: $9, output: 9}}\n",
            &[],
        );
        let price =
            |provider, model| settings.prices.of(provider, model).map(|(price, own)| (price.rates.input.0, own));
        assert_eq!(price("ollama", "qwen3"), Some((0, true)));
        assert_eq!(price("openai", "gpt-5"), Some((9_000_000_000, true)));
        assert_eq!(price("openai", "gpt-5-mini"), Some((250_000_000, false)));
    }
}
