//! Stale answers: while an entry is renewed, and when the upstream fails. A test sets
//! an entry's age with the upstream's own `Age`, so that it does not have to wait.

use crate::support::{Act, Config, Gate, Gateway, Upstream, call, call_reply, eventually, reply};

const RENEWING: &str = "hit; ttl; detail=stale-while-revalidate";
const FAILED: &str = "hit; ttl; detail=stale-if-error";

/// A call that is fresh for 60 s and was this many seconds old on arrival.
fn aged(id: &str, age: u64, directives: &str) -> Vec<Act> {
    call_reply(id, &[&format!("Cache-Control: max-age=60{directives}"), &format!("Age: {age}")])
}

/// A gateway that has stored `call_1`, this many seconds old.
fn stored(upstream: &Upstream, age: u64, directives: &'static str) -> Gateway {
    upstream.now(move |seen| aged(seen.id(), age, directives));
    let gateway = Gateway::plain(upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    gateway
}

#[test]
fn a_stale_call_is_served_at_once_while_one_fetch_renews_it() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 100, "");
    let gate = Gate::default();
    let waiting = gate.clone();
    upstream.now(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(aged(seen.id(), 0, ""));
        acts
    });
    for _ in 0..10 {
        let stale = gateway.get("call_1");
        assert_eq!((stale.status, stale.story().as_str()), (200, RENEWING));
        assert!((-45..=-40).contains(&stale.ttl()), "{}", stale.ttl());
        assert!(stale.header("age").unwrap().parse::<u64>().unwrap() >= 100);
    }
    upstream.wait_for(2);
    gate.open();
    eventually("the entry is renewed", || gateway.get("call_1").story() == "hit; ttl");
    assert_eq!(upstream.count(), 2, "one fetch renewed it");
    assert!(gateway.outcomes("stale") >= 10.0);
}

#[test]
fn beyond_the_window_the_upstream_is_asked_first() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 60 + 300, "");
    upstream.now(|seen| aged(seen.id(), 0, ""));
    assert_eq!(gateway.get("call_1").story(), "fwd=stale; fwd-status=200; stored; ttl");
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
}

#[test]
fn a_renewal_that_fails_leaves_the_entry_and_backs_off() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 100, "");
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get("call_1").story(), RENEWING);
    upstream.wait_for(2);
    let counted = "credira_gateway_upstream_requests_total{code=\"500\",tenant=\"alpha\"} 1";
    eventually("the failure is counted", || {
        gateway.admin("/metrics").text().lines().any(|line| line == counted)
    });
    for _ in 0..20 {
        assert_eq!(gateway.get("call_1").story(), RENEWING);
    }
    assert!(upstream.count() <= 3, "{}", upstream.count());
    upstream.now(|seen| aged(seen.id(), 0, ""));
    eventually("it is renewed in the end", || gateway.get("call_1").story() == "hit; ttl");
}

#[test]
fn every_failure_of_the_upstream_is_answered_from_stale() {
    let json = r#"{"success":false,"error":{"code":"X","message":"x"},"meta":{}}"#;
    let failures: Vec<(&str, Vec<Act>)> = vec![
        ("500", reply("500 X", &[], json)),
        ("502", reply("502 X", &[], "<html>")),
        ("503", reply("503 X", &[], json)),
        ("429", reply("429 X", &["Retry-After: 1"], json)),
        ("reset", vec![Act::Reset]),
        ("closed", vec![Act::Close]),
        (
            "half a body",
            vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec()), Act::Close],
        ),
        ("no HTTP", vec![Act::Send(b"SSH-2.0-nonsense\r\n\r\n".to_vec()), Act::Close]),
        ("a page", reply("200 OK", &[], "<html>")),
        ("another call", reply("200 OK", &[], &call("call_2"))),
        ("a redirect", reply("302 X", &["Location: http://evil.example/"], "")),
    ];
    for (name, acts) in failures {
        let upstream = Upstream::contract();
        let gateway = stored(&upstream, 60 + 300, "");
        upstream.now(move |_| acts.clone());
        let stale = gateway.get("call_1");
        assert_eq!((stale.status, stale.story().as_str()), (200, FAILED), "{name}");
        assert_eq!(stale.json()["data"]["id"], "call_1", "{name}");
        assert_eq!(gateway.outcomes("stale"), 1.0, "{name}");
    }
}

