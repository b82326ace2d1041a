//! What to leave out of a conversation that has become too long, without asking a model.

use super::{CallRecord, CallState, Compacted, Run, render::part_bytes};

/// A result shorter than this is kept: the note in its place would be as long.
const RESULT_MIN: usize = 256;

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
        (!elided.is_empty()).then_some(Compacted { elided, summary: None, through: 0 })
    }

    /// Bytes of a result that is shown in full and long enough to be left out.
    fn shown_bytes(&self, call: &CallRecord) -> Option<usize> {
        let CallState::Finished(finished) = &call.state else { return None };
        let bytes = finished.content.iter().map(part_bytes).sum();
        (bytes >= RESULT_MIN && !self.elided.contains(&call.id)).then_some(bytes)
    }
}
