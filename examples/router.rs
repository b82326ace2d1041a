//! The router alone: one request with a tool, every attempt as it happens, the answer, and what it cost.
//!
//! `cargo run --example router` needs no key: nobody listens at its first provider, so the second one, a script, answers.
//! With `BASE_URL` (and `API_KEY` and `MODEL`, where the server wants them) a real model is asked first:
//! `BASE_URL=http://127.0.0.1:11434/v1 MODEL=qwen3 cargo run --example router`.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, Write},
    sync::Arc,
};

use agentd::{
    chat::{Message, Part, Request, ToolDef},
    provider::{
        Client, Delta, Dialect, Price, Provider, Rates,
        scripted::{Script, Scripted},
    },
    router::{Attempt, Conversation, Facts, Reply, Route, Router, Table},
    run::NanoDollars,
};
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str, otherwise: &str| env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    // Port 9 is that of a service which throws everything away, and which nobody runs.
    let (url, model) = (variable("BASE_URL", "http://127.0.0.1:9/v1"), variable("MODEL", "any"));
    let mut server = Client::builder(Dialect::OpenAiChat, url).name("server");
    if let Ok(key) = env::var("API_KEY") {
        server = server.key(key.into());
    }
    ask(server.build()?, &model, &mut io::stdout()).await
}

/// What the second provider says.
const SCRIPT: &str = "\
version: 1
answers:
  - reasoning: I cannot know that without looking.
    text: Let me look.
    calls: [{name: weather, arguments: {city: Oslo}}]
    usage: {input: 80, output: 20}
";

/// Asks `server`, and a script if it fails, and writes down all that happens.
pub async fn ask(server: Client, model: &str, out: &mut (dyn Write + Send)) -> Result<(), Box<dyn Error>> {
    let script = Scripted::new("script", Script::parse("script", SCRIPT)?);
    let server: Arc<dyn Provider> = Arc::new(server);
    // Dollars for a million tokens, in billionths: 0.20 read, 0.80 written.
    let rates =
        Rates { input: NanoDollars(200_000_000), output: NanoDollars(800_000_000), cached: None, cache_write: None };
    let facts = Facts { price: Some(Price { rates, above: None }), ..Facts::default() };
    let router = Router::from(Table {
        providers: BTreeMap::from([("server".to_owned(), server), ("script".to_owned(), Arc::new(script))]),
        routes: BTreeMap::from([("smart".to_owned(), Route::over([format!("server/{model}").as_str(), "script/any"]))]),
        facts: Arc::new(move |_| facts.clone()),
        ..Table::default()
    });

    let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let request = Request {
        system: Some("You tell the weather. Look it up first.".into()),
        messages: vec![Arc::new(Message::User(vec![Part::text("How is the weather in Oslo?")]))],
        tools: Arc::new([ToolDef::new("weather", "The weather of a city right now.", city)]),
        ..Request::default()
    };

    // What cannot be written is told at the end: the answer is worth more.
    let mut written = Ok(());
    let mut watch = |attempt: Attempt<'_>| {
        if written.is_ok() {
            written = show(out, &attempt);
        }
    };
    let Reply { answer, endpoint, cost, latency, .. } =
        router.ask("smart", &request, Conversation::default(), &mut watch).await?;
    written?;

    writeln!(out, "\n\n{endpoint} answered within {} ms", latency.as_millis())?;
    for call in answer.calls() {
        writeln!(out, "it calls {} with {}", call.name, call.arguments)?;
    }
    match (answer.usage, cost) {
        (Some(usage), Some(cost)) => writeln!(out, "{} + {} tokens, {cost}", usage.input, usage.output)?,
        _ => writeln!(out, "it did not say what that took")?,
    }
    Ok(())
}

fn show(out: &mut (dyn Write + Send), attempt: &Attempt<'_>) -> io::Result<()> {
    match attempt {
        Attempt::Asked { endpoint, .. } => writeln!(out, "asking {endpoint}"),
        Attempt::Failed { endpoint, failure, .. } => writeln!(out, "{endpoint} failed, {}", failure.class),
        Attempt::Seen(Delta::Text(text) | Delta::Reasoning(text)) => write!(out, "{text}"),
        Attempt::Seen(Delta::Call(name)) => write!(out, "[{name}]"),
        Attempt::LeftOut { what, .. } => writeln!(out, "{what}"),
        Attempt::Seen(_) | Attempt::Paused { .. } => Ok(()),
    }
}
