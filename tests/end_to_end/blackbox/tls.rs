//! TLS on both sides: to clients, optionally with client certificates, and to the upstream, which is always verified
//! before any byte of a request is sent.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use crate::support::{
    Authority, Certified, Client, Config, Gateway, Http2Upstream, KEYS, Response, Says, TOKENS, Upstream,
    Validity, call_reply, eventually, look_up_at_once, needed, runtime,
};

const PATH: &str = "/v1/calls/call_1";
/// The name in the gateway's own certificate.
const NAME: &str = "gateway.test";

/// A listener with this certificate, written to `folder`; with `clients`, only for clients that they certified.
fn listening(folder: &Path, certified: &Certified, clients: Option<&Authority>) -> Config {
    let (cert, key) = certified.write(folder);
    let clients = clients.map(|authority| format!(", client_ca = \"{}\"", authority.write(folder).display()));
    let tls = format!(
        "tls = {{ cert = \"{}\", key = \"{}\"{} }}",
        cert.display(),
        key.display(),
        clients.unwrap_or_default()
    );
    Config::default().with("listen", &tls)
}

fn lookup(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<Option<Response>> {
    let mut client = Client::tls(address, Arc::clone(config), NAME)?;
    Ok(client.get(PATH, TOKENS[0], &[]).try_read())
}

#[track_caller]
fn is_served(address: SocketAddr, config: &Arc<ClientConfig>) {
    assert_eq!(lookup(address, config).unwrap().unwrap().status, 200);
}

/// In TLS 1.3 a client learns only after its handshake that its certificate was refused.
#[track_caller]
fn is_refused(address: SocketAddr, config: &Arc<ClientConfig>) {
    if let Ok(Some(response)) = lookup(address, config) {
        panic!("it was served: {response:?}");
    }
}

#[test]
fn tls_is_spoken_with_http_1_and_2_as_the_client_chooses() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let gateway = listening(folder.path(), &authority.certify(&[NAME]), None).start(&upstream);
    for protocols in [&[][..], &["http/1.1"]] {
        is_served(gateway.data, &authority.client(None, protocols));
    }
    let config = authority.client(None, &["h2", "http/1.1"]);
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(gateway.data).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect(NAME.try_into().unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let answers = look_up_at_once(stream, TOKENS[0], &["call_1", "call_2", "call_missing1"]).await;
        assert_eq!(answers.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 404]);
        assert!(answers[0].1["cache-status"].to_str().unwrap().contains("; hit; ttl="));
    });
    // Clients that trust another authority reject it, and so does a request for another name.
    assert!(lookup(gateway.data, &Authority::new().client(None, &[])).is_err());
    assert!(Client::tls(gateway.data, authority.client(None, &[]), "other.test").is_err());
}

/// Needs curl.
#[test]
fn curl_speaks_tls_in_both_versions_of_http() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let gateway = listening(folder.path(), &authority.certify(&[NAME]), None).start(&upstream);
    let ca = authority.write(folder.path());
    for (options, version) in
        [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200"), ("--tls-max=1.2", "HTTP/")]
    {
        let mut curl = Command::new("curl");
        curl.arg("-si").args(options.split('=')).args(["--cacert", ca.to_str().unwrap()]);
        curl.args(["--resolve", &format!("{NAME}:{}:127.0.0.1", gateway.data.port())]);
        curl.args(["-H", &format!("Authorization: Bearer {}", TOKENS[0])]);
        curl.arg(format!("https://{NAME}:{}{PATH}", gateway.data.port()));
        let Some(output) = needed("curl", curl.env_clear().output()) else { return };
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(version) && said.contains("\"call_1\""), "{options}: {said}");
    }
    let mut old = Command::new("curl");
    old.args(["-sk", "--tls-max", "1.1", "--ciphers", "ALL:@SECLEVEL=0"]);
    let refused = old.arg(format!("https://{}{PATH}", gateway.data)).env_clear().output().unwrap();
    assert!(!refused.status.success(), "TLS 1.1 is not spoken");
}

#[test]
fn with_client_ca_only_clients_with_a_certificate_of_its_are_served() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let clients = Authority::new();
    let own = authority.certify(&[NAME]);
    let gateway = listening(folder.path(), &own, Some(&clients)).start(&upstream);
    is_served(gateway.data, &authority.client(Some(&clients.certify(&["a.test"])), &[]));
    is_refused(gateway.data, &authority.client(None, &[]));
    is_refused(gateway.data, &authority.client(Some(&authority.certify(&["a.test"])), &[]));
    let expired = clients.certify_for(&["a.test"], Validity::LongAgo);
    is_refused(gateway.data, &authority.client(Some(&expired), &[]));
    assert_eq!(upstream.count(), 1);
    // A certificate is no token.
    let config = authority.client(Some(&clients.certify(&["a.test"])), &[]);
    let mut client = Client::tls(gateway.data, config, NAME).unwrap();
    assert_eq!(client.get(PATH, "", &[]).read().status, 401);
}

