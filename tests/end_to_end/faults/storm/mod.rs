//! The storm: random traffic of several tenants over real sockets, while the upstream fails in every way,
//! the configuration is reloaded, the cache is purged, keys are rotated and clients leave. The
//! invariants are checked from outside.
//!
//! It runs for 20 s, or `STORM_SECONDS`. Each run has its own seed, which a failure prints; `STORM_SEED` repeats it.

mod traffic;
mod weather;
mod world;

use std::time::{Duration, Instant};

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Gateway, Upstream, eventually};

use traffic::Ledger;
use weather::Weather;
use world::{KEYS, NAMES, TENANTS, TOKENS, configuration};

/// Client threads.
const CLIENTS: u64 = 6;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn in_a_storm_every_answer_is_right_or_its_failure_is_explained() {
    let seed = setting("STORM_SEED", u64::from(fastrand::u32(..)));
    let end = Instant::now() + Duration::from_secs(setting("STORM_SECONDS", 20));
    let weather = Weather::new();
    let upstream = Upstream::scripted({
        let sky = weather.sky();
        move |seen| world::answer(seen, sky.now())
    });
    let proxy = Proxy::to(upstream.address());
    let gateway = Gateway::start(&configuration(0), proxy.address());
    let files = gateway.process_metric("open_fds");
    let memory = gateway.process_metric("resident_memory_bytes");
    let ledger = Ledger::new(seed);
    let admin = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (ledger, weather, gateway) = (&ledger, &weather, &gateway);
                scope.spawn(move || traffic::ask(seed ^ number, gateway, weather, ledger, end))
            })
            .collect();
        scope.spawn(|| weather.blow(seed, &proxy, &gateway, end));
        let operating = scope.spawn(|| operate(seed, &gateway, end));
        clients.into_iter().for_each(|client| client.join().unwrap());
        operating.join().unwrap()
    });
    proxy.now(Fault::Pass);
    ledger.failures_so_far();
    calm_afterwards(&gateway, files, memory);
    ledger.check_counts(&gateway.admin("/metrics").text());
    nothing_leaked(&gateway, &admin);
    upstream_saw_only_its_keys(&upstream);
    for tenant in 0..TENANTS {
        let answer = traffic::plain(&gateway, tenant, "call_storm1");
        assert!([200, 429].contains(&answer.status), "STORM_SEED={seed}: {answer:?}");
    }
    ledger.check_variety();
}

/// Reloads, purges and inspects, as an operator would; returns all answers.
fn operate(seed: u64, gateway: &Gateway, end: Instant) -> String {
    let mut random = fastrand::Rng::with_seed(!seed);
    let mut answers = String::new();
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        let tenant = NAMES[random.usize(..TENANTS)];
        match random.u8(..10) {
            0..=2 => {
                let answer = gateway.reload(&configuration(number));
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
            3 => {
                gateway.rewrite("[listen\n");
                let refused = gateway.post_reload();
                assert_eq!(refused.status, 422);
                answers += &refused.text();
            }
            4 => drop(gateway.delete(&format!("/api/v1/cache/{tenant}/{}", world::id(&mut random)))),
            5 => drop(gateway.delete(&format!("/api/v1/cache/{tenant}"))),
            6 => drop(gateway.delete("/api/v1/cache")),
            7 => answers += &gateway.admin("/api/v1/stats").text(),
            8 => answers += &gateway.admin("/api/v1/config").text(),
            _ => answers += &gateway.admin("/metrics").text(),
        }
        std::thread::sleep(Duration::from_millis(random.u64(20..120)));
    }
    answers
}

/// Only the caches remain after the storm.
fn calm_afterwards(gateway: &Gateway, files: f64, memory: f64) {
    eventually("nothing is in flight", || {
        let upstream = |name| gateway.metric(&format!("upstream_in_flight{{tenant=\"{name}\"}}"));
        gateway.metric("requests_in_flight") == 0.0
            && gateway.metric("connections") == 0.0
            && NAMES.into_iter().map(upstream).sum::<f64>() == 0.0
    });
    // Idle connections to the upstream stay: at most those of two configurations.
    let bound = files + 2.0 * (TENANTS * world::MAX_CONNECTIONS) as f64 + 10.0;
    eventually("files are closed", || gateway.process_metric("open_fds") <= bound);
    let growth = gateway.process_metric("resident_memory_bytes") - memory;
    assert!(growth < 150e6, "{growth} bytes more");
}

/// No secret, no word of a call and no call's ID is in a log line, a metric or an admin answer.
fn nothing_leaked(gateway: &Gateway, admin: &str) {
    let log = gateway.process.err().join("\n");
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(!log.contains("panicked"), "{log}");
    let metrics = gateway.admin("/metrics").text();
    for (place, text) in [("the log", log.as_str()), ("the metrics", &metrics), ("admin answers", admin)] {
        assert!(!text.is_empty(), "{place}");
        let secrets = TOKENS.iter().chain(KEYS.as_flattened()).copied();
        for canary in
            secrets.chain(["call_storm", "call_missing", "canary-of", "+1202555", "promised to pay"])
        {
            assert!(!text.contains(canary), "{canary} is in {place}");
        }
    }
}

/// Every upstream request was built by the gateway, with a configured key.
fn upstream_saw_only_its_keys(upstream: &Upstream) {
    for seen in upstream.seen() {
        let key = seen.header("authorization").and_then(|line| line.strip_prefix("Bearer "));
        assert!(key.is_some_and(|key| KEYS.as_flattened().contains(&key)), "{seen:?}");
        assert_eq!(seen.method, "GET");
        assert!(seen.header("cookie").is_none() && seen.header("x-canary").is_none(), "{seen:?}");
    }
}
