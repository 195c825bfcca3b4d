//! The systemd units and the configuration that comes with them.

use std::path::PathBuf;
use std::process::Command;

use crate::project::{check_configuration, is_content, path, text, words};
use crate::support::needed;

const SERVICE: &str = "deploy/systemd/credira-gateway.service";
const SOCKET: &str = "deploy/systemd/credira-gateway.socket";

/// The values of a key in a unit, in order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let text = text(unit);
    let prefix = format!("{key}=");
    text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// Copies of the units in which the program is where it was built.
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
    assert_eq!(values(SERVICE, "RestartPreventExitStatus"), ["78"]);
    assert_eq!(values(SERVICE, "LoadCredential"), ["secrets:/etc/credira-gateway/secrets"]);
}

#[test]
fn the_services_configuration_is_valid_and_finds_its_secrets_where_systemd_puts_them() {
    let text = text("deploy/systemd/gateway.toml");
    let checked = check_configuration(&text, "/run/credentials/credira-gateway.service");
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
