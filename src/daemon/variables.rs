//! The variables that `${VAR}` and the keys of providers are looked up in: those of the process, then those of a file that
//! the caller names (`--env-file`).
//!
//! The file has lines `NAME=value`; `export` before it, quotes around the value, blank lines and comments are fine. Nothing
//! is expanded within values, so that a password with a `$` is what it is. What is in the environment goes before the file,
//! as in Node and uv. Tool servers get none of these unless the agent file names them.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use super::{Error, owned};
use crate::{
    agent::Agent,
    run::Run,
    show::hide,
    yaml::{Place, Problem, Problems, decode},
};

/// Where variables are looked up. Clones are cheap; `Debug` shows no values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// What the file says.
    file: Arc<BTreeMap<String, String>>,
}

/// Where a variable is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the environment of the process.
    Environment,
    /// In the file.
    File,
}

impl Source {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Environment => "environment",
            Source::File => "env-file",
        }
    }
}

impl Variables {
    /// Those of the process, and behind them those of a file.
    ///
    /// # Errors
    /// When the file cannot be read, may be written by others, or has a line that is none.
    pub fn with(file: &Path) -> Result<Self, Error> {
        let source = owned::read(file)?;
        if let Some(doubt) = source.doubt {
            return Err(Error::File(format!("{}: {doubt}", file.display())));
        }
        let name = file.display().to_string();
        let read = decode(&name, &source.bytes).and_then(|text| parse(&name, text));
        Ok(Variables { file: Arc::new(read.map_err(|problems| Error::File(problems.to_string()))?) })
    }

    /// The value of a variable; `None` when it is not set, or is not Unicode.
    pub fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| self.file.get(name).cloned())
    }

    /// Where a variable is set to something; `None` when it is not.
    pub fn source(&self, name: &str) -> Option<Source> {
        match std::env::var(name) {
            Ok(value) => (!value.is_empty()).then_some(Source::Environment),
            Err(_) => self.file.get(name).filter(|value| !value.is_empty()).map(|_| Source::File),
        }
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.file.keys()).finish()
    }
}

/// Makes known as secrets what a run's definition has variables for, so that what its tools said of them is not shown.
pub(super) fn hide_those_of(run: &Run, variables: &Variables) {
    let Some(started) = run.started() else { return };
    // A definition that cannot be read any more names no variables.
    let Ok(agent) = Agent::parse(&started.file, &started.definition) else { return };
    for name in agent.variables() {
        if let Some(value) = variables.get(name) {
            hide(name, &value);
        }
    }
}

/// The variables of a text.
fn parse(file: &str, text: &str) -> Result<BTreeMap<String, String>, Problems> {
    let (mut variables, mut problems) = (BTreeMap::new(), Vec::new());
    let (mut start, file) = (0, Arc::<str>::from(file));
    for (number, line) in (1..).zip(text.split_inclusive('\n')) {
        let begin = line.len() - line.trim_start_matches([' ', '\t', '\u{feff}']).len();
        let place = Place { line: number, col: 1, start: start + begin, end: start + begin };
        start += line.len();
        match variable(line.trim_start_matches('\u{feff}').trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => drop(variables.insert(name.to_owned(), value)),
            // Without its excerpt: what stands there may well be a secret.
            Err(message) => {
                problems.push(Problem { excerpt: String::new(), ..Problem::new(&file, "", place, message) })
            }
        }
    }
    match Problems::collect(problems) {
        None => Ok(variables),
        Some(problems) => Err(problems),
    }
}

/// The variable of a line; `None` when there is none.
fn variable(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("a line is NAME=value, or a comment that begins with #")?;
    let (name, value) = (name.trim(), value.trim());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("the name of a variable has letters, digits and underscores");
    }
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote) {
            let (inner, behind) = inner.split_once(quote).ok_or("the quotes are not closed on this line")?;
            return match behind.trim_start() {
                "" => Ok(Some((name, inner.to_owned()))),
                comment if comment.starts_with('#') => Ok(Some((name, inner.to_owned()))),
                _ => Err("something stands behind the closing quotes"),
            };
        }
    }
    // Without quotes, a comment needs a blank before it: colours and fragments of addresses hold `#` too.
    Ok(Some((name, value.split(" #").next().unwrap_or(value).trim_end().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_stand() {
        let text = "\u{feff}# keys\n\nA=1\nexport B = two words # said\nC='it''\n";
        assert!(parse(".env", text).is_err());
        let text = "\u{feff}A=1\n# no\nexport B = two words # said\nC='#$x'\nD=\"a b\" # c\nE=\nF=a#b=c\nA=2\n";
        let read = parse(".env", text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(read, [("A", "2"), ("B", "two words"), ("C", "#$x"), ("D", "a b"), ("E", ""), ("F", "a#b=c")]);
    }

    #[test]
    fn wrong_lines_are_all_told_and_none_is_shown() {
        let text = "sk-canary-123456\nA='open sk-canary-123456\n1B=x\nC=\"x\" y\n";
        let told = parse(".env", text).unwrap_err().to_string();
        for line in
            [".env:1:1: a line is NAME=value", ".env:2:1: the quotes", ".env:3:1: the name", ".env:4:1: something"]
        {
            assert!(told.contains(line), "{line}: {told}");
        }
        assert!(!told.contains("canary"), "{told}");
    }
}
