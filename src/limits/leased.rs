//! A limit that a fleet shares, as one gateway applies it: by leases, or by its share while the engine is lost.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::account::{LeaseAccount, LeaseVerdict, Overdraft, share};
use super::bucket::LocalBucket;
use super::quota::{Exhausted, LimitScope, Quota};
use crate::clock::{self, Instant};
use crate::config::Rate;

/// Where leases come from.
pub(crate) trait LeaseDesk: Send + Sync {
    /// Whether leases may be asked for.
    fn is_open(&self) -> bool;

    /// The gateways among which the limit is shared; at least 1.
    fn gateways(&self) -> u32;

    /// How long a request waits for the engine, if it waits.
    fn patience(&self) -> Duration;

    /// Asks for a lease of so many tokens. Does not wait: the limit receives the answer, or learns of the failure.
    fn request(&self, limit: &Arc<LeasedLimit>, tokens: u32);

    /// The share is used from now on.
    fn note_fallback(&self);
}

/// A limit that a fleet shares.
pub(crate) struct LeasedLimit {
    rate: Rate,
    desk: Arc<dyn LeaseDesk>,
    state: Mutex<LeasedState>,
    /// An answer has come.
    answers: Notify,
}

struct LeasedState {
    account: LeaseAccount,
    /// Drawn down by every request that is admitted, and kept for as long as the share is the same, so that an engine
    /// that comes and goes refills nothing.
    share: Option<LocalBucket>,
    is_falling_back: bool,
}

/// A request that was not admitted.
struct RefusedAttempt {
    spent: Exhausted,
    /// A lease is on its way that may yet admit it.
    is_lease_asked: bool,
}

/// A request that waits for a lease, for as long as this lives.
struct LeaseWaiter<'a>(&'a LeasedLimit);

impl<'a> LeaseWaiter<'a> {
    fn new(limit: &'a LeasedLimit) -> Self {
        limit.lock().account.note_waiting(1);
        Self(limit)
    }
}

impl Drop for LeaseWaiter<'_> {
    fn drop(&mut self) {
        self.0.lock().account.note_waiting(-1);
    }
}

impl LeasedState {
    fn share(&mut self, gateways: u32) -> &LocalBucket {
        let rate = share(self.account.rate(), gateways);
        let same = self.share.take().filter(|bucket| bucket.rate() == rate);
        self.share.insert(same.unwrap_or_else(|| LocalBucket::new(rate, Some(LimitScope::Local))))
    }
}

