//! A run as a pure machine.

mod event;
mod id;

pub use event::*;
pub use id::{NanoDollars, RunId, Time};
