//! Texts that stand for a value and are none: expressions, variables, placeholders.
//!
//! A model that writes `$result.path`, `await f()` or `N/A` where a text belongs, and leaves out the quotes, does not mean
//! these words. As they stand in quotes they are a text like any other, and are left alone.

use super::keys::{folded, words};

/// What is written where there is no value.
const PLACEHOLDERS: &[&str] = &[
    "n/a",
    "na",
    "nan",
    "nil",
    "none",
    "null",
    "undefined",
    "void",
    "unknown",
    "unspecified",
    "unset",
    "undetermined",
    "not set",
    "not specified",
    "not provided",
    "not given",
    "not available",
    "not applicable",
    "not known",
    "to be determined",
    "to be defined",
    "to do",
    "todo",
    "tbd",
    "tba",
    "tbc",
    "fixme",
    "xxx",
    "placeholder",
    "example",
    "sample",
    "dummy",
    "default",
    "any",
    "anything",
    "something",
    "whatever",
    "value",
    "some value",
    "string",
    "text",
    "number",
    "integer",
    "boolean",
    "object",
    "array",
    "list",
    "missing",
    "empty",
    "blank",
    "same",
    "same as above",
    "same as before",
    "as above",
    "see above",
    "above",
    "previous",
    "input",
    "user input",
    "result",
    "output",
    "variable",
    "insert here",
    "fill in",
    "required",
    "optional",
];

/// Words that an expression begins with.
const OPERATORS_BEFORE: &[&str] = &[
    "await", "new", "typeof", "lambda", "function", "return", "async", "yield", "not", "if", "let", "const", "var",
    "def", "import",
];

/// Endings of file and host names: what ends so is no member of something.
const ENDINGS: &[&str] = &[
    "ai", "app", "avi", "bak", "bash", "bat", "bin", "bmp", "bz2", "c", "cc", "cfg", "ch", "cjs", "class", "clj",
    "cmd", "co", "com", "conf", "cpp", "cs", "css", "csv", "dart", "de", "dev", "diff", "dll", "doc", "docx", "edu",
    "env", "erl", "eu", "ex", "exe", "exs", "fish", "fr", "gif", "go", "gov", "gradle", "gz", "h", "hpp", "hs", "htm",
    "html", "ico", "ics", "in", "info", "ini", "io", "ipynb", "jar", "java", "jpeg", "jpg", "js", "json", "jsonl",
    "jsx", "kt", "lock", "log", "lua", "md", "mdx", "mjs", "mk", "ml", "mov", "mp3", "mp4", "net", "nix", "org",
    "parquet", "patch", "pdf", "php", "pl", "png", "ppt", "pptx", "proto", "ps1", "py", "pyi", "r", "rb", "rs", "rst",
    "rtf", "scala", "scss", "sh", "so", "sql", "sqlite", "svg", "swift", "tar", "tex", "tf", "tgz", "toml", "ts",
    "tsv", "tsx", "txt", "uk", "us", "vue", "wasm", "wav", "webm", "webp", "xls", "xlsx", "xml", "yaml", "yml", "zig",
    "zip", "zsh", "zst",
];

/// Whether text without quotes that stands for the member `key` stands for another value, or may.
pub(super) fn is_standin(text: &str, key: &str) -> bool {
    let text = text.trim();
    let small = text.to_lowercase();
    let plain = small.trim_matches(|char: char| {
        matches!(char, '<' | '>' | '(' | ')' | '?' | '.' | '_' | '-' | '…') || char.is_whitespace()
    });
    plain.is_empty()
        || PLACEHOLDERS.contains(&plain)
        || is_marked(text)
        || is_expression(text)
        || names_member(text, key)
}

/// Whether its form says that something is to be put in: `$x`, `<x>`, `{{x}}`, `%x%`, `YOUR_KEY`, `path/to/x`.
fn is_marked(text: &str) -> bool {
    let around = |open: &str, close: &str| {
        text.len() > open.len() + close.len() && text.starts_with(open) && text.ends_with(close)
    };
    let pairs = [("<", ">"), ("{", "}"), ("[", "]"), ("%", "%"), ("__", "__"), ("«", "»"), ("@{", "}"), ("#{", "}")];
    let small = text.to_lowercase();
    let your = ["your_", "your-", "your ", "my_", "the_", "path/to/", "/path/to/"];
    let constant = text.contains('_')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    text.starts_with(['$', '@'])
        || text.contains("${")
        || text.contains("{{")
        || text.contains("<|")
        || pairs.iter().any(|(open, close)| around(open, close))
        || your.iter().any(|start| small.starts_with(start))
        || constant
}

/// Whether it is to be worked out: a call, an operator, a member of something.
fn is_expression(text: &str) -> bool {
    let first = text.split_whitespace().next().unwrap_or_default();
    let several = first.len() < text.len();
    let called = text.find('(').is_some_and(|open| {
        let name = &text[..open];
        // `f(`, or an arrow function's parameters; a remark in parentheses has a space before it.
        name.is_empty() || name.ends_with(|char: char| char.is_alphanumeric() || matches!(char, '_' | ')' | ']'))
    });
    let operators = [
        " + ", " * ", " % ", " == ", " === ", " != ", " && ", " || ", " ?? ", " | ", "=>", "->", " ? ", " is not ",
        "::",
    ];
    let joined = |operator: &&str| text.contains(*operator);
    // `a+b`, where both are names.
    let plus =
        text.split_once('+').is_some_and(|(one, other)| is_identifier(one.trim()) && is_identifier(other.trim()));
    (several && OPERATORS_BEFORE.contains(&first))
        || called
        || operators.iter().any(joined)
        || plus
        || text.starts_with('!')
        || is_member(text)
}

/// Whether it is a chain of names, `user.location`, and no file or host.
fn is_member(text: &str) -> bool {
    let mut parts = text.split(['.']);
    let last = parts.next_back().unwrap_or_default();
    let ending = ENDINGS.contains(&&*last.to_lowercase());
    let optional = |part: &str| is_identifier(part.trim_end_matches('?'));
    text.contains('.') && !ending && is_identifier(last) && parts.clone().count() > 0 && parts.all(optional)
}

/// Whether it is the name of a variable that is called as the member is: `path: file_path`.
fn names_member(text: &str, key: &str) -> bool {
    if !is_identifier(text) || key.is_empty() {
        return false;
    }
    let (of_text, of_key) = (words(text), words(key));
    let held = of_key.last().is_some_and(|last| of_text.len() > 1 && of_text.contains(last));
    folded(text) == folded(key) || held
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|char: char| char.is_alphabetic() || char == '_')
        && text.chars().all(|char| char.is_alphanumeric() || char == '_')
}
