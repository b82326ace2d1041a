//! Tells what happened to a run in lines for people: as progress while it is driven, and whole afterwards.
//!
//! Every entry has its lines here and nowhere else; those marked as a step are worth seeing while one waits. What models,
//! tools and servers said is escaped, and shortened; only what a model says beside its calls can be had whole.

use std::{collections::HashMap, time::Duration};

use crate::{
    chat::{AnswerPart, CallId, Part, ToolName},
    repair::Repair,
    run::{
        ApprovalReason, AttemptFailed, CallRecord, Decision, End, Entry, Event, Limit, ModelAnswered, NanoDollars,
        Purpose, Rejection, Resolution, Run, Time,
    },
};

use super::text::{Form, brief, count, duration, escape, grouped, tokens, width};
use crate::show::redact;

/// Longest piece of somebody else's text in a line, in characters.
const TEXT_MAX: usize = 200;

/// Widest arguments in a line, in columns.
const ARGUMENTS_MAX: usize = 72;

/// Narrowest arguments in a line, in columns, however narrow the terminal is.
const ARGUMENTS_MIN: usize = 6;

/// Most tools that a line names.
const TOOLS_MAX: usize = 5;

/// Widest name of a tool in a line, in columns.
const NAME_MAX: usize = 60;

/// Columns for what stands around a call in its line: the mark, how long it took, how often it was mended.
const AROUND: usize = 22;

/// One line of a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub mark: Mark,
    /// What is told; of several lines only with [`Mark::Said`] in a story that is [whole](Story::whole).
    pub text: String,
    /// Whether it is worth seeing while one waits.
    pub step: bool,
}

/// What kind of news a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    Good,
    /// Good, after a repair.
    Mended,
    Bad,
    /// It goes on at another endpoint.
    Elsewhere,
    /// Not as it should be, and it goes on.
    Odd,
    /// A person is asked.
    Question,
    /// What a model says.
    Said,
}

impl Mark {
    pub fn as_char(self) -> char {
        match self {
            Mark::Plain => '·',
            Mark::Good => '✓',
            Mark::Mended => '~',
            Mark::Bad => '✗',
            Mark::Elsewhere => '↪',
            Mark::Odd => '!',
            Mark::Question => '?',
            Mark::Said => '»',
        }
    }
}

/// Remembers what later lines refer to.
#[derive(Debug, Default)]
pub(super) struct Story {
    calls: HashMap<CallId, Told>,
    /// Who failed last since the last answer, and how: endpoint, class, message.
    failed: Option<(String, String, String)>,
    /// How wide lines about calls may be; `None` for lines that are read in a file or a pager.
    columns: Option<usize>,
    /// Whether what a model says is told to its end.
    whole: bool,
}

#[derive(Debug)]
struct Told {
    tool: String,
    /// Tool and arguments.
    call: String,
    repairs: usize,
}

impl Story {
    /// A story that goes on where `run` stands, in lines for a terminal so many columns wide.
    pub fn of(run: &Run, columns: usize) -> Self {
        let columns = Some(columns);
        let told = |record: &CallRecord| {
            let repairs = record.resolved.as_ref().map_or(0, |resolved| resolved.repairs.len());
            (record.id, Told::new(tool_of(record), record.arguments(), repairs, columns))
        };
        Story { calls: run.calls().map(told).collect(), columns, ..Story::default() }
    }

    /// A story in which what models say is not shortened, if so `whole`.
    pub fn whole(whole: bool) -> Self {
        Story { whole, ..Story::default() }
    }

    /// The call in a line: tool and shortened arguments.
    pub fn call(&self, id: CallId) -> String {
        self.calls.get(&id).map_or_else(|| id.to_string(), |told| told.call.clone())
    }

