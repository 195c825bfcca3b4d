//! Purges, and the admin API's view of entries.

use crate::support::{
    Act, Client, Finished, Gate, Gateway, Response, TOKENS, Upstream, call_reply, eventually, program, reply,
};

fn delete(gateway: &Gateway, path: &str) -> Response {
    Client::connect(gateway.admin).request("DELETE", &format!("/api/v1/cache{path}"), "", &[]).read()
}

#[track_caller]
fn purged(response: &Response) -> u64 {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["purged"].as_u64().unwrap()
}

#[test]
fn one_call_a_tenant_or_everything_is_purged_and_counted() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let fill = || {
        for tenant in 0..2 {
            for id in ["call_1", "call_2", "call_missing1"] {
                gateway.get_as(tenant, id, &[]);
            }
        }
    };
    fill();
    assert_eq!(purged(&delete(&gateway, "/alpha/call_1")), 1);
    assert_eq!(purged(&delete(&gateway, "/alpha/call_1")), 0);
    assert_eq!(purged(&delete(&gateway, "/alpha/call_missing1")), 1);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(gateway.get("call_2").story(), "hit; ttl");
    assert_eq!(gateway.get_as(1, "call_1", &[]).story(), "hit; ttl", "another tenant's is its own");
    fill();
    assert_eq!(purged(&delete(&gateway, "/alpha")), 3);
    assert_eq!(gateway.get("call_2").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(gateway.get_as(1, "call_2", &[]).story(), "hit; ttl");
    fill();
    assert_eq!(purged(&delete(&gateway, "")), 6);
    assert_eq!(gateway.metric("cache_entries{tenant=\"beta\"}"), 0.0);
    assert_eq!(gateway.metric("cache_evictions_total{cause=\"purged\",tenant=\"alpha\"}"), 8.0);
    for (path, status) in
        [("/nobody", 404), ("/nobody/call_1", 404), ("/alpha/nonsense", 400), ("/alpha/*", 400)]
    {
        assert_eq!(delete(&gateway, path).status, status, "{path}");
    }
}

// T68.
#[test]
fn a_purge_beats_a_fetch_in_flight() {
    for scope in ["/alpha/call_1", "/alpha", ""] {
        let gate = Gate::default();
        let waiting = gate.clone();
        let upstream = Upstream::scripted(move |seen| {
            let mut acts = call_reply(seen.id(), &[&format!("X-Number: {}", seen.number)]);
            if seen.number == 0 {
                acts.insert(0, Act::Wait(waiting.clone()));
            }
            acts
        });
        let gateway = Gateway::plain(&upstream);
        let mut early = gateway.connect();
        early.get("/v1/calls/call_1", TOKENS[0], &[]);
        upstream.wait_for(1);
        delete(&gateway, scope);
        let after = gateway.get("call_1");
        assert_eq!(
            (after.header("x-number"), upstream.count()),
            (Some("1"), 2),
            "it joins no fetch begun before"
        );
        gate.open();
        let early = early.read();
        assert_eq!(
            (early.status, early.header("x-number")),
            (200, Some("0")),
            "who asked before is answered"
        );
        if scope == "/alpha/call_1" {
            assert_eq!(early.story(), "fwd=uri-miss; fwd-status=200; detail=purged");
            assert_eq!(gateway.metric("cache_refusals_total{reason=\"purged\",tenant=\"alpha\"}"), 1.0);
        }
        let hit = gateway.get("call_1");
        assert_eq!((hit.story().as_str(), hit.header("x-number")), ("hit; ttl", Some("1")), "{scope}");
    }
}

