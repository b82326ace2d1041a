//! `doctor`: tries what a run would need, one thing after the other, and says for each what would mend it.
//!
//! ```text
//! settings ─► data ─► agents ─► their servers, started and listed ─► a tool call asked of each model
//! ```
//! What fails keeps nothing else from being looked at. The exit code is that of the first failure, as a run would have it.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
};

use anyhow::Context;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;

use super::{
    args,
    exit::{Code, Trouble},
    open,
    out::Out,
    screen::Screen,
    start,
    stopper::Stopper,
    story::Mark,
    text::{Form, count, duration, escape},
};
use crate::{
    agent::{Agent, Server, Start},
    daemon::{
        self, Daemon,
        models::{self, Listing, Obstacle},
        probe::{Tally, Wish},
        settings::{self, Settings, Unready},
        variables::Variables,
    },
    mcp::{ToolHost, guard},
    waiting,
};

/// Servers that are started at once.
const SERVERS_AT_ONCE: usize = 8;

/// Percent of the estimated tokens of a request that a server reads at least, if it reads the tools in it: those are most of it,
/// and the estimate is right within a third.
const READ_MIN: u64 = 40;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One thing that was tried.
#[derive(Debug, Serialize)]
struct Finding {
    /// What it is about: `settings`, `agent notes`, `server git of notes`, `model openai/gpt-5`.
    about: String,
    verdict: Verdict,
    message: String,
    /// The command, or the words, that mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
    #[serde(skip)]
    code: Code,
}

/// What was found so far; each finding is told at once.
struct Findings<'a> {
    screen: &'a Screen,
    all: Vec<Finding>,
}

impl Findings<'_> {
    fn take(&mut self, finding: Finding) {
        let mark = match finding.verdict {
            Verdict::Pass => Mark::Good,
            Verdict::Warn => Mark::Odd,
            Verdict::Fail => Mark::Bad,
        };
        let line = format!("{} {}: {}", mark.as_char(), finding.about, finding.message);
        self.screen.tell(escape(&line, Form::Text));
        if let Some(mend) = &finding.mend {
            self.screen.tell(format_args!("    {}", escape(mend, Form::Text).replace('\n', "\n    ")));
        }
        self.all.push(finding);
    }

    fn pass(&mut self, about: impl Into<String>, message: impl Into<String>) {
        self.take(Finding {
            about: about.into(),
            verdict: Verdict::Pass,
            message: message.into(),
            mend: None,
            code: Code::Done,
        });
    }

    fn warn(&mut self, about: impl Into<String>, message: impl Into<String>, mend: Option<String>) {
        self.take(Finding {
            about: about.into(),
            verdict: Verdict::Warn,
            message: message.into(),
            mend,
            code: Code::Done,
        });
    }

    fn fail(&mut self, about: impl Into<String>, code: Code, message: impl Into<String>, mend: Option<String>) {
        self.take(Finding { about: about.into(), verdict: Verdict::Fail, message: message.into(), mend, code });
    }

    fn trouble(&mut self, about: impl Into<String>, trouble: &Trouble) {
        self.fail(about, trouble.code, trouble.message.clone(), None);
    }
}

/// An agent that can be read.
struct Sound {
    reference: String,
    agent: Agent,
    dir: PathBuf,
}

/// Looks at everything.
pub(super) async fn doctor(it: &args::Doctor, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let mut found = Findings { screen, all: Vec::new() };
    let settings = look_at_settings(it, &mut found);
    let daemon = match &settings {
        Some(settings) => look_at_data(settings, &mut found),
        None => None,
    };
    let agents = look_at_agents(it, &mut found);
    let variables = open::variables(&it.shared)?;
    for sound in &agents {
        look_at_servers(sound, &variables, &mut found).await?;
    }
    if let (Some(settings), Some(daemon), false) = (&settings, &daemon, it.offline) {
        look_at_models(settings, daemon, &agents, &mut found).await?;
    }
    let code = found.all.iter().find(|finding| finding.verdict == Verdict::Fail).map_or(Code::Done, |it| it.code);
    let of = |verdict| found.all.iter().filter(|finding| finding.verdict == verdict).count();
    let (warned, failed) = (of(Verdict::Warn), of(Verdict::Fail));
    if it.shared.json {
        out.document(&json!({"ok": failed == 0, "findings": found.all}))?;
    } else {
        let all = count(found.all.len() as u64, "thing");
        out.text(&format!("looked at {all}: {failed} failed, {}", count(warned as u64, "warning")))?;
    }
    Ok(code)
}

