//! A rate limiter, wherever its tokens come from.

use std::sync::Arc;
use std::time::Duration;

use super::account::Overdraft;
use super::bucket::LocalBucket;
use super::leased::{LeaseDesk, LeasedLimit};
use super::quota::{Exhausted, LimitScope, Quota};
use crate::clock::{self, Instant};
use crate::config::Rate;

/// A limiter of one rate. Its state survives reloads that leave the rate and the source unchanged.
pub(crate) struct Limiter {
    source: LimitSource,
}

enum LimitSource {
    /// This gateway's own.
    Local(LocalBucket),
    /// The fleet's limit.
    Fleet(Arc<LeasedLimit>),
}

impl Limiter {
    /// A full bucket of a gateway that is in no fleet.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { source: LimitSource::Local(LocalBucket::new(rate, None)) }
    }

    /// A full bucket of a gateway of a fleet, for it alone.
    pub(crate) fn local(rate: Rate) -> Self {
        Self { source: LimitSource::Local(LocalBucket::new(rate, Some(LimitScope::Local))) }
    }

    /// A limit that a fleet shares.
    pub(crate) fn leased(rate: Rate, overdraft: Overdraft, desk: Arc<dyn LeaseDesk>) -> Self {
        Self { source: LimitSource::Fleet(LeasedLimit::new(rate, overdraft, desk)) }
    }

    pub(crate) fn rate(&self) -> Rate {
        match &self.source {
            LimitSource::Local(bucket) => bucket.rate(),
            LimitSource::Fleet(leased) => leased.rate(),
        }
    }

    /// The rate that is applied for this scope: that of this gateway's share, while that holds.
    pub(crate) fn rate_in(&self, scope: Option<LimitScope>) -> Rate {
        match &self.source {
            LimitSource::Fleet(leased) if scope == Some(LimitScope::Local) => leased.share(),
            LimitSource::Local(_) | LimitSource::Fleet(_) => self.rate(),
        }
    }

    /// Whether it is a limit that a fleet shares.
    pub(crate) const fn is_leased(&self) -> bool {
        matches!(self.source, LimitSource::Fleet(_))
    }

    /// For whom it holds now; `None` of a gateway that is in no fleet.
    pub(crate) fn scope(&self, now: Instant) -> Option<LimitScope> {
        match &self.source {
            LimitSource::Local(bucket) => bucket.scope(),
            LimitSource::Fleet(leased) => Some(leased.scope(now)),
        }
    }

    /// Takes one token, or says when one will be available. Does not wait.
    pub(crate) fn take(&self, now: Instant) -> Result<Quota, Exhausted> {
        match &self.source {
            LimitSource::Local(bucket) => bucket.take(now),
            LimitSource::Fleet(leased) => leased.take(now),
        }
    }

    /// As [`take`](Self::take), but waits a moment for what the fleet has. `waited` is how long the request has waited for
    /// its engine before.
    pub(crate) async fn acquire(&self, waited: Duration) -> Result<Quota, Exhausted> {
        match &self.source {
            LimitSource::Local(bucket) => bucket.take(clock::now()),
            LimitSource::Fleet(leased) => leased.acquire(waited).await,
        }
    }

    /// As [`take`](Self::take), without taking a token.
    pub(crate) fn look(&self, now: Instant) -> Result<Quota, Exhausted> {
        match &self.source {
            LimitSource::Local(bucket) => bucket.look(now),
            LimitSource::Fleet(leased) => leased.look(now),
        }
    }

    /// A quarter of what passes at once, left to requests that clients wait for. `left` is what the limit has.
    pub(crate) fn reserve(&self, left: &Quota) -> u32 {
        self.rate_in(left.scope).burst.get() / 4
    }

    /// The remaining quota, without taking a token.
    pub(crate) fn left(&self, now: Instant) -> Quota {
        self.look(now).unwrap_or_else(|spent| spent.left)
    }

    /// Prepares for a request that may need a token soon. Does not wait.
    pub(crate) fn foresee(&self, now: Instant) {
        if let LimitSource::Fleet(leased) = &self.source {
            leased.foresee(now);
        }
    }
}
