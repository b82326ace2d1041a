//! `runs watch`: follows a run that another process drives, or tells what is there of one that nobody does.

use futures_util::TryStreamExt;

use crate::{
    daemon::{Daemon, Error},
    journal::v1,
    run::{Entry, Run, RunId},
};

use super::{
    drive::tell,
    exit::{Code, Trouble},
    out::Out,
    screen::Screen,
    story::{Line, Story},
};

/// Where what happens is shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Show {
    /// Every entry on stdout, as JSON.
    Stream,
    /// The steps, on stdout.
    Steps,
    /// The steps, on a terminal beside the answer.
    Progress,
}

/// Follows a run until it ends or is let go, and says how it stands then. The exit code is what `run` would have had.
pub(super) async fn watch(
    daemon: &Daemon,
    id: RunId,
    show: Show,
    screen: &Screen,
    out: Out,
) -> Result<(Run, Code), Trouble> {
    // What its definition expands to is known from here on, and hidden.
    daemon.show(id).await?;
    let mut watched = Watched { run: Run::default(), story: Story::default(), show, screen, out };
    // Whoever drives it may go away and leave it to another.
    while !watched.follow(daemon, id).await? {}
    tell(screen, &watched.run, id, false);
    let want = watched.run.next();
    let code = match watched.run.end() {
        Some(end) => Code::of_end(end),
        None if want.is_idle() && !want.waiting.is_empty() => Code::of_waits(&want.waiting),
        None => Code::Interrupted,
    };
    Ok((watched.run, code))
}

struct Watched<'a> {
    run: Run,
    story: Story,
    show: Show,
    screen: &'a Screen,
    out: Out,
}

impl Watched<'_> {
    /// Goes on where we are; `false` when whoever drove it went away without a word.
    async fn follow(&mut self, daemon: &Daemon, id: RunId) -> Result<bool, Trouble> {
        let mut entries = daemon.follow(id, self.run.length()).await?;
        loop {
            match entries.try_next().await {
                Ok(Some(entry)) => {
                    self.run.apply(&entry).map_err(Error::from)?;
                    self.see(&entry)?;
                }
                Ok(None) => return Ok(true),
                Err(Error::Gone(_)) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn see(&mut self, entry: &Entry) -> Result<(), Trouble> {
        let steps = self.story.tell(entry).into_iter().filter(|line| line.step);
        match self.show {
            Show::Stream => self.out.line(&v1::line(entry)).map_err(anyhow::Error::from)?,
            Show::Steps => {
                for Line { mark, text, .. } in steps {
                    self.out.text(&format!("{} {text}", mark.as_char()))?;
                }
            }
            Show::Progress => steps.for_each(|line| self.screen.progress(&line)),
        }
        Ok(())
    }
}
