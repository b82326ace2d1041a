//! The table that is printed: Markdown, one row a budget.

use std::fmt;

use super::rounds::Compared;

/// A table.
pub struct Table {
    command: &'static str,
    rows: Vec<Row>,
}

impl Table {
    /// An empty table, made by this command.
    pub fn new(command: &'static str) -> Self {
        Table { command, rows: Vec::new() }
    }

    /// Adds a row, and shows it at once to whoever waits.
    pub fn add(&mut self, row: Row) {
        eprintln!("{row}");
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`\n", self.command)?;
        writeln!(f, "| what | baseline | agentd | figure | budget | held |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

/// A row.
pub struct Row {
    what: String,
    base: String,
    ours: String,
    figure: String,
    budget: String,
    /// `None` without a budget.
    held: Option<bool>,
}

impl Row {
    /// A cost as a multiple of the baseline's.
    pub fn ratio(what: impl Into<String>, unit: &str, compared: Compared, budget: Option<f64>) -> Self {
        let Compared { base, ours, ratio, .. } = compared;
        Row {
            what: what.into(),
            base: number(base, unit),
            ours: number(ours, unit),
            figure: format!("{ratio:.2}×"),
            budget: budget.map(|most| format!("≤ {most:.1}×")).unwrap_or_default(),
            held: budget.map(|most| ratio <= most),
        }
    }

    /// A cost above the baseline's.
    pub fn more(what: impl Into<String>, unit: &str, compared: Compared, budget: Option<f64>) -> Self {
        Row {
            figure: format!("+{}", number(compared.difference, unit)).replace("+-", "-"),
            budget: budget.map(|most| format!("≤ +{most} {unit}")).unwrap_or_default(),
            held: budget.map(|most| compared.difference <= most),
            ..Row::ratio(what, unit, compared, None)
        }
    }

    /// Bytes against bytes.
    pub fn bytes(what: impl Into<String>, base: usize, ours: usize, budget: Option<f64>) -> Self {
        let (base, ours) = (base as f64, ours as f64);
        Row::ratio(what, "B", Compared { base, ours, ratio: ours / base, difference: ours - base }, budget)
    }

    /// A figure of ours alone that must not be higher.
    pub fn most(what: impl Into<String>, unit: &str, figure: f64, budget: Option<f64>) -> Self {
        Row {
            what: what.into(),
            base: String::new(),
            ours: String::new(),
            figure: number(figure, unit),
            budget: budget.map(|most| format!("≤ {most} {unit}")).unwrap_or_default(),
            held: budget.map(|most| figure <= most),
        }
    }

    /// A multiple that must not be lower.
    pub fn least(what: impl Into<String>, figure: f64, least: f64) -> Self {
        let budget = format!("≥ {least}×");
        Row {
            figure: format!("{figure:.1}×"),
            budget,
            held: Some(figure >= least),
            ..Row::most(what, "", figure, None)
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { what, base, ours, figure, budget, held } = self;
        let held = match held {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        write!(f, "| {what} | {base} | {ours} | {figure} | {budget} | {held} |")
    }
}

/// Three digits that count, or all before the point.
fn number(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}
