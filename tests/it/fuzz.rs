//! What fuzzing has found stays mended: the committed corpus of `tests/fuzz`, and a fixed number of inputs that a seed
//! makes of it, go through the checks of the fuzz targets.

use std::{fs, path::Path};

use fastrand::Rng;

#[path = "../fuzz/checks/mod.rs"]
mod checks;

/// Inputs that are made for each target. More is the work of fuzzing itself; these are for the day's change.
const MADE: usize = 1_500;

/// What is put into inputs: pieces of all that is read.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "`",
    "\\",
    ",",
    ":",
    "\n",
    " ",
    "\t",
    "<",
    ">",
    "|",
    "=",
    "(",
    ")",
    "0",
    "1e9",
    "-",
    "null",
    "true",
    "True",
    "\\u00e9",
    "\\ud800",
    "é",
    "日",
    "\u{feff}",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "<function=",
    "</function>",
    "<parameter=",
    "</parameter>",
    "<think>",
    "</think>",
    "```json\n",
    "```",
    "Action: ",
    "{\"name\": \"",
    "\"arguments\": {",
    "\"path\": ",
    "data: ",
    "\n\n",
    "data: [DONE]\n\n",
    "event: ",
    "\r\n",
    "- ",
    "version: 1\n",
    "  ",
    "|\n",
    "#",
    "&",
    "*",
];

#[test]
fn the_repair_of_calls_keeps_its_promises() {
    runs("repair");
}

#[test]
fn finding_calls_in_text_keeps_its_promises() {
    runs("text");
}

#[test]
fn reading_answers_keeps_its_promises() {
    runs("answer");
}

#[test]
fn reading_journals_keeps_its_promises() {
    runs("journal");
}

#[test]
fn reading_agent_files_keeps_its_promises() {
    runs("agent");
}

fn runs(target: &str) {
    let (_, check) = checks::ALL.iter().find(|(name, _)| *name == target).unwrap();
    let corpus = corpus(target);
    corpus.iter().for_each(|input| check(input));
    let mut rng = Rng::with_seed(7);
    for _ in 0..MADE {
        check(&made(&mut rng, &corpus));
    }
}

/// The committed inputs, in the order of their names.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 10, "only {} inputs in {}", files.len(), dir.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// An input of the corpus with a few changes.
fn made(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=input.len());
        match rng.u8(..6) {
            0 => input.truncate(at),
            1 => input.insert(at, rng.u8(..)),
            2 if at < input.len() => input[at] ^= 1 << rng.u8(..8),
            3 => {
                let end = (at + rng.usize(..16)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let other = rng.choice(corpus).cloned().unwrap_or_default();
                let (from, to) = (rng.usize(..=other.len()), rng.usize(..=other.len()));
                input.splice(at..at, other[from.min(to)..from.max(to)].iter().copied().take(256));
            }
            _ => {
                let piece = rng.choice(PIECES).copied().unwrap_or_default();
                input.splice(at..at, piece.bytes());
            }
        }
    }
    input
}
