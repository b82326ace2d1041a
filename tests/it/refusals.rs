//! Requests that a server refuses as wrong, and providers that cannot be used: what can be left out is, and the rest goes on.

use std::{collections::BTreeMap, fs, process::Command, sync::Arc};

use agentd::{
    chat::{Message, Part, Request, ToolDef},
    provider::{Class, Client, Dialect, Failure, Provider, catalogue::built_in},
    router::{Attempt, Conversation, Reply as Answered, Route, Router, Table},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Model, Reply, Request as Seen};

/// A router over servers of the chat format, in this order.
fn router(models: &[&Model]) -> Router {
    let names = ["a", "b", "c"];
    let provider = |(name, model): (&&str, &&Model)| {
        let client = Client::builder(Dialect::OpenAiChat, model.base_url()).name(*name).build().unwrap();
        ((*name).to_owned(), Arc::new(client) as Arc<dyn Provider>)
    };
    let providers = names.iter().zip(models).map(provider).collect();
    let targets = names.iter().zip(models).map(|(name, _)| format!("{name}/m"));
    Router::from(Table {
        providers,
        routes: BTreeMap::from([("r".to_owned(), Route::over(targets))]),
        ..Table::default()
    })
}

fn request(schemas: &[(&str, Value)]) -> Request {
    let tools = schemas.iter().map(|(name, schema)| ToolDef::new(name, "A tool.", schema.clone())).collect();
    Request { messages: vec![Arc::new(Message::User(vec![Part::text("Go.")]))], tools, ..Request::default() }
}

/// The answer, and what was said to be left out.
async fn ask(router: &Router, request: &Request) -> (Result<Answered, Failure>, Vec<String>) {
    let mut told = Vec::new();
    let asked = router
        .ask("r", request, Conversation::default(), &mut |attempt| {
            if let Attempt::LeftOut { what, .. } = attempt {
                told.push(what.to_owned());
            }
        })
        .await;
    (asked, told)
}

/// A server that answers unless `refuses` has something against the schemas.
fn strict(refuses: fn(&Seen) -> Option<String>) -> Model {
    Model::answering(move |request| match refuses(request) {
        Some(message) => {
            Reply::json(400, &json!({"error": {"code": 400, "message": message, "type": "invalid_request_error"}}))
        }
        None => Reply::text("Done."),
    })
}

fn sent(request: &Seen) -> String {
    request.body["tools"].to_string()
}

const PATTERN: &str = r"^[a-z]\d{3}$";

#[tokio::test]
async fn a_keyword_that_is_refused_is_left_out_and_that_is_remembered() {
    let model =
        strict(|request| sent(request).contains("\"pattern\"").then(|| "Pattern must start with '^'".to_owned()));
    let (router, request) = (
        router(&[&model]),
        request(&[(
            "find",
            json!({"type": "object", "properties": {"id": {"type": "string", "pattern": PATTERN, "maxLength": 9}}}),
        )]),
    );
    let (asked, told) = ask(&router, &request).await;
    assert_eq!(asked.unwrap().answer.text(), "Done.");
    assert_eq!(told, ["a/m refused the request, which is sent again: pattern is left out of the schemas of tools"]);
    assert_eq!(model.count(), 2);
    assert!(sent(&model.requests()[0]).contains("pattern") && sent(&model.requests()[1]).contains("maxLength"));
    let (asked, told) = ask(&router, &request).await;
    assert!(asked.is_ok() && told.is_empty() && model.count() == 3);
    // It outlives the process with the rest of what was learnt.
    let kept = agentd::router::Memory::load(&router.memory().save().unwrap());
    assert!(!kept.of("a/m").quarantine.is_empty());
}

