//! A text under repair: edits go in, the mended text and the list of repairs come out.
//!
//! Repairs are told so that they can be made again: each names the bytes of the text *as the repairs before it left it*
//! ([`replay`]). Always true: edits of one pass are in order and do not overlap; the list is bounded.

use std::borrow::Cow;

use super::{Repair, Risk, Span, kind::Kind};

/// Repairs told one by one for each pass over a text. A person reads no more, and a journal should not hold a repair for
/// every comma of a megabyte; a pass with more of them is told as one, over all that lies between.
pub(super) const TOLD_MAX: usize = 64;

/// A change of a text: these bytes become that.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Edit {
    pub start: usize,
    pub end: usize,
    pub after: Cow<'static, str>,
    pub kind: Kind,
    /// A JSON pointer; empty for the whole.
    pub path: String,
}

impl Edit {
    /// Replaces some bytes.
    pub fn replace(start: usize, end: usize, after: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Edit { start, end, after: after.into(), kind, path: String::new() }
    }

    /// Takes some bytes out.
    pub fn delete(start: usize, end: usize, kind: Kind) -> Self {
        Edit::replace(start, end, "", kind)
    }

    /// Puts something in.
    pub fn insert(at: usize, after: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Edit::replace(at, at, after, kind)
    }
}

/// A text and what was done to it.
#[derive(Debug, Clone)]
pub(super) struct Draft<'t> {
    pub text: Cow<'t, str>,
    pub repairs: Vec<Repair>,
    /// How far the text is from what was written; only compared.
    pub cost: u32,
}

impl<'t> Draft<'t> {
    pub fn new(text: &'t str) -> Self {
        Draft { text: Cow::Borrowed(text), repairs: Vec::new(), cost: 0 }
    }

    /// The highest risk of what was done.
    pub fn risk(&self) -> Risk {
        self.repairs.iter().map(|repair| repair.risk).max().unwrap_or_default()
    }

    /// Makes the edits of one pass. `None` when two of them overlap, which no single reading of a text asks for.
    pub fn apply(&mut self, mut edits: Vec<Edit>) -> Option<()> {
        let (Some(_), Some(_)) = (edits.first(), edits.last()) else { return Some(()) };
        edits.sort_by_key(|edit| (edit.start, edit.end));
        if edits.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return None;
        }
        let old = &self.text;
        let mut new = String::with_capacity(old.len() + 2 * edits.len());
        let mut told = Vec::with_capacity(edits.len().min(TOLD_MAX));
        let mut from = 0;
        for edit in &edits {
            new.push_str(old.get(from..edit.start)?);
            if edits.len() <= TOLD_MAX {
                let start = new.len();
                let before = old.get(edit.start..edit.end)?;
                told.push(Repair {
                    rung: edit.kind.rung().as_str().to_owned(),
                    kind: edit.kind.as_str().to_owned(),
                    path: edit.path.clone(),
                    span: Some(Span { start, end: start + before.len() }),
                    before: before.to_owned(),
                    after: edit.after.clone().into_owned(),
                    risk: edit.kind.risk(),
                });
            }
            new.push_str(&edit.after);
            from = edit.end;
        }
        new.push_str(old.get(from..)?);
        if told.is_empty()
            && let (Some(first), Some(last)) = (edits.first(), edits.last())
        {
            let kept = old.len() - last.end;
            told.push(Repair {
                rung: first.kind.rung().as_str().to_owned(),
                kind: "several".to_owned(),
                path: String::new(),
                span: Some(Span { start: first.start, end: last.end }),
                before: old.get(first.start..last.end)?.to_owned(),
                after: new.get(first.start..new.len() - kept)?.to_owned(),
                risk: edits.iter().map(|edit| edit.kind.risk()).max().unwrap_or_default(),
            });
        }
        self.repairs.append(&mut told);
        self.text = Cow::Owned(new);
        Some(())
    }
}

/// Makes the repairs again on the name and the arguments as written. `None` when they belong to another call.
pub fn replay(name: &str, arguments: &str, repairs: &[Repair]) -> Option<(String, String)> {
    let (mut name, mut arguments) = (name.to_owned(), arguments.to_owned());
    for repair in repairs {
        let text = if repair.rung == "name" { &mut name } else { &mut arguments };
        let Span { start, end } = repair.span?;
        if text.get(start..end)? != repair.before {
            return None;
        }
        text.replace_range(start..end, &repair.after);
    }
    Some((name, arguments))
}
