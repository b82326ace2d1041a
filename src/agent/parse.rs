//! From the text of an agent file to an [`Agent`].
//!
//! Where something is wrong, reading goes on with a stand-in, so that one look tells all faults; an agent with a
//! stand-in never leaves this file, because the fault was noted.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    Agent, Approval, Approvals, Condition, Model, OnDoubts, Repairs, Rule, Server, Source, Start, Steps, TIMEOUT,
    TOTAL_FACTOR, ToolFilter, Trust, Unattended, instructions::Instructions, is_name,
};
use crate::{
    chat::Effect,
    repair::{Policy, Schema, text::TextCalls},
    run::{Limits, OnDoubt},
    yaml::{self, Content, Document, Faults, Fields, Key, Node, Place, Problems, Written, nearest},
};

const KEYS: &[&str] = &[
    "version",
    "name",
    "description",
    "model",
    "instructions",
    "input",
    "output",
    "servers",
    "policy",
    "limits",
    "approvals",
    "context",
    "repair",
    "on_doubt",
];

const EFFECTS: &[(&str, Effect)] = &[
    ("read", Effect::Read),
    ("idempotent", Effect::Idempotent),
    ("write", Effect::Write),
    ("destructive", Effect::Destructive),
];

const REPAIR: &[(&str, Policy)] = &[("off", Policy::Off), ("lossless", Policy::Lossless), ("unique", Policy::Unique)];

const ON_DOUBT: &[(&str, OnDoubt)] = &[("tell", OnDoubt::Tell), ("ask", OnDoubt::Ask), ("retry", OnDoubt::Retry)];

/// Numbers that count something and have no natural end.
const COUNT: RangeInclusive<u64> = 1..=u64::MAX;

/// What a model may get to see of one result. Less would be hidden by the note that something was cut; more is beyond
/// what a journal entry holds.
const TOOL_RESULT: RangeInclusive<u64> = 1 << 10..=8 << 20;

/// A declared input.
pub(super) struct Input {
    schema: Schema,
}

impl Input {
    /// The keys that it has; `None` when it may have others.
    pub(super) fn keys(&self) -> Option<Vec<&str>> {
        let schema = self.schema.value();
        let open = schema.get("additionalProperties").is_some_and(|others| *others != Value::Bool(false));
        let elsewhere = ["patternProperties", "$ref", "allOf", "anyOf", "oneOf"];
        if open || elsewhere.iter().any(|key| schema.get(key).is_some()) {
            return None;
        }
        Some(schema.get("properties")?.as_object()?.keys().map(String::as_str).collect())
    }
}

impl Agent {
    /// Reads and checks an agent file. `file` is what to call it in problems.
    pub fn parse(file: &str, text: &str) -> Result<Agent, Problems> {
        let (document, faults) = Document::parse(file, text)?;
        let (agent, faults) = read(file, &document, faults);
        document.finish(Some(agent), faults)
    }

    /// The JSON Schema of agent files, for editors. Drawn from what [`Agent::parse`] asks for in examples.
    ///
    /// # Errors
    /// When the examples are not whole, which a test sees to.
    pub fn schema() -> Result<Value, String> {
        let read = |document: &mut Document, faults| read("reference.yaml", document, faults).1;
        yaml::describe("An agent of agentd", &[REFERENCE, SMALLEST], false, read)
    }
}

/// Every key of an agent file, with what it is for.
const REFERENCE: &str = include_str!("reference.yaml");

/// What else may stand where the [`REFERENCE`] has one of several forms.
const SMALLEST: &str = "version: 1\nname: smallest\nmodel: openai/gpt-5\n";

fn read(file: &str, document: &Document, faults: Faults) -> (Agent, Faults) {
    let text = document.text();
    let mut reader = Reader { faults, file: text, servers: Vec::new() };
    let agent = reader.agent(document.root(), Source { file: file.into(), text: text.into() });
    (agent, reader.faults)
}