#[test]
fn clients_without_tls_or_a_finished_handshake_are_disconnected() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let config = listening(folder.path(), &authority.certify(&[NAME]), None);
    let gateway = config.with("limits", "header_read_timeout = \"300ms\"").start(&upstream);
    let mut plain = gateway.connect();
    plain.get(PATH, TOKENS[0], &[]);
    assert_eq!(plain.read().status, 400);
    let start = Instant::now();
    let mut silent = gateway.connect();
    assert!(silent.is_closed());
    assert!((250..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    eventually("both are gone", || gateway.metric("connections") == 0.0);
    is_served(gateway.data, &authority.client(None, &[]));
}

#[test]
fn a_reload_reads_the_certificates_again_and_refuses_what_is_wrong_with_them() {
    let (old, new, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::contract();
    let gateway = listening(folder.path(), &old.certify(&[NAME]), None).start(&upstream);
    let (trusts_old, trusts_new) = (old.client(None, &[]), new.client(None, &[]));
    let mut open = Client::tls(gateway.data, Arc::clone(&trusts_old), NAME).unwrap();
    assert_eq!(open.get(PATH, TOKENS[0], &[]).read().status, 200);
    let next = new.certify(&[NAME]);
    let other = new.certify(&[NAME]);
    let mixed = Certified { certificate: next.certificate.clone(), key: other.key };
    let broken = Certified { certificate: "nonsense".into(), key: next.key.clone() };
    let keyless = Certified { certificate: next.certificate.clone(), key: String::new() };
    for (wrong, word) in [
        (&mixed, "listen.tls.key: does not belong to the certificate"),
        (&broken, "has no certificate"),
        (&keyless, "listen.tls.key: cannot read a private key"),
    ] {
        wrong.write(folder.path());
        let answer = gateway.post_reload();
        assert_eq!((answer.status, answer.code().as_str()), (422, "INVALID_CONFIG"), "{word}");
        assert!(answer.text().contains(word), "{word} in {}", answer.text());
        is_served(gateway.data, &trusts_old);
    }
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    assert_eq!(gateway.post_reload().status, 422);
    next.write(folder.path());
    assert_eq!(gateway.post_reload().status, 200);
    is_served(gateway.data, &trusts_new);
    assert!(lookup(gateway.data, &trusts_old).is_err(), "the old certificate is gone");
    assert_eq!(open.get(PATH, TOKENS[0], &[]).read().status, 200, "an open connection goes on");
    gateway.rewrite(Config::default().text(upstream.address()));
    let answer = gateway.post_reload();
    assert!(answer.text().contains("listen.tls: changing it needs a restart"), "{}", answer.text());
}

#[test]
fn a_renewed_certificate_is_seen_by_the_poll_and_other_clients_by_a_reload() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let (before, after) = (Authority::new(), Authority::new());
    let config = |clients| {
        let config = listening(folder.path(), &authority.certify(&[NAME]), Some(clients));
        config.with("reload", "poll = \"50ms\"")
    };
    let gateway = config(&before).start(&upstream);
    let [first, second] = [&before, &after].map(|clients| {
        let identity = clients.certify(&["a.test"]);
        authority.client(Some(&identity), &[])
    });
    is_served(gateway.data, &first);
    after.write(folder.path());
    eventually("the poll sees it", || gateway.metric("config_reloads_total{result=\"success\"}") >= 1.0);
    is_served(gateway.data, &second);
    is_refused(gateway.data, &first);
}

/// A configuration for an upstream with this name and address, over TLS.
fn asking(name: &str, address: SocketAddr, trusted: Option<&Path>) -> Config {
    let base = format!("base_url = \"https://{name}:{}\"\nconnect_timeout = \"1s\"", address.port());
    let trust = trusted.map(|file| format!("\nca_file = \"{}\"", file.display())).unwrap_or_default();
    Config::default().with("upstream", &(base + &trust))
}

fn start(config: &Config, address: SocketAddr) -> Gateway {
    Gateway::start(config, address)
}

#[test]
fn an_upstream_trusted_by_ca_file_is_contacted() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = Upstream::over_tls(authority.certify(&["localhost", "127.0.0.1"]).server(&[], None));
    let ca = authority.write(folder.path());
    for name in ["localhost", "127.0.0.1"] {
        let gateway = start(&asking(name, upstream.address(), Some(&ca)), upstream.address());
        assert_eq!(gateway.get("call_1").status, 200, "{name}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.header("authorization"), Some("Bearer upstream-key-of-alpha"));
        assert_eq!(seen.header("host"), Some(&*format!("{name}:{}", upstream.address().port())));
    }
    assert_eq!(upstream.count(), 2);
}

#[test]
fn an_upstream_that_offers_http2_gets_it_and_all_requests_on_one_connection() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = Http2Upstream::start(authority.certify(&["localhost"]).server(&["h2"], None));
    let ca = authority.write(folder.path());
    let gateway = start(&asking("localhost", upstream.address, Some(&ca)), upstream.address);
    assert_eq!(gateway.get("call_first").status, 200);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
    }
    for client in &mut clients {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(upstream.requests(), [21]);
}

