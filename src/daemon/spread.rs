//! Lengths of time by their size: percentiles over any number of them, in bounded memory.
//!
//! Kept is how many fell into each of some fourteen hundred steps between a microsecond and a month, each two percent
//! longer than the one below; a percentile is therefore right within one percent.

use std::{collections::BTreeMap, time::Duration};

/// How much longer a step is than the one below.
const STEP: f64 = 1.02;

/// Lengths of time, counted by their size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    counts: BTreeMap<u16, u64>,
    total: u64,
}

impl Spread {
    /// One more. What is shorter than a microsecond counts as one.
    pub fn add(&mut self, length: Duration) {
        let micros = (length.as_secs_f64() * 1e6).max(1.0);
        let step = (micros.ln() / STEP.ln()).round().min(f64::from(u16::MAX));
        *self.counts.entry(step as u16).or_default() += 1;
        self.total += 1;
    }

    /// The length that this share of all (0 to 1) does not exceed, by nearest rank; `None` when there are none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let step = self.counts.iter().find_map(|(step, count)| {
            seen += count;
            (seen >= rank).then_some(*step)
        })?;
        Duration::try_from_secs_f64(STEP.powi(i32::from(step)) / 1e6).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_within_a_percent() {
        let mut spread = Spread::default();
        assert_eq!(spread.percentile(0.5), None);
        for ms in 1..=1000 {
            spread.add(Duration::from_millis(ms));
        }
        for (share, expected) in [(0.0, 0.001), (0.5, 0.5), (0.95, 0.95), (1.0, 1.0)] {
            let found = spread.percentile(share).unwrap().as_secs_f64();
            assert!((found / expected - 1.0).abs() < 0.011, "{share}: {found}");
        }
        let mut one = Spread::default();
        one.add(Duration::ZERO);
        one.add(Duration::MAX);
        assert_eq!(one.percentile(0.5), Some(Duration::from_micros(1)));
        assert!(one.percentile(1.0).is_none_or(|length| length > Duration::from_secs(3600)));
    }
}
