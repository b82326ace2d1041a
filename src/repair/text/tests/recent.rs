//! The dialects that came last, each by a model of its family: whole, several at once, with its own marks in a value, cut.

use serde_json::{Map, Value, json};

use super::{
    super::{Author, Extractor, extract},
    Call, owned, tools, whole,
};

/// A dialect: its name, a model that writes it, what marks its calls, and how it writes them.
type Row = (&'static str, &'static str, &'static [&'static str], fn(&[Call]) -> String);

const ROWS: &[Row] = &[
    ("hunyuan", "tencent/hy4", &["</tool_call:6124c78e>", "</arg_value:6124c78e>"], |calls| {
        pairs(calls, "", ":6124c78e", "")
    }),
    ("hunyuan", "hunyuan-hy3", &["</tool_call:opensource>", "<tool_sep:opensource>"], |calls| {
        pairs(calls, "", ":opensource", "<tool_sep:opensource>")
    }),
    ("hunyuan", "hy3-preview", &["<end_of_tool_call:opensource>"], |calls| {
        each(calls, "\n", |name, it| {
            format!("<tool_call:opensource>{name}<tool_sep:opensource>{}<end_of_tool_call:opensource>", text(it))
        })
    }),
    ("hunyuan", "hunyuan-hy5", &["</tool_call:a_7-z>", "</arg_value:6124c78e>", "<tool_call:other>"], |calls| {
        pairs(calls, "", ":a_7-z", "")
    }),
    ("claude2_xml", "claude-2.1", &["</invoke>", "</parameters>", "</function_calls>", "<invoke>"], |calls| {
        let calls = each(calls, "\n", |name, it| {
            let params = it.iter().map(|(key, value)| format!("<{key}>{}</{key}>\n", raw(value)));
            let params = params.collect::<String>();
            format!("<invoke>\n<tool_name>{name}</tool_name>\n<parameters>\n{params}</parameters>\n</invoke>")
        });
        format!("<function_calls>\n{calls}\n</function_calls>")
    }),
    ("qwen3_coder", "llama-3.3-70b-versatile", &["</function>", "<function=read_file"], |calls| {
        each(calls, "\n", |name, it| format!("<function={name}{}</function>", text(it)))
    }),
    ("k2_horizon", "ifm/k2-horizon", &["</ifm|tool_call>", "</ifm|arg_value>"], |calls| pairs(calls, "ifm|", "", "")),
    ("longcat", "longcat-2.0", &["</longcat_tool_call>", "</longcat_arg_value>"], |calls| {
        pairs(calls, "longcat_", "", "").replace("<longcat_tool_calls>\n", "").replace("\n</longcat_tool_calls>", "")
    }),
    ("longcat", "longcat-flash", &["</longcat_tool_call>"], |calls| {
        each(calls, "\n", |name, it| {
            format!("<longcat_tool_call>{}</longcat_tool_call>", object(name, "arguments", it))
        })
    }),
    ("atem", "muse-glimmer", &["</atem:invoke>", "</atem:parameter>", "</atem:function_calls>"], |calls| {
        invokes(calls, "atem:", "function_calls", false)
    }),
    ("gcml", "gigachat-3.5", &["</｜GCML｜invoke>", "</｜GCML｜parameter>"], |calls| {
        invokes(calls, "｜GCML｜", "tool_calls", true)
    }),
    ("gigachat3", "gigachat3-10b", &["<|message_sep|>", "<|function_call|>"], |calls| {
        each(calls, "<|message_sep|>", |name, it| format!("<|function_call|>{}", object(name, "arguments", it)))
    }),
    ("dots", "dots3-note", &["</invoke>", "</parameter>", "</dots_function_call>"], dots),
    ("dots", "a-model", &["</invoke>", "</parameter>", "</dots_function_call>"], dots),
    ("xai", "grok-code-fast-1", &["</xai:function_call>", "</parameter>"], |calls| {
        each(calls, "\n", |name, it| {
            let params =
                it.iter().map(|(key, value)| format!("<parameter name=\"{key}\">{}</parameter>\n", raw(value)));
            format!("<xai:function_call name=\"{name}\">\n{}</xai:function_call>", params.collect::<String>())
        })
    }),
    ("minicpm", "minicpm5-1b", &["</function>", "</param>"], |calls| {
        each(calls, "\n", |name, it| {
            let params = it.iter().map(|(key, value)| match value {
                Value::String(text) => format!("<param name=\"{key}\"><![CDATA[{text}]]></param>"),
                other => format!("<param name=\"{key}\">{other}</param>"),
            });
            format!("<function name=\"{name}\">{}</function>", params.collect::<String>())
        })
    }),
    ("inkling", "inkling-large", &["<|end_message|>", "<|content_invoke_tool_json|>"], |calls| {
        each(calls, "", |name, it| {
            format!("<|message_model|>{name}<|content_invoke_tool_json|>{}<|end_message|>", object(name, "args", it))
        })
    }),
    ("apertus", "swiss-ai/apertus-70b", &["<|tools_suffix|>", "<|tools_prefix|>"], |calls| {
        format!(
            "<|tools_prefix|>[{}]<|tools_suffix|>",
            each(calls, ", ", |name, it| format!("{{\"{name}\": {}}}", text(it)))
        )
    }),
    ("internlm", "intern-s1", &["<|action_end|>", "<|action_start|><|plugin|>"], |calls| {
        each(calls, "\n", |name, it| {
            format!("<|action_start|><|plugin|>\n{}<|action_end|>", object(name, "parameters", it))
        })
    }),
    ("hyperclova", "hyperclovax-seed-think-14b", &["<|im_end|>", "-> tool/function_call"], |calls| {
        format!("-> tool/function_call\n[{}]<|im_end|>", each(calls, ", ", |name, it| object(name, "arguments", it)))
    }),
    ("functionary", "functionary-medium-v3.2", &[">>>", ">>>read_file"], |calls| {
        each(calls, "\n", |name, it| format!(">>>{name}\n{}", text(it)))
    }),
    ("command_r", "command-r-plus", &["```", "Action:"], |calls| {
        format!(
            "Action: ```json\n[\n{}\n]```",
            each(calls, ",\n", |name, it| { format!("{{\"tool_name\": \"{name}\", \"parameters\": {}}}", text(it)) })
        )
    }),
    ("json", "gpt-5", &["multi_tool_use.parallel"], |calls| {
        let uses =
            each(calls, ", ", |name, it| format!("{{\"recipient_name\": \"{name}\", \"parameters\": {}}}", text(it)));
        format!("{{\"name\": \"multi_tool_use.parallel\", \"arguments\": {{\"tool_uses\": [{uses}]}}}}")
    }),
];

