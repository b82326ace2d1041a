//! `probe`: how well models call tools, measured by asking them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::{
    args,
    exit::{Code, Trouble},
    figures::{UNKNOWN, columns, cost, length, ms, percent, tokens, usd},
    open,
    out::Out,
    screen::Screen,
    start,
    stopper::Stopper,
    text::{Form, brief, count, escape, grouped},
};
use crate::{
    daemon::probe::{AgentFile, Best, Left, Measured, Plan, Tally, Verdict, Wish, best},
    repair::Class,
};

/// Longest reason in a table, in characters.
const REASON_MAX: usize = 100;

/// Plans, tells what it should cost, asks, and prints what was measured.
pub(super) async fn probe(it: &args::Probe, screen: &Screen, out: Out) -> Result<Code, Trouble> {
    let agent = it.agent.as_deref().map(start::agent).transpose()?;
    let settings = open::settings(&it.shared)?;
    let daemon = open::open_with(&settings)?;
    let stopper = Stopper::listen().context("cannot listen for signals")?;
    let wish = Wish {
        targets: it.targets.clone(),
        requests: it.requests,
        parallel: it.parallel,
        agent: agent.map(|(file, definition, dir)| AgentFile { file, definition, dir }),
        max_cost: it.max_cost,
    };
    let plan = daemon.plan_probe(&settings, wish).await?;
    for note in &plan.notes {
        screen.tell(format_args!("note: {}", escape(note, Form::Line)));
    }
    screen.tell(estimate(&plan));
    let stop = async {
        stopper.more_than(0).await;
    };
    let measured = daemon.probe(&plan, stop, &mut |tallies| screen.flying(progress(tallies, plan.requests))).await;
    screen.flying(String::new());
    match measured.left {
        Left::Done => {}
        Left::Stopped => screen.tell("stopped; this is what was measured until then"),
        Left::OutOfMoney => screen.tell("stopped: asking on could have cost more than --max-cost"),
    }
    match (it.shared.json, it.compare) {
        (true, compare) => out.document(&document(&measured, &plan, it.agent.as_deref(), compare))?,
        (false, true) => out.text(&side_by_side(&measured.tallies))?,
        (false, false) => {
            let each: Vec<String> = measured.tallies.iter().map(|tally| table(&[tally])).collect();
            out.text(&each.join("\n\n"))?;
        }
    }
    let answered = measured.tallies.iter().any(|tally| tally.answered > 0);
    Ok(match (measured.left, stopper.first()) {
        (Left::Stopped, Some(signal)) => Code::of_signal(signal),
        (Left::OutOfMoney, _) => Code::Exhausted,
        _ if answered => Code::Done,
        _ => Code::Provider,
    })
}

/// What all this should cost.
fn estimate(plan: &Plan) -> String {
    let (read, written) = plan.tokens;
    let each = plan.targets.iter().map(|target| {
        let cost = target.cost.map_or_else(|| "price unknown".to_owned(), |cost| cost.to_string());
        format!("{} {cost}", escape(&target.endpoint, Form::Line))
    });
    format!(
        "estimate: {} each, some {} tokens read and {} written: {}; thinking and asking again come on top",
        count(u64::from(plan.requests), "request"),
        grouped(read),
        grouped(written),
        each.collect::<Vec<_>>().join(", ")
    )
}

/// How far it is, on one line.
fn progress(tallies: &[Tally], requests: u32) -> String {
    let each = tallies.iter().map(|tally| {
        let (name, of) = (escape(&tally.target, Form::Line), tally.requests.min(u64::from(requests)));
        match &tally.stopped {
            Some(_) => format!("{name} asked no more"),
            None => format!("{name} {of}/{requests}, {} accepted", tally.accepted().1),
        }
    });
    each.collect::<Vec<_>>().join(" · ")
}

/// All targets in one table, and which is the best.
fn side_by_side(tallies: &[Tally]) -> String {
    let mut text = table(&tallies.iter().collect::<Vec<_>>());
    text.push_str("\n\n");
    match best(tallies) {
        Some(best) => text.push_str(&verdict(&best, tallies)),
        None => text.push_str("no target has made an accepted call"),
    }
    text
}

