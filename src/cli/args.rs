//! What can be typed: every command, its flags, and its help with an example. Only what works is accepted.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint, builder::NonEmptyStringValueParser};
use clap_complete::ArgValueCompleter;

use super::complete;
use crate::{agent::is_name, chat::CallId, daemon::Overrides, repair::Policy, run::NanoDollars, yaml};

/// Runs tool-calling agents that finish: every step is journaled, and a run survives kill -9.
#[derive(Debug, Parser)]
#[command(name = "agentd", version, propagate_version = false, max_term_width = 110, after_help = EXIT_CODES)]
pub(super) struct Line {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 done                     5 a required tool server does not start
  1 the run failed           6 a limit is used up (resumable)
  2 usage or invalid file    7 the output does not fit its schema
  3 waits for a person       8 not found
  4 no provider (resumable)  9 store locked, damaged, full or failed
  130, 143 interrupted or cancelled

The data is in $AGENTD_HOME; the log on stderr follows $AGENTD_LOG (such as agentd=debug). NO_COLOR=1 takes colours away.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a run and drive it to its end
    #[command(after_help = "\
Example:
  agentd run agents/tidy.yaml 'Sort my notes'
  echo 'Sort my notes' | agentd run tidy - --json
  agentd run report.yaml 'The report of yesterday' --key report-$(date +%F)   # however often cron starts it

With --json, `denied` lists the calls that a policy or a person refused, also of a run that is done.")]
    Run(Run),
    /// Go on with a run that was interrupted, waits, used up a limit, or is done and gets a new prompt; one that another
    /// process drives is told the prompt and the limits
    #[command(after_help = "\
Example:
  agentd resume 0199c2d4 --max-turns 80
  agentd resume @last 'Now do the same for March'")]
    Resume(Resume),
    /// Allow a call that waits for approval, or whose tool has changed; a run that nobody drives goes on when it is resumed
    ///
    /// It prints what it allows: the tool, the effect and the arguments. Without the id of a call it allows only what you were
    /// shown before (by run, resume, runs show or runs watch); a call that has come since is printed, and needs its id.
    /// @last names no run while more than one waits for a person. Repeated after it took effect, it says so and exits 0.
    #[command(after_help = "\
Example:
  agentd approve @last && agentd resume @last
  agentd approve @last --all --for-run
  agentd approve 0199c2d4 t3c1 --edit
  agentd approve 0199c2d4 t3c1 --arguments '{\"path\": \"draft.txt\"}'")]
    Approve(Approve),
    /// Refuse a call that waits for approval, or whose tool has changed; a run that nobody drives goes on when it is resumed
    #[command(after_help = "\
Example:
  agentd deny 0199c2d4 t3c1 --reason 'not in the shared folder'")]
    Deny(Deny),
    /// Say what became of a call whose outcome is unknown; a run that nobody drives goes on when it is resumed
    #[command(after_help = "\
Example:
  agentd resolve 0199c2d4 t3c1 --happened '{\"id\": 17}'")]
    Resolve(Resolve),
    /// Stop a run for good, also one that another process drives
    #[command(after_help = "\
Example:
  agentd cancel @last")]
    Cancel(Cancel),
    /// Check agent files and the settings; starts nothing
    #[command(after_help = "\
Example:
  agentd check agent.yaml")]
    Check(Check),
    /// Show the settings in force
    #[command(after_help = "\
Example:
  agentd config show --origin")]
    Config(Config),
    /// Print the JSON Schema of agent files or settings, for editors
    #[command(after_help = "\
Example:
  agentd schema agent > agent.schema.json

Editors with yaml-language-server take it from the first line of a file:
  # yaml-language-server: $schema=agent.schema.json")]
    Schema(Schema),
    /// List models: which can be asked now, why others cannot, and what they cost
    #[command(after_help = "\
Example:
  agentd models
  agentd models --json

Prices are US dollars per million tokens; `+` means that long requests cost more.")]
    Models(Models),
    /// Measure how well models call tools, by asking them for calls that are known
    #[command(after_help = "\
Example:
  agentd probe openai/gpt-5 -n 50
  agentd probe smart local/qwen3 -n 50 --compare --max-cost 2

Each target of a route is asked by itself. Behind an arrow: after asking once more with what was wrong.")]
    Probe(Probe),
    /// Show what runs taught: models, tools, agents and costs
    #[command(after_help = "\
Example:
  agentd stats
  agentd stats models --since 7d --json")]
    Stats(Stats),
    /// Repair a tool call by hand, or a batch of them, and say what was wrong
    #[command(after_help = "\
Example:
  agentd repair call.json --tools tools.json
  agentd repair arguments.txt --tool read_file --tools tools.json
  agentd repair --batch cases.jsonl --json

FILE holds {\"name\": …, \"arguments\": …} or, with --tool, the arguments alone; tools are listed as by tools/list.
A case is a line {\"id\", \"tools\", \"call\": {\"name\", \"arguments\"}} or {\"id\", \"tools\", \"text\"}.")]
    Repair(Repair),
    /// Show the tools of an agent and what holds for them, or call one by hand
    #[command(after_help = "\
Example:
  agentd tools ls agents/tidy.yaml
  agentd tools call tidy files.read '{\"path\": \"a.txt\"}'")]
    Tools(Tools),
    /// List runs and look into them
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Example:
  agentd runs
  agentd runs show @last"
    )]
    Runs(Runs),
    /// Write the first agent of a folder, with a model that can be asked from here
    #[command(after_help = "\
