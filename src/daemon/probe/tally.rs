//! What a probe has measured so far, whether more may be asked, and which target is the best. Pure.

use std::{collections::BTreeMap, time::Duration};

use super::judge::Verdict;
use crate::{
    chat::Usage,
    daemon::spread::Spread,
    provider::{Class, Failure},
    repair,
    run::NanoDollars,
};

/// Requests in a row that brought no answer before a target is asked no more: an outage is known by then.
pub const SILENT_MAX: u32 = 5;

/// What was measured of one target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// The target, `provider/model`.
    pub target: String,
    /// Tasks that it was asked for.
    pub requests: u64,
    /// Of those: with an answer.
    pub answered: u64,
    /// Of those: with a call of a tool, right or wrong.
    pub used_tools: u64,
    /// What the first answers were worth.
    pub first: BTreeMap<Verdict, u64>,
    /// The same with the second answers in place of those that were asked again.
    pub last: BTreeMap<Verdict, u64>,
    /// Tasks that were asked once more, with what was wrong.
    pub asked_again: u64,
    /// First answers whose calls are not valid as they came and that a run would have mended, by the class of the fault.
    pub mended: BTreeMap<repair::Class, u64>,
    /// From request to end of answer, of all answers.
    pub latency: Spread,
    /// Tokens of all answers that told theirs.
    pub usage: Usage,
    /// Tokens written by answers that told theirs, and how long those took.
    pub written: (u64, Duration),
    /// What the answers cost, and the failures that used tokens, as far as it is known.
    pub known_cost: NanoDollars,
    /// Answers whose cost is unknown, and failures that used tokens at an unknown price.
    pub unpriced: u64,
    /// Requests without an answer by the stable name of the failure's class.
    pub failed: BTreeMap<&'static str, u64>,
    /// Why the last request without an answer had none; `None` when all were answered.
    pub failure: Option<String>,
    /// Why it was asked no more before all was asked; `None` when it was not.
    pub stopped: Option<String>,
}

impl Tally {
    /// Tasks with an accepted call: as they came, and after asking again.
    pub fn accepted(&self) -> (u64, u64) {
        let sum = |verdicts: &BTreeMap<Verdict, u64>| {
            verdicts.iter().filter(|(verdict, _)| verdict.is_accepted()).map(|(_, count)| count).sum()
        };
        (sum(&self.first), sum(&self.last))
    }

    /// What all answers cost; `None` when that is unknown of any.
    pub fn cost(&self) -> Option<NanoDollars> {
        (self.unpriced == 0).then_some(self.known_cost)
    }

    /// What a task with an accepted call has cost, those without one included; `None` when unknown or when there is none.
    pub fn cost_per_accepted(&self) -> Option<NanoDollars> {
        Some(NanoDollars(self.cost()?.0.checked_div(self.accepted().1)?))
    }

    /// Tokens written a second; `None` when no answer told its tokens.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let seconds = self.written.1.as_secs_f64();
        (self.written.0 > 0 && seconds > 0.0).then(|| self.written.0 as f64 / seconds)
    }

    /// Takes in the cost and time of an answer.
    fn take(&mut self, latency: Duration, usage: Option<Usage>, cost: Option<NanoDollars>) {
        self.latency.add(latency);
        if let Some(usage) = usage {
            self.usage += usage;
            self.written.0 = self.written.0.saturating_add(usage.output);
            self.written.1 = self.written.1.saturating_add(latency);
        }
        match cost {
            Some(cost) => self.known_cost.0 = self.known_cost.0.saturating_add(cost.0),
            None => self.unpriced += 1,
        }
    }
}

/// An answer, for the tally.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub verdict: Verdict,
    pub mended: Option<repair::Class>,
    pub latency: Duration,
    pub usage: Option<Usage>,
    pub cost: Option<NanoDollars>,
}

/// What is measured of all targets, and whether more may be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    pub tallies: Vec<Tally>,
    /// What may be spent in all; `None` for no bound.
    max_cost: Option<NanoDollars>,
    /// What a request to each target is expected to cost: the estimate, or more once one was dearer.
    expected: Vec<u64>,
    /// Requests to each target in a row that brought no answer.
    silent: Vec<u32>,
    /// Spent, with failures that may have been billed, and reserved for what is in flight.
    spent: u64,
    reserved: u64,
    /// Whether something was not asked because of `max_cost`.
    pub out_of_money: bool,
}

