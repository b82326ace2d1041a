//! An agent: the YAML file that says which model, instructions, tools and limits a run has.
//!
//! [`Agent::parse`] reads and checks the file; whoever runs it reads the fields, asks for the [`Policy`] of a tool, and
//! renders the [`instructions`](Agent::instructions). [`Agent::expand`] looks up `${VAR}` and makes paths absolute when
//! servers are to be started, and no earlier: what is kept of a definition never holds a secret. Always true:
//! - Whatever is wrong with a file is told at once, each fault with its place; a key that does nothing is a fault.
//! - Nothing here touches disk, clock or environment.
//! - A server's command comes from the file and from nowhere else, and is never put through a shell.
//!
//! Left out on purpose: whether a provider has the model (`router`), whether a command exists (starting it tells).

mod allow;
mod condition;
mod instructions;
mod origin;
mod parse;
mod servers;
mod template;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    chat::{Effect, ToolDef, ToolName, glob, specificity},
    repair::{self, Schema, text::TextCalls},
    run::{Limits, OnDoubt},
    yaml::{Place, Problem, nearest},
};

pub use allow::Unwritable;
pub use condition::{Condition, Unclear};
pub use origin::Said;
pub use servers::{Launch, Ready, Server, Servers, Start, ToolFilter, Trust};

use instructions::Instructions;

/// A checked definition.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its name, `[a-z0-9][a-z0-9_-]{0,63}`.
    pub name: String,
    /// What it is for; `None` when the file does not say.
    pub description: Option<String>,
    /// Which model answers.
    pub model: Model,
    /// The JSON Schema of the typed input; `None` when it takes none.
    pub input: Option<Arc<Value>>,
    /// The JSON Schema of the final answer, an object; `None` for free text.
    pub output: Option<Arc<Value>>,
    /// Its tool servers, in the order of the file.
    pub servers: Vec<Server>,
    /// What holds for single tools, in the order of the file. [`Agent::policy_for`] reads it.
    pub rules: Vec<Rule>,
    /// What a run may use.
    pub limits: Limits,
    /// When a person is asked.
    pub approvals: Approvals,
    /// What is done about calls of unknown outcome.
    pub on_doubt: OnDoubts,
    /// How often an answer without a valid call is asked again. Default 2.
    pub ask_again: u32,
    /// How far broken calls are mended, by effect.
    pub repairs: Repairs,
    /// How calls in a model's text are treated; `None` leaves it to the settings of its provider.
    pub text_calls: Option<TextCalls>,
    /// Most bytes of one tool result that a model gets to see. Default 64 KiB.
    pub tool_result_bytes_max: u64,
    /// The share of the model's window that a request may fill before old tool results are left out, 0.1 to 1.
    pub compact_at: f64,
    instructions: Option<Instructions>,
    /// `input`, compiled.
    input_schema: Option<Schema>,
    /// Where `input` stands.
    input_place: Place,
    /// Where `approvals.default` stands; `None` when the file does not say.
    approvals_place: Option<Place>,
    source: Source,
}

/// Which model answers, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// `provider/model`, where the provider is what stands before the first slash, or the name of a route.
    pub name: String,
    /// Other models for some of the requests.
    pub steps: Steps,
    /// Sampling temperature, 0 to 2; `None` leaves it to the provider.
    pub temperature: Option<f64>,
    /// Most tokens of one answer; `None` leaves it to the provider.
    pub output_tokens: Option<u32>,
}

/// Whether a text can name an agent or a route: `[a-z0-9][a-z0-9_-]{0,63}`.
pub fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    text.len() <= 64 && text.chars().all(inner) && !text.is_empty() && !text.starts_with(['_', '-'])
}

/// Models or routes for kinds of requests; `None`: the agent's own model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steps {
    /// Requests that answer what a person says.
    pub first: Option<String>,
    /// Requests that follow results of tools.
    pub tools: Option<String>,
    /// Requests that must bring the typed output.
    pub last: Option<String>,
}

impl Steps {
    /// Those that are named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        [&self.first, &self.tools, &self.last].into_iter().flatten().map(String::as_str)
    }
}

/// What the file says of the tools that a pattern matches; `None` where it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// A glob over `server.tool`.
    pub pattern: String,
    /// Where it stands.
    pub place: Place,
    /// What calling them may do.
    pub effect: Option<Effect>,
    /// Whether they run.
    pub approve: Option<Approval>,
    /// For which arguments `approve` holds; `None`: for all. The rest of the rule holds always.
    pub when: Option<Condition>,
    /// Longest silence of the server during a call.
    pub timeout: Option<Duration>,
    /// Hard cap on a call.
    pub total_timeout: Option<Duration>,
    /// Longest silence during the second attempt of a call that timed out and may be repeated.
    pub retry_timeout: Option<Duration>,
    /// What is done about a call of unknown outcome.
    pub on_doubt: Option<OnDoubt>,
    /// Whether calls may run beside their neighbours although they are no reads.
    pub parallel: Option<bool>,
    /// How far broken calls are mended.
    pub repair: Option<repair::Policy>,
}

