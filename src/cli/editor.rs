//! Lets a person change the arguments of a call in their own editor: `$VISUAL`, else `$EDITOR`, else `vi`.
//!
//! The draft is a file that nobody else can read. It stays as long as something may still come of it, so that a fault in
//! it costs one more look and not the work.

use std::{
    env, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{chat::CallId, show::hidden};

use super::text::{compact, indent};

/// Arguments that are being edited.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    /// What was in it first.
    before: String,
}

impl Draft {
    /// A draft of these arguments.
    pub fn new(call: CallId, arguments: &str) -> io::Result<Self> {
        let name = format!("agentd-{call}-{}.json", uuid::Uuid::now_v7().simple());
        let path = env::temp_dir().join(name);
        let before = format!("{}\n", visible(&indent(arguments, "")));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(before.as_bytes())?;
        Ok(Draft { path, before })
    }

    /// Opens the editor when it is called, and waits for its end: the new arguments on one line, or `None` when nothing was
    /// changed. The error says what went wrong, for people.
    pub fn session(&self) -> impl FnOnce() -> Result<Option<String>, String> + Send + 'static {
        let (path, before) = (self.path.clone(), self.before.clone());
        move || {
            run(&path)?;
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok((!text.trim().is_empty() && text.trim() != before.trim()).then(|| compact(&text)))
        }
    }

    /// Leaves the file where it is.
    pub fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What is left over in the directory for temporary files goes with it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// JSON text whose every character is seen: nobody edits what they cannot see. In JSON an escaped character is the same
/// one. Secrets stay, since what is edited is what will be run.
fn visible(json: &str) -> String {
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        match hidden(c) && c != '\n' {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| visible.push_str(&format!("\\u{unit:04x}"))),
            false => visible.push(c),
        }
    }
    visible
}

/// Runs the editor on a file.
fn run(path: &Path) -> Result<(), String> {
    let named = |name| env::var(name).ok().filter(|editor: &String| !editor.trim().is_empty());
    let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // A program and its arguments; nothing goes through a shell.
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let ended = Command::new(program).args(words).arg(path).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the editor {editor:?} ended with {status}")),
        Err(error) => Err(format!("cannot start the editor {editor:?}: {error}; set $VISUAL or $EDITOR")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_draft_is_readable_and_private_and_goes_away() {
        let call = CallId { turn: 1, call: 2 };
        let draft = Draft::new(call, "{\"path\":\"a\\u001b\",\"text\":\"\u{202e}x\"}").unwrap();
        let path = draft.path.clone();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\n  \"path\": \"a\\u001b\",\n  \"text\": \"\\u202ex\"\n}\n");
        drop(draft);
        assert!(!path.exists());
        let kept = Draft::new(call, "{}").unwrap().keep();
        assert!(kept.exists());
        fs::remove_file(kept).unwrap();
    }
}
