//! Clients' own `Cache-Control`.

use crate::support::{Act, Config, Gate, Gateway, TOKENS, Upstream, call_reply, eventually, reply};

const FORCED: &str = "fwd=request; fwd-status=200; stored; ttl";

fn stored(lines: &'static [&'static str]) -> (Upstream, Gateway) {
    let upstream = Upstream::scripted(move |seen| call_reply(seen.id(), lines));
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    (upstream, gateway)
}

#[test]
fn no_cache_and_pragma_force_a_fetch() {
    let (upstream, gateway) = stored(&["Cache-Control: max-age=60"]);
    for lines in [
        &["Cache-Control: no-cache"][..],
        &["Pragma: no-cache"],
        &["Cache-Control: max-age=0"],
        &["Cache-Control: min-fresh=100"],
    ] {
        assert_eq!(gateway.get_with("call_1", lines).story(), FORCED, "{lines:?}");
    }
    assert_eq!(upstream.count(), 5);
    assert_eq!(gateway.outcomes("bypass"), 4.0);
    assert_eq!(
        gateway.get_with("call_1", &["Pragma: no-cache", "Cache-Control: max-age=50"]).story(),
        "hit; ttl"
    );
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: no-cache, only-if-cached"]).code(), "NOT_CACHED");
}

#[test]
fn max_age_is_compared_with_the_entrys_age() {
    let (upstream, gateway) = stored(&["Cache-Control: max-age=60", "Age: 20"]);
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: max-age=25"]).story(), "hit; ttl");
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: min-fresh=30"]).story(), "hit; ttl");
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: max-age=19"]).story(), FORCED);
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: min-fresh=41"]).story(), FORCED);
    assert_eq!(upstream.count(), 3);
}

