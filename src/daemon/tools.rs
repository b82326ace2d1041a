//! The tool servers of an agent as the host takes them: for runs, and for who only wants to see tools or call one.

use std::path::Path;

use super::{Error, variables::Variables};
use crate::{
    agent::{self, Agent},
    mcp::{self, Host, guard},
};

/// The servers of an agent, none of them started, and the optional ones that want a variable which is not set, with why.
/// Only the server called `only`, if one is named.
///
/// # Errors
/// When a variable that a required server wants is not set.
pub fn host(
    agent: &Agent,
    dir: &Path,
    variables: &Variables,
    home: &Path,
    guard: Option<guard::Program>,
    only: Option<&str>,
) -> Result<(Host, Vec<(String, String)>), Error> {
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let servers = agent.expand(dir, &|name| variables.get(name), &wanted);
    let servers = servers.map_err(|problems| Error::File(problems.to_string()))?;
    let host = Host::new(mcp::host::Config {
        servers: servers.ready.iter().map(server).collect(),
        home: Some(home.to_owned()),
        guard,
    });
    let left_out = servers.left_out.into_iter().map(|(name, problem)| (name, problem.to_string())).collect();
    Ok((host, left_out))
}

/// A server of an agent file as the host takes it.
fn server(ready: &agent::Ready) -> mcp::Server {
    let agent::Server { name, required, trust, effect, start_timeout, tools, .. } = &ready.server;
    let mut server = match &ready.launch {
        agent::Launch::Files { root } => mcp::Server::files(name, root),
        agent::Launch::Command { command, args, env, cwd } => env.iter().fold(
            mcp::Server::stdio(name, command.to_string_lossy()).args(args.iter().map(|arg| arg.expose())).cwd(cwd),
            |server, (name, value)| server.env(name, value.expose()),
        ),
    };
    server = server.trust(match trust {
        agent::Trust::Hints => mcp::Trust::Hints,
        agent::Trust::None => mcp::Trust::None,
    });
    if !required {
        server = server.optional();
    }
    if let Some(effect) = effect {
        server = server.effect(*effect);
    }
    if let Some(timeout) = start_timeout {
        server = server.start_timeout(*timeout);
    }
    server = tools.allow.iter().fold(server, mcp::Server::allow);
    tools.deny.iter().fold(server, mcp::Server::deny)
}
