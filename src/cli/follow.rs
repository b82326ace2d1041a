//! Follows a run while it is driven: progress for who watches, entries for who reads the stream, and what the run waits
//! for, for who answers.
//!
//! Progress may tell of what is not durable yet; the run's id, the stream and questions are given only for what is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    chat::CallId,
    daemon::Driven,
    engine::{self, Seen},
    journal::v1,
    mcp::Progress,
    run::{Entry, Event, Run},
    waiting::{self, Waiting},
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
    /// What is in flight, where no moving line shows it.
    waiting: Option<(String, Waiting)>,
}

/// What is in flight, in words, and since when.
#[derive(Default)]
struct Flying {
    /// What is under way beside calls.
    doing: Option<Doing>,
    calls: BTreeMap<CallId, Doing>,
    /// The request to a model that was sent last.
    asked: Asked,
}

struct Doing {
    what: String,
    since: Instant,
}

/// A request to a model, as it is told while one waits for it.
#[derive(Default)]
struct Asked {
    turn: u32,
    endpoint: String,
    /// Whether anything of its answer has come.
    stirs: bool,
    /// Why the one before it came to nothing, if it did.
    failed: Option<String>,
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
            let servers: Vec<_> = driven.agent().servers.iter().map(|server| server.name.as_str()).collect();
            flying.doing = (!servers.is_empty()).then(|| Doing::now(format!("starting {}", servers.join(", "))));
        }
        let mut follower = Follower {
            waiting: None,
            screen: screen.clone(),
            story: Story::of(run, screen.columns()),
            stream,
            name: (!named).then(|| format!("run {} ({agent}, {}{script})", driven.id(), brief(endpoint, MESSAGE_MAX))),
            ignored: 0,
            answered: boards.map(|boards| (run.clone(), boards)),
            flying,
        };
        follower.show();
        follower
    }

    pub fn see(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Applied(entry) => {
                let warns = matches!(&entry.event, Event::Noted(noted) if noted.code == engine::LEFT_OUT);
                for line in self.story.tell(entry) {
                    match line.step && self.screen.is_terminal() {
                        true => self.screen.progress(&line),
                        false if warns => self.screen.tell(format_args!("warning: {}", line.text)),
                        false => tracing::info!("{} {}", line.mark.as_char(), line.text),
                    }
                }
                self.flying.take(entry, &self.story);
                self.show();
            }
            Seen::Durable(entry) => self.durable(entry),
            Seen::Text(_) => {
                if self.flying.stirred() {
                    self.show();
                }
            }
            Seen::Paused(length) => {
                self.flying.paused(length);
                self.show();
            }
            Seen::Progress(call, progress) => {
                self.flying.progress(call, progress, &self.story);
                self.show();
            }
        }
    }

    fn show(&mut self) {
        let shown = self.flying.shown();
        if !self.screen.is_terminal() {
            let what = shown.as_ref().map(|(what, _)| what);
            if what != self.waiting.as_ref().map(|(what, _)| what) {
                self.waiting = what.map(|what| (what.clone(), waiting::on(format!("this: {what}"))));
            }
        }
        match shown {
            Some((what, since)) => self.screen.flying_since(what, since),
            None => self.screen.flying(String::new()),
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

impl Doing {
    fn now(what: String) -> Self {
        Doing { what, since: Instant::now() }
    }
}

impl Flying {
    fn take(&mut self, entry: &Entry, story: &Story) {
        match &entry.event {
            Event::ToolsListed(_) | Event::ToolsChanged(_) | Event::Woken(_) | Event::Ended(_) => self.doing = None,
            Event::ModelAnswered(_) => {
                self.doing = None;
                self.asked.failed = None;
            }
            Event::ModelAsked(it) => {
                let endpoint = brief(&it.endpoint, MESSAGE_MAX);
                let again = if self.asked.turn == it.turn { " again" } else { "" };
                self.doing = Some(Doing::now(format!("turn {}: asking {endpoint}{again}", it.turn)));
                self.asked = Asked { turn: it.turn, endpoint, stirs: false, failed: None };
            }
            Event::AttemptFailed(it) => {
                let failed = format!("{} at {}", brief(&it.class, MESSAGE_MAX), brief(&it.endpoint, MESSAGE_MAX));
                self.doing = Some(Doing::now(format!("turn {}: asking again after {failed}", self.asked.turn)));
                self.asked.failed = Some(failed);
            }
            Event::Waiting(it) => {
                let until = it.until.map(|until| format!(" for {}", duration(until.since(entry.at))));
                let (kind, code) = (it.kind.as_str(), brief(&it.code, MESSAGE_MAX));
                self.doing = Some(Doing::now(format!("waiting{} ({kind}: {code})", until.unwrap_or_default())));
            }
            Event::ToolStarted(it) => drop(self.calls.insert(it.call, Doing::now(story.call(it.call)))),
            Event::ToolFinished(it) => drop(self.calls.remove(&it.call)),
            Event::CallLost(it) => drop(self.calls.remove(&it.call)),
            Event::ToolPaused(it) => drop(self.calls.remove(&it.call)),
            _ => {}
        }
    }

    /// A piece of the answer has come; `true` for the first.
    fn stirred(&mut self) -> bool {
        let asked = &mut self.asked;
        let first = !std::mem::replace(&mut asked.stirs, true);
        // How long it takes goes on counting from when it was asked.
        if let Some(doing) = self.doing.as_mut().filter(|_| first) {
            doing.what = format!("turn {}: {} is answering", asked.turn, asked.endpoint);
        }
        first
    }

    /// Nothing is sent for so long.
    fn paused(&mut self, length: Duration) {
        let why = self.asked.failed.clone().unwrap_or_else(|| "the rate of the settings allows no more yet".to_owned());
        self.doing = Some(Doing::now(format!("next request in {}: {why}", duration(length))));
    }

    fn progress(&mut self, call: CallId, progress: &Progress, story: &Story) {
        let Some(doing) = self.calls.get_mut(&call) else { return };
        let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
        let message = progress.message.as_ref().map(|message| format!(" {}", brief(message, MESSAGE_MAX)));
        doing.what = format!("{} {}{total}{}", story.call(call), progress.done, message.unwrap_or_default());
    }

    /// In a line, and since when: of several calls what takes longest.
    fn shown(&self) -> Option<(String, Instant)> {
        let oldest = self.calls.values().min_by_key(|doing| doing.since);
        let doing = oldest.or(self.doing.as_ref())?;
        let what = match self.calls.len() {
            0 | 1 => doing.what.clone(),
            several => format!("{}: {} …", count(several as u64, "call"), doing.what),
        };
        Some((what, doing.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        journal::golden::every_event,
        run::{AttemptFailed, ModelAsked, Time},
    };

    fn shown(flying: &Flying) -> String {
        flying.shown().map(|(what, _)| what).unwrap_or_default()
    }

    #[test]
    fn what_is_waited_for_is_told() {
        let golden = every_event();
        let asked = golden.iter().find_map(|event| match event {
            Event::ModelAsked(it) => {
                Some(ModelAsked { turn: 2, attempt: 1, endpoint: "demo/any".to_owned(), ..it.clone() })
            }
            _ => None,
        });
        let failed = golden.iter().find_map(|event| match event {
            Event::AttemptFailed(it) => {
                Some(AttemptFailed { endpoint: "demo/any".to_owned(), class: "rate_limited".to_owned(), ..it.clone() })
            }
            _ => None,
        });
        let (mut flying, story) = (Flying::default(), Story::default());
        let take = |flying: &mut Flying, event| flying.take(&Entry { index: 0, at: Time(0), event }, &story);
        flying.paused(Duration::from_secs(3));
        assert_eq!(shown(&flying), "next request in 3.0s: the rate of the settings allows no more yet");
        take(&mut flying, Event::ModelAsked(asked.clone().unwrap()));
        assert_eq!(shown(&flying), "turn 2: asking demo/any");
        let since = flying.shown().unwrap().1;
        assert_eq!([flying.stirred(), flying.stirred()], [true, false]);
        assert_eq!(flying.shown().unwrap(), ("turn 2: demo/any is answering".to_owned(), since));
        take(&mut flying, Event::AttemptFailed(failed.unwrap()));
        assert_eq!(shown(&flying), "turn 2: asking again after rate_limited at demo/any");
        flying.paused(Duration::from_millis(1500));
        assert_eq!(shown(&flying), "next request in 1.5s: rate_limited at demo/any");
        take(&mut flying, Event::ModelAsked(ModelAsked { attempt: 2, ..asked.unwrap() }));
        assert_eq!(shown(&flying), "turn 2: asking demo/any again");
        assert!(flying.stirred(), "another request, another answer");
    }
}
