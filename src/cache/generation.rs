//! A tenant's cache: a store and the fetches that may change it, replaced together by a purge of the
//! whole.
//!
//! A request takes one generation and stays with it. A fetch that began in an old one lands there,
//! where nobody who comes later looks: a purge of a tenant is one pointer swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};

use super::admission::Entry;
use super::flight::{self, Boarding, Flights, Storing};
use super::landed::Landed;
use super::refusals::Refusals;
use super::store::Store;
use crate::clock::{self, Instant};
use crate::config::Cache as Policy;
use crate::domain::{CallId, NotStored};
use crate::telemetry::{Eviction, TenantMetrics};

/// The duty to land a call's fetch.
pub type Pilot = flight::Pilot<CallId, Landed>;

/// Waits for a call's fetch.
pub type Passenger = flight::Passenger<Landed>;

/// What came of boarding a call's fetch.
pub enum Boarded {
    /// The caller must fetch.
    Leader {
        /// To end the fetch with.
        pilot: Pilot,
        /// To wait for it like everyone.
        passenger: Passenger,
        /// The call that the caller saw stored, to be validated, if nobody has removed it since: what
        /// was purged must not come back by a 304.
        entry: Option<Arc<Entry>>,
    },
    /// Somebody fetches already.
    Follower(Passenger),
    /// There is another entry by now than the one that the caller saw.
    Found(Arc<Entry>),
}

/// The cache of one tenant.
pub struct Cache {
    current: ArcSwap<Generation>,
    refusals: Arc<Refusals>,
    defeat_was_told: AtomicBool,
    max_bytes: u64,
    metrics: Arc<TenantMetrics>,
}

/// A store and its fetches.
pub struct Generation {
    store: Arc<Store>,
    flights: Arc<Flights<CallId, Landed>>,
    refusals: Arc<Refusals>,
}

impl Cache {
    /// An empty cache.
    pub fn new(max_bytes: u64, metrics: Arc<TenantMetrics>) -> Self {
        let refusals = Arc::default();
        let current = ArcSwap::from_pointee(Generation::new(max_bytes, &metrics, &refusals));
        Self { current, refusals, defeat_was_told: AtomicBool::new(false), max_bytes, metrics }
    }

    /// Keeps the fetches under way, and whatever begins in this cache yet, from storing anything.
    pub fn close(&self) {
        self.current().flights.close();
    }

