//! Doubles of the vendors' services: each checks a request as the real service does, and writes answers as it streams them.

pub mod anthropic;
pub mod gemini;
pub mod responses;
