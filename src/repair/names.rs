//! Which tool a name was meant to be.
//!
//! What surrounds a name (a namespace, a channel token, an index) is stripped, case and separators are folded, and what is
//! left must be the name of exactly one tool. A wrong letter is only mended towards a tool that reads. Always true: a name
//! that says a server is never taken for a tool of another one; what a name says to do is never turned around.

use std::sync::Arc;

use crate::chat::{Effect, ToolDef};

use super::{ToolSet, draft::Edit, keys::folded, kind::Kind};

/// Bytes of a name that is looked at; no tool has a longer one.
const NAME_BYTES_MAX: usize = 200;

/// What frameworks put before a name.
const PREFIXES: &[&str] = &[
    "functions.",
    "function.",
    "functions/",
    "functions:",
    "functions__",
    "default_api.",
    "default_api:",
    "tools.",
    "tool.",
    "tools/",
    "tool:",
    "function:",
    "tool_use.",
    "api.",
    "call:",
    "mcp.",
    "mcp/",
];

/// Words that turn each other around.
const OPPOSITES: &[(&str, &str)] = &[
    ("add", "remove"),
    ("start", "stop"),
    ("enable", "disable"),
    ("get", "set"),
    ("get", "put"),
    ("lock", "unlock"),
    ("open", "close"),
    ("push", "pull"),
    ("import", "export"),
    ("up", "down"),
    ("read", "write"),
    ("list", "delete"),
    ("show", "hide"),
    ("mute", "unmute"),
    ("pin", "unpin"),
    ("follow", "unfollow"),
    ("in", "out"),
    ("on", "off"),
    ("get", "del"),
    ("min", "max"),
    ("first", "last"),
    ("next", "prev"),
    ("before", "after"),
    ("upload", "download"),
    ("encode", "decode"),
    ("encrypt", "decrypt"),
    ("send", "read"),
    ("read", "redo"),
    ("attach", "detach"),
    ("install", "uninstall"),
    ("subscribe", "unsubscribe"),
    ("archive", "unarchive"),
    ("increase", "decrease"),
    ("do", "undo"),
    ("head", "read"),
    ("load", "unload"),
    ("input", "output"),
    ("inbound", "outbound"),
];

/// A tool that a name was meant to be, and how the name becomes its own.
pub(super) struct Meant<'t> {
    pub tool: &'t ToolDef,
    pub edit: Edit,
}

/// The only tool whose name this is but for spelling and surroundings.
pub(super) fn spelt<'t>(name: &str, tools: &'t ToolSet) -> Option<Meant<'t>> {
    let readings = readings(name)?;
    let mut found: Option<&ToolDef> = None;
    for reading in &readings {
        for tool in tools.tools().iter().filter(|tool| reading.is(tool)) {
            match found {
                Some(other) if other.name != tool.name => return None,
                _ => found = Some(tool),
            }
        }
        if found.is_some() {
            break;
        }
    }
    found.map(|tool| meant(name, tool, Kind::NameSpelling))
}

/// The only reading tool whose name is off by a letter or two, with no other tool near.
pub(super) fn mistyped<'t>(name: &str, tools: &'t ToolSet) -> Option<Meant<'t>> {
    let readings = readings(name)?;
    let reading = readings.first()?;
    let written = folded(&reading.tool);
    let mut near: Vec<(usize, &ToolDef)> =
        tools.tools().iter().map(|tool| (reading.distance(&written, tool), tool)).collect();
    near.sort_by_key(|(distance, _)| *distance);
    let (distance, tool) = *near.first()?;
    let allowed = match written.chars().count() {
        0..=4 => 0,
        5..=9 => 1,
        _ => 2,
    };
    let margin = near.get(1).map_or(usize::MAX, |(second, _)| second - distance);
    // A server that the name says must be the tool's own, to the letter.
    let mut said = readings.iter().filter(|reading| reading.server.is_some()).peekable();
    let at_home = said.peek().is_none() || said.any(|reading| reading.may_be_on(tool));
    let sound = at_home && (1..=allowed).contains(&distance) && margin >= 2 && tool.effect == Effect::Read;
    (sound && !turns_around(&reading.tool, &tool.origin.tool)).then(|| meant(name, tool, Kind::NameTypo))
}

/// Whether a text names this tool, as it stands beside wrapped arguments.
pub(super) fn is_name_of(text: &str, tool: &str) -> bool {
    let short = |name: &str| folded(name.rsplit("__").next().unwrap_or(name));
    readings(text).is_some_and(|readings| {
        readings.iter().any(|reading| folded(&reading.tool) == folded(tool) || short(&reading.tool) == short(tool))
    })
}

fn meant<'t>(name: &str, tool: &'t ToolDef, kind: Kind) -> Meant<'t> {
    Meant { tool, edit: Edit::replace(0, name.len(), tool.name.as_str().to_owned(), kind) }
}

/// One way to read a name.
struct Reading {
    /// The server that it says; `None` when it says none.
    server: Option<String>,
    tool: String,
}

