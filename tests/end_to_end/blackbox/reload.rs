//! Reload: changed settings take effect at once, everything else is kept, and an invalid file changes nothing.

use std::time::{Duration, Instant};

use crate::support::{
    Act, Config, Gate, Gateway, KEYS, TOKENS, Upstream, call, call_reply, eventually, reply,
};

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";
const HIT: &str = "hit; ttl";

/// `alpha` with this as its key.
fn keyed(key: &str) -> Config {
    Config::default().tenant(0, &format!("upstream_key = {{ value = \"{key}\" }}"))
}

#[track_caller]
fn reloaded(gateway: &Gateway, config: &Config) {
    let answer = gateway.reload(config);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn the_api_the_signal_and_the_poll_all_reload() {
    let upstream = Upstream::contract();
    let limited = |burst: u32| {
        Config::default()
            .with("reload", "poll = \"50ms\"")
            .tenant(0, &format!("rate_limit = {{ per_second = 1, burst = {burst} }}"))
    };
    let gateway = limited(100).start(&upstream);
    let policy = || gateway.get("call_1").header("ratelimit-policy").unwrap().to_owned();
    assert_eq!(policy(), "\"tenant\";q=100;w=100");
    gateway.rewrite(limited(200).text(upstream.address()));
    eventually("the poll sees the new file", || policy() == "\"tenant\";q=200;w=200");
    let quiet = |burst| limited(burst).with("reload", "poll = \"0s\"");
    reloaded(&gateway, &quiet(300));
    assert_eq!(policy(), "\"tenant\";q=300;w=300");
    gateway.rewrite(quiet(400).text(upstream.address()));
    gateway.process.signal("HUP");
    eventually("the signal reloads", || policy() == "\"tenant\";q=400;w=400");
    assert!(gateway.metric("config_reloads_total{result=\"success\"}") >= 3.0);
    assert_eq!(gateway.metric("config_reloads_total{result=\"failure\"}"), 0.0);
    let verbose = gateway.admin("/readyz?verbose").text();
    assert!(verbose.contains("[+] configuration: reloaded at "), "{verbose}");
}

#[test]
fn the_poll_sees_a_secret_that_was_replaced_as_kubernetes_does() {
    let folder = tempfile::tempdir().unwrap();
    let write = |version: &str, key: &str| {
        let data = folder.path().join(version);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("key"), format!("{key}\n")).unwrap();
        let link = folder.path().join("..tmp");
        std::os::unix::fs::symlink(version, &link).unwrap();
        std::fs::rename(link, folder.path().join("..data")).unwrap();
    };
    write("v1", KEYS[0]);
    std::os::unix::fs::symlink("..data/key", folder.path().join("key")).unwrap();
    let upstream = Upstream::contract();
    let file = folder.path().join("key");
    let gateway = Config::default()
        .with("reload", "poll = \"50ms\"")
        .tenant(0, &format!("upstream_key = {{ file = \"{}\" }}", file.display()))
        .start(&upstream);
    gateway.get("call_1");
    assert_eq!(upstream.seen()[0].header("authorization"), Some("Bearer upstream-key-of-alpha"));
    write("v2", "another-key");
    eventually("the reload", || gateway.metric("config_reloads_total{result=\"success\"}") >= 1.0);
    assert_eq!(gateway.get("call_1").story(), MISS, "another key: another account, for all we know");
    assert_eq!(upstream.seen()[1].header("authorization"), Some("Bearer another-key"));
}

