//! How many tokens a request is, roughly, and whether a server has read far fewer.
//!
//! Some local servers cut a prompt that does not fit without a word (Ollama's `/v1` to 4096 tokens, ollama/ollama#18107):
//! the model then answers without its instructions or its tools. All that tells is the usage. Always true: pure, linear
//! in the length of the request, and no tokenizer is needed, which would be another one for every model.

use std::convert::Infallible;

use super::{Class, Failure, failure::failure};
use crate::chat::{Media, MediaSource, Message, Part, PerTool, Request, ToolDef, Usage};

/// About how many bytes of text one token is, where the text itself is not at hand.
pub(super) const TOKEN_BYTES: u64 = 4;

/// Quarters of a token for a character of so many bytes in UTF-8. Vocabularies of the usual models merge some four
/// letters of English or code into one token, two of other alphabets, and take about one for a Chinese or Japanese
/// sign and two for an emoji.
const QUARTERS: [u64; 4] = [1, 2, 4, 8];

/// Tokens around each message and each tool: roles and marks.
const FRAME: u64 = 4;

/// Tokens of a picture: from 85 (OpenAI, low detail) and 258 (Gemini, a tile) to some 1600 (Anthropic, the largest); vendors'
/// documentation, 2026-11.
const IMAGE: u64 = 800;

/// Tokens of a sound: 25 to 32 a second (Gemini, OpenAI; 2026-11), and its length is not known here.
const AUDIO: u64 = 500;

/// Bytes of a PDF for which one page is counted: most have between 20 and 200 KiB a page.
const PAGE_BYTES: u64 = 100 * 1024;

/// Tokens of the text of a page; beside it, services count its picture (Anthropic and OpenAI documentation, 2026-11).
const PAGE: u64 = 2000;

/// Below this estimate nothing is concluded: the smallest window that a server is set to by default is 2048 tokens.
const CONCLUSIVE: u64 = 2048;

/// Quarters of a token in the schema of each tool.
static SCHEMAS: PerTool<u64> = PerTool::new();

/// About how many tokens this request is: right within a third for prose and code, too high rather than too low for text
/// with long runs of the same character.
pub fn estimate_tokens(request: &Request) -> u64 {
    count(request, IMAGE, AUDIO)
}

/// About how many tokens the definition of a tool takes in every request that offers it.
pub fn tool_tokens(tool: &ToolDef) -> u64 {
    FRAME + of_tool(tool).div_ceil(4)
}

/// About how many tokens an answer of so many bytes took to write.
pub fn written_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(TOKEN_BYTES)
}

/// The failure that a server's own usage shows: it has read less than half of the text that was sent. `None` when it has
/// not, when it tells nothing, and for short requests, where it cannot be told.
pub(super) fn cut_short(request: &Request, usage: Option<Usage>) -> Option<Failure> {
    let read = usage.map(|usage| usage.input).filter(|read| *read > 0)?;
    // Media could be counted as next to nothing.
    let sent = count(request, 0, 0);
    (sent >= CONCLUSIVE && read.saturating_mul(2) < sent).then(|| {
        let message = format!(
            "the server has read {read} tokens of about {sent} and said nothing of it; give it a larger context window"
        );
        failure(Class::ContextTooLong, &message)
    })
}

fn count(request: &Request, image: u64, audio: u64) -> u64 {
    let mut quarters = request.system.as_deref().map_or(0, of_text);
    let mut tokens = 0;
    for message in &request.messages {
        tokens += FRAME;
        let parts = match &**message {
            Message::User(parts) | Message::Assistant(parts) => parts,
            Message::Tool(result) => &result.content,
        };
        for part in parts {
            match part {
                Part::Text(text) => quarters += of_text(text),
                Part::Reasoning(reasoning) => quarters += of_text(&reasoning.text),
                Part::Call(call) => quarters += of_text(call.name.as_str()) + of_text(&call.arguments),
                Part::Image(_) => tokens += image,
                Part::Audio(_) => tokens += audio,
                Part::Document(media) => tokens += document(media, image),
                Part::Opaque(_) => {}
            }
        }
    }
    for tool in request.tools.iter() {
        tokens += FRAME;
        quarters += of_tool(tool);
    }
    if let Some(output) = &request.output {
        quarters += of_text(&output.schema.to_string());
    }
    tokens + quarters.div_ceil(4)
}

