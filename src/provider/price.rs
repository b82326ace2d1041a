//! What tokens cost: exact arithmetic in whole nano-dollars.
//!
//! Prices are kept as vendors tell them, per million tokens, so that no price needs a fraction: $0.0125 per million are
//! 12.5 nano-dollars a token, but 12,500,000 for the million. Always true:
//! - Nothing is guessed: a usage that contradicts itself, or a sum beyond 64 bits, has no cost.
//! - The sum is rounded once, at the end and up, so that a budget is never overdrawn by rounding; the error is below one
//!   nano-dollar an answer.
//!
//! Left out on purpose: batch, flex and priority rates, audio rates and the storage of caches, which no request of ours asks for.

use crate::{
    chat::Usage,
    run::NanoDollars,
    yaml::{Faults, Fields, Node},
};

/// What prices are told for.
const MILLION: u128 = 1_000_000;

/// The price of a model's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// What holds unless [`above`](Price::above) does.
    pub rates: Rates,
    /// What holds for the whole of a long request; `None` when length does not matter.
    pub above: Option<Above>,
}

/// The price of a million tokens of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Tokens read that have nothing to do with a cache.
    pub input: NanoDollars,
    /// Tokens read from a cache; `None` when they cost what others cost.
    pub cached: Option<NanoDollars>,
    /// Tokens written to a cache; `None` when they cost what others cost.
    pub cache_write: Option<NanoDollars>,
    /// Tokens written, those of reasoning included.
    pub output: NanoDollars,
}

/// Other rates for requests that read more than so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Above {
    /// The most tokens read that do not count as more.
    pub tokens: u64,
    /// What holds then, for all tokens of the request.
    pub rates: Rates,
}

impl Price {
    /// What holds for a request that reads so many tokens.
    pub fn at(&self, tokens: u64) -> &Rates {
        match &self.above {
            Some(above) if tokens > above.tokens => &above.rates,
            _ => &self.rates,
        }
    }

    /// What an answer with this usage costs; `None` when the usage contradicts itself (more cached than read) or the sum
    /// is beyond any bill.
    pub fn cost(&self, usage: &Usage) -> Option<NanoDollars> {
        let rates = self.at(usage.input);
        // `input` is all that was read, whatever the vendor's own words for it are.
        let fresh = usage.input.checked_sub(usage.cached.checked_add(usage.cache_write)?)?;
        let kinds = [
            (fresh, rates.input),
            (usage.cached, rates.cached.unwrap_or(rates.input)),
            (usage.cache_write, rates.cache_write.unwrap_or(rates.input)),
            (usage.output, rates.output),
        ];
        let sum = kinds.into_iter().try_fold(0u128, |sum, (tokens, rate)| {
            sum.checked_add(u128::from(tokens).checked_mul(u128::from(rate.0))?)
        })?;
        u64::try_from(sum.div_ceil(MILLION)).ok().map(NanoDollars)
    }

    /// Reads a price: `{input, cached, cache_write, output}` in US dollars per million tokens, and for long requests
    /// `above: {tokens, input, …}`. What is wrong with it is noted.
    pub fn read(faults: &mut Faults, node: &Node) -> Option<Self> {
        let fields = faults.fields(node, &["input", "cached", "cache_write", "output", "above"]);
        let rates = Rates::read(faults, &fields);
        let above = match fields.get("above") {
            None => None,
            Some(node) => {
                let fields = faults.fields(node, &["tokens", "input", "cached", "cache_write", "output"]);
                let rates = Rates::read(faults, &fields);
                let tokens = faults.required(&fields, "tokens").and_then(|node| faults.whole(node, 1..=u64::MAX));
                Some(Above { tokens: tokens?, rates: rates? })
            }
        };
        Some(Price { rates: rates?, above })
    }
}

