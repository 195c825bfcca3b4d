//! The disk level: what survives a restart, what does not, and what remains on the disk.

use std::os::unix::fs::PermissionsExt;

use crate::support::{
    Config, Disk, Finished, Gateway, KEYS, Seen, TOKENS, Upstream, call, call_reply, eventually, program,
    reply, warm,
};

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";
const FROM_DISK: &str = "hit; ttl; detail=disk";

#[test]
fn a_stored_call_is_a_hit_after_a_restart() {
    let (upstream, disk) = (Upstream::scripted(|seen| call_reply(seen.id(), &[])), Disk::new());
    warm(&disk.config(), &upstream, &["call_1"]);
    let gateway = disk.config().start(&upstream);
    let recalled = gateway.get("call_1");
    assert_eq!((recalled.status, recalled.story().as_str()), (200, FROM_DISK));
    assert_eq!((recalled.text(), recalled.header("age").is_some()), (call("call_1"), true));
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "it is in memory by now");
    assert_eq!(upstream.count(), 1);
    assert_eq!((gateway.recalls("hit"), gateway.outcomes("hit")), (1.0, 2.0));
    assert_eq!(gateway.metric("level_up{level=\"disk\"}"), 1.0);
    assert_eq!(gateway.get("call_2").story(), MISS);
    assert_eq!(gateway.recalls("miss"), 1.0);
    eventually("both are counted", || gateway.metric("disk_entries{tenant=\"alpha\"}") == 2.0);
    let mode = std::fs::metadata(disk.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_is_stale_by_then_is_validated_or_served_while_it_is_renewed() {
    let script = |seen: &Seen| match (seen.id(), seen.header("if-none-match")) {
        (_, Some("\"v1\"")) => reply("304 Not Modified", &["ETag: \"v1\"", "Cache-Control: max-age=100"], ""),
        ("call_strict", _) => {
            call_reply(seen.id(), &["ETag: \"v1\"", "Cache-Control: max-age=1, must-revalidate", "Age: 10"])
        }
        _ => call_reply(
            seen.id(),
            &["ETag: \"v1\"", "Cache-Control: max-age=1, stale-while-revalidate=900", "Age: 10"],
        ),
    };
    let (upstream, disk) = (Upstream::scripted(script), Disk::new());
    warm(&disk.config(), &upstream, &["call_strict", "call_lax"]);
    let gateway = disk.config().start(&upstream);
    let strict = gateway.get("call_strict");
    assert_eq!(
        (strict.story().as_str(), strict.text()),
        ("fwd=stale; fwd-status=304; stored; ttl", call("call_strict"))
    );
    assert_eq!(gateway.get("call_lax").story(), "hit; ttl; detail=stale-while-revalidate");
    upstream.wait_for(4);
    eventually("the renewed call is stored", || gateway.get("call_lax").story() == "hit; ttl");
    assert_eq!(gateway.recalls("stale"), 2.0);
    gateway.wait_for_written(2);
    gateway.stop();
    let gateway = disk.config().start(&upstream);
    assert_eq!(gateway.get("call_lax").story(), FROM_DISK, "renewals are written, too");
}

#[test]
fn clients_directives_hold_for_what_lies_on_disk() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&disk.config(), &upstream, &["call_1", "call_2", "call_3"]);
    let gateway = disk.config().start(&upstream);
    let ask = |id: &str, directives: &str| gateway.get_with(id, &[&format!("Cache-Control: {directives}")]);
    assert_eq!(ask("call_1", "only-if-cached").story(), FROM_DISK);
    assert_eq!(ask("call_1", "only-if-cached").story(), "hit; ttl");
    let absent = ask("call_absent", "only-if-cached");
    assert_eq!(
        (absent.status, absent.code().as_str(), absent.story().as_str()),
        (504, "NOT_CACHED", "fwd=uri-miss")
    );
    assert_eq!(upstream.count(), 3);
    assert_eq!(ask("call_2", "no-cache").story(), MISS);
    assert_eq!(ask("call_3", "no-store").story(), "fwd=uri-miss; fwd-status=200; detail=client-no-store");
    assert_eq!((gateway.recalls("hit"), gateway.recalls("miss"), upstream.count()), (1.0, 1.0, 5));
    let tagged = gateway.get("call_3");
    let tag = format!("If-None-Match: {}", tagged.header("etag").unwrap());
    assert_eq!((tagged.story().as_str(), gateway.get_with("call_3", &[&tag]).status), (FROM_DISK, 304));
}

