//! Lists of an invoice's calls: one fetch for concurrent requests for the same list, and lists that may be reused for
//! a few seconds. Knows no call's entry, and changes none.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::single_flight::{Completion, Joined, LeaderGuard, SingleFlight, StoreMode};
use crate::clock::Instant;
use crate::domain::{Effort, InvoiceId, NotStored, Refusal};
use crate::message::ClientResponse;

/// Lists may take this fraction of a tenant's cache size in addition to it.
const SHARE: u64 = 16;
/// The size of a list beside its fields and body.
const OVERHEAD: usize = 512;

/// A tenant's lists. A purge of any of its calls replaces them.
pub(crate) struct Lists {
    current: ArcSwap<ListGeneration>,
    max_bytes: u64,
}

/// The lists between two purges.
pub(crate) struct ListGeneration {
    flights: Arc<SingleFlight<InvoiceId, ListResult>>,
    stored: Mutex<Stored>,
    max_bytes: u64,
}

#[derive(Default)]
struct Stored {
    lists: HashMap<InvoiceId, StoredList>,
    bytes: u64,
}

/// A list that may be reused.
#[derive(Debug, Clone)]
pub(crate) struct StoredList {
    pub(crate) response: Arc<ClientResponse>,
    pub(crate) received: Instant,
    lifetime: Duration,
}

/// The end of a list's fetch, shared by all its followers.
#[derive(Debug, Clone)]
pub(crate) struct ListResult {
    /// The upstream's status, if it gave a response.
    pub(crate) status: Option<u16>,
    /// Why the response was unusable, if it was.
    pub(crate) unusable: Option<NotStored>,
    pub(crate) response: Result<Arc<ClientResponse>, Refusal>,
    pub(crate) effort: Effort,
}

/// The obligation to complete a list's fetch.
pub(crate) type ListLeader = LeaderGuard<InvoiceId, ListResult>;

/// How a request takes part in a list's fetch.
pub(crate) type JoinedList = Joined<InvoiceId, ListResult, StoredList, ()>;

impl Lists {
    /// No lists yet, for a tenant whose cache has this size.
    pub(crate) fn new(cache_max_bytes: u64) -> Arc<Self> {
        let max_bytes = cache_max_bytes / SHARE;
        Arc::new(Self { current: ArcSwap::new(ListGeneration::new(max_bytes)), max_bytes })
    }

    /// The lists for a request that begins now.
    pub(crate) fn current(&self) -> Arc<ListGeneration> {
        self.current.load_full()
    }

    /// Drops every list. Fetches in flight store nothing and accept no new followers.
    pub(crate) fn purge(&self) {
        self.current.swap(ListGeneration::new(self.max_bytes)).flights.close();
    }
}

impl ListGeneration {
    fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { flights: SingleFlight::new(), stored: Mutex::default(), max_bytes })
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list that is still fresh.
    pub(crate) fn fresh(&self, invoice: &InvoiceId, now: Instant) -> Option<StoredList> {
        self.stored().lists.get(invoice).filter(|list| list.is_fresh(now)).cloned()
    }

    /// Joins a list's fetch, or leads one. If `look` accepts it, a list stored since the caller's own check is taken
    /// instead.
    pub(crate) fn join(
        &self,
        invoice: &InvoiceId,
        mode: StoreMode,
        now: Instant,
        look: impl FnOnce(&StoredList) -> ListReuse,
    ) -> JoinedList {
        self.flights.join(invoice, mode, || match self.fresh(invoice, now) {
            Some(list) if look(&list) == ListReuse::Take => ControlFlow::Break(list),
            Some(_) | None => ControlFlow::Continue(()),
        })
    }

    /// Completes a fetch. Its list may be reused for `lifetime`, unless a purge came first.
    pub(crate) fn complete(&self, leader: ListLeader, result: ListResult, lifetime: Duration, now: Instant) {
        leader.complete(|invoice, completion| {
            let may_store = completion == Completion::Current(StoreMode::Store) && !lifetime.is_zero();
            if let (true, Ok(response)) = (may_store, &result.response) {
                let list = StoredList { response: Arc::clone(response), received: now, lifetime };
                self.stored().insert(invoice.clone(), list, self.max_bytes, now);
            }
            result
        });
    }
}