/// Patterns of texts, for editors; what holds is what is checked beside each use.
mod shape {
    pub const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,63}$";
    pub const MODEL: &str = r"^([a-z0-9][a-z0-9_-]{0,63}|[^/\s{]+/[^\s{]+)$";
    pub const SERVER: &str = "^[a-z][a-z0-9-]{0,31}$";
    pub const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
    pub const PATH: &str = "^([^~]|~[^/])";
    pub const GLOB: &str = r"^[^\[\]{}! ]+$";
    pub const RULE: &str = r"^[^\[\]{}! ]*[.*?][^\[\]{}! ]*$";
}

struct Reader<'t> {
    faults: Faults,
    /// The text of the file, for the lines of a template.
    file: &'t str,
    /// The names of all servers, those with faults too.
    servers: Vec<String>,
}

impl Reader<'_> {
    fn agent(&mut self, root: &Node, source: Source) -> Agent {
        let fields = self.faults.fields(root, KEYS);
        self.faults.version(&fields);
        let input_node = fields.get("input");
        let input = input_node.and_then(|node| self.schema(node)).map(|schema| Input { schema });
        let servers = fields.get("servers").map(|node| self.servers(node)).unwrap_or_default();
        let instructions = fields.get("instructions").and_then(|node| {
            // With an input that cannot be read, there is nothing to check a template against.
            let broken = input_node.is_some() && input.is_none();
            if broken { None } else { Instructions::read(node, input.as_ref(), self.file, &mut self.faults) }
        });
        let context = fields.get("context").map(|node| self.faults.fields(node, &["compact_at", "tool_result"]));
        let repair = fields.get("repair").map(|node| self.faults.fields(node, &["ask_again", "policy", "text_calls"]));
        let top = Place { line: 1, col: 1, start: 0, end: 0 };
        Agent {
            name: self.agent_name(&fields),
            description: fields.get("description").and_then(|node| self.faults.text(node)).map(str::to_owned),
            model: self.model(&fields),
            output: fields.get("output").and_then(|node| self.schema(node)).map(|schema| schema.value().clone()),
            rules: fields.get("policy").map(|node| self.rules(node)).unwrap_or_default(),
            limits: self.limits(fields.get("limits")),
            approvals: self.approvals(fields.get("approvals")),
            on_doubt: self.on_doubt(fields.get("on_doubt")),
            repairs: self.repairs(repair.as_ref().and_then(|repair| repair.get("policy"))),
            text_calls: repair
                .as_ref()
                .and_then(|repair| repair.get("text_calls"))
                .and_then(|node| self.faults.choice(node, &TextCalls::ALL)),
            ask_again: repair
                .and_then(|repair| repair.get("ask_again"))
                .and_then(|node| self.faults.whole(node, 0..=10))
                .and_then(|times| u32::try_from(times).ok())
                .unwrap_or(2),
            compact_at: context
                .as_ref()
                .and_then(|context| context.get("compact_at"))
                .and_then(|node| self.faults.number(node, 0.1..=1.0))
                .unwrap_or(0.8),
            tool_result_bytes_max: context
                .and_then(|context| context.get("tool_result"))
                .and_then(|node| self.faults.bytes(node, TOOL_RESULT))
                .unwrap_or(64 << 10),
            instructions,
            input: input.as_ref().map(|input| input.schema.value().clone()),
            approvals_place: default_approval(&fields),
            input_place: fields.entry("input").map_or(top, |(key, _)| key.place),
            input_schema: input.map(|input| input.schema),
            servers,
            source,
        }
    }

    fn agent_name(&mut self, fields: &Fields<'_>) -> String {
        let Some(node) = self.faults.required_such(fields, "name", "name: tidy") else { return String::new() };
        let Some(name) = self.faults.text(node) else { return String::new() };
        self.faults.shaped(node, shape::NAME);
        if !is_name(name) {
            let hint = near_name(name).map_or(String::new(), |near| format!("; for example {near}"));
            let rule = "a name has up to 64 of a-z, 0-9, _ and -, and begins with a letter or digit";
            self.faults.of(node, format!("{rule}{hint}"));
        }
        name.to_owned()
    }

    fn model(&mut self, fields: &Fields<'_>) -> Model {
        let mut model = Model { name: String::new(), steps: Steps::default(), temperature: None, output_tokens: None };
        let such = "model: openai/gpt-5; see: agentd models";
        let Some(node) = self.faults.required_such(fields, "model", such) else { return model };
        let name = match &node.content {
            Content::Map(_) => {
                let fields = self.faults.fields(node, &["name", "steps", "temperature", "output_tokens"]);
                model.temperature = fields.get("temperature").and_then(|node| self.faults.number(node, 0.0..=2.0));
                let most = u64::from(u32::MAX);
                model.output_tokens = fields
                    .get("output_tokens")
                    .and_then(|node| self.faults.whole(node, 1..=most))
                    .and_then(|tokens| u32::try_from(tokens).ok());
                if let Some(node) = fields.get("steps") {
                    let fields = self.faults.fields(node, &["first", "tools", "final"]);
                    let mut step = |key| fields.get(key).and_then(|node| self.reference(node));
                    model.steps = Steps { first: step("first"), tools: step("tools"), last: step("final") };
                }
                self.faults.required(&fields, "name")
            }
            _ => Some(node),
        };
        let name = name.and_then(|node| self.reference(node)).unwrap_or_default();
        Model { name, ..model }
    }

    /// A model, `provider/model`, or the name of a route.
    fn reference(&mut self, node: &Node) -> Option<String> {
        let name = self.faults.text(node)?;
        self.faults.shaped(node, shape::MODEL);
        let fault = match name.split_once('/') {
            _ if name.contains("${") => Some("variables are looked up for servers only"),
            _ if name.contains(char::is_whitespace) => Some("a model has no spaces in its name"),
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => None,
            None if is_name(name) => None,
            _ => Some("write provider/model, such as openai/gpt-5, or the name of a route"),
        };
        if let Some(fault) = fault {
            self.faults.of(node, fault);
        }
        Some(name.to_owned())
    }

    /// A JSON Schema of an object.
    fn schema(&mut self, node: &Node) -> Option<Schema> {
        let value = Arc::new(self.faults.schema(node)?);
        let schema = match Schema::compile(&value) {
            Ok(schema) => schema,
            Err(error) => {
                let place = find(node, &error.path).unwrap_or(node);
                self.faults.of(place, format!("this is no valid JSON Schema: {error}"));
                return None;
            }
        };
        if value.get("type") != Some(&Value::from("object")) {
            self.faults
                .of(node, "this must describe an object: write type: object, and what it holds under properties");
            return None;
        }
        Some(schema)
    }

    fn servers(&mut self, node: &Node) -> Vec<Server> {
        let members = self.faults.members(node).unwrap_or_default();
        self.faults.keyed(node, shape::SERVER);
        self.servers = members.iter().map(|(key, _)| key.text.clone()).collect();
        members.iter().filter_map(|(key, node)| self.server(key, node)).collect()
    }

    fn server(&mut self, key: &Key, node: &Node) -> Option<Server> {
        let name = &key.text;
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.len() > 32 || !name.chars().all(inner) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
            let rule = "a server's name has up to 32 of a-z, 0-9 and -, and begins with a letter";
            self.faults.add(key.place, format!("{rule}; this is {name:?}"));
        }
        if name == "agentd" {
            self.faults.add(key.place, "the name agentd is taken: its tools are agentd's own");
        }
        const ALL: &[&str] = &["required", "trust", "effect", "timeout", "total_timeout", "start_timeout", "tools"];
        let has = |wanted: &str| matches!(&node.content, Content::Map(members) if members.iter().any(|(key, _)| key.text == wanted));
        let own: &[&str] = match (has("builtin"), has("command")) {
            (true, true) => {
                self.faults.of(node, "a server has either builtin or command");
                return None;
            }
            (true, false) => &["builtin", "root"],
            (false, true) => &["command", "args", "env", "cwd"],
            (false, false) => {
                self.faults.members(node)?;
                // What else stands there may be the key that was meant.
                let known = [&["builtin", "root", "command", "args", "env", "cwd"], ALL].concat();
                self.faults.fields(node, &known);
                let fault = match has("url") {
                    true => "this agentd starts its servers itself: a server needs a command, or builtin: files",
                    false => "a server needs a command, such as command: npx, or builtin: files",
                };
                self.faults.of(node, fault);
                return None;
            }
        };
        let fields = self.faults.fields(node, &[own, ALL].concat());
        let start = if has("builtin") { self.files(&fields) } else { self.command(&fields) };
        let timeout = fields.get("timeout").and_then(|node| self.faults.duration(node)).unwrap_or(TIMEOUT);
        let start = start?;
        Some(Server {
            name: name.clone(),
            place: key.place,
            start,
            required: fields.get("required").and_then(|node| self.faults.flag(node)).unwrap_or(true),
            trust: fields
                .get("trust")
                .and_then(|node| self.faults.choice(node, &[("hints", Trust::Hints), ("none", Trust::None)]))
                .unwrap_or(Trust::Hints),
            effect: fields.get("effect").and_then(|node| self.faults.choice(node, EFFECTS)),
            timeout,
            total_timeout: self.total(&fields, timeout).unwrap_or(timeout.saturating_mul(TOTAL_FACTOR)),
            start_timeout: fields.get("start_timeout").and_then(|node| self.faults.duration(node)),
            tools: fields.get("tools").map(|node| self.tools(node)).unwrap_or_default(),
        })
    }

    fn files(&mut self, fields: &Fields<'_>) -> Option<Start> {
        self.faults.required(fields, "builtin").and_then(|node| self.faults.choice(node, &[("files", ())]));
        let root = self.faults.required(fields, "root")?;
        Some(Start::Files { root: self.path(root)? })
    }

    fn command(&mut self, fields: &Fields<'_>) -> Option<Start> {
        let command = self.faults.required(fields, "command").and_then(|node| self.path(node));
        if let Some(command) = &command
            && command.as_str().contains(' ')
            && fields.get("args").is_none()
        {
            let mut words = command.as_str().split_whitespace();
            let (program, args) = (words.next().unwrap_or_default(), words.collect::<Vec<_>>().join(", "));
            let rule = "a command is one program and nothing goes through a shell";
            self.faults.add(command.place(), format!("{rule}; write command: {program}, args: [{args}]"));
        }
        let args = fields.get("args").and_then(|node| self.faults.list(node)).unwrap_or_default();
        let args = args.iter().filter_map(|node| self.written(node)).collect();
        let env = fields.get("env").and_then(|node| self.faults.members(node)).unwrap_or_default();
        if let Some(node) = fields.get("env") {
            self.faults.keyed(node, shape::VARIABLE);
        }
        let env = env.iter().filter_map(|(key, node)| {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !key.text.chars().all(word) || key.text.starts_with(|c: char| c.is_ascii_digit()) {
                self.faults.add(key.place, "the name of a variable has letters, digits and underscores");
            }
            Some((key.text.clone(), self.written(node)?))
        });
        let env = env.collect();
        let cwd = fields.get("cwd").and_then(|node| self.path(node));
        Some(Start::Command { command: command?, args, env, cwd })
    }

    fn path(&mut self, node: &Node) -> Option<Written> {
        let written = self.written(node)?;
        self.faults.shaped(node, shape::PATH);
        match written.as_str() {
            "" => self.faults.of(node, "this must not be empty"),
            path if path == "~" || path.starts_with("~/") => {
                self.faults.of(node, "~ means nothing here; write ${HOME}");
            }
            _ => {}
        }
        Some(written)
    }

    fn written(&mut self, node: &Node) -> Option<Written> {
        let text = self.faults.text(node)?;
        if text.contains('\0') {
            self.faults.of(node, "this must not hold a NUL");
            return None;
        }
        Written::new(text, node.place, &mut self.faults)
    }

    /// `total_timeout`, which is no shorter than `timeout`.
    fn total(&mut self, fields: &Fields<'_>, timeout: Duration) -> Option<Duration> {
        let node = fields.get("total_timeout")?;
        let total = self.faults.duration(node)?;
        if total < timeout {
            self.faults.of(node, "this is the cap on a whole call and must not be shorter than timeout");
        }
        Some(total)
    }

    fn tools(&mut self, node: &Node) -> ToolFilter {
        let fields = self.faults.fields(node, &["allow", "deny"]);
        ToolFilter { allow: self.globs(fields.get("allow")), deny: self.globs(fields.get("deny")) }
    }

    fn globs(&mut self, node: Option<&Node>) -> Vec<String> {
        let list = node.and_then(|node| self.faults.list(node)).unwrap_or_default();
        let mut globs = Vec::new();
        for node in list {
            let Some(glob) = self.faults.text(node) else { continue };
            self.faults.shaped(node, shape::GLOB);
            self.glob(glob, node.place);
            globs.push(glob.to_owned());
        }
        globs
    }

    /// Refuses what other globs have and ours have not.
    fn glob(&mut self, glob: &str, place: Place) {
        match glob.len() {
            ..=PATTERN_BYTES_MAX if is_odd(glob) => self.faults.add(place, ODD),
            ..=PATTERN_BYTES_MAX => {}
            _ => self.faults.add(place, LONG),
        }
    }

    fn rules(&mut self, node: &Node) -> Vec<Rule> {
        let members = self.faults.members(node).unwrap_or_default();
        self.faults.keyed(node, shape::RULE);
        members.iter().map(|(key, node)| self.rule(key, node)).collect()
    }

    fn rule(&mut self, key: &Key, node: &Node) -> Rule {
        let pattern = &key.text;
        if let Err(fault) = check_pattern(pattern, self.servers.iter().map(String::as_str)) {
            self.faults.add(key.place, fault);
        }
        let keys = [
            "effect",
            "approve",
            "when",
            "timeout",
            "total_timeout",
            "retry_timeout",
            "on_doubt",
            "parallel",
            "repair",
        ];
        let fields = self.faults.fields(node, &keys);
        let timeout = fields.get("timeout").and_then(|node| self.faults.duration(node));
        let approve = [("allow", Approval::Allow), ("ask", Approval::Ask), ("deny", Approval::Deny)];
        if let Some((key, _)) = fields.entry("when")
            && fields.get("approve").is_none()
        {
            self.faults.add(key.place, "when says for which arguments approve holds; write approve beside it");
        }
        Rule {
            pattern: pattern.clone(),
            place: key.place,
            effect: fields.get("effect").and_then(|node| self.faults.choice(node, EFFECTS)),
            approve: fields.get("approve").and_then(|node| self.faults.choice(node, &approve)),
            when: fields.get("when").and_then(|node| Condition::read(node, &mut self.faults)),
            timeout,
            total_timeout: self.total(&fields, timeout.unwrap_or_default()),
            retry_timeout: fields.get("retry_timeout").and_then(|node| self.faults.duration(node)),
            on_doubt: fields.get("on_doubt").and_then(|node| self.faults.choice(node, ON_DOUBT)),
            parallel: fields.get("parallel").and_then(|node| self.faults.flag(node)),
            repair: fields.get("repair").and_then(|node| self.faults.choice(node, REPAIR)),
        }
    }

    fn limits(&mut self, node: Option<&Node>) -> Limits {
        let mut limits = Limits {
            turns: Some(50),
            tool_calls: Some(500),
            tokens: None,
            cost: None,
            active: Some(Duration::from_secs(60 * 60)),
        };
        let Some(node) = node else { return limits };
        let fields = self.faults.fields(node, &["turns", "tool_calls", "tokens", "cost", "active"]);
        let mut count = |key: &str| fields.get(key).and_then(|node| self.faults.whole(node, COUNT));
        limits.turns = count("turns").or(limits.turns);
        limits.tool_calls = count("tool_calls").or(limits.tool_calls);
        limits.tokens = count("tokens").or(limits.tokens);
        limits.cost = fields.get("cost").and_then(|node| self.faults.money(node)).or(limits.cost);
        limits.active = fields.get("active").and_then(|node| self.faults.duration(node)).or(limits.active);
        limits
    }

    fn approvals(&mut self, node: Option<&Node>) -> Approvals {
        let mut approvals = Approvals::default();
        let Some(node) = node else { return approvals };
        let fields = self.faults.fields(node, &["default", "unattended", "expire", "on_expire"]);
        let words = [
            ("ask_on_write", Approval::AskOnWrite),
            ("allow", Approval::Allow),
            ("ask", Approval::Ask),
            ("deny", Approval::Deny),
        ];
        if let Some(word) = fields.get("default").and_then(|node| self.faults.choice(node, &words)) {
            approvals.default = word;
        }
        let words = [("wait", Unattended::Wait), ("deny", Unattended::Deny), ("allow", Unattended::Allow)];
        approvals.unattended =
            fields.get("unattended").and_then(|node| self.faults.choice(node, &words)).unwrap_or_default();
        approvals.expire = fields.get("expire").and_then(|node| self.faults.duration(node));
        if let Some((key, node)) = fields.entry("on_expire") {
            approvals.on_expire_allow = self.faults.choice(node, &[("deny", false), ("allow", true)]).unwrap_or(false);
            if fields.get("expire").is_none() {
                self.faults.add(key.place, "questions stand for ever unless expire says how long");
            }
        }
        approvals
    }

    fn repairs(&mut self, node: Option<&Node>) -> Repairs {
        let Some(node) = node else { return Repairs::default() };
        let fields = self.faults.fields(node, &["read", "idempotent", "write", "destructive"]);
        let mut choice = |key: &str| fields.get(key).and_then(|node| self.faults.choice(node, REPAIR));
        Repairs {
            read: choice("read"),
            idempotent: choice("idempotent"),
            write: choice("write"),
            destructive: choice("destructive"),
        }
    }

    fn on_doubt(&mut self, node: Option<&Node>) -> OnDoubts {
        let mut doubts = OnDoubts::default();
        let Some(node) = node else { return doubts };
        let fields = self.faults.fields(node, &["write", "destructive"]);
        let mut choice = |key: &str| fields.get(key).and_then(|node| self.faults.choice(node, ON_DOUBT));
        doubts.write = choice("write").unwrap_or(doubts.write);
        doubts.destructive = choice("destructive").unwrap_or(doubts.destructive);
        doubts
    }
}

