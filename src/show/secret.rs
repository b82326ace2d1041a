//! The secrets of this process: what variables stood for, and keys.
//!
//! Whoever looks a secret up makes it known with [`hide`]; from then on [`redact`] shows its name in its place. They are
//! the process's and not some part's, because a secret must not leave by any door, whoever built it. Always true:
//! - What is shorter than [`LENGTH_MIN`] is no secret: hiding `prod` or `8080` would only garble texts.
//! - Variables that every tool server gets anyway, such as `HOME`, hide nothing.
//! - A secret is found as it is and as it stands in JSON or in what `Debug` writes.
//! - One of several lines is found line by line too, however they are indented or joined, and its short lines with them.
//!
//! Left out on purpose: other spellings (base64, percent signs). Who wants to smuggle a secret out can always spell it in
//! another way; this is against accidents.

use std::{
    borrow::Cow,
    sync::{PoisonError, RwLock},
};

/// Bytes of the shortest secret.
const LENGTH_MIN: usize = 8;

/// Bytes of the shortest line of a secret that is a secret by itself.
const LINE_LENGTH_MIN: usize = 16;

/// Most spellings that are kept; more secrets than any agent has.
const KEPT_MAX: usize = 4000;

/// Variables that are handed on to every program and hold no secrets.
const PUBLIC: [&str; 12] =
    ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "XDG_RUNTIME_DIR", "HOSTNAME"];

/// Spellings of secrets and what is shown instead, the longest first: one may hold another.
static SECRETS: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// What is shown instead of secrets of several lines, and all their lines in every spelling, the longest first.
static LINES: RwLock<Vec<(String, Vec<String>)>> = RwLock::new(Vec::new());

/// Makes a secret known: from now on `${name}` is shown in its place.
pub fn hide(name: &str, value: &str) {
    if value.len() < LENGTH_MIN || PUBLIC.contains(&name) || name.starts_with("LC_") {
        return;
    }
    let shown = format!("${{{name}}}");
    let mut all: Vec<String> = spellings(value).collect();
    if value.trim().lines().nth(1).is_some() {
        let mut lines: Vec<String> = value.lines().map(str::trim).flat_map(spellings).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort_by_key(|line| std::cmp::Reverse(line.len()));
        lines.dedup();
        // The first and last line of a key say what it is, in every key: they are hidden beside its other lines only.
        all.extend(lines.iter().filter(|line| line.len() >= LINE_LENGTH_MIN && !line.starts_with("-----")).cloned());
        let mut known = LINES.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(_, others)| *others == lines) && known.len() < KEPT_MAX {
            known.push((shown.clone(), lines));
        }
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for spelling in all {
        let known = secrets.iter().any(|(known, _)| *known == spelling);
        if !known && spelling.len() >= LENGTH_MIN && secrets.len() < KEPT_MAX {
            secrets.push((spelling, shown.clone()));
        }
    }
    secrets.sort_by_key(|(spelling, _)| std::cmp::Reverse(spelling.len()));
}

/// A text as it is, without white space around it, in JSON and in what `Debug` writes.
fn spellings(text: &str) -> impl Iterator<Item = String> {
    let in_json = serde_json::Value::from(text).to_string();
    let in_debug = format!("{text:?}");
    let inside = |quoted: String| quoted[1..quoted.len() - 1].to_owned();
    [text.to_owned(), text.trim().to_owned(), inside(in_json), inside(in_debug)].into_iter()
}

/// The text with the names of secrets in their place.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let redacted =
        secrets.iter().fold(Cow::Borrowed(text), |text, (secret, name)| match text.contains(secret.as_str()) {
            true => Cow::Owned(text.replace(secret.as_str(), name)),
            false => text,
        });
    let lines = LINES.read().unwrap_or_else(PoisonError::into_inner);
    match redacted {
        Cow::Owned(text) => Cow::Owned(lines.iter().fold(text, |text, (shown, lines)| gathered(&text, shown, lines))),
        untouched => untouched,
    }
}

/// The text with one `shown` for neighbouring ones, and for lines of the secret beside it.
fn gathered(text: &str, shown: &str, lines: &[String]) -> String {
    let mut gathered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(shown) {
        let mut before = &rest[..at];
        while let Some(shorter) = lines.iter().find_map(|line| without_space_behind(before).strip_suffix(&**line)) {
            before = shorter;
        }
        gathered.push_str(before);
        gathered.push_str(shown);
        rest = &rest[at + shown.len()..];
        let one = |text| {
            let text = without_space_before(text);
            text.strip_prefix(shown).or_else(|| lines.iter().find_map(|line| text.strip_prefix(&**line)))
        };
        while let Some(shorter) = one(rest) {
            rest = shorter;
        }
    }
    gathered + rest
}

/// Escapes of white space, as JSON and `Debug` write it between the lines of a text.
const SPACES: [&str; 3] = ["\\n", "\\r", "\\t"];

fn without_space_before(mut text: &str) -> &str {
    loop {
        let trimmed = text.trim_start();
        match SPACES.iter().find_map(|space| trimmed.strip_prefix(space)) {
            Some(shorter) => text = shorter,
            None => return trimmed,
        }
    }
}

fn without_space_behind(mut text: &str) -> &str {
    loop {
        let trimmed = text.trim_end();
        match SPACES.iter().find_map(|space| trimmed.strip_suffix(space)) {
            Some(shorter) => text = shorter,
            None => return trimmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_by_name_in_every_spelling() {
        hide("SHOW_TEST", "s3cret\"\\value");
        hide("SHOW_TEST_LONGER", "s3cret\"\\value-and-more");
        let value = serde_json::json!({"text": "s3cret\"\\value"}).to_string();
        assert_eq!(redact(&value), r#"{"text":"${SHOW_TEST}"}"#);
        assert_eq!(redact(&format!("{:?}", "x s3cret\"\\value-and-more")), r#""x ${SHOW_TEST_LONGER}""#);
        assert_eq!(redact("a s3cret\"\\value b s3cret\"\\value"), "a ${SHOW_TEST} b ${SHOW_TEST}");
    }

    #[test]
    fn a_secret_of_several_lines_is_redacted_whole_however_it_is_laid_out() {
        let key = "-----BEGIN TEST KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAA\nBBBBBBBBBBBBBBBBBBBBBBBB\nCc==\n-----END TEST KEY-----\n";
        hide("SHOW_TEST_KEY", key);
        let whole = "<${SHOW_TEST_KEY}>";
        for laid_out in [
            key.trim().to_owned(),
            key.trim().replace('\n', "\r\n"),
            key.trim().replace('\n', "\n    "),
            key.trim().replace('\n', " "),
            key.trim().replace('\n', "\\n"),
            key.trim().replace('\n', "\\r\\n\\t"),
        ] {
            assert_eq!(redact(&format!("<{laid_out}>")), whole, "{laid_out:?}");
        }
        assert_eq!(redact("a BBBBBBBBBBBBBBBBBBBBBBBB\nCc== b"), "a ${SHOW_TEST_KEY} b");
        assert!(matches!(redact("-----BEGIN TEST KEY-----"), Cow::Borrowed(_)), "which hides nothing");
    }

    #[test]
    fn what_is_short_or_public_is_no_secret() {
        hide("SHOW_TEST_SHORT", "s3cr3t!");
        hide("HOME", "/home/of-the-show-test");
        let text = "s3cr3t! in /home/of-the-show-test";
        assert!(matches!(redact(text), Cow::Borrowed(same) if same == text));
    }
}
