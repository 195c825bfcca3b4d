//! An upstream that fails: what callers see, what is sent upstream meanwhile, and how the gateway recovers.

use std::time::{Duration, Instant};

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Act, Config, Gate, Gateway, TOKENS, Upstream, call_reply, eventually, reply};

const FAILED: &str = "hit; ttl; detail=stale-if-error";

/// A call that has been stale for longer than `stale_while_revalidate`, and may be served if the upstream fails.
fn stale(id: &str) -> Vec<Act> {
    call_reply(id, &["Cache-Control: max-age=1, stale-while-revalidate=0", "Age: 100"])
}

/// A gateway behind a proxy, with `call_1` to `call_N` stored and stale.
fn behind(proxy: &Proxy, upstream: &Upstream, config: Config, calls: usize) -> Gateway {
    upstream.now(|seen| stale(seen.id()));
    let gateway = Gateway::start(&config, proxy.address());
    for number in 1..=calls {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 200);
    }
    gateway
}

fn upstream_count(gateway: &Gateway, code: &str) -> f64 {
    gateway.metric_or_0(&format!("upstream_requests_total{{code=\"{code}\",tenant=\"alpha\"}}"))
}

// F01.
#[test]
fn a_refused_connection_is_502_cold_and_stale_warm_until_the_breaker_opens() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let config = Config::default()
        .with("upstream.retry", "max_attempts = 1")
        .with("upstream.breaker", "min_requests = 10\nopen_for = \"60s\"");
    let gateway = behind(&proxy, &upstream, config, 1);
    proxy.now(Fault::Refuse);
    // One good request is in the breaker's window, and nine bad ones make ten.
    for number in 0..9 {
        let cold = gateway.get(&format!("call_cold{number}"));
        assert_eq!((cold.status, cold.code().as_str()), (502, "UPSTREAM_ERROR"), "{number}");
        assert_eq!(cold.story(), "fwd=uri-miss");
    }
    assert_eq!(upstream_count(&gateway, "connect"), 9.0);
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 1.0);
    let cold = gateway.get("call_cold");
    assert_eq!((cold.status, cold.code().as_str()), (503, "UPSTREAM_UNAVAILABLE"));
    let retry: u64 = cold.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&retry), "{retry}");
    for _ in 0..20 {
        let warm = gateway.get("call_1");
        assert_eq!((warm.status, warm.story().as_str()), (200, FAILED));
    }
    assert_eq!(upstream_count(&gateway, "connect"), 9.0, "an open breaker sends nothing");
    assert_eq!(gateway.get_as(1, "call_1", &[]).code(), "UPSTREAM_ERROR", "each tenant has a breaker");
}

// F02.
#[test]
fn a_black_hole_costs_everyone_the_connect_timeout_and_no_more() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let times = "connect_timeout = \"400ms\"\nfirst_byte_timeout = \"5s\"";
    let config = Config::default().with("upstream", times);
    let gateway = behind(&proxy, &upstream, config, 1);
    // There must be no open connection to reuse.
    proxy.now(Fault::Refuse);
    proxy.now(Fault::BlackHole);
    let timed = |id: &'static str| {
        let mut clients: Vec<_> = (0..5)
            .map(|_| {
                let mut client = gateway.connect();
                client.get(&format!("/v1/calls/{id}"), TOKENS[0], &[]);
                client
            })
            .collect();
        let start = Instant::now();
        let answers: Vec<_> = clients.iter_mut().map(|client| client.read()).collect();
        (answers, start.elapsed())
    };
    let (cold, took) = timed("call_cold");
    for answer in cold {
        assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    }
    assert!((300..2000).contains(&took.as_millis()), "{took:?}");
    let (warm, took) = timed("call_1");
    for answer in warm {
        assert_eq!((answer.status, answer.story().as_str()), (200, FAILED));
    }
    assert!(took.as_millis() < 2000, "{took:?}");
    proxy.now(Fault::Pass);
    assert_eq!(gateway.get("call_cold").status, 200, "it is back");
}

// F07.
#[test]
fn an_early_end_is_never_half_an_answer() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let gateway = behind(&proxy, &upstream, Config::default(), 1);
    for fault in [Fault::Truncate(10), Fault::Truncate(70), Fault::Truncate(500), Fault::Garbage] {
        proxy.now(fault);
        let cold = gateway.get("call_cold");
        assert_eq!((cold.status, cold.code().as_str()), (502, "UPSTREAM_ERROR"), "{fault:?}");
        assert_eq!(gateway.get("call_1").story(), FAILED, "{fault:?}");
    }
    assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 1.0);
}

