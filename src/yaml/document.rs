//! From text to a tree.

use std::{collections::HashMap, sync::Arc};

use serde_saphyr::granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::{DEPTH_MAX, Faults, Problem, Problems, TEXT_BYTES_MAX};

/// A parsed text.
#[derive(Debug)]
pub struct Document {
    file: Arc<str>,
    text: Arc<str>,
    root: Node,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where.
    pub place: Place,
    /// What.
    pub content: Content,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Anything that is neither list nor map, as text; what it means depends on what is wanted there.
    Scalar(String, Style),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the text. Keys are unique.
    Map(Vec<(Key, Node)>),
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bare: may also mean a number, a flag or nothing.
    Plain,
    /// In quotes: text.
    Quoted,
    /// `|`: text whose lines are lines of the file.
    Literal,
    /// `>`: text whose lines were joined.
    Folded,
    /// Text that came out of a variable; never shown.
    Expanded,
    /// Stands for something that was refused: what else is wrong with it is not worth telling.
    Refused,
}

/// The key of a member of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// The key as text.
    pub text: String,
}

/// A stretch of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line it starts on, from one.
    pub line: u32,
    /// The column, in characters, from one.
    pub col: u32,
    /// The byte it starts with.
    pub start: usize,
    /// The byte behind it.
    pub end: usize,
}

impl Document {
    /// Parses a text that holds one document. `file` is what to call it in problems.
    ///
    /// What is wrong but does not keep the tree from being built is in the faults; the caller goes on collecting and
    /// hands them to [`finish`](Document::finish).
    pub fn parse(file: &str, text: &str) -> Result<(Document, Faults), Problems> {
        let (file, mut faults) = (Arc::<str>::from(file), Faults::default());
        let root = match unreadable(text) {
            Some((at, message)) => {
                faults.add(place_of(text, at), message);
                None
            }
            None => Builder::build(text, &mut faults),
        };
        match root {
            Some(root) => Ok((Document { file, text: text.into(), root }, faults)),
            None => Err(faults.into_problems(&file, text, None)),
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the text holds.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The same, to change.
    pub(super) fn root_mut(&mut self) -> &mut Node {
        &mut self.root
    }

    /// The value that was read, or else everything that is wrong.
    pub fn finish<T>(&self, value: Option<T>, faults: Faults) -> Result<T, Problems> {
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ => Err(faults.into_problems(&self.file, &self.text, Some(&self.root))),
        }
    }

    /// A problem at some place of this text.
    pub fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::new(&self.file, &self.text, place, message)
    }
}

impl Node {
    /// Whether there is nothing: no value behind a key, `null` or `~`.
    pub fn is_nothing(&self) -> bool {
        match &self.content {
            Content::Scalar(text, Style::Plain) => matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"),
            _ => false,
        }
    }

    /// The place of a line of this node's text, counted from one, in the text of the file. It is the place of the whole
    /// node where its lines are not lines of the file.
    pub fn line(&self, file: &str, line: usize) -> Place {
        let Content::Scalar(text, Style::Literal) = &self.content else { return self.place };
        // The node starts with its first line that is not blank.
        let blank = text.lines().take_while(|line| line.trim().is_empty()).count();
        let Some(down) = line.checked_sub(blank + 1) else { return self.place };
        let number = self.place.line + u32::try_from(down).unwrap_or(0);
        let mut start = 0;
        for (found, line) in (1..).zip(file.split_inclusive('\n')) {
            if found == number {
                let indent = line.len() - line.trim_start().len();
                let col = u32::try_from(indent + 1).unwrap_or(u32::MAX);
                return Place { line: number, col, start: start + indent, end: start + line.trim_end().len() };
            }
            start += line.len();
        }
        self.place
    }
}

/// The text of a file that should be UTF-8, or where it is not.
pub fn decode<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, Problems> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to().min(TEXT_BYTES_MAX)]);
        let message = match bytes {
            [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => "the file is UTF-16; save it as UTF-8",
            _ => "the file is not UTF-8 from here on",
        };
        Problem::new(&file.into(), &valid, place_of(&valid, valid.len()), message).into()
    })
}

/// What makes a text not worth parsing, and where.
fn unreadable(text: &str) -> Option<(usize, String)> {
    if text.len() > TEXT_BYTES_MAX {
        return Some((0, format!("the file has {} bytes; at most {TEXT_BYTES_MAX} are read", text.len())));
    }
    // YAML 1.2.2, 5.4: a carriage return alone is a line break. Nothing has written such files for decades, and every
    // tool would count lines differently.
    let lone = text.match_indices('\r').find(|(at, _)| !text[at + 1..].starts_with('\n'));
    if let Some((at, _)) = lone {
        return Some((at, "a carriage return without a line feed; save the file with other line ends".to_owned()));
    }
    // YAML 1.2.2, 5.1: these must not stand in a text.
    let forbidden = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let (at, found) = text.char_indices().find(|(_, c)| forbidden(*c))?;
    Some((at, format!("the control character {} must not stand in a file", found.escape_unicode())))
}

/// The place of one byte.
fn place_of(text: &str, at: usize) -> Place {
    let before = &text[..at.min(text.len())];
    let line = before.matches('\n').count() + 1;
    let col = before.rsplit('\n').next().unwrap_or(before).trim_start_matches('\u{feff}').chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(line), col: number(col), start: at, end: at }
}

fn place(span: &Span) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    // Offsets are there because the parser reads from a str.
    let range = span.byte_range().unwrap_or_default();
    Place { line: number(span.start.line()), col: number(span.start.col() + 1), start: range.start, end: range.end }
}

/// Builds the tree without recursion: a stack of what is open.
struct Builder<'f> {
    open: Vec<Open>,
    root: Option<Node>,
    faults: &'f mut Faults,
}

