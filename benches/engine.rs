//! What agentd costs beside a bare agent loop: `cargo bench --bench engine` prints the table of `benches/README.md`.
//!
//! Each round takes one sample of every contender, in an order that rotates, so that what the machine does meanwhile
//! hits all of them alike. A figure is the median of the rounds, a ratio the median of the ratios within each round.

#[allow(dead_code, reason = "`router` uses the rest of it")]
mod support;

use std::{env, path::PathBuf};

use anyhow::Result;
use support::{
    cold, model, os, restart,
    rounds::rounds,
    sample::{self, Contender, Cost, Held, Job},
    table::{Row, Table},
    tool,
};
use tokio::net::TcpListener;

/// Reads one figure out of a cost.
type Figure = fn(&Cost) -> f64;

fn main() -> Result<()> {
    let mut words = env::args().skip(1);
    let (role, word) = (words.next().unwrap_or_default(), words.next());
    match (role.as_str(), word) {
        (tool::ROLE, _) => tool::serve(),
        (model::ROLE, _) => serve(),
        (sample::ROLE, Some(job)) => sample::answer(&job),
        (restart::ROLE, Some(job)) => restart::answer(&job),
        _ => compare(&Plan::new(env::args().any(|word| word == "--full"))),
    }
}

/// How much is measured.
struct Plan {
    command: &'static str,
    rounds: usize,
    /// Runs at once, and how many runs a sample has.
    levels: [(usize, usize); 4],
    /// How often the program is started, or a store opened.
    starts: usize,
}

impl Plan {
    fn new(full: bool) -> Self {
        let (command, rounds, levels, starts) = if full {
            ("cargo bench --bench engine -- --full", 9, [(1, 400), (16, 1600), (128, 2560), (1000, 4000)], 20)
        } else {
            ("cargo bench --bench engine", 3, [(1, 100), (16, 480), (128, 768), (1000, 2000)], 10)
        };
        Plan { command, rounds, levels, starts }
    }
}

/// Answers of a run; all but the last make one call.
const TURNS: usize = 10;

/// Bytes of a tool result that is not tiny.
const PAGE: usize = 4096;

/// Runs in flight whose memory is measured.
const IN_FLIGHT: usize = 1000;

/// Runs found after a restart.
const UNFINISHED: usize = 10_000;

/// Runs a second on a core at 128 runs at once: the bare loop with a log and salvor, the bare loop and rig. Measured
/// once beside each other with a bare loop like ours (2026-11); ratios carry over, figures do not.
const SALVOR: f64 = 124.0 / 777.0;
const RIG: f64 = 165.0 / 993.0;

