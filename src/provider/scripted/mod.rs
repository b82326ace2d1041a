//! Plays a model from a script (dialect `scripted`): no key, no network, the same answers every time.
//!
//! What is said is decided by the conversation alone: by how many answers it has so far, and by what stands in it where
//! the script makes that a condition. So one script serves any number of runs, and a run that was killed goes on at
//! the right place. Only what goes wrong *before* an answer is counted in memory, by conversation, and forgotten with
//! the answer: after a restart it may go wrong once more, as real providers do.
//!
//! Left out on purpose: timeouts, which are about networks. A conversation that was compacted has fewer answers than
//! were given; a script for it uses `when`.

mod script;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub use script::{KEYS, Script};

use script::{Line, Mishap, Says, answers};

use super::{BoxFuture, Class, Delta, Failure, Provider, failure::failure, finish};
use crate::chat::{Answer, AnswerPart, Finish, Request};

/// A provider that plays a script. Every model name is the same to it.
#[derive(Debug)]
pub struct Scripted {
    issuer: String,
    script: Script,
    /// How much went wrong already, by conversation; gone once its answer is given.
    mishaps: Mutex<HashMap<u64, usize>>,
}

impl Scripted {
    /// A provider of this name.
    pub fn new(issuer: impl Into<String>, script: Script) -> Self {
        Scripted { issuer: issuer.into(), script, mishaps: Mutex::default() }
    }

    async fn answer(&self, request: &Request, seen: &mut (dyn FnMut(Delta<'_>) + Send)) -> Result<Answer, Failure> {
        let Some(line) = self.script.line(request) else {
            let message = format!(
                "{} is a script: {} has no answer {} for this conversation",
                self.issuer,
                self.script.name,
                answers(request) + 1
            );
            return Err(failure(Class::CallerFault, &message));
        };
        if let Some(mishap) = self.mishap(line, request) {
            return Err(play(mishap, seen).await);
        }
        pause(line.delay).await;
        match &line.says {
            Says::Fails(mishap) => Err(play(mishap, seen).await),
            Says::Answer { parts, finish, usage } => {
                parts.iter().for_each(|part| tell(part, seen));
                let answer = Answer {
                    parts: parts.clone(),
                    finish: finish.clone(),
                    usage: *usage,
                    model: Some("script".to_owned()),
                    id: None,
                };
                let text = answer.text();
                // As every dialect treats such answers.
                let answer = match finish {
                    Finish::Refused => {
                        Err(failure(Class::ContentRefused, "the model refused to answer, as the script has it"))
                    }
                    _ => finish::with_content(answer),
                };
                answer.map_err(|failure| failure.told(*usage).discarding(&text))
            }
        }
    }

    /// What goes wrong this time; `None` when all of it has.
    fn mishap<'l>(&self, line: &'l Line, request: &Request) -> Option<&'l Mishap> {
        let key = fingerprint(request);
        let mut mishaps = self.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
        let before = mishaps.remove(&key).unwrap_or(0);
        let mishap = line.first.get(before)?;
        mishaps.insert(key, before + 1);
        Some(mishap)
    }
}

impl Provider for Scripted {
    fn ask<'a>(
        &'a self,
        _model: &'a str,
        request: &'a Request,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(self.answer(request, seen))
    }

    fn scripted(&self) -> bool {
        true
    }
}

async fn play(mishap: &Mishap, seen: &mut (dyn FnMut(Delta<'_>) + Send)) -> Failure {
    pause(mishap.delay).await;
    mishap.text.split_inclusive(' ').for_each(|word| seen(Delta::Text(word)));
    mishap.failure.clone()
}

async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

/// Tells of a part word by word, as models do.
fn tell(part: &AnswerPart, seen: &mut (dyn FnMut(Delta<'_>) + Send)) {
    match part {
        AnswerPart::Text(text) => text.split_inclusive(' ').for_each(|word| seen(Delta::Text(word))),
        AnswerPart::Reasoning(reasoning) => seen(Delta::Reasoning(&reasoning.text)),
        AnswerPart::Call(call) => {
            seen(Delta::Call(&call.name));
            seen(Delta::Arguments(&call.arguments));
        }
        AnswerPart::Opaque(_) => {}
    }
}

/// Tells conversations apart, within this process.
fn fingerprint(request: &Request) -> u64 {
    struct Hashed(DefaultHasher);
    impl fmt::Write for Hashed {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut hashed = Hashed(DefaultHasher::new());
    // Writing to a hasher never fails.
    let _ = write!(hashed, "{:?}{:?}", request.system, request.messages);
    hashed.0.finish()
}