Example:
  agentd init
  agentd init notes --model ollama/qwen3 --yes")]
    Init(Init),
    /// Try what a run would need: settings, data, agents, their servers, and a tool call of each model
    #[command(after_help = "\
Example:
  agentd doctor
  agentd doctor agents/triage.yaml --offline

Each model that agents and routes name gets one small request, and one model of each other provider whose key is set.")]
    Doctor(Doctor),
    /// Print what makes a shell complete commands, agents and runs
    #[command(after_help = "\
Example:
  echo 'source <(agentd completions bash)' >> ~/.bashrc
  echo 'source <(agentd completions zsh)' >> ~/.zshrc
  agentd completions fish > ~/.config/fish/completions/agentd.fish")]
    Completions(Completions),
    /// Print the manual page of a command, or write them all
    #[command(after_help = "\
Example:
  agentd man runs show | man -l -
  agentd man --dir ~/.local/share/man/man1")]
    Man(Man),
    /// Print the version
    #[command(after_help = "\
Example:
  agentd version --json")]
    Version(Version),
}

/// See [`Command::Run`].
#[derive(Debug, Args)]
pub(super) struct Run {
    /// An agent file, or the NAME of agents/NAME.yaml; ./agent.yaml when left out
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: Option<String>,
    /// What to tell the agent; `-` reads it from stdin. Without one, on a terminal, you talk with it
    pub prompt: Option<String>,
    /// Show the agent this file too, a text, picture, sound (WAV, MP3) or PDF; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// One property of the agent's typed input; may be repeated
    #[arg(long = "input", value_name = "KEY=VALUE", value_parser = pair, conflicts_with = "input_json")]
    pub inputs: Vec<(String, String)>,
    /// The agent's typed input as JSON
    #[arg(long, value_name = "JSON")]
    pub input_json: Option<String>,
    /// Ask this model, or the models of this route, instead of what the file names
    #[arg(long, value_name = "PROVIDER/MODEL|ROUTE")]
    pub model: Option<String>,
    /// Start once: with a KEY that has started a run before, also at this moment, follow that run and end as it does
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    pub key: Option<String>,
    /// Let a files server have a root outside of the folder of the agent file, although that file is not your own
    #[arg(long)]
    pub outside_root: bool,
    /// Tell who would be asked first, who then, and why
    #[arg(long)]
    pub explain_route: bool,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub drive: Drive,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Resume`].
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["run", "all"]).required(true))]
pub(super) struct Resume {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    pub run: Option<String>,
    /// What to tell the agent; `-` reads it from stdin
    #[arg(conflicts_with = "all")]
    pub prompt: Option<String>,
    /// Show the agent this file too, a text, picture, sound (WAV, MP3) or PDF; may be repeated
    #[arg(short, long = "file", value_name = "FILE", requires = "prompt")]
    pub files: Vec<PathBuf>,
    /// Go on with every run that can go on by itself and that no other process drives
    #[arg(long, conflicts_with_all = ["stream_json", "output", "max_turns", "max_tool_calls", "max_tokens", "max_cost", "timeout", "allow"])]
    pub all: bool,
    #[command(flatten)]
    pub limits: Limits,
    #[command(flatten)]
    pub drive: Drive,
    #[command(flatten)]
    pub shared: Shared,
}

/// Limits beside the agent file's own.
#[derive(Debug, Args)]
pub(super) struct Limits {
    /// Most model answers
    #[arg(long, value_name = "N")]
    pub max_turns: Option<u64>,
    /// Most tool calls
    #[arg(long, value_name = "N")]
    pub max_tool_calls: Option<u64>,
    /// Most tokens, in and out, of all attempts
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<u64>,
    /// Most money, in US dollars: $1.50 or 1.50
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub max_cost: Option<NanoDollars>,
    /// Longest time at work, waits not counted: 90s, 30m, 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

impl From<&Limits> for Overrides {
    fn from(limits: &Limits) -> Self {
        Overrides {
            turns: limits.max_turns,
            tool_calls: limits.max_tool_calls,
            tokens: limits.max_tokens,
            cost: limits.max_cost,
            active: limits.timeout,
        }
    }
}

/// How a run is driven and what is told of it.
#[derive(Debug, Args)]
pub(super) struct Drive {
    /// Allow calls that would ask; never what is denied, in doubt, or a held repeat
    #[arg(long)]
    pub yes: bool,
    /// Allow calls of these tools that would ask, for the whole run: files.write, 'github.issue_*'; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub allow: Vec<String>,
    /// Leave with exit code 4 when no provider can be reached, instead of waiting
    #[arg(long)]
    pub no_wait: bool,
    /// Print the run's journal on stdout, one entry a line, each as soon as it is durable
    #[arg(long, conflicts_with = "json")]
    pub stream_json: bool,
    /// Write the output to FILE instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// See [`Command::Approve`].
#[derive(Debug, Args)]
pub(super) struct Approve {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// The call, such as t3c1; may be left out when only one waits
    pub call: Option<CallId>,
    /// All calls that wait for approval
    #[arg(long, conflicts_with = "call")]
    pub all: bool,
    /// Allow the same tool for the rest of this run
    #[arg(long)]
    pub for_run: bool,
    /// Write into the agent file that this tool needs no approval, and allow it for the rest of this run
    #[arg(long)]
    pub write: bool,
    /// Change the arguments first, in $VISUAL or $EDITOR
    #[arg(long, conflicts_with_all = ["all", "arguments"])]
    pub edit: bool,
    /// Run the call with these arguments instead
    #[arg(long, value_name = "JSON", conflicts_with = "all")]
    pub arguments: Option<String>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Deny`].
