//! Probes models: sends tool-calling requests whose right answers are known, and measures what comes back.
//!
//! ```text
//! wish ─► plan (targets, tasks, estimate) ─► ask ─► judge ─► ask once more with what was wrong ─► tally ─► best
//! ```
//! Each target of a route is asked by itself, with no failing over, so that the figures are its own. Always true:
//! - Nothing is sent before a [`Plan`] is handed to [`Daemon::probe`]; tool servers are listed and never called.
//! - What the router learns of answers, failures and calls it learns here as in a run. Requests and answers are not journaled.
//! - A failure counts and is not tried again, except where the provider asks for patience: how often it fails is a finding.
//!
//! Left out on purpose: which answer reads best, and every figure that needs a judge other than a schema and known values.

mod judge;
mod sample;
mod tally;
mod tasks;

use std::{
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{sync::oneshot, time::Instant};

use self::{
    judge::Judged,
    tally::{Answered, Board, Leave},
    tasks::Task,
};
use super::{
    Daemon, Error, parse,
    settings::{Provider, Settings},
};
use crate::{
    chat::{Request, ToolDef, Usage},
    provider::{Class, Failure, estimate_tokens},
    router::{Attempt, Conversation, Reply},
    run::NanoDollars,
    waiting,
};

pub use judge::Verdict;
pub use tally::{Against, Best, SILENT_MAX, Tally, best};

/// How long to wait when a provider asks for patience and does not say how much.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest such wait; who asks for more has failed.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// How often one request is sent again because of that.
const WAITS_MAX: usize = 3;

/// Tokens of an answer beside the arguments of its call: names, brackets, a word or two. Thinking is not foreseen.
const FRAME_TOKENS: u64 = 40;

/// What is to be probed, and how.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Model references: `provider/model`, or routes, each of whose targets is probed.
    pub targets: Vec<String>,
    /// Requests to each target.
    pub requests: u32,
    /// Requests in flight at once, all targets together; at least 1.
    pub parallel: usize,
    /// The agent whose tools are asked for; `None` for the bundled tasks.
    pub agent: Option<AgentFile>,
    /// What may be spent in all; `None` for no bound. It may be exceeded by as much as answers are dearer than the dearest
    /// before them.
    pub max_cost: Option<NanoDollars>,
}

/// An agent file as written.
#[derive(Debug, Clone)]
pub struct AgentFile {
    /// What the file is called in messages.
    pub file: String,
    /// Its text.
    pub definition: String,
    /// The directory that its relative paths start from.
    pub dir: PathBuf,
}

/// What will be asked, and what that should cost.
#[derive(Debug)]
pub struct Plan {
    /// The targets, in the order in which they were named, none twice.
    pub targets: Vec<Target>,
    /// Requests to each.
    pub requests: u32,
    /// Tokens of all requests to one target, estimated: read, and written without any thinking. Asking again comes on top.
    pub tokens: (u64, u64),
    /// What a person should know: tools left out, servers that are not there.
    pub notes: Vec<String>,
    tasks: Vec<Task>,
    parallel: usize,
    max_cost: Option<NanoDollars>,
}

/// A target and what its requests should cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `provider/model`.
    pub endpoint: String,
    /// What all requests to it should cost; `None` when its price is unknown.
    pub cost: Option<NanoDollars>,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was measured of each target, in the order of the plan.
    pub tallies: Vec<Tally>,
    /// Why it ended.
    pub left: Left,
}

/// Why a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All was asked that was to be asked.
    Done,
    /// It was told to stop.
    Stopped,
    /// Asking on could have cost more than was allowed.
    OutOfMoney,
}

impl Daemon {
    /// Makes a plan. Nothing is sent to a model; the servers of an agent are started, listed and ended.
    ///
    /// # Errors
    /// When a reference leads nowhere, the agent is unusable or has no tool that can be asked for, and when a bound on the
    /// cost cannot be kept because a price is unknown.
    pub async fn plan_probe(&self, settings: &Settings, wish: Wish) -> Result<Plan, Error> {
        let endpoints = self.endpoints(settings, &wish.targets)?;
        let (tasks, notes) = match &wish.agent {
            None => (tasks::bundled().map_err(|problems| Error::File(problems.to_string()))?, Vec::new()),
            Some(agent) => self.tasks_of(agent, wish.targets.first().map_or("", String::as_str)).await?,
        };
        let usages: Vec<Usage> = tasks.iter().map(estimate).collect();
        let all = || usages.iter().cycle().take(wish.requests as usize);
        let tokens = all().fold((0, 0), |sum, usage| (sum.0 + usage.input, sum.1 + usage.output));
        let target = |endpoint: String| {
            let costs = usages.iter().map(|usage| Some(price(settings, &endpoint, usage)?.0));
            let costs: Option<Vec<u64>> = costs.collect();
            let cost = costs.map(|costs| costs.iter().cycle().take(wish.requests as usize).sum());
            Target { endpoint, cost: cost.map(NanoDollars) }
        };
        let targets: Vec<Target> = endpoints.into_iter().map(target).collect();
        let unknown = targets.iter().find(|target| target.cost.is_none());
        if let (Some(unknown), Some(_)) = (unknown, wish.max_cost) {
            return Err(Error::Refused(format!(
                "the price of {0} is unknown, so no bound on the cost can be kept; set it in the settings: \
                 prices: {{{0}: {{input: …, output: …}}}}",
                unknown.endpoint
            )));
        }
        let Wish { requests, parallel, max_cost, .. } = wish;
        Ok(Plan { targets, requests, tokens, notes, tasks, parallel: parallel.max(1), max_cost })
    }

