//! Writes calls in each dialect, after its model card or chat template.

use serde_json::{Map, Value};

use super::Call;

/// A dialect as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    pub(super) name: &'static str,
    write: fn(&[Call]) -> String,
    /// What marks its calls, and what ends them.
    pub(super) markers: &'static [&'static str],
    /// What can be left out at the end without harm; empty where there is nothing.
    pub(super) end: &'static str,
    /// Only that end tells that no argument is missing.
    pub(super) end_tells_all: bool,
    /// Its values cannot be taken for its structure.
    pub(super) escapes: bool,
    /// A whole call can stand in a value.
    pub(super) nests: bool,
    pub(super) parallel: bool,
    pub(super) in_prose: bool,
    /// Its marker alone says that it is a call.
    pub(super) is_marked: bool,
    pub(super) without_arguments: bool,
    /// It uses code fences itself.
    pub(super) fenced: bool,
}

impl Dialect {
    pub(super) fn render(&self, calls: &[Call]) -> String {
        (self.write)(calls)
    }

    const fn new(name: &'static str, write: fn(&[Call]) -> String, markers: &'static [&'static str]) -> Self {
        Dialect {
            name,
            write,
            markers,
            end: "",
            end_tells_all: false,
            escapes: true,
            nests: true,
            parallel: true,
            in_prose: true,
            is_marked: true,
            without_arguments: true,
            fenced: false,
        }
    }

    const fn ends(self, end: &'static str) -> Self {
        Dialect { end, ..self }
    }

    const fn raw(self) -> Self {
        Dialect { escapes: false, ..self }
    }

    const fn unmarked(self) -> Self {
        Dialect { is_marked: false, ..self }
    }
}

pub(super) const ALL: &[Dialect] = &[
    Dialect::new("hermes", hermes, &["<tool_call>", "</tool_call>"]).ends("</tool_call>"),
    Dialect::new(
        "qwen3_coder",
        qwen3_coder,
        &[
            "<tool_call>",
            "</tool_call>",
            "<function=",
            "</function>",
            "<parameter=",
            "</parameter>",
            "</parameter>\n</function>",
        ],
    )
    .ends("</tool_call>")
    .raw(),
    Dialect { name: "seed_oss", ..Dialect::new("", seed_oss, &["<seed:tool_call>", "</parameter>"]) }
        .ends("</seed:tool_call>")
        .raw(),
    Dialect::new("mistral", mistral, &["[TOOL_CALLS]"]),
    Dialect::new("mistral_v11", mistral_v11, &["[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]),
    Dialect::new("llama3_json", llama3_json, &["<|python_tag|>"]),
    Dialect { without_arguments: false, ..Dialect::new("llama3_builtin", llama3_builtin, &["<|python_tag|>"]) },
    Dialect::new("pythonic", pythonic, &["[f(", ")]"]).ends("]").unmarked(),
    Dialect::new("lfm2", lfm2, &["<|tool_call_start|>", "<|tool_call_end|>"]).ends("<|tool_call_end|>"),
    Dialect::new(
        "deepseek_v3",
        deepseek_v3,
        &[
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ],
    )
    .ends("<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
    Dialect::new("deepseek_v3", deepseek_v31, &["<｜tool▁call▁end｜>"]).ends("<｜tool▁calls▁end｜>"),
    Dialect::new(
        "dsml",
        dsml,
        &["<｜DSML｜function_calls>", "</｜DSML｜function_calls>", "</｜DSML｜invoke>", "</｜DSML｜parameter>"],
    )
    .ends("</｜DSML｜function_calls>")
    .raw(),
    Dialect::new("dsml", dsml_v41, &["<｜DSML｜ tool_calls>", "</｜DSML｜ parameter>"])
        .ends("</｜DSML｜ tool_calls>")
        .raw(),
    Dialect::new(
        "kimi_k2",
        kimi_k2,
        &["<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_end|>", "<|tool_calls_section_end|>"],
    )
    .ends("<|tool_call_end|><|tool_calls_section_end|>"),
    Dialect::new(
        "kimi_k3",
        kimi_k3,
        &["<|open|>tools<|sep|>", "<|close|>argument<|sep|>", "<|close|>call<|sep|>", "<|close|>tools<|sep|>"],
    )
    .ends("<|close|>tools<|sep|>")
    .raw(),
    Dialect {
        end_tells_all: true,
        ..Dialect::new("glm", glm45, &["<tool_call>", "</tool_call>", "</arg_value>", "<arg_key>"])
    }
    .ends("</tool_call>")
    .raw(),
    Dialect { end_tells_all: true, ..Dialect::new("glm", glm47, &["</tool_call>", "</arg_value>"]) }
        .ends("</tool_call>")
        .raw(),
    Dialect::new(
        "minimax_m2",
        minimax_m2,
        &["<minimax:tool_call>", "</minimax:tool_call>", "</invoke>", "</parameter>", "<invoke name=\"f\">"],
    )
    .ends("</minimax:tool_call>")
    .raw(),
    Dialect::new("minimax_m3", minimax_m3, &["]<]minimax[>[", "]<]minimax[>[</invoke>", "]<]minimax[>[</content>"])
        .ends("]<]minimax[>[</tool_call>")
        .raw(),
    Dialect::new("harmony", harmony, &["<|channel|>", "<|message|>", "<|call|>", "<|start|>assistant"])
        .ends("<|call|>"),
    Dialect::new("harmony", harmony_recipient_first, &["<|call|>"]).ends("<|call|>"),
    Dialect { nests: false, ..Dialect::new("gemma4", gemma4, &["<|tool_call>", "<tool_call|>"]) }.ends("<tool_call|>"),
    Dialect {
        nests: false,
        ..Dialect::new("functiongemma", functiongemma, &["<start_function_call>", "<end_function_call>"])
    }
    .ends("<end_function_call>"),
    Dialect::new("granite", granite30, &["<|tool_call|>"]),
    Dialect::new("granite", granite31, &["<tool_call>"]),
    Dialect::new("phi4", phi4, &["functools"]),
    Dialect::new("jamba", jamba, &["<tool_calls>", "</tool_calls>"]).ends("</tool_calls>"),
    Dialect::new("nemotron", nemotron, &["<TOOLCALL>", "</TOOLCALL>"]).ends("</TOOLCALL>"),
    Dialect::new("cohere", cohere, &["<|START_ACTION|>", "<|END_ACTION|>"]).ends("<|END_ACTION|>"),
    Dialect::new("step3", step3, &["<｜tool_calls_begin｜>", "</steptml:parameter>", "<｜tool_call_end｜>"])
        .ends("<｜tool_call_end｜><｜tool_calls_end｜>")
        .raw(),
    Dialect::new(
        "anthropic_xml",
        anthropic_xml,
        &["<function_calls>", "</function_calls>", "</invoke>", "</parameter>"],
    )
    .ends("</function_calls>")
    .raw(),
    Dialect { in_prose: false, fenced: true, ..Dialect::new("fence", fence, &["```json"]) }.ends("```").unmarked(),
    Dialect { in_prose: false, ..Dialect::new("json", bare_json, &["{\"name\":"]) }.unmarked(),
    Dialect { parallel: false, ..Dialect::new("react", react, &["Action:", "Action Input:", "Observation:"]) }
        .unmarked(),
    Dialect { fenced: true, ..Dialect::new("python_tag", tool_code, &["```tool_code"]) }.ends("```"),
];

fn each(calls: &[Call], between: &str, write: impl Fn(&str, &Map<String, Value>) -> String) -> String {
    let empty = Map::new();
    calls.iter().map(|(name, it)| write(name, it.as_object().unwrap_or(&empty))).collect::<Vec<_>>().join(between)
}

fn arguments(it: &Map<String, Value>) -> String {
    Value::Object(it.clone()).to_string()
}

fn object(name: &str, key: &str, it: &Map<String, Value>) -> String {
    format!("{{\"name\": \"{name}\", \"{key}\": {}}}", arguments(it))
}

fn list(calls: &[Call]) -> String {
    format!("[{}]", each(calls, ", ", |name, it| object(name, "arguments", it)))
}

/// Texts as they are, everything else as JSON.
fn raw(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn params(it: &Map<String, Value>, between: &str, write: impl Fn(&str, &Value) -> String) -> String {
    it.iter().map(|(key, value)| write(key, value)).collect::<Vec<_>>().join(between)
}

fn hermes(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| format!("<tool_call>\n{}\n</tool_call>", object(name, "arguments", it)))
}

fn qwen_function(name: &str, it: &Map<String, Value>) -> String {
    let params = params(it, "", |key, value| format!("<parameter={key}>\n{}\n</parameter>\n", raw(value)));
    format!("<function={name}>\n{params}</function>")
}

fn qwen3_coder(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| format!("<tool_call>\n{}\n</tool_call>", qwen_function(name, it)))
}

fn seed_oss(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| format!("<seed:tool_call>\n{}\n</seed:tool_call>", qwen_function(name, it)))
}

fn mistral(calls: &[Call]) -> String {
    format!("[TOOL_CALLS] {}", list(calls))
}

fn mistral_v11(calls: &[Call]) -> String {
    each(calls, "", |name, it| format!("[TOOL_CALLS]{name}[CALL_ID]a1B2c3D4e[ARGS]{}", arguments(it)))
}

fn llama3_json(calls: &[Call]) -> String {
    format!("<|python_tag|>{}", each(calls, "; ", |name, it| object(name, "parameters", it)))
}

fn python_value(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            let escaped = text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\r', "\\r");
            format!("'{escaped}'")
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(python_value).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("'{key}': {}", python_value(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
    }
}

fn python_call(name: &str, it: &Map<String, Value>) -> String {
    format!("{name}({})", params(it, ", ", |key, value| format!("{key}={}", python_value(value))))
}

fn llama3_builtin(calls: &[Call]) -> String {
    format!("<|python_tag|>{}", each(calls, "; ", |name, it| python_call(&format!("{name}.call"), it)))
}

fn pythonic(calls: &[Call]) -> String {
    format!("[{}]", each(calls, ", ", python_call))
}

fn lfm2(calls: &[Call]) -> String {
    format!("<|tool_call_start|>{}<|tool_call_end|>", pythonic(calls))
}

fn tool_code(calls: &[Call]) -> String {
    format!("```tool_code\n{}\n```", each(calls, "\n", python_call))
}

fn deepseek_v3(calls: &[Call]) -> String {
    let calls = each(calls, "\n", |name, it| {
        let it = arguments(it);
        format!("<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{it}\n```<｜tool▁call▁end｜>")
    });
    format!("<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>")
}

fn deepseek_v31(calls: &[Call]) -> String {
    let call = |name: &str, it: &Map<String, Value>| {
        format!("<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{}<｜tool▁call▁end｜>", arguments(it))
    };
    format!("<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>", each(calls, "", call))
}

fn dsml_with(calls: &[Call], mark: &str, around: &str) -> String {
    let calls = each(calls, "\n", |name, it| {
        let params = params(it, "", |key, value| {
            let is_text = value.is_string();
            format!("<{mark}parameter name=\"{key}\" string=\"{is_text}\">{}</{mark}parameter>\n", raw(value))
        });
        format!("<{mark}invoke name=\"{name}\">\n{params}</{mark}invoke>")
    });
    format!("<{mark}{around}>\n{calls}\n</{mark}{around}>")
}

fn dsml(calls: &[Call]) -> String {
    dsml_with(calls, "｜DSML｜", "function_calls")
}

fn dsml_v41(calls: &[Call]) -> String {
    dsml_with(calls, "｜DSML｜ ", "tool_calls")
}

fn kimi_k2(calls: &[Call]) -> String {
    let calls = each(calls, "", |name, it| {
        let it = arguments(it);
        format!("<|tool_call_begin|>functions.{name}:0<|tool_call_argument_begin|>{it}<|tool_call_end|>")
    });
    format!("<|tool_calls_section_begin|>{calls}<|tool_calls_section_end|>")
}

fn kimi_k3(calls: &[Call]) -> String {
    let calls = each(calls, "", |name, it| {
        let params = params(it, "", |key, value| {
            let kind = match value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            let value = raw(value);
            format!("<|open|>argument key=\"{key}\" type=\"{kind}\"<|sep|>{value}<|close|>argument<|sep|>")
        });
        format!("<|open|>call tool=\"{name}\" index=\"1\"<|sep|>{params}<|close|>call<|sep|>")
    });
    format!("<|open|>tools<|sep|>{calls}<|close|>tools<|sep|>")
}

fn glm45(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| {
        let pair =
            |key: &str, value: &Value| format!("<arg_key>{key}</arg_key>\n<arg_value>{}</arg_value>\n", raw(value));
        format!("<tool_call>{name}\n{}</tool_call>", params(it, "", pair))
    })
}

fn glm47(calls: &[Call]) -> String {
    each(calls, "", |name, it| {
        let pair = |key: &str, value: &Value| format!("<arg_key>{key}</arg_key><arg_value>{}</arg_value>", raw(value));
        format!("<tool_call>{name}{}</tool_call>", params(it, "", pair))
    })
}

fn invoke(name: &str, it: &Map<String, Value>) -> String {
    let params = params(it, "", |key, value| format!("<parameter name=\"{key}\">{}</parameter>\n", raw(value)));
    format!("<invoke name=\"{name}\">\n{params}</invoke>")
}

fn minimax_m2(calls: &[Call]) -> String {
    format!("<minimax:tool_call>\n{}\n</minimax:tool_call>", each(calls, "\n", invoke))
}

fn anthropic_xml(calls: &[Call]) -> String {
    format!("<function_calls>\n{}\n</function_calls>", each(calls, "\n", invoke))
}

fn minimax_m3(calls: &[Call]) -> String {
    const NS: &str = "]<]minimax[>[";
    fn value(it: &Value) -> String {
        match it {
            Value::Object(members) => {
                members.iter().map(|(key, it)| format!("{NS}<{key}>{}{NS}</{key}>", value(it))).collect()
            }
            Value::Array(items) => items.iter().map(|it| format!("{NS}<item>{}{NS}</item>", value(it))).collect(),
            it => raw(it),
        }
    }
    let calls = each(calls, "\n", |name, it| {
        format!("{NS}<invoke name=\"{name}\">{}{NS}</invoke>", value(&Value::Object(it.clone())))
    });
    format!("{NS}<tool_call>\n{calls}\n{NS}</tool_call>")
}

fn harmony(calls: &[Call]) -> String {
    each(calls, "", |name, it| {
        let it = arguments(it);
        format!("<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{it}<|call|>")
    })
}

fn harmony_recipient_first(calls: &[Call]) -> String {
    each(calls, "", |name, it| {
        let it = arguments(it);
        format!("<|start|>assistant to=functions.{name}<|channel|>analysis code<|message|>{it}<|call|>")
    })
}

fn gemma_value(value: &Value, quote: &str) -> String {
    match value {
        Value::String(text) => format!("{quote}{text}{quote}"),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(|value| gemma_value(value, quote)).collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| format!("{key}:{}", gemma_value(value, quote));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        value => value.to_string(),
    }
}

fn gemma4(calls: &[Call]) -> String {
    each(calls, "", |name, it| {
        format!("<|tool_call>call:{name}{}<tool_call|>", gemma_value(&Value::Object(it.clone()), "<|\"|>"))
    })
}

fn functiongemma(calls: &[Call]) -> String {
    each(calls, "", |name, it| {
        let it = gemma_value(&Value::Object(it.clone()), "<escape>");
        format!("<start_function_call>call:{name}{it}<end_function_call>")
    })
}

fn granite30(calls: &[Call]) -> String {
    format!("<|tool_call|>{}", list(calls))
}

fn granite31(calls: &[Call]) -> String {
    format!("<tool_call>{}", list(calls))
}

fn phi4(calls: &[Call]) -> String {
    format!("functools{}", list(calls))
}

fn jamba(calls: &[Call]) -> String {
    format!("<tool_calls>{}</tool_calls>", list(calls))
}

fn nemotron(calls: &[Call]) -> String {
    format!("<TOOLCALL>{}</TOOLCALL>", list(calls))
}

fn cohere(calls: &[Call]) -> String {
    let call = |name: &str, it: &Map<String, Value>| {
        format!("{{\"tool_call_id\": \"0\", \"tool_name\": \"{name}\", \"parameters\": {}}}", arguments(it))
    };
    format!("<|START_ACTION|>[\n    {}\n]<|END_ACTION|>", each(calls, ",\n    ", call))
}

fn step3(calls: &[Call]) -> String {
    let calls = each(calls, "\n", |name, it| {
        let param =
            |key: &str, value: &Value| format!("<steptml:parameter name=\"{key}\">{}</steptml:parameter>", raw(value));
        let params = params(it, "", param);
        format!(
            "<｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name=\"{name}\">{params}</steptml:invoke>\
             <｜tool_call_end｜>"
        )
    });
    format!("<｜tool_calls_begin｜>{calls}<｜tool_calls_end｜>")
}

fn fence(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| format!("```json\n{}\n```", object(name, "arguments", it)))
}

fn bare_json(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| object(name, "parameters", it))
}

fn react(calls: &[Call]) -> String {
    each(calls, "\n", |name, it| format!("Action: {name}\nAction Input: {}", arguments(it)))
}
