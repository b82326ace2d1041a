//! Walks over the text of a model as it comes, and knows where it is: in prose, in code, in thinking, in a call.
//!
//! Text goes out as soon as it is certain to be text. A call is held back: it counts only if the message ends with it.

use std::borrow::Cow;

use super::{
    super::ToolSet,
    Attempt, Author, Extracted, Found, TextCalls,
    dialect::{BY_WRAPPER, Body, FRAMES, FUNCTIONARY, Families, Marker, Opener, RECIPIENT, TURNS, markers},
    harmony, marked,
    place::{Place, Stand},
    plain,
    region::{Around, Look, Step, begins_marker, next_solid, steps},
    tags,
};
use crate::chat::Effect;

/// Most regions without a mark of their own, and most at the end of the text, that may be read in vain: the work stays
/// linear, also if somebody plays with us.
const VAIN_MAX: usize = 32;

/// Longest run of backticks that is looked at as one, in bytes; also the longest line that ends code.
const RUN_BYTES_MAX: usize = 1024;

/// Finds calls in a text that comes in pieces. Holds back what may be the beginning of a marker, a region that has not
/// ended, and calls behind which nothing but further calls has come.
#[derive(Debug)]
pub struct Extractor {
    tools: ToolSet,
    /// The families whose dialects count.
    families: Families,
    /// Dialects that count as well.
    used: Vec<String>,
    /// Nothing is taken, whatever it is.
    is_native: bool,
    /// What has come and is not given out.
    text: String,
    /// How much of it has been walked over.
    at: usize,
    mode: Mode,
    /// What is given out by the next return.
    out: String,
    /// What stands behind the text given out last: white space, frames and the calls of `calls`. It is text as well,
    /// unless the message ends with it.
    held: String,
    /// Calls behind which nothing but white space, frames and further calls has come.
    calls: Vec<Found>,
    /// How much of `held` there was when the last of them had ended.
    held_calls: usize,
    /// How the first of them stands.
    stand: Stand,
    /// One of them is in a dialect that does not count.
    has_foreign: bool,
    /// Behind them the model invented a result, and all that follows is of its making.
    is_invented: bool,
    /// A result was invented before there was any call: none is taken any more.
    is_barred: bool,
    /// A block behind which text went on.
    spoken: Option<Attempt>,
    place: Place,
    /// Nothing but thinking has come, so what begins here may be the whole message.
    is_fresh: bool,
    /// The header of a message was left out, and since then no text was given out.
    after_header: bool,
    /// The same, at any time: what stands around texts is no part of them.
    has_header: bool,
    /// Some text was given out.
    has_text: bool,
    /// The dialect of the marker read last.
    label: &'static str,
    /// The region at this place is none.
    refused: bool,
    /// The same, and the place begins with a backtick.
    is_plain: bool,
    vain: usize,
}

#[derive(Debug)]
enum Mode {
    Prose,
    /// Up to this.
    Thinking(Cow<'static, str>),
    /// In a code fence of so many of this byte; whether the walk is at the beginning of a line.
    Code {
        byte: u8,
        count: usize,
        at_line: bool,
    },
    /// A region, and the families whose dialect it is.
    Region(Region, Families),
}

#[derive(Debug)]
enum Region {
    Marked(Box<marked::Reader>),
    Tags(Box<tags::Reader>),
    Harmony(Box<harmony::Reader>),
    Message(Box<plain::Message>),
    Line(Box<plain::Line>),
    Action(Box<plain::Action>),
}

impl Region {
    fn of(opener: &'static Opener, held: &str) -> Self {
        match opener.bodies[0] {
            (Body::Harmony, _) => Region::Harmony(Box::new(harmony::Reader::new(opener))),
            (Body::Action, _) => Region::Action(Box::new(plain::Action::new())),
            (Body::Tags(shape), label) => {
                // What decides how values read must not stand in one.
                let wraps = |wrapper: &str| match wrapper.ends_with("function_calls>") {
                    true => held.contains(wrapper),
                    false => held.trim_start().starts_with(wrapper),
                };
                let by_wrapper = BY_WRAPPER.iter().find(|(form, wrapper, ..)| *form == label && wraps(wrapper));
                let (label, shape) = by_wrapper.map_or((label, shape), |(_, _, label, shape)| (*label, *shape));
                Region::Tags(Box::new(tags::Reader::new(shape, label)))
            }
            _ => Region::Marked(Box::new(marked::Reader::new(opener))),
        }
    }

    fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        match self {
            Region::Marked(reader) => reader.read(text, around),
            Region::Tags(reader) => reader.read(text, around),
            Region::Harmony(reader) => reader.read(text, around),
            Region::Message(reader) => reader.read(text, around),
            Region::Line(reader) => reader.read(text, around),
            Region::Action(reader) => reader.read(text, around),
        }
    }
}

impl Extractor {
    /// Begins a text of this author.
    pub fn new(tools: ToolSet, author: &Author) -> Self {
        let always = author.text_calls == TextCalls::Always;
        Extractor {
            tools,
            families: if always { Families::ANY } else { Families::of(Some(&author.model)) },
            used: author.dialects.clone(),
            is_native: author.is_native && !always,
            text: String::new(),
            at: 0,
            mode: Mode::Prose,
            out: String::new(),
            held: String::new(),
            calls: Vec::new(),
            held_calls: 0,
            stand: Stand::Quoted,
            has_foreign: false,
            is_invented: false,
            is_barred: false,
            spoken: None,
            place: Place::NEW,
            is_fresh: true,
            after_header: false,
            has_header: false,
            has_text: false,
            label: "",
            refused: false,
            is_plain: false,
            vain: 0,
        }
    }

    /// Takes in the next piece of the text, and gives out what is certain to be text.
    pub fn feed(&mut self, piece: &str) -> String {
        self.text.push_str(piece);
        self.walk(false, false);
        std::mem::take(&mut self.out)
    }

    /// Gives out the rest: what else is text, and the calls that the message ends with. `complete` says whether it ended
    /// of itself and not at a limit.
    pub fn finish(mut self, complete: bool) -> Extracted {
        self.walk(true, complete);
        let mut held = std::mem::take(&mut self.held);
        if self.calls.is_empty() {
            if self.has_header {
                let frames = FRAMES.iter().chain(TURNS);
                held = frames.fold(held, |held, frame| held.replace(frame, ""));
            }
            self.out.push_str(&held);
            return Extracted { text: self.out, calls: Vec::new(), attempt: self.spoken };
        }
        if self.is_taken() {
            return Extracted { text: self.out, calls: self.calls, attempt: None };
        }
        let attempt = Attempt::of(&self.calls, held.trim_start(), true);
        self.out.push_str(&held);
        Extracted { text: self.out, calls: Vec::new(), attempt: Some(attempt) }
    }

    /// Whether the calls at the end of the message count. What a colon presents may be an example: it counts if it only
    /// reads, and if the model did not go on to present a result as well. Behind a block that text followed, nothing
    /// counts, since nobody knows what became of that one.
    fn is_taken(&self) -> bool {
        let reads = |call: &Found| {
            super::names::offered(&call.name, &self.tools).is_none_or(|tool| tool.effect == Effect::Read)
        };
        let presented = matches!(self.stand, Stand::Own { presented: true });
        let shown = presented && (self.is_invented || !self.calls.iter().all(reads));
        !(self.is_native || self.has_foreign || shown || self.spoken.is_some())
    }

    fn walk(&mut self, ended: bool, complete: bool) {
        while self.at < self.text.len() || (ended && matches!(self.mode, Mode::Region(..))) {
            let goes_on = match &self.mode {
                Mode::Prose => self.prose(ended),
                Mode::Thinking(close) => {
                    let close = close.clone();
                    self.thinking(&close, ended)
                }
                Mode::Code { .. } => self.code(ended),
                Mode::Region(..) => self.region(ended, complete),
            };
            if !goes_on {
                break;
            }
        }
        self.text.drain(..self.at);
        self.at = 0;
    }

