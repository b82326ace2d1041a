//! Scripts that play a model, as people write them in YAML.
//!
//! ```yaml
//! version: 1
//! answers:                                   # the n-th answer of a conversation is the n-th here
//!   - text: I list the folder.
//!     calls:
//!       - {name: files__list, arguments: {path: notes}}
//!     usage: {input: 120, output: 30}        # also cached, cache_write, reasoning
//!   - first:                                 # what goes wrong before this answer comes, in order, each once
//!       - {status: 429, retry_after: 1s, message: slow down}
//!       - {cut: "I have re"}                 # the stream breaks off behind this text
//!       - {class: transient, message: the model is being loaded}
//!     delay: 200ms                           # before this answer (and in each of the above, before that)
//!     reasoning: All of them, I think.
//!     calls:
//!       - {name: files__read, arguments: {path: 7}}              # whatever the schema says
//!       - {name: files__read, raw: '{"path": "notes/a.md"'}      # exactly as written, here cut
//!       - {name: files__read, raw: '{"path": "a"}', cut: true}   # looks whole and is not
//!     finish: length                         # or stop, tool_calls, refused; by default what fits
//!   - either:                                # the first of these that applies
//!       - when: {result: not found}          # or [TEXT, TEXT]; also error: true, input: TEXT; all given must hold
//!         text: There is nothing to do.
//!       - text: Done.
//!   - fail: {status: 401}                    # never an answer
//!   - text: And so on.
//!     repeat: true                           # the last one only: given again for each further answer
//! ```
//! Unknown keys are refused, and everything that is wrong is shown at its place.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::super::{Class, failure, json::Scan};
use crate::{
    chat::{AnswerPart, Finish, Message, Part, Reasoning, Request, Usage, WrittenCall},
    provider::Failure,
    yaml::{Content, Document, Faults, Node, Problems},
};

/// A script. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) name: Arc<str>,
    turns: Arc<[Turn]>,
    /// The last turn stands for all further ones.
    repeats: bool,
}

/// What comes at one place of a conversation: the first of these that applies.
#[derive(Debug)]
struct Turn(Vec<Line>);

/// One thing that the model may say.
#[derive(Debug)]
pub(super) struct Line {
    when: When,
    /// What goes wrong before it, each once.
    pub(super) first: Vec<Mishap>,
    pub(super) says: Says,
    /// Before the answer.
    pub(super) delay: Duration,
}

#[derive(Debug)]
pub(super) enum Says {
    Answer { parts: Vec<AnswerPart>, finish: Finish, usage: Option<Usage> },
    Fails(Mishap),
}

/// One thing that goes wrong.
#[derive(Debug)]
pub(super) struct Mishap {
    pub(super) delay: Duration,
    /// Text that arrives before the stream breaks off; empty for none.
    pub(super) text: Arc<str>,
    pub(super) failure: Failure,
}

#[derive(Debug, Default)]
struct When {
    /// A result behind the newest answer holds one of these texts.
    result: Option<Vec<String>>,
    /// Whether one of those results is an error.
    error: Option<bool>,
    /// The user has said one of these.
    input: Option<Vec<String>>,
}

impl Script {
    /// Reads a script. `name` is what to call it in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it, each at its place.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let (document, mut faults) = Document::parse(name, text)?;
        let script = Reader(&mut faults).script(name, document.root());
        document.finish(script, faults)
    }

    /// What to say in this conversation: as many answers as it has so far, so many places down the script. `None` when
    /// the script has ended or nothing at that place applies.
    pub(super) fn line(&self, request: &Request) -> Option<&Line> {
        let turn = match self.turns.get(answers(request)) {
            Some(turn) => turn,
            None if self.repeats => self.turns.last()?,
            None => return None,
        };
        turn.0.iter().find(|line| line.when.holds(request))
    }
}

/// How many answers a conversation has so far.
pub(super) fn answers(request: &Request) -> usize {
    let shown = request.messages.iter().filter(|message| matches!(***message, Message::Assistant(_))).count();
    shown.max(request.answers)
}

impl When {
    fn holds(&self, request: &Request) -> bool {
        let is_newest = |message: &&Arc<Message>| !matches!(***message, Message::Assistant(_));
        let newest = || request.messages.iter().rev().take_while(is_newest).map(|message| &**message);
        let results = || {
            newest().filter_map(|message| match message {
                Message::Tool(result) => Some(result),
                _ => None,
            })
        };
        let holds = |parts: &[Part], wanted: &[String]| {
            let holds = |text: &str| wanted.iter().any(|wanted| text.contains(wanted));
            parts.iter().any(|part| matches!(part, Part::Text(text) if holds(text)))
        };
        let inputs = request.messages.iter().filter_map(|message| match &**message {
            Message::User(parts) => Some(parts),
            _ => None,
        });
        self.result.as_ref().is_none_or(|wanted| results().any(|result| holds(&result.content, wanted)))
            && self.error.is_none_or(|wanted| results().any(|result| result.is_error) == wanted)
            && self.input.as_ref().is_none_or(|wanted| inputs.into_iter().any(|parts| holds(parts, wanted)))
    }
}

