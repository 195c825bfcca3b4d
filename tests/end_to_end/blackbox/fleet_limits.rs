//! Limits that a fleet shares: what its gateways admit together, and what each of them does without the engine.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Config, Engine, Gateway, TOKENS, Upstream, eventually};

const PER_SECOND: f64 = 40.0;
const BURST: f64 = 40.0;
const GATEWAYS: usize = 3;
/// Each of them alone has more than the limit, and all together about five times as much.
const PAUSE: Duration = Duration::from_millis(14);
const REQUESTS: usize = 270;

fn limited(config: Config, key: &str) -> Config {
    config.tenant(0, &format!("{key} = {{ per_second = {PER_SECOND}, burst = {BURST} }}"))
}

fn fleet(config: &Config, upstream: &Upstream) -> Vec<Gateway> {
    let gateways: Vec<_> = (0..GATEWAYS).map(|_| config.clone().start(upstream)).collect();
    gateways.iter().for_each(|gateway| gateway.wait_for_fleet(GATEWAYS));
    gateways
}

/// What a fleet admitted under overload, and the time that it took: at least, and at most.
struct Admitted {
    count: usize,
    at_least: f64,
    at_most: f64,
}

/// Overloads all gateways at once, with calls that no one has asked for if they are to be fetched.
fn overload(gateways: &[Gateway], path: impl Fn(usize, usize) -> String + Sync) -> Admitted {
    let start = Instant::now();
    let path = &path;
    let each: Vec<(usize, f64)> = thread::scope(|scope| {
        let clients: Vec<_> = gateways
            .iter()
            .enumerate()
            .map(|(place, gateway)| {
                scope.spawn(move || {
                    let mut client = gateway.connect();
                    let mut admitted = 0;
                    for number in 0..REQUESTS {
                        let answer = client.get(&path(place, number), TOKENS[0], &[]).read();
                        assert!([200, 429].contains(&answer.status), "{}", answer.status);
                        admitted += usize::from(answer.status == 200);
                        thread::sleep(PAUSE);
                    }
                    (admitted, start.elapsed().as_secs_f64())
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    Admitted {
        count: each.iter().map(|(admitted, _)| admitted).sum(),
        at_least: each.iter().map(|(_, took)| *took).fold(f64::INFINITY, f64::min),
        at_most: start.elapsed().as_secs_f64(),
    }
}

fn assert_bound(Admitted { count, at_least, at_most }: &Admitted, overdraft: f64) {
    let (count, most) = (*count as f64, BURST + PER_SECOND * (at_most + 1.0) + overdraft);
    let exact = BURST + PER_SECOND * at_least;
    let case =
        format!("{count} in {at_least:.2} to {at_most:.2} s: at most {most:.0}, one bucket {exact:.0}");
    assert!(count <= most && count >= 0.9 * exact, "{case}");
}

fn scope(gateway: &Gateway) -> String {
    let policy = gateway.get("call_1").header("ratelimit-policy").unwrap().to_owned();
    policy.strip_prefix("\"tenant\";q=40;w=1;scope=").expect("a scope").to_owned()
}

#[test]
fn a_fleet_under_overload_admits_what_one_gateway_would() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    let gateways = fleet(&limited(engine.config(), "rate_limit"), &upstream);
    let admitted = overload(&gateways, |_, _| "/v1/calls/call_1".into());
    assert_bound(&admitted, GATEWAYS as f64 * (BURST / (4 * GATEWAYS) as f64).ceil());
    let leases = |result: &str| {
        let series = format!("limit_leases_total{{limit=\"tenant\",result=\"{result}\",tenant=\"alpha\"}}");
        gateways.iter().map(|gateway| gateway.metric(&series)).sum::<f64>()
    };
    assert!(leases("granted") + leases("partial") > 0.0 && leases("failed") == 0.0);
}

#[test]
fn a_fleet_sends_upstream_what_one_gateway_would() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    let gateways = fleet(&limited(engine.config(), "upstream_limit"), &upstream);
    let admitted = overload(&gateways, |place, number| format!("/v1/calls/call_{place}x{number}"));
    assert_eq!(admitted.count, upstream.count());
    assert_bound(&admitted, 0.0);
}

#[test]
fn without_the_engine_each_gateway_has_its_share_and_says_so() {
    let Some(mut engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    let config = engine.config().tenant(0, "rate_limit = { per_minute = 1, burst = 12 }");
    let gateways = fleet(&config, &upstream);
    let fallback = |gateway: &Gateway| gateway.metric("limit_fallback{limit=\"tenant\",tenant=\"alpha\"}");
    assert!(gateways.iter().all(|gateway| fallback(gateway) == 0.0));
    engine.kill();
    for gateway in &gateways {
        eventually("the engine is given up", || fallback(gateway) == 1.0);
        let admitted = (0..12).filter(|_| gateway.get("call_1").status == 200).count();
        assert_eq!(admitted, 4, "a third of the burst");
        let refused = gateway.get("call_1");
        assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
        assert_eq!(refused.header("ratelimit-policy"), Some("\"tenant\";q=4;w=720;scope=local"));
    }
    engine.restart();
    for gateway in &gateways {
        eventually("the engine is used again", || fallback(gateway) == 0.0);
        let answer = gateway.get("call_1");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"tenant\";q=12;w=720;scope=fleet"));
    }
}

#[test]
fn a_gateway_that_never_reached_the_engine_reckons_with_those_expected() {
    let Some(mut engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    engine.kill();
    let config = engine.config_with("expected_gateways = 4\n");
    let gateway = config.tenant(0, "rate_limit = { per_minute = 1, burst = 12 }").start(&upstream);
    let admitted = (0..12).filter(|_| gateway.get("call_1").status == 200).count();
    assert_eq!(admitted, 3);
}

#[test]
fn headers_explain_and_stats_say_for_whom_a_limit_holds() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    for (lines, scope_of) in [("", "fleet"), ("limits = false\n", "local")] {
        let config = limited(limited(engine.config_with(lines), "rate_limit"), "upstream_limit");
        let gateway = config.start(&upstream);
        gateway.wait_for_fleet(1);
        assert_eq!(scope(&gateway), scope_of);
        let stats = gateway.admin("/api/v1/stats").json();
        let tenant = &stats["tenants"]["alpha"];
        assert_eq!(tenant["limit_left"]["scope"], scope_of);
        assert_eq!(tenant["upstream"]["budget_left"]["scope"], scope_of);
        let explained = gateway.admin("/api/v1/explain/alpha/call_9").json();
        let decisions = explained["decisions"].as_array().unwrap().clone();
        for step in ["tenant limit", "upstream budget"] {
            let decision = decisions.iter().find(|decision| decision["step"] == step).unwrap();
            assert_eq!(decision["details"]["scope"], scope_of, "{step}");
        }
        let series = gateway.admin("/metrics").text().contains("credira_gateway_limit_fallback{");
        assert_eq!(series, scope_of == "fleet");
        gateway.stop();
    }
}

#[test]
fn a_reload_keeps_what_was_leased_and_what_is_owed() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    let config = engine.config().tenant(0, "rate_limit = { per_minute = 1, burst = 3 }");
    let gateway = config.clone().start(&upstream);
    gateway.wait_for_fleet(1);
    eventually("the bucket is empty", || gateway.get("call_1").status == 429);
    let reloaded = config.with("cache", "ttl = \"1h\"");
    assert_eq!(gateway.reload(&reloaded).status, 200);
    assert_eq!(gateway.get("call_1").status, 429);
    let other = engine.config().tenant(0, "rate_limit = { per_minute = 1, burst = 4 }");
    assert_eq!(gateway.reload(&other).status, 200);
    assert_eq!(gateway.get("call_1").status, 200, "another limit is another bucket");
}

// M21, T123.
#[test]
fn a_clock_that_went_back_and_what_is_no_bucket_refuse_nothing() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::contract();
    let config = limited(engine.config(), "rate_limit");
    let gateway = config.start(&upstream);
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.get("call_1").status, 200);
    let key = || engine.command(&["KEYS", "cg1:l:*"]).trim().to_owned();
    eventually("there is a bucket", || !key().is_empty());
    let key = key();
    let bucket = engine.command(&["GET", &key]);
    let (_, at) = bucket.trim().split_once(' ').unwrap();
    let later = at.parse::<u64>().unwrap() + 3_600_000_000;
    assert!(!bucket.contains("alpha") && engine.command(&["PTTL", &key]).trim().parse::<i64>().unwrap() > 0);
    let ahead = format!("0 {later}");
    for bucket in [ahead.as_str(), "-1e300 0", "nan nan", "1e300 0", "nonsense", ""] {
        engine.command(&["SET", &key, bucket]);
        eventually("the leases from before are spent", || {
            gateway.get("call_1");
            engine.command(&["GET", &key]).trim() != bucket
        });
        eventually("requests are admitted", || gateway.get("call_1").status == 200);
    }
    assert_eq!(gateway.metric("limit_fallback{limit=\"tenant\",tenant=\"alpha\"}"), 0.0);
    engine.command(&["DEL", &key]);
    engine.command(&["HSET", &key, "another", "type"]);
    eventually("its own share is used", || scope(&gateway) == "local");
    assert_eq!(gateway.metric("level_up{level=\"shared\"}"), 1.0, "the level has no part in it");
}
