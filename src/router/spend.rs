//! What may be spent in a day, and what has been: pure.
//!
//! ```text
//! reserve ─► open ─► settle ─► spent          (nobody settles what a killed process had reserved: it stays open)
//! ```
//! A budget holds for a calendar day in UTC: the same day for all processes, whatever their time zones, and the one that the
//! vendors bill by. Always true:
//! - No money is lost or counted twice: an account holds what was settled, and what was reserved and not settled.
//! - What is open counts as spent, so the requests in flight never overdraw a budget together.
//! - A request whose price is unknown is counted, and never taken for free: its number is told beside the sums.
//!
//! Left out on purpose: where the ledger is kept ([`Book`](super::Book)), and what a request may cost (`purse`).

use std::{collections::BTreeMap, fmt};

use crate::run::{NanoDollars, Time};

/// Milliseconds of a day in UTC, which knows no leap seconds as POSIX counts it.
const DAY_MS: i64 = 86_400_000;

/// What may be spent in a day. `None`, and what is not named, has no budget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Budgets {
    /// By all runs together.
    pub day: Option<NanoDollars>,
    /// By requests that go to these routes.
    pub routes: BTreeMap<String, NanoDollars>,
    /// By runs of these agents.
    pub agents: BTreeMap<String, NanoDollars>,
}

impl Budgets {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.day.is_none() && self.routes.is_empty() && self.agents.is_empty()
    }

    /// Those that a request falls under: `route` is the model reference, which may be no route.
    pub fn of(&self, route: &str, agent: &str) -> Vec<Allowance> {
        let day = self.day.map(|most| Allowance { scope: Scope::Day, most });
        let route = self.routes.get(route).map(|most| Allowance { scope: Scope::Route(route.to_owned()), most: *most });
        let agent = self.agents.get(agent).map(|most| Allowance { scope: Scope::Agent(agent.to_owned()), most: *most });
        [day, route, agent].into_iter().flatten().collect()
    }
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Whose spending it bounds.
    pub scope: Scope,
    /// Most that may be spent in a day.
    pub most: NanoDollars,
}

/// Whose spending is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everybody's.
    Day,
    /// That of a route, by name.
    Route(String),
    /// That of an agent, by name.
    Agent(String),
}

impl fmt::Display for Scope {
    /// As the settings have it: `budgets.routes.smart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Day => f.write_str("budgets.day"),
            Scope::Route(name) => write!(f, "budgets.routes.{name}"),
            Scope::Agent(name) => write!(f, "budgets.agents.{name}"),
        }
    }
}

/// A calendar day in UTC, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

impl Day {
    /// The day of a moment.
    pub fn of(time: Time) -> Self {
        Day(i32::try_from(time.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX))
    }
}

/// What was spent of one scope in one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The day.
    pub day: Day,
    /// Whose spending.
    pub scope: Scope,
    /// Settled.
    pub spent: NanoDollars,
    /// Reserved and not settled: in flight, or cut off with its process and presumed spent.
    pub open: NanoDollars,
    /// Requests whose price is unknown, of which neither sum knows.
    pub unpriced: u64,
}

impl Account {
    fn new(day: Day, scope: Scope) -> Self {
        Account { day, scope, spent: NanoDollars(0), open: NanoDollars(0), unpriced: 0 }
    }

    /// Spent, what is open included.
    pub fn total(&self) -> NanoDollars {
        NanoDollars(self.spent.0.saturating_add(self.open.0))
    }
}

/// The accounts of a few days, today's last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// In no particular order; one for a day and scope.
    pub accounts: Vec<Account>,
}

/// The rest of a budget does not pay for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", told(self))]
pub struct Short {
    /// The budget.
    pub budget: Allowance,
    /// What was spent of it today.
    pub account: Account,
    /// What the request may cost.
    pub asked: NanoDollars,
}

impl Ledger {
    /// Reserves `amount` of all these budgets or of none; `None` when the price is unknown, which is only counted. Days
    /// before yesterday are forgotten: no request lasts that long.
    ///
    /// # Errors
    /// The first budget whose rest is too small.
    pub fn reserve(&mut self, budgets: &[Allowance], day: Day, amount: Option<NanoDollars>) -> Result<(), Short> {
        self.accounts.retain(|account| account.day.0 >= day.0.saturating_sub(1));
        if let Some(short) = amount.and_then(|amount| self.short(budgets, day, amount)) {
            return Err(short);
        }
        for budget in budgets {
            let account = self.account(day, &budget.scope);
            match amount {
                Some(amount) => account.open.0 = account.open.0.saturating_add(amount.0),
                None => account.unpriced = account.unpriced.saturating_add(1),
            }
        }
        Ok(())
    }

