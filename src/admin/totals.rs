//! The counts of all tenants at one point in time. The difference of two covers the time in between.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use crate::domain::{Outcome, is_failure};
use crate::gateway::Gateway;
use crate::telemetry::{BUCKETS, Metrics};

/// Counts since the start.
#[derive(Debug, Serialize)]
pub(crate) struct Totals {
    uptime_seconds: f64,
    outcomes: BTreeMap<&'static str, u64>,
    /// Lookups that were, or could have been, answered without the upstream.
    covered: u64,
    /// By status, unauthenticated requests included.
    answers: BTreeMap<u16, u64>,
    not_stored: BTreeMap<&'static str, u64>,
    evictions: BTreeMap<&'static str, u64>,
    rate_limited: BTreeMap<&'static str, u64>,
    /// Upstream requests by status or kind of failure.
    upstream: BTreeMap<String, u64>,
    upstream_failed: u64,
    times: TotalTimes,
}

/// Counts of durations by bucket.
#[derive(Debug, Serialize)]
struct TotalTimes {
    /// Lookups that were answered from the cache.
    cache: Vec<u64>,
    /// Lookups that waited for the upstream.
    fetched: Vec<u64>,
    upstream: Vec<u64>,
}

impl Totals {
    pub(crate) fn of(gateway: &Gateway, uptime: Duration) -> Self {
        let metrics = &gateway.telemetry.metrics;
        let mut totals = Self {
            uptime_seconds: uptime.as_secs_f64(),
            outcomes: BTreeMap::new(),
            covered: 0,
            answers: metrics.unauthenticated(),
            not_stored: BTreeMap::new(),
            evictions: BTreeMap::new(),
            rate_limited: BTreeMap::new(),
            upstream: BTreeMap::new(),
            upstream_failed: 0,
            times: TotalTimes::of(metrics),
        };
        for tenant in gateway.snapshots.load().directory.all() {
            let metrics = tenant.metrics();
            totals.covered += metrics.lookups_covered();
            add(&mut totals.outcomes, metrics.lookups().map(|(key, count)| (key.label(), count)));
            add(&mut totals.answers, metrics.answers());
            add(&mut totals.not_stored, metrics.not_stored().map(|(key, count)| (key.label(), count)));
            add(&mut totals.evictions, metrics.evictions().map(|(key, count)| (key.label(), count)));
            add(&mut totals.rate_limited, metrics.rate_limited().map(|(key, count)| (key.label(), count)));
            add(&mut totals.upstream, metrics.upstream_requests());
        }
        totals.upstream_failed = failed(&totals.upstream);
        totals
    }
}

impl TotalTimes {
    fn of(metrics: &Metrics) -> Self {
        let none = || vec![0; BUCKETS.len() + 1];
        let mut all = Self { cache: none(), fetched: none(), upstream: metrics.upstream_times().counts };
        for (outcome, times) in metrics.lookup_times() {
            let sum = match outcome {
                Outcome::Hit | Outcome::Negative | Outcome::Stale => &mut all.cache,
                Outcome::Bypass
                | Outcome::Waited
                | Outcome::Collapsed
                | Outcome::Revalidated
                | Outcome::Miss => &mut all.fetched,
            };
            for (sum, count) in sum.iter_mut().zip(times.counts) {
                *sum += count;
            }
        }
        all
    }
}

/// Requests without a usable response, or with one that means a failure of the upstream or a rejected key.
pub(crate) fn failed(by_code: &BTreeMap<String, u64>) -> u64 {
    let is_bad = |code: &str| match code.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok())
    {
        Some(status) => is_failure(status) || status == StatusCode::UNAUTHORIZED,
        None => true,
    };
    by_code.iter().filter(|(code, _)| is_bad(code)).map(|(_, count)| count).sum()
}

fn add<K: Ord>(sums: &mut BTreeMap<K, u64>, counts: impl IntoIterator<Item = (K, u64)>) {
    for (key, count) in counts {
        *sums.entry(key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_a_failure_of_the_upstream() {
        let counts = [("200", 1), ("304", 2), ("404", 4), ("403", 8), ("401", 16), ("429", 32), ("503", 64)];
        let failures = [("connect", 128), ("timeout", 256), ("reset", 512), ("invalid", 1024)];
        let all = counts.into_iter().chain(failures).map(|(code, count)| (code.to_owned(), count)).collect();
        assert_eq!(failed(&all), 16 + 32 + 64 + 128 + 256 + 512 + 1024);
    }
}
