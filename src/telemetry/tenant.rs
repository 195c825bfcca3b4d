//! The counters of one tenant.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::counter::{CodeCounter, Counter, Gauge, StatusCounter};
use super::eviction::Eviction;
use super::histogram::Histogram;
use super::leases::LeaseMetrics;
use super::levels::TenantLevelMetrics;
use super::media::MediaMetrics;
use super::upstream_failure::UpstreamFailure;
use super::wait_end::WaitEnd;
use crate::domain::{ErrorCode, NotStored, Outcome, RepeatReason, RouteAccess, RouteLabel, TenantName};

/// One tenant's counters, indexed by enum, so that nothing a client sends can add a series.
#[derive(Debug)]
pub(crate) struct TenantMetrics {
    name: TenantName,
    requests: [StatusCounter; RouteLabel::ALL.len()],
    lookups: [Counter; Outcome::ALL.len()],
    /// Lookups that were fetched although a stale entry could have been served.
    fetched_but_covered: Counter,
    refusals: CodeCounter,
    not_stored: [Counter; NotStored::ALL.len()],
    evictions: [Counter; Eviction::ALL.len()],
    rate_limited: [Counter; LimitLabel::ALL.len()],
    upstream_answers: StatusCounter,
    upstream_failures: [Counter; UpstreamFailure::ALL.len()],
    upstream_repeats: [Counter; RepeatReason::ALL.len()],
    /// Responses whose `data.id` named another call.
    pub(crate) identity_mismatches: Counter,
    /// Upstream 401s to the tenant's key.
    pub(crate) upstream_key_rejections: Counter,
    /// Promotions of the tenant's next key.
    pub(crate) upstream_key_promotions: Counter,
    pub(crate) upstream_retries: Counter,
    /// Time from sending an upstream request to the end of its response.
    pub(crate) upstream_seconds: Histogram,
    /// A [`KeyInUse`], updated before each scrape.
    upstream_key: AtomicU8,
    /// 1 while the breaker is open or half-open.
    pub(crate) upstream_breaker_open: Gauge,
    pub(crate) upstream_in_flight: Gauge,
    /// The routes that it may use.
    routes: AtomicU8,
    /// Whether its lookups may wait until a call is final.
    offers_waits: AtomicBool,
    wait_ends: [Counter; WaitEnd::ALL.len()],
    /// Upstream requests for calls that are waited for.
    pub(crate) wait_polls: Counter,
    /// Waiting lookups, as of the last look.
    pub(crate) waits: Gauge,
    /// Calls that are polled for them, as of the last look.
    pub(crate) watches: Gauge,
    /// Of the disk level.
    pub(crate) disk: TenantLevelMetrics,
    /// Of the shared level.
    pub(crate) shared: TenantLevelMetrics,
    /// Of its limits that a fleet shares, in the order of [`LimitLabel::ALL`].
    pub(crate) leases: [LeaseMetrics; LimitLabel::ALL.len()],
    /// Recordings and transcriptions.
    pub(crate) media: MediaMetrics,
    /// Entries in the cache, updated before each scrape.
    pub(crate) cache_entries: Gauge,
    /// Their bytes, updated before each scrape.
    pub(crate) cache_bytes: Gauge,
}

/// Which of the gateway's limits refused; the `limit` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitLabel {
    /// The limit on the tenant's requests.
    Tenant,
    /// The limit on requests sent upstream for it.
    Upstream,
}

impl LimitLabel {
    pub(crate) const ALL: [Self; 2] = [Self::Tenant, Self::Upstream];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Upstream => "upstream",
        }
    }
}

/// Which of a tenant's upstream keys is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyInUse {
    /// `upstream_key`, without another one.
    Only,
    /// `upstream_key`.
    Primary,
    /// `upstream_key_next`.
    Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyLabel {
    Primary,
    Next,
}

impl KeyLabel {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Next => "next",
        }
    }
}

