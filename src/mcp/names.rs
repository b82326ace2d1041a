//! The names under which tools are offered to a model: `server__tool`, in the characters and the length that every
//! provider takes, each one only once.
//!
//! A name that is fine stays as it is. One with other characters gets `_` in their place; one that is too long, or that
//! would then meet another, ends in a hash of the whole name. So the names depend on the set of tools and not on their order,
//! and no tool ever takes the name of one that is fine.

use std::collections::HashMap;

use crate::chat::{OfferedName, ToolName};

/// Longest name that all providers take (OpenAI, `^[a-zA-Z0-9_-]{1,64}$`).
const CHARS_MAX: usize = 64;

/// Names for tools, in their order. No two of `tools` are equal.
pub(super) fn offer(tools: &[&ToolName]) -> Vec<OfferedName> {
    let plain: Vec<Plain> = tools.iter().map(|tool| Plain::new(tool)).collect();
    let mut wanted: HashMap<&str, usize> = HashMap::new();
    for name in &plain {
        *wanted.entry(&name.text).or_default() += 1;
    }
    let mut taken: HashMap<String, usize> = HashMap::new();
    let mut offered = vec![None; tools.len()];
    // First those that are fine; two such cannot be equal, as server names hold no `_`. Should they, the second is changed.
    for pass in [true, false] {
        for (index, name) in plain.iter().enumerate().filter(|(_, name)| name.exact == pass) {
            let alone = wanted[&*name.text] == 1 && name.text.len() <= CHARS_MAX;
            let free = |text: &String| !taken.contains_key(text);
            let text = Some(name.text.clone()).filter(|text| (pass || alone) && free(text));
            let text =
                text.or_else(|| [8, 16, 32, 48].into_iter().map(|hash| name.hashed(tools[index], hash)).find(free));
            if let Some(text) = text {
                taken.insert(text.clone(), index);
                offered[index] = Some(text);
            }
        }
    }
    // 192 bits of hash do not meet; the number is for the type checker.
    let number = |index: usize| format!("tool_{index}");
    offered.into_iter().enumerate().map(|(i, text)| OfferedName(text.unwrap_or_else(|| number(i)).into())).collect()
}

/// A name in the right characters.
struct Plain {
    text: String,
    /// Whether it is the tool's name, unchanged and short enough.
    exact: bool,
}

impl Plain {
    fn new(tool: &ToolName) -> Self {
        let full = format!("{}__{}", tool.server, tool.tool);
        let fine = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
        let text: String = full.chars().map(|char| if fine(char) { char } else { '_' }).collect();
        Plain { exact: text == full && text.len() <= CHARS_MAX, text }
    }

    fn hashed(&self, tool: &ToolName, digits: usize) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(tool.server.as_bytes()).update(b"\0").update(tool.tool.as_bytes());
        let hash = hash.finalize().to_hex();
        let start = &self.text[..self.text.len().min(CHARS_MAX - 1 - digits)];
        format!("{start}_{}", &hash[..digits])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn names(tools: &[(&str, &str)]) -> Vec<String> {
        let tools: Vec<ToolName> =
            tools.iter().map(|(s, t)| ToolName { server: (*s).into(), tool: (*t).into() }).collect();
        offer(&tools.iter().collect::<Vec<_>>()).into_iter().map(|name| name.0.to_string()).collect()
    }

    #[test]
    fn fine_names_stay_and_others_become_fine() {
        assert_eq!(
            names(&[("git", "log"), ("git", "show.file"), ("my-fs", "läs")]),
            ["git__log", "git__show_file", "my-fs__l_s"]
        );
    }

    #[test]
    fn names_that_would_meet_are_told_apart_by_a_hash() {
        let offered = names(&[("s", "a.b"), ("s", "a_b"), ("s", "a/b")]);
        assert_eq!(offered[1], "s__a_b");
        assert!(offered[0].starts_with("s__a_b_") && offered[2].starts_with("s__a_b_"), "{offered:?}");
        assert_ne!(offered[0], offered[2]);
        let other_order = names(&[("s", "a/b"), ("s", "a_b"), ("s", "a.b")]);
        assert_eq!(other_order, [offered[2].clone(), offered[1].clone(), offered[0].clone()]);
    }

    #[test]
    fn long_names_are_shortened_and_stay_apart() {
        let (one, two) = ("x".repeat(300) + "1", "x".repeat(300) + "2");
        let offered = names(&[("s", &one), ("s", &two)]);
        assert_eq!(offered.iter().map(String::len).collect::<Vec<_>>(), [64, 64]);
        assert_ne!(offered[0], offered[1]);
    }

    proptest! {
        #[test]
        fn every_name_is_fine_and_unique(tools in prop::collection::hash_set(("[ab-]{1,3}", "[ab_.é]{1,4}|[a.]{60,70}"), 1..40)) {
            let tools: Vec<(&str, &str)> = tools.iter().map(|(s, t)| (s.as_str(), t.as_str())).collect();
            let offered = names(&tools);
            prop_assert_eq!(offered.iter().collect::<HashSet<_>>().len(), tools.len());
            for name in offered {
                prop_assert!(name.len() <= CHARS_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
            }
        }
    }
}
