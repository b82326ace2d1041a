//! The terminal beside the answer: lines on stderr, and below them what is in flight.
//!
//! Nothing moves and nothing is coloured when stderr is no terminal; colours also go with `NO_COLOR`. Whoever writes here
//! has escaped what others said.

use std::{
    fmt::{Display, Write},
    io::{self, IsTerminal, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use rustix::termios::{QueueSelector, tcflush, tcgetwinsize};

use super::{
    story::{Line, Mark},
    text::duration,
};
use crate::{run::RunId, show::redact};

/// How often the moving part moves.
const TICK: Duration = Duration::from_millis(100);

/// How wide a terminal is that does not say.
const COLUMNS: u16 = 80;

/// Stderr, shared by all who write there.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    terminal: bool,
    /// Whether anything may ever move.
    moves: bool,
    /// What lines begin with.
    prefix: Arc<str>,
    flying: Arc<Mutex<Flying>>,
}

/// Characters of a run's id that tell it from others in lines: up to the random part of a UUID of version 7.
const PREFIX: usize = 18;

#[derive(Debug, Default)]
struct Flying {
    /// Whether nothing may move now.
    still: bool,
    what: String,
    /// Since when that goes on.
    since: Option<Instant>,
    /// There is one while it may move and there is something to show.
    bar: Option<ProgressBar>,
    /// What is to be written later, while the screen is lent to another program.
    held: Option<String>,
}

impl Screen {
    /// The screen of this process. With `still`, nothing ever moves (a log is written to the same place).
    pub fn new(still: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let moves = terminal && !still;
        let flying = Flying { still: !moves, ..Flying::default() };
        Screen { terminal, moves, prefix: "".into(), flying: Arc::new(Mutex::new(flying)) }
    }

    /// The same screen for one run among several: lines begin with its id, and nothing moves.
    pub fn of_run(&self, run: RunId) -> Self {
        let id: String = run.to_string().chars().take(PREFIX).collect();
        let flying = Arc::new(Mutex::new(Flying { still: true, ..Flying::default() }));
        Screen { moves: false, prefix: format!("{id} ").into(), flying, ..self.clone() }
    }

    /// Whether a person sees it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// How wide the terminal is now, in columns.
    pub fn columns(&self) -> usize {
        let told = tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        usize::from(if told == 0 { COLUMNS } else { told })
    }

    /// Writes a line that everybody needs: it appears wherever stderr goes.
    pub fn tell(&self, line: impl Display) {
        self.write(format_args!("{}{line}\n", self.prefix));
    }

    /// Writes a line of progress: for people who watch.
    pub fn progress(&self, line: &Line) {
        if self.terminal {
            let style = style(line.mark);
            self.tell(format_args!("{style}{}{style:#} {}", line.mark.as_char(), line.text));
        }
    }

    /// Writes a question, and keeps still until it is [`answered`](Self::answered).
    pub fn ask(&self, question: impl Display) {
        self.keep_still();
        self.write(format_args!("{question} "));
    }

    fn keep_still(&self) {
        let mut flying = self.lock();
        flying.still = true;
        flying.show();
    }

    /// Writes a question that nobody has seen yet. What was typed before it stood there is dropped, since it was typed as the
    /// answer to something else.
    pub fn ask_anew(&self, question: impl Display, choices: impl Display) {
        self.keep_still();
        self.write(format_args!("{question}\n"));
        let stdin = io::stdin();
        if stdin.is_terminal() {
            // A terminal that cannot do this is one that has nothing typed ahead.
            let _ = tcflush(stdin, QueueSelector::IFlush);
        }
        self.write(format_args!("{choices} "));
    }

    /// What is in flight may move again.
    pub fn answered(&self) {
        let mut flying = self.lock();
        flying.still = !self.moves;
        flying.show();
    }

    /// Another program has the screen: what is written meanwhile appears when it is [taken back](Self::take_back).
    pub fn lend(&self) {
        self.lock().held = Some(String::new());
    }

    /// The other program is gone.
    pub fn take_back(&self) {
        let held = self.lock().held.take();
        self.write(held.unwrap_or_default());
    }

    /// Shows what is in flight; an empty text for nothing. How long it goes on counts from when there was nothing.
    pub fn flying(&self, what: String) {
        let since = self.lock().since.filter(|_| !what.is_empty()).unwrap_or_else(Instant::now);
        self.flying_since(what, since);
    }

    /// Shows what is in flight since then; an empty text for nothing.
    pub fn flying_since(&self, what: String, since: Instant) {
        let mut flying = self.lock();
        flying.since = (!what.is_empty()).then_some(since);
        flying.what = what;
        flying.show();
    }

    fn write(&self, text: impl Display) {
        // Nobody is left to tell when stderr is closed. What goes by here should hold no secret; nobody has to rely on that.
        let text = text.to_string();
        let text = redact(&text);
        let mut flying = self.lock();
        if let Some(held) = &mut flying.held {
            held.push_str(&text);
            return;
        }
        let write = || drop(write!(anstream::stderr(), "{text}"));
        match &flying.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flying> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flying {
    fn show(&mut self) {
        match &self.bar {
            Some(bar) if self.still || self.what.is_empty() => {
                bar.finish_and_clear();
                self.bar = None;
            }
            Some(bar) => {
                bar.set_style(moving(self.since));
                bar.set_message(self.what.clone());
            }
            None if self.still || self.what.is_empty() => {}
            None => {
                let bar = ProgressBar::no_length().with_message(self.what.clone());
                bar.set_style(moving(self.since));
                bar.enable_steady_tick(TICK);
                self.bar = Some(bar);
            }
        }
    }
}

/// The moving line. Time stands in front, where no terminal is too narrow for it.
fn moving(since: Option<Instant>) -> ProgressStyle {
    let elapsed = move |_: &ProgressState, text: &mut dyn Write| {
        if let Some(shown) = since.and_then(|since| elapsed(since.elapsed())) {
            let _ = write!(text, "{shown} ");
        }
    };
    // The template is ours and sound; without it the line only looks otherwise.
    let style = ProgressStyle::with_template("{spinner} {since}{wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("since", elapsed)
}

/// How long something goes on, in words that change once a second; `None` while that is not worth a word.
fn elapsed(length: Duration) -> Option<String> {
    match length.as_secs() {
        0 => None,
        seconds @ 1..60 => Some(format!("{seconds}s")),
        _ => Some(duration(length)),
    }
}

fn style(mark: Mark) -> Style {
    let colour = match mark {
        Mark::Plain | Mark::Said => return Style::new().dimmed(),
        Mark::Good => AnsiColor::Green,
        Mark::Mended | Mark::Elsewhere | Mark::Odd => AnsiColor::Yellow,
        Mark::Bad => AnsiColor::Red,
        Mark::Question => AnsiColor::Cyan,
    };
    Style::new().fg_color(Some(colour.into()))
}