/// The best target, and whether its share of accepted calls differs from others' by more than chance.
fn verdict(best: &Best, tallies: &[Tally]) -> String {
    let name = |target: &str| escape(target, Form::Line).into_owned();
    let by = match best.by_cost {
        true => "the least cost per accepted call",
        false => "the largest share of accepted calls (costs are unknown, or there are none)",
    };
    let mut text = format!("best: {}, by {by}", name(&best.target));
    let share = |target: &str| {
        let tally = tallies.iter().find(|tally| tally.target == target);
        tally.map_or_else(|| UNKNOWN.to_owned(), |tally| percent(tally.accepted().1, tally.answered))
    };
    for other in &best.against {
        let points = |share: f64| format!("{:+.0}", share * 100.0);
        let chance = if other.is_certain() { "more than chance" } else { "may be chance" };
        text.push_str(&format!(
            "\n  accepted {} against {} of {}: {} points (95 %: {} to {}), {chance}",
            share(&best.target),
            share(&other.target),
            name(&other.target),
            points(other.difference),
            points(other.interval.0),
            points(other.interval.1),
        ));
    }
    text
}

/// A column a target, a line a figure. Where asking again has changed a figure, both are shown.
fn table(tallies: &[&Tally]) -> String {
    let classes: BTreeSet<&str> = tallies.iter().flat_map(|tally| tally.failed.keys().copied()).collect();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |label: &str, cell: &dyn Fn(&Tally) -> String| {
        rows.push(std::iter::once(label.to_owned()).chain(tallies.iter().map(|tally| cell(tally))).collect());
    };
    row("", &|tally| brief(&tally.target, REASON_MAX));
    row("requests", &|tally| tally.requests.to_string());
    row("answered", &|tally| tally.answered.to_string());
    row("used tools", &|tally| format!("{} ({})", tally.used_tools, percent(tally.used_tools, tally.answered)));
    row("accepted calls", &|tally| {
        let (first, last) = tally.accepted();
        let share = |accepted| percent(accepted, tally.answered);
        if first == last {
            format!("{first} ({})", share(first))
        } else {
            format!("{first} → {last} ({} → {})", share(first), share(last))
        }
    });
    for verdict in Verdict::ALL {
        let label = format!("  {}", verdict.as_str().replace('_', if verdict.is_accepted() { " " } else { "_" }));
        let of = move |verdicts: &BTreeMap<Verdict, u64>| verdicts.get(&verdict).copied().unwrap_or(0);
        row(&label, &|tally| moved(of(&tally.first), of(&tally.last)));
    }
    let mended: BTreeSet<Class> = tallies.iter().flat_map(|tally| tally.mended.keys().copied()).collect();
    if !mended.is_empty() {
        row("a run would mend", &|tally| tally.mended.values().sum::<u64>().to_string());
    }
    for class in mended {
        row(&format!("  {}", class.as_str()), &|tally| tally.mended.get(&class).copied().unwrap_or(0).to_string());
    }
    row("asked again", &|tally| tally.asked_again.to_string());
    row("failed attempts", &|tally| tally.failed.values().sum::<u64>().to_string());
    for class in classes {
        row(&format!("  {class}"), &|tally| tally.failed.get(class).copied().unwrap_or(0).to_string());
    }
    row("latency p50", &|tally| length(tally.latency.percentile(0.5)));
    row("latency p95", &|tally| length(tally.latency.percentile(0.95)));
    row("tokens/s", &|tally| tally.tokens_per_second().map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{rate:.0}")));
    row("tokens read", &|tally| grouped(tally.usage.input));
    row("tokens written", &|tally| grouped(tally.usage.output));
    row("cost", &|tally| cost(tally.cost(), tally.known_cost));
    row("cost per accepted call", &|tally| {
        tally.cost_per_accepted().map_or_else(|| UNKNOWN.to_owned(), |cost| cost.to_string())
    });
    let mut text = columns(&rows, &[0]);
    for tally in tallies {
        if let Some(why) = &tally.stopped {
            text.push_str(&format!(
                "\n{} was asked no more: {}",
                brief(&tally.target, REASON_MAX),
                brief(why, REASON_MAX)
            ));
        }
    }
    text
}

fn moved(first: u64, last: u64) -> String {
    if first == last { first.to_string() } else { format!("{first} → {last}") }
}

fn document(measured: &Measured, plan: &Plan, agent: Option<&str>, compare: bool) -> Value {
    let left = match measured.left {
        Left::Done => None,
        Left::Stopped => Some("interrupted"),
        Left::OutOfMoney => Some("max_cost"),
    };
    let mut document = json!({
        "requests": plan.requests,
        "tools": agent.unwrap_or("bundled"),
        "estimate": {
            "input_tokens": plan.tokens.0,
            "output_tokens": plan.tokens.1,
            "cost_usd": plan.targets.iter().map(|target| (target.endpoint.clone(), usd(target.cost))).collect::<Map<_, _>>(),
        },
        "stopped": left,
        "targets": measured.tallies.iter().map(figures).collect::<Vec<_>>(),
    });
    if compare {
        document["best"] = best(&measured.tallies).map_or(Value::Null, |best| {
            json!({
                "target": best.target,
                "by": if best.by_cost { "cost_per_accepted" } else { "accepted_share" },
                "against": best.against.iter().map(|other| json!({
                    "target": other.target,
                    "difference": other.difference,
                    "interval_95": [other.interval.0, other.interval.1],
                    "more_than_chance": other.is_certain(),
                })).collect::<Vec<_>>(),
            })
        });
    }
    document
}

fn figures(tally: &Tally) -> Value {
    let verdicts = |accepted: u64, counts: &BTreeMap<Verdict, u64>| {
        let each = Verdict::ALL.iter().map(|it| (it.as_str().to_owned(), counts.get(it).copied().unwrap_or(0).into()));
        let accepted = ("accepted".to_owned(), accepted.into());
        Value::Object(std::iter::once(accepted).chain(each).collect())
    };
    let (first, last) = tally.accepted();
    json!({
        "target": tally.target,
        "requests": tally.requests,
        "answered": tally.answered,
        "used_tools": tally.used_tools,
        "as_they_came": verdicts(first, &tally.first),
        "after_asking_again": verdicts(last, &tally.last),
        "asked_again": tally.asked_again,
        "mended": tally.mended.iter().map(|(class, count)| (class.as_str().to_owned(), json!(count))).collect::<Map<_, _>>(),
        "failed_attempts": tally.failed,
        "latency_ms": {"p50": ms(tally.latency.percentile(0.5)), "p95": ms(tally.latency.percentile(0.95))},
        "tokens_per_second": tally.tokens_per_second(),
        "usage": tokens(&tally.usage),
        "cost_usd": usd(tally.cost()),
        "cost_per_accepted_usd": usd(tally.cost_per_accepted()),
        "stopped": tally.stopped,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{chat::Usage, run::NanoDollars};

    fn tally(target: &str, right: u64, wrong: u64, mended: u64) -> Tally {
        let verdicts =
            |right, wrong| BTreeMap::from([(Verdict::Right, right), (Verdict::Wrong(Class::InvalidJson), wrong)]);
        let mut tally = Tally {
            target: target.to_owned(),
            requests: right + wrong + 1,
            answered: right + wrong,
            used_tools: right + wrong,
            first: verdicts(right, wrong),
            last: verdicts(right + mended, wrong - mended),
            asked_again: wrong,
            usage: Usage { input: 12_000, output: 900, ..Usage::default() },
            written: (900, Duration::from_secs(10)),
            known_cost: NanoDollars(20_000_000),
            failed: BTreeMap::from([("transient", 1)]),
            mended: BTreeMap::from([(Class::InvalidJson, mended)]),
            ..Tally::default()
        };
        tally.latency.add(Duration::from_secs(1));
        tally
    }

    #[test]
    fn targets_stand_side_by_side_with_the_best_below() {
        let mut down = Tally { target: "c/down\u{1b}[2J".to_owned(), requests: 5, ..Tally::default() };
        down.failed.insert("credential", 1);
        down.stopped = Some("HTTP 401: wrong key".to_owned());
        insta::assert_snapshot!(side_by_side(&[tally("a/good", 18, 2, 2), tally("b/poor", 8, 12, 4), down]));
    }

    #[test]
    fn progress_is_one_line() {
        let stopped = Tally { target: "b/m".to_owned(), stopped: Some("why".to_owned()), ..Tally::default() };
        assert_eq!(progress(&[tally("a/m", 3, 2, 1), stopped], 20), "a/m 6/20, 4 accepted · b/m asked no more");
    }
}