#[derive(Debug, Args)]
pub(super) struct Deny {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// The call, such as t3c1; may be left out when only one waits
    pub call: Option<CallId>,
    /// All calls that wait for approval
    #[arg(long, conflicts_with = "call")]
    pub all: bool,
    /// Refuse the same tool for the rest of this run
    #[arg(long)]
    pub for_run: bool,
    /// Why, for the model
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Resolve`].
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("outcome").args(["happened", "did_not", "retry"]).required(true))]
pub(super) struct Resolve {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// The call, such as t3c1
    pub call: CallId,
    /// It did happen, with this result if it is known
    #[arg(long, value_name = "JSON")]
    #[expect(clippy::option_option, reason = "the flag, and its value")]
    pub happened: Option<Option<String>>,
    /// It did not happen
    #[arg(long)]
    pub did_not: bool,
    /// Send it again
    #[arg(long)]
    pub retry: bool,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Cancel`].
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Check`].
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Agent files
    #[arg(value_name = "FILE", default_value = "agent.yaml", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Config`].
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(subcommand)]
    pub what: ConfigWhat,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigWhat {
    /// Show each value that holds; keys and what variables stand for are never shown
    #[command(after_help = "\
Example:
  agentd config show --origin --json")]
    Show(ConfigShow),
}