/// What holds for one tool.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// What calling it may do; `None` leaves it to the server's hints.
    pub effect: Option<Effect>,
    /// Whether it runs, whatever its arguments; `None` leaves it to [`Approvals::default`]. What rules with conditions
    /// say is in [`Agent::approval`].
    pub approve: Option<Approval>,
    /// Longest silence of the server during a call. Default 60 s.
    pub timeout: Duration,
    /// Hard cap on a call. Default ten times `timeout`.
    pub total_timeout: Duration,
    /// Longest silence during the second attempt of a call that timed out and may be repeated; `None` when there is no
    /// second attempt.
    pub retry_timeout: Option<Duration>,
    /// What is done about a call of unknown outcome; `None` leaves it to [`Agent::on_doubt`].
    pub on_doubt: Option<OnDoubt>,
    /// Whether a call may run beside its neighbours although it is no read.
    pub parallel: bool,
    /// How far broken calls are mended; `None` leaves it to [`Agent::repairs`].
    pub repair: Option<repair::Policy>,
}

/// Whether a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Approval {
    /// It runs.
    Allow,
    /// A person is asked first.
    Ask,
    /// It is refused.
    Deny,
    /// Reads run, for all else a person is asked. Only as [`Approvals::default`].
    AskOnWrite,
}

/// What becomes of a call that would ask while nobody attends the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Unattended {
    /// The run waits.
    #[default]
    Wait,
    /// The call is refused.
    Deny,
    /// The call runs, if it was the policy that asked.
    Allow,
}

/// When a person is asked, and what silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approvals {
    /// What holds for tools that no rule speaks of. Default [`Approval::AskOnWrite`].
    pub default: Approval,
    /// What happens while nobody is there to be asked. Default [`Unattended::Wait`].
    pub unattended: Unattended,
    /// How long a question stands; `None`, the default, for ever.
    pub expire: Option<Duration>,
    /// What silence means then: `true` allows. Default `false`.
    pub on_expire_allow: bool,
}

/// What is done about calls of unknown outcome, by effect. Reads and idempotent calls are always repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDoubts {
    /// For writes. Default [`OnDoubt::Tell`].
    pub write: OnDoubt,
    /// For destructive calls. Default [`OnDoubt::Ask`].
    pub destructive: OnDoubt,
}

/// How far broken calls are mended, by effect; `None` leaves it to [`repair::Policy::by_effect`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Calls that change nothing.
    pub read: Option<repair::Policy>,
    /// Calls that change nothing more when they are repeated.
    pub idempotent: Option<repair::Policy>,
    /// Calls that change something.
    pub write: Option<repair::Policy>,
    /// Calls that may destroy something.
    pub destructive: Option<repair::Policy>,
}

impl Repairs {
    /// What is said of an effect.
    pub fn of(&self, effect: Effect) -> Option<repair::Policy> {
        match effect {
            Effect::Read => self.read,
            Effect::Idempotent => self.idempotent,
            Effect::Write => self.write,
            Effect::Destructive => self.destructive,
        }
    }
}

/// Longest silence of a server during a call, when the file does not say: as long as MCP's own TypeScript SDK waits (1.x).
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many times the longest silence a call may take in all, when the file does not say.
const TOTAL_FACTOR: u32 = 10;

impl Agent {
    /// What holds for a tool: of all rules that match it, each setting from the most specific one that has it, and else
    /// from its server. The more characters of a pattern are not wildcards, the more specific it is; of two alike, the
    /// later one wins. A `deny` beats all.
    pub fn policy_for(&self, tool: &ToolName) -> Policy {
        let rules = self.rules_for(tool);
        let server = self.server_of(tool);
        let mut words = rules.iter().filter(|rule| rule.when.is_none()).filter_map(|rule| rule.approve);
        let denied = words.clone().any(|word| word == Approval::Deny);
        let timeout = rules.iter().find_map(|rule| rule.timeout);
        let total_timeout = rules.iter().find_map(|rule| rule.total_timeout);
        let by_server = server.filter(|_| timeout.is_none()).map(|server| server.total_timeout);
        let timeout = timeout.or(server.map(|server| server.timeout)).unwrap_or(TIMEOUT);
        let total_timeout = total_timeout.or(by_server).unwrap_or(timeout.saturating_mul(TOTAL_FACTOR));
        Policy {
            effect: rules.iter().find_map(|rule| rule.effect).or(server.and_then(|server| server.effect)),
            approve: if denied { Some(Approval::Deny) } else { words.next() },
            timeout,
            total_timeout: total_timeout.max(timeout),
            retry_timeout: rules.iter().find_map(|rule| rule.retry_timeout),
            on_doubt: rules.iter().find_map(|rule| rule.on_doubt),
            parallel: rules.iter().find_map(|rule| rule.parallel).unwrap_or(false),
            repair: rules.iter().find_map(|rule| rule.repair),
        }
    }

