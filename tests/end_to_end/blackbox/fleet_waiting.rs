//! Clients of several gateways of a fleet that wait for the same call: one gateway polls it for all.

use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Engine, Gateway, Response, Seen, TOKENS, Upstream, call, call_reply, eventually, reply,
};

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(100);
const POLLED_OFTEN: &str = "poll_min = \"100ms\"\npoll_max = \"100ms\"\nmax = \"60s\"";

/// A call that is not final, with the number of its request.
fn unfinished(seen: &Seen) -> Vec<Act> {
    let number = format!("X-Number: {}", seen.number);
    let body = call(seen.id()).replace("\"completed\"", "\"in_progress\"");
    reply("200 OK", &["Content-Type: application/json", &number], &body)
}

fn never_final() -> Upstream {
    Upstream::scripted(unfinished)
}

fn make_final(upstream: &Upstream) {
    upstream.now(|seen| call_reply(seen.id(), &[]));
}

/// Gateways that have heard of each other.
fn fleet<const N: usize>(engine: &Engine, upstream: &Upstream) -> [Gateway; N] {
    // Soon after a gateway was killed, another one polls.
    let config = engine.config().with("wait", POLLED_OFTEN).with("upstream", "total_timeout = \"2s\"");
    let all = std::array::from_fn(|_| config.clone().start(upstream));
    all.iter().for_each(|gateway: &Gateway| gateway.wait_for_fleet(N));
    all
}

/// Clients that wait for `call_1`, and the watch that all have joined.
fn waiters(gateway: &Gateway, clients: usize, seconds: u64) -> Vec<Client> {
    let before = gateway.metric("waits{tenant=\"alpha\"}");
    let wait = format!("Prefer: wait={seconds}");
    let all = (0..clients).map(|_| {
        let mut client = gateway.connect();
        client.get("/v1/calls/call_1", TOKENS[0], &[&wait]);
        client
    });
    let all = all.collect();
    let expected = before + clients as f64;
    eventually("all wait", || gateway.metric("waits{tenant=\"alpha\"}") == expected);
    all
}

fn polls(gateway: &Gateway) -> f64 {
    gateway.metric("wait_polls_total{tenant=\"alpha\"}")
}

/// The questions of a gateway to the level.
fn questions(gateway: &Gateway) -> f64 {
    gateway.asked_fleet("miss")
}

fn status_of(response: &Response) -> String {
    response.json()["data"]["status"].as_str().expect("a status").to_owned()
}

fn assert_all_final(clients: Vec<Client>) {
    for mut client in clients {
        let response = client.read();
        assert_eq!((response.status, status_of(&response).as_str()), (200, "completed"));
        assert!(response.header("preference-applied").is_some());
    }
}

/// Waiters at the first gateway, which polls the call, and then at another one, which asks the level alone.
fn polled_by_the_first(first: &Gateway, other: &Gateway) -> [Vec<Client>; 2] {
    let at_first = waiters(first, 3, 60);
    eventually("the first one polls", || polls(first) >= 2.0);
    let at_other = waiters(other, 3, 60);
    let (asked, polled) = (questions(other), polls(first));
    eventually("both go on", || questions(other) >= asked + 5.0 && polls(first) >= polled + 5.0);
    assert_eq!(polls(other), 0.0);
    [at_first, at_other]
}

#[test]
fn a_fleet_polls_a_call_as_often_as_one_gateway() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let gateways: [_; 3] = fleet(&engine, &upstream);
    let begun = Instant::now();
    let clients: Vec<_> = gateways.iter().flat_map(|gateway| waiters(gateway, 5, 60)).collect();
    upstream.wait_for(60);
    let asked: Vec<_> = gateways.iter().map(questions).collect();
    assert!(asked.iter().all(|asked| *asked >= 5.0), "each asks the level: {asked:?}");
    let (count, polled) = (upstream.count(), gateways.iter().map(polls).collect::<Vec<_>>());
    // What one gateway would have sent, and the first fetches.
    let most = 1.25 * (begun.elapsed().as_secs_f64() / PAUSE.as_secs_f64()) + 3.0;
    assert!(count as f64 <= most, "{count} requests, at most {most}: {polled:?}");
    assert_eq!(polled.iter().filter(|polls| **polls > 0.0).count(), 1, "one polls: {polled:?}");
    make_final(&upstream);
    assert_all_final(clients);
    eventually("the claims are released", || {
        let claims = ["cg1:p:*", "cg1:c:*"].map(|keys| engine.command(&["KEYS", keys]));
        claims.iter().all(String::is_empty)
    });
}

