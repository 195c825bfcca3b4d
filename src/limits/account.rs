//! What this gateway has leased of a fleet's limit, and what that admits. Pure: it sends nothing, and `now` is an
//! argument.
//!
//! The bound: a request is admitted by a token that the fleet's bucket gave within the last second, or by an overdraft
//! that the next tokens repay. So the fleet admits at most what the bucket gives in a second more, and the overdrafts
//! that are not repaid yet.

use std::collections::VecDeque;
use std::time::Duration;

use super::quota::{Exhausted, LimitScope, Quota};
use crate::clock::Instant;
use crate::config::Rate;

/// A token is spent within this time, or gone. Counted from when it was asked for, which is before it was given.
const LEASE_LIFE: Duration = Duration::from_secs(1);
/// An engine that has not answered for so long is lost, until it answers.
const OVERDUE: Duration = Duration::from_millis(250);
/// A lease is as large as the demand of this time.
const HORIZON: Duration = Duration::from_millis(250);
/// The shortest time that demand is measured over.
const SHORTEST_MEASURE: Duration = Duration::from_millis(25);
/// Leases that end within this time of each other are one, which ends with the first.
const TOGETHER: Duration = Duration::from_millis(50);
/// How long nothing is asked after the bucket could not give all. At most the longest: it may be another bucket by then.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The same, while the bucket fills faster than that.
const USUAL_PAUSE: Duration = Duration::from_millis(100);
/// How long nothing is asked after a failure.
const AFTER_FAILURE: Duration = Duration::from_millis(250);
/// The longest interval of a share, as long as a limit may take to refill: many gateways of a slow limit would exceed
/// what a local bucket can count.
const LONGEST_SHARE_INTERVAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// When a request may be admitted by a lease that is on its way, which then repays it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdraft {
    /// At once: the request can't wait.
    AtOnce,
    /// Once the request has waited for the engine long enough.
    WhenLate,
}

/// What a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseVerdict {
    Admitted,
    Refused,
    /// The engine is lost: this gateway's share of the limit decides.
    Unanswered,
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    tokens: u32,
    ends: Instant,
}

#[derive(Debug, Clone, Copy)]
struct AskedLease {
    tokens: u32,
    at: Instant,
}

/// The fleet's bucket, as of the last answer.
#[derive(Debug, Clone, Copy)]
struct SeenBucket {
    tokens: f64,
    at: Instant,
}

/// One limit's account.
#[derive(Debug)]
pub(super) struct LeaseAccount {
    rate: Rate,
    overdraft: Overdraft,
    /// The oldest first.
    leases: VecDeque<Lease>,
    /// Requests that were admitted by tokens to come.
    owed: u32,
    /// At most one lease is on its way.
    asked: Option<AskedLease>,
    last_wish: u32,
    last_asked: Option<Instant>,
    paused_until: Option<Instant>,
    /// Requests since the last lease was asked for.
    attempts: u32,
    /// Requests that wait for a lease.
    waiting: u32,
    bucket: Option<SeenBucket>,
    has_failed: bool,
}

