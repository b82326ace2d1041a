//! Calls behind a marker that are JSON, Python, or what Gemma has instead of JSON.

use super::{
    Found,
    dialect::{Body, Opener},
    gemma,
    json::{self, Scanned},
    names::{self, NAME_BYTES_MAX},
    python,
    region::{Around, Look, SPACE_BYTES_MAX, Step, begins, begins_any, find_near, next_solid, run, skip_space},
    tags,
};

/// Longest header of a call: a name, an id and what stands between them.
const HEADER_BYTES_MAX: usize = 256;

/// A region behind a marker.
#[derive(Debug)]
pub(super) struct Reader {
    opener: &'static Opener,
    label: &'static str,
    at: usize,
    phase: Phase,
    calls: Vec<Found>,
}

#[derive(Debug)]
enum Phase {
    Head,
    /// A JSON value: the arguments of a call of this name, or the calls themselves.
    Json {
        name: Option<String>,
        start: usize,
        scan: json::Scan,
    },
    /// Python: a list, or calls one behind the other; the brackets that are open began here.
    Python {
        builtin: bool,
        start: usize,
        scan: python::Scan,
        /// Where the brackets were closed, while it is not known what follows.
        closed: Option<usize>,
    },
    Gemma {
        name: String,
        quote: &'static str,
        start: usize,
        scan: gemma::Scan,
    },
    Tags(tags::Reader),
    /// Behind a value that ended here.
    Tail(usize),
}

impl Reader {
    pub(super) fn new(opener: &'static Opener) -> Self {
        let at = opener.marker.strip_suffix('[').filter(|_| opener.marker.starts_with('f')).unwrap_or(opener.marker);
        Reader { opener, label: opener.bodies[0].1, at: at.len(), phase: Phase::Head, calls: Vec::new() }
    }