// F02.
#[test]
fn a_timeout_is_answered_from_stale() {
    let upstream = Upstream::contract();
    upstream.now(|seen| aged(seen.id(), 400, ""));
    let gateway = Config::default().with("upstream", "first_byte_timeout = \"1s\"").start(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    upstream.now(|_| vec![Act::Sleep(std::time::Duration::from_secs(10))]);
    assert_eq!(gateway.get("call_1").story(), FAILED);
}

#[test]
fn a_spent_budget_is_answered_from_stale() {
    let upstream = Upstream::contract();
    upstream.now(|seen| aged(seen.id(), 400, ""));
    let gateway =
        Config::default().tenant(0, "upstream_limit = { per_minute = 1, burst = 1 }").start(&upstream);
    gateway.get("call_1");
    assert_eq!(gateway.get("call_1").story(), FAILED);
    assert_eq!(gateway.get("call_2").code(), "RATE_LIMITED");
    assert_eq!(upstream.count(), 1);
}

// T52.
#[test]
fn gone_and_forbidden_calls_are_passed_on_and_removed() {
    let json = r#"{"success":false,"error":{"code":"X","message":"x"},"meta":{}}"#;
    for status in [403, 404, 410] {
        let upstream = Upstream::contract();
        let gateway = stored(&upstream, 400, "");
        upstream.now(move |_| reply(&format!("{status} X"), &[], json));
        assert_eq!(gateway.get("call_1").status, status);
        upstream.now(|_| reply("500 X", &[], "{}"));
        let after = gateway.get("call_1").status;
        assert!(after == 500 || (after == status && status == 404), "nothing stale is left: {after}");
        assert_eq!(
            gateway.metric("cache_evictions_total{cause=\"purged\",tenant=\"alpha\"}") >= 1.0,
            status != 404
        );
    }
}

// T21.
#[test]
fn a_rejected_key_is_never_answered_from_stale() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 400, "");
    upstream.now(|_| reply("401 X", &[], "{}"));
    let response = gateway.get("call_1");
    assert_eq!(
        (response.status, response.story().as_str()),
        (502, "fwd=stale; fwd-status=401; detail=status")
    );
}

#[test]
fn other_refusals_of_the_upstream_are_passed_on_and_the_entry_stays() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 400, "");
    upstream.now(|_| reply("400 X", &[], "{\"success\":false}"));
    assert_eq!(gateway.get("call_1").status, 400);
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get("call_1").story(), FAILED);
}

// T53.
#[test]
fn a_call_that_is_no_longer_final_is_passed_on_and_removed() {
    for (name, body, line) in [
        ("in progress", call("call_1").replace("\"completed\"", "\"in_progress\""), "X-A: 1"),
        ("no-store", call("call_1"), "Cache-Control: no-store"),
    ] {
        let upstream = Upstream::contract();
        let gateway = stored(&upstream, 400, "");
        upstream.now(move |_| reply("200 OK", &[line], &body));
        assert!(gateway.get("call_1").story().starts_with("fwd=stale; fwd-status=200; detail="), "{name}");
        upstream.now(|_| reply("500 X", &[], "{}"));
        assert_eq!(gateway.get("call_1").status, 500, "{name}: nothing stale is left");
    }
}

// T40.
#[test]
fn success_false_on_renewal_leaves_the_older_entry() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 400, "");
    upstream
        .now(|_| reply("200 OK", &[], &call("call_1").replace("\"success\": true", "\"success\": false")));
    assert_eq!(gateway.get("call_1").story(), "fwd=stale; fwd-status=200; detail=not-success");
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get("call_1").story(), FAILED);
}

