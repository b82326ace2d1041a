//! placeholder
/// placeholder
pub struct Memory;
