//! The tools of real MCP servers, as they listed them.

use std::rc::Rc;

use serde::Deserialize;
use serde_json::Value;

/// A tool on offer.
#[derive(Deserialize)]
pub struct Tool {
    pub name: String,
    #[serde(rename = "inputSchema")]
    pub schema: Value,
    #[serde(default)]
    pub annotations: Value,
    #[serde(skip)]
    validator: Option<jsonschema::Validator>,
}

impl Tool {
    pub fn accepts(&self, arguments: &Value) -> bool {
        self.validator.as_ref().is_some_and(|validator| validator.is_valid(arguments))
    }

    pub fn only_reads(&self) -> bool {
        self.annotations["readOnlyHint"] == true
    }

    /// The schema of one of its parameters.
    pub fn parameter(&self, key: &str) -> &Value {
        &self.schema["properties"][key]
    }

    pub fn requires(&self, key: &str) -> bool {
        self.schema["required"].as_array().is_some_and(|required| required.iter().any(|it| it == key))
    }

    /// Whether a parameter takes this type and no other.
    pub fn is_only(&self, key: &str, kind: &str) -> bool {
        self.parameter(key)["type"] == kind
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.schema["properties"].as_object().into_iter().flat_map(|it| it.keys().map(String::as_str))
    }
}

/// What is offered together: the tools of one server.
pub type Offer = Rc<[Tool]>;

#[derive(Deserialize)]
struct Listed {
    servers: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    tools: Vec<Tool>,
}

/// The tools of `tools.json`, by server; the file says where they come from.
pub fn offers() -> Vec<Offer> {
    let listed: Listed = serde_json::from_str(include_str!("tools.json")).unwrap();
    let mut offers = Vec::new();
    for Server { mut tools } in listed.servers {
        tools.iter_mut().for_each(|tool| tool.validator = jsonschema::validator_for(&tool.schema).ok());
        offers.push(tools.into());
    }
    offers
}
