//! What is logged, what is never logged, and what happens if nothing reads the log.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Act, Authority, Client, Config, Gateway, KEYS, Program, Proxy, TOKENS, Upstream, eventually, program,
    reply, write_config,
};

fn access_lines(gateway: &Gateway) -> Vec<serde_json::Value> {
    let lines = gateway.process.err();
    let parsed = lines
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one JSON object a line"));
    parsed.filter(|line| line["target"] == "credira_gateway::access").collect()
}

fn wait_for_lines(gateway: &Gateway, count: usize) -> Vec<serde_json::Value> {
    eventually("the access lines are written", || access_lines(gateway).len() >= count);
    access_lines(gateway)
}

#[test]
fn an_access_line_has_tenant_request_and_duration() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("log", "access = \"all\"").start(&upstream);
    gateway.get_with("call_1", &["X-Request-Id: one"]);
    gateway.get_with(
        "call_1",
        &["X-Request-Id: two", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    );
    gateway.get_with("call_progress", &["X-Request-Id: three"]);
    gateway.connect().get("/nowhere", "", &["X-Request-Id: four"]).read();
    let lines = wait_for_lines(&gateway, 4);
    let of = |id: &str| {
        lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("{id}")).clone()
    };
    let (one, two, three, four) = (of("one"), of("two"), of("three"), of("four"));
    assert_eq!(one["tenant"], "alpha");
    assert_eq!(one["http.route"], "/v1/calls/{id}");
    assert_eq!(one["http.request.method"], "GET");
    assert_eq!(one["http.response.status_code"], 200);
    assert_eq!((one["outcome"].as_str(), two["outcome"].as_str()), (Some("miss"), Some("hit")));
    assert!(one["http.server.request.duration"].as_f64().unwrap() > 0.0);
    assert_eq!(one["network.peer.address"], "127.0.0.1");
    assert_eq!(two["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(three["detail"], "not-completed");
    assert_eq!((four["tenant"].as_str(), four["http.response.status_code"].as_u64()), (Some("-"), Some(401)));
    assert_eq!(four.get("http.route"), None);
    assert_eq!(four["error.type"], "UNAUTHORIZED");
    assert!(one.get("error.type").is_none() && one["network.protocol.version"] == "1.1");
    for absent in ["url.path", "url.full", "url.query", "server.address"] {
        assert!(lines.iter().all(|line| line.get(absent).is_none()), "{absent} would be a client's words");
    }
    assert!(
        one["call"].as_str().unwrap().len() == 16
            && one["call"] == two["call"]
            && one["call"] != three["call"]
    );
}

#[test]
fn an_error_line_has_the_detail_of_its_cause() {
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_500" => reply("500 X", &["Content-Type: application/json"], "{}"),
        _ => vec![Act::Close],
    });
    let config = Config::default().with("upstream.retry", "max_attempts = 1");
    let gateway = config.tenant(1, "rate_limit = { per_minute = 1, burst = 1 }").start(&upstream);
    for (tenant, id) in [(0, "call_500"), (0, "call_reset"), (0, "nonsense"), (1, "nonsense"), (1, "call_1")]
    {
        gateway.get_as(tenant, id, &[]);
    }
    let kinds: Vec<_> = wait_for_lines(&gateway, 5)
        .iter()
        .map(|line| line["error.type"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(kinds, ["500", "UPSTREAM_ERROR", "INVALID_REQUEST", "INVALID_REQUEST", "RATE_LIMITED"]);
}

/// One line each: what happened, and what it means or what to do.
#[test]
fn every_state_change_is_logged_in_one_line() {
    let upstream = Upstream::contract();
    let config = || {
        let breaker = "min_requests = 3\nopen_for = \"50ms\"";
        let config = Config::default().with("upstream.breaker", breaker);
        let config = config.with("upstream.retry", "max_attempts = 1").with("log", "access = \"off\"");
        config.tenant(0, "upstream_key_next = { value = \"another\" }")
    };
    let mut gateway = config().start(&upstream);
    let told = |words: &[&str]| {
        let line = gateway.process.err_line(words[0], |line| words.iter().all(|word| line.contains(word)));
        serde_json::from_str::<serde_json::Value>(&line).expect("one JSON object a line")
    };
    let start = told(&["\"message\":\"starting\"", "\"tenants\":2", "\"version\"", "\"revision\""]);
    assert_eq!(start["upstream"], format!("http://{}", upstream.address()));
    assert_eq!(start["config"], gateway.config_path().to_str().unwrap());
    told(&["the secret is written in the configuration file itself", "use { env", "tenants[0].upstream_key"]);
    told(&["listening", "\"plane\":\"data\"", &gateway.data.to_string()]);
    assert_eq!(gateway.reload(&config()).status, 200);
    told(&["reloaded: new requests see the new configuration", "\"level\":\"INFO\""]);
    gateway.rewrite("[cache]\nttl = \"soon\"\n");
    assert_eq!(gateway.post_reload().status, 422);
    told(&["reload rejected; still running the previous configuration", "cache.ttl", ":2:7"]);
    upstream.now(|seen| match seen.header("authorization") {
        Some("Bearer another") => crate::support::call_reply(seen.id(), &[]),
        _ => reply("401 X", &["Content-Type: application/json"], "{}"),
    });
    gateway.get("call_promoted");
    told(&[
        "accepted the tenant's other key",
        "remove the rejected key from the configuration",
        "\"tenant\":\"alpha\"",
    ]);
    gateway.get_as(1, "call_rejected", &[]);
    told(&["rejected this tenant's API key", "until the key is replaced", "\"tenant\":\"beta\""]);
    upstream.now(|_| reply("503 X", &["Content-Type: application/json"], "{}"));
    for number in 0..5 {
        gateway.get(&format!("call_{number}"));
    }
    let opened = told(&["upstream breaker opened", "503", "check the upstream and the way to it"]);
    assert_eq!((opened["last_failure"].as_str(), opened["tenant"].as_str()), (Some("503"), Some("alpha")));
    upstream.now(|seen| crate::support::call_reply(seen.id(), &[]));
    eventually("the breaker closes", || gateway.get("call_back").status == 200);
    told(&["upstream breaker closed", "lookups are sent again", "\"answer\":\"200\""]);
    gateway.process.signal("TERM");
    let drain = told(&["draining: readiness is off", "then the process ends", "SIGTERM"]);
    assert_eq!(drain["drain_timeout_seconds"], 30.0);
    told(&["drained: process ends now"]);
    gateway.process.wait();
}

fn lines_with<'a>(gateway: &Gateway, words: &'a str) -> impl Iterator<Item = String> + use<'a> {
    gateway.process.err().into_iter().filter(move |line| line.contains(words))
}

