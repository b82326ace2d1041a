//! What is known of providers and their models before any is asked: data with a source and a date for each fact.
//!
//! `catalogue.yaml` has the usual providers (dialect, address, variables that hold a key, quirks), `models.yaml` the usual
//! models at each of them (window, abilities, price). Both are built in. Always true:
//! - A provider has a dialect that this build speaks, and each quirk, model and price says where it was read, and when.
//! - What no source tells stays unknown: a `None` here never means "zero" or "no".
//! - Nothing here reads the environment; it is handed in.
//!
//! Left out on purpose: models of aggregators and of clouds, which differ by account and region, and prices by the hour of the
//! day, where the dearer one stands.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
};

use super::{Dialect, EffortForm, ForceForm, Price, Quirks};
use crate::{
    chat::MediaKind,
    show::hide,
    yaml::{Document, Faults, Key, Node, Problems},
};

const PROVIDERS: (&str, &str) = ("catalogue.yaml", include_str!("catalogue.yaml"));
const MODELS: (&str, &str) = ("models.yaml", include_str!("models.yaml"));

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Providers and models.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    providers: BTreeMap<String, Entry>,
    models: BTreeMap<String, Vec<Model>>,
}

/// A provider that is known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The name in model references.
    pub name: String,
    /// What it calls itself.
    pub title: String,
    /// The wire format at [`base_url`](Entry::base_url).
    pub dialect: Dialect,
    /// Where it is.
    pub base_url: Template,
    /// The variables that may hold its key; the first that is set does.
    pub keys: Vec<String>,
    /// Whether it is a program on this machine: it needs no key, and is asked which models it has.
    pub local: bool,
    /// In what it differs from its dialect.
    pub quirks: Vec<Quirk>,
    /// Where address and variables were read.
    pub source: Source,
}

/// A difference from the dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quirk {
    /// The name of a member of [`Quirks`].
    pub name: String,
    /// What it is, for one that is more than yes or no.
    pub is: Option<String>,
    /// Where it was read.
    pub source: Source,
}

/// Where something was read, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A page, or an issue as `owner/repository#number`.
    pub from: String,
    /// The day, as `2026-11-21`.
    pub date: String,
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that the provider has for it.
    pub name: String,
    /// Most tokens of a request and its answer together; `None` when unknown.
    pub window: Option<u64>,
    /// Most tokens of an answer; `None` when unknown.
    pub output: Option<u64>,
    /// What it reads beside text; `None` when unknown.
    pub media: Option<Media>,
    /// Whether it calls tools; `None` when unknown.
    pub tools: Option<bool>,
    /// Whether it thinks before it answers; `None` when unknown.
    pub thinking: Option<bool>,
    /// What it costs; `None` when unknown.
    pub price: Option<Price>,
    /// Where all this was read.
    pub source: Source,
}

/// What a model reads beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// Pictures.
    pub image: bool,
    /// Sounds.
    pub audio: bool,
    /// PDF documents.
    pub pdf: bool,
}

/// A text with variables in it: `${NAME}`, or `${NAME:-what holds when it is unset}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// The catalogue that is built in, parsed when it is first wanted.
///
/// # Errors
/// Never, as a test shows; a caller that has an error of its own for bad files can pass it on.
pub fn built_in() -> Result<&'static Catalogue, &'static Problems> {
    static BUILT_IN: LazyLock<Result<Catalogue, Problems>> = LazyLock::new(|| Catalogue::parse(PROVIDERS, MODELS));
    BUILT_IN.as_ref()
}