/// See [`ConfigWhat::Show`].
#[derive(Debug, Args)]
pub(super) struct ConfigShow {
    /// Say where each value came from: default, catalogue, a line of the file, the environment, a flag
    #[arg(long)]
    pub origin: bool,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Schema`].
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of which files
    #[arg(value_name = "WHAT")]
    pub of: SchemaOf,
}

/// What there are schemas of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Agent files
    Agent,
    /// The settings, agentd.yaml
    Config,
}

/// See [`Command::Models`].
#[derive(Debug, Args)]
pub(super) struct Models {
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Probe`].
#[derive(Debug, Args)]
pub(super) struct Probe {
    /// The models, or routes of the settings
    #[arg(value_name = "ROUTE|PROVIDER/MODEL", required = true)]
    pub targets: Vec<String>,
    /// Requests to each model
    #[arg(short = 'n', long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub requests: u32,
    /// Requests in flight at once, all models together
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = parallel)]
    pub parallel: usize,
    /// Show the models side by side, and which is the best
    #[arg(long)]
    pub compare: bool,
    /// Ask for calls of this agent's tools (a file, or the NAME of agents/NAME.yaml); its servers are listed, never called
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Stop before this much is spent, in US dollars: 2, 0.50
    #[arg(long, value_name = "DOLLARS", value_parser = dollars)]
    pub max_cost: Option<NanoDollars>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Repair`].
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("input").args(["file", "batch"]).required(true))]
pub(super) struct Repair {
    /// What a model wrote; `-` reads it from stdin
    #[arg(requires = "tools")]
    pub file: Option<PathBuf>,
    /// The tools on offer, as JSON
    #[arg(long, value_name = "FILE", conflicts_with = "batch")]
    pub tools: Option<PathBuf>,
    /// The tool that FILE holds arguments for
    #[arg(long, value_name = "NAME", conflicts_with = "batch")]
    pub tool: Option<String>,
    /// Cases, a line each; `-` reads them from stdin
    #[arg(long, value_name = "CASES")]
    pub batch: Option<PathBuf>,
    /// How far repairs may go: off, lossless or unique; what the tool's annotations allow when left out
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub policy: Option<Policy>,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Stats`].
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Only these figures; a short overview of all when left out
    #[arg(value_name = "WHAT")]
    pub of: Option<Section>,
    /// Only what happened in this time: 24h, 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,
    /// Only the runs of this agent, by its name
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::names))]
    pub agent: Option<String>,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// What [`Command::Stats`] can tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Section {
    /// Endpoints: answers, failures, faulty calls, latency, cost, and how they stand now
    Models,
    /// Tools: calls, faults, errors, latency
    Tools,
    /// Questions about calls: what was decided, by whom, after how long
    Approvals,
    /// Agents: runs, how long they took and how they ended, what they used
    Agents,
    /// Days: what was used and paid
    Costs,
}

impl Section {
    /// All, in the order in which they are shown.
    pub const ALL: [Section; 5] =
        [Section::Models, Section::Tools, Section::Approvals, Section::Agents, Section::Costs];

    /// The name on the command line and in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Section::Models => "models",
            Section::Tools => "tools",
            Section::Approvals => "approvals",
            Section::Agents => "agents",
            Section::Costs => "costs",
        }
    }
}

/// See [`Command::Tools`].
#[derive(Debug, Args)]
pub(super) struct Tools {
    #[command(subcommand)]
    pub what: ToolsWhat,
}

/// What to do with tools.
#[derive(Debug, Subcommand)]
pub(super) enum ToolsWhat {
    /// Start an agent's servers and list their tools: effect, approval, where each comes from, and tokens
    #[command(after_help = "\
Example:
  agentd tools ls tidy --json

A tool's tokens are what its definition costs in every request, estimated.")]
    Ls(ToolsLs),
    /// Call one tool by hand; its server is started and ended, and no run is journaled
    #[command(after_help = "\
Example:
  agentd tools call tidy files.read '{\"path\": \"a.txt\"}'

The arguments are checked, and approval is asked as the agent file says. Nothing is kept: a call that is lost is not
repeated.")]
    Call(ToolsCall),
    /// Be a bundled tool server on stdin and stdout, for other MCP hosts
    #[command(after_help = "\
Example:
  agentd tools serve files ./notes")]
    Serve(ToolsServe),
}

impl ToolsWhat {
    fn shared(&self) -> Shared {
        match self {
            ToolsWhat::Ls(ls) => ls.shared.clone(),
            ToolsWhat::Call(call) => call.shared.clone(),
            ToolsWhat::Serve(serve) => Shared { verbose: serve.verbose, ..Shared::default() },
        }
    }
}

