//! Concurrent lookups of one call are one upstream request.

use std::thread;

use crate::support::{Act, Client, Config, Gate, Gateway, TOKENS, Upstream, call_reply, eventually, reply};

/// An upstream that answers once the gate is open.
fn gated(gate: &Gate, answer: Vec<Act>) -> Upstream {
    let mut acts = vec![Act::Wait(gate.clone())];
    acts.extend(answer);
    Upstream::always(acts)
}

/// Clients that have asked for `call_1` and not been answered.
fn herd(gateway: &Gateway, clients: usize) -> Vec<Client> {
    let herd = (0..clients).map(|_| {
        let mut client = gateway.connect();
        client.get("/v1/calls/call_1", TOKENS[0], &[]);
        client
    });
    let herd = herd.collect();
    eventually("the herd waits", || gateway.metric("requests_in_flight") >= clients as f64);
    herd
}

#[test]
fn concurrent_lookups_are_one_fetch_and_all_get_its_answer() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &[]));
    let gateway = Gateway::plain(&upstream);
    let herd = herd(&gateway, 100);
    gate.open();
    let stories: Vec<_> = herd
        .into_iter()
        .map(|mut client| {
            let response = client.read();
            assert_eq!(response.status, 200);
            response.story()
        })
        .collect();
    let led = stories.iter().filter(|story| *story == "fwd=uri-miss; fwd-status=200; stored; ttl").count();
    let followed = stories.iter().filter(|story| story.ends_with("stored; ttl; collapsed")).count();
    assert_eq!((led, followed, upstream.count()), (1, 99, 1));
    assert_eq!((gateway.outcomes("miss"), gateway.outcomes("collapsed")), (1.0, 99.0));
}

#[test]
fn an_unstorable_answer_is_shared_by_its_followers_and_the_next_lookup_fetches() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &["Cache-Control: no-store"]));
    let gateway = Gateway::plain(&upstream);
    let herd = herd(&gateway, 20);
    gate.open();
    for mut client in herd {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; detail=no-store");
    assert_eq!(upstream.count(), 2);
}

// T64, F17.
#[test]
fn a_leader_that_disconnects_does_not_affect_its_followers() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &[]));
    let gateway = Gateway::plain(&upstream);
    let mut leader = gateway.connect();
    leader.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    let followers = {
        let herd = (0..50).map(|_| {
            let mut client = gateway.connect();
            client.get("/v1/calls/call_1", TOKENS[0], &[]);
            client
        });
        herd.collect::<Vec<_>>()
    };
    eventually("everyone waits", || gateway.metric("requests_in_flight") >= 51.0);
    leader.leave();
    eventually("the leader is gone", || gateway.metric("requests_in_flight") <= 50.0);
    gate.open();
    for mut client in followers {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
    assert_eq!(upstream.count(), 1);
    let miss = gateway.outcomes("miss");
    assert_eq!((miss, gateway.outcomes("collapsed")), (1.0, 50.0), "who left is counted, too");
}

#[test]
fn a_fetch_continues_after_all_clients_have_disconnected() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &[]));
    let gateway = Gateway::plain(&upstream);
    let mut alone = gateway.connect();
    alone.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    alone.leave();
    gate.open();
    eventually("the answer is stored", || gateway.metric("cache_entries{tenant=\"alpha\"}") >= 1.0);
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
}

// T67.
#[test]
fn a_failure_is_one_failure_for_all() {
    let gate = Gate::default();
    let upstream = gated(&gate, reply("500 X", &[], "{\"success\":false}"));
    let gateway = Gateway::plain(&upstream);
    let herd = herd(&gateway, 30);
    gate.open();
    for mut client in herd {
        assert_eq!(client.read().status, 500);
    }
    assert_eq!(upstream.count(), 1);
}

// T66.
#[test]
fn each_waiter_has_its_own_deadline_and_a_follower_ends_no_fetch() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &[]));
    let gateway = Config::default()
        .with("upstream", "total_timeout = \"1s\"\nfirst_byte_timeout = \"10s\"")
        .start(&upstream);
    let mut leader = gateway.connect();
    leader.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    thread::sleep(std::time::Duration::from_millis(500));
    let mut follower = gateway.connect();
    let asked = std::time::Instant::now();
    follower.get("/v1/calls/call_1", TOKENS[0], &[]);
    let response = leader.read();
    assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    // The follower shares the end of the fetch it followed, well before its own.
    assert_eq!(follower.read().status, 504);
    assert!(asked.elapsed().as_millis() < 950, "{:?}", asked.elapsed());
}

// T63.
#[test]
fn waiting_lookups_beyond_the_limit_are_refused_at_once_and_hits_continue() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.id() != "call_cached" {
            acts.insert(0, Act::Wait(waiting.clone()));
        }
        acts
    });
    let gateway = Config::default().with("upstream", "max_waiting = 10").start(&upstream);
    gateway.get("call_cached");
    let herd = herd(&gateway, 10);
    let shed = gateway.get("call_2");
    assert_eq!(
        (shed.status, shed.code().as_str(), shed.header("retry-after")),
        (503, "OVERLOADED", Some("1"))
    );
    assert_eq!(gateway.get("call_cached").story(), "hit; ttl");
    let other = thread::scope(|scope| {
        let asking = scope.spawn(|| gateway.get_as(1, "call_3", &[]));
        upstream.wait_for(3);
        gate.open();
        asking.join().unwrap()
    });
    assert_eq!(other.status, 200, "another tenant is not concerned");
    for mut client in herd {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.get("call_2").status, 200);
    let all = ["hit", "stale", "bypass", "collapsed", "miss"].map(|outcome| gateway.outcomes(outcome));
    assert_eq!(all.iter().sum::<f64>(), 13.0, "who was turned away is no lookup: {all:?}");
}

#[test]
fn all_tenants_together_have_a_bound_too() {
    let gate = Gate::default();
    let upstream = gated(&gate, call_reply("call_1", &[]));
    let gateway = Config::default().with("limits", "max_in_flight = 5").start(&upstream);
    let herd = herd(&gateway, 5);
    let shed = gateway.get_as(1, "call_1", &[]);
    assert_eq!((shed.status, shed.code().as_str()), (503, "OVERLOADED"));
    gate.open();
    for mut client in herd {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.get_as(1, "call_1", &[]).status, 200);
}
