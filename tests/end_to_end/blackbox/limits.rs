//! The tenant's rate limit and its budget of upstream requests.

use crate::support::{Config, Gateway, TOKENS, Upstream};

#[test]
fn a_tenants_limit_counts_every_request_and_says_when_to_come_back() {
    let upstream = Upstream::contract();
    let gateway = Config::default().tenant(0, "rate_limit = { per_minute = 2, burst = 3 }").start(&upstream);
    let mut told = Vec::new();
    for path in ["/v1/calls/call_1", "/v1/calls/nonsense", "/nowhere"] {
        let response = gateway.connect().get(path, TOKENS[0], &[]).read();
        assert_eq!(response.header("ratelimit-policy"), Some("\"tenant\";q=3;w=90"), "{path}");
        told.push(response.header("ratelimit").unwrap().to_owned());
    }
    assert_eq!(told, ["\"tenant\";r=2;t=30", "\"tenant\";r=1;t=60", "\"tenant\";r=0;t=90"]);
    let refused = gateway.get("call_1");
    assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((28..=30).contains(&retry), "{retry}");
    assert_eq!(refused.header("ratelimit"), Some("\"tenant\";r=0;t=90"));
    assert_eq!(refused.header("cache-status"), None, "nothing was looked up");
    assert_eq!(gateway.metric("rate_limited_total{limit=\"tenant\",tenant=\"alpha\"}"), 1.0);
    let other = gateway.get_as(1, "call_1", &[]);
    assert_eq!((other.status, other.header("ratelimit")), (200, None));
}

#[test]
fn the_headers_of_the_limit_can_be_turned_off_or_kept_for_refusals() {
    let upstream = Upstream::contract();
    let with = |mode: &str| {
        let limits = format!("rate_limit_headers = \"{mode}\"");
        let config =
            Config::default().with("limits", &limits).tenant(0, "rate_limit = { per_minute = 1, burst = 1 }");
        let gateway = config.start(&upstream);
        [gateway.get("call_1"), gateway.get("call_1")].map(|response| response.header("ratelimit").is_some())
    };
    assert_eq!(with("always"), [true, true]);
    assert_eq!(with("on-refusal"), [false, true]);
    assert_eq!(with("off"), [false, false]);
}

#[test]
fn the_upstream_budget_is_spent_by_fetches_alone() {
    let upstream = Upstream::contract();
    let gateway =
        Config::default().tenant(0, "upstream_limit = { per_minute = 1, burst = 2 }").start(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    for _ in 0..20 {
        assert_eq!(gateway.get("call_1").story(), "hit; ttl");
    }
    assert_eq!(gateway.get("call_2").status, 200);
    let refused = gateway.get("call_3");
    assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
    assert_eq!(refused.story(), "fwd=uri-miss");
    let retry: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((58..=60).contains(&retry), "{retry}");
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "hits go on");
    assert_eq!(upstream.count(), 2);
    assert_eq!(gateway.metric("rate_limited_total{limit=\"upstream\",tenant=\"alpha\"}"), 1.0);
    assert_eq!(gateway.outcomes("miss"), 3.0);
}

// T19.
#[test]
fn guessing_tokens_costs_no_tenant_anything() {
    let upstream = Upstream::contract();
    let gateway = Config::default().tenant(0, "rate_limit = { per_minute = 1, burst = 2 }").start(&upstream);
    let series = || gateway.admin("/metrics").text().lines().filter(|line| !line.starts_with('#')).count();
    let before = series();
    let mut client = gateway.connect();
    for number in 0..300 {
        let token = format!("guess-{number}-0123456789abcdefghijklmnop");
        assert_eq!(client.get("/v1/calls/call_1", &token, &[]).read().status, 401);
    }
    // One series for the status and one for the error code, however many were guessed.
    assert_eq!(series() - before, 2);
    assert_eq!(gateway.get("call_1").header("ratelimit"), Some("\"tenant\";r=1;t=60"));
}

// T59.
#[test]
fn no_name_that_a_client_makes_up_becomes_a_series() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let ask = |round: usize| {
        gateway.get(&format!("call_{round}"));
        gateway.get(&format!("call_missing{round}"));
        gateway.get(&format!("nonsense{round}"));
        let mut client = gateway.connect();
        client
            .request(
                &format!("M{round}"),
                &format!("/p{round}"),
                TOKENS[0],
                &[&format!("User-Agent: u{round}")],
            )
            .read();
        client.get("/v1/calls/call_1", &format!("token{round}"), &[]).read();
        client
            .request(&format!("N{round}"), "/v1/calls/call_1", TOKENS[0], &[&format!("X-H{round}: 1")])
            .read();
    };
    let series = || {
        let text = gateway.admin("/metrics").text();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    ask(0);
    let before = series();
    for round in 1..30 {
        ask(round);
    }
    assert_eq!(before, series());
}
