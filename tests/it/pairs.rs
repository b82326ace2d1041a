//! One conversation over two formats: begun at each, gone on at each other one, and back. The double of the one asked checks
//! every request as the real service does.

use std::sync::Arc;

use agentd::{
    chat::{Answer, OutputFormat, Part, ReasoningEffort, Request},
    provider::{Builder, Client, Dialect, Provider as _, Strict},
};
use serde_json::{Value, json};

use crate::{
    model::{Model, Reply},
    talk::{Talk, image, request, tool, user},
    vendor::{anthropic, gemini, responses},
};

/// What a service answers.
#[derive(Clone, Copy)]
enum Says {
    /// A thought, a text, and two calls side by side.
    TwoCalls,
    /// A thought and a call.
    OneCall,
    /// A text.
    Done,
}

const THOUGHT: &str = "Both at once.";
const GEMINI: &str = "gemini-3-pro-preview";

impl Says {
    fn text(self) -> Option<&'static str> {
        match self {
            Says::TwoCalls => Some("Let me look."),
            Says::OneCall => None,
            Says::Done => Some("Done."),
        }
    }

    fn calls(self) -> Vec<(&'static str, Value)> {
        match self {
            Says::TwoCalls => vec![("shot", json!({"kind": "screen"})), ("now", json!({}))],
            Says::OneCall => vec![("now", json!({}))],
            Says::Done => vec![],
        }
    }
}

/// A service of this format that gives these answers in turn.
fn service(dialect: Dialect, says: Vec<Says>) -> Model {
    let mut says = says.into_iter();
    match dialect {
        Dialect::OpenAiChat => Model::replying(says.map(|says| {
            let thought = Reply::answer().and_reasoning(THOUGHT);
            let spoken = says.text().into_iter().fold(thought, |reply, text| reply.and_text(text));
            says.calls().into_iter().fold(spoken, |reply, (name, arguments)| reply.and_call(name, arguments))
        })),
        Dialect::AnthropicMessages => anthropic::answering(move |request| {
            let says = says.next()?;
            let thought = anthropic::Answer::new().thinking(THOUGHT);
            let spoken = says.text().into_iter().fold(thought, |answer, text| answer.text(text));
            let calls = says.calls();
            let answer = calls.iter().fold(spoken, |answer, (name, arguments)| answer.call(name, arguments));
            Some(answer.reply(request))
        }),
        Dialect::OpenAiResponses => responses::serve(move |_| {
            let says = says.next().unwrap();
            let thought = responses::Answer::default().thought(THOUGHT);
            let spoken = says.text().into_iter().fold(thought, |answer, text| answer.text(text));
            says.calls().iter().fold(spoken, |answer, (name, arguments)| answer.call(name, arguments))
        }),
        Dialect::Gemini => {
            let choose = move |_: &crate::model::Request| {
                let says: Says = says.next()?;
                let mut parts = vec![json!({"text": THOUGHT, "thought": true})];
                parts.extend(says.text().map(|text| json!({"text": text})));
                let call = |(name, args)| json!({"functionCall": {"name": name, "args": args}});
                parts.extend(says.calls().into_iter().map(call));
                Some(Reply::stream(gemini::answer(GEMINI, &parts, "STOP")))
            };
            Model::judged(gemini::judge, Box::new(choose))
        }
    }
}

fn client(dialect: Dialect, service: &Model) -> Client {
    builder(dialect, service).build().unwrap()
}

fn builder(dialect: Dialect, service: &Model) -> Builder {
    let base = match dialect {
        Dialect::Gemini => format!("http://{}/v1beta", service.address()),
        _ => service.base_url(),
    };
    let name = dialect.as_str();
    Client::builder(dialect, base).name(name).key(name.into())
}

fn model(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAiChat => "gpt-4o",
        Dialect::AnthropicMessages => "claude-haiku-4-5",
        Dialect::OpenAiResponses => "gpt-5",
        Dialect::Gemini => GEMINI,
    }
}

/// A conversation whose tools have what one service or another refuses: a union at the root, references, constants, lists of
/// types.
fn talk() -> Talk {
    let shot = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [
            {"properties": {"kind": {"const": "screen"}, "n": {"type": ["integer", "null"]}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "window"}, "title": {"$ref": "#/$defs/title"}}, "required": ["kind"]},
        ],
        "$defs": {"title": {"type": "string", "minLength": 1}},
    });
    Talk::new(Request {
        tools: Arc::new([tool("shot", shot), tool("now", json!({"type": "object"}))]),
        effort: Some(ReasoningEffort::Low),
        cache_key: Some("run-7".into()),
        ..request([user("Look")])
    })
}

/// Asks for an answer that must come.
async fn ask(talk: &mut Talk, dialect: Dialect, client: &Client) -> Answer {
    talk.ask(client, model(dialect)).await.unwrap_or_else(|failure| panic!("{}: {failure}", dialect.as_str()))
}