    /// Puts what a request did cost in the place of what was reserved for it on that day.
    pub fn settle(&mut self, budgets: &[Allowance], day: Day, reserved: NanoDollars, cost: NanoDollars) {
        for budget in budgets {
            let account = self.account(day, &budget.scope);
            account.open.0 = account.open.0.saturating_sub(reserved.0);
            account.spent.0 = account.spent.0.saturating_add(cost.0);
        }
    }

    /// The first of these budgets whose rest is smaller than `amount`; `None` when all pay for it. What costs nothing is
    /// always paid for.
    pub fn short(&self, budgets: &[Allowance], day: Day, amount: NanoDollars) -> Option<Short> {
        budgets.iter().filter(|_| amount.0 > 0).find_map(|budget| {
            let found = self.accounts.iter().find(|account| account.day == day && account.scope == budget.scope);
            let account = found.cloned().unwrap_or_else(|| Account::new(day, budget.scope.clone()));
            let fits = account.total().0.checked_add(amount.0).is_some_and(|sum| sum <= budget.most.0);
            (!fits).then(|| Short { budget: budget.clone(), account, asked: amount })
        })
    }

    fn account(&mut self, day: Day, scope: &Scope) -> &mut Account {
        let found = self.accounts.iter().position(|account| account.day == day && account.scope == *scope);
        let at = found.unwrap_or_else(|| {
            self.accounts.push(Account::new(day, scope.clone()));
            self.accounts.len() - 1
        });
        &mut self.accounts[at]
    }
}

