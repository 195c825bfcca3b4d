//! The simulator of a fleet: three gateways, their memories and disks, and an engine, under a simulated clock, with
//! operations that are delayed, lost and interleaved at random, and engines that are emptied, set back or frozen.
//!
//! The fleet's own logic runs in full: heartbeat, log, ledger, members, claims, sealed entries. Memory and disk are maps
//! with the rules that their own models hold them to.
//!
//! One rule: after a purge was answered as applied everywhere, no lookup that starts later gets what was fetched before it
//! began, unless the answer named its gateway as silent, and that gateway has not heard of the purge since.
//!
//! What breaks it, in about one of 50,000 random sequences: an engine that is set back by purges which only gateways knew that
//! ended in the same moment, so that other records get the same numbers, which the marks of what was
//! fetched before don't tell apart.

#![expect(clippy::disallowed_methods, reason = "what a simulation leaves behind ends with its runtime")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;

use super::engine::ModelEngine;
use crate::clock::WallClock;
use crate::config::{BaseUrl, LevelKey, UpstreamKey};
use crate::domain::{CallId, Mark, PurgeTarget, TenantName};
use crate::fleet::{Fleet, FleetWorld, WorldFuture};
use crate::levels::{
    ClaimWish, EntryStamp, FleetSeal, LevelAccount, MissedPurges, SharedLevel, TenantShared,
};
use crate::telemetry::{FleetMetrics, LevelMetrics, TenantMetrics};

const GATEWAYS: usize = 3;
const CALLS: usize = 2;
const ACTIONS: usize = 40;

/// How a purge is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Design {
    /// As the gateway does it.
    Whole,
    /// Answered once it is announced.
    AnnouncedOnly,
    /// Applied by the gateway that was asked, and its entries marked.
    MarkedOnly,
    /// Announced and acknowledged, but entries get the mark of the moment when they are written.
    AcknowledgedOnly,
}

/// What outlives a process.
#[derive(Default)]
struct ModelDisk {
    entries: BTreeMap<usize, u64>,
    position: Option<Mark>,
    /// Whether this process has cleaned it.
    is_open: bool,
}

#[derive(Default)]
struct ModelMemory {
    entries: BTreeMap<usize, u64>,
    /// The fetch that may store, by call.
    flights: BTreeMap<usize, u64>,
    next_flight: u64,
}

/// The caches of a gateway.
struct ModelCaches {
    memory: Mutex<ModelMemory>,
    disk: Arc<Mutex<ModelDisk>>,
    /// The process is gone, and the lock on its disk with it. Its last lookups no longer read or write there.
    has_ended: AtomicBool,
}

struct ModelGateway {
    fleet: Arc<Fleet>,
    shared: Arc<TenantShared>,
    caches: Arc<ModelCaches>,
    heartbeat: JoinHandle<()>,
}

/// A purge that was answered as applied everywhere.
struct AnsweredPurge {
    /// The oldest version that may still be served.
    version: u64,
    call: usize,
    silent: Vec<String>,
    record: Mark,
    /// The digest of the log up to that record, as the gateway that purged has read it.
    chain: Option<[u8; 8]>,
}

struct Simulation {
    design: Design,
    engine: Arc<ModelEngine>,
    disks: [Arc<Mutex<ModelDisk>>; GATEWAYS],
    gateways: Mutex<[Arc<ModelGateway>; GATEWAYS]>,
    /// The upstream's versions of the calls.
    truth: Mutex<[u64; CALLS]>,
    purges: Mutex<Vec<AnsweredPurge>>,
    violations: Mutex<Vec<String>>,
    served: Mutex<u64>,
}

fn tenant() -> TenantName {
    TenantName::parse("alpha").unwrap()
}

fn id(call: usize) -> CallId {
    CallId::parse(format!("call_{call}").as_bytes()).unwrap()
}

fn calls_of(target: &PurgeTarget) -> Vec<usize> {
    (0..CALLS).filter(|call| !matches!(target, PurgeTarget::Call(_, other) if *other != id(*call))).collect()
}

impl ModelCaches {
    fn purge(&self, target: &PurgeTarget) {
        let (mut memory, mut disk) = (self.memory.lock().unwrap(), self.disk.lock().unwrap());
        for call in calls_of(target) {
            memory.entries.remove(&call);
            memory.flights.remove(&call);
            disk.entries.remove(&call);
        }
    }
}