#[test]
fn a_rejected_reload_is_tried_again_until_the_missing_secret_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let upstream = Upstream::contract();
    let polled = || Config::default().with("reload", "poll = \"50ms\"");
    let gateway = polled().start(&upstream);
    let reloads = |result: &str| gateway.metric(&format!("config_reloads_total{{result=\"{result}\"}}"));
    let named = polled().tenant(0, &format!("upstream_key = {{ file = \"{}\" }}", key.display()));
    gateway.rewrite(named.text(upstream.address()));
    let lacks_key =
        || gateway.admin("/readyz?verbose").text().contains("tenants[0].upstream_key: cannot read");
    eventually("the reload is rejected", lacks_key);
    let rejected = reloads("failure");
    // Renamed into place, so that no poll sees a partial file.
    std::fs::write(folder.path().join("new"), "another-key").unwrap();
    std::fs::rename(folder.path().join("new"), &key).unwrap();
    eventually("the next poll finds the key", || reloads("success") >= 1.0);
    gateway.get("call_1");
    assert_eq!(upstream.seen()[0].header("authorization"), Some("Bearer another-key"));
    assert_eq!(reloads("failure"), rejected, "the same rejection is reported once");
}

#[test]
fn one_change_is_one_reload() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::contract();
    // Long enough for a change and its reload by the API to fall between two polls.
    let config = |key: &str, burst: u32| {
        let key = folder.path().join(key);
        std::fs::write(&key, "a-key").unwrap();
        Config::default()
            .with("reload", "poll = \"2s\"")
            .tenant(0, &format!("upstream_key = {{ file = \"{}\" }}", key.display()))
            .tenant(0, &format!("rate_limit = {{ per_second = 1, burst = {burst} }}"))
    };
    let gateway = config("first", 100).start(&upstream);
    let policy = || gateway.get("call_1").header("ratelimit-policy").unwrap().to_owned();
    let reloads = || gateway.metric("config_reloads_total{result=\"success\"}");
    reloaded(&gateway, &config("moved", 200));
    assert_eq!(reloads(), 1.0);
    // The poll that sees this change saw none before it.
    gateway.rewrite(config("moved again", 300).text(upstream.address()));
    eventually("the poll sees the change", || policy() == "\"tenant\";q=300;w=300");
    assert_eq!(reloads(), 2.0);
    gateway.rewrite(config("moved again", 400).text(upstream.address()));
    eventually("the poll sees the change", || policy() == "\"tenant\";q=400;w=400");
    assert_eq!(reloads(), 3.0);
}

// T83, F28.
#[test]
fn an_invalid_file_changes_nothing_and_is_reported_in_full() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let good = Config::default().text(upstream.address());
    let half = &good.as_bytes()[..good.len() / 2 + 3];
    let missing = good.replace(&format!("{{ value = \"{}\" }}", KEYS[0]), "{ file = \"/no/such/key\" }");
    let twice = good.replace(TOKENS[1], TOKENS[0]);
    let huge = vec![b'#'; 32 << 20];
    let cases: Vec<(&str, &[u8], &[&str])> = vec![
        ("a syntax error", b"[listen\n", &["1:"]),
        ("an unknown key", b"[cache]\ntll = \"1h\"\n", &["cache.tll", "ttl"]),
        ("an empty file", b"", &["tenants"]),
        ("half a file", half, &[]),
        ("a binary file", &[0xff, 0xfe, 0, 1, 2, 3], &["UTF-8"]),
        ("a huge file", &huge, &[]),
        ("a token twice", twice.as_bytes(), &["tenants[1]: token is already assigned to tenants[0]"]),
        ("a missing secret", missing.as_bytes(), &["tenants[0].upstream_key", "/no/such/key"]),
    ];
    for (place, (what, content, words)) in cases.iter().enumerate() {
        gateway.rewrite(content);
        let answer = gateway.post_reload();
        assert_eq!((answer.status, answer.code().as_str()), (422, "INVALID_CONFIG"), "{what}");
        let text = answer.text();
        for word in *words {
            assert!(text.contains(word), "{what}: no {word} in {text}");
        }
        for secret in TOKENS.iter().chain(&KEYS) {
            assert!(!text.contains(secret), "{what}: {text}");
        }
        assert_eq!(gateway.get("call_1").story(), HIT, "{what}");
        assert_eq!(gateway.metric("config_reloads_total{result=\"failure\"}"), (place + 1) as f64);
    }
    std::fs::remove_file(gateway.config_path()).unwrap();
    assert_eq!(gateway.post_reload().status, 422);
    std::fs::create_dir(gateway.config_path()).unwrap();
    assert_eq!(gateway.post_reload().status, 422);
    std::fs::remove_dir(gateway.config_path()).unwrap();
    let verbose = gateway.admin("/readyz?verbose");
    assert_eq!(verbose.status, 200, "it goes on taking traffic");
    assert!(verbose.text().contains("[!] configuration: the reload at "), "{}", verbose.text());
    // All problems are reported, by the API and in the log.
    gateway.rewrite(good.replace("[listen]", "[cache]\nttl = \"soon\"\nmax_entry_bytes = \"-1\"\n[listen]"));
    let problems = gateway.post_reload().json()["error"]["details"].as_array().unwrap().len();
    assert_eq!(problems, 2);
    gateway.process.err_line("about the second problem", |line| line.contains("max_entry_bytes"));
    let log = gateway.process.err().join("\n");
    for secret in TOKENS.iter().chain(&KEYS) {
        assert!(!log.contains(secret));
    }
    gateway.rewrite(good);
    assert_eq!(gateway.post_reload().status, 200);
    assert_eq!(gateway.get("call_1").story(), HIT);
}

