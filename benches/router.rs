//! What the router costs beside a bare call: `cargo bench --bench router` prints the table of `benches/README.md`.
//!
//! Both ask the same server, which is on the other core and whose answers stand ready. Each round takes one sample of both,
//! who goes first changes; a figure is the median of the rounds, a ratio or a difference the median of those within each
//! round. CPU is that of the one thread that asks.

#[allow(dead_code, reason = "`engine` uses the rest of it")]
mod support {
    pub mod chat;
    pub mod double;
    pub mod http;
    pub mod os;
    pub mod rounds;
    pub mod table;
}

use std::{collections::BTreeMap, env, sync::Arc, time::Instant};

use agentd::{
    chat::{self as neutral, Part, ToolDef},
    provider::{Client, Dialect, Provider},
    router::{Conversation, Route, Router, Table},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use support::{
    chat::{Chat, Message},
    double, os,
    rounds::{median, rounds},
    table::{Row, Table as Report},
};
use tokio::{net::TcpListener, runtime, task::JoinSet};

fn main() -> Result<()> {
    let (command, count, requests) = match env::args().any(|word| word == "--full") {
        true => ("cargo bench --bench router -- --full", 15, 8000),
        false => ("cargo bench --bench router", 7, 2000),
    };
    let servers = os::servers()?;
    let listener = servers.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let base_url = format!("http://{}", listener.local_addr()?);
    servers.spawn(double::serve(listener));
    os::pin(os::CONTENDER)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;

    let mut report = Report::new(command);
    for (named, path) in [("whole", double::WHOLE), ("stream of 50 chunks", double::STREAM)] {
        for connections in [1, 32] {
            let work = Work { asker: Asker::new(&base_url, path)?, connections, requests, fresh: false };
            let costs = rounds(&[Who::Bare, Who::Router], count, |who| runtime.block_on(work.sample(who)))?;
            let compared = costs.compare(Who::Bare, Who::Router, |cost| cost.cpu_us);
            report.add(Row::ratio(format!("CPU an answer, {named}, {connections} at once"), "µs", compared, None));
            let compared = costs.compare(Who::Bare, Who::Router, |cost| cost.latency_us / 1e3);
            // Where several wait for one core, latency is CPU again.
            let budget = match (connections, path) {
                (1, double::STREAM) => Some(1.0),
                (1, _) => Some(0.15),
                _ => None,
            };
            report.add(Row::more(format!("latency, {named}, {connections} at once"), "ms", compared, budget));
        }
    }
    for (named, path) in [("whole", double::WHOLE), ("stream of 50 chunks", double::STREAM)] {
        let work = Work { asker: Asker::new(&base_url, path)?, connections: 1, requests: requests / 10, fresh: true };
        let costs = rounds(&[Who::Bare, Who::Router], count, |who| runtime.block_on(work.sample(who)))?;
        let compared = costs.compare(Who::Bare, Who::Router, |cost| cost.latency_us / 1e3);
        report.add(Row::more(
            format!("failover after a 503, {named}, against asking the second"),
            "ms",
            compared,
            Some(2.0),
        ));
    }
    println!("{report}");
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Bare,
    Router,
}

/// One answer, on average; the latency is the median.
#[derive(Clone, Copy)]
struct Cost {
    cpu_us: f64,
    latency_us: f64,
}

/// What a sample does.
struct Work {
    asker: Arc<Asker>,
    /// Requests at once.
    connections: usize,
    requests: usize,
    /// Whether each request meets a router that knows nothing yet and asks a server in vain first.
    fresh: bool,
}

impl Work {
    async fn sample(&self, who: Who) -> Result<Cost> {
        // Connections are opened and caches filled before the clock starts.
        self.all(who, self.connections.max(self.requests / 10)).await?;
        let before = os::thread_cpu();
        let latencies = self.all(who, self.requests).await?;
        let cpu = os::thread_cpu() - before;
        Ok(Cost { cpu_us: cpu.as_secs_f64() * 1e6 / latencies.len() as f64, latency_us: median(latencies) })
    }

    /// The microseconds of each request.
    async fn all(&self, who: Who, requests: usize) -> Result<Vec<f64>> {
        let mut lanes = JoinSet::new();
        for _ in 0..self.connections {
            let (asker, fresh, mine) = (self.asker.clone(), self.fresh, requests / self.connections);
            lanes.spawn(async move {
                let mut latencies = Vec::with_capacity(mine);
                for _ in 0..mine {
                    latencies.push(asker.once(who, fresh).await?);
                }
                Ok::<_, anyhow::Error>(latencies)
            });
        }
        let mut all = Vec::with_capacity(requests);
        while let Some(latencies) = lanes.join_next().await {
            all.extend(latencies??);
        }
        Ok(all)
    }
}

/// Both ways of asking for the same answer.
struct Asker {
    bare: Chat,
    /// Whether the bare call asks for a stream. The router always does, and takes what comes.
    streams: bool,
    messages: Vec<Message>,
    table: Table,
    router: Router,
    request: neutral::Request,
}

/// A request as an agent has them: instructions, a task, and a tool.
const INSTRUCTIONS: &str = "You repeat things. Call the tool until the work is done.";
const PROMPT: &str = "Repeat what there is to repeat.";
const TOOL: (&str, &str) = ("echo", "Repeats a text.");

fn schema() -> Value {
    json!({"type": "object", "properties": {"text": {"type": "string"}, "times": {"type": "integer"}}, "required": ["text"]})
}

/// A route to the server alone, and one that leads to a server in vain first.
const ROUTE: &str = "one";
const DETOUR: &str = "two";

impl Asker {
    fn new(base_url: &str, path: &str) -> Result<Arc<Self>> {
        let tool =
            json!({"type": "function", "function": {"name": TOOL.0, "description": TOOL.1, "parameters": schema()}});
        let provider = |path: &str| -> Result<Arc<dyn Provider>> {
            Ok(Arc::new(Client::builder(Dialect::OpenAiChat, format!("{base_url}{path}")).build()?))
        };
        let table = Table {
            providers: BTreeMap::from([
                ("server".to_owned(), provider(path)?),
                ("busy".to_owned(), provider(double::BUSY)?),
            ]),
            routes: BTreeMap::from([
                (ROUTE.to_owned(), Route::over(["server/m"])),
                (DETOUR.to_owned(), Route::over(["busy/m", "server/m"])),
            ]),
            ..Table::default()
        };
        Ok(Arc::new(Asker {
            bare: Chat::new(&format!("{base_url}{path}"), &[tool])?,
            streams: path == double::STREAM,
            messages: vec![Message::text("system", INSTRUCTIONS), Message::text("user", PROMPT)],
            router: Router::from(table.clone()),
            table,
            request: neutral::Request {
                system: Some(INSTRUCTIONS.into()),
                messages: vec![Arc::new(neutral::Message::User(vec![Part::text(PROMPT)]))],
                tools: Arc::new([ToolDef::new(TOOL.0, TOOL.1, schema())]),
                ..neutral::Request::default()
            },
        }))
    }

    /// Asks for one answer; the microseconds until it was there.
    async fn once(&self, who: Who, fresh: bool) -> Result<f64> {
        let detour = fresh.then(|| Router::from(self.table.clone()));
        let begun = Instant::now();
        let text = match (who, &detour) {
            (Who::Bare, _) if self.streams => self.bare.ask("m", &self.messages).await?.content,
            (Who::Bare, _) => self.bare.ask_whole("m", &self.messages).await?.content,
            (Who::Router, Some(router)) => ask(router, DETOUR, &self.request).await?,
            (Who::Router, None) => ask(&self.router, ROUTE, &self.request).await?,
        };
        let latency = begun.elapsed();
        ensure!(text.len() == double::CHUNKS * "word ".len(), "another answer: {text}");
        Ok(latency.as_secs_f64() * 1e6)
    }
}

async fn ask(router: &Router, route: &str, request: &neutral::Request) -> Result<String> {
    Ok(router.ask(route, request, Conversation::default(), &mut |_| {}).await?.answer.text())
}
