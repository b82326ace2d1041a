//! Places where a test can make the engine fail; nothing of it is left in a release.

use std::io;

/// A place where the store is about to ask something of sled or of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Reading from the tree.
    Read,
    /// Putting a batch into the tree.
    Apply,
    /// Writing sled's buffers out.
    Flush,
    /// The fdatasync that makes a commit durable.
    Sync,
    /// Writing or syncing the witness.
    Witness,
    /// Dropping the tree.
    Close,
}

/// Called at every [`Point`]: an error is taken for the disk's, a panic for sled's.
#[cfg(any(test, feature = "chaos"))]
pub type Fault = std::sync::Arc<dyn Fn(Point) -> io::Result<()> + Send + Sync>;

/// What is asked at each point.
#[derive(Clone, Default)]
pub(super) struct Faults {
    #[cfg(any(test, feature = "chaos"))]
    pub(super) fault: Option<Fault>,
}

impl Faults {
    #[cfg(any(test, feature = "chaos"))]
    pub(super) fn at(&self, point: Point) -> io::Result<()> {
        self.fault.as_ref().map_or(Ok(()), |fault| fault(point))
    }

    #[cfg(not(any(test, feature = "chaos")))]
    pub(super) fn at(&self, _: Point) -> io::Result<()> {
        Ok(())
    }
}