impl FleetWorld for ModelCaches {
    fn apply(&self, targets: Vec<PurgeTarget>) -> WorldFuture<'_, usize> {
        Box::pin(async move {
            for target in &targets {
                yields().await;
                self.purge(target);
            }
            targets.len()
        })
    }

    fn forget_memory(&self) -> WorldFuture<'_, ()> {
        Box::pin(async move {
            yields().await;
            let mut memory = self.memory.lock().unwrap();
            memory.entries.clear();
            memory.flights.clear();
        })
    }

    fn tenants(&self) -> Vec<TenantName> {
        vec![tenant()]
    }

    fn keys(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Lets others go first, for a random while.
pub(super) async fn yields() {
    for _ in 0..fastrand::u8(..3) {
        tokio::task::yield_now().await;
    }
    if fastrand::u8(..8) == 0 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..40))).await;
    }
}

impl ModelGateway {
    fn start(engine: &Arc<ModelEngine>, disk: &Arc<Mutex<ModelDisk>>) -> Arc<Self> {
        let key = LevelKey::for_tests("fleet");
        let seal = Arc::new(FleetSeal::new(&key, "cg1").unwrap());
        let metrics = Arc::new(LevelMetrics::default());
        let timeout = Duration::from_millis(20);
        let level =
            SharedLevel::new(Arc::clone(engine) as _, seal, key, timeout, &metrics, WallClock::system());
        let fleet =
            Fleet::new(Arc::clone(engine) as _, Arc::clone(&level), &Arc::new(FleetMetrics::default()));
        let (name, url) = (tenant(), BaseUrl::parse("https://api.credira.com").unwrap());
        let keys = [UpstreamKey::new(&"key".into()).unwrap()];
        let account = LevelAccount { tenant: &name, keys: &keys, url: &url };
        let shared = TenantShared::new(
            &level,
            &account,
            true,
            Duration::from_secs(10),
            &Arc::new(TenantMetrics::new(name.clone())),
        );
        disk.lock().unwrap().is_open = false;
        let caches = Arc::new(ModelCaches {
            memory: Mutex::default(),
            disk: Arc::clone(disk),
            has_ended: AtomicBool::new(false),
        });
        fleet.set_world(Arc::clone(&caches) as _);
        let heartbeat = tokio::spawn(Arc::clone(&fleet).run());
        Arc::new(Self { fleet, shared, caches, heartbeat })
    }

    /// What the disk has, once it is cleaned.
    fn recall_from_disk(&self, call: usize) -> Option<u64> {
        let ledger = self.fleet.level().ledger();
        if !ledger.is_caught_up() || self.caches.has_ended.load(Relaxed) {
            return None;
        }
        let mut disk = self.caches.disk.lock().unwrap();
        if !disk.is_open {
            let position = ledger.position();
            match ledger.missed(&tenant(), self.fleet.level().seal().tag(&tenant()), disk.position) {
                MissedPurges::Everything => disk.entries.clear(),
                MissedPurges::Calls(calls) => {
                    disk.entries.retain(|call, _| !calls.contains(&id(*call)));
                }
            }
            (disk.position, disk.is_open) = (position, true);
        }
        disk.entries.get(&call).copied()
    }
}

impl Simulation {
    fn new(design: Design) -> Arc<Self> {
        let engine = ModelEngine::new();
        let disks: [Arc<Mutex<ModelDisk>>; GATEWAYS] = Default::default();
        let gateways = Mutex::new(std::array::from_fn(|place| ModelGateway::start(&engine, &disks[place])));
        Arc::new(Self {
            design,
            engine,
            disks,
            gateways,
            truth: Mutex::new([1; CALLS]),
            purges: Mutex::default(),
            violations: Mutex::default(),
            served: Mutex::default(),
        })
    }

    fn gateway(&self, place: usize) -> Arc<ModelGateway> {
        Arc::clone(&self.gateways.lock().unwrap()[place])
    }

    /// The oldest version of a call that a lookup which starts now may get.
    fn bound(&self, gateway: &ModelGateway, call: usize) -> u64 {
        let ledger = gateway.fleet.level().ledger();
        // Until a heartbeat has succeeded, it is no gateway of the fleet.
        let Some(position) = ledger.position() else { return 0 };
        let name = gateway.fleet.members()[0].name.clone();
        let has_heard = |purge: &AnsweredPurge| {
            let record = purge.record;
            let is_same_log = purge.chain.is_some() && ledger.chain(record.record) == purge.chain;
            position.epoch == record.epoch && position.record >= record.record && is_same_log
        };
        let purges = self.purges.lock().unwrap();
        let concern = purges.iter().filter(|purge| purge.call == call);
        let binding = concern.filter(|purge| !purge.silent.contains(&name) || has_heard(purge));
        binding.map(|purge| purge.version).max().unwrap_or(0)
    }

