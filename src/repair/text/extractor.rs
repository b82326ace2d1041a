//! Walks over the text of a model as it comes, and knows where it is: in prose, in code, in thinking, in a call.

use super::{
    super::ToolSet,
    Found,
    dialect::{BY_WRAPPER, Body, CHANNELS, FRAMES, Families, OPENERS, Opener, THINKING},
    harmony, marked, plain,
    region::{Around, Look, Step, begins, next_solid},
    tags,
};

/// Most regions without a mark of their own, and most at the end of the text, that may be read in vain: the work stays
/// linear, also if somebody plays with us.
const VAIN_MAX: usize = 32;

/// What an [`Extractor`] gives out, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Text to be shown.
    Text(String),
    /// A call.
    Call(Found),
    /// What came before turns out to have been thinking: the calls given out so far are none.
    Thought,
}

/// Finds calls in a text that comes in pieces. Holds back what may be the beginning of a marker, and a region that has
/// not ended.
#[derive(Debug)]
pub struct Extractor {
    tools: ToolSet,
    families: Families,
    /// What has come and is not given out.
    text: String,
    /// How much of it has been walked over.
    at: usize,
    mode: Mode,
    /// White space and frames behind the text given out last: part of it, unless a call follows.
    gap: String,
    items: Vec<Item>,
    /// Where on the line the walk is.
    line: Line,
    /// Nothing but thinking has come, so what begins here may be the whole message.
    is_fresh: bool,
    /// The last that was given out is a call.
    after_call: bool,
    /// Some text was given out.
    has_text: bool,
    /// Some call was given out, or the header of a message left out: what stands around texts is no part of them.
    has_call: bool,
    /// The dialect of the marker read last.
    label: &'static str,
    /// The region at this place is none.
    refused: bool,
    vain: usize,
}

