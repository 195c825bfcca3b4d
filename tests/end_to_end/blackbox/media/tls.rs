//! Media hosts over TLS: whose certificates are trusted, and that nothing is sent to others.

use std::path::Path;

use super::*;
use crate::support::{Authority, Certified, KEYS, Validity};

/// A media host with this certificate, and an upstream whose call links to it by `localhost`.
fn linked_over_tls(certified: &Certified) -> (Upstream, Upstream) {
    let host = Upstream::over_tls(certified.server(&["http/1.1"], None));
    host.now(|_| reply("200 OK", &[MPEG], SOUND));
    let link = format!("\"https://localhost:{}/x.mp3?signature=canary\"", host.address().port());
    (Upstream::always(call_reply(&call_with("call_1", &link, "null"))), host)
}

fn start(upstream: &Upstream, host: &Upstream, trusted: Option<&Path>) -> Gateway {
    let hosts = format!("hosts = [\"localhost:{}\"]", host.address().port());
    let config = config().with("media", &hosts);
    match trusted {
        Some(file) => config.with("upstream", &format!("ca_file = {file:?}")).start(upstream),
        None => config.start(upstream),
    }
}

fn host_requests(gateway: &Gateway, code: &str) -> f64 {
    gateway.metric_or_0(&format!("media_host_requests_total{{code=\"{code}\",tenant=\"alpha\"}}"))
}

// T93.
#[test]
fn a_media_host_of_the_authority_that_ca_file_names_is_trusted_and_gets_no_key() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let trusted = authority.write(folder.path());
    let (upstream, host) = linked_over_tls(&authority.certify(&["localhost"]));
    let gateway = start(&upstream, &host, Some(&trusted));
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!((response.status, response.text().as_str()), (200, SOUND));
    let seen = host.seen();
    assert_eq!((seen.len(), seen[0].target.as_str()), (1, "/x.mp3?signature=canary"));
    assert_eq!(seen[0].header("host"), Some(format!("localhost:{}", host.address().port()).as_str()));
    assert!(!format!("{seen:?}").contains(KEYS[0]));
    assert_eq!(host_requests(&gateway, "200"), 1.0);

    let part = get(&gateway, RECORDING, &["Range: bytes=0-0"]);
    assert_eq!((part.status, host.connections()), (200, 2), "each request on a connection of its own");
}

#[test]
fn a_media_host_that_does_not_prove_its_name_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let trusted = authority.write(folder.path());
    let known = Some(trusted.as_path());
    for (what, certified, trusted) in [
        ("of an authority that is not trusted", stranger.certify(&["localhost"]), known),
        ("of no authority that the system trusts", authority.certify(&["localhost"]), None),
        ("for another name", authority.certify(&["media.vendor.test"]), known),
        ("that has expired", authority.certify_for(&["localhost"], Validity::LongAgo), known),
    ] {
        let (upstream, host) = linked_over_tls(&certified);
        let gateway = start(&upstream, &host, trusted);
        let response = get(&gateway, RECORDING, &[]);
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"), "{what}");
        assert_eq!((host.count(), upstream.count()), (0, 1), "{what}");
        assert_eq!(host_requests(&gateway, "connect"), 1.0, "{what}");
        let log = gateway.process.err().join("\n");
        assert!(!log.contains("canary"), "{what}: {log}");
        assert_eq!(gateway.get("call_1").status, 200, "{what}: calls are not affected");
    }
}

#[test]
fn plain_http_to_a_host_that_speaks_tls_is_no_answer() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let trusted = authority.write(folder.path());
    let (_, host) = linked_over_tls(&authority.certify(&["localhost"]));
    let link = format!("\"http://localhost:{}/x.mp3\"", host.address().port());
    let upstream = Upstream::always(call_reply(&call_with("call_1", &link, "null")));
    let gateway = start(&upstream, &host, Some(&trusted));
    assert_eq!(get(&gateway, RECORDING, &[]).status, 502);
    assert_eq!(host.count(), 0);
}
