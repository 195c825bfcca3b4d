//! Access to the admin plane: cross-site browser requests, rebound DNS names, clients without a token, and requests
//! with unexpected content.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use crate::support::{
    Client, Config, Finished, Gateway, KEYS, Program, Response, TOKENS, Upstream, program, write_config,
};

const ADMIN_TOKEN: &str = "admin-token-0123456789-0123456789-abcdef";

fn secured() -> Config {
    Config::default().with("admin", &format!("token = {{ value = \"{ADMIN_TOKEN}\" }}"))
}

/// A request with exactly these lines.
fn ask(address: SocketAddr, line: &str, lines: &[&str]) -> Response {
    let head: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    Client::connect(address).send(format!("{line} HTTP/1.1\r\n{head}\r\n")).read()
}

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert!(!response.headers.iter().any(|(name, _)| name.starts_with("access-control")), "no CORS");
}

/// Everything below `/api/`, by method.
const API: [&str; 9] = [
    "GET /api/v1/stats",
    "GET /api/v1/history",
    "GET /api/v1/config",
    "GET /api/v1/explain/alpha/call_1",
    "GET /api/v1/cache/alpha/call_1",
    "DELETE /api/v1/cache/alpha/call_1",
    "DELETE /api/v1/cache/alpha",
    "DELETE /api/v1/cache",
    "POST /api/v1/reload",
];

// T79.
#[test]
fn a_page_of_another_site_changes_and_learns_nothing() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let host = format!("Host: {}", gateway.admin);
    for line in [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: nonsense",
        "Origin: https://evil.example",
        "Origin: null",
        "Origin: http://127.0.0.1:1",
    ] {
        for request in API.iter().chain(&["OPTIONS /api/v1/cache"]) {
            refused(&ask(gateway.admin, request, &[&host, line]), 403, "FORBIDDEN");
        }
    }
    let own = format!("Origin: http://{}", gateway.admin);
    let lines = [host.as_str(), "Sec-Fetch-Site: same-origin", &own];
    assert_eq!(ask(gateway.admin, "GET /api/v1/cache/alpha/call_1", &lines).status, 200, "still there");
    assert_eq!(ask(gateway.admin, "DELETE /api/v1/cache/alpha/call_1", &lines).status, 200);
    assert_eq!(ask(gateway.admin, "GET /api/v1/stats", &[&host, "Sec-Fetch-Site: none"]).status, 200);
    assert_eq!(gateway.metric("config_reloads_total{result=\"success\"}"), 0.0);
}

// T80.
#[test]
fn a_rebound_host_name_is_not_served() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("admin", "hosts = [\"gateway.internal\"]").start(&upstream);
    for host in ["evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil.example"] {
        let host = format!("Host: {host}");
        for request in API.iter().chain(&["GET /", "HEAD /", "GET /api", "GET /api/nonsense"]) {
            let head = *request == "HEAD /";
            let response = Client::connect(gateway.admin)
                .send(format!("{request} HTTP/1.1\r\n{host}\r\n\r\n"))
                .read_head()
                .unwrap();
            assert_eq!(response.status, 421, "{request} {host}");
            if !head {
                refused(&ask(gateway.admin, request, &[&host]), 421, "MISDIRECTED");
            }
        }
        for path in ["/metrics", "/livez", "/readyz", "/openapi.yaml"] {
            assert_eq!(ask(gateway.admin, &format!("GET {path}"), &[&host]).status, 200, "{path}");
        }
    }
    for host in ["127.0.0.1", "[::1]:9090", "localhost:1", "GATEWAY.internal:8443"] {
        let host = format!("Host: {host}");
        for path in ["/", "/api/v1/stats"] {
            assert_eq!(ask(gateway.admin, &format!("GET {path}"), &[&host]).status, 200, "{host} {path}");
        }
    }
    for lines in [&[][..], &["Host: 127.0.0.1", "Host: 127.0.0.1"], &["Host: "], &["Host: a@127.0.0.1"]] {
        refused(&ask(gateway.admin, "GET /api/v1/stats", lines), 421, "MISDIRECTED");
    }
    let target = "GET http://evil.example/api/v1/stats";
    refused(&ask(gateway.admin, target, &["Host: 127.0.0.1"]), 421, "MISDIRECTED");
}

