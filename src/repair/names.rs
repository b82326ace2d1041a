//! Which tool a name was meant to be.
//!
//! What surrounds a name (a namespace, a channel token, an index) is stripped, case and separators are folded, and what is
//! left must be the name of exactly one tool. A wrong letter is only mended towards a tool that reads. Always true: a prefix
//! that is not known junk is a server, spelt as it is, and rules out the tools of all others, those of no known server too
//! (`sandbox.x` is not `x`); what a name says to do is never turned around.

use std::sync::Arc;

use crate::chat::{Effect, ToolDef};

use super::{
    ToolSet,
    draft::Edit,
    keys::{folded, is_typo, words},
    kind::Kind,
};

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
    // What stands literally comes first; that a name of a tool ends in `_tool`, or does not, last.
    for is in [Reading::is as fn(&Reading, &ToolDef) -> bool, Reading::is_but_for_suffix] {
        for reading in &readings {
            let mut fitting = tools.tools().iter().filter(|tool| is(reading, tool));
            if let Some(tool) = fitting.next() {
                return fitting.all(|other| other.name == tool.name).then(|| meant(name, tool, Kind::NameSpelling));
            }
        }
    }
    None
}

/// The only reading tool whose name is off by a letter, with no other tool near.
pub(super) fn mistyped<'t>(name: &str, tools: &'t ToolSet) -> Option<Meant<'t>> {
    let readings = readings(name)?;
    let mut fitting = tools.tools().iter().filter(|tool| readings.iter().any(|reading| reading.is_nearly(tool)));
    let tool = fitting.next().filter(|tool| tool.effect == Effect::Read)?;
    let far = |written: &str, other: &str| strsim::osa_distance(&folded(written), &folded(other)) > NEAR;
    let apart = |other: &ToolDef| {
        let mut own = readings.iter().filter(|reading| reading.may_be_on(other));
        far(&readings[0].tool, other.name.as_str()) && own.all(|reading| far(&reading.tool, local(other)))
    };
    let mut others = tools.tools().iter().filter(|other| other.name != tool.name);
    (fitting.next().is_none() && others.all(apart)).then(|| meant(name, tool, Kind::NameTypo))
}

/// Whether a text names this tool, as it stands beside wrapped arguments.
pub(super) fn is_name_of(text: &str, tool: &str) -> bool {
    let short = |name: &str| folded(name.rsplit("__").next().unwrap_or(name));
    readings(text).is_some_and(|readings| {
        readings.iter().any(|reading| folded(&reading.tool) == folded(tool) || short(&reading.tool) == short(tool))
    })
}

/// Verbs that tools are called by. A function of such a name is another tool, on offer or not.
const VERBS: &[&str] = &[
    "add", "append", "apply", "cancel", "clear", "close", "commit", "copy", "create", "delete", "deploy", "download",
    "drop", "edit", "exec", "fetch", "find", "get", "insert", "kill", "list", "merge", "move", "open", "patch", "post",
    "publish", "purge", "push", "put", "query", "read", "remove", "rename", "replace", "reset", "restart", "rm",
    "save", "search", "send", "set", "start", "stop", "update", "upload", "upsert", "write",
];

/// Words by which a function keeps a call from being made, or makes another one of it.
const GUARDING: &[&str] = &[
    "check",
    "confirm",
    "dev",
    "dry",
    "dryrun",
    "fake",
    "mock",
    "no",
    "noop",
    "not",
    "plan",
    "preview",
    "sandbox",
    "sim",
    "simulate",
    "simulated",
    "simulation",
    "staging",
    "stub",
    "test",
    "undo",
    "validate",
    "verify",
];

/// Whether a function of this name can merely hand its only argument on: `callback`, `JSON.parse`. It names no tool and says
/// nothing of what is to become of the call.
pub(super) fn hands_on(name: &str, tools: &ToolSet) -> bool {
    let words = words(name);
    let says = |list: &[&str]| words.iter().any(|word| list.contains(&&**word));
    let bare = stripped(name).0 == name && !name.contains("__");
    bare && !words.is_empty()
        && !says(GUARDING)
        && !says(VERBS)
        && spelt(name, tools).is_none()
        && mistyped(name, tools).is_none()
}

/// How far the names of all other tools must be from a mistyped one.
const NEAR: usize = 2;

fn meant<'t>(name: &str, tool: &'t ToolDef, kind: Kind) -> Meant<'t> {
    Meant { tool, edit: Edit::replace(0, name.len(), tool.name.as_str().to_owned(), kind) }
}

/// The server of a tool: where it comes from or, where that is not known, what its name says. `None` when nothing does.
fn home(tool: &ToolDef) -> Option<&str> {
    match tool.origin.server.as_str() {
        "" => parted(tool.name.as_str()).map(|(server, _)| server),
        server => Some(server),
    }
}

/// The name of a tool without its server.
fn local(tool: &ToolDef) -> &str {
    match tool.origin.server.as_str() {
        "" => parted(tool.name.as_str()).map_or(tool.name.as_str(), |(_, tool)| tool),
        _ => &tool.origin.tool,
    }
}

