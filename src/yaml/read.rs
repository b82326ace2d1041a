//! From the tree to typed values, collecting what is wrong.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde_json::{Map, Number, Value};

use super::{
    Content, Key, Node, Place, Problem, Problems, Style,
    form::{Tape, Wish, address},
    nearest, units,
};
use crate::run::NanoDollars;

/// Faults that are kept. Enough for the first [`Problems::MAX`] in the order of the text to be found among them, and
/// few enough that a file made of nothing else costs little.
const KEPT_MAX: usize = 1000;

/// What is wrong so far. Its methods read a typed value from a node, or note why there is none and return `None`.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    /// How many were not kept.
    more: usize,
    /// What was wanted of each node; `None` unless somebody wants to know.
    tape: Option<Tape>,
}

#[derive(Debug)]
struct Fault {
    place: Place,
    message: String,
    /// Whether the path of the value belongs before the message.
    of_value: bool,
}

/// A map whose keys are known.
#[derive(Debug)]
pub struct Fields<'n> {
    place: Place,
    /// See [`address`].
    address: usize,
    /// `None` when it is no map at all.
    members: Option<&'n [(Key, Node)]>,
}

impl<'n> Fields<'n> {
    /// The value of a key; `None` when it is not there.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// The key itself and its value; `None` when it is not there.
    pub fn entry(&self, key: &str) -> Option<&'n (Key, Node)> {
        self.members?.iter().find(|(found, _)| found.text == key)
    }

    /// Where the map starts.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Faults {
    /// The same, keeping what is wanted of each node.
    pub(super) fn watched(self) -> Self {
        Faults { tape: Some(Tape::new()), ..self }
    }

    /// What was wanted.
    pub(super) fn tape(&mut self) -> Tape {
        self.tape.take().unwrap_or_default()
    }

    fn wants(&mut self, address: usize, wish: impl FnOnce() -> Wish) {
        if let Some(tape) = &mut self.tape {
            tape.entry(address).or_default().push(wish());
        }
    }

    /// Tells who watches that the text must match this, which the caller checks.
    pub fn shaped(&mut self, node: &Node, pattern: &'static str) {
        self.wants(address(node), || Wish::Pattern(pattern));
    }

    /// Tells who watches that the keys of this map must match this, which the caller checks.
    pub fn keyed(&mut self, node: &Node, pattern: &'static str) {
        self.wants(address(node), || Wish::Keys(pattern));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes a fault. The message is a fragment in lower case, without a full stop.
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.push(Fault { place, message: message.into(), of_value: false });
    }

    /// Notes a fault of a value; the path of the value will stand before the message.
    pub fn of(&mut self, node: &Node, message: impl Into<String>) {
        if matches!(node.content, Content::Scalar(_, Style::Refused)) {
            return;
        }
        self.push(Fault { place: node.place, message: message.into(), of_value: true });
    }

    fn push(&mut self, fault: Fault) {
        match self.list.len() {
            KEPT_MAX.. => self.more += 1,
            _ => self.list.push(fault),
        }
    }

    /// A map that may hold these keys and no others.
    pub fn fields<'n>(&mut self, node: &'n Node, known: &[&str]) -> Fields<'n> {
        self.wants(address(node), || Wish::Fields(known.iter().map(|key| (*key).to_owned()).collect()));
        let members = self.map(node);
        for (key, _) in
            members.unwrap_or_default().iter().filter(|(key, _)| !known.contains(&key.text.as_str())).take(KEPT_MAX)
        {
            let hint = match nearest(&key.text, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("the keys here are {}", known.join(", ")),
            };
            self.add(key.place, format!("unknown key {:?}; {hint}", clipped(&key.text)));
        }
        Fields { place: node.place, address: address(node), members }
    }

    /// The value of a key that must be there.
    pub fn required<'n>(&mut self, fields: &Fields<'n>, key: &str) -> Option<&'n Node> {
        self.wants(fields.address, || Wish::Required(key.to_owned()));
        self.needed(fields, key, "")
    }

    /// The same, with how the key could be written for who left it out.
    pub fn required_such<'n>(&mut self, fields: &Fields<'n>, key: &str, such: &str) -> Option<&'n Node> {
        self.wants(fields.address, || Wish::Required(key.to_owned()));
        self.needed(fields, key, &format!("; for example {such}"))
    }

    fn needed<'n>(&mut self, fields: &Fields<'n>, key: &str, hint: &str) -> Option<&'n Node> {
        let found = fields.get(key);
        if found.is_none() && fields.members.is_some() {
            // The whole map as place would underline nothing useful.
            let place = Place { end: fields.place.start, ..fields.place };
            self.push(Fault { place, message: format!("the key {key:?} is missing{hint}"), of_value: true });
        }
        found
    }

    /// A map with any keys.
    pub fn members<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        self.wants(address(node), || Wish::Members);
        self.map(node)
    }

    fn map<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.content {
            Content::Map(members) => Some(members),
            Content::List(_) => {
                self.of(
                    node,
                    "expected a map of keys and values, found a list; write key: value, without dashes and brackets",
                );
                None
            }
            _ => self.unexpected(node, "a map of keys and values"),
        }
    }

    /// A list.
    pub fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        self.wants(address(node), || Wish::List);
        match &node.content {
            Content::List(list) => Some(list),
            Content::Scalar(text, Style::Plain | Style::Quoted) if !text.is_empty() => {
                let found = found(node);
                self.of(node, format!("expected a list, found {found}; a list of one is written [{found}]"));
                None
            }
            _ => self.unexpected(node, "a list"),
        }
    }

    /// Text, as written: `1.10` and `no` stay what they are. Nothing is no text; `""` is.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        self.wants(address(node), Wish::text);
        match &node.content {
            Content::Scalar(text, _) if !node.is_nothing() => Some(text),
            _ => self.unexpected(node, "text"),
        }
    }

    /// `true` or `false`, and none of the other words for them.
    pub fn flag(&mut self, node: &Node) -> Option<bool> {
        self.wants(address(node), Wish::flag);
        let hint = match self.plain(node) {
            Some("true") => return Some(true),
            Some("false") => return Some(false),
            Some("yes" | "Yes" | "YES" | "on" | "On" | "ON" | "True" | "TRUE" | "y" | "1") => "; write true",
            Some("no" | "No" | "NO" | "off" | "Off" | "OFF" | "False" | "FALSE" | "n" | "0") => "; write false",
            _ if matches!(&node.content, Content::Scalar(text, Style::Quoted) if text == "true" || text == "false") => {
                "; leave the quotes out"
            }
            _ => "",
        };
        self.of(node, format!("expected true or false, found {}{hint}", found(node)));
        None
    }

    /// A whole number within bounds; `2_000_000` is fine, `010` and `1e3` are not.
    pub fn whole(&mut self, node: &Node, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.wants(address(node), || Wish::whole(&bounds));
        let number = self.plain(node).and_then(|text| {
            let grouped = !text.starts_with('_') && !text.ends_with('_') && !text.contains("__");
            let digits: String = text.chars().filter(|c| *c != '_').collect();
            let plain = grouped && digits.bytes().all(|byte| byte.is_ascii_digit());
            (plain && (digits.len() == 1 || !digits.starts_with('0'))).then(|| digits.parse::<u64>().ok())?
        });
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            Some(number) => {
                let (least, most) = (bounds.start(), bounds.end());
                let wish = match *most {
                    u64::MAX => format!("at least {least}"),
                    most => format!("{least} to {most}"),
                };
                self.of(node, format!("expected {wish}, found {number}"));
                None
            }
            None => {
                let wish = match &node.content {
                    Content::Scalar(_, Style::Quoted) => "a whole number without quotes",
                    _ => "a whole number",
                };
                self.unexpected(node, wish)
            }
        }
    }

    /// A number within bounds.
    pub fn number(&mut self, node: &Node, bounds: RangeInclusive<f64>) -> Option<f64> {
        self.wants(address(node), || Wish::number(&bounds));
        let number = self.plain(node).and_then(|text| match json_number(text) {
            Some(Ok(number)) => number.as_f64(),
            _ => None,
        });
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            _ => self.unexpected(node, &format!("a number from {} to {}", bounds.start(), bounds.end())),
        }
    }

    /// A duration above zero and up to a year, as people write it.
    pub fn duration(&mut self, node: &Node) -> Option<Duration> {
        self.wants(address(node), Wish::duration);
        /// Longer ones are slips of the pen.
        const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        match self.scalar(node).and_then(units::duration) {
            Some(duration) if duration.is_zero() || duration > MAX => {
                self.unexpected(node, "more than nothing and at most a year")
            }
            Some(duration) => Some(duration),
            None => self.unexpected(node, "a duration with its unit, such as 30s or 1h 30m"),
        }
    }

    /// A number of bytes within bounds, as people write it.
    pub fn bytes(&mut self, node: &Node, bounds: RangeInclusive<u64>) -> Option<u64> {
        self.wants(address(node), || Wish::bytes(&bounds));
        match self.scalar(node).and_then(units::bytes) {
            Some(bytes) if bounds.contains(&bytes) => Some(bytes),
            Some(_) => {
                let show = |bytes: &u64| bytesize::ByteSize(*bytes).to_string();
                self.unexpected(node, &format!("{} to {}", show(bounds.start()), show(bounds.end())))
            }
            None => self.unexpected(node, "a size, such as 64KiB"),
        }
    }

    /// An amount of money.
    pub fn money(&mut self, node: &Node) -> Option<NanoDollars> {
        self.wants(address(node), Wish::money);
        match self.scalar(node).and_then(units::money) {
            Some(money) => Some(money),
            None => self.unexpected(node, "an amount in dollars, such as $1.50"),
        }
    }

    /// An amount in dollars where the sign goes without saying: `1.50` as well as `$1.50`.
    pub fn dollars(&mut self, node: &Node) -> Option<NanoDollars> {
        self.wants(address(node), Wish::dollars);
        match self.scalar(node).and_then(units::dollars) {
            Some(money) => Some(money),
            None => self.unexpected(node, "an amount in dollars, such as 1.50"),
        }
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        self.wants(address(node), || Wish::choice(words.iter().map(|(word, _)| *word)));
        let chosen = self.scalar(node).and_then(|text| words.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = chosen {
            return Some(*value);
        }
        let names = || words.iter().map(|(word, _)| *word);
        let list: Vec<_> = names().collect();
        let hint = match &node.content {
            Content::Scalar(text, style) if *style != Style::Expanded => nearest(text, names()),
            _ => None,
        };
        let hint = hint.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
        self.of(node, format!("expected {}, found {}{hint}", either(&list), found(node)));
        None
    }

    /// The version of the file's format: 1, which is the only one so far.
    pub fn version(&mut self, fields: &Fields<'_>) {
        let Some(node) = self.required_such(fields, "version", "version: 1") else { return };
        self.wants(address(node), Wish::version);
        if !matches!(&node.content, Content::Scalar(text, _) if text == "1") {
            self.of(node, "this agentd reads version 1; write version: 1");
        }
    }

    /// A JSON Schema of an object, as JSON; whether it is one is for the caller to see.
    pub fn schema(&mut self, node: &Node) -> Option<Value> {
        self.wants(address(node), Wish::schema);
        self.map(node)?;
        self.json(node)
    }

    /// Any value, as JSON. Plain scalars are read as YAML 1.2 reads them (core schema), and refused where YAML 1.1
    /// would read something else.
    pub fn json(&mut self, node: &Node) -> Option<Value> {
        match &node.content {
            Content::List(list) => list.iter().map(|node| self.json(node)).collect::<Vec<_>>().into_iter().collect(),
            Content::Map(members) => {
                let members: Vec<_> =
                    members.iter().map(|(key, node)| Some((key.text.clone(), self.json(node)?))).collect();
                members.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
            }
            Content::Scalar(..) if node.is_nothing() => Some(Value::Null),
            Content::Scalar(text, Style::Plain) => {
                match text.as_str() {
                    "true" | "True" | "TRUE" => Some(Value::Bool(true)),
                    "false" | "False" | "FALSE" => Some(Value::Bool(false)),
                    text => match json_number(text) {
                        Some(Ok(number)) => Some(Value::Number(number)),
                        Some(Err(())) => {
                            self.of(node, format!("{text} means different numbers to different readers; write it plainly, or in quotes"));
                            None
                        }
                        None => Some(text.into()),
                    },
                }
            }
            Content::Scalar(text, _) => Some(text.as_str().into()),
        }
    }

    /// The faults as problems of this text. `root` is where the paths of values come from.
    pub(super) fn into_problems(mut self, file: &Arc<str>, text: &str, root: Option<&Node>) -> Problems {
        self.list.sort_by_key(|fault| fault.place.start);
        self.list.dedup_by(|a, b| a.place == b.place && a.message == b.message);
        let more = self.more + self.list.len().saturating_sub(Problems::MAX);
        let mut problems = self.list.into_iter().take(Problems::MAX).map(|fault| {
            let path = root.filter(|_| fault.of_value).map(|root| path(root, fault.place.start)).unwrap_or_default();
            let message = if path.is_empty() { fault.message } else { format!("{path}: {}", fault.message) };
            Problem::new(file, text, fault.place, message)
        });
        let nothing =
            || Problem::new(file, text, Place { line: 1, col: 1, start: 0, end: 0 }, "the file cannot be used");
        let first = problems.next().unwrap_or_else(nothing);
        Problems::new(first, problems.collect::<Vec<_>>(), more)
    }

    fn plain<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.content {
            Content::Scalar(text, Style::Plain | Style::Expanded) => Some(text),
            _ => None,
        }
    }

    fn scalar<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.content {
            Content::Scalar(text, _) if !node.is_nothing() => Some(text),
            _ => None,
        }
    }

    fn unexpected<T>(&mut self, node: &Node, wish: &str) -> Option<T> {
        self.of(node, format!("expected {wish}, found {}", found(node)));
        None
    }
}

