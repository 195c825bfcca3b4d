//! Slow and disconnected clients: none of them affects another client, or takes more of the process's resources than
//! it may.

use std::time::{Duration, Instant};

use crate::support::{Act, Client, Config, Gate, TOKENS, Upstream, call, call_reply, eventually, reply};

const CACHED: &str = "/v1/calls/call_cached";

/// Limits of connections, beside those of the defaults.
fn limited(lines: &str) -> Config {
    Config::default().with("limits", lines)
}

/// A call with a body of about this many bytes.
pub(super) fn large(id: &str, bytes: usize) -> Vec<Act> {
    let filled =
        call(id).replacen("\"data\": {", &format!("\"data\": {{ \"filler\": \"{}\",", "x".repeat(bytes)), 1);
    assert!(filled.len() > bytes, "the body has the expected form");
    reply("200 OK", &["Content-Type: application/json"], &filled)
}

// T54.
#[test]
fn slow_heads_time_out_and_delay_no_other_client() {
    let upstream = Upstream::contract();
    let gateway = limited("header_read_timeout = \"600ms\"").start(&upstream);
    let mut other = gateway.connect();
    other.get(CACHED, TOKENS[0], &[]).read();
    let start = Instant::now();
    let mut dripping: Vec<_> = (0..100)
        .map(|number| {
            let mut client = gateway.connect();
            // Some have sent nothing, some are in their second request.
            if number % 3 == 2 {
                client.get(CACHED, TOKENS[0], &[]).read();
            }
            if number % 3 > 0 {
                client.send("GET /v1/calls/call_1 HTTP/1.1\r\nX-A: ");
            }
            client
        })
        .collect();
    let opened = start.elapsed();
    eventually("those who drip are closed", || {
        for client in &mut dripping {
            client.try_send("a");
        }
        assert_eq!(other.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
        std::thread::sleep(Duration::from_millis(20));
        gateway.metric("connections") <= 1.0
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(550), "{took:?}");
    assert!(took < opened + Duration::from_millis(600) + Duration::from_secs(3), "{took:?}");
    assert_eq!(gateway.metric("requests_in_flight"), 0.0);
}

// T54.
#[test]
fn a_head_that_begins_behind_a_whole_one_has_no_more_time() {
    let upstream = Upstream::contract();
    let lines = "header_read_timeout = \"500ms\"\nidle_timeout = \"20s\"";
    let gateway = limited(lines).start(&upstream);
    let mut client = gateway.connect();
    client.get(CACHED, TOKENS[0], &[]).read();
    let start = Instant::now();
    let whole = format!("GET {CACHED} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", TOKENS[0]);
    client.send(whole + "GET /v1/ca");
    assert_eq!(client.read().status, 200);
    assert!(client.is_closed());
    assert!((400..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

// T54.
#[test]
fn heads_in_two_pieces_have_their_time_each() {
    let upstream = Upstream::contract();
    let gateway = limited("header_read_timeout = \"500ms\"").start(&upstream);
    let mut client = gateway.connect();
    for _ in 0..5 {
        client.send("GET /v1/calls/call_cached HTTP/1.1\r\nHost: a\r\n");
        std::thread::sleep(Duration::from_millis(150));
        client.send(format!("Authorization: Bearer {}\r\n\r\n", TOKENS[0]));
        assert_eq!(client.read().status, 200);
    }
}

// T55.
#[test]
fn a_client_that_reads_nothing_is_disconnected_and_costs_no_copy() {
    let bytes = 900_000;
    let upstream = Upstream::scripted(move |seen| large(seen.id(), bytes));
    let gateway = limited("idle_timeout = \"1s\"").start(&upstream);
    gateway.get("call_cached");
    let before = gateway.process_metric("resident_memory_bytes");
    let clients = 40;
    let start = Instant::now();
    let readers: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = gateway.connect();
            // More than the sockets' own buffers hold.
            for _ in 0..8 {
                client.get(CACHED, TOKENS[0], &[]);
            }
            client
        })
        .collect();
    eventually("the readers are connected", || gateway.metric("connections") >= f64::from(clients));
    let growth = gateway.process_metric("resident_memory_bytes") - before;
    assert!(growth < f64::from(clients) * 300_000.0, "{growth} bytes for {clients} readers");
    assert_eq!(gateway.get("call_cached").status, 200, "others are served");
    eventually("they are given up", || gateway.metric("connections") == 0.0);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    drop(readers);
    assert_eq!(gateway.metric("requests_in_flight"), 0.0);
}

#[test]
fn idle_connections_end_at_the_idle_timeout() {
    let upstream = Upstream::contract();
    let gateway = limited("idle_timeout = \"800ms\"").start(&upstream);
    let mut idle: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.get(CACHED, TOKENS[0], &[]).read().status, 200);
    }
    let start = Instant::now();
    for client in &mut idle {
        assert!(client.is_closed());
    }
    let took = start.elapsed();
    assert!((500..4000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_client_that_disconnects_frees_its_slot_and_is_counted_once() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let config = limited("max_in_flight = 10").with("upstream", "max_waiting = 10");
    let gateway = config.start(&upstream);
    for round in 1..=10_u32 {
        let herd: Vec<_> = (0..10)
            .map(|_| {
                let mut client = gateway.connect();
                client.get("/v1/calls/call_1", TOKENS[0], &[]);
                client
            })
            .collect();
        eventually("they wait", || gateway.metric("requests_in_flight") >= 10.0);
        assert_eq!(gateway.get("call_1").code(), "OVERLOADED", "every place is taken");
        herd.into_iter().for_each(Client::leave);
        eventually("they are gone", || gateway.metric("requests_in_flight") == 0.0);
        let counted = gateway.outcomes("miss") + gateway.outcomes("collapsed");
        assert_eq!(counted, f64::from(10 * round), "each is one outcome");
        let left = gateway.metric("requests_total{code=\"499\",route=\"call\",tenant=\"alpha\"}");
        assert_eq!(left, f64::from(10 * round));
    }
    gate.open();
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.outcomes("miss"), 1.0, "one led, a hundred followed");
}

#[test]
fn clients_that_disconnect_start_no_more_fetches_than_those_that_stay() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.id() != "call_cached" {
            acts.insert(0, Act::Wait(waiting.clone()));
        }
        acts
    });
    let gateway =
        Config::default().with("upstream", "max_waiting = 10\nmax_connections = 2").start(&upstream);
    gateway.get("call_cached");
    for number in 0..10 {
        let mut client = gateway.connect();
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
        eventually("it waits", || gateway.metric("requests_in_flight") >= 1.0);
        client.leave();
        eventually("it is gone", || gateway.metric("requests_in_flight") == 0.0);
    }
    // No client waits, but ten fetches are in flight.
    assert_eq!(gateway.get("call_more").code(), "OVERLOADED");
    assert_eq!(gateway.get("call_cached").story(), "hit; ttl");
    let mut follower = gateway.connect();
    follower.get("/v1/calls/call_1", TOKENS[0], &[]);
    eventually("it follows", || gateway.metric("requests_in_flight") >= 1.0);
    gate.open();
    assert_eq!(follower.read().status, 200, "who follows one of them needs no other");
    eventually("all are stored", || gateway.metric("cache_entries{tenant=\"alpha\"}") >= 11.0);
    assert_eq!(gateway.get("call_more").status, 200);
    assert_eq!(upstream.count(), 12);
    let refused = gateway.metric("requests_total{code=\"503\",route=\"call\",tenant=\"alpha\"}");
    let lookups: f64 = ["hit", "collapsed", "miss"].map(|outcome| gateway.outcomes(outcome)).iter().sum();
    assert_eq!((refused, lookups), (1.0, 14.0), "who was turned away is no lookup");
}

#[test]
fn a_scraper_that_never_reads_blocks_nothing() {
    let upstream = Upstream::contract();
    let mut gateway = limited("idle_timeout = \"2s\"").start(&upstream);
    let mut scrapers: Vec<_> = (0..20).map(|_| Client::connect(gateway.admin)).collect();
    for scraper in &mut scrapers {
        scraper.try_send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200));
    }
    for _ in 0..20 {
        assert_eq!(gateway.get("call_1").status, 200);
        assert_eq!(gateway.admin("/metrics").status, 200);
        assert_eq!(gateway.admin("/livez").status, 200);
    }
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0), "nor the process from ending");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