// F10.
#[test]
fn a_burst_of_5xx_is_answered_from_stale_and_leaves_the_upstream_alone() {
    let upstream = Upstream::contract();
    let config = Config::default()
        .with("upstream.breaker", "min_requests = 5\nopen_for = \"500ms\"")
        .with("upstream.retry", "max_attempts = 1");
    upstream.now(|seen| stale(seen.id()));
    let gateway = config.start(&upstream);
    for number in 0..10 {
        gateway.get(&format!("call_{number}"));
    }
    upstream.now(|_| reply("503 X", &[], "{\"success\":false}"));
    let before = upstream.count();
    let (start, burst) = (Instant::now(), Duration::from_secs(3));
    let mut cold = Vec::new();
    for number in 0.. {
        let warm = gateway.get(&format!("call_{}", number % 10));
        assert_eq!((warm.status, warm.story().as_str()), (200, FAILED));
        cold.push(gateway.get(&format!("call_cold{number}")).status);
        if start.elapsed() > burst {
            break;
        }
    }
    // The upstream's own 503, or that of an open breaker.
    assert!(cold.iter().all(|status| *status == 503), "{cold:?}");
    // Ten good ones are in the window, so it takes ten bad ones; then a probe every half second.
    let attempts = upstream.count() - before;
    let probes = start.elapsed().as_millis() / 500;
    assert!(attempts as u128 <= 10 + probes + 1, "{attempts} in {:?}", start.elapsed());
    assert!(cold.len() > 50, "{} lookups", cold.len());
    upstream.now(|seen| call_reply(seen.id(), &[]));
    let back = Instant::now();
    eventually("the breaker closes", || gateway.get("call_cold").status == 200);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 0.0);
}

// F11.
#[test]
fn a_flapping_upstream_is_ridden_out() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let config = Config::default().with("upstream.breaker", "min_requests = 5\nopen_for = \"300ms\"");
    let gateway = behind(&proxy, &upstream, config, 10);
    let (mut asked, mut failed) = (0, 0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let flapping = scope.spawn(|| {
            for round in 0..12 {
                proxy.now(if round % 2 == 0 { Fault::Reset(0) } else { Fault::Pass });
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        while !flapping.is_finished() {
            let warm = gateway.get(&format!("call_{}", 1 + asked % 10));
            assert_eq!(warm.status, 200, "what is stored is always answered");
            let cold = gateway.get(&format!("call_cold{asked}"));
            asked += 1;
            failed += usize::from(cold.status != 200);
        }
    });
    let (took, rate) = (start.elapsed(), failed as f64 / asked as f64);
    assert!(rate < 0.95, "{failed} of {asked} failed in {took:?}");
    let stable = Instant::now();
    eventually("it recovers", || gateway.get("call_cold").status == 200);
    assert!(stable.elapsed() < Duration::from_secs(2), "{:?}", stable.elapsed());
    let retries = gateway.metric("upstream_retries_total{tenant=\"alpha\"}");
    let fetches = (2 * asked + 10) as f64;
    assert!(retries <= fetches * 0.2 + took.as_secs_f64() + 2.0, "{retries} retries of {fetches}");
}

// F12.
#[test]
fn a_429_pauses_only_its_tenant_for_a_clamped_time() {
    for (asked, told) in [("1", 1..=1), ("1000000000", 295..=300), ("-5", 1..=1), ("soon", 1..=1)] {
        let upstream = Upstream::contract();
        upstream.now(|seen| stale(seen.id()));
        let gateway = Gateway::plain(&upstream);
        gateway.get("call_1");
        let line = format!("Retry-After: {asked}");
        upstream.now(move |seen| match seen.header("authorization") {
            Some("Bearer upstream-key-of-alpha") => reply("429 X", &[&line], "{\"success\":false}"),
            _ => call_reply(seen.id(), &[]),
        });
        let first = gateway.get("call_2");
        assert_eq!(first.status, 429, "{asked}: the upstream's own");
        let seconds: u64 = first.header("retry-after").unwrap().parse().unwrap();
        assert!(told.contains(&seconds), "{asked}: {seconds}");
        let seen = upstream.count();
        let paused = gateway.get("call_3");
        assert_eq!((paused.status, paused.code().as_str()), (429, "RATE_LIMITED"), "{asked}: ours");
        let seconds: u64 = paused.header("retry-after").unwrap().parse().unwrap();
        assert!(told.contains(&seconds), "{asked}: {seconds}");
        assert_eq!(gateway.get("call_1").story(), FAILED, "{asked}: stale answers go on");
        assert_eq!(upstream.count(), seen, "{asked}: nothing is sent meanwhile");
        assert_eq!(gateway.get_as(1, "call_1", &[]).status, 200, "{asked}: others go on");
        assert_eq!(
            gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"),
            0.0,
            "{asked}: it is no failure"
        );
        assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), 0.0, "{asked}");
    }
}

