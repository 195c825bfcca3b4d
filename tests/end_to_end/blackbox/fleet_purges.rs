//! Purges of a fleet at bad moments: of tenants that are not configured, beside a fetch in progress, while a gateway drains.

use std::thread;

use serde_json::json;

use super::fleet::{FROM_FLEET, MISS, completed, pair};
use crate::support::{Act, Config, Engine, Gate, Gateway, TOKENS, Upstream, call_reply};

/// Applies a configuration without its second tenant.
fn remove_second_tenant(gateway: &Gateway, config: &Config, upstream: &Upstream) {
    let text = config.text(upstream.address());
    let (text, _) = text.rsplit_once("[[tenants]]").expect("two tenants");
    gateway.rewrite(text);
    assert_eq!(gateway.post_reload().status, 200);
}

// M10.
#[test]
fn a_purge_of_everything_concerns_tenants_that_are_not_configured() {
    let Some(engine) = Engine::start() else { return };
    let (upstream, config) = (completed(), engine.config());
    let [one, other] = pair(&config, &upstream);
    assert_eq!(one.get_as(1, "call_1", &[]).story(), MISS);
    let first = other.get_as(1, "call_1", &[]);
    assert_eq!((first.story().as_str(), upstream.count()), (FROM_FLEET, 1), "it is in the engine");
    [&one, &other].into_iter().for_each(|gateway| remove_second_tenant(gateway, &config, &upstream));
    assert_eq!(one.get_as(1, "call_1", &[]).status, 401);
    let purged = one.delete("/api/v1/cache");
    assert_eq!(purged.status, 200, "{}", purged.text());
    [&one, &other].into_iter().for_each(|gateway| assert_eq!(gateway.reload(&config).status, 200));
    assert_eq!(other.get_as(1, "call_1", &[]).story(), MISS);
    assert_eq!(upstream.count(), 2);
}

// M15.
#[test]
fn a_gateway_that_drains_applies_a_purge_and_its_namesake_does_not_for_it() {
    let Some(engine) = Engine::start() else { return };
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let config = engine.config().env("HOSTNAME", "pod-1");
    let config = config.with("shutdown", "grace = \"1ms\"\ndrain_timeout = \"60s\"");
    let [one, mut draining] = pair(&config, &upstream);
    let mut client = draining.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    draining.process.signal("TERM");
    draining.process.err_line("its drain", |line| line.contains("drain"));
    let namesake = config.start(&upstream);
    [&one, &namesake].into_iter().for_each(|gateway| gateway.wait_for_fleet(3));
    let purged = one.delete("/api/v1/cache/alpha/call_1");
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert_eq!(purged.json()["gateways"], json!({ "told": 3, "done": 3, "silent": [] }));
    gate.open();
    assert_eq!(client.read().status, 200, "its request began before the purge");
    drop(client);
    draining.process.wait();
    assert_eq!(one.get("call_1").story(), MISS, "what was fetched before the purge is not in the engine");
    assert_eq!((namesake.get("call_1").story().as_str(), upstream.count()), (FROM_FLEET, 2));
}

// M23.
#[test]
fn a_lookup_after_a_purge_neither_waits_for_an_older_fetch_nor_gets_what_it_brings() {
    let Some(engine) = Engine::start() else { return };
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let reply = call_reply(seen.id(), &[&format!("ETag: \"{}\"", seen.number)]);
        if seen.number == 0 { [vec![Act::Wait(held.clone())], reply].concat() } else { reply }
    });
    let [one, other] = pair(&engine.config(), &upstream);
    thread::scope(|scope| {
        let claims = scope.spawn(|| one.get("call_1"));
        upstream.wait_for(1);
        let waits = scope.spawn(|| other.get("call_1"));
        assert_eq!(other.delete("/api/v1/cache/alpha/call_1").status, 200);
        // The fetch that holds the claim has not ended.
        let after = other.get("call_1");
        assert_eq!(after.status, 200);
        assert_ne!(after.header("etag"), Some("\"0\""));
        gate.open();
        assert_eq!(claims.join().unwrap().status, 200);
        assert_eq!(waits.join().unwrap().status, 200);
    });
    for gateway in [&one, &other] {
        let response = gateway.get("call_1");
        assert_eq!(response.status, 200);
        assert_ne!(response.header("etag"), Some("\"0\""));
    }
}
