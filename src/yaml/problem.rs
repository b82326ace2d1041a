//! What is wrong with a text, as people get to see it.

use std::{fmt, sync::Arc};

use super::Place;

/// Most problems shown of one file.
const SHOWN_MAX: usize = 50;
/// Longest piece of a line in an excerpt, in characters.
const EXCERPT_CHARS_MAX: usize = 100;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{col}: {message}")]
pub struct Problem {
    /// What to call the file.
    pub file: Arc<str>,
    /// The line, from one.
    pub line: u32,
    /// The column, in characters, from one.
    pub col: u32,
    /// What is wrong, and what to do about it where we know.
    pub message: String,
    /// The line, and a line of carets below the place; two lines without a final line break.
    pub excerpt: String,
}

impl Problem {
    /// A problem at some place of a text.
    pub fn new(file: &Arc<str>, text: &str, place: Place, message: impl Into<String>) -> Self {
        Problem {
            file: file.clone(),
            line: place.line,
            col: place.col,
            message: message.into(),
            excerpt: excerpt(text, place),
        }
    }
}

/// Everything that is wrong with a file, in the order of the text; never empty. Displays as one block for people: each
/// problem with its excerpt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    /// How many more there are.
    more: usize,
}

impl Problems {
    /// Of these, in the order of the text.
    pub(super) fn new(first: Problem, rest: impl IntoIterator<Item = Problem>, more: usize) -> Self {
        Problems { list: [first].into_iter().chain(rest).collect(), more }
    }

    /// Most problems that are kept of one file.
    pub(super) const MAX: usize = SHOWN_MAX;

    /// These problems, in this order; `None` when there are none.
    pub fn collect(problems: Vec<Problem>) -> Option<Self> {
        let mut problems = problems.into_iter();
        Some(Problems::new(problems.next()?, problems, 0))
    }

    /// The problems, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems::new(problem, [], 0)
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.list.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}\n{}", problem.excerpt)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

/// The one of these names that was probably meant; `None` when none is near.
pub fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let clipped: String = wanted.to_lowercase().chars().take(64).collect();
    let near = |name: &&'n str| {
        let distance = strsim::osa_distance(&clipped, &name.to_lowercase());
        // A typo in every fourth letter, or a name within the other.
        let within = name.len() >= 4 && clipped.contains(*name) || clipped.len() >= 4 && name.contains(&clipped);
        (within || distance <= 1 + name.len() / 4 && distance < name.len()).then_some((distance, *name))
    };
    names.into_iter().filter_map(|name| near(&name)).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

fn excerpt(text: &str, place: Place) -> String {
    // Lines can be as long as the file; what is this far from the place is not even looked at.
    const NEAR: usize = 1000;
    let boundary = |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let at = boundary(place.start);
    let (near, far) = (boundary(at.saturating_sub(NEAR)), boundary(at + NEAR));
    let start = text[near..at].rfind('\n').map_or(near, |found| near + found + 1);
    let end = text[at..far].find('\n').map_or(far, |found| at + found);
    let marked = text.get(at..place.end.clamp(at, end)).unwrap_or_default().trim_end().chars().count().max(1);
    let before = text[start..at].trim_start_matches('\u{feff}').chars().count();
    let line = masked(text[start..end].trim_start_matches('\u{feff}'));

    // A long line is shown around the place.
    let length = line.chars().count();
    let skipped = if length <= EXCERPT_CHARS_MAX { 0 } else { before.saturating_sub(EXCERPT_CHARS_MAX / 2) };
    // Whatever could move the cursor is shown as a blank, one for one.
    let shown: String =
        line.chars().skip(skipped).take(EXCERPT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (left, right) =
        (if skipped > 0 { "…" } else { "" }, if length > skipped + EXCERPT_CHARS_MAX { "…" } else { "" });
    let before = before - skipped;
    let marked = marked.min(EXCERPT_CHARS_MAX.saturating_sub(before)).max(1);
    let pad = " ".repeat(before + left.chars().count());
    format!("{:>5} | {left}{}{right}\n      | {pad}{}", place.line, shown.trim_end(), "^".repeat(marked))
}

/// The line with a star for each character of what looks like a secret: something long behind a name such as `key:` or
/// `GITHUB_TOKEN:` that is no variable, and whatever stands before the `@` of a URL.
fn masked(line: &str) -> String {
    const NAMES: [&str; 5] = ["key", "token", "secret", "passw", "auth"];
    const LENGTH_MIN: usize = 12;
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(colon) = rest.find(':') {
        let (before, value) = rest.split_at(colon + 1);
        out.push_str(before);
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let name = before[..colon].trim_end_matches([' ', '"', '\'']).rsplit(|c| !word(c)).next().unwrap_or_default();
        let name = name.to_lowercase();
        let blank = value.len() - value.trim_start_matches([' ', '"', '\'']).len();
        let secret = if let Some(authority) = value.strip_prefix("//") {
            let authority = &authority[..authority.find(['/', ' ', '"', '\'']).unwrap_or(authority.len())];
            authority.rfind('@').map(|end| 2..2 + end)
        } else {
            let ends: &[char] = match value[..blank].chars().last() {
                Some('"') => &['"'],
                Some('\'') => &['\''],
                _ => &[',', '}', ']'],
            };
            let end = value[blank..].find(ends).map_or(value.len(), |end| blank + end);
            let long = end - blank >= LENGTH_MIN && !value[blank..end].contains("${");
            (long && NAMES.iter().any(|secret| name.contains(secret))).then_some(blank..end)
        };
        rest = value;
        if let Some(secret) = secret {
            out.push_str(&value[..secret.start]);
            out.extend(std::iter::repeat_n('*', value[secret.clone()].chars().count()));
            rest = &value[secret.end..];
        }
    }
    out + rest
}
