//! Freshness: an entry's age, its lifetime, and the remaining stale uses.
//!
//! One pure calculation from the entry's inputs, the policy and `now` (RFC 9111 section 4.2, RFC 5861), with the
//! RFCs' terms beside the lines that implement them.

use std::time::Duration;

use super::freshness_inputs::{FreshnessInputs, LifetimeSource, SECOND, UNKNOWN};
use super::links;
use crate::clock::Instant;
use crate::config::{CacheControl, CacheSettings};

/// How long an entry with validators is kept once stale: revalidating it costs a 304 instead of the whole call.
const KEPT_FOR_REVALIDATION: u64 = 24 * 3600 * SECOND;

const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(SECOND).saturating_add(duration.subsec_nanos() as u64)
}

/// The terms for one entry at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    initial_age: u64,
    resident: u64,
    lifetime: u64,
    stale_while_revalidate: u64,
    stale_if_error: u64,
    /// The age at which its links are about to expire: from then on it is of no use.
    links_last: u64,
    is_negative: bool,
    has_validators: bool,
    /// Where the lifetime comes from.
    pub(crate) source: LifetimeSource,
    /// Whether the response forbids any stale use.
    pub(crate) never_stale: bool,
}

impl Freshness {
    pub(crate) fn of(inputs: &FreshnessInputs, policy: &CacheSettings, now: Instant) -> Self {
        let honored = policy.upstream_cache_control == CacheControl::Honor && !inputs.is_negative;
        let initial_age = if honored { inputs.initial_age } else { 0 };
        let (source, lifetime) = lifetime(inputs, policy, honored);
        let reuse = &inputs.reuse;
        let never_stale = inputs.is_negative || (honored && (reuse.no_cache || reuse.must_revalidate));
        let window = |own: Option<u32>, configured: u64| match own {
            _ if never_stale => 0,
            Some(seconds) if honored => u64::from(seconds) * SECOND,
            Some(_) | None => configured,
        };
        // A settling call is never served older than twice `settle_ttl`, unless the upstream says so.
        let mut configured_revalidate = nanos(policy.stale_while_revalidate);
        if source == LifetimeSource::Settling {
            let most = nanos(policy.settle_ttl).saturating_mul(2).saturating_sub(lifetime);
            configured_revalidate = configured_revalidate.min(most);
        }
        let links_last = links_last(inputs, initial_age);
        let (source, lifetime) =
            if links_last < lifetime { (LifetimeSource::Link, links_last) } else { (source, lifetime) };
        let capped = |window: u64| window.min(links_last - lifetime);
        let freshness = Self {
            initial_age,
            resident: now.nanos_since(inputs.received),
            lifetime,
            stale_while_revalidate: capped(window(reuse.stale_while_revalidate.get(), configured_revalidate)),
            stale_if_error: capped(window(reuse.stale_if_error.get(), nanos(policy.stale_if_error))),
            links_last,
            is_negative: inputs.is_negative,
            has_validators: inputs.has_validators,
            source,
            never_stale,
        };
        match inputs.must_validate {
            true => Self { lifetime: 0, stale_while_revalidate: 0, ..freshness },
            false => freshness,
        }
    }

    /// The response's age when it was received (`corrected_initial_age`).
    pub(crate) const fn initial_age(&self) -> Duration {
        Duration::from_nanos(self.initial_age)
    }

    /// The time since then (`resident_time`).
    pub(crate) const fn resident(&self) -> Duration {
        Duration::from_nanos(self.resident)
    }

    /// `freshness_lifetime`.
    pub(crate) const fn lifetime(&self) -> Duration {
        Duration::from_nanos(self.lifetime)
    }

    /// How long it may be served stale while it is revalidated.
    pub(crate) const fn stale_while_revalidate(&self) -> Duration {
        Duration::from_nanos(self.stale_while_revalidate)
    }

    /// How long it may be served stale because the upstream fails.
    pub(crate) const fn stale_if_error(&self) -> Duration {
        Duration::from_nanos(self.stale_if_error)
    }

    /// `current_age`.
    const fn age(&self) -> u64 {
        self.initial_age.saturating_add(self.resident)
    }

    /// `current_age` in whole seconds, as in `Age`.
    pub(crate) const fn age_seconds(&self) -> u64 {
        self.age() / SECOND
    }