#[derive(Debug)]
enum Mode {
    Prose,
    /// Up to this.
    Thinking(&'static str),
    /// In a code fence of so many of this byte; whether the walk is at the beginning of a line.
    Code {
        byte: u8,
        count: usize,
        at_line: bool,
    },
    Region(Region),
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
    fn of(opener: &'static Opener, gap: &str) -> Self {
        match opener.bodies[0] {
            (Body::Harmony, _) => Region::Harmony(Box::new(harmony::Reader::new(opener))),
            (Body::Action, _) => Region::Action(Box::new(plain::Action::new())),
            (Body::Tags(shape), label) => {
                let by_wrapper = BY_WRAPPER.iter().find(|(form, wrapper, _)| *form == label && gap.contains(wrapper));
                let label = by_wrapper.map_or(label, |(_, _, label)| label);
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

/// What the line so far says about what stands behind it.
#[derive(Debug, Clone, Copy)]
struct Line {
    /// Nothing but white space stands on it.
    is_blank: bool,
    /// It begins as a quotation.
    is_quote: bool,
    /// A quotation mark on it is open.
    in_quotes: bool,
    /// So many backticks have opened code within it; 0 outside of code.
    ticks: usize,
    /// The last byte, white space included.
    last: u8,
}

impl Line {
    const NEW: Line = Line { is_blank: true, is_quote: false, in_quotes: false, ticks: 0, last: b'\n' };

    fn pass(&mut self, byte: u8) {
        match byte {
            b'\n' => *self = Line::NEW,
            b' ' | b'\t' | b'\r' => {}
            _ => {
                self.is_quote |= self.is_blank && byte == b'>';
                self.in_quotes ^= byte == b'"';
                self.is_blank = false;
            }
        }
        self.last = byte;
    }

    /// Whether what stands here is quoted: then it is spoken of and not meant.
    fn is_quoted(&self) -> bool {
        self.ticks > 0 || self.is_quote || self.in_quotes || self.last == b'\''
    }
}

/// What a marker in prose begins.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Opener(&'static Opener),
    Frame(usize),
    Channel(usize),
    Thinking(usize, &'static str),
    /// The end of thinking whose beginning nobody wrote.
    Thought(usize),
}

impl Extractor {
    /// Begins a text. `family` is a model's name; it leaves out the dialects of other families.
    pub fn new(tools: ToolSet, family: Option<&str>) -> Self {
        Extractor {
            tools,
            families: Families::of(family),
            text: String::new(),
            at: 0,
            mode: Mode::Prose,
            gap: String::new(),
            items: Vec::new(),
            line: Line::NEW,
            is_fresh: true,
            after_call: false,
            has_text: false,
            has_call: false,
            label: "",
            refused: false,
            vain: 0,
        }
    }

    /// Takes in the next piece of the text, and gives out what is certain.
    pub fn feed(&mut self, piece: &str) -> Vec<Item> {
        self.text.push_str(piece);
        self.walk(false, false);
        std::mem::take(&mut self.items)
    }

    /// Gives out the rest. `complete` says whether the text ended of itself and not at a limit.
    pub fn finish(mut self, complete: bool) -> Vec<Item> {
        self.walk(true, complete);
        let gap = std::mem::take(&mut self.gap);
        match (self.has_call, self.after_call) {
            (false, _) => self.push(&gap),
            (true, true) => {}
            (true, false) => self.push(&FRAMES.iter().fold(gap, |gap, frame| gap.replace(frame, ""))),
        }
        self.items
    }

    fn walk(&mut self, ended: bool, complete: bool) {
        while self.at < self.text.len() || (ended && matches!(self.mode, Mode::Region(_))) {
            let goes_on = match self.mode {
                Mode::Prose => self.prose(ended),
                Mode::Thinking(close) => self.thinking(close, ended),
                Mode::Code { .. } => self.code(ended),
                Mode::Region(_) => self.region(ended, complete),
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
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start;
        // Behind the last byte that is no white space.
        let mut solid = start;
        while let Some(&byte) = bytes.get(at) {
            if byte.is_ascii_whitespace() {
                self.line.pass(byte);
                at += 1;
                continue;
            }
            let may_begin = match byte {
                b'<' | b'[' | b']' | b'`' | b'~' => true,
                b'{' => self.is_fresh && solid == start,
                b'A' | b't' => self.line.is_blank,
                b'f' => !self.line.last.is_ascii_alphanumeric(),
                // The first byte of a sign that one family thinks between.
                0xE2 => true,
                _ => false,
            };
            if may_begin && !(self.refused && at == start) {
                break;
            }
            self.refused = false;
            self.line.pass(byte);
            at += 1;
            while !self.text.is_char_boundary(at) {
                at += 1;
            }
            solid = at;
        }
        let (solid, end) = (solid.max(start), at);
        self.at = end;
        if solid > start {
            let text = self.text[start..end].to_owned();
            let lead = text.len() - text.trim_start_matches(|c: char| c.is_ascii_whitespace()).len();
            self.gap.push_str(&text[..lead]);
            self.show(&text[lead..solid - start]);
            self.gap.push_str(&text[solid - start..]);
        } else {
            self.gap.push_str(&self.text[start..end]);
        }
        if self.at == self.text.len() { true } else { self.marker(ended) }
    }

    /// Looks at a byte that may begin more than prose.
    fn marker(&mut self, ended: bool) -> bool {
        let rest = &self.text[self.at..];
        if !self.line.is_quoted() {
            match self.mark(rest, ended) {
                Look::More => return false,
                Look::Yes(mark) => {
                    self.take_mark(mark);
                    return true;
                }
                Look::No => {}
            }
            let first = rest.as_bytes().first().copied().unwrap_or_default();
            let begins_message = self.is_fresh && (first != b'`' || self.line.is_blank);
            let may_be_call =
                begins_message && matches!(first, b'{' | b'[' | b'`') || self.line.is_blank && first == b'[';
            if may_be_call && self.vain <= VAIN_MAX {
                let region = match (first, next_solid(&rest[1..], ended)) {
                    (b'[', Look::More) => return false,
                    (b'[', Look::Yes(c)) if c.is_alphabetic() || c == '_' => {
                        self.line.is_blank.then(|| Region::Line(Box::new(plain::Line::new())))
                    }
                    _ if begins_message => Some(Region::Message(Box::new(plain::Message::new()))),
                    _ => None,
                };
                if let Some(region) = region {
                    self.mode = Mode::Region(region);
                    return true;
                }
            }
        }
        self.plain_byte(ended)
    }

    /// What the table knows to begin here.
    fn mark(&self, rest: &str, ended: bool) -> Look<Mark> {
        let mut found: (usize, Option<Mark>) = (0, None);
        let mut more = false;
        let mut look = |marker: &str, mark: Mark| match begins(rest, marker, ended) {
            Look::Yes(length) if length > found.0 => found = (length, Some(mark)),
            Look::More => more = true,
            _ => {}
        };
        for opener in OPENERS {
            if opener.of.meets(self.families) && (!opener.at_line || self.line.is_blank) {
                look(opener.marker, Mark::Opener(opener));
            }
        }
        for (open, close) in THINKING {
            if self.line.is_blank || self.after_call {
                look(open, Mark::Thinking(open.len(), close));
            }
            look(close, Mark::Thought(close.len()));
        }
        FRAMES.iter().for_each(|frame| look(frame, Mark::Frame(frame.len())));
        CHANNELS.iter().for_each(|channel| look(channel, Mark::Channel(channel.len())));
        match found {
            _ if more => Look::More,
            (_, Some(mark)) => Look::Yes(mark),
            (_, None) => Look::No,
        }
    }

    fn take_mark(&mut self, mark: Mark) {
        match mark {
            Mark::Opener(opener) => {
                self.label = opener.bodies[0].1;
                self.mode = Mode::Region(Region::of(opener, &self.gap));
            }
            Mark::Frame(length) => {
                self.gap.push_str(&self.text[self.at..self.at + length]);
                self.at += length;
                self.line.last = b'>';
            }
            Mark::Channel(length) => self.at += length,
            Mark::Thinking(length, close) => {
                let was_fresh = self.is_fresh;
                self.show_next(length);
                self.is_fresh = was_fresh;
                self.mode = Mode::Thinking(close);
            }
            Mark::Thought(length) => {
                self.show_next(length);
                self.items.push(Item::Thought);
                self.has_call = false;
                self.is_fresh = true;
                self.line = Line::NEW;
            }
        }
    }

    /// A byte that begins nothing after all, or code.
    fn plain_byte(&mut self, ended: bool) -> bool {
        let rest = &self.text[self.at..];
        let byte = rest.as_bytes().first().copied().unwrap_or_default();
        let count = rest.bytes().take_while(|next| *next == byte).count();
        let is_tick = byte == b'`';
        let is_fence = count >= 3 && self.line.is_blank && matches!(byte, b'`' | b'~');
        if matches!(byte, b'`' | b'~') && count == rest.len() && !ended {
            return false;
        }
        self.refused = false;
        if is_fence {
            self.show_next(count);
            self.mode = Mode::Code { byte, count, at_line: false };
        } else if is_tick {
            self.show_next(count);
            match self.line.ticks {
                0 => self.line.ticks = count,
                open if open == count => self.line.ticks = 0,
                _ => {}
            }
            self.line.pass(byte);
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            self.show_next(length);
            self.line.pass(byte);
        }
        true
    }

    /// Walks over thinking, all of it text.
    fn thinking(&mut self, close: &'static str, ended: bool) -> bool {
        let rest = &self.text[self.at..];
        let was_fresh = self.is_fresh;
        let end = match rest.find(close) {
            Some(at) => {
                self.mode = Mode::Prose;
                self.line = Line::NEW;
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
        let newline = rest.find('\n');
        let line = &rest[..newline.unwrap_or(rest.len())];
        if at_line {
            let fence = line.trim_matches([' ', '\t', '\r']);
            let may_close = fence.bytes().all(|next| next == byte);
            if may_close && newline.is_none() && !ended {
                return false;
            }
            if may_close && fence.len() >= count {
                let length = line.len();
                self.show_next(length);
                self.mode = Mode::Prose;
                self.line = Line::NEW;
                return true;
            }
        }
        let length = newline.map_or(rest.len(), |at| at + 1);
        self.show_next(length);
        self.mode = Mode::Code { byte, count, at_line: newline.is_some() };
        true
    }

    fn region(&mut self, ended: bool, complete: bool) -> bool {
        let Mode::Region(region) = &mut self.mode else { return true };
        let around = Around { tools: &self.tools, ended, complete };
        match region.read(&self.text[self.at..], &around) {
            Step::More if !ended => return false,
            Step::Done { end, calls } if end > 0 => {
                self.mode = Mode::Prose;
                self.at += end;
                self.gap.clear();
                self.after_call = true;
                self.line = Line::NEW;
                self.has_call = true;
                self.is_fresh &= calls.is_empty();
                self.vain += usize::from(ended);
                self.items.extend(calls.into_iter().map(Item::Call));
            }
            _ => {
                let is_plain = matches!(region, Region::Message(_) | Region::Line(_) | Region::Action(_));
                self.vain += usize::from(ended || is_plain);
                self.mode = Mode::Prose;
                if ended && !is_plain && self.after_call && self.has_call {
                    // Right behind a call another one begins, and there the text was cut.
                    let arguments = self.text.split_off(self.at);
                    let cut = Found { name: String::new(), arguments, dialect: self.label, complete: false };
                    self.items.push(Item::Call(cut));
                    self.gap.clear();
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

    /// The marker here begins no call. It may still stand around one.
    fn refuse(&mut self) {
        let rest = &self.text[self.at..];
        let frame = FRAMES.iter().filter(|frame| rest.starts_with(**frame)).map(|frame| frame.len()).max();
        match frame {
            Some(length) => self.take_mark(Mark::Frame(length)),
            None if rest.starts_with('`') => {
                // A fence like any other.
                let count = rest.bytes().take_while(|byte| *byte == b'`').count();
                self.show_next(count);
                self.mode = Mode::Code { byte: b'`', count, at_line: false };
            }
            None => self.refused = true,
        }
    }

    /// Gives out the next bytes as text.
    fn show_next(&mut self, length: usize) {
        let text = self.text[self.at..self.at + length].to_owned();
        self.at += length;
        self.show(&text);
    }

    /// Gives out text, and before it what stood between it and the text before.
    fn show(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let gap = std::mem::take(&mut self.gap);
        match (self.after_call, self.has_text) {
            (false, _) => self.push(&gap),
            // Around a call no more remains than what keeps texts apart.
            (true, true) => self.push("\n"),
            (true, false) => {}
        }
        self.after_call = false;
        self.is_fresh = false;
        self.push(text);
    }

    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.has_text = true;
        match self.items.last_mut() {
            Some(Item::Text(before)) => before.push_str(text),
            _ => self.items.push(Item::Text(text.to_owned())),
        }
    }
}

/// How many bytes at the end of the text could be the beginning of the marker.
fn open_suffix(text: &str, marker: &str) -> usize {
    let longest = marker.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|length| text.as_bytes().ends_with(&marker.as_bytes()[..*length])).unwrap_or(0)
}
