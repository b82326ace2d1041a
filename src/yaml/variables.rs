//! `${VAR}` in values: environment variables, looked up when the value is used and not when the file is read.
//!
//! `${NAME}` is replaced; `$${` stands for `${`; a `$` that no brace follows is a `$`, so that passwords and prices need
//! no care. There are no defaults and no nesting: what is unset is a problem with its place.

use std::{fmt, sync::Arc};

use secrecy::{ExposeSecret, SecretString};

use super::{Content, Document, Faults, Node, Place, Style};
use crate::show::hide;

/// A text with its variables not yet looked up.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    text: Arc<str>,
    place: Place,
}

/// A text with its variables looked up. `Debug` and `Display` show it as it was written.
#[derive(Clone)]
pub struct Expanded {
    written: Arc<str>,
    value: SecretString,
}

impl Written {
    /// The text of a node; variables that are not well written are noted.
    pub fn new(text: &str, place: Place, faults: &mut Faults) -> Option<Self> {
        match pieces(text).find_map(Result::err) {
            None => Some(Written { text: text.into(), place }),
            Some(message) => {
                faults.add(place, message);
                None
            }
        }
    }

    /// The text as it stands in the file.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The variables in it.
    pub fn variables(&self) -> Vec<&str> {
        variables(&self.text)
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Looks the variables up; from then on their values are secrets. The error names those that are not set.
    pub fn expand(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
        let secret = |name: &str| env(name).inspect(|found| hide(name, found));
        self.expand_open(&secret)
    }

    /// The same for what is no secret, such as a folder, which messages and results are full of.
    pub fn expand_open(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, String> {
        let (mut value, mut unset) = (String::new(), Vec::new());
        for piece in pieces(&self.text) {
            match piece? {
                Piece::Text(text) => value.push_str(text),
                Piece::Variable(name) => match env(name) {
                    Some(found) => value.push_str(&found),
                    None => unset.push(name),
                },
            }
        }
        match unset.as_slice() {
            [] => Ok(Expanded { written: self.text.clone(), value: value.into() }),
            [name] => Err(format!("the variable {name} is not set")),
            names => Err(format!("the variables {} are not set", names.join(", "))),
        }
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}:{}", self.text, self.place.line, self.place.col)
    }
}

impl Expanded {
    /// The value. Not for logs, journals or messages.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// The text as it stands in the file.
    pub fn written(&self) -> &str {
        &self.written
    }
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.written, f)
    }
}

impl fmt::Display for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Document {
    /// Takes out the members below the key `below` that want variables which are not set: their names, each with those
    /// variables.
    pub fn take_unset(&mut self, below: &str, env: &dyn Fn(&str) -> Option<String>) -> Vec<(String, Vec<String>)> {
        let Content::Map(root) = &mut self.root_mut().content else { return Vec::new() };
        let Some((_, node)) = root.iter_mut().find(|(key, _)| key.text == below) else { return Vec::new() };
        let Content::Map(members) = &mut node.content else { return Vec::new() };
        let mut taken = Vec::new();
        members.retain(|(key, node)| {
            let mut unset = Vec::new();
            wanted(node, &mut |name| {
                if env(name).is_none() && !unset.iter().any(|known| known == name) {
                    unset.push(name.to_owned());
                }
            });
            let ready = unset.is_empty();
            if !ready {
                taken.push((key.text.clone(), unset));
            }
            ready
        });
        taken
    }

    /// Looks up the variables in all values, in place.
    pub fn expand(&mut self, env: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) {
        expand(self.root_mut(), env, faults);
    }
}

fn expand(node: &mut Node, env: &dyn Fn(&str) -> Option<String>, faults: &mut Faults) {
    match &mut node.content {
        Content::List(list) => list.iter_mut().for_each(|node| expand(node, env, faults)),
        Content::Map(members) => members.iter_mut().for_each(|(_, node)| expand(node, env, faults)),
        Content::Scalar(text, style) if text.contains("${") => {
            let Some(written) = Written::new(text, node.place, faults) else { return };
            match written.expand(env) {
                Ok(value) => (*text, *style) = (value.expose().to_owned(), Style::Expanded),
                Err(message) => faults.add(node.place, message),
            }
        }
        Content::Scalar(..) => {}
    }
}

/// Calls `visit` for each variable in the values of this node.
fn wanted(node: &Node, visit: &mut dyn FnMut(&str)) {
    match &node.content {
        Content::List(list) => list.iter().for_each(|node| wanted(node, visit)),
        Content::Map(members) => members.iter().for_each(|(_, node)| wanted(node, visit)),
        Content::Scalar(text, _) => variables(text).into_iter().for_each(visit),
    }
}

/// The variables in a text, in its order; those that are not well written are passed over.
pub fn variables(text: &str) -> Vec<&str> {
    let names = pieces(text).filter_map(|piece| match piece {
        Ok(Piece::Variable(name)) => Some(name),
        _ => None,
    });
    names.collect()
}

enum Piece<'t> {
    Text(&'t str),
    Variable(&'t str),
}

/// The text and the variables of a value, in order; an error says what is wrong with a variable.
fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, String>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = match rest.find("${") {
            _ if rest.is_empty() => return None,
            None => return Some(Ok(Piece::Text(std::mem::take(&mut rest)))),
            Some(at) => at,
        };
        if at > 0 {
            let (before, from) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                // `$${`: both halves without the first dollar, one after the other.
                if before.is_empty() {
                    rest = &from[2..];
                    return Some(Ok(Piece::Text("${")));
                }
                rest = &rest[before.len()..];
                return Some(Ok(Piece::Text(before)));
            }
            rest = from;
            return Some(Ok(Piece::Text(before)));
        }
        let Some((name, behind)) = rest[2..].split_once('}') else {
            rest = "";
            return Some(Err("a variable is not closed: write ${NAME}, or $${ for a literal ${".to_owned()));
        };
        rest = behind;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let shown: String = name.chars().take(40).collect();
            return Some(Err(format!(
                "{shown:?} is no name of a variable; it has letters, digits and underscores, and there are no defaults"
            )));
        }
        Some(Ok(Piece::Variable(name)))
    })
}
