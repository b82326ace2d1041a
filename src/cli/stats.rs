//! `stats`: what production runs taught.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    args::{self, Section},
    exit::{Code, Trouble},
    figures::{columns, cost, length, ms, percent, tokens, usd},
    open::open,
    out::Out,
    text::{brief, count, duration, grouped},
};
use crate::{
    daemon::{
        Spread,
        stats::{Agent, Approvals, Calls, Model, NO_TOOL, Spent, Stats, Tool},
    },
    router::Standing,
    run::Time,
};

/// Rows of each table in the overview.
const ROWS_MAX: usize = 5;

/// Longest name and reason in a table, in characters.
const CELL_MAX: usize = 60;

/// Reads the store and prints what was asked for.
pub(super) async fn stats(it: &args::Stats, out: Out) -> Result<Code, Trouble> {
    let stats = open(&it.shared)?.stats(it.since, it.agent.as_deref()).await?;
    match it.shared.json {
        true => out.document(&document(&stats, it.of))?,
        false => out.text(&text(&stats, it.of))?,
    }
    Ok(Code::Done)
}

fn text(stats: &Stats, of: Option<Section>) -> String {
    let mut parts = Vec::new();
    match of {
        Some(section) => parts.push(columns(&with_head(section, rows(stats, section)), left(section))),
        None => {
            parts.push(summary(stats));
            for section in Section::ALL {
                let all = rows(stats, section);
                if all.is_empty() {
                    continue;
                }
                let more = all.len().saturating_sub(ROWS_MAX);
                let shown = all.into_iter().take(ROWS_MAX).collect();
                let mut table = columns(&with_head(section, shown), left(section));
                if more > 0 {
                    table.push_str(&format!("\nand {more} more: agentd stats {}", section.as_str()));
                }
                parts.push(table);
            }
        }
    }
    if !stats.damaged.is_empty() {
        let mut lines = vec![format!("not counted: {}", count(stats.damaged.len() as u64, "damaged run"))];
        lines.extend(stats.damaged.iter().map(|(run, why)| format!("  {run}: {}", brief(why, 2 * CELL_MAX))));
        parts.push(lines.join("\n"));
    }
    parts.join("\n\n")
}

fn summary(stats: &Stats) -> String {
    let all = total(stats);
    let since = stats.since.map_or(String::new(), |since| format!(" in the last {}", duration(stats.now.since(since))));
    let agent = stats.agent.as_ref().map_or(String::new(), |agent| format!(" of {}", brief(agent, CELL_MAX)));
    format!(
        "{}{agent}{since} · {} · {} tokens · {}",
        count(stats.runs, "run"),
        count(all.answers, "answer"),
        grouped(all.usage.total()),
        cost(all.cost(), all.known_cost)
    )
}

/// All days together.
fn total(stats: &Stats) -> Spent {
    let mut all = Spent::default();
    for day in stats.days.values() {
        all.answers += day.answers;
        all.usage += day.usage;
        all.known_cost.0 = all.known_cost.0.saturating_add(day.known_cost.0);
        all.unpriced += day.unpriced;
    }
    all
}

fn with_head(section: Section, rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    let head: &[&str] = match section {
        Section::Models => &[
            "MODEL", "ANSWERS", "FAILED", "CALLS", "VALID", "P50", "P95", "READ", "WRITTEN", "COST", "NOW", "FAULTS",
            "REPAIRS",
        ],
        Section::Tools => {
            &["TOOL", "CALLS", "VALID", "DENIED", "SENT", "ERRORS", "LOST", "P50", "P95", "FAULTS", "REPAIRS"]
        }
        Section::Approvals => &["TOOL", "ASKED", "ALLOWED", "EDITED", "DENIED", "P50", "P95", "BY"],
        Section::Agents => {
            &["AGENT", "RUNS", "P50", "P95", "ANSWERS", "FAILED", "CALLS", "READ", "WRITTEN", "COST", "ENDED BY"]
        }
        Section::Costs => &["DAY (UTC)", "ANSWERS", "READ", "CACHED", "WRITTEN", "COST"],
    };
    std::iter::once(head.iter().map(|cell| (*cell).to_owned()).collect()).chain(rows).collect()
}

/// The columns of words.
fn left(section: Section) -> &'static [usize] {
    match section {
        Section::Models => &[0, 10, 11, 12],
        Section::Tools => &[0, 9, 10],
        Section::Approvals => &[0, 7],
        Section::Agents => &[0, 1, 10],
        Section::Costs => &[0],
    }
}

