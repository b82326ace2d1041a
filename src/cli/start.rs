//! `run`: finds the agent file, reads prompt and typed input, and starts the run.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::{Map, Value};

use crate::{
    agent::{Agent, is_name},
    daemon::{self, New, owned},
    yaml,
};

use super::{args, attach, exit::Trouble, kind::Kind};

/// Most bytes of a prompt from stdin, as many as an entry of a journal may have.
const PROMPT_BYTES_MAX: u64 = 16 << 20;

/// What a new run starts from, as the command line says it.
pub(super) fn new(run: &args::Run) -> Result<New, Trouble> {
    let (path, prompt) = locate(run.agent.as_deref(), run.prompt.as_deref(), Path::new(""))?;
    let (file, definition, dir) = read(&path, run.outside_root)?;
    let input = match &run.input_json {
        Some(json) => {
            Some(serde_json::from_str(json).map_err(|error| Trouble::usage(format!("--input-json: {error}")))?)
        }
        None if run.inputs.is_empty() => None,
        None => Some(input(&run.inputs, &file, &definition)?),
    };
    Ok(New {
        file,
        definition: definition.into(),
        dir,
        prompt: prompt.map(|prompt| self::prompt(&prompt)).transpose()?,
        attached: attach::parts(&run.files)?,
        input,
        model: run.model.clone(),
        limits: (&run.limits).into(),
        allow: run.drive.allow.clone(),
        key: run.key.clone(),
    })
}

/// What the agent is told: the text itself, or what stdin says.
pub(super) fn prompt(prompt: &str) -> Result<String, Trouble> {
    if prompt != "-" {
        return Ok(prompt.to_owned());
    }
    let mut text = String::new();
    let read = io::stdin().lock().take(PROMPT_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        Err(error) => Err(Trouble::usage(format!("cannot read the prompt from stdin: {error}"))),
        Ok(bytes) if bytes as u64 > PROMPT_BYTES_MAX => {
            Err(Trouble::usage("the prompt on stdin is longer than 16 MiB"))
        }
        Ok(_) if text.trim().is_empty() => Err(Trouble::usage("the prompt on stdin is empty")),
        Ok(_) => Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned()),
    }
}

/// The agent that is meant, a file or a name: what its file is called in messages, its text, and its directory.
pub(super) fn agent(reference: &str) -> Result<(String, String, PathBuf), Trouble> {
    // With something behind it, a word is no prompt for another agent.
    let (path, _) = locate(Some(reference), Some(""), Path::new(""))?;
    read(&path, false)
}

/// The name of an agent file in messages, its text, and the directory that its paths start from.
///
/// With `outside`, the folders of servers may lead out of that directory whoever wrote the file.
fn read(path: &Path, outside: bool) -> Result<(String, String, PathBuf), Trouble> {
    let dir = path.parent().unwrap_or(Path::new(""));
    let dir = std::path::absolute(if dir.as_os_str().is_empty() { Path::new(".") } else { dir });
    let dir = dir.context("cannot tell the working directory")?;
    let file = path.display().to_string();
    let source = source(path).map_err(|why| match path.exists() {
        true => Trouble::usage(format!("{file}: {why}")),
        false => Trouble::not_found(format!("{file}: {why}{}", beside(path))),
    })?;
    let wrong = |problems: yaml::Problems| Trouble::from(daemon::Error::File(problems.to_string()));
    let text = yaml::decode(&file, &source.bytes).map_err(wrong)?.to_owned();
    if let Some(kind) = Kind::of(&text) {
        return Err(Trouble::usage(format!("{file}: {kind}")));
    }
    if let Some(why) = source.doubt {
        // What else is wrong with it is told as well.
        let agent = Agent::parse(&file, &text).map_err(wrong)?;
        if let Some(problem) = agent.distrusted(&why) {
            return Err(wrong(problem.into()));
        }
    }
    if !source.own && !outside {
        let agent = Agent::parse(&file, &text).map_err(wrong)?;
        let real = fs::canonicalize(&dir).ok();
        let leads_out = |root: &str| match fs::canonicalize(dir.join(root)) {
            Ok(root) => real.as_ref().is_none_or(|dir| !root.starts_with(dir)),
            // What is not there leads nowhere.
            Err(_) => false,
        };
        let why = "the root of this server leads out of the folder of the file, and the file is not your own; if you have read \
                   it and trust it: --outside-root, or make it a file of yours";
        if let Some(problem) = agent.reaching_out(why, &leads_out) {
            return Err(wrong(problem.into()));
        }
    }
    Ok((file, text, dir))
}

