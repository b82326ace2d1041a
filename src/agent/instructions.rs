//! The instructions: plain text, or a template of the typed input.
//!
//! Templates are minijinja's, strict: a variable that is not there is an error and not an empty string. What can be
//! known to fail is found when the file is read.

use minijinja::{context, value::Serde};
use serde_json::Value;

use super::{
    Agent,
    parse::Input,
    template::{check, describe, environment, roomy},
};
use crate::yaml::{Content, Faults, Node, Place, Problem, nearest};

/// The instructions as the file has them.
#[derive(Debug, Clone)]
pub(super) struct Instructions {
    node: Node,
    template: bool,
}

impl Agent {
    /// Checks the typed input and renders the instructions; `None` when the agent has none.
    ///
    /// # Errors
    /// When an input is missing, not wanted, or does not fit; when the template fails on it.
    pub fn instructions(&self, input: Option<&Value>) -> Result<Option<String>, Problem> {
        let top = Place { line: 1, col: 1, start: 0, end: 0 };
        match (&self.input_schema, input) {
            (None, Some(_)) => return Err(self.source.problem(top, "this agent takes no input; it declares none")),
            (Some(_), None) => {
                return Err(self.source.problem(self.input_place, "this agent needs an input of this form"));
            }
            (Some(schema), Some(input)) => schema
                .check_value(input)
                .map_err(|faults| self.source.problem(self.input_place, format!("the input does not fit:{faults}")))?,
            (None, None) => {}
        }
        let Some(instructions) = &self.instructions else { return Ok(None) };
        let text = instructions.text();
        if !instructions.template {
            return Ok(Some(text.to_owned()));
        }
        let rendered = roomy(|| {
            let rendered = environment().render_str(text, context! { input => Serde(input) });
            rendered.map_err(|error| (error.line(), describe(&error)))
        });
        rendered.unwrap_or_else(|why| Err((None, why))).map(Some).map_err(|(line, why)| {
            let place = instructions.node.line(&self.source.text, line.unwrap_or(0));
            self.source.problem(place, format!("the template fails: {why}"))
        })
    }
}

impl Instructions {
    /// The instructions of a node; noted is what is wrong with a template, which they are if there is an input.
    pub(super) fn read(node: &Node, input: Option<&Input>, file: &str, faults: &mut Faults) -> Option<Self> {
        let text = faults.text(node)?;
        let instructions = Instructions { node: node.clone(), template: input.is_some() };
        let Some(input) = input else { return Some(instructions) };
        let read = check(text).and_then(|()| roomy(|| Instructions::parse(text, node, input, file, faults)));
        match read {
            Ok(sound) => sound.then_some(instructions),
            Err(why) => {
                faults.of(node, format!("the template cannot be read: {why}"));
                None
            }
        }
    }

    /// Reads the template; noted is what is wrong with it. Returns whether it can be rendered at all.
    fn parse(text: &str, node: &Node, input: &Input, file: &str, faults: &mut Faults) -> bool {
        let environment = environment();
        let template = match environment.template_from_str(text) {
            Ok(template) => template,
            Err(error) => {
                faults.add(
                    node.line(file, error.line().unwrap_or(0)),
                    format!("the template fails: {}", describe(&error)),
                );
                return false;
            }
        };
        let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
        let mut names: Vec<String> = template.undeclared_variables(true).into_iter().collect();
        names.sort();
        for name in names {
            let mut steps = name.split('.');
            let message = match (steps.next(), steps.next()) {
                (Some("input"), None) => continue,
                (Some("input"), Some(key)) => match input.keys() {
                    Some(keys) if !keys.contains(&key) => {
                        let hint =
                            nearest(key, keys).map_or(String::new(), |meant| format!("; did you mean input.{meant}?"));
                        format!("the template uses input.{key}, which the input does not declare{hint}")
                    }
                    _ => continue,
                },
                (Some(name), _) if !globals.contains(&name) => {
                    let declared = input.keys().is_some_and(|keys| keys.contains(&name));
                    let hint = if declared { format!("; did you mean input.{name}?") } else { String::new() };
                    format!("the template uses {name}; all it knows is input{hint}")
                }
                _ => continue,
            };
            let line = text.lines().position(|line| line.contains(&name)).map_or(0, |line| line + 1);
            faults.add(node.line(file, line), message);
        }
        true
    }

    fn text(&self) -> &str {
        match &self.node.content {
            Content::Scalar(text, _) => text,
            _ => "",
        }
    }
}