#[test]
fn when_the_waiters_of_the_gateway_that_polls_leave_another_one_polls() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [first, other] = fleet(&engine, &upstream);
    let [at_first, at_other] = polled_by_the_first(&first, &other);
    at_first.into_iter().for_each(Client::leave);
    eventually("the other one polls", || polls(&other) >= 3.0);
    let polled = polls(&first);
    let before = polls(&other);
    eventually("it goes on", || polls(&other) >= before + 3.0);
    assert_eq!(polls(&first), polled);
    make_final(&upstream);
    assert_all_final(at_other);
}

#[test]
fn when_the_gateway_that_polls_is_killed_another_one_polls() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [mut first, other] = fleet(&engine, &upstream);
    let [_at_first, at_other] = polled_by_the_first(&first, &other);
    let key = engine.command(&["KEYS", "cg1:p:*"]).trim().to_owned();
    let left: i64 = engine.command(&["PTTL", &key]).trim().parse().unwrap();
    assert!((1..=2_100).contains(&left), "{left} ms");
    first.process.signal("KILL");
    first.process.wait();
    eventually("the other one polls", || polls(&other) >= 3.0);
    make_final(&upstream);
    assert_all_final(at_other);
}

#[test]
fn a_gateway_that_drains_or_reloads_other_keys_leaves_the_call_to_another() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [mut first, other] = fleet(&engine, &upstream);
    let [at_first, at_other] = polled_by_the_first(&first, &other);
    first.process.signal("TERM");
    for mut client in at_first {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(first.process.wait().code(), Some(0));
    eventually("the other one polls", || polls(&other) >= 3.0);
    let holder = || engine.command(&["GET", engine.command(&["KEYS", "cg1:p:*"]).trim()]);
    assert!(!holder().trim().is_empty());
    let next = engine.config().with("wait", POLLED_OFTEN);
    let next = next.tenant(0, "tokens = [{ value = \"another-token-of-alpha-0123456789abcdef\" }]");
    assert_eq!(other.reload(&next).status, 200);
    for mut client in at_other {
        assert_eq!(client.read().status, 200);
    }
    eventually("the claim is released", || engine.command(&["KEYS", "cg1:p:*"]).is_empty());
}

#[test]
fn without_the_engine_each_gateway_polls_by_itself_and_all_get_the_call() {
    let Some(mut engine) = Engine::start() else { return };
    let upstream = never_final();
    let [first, other] = fleet(&engine, &upstream);
    let [at_first, at_other] = polled_by_the_first(&first, &other);
    engine.kill();
    let polled = polls(&first);
    eventually("both poll", || polls(&first) >= polled + 3.0 && polls(&other) >= 3.0);
    make_final(&upstream);
    assert_all_final(at_first);
    assert_all_final(at_other);
}

#[test]
fn a_waiter_whose_time_ends_at_a_gateway_that_does_not_poll_gets_what_was_fetched_since_it_asked() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [first, other] = fleet(&engine, &upstream);
    let [at_first, at_other] = polled_by_the_first(&first, &other);
    for polled in [1.0, 2.0] {
        let asked = upstream.count();
        let response = other.get_with("call_1", &["Prefer: wait=1"]);
        assert_eq!((response.status, status_of(&response).as_str()), (200, "in_progress"));
        assert_eq!(response.header("preference-applied"), Some("wait=1"));
        let number: usize = response.header("x-number").unwrap().parse().unwrap();
        assert!(number >= asked, "request {number}, asked after {asked}");
        assert_eq!(polls(&other), polled, "one request for its end");
    }
    make_final(&upstream);
    assert_all_final(at_first);
    assert_all_final(at_other);
}

#[test]
fn a_refresh_polls_at_once_at_the_gateway_that_is_told() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [first, other] = fleet(&engine, &upstream);
    let [at_first, at_other] = polled_by_the_first(&first, &other);
    let path = "/api/v1/cache/alpha/call_1/refresh";
    assert_eq!(Client::connect(other.admin).request("POST", path, "", &[]).read().status, 202);
    eventually("it polls once", || polls(&other) == 1.0);
    let asked = questions(&other);
    eventually("it asks the level again", || questions(&other) >= asked + 3.0);
    assert_eq!(polls(&other), 1.0);
    make_final(&upstream);
    assert_all_final(at_first);
    assert_all_final(at_other);
}

/// Lookups of other clients are no poller's, and do not wait for one.
#[test]
fn an_ordinary_lookup_of_a_polled_call_does_not_wait_for_the_poll_claim() {
    let Some(engine) = Engine::start() else { return };
    let upstream = never_final();
    let [first, other] = fleet(&engine, &upstream);
    let _waiting = polled_by_the_first(&first, &other);
    let fastest = (0..10).map(|_| {
        let begun = Instant::now();
        assert_eq!(other.get("call_1").status, 200);
        begun.elapsed()
    });
    let fastest = fastest.min().unwrap();
    assert!(fastest < Duration::from_millis(400), "{fastest:?}");
}