enum Open {
    List(Place, Vec<Node>),
    Map(Place, Members),
}

#[derive(Default)]
struct Members {
    list: Vec<(Key, Node)>,
    /// The key whose value comes next; `Some(None)` for one that cannot be used.
    key: Option<Option<Key>>,
    seen: HashMap<String, u32>,
}

impl<'f> Builder<'f> {
    /// The root, or `None` when there is no tree (the faults say why).
    fn build(text: &str, faults: &'f mut Faults) -> Option<Node> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        (options.disallow_directives, options.emit_unresolved_aliases, options.emit_anchor_events) = (true, true, true);
        (options.flow_nesting_limit, options.block_nesting_limit) = (DEPTH_MAX, DEPTH_MAX);
        let mut builder = Builder { open: Vec::new(), root: None, faults };
        for event in Parser::new_from_str_with_options(text, options) {
            match event {
                Ok((event, span)) => builder.take(event, &span).ok()?,
                Err(error) => {
                    let mark = error.marker();
                    let place = place(&Span::empty(*mark));
                    builder.faults.add(place, describe(text, place.start, &error));
                    return None;
                }
            }
        }
        if builder.root.is_none() {
            builder.faults.add(place_of(text, 0), "the file is empty");
        }
        builder.root
    }

    /// Takes one event. The error means that there is no point in going on.
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), ()> {
        let at = place(span);
        if let Some(tag) = span.tag_span() {
            self.faults.add(place(&tag), "tags are not allowed");
        }
        match event {
            Event::Scalar(value, style, ..) => {
                let (value, style) = match style {
                    // An absent value is reported as a tilde of no length.
                    ScalarStyle::Plain if at.start == at.end => (String::new(), Style::Plain),
                    ScalarStyle::Plain => (value.into_owned(), Style::Plain),
                    ScalarStyle::Literal => (value.into_owned(), Style::Literal),
                    ScalarStyle::Folded => (value.into_owned(), Style::Folded),
                    _ => (value.into_owned(), Style::Quoted),
                };
                self.value(Node { place: at, content: Content::Scalar(value, style) });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.faults.add(at, "aliases are not allowed; write the value out");
                self.value(Node { place: at, content: Content::Scalar(String::new(), Style::Refused) });
            }
            Event::Anchor(..) => self.faults.add(at, "anchors are not allowed; write the value out where it is wanted"),
            Event::SequenceStart(..) => self.push(Open::List(at, Vec::new()), at)?,
            Event::MappingStart(..) => self.push(Open::Map(at, Members::default()), at)?,
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Open::List(place, list)) => Node { place, content: Content::List(list) },
                    Some(Open::Map(place, members)) => Node { place, content: Content::Map(members.list) },
                    None => return Err(()),
                };
                self.value(Node { place: Place { end: at.end, ..node.place }, ..node });
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                self.faults.add(at, "a second document starts here; a file holds one");
                return Err(());
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, open: Open, at: Place) -> Result<(), ()> {
        if self.open.len() >= DEPTH_MAX {
            self.faults.add(at, format!("nested more than {DEPTH_MAX} deep"));
            return Err(());
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn value(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(_, list)) => list.push(node),
            Some(Open::Map(_, members)) => match members.key.take() {
                Some(Some(key)) => members.list.push((key, node)),
                Some(None) => {}
                None => members.key = Some(members.usable(node, self.faults)),
            },
        }
    }
}

impl Members {
    /// The node as a key, if it can be one that is new here.
    fn usable(&mut self, node: Node, faults: &mut Faults) -> Option<Key> {
        let place = node.place;
        let (text, style) = match node.content {
            Content::Scalar(text, style) if !(text.is_empty() && style == Style::Plain) => (text, style),
            _ => {
                faults.add(place, "a key must be text");
                return None;
            }
        };
        if style == Style::Plain && text == "<<" {
            faults.add(place, "merge keys are not allowed; write the keys out");
            return None;
        }
        if let Some(line) = self.seen.get(&text) {
            faults.add(place, format!("duplicate key {text:?}; the first is on line {line}"));
            return None;
        }
        self.seen.insert(text.clone(), place.line);
        Some(Key { place, text })
    }
}

/// What the parser found, in words for somebody who does not know its grammar.
fn describe(text: &str, at: usize, error: &ScanError) -> String {
    match error.kind() {
        _ if text[..at].ends_with('$') && text[at..].starts_with('{') => {
            "a brace cannot stand here; within brackets and braces, put \"${VAR}\" in quotes".to_owned()
        }
        ErrorKind::RecursionLimitExceeded => format!("nested more than {DEPTH_MAX} deep"),
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            "a tab cannot indent in YAML; use spaces".to_owned()
        }
        ErrorKind::MappingValueNotAllowed => {
            "a colon cannot stand here; put text that holds \": \" in quotes".to_owned()
        }
        ErrorKind::ExpectedBlockMappingKey => {
            "a key was expected here; does this line start in line with those it belongs to?".to_owned()
        }
        ErrorKind::DirectiveDisallowed => "directives (%) are not allowed".to_owned(),
        ErrorKind::UnclosedFlowCollection { open } => format!("this {open} is never closed"),
        ErrorKind::InvalidColonPlacement => {
            "a colon cannot stand here; is a bracket or brace before it not closed?".to_owned()
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            "text in quotes is not closed before this, or its further lines are not indented".to_owned()
        }
        ErrorKind::UnexpectedCharacter { character } => {
            format!("{character} cannot start a value; put the text in quotes")
        }
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            "a value is missing here, or a bracket is not closed".to_owned()
        }
        _ => error.info(),
    }
}
