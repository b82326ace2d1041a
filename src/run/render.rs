//! What a model gets to see of a run: the conversation, derived from the state.
//!
//! Always valid upstream: every tool call that is rendered has an offered name and a JSON object as arguments, and
//! exactly one result right behind its message. A call that cannot be rendered so is described, clipped, in a message of
//! ours with its diagnosis; an answer of which nothing can be shown is left out. What a model gets as its own words are
//! its own words: it would imitate anything else. Arguments are never replaced by `{}`, and a human edit never rewrites a
//! call.

use std::{borrow::Cow, sync::Arc};

use crate::{
    chat::{Effect, Message, OfferedName, Part, ToolCall, ToolResult},
    repair::{clip, is_object},
    show::reveal,
};

use super::{
    CallRecord, CallState, Rejection, Run, holds,
    state::{Answer, Finished, Item},
};

/// The tool through which an agent with an `output` schema gives its final answer, when other tools are on offer too.
pub const FINAL_ANSWER: &str = "final_answer";

/// Most bytes of what is known of a lost call that the model is told.
const EVIDENCE_BYTES_MAX: usize = 300;

/// Most bytes of an unreadable call that the model sees again.
const UNREADABLE_BYTES_MAX: usize = 512;

impl Run {
    /// The conversation so far, as every model gets it.
    pub fn conversation(&self) -> Vec<Arc<Message>> {
        let mut messages = Vec::with_capacity(2 * self.items.len());
        let (through, summary) = match &self.summary {
            Some((through, summary)) => (*through, Some(summary)),
            None => (0, None),
        };
        if let Some(summary) = summary {
            messages.push(notice(format!("What happened before, in short:\n{summary}")));
        }
        for item in &self.items[self.covered(through)..] {
            match item {
                Item::Input { message, .. } => messages.push(message.clone()),
                Item::Notice(notice) => remark(&mut messages, notice),
                Item::Answer(answer) => match &**answer.shown.get_or_init(|| self.render_answer(answer)) {
                    [notice] if matches!(**notice, Message::User(_)) => remark(&mut messages, notice),
                    shown => messages.extend_from_slice(shown),
                },
            }
        }
        self.shorten(&mut messages);
        // A conversation begins with a person: when none said anything, the typed input speaks.
        if !matches!(messages.first().map(|first| &**first), Some(Message::User(_))) {
            let input = self.started.as_ref().and_then(|started| started.input.clone());
            messages.insert(0, notice(input.unwrap_or_else(|| "Begin.".into())));
        }
        messages
    }

    /// The answer and what became of its calls.
    fn render_answer(&self, answer: &Answer) -> Box<[Arc<Message>]> {
        let mut parts = Vec::with_capacity(answer.parts.len());
        let mut results = Vec::new();
        let mut notices = Vec::new();
        let mut calls = answer.calls.iter();
        for part in &answer.parts {
            match part {
                Some(Part::Text(text)) if text.trim().is_empty() => {}
                Some(part) => parts.push(part.clone()),
                None => {
                    let Some(call) = calls.next() else { continue };
                    match self.renderable(call) {
                        Some(rendered) => {
                            results.push(self.result(call, rendered.name.clone()));
                            parts.push(Part::Call(rendered));
                        }
                        None => {
                            let name = clip(&call.written.name, UNREADABLE_BYTES_MAX);
                            let arguments = clip(&call.written.arguments, UNREADABLE_BYTES_MAX);
                            let outcome = self.outcome(call).text;
                            notices.push(format!(
                                "Your call of {name:?} with the arguments {arguments:?} was not executed: {outcome}"
                            ));
                        }
                    }
                }
            }
        }
        let mut messages = Vec::with_capacity(results.len() + 2);
        // What was interrupted goes back as it came, whatever it holds.
        let is_shown = |part: &Part| answer.paused || matches!(part, Part::Text(_) | Part::Call(_));
        if parts.iter().any(is_shown) {
            messages.push(Arc::new(Message::Assistant(parts)));
        }
        messages.extend(results.into_iter().map(|result| Arc::new(Message::Tool(result))));
        if !notices.is_empty() {
            remark(&mut messages, &notice(notices.join("\n")));
        }
        messages.into()
    }

