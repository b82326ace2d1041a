//! The bundled servers on stdin and stdout, for hosts other than us.

use std::{io, path::Path};

/// Is the `files` server for the folder `root` until stdin ends; returns when its last call has ended.
///
/// # Errors
/// When `root` cannot be opened, or the session breaks down.
pub async fn files(root: &Path) -> io::Result<()> {
    agentd_files::Files::new(root)?.serve((tokio::io::stdin(), tokio::io::stdout())).await
}
