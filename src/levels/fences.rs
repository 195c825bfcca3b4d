//! Purges that have not been erased yet. A purge raises its fence first; from then on no older entry is taken from
//! any recall or queue, until the level has erased it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{CallId, Epoch, Mark};

/// The most calls with a pending erasure. Beyond that, all of the tenant's are erased.
const MOST_CALLS: usize = 10_000;

/// A purge to be erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PurgeFence(u64);

/// What a purge removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PurgeScope {
    Call(CallId),
    /// Everything of the tenant.
    All,
}

/// The purges of one tenant.
#[derive(Debug)]
pub(crate) struct PurgeFences {
    epoch: Epoch,
    owed: Mutex<OwedErasures>,
}

#[derive(Debug, Default)]
struct OwedErasures {
    /// The number of the last purge.
    record: u64,
    everything: Option<PurgeFence>,
    calls: HashMap<CallId, PurgeFence>,
}

impl OwedErasures {
    fn next(&mut self) -> PurgeFence {
        self.record += 1;
        PurgeFence(self.record)
    }

    fn raise_all(&mut self) -> PurgeFence {
        let fence = self.next();
        self.calls.clear();
        self.everything = Some(fence);
        fence
    }
}

impl PurgeFences {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, owed: Mutex::default() }
    }

    /// The mark of a fetch that begins now.
    pub(crate) fn mark(&self) -> Mark {
        Mark { epoch: self.epoch, record: self.lock().record }
    }

    /// Purges a call, or everything if too many erasures are pending.
    pub(crate) fn raise_call(&self, id: &CallId) -> (PurgeScope, PurgeFence) {
        let mut owed = self.lock();
        if owed.calls.len() >= MOST_CALLS {
            return (PurgeScope::All, owed.raise_all());
        }
        let fence = owed.next();
        owed.calls.insert(*id, fence);
        (PurgeScope::Call(*id), fence)
    }

    /// Purges everything.
    pub(crate) fn raise_all(&self) -> PurgeFence {
        self.lock().raise_all()
    }

    /// Whether an entry with this mark may be served. A mark of another epoch is older than every purge of this one.
    pub(crate) fn admit(&self, id: &CallId, mark: Mark) -> bool {
        let owed = self.lock();
        let fences = owed.calls.get(id).into_iter().chain(&owed.everything);
        let newest = fences.map(|PurgeFence(record)| *record).max();
        newest.is_none_or(|record| mark.epoch == self.epoch && mark.record >= record)
    }

    /// Notes that a purge has been erased.
    pub(crate) fn lower(&self, scope: &PurgeScope, erased: PurgeFence) {
        let mut owed = self.lock();
        match scope {
            PurgeScope::Call(id) if owed.calls.get(id) == Some(&erased) => {
                owed.calls.remove(id);
            }
            // Purged again meanwhile.
            PurgeScope::Call(_) => {}
            PurgeScope::All => {
                owed.calls.retain(|_, fence| fence.0 > erased.0);
                owed.everything = owed.everything.filter(|fence| fence.0 > erased.0);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, OwedErasures> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize) -> CallId {
        CallId::parse(format!("call_{number}").as_bytes()).unwrap()
    }

    fn fences(random: u64) -> PurgeFences {
        PurgeFences::new(Epoch { number: 0, random })
    }

    #[test]
    fn nothing_older_than_a_purge_is_admitted_until_it_is_erased() {
        let (fences, former) = (fences(1), fences(2).mark());
        let before = fences.mark();
        let (scope, fence) = fences.raise_call(&call(1));
        let after = fences.mark();
        assert!(!fences.admit(&call(1), before) && !fences.admit(&call(1), former));
        assert!(fences.admit(&call(1), after) && fences.admit(&call(2), before));
        fences.lower(&scope, fence);
        assert!(fences.admit(&call(1), former), "what the level still holds is no older copy of it");
        let all = fences.raise_all();
        assert!(!fences.admit(&call(2), after) && fences.admit(&call(2), fences.mark()));
        fences.lower(&PurgeScope::All, all);
        assert!(fences.admit(&call(2), former));
    }

    #[test]
    fn an_erasure_lowers_no_fence_of_a_later_purge() {
        let fences = fences(1);
        let (scope, first) = fences.raise_call(&call(1));
        let between = fences.mark();
        fences.raise_call(&call(1));
        fences.lower(&scope, first);
        assert!(!fences.admit(&call(1), between));
        let all = fences.raise_all();
        let between = fences.mark();
        fences.raise_call(&call(2));
        fences.lower(&PurgeScope::All, all);
        assert!(fences.admit(&call(1), between) && !fences.admit(&call(2), between));
    }

    #[test]
    fn too_many_calls_that_are_owed_become_everything() {
        let fences = fences(1);
        let before = fences.mark();
        for number in 0..MOST_CALLS {
            assert!(matches!(fences.raise_call(&call(number)), (PurgeScope::Call(_), _)));
        }
        let (scope, fence) = fences.raise_call(&call(MOST_CALLS));
        assert_eq!(scope, PurgeScope::All);
        assert!(!fences.admit(&call(MOST_CALLS + 7), before));
        fences.lower(&scope, fence);
        assert!(fences.admit(&call(1), before));
    }
}
