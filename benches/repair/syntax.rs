//! Arguments that are no JSON, though everything is there.

use fastrand::Rng;

use super::{
    cases::{Class, Group, Seed, Spoilt},
    tokens::{self, Kind, Style, Token, places, quoted},
};

const fn class(name: &'static str, policy: char, spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>) -> Class {
    Class { group: Group::Syntax, name, policy, spoil }
}

pub const CLASSES: &[Class] = &[
    class("trailing comma", 'A', trailing_comma),
    class("single quotes", 'A', single_quotes),
    class("keys without quotes", 'A', bare_keys),
    class("Python words", 'A', python_words),
    class("comma missing", 'A', missing_comma),
    class("closers missing", 'B', missing_closers),
    class("closers too many", 'A', extra_closers),
    class("code fence", 'A', fence),
    class("prose around", 'B', prose),
    class("comments", 'A', comments),
    class("raw newline in text", 'A', raw_newline),
    class("escape that is none", 'A', bad_escape),
    class("escaped apostrophe", 'A', escaped_apostrophe),
    class("quotes in prose", 'B', inner_quotes),
    class("quotes before structure", 'E', structural_quotes),
    class("encoded twice", 'A', encoded_twice),
    class("curly quotes", 'A', curly_quotes),
    class("colon missing", 'B', missing_colon),
    class("= or => for colon", 'A', arrows),
    class("+5, .5, 5.", 'A', odd_numbers),
    class("NaN", 'R', nan),
    class("key twice, same value", 'A', same_twice),
    class("key twice, other value", 'R', other_twice),
    class("object twice", 'A', object_twice),
    class("two different objects", 'R', two_objects),
    class("opener missing", 'A', missing_opener),
    class("key's opening quote missing", 'A', missing_key_quote),
    class("value's closing quote missing", 'B', missing_value_quote),
    class("byte order mark, odd spaces", 'A', odd_spaces),
    class("content elided", 'R', elided),
    class("no arguments", 'E', empty),
    class("special token behind", 'A', special_token),
    class("texts joined by +", 'A', joined),
    class("backticks", 'A', backticks),
    class("backticks with ${}", 'R', template),
    class("text without quotes", 'B', bare_text),
    class("HTML entities", 'A', entities),
    class("wrapped in a call", 'A', wrapped),
    class("] for }", 'A', wrong_closer),
    class("inner closer missing", 'B', inner_closer),
];

fn done(rng: &mut Rng, seed: &Seed, tokens: &[Token]) -> Option<Spoilt> {
    Some(Spoilt::of(seed, tokens::write(tokens, Style::any(rng))))
}

fn plain(rng: &mut Rng, seed: &Seed) -> String {
    tokens::write(&seed.tokens(), Style::any(rng))
}

fn insert(tokens: &mut Vec<Token>, at: usize, kind: Kind, text: &str) {
    tokens.insert(at, Token { kind, text: text.to_owned(), says: String::new(), depth: 1 });
}

fn trailing_comma(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let closers = places(&tokens, Kind::Close, |at, _| tokens[at - 1].kind != Kind::Open);
    insert(&mut tokens, *rng.choice(&closers)?, Kind::Comma, ",");
    done(rng, seed, &tokens)
}

fn single_quotes(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    for token in tokens.iter_mut().filter(|it| matches!(it.kind, Kind::Key | Kind::Text)) {
        let inner = quoted(&token.says).replace("\\\"", "\"").replace('\'', "\\'");
        token.text = format!("'{}'", &inner[1..inner.len() - 1]);
    }
    done(rng, seed, &tokens)
}

fn bare_keys(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let keys = places(&tokens, Kind::Key, |_, token| plain(&token.says));
    rng.choice(&keys)?;
    keys.iter().for_each(|at| tokens[*at].text = tokens[*at].says.clone());
    done(rng, seed, &tokens)
}

fn python_words(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let words = places(&tokens, Kind::Word, |_, _| true);
    rng.choice(&words)?;
    for at in words {
        tokens[at].text = match &*tokens[at].text {
            "true" => "True".to_owned(),
            "false" => "False".to_owned(),
            _ => "None".to_owned(),
        };
    }
    done(rng, seed, &tokens)
}

fn missing_comma(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let between = |at: usize| tokens[at + 1].kind == Kind::Key && tokens[at - 1].kind != Kind::Number;
    let commas = places(&tokens, Kind::Comma, |at, _| between(at));
    tokens[*rng.choice(&commas)?].text = String::new();
    Some(Spoilt::of(seed, tokens::write(&tokens, if rng.bool() { Style::Spaced } else { Style::Pretty })))
}