#[test]
fn an_access_line_has_bytes_user_agent_and_what_the_fetch_took() {
    let upstream = Upstream::scripted(|seen| match seen.number {
        0 => reply("503 X", &[], ""),
        _ => crate::support::call_reply(seen.id(), &[]),
    });
    let gateway = Config::default().with("log", "access = \"all\"").start(&upstream);
    let long = format!("User-Agent: service/1.2 {}", "x".repeat(300));
    let answer = gateway.get_with("call_1", &[&long]);
    assert_eq!(answer.status, 200);
    gateway.get("call_1");
    let lines = wait_for_lines(&gateway, 2);
    assert_eq!(lines[0]["bytes"], answer.body.len());
    let shown = lines[0]["user_agent"].as_str().unwrap();
    assert!(shown.starts_with("service/1.2 xxx") && shown.len() == 128, "{shown}");
    assert_eq!(lines[0]["upstream_attempts"], 2);
    assert!(lines[0]["upstream_seconds"].as_f64().unwrap() > 0.0);
    assert!(lines[1].get("upstream_attempts").is_none(), "a hit sends nothing upstream: {}", lines[1]);
    assert!(lines[1].get("user_agent").is_none() && lines[1]["bytes"] == answer.body.len());
}

#[test]
fn every_refusal_has_a_detail_so_that_three_kinds_of_429_are_three() {
    let upstream = Upstream::contract();
    let limits =
        "rate_limit = { per_second = 0.001, burst = 3 }\nupstream_limit = { per_second = 0.001, burst = 1 }";
    let gateway = Config::default().tenant(1, limits).start(&upstream);
    for id in ["call_1", "call_2", "nonsense", "call_3"] {
        gateway.get_as(1, id, &[]);
    }
    upstream.now(|_| reply("429 X", &["Retry-After: 60", "Content-Type: application/json"], "{}"));
    gateway.get("call_1");
    gateway.get("call_2");
    gateway.get_with("call_3", &["Cache-Control: only-if-cached"]);
    gateway.connect().get("/v1/calls/call_1", "nobody", &[]).read();
    let lines = wait_for_lines(&gateway, 7);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (line["http.response.status_code"].as_u64().unwrap(), line["detail"].as_str().unwrap_or(""))
        })
        .collect();
    assert_eq!(
        told,
        [
            (429, "upstream-budget"),
            (400, "call-id"),
            (429, "tenant-limit"),
            (429, "status"),
            (429, "upstream-pause"),
            (504, "only-if-cached"),
            (401, "token"),
        ]
    );
}

