//! Recognizes that a request is too long for the model, in whatever words a server reports it.
//!
//! Vendors word this differently, and the wording changes with each release, so this module reads the meaning, sentence by
//! sentence: something is *over* a bound, what is measured is a *length*, and what is too long is the *input*. A sentence that
//! says the same of the output, such as a `max_tokens` that is too large, is another fault, and so is a limit by time. Words
//! and examples come from the vendors' documentation and from issue threads (2026-11); the tests hold one example of each.

/// Error codes and types that mean it, or parts of them, lower case.
const CODES: &[&str] = &[
    "context_length",
    "context_window",
    "context_size",
    "context_overflow",
    "contextlength",
    "contextwindow",
    "prompt_too_long",
    "prompttoolong",
    "input_too_long",
    "input_length",
    "max_prompt_tokens",
    "tokens_limit_reached",
    "token_limit_exceeded",
    "request_too_large",
];

/// Codes that are numbers: Zhipu's for a prompt that is too long (docs.z.ai, error codes, 2026-11).
const NUMBERS: &[&str] = &["1261"];

/// Words that a limit by time, by money or by load has, and a limit of length has not.
const NOT_LENGTH: &[&str] = &[
    "per minute",
    "per min",
    "per hour",
    "per day",
    "per second",
    "per month",
    "/min",
    "monthly",
    "weekly",
    "daily",
    "rate limit",
    "rate_limit",
    "ratelimit",
    "throttl",
    "too many requests",
    "please wait",
    "quota",
    "billing",
    "credit",
    "usage limit",
    "queue",
    "concurren",
    "deadline",
    "timed out",
    "timeout",
    "cancel",
    "memory",
    "busy",
    "频率",
    "速率",
];

/// A request that can never fit into what a minute allows (OpenAI, Groq): waiting does not help, a shorter request does.
const NEVER_FITS: &[&str] = &["request too large", "must be reduced in order to run"];

/// Words for being over a bound.
const OVER: &[&str] = &[
    "exceed",
    "exceeds",
    "exceeded",
    "exceeding",
    "overflow",
    "overflows",
    "overflowed",
    "reduce",
    "reduced",
    "shorten",
    "shorter",
    "truncate",
    "longer",
    "larger",
    "greater",
    "bigger",
    ">",
    "<=",
    "≤",
];

/// The same in two words or more.
const OVER_PHRASES: &[&str] = &[
    "too long",
    "too large",
    "too many",
    "too big",
    "more than",
    "higher than",
    "less than",
    "fewer than",
    "at most",
    "up to",
    "over the",
    "above the",
    "not fit",
    "n't fit",
    "not enough",
    "limit reached",
];

/// Words that set one number against another: `is 9000 while the limit is 8192`.
const AGAINST: &[&str] = &["but", "while", "however", "whereas", "only", "limit", "maximum", "max"];

/// What is measured.
const LENGTH: &[&str] = &[
    "token", "tokens", "length", "len", "context", "window", "ctx", "long", "large", "big", "size", "payload", "byte",
    "bytes",
];

/// What a model reads.
const INPUT: &[&str] =
    &["input", "inputs", "prompt", "prompts", "message", "messages", "conversation", "history", "context"];

/// What may mean all that is sent, its bound on the output included.
const REQUEST: &[&str] = &["request", "requested", "sequence", "content", "text", "chat", "total", "body"];

/// What a model writes, and the names of parameters that bound it.
const OUTPUT: &[&str] = &[
    "output",
    "completion",
    "completions",
    "generate",
    "generated",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "maxoutputtokens",
    "maxtokens",
    "budget_tokens",
];

/// Parts of a request that have a bound of their own, which a shorter conversation would not keep.
const OTHER: &[&str] = &[
    "image",
    "images",
    "picture",
    "pdf",
    "page",
    "pages",
    "file",
    "files",
    "audio",
    "video",
    "name",
    "id",
    "identifier",
    "key",
    "description",
    "enum",
    "metadata",
    "header",
    "headers",
    "url",
    "stop",
    "array",
    "label",
];