    /// Walks over prose up to the next thing that may be more; `false` when that is not to be told yet.
    fn prose(&mut self, ended: bool) -> bool {
        let start = self.at;
        let mut at = start;
        // Behind the last byte that is no white space.
        let mut solid = start;
        while let Some(c) = self.text[at..].chars().next() {
            steps(1);
            if c.is_ascii_whitespace() {
                self.place.pass(c);
                at += 1;
                continue;
            }
            let may_begin = match c {
                '<' | '[' | ']' | '`' | '~' => true,
                '{' => self.is_fresh && solid == start,
                'A' | 't' | '>' | '-' => self.place.is_blank(),
                'f' => self.place.stand().may_open(),
                // A sign that one family thinks between.
                '◁' => true,
                _ => self.is_fresh && solid == start && self.begins_behind_marker(c),
            };
            if may_begin && !(self.refused && at == start) {
                break;
            }
            self.refused = false;
            self.place.pass(c);
            at += c.len_utf8();
            solid = at;
        }
        self.at = at;
        if solid > start {
            let text = self.text[start..at].to_owned();
            let lead = text.len() - text.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
            self.held.push_str(&text[..lead]);
            self.show(&text[lead..solid - start]);
            self.held.push_str(&text[solid - start..]);
        } else {
            self.held.push_str(&self.text[start..at]);
        }
        if self.at == self.text.len() { true } else { self.marker(ended) }
    }

    /// Whether a call may begin here whose marker stands at the end of the prompt.
    fn begins_behind_marker(&self, c: char) -> bool {
        let is_meant = self.families != Families::ANY && self.families.meets(FUNCTIONARY);
        let was_used = || self.used.iter().any(|used| used == RECIPIENT.bodies[0].1);
        self.place.last().is_none() && (c.is_alphabetic() || c == '_') && (is_meant || was_used())
    }

    /// Looks at a byte that may begin more than prose.
    fn marker(&mut self, ended: bool) -> bool {
        if self.is_plain {
            return self.plain_byte(ended);
        }
        let rest = &self.text[self.at..];
        match self.mark(rest, ended) {
            Look::More => return false,
            Look::Yes((length, marker)) => {
                self.take_mark(length, marker);
                return true;
            }
            Look::No => {}
        }
        if self.is_fresh && rest.chars().next().is_some_and(|c| self.begins_behind_marker(c)) {
            self.label = RECIPIENT.bodies[0].1;
            self.mode = Mode::Region(Region::of(&RECIPIENT, &self.held), RECIPIENT.of);
            return true;
        }
        let first = rest.as_bytes().first().copied().unwrap_or_default();
        let may_open = self.may_open() && self.place.is_blank();
        let is_message = self.is_fresh && may_open && matches!(first, b'{' | b'[' | b'`');
        if (is_message || may_open && first == b'[') && self.vain <= VAIN_MAX {
            let region = match (first, next_solid(&rest[1..], ended)) {
                (b'[', Look::More) => return false,
                (b'[', Look::Yes(c)) if c.is_alphabetic() || c == '_' => Some(Region::Line(Box::default())),
                _ => is_message.then(|| Region::Message(Box::default())),
            };
            if let Some(region) = region {
                let of = if let Region::Line(_) = region { plain::PYTHON_OF } else { Families::ANY };
                self.mode = Mode::Region(region, of);
                return true;
            }
        }
        self.plain_byte(ended)
    }

    /// Whether a call may begin here.
    fn may_open(&self) -> bool {
        !self.is_invented && !self.is_barred && (!self.calls.is_empty() || self.place.stand().may_open())
    }

    /// Whether calls in a dialect of these families count.
    fn counts(&self, of: Families, label: &str) -> bool {
        of.meets(self.families) || self.used.iter().any(|used| used == label)
    }

    /// The marker that begins here: the longest, those of dialects that count first.
    fn mark(&self, rest: &str, ended: bool) -> Look<(usize, Marker)> {
        let (may_open, at_line) = (self.may_open(), self.place.is_blank());
        let mut found: Option<(bool, usize, Marker)> = None;
        for (text, marker) in markers(rest) {
            let (counts, is_meant) = match marker {
                _ if self.is_invented => (true, matches!(marker, Marker::Thought)),
                Marker::Opener(opener) => {
                    let counts = opener.bodies.iter().any(|(_, label)| self.counts(opener.of, label));
                    (counts, may_open && (!opener.at_line || at_line))
                }
                Marker::Thinking(_) => (true, at_line || !self.calls.is_empty()),
                Marker::Result => (true, !self.calls.is_empty() || may_open && at_line),
                Marker::Frame | Marker::Turn | Marker::Channel | Marker::Thought => (true, true),
            };
            if !is_meant {
                continue;
            }
            match begins_marker(rest, text, ended) {
                Look::Yes(length) if found.is_none_or(|(own, longest, _)| (own, longest) < (counts, length)) => {
                    found = Some((counts, length, *marker));
                }
                Look::More => return Look::More,
                _ => {}
            }
        }
        found.map_or(Look::No, |(_, length, marker)| Look::Yes((length, marker)))
    }

