//! What lies beside agent files and is none: told by the keys at its top level, never by its name.
//!
//! A file is a script, or settings, when all its keys are theirs and one of them no agent has. Whatever else is in a
//! file, it is an agent, be it a broken one.

use std::fmt;

use serde::Serialize;

use crate::{
    daemon::settings,
    provider::scripted,
    yaml::{Content, Document},
};

/// A file that is no agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Plays a model.
    Script,
    /// What `--config` takes.
    Settings,
}

impl Kind {
    /// What a text is; `None` when it is an agent, or nothing that can be read.
    pub fn of(text: &str) -> Option<Self> {
        let (document, _) = Document::parse("", text).ok()?;
        let Content::Map(members) = &document.root().content else { return None };
        let all_of = |keys: &[&str]| members.iter().all(|(key, _)| keys.contains(&&*key.text));
        // The version says nothing of whose it is.
        let kinds = [(Kind::Script, &scripted::KEYS[..]), (Kind::Settings, &settings::KEYS)];
        let (kind, _) = kinds.into_iter().find(|(_, keys)| all_of(keys))?;
        members.iter().any(|(key, _)| key.text != "version").then_some(kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Script => "a script, not an agent",
            Kind::Settings => "settings, not an agent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_keys_and_a_doubtful_one_is_an_agent() {
        for (text, kind) in [
            ("version: 1\nanswers: []\n", Some(Kind::Script)),
            ("answers: 7\n", Some(Kind::Script)),
            ("version: 1\nproviders: {demo: {dialect: scripted, script: ./a.yaml}}\n", Some(Kind::Settings)),
            ("routes: {}\nbudgets: {}\n", Some(Kind::Settings)),
            ("version: 1\nname: a\nmodel: demo/any\n", None),
            ("version: 1\nname: a\nanswers: []\n", None),
            ("version: 1\nprovider: {}\n", None),
            ("version: 1\n", None),
            ("", None),
            ("- answers\n", None),
            ("answers: [\n", None),
        ] {
            assert_eq!(Kind::of(text), kind, "{text}");
        }
    }

    #[test]
    fn no_agent_has_a_key_that_tells_of_another_kind() {
        let agent = include_str!("../agent/reference.yaml");
        let (document, _) = Document::parse("", agent).unwrap();
        let Content::Map(members) = &document.root().content else { panic!("no map") };
        let keys: Vec<_> = members.iter().map(|(key, _)| &*key.text).collect();
        for key in scripted::KEYS.iter().chain(&settings::KEYS).filter(|key| **key != "version") {
            assert!(!keys.contains(key), "{key}");
        }
    }
}
