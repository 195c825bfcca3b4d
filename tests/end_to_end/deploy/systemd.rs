//! The systemd units and the configuration that comes with them.

use std::path::PathBuf;
use std::process::Command;

use crate::deploy::project::{check_configuration, is_content, path, text, words};
use crate::support::{Config, Finished, Upstream, needed};

const SERVICE: &str = "deploy/systemd/credira-gateway.service";
const SOCKET: &str = "deploy/systemd/credira-gateway.socket";

/// The values of a key in a unit, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = text(unit);
    let prefix = format!("{key}=");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// Copies of the units with the path of the built program.
fn units(folder: &tempfile::TempDir) -> [PathBuf; 2] {
    [SERVICE, SOCKET].map(|unit| {
        let copy = folder.path().join(unit.rsplit('/').next().unwrap());
        let text = text(unit).replace("/usr/bin/credira-gateway", env!("CARGO_BIN_EXE_credira-gateway"));
        std::fs::write(&copy, text).unwrap();
        copy
    })
}

/// Needs systemd-analyze.
#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().unwrap();
    // Without its package, the manual page that the units name is not installed.
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).args(units(&folder));
    let Some(output) = needed("systemd-analyze", command.output()) else { return };
    let said = words(&output);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Needs systemd-analyze.
#[test]
fn the_service_is_exposed_to_less_than_2_of_10() {
    let mut command = Command::new("systemd-analyze");
    is_content(command.args(["security", "--offline=true", "--threshold=19"]).arg(path(SERVICE)));
}

#[test]
fn the_sockets_are_those_of_the_configuration() {
    let configuration: toml::Table = text("deploy/systemd/gateway.toml").parse().unwrap();
    let addresses =
        ["listen", "admin"].map(|plane| configuration[plane]["address"].as_str().unwrap().to_owned());
    assert_eq!(values(SOCKET, "ListenStream"), addresses);
}

#[test]
fn the_service_runs_the_installed_program_with_the_installed_configuration() {
    assert_eq!(
        values(SERVICE, "ExecStart"),
        ["/usr/bin/credira-gateway serve --config /etc/credira-gateway/gateway.toml"]
    );
    assert_eq!(values(SERVICE, "Type"), ["notify"]);
    // Fails for a rejected configuration, which a signal could not report.
    assert_eq!(
        values(SERVICE, "ExecReload"),
        ["/usr/bin/credira-gateway reload --config /etc/credira-gateway/gateway.toml"]
    );
}

#[test]
fn the_service_is_restarted_whatever_ended_it_but_a_wrong_configuration() {
    assert_eq!(values(SERVICE, "Restart"), ["always"]);
    assert_eq!(values(SERVICE, "StartLimitIntervalSec"), ["0"]);
    assert_eq!(values(SERVICE, "RestartPreventExitStatus"), ["78"]);
}

#[test]
fn the_service_reads_its_secrets_from_files_that_a_reload_reads_again() {
    let configuration = text("deploy/systemd/gateway.toml");
    assert!(configuration.contains("{ file = \"/etc/credira-gateway/secrets/upstream-key-billing\" }"));
    assert!(!configuration.contains("/run/credentials"), "copies, made when the service starts");
    // A user that exists before the service starts, so that a file can belong to its group.
    assert_eq!(values(SERVICE, "User"), ["credira-gateway"]);
    assert!(values(SERVICE, "DynamicUser").is_empty());
    assert!(text("deploy/systemd/credira-gateway.sysusers").contains("\nu credira-gateway "));
    assert!(text("deploy/debian/secrets.README").contains("install -m 0640 -g credira-gateway"));
    // Configurations of 0.1.0 still find theirs.
    assert_eq!(values(SERVICE, "LoadCredential"), ["secrets:/etc/credira-gateway/secrets"]);
}

#[test]
fn the_units_reload_puts_a_rotated_secret_in_force_and_fails_for_a_refused_configuration() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("upstream-key-billing");
    std::fs::write(&secret, "the-key-before").unwrap();
    let key = format!("upstream_key = {{ file = \"{}\" }}", secret.display());
    let gateway = Config::default().tenant(0, &key).start(&upstream);
    let key_of = |id: &str| {
        assert_eq!(gateway.get(id).status, 200);
        let seen = upstream.seen();
        seen.last().unwrap().header("authorization").unwrap().to_owned()
    };
    assert_eq!(key_of("call_1"), "Bearer the-key-before");

    std::fs::write(&secret, "the-key-after").unwrap();
    let reload = || {
        let line = values(SERVICE, "ExecReload").remove(0);
        let words = line.split(' ').skip(1).map(|word| match word {
            "/etc/credira-gateway/gateway.toml" => gateway.config_path().to_str().unwrap().to_owned(),
            word => word.to_owned(),
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_credira-gateway"));
        // As /etc/default/credira-gateway would set it.
        command.args(words).env("CREDIRA_GATEWAY__ADMIN__ADDRESS", gateway.admin.to_string());
        Finished::of(&mut command)
    };
    assert_eq!(reload().code, 0);
    assert_eq!(key_of("call_2"), "Bearer the-key-after");

    gateway.rewrite("[cache]\ntll = \"1h\"\n");
    let refused = reload();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("cache.tll"), "{refused:?}");
    assert_eq!(key_of("call_3"), "Bearer the-key-after");
}

#[test]
fn the_services_configuration_is_valid() {
    let text = text("deploy/systemd/gateway.toml");
    let checked = check_configuration(&text, "/etc/credira-gateway/secrets");
    assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{checked:?}");
}

#[test]
fn the_service_is_given_time_to_drain() {
    let stop = values(SERVICE, "TimeoutStopSec").remove(0);
    let stop: u64 = stop.strip_suffix('s').unwrap().parse().unwrap();
    let defaults: toml::Table = text("config/gateway.toml").parse().unwrap();
    let drain = defaults["shutdown"]["drain_timeout"].as_str().unwrap();
    let drain: u64 = drain.strip_suffix('s').unwrap().parse().unwrap();
    assert!(stop > drain);
}
