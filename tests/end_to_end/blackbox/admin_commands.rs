//! The commands that query a running gateway: how they find it, what they trust, and how they report errors.

use std::path::{Path, PathBuf};

use crate::support::{Authority, Config, Finished, Gateway, Upstream, program, reply};

const ADMIN_TOKEN: &str = "admin-token-0123456789-0123456789-abcdef";

fn run(arguments: &[&str]) -> Finished {
    Finished::of(&mut program(arguments))
}

/// Writes a configuration with these lines after a valid `[admin]` of the gateway, and returns its path.
fn file_for(folder: &Path, gateway: &Gateway, rest: &str) -> String {
    let path = folder.join("gateway.toml");
    std::fs::write(&path, format!("[admin]\naddress = \"{}\"\n{rest}", gateway.admin)).unwrap();
    path.to_str().unwrap().to_owned()
}

const COMMANDS: [&[&str]; 4] =
    [&["healthcheck"], &["stats"], &["explain", "alpha", "call_1"], &["purge", "alpha", "call_1"]];

#[test]
fn what_is_wrong_elsewhere_in_the_file_is_a_warning_for_the_admin_commands() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let folder = tempfile::tempdir().unwrap();
    for (rest, warning) in [
        ("[cache]\ntll = \"1h\"\n", "cache.tll: unknown key"),
        ("[cache]\nttl = \"soon\"\n", "cache.ttl: expected a duration"),
        ("[cache\nttl = 1\n", "not TOML"),
        ("[upstream]\nbase_url = \"x\n[[tenants]]\nname = 3", "not TOML"),
    ] {
        let file = file_for(folder.path(), &gateway, rest);
        for command in COMMANDS {
            let asked = run(&[command, &["--config", &file]].concat());
            assert_eq!(asked.code, 0, "{command:?} {rest:?}: {asked:?}");
            assert!(asked.err.contains("warning: ") && asked.err.contains(warning), "{command:?}: {asked:?}");
        }
    }
}

#[test]
fn a_health_check_is_0_or_1_whatever_the_file_says() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    let check = |address: &str| {
        let mut command = program(&["healthcheck", "--config", path.to_str().unwrap()]);
        Finished::of(command.env("CREDIRA_GATEWAY__ADMIN__ADDRESS", address))
    };
    let missing = check(&gateway.admin.to_string());
    assert_eq!((missing.code, missing.out.as_str()), (0, "ready\n"));
    assert!(missing.err.contains("cannot be read"), "{missing:?}");
    for text in ["[admin]\naddress = 5\n", "[admin]\naddress = \"nowhere\"\n", "\u{0}", "[admin", ""] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(check(&gateway.admin.to_string()).code, 0, "{text:?}");
        assert_eq!(check(&closed.to_string()).code, 1, "{text:?}");
    }
    for text in ["[admin]\naddress = \"nowhere\"\n", "[admin]\naddress = \"\"\n", "[admin]\naddress = 5\n"] {
        std::fs::write(&path, text).unwrap();
        let unusable = run(&["healthcheck", "--config", path.to_str().unwrap()]);
        assert!(unusable.code == 1 && unusable.err.contains("admin.address"), "{text:?}: {unusable:?}");
        let stats = run(&["stats", "--config", path.to_str().unwrap()]);
        let code = if text.contains("\"\"") { 1 } else { 78 };
        assert_eq!(stats.code, code, "{text:?}: {stats:?}");
    }
    assert_eq!(run(&["healthcheck", "--admin"]).code, 2, "wrong usage");
    let gone = run(&["purge", "--all", "--config", folder.path().join("typo").to_str().unwrap()]);
    assert!(gone.code == 78 && gone.err.contains("cannot be read"), "nothing is purged at a guess: {gone:?}");
}

#[test]
fn the_token_comes_from_the_file_where_no_other_is_given() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), format!("{ADMIN_TOKEN}\n")).unwrap();
    let token = format!("token = {{ value = \"{ADMIN_TOKEN}\" }}");
    let gateway = Config::default().with("admin", &token).start(&upstream);
    for line in ["token = { file = \"token\" }", &token, "token = { env = \"ADMIN_TOKEN\" }"] {
        let file = file_for(folder.path(), &gateway, line);
        let mut command = program(&["stats", "--config", &file]);
        let stats = Finished::of(command.env("ADMIN_TOKEN", ADMIN_TOKEN));
        assert_eq!((stats.code, stats.err.as_str()), (0, ""), "{line}");
        // An explicit address makes no difference.
        let mut command = program(&["stats", "--config", &file, "--admin", &gateway.admin.to_string()]);
        assert_eq!(Finished::of(command.env("ADMIN_TOKEN", ADMIN_TOKEN)).code, 0, "{line}");
    }
    let file = file_for(folder.path(), &gateway, "token = { file = \"nowhere\" }");
    let stats = run(&["stats", "--config", &file]);
    assert_eq!(stats.code, 1);
    assert!(
        stats.err.contains("warning: admin.token: cannot read") && stats.err.contains("401"),
        "{stats:?}"
    );
    let healthy = run(&["healthcheck", "--config", &file]);
    assert_eq!(
        (healthy.code, healthy.err.as_str()),
        (0, ""),
        "a health check needs no token, and reads none"
    );
}