/// Whether an error with these codes (separated by spaces) and this message, both in lower case, says that the request is
/// longer than the model can read.
pub(super) fn too_long(codes: &str, message: &str) -> bool {
    if CODES.iter().any(|code| codes.contains(code)) || codes.split(' ').any(|code| NUMBERS.contains(&code)) {
        return true;
    }
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| message.contains(phrase) || codes.contains(phrase));
    if says(NEVER_FITS) {
        return true;
    }
    if says(NOT_LENGTH) {
        return false;
    }
    // Chinese services report it in Chinese as well: "the input, the context or the length goes over".
    if message.contains('超') && ["长", "上下文", "token"].iter().any(|word| message.contains(word)) {
        return true;
    }
    // What is invalid there is what was put in, whichever part of it.
    let message = message.replace("input validation error", "error").replace("malformed input request", "error");
    let sentences = message.split(['\n', ';']).flat_map(|part| part.split(". ")).map(Sentence::read);
    let (mut over, mut numbers, mut window) = (false, 0, false);
    for it in sentences {
        match it.judge() {
            Some(verdict) => return verdict,
            None => {
                over |= it.over;
                numbers += it.numbers;
                window |= it.window;
            }
        }
    }
    // One sentence tells the window, and another one how much was sent.
    window && (over || numbers >= 2)
}

/// What one sentence of a message is about.
#[derive(Default)]
struct Sentence {
    over: bool,
    length: bool,
    /// A length that is only ever that of a conversation.
    own_length: bool,
    input: bool,
    request: bool,
    /// The input, and not only as the context that it has to fit into.
    clear_input: bool,
    output: bool,
    other: bool,
    /// The window of the model is named.
    window: bool,
    /// Tokens, a limit of them, and nothing else.
    token_limit: bool,
    /// Numbers that can be lengths.
    numbers: usize,
}

impl Sentence {
    fn read(text: &str) -> Self {
        let mut it = Sentence::default();
        let words: Vec<&str> = text
            .split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '>' | '<' | '=' | '≤')))
            .filter(|word| !word.is_empty())
            .collect();
        let parts = || words.iter().flat_map(|word| word.split('_'));
        let any = |list: &[&str]| parts().any(|part| list.contains(&part));
        let phrase = |list: &[&str]| list.iter().any(|phrase| text.contains(phrase));
        it.numbers = words.iter().filter(|word| word.len() >= 3 && word.parse::<u64>().is_ok()).count();
        let compared = it.numbers >= 2 && any(AGAINST);
        let ranged = text.contains("range of") && text.contains("should be");
        it.over = any(OVER) || phrase(OVER_PHRASES) || compared || ranged;
        it.length = any(LENGTH);
        it.own_length = any(&["token", "tokens", "context"]);
        it.input = any(INPUT);
        it.clear_input = parts().any(|part| INPUT.contains(&part) && part != "context");
        it.request = any(REQUEST);
        it.output = words.iter().any(|word| OUTPUT.contains(word)) || text.contains("new tokens");
        it.other = any(OTHER);
        let windows = words.windows(2).any(|pair| {
            matches!(pair, ["context", next] if matches!(*next, "length" | "window" | "size" | "limit"))
                || matches!(pair, ["token" | "tokens", "limit"] | ["prompt", "length"])
        });
        it.window = windows && !it.other && !it.output;
        it.token_limit = any(&["token", "tokens"]) && (text.contains("too many") || any(&["limit"]));
        it
    }

    /// Whether this sentence says that the input is too long (`true`) or that something else is (`false`); `None` when it says
    /// neither.
    fn judge(&self) -> Option<bool> {
        if !self.over {
            return None;
        }
        if self.output && !self.clear_input {
            return Some(false);
        }
        let named = self.input || self.request || self.token_limit;
        (self.length && named && (self.own_length || !self.other)).then_some(true)
    }
}
