//! The templates and conditions of agent files: minijinja, strict, so that what is not there is an error and nothing empty.
//!
//! minijinja's parser and compiler call themselves once per term, and a stack overflow ends the process. So their input is
//! bounded (an expression by [`EXPRESSION_BYTES_MAX`], a template by what [`check`] counts), and callers run them in
//! [`roomy`]. Evaluation is bounded by [`FUEL`].

use minijinja::{Environment, UndefinedBehavior};

use crate::bulkhead;

/// Longest expression, in bytes: a condition, or what stands between the braces of a template.
pub(super) const EXPRESSION_BYTES_MAX: usize = 4096;

/// Most tags (`{{ … }}` and `{% … %}`) of one template. A chain of `elif` is as deep as it is long.
const TAGS_MAX: usize = 1000;

/// Instructions of one evaluation: thousands of times what a condition takes.
const FUEL: u64 = 100_000;

/// What templates and expressions are read and evaluated in.
pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
}

/// Runs what reads or evaluates a template on a stack that is large enough for every bounded input.
pub(super) fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    bulkhead::roomy(work).map_err(|panicked| format!("the template engine failed: {panicked}"))
}

/// Refuses an expression that is too long to be read.
pub(super) fn check_expression(text: &str) -> Result<(), String> {
    match text.len() {
        ..=EXPRESSION_BYTES_MAX => Ok(()),
        bytes => Err(format!("it has {bytes} bytes; at most {EXPRESSION_BYTES_MAX} are read")),
    }
}

/// Refuses a template whose tags are too many or too long to be read. Text between them is not limited.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut rest = text;
    for _ in 0..=TAGS_MAX {
        let opened = rest.match_indices('{').find_map(|(at, _)| {
            let close = match rest.as_bytes().get(at + 1)? {
                b'{' => "}}",
                b'%' => "%}",
                b'#' => "#}",
                _ => return None,
            };
            Some((at + 2, close))
        });
        let Some((start, close)) = opened else { return Ok(()) };
        rest = &rest[start..];
        let length = match close {
            "#}" => rest.find(close).unwrap_or(rest.len()),
            close => {
                let length = tag(rest, close);
                check_expression(&rest[..length]).map_err(|why| format!("a tag is too long: {why}"))?;
                length
            }
        };
        rest = rest.get(length + close.len()..).unwrap_or_default();
    }
    Err(format!("it has more than {TAGS_MAX} tags"))
}

/// Where a tag ends: at its close outside of quotes, or with the text.
fn tag(text: &str, close: &str) -> usize {
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, _) if text.as_bytes()[at..].starts_with(close.as_bytes()) => return at,
            _ => {}
        }
    }
    text.len()
}

/// What is wrong, for people.
pub(super) fn describe(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_taken_and_long_or_many_tags_are_not() {
        let long = "x{ y } ".repeat(100_000);
        for text in [
            "plain",
            &long,
            &format!("{{# {long} #}}{{{{ input.a }}}}"),
            "{{ '}}' ~ \"{%\" }} {% if input.a %}b{% endif %}",
            &"{{ a }}".repeat(TAGS_MAX),
            "{{ never closed",
        ] {
            assert_eq!(check(text), Ok(()), "{}", &text[..text.len().min(50)]);
        }
        for (text, why) in [
            ("{{ a }}".repeat(TAGS_MAX + 1), "tags"),
            (format!("{{{{ '}}}}' ~ {} }}}}", "a + ".repeat(2000)), "too long"),
            (format!("{{% set x = {} %}}", "-".repeat(5000)), "too long"),
            (format!("{{% raw %}}{{{{ don't {} {{% endraw %}}", long), "too long"),
        ] {
            assert!(check(&text).unwrap_err().contains(why), "{why}");
        }
    }
}
