//! What each model of the vendor takes and refuses, read from its name; pure.
//!
//! The rules are those of platform.claude.com/docs (models overview, the migration guides of 5, 5.5 and 4.7, adaptive
//! thinking, preserved thinking, structured outputs; 2026-11). A Claude that is newer than these rules is taken for the
//! newest kind, which refuses most and so is sent least; a model that is no Claude, at a server that merely speaks the
//! format, for what such servers have in common.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) thinking: Thinking,
    /// It can be made to call a certain tool, as long as it does not think.
    pub(super) can_be_forced: bool,
    /// It takes a temperature, as long as it does not think.
    pub(super) temperature: bool,
    /// It takes `output_config.effort`.
    pub(super) effort: bool,
    /// It takes `output_config.format`.
    pub(super) output_format: bool,
    /// Its thinking is refused when anything before it has changed, unless the request says otherwise.
    pub(super) binds_thinking: bool,
    /// Most tokens of an answer, thinking included; for a model that is no Claude, what any server takes.
    pub(super) output_tokens_max: u32,
}

/// How a model is made to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It cannot.
    Never,
    /// With a budget, when asked; then a turn must begin with a thought.
    Budget,
    /// As much as it sees fit, when asked.
    Asked,
    /// As much as it sees fit, unless told not to.
    Default,
    /// As much as it sees fit, always.
    Always,
}

impl Model {
    /// The model of this name, in the vendor's own spelling or a reseller's (`anthropic/claude-opus-4.6`,
    /// `anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-3-7-sonnet@20250219`).
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some(at) = name.find("claude") else { return Model::OTHER };
        let words: Vec<_> = name[at..].split(|c: char| !c.is_ascii_alphanumeric()).skip(1).collect();
        let family = words.iter().position(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
        let (before, after) = match family {
            Some(at) => (&words[..at], &words[at + 1..]),
            None => (&words[..], &[][..]),
        };
        // Up to 3.7 the version stood before the family; dates have eight digits.
        let version = number_pair(after).or_else(|| number_pair(before));
        let family = family.map_or("", |at| words[at]);
        match (family, version) {
            ("opus" | "sonnet" | "haiku", Some(version)) => Model::of(family, version),
            ("fable" | "mythos", version) if version < Some((5, 1)) => Model { binds_thinking: false, ..Model::NEWEST },
            _ => Model::NEWEST,
        }
    }

    fn of(family: &str, version: (u32, u32)) -> Self {
        let is_haiku = family == "haiku";
        let thinking = match version {
            version if version < (3, 7) => Thinking::Never,
            version if version < (4, 6) => Thinking::Budget,
            version if version < (5, 0) => Thinking::Asked,
            version if version < (5, 5) || is_haiku => Thinking::Default,
            _ => Thinking::Always,
        };
        let output_tokens_max = match (family, version) {
            (_, version) if version < (3, 5) => 4_096,
            (_, version) if version < (3, 7) => 8_192,
            ("opus", version) if version < (4, 5) => 32_000,
            ("sonnet", version) if version < (5, 0) => 64_000,
            (_, version) if version < (4, 6) => 64_000,
            _ => 128_000,
        };
        Model {
            thinking,
            can_be_forced: version < (5, 5) || is_haiku,
            temperature: version < (4, 7),
            effort: version >= (4, 6),
            output_format: version >= (4, 5),
            binds_thinking: version >= (5, 5),
            output_tokens_max,
        }
    }

    /// Fable, Mythos, Opus 5.5, and whatever comes.
    const NEWEST: Model = Model {
        thinking: Thinking::Always,
        can_be_forced: false,
        temperature: false,
        effort: true,
        output_format: true,
        binds_thinking: true,
        output_tokens_max: 128_000,
    };

    /// DeepSeek, Moonshot, Z.ai and MiniMax offer their models in this format too, as do vLLM, llama.cpp and Ollama; their
    /// smallest limit of an answer is this.
    pub(super) const OTHER: Model = Model {
        thinking: Thinking::Budget,
        can_be_forced: true,
        temperature: true,
        effort: false,
        output_format: false,
        binds_thinking: false,
        output_tokens_max: 8_192,
    };
}

/// The version at the beginning of these words: one number or two.
fn number_pair(words: &[&str]) -> Option<(u32, u32)> {
    let number = |at: usize| words.get(at).filter(|word| word.len() <= 2)?.parse().ok();
    Some((number(0)?, number(1).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_model_takes() {
        use Thinking::{Always, Asked, Budget, Default, Never};
        // Thinking, can be forced, temperature, most tokens.
        let table = [
            ("claude-3-opus-20240229", Never, true, true, 4_096),
            ("claude-3-5-haiku-latest", Never, true, true, 8_192),
            ("claude-3-7-sonnet@20250219", Budget, true, true, 64_000),
            ("claude-opus-4-20250514", Budget, true, true, 32_000),
            ("anthropic.claude-opus-4-1-20250805-v1:0", Budget, true, true, 32_000),
            ("claude-opus-4-5", Budget, true, true, 64_000),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", Budget, true, true, 64_000),
            ("claude-haiku-4-5-20251001", Budget, true, true, 64_000),
            ("anthropic/claude-opus-4.6", Asked, true, true, 128_000),
            ("claude-sonnet-4-6", Asked, true, true, 64_000),
            ("claude-opus-4-8", Asked, true, false, 128_000),
            ("claude-opus-5", Default, true, false, 128_000),
            ("claude-sonnet-5", Default, true, false, 128_000),
            ("claude-haiku-5-5", Default, true, false, 128_000),
            ("claude-sonnet-5-5", Always, false, false, 128_000),
            ("claude-opus-5-5", Always, false, false, 128_000),
            ("claude-fable-5", Always, false, false, 128_000),
            ("claude-mythos-preview", Always, false, false, 128_000),
            ("claude-opus-6", Always, false, false, 128_000),
            ("claude-novel-9", Always, false, false, 128_000),
            ("claude", Always, false, false, 128_000),
            ("deepseek-chat", Budget, true, true, 8_192),
            ("", Budget, true, true, 8_192),
        ];
        for (name, thinking, can_be_forced, temperature, tokens) in table {
            let model = Model::named(name);
            assert_eq!(
                (model.thinking, model.can_be_forced, model.temperature, model.output_tokens_max),
                (thinking, can_be_forced, temperature, tokens),
                "{name}"
            );
        }
        let versions = ["claude-opus-4-1", "claude-opus-4-5", "claude-opus-4-6", "claude-fable-5", "claude-haiku-5-5"];
        let with = |take: fn(Model) -> bool| versions.map(|name| take(Model::named(name)));
        assert_eq!(with(|model| model.output_format), [false, true, true, true, true]);
        assert_eq!(with(|model| model.effort), [false, false, true, true, true]);
        assert_eq!(with(|model| model.binds_thinking), [false, false, false, false, true]);
    }
}
