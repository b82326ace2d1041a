//! What a probe asks for: the bundled tasks, which are data, or one for each tool of somebody's agent.
//!
//! A task names one call with all its values, so that a wrong call is told from a right one by comparing. Always true:
//! - What a task wants fits the schema of its tool; a tool for which no such arguments were found is left out and named.
//! - Each bundled task comes with the tools of its own server only, which keeps requests small and still leaves a choice.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::sample;
use crate::{
    chat::{Choice, Draft, Effect, EffectSource, Hold, Message, OfferedName, Part, Request, ToolDef, ToolName},
    repair::{Schema, ToolSet},
    yaml::{Document, Faults, Node, Problems},
};

/// The bundled tasks, a file a server.
const FILES: [(&str, &str); 4] = [
    ("files.yaml", include_str!("files.yaml")),
    ("orders.yaml", include_str!("orders.yaml")),
    ("calendar.yaml", include_str!("calendar.yaml")),
    ("operations.yaml", include_str!("operations.yaml")),
];

/// What the model is told before each task.
const SYSTEM: &str = "You make tool calls exactly as asked. Answer with one tool call and nothing else: the values as they \
    are given, character for character, and no others.";

/// Most tokens of an answer to a task. Its arguments are some hundreds; the rest is for models that think first. A model that
/// cannot stop does not go on for ever.
const OUTPUT_TOKENS_MAX: u32 = 8192;

/// One thing to ask a model for.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// The instruction.
    pub ask: Arc<str>,
    /// The tools on offer with it.
    pub tools: ToolSet,
    /// The tool that is to be called.
    pub tool: OfferedName,
    /// The arguments that are asked for; a JSON object.
    pub arguments: Value,
}

impl Task {
    /// The request that asks for it.
    pub fn request(&self) -> Request {
        Request {
            system: Some(SYSTEM.into()),
            messages: vec![Arc::new(Message::User(vec![Part::Text(self.ask.clone())]))],
            answers: 0,
            tools: self.tools.tools().clone(),
            choice: Choice::Auto,
            output: None,
            temperature: None,
            output_tokens_max: Some(OUTPUT_TOKENS_MAX),
            effort: None,
            hold: Hold::No,
            cache_key: None,
            draft: Draft::default(),
        }
    }

    /// Whether these arguments are those that were asked for. Numbers are compared by value, and a member that is null
    /// counts as one that is not there.
    pub fn wants(&self, arguments: &Value) -> bool {
        same(&self.arguments, arguments)
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let missing = |value: &Value| value.is_null();
            a.iter().all(|(key, a)| b.get(key).map_or(missing(a), |b| same(a, b)))
                && b.iter().all(|(key, b)| a.contains_key(key) || missing(b))
        }
        (a, b) => a == b,
    }
}

/// The bundled tasks, in the order in which they are asked: neighbours are of different servers.
///
/// # Errors
/// Never, as a test shows; a caller that has an error of its own for bad files can pass it on.
pub(super) fn bundled() -> Result<Vec<Task>, Problems> {
    static BUNDLED: LazyLock<Result<Vec<Task>, Problems>> = LazyLock::new(|| {
        let files: Vec<Vec<Task>> = FILES.iter().map(|(name, text)| file(name, text)).collect::<Result<_, _>>()?;
        let longest = files.iter().map(Vec::len).max().unwrap_or(0);
        Ok((0..longest).flat_map(|at| files.iter().filter_map(move |tasks| tasks.get(at).cloned())).collect())
    });
    BUNDLED.clone()
}

/// A task for each of these tools, all of them on offer with each, and the names of those that got none.
pub(super) fn of_tools(tools: Arc<[ToolDef]>) -> (Vec<Task>, Vec<String>) {
    let (set, _) = ToolSet::new(tools);
    let (mut tasks, mut left_out) = (Vec::new(), Vec::new());
    for tool in set.tools().iter() {
        match example(&tool.input_schema) {
            Some(arguments) => tasks.push(Task {
                ask: instruction(tool, &arguments).into(),
                tools: set.clone(),
                tool: tool.name.clone(),
                arguments,
            }),
            None => left_out.push(tool.origin.to_string()),
        }
    }
    (tasks, left_out)
}

