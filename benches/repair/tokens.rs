//! JSON as a list of tokens, so that faults can be put into exact places.

use fastrand::Rng;
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Open,
    Close,
    Comma,
    Colon,
    Key,
    Text,
    Number,
    /// `true`, `false`, `null`.
    Word,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    /// As it will be written.
    pub text: String,
    /// What a key or a text says.
    pub says: String,
    /// Brackets around it; those of the whole not counted for themselves.
    pub depth: usize,
}

/// How much space is written between tokens.
#[derive(Debug, Clone, Copy)]
pub enum Style {
    Compact,
    Spaced,
    Pretty,
}

impl Style {
    pub fn any(rng: &mut Rng) -> Self {
        *rng.choice(&[Style::Compact, Style::Spaced, Style::Spaced, Style::Pretty]).unwrap()
    }
}

pub fn of(value: &Value) -> Vec<Token> {
    let mut tokens = Vec::new();
    add(&mut tokens, value, 0);
    tokens
}

fn add(tokens: &mut Vec<Token>, value: &Value, depth: usize) {
    let token = |kind, text: &str, depth| Token { kind, text: text.to_owned(), says: String::new(), depth };
    match value {
        Value::Object(members) => {
            tokens.push(token(Kind::Open, "{", depth));
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    tokens.push(token(Kind::Comma, ",", depth + 1));
                }
                tokens.push(Token { says: key.clone(), ..token(Kind::Key, &quoted(key), depth + 1) });
                tokens.push(token(Kind::Colon, ":", depth + 1));
                add(tokens, value, depth + 1);
            }
            tokens.push(token(Kind::Close, "}", depth));
        }
        Value::Array(items) => {
            tokens.push(token(Kind::Open, "[", depth));
            for (at, value) in items.iter().enumerate() {
                if at > 0 {
                    tokens.push(token(Kind::Comma, ",", depth + 1));
                }
                add(tokens, value, depth + 1);
            }
            tokens.push(token(Kind::Close, "]", depth));
        }
        Value::String(text) => tokens.push(Token { says: text.clone(), ..token(Kind::Text, &quoted(text), depth) }),
        Value::Number(number) => tokens.push(token(Kind::Number, &number.to_string(), depth)),
        word => tokens.push(token(Kind::Word, &word.to_string(), depth)),
    }
}

pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The tokens as text.
pub fn write(tokens: &[Token], style: Style) -> String {
    let mut out = String::new();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    for (at, token) in tokens.iter().enumerate() {
        let empty = at > 0 && tokens[at - 1].kind == Kind::Open;
        if matches!(style, Style::Pretty) && token.kind == Kind::Close && !empty {
            line(&mut out, token.depth);
        }
        out.push_str(&token.text);
        let closes = tokens.get(at + 1).is_none_or(|next| next.kind == Kind::Close);
        match (style, token.kind) {
            (Style::Pretty, Kind::Comma) if !closes => line(&mut out, token.depth),
            (Style::Pretty, Kind::Open) if !closes => line(&mut out, token.depth + 1),
            (Style::Spaced | Style::Pretty, Kind::Colon) | (Style::Spaced, Kind::Comma) if !closes => out.push(' '),
            _ => {}
        }
    }
    out
}

/// Where tokens of a kind stand that `fits`.
pub fn places(tokens: &[Token], kind: Kind, fits: impl Fn(usize, &Token) -> bool) -> Vec<usize> {
    let of_kind = tokens.iter().enumerate().filter(|(_, token)| token.kind == kind);
    of_kind.filter(|(at, token)| fits(*at, token)).map(|(at, _)| at).collect()
}
