//! The tools on offer, each with its schema compiled once.
/// placeholder
pub struct ToolSet;