#[test]
fn changes_that_need_a_restart_are_rejected_with_the_reason() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let changed = Config::default()
        .with("listen", "address = \"127.0.0.1:1\"")
        .with("admin", "address = \"\"")
        .with("log", "format = \"text\"")
        .tenant(0, "rate_limit = { per_second = 1, burst = 1 }");
    let answer = gateway.reload(&changed);
    assert_eq!(answer.status, 422);
    let text = answer.text();
    for key in ["listen.address", "admin.address", "log.format"] {
        assert!(text.contains(&format!("{key}: changing it needs a restart")), "{text}");
    }
    assert_eq!(gateway.get("call_1").header("ratelimit-policy"), None, "all of it or nothing");
}

#[test]
fn invariant_13_a_reload_keeps_caches_limiters_and_breakers() {
    let upstream = Upstream::contract();
    let config = |ttl: &str| {
        Config::default()
            .with("cache", &format!("ttl = \"{ttl}\""))
            .with("upstream.breaker", "min_requests = 2\nopen_for = \"60s\"")
            .tenant(0, "rate_limit = { per_minute = 1, burst = 10 }")
            .tenant(1, "upstream_limit = { per_minute = 1, burst = 5 }")
    };
    let gateway = config("24h").start(&upstream);
    assert_eq!(gateway.get("call_1").header("ratelimit"), Some("\"tenant\";r=9;t=60"));
    gateway.get_as(1, "call_1", &[]);
    upstream.now(|_| reply("500 X", &[], "{}"));
    assert_eq!(gateway.get_as(1, "call_2", &[]).status, 500);
    assert_eq!(gateway.get_as(1, "call_9", &[]).code(), "UPSTREAM_UNAVAILABLE");
    reloaded(&gateway, &config("12h"));
    let answer = gateway.get("call_1");
    assert_eq!((answer.story().as_str(), answer.header("ratelimit")), (HIT, Some("\"tenant\";r=8;t=120")));
    assert_eq!(gateway.get_as(1, "call_1", &[]).story(), HIT);
    assert_eq!(gateway.get_as(1, "call_9", &[]).code(), "UPSTREAM_UNAVAILABLE", "still open");
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"beta\"}"), 1.0);
    // Only what was changed is reset.
    let changed = config("12h").with("upstream.breaker", "failure_percent = 60");
    reloaded(&gateway, &changed);
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(gateway.get_as(1, "call_9", &[]).story(), MISS);
    assert_eq!(gateway.get("call_1").story(), HIT);
}

#[test]
fn a_reload_keeps_the_connections_to_the_upstream() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    for number in 0..5 {
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
        let config = Config::default().with("cache", &format!("ttl = \"{}h\"", number + 1));
        reloaded(&gateway, &config);
    }
    assert_eq!((upstream.count(), upstream.connections()), (5, 1));
}

