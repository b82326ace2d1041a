//! Looks at what stands ahead in a text, a bounded way.

use std::borrow::Cow;

use super::Broken;

/// Longest key that is looked for ahead, in bytes: longer than any of a real schema.
const KEY_MAX: usize = 160;

/// Longest comment that is passed while looking ahead, in bytes.
const COMMENT_MAX: usize = 256;

/// A kind of quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quote {
    pub open: &'static str,
    /// What may close it.
    pub close: &'static [&'static str],
}

const QUOTES: &[Quote] = &[
    // Python's, for texts of several lines.
    Quote { open: "\"\"\"", close: &["\"\"\""] },
    Quote { open: "'''", close: &["'''"] },
    Quote { open: "\"", close: &["\""] },
    Quote { open: "'", close: &["'"] },
    Quote { open: "`", close: &["`"] },
    Quote { open: "“", close: &["”", "“", "\""] },
    Quote { open: "”", close: &["”", "\""] },
    Quote { open: "„", close: &["“", "”", "\""] },
    Quote { open: "‘", close: &["’", "‘", "'"] },
    Quote { open: "’", close: &["’", "'"] },
];

impl Quote {
    /// Whether it is one of Python's for texts of several lines, in which single ones may stand.
    pub fn is_triple(&self) -> bool {
        matches!(self.open, "\"\"\"" | "'''")
    }

    /// The length of the closing quote that the text begins with.
    pub fn closes(&self, text: &str) -> Option<usize> {
        self.close.iter().find(|close| text.starts_with(**close)).map(|close| close.len())
    }
}

/// The quote that the text begins with.
pub(super) fn quote(text: &str) -> Option<Quote> {
    QUOTES.iter().find(|quote| text.starts_with(quote.open)).copied()
}

/// A space that JSON does not know, or a mark that shows nothing.
pub(in super::super) fn is_odd_space(char: char) -> bool {
    let unseen = ['\u{feff}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}'];
    !char.is_ascii() && (char.is_whitespace() || unseen.contains(&char)) || matches!(char, '\u{b}' | '\u{c}')
}

/// Whether a remark says that something was left out.
pub(in super::super) fn tells_of_elision(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "...",
        "…",
        "rest",
        "unchanged",
        "omitted",
        "omit",
        "truncated",
        "remain",
        "same as",
        "as before",
        "existing",
        " etc",
        ",etc",
        "//etc",
        "*etc",
        "and so on",
        "elided",
        "snip",
        "continue",
        "previous",
        "more items",
        "placeholder",
    ];
    // A remark is short; what is longer is not searched to its end.
    let mut end = text.len().min(400);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text[..end].to_lowercase();
    text.starts_with("etc") || WORDS.iter().any(|word| text.contains(word))
}

/// Where the text goes on behind spaces and comments.
pub(super) fn gap(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_whitespace() || is_odd_space(char)).len();
        let mut end = text.len().min(at + COMMENT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let near = &text[at..end];
        let comment = match near.as_bytes() {
            [b'/', b'/', ..] => near.find('\n'),
            [b'/', b'*', ..] => near.find("*/").map(|end| end + 2),
            _ => None,
        };
        match comment {
            Some(length) => at += length,
            None => return at,
        }
    }
}

/// Whether a value can begin here.
pub(super) fn begins_value(text: &str) -> bool {
    let literals = ["true", "false", "null", "True", "False", "None"];
    quote(text).is_some()
        || text.starts_with(|char: char| {
            matches!(char, '{' | '[' | '-' | '+' | '.' | '0'..='9') && !text.starts_with("..")
        })
        || literals.iter().any(|word| text.strip_prefix(word).is_some_and(delimits))
}

/// Whether a colon, or what stands for one, comes next.
pub(super) fn assigns(text: &str) -> bool {
    let behind = &text[gap(text, 0)..];
    behind.starts_with(':') || (behind.starts_with('=') && !behind.starts_with("=="))
}

/// A key without quotes, whatever comes behind it.
pub(super) fn bare_key(text: &str) -> Option<&str> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'.');
    let length = text.bytes().take(KEY_MAX).take_while(|byte| inner(*byte)).count();
    let begins = text.starts_with(|char: char| char.is_ascii_alphabetic() || matches!(char, '_' | '$'));
    (begins && length < KEY_MAX).then(|| &text[..length])
}

/// A key without quotes and its colon.
pub(super) fn plain_key(text: &str) -> Option<&str> {
    bare_key(text).filter(|key| assigns(&text[key.len()..]))
}

/// A key in quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closed {
    /// Where the closing quote begins.
    pub body_end: usize,
    /// Where it ends.
    pub end: usize,
}

