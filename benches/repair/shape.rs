//! Arguments that are JSON and do not fit the tool's schema, or not quite.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    cases::{Class, Group, Seed, Spoilt},
    tools::Tool,
};

const fn class(name: &'static str, policy: char, spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>) -> Class {
    Class { group: Group::Shape, name, policy, spoil }
}

pub const CLASSES: &[Class] = &[
    class("number as text", 'A', number_as_text),
    class("boolean as text", 'A', boolean_as_text),
    class("boolean as a word", 'R', boolean_as_word),
    class("number for text", 'A', number_for_text),
    class("scalar for list", 'B', scalar_for_list),
    class("JSON text for a container", 'A', text_for_container),
    class("list with commas in a text", 'R', comma_list),
    class("list of one for scalar", 'B', list_of_one),
    class("list of several for scalar", 'R', list_of_several),
    class("key in another spelling", 'B', key_spelling),
    class("key with a typo", 'B', key_typo),
    class("key by a synonym", 'E', key_synonym),
    class("noise key", 'E', noise),
    class("invented safety option", 'R', dry_run),
    class("arguments wrapped", 'A', wrapped),
    class("value wrapped", 'A', value_wrapped),
    class("null for optional", 'A', null_optional),
    class("null for required", 'R', null_required),
    class("choice in another case", 'B', choice_case),
    class("unknown choice", 'R', unknown_choice),
    class("5.0 for an integer", 'A', whole_float),
    class("5.7 for an integer", 'R', broken_float),
    class("out of range", 'R', out_of_range),
    class("required member missing", 'R', missing),
    class("number with a unit", 'R', unit),
    class("schema echoed", 'R', echoed),
    class("list by position", 'R', positional),
    class("list as a map of indexes", 'B', index_map),
];

/// One of the members that `fits`.
fn member<'a>(
    rng: &mut Rng,
    seed: &'a Seed,
    fits: impl Fn(&Tool, &str, &Value) -> bool,
) -> Option<(&'a str, &'a Value)> {
    let members = seed.arguments.as_object()?;
    let keys: Vec<_> = members.iter().filter(|(key, value)| fits(seed.tool(), key, value)).collect();
    rng.choice(&keys).map(|(key, value)| (key.as_str(), *value))
}

fn with(seed: &Seed, key: &str, value: Value) -> Value {
    let mut arguments = seed.arguments.clone();
    arguments[key] = value;
    arguments
}

/// The seed with a key renamed, in its place.
fn renamed(seed: &Seed, key: &str, name: &str) -> Option<Value> {
    let members = seed.arguments.as_object()?;
    (!members.contains_key(name) && seed.tool().parameter(name).is_null()).then_some(())?;
    let rename = |(old, value): (&String, &Value)| (if old == key { name } else { old }.to_owned(), value.clone());
    Some(Value::Object(members.iter().map(rename).collect()))
}

/// What is not valid, and means the seed.
fn mendable(seed: &Seed, spoilt: Value) -> Option<Spoilt> {
    (!seed.tool().accepts(&spoilt)).then(|| Spoilt::of(seed, spoilt.to_string()))
}

fn hopeless(seed: &Seed, spoilt: Value) -> Option<Spoilt> {
    (!seed.tool().accepts(&spoilt)).then(|| Spoilt::ask(seed, spoilt.to_string()))
}

fn is_numeric(tool: &Tool, key: &str) -> bool {
    tool.is_only(key, "integer") || tool.is_only(key, "number")
}

fn number_as_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| value.is_number() && is_numeric(tool, key))?;
    mendable(seed, with(seed, key, value.to_string().into()))
}

fn boolean_as_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, _| tool.is_only(key, "boolean"))?;
    let text = value.to_string();
    let text = if rng.bool() { text } else { format!("{}{}", text[..1].to_uppercase(), &text[1..]) };
    mendable(seed, with(seed, key, text.into()))
}

fn boolean_as_word(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, _| tool.is_only(key, "boolean"))?;
    hopeless(seed, with(seed, key, (*rng.choice(&["yes", "no", "on", "off", "y", "enabled"])?).into()))
}

