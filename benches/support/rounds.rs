//! Samples of all contenders beside each other, and what they say together.

use anyhow::Result;

use super::sample::Contender;

/// Everyone who is measured.
const ALL: [Contender; 4] = [Contender::Bare, Contender::Memory, Contender::BareLog, Contender::Sled];

/// One sample of each contender per round, in the order of [`ALL`].
pub struct Rounds<T>(Vec<Vec<T>>);

/// A baseline, what stands against it, and the ratio of the two, each a median over the rounds.
#[derive(Debug, Clone, Copy)]
pub struct Compared {
    /// The baseline.
    pub base: f64,
    /// agentd.
    pub ours: f64,
    /// The median of the ratios, which is not the ratio of the medians.
    pub ratio: f64,
    /// The median of the differences.
    pub difference: f64,
}

/// Takes one sample of every contender in each round; who goes first changes.
pub fn rounds<T>(count: usize, mut take: impl FnMut(Contender) -> Result<T>) -> Result<Rounds<T>> {
    let mut rounds = Vec::with_capacity(count);
    for round in 0..count {
        let mut samples = Vec::with_capacity(ALL.len());
        for nth in 0..ALL.len() {
            let at = (nth + round) % ALL.len();
            samples.push((at, take(ALL[at])?));
        }
        samples.sort_by_key(|(at, _)| *at);
        rounds.push(samples.into_iter().map(|(_, sample)| sample).collect());
    }
    Ok(Rounds(rounds))
}

impl<T> Rounds<T> {
    /// What `of` says of a contender.
    pub fn median(&self, contender: Contender, of: impl Fn(&T) -> f64) -> f64 {
        median(self.each(contender).map(of))
    }

    /// What `of` says of two.
    pub fn compare(&self, base: Contender, ours: Contender, of: impl Fn(&T) -> f64) -> Compared {
        let pairs = || self.each(base).zip(self.each(ours)).map(|(base, ours)| (of(base), of(ours)));
        Compared {
            base: self.median(base, &of),
            ours: self.median(ours, &of),
            ratio: median(pairs().map(|(base, ours)| ours / base)),
            difference: median(pairs().map(|(base, ours)| ours - base)),
        }
    }

    fn each(&self, contender: Contender) -> impl Iterator<Item = &T> {
        let at = ALL.iter().position(|one| *one == contender);
        self.0.iter().filter_map(move |round| round.get(at?))
    }
}

/// The value in the middle; of an even number of values the upper of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