fn look_at_settings(it: &args::Doctor, found: &mut Findings<'_>) -> Option<Settings> {
    let settings = open::settings(&it.shared).and_then(|settings| {
        daemon::router(&settings)?;
        Ok(settings)
    });
    match settings {
        Ok(settings) => {
            let file = settings.file.as_ref().map(|file| file.display().to_string());
            found.pass("settings", file.unwrap_or_else(|| "no agentd.yaml; the defaults hold".to_owned()));
            Some(settings)
        }
        Err(trouble) => {
            found.trouble("settings", &trouble);
            None
        }
    }
}

fn look_at_data(settings: &Settings, found: &mut Findings<'_>) -> Option<Daemon> {
    let home = open::home().map(|home| home.display().to_string()).unwrap_or_default();
    match open::open_with(settings) {
        Ok(daemon) => {
            found.pass("data", format!("runs are kept in {home}"));
            Some(daemon)
        }
        Err(trouble) => {
            found.trouble("data", &trouble);
            None
        }
    }
}

/// The agents that are named, or all that are here.
fn look_at_agents(it: &args::Doctor, found: &mut Findings<'_>) -> Vec<Sound> {
    let here = || {
        let own = Path::new("agent.yaml").is_file().then(|| "agent.yaml".to_owned());
        own.into_iter().chain(start::known(Path::new("")))
    };
    let references: Vec<String> = if it.agents.is_empty() { here().collect() } else { it.agents.clone() };
    if references.is_empty() {
        found.warn("agents", "there are none here", Some("agentd init".to_owned()));
    }
    let mut sound = Vec::new();
    for reference in references {
        let about = format!("agent {reference}");
        match start::agent(&reference) {
            Err(trouble) => found.trouble(about, &trouble),
            Ok((file, definition, dir)) => match Agent::parse(&file, &definition) {
                Err(problems) => {
                    let mend = Some(format!("agentd check {file}"));
                    found.fail(about, Code::Usage, problems.to_string(), mend);
                }
                Ok(agent) => {
                    found.pass(about, format!("{file} is sound"));
                    sound.push(Sound { reference, agent, dir });
                }
            },
        }
    }
    sound
}

/// Starts each server by itself, so that one that fails keeps no other from being seen.
async fn look_at_servers(sound: &Sound, variables: &Variables, found: &mut Findings<'_>) -> Result<(), Trouble> {
    let home = open::home()?;
    let guard = guard::Program::this().context("cannot tell where this program is")?;
    found.screen.flying(format!("starting the servers of {}", escape(&sound.reference, Form::Line)));
    let started = stream::iter(&sound.agent.servers).map(|server| {
        let (home, guard) = (&home, guard.clone());
        async move {
            let made = daemon::tools::host(&sound.agent, &sound.dir, variables, home, Some(guard), Some(&server.name));
            let listed = match made {
                Err(error) => Err(Trouble::from(error)),
                Ok((host, left_out)) => {
                    let waiting = waiting::on(format!("the tool server {} to list its tools", server.name));
                    let listed = host.list().await;
                    drop(waiting);
                    host.close().await;
                    listed
                        .map(|mut listing| {
                            listing.missing.extend(left_out);
                            listing
                        })
                        .map_err(|error| daemon::Error::from(error).into())
                }
            };
            (server, listed)
        }
    });
    let started: Vec<_> = started.buffered(SERVERS_AT_ONCE).collect().await;
    found.screen.flying(String::new());
    for (server, listed) in started {
        let about = format!("server {} of {}", server.name, sound.agent.name);
        match listed {
            Err(trouble) => found.fail(about, trouble.code, trouble.message, installing(server)),
            Ok(listing) => {
                for (_, why) in &listing.missing {
                    found.warn(&about, format!("it is left out: {why}"), None);
                }
                for warning in &listing.warnings {
                    found.warn(&about, warning, None);
                }
                if listing.missing.is_empty() {
                    found.pass(&about, count(listing.tools.len() as u64, "tool"));
                }
            }
        }
    }
    Ok(())
}

