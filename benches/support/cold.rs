//! How long the program takes from its start to its first request to a model, with one stdio server.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{net::TcpListener, runtime::Runtime};

use super::{
    model::{self, Script},
    rounds::median,
    tool,
};

/// The program, built as it is released.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_agentd");

/// Milliseconds, the median of `starts`: in a data directory that was never used, and in one where the server was started
/// before.
pub fn measure(runtime: &Runtime, folder: &Path, starts: usize) -> Result<(f64, f64)> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let (watch, mut arrivals) = model::Watch::arrivals();
    runtime.spawn(model::serve(listener, watch));
    let script = Script { turns: 2, bytes: 0, hold: false };
    let settings = format!(
        "version: 1\nproviders:\n  double: {{dialect: openai-chat, base_url: \"http://{address}/v1\"}}\nstore: sled\n"
    );
    let server = serde_json::to_string(&std::env::current_exe()?)?;
    let agent = format!(
        "version: 1\nname: cold\nmodel: double/{script}\napprovals: {{default: allow}}\n\
         servers:\n  tools: {{command: {server}, args: [{}]}}\n",
        tool::ROLE
    );
    std::fs::write(folder.join("agentd.yaml"), settings)?;
    std::fs::write(folder.join("cold.yaml"), agent)?;
    let mut start = |home: &Path| -> Result<f64> {
        let begun = Instant::now();
        let child = Command::new(PROGRAM)
            .args(["run", "cold.yaml", "Begin."])
            .current_dir(folder)
            .env("AGENTD_HOME", home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?
            .wait_with_output()?;
        ensure!(child.status.success(), "the program failed: {}", String::from_utf8_lossy(&child.stderr));
        let first = arrivals.try_recv().context("no request came")?;
        while arrivals.try_recv().is_ok() {}
        Ok(milliseconds(first.duration_since(begun)))
    };
    let known = folder.join("home");
    start(&known)?;
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for nth in 0..starts {
        fresh.push(start(&folder.join(format!("home-{nth}")))?);
        again.push(start(&known)?);
    }
    Ok((median(fresh), median(again)))
}

/// As a number.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
