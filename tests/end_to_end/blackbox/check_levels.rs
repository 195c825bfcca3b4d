//! `check --probe` of the levels: the disk, and the engine of a fleet.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{
    Authority, Config, Disk, Engine, Finished, Retort, ScriptedEngine, Upstream, Validity, call_reply,
    engine_at, eventually, free_address, program, write_config,
};

fn completed() -> Upstream {
    Upstream::scripted(|seen| call_reply(seen.id(), &[]))
}

/// Checks with probes, against an upstream that accepts all keys.
fn probe(config: &Config) -> Finished {
    let upstream = Upstream::contract();
    let file = write_config(&config.text(upstream.address()));
    Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]))
}

/// The lines about the levels.
fn lines(probed: &Finished) -> Vec<&str> {
    let is_of_level = |line: &&str| line.contains("  disk.path ") || line.contains("  shared ");
    probed.out.lines().filter(is_of_level).collect()
}

const CALLS_ALONE: [&str; 4] = ["--maxmemory", "64mb", "--maxmemory-policy", "volatile-lru"];

#[test]
fn a_probe_uses_the_levels_as_a_gateway_does_and_disturbs_none() {
    let Some(engine) = Engine::start_with(&CALLS_ALONE) else { return };
    let (upstream, disk) = (completed(), Disk::new());
    let config = disk.config().with("shared", engine.section().as_str());
    let gateway = config.clone().start(&upstream);
    gateway.wait_for_fleet(1);
    assert_eq!(gateway.get("call_1").status, 200);
    gateway.wait_for_written(1);
    gateway.wait_for_shared(1);
    let files = |path: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files(&disk.path());
    let probed = probe(&config);
    assert_eq!(probed.code, 0, "{probed:?}");
    let shared = format!("ok      shared unix:{}", engine.socket().display());
    let lines = lines(&probed);
    assert_eq!(lines[0], format!("ok      disk.path {}: this user can write there", disk.path().display()));
    assert!(lines[1].starts_with(&format!("{shared}: connected, ")), "{}", lines[1]);
    assert_eq!(lines[2], format!("{shared}: calls, claims and the fleet's log can be written and read"));
    assert!(lines[3].starts_with(&format!("{shared}: answers in ")), "{}", lines[3]);
    assert_eq!(lines[4], format!("{shared}: maxmemory is 64 MiB, maxmemory-policy volatile-lru"));
    assert_eq!(lines.len(), 5, "{lines:?}");

    assert_eq!(files(&disk.path()), before);
    assert!(!engine.command(&["KEYS", "*"]).contains("probe"), "the log of the probe is erased");
    let purged = gateway.delete("/api/v1/cache/alpha/call_1").json();
    assert_eq!(purged["gateways"], serde_json::json!({ "told": 1, "done": 1, "silent": [] }));
    assert_eq!(gateway.metric("fleet_purges_total{result=\"ignored\"}"), 0.0);
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(gateway.metric("level_up{level=\"disk\"}"), 1.0);
}

