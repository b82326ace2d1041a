//! Calls that a model left in its text become calls of its answer, and never show as text.

use crate::{
    chat::{Answer, AnswerPart, Finish},
    repair::{
        Repair, Risk, Schema, ToolSet, canonical, clip,
        text::{Extractor, Found, Item},
    },
    run::Event,
};

/// How much of a text or a call a repair tells; the whole stands in the answer.
const TOLD_BYTES_MAX: usize = 256;

/// The repair that made a call out of text, by the place of the call in its answer.
pub(super) type Lifted = Vec<(usize, Repair)>;

/// The answer with the calls that stood in its text, at their places. `model` is who answered; `output` the form of the
/// final answer, which is left alone if it is one.
pub(super) fn lift(answer: Answer, tools: &ToolSet, output: Option<&Schema>, model: &str) -> (Answer, Lifted) {
    let mut lifted = Lifted::new();
    let is_output = |text: &str| output.is_some_and(|schema| schema.check(text.trim()).is_ok());
    if tools.tools().is_empty() || !answer.parts.iter().any(|part| matches!(part, AnswerPart::Text(_))) {
        return (answer, lifted);
    }
    let complete = matches!(answer.finish, Finish::Stop | Finish::ToolCalls | Finish::Other(_));
    // Some servers give a call and leave it in the text as well.
    let given: Vec<(String, String)> = answer.calls().map(|call| key(&call.name, &call.arguments)).collect();
    let mut parts = Vec::with_capacity(answer.parts.len());
    let mut calls = 0;
    for part in answer.parts {
        let AnswerPart::Text(text) = &part else {
            calls += usize::from(matches!(part, AnswerPart::Call(_)));
            parts.push(part);
            continue;
        };
        let items = items(text, tools, model, complete);
        let is_text = matches!(&items[..], [Item::Text(all)] if **all == **text) || items.is_empty();
        if is_text || given.is_empty() && is_output(text) {
            parts.push(part);
            continue;
        }
        for item in items {
            match item {
                Item::Text(text) if text.trim().is_empty() => {}
                Item::Text(text) => parts.push(AnswerPart::Text(text.into())),
                Item::Call(found) if given.contains(&key(&found.name, &found.arguments)) => {}
                Item::Call(found) => {
                    lifted.push((calls, repair(text, &found)));
                    calls += 1;
                    parts.push(AnswerPart::Call(found.into()));
                }
                Item::Thought => {}
            }
        }
    }
    (Answer { parts, ..answer }, lifted)
}

/// Writes into the answer's event what made its calls, before what mended them.
pub(super) fn record(lifted: Lifted, events: &mut [Event]) {
    let answered = events.iter_mut().find_map(|event| match event {
        Event::ModelAnswered(answered) => Some(answered),
        _ => None,
    });
    let Some(answered) = answered else { return };
    for (place, repair) in lifted {
        if answered.calls.is_empty() {
            // The call was the final answer.
            answered.output_repairs.insert(0, repair);
        } else if let Some(resolved) = answered.calls.get_mut(place).and_then(|call| call.resolved.as_mut()) {
            resolved.repairs.insert(0, repair);
        }
    }
}

/// The text taken apart, without calls that turned out to be thoughts.
fn items(text: &str, tools: &ToolSet, model: &str, complete: bool) -> Vec<Item> {
    let mut extractor = Extractor::new(tools.clone(), Some(model));
    let mut found = extractor.feed(text);
    found.extend(extractor.finish(complete));
    let mut items: Vec<Item> = Vec::with_capacity(found.len());
    for item in found {
        match (item, items.last_mut()) {
            (Item::Thought, _) => items.retain(|item| !matches!(item, Item::Call(_))),
            (Item::Text(more), Some(Item::Text(text))) => text.push_str(&more),
            (item, _) => items.push(item),
        }
    }
    items
}

fn key(name: &str, arguments: &str) -> (String, String) {
    (name.to_owned(), canonical(arguments))
}

fn repair(text: &str, found: &Found) -> Repair {
    let call = format!("{}({})", found.name, found.arguments);
    Repair {
        rung: "text".to_owned(),
        kind: found.dialect.to_owned(),
        path: String::new(),
        span: None,
        before: clip(text, TOLD_BYTES_MAX).into_owned(),
        after: clip(&call, TOLD_BYTES_MAX).into_owned(),
        risk: Risk::Lossless,
    }
}

/// Shows the text of an answer while it comes, without the calls in it.
pub(super) struct Preview {
    tools: ToolSet,
    /// Who answers.
    model: String,
    /// Made when text comes, as most answers are calls alone.
    extractor: Option<Extractor>,
}

