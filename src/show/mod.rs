//! Text of others, made fit to be shown, logged or returned in an error.
//!
//! What models, tools and servers say is data: it may hold sequences that move the cursor, recolour or hide what we
//! wrote, characters that nobody sees, and secrets that we gave them. [`escape`] takes both away, [`redact`] only the
//! secrets. What is kept (the journal) is kept as it came: it is made fit when it is shown.

mod secret;

use std::{borrow::Cow, fmt::Write};

pub use secret::{hide, redact};

/// How a character that must not be seen raw is written instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// On one line: line breaks and tabs are escaped too.
    Line,
    /// As paragraphs: line breaks and tabs stay.
    Text,
    /// Inside JSON, as its own `\uXXXX`, so that the document stays the same. Its line breaks stay; those within
    /// strings are escaped already.
    Json,
}

/// The text without secrets, and with everything escaped that a terminal would obey or not show.
pub fn escape(text: &str, form: Form) -> Cow<'_, str> {
    match redact(text) {
        Cow::Borrowed(text) => escaped(text, form),
        Cow::Owned(text) => Cow::Owned(escaped(&text, form).into_owned()),
    }
}

fn escaped(text: &str, form: Form) -> Cow<'_, str> {
    let stays = |c: char| !hidden(c) || (form != Form::Line && matches!(c, '\n' | '\t'));
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if stays(c) => escaped.push(c),
            c if form == Form::Json => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            c => escaped.extend(c.escape_unicode()),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a terminal obeys this character or shows nothing for it: controls, line and paragraph separators, and what
/// Unicode calls default-ignorable (DerivedCoreProperties 16.0), which holds all bidirectional controls, zero-width
/// characters and tags. The variation selectors FE00–FE0F are let through: emoji are full of them, and all they can do
/// is choose between two pictures.
pub fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        for (raw, shown) in [
            ("plain ünïcödé 漢字 ✔\u{fe0f}", "plain ünïcödé 漢字 ✔\u{fe0f}"),
            ("\u{1b}[2J\u{1b}]0;title\u{7}", "\\u{1b}[2J\\u{1b}]0;title\\u{7}"),
            ("a\rb", "a\\rb"),
            ("c1 \u{9b}31m", "c1 \\u{9b}31m"),
            ("back\u{8}space del\u{7f}", "back\\u{8}space del\\u{7f}"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("\u{2066}isolate\u{2069}", "\\u{2066}isolate\\u{2069}"),
            ("zero\u{200b}width\u{200d}\u{feff}", "zero\\u{200b}width\\u{200d}\\u{feff}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ] {
            assert_eq!(escape(raw, Form::Text), shown);
        }
        assert_eq!(escape("two\nlines\t", Form::Line), "two\\nlines\\t");
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let document = serde_json::json!({"text": "\u{202e}\u{200b}\u{e0041}\u{7f}\u{1b}\n", "plain": "ü"});
        let shown = escape(&serde_json::to_string_pretty(&document).unwrap(), Form::Json).into_owned();
        assert!(shown.chars().all(|c| c == '\n' || !hidden(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }
}
