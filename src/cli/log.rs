//! What happens inside, on stderr, for who looks for a fault: `-v`, `-vv`, or `AGENTD_LOG` with the directives of
//! tracing-subscriber (such as `agentd=debug`). Texts of others are escaped here, and secrets left out.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt};

use super::text::{Form, escape};

/// Starts the log. `AGENTD_LOG` wins over `verbose`.
pub(super) fn start(verbose: u8) {
    let default = match verbose {
        0 => "agentd=error",
        1 => "agentd=info",
        2 => "agentd=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("AGENTD_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // Only the first log of a process counts.
    let _ = fmt().with_env_filter(filter).with_writer(|| Escaped).with_ansi(false).try_init();
}

/// Stderr for lines that may hold anything.
struct Escaped;

impl Write for Escaped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        io::stderr().lock().write_all(escape(&text, Form::Text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
