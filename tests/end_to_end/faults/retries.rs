//! What is retried, and how often.

use std::time::Instant;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Act, Config, Gateway, TOKENS, Upstream, call_reply, reply};

// F06.
#[test]
fn a_reset_is_repeated_only_before_the_first_byte() {
    let whole = 400;
    for (after, attempts) in [(0, 2), (1, 1), (20, 1), (60, 1), (whole, 1)] {
        let upstream = Upstream::contract();
        let proxy = Proxy::to(upstream.address());
        let gateway = Gateway::start(&Config::default(), proxy.address());
        proxy.now(Fault::Reset(after));
        let answer = gateway.get("call_1");
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_ERROR"), "after {after}");
        assert_eq!(upstream.count(), attempts, "after {after}");
        assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), (attempts - 1) as f64);
        assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 0.0, "after {after}");
        proxy.now(Fault::Pass);
        assert_eq!(gateway.get("call_1").status, 200);
        proxy.now(Fault::Reset(after));
        assert_eq!(gateway.get("call_1").story(), "hit; ttl", "hits never notice");
    }
}

// F08.
#[test]
fn connections_closed_just_as_they_are_reused_cost_no_error_in_thousands() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let gateway = Gateway::start(&Config::default(), proxy.address());
    proxy.now(Fault::CloseOnReuse);
    let lookups = 2000;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.connect();
                for number in 0..lookups / 4 {
                    let path = format!("/v1/calls/call_{thread}x{number}");
                    let answer = client.get(&path, TOKENS[0], &[]).read();
                    assert_eq!(answer.status, 200, "{path}");
                }
            });
        }
    });
    assert_eq!(upstream.count(), lookups);
    assert!(proxy.connections() > lookups / 2, "{} connections: hardly any was reused", proxy.connections());
    assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), 0.0, "outside the budget");
    assert_eq!(gateway.metric_or_0("upstream_requests_total{code=\"reset\",tenant=\"alpha\"}"), 0.0);
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 0.0);
}

#[test]
fn retries_add_no_more_than_their_share_of_the_load_and_one_a_second() {
    for (percent, share) in [(0, 0.0), (20, 0.2), (30, 0.3), (60, 0.6)] {
        let upstream = Upstream::always(vec![Act::Reset]);
        let config = Config::default()
            .with("upstream.retry", &format!("budget_percent = {percent}\nmax_attempts = 3"))
            .with("upstream.breaker", "min_requests = 100000");
        let gateway = config.start(&upstream);
        let lookups = 200;
        let start = Instant::now();
        let mut client = gateway.connect();
        for number in 0..lookups {
            let answer = client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
            assert_eq!(answer.status, 502);
        }
        let bound = f64::from(lookups) * share + start.elapsed().as_secs_f64() + 1.0;
        let retries = gateway.metric("upstream_retries_total{tenant=\"alpha\"}");
        assert!(
            retries <= bound,
            "{percent} %: {retries} retries of {lookups} lookups in {:?}",
            start.elapsed()
        );
        assert!(retries >= 1.0, "{percent} %: one a second is free");
        assert_eq!(upstream.count() as f64, f64::from(lookups) + retries, "{percent} %");
    }
}

#[test]
fn only_502_503_and_504_are_worth_another_attempt() {
    for (status, attempts) in [(500, 1), (501, 1), (502, 2), (503, 2), (504, 2), (429, 1), (400, 1), (404, 1)]
    {
        let upstream = Upstream::scripted(move |seen| match seen.number {
            0 => reply(&format!("{status} X"), &[], "{}"),
            _ => call_reply(seen.id(), &[]),
        });
        let gateway = Gateway::plain(&upstream);
        let answer = gateway.get("call_1");
        let expected = if attempts == 2 { 200 } else { status };
        assert_eq!((answer.status, upstream.count()), (expected, attempts), "{status}");
    }
}
