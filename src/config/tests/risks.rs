//! Warnings about valid configurations.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::config::checker::Machine;

/// The warnings about `text` in an environment, on a machine that may limit this process's memory.
fn warnings_in(
    file: &Path,
    text: &str,
    variables: &[(&str, &str)],
    memory_limit: Option<u64>,
) -> Vec<String> {
    let variables = variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let machine = Machine { now: Timestamp::UNIX_EPOCH, memory_limit };
    check_text(file, text.into(), &variables, Missing::Problem, machine).unwrap().1.warnings
}

/// The warnings about `lines` above one tenant without risks.
fn warnings(lines: &str) -> Vec<String> {
    let text = format!("{lines}\n{}", SAFE_TENANT);
    warnings_in(Path::new("g.toml"), &text, &[("KEY", "k")], None)
}

const SAFE_TENANT: &str = "[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"ba7816bf8f01cfea414140de5dae2223b00361a3\
     96177a9cb410ff61f20015ad\"]\nupstream_key = { env = \"KEY\" }\n";

fn assert_warned(found: &[String], expected: &[&str]) {
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for start in expected {
        assert!(found.iter().any(|warning| warning.starts_with(start)), "{start} in {found:#?}");
    }
}

#[test]
fn the_defaults_have_no_risk() {
    assert_warned(&warnings(""), &[]);
}

#[test]
fn an_inline_secret_is_a_risk() {
    let found = load_with(&tenant("a"), &[]).unwrap().warnings;
    assert_warned(
        &found,
        &["tenants[0].upstream_key: the secret is written in the configuration file itself"],
    );
}

#[test]
fn plain_listeners_of_other_machines_are_a_risk() {
    let listen = "[listen]\naddress = [\"127.0.0.1:0\", \"0.0.0.0:8080\"]";
    assert_warned(&warnings(listen), &["listen.address: 0.0.0.0:8080 serves plain HTTP to other machines"]);
    assert_warned(&warnings("[listen]\naddress = [\"unix:/run/a\", \"[::1]:1\"]"), &[]);
}

#[test]
fn an_open_admin_plane_is_a_risk_without_a_token_and_in_plain_text() {
    let admin = "[admin]\naddress = \"0.0.0.0:9090\"\n";
    let open = "admin.address: 0.0.0.0:9090 is open to other machines without admin.token";
    assert_warned(&warnings(admin), &[open]);
    let token = format!("{admin}token = {{ value = \"{HEX}\" }}");
    let plain = "admin.address: 0.0.0.0:9090 serves plain HTTP to other machines";
    assert_warned(&warnings(&token), &[plain, "admin.token: the secret is written"]);
    let socket = "[admin]\naddress = \"unix:/run/a\"\n[listen]\nsocket_mode = \"0666\"";
    assert_warned(&warnings(socket), &["listen.socket_mode: with 0666, every user of this machine"]);
    assert_warned(&warnings("[listen]\nsocket_mode = \"0666\""), &[]);
}

#[test]
fn durations_out_of_order_are_a_risk() {
    let found = warnings(
        "[upstream]\nconnect_timeout = \"11s\"\nfirst_byte_timeout = \"12s\"\n[shutdown]\ndrain_timeout = \"5s\"\n\
         [cache]\nttl = \"10s\"",
    );
    let expected = [
        "upstream.connect_timeout: 11s is longer than upstream.total_timeout (10s)",
        "upstream.first_byte_timeout: 12s is longer than upstream.total_timeout (10s)",
        "shutdown.drain_timeout: 5s is shorter than upstream.total_timeout (10s)",
        "cache.settle_ttl: 30s is longer than cache.ttl (10s)",
    ];
    assert_warned(&found, &expected);
}

