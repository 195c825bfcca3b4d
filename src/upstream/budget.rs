//! The budget that retries are paid from: tower's, with a share that is kept to the percent.

use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

/// For how long a request earns its share of a retry. The shortest that tower takes: retries must
/// not save up for a burst.
const TTL: Duration = Duration::from_secs(1);
/// Retries that are free.
const FREE_PER_SECOND: u32 = 1;

/// Lets retries add a share of the load at most, and one a second in any case.
#[derive(Debug)]
pub struct RetryBudget {
    budget: TpsBudget,
    /// What a request pays in.
    deposits: u8,
}

impl RetryBudget {
    /// For a share of `percent`, at most 100.
    ///
    /// tower charges a retry `1 / share` deposits, rounded down, so that of 30 % it would make 33, and
    /// of 60 % all. Here the share is a fraction in lowest terms: 30 % are 3 deposits a request and
    /// 10 a retry.
    pub fn new(percent: u8) -> Self {
        let percent = percent.min(100);
        let unit = greatest_common_divisor(percent, 100);
        let budget = TpsBudget::new(TTL, FREE_PER_SECOND, f32::from(unit) / 100.0);
        Self { budget, deposits: percent / unit }
    }

    /// Pays in for a request.
    pub fn deposit(&self) {
        for _ in 0..self.deposits {
            self.budget.deposit();
        }
    }

    /// Pays for a retry, if there is enough.
    pub fn withdraw(&self) -> bool {
        self.budget.withdraw()
    }
}

/// Of numbers of which the second is not 0.
const fn greatest_common_divisor(a: u8, b: u8) -> u8 {
    if a == 0 { b } else { greatest_common_divisor(b % a, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries that get through when so many requests come at once and each wants several.
    fn retries(budget: &RetryBudget, requests: u32) -> u32 {
        for _ in 0..requests {
            budget.deposit();
        }
        (0..3 * requests).map(|_| u32::from(budget.withdraw())).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn every_share_is_kept_to_the_percent() {
        for percent in 0..=100 {
            let budget = RetryBudget::new(percent);
            let share = 1000 * u32::from(percent) / 100;
            assert_eq!(retries(&budget, 1000), share + FREE_PER_SECOND, "{percent} %");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_adds_the_share_and_one_a_second_and_no_more() {
        for (percent, per_step) in [(0, 10), (20, 1), (20, 10), (30, 7), (60, 50), (100, 3)] {
            let budget = RetryBudget::new(percent);
            let (steps, mut made) = (2000, 0);
            for _ in 0..steps {
                made += retries(&budget, per_step);
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            let bound = steps * per_step * u32::from(percent) / 100 + steps / 100 + 1;
            assert!(made <= bound, "{percent} % of {per_step} each 10 ms: {made} of {bound}");
            assert!(made * 10 >= bound * 8, "{percent} % of {per_step} each 10 ms: {made} of {bound}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_a_second_is_free_for_a_tenant_that_seldom_asks() {
        let budget = RetryBudget::new(20);
        for _ in 0..10 {
            budget.deposit();
            assert!(budget.withdraw());
            assert!(!budget.withdraw());
            tokio::time::advance(Duration::from_millis(1100)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_hour_saves_nothing_up() {
        let budget = RetryBudget::new(50);
        for _ in 0..1000 {
            budget.deposit();
        }
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
    }
}
