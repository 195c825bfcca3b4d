//! The purges of a fleet as this gateway knows them: which of them it has applied, which entries of the shared level
//! are older than one, and which of its own purges the fleet has not heard of yet.
//!
//! Marks order entries and purges, never clocks. What is known here is what was read from the fleet's log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::domain::{CallId, Epoch, Mark, PurgeTarget, TenantName};
use crate::levels::seal::{NameGeneration, TenantTag};

/// The most purges that the fleet has not heard of. Beyond that, a tenant's become one of the whole tenant.
const MOST_OWED: usize = 10_000;

/// The purges of a fleet.
#[derive(Debug, Default)]
pub(crate) struct PurgeLedger {
    state: Mutex<LedgerState>,
    /// Something is owed.
    owed: Notify,
}

#[derive(Debug, Default)]
struct LedgerState {
    /// `None` before the fleet was joined.
    position: Option<Mark>,
    /// Whether everything in the log was applied.
    is_caught_up: bool,
    /// The log from its oldest record to the position.
    records: BTreeMap<u64, LedgerRecord>,
    /// The last purge of everything; 0 for none, here and below.
    everything: u64,
    tenants: HashMap<TenantName, TenantRecords>,
    /// For each tenant the newest record that the log no longer holds.
    floors: HashMap<TenantTag, u64>,
    pending: HashMap<PurgeTarget, PendingPurge>,
    last_ticket: u64,
    generations: HashMap<TenantTag, [u8; 16]>,
}

/// A record of the log.
#[derive(Debug)]
struct LedgerRecord {
    /// Of all records up to this one.
    chain: [u8; 8],
    /// `None` if it could not be read.
    target: Option<PurgeTarget>,
}

/// A tenant's last purges.
#[derive(Debug, Default)]
struct TenantRecords {
    all: u64,
    calls: HashMap<CallId, u64>,
}

/// A purge of this gateway that is not yet applied as a record of the log. Until then nothing of its target is taken
/// from the shared level.
#[derive(Debug)]
struct PendingPurge {
    /// Tells apart successive purges of one target.
    ticket: u64,
    /// Its record, once it is announced.
    announced: Option<u64>,
    waiting: Vec<oneshot::Sender<Mark>>,
}

/// A purge that the fleet has not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwedPurge {
    pub(crate) target: PurgeTarget,
    ticket: u64,
}

/// What a file that was cleaned up to some position must still lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MissedPurges {
    /// What it missed is not known.
    Everything,
    Calls(Vec<CallId>),
}

impl LedgerState {
    /// The newest purge that concerns a call.
    fn newest(&self, tenant: &TenantName, tag: TenantTag, id: &CallId) -> u64 {
        let floor = |tag| self.floors.get(&tag).copied().unwrap_or(0);
        let records = self.tenants.get(tenant);
        let of_tenant = records.map_or(0, |records| records.all);
        let of_call = records.and_then(|records| records.calls.get(id)).copied().unwrap_or(0);
        [self.everything, of_tenant, of_call, floor(TenantTag::ALL), floor(tag)]
            .into_iter()
            .max()
            .unwrap_or(0)
    }

    fn is_pending(&self, tenant: &TenantName, id: &CallId) -> bool {
        if self.pending.is_empty() {
            return false;
        }
        [PurgeTarget::All, PurgeTarget::Tenant(tenant.clone()), PurgeTarget::Call(tenant.clone(), *id)]
            .iter()
            .any(|target| self.pending.contains_key(target))
    }

    fn forget_record(&mut self, number: u64) {
        let Some(record) = self.records.remove(&number) else { return };
        if let Some(PurgeTarget::Call(tenant, id)) = record.target
            && let Some(records) = self.tenants.get_mut(&tenant)
            && records.calls.get(&id) == Some(&number)
        {
            records.calls.remove(&id);
        }
    }

