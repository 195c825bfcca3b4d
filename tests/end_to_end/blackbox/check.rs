//! `check` without secrets and with probes, and the environment that it runs in.

use std::path::{Path, PathBuf};

use crate::support::{
    Act, Authority, Config, Finished, Gate, KEYS, Program, Seen, Upstream, Validity, eventually, program,
    reply, write_config,
};

/// Every example configuration in the project, with its location: whole files, and those within the
/// manifests in YAML.
fn examples() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<_> =
        ["config", "deploy"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_owned();
            let text = || std::fs::read_to_string(&path).unwrap();
            match ending.as_str() {
                _ if path.is_dir() => folders.push(path),
                "toml" => found.push((path.clone(), text())),
                "yaml" => found.extend(blocks(&text()).into_iter().map(|block| (path.clone(), block))),
                _ => {}
            }
        }
    }
    found.retain(|(_, text)| text.contains("[[tenants]]"));
    found
}

/// The literal blocks of a YAML file.
fn blocks(yaml: &str) -> Vec<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<_> = yaml.lines().collect();
    let starts = lines.iter().enumerate().filter(|(_, line)| line.ends_with(": |"));
    let block = |(start, line): (usize, &&str)| {
        let inside = lines[start + 1..].iter();
        let inside = inside.take_while(|inner| inner.trim().is_empty() || indent(inner) > indent(line));
        inside.map(|inner| inner.trim_start().to_owned() + "\n").collect()
    };
    starts.map(block).collect()
}

#[test]
fn every_shipped_example_passes_a_check_without_secrets() {
    let examples = examples();
    assert!(examples.len() >= 5, "{examples:#?}");
    for (path, text) in examples {
        let file = write_config(&text);
        let arguments = ["check", "--without-secrets", "-c", file.path().to_str().unwrap()];
        let checked = Finished::of(&mut program(&arguments));
        assert_eq!(checked.code, 0, "{}: {checked:?}", path.display());
        assert!(checked.out.contains(": valid, "), "{checked:?}");
    }
}

#[test]
fn a_check_without_secrets_lists_what_it_skipped() {
    let config = Config::default().tenant(0, "upstream_key = { env = \"NO_SUCH_KEY\" }");
    let file = write_config(&config.text("127.0.0.1:1".parse().unwrap()));
    let check = |option: &[&str]| {
        let path = file.path().to_str().unwrap();
        Finished::of(&mut program(&[&["check", "-c", path], option].concat()))
    };
    assert_eq!(check(&[]).code, 78);
    let checked = check(&["--without-secrets"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.out.ends_with(": valid, 2 tenants, 1 secret or certificate not checked\n"),
        "{checked:?}"
    );
    let line = "not checked: tenants[0].upstream_key: the environment variable NO_SUCH_KEY is not set\n";
    assert!(checked.err.contains(line), "{checked:?}");
    let printed = check(&["--without-secrets", "--print"]);
    let shown: toml::Table = printed.out.parse().expect("TOML");
    assert_eq!(shown["tenants"][0]["upstream_key"]["env"].as_str(), Some("NO_SUCH_KEY"));
    assert_eq!(check(&["--without-secrets", "--probe"]).code, 2);
}

#[test]
fn a_fleets_key_is_a_secret_that_may_be_skipped() {
    let shared = "urls = [\"unix:/run/valkey.sock\"]\nkey = { file = \"/no/such/key\" }";
    let file = write_config(&Config::default().with("shared", shared).text("127.0.0.1:1".parse().unwrap()));
    let check = |option: &[&str]| {
        Finished::of(&mut program(&[&["check", "-c", file.path().to_str().unwrap()], option].concat()))
    };
    let checked = check(&["--without-secrets"]);
    assert!(checked.code == 0 && checked.err.contains("not checked: shared.key: "), "{checked:?}");
    let missing = check(&[]);
    assert!(missing.code == 78 && missing.err.contains("shared.key: "), "{missing:?}");
}

/// Checks with probes.
fn probe(text: &str) -> Finished {
    let file = write_config(text);
    Finished::of(&mut program(&["check", "--probe", "-c", file.path().to_str().unwrap()]))
}

const NOT_FOUND: &str = r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"}}"#;
const UNAUTHORIZED: &str =
    r#"{"success":false,"error":{"code":"UNAUTHORIZED","message":"Invalid or missing API key"}}"#;

/// Accepts the first tenant's key only.
fn accepts_one_key(seen: &Seen) -> Vec<Act> {
    if seen.header("authorization") == Some(&format!("Bearer {}", KEYS[0])) {
        reply("404 Not Found", &[], NOT_FOUND)
    } else {
        reply("401 Unauthorized", &[], UNAUTHORIZED)
    }
}

#[test]
fn a_probe_tries_every_key_and_fails_with_1_where_one_is_rejected() {
    let upstream = Upstream::scripted(accepts_one_key);
    let config = Config::default().tenant(0, "upstream_key_next = { value = \"the-next-key\" }");
    let probed = probe(&config.text(upstream.address()));
    assert_eq!(probed.code, 1, "{probed:?}");
    let lines: Vec<_> = probed.out.lines().skip(1).collect();
    let address = upstream.address();
    assert_eq!(
        lines,
        [
            format!("ok      http://{address}: connected"),
            "failed  alpha: upstream_key accepted (404); upstream_key_next failed: the upstream rejected the key \
             with 401"
                .into(),
            "failed  beta: upstream_key failed: the upstream rejected the key with 401".into(),
        ]
    );
    assert!(probed.err.ends_with("credira-gateway: 2 probes failed\n"), "{probed:?}");
    assert_eq!(upstream.count(), 3);
    assert!(upstream.seen().iter().all(|seen| seen.id().starts_with("call_missing")));
    for secret in KEYS {
        assert!(!probed.out.contains(secret) && !probed.err.contains(secret));
    }
}

#[test]
fn a_probe_of_accepted_keys_ends_with_0() {
    let upstream = Upstream::contract();
    let probed = probe(&Config::default().text(upstream.address()));
    assert_eq!(probed.code, 0, "{probed:?}");
    assert!(probed.out.ends_with("ok      beta: upstream_key accepted (404)\n"), "{probed:?}");
}

#[test]
fn a_probe_prints_each_tenants_line_as_it_comes() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let answer = reply("404 Not Found", &[], NOT_FOUND);
        match seen.header("authorization") {
            Some(key) if key.ends_with(KEYS[0]) => answer,
            _ => [vec![Act::Wait(held.clone())], answer].concat(),
        }
    });
    let file = write_config(&Config::default().text(upstream.address()));
    let path = file.path().to_str().unwrap();
    let process = Program::start(&mut program(&["check", "--probe", "-c", path]));
    eventually("the first tenant's line", || process.out().iter().any(|line| line.contains("alpha: ")));
    assert!(!process.out().iter().any(|line| line.contains("beta: ")));
    gate.open();
    eventually("the other's", || process.out().iter().any(|line| line.contains("beta: ")));
}

