//! The upstream's name, as the system's own resolver finds it.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Client, Config, Program, TOKENS, Upstream, listener, needed, write_config};

const NAME: &str = "upstream.test";

/// Starts the program with only `hosts` to resolve names.
fn start_among(hosts: &Path, config: &Path) -> Option<Program> {
    let folder = tempfile::tempdir().unwrap();
    let switch = folder.path().join("nsswitch.conf");
    std::fs::write(&switch, "hosts: files\n").unwrap();
    let script = "mount --bind \"$1\" /etc/hosts && mount --bind \"$2\" /etc/nsswitch.conf && exec \"$0\" serve -c \"$3\"";
    let isolated = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "--"]).args(arguments);
        command
    };
    needed(
        "unshare",
        isolated(&["true"]).output().and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(std::io::Error::other("namespaces can't be made")),
        }),
    )?;
    let binary = env!("CARGO_BIN_EXE_credira-gateway");
    let [hosts, switch, config] = [hosts, &switch, config].map(|path| path.to_str().unwrap());
    let process = Program::start(&mut isolated(&["sh", "-c", script, binary, hosts, switch, config]));
    process.err_line("about a listener", |line| line.contains("\"plane\":\"admin\""));
    Some(process)
}

/// Needs unshare, of Debian's package `util-linux`, and the right to use it.
// F14.
#[test]
fn a_name_that_is_not_found_is_502_at_once_and_asked_for_again_each_time() {
    let upstream = Upstream::contract();
    let mut hosts = tempfile::NamedTempFile::new().unwrap();
    let lines = format!("base_url = \"http://{NAME}:{}\"\nallow_plaintext = true", upstream.address().port());
    let config = write_config(&Config::default().with("upstream", &lines).text(upstream.address()));
    let Some(process) = start_among(hosts.path(), config.path()) else { return };
    let mut client = Client::connect(listener(&process, "data"));
    let start = Instant::now();
    let answer = client.get("/v1/calls/call_1", TOKENS[0], &[]).read();
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    writeln!(hosts, "127.0.0.1 {NAME}").unwrap();
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    assert_eq!(upstream.count(), 1);
}