impl KeyInUse {
    /// The label of the key in use.
    pub(crate) const fn label(self) -> KeyLabel {
        match self {
            Self::Only | Self::Primary => KeyLabel::Primary,
            Self::Next => KeyLabel::Next,
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
    pub(crate) fn new(name: TenantName) -> Self {
        Self {
            name,
            requests: Default::default(),
            lookups: Default::default(),
            fetched_but_covered: Counter::default(),
            refusals: CodeCounter::default(),
            not_stored: Default::default(),
            evictions: Default::default(),
            rate_limited: Default::default(),
            upstream_answers: StatusCounter::default(),
            upstream_failures: Default::default(),
            upstream_repeats: Default::default(),
            identity_mismatches: Counter::default(),
            upstream_key_rejections: Counter::default(),
            upstream_key_promotions: Counter::default(),
            upstream_retries: Counter::default(),
            upstream_seconds: Histogram::default(),
            upstream_key: AtomicU8::new(KeyInUse::Only as u8),
            upstream_breaker_open: Gauge::default(),
            upstream_in_flight: Gauge::default(),
            routes: AtomicU8::new(RouteAccess::CALL.to_bits()),
            offers_waits: AtomicBool::new(false),
            wait_ends: Default::default(),
            wait_polls: Counter::default(),
            waits: Gauge::default(),
            watches: Gauge::default(),
            disk: TenantLevelMetrics::default(),
            shared: TenantLevelMetrics::default(),
            leases: Default::default(),
            media: MediaMetrics::default(),
            cache_entries: Gauge::default(),
            cache_bytes: Gauge::default(),
        }
    }

    pub(crate) const fn name(&self) -> &TenantName {
        &self.name
    }

    /// Counts an answered request.
    pub(crate) fn count_request(&self, route: RouteLabel, status: http::StatusCode) {
        indexed!(self.requests, route, |counter: &StatusCounter| counter.increment(status));
    }

    /// Counts a lookup's one outcome.
    pub(crate) fn count_lookup(&self, outcome: Outcome) {
        indexed!(self.lookups, outcome, Counter::increment);
    }

    /// Counts a lookup that was fetched although a stale entry could have been served.
    pub(crate) fn count_fetched_but_covered(&self) {
        self.fetched_but_covered.increment();
    }

    /// Lookups that were, or could have been, answered without the upstream.
    pub(crate) fn lookups_covered(&self) -> u64 {
        let from_cache = self.lookups().filter(|(outcome, _)| outcome.is_from_cache());
        from_cache.map(|(_, count)| count).sum::<u64>() + self.fetched_but_covered.get()
    }

    /// Counts an answer that the gateway made itself.
    pub(crate) fn count_refusal(&self, code: ErrorCode) {
        self.refusals.increment(code);
    }

    /// Answers that the gateway made itself, by code.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (ErrorCode, u64)> {
        self.refusals.counts()
    }

    /// Notes which upstream key is in use.
    pub(crate) fn show_key(&self, key: KeyInUse) {
        self.upstream_key.store(key as u8, Relaxed);
    }

    /// Its upstream keys, and whether each is in use.
    pub(crate) fn upstream_keys(&self) -> impl Iterator<Item = (KeyLabel, bool)> {
        let key = self.upstream_key.load(Relaxed);
        let (has_next, uses_next) = (key != KeyInUse::Only as u8, key == KeyInUse::Next as u8);
        let next = has_next.then_some((KeyLabel::Next, uses_next));
        std::iter::once((KeyLabel::Primary, !uses_next)).chain(next)
    }

    /// Notes the routes that it may use.
    pub(crate) fn offer_routes(&self, routes: RouteAccess) {
        self.routes.store(routes.to_bits(), Relaxed);
    }

    /// Whether it may use a route.
    pub(super) fn offers(&self, route: RouteLabel) -> bool {
        RouteAccess::from_bits(self.routes.load(Relaxed)).allows(route)
    }

    /// Notes the longest wait of its lookups until a call is final; zero: none.
    pub(crate) fn offer_waits(&self, longest: Duration) {
        self.offers_waits.store(!longest.is_zero(), Relaxed);
    }

    /// Whether its lookups may wait until a call is final.
    pub(crate) fn offers_waits(&self) -> bool {
        self.offers_waits.load(Relaxed)
    }

    /// Counts a wait's one end.
    pub(crate) fn count_wait(&self, end: WaitEnd) {
        indexed!(self.wait_ends, end, Counter::increment);
    }

    /// Waits by their end.
    pub(crate) fn wait_ends(&self) -> impl Iterator<Item = (WaitEnd, u64)> {
        WaitEnd::ALL.into_iter().zip(self.wait_ends.iter().map(Counter::get))
    }

    /// Counts an answer that was not stored.
    pub(crate) fn count_not_stored(&self, why: NotStored) {
        indexed!(self.not_stored, why, Counter::increment);
    }

    /// Counts entries that left the cache.
    pub(crate) fn count_evictions(&self, cause: Eviction, entries: u64) {
        indexed!(self.evictions, cause, |counter: &Counter| counter.add(entries));
    }

    /// Counts a request or fetch that a limit refused.
    pub(crate) fn count_rate_limited(&self, limit: LimitLabel) {
        indexed!(self.rate_limited, limit, Counter::increment);
    }

    /// Counts an upstream request that got a response.
    pub(crate) fn count_upstream_answer(&self, status: http::StatusCode) {
        self.upstream_answers.increment(status);
    }

    /// Counts an upstream request that follows another one of the same fetch.
    pub(crate) fn count_upstream_repeat(&self, reason: RepeatReason) {
        indexed!(self.upstream_repeats, reason, Counter::increment);
    }

    /// Upstream requests that followed another one of the same fetch, by reason.
    pub(crate) fn upstream_repeats(&self) -> impl Iterator<Item = (RepeatReason, u64)> {
        RepeatReason::ALL.into_iter().zip(self.upstream_repeats.iter().map(Counter::get))
    }

    /// Counts an upstream request that got none.
    pub(crate) fn count_upstream_failure(&self, failure: UpstreamFailure) {
        indexed!(self.upstream_failures, failure, Counter::increment);
    }

    /// Counts by route and status, for the scrape.
    pub(super) fn requests(&self) -> impl Iterator<Item = (RouteLabel, &StatusCounter)> {
        let access = RouteAccess::from_bits(self.routes.load(Relaxed)).and(RouteLabel::None);
        let all = RouteLabel::ALL.into_iter().zip(&self.requests);
        // Counts from before a reload that removed the route stay.
        all.filter(move |(label, counter)| {
            access.allows(*label) || counter.counts().values().any(|count| *count > 0)
        })
    }

    /// Its answered requests by status, whatever they asked for.
    pub(crate) fn answers(&self) -> BTreeMap<u16, u64> {
        let mut all = BTreeMap::new();
        for (status, count) in self.requests().flat_map(|(_, counter)| counter.counts()) {
            *all.entry(status).or_default() += count;
        }
        all
    }

    pub(crate) fn lookups(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.lookups.iter().map(Counter::get))
    }

