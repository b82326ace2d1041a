//! The tool servers of one agent.
//!
//! [`Config`] holds the servers as the agent file has them. Nothing is started until tools are listed or a call is
//! prepared; then servers start side by side. Each is a `session` with at most one live `connection`; a connection is
//! an `era`-aware rmcp session over a `wire` to a `process` under its `guard`. Tools come from `listing`, their names from
//! `names`, their effects from `hints`; a call is made in `call`, and its answer read in `result`.

use std::{path::PathBuf, sync::Arc};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    BoxFuture, Error, GuardId, Listing, Prepared, ToolHost,
    connection::Surroundings,
    era::Eras,
    guard::Program,
    hints::Judged,
    listing::Listed,
    locks::Locks,
    names,
    server::{Kind, Server},
    session::Session,
};
use crate::{
    chat::{ToolDef, ToolName},
    repair::ToolSet,
};

/// The servers of one agent. Dropping it kills them; [`close`](ToolHost::close) ends them politely.
pub struct Host {
    /// By name.
    sessions: Vec<Session>,
    surroundings: Arc<Surroundings>,
    closing: CancellationToken,
}

/// What a [`Host`] is made of.
#[derive(Clone, Default)]
pub struct Config {
    /// The servers. Of two with one name, the first is used.
    pub servers: Vec<Server>,
    /// The data directory, where guards keep their locks (`guards/`) and known protocol eras are kept (`eras/`). With `None`
    /// there are no guards, and each server is probed at each start.
    pub home: Option<PathBuf>,
    /// The program that guards server processes. With `None` they are ended when the host is dropped, but not if this
    /// process is killed.
    pub guard: Option<Program>,
}

impl Host {
    /// The host of these servers. Nothing is started yet.
    pub fn new(config: Config) -> Self {
        let Config { mut servers, home, guard } = config;
        let locks = home.as_deref().map(Locks::below);
        if let Some(locks) = &locks {
            locks.sweep();
        }
        let surroundings = Arc::new(Surroundings { guard, locks, eras: Eras::below(home.as_deref()) });
        let closing = CancellationToken::new();
        // Stable: of two with one name, the first stays the first.
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        servers.dedup_by(|later, first| later.name == first.name);
        let session = |server| Session::new(server, Arc::clone(&surroundings), closing.clone());
        let sessions = servers.into_iter().map(session).collect();
        Host { sessions, surroundings, closing }
    }

    fn session(&self, server: &str) -> Result<&Session, Error> {
        let not_there =
            || Error::NotStarted { server: server.to_owned(), detail: "there is no such server".to_owned() };
        self.sessions.iter().find(|session| session.server.name == server).ok_or_else(not_there)
    }

    /// The tools of all servers, or why a required one is not there.
    async fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let mut found: Vec<(ToolName, Listed, Judged)> = Vec::new();
        let lists = join_all(self.sessions.iter().map(Session::list)).await;
        for (Session { server, .. }, list) in self.sessions.iter().zip(lists) {
            let (tools, warnings) = match list {
                Ok(list) => list,
                Err(error) if server.required => return Err(error),
                Err(error) => {
                    let why = match error {
                        Error::NotStarted { detail, .. } => detail,
                        other => other.to_string(),
                    };
                    listing.missing.push((server.name.clone(), why));
                    continue;
                }
            };
            listing.warnings.extend(warnings);
            if matches!(server.kind, Kind::Stdio(_)) && !self.surroundings.guarded() {
                let warning = "it runs without a guard, so it may outlive a `kill -9` of this process";
                listing.warnings.push(format!("server {:?}: {warning}", server.name));
            }
            for tool in tools {
                let judged = tool.hints.judge(server, &tool.name);
                let origin = ToolName { server: server.name.clone(), tool: tool.name.clone() };
                found.push((origin, tool, judged));
            }
        }
        let names = names::offer(&found.iter().map(|(origin, ..)| origin).collect::<Vec<_>>());
        for (name, (origin, tool, judged)) in names.into_iter().zip(found) {
            if name.as_str() != format!("{}__{}", origin.server, origin.tool) {
                listing.warnings.push(format!("tool {origin} is offered as {name}"));
            }
            listing.tools.push(ToolDef {
                name,
                origin,
                description: tool.description,
                input_schema: tool.schema,
                effect: judged.effect,
                effect_source: judged.source,
                repeatable: judged.repeatable,
                additive: judged.additive,
                hash: tool.hash,
            });
        }
        let (_, unchecked) = ToolSet::new(listing.tools.as_slice().into());
        listing.warnings.extend(unchecked);
        Ok(listing)
    }
}

impl ToolHost for Host {
    fn list(&self) -> BoxFuture<'_, Result<Listing, Error>> {
        Box::pin(Host::list(self))
    }

    fn changed(&self) -> bool {
        self.sessions.iter().any(Session::changed)
    }

    fn prepare<'a>(&'a self, tool: &'a ToolDef) -> BoxFuture<'a, Result<Box<dyn Prepared>, Error>> {
        Box::pin(async move {
            let ready = self.session(&tool.origin.server)?.offering(tool).await?;
            Ok(Box::new(ready) as Box<dyn Prepared>)
        })
    }

    fn gone(&self, guard: &GuardId) -> bool {
        self.surroundings.locks.as_ref().is_some_and(|locks| locks.gone(guard))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.cancel();
            join_all(self.sessions.iter().map(Session::close)).await;
        })
    }
}