    /// What an entry tells.
    pub fn tell(&mut self, entry: &Entry) -> Vec<Line> {
        let step = |mark, text| vec![Line { mark, text, step: true }];
        let detail = |mark, text| vec![Line { mark, text, step: false }];
        match &entry.event {
            Event::Started(it) => detail(
                Mark::Plain,
                format!("agent {} from {}, model {}", said(&it.agent), said(&it.file), said(&it.model)),
            ),
            Event::Claimed(it) => detail(Mark::Plain, format!("taken over by {}, epoch {}", said(&it.node), it.epoch)),
            Event::InputGiven(it) => {
                let stopped = if it.stopped { " (after stopping the answer)" } else { "" };
                let text = format!("{}{stopped}: {}", said(&it.by), parts(&it.parts));
                // What comes from elsewhere is news to whoever waits.
                vec![Line { mark: Mark::Plain, text, step: it.inbox.is_some() }]
            }
            Event::ToolsListed(it) => {
                let mut lines = detail(Mark::Plain, count(it.tools.len() as u64, "tool"));
                lines.extend(it.warnings.iter().flat_map(|warning| step(Mark::Odd, said(warning))));
                lines.extend(missing(&it.missing));
                lines
            }
            Event::ToolsChanged(it) => {
                let names = |tools: Vec<&ToolName>| {
                    let shown: Vec<_> = tools.iter().take(TOOLS_MAX).map(|name| said(&name.to_string())).collect();
                    let more = tools.len() - shown.len();
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    format!("{}{more}", shown.join(", "))
                };
                let changed = |held: bool| {
                    let changed = it.changed.iter().filter(|change| change.held == held);
                    names(changed.map(|change| &change.tool.origin).collect())
                };
                let kinds = [
                    ("new", names(it.added.iter().map(|tool| &tool.origin).collect())),
                    ("gone", names(it.gone.iter().collect())),
                    ("changed", changed(false)),
                    ("changed, so that the next call waits for a person", changed(true)),
                ];
                let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
                let kinds: Vec<_> = kinds.map(|(kind, names)| format!("{kind}: {names}")).collect();
                let what = if kinds.is_empty() { "other servers are there".to_owned() } else { kinds.join("; ") };
                let mut lines = step(Mark::Odd, format!("the list of tools has changed: {what}"));
                lines.extend(missing(&it.missing));
                lines
            }
            Event::ModelAsked(it) => {
                let means = [(it.strict, ", held to the schemas"), (it.forced, ", made to call")];
                let means: String = means.iter().filter(|(is, _)| *is).map(|(_, told)| *told).collect();
                let (turn, endpoint) = (it.turn, said(&it.endpoint));
                if self.failed.as_ref().is_some_and(|(failed, ..)| *failed != it.endpoint) {
                    let text = format!("turn {turn}: {endpoint} is asked instead (attempt {}{means})", it.attempt);
                    return step(Mark::Elsewhere, text);
                }
                detail(Mark::Plain, format!("turn {turn}: asked {endpoint} (attempt {}{means})", it.attempt))
            }
            Event::AttemptFailed(it) if it.class == "interrupted" => detail(
                Mark::Odd,
                format!("attempt {} was interrupted: {}{}", it.attempt, said(&it.message), wasted(it)),
            ),
            Event::AttemptFailed(it) => {
                let (endpoint, class, took) = (said(&it.endpoint), said(&it.class), duration(it.latency));
                let failed = (it.endpoint.clone(), it.class.clone(), it.message.clone());
                if self.failed.replace(failed.clone()) == Some(failed) {
                    return step(Mark::Odd, format!("{endpoint}: the same again after {took}{}", wasted(it)));
                }
                step(Mark::Odd, format!("{endpoint}: {class} after {took}: {}{}", said(&it.message), wasted(it)))
            }
            Event::ModelAnswered(it) => {
                self.failed = None;
                for record in it.calls.iter().zip(written(it)) {
                    self.remember(record);
                }
                let mut lines = step(Mark::Plain, answer(it));
                lines.extend(self.spoken(it).map(|text| Line { mark: Mark::Said, text, step: false }));
                lines.extend(it.calls.iter().flat_map(repairs));
                lines.extend(it.output_repairs.iter().map(|repair| mended_line("the final answer", repair)));
                lines
            }
            Event::CallRejected(it) => {
                step(Mark::Bad, format!("{} not run: {}", self.call(it.call), rejection(&it.reason)))
            }
            Event::ToolStarted(it) => {
                let again = if it.attempt > 1 { format!(", attempt {}", it.attempt) } else { String::new() };
                let edited = it
                    .arguments
                    .as_ref()
                    .map(|arguments| format!(" with edited arguments {}", arguments_of(arguments)));
                let text = format!("{} sent{}{again}", self.call(it.call), edited.unwrap_or_default());
                if let (Some(arguments), Some(told)) = (&it.arguments, self.calls.get_mut(&it.call)) {
                    // From here on it is the call that ran, and what was mended is not in it.
                    *told = Told::new(std::mem::take(&mut told.tool), arguments, 0, self.columns);
                }
                vec![Line { mark: Mark::Plain, text, step: it.attempt > 1 }]
            }
            Event::ToolFinished(it) => {
                let (call, took) = (self.call(it.call), duration(it.latency));
                let repairs = self.calls.get(&it.call).map_or(0, |told| told.repairs);
                let mut lines = match (it.is_error, repairs) {
                    (true, _) => step(Mark::Bad, format!("{call} {took}: {}", parts(&it.content))),
                    (false, 0) => step(Mark::Good, format!("{call} {took}")),
                    (false, repairs) => {
                        step(Mark::Mended, format!("{call} {took}, {}", count(repairs as u64, "repair")))
                    }
                };
                lines.extend(it.notes.iter().flat_map(|note| step(Mark::Odd, format!("{call}: {}", said(note)))));
                lines
            }
            Event::CallLost(it) => {
                step(Mark::Odd, format!("{} outcome unknown: {}", self.call(it.call), said(&it.evidence)))
            }
            Event::DoubtResolved(it) => {
                let (call, by) = (self.call(it.call), said(&it.by));
                let what = match &it.resolution {
                    Resolution::Told => "the model is told that its outcome is unknown",
                    Resolution::Happened(_) => "it happened",
                    Resolution::DidNot => "it did not happen",
                    Resolution::Retry => "it is to be sent again",
                };
                step(Mark::Plain, format!("{call} {what} ({by})"))
            }
            Event::ToolPaused(it) => step(Mark::Question, format!("{} its server wants input", self.call(it.call))),
            Event::ApprovalAsked(it) => {
                detail(Mark::Question, format!("{} needs approval: {}", self.call(it.call), reason(it.reason)))
            }
            Event::ApprovalGiven(it) => {
                let (call, by) = (self.call(it.call), said(&it.by));
                match &it.decision {
                    Decision::Allow => step(Mark::Good, format!("{call} allowed by {by}")),
                    Decision::Edit(arguments) => {
                        step(Mark::Good, format!("{call} allowed by {by} with arguments {}", arguments_of(arguments)))
                    }
                    Decision::Deny(why) => {
                        let why = why.as_ref().map(|why| format!(": {}", said(why))).unwrap_or_default();
                        step(Mark::Bad, format!("{call} refused by {by}{why}"))
                    }
                }
            }
            Event::PolicyGiven(it) => {
                let verb = if it.allow { "allows" } else { "refuses" };
                step(Mark::Plain, format!("{} {verb} {} for this run", said(&it.by), said(&it.pattern)))
            }
            Event::CancelAsked(it) => step(Mark::Plain, format!("{} cancels the run", said(&it.by))),
            Event::LimitsChanged(it) => {
                let limits = [
                    ("turns", it.limits.turns.map(grouped)),
                    ("tool calls", it.limits.tool_calls.map(grouped)),
                    ("tokens", it.limits.tokens.map(grouped)),
                    ("cost", it.limits.cost.map(|cost| cost.to_string())),
                    ("active", it.limits.active.map(duration)),
                ];
                let limits = limits.into_iter().filter_map(|(name, limit)| Some(format!("{name} {}", limit?)));
                let limits = limits.collect::<Vec<_>>().join(", ");
                detail(Mark::Plain, format!("{} sets the limits: {limits}", said(&it.by)))
            }
            Event::Waiting(it) => {
                let until = it.until.map(|until| format!(", for {}", duration(until.since(entry.at))));
                let text =
                    format!("waits for {}{}: {}", it.kind.as_str(), until.unwrap_or_default(), said(&it.message));
                step(Mark::Odd, text)
            }
            Event::Woken(it) => detail(Mark::Plain, format!("goes on ({})", said(&it.by))),
            Event::OutputRejected(it) => {
                step(Mark::Bad, format!("turn {}: the final answer is refused: {}", it.turn, said(&it.diagnosis)))
            }
            Event::Compacted(it) => {
                let results = (!it.elided.is_empty()).then(|| format!("{} older results", it.elided.len()));
                let turns = it.summary.is_some().then(|| format!("the turns up to {}", it.through));
                let texts = it.text_bytes_max.map(|most| format!("what is beyond {most} bytes of each text"));
                let left_out: Vec<_> = [results, turns, texts].into_iter().flatten().collect();
                let left_out = if left_out.is_empty() { "nothing more".to_owned() } else { left_out.join(" and ") };
                detail(Mark::Plain, format!("to save room, the model no longer sees {left_out}"))
            }
            Event::Rebound(it) => detail(Mark::Plain, format!("{} gives the run another definition", said(&it.by))),
            Event::Forked(it) => detail(Mark::Plain, format!("copied from run {} up to entry {}", it.from, it.at)),
            Event::Noted(it) => step(Mark::Odd, said(&it.message)),
            Event::Ended(it) => detail(
                match it.end {
                    End::Done { .. } => Mark::Good,
                    End::Failed { .. } | End::Cancelled | End::Exhausted { .. } => Mark::Bad,
                },
                end(&it.end),
            ),
        }
    }

