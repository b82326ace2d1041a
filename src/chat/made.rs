//! What is made of the schemas of tools: compiled, written out, weighed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;

use super::ToolDef;

/// Most tools of which something is kept: more than the servers of one process have, and some megabytes at most.
const KEPT_MAX: usize = 512;

/// By the hash of the tool: its schema, and what was made of it.
type Made<T> = BTreeMap<Arc<str>, (Arc<Value>, T)>;

/// Something made of the schema of a tool, once in the life of the process: runs of one agent have the same tools, and
/// offer them in every turn.
pub struct PerTool<T> {
    made: Mutex<Made<T>>,
}

impl<T: Clone> PerTool<T> {
    /// Nothing yet.
    pub const fn new() -> Self {
        PerTool { made: Mutex::new(BTreeMap::new()) }
    }

    /// What was made of the schema of this tool, by this run or by an earlier one, or what `make` makes of it now. Nothing
    /// is kept of an error.
    pub fn get<E>(&self, tool: &ToolDef, make: impl FnOnce(&Arc<Value>) -> Result<T, E>) -> Result<T, E> {
        // The hash names a definition as its server gave it; only the schema itself says that it is the same.
        if let Some((schema, made)) = self.made().get_mut(&tool.hash)
            && (Arc::ptr_eq(schema, &tool.input_schema) || *schema == tool.input_schema)
        {
            // Another listing of the same: those who have it from there need not be compared again.
            schema.clone_from(&tool.input_schema);
            return Ok(made.clone());
        }
        let new = make(&tool.input_schema)?;
        let mut made = self.made();
        if made.len() >= KEPT_MAX {
            made.clear();
        }
        made.insert(tool.hash.clone(), (tool.input_schema.clone(), new.clone()));
        Ok(new)
    }

    /// Nothing is left half done under this lock.
    fn made(&self) -> MutexGuard<'_, Made<T>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Default for PerTool<T> {
    fn default() -> Self {
        PerTool::new()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use serde_json::json;

    use super::*;
    use crate::chat::{Effect, EffectSource, ToolName};

    fn tool(hash: &str, schema: Value) -> ToolDef {
        ToolDef {
            name: "say".into(),
            origin: ToolName { server: "mouth".to_owned(), tool: "say".to_owned() },
            description: "".into(),
            input_schema: Arc::new(schema),
            effect: Effect::Read,
            effect_source: EffectSource::Default,
            repeatable: true,
            additive: true,
            hash: hash.into(),
        }
    }

    #[test]
    fn it_is_made_once_for_each_schema_whatever_the_hash_says() {
        let per_tool = PerTool::new();
        let mut made = Vec::new();
        let tools = [
            tool("a", json!({"type": "object"})),
            tool("a", json!({"type": "object"})),
            tool("b", json!({"type": "object"})),
            tool("a", json!({"title": "another"})),
        ];
        for tool in &tools {
            let text = per_tool.get(tool, |schema| {
                made.push(schema.to_string());
                Ok::<_, Infallible>(schema.to_string())
            });
            assert_eq!(text, Ok(tool.input_schema.to_string()));
        }
        assert_eq!(made, [r#"{"type":"object"}"#, r#"{"type":"object"}"#, r#"{"title":"another"}"#]);
        let failed = per_tool.get(&tool("c", json!({})), |_| Err("no"));
        assert_eq!(failed, Err("no"));
        assert_eq!(per_tool.get(&tool("c", json!({})), |_| Ok::<_, Infallible>(String::new())), Ok(String::new()));
    }

    #[test]
    fn no_more_than_so_much_is_kept() {
        let per_tool = PerTool::new();
        for number in 0..2 * KEPT_MAX + 1 {
            let made = per_tool.get(&tool(&number.to_string(), json!({})), |_| Ok::<_, Infallible>(number));
            assert_eq!(made, Ok(number));
            assert!(per_tool.made().len() <= KEPT_MAX);
        }
    }
}