    /// Asks what the plan says until all is asked, the money is used up, or `stop` completes, telling `seen` of the figures
    /// each time that they have changed.
    pub async fn probe(
        &self,
        plan: &Plan,
        stop: impl Future<Output = ()>,
        seen: &mut (dyn FnMut(&[Tally]) + Send),
    ) -> Measured {
        let a_request = |target: &Target| {
            let cost = target.cost.map_or(0, |cost| cost.0.div_ceil(u64::from(plan.requests.max(1))));
            (target.endpoint.clone(), NanoDollars(cost))
        };
        let board = Mutex::new(Board::new(plan.targets.iter().map(a_request), plan.max_cost));
        // Task by task, so that all targets are asked side by side.
        let tasks = plan.tasks.iter().cycle().take(plan.requests as usize);
        let jobs = tasks.flat_map(|task| (0..plan.targets.len()).map(move |target| (task, target)));
        let mut asking = pin!(
            stream::iter(jobs).map(|(task, target)| self.ask_for(&board, task, target)).buffer_unordered(plan.parallel)
        );
        let mut stop = pin!(stop);
        let mut keeping = pin!(self.keeper.keep_on(&self.router));
        let stopped = loop {
            tokio::select! {
                biased;
                () = &mut stop => break true,
                asked = asking.next() => match asked {
                    Some(()) => seen(&lock(&board).tallies),
                    None => break false,
                },
                never = &mut keeping => match never {},
            }
        };
        self.keeper.keep(&self.router, Instant::now()).await;
        let board = lock(&board).clone();
        let left = match (stopped, board.out_of_money) {
            (true, _) => Left::Stopped,
            (false, true) => Left::OutOfMoney,
            (false, false) => Left::Done,
        };
        Measured { tallies: board.tallies, left }
    }

    /// Asks a target for a task, and once more if its call was not valid.
    async fn ask_for(&self, board: &Mutex<Board>, task: &Task, target: usize) {
        let Some(leave) = lock(board).leave(target, false) else { return };
        let Some((leave, reply)) = self.reply(board, leave, &task.request()).await else { return };
        let first = self.judged(task, &reply);
        lock(board).answered(leave, answered(&first, &reply));
        let Some(request) = judge::again(task, &reply.answer, &first, &reply.endpoint) else { return };
        let Some(leave) = lock(board).leave(target, true) else { return };
        let Some((leave, reply)) = self.reply(board, leave, &request).await else { return };
        let second = self.judged(task, &reply);
        lock(board).answered_again(leave, first.verdict, answered(&second, &reply));
    }

    /// Judges an answer; the router learns of it as it does of those in runs.
    fn judged(&self, task: &Task, reply: &Reply) -> Judged {
        let judged = judge::judge(task, &reply.answer);
        self.router.judged(&reply.endpoint, judged.lessons(task));
        judged
    }

    /// The answer to one request; `None` when there is none, which the board then knows.
    async fn reply(&self, board: &Mutex<Board>, leave: Leave, request: &Request) -> Option<(Leave, Reply)> {
        let endpoint = lock(board).tallies.get(leave.target)?.target.clone();
        let mut waits = 0;
        loop {
            let (failure, cost) = match self.attempt(&endpoint, request).await {
                Ok(reply) => return Some((leave, reply)),
                Err(Silence::NoRoom(wait)) if wait <= PATIENCE_MAX => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Err(Silence::NoRoom(_)) => {
                    lock(board).unfit(leave, "the settings leave no room for it within a minute");
                    return None;
                }
                Err(Silence::Unfit(why)) => {
                    lock(board).unfit(leave, &why);
                    return None;
                }
                Err(Silence::Failed(failure, cost)) => (failure, cost),
            };
            let pause = failure.retry_after.unwrap_or(PATIENCE);
            if failure.class != Class::RateLimited || pause > PATIENCE_MAX || waits == WAITS_MAX {
                lock(board).failed(leave, &failure, cost);
                return None;
            }
            waits += 1;
            lock(board).told_to_wait(&leave, &failure);
            tokio::time::sleep(pause).await;
        }
    }