#[test]
fn a_changed_policy_applies_to_existing_entries() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let brief = "ttl = \"1s\"\nsettle_ttl = \"1s\"\nstale_while_revalidate = \"0s\"\nstale_if_error = \"0s\"";
    reloaded(&gateway, &Config::default().with("cache", brief));
    eventually("the entry is old by the new rules", || gateway.get("call_1").story() != HIT);
}

// T10.
#[test]
fn a_removed_tenant_is_refused_on_its_open_connections_and_its_cache_goes() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[1], &[]).read().status, 200);
    assert_eq!(gateway.metric("cache_entries{tenant=\"beta\"}"), 1.0);
    let both = Config::default().text(upstream.address());
    let at = both.rfind("[[tenants]]").unwrap();
    gateway.rewrite(&both[..at]);
    assert_eq!(gateway.post_reload().status, 200);
    let refused = client.get("/v1/calls/call_1", TOKENS[1], &[]).read();
    assert_eq!((refused.status, refused.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    assert!(!gateway.admin("/metrics").text().contains("\"beta\""), "its series are gone");
    // When it returns, its cache is empty.
    gateway.rewrite(both);
    assert_eq!(gateway.post_reload().status, 200);
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[1], &[]).read().story(), MISS);
}

// T14.
#[test]
fn a_revoked_token_is_refused_for_hits_stale_answers_and_followers() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| match seen.id() {
        "call_slow" => {
            let mut acts = vec![Act::Wait(waiting.clone())];
            acts.extend(call_reply("call_slow", &[]));
            acts
        }
        "call_stale" => call_reply("call_stale", &["Cache-Control: max-age=0, stale-while-revalidate=100"]),
        id => call_reply(id, &[]),
    });
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    for id in ["call_1", "call_stale"] {
        assert_eq!(client.get(&format!("/v1/calls/{id}"), TOKENS[0], &[]).read().status, 200);
    }
    let mut earlier = gateway.connect();
    earlier.get("/v1/calls/call_slow", TOKENS[0], &[]);
    upstream.wait_for(3);
    let new = "a-new-token-of-alpha-0123456789abcdef";
    reloaded(&gateway, &Config::default().tenant(0, &format!("tokens = [{{ value = \"{new}\" }}]")));
    let seen = upstream.count();
    for id in ["call_1", "call_stale", "call_slow"] {
        assert_eq!(client.get(&format!("/v1/calls/{id}"), TOKENS[0], &[]).read().status, 401, "{id}");
    }
    assert_eq!(upstream.count(), seen);
    assert_eq!(client.get("/v1/calls/call_1", new, &[]).read().story(), HIT, "the tenant is the same");
    gate.open();
    assert_eq!(earlier.read().status, 200, "what was let in before may finish");
}

// T09.
#[test]
fn another_key_is_another_account_and_what_the_old_one_fetched_is_gone() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.id() == "call_slow" && seen.header("authorization") == Some("Bearer first") {
            acts.insert(0, Act::Wait(waiting.clone()));
        }
        acts
    });
    let gateway = keyed("first").start(&upstream);
    gateway.get("call_1");
    gateway.get_as(1, "call_1", &[]);
    let mut earlier = gateway.connect();
    earlier.get("/v1/calls/call_slow", TOKENS[0], &[]);
    upstream.wait_for(3);
    reloaded(&gateway, &keyed("second"));
    assert_eq!(gateway.get("call_1").story(), MISS);
    assert_eq!(gateway.get("call_slow").story(), MISS, "it joins no fetch of the old key");
    gate.open();
    assert_eq!(earlier.read().status, 200, "the one who asked before may have it");
    assert_eq!(gateway.get("call_slow").story(), HIT);
    assert_eq!(gateway.get_as(1, "call_1", &[]).story(), HIT, "the other tenant's stay");
    let keys: Vec<_> =
        upstream.seen().iter().map(|seen| seen.header("authorization").map(str::to_owned)).collect();
    assert_eq!(keys[3..].iter().flatten().collect::<Vec<_>>(), ["Bearer second", "Bearer second"]);
}