/// A plain scalar as number: `None` when it is text, an error when readers disagree about it.
fn json_number(text: &str) -> Option<Result<Number, ()>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let all = |set: &dyn Fn(u8) -> bool| unsigned.bytes().all(set);
    let lower = unsigned.to_ascii_lowercase();
    let odd = lower.starts_with("0x") && lower.len() > 2 && lower[2..].bytes().all(|b| b.is_ascii_hexdigit())
        || lower.starts_with("0o") && lower.len() > 2 && lower[2..].bytes().all(|b| b.is_ascii_digit())
        || unsigned.len() > 1 && unsigned.starts_with('0') && all(&|b| b.is_ascii_digit())
        || unsigned.contains('_') && all(&|b| b.is_ascii_digit() || b == b'_')
        || matches!(lower.as_str(), ".inf" | ".nan");
    if odd {
        return Some(Err(()));
    }
    if all(&|b| b.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let number = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from));
        // Beyond 64 bits a float would silently be another number.
        return Some(number.map_err(|_| ()));
    }
    // Rust reads the floats that YAML's core schema has, and more words, which do not start with a digit.
    if !all(&|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let number = text.parse::<f64>().ok()?;
    Some(Number::from_f64(number).ok_or(()))
}

/// What stands there, shortly.
fn found(node: &Node) -> String {
    match &node.content {
        Content::List(_) => "a list".to_owned(),
        Content::Map(_) => "a map".to_owned(),
        Content::Scalar(_, Style::Expanded) => "something else in the variable".to_owned(),
        Content::Scalar(..) if node.is_nothing() => "nothing".to_owned(),
        Content::Scalar(text, _) => format!("{:?}", clipped(text)),
    }
}

fn clipped(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn either(words: &[&str]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        words => words.concat(),
    }
}

/// The keys that lead to the value that starts at this byte.
fn path(root: &Node, start: usize) -> String {
    let mut path = String::new();
    let mut node = root;
    loop {
        let within = |node: &Node| (node.place.start..=node.place.end).contains(&start);
        // Of neighbours that touch, the later one starts there.
        let below = match &node.content {
            Content::Map(members) => members.iter().rev().find(|(_, node)| within(node)).map(|(key, node)| {
                let simple = key.text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
                let name = clipped(&key.text);
                let dot = if path.is_empty() { "" } else { "." };
                (if simple { format!("{dot}{name}") } else { format!("{dot}{name:?}") }, node)
            }),
            Content::List(list) => {
                let found = list.iter().enumerate().rev().find(|(_, node)| within(node));
                found.map(|(index, node)| (format!("[{index}]"), node))
            }
            Content::Scalar(..) => None,
        };
        let Some((step, next)) = below else { return path };
        path.push_str(&step);
        node = next;
        // An empty value may start where its parent does; one step further down is enough.
        if node.place.start == start && matches!(node.content, Content::Scalar(..)) {
            return path;
        }
    }
}
