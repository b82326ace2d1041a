//! Calls by a name that is not on offer.

use fastrand::Rng;

use super::cases::{Class, Group, Seed, Spoilt, Truth, Wire};

const fn class(name: &'static str, policy: char, spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>) -> Class {
    Class { group: Group::Name, name, policy, spoil }
}

pub const CLASSES: &[Class] = &[
    class("known prefix", 'B', prefix),
    class("other case or separators", 'B', spelling),
    class("junk behind", 'B', junk),
    class("invented", 'R', invented),
    class("a prefix of several", 'R', shared_prefix),
    class("empty", 'R', empty),
    class("typo, of a tool that reads", 'B', typo_of_read),
    class("typo, of a tool that writes", 'R', typo_of_write),
    class("the opposite of a tool", 'R', opposite),
];

fn named(seed: &Seed, name: String) -> Option<Spoilt> {
    let taken = seed.offer.iter().any(|tool| tool.name == name);
    let Spoilt { truth, .. } = Spoilt::of(seed, String::new());
    let wire = Wire::Call { name, arguments: seed.arguments.to_string() };
    (!taken).then_some(Spoilt { wire, truth })
}

fn refused(seed: &Seed, name: String) -> Option<Spoilt> {
    named(seed, name).map(|spoilt| Spoilt { truth: Truth::Ask, ..spoilt })
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn prefix(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let prefix = rng.choice(&["functions.", "function.", "default_api.", "tools.", "mcp__server__", "tool:"])?;
    named(seed, format!("{prefix}{}", seed.tool().name))
}

fn spelling(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let name = &seed.tool().name;
    let words: Vec<&str> = name.split(['_', '-']).collect();
    let capital = |word: &&str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    let other = match rng.u8(..5) {
        0 => words.join("-"),
        1 => words.join("_"),
        2 => words.iter().map(capital).collect(),
        3 => words.iter().map(capital).collect::<Vec<_>>().join("-"),
        _ => name.to_uppercase(),
    };
    (seed.offer.iter().filter(|tool| plain(&tool.name) == plain(&other)).count() == 1).then_some(())?;
    named(seed, other)
}

fn junk(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let junk = rng.choice(&["<|channel|>commentary", "()", ":0", " ", "<|channel|>json", "\n", "<|message|>"])?;
    named(seed, format!("{}{junk}", seed.tool().name))
}

fn invented(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let name =
        *rng.choice(&["run_shell", "python", "browser_open_everything", "send_money", "final", "json_tool_call"])?;
    let near = seed.offer.iter().any(|tool| strsim::damerau_levenshtein(&tool.name, name) < 4);
    (!near).then(|| refused(seed, name.to_owned()))?
}

fn shared_prefix(_: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let stem = seed.tool().name.split('_').next()?.to_owned();
    let several = seed.offer.iter().filter(|tool| tool.name.starts_with(&stem)).count() > 1;
    several.then(|| refused(seed, stem))?
}

fn empty(_: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    refused(seed, String::new())
}

/// A name with one letter wrong, near to no other tool.
fn typo(rng: &mut Rng, seed: &Seed) -> Option<String> {
    let name = &seed.tool().name;
    (name.len() >= 8 && name.is_ascii()).then_some(())?;
    let at = rng.usize(1..name.len() - 1);
    let typo = match rng.u8(..3) {
        0 => format!("{}{}", &name[..at], &name[at + 1..]),
        1 => format!("{}{}{}", &name[..at], &name[at..=at], &name[at..]),
        _ => format!("{}{}{}{}", &name[..at], &name[at + 1..at + 2], &name[at..=at], &name[at + 2..]),
    };
    let near = seed.offer.iter().filter(|tool| strsim::damerau_levenshtein(&tool.name, &typo) <= 3).count();
    (near == 1 && plain(&typo) != plain(name)).then_some(typo)
}

fn typo_of_read(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let typo = typo(rng, seed).filter(|_| seed.tool().only_reads())?;
    named(seed, typo)
}

fn typo_of_write(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let typo = typo(rng, seed).filter(|_| !seed.tool().only_reads())?;
    refused(seed, typo)
}

fn opposite(_: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let pairs = [
        ("add", "remove"),
        ("start", "stop"),
        ("create", "delete"),
        ("enable", "disable"),
        ("open", "close"),
        ("get", "set"),
    ];
    let name = &seed.tool().name;
    let turned = pairs
        .iter()
        .flat_map(|(a, b)| [(a, b), (b, a)])
        .find(|(word, _)| name.split(['_', '-']).any(|it| it == **word));
    refused(seed, turned.map(|(word, other)| name.replace(word, other))?)
}
