//! Gateways that share an engine: they fetch a call once, a purge at one of them reaches all, and without the engine
//! each of them serves as if it were alone.

use std::thread;

use crate::support::{
    Config, Disk, Engine, Finished, Gate, Gateway, TOKENS, Upstream, call, call_reply, eventually, program,
    reply,
};

pub(super) const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";
pub(super) const FROM_FLEET: &str = "hit; ttl; detail=shared";

pub(super) fn completed() -> Upstream {
    Upstream::scripted(|seen| call_reply(seen.id(), &[]))
}

/// Two gateways that have heard of each other.
pub(super) fn pair(config: &Config, upstream: &Upstream) -> [Gateway; 2] {
    let both = [config.clone().start(upstream), config.clone().start(upstream)];
    both.iter().for_each(|gateway| gateway.wait_for_fleet(2));
    both
}

fn warm(gateway: &Gateway, calls: &[&str]) {
    for id in calls {
        assert_eq!(gateway.get(id).status, 200, "{id}");
    }
}

#[test]
fn what_one_gateway_has_fetched_is_a_hit_on_the_others() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    assert_eq!(one.get("call_1").story(), MISS);
    one.wait_for_shared(1);
    let found = other.get("call_1");
    assert_eq!((found.status, found.story().as_str(), found.text()), (200, FROM_FLEET, call("call_1")));
    assert!(found.header("age").is_some());
    assert_eq!(other.get("call_1").story(), "hit; ttl", "it is in memory by now");
    assert_eq!((upstream.count(), other.asked_fleet("hit"), other.outcomes("hit")), (1, 1.0, 2.0));
    assert_eq!(other.get_as(1, "call_1", &[]).story(), MISS, "another tenant has a world of its own");
}

#[test]
fn a_herd_spread_over_the_fleet_is_one_request() {
    let Some(engine) = Engine::start() else { return };
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let [one, other] = pair(&engine.config(), &upstream);
    thread::scope(|scope| {
        let first = scope.spawn(|| one.get("call_1"));
        upstream.wait_for(1);
        let others: Vec<_> = (0..4).map(|_| scope.spawn(|| other.get("call_1"))).collect();
        gate.open();
        assert_eq!(first.join().unwrap().status, 200);
        others.into_iter().for_each(|other| assert_eq!(other.join().unwrap().status, 200));
    });
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_claim_ends_with_its_fetch_whatever_came_of_it() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::always(reply("502 Bad Gateway", &[], ""));
    let config = engine.config().with("upstream.retry", "max_attempts = 1");
    let [one, other] = pair(&config, &upstream);
    assert_eq!(one.get("call_1").status, 502);
    eventually("the claim is released", || engine.command(&["KEYS", "cg1:c:*"]).is_empty());
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(other.get("call_1").story(), MISS);
    assert_eq!(other.asked_fleet("miss"), 1.0);
}

#[test]
fn a_purge_at_one_gateway_reaches_all() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    for (path, is_purged) in [
        ("/api/v1/cache/alpha/call_1", [true, false]),
        ("/api/v1/cache/alpha", [true, true]),
        ("/api/v1/cache", [true, true]),
    ] {
        for gateway in [&one, &other] {
            warm(gateway, &["call_1", "call_2"]);
        }
        let before = upstream.count();
        let purged = one.delete(path);
        assert_eq!(purged.status, 200, "{path}: {}", purged.text());
        let gateways = &purged.json()["gateways"];
        assert_eq!(*gateways, serde_json::json!({ "told": 2, "done": 2, "silent": [] }));
        for (id, is_purged) in ["call_1", "call_2"].into_iter().zip(is_purged) {
            let story = other.get(id).story();
            assert_eq!(story == "hit; ttl", !is_purged, "{path}: {id}: {story}");
        }
        let expected = is_purged.iter().filter(|is_purged| **is_purged).count();
        assert_eq!(upstream.count() - before, expected, "{path}");
    }
    assert_eq!(one.metric("fleet_purges_total{result=\"done\"}"), 3.0);
    assert_eq!(other.metric("fleet_purges_total{result=\"applied\"}"), 3.0);
}

