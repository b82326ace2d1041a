//! Calls that a model left in its text become calls of its answer, and do not show as text. What only looks like one is
//! told apart (`repair/text` has the rule).

use crate::{
    chat::{Answer, AnswerPart, Finish, UNREAD_CALL, WrittenCall},
    repair::{
        Repair, Risk, Schema, ToolSet, canonical, clip,
        text::{Attempt, Author, Extracted, Extractor, Found, TextCalls, extract, parallel},
    },
    run::Event,
};

/// How much of a text or a call a repair tells; the whole stands in the answer.
const TOLD_BYTES_MAX: usize = 256;

/// The repair that made a call out of text, by the place of the call in its answer.
pub(super) type Repairs = Vec<(usize, Repair)>;

/// An answer, its text read.
pub(super) struct Lifted {
    /// The answer with the calls that its text ended in.
    pub answer: Answer,
    /// What made these calls.
    pub repairs: Repairs,
    /// Something like a call in its text; only where it holds no call at all.
    pub attempt: Option<Attempt>,
}

/// Reads the text of an answer. `output` is the form of the final answer, which is left alone if it is one.
///
/// Beside native calls text is never searched; but what repeats them, as some servers have it, does not show.
pub(super) fn lift(mut answer: Answer, tools: &ToolSet, output: Option<&Schema>, author: &Author) -> Lifted {
    let solid = |part: &AnswerPart| matches!(part, AnswerPart::Text(text) if !text.trim().is_empty());
    let mut lifted = Repairs::new();
    let place = answer.parts.iter().rposition(solid);
    let Some((place, AnswerPart::Text(text))) = place.and_then(|place| Some((place, answer.parts.get(place)?.clone())))
    else {
        return Lifted { answer, repairs: lifted, attempt: None };
    };
    let given: Vec<(String, String)> = answer.calls().map(|call| key(&call.name, &call.arguments)).collect();
    // The server has looked already and says that it is one.
    let is_unread = given.is_empty() && answer.finish == Finish::Other(UNREAD_CALL.to_owned());
    if given.is_empty() && output.is_some_and(|schema| schema.check(text.trim()).is_ok()) {
        return Lifted { answer, repairs: lifted, attempt: None };
    }
    let complete = matches!(answer.finish, Finish::Stop | Finish::ToolCalls | Finish::Other(_));
    let author = Author { is_native: author.is_native && given.is_empty(), ..author.clone() };
    let Extracted { text: shown, calls, attempt } = extract(&text, tools, &author, complete);
    let repeats = |found: &Found| given.contains(&key(&found.name, &found.arguments));
    if !given.is_empty() && !calls.iter().all(repeats) || calls.is_empty() {
        let attempt = attempt.filter(|attempt| given.is_empty() && (attempt.ends || !is_unread));
        let attempt = attempt.or_else(|| is_unread.then(|| Attempt::whole(&text)));
        return Lifted { answer, repairs: lifted, attempt };
    }
    let before = answer.parts[..place].iter().filter(|part| matches!(part, AnswerPart::Call(_))).count();
    let mut parts = Vec::with_capacity(calls.len() + 1);
    if !shown.trim().is_empty() {
        parts.push(AnswerPart::Text(shown.into()));
    }
    for found in calls.into_iter().filter(|found| !repeats(found)) {
        lifted.push((before + lifted.len(), repair(&text, &found)));
        parts.push(AnswerPart::Call(found.into()));
    }
    answer.parts.splice(place..=place, parts);
    Lifted { answer, repairs: lifted, attempt: None }
}

/// Puts the calls of an answer that stand within one (`multi_tool_use.parallel`) in its place. The repairs say what each
/// was made of.
pub(super) fn unpack(mut answer: Answer, tools: &ToolSet) -> (Answer, Repairs) {
    let mut repairs = Repairs::new();
    if !answer.calls().any(|call| parallel(call, tools).is_some()) {
        return (answer, repairs);
    }
    let mut parts = Vec::with_capacity(answer.parts.len());
    let mut place = 0;
    for part in std::mem::take(&mut answer.parts) {
        let inner = if let AnswerPart::Call(call) = &part { parallel(call, tools) } else { None };
        match (inner, part) {
            (Some(inner), AnswerPart::Call(outer)) => {
                for call in inner {
                    repairs.push((place, unpacked(&outer, &call)));
                    parts.push(AnswerPart::Call(call));
                    place += 1;
                }
            }
            (_, part) => {
                place += usize::from(matches!(part, AnswerPart::Call(_)));
                parts.push(part);
            }
        }
    }
    answer.parts = parts;
    (answer, repairs)
}