impl Catalogue {
    /// Reads a catalogue from the names and the texts of its two files.
    ///
    /// # Errors
    /// Everything that is wrong with the first of them that is wrong.
    pub fn parse(providers: (&str, &str), models: (&str, &str)) -> Result<Self, Problems> {
        let providers = file(providers, "providers", |faults, key, node| {
            Some((key.text.clone(), entry(faults, &key.text, node)?))
        })?;
        let models = file(models, "models", |faults, key, node| {
            let members = faults.members(node)?;
            let models = members.iter().filter_map(|(key, node)| model(faults, &key.text, node)).collect();
            if !providers.contains_key(&key.text) {
                faults.add(key.place, "there is no such provider");
            }
            Some((key.text.clone(), models))
        })?;
        Ok(Catalogue { providers, models })
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Entry> {
        self.providers.get(name)
    }

    /// All providers, by name.
    pub fn providers(&self) -> impl Iterator<Item = &Entry> {
        self.providers.values()
    }

    /// The models known at a provider, in the order of the file: newest first.
    pub fn models(&self, provider: &str) -> &[Model] {
        self.models.get(provider).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is known of a model at a provider. A dated snapshot (`gpt-5-2025-08-07`) is what its name without the date is.
    pub fn model(&self, provider: &str, name: &str) -> Option<&Model> {
        let find = |name: &str| self.models(provider).iter().find(|model| model.name == name);
        find(name).or_else(|| find(undated(name)?))
    }

    /// Whether a model of this name is known at a provider whose models always call tools natively.
    pub fn calls_natively(&self, model: &str) -> bool {
        self.providers().any(|entry| entry.quirks().native_calls && self.model(&entry.name, model).is_some())
    }

    /// The quirks of the server at this address: those of the provider that is known there, and none elsewhere.
    pub fn quirks_at(&self, dialect: Dialect, base_url: &str) -> Quirks {
        let there = |entry: &&Entry| {
            let start = entry.base_url.start();
            let rest = base_url.strip_prefix(start);
            let complete = !entry.base_url.has_variables();
            entry.dialect == dialect && complete && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.providers().find(there).map(Entry::quirks).unwrap_or_default()
    }
}

impl Entry {
    /// What its client has to do otherwise.
    pub fn quirks(&self) -> Quirks {
        let mut quirks = Quirks::default();
        for quirk in &self.quirks {
            // All of them are known, or the catalogue would not have been read.
            apply(&mut quirks, &quirk.name, quirk.is.as_deref());
        }
        quirks
    }

    /// The variables that would have to be set for it to be used, one of the keys first; empty when nothing is missing.
    /// `has_key` when a key is there already.
    pub fn missing(&self, env: Env<'_>, has_key: bool) -> Vec<String> {
        let key = self.keys.first().filter(|_| !self.local && !has_key && self.key(env).is_none());
        let mut missing: Vec<String> = key.into_iter().cloned().collect();
        missing.extend(self.base_url.fill(env).err().unwrap_or_default());
        missing
    }

    /// The variable that its key is in, or the one to put it in when none is set.
    pub fn key_variable(&self, env: Env<'_>) -> String {
        let set = |name: &&String| env(name).is_some_and(|key| !key.is_empty());
        self.keys.iter().find(set).or(self.keys.first()).cloned().unwrap_or_default()
    }

    /// Its key in the environment; from then on it is a secret.
    pub fn key(&self, env: Env<'_>) -> Option<String> {
        let key = |name: &String| env(name).filter(|key| !key.is_empty()).inspect(|key| hide(name, key));
        self.keys.iter().find_map(key)
    }
}

impl Template {
    /// The text with its variables in place.
    ///
    /// # Errors
    /// The names of those that are not set and have nothing that holds instead.
    pub fn fill(&self, env: Env<'_>) -> Result<String, Vec<String>> {
        let (mut text, mut unset) = (String::new(), Vec::new());
        for piece in self.pieces() {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Variable { name, default } => {
                    match env(name).filter(|value| !value.is_empty()).or(default.map(str::to_owned)) {
                        Some(value) => text.push_str(&value),
                        None => unset.push(name.to_owned()),
                    }
                }
            }
        }
        if unset.is_empty() { Ok(text) } else { Err(unset) }
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        let (mut pieces, mut rest) = (Vec::new(), self.0.as_str());
        while let Some((before, behind)) = rest.split_once("${") {
            let (variable, after) = behind.split_once('}').unwrap_or((behind, ""));
            let (name, default) = match variable.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (variable, None),
            };
            pieces.extend([Piece::Text(before), Piece::Variable { name, default }]);
            rest = after;
        }
        pieces.push(Piece::Text(rest));
        pieces
    }

    fn has_variables(&self) -> bool {
        self.0.contains("${")
    }

    /// What stands before the first variable, without a slash at its end.
    fn start(&self) -> &str {
        self.0.split("${").next().unwrap_or_default().trim_end_matches('/')
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, default: Option<&'a str> },
}

/// Prices in force: those that somebody set, and else those that are built in.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    own: Arc<BTreeMap<String, Price>>,
}

impl Prices {
    /// With these by `provider/model`, before any other.
    pub fn new(own: BTreeMap<String, Price>) -> Self {
        Prices { own: Arc::new(own) }
    }

    /// The price of a model, and whether somebody set it; `None` when it is unknown.
    pub fn of(&self, provider: &str, model: &str) -> Option<(&Price, bool)> {
        let own = self.own.get(&format!("{provider}/{model}")).map(|price| (price, true));
        let known = || Some((built_in().ok()?.model(provider, model)?.price.as_ref()?, false));
        own.or_else(known)
    }