#[test]
fn a_state_that_lasts_is_logged_once_whatever_the_number_of_lookups() {
    let upstream = Upstream::scripted(|seen| match seen.id().as_bytes().last() {
        Some(b'1') => reply("401 X", &["Content-Type: application/json"], "{}"),
        Some(b'2') => reply("200 OK", &["Content-Type: text/html"], "<html>"),
        Some(b'3') => crate::support::call_reply("call_another", &[]),
        _ => vec![Act::Close],
    });
    let config = Config::default().with("upstream.retry", "max_attempts = 1");
    let config = config.with("upstream.breaker", "min_requests = 1000").with("log", "access = \"off\"");
    let gateway = config.start(&upstream);
    for round in 0..5 {
        for kind in 1..=4 {
            assert_eq!(gateway.get(&format!("call_{round}{kind}")).status, 502);
        }
    }
    gateway.process.signal("TERM");
    gateway.process.err_line("about the end", |line| line.contains("drained"));
    for (words, level, count) in [
        ("rejected this tenant's API key", "ERROR", 1),
        ("answered with another call", "ERROR", 1),
        ("\"detail\":\"invalid-body\"", "WARN", 1),
        ("closed before the response began", "WARN", 1),
    ] {
        let lines: Vec<_> = lines_with(&gateway, words).collect();
        assert_eq!(lines.len(), count, "{words}: {lines:#?}");
        assert!(lines.iter().all(|line| line.contains(level) && line.contains("\"tenant\":\"alpha\"")));
    }
}

#[test]
fn a_pause_has_a_line_of_its_own() {
    let upstream =
        Upstream::always(reply("429 X", &["Retry-After: 60", "Content-Type: application/json"], "{}"));
    let gateway = Gateway::plain(&upstream);
    for number in 0..4 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 429);
    }
    wait_for_lines(&gateway, 4);
    let lines: Vec<_> = lines_with(&gateway, "until the pause has passed").collect();
    assert!(lines.len() == 1 && lines[0].contains("\"seconds\":60"), "{lines:#?}");
}