#[test]
fn a_purged_call_is_gone_from_the_disk_when_the_purge_answers() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&disk.config(), &upstream, &["call_1", "call_2"]);
    let gateway = disk.config().start(&upstream);
    let purged = gateway.delete("/api/v1/cache/alpha/call_1");
    assert_eq!((purged.status, purged.json()["purged"].as_u64()), (200, Some(1)), "it was on the disk alone");
    assert_eq!(gateway.delete("/api/v1/cache/alpha/call_1").json()["purged"], 0);
    // Killed, not stopped.
    drop(gateway);
    let gateway = disk.config().start(&upstream);
    assert_eq!(
        (gateway.get("call_1").story().as_str(), gateway.get("call_2").story().as_str()),
        (MISS, FROM_DISK)
    );
}

#[test]
fn a_purge_of_a_tenant_erases_its_file() {
    for path in ["/api/v1/cache/alpha", "/api/v1/cache"] {
        let (upstream, disk) = (Upstream::contract(), Disk::new());
        warm(&disk.config(), &upstream, &["call_1", "call_2"]);
        let gateway = disk.config().start(&upstream);
        let purged = gateway.delete(path);
        assert_eq!((purged.status, purged.json()["purged"].as_u64()), (200, Some(2)), "{path}");
        assert!(!disk.file("alpha").exists());
        assert_eq!(gateway.get("call_1").story(), MISS);
        gateway.wait_for_written(1);
        gateway.stop();
        let gateway = disk.config().start(&upstream);
        assert_eq!(
            (gateway.get("call_1").story().as_str(), gateway.get("call_2").story().as_str()),
            (FROM_DISK, MISS)
        );
    }
}

#[test]
fn what_the_upstream_no_longer_has_is_removed_from_the_disk() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&disk.config(), &upstream, &["call_1"]);
    let gateway = disk.config_with("").with("cache", "not_found_ttl = \"0s\"").start(&upstream);
    upstream.now(|_| {
        reply(
            "404 Not Found",
            &[],
            r#"{"success":false,"error":{"code":"NOT_FOUND","message":"x"},"meta":{}}"#,
        )
    });
    assert_eq!(gateway.get_with("call_1", &["Cache-Control: no-cache"]).status, 404);
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(gateway.get("call_1").story(), MISS);
}

/// A configuration in which `alpha` has these upstream keys.
fn keys(disk: &Disk, first: &str, next: Option<&str>) -> Config {
    let next = next.map(|next| format!("upstream_key_next = {{ value = \"{next}\" }}")).unwrap_or_default();
    disk.config().tenant(0, &format!("upstream_key = {{ value = \"{first}\" }}\n{next}"))
}

#[test]
fn another_key_finds_nothing_and_a_rotated_one_everything() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&keys(&disk, "old", None), &upstream, &["call_1", "call_2"]);
    let both = keys(&disk, "new", Some("old")).start(&upstream);
    assert_eq!(both.get("call_1").story(), FROM_DISK);
    // It is sealed with the new key, which remains after the old one is removed.
    both.wait_for_written(1);
    both.stop();
    let new = keys(&disk, "new", None).start(&upstream);
    assert_eq!((new.get("call_1").story().as_str(), new.get("call_2").story().as_str()), (FROM_DISK, MISS));
    new.stop();
    let other = keys(&disk, "other", None).start(&upstream);
    assert_eq!(other.get("call_1").story(), MISS);
    other.wait_for_written(1);
    other.stop();
    let back = keys(&disk, "new", None).start(&upstream);
    assert_eq!(back.get("call_1").story(), MISS, "what was of another account is erased");
}

// M11.
#[test]
fn a_purge_under_one_key_erases_what_another_had_sealed() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&keys(&disk, "first", None), &upstream, &["call_1"]);
    let second = keys(&disk, "second", None).start(&upstream);
    assert_eq!(second.delete("/api/v1/cache/alpha/call_1").status, 200);
    second.stop();
    let first = keys(&disk, "first", None).start(&upstream);
    assert_eq!(first.get("call_1").story(), MISS);
}

// T126, M12.
#[test]
fn a_tenant_that_is_gone_leaves_no_file() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let gamma = format!(
        "[[tenants]]\nname = \"gamma\"\ntokens = [{{ value = \"token-of-gamma-0123456789abcdefghij\" }}]\n\
         upstream_key = {{ value = \"{}\" }}\n",
        KEYS[0]
    );
    let with_gamma = disk.config().and(&gamma);
    let fill = |gateway: &Gateway| {
        let got =
            gateway.connect().get("/v1/calls/call_1", "token-of-gamma-0123456789abcdefghij", &[]).read();
        assert_eq!(got.story(), MISS);
        eventually("the call of gamma is written", || disk.file("gamma").exists());
    };
    let gateway = with_gamma.clone().start(&upstream);
    fill(&gateway);
    assert_eq!(gateway.reload(&disk.config()).status, 200);
    eventually("the file of gamma is erased", || !disk.file("gamma").exists());
    assert_eq!(gateway.reload(&with_gamma).status, 200);
    fill(&gateway);
    gateway.stop();
    // The same while the process is down.
    let _gateway = disk.config().start(&upstream);
    eventually("the file of gamma is erased", || !disk.file("gamma").exists());
}

