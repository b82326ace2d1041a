//! `runs ls` and `runs show`: which runs there are, and the story of one.

use anstream::adapter::strip_str;

use crate::{
    daemon::{Daemon, Listed, Report, Shown},
    engine::{Clock, SystemClock},
    run::{CallRecord, End, Entry, Event, NanoDollars, Run, RunId, Status, Time, Wait},
    server::api,
};

use super::{
    drive::waits_for,
    exit::Trouble,
    figures::columns,
    out::Out,
    screen::Screen,
    seen,
    shown::{self, Amount},
    story::{Line, Mark, Story, since, tally},
    text::{Form, brief, duration, escape},
};

/// Shortest beginning of an id that is shown, in characters.
const PREFIX_MIN: usize = 8;

/// Longest name and reason in a table, in characters.
const CELL_MAX: usize = 40;

/// The columns in front of what a line tells; lines of a text stand behind as many.
const MARGIN: usize = 16;

/// Lists all runs, newest first.
pub(super) async fn ls(daemon: &Daemon, screen: &Screen, out: Out, json: bool) -> Result<(), Trouble> {
    let heads = daemon.runs().await?;
    if json {
        out.document(&api::Runs::new(&heads))?;
    } else if !heads.is_empty() {
        out.text(&table(&heads, SystemClock.now()))?;
    } else {
        screen.tell("there are no runs yet; agentd run starts one");
    }
    Ok(())
}

/// Tells the story of one run; `whole` with all that its models said.
pub(super) async fn show(daemon: &Daemon, id: RunId, out: Out, json: bool, whole: bool) -> Result<(), Trouble> {
    let Shown { run, entries, driver } = daemon.show(id).await?;
    let driven = driver.is_some();
    seen::remember(id, &run);
    if json {
        out.document(&api::Shown::new(id, &run, &entries, driven))?;
    } else {
        out.text(&story(id, &run, &entries, driven, whole))?;
    }
    Ok(())
}

fn table(heads: &[Listed], now: Time) -> String {
    let ids: Vec<String> = heads.iter().map(|head| head.run.to_string()).collect();
    let mut rows = vec![["RUN", "STATUS", "AGENT", "AGE", "COST", ""].map(str::to_owned).to_vec()];
    for (head, id) in heads.iter().zip(&ids) {
        let cost = head.columns.cost_nano.map(|cost| NanoDollars(cost).to_string());
        rows.push(vec![
            short(id, &ids).to_owned(),
            brief(&standing(head), CELL_MAX),
            brief(&head.columns.agent, CELL_MAX),
            duration(now.since(head.columns.created)),
            cost.unwrap_or_else(|| "?".to_owned()),
            head.damage.as_ref().map(|damage| brief(damage, 2 * CELL_MAX)).unwrap_or_default(),
        ]);
    }
    columns(&rows, &[0, 1, 2, 3, 4, 5])
}

/// What a run waits for tells more than that it waits, or that something else of it is in flight meanwhile.
fn standing(head: &Listed) -> String {
    let waits: Vec<&str> = head.waits().collect();
    match (head.status(), &waits[..]) {
        ("running" | "waiting", [_, ..]) => format!("waits for {}", waits.join(", ")),
        (status, _) => status.to_owned(),
    }
}

/// The shortest beginning of `id` that no other of `all` has.
fn short<'a>(id: &'a str, all: &[String]) -> &'a str {
    let common = |other: &String| other.bytes().zip(id.bytes()).take_while(|(a, b)| a == b).count();
    let shared = all.iter().filter(|other| *other != id).map(common).max().unwrap_or(0);
    let end = (shared + 1).max(PREFIX_MIN).min(id.len());
    id[..end].trim_end_matches('-')
}