/// Leave to send one request, and what is reserved for it.
#[derive(Debug)]
pub(super) struct Leave {
    pub target: usize,
    again: bool,
    reserved: u64,
}

impl Board {
    /// The targets, and what a request to each is expected to cost.
    pub fn new(targets: impl IntoIterator<Item = (String, NanoDollars)>, max_cost: Option<NanoDollars>) -> Self {
        let (tallies, expected): (Vec<_>, Vec<_>) =
            targets.into_iter().map(|(target, expected)| (Tally { target, ..Tally::default() }, expected.0)).unzip();
        Board { silent: vec![0; tallies.len()], tallies, max_cost, expected, ..Board::default() }
    }

    /// Leave to ask a target for a task, or once more for the same; `None` when it is to be asked no more.
    pub fn leave(&mut self, target: usize, again: bool) -> Option<Leave> {
        let (tally, expected) = (self.tallies.get_mut(target)?, *self.expected.get(target)?);
        if self.out_of_money || (tally.stopped.is_some() && !again) {
            return None;
        }
        let needed = self.spent.saturating_add(self.reserved).saturating_add(expected);
        if self.max_cost.is_some_and(|most| needed > most.0) {
            self.out_of_money = true;
            return None;
        }
        self.reserved += expected;
        *(if again { &mut tally.asked_again } else { &mut tally.requests }) += 1;
        Some(Leave { target, again, reserved: expected })
    }

    /// Takes in the first answer to a task.
    pub fn answered(&mut self, leave: Leave, answer: Answered) {
        self.settle(&leave, answer.cost);
        let Some(tally) = self.tallies.get_mut(leave.target) else { return };
        tally.take(answer.latency, answer.usage, answer.cost);
        tally.answered += 1;
        tally.used_tools += u64::from(answer.verdict != Verdict::NoCall);
        if let Some(class) = answer.mended {
            *tally.mended.entry(class).or_default() += 1;
        }
        *tally.first.entry(answer.verdict).or_default() += 1;
        *tally.last.entry(answer.verdict).or_default() += 1;
    }

    /// Takes in the answer to a task that was asked once more, after a first one that was worth `before`.
    pub fn answered_again(&mut self, leave: Leave, before: Verdict, answer: Answered) {
        self.settle(&leave, answer.cost);
        let Some(tally) = self.tallies.get_mut(leave.target) else { return };
        tally.take(answer.latency, answer.usage, answer.cost);
        if let Some(count) = tally.last.get_mut(&before) {
            *count = count.saturating_sub(1);
        }
        *tally.last.entry(answer.verdict).or_default() += 1;
    }

    /// Takes in that the provider asks for patience, after which the request is sent once more.
    pub fn told_to_wait(&mut self, leave: &Leave, failure: &Failure) {
        let Some(tally) = self.tallies.get_mut(leave.target) else { return };
        *tally.failed.entry(failure.class.as_str()).or_default() += 1;
    }

    /// Takes in that a request brought no answer and is given up, and what it cost all the same; `None` when that is
    /// unknown or nothing.
    pub fn failed(&mut self, leave: Leave, failure: &Failure, cost: Option<NanoDollars>) {
        let used = failure.used.is_some();
        self.reserved = self.reserved.saturating_sub(leave.reserved);
        let billed = cost.map_or(if used { leave.reserved } else { 0 }, |cost| cost.0);
        self.spent = self.spent.saturating_add(billed);
        let (Some(tally), Some(silent)) = (self.tallies.get_mut(leave.target), self.silent.get_mut(leave.target))
        else {
            return;
        };
        tally.known_cost.0 = tally.known_cost.0.saturating_add(cost.unwrap_or_default().0);
        tally.unpriced += u64::from(used && cost.is_none());
        *tally.failed.entry(failure.class.as_str()).or_default() += 1;
        tally.failure = Some(failure.message.clone());
        *silent += 1;
        if barred(failure.class) || *silent >= SILENT_MAX {
            tally.stopped.get_or_insert_with(|| failure.message.clone());
        }
    }