/// The refusals of a real llama.cpp server, for schemas that real tool servers have.
#[tokio::test]
async fn a_server_with_a_grammar_gets_schemas_that_it_can_read() {
    let model = strict(|request| {
        let tools = sent(request);
        let refused = [
            ("\\\\d", "Failed to initialize samplers: failed to parse grammar"),
            ("\"pattern\"", "JSON schema conversion failed:\nPattern must start with '^' and end with '$'"),
            ("\"#\"", "JSON schema conversion failed:\nUnsupported ref: #"),
            (":true", "JSON schema conversion failed:\nUnrecognized schema: true"),
        ];
        let found = refused.iter().find(|(part, _)| tools.contains(part));
        found.map(|(_, message)| format!("Unable to generate parser for this template. {message}"))
    });
    let request = request(&[
        ("find", json!({"type": "object", "properties": {"id": {"type": "string", "pattern": PATTERN}, "any": true}})),
        (
            "walk",
            json!({"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string", "pattern": "a"}}}),
        ),
    ]);
    let (asked, _) = ask(&router(&[&model]), &request).await;
    assert_eq!(asked.unwrap().answer.text(), "Done.");
    assert_eq!(model.requests().last().unwrap().tools(), ["find", "walk"]);
}

#[tokio::test]
async fn a_tool_that_is_refused_is_left_out_and_told() {
    let model = strict(|request| {
        let refused = request.tools().contains(&"odd_tool");
        refused.then(|| "Invalid schema for function 'odd_tool': it is odd.".to_owned())
    });
    let plain = || json!({"type": "object", "properties": {}});
    let (router, request) = (router(&[&model]), request(&[("odd_tool", plain()), ("even_tool", plain())]));
    let (asked, told) = ask(&router, &request).await;
    assert!(asked.is_ok());
    assert_eq!(told[1..], ["the tool odd_tool is not offered to a/m, which refuses its definition"]);
    assert_eq!(model.requests()[1].tools(), ["even_tool"]);
    // The next request is told of it as well, and asks once.
    let (asked, told) = ask(&router, &request).await;
    assert!(asked.is_ok() && told.len() == 1 && model.count() == 3, "{told:?}");
}

#[tokio::test]
async fn what_one_server_refuses_another_one_may_take() {
    let wrong = || Model::answering(|_| Reply::error(400, "Invalid 'messages[1].role'", "invalid_request_error"));
    let (a, b) = (wrong(), Model::answering(|_| Reply::text("Hi.")));
    assert_eq!(ask(&router(&[&a, &b]), &request(&[])).await.0.unwrap().answer.text(), "Hi.");
    assert_eq!((a.count(), b.count()), (1, 1));
    // Two that refuse it are believed, and named.
    let (a, b, c) = (wrong(), wrong(), Model::answering(|_| Reply::text("Hi.")));
    let failure = ask(&router(&[&a, &b, &c]), &request(&[])).await.0.unwrap_err();
    assert_eq!((failure.class, c.count()), (Class::CallerFault, 0));
    assert!(failure.message.starts_with("a/m refused the request: HTTP 400: "), "{failure}");
    assert!(failure.message.contains("b/m refused the request: "), "{failure}");
    let alone = ask(&router(&[&wrong()]), &request(&[])).await.0.unwrap_err();
    assert_eq!(alone.message, "a/m refused the request: HTTP 400: Invalid 'messages[1].role'");
}

#[tokio::test]
async fn what_is_known_to_be_refused_is_never_sent() {
    let model = Model::answering(|_| Reply::text("Done."));
    let far = "https://example.org/schema.json";
    let request = request(&[
        ("a", json!({"type": "object", "properties": {}, "required": null})),
        ("b", json!({"type": "object", "properties": {"to": {"type": "string", "pattern": r"^(?!\.)[a-z]+$"}}})),
        ("c", json!({"type": "object", "properties": {"at": {"$ref": far}, "any": true, "list": {"type": "array"}}})),
        ("d", json!({"anyOf": [{"type": "null", "enum": ["A"]}, {"type": "object", "properties": {}}]})),
        ("e", json!({"type": "object", "properties": {"url": {"type": "string", "pattern": r"^https\:\/\/"}}})),
    ]);
    assert!(ask(&router(&[&model]), &request).await.0.is_ok());
    let seen = &model.requests()[0];
    let schema = |at: usize| seen.body["tools"][at]["function"]["parameters"].clone();
    assert_eq!(schema(0), json!({"type": "object", "properties": {}}));
    assert_eq!(schema(1), json!({"type": "object", "properties": {"to": {"type": "string"}}}));
    let list = json!({"type": "array", "items": {}});
    assert_eq!(schema(2), json!({"type": "object", "properties": {"at": {}, "any": {}, "list": list}}));
    assert!(!schema(3).to_string().contains("null"), "{}", schema(3));
    assert_eq!(schema(4)["properties"]["url"]["pattern"], "^https://");
}

