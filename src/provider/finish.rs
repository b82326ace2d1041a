//! Reasons for which models stop: one table of the words of all dialects and servers, and what follows from each.
//!
//! | ending | what follows |
//! |---|---|
//! | whole | the answer counts |
//! | cut | the answer counts as cut: none of its calls runs, and its text is no final answer |
//! | full | a failure: the conversation is too long for this model |
//! | filtered, refused | a failure: another target may answer; nothing of it counts |
//! | paused | the answer is sent back as it came, and the model goes on |
//! | broken | a failure: the request is sent again |
//!
//! Servers copy words from each other, so a word means the same whichever dialect it comes in. Always true:
//! - A text without a finish reason is broken. Calls whose arguments are closed may do without: several servers never
//!   give a reason with calls.
//! - An answer that neither says nor calls anything is broken, however it ended.

use super::{Class, Failure, failure::failure};
use crate::chat::{Answer, AnswerPart, Finish};

/// What a finish reason means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// All was said.
    Stop,
    /// The calls want their results.
    ToolCalls,
    /// A limit on the output cut it.
    Cut,
    /// Conversation and answer filled the context window.
    Full,
    /// A filter of the provider stopped it.
    Filtered,
    /// The model declined.
    Refused,
    /// The provider interrupted a long turn, which goes on with the next request.
    Paused,
    /// Trouble of the server.
    Interrupted,
    /// The model wrote what the server could not read.
    Malformed,
    /// The request was at fault.
    Fault,
}

/// The words, in lower case and with underscores, by what they mean. Sources, 2026-11: OpenAI (chat: `finish_reason`;
/// responses: `status` and `incomplete_details.reason`), Anthropic (`stop_reason`), Gemini and Vertex AI (`FinishReason`),
/// Mistral (`model_length`), DeepSeek (`insufficient_system_resource`), Z.AI (`sensitive`, `network_error`), Cohere (upper
/// case: `COMPLETE`, `ERROR_TOXIC`), OpenRouter (`error`, and `native_finish_reason` beside its own), Amazon Bedrock
/// (`guardrail_intervened`, `content_filtered`, `malformed_…`), watsonx (`time_limit`, `cancelled`), vLLM and SGLang
/// (`abort`), TGI (`eos_token`).
const WORDS: &[(Ending, &[&str])] = &[
    (
        Ending::Stop,
        &[
            "stop",
            "eos",
            "eos_token",
            "end_turn",
            "stop_sequence",
            "complete",
            "completed",
            "end_of_text",
            "finished",
            "done",
        ],
    ),
    (Ending::ToolCalls, &["tool_calls", "tool_call", "tool_use", "function_call", "function_calls"]),
    (
        Ending::Cut,
        &[
            "length",
            "max_tokens",
            "max_output_tokens",
            "max_completion_tokens",
            "token_limit",
            "max_new_tokens",
            "limit",
            // OpenAI's responses name no reason only where that is it; others leave it out.
            "incomplete",
        ],
    ),
    (
        Ending::Full,
        &[
            "model_context_window_exceeded",
            "model_length",
            "context_window_exceeded",
            "context_length_exceeded",
            "context_length",
            "context_limit",
            "max_context_length",
            "max_prompt_tokens",
            "error_limit",
        ],
    ),
    (
        Ending::Filtered,
        &[
            "content_filter",
            "content_filtered",
            "guardrail_intervened",
            "safety",
            "recitation",
            "language",
            "blocklist",
            "prohibited_content",
            "spii",
            "image_safety",
            "image_prohibited_content",
            "image_recitation",
            "image_other",
            "no_image",
            "model_armor",
            "escalation",
            "sensitive",
            "error_toxic",
            "moderation",
            "blocked",
            "data_inspection_failed",
        ],
    ),
    (Ending::Refused, &["refusal", "refused"]),
    (Ending::Paused, &["pause_turn", "pause"]),
    (
        Ending::Interrupted,
        &[
            "insufficient_system_resource",
            "network_error",
            "error",
            "abort",
            "aborted",
            "cancel",
            "cancelled",
            "canceled",
            "user_cancel",
            "timeout",
            "time_limit",
        ],
    ),
    (
        Ending::Malformed,
        &[
            "malformed_function_call",
            "unexpected_tool_call",
            "too_many_tool_calls",
            "malformed_response",
            "malformed_tool_use",
            "malformed_model_output",
            "malformed_tool_call",
            // Gemini's for reasons that it does not tell.
            "other",
            "unknown",
        ],
    ),
    (Ending::Fault, &["missing_thought_signature"]),
];

