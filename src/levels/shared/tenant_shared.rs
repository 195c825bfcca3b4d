//! A tenant's part of the shared level, under one configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::claim::CallClaim;
use super::engine::{
    ClaimHolder, ClaimMode, ClaimState, EngineAnswer, EngineQuestion, EngineWrite, PollRival,
};
use super::failure::EngineFailure;
use super::level::SharedLevel;
use super::poll_claim::{PollClaim, PollWish};
use crate::clock;
use crate::domain::{CallId, Mark, TenantName};
use crate::levels::account::LevelAccount;
use crate::levels::seal::{EntryStamp, OpenedEntry, SealRing, SealedName, TenantTag};
use crate::telemetry::{LevelResult, TenantMetrics, WriteResult};

/// How often a lookup asks again for a call that another gateway fetches, and for how long.
const ASK_AGAIN: Duration = Duration::from_millis(25);
const WAIT_FOR_OTHERS: Duration = Duration::from_millis(500);

/// Whether a lookup is going to fetch the call if the level has nothing.
#[derive(Clone)]
pub(crate) enum ClaimWish {
    /// It isn't.
    None,
    /// It is, unless another gateway does: then it waits a moment for what that one gets.
    OrWait,
    /// It is, unless another gateway does.
    OrLeave,
    /// It polls the call: it is, unless another gateway does, or polls it; or whatever others do.
    Poll(PollWish),
}

/// A lookup's result from the level.
pub(crate) struct SharedResult {
    pub(crate) found: Result<OpenedEntry, LevelResult>,
    /// Held while the lookup fetches.
    pub(crate) claim: Option<CallClaim>,
    /// Another gateway fetches the call.
    pub(crate) is_claimed_elsewhere: bool,
    /// Whether it was waited for what another gateway got.
    pub(crate) has_waited: bool,
    /// The longest wait for one answer of the engine.
    pub(crate) engine_took: Duration,
}

/// A tenant's part of the level.
pub(crate) struct TenantShared {
    level: Arc<SharedLevel>,
    tenant: TenantName,
    tag: TenantTag,
    ring: SealRing,
    /// Whether calls are kept there; otherwise the fleet only hears of what is gone.
    is_stored: bool,
    claims_last: Duration,
    metrics: Arc<TenantMetrics>,
}

impl SharedResult {
    const fn nothing(why: LevelResult) -> Self {
        Self {
            found: Err(why),
            claim: None,
            is_claimed_elsewhere: false,
            has_waited: false,
            engine_took: Duration::ZERO,
        }
    }
}

impl TenantShared {
    /// A tenant's part of `level`. A claim ends by itself after `claims_last`.
    pub(crate) fn new(
        level: &Arc<SharedLevel>,
        account: &LevelAccount<'_>,
        is_stored: bool,
        claims_last: Duration,
        metrics: &Arc<TenantMetrics>,
    ) -> Arc<Self> {
        let tenant = account.tenant.clone();
        Arc::new(Self {
            level: Arc::clone(level),
            tag: level.seal.tag(&tenant),
            tenant,
            ring: SealRing::new(account.keys, Some(&level.key), account.url, account.tenant),
            is_stored,
            claims_last,
            metrics: Arc::clone(metrics),
        })
    }

    /// Whether calls are kept there.
    pub(crate) const fn is_stored(&self) -> bool {
        self.is_stored
    }

    /// Identifies the tenant's keys without revealing them.
    pub(crate) fn key_ids(&self) -> Vec<u8> {
        let mut ids: Vec<_> = self.ring.ids().into_iter().map(|id| id.0).collect();
        ids.sort_unstable();
        ids.concat()
    }

