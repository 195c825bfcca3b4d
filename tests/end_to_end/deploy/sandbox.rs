//! The system calls that the program makes, compared with those that its unit allows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::deploy::project::text;
use crate::support::{Client, Config, Program, TOKENS, Upstream, eventually, needed, write_config};

const SERVICE: &str = "deploy/systemd/credira-gateway.service";

fn values(key: &str) -> Vec<String> {
    let prefix = format!("{key}=");
    text(SERVICE).lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect()
}

/// The system calls that the unit allows. `None` where systemd-analyze is missing.
fn allowed() -> Option<BTreeSet<String>> {
    let output = needed("systemd-analyze", Command::new("systemd-analyze").arg("syscall-filter").output())?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut group = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.strip_prefix("    ") {
            Some(member) if member.starts_with('#') => {}
            Some(member) => groups.entry(group.clone()).or_default().push(member.trim().to_owned()),
            None => group = line.trim().to_owned(),
        }
    }
    let mut allowed = BTreeSet::new();
    for filter in values("SystemCallFilter") {
        let (names, forbids) = match filter.strip_prefix('~') {
            Some(names) => (names, true),
            None => (filter.as_str(), false),
        };
        let members = names.split(' ').flat_map(|name| expand(name, &groups)).collect::<BTreeSet<_>>();
        assert!(!members.is_empty(), "{filter}");
        if forbids {
            allowed.retain(|name| !members.contains(name));
        } else {
            allowed.extend(members);
        }
    }
    Some(allowed)
}

fn expand(name: &str, groups: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    match groups.get(name) {
        Some(members) => members.iter().flat_map(|member| expand(member, groups)).collect(),
        None => vec![name.to_owned()],
    }
}

/// What strace wrote: the names of the calls, and the families of the sockets.
fn asked(trace: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut calls, mut families) = (BTreeSet::new(), BTreeSet::new());
    for line in trace.lines() {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let rest = rest.strip_prefix("<... ").unwrap_or(rest);
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            calls.insert(name);
        }
        if let Some(arguments) = rest.strip_prefix("socket(") {
            families.insert(arguments.split(',').next().unwrap().to_owned());
        }
    }
    (calls, families)
}

fn listener(gateway: &Program, plane: &str) -> std::net::SocketAddr {
    let line = gateway.err_line("about a listener", |line| line.contains(&format!("\"plane\":\"{plane}\"")));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    line["address"].as_str().unwrap().parse().unwrap()
}

/// Needs strace and systemd-analyze.
#[test]
fn the_program_makes_no_system_call_that_its_unit_forbids() {
    let Some(allowed) = allowed() else { return };
    let Some(_) = needed("strace", Command::new("strace").arg("--version").output()) else { return };
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let manager = std::os::unix::net::UnixDatagram::bind(folder.path().join("notify")).unwrap();
    let trace = folder.path().join("trace");
    // By name, so that the resolver runs.
    let by_name = format!("base_url = \"http://localhost:{}\"", upstream.address().port());
    let file = write_config(&Config::default().with("upstream", &by_name).text(upstream.address()));

    let mut command = Command::new("strace");
    // Behind the program, so that signals are for the program.
    command.args(["--daemonize", "--follow-forks", "--quiet=all", "--output"]).arg(&trace);
    command.args([env!("CARGO_BIN_EXE_credira-gateway"), "serve", "--config"]).arg(file.path());
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "1000000");
    let mut gateway = Program::start(&mut command);
    let (data, admin) = (listener(&gateway, "data"), listener(&gateway, "admin"));
    for id in ["call_1", "call_1", "call_missing1"] {
        Client::connect(data).get(&format!("/v1/calls/{id}"), TOKENS[0], &[]).read();
    }
    for path in ["/metrics", "/readyz", "/api/v1/stats"] {
        assert_eq!(Client::connect(admin).get(path, "", &[]).read().status, 200, "{path}");
    }
    gateway.signal("HUP");
    gateway.err_line("about a reload", |line| line.contains("reloaded"));
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    drop(manager);
    eventually("strace has written all", || std::fs::read_to_string(&trace).unwrap().contains("exit_group"));

    let (mut calls, families) = asked(&trace);
    assert!(calls.len() > 30 && calls.contains("epoll_wait"), "{calls:?}");
    // That is systemd's own part.
    calls.remove("execve");
    let forbidden: Vec<_> = calls.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "the unit forbids {forbidden:?}");

    let known = values("RestrictAddressFamilies").remove(0);
    let known: BTreeSet<_> = known.split(' ').map(str::to_owned).collect();
    assert!(families.is_subset(&known), "{families:?} are not all in {known:?}");
}
