//! Puts tool calls together from the pieces in which they are streamed.
//!
//! The format says: each piece has the index of its call, the first one also id and name, and the arguments follow in
//! pieces. Servers leave out indexes, use one index for all calls, send one call twice, a name in pieces, or another id
//! with every piece (`notes` of each rule below). Always true:
//! - A piece goes to a call only for a reason: same id, same index, or nothing that tells otherwise.
//! - Where two readings remain, the pieces become separate calls, or arguments that are no JSON: never a call that
//!   looks whole and was not meant.
//! - Arguments stay as written: what the pieces are together, or what the server sent last as all of it.

use serde::de::IgnoredAny;

use super::super::json::{Members, Scan};

/// Most calls in one answer. No model makes more in earnest, and looking for the call of a piece stays cheap.
pub(super) const CALLS_MAX: usize = 1024;

/// One piece of a call; what is empty or `None` was not sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fragment<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: &'a str,
}

/// One call as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Call {
    index: Option<u64>,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: String,
    /// Where in them the last piece begins.
    last: usize,
    /// Whether each piece was all of the one before it, or more.
    grows: bool,
    /// What the issuer wants back with the call, as JSON text.
    pub(super) extra: Option<String>,
    /// Whether the name has been told to whoever watches.
    pub(super) told: bool,
    scan: Scan,
}

impl Call {
    /// Whether the arguments may end where they end.
    pub(super) fn is_closed(&self) -> bool {
        self.scan.is_closed()
    }

    /// Whether the arguments have begun and cannot end where they end.
    fn is_open(&self) -> bool {
        !self.scan.is_empty() && !self.scan.is_closed()
    }

    /// Whether a named piece that claims this call is more of it, and not another call under the same index or id.
    fn goes_on_with(&self, piece: &Fragment<'_>) -> bool {
        if piece.name.is_empty() || self.name.is_empty() {
            return true;
        }
        if self.scan.is_empty() {
            // The name itself may come in pieces, or again with the arguments.
            return true;
        }
        // The name is repeated with every piece, or the whole call is sent again at the end.
        piece.name == self.name
            && (self.is_open() || self.repeats(piece.arguments) || piece.arguments.trim().is_empty())
    }

    /// Whether these are the arguments that we have already, whole.
    fn repeats(&self, arguments: &str) -> bool {
        self.scan.has_closed() && arguments.trim() == self.arguments.trim()
    }

    fn take(&mut self, piece: &Fragment<'_>) {
        if self.index.is_none() {
            self.index = piece.index;
        }
        if self.id.is_empty() {
            self.id.push_str(piece.id);
        }
        self.take_name(piece.name);
        if self.repeats(piece.arguments) {
            return;
        }
        if self.arguments.trim() == "{}" && piece.arguments.trim_start().starts_with('{') {
            // An empty object stood in for arguments that only now begin.
            self.arguments.clear();
            self.last = 0;
            self.scan = Scan::default();
        }
        if !piece.arguments.is_empty() {
            let before = &self.arguments[self.last..];
            self.grows = (self.arguments.is_empty() || self.grows) && piece.arguments.starts_with(before);
            self.last = self.arguments.len();
        }
        self.arguments.push_str(piece.arguments);
        self.scan.feed(piece.arguments.as_bytes());
    }

    /// Decides what the arguments are, once all pieces have come. Some servers send with each piece all that there is so
    /// far: then the last one is the arguments. It is so only if each piece begins with the one before, the last is a
    /// whole object, and all together are no beginning of any JSON: `{"x":` and `{"x":1}` could be two levels of one
    /// object that was cut.
    pub(super) fn settle(&mut self) {
        let is_one = self.last == 0 || !self.grows;
        let together = || serde_json::from_str::<IgnoredAny>(&self.arguments);
        if is_one || !together().is_err_and(|error| error.is_syntax()) {
            return;
        }
        let all = &self.arguments[self.last..];
        if Members::read(all).is_some() {
            self.scan = Scan::of(all);
            self.arguments.drain(..self.last);
            self.last = 0;
        }
    }

