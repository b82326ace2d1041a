//! Other libraries that mend JSON, as oracles: where one of them makes of a broken text a value that the tool takes, and
//! the ladder makes something of it too, both are the same. Where a library is wrong in a class of faults, [`WRONG`] says
//! so; what is right is known there all the same, and the ladder's has to be it.

use proptest::prelude::*;
use serde_json::Value;

use super::{
    Outcome, Policy, repair,
    taxonomy::{Must, arguments, broken, tools, written},
};

type Library = (&'static str, fn(&str) -> Option<String>);

const LIBRARIES: &[Library] = &[
    ("jsonrepair-rs", |text| jsonrepair_rs::jsonrepair(text).ok()),
    ("llm_json", |text| llm_json::repair_json(text, &llm_json::RepairOptions::default()).ok()),
];

/// Which library is wrong in which class, and how.
const WRONG: &[(&str, &str, &str)] = &[
    ("jsonrepair-rs", "12", "drops a backslash that escapes nothing"),
    ("jsonrepair-rs", "14", "splits a text at its inner quotes"),
    ("llm_json", "14", "splits a text at its inner quotes"),
    ("jsonrepair-rs", "38", "reads the key behind a list that was not closed as items of the list"),
    ("llm_json", "38", "puts empty texts where a wrong bracket stands"),
];

const TOOL: &str = "fs__edit";

/// What the ladder makes of a text; `None` when it asks again.
fn ours(text: &str) -> Option<Value> {
    match repair(&written(TOOL, text), &tools(), |_| Policy::Unique) {
        Outcome::Exact(valid) | Outcome::Repaired(valid, _) => serde_json::from_str(&valid.arguments).ok(),
        Outcome::AskAgain(_) => None,
    }
}

/// What a library makes of a text, if the tool takes it.
fn theirs((name, mend): &Library, text: &str) -> Option<Value> {
    if *name == "llm_json" && text.chars().any(|char| char > '\u{ffff}') {
        // It loses a digit of their escapes, also where nothing is broken but a comma.
        return None;
    }
    let mended = mend(text)?;
    let fits = matches!(repair(&written(TOOL, &mended), &tools(), |_| Policy::Off), Outcome::Exact(_));
    if fits { serde_json::from_str(&mended).ok() } else { None }
}

/// Whether both are the same but for how numbers are written.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let alike = |(key, one): (&String, &Value)| other.get(key).is_some_and(|other| same(one, other));
            one.len() == other.len() && one.iter().all(alike)
        }
        _ => one == other,
    }
}

/// What is different, and is not told in [`WRONG`].
fn differences(class: &str, text: &str, ours: &Value) -> Vec<String> {
    let known = |library: &Library| WRONG.iter().any(|(name, of, _)| *name == library.0 && *of == class);
    let libraries = LIBRARIES.iter().filter(|library| !known(library));
    let found = libraries.filter_map(|library| Some((library.0, theirs(library, text)?)));
    let different = found.filter(|(_, theirs)| !same(theirs, ours));
    different.map(|(name, theirs)| format!("{class}: {text}\n  ours {ours}\n  {name} {theirs}")).collect()
}

#[test]
fn what_others_mend_is_the_same() {
    let mut told = Vec::new();
    let mut used = Vec::new();
    let mut class = String::new();
    for (row, text, must) in broken() {
        row.split(' ').next().unwrap_or(row).clone_into(&mut class);
        if let (Some(ours), Must::Be(_) | Must::BeUnique(_)) = (ours(text), must) {
            told.extend(differences(&class, text, &ours));
            let wrong =
                LIBRARIES.iter().filter(|library| theirs(library, text).is_some_and(|theirs| !same(&theirs, &ours)));
            used.extend(wrong.map(|library| (library.0, class.clone())));
        }
    }
    assert!(told.is_empty(), "{} differ:\n{}", told.len(), told.join("\n"));
    for (library, class, why) in WRONG {
        let is_so = used.iter().any(|(name, of)| name == library && of == class);
        assert!(is_so, "{library} is no longer wrong in class {class}: {why}");
    }
}