    /// Whether it is fresh: `freshness_lifetime > current_age`.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.lifetime > self.age()
    }

    /// Freshness left, in nanoseconds.
    pub(super) const fn left(&self) -> u64 {
        self.lifetime.saturating_sub(self.age())
    }

    /// How long it has been stale, in nanoseconds.
    pub(super) const fn stale_for(&self) -> u64 {
        self.age().saturating_sub(self.lifetime)
    }

    /// Freshness left in seconds, rounded up: positive only for fresh entries.
    pub(crate) const fn ttl(&self) -> i64 {
        if self.is_fresh() {
            (self.lifetime - self.age()).div_ceil(SECOND).cast_signed()
        } else {
            -(self.stale_for() / SECOND).cast_signed()
        }
    }

    /// Whether it may be served now because the upstream failed.
    pub(crate) const fn may_serve_on_error(&self) -> bool {
        !self.never_stale && self.stale_for() < self.stale_if_error
    }

    /// Whether it may be served now while it is revalidated.
    pub(crate) const fn may_serve_while_revalidating(&self) -> bool {
        !self.never_stale && self.stale_for() < self.stale_while_revalidate
    }

    /// Whether its links are about to expire, or have: another version of it must be fetched, whatever its
    /// validators.
    pub(crate) const fn links_are_spent(&self) -> bool {
        self.age() >= self.links_last
    }

    /// Whether an entry has no use any more: neither fresh, nor usable stale, nor worth revalidating.
    pub(crate) fn is_spent(&self) -> bool {
        self.age() >= self.last_use()
    }

    /// How long an entry will be of any use.
    pub(crate) fn useful_for(&self) -> Duration {
        Duration::from_nanos(self.last_use().saturating_sub(self.age()))
    }

    /// The age from which on an entry is of no use.
    fn last_use(&self) -> u64 {
        if self.is_negative {
            return self.lifetime;
        }
        let revalidation = if self.has_validators { KEPT_FOR_REVALIDATION } else { 0 };
        let windows = self.stale_while_revalidate.max(self.stale_if_error);
        self.lifetime.saturating_add(windows.max(revalidation)).min(self.links_last)
    }
}

/// The age at which an entry's links are about to expire; never, where that can't be read.
fn links_last(inputs: &FreshnessInputs, initial_age: u64) -> u64 {
    if inputs.links_expire == UNKNOWN {
        return u64::MAX;
    }
    let seconds = inputs.links_expire.saturating_sub(inputs.received_at);
    let left = u64::try_from(seconds).unwrap_or(0).saturating_mul(SECOND);
    let left = left.saturating_sub(nanos(links::MARGIN));
    if left == 0 { 0 } else { left.saturating_add(initial_age) }
}

fn lifetime(inputs: &FreshnessInputs, policy: &CacheSettings, honored: bool) -> (LifetimeSource, u64) {
    if inputs.is_negative {
        return (LifetimeSource::Negative, nanos(policy.not_found_ttl));
    }
    if honored && inputs.reuse.no_cache {
        return (LifetimeSource::NoCache, 0);
    }
    if let Some((source, seconds)) = inputs.explicit.filter(|_| honored) {
        return (source, u64::from(seconds) * SECOND);
    }
    let (source, ttl) = if is_settled(inputs, policy.settle_window) {
        (LifetimeSource::Settled, policy.ttl)
    } else {
        (LifetimeSource::Settling, policy.settle_ttl)
    };
    // Entries stored together must not expire together.
    let ttl = nanos(ttl);
    (source, ttl - ttl / 10_000 * u64::from(inputs.jitter.min(1000)))
}

/// Whether a call had been unchanged for a whole settle window when its response was generated, both by the
/// upstream's clock if the response has a `Date`. Timestamps in the future, and missing ones, count as "just
/// changed".
fn is_settled(inputs: &FreshnessInputs, window: Duration) -> bool {
    let made_at = inputs.received_at.saturating_sub(inputs.ahead.into());
    let age = u64::try_from(made_at.saturating_sub(inputs.changed));
    age.is_ok_and(|age| age.saturating_mul(SECOND) >= nanos(window))
}

#[cfg(test)]
mod tests;
