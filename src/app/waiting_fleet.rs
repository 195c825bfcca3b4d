//! A simulation of a fleet whose clients wait for the same call at several gateways, on a clock that the test moves: its
//! cost upstream, and that every client gets the call as soon as one gateway has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::fleet::{FleetContext, PlayedEngine};
use super::gateway_world::GatewayWorld;
use super::in_process::{InProcessGateway, one_tenant};
use super::model::engine::ModelEngine;
use super::waiting::{Call, Got, LATENCY};
use crate::clock::{self, Instant, WallClock};
use crate::domain::CallId;

/// The call's length in seconds: a waiter that asks once waits to its end.
const LENGTH: u64 = 180;

/// Gateways that share an engine, in front of one call.
struct WaitingFleet {
    start: Instant,
    engine: Arc<ModelEngine>,
    fetches: Arc<AtomicUsize>,
    gateways: Vec<InProcessGateway>,
    heartbeats: Vec<JoinHandle<()>>,
}

impl WaitingFleet {
    /// That have heard of each other.
    async fn new(gateways: usize) -> Self {
        let (start, fetches, engine) = (clock::now(), Arc::default(), ModelEngine::calm());
        let mut fleet = Self { start, engine, fetches, gateways: Vec::new(), heartbeats: Vec::new() };
        for _ in 0..gateways {
            fleet.join();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        fleet
    }

    /// One more joins.
    fn join(&mut self) {
        let shared = "[shared]\nurls = [\"unix:/nowhere\"]\n\
                      key = { value = \"a-fleet-key-of-32-characters-or-more\" }\n\
                      [wait]\nmax = \"5m\"\n";
        let (length, fetches) = (Duration::from_secs(LENGTH), Arc::clone(&self.fetches));
        let call = Arc::new(Call { start: self.start, length, fetches });
        let engine = &self.engine;
        let played = PlayedEngine { entries: Arc::clone(engine) as _, log: Arc::clone(engine) as _ };
        let wall = WallClock::system();
        let gateway =
            InProcessGateway::in_fleet(wall.clone(), &one_tenant(shared), call, |settings, metrics| {
                FleetContext::on(played, &settings.shared, metrics, wall)
            });
        let fleet = gateway.gateway.fleet.as_ref().unwrap();
        fleet.set_world(Arc::new(GatewayWorld(Arc::clone(&gateway.gateway))));
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        self.heartbeats.push(tokio::spawn(Arc::clone(fleet).run()));
        self.gateways.push(gateway);
    }

    fn now(&self) -> Duration {
        clock::now().duration_since(self.start)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// What the gateways have counted as polls.
    fn polls(&self, place: usize) -> u64 {
        self.gateways[place].tenant("alpha").metrics().wait_polls.get()
    }

    /// Waits at a gateway from some moment on, and repeats it until the call is final; when it was.
    async fn follow(&self, place: usize, delay: u64, wait: u64) -> Duration {
        tokio::time::sleep(Duration::from_millis(delay)).await;
        loop {
            let asked = self.now();
            let got = Got::at(&self.gateways[place], wait).await;
            if got.is_final {
                return self.now();
            }
            assert!(got.came >= asked, "fetched at {:?}, asked for at {asked:?}", got.came);
            let took = self.now() - asked;
            assert!(took <= Duration::from_secs(wait + 1) + 2 * LATENCY, "waited {took:?} of {wait} s");
        }
    }

    /// Several clients wait at each gateway until the call is final. The number of requests upstream.
    async fn all_wait(&self, wait: u64) -> usize {
        let clients = (0..self.gateways.len() as u64 * 4)
            .map(|client| self.follow(client as usize % self.gateways.len(), 137 * client, wait));
        for ended in join_all(clients).await {
            let late = ended.saturating_sub(Duration::from_secs(LENGTH));
            // Its poller notices within the longest pause, and the others within theirs.
            assert!(late <= Duration::from_secs(21), "{ended:?}");
        }
        self.fetches()
    }
}

#[tokio::test(start_paused = true)]
async fn three_gateways_poll_a_call_as_often_as_one() {
    let alone = WaitingFleet::new(1).await.all_wait(240).await;
    let fleet = WaitingFleet::new(3).await;
    let together = fleet.all_wait(240).await;
    // Each of the others has a first fetch.
    let most = alone as f64 * 1.25 + 2.0;
    assert!(together as f64 <= most, "{together} requests, {alone} of one gateway");
    let polls: Vec<_> = (0..3).map(|place| fleet.polls(place)).collect();
    assert_eq!(
        polls.iter().sum::<u64>() as usize,
        together - 3,
        "{polls:?}: a question to the level is no poll"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fleet.engine.poll_claims(), 0, "the call is final");
}

#[tokio::test(start_paused = true)]
async fn each_gateway_gives_waiters_whose_time_ends_what_it_has_fetched_since_they_asked() {
    // `follow` asserts it for each answer.
    let requests = WaitingFleet::new(3).await.all_wait(20).await;
    // The schedule, and one request of each other gateway for the clients that repeat theirs every 20 s.
    assert!(requests <= 32 * 5 / 4 + 3 + 2 * 2 * 9, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn another_gateway_polls_when_the_waiters_of_the_first_have_left() {
    let fleet = WaitingFleet::new(2).await;
    let first = tokio::time::timeout(Duration::from_secs(60), fleet.follow(0, 0, 240));
    let second = fleet.follow(1, 2_000, 240);
    let watched = async {
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!((fleet.engine.poll_claims(), fleet.polls(1)), (1, 0));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = fleet.polls(0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(fleet.polls(0), before);
        assert!(fleet.polls(1) >= 5, "{}", fleet.polls(1));
    };
    let (first, second, ()) = tokio::join!(first, second, watched);
    assert!(first.is_err());
    assert!(second <= Duration::from_secs(LENGTH + 11), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_drains_leaves_the_call_to_another_at_once() {
    let fleet = WaitingFleet::new(2).await;
    let first = Got::at(&fleet.gateways[0], 240);
    let second = fleet.follow(1, 2_000, 240);
    let drains = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((fleet.engine.poll_claims(), fleet.polls(1)), (1, 0));
        fleet.gateways[0].drain(Duration::from_secs(8));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(fleet.engine.poll_claims(), 0);
    };
    let (first, second, ()) = tokio::join!(first, second, drains);
    assert!(!first.is_final);
    assert!(second <= Duration::from_secs(LENGTH + 11), "{second:?}");
    assert!(fleet.polls(1) >= 10, "{}", fleet.polls(1));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_polls_at_once_at_any_gateway_and_one_answer_serves_a_purge_for_all() {
    let fleet = WaitingFleet::new(3).await;
    let waits = join_all((0..3).map(|place| fleet.follow(place, 2_000 * place as u64, 240)));
    let acts = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        let id = CallId::parse(b"call_1").unwrap();
        let polls = |place| fleet.polls(place);
        assert_eq!((polls(1), polls(2)), (0, 0), "the first one polls");
        let tenant = fleet.gateways[1].tenant("alpha").name().clone();
        fleet.gateways[1].gateway.refresh(&tenant, &id).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!((polls(1), polls(2)), (1, 0), "a refresh is no other gateway's");
        let before = fleet.fetches();
        for gateway in &fleet.gateways {
            drop(gateway.tenant("alpha").purge_call(&id));
        }
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert_eq!(fleet.fetches(), before + 1);
    };
    let (ends, ()) = tokio::join!(waits, acts);
    assert!(ends.iter().all(|ended| *ended <= Duration::from_secs(LENGTH + 21)), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_engine_every_gateway_polls_by_itself() {
    let fleet = WaitingFleet::new(3).await;
    let fails = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        fleet.engine.fail_for(Duration::from_secs(3600));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!((0..3).all(|place| fleet.polls(place) >= 3));
    };
    let waits = join_all((0..3).map(|place| fleet.follow(place, 0, 240)));
    let (ends, ()) = tokio::join!(waits, fails);
    assert!(ends.iter().all(|ended| *ended <= Duration::from_secs(LENGTH + 11)), "{ends:?}");
    assert!(fleet.fetches() <= 3 * 32, "{}", fleet.fetches());
}

/// A process that was killed releases nothing, and asks nothing more.
#[tokio::test(start_paused = true)]
async fn the_claim_of_a_gateway_that_was_killed_ends_by_itself() {
    let mut fleet = WaitingFleet::new(1).await;
    let killed = tokio::time::timeout(Duration::from_secs(60), fleet.follow(0, 0, 240));
    assert!(killed.await.is_err());
    // As if its last release had been lost.
    fleet.engine.restore_poll_claims(Duration::from_secs(20));
    fleet.join();
    fleet.gateways[0].drain(Duration::ZERO);
    let begun = fleet.now();
    let ended = fleet.follow(1, 1_000, 240).await;
    assert!(ended <= Duration::from_secs(LENGTH + 11), "{ended:?}");
    assert!(fleet.polls(1) >= 10, "{} since {begun:?}", fleet.polls(1));
}