impl Reading {
    fn new(server: Option<&str>, tool: &str) -> Self {
        Reading { server: server.map(str::to_owned), tool: tool.to_owned() }
    }

    /// Whether the server that the name says, if any, is the tool's own.
    fn may_be_on(&self, tool: &ToolDef) -> bool {
        match &self.server {
            // Tools of no known server stand for themselves.
            Some(server) => tool.origin.server.is_empty() || folded(server) == folded(&tool.origin.server),
            None => true,
        }
    }

    fn is(&self, tool: &ToolDef) -> bool {
        let written = folded(&self.tool);
        let own = folded(tool.name.as_str()) == written || folded(&tool.origin.tool) == written;
        !written.is_empty() && own && self.may_be_on(tool)
    }

    fn distance(&self, written: &str, tool: &ToolDef) -> usize {
        let to = |name: &str| strsim::osa_distance(written, &folded(name));
        to(tool.name.as_str()).min(if self.may_be_on(tool) { to(&tool.origin.tool) } else { usize::MAX / 2 })
    }
}

/// The ways to read a name, the most literal one first. `None` when it is empty or too long.
fn readings(name: &str) -> Option<Vec<Reading>> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let whole = name;
    let name = stripped(name);
    let mut readings = vec![Reading::new(None, name)];
    for separator in ["__", ".", "/", "::", ":"] {
        if let Some((server, tool)) =
            name.split_once(separator).filter(|(server, tool)| !server.is_empty() && !tool.is_empty())
        {
            readings.push(Reading::new(Some(server), tool));
        }
        if let Some((server, tool)) =
            name.rsplit_once(separator).filter(|(server, tool)| !server.is_empty() && !tool.is_empty())
        {
            readings.push(Reading::new(Some(server), tool));
        }
    }
    // `mcp_server_tool`
    if let Some((server, tool)) = whole.trim().strip_prefix("mcp_").and_then(|_| name.split_once('_')) {
        readings.push(Reading::new(Some(server), tool));
    }
    (!name.is_empty()).then_some(readings)
}

/// A name without what surrounds it.
fn stripped(name: &str) -> &str {
    let edges =
        |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '`' | '*' | '<' | '>' | '(' | ')' | ';' | ',');
    // A leaked channel or separator token, and whatever follows it.
    let name = name.rsplit("to=").next().unwrap_or(name);
    let name = ["<|", "<｜", "</"].iter().fold(name, |name, token| name.split(token).next().unwrap_or(name));
    let mut name = name.trim_matches(edges);
    loop {
        let before = name;
        for prefix in PREFIXES {
            if let Some(rest) = name
                .get(prefix.len()..)
                .filter(|_| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
            {
                name = rest;
            }
        }
        for prefix in ["mcp__", "mcp-", "mcp_"] {
            name = name.strip_prefix(prefix).unwrap_or(name);
        }
        // `f:0`, `f(...)`
        if let Some((rest, index)) = name.rsplit_once(':')
            && index.bytes().all(|byte| byte.is_ascii_digit())
        {
            name = rest;
        }
        name = name.trim_matches(edges).trim_matches([':', '.']);
        if name == before {
            return name;
        }
    }
}

/// Whether two names differ in words that mean opposite things, in a negation or in a number.
fn turns_around(written: &str, meant: &str) -> bool {
    let (written, meant) = (words(written), words(meant));
    let digits = |words: &[Arc<str>]| {
        words.iter().flat_map(|word| word.chars()).filter(char::is_ascii_digit).collect::<String>()
    };
    if digits(&written) != digits(&meant) {
        return true;
    }
    let opposite = |one: &str, other: &str| {
        let pair = |(a, b): &(&str, &str)| (*a == one && *b == other) || (*a == other && *b == one);
        let negated = |one: &str, other: &str| {
            ["un", "dis", "de", "in", "non", "re"].iter().any(|prefix| other.strip_prefix(prefix) == Some(one))
        };
        OPPOSITES.iter().any(pair) || negated(one, other) || negated(other, one)
    };
    // Words that are written and not meant, against those that are meant and not written. A word that is known from the
    // table is no slip of the pen for another word.
    let known = |word: &str| OPPOSITES.iter().any(|(a, b)| *a == word || *b == word);
    let extra: Vec<&Arc<str>> = written.iter().filter(|word| !meant.contains(word)).collect();
    let lacking: Vec<&Arc<str>> = meant.iter().filter(|word| !written.contains(word)).collect();
    extra.iter().any(|one| known(one)) || extra.iter().any(|one| lacking.iter().any(|other| opposite(one, other)))
}

/// The words of a name, in small letters: at separators and where case begins anew.
fn words(name: &str) -> Vec<Arc<str>> {
    let mut words: Vec<String> = vec![String::new()];
    let mut small = false;
    for char in name.chars() {
        if matches!(char, '_' | '-' | '.' | '/' | ' ') || (char.is_uppercase() && small) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| char.is_alphanumeric()) {
            word.extend(char.to_lowercase());
        }
        small = char.is_lowercase();
    }
    words.into_iter().filter(|word| !word.is_empty()).map(Arc::from).collect()
}
