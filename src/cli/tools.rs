//! `tools`: what tools an agent has and what holds for them; one call by hand; being a bundled server.
//!
//! A call by hand is no run: nothing is journaled, nothing is resumed, and nothing is repeated. Whoever wants those
//! promises starts a run.

use std::io::{self, IsTerminal, Read};

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    args::{self, ToolsWhat},
    exit::{Code, Trouble},
    figures::columns,
    open,
    out::Out,
    screen::Screen,
    start,
    stopper::Stopper,
    text::{Form, brief, count, escape, grouped, indent},
};
use crate::{
    agent::{Agent, Approval, Said, Trust},
    chat::{Effect, EffectSource, MediaSource, Part, ToolDef},
    daemon,
    mcp::{self, Answered, Call, Host, Lost, Outcome, ToolHost, guard},
    provider::tool_tokens,
    repair::Schema,
    run::holds,
    waiting, yaml,
};

/// Longest name of a tool in a table, in characters.
const NAME_MAX: usize = 60;

/// Longest condition in a table, in characters.
const WHEN_MAX: usize = 100;

/// Longest message of a server about its progress, in characters.
const MESSAGE_MAX: usize = 60;

/// Most bytes of arguments from stdin, as many as an entry of a journal may have.
const ARGUMENTS_BYTES_MAX: u64 = 16 << 20;

/// Does what the command says.
pub(super) async fn tools(what: &ToolsWhat, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    match what {
        ToolsWhat::Ls(it) => ls(it, screen, out).await,
        ToolsWhat::Call(it) => call(it, screen, out).await,
        ToolsWhat::Serve(it) => match it.server {
            args::Bundled::Files => {
                let root = it.root.display();
                let served = mcp::files(&it.root).await;
                served.map_err(|error| Trouble::usage(format!("cannot serve {root}: {error}")))?;
                Ok(Code::Done)
            }
        },
    }
}

/// An agent and its servers, not yet started.
struct Opened {
    agent: Agent,
    host: Host,
    left_out: Vec<(String, String)>,
}

/// The agent that is meant, with all of its servers or only one.
fn open(
    reference: &str,
    shared: &args::Shared,
    only: impl Fn(&Agent) -> Result<Option<String>, Trouble>,
) -> Result<Opened, Trouble> {
    let (file, definition, dir) = start::agent(reference)?;
    let agent = Agent::parse(&file, &definition).map_err(|problems| daemon::Error::File(problems.to_string()))?;
    let only = only(&agent)?;
    let (variables, home) = (open::variables(shared)?, open::home()?);
    let guard = guard::Program::this().map_err(anyhow::Error::from)?;
    let (host, left_out) = daemon::tools::host(&agent, &dir, &variables, &home, Some(guard), only.as_deref())?;
    Ok(Opened { agent, host, left_out })
}

async fn ls(it: &args::ToolsLs, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let Opened { agent, host, left_out } = open(&it.agent, &it.shared, |_| Ok(None))?;
    screen.flying("starting tool servers".to_owned());
    let waiting = waiting::on(servers(&agent));
    let listed = host.list().await;
    drop(waiting);
    host.close().await;
    screen.flying(String::new());
    let mut listing = listed.map_err(daemon::Error::from)?;
    listing.missing.extend(left_out);
    let names: Vec<_> = listing.tools.iter().map(|tool| &tool.origin).collect();
    listing.warnings.extend(agent.idle_rules(&names));
    listing.tools.iter_mut().for_each(|tool| agent.judge(tool));
    for warning in &listing.warnings {
        screen.tell(format_args!("note: {}", escape(warning, Form::Line)));
    }
    for (server, why) in &listing.missing {
        screen.tell(format_args!("note: server {} is not there: {}", brief(server, NAME_MAX), escape(why, Form::Text)));
    }
    if it.shared.json {
        out.document(&document(&agent, &listing))?;
    } else {
        out.text(&table(&agent, &listing.tools))?;
    }
    Ok(Code::Done)
}

