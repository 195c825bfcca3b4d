//! `demo --fleet`: two gateways and an engine, and the lines that it prints.

use std::path::Path;
use std::process::Command;

use crate::support::{Program, eventually, needed, program};

/// The demo, with programs from this `PATH`.
fn start(path: &str) -> Program {
    let demo = Program::start(program(&["demo", "--fleet"]).env("PATH", path));
    eventually("the guide", || demo.out().iter().any(|line| line.contains("Ctrl-C ends the demo")));
    demo
}

fn path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

/// Runs the lines that it prints, and returns what they print.
fn run_lines(demo: &Program) -> Option<Vec<String>> {
    needed("curl", Command::new("curl").arg("--version").output())?;
    let lines = demo.out().into_iter().filter(|line| line.starts_with("curl "));
    let run = |line: String| {
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(output.status.success(), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        // JSON is compared without white space.
        serde_json::from_str(&text).map_or(text, |json: serde_json::Value| json.to_string())
    };
    Some(lines.map(run).collect())
}

/// The processes whose command line has this text.
fn processes_with(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

/// Needs redis-server and curl.
#[test]
fn the_fleets_demo_shows_one_fetch_for_two_gateways_and_a_purge_that_reaches_both() {
    if needed("redis-server", Command::new("redis-server").arg("--version").output()).is_none() {
        return;
    }
    for signal in ["INT", "TERM"] {
        let mut demo = start(&path());
        let line = demo.out().into_iter().find(|line| line.starts_with("engine  ")).unwrap();
        let socket = line.rsplit(" on ").next().unwrap().to_owned();
        let directory = Path::new(&socket).parent().unwrap().to_owned();
        assert_eq!(processes_with(directory.to_str().unwrap()), 1, "the engine");
        let Some(outputs) = run_lines(&demo) else { return };
        for (output, expected) in outputs.iter().zip([
            "fwd=uri-miss; fwd-status=200; stored",
            "detail=shared",
            "code=\"200\",tenant=\"billing\"} 1\n",
            "\"gateways\":{\"done\":2,\"silent\":[],\"told\":2}",
            "fwd=uri-miss; fwd-status=200; stored",
            "credira_gateway_fleet_gateways 2\n",
        ]) {
            assert!(output.contains(expected), "{expected} in\n{output}");
        }
        assert_eq!(outputs.len(), 6);
        assert!(outputs[2].lines().any(|line| line.ends_with(" 0")), "{}", outputs[2]);
        demo.signal(signal);
        assert_eq!(demo.wait().code(), Some(0));
        assert_eq!(demo.err(), [""; 0], "nothing is worth a line, the end included");
        assert_eq!(processes_with(directory.to_str().unwrap()), 0, "the engine ends with the demo");
        assert!(!directory.exists());
    }
}

/// Needs curl.
#[test]
fn without_an_engine_the_fleets_demo_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = start(folder.path().to_str().unwrap());
    let guide = demo.out().join("\n");
    for text in [
        "engine               none",
        "Neither valkey-server nor redis-server is on the PATH, so these two gateways share nothing.",
        "apt install redis-server",
    ] {
        assert!(guide.contains(text), "{text} in\n{guide}");
    }
    let Some(outputs) = run_lines(&demo) else { return };
    let miss = "fwd=uri-miss; fwd-status=200; stored";
    for (output, expected) in
        outputs.iter().zip([miss, miss, "} 1\n", "{\"purged\":1}", "credira-gateway; hit"])
    {
        assert!(output.contains(expected), "{expected} in\n{output}");
    }
    assert_eq!(outputs.len(), 5);
    demo.signal("INT");
    assert_eq!(demo.wait().code(), Some(0));
}

#[test]
fn an_engine_that_cannot_run_ends_the_demo_with_one_clear_line() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let server = folder.path().join("redis-server");
    std::fs::write(&server, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = program(&["demo", "--fleet"]);
    let finished =
        crate::support::Finished::of(command.env("PATH", folder.path()).env("TMPDIR", folder.path()));
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.err.contains("redis-server ended: exit status: 3"), "{finished:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "its directory is removed");
}
