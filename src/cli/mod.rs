//! The command line: reads what was typed, has the daemon do it, and tells what became of it.
//!
//! stdout carries the answer alone (`out`); everything else goes to stderr (`screen`). Always true:
//! - Nobody is asked anything unless stdin and stderr are terminals and no machine reads stdout.
//! - What models, tools and servers said reaches a terminal only through `text::escape`.
//! - Exit codes are decided in `exit` and nowhere else.
//!
//! Left out so far: a daemon that serves for ever.

mod args;
mod ask;
mod attach;
mod before;
mod check;
mod commands;
mod complete;
mod config;
mod doctor;
mod drive;
mod editor;
mod exit;
mod figures;
mod follow;
mod init;
mod kind;
mod log;
mod models;
mod open;
mod out;
mod permit;
mod probe;
mod repair;
mod runs;
mod screen;
mod seen;
mod serving;
mod shown;
mod start;
mod stats;
mod stopper;
mod story;
mod talk;
mod text;
mod tools;
mod watch;

use std::{env, panic, process::ExitCode, thread, time::Duration};

use anyhow::Context;
use clap::Parser;
use tokio::{runtime, time};

use exit::{Code, Trouble};
use out::Out;
use screen::Screen;
use text::{Form, duration, escape};

use crate::waiting;

/// The stack of each thread: what is parsed is bounded, and this is many times what the deepest of it takes. Only the pages
/// that are touched take memory.
const STACK_BYTES: usize = 16 << 20;

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    complete::answer_the_shell();
    let out = Out::new();
    let line = match args::Line::try_parse() {
        Ok(line) => line,
        Err(error) => return misread(&error, out),
    };
    let shared = line.command.shared();
    log::start(shared.verbose);
    let screen = Screen::new(shared.verbose > 0);
    let stderr = screen.clone();
    // What a panic says may be somebody else's text.
    panic::set_hook(Box::new(move |panicked| stderr.tell(escape(&panicked.to_string(), Form::Text))));
    tell_of_waits(screen.clone());
    match run(line.command, &screen, out) {
        Ok(code) => code.into(),
        Err(trouble) => {
            screen.tell(trouble.text());
            if shared.json {
                // Stderr has said it already.
                let _ = out.document(&trouble.document());
            }
            trouble.code.into()
        }
    }
}

fn run(command: args::Command, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let mut runtime = runtime::Builder::new_multi_thread();
    runtime.thread_stack_size(STACK_BYTES);
    let runtime = runtime.enable_all().build().context("cannot start threads")?;
    let timeout = command.timeout();
    let done = runtime.block_on(async {
        let done = commands::run(command, screen, out);
        let Some(most) = timeout else { return done.await };
        tokio::pin!(done);
        tokio::select! {
            done = &mut done => done,
            // What it waits for is known as long as it waits.
            () = time::sleep(most) => Err(gave_up(most)),
        }
    });
    // Whatever still reads or writes in the background must not keep us.
    runtime.shutdown_background();
    done
}

/// Says what is waited for when that takes long, once of each; from a thread of its own, since what is waited for may be whoever
/// reads what we write.
fn tell_of_waits(screen: Screen) {
    thread::spawn(move || {
        loop {
            thread::sleep(LOOK);
            for what in waiting::long(LONG) {
                let line = format!("waiting for {what} ({} so far)", duration(LONG));
                screen.tell(escape(&line, Form::Line));
            }
        }
    });
}

fn gave_up(most: Duration) -> Trouble {
    let what = waiting::oldest().unwrap_or_else(|| "what it was to do".to_owned());
    let message = format!("gave up after {}: still waiting for {what}", duration(most));
    Trouble { code: Code::Store, name: "timed_out".to_owned(), message, run: None }
}

/// How long something may be waited for without a word.
const LONG: Duration = Duration::from_secs(10);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Help, the version, or a command line that makes no sense.
fn misread(error: &clap::Error, out: Out) -> ExitCode {
    // As with every write of ours: when nobody reads, nobody is to be told.
    let _ = error.print();
    let wrong = error.use_stderr();
    if wrong && env::args_os().any(|arg| arg == "--json") {
        let _ = out.document(&Trouble::usage(error.render().to_string()).document());
    }
    if wrong { Code::Usage.into() } else { Code::Done.into() }
}