    /// The prices that somebody set, by `provider/model`.
    pub fn own(&self) -> impl Iterator<Item = (&str, &Price)> {
        self.own.iter().map(|(reference, price)| (reference.as_str(), price))
    }
}

/// Sets the quirk of that name; answers whether there is one.
fn apply(quirks: &mut Quirks, name: &str, is: Option<&str>) -> bool {
    match (name, is) {
        ("completion_tokens", None) => quirks.completion_tokens = true,
        ("cache_key", None) => quirks.cache_key = true,
        ("strict", None) => quirks.strict = true,
        ("no_stream_options", None) => quirks.no_stream_options = true,
        ("no_reasoning_summary", None) => quirks.no_reasoning_summary = true,
        ("no_encrypted_reasoning", None) => quirks.no_encrypted_reasoning = true,
        ("bearer", None) => quirks.bearer = true,
        ("openapi_schemas", None) => quirks.openapi_schemas = true,
        ("cuts_prompts", None) => quirks.cuts_prompts = true,
        ("native_calls", None) => quirks.native_calls = true,
        ("endless", None) => quirks.endless = true,
        ("effort", Some("without_tools")) => quirks.effort = EffortForm::WithoutTools,
        ("effort", Some("none_with_tools")) => quirks.effort = EffortForm::NoneWithTools,
        ("effort", Some("object")) => quirks.effort = EffortForm::Object,
        ("effort", Some("high_or_none")) => quirks.effort = EffortForm::HighOrNone,
        ("effort", Some("never")) => quirks.effort = EffortForm::Never,
        ("force", Some("required")) => quirks.force = ForceForm::Required,
        ("force", Some("never")) => quirks.force = ForceForm::Never,
        _ => return false,
    }
    true
}

/// The name without the date of a snapshot behind it: `-2025-08-07`, `-20250929`, `-latest`.
fn undated(name: &str) -> Option<&str> {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, last) = name.rsplit_once('-')?;
    if last == "latest" || digits(last, 8) {
        return Some(before);
    }
    let (before, month) = before.rsplit_once('-')?;
    let (before, year) = before.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(before)
}

/// Reads the members below `key` of a file.
fn file<T>(
    (name, text): (&str, &str),
    key: &str,
    mut read: impl FnMut(&mut Faults, &Key, &Node) -> Option<(String, T)>,
) -> Result<BTreeMap<String, T>, Problems> {
    let (document, mut faults) = Document::parse(name, text)?;
    let fields = faults.fields(document.root(), &["version", key]);
    faults.required(&fields, "version").and_then(|node| faults.whole(node, 1..=1));
    let members = faults.required(&fields, key).and_then(|node| faults.members(node)).unwrap_or_default();
    let read = members.iter().filter_map(|(key, node)| read(&mut faults, key, node)).collect();
    document.finish(Some(read), faults)
}

fn entry(faults: &mut Faults, name: &str, node: &Node) -> Option<Entry> {
    let known = ["title", "dialect", "base_url", "keys", "local", "quirks", "source", "date"];
    let fields = faults.fields(node, &known);
    let dialects = Dialect::ALL.map(|dialect| (dialect.as_str(), dialect));
    let title = faults.required(&fields, "title").and_then(|node| faults.text(node)).map(str::to_owned);
    let dialect = faults.required(&fields, "dialect").and_then(|node| faults.choice(node, &dialects));
    let base_url = faults.required(&fields, "base_url").and_then(|node| faults.text(node));
    let keys = faults.required(&fields, "keys").and_then(|node| faults.list(node)).unwrap_or_default();
    let keys = keys.iter().filter_map(|node| faults.text(node).map(str::to_owned)).collect();
    let local = fields.get("local").and_then(|node| faults.flag(node)).unwrap_or(false);
    let mut quirks = Vec::new();
    for (key, node) in fields.get("quirks").and_then(|node| faults.members(node)).unwrap_or_default() {
        let fields = faults.fields(node, &["is", "source", "date"]);
        let is = fields.get("is").and_then(|node| faults.text(node)).map(str::to_owned);
        if !apply(&mut Quirks::default(), &key.text, is.as_deref()) {
            faults.add(key.place, "there is no such quirk");
        }
        quirks.extend(source(faults, &fields).map(|source| Quirk { name: key.text.clone(), is, source }));
    }
    let source = source(faults, &fields);
    let base_url = Template(base_url?.to_owned());
    Some(Entry {
        name: name.to_owned(),
        title: title?,
        dialect: dialect?,
        base_url,
        keys,
        local,
        quirks,
        source: source?,
    })
}

