//! Failing engines: a fleet becomes colder, and no answer changes.

use std::time::Duration;

use crate::support::proxy::{Fault, Proxy};
use crate::support::{
    Engine, Gateway, Retort, ScriptedEngine, Sentinel, Upstream, call_reply, engine_at, eventually,
    free_address,
};

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";
const FROM_FLEET: &str = "hit; ttl; detail=shared";

fn completed() -> Upstream {
    Upstream::scripted(|seen| call_reply(seen.id(), &[]))
}

fn problems(gateway: &Gateway) -> String {
    gateway.admin("/api/v1/stats").json()["problems"].to_string()
}

/// Looks up calls, each of which is fetched, until the level is out of use.
fn look_up_until_down(gateway: &Gateway, what: &str) {
    let (before, mut number) = (gateway.asked_fleet("down"), 0);
    eventually(what, || {
        number += 1;
        let id = format!("call_{}", fastrand::u64(..));
        assert_eq!(gateway.get(&id).story(), MISS, "{what}: lookup {number}");
        gateway.asked_fleet("down") > before
    });
}

// F31, F32.
#[test]
fn every_refusal_of_the_engine_costs_the_level_alone_and_is_named() {
    let Some(engine) = Engine::start() else { return };
    let (scripted, upstream) = (ScriptedEngine::before(&engine), completed());
    let gateway = scripted.config().start(&upstream);
    gateway.wait_for_fleet(1);
    let loading = "the engine is loading its data, or a part of the cluster is down";
    let full = "the engine takes no writes";
    let rejected = "the engine refuses shared.user or shared.password";
    let nonsense = "the engine refused a command, or its answer makes no sense";
    for (error, text) in [
        ("LOADING Redis is loading the dataset in memory", loading),
        ("CLUSTERDOWN The cluster is down", loading),
        ("MASTERDOWN Link with MASTER is down", loading),
        ("TRYAGAIN Multiple keys request during rehashing of slot", loading),
        ("MOVED 3999 127.0.0.1:1", loading),
        ("ASK 3999 127.0.0.1:1", loading),
        ("READONLY You can't write against a read only replica.", "the engine is a read-only replica"),
        ("OOM command not allowed when used memory > 'maxmemory'.", full),
        ("MISCONF Redis is configured to save RDB snapshots", full),
        ("NOREPLICAS Not enough good replicas to write.", full),
        (
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "shared.user lacks a permission",
        ),
        ("NOAUTH Authentication required.", rejected),
        ("WRONGPASS invalid username-password pair or user is disabled.", rejected),
        (
            "ERR The user executing the script can't run this command or subcommand",
            "shared.user lacks a permission",
        ),
        ("ERR Error running script (call to f_1): @user_script:28: -OOM command not allowed", full),
        ("ERR canary", nonsense),
        ("NOSCRIPT No matching script. Please use EVAL.", nonsense),
        ("WRONGTYPE canary", nonsense),
    ] {
        scripted.always(Retort::error(error));
        look_up_until_down(&gateway, error);
        eventually(error, || problems(&gateway).contains(text));
        scripted.always(Retort::Pass);
        gateway.wait_for_fleet(1);
    }
    assert_eq!(gateway.get("call_after").story(), MISS);
    eventually("calls are written again", || !engine.command(&["KEYS", "cg1:e:*"]).is_empty());
    let log = gateway.process.err().join("\n");
    assert!(!log.contains("canary") && !log.contains("panic"), "{log}");
}

