//! Refusals before the cache: their order, and that nothing else happens.

use crate::support::{Client, Config, Gateway, TOKENS, Upstream};

fn gateway() -> (Upstream, Gateway) {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    (upstream, gateway)
}

/// Sends raw bytes on a new connection and returns every byte received until it closes.
fn exchange(gateway: &Gateway, bytes: impl AsRef<[u8]>) -> String {
    let mut client = gateway.connect();
    client.try_send(bytes);
    String::from_utf8_lossy(&client.read_to_end()).into_owned()
}

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

// T12.
#[test]
fn without_a_token_nothing_is_looked_up() {
    let (upstream, gateway) = gateway();
    let response = gateway.connect().get("/v1/calls/call_1", "", &[]).read();
    assert_eq!((response.status, response.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(response.header("www-authenticate"), Some("Bearer"));
    assert_eq!(response.header("cache-status"), None);
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.metric("requests_total{code=\"401\",route=\"none\",tenant=\"-\"}"), 1.0);
}

// T13.
#[test]
fn all_invalid_tokens_get_the_same_answer() {
    let (_upstream, gateway) = gateway();
    let answer = |lines: &[&str]| {
        let mut response = gateway.connect().get("/v1/calls/call_1", "", lines).read();
        response.headers.retain(|(name, _)| name != "x-request-id" && name != "date");
        let mut body = response.json();
        body["meta"] = serde_json::Value::Null;
        response.body = body.to_string().into_bytes();
        response
    };
    let missing = answer(&[]);
    assert_eq!(missing.status, 401);
    for line in [
        "Authorization: Bearer unknown-token-0123456789abcdefghijkl",
        "Authorization: Bearer",
        "Authorization: Basic YTpi",
        "Authorization: nonsense",
    ] {
        assert_eq!(answer(&[line]), missing, "{line}");
    }
    // Nor does an unauthenticated client learn which paths exist.
    let mut elsewhere = gateway.connect().request("POST", "/nowhere", "", &[]).read();
    elsewhere.headers.retain(|(name, _)| name != "x-request-id" && name != "date");
    assert_eq!((elsewhere.status, &elsewhere.headers), (401, &missing.headers));
}

// T15.
#[test]
fn a_token_in_the_query_does_not_count() {
    let (upstream, gateway) = gateway();
    for name in ["token", "api_key", "access_token"] {
        let path = format!("/v1/calls/call_1?{name}={}", TOKENS[0]);
        assert_eq!(gateway.connect().get(&path, "", &[]).read().status, 401);
        assert_eq!(gateway.connect().get(&path, TOKENS[0], &[]).read().status, 400);
    }
    assert_eq!(upstream.count(), 0);
}

// T16.
#[test]
fn two_credentials_do_not_count() {
    let (upstream, gateway) = gateway();
    let token = TOKENS[0];
    let twice = format!("Authorization: Bearer {token}");
    assert_eq!(gateway.get_with("call_1", &[&twice]).status, 401);
    let list = format!("Authorization: Bearer {token}, Bearer {token}");
    assert_eq!(gateway.connect().get("/v1/calls/call_1", "", &[&list]).read().status, 401);
    assert_eq!(upstream.count(), 0);
}

// T17.
#[test]
fn the_form_of_a_credential_is_exact() {
    let (_upstream, gateway) = gateway();
    let token = TOKENS[0];
    let status = |line: String| gateway.connect().get("/v1/calls/call_1", "", &[&line]).read().status;
    for line in ["AUTHORIZATION: Bearer", "authorization: bearer", "Authorization: BEARER"] {
        assert_eq!(status(format!("{line} {token}")), 200, "{line}");
    }
    for line in [
        format!("Authorization: Bearer  {token}"),
        format!("Authorization: Bearer\t{token}"),
        format!("Authorization: Bearer {token} x"),
        format!("Authorization: Bearer {token},"),
        format!("Authorization: Bearer {token}é"),
        format!("Authorization: Bearer {}", "a".repeat(600)),
        format!("Authorization_: Bearer {token}"),
    ] {
        assert_eq!(status(line.clone()), 401, "{line}");
    }
    for line in [format!("Authorization : Bearer {token}"), format!("Authorization: Bearer\r\n {token}")] {
        assert_eq!(status_of_unparsable(&gateway, &line), "400", "{line:?}");
    }
}

fn status_of_unparsable(gateway: &Gateway, line: &str) -> String {
    let answer = exchange(gateway, format!("GET /v1/calls/call_1 HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"));
    answer[9..12].to_owned()
}

// T22 to T26.
#[test]
fn only_one_spelling_names_a_call() {
    let (upstream, gateway) = gateway();
    let long = format!("call_{}", "a".repeat(10_000));
    for (segment, status) in [
        ("..%2f", 400),
        ("%2e%2e", 400),
        ("call_1%2F", 400),
        ("call_1%5c", 400),
        ("call_1\\", 400),
        ("%252e", 400),
        ("call_%31", 400),
        ("call_1%00", 400),
        ("call_1%0d%0aX:%20y", 400),
        ("call_1;jsessionid=1", 400),
        ("call_1.css", 400),
        ("call_1?", 400),
        ("call_1?a=b", 400),
        ("call_1#f", 400),
        ("CALL_1", 400),
        ("call_１", 400),
        ("call_١", 400),
        (long.as_str(), 400),
        ("call_1/", 404),
        ("./call_1", 404),
        ("call_1/..", 404),
        ("", 404),
    ] {
        let response = gateway.connect().get(&format!("/v1/calls/{segment}"), TOKENS[0], &[]).read();
        let code = if status == 400 { "INVALID_REQUEST" } else { "NOT_FOUND" };
        assert_eq!((response.status, response.code().as_str()), (status, code), "{segment}");
        assert_eq!(response.header("location"), None);
        assert!(!response.text().contains("call_1"), "nothing is echoed");
    }
    for path in
        ["//v1/calls/call_1", "/v1//calls/call_1", "/V1/calls/call_1", "/", "/v1/calls", "/metrics", "/livez"]
    {
        assert_eq!(gateway.connect().get(path, TOKENS[0], &[]).read().status, 404, "{path}");
    }
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 0.0);
}

