//! Something like a call in a text of which nothing was taken.
//!
//! One walk over the text looks for *signs*: tokens that look like the markers of a dialect, known or not; JSON that
//! names a tool on offer or has the form of a call; a tool called as in Python; a code fence that holds one of these. Signs
//! with no words between them are one *unit*. What matters is how the unit stands (`place`), and whether words follow it.
//!
//! Each byte is looked at a bounded number of times: values that were read are passed as a whole, and only a few may be
//! read that do not end.

use super::{
    super::ToolSet,
    Attempt, SEEN_BYTES_MAX,
    dialect::{Marker, THINKING, markers},
    json::{self, Scan, Scanned},
    names,
    place::{Place, Stand},
    plain::FENCES,
    python,
    region::{Look, begins_marker, run, steps},
};
use crate::repair::clip;

/// Most values without an end that are read.
const OPEN_MAX: usize = 8;

/// Most bytes before the first object of a list.
const HEAD_BYTES_MAX: usize = 64;

/// Longest token that is taken for a marker.
const TOKEN_BYTES_MAX: usize = 80;

/// Parts of the tags with which models mark calls, in small letters.
const TAGS: [&str; 17] = [
    "tool_call",
    "toolcall",
    "tool-call",
    "tool_use",
    "tool_code",
    "tool_request",
    "function_call",
    "functioncall",
    "function-call",
    "function=",
    "parameter=",
    "invoke ",
    "invoke>",
    "arg_key",
    "arg_value",
    "tool_invoke",
    "functions.",
];

/// Parts of reserved tokens (`<|…|>`) that mark calls.
const TOKENS: [&str; 9] = ["tool", "func", "call", "invoke", "action", "plugin", "python", "arg_", "dsml"];

/// Looks for something like a call. What stands in thinking is none.
pub(super) fn find(text: &str, tools: &ToolSet) -> Option<Attempt> {
    let text = answer_of(text)?;
    Walk {
        text: without_rest_of_tag(text.trim_end()),
        tools,
        at: 0,
        place: Place::NEW,
        unit: None,
        earlier: None,
        opened: 0,
        nested: false,
    }
    .run()
}

/// The text behind the last thinking; `None` if the thinking did not end.
fn answer_of(text: &str) -> Option<&str> {
    let mut answer = text;
    for (open, close) in THINKING {
        steps(answer.len());
        let places = close.strip_suffix(":>").map_or(*close, |word| &close[..=word.len()]);
        let ends = |at: &usize| begins_marker(&answer[*at..], close, true);
        let last = answer.rfind(places).and_then(|at| match ends(&at) {
            Look::Yes(length) => Some(at + length),
            Look::No | Look::More => None,
        });
        if let Some(end) = last {
            answer = &answer[end..];
        }
        if let Look::Yes(_) = begins_marker(answer.trim_start(), open, true) {
            return None;
        }
    }
    Some(answer)
}

/// The text without a tag that was begun at its end.
fn without_rest_of_tag(text: &str) -> &str {
    let from = text.len() - text.len().min(TOKEN_BYTES_MAX);
    let Some(at) = text.as_bytes()[from..].iter().rposition(|byte| *byte == b'<').map(|at| from + at) else {
        return text;
    };
    let is_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '|' | '_' | ':' | '｜' | '▁');
    if at > 0 && text[at + 1..].chars().all(is_tag) { text[..at].trim_end() } else { text }
}

struct Walk<'a> {
    text: &'a str,
    tools: &'a ToolSet,
    at: usize,
    place: Place,
    unit: Option<Unit>,
    /// A unit behind which text went on.
    earlier: Option<Attempt>,
    /// How many values without an end were read.
    opened: usize,
    /// This is the inside of a code fence.
    nested: bool,
}

/// Signs with no words between them.
#[derive(Debug, Clone)]
struct Unit {
    start: usize,
    end: usize,
    stand: Stand,
    name: Option<String>,
    /// Whether a marker opened something that nothing has closed.
    open: bool,
    /// Whether it is a whole call, and not only a marker.
    whole: bool,
    /// Whether it ends in a marker behind which a tool on offer is named.
    named: bool,
    /// Whether it is a code fence.
    fenced: bool,
    /// Words follow it.
    words: bool,
    /// And so does a blank line before them.
    blank: bool,
    /// The words that follow begin on a line of their own.
    own_line: bool,
}

