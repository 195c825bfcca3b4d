use crate::domain::ErrorCode;
use crate::telemetry::{Eviction, LimitLabel, TenantMetrics, UpstreamFailure};

/// One tenant's counts: since the start, or between two points in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::admin) struct Counts {
    /// Answered requests.
    pub(in crate::admin) requests: u64,
    pub(in crate::admin) lookups: u64,
    /// Lookups that were, or could have been, answered without the upstream.
    pub(in crate::admin) covered: u64,
    pub(in crate::admin) upstream: u64,
    /// Of these, failed, by the kind of failure.
    pub(in crate::admin) failures: [u64; UpstreamFailure::ALL.len()],
    /// Of these, answered with a 5xx.
    pub(in crate::admin) server_errors: u64,
    /// Of these, answered with 429.
    pub(in crate::admin) told_to_wait: u64,
    /// Of these, answered with 200.
    pub(in crate::admin) fetched: u64,
    /// Of these, about another call.
    pub(in crate::admin) mix_ups: u64,
    /// Requests that `rate_limit` refused.
    pub(in crate::admin) rate_limited: u64,
    /// Lookups that `upstream_limit` refused.
    pub(in crate::admin) upstream_limited: u64,
    /// Lookups that were refused because the limit of waiting ones was reached.
    pub(in crate::admin) overloaded: u64,
    /// Entries that were evicted to make room.
    pub(in crate::admin) evicted: u64,
}

impl Counts {
    /// Since the start.
    pub(in crate::admin) fn of(metrics: &TenantMetrics) -> Self {
        let mut counts = Self {
            requests: metrics.answers().values().sum(),
            lookups: metrics.lookups().map(|(_, count)| count).sum(),
            covered: metrics.lookups_covered(),
            mix_ups: metrics.identity_mismatches.get(),
            ..Self::default()
        };
        for (status, count) in metrics.upstream_answers() {
            counts.upstream += count;
            match status {
                200 => counts.fetched += count,
                429 => counts.told_to_wait += count,
                500.. => counts.server_errors += count,
                _ => {}
            }
        }
        for (sum, (_, count)) in counts.failures.iter_mut().zip(metrics.upstream_failures()) {
            *sum = count;
            counts.upstream += count;
        }
        for (limit, count) in metrics.rate_limited() {
            match limit {
                LimitLabel::Tenant => counts.rate_limited = count,
                LimitLabel::Upstream => counts.upstream_limited = count,
            }
        }
        let overloaded = metrics.refusals().find(|(code, _)| *code == ErrorCode::Overloaded);
        counts.overloaded = overloaded.map_or(0, |(_, count)| count);
        let evicted = metrics.evictions().find(|(cause, _)| *cause == Eviction::Size);
        counts.evicted = evicted.map_or(0, |(_, count)| count);
        counts
    }

    /// The counts since an earlier point in time. A count that decreased belongs to another tenant with the name.
    pub(in crate::admin) fn since(&self, earlier: &Self) -> Self {
        let failures = std::array::from_fn(|place| {
            let of = |counts: &Self| counts.failures.get(place).copied().unwrap_or(0);
            of(self).saturating_sub(of(earlier))
        });
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            lookups: self.lookups.saturating_sub(earlier.lookups),
            covered: self.covered.saturating_sub(earlier.covered),
            upstream: self.upstream.saturating_sub(earlier.upstream),
            failures,
            server_errors: self.server_errors.saturating_sub(earlier.server_errors),
            told_to_wait: self.told_to_wait.saturating_sub(earlier.told_to_wait),
            fetched: self.fetched.saturating_sub(earlier.fetched),
            mix_ups: self.mix_ups.saturating_sub(earlier.mix_ups),
            rate_limited: self.rate_limited.saturating_sub(earlier.rate_limited),
            upstream_limited: self.upstream_limited.saturating_sub(earlier.upstream_limited),
            overloaded: self.overloaded.saturating_sub(earlier.overloaded),
            evicted: self.evicted.saturating_sub(earlier.evicted),
        }
    }

    /// Upstream requests that failed.
    pub(in crate::admin) fn failed(&self) -> u64 {
        self.failures.iter().sum::<u64>() + self.server_errors
    }

    /// Upstream requests avoided by the cache: without it, each lookup would have been one.
    pub(in crate::admin) const fn saved(&self) -> u64 {
        self.lookups.saturating_sub(self.upstream)
    }
}
