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
    let mut before = ' ';
    for c in text.chars() {
        let picture = is_picture(std::mem::replace(&mut before, c));
        match c {
            c if stays(c) => escaped.push(c),
            // One selector behind a picture chooses how that is drawn. Anywhere else it says something that nobody sees.
            '\u{fe0e}' | '\u{fe0f}' if picture => escaped.push(c),
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

/// The text with everything escaped that a reader would not see, for models: what hides in a tool result is no longer
/// hidden. Line ends and tabs stay, and so does what writing systems and emoji need.
pub fn reveal(text: &str) -> Cow<'_, str> {
    without_concealed(text, |revealed, c| revealed.extend(c.escape_unicode()))
}

/// The text without everything that a reader would not see, as [`reveal`] has it.
pub fn strip(text: &str) -> Cow<'_, str> {
    without_concealed(text, |_, _| {})
}

fn without_concealed(text: &str, instead: impl Fn(&mut String, char)) -> Cow<'_, str> {
    // The characters in question are controls, or not ASCII.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t' | b'\r')) {
        return Cow::Borrowed(text);
    }
    let mut made: Option<String> = None;
    let mut before = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let after = chars.peek().map(|(_, after)| *after);
        if conceals(before, c, after) {
            instead(made.get_or_insert_with(|| text[..at].to_owned()), c);
        } else if let Some(made) = &mut made {
            made.push(c);
        }
        before = Some(c);
    }
    made.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// Whether a character between these two hides something or is hidden itself. Joiners stay between characters of scripts and
/// emoji that need them, and one variation selector behind what it selects a variant of.
fn conceals(before: Option<char>, c: char, after: Option<char>) -> bool {
    let varies = |c: char| matches!(c, '\u{fe00}'..='\u{fe0f}');
    let joined = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && (varies(c) || !hidden(c)));
    match c {
        '\n' | '\t' | '\r' => false,
        '\u{200c}' | '\u{200d}' => !(joined(before) && joined(after)),
        c if varies(c) => before.is_none_or(|before| before.is_whitespace() || varies(before) || hidden(before)),
        c => hidden(c),
    }
}

/// Whether a character is a symbol that has two looks, as text and as emoji (emoji-variation-sequences.txt 16.0, without
/// the digits and what else is also plain text).
fn is_picture(c: char) -> bool {
    matches!(c, '\u{203c}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}') && !c.is_alphanumeric() && !hidden(c)
}

/// Whether a terminal obeys this character or shows nothing for it: controls, line and paragraph separators, and what
/// Unicode calls default-ignorable (DerivedCoreProperties 16.0), which holds all bidirectional controls, zero-width
/// characters, tags and variation selectors. Beside them what fonts draw as nothing although Unicode counts it as visible:
/// the blank Braille pattern, the empty note head, the Khitan filler, and the controls of Egyptian hieroglyphs.
pub fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{2800}' | '\u{fe00}'..='\u{fe0f}' | '\u{13430}'..='\u{1343f}' | '\u{16fe4}' | '\u{1d159}'
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
            ("blank\u{2800}", "blank\\u{2800}"),
            ("a\u{fe0f}b\u{fe00}", "a\\u{fe0f}b\\u{fe00}"),
            ("✔\u{fe0f}\u{fe0f}", "✔\u{fe0f}\\u{fe0f}"),
            ("\u{e0100}\u{16fe4}\u{1d159}\u{13430}", "\\u{e0100}\\u{16fe4}\\u{1d159}\\u{13430}"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ] {
            assert_eq!(escape(raw, Form::Text), shown);
        }
        assert_eq!(escape("two\nlines\t", Form::Line), "two\\nlines\\t");
    }

    #[test]
    fn models_are_shown_what_is_hidden_and_keep_what_writing_needs() {
        for (raw, shown) in [
            ("plain\r\n\tünïcödé", "plain\r\n\tünïcödé"),
            ("\u{1b}[8mhidden\u{1b}[0m", "\\u{1b}[8mhidden\\u{1b}[0m"),
            ("zero\u{200b}width\u{200d}x", "zero\\u{200b}width\\u{200d}x"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("tag\u{e0041}\u{e007f}", "tag\\u{e0041}\\u{e007f}"),
            ("👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥", "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}\u{200d}🔥"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("1\u{fe0f}\u{20e3}", "1\u{fe0f}\u{20e3}"),
            ("x\u{fe01}\u{fe02}\u{fe03}", "x\u{fe01}\\u{fe02}\\u{fe03}"),
        ] {
            assert_eq!(reveal(raw), shown);
        }
        assert_eq!(strip("a\u{200b}b\u{1b}[0m ❤\u{fe0f}"), "ab[0m ❤\u{fe0f}");
    }

    #[test]
    fn escaped_json_is_the_same_document() {
        let document = serde_json::json!({"text": "\u{202e}\u{200b}\u{e0041}\u{7f}\u{1b}\n", "plain": "ü"});
        let shown = escape(&serde_json::to_string_pretty(&document).unwrap(), Form::Json).into_owned();
        assert!(shown.chars().all(|c| c == '\n' || !hidden(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), document);
    }
}