#[track_caller]
fn is_502(gateway: &Gateway, what: &str) {
    let answer = gateway.get("call_1");
    assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_ERROR"), "{what}");
    assert_eq!(answer.cache_status(), "fwd=uri-miss", "{what}: nothing was sent");
}

// T88, F09.
#[test]
fn an_upstream_with_a_wrong_identity_sees_no_request() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let expired = authority.certify_for(&["localhost"], Validity::LongAgo);
    for (what, certified, trusted) in [
        ("another's name", authority.certify(&["other.test", "127.0.0.1"]), Some(&ca)),
        ("expired", expired, Some(&ca)),
        ("an unknown authority", stranger.certify(&["localhost"]), Some(&ca)),
        ("an authority that only ca_file could vouch for", authority.certify(&["localhost"]), None),
    ] {
        let upstream = Upstream::over_tls(certified.server(&[], None));
        let trusted = trusted.map(std::path::PathBuf::as_path);
        let gateway = start(&asking("localhost", upstream.address(), trusted), upstream.address());
        is_502(&gateway, what);
        assert!(upstream.connections() > 0, "{what}: it was tried");
        assert_eq!(upstream.count(), 0, "{what}");
        assert!(gateway.metric("upstream_requests_total{code=\"connect\",tenant=\"alpha\"}") >= 1.0);
    }
}

/// A `ServerHello` that selects TLS 1.1, which was not offered.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 2, 0, 0x2a, 2, 0, 0, 0x26, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x13, 0]);
    hello
}

// T88, F09.
#[test]
fn an_upstream_without_modern_tls_is_never_sent_a_key() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let alert = [0x15, 3, 1, 0, 2, 2, 70];
    let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    for (what, words) in [
        ("TLS 1.1", old_hello()),
        ("an alert of TLS 1.0", alert.to_vec()),
        ("plain HTTP", plain.to_vec()),
        ("zeros", vec![0; 5000]),
    ] {
        let upstream = Says::this(&words);
        let gateway = start(&asking("localhost", upstream.address, Some(&ca)), upstream.address);
        is_502(&gateway, what);
        assert!(upstream.connections() > 0 && upstream.heard.count() > 100, "{what}: a handshake was begun");
        for secret in [KEYS[0], TOKENS[0], "call_1", "authorization"] {
            assert!(!upstream.heard.contain(secret), "{what}");
        }
    }
}

/// An openssl server, with settings that rustls does not offer.
struct OpensslServer {
    process: std::process::Child,
    address: SocketAddr,
}