/// Arguments that fit a schema.
fn example(schema: &Arc<Value>) -> Option<Value> {
    let found = sample::example(schema).filter(Value::is_object)?;
    Schema::compile(schema).ok()?.check_value(&found).is_ok().then_some(found)
}

/// Asks for a call in words: each value with its place, so that putting them together is left to the model.
fn instruction(tool: &ToolDef, arguments: &Value) -> String {
    let mut lines = Vec::new();
    leaves("", arguments, &mut lines);
    let lines = if lines.is_empty() { "(none)".to_owned() } else { lines.join("\n") };
    format!(
        "Call the tool {} once, with exactly these arguments and no others. Each line names the place of a value and, as \
         JSON, the value:\n{lines}",
        tool.name
    )
}

fn leaves(place: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let dot = if place.is_empty() { "" } else { "." };
            members.iter().for_each(|(key, value)| leaves(&format!("{place}{dot}{key}"), value, lines));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| leaves(&format!("{place}[{at}]"), value, lines));
        }
        value if place.is_empty() => debug_assert!(value.as_object().is_some_and(serde_json::Map::is_empty)),
        value => lines.push(format!("{place}: {value}")),
    }
}

/// The tasks of a file.
fn file(name: &str, text: &str) -> Result<Vec<Task>, Problems> {
    let (document, mut faults) = Document::parse(name, text)?;
    let tasks = tasks(&mut faults, document.root());
    document.finish(tasks, faults)
}

fn tasks(faults: &mut Faults, root: &Node) -> Option<Vec<Task>> {
    let fields = faults.fields(root, &["server", "tools", "tasks"]);
    let server = faults.required(&fields, "server").and_then(|node| faults.text(node))?.to_owned();
    let mut tools = Vec::new();
    let node = faults.required(&fields, "tools")?;
    for (name, node) in faults.members(node)? {
        tools.push(tool(faults, &server, &name.text, node)?);
    }
    let (tools, warnings) = ToolSet::new(tools.into());
    warnings.into_iter().for_each(|warning| faults.of(node, warning));
    let mut tasks = Vec::new();
    let node = faults.required(&fields, "tasks")?;
    for node in faults.list(node)? {
        let fields = faults.fields(node, &["tool", "ask", "arguments"]);
        let tool = faults.required(&fields, "tool").and_then(|node| faults.text(node))?;
        let ask = faults.required(&fields, "ask").and_then(|node| faults.text(node))?;
        let arguments = faults.required(&fields, "arguments").and_then(|node| faults.json(node))?;
        let tool = offered(&server, tool);
        if tools.get(tool.as_str()).is_none() {
            faults.of(node, format!("there is no tool {tool}"));
        }
        tasks.push(Task { ask: ask.trim_end().into(), tools: tools.clone(), tool, arguments });
    }
    Some(tasks)
}

fn tool(faults: &mut Faults, server: &str, name: &str, node: &Node) -> Option<ToolDef> {
    let fields = faults.fields(node, &["description", "schema"]);
    let description = faults.required(&fields, "description").and_then(|node| faults.text(node))?;
    let schema = faults.required(&fields, "schema").and_then(|node| faults.json(node))?;
    Some(ToolDef {
        name: offered(server, name),
        origin: ToolName { server: server.to_owned(), tool: name.to_owned() },
        description: description.into(),
        hash: blake3::hash(format!("{server}.{name} {schema}").as_bytes()).to_hex().as_str().into(),
        input_schema: Arc::new(schema),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: true,
        additive: true,
    })
}