/// The end of the key that begins with this quote at `start`.
pub(super) fn closed_key(text: &str, start: usize, quote: Quote) -> Option<Closed> {
    let mut at = start + quote.open.len();
    let last = at + KEY_MAX;
    while at < last {
        let rest = &text[at..];
        if let Some(length) = quote.closes(rest) {
            return Some(Closed { body_end: at, end: at + length });
        }
        let mut chars = rest.chars();
        match chars.next()? {
            '\n' => return None,
            '\\' => at += 1 + chars.next()?.len_utf8(),
            char => at += char.len_utf8(),
        }
    }
    None
}

/// What a key's text stands for. `None` when its escapes are none.
pub(super) fn unescaped(body: &str) -> Option<Cow<'_, str>> {
    match body.contains('\\') {
        false => Some(Cow::Borrowed(body)),
        true => serde_json::from_str(&format!("\"{body}\"")).ok().map(Cow::Owned),
    }
}

/// A key, in whatever quotes, and its colon.
pub(super) struct Key<'t> {
    pub text: Cow<'t, str>,
}

/// The key that stands here with its colon.
pub(super) fn key(text: &str) -> Option<Key<'_>> {
    match quote(text) {
        Some(quote) => {
            let body = quote.open.len();
            match closed_key(text, 0, quote) {
                Some(closed) if assigns(&text[closed.end..]) => {
                    unescaped(&text[body..closed.body_end]).map(|text| Key { text })
                }
                // The closing quote is missing.
                _ => {
                    let key = bare_key(&text[body..])?;
                    text[body + key.len()..].trim_start().starts_with(':').then_some(Key { text: Cow::Borrowed(key) })
                }
            }
        }
        None => {
            let key = bare_key(text)?;
            let behind = &text[key.len()..];
            // The opening quote may be missing.
            let behind = quote(behind).map_or(behind, |quote| &behind[quote.open.len()..]);
            assigns(behind).then_some(Key { text: Cow::Borrowed(key) })
        }
    }
}

/// What a number or a literal is made of.
pub(super) fn word(text: &str) -> &str {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'.');
    &text[..text.bytes().take_while(|byte| inner(*byte)).count()]
}

/// Whether a number or a literal can end here.
pub(super) fn delimits(text: &str) -> bool {
    match text.chars().next() {
        None => true,
        Some(char) => {
            char.is_ascii_whitespace()
                || matches!(char, ',' | '}' | ']' | '"' | '\'')
                || is_odd_space(char)
                || text.starts_with("/*")
                || text.starts_with("//")
        }
    }
}

/// Whether a number or a literal stands here, and nothing else before the next item or the end of the list.
pub(super) fn is_plain_item(text: &str) -> bool {
    let word = word(text);
    let literal = matches!(word, "true" | "false" | "null" | "True" | "False" | "None");
    (literal || is_number(word)) && text[gap(text, word.len())..].starts_with([',', ']'])
}

/// Whether this is a number of JSON.
pub(super) fn is_number(text: &str) -> bool {
    text.starts_with(|char: char| char == '-' || char.is_ascii_digit()) && serde_json::from_str::<f64>(text).is_ok()
}

/// A point with digits before it and none behind.
pub(super) fn lonely_dot(digits: &str) -> Option<usize> {
    let dot = digits.find('.')?;
    let behind = digits[dot + 1..].bytes().next();
    (dot > 0 && !behind.is_some_and(|byte| byte.is_ascii_digit())).then_some(dot)
}

/// Where text without quotes ends: before a key, or where what is open closes.
pub(super) fn bare_text(text: &str, start: usize, in_object: bool) -> Result<usize, Broken> {
    for (offset, byte) in text[start..].bytes().enumerate() {
        let at = start + offset;
        match byte {
            b'"' | b'{' | b'[' | b'`' | 0..=0x1f if byte != b'\n' && byte != b'\r' => return Err(Broken::Unclear),
            // What follows a line break is either the end or no longer one text.
            b'\n' | b'\r' => {
                let next = text[at..].trim_start();
                return match next.starts_with(if in_object { ['}', ','] } else { [']', ','] }) {
                    true => Ok(at),
                    false if next.is_empty() => Err(Broken::Cut),
                    false => Err(Broken::Unclear),
                };
            }
            b'}' if in_object => return Ok(at),
            b']' if !in_object => return Ok(at),
            b'}' | b']' if !in_object => return Err(Broken::Unclear),
            b',' if !in_object => return Ok(at),
            b',' if key(&text[gap(text, at + 1)..]).is_some() => return Ok(at),
            _ => {}
        }
    }
    Err(Broken::Cut)
}
