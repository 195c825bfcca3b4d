//! An engine in memory, as the scripts have it, with faults.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::fleet::yields;
use crate::clock::{self, Instant};
use crate::domain::{Epoch, Mark};
use crate::fleet::{BeatReply, BeatRequest, FleetLog, LogRecord, LogView, SealedPurge};
use crate::levels::{
    ClaimHolder, ClaimKind, ClaimMode, ClaimState, EngineAnswer, EngineFailure, EngineFuture, EngineQuestion,
    EngineWrite, PollRival, SealedName, SharedEngine, TenantTag,
};

/// The records that the log keeps: few, so that it is trimmed.
const KEPT: u64 = 5;
/// The records in one reply: few, so that there are pages.
const PAGE: u64 = 2;

#[derive(Clone, Default)]
struct EngineState {
    head: Option<Head>,
    log: BTreeMap<u64, LogRecord>,
    floors: BTreeMap<TenantTag, u64>,
    generations: HashMap<TenantTag, [u8; 16]>,
    members: BTreeMap<String, Vec<u8>>,
    entries: BTreeMap<[u8; 32], Vec<u8>>,
    claims: BTreeMap<[u8; 32], HeldClaim>,
    polls: BTreeMap<[u8; 32], HeldClaim>,
    /// The names of all that were polled.
    polled: std::collections::BTreeSet<[u8; 32]>,
}

#[derive(Clone, Copy)]
struct HeldClaim {
    holder: ClaimHolder,
    until: Instant,
}

impl HeldClaim {
    fn lasting(holder: ClaimHolder, lasts: Duration) -> Self {
        Self { holder, until: clock::now() + lasts }
    }

    /// The one under a name, if it has not expired.
    fn find(all: &BTreeMap<[u8; 32], Self>, name: &[u8; 32]) -> Option<ClaimHolder> {
        all.get(name).filter(|held| clock::now() < held.until).map(|held| held.holder)
    }

    fn end(all: &mut BTreeMap<[u8; 32], Self>, name: &[u8; 32], holder: ClaimHolder) {
        if all.get(name).is_some_and(|held| held.holder == holder) {
            all.remove(name);
        }
    }
}

#[derive(Clone)]
struct Head {
    epoch: Epoch,
    last: u64,
    trimmed: u64,
    floors: usize,
    generations: usize,
    version: u64,
    chain: [u8; 8],
}

/// Whether an engine has faults of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Temper {
    Calm,
    Wild,
}

/// The engine.
pub(in crate::app) struct ModelEngine {
    temper: Temper,
    state: Mutex<EngineState>,
    /// What a replica has that lags.
    replica: Mutex<EngineState>,
    fails_until: Mutex<Option<Instant>>,
    /// Members may have been lost with something else.
    has_lost_members: AtomicBool,
}

impl ModelEngine {
    pub(super) fn new() -> Arc<Self> {
        Self::with(Temper::Wild)
    }

    /// One that fails only on command.
    pub(in crate::app) fn calm() -> Arc<Self> {
        Self::with(Temper::Calm)
    }