/// What a script may hold at its top level.
pub const KEYS: [&str; 2] = ["version", "answers"];

struct Reader<'f>(&'f mut Faults);

impl Reader<'_> {
    fn script(&mut self, name: &str, root: &Node) -> Option<Script> {
        let fields = self.0.fields(root, &KEYS);
        let version = self.0.required(&fields, "version");
        version.and_then(|node| self.0.whole(node, 1..=1));
        let answers = self.0.required(&fields, "answers").and_then(|node| self.0.list(node))?;
        let mut repeats = false;
        let mut turns = Vec::with_capacity(answers.len());
        for (at, node) in answers.iter().enumerate() {
            if let Some((turn, repeat)) = self.turn(node) {
                if repeat && at + 1 < answers.len() {
                    self.0.of(node, "only the last answer can have `repeat`");
                }
                repeats |= repeat;
                turns.push(turn);
            }
        }
        Some(Script { name: name.into(), turns: turns.into(), repeats })
    }

    /// What stands at one place, and whether it is repeated.
    fn turn(&mut self, node: &Node) -> Option<(Turn, bool)> {
        let fields = self.0.fields(node, LINE_KEYS);
        let repeat = fields.get("repeat").and_then(|node| self.0.flag(node)).unwrap_or(false);
        let Some(either) = fields.get("either") else {
            return Some((Turn(vec![self.line(node)?]), repeat));
        };
        for key in LINE_KEYS.iter().filter(|key| !matches!(**key, "either" | "repeat")) {
            if let Some((key, _)) = fields.entry(key) {
                self.0.add(key.place, format!("`{}` belongs into one of the answers of `either`", key.text));
            }
        }
        let mut lines = Vec::new();
        for node in self.0.list(either)? {
            let fields = self.0.fields(node, LINE_KEYS);
            if let Some((key, _)) = fields.entry("either").or_else(|| fields.entry("repeat")) {
                self.0.add(key.place, format!("`{}` cannot stand within `either`", key.text));
            }
            lines.extend(self.line(node));
        }
        Some((Turn(lines), repeat))
    }

    fn line(&mut self, node: &Node) -> Option<Line> {
        let fields = self.0.fields(node, LINE_KEYS);
        let when = fields.get("when").map(|node| self.when(node)).unwrap_or_default();
        let delay = fields.get("delay").and_then(|node| self.0.duration(node)).unwrap_or_default();
        let mut first = Vec::new();
        if let Some(node) = fields.get("first") {
            for node in self.0.list(node)? {
                first.extend(self.mishap(node));
            }
        }
        let says = match fields.get("fail") {
            Some(node) => {
                for key in ["text", "reasoning", "calls", "finish", "usage"] {
                    if let Some((key, _)) = fields.entry(key) {
                        self.0.add(key.place, format!("`{}` cannot stand beside `fail`", key.text));
                    }
                }
                Says::Fails(self.mishap(node)?)
            }
            None => self.answer(node)?,
        };
        Some(Line { when, first, says, delay })
    }

    fn answer(&mut self, node: &Node) -> Option<Says> {
        let fields = self.0.fields(node, LINE_KEYS);
        let mut parts = Vec::new();
        if let Some(text) = fields.get("reasoning").and_then(|node| self.0.text(node)) {
            parts.push(AnswerPart::Reasoning(Reasoning { text: text.into(), opaque: None }));
        }
        if let Some(text) = fields.get("text").and_then(|node| self.0.text(node)) {
            parts.push(AnswerPart::Text(text.into()));
        }
        let mut finish = Finish::Stop;
        if let Some(node) = fields.get("calls") {
            for node in self.0.list(node)? {
                if let Some(call) = self.call(node) {
                    finish = Finish::ToolCalls;
                    parts.push(AnswerPart::Call(call));
                }
            }
        }
        if fields.get("text").or_else(|| fields.get("calls")).is_none() {
            self.0.of(node, "an answer needs `text`, `calls`, `either` or `fail`");
        }
        if let Some(node) = fields.get("finish") {
            let words = [("stop", 0), ("tool_calls", 1), ("length", 2), ("refused", 3), ("paused", 4)];
            finish = match self.0.choice(node, &words)? {
                0 => Finish::Stop,
                1 => Finish::ToolCalls,
                2 => Finish::Length,
                3 => Finish::Refused,
                _ => Finish::Paused,
            };
        }
        let usage = fields.get("usage").map(|node| self.usage(node));
        Some(Says::Answer { parts, finish, usage })
    }

    fn call(&mut self, node: &Node) -> Option<WrittenCall> {
        let fields = self.0.fields(node, &["name", "arguments", "raw", "cut"]);
        let name = self.0.required(&fields, "name").and_then(|node| self.0.text(node))?;
        let is_cut = fields.get("cut").and_then(|node| self.0.flag(node)).unwrap_or(false);
        let arguments: Arc<str> = match (fields.get("arguments"), fields.entry("raw")) {
            (Some(_), Some((raw, _))) => {
                self.0.add(raw.place, "`raw` cannot stand beside `arguments`");
                return None;
            }
            (None, Some((_, raw))) => self.0.text(raw)?.into(),
            (None, None) => "{}".into(),
            (Some(node), None) => match self.0.json(node)? {
                arguments @ Value::Object(_) => arguments.to_string().into(),
                _ => {
                    self.0.of(node, "arguments are a map; what is none goes into `raw`");
                    return None;
                }
            },
        };
        let mut scan = Scan::default();
        scan.feed(arguments.as_bytes());
        Some(WrittenCall {
            provider_id: None,
            name: name.into(),
            arguments,
            complete: scan.is_closed() && !is_cut,
            opaque: None,
        })
    }

    fn usage(&mut self, node: &Node) -> Usage {
        let fields = self.0.fields(node, &["input", "output", "cached", "cache_write", "reasoning"]);
        let mut count =
            |key| fields.get(key).and_then(|node| self.0.whole(node, 0..=1_000_000_000)).unwrap_or_default();
        Usage {
            input: count("input"),
            cached: count("cached"),
            cache_write: count("cache_write"),
            output: count("output"),
            reasoning: count("reasoning"),
        }
    }

    fn mishap(&mut self, node: &Node) -> Option<Mishap> {
        let fields = self.0.fields(node, &["status", "class", "cut", "message", "retry_after", "delay"]);
        let message = fields.get("message").and_then(|node| self.0.text(node));
        let retry_after = fields.get("retry_after").and_then(|node| self.0.duration(node));
        let delay = fields.get("delay").and_then(|node| self.0.duration(node)).unwrap_or_default();
        let mut text: Arc<str> = "".into();
        let kinds = ["status", "class", "cut"];
        let failure = match kinds.map(|key| fields.get(key)) {
            [Some(status), None, None] => {
                let status = self.0.whole(status, 400..=599).and_then(|status| u16::try_from(status).ok())?;
                failure::of_response(status, retry_after, message.unwrap_or_default().as_bytes())
            }
            [None, Some(class), None] => {
                let class = self.0.choice(class, &CLASSES.map(|class| (class.as_str(), class)))?;
                Failure { retry_after, ..failure::failure(class, message.unwrap_or("as the script has it")) }
            }
            [None, None, Some(cut)] => {
                text = self.0.text(cut)?.into();
                failure::failure(Class::MalformedAnswer, message.unwrap_or("the answer broke off")).discarding(&text)
            }
            _ => {
                self.0.of(node, "what goes wrong needs one of `status`, `class` and `cut`");
                return None;
            }
        };
        Some(Mishap { delay, text, failure })
    }

    fn when(&mut self, node: &Node) -> When {
        let fields = self.0.fields(node, &["result", "error", "input"]);
        let (result, input) = (self.texts(fields.get("result")), self.texts(fields.get("input")));
        When { result, error: fields.get("error").and_then(|node| self.0.flag(node)), input }
    }

    /// One text or a list of them.
    fn texts(&mut self, node: Option<&Node>) -> Option<Vec<String>> {
        let node = node?;
        let nodes = match &node.content {
            Content::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(node),
        };
        Some(nodes.iter().filter_map(|node| self.0.text(node)).map(str::to_owned).collect())
    }
}

const LINE_KEYS: &[&str] =
    &["when", "first", "text", "reasoning", "calls", "finish", "usage", "delay", "fail", "either", "repeat"];

const CLASSES: [Class; 10] = [
    Class::Transient,
    Class::RateLimited,
    Class::Quota,
    Class::Credential,
    Class::ModelGone,
    Class::Region,
    Class::ContextTooLong,
    Class::CallerFault,
    Class::ContentRefused,
    Class::MalformedAnswer,
];