    /// The target, or its whole tenant if too many of the tenant's calls are pending.
    fn with_room(&mut self, target: PurgeTarget) -> PurgeTarget {
        let PurgeTarget::Call(tenant, _) = &target else { return target };
        if self.pending.len() < MOST_OWED || self.pending.contains_key(&target) {
            return target;
        }
        let (tenant, mut waiting) = (tenant.clone(), Vec::new());
        self.pending.retain(|other, pending| {
            let is_covered = matches!(other, PurgeTarget::Call(owner, _) if *owner == tenant);
            if is_covered {
                waiting.append(&mut pending.waiting);
            }
            !is_covered
        });
        let whole = PurgeTarget::Tenant(tenant);
        self.add(whole.clone()).waiting.append(&mut waiting);
        whole
    }

    fn add(&mut self, target: PurgeTarget) -> &mut PendingPurge {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let pending = self.pending.entry(target).or_insert_with(|| PendingPurge {
            ticket,
            announced: None,
            waiting: Vec::new(),
        });
        pending.ticket = ticket;
        pending.announced = None;
        pending
    }
}

impl PurgeLedger {
    fn lock(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mark of a fetch that begins now; `None` while something in the log is not applied here.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let state = self.lock();
        state.position.filter(|_| state.is_caught_up)
    }

    /// The last record applied.
    pub(crate) fn position(&self) -> Option<Mark> {
        self.lock().position
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.lock().is_caught_up
    }

    /// Whether an entry with this mark may be served.
    pub(crate) fn admits(&self, tenant: &TenantName, tag: TenantTag, id: &CallId, mark: Mark) -> bool {
        let state = self.lock();
        let is_of_this_epoch = state.position.is_some_and(|position| position.epoch == mark.epoch);
        is_of_this_epoch
            && state.is_caught_up
            && !state.is_pending(tenant, id)
            && mark.record >= state.newest(tenant, tag, id)
    }

    /// Begins a purge: from here on nothing older is taken from the shared level. The receiver gets the purge's record
    /// once this gateway has read it in the log.
    pub(crate) fn raise(&self, target: PurgeTarget) -> oneshot::Receiver<Mark> {
        let (told, record) = oneshot::channel();
        let mut state = self.lock();
        let target = state.with_room(target);
        state.add(target).waiting.push(told);
        self.owed.notify_one();
        record
    }

    /// The same for what the upstream removed, which no caller waits for.
    pub(crate) fn note_removed(&self, tenant: &TenantName, id: &CallId) {
        drop(self.raise(PurgeTarget::Call(tenant.clone(), *id)));
    }

    /// Waits until something is owed.
    pub(crate) async fn wait_until_owed(&self) {
        self.owed.notified().await;
    }

    /// The purges that the fleet has not heard of, the oldest first, at most `most`.
    pub(crate) fn owed(&self, most: usize) -> Vec<OwedPurge> {
        let state = self.lock();
        let owed = state.pending.iter().filter(|(_, pending)| pending.announced.is_none());
        let mut owed: Vec<_> = owed.map(|(target, pending)| (pending.ticket, target)).collect();
        owed.sort_unstable_by_key(|(ticket, _)| *ticket);
        let owed = owed.into_iter().take(most);
        owed.map(|(ticket, target)| OwedPurge { target: target.clone(), ticket }).collect()
    }

    pub(crate) fn count_owed(&self) -> usize {
        self.lock().pending.values().filter(|pending| pending.announced.is_none()).count()
    }

    /// Notes the record of a purge that was announced.
    pub(crate) fn announced(&self, owed: &OwedPurge, record: u64) {
        let mut state = self.lock();
        let Some(pending) = state.pending.get_mut(&owed.target) else { return };
        // Purged again meanwhile: the later one is still owed.
        if pending.ticket != owed.ticket {
            return;
        }
        pending.announced = Some(record);
    }

    /// Begins an epoch whose log begins after `trimmed`.
    pub(crate) fn enter(&self, epoch: Epoch, trimmed: u64) {
        let mut state = self.lock();
        state.position = Some(Mark { epoch, record: trimmed });
        state.is_caught_up = false;
        state.records.clear();
        state.everything = 0;
        state.tenants.clear();
        state.floors.clear();
        // A record of another epoch is no longer read.
        for pending in state.pending.values_mut() {
            pending.announced = None;
        }
    }

