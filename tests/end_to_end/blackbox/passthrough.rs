//! Endpoints that the operator allows: `[[passthrough]]`.

use std::time::Duration;

use crate::support::{Act, Client, Config, Gateway, KEYS, Response, TOKENS, Upstream, call_reply, reply};

const CREATE: &str = r#"{"invoice_id":"inv_7","phone_number":"+1"}"#;
const CREATED: &str = r#"{"success":true,"data":{"id":"call_9","status":"initiated"},"meta":{}}"#;

/// A gateway whose `alpha` may create, change and cancel, and read emails.
fn passing(upstream: &Upstream) -> Gateway {
    let entry = |method: &str, path: &str, more: &str| {
        format!("[[passthrough]]\nmethod = \"{method}\"\npath = \"{path}\"\ntenants = [\"alpha\"]\n{more}\n")
    };
    let entries = entry("POST", "/v1/calls", "max_body_bytes = \"1KiB\"")
        + &entry("PUT", "/v1/calls/{id}", "")
        + &entry("DELETE", "/v1/callouts/{id}", "max_body_bytes = \"0B\"")
        + &entry("GET", "/v1/emails", "query = [\"callout_id\"]")
        + &entry("GET", "/v1/callouts/{id}/response", "");
    Config::default().tenant(0, "routes = [\"call\", \"calls\"]").and(&entries).start(upstream)
}

fn created() -> Upstream {
    Upstream::scripted(|seen| match seen.method.as_str() {
        "GET" if seen.target.starts_with("/v1/calls/") => call_reply(seen.id(), &[]),
        _ => reply("201 Created", &["Content-Type: application/json"], CREATED),
    })
}

/// Sends a request with a body.
fn send(gateway: &Gateway, method: &str, path: &str, body: &str, lines: &[&str]) -> Response {
    let length = format!("Content-Length: {}", body.len());
    let lines: Vec<&str> = [length.as_str()].into_iter().chain(lines.iter().copied()).collect();
    let mut client = gateway.connect();
    client.request(method, path, TOKENS[0], &lines).try_send(body);
    client.read()
}

#[test]
fn a_request_is_rebuilt_and_its_answer_passed_on_byte_for_byte() {
    let upstream = created();
    let gateway = passing(&upstream);
    let lines =
        ["Content-Type: application/json; charset=utf-8", "Idempotency-Key: key_1", "X-Evil: 1", "Cookie: a"];
    let response = send(&gateway, "POST", "/v1/calls", CREATE, &lines);
    assert_eq!((response.status, response.text().as_str()), (201, CREATED));
    assert_eq!(response.story(), "fwd=bypass; fwd-status=201");
    let seen = &upstream.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/v1/calls"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", KEYS[0]).as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("idempotency-key"), Some("key_1"));
    assert_eq!(seen.header("content-length"), Some(CREATE.len().to_string().as_str()));
    assert_eq!((seen.header("x-evil"), seen.header("cookie")), (None, None));
    assert_eq!(gateway.metric("requests_total{code=\"201\",route=\"passthrough\",tenant=\"alpha\"}"), 1.0);
    send(&gateway, "POST", "/v1/calls", CREATE, &["Idempotency-Key: not plain", "Content-Type: text/plain"]);
    let seen = &upstream.seen()[1];
    assert_eq!((seen.header("idempotency-key"), seen.header("content-type")), (None, None));
    assert_eq!(upstream.connections(), 2, "a connection of its own for each");
    let read = gateway.connect().get("/v1/emails?callout_id=callout_1", TOKENS[0], &[]).read();
    assert_eq!((read.status, upstream.seen()[2].target.as_str()), (201, "/v1/emails?callout_id=callout_1"));
}

// T114.
#[test]
fn only_exactly_listed_requests_reach_the_upstream() {
    let upstream = created();
    let gateway = passing(&upstream);
    let status = |method: &str, path: &str, tenant: usize, lines: &[&str]| {
        gateway.connect().request(method, path, TOKENS[tenant], lines).read().status
    };
    for path in [
        "/v1/callouts",
        "/v1/callouts/",
        "/v1/callouts/a/b",
        "/v1/calls/../users",
        "/v1/users",
        "/v1/emails/",
    ] {
        assert_eq!(status("DELETE", path, 0, &[]), 404, "{path}");
    }
    assert_eq!(status("DELETE", "/v1/callouts/a", 1, &[]), 404, "another tenant");
    assert_eq!(status("GET", "/v1/emails?callout_id=%31", 0, &[]), 400);
    assert_eq!(status("GET", "/v1/emails?x=1", 0, &[]), 400);
    assert_eq!(status("GET", "/v1/emails?callout_id=1&callout_id=1", 0, &[]), 400);
    assert_eq!(status("GET", "/v1/emails", 0, &["X-HTTP-Method-Override: DELETE", "Content-Length: 0"]), 201);
    assert_eq!(upstream.count(), 1);
    let refused = |method: &str, path: &str| {
        let response = gateway.connect().request(method, path, TOKENS[0], &[]).read();
        (response.status, response.header("allow").map(str::to_owned))
    };
    assert_eq!(refused("PATCH", "/v1/calls"), (405, Some("GET, HEAD, POST".into())));
    assert_eq!(refused("DELETE", "/v1/calls/call_1"), (405, Some("GET, HEAD, PUT".into())));
    assert_eq!(refused("POST", "/v1/callouts/a"), (405, Some("DELETE".into())));
    assert_eq!(upstream.count(), 1);
}

