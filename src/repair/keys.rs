//! What an unknown key was meant to be.
//!
//! A key is only taken for another one when nothing else can be meant: the other one is the only candidate, it is not
//! there yet, and (unless only its spelling differs) the call cannot do without it. A name is no id, a regular expression no
//! glob, and one word no slip of the pen for another. What a key *does* is never guessed: an option that nobody declared,
//! `dry_run` say, is neither dropped nor read as something else.

use std::sync::Arc;

use super::words::is_word;

/// Keys under which a model explains its call. Whether one may be dropped depends on what it says.
const NOISE: &[&str] = &[
    "explanation",
    "reasoning",
    "reason",
    "thought",
    "thoughts",
    "thinking",
    "rationale",
    "justification",
    "analysis",
    "chainofthought",
    "intent",
    "intention",
    "toolcallreason",
    "callreason",
    "purpose",
    "why",
    "thoughtprocess",
];

/// Names for one thing, folded, as models exchange them (from the schemas of common tool servers). Groups may share
/// names: a key only counts as another one when a single one of the schema's can be meant.
const SYNONYMS: &[&[&str]] = &[
    &["path", "file", "filename", "filepath", "pathname"],
    &["paths", "files", "filenames", "filepaths", "pathnames"],
    &["path", "directory", "dir", "folder", "directorypath", "folderpath"],
    &["repopath", "path", "repositorypath", "repodir"],
    &["content", "contents", "text", "body", "filecontent", "filecontents", "data"],
    &["text", "message", "content", "body", "msg"],
    &["query", "q", "search", "searchquery", "searchterm", "querystring", "term", "searchtext"],
    &["sql", "query", "statement", "sqlquery", "sqlstatement"],
    &["command", "cmd", "commandline", "shellcommand"],
    &["code", "sourcecode", "script", "source"],
    &["url", "uri", "link", "href", "website"],
    &["urls", "uris", "links"],
    &["message", "msg", "commitmessage"],
    &["regex", "regexp", "regularexpression"],
    &["glob", "globpattern"],
    &["pattern", "searchpattern"],
    &["oldtext", "oldstring", "oldstr", "old"],
    &["newtext", "newstring", "newstr", "new"],
    &["repository", "repo", "reponame", "repositoryname"],
    &["owner", "org", "organization"],
    &["issuenumber", "issue", "number"],
    &["pullnumber", "pullrequest", "pr", "prnumber", "number"],
    &["username", "user"],
    &["limit", "maxresults", "count", "numresults", "topk"],
    &["latitude", "lat"],
    &["longitude", "lon", "lng"],
    &["timezone", "tz", "timezonename"],
    &["id", "identifier"],
    &["language", "lang"],
    &["expression", "expr", "formula"],
    &["description", "desc"],
    &["destination", "dest", "dst", "to", "destinationpath", "newpath"],
    &["source", "src", "from", "sourcepath", "oldpath"],
    &["branch", "branchname"],
    &["to", "recipient", "recipients"],
    &["title", "name"],
    &["location", "place", "city"],
    &["prompt", "instruction", "instructions"],
];

/// Wrappers around all arguments.
const AROUND_ARGUMENTS: &[&str] = &[
    "arguments",
    "args",
    "parameters",
    "params",
    "input",
    "inputs",
    "toolinput",
    "toolarguments",
    "toolargs",
    "kwargs",
    "payload",
    "function",
    "functioncall",
    "toolcall",
    "argument",
    "functionarguments",
    "data",
    "request",
    "argumentsjson",
    "json",
    "properties",
];

/// What stands beside wrapped arguments and names the tool.
const BESIDE_ARGUMENTS: &[&str] = &["name", "tool", "toolname", "function", "functionname", "action"];

/// Wrappers around a single value.
const AROUND_VALUE: &[&str] =
    &["value", "val", "text", "string", "content", "data", "item", "items", "number", "#text"];

/// The same text for all spellings of a key: small letters, no separators.
pub(super) fn folded(key: &str) -> String {
    key.chars().filter(|char| !matches!(char, '_' | '-' | ' ' | '.')).flat_map(char::to_lowercase).collect()
}

/// Whether the key says why the call is made.
pub(super) fn is_noise(key: &str) -> bool {
    NOISE.contains(&folded(key).as_str())
}

/// Words that narrow or doubt a call. What stands beside one of them is more than an intent.
const NARROWING: &[&str] = &[
    "dry",
    "preview",
    "simulate",
    "simulation",
    "simulated",
    "pretend",
    "only",
    "except",
    "unless",
    "until",
    "without",
    "never",
    "dont",
    "cannot",
    "exclude",
    "excluding",
    "skip",
    "ignore",
    "limit",
    "confirm",
    "confirmation",
    "ask",
    "approval",
    "maybe",
    "instead",
    "wait",
    "abort",
    "cancel",
    "cancelled",
    "undo",
];