fn unpacked(outer: &WrittenCall, call: &WrittenCall) -> Repair {
    let written = |call: &WrittenCall| clip(&format!("{}({})", call.name, call.arguments), TOLD_BYTES_MAX).into_owned();
    Repair {
        rung: "name".to_owned(),
        kind: "parallel".to_owned(),
        path: String::new(),
        span: None,
        before: written(outer),
        after: written(call),
        risk: Risk::Lossless,
    }
}

/// Writes into the answer's event what made its calls, before what mended them.
pub(super) fn record(lifted: Repairs, events: &mut [Event]) {
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

/// The dialects of the calls in text that turned out valid.
pub(super) fn dialects<'a>(repairs: &'a Repairs, events: &'a [Event]) -> impl Iterator<Item = &'a str> {
    let answered = events.iter().find_map(|event| if let Event::ModelAnswered(it) = event { Some(it) } else { None });
    let valid = move |place: usize| {
        let call = answered.and_then(|it| it.calls.get(place));
        call.map_or_else(|| answered.is_some_and(|it| it.output.is_some()), |call| call.resolved.is_some())
    };
    repairs.iter().filter(move |(place, _)| valid(*place)).map(|(_, repair)| &*repair.kind)
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
    author: Author,
    /// Made when text comes, as most answers are calls alone.
    extractor: Option<Extractor>,
}

impl Preview {
    pub(super) fn new(tools: ToolSet) -> Self {
        Preview { tools, author: Author::default(), extractor: None }
    }

    /// Another answer begins; what was held back of the one before is not shown.
    pub(super) fn begin(&mut self, author: Author) {
        self.author = author;
        self.extractor = None;
    }

    /// Takes in the next piece and shows what is text for certain.
    pub(super) fn feed(&mut self, piece: &str, mut show: impl FnMut(String)) {
        if self.tools.tools().is_empty() || self.author.text_calls == TextCalls::Off {
            return show(piece.to_owned());
        }
        let new = || Extractor::new(self.tools.clone(), &self.author);
        let text = self.extractor.get_or_insert_with(new).feed(piece);
        if !text.is_empty() {
            show(text);
        }
    }

    /// Shows what was held back, at the end of the answer.
    pub(super) fn end(&mut self, mut show: impl FnMut(String)) {
        let text = self.extractor.take().map(|extractor| extractor.finish(true).text).unwrap_or_default();
        if !text.is_empty() {
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

    fn author() -> Author {
        Author::named("hermes")
    }

    #[test]
    fn calls_at_the_end_of_a_text_become_calls() {
        for (name, before, after, places) in [
            ("alone", vec![text(CALL)], vec![call("a")], vec![0]),
            ("behind prose", vec![text(&format!("I look.\n{CALL}\n"))], vec![text("I look."), call("a")], vec![0]),
            ("the same again", vec![text(CALL), call("a")], vec![call("a")], vec![]),
            ("none", vec![text("a <tool_call> b")], vec![text("a <tool_call> b")], vec![]),
        ] {
            let lifted = lift(answer(before), &tools(), None, &author());
            assert_eq!(lifted.answer.parts, after, "{name}");
            assert_eq!(lifted.repairs.iter().map(|(place, _)| *place).collect::<Vec<_>>(), places, "{name}");
            let made = |(_, repair): &(usize, Repair)| repair.rung == "text" && repair.kind == "hermes";
            assert!(lifted.repairs.iter().all(made) && lifted.attempt.is_none(), "{name}");
        }
    }

    /// Beside a native call, behind text, in thoughts, at an endpoint with native calls: the answer stays as it is.
    #[test]
    fn other_calls_in_text_stay_text() {
        let native = Author { is_native: true, ..author() };
        let off = Author { text_calls: TextCalls::Off, ..author() };
        for (name, parts, author, attempt) in [
            ("beside another", vec![call("b"), text(CALL)], author(), None),
            ("text goes on", vec![text(&format!("I look.\n{CALL}\nWait."))], author(), Some(false)),
            ("thought of", vec![text(&format!("{CALL}\n</think>\nNo."))], author(), None),
            ("native calls", vec![text(CALL)], native, Some(true)),
            ("off", vec![text(CALL)], off, None),
        ] {
            let lifted = lift(answer(parts.clone()), &tools(), None, &author);
            assert_eq!((lifted.answer.parts, lifted.repairs.len()), (parts, 0), "{name}");
            assert_eq!(lifted.attempt.map(|attempt| attempt.ends), attempt, "{name}");
        }
    }

    /// What a server could not read as a call is asked about, whatever it looks like.
    #[test]
    fn an_unread_call_is_never_an_answer() {
        let native = Author { is_native: true, ..author() };
        let off = Author { text_calls: TextCalls::Off, ..author() };
        for author in [author(), native, off] {
            let answer = Answer { finish: Finish::Other(UNREAD_CALL.to_owned()), ..answer(vec![text("read a</x>")]) };
            let attempt = lift(answer, &tools(), None, &author).attempt.expect("an attempt");
            assert!(attempt.ends && attempt.diagnosis().contains("It begins: read a</x>"), "{attempt:?}");
        }
        let answer = Answer { finish: Finish::Other(UNREAD_CALL.to_owned()), ..answer(vec![text(CALL)]) };
        assert_eq!(lift(answer, &tools(), None, &author()).answer.parts, [call("a")]);
    }

    #[test]
    fn parallel_calls_within_one_are_unpacked() {
        let written = |name: &str, arguments: &str, complete| {
            AnswerPart::Call(WrittenCall {
                provider_id: Some("c1".into()),
                name: name.to_owned(),
                arguments: arguments.into(),
                complete,
                opaque: None,
            })
        };
        let one =
            |path| format!("{{\"recipient_name\": \"functions.read\", \"parameters\": {{\"path\": \"{path}\"}}}}");
        let both = format!("{{\"tool_uses\": [{}, {}]}}", one("a"), one("b"));
        for name in
            ["multi_tool_use.parallel", "functions.multi_tool_use.parallel", "multi_tool_use_parallel", "parallel"]
        {
            let (answer, repairs) = unpack(answer(vec![call("c"), written(name, &both, true)]), &tools());
            assert_eq!(answer.parts, [call("c"), call("a"), call("b")], "{name}");
            assert_eq!(repairs.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [1, 2], "{name}");
        }
        for (name, arguments, complete) in [
            ("multi_tool_use.parallel", &*both, false),
            ("multi_tool_use.parallel", &both[..both.len() - 2], true),
            ("multi_tool_use.parallel", "{\"tool_uses\": []}", true),
            ("multi_tool_use.parallel", "{\"tool_uses\": [{\"recipient_name\": \"functions.read\"}, 1]}", true),
            ("multi_tool_use.parallel", &both.replace("]}", "], \"dry_run\": true}"), true),
            ("read", &both, true),
        ] {
            let parts = vec![written(name, arguments, complete)];
            let (kept, repairs) = unpack(answer(parts.clone()), &tools());
            assert_eq!((kept.parts, repairs.len()), (parts, 0), "{name}: {arguments}");
        }
    }

    #[test]
    fn a_final_answer_stays() {
        let json = r#"{"name": "read", "arguments": {"path": "a"}}"#;
        let schema = Arc::new(json!({"type": "object", "required": ["name", "arguments"]}));
        let schema = Schema::compile(&schema).expect("a schema");
        let kept = lift(answer(vec![text(json)]), &tools(), Some(&schema), &author());
        assert_eq!((kept.answer.parts, kept.repairs.len()), (vec![text(json)], 0));
        let lifted = lift(answer(vec![text(json)]), &tools(), None, &author());
        assert_eq!((lifted.answer.parts, lifted.repairs.len()), (vec![call("a")], 1));
    }

    #[test]
    fn previews_show_no_call() {
        let mut shown = String::new();
        let mut preview = Preview::new(tools());
        preview.begin(author());
        preview.feed("lost", |text| shown.push_str(&text));
        preview.begin(author());
        for piece in
            ["I look: A < b.\n<tool", "_call>{\"name\": \"read\", \"argu", "ments\": {}}</tool_call>", "\n", " "]
        {
            preview.feed(piece, |text| shown.push_str(&text));
        }
        preview.end(|text| shown.push_str(&text));
        assert_eq!(shown, "lostI look: A < b.");
    }
}