    fn take_mark(&mut self, length: usize, marker: Marker) {
        match marker {
            Marker::Opener(opener) => {
                self.label = opener.bodies[0].1;
                self.mode = Mode::Region(Region::of(opener, &self.held), opener.of);
            }
            Marker::Frame | Marker::Turn => {
                self.held.push_str(&self.text[self.at..self.at + length]);
                self.at += length;
                if let Marker::Turn = marker {
                    // What a turn ends, ends words as well.
                    self.place = Place::NEW;
                }
            }
            Marker::Channel => self.at += length,
            Marker::Thinking(close) => {
                let was_fresh = self.is_fresh;
                let close = match close.strip_suffix(":>") {
                    Some(word) => {
                        let suffix = &self.text[self.at..self.at + length];
                        let suffix = suffix.find(':').map_or("", |at| &suffix[at..]);
                        Cow::Owned(format!("{word}{suffix}"))
                    }
                    None => Cow::Borrowed(close),
                };
                self.show_next(length);
                self.is_fresh = was_fresh;
                self.mode = Mode::Thinking(close);
            }
            Marker::Thought => {
                // All that came was thinking whose beginning nobody wrote.
                (self.is_invented, self.is_barred, self.spoken) = (false, false, None);
                self.calls.clear();
                self.show_next(length);
                self.is_fresh = true;
                self.place = Place::NEW;
            }
            Marker::Result => {
                self.is_invented = !self.calls.is_empty();
                self.is_barred = true;
                self.show_next(length);
            }
        }
    }

    /// A byte that begins nothing after all, or code.
    fn plain_byte(&mut self, ended: bool) -> bool {
        let rest = &self.text[self.at..];
        let Some(c) = rest.chars().next() else { return true };
        let is_run = matches!(c, '`' | '~');
        let count =
            if is_run { rest.bytes().take(RUN_BYTES_MAX).take_while(|next| *next == c as u8).count() } else { 1 };
        steps(count);
        if is_run && count == rest.len() && count < RUN_BYTES_MAX && !ended {
            return false;
        }
        (self.refused, self.is_plain) = (false, false);
        if is_run && count >= 3 && self.place.is_blank() {
            self.mode = Mode::Code { byte: c as u8, count, at_line: false };
        }
        self.place.pass(c);
        self.show_next(if is_run { count } else { c.len_utf8() });
        true
    }

    /// Walks over thinking, all of it text.
    fn thinking(&mut self, close: &str, ended: bool) -> bool {
        let rest = &self.text[self.at..];
        let was_fresh = self.is_fresh;
        let found = rest.find(close);
        steps(found.unwrap_or(rest.len()));
        let end = match found {
            Some(at) => {
                self.mode = Mode::Prose;
                self.place = Place::NEW;
                at + close.len()
            }
            None if ended => rest.len(),
            None => rest.len() - open_suffix(rest, close),
        };
        self.show_next(end);
        self.is_fresh = was_fresh;
        end > 0
    }

    /// Walks over code, line by line.
    fn code(&mut self, ended: bool) -> bool {
        let Mode::Code { byte, count, at_line } = self.mode else { return true };
        let rest = &self.text[self.at..];
        let newline = memchr::memchr(b'\n', rest.as_bytes());
        let line = &rest[..newline.unwrap_or(rest.len())];
        steps(line.len());
        if at_line && line.len() <= RUN_BYTES_MAX {
            let fence = line.trim_matches([' ', '\t', '\r']);
            let may_close = fence.bytes().all(|next| next == byte);
            if may_close && newline.is_none() && !ended {
                return false;
            }
            if may_close && fence.len() >= count {
                let length = line.len();
                self.place.pass('`');
                self.place.pass_block();
                self.show_next(length);
                self.mode = Mode::Prose;
                return true;
            }
        }
        let length = newline.map_or(rest.len(), |at| at + 1);
        self.show_next(length);
        self.mode = Mode::Code { byte, count, at_line: newline.is_some() };
        true
    }