    fn with(temper: Temper) -> Arc<Self> {
        Arc::new(Self {
            temper,
            state: Mutex::default(),
            replica: Mutex::default(),
            fails_until: Mutex::default(),
            has_lost_members: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, EngineState> {
        self.state.lock().unwrap()
    }

    /// Everything is flushed.
    pub(super) fn empty(&self) {
        self.note_loss();
        *self.lock() = EngineState::default();
    }

    /// A replica that lags takes over; and from now on another one follows.
    pub(super) fn set_back(&self) {
        self.note_loss();
        let mut replica = self.replica.lock().unwrap();
        let mut state = self.lock();
        std::mem::swap(&mut *state, &mut *replica);
        *replica = state.clone();
    }

    /// A part of what it holds is evicted.
    pub(super) fn evict(&self) {
        self.note_loss();
        let mut state = self.lock();
        match fastrand::u8(..5) {
            0 => state.log.clear(),
            1 => state.floors.clear(),
            2 => state.generations.clear(),
            3 => state.members.clear(),
            _ => state.head = None,
        }
    }

    /// A program without the fleet's key writes: a record, a statement, or an entry in another's place.
    pub(super) fn forge(&self) {
        self.note_loss();
        let mut state = self.lock();
        match fastrand::u8(..3) {
            0 => {
                let sealed = vec![7; 60];
                if let Some(head) = &mut state.head {
                    head.last += 1;
                    head.chain = chained(head.chain, &sealed);
                    let record = LogRecord { tag: TenantTag::ALL, chain: head.chain, sealed };
                    let last = head.last;
                    state.log.insert(last, record);
                }
            }
            1 => {
                let old = state.members.values().next().cloned();
                if let (Some(old), Some(name)) = (old, state.members.keys().last().cloned()) {
                    state.members.insert(name, old);
                }
            }
            _ => {
                let other = state.entries.values().next().cloned();
                if let (Some(other), Some(name)) = (other, state.entries.keys().last().copied()) {
                    state.entries.insert(name, other);
                }
            }
        }
    }

    fn note_loss(&self) {
        self.has_lost_members.store(true, Ordering::Relaxed);
    }

    /// Whether members may have been lost with something else.
    pub(super) fn has_lost_members(&self) -> bool {
        self.has_lost_members.load(Ordering::Relaxed)
    }

    /// How many claims to poll a call are held.
    pub(in crate::app) fn poll_claims(&self) -> usize {
        self.lock().polls.values().filter(|held| clock::now() < held.until).count()
    }

    /// A gateway that is gone holds the claim to each call that was polled, for this long.
    pub(in crate::app) fn restore_poll_claims(&self, lasts: Duration) {
        let mut state = self.lock();
        let polled = std::mem::take(&mut state.polled);
        let gone = HeldClaim::lasting(ClaimHolder(0), lasts);
        state.polls = polled.into_iter().map(|name| (name, gone)).collect();
    }

    /// Nothing is answered for a while.
    pub(in crate::app) fn fail_for(&self, time: Duration) {
        *self.fails_until.lock().unwrap() = Some(clock::now() + time);
    }

    async fn pass_time(&self) {
        match self.temper {
            Temper::Calm => tokio::time::sleep(Duration::from_millis(1)).await,
            Temper::Wild => yields().await,
        }
    }

    /// Does something at some moment, and answers at some later one; or fails, before or after.
    fn execute<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut EngineState) -> T + Send + 'a,
    ) -> EngineFuture<'a, T> {
        Box::pin(async move {
            self.pass_time().await;
            let is_failing = self.fails_until.lock().unwrap().is_some_and(|until| clock::now() < until);
            let is_wild = self.temper == Temper::Wild;
            if is_failing || (is_wild && fastrand::u8(..40) == 0) {
                return Err(EngineFailure::Unreachable);
            }
            // Some writes arrive late.
            if is_wild && fastrand::u8(..30) == 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..900))).await;
            }
            let done = {
                let mut state = self.lock();
                let done = work(&mut state);
                if fastrand::u8(..4) == 0 {
                    *self.replica.lock().unwrap() = state.clone();
                }
                done
            };
            self.pass_time().await;
            if is_wild && fastrand::u8(..60) == 0 {
                return Err(EngineFailure::Timeout);
            }
            Ok(done)
        })
    }
}

fn chained(chain: [u8; 8], sealed: &[u8]) -> [u8; 8] {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::collections::hash_map::DefaultHasher::new();
    (chain, sealed).hash(&mut hasher);
    hasher.finish().to_be_bytes()
}

fn mark_of(sealed: &[u8]) -> Option<Mark> {
    Some(Mark::from_bytes(sealed.get(16..40)?.try_into().ok()?))
}

impl SharedEngine for ModelEngine {
    fn connect(&self) -> EngineFuture<'_, ()> {
        self.execute(|_| ())
    }

    fn ask(&self, question: EngineQuestion) -> EngineFuture<'_, EngineAnswer> {
        self.execute(move |state| {
            let first = question.names[0].0;
            let mut found = question.names.iter().enumerate();
            let found = found.find_map(|(place, name)| Some((place, state.entries.get(&name.0)?.clone())));
            let claims = match question.claim {
                ClaimMode::Never => false,
                ClaimMode::IfMissing => !state.entries.contains_key(&first),
                ClaimMode::Always => true,
            };
            let mut poll = ClaimState::Unclaimed;
            if let Some(wish) = question.poll.filter(|_| claims) {
                if HeldClaim::find(&state.polls, &first).is_some_and(|holder| holder != wish.holder) {
                    poll = ClaimState::Held;
                    if wish.against == PollRival::Defer {
                        return EngineAnswer { found, claim: ClaimState::Unclaimed, poll };
                    }
                } else {
                    poll = ClaimState::Won;
                    state.polled.insert(first);
                    state.polls.insert(first, HeldClaim::lasting(wish.holder, wish.lasts));
                }
            }
            let claim = match (claims, HeldClaim::find(&state.claims, &first).is_some()) {
                (false, _) => ClaimState::Unclaimed,
                (true, true) => ClaimState::Held,
                (true, false) => {
                    state.claims.insert(first, HeldClaim::lasting(question.holder, question.lasts));
                    ClaimState::Won
                }
            };
            EngineAnswer { found, claim, poll }
        })
    }

    fn put(&self, write: EngineWrite) -> EngineFuture<'_, bool> {
        self.execute(move |state| {
            let there = state.entries.get(&write.name.0).and_then(|there| mark_of(there));
            let keeps = match (there, mark_of(&write.sealed)) {
                (Some(there), Some(new)) if there.epoch == new.epoch => there.record > new.record,
                (Some(there), Some(new)) => there.epoch.number > new.epoch.number,
                _ => false,
            };
            if !keeps {
                state.entries.insert(write.name.0, write.sealed);
            }
            if let Some(holder) = write.claim {
                HeldClaim::end(&mut state.claims, &write.name.0, holder);
            }
            !keeps
        })
    }

    fn release(&self, kind: ClaimKind, name: SealedName, holder: ClaimHolder) -> EngineFuture<'_, ()> {
        self.execute(move |state| {
            let all = match kind {
                ClaimKind::Fetch => &mut state.claims,
                ClaimKind::Poll => &mut state.polls,
            };
            HeldClaim::end(all, &name.0, holder);
        })
    }
}

