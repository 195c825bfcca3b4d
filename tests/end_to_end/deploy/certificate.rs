//! The expiry of the certificate that callers see.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Config, Upstream, needed};

const DAY: f64 = 86_400.0;

/// Makes a certificate that expires in this many days, and its key. `None` if openssl is missing.
fn certificate(folder: &Path, days: u32) -> Option<()> {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-subj", "/CN=gateway.test", "-days", &days.to_string()]);
    command.arg("-keyout").arg(folder.join("tls.key")).arg("-out").arg(folder.join("tls.crt"));
    let output = needed("openssl", command.output())?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// Needs openssl.
#[test]
fn the_certificates_expiry_is_exported_and_updated_by_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    if certificate(folder.path(), 30).is_none() {
        return;
    }
    let upstream = Upstream::contract();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let config = || {
        let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", at("tls.crt"), at("tls.key"));
        Config::default().with("listen", &format!("address = \"127.0.0.1:0\"\n{tls}"))
    };
    let gateway = config().start(&upstream);
    let days_left = || {
        let end = gateway.metric("tls_certificate_expiry_timestamp_seconds");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        (end - now) / DAY
    };
    assert!((29.9..=30.0).contains(&days_left()), "{}", days_left());
    certificate(folder.path(), 90).unwrap();
    assert_eq!(gateway.reload(&config()).status, 200);
    assert!((89.9..=90.0).contains(&days_left()), "{}", days_left());
}

#[test]
fn without_tls_no_certificate_expiry_is_exported() {
    let upstream = Upstream::contract();
    let scrape = Config::default().start(&upstream).admin("/metrics").text();
    assert!(!scrape.contains("tls_certificate"), "{scrape}");
}

#[test]
fn a_failed_reload_is_exported_until_one_succeeds() {
    let upstream = Upstream::contract();
    let gateway = Config::default().start(&upstream);
    let successful = || gateway.metric("config_last_reload_successful");
    assert_eq!(successful(), 1.0);
    assert_eq!(gateway.reload(&Config::default().with("cache", "ttl = \"soon\"")).status, 422);
    assert_eq!(successful(), 0.0);
    assert_eq!(gateway.reload(&Config::default()).status, 200);
    assert_eq!(successful(), 1.0);
}