/// An upstream that accepts only this key.
fn takes(key: &'static str) -> impl Fn(&crate::support::Seen) -> Vec<Act> + Send + Sync {
    move |seen| match seen.header("authorization") == Some(&format!("Bearer {key}")) {
        true => call_reply(seen.id(), &[]),
        false => reply("401 X", &["Content-Type: application/json"], "{\"success\":false}"),
    }
}

#[test]
fn a_rotation_of_the_upstream_key_is_seen_by_no_client_and_empties_nothing() {
    let upstream = Upstream::scripted(takes("old"));
    let gateway = keyed("old").start(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    let rotating = keyed("old").tenant(0, "upstream_key_next = { value = \"new\" }");
    reloaded(&gateway, &rotating);
    assert_eq!(gateway.get("call_1").story(), HIT);
    upstream.now(takes("new"));
    assert_eq!(gateway.get("call_2").status, 200, "the old key is refused, the next one taken");
    assert_eq!(gateway.metric("upstream_key_promotions_total{tenant=\"alpha\"}"), 1.0);
    assert_eq!(gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}"), 1.0);
    gateway.process.err_line("about the promotion", |line| {
        line.contains("the tenant's other key, which is used from now on")
            && line.contains("\"tenant\":\"alpha\"")
    });
    let seen = upstream.count();
    assert_eq!(gateway.get("call_3").status, 200);
    assert_eq!(upstream.count(), seen + 1, "it is remembered");
    // A reload in the middle keeps the key that works, and the end of the rotation keeps the cache.
    reloaded(&gateway, &rotating.with("cache", "ttl = \"12h\""));
    gateway.get("call_4");
    assert_eq!(upstream.count(), seen + 2);
    reloaded(&gateway, &keyed("new"));
    for number in 1..5 {
        assert_eq!(gateway.get(&format!("call_{number}")).story(), HIT);
    }
    assert_eq!(gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}"), 1.0);
}

// T21.
#[test]
fn with_both_keys_rejected_the_answer_does_not_blame_the_clients_token() {
    let upstream = Upstream::scripted(takes("neither"));
    let gateway = keyed("one").tenant(0, "upstream_key_next = { value = \"other\" }").start(&upstream);
    let answer = gateway.get("call_1");
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert!(answer.text().contains("The upstream rejected this tenant's API key"), "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), None);
    assert_eq!(gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}"), 2.0);
    gateway.process.err_line("about both keys", |line| line.contains("upstream_key and upstream_key_next"));
    assert_eq!(gateway.admin("/readyz").status, 200);
}

#[test]
fn limits_of_connections_follow_a_reload() {
    let upstream = Upstream::contract();
    let capped = |most: usize| Config::default().with("limits", &format!("max_connections = {most}"));
    let gateway = capped(2).start(&upstream);
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.get("/v1/calls/call_1", TOKENS[0], &[]);
    }
    assert_eq!(clients[0].read().status, 200);
    assert_eq!(clients[1].read().status, 200);
    assert_eq!(gateway.metric("connections"), 2.0, "the third waits in the kernel's queue");
    reloaded(&gateway, &capped(3));
    assert_eq!(clients[2].read().status, 200);
    reloaded(&gateway, &capped(1));
    for mut client in clients {
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200, "open ones stay");
        client.leave();
    }
    eventually("they are gone", || gateway.metric("connections") == 0.0);
    let mut one = gateway.connect();
    assert_eq!(one.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    let mut other = gateway.connect();
    other.get("/v1/calls/call_1", TOKENS[0], &[]);
    assert_eq!(gateway.metric("connections"), 1.0);
    one.leave();
    assert_eq!(other.read().status, 200);
}

#[test]
fn the_log_follows_a_reload() {
    let upstream = Upstream::contract();
    let logging = |lines: &str| Config::default().with("log", lines);
    let gateway = logging("access = \"off\"").start(&upstream);
    gateway.get("call_1");
    reloaded(&gateway, &logging("access = \"all\""));
    gateway.get("call_2");
    let access = |line: &str| line.contains("\"outcome\":\"miss\"");
    gateway.process.err_line("about the second lookup", access);
    assert_eq!(gateway.process.err().iter().filter(|line| access(line)).count(), 1);
    reloaded(&gateway, &logging("access = \"all\"\nlevel = \"error\""));
    gateway.get("call_3");
    reloaded(&gateway, &logging("access = \"all\"\nlevel = \"info\""));
    gateway.get("call_4");
    eventually("the fourth lookup is logged", || {
        gateway.process.err().iter().filter(|line| access(line)).count() == 2
    });
}

#[test]
fn reloads_are_made_one_at_a_time_and_each_is_answered() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(gateway.post_reload().status, 200);
                }
            });
        }
    });
    assert_eq!(gateway.metric("config_reloads_total{result=\"success\"}"), 40.0);
}

