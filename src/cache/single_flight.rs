//! One fetch for concurrent lookups of the same key.
//!
//! The first lookup leads: its fetch runs as its own task, which holds the [`LeaderGuard`]. Every lookup, the
//! leader's included, waits with a [`Follower`] until its own deadline. The store is changed only in
//! [`LeaderGuard::complete`], [`SingleFlight::hold`] and [`SingleFlight::invalidate`], under the lock of the key's
//! shard, so that purged entries cannot come back: an invalidated fetch completes without being stored, and no lookup
//! joins it after the purge. [`SingleFlight::close`] invalidates all fetches.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

#[cfg(feature = "loom")]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "loom"))]
use std::sync::{Mutex, MutexGuard};

/// The number of locks. A lock is held for a map operation and a store operation, never across an await.
const SHARDS: usize = 16;

/// The fetches in flight, by key.
pub(crate) struct SingleFlight<K, T> {
    shards: [Mutex<Shard<K, T>>; SHARDS],
}

struct Shard<K, T> {
    in_flight: HashMap<K, InFlight<T>, FxBuildHasher>,
    /// Whether every fetch that completes from now on is invalidated.
    closed: bool,
}

struct InFlight<T> {
    /// Distinguishes successive fetches of the same key.
    number: u64,
    result: watch::Receiver<Option<T>>,
    mode: StoreMode,
}

/// Whether any of the waiting lookups allows the response to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreMode {
    Store,
    /// All said `no-store`.
    NoStore,
}

/// The state of a fetch when it completes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completion {
    /// It is still its key's fetch.
    Current(StoreMode),
    /// A purge, or the end of the cache, came first.
    Invalidated,
}

/// A lookup's part in the fetch of a key.
pub(crate) enum Joined<K: Eq + Hash + Clone, T, Stored, Seen> {
    /// Must fetch, holding the guard, and wait like all others.
    Lead {
        guard: LeaderGuard<K, T>,
        follower: Follower<T>,
        seen: Seen,
    },
    Follow(Follower<T>),
    /// No fetch is needed: another one has stored the entry meanwhile.
    Stored(Stored),
}

/// The obligation to complete a fetch. Dropped without completion, for example by a panic, it frees the key and wakes
/// all followers.
pub(crate) struct LeaderGuard<K: Eq + Hash + Clone, T> {
    flights: Arc<SingleFlight<K, T>>,
    key: K,
    number: u64,
    result: watch::Sender<Option<T>>,
    /// Whether it has completed: the key may then belong to another fetch.
    completed: bool,
}

/// Waits for a fetch to complete.
pub(crate) struct Follower<T>(watch::Receiver<Option<T>>);

/// The fetch ended without a result, because its task panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaderDropped;

impl<K: Eq + Hash + Clone, T> SingleFlight<K, T> {
    pub(crate) fn new() -> Arc<Self> {
        let shard = |_| Mutex::new(Shard { in_flight: HashMap::default(), closed: false });
        Arc::new(Self { shards: std::array::from_fn(shard) })
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, T>> {
        let [first, ..] = &self.shards;
        let place = FxBuildHasher.hash_one(key) as usize % SHARDS;
        lock(self.shards.get(place).unwrap_or(first))
    }

    /// Joins the key's fetch, or leads one unless `look` breaks with something that was stored since the caller's own
    /// check. (A fetch stores before it frees its key, under the same lock.)
    pub(crate) fn join<Stored, Seen>(
        self: &Arc<Self>,
        key: &K,
        mode: StoreMode,
        look: impl FnOnce() -> ControlFlow<Stored, Seen>,
    ) -> Joined<K, T, Stored, Seen> {
        let mut shard = self.shard(key);
        if let Some(fetch) = shard.in_flight.get_mut(key) {
            if mode == StoreMode::Store {
                fetch.mode = StoreMode::Store;
            }
            return Joined::Follow(Follower(fetch.result.clone()));
        }
        let seen = match look() {
            ControlFlow::Break(stored) => return Joined::Stored(stored),
            ControlFlow::Continue(seen) => seen,
        };
        let (sender, result) = watch::channel(None);
        let number = next_number();
        if !shard.closed {
            shard.in_flight.insert(key.clone(), InFlight { number, result: result.clone(), mode });
        }
        let flights = Arc::clone(self);
        let guard = LeaderGuard { flights, key: key.clone(), number, result: sender, completed: false };
        Joined::Lead { guard, follower: Follower(result), seen }
    }

    /// Whether a fetch of the key is in flight.
    pub(crate) fn is_in_flight(&self, key: &K) -> bool {
        self.shard(key).in_flight.contains_key(key)
    }

    /// Runs `change` while no fetch of the key can complete.
    pub(crate) fn hold<R>(&self, key: &K, change: impl FnOnce() -> R) -> R {
        let _held = self.shard(key);
        change()
    }

    /// Runs `remove`, and keeps a fetch of the key from storing anything.
    pub(crate) fn invalidate<R>(&self, key: &K, remove: impl FnOnce() -> R) -> R {
        let mut shard = self.shard(key);
        shard.in_flight.remove(key);
        remove()
    }

    /// Keeps every fetch, current and future, from storing anything.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.closed = true;
            shard.in_flight.clear();
        }
    }
}

impl<K: Eq + Hash + Clone, T: Clone> LeaderGuard<K, T> {
    pub(crate) const fn key(&self) -> &K {
        &self.key
    }

    /// Completes the fetch: `settle` changes the store as required and returns the result for all followers.
    pub(crate) fn complete(mut self, settle: impl FnOnce(&K, Completion) -> T) -> T {
        let flights = Arc::clone(&self.flights);
        let result = {
            let mut shard = flights.shard(&self.key);
            let current = shard.in_flight.get(&self.key).filter(|fetch| fetch.number == self.number);
            let completion = current.map_or(Completion::Invalidated, |fetch| Completion::Current(fetch.mode));
            let result = settle(&self.key, completion);
            if completion != Completion::Invalidated {
                shard.in_flight.remove(&self.key);
            }
            self.completed = true;
            result
        };
        self.result.send_replace(Some(result.clone()));
        result
    }
}

/// Frees the key for the next lookup. Followers notice that their sender is gone.
impl<K: Eq + Hash + Clone, T> Drop for LeaderGuard<K, T> {
    fn drop(&mut self) {
        if self.completed {
            return;
        }
        let mut shard = self.flights.shard(&self.key);
        if shard.in_flight.get(&self.key).is_some_and(|fetch| fetch.number == self.number) {
            shard.in_flight.remove(&self.key);
        }
    }
}

impl<T: Clone> Follower<T> {
    /// The result, once the fetch has completed.
    pub(crate) async fn wait(mut self) -> Result<T, LeaderDropped> {
        match self.0.wait_for(Option::is_some).await {
            Ok(result) => result.clone().ok_or(LeaderDropped),
            Err(_) => Err(LeaderDropped),
        }
    }

    /// The result, if the fetch has completed.
    #[cfg(all(test, feature = "loom"))]
    pub(crate) fn now(&self) -> Option<T> {
        self.0.borrow().clone()
    }
}

/// A panic in the store's own code leaves nothing inconsistent here: the maps are valid at every step.
fn lock<K, T>(shard: &Mutex<Shard<K, T>>) -> MutexGuard<'_, Shard<K, T>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
