//! How a person gets to see the arguments of a call that waits for a word: as JSON, with what is mended, and old and new
//! texts as their difference, also those of a file that is written anew when the run knows what stood in it (`before`).
//!
//! What models wrote is escaped, here and nowhere after; nothing of it can end a line of ours.

use std::{borrow::Cow, time::Duration};

use clap::builder::styling::{AnsiColor, Style};
use serde_json::{Map, Value};
use similar::{ChangeTag, TextDiff};

use crate::{
    chat::ToolDef,
    run::{CallRecord, Run},
    show::redact,
};

use super::{
    before::{Before, before},
    story,
    text::{Form, brief, close_gaps, count, escape, grouped, indent},
};

/// Most characters of arguments that are shown; the rest is a mistake or an attack, and `runs show --json` has it.
const SHOWN_MAX: usize = 16 * 1024;

/// Most lines of a difference or a text.
const LINES_MAX: usize = 200;

/// Most characters of a line of a difference or a text.
const LINE_MAX: usize = 1000;

/// Most characters, and lines, of what is shown to somebody who wants to see all of it; no entry of a journal is longer.
const ALL_MAX: usize = 16 << 20;

/// Most empty lines in a row that are shown as they are.
const EMPTY_MAX: usize = 3;

/// Widest indentation of a line that is shown as it is, in columns.
const INDENTATION_MAX: usize = 40;

/// Most characters of a string of several lines within JSON, since its lines follow.
const STRING_MAX: usize = 60;

/// The mark where unchanged lines are left out.
const GAP: char = '⋮';

/// Longest time that goes into finding a small difference; after it a larger one will do.
const DIFF_TIME_MAX: Duration = Duration::from_millis(200);

/// Unchanged lines around what differs.
const CONTEXT: usize = 2;

/// Longest name of a text, in characters.
const NAME_MAX: usize = 72;

/// The names under which tools take an old text and what is to stand in its place.
const PAIRS: [(&str, &str); 7] = [
    ("old", "new"),
    ("old_text", "new_text"),
    ("old_string", "new_string"),
    ("old_str", "new_str"),
    ("oldText", "newText"),
    ("before", "after"),
    ("search", "replace"),
];

/// How much of a call is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    characters: usize,
    lines: usize,
    line: usize,
}

impl Amount {
    /// What somebody reads who is asked.
    pub(super) const USUAL: Amount = Amount { characters: SHOWN_MAX, lines: LINES_MAX, line: LINE_MAX };

    /// What somebody gets who wants to see all of it.
    pub(super) const ALL: Amount = Amount { characters: ALL_MAX, lines: ALL_MAX, line: ALL_MAX };
}

/// A call as a person gets to see it.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Over several lines; without a line break at the end.
    pub text: String,
    /// How many bytes of it were left out.
    pub hidden: usize,
}

impl Shown {
    /// Says how much is not there, in words.
    pub(super) fn left_out(&self) -> String {
        format!("{} of this call are not shown", count(self.hidden as u64, "byte"))
    }
}

/// The arguments of a call of this run over several lines.
pub(super) fn arguments(run: &Run, call: &CallRecord, amount: Amount) -> Shown {
    let mut page = Page { shown: Shown::default(), amount };
    let repaired = call.resolved.as_ref().filter(|it| !it.repairs.is_empty() && call.edited.is_none());
    if let Some(resolved) = repaired {
        page.push("  as the model wrote it:\n  ");
        page.clipped(&close_gaps(&format!("{} {}", call.written.name, call.written.arguments)), Form::Line);
        page.push("\n");
        resolved.repairs.iter().for_each(|it| page.push(&format!("  ~ {}\n", story::mended(it))));
        page.push("  as it would run:\n");
    }
    page.clipped(&shortened(&indent(call.arguments(), "  ")), Form::Text);
    if let Ok(Value::Object(arguments)) = serde_json::from_str(call.arguments()) {
        let before = before(run, call);
        if let Some(Before { argument, text, call, written }) = &before {
            let done = if *written { "written" } else { "read" };
            page.push(&format!("\n  {argument}, against what was {done} at {call}:"));
            let new = arguments.get(*argument).and_then(Value::as_str).unwrap_or_default();
            page.difference(&redact(text), &redact(new));
        }
        page.texts("", &arguments, before.as_ref().map(|before| before.argument));
    }
    let resolved = call.resolved.as_ref().filter(|_| call.undecided());
    if let Some((old, new)) = resolved.and_then(|it| Some((run.held_tool(&it.origin)?, run.tool(&it.origin)?))) {
        page.push("\n  what its server has changed about the tool:");
        page.difference(&redact(&definition(old)), &redact(&definition(new)));
    }
    page.shown
}

