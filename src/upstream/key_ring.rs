//! A tenant's upstream keys: the one in use, and the one that takes over when the upstream rejects
//! it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::UpstreamKey;

/// One or two keys of the same account.
#[derive(Debug)]
pub struct KeyRing {
    keys: Vec<UpstreamKey>,
    active: AtomicUsize,
}

/// A key, and its place in the ring.
#[derive(Debug, Clone)]
pub struct Lent {
    /// The key.
    pub key: UpstreamKey,
    place: usize,
}

impl KeyRing {
    /// A ring that uses `first` until it is rejected.
    pub fn new(first: UpstreamKey, next: Option<UpstreamKey>) -> Self {
        let keys = std::iter::once(first).chain(next).collect();
        Self { keys, active: AtomicUsize::new(0) }
    }

    /// The key in use.
    pub fn active(&self) -> Option<Lent> {
        let place = self.active.load(Ordering::Acquire);
        self.keys.get(place).map(|key| Lent { key: key.clone(), place })
    }

    /// The key to try when the upstream rejected this one.
    pub fn after(&self, rejected: &Lent) -> Option<Lent> {
        let active = self.active().filter(|active| active.place != rejected.place);
        let other = || {
            let (place, key) = self.keys.iter().enumerate().find(|(place, _)| *place != rejected.place)?;
            Some(Lent { key: key.clone(), place })
        };
        active.or_else(other)
    }

    /// Makes a key that worked where another did not the one in use. Says whether that is news.
    pub fn promote(&self, worked: &Lent) -> Promotion {
        let before = self.active.swap(worked.place, Ordering::AcqRel);
        if before == worked.place { Promotion::Known } else { Promotion::News }
    }

    /// Whether it has the same keys in the same order.
    pub fn has_same_keys(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Whether a key is in the ring.
    pub fn contains(&self, key: &UpstreamKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether every key of another ring is in this one.
    pub fn contains_all_of(&self, other: &Self) -> bool {
        other.keys.iter().all(|key| self.contains(key))
    }
}

/// Whether a promotion changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// It did.
    News,
    /// Somebody else was first.
    Known,
}