/// A name that is near to a text; `None` when none is.
fn near_name(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() => name.push(c),
            _ if name.is_empty() || name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_end_matches('-');
    is_name(name).then(|| name.to_owned())
}

/// Where `approvals.default` stands.
fn default_approval(fields: &Fields<'_>) -> Option<Place> {
    match &fields.get("approvals")?.content {
        Content::Map(members) => members.iter().find(|(key, _)| key.text == "default").map(|(key, _)| key.place),
        _ => None,
    }
}

const ODD: &str = "a pattern is a name in which * stands for anything and ? for one character";

/// Longest pattern, in bytes: a server's name and the longest name of a tool, twice over.
const PATTERN_BYTES_MAX: usize = 512;

const LONG: &str = "a pattern has at most 512 bytes";

/// Whether a text has what other globs have and ours have not.
fn is_odd(glob: &str) -> bool {
    glob.is_empty() || glob.contains(['[', ']', '{', '}', '!', ' '])
}

/// Checks a glob over `server.tool`, given the names of the servers; the error says what is wrong, for people.
pub(super) fn check_pattern<'s>(pattern: &str, servers: impl Iterator<Item = &'s str> + Clone) -> Result<(), String> {
    let wild = |text: &str| text.contains(['*', '?']);
    match pattern.split_once('.') {
        _ if pattern.len() > PATTERN_BYTES_MAX => Err(LONG.to_owned()),
        _ if is_odd(pattern) => Err(ODD.to_owned()),
        Some((server, _)) if !wild(server) && !servers.clone().any(|name| name == server) => {
            let hint = nearest(server, servers).map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
            Err(format!("unknown server {server:?}{hint}"))
        }
        None if !wild(pattern) => Err("write server.tool, such as files.write or files.*".to_owned()),
        _ => Ok(()),
    }
}

/// The node that a JSON pointer leads to, or as far as it leads.
fn find<'n>(root: &'n Node, pointer: &str) -> Option<&'n Node> {
    let mut node = root;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        node = match &node.content {
            Content::Map(members) => &members.iter().find(|(key, _)| key.text == step)?.1,
            Content::List(list) => list.get(step.parse::<usize>().ok()?)?,
            Content::Scalar(..) => return Some(node),
        };
    }
    Some(node)
}