/// See [`ToolsWhat::Ls`].
#[derive(Debug, Args)]
pub(super) struct ToolsLs {
    /// An agent file, or the NAME of agents/NAME.yaml
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`ToolsWhat::Call`].
#[derive(Debug, Args)]
pub(super) struct ToolsCall {
    /// An agent file, or the NAME of agents/NAME.yaml
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agent: String,
    /// The tool, with its server
    #[arg(value_name = "SERVER.TOOL")]
    pub tool: String,
    /// The arguments, a JSON object; `-` reads them from stdin
    #[arg(value_name = "JSON", default_value = "{}")]
    pub arguments: String,
    /// Allow the call if it would ask; never what is denied
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`ToolsWhat::Serve`].
#[derive(Debug, Args)]
pub(super) struct ToolsServe {
    /// Which server
    #[arg(value_name = "SERVER")]
    pub server: Bundled,
    /// The folder that it is confined to
    pub root: PathBuf,
    /// Log what happens inside on stderr; twice for more
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// The bundled tool servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Bundled {
    /// Files below a folder: list, read, write, edit, search
    Files,
}

/// See [`Command::Runs`].
#[derive(Debug, Args)]
pub(super) struct Runs {
    #[command(subcommand)]
    pub look: Option<Look>,
    #[command(flatten)]
    pub shared: Shared,
}

/// How to look at runs.
#[derive(Debug, Subcommand)]
pub(super) enum Look {
    /// List all runs, newest first
    #[command(after_help = "\
Example:
  agentd runs ls --json")]
    Ls(Ls),
    /// Tell the story of one run; with -v all that its models said
    #[command(after_help = "\
Example:
  agentd runs show 0199c2d4 -v")]
    Show(Show),
    /// Follow a run until it ends or is let go, also one that another process drives; the exit code is the run's
    #[command(after_help = "\
Example:
  agentd runs watch 0199c2d4
  agentd runs watch @last --stream-json")]
    Watch(Watch),
}

/// See [`Look::Ls`].
#[derive(Debug, Args)]
pub(super) struct Ls {
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Look::Show`].
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(default_value = "@last", add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Look::Watch`].
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The run: its id, the unique beginning of one, or @last
    #[arg(default_value = "@last", add = ArgValueCompleter::new(complete::runs))]
    pub run: String,
    /// Print the run's journal on stdout, one entry a line, each as soon as it is durable
    #[arg(long, conflicts_with = "json")]
    pub stream_json: bool,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Init`].
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The agent's name; that of the folder when left out
    #[arg(long, value_name = "NAME", value_parser = agent_name)]
    pub name: Option<String>,
    /// The model, or a route of the settings; the first that can be asked when left out
    #[arg(long, value_name = "PROVIDER/MODEL|ROUTE")]
    pub model: Option<String>,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Doctor`].
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Agent files, or NAMEs of agents/NAME.yaml; ./agent.yaml and all in agents/ when left out
    #[arg(value_name = "AGENT", add = ArgValueCompleter::new(complete::agents))]
    pub agents: Vec<String>,
    /// Ask no model
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub patience: Patience,
    #[command(flatten)]
    pub shared: Shared,
}

/// See [`Command::Completions`].
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL")]
    pub shell: String,
}

/// See [`Command::Man`].
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The command, such as `runs show`; agentd itself when left out
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// See [`Command::Version`].
#[derive(Debug, Args)]
pub(super) struct Version {
    /// Print one JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

/// What most commands take.
#[derive(Debug, Default, Clone, Args)]
pub(super) struct Shared {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long)]
    pub json: bool,
    /// The settings; looked for as agentd.yaml here, above, and in the user's config directory when left out
    #[arg(long, value_name = "FILE", env = "AGENTD_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Look variables up in this file too, behind those of the environment: lines NAME=value
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Log what happens inside on stderr; twice for more
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// How long a command waits for others.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Patience {
    /// Give up after this long, whatever is waited for then (another process, a tool server): 30s, 5m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
}