fn missing_closers(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let closers = tokens.iter().rev().take_while(|token| token.kind == Kind::Close).count();
    let dropped = rng.usize(1..=closers);
    tokens.truncate(tokens.len() - dropped);
    let last = tokens.last()?;
    matches!(last.kind, Kind::Text | Kind::Close).then(|| Spoilt::of(seed, tokens::write(&tokens, Style::Spaced)))
}

fn extra_closers(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    Some(Spoilt::of(seed, plain(rng, seed) + rng.choice(&["}", "}}", "]", " }", "\n}"])?))
}

fn fence(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let opening = rng.choice(&["```json\n", "```\n", "```JSON\n"])?;
    Some(Spoilt::of(seed, format!("{opening}{}\n```", plain(rng, seed))))
}

fn prose(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let (before, after) = *rng.choice(&[
        ("Sure, here are the arguments: ", ""),
        ("", "\n\nLet me know if you need anything else."),
        ("I'll call the tool with:\n", "\nDone."),
        ("Arguments: ", ""),
    ])?;
    Some(Spoilt::of(seed, format!("{before}{}{after}", plain(rng, seed))))
}

fn comments(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let commas = places(&tokens, Kind::Comma, |_, _| true);
    let opener = [0];
    let at = *rng.choice(if commas.is_empty() { &opener } else { &commas[..] })?;
    tokens[at].text.push_str(rng.choice(&[" /* as asked */ ", " // as asked\n", " /* a, \"b\" */ "])?);
    done(rng, seed, &tokens)
}

fn raw_newline(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| token.says.contains(['\n', '\t']));
    rng.choice(&texts)?;
    for at in texts {
        // An escaped backslash before an n is none of ours.
        tokens[at].text = quoted(&tokens[at].says.replace('\n', "\u{1}").replace('\t', "\u{2}"));
        tokens[at].text = tokens[at].text.replace("\\u0001", "\n").replace("\\u0002", "\t");
    }
    done(rng, seed, &tokens)
}

fn bad_escape(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let odd = |text: &str| {
        let after: Vec<char> = text.split('\\').skip(1).filter_map(|rest| rest.chars().next()).collect();
        !after.is_empty()
            && after.len() == text.matches('\\').count()
            && !after.iter().any(|c| "\"\\/bfnrtu".contains(*c))
    };
    let texts = places(&tokens, Kind::Text, |_, token| odd(&token.says));
    let at = *rng.choice(&texts)?;
    tokens[at].text = quoted(&tokens[at].says.replace('\\', "\u{1}")).replace("\\u0001", "\\");
    done(rng, seed, &tokens)
}

fn escaped_apostrophe(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| token.says.contains('\''));
    let at = *rng.choice(&texts)?;
    tokens[at].text = tokens[at].text.replace('\'', "\\'");
    done(rng, seed, &tokens)
}

/// The seed with a text changed to `says`, its token written as `text`.
fn with_text(rng: &mut Rng, seed: &Seed, says: &str, text: &str) -> Option<Spoilt> {
    let tool = seed.tool();
    let free = |key: &&str| tool.parameter(key)["type"] == "string" && seed.arguments[*key].is_string();
    let keys: Vec<&str> = tool.keys().filter(free).collect();
    let key = (*rng.choice(&keys)?).to_owned();
    let mut arguments = seed.arguments.clone();
    arguments[&key] = says.into();
    tool.accepts(&arguments).then_some(())?;
    let seed = Seed { offer: seed.offer.clone(), at: seed.at, arguments };
    let mut tokens = seed.tokens();
    let at = tokens.iter().position(|token| token.kind == Kind::Key && token.depth == 1 && token.says == key)?;
    tokens[at + 2].text = text.to_owned();
    done(rng, &seed, &tokens)
}

fn inner_quotes(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let says = *rng.choice(&[
        "the \"new\" one is better",
        "press \"Save as\" and then wait",
        "call it \"draft\" until \"final\" is set",
        "a so-called \"quick fix\" again",
    ])?;
    with_text(rng, seed, says, &format!("\"{says}\""))
}

fn structural_quotes(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let says = *rng.choice(&["say \"a\", \"b\" and \"c\"", "set \"x\": 1", "ends in \"quotes\""])?;
    let Spoilt { wire, truth } = with_text(rng, seed, says, &format!("\"{says}\""))?;
    let super::cases::Truth::Calls(mut calls, _) = truth else { return None };
    let (name, value) = calls.pop()?;
    Some(Spoilt { wire, truth: super::cases::Truth::CallOrAsk(name, value) })
}