impl LeasedLimit {
    pub(super) fn new(rate: Rate, overdraft: Overdraft, desk: Arc<dyn LeaseDesk>) -> Arc<Self> {
        let account = LeaseAccount::new(rate, overdraft);
        let state = LeasedState { account, share: None, is_falling_back: false };
        Arc::new(Self { rate, desk, state: Mutex::new(state), answers: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, LeasedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn rate(&self) -> Rate {
        self.rate
    }

    /// This gateway's share, which holds while the engine is lost.
    pub(super) fn share(&self) -> Rate {
        share(self.rate, self.desk.gateways())
    }

    /// Whether the fleet's bucket decides now, or this gateway's share.
    pub(super) fn scope(&self, now: Instant) -> LimitScope {
        match self.desk.is_open() && !self.lock().account.is_lost(now) {
            true => LimitScope::Fleet,
            false => LimitScope::Local,
        }
    }

    /// Admits one request, or says when to come back. Does not wait.
    pub(super) fn take(self: &Arc<Self>, now: Instant) -> Result<Quota, Exhausted> {
        self.attempt(now, false).map_err(|refused| refused.spent)
    }

    /// As [`take`](Self::take), but waits for a lease that may admit the request, which has `waited` for the engine
    /// before: with that, no longer than it may.
    pub(super) async fn acquire(self: &Arc<Self>, waited: Duration) -> Result<Quota, Exhausted> {
        let end = clock::now() + self.desk.patience().saturating_sub(waited);
        let (mut waiter, mut has_timed_out) = (None, false);
        loop {
            let mut answer = pin!(self.answers.notified());
            // From here on no answer is missed.
            answer.as_mut().enable();
            let now = clock::now();
            let is_late = has_timed_out || now >= end;
            let RefusedAttempt { spent, is_lease_asked } = match self.attempt(now, is_late) {
                Ok(left) => return Ok(left),
                Err(refused) => refused,
            };
            if is_late || !is_lease_asked {
                return Err(spent);
            }
            waiter.get_or_insert_with(|| LeaseWaiter::new(self));
            has_timed_out = clock::until(end, answer).await.is_err();
        }
    }

    fn attempt(self: &Arc<Self>, now: Instant, is_late: bool) -> Result<Quota, RefusedAttempt> {
        let (is_open, gateways) = (self.desk.is_open(), self.desk.gateways());
        let mut state = self.lock();
        let asked = if is_open { state.account.ask(now, gateways) } else { None };
        let verdict =
            if is_open { state.account.admit(now, gateways, is_late) } else { LeaseVerdict::Unanswered };
        let begins_to_fall_back = verdict == LeaseVerdict::Unanswered && !state.is_falling_back;
        state.is_falling_back = verdict == LeaseVerdict::Unanswered;
        let taken = match verdict {
            LeaseVerdict::Admitted => {
                // The share that may follow must not grant once more what the fleet has granted.
                let _ = state.share(gateways).take(now);
                Ok(state.account.quota(now))
            }
            LeaseVerdict::Refused => Err(RefusedAttempt {
                spent: state.account.exhausted(now),
                is_lease_asked: state.account.is_asked(),
            }),
            LeaseVerdict::Unanswered => {
                let taken = state.share(gateways).take(now);
                taken.map_err(|spent| RefusedAttempt { spent, is_lease_asked: false })
            }
        };
        drop(state);
        if begins_to_fall_back {
            self.desk.note_fallback();
        }
        self.request(asked);
        taken
    }

    /// The result that [`take`](Self::take) would have, as far as it is known. Takes and asks for nothing.
    pub(super) fn look(&self, now: Instant) -> Result<Quota, Exhausted> {
        let (is_open, gateways) = (self.desk.is_open(), self.desk.gateways());
        let mut state = self.lock();
        let verdict = if is_open { state.account.would_admit(now) } else { LeaseVerdict::Unanswered };
        match verdict {
            LeaseVerdict::Admitted => Ok(state.account.quota(now)),
            LeaseVerdict::Refused => Err(state.account.exhausted(now)),
            LeaseVerdict::Unanswered => state.share(gateways).look(now),
        }
    }

    /// Asks for a lease beside other work, for a request that may need it.
    pub(super) fn foresee(self: &Arc<Self>, now: Instant) {
        if self.desk.is_open() {
            let asked = self.lock().account.foresee(now, self.desk.gateways());
            self.request(asked);
        }
    }

    fn request(self: &Arc<Self>, tokens: Option<u32>) {
        if let Some(tokens) = tokens {
            self.desk.request(self, tokens);
        }
    }

    /// Takes an answer: the tokens that were given, and those that the bucket has left.
    pub(crate) fn receive(&self, now: Instant, given: u32, left: f64) {
        self.lock().account.receive(now, given, left);
        self.answers.notify_waiters();
    }

    /// Notes that no answer came.
    pub(crate) fn fail(&self, now: Instant) {
        self.lock().account.fail(now);
        self.answers.notify_waiters();
    }

    /// The tokens to ask for now, instead of those that were requested and are not asked for yet.
    pub(crate) fn ask_for_herd(&self) -> Option<u32> {
        let gateways = self.desk.gateways();
        self.lock().account.ask_for_herd(gateways)
    }

    /// The tokens to ask for after a failure, unless others are on their way.
    pub(crate) fn ask_again(&self, now: Instant) -> Option<u32> {
        self.lock().account.ask_again(now)
    }
}
