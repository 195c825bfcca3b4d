//! The kinds of engines that a fleet may share: over TLS, with the documented access-control list, found by a sentinel,
//! and as a cluster.

use std::path::Path;

use super::fleet::{FROM_FLEET, MISS, completed, pair};
use crate::support::{
    Authority, Config, Engine, Finished, Sentinel, Upstream, call_reply, engine_at, eventually, free_address,
    program, reply,
};

/// Has a fleet use its engine in every way: calls and claims, purges of every kind, and a gateway that leaves.
fn use_all(config: &Config) {
    let upstream = completed();
    let [one, other] = pair(config, &upstream);
    for number in 0..8 {
        // In a cluster, they are on different nodes.
        let id = format!("call_{number}");
        assert_eq!(one.get(&id).story(), MISS);
        one.wait_for_shared(number + 1);
        assert_eq!(other.get(&id).story(), FROM_FLEET);
    }
    upstream.now(|seen| match seen.id() {
        "call_broken" => reply("502 Bad Gateway", &[], ""),
        id => call_reply(id, &[]),
    });
    assert_eq!(one.get("call_broken").status, 502);
    assert_eq!(other.get("call_broken").status, 502, "its claim was released");
    for path in ["/api/v1/cache/alpha/call_1", "/api/v1/cache/alpha", "/api/v1/cache"] {
        let purged = one.delete(path);
        assert_eq!(purged.status, 200, "{path}: {}", purged.text());
        assert_eq!(purged.json()["gateways"]["done"], 2);
        assert_eq!(other.get("call_1").story(), MISS, "{path}");
    }
    other.stop();
    eventually("it has left", || one.metric("fleet_gateways") == 1.0);
    for result in ["error", "timeout", "down", "invalid"] {
        assert_eq!(one.asked_fleet(result), 0.0, "{result}");
    }
    assert_eq!(one.metric("level_writes_total{level=\"shared\",result=\"failed\",tenant=\"alpha\"}"), 0.0);
}

/// The lines of the fleet's access-control list in docs/operations.md that begin with this, as words.
fn documented(beginning: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with(beginning)).collect();
    assert_eq!(lines.len(), 1, "{beginning}");
    lines[0].split_whitespace().map(|word| word.replace(">PASSWORD", ">a-password")).collect()
}

/// Gives an engine the documented user, with these additions to its list.
fn give_user(engine: &Engine, additions: &[&str]) {
    for beginning in [&["ACL SETUSER credira on "], additions].concat() {
        let words = documented(beginning);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        assert_eq!(engine.command(&words), "OK\n", "{words:?}");
    }
    engine.command(&["ACL", "LOG", "RESET"]);
}

const LOGIN: &str = "user = \"credira\"\npassword = { value = \"a-password\" }\n";
const FOR_SENTINEL: &str = "ACL SETUSER credira +role";
const FOR_CLUSTER: &str = "ACL SETUSER credira +cluster|slots";

fn assert_nothing_was_denied(engine: &Engine) {
    assert_eq!(engine.command(&["ACL", "LOG"]), "");
}

#[test]
fn the_documented_access_control_list_is_all_that_a_fleet_needs() {
    let Some(engine) = Engine::start() else { return };
    give_user(&engine, &[]);
    use_all(&engine.config_with(LOGIN));
    // Scripts are sent again, and the log is begun again.
    engine.command(&["SCRIPT", "FLUSH"]);
    engine.command(&["FLUSHALL"]);
    use_all(&engine.config_with(LOGIN));
    assert_nothing_was_denied(&engine);
}