    fn region(&mut self, ended: bool, complete: bool) -> bool {
        let Mode::Region(region, of) = &mut self.mode else { return true };
        let (of, around) = (*of, Around { tools: &self.tools, ended, complete });
        match region.read(&self.text[self.at..], &around) {
            Step::More if !ended => return false,
            Step::Done { end, calls } if end > 0 && (!calls.is_empty() || of.meets(self.families)) => {
                self.mode = Mode::Prose;
                self.vain += usize::from(ended);
                self.take(end, calls, of);
            }
            _ => {
                let is_plain = matches!(region, Region::Message(_) | Region::Line(_) | Region::Action(_));
                self.vain += usize::from(ended || is_plain);
                self.mode = Mode::Prose;
                if ended && !is_plain && !self.calls.is_empty() {
                    // Right behind a call another one begins, and there the text was cut.
                    let arguments = self.text.split_off(self.at);
                    self.calls.push(Found { name: String::new(), arguments, dialect: self.label, complete: false });
                } else {
                    self.refuse();
                }
            }
        }
        if self.vain > VAIN_MAX && ended {
            self.mode = Mode::Prose;
            self.show_next(self.text.len() - self.at);
        }
        true
    }

    /// Takes a region as read: calls, which are held back, or the header of a message, which is no text.
    fn take(&mut self, end: usize, calls: Vec<Found>, of: Families) {
        let raw = &self.text[self.at..self.at + end];
        self.at += end;
        if calls.is_empty() {
            self.has_header = true;
            if self.calls.is_empty() {
                self.held.clear();
                (self.after_header, self.place) = (true, Place::NEW);
            } else {
                self.held.push_str(raw);
            }
            return;
        }
        if self.calls.is_empty() {
            (self.stand, self.has_foreign) = (self.place.stand(), false);
        }
        if std::mem::take(&mut self.after_header) {
            self.held.clear();
            self.held.push_str(if self.has_text { "\n" } else { "" });
        }
        self.held.push_str(raw);
        self.held_calls = self.held.len();
        self.has_foreign |= !calls.iter().all(|call| self.counts(of, call.dialect));
        self.is_fresh = false;
        self.place.pass_block();
        self.calls.extend(calls);
    }

    /// The marker here begins no call. It may still stand around one.
    fn refuse(&mut self) {
        let rest = &self.text[self.at..];
        let length = |frame: &&str| match begins_marker(rest, frame, true) {
            Look::Yes(length) => Some(length),
            Look::No | Look::More => None,
        };
        let frame = FRAMES.iter().filter_map(length).max();
        match frame {
            Some(length) => self.take_mark(length, Marker::Frame),
            // A fence like any other.
            None if rest.starts_with('`') => self.is_plain = true,
            None => self.refused = true,
        }
    }

    /// Gives out the next bytes as text.
    fn show_next(&mut self, length: usize) {
        let text = self.text[self.at..self.at + length].to_owned();
        self.at += length;
        self.show(&text);
    }

    /// Gives out text, and before it all that was held back, which is text as well.
    fn show(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        steps(text.len());
        if self.is_invented {
            self.held.push_str(text);
            return;
        }
        let held = std::mem::take(&mut self.held);
        let calls = std::mem::take(&mut self.calls);
        let is_block =
            self.stand == Stand::Own { presented: false } && held[self.held_calls.min(held.len())..].contains('\n');
        if !calls.is_empty() && is_block && calls.iter().all(|call| call.dialect != plain::REACT) {
            self.spoken.get_or_insert_with(|| Attempt::of(&calls, held.trim_start(), false));
        }
        match std::mem::take(&mut self.after_header) {
            // Around a header no more remains than what keeps texts apart.
            true => self.out.push_str(if self.has_text { "\n" } else { "" }),
            false => self.out.push_str(&held),
        }
        (self.has_text, self.is_fresh) = (true, false);
        self.out.push_str(text);
    }
}

/// How many bytes at the end of the text could be the beginning of the marker.
fn open_suffix(text: &str, marker: &str) -> usize {
    let longest = marker.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|length| text.as_bytes().ends_with(&marker.as_bytes()[..*length])).unwrap_or(0)
}
