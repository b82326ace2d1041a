//! The tools on offer, each with its schema compiled once in the life of the process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock},
};

use serde_json::Value;

use crate::chat::{PerTool, ToolDef};

use super::{
    BadSchema, Schema,
    clip::{clip, one_line},
    explain::nearest_first,
    shape::Shapes,
};

/// The tools on offer in a run, ready to check calls. Clones are cheap.
#[derive(Clone)]
pub struct ToolSet(Arc<Inner>);

struct Inner {
    tools: Arc<[ToolDef]>,
    /// By the name as offered: the place in `tools` and `schemas`.
    places: HashMap<Arc<str>, usize>,
    /// `None` where the schema cannot be compiled.
    schemas: Vec<Option<Schema>>,
    /// The layout of each schema; one that takes anything where the schema cannot be compiled.
    shapes: Vec<Arc<Shapes>>,
}

impl ToolSet {
    /// Compiles the schemas. The warnings are for a person, a line each.
    ///
    /// A tool whose schema cannot be compiled stays on offer, with no more check than that its arguments are a JSON
    /// object: the server knows what it accepts and answers a wrong call with an error that the model can read, while
    /// a tool withheld fails every task that needs it.
    pub fn new(tools: Arc<[ToolDef]>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let mut places = HashMap::new();
        let mut schemas = Vec::new();
        let mut shapes = Vec::new();
        for (place, tool) in tools.iter().enumerate() {
            if places.contains_key(&tool.name.0) {
                warnings.push(format!("two tools are offered as {}: the second one is never called", tool.name));
            } else {
                places.insert(tool.name.0.clone(), place);
            }
            let made = COMPILED.get(tool, compiled).map_err(|error| {
                let path = if error.path.is_empty() { "" } else { &format!(" at {}", clip(&error.path, 200)) };
                warnings.push(one_line(&format!(
                    "tool {}: its schema cannot be used{path} ({error}); its arguments are not checked, so its calls need \
                     approval unless they only read",
                    tool.origin
                )));
            });
            let (schema, shape) = made.ok().unzip();
            schemas.push(schema);
            shapes.push(shape.unwrap_or_else(|| Arc::new(Shapes::free())));
        }
        (ToolSet(Arc::new(Inner { tools, places, schemas, shapes })), warnings)
    }

    /// All tools, in the order in which they are offered.
    pub fn tools(&self) -> &Arc<[ToolDef]> {
        &self.0.tools
    }

    /// The tool that is offered under this name; `None` when there is none.
    pub fn get(&self, name: &str) -> Option<&ToolDef> {
        self.0.tools.get(*self.0.places.get(name)?)
    }

    /// Whether the arguments of an offered tool are checked; not where its schema cannot be compiled.
    pub fn checks(&self, name: &str) -> bool {
        let place = self.0.places.get(name);
        place.and_then(|place| self.0.schemas.get(*place)).is_some_and(Option::is_some)
    }

    /// Whether arguments fit the schema of an offered tool.
    pub(super) fn accepts(&self, tool: &ToolDef, arguments: &Value) -> bool {
        let place = self.0.places.get(&tool.name.0);
        match place.and_then(|place| self.0.schemas.get(*place)) {
            Some(Some(schema)) => schema.accepts(arguments),
            _ => true,
        }
    }

    /// The layout of an offered tool's schema.
    pub(super) fn shapes(&self, tool: &ToolDef) -> &Shapes {
        static FREE: LazyLock<Shapes> = LazyLock::new(Shapes::free);
        let place = self.0.places.get(&tool.name.0);
        place.and_then(|place| self.0.shapes.get(*place)).map_or(&FREE, |shapes| shapes)
    }

    /// Checks arguments against the schema of an offered tool. The error is a list of faults, a line each.
    pub(super) fn check_arguments(&self, tool: &ToolDef, arguments: &Value) -> Result<(), String> {
        let place = self.0.places.get(&tool.name.0);
        match place.and_then(|place| self.0.schemas.get(*place)) {
            Some(Some(schema)) => schema.check_value(arguments),
            _ => Ok(()),
        }
    }

    /// The names as offered, those that look most like `wanted` first.
    pub(super) fn nearest(&self, wanted: &str) -> Vec<&str> {
        let mut names: Vec<_> = self.0.tools.iter().map(|tool| tool.name.as_str()).collect();
        nearest_first(wanted, &mut names);
        names
    }
}

/// The compiled schemas of all runs and their layouts: compiling costs more than a turn.
static COMPILED: PerTool<(Schema, Arc<Shapes>)> = PerTool::new();

fn compiled(schema: &Arc<Value>) -> Result<(Schema, Arc<Shapes>), BadSchema> {
    Ok((Schema::compile(schema)?, Arc::new(Shapes::new(schema))))
}

impl fmt::Debug for ToolSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.tools.iter().map(|tool| tool.name.as_str())).finish()
    }
}
