//! What is logged, what never is, and what happens when nobody reads it.

use std::io::Read;

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
fn an_access_line_tells_who_what_and_how_long() {
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
    for absent in ["url.path", "url.full", "url.query", "user_agent.original", "server.address"] {
        assert!(lines.iter().all(|line| line.get(absent).is_none()), "{absent} would be a client's words");
    }
    assert!(
        one["call"].as_str().unwrap().len() == 16
            && one["call"] == two["call"]
            && one["call"] != three["call"]
    );
}

#[test]
fn an_error_line_tells_which_of_its_kind() {
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
fn every_turning_point_is_told_in_one_line() {
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
    told(&["the secret stands in the file itself", "use { env", "tenants[0].upstream_key"]);
    told(&["listening", "\"plane\":\"data\"", &gateway.data.to_string()]);
    assert_eq!(gateway.reload(&config()).status, 200);
    told(&["reloaded: new requests see the new configuration", "\"level\":\"INFO\""]);
    gateway.rewrite("[cache]\nttl = \"soon\"\n");
    assert_eq!(gateway.post_reload().status, 422);
    told(&["not reloaded: the running configuration stays; mend the file and reload", "cache.ttl", ":2:7"]);
    upstream.now(|seen| match seen.header("authorization") {
        Some("Bearer another") => crate::support::call_reply(seen.id(), &[]),
        _ => reply("401 X", &["Content-Type: application/json"], "{}"),
    });
    gateway.get("call_promoted");
    told(&["took its other one", "remove the rejected key from the configuration", "\"tenant\":\"alpha\""]);
    gateway.get_as(1, "call_rejected", &[]);
    told(&["rejected this tenant's upstream_key", "until the key is replaced", "\"tenant\":\"beta\""]);
    upstream.now(|_| reply("503 X", &["Content-Type: application/json"], "{}"));
    for number in 0..5 {
        gateway.get(&format!("call_{number}"));
    }
    let opened = told(&["its breaker is open", "503", "only the upstream or the way to it needs help"]);
    assert_eq!((opened["last_failure"].as_str(), opened["tenant"].as_str()), (Some("503"), Some("alpha")));
    upstream.now(|seen| crate::support::call_reply(seen.id(), &[]));
    eventually("the breaker closes", || gateway.get("call_back").status == 200);
    told(&["the upstream is back", "nothing is left to do"]);
    gateway.process.signal("TERM");
    let drain = told(&["draining: readiness is off", "then the process ends", "SIGTERM"]);
    assert_eq!(drain["drain_timeout_seconds"], 30.0);
    told(&["drained: the process ends now"]);
    gateway.process.wait();
}

#[test]
fn why_the_upstream_cannot_be_reached_is_told_once_with_what_to_do() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&Config::default(), closed);
    for number in 0..5 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 502);
    }
    let is_it = |line: &str| line.contains("cannot connect to the upstream");
    let line = gateway.process.err_line("about the upstream", is_it);
    assert!(line.contains("nobody listens there") && line.contains("check upstream.base_url"), "{line}");
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

#[test]
fn t70_and_t72_no_secret_no_body_and_no_id_is_ever_written() {
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
                "User-Agent: canary-of-the-agent",
            ],
        );
    }
    gateway.connect().get("/v1/calls/call_canaryq?canary-of-the-query", TOKENS[0], &[]).read();
    gateway.connect().get("/v1/calls/call_canaryx", "canary-of-a-token-0123456789abcdef", &[]).read();
    // What the HTTP library refuses, as the angle brackets, is no request and gets no line.
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

/// The same where TLS, a proxy with credentials and all that can go wrong with them are on the way.
#[test]
fn t70_no_secret_is_written_on_the_way_through_tls_and_a_proxy() {
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

#[test]
fn t73_nobody_can_forge_a_line() {
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
fn text_lines_are_for_people_and_have_no_colours_in_a_pipe() {
    let upstream = Upstream::contract();
    let text = Config::default().with("log", "format = \"text\"\naccess = \"all\"").text(upstream.address());
    let file = write_config(&text);
    let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    let line =
        process.err_line("about a listener", |line| line.contains("listening") && line.contains("data"));
    assert!(line.contains("INFO") && !line.contains('\x1b') && !line.starts_with('{'), "{line}");
}

#[test]
fn f35_a_reader_that_stalls_costs_lines_and_no_request() {
    let upstream = Upstream::contract();
    let config = Config::default().with("log", "access = \"all\"");
    let text = config.text(upstream.address()).replacen(
        "address = \"127.0.0.1:0\"",
        "address = \"127.0.0.1:DATA\"",
        1,
    );
    // The log can't be read for the ports, so they are chosen here.
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

#[test]
fn a_full_disk_under_the_log_costs_nothing_but_the_log() {
    let upstream = Upstream::contract();
    let mut text = Config::default().with("log", "access = \"all\"").text(upstream.address());
    // Their addresses are told in the log alone, so they are chosen here.
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