/// The file that may have been meant by one that is not there.
fn beside(path: &Path) -> String {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let names: Vec<String> =
        files.filter_map(|file| file.file_name().into_string().ok()).filter(|it| is_path(it)).collect();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let near = yaml::nearest(wanted, names.iter().map(String::as_str));
    near.map_or(String::new(), |near| format!("; did you mean {}?", path.with_file_name(near).display()))
}

/// What a file holds and who else could have written it, or why that cannot be known.
pub(super) fn source(path: &Path) -> Result<owned::Source, String> {
    owned::read(path).map_err(|error| match error {
        daemon::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "there is no such file".to_owned()
        }
        daemon::Error::Io { source, .. } => format!("cannot be read: {source}"),
        other => other.to_string(),
    })
}

/// Which file is meant, below `here`, and what is left as prompt. A lone word that can be no agent is a prompt for
/// `./agent.yaml`.
fn locate(agent: Option<&str>, prompt: Option<&str>, here: &Path) -> Result<(PathBuf, Option<String>), Trouble> {
    let own = here.join("agent.yaml");
    let rest = prompt.map(str::to_owned);
    match agent {
        Some(agent) if is_path(agent) => Ok((here.join(agent), rest)),
        Some(name) if is_name(name) => {
            let path = here.join("agents").join(format!("{name}.yaml"));
            if path.is_file() {
                return Ok((path, rest));
            }
            let known = known(here);
            let near = yaml::nearest(name, known.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("; did you mean {near}?"),
                None if own.is_file() => {
                    ". A prompt for ./agent.yaml goes behind it: agentd run agent.yaml PROMPT".to_owned()
                }
                None => String::new(),
            };
            Err(Trouble::not_found(format!("there is no agent {name}: no file {}{hint}", path.display())))
        }
        Some(words) if rest.is_none() && own.is_file() => Ok((own, Some(words.to_owned()))),
        None if own.is_file() => Ok((own, None)),
        Some(words) if rest.is_some() => {
            Err(Trouble::usage(format!("{words:?} is no agent; give a file such as agents/tidy.yaml, or its name")))
        }
        _ => Err(Trouble::usage(format!("no agent is given, and there is no ./agent.yaml.\n{}", ways(&known(here))))),
    }
}

fn is_path(text: &str) -> bool {
    text.contains('/') || text.ends_with(".yaml") || text.ends_with(".yml")
}