    fn take_name(&mut self, name: &str) {
        if !self.scan.is_empty() && !self.name.is_empty() {
            // With the arguments under way the name is complete, and this is it again.
        } else if name.starts_with(&self.name) {
            // The first piece, the whole again, or all of it so far.
            name.clone_into(&mut self.name);
        } else {
            self.name.push_str(name);
        }
    }
}

/// Adds a piece to the call that it belongs to, or begins a new one; answers which. `None` when there are too many.
pub(super) fn add(calls: &mut Vec<Call>, piece: &Fragment<'_>) -> Option<usize> {
    let at = match find(calls, piece) {
        Some(at) => at,
        None if calls.len() < CALLS_MAX => {
            calls.push(Call::default());
            calls.len() - 1
        }
        None => return None,
    };
    calls[at].take(piece);
    Some(at)
}

/// The call that a piece belongs to; `None` for a new one.
fn find(calls: &[Call], piece: &Fragment<'_>) -> Option<usize> {
    let last_with = |matches: &dyn Fn(&Call) -> bool| calls.iter().rposition(matches);
    let by_index = || piece.index.and_then(|index| last_with(&|call| call.index == Some(index)));
    let same = |at: usize| calls[at].goes_on_with(piece).then_some(at);
    let named = !piece.name.is_empty();

    if piece.id.is_empty() {
        if let Some(at) = by_index() {
            return same(at);
        }
        let last = calls.len().checked_sub(1)?;
        return match (piece.index, named) {
            // Nothing at all tells which: the last one.
            (None, false) => Some(last),
            // The name again with every piece; otherwise a name begins a call.
            (None, true) => (calls[last].is_open() && calls[last].name == piece.name).then_some(last),
            // An index that counts pieces instead of calls: nothing but the call still open can be meant.
            (Some(_), false) => calls[last].is_open().then_some(last),
            (Some(_), true) => None,
        };
    }
    let by_both = last_with(&|call| {
        call.id == piece.id && (piece.index.is_none() || call.index.is_none() || call.index == piece.index)
    });
    if let Some(at) = by_both {
        return same(at);
    }
    if let Some(at) = by_index() {
        let call = &calls[at];
        if call.id.is_empty() {
            // The id comes late.
            return same(at);
        }
        // One index for all calls, each named; or a new id with every piece of one call.
        let is_more =
            !named || (call.is_open() && call.name == piece.name && !piece.arguments.trim_start().starts_with('{'));
        return is_more.then_some(at);
    }
    if named {
        return None;
    }
    // The index has changed and the id has not; or neither index nor name, and an id that is new with every piece.
    last_with(&|call| call.id == piece.id)
        .or_else(|| if piece.index.is_none() { calls.len().checked_sub(1) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces as `(index, id, name, arguments)`, a negative index for none; and calls as `(id, name, arguments)`.
    type Row = (
        &'static str,
        &'static [(i64, &'static str, &'static str, &'static str)],
        &'static [(&'static str, &'static str, &'static str)],
    );

    const ROWS: &[Row] = &[
        ("by the book", &[(0, "a", "f", ""), (0, "", "", "{\"x\""), (0, "", "", ":1}")], &[("a", "f", "{\"x\":1}")]),
        ("parallel", &[(0, "a", "f", "{}"), (1, "b", "g", "{}")], &[("a", "f", "{}"), ("b", "g", "{}")]),
        (
            "interleaved by index",
            &[
                (0, "a", "f", ""),
                (1, "b", "g", ""),
                (0, "", "", "{\"x\":"),
                (1, "", "", "{\"y\":"),
                (0, "", "", "1}"),
                (1, "", "", "2}"),
            ],
            &[("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}")],
        ),
        (
            "interleaved by id, no index",
            &[(-1, "a", "f", "{\"x\":"), (-1, "b", "g", "{\"y\":"), (-1, "a", "", "1}"), (-1, "b", "", "2}")],
            &[("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":2}")],
        ),
        ("no index, ids", &[(-1, "a", "f", "{}"), (-1, "b", "g", "{}")], &[("a", "f", "{}"), ("b", "g", "{}")]),
        (
            "no index, no ids, whole calls",
            &[(-1, "", "f", "{\"x\":1}"), (-1, "", "f", "{\"x\":1}")],
            &[("", "f", "{\"x\":1}"), ("", "f", "{\"x\":1}")],
        ),
        (
            "no index, no ids, in pieces",
            &[(-1, "", "f", ""), (-1, "", "", "{\"x\":"), (-1, "", "", "1}")],
            &[("", "f", "{\"x\":1}")],
        ),
        (
            "no index, no id, the name with every piece",
            &[(-1, "", "f", "{\"x\":"), (-1, "", "f", "1}")],
            &[("", "f", "{\"x\":1}")],
        ),
        (
            "index 0 for all, ids differ",
            &[(0, "a", "f", "{\"x\":1}"), (0, "b", "f", "{\"x\":1}")],
            &[("a", "f", "{\"x\":1}"), ("b", "f", "{\"x\":1}")],
        ),
        (
            "index 0 for all, no ids, names differ",
            &[(0, "", "f", "{\"x\":1}"), (0, "", "g", "{\"y\":1}")],
            &[("", "f", "{\"x\":1}"), ("", "g", "{\"y\":1}")],
        ),
        (
            "index 0 for all, no ids, same name",
            &[(0, "", "f", "{\"x\":1}"), (0, "", "f", "{\"x\":2}")],
            &[("", "f", "{\"x\":1}"), ("", "f", "{\"x\":2}")],
        ),
        (
            "one id for all, indexes differ",
            &[(0, "a", "f", "{}"), (1, "a", "g", "{}")],
            &[("a", "f", "{}"), ("a", "g", "{}")],
        ),
        (
            "one id and one index for all",
            &[(0, "a", "f", "{\"x\":1}"), (0, "a", "g", "{\"x\":1}")],
            &[("a", "f", "{\"x\":1}"), ("a", "g", "{\"x\":1}")],
        ),
        (
            "a new id with every piece",
            &[(0, "a", "f", ""), (0, "b", "", "{\"x\":"), (0, "c", "", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "a new id and the name with every piece",
            &[(0, "a", "f", "{\"x\":"), (0, "b", "f", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "a new id with every piece, no index",
            &[(-1, "a", "f", ""), (-1, "b", "", "{\"x\":"), (-1, "c", "", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "the index counts pieces, the id stays",
            &[(0, "a", "f", "{\"x\":"), (1, "a", "", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        ("the index counts pieces, no id", &[(0, "a", "f", "{\"x\":"), (1, "", "", "1}")], &[("a", "f", "{\"x\":1}")]),
        ("the id comes late", &[(0, "", "f", "{\"x\":"), (0, "a", "", "1}")], &[("a", "f", "{\"x\":1}")]),
        ("the index comes late", &[(-1, "a", "f", "{\"x\":"), (0, "a", "", "1}")], &[("a", "f", "{\"x\":1}")]),
        ("the name comes last", &[(0, "a", "", "{\"x\":1}"), (0, "", "f", "")], &[("a", "f", "{\"x\":1}")]),
        (
            "the name in pieces",
            &[(0, "a", "files_", ""), (0, "", "_read", ""), (0, "", "", "{}")],
            &[("a", "files__read", "{}")],
        ),
        (
            "the name grows",
            &[(0, "a", "files", ""), (0, "a", "files__read", ""), (0, "", "", "{}")],
            &[("a", "files__read", "{}")],
        ),
        (
            "the name with every piece",
            &[(0, "a", "f", ""), (0, "", "f", "{\"x\":"), (0, "", "f", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "name and id with every piece",
            &[(0, "a", "f", ""), (0, "a", "f", "{\"x\":"), (0, "a", "f", "1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "the whole call again at the end",
            &[(0, "a", "f", "{\"x\":"), (0, "", "", "1}"), (0, "a", "f", "{\"x\":1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        (
            "the arguments again at the end",
            &[(0, "a", "f", "{\"x\":"), (0, "", "", "1}"), (0, "", "", "{\"x\":1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        ("id and name again at the end", &[(0, "a", "f", "{\"x\":1}"), (0, "a", "f", "")], &[("a", "f", "{\"x\":1}")]),
        (
            "an empty object first",
            &[(0, "a", "f", "{}"), (0, "", "", "{\"x\""), (0, "", "", ":1}")],
            &[("a", "f", "{\"x\":1}")],
        ),
        ("an empty object is meant", &[(0, "a", "f", "{}"), (0, "", "", "")], &[("a", "f", "{}")]),
        (
            "the index is reused with a new id",
            &[(0, "a", "f", "{\"x\":1}"), (1, "b", "g", "{}"), (0, "c", "h", "{\"z\""), (0, "", "", ":1}")],
            &[("a", "f", "{\"x\":1}"), ("b", "g", "{}"), ("c", "h", "{\"z\":1}")],
        ),
        ("huge indexes", &[(1 << 40, "a", "f", "{}"), (7, "b", "g", "{}")], &[("a", "f", "{}"), ("b", "g", "{}")]),
        (
            "all so far with every piece",
            &[(0, "a", "f", ""), (0, "", "", "{\"x\":"), (0, "", "", "{\"x\":[1"), (0, "", "", "{\"x\":[1]}")],
            &[("a", "f", "{\"x\":[1]}")],
        ),
        (
            "all so far with every piece, of two calls, with id and name",
            &[
                (0, "a", "f", "{"),
                (1, "b", "g", "{\"y"),
                (0, "a", "f", "{\"x\":1}"),
                (1, "b", "g", "{\"y\":\"{\"}"),
                (1, "b", "g", "{\"y\":\"{\"}"),
            ],
            &[("a", "f", "{\"x\":1}"), ("b", "g", "{\"y\":\"{\"}")],
        ),
        (
            "all so far with every piece, and cut",
            &[(0, "a", "f", "{\"x\":"), (0, "", "", "{\"x\":1"), (0, "", "", "{\"x\":1,")],
            &[("a", "f", "{\"x\":{\"x\":1{\"x\":1,")],
        ),
        (
            "pieces that begin alike, by the book",
            &[(0, "a", "f", "{\"x\":"), (0, "", "", "{\"x\":1}"), (0, "", "", "}")],
            &[("a", "f", "{\"x\":{\"x\":1}}")],
        ),
        (
            "pieces that begin alike, cut or all so far",
            &[(0, "a", "f", "{\"x\":"), (0, "", "", "{\"x\":1}")],
            &[("a", "f", "{\"x\":{\"x\":1}")],
        ),
        (
            "another text with every piece",
            &[(0, "a", "f", "{\"x\":\"\"}"), (0, "", "", "{\"x\":\"y\"}")],
            &[("a", "f", "{\"x\":\"\"}{\"x\":\"y\"}")],
        ),
        (
            "what is no repeat stays in sight",
            &[(0, "a", "f", "{\"x\":1}"), (0, "", "", "{\"x\":2}")],
            &[("a", "f", "{\"x\":1}{\"x\":2}")],
        ),
    ];

    #[test]
    fn pieces_find_their_call() {
        for (name, pieces, expected) in ROWS {
            let mut calls = Vec::new();
            for &(index, id, name, arguments) in *pieces {
                add(&mut calls, &Fragment { index: u64::try_from(index).ok(), id, name, arguments });
            }
            calls.iter_mut().for_each(Call::settle);
            let found: Vec<_> = calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
            assert_eq!(found, *expected, "{name}");
        }
    }

    #[test]
    fn there_is_a_bound_on_calls() {
        let mut calls = Vec::new();
        let added = (0..2000).filter(|&index| {
            add(&mut calls, &Fragment { index: Some(index), name: "f", ..Fragment::default() }).is_some()
        });
        assert_eq!(added.count(), CALLS_MAX);
    }
}