/// A line a tool, and what they cost together.
fn table(agent: &Agent, tools: &[ToolDef]) -> String {
    let head = ["TOOL", "EFFECT", "BECAUSE OF", "CALLS", "BECAUSE OF", "TOKENS"].map(str::to_owned).to_vec();
    let lines = tools.iter().flat_map(|tool| {
        let (approval, said) = agent.approval_of(&tool.origin);
        let row = vec![
            brief(&tool.origin.to_string(), NAME_MAX),
            tool.effect.to_string(),
            effect_from(agent, tool),
            runs(approval, tool.effect).to_owned(),
            from(agent, &said, approval_default(approval)),
            grouped(tool_tokens(tool)),
        ];
        // What holds for some arguments only stands below what holds for the others.
        let conditional = agent.conditional(&tool.origin).into_iter().map(|(approval, when, said)| {
            let because = format!("{} when {}", from(agent, &said, ""), brief(when.as_str(), WHEN_MAX));
            vec![String::new(), String::new(), String::new(), runs(approval, tool.effect).to_owned(), because]
        });
        std::iter::once(row).chain(conditional.collect::<Vec<_>>()).collect::<Vec<_>>()
    });
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(lines).collect();
    let tokens = tools.iter().map(tool_tokens).sum();
    let total = format!("{}, about {} in every request", count(tools.len() as u64, "tool"), count(tokens, "token"));
    if tools.is_empty() { total } else { format!("{}\n{total}", columns(&rows, &[0, 1, 2, 3, 4])) }
}

/// What becomes of calls of a tool.
fn runs(approval: Approval, effect: Effect) -> &'static str {
    match approval {
        Approval::Allow => "run",
        Approval::AskOnWrite if effect == Effect::Read => "run",
        Approval::Ask | Approval::AskOnWrite => "ask",
        Approval::Deny => "refused",
    }
}

fn approval_default(approval: Approval) -> &'static str {
    match approval {
        Approval::AskOnWrite => "all but reads ask",
        _ => "default",
    }
}

/// Where a tool's effect comes from.
fn effect_from(agent: &Agent, tool: &ToolDef) -> String {
    match (agent.effect_of(&tool.origin), tool.effect_source) {
        (Some((_, said)), _) => from(agent, &said, "default"),
        (None, EffectSource::Hints) => "its annotations".to_owned(),
        (None, _) => match distrusted(agent, tool) {
            true => "default: trust is none".to_owned(),
            false => "default: it does not say".to_owned(),
        },
    }
}

fn distrusted(agent: &Agent, tool: &ToolDef) -> bool {
    let server = agent.servers.iter().find(|server| server.name == tool.origin.server);
    server.is_some_and(|server| server.trust == Trust::None)
}

/// A place of the agent file, or what holds when it says nothing.
fn from(agent: &Agent, said: &Said<'_>, default: &str) -> String {
    let Some(place) = said.place() else { return format!("default: {default}").replace("default: default", "default") };
    let at = format!("{}:{}", brief(agent.file(), NAME_MAX), place.line);
    match said {
        Said::Policy { pattern, .. } => format!("{at} {}", brief(pattern, NAME_MAX)),
        said => format!("{at} {}", said.as_str()),
    }
}

/// What becomes of calls of a tool, in the words of the agent file.
fn word(approval: Approval, effect: Effect) -> &'static str {
    match runs(approval, effect) {
        "run" => "allow",
        "ask" => "ask",
        _ => "deny",
    }
}

