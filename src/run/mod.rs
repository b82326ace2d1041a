//! A run as a pure machine.

mod id;

pub use id::{NanoDollars, RunId, Time};