    fn remember(&mut self, (call, written): (&crate::run::Call, &crate::chat::WrittenCall)) {
        let told = match &call.resolved {
            Some(resolved) => {
                let arguments = resolved.arguments.as_ref().unwrap_or(&written.arguments);
                Told::new(resolved.origin.to_string(), arguments, resolved.repairs.len(), self.columns)
            }
            None => Told::new(written.name.clone(), &written.arguments, 0, self.columns),
        };
        self.calls.insert(call.id, told);
    }

    /// What an answer says beside its calls, or as the final answer; `None` when it says nothing.
    fn spoken(&self, it: &ModelAnswered) -> Option<String> {
        let texts = it.parts.iter().filter_map(|part| match part {
            AnswerPart::Text(text) => Some(&**text),
            _ => None,
        });
        let mut text = texts.collect::<Vec<_>>().join("\n");
        if text.trim().is_empty() {
            text = it.output.as_ref().map(|output| output.to_string()).unwrap_or_default();
        }
        let shown = if self.whole { escape(text.trim(), Form::Text).into_owned() } else { said(text.trim()) };
        Some(shown).filter(|shown| !shown.is_empty())
    }
}

impl Told {
    fn new(tool: String, arguments: &str, repairs: usize, columns: Option<usize>) -> Self {
        Told { call: in_line(&tool, arguments, columns), tool, repairs }
    }
}

