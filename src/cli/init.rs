//! `init`: writes the first agent of a folder, with a model that can be asked from here.
//!
//! On a terminal it asks, with an answer ready for each question; elsewhere it wants `--yes` and takes those. What is there
//! already is never written over.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use serde_json::json;

use super::{
    args,
    exit::{Code, Trouble},
    open,
    out::Out,
    screen::Screen,
    text::{Form, escape},
};
use crate::{
    agent::{Agent, is_name},
    daemon::models::{self, Listing},
};

/// The file that is written, where `run` finds it without being told.
const FILE: &str = "agent.yaml";

/// Most models that are offered; `agentd models` lists all.
const OFFERED_MAX: usize = 9;

/// What is to be written.
struct Wishes {
    name: String,
    model: String,
    root: String,
}

/// Writes `agent.yaml`.
pub(super) async fn init(it: &args::Init, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let path = it.dir.join(FILE);
    if path.exists() {
        let advice = format!("agentd check {0}\n  agentd run {0} PROMPT", path.display());
        return Err(Trouble::usage(format!("{} is there already. Look at it, or run it:\n  {advice}", path.display())));
    }
    let asks = !it.yes && !it.shared.json;
    if asks && !(io::stdin().is_terminal() && screen.is_terminal()) {
        return Err(Trouble::usage("nobody is there to be asked; take the answers that are ready: agentd init --yes"));
    }
    let settings = open::settings(&it.shared)?;
    let listings = models::list(&settings).await?;
    let (models, missing) = offered(&listings);
    let ready = Wishes {
        name: it.name.clone().unwrap_or_else(|| name_of(&it.dir)),
        model: it.model.clone().or_else(|| models.first().cloned()).unwrap_or_else(|| missing.0.clone()),
        root: ".".to_owned(),
    };
    let wishes = match asks {
        true => ask(ready, &models, it, screen)?,
        false => ready,
    };
    let text = agent(&wishes);
    // What we write must be what we read.
    Agent::parse(FILE, &text).map_err(|problems| Trouble::usage(problems.to_string()))?;
    fs::create_dir_all(&it.dir).with_context(|| format!("cannot make {}", it.dir.display()))?;
    let mut file = fs::File::create_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    let shown = path.display().to_string();
    let unset = (models.is_empty() && it.model.is_none()).then_some(missing.1);
    if it.shared.json {
        out.document(&json!({"file": shown, "name": wishes.name, "model": wishes.model, "missing": unset}))?;
        return Ok(Code::Done);
    }
    screen.tell(format_args!(
        "wrote {shown}: {} asks {}, and may look at files in {}",
        wishes.name, wishes.model, wishes.root
    ));
    if let Some(unset) = unset {
        screen.tell(format_args!(
            "no model can be asked from here yet: {unset}, or name another model in the file; all ways: agentd models"
        ));
        screen.tell("look again with: agentd doctor");
    }
    screen.tell(format_args!("try it: agentd run {shown} \"What is in this folder?\""));
    Ok(Code::Done)
}

/// The models to choose from, the best guess first; and what to name, and to do, where there are none.
fn offered(listings: &[Listing]) -> (Vec<String>, (String, String)) {
    let ready = listings.iter().filter(|listing| listing.obstacle.is_none() && listing.dialect != "scripted");
    // One or two of each provider, rather than all of the first.
    let models: Vec<Vec<String>> = ready
        .map(|listing| listing.models.iter().map(|model| format!("{}/{}", listing.provider, model.name)).collect())
        .collect();
    let most = models.iter().map(Vec::len).max().unwrap_or(0);
    let mixed = (0..most).flat_map(|place| models.iter().filter_map(move |of| of.get(place).cloned()));
    let wanting = listings.iter().find_map(|listing| {
        let (model, obstacle) = (listing.models.first()?, listing.obstacle.as_ref()?);
        Some((format!("{}/{}", listing.provider, model.name), obstacle.to_string()))
    });
    let nothing = || ("local/MODEL".to_owned(), "no provider is known".to_owned());
    (mixed.take(OFFERED_MAX).collect(), wanting.unwrap_or_else(nothing))
}