/// Whether a request may be answered from a stored list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListReuse {
    Take,
    PassOver,
}

impl StoredList {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.received) < self.lifetime
    }

    /// How long it may still be served, in seconds.
    pub(crate) fn ttl(&self, now: Instant) -> u64 {
        self.lifetime.saturating_sub(now.duration_since(self.received)).as_secs()
    }

    fn bytes(&self) -> u64 {
        let fields = self.response.fields.iter();
        let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        (OVERHEAD + fields + self.response.body.len()) as u64
    }
}

impl Stored {
    /// Stores a list if it fits: lists live for seconds, so none is evicted for another.
    fn insert(&mut self, invoice: InvoiceId, list: StoredList, max_bytes: u64, now: Instant) {
        self.remove(&invoice);
        if self.bytes + list.bytes() > max_bytes {
            self.lists.retain(|_, list| list.is_fresh(now));
            self.bytes = self.lists.values().map(StoredList::bytes).sum();
        }
        if self.bytes + list.bytes() <= max_bytes {
            self.bytes += list.bytes();
            self.lists.insert(invoice, list);
        }
    }

    fn remove(&mut self, invoice: &InvoiceId) {
        if let Some(list) = self.lists.remove(invoice) {
            self.bytes = self.bytes.saturating_sub(list.bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;
    use crate::clock;

    fn invoice(number: u32) -> InvoiceId {
        InvoiceId::parse(format!("inv_{number}").as_bytes()).unwrap()
    }

    fn fetch(generation: &ListGeneration, number: u32, bytes: usize, now: Instant) {
        let body = Bytes::from(vec![b'x'; bytes]);
        let response = Arc::new(ClientResponse { status: StatusCode::OK, fields: Vec::new(), body });
        let result =
            ListResult { status: Some(200), unusable: None, response: Ok(response), effort: Effort::NONE };
        let joined = generation.join(&invoice(number), StoreMode::Store, now, |_| ListReuse::PassOver);
        let Joined::Lead { guard, .. } = joined else { panic!("nothing is in flight") };
        generation.complete(guard, result, Duration::from_secs(5), now);
    }

    #[test]
    fn a_list_is_served_again_until_its_lifetime_ends_or_a_purge() {
        let (lists, now) = (Lists::new(1 << 20), clock::now());
        let generation = lists.current();
        fetch(&generation, 1, 10, now);
        let after = |millis| now + Duration::from_millis(millis);
        assert_eq!(generation.fresh(&invoice(1), after(1500)).unwrap().ttl(after(1500)), 3);
        assert!(generation.fresh(&invoice(1), after(5000)).is_none());
        lists.purge();
        assert!(lists.current().fresh(&invoice(1), now).is_none());
        fetch(&generation, 2, 10, now);
        assert!(lists.current().fresh(&invoice(2), now).is_none(), "fetched before the purge");
        assert!(generation.fresh(&invoice(2), now).is_none());
    }

    #[test]
    fn lists_stay_within_their_bytes() {
        let (lists, now) = (Lists::new(SHARE * 10_000), clock::now());
        let generation = lists.current();
        for number in 0..100 {
            fetch(&generation, number, 1000, now);
        }
        fetch(&generation, 200, 20_000, now);
        let stored = generation.stored();
        assert!(stored.lists.len() == 6 && stored.bytes <= 10_000, "{} {}", stored.lists.len(), stored.bytes);
        drop(stored);
        fetch(&generation, 7, 1000, now + Duration::from_secs(6));
        assert_eq!(generation.stored().lists.len(), 1, "those that are no longer fresh made room");
    }
}
