//! Text of others, made fit for a terminal, and numbers as people read them.
//!
//! [`escape`] is the one way of such text to a terminal.

use std::{borrow::Cow, time::Duration};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{chat::Usage, show::redact};

pub(super) use crate::show::{Form, escape};

/// Blanks in a row that are shown as they are. More of them could push what follows out of sight.
const BLANKS_MAX: usize = 16;

/// The text with each long run of blanks replaced by a mark that says how many there were: white space as it is, and as JSON
/// escapes it.
pub(super) fn close_gaps(text: &str) -> Cow<'_, str> {
    let mut closed = String::new();
    let (mut kept, mut at) = (0, 0);
    while at < text.len() {
        let (start, mut blanks) = (at, 0);
        while let Some(bytes) = blank(&text[at..]) {
            at += bytes;
            blanks += 1;
        }
        if blanks > BLANKS_MAX {
            closed.push_str(&text[kept..start]);
            closed.push_str(&format!("⟪{} blanks⟫", grouped(blanks as u64)));
            kept = at;
        }
        if blanks == 0 {
            // An escaped character is no blank, whatever it begins with.
            let first = text[at..].chars().next().map_or(1, char::len_utf8);
            let second = text[at + first..].chars().next().filter(|_| text[at..].starts_with('\\'));
            at += first + second.map_or(0, char::len_utf8);
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    closed.push_str(&text[kept..]);
    Cow::Owned(closed)
}

/// How many bytes the blank takes that a text begins with; `None` when it begins with something else.
fn blank(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    let escape = text.strip_prefix('\\')?;
    match escape.as_bytes().first()? {
        b'n' | b't' | b'r' | b'f' => Some(2),
        b'u' => {
            let code = u32::from_str_radix(escape.get(1..5)?, 16).ok()?;
            char::from_u32(code).is_some_and(char::is_whitespace).then_some(6)
        }
        _ => None,
    }
}

/// The text on one line, escaped, about `columns` wide at most.
pub(super) fn brief(text: &str, columns: usize) -> String {
    // First, since half of a secret would not be known again.
    let text = &*redact(text);
    let text = &*close_gaps(text);
    let mut used = 0;
    let too_much = text.char_indices().find(|(_, c)| {
        used += c.width().unwrap_or(1);
        used > columns
    });
    match too_much {
        None => escape(text.trim_end(), Form::Line).into_owned(),
        Some((end, _)) => format!("{}…", escape(text[..end].trim_end(), Form::Line)),
    }
}

/// How many columns a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Deepest level that is indented further than the one above it.
const DEPTH_MAX: usize = 40;

/// JSON text over several lines, each behind `margin`. Only the space between tokens changes, so that everything else
/// is seen as it was written; what is no JSON comes out as readable as it was.
pub(super) fn indent(json: &str, margin: &str) -> String {
    let mut text = margin.to_owned();
    let mut depth = 0usize;
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(margin);
        (0..depth.min(DEPTH_MAX)).for_each(|_| text.push_str("  "));
    };
    let mut chars = json.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                text.push('"');
                let mut escaped = false;
                for c in chars.by_ref() {
                    text.push(c);
                    match c {
                        '"' if !escaped => break,
                        c => escaped = c == '\\' && !escaped,
                    }
                }
            }
            '{' | '[' => {
                text.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(close) => text.push(close),
                    None => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text
}

