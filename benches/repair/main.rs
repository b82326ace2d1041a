//! How well faulty tool calls are mended, and how often wrongly.
//!
//! `cargo bench --bench repair [cases per class] [seed]`. Tools of real MCP servers (`tools.json`); valid arguments made for
//! them, spoilt in each of the classes of fault; the outcome held against what is known to be right. Libraries that mend
//! JSON are given the same arguments: Rust `jsonrepair-rs` and `llm_json` always, Python `json_repair` and npm `jsonrepair`
//! where `benches/repair/install` has put them. All of it follows from the seed.
//!
//! `cargo bench --bench repair rounds [tasks] [seed]` drives whole runs against a model that spoils some of its calls.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a measurement that fails has nothing to say")]

mod cases;
mod contenders;
mod cut;
#[path = "../../tests/it/model.rs"]
mod model;
mod name;
mod report;
mod rounds;
mod shape;
mod syntax;
mod text;
mod tokens;
mod tools;
mod values;
#[allow(dead_code, reason = "what the model above is checked by")]
#[path = "../../tests/it/vendor/mod.rs"]
mod vendor;

use std::{path::Path, process::Command};

use cases::{Class, Seed, classes};
use contenders::Given;
use fastrand::Rng;
use report::Contender;
use tools::Offer;

/// Attempts to find a call that can be spoilt in a certain way.
const TRIES: usize = 4_000;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let (wanted, seed) = (numbers.first().map_or(60, |it| *it as usize), numbers.get(1).copied().unwrap_or(7));
    if std::env::args().any(|it| it == "rounds") {
        return whole_runs(numbers.first().map_or(200, |it| *it as usize), seed);
    }
    let offers = tools::offers();
    let all = classes();
    let (mut given, mut of) = (Vec::new(), Vec::new());
    for (at, class) in all.iter().enumerate() {
        let mut rng = Rng::with_seed(seed.wrapping_add(at as u64));
        let found = given.len() + wanted;
        for _ in 0..TRIES {
            if given.len() == found {
                break;
            }
            if let Some((offer, schema, spoilt)) = one(&mut rng, &offers, class) {
                given.push(Given { id: given.len(), group: class.group, offer, schema, spoilt });
                of.push(at);
            }
        }
        if given.len() < found {
            eprintln!("{}: only {} cases", class.name, wanted + given.len() - found);
        }
    }
    let classes: Vec<&Class> = of.iter().map(|at| &all[*at]).collect();
    eprintln!("{} cases of {} classes, seed {seed}", given.len(), all.len());

    let scratch = tempfile::tempdir().unwrap();
    let ours = |name, policy| Contender { name, outcomes: contenders::agentd(&given, policy, scratch.path()) };
    let mut contenders = vec![ours("agentd", Some("unique")), ours("agentd, by effect", None)];
    contenders.push(Contender {
        name: "jsonrepair-rs",
        outcomes: contenders::library(&given, |text| jsonrepair_rs::jsonrepair(text).ok()),
    });
    contenders.push(Contender {
        name: "llm_json",
        outcomes: contenders::library(&given, |text| {
            llm_json::repair_json(text, &llm_json::RepairOptions::default()).ok()
        }),
    });
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = here.join("target/contenders");
    let python = || {
        let mut command = Command::new(installed.join("python/bin/python3"));
        command.arg(here.join("benches/repair/peer.py"));
        command
    };
    let mut guided = python();
    guided.arg("schema");
    let mut node = Command::new("node");
    node.arg(here.join("benches/repair/peer.mjs")).arg(installed.join("node"));
    for (name, mut command) in [("json_repair", python()), ("json_repair, schema", guided), ("jsonrepair (npm)", node)]
    {
        match contenders::program(&given, &mut command) {
            Some(outcomes) => contenders.push(Contender { name, outcomes }),
            None => eprintln!("{name} is left out: install it with benches/repair/install"),
        }
    }
    report::print(&given, &classes, &contenders);
    report::dialects(&given, &contenders[0]);
    if let Ok(file) = std::env::var("AGENTD_REPAIR_MISSES") {
        report::misses(&given, &classes, &contenders[0], Path::new(&file));
    }
}

/// A row for each share of spoilt calls, with the ladder and without.
fn whole_runs(tasks: usize, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "| calls spoilt | ladder | tasks done | waiting for a person | failed | asked again a task | answers a task | tokens a task | \
         repairs a task | wrong calls made |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for share in [0.0, 0.05, 0.1, 0.2, 0.3] {
        for ladder in [true, false] {
            let totals = runtime.block_on(rounds::rounds(tasks, share, ladder, seed));
            let percent = |of: u64| 100.0 * of as f64 / totals.tasks as f64;
            let each = |of: u64| of as f64 / totals.tasks as f64;
            println!(
                "| {:.0} % | {} | {:.1} % | {:.1} % | {:.1} % | {:.2} | {:.2} | {:.0} | {:.2} | {} |",
                100.0 * share,
                if ladder { "on" } else { "off" },
                percent(totals.done),
                percent(totals.waiting),
                percent(totals.tasks - totals.done - totals.waiting),
                each(totals.again),
                each(totals.answers),
                each(totals.tokens),
                each(totals.repairs),
                totals.wrong
            );
        }
    }
}

fn one(rng: &mut Rng, offers: &[Offer], class: &Class) -> Option<(Offer, serde_json::Value, cases::Spoilt)> {
    let offer = rng.choice(offers)?.clone();
    let at = rng.usize(..offer.len());
    let arguments = values::arguments(rng, &offer[at])?;
    let seed = Seed { offer: offer.clone(), at, arguments };
    let spoilt = (class.spoil)(rng, &seed)?;
    let schema = offer[at].schema.clone();
    Some((offer, schema, spoilt))
}
