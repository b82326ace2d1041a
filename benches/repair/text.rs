//! Calls left in the text, as the models' own templates write them. Shapes: the chat templates and reference parsers of
//! the models' cards (huggingface.co, vLLM's and SGLang's tool parsers), 2026-08.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::cases::{Class, Group, Seed, Spoilt, Truth, Wire};

const fn class(name: &'static str, policy: char, spoil: fn(&mut Rng, &Seed) -> Option<Spoilt>) -> Class {
    Class { group: Group::Text, name, policy, spoil }
}

pub const CLASSES: &[Class] = &[
    class("alone", 'A', alone),
    class("several", 'A', several),
    class("prose before", 'A', before),
    class("prose behind", 'R', behind),
    class("end marker missing", 'E', endless),
    class("end marker in a value", 'A', marker_in_value),
    class("marker in prose", 'R', marker_in_prose),
    class("behind reasoning", 'A', behind_reasoning),
    class("in reasoning only", 'R', in_reasoning),
    class("a tool that is not there", 'R', unknown),
];

/// How a family of models writes calls.
pub struct Dialect {
    pub name: &'static str,
    pub family: &'static str,
    /// What stands around all calls.
    around: (&'static str, &'static str),
    /// Between two of them.
    between: &'static str,
    /// One call; `None` when its arguments cannot be written so.
    one: fn(&str, &Map<String, Value>) -> Option<String>,
    /// What ends a call or its values: put into a value, it must stay there. Empty where there is none.
    end: &'static str,
    /// Whether several calls can be written.
    several: bool,
    /// Whether prose may stand beside the call.
    beside: bool,
}

const JSON: Dialect = Dialect {
    name: "",
    family: "",
    around: ("", ""),
    between: "\n",
    one: hermes,
    end: "",
    several: true,
    beside: true,
};

