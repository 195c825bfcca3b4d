//! The upstream through an HTTP proxy, which sees only a host name and encrypted bytes.

use std::net::SocketAddr;
use std::path::Path;

use crate::support::{Authority, Config, Gateway, KEYS, Proxy, TOKENS, Upstream};

/// A name that only a proxy can resolve.
const NAME: &str = "api.internal.test";

struct Scene {
    upstream: Upstream,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let upstream = Upstream::over_tls(authority.certify(&[NAME, "localhost"]).server(&[], None));
        authority.write(folder.path());
        Self { upstream, folder }
    }

    fn asking(&self, host: &str) -> Config {
        asking(host, &self.folder.path().join("authority.pem"))
    }

    fn start(&self, config: &Config) -> Gateway {
        Gateway::start(config, self.upstream.address())
    }
}

fn asking(host: &str, ca: &Path) -> Config {
    let lines = format!(
        "base_url = \"https://{host}\"\nca_file = \"{}\"\nconnect_timeout = \"1s\"\nmax_connections = 1\n[upstream.retry]\nmax_attempts = 1",
        ca.display()
    );
    Config::default().with("upstream", &lines)
}

fn url(proxy: SocketAddr) -> String {
    format!("http://{proxy}")
}

#[test]
fn https_proxy_is_asked_to_connect_and_sees_no_key() {
    let scene = Scene::new();
    let proxy = Proxy::to(scene.upstream.address());
    for (round, name) in ["HTTPS_PROXY", "https_proxy"].into_iter().enumerate() {
        let gateway = scene.start(&scene.asking(NAME).env(name, &url(proxy.address)));
        for number in 0..3 {
            assert_eq!(gateway.get(&format!("call_{number}")).status, 200);
        }
        assert_eq!(scene.upstream.count(), (round + 1) * 3);
        assert_eq!(proxy.heads().len(), round + 1, "one tunnel for all");
    }
    let head = proxy.heads().remove(0);
    assert!(head.starts_with(&format!("CONNECT {NAME}:443 HTTP/1.1\r\n")), "{head}");
    let fields: Vec<_> = head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|f| f.0).collect();
    assert!(fields.iter().all(|name| name.eq_ignore_ascii_case("host")), "no more than it needs: {head}");
    let seen = scene.upstream.seen().remove(0);
    assert_eq!(seen.header("authorization"), Some("Bearer upstream-key-of-alpha"));
    assert_eq!(seen.header("host"), Some(NAME));
    for secret in [KEYS[0], TOKENS[0], "call_"] {
        assert!(!proxy.passed.contain(secret), "{secret} crossed the proxy in the clear");
    }
}

#[test]
fn the_proxys_credentials_go_to_the_proxy_and_nowhere_else() {
    let scene = Scene::new();
    let proxy = Proxy::to(scene.upstream.address());
    let with_credentials = format!("http://user:canary-of-the-proxy@{}", proxy.address);
    let config = scene.asking(NAME).env("HTTPS_PROXY", &with_credentials).env("RUST_LOG", "trace");
    let gateway = scene.start(&config.with("log", "access = \"all\""));
    assert_eq!(gateway.get("call_1").status, 200);
    let head = proxy.heads().remove(0).to_lowercase();
    assert!(head.contains("\r\nproxy-authorization: basic "), "{head}");
    assert!(scene.upstream.seen()[0].headers.iter().all(|(name, _)| !name.starts_with("proxy-")));
    gateway.process.err_line("about the lookup", |line| line.contains("\"outcome\":\"miss\""));
    let shown = gateway.process.err().join("\n") + &gateway.admin("/api/v1/config").text();
    let encoded = head.split("basic ").nth(1).unwrap().split("\r\n").next().unwrap();
    assert!(!shown.contains("canary-of-the-proxy") && !shown.to_lowercase().contains(encoded), "{shown}");
}

#[test]
fn no_proxy_names_hosts_that_are_contacted_directly() {
    let scene = Scene::new();
    let proxy = Proxy::to(scene.upstream.address());
    let host = format!("localhost:{}", scene.upstream.address().port());
    let through = scene.asking(&host).env("HTTPS_PROXY", &url(proxy.address));
    let gateway = scene.start(&through);
    assert_eq!((gateway.get("call_1").status, proxy.heads().len()), (200, 1));
    let direct =
        scene.asking(&host).env("HTTPS_PROXY", &url(proxy.address)).env("NO_PROXY", "other.test,localhost");
    let gateway = scene.start(&direct);
    assert_eq!((gateway.get("call_1").status, proxy.heads().len()), (200, 1));
    assert_eq!(scene.upstream.count(), 2);
}

#[test]
fn a_plaintext_upstream_is_never_contacted_through_a_proxy() {
    let upstream = Upstream::contract();
    let proxy = Proxy::to(upstream.address());
    let config =
        Config::default().env("HTTPS_PROXY", &url(proxy.address)).env("HTTP_PROXY", &url(proxy.address));
    let gateway = config.start(&upstream);
    assert_eq!((gateway.get("call_1").status, proxy.heads().len()), (200, 0));
}

#[test]
fn a_refusing_or_absent_proxy_is_a_502_and_gets_no_key() {
    let scene = Scene::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusing: [&'static [u8]; 3] = [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"nonsense\r\n\r\n",
    ];
    let proxies: Vec<_> = refusing.into_iter().map(Proxy::saying).collect();
    for address in proxies.iter().map(|proxy| proxy.address).chain([closed]) {
        let gateway = scene.start(&scene.asking(NAME).env("HTTPS_PROXY", &url(address)));
        let answer = gateway.get("call_1");
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_ERROR"), "{address}");
    }
    assert!(proxies.iter().all(|proxy| proxy.heads().len() == 1 && !proxy.passed.contain(KEYS[0])));
    assert_eq!(scene.upstream.count(), 0);
}

#[test]
fn a_proxy_that_says_nothing_or_answers_in_the_upstreams_place_is_a_timeout_and_gets_no_key() {
    let scene = Scene::new();
    for words in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"] {
        let proxy = Proxy::saying(words);
        let gateway = scene.start(&scene.asking(NAME).env("HTTPS_PROXY", &url(proxy.address)));
        let answer = gateway.get("call_1");
        assert_eq!((answer.status, answer.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
        assert!(!proxy.passed.contain(KEYS[0]));
    }
}

#[test]
fn a_proxy_in_the_middle_is_not_trusted() {
    let scene = Scene::new();
    // It connects to its own server, which presents its own certificate.
    let own = Upstream::over_tls(Authority::new().certify(&[NAME]).server(&[], None));
    let proxy = Proxy::to(own.address());
    let gateway = scene.start(&scene.asking(NAME).env("HTTPS_PROXY", &url(proxy.address)));
    assert_eq!(gateway.get("call_1").status, 502);
    assert_eq!((own.count(), scene.upstream.count()), (0, 0));
}
