//! Drives one run for the person or script at the command line, and tells what became of it.
//!
//! ```text
//! Driven::drive ─► Follower ─► screen, stream, Board ─► Desk ─► answer ─► the run's inbox
//!       ▲── Stop ◄── signals
//! ```
//! The first signal lets the run go at its next entry, the second at once, the third drops everything where it is (the
//! journal has it). What is left to say goes to stderr: how it ended, what it waits for, how to resume it.

use tokio::sync::watch;

use crate::{
    daemon::{self, Driven},
    engine::{Left, Options, Stop},
    run::{End, Run, RunId, Wait},
};

use super::{
    ask::{Board, Desk},
    exit::{Code, Signal, Trouble},
    follow::Follower,
    out::Out,
    permit,
    screen::Screen,
    seen,
    stopper::Stopper,
    story,
    text::brief,
};

/// How a run is driven.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub options: Options,
    /// Where its entries go as soon as they are durable.
    pub stream: Option<Out>,
    /// Whether the person is asked on when the turn is over, and needs no advice on how to resume it.
    pub talk: bool,
    /// Whether the run was named before.
    pub named: bool,
}

/// Drives the run, asks the person at the terminal if somebody attends, and tells how it went.
pub(super) async fn drive(driven: &mut Driven, how: How, screen: &Screen, stopper: &Stopper) -> Result<Code, Trouble> {
    let id = driven.id();
    let outcome = follow(driven, how, screen, stopper).await;
    screen.flying(String::new());
    let outcome = outcome.map_err(|error| Trouble::from(error).about(id))?;
    let run = driven.run();
    tell(screen, run, id, how.talk);
    Ok(match (outcome, run.end()) {
        (Outcome::Left(Left::Ended), Some(end)) => Code::of_end(end),
        (Outcome::Left(Left::Ended), None) => Code::Failed,
        (Outcome::Left(Left::Waiting(waits)), _) => Code::of_waits(&waits),
        (Outcome::Parked, _) => Code::of_waits(&run.next().waiting),
        (Outcome::Left(Left::Stopped) | Outcome::Dropped, _) => {
            Code::of_signal(stopper.first().unwrap_or(Signal::Interrupt))
        }
    })
}

/// How a drive came to its end.
enum Outcome {
    Left(Left),
    /// All questions were put off.
    Parked,
    /// It would not stop, and was dropped.
    Dropped,
}

async fn follow(driven: &mut Driven, how: How, screen: &Screen, stopper: &Stopper) -> Result<Outcome, daemon::Error> {
    let (stop, wishes) = watch::channel(Stop::No);
    let (boards, mut board) = watch::channel(Board::default());
    let mut follower = Follower::new(driven, screen, how.stream, how.options.attended.then_some(boards), how.named);
    let mut desk = Desk::new(screen.clone(), driven.agent().clone(), permit::agent_file(driven.run()));
    let (post, id, mut asked) = (driven.post(), driven.id(), None);
    let mut see = |seen: crate::engine::Seen<'_>| follower.see(seen);
    let drive = driven.drive(how.options, wishes, &mut see);
    tokio::pin!(drive);
    let before = stopper.count();
    let (mut signals, mut parked, mut attended) = (0, false, how.options.attended);
    let outcome = loop {
        tokio::select! {
            left = &mut drive => break match left? {
                Left::Stopped if parked && signals == 0 => Outcome::Parked,
                left => Outcome::Left(left),
            },
            count = stopper.more_than(before + signals) => {
                signals = count - before;
                match signals {
                    1 => {
                        stop.send_replace(Stop::Soon);
                        // The terminal shows ^C in front of it.
                        let start = if screen.is_terminal() { "\n" } else { "" };
                        let what = if how.talk { " this turn" } else { "" };
                        screen.tell(format_args!(
                            "{start}stopping{what} when the calls that were sent have ended; \
                             once more to stop at once, and leave them in doubt"
                        ));
                    }
                    2 => drop(stop.send_replace(Stop::Now)),
                    _ => break Outcome::Dropped,
                }
            }
            changed = board.changed(), if attended => match changed {
                Ok(()) => parked = !desk.look(&board.borrow_and_update()),
                Err(_) => attended = false,
            },
            heard = desk.hears() => {
                if let Some(what) = desk.answer(heard) {
                    post(what).await?;
                }
                parked = !desk.look(&board.borrow());
            }
        }
        let asks = desk.asks();
        if asks != asked {
            // Others may answer it by what stands here.
            asks.clone().into_iter().for_each(|asks| seen::remember_also(id, seen::Question::of(asks)));
            asked = asks;
        }
        if parked {
            stop.send_if_modified(|stop| {
                let first = *stop == Stop::No;
                *stop = (*stop).max(Stop::Soon);
                first
            });
        }
    };
    if how.talk {
        desk.settle().await;
    }
    Ok(outcome)
}

/// Says how a run stands and what can be done about it.
pub(super) fn tell(screen: &Screen, run: &Run, id: RunId, talk: bool) {
    match run.end() {
        Some(End::Done { .. }) | None => {}
        Some(end) => screen.tell(story::end(end)),
    }
    let want = run.next();
    seen::remember(id, run);
    for wait in want.waiting.iter().filter(|_| want.is_idle()) {
        screen.tell(waits_for(run, id, wait));
    }
    if screen.is_terminal() {
        screen.tell(format_args!("{} · run {id}", story::tally(run)));
    }
    match run.end() {
        _ if talk => {}
        Some(End::Done { .. } | End::Failed { .. } | End::Cancelled) => {}
        Some(End::Exhausted { limit, .. }) => {
            let raise = story::raising(*limit).map(|flag| format!(" {flag}")).unwrap_or_default();
            screen.tell(format_args!("resume with: agentd resume {id}{raise}"));
        }
        None => screen.tell(format_args!("resume with: agentd resume {id}")),
    }
}

/// What a run waits for, and the commands that answer.
pub(super) fn waits_for(run: &Run, id: RunId, wait: &Wait) -> String {
    let shown = |call| run.call(call).map_or_else(|| call.to_string(), story::call);
    match wait {
        Wait::Approval(call) | Wait::Change(call) => {
            let record = run.call(*call);
            let asked = record.and_then(|call| call.asked.as_ref());
            let reason = asked.map(|asked| story::reason(asked.reason)).unwrap_or_default();
            let resolved = record.and_then(|call| call.resolved.as_ref());
            let repairs = resolved.into_iter().flat_map(|resolved| &resolved.repairs);
            let mended: String = repairs.map(|repair| format!("\n  ~ {}", story::mended(repair))).collect();
            format!(
                "waits for approval of {call}: {}: {reason}{mended}\n  agentd approve {id} {call}\n  agentd deny {id} {call}",
                shown(*call)
            )
        }
        Wait::Doubt(call) => format!(
            "waits for a word on {call}: {}: its outcome is unknown\n  agentd resolve {id} {call} --happened\n  \
             agentd resolve {id} {call} --did-not\n  agentd resolve {id} {call} --retry",
            shown(*call)
        ),
        Wait::Input(call) => format!("waits for input to {call}: {}", shown(*call)),
        Wait::Other(wait) => {
            format!(
                "waits for {}: {}: {}",
                wait.kind.as_str(),
                brief(&wait.code, MESSAGE_MAX),
                brief(&wait.message, MESSAGE_MAX)
            )
        }
    }
}

/// Longest message about a wait, in characters.
const MESSAGE_MAX: usize = 300;