fn dots(calls: &[Call]) -> String {
    let calls = each(calls, "\n", |name, it| {
        let params =
            it.iter().map(|(key, value)| format!("<parameter name=\"{key}\">\n{}\n</parameter>\n", raw(value)));
        format!("<invoke name=\"{name}\">\n{}</invoke>", params.collect::<String>())
    });
    format!("<dots_function_call>\n{calls}\n</dots_function_call>")
}

fn each(calls: &[Call], between: &str, write: impl Fn(&str, &Map<String, Value>) -> String) -> String {
    let empty = Map::new();
    calls.iter().map(|(name, it)| write(name, it.as_object().unwrap_or(&empty))).collect::<Vec<_>>().join(between)
}

fn text(it: &Map<String, Value>) -> String {
    Value::Object(it.clone()).to_string()
}

fn object(name: &str, key: &str, it: &Map<String, Value>) -> String {
    format!("{{\"name\": \"{name}\", \"{key}\": {}}}", text(it))
}

fn raw(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pairs(calls: &[Call], before: &str, behind: &str, separator: &str) -> String {
    let tag = |word: &str| format!("{before}{word}{behind}>");
    let calls = each(calls, "\n", |name, it| {
        let (key, value, call) = (tag("arg_key"), tag("arg_value"), tag("tool_call"));
        let members = it.iter().map(|(name, it)| format!("<{key}{name}</{key}\n<{value}{}</{value}\n", raw(it)));
        format!("<{call}{name}{separator}\n{}</{call}", members.collect::<String>())
    });
    let around = tag("tool_calls");
    format!("<{around}\n{calls}\n</{around}")
}

fn invokes(calls: &[Call], before: &str, around: &str, is_typed: bool) -> String {
    let calls = each(calls, "\n", |name, it| {
        let params = it.iter().map(|(key, value)| {
            let typed = if is_typed { format!(" string=\"{}\"", value.is_string()) } else { String::new() };
            format!("<{before}parameter name=\"{key}\"{typed}>{}</{before}parameter>\n", raw(value))
        });
        format!("<{before}invoke name=\"{name}\">\n{}</{before}invoke>", params.collect::<String>())
    });
    format!("<{before}{around}>\n{calls}\n</{before}{around}>")
}

fn write(content: &str) -> Call {
    ("write_file", json!({"path": "notes.md", "content": content}))
}

/// What the whole gives, and what it gives in pieces.
fn read(text: &str, model: &str, complete: bool) -> Vec<(String, Value)> {
    let found = whole(&extract(text, &tools(), &Author::named(model), complete));
    for size in [1, 3] {
        let mut extractor = Extractor::new(tools(), &Author::named(model));
        let characters: Vec<char> = text.chars().collect();
        for piece in characters.chunks(size) {
            extractor.feed(&piece.iter().collect::<String>());
        }
        assert_eq!(whole(&extractor.finish(complete)), found, "in pieces of {size}: {text}");
    }
    found
}

#[test]
fn recent_dialects_are_read_whole() {
    let mut wrong = Vec::new();
    let read_main: Call = ("read_file", json!({"path": "src/main.rs", "limit": 20}));
    for (name, model, marks, render) in ROWS {
        let mut cases = vec![vec![read_main.clone()], vec![read_main.clone(), write("a\nb"), read_main.clone()]];
        cases.extend(marks.iter().map(|mark| vec![write(&format!("use {mark} here"))]));
        cases.extend(marks.iter().map(|mark| vec![write(mark), read_main.clone()]));
        for calls in cases {
            for before in ["", "I look.\n"] {
                // A call without a mark of its own is one only if it is the whole message.
                if *name == "json" && !before.is_empty() {
                    continue;
                }
                let text = format!("{before}{}", render(&calls));
                let found = read(&text, model, true);
                if found != owned(&calls) {
                    wrong.push(format!("{name}: {text}\n  gives {found:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Wherever a call is cut, nothing is found whole but what is whole.
#[test]
fn recent_dialects_that_are_cut_are_refused() {
    let mut wrong = Vec::new();
    for (name, model, _, render) in ROWS {
        let calls = [("write_file", json!({"path": "notes.md", "content": "half a file"}))];
        let text = render(&calls);
        for (at, _) in text.char_indices() {
            for complete in [true, false] {
                let found = read(&text[..at], model, complete);
                if !found.is_empty() && found != owned(&calls) {
                    wrong.push(format!("{name}: {}\n  gives {found:?}", &text[..at]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn what_is_printed_is_called() {
    let expected = owned(&[("read_file", json!({"path": "a"}))]);
    for text in [
        "<tool_code>print(default_api.read_file(path=\"a\"))</tool_code>",
        "<tool_code>\nprint(default_api.read_file(path='a'))\n</tool_code>",
        "```tool_code\nprint(default_api.read_file(path=\"a\"))\n```",
        "<tool_code>read_file(path=\"a\")</tool_code>",
    ] {
        assert_eq!(read(text, "gemini-2.5-flash", true), expected, "{text}");
    }
    assert_eq!(read("<tool_code>print(default_api.read_file(path=\"a\"", "gemini-2.5-flash", true), []);
}

/// Its prompt ends in the marker, so the first call of an answer has none.
#[test]
fn functionary_begins_without_its_marker() {
    let model = "functionary-medium-v3.2";
    let main: Call = ("read_file", json!({"path": "a"}));
    let first = "read_file\n{\"path\": \"a\"}";
    assert_eq!(read(first, model, true), owned(std::slice::from_ref(&main)));
    assert_eq!(read(&format!("{first}>>>{first}\n"), model, true), owned(&[main.clone(), main]));
    for (text, model) in [
        (first, "a-model"),
        ("read_file\n{\"path\": \"a", model),
        (&format!("{first}\nThat is how."), model),
        (&format!("I look.\n{first}"), model),
        ("look_up\n{\"path\": \"a\"}", model),
        ("read_file {\"path\": \"a\"}", model),
    ] {
        assert_eq!(read(text, model, true), [], "{text}");
    }
}

/// A suffix is the same in all tags of a call, and of one form.
#[test]
fn hunyuan_suffixes_agree() {
    let call = |open: &str, close: &str| {
        format!(
            "<tool_call{open}>read_file<arg_key{open}>path</arg_key{open}><arg_value{open}>a</arg_value{close}></tool_call{close}>"
        )
    };
    let suffix = "a".repeat(32);
    let expected = owned(&[("read_file", json!({"path": "a"}))]);
    assert_eq!(read(&call(&format!(":{suffix}"), &format!(":{suffix}")), "hy4", true), expected);
    for (open, close) in
        [(":a", ":b"), (":a", ""), (":", ":"), (":A", ":A"), (&format!(":{suffix}a"), &format!(":{suffix}a"))]
    {
        let text = call(open, close);
        assert_eq!(read(&text, "hy4", true), [], "{text}");
        let asked = extract(&text, &tools(), &Author::named("hy4"), true);
        assert!(asked.attempt.is_some_and(|attempt| attempt.ends) || !asked.calls.is_empty(), "{text}");
    }
    let thought = format!("<think:x1>{}</think:x1>\nDone.", call(":x1", ":x1"));
    assert_eq!(read(&thought, "hy4", true), []);
    assert_eq!(read(&format!("<think:x1>Hm.</think:x1>\n{}", call(":x1", ":x1")), "hy4", true), expected);
}

#[test]
fn gigachat_without_its_token_is_asked_again() {
    for text in [
        "function call{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}",
        "I look.\nfunction call{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}",
        "function call{\"name\": \"read_file\", \"arguments\": {\"path\": \"a\"}}<|message_sep|>",
    ] {
        for model in ["gigachat3-10b", "a-model"] {
            let found = extract(text, &tools(), &Author::named(model), true);
            assert!(found.calls.is_empty() && found.attempt.is_some_and(|attempt| attempt.ends), "{model}: {text}");
        }
    }
}