/// What gives the meaning of a word away that is not in the table, in this order.
const SIGNS: &[(Ending, &[&str])] = &[
    (
        Ending::Filtered,
        &[
            "filter",
            "safety",
            "guardrail",
            "moderat",
            "prohibit",
            "blocked",
            "sensitive",
            "policy",
            "recitation",
            "toxic",
        ],
    ),
    (Ending::Refused, &["refus"]),
    (Ending::Malformed, &["malformed", "invalid_tool", "parse"]),
    (Ending::Full, &["context"]),
    (Ending::Cut, &["length", "max_", "limit", "truncat", "incomplete"]),
    (Ending::Interrupted, &["error", "abort", "cancel", "timeout", "timed_out", "interrupt", "fail", "unavailable"]),
    (Ending::ToolCalls, &["tool"]),
];

impl Ending {
    /// The meaning of a word; `None` when nothing gives it away.
    fn of(word: &str) -> Option<Self> {
        let word: String = word
            .trim()
            .chars()
            .map(|letter| if matches!(letter, '-' | ' ') { '_' } else { letter.to_ascii_lowercase() })
            .collect();
        let word = word.strip_prefix("finish_reason_").unwrap_or(&word);
        let listed = WORDS.iter().find(|(_, words)| words.contains(&word));
        let signed = || SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| word.contains(sign)));
        listed.or_else(signed).map(|(ending, _)| *ending)
    }

    /// How little of an answer may be used.
    fn weight(self) -> u8 {
        match self {
            Ending::Filtered | Ending::Refused => 5,
            Ending::Fault | Ending::Malformed | Ending::Interrupted => 4,
            Ending::Full => 3,
            Ending::Cut => 2,
            Ending::Paused => 1,
            Ending::Stop | Ending::ToolCalls => 0,
        }
    }
}

/// How an answer ended, as its server says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reported<'a> {
    /// The finish reason; `None` when none came.
    pub(super) reason: Option<&'a str>,
    /// What a gateway hands on as the reason of the provider behind it. It counts if it is worse.
    pub(super) native: Option<&'a str>,
    /// The model declined, in the member that its dialect has for that.
    pub(super) declined: bool,
    /// More about the reason.
    pub(super) why: Option<&'a str>,
    /// The answer holds calls.
    pub(super) has_calls: bool,
    /// The answer came as one document of a server that has no member for the reason.
    pub(super) has_no_member: bool,
}

/// How an answer ended.
///
/// # Errors
/// When nothing of it can be used.
pub(super) fn finish(said: Reported<'_>) -> Result<Finish, Failure> {
    if said.declined {
        return Err(refused("the model refused to answer", None, said.why));
    }
    let Some(reason) = said.reason.filter(|reason| !reason.trim().is_empty()) else {
        return match (said.has_calls, said.has_no_member) {
            (true, _) => Ok(Finish::ToolCalls),
            (false, true) => Ok(Finish::Other(String::new())),
            (false, false) => {
                Err(failure(Class::MalformedAnswer, "the answer broke off: it ended without a finish reason"))
            }
        };
    };
    // Of equals the last, which is the server's own.
    let known = [said.native, Some(reason)].into_iter().flatten();
    let known = known.filter_map(|word| Some((Ending::of(word)?, word))).max_by_key(|(ending, _)| ending.weight());
    let (ending, word) = known.map_or((None, reason), |(ending, word)| (Some(ending), word));
    let ended = || match said.why {
        Some(why) => format!("the answer ended with {word}: {why}"),
        None => format!("the answer ended with {word}"),
    };
    match ending {
        Some(Ending::Stop) => Ok(Finish::Stop),
        Some(Ending::ToolCalls) => Ok(Finish::ToolCalls),
        Some(Ending::Cut) => Ok(Finish::Length),
        Some(Ending::Paused) => Ok(Finish::Paused),
        Some(Ending::Full) => Err(failure(
            Class::ContextTooLong,
            &format!("the conversation and the answer do not fit into the model's context window ({word})"),
        )),
        Some(Ending::Filtered) => {
            Err(refused("the provider's content filter stopped the answer", Some(word), said.why))
        }
        Some(Ending::Refused) => Err(refused("the model refused to answer", Some(word), said.why)),
        Some(Ending::Interrupted) => Err(failure(Class::Transient, &ended())),
        Some(Ending::Malformed) => Err(failure(Class::MalformedAnswer, &ended())),
        Some(Ending::Fault) => Err(failure(Class::CallerFault, &ended())),
        None => Ok(Finish::Other(reason.to_owned())),
    }
}

