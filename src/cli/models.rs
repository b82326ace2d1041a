//! `models`: which models could be asked now, and why others could not.

use serde_json::{Value, json};

use crate::{
    daemon::models::{self, Known, Listing},
    provider::Rates,
    run::NanoDollars,
};

use super::{
    args,
    exit::{Code, Trouble},
    open,
    out::Out,
    text::brief,
};

/// Longest name in the table, in characters.
const NAME_MAX: usize = 60;

/// Lists all providers and their models.
pub(super) async fn models(it: &args::Models, out: Out) -> Result<Code, Trouble> {
    let listings = models::list(&open::settings(&it.shared)?).await?;
    if it.shared.json {
        out.document(&json!({"providers": listings.iter().map(document).collect::<Vec<_>>()}))?;
    } else {
        out.text(&table(&listings))?;
    }
    Ok(Code::Done)
}

fn document(listing: &Listing) -> Value {
    json!({
        "provider": listing.provider,
        "title": listing.title,
        "dialect": listing.dialect,
        "usable": listing.obstacle.is_none(),
        "why_not": listing.obstacle.as_ref().map(ToString::to_string),
        "models": listing.models.iter().map(|known| json!({
            "model": format!("{}/{}", listing.provider, known.name),
            "window_tokens": known.window,
            "output_tokens_max": known.output,
            "usd_per_million": known.price.as_ref().map(|price| {
                let mut rates = rates(&price.rates);
                if let (Some(above), Some(members)) = (&price.above, rates.as_object_mut()) {
                    members.insert("above".to_owned(), json!({"tokens": above.tokens, "rates": self::rates(&above.rates)}));
                }
                rates
            }),
            "source": known.source.as_ref().map(|source| &source.from),
            "date": known.source.as_ref().map(|source| &source.date),
        })).collect::<Vec<_>>(),
    })
}

fn rates(rates: &Rates) -> Value {
    let usd = |amount: NanoDollars| amount.0 as f64 / 1e9;
    json!({
        "input": usd(rates.input),
        "cached": rates.cached.map(usd),
        "cache_write": rates.cache_write.map(usd),
        "output": usd(rates.output),
    })
}

/// A block a provider: its name and whether it can be asked, then its models.
fn table(listings: &[Listing]) -> String {
    let head = ["", "WINDOW", "OUTPUT", "$/M IN", "CACHED", "WRITE", "OUT", "READ ON"].map(str::to_owned);
    let rows: Vec<Vec<[String; 8]>> = listings.iter().map(|listing| listing.models.iter().map(row).collect()).collect();
    let width = |column: usize| {
        let all = rows.iter().flatten().chain([&head]);
        all.map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            // Names and days from the left, numbers from the right.
            0 | 7 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    let mut lines = vec![line(&head)];
    for (listing, rows) in listings.iter().zip(&rows) {
        let state = listing.obstacle.as_ref().map_or("usable".to_owned(), |why| brief(&why.to_string(), 2 * NAME_MAX));
        let title = listing.title.as_deref().map_or(String::new(), |title| format!(" ({title})"));
        lines.push(format!("{}{title}: {state}", listing.provider));
        lines.extend(rows.iter().map(line));
    }
    lines.join("\n")
}

fn row(known: &Known) -> [String; 8] {
    let count = |count: Option<u64>| count.map_or("?".to_owned(), |count| count.to_string());
    let rates = known.price.as_ref().map(|price| price.rates);
    let dollars = |amount: Option<Option<NanoDollars>>| match amount {
        None => "?".to_owned(),
        Some(None) => "-".to_owned(),
        Some(Some(amount)) => exact(amount),
    };
    // The higher price of long requests is in the document only.
    let more = known.price.as_ref().is_some_and(|price| price.above.is_some());
    let from = |text: String| if more { format!("{text}+") } else { text };
    let read = match (&known.source, &known.price) {
        (Some(source), _) => source.date.clone(),
        (None, Some(_)) => "settings".to_owned(),
        (None, None) => String::new(),
    };
    [
        brief(&known.name, NAME_MAX),
        count(known.window),
        count(known.output),
        from(dollars(rates.map(|rates| Some(rates.input)))),
        dollars(rates.map(|rates| rates.cached)),
        dollars(rates.map(|rates| rates.cache_write)),
        from(dollars(rates.map(|rates| Some(rates.output)))),
        read,
    ]
}

/// Dollars with as many places as there are, at least two.
fn exact(amount: NanoDollars) -> String {
    let places = format!("{:09}", amount.0 % 1_000_000_000);
    let places = places.trim_end_matches('0');
    format!("{}.{places:0<2}", amount.0 / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::{models::Obstacle, settings::Unready},
        provider::{Above, Price, catalogue::Source},
    };

    #[test]
    fn a_table_of_models() {
        let rates = Rates {
            input: NanoDollars(1_250_000_000),
            cached: Some(NanoDollars(12_500_000)),
            cache_write: None,
            output: NanoDollars(10_000_000_000),
        };
        let known = |name: &str, price| Known {
            name: name.to_owned(),
            window: Some(400_000),
            output: None,
            price,
            source: None,
        };
        let source = Source { from: "https://x".to_owned(), date: "2026-11-21".to_owned() };
        let above = Some(Above { tokens: 272_000, rates });
        let listing = |provider: &str, obstacle, models| Listing {
            provider: provider.to_owned(),
            title: Some(provider.to_uppercase()),
            dialect: "openai-chat",
            obstacle,
            models,
        };
        let listings = [
            listing(
                "a",
                None,
                vec![
                    Known { source: Some(source), ..known("big", Some(Price { rates, above })) },
                    known("own", Some(Price { rates, above: None })),
                    known("dark\u{1b}[2J", None),
                ],
            ),
            listing(
                "b",
                Some(Obstacle::Unready(Unready::Unset(vec!["B_KEY".to_owned(), "B_REGION".to_owned()]))),
                vec![],
            ),
            listing("c", Some(Obstacle::Silent("127.0.0.1:1".to_owned())), vec![]),
        ];
        let expected = "
                 WINDOW  OUTPUT  $/M IN  CACHED  WRITE     OUT  READ ON
a (A): usable
  big            400000       ?   1.25+  0.0125      -  10.00+  2026-11-21
  own            400000       ?    1.25  0.0125      -   10.00  settings
  dark\\u{1b}[2J  400000       ?       ?       ?      ?       ?
b (B): set B_KEY and B_REGION
c (C): nothing listens on 127.0.0.1:1";
        assert_eq!(format!("\n{}", table(&listings)), expected);
    }

    #[test]
    fn prices_are_exact() {
        for (nano, expected) in [(0, "0.00"), (1_250_000_000, "1.25"), (12_500_000, "0.0125"), (3_000_000_000, "3.00")]
        {
            assert_eq!(exact(NanoDollars(nano)), expected);
        }
    }
}