#[test]
fn a_tiny_cache_and_one_below_its_largest_entry_are_a_risk() {
    let small = "cache.max_bytes_per_tenant: 64KiB is a very small cache";
    assert_warned(&warnings("[cache]\nmax_bytes_per_tenant = \"64KiB\""), &[small]);
    let below = "cache.max_bytes_per_tenant: 64MiB is less than cache.max_entry_bytes (128MiB)";
    assert_warned(&warnings("[cache]\nmax_entry_bytes = \"128MiB\""), &[below]);
    let text = format!("{SAFE_TENANT}cache_max_bytes = \"1000B\"\n");
    let found = warnings_in(Path::new("g.toml"), &text, &[("KEY", "k")], None);
    assert_warned(&found, &["tenants[0].cache_max_bytes: 1000B is a very small cache"]);
}

#[test]
fn a_cache_that_may_store_nothing_is_a_risk() {
    let found = warnings("[cache]\ncacheable_statuses = []");
    assert_warned(&found, &["cache.cacheable_statuses: empty: no call is ever stored"]);
}

#[test]
fn caches_beyond_the_memory_limit_are_a_risk() {
    let file = Path::new("g.toml");
    let found = warnings_in(file, SAFE_TENANT, &[("KEY", "k")], Some(63 << 20));
    assert_warned(&found, &["cache.max_bytes_per_tenant: the caches of all tenants may grow to 64MiB, but"]);
    assert_warned(&warnings_in(file, SAFE_TENANT, &[("KEY", "k")], Some(64 << 20)), &[]);
}

#[test]
fn secrets_that_everyone_may_read_are_a_risk() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "k").unwrap();
    let text = SAFE_TENANT.replace("{ env = \"KEY\" }", "{ file = \"key\" }");
    let warnings = |mode: u32| {
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
        warnings_in(&folder.path().join("g.toml"), &text, &[], None)
    };
    assert_warned(&warnings(0o640), &[]);
    let found = warnings(0o644);
    assert_warned(&found, &["tenants[0].upstream_key: "]);
    assert!(found[0].contains("key has mode 0644, so every user may read it"), "{found:?}");
}

#[test]
fn expired_and_useless_certificates_are_a_risk() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    for (name, text) in [("crt", certified.cert.pem()), ("key", certified.signing_key.serialize_pem())] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = format!(
        "[listen]\naddress = \"unix:/run/a\"\ntls = {{ cert = \"crt\", key = \"key\" }}\n\
         [admin]\naddress = \"\"\ntls = {{ cert = \"crt\", key = \"key\" }}\n{SAFE_TENANT}"
    );
    let file = folder.path().join("g.toml");
    let variables = [("KEY".to_owned(), "k".to_owned())].into();
    let machine = Machine { now: Timestamp::MAX, memory_limit: None };
    let (_, found) = check_text(&file, text, &variables, Missing::Problem, machine).unwrap();
    let expected = [
        "listen.tls: no effect",
        "listen.tls.cert: the certificate expired",
        "admin.tls: no effect",
        "admin.tls.cert: the certificate expired",
    ];
    assert_warned(&found.warnings, &expected);
}

#[test]
fn keys_that_cross_the_network_unencrypted_are_a_risk() {
    let found = warnings("[upstream]\nbase_url = \"http://api.test\"\nallow_plaintext = true");
    assert_warned(&found, &["upstream.base_url: http:// sends the upstream keys unencrypted"]);
}

#[test]
fn a_variable_that_is_nearly_an_override_is_a_risk() {
    let text = SAFE_TENANT.replace("\"KEY\"", "\"CREDIRA_GATEWAY_KEY\"");
    let variables = [
        ("CREDIRA_GATEWAY_KEY", "k"),
        ("CREDIRA_GATEWAY_CACHE_TTL", "1h"),
        ("CREDIRA_GATEWAY_CONFIG", "g.toml"),
        ("CREDIRA_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("CREDIRA_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("CREDIRA_GATEWAY__EU_SERVICE_PORT_HTTP", "8080"),
    ];
    let found = warnings_in(Path::new("g.toml"), &text, &variables, None);
    assert_warned(&found, &["environment variable CREDIRA_GATEWAY_CACHE_TTL: overrides nothing"]);
}