fn refused(what: &str, word: Option<&str>, why: Option<&str>) -> Failure {
    let word = word.map(|word| format!(" ({word})")).unwrap_or_default();
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    failure(Class::ContentRefused, &format!("{what}{word}{why}"))
}

/// The answer, if there is something in it to go on with.
///
/// # Errors
/// When it neither says nor calls anything: it is empty, or reasoning alone.
pub(super) fn with_content(answer: Answer) -> Result<Answer, Failure> {
    let has_call = answer.calls().next().is_some();
    if has_call || has_words(&answer.text()) {
        return Ok(answer);
    }
    let wrote_nothing = answer.parts.is_empty() && answer.usage.is_none_or(|usage| usage.output == 0);
    match answer.finish {
        // OpenRouter reports a conversation that is too long as an answer that is cut (its documentation, 2026-11), and
        // llama.cpp one that leaves no room.
        Finish::Length if wrote_nothing => Err(failure(
            Class::ContextTooLong,
            "the answer was cut before it began: the conversation is too long for the model",
        )),
        // All of it went into thoughts: the model is told.
        Finish::Length => Ok(answer),
        Finish::Paused if !answer.parts.is_empty() => Ok(answer),
        _ => {
            let thoughts = |part: &AnswerPart| matches!(part, AnswerPart::Reasoning(_) | AnswerPart::Text(_));
            let what = match answer.parts.iter().any(thoughts) {
                true => "the answer holds nothing but reasoning",
                false => "the answer is empty",
            };
            Err(failure(Class::MalformedAnswer, what))
        }
    }
}

