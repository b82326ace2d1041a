//! What `engine` measures with: two servers, the contenders, and samples taken of them.
//!
//! Every sample is a process of its own on a core of its own, so that the kernel's account of that process is the
//! contender's alone; the servers are other processes on the other core.

pub mod bare;
pub mod chat;
pub mod cold;
pub mod driven;
pub mod http;
pub mod log;
pub mod model;
pub mod os;
pub mod restart;
pub mod rounds;
pub mod sample;
pub mod table;
pub mod tool;

use agentd::run::RunId;
use uuid::Uuid;

/// What the agent is told about itself, by all contenders.
pub const INSTRUCTIONS: &str = "You repeat things. Call the tool until the work is done.";

/// What the agent is told to do, by all contenders.
pub const PROMPT: &str = "Repeat what there is to repeat.";

/// What one run came to.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// The run.
    pub run: RunId,
    /// Model answers.
    pub turns: usize,
    /// Commits that were awaited.
    pub commits: u64,
    /// The whole conversation as JSON; 0 where it was not written out.
    pub conversation_bytes: usize,
    /// What was kept of it on disk; 0 where nothing was.
    pub journal_bytes: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Kept { run: RunId(Uuid::nil()), turns: 0, commits: 0, conversation_bytes: 0, journal_bytes: 0 }
    }
}