#[test]
fn each_mutation_is_logged_with_its_peer_token_and_result() {
    let token = "admin-token-0123456789-0123456789-abcdef";
    let upstream = Upstream::contract();
    let config = Config::default().with("log", "access = \"off\"");
    let gateway = config.with("admin", &format!("token = {{ value = \"{token}\" }}")).start(&upstream);
    gateway.get("call_1");
    let ask = |method: &str, path: &str, token: &str| {
        Client::connect(gateway.admin).request(method, path, token, &[]).read().status
    };
    assert_eq!(ask("DELETE", "/api/v1/cache/alpha/call_1", token), 200);
    assert_eq!(ask("DELETE", "/api/v1/cache/nobody", token), 404);
    assert_eq!(ask("POST", "/api/v1/reload", token), 200);
    assert_eq!(ask("DELETE", "/api/v1/cache", "wrong"), 401);
    assert_eq!(ask("GET", "/api/v1/stats", token), 200);
    gateway.process.err_line("about the reload", |line| line.contains("\"mutation\":\"reload\""));
    let lines: Vec<serde_json::Value> =
        lines_with(&gateway, "admin mutation").map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert_eq!(lines.len(), 3, "reads and what is refused at the door are none: {lines:#?}");
    let of = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or("-").to_owned();
    let told = |line| {
        let status = line_status(line);
        [
            of(line, "mutation"),
            of(line, "tenant"),
            of(line, "token"),
            of(line, "network.peer.address"),
            status,
        ]
        .map(|word| if word.starts_with("127.0.0.1:") { "peer".to_owned() } else { word })
    };
    assert_eq!(told(&lines[0]), ["purge of a call", "alpha", "admin.token", "peer", "200"]);
    assert_eq!((lines[0]["purged"].as_u64(), of(&lines[0], "call").len()), (Some(1), 16));
    assert_eq!(told(&lines[1]), ["purge of a tenant", "nobody", "admin.token", "peer", "404"]);
    assert_eq!(told(&lines[2]), ["reload", "-", "admin.token", "peer", "200"]);
}

fn line_status(line: &serde_json::Value) -> String {
    line["http.response.status_code"].to_string()
}

#[test]
fn an_unreachable_upstream_is_logged_once_with_advice() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&Config::default(), closed);
    for number in 0..5 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 502);
    }
    let is_it = |line: &str| line.contains("upstream connection failed");
    let line = gateway.process.err_line("about the upstream", is_it);
    assert!(line.contains("connection refused") && line.contains("check upstream.base_url"), "{line}");
    wait_for_lines(&gateway, 5);
    assert_eq!(gateway.process.err().iter().filter(|line| is_it(line)).count(), 1);
}

#[test]
fn the_access_log_is_of_all_of_errors_or_off() {
    let upstream = Upstream::contract();
    let count = |mode: &str| {
        let gateway = Config::default().with("log", &format!("access = \"{mode}\"")).start(&upstream);
        gateway.get("call_1");
        gateway.get("nonsense");
        gateway.process.signal("TERM");
        gateway.process.err_line("about the end", |line| line.contains("drained"));
        access_lines(&gateway).len()
    };
    assert_eq!((count("all"), count("errors"), count("off")), (2, 1, 0));
}

#[test]
fn call_ids_appear_only_where_they_are_asked_for() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("log", "access = \"all\"\ncall_ids = true").start(&upstream);
    gateway.get("call_visible");
    assert_eq!(wait_for_lines(&gateway, 1)[0]["call"], "call_visible");
}

