//! `runs ls` and `runs show`: which runs there are, and the story of one.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    daemon::{Daemon, Report},
    engine::{Clock, SystemClock},
    journal::v1,
    run::{Entry, NanoDollars, Run, RunId, Status, Time},
    store::Head,
};

use super::{
    exit::Trouble,
    out::Out,
    story::{Line, Story, since, tally},
    text::{brief, duration},
};

/// Shortest beginning of an id that is shown, in characters.
const PREFIX_MIN: usize = 8;

/// Longest name and reason in a table, in characters.
const CELL_MAX: usize = 40;

/// Lists all runs, newest first.
pub(super) async fn ls(daemon: &Daemon, out: Out, json: bool) -> Result<(), Trouble> {
    let heads = daemon.runs().await?;
    if json {
        let runs: Vec<Row<'_>> = heads.iter().map(Row::new).collect();
        out.document(&serde_json::json!({ "runs": runs }))?;
    } else if !heads.is_empty() {
        out.text(&table(&heads, SystemClock.now()))?;
    }
    Ok(())
}

/// Tells the story of one run.
pub(super) async fn show(daemon: &Daemon, id: RunId, out: Out, json: bool) -> Result<(), Trouble> {
    let (run, entries) = daemon.show(id).await?;
    if json {
        let entries = entries.iter().map(|entry| RawValue::from_string(v1::line(entry)));
        let entries = entries.collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::from)?;
        let mut document = serde_json::to_value(Report::new(id, &run)).map_err(anyhow::Error::from)?;
        if let Some(document) = document.as_object_mut() {
            document.insert("entries".to_owned(), serde_json::to_value(entries).map_err(anyhow::Error::from)?);
        }
        out.document(&document)?;
    } else {
        out.text(&story(id, &run, &entries))?;
    }
    Ok(())
}

/// A run in a list.
#[derive(Serialize)]
struct Row<'a> {
    run: String,
    status: &'a str,
    agent: &'a str,
    created_ms: i64,
    updated_ms: i64,
    cost_usd: Option<f64>,
    /// Why it is quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(head: &'a Head) -> Self {
        Row {
            run: head.run.to_string(),
            status: status(head),
            agent: &head.columns.agent,
            created_ms: head.columns.created.0,
            updated_ms: head.columns.updated.0,
            cost_usd: head.columns.cost_nano.map(|cost| cost as f64 / 1e9),
            damage: head.damage.as_deref(),
        }
    }
}

/// The status to show: since we hold the store, a run that is running has lost its owner.
fn status(head: &Head) -> &str {
    match Status::parse(&head.columns.status) {
        _ if head.damage.is_some() => Status::Quarantined.as_str(),
        Some(Status::Running) => "interrupted",
        Some(status) => status.as_str(),
        None => &head.columns.status,
    }
}

fn table(heads: &[Head], now: Time) -> String {
    let ids: Vec<String> = heads.iter().map(|head| head.run.to_string()).collect();
    let mut rows = vec![["RUN", "STATUS", "AGENT", "AGE", "COST", ""].map(str::to_owned)];
    for (head, id) in heads.iter().zip(&ids) {
        let cost = head.columns.cost_nano.map(|cost| NanoDollars(cost).to_string());
        rows.push([
            short(id, &ids).to_owned(),
            brief(status(head), CELL_MAX),
            brief(&head.columns.agent, CELL_MAX),
            duration(now.since(head.columns.created)),
            cost.unwrap_or_else(|| "?".to_owned()),
            head.damage.as_ref().map(|damage| brief(damage, 2 * CELL_MAX)).unwrap_or_default(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4, 5].map(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The shortest beginning of `id` that no other of `all` has.
fn short<'a>(id: &'a str, all: &[String]) -> &'a str {
    let common = |other: &String| other.bytes().zip(id.bytes()).take_while(|(a, b)| a == b).count();
    let shared = all.iter().filter(|other| *other != id).map(common).max().unwrap_or(0);
    let end = (shared + 1).max(PREFIX_MIN).min(id.len());
    id[..end].trim_end_matches('-')
}

fn story(id: RunId, run: &Run, entries: &[Entry]) -> String {
    let mut teller = Story::default();
    let start = run.created();
    let mut text = format!("run {id} · {} · started {}", run.status().as_str(), moment(start));
    for entry in entries {
        for Line { mark, text: told, .. } in teller.tell(entry) {
            text.push_str(&format!("\n{:>5} {:>7} {} {told}", entry.index, since(entry.at, start), mark.as_char()));
        }
    }
    text.push_str(&format!("\n{}", tally(run)));
    text
}

/// A moment in UTC, as RFC 3339 writes it.
fn moment(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Chain, Columns};

    fn head(id: &str, status: &str, cost_nano: Option<u64>, damage: Option<&str>) -> Head {
        let columns = Columns {
            status: status.to_owned(),
            agent: "tidy\u{1b}[2J".to_owned(),
            created: Time(1_000_000),
            updated: Time(1_500_000),
            cost_nano,
        };
        let damage = damage.map(Arc::from);
        Head { run: id.parse().unwrap(), epoch: 1, length: 9, chain: Chain::default(), damage, columns }
    }

    #[test]
    fn a_table_of_runs() {
        let heads = [
            head("0199c2d4-7f60-7a10-8000-0000000000a1", "done", Some(1_230_000_000), None),
            head("0199c2d4-7f60-7a10-8000-0000000000b2", "running", None, None),
            head("0199c2d5-0000-7a10-8000-000000000000", "done", Some(0), Some("the witness knows 9 entries")),
        ];
        let expected = "\
RUN                                  STATUS       AGENT          AGE    COST
0199c2d4-7f60-7a10-8000-0000000000a  done         tidy\\u{1b}[2J  2h00m  $1.2300
0199c2d4-7f60-7a10-8000-0000000000b  interrupted  tidy\\u{1b}[2J  2h00m  ?
0199c2d5                             quarantined  tidy\\u{1b}[2J  2h00m  $0.0000  the witness knows 9 entries";
        assert_eq!(table(&heads, Time(1_000_000 + 7_200_000)), expected);
    }

    #[test]
    fn short_ids_name_one_run() {
        let all = ["0199c2d4-7f60", "0199c2d4-7f61", "0199c2d5-0000"].map(str::to_owned);
        assert_eq!(short(&all[0], &all), "0199c2d4-7f60");
        assert_eq!(short(&all[2], &all), "0199c2d5");
        assert_eq!(short("0199c2d4-7f60", &["0199c2d4-7f60".to_owned()]), "0199c2d4");
        assert_eq!(short("0199c2d4-7f60", &["0199c2d4-7f60".to_owned(), "0199c2d4-8000".to_owned()]), "0199c2d4-7");
    }
}