impl Command {
    /// How long the command may take; `None` for one that has a measure of its own or waits for nobody.
    pub fn timeout(&self) -> Option<Duration> {
        let patience = match self {
            Command::Approve(it) => &it.patience,
            Command::Deny(it) => &it.patience,
            Command::Resolve(it) => &it.patience,
            Command::Cancel(it) => &it.patience,
            Command::Probe(it) => &it.patience,
            Command::Stats(it) => &it.patience,
            Command::Doctor(it) => &it.patience,
            Command::Tools(Tools { what: ToolsWhat::Ls(it) }) => &it.patience,
            Command::Tools(Tools { what: ToolsWhat::Call(it) }) => &it.patience,
            Command::Runs(Runs { look: Some(Look::Ls(it)), .. }) => &it.patience,
            Command::Runs(Runs { look: Some(Look::Show(it)), .. }) => &it.patience,
            Command::Runs(Runs { look: Some(Look::Watch(it)), .. }) => &it.patience,
            _ => return None,
        };
        patience.timeout
    }

    /// Whether stdout is to carry one document, and how much is to be logged.
    pub fn shared(&self) -> Shared {
        match self {
            Command::Run(run) => run.shared.clone(),
            Command::Resume(resume) => resume.shared.clone(),
            Command::Approve(approve) => approve.shared.clone(),
            Command::Deny(deny) => deny.shared.clone(),
            Command::Resolve(resolve) => resolve.shared.clone(),
            Command::Cancel(cancel) => cancel.shared.clone(),
            Command::Check(check) => check.shared.clone(),
            Command::Config(Config { what: ConfigWhat::Show(show) }) => show.shared.clone(),
            Command::Schema(_) => Shared::default(),
            Command::Models(models) => models.shared.clone(),
            Command::Probe(probe) => probe.shared.clone(),
            Command::Stats(stats) => stats.shared.clone(),
            Command::Tools(tools) => tools.what.shared(),
            Command::Repair(repair) => repair.shared.clone(),
            Command::Runs(Runs { look: None, shared }) => shared.clone(),
            Command::Runs(Runs { look: Some(Look::Ls(ls)), .. }) => ls.shared.clone(),
            Command::Runs(Runs { look: Some(Look::Show(show)), .. }) => show.shared.clone(),
            Command::Init(init) => init.shared.clone(),
            Command::Doctor(doctor) => doctor.shared.clone(),
            Command::Completions(_) | Command::Man(_) => Shared::default(),
            Command::Runs(Runs { look: Some(Look::Watch(watch)), .. }) => watch.shared.clone(),
            Command::Version(version) => Shared { json: version.json, ..Shared::default() },
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn agent_name(text: &str) -> Result<String, String> {
    let good = is_name(text).then(|| text.to_owned());
    good.ok_or_else(|| "lower-case letters, digits, - and _, at most 64".to_owned())
}

/// Requests at once: more than this many would measure the queue of the provider and not the model.
fn parallel(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=64).contains(count)).ok_or_else(|| "write a number from 1 to 64".to_owned())
}

/// An amount of money as people write it, with or without the sign.
fn dollars(text: &str) -> Result<NanoDollars, String> {
    yaml::dollars(text).ok_or_else(|| "write it as $2 or 0.50".to_owned())
}

fn policy(text: &str) -> Result<Policy, String> {
    let policies = [Policy::Off, Policy::Lossless, Policy::Unique];
    policies.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| "off, lossless or unique".to_owned())
}