/// A call in a line: its tool and shortened arguments.
pub(super) fn call(record: &CallRecord) -> String {
    in_line(&tool_of(record), record.arguments(), None)
}

fn tool_of(record: &CallRecord) -> String {
    match &record.resolved {
        Some(resolved) => resolved.origin.to_string(),
        None => record.written.name.clone(),
    }
}

/// Tool and arguments, these shortened so that the line fits between so many columns.
fn in_line(tool: &str, arguments: &str, columns: Option<usize>) -> String {
    let tool = brief(tool, NAME_MAX);
    let room = columns.map_or(ARGUMENTS_MAX, |columns| columns.saturating_sub(width(&tool) + AROUND));
    format!("{tool} {}", brief(arguments, room.clamp(ARGUMENTS_MIN, ARGUMENTS_MAX)))
}

/// The servers that are not there.
fn missing(missing: &[(String, String)]) -> impl Iterator<Item = Line> {
    let text = |(server, why): &(String, String)| format!("server {} is left out: {}", said(server), said(why));
    missing.iter().map(move |missing| Line { mark: Mark::Odd, text: text(missing), step: true })
}

/// Why a person is asked about a call.
pub(super) fn reason(reason: ApprovalReason) -> &'static str {
    match reason {
        ApprovalReason::Policy => "the policy asks",
        ApprovalReason::Changed => "its tool has changed, and nobody has seen the difference yet",
        ApprovalReason::HeldRepeat => "an identical call has an unknown outcome",
        ApprovalReason::Unchecked => "the schema of its tool cannot be used, so its arguments were not checked",
        ApprovalReason::Unclear => "a condition of the policy fails on its arguments",
        ApprovalReason::Repaired => "it was mended beyond the policy of its tool, and asking again did not help",
    }
}