// T70, T72.
#[test]
fn no_secret_no_body_and_no_id_is_ever_written() {
    let upstream = Upstream::scripted(|seen| {
        let body = crate::support::call(seen.id()).replace("made-up", "canary-of-the-body");
        let (status, body) = match seen.id() {
            "call_canarybad" => ("200 OK", "canary-of-the-body <html>".to_owned()),
            "call_canaryother" => ("200 OK", body.replace("call_canaryother", "call_canarymixed")),
            "call_canaryerror" => ("500 X", "{\"error\":\"canary-of-the-body\"}".to_owned()),
            "call_canarykey" => ("401 X", "{}".to_owned()),
            _ => ("200 OK", body),
        };
        crate::support::reply(status, &["X-Canary: canary-of-the-header"], &body)
    });
    let config =
        Config::default().with("log", "access = \"all\"\nlevel = \"trace\"").env("RUST_LOG", "trace");
    let gateway = config.tenant(0, "rate_limit = { per_second = 1000 }").start(&upstream);
    for id in ["ok", "ok", "bad", "other", "error", "key", "<script>"] {
        gateway.get_with(
            &format!("call_canary{id}"),
            &[
                "Cookie: canary-of-the-cookie",
                "X-Api-Key: canary-of-the-client",
                "User-Agent: agent-of-the-client",
            ],
        );
    }
    gateway.connect().get("/v1/calls/call_canaryq?canary-of-the-query", TOKENS[0], &[]).read();
    gateway.connect().get("/v1/calls/call_canaryx", "canary-of-a-token-0123456789abcdef", &[]).read();
    // The HTTP library rejects angle brackets before there is a request, so there is no line.
    wait_for_lines(&gateway, 8);
    let metrics = gateway.admin("/metrics").text();
    gateway.process.signal("TERM");
    gateway.process.err_line("about the end", |line| line.contains("drained"));
    let log = gateway.process.err().join("\n");
    for canary in ["canary", TOKENS[0], TOKENS[1], KEYS[0], KEYS[1], "+12025550143", "promised to pay"] {
        assert!(!log.contains(canary), "{canary} in\n{log}");
        assert!(!metrics.contains(canary), "{canary} in the metrics");
    }
}

/// The same with TLS and a proxy with credentials, and with their failures.
// T70.
#[test]
fn no_secret_is_written_on_the_way_through_tls_and_a_proxy() {
    const NAME: &str = "api.internal.test";
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let own = authority.certify(&["gateway.test"]);
    let (cert, key) = own.write(folder.path());
    let ca = authority.write(folder.path());
    let good = Upstream::over_tls(authority.certify(&[NAME]).server(&[], None));
    let strange =
        Upstream::over_tls(authority.certify(&["canary-of-the-certificate.test"]).server(&[], None));
    let (tokens, password) = (["canary-of-a-token-0123456789abcdefg", TOKENS[1]], "canary-of-the-proxy");
    for (upstream, status) in [(&good, 200), (&strange, 502)] {
        let proxy = Proxy::to(upstream.address());
        let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display());
        let upstream_lines = format!("base_url = \"https://{NAME}\"\nca_file = \"{}\"", ca.display());
        let config = Config::default()
            .with("listen", &tls)
            .with("upstream", &upstream_lines)
            .with("log", "access = \"all\"\nlevel = \"trace\"")
            .tenant(0, "tokens = [{ env = \"TOKEN\" }]\nupstream_key = { env = \"KEY\" }")
            .env("TOKEN", tokens[0])
            .env("KEY", "canary-of-the-key")
            .env("HTTPS_PROXY", &format!("http://user:{password}@{}", proxy.address))
            .env("RUST_LOG", "trace");
        let gateway = Gateway::start(&config, upstream.address());
        for id in ["call_canary", "call_canary", "nonsense-canary"] {
            let mut client = Client::tls(gateway.data, authority.client(None, &[]), "gateway.test").unwrap();
            let answer = client.get(&format!("/v1/calls/{id}"), tokens[0], &[]).read();
            assert!([400, status].contains(&answer.status), "{answer:?}");
        }
        assert!(Client::tls(gateway.data, Authority::new().client(None, &[]), "gateway.test").is_err());
        wait_for_lines(&gateway, 3);
        let mut shown: Vec<String> = ["/metrics", "/readyz?verbose", "/api/v1/config", "/api/v1/stats"]
            .iter()
            .map(|path| gateway.admin(path).text())
            .collect();
        gateway.process.signal("TERM");
        gateway.process.err_line("about the end", |line| line.contains("drained"));
        let log = gateway.process.err().join("\n");
        let private = std::fs::read_to_string(&key).unwrap();
        let secret_line = private.lines().nth(1).unwrap();
        shown.push(log.replace("canary-of-the-certificate", "named"));
        for text in &shown {
            for canary in ["canary", TOKENS[1], KEYS[1], secret_line, "promised to pay"] {
                assert!(!text.contains(canary), "{canary} in\n{text}");
            }
        }
    }
}