impl LeaseAccount {
    pub(super) fn new(rate: Rate, overdraft: Overdraft) -> Self {
        Self {
            rate,
            overdraft,
            leases: VecDeque::new(),
            owed: 0,
            asked: None,
            last_wish: 0,
            last_asked: None,
            paused_until: None,
            attempts: 0,
            waiting: 0,
            bucket: None,
            has_failed: false,
        }
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// The tokens to ask the fleet's bucket for now, for one more request, if any. They count as asked for.
    pub(super) fn ask(&mut self, now: Instant, gateways: u32) -> Option<u32> {
        self.attempts = self.attempts.saturating_add(1);
        self.ask_for_demand(now, gateways)
    }

    fn ask_for_demand(&mut self, now: Instant, gateways: u32) -> Option<u32> {
        self.drop_ended(now);
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        if self.asked.is_some() || is_paused || self.held() > self.last_wish / 2 {
            return None;
        }
        let wish = self.wish(now, gateways);
        self.last_wish = wish;
        Some(self.note_asked(now, self.owed.saturating_add(wish)))
    }

    /// As [`ask`](Self::ask), for a request that may turn out not to need a token. Where tokens are rare none is asked
    /// for: it would be gone unspent.
    pub(super) fn foresee(&mut self, now: Instant, gateways: u32) -> Option<u32> {
        let are_rare = self.rate.interval.saturating_mul(gateways).saturating_mul(4) > LEASE_LIFE;
        if are_rare { None } else { self.ask_for_demand(now, gateways) }
    }

    /// The tokens to ask for, of those that [`ask`](Self::ask) has noted and that are not asked for yet: at least as many,
    /// and enough for the requests that have come since.
    pub(super) fn ask_for_herd(&mut self, gateways: u32) -> Option<u32> {
        let waiting = self.waiting.min(self.most(gateways));
        let asked = self.asked.as_mut()?;
        asked.tokens = asked.tokens.max(self.owed.saturating_add(waiting));
        self.last_wish = self.last_wish.max(waiting);
        Some(asked.tokens)
    }

    /// The tokens to ask for after a failure, if none are on their way: as many as are owed, to learn whether the
    /// engine answers again.
    pub(super) fn ask_again(&mut self, now: Instant) -> Option<u32> {
        self.asked.is_none().then(|| self.note_asked(now, self.owed))
    }

    fn note_asked(&mut self, now: Instant, tokens: u32) -> u32 {
        self.asked = Some(AskedLease { tokens, at: now });
        (self.last_asked, self.attempts) = (Some(now), 0);
        tokens
    }

    /// The demand of the next moment: as much as lately, and not less than this gateway's part of what the bucket gets,
    /// so that the engine is seldom asked. At most this gateway's part of the burst, so that none has it all.
    fn wish(&self, now: Instant, gateways: u32) -> u32 {
        if self.attempts.max(self.waiting) == 0 {
            return 1;
        }
        let gateways = gateways.max(1);
        let part = HORIZON.as_nanos() / self.rate.interval.saturating_mul(gateways).as_nanos().max(1);
        let since = self.last_asked.map_or(HORIZON, |last| now.duration_since(last)).max(SHORTEST_MEASURE);
        let demand = (u128::from(self.attempts) * HORIZON.as_nanos()).div_ceil(since.as_nanos());
        let wish = part.max(demand).max(u128::from(self.waiting));
        u32::try_from(wish).unwrap_or(u32::MAX).clamp(1, self.most(gateways))
    }

    fn most(&self, gateways: u32) -> u32 {
        self.rate.burst.get().div_ceil(gateways.max(1))
    }

    /// Admits a request, or not. `is_late` is whether the request has waited for the engine long enough.
    pub(super) fn admit(&mut self, now: Instant, gateways: u32, is_late: bool) -> LeaseVerdict {
        if self.is_lost(now) {
            return LeaseVerdict::Unanswered;
        }
        if self.spend(now) {
            return LeaseVerdict::Admitted;
        }
        if self.may_overdraw(is_late) && self.owed < allowance(self.rate, gateways) {
            self.owed += 1;
            return LeaseVerdict::Admitted;
        }
        LeaseVerdict::Refused
    }

    /// What [`admit`](Self::admit) would say, as far as it is known: a lease that may be had counts as one.
    pub(super) fn would_admit(&self, now: Instant) -> LeaseVerdict {
        let is_paused = self.paused_until.is_some_and(|until| now < until);
        if self.is_lost(now) {
            LeaseVerdict::Unanswered
        } else if self.held_at(now) > 0 || self.asked.is_some() || !is_paused {
            LeaseVerdict::Admitted
        } else {
            LeaseVerdict::Refused
        }
    }

    /// Whether a lease is on its way, which a refused request may wait for.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// A request begins or ends to wait for a lease.
    pub(super) fn note_waiting(&mut self, change: i32) {
        self.waiting = self.waiting.saturating_add_signed(change);
    }

    /// Takes the answer: the tokens that the bucket gave, and those that it has left.
    pub(super) fn receive(&mut self, now: Instant, given: u32, left: f64) {
        let Some(asked) = self.asked.take() else { return };
        self.has_failed = false;
        let most = f64::from(self.rate.burst.get());
        let left = if left.is_finite() { left.clamp(0.0, most) } else { 0.0 };
        self.bucket = Some(SeenBucket { tokens: left, at: now });
        self.paused_until = (given < asked.tokens).then(|| now + self.pause(left));
        let ends = asked.at + LEASE_LIFE;
        if ends <= now {
            return;
        }
        let given = given.min(asked.tokens);
        let repaid = given.min(self.owed);
        self.owed -= repaid;
        self.add_lease(Lease { tokens: given - repaid, ends });
    }

    /// The engine did not answer.
    pub(super) fn fail(&mut self, now: Instant) {
        (self.asked, self.has_failed) = (None, true);
        self.paused_until = Some(now + AFTER_FAILURE);
    }

    /// Whether the engine does not answer.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        self.has_failed || self.asked.is_some_and(|asked| now.duration_since(asked.at) >= OVERDUE)
    }