/// Which budget, how much was spent of it, and what to do.
fn told(short: &Short) -> String {
    let Short { budget: Allowance { scope, most }, account, asked } = short;
    let open = match account.open.0 {
        0 => String::new(),
        _ => format!(" and {} is set aside for requests in flight or cut off", account.open),
    };
    let unpriced = match account.unpriced {
        0 => String::new(),
        1 => ", besides 1 request of unknown price".to_owned(),
        many => format!(", besides {many} requests of unknown price"),
    };
    format!(
        "{scope} is {most} a day: {} is spent today (UTC){open}{unpriced}, and this request may cost {asked}; raise the \
         budget in agentd.yaml, or go on tomorrow",
        account.spent
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TODAY: Day = Day(20_000);

    fn day(most: u64) -> Allowance {
        Allowance { scope: Scope::Day, most: NanoDollars(most) }
    }

    fn route(most: u64) -> Allowance {
        Allowance { scope: Scope::Route("smart".to_owned()), most: NanoDollars(most) }
    }

    fn nano(amount: u64) -> Option<NanoDollars> {
        Some(NanoDollars(amount))
    }

    fn total(ledger: &Ledger, scope: &Scope) -> u64 {
        let mine = ledger.accounts.iter().filter(|account| account.scope == *scope && account.day == TODAY);
        mine.map(|account| account.total().0).sum()
    }

    #[test]
    fn a_request_falls_under_its_budgets() {
        let named = |name: &str| BTreeMap::from([(name.to_owned(), NanoDollars(1))]);
        let budgets = Budgets { day: nano(9), routes: named("smart"), agents: named("triage") };
        let scopes = |route, agent| budgets.of(route, agent).iter().map(|it| it.scope.to_string()).collect::<Vec<_>>();
        assert_eq!(scopes("a/m", "other"), ["budgets.day"]);
        assert_eq!(scopes("smart", "triage"), ["budgets.day", "budgets.routes.smart", "budgets.agents.triage"]);
        assert!(Budgets::default().is_empty() && !budgets.is_empty());
    }

    #[test]
    fn days_begin_at_midnight_in_utc() {
        for (time, expected) in [(0, 0), (86_399_999, 0), (86_400_000, 1), (-1, -1), (1_790_000_000_000, 20_717)] {
            assert_eq!(Day::of(Time(time)), Day(expected), "{time}");
        }
    }

    #[test]
    fn what_is_reserved_counts_until_it_is_settled() {
        let mut ledger = Ledger::default();
        let budgets = [day(100)];
        ledger.reserve(&budgets, TODAY, nano(60)).unwrap();
        let short = ledger.reserve(&budgets, TODAY, nano(41)).unwrap_err();
        assert_eq!((short.account.open, short.asked), (NanoDollars(60), NanoDollars(41)));
        ledger.settle(&budgets, TODAY, NanoDollars(60), NanoDollars(10));
        ledger.reserve(&budgets, TODAY, nano(90)).unwrap();
        assert!(ledger.reserve(&budgets, TODAY, nano(1)).is_err());
        assert_eq!(ledger.reserve(&budgets, TODAY, nano(0)), Ok(()), "what is free is always paid for");
    }

    #[test]
    fn all_budgets_pay_or_none() {
        let mut ledger = Ledger::default();
        let short = ledger.reserve(&[day(100), route(10)], TODAY, nano(11)).unwrap_err();
        assert_eq!(short.budget, route(10));
        assert!(ledger.accounts.is_empty());
        ledger.reserve(&[day(100), route(10)], TODAY, nano(10)).unwrap();
        assert_eq!((total(&ledger, &Scope::Day), total(&ledger, &route(0).scope)), (10, 10));
    }

    #[test]
    fn an_unknown_price_is_counted_and_told() {
        let mut ledger = Ledger::default();
        ledger.reserve(&[day(5)], TODAY, None).unwrap();
        ledger.reserve(&[day(5)], TODAY, None).unwrap();
        let short = ledger.reserve(&[day(5)], TODAY, nano(6)).unwrap_err();
        assert!(short.to_string().contains("besides 2 requests of unknown price"), "{short}");
    }

    #[test]
    fn a_short_budget_says_which_how_much_and_what_to_do() {
        let mut ledger = Ledger::default();
        let budgets = [route(5_000_000_000)];
        ledger.reserve(&budgets, TODAY, nano(4_000_000_000)).unwrap();
        ledger.settle(&budgets, TODAY, NanoDollars(4_000_000_000), NanoDollars(4_500_000_000));
        ledger.reserve(&budgets, TODAY, nano(400_000_000)).unwrap();
        let short = ledger.reserve(&budgets, TODAY, nano(200_000_000)).unwrap_err();
        assert_eq!(
            short.to_string(),
            "budgets.routes.smart is $5.0000 a day: $4.5000 is spent today (UTC) and $0.4000 is set aside for requests in \
             flight or cut off, and this request may cost $0.2000; raise the budget in agentd.yaml, or go on tomorrow"
        );
    }

    #[test]
    fn a_new_day_begins_at_zero_and_settles_what_the_last_one_reserved() {
        let mut ledger = Ledger::default();
        let budgets = [day(100)];
        let tomorrow = Day(TODAY.0 + 1);
        ledger.reserve(&budgets, TODAY, nano(100)).unwrap();
        ledger.reserve(&budgets, tomorrow, nano(100)).unwrap();
        ledger.settle(&budgets, TODAY, NanoDollars(100), NanoDollars(70));
        assert_eq!(total(&ledger, &Scope::Day), 70);
        ledger.reserve(&budgets, Day(TODAY.0 + 2), nano(1)).unwrap();
        assert!(ledger.accounts.iter().all(|account| account.day >= tomorrow), "old days are forgotten");
    }

    /// One step of somebody: reserve this much, or settle the oldest reservation at this cost, or be killed with it.
    #[derive(Debug, Clone)]
    enum Step {
        Reserve(u64, bool),
        Settle(u64),
        Killed,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..500u64, any::<bool>()).prop_map(|(amount, routed)| Step::Reserve(amount, routed)),
            2 => (0..700u64).prop_map(Step::Settle),
            1 => Just(Step::Killed),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Whatever is reserved, settled and killed in whatever order: each account holds exactly what was settled and
        /// what nobody settled, and no reservation was granted beyond a budget.
        #[test]
        fn money_is_neither_lost_nor_doubled(steps in steps()) {
            let budgets = [day(2_000), route(1_000)];
            let mut ledger = Ledger::default();
            let mut flying: std::collections::VecDeque<(u64, usize)> = Default::default();
            let mut expected = [0u64; 2];
            for step in steps {
                match step {
                    Step::Reserve(amount, routed) => {
                        let claims = if routed { 2 } else { 1 };
                        let granted = ledger.reserve(&budgets[..claims], TODAY, nano(amount)).is_ok();
                        let fits = (0..claims).all(|at| expected[at] + amount <= budgets[at].most.0);
                        prop_assert_eq!(granted, fits || amount == 0);
                        if granted {
                            expected[..claims].iter_mut().for_each(|sum| *sum += amount);
                            flying.push_back((amount, claims));
                        }
                    }
                    Step::Settle(cost) => if let Some((amount, claims)) = flying.pop_front() {
                        ledger.settle(&budgets[..claims], TODAY, NanoDollars(amount), NanoDollars(cost));
                        expected[..claims].iter_mut().for_each(|sum| *sum = *sum - amount + cost);
                    },
                    // Presumed spent: it stays where it is.
                    Step::Killed => drop(flying.pop_front()),
                }
                prop_assert_eq!([total(&ledger, &Scope::Day), total(&ledger, &budgets[1].scope)], expected);
            }
        }
    }
}
