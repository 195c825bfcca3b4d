use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::{Instant, WallClock};
use crate::config::LevelKey;
use crate::levels::{
    ClaimHolder, ClaimKind, EngineAnswer, EngineQuestion, EngineWrite, FleetSeal, SealedName, SharedEngine,
};
use crate::limits::LimitScope;
use crate::telemetry::LevelMetrics;

const TIMEOUT: Duration = Duration::from_millis(20);

/// No entries: the limits alone are shared.
struct NoEntries;

impl SharedEngine for NoEntries {
    fn connect(&self) -> EngineFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn ask(&self, _: EngineQuestion) -> EngineFuture<'_, EngineAnswer> {
        Box::pin(async { Err(EngineFailure::NotReady) })
    }

    fn put(&self, _: EngineWrite) -> EngineFuture<'_, bool> {
        Box::pin(async { Ok(false) })
    }

    fn release(&self, _: ClaimKind, _: SealedName, _: ClaimHolder) -> EngineFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// Buckets as the script has them, behind a network that takes a while.
#[derive(Default)]
struct ModelBuckets {
    millis: AtomicU64,
    calls: AtomicUsize,
    buckets: Mutex<HashMap<BucketName, (f64, Instant)>>,
}

impl LeaseEngine for ModelBuckets {
    fn lease(&self, bucket: BucketName, rate: Rate, tokens: u32) -> EngineFuture<'_, LeaseGrant> {
        Box::pin(async move {
            self.calls.fetch_add(1, Relaxed);
            let burst = f64::from(rate.burst.get());
            let now = clock::now();
            let grant = {
                let mut buckets = self.buckets.lock().unwrap();
                let (had, at) = buckets.entry(bucket).or_insert((burst, now));
                let refilled = now.duration_since(*at).as_secs_f64() / rate.interval.as_secs_f64();
                let left = (*had + refilled).min(burst);
                let given = tokens.min(left.floor() as u32);
                (*had, *at) = (left - f64::from(given), now);
                LeaseGrant { given, left: *had }
            };
            tokio::time::sleep(Duration::from_millis(self.millis.load(Relaxed))).await;
            Ok(grant)
        })
    }
}

struct ModelFleet {
    engine: Arc<ModelBuckets>,
    gateways: Vec<Arc<Leases>>,
    metrics: Arc<TenantMetrics>,
    _tasks: TaskTracker,
}

impl ModelFleet {
    /// Gateways that have heard of each other.
    fn new(gateways: u32) -> Self {
        let engine = Arc::new(ModelBuckets::default());
        let tasks = TaskTracker::new();
        let gateway = |_| {
            let key = LevelKey::for_tests("key");
            let seal = Arc::new(FleetSeal::new(&key, "cg1").unwrap());
            let metrics = Arc::new(LevelMetrics::default());
            let wall = WallClock::system();
            let level = SharedLevel::new(Arc::new(NoEntries), seal, key, TIMEOUT, &metrics, wall);
            level.switch().set_up();
            let heard = Arc::new(AtomicU32::new(gateways));
            let leases = Leases::new(Arc::clone(&engine) as _, level, heard, 1);
            tasks.spawn(Arc::clone(&leases).run());
            leases
        };
        let gateways = (0..gateways).map(gateway).collect();
        Self { engine, gateways, metrics: Arc::new(TenantMetrics::new(tenant("alpha"))), _tasks: tasks }
    }

    /// One limiter for each gateway.
    fn limiters(&self, label: LimitLabel, interval_millis: u64, burst: u32) -> Vec<Limiter> {
        let rate = rate(interval_millis, burst);
        let limiter = |leases: &Arc<Leases>| leases.limiter(&tenant("alpha"), label, rate, &self.metrics);
        self.gateways.iter().map(limiter).collect()
    }

    fn calls(&self) -> usize {
        self.engine.calls.load(Relaxed)
    }
}

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

fn rate(interval_millis: u64, burst: u32) -> Rate {
    Rate { interval: Duration::from_millis(interval_millis), burst: NonZeroU32::new(burst).unwrap() }
}