fn offered(server: &str, tool: &str) -> OfferedName {
    OfferedName(format!("{server}__{tool}").into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn each_bundled_task_names_a_call_that_fits_and_all_its_values() {
        let tasks = bundled().unwrap();
        assert!((12..=20).contains(&tasks.len()), "{}", tasks.len());
        let tools: BTreeSet<_> = tasks.iter().map(|task| task.tool.clone()).collect();
        assert_eq!(tools.len(), tasks.len(), "no tool is asked for twice");
        for task in &tasks {
            let schema = &task.tools.get(task.tool.as_str()).unwrap().input_schema;
            let fits = Schema::compile(schema).unwrap().check_value(&task.arguments);
            assert_eq!(fits, Ok(()), "{}", task.tool);
            let mut values = Vec::new();
            texts(&task.arguments, &mut values);
            for value in values.iter().flat_map(|value| value.lines()) {
                assert!(task.ask.contains(value), "{}: {value:?} is not named", task.tool);
            }
        }
        assert_ne!(tasks[0].tools.tools(), tasks[1].tools.tools(), "neighbours are of different servers");
    }

    /// A server with a grammar refuses the whole request for patterns that are not anchored or have classes in them, for booleans in
    /// the place of schemas and for references to the root (llama.cpp): a probe would measure that and not the model.
    #[test]
    fn no_bundled_schema_is_one_that_a_server_is_known_to_refuse() {
        fn look(schema: &Value) {
            match schema {
                Value::Object(members) => {
                    for (key, value) in members {
                        match (key.as_str(), value) {
                            ("pattern", Value::String(pattern)) => {
                                assert!(pattern.starts_with('^') && pattern.ends_with('$'), "{pattern}");
                                assert!(!pattern.contains(['\\']) && !pattern.contains("(?"), "{pattern}");
                            }
                            ("$ref", value) => assert_ne!(value, "#"),
                            ("properties" | "$defs", Value::Object(places)) => {
                                assert!(places.values().all(Value::is_object), "{schema}");
                                places.values().for_each(look);
                            }
                            (_, value) => look(value),
                        }
                    }
                }
                Value::Array(values) => values.iter().for_each(look),
                _ => {}
            }
        }
        for task in bundled().unwrap() {
            task.tools.tools().iter().for_each(|tool| look(&tool.input_schema));
        }
    }

    fn texts(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.values().for_each(|value| texts(value, into)),
            Value::Array(items) => items.iter().for_each(|value| texts(value, into)),
            Value::String(text) => into.push(text.clone()),
            Value::Bool(_) => {}
            value => into.push(value.to_string()),
        }
    }

    #[test]
    fn arguments_are_compared_by_what_they_mean() {
        let task =
            Task { arguments: json!({"a": 5, "b": [1.0, {"c": null}], "d": "x"}), ..bundled().unwrap()[0].clone() };
        for (arguments, expected) in [
            (json!({"a": 5, "b": [1.0, {"c": null}], "d": "x"}), true),
            (json!({"d": "x", "b": [1, {}], "a": 5.0, "e": null}), true),
            (json!({"a": 5, "b": [1.0, {"c": null}], "d": "x", "e": false}), false),
            (json!({"a": 5, "b": [{"c": null}, 1.0], "d": "x"}), false),
            (json!({"a": "5", "b": [1.0, {}], "d": "x"}), false),
            (json!({"b": [1.0, {}], "d": "x"}), false),
            (json!({"a": 5, "b": [1.0, {}], "d": "x\n"}), false),
        ] {
            assert_eq!(task.wants(&arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn tools_of_an_agent_get_a_task_each() {
        let bare = bundled().unwrap()[0].tools.tools()[0].clone();
        let with = |name: &str, schema: Value| ToolDef {
            name: offered("mine", name),
            origin: ToolName { server: "mine".to_owned(), tool: name.to_owned() },
            hash: name.into(),
            input_schema: Arc::new(schema),
            ..bare.clone()
        };
        let place = json!({"type": "object", "properties": {"at": {"enum": ["x", "y"]}, "n": {"type": "integer", "minimum": 3}}, "required": ["at", "n"]});
        let tools = [
            with("nothing", json!({"type": "object", "properties": {}})),
            with(
                "list",
                json!({"type": "object", "properties": {"places": {"type": "array", "items": place, "minItems": 1, "maxItems": 1}}, "required": ["places"]}),
            ),
            with("never", json!({"type": "object", "properties": {"a": false}, "required": ["a"]})),
        ];
        let (tasks, left_out) = of_tools(tools.into());
        assert_eq!(left_out, ["mine.never"]);
        assert_eq!(tasks.len(), 2);
        assert!(tasks[0].ask.ends_with("the value:\n(none)"), "{}", tasks[0].ask);
        assert_eq!(tasks[1].arguments, json!({"places": [{"at": "x", "n": 3}]}));
        assert!(tasks[1].ask.ends_with("\nplaces[0].at: \"x\"\nplaces[0].n: 3"), "{}", tasks[1].ask);
        assert_eq!(tasks[1].tools.tools().len(), 3, "all tools are on offer");
    }
}