#[test]
fn a_probe_creates_no_directory_and_says_which_one_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("open")).unwrap();
    std::fs::set_permissions(at("open"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(at("file"), "").unwrap();
    for (name, code, text) in [
        ("new", 0, "does not exist yet, and this user can create it"),
        ("no/parent", 1, "the directory does not exist and cannot be created"),
        ("open", 1, "with mode 0700"),
        ("file", 1, "with mode 0700"),
        ("file/below", 1, "the directory does not exist and cannot be created"),
    ] {
        let line = format!("path = \"{}\"", at(name).display());
        let probed = probe(&Config::default().with("disk", &line));
        assert_eq!(probed.code, code, "{name}: {probed:?}");
        assert!(lines(&probed)[0].contains(text), "{name}: {probed:?}");
    }
    assert!(!at("new").exists());
    let more = format!("path = \"{}\"\nmax_bytes_per_tenant = \"1000000GiB\"", at("new").display());
    let probed = probe(&Config::default().with("disk", &more));
    assert_eq!(probed.code, 0);
    let expected = "the tenants' files may grow to 2048000000 MiB, and the disk has room for ";
    assert!(lines(&probed)[1].starts_with("risk ") && lines(&probed)[1].contains(expected), "{probed:?}");
}

#[test]
fn a_probe_says_why_no_engine_is_reached() {
    let closed = format!("redis://{}", free_address());
    for (url, text) in [
        (closed.as_str(), "connection refused: nothing listens at shared.urls"),
        ("unix:/no/such.sock", "there is no Unix socket at the path in shared.urls"),
        ("redis://no-such-host.invalid", "the host name in shared.urls has no address"),
    ] {
        let probed = probe(&engine_at(url, "allow_insecure = true"));
        assert_eq!(probed.code, 1, "{probed:?}");
        let lines = lines(&probed);
        assert!(
            lines.len() == 1 && lines[0].starts_with("failed  shared ") && lines[0].ends_with(text),
            "{lines:?}"
        );
        assert!(probed.err.ends_with("credira-gateway: 1 probe failed\n"), "{probed:?}");
    }
}

#[test]
fn a_probe_names_what_keeps_an_engine_from_being_used() {
    let Some(engine) = Engine::start() else { return };
    engine.command(&["ACL", "SETUSER", "credira", "on", ">right", "~cg1:*", "+@all", "-hset"]);
    let login = |password: &str| format!("user = \"credira\"\npassword = {{ value = \"{password}\" }}");
    let probed = probe(&engine.config_with(&login("wrong")));
    let rejected = "the engine refuses shared.user or shared.password";
    assert!(probed.code == 1 && lines(&probed)[0].ends_with(rejected), "{probed:?}");
    assert!(!probed.out.contains("wrong") && !probed.err.contains("wrong"));

    let probed = probe(&engine.config_with(&login("right")));
    let text =
        "the fleet's log can't be written and read: shared.user lacks a permission: docs/operations.md";
    assert!(probed.code == 1 && lines(&probed)[1].contains(text), "{probed:?}");

    engine.command(&["ACL", "SETUSER", "credira", "resetkeys", "~other:*"]);
    let probed = probe(&engine.config_with(&login("right")));
    let text = "calls and claims can't be written and read: shared.user lacks a permission";
    assert!(probed.code == 1 && lines(&probed)[1].contains(text), "{probed:?}");

    engine.command(&["CONFIG", "SET", "requirepass", "secret"]);
    let probed = probe(&engine.config());
    assert!(probed.code == 1 && lines(&probed)[0].ends_with(rejected), "{probed:?}");
}

#[test]
fn a_probe_notices_a_replica_a_full_engine_and_a_policy_that_evicts_the_log() {
    let Some(engine) = Engine::start() else { return };
    let probed = probe(&engine.config());
    assert!(probed.code == 0 && lines(&probed)[3].contains("no maxmemory is set"), "{probed:?}");
    for (policy, text) in [
        ("allkeys-lru", "is allkeys-lru, which may evict the fleet's log of purges"),
        ("noeviction", "is noeviction, which refuses all writes"),
    ] {
        engine.command(&["CONFIG", "SET", "maxmemory", "64mb", "maxmemory-policy", policy]);
        let probed = probe(&engine.config());
        let line = lines(&probed)[3];
        assert!(probed.code == 0 && line.starts_with("risk ") && line.contains(text), "{probed:?}");
    }
    engine.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let probed = probe(&engine.config());
    assert!(probed.code == 1 && lines(&probed)[1].contains("the engine takes no writes"), "{probed:?}");
    engine.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let probed = probe(&engine.config());
    assert!(probed.code == 1 && lines(&probed)[0].contains("it is a replica"), "{probed:?}");
    assert!(lines(&probed)[1].contains("the engine is a read-only replica"), "{probed:?}");
}

#[test]
fn a_probe_judges_what_the_engine_says_of_itself() {
    let Some(engine) = Engine::start() else { return };
    let scripted = ScriptedEngine::before(&engine);
    let config = scripted.config();
    let says = |version: &str, mode: &str| {
        let words = ["server", "redis", "version", version, "mode", mode, "role", "master"];
        let values = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let answer =
            Retort::Bytes(format!("*{}\r\n{}", words.len(), values.collect::<String>()).into_bytes());
        scripted.now(move |words| if words[0] == "HELLO" { answer.clone() } else { Retort::Pass });
    };
    for (version, mode, text) in [
        ("6.0.16", "standalone", "redis 6.0.16: 6.2 or later is needed"),
        ("7.2.0", "cluster", "it is part of a cluster: set shared.mode = \"cluster\""),
    ] {
        says(version, mode);
        let probed = probe(&config);
        assert!(probed.code == 1 && lines(&probed)[0].ends_with(text), "{probed:?}");
    }
    scripted.always(Retort::error("LOADING Redis is loading the dataset in memory"));
    let probed = probe(&config);
    assert!(probed.code == 1 && lines(&probed)[0].contains("the engine is loading its data"), "{probed:?}");
    scripted.always(Retort::Bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".into()));
    let probed = probe(&config);
    assert!(probed.code == 1 && lines(&probed)[0].starts_with("failed  shared "), "{probed:?}");
    scripted.now(|words| if words[0] == "INFO" { Retort::error("NOPERM no") } else { Retort::Pass });
    let probed = probe(&config);
    assert!(probed.code == 0 && lines(&probed)[3].contains("shared.user may not ask for INFO"), "{probed:?}");
}

#[test]
fn a_probe_verifies_the_engines_certificate() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = authority.write(folder.path());
    let roots = format!("ca_file = \"{}\"", ca_file.display());
    for (validity, lines_of_section, text) in [
        (Validity::Now, roots.as_str(), "connected, certificate verified, redis "),
        (Validity::LongAgo, roots.as_str(), "the engine's certificate is not trusted, has expired, or"),
        (Validity::Now, "", "the engine's certificate is not trusted, has expired, or"),
    ] {
        let address = free_address();
        let (cert, key) = authority.certify_for(&[&address.ip().to_string()], validity).write(folder.path());
        let Some(_engine) = Engine::start_tls(address, [&cert, &key, &ca_file], "no") else { return };
        let probed = probe(&engine_at(&format!("rediss://{address}"), lines_of_section));
        let expected = if text.starts_with("connected") { 0 } else { 1 };
        assert!(probed.code == expected && lines(&probed)[0].contains(text), "{probed:?}");
    }
    let Some(engine) = Engine::start() else { return };
    let plain = ScriptedEngine::before(&engine);
    let probed = probe(&engine_at(&format!("rediss://{}", plain.address()), &roots));
    assert!(probed.code == 1 && lines(&probed)[0].contains("port speaks TLS"), "{probed:?}");
    eventually("the engine is still there", || engine.command(&["PING"]) == "PONG\n");
}
