//! What a case is, which classes there are, and when an outcome is right.

use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    cut, name, shape, syntax, text,
    tokens::{self, Style, Token},
    tools::Offer,
    values::{self, same},
};

/// A valid call to be spoilt.
pub struct Seed {
    pub offer: Offer,
    /// Which of the tools on offer.
    pub at: usize,
    pub arguments: Value,
}

impl Seed {
    pub fn tool(&self) -> &super::tools::Tool {
        &self.offer[self.at]
    }

    pub fn tokens(&self) -> Vec<Token> {
        tokens::of(&self.arguments)
    }

    /// A call of another tool beside it.
    pub fn other(&self, rng: &mut Rng) -> Option<Seed> {
        (0..8).find_map(|_| {
            let at = rng.usize(..self.offer.len());
            let arguments = values::arguments(rng, &self.offer[at])?;
            Some(Seed { offer: self.offer.clone(), at, arguments })
        })
    }

    pub fn call(&self) -> (String, Value) {
        (self.tool().name.clone(), self.arguments.clone())
    }
}

/// What came over the wire.
#[derive(Debug, Clone)]
pub enum Wire {
    Call { name: String, arguments: String },
    Text { text: String, dialect: &'static str, family: &'static str, finish: &'static str },
}

/// What must come of it.
#[derive(Debug, Clone)]
pub enum Truth {
    /// The very call, byte for byte.
    Untouched,
    /// These calls, and this text beside them.
    Calls(Vec<(String, Value)>, &'static str),
    /// Nothing is executed: the model is asked again, or is told that there was no call.
    Ask,
    /// The call, or nothing.
    CallOrAsk(String, Value),
}

/// A spoilt call and its truth.
#[derive(Debug, Clone)]
pub struct Spoilt {
    pub wire: Wire,
    pub truth: Truth,
}

impl Spoilt {
    /// Faulty arguments of which exactly one reading is right.
    pub fn of(seed: &Seed, arguments: String) -> Self {
        let (name, value) = seed.call();
        Spoilt { wire: Wire::Call { name: name.clone(), arguments }, truth: Truth::Calls(vec![(name, value)], "") }
    }

    /// Arguments that must not be executed.
    pub fn ask(seed: &Seed, arguments: String) -> Self {
        Spoilt { truth: Truth::Ask, ..Spoilt::of(seed, arguments) }
    }

    /// Arguments that may be mended to the right call or asked for again.
    pub fn either(seed: &Seed, arguments: String) -> Self {
        let (name, value) = seed.call();
        Spoilt { truth: Truth::CallOrAsk(name, value), ..Spoilt::of(seed, arguments) }
    }
}

/// What kinds of fault there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Valid,
    Syntax,
    Cut,
    Shape,
    Name,
    Text,
}

/// One class of fault.
#[derive(Clone, Copy)]
pub struct Class {
    pub group: Group,
    pub name: &'static str,
    /// `V` valid; `A` to be mended without loss; `B` to be mended if the reading is the only one; `R` to be asked again;
    /// `E` either.
    pub policy: char,
    /// `None` when this call cannot be spoilt so.
    pub spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>,
}

/// All classes.
pub fn classes() -> Vec<Class> {
    let valid = [
        Class { group: Group::Valid, name: "as a model writes it", policy: 'V', spoil: valid },
        Class { group: Group::Valid, name: "with escapes and spaces", policy: 'V', spoil: escaped },
    ];
    [&valid, syntax::CLASSES, cut::CLASSES, shape::CLASSES, name::CLASSES, text::CLASSES].concat()
}

fn valid(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let arguments = tokens::write(&seed.tokens(), Style::any(rng));
    Some(Spoilt { truth: Truth::Untouched, ..Spoilt::of(seed, arguments) })
}

fn escaped(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let mut tokens = seed.tokens();
    for token in &mut tokens {
        token.text = token.text.replace('/', "\\/").replace('é', "\\u00e9").replace('🚀', "\\ud83d\\ude80");
        token.text.push_str(rng.choice(&["", " ", "\n", "\t "])?);
    }
    let arguments = tokens::write(&tokens, Style::Compact);
    Some(Spoilt { truth: Truth::Untouched, ..Spoilt::of(seed, arguments) })
}

/// What a contender made of a case.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub accepted: bool,
    /// Whether it says that nothing had to be changed.
    pub exact: bool,
    /// Names, and arguments as text.
    pub calls: Vec<(String, String)>,
    pub text: String,
    pub nanoseconds: Option<u64>,
}

/// How an outcome is to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Right,
    /// Asked again where a call could be had.
    Asked,
    /// Something else is executed than was meant.
    Wrong,
    /// It is the right tool's name that was missed.
    WrongTool,
}

pub fn mark(truth: &Truth, wire: &Wire, outcome: &Outcome) -> Mark {
    let parsed = || outcome.calls.iter().map(|(name, text)| (name, serde_json::from_str(text).unwrap_or(json!(null))));
    let are = |wanted: &[(String, Value)]| {
        let fit = |((name, value), (other, wanted)): ((&String, Value), &(String, Value))| {
            name == other && same(&value, wanted)
        };
        outcome.calls.len() == wanted.len() && parsed().zip(wanted).all(fit)
    };
    let missed = |wanted: &[(String, Value)]| {
        let other = parsed().zip(wanted).any(|((name, _), (wanted, _))| name != wanted);
        if other { Mark::WrongTool } else { Mark::Wrong }
    };
    let nothing = !outcome.accepted || outcome.calls.is_empty();
    match (truth, wire) {
        (Truth::Untouched, Wire::Call { name, arguments }) => {
            let same = outcome.calls.first().is_some_and(|call| call.0 == *name && call.1 == *arguments);
            match (nothing, same && outcome.exact) {
                (true, _) => Mark::Asked,
                (_, true) => Mark::Right,
                _ => Mark::Wrong,
            }
        }
        (Truth::Ask, _) if nothing => Mark::Right,
        (Truth::Calls(..), _) if nothing => Mark::Asked,
        (Truth::CallOrAsk(..), _) if nothing => Mark::Right,
        (Truth::Calls(wanted, text), _) if are(wanted) && outcome.text.contains(text) => Mark::Right,
        (Truth::Calls(wanted, _), _) => missed(wanted),
        (Truth::CallOrAsk(name, value), _) => {
            let wanted = [(name.clone(), value.clone())];
            if are(&wanted) { Mark::Right } else { missed(&wanted) }
        }
        (Truth::Ask | Truth::Untouched, _) => Mark::Wrong,
    }
}
