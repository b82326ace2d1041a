//! Stdout: the answer alone, or one document, or the entries of a run. When nobody reads it any more, that is no error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

use super::text::{Form, escape};
use crate::{show::redact, waiting};

/// Who may keep us waiting.
const READER: &str = "whoever reads stdout, to read on";

/// Where answers go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    /// A terminal gets nothing raw; a file or a pipe gets exactly what there is, but for secrets.
    terminal: bool,
}

impl Out {
    pub fn new() -> Self {
        Out { terminal: io::stdout().is_terminal() }
    }

    /// Writes a text and ends its last line.
    pub fn text(&self, text: &str) -> anyhow::Result<()> {
        self.write(text, Form::Text)
    }

    /// Writes one document.
    pub fn document(&self, document: &impl Serialize) -> anyhow::Result<()> {
        self.write(&serde_json::to_string_pretty(document)?, Form::Json)
    }

    /// Writes one line of JSON at once.
    ///
    /// # Errors
    /// Also when nobody reads any more.
    pub fn line(&self, json: &str) -> io::Result<()> {
        let _waiting = waiting::on(READER);
        let mut stdout = io::stdout().lock();
        let shown = if self.terminal { escape(json, Form::Json) } else { redact(json) };
        writeln!(stdout, "{shown}")?;
        stdout.flush()
    }

    fn write(&self, text: &str, form: Form) -> anyhow::Result<()> {
        let _waiting = waiting::on(READER);
        let mut stdout = io::stdout().lock();
        let shown = if self.terminal { escape(text, form) } else { redact(text) };
        let end = if shown.ends_with('\n') { "" } else { "\n" };
        let written = write!(stdout, "{shown}{end}").and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to stdout"),
        }
    }
}
