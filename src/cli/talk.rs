//! A conversation at the terminal: one run, told more whenever it has answered.
//!
//! ```text
//! Typist (a line or many, history) ─► Driven::tell ─► drive ─► the answer ─► Typist …
//!    └── Driven::posted, by others ─────────────────────┘
//! ```
//! The agent's servers stay between turns. Ctrl-C stops the turn and not the program; at the prompt it forgets what was
//! typed. Ctrl-D leaves, and the run can be resumed as any other. What the run is told from elsewhere is answered at once;
//! what was typed meanwhile stands at the prompt again afterwards.

use std::{
    future::pending,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use rustix::{
    process::{self, getpid, kill_process},
    termios::{OptionalActions, Termios, tcgetattr, tcsetattr},
};
use rustyline::{
    Cmd, Config, Editor, EventHandler, ExternalPrinter, Helper, KeyCode, KeyEvent, Modifiers,
    completion::Completer,
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::{ValidationContext, ValidationResult, Validator},
};
use tokio::sync::watch;

use super::{
    args,
    drive::{How, drive},
    exit::{Code, Signal, Trouble},
    out::Out,
    screen::Screen,
    serving::Serving,
    stopper::Stopper,
};
use crate::{
    chat::Part,
    daemon::{Daemon, Driven, New, Resume},
    engine::Options,
    run::{End, RunId},
};

/// Most prompts that are remembered.
const HISTORY_MAX: usize = 1000;

/// How a conversation begins.
pub(super) enum Begin {
    /// With a new run; what it is told first is still to be typed.
    New(Box<New>),
    /// With a run that has ended, or was stopped.
    Resume(RunId, Resume),
}

/// Whether a person is there to talk with: nothing is read or written by a machine.
pub(super) fn possible(wishes: &args::Drive, shared: &args::Shared, screen: &Screen) -> bool {
    let machine = shared.json || wishes.stream_json || wishes.output.is_some();
    !machine && io::stdin().is_terminal() && io::stdout().is_terminal() && screen.is_terminal()
}

/// Talks until the person leaves.
pub(super) async fn talk(
    daemon: &Daemon,
    begin: Begin,
    wishes: &args::Drive,
    home: &Path,
    screen: &Screen,
    out: Out,
) -> Result<Code, Trouble> {
    let mut typist = Typist::new(home.join("history"))?;
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    screen.tell("Alt-Enter, or \\ at the end of a line, for another line; Ctrl-C stops a turn; Ctrl-D leaves");
    let words = match typist.read(&stopper, pending()).await? {
        Typed::Words(words) => words,
        Typed::Left | Typed::Elsewhere => return Ok(Code::Done),
        Typed::Told(signal) => return Ok(Code::of_signal(signal)),
    };
    let mut driven = match begin {
        Begin::New(new) => daemon.start(New { prompt: Some(words), ..*new }).await?,
        Begin::Resume(id, resume) => daemon.resume(id, Resume { words: vec![Part::text(words)], ..resume }).await?,
    };
    driven.stay();
    let serving = Serving::start(daemon, screen);
    let options = Options { allow_all: wishes.yes, attended: true, no_wait: wishes.no_wait };
    let mut how = How { options, stream: None, talk: true, named: false };
    let code = loop {
        let turns = driven.run().tally().turns;
        let code = drive(&mut driven, how, screen, &stopper).await?;
        how.named = true;
        // What comes from elsewhere may want no answer.
        if let Some(End::Done { output }) = driven.run().end()
            && driven.run().tally().turns > turns
        {
            out.text(output)?;
        }
        if stopper.last() == Some(Signal::Terminate) {
            break code;
        }
        // What was under way is given up, and the model is told so with what is said next.
        let stopped = code == Code::Interrupted && driven.run().end().is_none();
        match typist.read(&stopper, driven.posted()).await? {
            Typed::Words(words) if stopped => driven.tell_after_stop(vec![Part::text(words)])?,
            Typed::Words(words) => driven.tell(vec![Part::text(words)])?,
            Typed::Elsewhere => {}
            Typed::Left => break Code::Done,
            Typed::Told(signal) => break Code::of_signal(signal),
        }
    };
    leave(&driven, screen).await;
    drop(driven);
    serving.stop().await;
    Ok(code)
}

async fn leave(driven: &Driven, screen: &Screen) {
    driven.close().await;
    screen.tell(format_args!("go on with: agentd resume {}", driven.id()));
}

/// What came from the keyboard.
enum Typed {
    Words(String),
    /// Nothing: the run was told something from elsewhere.
    Elsewhere,
    /// The end of input.
    Left,
    /// A signal came meanwhile.
    Told(Signal),
}

/// Reads prompts, with editing and history.
struct Typist {
    /// `None` while a line is being read.
    editor: Option<Editor<Lines, FileHistory>>,
    /// While something may be printed beside what is typed, the editor waits for signals as well as for keys.
    _printer: Option<Box<dyn ExternalPrinter + Send>>,
    /// What is being typed; `None` until there is a prompt.
    typing: Arc<watch::Sender<Option<String>>>,
    /// What the next prompt begins with.
    begun: String,
    history: PathBuf,
    /// The terminal as it was, for when a line is not read to its end.
    calm: Option<Termios>,
}

impl Typist {
    fn new(history: PathBuf) -> Result<Self, Trouble> {
        let wrong = |error: ReadlineError| anyhow::Error::new(error).context("cannot read from this terminal");
        let config = Config::builder().max_history_size(HISTORY_MAX).map_err(wrong)?.auto_add_history(true).build();
        let mut editor = Editor::with_config(config).map_err(wrong)?;
        let typing = Arc::new(watch::Sender::default());
        editor.set_helper(Some(Lines { typing: typing.clone() }));
        let printer = editor.create_external_printer().ok().map(|printer| Box::new(printer) as Box<_>);
        editor.bind_sequence(KeyEvent(KeyCode::Enter, Modifiers::ALT), EventHandler::Simple(Cmd::Newline));
        // There is none before the first conversation.
        let _ = editor.load_history(&history);
        Ok(Typist {
            editor: Some(editor),
            _printer: printer,
            typing,
            begun: String::new(),
            history,
            calm: tcgetattr(io::stdin()).ok(),
        })
    }

    /// The next prompt, unless something comes from `elsewhere` first.
    async fn read(&mut self, stopper: &Stopper, elsewhere: impl Future<Output = ()>) -> Result<Typed, Trouble> {
        tokio::pin!(elsewhere);
        let known = stopper.count();
        while let Some(mut editor) = self.editor.take() {
            let mut typing = self.typing.subscribe();
            self.typing.send_replace(None);
            let begun = std::mem::take(&mut self.begun);
            let mut reading = tokio::task::spawn_blocking(move || {
                let line = editor.readline_with_initial("> ", (&begun, ""));
                (editor, line)
            });
            let mut asked_to_end = false;
            let (mut editor, line) = loop {
                tokio::select! {
                    read = &mut reading => break read.context("cannot read from this terminal")?,
                    _ = stopper.more_than(known) => {
                        // The reader is still there, and with it the terminal in its raw mode.
                        if let Some(calm) = &self.calm {
                            let _ = tcsetattr(io::stdin(), OptionalActions::Now, calm);
                        }
                        return Ok(Typed::Told(stopper.last().unwrap_or(Signal::Interrupt)));
                    }
                    // With a prompt there, signals are the reader's.
                    Ok(_) = async {
                        elsewhere.as_mut().await;
                        typing.wait_for(Option::is_some).await
                    }, if !asked_to_end => {
                        asked_to_end = true;
                        // There is no other way to have it end and leave the terminal as it was.
                        kill_process(getpid(), process::Signal::INT).context("cannot end the reading of a line")?;
                    }
                }
            };
            // Talking matters more than remembering.
            let _ = editor.append_history(&self.history);
            self.editor = Some(editor);
            match line {
                Ok(line) if asked_to_end && line.trim().is_empty() => return Ok(Typed::Elsewhere),
                Err(ReadlineError::Interrupted) if asked_to_end => {
                    self.begun = self.typing.borrow().clone().unwrap_or_default();
                    return Ok(Typed::Elsewhere);
                }
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Ok(Typed::Words(joined(&line))),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(Typed::Left),
                Err(error) => Err(anyhow::Error::new(error).context("cannot read from this terminal"))?,
            }
        }
        Ok(Typed::Left)
    }
}

/// What was typed, without the signs that another line follows.
fn joined(typed: &str) -> String {
    typed.replace("\\\n", "\n")
}

/// A line goes on when a backslash ends it. Nothing is completed, hinted or coloured.
struct Lines {
    /// What stands at the prompt.
    typing: Arc<watch::Sender<Option<String>>>,
}

impl Validator for Lines {
    fn validate(&self, typed: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match typed.input().ends_with('\\') {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Highlighter for Lines {}

impl Completer for Lines {
    type Candidate = String;
}

impl Hinter for Lines {
    type Hint = String;

    /// Asked for whenever the line has changed, and before anything is typed.
    fn hint(&self, line: &str, _: usize, _: &rustyline::Context<'_>) -> Option<String> {
        self.typing.send_replace(Some(line.to_owned()));
        None
    }
}

impl Helper for Lines {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_where_they_were_typed_so() {
        assert_eq!(joined("one\\\ntwo\nthree \\ four"), "one\ntwo\nthree \\ four");
    }
}
