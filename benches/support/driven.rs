//! agentd in the same place: `engine::drive` with its own provider client, tool host, journal and store.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use agentd::{
    agent::{Agent, Steps},
    chat::Part,
    engine::{self, Clock, Left, Options, Stop, SystemClock, World},
    journal::Journal,
    mcp::{self, Host},
    provider::{Client, Dialect, Provider},
    router::Router,
    run::{Event, InputGiven, Run, RunId, Started, Status},
    store::{
        Memory, Store,
        sled::{self, Sled},
    },
};
use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use uuid::Uuid;

use super::{INSTRUCTIONS, Kept, PROMPT, model::Script, tool};

/// What all runs share.
pub struct Driven {
    store: Arc<dyn Store>,
    host: Arc<dyn mcp::ToolHost>,
    router: Router,
    agent: Arc<Agent>,
    definition: Arc<str>,
}

/// The agent, whose limits no script reaches.
const DEFINITION: &str = "\
version: 1
name: bench
model: double/any
instructions: You repeat things. Call the tool until the work is done.
approvals: {default: allow}
limits: {turns: 100000, tool_calls: 100000}
";

impl Driven {
    /// Connects to the servers and opens the store: sled in `folder`, or in memory.
    pub async fn new(base_url: &str, folder: Option<&Path>) -> Result<Self> {
        let store: Arc<dyn Store> = match folder {
            Some(path) => Arc::new(Sled::open(path, sled::Options::default())?),
            None => Arc::new(Memory::new()),
        };
        let server = mcp::Server::stdio("tools", std::env::current_exe()?.display().to_string())
            .args([tool::ROLE])
            .calls_max(10_000);
        let host = Host::new(mcp::host::Config { servers: vec![server], home: None, guard: None });
        let client: Arc<dyn Provider> = Arc::new(Client::builder(Dialect::OpenAiChat, base_url).build()?);
        let definition: Arc<str> = DEFINITION.into();
        let agent = Agent::parse("bench.yaml", &definition).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        Ok(Driven {
            store,
            host: Arc::new(host),
            router: Router::new(BTreeMap::from([("double".to_owned(), client)])),
            agent: Arc::new(agent),
            definition,
        })
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// One run to its end.
    pub async fn run(&self, script: Script) -> Result<Kept> {
        let world = World {
            agent: self.agent.clone(),
            host: self.host.clone(),
            left_out: Vec::new(),
            router: self.router.clone(),
            model: self.router.resolve(&format!("double/{script}"))?,
            steps: Steps::default(),
            clock: Arc::new(SystemClock),
        };
        let (mut run, mut journal) = self.start(script).await?;
        // Kept until the end: a drive whose owner has gone goes on, but need not.
        let (_stop, stop) = watch::channel(Stop::No);
        let left =
            engine::drive(world, &mut run, &mut journal, Vec::new(), Options::default(), stop, &mut |_| {}).await?;
        ensure!(left == Left::Ended && run.status() == Status::Done, "the run is {}", run.status().as_str());
        Ok(Kept {
            run: journal.run(),
            turns: usize::try_from(run.tally().turns)?,
            commits: journal.commits(),
            ..Kept::default()
        })
    }

    async fn start(&self, script: Script) -> Result<(Run, Journal)> {
        let id = RunId(Uuid::now_v7());
        let (mut journal, _) = Journal::claim(self.store.clone(), id).await?;
        let mut run = Run::default();
        let started = Started {
            agent: self.agent.name.clone(),
            definition: self.definition.clone(),
            file: "bench.yaml".to_owned(),
            dir: ".".to_owned(),
            model: format!("double/{script}"),
            instructions: Some(INSTRUCTIONS.into()),
            input: None,
            output_schema: None,
            limits: self.agent.limits,
            ask_again: self.agent.ask_again,
            tool_result_bytes_max: self.agent.tool_result_bytes_max,
            parent: None,
            key: None,
        };
        let given = InputGiven { inbox: None, by: "bench".to_owned(), parts: vec![Part::text(PROMPT)], stopped: false };
        for event in [Event::Started(Box::new(started)), Event::InputGiven(given)] {
            run.apply(&*journal.push(SystemClock.now(), event)?)?;
        }
        engine::start_commit(&run, &mut journal);
        Ok((run, journal))
    }

    /// Bytes of all frames of a run.
    pub async fn journal_bytes(&self, run: RunId) -> Result<usize> {
        let frames = self.store.read(run, 0).await.context("the journal cannot be read")?;
        Ok(frames.iter().map(|frame| frame.len()).sum())
    }
}