#[test]
fn the_admin_token_and_no_other_opens_the_api() {
    let upstream = Upstream::contract();
    let gateway = secured().start(&upstream);
    let host = "Host: 127.0.0.1";
    let right = format!("Authorization: Bearer {ADMIN_TOKEN}");
    let tenants = format!("Authorization: Bearer {}", TOKENS[0]);
    let longer = format!("{right}x");
    let basic = format!("Authorization: Basic {ADMIN_TOKEN}");
    let wrong: [&[&str]; 7] = [
        &[host],
        &[host, "Authorization: Bearer wrong"],
        &[host, &tenants],
        &[host, &longer],
        &[host, &basic],
        &[host, &right, &right],
        &[host, &right, &tenants],
    ];
    for request in API {
        for lines in wrong {
            let response = ask(gateway.admin, request, lines);
            refused(&response, 401, "UNAUTHORIZED");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(ask(gateway.admin, "GET /api/v1/stats?token=x", &[host]).status, 401);
    assert_eq!(
        ask(gateway.admin, "GET /api/nonsense", &[host]).status,
        401,
        "unauthenticated clients learn no paths"
    );
    assert_eq!(ask(gateway.admin, "GET /api/v1/stats", &[host, &right]).status, 200);
    assert_eq!(ask(gateway.admin, "DELETE /api/v1/cache", &[host, &right]).status, 200);
    for path in ["/", "/metrics", "/livez", "/readyz", "/openapi.yaml"] {
        assert_eq!(ask(gateway.admin, &format!("GET {path}"), &[host]).status, 200, "{path} asks for none");
    }
    let other_site = [host, &right, "Origin: https://evil.example"];
    refused(&ask(gateway.admin, "GET /api/v1/stats", &other_site), 403, "FORBIDDEN");
    // The admin token is not valid on the data plane.
    let lookup = gateway.connect().get("/v1/calls/call_1", ADMIN_TOKEN, &[]).read();
    assert_eq!((lookup.status, upstream.count()), (401, 0));
}

#[test]
fn without_a_token_the_api_is_closed_where_others_can_reach_it() {
    let upstream = Upstream::contract();
    let everywhere = |config: Config| config.with("admin", "address = \"0.0.0.0:0\"").start(&upstream);
    let on_loopback = |gateway: &Gateway| SocketAddr::from(([127, 0, 0, 1], gateway.admin.port()));
    let open = everywhere(Config::default());
    for request in API {
        refused(&ask(on_loopback(&open), request, &["Host: 127.0.0.1"]), 403, "FORBIDDEN");
    }
    for path in ["/", "/metrics", "/livez", "/readyz", "/openapi.yaml"] {
        assert_eq!(
            ask(on_loopback(&open), &format!("GET {path}"), &["Host: 127.0.0.1"]).status,
            200,
            "{path}"
        );
    }
    let token = format!("token = {{ value = \"{ADMIN_TOKEN}\" }}");
    let closed = everywhere(Config::default().with("admin", &token));
    let right = format!("Authorization: Bearer {ADMIN_TOKEN}");
    let stats = |lines: &[&str]| ask(on_loopback(&closed), "GET /api/v1/stats", lines).status;
    assert_eq!(stats(&["Host: 127.0.0.1"]), 401);
    assert_eq!(stats(&["Host: 127.0.0.1", &right]), 200);
}

#[test]
fn mutations_require_their_own_method() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    for (path, allowed) in [
        ("/", "GET, HEAD"),
        ("/openapi.yaml", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/api/v1/stats", "GET, HEAD"),
        ("/api/v1/history", "GET, HEAD"),
        ("/api/v1/config", "GET, HEAD"),
        ("/api/v1/explain/alpha/call_1", "GET, HEAD"),
        ("/api/v1/cache", "DELETE"),
        ("/api/v1/cache/alpha", "DELETE"),
        ("/api/v1/cache/alpha/call_1", "GET, HEAD, DELETE"),
        ("/api/v1/reload", "POST"),
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"] {
            if allowed.split(", ").any(|one| one == method) {
                continue;
            }
            let response = ask(gateway.admin, &format!("{method} {path}"), &["Host: 127.0.0.1"]);
            refused(&response, 405, "METHOD_NOT_ALLOWED");
            assert_eq!(response.header("allow"), Some(allowed), "{method} {path}");
        }
    }
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "nothing was purged");
    assert_eq!(gateway.metric("config_reloads_total{result=\"success\"}"), 0.0, "nor reloaded");
}

// T31.
#[test]
fn a_body_is_refused_and_never_becomes_the_next_request() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    let inner = "DELETE /api/v1/cache HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    for (method, path) in [("POST", "/api/v1/reload"), ("DELETE", "/api/v1/cache/alpha"), ("GET", "/metrics")]
    {
        for framing in [
            format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
            format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
            "Content-Length: 9999999999\r\n\r\n".to_owned(),
        ] {
            let mut client = Client::connect(gateway.admin);
            client.try_send(format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{framing}"));
            let response = client.read();
            refused(&response, 400, "INVALID_REQUEST");
            assert_eq!(response.header("connection"), Some("close"));
            assert!(client.is_closed(), "what follows is not read");
        }
    }
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "nothing was purged");
    let empty = ask(gateway.admin, "POST /api/v1/reload", &["Host: 127.0.0.1", "Content-Length: 0"]);
    assert_eq!(empty.status, 200, "as browsers send it");
}

