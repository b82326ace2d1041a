//! placeholder
/// placeholder
pub struct Host;