    /// How long the bucket needs to have something again that is worth a question. It must not get full meanwhile.
    fn pause(&self, left: f64) -> Duration {
        let filling = self.rate.interval.saturating_mul(self.rate.burst.get()) / 8;
        let next = self.rate.interval.mul_f64((1.0 - left).max(0.0));
        filling.min(USUAL_PAUSE).max(next).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    fn may_overdraw(&self, is_late: bool) -> bool {
        match self.overdraft {
            Overdraft::AtOnce => self.is_asked(),
            Overdraft::WhenLate => self.is_asked() && is_late,
        }
    }

    fn add_lease(&mut self, lease: Lease) {
        match self.leases.back_mut() {
            _ if lease.tokens == 0 => {}
            Some(last) if last.ends + TOGETHER >= lease.ends => {
                last.tokens = last.tokens.saturating_add(lease.tokens);
            }
            Some(_) | None => self.leases.push_back(lease),
        }
    }

    fn spend(&mut self, now: Instant) -> bool {
        self.drop_ended(now);
        let Some(first) = self.leases.front_mut() else { return false };
        first.tokens -= 1;
        if first.tokens == 0 {
            self.leases.pop_front();
        }
        true
    }

    fn drop_ended(&mut self, now: Instant) {
        while self.leases.front().is_some_and(|lease| lease.ends <= now) {
            self.leases.pop_front();
        }
    }

    fn held(&self) -> u32 {
        self.leases.iter().fold(0, |sum, lease| sum.saturating_add(lease.tokens))
    }

    fn held_at(&self, now: Instant) -> u32 {
        let alive = self.leases.iter().filter(|lease| lease.ends > now);
        alive.fold(0, |sum, lease| sum.saturating_add(lease.tokens))
    }

    /// What the fleet has left, as far as it is known here: the bucket as it was when last seen, and refilled since.
    pub(super) fn quota(&self, now: Instant) -> Quota {
        // Neither negative nor above the burst.
        let in_bucket = self.in_bucket(now) as u32;
        let left = in_bucket.saturating_add(self.held_at(now)).saturating_sub(self.owed);
        self.quota_of(left.min(self.rate.burst.get()))
    }

    /// The bucket as it was when last seen, and refilled since; full before.
    fn in_bucket(&self, now: Instant) -> f64 {
        let burst = f64::from(self.rate.burst.get());
        self.bucket.map_or(burst, |SeenBucket { tokens, at }| {
            let refilled = now.duration_since(at).as_secs_f64() / self.rate.interval.as_secs_f64();
            (tokens + refilled).min(burst)
        })
    }

    /// The refusal of a request: until the bucket can have a token for it, once what is owed is repaid, and no sooner
    /// than it is asked again.
    pub(super) fn exhausted(&self, now: Instant) -> Exhausted {
        let paused = self.paused_until.map_or(Duration::ZERO, |until| until.duration_since(now));
        let missing = 1.0 + f64::from(self.owed) - self.in_bucket(now);
        let refilled = self.rate.interval.mul_f64(missing.max(0.0));
        Exhausted { retry_after: refilled.max(paused).max(SHORTEST_PAUSE), left: self.quota_of(0) }
    }

    fn quota_of(&self, remaining: u32) -> Quota {
        let missing = self.rate.burst.get() - remaining.min(self.rate.burst.get());
        let nanos = self.rate.interval.as_nanos().saturating_mul(missing.into());
        let full_in_seconds = u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        Quota { remaining, full_in_seconds, scope: Some(LimitScope::Fleet) }
    }
}

/// The most requests that may be admitted by tokens to come: all gateways together a quarter of the burst, rounded up
/// for each.
fn allowance(rate: Rate, gateways: u32) -> u32 {
    rate.burst.get().div_ceil(gateways.max(1).saturating_mul(4))
}

/// A gateway's share of a limit, while the engine is lost.
pub(super) fn share(rate: Rate, gateways: u32) -> Rate {
    let gateways = gateways.max(1);
    let burst = std::num::NonZeroU32::new(rate.burst.get() / gateways).unwrap_or(std::num::NonZeroU32::MIN);
    Rate { interval: rate.interval.saturating_mul(gateways).min(LONGEST_SHARE_INTERVAL), burst }
}

#[cfg(test)]
mod tests;
