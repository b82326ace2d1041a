//! Writes "no approval needed" for a tool into an agent file on disk.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use crate::{agent::Agent, chat::ToolName, run::Run, yaml};

use super::start;

/// The agent file that a run began with; `None` before its first entry.
pub(super) fn agent_file(run: &Run) -> Option<PathBuf> {
    let started = run.started()?;
    Some(Path::new(&started.dir).join(Path::new(&started.file).file_name()?))
}

/// Changes an agent file so that calls of `tool` run without asking, whole or not at all; its comments and its layout stay.
///
/// # Errors
/// Why not, for people, with the line to add by hand where that helps.
pub(super) fn write_allow(file: &Path, tool: &ToolName) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| format!("{} is not changed: {error}", file.display());
    // A link goes on leading to the file.
    let place = fs::canonicalize(file).map_err(|error| said(&error))?;
    let source = start::source(&place).map_err(|why| said(&why))?;
    if let Some(doubt) = &source.doubt {
        return Err(said(doubt));
    }
    let name = file.display().to_string();
    let text = yaml::decode(&name, &source.bytes).map_err(|problems| said(&problems))?;
    let changed = Agent::allowing(&name, text, tool).map_err(|unwritable| said(&unwritable))?;
    if changed == text {
        return Ok(());
    }
    let mut fresh = place.file_name().unwrap_or_default().to_owned();
    fresh.push(format!(".{}.tmp", std::process::id()));
    let fresh = place.with_file_name(fresh);
    let write = || {
        let mut new = fs::OpenOptions::new().write(true).create_new(true).open(&fresh)?;
        new.set_permissions(fs::metadata(&place)?.permissions())?;
        new.write_all(changed.as_bytes())?;
        new.sync_all()?;
        fs::rename(&fresh, &place)
    };
    write().map_err(|error| {
        // Nothing of it is left if it was ours; what was there before is not touched.
        if error.kind() != std::io::ErrorKind::AlreadyExists {
            let _ = fs::remove_file(&fresh);
        }
        said(&error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const FILE: &str = "version: 1\nname: a\nmodel: demo/any\nservers: {files: {command: x}}  # ours\n";

    #[test]
    fn the_file_keeps_its_permissions_and_a_link_goes_on_leading_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("a.yaml"), dir.path().join("link.yaml"));
        fs::write(&file, FILE).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let tool = ToolName { server: "files".to_owned(), tool: "write".to_owned() };
        write_allow(&link, &tool).unwrap();
        let written = fs::read_to_string(&file).unwrap();
        assert_eq!(written, format!("{FILE}policy:\n  \"files.write\": {{approve: allow}}\n"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
        fs::write(&file, "version: 2\n").unwrap();
        assert!(write_allow(&file, &tool).unwrap_err().contains("is not changed: the file has faults"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "version: 2\n");
    }
}
