//! Calls that nothing marks as such: JSON or a code fence that is the whole message, a line of Python, ReAct.
//!
//! They count only if every tool in them is on offer, and if they stand for themselves.

use super::{
    Found,
    dialect::{FRAMES, Families, LLAMA, TURNS},
    json::{self, Scanned},
    marked::python_calls,
    names::{self, NAME_BYTES_MAX},
    python,
    region::{
        Around, Look, SPACE_BYTES_MAX, Step, begins, begins_any, begins_marker, find_near, longest, next_solid, run,
        skip_space, steps,
    },
};

/// The words behind a fence that can hold a call.
pub(super) const FENCES: [&str; 5] = ["", "json", "json5", "jsonc", "action"];

/// The dialect of a list of calls in Python, and whose it is.
pub(super) const PYTHON: &str = "pythonic";
pub(super) const PYTHON_OF: Families = LLAMA;

/// The dialect of `Action:` and `Action Input:`.
pub(super) const REACT: &str = "react";

/// A message that consists of calls in JSON, bare or in code fences.
#[derive(Debug)]
pub(super) struct Message {
    at: usize,
    phase: Phase,
    label: &'static str,
    calls: Vec<Found>,
}

#[derive(Debug)]
enum Phase {
    Head { fenced: bool },
    Json { fenced: bool, start: usize, scan: json::Scan },
    Tail { fenced: bool },
}

impl Default for Message {
    fn default() -> Self {
        Message { at: 0, phase: Phase::Head { fenced: false }, label: "json", calls: Vec::new() }
    }
}

impl Message {
    /// Reads on, up to the end of the message.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let step = match &mut self.phase {
                Phase::Head { fenced } => {
                    let fenced = *fenced;
                    self.head(text, fenced, around)
                }
                Phase::Json { fenced, start, scan } => {
                    let (fenced, start) = (*fenced, *start);
                    match scan.run(text) {
                        Scanned::Foreign(_) => {
                            scan.pass();
                            None
                        }
                        Scanned::Closed(end) => self.take(&text[start..end], end, fenced, around),
                        Scanned::Open if !around.ended => Some(Step::More),
                        Scanned::Open => self.take(&text[start..], text.len(), fenced, around),
                    }
                }
                Phase::Tail { fenced } => {
                    let fenced = *fenced;
                    self.tail(text, fenced, around)
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, text: &str, fenced: bool, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        let rest = &text[self.at..];
        let more = Some(if around.ended { Step::Text } else { Step::More });
        let object = match rest.chars().next() {
            None => return more,
            Some('{') => rest,
            Some('[') => match next_solid(&rest[1..], around.ended) {
                Look::More => return more,
                Look::Yes('{') => rest[1..].trim_start(),
                _ => return Some(Step::Text),
            },
            Some('`') if !fenced => return self.fence(text, around),
            Some(_) => return Some(Step::Text),
        };
        match json::begins_call(object, around.ended) {
            None => more,
            Some(false) => Some(Step::Text),
            Some(true) => {
                self.phase = Phase::Json { fenced, start: self.at, scan: json::Scan::from(self.at) };
                None
            }
        }
    }

    fn fence(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let rest = &text[self.at..];
        match begins(rest, "```", around.ended) {
            Look::More => return Some(Step::More),
            Look::No => return Some(Step::Text),
            Look::Yes(_) => {}
        }
        match find_near(&rest[3..], "\n", 16, around.ended) {
            Look::More => Some(Step::More),
            Look::Yes(length) if FENCES.contains(&rest[3..3 + length].trim().to_ascii_lowercase().as_str()) => {
                self.at += 3 + length;
                self.label = "fence";
                self.phase = Phase::Head { fenced: true };
                None
            }
            _ => Some(Step::Text),
        }
    }

    fn take(&mut self, value: &str, end: usize, fenced: bool, around: &Around<'_>) -> Option<Step> {
        let Some(calls) = json::calls(value) else { return Some(Step::Text) };
        for call in calls {
            let is_call = call.arguments.is_some() || !call.closed;
            if !is_call || call.has_more || names::offered(&call.name, around.tools).is_none() {
                return Some(Step::Text);
            }
            let arguments = call.arguments.unwrap_or_default();
            self.calls.push(Found { name: call.name, arguments, dialect: self.label, complete: call.closed });
        }
        self.at = end;
        self.phase = Phase::Tail { fenced };
        None
    }

    fn tail(&mut self, text: &str, fenced: bool, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        let rest = &text[self.at..];
        match rest.chars().next() {
            None if !around.ended => Some(Step::More),
            None => Some(Step::Done { end: text.len(), calls: std::mem::take(&mut self.calls) }),
            Some('`') if fenced => match begins(rest, "```", around.ended) {
                Look::More => Some(Step::More),
                Look::No => Some(Step::Text),
                Look::Yes(length) => {
                    self.at += length;
                    self.phase = Phase::Tail { fenced: false };
                    None
                }
            },
            Some(';' | ',') => {
                self.at += 1;
                self.phase = Phase::Head { fenced };
                None
            }
            Some('{' | '[' | '`') => {
                self.phase = Phase::Head { fenced };
                None
            }
            Some(_) => match longest(FRAMES.iter().map(|frame| begins_marker(rest, frame, around.ended)))
                .or(|| begins_any(rest, TURNS, around.ended))
            {
                Look::More => Some(Step::More),
                Look::No => Some(Step::Text),
                Look::Yes(length) => {
                    self.at += length;
                    None
                }
            },
        }
    }
}