impl FleetLog for ModelEngine {
    fn beat(&self, request: BeatRequest) -> EngineFuture<'_, BeatReply> {
        self.execute(move |state| {
            state.members.insert(request.name, request.statement);
            let members = state.members.clone().into_iter().collect();
            let Some(head) = state.head.clone() else {
                return BeatReply { members, ..BeatReply::default() };
            };
            let mut is_whole = state.log.len() as u64 == head.last - head.trimmed
                && state.floors.len() == head.floors
                && state.generations.len() == head.generations;
            let first = request.position.max(head.trimmed) + 1;
            let mut records = Vec::new();
            for number in first..=head.last.min(first + PAGE - 1) {
                match state.log.get(&number) {
                    Some(record) => records.push(record.clone()),
                    None => {
                        is_whole = false;
                        break;
                    }
                }
            }
            let (knows_floors, knows_generations) =
                (request.trimmed == Some(head.trimmed), request.version == Some(head.version));
            let log = LogView {
                epoch: head.epoch,
                last: head.last,
                trimmed: head.trimmed,
                version: head.version,
                is_whole,
                own: state.log.get(&request.position).cloned(),
                records,
                floors: if knows_floors { Vec::new() } else { state.floors.clone().into_iter().collect() },
                generations: if knows_generations { HashMap::new() } else { state.generations.clone() },
            };
            BeatReply { members, log: Some(log), ..BeatReply::default() }
        })
    }

    fn announce(
        &self,
        epoch: Epoch,
        record: SealedPurge,
        generation: Option<[u8; 16]>,
    ) -> EngineFuture<'_, Option<u64>> {
        self.execute(move |state| {
            let EngineState { head, log, floors, generations, .. } = state;
            let head = head.as_mut().filter(|head| head.epoch == epoch)?;
            head.last += 1;
            let SealedPurge { tag, sealed } = record;
            head.chain = chained(head.chain, &sealed);
            log.insert(head.last, LogRecord { tag, chain: head.chain, sealed });
            while head.last - head.trimmed > KEPT {
                head.trimmed += 1;
                if let Some(trimmed) = log.remove(&head.trimmed) {
                    floors.insert(trimmed.tag, head.trimmed);
                }
            }
            head.floors = floors.len();
            if let Some(generation) = generation {
                generations.insert(tag, generation);
                head.generations = generations.len();
                head.version += 1;
            }
            Some(head.last)
        })
    }

    fn begin(&self, seen: Option<Epoch>, epoch: Epoch, generation: [u8; 16]) -> EngineFuture<'_, bool> {
        self.execute(move |state| {
            if state.head.as_ref().map(|head| head.epoch) != seen {
                return false;
            }
            state.log.clear();
            state.floors.clear();
            state.generations = HashMap::from([(TenantTag::ALL, generation)]);
            let version = u64::from(fastrand::u32(..));
            state.head =
                Some(Head { epoch, last: 0, trimmed: 0, floors: 0, generations: 1, version, chain: [0; 8] });
            true
        })
    }

    fn add_generations(&self, generations: Vec<(TenantTag, [u8; 16])>) -> EngineFuture<'_, ()> {
        self.execute(move |state| {
            let Some(head) = &mut state.head else { return };
            for (tag, generation) in generations {
                state.generations.entry(tag).or_insert(generation);
            }
            head.generations = state.generations.len();
            head.version += 1;
        })
    }

    fn state(&self, name: String, statement: Vec<u8>) -> EngineFuture<'_, ()> {
        self.execute(move |state| drop(state.members.insert(name, statement)))
    }

    fn remove(&self, name: String) -> EngineFuture<'_, ()> {
        self.execute(move |state| drop(state.members.remove(&name)))
    }

    fn disconnect(&self) {}
}