    /// The call as it may go upstream: as resolved, else as written if that is a call of an offered tool.
    fn renderable(&self, call: &CallRecord) -> Option<ToolCall> {
        let id = call.id;
        let mut opaque = call.written.opaque.clone();
        if let Some(resolved) = &call.resolved {
            let mut arguments = &call.written.arguments;
            if let Some(mended) = &resolved.arguments {
                // What an issuer has signed goes back as it came, unless it is no JSON object at all.
                opaque = opaque.filter(|_| is_object(arguments));
                arguments = if opaque.is_some() { arguments } else { mended };
            }
            return Some(ToolCall { id, name: resolved.name.clone(), arguments: arguments.clone(), opaque });
        }
        let name = self.offered(&call.written.name)?;
        (call.written.complete && is_object(&call.written.arguments)).then(|| ToolCall {
            id,
            name,
            arguments: call.written.arguments.clone(),
            opaque,
        })
    }

    pub(super) fn offered(&self, name: &str) -> Option<OfferedName> {
        let has_output = self.started.as_ref().is_some_and(|started| started.output_schema.is_some());
        if has_output && name == FINAL_ANSWER {
            return Some(FINAL_ANSWER.into());
        }
        self.tools.as_ref()?.tools.iter().map(|tool| &tool.name).find(|offered| offered.as_str() == name).cloned()
    }

    fn result(&self, call: &CallRecord, name: OfferedName) -> ToolResult {
        let Outcome { text, content: mut parts, is_error } = self.outcome(call);
        if !text.is_empty() {
            parts.insert(0, Part::text(text));
        }
        let ran = matches!(call.state, CallState::Finished(_) | CallState::Unknown | CallState::Happened(_));
        if let Some(edited) = call.edited.as_ref().filter(|_| ran) {
            parts.insert(0, Part::text(format!("ran with edited arguments: {edited}")));
        }
        ToolResult { call: call.id, name, content: content(parts), is_error }
    }

    /// What the model is told about a call.
    fn outcome(&self, call: &CallRecord) -> Outcome {
        let error = |text: String| Outcome { text, content: Vec::new(), is_error: true };
        match &call.state {
            CallState::Finished(finished) if self.elided.contains(&call.id) => {
                let bytes: usize = finished.content.iter().map(part_bytes).sum();
                Outcome {
                    text: format!("[result of {bytes} bytes left out to save room; call again if it is needed]"),
                    content: Vec::new(),
                    is_error: finished.is_error,
                }
            }
            CallState::Finished(finished) => self.finished(finished),
            CallState::Rejected(reason) => error(rejection(reason)),
            CallState::Unknown => error(unknown(call)),
            CallState::Happened(result) => Outcome {
                text: match result {
                    Some(result) => result.to_string(),
                    None => "This call took effect; its result was lost.".to_owned(),
                },
                content: Vec::new(),
                is_error: false,
            },
            CallState::DidNot => error("This call did not take effect. It may be made again.".to_owned()),
            CallState::NotSent => error("cancelled; not sent".to_owned()),
            CallState::Withdrawn => error("not sent: the person stopped this answer".to_owned()),
            CallState::Ready
            | CallState::Started(_)
            | CallState::Paused(_)
            | CallState::Lost(_)
            | CallState::Again(_) => error("no outcome yet".to_owned()),
        }
    }

    fn finished(&self, finished: &Finished) -> Outcome {
        let mut content = finished.content.clone();
        match &finished.structured {
            Some(structured) if content.is_empty() => content.push(Part::Text(structured.clone())),
            Some(structured) if !holds(&content, structured) => {
                content.push(Part::text(format!("Structured content of this result: {structured}")));
            }
            _ => {}
        }
        let mut room = self.started.as_ref().map_or(u64::MAX, |started| started.tool_result_bytes_max);
        for part in &mut content {
            if let Part::Text(text) = part {
                if let Cow::Owned(revealed) = reveal(text) {
                    *text = revealed.into();
                }
                let taken = text.len() as u64;
                if taken > room {
                    *text = shortened(text, usize::try_from(room).unwrap_or(usize::MAX), "result").into();
                }
                room = room.saturating_sub(taken);
            }
        }
        if !finished.notes.is_empty() {
            let notes = finished.notes.iter().map(|note| format!("Note on this result: {}", reveal(note)));
            content.push(Part::text(notes.collect::<Vec<_>>().join("\n")));
        }
        Outcome { text: String::new(), content, is_error: finished.is_error }
    }
}