fn number_for_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, value| tool.is_only(key, "string") && value.is_string())?;
    let number = rng.u64(1..100_000);
    let meant = with(seed, key, number.to_string().into());
    seed.tool().accepts(&meant).then_some(())?;
    let spoilt = with(seed, key, number.into());
    mendable(&Seed { offer: seed.offer.clone(), at: seed.at, arguments: meant }, spoilt)
}

fn scalar_for_list(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| {
        let one = value.as_array().is_some_and(|items| items.len() == 1 && !items[0].is_array());
        one && tool.is_only(key, "array")
            && !value[0].as_str().is_some_and(|text| text.contains([',', ';', '\n', '[', ' ']))
    })?;
    mendable(seed, with(seed, key, value[0].clone()))
}

fn text_for_container(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| {
        (value.is_array() && tool.is_only(key, "array")) || (value.is_object() && tool.is_only(key, "object"))
    })?;
    mendable(seed, with(seed, key, value.to_string().into()))
}

fn comma_list(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, value| {
        value.is_array() && tool.is_only(key, "array") && tool.parameter(key)["items"]["type"] == "string"
    })?;
    hopeless(seed, with(seed, key, (*rng.choice(&["a, b", "one,two,three", "x; y"])?).into()))
}

fn list_of_one(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| {
        (value.is_string() && tool.is_only(key, "string")) || (value.is_number() && is_numeric(tool, key))
    })?;
    mendable(seed, with(seed, key, json!([value])))
}

fn list_of_several(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| value.is_string() && tool.is_only(key, "string"))?;
    hopeless(seed, with(seed, key, json!([value, "other"])))
}

fn key_spelling(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |_, _, _| true)?;
    let spelling = match rng.u8(..4) {
        0 => key.replace('_', "-"),
        1 => key.split('_').enumerate().map(|(at, it)| if at > 0 { capital(it) } else { it.to_owned() }).collect(),
        2 => key.split('_').map(capital).collect::<Vec<_>>().join("_"),
        _ => snake(key),
    };
    let spoilt = (spelling != key).then(|| renamed(seed, key, &spelling))??;
    let clear = seed.tool().requires(key) || !seed.tool().accepts(&spoilt);
    Some(if clear { Spoilt::of(seed, spoilt.to_string()) } else { Spoilt::either(seed, spoilt.to_string()) })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn snake(key: &str) -> String {
    let split = |c: char| if c.is_uppercase() { format!("_{}", c.to_lowercase()) } else { c.to_string() };
    key.chars().map(split).collect()
}

fn key_typo(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, _| tool.requires(key) && key.len() > 4 && key.is_ascii())?;
    let at = rng.usize(1..key.len() - 1);
    let typo = match rng.u8(..3) {
        0 => format!("{}{}", &key[..at], &key[at + 1..]),
        1 => format!("{}{}{}", &key[..at], &key[at..=at], &key[at..]),
        _ => format!("{}x{}", &key[..at], &key[at + 1..]),
    };
    let spoilt = (typo != key).then(|| renamed(seed, key, &typo))??;
    // Beside a key that is as near, nobody can tell.
    let near = seed.tool().keys().filter(|other| strsim::damerau_levenshtein(other, &typo) <= 1).count();
    (near == 1).then(|| Spoilt::of(seed, spoilt.to_string()))
}

fn key_synonym(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let synonyms = [
        ("path", "filename"),
        ("path", "file_path"),
        ("query", "q"),
        ("url", "link"),
        ("content", "text"),
        ("message", "msg"),
    ];
    let (key, _) = member(rng, seed, |_, key, _| synonyms.iter().any(|(known, _)| *known == key))?;
    let fitting: Vec<_> = synonyms.iter().filter(|(known, _)| *known == key).collect();
    let spoilt = renamed(seed, key, rng.choice(&fitting)?.1)?;
    Some(Spoilt::either(seed, spoilt.to_string()))
}

fn noise(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let key = *rng.choice(&["explanation", "reasoning", "thought", "_comment"])?;
    seed.tool().parameter(key).is_null().then_some(())?;
    let spoilt = with(seed, key, "because the user asked for it".into());
    Some(Spoilt::either(seed, spoilt.to_string()))
}

