use http::HeaderMap;

use super::*;
use crate::cache::policy::judge_response;
use crate::clock::WallClock;
use crate::domain::TenantName;
use crate::message::{ExchangeTimes, UpstreamResponse, Validators};

const CALL: &str = r#"{"success":true,"data":{"id":"call_1","status":"completed"}}"#;
const NOT_FOUND: &str = r#"{"success":false,"error":{"code":"NOT_FOUND"}}"#;

fn cache(max_bytes: u64) -> TenantCache {
    TenantCache::new(max_bytes, 1 << 20, Arc::new(TenantMetrics::new(TenantName::parse("alpha").unwrap())))
}

fn id(text: &str) -> CallId {
    CallId::parse(text.as_bytes()).unwrap()
}

/// A response of the upstream, judged.
fn judged(id: &CallId, status: u16, body: &'static str) -> FetchOutcome {
    let now = clock::now();
    let response = UpstreamResponse {
        status: http::StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.into(),
        times: ExchangeTimes { sent: now, received: now, received_at: WallClock::system().now() },
    };
    let policy = CacheSettings::for_tests();
    let judgement = judge_response(&response, id, None, &Validators::default(), &policy, 0);
    FetchOutcome::unsent(FetchEnd::judged(judgement, &policy, now))
}

/// Leads a fetch with this response.
fn fetch(
    cache: &TenantCache,
    id: &CallId,
    mode: StoreMode,
    status: u16,
    body: &'static str,
) -> ForwardOutcome {
    let generation = Arc::clone(&cache.current());
    let saw = generation.entry(id);
    let JoinedFetch::Lead { guard, .. } = generation.join(id, mode, saw.as_ref()) else {
        panic!("another fetch is in flight")
    };
    generation.complete(guard, judged(id, status, body)).outcome
}

#[test]
fn a_purged_call_cannot_be_revalidated() {
    let (cache, id) = (cache(1 << 20), id("call_1"));
    fetch(&cache, &id, StoreMode::Store, 200, CALL);
    let generation = Arc::clone(&cache.current());
    let saw = generation.entry(&id);
    assert!(saw.is_some());
    let joined = generation.join(&id, StoreMode::Store, saw.as_ref());
    assert!(matches!(&joined, JoinedFetch::Lead { seen: Some(_), .. }));
    drop(joined);
    cache.purge_call(&id);
    let joined = generation.join(&id, StoreMode::Store, saw.as_ref());
    assert!(matches!(&joined, JoinedFetch::Lead { seen: None, .. }));
}

// T52.
#[test]
fn a_404_removes_the_call_even_where_the_404_is_not_remembered() {
    let cache = cache(1 << 30);
    let call = id("call_1");
    fetch(&cache, &call, StoreMode::Store, 200, CALL);
    fetch(&cache, &call, StoreMode::NoStore, 404, NOT_FOUND);
    assert!(cache.current().entry(&call).is_none(), "the client that heard of it said no-store");
    fetch(&cache, &call, StoreMode::Store, 200, CALL);
    for number in 0..10_000 {
        let unknown = id(&format!("call_unknown{number}"));
        let outcome = fetch(&cache, &unknown, StoreMode::Store, 404, NOT_FOUND);
        assert!(matches!(outcome, ForwardOutcome::Stored { .. }));
    }
    let one_more = ForwardOutcome::NotStored { status: 404, why: NotStored::Status };
    assert_eq!(fetch(&cache, &call, StoreMode::Store, 404, NOT_FOUND), one_more);
    assert!(cache.current().entry(&call).is_none(), "no further one is remembered");
    let again = fetch(&cache, &id("call_unknown0"), StoreMode::Store, 404, NOT_FOUND);
    assert!(matches!(again, ForwardOutcome::Stored { .. }), "a remembered one may be renewed: {again:?}");
}

#[test]
fn without_its_fetches_a_cache_keeps_its_entries_and_accepts_no_results() {
    let cache = cache(1 << 20);
    let (stored, late) = (id("call_1"), id("call_2"));
    fetch(&cache, &stored, StoreMode::Store, 200, CALL);
    let next = cache.without_fetches();
    assert!(next.current().entry(&stored).is_some());
    let purged = ForwardOutcome::NotStored { status: 404, why: NotStored::Purged };
    assert_eq!(fetch(&cache, &late, StoreMode::Store, 404, NOT_FOUND), purged);
    assert!(next.current().entry(&late).is_none());
    fetch(&next, &late, StoreMode::Store, 404, NOT_FOUND);
    assert!(next.current().entry(&late).is_some());
}

#[test]
fn a_large_store_is_emptied_on_a_thread_of_its_own() {
    let cache = cache(1 << 30);
    for number in 0..2_000 {
        fetch(&cache, &id(&format!("call_unknown{number}")), StoreMode::Store, 404, NOT_FOUND);
    }
    let watched = Arc::downgrade(&cache.current().entry(&id("call_unknown7")).unwrap());
    assert_eq!(cache.purge_all(), 2_000);
    let begun = crate::clock::now();
    while watched.upgrade().is_some() {
        assert!(
            crate::clock::now().duration_since(begun) < std::time::Duration::from_secs(20),
            "the entries stay"
        );
        std::thread::yield_now();
    }
}
