//! A model's text, as bytes: whose model, in which pieces, whether it ended of itself, and the text.

use agentd::repair::text::{Author, Extracted, Extractor, Found, extract};

use super::{byte, pieces, tools};

/// Models of families with dialects of their own, and one of none.
const FAMILIES: &[Option<&str>] = &[
    None,
    Some("qwen3-coder-30b"),
    Some("mistral-small"),
    Some("llama-3.2-3b"),
    Some("deepseek-v3.1"),
    Some("kimi-k2"),
    Some("glm-4.6"),
    Some("gpt-oss-120b"),
    Some("gemma-4-12b"),
    Some("somebody/else"),
];

/// What can be the beginning of more than prose.
const MAY_BEGIN: &[char] = &['<', '[', ']', '`', '~', '{', 'A', 't', 'f', '>', '-'];

/// Checks what is found in a text.
pub fn check(mut bytes: &[u8]) {
    let (which, seed) = (byte(&mut bytes), byte(&mut bytes));
    let author = Author::named(FAMILIES[usize::from(which >> 1) % FAMILIES.len()].unwrap_or_default());
    let complete = which & 1 == 0;
    let text = String::from_utf8_lossy(bytes);
    let whole = extract(&text, tools(), &author, complete);
    accounts_for_all(&text, &whole);
    assert!(whole.calls.is_empty() || whole.attempt.is_none(), "{text:?}");

    let mut extractor = Extractor::new(tools().clone(), &author);
    let shown: String = pieces(&text, seed).iter().map(|piece| extractor.feed(piece)).collect();
    let rest = extractor.finish(complete);
    assert_eq!((shown + &rest.text, &rest.calls), (whole.text, &whole.calls), "{text:?} in pieces of {seed}");
    assert!(rest.attempt.is_none() || whole.attempt.is_some(), "{text:?} in pieces of {seed}");

    nothing_is_held_back(&text, seed);
}

/// Without a call the text stays as it was. With some, what is shown stands in the text, in this order, and a call has
/// taken something out of it.
fn accounts_for_all(text: &str, found: &Extracted) {
    if found.calls.is_empty() && found.text.len() == text.len() {
        assert_eq!(found.text, text);
        return;
    }
    let solid = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<Vec<_>>();
    let mut rest = solid(text).into_iter();
    let shown = solid(&found.text);
    assert!(shown.iter().all(|char| rest.any(|there| there == *char)), "{text:?} does not hold {:?}", found.text);
    for Found { name, arguments, dialect, .. } in &found.calls {
        assert!(!dialect.is_empty() && name.len() <= text.len(), "{name:?} in {text:?}");
        // Typed parameters are quoted and escaped on their way into an object.
        assert!(arguments.len() <= 6 * text.len() + 2, "{text:?} gives {arguments:?}");
    }
}

/// What can begin nothing is given out with the piece that it came in, but for the white space at its end.
fn nothing_is_held_back(text: &str, seed: u8) {
    let plain: String = text.chars().filter(|char| !MAY_BEGIN.contains(char) && char.len_utf8() != 3).collect();
    let mut extractor = Extractor::new(tools().clone(), &Author::default());
    let (mut fed, mut shown) = (String::new(), String::new());
    for piece in pieces(&plain, seed) {
        fed.push_str(piece);
        shown.push_str(&extractor.feed(piece));
        let held = fed.strip_prefix(&*shown).unwrap_or_else(|| panic!("{shown:?} out of {fed:?}"));
        assert!(held.trim_ascii().is_empty(), "{held:?} is held back of {fed:?}");
    }
}