#[test]
fn the_command_says_how_far_a_purge_has_come() {
    let Some(mut engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    warm(&one, &["call_1"]);
    let admin = one.admin.to_string();
    let purge = |more: &[&str]| {
        let words = [&["purge", "alpha", "call_1", "--admin", &admin], more].concat();
        Finished::of(&mut program(&words))
    };
    let done = purge(&[]);
    assert_eq!(
        done.out, "purged call_1 of alpha: 1 entry here, applied by 2 of 2 gateways\n",
        "{}",
        done.err
    );
    let stats = Finished::of(&mut program(&["stats", "--admin", &admin])).out;
    let fleet = stats.lines().find(|line| line.starts_with("fleet: ")).unwrap().to_owned();
    assert!(fleet.contains(" (this gateway), "), "{fleet}");
    let other_name = fleet.rsplit(' ').next().unwrap();
    engine.kill();
    eventually("it is noticed", || one.metric("level_up{level=\"shared\"}") == 0.0);
    let refused = purge(&[]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("; not applied by ") && refused.err.contains(other_name), "{}", refused.err);
    let refused = purge(&["--json"]);
    let details: serde_json::Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(details["error"]["code"], "PURGE_INCOMPLETE");
    drop(other);
}

#[test]
fn what_the_upstream_no_longer_has_goes_everywhere() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    [&one, &other].into_iter().for_each(|gateway| warm(gateway, &["call_1"]));
    upstream.now(|_| reply("404 Not Found", &[], "{\"success\":false}"));
    assert_eq!(one.get_with("call_1", &["Cache-Control: no-cache"]).status, 404);
    eventually("the other one hears of it", || other.get("call_1").status == 404);
}

#[test]
fn without_the_engine_each_gateway_serves_alone_and_owes_its_purges() {
    let Some(mut engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    [&one, &other].into_iter().for_each(|gateway| warm(gateway, &["call_1"]));
    engine.kill();
    eventually("it is noticed", || one.metric("level_up{level=\"shared\"}") == 0.0);
    assert_eq!(one.get("call_2").story(), MISS);
    assert_eq!(one.asked_fleet("down"), 1.0);
    let purged = one.delete("/api/v1/cache/alpha/call_1");
    assert_eq!((purged.status, purged.code().as_str()), (503, "PURGE_INCOMPLETE"));
    let details = &purged.json()["error"]["details"];
    assert_eq!((&details["purged"], details["missing"].as_array().unwrap().len()), (&1.into(), 2));
    assert_eq!(one.get("call_1").story(), MISS, "here, it is done");
    assert_eq!(one.metric("fleet_owed_purges"), 1.0);
    let problems = one.admin("/api/v1/stats").json()["problems"].to_string();
    assert!(problems.contains("shared-level-down"), "{problems}");
    engine.restart();
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    eventually("the purge is announced", || one.metric("fleet_owed_purges") == 0.0);
    assert_eq!(one.delete("/api/v1/cache/alpha/call_1").status, 200);
}

#[test]
fn a_log_that_was_lost_makes_everything_older_unreachable() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = pair(&engine.config(), &upstream);
    [&one, &other].into_iter().for_each(|gateway| warm(gateway, &["call_1"]));
    one.wait_for_shared(1);
    engine.command(&["FLUSHALL"]);
    let before = upstream.count();
    for gateway in [&one, &other] {
        eventually("its memory is emptied", || gateway.metric("cache_entries{tenant=\"alpha\"}") == 0.0);
    }
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    assert_eq!(one.get("call_1").story(), MISS);
    assert_eq!(upstream.count(), before + 1);
    assert_eq!(one.delete("/api/v1/cache/alpha/call_1").status, 200);
}

#[test]
fn a_gateway_that_was_away_erases_what_was_purged_meanwhile_before_it_uses_its_disk() {
    let Some(engine) = Engine::start() else { return };
    let (upstream, disk) = (completed(), Disk::new());
    let one = engine.config().start(&upstream);
    let with_disk = disk.config().with("shared", engine.section().as_str());
    let away = with_disk.clone().start(&upstream);
    [&one, &away].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    warm(&away, &["call_1", "call_2"]);
    away.wait_for_written(2);
    away.stop();
    eventually("it has left", || one.metric("fleet_gateways") == 1.0);
    assert_eq!(one.delete("/api/v1/cache/alpha/call_1").status, 200);
    let before = upstream.count();
    let back = with_disk.start(&upstream);
    back.wait_for_fleet(2);
    assert_eq!(back.get("call_1").story(), MISS);
    assert_eq!(back.get("call_2").story(), "hit; ttl; detail=disk");
    assert_eq!(upstream.count(), before + 1);
}

#[test]
fn a_disk_is_not_used_before_the_log_was_read() {
    let Some(mut engine) = Engine::start() else { return };
    let (upstream, disk) = (completed(), Disk::new());
    let config = disk.config().with("shared", engine.section().as_str());
    let gateway = config.clone().start(&upstream);
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.get("call_1").status, 200);
    gateway.wait_for_written(1);
    gateway.stop();
    engine.kill();
    let alone = config.start(&upstream);
    assert_eq!(alone.get("call_1").story(), MISS);
    assert_eq!((alone.recalls("down"), upstream.count()), (1.0, 2));
}