/// The pieces of a JSON text: strings with their quotes, and what stands between them.
fn segments(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut in_string, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => {
                let end = if in_string { at + 1 } else { at };
                pieces.push(&text[start..end]);
                (start, in_string) = (end, !in_string);
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// Changes what stands between the strings of a JSON text.
fn between(text: &str, change: impl Fn(&str) -> String) -> String {
    segments(text).into_iter().map(|it| if it.starts_with('"') { it.to_owned() } else { change(it) }).collect()
}

/// Changes the strings of a JSON text.
fn strings(text: &str, change: impl Fn(&str) -> String) -> String {
    segments(text).into_iter().map(|it| if it.starts_with('"') { change(it) } else { it.to_owned() }).collect()
}

/// A class of faults, and how a text comes to have it; `None` when it cannot.
type Fault = (&'static str, fn(&str) -> Option<String>);

const FAULTS: &[Fault] = &[
    ("trailing comma", |text| Some(format!("{},}}", text.strip_suffix('}')?))),
    ("single quotes", |text| {
        let quoted = |it: &str| format!("'{}'", it[1..it.len() - 1].replace("\\\"", "\"").replace('\'', "\\'"));
        (!text.contains("\\\\")).then(|| strings(text, quoted))
    }),
    ("bare keys", |text| {
        let pieces = segments(text);
        let behind = pieces.iter().skip(1).copied().chain([""]);
        let bare = |(piece, behind): (&&str, &str)| match behind.starts_with(':') {
            true => piece.trim_matches('"').to_owned(),
            false => (*piece).to_owned(),
        };
        Some(pieces.iter().zip(behind).map(bare).collect())
    }),
    ("Python's literals", |text| {
        Some(between(text, |it| it.replace("true", "True").replace("false", "False").replace("null", "None")))
    }),
    ("missing comma", |text| Some(between(text, |it| it.replace(',', "\n")))),
    ("missing closers", |text| text.strip_suffix('}').map(str::to_owned)),
    ("extra closers", |text| Some(format!("{text}}}"))),
    ("fence", |text| Some(format!("```json\n{text}\n```"))),
    ("prose", |text| Some(format!("Here it is:\n{text}"))),
    ("comments", |text| Some(between(text, |it| it.replace(':', ": /* so */ ")))),
    ("raw line breaks", |text| {
        (!text.contains("\\\\")).then(|| strings(text, |it| it.replace("\\n", "\n").replace("\\t", "\t")))
    }),
    ("smart quotes", |text| {
        let smart = |it: &str| format!("“{}”", &it[1..it.len() - 1]);
        (!text.contains(['“', '”', '„'])).then(|| strings(text, smart))
    }),
    ("odd spaces", |text| Some(format!("\u{feff}{}", between(text, |it| it.replace(':', ":\u{a0}"))))),
    ("encoded twice", |text| serde_json::to_string(text).ok()),
    ("wrapped in a call", |text| Some(format!("edit({text});"))),
    ("special token", |text| Some(format!("{text}<|im_end|>"))),
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_right_is_known(value in arguments()) {
        let right = value.to_string();
        for (class, fault) in FAULTS {
            let Some(text) = fault(&right) else { continue };
            let Some(ours) = ours(&text) else { continue };
            prop_assert_eq!(&ours, &value, "{}: {}", class, text);
            let told = differences(class, &text, &ours);
            prop_assert!(told.is_empty(), "{}", told.join("\n"));
        }
    }

    /// These have one reading only, whatever the values.
    #[test]
    fn what_is_certain_is_mended(value in arguments()) {
        let certain = ["trailing comma", "bare keys", "Python's literals", "extra closers", "fence", "comments",
            "raw line breaks", "odd spaces", "encoded twice", "wrapped in a call", "special token"];
        for (class, fault) in FAULTS.iter().filter(|(class, _)| certain.contains(class)) {
            if let Some(text) = fault(&value.to_string()) {
                prop_assert_eq!(ours(&text), Some(value.clone()), "{}: {}", class, text);
            }
        }
    }
}
