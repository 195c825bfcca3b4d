//! What is counted for one tenant.

use std::collections::BTreeMap;

use crate::domain::{NotStored, Outcome, RouteLabel, TenantName};

use super::counter::{Counter, Gauge, StatusCounter};

/// One tenant's numbers, indexed by enum: nothing a client sends can add a series.
#[derive(Debug)]
pub struct TenantMetrics {
    name: TenantName,
    requests: [StatusCounter; RouteLabel::ALL.len()],
    lookups: [Counter; Outcome::ALL.len()],
    not_stored: [Counter; NotStored::ALL.len()],
    evictions: [Counter; Eviction::ALL.len()],
    rate_limited: [Counter; LimitLabel::ALL.len()],
    upstream_answers: StatusCounter,
    upstream_failures: [Counter; UpstreamFailure::ALL.len()],
    /// `data.id` named another call.
    pub identity_mismatches: Counter,
    /// The upstream answered 401 to the tenant's key.
    pub upstream_key_rejections: Counter,
    /// The tenant's next key took over.
    pub upstream_key_promotions: Counter,
    /// Upstream requests that were repeated.
    pub upstream_retries: Counter,
    /// 1 while the breaker is open or half-open.
    pub upstream_breaker_open: Gauge,
    /// Upstream requests under way.
    pub upstream_in_flight: Gauge,
    /// Entries in the cache, as of the last look.
    pub cache_entries: Gauge,
    /// Their bytes, as of the last look.
    pub cache_bytes: Gauge,
}

/// Why an entry left the cache; the `cause` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// To make room.
    Size,
    /// Past all use.
    Expired,
    /// By a purge, or because the upstream's answer said that it must go.
    Purged,
    /// By a newer answer.
    Replaced,
}

impl Eviction {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Size, Self::Expired, Self::Purged, Self::Replaced];

    /// The label's text.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Expired => "expired",
            Self::Purged => "purged",
            Self::Replaced => "replaced",
        }
    }
}

/// Which of the gateway's limits refused; the `limit` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitLabel {
    /// The tenant's requests.
    Tenant,
    /// What goes upstream for it.
    Upstream,
}

impl LimitLabel {
    /// Both limits.
    pub const ALL: [Self; 2] = [Self::Tenant, Self::Upstream];

    /// The label's text.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Upstream => "upstream",
        }
    }
}

/// How an upstream request ended without a usable response; values of the `code` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection.
    Connect,
    /// Out of time.
    Timeout,
    /// The connection broke.
    Reset,
    /// What came was not HTTP, or too much.
    Invalid,
}

impl UpstreamFailure {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Reset, Self::Invalid];

    /// The label's text.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
        }
    }
}

/// The element for `$key` of an array in the order of `ALL`. The arrays have `ALL`'s length, so the
/// lookup never fails.
macro_rules! indexed {
    ($array:expr, $key:expr, $visit:expr) => {
        if let Some(element) = $array.get($key as usize) {
            $visit(element)
        }
    };
}

impl TenantMetrics {
    /// All at 0.
    pub fn new(name: TenantName) -> Self {
        Self {
            name,
            requests: Default::default(),
            lookups: Default::default(),
            not_stored: Default::default(),
            evictions: Default::default(),
            rate_limited: Default::default(),
            upstream_answers: StatusCounter::default(),
            upstream_failures: Default::default(),
            identity_mismatches: Counter::default(),
            upstream_key_rejections: Counter::default(),
            upstream_key_promotions: Counter::default(),
            upstream_retries: Counter::default(),
            upstream_breaker_open: Gauge::default(),
            upstream_in_flight: Gauge::default(),
            cache_entries: Gauge::default(),
            cache_bytes: Gauge::default(),
        }
    }

    /// The tenant.
    pub const fn name(&self) -> &TenantName {
        &self.name
    }

    /// Counts an answered request.
    pub fn count_request(&self, route: RouteLabel, status: http::StatusCode) {
        indexed!(self.requests, route, |counter: &StatusCounter| counter.increment(status));
    }

    /// Counts a lookup's one outcome.
    pub fn count_lookup(&self, outcome: Outcome) {
        indexed!(self.lookups, outcome, Counter::increment);
    }

    /// Counts an answer that was not stored.
    pub fn count_not_stored(&self, why: NotStored) {
        indexed!(self.not_stored, why, Counter::increment);
    }

    /// Counts entries that left the cache.
    pub fn count_evictions(&self, cause: Eviction, entries: u64) {
        indexed!(self.evictions, cause, |counter: &Counter| counter.add(entries));
    }

    /// Counts a request or fetch that a limit refused.
    pub fn count_rate_limited(&self, limit: LimitLabel) {
        indexed!(self.rate_limited, limit, Counter::increment);
    }

    /// Counts an upstream request that got a response.
    pub fn count_upstream_answer(&self, status: http::StatusCode) {
        self.upstream_answers.increment(status);
    }

    /// Counts an upstream request that got none.
    pub fn count_upstream_failure(&self, failure: UpstreamFailure) {
        indexed!(self.upstream_failures, failure, Counter::increment);
    }

    /// Counts by route and status, for the scrape.
    pub(super) fn requests(&self) -> impl Iterator<Item = (RouteLabel, &StatusCounter)> {
        RouteLabel::ALL.into_iter().zip(&self.requests)
    }

    /// Its answered requests by status, whatever they asked for.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        let mut all = BTreeMap::new();
        for (status, count) in self.requests().flat_map(|(_, counter)| counter.counts()) {
            *all.entry(status).or_default() += count;
        }
        all
    }

    /// Counts by outcome.
    pub fn lookups(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.lookups.iter().map(Counter::get))
    }

    /// Counts by reason.
    pub fn not_stored(&self) -> impl Iterator<Item = (NotStored, u64)> {
        NotStored::ALL.into_iter().zip(self.not_stored.iter().map(Counter::get))
    }

    /// Counts by cause.
    pub fn evictions(&self) -> impl Iterator<Item = (Eviction, u64)> {
        Eviction::ALL.into_iter().zip(self.evictions.iter().map(Counter::get))
    }

    /// Counts by limit.
    pub fn rate_limited(&self) -> impl Iterator<Item = (LimitLabel, u64)> {
        LimitLabel::ALL.into_iter().zip(self.rate_limited.iter().map(Counter::get))
    }

    /// Upstream requests by status or kind of failure; the failures are there only once they
    /// happened, as statuses are.
    pub fn upstream_requests(&self) -> impl Iterator<Item = (String, u64)> {
        let answers = self.upstream_answers.counts().into_iter().map(|(status, n)| (status.to_string(), n));
        let failures = UpstreamFailure::ALL.into_iter().zip(self.upstream_failures.iter().map(Counter::get));
        answers.chain(failures.filter(|(_, n)| *n > 0).map(|(kind, n)| (kind.label().to_owned(), n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_enums_stand_in_the_order_of_their_lists() {
        assert!(RouteLabel::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(Outcome::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(NotStored::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(Eviction::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(LimitLabel::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(UpstreamFailure::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
    }
}