pub const DIALECTS: &[Dialect] = &[
    Dialect { name: "hermes", family: "Qwen/Qwen2.5-72B-Instruct", end: "\n</tool_call>", ..JSON },
    Dialect {
        name: "qwen xml",
        family: "Qwen/Qwen3-Coder-30B-A3B-Instruct",
        one: qwen,
        end: "\n</parameter>\n",
        ..JSON
    },
    Dialect {
        name: "mistral list",
        family: "mistralai/Mistral-7B-Instruct-v0.3",
        around: ("[TOOL_CALLS] [", "]"),
        between: ", ",
        one: name_arguments,
        end: "]",
        ..JSON
    },
    Dialect {
        name: "mistral args",
        family: "mistralai/Mistral-Small-3.2-24B",
        between: "",
        one: mistral,
        end: "[TOOL_CALLS]",
        ..JSON
    },
    Dialect {
        name: "llama json",
        family: "meta-llama/Llama-3.1-70B-Instruct",
        around: ("<|python_tag|>", ""),
        between: "; ",
        one: name_parameters,
        end: "; ",
        ..JSON
    },
    Dialect {
        name: "pythonic",
        family: "meta-llama/Llama-4-Maverick",
        around: ("[", "]"),
        between: ", ",
        one: python,
        end: ")]",
        beside: false,
        ..JSON
    },
    Dialect {
        name: "lfm2",
        family: "LiquidAI/LFM2-1.2B",
        around: ("<|tool_call_start|>[", "]<|tool_call_end|>"),
        between: ", ",
        one: python,
        end: ")]<|tool_call_end|>",
        ..JSON
    },
    Dialect {
        name: "deepseek v3",
        family: "deepseek-ai/DeepSeek-R1-0528",
        around: ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        one: deepseek_v3,
        end: "<｜tool▁call▁end｜>",
        ..JSON
    },
    Dialect {
        name: "deepseek v3.1",
        family: "deepseek-ai/DeepSeek-V3.1",
        around: ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
        between: "",
        one: deepseek_v31,
        end: "<｜tool▁call▁end｜>",
        ..JSON
    },
    Dialect {
        name: "deepseek v3.2",
        family: "deepseek-ai/DeepSeek-V3.2",
        around: ("<｜DSML｜function_calls>\n", "\n</｜DSML｜function_calls>"),
        one: dsml,
        end: "</｜DSML｜parameter>",
        ..JSON
    },
    Dialect {
        name: "kimi k2",
        family: "moonshotai/Kimi-K2-Instruct",
        around: ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        between: "",
        one: kimi,
        end: "<|tool_call_end|>",
        ..JSON
    },
    Dialect { name: "glm 4.5", family: "zai-org/GLM-4.5", one: glm, end: "</arg_value>\n", ..JSON },
    Dialect { name: "glm 4.7", family: "zai-org/GLM-4.7", between: "", one: glm_tight, end: "</arg_value>", ..JSON },
    Dialect {
        name: "minimax m2",
        family: "MiniMaxAI/MiniMax-M2",
        around: ("<minimax:tool_call>\n", "\n</minimax:tool_call>"),
        one: invoke,
        end: "</parameter>\n",
        ..JSON
    },
    Dialect {
        name: "anthropic xml",
        family: "some/model",
        around: ("<function_calls>\n", "\n</function_calls>"),
        one: invoke,
        end: "</parameter>\n",
        ..JSON
    },
    Dialect { name: "harmony", family: "openai/gpt-oss-120b", between: "", one: harmony, end: "<|call|>", ..JSON },
    Dialect { name: "gemma 4", family: "google/gemma-4-27b-it", between: "", one: gemma, end: "<tool_call|>", ..JSON },
    Dialect {
        name: "functiongemma",
        family: "google/functiongemma-270m-it",
        between: "",
        one: functiongemma,
        end: "<end_function_call>",
        ..JSON
    },
    Dialect {
        name: "granite",
        family: "ibm-granite/granite-3.0-8b-instruct",
        around: ("<|tool_call|>[", "]"),
        between: ", ",
        one: name_arguments,
        end: "]",
        ..JSON
    },
    Dialect {
        name: "phi 4",
        family: "microsoft/Phi-4-mini-instruct",
        around: ("functools[", "]"),
        between: ", ",
        one: name_arguments,
        end: "]",
        ..JSON
    },
    Dialect {
        name: "jamba",
        family: "ai21labs/AI21-Jamba-Mini-1.6",
        around: ("<tool_calls>[", "]</tool_calls>"),
        between: ", ",
        one: name_arguments,
        end: "]</tool_calls>",
        ..JSON
    },
    Dialect {
        name: "nemotron",
        family: "nvidia/Llama-3_3-Nemotron-Super-49B-v1_5",
        around: ("<TOOLCALL>[", "]</TOOLCALL>"),
        between: ", ",
        one: name_arguments,
        end: "]</TOOLCALL>",
        ..JSON
    },
    Dialect {
        name: "command",
        family: "CohereForAI/c4ai-command-r7b-12-2024",
        around: ("<|START_ACTION|>[", "]<|END_ACTION|>"),
        between: ", ",
        one: command,
        end: "]<|END_ACTION|>",
        ..JSON
    },
    Dialect {
        name: "seed",
        family: "ByteDance-Seed/Seed-OSS-36B-Instruct",
        one: seed_oss,
        end: "</parameter>\n",
        ..JSON
    },
    Dialect {
        name: "fence",
        family: "some/model",
        around: ("```json\n", "\n```"),
        one: name_arguments,
        several: false,
        beside: false,
        ..JSON
    },
    Dialect { name: "bare json", family: "some/model", one: name_arguments, several: false, beside: false, ..JSON },
    Dialect { name: "react", family: "some/model", one: react, several: false, beside: false, ..JSON },
];

fn name_arguments(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(json!({"name": name, "arguments": arguments}).to_string())
}

fn name_parameters(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(json!({"name": name, "parameters": arguments}).to_string())
}

fn command(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(json!({"tool_call_id": "0", "tool_name": name, "parameters": arguments}).to_string())
}

fn object(arguments: &Map<String, Value>) -> String {
    json!(arguments).to_string()
}

fn hermes(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!("<tool_call>\n{}\n</tool_call>", name_arguments(name, arguments)?))
}

fn mistral(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!("[TOOL_CALLS]{name}[ARGS]{}", object(arguments)))
}