impl Preview {
    pub(super) fn new(tools: ToolSet) -> Self {
        Preview { tools, model: String::new(), extractor: None }
    }

    /// Another answer begins; what was held back of the one before is not shown.
    pub(super) fn begin(&mut self, model: &str) {
        self.model = model.to_owned();
        self.extractor = None;
    }

    /// Takes in the next piece and shows what is text for certain.
    pub(super) fn feed(&mut self, piece: &str, mut show: impl FnMut(String)) {
        if self.tools.tools().is_empty() {
            return show(piece.to_owned());
        }
        let new = || Extractor::new(self.tools.clone(), Some(&self.model));
        shown(self.extractor.get_or_insert_with(new).feed(piece), show);
    }

    /// Shows what was held back, at the end of the answer.
    pub(super) fn end(&mut self, show: impl FnMut(String)) {
        if let Some(extractor) = self.extractor.take() {
            shown(extractor.finish(true), show);
        }
    }
}

fn shown(items: Vec<Item>, mut show: impl FnMut(String)) {
    for item in items {
        if let Item::Text(text) = item {
            show(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::chat::{Effect, EffectSource, ToolDef, ToolName, WrittenCall};

    const CALL: &str = "<tool_call>{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}</tool_call>";

    fn tools() -> ToolSet {
        let tool = ToolDef {
            name: "read".into(),
            origin: ToolName { server: "files".to_owned(), tool: "read".to_owned() },
            description: "".into(),
            input_schema: Arc::new(json!({"type": "object", "properties": {"path": {"type": "string"}}})),
            effect: Effect::Read,
            effect_source: EffectSource::Default,
            repeatable: true,
            additive: false,
            hash: "read".into(),
        };
        ToolSet::new(Arc::from([tool])).0
    }

    fn answer(parts: Vec<AnswerPart>) -> Answer {
        Answer { parts, finish: Finish::Stop, usage: None, model: None, id: None }
    }

    fn text(text: &str) -> AnswerPart {
        AnswerPart::Text(text.into())
    }

    fn call(path: &str) -> AnswerPart {
        AnswerPart::Call(WrittenCall {
            provider_id: None,
            name: "read".to_owned(),
            arguments: format!("{{\"path\": \"{path}\"}}").into(),
            complete: true,
            opaque: None,
        })
    }

    #[test]
    fn calls_in_text_become_calls() {
        for (name, before, after, places) in [
            ("alone", vec![text(CALL)], vec![call("a")], vec![0]),
            (
                "in prose",
                vec![text(&format!("I look.\n{CALL}\nWait."))],
                vec![text("I look."), call("a"), text("\nWait.")],
                vec![0],
            ),
            ("beside another", vec![call("b"), text(CALL)], vec![call("b"), call("a")], vec![1]),
            ("the same again", vec![text(CALL), call("a")], vec![call("a")], vec![]),
            ("thought of", vec![text(&format!("{CALL}\n</think>\nNo."))], vec![text("</think>\nNo.")], vec![]),
            ("none", vec![text("a <tool_call> b")], vec![text("a <tool_call> b")], vec![]),
        ] {
            let (lifted, repairs) = lift(answer(before), &tools(), None, "x/hermes");
            assert_eq!(lifted.parts, after, "{name}");
            assert_eq!(repairs.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places, "{name}");
            assert!(repairs.iter().all(|(_, repair)| repair.rung == "text" && repair.kind == "hermes"), "{name}");
        }
    }

    #[test]
    fn a_final_answer_stays() {
        let json = r#"{"name": "read", "arguments": {"path": "a"}}"#;
        let schema = Arc::new(json!({"type": "object", "required": ["name", "arguments"]}));
        let schema = Schema::compile(&schema).expect("a schema");
        let (kept, repairs) = lift(answer(vec![text(json)]), &tools(), Some(&schema), "m");
        assert_eq!((kept.parts, repairs.len()), (vec![text(json)], 0));
        let (lifted, repairs) = lift(answer(vec![text(json)]), &tools(), None, "m");
        assert_eq!((lifted.parts, repairs.len()), (vec![call("a")], 1));
    }

    #[test]
    fn previews_show_no_call() {
        let mut shown = String::new();
        let mut preview = Preview::new(tools());
        preview.begin("m");
        preview.feed("lost", |text| shown.push_str(&text));
        preview.begin("m");
        for piece in ["I look.\n<tool", "_call>{\"name\": \"read\", \"argu", "ments\": {}}</tool_call>", "\nA < b", " "]
        {
            preview.feed(piece, |text| shown.push_str(&text));
        }
        preview.end(|text| shown.push_str(&text));
        assert_eq!(shown, "lostI look.\nA < b ");
    }
}