impl Rates {
    fn read(faults: &mut Faults, fields: &Fields<'_>) -> Option<Self> {
        let needed = |faults: &mut Faults, key| faults.required(fields, key).and_then(|node| faults.dollars(node));
        let (input, output) = (needed(faults, "input"), needed(faults, "output"));
        let mut other = |key| fields.get(key).and_then(|node| faults.dollars(node));
        let (cached, cache_write) = (other("cached"), other("cache_write"));
        Some(Rates { input: input?, cached, cache_write, output: output? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Document;

    fn price(text: &str) -> Result<Price, String> {
        let (document, mut faults) = Document::parse("price.yaml", text).map_err(|problems| problems.to_string())?;
        let price = Price::read(&mut faults, document.root());
        document.finish(price, faults).map_err(|problems| problems.to_string())
    }

    #[test]
    fn costs_are_exact() {
        const SONNET: &str = "{input: 3, cached: 0.30, cache_write: 3.75, output: 15}";
        const PRO: &str =
            "{input: 1.25, cached: 0.125, output: 10, above: {tokens: 200000, input: 2.5, cached: 0.25, output: 15}}";
        let usage = |input, cached, cache_write, output| Usage { input, cached, cache_write, output, reasoning: 0 };
        let table: &[(&str, Usage, Option<u64>)] = &[
            ("{input: 2, output: 10}", usage(0, 0, 0, 0), Some(0)),
            ("{input: 2, output: 10}", usage(1_000_000, 0, 0, 1_000_000), Some(12_000_000_000)),
            ("{input: 0, output: 0}", usage(u64::MAX, 7, 7, u64::MAX), Some(0)),
            // Without prices of their own, cached tokens and cache writes cost what others cost.
            ("{input: 2, output: 10}", usage(1000, 400, 300, 0), Some(2_000_000)),
            // Half a nano-dollar and less is rounded up, once.
            ("{input: 0.0005, output: 0}", usage(1, 0, 0, 0), Some(1)),
            ("{input: 0.000001, output: 0.000001}", usage(1, 0, 0, 1), Some(1)),
            ("{input: 0.0005, output: 0.0005}", usage(1, 0, 0, 1), Some(1)),
            ("{input: 0.000000001, output: 0}", usage(1_000_001, 0, 0, 0), Some(2)),
            // The same request told as OpenAI tells it (100 000 read, 90 000 of them cached) and as Anthropic does (10 000,
            // and 90 000 cached beside them, which its dialect adds up): counted once, it is $0.057; counted twice, $0.327.
            (SONNET, usage(100_000, 90_000, 0, 0), Some(57_000_000)),
            (SONNET, usage(100_000, 0, 90_000, 100), Some(30_000_000 + 337_500_000 + 1_500_000)),
            // Longer requests cost more, from the first token on.
            (PRO, usage(200_000, 0, 0, 1000), Some(250_000_000 + 10_000_000)),
            (PRO, usage(200_001, 0, 0, 1000), Some(500_002_500 + 15_000_000)),
            (PRO, usage(300_000, 200_000, 0, 0), Some(250_000_000 + 50_000_000)),
            // What cannot be is not priced.
            (SONNET, usage(10, 11, 0, 0), None),
            (SONNET, usage(10, 6, 6, 0), None),
            (SONNET, usage(u64::MAX, u64::MAX, 1, 0), None),
            (SONNET, usage(u64::MAX, 0, 0, u64::MAX), None),
        ];
        for (text, usage, expected) in table {
            assert_eq!(price(text).unwrap().cost(usage), expected.map(NanoDollars), "{text} {usage:?}");
        }
    }

    #[test]
    fn reasoning_is_part_of_the_output() {
        let price = price("{input: 1, output: 10}").unwrap();
        let usage = Usage { input: 10, output: 100, reasoning: 90, ..Usage::default() };
        assert_eq!(price.cost(&usage), Some(NanoDollars(10_000 + 1_000_000)));
    }

    #[test]
    fn wrong_prices_are_told() {
        for (text, expected) in [
            ("{output: 1}", "\"input\" is missing"),
            ("{input: 1}", "\"output\" is missing"),
            ("{input: -1, output: 1}", "an amount in dollars"),
            ("{input: 1e3, output: 1}", "an amount in dollars"),
            ("{input: cheap, output: 1}", "an amount in dollars"),
            ("{input: 1, output: 1, cache: 1}", "did you mean \"cached\""),
            ("{input: 1, output: 1, above: {input: 2, output: 2}}", "\"tokens\" is missing"),
            ("{input: 1, output: 1, above: {tokens: 9}}", "\"input\" is missing"),
        ] {
            let problems = price(text).unwrap_err();
            assert!(problems.contains(expected) && problems.starts_with("price.yaml:1:"), "{text}: {problems}");
        }
        assert_eq!(price("{input: $1.50, output: 2}").unwrap().rates.input, NanoDollars(1_500_000_000));
    }
}
