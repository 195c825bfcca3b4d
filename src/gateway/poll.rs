//! The poller that serves all lookups which wait for one call.
//!
//! Of a fleet's gateways whose clients wait for the same call, one polls the upstream: the one that holds the call's
//! poll claim ([`PollClaim`]). The others ask the shared level at the pace of their own schedules, send nothing, and
//! take the call there once it is final. A gateway sends a request of its own, whichever polls the call, for a waiter
//! whose time ends and for a refresh ([`PollTurn::Own`]); and for every poll while the level can't be used.
//!
//! The claim ends at once when the last waiter leaves, when the watch or the gateway ends, and after a poll for which
//! the upstream sent no answer, since another gateway may reach it. One that was answered keeps it, with a 429 or 5xx
//! as well: others would be answered the same.

use std::pin::pin;
use std::sync::Arc;

use super::fetch_task::FetchTask;
use super::lookup_context::LookupContext;
use super::plane::Gateway;
use crate::cache::{
    BegunPoll, FetchResponse, FetchResult, JoinedFetch, PollEnd, PollInterest, PollTurn, Poller, ResultKind,
};
use crate::clock::{self, Instant};
use crate::domain::{ForwardOutcome, Part, Refusal, RequestId, TenantName};
use crate::levels::{PollClaim, PollRival, PollWish};
use crate::tenant::Tenant;
use crate::upstream::Urgency;

/// The result of a wait for which nothing was fetched.
pub(super) const fn none(refusal: Refusal) -> FetchResult {
    FetchResult::unanswered(ForwardOutcome::NoResponse, refusal)
}

/// A poll in progress.
struct CurrentPoll<'a> {
    poller: &'a Poller,
    tenant: &'a Tenant,
    claim: Option<&'a PollClaim>,
    sent: Instant,
}

/// Polls a call while clients wait for it. Uses the current configuration for each poll.
pub(super) async fn poll(gateway: Arc<Gateway>, tenant: TenantName, mut poller: Poller) {
    let mut claim: Option<PollClaim> = None;
    while let Some(due) = poller.due() {
        if clock::now() < due {
            tokio::select! {
                () = tokio::time::sleep_until(due.for_timer()) => {}
                () = poller.changed() => {}
                () = drained(&gateway, claim.as_ref()) => claim = None,
            }
            continue;
        }
        let snapshot = gateway.snapshots.load_full();
        let tenant = snapshot.directory.named(&tenant);
        // Otherwise the watches are about to be closed.
        let Some(tenant) = tenant.filter(|tenant| Arc::ptr_eq(tenant.watches(), poller.watches())) else {
            return;
        };
        let sent = clock::now();
        let Some(begun) = poller.begin(sent) else { return };
        claim = tenant.shared().map(|shared| claim.unwrap_or_else(|| shared.poll_claim()));
        if let Some(claim) = claim.as_ref().filter(|_| gateway.wait_drain.has_begun()) {
            claim.close();
        }
        let context = LookupContext::new(&snapshot, tenant, *poller.id(), sent);
        let current = CurrentPoll { poller: &poller, tenant, claim: claim.as_ref(), sent };
        let end = current.run(context, begun, &gateway).await;
        poller.end(end, clock::now());
    }
}

/// Resolves when the gateway drains, for a poller that may hold a claim.
async fn drained(gateway: &Gateway, claim: Option<&PollClaim>) {
    match claim {
        Some(_) => gateway.wait_drain.begun().await,
        None => std::future::pending().await,
    }
}

impl CurrentPoll<'_> {
    /// Waits for its result, unless the call is purged: the next poll does not wait for this one.
    async fn run(&self, context: LookupContext, begun: BegunPoll, gateway: &Gateway) -> PollEnd {
        let mut fetch = pin!(fetch_once(context, begun, self.claim, gateway));
        loop {
            tokio::select! {
                (result, part) = &mut fetch => return self.report(result, part, gateway),
                () = self.poller.changed() => {}
            }
            match self.poller.interest(self.sent) {
                PollInterest::Awaited => {}
                PollInterest::Abandoned => self.release(),
                PollInterest::Overtaken => return PollEnd::Polled { held_until: None },
            }
        }
    }

    fn release(&self) {
        if let Some(claim) = self.claim {
            claim.release();
        }
    }

    /// Passes the result to the waiters, and determines when the next poll may be sent.
    fn report(&self, result: Option<FetchResult>, part: Part, gateway: &Gateway) -> PollEnd {
        let (now, upstream) = (clock::now(), self.tenant.upstream());
        let mut result = result.unwrap_or_else(|| none(Refusal::Internal));
        match result.response {
            FetchResponse::LeftToFleet => return PollEnd::Left,
            FetchResponse::GaveWay => {
                // The reason why it yielded, as a lookup would see it.
                let refusal = upstream.would_refuse(Urgency::Background, now).map(|error| error.refusal());
                result = none(refusal.unwrap_or(Refusal::UpstreamTimeout));
            }
            FetchResponse::Entry(_) | FetchResponse::PassThrough(_) | FetchResponse::Refusal(_) => {}
        }
        let is_failure = result.kind() == ResultKind::Failure;
        if is_failure && !result.is_from_upstream() {
            self.release();
        }
        let held_until =
            result.retry_after(gateway.wall.now()).filter(|_| is_failure).map(|after| now + after);
        // The fetch itself has passed its result to the watch, unless it yielded or its task has ended. A fetch from
        // before this poll answers only lookups from before it.
        if part == Part::Led {
            self.tenant.watches().completed(self.poller.id(), self.sent, &result);
        }
        PollEnd::Polled { held_until }
    }
}

/// One poll: an ordinary fetch that others may join, or one that it joins itself. A fetch that was in flight already
/// was sent before now.
async fn fetch_once(
    context: LookupContext,
    begun: BegunPoll,
    claim: Option<&PollClaim>,
    gateway: &Gateway,
) -> (Option<FetchResult>, Part) {
    let generation = Arc::clone(&context.generation);
    let (follower, part) = match generation.join(&context.id, begun.mode, None) {
        JoinedFetch::Follow(follower) => (follower, Part::Followed),
        JoinedFetch::Lead { guard, follower, .. } => {
            let against = match begun.turn {
                PollTurn::Fleet => PollRival::Defer,
                PollTurn::Own => PollRival::Ignore,
            };
            let wish = |claim: &PollClaim| {
                let (seat, next_in) = (Arc::clone(claim.seat()), begun.next_in);
                PollWish { seat, next_in, against }
            };
            let id = RequestId::from_random(fastrand::u128(..));
            FetchTask::new(context, None, id, None).poll(guard, claim.map(wish), &gateway.fetches);
            (follower, Part::Led)
        }
        JoinedFetch::Stored(entry) => {
            let ttl = entry.freshness(&context.policy, clock::now()).ttl();
            return (Some(FetchResult::stored(entry, ttl)), Part::Led);
        }
    };
    (follower.wait().await.ok(), part)
}