    /// What the file says of a call with these arguments: the word of the most specific rule that has one and whose
    /// condition holds, else [`Approvals::default`]. A `deny` beats all.
    ///
    /// # Errors
    /// When a condition that matters cannot be told. A person must then be asked, whatever else allows the call.
    pub fn approval(&self, tool: &ToolName, arguments: &Value) -> Result<Approval, Unclear> {
        let mut said = None;
        let mut unclear = None;
        for rule in self.rules_for(tool) {
            let Some(word) = rule.approve else { continue };
            match rule.when.as_ref().map_or(Ok(true), |when| when.holds(arguments)) {
                Ok(true) if word == Approval::Deny => return Ok(word),
                Ok(true) => said = said.or(Some(word)),
                // Behind one that is more specific and holds, only a refusal still matters.
                Err(reason) if said.is_none() || word == Approval::Deny => {
                    unclear = unclear.or(Some(Unclear { pattern: rule.pattern.clone(), reason }));
                }
                Ok(false) | Err(_) => {}
            }
        }
        unclear.map_or(Ok(said.unwrap_or(self.approvals.default)), Err)
    }

    /// Whether the word on a call may depend on its arguments.
    pub fn has_conditions(&self) -> bool {
        self.rules.iter().any(|rule| rule.when.is_some())
    }

    /// The rules that match a tool, the most specific one first; of two alike, the later one.
    fn rules_for(&self, tool: &ToolName) -> Vec<&Rule> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let name = tool.to_string();
        let mut rules: Vec<&Rule> = self.rules.iter().rev().filter(|rule| glob(&rule.pattern, &name)).collect();
        rules.sort_by_key(|rule| std::cmp::Reverse(specificity(&rule.pattern)));
        rules
    }

    fn server_of(&self, tool: &ToolName) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == tool.server)
    }

    /// How far broken calls of a tool are mended: as its rule says, else as the file says of its effect, else as
    /// [`repair::Policy::by_effect`] has it.
    pub fn repairs_for(&self, tool: &ToolDef) -> repair::Policy {
        let said = self.policy_for(&tool.origin).repair.or(self.repairs.of(tool.effect));
        said.unwrap_or_else(|| repair::Policy::by_effect(tool))
    }

    /// Says which rules hold for nothing although their server has these tools: their names are likely misspelt.
    pub fn idle_rules(&self, tools: &[&ToolName]) -> Vec<String> {
        let idle = self.rules.iter().filter_map(|rule| {
            let (server, tool) = rule.pattern.split_once('.')?;
            let there = tools.iter().filter(|name| name.server == server).map(|name| name.tool.as_str());
            let matches = tools.iter().any(|name| glob(&rule.pattern, &name.to_string()));
            if matches || there.clone().next().is_none() {
                return None;
            }
            let hint = nearest(tool, there).map_or(String::new(), |meant| format!("; did you mean {server}.{meant}?"));
            Some(format!("the rule for {} holds for nothing: {server} offers no such tool{hint}", rule.pattern))
        });
        idle.collect()
    }

    /// Checks a glob over `server.tool` that stands beside the file; the error says what is wrong, for people.
    pub fn check_pattern(&self, pattern: &str) -> Result<(), String> {
        parse::check_pattern(pattern, self.servers.iter().map(|server| server.name.as_str()))
    }

    /// What the file is called in messages.
    pub fn file(&self) -> &str {
        &self.source.file
    }

    /// The file as written.
    pub fn definition(&self) -> &Arc<str> {
        &self.source.text
    }
}

impl Model {
    /// The provider's name.
    pub fn provider(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(provider, _)| provider)
    }
}

impl Default for Approvals {
    fn default() -> Self {
        Approvals { default: Approval::AskOnWrite, unattended: Unattended::Wait, expire: None, on_expire_allow: false }
    }
}

impl Default for OnDoubts {
    fn default() -> Self {
        OnDoubts { write: OnDoubt::Tell, destructive: OnDoubt::Ask }
    }
}

/// The text that an agent was read from, for problems that show up later.
#[derive(Clone)]
struct Source {
    file: Arc<str>,
    text: Arc<str>,
}

impl Source {
    fn problem(&self, place: Place, message: impl Into<String>) -> Problem {
        Problem::new(&self.file, &self.text, place, message)
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.file, f)
    }
}
