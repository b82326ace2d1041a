//! What the settings come to, value by value, and where each came from.
//!
//! Values of the file are shown as they are written, so that a `${VAR}` stays one; a key that stands there in full is not
//! shown, nor is any key of the environment.

use std::{path::PathBuf, time::Duration};

use super::{Provider, Settings, Store};
use crate::{
    daemon::{
        Error, owned,
        variables::{self, Variables},
    },
    provider::{Dialect, Timeouts, catalogue},
    router::Policy,
    yaml::{Content, Document, Node, decode},
};

/// A value that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its keys, with dots between.
    pub path: String,
    /// The value as a file would have it.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// What is known of the provider.
    Catalogue,
    /// The settings, at this line and column.
    File {
        /// What to call the file.
        file: String,
        /// The line, from one.
        line: u32,
        /// The column, from one.
        col: u32,
        /// The variables in it, and where each is set; `None` for nowhere.
        variables: Vec<(String, Option<variables::Source>)>,
    },
    /// A variable, and where it is set.
    Variable(String, variables::Source),
}

impl Settings {
    /// All values that hold, those of the file first.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn shown(&self) -> Result<Vec<Shown>, Error> {
        let mut shown = match &self.file {
            None => Vec::new(),
            Some(file) => written(file.clone(), &self.variables)?,
        };
        for (path, value, origin) in self.effective()? {
            let said = |own: &Shown| own.path == path || own.path.starts_with(&format!("{path}."));
            if !shown.iter().any(said) {
                shown.push(Shown { path, value, origin });
            }
        }
        Ok(shown)
    }

    /// What holds, with where it came from unless the file says it.
    fn effective(&self) -> Result<Vec<(String, String, Origin)>, Error> {
        let catalogue = catalogue::built_in().map_err(|problems| Error::File(problems.to_string()))?;
        let store = match &self.store {
            Store::Memory => "memory",
            Store::Sled { .. } => "sled",
        };
        let mut all = vec![("store".to_owned(), store.to_owned(), Origin::Default)];
        for (name, provider) in &self.providers {
            let Provider::Server(server) = provider else { continue };
            let entry = catalogue.provider(name);
            let known = if entry.is_some() { Origin::Catalogue } else { Origin::Default };
            let mut say =
                |key: &str, value: String, origin| all.push((format!("providers.{name}.{key}"), value, origin));
            say("dialect", Dialect::as_str(server.dialect).to_owned(), known.clone());
            say("base_url", server.base_url.clone(), known);
            let variable = entry.and_then(|entry| {
                let (name, source) = entry.keys.iter().find_map(|key| Some((key, self.variables.source(key)?)))?;
                Some(Origin::Variable(name.clone(), source))
            });
            if let (Some(_), Some(origin)) = (&server.key, variable) {
                say("key", SET.to_owned(), origin);
            }
            let strict = server.strict.unwrap_or(server.quirks.strictness());
            say("strict", strict.as_str().to_owned(), Origin::Default);
            let Timeouts { connect, first_token, idle, total } = server.timeouts;
            let timeouts = [("connect", connect), ("first_token", first_token), ("idle", idle), ("total", total)];
            for (key, timeout) in timeouts {
                say(&format!("timeouts.{key}"), length(timeout), Origin::Default);
            }
        }
        for (name, route) in &self.routes {
            let policy = Policy::ALL.iter().find(|(_, policy)| *policy == route.policy).map_or("", |(name, _)| name);
            all.push((format!("routes.{name}.policy"), policy.to_owned(), Origin::Default));
        }
        Ok(all)
    }
}

/// What stands for a value that is not shown.
const SET: &str = "(set)";

/// The values of the file, as they are written.
fn written(file: PathBuf, variables: &Variables) -> Result<Vec<Shown>, Error> {
    let name = file.display().to_string();
    let bytes = owned::read(&file)?.bytes;
    let document = decode(&name, &bytes).and_then(|text| Document::parse(&name, text));
    let (document, _) = document.map_err(|problems| Error::File(problems.to_string()))?;
    let mut shown = Vec::new();
    walk(document.root(), String::new(), &mut |path, node, text| {
        let names = crate::yaml::variables(text);
        let secret = names.is_empty() && path.ends_with(".key") || text.contains('@') && text.contains("://");
        let value = if secret { SET.to_owned() } else { text.to_owned() };
        let variables = names.iter().map(|name| ((*name).to_owned(), variables.source(name))).collect();
        let (line, col) = (node.place.line, node.place.col);
        shown.push(Shown { path, value, origin: Origin::File { file: name.clone(), line, col, variables } });
    });
    Ok(shown)
}

/// Visits all scalars, and what is empty.
fn walk<'n>(node: &'n Node, path: String, visit: &mut impl FnMut(String, &'n Node, &'n str)) {
    match &node.content {
        Content::Map(members) if members.is_empty() => visit(path, node, "{}"),
        Content::List(list) if list.is_empty() => visit(path, node, "[]"),
        Content::Map(members) => {
            for (key, below) in members {
                let path = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
                walk(below, path, visit);
            }
        }
        Content::List(list) => {
            for (index, below) in list.iter().enumerate() {
                walk(below, format!("{path}[{index}]"), visit);
            }
        }
        Content::Scalar(text, _) => visit(path, node, text),
    }
}

/// A length of time as a file would have it.
fn length(length: Duration) -> String {
    match (length.as_secs(), length.subsec_millis()) {
        (seconds, 0) if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", length.as_millis()),
    }
}
