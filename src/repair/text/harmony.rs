//! The messages of gpt-oss: a header of channel and recipient, and a body. A recipient makes it a call, whatever its
//! channel; analysis without one is thinking, which is not shown; everything else is text without its header.

use super::{
    Found,
    dialect::Opener,
    json::{self, Scanned},
    names,
    region::{Around, Look, Step, begins_any, find_near, skip_space, steps},
};

/// Longest header.
const HEADER_BYTES_MAX: usize = 256;

/// What begins the next message, and so ends one whose end is missing.
const NEXT: [&str; 5] = ["<|start|>", "<|channel|>", "<|end|>", "<|call|>", "<|return|>"];

/// A message being read.
#[derive(Debug)]
pub(super) struct Reader {
    opener: &'static Opener,
    at: usize,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Head,
    /// Thinking, up to the end of its message.
    Analysis,
    /// The body of a call begins behind this place.
    Body(String),
    Json(String, usize, json::Scan),
    /// No JSON: up to the end of the message.
    Raw(String, usize),
    /// Behind a call that ended here.
    Tail(Found, usize),
}

impl Reader {
    pub(super) fn new(opener: &'static Opener) -> Self {
        Reader { opener, at: 0, phase: Phase::Head }
    }

    /// Reads on. The text begins with the marker.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let step = match &mut self.phase {
                Phase::Head => self.head(text, around),
                Phase::Analysis => match self.next_message(text, around) {
                    Look::Yes(end) => Some(Step::Done { end, calls: Vec::new() }),
                    Look::More => Some(Step::More),
                    Look::No => Some(Step::Done { end: text.len(), calls: Vec::new() }),
                },
                Phase::Body(name) => {
                    self.at = skip_space(text, self.at);
                    let name = name.clone();
                    self.phase = match text[self.at..].chars().next() {
                        None if !around.ended => return Step::More,
                        Some('{' | '[') => Phase::Json(name, self.at, json::Scan::from(self.at)),
                        _ => Phase::Raw(name, self.at),
                    };
                    None
                }
                Phase::Json(name, start, scan) => {
                    let (arguments, at, complete) = match scan.run(text) {
                        Scanned::Closed(end) => (&text[*start..end], end, true),
                        Scanned::Foreign(at) => match begins_any(&text[at..], self.opener.ends, around.ended) {
                            Look::Yes(_) => (text[*start..at].trim_end(), at, true),
                            Look::More => return Step::More,
                            Look::No => {
                                scan.pass();
                                continue;
                            }
                        },
                        Scanned::Open if !around.ended => return Step::More,
                        Scanned::Open => (&text[*start..], text.len(), false),
                    };
                    let call = found(std::mem::take(name), arguments, complete);
                    self.at = at;
                    self.phase = Phase::Tail(call, at);
                    None
                }
                Phase::Raw(name, start) => {
                    let (name, start) = (name.clone(), *start);
                    let (end, told) = match self.next_message(text, around) {
                        Look::More => return Step::More,
                        Look::Yes(end) => (end, true),
                        Look::No => (text.len(), false),
                    };
                    return Step::one(end, found(name, text[start..end].trim(), told));
                }
                Phase::Tail(_, end) => {
                    self.at = skip_space(text, self.at);
                    let end = match begins_any(&text[self.at..], self.opener.ends, around.ended) {
                        Look::More => return Step::More,
                        _ if self.at == text.len() && !around.ended => return Step::More,
                        Look::Yes(length) => self.at + length,
                        Look::No => *end,
                    };
                    match std::mem::replace(&mut self.phase, Phase::Head) {
                        Phase::Tail(call, _) => return Step::one(end, call),
                        _ => return Step::Text,
                    }
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        const MESSAGE: &str = "<|message|>";
        let length = match find_near(text, MESSAGE, HEADER_BYTES_MAX, around.ended) {
            Look::More => return Some(Step::More),
            Look::No => return Some(Step::Text),
            Look::Yes(length) => length,
        };
        let header = &text[..length];
        let mut channel = None;
        let mut recipient = None;
        let mut after_channel = false;
        for word in header.replace("<|", " <|").replace("|>", "|> ").split_whitespace() {
            match word {
                "<|channel|>" => after_channel = true,
                "<|start|>" | "assistant" | "<|constrain|>" | "json" | "code" => {}
                word => match word.strip_prefix("to=") {
                    Some(name) => recipient = Some(name.to_owned()),
                    None if after_channel && channel.is_none() => channel = Some(word.to_owned()),
                    // A header of another kind, or prose.
                    None if names::is_name(word) && channel.is_some() => {}
                    None => return Some(Step::Text),
                },
            }
        }
        self.at = length + MESSAGE.len();
        match (channel.as_deref(), recipient) {
            (_, Some(name)) if names::is_name(&name) => {
                let name = name.strip_prefix("functions.").unwrap_or(&name).to_owned();
                self.phase = Phase::Body(name);
                None
            }
            (Some("analysis"), None) => {
                self.phase = Phase::Analysis;
                None
            }
            (Some("final" | "commentary"), None) => Some(Step::Done { end: self.at, calls: Vec::new() }),
            _ => Some(Step::Text),
        }
    }

    /// Where the next message begins or this one ends, from `at` on.
    fn next_message(&mut self, text: &str, around: &Around<'_>) -> Look<usize> {
        while let Some(found) = memchr::memchr(b'<', &text.as_bytes()[self.at..]) {
            let at = self.at + found;
            steps(found);
            match begins_any(&text[at..], &NEXT, around.ended) {
                Look::Yes(_) => return Look::Yes(at),
                Look::More => {
                    self.at = at;
                    return Look::More;
                }
                Look::No => self.at = at + 1,
            }
        }
        self.at = text.len();
        if around.ended { Look::No } else { Look::More }
    }
}

fn found(name: String, arguments: &str, complete: bool) -> Found {
    Found { name, arguments: arguments.to_owned(), dialect: "harmony", complete }
}
