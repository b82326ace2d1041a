//! The tables: all contenders in sum, and agentd by class.

use std::{collections::HashMap, io::Write, path::Path};

use serde_json::json;

use super::{
    cases::{Class, Group, Mark, Outcome, Truth, Wire, mark},
    contenders::Given,
};

/// Whose outcomes.
pub struct Contender {
    pub name: &'static str,
    pub outcomes: HashMap<usize, Outcome>,
}

#[derive(Default)]
struct Tally {
    cases: usize,
    right: usize,
    asked: usize,
    wrong: usize,
    wrong_tool: usize,
}

impl Tally {
    fn add(&mut self, mark: Mark) {
        self.cases += 1;
        match mark {
            Mark::Right => self.right += 1,
            Mark::Asked => self.asked += 1,
            Mark::Wrong => self.wrong += 1,
            Mark::WrongTool => self.wrong_tool += 1,
        }
    }

    fn share(&self, count: usize) -> String {
        if self.cases == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * count as f64 / self.cases as f64) }
    }
}

fn tally<'a>(given: &'a [Given], classes: &'a [&Class], of: &Contender, fits: impl Fn(&Class) -> bool) -> Tally {
    let mut tally = Tally::default();
    for (case, _) in given.iter().zip(classes).filter(|(_, class)| fits(class)) {
        if let Some(outcome) = of.outcomes.get(&case.id) {
            tally.add(mark(&case.spoilt.truth, &case.spoilt.wire, outcome));
        }
    }
    tally
}

/// Prints both tables as Markdown.
pub fn print(given: &[Given], classes: &[&Class], contenders: &[Contender]) {
    println!(
        "| contender | cases | recovered (A, B) | must ask: asked | cut, yet accepted | silently wrong | wrong tool | valid untouched | median µs, valid | median µs, mended |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for it in contenders {
        let of = |fits: &dyn Fn(&Class) -> bool| tally(given, classes, it, fits);
        let (all, mendable) = (of(&|_| true), of(&|class| matches!(class.policy, 'A' | 'B')));
        let (hopeless, cut, valid) = (
            of(&|class| class.policy == 'R'),
            of(&|class| class.group == Group::Cut),
            of(&|class| class.policy == 'V'),
        );
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            it.name,
            all.cases,
            mendable.share(mendable.right),
            hopeless.share(hopeless.right),
            cut.cases - cut.right,
            all.share(all.wrong + all.wrong_tool),
            all.wrong_tool,
            valid.share(valid.right),
            median(given, it, true),
            median(given, it, false),
        );
    }
    println!("\n| group | class | policy | cases | right | asked again | silently wrong |");
    println!("|---|---|---|---:|---:|---:|---:|");
    let mut seen: Vec<(Group, &str)> = Vec::new();
    for class in classes {
        if seen.contains(&(class.group, class.name)) {
            continue;
        }
        seen.push((class.group, class.name));
        let one = tally(given, classes, &contenders[0], |it| it.name == class.name && it.group == class.group);
        let group = format!("{:?}", class.group).to_lowercase();
        println!(
            "| {group} | {} | {} | {} | {} | {} | {} |",
            class.name,
            class.policy,
            one.cases,
            one.share(one.right),
            one.share(one.asked),
            one.share(one.wrong + one.wrong_tool)
        );
    }
}

/// Prints what came of calls in text, by dialect.
pub fn dialects(given: &[Given], of: &Contender) {
    println!("\n| dialect in text | cases | right | asked again | silently wrong |");
    println!("|---|---:|---:|---:|---:|");
    for dialect in super::text::DIALECTS {
        let mut tally = Tally::default();
        for case in given {
            let Wire::Text { dialect: name, .. } = case.spoilt.wire else { continue };
            if let (true, Some(outcome)) = (name == dialect.name, of.outcomes.get(&case.id)) {
                tally.add(mark(&case.spoilt.truth, &case.spoilt.wire, outcome));
            }
        }
        let wrong = tally.share(tally.wrong + tally.wrong_tool);
        let (right, asked) = (tally.share(tally.right), tally.share(tally.asked));
        println!("| {} | {} | {right} | {asked} | {wrong} |", dialect.name, tally.cases);
    }
}

/// The median time of calls that were valid, or of those that were not and were accepted.
fn median(given: &[Given], of: &Contender, exact: bool) -> String {
    let timed = |case: &Given| {
        let outcome = of.outcomes.get(&case.id)?;
        let fits = case.group != Group::Text && outcome.accepted && outcome.exact == exact;
        outcome.nanoseconds.filter(|_| fits)
    };
    let mut times: Vec<u64> = given.iter().filter_map(timed).collect();
    times.sort_unstable();
    times.get(times.len() / 2).map_or("-".to_owned(), |nanoseconds| format!("{:.1}", *nanoseconds as f64 / 1000.0))
}

/// Writes each case that was not right, one a line.
pub fn misses(given: &[Given], classes: &[&Class], of: &Contender, file: &Path) {
    let mut out = std::fs::File::create(file).unwrap();
    for (case, class) in given.iter().zip(classes) {
        let Some(outcome) = of.outcomes.get(&case.id) else { continue };
        let mark = mark(&case.spoilt.truth, &case.spoilt.wire, outcome);
        if mark == Mark::Right {
            continue;
        }
        let wire = match &case.spoilt.wire {
            Wire::Call { name, arguments } => json!({"name": name, "arguments": arguments}),
            Wire::Text { text, dialect, family, finish } => {
                json!({"text": text, "dialect": dialect, "family": family, "finish": finish})
            }
        };
        let truth = match &case.spoilt.truth {
            Truth::Untouched => json!("untouched"),
            Truth::Ask => json!("ask again"),
            Truth::Calls(calls, _) => json!(calls),
            Truth::CallOrAsk(name, value) => json!({"either": [name, value]}),
        };
        let line = json!({
            "class": class.name, "mark": format!("{mark:?}"), "wire": wire, "truth": truth,
            "calls": outcome.calls, "text": outcome.text, "schema": case.schema,
        });
        writeln!(out, "{line}").unwrap();
    }
}