    fn serve(&self, from: &str, call: usize, version: u64, bound: u64) {
        *self.served.lock().unwrap() += 1;
        if version < bound {
            let found =
                format!("call {call} from {from}: version {version} after a purge of all before {bound}");
            self.violations.lock().unwrap().push(found);
        }
    }

    async fn look_up(self: Arc<Self>, place: usize, call: usize) {
        let gateway = self.gateway(place);
        let bound = self.bound(&gateway, call);
        let flight = {
            let mut memory = gateway.caches.memory.lock().unwrap();
            if let Some(version) = memory.entries.get(&call) {
                return self.serve("memory", call, *version, bound);
            }
            memory.next_flight += 1;
            let flight = memory.next_flight;
            memory.flights.insert(call, flight);
            flight
        };
        let land = |version: u64| {
            let mut memory = gateway.caches.memory.lock().unwrap();
            let may_store = memory.flights.get(&call) == Some(&flight);
            if may_store {
                memory.flights.remove(&call);
                memory.entries.insert(call, version);
            }
            may_store
        };
        if let Some(version) = gateway.recall_from_disk(call) {
            yields().await;
            land(version);
            return self.serve("disk", call, version, bound);
        }
        let asked = gateway.shared.ask(&id(call), 0, ClaimWish::OrWait, None).await;
        if let Ok(opened) = asked.found {
            let version = u64::from_be_bytes(opened.bytes[..8].try_into().unwrap());
            yields().await;
            land(version);
            return self.serve("the engine", call, version, bound);
        }
        let mark = gateway.shared.mark();
        yields().await;
        let version = self.truth.lock().unwrap()[call];
        yields().await;
        yields().await;
        let is_stored = land(version);
        let mark = if self.design == Design::AcknowledgedOnly { gateway.shared.mark() } else { mark };
        if let Some(mark) = mark {
            let now = gateway.shared.now().as_second();
            let stamp = EntryStamp { mark, receipt: now };
            gateway.shared.store(&id(call), 0, stamp, now + 3600, &version.to_be_bytes(), asked.claim);
            let mut disk = gateway.caches.disk.lock().unwrap();
            // A write that was queued before a purge is dropped by the disk's own fence.
            if is_stored && disk.is_open && !gateway.caches.has_ended.load(Relaxed) {
                disk.entries.insert(call, version);
            }
        }
        self.serve("the upstream", call, version, bound);
    }

    async fn purge(self: Arc<Self>, place: usize, target: PurgeTarget) {
        let gateway = self.gateway(place);
        let versions: BTreeMap<usize, u64> = {
            // Fetches from now on get another version.
            let mut truth = self.truth.lock().unwrap();
            calls_of(&target)
                .into_iter()
                .map(|call| {
                    (call, {
                        truth[call] += 1;
                        truth[call]
                    })
                })
                .collect()
        };
        if self.design == Design::MarkedOnly {
            gateway.caches.purge(&target);
            let record = gateway
                .shared
                .mark()
                .unwrap_or(Mark { epoch: crate::domain::Epoch { number: 0, random: 0 }, record: 0 });
            return self.answered(&gateway, versions, Vec::new(), record);
        }
        let announced = gateway.fleet.level().ledger().raise(target.clone());
        yields().await;
        gateway.caches.purge(&target);
        if self.design == Design::AnnouncedOnly {
            if let Ok(record) = announced.await {
                self.answered(&gateway, versions, Vec::new(), record);
            }
            return;
        }
        let announced = announced.shared();
        let (told, record) = tokio::sync::oneshot::channel();
        let relay = announced.clone();
        let relaying = tokio::spawn(async move {
            if let Ok(mark) = relay.await {
                let _ = told.send(mark);
            }
        });
        let (reach, is_everywhere) = gateway.fleet.await_purge(record).await;
        if is_everywhere && let Some(Ok(record)) = announced.now_or_never() {
            let mut silent = reach.silent;
            silent.append(&mut self.unheard_of(&gateway));
            self.answered(&gateway, versions, silent, record);
        }
        relaying.abort();
    }

    /// Gateways that the one which purged could not know: their statements were lost with a part of the engine's memory,
    /// before any gateway had read them. They state anew, and apply the purge, with their next heartbeat.
    fn unheard_of(&self, purging: &ModelGateway) -> Vec<String> {
        if !self.engine.has_lost_members() {
            return Vec::new();
        }
        let known = purging.fleet.members().into_iter().filter(|member| member.same_fleet_key);
        let known: Vec<String> = known.map(|member| member.name).collect();
        let running = self.gateways.lock().unwrap();
        let names = running.iter().map(|gateway| gateway.fleet.members()[0].name.clone());
        names.filter(|name| !known.contains(name)).collect()
    }