    /// Takes in that nobody could be asked at all, and why.
    pub fn unfit(&mut self, leave: Leave, why: &str) {
        self.reserved = self.reserved.saturating_sub(leave.reserved);
        let Some(tally) = self.tallies.get_mut(leave.target) else { return };
        let sent = if leave.again { &mut tally.asked_again } else { &mut tally.requests };
        *sent = sent.saturating_sub(1);
        tally.stopped.get_or_insert_with(|| why.to_owned());
    }

    /// An answer came: what was reserved becomes what it cost; what is unknown counts as expected.
    fn settle(&mut self, leave: &Leave, cost: Option<NanoDollars>) {
        let cost = cost.map_or(leave.reserved, |cost| cost.0);
        self.reserved = self.reserved.saturating_sub(leave.reserved);
        self.spent = self.spent.saturating_add(cost);
        if let (Some(expected), Some(silent)) = (self.expected.get_mut(leave.target), self.silent.get_mut(leave.target))
        {
            *expected = cost.max(*expected);
            *silent = 0;
        }
    }
}

/// Whether asking the same target once more is in vain until a person does something.
fn barred(class: Class) -> bool {
    match class {
        Class::Quota | Class::Credential | Class::ModelGone | Class::Region | Class::Budget => true,
        Class::Transient
        | Class::RateLimited
        | Class::MalformedAnswer
        | Class::ContextTooLong
        | Class::CallerFault
        | Class::ContentRefused => false,
    }
}

/// Which target is the best, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Best {
    /// The target.
    pub target: String,
    /// What it was chosen by: the cost of an accepted call, or, where a cost is unknown or all are free, the share of
    /// accepted calls.
    pub by_cost: bool,
    /// How its share of accepted calls stands against that of each other target that answered.
    pub against: Vec<Against>,
}

/// How much more of the best target's calls were accepted than of another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    /// The other target.
    pub target: String,
    /// The difference of the shares, -1 to 1.
    pub difference: f64,
    /// Between what and what it lies with 95 % confidence.
    pub interval: (f64, f64),
}

impl Against {
    /// Whether the difference is more than chance.
    pub fn is_certain(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }
}

/// The best target; `None` when none has had a call accepted.
pub fn best(tallies: &[Tally]) -> Option<Best> {
    let candidates: Vec<&Tally> = tallies.iter().filter(|tally| tally.accepted().1 > 0).collect();
    let costs: Option<Vec<u64>> = candidates.iter().map(|tally| Some(tally.cost_per_accepted()?.0)).collect();
    let by_cost = costs.is_some_and(|costs| costs.iter().any(|cost| *cost > 0));
    let share = |tally: &Tally| tally.accepted().1 as f64 / tally.answered as f64;
    let order = |a: &&&Tally, b: &&&Tally| {
        let cost = a.cost_per_accepted().cmp(&b.cost_per_accepted());
        let shares = share(b).total_cmp(&share(a));
        let quick = a.latency.percentile(0.5).cmp(&b.latency.percentile(0.5));
        (if by_cost { cost.then(shares) } else { shares }).then(quick)
    };
    let best = *candidates.iter().min_by(order)?;
    let others = tallies.iter().filter(|tally| tally.answered > 0 && tally.target != best.target);
    let against = others.map(|other| {
        let (mine, theirs) = ((best.accepted().1, best.answered), (other.accepted().1, other.answered));
        let (difference, interval) = difference(mine, theirs);
        Against { target: other.target.clone(), difference, interval }
    });
    Some(Best { target: best.target.clone(), by_cost, against: against.collect() })
}

/// The difference of two shares (so many of so many) and its 95 % interval: Newcombe's, from Wilson's score intervals
/// without continuity correction (Statistics in Medicine 17, 1998, method 10), which holds for few and for extreme shares.
fn difference(a: (u64, u64), b: (u64, u64)) -> (f64, (f64, f64)) {
    let (share_a, low_a, high_a) = wilson(a);
    let (share_b, low_b, high_b) = wilson(b);
    let difference = share_a - share_b;
    let low = difference - (share_a - low_a).hypot(high_b - share_b);
    let high = difference + (high_a - share_a).hypot(share_b - low_b);
    (difference, (low, high))
}