fn compare(plan: &Plan) -> Result<()> {
    let runtime = os::servers()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let base_url = format!("http://{}/v1", listener.local_addr()?);
    runtime.spawn(model::serve(listener, model::Watch::default()));
    let disk = Disk::new()?;
    let job = |contender, level, runs| -> Result<Job> {
        let base_url = base_url.clone();
        Ok(Job { contender, base_url, folder: disk.empty()?, level, runs, turns: TURNS, bytes: 0, hold: false })
    };
    let mut table = Table::new(plan.command);

    let mut durable = None;
    for (level, runs) in plan.levels {
        eprintln!("{level} runs at once");
        let costs = rounds(&Contender::ALL, plan.rounds, |contender| {
            sample::take(sample::ROLE, &job(contender, level, runs)?)
        })?;
        for (named, bare, ours, budget) in [
            ("memory", Contender::Bare, Contender::Memory, 1.3),
            ("sled, against a log", Contender::BareLog, Contender::Sled, 1.5),
        ] {
            let budget = (level < 1000 || ours == Contender::Memory).then_some(budget);
            let kinds: [(&str, Figure); 2] = [("CPU", |cost| cost.cpu_us), ("wall", |cost| cost.wall_us)];
            for (kind, of) in kinds {
                let compared = costs.compare(bare, ours, of);
                table.add(Row::ratio(format!("{kind} a run, {named}, {level} at once"), "µs", compared, budget));
            }
        }
        if matches!(level, 1 | 128) {
            let compared = costs.compare(Contender::BareLog, Contender::Sled, |cost| cost.written / 1024.0);
            table.add(Row::ratio(format!("bytes to the disk a run, {level} at once"), "KiB", compared, Some(2.0)));
        }
        if level == 1 {
            let figure = costs.median(Contender::Sled, |cost| cost.commits as f64 / cost.turns as f64);
            table.add(Row::most("commits awaited a turn of one group", "", figure, Some(1.0)));
        }
        if level == 128 {
            durable = Some(costs);
        }
    }
    if let Some(costs) = durable {
        let cpu = |cost: &Cost| cost.cpu_us;
        let of_log = 1.0 / costs.compare(Contender::BareLog, Contender::Sled, cpu).ratio;
        let of_bare = 1.0 / costs.compare(Contender::Bare, Contender::Sled, cpu).ratio;
        table.add(Row::least("runs a core, sled, 128 at once, against salvor 0.10 (derived)", of_log / SALVOR, 3.0));
        table.add(Row::least("runs a core, sled, 128 at once, against rig 0.44 (derived)", of_bare / RIG, 2.0));
    }

    eprintln!("bytes");
    for (named, bytes) in [("tiny results", 0), ("results of 4 KiB", PAGE)] {
        let of = |contender| -> Result<Cost> { sample::take(sample::ROLE, &Job { bytes, ..job(contender, 1, 1)? }) };
        let (bare, ours) = (of(Contender::BareLog)?, of(Contender::Sled)?);
        let what = format!("journal against conversation, {named}");
        table.add(Row::bytes(what, bare.conversation_bytes, ours.journal_bytes, Some(2.0)));
        let what = format!("the log against conversation, {named}");
        table.add(Row::bytes(what, bare.conversation_bytes, bare.journal_bytes, None));
    }

    eprintln!("memory");
    let held = rounds(&Contender::ALL, plan.rounds, |contender| -> Result<Held> {
        sample::take(sample::ROLE, &Job { hold: true, ..job(contender, IN_FLIGHT, IN_FLIGHT)? })
    })?;
    let each = |held: &Held| (held.during as f64 - held.before as f64) / 1024.0 / IN_FLIGHT as f64;
    for (named, bare, ours) in
        [("memory", Contender::Bare, Contender::Memory), ("sled, against a log", Contender::BareLog, Contender::Sled)]
    {
        let compared = held.compare(bare, ours, each);
        table.add(Row::more(format!("memory of a run in flight, {named}"), "KiB", compared, Some(32.0)));
        let all = held.median(ours, |held| held.during as f64 / 1024.0 / 1024.0);
        table.add(Row::most(format!("1,000 runs in flight in all, {named}"), "MiB", all, Some(150.0)));
    }

    eprintln!("restart");
    let found = restart::measure(&base_url, &disk.empty()?, UNFINISHED, plan.starts)?;
    table.add(Row::most(format!("resuming a run of {} entries", found.entries), "ms", found.resume_ms, Some(20.0)));
    let what = format!("finding {UNFINISHED} unfinished runs, opening the store included");
    table.add(Row::most(what, "ms", found.find_ms, Some(2000.0)));

    eprintln!("cold start");
    let (fresh, known) = cold::measure(&runtime, &disk.empty()?, plan.starts)?;
    table.add(Row::most("cold start to the first model request, one stdio server", "ms", known, Some(30.0)));
    table.add(Row::most("the same in an empty data directory", "ms", fresh, None));
    let binary = std::fs::metadata(cold::PROGRAM)?.len() as f64 / 1e6;
    table.add(Row::most("binary, stripped", "MB", binary, Some(30.0)));
    println!("{table}");
    Ok(())
}

/// The model server alone, whose address it prints: for a profiler that looks at one sample.
fn serve() -> Result<()> {
    let runtime = os::servers()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("http://{}/v1", listener.local_addr()?);
        runtime.spawn(model::serve(listener, model::Watch::default())).await?
    })
}

/// A folder on a real disk, where the build is; it goes when this is dropped.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Result<Self> {
        Ok(Disk(tempfile::Builder::new().prefix("engine-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?))
    }

    /// A new empty folder in it.
    fn empty(&self) -> Result<PathBuf> {
        Ok(tempfile::Builder::new().disable_cleanup(true).tempdir_in(&self.0)?.keep())
    }
}