#[test]
fn a_tenant_may_keep_nothing_on_disk() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let config = disk.config().tenant(0, "disk_max_bytes = \"0B\"");
    let gateway = config.start(&upstream);
    assert_eq!(gateway.get("call_1").story(), MISS);
    assert_eq!(gateway.get_as(1, "call_1", &[]).story(), MISS);
    eventually("beta's call is written", || {
        gateway.metric("level_writes_total{level=\"disk\",result=\"stored\",tenant=\"beta\"}") == 1.0
    });
    assert!(!disk.file("alpha").exists() && disk.file("beta").exists());
    assert!(!gateway.admin("/metrics").text().contains("disk_entries{tenant=\"alpha\"}"));
    assert_eq!(gateway.admin("/api/v1/cache/beta/call_1").json()["levels"][1]["found"], true);
}

// T122.
#[test]
fn nothing_on_the_disk_can_be_read() {
    let canary = "canary42";
    let upstream = Upstream::scripted(move |seen| {
        let body = call(seen.id()).replacen('{', "{\"note\":\"canary42\",", 1);
        reply(
            "200 OK",
            &["Content-Type: application/json", "X-Canary: canary42", "ETag: \"canary42\""],
            &body,
        )
    });
    let disk = Disk::new();
    let config = disk.config_with("key = { value = \"canary42-canary42-canary42-canary42\" }");
    warm(&config, &upstream, &["call_canary42", "call_canary43"]);
    let gateway = config.start(&upstream);
    assert_eq!(gateway.get("call_canary42").story(), FROM_DISK);
    let bytes = disk.bytes();
    assert!(bytes.len() > 4096);
    for word in [canary, "call_", "completed", "application/json", KEYS[0], TOKENS[0], "127.0.0.1"] {
        assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
    }
}

#[test]
fn operators_see_what_each_level_holds() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    warm(&disk.config(), &upstream, &["call_1"]);
    let gateway = disk.config().start(&upstream);
    let told = gateway.admin("/api/v1/explain/alpha/call_1").json();
    assert_eq!(
        (told["would"].as_str(), &told["levels"][0]),
        (
            Some("hit"),
            &serde_json::json!({
                "level": "memory", "found": false, "age": null, "ttl": null, "bytes": null
            })
        )
    );
    let below = &told["levels"][1];
    assert_eq!((below["level"].as_str(), below["found"].as_bool()), (Some("disk"), Some(true)));
    assert!(below["ttl"].as_i64().unwrap() > 0 && below["bytes"].as_u64().unwrap() > 500, "{below}");
    let entry = gateway.admin("/api/v1/cache/alpha/call_1").json();
    assert_eq!((entry["state"].as_str(), &entry["levels"][1]["found"]), (Some("fresh"), &below["found"]));
    assert_eq!(gateway.recalls("hit"), 0.0, "to look is not to ask");
    gateway.get("call_1");
    let stats = gateway.admin("/api/v1/stats").json();
    let told = &stats["tenants"]["alpha"]["disk"];
    assert_eq!((told["up"].as_bool(), told["requests"]["hit"].as_u64()), (Some(true), Some(1)), "{told}");
    assert_eq!(gateway.admin("/api/v1/explain/alpha/call_1").json()["levels"][0]["found"], true);
    assert_eq!(gateway.admin("/api/v1/cache/alpha/call_none").status, 404);
}

#[test]
fn wrong_settings_are_refused_with_a_clear_message() {
    for (lines, key, expected) in [
        ("[disk]\npath = \"level\"", "disk.path", "expected an absolute path"),
        (
            "[disk]\nmax_bytes_per_tenant = \"7MiB\"",
            "disk.max_bytes_per_tenant",
            "expected a size of at least 8MiB",
        ),
        ("[disk]\nkey = { value = \"short\" }", "disk.key", "expected a key of at least 32 characters"),
        ("[disk]\ntimeout = \"0s\"", "disk.timeout", "expected a duration above 0"),
    ] {
        let text = format!("{}\n{lines}\n", Config::default().text("127.0.0.1:9".parse().unwrap()));
        let file = crate::support::write_config(&text);
        let checked = Finished::of(&mut program(&["check", "--config", file.path().to_str().unwrap()]));
        assert_eq!(checked.code, 78, "{lines}");
        assert!(checked.err.contains(key) && checked.err.contains(expected), "{}", checked.err);
    }
}