/// A length of time as people write it.
fn duration(text: &str) -> Result<Duration, String> {
    let length = yaml::duration(text).filter(|length| !length.is_zero());
    length.ok_or_else(|| "write it as 90s, 30m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|line| line.command)
    }

    #[test]
    fn the_definition_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn limits_become_overrides() {
        let Command::Run(run) = parse(
            "agentd run a.yaml hello --max-turns 3 --max-tool-calls 4 --max-tokens 5 --max-cost $1.50 --timeout 1h30m",
        )
        .unwrap() else {
            panic!("not run")
        };
        let expected = Overrides {
            turns: Some(3),
            tool_calls: Some(4),
            tokens: Some(5),
            cost: Some(NanoDollars(1_500_000_000)),
            active: Some(Duration::from_secs(5400)),
        };
        assert_eq!(Overrides::from(&run.limits), expected);
        assert_eq!((run.agent.as_deref(), run.prompt.as_deref()), (Some("a.yaml"), Some("hello")));
    }

    #[test]
    fn inputs_are_pairs_split_at_the_first_sign() {
        let Command::Run(run) = parse("agentd run a --input k=v=w --input empty=").unwrap() else { panic!("not run") };
        assert_eq!(run.inputs, [("k".to_owned(), "v=w".to_owned()), ("empty".to_owned(), String::new())]);
    }

    #[test]
    fn a_resolution_is_exactly_one() {
        let Command::Resolve(resolve) = parse("agentd resolve 0199 t3c1 --happened").unwrap() else {
            panic!("not resolve")
        };
        assert_eq!((resolve.happened, resolve.call), (Some(None), CallId { turn: 3, call: 1 }));
        let Command::Resolve(resolve) = parse("agentd resolve 0199 t3c1 --happened 17").unwrap() else {
            panic!("not resolve")
        };
        assert_eq!(resolve.happened, Some(Some("17".to_owned())));
    }

    #[test]
    fn probes_have_bounds() {
        let Command::Probe(probe) = parse("agentd probe a/m smart -n 50 --max-cost $1.50").unwrap() else {
            panic!("not probe")
        };
        assert_eq!((probe.targets.len(), probe.requests, probe.parallel), (2, 50, 4));
        assert_eq!(probe.max_cost, Some(NanoDollars(1_500_000_000)));
        let Command::Probe(probe) = parse("agentd probe a/m --max-cost 2").unwrap() else { panic!("not probe") };
        assert_eq!(probe.max_cost, Some(NanoDollars(2_000_000_000)));
    }

    #[test]
    fn stats_are_of_all_or_of_one_thing() {
        let Command::Stats(stats) = parse("agentd stats costs --since 7d").unwrap() else { panic!("not stats") };
        assert_eq!((stats.of, stats.since), (Some(Section::Costs), Some(Duration::from_secs(7 * 86_400))));
        for section in Section::ALL {
            let name = section.to_possible_value().unwrap();
            assert_eq!(name.get_name(), section.as_str());
        }
    }

    #[test]
    fn bare_runs_lists_and_show_takes_the_last() {
        assert!(
            matches!(parse("agentd runs --json").unwrap(), Command::Runs(Runs { look: None, shared }) if shared.json)
        );
        let Command::Runs(Runs { look: Some(Look::Show(show)), .. }) = parse("agentd runs show --json").unwrap() else {
            panic!("not show")
        };
        assert_eq!((show.run.as_str(), show.shared.json), ("@last", true));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "agentd",
            "agentd run a --json --stream-json",
            "agentd run a --input k=v --input-json {}",
            "agentd run a --input novalue",
            "agentd run a --timeout -3s",
            "agentd run a --timeout 0s",
            "agentd run a --max-cost cheap",
            "agentd resume",
            "agentd resume 0199 --all",
            "agentd resume --all --stream-json",
            "agentd resume --all --max-turns 3",
            "agentd resolve 0199 t3c1",
            "agentd resolve 0199 t3c1 --did-not --retry",
            "agentd resolve 0199 --retry",
            "agentd approve 0199 c1",
            "agentd approve 0199 t3c1 --all",
            "agentd approve 0199 --all --arguments {}",
            "agentd approve 0199 --all --edit",
            "agentd approve 0199 --edit --arguments {}",
            "agentd deny 0199 t3c1 --all",
            "agentd deny 0199 t3c1 --arguments {}",
            "agentd probe",
            "agentd probe a/m -n 0",
            "agentd probe a/m --parallel 65",
            "agentd probe a/m --max-cost -1",
            "agentd stats routes",
            "agentd stats --since soon",
            "agentd repair",
            "agentd repair call.json",
            "agentd repair call.json --tools t.json --batch c.jsonl",
            "agentd repair call.json --tools t.json --policy all",
            "agentd runs watch 0199 --json --stream-json",
            "agentd init --name My-Agent",
            "agentd completions",
            "agentd man run --dir d",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_explains_itself_with_an_example() {
        fn collect(command: &mut clap::Command, path: &str, into: &mut String) {
            let help = command.render_long_help().to_string();
            into.push_str(&format!("# {path}\n{help}\n"));
            let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
            for name in names.iter().filter(|name| *name != "help") {
                let sub = command.find_subcommand_mut(name).unwrap();
                let path = format!("{path} {name}");
                assert!(sub.get_after_help().is_some_and(|help| help.to_string().contains("Example:")), "{path}");
                collect(sub, &path, into);
            }
        }
        let mut all = String::new();
        let mut command = Line::command().term_width(100).disable_help_subcommand(true);
        command.build();
        collect(&mut command, "agentd", &mut all);
        insta::assert_snapshot!("help", all);
    }
}