#[test]
fn a_gateway_is_named_by_host_address_url_or_socket() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let port = gateway.admin.port();
    for admin in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("http://localhost:{port}/"),
        format!("HTTP://LOCALHOST:{port}/"),
    ] {
        let asked = run(&["stats", "--admin", &admin]);
        assert_eq!((asked.code, asked.err.as_str()), (0, ""), "{admin}");
    }
    for wrong in [
        "",
        "http://",
        "ftp://localhost",
        "http://user@localhost:1",
        "http://localhost/x",
        "http://localhost/?x",
        "localhost:70000",
        "a b",
        "unix:",
        "localhost:1/x",
        "[::1",
        "https://",
    ] {
        let asked = run(&["stats", "--admin", wrong]);
        assert!(asked.code == 2 && asked.err.contains("a host name"), "{wrong:?}: {asked:?}");
    }
    let unknown = run(&["healthcheck", "--admin", "no-such-host.invalid:9090"]);
    assert!(unknown.code == 1 && unknown.err.contains("cannot connect"), "{unknown:?}");
}

/// A server that answers over TLS like an admin plane.
fn over_tls(certified: &crate::support::Certified) -> Upstream {
    let upstream = Upstream::over_tls(certified.server(&[], None));
    upstream.now(|_| reply("200 OK", &["Content-Type: text/plain"], "ready\n"));
    upstream
}

#[test]
fn over_tls_the_chain_that_the_file_names_is_trusted_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let own = authority.certify(&["gateway.internal"]);
    let renewed = authority.certify(&["127.0.0.1"]);
    let (cert, key) = own.write(folder.path());
    let chain = folder.path().join("chain.pem");
    std::fs::write(&chain, own.certificate.clone() + &authority.pem()).unwrap();
    let check = |upstream: &Upstream, cert: &PathBuf| {
        let file = folder.path().join("gateway.toml");
        let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
        std::fs::write(&file, format!("[admin]\naddress = \"{}\"\n{tls}\n", upstream.address())).unwrap();
        run(&["healthcheck", "--config", file.to_str().unwrap()])
    };
    let listening = over_tls(&own);
    let same = check(&listening, &cert);
    assert_eq!(
        (same.code, same.out.as_str()),
        (0, "ready\n"),
        "the very certificate, whatever it names: {same:?}"
    );
    assert_eq!(check(&over_tls(&renewed), &chain).code, 0, "another one of the chain's authority");
    for (upstream, cert) in [
        (over_tls(&stranger.certify(&["127.0.0.1"])), &chain),
        (over_tls(&authority.certify(&["elsewhere.internal"])), &chain),
        (over_tls(&renewed), &cert),
    ] {
        let refused = check(&upstream, cert);
        assert!(refused.code == 1 && refused.err.contains("certificate"), "{refused:?}");
        assert_eq!(upstream.count(), 0, "nothing was sent");
    }
    let public = run(&["healthcheck", "--admin", &format!("https://{}", listening.address())]);
    assert!(public.code == 1 && public.err.contains("certificate"), "{public:?}");
}

#[test]
fn purge_says_which_word_is_no_id_and_which_tenant_is_unknown() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let admin = gateway.admin.to_string();
    for (arguments, code, words) in [
        (&["purge", "alpha", "bad-id"][..], 2, "`bad-id` is no call ID: expected call_"),
        (&["purge", "ALPHA"], 2, "`ALPHA` is no tenant name: expected"),
        (&["purge", "nobody", "call_1"], 1, "No tenant of this name is configured"),
        (&["purge", "nobody"], 1, "No tenant of this name is configured"),
    ] {
        let purged = run(&[arguments, &["--admin", &admin]].concat());
        assert!(purged.code == code && purged.err.contains(words), "{arguments:?}: {purged:?}");
        assert_eq!(purged.err.lines().count(), 1, "{purged:?}");
    }
    for (method, path) in [("DELETE", "/api/v1/cache/alpha/bad-id"), ("GET", "/api/v1/cache/alpha/bad-id")] {
        let mut client = crate::support::Client::connect(gateway.admin);
        let refused = client.request(method, path, "", &[]).read();
        assert_eq!((refused.status, refused.code().as_str()), (400, "INVALID_REQUEST"), "{method}");
        assert!(refused.text().contains("Invalid call ID format"), "{}", refused.text());
    }
    let unknown = gateway.admin("/api/v1/cache/NOBODY/call_1");
    assert!(unknown.status == 404 && unknown.text().contains("No tenant of this name"), "{}", unknown.text());
}