#[test]
fn a_mutation_takes_no_query_and_no_target_has_a_fragment() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    for target in [
        "DELETE /api/v1/cache?tenant=alpha",
        "DELETE /api/v1/cache?",
        "DELETE /api/v1/cache/alpha?id=call_2",
        "DELETE /api/v1/cache/alpha/call_1?dry_run=true",
        "POST /api/v1/reload?",
        "DELETE /api/v1/cache#/alpha/call_2",
        "DELETE /api/v1/cache#41",
        "DELETE /api/v1/cache/alpha#/call_2",
        "DELETE /api/v1/cache%2Falpha",
        "GET /api/v1/stats#x",
        "GET /livez#",
    ] {
        let answer = ask(gateway.admin, target, &["Host: 127.0.0.1"]);
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_REQUEST"), "{target}");
    }
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "nothing was purged");
    assert_eq!(gateway.metric("config_reloads_total{result=\"success\"}"), 0.0, "nor reloaded");
    assert_eq!(gateway.admin("/readyz?verbose").status, 200, "reads may have a query");
    for method in ["POST", "TRACE"] {
        let target = format!("{method} /api/v1/explain/alpha/call_1?prefer=wait%3D30");
        assert_eq!(ask(gateway.admin, &target, &["Host: 127.0.0.1"]).status, 405, "{target}");
    }
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for path in ["/", "/openapi.yaml", "/livez", "/readyz", "/api/v1/config", "/nowhere"] {
        let got = ask(gateway.admin, &format!("GET {path}"), &["Host: 127.0.0.1"]);
        let mut client = Client::connect(gateway.admin);
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"));
        let head = client.read_head().unwrap();
        assert_eq!((head.status, head.header("content-type")), (got.status, got.header("content-type")));
        assert_eq!(head.header("content-length"), got.header("content-length"), "{path}");
        assert!(client.read_to_end().is_empty(), "{path}");
    }
}

// T85.
#[test]
fn the_page_comes_under_a_policy_that_lets_nothing_else_run() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let page = gateway.admin("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    for directive in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(directive), "{directive} in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let description = gateway.admin("/openapi.yaml");
    assert_eq!(description.header("content-type"), Some("application/yaml"));
    assert!(description.text().starts_with("openapi: 3.1.0\n"));
}

// T84.
#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let upstream = Upstream::contract();
    let next = "upstream-key-next-of-alpha-canary";
    let hash = "0123456789abcdef".repeat(4);
    let gateway = secured()
        .tenant(0, &format!("upstream_key_next = {{ value = \"{next}\" }}\ntoken_sha256 = [\"{hash}\"]"))
        .tenant(1, "upstream_key = { env = \"BETA_KEY\" }")
        .env("BETA_KEY", "upstream-key-of-beta-canary")
        .start(&upstream);
    let right = format!("Authorization: Bearer {ADMIN_TOKEN}");
    let config = ask(gateway.admin, "GET /api/v1/config", &["Host: 127.0.0.1", &right]);
    let text = config.text();
    for secret in [ADMIN_TOKEN, next, &hash, "upstream-key-of-beta-canary"].iter().chain(&TOKENS).chain(&KEYS)
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let config = config.json();
    let keys: Vec<_> = config["tenants"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "name",
            "routes",
            "shared",
            "token_sha256",
            "tokens",
            "upstream_key",
            "upstream_key_next",
            "cache_max_bytes",
            "disk_max_bytes"
        ]
        .into_iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>(),
        "an unlisted key is not shown"
    );
    assert_eq!(
        config["tenants"][1]["upstream_key"]["env"], "BETA_KEY",
        "where a secret is kept is no secret"
    );
}

/// A gateway whose admin plane is a Unix socket.
fn on_a_socket(upstream: &Upstream, folder: &std::path::Path) -> (Program, String) {
    let socket = format!("unix:{}", folder.join("admin.sock").display());
    let config = Config::default().with("admin", &format!("address = \"{socket}\"")).text(upstream.address());
    let file = write_config(&config);
    let process = Program::start(&mut program(&["serve", "-c", file.path().to_str().unwrap()]));
    process.err_line("about the admin plane", |line| line.contains("\"plane\":\"admin\""));
    (process, socket)
}