#[test]
fn a_lookup_that_waits_keeps_the_deadline_that_it_began_with() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(reply("200 OK", &[], &call(seen.id())));
        acts
    });
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    let brief = "total_timeout = \"200ms\"\nfirst_byte_timeout = \"100ms\"\nconnect_timeout = \"100ms\"";
    reloaded(&gateway, &Config::default().with("upstream", brief));
    let start = Instant::now();
    assert_eq!(gateway.get("call_2").code(), "UPSTREAM_TIMEOUT");
    assert!(start.elapsed() < Duration::from_secs(2));
    gate.open();
    assert_eq!(client.read().status, 200);
}

#[test]
fn removing_a_cacheable_status_empties_the_caches() {
    let upstream =
        Upstream::scripted(|seen| reply("200 OK", &[], &call(seen.id()).replace("completed", "failed")));
    let with = |statuses: &str| Config::default().with("cache", &format!("cacheable_statuses = {statuses}"));
    let gateway = with("[\"completed\", \"failed\"]").start(&upstream);
    gateway.get("call_1");
    assert_eq!(gateway.get("call_1").story(), HIT);
    reloaded(&gateway, &with("[\"completed\"]"));
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; detail=not-completed");
}

#[test]
fn a_fetch_with_a_key_removed_meanwhile_is_not_stored() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| match seen.header("authorization") {
        Some("Bearer upstream-key-of-alpha") if seen.id() == "call_1" => reply("401 X", &[], "{}"),
        Some("Bearer next") => {
            let mut acts = vec![Act::Wait(waiting.clone())];
            acts.extend(call_reply(seen.id(), &[]));
            acts
        }
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = Config::default().tenant(0, "upstream_key_next = { value = \"next\" }").start(&upstream);
    gateway.get("call_2");
    let mut client = gateway.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(3);
    reloaded(&gateway, &Config::default());
    assert_eq!(gateway.get("call_2").story(), HIT, "the key that fetched this one is still there");
    gate.open();
    assert_eq!(client.read().story(), "fwd=uri-miss; fwd-status=200; detail=purged");
    assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 1.0);
}

#[test]
fn a_failing_upstream_does_not_validate_a_key() {
    let upstream = Upstream::scripted(|seen| match seen.header("authorization") {
        Some("Bearer next") => reply("503 X", &[], "{}"),
        _ => reply("401 X", &[], "{}"),
    });
    let gateway = Config::default()
        .with("upstream.retry", "max_attempts = 1")
        .tenant(0, "upstream_key_next = { value = \"next\" }")
        .start(&upstream);
    assert_eq!(gateway.get("call_1").status, 503);
    assert_eq!(gateway.metric("upstream_key_promotions_total{tenant=\"alpha\"}"), 0.0);
}