    fn answered(
        &self,
        purging: &ModelGateway,
        versions: BTreeMap<usize, u64>,
        silent: Vec<String>,
        record: Mark,
    ) {
        let chain = purging.fleet.level().ledger().chain(record.record);
        let mut purges = self.purges.lock().unwrap();
        for (call, version) in versions {
            purges.push(AnsweredPurge { version, call, silent: silent.clone(), record, chain });
        }
    }

    /// Ends a process and starts another one in its place.
    async fn restart(&self, place: usize, leaves: bool) {
        let old = self.gateway(place);
        old.heartbeat.abort();
        if leaves {
            {
                let mut disk = old.caches.disk.lock().unwrap();
                if disk.is_open {
                    disk.position = old.fleet.level().ledger().position();
                }
            }
            old.fleet.leave().await;
        }
        old.caches.has_ended.store(true, Relaxed);
        let next = ModelGateway::start(&self.engine, &self.disks[place]);
        self.gateways.lock().unwrap()[place] = next;
    }

    async fn act(self: &Arc<Self>) {
        let (place, call) = (fastrand::usize(..GATEWAYS), fastrand::usize(..CALLS));
        match fastrand::u8(..100) {
            0..55 => drop(tokio::spawn(Arc::clone(self).look_up(place, call))),
            55..72 => {
                drop(tokio::spawn(Arc::clone(self).purge(place, PurgeTarget::Call(tenant(), id(call)))));
            }
            72..76 => drop(tokio::spawn(Arc::clone(self).purge(place, PurgeTarget::Tenant(tenant())))),
            76..78 => drop(tokio::spawn(Arc::clone(self).purge(place, PurgeTarget::All))),
            78..82 => self.restart(place, fastrand::bool()).await,
            82..84 => self.engine.empty(),
            84..86 => self.engine.set_back(),
            86..88 => self.engine.forge(),
            88..90 => self.engine.evict(),
            90..92 => self.engine.fail_for(Duration::from_millis(fastrand::u64(..3_000))),
            92..93 => self.engine.fail_for(Duration::from_secs(12)),
            93..95 => tokio::time::sleep(Duration::from_secs(fastrand::u64(..15))).await,
            _ => tokio::time::sleep(Duration::from_millis(fastrand::u64(..900))).await,
        }
        yields().await;
    }

    /// Plays one sequence; its violations.
    async fn play(design: Design) -> (Vec<String>, u64) {
        let simulation = Self::new(design);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..1_000))).await;
        for _ in 0..ACTIONS {
            simulation.act().await;
        }
        // Delayed operations arrive.
        tokio::time::sleep(Duration::from_secs(3)).await;
        for place in 0..GATEWAYS {
            for call in 0..CALLS {
                Arc::clone(&simulation).look_up(place, call).await;
            }
        }
        for gateway in simulation.gateways.lock().unwrap().iter() {
            gateway.heartbeat.abort();
        }
        let violations = simulation.violations.lock().unwrap().clone();
        let served = *simulation.served.lock().unwrap();
        (violations, served)
    }
}

fn run(design: Design, seed: u64) -> (Vec<String>, u64) {
    fastrand::seed(seed);
    super::runtime().block_on(Simulation::play(design))
}

fn sequences(default: u64) -> u64 {
    std::env::var("FLEET_SEQUENCES").ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// `FLEET_SEED=n` repeats one sequence; `FLEET_SEQUENCES=n` plays so many.
#[test]
fn after_a_purge_was_answered_no_gateway_serves_anything_older() {
    if let Some(seed) = std::env::var("FLEET_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let (violations, _) = run(Design::Whole, seed);
        assert!(violations.is_empty(), "{violations:#?}");
        return;
    }
    // Without a number, the same sequences in every run.
    let first =
        if std::env::var_os("FLEET_SEQUENCES").is_some() { u64::from(fastrand::u32(..)) << 16 } else { 0 };
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let most = sequences(400);
    let served: u64 = std::thread::scope(|scope| {
        let play = |thread: u64| {
            (first + thread..first + most).step_by(threads as usize).map(|seed| {
                let (violations, served) = run(Design::Whole, seed);
                assert!(violations.is_empty(), "FLEET_SEED={seed}: {violations:#?}");
                served
            })
        };
        let running: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || play(thread).sum::<u64>())).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(served > most * 10, "only {served} lookups were served");
}

#[test]
fn to_announce_to_acknowledge_or_to_mark_alone_is_not_enough() {
    for design in [Design::AnnouncedOnly, Design::MarkedOnly, Design::AcknowledgedOnly] {
        let failed = (0..5_000).find(|seed| !run(design, *seed).0.is_empty());
        assert!(failed.is_some(), "{design:?} was not noticed");
    }
}