/// The rows of a table, what was used most first; days, the newest first.
fn rows(stats: &Stats, section: Section) -> Vec<Vec<String>> {
    match section {
        Section::Models => models(stats).map(|(of, model)| model_row(of, model, stats)).collect(),
        Section::Tools => {
            let cells = |tool: &Tool, row: &mut Vec<String>| {
                let calls = &tool.calls;
                row.extend([calls.all().to_string(), percent(calls.valid, calls.all())]);
                row.extend([tool.denied, tool.started, tool.errors, tool.lost].map(|count| count.to_string()));
                row.extend(percentiles(&tool.latency));
                row.extend([faults(calls), repairs(calls)]);
            };
            named(&stats.tools, |tool| tool.calls.all(), cells)
        }
        Section::Approvals => {
            let cells = |it: &Approvals, row: &mut Vec<String>| {
                row.extend([it.asked, it.allowed, it.edited, it.denied].map(|count| count.to_string()));
                row.extend(percentiles(&it.waited));
                row.push(listed(&it.by));
            };
            named(&stats.approvals, |it| it.asked, cells)
        }
        Section::Agents => {
            let cells = |agent: &Agent, row: &mut Vec<String>| {
                let runs: Vec<String> = agent.runs.iter().map(|(status, count)| format!("{count} {status}")).collect();
                let spent = &agent.spent;
                row.push(runs.join(", "));
                row.extend(percentiles(&agent.length));
                row.extend([spent.answers, agent.failed, agent.started].map(|count| count.to_string()));
                row.extend([grouped(spent.usage.input), grouped(spent.usage.output)]);
                row.extend([cost(spent.cost(), spent.known_cost), listed(&agent.troubles)]);
            };
            named(&stats.agents, |agent| agent.runs.values().sum(), cells)
        }
        Section::Costs => {
            let row = |day: &str, spent: &Spent| {
                let tokens = [spent.usage.input, spent.usage.cached, spent.usage.output].map(grouped);
                let mut row = vec![day.to_owned(), spent.answers.to_string()];
                row.extend(tokens);
                row.push(cost(spent.cost(), spent.known_cost));
                row
            };
            let mut rows: Vec<_> = stats.days.iter().rev().map(|(day, spent)| row(day, spent)).collect();
            if rows.len() > 1 {
                rows.insert(0, row("all", &total(stats)));
            }
            rows
        }
    }
}

/// A row for each of these: its name, and what `cells` adds to that. Those with the most of `much` come first.
fn named<T>(
    all: &BTreeMap<String, T>,
    much: impl Fn(&T) -> u64,
    cells: impl Fn(&T, &mut Vec<String>),
) -> Vec<Vec<String>> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|(_, it)| std::cmp::Reverse(much(it)));
    let row = |(name, it): (&String, &T)| {
        let mut row = vec![brief(name, CELL_MAX)];
        cells(it, &mut row);
        row
    };
    all.into_iter().map(row).collect()
}

/// How long it took half of the time, and nearly always.
fn percentiles(of: &Spread) -> [String; 2] {
    [0.5, 0.95].map(|share| length(of.percentile(share)))
}

/// The same for machines.
fn percentiles_ms(of: &Spread) -> Value {
    json!({"p50": ms(of.percentile(0.5)), "p95": ms(of.percentile(0.95))})
}

/// The models that answered or failed, and those that the router remembers, what was used most first.
fn models(stats: &Stats) -> impl Iterator<Item = (&String, Option<&Model>)> {
    let mut models: Vec<_> = stats.models.iter().map(|(name, model)| (name, Some(model))).collect();
    models.extend(stats.memory.keys().filter(|name| !stats.models.contains_key(*name)).map(|name| (name, None)));
    models.sort_by_key(|(_, model)| std::cmp::Reverse(model.map(|model| model.spent.answers)));
    models.into_iter()
}

fn model_row(name: &str, model: Option<&Model>, stats: &Stats) -> Vec<String> {
    let none = Model::default();
    let standing = stats.memory.get(name);
    let model = model.unwrap_or(&none);
    let (spent, calls) = (&model.spent, &model.calls);
    let failed: u64 = model.failed.values().sum();
    let failures = model.failed.iter().map(|(class, count)| format!("{class} {count}"));
    let faults = failures.chain((!calls.rejected.is_empty()).then(|| faults(calls)));
    let mut row = vec![brief(name, CELL_MAX), spent.answers.to_string(), failed.to_string(), calls.all().to_string()];
    row.push(percent(calls.valid, calls.all()));
    row.extend(percentiles(&model.latency));
    row.extend([spent.usage.input, spent.usage.output].map(grouped));
    row.push(cost(spent.cost(), spent.known_cost));
    row.push(standing.map_or_else(|| "-".to_owned(), |standing| health(standing, stats.now)));
    row.push(faults.collect::<Vec<_>>().join(", "));
    row.push(repairs(calls));
    row
}