/// The server and the tool of a name that says both.
fn parted(name: &str) -> Option<(&str, &str)> {
    let parts = ["__", ".", "/", ":"].iter().find_map(|separator| name.split_once(separator));
    parts.filter(|(server, tool)| !server.is_empty() && !tool.is_empty())
}

/// One way to read a name.
struct Reading {
    /// The server that it says; `None` when it says none.
    server: Option<String>,
    tool: String,
    /// Whether it says by its form that a server is a server: `mcp__fs__read`.
    certain: bool,
}

impl Reading {
    /// Whether the server that the name says, if any, is the tool's own.
    fn may_be_on(&self, tool: &ToolDef) -> bool {
        let Some(server) = &self.server else { return true };
        match home(tool) {
            Some(home) => folded(server) == folded(home),
            // A tool of no known server may be on any, but not on one that is for trying things out.
            None => self.certain && !words(server).iter().any(|word| GUARDING.contains(&&**word)),
        }
    }

    fn is(&self, tool: &ToolDef) -> bool {
        let written = folded(&self.tool);
        let own = folded(local(tool)) == written || (self.server.is_none() && folded(tool.name.as_str()) == written);
        !written.is_empty() && own && self.may_be_on(tool)
    }

    /// Whether the only difference is that one of both names ends in `_tool`.
    fn is_but_for_suffix(&self, tool: &ToolDef) -> bool {
        // `delete_tool` may well be for tools.
        let least = if tool.effect == Effect::Read { 1 } else { 2 };
        let bare = |name: &str| {
            let mut words = words(name);
            if words.len() > least && words.last().is_some_and(|word| &**word == "tool") {
                words.pop();
            }
            words.concat()
        };
        let written = bare(&self.tool);
        !written.is_empty() && self.may_be_on(tool) && bare(local(tool)) == written
    }

    /// Whether the name of the tool is off by a letter. The server's is as it is.
    fn is_nearly(&self, tool: &ToolDef) -> bool {
        let near = |written: &str| {
            let meant = local(tool);
            // The first word may be a server's: another letter in it is another server.
            let first = words(written).first() == words(meant).first() || !has_other_letters(written, meant);
            first && is_typo(written, meant) && !turns_around(written, meant)
        };
        if self.server.is_some() || home(tool).is_none() {
            return self.may_be_on(tool) && near(&self.tool);
        }
        // `fs_read_fil`, where the tool is `read_file` of `fs`.
        let behind =
            home(tool).and_then(|home| self.tool.strip_prefix(home)).filter(|rest| rest.starts_with(['_', '-', '.']));
        near(behind.unwrap_or(&self.tool))
    }
}

/// Whether one name has a letter in place of another's.
fn has_other_letters(one: &str, other: &str) -> bool {
    let sorted = |name: &str| {
        let mut letters: Vec<char> = folded(name).chars().collect();
        letters.sort_unstable();
        letters
    };
    let (one, other) = (sorted(one), sorted(other));
    one.len() == other.len() && one != other
}

/// The ways to read a name, the most literal one first. `None` when it is empty or too long.
fn readings(name: &str) -> Option<Vec<Reading>> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let (stripped, certain) = stripped(name);
    let mut readings = Vec::new();
    let mut add = |server: Option<&str>, tool: &str| {
        readings.push(Reading { server: server.map(str::to_owned), tool: tool.to_owned(), certain })
    };
    add(None, stripped);
    for separator in ["__", ".", "/", "::", ":"] {
        for parts in [stripped.split_once(separator), stripped.rsplit_once(separator)] {
            if let Some((server, tool)) = parts.filter(|(server, tool)| !server.is_empty() && !tool.is_empty()) {
                add(Some(server), tool);
            }
        }
    }
    // `mcp_server_tool`
    if let Some((server, tool)) = name.trim().strip_prefix("mcp_").and_then(|_| stripped.split_once('_')) {
        add(Some(server), tool);
    }
    (!stripped.is_empty()).then_some(readings)
}

/// A name without what surrounds it, and whether that says that a server comes first.
fn stripped(name: &str) -> (&str, bool) {
    let edges =
        |char: char| char.is_whitespace() || matches!(char, '"' | '\'' | '`' | '*' | '<' | '>' | '(' | ')' | ';' | ',');
    // A leaked channel or separator token, and whatever follows it.
    let name = name.rsplit("to=").next().unwrap_or(name);
    let name = ["<|", "<｜", "</"].iter().fold(name, |name, token| name.split(token).next().unwrap_or(name));
    let mut name = name.trim_matches(edges);
    let mut certain = false;
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
        for prefix in ["mcp__", "mcp-", "mcp_", "mcp.", "mcp/"] {
            if let Some(rest) = name.strip_prefix(prefix) {
                (name, certain) = (rest, true);
            }
        }
        // `f:0`, `f(...)`
        if let Some((rest, index)) = name.rsplit_once(':')
            && index.bytes().all(|byte| byte.is_ascii_digit())
        {
            name = rest;
        }
        name = name.trim_matches(edges).trim_matches([':', '.']);
        if name == before {
            return (name, certain);
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