fn ask(ready: Wishes, models: &[String], it: &args::Init, screen: &Screen) -> Result<Wishes, Trouble> {
    let name = match it.name {
        Some(_) => ready.name,
        None => question(screen, "name of the agent", &ready.name, |name| match is_name(name) {
            true => Ok(name.to_owned()),
            false => Err("lower-case letters, digits, - and _, at most 64".to_owned()),
        })?,
    };
    let model = match it.model {
        Some(_) => ready.model,
        None => {
            for (number, model) in (1..).zip(models) {
                screen.tell(format_args!("  {number}. {}", escape(model, Form::Line)));
            }
            question(screen, "model (its number, or another)", &ready.model, |typed| match typed.parse::<usize>() {
                Ok(number) => {
                    let model = number.checked_sub(1).and_then(|place| models.get(place));
                    model.cloned().ok_or_else(|| format!("there are {}", models.len()))
                }
                Err(_) if typed.chars().any(|c| c.is_whitespace() || c.is_control()) => {
                    Err("write it as provider/model".to_owned())
                }
                Err(_) => Ok(typed.to_owned()),
            })?
        }
    };
    let root = question(screen, "folder that it may look at", &ready.root, |root| {
        let plain = !root.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '$'));
        if plain { Ok(root.to_owned()) } else { Err("without quotes, backslashes and $".to_owned()) }
    })?;
    Ok(Wishes { name, model, root })
}

/// Asks until the answer is one; an empty line takes what is ready, the end of input leaves.
fn question<T>(
    screen: &Screen,
    what: &str,
    ready: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Trouble> {
    loop {
        screen.ask(format_args!("{what} [{}]:", escape(ready, Form::Line)));
        let mut line = String::new();
        let read_bytes = io::stdin().read_line(&mut line).context("cannot read from this terminal")?;
        if read_bytes == 0 {
            return Err(Trouble::usage("left; nothing was written"));
        }
        let typed = line.trim();
        match read(if typed.is_empty() { ready } else { typed }) {
            Ok(answer) => return Ok(answer),
            Err(why) => screen.tell(why),
        }
    }
}

/// A name for an agent that lives in this folder.
fn name_of(dir: &Path) -> String {
    let dir = std::path::absolute(dir).unwrap_or_default();
    let name = dir.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let fit = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = name.chars().map(fit).collect();
    let name: String = name.trim_matches(['-', '_']).chars().take(64).collect();
    if is_name(&name) { name } else { "helper".to_owned() }
}

fn agent(wishes: &Wishes) -> String {
    let Wishes { name, model, root } = wishes;
    format!(
        "\
version: 1
name: {name}
model: \"{model}\"
instructions: |
  You help with the files in this folder. Look before you answer, and say which files you read.

servers:
  files: {{builtin: files, root: \"{root}\"}}
  # Any MCP server works as well, for example (needs uv):
  # git: {{command: uvx, args: [mcp-server-git]}}

# Everything but reads asks first. What may run without asking goes here:
# policy:
#   \"files.write\": {{approve: allow}}

limits: {{turns: 40, active: 30m}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_sound_agent() {
        let wishes = Wishes { name: "a".to_owned(), model: "local/qwen3:8b".to_owned(), root: "./my notes".to_owned() };
        let agent = Agent::parse(FILE, &agent(&wishes)).unwrap();
        assert_eq!((agent.name.as_str(), agent.model.name.as_str(), agent.servers.len()), ("a", "local/qwen3:8b", 1));
    }

    #[test]
    fn folders_name_their_agents() {
        let names = ["/home/me/My Notes", "/", "/srv/_x.y_"].map(|dir| name_of(Path::new(dir)));
        assert_eq!(names, ["my-notes", "helper", "x-y"]);
    }
}