/// How an endpoint stands with the router now: whether it is asked, and the share of requests whose calls were right.
fn health(standing: &Standing, now: Time) -> String {
    let state = match (standing.ejected_until, standing.failures) {
        (Some(until), _) if until > now => format!("left alone for {}", duration(until.since(now))),
        (_, 0) => "ok".to_owned(),
        (_, failures) => format!("failed {}", count(u64::from(failures), "time")),
    };
    // Counts decay, so they are no whole numbers.
    let all = standing.good + standing.bad;
    if all < 0.5 { state } else { format!("{state}, {:.0} % right of {all:.0}", standing.good * 100.0 / all) }
}

/// Names and how often each was met.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let each = counts.iter().map(|(name, count)| format!("{} {count}", brief(name, CELL_MAX)));
    each.collect::<Vec<_>>().join(", ")
}

/// The faults of calls by class.
fn faults(calls: &Calls) -> String {
    let each = calls.rejected.iter().map(|(class, count)| format!("{} {count}", class.as_str()));
    each.collect::<Vec<_>>().join(", ")
}

/// How calls were mended.
fn repairs(calls: &Calls) -> String {
    let each = calls.repairs.iter().map(|((rung, kind), count)| brief(&format!("{rung}.{kind} {count}"), CELL_MAX));
    each.collect::<Vec<_>>().join(", ")
}

fn document(stats: &Stats, of: Option<Section>) -> Value {
    let mut document = json!({
        "since_ms": stats.since.map(|since| since.0),
        "agent": stats.agent,
        "runs": stats.runs,
        "damaged": stats.damaged.iter().map(|(run, why)| json!({"run": run.to_string(), "reason": why})).collect::<Vec<_>>(),
    });
    for section in Section::ALL.into_iter().filter(|section| of.is_none_or(|of| of == *section)) {
        document[section.as_str()] = match section {
            Section::Models => models(stats).map(|(name, model)| model_document(name, model, stats)).collect(),
            Section::Tools => {
                let tool = |(name, tool): (&String, &Tool)| {
                    json!({
                        "tool": (name != NO_TOOL).then_some(name),
                        "calls": calls(&tool.calls),
                        "denied": tool.denied,
                        "sent": tool.started,
                        "answered": tool.answered,
                        "errors": tool.errors,
                        "lost": tool.lost,
                        "latency_ms": percentiles_ms(&tool.latency),
                    })
                };
                stats.tools.iter().map(tool).collect()
            }
            Section::Approvals => {
                let approvals = |(tool, it): (&String, &Approvals)| {
                    json!({
                        "tool": (tool != NO_TOOL).then_some(tool),
                        "asked": it.asked,
                        "allowed": it.allowed,
                        "edited": it.edited,
                        "denied": it.denied,
                        "by": it.by,
                        "waited_ms": percentiles_ms(&it.waited),
                    })
                };
                stats.approvals.iter().map(approvals).collect()
            }
            Section::Agents => {
                let agent = |(name, agent): (&String, &Agent)| {
                    let mut it = json!({
                        "agent": name,
                        "runs": agent.runs,
                        "length_ms": percentiles_ms(&agent.length),
                        "ended_by": agent.troubles,
                        "failed_attempts": agent.failed,
                        "tool_calls": agent.started,
                    });
                    add(&mut it, spent(&agent.spent));
                    it
                };
                stats.agents.iter().map(agent).collect()
            }
            Section::Costs => {
                let day = |(day, used): (&String, &Spent)| {
                    let mut it = json!({"day": day});
                    add(&mut it, spent(used));
                    it
                };
                stats.days.iter().map(day).collect()
            }
        };
    }
    document
}

fn model_document(name: &str, model: Option<&Model>, stats: &Stats) -> Value {
    let none = Model::default();
    let model = model.unwrap_or(&none);
    let mut document = json!({
        "model": name,
        "failed_attempts": model.failed,
        "calls": calls(&model.calls),
        "latency_ms": percentiles_ms(&model.latency),
        "now": stats.memory.get(name).map(|standing| json!({
            "latency_ms": {
                "p50": ms(standing.latency.percentile(0.5, stats.now)),
                "p95": ms(standing.latency.percentile(0.95, stats.now)),
            },
            "failures": standing.failures,
            "ejected_until_ms": standing.ejected_until.filter(|until| *until > stats.now).map(|until| until.0),
            "tokens_per_second": standing.tokens_per_second,
            "good": standing.good,
            "bad": standing.bad,
        })),
    });
    add(&mut document, spent(&model.spent));
    document
}

fn calls(calls: &Calls) -> Value {
    let mut repairs = Map::new();
    for ((rung, kind), count) in &calls.repairs {
        let of_rung = repairs.entry(rung.clone()).or_insert_with(|| json!({}));
        of_rung[kind.as_str()] = (*count).into();
    }
    let rejected = calls.rejected.iter().map(|(class, count)| (class.as_str().to_owned(), (*count).into()));
    json!({
        "all": calls.all(),
        "valid": calls.valid,
        "repaired": calls.repaired,
        "repairs": repairs,
        "rejected": Value::Object(rejected.collect()),
    })
}

