//! The budget for retries: tower's, funded by requests, and a free one every second.

use std::num::NonZeroU32;
use std::time::Duration;

use tower::retry::budget::{Budget, TpsBudget};

use crate::clock;
use crate::config::Rate;
use crate::limits::Limiter;

/// How long a request's share of a retry lasts. The shortest that tower accepts: retries must not accumulate for a
/// burst.
const TTL: Duration = Duration::from_secs(1);
/// The rate of free retries.
const FREE: Rate = Rate { interval: Duration::from_secs(1), burst: NonZeroU32::MIN };

/// Limits retries to a share of the load, but always allows one a second.
pub(super) struct RetryBudget {
    paid: TpsBudget,
    /// The deposits of a request.
    deposits: u8,
    /// tower's own reserve occasionally yields two a second.
    free: Limiter,
}

impl RetryBudget {
    /// A budget for a share of `percent`, at most 100.
    ///
    /// tower charges a retry `1 / share` deposits, rounded down, which would turn 30 % into 33, and 60 % into 100.
    /// Here the share is a fraction in lowest terms: for 30 %, 3 deposits a request and 10 a retry.
    pub(super) fn new(percent: u8) -> Self {
        let percent = percent.min(100);
        let unit = greatest_common_divisor(percent, 100);
        let paid = TpsBudget::new(TTL, 0, f32::from(unit) / 100.0);
        Self { paid, deposits: percent / unit, free: Limiter::new(FREE) }
    }

    /// Deposits a request's share.
    pub(super) fn deposit(&self) {
        for _ in 0..self.deposits {
            self.paid.deposit();
        }
    }

    /// Pays for a retry, if the budget suffices.
    pub(super) fn withdraw(&self) -> bool {
        self.paid.withdraw() || self.free.take(clock::now()).is_ok()
    }
}

/// Requires that `b` is not 0.
const fn greatest_common_divisor(a: u8, b: u8) -> u8 {
    if a == 0 { b } else { greatest_common_divisor(b % a, a) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The retries that pass when this many requests begin at once and each wants several.
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
            assert_eq!(retries(&budget, 1000), share + 1, "{percent} %");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_adds_the_share_and_one_a_second_and_no_more() {
        for (percent, per_step) in [(0, 10), (20, 1), (20, 10), (30, 7), (60, 50), (100, 3)] {
            for millis in [1, 7, 10, 101, 199] {
                let budget = RetryBudget::new(percent);
                let (steps, mut made) = (2000, 0);
                for _ in 0..steps {
                    made += retries(&budget, per_step);
                    tokio::time::advance(Duration::from_millis(millis)).await;
                }
                let seconds = steps * u32::try_from(millis).unwrap() / 1000;
                let bound = steps * per_step * u32::from(percent) / 100 + seconds + 1;
                let case = format!("{percent} % of {per_step} each {millis} ms: {made} of {bound}");
                assert!(made <= bound, "{case}");
                assert!(made * 10 + 10 >= bound * 7, "{case}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_retry_a_second_is_free_for_a_quiet_tenant() {
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