// T73.
#[test]
fn log_lines_cannot_be_forged() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("log", "access = \"all\"").start(&upstream);
    for line in [
        "X-Request-Id: a\x1b[31m",
        "X-Request-Id: \"},{\"",
        "User-Agent: a\tb\"c",
        "traceparent: 00-\"-\"-01",
    ] {
        gateway.get_with("call_1", &[line]);
    }
    gateway
        .connect()
        .request("G\"ET", "/v1/calls/call_%22%0a{\"level\":\"ERROR\"}", TOKENS[0], &[])
        .try_read();
    gateway.connect().request("GET", "/v1/calls/call_{\"level\":\"ERROR\"}", TOKENS[0], &[]).try_read();
    wait_for_lines(&gateway, 4);
    assert!(gateway.process.err().iter().all(|line| !line.contains('\x1b') && !line.contains("ERROR")));
}

#[test]
fn a_rust_log_that_is_no_level_is_warned_about_and_changes_nothing() {
    let upstream = Upstream::contract();
    for (rust_log, warned) in [("verbose", true), ("warning,myapp=debug", true), ("myapp=debug", false)] {
        let gateway = Config::default().env("RUST_LOG", rust_log).start(&upstream);
        let word = rust_log.split(',').next().unwrap();
        let is_warned = gateway
            .process
            .err()
            .iter()
            .any(|line| line.contains("\"WARN\"") && line.contains(&format!("\"directive\":\"{word}\"")));
        assert_eq!(is_warned, warned, "{rust_log}");
        gateway.get("nonsense");
        assert_eq!(wait_for_lines(&gateway, 1).len(), 1, "errors are logged as configured");
    }
    let gateway =
        Config::default().env("RUST_LOG", "myapp=trace").with("log", "level = \"info\"").start(&upstream);
    let quiet = Config::default().with("log", "level = \"debug\"");
    assert_eq!(gateway.reload(&quiet).status, 200);
    gateway.get("call_1");
    gateway.process.err_line("of the level that was reloaded", |line| line.contains("\"DEBUG\""));
}

#[test]
fn text_lines_are_for_people_and_have_no_colours_in_a_pipe() {
    let upstream = Upstream::contract();
    let text = Config::default().with("log", "format = \"text\"\naccess = \"all\"").text(upstream.address());
    let file = write_config(&text);
    let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    let line =
        process.err_line("about a listener", |line| line.contains("listening") && line.contains("data"));
    assert!(line.contains("INFO") && !line.contains('\x1b') && !line.starts_with('{'), "{line}");
}

// F35.
#[test]
fn a_reader_that_stalls_costs_lines_and_no_request() {
    let upstream = Upstream::contract();
    let config = Config::default().with("log", "access = \"all\"");
    let text = config.text(upstream.address()).replacen(
        "address = \"127.0.0.1:0\"",
        "address = \"127.0.0.1:DATA\"",
        1,
    );
    // The log can't be read to find the ports, so they are chosen here.
    let ports: Vec<u16> = (0..2)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect::<Vec<_>>()
        .iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect();
    let text = text.replace("DATA", &ports[0].to_string()).replacen(
        "127.0.0.1:0",
        &format!("127.0.0.1:{}", ports[1]),
        1,
    );
    let file = write_config(&text);
    let (process, mut unread) =
        Program::start_unread(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    let data = std::net::SocketAddr::from(([127, 0, 0, 1], ports[0]));
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], ports[1]));
    eventually("the gateway listens", || std::net::TcpStream::connect(data).is_ok());
    let mut client = crate::support::Client::connect(data);
    for _ in 0..12_000 {
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    }
    let dropped = || {
        let text = crate::support::Client::connect(admin).get("/metrics", "", &[]).read().text();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("credira_gateway_log_lines_dropped_total ").map(str::to_owned)
        });
        line.unwrap().parse::<u64>().unwrap()
    };
    assert!(dropped() > 0);
    drop(process);
    let mut rest = Vec::new();
    let _ = unread.read_to_end(&mut rest);
}