fn dry_run(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let options = [
        ("dry_run", json!(true)),
        ("dryRun", json!(true)),
        ("confirm", json!(false)),
        ("backup", json!(true)),
        ("simulate", json!(true)),
        ("preview_only", json!(true)),
        ("max_deletions", json!(1)),
    ];
    let (key, value) = rng.choice(&options)?;
    seed.tool().parameter(key).is_null().then(|| Spoilt::ask(seed, with(seed, key, value.clone()).to_string()))
}

fn wrapped(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let key = *rng.choice(&["arguments", "parameters", "input", "args", "params"])?;
    seed.tool().parameter(key).is_null().then_some(())?;
    mendable(seed, json!({key: seed.arguments}))
}

fn value_wrapped(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| {
        (value.is_string() && tool.is_only(key, "string")) || (value.is_number() && is_numeric(tool, key))
    })?;
    mendable(seed, with(seed, key, json!({"value": value})))
}

fn null_optional(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let absent: Vec<&str> =
        seed.tool().keys().filter(|key| !seed.tool().requires(key) && seed.arguments[*key].is_null()).collect();
    let key = *rng.choice(&absent)?;
    mendable(seed, with(seed, key, Value::Null))
}

fn null_required(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, _| tool.requires(key))?;
    hopeless(seed, with(seed, key, Value::Null))
}

fn chosen(seed: &Seed, key: &str) -> bool {
    seed.tool().parameter(key)["enum"].as_array().is_some_and(|choices| choices.iter().all(Value::is_string))
}

fn choice_case(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |_, key, _| chosen(seed, key))?;
    let text = value.as_str()?;
    let other = match rng.u8(..3) {
        0 => text.to_uppercase(),
        1 => capital(text),
        _ => format!(" {text} "),
    };
    mendable(seed, with(seed, key, other.into()))
}

fn unknown_choice(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |_, key, _| chosen(seed, key))?;
    hopeless(seed, with(seed, key, (*rng.choice(&["other", "default", "auto-detect", "none of these"])?).into()))
}

fn whole(seed: &Seed, key: &str, value: &Value) -> bool {
    value.is_i64() && seed.tool().is_only(key, "integer")
}

fn whole_float(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |_, key, value| whole(seed, key, value))?;
    Some(Spoilt::of(seed, with(seed, key, value.as_f64()?.into()).to_string()))
}

fn broken_float(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |_, key, value| whole(seed, key, value))?;
    hopeless(seed, with(seed, key, (value.as_f64()? + 0.7).into()))
}

fn out_of_range(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) =
        member(rng, seed, |tool, key, value| value.is_number() && tool.parameter(key)["maximum"].is_number())?;
    let most = seed.tool().parameter(key)["maximum"].as_i64()?;
    hopeless(seed, with(seed, key, most.checked_add(1 + rng.i64(..50))?.into()))
}

fn missing(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, _| tool.requires(key))?;
    let mut spoilt = seed.arguments.clone();
    spoilt.as_object_mut()?.remove(key);
    hopeless(seed, spoilt)
}

fn unit(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| value.is_number() && is_numeric(tool, key))?;
    hopeless(seed, with(seed, key, format!("{value}{}", rng.choice(&["s", "px", " ms", "%", " lines"])?).into()))
}

fn echoed(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, _) = member(rng, seed, |tool, key, _| tool.is_only(key, "string"))?;
    let value = if rng.bool() { json!({"type": "string"}) } else { json!({"type": "string", "description": "it"}) };
    hopeless(seed, with(seed, key, value))
}

fn positional(_: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let values: Vec<Value> = seed.arguments.as_object()?.values().cloned().collect();
    hopeless(seed, values.into())
}

fn index_map(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (key, value) = member(rng, seed, |tool, key, value| {
        tool.is_only(key, "array") && value.as_array().is_some_and(|items| items.len() > 1)
    })?;
    let map = value.as_array()?.iter().enumerate().map(|(at, item)| (at.to_string(), item.clone())).collect();
    mendable(seed, with(seed, key, Value::Object(map)))
}