impl OpensslServer {
    /// With a self-signed certificate, made with these arguments of `openssl req`.
    fn start(folder: &Path, request: &[&str], server: &[&str]) -> Option<Self> {
        let file = |name: &str| folder.join(name).display().to_string();
        let mut making = Command::new("openssl");
        making.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]).args(request);
        making.args(["-keyout", &file("server.key"), "-out", &file("server.pem")]);
        let made = needed("openssl", making.output())?;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut serving = Command::new("openssl");
        serving.args(["s_server", "-accept", "127.0.0.1:0", "-www", "-cert", &file("server.pem")]);
        serving.args(["-key", &file("server.key")]).args(server);
        serving.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = needed("openssl", serving.spawn())?;
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let accepting = lines.filter_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).next();
        let address = accepting.expect("it listens").parse().unwrap();
        Some(Self { process, address })
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn each_reason_for_an_untrusted_upstream_is_logged_with_its_own_remedy() {
    let p256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let p521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"];
    let name = ["-addext", "subjectAltName=DNS:localhost"];
    for (request, server, reason, remedy) in [
        (
            [p256, ["-addext", "basicConstraints=critical,CA:TRUE", name[0], name[1]]].concat(),
            &[][..],
            "is itself a CA certificate",
            "CA:FALSE",
        ),
        ([p521.as_slice(), &name].concat(), &[][..], "share no TLS cipher or signature algorithm", "P-521"),
        (
            [p256.as_slice(), &name].concat(),
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
            "no TLS newer than 1.1",
            "TLS 1.2 or 1.3",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some(upstream) = OpensslServer::start(folder.path(), &request, server) else { return };
        let trusted = folder.path().join("server.pem");
        let gateway = start(&asking("localhost", upstream.address, Some(&trusted)), upstream.address);
        is_502(&gateway, reason);
        let line = gateway.process.err_line(reason, |line| line.contains("upstream connection failed"));
        assert!(line.contains(reason) && line.contains(remedy), "{line}");
    }
}

// F09.
#[test]
fn a_handshake_that_stalls_is_a_timeout() {
    let upstream = Says::nothing();
    let config = asking("localhost", upstream.address, None).with("upstream.retry", "max_attempts = 1");
    let gateway = start(&config, upstream.address);
    let start = Instant::now();
    let answer = gateway.get("call_1");
    assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    assert!((900..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert!(upstream.connections() == 1 && !upstream.heard.contain(KEYS[0]));
    assert_eq!(gateway.metric("upstream_requests_total{code=\"timeout\",tenant=\"alpha\"}"), 1.0);
}

// T88.
#[test]
fn stale_entries_are_served_while_the_upstream_is_untrusted() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = authority.write(folder.path());
    let upstream = Upstream::over_tls(authority.certify(&["localhost"]).server(&[], None));
    upstream.now(|seen| {
        call_reply(seen.id(), &["Cache-Control: max-age=0, stale-while-revalidate=0, stale-if-error=100"])
    });
    let gateway = start(&asking("localhost", upstream.address(), Some(&ca)), upstream.address());
    assert_eq!(gateway.get("call_1").status, 200);
    let answer = gateway.reload(&asking("localhost", upstream.address(), None));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stale = gateway.get("call_1");
    assert_eq!((stale.status, stale.story().as_str()), (200, "hit; ttl; detail=stale-if-error"));
    assert_eq!(gateway.get("call_2").status, 502);
    assert_eq!(upstream.count(), 1);
    // The authority is trusted again, and requests are sent again.
    assert_eq!(gateway.reload(&asking("localhost", upstream.address(), Some(&ca))).status, 200);
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(upstream.count(), 2);
}

#[test]
fn an_http2_connection_that_went_dead_is_not_used_again() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let upstream = Http2Upstream::start(authority.certify(&["localhost"]).server(&["h2"], None));
    let ca = authority.write(folder.path());
    let brief = "first_byte_timeout = \"300ms\"\ntotal_timeout = \"2s\"";
    let config = asking("localhost", upstream.address, Some(&ca)).with("upstream", brief);
    let gateway = start(&config, upstream.address);
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(gateway.get("call_silence").code(), "UPSTREAM_TIMEOUT");
    assert_eq!(gateway.get("call_2").status, 200);
    assert!(upstream.requests().len() > 1, "{:?}", upstream.requests());
    assert_eq!(upstream.requests()[0], 2, "the call, and the one that was never answered");
}

#[test]
fn http_without_tls_is_refused_in_words_on_a_port_with_tls() {
    let (authority, folder, upstream) =
        (Authority::new(), tempfile::tempdir().unwrap(), Upstream::contract());
    let gateway = listening(folder.path(), &authority.certify(&[NAME]), None).start(&upstream);
    let filler = format!("X-Filler: {}", "x".repeat(20_000));
    for lines in [&[][..], &[filler.as_str()]] {
        let mut client = gateway.connect();
        let answer = client.get(PATH, TOKENS[0], lines).read();
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/plain")));
        assert!(answer.text().contains("https://"), "{}", answer.text());
        assert!(client.is_closed());
    }
    let mut http2 = gateway.connect();
    http2.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(http2.read_to_end().starts_with(b"HTTP/1.1 400"));
    let mut neither = gateway.connect();
    neither.send([0, 1, 2, 3, 4, 5]);
    assert!(!neither.read_to_end().starts_with(b"HTTP"), "what is neither gets TLS's own answer");
    is_served(gateway.data, &authority.client(None, &[]));
    assert_eq!(upstream.count(), 1);
}