/// Fills a pipe to the last byte through a separate, non-blocking descriptor.
fn fill(pipe: &std::io::PipeReader) {
    const O_NONBLOCK: i32 = 0o4000;
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let mut way_in = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    while way_in.write_all(b"\n").is_ok() {}
}

/// The end must not wait for a reader: not for the log's, and not for that of standard output, which is the
/// same pipe here.
#[test]
fn the_process_ends_in_time_although_its_output_is_not_read() {
    let upstream = Upstream::contract();
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [data, admin] = sockets.map(|socket| socket.local_addr().unwrap());
    let config = Config::default().with("log", "access = \"all\"").with("shutdown", "drain_timeout = \"1s\"");
    let mut text = config.text(upstream.address());
    for address in [data, admin] {
        text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
    }
    let file = write_config(&text);
    for signals in [1, 2] {
        let (unread, output) = std::io::pipe().unwrap();
        let mut command = program(&["serve", "-c", file.path().to_str().unwrap()]);
        let mut child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        // The command has copies of the pipe's ends.
        drop(command);
        eventually("the gateway listens", || std::net::TcpStream::connect(data).is_ok());
        let mut client = Client::connect(data);
        // A line has more than 300 bytes, the pipe takes 65,536, and the queue 2,048 lines.
        for _ in 0..3000 {
            assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
        }
        fill(&unread);
        let begun = Instant::now();
        for _ in 0..signals {
            assert!(
                Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success()
            );
        }
        let mut status = None;
        eventually("the process ends", || {
            status = child.try_wait().unwrap();
            status.is_some() || begun.elapsed() > Duration::from_secs(5)
        });
        let _ = child.kill();
        child.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?} after {signals}", begun.elapsed());
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        let mut written = String::new();
        { unread }.read_to_string(&mut written).unwrap();
        let is_stray = |line: &&str| !line.is_empty() && !line.starts_with("{\"timestamp\"");
        let strays: Vec<_> = written.lines().filter(is_stray).collect();
        assert!(strays.is_empty(), "no library writes beside the log: {strays:?}");
    }
}

#[test]
fn a_full_disk_under_the_log_costs_nothing_but_the_log() {
    let upstream = Upstream::contract();
    let mut text = Config::default().with("log", "access = \"all\"").text(upstream.address());
    // Only the log has the bound addresses, so they are chosen here.
    let sockets = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [data, admin] = sockets.map(|socket| socket.local_addr().unwrap());
    for address in [data, admin] {
        text = text.replacen("127.0.0.1:0", &address.to_string(), 1);
    }
    let file = write_config(&text);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program(&["serve", "-c", file.path().to_str().unwrap()]);
    let mut child = command.stderr(full).spawn().unwrap();
    eventually("the gateway listens", || std::net::TcpStream::connect(data).is_ok());
    let mut client = crate::support::Client::connect(data);
    for _ in 0..100 {
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    }
    eventually("what was not written is counted", || {
        let text = crate::support::Client::connect(admin).get("/metrics", "", &[]).read().text();
        let count =
            text.lines().find_map(|line| line.strip_prefix("credira_gateway_log_lines_dropped_total "));
        count.is_some_and(|count| count.parse::<u64>().unwrap() >= 100)
    });
    child.kill().unwrap();
    child.wait().unwrap();
}
