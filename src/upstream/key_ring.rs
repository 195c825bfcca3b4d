//! A tenant's upstream keys: the active one, and the one that takes over when the upstream rejects it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::config::UpstreamKey;
use crate::telemetry::KeyInUse;

/// One or two keys of the same account.
#[derive(Debug)]
pub(crate) struct KeyRing {
    keys: Vec<UpstreamKey>,
    active: AtomicUsize,
    /// The upstream rejected all of them in the last response.
    rejected: AtomicBool,
}

/// A key and its position in the ring.
#[derive(Debug, Clone)]
pub(crate) struct ActiveKey {
    pub key: UpstreamKey,
    place: usize,
}

impl KeyRing {
    /// A ring that uses `first` until it is rejected.
    pub(crate) fn new(first: UpstreamKey, next: Option<UpstreamKey>) -> Self {
        let keys = std::iter::once(first).chain(next).collect();
        Self { keys, active: AtomicUsize::new(0), rejected: AtomicBool::new(false) }
    }

    pub(crate) fn active(&self) -> Option<ActiveKey> {
        let place = self.active.load(Ordering::Acquire);
        self.keys.get(place).map(|key| ActiveKey { key: key.clone(), place })
    }

    /// The place of the key in use.
    pub(crate) fn place_in_use(&self) -> usize {
        self.active.load(Ordering::Acquire)
    }

    /// Its keys, in their order.
    pub(crate) fn keys(&self) -> &[UpstreamKey] {
        &self.keys
    }

    /// Which key is active.
    pub(crate) fn in_use(&self) -> KeyInUse {
        match (self.active.load(Ordering::Acquire), self.keys.len()) {
            (0, 1) => KeyInUse::Only,
            (0, _) => KeyInUse::Primary,
            (_, _) => KeyInUse::Next,
        }
    }

    /// Notes that the upstream rejected every key.
    pub(crate) fn note_rejected(&self) {
        self.rejected.store(true, Ordering::Relaxed);
    }

    /// Notes that the upstream accepted a key.
    pub(crate) fn note_accepted(&self) {
        if self.are_rejected() {
            self.rejected.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the upstream rejected every key in the last response.
    pub(crate) fn are_rejected(&self) -> bool {
        self.rejected.load(Ordering::Relaxed)
    }

    /// The key to try after the upstream rejected this one.
    pub(crate) fn after(&self, rejected: &ActiveKey) -> Option<ActiveKey> {
        let active = self.active().filter(|active| active.place != rejected.place);
        let other = || {
            let (place, key) = self.keys.iter().enumerate().find(|(place, _)| *place != rejected.place)?;
            Some(ActiveKey { key: key.clone(), place })
        };
        active.or_else(other)
    }

    /// Activates a key that was accepted where another was not. Returns whether that is a change.
    pub(crate) fn promote(&self, worked: &ActiveKey) -> Promotion {
        let before = self.active.swap(worked.place, Ordering::AcqRel);
        if before == worked.place { Promotion::Known } else { Promotion::News }
    }

    /// Whether it has the same keys in the same order.
    pub(crate) fn has_same_keys(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Whether a key is in the ring.
    pub(crate) fn contains(&self, key: &UpstreamKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether every key of another ring is in this one.
    pub(crate) fn contains_all_of(&self, other: &Self) -> bool {
        other.keys.iter().all(|key| self.contains(key))
    }
}

/// Whether a promotion changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promotion {
    /// It did.
    News,
    /// A concurrent request had promoted it already.
    Known,
}
