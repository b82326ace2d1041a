//! `check`: tells everything that is wrong with agent files and the settings, and starts nothing.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    agent::Agent,
    chat::{Effect, ToolDef},
    daemon::{self, owned::Source},
    repair::Policy,
    router::{self, Router},
    yaml::{Content, Document, Problem, Problems, decode},
};

use super::{
    args,
    exit::{Code, Trouble},
    kind::Kind,
    open,
    out::Out,
    screen::Screen,
    start,
    text::{Form, escape},
};

/// What is wrong with a file; nothing when it is good.
#[derive(Debug, Default, Serialize)]
struct Checked {
    file: String,
    ok: bool,
    /// What it is; absent when it is an agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    problems: Vec<Fault>,
    /// How far calls are mended: `write lossless`, `files.* off`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repairs: Vec<String>,
    /// What keeps it from running here and now, though the file is good.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// All of them, for people.
    #[serde(skip)]
    text: String,
}

/// One thing that is wrong with a file.
#[derive(Debug, Serialize)]
struct Fault {
    /// The place, from one; `None` when it is the file as a whole.
    line: Option<u32>,
    col: Option<u32>,
    message: String,
}

/// Checks the settings and then each file.
pub(super) fn check(it: &args::Check, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let settings = open::settings(&it.shared);
    let router = settings.and_then(|settings| Ok(daemon::router(&settings)?));
    let wrong = router.as_ref().err().map(|trouble| trouble.message.clone());
    if let Some(text) = &wrong {
        screen.tell(escape(text, Form::Text));
    }
    let files: Vec<Checked> = it.files.iter().map(|path| check_file(path, router.as_ref().ok())).collect();
    for checked in &files {
        match checked.ok {
            true if it.shared.json => {}
            true if let Some(kind) = checked.kind => {
                out.text(&format!("{}: {kind}", escape(&checked.file, Form::Line)))?;
            }
            true => {
                for warning in &checked.warnings {
                    screen.tell(format_args!("{}: {}", escape(&checked.file, Form::Line), escape(warning, Form::Line)));
                }
                out.text(&format!("{}: ok", escape(&checked.file, Form::Line)))?;
                if !checked.repairs.is_empty() {
                    out.text(&format!("  repairs: {}", escape(&checked.repairs.join(", "), Form::Line)))?;
                }
            }
            false => screen.tell(escape(&checked.text, Form::Text)),
        }
    }
    let none = files.iter().all(|checked| checked.kind.is_some());
    if none {
        screen.tell("nothing was checked: none of these is an agent");
    }
    let ok = wrong.is_none() && !none && files.iter().all(|checked| checked.ok);
    if it.shared.json {
        out.document(&json!({"ok": ok, "settings": wrong, "files": files}))?;
    }
    Ok(if ok { Code::Done } else { Code::Usage })
}

/// Checks one agent file, or tells that it is none. Whether its provider exists is only known with sound settings.
fn check_file(path: &Path, router: Option<&Router>) -> Checked {
    let file = path.display().to_string();
    let checked = match start::source(path) {
        Err(why) => {
            let text = format!("{file}: {why}");
            Checked { problems: vec![Fault { line: None, col: None, message: why }], text, ..Checked::default() }
        }
        Ok(source) => match check_text(&file, &source, router) {
            Ok(Found::Agent { repairs, warnings }) => Checked { ok: true, repairs, warnings, ..Checked::default() },
            Ok(Found::Other(kind)) => Checked { ok: true, kind: Some(kind), ..Checked::default() },
            Err(problems) => Checked {
                problems: problems.iter().map(Fault::from).collect(),
                text: problems.to_string(),
                ..Checked::default()
            },
        },
    };
    Checked { file, ..checked }
}

/// A file with which nothing is wrong.
enum Found {
    Agent { repairs: Vec<String>, warnings: Vec<String> },
    Other(Kind),
}

fn check_text(file: &str, source: &Source, router: Option<&Router>) -> Result<Found, Problems> {
    let text = decode(file, &source.bytes)?;
    if let Some(kind) = Kind::of(text) {
        return Ok(Found::Other(kind));
    }
    let agent = Agent::parse(file, text)?;
    if let Some(problem) = source.doubt.as_ref().and_then(|why| agent.distrusted(why)) {
        return Err(problem.into());
    }
    let mut models = std::iter::once(agent.model.name.as_str()).chain(agent.model.steps.named());
    let mut warnings = Vec::new();
    let wrong = models.find_map(|model| match router?.resolve(model).err()? {
        // Nothing is wrong with the file: a key or the like is missing here.
        error @ router::Error::NotReady { .. } => {
            warnings.push(format!("warning: {error}"));
            None
        }
        error => Some(error),
    });
    match wrong {
        Some(error) => Err(at_model(file, text, &error.to_string())?.into()),
        None => Ok(Found::Agent { repairs: repairs(&agent), warnings }),
    }
}

/// How far calls are mended, by effect and, where the file says so, by tool.
fn repairs(agent: &Agent) -> Vec<String> {
    let effects = [Effect::Read, Effect::Idempotent, Effect::Write, Effect::Destructive];
    let by_effect = effects.into_iter().map(|effect| {
        let tool = |additive| ToolDef { effect, additive, ..ToolDef::new("", "", Value::Null) };
        let of = |tool: &ToolDef| agent.repairs.of(effect).unwrap_or_else(|| Policy::by_effect(tool)).as_str();
        match (of(&tool(false)), of(&tool(true))) {
            (usual, additive) if usual == additive => format!("{effect} {usual}"),
            (usual, additive) => {
                format!("{effect} {usual} ({additive} where the server says that nothing is destroyed)")
            }
        }
    });
    let by_tool = agent.rules.iter().filter_map(|it| Some(format!("{} {}", it.pattern, it.repair?.as_str())));
    by_effect.chain(by_tool).collect()
}

/// A problem with the model that a sound file names.
fn at_model(file: &str, text: &str, message: &str) -> Result<Problem, Problems> {
    let (document, _) = Document::parse(file, text)?;
    let mut node = document.root();
    // It stands behind `model`, or `name` in there.
    for key in ["model", "name"] {
        if let Content::Map(members) = &node.content
            && let Some((_, member)) = members.iter().find(|(found, _)| found.text == key)
        {
            node = member;
        }
    }
    Ok(document.problem(node.place, message))
}

impl From<&Problem> for Fault {
    fn from(problem: &Problem) -> Self {
        Fault { line: Some(problem.line), col: Some(problem.col), message: problem.message.clone() }
    }
}