/// A list of calls in Python that has its lines for itself (Llama 3.2 and 4; their model cards and prompt formats).
#[derive(Debug, Default)]
pub(super) struct Line {
    scan: Option<python::Scan>,
    end: Option<usize>,
}

impl Line {
    /// Reads on. The text begins with the bracket.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        if self.scan.is_none() {
            let start = skip_space(text, 1);
            let name = run(&text[start..], names::is_name_char);
            if start > SPACE_BYTES_MAX || name.len() > NAME_BYTES_MAX {
                return Step::Text;
            }
            let Some(next) = text[start + name.len()..].chars().next() else {
                return if around.ended { Step::Text } else { Step::More };
            };
            if next != '(' || names::offered(name, around.tools).is_none() {
                return Step::Text;
            }
            self.scan = Some(python::Scan::from(0));
        }
        if self.end.is_none() {
            self.end = self.scan.as_mut().and_then(|scan| scan.end(text, around.ended));
        }
        let inside = match self.end {
            Some(end) => {
                let behind = text[end..].trim_start_matches([' ', '\t', '\r']);
                match behind.chars().next() {
                    _ if text.len() - end - behind.len() > SPACE_BYTES_MAX => return Step::Text,
                    None if !around.ended => return Step::More,
                    // What stands behind it on its line is nothing, or a mark of the end.
                    None | Some('\n' | '<') => {}
                    Some(_) => return Step::Text,
                }
                &text[1..end - 1]
            }
            None if !around.ended => return Step::More,
            None => &text[1..],
        };
        let Some(calls) = python_calls(inside) else { return Step::Text };
        let mut found = Vec::with_capacity(calls.len());
        for call in calls {
            if names::offered(call.name, around.tools).is_none() {
                return Step::Text;
            }
            let arguments = call.read();
            if call.closed && arguments.is_none() {
                return Step::Text;
            }
            let arguments = arguments.unwrap_or_default();
            found.push(Found { name: call.name.to_owned(), arguments, dialect: PYTHON, complete: call.closed });
        }
        Step::Done { end: self.end.unwrap_or(text.len()), calls: found }
    }
}

/// `Action: f` and `Action Input: …`. An observation behind it is the model's own invention, and goes with all that
/// follows from it.
#[derive(Debug)]
pub(super) struct Action {
    at: usize,
    phase: Input,
}

#[derive(Debug)]
enum Input {
    Head,
    Json {
        name: String,
        start: usize,
        scan: json::Scan,
    },
    Raw {
        name: String,
        start: usize,
    },
    Tail {
        call: Found,
        end: usize,
    },
    /// From an observation on; whether the line before was blank.
    Invented {
        call: Found,
        blank: bool,
    },
}

/// What the lines of a trace begin with.
const TRACE: [&str; 7] =
    ["Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:", "Question:", "Answer:"];

impl Action {
    pub(super) fn new() -> Self {
        Action { at: "Action:".len(), phase: Input::Head }
    }