#[test]
fn a_probe_says_why_the_upstream_cannot_be_reached() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probed = probe(&Config::default().text(closed));
    assert_eq!(probed.code, 1);
    let line = probed.out.lines().nth(1).unwrap();
    assert!(line.starts_with(&format!("failed  http://{closed}: ")), "{line}");
    assert!(line.contains("check upstream.base_url and whether the upstream is up"), "{line}");
    assert_eq!(probed.out.lines().count(), 2, "no tenant is tried");

    let name = "base_url = \"https://no-such-host.invalid\"";
    let probed = probe(&Config::default().with("upstream", name).text(closed));
    assert!(probed.code == 1 && probed.out.contains("has no address"), "{probed:?}");
}

#[test]
fn a_probe_verifies_the_upstreams_certificate() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let trusted = format!("ca_file = \"{}\"", authority.write(folder.path()).display());
    for (validity, lines, code, told) in [
        (Validity::Now, trusted.as_str(), 0, "connected, certificate verified"),
        (Validity::LongAgo, trusted.as_str(), 1, "certificate has expired"),
        (Validity::Now, "", 1, "certificate"),
    ] {
        let certified = authority.certify_for(&["127.0.0.1"], validity);
        let upstream = Upstream::over_tls(certified.server(&["http/1.1"], None));
        upstream.now(|_| reply("404 Not Found", &[], NOT_FOUND));
        let lines = format!("base_url = \"https://{}\"\n{lines}", upstream.address());
        let probed = probe(&Config::default().with("upstream", &lines).text(upstream.address()));
        assert!(probed.code == code && probed.out.contains(told), "{probed:?}");
    }
}

#[test]
fn a_probe_with_an_invalid_file_is_78_and_sends_nothing() {
    let upstream = Upstream::contract();
    let probed = probe(&Config::default().with("cache", "tll = \"1h\"").text(upstream.address()));
    assert_eq!((probed.code, probed.out.as_str(), upstream.count()), (78, "", 0));
}

#[test]
fn the_environment_is_judged_only_where_it_applies() {
    let file = write_config(
        &Config::default()
            .with("upstream", "base_url = \"https://api.test:8443\"")
            .text("127.0.0.1:1".parse().unwrap()),
    );
    let check = |variables: &[(&str, &str)]| {
        let mut command = program(&["check", "-c", file.path().to_str().unwrap()]);
        Finished::of(command.envs(variables.iter().copied()))
    };
    let odd = ("HTTPS_PROXY", "socks5://proxy.test:1080");
    let refused = check(&[odd]);
    assert!(refused.code == 78 && refused.err.contains("environment variable HTTPS_PROXY: expected"));
    assert_eq!(check(&[odd, ("NO_PROXY", "api.test:8443")]).code, 0);
    assert_eq!(check(&[odd, ("NO_PROXY", "api.test")]).code, 0);
    assert_eq!(check(&[odd, ("NO_PROXY", "api.test:443")]).code, 78);
    let service = [
        ("CREDIRA_GATEWAY__CACHE_SERVICE_HOST", "10.0.0.1"),
        ("CREDIRA_GATEWAY__CACHE_SERVICE_PORT", "80"),
        ("CREDIRA_GATEWAY__CACHE_SERVICE_PORT_HTTP", "80"),
        ("CREDIRA_GATEWAY__CACHE_PORT", "tcp://10.0.0.1:80"),
        ("CREDIRA_GATEWAY__CACHE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ];
    let checked = check(&service);
    assert!(checked.code == 0 && !checked.err.contains("environment"), "{checked:?}");
    let similar = check(&[("CREDIRA_GATEWAY_CACHE_TTL", "1h")]);
    let warning = "warning: environment variable CREDIRA_GATEWAY_CACHE_TTL: overrides nothing";
    assert!(similar.code == 0 && similar.err.contains(warning), "{similar:?}");
}