/// How a run ended, in a few words.
pub(super) fn end(end: &End) -> String {
    match end {
        End::Done { .. } => "done".to_owned(),
        End::Failed { code, message } => format!("failed: {}: {}", said(code), said(message)),
        End::Cancelled => "cancelled".to_owned(),
        End::Exhausted { message: Some(message), .. } => format!("exhausted: {}", brief(message, 2 * TEXT_MAX)),
        End::Exhausted { limit, message: None } => {
            let limit = match limit {
                Limit::Turns => "turns",
                Limit::ToolCalls => "tool calls",
                Limit::Tokens => "tokens",
                Limit::Cost => "cost",
                Limit::Active => "time at work",
                Limit::Budget => "money in a day",
            };
            format!("exhausted: the limit of {limit} is used up")
        }
    }
}

/// The flag that raises a limit; `None` when the settings do.
pub(super) fn raising(limit: Limit) -> Option<&'static str> {
    match limit {
        Limit::Turns => Some("--max-turns N"),
        Limit::ToolCalls => Some("--max-tool-calls N"),
        Limit::Tokens => Some("--max-tokens N"),
        Limit::Active => Some("--timeout DURATION"),
        Limit::Cost => Some("--max-cost DOLLARS"),
        Limit::Budget => None,
    }
}

/// How long after `start` something was: `+1.2s`.
pub(super) fn since(at: Time, start: Time) -> String {
    match at.since(start) {
        Duration::ZERO => String::new(),
        length => format!("+{}", duration(length)),
    }
}

fn written(answered: &ModelAnswered) -> impl Iterator<Item = &crate::chat::WrittenCall> {
    answered.parts.iter().filter_map(|part| match part {
        AnswerPart::Call(call) => Some(call),
        _ => None,
    })
}

fn answer(it: &ModelAnswered) -> String {
    let what = match (it.purpose, it.calls.len(), &it.output) {
        (Purpose::Compact, ..) => "summary".to_owned(),
        (_, 0, Some(_)) => "final answer".to_owned(),
        (_, 0, None) => "text".to_owned(),
        (_, calls, _) => count(calls as u64, "call"),
    };
    let tokens = it.usage.map(|usage| format!(", {}", tokens(&usage)));
    format!("turn {}: {what} {}{}", it.turn, duration(it.latency), tokens.unwrap_or_default())
}

/// What an attempt without an answer has used, if anything.
fn wasted(it: &AttemptFailed) -> String {
    let Some(usage) = &it.usage else { return String::new() };
    let about = if it.estimated { "about " } else { "" };
    let cost = it.cost.map_or("cost unknown".to_owned(), |cost| cost.to_string());
    format!(" (used {about}{}, {cost})", tokens(usage))
}