    /// Reads on. The text begins with the marker.
    pub(super) fn read(&mut self, text: &str, around: &Around<'_>) -> Step {
        loop {
            let step = match &self.phase {
                Phase::Head => self.head(text, around),
                Phase::Json { .. } => self.json(text, around),
                Phase::Python { .. } => self.python(text, around),
                Phase::Gemma { .. } => self.gemma(text, around),
                Phase::Tags(_) => match &mut self.phase {
                    Phase::Tags(tags) => return tags.read(text, around),
                    _ => None,
                },
                Phase::Tail(end) => self.tail(text, *end, around),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn head(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        let rest = &text[self.at..];
        let more = || Some(if around.ended { Step::Text } else { Step::More });
        let Some(first) = rest.chars().next() else { return more() };
        let next = next_solid(&rest[first.len_utf8()..], around.ended);
        for (body, label) in self.opener.bodies {
            let begun = match body {
                Body::Object if first == '{' => match json::begins_call(rest, around.ended) {
                    None => return more(),
                    Some(is_call) => is_call.then(|| self.json_phase(None, self.at)),
                },
                Body::List if first == '[' => match next {
                    Look::More => return more(),
                    Look::Yes('{') => Some(self.json_phase(None, self.at)),
                    _ => None,
                },
                Body::Python if first == '[' => match next {
                    Look::More => return more(),
                    Look::No => None,
                    Look::Yes(next) => (next.is_alphabetic() || next == '_').then(|| Phase::Python {
                        builtin: false,
                        start: self.at,
                        scan: python::Scan::from(self.at),
                        closed: None,
                    }),
                },
                Body::Python | Body::Builtin => {
                    let name = run(rest, names::is_name_char);
                    if name.len() == rest.len() && name.len() <= NAME_BYTES_MAX && !around.ended {
                        return Some(Step::More);
                    }
                    let builtin = matches!(body, Body::Builtin);
                    let is_call = rest[name.len()..].starts_with('(') && names::is_name(name);
                    let is_meant = !builtin || name.ends_with(".call") || names::offered(name, around.tools).is_some();
                    (is_call && is_meant).then(|| Phase::Python {
                        builtin,
                        start: self.at,
                        scan: python::Scan::from(self.at),
                        closed: None,
                    })
                }
                Body::Args => match args_header(rest, around.ended) {
                    Look::More => return more(),
                    Look::Yes((name, length)) => Some(self.json_phase(Some(name), self.at + length)),
                    Look::No => None,
                },
                Body::Recipient => match recipient_header(rest, around) {
                    Look::More => return more(),
                    Look::Yes((name, length)) => Some(self.json_phase(Some(name), self.at + length)),
                    Look::No => None,
                },
                Body::Keyed if first == '[' => match next {
                    Look::More => return more(),
                    Look::Yes('{') => Some(self.json_phase(None, self.at)),
                    _ => None,
                },
                Body::Inkling => match inkling_header(rest, around.ended) {
                    Look::More => return more(),
                    Look::Yes(length) => Some(self.json_phase(None, self.at + length)),
                    Look::No => None,
                },
                Body::Kimi => match kimi_header(rest, around.ended) {
                    Look::More => return more(),
                    Look::Yes((name, length)) => Some(self.json_phase(Some(name), self.at + length)),
                    Look::No => None,
                },
                Body::DeepSeek => match deepseek_header(rest, around.ended) {
                    Look::More => return more(),
                    Look::Yes((name, length)) => Some(self.json_phase(Some(name), self.at + length)),
                    Look::No => None,
                },
                Body::Gemma(quote) => match gemma_header(rest, around.ended) {
                    Look::More => return more(),
                    Look::Yes((name, length)) => {
                        let start = self.at + length;
                        Some(Phase::Gemma { name, quote, start, scan: gemma::Scan::from(start, quote) })
                    }
                    Look::No => None,
                },
                Body::Tags(shape) if first.is_alphanumeric() || first == '_' => {
                    Some(Phase::Tags(tags::Reader::new(shape, label)))
                }
                _ => None,
            };
            if let Some(phase) = begun {
                self.label = label;
                self.phase = phase;
                return None;
            }
        }
        // Some put the JSON into a code fence even here.
        match begins(rest, "```", around.ended) {
            Look::More => Some(Step::More),
            Look::No => Some(Step::Text),
            Look::Yes(length) => match find_near(&rest[length..], "\n", 16, around.ended) {
                Look::More => Some(Step::More),
                Look::No => Some(Step::Text),
                Look::Yes(newline) => {
                    self.at += length + newline;
                    None
                }
            },
        }
    }

    fn json_phase(&self, name: Option<String>, start: usize) -> Phase {
        Phase::Json { name, start, scan: json::Scan::from(start) }
    }

    fn json(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let Phase::Json { name, start, scan } = &mut self.phase else { return None };
        let start = *start;
        match scan.run(text) {
            Scanned::Closed(end) => {
                let name = name.take();
                self.take(name, &text[start..end], true);
                self.at = end;
                self.phase = Phase::Tail(end);
                None
            }
            Scanned::Foreign(at) => match begins_any(&text[at..], self.opener.ends, around.ended) {
                // The brackets do not fit, but the end of the call is told.
                Look::Yes(length) => {
                    let name = name.take();
                    self.take(name, text[start..at].trim_end(), true);
                    Some(self.done(at + length))
                }
                Look::More => Some(Step::More),
                Look::No => {
                    scan.pass();
                    None
                }
            },
            Scanned::Open if !around.ended => Some(Step::More),
            Scanned::Open => {
                let name = name.take();
                // A quote may be missing, so that the end was taken for a part of a text.
                if let Some((at, end)) = self.told_end(&text[start..]).filter(|_| around.complete) {
                    self.take(name, text[start..start + at].trim_end(), true);
                    return Some(self.done(start + end));
                }
                self.take(name, &text[start..], false);
                Some(self.done(text.len()))
            }
        }
    }

    /// Where the end of a call is told, and the text or a further call follows.
    fn told_end(&self, text: &str) -> Option<(usize, usize)> {
        let end = |marker: &&str| {
            text.match_indices(marker).map(|(at, marker)| (at, at + marker.len())).find(|(_, end)| {
                let behind = text[*end..].trim_start();
                behind.is_empty() || behind.starts_with(self.opener.marker)
            })
        };
        self.opener.ends.iter().filter_map(end).min()
    }

    /// Takes the calls out of a JSON value. `told` says whether its end was seen.
    fn take(&mut self, name: Option<String>, value: &str, told: bool) {
        let dialect = self.label;
        let calls = match name {
            Some(name) => {
                vec![json::Call { name, arguments: Some(value.to_owned()), closed: told, ..json::Call::default() }]
            }
            // A call without a name, or cut before it, is one that cannot be made; the model is told.
            None => self.calls_in(value).unwrap_or_else(|| {
                let arguments = Some(value.to_owned());
                vec![json::Call { name: String::new(), arguments, closed: told, ..json::Call::default() }]
            }),
        };
        self.calls.extend(calls.into_iter().map(|call| Found {
            name: call.name,
            arguments: call.arguments.unwrap_or_default(),
            dialect,
            complete: told || call.closed,
        }));
    }

    fn calls_in(&self, value: &str) -> Option<Vec<json::Call>> {
        match self.opener.bodies {
            [(Body::Keyed, _)] => json::keyed(value),
            _ => json::calls(value),
        }
    }

    fn python(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let Phase::Python { builtin, start, scan, closed } = &mut self.phase else { return None };
        let (builtin, start) = (*builtin, *start);
        *closed = closed.or_else(|| scan.end(text, around.ended));
        let (end, is_whole) = match *closed {
            Some(end) => (end, true),
            None if !around.ended => return Some(Step::More),
            None => (text.len(), false),
        };
        if is_whole && !text[start..].starts_with('[') {
            // More calls may follow, behind a semicolon or a comma.
            let mut next = skip_space(text, end);
            if text[next..].starts_with([';', ',']) {
                next = skip_space(text, next + 1);
            }
            let name = run(&text[next..], names::is_name_char);
            let is_near = next - end <= SPACE_BYTES_MAX;
            if is_near && next + name.len() == text.len() && name.len() <= NAME_BYTES_MAX && !around.ended {
                return Some(Step::More);
            }
            if is_near && text[next + name.len()..].starts_with('(') && names::is_name(name) {
                (*scan, *closed) = (python::Scan::from(next), None);
                return None;
            }
        }
        let inside = &text[start..end];
        let inside = inside.strip_prefix('[').map_or(inside, |list| list.strip_suffix(']').unwrap_or(list));
        let dialect = self.label;
        let calls = python_calls(inside).unwrap_or_else(|| {
            // Not calls alone: whole, as the arguments of the first, it will be found wrong.
            let name = run(inside.trim_start(), names::is_name_char);
            vec![PythonCall { name, inside, closed: is_whole }]
        });
        let calls = calls.into_iter().map(|call| match names::offered(call.name, around.tools) {
            None => printed(call),
            Some(_) => call,
        });
        self.calls.extend(calls.map(|call| Found {
            name: call.name.strip_suffix(".call").filter(|_| builtin).unwrap_or(call.name).to_owned(),
            arguments: call.arguments(),
            dialect,
            complete: call.closed,
        }));
        self.at = end;
        self.phase = Phase::Tail(end);
        None
    }

    fn gemma(&mut self, text: &str, around: &Around<'_>) -> Option<Step> {
        let Phase::Gemma { name, quote, start, scan } = &mut self.phase else { return None };
        let end = scan.end(text, around.ended);
        if end.is_none() && !around.ended {
            return Some(Step::More);
        }
        let raw = &text[*start..end.unwrap_or(text.len())];
        let arguments = gemma::arguments(raw, quote).unwrap_or_else(|| raw.to_owned());
        let name = std::mem::take(name);
        self.calls.push(Found { name, arguments, dialect: self.label, complete: end.is_some() });
        self.at = end.unwrap_or(text.len());
        self.phase = Phase::Tail(self.at);
        None
    }

    /// What follows a value: further calls, or the end that is told.
    fn tail(&mut self, text: &str, end: usize, around: &Around<'_>) -> Option<Step> {
        self.at = skip_space(text, self.at);
        let rest = &text[self.at..];
        let Some(first) = rest.chars().next() else {
            return Some(if around.ended { self.done(end) } else { Step::More });
        };
        match first {
            // Brackets too many, and what separates calls.
            '}' | ']' | ')' | ';' | ',' => {
                self.at += 1;
                return None;
            }
            '{' if self.opener.bodies.iter().any(|(body, _)| matches!(body, Body::Object)) => {
                return match json::begins_call(rest, around.ended) {
                    None => Some(Step::More),
                    Some(false) => Some(self.done(end)),
                    Some(true) => {
                        self.phase = self.json_phase(None, self.at);
                        None
                    }
                };
            }
            _ => {}
        }
        let ends = begins_any(rest, self.opener.ends, around.ended);
        match ends.or(|| begins(rest, "```", around.ended).or(|| Look::No)) {
            Look::More => Some(Step::More),
            Look::No => Some(self.done(end)),
            Look::Yes(_) if rest.starts_with("```") && !self.opener.ends.contains(&"```") => {
                self.at += 3;
                // The end may follow the fence.
                self.phase = Phase::Tail(self.at);
                None
            }
            Look::Yes(length) => Some(self.done(self.at + length)),
        }
    }

    fn done(&mut self, end: usize) -> Step {
        Step::Done { end, calls: std::mem::take(&mut self.calls) }
    }
}

/// `name[CALL_ID]id[ARGS]`, or the name right before the arguments.
fn args_header(text: &str, ended: bool) -> Look<(String, usize)> {
    let name = run(text, names::is_name_char);
    if !names::is_name(name) {
        return Look::No;
    }
    let mut at = skip_space(text, name.len());
    match begins(&text[at..], "[CALL_ID]", ended) {
        Look::More => return Look::More,
        Look::Yes(length) => {
            at += length + run(&text[at + length..], names::is_name_char).len();
            at = skip_space(text, at);
        }
        Look::No => {}
    }
    if at > HEADER_BYTES_MAX {
        return Look::No;
    }
    match begins(&text[at..], "[ARGS]", ended) {
        Look::More => return Look::More,
        Look::Yes(length) => at += length,
        Look::No => {}
    }
    brace(text, at, ended, name)
}

/// A tool on offer, alone on its line, and its arguments on the next.
fn recipient_header(text: &str, around: &Around<'_>) -> Look<(String, usize)> {
    let name = run(text, names::is_name_char);
    if name.len() > NAME_BYTES_MAX {
        return Look::No;
    }
    match begins(&text[name.len()..], "\n", around.ended) {
        Look::Yes(_) if names::offered(name, around.tools).is_none() => Look::No,
        Look::Yes(newline) => brace(text, name.len() + newline, around.ended, name),
        Look::More => Look::More,
        Look::No => Look::No,
    }
}

/// The arguments begin behind white space at most.
fn brace(text: &str, at: usize, ended: bool, name: &str) -> Look<(String, usize)> {
    let start = skip_space(text, at);
    match text[start..].chars().next() {
        _ if start - at > HEADER_BYTES_MAX => Look::No,
        Some('{') => Look::Yes((name.to_owned(), start)),
        None if !ended => Look::More,
        _ => Look::No,
    }
}

/// The name of the tool, if it stands there, and the marker of its call.
fn inkling_header(text: &str, ended: bool) -> Look<usize> {
    const MARKER: &str = "<|content_invoke_tool_json|>";
    let name = run(text, names::is_name_char);
    if name.len() > NAME_BYTES_MAX {
        return Look::No;
    }
    match begins(&text[name.len()..], MARKER, ended) {
        Look::Yes(length) => match brace(text, name.len() + length, ended, name) {
            Look::Yes((_, start)) => Look::Yes(start),
            Look::More => Look::More,
            Look::No => Look::No,
        },
        Look::More => Look::More,
        Look::No => Look::No,
    }
}

fn kimi_header(text: &str, ended: bool) -> Look<(String, usize)> {
    const ARGUMENTS: &str = "<|tool_call_argument_begin|>";
    match find_near(text, ARGUMENTS, HEADER_BYTES_MAX, ended) {
        Look::More => Look::More,
        Look::No => Look::No,
        Look::Yes(length) => match names::bare(&text[..length]) {
            name if names::is_name(name) => brace(text, length + ARGUMENTS.len(), ended, name),
            _ => Look::No,
        },
    }
}

fn deepseek_header(text: &str, ended: bool) -> Look<(String, usize)> {
    const SEPARATOR: &str = "<｜tool▁sep｜>";
    let length = match find_near(text, SEPARATOR, HEADER_BYTES_MAX, ended) {
        Look::More => return Look::More,
        Look::No => return Look::No,
        Look::Yes(length) => length,
    };
    let behind = length + SEPARATOR.len();
    match brace(text, behind, ended, text[..length].trim()) {
        Look::No => {}
        look => return look,
    }
    // The older form: a type, the name on the rest of the line, and the arguments in a code fence.
    let name = match find_near(&text[behind..], "\n", NAME_BYTES_MAX, ended) {
        Look::More => return Look::More,
        Look::No => return Look::No,
        Look::Yes(newline) => &text[behind..behind + newline],
    };
    let fence = skip_space(text, behind + name.len());
    match begins(&text[fence..], "```", ended) {
        _ if fence - behind - name.len() > SPACE_BYTES_MAX => Look::No,
        Look::More => Look::More,
        Look::No => brace(text, fence, ended, name.trim()),
        Look::Yes(length) => match find_near(&text[fence + length..], "\n", 16, ended) {
            Look::More => Look::More,
            Look::No => Look::No,
            Look::Yes(newline) => brace(text, fence + length + newline, ended, name.trim()),
        },
    }
}

fn gemma_header(text: &str, ended: bool) -> Look<(String, usize)> {
    match begins(text, "call:", ended) {
        Look::More => Look::More,
        Look::No => Look::No,
        Look::Yes(length) => {
            let name = run(&text[length..], names::is_name_char);
            match names::is_name(name) {
                true => brace(text, length + name.len(), ended, name),
                false if name.is_empty() && text.len() == length && !ended => Look::More,
                false => Look::No,
            }
        }
    }
}

/// A call as it stands in Python.
pub(super) struct PythonCall<'a> {
    pub(super) name: &'a str,
    inside: &'a str,
    /// Whether its parenthesis was closed.
    pub(super) closed: bool,
}

impl PythonCall<'_> {
    /// The arguments as JSON; `None` when they are not all named literals.
    pub(super) fn read(&self) -> Option<String> {
        python::arguments(self.inside).filter(|_| self.closed)
    }

    /// The arguments as JSON, or as they are written.
    fn arguments(&self) -> String {
        self.read().unwrap_or_else(|| self.inside.to_owned())
    }
}

/// The call that is only made to be printed: `print(default_api.f(a=1))`.
fn printed(call: PythonCall<'_>) -> PythonCall<'_> {
    const NAMESPACE: &str = "default_api.";
    let inner = python_calls(call.inside).filter(|inner| call.name == "print" && inner.len() == 1);
    let call = match inner.and_then(|mut inner| inner.pop()) {
        Some(inner) => PythonCall { closed: inner.closed && call.closed, ..inner },
        None => call,
    };
    PythonCall { name: call.name.strip_prefix(NAMESPACE).unwrap_or(call.name), ..call }
}

/// The calls in a text that consists of calls and what separates them; `None` when there is something else.
pub(super) fn python_calls(text: &str) -> Option<Vec<PythonCall<'_>>> {
    let mut calls = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
        if rest.is_empty() {
            return (!calls.is_empty()).then_some(calls);
        }
        let name = run(rest, names::is_name_char);
        let behind = &rest[name.len()..];
        if behind.is_empty() && !calls.is_empty() {
            // Cut within the name of a further call: what is missing is not known.
            calls.iter_mut().for_each(|call: &mut PythonCall<'_>| call.closed = false);
            return Some(calls);
        }
        if !names::is_name(name) || !behind.starts_with('(') {
            return None;
        }
        let end = python::Scan::from(0).end(behind, true);
        let inside = end.map_or(&behind[1..], |end| &behind[1..end - 1]);
        calls.push(PythonCall { name, inside, closed: end.is_some() });
        rest = end.map_or("", |end| &behind[end..]);
    }
}