fn encoded_twice(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    Some(Spoilt::of(seed, quoted(&plain(rng, seed))))
}

fn curly_quotes(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    for token in tokens.iter_mut().filter(|it| matches!(it.kind, Kind::Key | Kind::Text)) {
        token.text = format!("“{}”", &token.text[1..token.text.len() - 1].replace("\\\"", "\""));
        (!token.says.contains(['“', '”', '\\', '"'])).then_some(())?;
    }
    done(rng, seed, &tokens)
}

fn missing_colon(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let colons = places(&tokens, Kind::Colon, |_, token| token.depth == 1);
    tokens[*rng.choice(&colons)?].text = String::new();
    Some(Spoilt::of(seed, tokens::write(&tokens, Style::Spaced)))
}

fn arrows(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let arrow = *rng.choice(&["=", " =>", " ="])?;
    tokens.iter_mut().filter(|it| it.kind == Kind::Colon).for_each(|it| it.text = arrow.to_owned());
    done(rng, seed, &tokens)
}

fn odd_numbers(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let numbers = places(&tokens, Kind::Number, |_, token| !token.text.starts_with('-'));
    let at = *rng.choice(&numbers)?;
    let text = &tokens[at].text;
    tokens[at].text = match (text.contains('.'), rng.bool()) {
        (false, false) => format!("{text}."),
        _ if text.starts_with("0.") => text[1..].to_owned(),
        _ => format!("+{text}"),
    };
    done(rng, seed, &tokens)
}

fn nan(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let numbers = places(&tokens, Kind::Number, |_, _| true);
    tokens[*rng.choice(&numbers)?].text = (*rng.choice(&["NaN", "Infinity", "-Infinity"])?).to_owned();
    Some(Spoilt::ask(seed, tokens::write(&tokens, Style::any(rng))))
}

/// The member that begins at this key: from the key to before the comma or closer.
fn member(tokens: &[Token], key: usize) -> &[Token] {
    let depth = tokens[key].depth;
    let ends = |token: &Token| {
        (token.kind == Kind::Comma && token.depth == depth) || (token.kind == Kind::Close && token.depth < depth)
    };
    let length = tokens[key..].iter().position(ends).unwrap_or(tokens.len() - key);
    &tokens[key..key + length]
}

fn again(rng: &mut Rng, seed: &Seed, change: impl Fn(&mut Vec<Token>) -> Option<()>) -> Option<String> {
    let mut tokens = seed.tokens();
    let keys = places(&tokens, Kind::Key, |_, token| token.depth == 1);
    let mut copy = member(&tokens, *rng.choice(&keys)?).to_vec();
    change(&mut copy)?;
    let end = tokens.len() - 1;
    insert(&mut tokens, end, Kind::Comma, ",");
    tokens.splice(end + 1..end + 1, copy);
    Some(tokens::write(&tokens, Style::any(rng)))
}

fn same_twice(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    Some(Spoilt::of(seed, again(rng, seed, |_| Some(()))?))
}

fn other_twice(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let arguments = again(rng, seed, |copy| {
        let last = copy.iter_mut().find(|it| matches!(it.kind, Kind::Text | Kind::Number))?;
        last.text =
            if last.kind == Kind::Text { quoted(&format!("{}2", last.says)) } else { format!("{}1", last.text) };
        Some(())
    })?;
    Some(Spoilt::ask(seed, arguments))
}

fn object_twice(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let once = plain(rng, seed);
    Some(Spoilt::of(seed, format!("{once}{}{once}", rng.choice(&["", "\n", " "])?)))
}

fn two_objects(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let other = super::values::arguments(rng, seed.tool()).filter(|other| *other != seed.arguments)?;
    Some(Spoilt::ask(seed, format!("{}{}{other}", seed.arguments, rng.choice(&["", "\n", ", "])?)))
}

fn missing_opener(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    Some(Spoilt::of(seed, plain(rng, seed)[1..].trim_start().to_owned()))
}