fn model(faults: &mut Faults, name: &str, node: &Node) -> Option<Model> {
    let known = ["window", "output", "media", "tools", "thinking", "price", "source", "date"];
    let fields = faults.fields(node, &known);
    let mut tokens = |key| fields.get(key).and_then(|node| faults.whole(node, 1..=100_000_000));
    let (window, output) = (tokens("window"), tokens("output"));
    let mut flag = |key| fields.get(key).and_then(|node| faults.flag(node));
    let (tools, thinking) = (flag("tools"), flag("thinking"));
    let media = match fields.get("media") {
        None => None,
        Some(node) => {
            let mut media = Media::default();
            for node in faults.list(node).unwrap_or_default() {
                let kinds = [("image", MediaKind::Image), ("audio", MediaKind::Audio), ("pdf", MediaKind::Document)];
                match faults.choice(node, &kinds) {
                    Some(MediaKind::Image) => media.image = true,
                    Some(MediaKind::Audio) => media.audio = true,
                    Some(MediaKind::Document) => media.pdf = true,
                    None => {}
                }
            }
            Some(media)
        }
    };
    let price = fields.get("price").and_then(|node| Price::read(faults, node));
    let source = source(faults, &fields)?;
    Some(Model { name: name.to_owned(), window, output, media, tools, thinking, price, source })
}