fn document(agent: &Agent, listing: &mcp::Listing) -> Value {
    let origin = |said: &Said<'_>| match said.place() {
        None => json!({"source": said.as_str()}),
        Some(place) => {
            let mut origin =
                json!({"source": said.as_str(), "file": agent.file(), "line": place.line, "col": place.col});
            if let Said::Policy { pattern, .. } = said {
                origin["pattern"] = (*pattern).into();
            }
            origin
        }
    };
    let tool = |tool: &ToolDef| {
        let (approval, said) = agent.approval_of(&tool.origin);
        let effect_from = match (agent.effect_of(&tool.origin), tool.effect_source) {
            (Some((_, said)), _) => origin(&said),
            (None, EffectSource::Hints) => json!({"source": "annotations"}),
            (None, _) => json!({"source": "default"}),
        };
        json!({
            "tool": tool.origin.to_string(),
            "offered_as": tool.name.as_str(),
            "description": &*tool.description,
            "effect": tool.effect.as_str(),
            "effect_from": effect_from,
            "trust": if distrusted(agent, tool) { "none" } else { "hints" },
            "calls": word(approval, tool.effect),
            "calls_from": origin(&said),
            "conditions": agent.conditional(&tool.origin).into_iter().map(|(approval, when, said)| json!({
                "when": when.as_str(),
                "calls": word(approval, tool.effect),
                "calls_from": origin(&said),
            })).collect::<Vec<_>>(),
            "tokens": tool_tokens(tool),
            "hash": &*tool.hash,
        })
    };
    let missing = |(server, why): &(String, String)| json!({"server": server, "reason": why});
    json!({
        "agent": agent.name,
        "tools": listing.tools.iter().map(tool).collect::<Vec<_>>(),
        "tokens": listing.tools.iter().map(tool_tokens).sum::<u64>(),
        "warnings": listing.warnings,
        "missing": listing.missing.iter().map(missing).collect::<Vec<_>>(),
    })
}

async fn call(it: &args::ToolsCall, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let (server, name) = it.tool.split_once('.').unwrap_or((&it.tool, ""));
    let known = |agent: &Agent| {
        let servers = || agent.servers.iter().map(|server| server.name.as_str());
        match servers().any(|known| known == server) {
            true if !name.is_empty() => Ok(Some(server.to_owned())),
            true => Err(Trouble::usage(format!("write SERVER.TOOL; see: agentd tools ls {}", it.agent))),
            false => {
                Err(Trouble::not_found(format!("{} has no server {server:?}{}", agent.file(), hint(server, servers()))))
            }
        }
    };
    let arguments = arguments(&it.arguments)?;
    let Opened { agent, host, left_out } = open(&it.agent, &it.shared, known)?;
    if let Some((_, why)) = left_out.into_iter().next() {
        return Err(daemon::Error::File(why).into());
    }
    let done = made(it, &agent, &host, name, &arguments, screen, out).await;
    host.close().await;
    screen.flying(String::new());
    done
}

/// The servers of an agent, as they are waited for.
fn servers(agent: &Agent) -> String {
    let names: Vec<&str> = agent.servers.iter().map(|server| server.name.as_str()).collect();
    format!("the tool servers ({}) to list their tools", names.join(", "))
}

/// Finds the tool, checks the arguments, asks, and makes the call.
async fn made(
    it: &args::ToolsCall,
    agent: &Agent,
    host: &Host,
    name: &str,
    arguments: &str,
    screen: &Screen,
    out: Out,
) -> Result<Code, Trouble> {
    screen.flying(format!("starting {}", brief(&it.tool, NAME_MAX)));
    let waiting = waiting::on(servers(agent));
    let mut listing = host.list().await.map_err(daemon::Error::from)?;
    drop(waiting);
    if let Some((server, why)) = listing.missing.pop() {
        return Err(daemon::Error::from(mcp::Error::NotStarted { server, detail: why }).into());
    }
    let tools = || listing.tools.iter().map(|tool| tool.origin.tool.as_str());
    let Some(found) = listing.tools.iter().find(|tool| tool.origin.tool == name) else {
        let names: Vec<&str> = tools().collect();
        let others = match yaml::nearest(name, names.iter().copied()) {
            Some(near) => format!("; did you mean {near:?}?"),
            None => format!("; it offers {}", names.join(", ")),
        };
        return Err(Trouble::not_found(format!("there is no tool {:?}{others}", it.tool)));
    };
    let mut tool = found.clone();
    agent.judge(&mut tool);
    fits(&tool, arguments)?;
    screen.flying(String::new());
    allowed(it, agent, &tool, arguments, screen)?;

    let policy = agent.policy_for(&tool.origin);
    let call = Call {
        tool: tool.origin.clone(),
        arguments: arguments.into(),
        idempotency_key: Uuid::now_v7().to_string(),
        idle: policy.timeout,
        total: policy.total_timeout,
        certain: false,
    };
    let prepared = host.prepare(&tool).await.map_err(daemon::Error::from)?;
    screen.flying(brief(&it.tool, NAME_MAX));
    let mut progress = |progress: mcp::Progress| {
        let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
        let message = progress.message.map(|message| format!(" {}", brief(&message, MESSAGE_MAX))).unwrap_or_default();
        screen.flying(format!("{} {}{total}{message}", brief(&it.tool, NAME_MAX), progress.done));
    };
    let waiting = waiting::on(format!("{} to answer", call.tool));
    let stopper = Stopper::listen().map_err(anyhow::Error::from)?;
    let outcome = tokio::select! {
        outcome = prepared.call(call, &mut progress) => outcome,
        // The server is told when the call is dropped.
        _ = stopper.more_than(0) => {
            screen.flying(String::new());
            screen.tell("the call was cancelled; its outcome is unknown: look before you repeat it");
            return Ok(stopper.first().map_or(Code::Interrupted, Code::of_signal));
        }
    };
    drop(waiting);
    screen.flying(String::new());
    told(it, &outcome, screen, out)
}