/// The share `k` of `n`, and between what and what it lies with 95 % confidence.
fn wilson((k, n): (u64, u64)) -> (f64, f64, f64) {
    /// Two-sided 95 % of the normal distribution.
    const Z: f64 = 1.959_964;
    let (k, n) = (k as f64, n as f64);
    let share = k / n;
    let middle = 2.0 * k + Z * Z;
    let width = Z * (Z * Z + 4.0 * k * (1.0 - share)).sqrt();
    let whole = 2.0 * (n + Z * Z);
    (share, (middle - width) / whole, (middle + width) / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Used;

    fn answered(verdict: Verdict, cost: Option<u64>) -> Answered {
        let usage = Some(Usage { input: 100, output: 50, ..Usage::default() });
        let latency = Duration::from_millis(500);
        Answered {
            verdict,
            mended: (verdict == WRONG).then_some(repair::Class::InvalidJson),
            latency,
            usage,
            cost: cost.map(NanoDollars),
        }
    }

    fn board(expected: &[u64], max_cost: Option<u64>) -> Board {
        let targets = expected.iter().enumerate().map(|(at, cost)| (format!("p/{at}"), NanoDollars(*cost)));
        Board::new(targets, max_cost.map(NanoDollars))
    }

    const WRONG: Verdict = Verdict::Wrong(repair::Class::InvalidJson);

    #[test]
    fn answers_are_counted_as_they_came_and_after_asking_again() {
        let mut board = board(&[0], None);
        for verdict in [Verdict::Right, Verdict::Other, Verdict::NoCall, WRONG, WRONG, WRONG] {
            let leave = board.leave(0, false).unwrap();
            board.answered(leave, answered(verdict, Some(10)));
        }
        for (second, cost) in [(Verdict::Right, Some(20)), (WRONG, Some(20))] {
            let leave = board.leave(0, true).unwrap();
            board.answered_again(leave, WRONG, answered(second, cost));
        }
        // The third is asked again in vain.
        let leave = board.leave(0, true).unwrap();
        board.failed(leave, &Failure::new(Class::Transient, "down"), None);
        let tally = &board.tallies[0];
        assert_eq!((tally.requests, tally.answered, tally.used_tools, tally.asked_again), (6, 6, 5, 3));
        assert_eq!(tally.accepted(), (2, 3));
        assert_eq!((tally.first[&WRONG], tally.last[&WRONG]), (3, 2));
        assert_eq!(tally.mended, BTreeMap::from([(repair::Class::InvalidJson, 3)]));
        assert_eq!((tally.cost(), tally.cost_per_accepted()), (Some(NanoDollars(100)), Some(NanoDollars(33))));
        assert_eq!(tally.failed, BTreeMap::from([("transient", 1)]));
        assert_eq!(tally.usage.total(), 8 * 150);
        assert_eq!(tally.tokens_per_second(), Some(100.0));
    }

    #[test]
    fn what_is_unknown_stays_unknown() {
        let mut mixed = board(&[0], None);
        for cost in [Some(5), None] {
            let leave = mixed.leave(0, false).unwrap();
            mixed.answered(leave, answered(Verdict::Right, cost));
        }
        let tally = &mixed.tallies[0];
        assert_eq!((tally.cost(), tally.cost_per_accepted(), tally.known_cost), (None, None, NanoDollars(5)));
        assert_eq!(Tally::default().cost_per_accepted(), None, "nothing accepted");

        // An answer that broke off has used tokens.
        let mut board = board(&[3, 3], None);
        for (target, cost) in [(0, None), (1, Some(NanoDollars(2)))] {
            let leave = board.leave(target, false).unwrap();
            let failure = Failure::new(Class::MalformedAnswer, "cut");
            board.failed(leave, &Failure { used: Some(Used::default()), ..failure }, cost);
        }
        assert_eq!(board.tallies.iter().map(Tally::cost).collect::<Vec<_>>(), [None, Some(NanoDollars(2))]);
    }

    #[test]
    fn a_target_that_is_silent_or_barred_is_asked_no_more() {
        let mut board = board(&[0, 0, 0], None);
        let fail = |board: &mut Board, target, class| {
            let leave = board.leave(target, false).unwrap();
            board.told_to_wait(&leave, &Failure::new(Class::RateLimited, "slow"));
            board.failed(leave, &Failure::new(class, "why"), None);
        };
        for _ in 0..SILENT_MAX - 1 {
            fail(&mut board, 0, Class::Transient);
        }
        let leave = board.leave(0, false).unwrap();
        board.answered(leave, answered(Verdict::Right, None));
        for _ in 0..SILENT_MAX {
            fail(&mut board, 0, Class::Transient);
        }
        assert!(board.leave(0, false).is_none());
        assert_eq!(board.tallies[0].stopped.as_deref(), Some("why"));
        assert_eq!(board.tallies[0].failed, BTreeMap::from([("rate_limited", 9), ("transient", 9)]));

        fail(&mut board, 1, Class::Credential);
        assert!(board.leave(1, false).is_none());

        let leave = board.leave(2, false).unwrap();
        board.unfit(leave, "it cannot call tools");
        assert_eq!((board.tallies[2].requests, board.tallies[2].stopped.as_deref()), (0, Some("it cannot call tools")));
    }

    #[test]
    fn money_is_reserved_before_and_settled_after() {
        let mut board = board(&[40], Some(100));
        let (a, b) = (board.leave(0, false).unwrap(), board.leave(0, false).unwrap());
        board.answered(a, answered(Verdict::Right, Some(10)));
        // 10 spent, 40 reserved, 40 more: within.
        let c = board.leave(0, false).unwrap();
        board.answered(b, answered(Verdict::Right, Some(50)));
        // 60 spent, 40 reserved: one as dear as the dearest so far would be too much.
        assert!(!board.out_of_money);
        board.failed(c, &Failure::new(Class::RateLimited, "slow"), None);
        assert!(board.leave(0, false).is_none() && board.out_of_money);
        assert_eq!(board.tallies[0].requests, 3);
    }

    #[test]
    fn intervals_are_newcombes() {
        // The examples of the paper's table II, method 10.
        for (a, b, low, high) in [
            ((56, 70), (48, 80), 0.0524, 0.3339),
            ((9, 10), (3, 10), 0.1705, 0.8090),
            ((5, 56), (0, 29), -0.0381, 0.1926),
            ((0, 10), (0, 20), -0.1611, 0.2775),
            ((10, 10), (0, 20), 0.6791, 1.0000),
        ] {
            let (difference, found) = difference(a, b);
            assert!((difference - (a.0 as f64 / a.1 as f64 - b.0 as f64 / b.1 as f64)).abs() < 1e-9);
            assert!((found.0 - low).abs() < 1e-4 && (found.1 - high).abs() < 1e-4, "{a:?} {b:?}: {found:?}");
        }
    }

    fn tally(target: &str, accepted: u64, answered: u64, cost: Option<u64>) -> Tally {
        let verdicts = BTreeMap::from([(Verdict::Right, accepted), (WRONG, answered - accepted)]);
        Tally {
            target: target.to_owned(),
            answered,
            first: verdicts.clone(),
            last: verdicts,
            known_cost: NanoDollars(cost.unwrap_or(0)),
            unpriced: u64::from(cost.is_none()),
            ..Tally::default()
        }
    }

    #[test]
    fn the_best_is_the_cheapest_per_accepted_call() {
        let dear = tally("p/dear", 50, 50, Some(5_000));
        let cheap = tally("p/cheap", 20, 50, Some(400));
        let down = tally("p/down", 0, 0, Some(0));
        let never = tally("p/never", 0, 50, Some(10));
        let found = best(&[dear.clone(), cheap.clone(), down, never]).unwrap();
        assert_eq!((found.target.as_str(), found.by_cost), ("p/cheap", true));
        let against: Vec<_> =
            found.against.iter().map(|it| (it.target.as_str(), it.difference, it.is_certain())).collect();
        assert_eq!(against, [("p/dear", -0.6, true), ("p/never", 0.4, true)]);

        // An unknown cost makes costs incomparable: the share decides.
        let unknown = tally("p/unknown", 45, 50, None);
        let found = best(&[cheap, unknown]).unwrap();
        assert_eq!((found.target.as_str(), found.by_cost), ("p/unknown", false));

        let near = tally("p/near", 47, 50, Some(0));
        let found = best(&[near, tally("p/free", 50, 50, Some(0))]).unwrap();
        assert_eq!((found.target.as_str(), found.by_cost, found.against[0].is_certain()), ("p/free", false, false));
        assert_eq!(best(&[]), None);
        assert_eq!(dear.accepted(), (50, 50));
    }
}