    pub(crate) fn not_stored(&self) -> impl Iterator<Item = (NotStored, u64)> {
        NotStored::ALL.into_iter().zip(self.not_stored.iter().map(Counter::get))
    }

    pub(crate) fn evictions(&self) -> impl Iterator<Item = (Eviction, u64)> {
        Eviction::ALL.into_iter().zip(self.evictions.iter().map(Counter::get))
    }

    pub(crate) fn rate_limited(&self) -> impl Iterator<Item = (LimitLabel, u64)> {
        LimitLabel::ALL.into_iter().zip(self.rate_limited.iter().map(Counter::get))
    }

    /// Upstream requests that were answered, by status.
    pub(crate) fn upstream_answers(&self) -> BTreeMap<u16, u64> {
        self.upstream_answers.counts()
    }

    /// Upstream requests that were not, by kind.
    pub(crate) fn upstream_failures(&self) -> impl Iterator<Item = (UpstreamFailure, u64)> {
        UpstreamFailure::ALL.into_iter().zip(self.upstream_failures.iter().map(Counter::get))
    }

    /// Upstream requests by status or kind of failure; like statuses, failures appear once they have occurred.
    pub(crate) fn upstream_requests(&self) -> impl Iterator<Item = (String, u64)> {
        let answers = self.upstream_answers().into_iter().map(|(status, n)| (status.to_string(), n));
        answers.chain(
            self.upstream_failures().filter(|(_, n)| *n > 0).map(|(kind, n)| (kind.label().to_owned(), n)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enums_are_declared_in_the_order_of_their_lists() {
        assert!(RouteLabel::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(ErrorCode::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(Outcome::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(NotStored::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(Eviction::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(LimitLabel::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(WaitEnd::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
        assert!(UpstreamFailure::ALL.iter().enumerate().all(|(place, item)| *item as usize == place));
    }
}
