//! The secrets of this process: what variables stood for, and keys.
//!
//! Whoever looks a secret up makes it known with [`hide`]; from then on [`redact`] shows its name in its place. They are
//! the process's and not some part's, because a secret must not leave by any door, whoever built it. Always true:
//! - What is shorter than [`LENGTH_MIN`] is no secret: hiding `prod` or `8080` would only garble texts.
//! - Variables that every tool server gets anyway, such as `HOME`, hide nothing.
//! - A secret is found as it is and as it stands in JSON or in what `Debug` writes.
//!
//! Left out on purpose: other spellings (base64, percent signs). Who wants to smuggle a secret out can always spell it in
//! another way; this is against accidents.

use std::{
    borrow::Cow,
    sync::{PoisonError, RwLock},
};

/// Bytes of the shortest secret.
const LENGTH_MIN: usize = 8;

/// Most spellings that are kept; more secrets than any agent has.
const KEPT_MAX: usize = 1000;

/// Variables that are handed on to every program and hold no secrets.
const PUBLIC: [&str; 12] =
    ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "XDG_RUNTIME_DIR", "HOSTNAME"];

/// Spellings of secrets and what is shown instead, the longest first: one may hold another.
static SECRETS: RwLock<Vec<(String, String)>> = RwLock::new(Vec::new());

/// Makes a secret known: from now on `${name}` is shown in its place.
pub fn hide(name: &str, value: &str) {
    if value.len() < LENGTH_MIN || PUBLIC.contains(&name) || name.starts_with("LC_") {
        return;
    }
    let in_json = serde_json::Value::from(value).to_string();
    let in_debug = format!("{value:?}");
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for spelling in [value, value.trim(), &in_json[1..in_json.len() - 1], &in_debug[1..in_debug.len() - 1]] {
        let known = secrets.iter().any(|(known, _)| known == spelling);
        if !known && spelling.len() >= LENGTH_MIN && secrets.len() < KEPT_MAX {
            secrets.push((spelling.to_owned(), format!("${{{name}}}")));
        }
    }
    secrets.sort_by_key(|(spelling, _)| std::cmp::Reverse(spelling.len()));
}

/// The text with the names of secrets in their place.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    secrets.iter().fold(Cow::Borrowed(text), |text, (secret, name)| match text.contains(secret.as_str()) {
        true => Cow::Owned(text.replace(secret.as_str(), name)),
        false => text,
    })
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
    fn what_is_short_or_public_is_no_secret() {
        hide("SHOW_TEST_SHORT", "s3cr3t!");
        hide("HOME", "/home/of-the-show-test");
        let text = "s3cr3t! in /home/of-the-show-test";
        assert!(matches!(redact(text), Cow::Borrowed(same) if same == text));
    }
}