/// A directory with an agent without tools, and settings.
fn place(model: &str, settings: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("agent.yaml"), format!("version: 1\nname: talk\nmodel: {model}\n")).unwrap();
    fs::write(dir.path().join("agentd.yaml"), format!("version: 1\n{settings}")).unwrap();
    dir
}

/// The exit code of a command, and all that it says.
fn agentd(dir: &TempDir, args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.args(args).current_dir(dir.path()).env("AGENTD_HOME", dir.path().join("home"));
    for key in built_in().unwrap().providers().flat_map(|provider| &provider.keys) {
        command.env_remove(key);
    }
    let output = command.env_remove("AGENTD_CONFIG").envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.into_owned())
}

#[test]
fn a_provider_that_cannot_be_used_stops_nothing_else() {
    let model = Model::answering(|_| Reply::text("Done."));
    let dir = place(
        "smart",
        &format!(
            "providers:\n  mine: {{dialect: openai-chat, base_url: \"https://api.example/v1\", key: \"${{MINE}}\"}}\n  \
             good: {{dialect: openai-chat, base_url: \"{}\"}}\n\
             routes: {{smart: {{targets: [mine/m, openai/gpt-5, anthropic/claude-sonnet-4-5, good/m]}}, \
             none: {{targets: [mine/m, openai/gpt-5]}}}}\n",
            model.base_url()
        ),
    );
    let bad_key = [("OPENAI_API_KEY", "sk-canary-0123456789\n")];
    let (code, said) = agentd(&dir, &["run", "agent.yaml", "go"], &bad_key);
    assert_eq!(code, 0, "{said}");
    for skipped in [
        "warning: smart skips mine/m: set MINE",
        "smart skips openai/gpt-5: the key in OPENAI_API_KEY holds a line end",
        "smart skips anthropic/claude-sonnet-4-5: set ANTHROPIC_API_KEY",
    ] {
        assert!(said.contains(skipped), "{skipped}: {said}");
    }
    for command in
        [&["runs"][..], &["runs", "show", "@last"], &["check", "agent.yaml"], &["models"], &["config", "show"]]
    {
        let (code, said) = agentd(&dir, command, &bad_key);
        assert!(code == 0 && !said.contains("canary"), "{command:?}: {code} {said}");
    }
    // Nothing is left to ask.
    let (code, said) = agentd(&dir, &["run", "agent.yaml", "go", "--model", "none"], &bad_key);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("none has no target that can be used: mine/m: set MINE; openai/gpt-5: the key"), "{said}");
}

#[test]
fn a_quota_that_lasts_ends_the_wait_at_once_and_tells_its_reset() {
    let body = json!({"error": {"type": "usage_limit_reached", "message": "The usage limit has been reached", "resets_in_seconds": 259_200}});
    let (a, b) = (Model::answering(move |_| Reply::json(429, &body)), Model::answering(|_| Reply::text("Done.")));
    let provider =
        |name: &str, model: &Model| format!("{name}: {{dialect: openai-chat, base_url: \"{}\"}}", model.base_url());
    let dir = place(
        "smart",
        &format!(
            "providers: {{{}, {}}}\nroutes: {{smart: {{targets: [a/m, b/m]}}}}\n",
            provider("a", &a),
            provider("b", &b)
        ),
    );
    assert_eq!(agentd(&dir, &["run", "agent.yaml", "go"], &[]).0, 0);
    let (code, said) = agentd(&dir, &["run", "agent.yaml", "go", "--model", "a/m"], &[]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("the limit resets in 3 days, at "), "{said}");
    assert_eq!(a.count(), 2);
}
