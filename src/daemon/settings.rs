//! The settings of a machine, `agentd.yaml`: which providers there are and where runs are kept.
//!
//! Looked for at `--config`, `$AGENTD_CONFIG`, then `agentd.yaml` in the working directory or one above it, then in the
//! user's configuration directory; the first found is the one. Without any, the defaults hold: the store is sled below the
//! data directory, and `openai/…` works when `OPENAI_API_KEY` is set.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::Error;
use crate::{
    provider::Timeouts,
    yaml::{Document, Faults, Key, Node, Problems, decode},
};

/// What to call the file.
pub const FILE_NAME: &str = "agentd.yaml";

/// Where OpenAI serves its models (platform.openai.com, API reference, 2026-08).
const OPENAI: &str = "https://api.openai.com/v1";

/// The settings in force.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The file they come from; `None` for the defaults alone.
    pub file: Option<PathBuf>,
    /// The providers, by name.
    pub providers: BTreeMap<String, Provider>,
    /// Where runs are kept.
    pub store: Store,
}

/// A provider and how to reach it.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A server that speaks the OpenAI chat format.
    OpenAiChat {
        /// The address that `/chat/completions` is put behind.
        base_url: String,
        /// The key; `None` sends none.
        key: Option<SecretString>,
        /// How long requests may take.
        timeouts: Timeouts,
    },
    /// A script that plays a model.
    Scripted {
        /// Where it is.
        script: PathBuf,
    },
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

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Finds and reads the settings. `file` is what the caller names; `dir` is the working directory.
    ///
    /// # Errors
    /// A file that was named and is not there, one that cannot be read, and everything that is wrong with its text.
    pub fn load(file: Option<&Path>, dir: &Path, env: Env<'_>) -> Result<Settings, Error> {
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
                let bytes = fs::read(&file).map_err(unreadable)?;
                let name = file.display().to_string();
                let dir = std::path::absolute(&file).map_err(unreadable)?;
                let dir = dir.parent().unwrap_or(Path::new("/"));
                let read = decode(&name, &bytes).and_then(|text| Settings::parse(&name, text, dir, env));
                Settings { file: Some(file), ..read.map_err(|problems| Error::File(problems.to_string()))? }
            }
        };
        if let Some(key) = env("OPENAI_API_KEY").filter(|key| !key.is_empty()) {
            settings.providers.entry("openai".to_owned()).or_insert_with(|| Provider::OpenAiChat {
                base_url: OPENAI.to_owned(),
                key: Some(key.into()),
                timeouts: Timeouts::default(),
            });
        }
        Ok(settings)
    }

    /// Reads settings from their text. `file` is what to call it in problems; relative paths start from `dir`.
    pub fn parse(file: &str, text: &str, dir: &Path, env: Env<'_>) -> Result<Settings, Problems> {
        let (mut document, mut faults) = Document::parse(file, text)?;
        document.expand(env, &mut faults);
        let mut reader = Reader { faults, dir };
        let settings = reader.settings(document.root());
        document.finish(Some(settings), reader.faults)
    }
}

/// The user's configuration directory, as the XDG base directory specification 0.8 has it.
fn user_dir(env: Env<'_>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?.join("agentd"))
}

struct Reader<'a> {
    faults: Faults,
    dir: &'a Path,
}

impl Reader<'_> {
    fn settings(&mut self, root: &Node) -> Settings {
        let fields = self.faults.fields(root, &["version", "providers", "store"]);
        if let Some(node) = self.faults.required(&fields, "version")
            && self.faults.whole(node, 0..=u64::MAX).is_some_and(|version| version != 1)
        {
            self.faults.of(node, "this agentd reads version 1");
        }
        let providers = fields.get("providers").and_then(|node| self.faults.members(node)).unwrap_or_default();
        Settings {
            file: None,
            providers: providers.iter().filter_map(|(key, node)| self.provider(key, node)).collect(),
            store: fields.get("store").and_then(|node| self.store(node)).unwrap_or_default(),
        }
    }

    fn provider(&mut self, key: &Key, node: &Node) -> Option<(String, Provider)> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if key.text.is_empty() || key.text.len() > 64 || !key.text.chars().all(inner) {
            self.faults.add(key.place, "a provider's name has up to 64 of a-z, 0-9, '.', '-' and '_'");
        }
        let all = self.faults.members(node)?;
        let dialect = all.iter().find(|(key, _)| key.text == "dialect");
        let Some((_, dialect)) = dialect else {
            self.faults.of(node, "the key \"dialect\" is missing; it is openai-chat or scripted");
            return None;
        };
        let scripted = self.faults.choice(dialect, &[("openai-chat", false), ("scripted", true)])?;
        let provider = if scripted { self.scripted(node) } else { self.openai(node) };
        Some((key.text.clone(), provider?))
    }

    fn scripted(&mut self, node: &Node) -> Option<Provider> {
        let fields = self.faults.fields(node, &["dialect", "script"]);
        let script = self.faults.required(&fields, "script")?;
        Some(Provider::Scripted { script: self.dir.join(self.faults.text(script)?) })
    }

    fn openai(&mut self, node: &Node) -> Option<Provider> {
        let fields = self.faults.fields(node, &["dialect", "base_url", "key", "timeouts"]);
        let key =
            fields.get("key").and_then(|node| self.faults.text(node)).map(|key| SecretString::from(key.to_owned()));
        let timeouts = fields.get("timeouts").map(|node| self.timeouts(node)).unwrap_or_default();
        let url = self.faults.required(&fields, "base_url")?;
        let base_url = self.faults.text(url)?.to_owned();
        match base_url.parse::<http::Uri>() {
            Ok(parsed) if parsed.host().is_none() || !matches!(parsed.scheme_str(), Some("http" | "https")) => {
                self.faults.of(url, "this is no address of a server, such as https://api.example/v1");
            }
            Ok(parsed) if parsed.scheme_str() == Some("http") && key.is_some() && !loopback(parsed.host()) => {
                self.faults.of(url, "a key is only sent over https, or to this machine");
            }
            Ok(_) => {}
            Err(error) => self.faults.of(url, format!("this is no address: {error}")),
        }
        Some(Provider::OpenAiChat { base_url, key, timeouts })
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

    fn store(&mut self, node: &Node) -> Option<Store> {
        match self.faults.text(node)? {
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
    use super::*;

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
        let Provider::OpenAiChat { base_url, key, timeouts } = &settings.providers["local"] else { panic!() };
        assert_eq!(base_url, "http://127.0.0.1:8000/v1");
        assert_eq!(timeouts.idle.as_secs(), 5);
        assert!(key.is_some());
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
            ("version: 1\nproviders: {a: {dialect: openai-chat, base_url: \"${NOPE}\"}}\n", "NOPE"),
            ("version: 1\nproviders: {a: {dialect: scripted}}\n", "script"),
            ("version: 1\nstore: redis\n", "sled:PATH"),
            ("version: 1\nproviders: {a: {dialect: scripted, script: x, key: y}}\n", "key"),
        ];
        for (text, expected) in bad {
            let problems = parse(text).unwrap_err();
            assert!(problems.contains(expected), "{text}: {problems}");
            assert!(problems.starts_with("agentd.yaml:"), "{problems}");
        }
    }
}
