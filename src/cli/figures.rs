//! Figures for people and machines, alike in all commands that show some: tables, shares, costs, latencies, tokens.

use std::time::Duration;

use serde_json::{Value, json};

use super::text::{duration, width};
use crate::{chat::Usage, run::NanoDollars};

/// What stands for something unknown.
pub(super) const UNKNOWN: &str = "?";

/// Rows of cells in columns as wide as their widest cell; those of `left` begin at the left, the others end at the right.
pub(super) fn columns(rows: &[Vec<String>], left: &[usize]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, widest))| {
            let space = " ".repeat(widest.saturating_sub(width(cell)));
            if left.contains(&column) { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A share in whole percent; nothing of nothing is unknown.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match whole {
        0 => UNKNOWN.to_owned(),
        whole => format!("{:.0} %", part as f64 * 100.0 / whole as f64),
    }
}

/// A cost; with what is known of it when the whole is not.
pub(super) fn cost(whole: Option<NanoDollars>, known: NanoDollars) -> String {
    match whole {
        Some(cost) => cost.to_string(),
        None if known == NanoDollars(0) => UNKNOWN.to_owned(),
        None => format!("{known} + {UNKNOWN}"),
    }
}

/// A length of time that may be unknown.
pub(super) fn length(length: Option<Duration>) -> String {
    length.map_or_else(|| UNKNOWN.to_owned(), duration)
}

/// US dollars as a number; null when unknown.
pub(super) fn usd(amount: Option<NanoDollars>) -> Value {
    amount.map_or(Value::Null, |amount| json!(amount.0 as f64 / 1e9))
}

/// A latency in milliseconds to three places; null when unknown.
pub(super) fn ms(length: Option<Duration>) -> Value {
    length.map_or(Value::Null, |length| json!((length.as_secs_f64() * 1e6).round() / 1e3))
}

/// Tokens, as in the document of a run.
pub(super) fn tokens(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [row(&["NAME", "N", "WHY"]), row(&["ü", "12", ""]), row(&["漢字", "3"]), row(&["longer", "1"])];
        assert_eq!(columns(&rows, &[0, 2]), "NAME     N  WHY\nü       12\n漢字     3\nlonger   1");
        assert_eq!([percent(1, 3), percent(2, 2), percent(0, 0)], ["33 %", "100 %", "?"]);
        let dollars = NanoDollars(1_500_000_000);
        let costs = [cost(Some(dollars), dollars), cost(None, dollars), cost(None, NanoDollars(0))];
        assert_eq!(costs, ["$1.5000", "$1.5000 + ?", "?"]);
        assert_eq!((usd(Some(dollars)), usd(None)), (json!(1.5), Value::Null));
        assert_eq!((ms(Some(Duration::from_micros(1_234_567))), ms(None)), (json!(1234.567), Value::Null));
    }
}