#[tokio::test(start_paused = true)]
async fn fetches_of_all_gateways_get_what_one_bucket_has() {
    let fleet = ModelFleet::new(3);
    let limiters = fleet.limiters(LimitLabel::Upstream, 60_000, 9);
    let mut admitted = 0;
    for limiter in limiters.iter().cycle().take(30) {
        admitted += u32::from(limiter.acquire(Duration::ZERO).await.is_ok());
    }
    assert_eq!(admitted, 9);
    let refused = limiters[0].acquire(Duration::ZERO).await.unwrap_err();
    assert_eq!((refused.left.remaining, refused.left.scope), (0, Some(LimitScope::Fleet)));
}

#[tokio::test(start_paused = true)]
async fn a_herd_of_fetches_at_one_gateway_gets_the_whole_bucket() {
    let fleet = ModelFleet::new(3);
    fleet.engine.millis.store(1, Relaxed);
    let limiters = fleet.limiters(LimitLabel::Upstream, 60_000, 30);
    let herd = futures_util::future::join_all((0..50).map(|_| limiters[0].acquire(Duration::ZERO))).await;
    let admitted = herd.iter().filter(|taken| taken.is_ok()).count();
    assert_eq!(admitted, 30, "{} calls", fleet.calls());
}

/// A second question would come back too late.
#[tokio::test(start_paused = true)]
async fn the_first_question_is_sized_with_the_herd() {
    let fleet = ModelFleet::new(1);
    fleet.engine.millis.store(11, Relaxed);
    let limiter = Arc::new(fleet.limiters(LimitLabel::Upstream, 60_000, 30).remove(0));
    let tasks = TaskTracker::new();
    let herd: Vec<_> = (0..30)
        .map(|_| {
            let limiter = Arc::clone(&limiter);
            tasks.spawn(async move { limiter.acquire(Duration::ZERO).await.is_ok() })
        })
        .collect();
    let mut admitted = 0;
    for fetch in herd {
        admitted += u32::from(fetch.await.unwrap());
    }
    assert_eq!((admitted, fleet.calls()), (30, 1));
}

