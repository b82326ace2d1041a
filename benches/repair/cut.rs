//! Calls that were cut off: nothing of them may ever be executed.

use fastrand::Rng;

use super::{
    cases::{Class, Group, Seed, Spoilt},
    tokens::{self, Kind, Style, Token, places},
};

const fn class(name: &'static str, spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>) -> Class {
    Class { group: Group::Cut, name, policy: 'R', spoil }
}

pub const CLASSES: &[Class] = &[
    class("cut in a text", in_text),
    class("cut in a key or behind its colon", in_key),
    class("cut in a number", in_number),
    class("cut behind a comma", behind_comma),
    class("cut in a word", in_word),
    class("cut anywhere in a call in text", in_call_text),
];

fn ends(rng: &mut Rng, seed: &Seed, tokens: &[Token], end: &str) -> Option<Spoilt> {
    Some(Spoilt::ask(seed, tokens::write(tokens, Style::any(rng)).trim_end().to_owned() + end))
}

fn in_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| token.says.chars().count() > 3);
    let at = *rng.choice(&texts)?;
    let text = &tokens[at].text;
    let middle: Vec<usize> = text.char_indices().map(|(at, _)| at).skip(2).collect();
    let end = *rng.choice(&middle)?;
    ends(rng, seed, &tokens[..at], &text[..end])
}

fn in_key(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let tokens = seed.tokens();
    let keys = places(&tokens, Kind::Key, |_, token| token.says.len() > 2 && token.says.is_ascii());
    let at = *rng.choice(&keys)?;
    let end = match rng.u8(..3) {
        0 => tokens[at].text[..rng.usize(1..tokens[at].text.len() - 1)].to_owned(),
        1 => tokens[at].text.clone(),
        _ => format!("{}:", tokens[at].text),
    };
    ends(rng, seed, &tokens[..at], &end)
}

fn in_number(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let tokens = seed.tokens();
    let numbers = places(&tokens, Kind::Number, |_, _| true);
    let at = *rng.choice(&numbers)?;
    let end = rng.usize(1..=tokens[at].text.len());
    ends(rng, seed, &tokens[..at], &tokens[at].text[..end])
}

fn behind_comma(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let tokens = seed.tokens();
    let commas = places(&tokens, Kind::Comma, |_, _| true);
    let at = *rng.choice(&commas)?;
    let space = *rng.choice(&["", " ", "\n"])?;
    ends(rng, seed, &tokens[..=at], space)
}

fn in_word(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let tokens = seed.tokens();
    let words = places(&tokens, Kind::Word, |_, _| true);
    let at = *rng.choice(&words)?;
    let end = rng.usize(1..tokens[at].text.len());
    ends(rng, seed, &tokens[..at], &tokens[at].text[..end])
}

fn in_call_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    super::text::cut(rng, seed)
}
