//! The body of an answer, as bytes: which dialect, in which pieces, and the body.

use agentd::{
    chat::{Answer, AnswerPart},
    provider::{Class, Dialect, Failure, read_answer},
};

use super::{byte, sizes};

/// Checks what is read from a body.
pub fn check(mut bytes: &[u8]) {
    let (which, seed) = (byte(&mut bytes), byte(&mut bytes));
    let dialect = Dialect::ALL[usize::from(which) % Dialect::ALL.len()];
    let whole = read_answer(dialect, [bytes]);
    let mut rest = bytes;
    let pieces = sizes(seed).map_while(|size| {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    });
    let in_pieces = read_answer(dialect, pieces);
    let class = |read: &Result<Answer, Failure>| read.as_ref().err().map(|failure| failure.class);
    let text = || String::from_utf8_lossy(bytes);
    assert_eq!(class(&whole), class(&in_pieces), "{dialect:?} {:?} in pieces of {seed}", text());
    match whole {
        Ok(answer) => {
            bounded(&answer, bytes);
            assert_eq!(in_pieces.ok(), Some(answer), "{dialect:?} {:?} in pieces of {seed}", text());
        }
        Err(failure) => {
            assert_ne!(failure.class, Class::Budget, "{:?}", text());
            // A message is for people and for a log line.
            assert!(failure.message.len() <= 4096, "{} bytes of message for {:?}", failure.message.len(), text());
        }
    }
}

/// An answer holds no more than arrived; control characters and lost halves of surrogate pairs grow a little.
fn bounded(answer: &Answer, bytes: &[u8]) {
    let size = |part: &AnswerPart| match part {
        AnswerPart::Text(text) => text.len(),
        AnswerPart::Call(call) => call.name.len() + call.arguments.len(),
        _ => 0,
    };
    let total: usize = answer.parts.iter().map(size).sum();
    assert!(total <= 3 * bytes.len() + 64, "{total} bytes of {}: {answer:?}", bytes.len());
}
