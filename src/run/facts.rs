//! Whether the content of a tool result holds what its structured content says, so that a model need not get both.
//!
//! Servers put the same facts into both (as JSON, or in words), or a summary into one and the facts into the other. In doubt
//! they are not the same: a fact twice costs tokens, a fact that is missing costs the task.

use serde_json::Value;

use crate::chat::Part;

/// Most values of structured content that are looked for one by one.
const VALUES_MAX: usize = 1_000;

/// Most bytes that may be looked through for all values together.
const WORK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A text of this length is not in the content by chance.
const TELLING_BYTES: usize = 16;

/// Whether the texts of `content` hold every fact of `structured`, a JSON text.
pub fn holds(content: &[Part], structured: &str) -> bool {
    let texts: Vec<&str> =
        content.iter().filter_map(|part| if let Part::Text(text) = part { Some(&**text) } else { None }).collect();
    let Ok(value) = serde_json::from_str::<Value>(structured) else {
        return texts.iter().any(|text| text.contains(structured));
    };
    // Servers wrap what is no object (`{"result": …}`).
    let wrapped = value.as_object().filter(|members| members.len() == 1).and_then(|members| members.values().next());
    std::iter::once(&value).chain(wrapped).any(|value| is_same(&texts, value)) || in_words(&texts, &value)
}

/// Whether the texts are the value: one of them as JSON, or all of them, one for each item.
fn is_same(texts: &[&str], value: &Value) -> bool {
    let is = |text: &str, value: &Value| {
        value.as_str() == Some(text) || serde_json::from_str::<Value>(text).is_ok_and(|parsed| parsed == *value)
    };
    let each = |items: &Vec<Value>| {
        !items.is_empty() && items.len() == texts.len() && texts.iter().zip(items).all(|(text, item)| is(text, item))
    };
    texts.iter().any(|text| is(text, value)) || value.as_array().is_some_and(each)
}

/// Whether the texts say every value: long texts as they are, anything else beside the name of its member.
fn in_words(texts: &[&str], value: &Value) -> bool {
    let text = texts.join("\n");
    let plain = plain(&text);
    let mut left = vec![(None, value)];
    let mut values = 0;
    while let Some((name, value)) = left.pop() {
        values += 1;
        if values > VALUES_MAX || values * text.len() > WORK_BYTES_MAX {
            return false;
        }
        let named = || name.is_none_or(|name: &str| plain.contains(&self::plain(name)));
        let said = match value {
            Value::Object(members) if !members.is_empty() => {
                left.extend(members.iter().map(|(name, value)| (Some(&**name), value)));
                true
            }
            Value::Array(items) if !items.is_empty() => {
                left.extend(items.iter().map(|item| (name, item)));
                true
            }
            Value::Object(_) => named(),
            Value::Array(_) => name.is_some() && named(),
            Value::Null => true,
            Value::String(said) if said.trim().is_empty() => true,
            Value::String(said) if said.len() >= TELLING_BYTES => text.contains(said.trim()),
            Value::String(said) => named() && text.contains(said.trim()),
            Value::Number(number) => named() && has_word(&text, &number.to_string()),
            Value::Bool(is) => named() && has_word(&plain, if *is { "true" } else { "false" }),
        };
        if !said {
            return false;
        }
    }
    true
}

/// Lower case, with the words of a name apart.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut small = false;
    for c in text.chars() {
        if small && c.is_uppercase() {
            plain.push(' ');
        }
        small = c.is_lowercase();
        match c {
            '_' | '-' => plain.push(' '),
            c => plain.extend(c.to_lowercase()),
        }
    }
    plain
}

/// Whether a word stands in a text, and not as a part of a longer word or number.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let mut before = text[..at].chars().rev();
        let mut after = text[at + word.len()..].chars();
        let part = |c: Option<char>, beyond: Option<char>| match c {
            Some('.' | ',') => beyond.is_some_and(|beyond| beyond.is_ascii_digit()),
            Some(c) => c.is_alphanumeric() || c == '_',
            None => false,
        };
        !part(before.next(), before.next()) && !part(after.next(), after.next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(texts: &[&str], structured: &str) -> bool {
        super::holds(&texts.iter().map(|text| Part::text(*text)).collect::<Vec<_>>(), structured)
    }

    #[test]
    fn the_same_facts_are_found_in_every_form_that_servers_use() {
        for (texts, structured) in [
            (&[r#"{"b": 2, "a": [1.0]}"#][..], r#"{"a":[1.0],"b":2}"#),
            (&["4"], r#"{"result":4}"#),
            (&["größer\n"], r#"{"content":"größer\n"}"#),
            (&[r#"{"id":1}"#, r#"{"id":2}"#], r#"{"result":[{"id":1},{"id":2}]}"#),
            (&["a", "b"], r#"{"result":["a","b"]}"#),
            (&["Total count: 5, done: false"], r#"{"totalCount":5,"done":false,"next":null}"#),
            (&["Temperature 21.5 in\nNew York"], r#"{"temperature":21.5,"new_york":"New York"}"#),
            (&["see https://example.org/a/b for it"], r#"{"url":"https://example.org/a/b"}"#),
            (&["x"], "{}"),
        ] {
            assert!(holds(texts, structured), "{texts:?} {structured}");
        }
    }

    #[test]
    fn a_summary_does_not_hold_the_facts() {
        for (texts, structured) in [
            (&[][..], r#"{"accounts":36}"#),
            (&["Scraped 1 URL. Evidence is in structured content."], r#"{"accounts":40}"#),
            (&["Scraped 40 URLs."], r#"{"accounts":40}"#),
            (&["accounts: 401"], r#"{"accounts":40}"#),
            (&["accounts: 40.5"], r#"{"accounts":40}"#),
            (&["ok"], r#"{"ok":true}"#),
            (&["Done."], r#"{"matches":[]}"#),
            (&["2 files"], r#"{"files":["a.txt","b.txt"]}"#),
            (&["id 1234567890123456789012345678901"], r#"{"id":1234567890123456789012345678902}"#),
        ] {
            assert!(!holds(texts, structured), "{texts:?} {structured}");
        }
    }

    #[test]
    fn very_many_facts_are_not_looked_for() {
        let text = "1 ".repeat(1 << 20);
        let many = format!("{{\"n\":[{}]}}", vec!["1"; 100_000].join(","));
        assert!(!holds(&[&text], &many));
    }
}