fn source(faults: &mut Faults, fields: &crate::yaml::Fields<'_>) -> Option<Source> {
    let from = faults.required(fields, "source").and_then(|node| faults.text(node)).map(str::to_owned);
    let node = faults.required(fields, "date")?;
    let date = faults.text(node)?;
    if date.parse::<jiff::civil::Date>().is_err() {
        faults.of(node, "this is no day, such as 2026-11-21");
    }
    Some(Source { from: from?, date: date.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::Usage, run::NanoDollars};

    fn catalogue() -> &'static Catalogue {
        built_in().unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn every_provider_is_sound() {
        let everything_set = |name: &str| Some(format!("a-{}", name.to_lowercase().replace('_', "-")));
        for entry in catalogue().providers() {
            let name = &entry.name;
            let url = entry.base_url.fill(&everything_set).unwrap();
            let url = reqwest::Url::parse(&url).unwrap_or_else(|error| panic!("{name}: {error}"));
            let loopback = url.host_str() == Some("127.0.0.1");
            assert_eq!(loopback, entry.local, "{name}");
            assert_eq!(url.scheme(), if loopback { "http" } else { "https" }, "{name}");
            assert!(!entry.keys.is_empty() || entry.local, "{name} has no key");
            assert!(!entry.title.is_empty() && !entry.source.from.is_empty(), "{name}");
            let client =
                super::super::Client::builder(entry.dialect, url.as_str()).key("k".into()).quirks(entry.quirks());
            if entry.local {
                // Others need the certificates of the system.
                client.build().unwrap();
            }
            let bare = entry.missing(&|_| None, false);
            assert_eq!(bare.first(), entry.keys.first().filter(|_| !entry.local), "{name}");
            assert_eq!(entry.missing(&everything_set, false), [""; 0], "{name}");
        }
        let usual = [
            "openai",
            "openai-chat",
            "anthropic",
            "gemini",
            "openrouter",
            "mistral",
            "deepseek",
            "xai",
            "groq",
            "together",
            "fireworks",
            "cerebras",
            "azure",
            "bedrock",
            "bedrock-anthropic",
            "vertex",
            "ollama",
            "llamacpp",
            "lmstudio",
            "vllm",
        ];
        for name in usual {
            assert!(catalogue().provider(name).is_some(), "{name}");
        }
    }

    #[test]
    fn every_model_is_sound() {
        for provider in catalogue().providers() {
            for model in catalogue().models(&provider.name) {
                let name = format!("{}/{}", provider.name, model.name);
                assert!(model.source.from.starts_with("https://"), "{name}");
                assert!(model.output <= model.window || model.window.is_none(), "{name}");
                let Some(price) = &model.price else { continue };
                for rates in [Some(&price.rates), price.above.as_ref().map(|above| &above.rates)].into_iter().flatten()
                {
                    assert!(rates.input <= rates.output, "{name}");
                    assert!(rates.cached.is_none_or(|cached| cached < rates.input), "{name}");
                    assert!(rates.cache_write.is_none_or(|write| write > rates.input), "{name}");
                }
                assert!(price.above.is_none_or(|above| above.rates.input > price.rates.input), "{name}");
            }
        }
        assert_eq!(catalogue().models("nobody"), []);
    }

    #[test]
    fn what_is_wrong_with_a_catalogue_is_told() {
        let good = ("c.yaml", "version: 1\nproviders: {}\n");
        let none = ("m.yaml", "version: 1\nmodels: {}\n");
        assert!(Catalogue::parse(good, none).is_ok());
        let entry = |more: &str| {
            format!(
                "version: 1\nproviders:\n  a: {{title: A, dialect: openai-chat, base_url: x, keys: [K], source: s, date: 2026-11-21{more}}}\n"
            )
        };
        let table = [
            (entry(", quirks: {oddity: {source: s, date: 2026-11-21}}"), "no such quirk"),
            (entry(", quirks: {cuts_prompts: {is: often, source: s, date: 2026-11-21}}"), "no such quirk"),
            (entry(", quirks: {cuts_prompts: {date: 2026-11-21}}"), "\"source\" is missing"),
            (entry(", quirks: {cuts_prompts: {source: s, date: lately}}"), "no day"),
            (entry("").replace("openai-chat", "telepathy"), "openai-chat"),
            (entry("").replace(", source: s", ""), "\"source\" is missing"),
            (entry(", a: b"), "unknown key"),
            (format!("{}  a: {{}}\n", entry("")), "a"),
        ];
        for (text, expected) in table {
            let problems = Catalogue::parse(("c.yaml", &text), none).unwrap_err().to_string();
            assert!(problems.starts_with("c.yaml:") && problems.contains(expected), "{text}: {problems}");
        }
        let models = "version: 1\nmodels: {a: {m: {window: 0, source: s, date: 2026-11-21}}}\n";
        let problems = Catalogue::parse(good, ("m.yaml", models)).unwrap_err().to_string();
        assert!(problems.contains("no such provider") && problems.contains("found 0"), "{problems}");
    }

    #[test]
    fn templates_are_filled() {
        let env = |name: &str| (name == "SET").then(|| "set".to_owned());
        let fill = |text: &str| Template(text.to_owned()).fill(&env);
        assert_eq!(fill("https://x/v1").unwrap(), "https://x/v1");
        assert_eq!(fill("https://${SET}.x/${SET}").unwrap(), "https://set.x/set");
        assert_eq!(fill("https://${SET:-other}/${UNSET:-other}").unwrap(), "https://set/other");
        assert_eq!(fill("https://${A}/${SET}/${B}").unwrap_err(), ["A", "B"]);
    }

    #[test]
    fn snapshots_are_their_models() {
        for (name, expected) in [
            ("gpt-5-2025-08-07", Some("gpt-5")),
            ("claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
            ("mistral-large-latest", Some("mistral-large")),
            ("gpt-5-mini", None),
            ("gpt-5", None),
            ("x", None),
        ] {
            assert_eq!(undated(name), expected, "{name}");
        }
        assert_eq!(catalogue().model("openai", "gpt-5-2025-08-07"), catalogue().model("openai", "gpt-5"));
        assert_eq!(catalogue().model("openai", "gpt-5-turbo-x"), None);
    }

    #[test]
    fn quirks_hold_at_the_address_of_their_provider() {
        let at = |url| catalogue().quirks_at(Dialect::OpenAiChat, url);
        assert!(at("http://127.0.0.1:11434/v1").cuts_prompts);
        assert_eq!(at("https://api.deepseek.com/").force, ForceForm::Never);
        assert!(
            at("https://api.openai.com/v1").completion_tokens && at("https://api.openai.com/v1/").completion_tokens
        );
        assert_eq!(at("https://api.openai.com/v1.example/"), Quirks::NONE);
        assert_eq!(at("https://far.example/v1"), Quirks::NONE);
    }

    #[test]
    fn a_price_that_was_set_goes_first() {
        let usage = Usage { input: 1_000_000, ..Usage::default() };
        let of =
            |prices: &Prices, model| prices.of("openai", model).map(|(price, own)| (price.cost(&usage).unwrap(), own));
        let known = Prices::default();
        assert_eq!(of(&known, "gpt-5"), Some((NanoDollars(1_250_000_000), false)));
        assert_eq!(of(&known, "gpt-nobody-knows"), None, "unknown stays unknown");
        let mut price = known.of("openai", "gpt-5").unwrap().0.clone();
        price.rates.input = NanoDollars(0);
        let own = Prices::new(BTreeMap::from([("openai/gpt-5".to_owned(), price)]));
        assert_eq!(of(&own, "gpt-5"), Some((NanoDollars(0), true)));
    }
}