/// A sign: how long it is and what it says.
#[derive(Debug, Default)]
struct Sign {
    length: usize,
    name: Option<String>,
    whole: bool,
    /// It opens or closes something.
    opens: Option<bool>,
}

/// What stands at a place.
enum Here {
    Sign(Sign),
    /// No sign, and no words either: it belongs to the unit before it.
    Close(usize),
    /// What a result begins with.
    Result,
    /// Text.
    Text,
}

impl Walk<'_> {
    fn run(mut self) -> Option<Attempt> {
        while let Some(c) = self.text[self.at..].chars().next() {
            steps(1);
            if matches!(c, '`' | '~') && self.place.is_blank() && self.fence(c) {
                continue;
            }
            if c == '`' {
                self.code();
                continue;
            }
            match self.look(c) {
                Here::Sign(sign) => self.sign(sign),
                Here::Close(length) => {
                    if let Some(unit) = self.unit.as_mut().filter(|unit| !unit.words) {
                        (unit.end, unit.open) = (self.at + length, false);
                    }
                    self.at += length;
                }
                Here::Result => {
                    let ends = self.unit.as_ref().is_some_and(|unit| !unit.words && unit.stand.may_open());
                    if ends || self.place.is_blank() && self.place.stand().may_open() {
                        // All that follows is of the model's own making.
                        let (name, start) =
                            self.unit.filter(|_| ends).map_or((None, self.at), |it| (it.name, it.start));
                        return Some(attempt(self.text, start, name, true));
                    }
                    self.text_of(c);
                }
                Here::Text => self.text_of(c),
            }
        }
        self.end()
    }

    /// Goes past a character of the text.
    fn text_of(&mut self, c: char) {
        if let Some(unit) = &mut self.unit {
            if c.is_alphanumeric() {
                unit.words = true;
            } else if c == '\n' && !unit.words {
                (unit.blank, unit.own_line) = (unit.own_line, true);
            }
        }
        self.place.pass(c);
        self.at += c.len_utf8();
    }

    /// Goes past code within a line: none of it is a sign, and it counts as words.
    fn code(&mut self) {
        let rest = &self.text[self.at..];
        let count = run(rest, |c| c == '`').len();
        let line = &rest[count..memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len()).max(count)];
        // A run that nothing closes on its line makes code of all that follows on it.
        let end = memchr::memchr(b'`', line.as_bytes())
            .map_or(rest.len().min(count + line.len()), |at| count + at + run(&rest[count + at..], |c| c == '`').len());
        steps(end);
        let has_words = rest[..end].contains(char::is_alphanumeric);
        if let Some(unit) = &mut self.unit {
            unit.words |= has_words;
        }
        self.place.pass('`');
        self.at += end;
    }

    /// The tool whose name follows here.
    fn named(&self, at: usize) -> Option<String> {
        let rest = &self.text[at..];
        let space = rest.bytes().take(HEAD_BYTES_MAX).take_while(u8::is_ascii_whitespace).count();
        let name = run(&rest[space..], names::is_name_char);
        names::offered(name, self.tools).map(|_| name.to_owned())
    }

    /// Takes a sign up into the unit that it belongs to, or begins one with it.
    fn sign(&mut self, sign: Sign) {
        let Sign { length, name, whole, opens } = sign;
        let stand = self.place.stand();
        let end = self.at + length;
        let named = self.named(end).filter(|_| opens == Some(true));
        let (is_named, name) = (named.is_some(), name.or(named));
        let belongs = |unit: &Unit| !unit.words || unit.open && (!unit.blank || unit.stand.may_open());
        match self.unit.as_mut().filter(|unit| belongs(unit)) {
            Some(unit) => {
                unit.name = unit.name.take().or(name);
                (unit.end, unit.words, unit.blank, unit.own_line) = (end, false, false, false);
                unit.whole |= whole;
                unit.named = is_named;
                unit.open = opens.unwrap_or(unit.open);
            }
            None => {
                let before = self.unit.take();
                self.earlier = self.earlier.take().or_else(|| before.and_then(|unit| unit.spoken(self.text)));
                let open = opens == Some(true);
                let unit = Unit {
                    start: self.at,
                    end,
                    stand,
                    name,
                    open,
                    whole,
                    named: is_named,
                    fenced: false,
                    words: false,
                    blank: false,
                    own_line: false,
                };
                self.unit = Some(unit);
            }
        }
        self.place.pass(if whole { '}' } else { '>' });
        self.at = end;
    }

    /// What begins here.
    fn look(&mut self, c: char) -> Here {
        match c {
            '<' | '[' | ']' => match self.token() {
                Here::Text if c == '[' => self.value(),
                here => here,
            },
            '{' => self.value(),
            '(' if self.place.last().is_none() => {
                // Brackets around the whole message change nothing.
                Here::Close(1)
            }
            c if self.place.is_blank() && (c.is_alphabetic() || c == '_') => self.python(),
            _ => Here::Text,
        }
    }

    /// A token that looks like a marker.
    fn token(&self) -> Here {
        let rest = &self.text[self.at..];
        let known = |wanted: fn(&Marker) -> bool| {
            let length = |text: &str| match begins_marker(rest, text, true) {
                Look::Yes(length) => Some(length),
                Look::No | Look::More => None,
            };
            markers(rest).filter(|(_, marker)| wanted(marker)).filter_map(|(text, _)| length(text)).max()
        };
        if known(|marker| matches!(marker, Marker::Result)).is_some() {
            return Here::Result;
        }
        if let Some(length) = known(|marker| matches!(marker, Marker::Turn)) {
            return Here::Close(length);
        }
        let opener = known(|marker| matches!(marker, Marker::Opener(opener) if !opener.at_line));
        let frame = known(|marker| matches!(marker, Marker::Frame));
        let window = &rest.as_bytes()[..TOKEN_BYTES_MAX.min(rest.len())];
        steps(window.len());
        let close = if rest.starts_with('[') { b']' } else { b'>' };
        let end = memchr::memchr(close, window).map(|at| at + 1);
        let token =
            end.map(|end| &rest[..end]).filter(|token| !token.contains('\n') && !token[1..].contains(['<', '[']));
        let Some(token) = token else {
            return match opener.max(frame) {
                Some(length) => Here::Sign(Sign { length, opens: Some(true), ..Sign::default() }),
                None => Here::Text,
            };
        };
        let inside = token.trim_matches(['<', '>', '[', ']']);
        let small = inside.to_lowercase();
        let is_reserved = inside.starts_with(['|', '｜']) || inside.ends_with(['|', '｜']);
        let is_sign = match rest.starts_with('[') {
            true => ["TOOL_", "FUNCTION_", "ARGS", "/TOOL"].iter().any(|part| inside.starts_with(part)),
            false => {
                TAGS.iter().any(|part| small.contains(part))
                    || is_reserved && TOKENS.iter().any(|part| small.contains(part))
            }
        };
        let closes = inside.starts_with('/')
            || ["|/", "end", "close", "suffix"].iter().any(|part| small.contains(part))
            || token.ends_with("|>") && !token.starts_with("<|");
        match opener.max(frame) {
            known if is_sign || known.is_some() => {
                let length = token.len().max(known.unwrap_or_default());
                Here::Sign(Sign { length, opens: Some(!closes), ..Sign::default() })
            }
            _ if is_reserved => Here::Close(token.len()),
            _ => Here::Text,
        }
    }

    /// JSON that is a call, or that stands right behind a sign.
    fn value(&mut self) -> Here {
        let rest = &self.text[self.at..];
        let adjacent = self.unit.as_ref().is_some_and(|unit| !unit.words || unit.open && self.names_before());
        let lists = rest.bytes().take(HEAD_BYTES_MAX).take_while(|c| *c == b'[' || c.is_ascii_whitespace()).count();
        steps(lists);
        let object = &rest[lists..];
        let has_key = object.starts_with('{') && self.may_be_call(object);
        if !(adjacent || has_key) || self.opened >= OPEN_MAX {
            return Here::Text;
        }
        let mut scan = Scan::from(0);
        let (end, closed) = loop {
            match scan.run(rest) {
                Scanned::Closed(end) => break (end, true),
                Scanned::Foreign(_) => scan.pass(),
                Scanned::Open => break (rest.len(), false),
            }
        };
        self.opened += usize::from(!closed);
        match self.call_of(&rest[..end]) {
            Some(name) => Here::Sign(Sign { length: end, name: Some(name), whole: true, opens: None }),
            None if adjacent && closed => Here::Sign(Sign { length: end, whole: false, ..Sign::default() }),
            None => Here::Text,
        }
    }

    /// Whether an object's first key is one that a call begins with: one of a call's own, or the name of a tool.
    fn may_be_call(&self, object: &str) -> bool {
        let key = object[1..].trim_start().strip_prefix(['"', '\'']).map(|key| run(key, names::is_name_char));
        json::begins_call(object, true) == Some(true)
            || key.is_some_and(|key| names::offered(key, self.tools).is_some())
    }

    /// Whether the name of a tool stands right before this place.
    fn names_before(&self) -> bool {
        let from = self.at - self.at.min(names::NAME_BYTES_MAX);
        let before = self.text.as_bytes().get(from..self.at).unwrap_or_default();
        let before = String::from_utf8_lossy(before);
        let before = before.trim_end();
        let name = before.rsplit(|c: char| !names::is_name_char(c)).next().unwrap_or_default();
        names::offered(name, self.tools).is_some()
    }

    /// The tool that a value calls: one on offer, or any where the value is a call in all its members.
    fn call_of(&self, value: &str) -> Option<String> {
        let offered = |name: &str| names::offered(name, self.tools).is_some();
        for call in json::calls(value).unwrap_or_default() {
            let is_object = call.arguments.as_deref().is_some_and(|it| it.trim_start().starts_with('{'));
            let is_call = if offered(&call.name) {
                call.arguments.is_some() || !call.has_more
            } else {
                is_object && !call.has_more
            };
            if is_call && !call.is_definition && names::is_name(&call.name) {
                return Some(call.name);
            }
        }
        // The name as the only key.
        let object = value.trim_start_matches(|c: char| c == '[' || c.is_whitespace()).strip_prefix('{')?.trim_start();
        let key = object.strip_prefix('"')?;
        let name = run(key, names::is_name_char);
        let behind = key[name.len()..].strip_prefix('"')?.trim_start().strip_prefix(':')?.trim_start();
        (offered(name) && behind.starts_with('{')).then(|| name.to_owned())
    }

    /// A tool on offer that is called as in Python, on a line of its own.
    fn python(&mut self) -> Here {
        let rest = &self.text[self.at..];
        let mut start = 0;
        let mut name = run(rest, names::is_name_char);
        if name == "print" && rest[name.len()..].starts_with('(') {
            start = name.len() + 1;
            name = run(&rest[start..], names::is_name_char);
        }
        let behind = &rest[start + name.len()..];
        if names::offered(name, self.tools).is_none() || !behind.starts_with('(') || self.opened >= OPEN_MAX {
            return Here::Text;
        }
        let Some(end) = python::Scan::from(0).end(behind, true) else {
            self.opened += 1;
            return Here::Text;
        };
        let inside = behind[1..end - 1].trim();
        let is_call = inside.is_empty() || inside.starts_with('{') || inside.contains('=');
        let length = start + name.len() + end + usize::from(start > 0);
        match is_call && length <= rest.len() {
            true => Here::Sign(Sign { length, name: Some(name.to_owned()), whole: true, opens: None }),
            false => Here::Text,
        }
    }

    /// Goes past a code fence, if one begins here: a sign if it holds a call, and words otherwise.
    fn fence(&mut self, c: char) -> bool {
        let rest = &self.text[self.at..];
        let count = run(rest, |next| next == c).len();
        if count < 3 {
            return false;
        }
        let newline = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let info = rest[count.min(newline)..newline].trim().to_ascii_lowercase();
        let (mut at, mut end) = (newline, rest.len());
        let mut inside = rest.get(newline + 1..).unwrap_or_default();
        // The line that closes it.
        while at < rest.len() {
            let line_end =
                memchr::memchr(b'\n', &rest.as_bytes()[at + 1..]).map_or(rest.len(), |length| at + 1 + length);
            let line = rest[at + 1..line_end].trim();
            if line.len() >= count && line.chars().all(|next| next == c) {
                (inside, end) = (rest.get(newline + 1..at).unwrap_or_default(), line_end);
                break;
            }
            at = line_end;
        }
        steps(end);
        let stand = self.place.stand();
        let alone = self.place.last().is_none();
        let sign = if self.nested { None } else { self.fenced(inside, &info, stand, alone) };
        match sign {
            Some(name) => {
                let before = self.unit.take();
                self.earlier = self.earlier.take().or_else(|| before.and_then(|unit| unit.spoken(self.text)));
                let (start, end) = (self.at, self.at + end);
                self.unit = Some(Unit {
                    start,
                    end,
                    stand: Stand::Own { presented: false },
                    name,
                    open: false,
                    whole: true,
                    named: false,
                    fenced: true,
                    words: false,
                    blank: false,
                    own_line: false,
                });
            }
            // A fence with nothing in it is one that was left over.
            None => {
                if let Some(unit) = &mut self.unit {
                    unit.words |= inside.contains(char::is_alphanumeric);
                }
            }
        }
        self.place.pass('`');
        self.place.pass_block();
        self.at += end;
        true
    }

    /// What a fence calls, if it is a call and no example: JSON as models without a dialect write it, or anything else
    /// that nothing presents.
    fn fenced(&self, inside: &str, info: &str, stand: Stand, alone: bool) -> Option<Option<String>> {
        let text = inside.trim();
        let tells = ["tool", "function", "call", "action", "python"].iter().any(|part| info.contains(part));
        if text.starts_with(['{', '['])
            && (FENCES.contains(&info) || tells)
            && let Some(name) = self.call_of(text)
        {
            return Some(Some(name));
        }
        let presented = matches!(stand, Stand::Own { presented: true } | Stand::Quoted) && !alone;
        if presented || !(FENCES.contains(&info) || tells || info == "xml") {
            return None;
        }
        let walk = Walk {
            text,
            tools: self.tools,
            at: 0,
            place: Place::NEW,
            unit: None,
            earlier: None,
            opened: self.opened,
            nested: true,
        };
        walk.run().filter(|found| found.ends).map(|found| found.name)
    }

    /// What the text comes to at its end.
    fn end(self) -> Option<Attempt> {
        let Walk { text, unit, earlier, .. } = self;
        let unit = unit?;
        let behind = text[unit.end..].chars().next();
        let ends = (!unit.words || unit.named && !unit.blank)
            && match unit.stand {
                Stand::Own { .. } | Stand::Behind => true,
                // A sentence that goes on, if only to its stop, speaks of it.
                Stand::Within => !behind.is_some_and(|c| matches!(c, '.' | ',' | ';' | '!' | '?')),
                Stand::Quoted => false,
            };
        if ends {
            return Some(attempt(text, unit.start, unit.name, true));
        }
        earlier.or_else(|| unit.spoken(text))
    }
}

impl Unit {
    /// The unit as something behind which text went on: a whole call on lines of its own that nothing presents.
    fn spoken(self, text: &str) -> Option<Attempt> {
        let is_block =
            (self.whole || self.open) && !self.fenced && self.own_line && self.stand == Stand::Own { presented: false };
        is_block.then(|| attempt(text, self.start, self.name, false))
    }
}

fn attempt(text: &str, start: usize, name: Option<String>, ends: bool) -> Attempt {
    Attempt { name, seen: clip(&text[start..], SEEN_BYTES_MAX).into_owned(), ends }
}