// T114.
#[test]
fn an_invalid_body_is_left_unread_and_the_connection_closes() {
    let upstream = created();
    let gateway = passing(&upstream);
    let large = "x".repeat(1025);
    for (method, path, head, body, status) in [
        ("POST", "/v1/calls", "Content-Length: 1025", large.as_str(), 400),
        ("POST", "/v1/calls", "Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n", 400),
        ("POST", "/v1/calls", "Content-Length: 2\r\nContent-Length: 2", "{}", 400),
        ("POST", "/v1/calls", "Content-Length: 2\r\nExpect: 100-continue", "", 417),
        ("POST", "/v1/nowhere", "Content-Length: 2", "{}", 404),
        ("PUT", "/v1/calls", "Content-Length: 2", "{}", 405),
        ("DELETE", "/v1/callouts/a", "Content-Length: 2", "{}", 400),
        ("GET", "/v1/calls/call_1", "Content-Length: 2", "{}", 400),
    ] {
        let mut client = gateway.connect();
        client.request(method, path, TOKENS[0], &[head]).try_send(body);
        assert_eq!(client.read().status, status, "{method} {path} {head}");
        assert!(client.is_closed(), "{method} {path} {head}");
    }
    let mut unauthenticated = gateway.connect();
    unauthenticated.request("POST", "/v1/calls", "nobody", &["Content-Length: 2"]).try_send("{}");
    assert_eq!((unauthenticated.read().status, unauthenticated.is_closed()), (401, true));
    assert_eq!(upstream.count(), 0);
    // After the body was read, the connection stays open.
    let mut client = gateway.connect();
    let length = format!("Content-Length: {}", CREATE.len());
    client.request("POST", "/v1/calls", TOKENS[0], &[&length]).send(CREATE);
    assert_eq!(client.read().status, 201);
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
}

#[test]
fn an_asterisk_is_no_path_and_405_for_options_alone() {
    let upstream = created();
    let gateway = passing(&upstream);
    for (method, target, status) in [
        ("OPTIONS", "*", 405),
        ("GET", "*", 404),
        ("POST", "*", 404),
        ("TRACE", "/nowhere", 405),
        ("CONNECT", "gateway.internal:80", 405),
    ] {
        let refused = gateway.connect().request(method, target, TOKENS[0], &[]).read();
        assert_eq!(refused.status, status, "{method} {target}");
    }
}

// T115.
#[test]
fn a_request_that_may_have_changed_something_is_never_repeated() {
    let upstream = Upstream::always(vec![Act::Reset]);
    let gateway = passing(&upstream);
    let response = send(&gateway, "POST", "/v1/calls", CREATE, &[]);
    assert_eq!((response.status, upstream.count()), (502, 1));
    for status in ["503 Service Unavailable", "401 Unauthorized", "408 Request Timeout"] {
        let before = upstream.count();
        upstream.now(move |_| reply(status, &[], r#"{"success":false,"error":{}}"#));
        send(&gateway, "POST", "/v1/calls", CREATE, &[]);
        assert_eq!(upstream.count(), before + 1, "{status}");
    }
}

#[test]
fn only_json_passes() {
    let upstream = created();
    let gateway = passing(&upstream);
    for body in ["<html>", "[]", ""] {
        upstream.now(move |_| reply("200 OK", &[], body));
        let response = send(&gateway, "POST", "/v1/calls", CREATE, &[]);
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"), "{body}");
    }
    upstream.now(|_| reply("302 Found", &["Location: http://evil.example/"], ""));
    let response = send(&gateway, "POST", "/v1/calls", CREATE, &[]);
    assert_eq!((response.status, response.header("location")), (502, None));
    upstream.now(|_| reply("400 Bad Request", &[], "<html>"));
    assert_eq!(send(&gateway, "POST", "/v1/calls", CREATE, &[]).code(), "UPSTREAM_ERROR");
}

#[test]
fn a_change_of_a_call_purges_it() {
    let upstream = created();
    let gateway = passing(&upstream);
    gateway.get("call_1");
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
    upstream.now(|_| reply("409 Conflict", &[], r#"{"success":false,"error":{}}"#));
    assert_eq!(send(&gateway, "PUT", "/v1/calls/call_1", "{}", &[]).status, 409);
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "nothing was changed");
    upstream.now(|seen| match seen.method.as_str() {
        "GET" => call_reply(seen.id(), &[]),
        _ => reply("200 OK", &[], CREATED),
    });
    assert_eq!(send(&gateway, "PUT", "/v1/calls/call_1", "{}", &[]).status, 200);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
}

#[test]
fn a_body_that_never_comes_ends_with_the_deadline_and_is_not_sent() {
    let upstream = created();
    let entry = "[[passthrough]]\nmethod = \"POST\"\npath = \"/v1/calls\"\ntenants = [\"alpha\"]\n";
    let gateway = Config::default().with("upstream", "total_timeout = \"1s\"").and(entry).start(&upstream);
    let mut client: Client = gateway.connect();
    client.request("POST", "/v1/calls", TOKENS[0], &["Content-Length: 10"]).send("{");
    let begun = std::time::Instant::now();
    assert_eq!(client.read().status, 400);
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(client.is_closed());
    assert_eq!(upstream.count(), 0);
}