#[test]
fn every_command_speaks_to_tcp_and_unix_addresses_with_a_token_and_in_json() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let (_process, socket) = on_a_socket(&upstream, folder.path());
    let secured = secured().start(&upstream);
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{ADMIN_TOKEN}\n")).unwrap();
    let run = |arguments: &[&str]| Finished::of(&mut program(arguments));
    let tcp = secured.admin.to_string();
    let with_token = ["--admin", &tcp, "--admin-token-file", token.to_str().unwrap()];
    for reach in [&["--admin", &socket][..], &with_token] {
        for (command, word, key) in [
            (&["stats"][..], "tenant", "tenants"),
            (&["explain", "alpha", "call_1"], "alpha/call_1: ", "would"),
            (&["purge", "alpha", "call_1"], "purged call_1 of alpha: 0 entries", "purged"),
            (&["purge", "--all"], "purged every tenant's cache: 0 entries", "purged"),
            (&["healthcheck"], "ready", "ready"),
        ] {
            let people = run(&[command, reach].concat());
            assert_eq!((people.code, people.err.as_str()), (0, ""), "{command:?} {reach:?}");
            assert!(people.out.contains(word) && !people.out.starts_with('{'), "{}", people.out);
            let json = run(&[command, reach, &["--json"]].concat());
            assert_eq!((json.code, json.err.as_str()), (0, ""), "{command:?} {reach:?}");
            let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
            assert!(value.get(key).is_some(), "{key} in {value}");
        }
    }
    let unauthenticated = run(&["stats", "--admin", &tcp]);
    assert_eq!((unauthenticated.code, unauthenticated.out.as_str()), (1, ""));
    assert!(
        unauthenticated.err.contains("401") && unauthenticated.err.lines().count() == 1,
        "{}",
        unauthenticated.err
    );
    let healthy = run(&["healthcheck", "--admin", &tcp]);
    assert_eq!(healthy.code, 0, "a health check needs no token");
}

#[test]
fn a_unix_socket_is_local_and_has_the_same_rules_for_browsers() {
    let upstream = Upstream::contract();
    let folder = tempfile::tempdir().unwrap();
    let (_process, socket) = on_a_socket(&upstream, folder.path());
    let status = |head: &str| {
        let mut stream = UnixStream::connect(socket.strip_prefix("unix:").unwrap()).unwrap();
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(status("GET /api/v1/stats HTTP/1.1\r\nHost: localhost"), "200");
    assert_eq!(status("GET /api/v1/stats HTTP/1.1\r\nHost: evil.example"), "421");
    assert_eq!(
        status("GET /api/v1/stats HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example"),
        "403"
    );
}

#[test]
fn readyz_lists_every_check_with_its_state() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let verbose = || gateway.admin("/readyz?verbose").text();
    assert_eq!(
        verbose(),
        format!(
            "[+] traffic: ready\n[+] configuration: as loaded at the start\n[+] data listener: {}\n\
             [+] admin listener: {}\n[+] log: no lines dropped\n",
            gateway.data, gateway.admin
        )
    );
    gateway.rewrite("nonsense = 1\n");
    assert_eq!(gateway.post_reload().status, 422);
    let failed = verbose();
    assert!(failed.contains("[!] configuration: the reload at ") && failed.contains("nonsense"), "{failed}");
    assert_eq!(gateway.admin("/readyz?verbose").status, 200, "a failed reload turns no traffic away");
}

#[test]
fn the_history_has_totals_that_only_grow() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for id in ["call_1", "call_1", "call_missing1", "nonsense"] {
        gateway.get(id);
    }
    gateway.connect().get("/v1/calls/call_1", "unknown", &[]).read();
    let stats = gateway.admin("/api/v1/stats").json();
    let totals = &stats["totals"];
    assert_eq!(totals["outcomes"]["hit"], 1);
    assert_eq!(totals["answers"], serde_json::json!({ "200": 2, "400": 1, "401": 1, "404": 1 }));
    assert_eq!(totals["upstream"], serde_json::json!({ "200": 1, "404": 1 }));
    assert_eq!(totals["upstream_failed"], 0);
    let count = |times: &serde_json::Value| -> u64 {
        times.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum()
    };
    assert_eq!((count(&totals["times"]["cache"]), count(&totals["times"]["fetched"])), (1, 2));
    assert_eq!(count(&stats["latency"]["lookups"]["miss"]["counts"]), 2);
    assert_eq!(count(&stats["latency"]["upstream"]["counts"]), 2);
    let history = gateway.admin("/api/v1/history").json();
    let first = &history["samples"][0];
    assert_eq!((history["every_seconds"].as_u64(), first["outcomes"]["hit"].as_u64()), (Some(10), Some(0)));
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(first), keys(totals), "a sample is what stats tells as totals");
}