/// A document as its pages, whose number is not known here; nothing where pictures count as nothing.
fn document(media: &Media, image: u64) -> u64 {
    let bytes = match &media.source {
        MediaSource::Base64(data) => data.len() as u64 / 4 * 3,
        MediaSource::Url(_) => 0,
    };
    if image == 0 { 0 } else { (1 + bytes / PAGE_BYTES) * (PAGE + image) }
}

/// About how many tokens a text is.
pub(super) fn text_tokens(text: &str) -> u64 {
    of_text(text).div_ceil(4)
}

/// Quarters of a token in the definition of a tool.
fn of_tool(tool: &ToolDef) -> u64 {
    let Ok(schema) = SCHEMAS.get(tool, |schema| Ok::<_, Infallible>(of_text(&schema.to_string())));
    of_text(tool.name.as_str()) + of_text(&tool.description) + schema
}

/// Quarters of a token. Byte by byte, which the compiler turns into many at a time: the first byte of a character tells
/// its length, and the others count nothing.
fn of_text(text: &str) -> u64 {
    let [one, two, three, four] = QUARTERS;
    let quarters = |byte| match byte {
        0x00..=0x7F => one,
        0x80..=0xBF => 0,
        0xC0..=0xDF => two,
        0xE0..=0xEF => three,
        0xF0..=0xFF => four,
    };
    text.bytes().map(quarters).sum()
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    fn request(parts: Vec<Part>) -> Request {
        table::request([Message::User(parts)])
    }

    #[test]
    fn estimates_are_near_what_tokenizers_count() {
        // Counts of the o200k vocabulary: 10, 9 and 8.
        let near: &[(&str, u64)] = &[
            ("The quick brown fox jumps over the lazy dog.", 10),
            ("fn main() { println!(\"hello\"); }", 9),
            ("これは日本語の文章です", 8),
        ];
        for (text, expected) in near {
            let estimate = estimate_tokens(&request(vec![Part::text(*text)])) - FRAME;
            assert!((expected * 2 / 3..=expected * 3 / 2).contains(&estimate), "{text}: {estimate}, not {expected}");
        }
    }

    #[test]
    fn everything_that_is_sent_counts() {
        let image = Media { name: None, mime: "image/png".to_owned(), source: MediaSource::Base64("AAAA".into()) };
        let bare = estimate_tokens(&request(vec![]));
        assert_eq!(bare, FRAME);
        assert_eq!(estimate_tokens(&request(vec![Part::Image(image.clone())])), FRAME + IMAGE);
        assert_eq!(estimate_tokens(&request(vec![Part::Audio(image)])), FRAME + AUDIO);
        let with_system = Request { system: Some("x".repeat(400).into()), ..request(vec![]) };
        assert_eq!(estimate_tokens(&with_system), FRAME + 100);
        assert_eq!(estimate_tokens(&request(vec![Part::text("x"), Part::text("yyyy")])), FRAME + 2);
    }

    #[test]
    fn a_prompt_that_was_cut_is_told_from_one_that_was_read() {
        // 40 000 letters: about 10 000 tokens.
        let long = request(vec![Part::text("x".repeat(40_000 - 16))]);
        let estimate = estimate_tokens(&long);
        assert_eq!(estimate, 10_000);
        let read = |input| cut_short(&long, Some(Usage { input, ..Usage::default() }));
        let failure = read(4096).unwrap();
        assert_eq!(failure.class, Class::ContextTooLong);
        assert!(failure.message.contains("4096 tokens of about 10000"), "{}", failure.message);
        assert!(read(4999).is_some());
        assert!(read(5000).is_none(), "half of it may be a tokenizer's doing");
        assert!(read(12_000).is_none());
        assert!(read(0).is_none(), "nothing told");
        assert!(cut_short(&long, None).is_none());
        // Pictures may count as nearly nothing, and a short prompt tells nothing.
        let image = Media { name: None, mime: "image/png".to_owned(), source: MediaSource::Base64("AAAA".into()) };
        let pictures = request(std::iter::repeat_n(Part::Image(image), 20).collect());
        assert!(cut_short(&pictures, Some(Usage { input: 100, ..Usage::default() })).is_none());
        let short = request(vec![Part::text("x".repeat(8000))]);
        assert!(cut_short(&short, Some(Usage { input: 10, ..Usage::default() })).is_none());
    }
}