/// The definition of a tool over several lines, members in one order, so that a difference shows what differs alone.
fn definition(tool: &ToolDef) -> String {
    let schema = indent(&sorted(&tool.input_schema).to_string(), "");
    format!("effect: {}\ndescription: {}\narguments: {schema}\n", tool.effect, tool.description)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut sorted: Map<String, Value> =
                members.iter().map(|(name, it)| (name.clone(), self::sorted(it))).collect();
            sorted.sort_keys();
            Value::Object(sorted)
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// JSON whose long strings of several lines are cut: they are shown as texts below it.
fn shortened(json: &str) -> String {
    let mut short = String::with_capacity(json.len().min(SHOWN_MAX));
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let (before, string) = rest.split_at(open);
        let (end, fits, lines) = string_in(string);
        short.push_str(before);
        match fits.filter(|_| lines > 0) {
            Some(fits) => short.push_str(&format!("{}…\" ({}, below)", &string[..fits], count(lines + 1, "line"))),
            None => short.push_str(&string[..end]),
        }
        rest = &string[end..];
    }
    short + rest
}

/// Of a JSON string at the start of `text`: where it ends, where to cut it if it is long, and how many line breaks it has.
fn string_in(text: &str) -> (usize, Option<usize>, u64) {
    let (mut fits, mut breaks) = (None, 0);
    let mut chars = text.char_indices().skip(1).enumerate();
    while let Some((characters, (at, c))) = chars.next() {
        if characters >= STRING_MAX && fits.is_none() {
            fits = Some(at);
        }
        match c {
            '"' => return (at + 1, fits, breaks),
            '\\' => match chars.next() {
                Some((_, (_, 'n'))) => breaks += 1,
                Some((_, (_, 'u'))) => drop(chars.nth(3)),
                _ => {}
            },
            _ => {}
        }
    }
    (text.len(), fits, breaks)
}

/// What is shown, while it is written.
struct Page {
    shown: Shown,
    amount: Amount,
}

impl Page {
    /// Text of ours, or that was made fit to be seen.
    fn push(&mut self, text: &str) {
        self.shown.text.push_str(text);
    }

    /// Somebody else's text, with a word on what is left out. Long gaps within its lines are closed.
    fn clipped(&mut self, text: &str, form: Form) {
        // First, since half of a secret would not be known again.
        let text = redact(text);
        let closed: String = text
            .split_inclusive('\n')
            .flat_map(|line| {
                // The indentation is ours.
                let (margin, rest) = line.split_at(line.len() - line.trim_start_matches(' ').len());
                let (rest, end) = rest.split_at(rest.trim_end_matches('\n').len());
                [Cow::Borrowed(margin), close_gaps(rest), Cow::Borrowed(end)]
            })
            .collect();
        let cut = closed.char_indices().nth(self.amount.characters).map(|(end, _)| end);
        let (shown, rest) = closed.split_at(cut.unwrap_or(closed.len()));
        self.push(&escape(shown, form));
        if !rest.is_empty() {
            self.shown.hidden += rest.len();
            self.push(&format!("\n  … and {} more bytes", rest.len()));
        }
    }

    /// The texts of a map that JSON makes hard to read: pairs of old and new as a difference, others of several lines as they
    /// are. What is shown `already` is left out.
    fn texts(&mut self, path: &str, map: &Map<String, Value>, already: Option<&str>) {
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let pairs: Vec<_> = PAIRS
            .iter()
            .filter_map(|(old, new)| Some((*old, *new, text(old)?, text(new)?)))
            .filter(|(_, _, before, after)| before.contains('\n') || after.contains('\n'))
            .collect();
        for (old, new, before, after) in &pairs {
            self.push(&format!("\n  {}{old} → {new}:", brief(path, NAME_MAX)));
            self.difference(&redact(before), &redact(after));
        }
        for (key, value) in map {
            let paired = pairs.iter().any(|(old, new, ..)| key == old || key == new);
            if !paired && already != Some(key) {
                self.text_of(&format!("{path}{key}"), value);
            }
        }
    }

