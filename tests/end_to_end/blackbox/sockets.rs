//! Listeners: TCP and Unix sockets, HTTP/2 without TLS, sockets passed by systemd.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{
    Client, Config, Finished, Gateway, Program, TOKENS, Upstream, listener, look_up_at_once, needed, program,
    runtime, write_config,
};

const PATH: &str = "/v1/calls/call_1";

/// A folder with room for sockets.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn listen(address: &str) -> Config {
    Config::default().with("listen", &format!("address = {address}"))
}

fn at(path: &Path) -> String {
    format!("\"unix:{}\"", path.display())
}

fn start(config: &Config, upstream: &Upstream) -> (Program, tempfile::NamedTempFile) {
    let file = write_config(&config.text(upstream.address()));
    let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    process.err_line("about the admin plane", |line| line.contains("\"plane\":\"admin\""));
    (process, file)
}

fn story_over(client: &mut Client) -> String {
    let response = client.get(PATH, TOKENS[0], &[]).read();
    assert_eq!(response.status, 200);
    response.story()
}

#[test]
fn tcp_and_unix_sockets_are_served_at_once_and_share_everything() {
    let upstream = Upstream::contract();
    let folder = folder();
    let [data, admin] = ["data.sock", "admin.sock"].map(|name| folder.path().join(name));
    let addresses = format!("[\"127.0.0.1:0\", {}, \"127.0.0.2:0\"]", at(&data));
    let config = listen(&addresses).with("admin", &format!("address = {}", at(&admin)));
    let (mut process, _file) = start(&config, &upstream);
    let tcp: Vec<SocketAddr> = process
        .err()
        .iter()
        .filter(|line| line.contains("\"plane\":\"data\""))
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["address"].as_str().unwrap().parse().ok()
        })
        .collect();
    assert_eq!(tcp.len(), 2);
    assert_eq!(story_over(&mut Client::unix(&data)), "fwd=uri-miss; fwd-status=200; stored; ttl");
    for address in tcp {
        assert_eq!(story_over(&mut Client::connect(address)), "hit; ttl");
    }
    let metrics = Client::unix(&admin).get("/metrics", "", &[]).read().text();
    assert!(metrics.contains("credira_gateway_cache_requests_total{outcome=\"hit\",tenant=\"alpha\"} 2"));
    assert_eq!(Client::unix(&admin).get("/api/v1/stats", "", &[]).read().status, 200);
    let healthy =
        Finished::of(&mut program(&["healthcheck", "--admin", &format!("unix:{}", admin.display())]));
    assert_eq!((healthy.code, healthy.out.as_str()), (0, "ready\n"));
    for file in [&data, &admin] {
        let mode = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o660, "owner and group only");
    }
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    assert!(!data.exists() && !admin.exists(), "it takes its files along");
}

#[test]
fn a_killed_processs_socket_is_replaced_and_a_served_one_is_not() {
    let upstream = Upstream::contract();
    let folder = folder();
    let path = folder.path().join("data.sock");
    let config = listen(&at(&path));
    let (first, _file) = start(&config, &upstream);
    first.signal("KILL");
    drop(first);
    assert!(path.exists(), "it was left");
    let (second, file) = start(&config, &upstream);
    assert_eq!(story_over(&mut Client::unix(&path)), "fwd=uri-miss; fwd-status=200; stored; ttl");
    let third = Finished::of(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    let said = third.err.lines().last().unwrap();
    assert_eq!(third.code, 1, "{third:?}");
    assert!(
        said.contains("cannot listen on unix:") && said.contains("another process serves this socket"),
        "{said}"
    );
    assert_eq!(story_over(&mut Client::unix(&path)), "hit; ttl", "the second goes on");
    drop(second);
}

/// Needs curl.
#[test]
fn curl_speaks_to_a_unix_socket_in_both_versions_of_http() {
    let upstream = Upstream::contract();
    let folder = folder();
    let path = folder.path().join("data.sock");
    let (_process, _file) = start(&listen(&at(&path)), &upstream);
    for (option, version) in [("--http1.1", "HTTP/1.1 200"), ("--http2-prior-knowledge", "HTTP/2 200")] {
        let mut curl = Command::new("curl");
        curl.args(["-si", option, "--unix-socket", path.to_str().unwrap()]);
        curl.args(["-H", &format!("Authorization: Bearer {}", TOKENS[0]), &format!("http://gateway{PATH}")]);
        let Some(output) = needed("curl", curl.output()) else { return };
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(version) && said.contains("\"call_1\""), "{option}: {said}");
    }
}

