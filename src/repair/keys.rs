//! What an unknown key was meant to be.
//!
//! A key is only taken for another one when nothing else can be meant: the other one is the only candidate, it is not
//! there yet, and (unless only its spelling differs) the call cannot do without it. What a key *does* is never guessed:
//! an option that nobody declared, `dry_run` say, is neither dropped nor read as something else.

/// What a model writes beside its arguments to explain them. Dropping one changes nothing that a tool does.
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
    &["repopath", "path", "repo", "repository", "repositorypath", "repodir"],
    &["content", "contents", "text", "body", "filecontent", "filecontents", "data"],
    &["text", "message", "content", "body", "msg"],
    &["query", "q", "search", "searchquery", "searchterm", "querystring", "term", "searchtext"],
    &["sql", "query", "statement", "sqlquery", "sqlstatement"],
    &["command", "cmd", "commandline", "shellcommand"],
    &["code", "sourcecode", "script", "source"],
    &["url", "uri", "link", "href", "website"],
    &["urls", "uris", "links"],
    &["message", "msg", "commitmessage"],
    &["pattern", "regex", "regexp", "glob", "query"],
    &["oldtext", "oldstring", "oldstr", "old"],
    &["newtext", "newstring", "newstr", "new"],
    &["repository", "repo", "reponame", "repositoryname", "project"],
    &["owner", "org", "organization", "user"],
    &["issuenumber", "issue", "issueid", "number"],
    &["pullnumber", "pullrequest", "pr", "prnumber", "number"],
    &["channelid", "channel"],
    &["userid", "user"],
    &["username", "user"],
    &["limit", "maxresults", "max", "count", "numresults", "topk"],
    &["timezone", "tz", "timezonename"],
    &["id", "identifier"],
    &["language", "lang"],
    &["expression", "expr", "formula"],
    &["description", "desc"],
    &["destination", "dest", "target", "to", "destinationpath", "targetpath", "newpath"],
    &["source", "src", "from", "sourcepath", "oldpath"],
    &["branch", "branchname"],
    &["to", "recipient", "recipients"],
    &["title", "name"],
    &["location", "place", "city"],
    &["labels", "tags"],
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

/// Whether the key only says why.
pub(super) fn is_noise(key: &str) -> bool {
    NOISE.contains(&folded(key).as_str())
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

/// Whether one is the other with a single letter wrong, missing, too many or swapped. Digits and single letters between
/// separators tell things apart (`x1` and `x2`, `start_x` and `start_y`), so a difference there is none.
pub(super) fn is_typo(written: &str, meant: &str) -> bool {
    // Shorter keys are too much alike.
    const SHORTEST: usize = 4;
    let (written, meant) = (written.to_lowercase(), meant.to_lowercase());
    if meant.len() < SHORTEST || written.len() + 1 < SHORTEST || strsim::osa_distance(&written, &meant) != 1 {
        return false;
    }
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let singles = |text: &str| {
        let parts = text.split(['_', '-', '.']).filter(|part| part.chars().count() == 1);
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    digits(&written) == digits(&meant) && singles(&written) == singles(&meant)
}