fn spent(spent: &Spent) -> Value {
    json!({
        "answers": spent.answers,
        "usage": tokens(&spent.usage),
        "cost_usd": usd(spent.cost()),
        "known_cost_usd": usd(Some(spent.known_cost)),
        "unpriced": spent.unpriced,
    })
}

fn add(document: &mut Value, more: Value) {
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{chat::Usage, repair::Class, run::NanoDollars};

    fn stats() -> Stats {
        let used = Spent {
            answers: 12,
            usage: Usage { input: 45_000, cached: 30_000, output: 2_000, ..Usage::default() },
            known_cost: NanoDollars(120_000_000),
            unpriced: 0,
        };
        let some_unpriced = Spent { unpriced: 2, ..used.clone() };
        let kind = |rung: &str, kind: &str| (rung.to_owned(), kind.to_owned());
        let calls = Calls {
            valid: 9,
            repaired: 2,
            repairs: BTreeMap::from([
                (kind("name", "name_spelling"), 1),
                (kind("syntax", "extra_comma"), 2),
                (kind("syntax", "quotes"), 1),
            ]),
            rejected: BTreeMap::from([(Class::InvalidJson, 1)]),
        };
        let mut model = Model { spent: used.clone(), calls: calls.clone(), ..Model::default() };
        model.failed.insert("rate_limited".to_owned(), 3);
        model.latency.add(Duration::from_secs(2));
        let mut tool = Tool { calls, denied: 1, started: 8, answered: 7, errors: 2, lost: 1, ..Tool::default() };
        tool.latency.add(Duration::from_millis(30));
        let unknown = Tool {
            calls: Calls { rejected: BTreeMap::from([(Class::UnknownName, 2)]), ..Calls::default() },
            ..Tool::default()
        };
        let mut agent = Agent {
            runs: BTreeMap::from([("done", 3), ("failed", 1)]),
            spent: some_unpriced.clone(),
            failed: 3,
            started: 8,
            troubles: BTreeMap::from([("calls_rejected".to_owned(), 1)]),
            ..Agent::default()
        };
        agent.length.add(Duration::from_secs(75));
        let by = BTreeMap::from([("expiry".to_owned(), 1), ("me@here".to_owned(), 2)]);
        let mut asked = Approvals { asked: 4, allowed: 1, edited: 1, denied: 1, by, ..Approvals::default() };
        asked.waited.add(Duration::from_secs(40));
        let now = Time(1_790_000_000_000);
        let (mut ejected, mut good) = (Standing::default(), Standing::default());
        (ejected.ejected_until, ejected.failures) = (Some(now.after(Duration::from_secs(90))), 3);
        (good.good, good.bad) = (19.2, 0.8);
        let days = (1..=7).map(|day| (format!("2026-11-0{day}"), used.clone()));
        Stats {
            since: Some(Time(now.0 - 7 * 86_400_000)),
            agent: None,
            now,
            runs: 4,
            damaged: vec![(
                "01991f3a-0000-7000-8000-000000000001".parse().unwrap(),
                "the witness knows 9 entries".to_owned(),
            )],
            models: BTreeMap::from([
                ("a/m".to_owned(), model),
                ("b/m".to_owned(), Model { spent: some_unpriced, ..Model::default() }),
            ]),
            tools: BTreeMap::from([("files.write".to_owned(), tool), (NO_TOOL.to_owned(), unknown)]),
            approvals: BTreeMap::from([("files.write".to_owned(), asked)]),
            agents: BTreeMap::from([("tidy".to_owned(), agent)]),
            days: days.collect(),
            memory: BTreeMap::from([("a/m".to_owned(), good), ("c/m".to_owned(), ejected)]),
        }
    }

    #[test]
    fn tables_of_everything() {
        let mut all = text(&stats(), None);
        for section in Section::ALL {
            all.push_str(&format!("\n\n# {}\n{}", section.as_str(), text(&stats(), Some(section))));
        }
        insta::assert_snapshot!(all);
    }

    #[test]
    fn one_document_with_what_was_asked_for() {
        insta::assert_json_snapshot!(document(&stats(), None));
        let costs = document(&stats(), Some(Section::Costs));
        let keys: Vec<&str> = costs.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["since_ms", "agent", "runs", "damaged", "costs"]);
    }

    #[test]
    fn nothing_is_shown_as_nothing() {
        assert_eq!(text(&Stats::default(), None), "0 runs · 0 answers · 0 tokens · $0.0000");
    }
}
