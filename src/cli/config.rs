//! `config show`: what the settings come to, and where each value came from; `schema`: what files may hold, for editors.

use std::{env, path::PathBuf};

use serde_json::{Map, Value, json};

use super::{
    args::{self, SchemaOf},
    exit::{Code, Trouble},
    figures::columns,
    open,
    out::Out,
    text::{Form, escape},
};
use crate::{
    agent::Agent,
    daemon::{
        settings::{Origin, Settings},
        variables::Source,
    },
};

/// Shows the settings in force.
pub(super) fn show(it: &args::ConfigShow, out: Out) -> Result<Code, Trouble> {
    let settings = open::settings(&it.shared)?;
    let values = settings.shown()?;
    let about = about(&it.shared, &settings)?;
    if it.shared.json {
        let value = |path: &str, value: &str, origin: &Value| json!({"path": path, "value": value, "origin": origin});
        let about = about.iter().map(|(path, said, from)| value(path, said, &json!({"source": from})));
        let values = values.iter().map(|shown| value(&shown.path, &shown.value, &origin(&shown.origin)));
        out.document(&json!({"values": about.chain(values).collect::<Vec<_>>()}))?;
        return Ok(Code::Done);
    }
    let line = |path: &str, value: &str, origin: String| {
        let mut line = vec![escape(path, Form::Line).into_owned(), escape(value, Form::Line).into_owned()];
        line.extend(it.origin.then(|| escape(&origin, Form::Line).into_owned()));
        line
    };
    let about = about.iter().map(|(path, value, from)| line(path, value, (*from).to_owned()));
    let values = values.iter().map(|shown| line(&shown.path, &shown.value, words(&shown.origin)));
    out.text(&columns(&about.chain(values).collect::<Vec<_>>(), &[0, 1, 2]))?;
    Ok(Code::Done)
}

/// Which files and folders are in force, and who says so.
fn about(shared: &args::Shared, settings: &Settings) -> Result<Vec<(&'static str, String, &'static str)>, Trouble> {
    let named = env::var_os("AGENTD_CONFIG").map(PathBuf::from);
    let config = match (&settings.file, &shared.config) {
        (None, _) => ("$config", "none".to_owned(), "default"),
        (Some(file), None) => ("$config", file.display().to_string(), "found"),
        (Some(file), Some(given)) if Some(given) == named.as_ref() => {
            ("$config", file.display().to_string(), "environment")
        }
        (Some(file), Some(_)) => ("$config", file.display().to_string(), "flag"),
    };
    let set = env::var_os("AGENTD_HOME").is_some_and(|home| !home.is_empty());
    let home = ("$home", open::home()?.display().to_string(), if set { "environment" } else { "default" });
    let file = shared.env_file.as_ref().map(|file| ("$env_file", file.display().to_string(), "flag"));
    Ok([config, home].into_iter().chain(file).collect())
}

/// An origin in a few words.
fn words(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::Catalogue => "catalogue".to_owned(),
        Origin::Variable(name, source) => format!("${{{name}}} {}", source.as_str()),
        Origin::File { file, line, variables, .. } => {
            let set = |(name, source): &(String, Option<Source>)| match source {
                Some(source) => format!(" (${{{name}}} {})", source.as_str()),
                None => format!(" (${{{name}}} is not set)"),
            };
            format!("{file}:{line}{}", variables.iter().map(set).collect::<String>())
        }
    }
}

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({"source": "default"}),
        Origin::Catalogue => json!({"source": "catalogue"}),
        Origin::Variable(name, source) => json!({"source": source.as_str(), "variable": name}),
        Origin::File { file, line, col, variables } => {
            let mut origin = json!({"source": "file", "file": file, "line": line, "col": col});
            if !variables.is_empty() {
                let set = |(name, source): &(String, Option<Source>)| (name.clone(), json!(source.map(Source::as_str)));
                origin["variables"] = Value::Object(variables.iter().map(set).collect::<Map<_, _>>());
            }
            origin
        }
    }
}

/// Prints the JSON Schema of a kind of files.
pub(super) fn schema(it: &args::Schema, out: Out) -> Result<Code, Trouble> {
    let schema = match it.of {
        SchemaOf::Agent => Agent::schema(),
        SchemaOf::Config => Settings::schema(),
    };
    out.document(&schema.map_err(anyhow::Error::msg)?)?;
    Ok(Code::Done)
}