/// The names of the agents in `agents/`.
pub(super) fn known(here: &Path) -> Vec<String> {
    let files = fs::read_dir(here.join("agents")).into_iter().flatten().flatten();
    let names = files.filter_map(|file| {
        let name = file.file_name().to_str()?.strip_suffix(".yaml").filter(|name| is_name(name))?.to_owned();
        // Settings may lie beside agents, and so may scripts. What cannot be read is told when it is to be run.
        let other = fs::read_to_string(file.path()).ok().and_then(|text| Kind::of(&text));
        other.is_none().then_some(name)
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn ways(known: &[String]) -> String {
    match known {
        [] => "Write one with: agentd init. Or name a file: agentd run FILE.yaml PROMPT".to_owned(),
        [first, ..] => format!("Here are: {}. For example: agentd run {first} PROMPT", known.join(", ")),
    }
}

/// The typed input from its properties.
fn input(pairs: &[(String, String)], file: &str, definition: &str) -> Result<Value, Trouble> {
    let agent = Agent::parse(file, definition).map_err(|problems| daemon::Error::File(problems.to_string()))?;
    let mut input = Map::new();
    for (key, text) in pairs {
        let declared = agent.input.as_ref().and_then(|schema| schema.get("properties")?.get(key));
        if input.insert(key.clone(), property(text, declared)).is_some() {
            return Err(Trouble::usage(format!("--input {key} is given twice")));
        }
    }
    Ok(Value::Object(input))
}

/// A property as its schema wants it: text stays text unless the schema names other types and none of them is `string`.
fn property(text: &str, schema: Option<&Value>) -> Value {
    let types = match schema.and_then(|schema| schema.get("type")) {
        Some(Value::String(only)) => vec![only.as_str()],
        Some(Value::Array(types)) => types.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if types.is_empty() || types.contains(&"string") {
        return Value::String(text.to_owned());
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn an_agent_is_a_file_a_name_or_the_one_that_is_here() {
        let dir = folder(&["agent.yaml", "agents/tidy.yaml"]);
        let here = dir.path();
        let found = |agent, prompt| {
            let (path, prompt) = locate(agent, prompt, here).unwrap();
            (path.strip_prefix(here).unwrap().display().to_string(), prompt)
        };
        let words = |text: &str| Some(text.to_owned());
        assert_eq!(found(None, None), ("agent.yaml".to_owned(), None));
        assert_eq!(found(Some("tidy"), None), ("agents/tidy.yaml".to_owned(), None));
        assert_eq!(found(Some("tidy"), Some("go")), ("agents/tidy.yaml".to_owned(), words("go")));
        assert_eq!(found(Some("other.yaml"), Some("-")), ("other.yaml".to_owned(), words("-")));
        assert_eq!(found(Some("Sort my notes"), None), ("agent.yaml".to_owned(), words("Sort my notes")));
        assert_eq!(found(Some("-"), None), ("agent.yaml".to_owned(), words("-")));
    }

    #[test]
    fn what_is_not_there_is_said_with_a_way_on() {
        let dir = folder(&["agents/tidy.yaml", "agents/triage.yaml", "agents/tidy.script.yaml"]);
        for (file, text) in [("agentd", "version: 1\nstore: memory\n"), ("script", "version: 1\nanswers: []\n")] {
            fs::write(dir.path().join(format!("agents/{file}.yaml")), text).unwrap();
        }
        let trouble = |agent, prompt| locate(agent, prompt, dir.path()).unwrap_err();
        let missing = trouble(Some("tidi"), None);
        assert_eq!(
            (missing.code as u8, missing.message.ends_with("did you mean tidy?")),
            (8, true),
            "{}",
            missing.message
        );
        let none = trouble(None, None);
        assert_eq!(none.code as u8, 2);
        assert!(
            none.message.ends_with("Here are: tidy, triage. For example: agentd run tidy PROMPT"),
            "{}",
            none.message
        );
        assert_eq!(trouble(Some("Sort notes"), Some("now")).code as u8, 2);
        assert_eq!(trouble(Some("Sort notes"), None).code as u8, 2);
    }

    #[test]
    fn properties_follow_their_schema() {
        let number = json!({"type": "integer"});
        let either = json!({"type": ["string", "null"]});
        let list = json!({"type": "array"});
        assert_eq!(property("7", Some(&number)), json!(7));
        assert_eq!(property("seven", Some(&number)), json!("seven"), "for the schema to refuse");
        assert_eq!(property("7", Some(&either)), json!("7"));
        assert_eq!(property("[1, 2]", Some(&list)), json!([1, 2]));
        assert_eq!(property("7", None), json!("7"));
    }
}
