//! Where our data lives, and the daemon on top of it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{args, exit::Trouble};
use crate::{
    daemon::{self, Daemon, settings::Settings, variables::Variables},
    mcp::guard,
    server,
};

/// Opens the store and makes the providers.
pub(super) fn open(shared: &args::Shared) -> Result<Daemon, Trouble> {
    open_with(&settings(shared)?)
}

/// The same with settings that were read already.
pub(super) fn open_with(settings: &Settings) -> Result<Daemon, Trouble> {
    // This program is a guard when it is started as one; see `main`.
    let guard = guard::Program::this().context("cannot tell where this program is")?;
    Ok(Daemon::open(settings, &home()?, Some(guard))?.connect(server::connect()))
}

/// The settings in force.
pub(super) fn settings(shared: &args::Shared) -> Result<Settings, Trouble> {
    let here = env::current_dir().context("cannot tell the working directory")?;
    let variables = variables(shared)?;
    Settings::load(shared.config.as_deref(), &here, &variables).map_err(|error| match error {
        daemon::Error::Io { what, source } => daemon::Error::File(format!("{what}: {source}")).into(),
        other => other.into(),
    })
}

/// What variables are looked up in.
pub(super) fn variables(shared: &args::Shared) -> Result<Variables, Trouble> {
    match &shared.env_file {
        None => Ok(Variables::default()),
        Some(file) => Variables::with(file).map_err(|error| match error {
            daemon::Error::Io { what, source } => Trouble::usage(format!("--env-file: {what}: {source}")),
            other => other.into(),
        }),
    }
}

/// The data directory: `$AGENTD_HOME`, else where the platform keeps the data of programs.
pub(super) fn home() -> Result<PathBuf, Trouble> {
    let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    choose(set("AGENTD_HOME"), set("XDG_DATA_HOME"), env::home_dir())
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| Trouble::usage("there is no home directory; say where the data goes with $AGENTD_HOME"))
}

/// As the XDG base directory specification 0.8 and Apple's file system guide have it.
fn choose(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let home = home.filter(|home| home.is_absolute());
    let platform = |home: &Path| match cfg!(target_os = "macos") {
        true => home.join("Library/Application Support"),
        false => home.join(".local/share"),
    };
    // Relative paths are to be ignored, says the specification.
    let xdg = xdg.filter(|path| path.is_absolute() && !cfg!(target_os = "macos"));
    own.or_else(|| Some(xdg.or_else(|| home.as_deref().map(platform))?.join("agentd")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_special_place_wins() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(choose(path("own"), path("/xdg"), path("/home/me")), path("own"));
        assert_eq!(choose(None, None, None), None);
        if cfg!(not(target_os = "macos")) {
            assert_eq!(choose(None, path("/xdg"), path("/home/me")), path("/xdg/agentd"));
            assert_eq!(choose(None, path("relative"), path("/home/me")), path("/home/me/.local/share/agentd"));
        }
    }
}
