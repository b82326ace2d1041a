//! Globs over tool names: `*` stands for any characters, `?` for one. Nothing else is special.

use std::cmp::Reverse;

/// Whether a text matches a pattern, from end to end.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not match: one character further.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, matched)) => {
                    star = Some((at, matched + 1));
                    (p, t) = (at + 1, matched + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Orders patterns by how much they say: more literal characters, then fewer stars. Two that say as much are in the
/// order in which they stand, hence not told apart here.
pub fn specificity(pattern: &str) -> (usize, Reverse<usize>) {
    let literal = pattern.chars().filter(|c| !matches!(c, '*' | '?')).count();
    (literal, Reverse(pattern.matches('*').count()))
}