    /// The mark of a fetch that begins now; `None` if what it brings can't be shared.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.level.ledger.mark()
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.level.wall.now()
    }

    /// For a poller, which does not hold it yet.
    pub(crate) fn poll_claim(&self) -> PollClaim {
        PollClaim::new(&self.level)
    }

    /// Whether it is out of use.
    pub(crate) fn is_down(&self) -> bool {
        self.level.switch.is_down() || !self.level.ledger.is_caught_up()
    }

    /// Tells the fleet that the upstream no longer has a call, or that it is no longer final. Does not wait.
    pub(crate) fn remove(&self, id: &CallId) {
        self.level.ledger.note_removed(&self.tenant, id);
    }

    /// Asks for a call. `key` is the position of the upstream key in use. With `newer_than`, only an entry that was
    /// received later is of use.
    pub(crate) async fn ask(
        &self,
        id: &CallId,
        key: usize,
        wish: ClaimWish,
        newer_than: Option<i64>,
    ) -> SharedResult {
        let Some(names) = self.names(id, key) else { return SharedResult::nothing(LevelResult::Down) };
        let until = clock::now() + WAIT_FOR_OTHERS;
        let (poll, may_leave) = match &wish {
            ClaimWish::Poll(poll) => (Some(poll), poll.against == PollRival::Defer),
            ClaimWish::OrLeave => (None, true),
            ClaimWish::None | ClaimWish::OrWait => (None, false),
        };
        let mut claim = match (&wish, newer_than) {
            (ClaimWish::None, _) => ClaimMode::Never,
            (_, None) => ClaimMode::IfMissing,
            (_, Some(_)) => ClaimMode::Always,
        };
        let (mut has_waited, mut engine_took) = (false, Duration::ZERO);
        loop {
            let holder = ClaimHolder(fastrand::u128(..));
            let began = clock::now();
            let answer = self.ask_once(&names, claim, holder, poll).await;
            engine_took = engine_took.max(clock::now().duration_since(began));
            let nothing = |why| SharedResult { has_waited, engine_took, ..SharedResult::nothing(why) };
            let answer = match answer {
                Ok(answer) => answer,
                Err(why) => return nothing(why),
            };
            let won = (answer.claim == ClaimState::Won)
                .then(|| {
                    names
                        .first()
                        .map(|(_, name)| CallClaim::new(Arc::clone(&self.level.engine), *name, holder))
                })
                .flatten();
            let is_newer = |opened: &OpenedEntry| newer_than.is_none_or(|than| opened.stamp.receipt > than);
            let why = match self.open(id, &names, answer.found) {
                Some(Ok(opened)) if is_newer(&opened) => {
                    return SharedResult { found: Ok(opened), ..nothing(LevelResult::Hit) };
                }
                Some(Ok(_)) | None => LevelResult::Miss,
                Some(Err(why)) => why,
            };
            let is_polled_elsewhere = answer.poll == ClaimState::Held;
            match answer.claim {
                ClaimState::Won => {
                    return SharedResult { claim: won, ..nothing(why) };
                }
                // The entry is of no use, and kept the call from being claimed.
                ClaimState::Unclaimed if claim == ClaimMode::IfMissing && !is_polled_elsewhere => {
                    claim = ClaimMode::Always;
                }
                ClaimState::Held if matches!(wish, ClaimWish::OrWait) && clock::now() < until => {
                    has_waited = true;
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                ClaimState::Unclaimed | ClaimState::Held => {
                    let is_held = is_polled_elsewhere || answer.claim == ClaimState::Held;
                    let is_claimed_elsewhere = may_leave && is_held;
                    return SharedResult { is_claimed_elsewhere, ..nothing(why) };
                }
            }
        }
    }

    /// The names that a call may have, that of the key in use first, each with its position in the ring; `None` while
    /// the level is out of use.
    fn names(&self, id: &CallId, key: usize) -> Option<Vec<(usize, SealedName)>> {
        if self.is_down() {
            return None;
        }
        let generation = self.level.ledger.generation(self.tag)?;
        let mut names: Vec<_> = self.ring.shared_names(id, &generation).into_iter().enumerate().collect();
        names.sort_by_key(|(place, _)| *place != key);
        (!names.is_empty()).then_some(names)
    }

    async fn ask_once(
        &self,
        names: &[(usize, SealedName)],
        claim: ClaimMode,
        holder: ClaimHolder,
        poll: Option<&PollWish>,
    ) -> Result<EngineAnswer, LevelResult> {
        let level = &self.level;
        if level.switch.is_down() {
            return Err(LevelResult::Down);
        }
        let names: Vec<_> = names.iter().map(|(_, name)| *name).collect();
        let lasts = self.claims_last;
        let seat = poll.map(|wish| &wish.seat).zip(names.first().copied());
        if let Some((seat, name)) = &seat {
            seat.asked(*name);
        }
        let poll = poll.map(|wish| wish.question(lasts));
        let question = EngineQuestion { names, claim, holder, lasts, poll };
        let began = clock::now();
        let answer = clock::within(level.timeout(), level.engine.ask(question)).await;
        level.metrics.time(clock::now().duration_since(began));
        match answer {
            Ok(Ok(answer)) => {
                level.switch.note_success();
                if let Some((seat, name)) = seat {
                    seat.answered(name, answer.poll);
                }
                Ok(answer)
            }
            Ok(Err(failure)) => {
                level.switch.note_failure(failure);
                Err(LevelResult::Error)
            }
            Err(clock::TimedOut) => {
                level.switch.note_failure(EngineFailure::Timeout);
                Err(LevelResult::Timeout)
            }
        }
    }

    fn open(
        &self,
        id: &CallId,
        names: &[(usize, SealedName)],
        found: Option<(usize, Vec<u8>)>,
    ) -> Option<Result<OpenedEntry, LevelResult>> {
        let (place, sealed) = found?;
        let opened = names.get(place).and_then(|(key, _)| self.ring.open_at(*key, id, &sealed));
        Some(match opened {
            None => Err(LevelResult::Invalid),
            Some(opened) if self.level.ledger.admits(&self.tenant, self.tag, id, opened.stamp.mark) => {
                Ok(opened)
            }
            Some(_) => Err(LevelResult::Purged),
        })
    }

    /// Writes a call that was fetched since `stamp.mark` behind the answer, and ends its claim. Does not wait. `spent`
    /// is when it has no use left, in seconds since 1970.
    pub(crate) fn store(
        self: &Arc<Self>,
        id: &CallId,
        key: usize,
        stamp: EntryStamp,
        spent: i64,
        bytes: &[u8],
        claim: Option<CallClaim>,
    ) {
        let left = spent.saturating_sub(self.now().as_second());
        let expires = u64::try_from(left).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let room = self.level.queue.take(bytes.len());
        let sealed = self.seal(id, key, stamp, bytes);
        let (Some(room), Some(expires), Some((name, sealed)), Ok(runtime)) =
            (room, expires, sealed, Handle::try_current())
        else {
            self.metrics.shared.count_writes(WriteResult::Dropped, 1);
            return;
        };
        let claim = claim.and_then(|claim| claim.end_with(&name));
        let write = EngineWrite { name, sealed, expires, claim };
        let shared = Arc::clone(self);
        self.show_queue();
        runtime.spawn(async move {
            let result = match shared.level.engine.put(write).await {
                Ok(true) => WriteResult::Stored,
                Ok(false) => WriteResult::Dropped,
                Err(failure) => {
                    shared.level.switch.note_failure(failure);
                    WriteResult::Failed
                }
            };
            shared.metrics.shared.count_writes(result, 1);
            drop(room);
            shared.show_queue();
        });
    }

    fn seal(
        &self,
        id: &CallId,
        key: usize,
        stamp: EntryStamp,
        bytes: &[u8],
    ) -> Option<(SealedName, Vec<u8>)> {
        let (_, name) = *self.names(id, key)?.first()?;
        let may_be_served = self.level.ledger.admits(&self.tenant, self.tag, id, stamp.mark);
        let sealed = may_be_served.then(|| self.ring.seal(key, id, stamp, bytes)).flatten()?;
        Some((name, sealed.bytes))
    }

    fn show_queue(&self) {
        self.level.metrics.queue_bytes.set(self.level.queue.bytes() as u64);
    }
}