/// The arguments as they were typed, a JSON object.
fn arguments(typed: &str) -> Result<String, Trouble> {
    let mut text = typed.to_owned();
    if typed == "-" {
        text.clear();
        let read = io::stdin().lock().take(ARGUMENTS_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| Trouble::usage(format!("cannot read the arguments from stdin: {error}")))?;
    }
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Object(_)) => Ok(text),
        Ok(_) => Err(Trouble::usage("the arguments must be a JSON object, such as '{\"path\": \"a.txt\"}'")),
        Err(error) => Err(Trouble::usage(format!("the arguments are no JSON: {error}"))),
    }
}

/// Whether the arguments fit the tool. A schema that cannot be used checks nothing, as in a run.
fn fits(tool: &ToolDef, arguments: &str) -> Result<(), Trouble> {
    let Ok(schema) = Schema::compile(&tool.input_schema) else { return Ok(()) };
    let arguments: Value = serde_json::from_str(arguments).map_err(anyhow::Error::from)?;
    schema
        .check_value(&arguments)
        .map_err(|faults| Trouble::usage(format!("the arguments of {} do not fit:{faults}", tool.origin)))
}

/// Asks as the policy says.
fn allowed(
    it: &args::ToolsCall,
    agent: &Agent,
    tool: &ToolDef,
    arguments: &str,
    screen: &Screen,
) -> Result<(), Trouble> {
    let given: Value = serde_json::from_str(arguments).map_err(anyhow::Error::from)?;
    let (always, said) = agent.approval_of(&tool.origin);
    let (approval, because, clear) = match agent.approval(&tool.origin, &given) {
        Ok(approval) if approval == always => (approval, from(agent, &said, approval_default(approval)), true),
        Ok(approval) => (approval, "a rule for such arguments".to_owned(), true),
        // As in a run, nothing allows what a person must look at.
        Err(unclear) => (Approval::Ask, unclear.to_string(), false),
    };
    let unchecked = tool.effect != Effect::Read && Schema::compile(&tool.input_schema).is_err();
    let because =
        if unchecked { "its schema cannot be used, so its arguments are not checked".to_owned() } else { because };
    match runs(approval, tool.effect) {
        "run" if !unchecked || it.yes => return Ok(()),
        "run" => {}
        "ask" if it.yes && clear => return Ok(()),
        "ask" => {}
        _ => return Err(Trouble::usage(format!("{} is refused ({because})", tool.origin))),
    }
    let attended = !it.shared.json && io::stdin().is_terminal() && screen.is_terminal() && it.arguments != "-";
    if !attended {
        return Err(Trouble::usage(format!(
            "{} ({}) needs approval ({because}), and nobody is here to give it; {}",
            tool.origin,
            tool.effect,
            if clear { "allow it with --yes" } else { "call it at a terminal" }
        )));
    }
    let shown = indent(arguments, "  ");
    screen.tell(format_args!(
        "? {} ({}) needs approval: {because}\n{}",
        brief(&tool.origin.to_string(), NAME_MAX),
        tool.effect,
        escape(&shown, Form::Text)
    ));
    loop {
        screen.ask("  [o]nce, [d]eny:");
        let mut line = String::new();
        let read = io::stdin().read_line(&mut line).map_err(anyhow::Error::from)?;
        screen.answered();
        match line.trim() {
            "o" | "once" | "y" | "yes" => return Ok(()),
            "d" | "deny" | "n" | "no" => return Err(Trouble::usage("refused")),
            _ if read == 0 => return Err(Trouble::usage("refused")),
            _ => {}
        }
    }
}

