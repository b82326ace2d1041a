//! What is left out of the requests to one endpoint because it refuses it: keywords of schemas, and tools.
//!
//! ```text
//! 400 that names a keyword ─► the request again without it ─► still refused: without the tool that is named ─► elsewhere
//! ```
//! Pure. What helped is remembered for the endpoint ([`KEPT`]), so that the next request goes through at once. Always true:
//! - A schema only gets wider, and arguments are checked against the full one.
//! - A tool is left out only where it is named, and never the one that must be called.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::memory::moment;
use crate::{
    chat::{Choice, Request, ToolDef},
    provider::{blame, without_keywords},
    run::Time,
};

/// Most keywords and most tools that are left out at one endpoint.
const LEFT_OUT_MAX: usize = 32;

/// The time after which the endpoint is sent everything again: its server may be a newer one.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is left out of the requests to one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quarantine {
    /// Keywords of the schemas of tools.
    keywords: BTreeSet<String>,
    /// Tools by name, each with the hash of the definition that was refused.
    tools: BTreeMap<String, String>,
    /// When something was last added.
    #[serde(with = "moment")]
    at: Option<Time>,
}

impl Quarantine {
    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.keywords.is_empty() && self.tools.is_empty()
    }

    /// Whether it is too old to be believed.
    pub(super) fn is_old(&self, now: Time) -> bool {
        self.at.is_none_or(|at| now.since(at) > KEPT)
    }

    /// Adds what a refusal of `sent` blames and returns what was added, for people; `None` when it names nothing that could be
    /// left out.
    pub(super) fn add(&mut self, message: &str, sent: &Request, now: Time) -> Option<String> {
        let blame = blame(message, &sent.tools);
        let new: Vec<String> = blame.keywords.into_iter().filter(|keyword| !self.keywords.contains(keyword)).collect();
        if !new.is_empty() && self.keywords.len() + new.len() <= LEFT_OUT_MAX {
            let told = format!("{} is left out of the schemas of tools", new.join(", "));
            self.keywords.extend(new);
            self.at = Some(now);
            return Some(told);
        }
        let name = blame.tool.filter(|_| self.tools.len() < LEFT_OUT_MAX)?;
        let tool = sent.tools.iter().find(|tool| tool.name.as_str() == name)?;
        if matches!(&sent.choice, Choice::Tool(forced) if *forced == tool.name) {
            return None;
        }
        self.tools.insert(name.clone(), definition(tool));
        self.at = Some(now);
        Some(format!("the tool {name} is left out"))
    }

    /// The request as this endpoint takes it, and the tools that are left out of it.
    pub(super) fn applied<'a>(&self, request: &'a Request) -> (Cow<'a, Request>, Vec<&'a str>) {
        if self.is_empty() || request.tools.is_empty() {
            return (Cow::Borrowed(request), Vec::new());
        }
        let forced = |tool: &ToolDef| matches!(&request.choice, Choice::Tool(name) if *name == tool.name);
        let refused = |tool: &ToolDef| self.tools.get(tool.name.as_str()).is_some_and(|hash| *hash == definition(tool));
        let (out, kept): (Vec<&ToolDef>, Vec<&ToolDef>) =
            request.tools.iter().partition(|tool| refused(tool) && !forced(tool));
        let tools = kept.into_iter().map(|tool| match self.keywords.is_empty() {
            true => tool.clone(),
            false => without_keywords(tool, &self.keywords),
        });
        let request = Request { tools: tools.collect(), ..request.clone() };
        (Cow::Owned(request), out.into_iter().map(|tool| tool.name.as_str()).collect())
    }
}

/// What names the definition of a tool, whatever was left out of it.
fn definition(tool: &ToolDef) -> String {
    tool.hash.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn request() -> Request {
        let tool = |name: &str| {
            ToolDef::new(name, "", json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^a$"}}}))
        };
        Request { tools: Arc::new([tool("send_mail"), tool("note_down")]), ..Request::default() }
    }

    #[test]
    fn a_keyword_is_left_out_before_a_tool_is() {
        let (mut quarantine, request, now) = (Quarantine::default(), request(), Time(1));
        let refusal = "HTTP 400: Invalid schema for function 'send_mail': pattern is not supported";
        let told = quarantine.add(refusal, &request, now).unwrap();
        assert_eq!(told, "pattern is left out of the schemas of tools");
        let (sent, out) = quarantine.applied(&request);
        assert!(out.is_empty() && !format!("{:?}", sent.tools).contains("\"pattern\""), "{:?}", sent.tools);
        // It did not help.
        assert_eq!(quarantine.add(refusal, &sent, now).unwrap(), "the tool send_mail is left out");
        let (sent, out) = quarantine.applied(&request);
        assert_eq!((sent.tools.len(), out), (1, vec!["send_mail"]));
        assert_eq!(quarantine.add(refusal, &sent, now), None, "nothing is left that it names");
        // Another definition of that tool is sent again.
        let mut changed = request.clone();
        changed.tools = request.tools.iter().map(|tool| ToolDef { hash: "other".into(), ..tool.clone() }).collect();
        assert_eq!(quarantine.applied(&changed).0.tools.len(), 2);
        assert!(!quarantine.is_old(now) && quarantine.is_old(now.after(KEPT * 2)));
    }

    #[test]
    fn the_tool_that_must_be_called_is_never_left_out() {
        let (mut quarantine, request) = (Quarantine::default(), request());
        let forced = Request { choice: Choice::Tool(request.tools[0].name.clone()), ..request.clone() };
        let refusal = "HTTP 400: Invalid schema for function 'send_mail': it is wrong";
        assert_eq!(quarantine.add(refusal, &forced, Time(1)), None);
        assert!(quarantine.add(refusal, &request, Time(1)).is_some());
        assert_eq!(quarantine.applied(&forced).0.tools.len(), 2);
    }
}