/// How to get the program of a server that is not there; `None` when it is there, or runs within ours.
fn installing(server: &Server) -> Option<String> {
    let Start::Command { command, .. } = &server.start else { return None };
    let command = command.as_str();
    let there = |dir: PathBuf| dir.join(command).is_file();
    // With variables in it, only the server's own error can tell.
    if command.contains("${") || command.contains('/') || env::split_paths(&env::var_os("PATH")?).any(there) {
        return None;
    }
    Some(match command {
        "npx" | "npm" | "node" => "install Node.js: https://nodejs.org/download".to_owned(),
        "uvx" | "uv" => "pip install uv".to_owned(),
        "pipx" => "pip install pipx".to_owned(),
        "docker" => "install Docker: https://docs.docker.com/get-docker".to_owned(),
        other => format!("install {other}, or name it with its path: it is not on the PATH"),
    })
}

/// Asks each model that agents and routes name, and one of each other provider that can be asked, for one tool call.
async fn look_at_models(
    settings: &Settings,
    daemon: &Daemon,
    agents: &[Sound],
    found: &mut Findings<'_>,
) -> Result<(), Trouble> {
    let listings = models::list(settings).await?;
    let named = agents.iter().flat_map(|sound| {
        let agent = &sound.agent;
        std::iter::once(agent.model.name.as_str()).chain(agent.model.steps.named())
    });
    for (name, route) in &settings.routes {
        let lacks = |model: &str| Some((model.to_owned(), settings.unready_at(model)?.clone()));
        for (target, unready) in route.targets.iter().filter_map(|target| lacks(&target.model)) {
            let provider = target.split('/').next().unwrap_or_default();
            let mend = way(&Obstacle::Unready(unready.clone()), provider);
            found.warn(format!("route {name}"), format!("it skips {target}: {unready}"), Some(mend));
        }
    }
    let named: BTreeSet<&str> = named.chain(settings.routes.keys().map(String::as_str)).collect();
    let mut targets = BTreeSet::new();
    for reference in named {
        match daemon.plan_probe(settings, wish(vec![reference.to_owned()])).await {
            Ok(plan) => targets.extend(plan.targets.into_iter().map(|target| target.endpoint)),
            Err(error) => {
                let provider = reference.split('/').next().unwrap_or_default();
                let obstacle = listings.iter().find(|it| it.provider == provider).and_then(|it| it.obstacle.as_ref());
                found.fail(
                    format!("model {reference}"),
                    Code::Usage,
                    error.to_string(),
                    Some(obstacle.map_or_else(|| "agentd models".to_owned(), |obstacle| way(obstacle, provider))),
                );
            }
        }
    }
    let mut scripted = false;
    for listing in &listings {
        let prefix = format!("{}/", listing.provider);
        let (asked, silent): (Vec<&String>, _) = (
            targets.iter().filter(|target| target.starts_with(&prefix)).collect(),
            listing.obstacle.as_ref().filter(|obstacle| !matches!(obstacle, Obstacle::Unready(_))),
        );
        match (silent, asked.is_empty()) {
            _ if listing.dialect == "scripted" && asked.is_empty() => {}
            _ if listing.dialect == "scripted" => {
                scripted = true;
                found.pass(format!("provider {}", listing.provider), "a script and no model: it is not asked");
                targets.retain(|target| !target.starts_with(&prefix));
            }
            (Some(obstacle), false) => {
                let mend = Some(way(obstacle, &listing.provider));
                found.fail(format!("provider {}", listing.provider), Code::Provider, obstacle.to_string(), mend);
                targets.retain(|target| !target.starts_with(&prefix));
            }
            (None, true) if listing.obstacle.is_none() => match cheapest(listing) {
                Some(model) => drop(targets.insert(model)),
                None => {
                    let try_it = format!("agentd probe {prefix}MODEL -n 1");
                    found.warn(format!("provider {}", listing.provider), "none of its models is known", Some(try_it));
                }
            },
            _ => {}
        }
    }
    if targets.is_empty() && scripted {
        return Ok(());
    }
    if targets.is_empty() {
        let unset = listings.iter().find_map(|listing| match listing.obstacle.as_ref()? {
            Obstacle::Unready(Unready::Unset(_)) => Some(way(listing.obstacle.as_ref()?, &listing.provider)),
            _ => None,
        });
        found.warn("models", "none can be asked from here; agentd models tells what each provider wants", unset);
        return Ok(());
    }
    ask(settings, daemon, targets.into_iter().collect(), found).await
}

/// One request to each.
fn wish(targets: Vec<String>) -> Wish {
    Wish { targets, requests: 1, parallel: 4, ..Wish::default() }
}