/// Whether a text says something beside the thoughts that some servers leave in it.
fn has_words(text: &str) -> bool {
    let text = text.trim();
    match text.strip_prefix("<think>") {
        Some(thought) => thought.rsplit_once("</think>").is_some_and(|(_, rest)| !rest.trim().is_empty()),
        None => !text.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Reasoning, Usage};

    fn class(said: Reported<'_>) -> Result<Finish, Class> {
        finish(said).map_err(|failure| failure.class)
    }

    fn said(reason: &str) -> Reported<'_> {
        Reported { reason: Some(reason), ..Reported::default() }
    }

    #[test]
    fn every_word_has_one_meaning() {
        let words: Vec<_> = WORDS.iter().flat_map(|(_, words)| *words).collect();
        let once: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(words.len(), once.len());
        assert!(words.iter().all(|word| **word == word.to_ascii_lowercase().replace('-', "_")));
    }

    #[test]
    fn reasons_of_all_dialects_are_told_apart() {
        let cut = || Ok(Finish::Length);
        for (word, meaning) in [
            ("stop", Ok(Finish::Stop)),
            ("STOP", Ok(Finish::Stop)),
            ("FINISH_REASON_STOP", Ok(Finish::Stop)),
            ("end_turn", Ok(Finish::Stop)),
            ("tool-calls", Ok(Finish::ToolCalls)),
            ("TOOL_CALL", Ok(Finish::ToolCalls)),
            ("length", cut()),
            ("MAX_TOKENS", cut()),
            ("incomplete", cut()),
            ("model_length", Err(Class::ContextTooLong)),
            ("model_context_window_exceeded", Err(Class::ContextTooLong)),
            ("content_filter", Err(Class::ContentRefused)),
            ("SAFETY", Err(Class::ContentRefused)),
            ("RECITATION", Err(Class::ContentRefused)),
            ("sensitive", Err(Class::ContentRefused)),
            ("ERROR_TOXIC", Err(Class::ContentRefused)),
            ("refusal", Err(Class::ContentRefused)),
            ("pause_turn", Ok(Finish::Paused)),
            ("insufficient_system_resource", Err(Class::Transient)),
            ("network_error", Err(Class::Transient)),
            ("abort", Err(Class::Transient)),
            ("MALFORMED_FUNCTION_CALL", Err(Class::MalformedAnswer)),
            ("MISSING_THOUGHT_SIGNATURE", Err(Class::CallerFault)),
            ("OTHER", Err(Class::MalformedAnswer)),
            // Words that nobody has listed.
            ("output_blocked_by_safety_system", Err(Class::ContentRefused)),
            ("reached_max_length", cut()),
            ("upstream_failure", Err(Class::Transient)),
            ("<|im_end|>", Ok(Finish::Other("<|im_end|>".into()))),
        ] {
            assert_eq!(class(said(word)), meaning, "{word}");
        }
    }

    #[test]
    fn the_reason_behind_a_gateway_counts_if_it_is_worse() {
        for (reason, native, meaning) in [
            ("stop", "SAFETY", Err(Class::ContentRefused)),
            ("stop", "insufficient_system_resource", Err(Class::Transient)),
            ("content_filter", "STOP", Err(Class::ContentRefused)),
            ("tool_calls", "STOP", Ok(Finish::ToolCalls)),
            ("stop", "<|eot|>", Ok(Finish::Stop)),
            ("stop", "", Ok(Finish::Stop)),
        ] {
            assert_eq!(class(Reported { native: Some(native), ..said(reason) }), meaning, "{reason} {native}");
        }
    }

    #[test]
    fn a_text_without_a_reason_is_broken() {
        let none = Reported::default();
        assert_eq!(class(none), Err(Class::MalformedAnswer));
        assert_eq!(class(Reported { reason: Some(" "), ..none }), Err(Class::MalformedAnswer));
        assert_eq!(class(Reported { has_calls: true, ..none }), Ok(Finish::ToolCalls));
        assert_eq!(class(Reported { has_no_member: true, ..none }), Ok(Finish::Other(String::new())));
        assert_eq!(class(Reported { declined: true, ..said("stop") }), Err(Class::ContentRefused));
    }

    #[test]
    fn an_answer_must_say_or_call_something() {
        let thought = || AnswerPart::Reasoning(Reasoning { text: "Hmm.".into(), opaque: None });
        let text = |text: &str| AnswerPart::Text(text.into());
        let some = Some(Usage { input: 10, output: 5, ..Usage::default() });
        let malformed = Err(Class::MalformedAnswer);
        for (parts, finish, usage, meaning) in [
            (vec![text("Hello")], Finish::Stop, None, Ok(())),
            (vec![], Finish::Stop, some, malformed),
            (vec![text(" \n")], Finish::Other(String::new()), some, malformed),
            (vec![thought()], Finish::Stop, some, malformed),
            (vec![text("<think>Hmm.</think>\n")], Finish::Stop, some, malformed),
            (vec![text("<think>Hmm.")], Finish::Stop, some, malformed),
            (vec![text("<think>Hmm.</think> Yes.")], Finish::Stop, some, Ok(())),
            (vec![thought()], Finish::Length, some, Ok(())),
            (vec![], Finish::Length, some, Ok(())),
            (vec![], Finish::Length, None, Err(Class::ContextTooLong)),
            (vec![thought()], Finish::Paused, None, Ok(())),
            (vec![], Finish::Paused, None, malformed),
        ] {
            let answer = Answer { parts, finish, usage, model: None, id: None };
            let told = format!("{answer:?}");
            assert_eq!(with_content(answer).map(drop).map_err(|failure| failure.class), meaning, "{told}");
        }
    }
}