// F31.
#[test]
fn garbage_from_the_engine_is_a_miss_and_a_new_connection() {
    let Some(engine) = Engine::start() else { return };
    let (scripted, upstream) = (ScriptedEngine::before(&engine), completed());
    let gateway = scripted.config().start(&upstream);
    gateway.wait_for_fleet(1);
    let bytes = |text: &[u8]| Retort::Bytes(text.to_vec());
    for (what, retort) in [
        ("another protocol", bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        ("a text", bytes(b"$5\r\nhello\r\n")),
        ("a number", bytes(b":7\r\n")),
        ("nothing", bytes(b"$-1\r\n")),
        ("a list without an end", bytes(b"*9223372036854775807\r\n")),
        ("a negative length", bytes(b"$-7\r\n")),
        ("a list within lists", bytes(&b"*1\r\n".repeat(100_000))),
        ("two answers", bytes(b"+OK\r\n+OK\r\n")),
        ("bytes", bytes(&[0, 255, 13, 10, 1, 2, 3])),
        ("an end", Retort::Close),
    ] {
        scripted.always(retort);
        look_up_until_down(&gateway, what);
        scripted.always(Retort::Pass);
        gateway.wait_for_fleet(1);
    }
    assert_eq!(gateway.get("call_after").story(), MISS);
    let log = gateway.process.err().join("\n");
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn nothing_is_sent_to_an_engine_that_is_down_but_heartbeats() {
    let Some(engine) = Engine::start() else { return };
    let (scripted, upstream) = (ScriptedEngine::before(&engine), completed());
    let gateway = scripted.config().start(&upstream);
    gateway.wait_for_fleet(1);
    scripted.always(Retort::error("LOADING Redis is loading the dataset in memory"));
    look_up_until_down(&gateway, "it is down");
    let before = scripted.commands();
    for number in 0..200 {
        assert_eq!(gateway.get(&format!("call_{number}")).story(), MISS);
    }
    let sent = scripted.commands() - before;
    assert!(sent < 100, "{sent} commands for 200 lookups");
    assert!(gateway.asked_fleet("down") >= 200.0);
}

// F32.
#[test]
fn scripts_that_the_engine_has_forgotten_are_sent_again() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = [engine.config().start(&upstream), engine.config().start(&upstream)];
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    for number in 0..5 {
        engine.command(&["SCRIPT", "FLUSH"]);
        let id = format!("call_{number}");
        assert_eq!(one.get(&id).story(), MISS);
        one.wait_for_shared(number + 1);
        engine.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(other.get(&id).story(), FROM_FLEET);
        engine.command(&["SCRIPT", "FLUSH"]);
        assert_eq!(one.delete(&format!("/api/v1/cache/alpha/{id}")).status, 200);
    }
    assert_eq!((one.asked_fleet("error"), other.asked_fleet("error")), (0.0, 0.0));
}

// F32.
#[test]
fn an_engine_that_takes_no_writes_is_out_of_use_until_it_does() {
    // Where it is to save its data, it refuses writes after it couldn't.
    let arguments = ["--enable-protected-configs", "yes", "--save", "3600 1"];
    let Some(engine) = Engine::start_with(&arguments) else { return };
    let upstream = completed();
    let gateway = engine.config().start(&upstream);
    gateway.wait_for_fleet(1);
    let full = "the engine takes no writes";
    let set = |words: &[&str]| assert_eq!(engine.command(words), "OK\n", "{words:?}");

    set(&["CONFIG", "SET", "maxmemory", "1"]);
    look_up_until_down(&gateway, "no memory");
    assert!(problems(&gateway).contains(full), "{}", problems(&gateway));
    set(&["CONFIG", "SET", "maxmemory", "0"]);
    gateway.wait_for_fleet(1);

    set(&["REPLICAOF", "127.0.0.1", "1"]);
    look_up_until_down(&gateway, "a replica");
    assert!(problems(&gateway).contains("the engine is a read-only replica"), "{}", problems(&gateway));
    let purged = gateway.delete("/api/v1/cache");
    assert_eq!((purged.status, purged.code().as_str()), (503, "PURGE_INCOMPLETE"));
    set(&["REPLICAOF", "NO", "ONE"]);
    gateway.wait_for_fleet(1);
    eventually("the purge is announced", || gateway.metric("fleet_owed_purges") == 0.0);

    set(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    look_up_until_down(&gateway, "too few replicas");
    assert!(problems(&gateway).contains(full), "{}", problems(&gateway));
    set(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    gateway.wait_for_fleet(1);

    let folder = tempfile::tempdir().unwrap();
    set(&["CONFIG", "SET", "dir", folder.path().to_str().unwrap()]);
    drop(folder);
    engine.command(&["BGSAVE"]);
    eventually("it could not save", || {
        engine.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    look_up_until_down(&gateway, "it can't save");
    assert!(problems(&gateway).contains(full), "{}", problems(&gateway));
    set(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.get("call_after").story(), MISS);
}

// F32.
#[test]
fn a_permission_that_is_taken_away_is_named_and_used_again_when_it_is_back() {
    let Some(engine) = Engine::start() else { return };
    engine.command(&["ACL", "SETUSER", "credira", "on", ">right", "~cg1:*", "+@all"]);
    let upstream = completed();
    let login = "user = \"credira\"\npassword = { value = \"right\" }\n";
    let gateway = engine.config_with(login).start(&upstream);
    gateway.wait_for_fleet(1);
    for command in ["evalsha", "hset", "hgetall", "getrange", "set"] {
        engine.command(&["ACL", "SETUSER", "credira", &format!("-{command}")]);
        if matches!(command, "getrange" | "set") {
            // Lookups alone use it; heartbeats go on.
            let before = gateway.asked_fleet("error");
            eventually("a lookup fails", || {
                assert_eq!(gateway.get(&format!("call_{}", fastrand::u64(..))).story(), MISS);
                gateway.asked_fleet("error") > before
            });
        } else {
            look_up_until_down(&gateway, command);
            let text = "shared.user lacks a permission: docs/operations.md";
            assert!(problems(&gateway).contains(text), "{command}: {}", problems(&gateway));
        }
        engine.command(&["ACL", "SETUSER", "credira", &format!("+{command}")]);
        gateway.wait_for_fleet(1);
    }
}

// F30.
#[test]
fn an_engine_that_is_paused_goes_on_where_it_was() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = [engine.config().start(&upstream), engine.config().start(&upstream)];
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    assert_eq!(one.get("call_1").story(), MISS);
    one.wait_for_shared(1);
    engine.command(&["CLIENT", "PAUSE", "8000", "ALL"]);
    look_up_until_down(&one, "it is paused");
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    assert_eq!(other.get("call_1").story(), FROM_FLEET);
    assert_eq!(one.delete("/api/v1/cache/alpha/call_1").json()["gateways"]["done"], 2);
}

// F29, F30.
#[test]
fn broken_and_slow_connections_to_the_engine_change_no_answer() {
    let address = free_address();
    let Some(_engine) = Engine::start_at(address, &[]) else { return };
    let (proxy, upstream) = (Proxy::to(address), completed());
    let url = format!("redis://{}", proxy.address());
    let gateway = engine_at(&url, "timeout = \"200ms\"\n").start(&upstream);
    for fault in [
        Fault::Refuse,
        Fault::BlackHole,
        Fault::Hold,
        Fault::Delay(Duration::from_millis(400)),
        Fault::Drip(Duration::from_millis(400)),
        Fault::Reset(0),
        Fault::Reset(3),
        Fault::Truncate(3),
        Fault::Garbage,
    ] {
        gateway.wait_for_fleet(1);
        proxy.now(fault);
        look_up_until_down(&gateway, &format!("{fault:?}"));
        proxy.now(Fault::Pass);
    }
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.delete("/api/v1/cache").status, 200);
}

// T121.
#[test]
fn entries_that_no_gateway_has_written_are_misses_and_are_replaced() {
    let Some(engine) = Engine::start() else { return };
    let upstream = completed();
    let [one, other] = [engine.config().start(&upstream), engine.config().start(&upstream)];
    [&one, &other].into_iter().for_each(|gateway| gateway.wait_for_fleet(2));
    let only_key = || engine.command(&["KEYS", "cg1:e:*"]).trim().to_owned();
    assert_eq!(one.get("call_1").story(), MISS);
    one.wait_for_shared(1);
    let key = only_key();
    // An entry of 512 MB, as large as one may be in the engine.
    assert_eq!(engine.command(&["SETRANGE", &key, "536870911", "x"]), "536870912\n");
    let before = other.process_metric("resident_memory_bytes");
    assert_eq!(other.get("call_1").story(), MISS);
    let grown = other.process_metric("resident_memory_bytes") - before;
    assert!(grown < 64e6, "{grown} bytes for an entry that can't be one");
    assert_eq!((other.asked_fleet("invalid"), other.asked_fleet("error")), (1.0, 0.0));
    other.wait_for_shared(1);
    engine.command(&["DEL", &key]);
    engine.command(&["RPUSH", &key, "x"]);
    let third = engine.config().start(&upstream);
    third.wait_for_fleet(3);
    assert_eq!(third.get("call_1").story(), MISS);
    assert_eq!((third.asked_fleet("miss"), third.asked_fleet("error")), (1.0, 0.0));
    third.wait_for_shared(1);
    assert_eq!(engine.command(&["TYPE", &key]), "string\n", "it is replaced");
}

// F33.
#[test]
fn what_was_purged_stays_purged_after_a_failover_to_a_replica_that_lags() {
    let [first, second] = [free_address(), free_address()];
    let Some(mut primary) = Engine::start_at(first, &[]) else { return };
    let Some(replica) = Engine::start_replica(second, first) else { return };
    let Some(sentinel) = Sentinel::watch(first, 1) else { return };
    let upstream = Upstream::scripted(|seen| call_reply(seen.id(), &["X-Version: 1"]));
    let config = sentinel.config("");
    let gateways = [config.clone().start(&upstream), config.start(&upstream)];
    gateways.iter().for_each(|gateway| gateway.wait_for_fleet(2));
    let [one, other] = &gateways;
    assert_eq!(one.get("call_1").header("x-version"), Some("1"));
    one.wait_for_shared(1);
    eventually("the replica has the call", || !replica.command(&["KEYS", "cg1:e:*"]).is_empty());
    // From here on the replica hears of nothing.
    replica.signal("STOP");
    primary.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    let purged = one.delete("/api/v1/cache/alpha/call_1");
    assert_eq!((purged.status, &purged.json()["gateways"]["done"]), (200, &2.into()), "{}", purged.text());
    upstream.now(|seen| call_reply(seen.id(), &["X-Version: 2"]));
    primary.kill();
    replica.signal("CONT");
    let is_new = |gateway: &Gateway| {
        let answer = gateway.get("call_1");
        assert_eq!((answer.status, answer.header("x-version")), (200, Some("2")));
    };
    eventually("the replica is the primary", || {
        gateways.iter().for_each(is_new);
        sentinel.primary() == second
    });
    eventually("it is in use", || {
        gateways.iter().for_each(is_new);
        gateways.iter().all(|gateway| {
            gateway.metric("fleet_gateways") == 2.0 && gateway.metric("level_up{level=\"shared\"}") == 1.0
        })
    });
    // One that has never heard of the purge.
    let third = sentinel.config("").start(&upstream);
    third.wait_for_fleet(3);
    is_new(&third);
    assert_eq!(other.delete("/api/v1/cache").json()["gateways"]["done"], 3);
}