async fn ask(
    settings: &Settings,
    daemon: &Daemon,
    targets: Vec<String>,
    found: &mut Findings<'_>,
) -> Result<(), Trouble> {
    let plan = daemon.plan_probe(settings, wish(targets)).await?;
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    found.screen.flying(format!("asking {} for a tool call", count(plan.targets.len() as u64, "model")));
    let stop = async {
        stopper.more_than(0).await;
    };
    let measured = daemon.probe(&plan, stop, &mut |_| {}).await;
    found.screen.flying(String::new());
    let expected = plan.tokens.0 / u64::from(plan.requests.max(1));
    for tally in &measured.tallies {
        let blind = blind(settings, tally, expected).await;
        take(tally, blind, found);
    }
    Ok(())
}

/// Why a model that made no good call seems not to have seen the tools at all; `None` when it has, or nothing tells.
async fn blind(settings: &Settings, tally: &Tally, expected: u64) -> Option<String> {
    if tally.answered == 0 || tally.first.iter().any(|(verdict, count)| verdict.is_accepted() && *count > 0) {
        return None;
    }
    let provider = tally.target.split('/').next().unwrap_or_default();
    let server = match settings.providers.get(provider) {
        Some(settings::Provider::Server(server)) if server.is_local() => Some(server),
        _ => None,
    };
    if let Some(server) = server
        && models::shows_tools(provider, server).await == Some(false)
    {
        return Some("the chat template of its server shows the model no tools".to_owned());
    }
    let read = tally.usage.input / (tally.answered + tally.asked_again).max(1);
    (read > 0 && read.saturating_mul(100) < expected.saturating_mul(READ_MIN)).then(|| {
        format!(
            "its server read {read} tokens of about {expected} that were sent, so the chat template leaves the tools out, \
             or the prompt is cut"
        )
    })
}

fn take(tally: &Tally, blind: Option<String>, found: &mut Findings<'_>) {
    let about = format!("model {}", tally.target);
    let again = format!("agentd probe {} -n 20", tally.target);
    let took = tally.latency.percentile(0.5).map(|took| format!(" in {}", duration(took))).unwrap_or_default();
    match (tally.answered, tally.accepted()) {
        (0, _) => {
            let class = tally.failed.keys().next().copied().unwrap_or("not asked");
            let why = tally.stopped.as_ref().or(tally.failure.as_ref());
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let provider = tally.target.split('/').next().unwrap_or_default();
            let mend = match class {
                "credential" => format!("set the right key of {provider}; agentd models names the variable"),
                "quota" => format!("top up the account at {provider}"),
                "model_gone" => "agentd models".to_owned(),
                _ => again,
            };
            found.fail(about, Code::Provider, format!("no answer ({class}){why}"), Some(mend));
        }
        (_, (0, _)) if blind.is_some() => {
            let way = "give the server a chat template with tools (llama.cpp: --jinja and --chat-template-file) and a larger \
                       window, or use another model";
            let blind = blind.unwrap_or_default();
            found.warn(about, format!("it answers{took}, but made no good call: {blind}"), Some(way.to_owned()));
        }
        (_, (0, 0)) => {
            found.warn(about, format!("it answers{took}, but made no good call, also when told"), Some(again))
        }
        (_, (0, _)) => {
            found.warn(about, format!("it answers{took}, and its call was good at the second try"), Some(again))
        }
        _ => found.pass(about, format!("it calls tools{took}")),
    }
}

/// The model of a provider whose answers cost least, as far as prices are known.
fn cheapest(listing: &Listing) -> Option<String> {
    let price = |model: &&models::Known| model.price.as_ref().map_or(u64::MAX, |price| price.rates.output.0);
    let model = listing.models.iter().min_by_key(price)?;
    Some(format!("{}/{}", listing.provider, model.name))
}

/// How to get past an obstacle.
fn way(obstacle: &Obstacle, provider: &str) -> String {
    match obstacle {
        Obstacle::Unready(Unready::Key(from)) => format!("set {from} anew, without the line end"),
        Obstacle::Unready(Unready::Client(_)) => format!("check the address and the key of {provider} in agentd.yaml"),
        Obstacle::Unready(Unready::Unset(variables)) => {
            variables.iter().map(|name| format!("export {name}=…")).collect::<Vec<_>>().join("\n")
        }
        Obstacle::Silent(_) if provider == "ollama" => "ollama serve".to_owned(),
        Obstacle::Silent(address) => {
            format!("start {provider}, or say in agentd.yaml where it is instead of {address}")
        }
        Obstacle::Refused(_) => format!("check the address and the key of {provider} in agentd.yaml"),
    }
}