// T24.
#[test]
fn raw_control_bytes_are_refused() {
    let (upstream, gateway) = gateway();
    for byte in [b'\0', b'\x01', b'\x7f', b'\t', b' '] {
        let mut head = b"GET /v1/calls/call_1".to_vec();
        head.push(byte);
        head.extend_from_slice(b"x HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(exchange(&gateway, head).starts_with("HTTP/1.1 400"), "{byte}");
    }
    assert_eq!(upstream.count(), 0);
}

// T26.
#[test]
fn a_target_beyond_the_head_limit_is_414_or_431() {
    let (_upstream, gateway) = gateway();
    let path = format!("/v1/calls/call_{}", "a".repeat(70_000));
    let answer = exchange(&gateway, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 414") || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

// T27.
#[test]
fn the_authority_of_a_target_is_ignored() {
    let (upstream, gateway) = gateway();
    let evil = Upstream::contract();
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    let path = format!("http://{}/v1/calls/call_1", evil.address());
    let response = gateway.connect().get(&path, TOKENS[0], &[]).read();
    assert_eq!(response.story(), "hit; ttl");
    assert_eq!((upstream.count(), evil.connections()), (1, 0));
}

// T28.
#[test]
fn http_1_1_needs_exactly_one_valid_host() {
    let (upstream, gateway) = gateway();
    let bearer = format!("Authorization: Bearer {}", TOKENS[0]);
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
    ] {
        let answer = exchange(&gateway, format!("GET /v1/calls/call_1 HTTP/1.1\r\n{hosts}{bearer}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{hosts:?}: {answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    let response = gateway.get_with(
        "call_1",
        &["X-Forwarded-Host: evil", "X-Original-URL: /evil", "X-Rewrite-URL: /evil", "Forwarded: host=evil"],
    );
    assert_eq!(response.status, 200);
    assert_eq!((upstream.count(), upstream.seen()[0].target.as_str()), (1, "/v1/calls/call_1"));
}

// T29.
#[test]
fn connect_trace_and_options_star_are_405() {
    let (upstream, gateway) = gateway();
    for (method, target) in [("TRACE", "/v1/calls/call_1"), ("OPTIONS", "*"), ("TRACE", "/nowhere")] {
        let response = gateway.connect().request(method, target, TOKENS[0], &["X-Secret: echo"]).read();
        assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert!(!response.text().contains("echo"));
    }
    let mut client = gateway.connect();
    let response = client.request("CONNECT", "evil.example:443", TOKENS[0], &[]).read();
    assert_eq!((response.status, response.header("connection")), (405, Some("close")));
    assert!(client.is_closed());
    assert_eq!(upstream.count(), 0);
}

// T30.
#[test]
fn only_get_and_head_are_methods_of_a_call() {
    let (upstream, gateway) = gateway();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "FOO"] {
        let lines = ["X-HTTP-Method-Override: GET"];
        let response = gateway.connect().request(method, "/v1/calls/call_1", TOKENS[0], &lines).read();
        assert_eq!((response.status, response.code().as_str()), (405, "METHOD_NOT_ALLOWED"), "{method}");
        assert_eq!(response.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(upstream.count(), 0);
    assert!(!gateway.admin("/metrics").text().contains("FOO"));
}

// T31.
#[test]
fn a_body_is_refused_before_the_cache_is_looked_at() {
    let (upstream, gateway) = gateway();
    assert_eq!(gateway.get("call_1").status, 200);
    let smuggled = "GET /v1/calls/call_2 HTTP/1.1\r\nHost: a\r\n\r\n";
    for id in ["call_1", "call_3"] {
        for fields in [
            format!("Content-Length: {}", smuggled.len()),
            "Transfer-Encoding: chunked".to_owned(),
            "Transfer-Encoding: identity".to_owned(),
        ] {
            let bearer = format!("Authorization: Bearer {}", TOKENS[0]);
            let head =
                format!("GET /v1/calls/{id} HTTP/1.1\r\nHost: a\r\n{bearer}\r\n{fields}\r\n\r\n{smuggled}");
            let answer = exchange(&gateway, head);
            assert_eq!(statuses(&answer), ["400"], "{fields}");
            assert!(answer.to_lowercase().contains("connection: close"));
            assert!(!answer.to_lowercase().contains("cache-status"));
        }
    }
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.outcomes("hit"), 0.0);
}

// T32.
#[test]
fn ambiguous_framing_gets_one_answer_at_most_and_the_connection_ends() {
    let (upstream, gateway) = gateway();
    let bearer = format!("Authorization: Bearer {}", TOKENS[0]);
    let second = format!("GET /v1/calls/call_smuggled HTTP/1.1\r\nHost: a\r\n{bearer}\r\n\r\n");
    for (fields, body) in [
        ("Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked", ""),
        ("Transfer-Encoding : chunked", "0\r\n\r\n"),
        ("Transfer-Encoding:\x0bchunked", "0\r\n\r\n"),
        ("Content-Length: 5\r\nContent-Length: 6", "hello"),
        ("Content-Length: 0\r\nContent-Length: 0", ""),
        ("Content-Length: 0, 0", ""),
        ("Content-Length: 00", ""),
        ("Content-Length: +5", "hello"),
        ("Content-Length: 0x10", "hello"),
        ("Content-Length: ", "hello"),
        ("Content-Length: -1", ""),
        ("X: a\r\n folded: b", ""),
        ("X: a\0b", ""),
    ] {
        let head =
            format!("GET /v1/calls/call_1 HTTP/1.1\r\nHost: a\r\n{bearer}\r\n{fields}\r\n\r\n{body}{second}");
        let answer = exchange(&gateway, head);
        assert!(statuses(&answer).len() <= 1, "{fields:?}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{fields:?}: {answer}");
    }
    let old = format!(
        "GET /v1/calls/call_1 HTTP/1.0\r\n{bearer}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}"
    );
    assert!(statuses(&exchange(&gateway, old)).len() <= 1);
    assert_eq!(upstream.count(), 0, "{:?}", upstream.seen());
}

// T33.
#[test]
fn pipelined_requests_are_answered_in_order_each_for_its_own_tenant() {
    let (upstream, gateway) = gateway();
    let mut client = gateway.connect();
    let mut heads = String::new();
    for number in 0..100 {
        let token = if number % 3 == 2 { "nobody" } else { TOKENS[number % 3] };
        heads += &format!(
            "GET /v1/calls/call_{number} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
    }
    client.send(heads);
    for number in 0..100 {
        let response = client.read();
        if number % 3 == 2 {
            assert_eq!(response.status, 401);
        } else {
            assert_eq!(response.json()["data"]["id"], format!("call_{number}"));
        }
    }
    for seen in upstream.seen() {
        let number: usize = seen.id()["call_".len()..].parse().unwrap();
        assert_eq!(
            seen.header("authorization").unwrap(),
            format!("Bearer {}", crate::support::KEYS[number % 3])
        );
    }
}

// T34.
#[test]
fn an_upgrade_is_ignored() {
    let (_upstream, gateway) = gateway();
    for protocol in ["websocket", "h2c", "TLS/1.0"] {
        let upgrade = format!("Upgrade: {protocol}");
        let mut client = gateway.connect();
        let response = client.get("/v1/calls/call_1", TOKENS[0], &[&upgrade, "Connection: upgrade"]).read();
        assert_eq!(response.status, 200, "{protocol}");
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    }
}

// T35.
#[test]
fn an_expectation_does_not_delay_the_answer() {
    let (upstream, gateway) = gateway();
    let response = gateway.get_with("call_1", &["Expect: 100-continue", "Content-Length: 5"]);
    assert_eq!(response.status, 400);
    let response = gateway.get_with("call_1", &["Expect: 200-ok"]);
    assert_eq!((response.status, response.code().as_str()), (417, "INVALID_REQUEST"));
    assert_eq!(upstream.count(), 0);
    assert_eq!(gateway.get_with("call_1", &["Expect: 100-continue"]).status, 200);
}

#[test]
fn refusals_come_in_their_order() {
    let upstream = Upstream::contract();
    let config = Config::default().tenant(0, "rate_limit = { per_minute = 1, burst = 1 }");
    let gateway = config.start(&upstream);
    let status = |token: &str, method: &str, path: &str, lines: &[&str]| {
        gateway.connect().request(method, path, token, lines).read().status
    };
    let token = TOKENS[0];
    assert_eq!(status("", "POST", "/nowhere?x", &["Content-Length: 5"]), 400, "framing before the token");
    assert_eq!(status("", "POST", "/nowhere?x", &[]), 401, "the token before the route");
    assert_eq!(status(token, "POST", "/nowhere?x", &[]), 404, "the route before the method");
    assert_eq!(status(token, "POST", "/v1/calls/x?y", &[]), 429, "the limit before everything else");
    let other = TOKENS[1];
    assert_eq!(status(other, "POST", "/v1/calls/x?y", &[]), 405, "the method before the query");
    assert_eq!(status(other, "GET", "/v1/calls/x?y", &[]), 400);
    assert_eq!(upstream.count(), 0);
}

// T57.
#[test]
fn too_many_or_too_large_headers_are_431() {
    let (_upstream, gateway) = gateway();
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "y".repeat(400_000));
    for fields in [many, large] {
        let answer = exchange(&gateway, format!("GET /v1/calls/call_1 HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
}

#[test]
fn a_head_must_come_within_its_time() {
    let upstream = Upstream::contract();
    let limits = "header_read_timeout = \"300ms\"\nidle_timeout = \"400ms\"";
    let gateway = Config::default().with("limits", limits).start(&upstream);
    let mut silent = gateway.connect();
    let mut slow = gateway.connect();
    slow.send("GET /v1/calls/call_1 HTT");
    let mut second = gateway.connect();
    assert_eq!(second.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    second.send("GET /v1/ca");
    let mut idle = gateway.connect();
    assert_eq!(idle.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    for client in [&mut silent, &mut slow, &mut second, &mut idle] {
        assert!(client.is_closed());
    }
    assert_eq!(gateway.get("call_1").status, 200);
}

#[test]
fn http_2_with_prior_knowledge_is_spoken_on_the_same_port() {
    let (_upstream, gateway) = gateway();
    let mut client = Client::connect(gateway.data);
    // The preface, an empty SETTINGS frame, and a HEADERS frame without a token: stream 1, END_STREAM
    // and END_HEADERS, with :method GET, :scheme http, :path / and :authority "a" in HPACK.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    client.send([0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 0x01, b'a']);
    // GOAWAY without an error, so that the connection closes after the answer.
    client.send([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let answer = client.read_to_end();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("UNAUTHORIZED"), "{text}");
}