/// JSON text without the space between its tokens; all else stays as it was written.
pub(super) fn compact(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let kept = json.chars().filter(|c| {
        let kept = inside || !c.is_ascii_whitespace();
        match c {
            '"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && *c == '\\' && !escaped;
        kept
    });
    kept.collect()
}

/// A length of time in at most two units: `8ms`, `1.2s`, `3m05s`, `2h10m`, `4d`.
pub(super) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{seconds}.{}s", length.subsec_millis() / 100),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A number with its digits in groups of three: `1,325`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Tokens by kind, those of the cache and of reasoning within the others: `1,200 in (1,000 cached), 30 out`.
pub(super) fn tokens(usage: &Usage) -> String {
    let within = |kinds: &[(u64, &str)]| {
        let kinds = kinds.iter().filter(|(tokens, _)| *tokens > 0);
        let kinds: Vec<_> = kinds.map(|(tokens, kind)| format!("{} {kind}", grouped(*tokens))).collect();
        if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
    };
    let read = within(&[(usage.cached, "cached"), (usage.cache_write, "to the cache")]);
    let written = within(&[(usage.reasoning, "reasoning")]);
    format!("{} in{read}, {} out{written}", grouped(usage.input), grouped(usage.output))
}

/// A count and its noun: `1 call`, `2 calls`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_gaps_are_shown_as_gaps() {
        let blanks = " ".repeat(500);
        assert_eq!(close_gaps(&format!("ls{blanks}; rm -rf ~")), "ls⟪500 blanks⟫; rm -rf ~");
        assert_eq!(brief(&format!("ls{blanks}; rm -rf ~"), 40), "ls⟪500 blanks⟫; rm -rf ~");
        let json = format!(r#"{{"a":"x{}y{}"}}"#, r"\n".repeat(40), r"\u00a0\t ".repeat(10));
        assert_eq!(close_gaps(&json), r#"{"a":"x⟪40 blanks⟫y⟪30 blanks⟫"}"#);
        for same in
            ["a  b", r"\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n", "", "\\", "ü\\ü", &" ".repeat(16)]
        {
            assert!(matches!(close_gaps(same), Cow::Borrowed(it) if it == same), "{same}");
        }
        assert_eq!(close_gaps(&"\u{3000}".repeat(17)), "⟪17 blanks⟫");
    }

    #[test]
    fn compact_json_is_the_same_document() {
        let written = r#"{ "a b" : [ 1.0 , "x \\" , "\" y" ],
          "n": 12345678901234567890123 }"#;
        assert_eq!(compact(written), r#"{"a b":[1.0,"x \\","\" y"],"n":12345678901234567890123}"#);
        assert_eq!(compact(&indent(r#"{"a":[{},"\\\""]}"#, "")), r#"{"a":[{},"\\\""]}"#);
    }

    #[test]
    fn indented_json_keeps_every_token() {
        let json = r#" {"a": [1e999, 12345678901234567890123, "x,{\"y\\"], "b":{ },"c" : null} "#;
        let expected = r#"
> {
>   "a": [
>     1e999,
>     12345678901234567890123,
>     "x,{\"y\\"
>   ],
>   "b": {},
>   "c": null
> }"#;
        assert_eq!(indent(json, "> "), expected.trim_start());
    }

    #[test]
    fn brief_text_is_one_line_and_says_that_it_goes_on() {
        assert_eq!(brief("one\ntwo", 20), "one\\ntwo");
        assert_eq!(brief("abcdef", 6), "abcdef");
        assert_eq!(brief("abcdefg", 6), "abcdef…");
        assert_eq!(brief("äöüß", 2), "äö…");
        assert_eq!(brief("漢字漢字", 5), "漢字…", "wide characters take two columns");
    }

    #[test]
    fn durations_and_numbers_read_well() {
        let lengths = [8, 1_240, 59_999, 185_000, 7_800_000, 400_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(lengths, ["8ms", "1.2s", "59.9s", "3m05s", "2h10m", "4d"]);
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let usage = Usage { input: 1200, cached: 1000, cache_write: 100, output: 30, reasoning: 20 };
        assert_eq!(tokens(&usage), "1,200 in (1,000 cached, 100 to the cache), 30 out (20 reasoning)");
        assert_eq!(tokens(&Usage { input: 7, ..Usage::default() }), "7 in, 0 out");
        assert_eq!([count(1, "call"), count(2_000, "call")], ["1 call", "2,000 calls"]);
    }
}
