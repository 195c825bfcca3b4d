//! A simulation of clients that wait until a call is final, on a clock that the test moves: its cost upstream, and
//! that no client gets a result from before its request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Empty;

use super::in_process::{InProcessGateway, get, one_tenant, opened};
use crate::clock::{self, Instant};
use crate::upstream::{ExchangeDeadlines, Opening, Transport};

/// How long an upstream request takes.
pub(super) const LATENCY: Duration = Duration::from_millis(80);

/// A call that is final `length` after the start. Each response contains the time of its request.
pub(super) struct Call {
    pub(super) start: Instant,
    pub(super) length: Duration,
    pub(super) fetches: Arc<AtomicUsize>,
}

impl Transport for Call {
    fn open(&self, _: Request<Bytes>, _: ExchangeDeadlines) -> Opening<'_> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            let came = clock::now().duration_since(self.start);
            tokio::time::sleep(LATENCY).await;
            let status = if came >= self.length { "completed" } else { "in_progress" };
            let body = format!(
                r#"{{"success":true,"data":{{"id":"call_1","status":"{status}"}},"meta":{{"came":{}}}}}"#,
                came.as_millis()
            );
            Ok(opened(StatusCode::OK, HeaderMap::new(), body))
        })
    }
}

/// A gateway in front of one call.
struct Simulation {
    start: Instant,
    fetches: Arc<AtomicUsize>,
    gateway: InProcessGateway,
}

/// A client's answer.
pub(super) struct Got {
    pub(super) is_final: bool,
    /// When the upstream request behind the answer was sent.
    pub(super) came: Duration,
    applied: Option<String>,
}

impl Got {
    /// Waits at this gateway.
    pub(super) async fn at(gateway: &InProcessGateway, seconds: u64) -> Self {
        let request = get("/v1/calls/call_1").header("prefer", format!("wait={seconds}"));
        let answer = gateway.ask(request.body(Empty::<Bytes>::new()).unwrap()).await;
        assert_eq!(answer.status, 200);
        let applied = answer.field("preference-applied").map(str::to_owned);
        let body = answer.json();
        let came = Duration::from_millis(body["meta"]["came"].as_u64().unwrap());
        Self { is_final: body["data"]["status"] == "completed", came, applied }
    }
}

impl Simulation {
    fn new(seconds: u64) -> Self {
        let (start, fetches) = (clock::now(), Arc::new(AtomicUsize::new(0)));
        let length = Duration::from_secs(seconds);
        let call = Call { start, length, fetches: Arc::clone(&fetches) };
        Self { start, fetches, gateway: InProcessGateway::new(&one_tenant(""), Arc::new(call)) }
    }

    fn now(&self) -> Duration {
        clock::now().duration_since(self.start)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn wait(&self, seconds: u64) -> Got {
        Got::at(&self.gateway, seconds).await
    }

    /// Waits repeatedly until the call is final, beginning after `delay`. Returns when it was.
    async fn follow(&self, delay: Duration, wait: u64) -> Duration {
        tokio::time::sleep(delay).await;
        loop {
            let asked = self.now();
            let got = self.wait(wait).await;
            if got.is_final {
                return self.now();
            }
            assert!(got.came >= asked, "fetched at {:?}, asked for at {asked:?}", got.came);
            let took = self.now() - asked;
            let longest = Duration::from_secs(wait + 1) + 2 * LATENCY;
            assert!(took <= longest, "waited {took:?} of {wait} s");
            assert!(
                took >= Duration::from_secs(wait),
                "answered after {took:?} though the call was not final"
            );
            assert_eq!(got.applied, Some(format!("wait={wait}")));
        }
    }
}

async fn a_call_of_three_minutes(clients: u64, wait: u64) -> usize {
    let simulation = Simulation::new(180);
    let clients = (0..clients).map(|client| simulation.follow(Duration::from_millis(137 * client), wait));
    for ended in join_all(clients).await {
        assert!(ended >= Duration::from_secs(180));
        assert!(ended <= Duration::from_secs(191), "{ended:?}: within the longest pause of the end");
    }
    simulation.fetches()
}

#[tokio::test(start_paused = true)]
async fn a_call_of_three_minutes_costs_at_most_32_polls_for_one_or_fifty_waiters() {
    for clients in [1, 50] {
        for wait in [30, 20] {
            let fetches = a_call_of_three_minutes(clients, wait).await;
            assert!((20..=32).contains(&fetches), "{clients} clients, {wait} s: {fetches}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_reconnect_do_not_speed_up_polling() {
    let simulation = Simulation::new(180);
    let client = async |number: u64| {
        tokio::time::sleep(Duration::from_millis(61 * number)).await;
        while simulation.now() < Duration::from_secs(180) {
            // Disconnects long before its time is up, and stays away for a moment.
            let _ = tokio::time::timeout(Duration::from_millis(700 + 13 * number), simulation.wait(30)).await;
            tokio::time::sleep(Duration::from_millis(10 * number)).await;
        }
    };
    join_all((0..20).map(client)).await;
    assert!(simulation.fetches() <= 32, "{}", simulation.fetches());
}

#[tokio::test(start_paused = true)]
async fn a_lone_client_that_reconnects_continues_the_schedule() {
    let simulation = Simulation::new(180);
    while simulation.now() < Duration::from_secs(180) {
        let _ = tokio::time::timeout(Duration::from_millis(300), simulation.wait(30)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(simulation.fetches() <= 32, "{}", simulation.fetches());
}

#[tokio::test(start_paused = true)]
async fn short_waits_get_a_poll_of_their_own_but_no_more_than_one_per_shortest_pause() {
    let simulation = Simulation::new(60);
    let clients = (0..10).map(|client| simulation.follow(Duration::from_millis(90 * client), 2));
    join_all(clients).await;
    assert!(simulation.fetches() <= 64, "{}", simulation.fetches());
}

#[tokio::test(start_paused = true)]
async fn every_wait_is_counted_and_leaves_nothing_behind() {
    let simulation = Simulation::new(12);
    let leaving = async { tokio::time::timeout(Duration::from_secs(3), simulation.wait(30)).await.is_err() };
    let (first, second, has_left) = tokio::join!(simulation.wait(30), simulation.wait(5), leaving);
    assert!(first.is_final && !second.is_final && has_left);
    let tenant = simulation.gateway.tenant("alpha");
    assert_eq!(tenant.watches().size(), (0, 0));
    let ends: Vec<_> = tenant.metrics().wait_ends().map(|(end, count)| (end.label(), count)).collect();
    let expected =
        [("final", 1), ("time", 1), ("gone", 1), ("error", 0), ("drain", 0), ("reload", 0), ("full", 0)];
    assert_eq!(ends, expected);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_every_wait_with_what_it_has_and_begins_none() {
    let simulation = Simulation::new(180);
    let begins = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        simulation.gateway.drain(Duration::from_secs(4));
    };
    let (ends, ()) = tokio::join!(join_all((0..20).map(|_| simulation.wait(30))), begins);
    assert!(ends.iter().all(|got| !got.is_final && got.applied.as_deref() == Some("wait=30")));
    let ended = simulation.now();
    assert!((10_000..=11_100).contains(&ended.as_millis()), "{ended:?}: within a quarter of the drain");
    let late = simulation.wait(30).await;
    assert_eq!((late.is_final, late.applied), (false, None));
    assert!(simulation.now() - ended <= 2 * LATENCY, "answered at once");
}
