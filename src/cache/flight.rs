//! Coalescing: one fetch for all who want the same call.
//!
//! The first to ask leads: its fetch runs in a task of its own, which holds the [`Pilot`]. Everyone,
//! the leader's own request included, waits with a [`Passenger`], each for as long as it likes. The
//! store is changed only in [`Pilot::land`], [`Flights::hold`] and [`Flights::purge`], under the lock of the call's
//! shard, so that what a purge removed cannot come back: a fetch that was purged lands without being
//! stored, and nobody who asks after the purge joins it. [`Flights::close`] does so to all of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, PoisonError};

use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

#[cfg(feature = "loom")]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(feature = "loom"))]
use std::sync::{Mutex, MutexGuard};

/// Locks of the table. A lock is held for a map operation and a store operation, never across an
/// await.
const SHARDS: usize = 16;

/// The fetches under way, by key.
pub struct Flights<K, T> {
    shards: [Mutex<Shard<K, T>>; SHARDS],
}

struct Shard<K, T> {
    under_way: HashMap<K, Flight<T>, FxBuildHasher>,
    /// Whether whatever lands now is as good as purged.
    closed: bool,
}

struct Flight<T> {
    /// Tells this flight from an earlier or later one of the same key.
    number: u64,
    landed: watch::Receiver<Option<T>>,
    storing: Storing,
}

/// Whether anybody on board wants the answer to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    /// Somebody does.
    Wanted,
    /// All said `no-store`.
    Unwanted,
}

/// What a fetch finds when it lands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// It is the key's fetch still.
    Current(Storing),
    /// It was purged on the way.
    Purged,
}

/// Who boards a flight.
pub enum Boarding<K: Eq + Hash + Clone, T, F> {
    /// The first: whoever gets this must fetch, with the pilot, and waits like everyone.
    Leader(Pilot<K, T>, Passenger<T>),
    /// The others.
    Follower(Passenger<T>),
    /// Nobody needs to: the store has it by now.
    Found(F),
}

/// The duty to land a fetch. Dropped without landing, as by a panic, it frees the key and tells all
/// who wait.
pub struct Pilot<K: Eq + Hash + Clone, T> {
    flights: Arc<Flights<K, T>>,
    key: K,
    number: u64,
    land: watch::Sender<Option<T>>,
    /// Whether it has landed: then the key is somebody else's.
    down: bool,
}

/// Waits for a fetch to land.
pub struct Passenger<T>(watch::Receiver<Option<T>>);

/// The fetch ended without an answer: its task panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl<K: Eq + Hash + Clone, T> Flights<K, T> {
    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, T>> {
        let [first, ..] = &self.shards;
        let place = FxBuildHasher.hash_one(key) as usize % SHARDS;
        lock(self.shards.get(place).unwrap_or(first))
    }

    /// No fetches.
    pub fn new() -> Arc<Self> {
        let shard = |_| Mutex::new(Shard { under_way: HashMap::default(), closed: false });
        Arc::new(Self { shards: std::array::from_fn(shard) })
    }

    /// Joins the key's fetch, or begins one unless `find` has found what a fetch that landed since the
    /// caller looked has stored. (Fetches store before they free their key, under the same lock.)
    pub fn board<F>(
        self: &Arc<Self>,
        key: &K,
        storing: Storing,
        find: impl FnOnce() -> Option<F>,
    ) -> Boarding<K, T, F> {
        let mut shard = self.shard(key);
        if let Some(flight) = shard.under_way.get_mut(key) {
            if storing == Storing::Wanted {
                flight.storing = Storing::Wanted;
            }
            return Boarding::Follower(Passenger(flight.landed.clone()));
        }
        if let Some(found) = find() {
            return Boarding::Found(found);
        }
        let (land, landed) = watch::channel(None);
        let number = next_number();
        if !shard.closed {
            shard.under_way.insert(key.clone(), Flight { number, landed: landed.clone(), storing });
        }
        let pilot = Pilot { flights: Arc::clone(self), key: key.clone(), number, land, down: false };
        Boarding::Leader(pilot, Passenger(landed))
    }

    /// Whether a fetch for the key is under way.
    pub fn is_under_way(&self, key: &K) -> bool {
        self.shard(key).under_way.contains_key(key)
    }

    /// Runs `change` while no fetch for the key can land.
    pub fn hold<R>(&self, key: &K, change: impl FnOnce() -> R) -> R {
        let _held = self.shard(key);
        change()
    }

    /// Runs `remove`, and keeps every fetch for the key that is under way from storing anything.
    pub fn purge<R>(&self, key: &K, remove: impl FnOnce() -> R) -> R {
        let mut shard = self.shard(key);
        shard.under_way.remove(key);
        remove()
    }

    /// Keeps every fetch, those that are still to begin too, from storing anything.
    pub fn close(&self) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.closed = true;
            shard.under_way.clear();
        }
    }
}

impl<K: Eq + Hash + Clone, T> Pilot<K, T> {
    /// Ends the fetch: `settle` changes the store as it sees fit and makes the answer, which all who
    /// wait then get.
    pub fn land(mut self, settle: impl FnOnce(Landing) -> T)
    where
        T: Clone,
    {
        let answer = {
            let flights = Arc::clone(&self.flights);
            let mut shard = flights.shard(&self.key);
            let landing = match shard.under_way.get(&self.key).filter(|flight| flight.number == self.number) {
                Some(flight) => Landing::Current(flight.storing),
                None => Landing::Purged,
            };
            let answer = settle(landing);
            if landing != Landing::Purged {
                shard.under_way.remove(&self.key);
            }
            self.down = true;
            answer
        };
        self.land.send_replace(Some(answer));
    }
}

/// Frees the key for the next who asks. Those who wait notice that their sender is gone.
impl<K: Eq + Hash + Clone, T> Drop for Pilot<K, T> {
    fn drop(&mut self) {
        if self.down {
            return;
        }
        let mut shard = self.flights.shard(&self.key);
        if shard.under_way.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            shard.under_way.remove(&self.key);
        }
    }
}

impl<T: Clone> Passenger<T> {
    /// The answer, once the fetch has landed.
    pub async fn wait(mut self) -> Result<T, Lost> {
        match self.0.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().ok_or(Lost),
            Err(_) => Err(Lost),
        }
    }

    /// The answer, if the fetch has landed.
    #[cfg(all(test, feature = "loom"))]
    pub fn landed(&self) -> Option<T> {
        self.0.borrow().clone()
    }
}

/// A panic in the store's own code poisons nothing here: the maps are whole at every step.
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
