//! The table of dialects: what opens a call, what may follow, what stands around it, and whose dialect it is.

use std::{collections::HashMap, sync::LazyLock};

use super::tags::{Form, Shape};

/// A marker behind which a call may stand. Here and in all tables, `:>` at the end of a marker stands for a suffix
/// ([`begins_marker`](super::region::begins_marker)).
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) marker: &'static str,
    /// What ends the call, where that is not the end of its body.
    pub(super) ends: &'static [&'static str],
    /// What may follow, and the name of the dialect that it makes.
    pub(super) bodies: &'static [(Body, &'static str)],
    /// Only at the beginning of a line.
    pub(super) at_line: bool,
    pub(super) of: Families,
}

/// The form of a call behind its marker.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// One or more JSON objects with name and arguments.
    Object,
    /// A JSON list of them.
    List,
    /// Python: `[f(a=1), g()]`, or `f(a=1)` and more of them.
    Python,
    /// `name.call(a=1)`.
    Builtin,
    /// `name[ARGS]{…}`, an id in between.
    Args,
    /// The name of a tool on offer on a line of its own, and `{…}` on the next.
    Recipient,
    /// `functions.name:0<|tool_call_argument_begin|>{…}`.
    Kimi,
    /// `name<｜tool▁sep｜>{…}`, or `function<｜tool▁sep｜>name` and the JSON in a code fence.
    DeepSeek,
    /// `call:name{…}`, its strings between these.
    Gemma(&'static str),
    /// Tags. The marker is what opens a call.
    Tags(&'static Shape),
    /// The header of a message.
    Harmony,
    /// `Action:` and `Action Input:`.
    Action,
    /// A JSON list of objects with the name of a tool as their only key.
    Keyed,
    /// `name<|content_invoke_tool_json|>{…}`, or without the name.
    Inkling,
}

/// Families of models, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Families(u32);

macro_rules! families {
    ($($name:ident = $bit:literal [$($pattern:literal),*];)*) => {
        $(pub(super) const $name: Families = Families(1 << $bit);)*

        /// Parts of models' names, and the family that they tell.
        const PATTERNS: &[(&str, Families)] = &[$($(($pattern, $name)),*),*];
    };
}

families! {
    QWEN = 0 ["qwen", "qwq", "hermes", "nemotron", "arcee", "intellect", "mimo"];
    MISTRAL = 1 ["mistral", "mixtral", "ministral", "magistral", "codestral", "devstral", "pixtral", "voxtral"];
    LLAMA = 2 ["llama", "lfm", "olmo", "xlam", "toolace"];
    DEEPSEEK = 3 ["deepseek"];
    KIMI = 4 ["kimi", "moonshot"];
    GLM = 5 ["glm"];
    MINIMAX = 6 ["minimax"];
    GPT_OSS = 7 ["gpt-oss", "gpt_oss", "harmony"];
    GEMMA = 8 ["gemma"];
    GRANITE = 9 ["granite"];
    PHI = 10 ["phi-", "phi3", "phi4"];
    JAMBA = 11 ["jamba", "hunyuan", "nemotron"];
    COHERE = 12 ["command", "cohere", "aya"];
    STEP = 13 ["step-", "step3", "stepfun"];
    SEED = 14 ["seed"];
    CLAUDE = 15 ["claude"];
    HUNYUAN = 16 ["hunyuan", "hy3", "hy-3", "hy4", "hy-4"];
    MUSE = 17 ["muse"];
    INKLING = 18 ["inkling"];
    APERTUS = 19 ["apertus"];
    MINICPM = 20 ["minicpm"];
    GIGACHAT = 21 ["gigachat"];
    DOTS = 22 ["dots"];
    IFM = 23 ["k2-horizon", "k2_horizon", "ifm"];
    LONGCAT = 24 ["longcat"];
    INTERN = 25 ["intern"];
    CLOVA = 26 ["hyperclova", "hcx"];
    FUNCTIONARY = 27 ["functionary"];
    GROK = 28 ["grok"];
}

impl Families {
    /// What any model may write: it was in everybody's training.
    pub(super) const ANY: Families = Families(u32::MAX);

    /// The families that a model's name tells; all of them where it tells none.
    pub(super) fn of(model: Option<&str>) -> Self {
        let model = model.unwrap_or_default().to_ascii_lowercase();
        let told = PATTERNS.iter().filter(|(pattern, _)| model.contains(pattern)).map(|(_, families)| families.0);
        match told.fold(0, |all, family| all | family) {
            0 => Families::ANY,
            told => Families(told),
        }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Families(self.0 | other.0)
    }

    /// All families but these.
    const fn but(self) -> Self {
        Families(!self.0)
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

const JSON: &[(Body, &str)] = &[(Body::Object, "json_tag"), (Body::List, "json_tag"), (Body::Python, "python_tag")];

const fn row(marker: &'static str, ends: &'static [&'static str], bodies: &'static [(Body, &'static str)]) -> Opener {
    Opener { marker, ends, bodies, at_line: false, of: Families::ANY }
}

impl Opener {
    const fn only(self, of: Families) -> Self {
        Opener { of, ..self }
    }

    const fn line(self) -> Self {
        Opener { at_line: true, ..self }
    }
}

/// All openers. Sources are model cards, chat templates and reference parsers as of 2026-11.
pub(super) const OPENERS: &[Opener] = &[
    // Hermes 2 and 3, Qwen 2.5 and 3 (chat templates); Granite 3.1 a list (vLLM `granite_20b_fc`, `granite`);
    // GLM-4.5 and later a name and pairs of tags (zai-org/GLM-4.5 chat template, vLLM `glm4_moe`).
    row(
        "<tool_call>",
        &["</tool_call>"],
        &[(Body::Object, "hermes"), (Body::List, "granite"), (Body::Tags(&GLM_TAGS), "glm")],
    ),
    // Qwen3-Coder and after (its `qwen3coder_tool_parser.py`); Seed-OSS with its own wrapper (chat template); Llama 3.1's
    // custom tools with JSON between the tags (model card).
    row("<function=", &[], &[(Body::Tags(&QWEN_TAGS), "qwen3_coder")]),
    // MiniMax-M2 (tool calling guide in its repository) and Anthropic's XML (prompting guide), prefixed by some proxies.
    row("<invoke ", &[], &[(Body::Tags(&INVOKE_TAGS), "invoke")]).only(DOTS.but()),
    // dots (chat template, vLLM `dots`): the same with a newline at either side of values. The wrapper tells it from
    // models of other names ([`BY_WRAPPER`]).
    row("<invoke ", &[], &[(Body::Tags(&DOTS_TAGS), "dots")]).only(DOTS),
    // Claude 2 and 3 before they had native calls (Anthropic's legacy tool use guide): tags for everything.
    row("<invoke>", &[], &[(Body::Tags(&CHILD_TAGS), "claude2_xml")]),
    row(concat!("<", "antml:invoke "), &[], &[(Body::Tags(&PREFIXED_TAGS), "invoke")]),
    // DeepSeek V3.2 and V4 DSML (`encoding_dsv32.py` in its repository), V4.1 with a space.
    row("<｜DSML｜invoke ", &[], &[(Body::Tags(&DSML_TAGS), "dsml")]).only(DEEPSEEK),
    row("<｜DSML｜ invoke ", &[], &[(Body::Tags(&DSML_TAGS), "dsml")]).only(DEEPSEEK),
    // Step-3 (vLLM `step3`).
    row("<steptml:invoke ", &[], &[(Body::Tags(&STEP_TAGS), "step3")]).only(STEP),
    // MiniMax-M3 (chat template; SGLang `minimax_m3`).
    row("]<]minimax[>[<invoke ", &[], &[(Body::Tags(&M3_TAGS), "minimax_m3")]).only(MINIMAX),
    // Muse ATEM (chat template; omlx `muse_glimmer`); GigaChat 3.5 GCML (SGLang `gigachat35`).
    row("<atem:invoke ", &[], &[(Body::Tags(&ATEM_TAGS), "atem")]).only(MUSE),
    row("<｜GCML｜invoke ", &[], &[(Body::Tags(&GCML_TAGS), "gcml")]).only(GIGACHAT),
    // Grok (as it stands in the texts of several clients), its end at times with a quote.
    row("<xai:function_call ", &[], &[(Body::Tags(&XAI_TAGS), "xai")]).only(GROK),
    // MiniCPM4 and 5 (chat templates; SGLang `minicpm`).
    row("<function ", &[], &[(Body::Tags(&MINICPM_TAGS), "minicpm")]).only(MINICPM),
    // Hunyuan 3 and 4, whose tokens have a suffix that each release chooses anew (chat templates; vLLM `hy_v3`); the
    // arguments may be JSON.
    row("<tool_call:>", &[], &[(Body::Tags(&HY_TAGS), "hunyuan")]).only(HUNYUAN),
    // K2 Horizon (chat template; SGLang `k2_v3`).
    row(
        "<ifm|tool_call>",
        &["</ifm|tool_call>"],
        &[(Body::Object, "k2_horizon"), (Body::Tags(&IFM_TAGS), "k2_horizon")],
    )
    .only(IFM),
    // LongCat (vLLM `longcat`: JSON; LongCat 2: pairs).
    row(
        "<longcat_tool_call>",
        &["</longcat_tool_call>"],
        &[(Body::Object, "longcat"), (Body::Tags(&LONGCAT_TAGS), "longcat")],
    )
    .only(LONGCAT),
    // Kimi K3 XTML (`encoding_k3.py` in its repository).
    row("<|open|>call ", &[], &[(Body::Tags(&XTML_TAGS), "kimi_k3")]).only(KIMI),
    // Mistral before v11 a list, from v11 on name and arguments (mistral-common, tokenizers v3 to v13).
    row("[TOOL_CALLS]", &[], &[(Body::List, "mistral"), (Body::Object, "mistral"), (Body::Args, "mistral_v11")])
        .only(MISTRAL),
    // Llama 3.1 to 3.3 (model cards): JSON, or `.call(…)` of its built-in tools.
    row(
        "<|python_tag|>",
        &[],
        &[(Body::Object, "llama3_json"), (Body::List, "llama3_json"), (Body::Builtin, "llama3_builtin")],
    )
    .only(LLAMA),
    // Llama 4 (its prompt format's tokens around Python).
    row("<|python_start|>", &["<|python_end|>"], &[(Body::Python, "pythonic"), (Body::Object, "llama3_json")])
        .only(LLAMA),
    // LFM2 (model card).
    row(
        "<|tool_call_start|>",
        &["<|tool_call_end|>"],
        &[(Body::Python, "lfm2"), (Body::List, "lfm2"), (Body::Object, "lfm2")],
    )
    .only(LLAMA),
    // DeepSeek V3, R1-0528 and V3.1 (chat templates).
    row("<｜tool▁call▁begin｜>", &["<｜tool▁call▁end｜>"], &[(Body::DeepSeek, "deepseek_v3")]).only(DEEPSEEK),
    // Kimi K2 (tool call guidance in its repository).
    row("<|tool_call_begin|>", &["<|tool_call_end|>"], &[(Body::Kimi, "kimi_k2")]).only(KIMI),
    // gpt-oss (OpenAI's description of the harmony format); the prompt may have taken the first tokens.
    row("<|start|>assistant", &["<|call|>", "<|end|>", "<|return|>"], &[(Body::Harmony, "harmony")]).only(GPT_OSS),
    row("<|channel|>", &["<|call|>", "<|end|>", "<|return|>"], &[(Body::Harmony, "harmony")]).only(GPT_OSS),
    row("to=functions.", &["<|call|>", "<|end|>", "<|return|>"], &[(Body::Harmony, "harmony")]).only(GPT_OSS).line(),
    // Gemma 4 and FunctionGemma (function calling guides at ai.google.dev).
    row("<|tool_call>", &["<tool_call|>"], &[(Body::Gemma("<|\"|>"), "gemma4")]).only(GEMMA),
    row("<start_function_call>", &["<end_function_call>"], &[(Body::Gemma("<escape>"), "functiongemma")]).only(GEMMA),
    // Gemma 3 as its guide prompts it, and others: the fence itself says that it is a call.
    row("```tool_code\n", &["```"], JSON).line(),
    row("```tool_call\n", &["```"], JSON).line(),
    row("```tool_calls\n", &["```"], JSON).line(),
    row("```function_call\n", &["```"], JSON).line(),
    // Granite 3.0 (chat template), Phi-4-mini beside `functools` (chat template).
    row("<|tool_call|>", &["<|/tool_call|>"], &[(Body::List, "granite"), (Body::Object, "granite")])
        .only(GRANITE.and(PHI)),
    // Phi-4-mini (chat template).
    row("functools[", &[], &[(Body::List, "phi4")]).only(PHI),
    // Jamba and Hunyuan (chat templates); Nemotron of the Deci line (model card).
    row("<tool_calls>", &["</tool_calls>"], &[(Body::List, "jamba"), (Body::Object, "jamba")]).only(JAMBA),
    row("<TOOLCALL>", &["</TOOLCALL>"], &[(Body::List, "nemotron"), (Body::Object, "nemotron")]).only(JAMBA.and(QWEN)),
    // Cohere Command R7B and A (tool use guide).
    row("<|START_ACTION|>", &["<|END_ACTION|>"], &[(Body::List, "cohere"), (Body::Object, "cohere")]).only(COHERE),
    // Olmo 3 (chat template): Python, a line each. JSON in the tags of Anthropic's XML.
    row("<function_calls>", &["</function_calls>"], JSON),
    row("<function_call>", &["</function_call>"], JSON),
    // Tags that models without a format of their own make up for JSON.
    row("<functioncall>", &["</functioncall>"], JSON),
    row("<tool_use>", &["</tool_use>"], JSON),
    row("<TOOL_CALL>", &["</TOOL_CALL>"], JSON),
    row("<tools>", &["</tools>"], JSON),
    // LM Studio's default for models without a format of their own (its documentation).
    row("[TOOL_REQUEST]", &["[END_TOOL_REQUEST]"], JSON),
    // Inkling (SGLang `inkling`); the name stands before the marker too.
    row("<|message_model|>", &["<|end_message|>"], &[(Body::Inkling, "inkling")]).only(INKLING),
    row("<|content_invoke_tool_json|>", &["<|end_message|>"], &[(Body::Object, "inkling")]).only(INKLING),
    // Apertus (chat template; vLLM `apertus`).
    row("<|tools_prefix|>", &["<|tools_suffix|>"], &[(Body::Keyed, "apertus")]).only(APERTUS),
    // GigaChat 3 (vLLM and SGLang `gigachat3`): a token, or words and the separator of roles.
    row("<|function_call|>", &[], &[(Body::Object, "gigachat3")]).only(GIGACHAT),
    row("function call<|role_sep|>", &[], &[(Body::Object, "gigachat3")]).only(GIGACHAT).line(),
    // InternLM 2 and 3, Intern-S1 (chat templates; lmdeploy).
    row("<|action_start|><|plugin|>", &["<|action_end|>"], &[(Body::Object, "internlm")]).only(INTERN),
    // HyperCLOVA X SEED Think 14B (vLLM plugin of its makers); the one of 32B writes as GLM does.
    row("-> tool/function_call\n", &[], &[(Body::List, "hyperclova"), (Body::Object, "hyperclova")]).only(CLOVA),
    // Functionary 3.2 (chat template; llama.cpp `functionary_v3_2`).
    row(">>>", &[], &[(Body::Args, "functionary")]).only(FUNCTIONARY),
    // Gemini where it writes code in place of a call.
    row("<tool_code>", &["</tool_code>"], JSON),
    // Command R and R+ (chat template of 2024).
    row("Action: ```json\n", &["```"], &[(Body::List, "command_r"), (Body::Object, "command_r")]).only(COHERE).line(),
    // ReAct (Yao and others, 2022), as LangChain prompts it.
    row("Action:", &[], &[(Body::Action, "react")]).line(),
];

/// Functionary 3.2 at the beginning of an answer, where the prompt ends in its marker.
pub(super) static RECIPIENT: Opener = row("", &[], &[(Body::Recipient, "functionary")]).only(FUNCTIONARY);

/// The dialects that one form of tags makes, by what stands around: form, wrapper, name and tags.
pub(super) const BY_WRAPPER: &[(&str, &str, &str, &Shape)] = &[
    ("invoke", "<minimax:tool_call>", "minimax_m2", &INVOKE_TAGS),
    ("invoke", "<dots_function_call>", "dots", &DOTS_TAGS),
    ("invoke", "function_calls>", "anthropic_xml", &INVOKE_TAGS),
    ("qwen3_coder", "<seed:tool_call>", "seed_oss", &QWEN_TAGS),
];

/// What stands around calls and is no text beside one; else it stays.
pub(super) const FRAMES: &[&str] = &[
    "<tool_call>",
    "</tool_call>",
    "<tool_calls>",
    "</tool_calls>",
    "<function_calls>",
    "</function_calls>",
    "</function_call>",
    "</function>",
    "</parameters>",
    "</invoke>",
    "<TOOLCALL>",
    "</TOOLCALL>",
    concat!("<", "antml:function_calls>"),
    concat!("</", "antml:function_calls>"),
    concat!("</", "antml:invoke>"),
    "<minimax:tool_call>",
    "</minimax:tool_call>",
    "]<]minimax[>[<tool_call>",
    "]<]minimax[>[</tool_call>",
    "]<]minimax[>[",
    "<seed:tool_call>",
    "</seed:tool_call>",
    "<tool_calls:>",
    "</tool_calls:>",
    "</tool_call:>",
    "<end_of_tool_call:>",
    "<ifm|tool_calls>",
    "</ifm|tool_calls>",
    "</ifm|tool_call>",
    "</longcat_tool_call>",
    "<atem:function_calls>",
    "</atem:function_calls>",
    "</atem:invoke>",
    "<｜GCML｜tool_calls>",
    "</｜GCML｜tool_calls>",
    "</｜GCML｜invoke>",
    "<dots_function_call>",
    "</dots_function_call>",
    "</xai:function_call>",
    "<|message_model|>",
    "<|end_message|>",
    "<|content_model_end_sampling|>",
    "<|tools_suffix|>",
    "<|message_sep|>",
    "<|action_end|>",
    "</tool_code>",
    "</steptml:invoke>",
    "<｜tool_calls_begin｜>",
    "<｜tool_calls_end｜>",
    "<｜tool_call_begin｜>function<｜tool_sep｜>",
    "<｜tool_call_begin｜>",
    "<｜tool_call_end｜>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁end｜>",
    "<｜DSML｜function_calls>",
    "</｜DSML｜function_calls>",
    "<｜DSML｜tool_calls>",
    "</｜DSML｜tool_calls>",
    "<｜DSML｜ function_calls>",
    "</｜DSML｜ function_calls>",
    "<｜DSML｜ tool_calls>",
    "</｜DSML｜ tool_calls>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_section_begin|>",
    "<|tool_call_section_end|>",
    "<|tool_call_end|>",
    "<|/tool_call|>",
    "<tool_call|>",
    "<end_function_call>",
    "<|python_end|>",
    "<|END_ACTION|>",
    "[END_TOOL_REQUEST]",
    "<|open|>tools<|sep|>",
    "<|close|>tools<|sep|>",
    "<|close|>call<|sep|>",
    "<|close|>json<|sep|>",
];

/// Tokens that end a turn or a text, and what begins the next one; no text beside a call either.
pub(super) const TURNS: &[&str] = &[
    "<|im_end|>",
    "<|im_start|>assistant",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
    "<|eot|>",
    "<|end_of_turn|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|user|>",
    "<|end_of_msg|>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "</s>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "[|endofturn|]",
];

/// What a result begins with. Only tools have results: behind such a marker all is of the model's own making. The forms
/// are those in which the families' chat templates give results to their models.
pub(super) const RESULTS: &[&str] = &[
    "<tool_response>",
    "<tool_responses>",
    "<tool_result>",
    "<tool_results>",
    "<tool_output>",
    "<tool_outputs>",
    "<function_response>",
    "<function_responses>",
    "<function_result>",
    "<function_results>",
    "<TOOLRESPONSE>",
    "<TOOL_RESPONSE>",
    "<start_function_response>",
    "<|tool_response>",
    "<|tool_response|>",
    "<|tool_responses|>",
    "<|observation|>",
    "<|ipython|>",
    "<|start_header_id|>ipython",
    "<|start_header_id|>tool",
    "<|im_start|>tool",
    "<|im_start|>user",
    "<|START_TOOL_RESULT|>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁output▁begin｜>",
    "<｜DSML｜function_results>",
    "[TOOL_RESULTS]",
    "<|im_system|>tool",
    "<seed:tool_response>",
    "<minimax:tool_response>",
];

/// What a marker is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Marker {
    Opener(&'static Opener),
    Frame,
    Turn,
    Channel,
    /// Opens thinking that ends with this.
    Thinking(&'static str),
    /// Ends thinking.
    Thought,
    Result,
}

/// The markers that may begin a text: those with its first two bytes, or with its only one.
pub(super) fn markers(text: &str) -> impl Iterator<Item = &'static (&'static str, Marker)> {
    type Index = HashMap<(u8, Option<u8>), Vec<(&'static str, Marker)>>;
    static INDEX: LazyLock<Index> = LazyLock::new(|| {
        let of = |texts: &'static [&'static str], marker| texts.iter().map(move |text| (*text, marker));
        let thinking =
            THINKING.iter().flat_map(|(open, close)| [(*open, Marker::Thinking(close)), (*close, Marker::Thought)]);
        let all = OPENERS.iter().map(|opener| (opener.marker, Marker::Opener(opener)));
        let all = all.chain(thinking).chain(of(FRAMES, Marker::Frame)).chain(of(TURNS, Marker::Turn));
        let mut index = Index::new();
        for (text, marker) in all.chain(of(CHANNELS, Marker::Channel)).chain(of(RESULTS, Marker::Result)) {
            let bytes = text.as_bytes();
            for key in [(bytes[0], bytes.get(1).copied()), (bytes[0], None)] {
                index.entry(key).or_default().push((text, marker));
            }
        }
        index
    });
    let bytes = text.as_bytes();
    let key = (bytes.first().copied().unwrap_or_default(), bytes.get(1).copied());
    INDEX.get(&key).into_iter().flatten()
}

/// What marks channels, and is never text.
pub(super) const CHANNELS: &[&str] = &[
    "<|open|>response<|sep|>",
    "<|close|>response<|sep|>",
    "<|open|>message role=\"assistant\"<|sep|>",
    "<|close|>message<|sep|>",
    "<|content_text|>",
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
];

/// What opens and what closes thinking.
pub(super) const THINKING: &[(&str, &str)] = &[
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<mm:think>", "</mm:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|channel>thought", "<channel|>"),
    ("◁think▷", "◁/think▷"),
    ("<think:>", "</think:>"),
    ("<ifm|think>", "</ifm|think>"),
    ("<ifm|think_fast>", "</ifm|think_fast>"),
    ("<ifm|think_faster>", "</ifm|think_faster>"),
    ("<longcat_think>", "</longcat_think>"),
];

const QWEN_TAGS: Shape = Shape {
    form: Form::Equals,
    call: &["<function="],
    call_end: &["</function>"],
    param: &["<parameter="],
    param_end: &["</parameter>"],
    close: ">",
    around: &["<tool_call>", "</tool_call>", "<seed:tool_call>", "</seed:tool_call>"],
    framed: true,
};

const INVOKE_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<invoke "],
    call_end: &["</invoke>"],
    param: &["<parameter "],
    param_end: &["</parameter>"],
    close: ">",
    around: &["<minimax:tool_call>", "</minimax:tool_call>", "<function_calls>", "</function_calls>"],
    framed: false,
};

const PREFIXED_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &[concat!("<", "antml:invoke ")],
    call_end: &[concat!("</", "antml:invoke>")],
    param: &[concat!("<", "antml:parameter ")],
    param_end: &[concat!("</", "antml:parameter>")],
    close: ">",
    around: &[concat!("<", "antml:function_calls>"), concat!("</", "antml:function_calls>")],
    framed: false,
};

const DSML_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<｜DSML｜invoke ", "<｜DSML｜ invoke "],
    call_end: &["</｜DSML｜invoke>", "</｜DSML｜ invoke>"],
    param: &["<｜DSML｜parameter ", "<｜DSML｜ parameter "],
    param_end: &["</｜DSML｜parameter>", "</｜DSML｜ parameter>"],
    close: ">",
    around: &[
        "<｜DSML｜function_calls>",
        "</｜DSML｜function_calls>",
        "<｜DSML｜tool_calls>",
        "</｜DSML｜tool_calls>",
        "<｜DSML｜ function_calls>",
        "</｜DSML｜ function_calls>",
        "<｜DSML｜ tool_calls>",
        "</｜DSML｜ tool_calls>",
    ],
    framed: false,
};

const STEP_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<steptml:invoke "],
    call_end: &["</steptml:invoke>"],
    param: &["<steptml:parameter "],
    param_end: &["</steptml:parameter>"],
    close: ">",
    around: &["<｜tool_call_begin｜>", "<｜tool_call_end｜>", "<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"],
    framed: false,
};

/// A form with pairs of tags for key and value, by what stands before and behind the words of its tags.
macro_rules! pairs {
    ($name:ident, $before:literal, $behind:literal) => {
        const $name: Shape = Shape {
            form: Form::Pairs,
            call: &[concat!("<", $before, "tool_call", $behind, ">")],
            call_end: &[concat!("</", $before, "tool_call", $behind, ">")],
            param: &[
                concat!("<", $before, "arg_key", $behind, ">"),
                concat!("</", $before, "arg_key", $behind, ">"),
                concat!("<", $before, "arg_value", $behind, ">"),
            ],
            param_end: &[concat!("</", $before, "arg_value", $behind, ">")],
            close: ">",
            around: &[
                concat!("<", $before, "tool_sep", $behind, ">"),
                concat!("<", $before, "tool_calls", $behind, ">"),
                concat!("</", $before, "tool_calls", $behind, ">"),
            ],
            framed: false,
        };
    };
}

pairs!(GLM_TAGS, "", "");
pairs!(HY_TAGS, "", ":");
pairs!(IFM_TAGS, "ifm|", "");
pairs!(LONGCAT_TAGS, "longcat_", "");

/// A form with attributes, by what stands before the words of its tags.
macro_rules! invokes {
    ($name:ident, $before:literal, $around:literal) => {
        const $name: Shape = Shape {
            form: Form::Attributes,
            call: &[concat!("<", $before, "invoke ")],
            call_end: &[concat!("</", $before, "invoke>")],
            param: &[concat!("<", $before, "parameter ")],
            param_end: &[concat!("</", $before, "parameter>")],
            close: ">",
            around: &[concat!("<", $before, $around, ">"), concat!("</", $before, $around, ">")],
            framed: false,
        };
    };
}

invokes!(ATEM_TAGS, "atem:", "function_calls");
invokes!(GCML_TAGS, "｜GCML｜", "tool_calls");

const DOTS_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<invoke "],
    call_end: &["</invoke>"],
    param: &["<parameter "],
    param_end: &["</parameter>"],
    close: ">",
    around: &["</dots_function_call>"],
    framed: true,
};

const CHILD_TAGS: Shape = Shape {
    form: Form::Children,
    call: &["<invoke>"],
    call_end: &["</invoke>"],
    param: &["<"],
    param_end: &[],
    close: ">",
    around: &["<parameters>", "</parameters>", "<function_calls>", "</function_calls>"],
    framed: false,
};

const XAI_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<xai:function_call "],
    call_end: &["</xai:function_call>", "</xai:function_call\">"],
    param: &["<parameter "],
    param_end: &["</parameter>"],
    close: ">",
    around: &[],
    framed: false,
};

const MINICPM_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<function "],
    call_end: &["</function>"],
    param: &["<param "],
    param_end: &["</param>"],
    close: ">",
    around: &[],
    framed: false,
};

const M3_TAGS: Shape = Shape {
    form: Form::Named,
    call: &["]<]minimax[>[<invoke "],
    call_end: &["]<]minimax[>[</invoke>"],
    param: &["]<]minimax[>[<"],
    param_end: &[],
    close: ">",
    around: &["]<]minimax[>[<tool_call>", "]<]minimax[>[</tool_call>"],
    framed: false,
};

const XTML_TAGS: Shape = Shape {
    form: Form::Attributes,
    call: &["<|open|>call "],
    call_end: &["<|close|>call<|sep|>"],
    param: &["<|open|>argument "],
    param_end: &["<|close|>argument<|sep|>"],
    close: "<|sep|>",
    around: &["<|open|>tools<|sep|>", "<|close|>tools<|sep|>"],
    framed: false,
};