fn missing_key_quote(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let keys = places(&tokens, Kind::Key, |_, token| token.says.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
    let at = *rng.choice(&keys)?;
    tokens[at].text.remove(0);
    done(rng, seed, &tokens)
}

fn missing_value_quote(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let followed = |at: usize| tokens.get(at + 1).is_some_and(|it| it.kind == Kind::Comma) && tokens[at + 1].depth == 1;
    let plain = |token: &Token| !token.says.contains(['"', '\\', '\n']) && token.depth == 1;
    let texts = places(&tokens, Kind::Text, |at, token| followed(at) && plain(token));
    let at = *rng.choice(&texts)?;
    tokens[at].text.pop();
    done(rng, seed, &tokens)
}

fn odd_spaces(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let space = *rng.choice(&["\u{a0}", "\u{2003}", "\u{200b}", "\u{3000}"])?;
    tokens.iter_mut().filter(|it| matches!(it.kind, Kind::Colon | Kind::Comma)).for_each(|it| it.text.push_str(space));
    let mark = if rng.bool() { "\u{feff}" } else { "" };
    Some(Spoilt::of(seed, format!("{mark}{}", tokens::write(&tokens, Style::Compact))))
}

fn elided(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let end = tokens.len() - 1;
    let text = *rng.choice(&[", ...", ", …", ", /* rest unchanged */ ...", ", ... }"])?;
    insert(&mut tokens, end, Kind::Comma, text);
    Some(Spoilt::ask(seed, tokens::write(&tokens, Style::any(rng))))
}

fn empty(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let arguments = (*rng.choice(&["", " ", "\n"])?).to_owned();
    let nothing = serde_json::json!({});
    if !seed.tool().accepts(&nothing) {
        return Some(Spoilt::ask(seed, arguments));
    }
    let seed = Seed { offer: seed.offer.clone(), at: seed.at, arguments: nothing };
    Some(Spoilt::of(&seed, arguments))
}

fn special_token(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let token =
        rng.choice(&["<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>", "<|eom_id|>", "<|end|>", "<end_of_turn>"])?;
    Some(Spoilt::of(seed, plain(rng, seed) + token))
}

fn joined(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| token.says.chars().count() > 4);
    let at = *rng.choice(&texts)?;
    let half = tokens[at].says.char_indices().nth(3)?.0;
    let (a, b) = tokens[at].says.split_at(half);
    tokens[at].text = format!("{} + {}", quoted(a), quoted(b));
    done(rng, seed, &tokens)
}

fn backticks(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| !token.says.contains(['`', '\\', '$']));
    let at = *rng.choice(&texts)?;
    tokens[at].text = format!("`{}`", tokens[at].says);
    done(rng, seed, &tokens)
}

fn template(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let texts = places(&tokens, Kind::Text, |_, token| !token.says.contains(['`', '\\', '$']));
    let at = *rng.choice(&texts)?;
    tokens[at].text = format!("`{}${{name}}`", tokens[at].says);
    Some(Spoilt::ask(seed, tokens::write(&tokens, Style::any(rng))))
}

fn bare_text(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let odd = |text: &str| {
        text.is_empty()
            || text.contains(['"', '\'', '\\', '\n', ',', '{', '}', '[', ']', ':', '`', '#'])
            || text.trim() != text
    };
    let only = |at: usize| at >= 2 && tokens[at - 2].depth == 1 && seed.tool().is_only(&tokens[at - 2].says, "string");
    let says = |text: &str| text.chars().next().is_some_and(|c| c.is_alphabetic() || c == '/' || c == '.');
    let word = |text: &str| ["true", "false", "null"].contains(&text);
    let texts = places(&tokens, Kind::Text, |at, it| {
        it.depth == 1 && only(at) && !odd(&it.says) && says(&it.says) && !word(&it.says)
    });
    let at = *rng.choice(&texts)?;
    tokens[at].text = tokens[at].says.clone();
    done(rng, seed, &tokens)
}

fn entities(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let text = plain(rng, seed);
    (!text.contains(['&', '<', '>', '\''])).then_some(())?;
    Some(Spoilt::of(seed, text.replace('"', "&quot;")))
}

fn wrapped(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let end = rng.choice(&[")", ");"])?;
    Some(Spoilt::of(seed, format!("{}({}{end}", seed.tool().name, plain(rng, seed))))
}

fn wrong_closer(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let closers = places(&tokens, Kind::Close, |_, _| true);
    let at = *rng.choice(&closers)?;
    tokens[at].text = if tokens[at].text == "}" { "]" } else { "}" }.to_owned();
    done(rng, seed, &tokens)
}

fn inner_closer(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    let next_is_key = |at: usize| {
        tokens.get(at + 1).is_some_and(|it| it.kind == Kind::Comma && it.depth == 1)
            && tokens.get(at + 2).is_some_and(|it| it.kind == Kind::Key)
    };
    // A list of which nothing is there may have lost more than its end.
    let filled = |at: usize| tokens[at - 1].kind != Kind::Open;
    let closers =
        places(&tokens, Kind::Close, |at, it| it.depth == 1 && it.text == "]" && next_is_key(at) && filled(at));
    tokens.remove(*rng.choice(&closers)?);
    done(rng, seed, &tokens)
}