#[test]
fn a_purge_beats_a_background_renewal() {
    let upstream =
        Upstream::scripted(|seen| call_reply(seen.id(), &["Cache-Control: max-age=60", "Age: 100"]));
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let gate = Gate::default();
    let waiting = gate.clone();
    upstream.now(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    gateway.get("call_1");
    upstream.wait_for(2);
    assert_eq!(purged(&delete(&gateway, "/alpha/call_1")), 1);
    gate.open();
    eventually("the renewal has landed", || gateway.metric("upstream_in_flight{tenant=\"alpha\"}") == 0.0);
    eventually("and was not stored", || {
        gateway.metric("cache_refusals_total{reason=\"purged\",tenant=\"alpha\"}") == 1.0
    });
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
}

#[test]
fn an_entry_is_described_without_its_body() {
    let upstream = Upstream::scripted(|seen| {
        call_reply(seen.id(), &["ETag: \"v1\"", "Cache-Control: max-age=60", "Age: 20"])
    });
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let response = gateway.admin("/api/v1/cache/alpha/call_1");
    assert_eq!(response.status, 200);
    assert!(!response.text().contains("+12025550143"));
    let entry = response.json();
    assert_eq!((entry["kind"].as_str(), entry["state"].as_str()), (Some("call"), Some("fresh")));
    assert_eq!((entry["etag"].as_str(), entry["status"].as_u64()), (Some("\"v1\""), Some(200)));
    assert!((20..25).contains(&entry["age_seconds"].as_i64().unwrap()));
    assert!((35..=40).contains(&entry["ttl_seconds"].as_i64().unwrap()));
    assert!(entry["size_bytes"].as_u64().unwrap() > entry["body_bytes"].as_u64().unwrap());
    assert_eq!(entry["freshness"]["lifetime_from"], "max-age");
    for path in ["/alpha/call_2", "/beta/call_1", "/nobody/call_1"] {
        assert_eq!(
            gateway.admin(&format!("/api/v1/cache{path}").replace("cache", "cache")).status,
            404,
            "{path}"
        );
    }
}

#[test]
fn a_lookup_is_explained_without_sending_anything() {
    let upstream = Upstream::contract();
    let config = crate::support::Config::default().tenant(
        0,
        "rate_limit = { per_minute = 1, burst = 5 }\nupstream_limit = { per_minute = 1, burst = 4 }",
    );
    let gateway = config.start(&upstream);
    let explain = |id: &str| gateway.admin(&format!("/api/v1/explain/alpha/{id}")).json();
    let step = |explanation: &serde_json::Value, name: &str| {
        let steps = explanation["decisions"].as_array().unwrap();
        steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let cold = explain("call_1");
    assert_eq!(cold["would"], "fetch");
    assert_eq!(step(&cold, "entry")["result"], "none");
    assert_eq!(step(&cold, "tenant limit")["details"]["remaining"], 5);
    assert_eq!(step(&cold, "upstream budget")["details"]["remaining"], 4);
    assert_eq!(step(&cold, "breaker")["result"], "closed");
    let url = format!("http://{}/v1/calls/call_1", upstream.address());
    assert_eq!(step(&cold, "request")["details"]["url"], url);
    assert_eq!(upstream.count(), 0);

    gateway.get("call_1");
    let warm = explain("call_1");
    assert_eq!(
        (warm["would"].as_str(), step(&warm, "entry")["result"].as_str()),
        (Some("hit"), Some("fresh"))
    );
    assert_eq!(step(&warm, "entry")["details"]["freshness"]["lifetime_from"], "cache.ttl");
    gateway.get("call_progress1");
    let unfinished = explain("call_progress1");
    assert_eq!(step(&unfinished, "entry")["details"]["last_answer_not_stored"], "not-completed");
    gateway.get("call_missing1");
    assert_eq!(explain("call_missing1")["would"], "negative");
    assert_eq!(explain("nonsense")["would"], "refuse");
    assert_eq!(gateway.admin("/api/v1/explain/nobody/call_1").status, 404);
    assert_eq!(
        (upstream.count(), step(&explain("call_1"), "tenant limit")["details"]["remaining"].as_u64()),
        (3, Some(2))
    );
}

#[test]
fn the_stats_have_each_tenants_figures() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for id in ["call_1", "call_1", "call_missing1", "call_progress1"] {
        gateway.get(id);
    }
    let stats = gateway.admin("/api/v1/stats").json();
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert!(stats["uptime_seconds"].as_f64().unwrap() > 0.0);
    let alpha = &stats["tenants"]["alpha"];
    assert_eq!((alpha["outcomes"]["hit"].as_u64(), alpha["outcomes"]["miss"].as_u64()), (Some(1), Some(3)));
    assert_eq!(
        (alpha["cache"]["entries"].as_u64(), alpha["upstream"]["requests"]["404"].as_u64()),
        (Some(2), Some(1))
    );
    assert_eq!(alpha["not_stored"]["not-completed"], 1);
    assert_eq!(stats["tenants"]["beta"]["outcomes"]["hit"], 0);
    assert_eq!(alpha["upstream"]["breaker"], "closed");
}

#[test]
fn the_commands_ask_the_admin_plane() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    gateway.get_as(1, "call_1", &[]);
    let admin = gateway.admin.to_string();
    let run = |arguments: &[&str]| Finished::of(&mut program(&[arguments, &["--admin", &admin]].concat()));
    let explained = run(&["explain", "alpha", "call_1"]);
    assert!(explained.code == 0 && explained.out.starts_with("alpha/call_1: hit"), "{explained:?}");
    let stats = run(&["stats"]);
    assert!(stats.code == 0 && stats.out.lines().any(|line| line.starts_with("alpha ")), "{stats:?}");
    let json: serde_json::Value = serde_json::from_str(&run(&["stats", "--json"]).out).unwrap();
    assert_eq!(json["tenants"]["alpha"]["outcomes"]["miss"], 1);
    assert_eq!(run(&["purge", "alpha", "call_1"]).out, "purged call_1 of alpha: 1 entry\n");
    assert_eq!(run(&["purge", "alpha"]).out, "purged the cache of alpha: 0 entries\n");
    assert_eq!(run(&["purge", "--all", "--json"]).out, "{\n  \"purged\": 1\n}\n");
    let unknown = run(&["purge", "nobody"]);
    assert!(unknown.code == 1 && unknown.err.contains("404"), "{unknown:?}");
    for wrong in [&["purge"][..], &["purge", "--all", "alpha"], &["explain", "alpha"], &["purge", "a/b"]] {
        assert_eq!(run(wrong).code, 2, "{wrong:?}");
    }
    let _ = reply;
}