/// Pairs of words that do the same.
const NARROWING_PAIRS: &[(&str, &str)] = &[
    ("do", "not"),
    ("don", "t"),
    ("not", "yet"),
    ("at", "most"),
    ("no", "more"),
    ("up", "to"),
    ("must", "not"),
    ("should", "not"),
];

/// Whether a text merely restates what a call is made for. It narrows and doubts nothing.
pub(super) fn is_plain_intent(text: &str) -> bool {
    // What is longer may hold instructions.
    const LONGEST: usize = 2000;
    let text = text.to_lowercase();
    let words: Vec<&str> = text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pairs = || words.windows(2).any(|pair| NARROWING_PAIRS.contains(&(pair[0], pair[1])));
    text.len() <= LONGEST && !words.iter().any(|word| NARROWING.contains(word)) && !pairs()
}

/// Whether the key can stand around all arguments.
pub(super) fn wraps_arguments(key: &str) -> bool {
    AROUND_ARGUMENTS.contains(&folded(key).as_str())
}

/// Whether the key can stand beside wrapped arguments, with the tool's name.
pub(super) fn names_tool(key: &str) -> bool {
    BESIDE_ARGUMENTS.contains(&folded(key).as_str())
}

/// Whether the key can stand around the value of the member `name`.
pub(super) fn wraps_value(key: &str, name: &str) -> bool {
    let key = folded(key);
    AROUND_VALUE.contains(&key.as_str()) || key == folded(name)
}

/// Whether both are names for one thing.
pub(super) fn are_synonyms(one: &str, other: &str) -> bool {
    let (one, other) = (folded(one), folded(other));
    SYNONYMS.iter().any(|group| group.contains(&one.as_str()) && group.contains(&other.as_str()))
}

/// Whether one is the other with a single letter wrong, missing, too many or swapped, and is no word itself. Digits and
/// single letters between separators tell things apart (`x1` and `x2`, `start_x` and `start_y`), so a difference there is
/// none; nor is one between whole words (`issue_id` and `issue_number`), or between one thing and several.
pub(super) fn is_typo(written: &str, meant: &str) -> bool {
    let (written, meant) = (words(written), words(meant));
    if written.len() != meant.len() {
        // A wrong letter where a separator belongs. Short keys are too much alike.
        const SHORTEST: usize = 8;
        let joined = |words: &[Arc<str>]| words.concat();
        let short = |words: &[Arc<str>]| words.iter().any(|word| word.chars().count() < 2);
        let close = written.len().abs_diff(meant.len()) == 1
            && written
                .iter()
                .zip(&meant)
                .all(|(one, other)| one == other || one.starts_with(&**other) || other.starts_with(&**one));
        return close
            && !short(&written)
            && !short(&meant)
            && joined(&meant).len() >= SHORTEST
            && is_slip(&joined(&written), &joined(&meant), false);
    }
    let several = meant.len() > 1;
    let mut different = written.iter().zip(&meant).filter(|(one, other)| one != other);
    let Some((written, meant)) = different.next() else { return false };
    different.next().is_none() && is_slip(written, meant, several)
}

/// Whether a word is another one with one letter wrong, and none by itself. Words `beside` it that are right speak for it.
fn is_slip(written: &str, meant: &str, beside: bool) -> bool {
    let letters = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    if !letters(written) || !letters(meant) || strsim::osa_distance(written, meant) != 1 || is_word(written) {
        return false;
    }
    let plural = |one: &str, other: &str| one.strip_suffix('s') == Some(other) && !other.ends_with('s');
    if written.as_bytes().first() != meant.as_bytes().first() || plural(written, meant) || plural(meant, written) {
        return false;
    }
    let mut bytes = written.bytes().zip(written.bytes().skip(1));
    let doubled = written.len() > meant.len() && bytes.any(|(one, next)| one == next);
    let swapped = || {
        let sorted = |word: &str| {
            let mut bytes = word.as_bytes().to_vec();
            bytes.sort_unstable();
            bytes
        };
        sorted(written) == sorted(meant)
    };
    // The fewer letters are left as they were, the more words it may have been.
    let shortest = match written.len() == meant.len() {
        _ if doubled => 2,
        true if !swapped() => 5,
        _ if beside => 3,
        _ => 4,
    };
    meant.len() >= shortest
}

/// The words of a name, in small letters: at separators and where case begins anew.
pub(super) fn words(name: &str) -> Vec<Arc<str>> {
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

/// Whether a member of this name is for a list of several of what the other one is for: `paths` and `path`.
pub(super) fn is_plural(several: &str, one: &str) -> bool {
    let several = folded(several);
    let one = folded(one);
    // Times are not counted by their units: `days` is how long, `day` is when.
    let time = ["second", "minute", "hour", "day", "week", "month", "year"].iter().any(|unit| one.ends_with(unit));
    !time && one.len() >= 3 && several.strip_suffix('s').is_some_and(|stem| stem == one)
}