    fn text_of(&mut self, path: &str, value: &Value) {
        match value {
            Value::String(text) if text.contains('\n') => {
                self.push(&format!("\n  {}:", brief(path, NAME_MAX)));
                self.lines(redact(text).lines().map(|line| (' ', line)));
            }
            Value::Object(map) => self.texts(&format!("{path}."), map, None),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(place, item)| self.text_of(&format!("{path}[{place}]"), item));
            }
            _ => {}
        }
    }

    /// What differs between two texts, line by line.
    fn difference(&mut self, before: &str, after: &str) {
        if before == after {
            self.push("\n  (the same text)");
            return;
        }
        let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(before, after);
        let groups = diff.grouped_ops(CONTEXT);
        let changes = groups.iter().enumerate().flat_map(|(place, group)| {
            let gap = (place > 0).then_some((GAP, ""));
            let changes = group.iter().flat_map(|op| diff.iter_changes(op)).map(|change| {
                let mark = match change.tag() {
                    ChangeTag::Delete => '-',
                    ChangeTag::Insert => '+',
                    ChangeTag::Equal => ' ',
                };
                (mark, change.value().trim_end_matches(['\r', '\n']))
            });
            gap.into_iter().chain(changes)
        });
        self.lines(changes);
        if before.ends_with('\n') != after.ends_with('\n') && !before.is_empty() && !after.is_empty() {
            let which = if after.ends_with('\n') { "old" } else { "new" };
            self.push(&format!("\n  (the {which} text has no line break at its end)"));
        }
    }

    /// Lines behind their marks, escaped, and not more of them than somebody reads. Many empty ones are one.
    fn lines<'t>(&mut self, marked: impl Iterator<Item = (char, &'t str)>) {
        let mut marked = marked.peekable();
        let mut room = self.amount.lines;
        while room > 0
            && let Some((mark, line)) = marked.next()
        {
            room -= 1;
            let mut empty = usize::from(mark != GAP && line.trim().is_empty());
            while empty > 0 && marked.next_if(|(next, line)| *next == mark && line.trim().is_empty()).is_some() {
                empty += 1;
            }
            match empty {
                0 => self.line(mark, line),
                1..=EMPTY_MAX => (0..empty).for_each(|_| self.line(mark, "")),
                _ => self.line(mark, &format!("⟪{} empty lines⟫", grouped(empty as u64))),
            }
        }
        let (mut more, mut bytes) = (0, 0);
        for (_, line) in marked {
            (more, bytes) = (more + 1, bytes + line.len() + 1);
        }
        if more > 0 {
            self.shown.hidden += bytes;
            self.push(&format!("\n  … and {more} more lines ({})", count(bytes as u64, "byte")));
        }
    }

    fn line(&mut self, mark: char, line: &str) {
        let style = match mark {
            '-' => Style::new().fg_color(Some(AnsiColor::Red.into())),
            '+' => Style::new().fg_color(Some(AnsiColor::Green.into())),
            _ => Style::new(),
        };
        // An indentation is no gap, up to half a screen.
        let indented = line.len() - line.trim_start_matches(' ').len();
        let (margin, text) = line.split_at(if indented <= INDENTATION_MAX { indented } else { 0 });
        let line = format!("{margin}{}", close_gaps(text));
        let cut = line.char_indices().nth(self.amount.line).map(|(end, _)| end);
        let (line, rest) = line.split_at(cut.unwrap_or(line.len()));
        let more = if rest.is_empty() { String::new() } else { format!(" … and {} more bytes", rest.len()) };
        self.shown.hidden += rest.len();
        let text = format!("\n  {style}{mark}{style:#}| {}{more}", escape(line, Form::Line));
        self.push(text.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chat::{CallId, Effect, OfferedName, ToolName, WrittenCall},
        repair::{Repair, Risk},
        run::{CallState, OnDoubt, Resolved},
    };

    fn call(arguments: &str, repairs: Vec<Repair>) -> CallRecord {
        let minute = std::time::Duration::from_secs(60);
        CallRecord {
            id: CallId { turn: 1, call: 1 },
            written: WrittenCall {
                provider_id: None,
                name: "files__edit".to_owned(),
                arguments: arguments.into(),
                complete: true,
                opaque: None,
            },
            resolved: Some(Resolved {
                retry: None,
                name: OfferedName::from("files__edit"),
                origin: ToolName { server: "files".to_owned(), tool: "edit".to_owned() },
                arguments: None,
                repairs,
                effect: Effect::Write,
                repeatable: false,
                parallel: false,
                on_doubt: OnDoubt::Tell,
                approve: None,
                idle: minute,
                total: minute,
            }),
            edited: None,
            attempts: 0,
            asked: None,
            allowed: false,
            decided: None,
            lost: None,
            state: CallState::Ready,
        }
    }

    fn plain(arguments: &str, repairs: Vec<Repair>) -> String {
        let shown = super::arguments(&Run::default(), &call(arguments, repairs), Amount::USUAL);
        anstream::adapter::strip_str(&shown.text).to_string()
    }

    #[test]
    fn texts_are_shown_as_their_difference_and_nothing_is_raw() {
        let arguments = serde_json::json!({
            "path": "a.txt",
            "edits": [{"oldText": "one\ntwo\u{1b}[2J\nthree\n", "newText": "one\n2\u{202e}\nthree\n"}],
            "note": "first\n  + | not a line of ours",
        });
        let shown = plain(&arguments.to_string(), Vec::new());
        assert!(shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'), "{shown:?}");
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn repairs_are_shown_as_before_and_after() {
        let repair = Repair {
            rung: "schema".into(),
            kind: "string_to_number".into(),
            path: "/count".into(),
            before: "\"3\u{1b}\"".into(),
            after: "3".into(),
            span: None,
            risk: Risk::Lossless,
        };
        let shown = plain(r#"{"count":3}"#, vec![repair]);
        let expected = "  as the model wrote it:\n  files__edit {\"count\":3}\n  \
                        ~ string_to_number at /count: \"3\\u{1b}\" -> 3\n  as it would run:\n  {\n    \"count\": 3\n  }";
        assert_eq!(shown, expected);
    }

    #[test]
    fn long_texts_within_json_are_left_to_the_lines_below() {
        let text = format!("a \"quoted\" \\n \u{1b}{}\nend", "x".repeat(STRING_MAX));
        let arguments = serde_json::json!({"path": "p", "list": [text], "wide": "y".repeat(2 * STRING_MAX)});
        let shown = plain(&arguments.to_string(), Vec::new());
        let lines: Vec<&str> = shown.lines().collect();
        let kept = "x".repeat(STRING_MAX - 25);
        let cut = format!("      \"a \\\"quoted\\\" \\\\n \\u001b{kept}");
        assert!(lines[3].starts_with(&cut) && lines[3].ends_with("x…\" (2 lines, below)"), "{shown}");
        assert!(lines[5].ends_with(&format!("{}\"", "y".repeat(2 * STRING_MAX))), "{shown}");
        assert_eq!(lines[7], "  list[0]:", "{shown}");
        assert_eq!(lines[9], "   | end", "{shown}");
    }

    #[test]
    fn what_nobody_reads_is_cut() {
        let long: String = (0..LINES_MAX + 5).map(|line| format!("{line}\n")).collect();
        let shown = plain(&serde_json::json!({"content": long}).to_string(), Vec::new());
        assert!(shown.ends_with("\n  … and 5 more lines (20 bytes)"), "{shown}");
    }

    #[test]
    fn what_is_left_out_is_counted_and_can_be_seen_whole() {
        let cut =
            |arguments: &str, amount| super::arguments(&Run::default(), &call(arguments, Vec::new()), amount).hidden;
        let long = |text: String| serde_json::json!({ "content": text }).to_string();
        for arguments in [
            long("x".repeat(SHOWN_MAX)),
            long("x\n".repeat(LINES_MAX + 1)),
            long(format!("a\n{}", "x".repeat(LINE_MAX + 1))),
            serde_json::json!({"old": "a\nb", "new": "c\n".repeat(LINES_MAX)}).to_string(),
        ] {
            assert!(cut(&arguments, Amount::USUAL) > 0, "{}", &arguments[..40]);
            assert_eq!(cut(&arguments, Amount::ALL), 0, "{}", &arguments[..40]);
        }
        assert_eq!(cut(&long("x\n".repeat(10)), Amount::USUAL), 0);
    }

    #[test]
    fn gaps_do_not_push_text_out_of_sight() {
        let text = format!("first{}\n{}    last{}!", " ".repeat(300), "  \n".repeat(100), " ".repeat(2000));
        let arguments = serde_json::json!({ "command": format!("ls{}; rm -rf ~", " ".repeat(400)), "text": text });
        let shown = plain(&arguments.to_string(), Vec::new());
        let gap = "   | first⟪300 blanks⟫\n   | ⟪100 empty lines⟫\n   |     last⟪2,000 blanks⟫!";
        assert!(shown.contains("\"command\": \"ls⟪400 blanks⟫; rm -rf ~\"") && shown.ends_with(gap), "{shown}");
    }
}