    /// One attempt and no second: the router's own retries end with the first failure.
    async fn attempt(&self, endpoint: &str, request: &Request) -> Result<Reply, Silence> {
        let (tell, mut told) = oneshot::channel();
        let mut tell = Some(tell);
        let mut refused = None;
        let mut watch = |attempt: Attempt<'_>| {
            if let Attempt::Failed { failure, cost, .. } = attempt {
                if failure.class == Class::CallerFault {
                    // What it refuses may be left out, as in a run.
                    refused = Some(Silence::Failed(Box::new(failure.clone()), cost));
                    return;
                }
                // Nobody listens only when the whole request was given up.
                tell.take().map(|tell| tell.send(Silence::Failed(Box::new(failure.clone()), cost)).ok());
            }
        };
        let conversation = Conversation { tokens: estimate_tokens(request), ..Conversation::default() };
        let asked = tokio::select! {
            biased;
            Ok(failed) = &mut told => return Err(failed),
            asked = self.router.ask(endpoint, request, conversation, &mut watch) => asked,
        };
        asked.map_err(|failure| match (told.try_recv(), refused, failure.class, failure.retry_after) {
            (Ok(failed), ..) | (Err(_), Some(failed), ..) => failed,
            (Err(_), None, Class::RateLimited, Some(wait)) => Silence::NoRoom(wait),
            _ => Silence::Unfit(failure.message),
        })
    }

    /// The endpoints behind these references, in order, none twice.
    fn endpoints(&self, settings: &Settings, references: &[String]) -> Result<Vec<String>, Error> {
        let mut endpoints: Vec<String> = Vec::new();
        for reference in references {
            self.router.resolve(reference)?;
            let found = match settings.routes.get(reference) {
                Some(route) => {
                    let targets = route.targets.iter().map(|target| target.model.clone());
                    targets.filter(|target| settings.unready_at(target).is_none()).collect()
                }
                None => vec![reference.clone()],
            };
            for endpoint in found {
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
        }
        Ok(endpoints)
    }

    /// A task for each tool of an agent, and what a person should know of them.
    async fn tasks_of(&self, file: &AgentFile, model: &str) -> Result<(Vec<Task>, Vec<String>), Error> {
        let agent = parse(&file.file, &file.definition)?;
        let host = self.world(agent, &file.dir, model)?.host;
        let waiting = waiting::on("the tool servers to list their tools");
        let listed = host.list().await;
        drop(waiting);
        host.close().await;
        let listing = listed?;
        let tools: Arc<[ToolDef]> = listing.tools.into();
        let (tasks, left_out) = tasks::of_tools(tools);
        let mut notes = listing.warnings;
        notes.extend(listing.missing.into_iter().map(|(server, why)| format!("server {server:?} is not there: {why}")));
        notes.extend(
            left_out
                .into_iter()
                .map(|tool| format!("tool {tool} is not asked for: no arguments found that fit its schema")),
        );
        if tasks.is_empty() {
            let why = notes.iter().map(|note| format!("\n- {note}")).collect::<String>();
            return Err(Error::Refused(format!("{} has no tool that could be asked for{why}", file.file)));
        }
        Ok((tasks, notes))
    }
}

/// Why a request brought no answer.
enum Silence {
    /// It was sent, or tried to be; what that cost, `None` when it is unknown or nothing.
    Failed(Box<Failure>, Option<NanoDollars>),
    /// It was not sent, because the settings leave room for no further request for so long.
    NoRoom(Duration),
    /// The target cannot serve it and was not asked.
    Unfit(String),
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answered(judged: &Judged, reply: &Reply) -> Answered {
    Answered {
        verdict: judged.verdict,
        mended: judged.mended,
        latency: reply.latency,
        usage: reply.answer.usage,
        cost: reply.cost,
    }
}

/// The tokens of a task's request and of the answer that is asked for, estimated.
fn estimate(task: &Task) -> Usage {
    let request = task.request();
    let input = estimate_tokens(&request);
    // Some three characters of JSON full of signs make a token.
    let output = task.arguments.to_string().len() as u64 / 3 + FRAME_TOKENS;
    Usage { input, output, ..Usage::default() }
}

/// What so many tokens cost at an endpoint; `None` when that is unknown. A script costs nothing.
fn price(settings: &Settings, endpoint: &str, usage: &Usage) -> Option<NanoDollars> {
    let (provider, model) = endpoint.split_once('/')?;
    if let Some(Provider::Scripted { .. }) = settings.providers.get(provider) {
        return Some(NanoDollars(0));
    }
    settings.prices.of(provider, model)?.0.cost(usage)
}
