//! Samples of all contenders beside each other, and what they say together.

use anyhow::Result;

/// One sample of each contender per round.
pub struct Rounds<C, T> {
    all: Vec<C>,
    /// By round; samples in the order of `all`.
    samples: Vec<Vec<T>>,
}

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
pub fn rounds<C: Copy, T>(all: &[C], count: usize, mut take: impl FnMut(C) -> Result<T>) -> Result<Rounds<C, T>> {
    let mut rounds = Vec::with_capacity(count);
    for round in 0..count {
        let mut samples = Vec::with_capacity(all.len());
        for nth in 0..all.len() {
            let at = (nth + round) % all.len();
            samples.push((at, take(all[at])?));
        }
        samples.sort_by_key(|(at, _)| *at);
        rounds.push(samples.into_iter().map(|(_, sample)| sample).collect());
    }
    Ok(Rounds { all: all.to_vec(), samples: rounds })
}

impl<C: PartialEq, T> Rounds<C, T> {
    /// What `of` says of a contender.
    pub fn median(&self, contender: C, of: impl Fn(&T) -> f64) -> f64 {
        median(self.each(&contender).map(of))
    }

    /// What `of` says of two.
    pub fn compare(&self, base: C, ours: C, of: impl Fn(&T) -> f64) -> Compared {
        let pairs = || self.each(&base).zip(self.each(&ours)).map(|(base, ours)| (of(base), of(ours)));
        Compared {
            base: median(pairs().map(|(base, _)| base)),
            ours: median(pairs().map(|(_, ours)| ours)),
            ratio: median(pairs().map(|(base, ours)| ours / base)),
            difference: median(pairs().map(|(base, ours)| ours - base)),
        }
    }

    fn each(&self, contender: &C) -> impl Iterator<Item = &T> {
        let at = self.all.iter().position(|one| one == contender);
        self.samples.iter().filter_map(move |round| round.get(at?))
    }
}

/// The value in the middle; of an even number of values the upper of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