// M20.
#[tokio::test(start_paused = true)]
async fn an_engine_slower_than_a_lookup_waits_refuses_none_and_wastes_nothing() {
    let fleet = ModelFleet::new(1);
    fleet.engine.millis.store(25, Relaxed);
    for label in [LimitLabel::Tenant, LimitLabel::Upstream] {
        let limiter = &fleet.limiters(label, 1000, 8)[0];
        for round in 0..20 {
            let began = clock::now();
            let taken = limiter.acquire(Duration::ZERO).await;
            assert!(taken.is_ok(), "{label:?}, {round}");
            assert!(clock::now().duration_since(began) <= TIMEOUT + Duration::from_millis(1));
            tokio::time::sleep(Duration::from_millis(2500)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_has_waited_for_the_level_does_not_wait_again() {
    let fleet = ModelFleet::new(1);
    fleet.engine.millis.store(200, Relaxed);
    let limiter = &fleet.limiters(LimitLabel::Upstream, 1000, 8)[0];
    let began = clock::now();
    tokio::time::sleep(TIMEOUT).await;
    assert!(limiter.acquire(TIMEOUT).await.is_ok());
    assert_eq!(clock::now().duration_since(began), TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_recall_and_the_wait_for_a_lease_take_no_longer_than_the_timeout() {
    let fleet = ModelFleet::new(1);
    fleet.engine.millis.store(200, Relaxed);
    let limiter = &fleet.limiters(LimitLabel::Upstream, 1000, 8)[0];
    let (began, recall) = (clock::now(), Duration::from_millis(19));
    limiter.foresee(began);
    tokio::time::sleep(recall).await;
    assert!(limiter.acquire(recall).await.is_ok());
    let took = clock::now().duration_since(began);
    assert!(took <= TIMEOUT + Duration::from_millis(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_late_does_not_make_others_late() {
    let fleet = ModelFleet::new(1);
    fleet.engine.millis.store(8, Relaxed);
    let limiter = &fleet.limiters(LimitLabel::Upstream, 60_000, 4)[0];
    assert!(limiter.acquire(TIMEOUT).await.is_ok(), "by an overdraft, at once");
    let began = clock::now();
    assert!(limiter.acquire(Duration::ZERO).await.is_ok(), "the bucket has tokens");
    assert!(clock::now().duration_since(began) >= Duration::from_millis(8), "by a lease");
    // A lease that has been on its way for long is waited for as well.
    fleet.engine.millis.store(30, Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (late, other) = tokio::join!(limiter.acquire(TIMEOUT), async {
        tokio::time::sleep(Duration::from_millis(25)).await;
        limiter.acquire(Duration::ZERO).await
    });
    assert!(late.is_ok() && other.is_ok(), "{late:?}, {other:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_level_is_down_nothing_is_sent_and_each_gateway_has_its_share() {
    let fleet = ModelFleet::new(3);
    let limiter = &fleet.limiters(LimitLabel::Upstream, 60_000, 9)[0];
    let switch = fleet.gateways[0].level.switch();
    switch.set_down(EngineFailure::Unreachable);
    let mut admitted = 0;
    for _ in 0..9 {
        admitted += u32::from(limiter.acquire(Duration::ZERO).await.is_ok());
        limiter.foresee(clock::now());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((admitted, fleet.calls()), (3, 0));
    let scope = limiter.scope(clock::now());
    assert_eq!((scope, limiter.rate_in(scope)), (Some(LimitScope::Local), rate(180_000, 3)));
    switch.set_up();
    let scope = limiter.scope(clock::now());
    assert_eq!((scope, limiter.rate_in(scope)), (Some(LimitScope::Fleet), rate(60_000, 9)));
    assert!(limiter.acquire(Duration::ZERO).await.is_ok());
    assert_eq!(fleet.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_lease_has_admitted_is_not_granted_again_by_the_share() {
    let fleet = ModelFleet::new(2);
    let limiter = &fleet.limiters(LimitLabel::Upstream, 60_000, 8)[0];
    let mut admitted = 0;
    for _ in 0..3 {
        admitted += u32::from(limiter.acquire(Duration::ZERO).await.is_ok());
    }
    fleet.gateways[0].level.switch().set_down(EngineFailure::Unreachable);
    let by_share = (0..8).filter(|_| limiter.take(clock::now()).is_ok()).count();
    assert_eq!((admitted, by_share), (3, 1), "four of eight are its share");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_nothing_is_left_for_the_share_until_it_answers() {
    let fleet = ModelFleet::new(2);
    fleet.engine.millis.store(3_600_000, Relaxed);
    let limiter = &fleet.limiters(LimitLabel::Tenant, 60_000, 8)[0];
    assert!(limiter.take(clock::now()).is_ok());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(limiter.scope(clock::now()), Some(LimitScope::Local));
    let admitted = (0..8).filter(|_| limiter.take(clock::now()).is_ok()).count();
    assert_eq!(admitted, 3, "its share, less the one before");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(fleet.gateways[0].level.switch().is_down(), "after three failures in a row");
    let calls = fleet.calls();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(fleet.calls(), calls);
    fleet.engine.millis.store(1, Relaxed);
    fleet.gateways[0].level.switch().set_up();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(limiter.scope(clock::now()), Some(LimitScope::Fleet), "without a request");
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_within_the_timeout_speaks_for_the_engine() {
    for (millis, is_down) in [(15, false), (25, true)] {
        let fleet = ModelFleet::new(1);
        fleet.engine.millis.store(millis, Relaxed);
        let limiter = &fleet.limiters(LimitLabel::Tenant, 1000, 8)[0];
        let switch = fleet.gateways[0].level.switch();
        for _ in 0..3 {
            assert!(limiter.take(clock::now()).is_ok());
            tokio::time::sleep(Duration::from_millis(2500)).await;
            // As a lookup does that got no answer in time.
            switch.note_failure(EngineFailure::Timeout);
        }
        assert_eq!((switch.is_down(), fleet.calls()), (is_down, 3), "{millis} ms");
    }
}

#[test]
fn each_limit_has_a_bucket_of_its_own_whose_name_reveals_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _runtime = runtime.enter();
    let fleet = ModelFleet::new(1);
    let name = |tenant_name, label, rate| fleet.gateways[0].name(&tenant(tenant_name), label, rate);
    let own = name("alpha", LimitLabel::Tenant, rate(10, 5));
    for other in [
        name("beta", LimitLabel::Tenant, rate(10, 5)),
        name("alpha", LimitLabel::Upstream, rate(10, 5)),
        name("alpha", LimitLabel::Tenant, rate(11, 5)),
        name("alpha", LimitLabel::Tenant, rate(10, 6)),
    ] {
        assert_ne!(own, other);
    }
    assert_eq!(own, name("alpha", LimitLabel::Tenant, rate(10, 5)));
}