fn deepseek_v3(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{}\n```<｜tool▁call▁end｜>",
        object(arguments)
    ))
}

fn deepseek_v31(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{}<｜tool▁call▁end｜>", object(arguments)))
}

fn kimi(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!(
        "<|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{}<|tool_call_end|>",
        object(arguments)
    ))
}

fn harmony(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!(
        "<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{}<|call|>",
        object(arguments)
    ))
}

fn react(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    Some(format!("Action: {name}\nAction Input: {}", object(arguments)))
}

/// Each argument by `write`: texts as they are, all else as JSON. Texts that the framing would swallow are not written.
fn raw(arguments: &Map<String, Value>, write: impl Fn(&str, &str, bool) -> String) -> Option<Vec<String>> {
    let one = |(key, value): (&String, &Value)| match value {
        Value::String(text) if text.starts_with('\n') || text.ends_with('\n') => None,
        Value::String(text) => Some(write(key, text, true)),
        other => Some(write(key, &other.to_string(), false)),
    };
    arguments.iter().map(one).collect()
}

fn qwen(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, _| format!("<parameter={key}>\n{value}\n</parameter>\n"))?.concat();
    Some(format!("<tool_call>\n<function={name}>\n{all}</function>\n</tool_call>"))
}

fn seed_oss(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, _| format!("<parameter={key}>{value}</parameter>\n"))?.concat();
    Some(format!("<seed:tool_call>\n<function={name}>\n{all}</function>\n</seed:tool_call>"))
}

fn dsml(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, text| {
        format!("<｜DSML｜parameter name=\"{key}\" string=\"{text}\">{value}</｜DSML｜parameter>\n")
    })?;
    Some(format!("<｜DSML｜invoke name=\"{name}\">\n{}</｜DSML｜invoke>", all.concat()))
}

fn invoke(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, _| format!("<parameter name=\"{key}\">{value}</parameter>\n"))?.concat();
    Some(format!("<invoke name=\"{name}\">\n{all}</invoke>"))
}

fn glm(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, _| format!("<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n"))?;
    Some(format!("<tool_call>{name}\n{}</tool_call>", all.concat()))
}

fn glm_tight(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let all = raw(arguments, |key, value, _| format!("<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"))?;
    Some(format!("<tool_call>{name}{}</tool_call>", all.concat()))
}

fn python(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let one = |(key, value): (&String, &Value)| plain(key).then(|| format!("{key}={}", literal(value)));
    Some(format!("{name}({})", arguments.iter().map(one).collect::<Option<Vec<_>>>()?.join(", ")))
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let one = |(key, value): (&String, &Value)| format!("{}: {}", json!(key), literal(value));
            format!("{{{}}}", members.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn gemma(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let one = |(key, value): (&String, &Value)| Some(format!("{key}:{}", token_quoted(value, "<|\"|>", "<|\"|>")?));
    Some(format!(
        "<|tool_call>call:{name}{{{}}}<tool_call|>",
        arguments.iter().map(one).collect::<Option<Vec<_>>>()?.join(",")
    ))
}

fn functiongemma(name: &str, arguments: &Map<String, Value>) -> Option<String> {
    let one = |(key, value): (&String, &Value)| Some(format!("{key}:{}", token_quoted(value, "<escape>", "<escape>")?));
    let all = arguments.iter().map(one).collect::<Option<Vec<_>>>()?.join(",");
    Some(format!("<start_function_call>call:{name}{{{all}}}<end_function_call>"))
}

fn token_quoted(value: &Value, open: &str, close: &str) -> Option<String> {
    Some(match value {
        Value::String(text) => format!("{open}{text}{close}"),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| token_quoted(item, open, close)).collect();
            format!("[{}]", items?.join(","))
        }
        Value::Object(members) => {
            let one = |(key, value): (&String, &Value)| Some(format!("{key}:{}", token_quoted(value, open, close)?));
            format!("{{{}}}", members.iter().map(one).collect::<Option<Vec<_>>>()?.join(","))
        }
        other => other.to_string(),
    })
}

fn written(dialect: &Dialect, seeds: &[&Seed]) -> Option<String> {
    let one = |seed: &&Seed| (dialect.one)(&seed.tool().name, seed.arguments.as_object()?);
    let all: Option<Vec<_>> = seeds.iter().map(one).collect();
    Some(format!("{}{}{}", dialect.around.0, all?.join(dialect.between), dialect.around.1))
}

fn any(rng: &mut Rng) -> &'static Dialect {
    &DIALECTS[rng.usize(..DIALECTS.len())]
}

fn case(dialect: &Dialect, text: String, truth: Truth) -> Spoilt {
    Spoilt { wire: Wire::Text { text, dialect: dialect.name, family: dialect.family, finish: "stop" }, truth }
}

fn alone(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    Some(case(dialect, written(dialect, &[seed])?, Truth::Calls(vec![seed.call()], "")))
}

fn several(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let other = seed.other(rng)?;
    let text = dialect.several.then(|| written(dialect, &[seed, &other]))??;
    Some(case(dialect, text, Truth::Calls(vec![seed.call(), other.call()], "")))
}

const BEFORE: &[&str] = &["I'll look that up for you.", "Let me check: first the file, then the rest.", "Ok"];

fn before(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let prose = *rng.choice(BEFORE)?;
    let text = dialect.beside.then(|| written(dialect, &[seed]))??;
    Some(case(dialect, format!("{prose}\n\n{text}"), Truth::Calls(vec![seed.call()], prose)))
}

fn behind(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let prose = "I will report when it is done.";
    let text = dialect.beside.then(|| written(dialect, &[seed]))??;
    // A call counts only at the end of an answer.
    Some(case(dialect, format!("{text}\n{prose}"), Truth::Ask))
}

fn endless(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = written(dialect, &[seed])?;
    let without =
        text.rfind(['<', '[', ']']).map(|at| text[..at].trim_end().to_owned()).filter(|it| it.ends_with(['}', '>']))?;
    let (name, value) = seed.call();
    Some(case(dialect, without, Truth::CallOrAsk(name, value)))
}

fn marker_in_value(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    (!dialect.end.is_empty()).then_some(())?;
    let tool = seed.tool();
    let key = seed.arguments.as_object()?.keys().find(|key| tool.is_only(key, "string"))?.clone();
    let mut arguments = seed.arguments.clone();
    arguments[&key] = format!("write {} at the end", dialect.end).into();
    tool.accepts(&arguments).then_some(())?;
    let seed = Seed { offer: seed.offer.clone(), at: seed.at, arguments };
    Some(case(dialect, written(dialect, &[&seed])?, Truth::Calls(vec![seed.call()], "")))
}

fn marker_in_prose(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = written(dialect, &[seed])?;
    let opener: String = text.chars().take_while(|c| *c != '\n' && *c != '{').collect();
    let about = rng
        .choice(&[
            format!("Models of this kind begin a call with `{opener}`, and I have none to make."),
            format!("Here is what a call looks like:\n\n```\n{text}\n```\n\nShall I make it?"),
            "There is nothing to call: the answer is 42.".to_owned(),
        ])?
        .clone();
    Some(case(dialect, about, Truth::Ask))
}

fn behind_reasoning(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = written(dialect, &[seed])?;
    Some(case(
        dialect,
        format!("<think>\nThe user wants this, so I call it.\n</think>\n\n{text}"),
        Truth::Calls(vec![seed.call()], ""),
    ))
}

fn in_reasoning(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = written(dialect, &[seed])?;
    Some(case(
        dialect,
        format!("<think>\nI could call\n{text}\nbut need not.\n</think>\n\nThe answer is 42."),
        Truth::Ask,
    ))
}

fn unknown(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = (dialect.one)("launch_everything", seed.arguments.as_object()?)?;
    Some(case(dialect, format!("{}{text}{}", dialect.around.0, dialect.around.1), Truth::Ask))
}

/// A call in text that ends before its arguments do.
pub fn cut(rng: &mut Rng, seed: &Seed) -> Option<Spoilt> {
    let dialect = any(rng);
    let text = written(dialect, &[seed])?;
    let key = seed.arguments.as_object()?.iter().rfind(|(_, value)| value.as_str().is_some_and(|it| it.len() > 6))?;
    let whole = serde_json::to_string(key.1).ok()?;
    let inner = &whole[1..whole.len() - 1];
    let begin = text.rfind(inner).or_else(|| text.rfind(key.1.as_str()?))?;
    let ends: Vec<usize> =
        text[begin..].char_indices().map(|(at, _)| begin + at).skip(1).take(inner.chars().count() - 2).collect();
    let text = text[..*rng.choice(&ends)?].to_owned();
    let finish = if rng.bool() { "stop" } else { "length" };
    Some(Spoilt { wire: Wire::Text { text, dialect: dialect.name, family: dialect.family, finish }, truth: Truth::Ask })
}