/// What a run has come to so far: turns, calls, repairs, tokens and money.
pub(super) fn tally(run: &Run) -> String {
    let tally = run.tally();
    let about = if tally.estimated { "about " } else { "" };
    let cost = match (tally.cost_unknown, tally.cost) {
        (false, cost) => format!("{about}{cost}"),
        (true, NanoDollars(0)) => "cost unknown".to_owned(),
        (true, known) => format!("cost unknown, {about}{known} of it known"),
    };
    format!(
        "{} · {} · {} · {} · {about}{} · {cost}",
        run.status().as_str(),
        count(tally.turns, "turn"),
        count(tally.tool_calls, "call"),
        count(tally.repairs, "repair"),
        match tally.usage.total() {
            0 => count(0, "token"),
            total => format!("{}: {}", count(total, "token"), tokens(&tally.usage)),
        },
    )
}

/// What was mended in a call, a line each.
fn repairs(call: &crate::run::Call) -> impl Iterator<Item = Line> + '_ {
    call.resolved.iter().flat_map(|resolved| {
        let tool = said(&resolved.origin.to_string());
        resolved.repairs.iter().map(move |repair| mended_line(&tool, repair))
    })
}

fn mended_line(what: &str, repair: &Repair) -> Line {
    Line { mark: Mark::Mended, text: format!("{what} {}", mended(repair)), step: false }
}

/// What was mended, and what stood there before.
pub(super) fn mended(repair: &Repair) -> String {
    let place = if repair.path.is_empty() { String::new() } else { format!(" at {}", said(&repair.path)) };
    let what = |text: &str| brief(text, ARGUMENTS_MAX);
    format!("{}{place}: {} -> {}", said(&repair.kind), what(&repair.before), what(&repair.after))
}

fn rejection(reason: &Rejection) -> String {
    match reason {
        Rejection::Invalid(diagnosis) => {
            // A fault a line, each behind a dash, as the model gets to see them.
            let mut lines = diagnosis.text.lines().map(|line| line.trim().trim_start_matches("- "));
            let first = lines.next().unwrap_or_default();
            let faults = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
            said(format!("{first} {faults}").trim_end())
        }
        Rejection::Denied(why) => said(why),
        Rejection::Behind(first) => format!("{first} before it was rejected"),
        Rejection::CutAnswer => "another call of that answer was cut".to_owned(),
        Rejection::NotAlone => "the final answer must come alone".to_owned(),
        Rejection::ToolChanged => "its server has changed or removed the tool".to_owned(),
    }
}

fn parts(parts: &[Part]) -> String {
    let told = parts.iter().map(|part| match part {
        Part::Text(text) => said(text),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => {
            let name = media.name.as_ref().map(|name| format!("{}, ", said(name))).unwrap_or_default();
            format!("[{name}{}]", said(&media.mime))
        }
        Part::Reasoning(_) => "[reasoning]".to_owned(),
        Part::Call(call) => format!("[{}]", said(call.name.as_str())),
        Part::Opaque(opaque) => format!("[{}]", said(&opaque.kind)),
    });
    brief(&told.collect::<Vec<_>>().join(" "), TEXT_MAX)
}

/// Somebody else's text in a line: its own lines one behind the other.
fn said(text: &str) -> String {
    let text = &*redact(text);
    // More than is shown, since what stands around line breaks goes.
    let start = text.char_indices().nth(2 * TEXT_MAX).map_or(text, |(end, _)| &text[..end]);
    brief(&start.lines().map(str::trim).collect::<Vec<_>>().join(" "), TEXT_MAX)
}

fn arguments_of(arguments: &str) -> String {
    brief(arguments, ARGUMENTS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::golden::every_event;

    #[test]
    fn every_event_has_its_line() {
        let mut story = Story::default();
        let mut told = String::new();
        for (index, event) in (0..).zip(every_event()) {
            let entry = Entry { index, at: Time(0), event };
            let lines = story.tell(&entry);
            assert!(!lines.is_empty(), "entry {index} tells nothing");
            for Line { mark, text, step } in lines {
                told.push_str(&format!(
                    "{index:>2} {} {} {text}\n",
                    if step { "step" } else { "    " },
                    mark.as_char()
                ));
            }
        }
        assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
        insta::assert_snapshot!(told);
    }
}