    /// Reads on. The text begins with `Action:`.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let step = match &mut self.phase {
                Input::Head => self.head(text, around),
                Input::Json { name, start, scan } => {
                    let (end, complete) = match scan.run(text) {
                        Scanned::Foreign(_) => {
                            scan.pass();
                            continue;
                        }
                        Scanned::Closed(end) => (end, true),
                        Scanned::Open if !around.ended => return Step::More,
                        Scanned::Open => (text.len(), false),
                    };
                    let call = found(std::mem::take(name), &text[*start..end], complete);
                    self.at = end;
                    self.phase = Input::Tail { call, end };
                    None
                }
                Input::Raw { name, start } => {
                    let (name, start) = (name.clone(), *start);
                    self.raw(name, start, text, around)
                }
                Input::Tail { end, .. } => {
                    let end = *end;
                    self.tail(end, text, around)
                }
                Input::Invented { .. } => Some(self.invented(text, around)),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let newline = match find_near(&text[self.at..], "\n", NAME_BYTES_MAX, around.ended) {
            Look::More => return Some(Step::More),
            Look::No => return Some(Step::Text),
            Look::Yes(length) => self.at + length,
        };
        let name = text[self.at..newline].trim().trim_matches(['`', '"', '\'', '[', ']']);
        if names::offered(name, around.tools).is_none() {
            return Some(Step::Text);
        }
        let input = skip_space(text, newline);
        let start = match begins(&text[input..], "Action Input:", around.ended) {
            _ if input - newline > SPACE_BYTES_MAX => return Some(Step::Text),
            Look::More => return Some(Step::More),
            Look::No => return Some(Step::Text),
            Look::Yes(length) => skip_space(text, input + length),
        };
        if start - input > SPACE_BYTES_MAX {
            return Some(Step::Text);
        }
        let rest = &text[start..];
        let Some(first) = rest.chars().next() else {
            if around.ended {
                // Nothing is there yet: it was cut.
                return Some(Step::one(text.len(), found(name.to_owned(), "", false)));
            }
            return Some(Step::More);
        };
        let mut json_at = start;
        if first == '`' {
            match begins(rest, "```", around.ended) {
                Look::More => return Some(Step::More),
                Look::Yes(fence) => match find_near(&rest[fence..], "\n", 16, around.ended) {
                    Look::More => return Some(Step::More),
                    Look::Yes(length) => json_at = skip_space(text, start + fence + length),
                    Look::No => {}
                },
                Look::No => {}
            }
            if json_at == text.len() && !around.ended {
                return Some(Step::More);
            }
        }
        let name = name.to_owned();
        self.phase = match text[json_at..].starts_with(['{', '[']) {
            true => Input::Json { name, start: json_at, scan: json::Scan::from(json_at) },
            false => Input::Raw { name, start },
        };
        self.at = start;
        None
    }

    /// Free text ends where an observation or a thought begins, or with the text.
    fn raw(&mut self, name: String, start: usize, text: &str, around: &Around<'_>) -> Option<Step> {
        const ENDS: [&str; 3] = ["Observation:", "Thought:", "Action:"];
        while let Some(length) = memchr::memchr(b'\n', &text.as_bytes()[self.at..]) {
            let newline = self.at + length;
            match begins_any(&text[newline + 1..], &ENDS, around.ended) {
                Look::More => return Some(Step::More),
                Look::Yes(_) => {
                    let call = found_raw(name, text[start..newline].trim(), true, around);
                    self.at = newline;
                    self.phase = Input::Tail { call, end: newline };
                    return None;
                }
                Look::No => self.at = newline + 1,
            }
        }
        if !around.ended {
            return Some(Step::More);
        }
        Some(Step::one(text.len(), found_raw(name, text[start..].trim(), around.complete, around)))
    }

    fn tail(&mut self, end: usize, text: &str, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        match begins_any(&text[self.at..], &["Observation:", "```"], around.ended) {
            _ if self.at == text.len() && !around.ended => Some(Step::More),
            Look::More => Some(Step::More),
            Look::No => Some(self.done(end)),
            Look::Yes(length) if text[self.at..].starts_with('`') => {
                self.at += length;
                let at = self.at;
                if let Input::Tail { end, .. } = &mut self.phase {
                    *end = at;
                }
                None
            }
            Look::Yes(_) => {
                if let Input::Tail { call, .. } = std::mem::replace(&mut self.phase, Input::Head) {
                    self.phase = Input::Invented { call, blank: false };
                }
                None
            }
        }
    }

    /// The observation and what goes on in its manner, up to a paragraph that does not.
    fn invented(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let Input::Invented { blank, .. } = &mut self.phase else { return Step::Text };
            let rest = &text[self.at..];
            let newline = memchr::memchr(b'\n', rest.as_bytes());
            let line = match newline {
                Some(newline) => &rest[..newline],
                None if around.ended => rest,
                None => return Step::More,
            };
            steps(line.len());
            let is_trace = TRACE.iter().any(|word| line.trim_start().starts_with(word));
            if *blank && !line.trim().is_empty() && !is_trace {
                let end = self.at;
                return self.done(end);
            }
            *blank = line.trim().is_empty();
            match newline {
                Some(newline) => self.at += newline + 1,
                None => return self.done(text.len()),
            }
        }
    }

    fn done(&mut self, end: usize) -> Step {
        match std::mem::replace(&mut self.phase, Input::Head) {
            Input::Tail { call, .. } | Input::Invented { call, .. } => Step::one(end, call),
            _ => Step::Text,
        }
    }
}

/// A call whose input is free text: that of a tool which needs one text and nothing else.
fn found_raw(name: String, raw: &str, complete: bool, around: &Around<'_>) -> Found {
    let only = || {
        let schema = &names::offered(&name, around.tools)?.input_schema;
        let [key] = schema.get("required")?.as_array()?.as_slice() else { return None };
        let key = key.as_str()?;
        let is_text = schema.get("properties")?.get(key)?.get("type")?.as_str()? == "string";
        let text = serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
        (is_text && !text.is_empty() && !raw.starts_with('`')).then(|| serde_json::json!({ key: text }).to_string())
    };
    let arguments = only();
    found(name, arguments.as_deref().unwrap_or(raw), complete)
}

fn found(name: String, arguments: &str, complete: bool) -> Found {
    Found { name, arguments: arguments.to_owned(), dialect: REACT, complete }
}