#[tokio::test]
async fn a_conversation_begun_at_one_format_goes_on_at_each_other_and_comes_back() {
    for first in Dialect::ALL {
        for second in Dialect::ALL {
            let (one, other) = (service(first, vec![Says::TwoCalls, Says::Done]), service(second, vec![Says::OneCall]));
            let (at_first, at_second) = (client(first, &one), client(second, &other));
            let mut talk = talk();
            let answer = ask(&mut talk, first, &at_first).await;
            assert_eq!(answer.calls().count(), 2);
            talk.result(1, "shot", vec![Part::text("a screen"), image()], false);
            talk.result(2, "now", vec![Part::text("no clock")], true);
            let answer = ask(&mut talk, second, &at_second).await;
            assert_eq!(answer.calls().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["now"]);
            talk.result(1, "now", vec![Part::text("noon")], false);
            let answer = ask(&mut talk, first, &at_first).await;
            assert_eq!(answer.text(), "Done.");
            one.assert_valid();
            other.assert_valid();
        }
    }
}

/// With `strict`, what can be strict is, what cannot is offered as ever, each service takes both, and a model's null for "left
/// out" is no argument.
#[tokio::test]
async fn a_strict_client_is_taken_by_each_service() {
    for dialect in Dialect::ALL {
        let service = service(dialect, vec![Says::TwoCalls, Says::Done]);
        let strict = builder(dialect, &service).strict(Strict::Always).build().unwrap();
        let mut talk = talk();
        let mut tools = talk.request.tools.to_vec();
        let plain = json!({
            "type": "object",
            "properties": {"kind": {"type": "string"}, "zone": {"type": "string", "default": "UTC"}},
            "required": ["kind"],
        });
        tools.extend((0..30).map(|n| tool(&format!("plain{n}"), plain.clone())));
        talk.request.tools = tools.into();
        ask(&mut talk, dialect, &strict).await;
        talk.result(1, "shot", vec![Part::text("a screen")], false);
        talk.result(2, "now", vec![Part::text("noon")], false);
        ask(&mut talk, dialect, &strict).await;
        service.assert_valid();
        let body = &service.requests()[0].body;
        let held = |tool: &&Value| tool["strict"] == true || tool["function"]["strict"] == true;
        let held: Vec<_> = body["tools"].as_array().unwrap().iter().filter(held).collect();
        let (expected, mode) = match dialect {
            // `shot` is a union at its root.
            Dialect::OpenAiChat | Dialect::OpenAiResponses => (31, &Value::Null),
            Dialect::AnthropicMessages => (20, &Value::Null),
            Dialect::Gemini => (0, &json!("VALIDATED")),
        };
        assert_eq!((held.len(), &body["toolConfig"]["functionCallingConfig"]["mode"]), (expected, mode), "{body}");
    }
}

#[tokio::test]
async fn nulls_of_strict_forms_are_no_arguments() {
    for dialect in [Dialect::OpenAiChat, Dialect::OpenAiResponses] {
        let written = json!({"kind": "a", "zone": null});
        let told = r#"{"zone": null, "kind": "b"}"#;
        let service = match dialect {
            Dialect::OpenAiChat => Model::replying(
                (0..2).flat_map(|_| [Reply::call("now", written.clone()), Reply::text(told)]).collect::<Vec<_>>(),
            ),
            _ => {
                let answer = responses::Answer::default;
                let answers = |_| [answer().call("now", &written), answer().text(told)];
                let mut answers = (0..2).flat_map(answers).collect::<Vec<_>>().into_iter();
                responses::serve(move |_| answers.next().unwrap())
            }
        };
        let schema = json!({
            "type": "object",
            "properties": {"kind": {"type": "string"}, "zone": {"type": "string"}},
            "required": ["kind"],
        });
        let calling = Request { tools: Arc::new([tool("now", schema.clone())]), ..request([user("When?")]) };
        let form = OutputFormat { name: "out".into(), schema: Arc::new(schema) };
        let telling = Request { output: Some(Arc::new(form)), ..request([user("When?")]) };
        for (strict, arguments, text) in
            [(true, r#"{"kind":"a"}"#, r#"{"kind":"b"}"#), (false, r#"{"kind":"a","zone":null}"#, told)]
        {
            let client =
                builder(dialect, &service).strict(if strict { Strict::Always } else { Strict::Never }).build().unwrap();
            let answer = client.ask(model(dialect), &calling, &mut |_| {}).await.unwrap();
            assert_eq!(&*answer.calls().next().unwrap().arguments, arguments, "{} {strict}", dialect.as_str());
            let answer = client.ask(model(dialect), &telling, &mut |_| {}).await.unwrap();
            assert_eq!(answer.text(), text, "{} {strict}", dialect.as_str());
        }
        service.assert_valid();
    }
}
