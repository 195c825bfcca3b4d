//! The admin listener: metrics and health.

use std::process::{Command, Stdio};

use crate::support::{Client, Config, Finished, Gateway, TOKENS, Upstream, program};

#[test]
fn health_has_a_status_and_a_text() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for (path, text) in [("/livez", "ok\n"), ("/readyz", "ready\n")] {
        let response = gateway.admin(path);
        assert_eq!((response.status, response.text().as_str()), (200, text), "{path}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
    let elsewhere = gateway.admin("/nowhere");
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (404, "NOT_FOUND"));
    let posted = Client::connect(gateway.admin).request("POST", "/metrics", "", &[]).read();
    assert_eq!((posted.status, posted.code().as_str()), (405, "METHOD_NOT_ALLOWED"));
    assert!(posted.header("allow").is_some());
}

#[test]
fn readiness_never_depends_on_the_upstream() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&Config::default(), port);
    assert_eq!(gateway.get("call_1").status, 502);
    assert_eq!(gateway.admin("/readyz").status, 200);
}

// T78.
#[test]
fn the_planes_do_not_mix() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for path in ["/metrics", "/livez", "/readyz"] {
        assert_eq!(gateway.connect().get(path, TOKENS[0], &[]).read().status, 404, "{path}");
    }
    assert_eq!(Client::connect(gateway.admin).get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 404);
    assert_eq!(upstream.count(), 0);
}

#[test]
fn the_healthcheck_command_asks_readyz() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let address = gateway.admin.to_string();
    let healthy = Finished::of(&mut program(&["healthcheck", "--admin", &address]));
    assert_eq!((healthy.code, healthy.out.as_str()), (0, "ready\n"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let gone = Finished::of(&mut program(&["healthcheck", "--admin", &closed]));
    assert_eq!((gone.code, gone.out.as_str()), (1, ""));
    assert!(gone.err.contains("cannot connect") && gone.err.lines().count() == 1, "{}", gone.err);
}

#[test]
fn the_healthcheck_command_reads_the_address_from_the_configuration_and_no_secret() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let text = format!(
        "[admin]\naddress = \"{}\"\n[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"{}\"]\nupstream_key = {{ file = \"/no/such\" }}\n",
        gateway.admin,
        "0".repeat(64)
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let healthy = Finished::of(&mut program(&["healthcheck", "--config", file.path().to_str().unwrap()]));
    assert_eq!((healthy.code, healthy.err.as_str()), (0, ""));
    std::fs::write(file.path(), "[admin]\naddress = \"\"\n").unwrap();
    let off = Finished::of(&mut program(&["healthcheck", "--config", file.path().to_str().unwrap()]));
    assert!(off.code == 1 && off.err.contains("turned off"), "{off:?}");
}

#[test]
fn without_an_admin_address_there_is_no_admin_listener() {
    let upstream = Upstream::contract();
    let file = crate::support::write_config(
        &Config::default().with("admin", "address = \"\"").text(upstream.address()),
    );
    let process =
        crate::support::Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    process.err_line("about the data plane", |line| line.contains("\"plane\":\"data\""));
    assert!(!process.err().join("\n").contains("\"plane\":\"admin\""));
}

#[test]
fn the_processes_own_figures_are_exported() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let response = gateway.admin("/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = response.text();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}");
    }
    assert_eq!(
        gateway.metric(&format!(
            "build_info{{revision=\"{}\",version=\"{}\"}}",
            revision(),
            env!("CARGO_PKG_VERSION")
        )),
        1.0
    );
}

fn revision() -> String {
    let version = Finished::of(&mut program(&["--version"])).out;
    version.split(['(', ')']).nth(1).expect("a revision").to_owned()
}

/// Needs promtool, of Debian's package `prometheus`.
#[test]
fn promtool_finds_nothing_to_complain_of() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for id in ["call_1", "call_1", "call_missing1", "call_progress1", "nonsense"] {
        gateway.get(id);
    }
    let text = gateway.admin("/metrics").body;
    let check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Some(mut check) = crate::support::needed("promtool", check) else { return };
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), &text).unwrap();
    let output = check.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