fn story(id: RunId, run: &Run, entries: &[Entry], driven: bool, whole: bool) -> String {
    let mut teller = Story::whole(whole);
    let start = run.created();
    let status = Report::new(id, run).seen(driven).status;
    let mut text = format!("run {id} · {status} · started {}", moment(start));
    // The answer that ended the run stands whole at the end.
    let answered = |entry: &Entry| matches!(&entry.event, Event::ModelAnswered(it) if it.output.is_some());
    let done = matches!(run.end(), Some(End::Done { .. }));
    let last = done.then(|| entries.iter().rfind(|entry| answered(entry)).map(|entry| entry.index)).flatten();
    for entry in entries {
        for Line { mark, text: told, .. } in teller.tell(entry) {
            if mark == Mark::Said && Some(entry.index) == last {
                continue;
            }
            // Behind a margin, nothing that a model says looks like a line of ours.
            let told = told.replace('\n', &format!("\n{:MARGIN$}", ""));
            text.push_str(&format!("\n{:>5} {:>7} {} {told}", entry.index, since(entry.at, start), mark.as_char()));
        }
    }
    text.push_str(&format!("\n{}", tally(run)));
    // What somebody may decide about is shown whole, as whoever is asked at a terminal sees it.
    for call in run.calls().filter(|call| call.undecided() && run.end().is_none()) {
        text.push_str(&format!("\n{} waits for approval of {}:\n", call.id, brief(&called(call), CELL_MAX)));
        let amount = if whole { Amount::ALL } else { Amount::USUAL };
        let shown = shown::arguments(run, call, amount);
        text.push_str(&strip_str(&shown.text).to_string());
        if shown.hidden > 0 {
            text.push_str(&format!("\n  ({}; all of it: agentd runs show {id} -v)", shown.left_out()));
        }
    }
    let doubts = run.next().waiting.into_iter().filter(|wait| matches!(wait, Wait::Doubt(_)));
    for wait in doubts {
        text.push_str(&format!("\n{}", waits_for(run, id, &wait)));
    }
    match run.end() {
        Some(End::Done { output }) => text.push_str(&format!("\n\n{}", escape(output.trim_end(), Form::Text))),
        None if run.status() == Status::Running && !driven => {
            text.push_str(&format!("\nresume with: agentd resume {id}"))
        }
        _ => {}
    }
    text
}

/// The tool of a call.
fn called(call: &CallRecord) -> String {
    call.resolved.as_ref().map_or_else(|| call.written.name.clone(), |resolved| resolved.origin.to_string())
}

/// A moment in UTC, as RFC 3339 writes it.
fn moment(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::Columns;

    fn head(id: &str, status: &str, cost_nano: Option<u64>, damage: Option<&str>) -> Listed {
        let columns = Columns {
            status: status.to_owned(),
            agent: "tidy\u{1b}[2J".to_owned(),
            created: Time(1_000_000),
            updated: Time(1_500_000),
            cost_nano,
        };
        let damage = damage.map(Arc::from);
        Listed::parked(id.parse().unwrap(), columns, damage)
    }

    #[test]
    fn a_table_of_runs() {
        let heads = [
            head("0199c2d4-7f60-7a10-8000-0000000000a1", "done", Some(1_230_000_000), None),
            head("0199c2d4-7f60-7a10-8000-0000000000b2", "running", None, None),
            head("0199c2d5-0000-7a10-8000-000000000000", "done", Some(0), Some("the witness knows 9 entries")),
            head("0199c2d6-0000-7a10-8000-000000000000", "waiting approval doubt", Some(0), None),
        ];
        let expected = "\
RUN                                  STATUS                     AGENT          AGE    COST
0199c2d4-7f60-7a10-8000-0000000000a  done                       tidy\\u{1b}[2J  2h00m  $1.2300
0199c2d4-7f60-7a10-8000-0000000000b  interrupted                tidy\\u{1b}[2J  2h00m  ?
0199c2d5                             quarantined                tidy\\u{1b}[2J  2h00m  $0.0000  the witness knows 9 entries
0199c2d6                             waits for approval, doubt  tidy\\u{1b}[2J  2h00m  $0.0000";
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