#[test]
fn http2_with_prior_knowledge_is_spoken_on_plain_sockets() {
    let upstream = Upstream::contract();
    let folder = folder();
    let path = folder.path().join("data.sock");
    let (process, _file) = start(&listen(&format!("[\"127.0.0.1:0\", {}]", at(&path))), &upstream);
    let address = listener(&process, "data");
    let ids: Vec<String> = (0..50).map(|number| format!("call_{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let first = look_up_at_once(stream, TOKENS[0], &ids).await;
        let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
        let second = look_up_at_once(stream, TOKENS[0], &ids).await;
        for ((status, headers), status_then) in second.iter().zip(first.iter().map(|(status, _)| *status)) {
            assert_eq!((*status, status_then), (200, 200));
            assert!(headers["cache-status"].to_str().unwrap().contains("; hit; ttl="));
            assert!(!headers.contains_key("connection"));
        }
    });
    assert_eq!(upstream.count(), ids.len());
}

#[test]
fn a_port_in_use_is_reported_before_anything_is_served() {
    let upstream = Upstream::contract();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = folder();
    let path = folder.path().join("data.sock");
    let addresses = format!("[{}, \"{}\"]", at(&path), taken.local_addr().unwrap());
    let file = write_config(&listen(&addresses).text(upstream.address()));
    let finished = Finished::of(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    assert_eq!(finished.code, 1, "{finished:?}");
    assert!(finished.err.lines().last().unwrap().contains("cannot listen on 127.0.0.1:"), "{finished:?}");
    assert!(!path.exists(), "the socket that could be opened was closed again, with its file");
}

/// Starts the program as systemd does: with two listening sockets, from descriptor 3 on.
fn start_with(sockets: [OwnedFd; 2], config: &Path) -> Program {
    let [third, fourth] = sockets;
    // A child's lowest descriptors are the easiest to pass to it.
    let script = "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" serve -c \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_credira-gateway"), config.to_str().unwrap()]).env_clear();
    Program::start_over(command.stdin(Stdio::from(third)).stdout(Stdio::from(fourth)))
}

#[test]
fn sockets_that_were_handed_over_are_served_and_left_in_place() {
    let upstream = Upstream::contract();
    let folder = folder();
    let path = folder.path().join("data.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let address = tcp.local_addr().unwrap();
    let config = listen(&format!("[\"{address}\", {}]", at(&path)));
    let file = write_config(&config.text(upstream.address()));
    let (kept_tcp, kept_unix) = (tcp.try_clone().unwrap(), unix.try_clone().unwrap());
    let mut process = start_with([tcp.into(), unix.into()], file.path());
    assert_eq!(story_over(&mut Client::connect(address)), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(story_over(&mut Client::unix(&path)), "hit; ttl");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
    assert!(path.exists(), "the file is systemd's");
    // Clients that connect between two processes wait for the next one.
    let mut early = Client::connect(address);
    early.get(PATH, TOKENS[0], &[]);
    let _next = start_with([kept_tcp.into(), kept_unix.into()], file.path());
    assert_eq!(early.read().status, 200);
}

#[test]
fn unused_inherited_sockets_are_reported() {
    let upstream = Upstream::contract();
    let (tcp, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let connected = std::os::unix::net::UnixStream::pair().unwrap().0;
    let (address, unasked) = (tcp.local_addr().unwrap(), other.local_addr().unwrap());
    let file = write_config(&listen(&format!("\"{address}\"")).text(upstream.address()));
    let process = start_with([tcp.into(), other.into()], file.path());
    let line = process.err_line("about the other socket", |line| line.contains("it is not served"));
    assert!(line.contains(&unasked.to_string()), "{line}");
    drop(process);
    let file = write_config(&listen(&format!("\"{address}\"")).text(upstream.address()));
    let tcp = TcpListener::bind(address).unwrap();
    let process = start_with([tcp.into(), connected.into()], file.path());
    process.err_line("about the odd descriptor", |line| line.contains("Use ListenStream= with Accept=no"));
    // An address that almost fits is named in the error.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let any = taken.local_addr().unwrap();
    let almost = SocketAddr::from(([127, 0, 0, 1], any.port()));
    let file = write_config(&listen(&format!("\"{almost}\"")).text(upstream.address()));
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut process = start_with([taken.into(), spare.into()], file.path());
    assert_eq!(process.wait().code(), Some(1));
    let said = process.err().join("\n");
    assert!(said.contains(&format!("systemd handed over {any}, which the configuration may mean")), "{said}");
}

/// Needs systemd-socket-activate, of Debian's package `systemd`.
#[test]
fn systemd_activates_it_by_its_sockets() {
    let upstream = Upstream::contract();
    let folder = folder();
    let path: PathBuf = folder.path().join("data.sock");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = listen(&format!("[\"{address}\", {}]", at(&path)));
    let file = write_config(&config.text(upstream.address()));
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &address.to_string(), "-l", path.to_str().unwrap()]);
    command.args([env!("CARGO_BIN_EXE_credira-gateway"), "serve", "-c", file.path().to_str().unwrap()]);
    if needed("systemd-socket-activate", Command::new("systemd-socket-activate").arg("--version").output())
        .is_none()
    {
        return;
    }
    let mut process = Program::start(command.env_clear());
    process.err_line("about the socket", |line| line.contains("Listening on") && line.contains("data.sock"));
    // The first client starts the program.
    assert_eq!(story_over(&mut Client::connect(address)), "fwd=uri-miss; fwd-status=200; stored; ttl");
    assert_eq!(story_over(&mut Client::unix(&path)), "hit; ttl");
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(0));
}

/// A process whose memory is protected from its own user has `/proc` files owned by the superuser.
// T71.
#[test]
fn its_memory_is_unreadable_and_it_leaves_no_core() {
    let upstream = Upstream::contract();
    let folder = folder();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let config = folder.path().join("gateway.toml");
    std::fs::write(&config, Config::default().text(upstream.address())).unwrap();
    open(&config, 0o644);
    let binary = folder.path().join("credira-gateway");
    std::fs::copy(env!("CARGO_BIN_EXE_credira-gateway"), &binary).unwrap();
    let mut command = Command::new(&binary);
    command.args(["serve", "-c", config.to_str().unwrap()]).env_clear();
    let us = std::fs::metadata("/proc/self").unwrap().uid();
    let runs_as = if us == 0 { 65_534 } else { us };
    if us == 0 {
        command.uid(runs_as);
    }
    let process = Program::start(&mut command);
    let admin = listener(&process, "admin");
    let entry = PathBuf::from(format!("/proc/{}", process.id()));
    for secret in ["environ", "mem", "maps"] {
        assert_ne!(std::fs::metadata(entry.join(secret)).unwrap().uid(), runs_as, "{secret}");
    }
    let limits = std::fs::read_to_string(entry.join("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..], ["0", "0", "bytes"], "{core}");
    // It can still count itself.
    let metrics = Client::connect(admin).get("/metrics", "", &[]).read().text();
    let descriptors = metrics.lines().find_map(|line| line.strip_prefix("process_open_fds ")).unwrap();
    assert!(descriptors.parse::<u32>().unwrap() > 5);
}

#[test]
fn a_reload_cannot_move_sockets() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let folder = folder();
    let answer = gateway.reload(&listen(&at(&folder.path().join("data.sock"))));
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("listen.address: changing it needs a restart"), "{}", answer.text());
}

#[test]
fn the_same_port_is_served_for_ipv4_and_ipv6_by_a_socket_each() {
    let upstream = Upstream::contract();
    let free = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    for addresses in
        [format!("[\"0.0.0.0:{free}\", \"[::]:{free}\"]"), format!("[\"[::]:{free}\", \"0.0.0.0:{free}\"]")]
    {
        let (mut process, _file) = start(&listen(&addresses), &upstream);
        for address in [format!("127.0.0.1:{free}"), format!("[::1]:{free}")] {
            let mut client = Client::connect(address.parse().unwrap());
            assert_eq!(client.get(PATH, TOKENS[0], &[]).read().status, 200, "{addresses}");
        }
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
    }
    // The admin plane may use the other address family of a port.
    let config = listen(&format!("\"0.0.0.0:{free}\"")).with("admin", &format!("address = \"[::]:{free}\""));
    let (_process, _file) = start(&config, &upstream);
    let mut client = Client::connect(format!("[::1]:{free}").parse().unwrap());
    assert_eq!(client.get("/livez", "", &[]).read().status, 200);
    // Alone, it accepts clients of both families.
    let (process, _file) = start(&listen("\"[::]:0\""), &upstream);
    let port = crate::support::listener(&process, "data").port();
    let mut client = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(client.get(PATH, TOKENS[0], &[]).read().status, 200);
}
