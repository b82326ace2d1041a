//! Conversations as a run keeps them, for the tests that hold one with a double.

use std::sync::Arc;

use agentd::{
    chat::{
        Answer, AnswerPart, CallId, Effect, EffectSource, Media, MediaSource, Message, Part, Request, ToolCall,
        ToolDef, ToolName, ToolResult,
    },
    provider::{Client, Failure, Provider},
};
use serde_json::Value;

/// A conversation that grows.
pub struct Talk {
    pub request: Request,
    /// Answers so far.
    turn: u32,
}

impl Talk {
    pub fn new(request: Request) -> Self {
        Talk { request, turn: 0 }
    }

    pub fn say(&mut self, message: Message) {
        self.request.messages.push(Arc::new(message));
    }

    pub fn user(&mut self, text: &str) {
        self.say(user(text));
    }

    /// The result of a call of the last answer.
    pub fn result(&mut self, call: u32, name: &str, content: Vec<Part>, is_error: bool) {
        self.say(result((self.turn, call), name, content, is_error));
    }

    /// Asks, and takes the answer into the conversation.
    pub async fn ask(&mut self, client: &Client, model: &str) -> Result<Answer, Failure> {
        let answer = client.ask(model, &self.request, &mut |_| {}).await?;
        self.turn += 1;
        self.say(said(self.turn, &answer));
        Ok(answer)
    }
}

/// What an answer is in the conversation that goes on, its calls numbered.
pub fn said(turn: u32, answer: &Answer) -> Message {
    let mut call = 0;
    let parts = answer.parts.iter().map(|part| match part {
        AnswerPart::Text(text) => Part::Text(text.clone()),
        AnswerPart::Reasoning(reasoning) => Part::Reasoning(reasoning.clone()),
        AnswerPart::Opaque(opaque) => Part::Opaque(opaque.clone()),
        AnswerPart::Call(written) => {
            call += 1;
            Part::Call(ToolCall {
                id: CallId { turn, call },
                name: written.name.as_str().into(),
                arguments: written.arguments.clone(),
                opaque: written.opaque.clone(),
            })
        }
    });
    Message::Assistant(parts.collect())
}

pub fn user(text: &str) -> Message {
    Message::User(vec![Part::text(text)])
}

/// The result of a call, by turn and number.
pub fn result((turn, call): (u32, u32), name: &str, content: Vec<Part>, is_error: bool) -> Message {
    Message::Tool(ToolResult { call: CallId { turn, call }, name: name.into(), content, is_error })
}

pub fn image() -> Part {
    Part::Image(Media { name: None, mime: "image/png".into(), source: MediaSource::Base64("aGkh".into()) })
}

pub fn tool(name: &str, schema: Value) -> ToolDef {
    ToolDef {
        name: name.into(),
        origin: ToolName { server: "s".into(), tool: name.into() },
        description: "A tool.".into(),
        input_schema: Arc::new(schema),
        effect: Effect::Read,
        effect_source: EffectSource::Default,
        repeatable: false,
        additive: false,
        hash: "".into(),
    }
}

/// A request of these messages, with instructions and no tools.
pub fn request(messages: impl IntoIterator<Item = Message>) -> Request {
    Request {
        system: Some("Be brief.".into()),
        messages: messages.into_iter().map(Arc::new).collect(),
        ..Request::default()
    }
}