    /// A cache with what is stored in this one, but without the fetches under way: they, and whatever
    /// begins in this one yet, store nothing any more.
    pub fn without_fetches(&self) -> Self {
        self.close();
        let current = self.current();
        let (store, refusals) = (Arc::clone(&current.store), Arc::clone(&self.refusals));
        let generation = Generation { store, flights: Flights::new(), refusals: Arc::clone(&refusals) };
        Self {
            current: ArcSwap::from_pointee(generation),
            refusals,
            defeat_was_told: AtomicBool::new(self.defeat_was_told.load(Ordering::Relaxed)),
            max_bytes: self.max_bytes,
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// The generation that a request which begins now stays with.
    pub fn current(&self) -> Guard<Arc<Generation>> {
        self.current.load()
    }

    /// Removes one call's entry, and keeps fetches under way from bringing it back. Returns how many
    /// entries there were: 0 or 1.
    pub fn purge_call(&self, id: &CallId) -> u64 {
        let generation = self.current();
        let removed = generation.flights.purge(id, || generation.store.remove(id));
        let removed = u64::from(removed.is_some());
        self.metrics.count_evictions(Eviction::Purged, removed);
        removed
    }

    /// Removes what is of no use any more. Looks at every entry: not for the request path.
    pub fn sweep(&self, policy: &Policy, now: Instant) {
        let generation = self.current();
        for id in generation.store.spent(policy, now) {
            let removed = generation.flights.hold(&id, || {
                // It may have been renewed since.
                let entry = generation.store.get(&id).filter(|entry| entry.is_spent(policy, now));
                entry.and_then(|_| generation.store.remove(&id))
            });
            self.metrics.count_evictions(Eviction::Expired, u64::from(removed.is_some()));
        }
    }

    /// Removes everything; fetches under way bring nothing back. Takes one pointer swap, however
    /// much there was. Returns the store's count, which takes longer: not for the request path.
    pub fn purge_all(&self) -> u64 {
        let old = self.current.swap(Arc::new(Generation::new(self.max_bytes, &self.metrics, &self.refusals)));
        old.flights.close();
        let (entries, _) = old.store.size();
        self.metrics.count_evictions(Eviction::Purged, entries);
        entries
    }

    /// Entries and bytes. Not for the request path.
    pub fn size(&self) -> (u64, u64) {
        self.current.load().store.size()
    }

    /// Bytes that it may grow to.
    pub const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether it is news that the upstream's own directives keep completed calls from being fresh.
    pub fn defeat_is_news(&self) -> bool {
        !self.defeat_was_told.swap(true, Ordering::Relaxed)
    }

    /// Why the last answer about a call was not stored, if that was not long ago.
    pub fn last_refusal(&self, id: &CallId) -> Option<(NotStored, Instant)> {
        self.refusals.last(id)
    }
}

impl Generation {
    fn new(max_bytes: u64, metrics: &Arc<TenantMetrics>, refusals: &Arc<Refusals>) -> Self {
        let store = Arc::new(Store::new(max_bytes, Arc::clone(metrics)));
        Self { store, flights: Flights::new(), refusals: Arc::clone(refusals) }
    }

    /// The entry of a call.
    pub fn entry(&self, id: &CallId) -> Option<Arc<Entry>> {
        self.store.get(id)
    }

    /// Joins a call's fetch, or begins one, unless there is another entry by now than the one that
    /// the caller `saw`.
    pub fn board(&self, id: &CallId, storing: Storing, saw: Option<&Arc<Entry>>) -> Boarded {
        let is_seen = |entry: &Arc<Entry>| saw.is_some_and(|saw| Arc::ptr_eq(saw, entry));
        let mut stored = None;
        let boarding = self.flights.board(id, storing, || {
            stored = self.store.get(id);
            stored.clone().filter(|entry| !is_seen(entry))
        });
        match boarding {
            Boarding::Leader(pilot, passenger) => {
                let entry = stored.filter(|entry| !entry.is_missing());
                Boarded::Leader { pilot, passenger, entry }
            }
            Boarding::Follower(passenger) => Boarded::Follower(passenger),
            Boarding::Found(entry) => Boarded::Found(entry),
        }
    }

    /// Whether a fetch for the call is under way.
    pub fn is_fetching(&self, id: &CallId) -> bool {
        self.flights.is_under_way(id)
    }

    /// Removes an entry as the store does to make room.
    #[cfg(test)]
    pub fn evict(&self, id: &CallId) {
        self.store.remove(id);
    }

    /// Stores an entry, if there is room for one of its kind. Only for a pilot that is landing.
    #[must_use]
    pub(super) fn store(&self, id: &CallId, entry: Arc<Entry>) -> bool {
        self.store.insert(id, entry)
    }

    /// Remembers why an answer was not stored.
    pub(super) fn note_refusal(&self, id: &CallId, why: NotStored) {
        self.refusals.note(id, why, clock::now());
    }

    /// Removes an entry. Only for a pilot that is landing.
    pub(super) fn forget(&self, id: &CallId, metrics: &TenantMetrics) {
        metrics.count_evictions(Eviction::Purged, u64::from(self.store.remove(id).is_some()));
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::cache::{Answer, AnswerVerdict, Exchange, Validators, judge_answer, settle};
    use crate::clock::WallClock;
    use crate::domain::{Landing, TenantName};

    const CALL: &str = r#"{"success":true,"data":{"id":"call_1","status":"completed"}}"#;
    const MISSING: &str = r#"{"success":false,"error":{"code":"NOT_FOUND"}}"#;

    fn metrics() -> Arc<TenantMetrics> {
        Arc::new(TenantMetrics::new(TenantName::parse("alpha").unwrap()))
    }

    fn id(text: &str) -> CallId {
        CallId::parse(text.as_bytes()).unwrap()
    }

    /// An answer of the upstream, judged.
    fn judged(id: &CallId, status: u16, body: &'static str) -> AnswerVerdict {
        let now = clock::now();
        let answer = Answer {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.into(),
            exchange: Exchange { sent: now, received: now, received_at: WallClock::system().now() },
        };
        judge_answer(&answer, id, None, &Validators::default(), &Policy::for_tests(), 0)
    }

    /// Leads a fetch that brings this.
    fn fetch(cache: &Cache, id: &CallId, storing: Storing, status: u16, body: &'static str) -> Landing {
        let generation = Arc::clone(&cache.current());
        let saw = generation.entry(id);
        let Boarded::Leader { pilot, .. } = generation.board(id, storing, saw.as_ref()) else {
            panic!("somebody leads already")
        };
        let mut landed = None;
        pilot.land(|landing| {
            let verdict = judged(id, status, body);
            let settled = settle(verdict, id, &generation, &Policy::for_tests(), &cache.metrics, landing);
            landed = Some(settled.landing);
            settled
        });
        landed.unwrap()
    }

    #[test]
    fn what_was_purged_is_not_there_to_be_validated() {
        let (cache, id) = (Cache::new(1 << 20, metrics()), id("call_1"));
        fetch(&cache, &id, Storing::Wanted, 200, CALL);
        let generation = Arc::clone(&cache.current());
        let saw = generation.entry(&id);
        assert!(saw.is_some());
        let boarded = generation.board(&id, Storing::Wanted, saw.as_ref());
        assert!(matches!(&boarded, Boarded::Leader { entry: Some(_), .. }));
        drop(boarded);
        cache.purge_call(&id);
        let boarded = generation.board(&id, Storing::Wanted, saw.as_ref());
        assert!(matches!(&boarded, Boarded::Leader { entry: None, .. }));
    }

    #[test]
    fn t52_a_call_goes_with_its_404_also_where_that_is_not_remembered() {
        let cache = Cache::new(1 << 30, metrics());
        let call = id("call_1");
        fetch(&cache, &call, Storing::Wanted, 200, CALL);
        fetch(&cache, &call, Storing::Unwanted, 404, MISSING);
        assert!(cache.current().entry(&call).is_none(), "the client that heard of it said no-store");
        fetch(&cache, &call, Storing::Wanted, 200, CALL);
        for number in 0..10_000 {
            let missing = id(&format!("call_missing{number}"));
            assert!(matches!(fetch(&cache, &missing, Storing::Wanted, 404, MISSING), Landing::Stored { .. }));
        }
        let one_more = Landing::NotStored { status: 404, why: NotStored::Status };
        assert_eq!(fetch(&cache, &call, Storing::Wanted, 404, MISSING), one_more);
        assert!(cache.current().entry(&call).is_none(), "as many are remembered as may be");
        let again = fetch(&cache, &id("call_missing0"), Storing::Wanted, 404, MISSING);
        assert!(matches!(again, Landing::Stored { .. }), "one that is remembered may be renewed: {again:?}");
    }

    #[test]
    fn without_its_fetches_a_cache_keeps_what_is_stored_and_takes_nothing_of_theirs() {
        let cache = Cache::new(1 << 20, metrics());
        let (stored, late) = (id("call_1"), id("call_2"));
        fetch(&cache, &stored, Storing::Wanted, 200, CALL);
        let next = cache.without_fetches();
        assert!(next.current().entry(&stored).is_some());
        let purged = Landing::NotStored { status: 404, why: NotStored::Purged };
        assert_eq!(fetch(&cache, &late, Storing::Wanted, 404, MISSING), purged);
        assert!(next.current().entry(&late).is_none());
        fetch(&next, &late, Storing::Wanted, 404, MISSING);
        assert!(next.current().entry(&late).is_some());
    }
}