/// Puts a notice of ours behind what is there: as a message of its own, or with the result that it would follow, since
/// many chat templates want an answer between a result and the next user message.
fn remark(messages: &mut Vec<Arc<Message>>, notice: &Arc<Message>) {
    let (Some(Message::Tool(result)), Message::User(parts)) = (messages.last().map(|last| &**last), &**notice) else {
        return messages.push(notice.clone());
    };
    let mut result = result.clone();
    result.content.push(Part::text("This is no part of the result:"));
    result.content.extend(parts.iter().cloned());
    messages.pop();
    messages.push(Arc::new(Message::Tool(result)));
}

/// What the model is told of a call that got no answer.
fn unknown(call: &CallRecord) -> String {
    // Behind the first line stands what the server said on stderr.
    let evidence = call.lost.as_ref().and_then(|lost| lost.evidence.lines().next());
    let evidence = evidence.map(|line| line.trim_end_matches("; on stderr it said:"));
    let why = match evidence {
        Some(evidence) => reveal(&clip(evidence, EVIDENCE_BYTES_MAX)).into_owned(),
        None => "the connection was lost before an answer came".to_owned(),
    };
    let read = call.resolved.as_ref().is_some_and(|resolved| resolved.effect == Effect::Read);
    match call.is_repeatable() {
        true if read => format!("This call brought no result: {why}. It changes nothing, so it may be made again."),
        true => format!(
            "The outcome of this call is unknown: it was sent, and {why}. It may be made again: a repeat changes nothing more."
        ),
        false => format!(
            "The outcome of this call is unknown: it was sent, and {why}. Check whether it took effect before you repeat \
             it."
        ),
    }
}

struct Outcome {
    text: String,
    content: Vec<Part>,
    is_error: bool,
}

fn rejection(reason: &Rejection) -> String {
    match reason {
        Rejection::Invalid(diagnosis) => diagnosis.text.clone(),
        Rejection::Denied(text) => text.clone(),
        Rejection::Behind(first) => {
            format!("not run: {first} before it was rejected; make this call again if it still applies")
        }
        Rejection::CutAnswer => {
            "not run: the answer that holds this call was cut off; make the calls again, in smaller parts".to_owned()
        }
        Rejection::NotAlone => "call it alone, after the results of the other calls".to_owned(),
        Rejection::ToolChanged => "not run: the server of this tool has changed or removed it in the meantime; \
             look at the tools that are on offer now, and make the call again if it still applies"
            .to_owned(),
    }
}

/// What a person said.
pub(super) fn user(parts: Vec<Part>) -> Arc<Message> {
    Arc::new(Message::User(content(parts)))
}

/// What stands in the place of an answer that a person stopped. It is said in the model's own turn, so that what the person
/// said before and what they say next stay two messages in every format.
pub(super) fn stopped() -> Arc<Message> {
    Arc::new(Message::Assistant(vec![Part::text("[The person stopped this answer.]")]))
}

/// What we say to the model, who hears it as from a person.
pub(super) fn notice(text: impl Into<Arc<str>>) -> Arc<Message> {
    Arc::new(Message::User(vec![Part::text(text)]))
}

/// The parts without blank texts, which providers refuse, as they refuse no parts at all.
fn content(mut parts: Vec<Part>) -> Vec<Part> {
    parts.retain(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()));
    if parts.is_empty() { vec![Part::text("(no content)")] } else { parts }
}

pub(super) fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Image(media) | Part::Audio(media) | Part::Document(media) => match &media.source {
            crate::chat::MediaSource::Base64(data) => data.len(),
            crate::chat::MediaSource::Url(url) => url.len(),
        },
        Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => 0,
    }
}

/// The head and the tail of a long text, with a line between them that tells how much of `what` is missing.
pub(super) fn shortened(text: &str, bytes: usize, what: &str) -> String {
    let head = clip_at(text, bytes * 3 / 4);
    let mut tail = text.len() - (bytes - bytes * 3 / 4).min(text.len());
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    let missing = tail.saturating_sub(head);
    format!("{}\n[… {missing} bytes of this {what} left out …]\n{}", &text[..head], &text[tail..])
}

/// The largest character boundary at or before `bytes`.
fn clip_at(text: &str, bytes: usize) -> usize {
    let mut at = bytes.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