fn run_with_input(arguments: &[&str], input: &str) -> Finished {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    Finished::of(program(arguments).stdin(file))
}

#[test]
fn a_list_of_calls_is_purged_in_parallel_and_its_failures_are_named() {
    let upstream = Upstream::contract();
    let token = format!("token = {{ value = \"{ADMIN_TOKEN}\" }}");
    let gateway = Config::default().with("admin", &token).start(&upstream);
    let folder = tempfile::tempdir().unwrap();
    let file = file_for(folder.path(), &gateway, &token);
    let mut client = gateway.connect();
    for number in 0..150 {
        client.get(&format!("/v1/calls/call_{number}"), crate::support::TOKENS[0], &[]).read();
    }
    let ids: String = (100..400).map(|number| format!("call_{number}\n")).collect();
    let purged = run_with_input(&["purge", "alpha", "-", "--config", &file], &format!("{ids}\n oops \r\n"));
    assert_eq!(purged.code, 1, "{purged:?}");
    assert_eq!(purged.out, "purged 300 calls of alpha: 50 entries\n");
    assert!(purged.err.contains("oops: no call ID") && purged.err.lines().count() == 2, "{}", purged.err);
    let purged = run(&["purge", "alpha", "call_1", "call_2", "call_999", "--json", "--config", &file]);
    assert_eq!((purged.code, purged.err.as_str()), (0, ""));
    let told: serde_json::Value = serde_json::from_str(&purged.out).unwrap();
    assert_eq!(told, serde_json::json!({ "purged": 2, "failed": [] }));
    let entries = gateway.metric("cache_entries{tenant=\"alpha\"}");
    assert_eq!(entries, 98.0);
    let quiet = run(&["purge", "alpha", "call_3", "call_4", "-q", "--config", &file]);
    assert_eq!((quiet.code, quiet.out.as_str(), quiet.err.as_str()), (0, "", ""));
    for (arguments, words) in [
        (&["purge", "nobody", "call_1", "call_2"][..], "No tenant of this name"),
        (
            &["purge", "alpha", "call_1", "call_2", "--admin-token-file", &file],
            "characters that no token may have",
        ),
    ] {
        let refused = run(&[arguments, &["--config", &file]].concat());
        assert!(refused.code == 1 && refused.err.contains(words), "{arguments:?}: {refused:?}");
    }
    let mistyped = run(&["purge", "alpha", "call_5", "call-6", "--config", &file]);
    assert!(mistyped.code == 2 && gateway.metric("cache_entries{tenant=\"alpha\"}") == 96.0, "{mistyped:?}");
    let nothing = run_with_input(&["purge", "alpha", "-", "--config", &file], "\n");
    assert_eq!((nothing.code, nothing.out.as_str()), (0, "purged 0 calls of alpha: 0 entries\n"));
}

#[test]
fn a_reload_that_is_refused_exits_with_1_and_names_every_problem() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let admin = gateway.admin.to_string();
    let good = run(&["reload", "--admin", &admin]);
    assert_eq!((good.code, good.out.as_str(), good.err.as_str()), (0, "reloaded\n", ""));
    assert_eq!(run(&["reload", "-q", "--admin", &admin]).out, "");
    gateway.rewrite("[cache]\ntll = 1\nttl = \"soon\"\n");
    let refused = run(&["reload", "--admin", &admin]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    for words in ["2:1: cache.tll: unknown key", "3:7: cache.ttl: expected a duration", "tenants: expected"] {
        assert!(refused.err.contains(words), "{words} in {}", refused.err);
    }
    assert!(refused.err.lines().last().unwrap().contains("still running the previous configuration"));
    let json = run(&["reload", "--json", "--admin", &admin]);
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((json.code, told["error"]["code"].as_str()), (1, Some("INVALID_CONFIG")));
    // The command reads the broken file for the address, and must not list the problems twice.
    let path = gateway.config_path().to_str().unwrap().to_owned();
    let by_file =
        Finished::of(program(&["reload", "--config", &path]).env("CREDIRA_GATEWAY__ADMIN__ADDRESS", &admin));
    assert_eq!(by_file.code, 1, "{by_file:?}");
    assert_eq!(by_file.err.matches("cache.tll").count(), 1, "each problem once: {}", by_file.err);
}