#[test]
fn a_pause_ends_by_itself() {
    let upstream = Upstream::scripted(|seen| match seen.number {
        0 => reply("429 X", &["Retry-After: 1"], "{}"),
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 429);
    eventually("the pause is over", || gateway.get("call_1").status == 200);
    assert_eq!(upstream.count(), 2);
}

// F37.
#[test]
fn a_recovery_is_no_stampede() {
    let upstream = Upstream::contract();
    let config = Config::default()
        .with("upstream", "max_connections = 4")
        .with("upstream.breaker", "min_requests = 5\nopen_for = \"300ms\"");
    let calls = 100;
    upstream.now(|seen| call_reply(seen.id(), &["Cache-Control: max-age=1", "Age: 100"]));
    let gateway = config.start(&upstream);
    for number in 0..calls {
        gateway.get(&format!("call_{number}"));
    }
    let ask_all = || {
        for number in 0..calls {
            let answer = gateway.get(&format!("call_{number}"));
            assert_eq!(answer.status, 200);
        }
    };
    upstream.now(|_| reply("500 X", &[], "{}"));
    (0..3).for_each(|_| ask_all());
    let at_once = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let most = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counting, peak) = (at_once.clone(), most.clone());
    upstream.now(move |seen| {
        use std::sync::atomic::Ordering::SeqCst;
        peak.fetch_max(counting.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        counting.fetch_sub(1, SeqCst);
        call_reply(seen.id(), &[])
    });
    let before = upstream.count();
    eventually("all are fresh again", || {
        ask_all();
        (0..calls).all(|number| gateway.get(&format!("call_{number}")).story() == "hit; ttl")
    });
    assert_eq!(upstream.count() - before, calls, "each is renewed once");
    let most = most.load(std::sync::atomic::Ordering::SeqCst);
    assert!(most <= 4, "{most} at once");
}

// F09.
#[test]
fn a_handshake_that_breaks_or_stalls_ends_in_time_and_reveals_no_key() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let lines = format!("base_url = \"https://{}\"\nconnect_timeout = \"400ms\"", proxy.address());
    // The upstream does not treat the handshake as a request, and closes the connection.
    let gateway = Gateway::start(&Config::default().with("upstream", &lines), proxy.address());
    for (fault, status) in
        [(Fault::Hold, 504), (Fault::Garbage, 502), (Fault::Pass, 502), (Fault::Refuse, 502)]
    {
        proxy.now(fault);
        let start = Instant::now();
        assert_eq!(gateway.get("call_1").status, status, "{fault:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", start.elapsed());
    }
    assert_eq!(upstream.seen(), [], "nothing that could be read was sent");
}

#[test]
fn while_a_probe_is_under_way_everyone_else_is_refused_at_once() {
    let upstream = Upstream::always(reply("500 X", &[], "{}"));
    let config = Config::default().with("upstream.breaker", "min_requests = 2\nopen_for = \"300ms\"");
    let gateway = config.start(&upstream);
    for number in 0..2 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 500);
    }
    let gate = Gate::default();
    let waiting = gate.clone();
    upstream.now(move |seen| [vec![Act::Wait(waiting.clone())], call_reply(seen.id(), &[])].concat());
    std::thread::sleep(Duration::from_millis(350));
    let mut probe = gateway.connect();
    probe.get("/v1/calls/call_probe", TOKENS[0], &[]);
    upstream.wait_for(3);
    for number in 0..20 {
        let refused = gateway.get(&format!("call_other{number}"));
        assert_eq!((refused.status, refused.code().as_str()), (503, "UPSTREAM_UNAVAILABLE"));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    assert_eq!(upstream.count(), 3, "a single probe");
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 1.0);
    gate.open();
    assert_eq!(probe.read().status, 200);
    assert_eq!(gateway.get("call_other1").status, 200, "it has closed");
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 0.0);
}

// F37.
#[test]
fn hanging_renewals_leave_connections_to_waiting_lookups() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(|seen| {
        call_reply(seen.id(), &["Cache-Control: max-age=1, stale-while-revalidate=600", "Age: 100"])
    });
    let gateway = Config::default().with("upstream", "max_connections = 4").start(&upstream);
    for number in 0..8 {
        gateway.get(&format!("call_{number}"));
    }
    upstream.now(move |seen| match seen.id() {
        "call_cold" => call_reply(seen.id(), &[]),
        _ => vec![Act::Wait(waiting.clone()), Act::Close],
    });
    for number in 0..8 {
        let answer = gateway.get(&format!("call_{number}"));
        assert!(answer.story().ends_with("detail=stale-while-revalidate"), "{}", answer.story());
    }
    upstream.wait_for(8 + 3);
    assert_eq!(gateway.get("call_cold").status, 200);
    assert_eq!(upstream.count(), 8 + 3 + 1, "three renewals, and the fetch that a client waits for");
    gate.open();
}
