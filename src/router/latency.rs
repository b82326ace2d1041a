//! How long answers took: percentiles from a small histogram that forgets.
//!
//! Buckets grow by a fifth, so a percentile is off by a tenth at most; an answer is forgotten by half after some thirty
//! newer ones, and after [`HALF_LIFE`] without any. Always true: at most [`BUCKETS`] buckets, whatever is put in.
//!
//! Crates for histograms forget nothing, and `hdrhistogram` takes some kilobytes for each.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::memory::moment;
use crate::run::Time;

/// Buckets in a doubling.
const STEPS: f64 = 4.0;

/// Most buckets: from a millisecond to eighteen minutes, beyond every timeout.
const BUCKETS: u8 = 80;

/// What is left of the weight of an answer when a newer one comes.
const KEPT: f64 = 0.98;

/// In which answers lose half their weight, whether newer ones come or not.
const HALF_LIFE: Duration = Duration::from_secs(3600);

/// With less weight than this nothing is known: an endpoint that was slow hours ago is to be measured again.
const WEIGHT_MIN: f64 = 0.5;

/// How long the answers of an endpoint took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Weight of the answers by bucket.
    buckets: BTreeMap<u8, f64>,
    #[serde(with = "moment")]
    at: Option<Time>,
}

impl Latency {
    /// Takes in how long an answer took.
    pub(super) fn took(&mut self, latency: Duration, now: Time) {
        let kept = KEPT * self.left(now);
        self.buckets.retain(|_, weight| {
            *weight *= kept;
            *weight > 0.001
        });
        self.at = Some(now);
        let place = (latency.as_secs_f64() * 1000.0).max(1.0).log2() * STEPS;
        *self.buckets.entry((place as u8).min(BUCKETS - 1)).or_default() += 1.0;
    }

    /// The time within which this share of the answers came, 0.5 for the median; `None` when nothing, or nothing newer than
    /// some hours, is known.
    pub fn percentile(&self, share: f64, now: Time) -> Option<Duration> {
        let total: f64 = self.buckets.values().sum();
        if total * self.left(now) < WEIGHT_MIN {
            return None;
        }
        let mut seen = 0.0;
        let within = self.buckets.iter().find(|(_, weight)| {
            seen += **weight;
            seen >= share * total
        });
        let place = within.or_else(|| self.buckets.last_key_value()).map(|(place, _)| *place)?;
        Some(Duration::from_secs_f64(((f64::from(place) + 0.5) / STEPS).exp2() / 1000.0))
    }

    /// What is left of the weights by now.
    fn left(&self, now: Time) -> f64 {
        self.at.map_or(1.0, |at| 0.5_f64.powf(now.since(at).as_secs_f64() / HALF_LIFE.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(latency: Option<Duration>) -> Option<u128> {
        latency.map(|latency| latency.as_millis())
    }

    #[test]
    fn percentiles_tell_the_usual_from_the_worst() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile(0.5, Time(0)), None);
        // Nine of ten take a second, every tenth a minute.
        for nth in 0..200 {
            latency.took(Duration::from_secs(if nth % 10 == 0 { 60 } else { 1 }), Time(nth));
        }
        let (p50, p95) = (latency.percentile(0.5, Time(200)), latency.percentile(0.95, Time(200)));
        assert!((900..1100).contains(&ms(p50).unwrap()), "{p50:?}");
        assert!((54_000..66_000).contains(&ms(p95).unwrap()), "{p95:?}");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut latency = Latency::default();
        (0..100).for_each(|nth| latency.took(Duration::from_secs(60), Time(nth)));
        (0..40).for_each(|nth| latency.took(Duration::from_secs(1), Time(100 + nth)));
        assert!(latency.percentile(0.5, Time(140)).unwrap() < Duration::from_secs(2));
        assert!(latency.percentile(0.5, Time(3_600_000)).is_some());
        assert_eq!(latency.percentile(0.5, Time(24 * 3_600_000)), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut latency = Latency::default();
        for nth in 0..10_000_u64 {
            latency.took(Duration::from_millis(nth * nth), Time(0));
        }
        latency.took(Duration::MAX, Time(0));
        assert!(latency.buckets.len() <= usize::from(BUCKETS));
        assert_eq!(latency.buckets.last_key_value().map(|(place, _)| *place), Some(BUCKETS - 1));
    }
}