#[test]
fn no_store_reads_and_writes_nothing_and_may_follow() {
    let (upstream, gateway) = stored(&["Cache-Control: max-age=60"]);
    let story = "fwd=request; fwd-status=200; detail=client-no-store";
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: no-store"]).story(), story);
    let story = "fwd=uri-miss; fwd-status=200; detail=client-no-store";
    assert_eq!(gateway.get_with("call_2", &["Cache-Control: no-store"]).story(), story);
    assert_eq!(
        gateway.get("call_2").story(),
        "fwd=uri-miss; fwd-status=200; stored; ttl",
        "it was not written"
    );

    let gate = Gate::default();
    let waiting = gate.clone();
    upstream.now(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    let mut leader = gateway.connect();
    leader.get("/v1/calls/call_3", TOKENS[0], &["Cache-Control: no-store"]);
    upstream.wait_for(5);
    let mut follower = gateway.connect();
    follower.get("/v1/calls/call_3", TOKENS[0], &[]);
    eventually("both wait", || gateway.metric("requests_in_flight") >= 2.0);
    gate.open();
    assert_eq!(leader.read().story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(follower.read().story(), "fwd=uri-miss; fwd-status=200; stored; ttl; collapsed");
    assert_eq!(gateway.get("call_3").story(), "hit; ttl", "an ordinary follower has it stored");
}

#[test]
fn max_stale_accepts_entries_beyond_renewal() {
    let (upstream, gateway) = stored(&["Cache-Control: max-age=60, stale-while-revalidate=0", "Age: 100"]);
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: max-stale"]).story(), "hit; ttl");
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: max-stale=60"]).story(), "hit; ttl");
    assert_eq!((gateway.outcomes("stale"), upstream.count()), (2.0, 1));
    assert_eq!(
        gateway.get_with("call_1", &["Cache-Control: max-stale=5"]).story(),
        "fwd=stale; fwd-status=200; stored; ttl"
    );
    let (_upstream, gateway) = stored(&["Cache-Control: max-age=60, must-revalidate", "Age: 100"]);
    assert!(gateway.get_with("call_1", &["Cache-Control: max-stale"]).story().starts_with("fwd=stale"));
}

#[test]
fn only_if_cached_sends_nothing_upstream() {
    let (upstream, gateway) = stored(&["Cache-Control: max-age=60"]);
    let only = &["Cache-Control: only-if-cached"][..];
    assert_eq!(gateway.get_with("call_1", only).story(), "hit; ttl");
    let response = gateway.get_with("call_2", only);
    assert_eq!(
        (response.status, response.code().as_str(), response.story().as_str()),
        (504, "NOT_CACHED", "fwd=uri-miss")
    );
    let response = gateway.get_with("call_1", &["Cache-Control: only-if-cached, max-age=0"]);
    assert_eq!((response.code().as_str(), response.story().as_str()), ("NOT_CACHED", "fwd=request"));
    assert_eq!((upstream.count(), gateway.outcomes("miss")), (1, 3.0));
}

#[test]
fn an_unmet_directive_forbids_stale_answers() {
    for line in ["Cache-Control: no-cache", "Cache-Control: max-age=5", "Cache-Control: min-fresh=5"] {
        let (upstream, gateway) = stored(&["Cache-Control: max-age=60", "Age: 100"]);
        upstream.now(|_| reply("500 X", &[], "{}"));
        let response = gateway.get_with("call_1", &[line]);
        assert_eq!(
            (response.status, response.story().as_str()),
            (500, "fwd=request; fwd-status=500; detail=status"),
            "{line}"
        );
    }
}

// T38.
#[test]
fn forced_fetches_coalesce_and_are_charged() {
    let upstream = Upstream::scripted(|seen| call_reply(seen.id(), &["Cache-Control: max-age=60"]));
    let gateway =
        Config::default().tenant(0, "upstream_limit = { per_minute = 1, burst = 3 }").start(&upstream);
    gateway.get("call_1");
    let statuses: Vec<_> =
        (0..10).map(|_| gateway.get_with("call_1", &["Cache-Control: no-cache"]).status).collect();
    assert_eq!((statuses.iter().filter(|status| **status == 200).count(), upstream.count()), (2, 3));
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "others are served as before");

    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    upstream.now(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    let mut herd: Vec<_> = (0..20)
        .map(|_| {
            let mut client = gateway.connect();
            client.get("/v1/calls/call_1", TOKENS[0], &["Cache-Control: no-cache"]);
            client
        })
        .collect();
    eventually("everyone waits", || gateway.metric("requests_in_flight") >= 20.0);
    gate.open();
    for client in &mut herd {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!((upstream.count(), gateway.outcomes("bypass")), (2, 20.0));
}

#[test]
fn client_directives_can_be_ignored() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("cache", "client_cache_control = \"ignore\"").start(&upstream);
    gateway.get("call_1");
    for line in
        ["Cache-Control: no-cache", "Cache-Control: no-store", "Pragma: no-cache", "Cache-Control: max-age=0"]
    {
        assert_eq!(gateway.get_with("call_1", &[line]).story(), "hit; ttl", "{line}");
    }
    assert_eq!(gateway.get_with("call_2", &["Cache-Control: only-if-cached"]).status, 200);
}

#[test]
fn upstream_directives_can_be_ignored() {
    let upstream = Upstream::scripted(|seen| {
        call_reply(seen.id(), &["Cache-Control: no-store, max-age=0, private", "Expires: 0"])
    });
    let gateway = Config::default().with("cache", "upstream_cache_control = \"ignore\"").start(&upstream);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    let hit = gateway.get("call_1");
    assert_eq!(hit.story(), "hit; ttl");
    assert!(hit.ttl() > 70_000);
}

#[test]
fn an_upstream_that_defeats_the_cache_is_logged_once() {
    let upstream = Upstream::scripted(|seen| {
        call_reply(seen.id(), &["Cache-Control: max-age=0, private, must-revalidate"])
    });
    let gateway = Gateway::plain(&upstream);
    for _ in 0..5 {
        assert_eq!(gateway.get("call_1").status, 200);
    }
    gateway
        .process
        .err_line("about the upstream's Cache-Control", |line| line.contains("upstream_cache_control"));
    let told = gateway.process.err().iter().filter(|line| line.contains("upstream_cache_control")).count();
    assert_eq!(told, 1);
}
