//! The series of a scrape, tenant by tenant.

use crate::support::{Client, Config, Gateway, KEYS, Upstream, call_reply, eventually, reply};

fn series(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

fn refusals(gateway: &Gateway, tenant: &str, code: &str) -> f64 {
    gateway.metric_or_0(&series("refusals_total", &[("code", code), ("tenant", tenant)]))
}

#[test]
fn refusals_are_counted_by_tenant_and_error_code() {
    let upstream = Upstream::contract();
    let limit = "rate_limit = { per_second = 0.001, burst = 2 }";
    let gateway = Config::default().tenant(1, limit).start(&upstream);
    assert!(!gateway.admin("/metrics").text().contains("refusals_total{code=\"UNAUTHORIZED\""));
    gateway.connect().get("/v1/calls/call_1", "wrong-token-0123456789abcdefghijklmnop", &[]).read();
    gateway.get("nonsense");
    gateway.get_with("call_1", &["Cache-Control: only-if-cached"]);
    for _ in 0..3 {
        gateway.get_as(1, "call_1", &[]);
    }
    Client::connect(gateway.admin).request("GET", "/", "", &["Host: evil.example"]).read();
    eventually("every refusal is counted", || refusals(&gateway, "-", "MISDIRECTED") > 0.0);
    for (tenant, code, count) in [
        ("-", "UNAUTHORIZED", 1.0),
        ("alpha", "INVALID_REQUEST", 1.0),
        ("alpha", "NOT_CACHED", 1.0),
        ("alpha", "RATE_LIMITED", 0.0),
        ("beta", "RATE_LIMITED", 1.0),
        ("beta", "UNAUTHORIZED", 0.0),
    ] {
        assert_eq!(refusals(&gateway, tenant, code), count, "{tenant} {code}");
    }
}

#[test]
fn the_key_in_use_is_shown_and_a_promotion_before_the_first_scrape_too() {
    let next = "upstream-key-next-of-alpha";
    let upstream = Upstream::scripted(move |seen| {
        if seen.header("authorization") == Some(&format!("Bearer {}", KEYS[0])) {
            return reply("401 Unauthorized", &["Content-Type: application/json"], "{}");
        }
        call_reply(seen.id(), &[])
    });
    let ring = format!("upstream_key_next = {{ value = \"{next}\" }}");
    let gateway = Config::default().tenant(0, &ring).start(&upstream);
    let active = |tenant, key| series("upstream_key_active", &[("key", key), ("tenant", tenant)]);
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(gateway.metric(&active("alpha", "primary")), 0.0);
    assert_eq!(gateway.metric(&active("alpha", "next")), 1.0);
    assert_eq!(gateway.metric(&active("beta", "primary")), 1.0);
    assert!(!gateway.admin("/metrics").text().contains(&active("beta", "next")), "it has no such key");
}

#[test]
fn upstream_times_are_kept_by_tenant_as_a_cumulative_histogram() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    gateway.get("call_2");
    let name = |suffix: &str| format!("upstream_request_duration_seconds_{suffix}");
    let count = |tenant| gateway.metric(&series(&name("count"), &[("tenant", tenant)]));
    assert_eq!((count("alpha"), count("beta")), (2.0, 0.0));
    let bucket = |bound| gateway.metric(&series(&name("bucket"), &[("tenant", "alpha"), ("le", bound)]));
    assert_eq!((bucket("0.00005"), bucket("10"), bucket("+Inf")), (0.0, 2.0, 2.0));
    assert!(gateway.metric(&series(&name("sum"), &[("tenant", "alpha")])) > 0.0);
}

#[test]
fn lookups_that_an_outage_would_have_left_answered_are_covered() {
    // Stale on arrival, so that each lookup revalidates first, but may be served stale on errors.
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_stale" => call_reply(seen.id(), &["Cache-Control: max-age=0"]),
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = Config::default().with("cache", "stale_while_revalidate = \"0s\"").start(&upstream);
    let covered = || gateway.metric(&series("lookups_covered_total", &[("tenant", "alpha")]));
    assert_eq!(covered(), 0.0);
    gateway.get("call_1");
    assert_eq!(covered(), 0.0, "nothing was stored");
    gateway.get("call_1");
    assert_eq!(covered(), 1.0, "a hit");
    gateway.get("call_stale");
    gateway.get("call_stale");
    assert_eq!(
        (covered(), upstream.count()),
        (2.0, 3),
        "fetched, but the stale entry could have been served"
    );
    gateway.get_with("call_1", &["Cache-Control: no-cache"]);
    assert_eq!(covered(), 2.0, "this client would have got the error");
    upstream.now(|_| reply("503 Service Unavailable", &[], ""));
    assert_eq!(gateway.get("call_stale").status, 200);
    assert_eq!(covered(), 3.0, "served stale because of the error");
    let other = series("lookups_covered_total", &[("tenant", "beta")]);
    assert_eq!(gateway.metric(&other), 0.0);
}