#[test]
fn a_gateway_that_was_killed_is_missing_until_it_is_forgotten() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, mut other] = pair(&engine.config(), &upstream);
    let members = one.admin("/api/v1/stats").json()["fleet"].clone();
    let name = members[1]["name"].as_str().unwrap().to_owned();
    other.process.err_line("its own name", |line| line.contains("fleet: joining") && line.contains(&name));
    other.process.signal("KILL");
    other.process.wait();
    let purged = one.delete("/api/v1/cache");
    assert_eq!(purged.status, 503);
    let details = purged.json()["error"]["details"].clone();
    assert_eq!(details["missing"], serde_json::json!([name]));
    assert_eq!((&details["gateways"]["told"], &details["gateways"]["done"]), (&2.into(), &1.into()));
    assert_eq!(one.delete(&format!("/api/v1/fleet/{name}")).status, 200);
    assert_eq!(one.delete("/api/v1/cache").json()["gateways"]["told"], 1);
    assert_eq!(one.delete(&format!("/api/v1/fleet/{name}")).status, 404);
}

#[test]
fn the_engine_sees_neither_calls_nor_names_nor_keys() {
    let Some(engine) = Engine::start() else { return };
    let upstream = Upstream::scripted(|seen| call_reply(seen.id(), &["X-Canary: canary"]));
    let [one, other] = pair(&engine.config(), &upstream);
    assert_eq!(one.get("call_canary").status, 200);
    one.wait_for_shared(1);
    assert_eq!(other.get("call_canary").story(), FROM_FLEET);
    assert_eq!(one.delete("/api/v1/cache/alpha/call_canary").status, 200);
    let keys = engine.command(&["KEYS", "*"]);
    let mut all = keys.clone();
    for key in keys.lines() {
        assert!(key.starts_with("cg1:"), "{key}");
        all += &engine.command(&["DUMP", key]);
        let is_hash = engine.command(&["TYPE", key]) == "hash\n";
        all += &engine.command(&[if is_hash { "HGETALL" } else { "GET" }, key]);
    }
    for secret in ["canary", "alpha", "upstream-key", TOKENS[0], "completed"] {
        assert!(!all.contains(secret), "{secret}");
    }
    let ttl = keys.lines().filter(|key| key.contains(":e:")).map(|key| engine.command(&["TTL", key]));
    assert!(ttl.clone().count() >= 1 && ttl.into_iter().all(|ttl| ttl.trim().parse::<i64>().unwrap() > 0));
}

#[test]
fn gateways_with_other_keys_share_nothing_and_are_named() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let one = engine.config().start(&upstream);
    let key = "upstream_key = { value = \"another-upstream-key\" }";
    let other = engine.config().tenant(0, key).start(&upstream);
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    assert_eq!(one.get("call_1").status, 200);
    one.wait_for_shared(1);
    assert_eq!(other.get("call_1").story(), MISS);
    let stats = one.admin("/api/v1/stats").json();
    assert_eq!(stats["fleet"][1]["same_tenant_keys"], false);
    assert!(stats["problems"].to_string().contains("fleet-keys-differ"));
    assert_eq!(one.delete("/api/v1/cache/alpha/call_1").json()["gateways"]["done"], 2);
    assert_eq!(other.get("call_1").story(), MISS, "a purge reaches it all the same");
}

/// A stopped engine keeps its connections, and answers nothing.
#[test]
fn an_engine_that_stands_still_costs_a_timeout_and_then_nothing() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let gateway = engine.config_with("").start(&upstream);
    gateway.wait_for_fleet(1);
    engine.signal("STOP");
    eventually("it is noticed", || {
        assert_eq!(gateway.get("call_1").status, 200);
        assert_eq!(gateway.delete("/api/v1/cache/alpha/call_1").status, 503);
        gateway.metric("level_up{level=\"shared\"}") == 0.0
    });
    let down = gateway.asked_fleet("down");
    assert_eq!(gateway.get("call_2").story(), MISS);
    assert_eq!(gateway.asked_fleet("down"), down + 1.0);
    engine.signal("CONT");
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.delete("/api/v1/cache/alpha/call_1").status, 200);
}

#[test]
fn a_wrong_password_costs_the_level_alone_until_a_reload_corrects_it() {
    let Some(engine) = Engine::start_with(&["--requirepass", "right"]) else { return };
    let upstream = completed();
    let gateway = engine.config_with("password = { value = \"wrong\" }").start(&upstream);
    assert_eq!(gateway.get("call_1").story(), MISS);
    assert_eq!(gateway.metric("level_up{level=\"shared\"}"), 0.0);
    let problems = gateway.admin("/api/v1/stats").json()["problems"].to_string();
    assert!(problems.contains("refuses shared.user or shared.password"), "{problems}");
    assert!(!problems.contains("wrong"));
    let mended = engine.config_with("password = { value = \"right\" }");
    assert_eq!(gateway.reload(&mended).status, 200);
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.get("call_2").story(), MISS);
    gateway.wait_for_shared(1);
}