#[test]
fn the_documented_user_passes_a_probe_and_reads_no_others_keys() {
    let Some(engine) = Engine::start() else { return };
    give_user(&engine, &[]);
    engine.command(&["CONFIG", "SET", "maxmemory", "64mb", "maxmemory-policy", "volatile-lru"]);
    let upstream = Upstream::contract();
    let file = crate::support::write_config(&engine.config_with(LOGIN).text(upstream.address()));
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert!(probed.code == 0 && !probed.out.contains("risk "), "{probed:?}");
    assert_nothing_was_denied(&engine);
    let other = engine.config_with(&format!("{LOGIN}prefix = \"other\"\n"));
    let file = crate::support::write_config(&other.text(upstream.address()));
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert!(probed.code == 1 && probed.out.contains("shared.user lacks a permission"), "{probed:?}");
}

#[test]
fn a_fleet_shares_an_engine_over_tls_with_certificates_on_both_sides() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = authority.write(folder.path());
    let address = free_address();
    let certified = authority.certify(&[&address.ip().to_string()]);
    let (cert, key) = certified.write(folder.path());
    let Some(_engine) = Engine::start_tls(address, [&cert, &key, &ca_file], "yes") else { return };
    let roots = format!("ca_file = \"{}\"\n", ca_file.display());
    let identity = format!("client_cert = \"{}\"\nclient_key = \"{}\"\n", cert.display(), key.display());
    let url = format!("rediss://{address}");
    use_all(&engine_at(&url, &(roots.clone() + &identity)));

    let upstream = completed();
    for (lines, text) in [
        (
            roots.as_str(),
            "the TLS handshake failed: see whether the port speaks TLS, and asks for shared.client_cert",
        ),
        (identity.as_str(), "the engine's certificate is not trusted"),
    ] {
        let gateway = engine_at(&url, lines).start(&upstream);
        assert_eq!(gateway.get("call_1").story(), MISS);
        assert_eq!(gateway.metric("level_up{level=\"shared\"}"), 0.0);
        let problems = gateway.admin("/api/v1/stats").json()["problems"].to_string();
        assert!(problems.contains(text), "{problems}");
    }
}

#[test]
fn a_fleet_finds_its_engine_by_a_sentinel_with_the_documented_list() {
    let primary = free_address();
    let Some(engine) = Engine::start_at(primary, &[]) else { return };
    give_user(&engine, &[FOR_SENTINEL]);
    let Some(sentinel) = Sentinel::watch(primary, 0) else { return };
    use_all(&sentinel.config(LOGIN));
    assert_nothing_was_denied(&engine);
    let unknown = sentinel.config(LOGIN).with("shared", "sentinel_master = \"another\"\n");
    let upstream = completed();
    let gateway = unknown.start(&upstream);
    assert_eq!(gateway.get("call_1").story(), MISS);
    let problems = gateway.admin("/api/v1/stats").json()["problems"].to_string();
    assert!(problems.contains("no primary named shared.sentinel_master"), "{problems}");
}

#[test]
fn a_fleet_shares_a_cluster_with_the_documented_list() {
    let addresses = [free_address(), free_address(), free_address()];
    let Some(nodes) = Engine::start_cluster(&addresses) else { return };
    for node in &nodes {
        give_user(node, &[FOR_CLUSTER]);
    }
    // One of them names the others.
    let config = engine_at(&format!("redis://{}", addresses[0]), &format!("mode = \"cluster\"\n{LOGIN}"));
    use_all(&config);
    nodes.iter().for_each(assert_nothing_was_denied);
    let upstream = Upstream::contract();
    let file = crate::support::write_config(&config.text(upstream.address()));
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert!(
        probed.code == 0 && probed.out.contains("calls, claims and the fleet's log can be"),
        "{probed:?}"
    );
    let keys: Vec<_> = nodes.iter().map(|node| node.command(&["KEYS", "cg1:*"])).collect();
    assert!(keys.iter().all(|keys| !keys.contains("probe")), "{keys:?}");

    let single = engine_at(&format!("redis://{}", addresses[0]), LOGIN);
    let file = crate::support::write_config(&single.text(upstream.address()));
    let probed = Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]));
    assert!(probed.code == 1 && probed.out.contains("it is part of a cluster"), "{probed:?}");
}
