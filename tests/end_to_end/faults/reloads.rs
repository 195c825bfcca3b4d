//! Reloads under load: no client is affected.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::support::{Act, Client, Config, KEYS, Seen, TOKENS, Upstream, call_reply, eventually, reply};

/// One of the configurations that alternate: everything that a reload may change without a restart, but
/// for tokens and keys.
fn configuration(number: usize) -> Config {
    let pick = |choices: [&'static str; 2]| choices[number % 2];
    Config::default()
        .with("cache", pick(["ttl = \"24h\"", "ttl = \"12h\"\nsettle_ttl = \"20s\""]))
        .with("limits", pick(["max_in_flight = 4096", "max_in_flight = 2048\nidle_timeout = \"50s\""]))
        .with("upstream", pick(["max_waiting = 1024", "max_waiting = 512\nmax_connections = 48"]))
        .with("upstream.breaker", pick(["min_requests = 20", "min_requests = 30"]))
        .with("log", pick(["access = \"errors\"", "access = \"all\""]))
        .tenant(1, pick(["", "rate_limit = { per_second = 100000 }"]))
}

// F27.
#[test]
fn two_hundred_reloads_under_load_fail_no_request_and_lose_nothing() {
    let upstream = Upstream::contract();
    let limit = "rate_limit = { per_minute = 1, burst = 400000 }";
    let gateway = configuration(0).tenant(0, limit).start(&upstream);
    let mut first = gateway.connect();
    for number in 0..20 {
        first.get(&format!("/v1/calls/call_kept{number}"), TOKENS[0], &[]).read();
    }
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(20));
    let load = |thread: usize| {
        let mut kept = gateway.connect();
        for number in 0.. {
            let tenant = thread % 2;
            let path = match number % 3 {
                0 => format!("/v1/calls/call_kept{}", number % 20),
                1 => format!("/v1/calls/call_t{thread}n{number}"),
                _ => "/v1/calls/call_same".to_owned(),
            };
            let mut fresh = (number % 10 == 0).then(|| gateway.connect());
            let client: &mut Client = fresh.as_mut().unwrap_or(&mut kept);
            let answer = client.get(&path, TOKENS[tenant], &[]).read();
            assert_eq!((answer.status, answer.header("connection")), (200, None), "{path}");
            let id = answer.json()["data"]["id"].as_str().unwrap().to_owned();
            assert!(path.ends_with(&id), "{path}: {id}");
            asked.fetch_add(usize::from(tenant == 0), SeqCst);
            if over.load(SeqCst) {
                return;
            }
        }
    };
    let memory = gateway.process_metric("resident_memory_bytes");
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || load(thread))).collect();
        for number in 1..=200 {
            let answer = gateway.reload(&configuration(number).tenant(0, limit));
            assert_eq!(answer.status, 200, "{}", answer.text());
            if number % 5 == 0 {
                gateway.process.signal("HUP");
            }
            assert!(threads.iter().all(|thread| !thread.is_finished()), "a request failed");
        }
        over.store(true, SeqCst);
    });
    eventually("signals have reloaded, too", || {
        gateway.metric("config_reloads_total{result=\"success\"}") > 200.0
    });
    assert_eq!(gateway.metric("config_reloads_total{result=\"failure\"}"), 0.0);
    for number in 0..20 {
        let hit = gateway.get(&format!("call_kept{number}"));
        assert_eq!(hit.story(), "hit; ttl", "the cache was kept");
    }
    let asked = asked.load(SeqCst) + 20;
    let left = gateway.get("call_kept0").header("ratelimit").unwrap().to_owned();
    let left: usize = left.split("r=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    // The load's own requests, those of this check, and one that comes back each minute.
    assert!((400_000 - asked - 1..=400_000 - asked + 1).contains(&left), "{left} left after {asked}");
    assert!(
        first.get("/v1/calls/call_same", TOKENS[0], &[]).read().status == 200,
        "no connection was dropped"
    );
    let growth = gateway.process_metric("resident_memory_bytes") - memory;
    assert!(growth < 40e6, "{growth} bytes more after 200 reloads");
    eventually("nothing is in flight", || gateway.metric("requests_in_flight") == 0.0);
}

#[test]
fn shutdown_follows_the_last_reload() {
    let upstream = Upstream::scripted(|_| vec![Act::Sleep(std::time::Duration::from_secs(5))]);
    let mut gateway = Config::default().start(&upstream);
    let brief = Config::default().with("shutdown", "drain_timeout = \"200ms\"");
    assert_eq!(gateway.reload(&brief).status, 200);
    let mut stuck = gateway.connect();
    stuck.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    assert_eq!(stuck.read().code(), "SHUTTING_DOWN");
    assert_eq!(gateway.process.wait().code(), Some(0));
    gateway.process.err_line("about the drain", |line| line.contains("\"drain_timeout_seconds\":0.2"));
}

#[test]
fn a_breaker_that_a_reload_replaces_is_shown_as_closed() {
    let upstream = Upstream::always(reply("500 X", &[], "{}"));
    let config = |open_for: &str| {
        let breaker = format!("min_requests = 1\nopen_for = \"{open_for}\"");
        Config::default().with("upstream.breaker", &breaker)
    };
    let gateway = config("60s").start(&upstream);
    gateway.get("call_1");
    let open = || gateway.metric("upstream_breaker_open{tenant=\"alpha\"}");
    assert_eq!(open(), 1.0);
    gateway.reload(&config("60s").with("cache", "ttl = \"1h\""));
    assert_eq!(open(), 1.0, "it is the same");
    gateway.reload(&config("50s"));
    assert_eq!(open(), 0.0, "it begins anew");
}

#[test]
fn a_key_that_is_rejected_under_load_is_replaced_once_and_no_client_notices() {
    let takes = |key: &'static str| {
        move |seen: &Seen| match seen.header("authorization") == Some(&format!("Bearer {key}")) {
            true => call_reply(seen.id(), &[]),
            false => reply("401 X", &[], "{\"success\":false}"),
        }
    };
    let upstream = Upstream::scripted(takes(KEYS[0]));
    let gateway = Config::default().tenant(0, "upstream_key_next = { value = \"next\" }").start(&upstream);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (gateway, asked) = (&gateway, &asked);
            scope.spawn(move || {
                let mut client = gateway.connect();
                for number in 0..150 {
                    let path = format!("/v1/calls/call_t{thread}n{number}");
                    assert_eq!(client.get(&path, TOKENS[0], &[]).read().status, 200, "{path}");
                    asked.fetch_add(1, SeqCst);
                }
            });
        }
        eventually("there is load", || asked.load(SeqCst) > 100);
        upstream.now(takes("next"));
    });
    assert_eq!(gateway.metric("upstream_key_promotions_total{tenant=\"alpha\"}"), 1.0);
    let rejections = gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}");
    assert!((1.0..=4.0).contains(&rejections), "{rejections}: one for each that was under way");
    assert_eq!(upstream.seen().last().unwrap().header("authorization"), Some("Bearer next"), "remembered");
}
