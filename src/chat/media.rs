//! Pictures, sounds and documents, and what stands in their place where a model cannot take them.

use std::{borrow::Cow, sync::Arc};

use super::{Message, Part, Request, ToolResult};

/// A picture, a sound or a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The name of the file or the address that it came from; `None` when nobody gave one.
    pub name: Option<String>,
    /// The MIME type, such as `image/png`.
    pub mime: String,
    /// Where the bytes are.
    pub source: MediaSource,
}

/// Where the bytes of a [`Media`] are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaSource {
    /// Here, in standard base64, as MCP and the providers write them.
    Base64(Arc<str>),
    /// Behind a URL that the provider fetches; agentd never does.
    Url(String),
}

/// What a [`Media`] is to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A sound.
    Audio,
    /// A document: PDF, or a file that no model reads.
    Document,
}

impl MediaKind {
    /// The plural in messages.
    fn several(self) -> &'static str {
        match self {
            MediaKind::Image => "pictures",
            MediaKind::Audio => "sounds",
            MediaKind::Document => "documents",
        }
    }
}

/// The media that a model takes beside text; `None` of a member when that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Senses {
    /// Pictures.
    pub image: Option<bool>,
    /// Sounds.
    pub audio: Option<bool>,
    /// PDF documents.
    pub document: Option<bool>,
}

impl Senses {
    /// Whether the model is known not to take this kind.
    pub fn lacks(self, kind: MediaKind) -> bool {
        let known = match kind {
            MediaKind::Image => self.image,
            MediaKind::Audio => self.audio,
            MediaKind::Document => self.document,
        };
        known == Some(false)
    }
}

impl Media {
    /// Returns the text that stands in the place of a media part: its name, its type, its size, and why it is left out.
    pub fn left_out(&self, why: &str) -> String {
        let what = match &self.source {
            MediaSource::Base64(data) => size(base64_bytes(data)),
            MediaSource::Url(url) => format!("at {url}"),
        };
        let name = self.name.as_ref().map(|name| format!("{name}, ")).unwrap_or_default();
        format!("[{name}{}, {what}; left out: {why}]", self.mime)
    }

    /// The same, where the service has no place for media of this type.
    pub fn without_place(&self) -> String {
        self.left_out("this service takes no media of this type")
    }
}

impl Part {
    /// The media that the part is, and of which kind.
    pub fn media(&self) -> Option<(MediaKind, &Media)> {
        match self {
            Part::Image(media) => Some((MediaKind::Image, media)),
            Part::Audio(media) => Some((MediaKind::Audio, media)),
            Part::Document(media) => Some((MediaKind::Document, media)),
            Part::Text(_) | Part::Reasoning(_) | Part::Call(_) | Part::Opaque(_) => None,
        }
    }
}

impl Message {
    fn parts(&self) -> &[Part] {
        match self {
            Message::User(parts) | Message::Assistant(parts) => parts,
            Message::Tool(result) => &result.content,
        }
    }

    fn with(&self, parts: Vec<Part>) -> Message {
        match self {
            Message::User(_) => Message::User(parts),
            Message::Assistant(_) => Message::Assistant(parts),
            Message::Tool(result) => Message::Tool(ToolResult { content: parts, ..result.clone() }),
        }
    }
}

impl Request {
    /// The kinds of media in the conversation, each once.
    pub fn media(&self) -> Vec<MediaKind> {
        let mut kinds = Vec::new();
        let parts = self.messages.iter().flat_map(|message| message.parts());
        for (kind, _) in parts.filter_map(Part::media) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Returns the request as a model with these senses can take it: what it is known not to take becomes a text that says so.
    pub fn for_senses(&self, senses: Senses) -> Cow<'_, Request> {
        let lacks = |part: &Part| part.media().is_some_and(|(kind, _)| senses.lacks(kind));
        if !self.messages.iter().any(|message| message.parts().iter().any(lacks)) {
            return Cow::Borrowed(self);
        }
        let seen = |part: &Part| match part.media() {
            Some((kind, media)) if senses.lacks(kind) => {
                Part::text(media.left_out(&format!("this model takes no {}", kind.several())))
            }
            _ => part.clone(),
        };
        let messages = self.messages.iter().map(|message| match message.parts().iter().any(lacks) {
            true => Arc::new(message.with(message.parts().iter().map(seen).collect())),
            false => Arc::clone(message),
        });
        Cow::Owned(Request { messages: messages.collect(), ..self.clone() })
    }
}

/// How many bytes a base64 text stands for.
fn base64_bytes(data: &str) -> usize {
    let data = data.trim_end_matches('=');
    data.len() / 4 * 3 + (data.len() % 4).saturating_sub(1)
}

fn size(bytes: usize) -> String {
    match bytes {
        0..=1023 => format!("{bytes} bytes"),
        1024..=1_048_575 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(name: Option<&str>, mime: &str, data: &str) -> Media {
        let name = name.map(str::to_owned);
        Media { name, mime: mime.to_owned(), source: MediaSource::Base64(data.into()) }
    }

    #[test]
    fn what_a_model_cannot_take_becomes_a_text_that_says_what_it_was() {
        let picture = Part::Image(media(None, "image/png", "aGkh"));
        let paper = Part::Document(media(Some("a.pdf"), "application/pdf", &"AAAA".repeat(1000)));
        let result = ToolResult {
            call: "t1c1".parse().unwrap(),
            name: "f".into(),
            content: vec![picture.clone()],
            is_error: true,
        };
        let messages = [
            Message::User(vec![Part::text("Look"), picture.clone(), paper]),
            Message::Tool(result.clone()),
            Message::User(vec![Part::text("So?")]),
        ];
        let request = Request { messages: messages.map(Arc::new).into(), ..Request::default() };
        assert_eq!(request.media(), [MediaKind::Image, MediaKind::Document]);
        assert!(matches!(request.for_senses(Senses::default()), Cow::Borrowed(_)), "nobody said anything");
        let blind = Senses { image: Some(false), document: Some(true), ..Senses::default() };
        let seen = request.for_senses(blind);
        let stub = Part::text("[image/png, 3 bytes; left out: this model takes no pictures]");
        let Message::User(parts) = &*seen.messages[0] else { panic!("{seen:?}") };
        assert_eq!((&parts[1], parts.len()), (&stub, 3));
        assert_eq!(*seen.messages[1], Message::Tool(ToolResult { content: vec![stub], ..result }));
        assert!(Arc::ptr_eq(&seen.messages[2], &request.messages[2]));
        assert_eq!(seen.media(), [MediaKind::Document]);
        let none = request.for_senses(Senses { document: Some(false), ..blind });
        let Message::User(parts) = &*none.messages[0] else { panic!("{none:?}") };
        assert_eq!(parts[2], Part::text("[a.pdf, application/pdf, 3 KiB; left out: this model takes no documents]"));
    }

    #[test]
    fn sizes_are_those_of_the_bytes() {
        for (data, bytes) in [("", 0), ("aA==", 1), ("aGk=", 2), ("aGkh", 3), ("aGkhaA", 4)] {
            assert_eq!(base64_bytes(data), bytes, "{data}");
        }
        assert_eq!([12, 2000, 3 << 20].map(size), ["12 bytes", "2 KiB", "3.0 MiB"]);
    }
}
