//! More lookups than the upstream can take.

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Act, Config, Gate, Gateway, TOKENS, Upstream, eventually, reply};

// F15.
#[test]
fn with_a_slow_upstream_excess_lookups_are_refused_at_once_and_hits_continue() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let config = Config::default().with("upstream", "max_waiting = 8\nmax_connections = 4");
    let gateway = Gateway::start(&config, proxy.address());
    gateway.get("call_cached");
    proxy.now(Fault::Hold);
    let mut waiting: Vec<_> = (0..8)
        .map(|number| {
            let mut client = gateway.connect();
            client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("they wait", || gateway.metric("requests_in_flight") >= 8.0);
    let mut hits = gateway.connect();
    for number in 0..100 {
        // The upstream sends nothing before all of these are answered.
        let shed = gateway.get(&format!("call_more{number}"));
        assert_eq!((shed.status, shed.code().as_str()), (503, "OVERLOADED"));
        assert_eq!(shed.header("retry-after"), Some("1"));
        assert_eq!(hits.get("/v1/calls/call_cached", TOKENS[0], &[]).read().story(), "hit; ttl");
    }
    let in_flight = gateway.metric("upstream_in_flight{tenant=\"alpha\"}");
    assert_eq!(in_flight, 4.0, "no more than max_connections");
    proxy.now(Fault::Pass);
    for client in &mut waiting {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(upstream.count(), 9);
    eventually("nothing is in flight", || gateway.metric("upstream_in_flight{tenant=\"alpha\"}") == 0.0);
}

#[test]
fn lookups_queued_for_a_connection_are_not_sent_once_the_breaker_has_opened() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let config = Config::default()
        .with("upstream", "max_connections = 2\nfirst_byte_timeout = \"400ms\"\ntotal_timeout = \"10s\"")
        .with("upstream.breaker", "min_requests = 2\nopen_for = \"60s\"");
    let gateway = Gateway::start(&config, proxy.address());
    proxy.now(Fault::Hold);
    let mut waiting: Vec<_> = (0..40)
        .map(|number| {
            let mut client = gateway.connect();
            client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("they wait", || gateway.metric("requests_in_flight") >= 40.0);
    let statuses: Vec<_> = waiting.iter_mut().map(|client| client.read().status).collect();
    let of = |status: u16| statuses.iter().filter(|have| **have == status).count();
    assert_eq!((of(504), of(503)), (upstream.count(), 40 - upstream.count()), "{statuses:?}");
    assert!(upstream.count() <= 4, "{} were sent", upstream.count());
}

#[test]
fn lookups_queued_for_a_connection_are_not_sent_once_the_upstream_has_answered_429() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |_| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(reply("429 X", &["Retry-After: 60"], "{}"));
        acts
    });
    let config = Config::default()
        .with("upstream", "max_connections = 1")
        .tenant(0, "upstream_limit = { per_minute = 1, burst = 100 }");
    let gateway = config.start(&upstream);
    let mut clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = gateway.connect();
            client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("they wait", || gateway.metric("requests_in_flight") >= 20.0);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().status, 429);
    }
    assert_eq!(upstream.count(), 1);
    let explained = gateway.admin("/api/v1/explain/alpha/call_1").json();
    let budget = explained["decisions"].as_array().unwrap().iter().find(|d| d["step"] == "upstream budget");
    assert_eq!(budget.unwrap()["details"]["remaining"], 99, "what was not sent was not paid for");
}