    /// Notes the next record of the log; `None` if it could not be read.
    pub(crate) fn note(&self, number: u64, chain: [u8; 8], target: Option<PurgeTarget>) {
        let mut state = self.lock();
        for (own, pending) in &mut state.pending {
            // The log went back, and on with another record.
            if pending.announced == Some(number) && Some(own) != target.as_ref() {
                pending.announced = None;
            }
        }
        match &target {
            None => {}
            Some(PurgeTarget::All) => state.everything = number,
            Some(PurgeTarget::Tenant(tenant)) => {
                state.tenants.entry(tenant.clone()).or_default().all = number;
            }
            Some(PurgeTarget::Call(tenant, id)) => {
                state.tenants.entry(tenant.clone()).or_default().calls.insert(*id, number);
            }
        }
        state.records.insert(number, LedgerRecord { chain, target });
    }

    /// The digest of all records up to this one, if it is known.
    pub(crate) fn chain(&self, number: u64) -> Option<[u8; 8]> {
        self.lock().records.get(&number).map(|record| record.chain)
    }

    /// Advances the position: everything up to this record was applied.
    pub(crate) fn advance(&self, record: u64) {
        let mut state = self.lock();
        let LedgerState { position: Some(position), pending, .. } = &mut *state else { return };
        position.record = position.record.max(record);
        let epoch = position.epoch;
        pending.retain(|_, pending| {
            let Some(number) = pending.announced.filter(|number| *number <= record) else { return true };
            for waiting in pending.waiting.drain(..) {
                // It may have given up.
                let _ = waiting.send(Mark { epoch, record: number });
            }
            false
        });
    }

    /// Notes what the log no longer holds.
    pub(crate) fn trim(&self, trimmed: u64, floors: impl IntoIterator<Item = (TenantTag, u64)>) {
        let mut state = self.lock();
        state.floors.extend(floors);
        while let Some((&number, _)) = state.records.first_key_value()
            && number <= trimmed
        {
            state.forget_record(number);
        }
    }

    /// The newest record of a tenant that the log no longer holds.
    pub(crate) fn floor(&self, tag: TenantTag) -> u64 {
        let state = self.lock();
        let floor = |tag| state.floors.get(&tag).copied().unwrap_or(0);
        floor(tag).max(floor(TenantTag::ALL))
    }

    pub(crate) fn set_caught_up(&self, is_caught_up: bool) {
        self.lock().is_caught_up = is_caught_up;
    }

    /// What a tenant's file that was cleaned up to `position` must still lose.
    pub(crate) fn missed(&self, tenant: &TenantName, tag: TenantTag, position: Option<Mark>) -> MissedPurges {
        let floor = self.floor(tag);
        let state = self.lock();
        let (Some(cleaned), Some(own)) = (position, state.position) else { return MissedPurges::Everything };
        let records = state.tenants.get(tenant);
        let purged = records.map_or(0, |records| records.all).max(state.everything);
        if cleaned.epoch != own.epoch || cleaned.record < floor.max(purged) {
            return MissedPurges::Everything;
        }
        let calls = records.into_iter().flat_map(|records| &records.calls);
        let missed = calls.filter(|(_, number)| **number > cleaned.record).map(|(id, _)| *id);
        MissedPurges::Calls(missed.collect())
    }

    /// Replaces what is known of generations.
    pub(crate) fn set_generations(&self, generations: HashMap<TenantTag, [u8; 16]>) {
        self.lock().generations = generations;
    }

    /// The generation of a tenant's names; `None` until the engine has told it.
    pub(crate) fn generation(&self, tag: TenantTag) -> Option<NameGeneration> {
        let state = self.lock();
        let (fleet, tenant) = (state.generations.get(&TenantTag::ALL)?, state.generations.get(&tag)?);
        let mut both = [0; 32];
        both.iter_mut().zip(fleet.iter().chain(tenant)).for_each(|(place, byte)| *place = *byte);
        Some(NameGeneration(both))
    }
}

#[cfg(test)]
mod tests;
