//! Follows a run while it is driven: progress for who watches, entries for who reads the stream, and what the run waits
//! for, for who answers.
//!
//! Progress may tell of what is not durable yet; the run's id, the stream and questions are given only for what is.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::{
    chat::CallId,
    daemon::Driven,
    engine::{self, Seen},
    journal::v1,
    mcp::Progress,
    run::{Entry, Event, Run},
};

use super::{
    ask::Board,
    out::Out,
    screen::Screen,
    story::Story,
    text::{brief, count, duration},
};

/// Longest word of a server about its progress, in characters.
const MESSAGE_MAX: usize = 60;

/// Sees what happens to a run.
pub(super) struct Follower {
    screen: Screen,
    story: Story,
    /// Where the entries go; `None` when nobody wants them, or wants them any more.
    stream: Option<Out>,
    /// The line that names the run, until it is told.
    name: Option<String>,
    /// The run as far as it is durable, and who wants to know what it waits for.
    answered: Option<(Run, watch::Sender<Board>)>,
    /// How many answers came to nothing so far.
    ignored: u64,
    flying: Flying,
}

/// What is in flight, in words.
#[derive(Default)]
struct Flying {
    /// What is under way beside calls.
    doing: String,
    calls: BTreeMap<CallId, String>,
}

impl Follower {
    /// Of a run that is about to be driven. `boards` wants to know what it waits for.
    /// With `named`, the run was told by name before.
    pub fn new(
        driven: &Driven,
        screen: &Screen,
        stream: Option<Out>,
        boards: Option<watch::Sender<Board>>,
        named: bool,
    ) -> Self {
        let run = driven.run();
        let agent = run.started().map(|started| brief(&started.agent, MESSAGE_MAX)).unwrap_or_default();
        let (endpoint, scripted) = driven.endpoint();
        let script = if scripted { ", a script and no model" } else { "" };
        let mut flying = Flying::default();
        if run.tools().is_none() {
            flying.doing = "starting tool servers".to_owned();
        }
        let follower = Follower {
            screen: screen.clone(),
            story: Story::of(run),
            stream,
            name: (!named).then(|| format!("run {} ({agent}, {}{script})", driven.id(), brief(endpoint, MESSAGE_MAX))),
            ignored: 0,
            answered: boards.map(|boards| (run.clone(), boards)),
            flying,
        };
        follower.screen.flying(follower.flying.text());
        follower
    }

    pub fn see(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Applied(entry) => {
                for line in self.story.tell(entry).iter().filter(|line| line.step) {
                    self.screen.progress(line);
                }
                self.flying.take(entry, &self.story);
                self.screen.flying(self.flying.text());
            }
            Seen::Durable(entry) => self.durable(entry),
            Seen::Text(_) => {}
            Seen::Progress(call, progress) => {
                self.flying.progress(call, progress, &self.story);
                self.screen.flying(self.flying.text());
            }
        }
    }

    fn durable(&mut self, entry: &Entry) {
        if let Some(name) = self.name.take() {
            self.screen.tell(name);
        }
        if let Some(out) = &mut self.stream
            && out.line(&v1::line(entry)).is_err()
        {
            // Nobody reads any more; the run goes on, and the journal has it all.
            self.stream = None;
        }
        if let Some((run, boards)) = &mut self.answered {
            // The first entries are in the run that we began with.
            if entry.index >= run.length() && run.apply(entry).is_err() {
                self.answered = None;
                return;
            }
            self.ignored += u64::from(matches!(&entry.event, Event::Noted(noted) if noted.code == engine::IGNORED));
            boards.send_replace(Board::of(run, self.ignored));
        }
    }
}

impl Flying {
    fn take(&mut self, entry: &Entry, story: &Story) {
        match &entry.event {
            Event::ToolsListed(_) | Event::ModelAnswered(_) | Event::Woken(_) | Event::Ended(_) => self.doing.clear(),
            Event::ModelAsked(it) => {
                let again = if it.attempt > 1 { format!(", attempt {}", it.attempt) } else { String::new() };
                self.doing = format!("turn {}: asking {}{again}", it.turn, brief(&it.endpoint, MESSAGE_MAX));
            }
            Event::AttemptFailed(_) => self.doing = "asking again soon".to_owned(),
            Event::Waiting(it) => {
                let until = it.until.map(|until| format!(" for {}", duration(until.since(entry.at))));
                self.doing = format!("waiting{}", until.unwrap_or_default());
            }
            Event::ToolStarted(it) => {
                self.calls.insert(it.call, story.call(it.call));
            }
            Event::ToolFinished(it) => drop(self.calls.remove(&it.call)),
            Event::CallLost(it) => drop(self.calls.remove(&it.call)),
            Event::ToolPaused(it) => drop(self.calls.remove(&it.call)),
            _ => {}
        }
    }

    fn progress(&mut self, call: CallId, progress: &Progress, story: &Story) {
        let Some(shown) = self.calls.get_mut(&call) else { return };
        let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
        let message = progress.message.as_ref().map(|message| format!(" {}", brief(message, MESSAGE_MAX)));
        *shown = format!("{} {}{total}{}", story.call(call), progress.done, message.unwrap_or_default());
    }

    /// In a line; empty when nothing is in flight.
    fn text(&self) -> String {
        match self.calls.values().next() {
            None => self.doing.clone(),
            Some(first) if self.calls.len() == 1 => first.clone(),
            Some(first) => format!("{}: {first} …", count(self.calls.len() as u64, "call")),
        }
    }
}
