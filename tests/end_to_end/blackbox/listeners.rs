//! Settings of individual listeners: TLS, the mode of a socket file, which clients are local.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Authority, Client, Config, Finished, Program, TOKENS, Upstream, program, write_config};

const NAME: &str = "localhost";
const PATH: &str = "/v1/calls/call_1";

/// A running gateway, with the listeners in its log.
struct Listening {
    process: Program,
    file: tempfile::NamedTempFile,
}

impl Listening {
    /// Waits until this many listeners of the admin plane, which come last, are logged.
    fn start(config: &Config, upstream: &Upstream, admin_listeners: usize) -> Self {
        let file = write_config(&config.text(upstream.address()));
        let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
        let listening = Self { process, file };
        crate::support::eventually("all listeners", || listening.addresses("admin").len() == admin_listeners);
        listening
    }

    /// The addresses of a plane.
    fn addresses(&self, plane: &str) -> Vec<String> {
        let of_plane = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).ok()?;
            let listens = line["message"] == "listening" && line["plane"] == plane;
            listens.then(|| line["address"].as_str().unwrap().to_owned())
        };
        self.process.err().iter().filter_map(of_plane).collect()
    }

    /// The TCP addresses of a plane.
    fn tcp(&self, plane: &str) -> Vec<SocketAddr> {
        self.addresses(plane).iter().filter_map(|address| address.parse().ok()).collect()
    }
}

fn tls(folder: &Path, authority: &Authority) -> String {
    let (cert, key) = authority.certify(&[NAME, "127.0.0.1"]).write(folder);
    format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
}

fn unix(path: &Path) -> String {
    format!("\"unix:{}\"", path.display())
}

#[test]
fn a_unix_socket_stays_plain_beside_a_tls_port_on_both_planes() {
    let (upstream, authority) = (Upstream::contract(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let [data, admin] = ["data.sock", "admin.sock"].map(|name| folder.path().join(name));
    let tls = tls(folder.path(), &authority);
    let config = Config::default()
        .with("listen", &format!("address = [\"127.0.0.1:0\", {}]\n{tls}", unix(&data)))
        .with("admin", &format!("address = [{}, \"127.0.0.1:0\"]\n{tls}", unix(&admin)));
    let listening = Listening::start(&config, &upstream, 2);
    let trusting = authority.client(None, &[]);
    let [tcp] = listening.tcp("data")[..] else { panic!("one TCP address") };
    let mut client = Client::tls(tcp, trusting.clone(), NAME).unwrap();
    assert_eq!(client.get(PATH, TOKENS[0], &[]).read().status, 200);
    assert_eq!(Client::unix(&data).get(PATH, TOKENS[0], &[]).read().story(), "hit; ttl");
    let [tcp] = listening.tcp("admin")[..] else { panic!("one TCP address") };
    let mut client = Client::tls(tcp, trusting, NAME).unwrap();
    assert_eq!(client.get("/livez", "", &[]).read().status, 200);
    assert_eq!(Client::unix(&admin).get("/livez", "", &[]).read().status, 200);
}

#[test]
fn the_commands_trust_the_certificate_of_the_admin_plane() {
    let (upstream, authority) = (Upstream::contract(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let tls = tls(folder.path(), &authority);
    let config = Config::default().with("admin", &tls);
    let listening = Listening::start(&config, &upstream, 1);
    let [tcp] = listening.tcp("admin")[..] else { panic!("one TCP address") };
    let path = listening.file.path().to_str().unwrap();
    let run = |arguments: &[&str]| {
        let address = format!("https://{NAME}:{}", tcp.port());
        Finished::of(&mut program(&[arguments, &["--config", path, "--admin", &address]].concat()))
    };
    let healthy = run(&["healthcheck"]);
    assert_eq!((healthy.code, healthy.out.as_str()), (0, "ready\n"), "{healthy:?}");
    assert_eq!(run(&["reload"]).code, 0);
}

#[test]
fn a_reload_reads_the_admin_planes_certificate_again_and_cannot_turn_tls_off() {
    let (upstream, first, second) = (Upstream::contract(), Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let config = Config::default().with("admin", &tls(folder.path(), &first));
    let listening = Listening::start(&config, &upstream, 1);
    let [tcp] = listening.tcp("admin")[..] else { panic!("one TCP address") };
    let reload = |authority: &Authority| {
        let mut client = Client::tls(tcp, authority.client(None, &[]), NAME).unwrap();
        client.request("POST", "/api/v1/reload", "", &[]).read()
    };
    second.certify(&[NAME]).write(folder.path());
    assert_eq!(reload(&first).status, 200);
    assert!(Client::tls(tcp, first.client(None, &[]), NAME).is_err(), "the old certificate is gone");
    let plain = Config::default().with("listen", "socket_mode = \"0600\"");
    std::fs::write(listening.file.path(), plain.text(upstream.address())).unwrap();
    let refused = reload(&second);
    assert_eq!(refused.status, 422);
    for key in ["admin.tls", "listen.socket_mode"] {
        let line = format!("{key}: changing it needs a restart");
        assert!(refused.text().contains(&line), "{}", refused.text());
    }
}

#[test]
fn without_a_token_the_api_answers_on_local_addresses_only() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let addresses = format!("address = [\"0.0.0.0:0\", \"127.0.0.1:0\", {}]", unix(&socket));
    let listening = Listening::start(&Config::default().with("admin", &addresses), &upstream, 3);
    let status = |mut client: Client| client.get("/api/v1/stats", "", &[]).read().status;
    let [open, local] = listening.tcp("admin")[..] else { panic!("two TCP addresses") };
    assert_eq!(status(Client::connect(SocketAddr::from(([127, 0, 0, 1], open.port())))), 403);
    assert_eq!(status(Client::connect(local)), 200);
    assert_eq!(status(Client::unix(&socket)), 200);
    let ready = Client::connect(local).get("/readyz?verbose", "", &[]).read().text();
    for address in listening.addresses("admin") {
        assert!(ready.contains(&format!("[+] admin listener: {address}\n")), "{ready}");
    }
}

#[test]
fn socket_files_of_both_planes_have_the_configured_mode() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let [data, admin] = ["data.sock", "admin.sock"].map(|name| folder.path().join(name));
    for (mode, bits) in [("0600", 0o600), ("0777", 0o777)] {
        let config = Config::default()
            .with("listen", &format!("address = {}\nsocket_mode = \"{mode}\"", unix(&data)))
            .with("admin", &format!("address = {}", unix(&admin)));
        let mut listening = Listening::start(&config, &upstream, 1);
        for file in [&data, &admin] {
            let found = std::fs::metadata(file).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, bits, "{mode}");
        }
        listening.process.signal("TERM");
        assert_eq!(listening.process.wait().code(), Some(0));
    }
}
