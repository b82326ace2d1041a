//! What to leave out of a conversation that has become too long, without asking a model.
//!
//! Tool results go first, the oldest half at a time. Only when a server refuses the conversation all the same, turns go too
//! (what people said in them stays, in short), and then every long text is shortened. So no conversation becomes too long
//! to go on. The journal keeps everything.

use std::{fmt::Write as _, sync::Arc};

use crate::{
    chat::{Message, Part},
    repair::clip,
};

use super::{
    CallRecord, CallState, Compacted, Run,
    render::{part_bytes, shortened},
    state::Item,
};

/// A result shorter than this is kept: the note in its place would be as long.
const RESULT_MIN: usize = 256;

/// A text shorter than this is never shortened.
const TEXT_MIN: usize = 512;

/// Most bytes of the first thing that a person said, which is mostly the task, and of each later one, in the summary of
/// turns that were left out.
const INPUT_BYTES_MAX: (usize, usize) = (2048, 256);

/// Most of the later inputs, and most tools, that this summary names.
const NAMED_MAX: usize = 16;

impl Run {
    /// The oldest results that are still shown, as many as hold half of what all of them hold, so that a few steps
    /// suffice and the newest results stay longest. `None` when there is nothing left to leave out.
    ///
    /// Only results are left out: what people and models said stays, and every call keeps a note in place of its result.
    pub fn compaction(&self) -> Option<Compacted> {
        let shown: Vec<_> = self.calls().filter_map(|call| Some((call.id, self.shown_bytes(call)?))).collect();
        let half = shown.iter().map(|(_, bytes)| bytes).sum::<usize>().div_ceil(2);
        let mut gone = 0;
        let oldest = shown.into_iter().take_while(|(_, bytes)| {
            let goes = gone < half;
            gone += bytes;
            goes
        });
        let elided: Vec<_> = oldest.map(|(id, _)| id).collect();
        (!elided.is_empty()).then_some(Compacted { elided, ..Compacted::default() })
    }

    /// The next step for a conversation that a server has refused as too long: results, then turns, then the middle of
    /// long texts. `None` when there is nothing left to leave out.
    pub fn reduction(&self) -> Option<Compacted> {
        self.compaction().or_else(|| self.fewer_turns()).or_else(|| self.shorter_texts())
    }

    /// Bytes of a result that is shown in full and long enough to be left out.
    fn shown_bytes(&self, call: &CallRecord) -> Option<usize> {
        let CallState::Finished(finished) = &call.state else { return None };
        let bytes = finished.content.iter().map(part_bytes).sum();
        (bytes >= RESULT_MIN && !self.elided.contains(&call.id)).then_some(bytes)
    }

    /// The older half of the turns that are still shown. The turn that goes on stays.
    fn fewer_turns(&self) -> Option<Compacted> {
        let shown = self.summary.as_ref().map_or(0, |(through, _)| *through);
        let is_told = matches!(self.items.last(), Some(Item::Input { .. }));
        let mut turns: Vec<u32> = self.answers().map(|answer| answer.turn).filter(|turn| *turn > shown).collect();
        turns.dedup();
        // Without a new input the newest turn is the one that goes on.
        if !is_told {
            turns.pop();
        }
        let through = *turns.get(turns.len().div_ceil(2).checked_sub(1)?)?;
        Some(Compacted { through, summary: Some(self.summary_through(through)), ..Compacted::default() })
    }

    /// What the model is told of the turns up to this one: what was said by people, and what was called.
    fn summary_through(&self, through: u32) -> Arc<str> {
        let covered = &self.items[..self.covered(through)];
        let mut told =
            String::from("The older part of this conversation was left out, as it is too long for the model.");
        let inputs: Vec<String> = covered.iter().filter_map(said).collect();
        if let Some((first, later)) = inputs.split_first() {
            let (first_max, later_max) = INPUT_BYTES_MAX;
            let _ = write!(told, "\nThe person said first: {}", clip(first, first_max));
            let left_out = later.len().saturating_sub(NAMED_MAX);
            for input in &later[left_out..] {
                let _ = write!(told, "\nLater: {}", clip(input, later_max));
            }
        }
        let mut called: Vec<(String, u32)> = Vec::new();
        for item in covered {
            let Item::Answer(answer) = item else { continue };
            for tool in answer.calls.iter().filter(|call| call.attempts > 0).filter_map(|call| call.resolved.as_ref()) {
                let name = tool.name.to_string();
                match called.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, times)) => *times += 1,
                    None => called.push((name, 1)),
                }
            }
        }
        if !called.is_empty() {
            let named = called.iter().take(NAMED_MAX).map(|(name, times)| format!("{name} ({times})"));
            let _ = write!(told, "\nCalls that were made: {}", named.collect::<Vec<_>>().join(", "));
        }
        told.into()
    }

    /// How many items are summed up by a summary through this turn.
    pub(super) fn covered(&self, through: u32) -> usize {
        let last = self.items.iter().rposition(|item| matches!(item, Item::Answer(answer) if answer.turn <= through));
        last.map_or(0, |last| last + 1)
    }

    /// Half of the longest text that is shown becomes the longest.
    fn shorter_texts(&self) -> Option<Compacted> {
        let conversation = self.conversation();
        let longest = conversation.iter().flat_map(|message| texts(message)).map(str::len).max()?;
        let half = (longest / 2).max(TEXT_MIN);
        // What is shortened gets a line that says so.
        let is_shorter = half + 128 < longest && self.text_bytes_max.is_none_or(|most| (half as u64) < most);
        is_shorter.then_some(Compacted { text_bytes_max: Some(half as u64), ..Compacted::default() })
    }

    /// Shortens the texts of a conversation to what models are shown of them.
    pub(super) fn shorten(&self, messages: &mut [Arc<Message>]) {
        let Some(most) = self.text_bytes_max.and_then(|most| usize::try_from(most).ok()) else { return };
        for message in messages {
            if texts(message).all(|text| text.len() <= most) {
                continue;
            }
            let message = Arc::make_mut(message);
            let parts = match message {
                Message::User(parts) | Message::Assistant(parts) => parts,
                Message::Tool(result) => &mut result.content,
            };
            for part in parts {
                if let Part::Text(text) = part
                    && text.len() > most
                {
                    *text = shortened(text, most, "message").into();
                }
            }
        }
    }
}

/// What a person said, as one line; `None` of anything else.
fn said(item: &Item) -> Option<String> {
    let Item::Input { message, .. } = item else { return None };
    let text = texts(message).collect::<Vec<_>>().join(" ");
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn texts(message: &Message) -> impl Iterator<Item = &str> {
    let parts = match message {
        Message::User(parts) | Message::Assistant(parts) => parts,
        Message::Tool(result) => &result.content,
    };
    parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        _ => None,
    })
}