#[test]
fn directives_against_stale_answers_are_honoured() {
    for directives in [", must-revalidate", ", proxy-revalidate", ", s-maxage=60", ", no-cache"] {
        let upstream = Upstream::contract();
        let gateway = stored(&upstream, 100, directives);
        upstream.now(|_| reply("500 X", &[], "{}"));
        let response = gateway.get("call_1");
        assert_eq!(
            (response.status, response.story().as_str()),
            (500, "fwd=stale; fwd-status=500; detail=status"),
            "{directives}"
        );
    }
}

#[test]
fn a_responses_own_windows_win() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 100, ", stale-while-revalidate=10, stale-if-error=20");
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get("call_1").status, 500, "40 s stale is beyond both");
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 100_000, ", stale-if-error=200000");
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get("call_1").story(), FAILED);
}

#[test]
fn followers_get_the_stale_entry_too() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 400, "");
    let gate = Gate::default();
    let waiting = gate.clone();
    upstream.now(move |_| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(reply("500 X", &[], "{}"));
        acts
    });
    let mut herd: Vec<_> = (0..10)
        .map(|_| {
            let mut client = gateway.connect();
            client.get("/v1/calls/call_1", crate::support::TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("everyone waits", || gateway.metric("requests_in_flight") >= 10.0);
    gate.open();
    for client in &mut herd {
        assert_eq!(client.read().story(), FAILED);
    }
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_renewal_leaves_the_rest_of_the_budget_to_waiting_lookups() {
    let upstream = Upstream::contract();
    upstream.now(|seen| aged(seen.id(), 100, ""));
    let gateway =
        Config::default().tenant(0, "upstream_limit = { per_minute = 1, burst = 8 }").start(&upstream);
    for n in 0..6 {
        gateway.get(&format!("call_{n}"));
    }
    // Two are left, a quarter of the bucket, which is reserved from renewals.
    for _ in 0..5 {
        assert_eq!(gateway.get("call_0").story(), RENEWING);
    }
    assert_eq!(upstream.count(), 6);
    assert_eq!(gateway.get("call_6").status, 200);
    assert_eq!(gateway.get("call_7").status, 200);
    assert_eq!(gateway.get("call_8").status, 429);
}

// T52, T21.
#[test]
fn a_status_counts_whatever_its_body_is() {
    let long = "x".repeat(100_000);
    let replies = |status: &str| {
        let whole = reply(status, &["Content-Encoding: gzip"], "zipped");
        let large = reply(status, &[], &long);
        let half = vec![
            Act::Send(format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n{{").into_bytes()),
            Act::Close,
        ];
        [whole, large, half]
    };
    for (status, told) in [("404 X", 404), ("410 X", 410), ("403 X", 403), ("401 X", 502)] {
        for (number, acts) in replies(status).into_iter().enumerate() {
            let upstream = Upstream::scripted(|seen| aged(seen.id(), 60 + 300, ""));
            let gateway =
                Config::default().with("upstream", "max_response_bytes = \"10KiB\"").start(&upstream);
            gateway.get("call_1");
            upstream.now(move |_| acts.clone());
            let answer = gateway.get("call_1");
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (told, "UPSTREAM_ERROR"),
                "{status} {number}"
            );
            let left = if told == 502 { 1.0 } else { 0.0 };
            assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), left, "{status} {number}");
            let rejections = gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}");
            assert_eq!(rejections > 0.0, told == 502, "{status} {number}");
        }
    }
}

#[test]
fn only_if_cached_starts_no_renewal() {
    let upstream = Upstream::contract();
    let gateway = stored(&upstream, 100, "");
    let answer = gateway.get_with("call_1", &["Cache-Control: only-if-cached"]);
    assert_eq!((answer.status, answer.story().as_str()), (200, RENEWING));
    assert_eq!(gateway.get_with("call_2", &["Cache-Control: only-if-cached"]).code(), "NOT_CACHED");
    assert_eq!(upstream.count(), 1);
}