/// Prints what the call came to.
fn told(it: &args::ToolsCall, outcome: &Outcome, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let (word, code) = match outcome {
        Outcome::Answered(answered) if answered.is_error => ("answered", Code::Failed),
        Outcome::Answered(_) => ("answered", Code::Done),
        Outcome::NeverSent(_) => ("never_sent", Code::Tools),
        Outcome::Lost(_) => ("lost", Code::Failed),
    };
    match outcome {
        Outcome::Answered(answered) => {
            for note in &answered.notes {
                screen.tell(format_args!("note: {}", escape(note, Form::Text)));
            }
            if answered.is_error && !it.shared.json {
                screen.tell("the tool reports an error:");
            }
            match it.shared.json {
                true => out.document(&result(&it.tool, answered))?,
                false => out.text(&shown(answered))?,
            }
        }
        Outcome::NeverSent(why) | Outcome::Lost(Lost { why, .. }) => {
            let unknown = if word == "lost" { "; its outcome is unknown: look before you repeat it" } else { "" };
            screen.tell(format_args!("error: {}{unknown}", escape(why, Form::Text)));
            if it.shared.json {
                out.document(&json!({"tool": it.tool, "outcome": word, "error": {"code": word, "message": why}}))?;
            }
        }
    }
    Ok(code)
}

/// A result for people: its texts, or else what it holds as JSON.
fn shown(answered: &Answered) -> String {
    let parts = answered.content.iter().map(|part| match part {
        Part::Text(text) => text.to_string(),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => format!("[{}; --json shows it]", media.mime),
        Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => String::new(),
    });
    let text = parts.collect::<Vec<_>>().join("\n");
    match &answered.structured {
        Some(structured) if text.is_empty() => indent(structured, ""),
        Some(structured) if !holds(&answered.content, structured) => format!("{text}\n{}", indent(structured, "")),
        _ => text,
    }
}

/// A result as a document, with the structured content as the server wrote it.
#[derive(Serialize)]
struct Document<'a> {
    tool: &'a str,
    outcome: &'static str,
    is_error: bool,
    content: Vec<Value>,
    structured: Option<&'a RawValue>,
    notes: &'a [String],
}

fn result<'a>(tool: &'a str, answered: &'a Answered) -> Document<'a> {
    let part = |part: &Part| match part {
        Part::Text(text) => json!({"type": "text", "text": &**text}),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => {
            let kind = match part {
                Part::Image(_) => "image",
                Part::Audio(_) => "audio",
                _ => "document",
            };
            match &media.source {
                MediaSource::Base64(data) => json!({"type": kind, "mime": media.mime, "base64": &**data}),
                MediaSource::Url(url) => json!({"type": kind, "mime": media.mime, "url": url}),
            }
        }
        Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => Value::Null,
    };
    Document {
        tool,
        outcome: "answered",
        is_error: answered.is_error,
        content: answered.content.iter().map(part).collect(),
        structured: answered.structured.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        notes: &answered.notes,
    }
}

fn hint<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    yaml::nearest(wanted, names).map_or(String::new(), |near| format!("; did you mean {near:?}?"))
}
