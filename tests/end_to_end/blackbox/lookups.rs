//! A lookup's answer: bytes, headers, request ID, trace, HEAD.

use crate::support::{Gateway, TOKENS, Upstream, call, call_reply};

#[test]
fn a_body_passes_byte_for_byte_from_upstream_and_from_the_cache() {
    let odd = call("call_1").replace("made-up", "caf\u{e9} \\u00e9 \u{1f600} \\/ <b>");
    let body = odd.clone();
    let upstream = Upstream::scripted(move |_| {
        crate::support::reply("200 OK", &["Content-Type: application/json"], &body)
    });
    let gateway = Gateway::plain(&upstream);
    let (miss, hit) = (gateway.get("call_1"), gateway.get("call_1"));
    assert_eq!(
        (miss.story().as_str(), hit.story().as_str()),
        ("fwd=uri-miss; fwd-status=200; stored; ttl", "hit; ttl")
    );
    assert_eq!(miss.text(), odd);
    assert_eq!(hit.text(), odd);
}

#[test]
fn every_answer_has_a_request_id_the_clients_if_it_is_plain() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let id_of =
        |call: &str, line: &str| gateway.get_with(call, &[line]).header("x-request-id").unwrap().to_owned();
    assert_eq!(id_of("call_1", "X-Request-Id: my-id_1.2"), "my-id_1.2");
    assert_eq!(upstream.seen()[0].header("x-request-id"), Some("my-id_1.2"));
    for odd in ["X-Request-Id: a b", "X-Request-Id: ", "X-Request-Id: <script>", "X-Other: 1"] {
        let id = id_of("call_2", odd);
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{odd}: {id}");
    }
    assert_ne!(id_of("call_2", "X-A: 1"), id_of("call_2", "X-A: 1"));
    let refused = gateway.connect().get("/nowhere", TOKENS[0], &["X-Request-Id: mine"]).read();
    assert_eq!(refused.header("x-request-id"), Some("mine"));
    assert_eq!(refused.json()["meta"]["request_id"], "mine");
}

#[test]
fn a_well_formed_trace_goes_upstream_and_another_does_not() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    gateway.get_with("call_1", &[&format!("traceparent: {parent}"), "tracestate: vendor=1"]);
    gateway.get_with("call_2", &["traceparent: 00-zz-11-01", "tracestate: vendor=1"]);
    gateway.get_with("call_3", &[&format!("traceparent: {parent}"), &format!("traceparent: {parent}")]);
    let seen = upstream.seen();
    assert_eq!(
        (seen[0].header("traceparent"), seen[0].header("tracestate")),
        (Some(parent), Some("vendor=1"))
    );
    for seen in &seen[1..] {
        assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (None, None));
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    let path = "/v1/calls/call_1";
    let miss = client.request("HEAD", path, TOKENS[0], &[]).read_head().unwrap();
    assert_eq!(miss.story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    // The body would be read as the next response here.
    let full = client.get(path, TOKENS[0], &[]).read();
    let head = client.request("HEAD", path, TOKENS[0], &[]).read_head().unwrap();
    assert_eq!(full.story(), "hit; ttl");
    assert_eq!(miss.header("content-length"), Some(full.body.len().to_string().as_str()));
    assert_eq!(head.header("content-length"), full.header("content-length"));
    assert_eq!(head.header("etag"), full.header("etag"));
    assert_eq!((upstream.count(), upstream.seen()[0].method.as_str()), (1, "GET"));
    let refused = client.request("HEAD", "/v1/calls/nonsense", TOKENS[0], &[]).read_head().unwrap();
    assert_eq!(refused.status, 400);
    assert!(refused.header("content-length").unwrap().parse::<usize>().unwrap() > 100);
    assert_eq!(client.get(path, TOKENS[0], &[]).read().status, 200);
}

#[test]
fn every_answer_says_via_vary_and_what_other_caches_may_do() {
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_plain" => call_reply(seen.id(), &[]),
        _ => call_reply(
            seen.id(),
            &[
                "Via: 1.1 edge",
                "Vary: Accept",
                "Cache-Control: max-age=60",
                "Cache-Status: Edge; hit; ttl=5",
                "X-Extra: 1",
            ],
        ),
    });
    let gateway = Gateway::plain(&upstream);
    for _ in 0..2 {
        let plain = gateway.get("call_plain");
        assert_eq!(plain.header("via"), Some("1.1 credira-gateway"));
        assert_eq!(plain.header("vary"), Some("Authorization"));
        assert_eq!(plain.header("cache-control"), Some("private, no-cache"));
        assert!(plain.header("date").is_some());
        let full = gateway.get("call_full");
        assert_eq!(full.header("via"), Some("1.1 edge, 1.1 credira-gateway"));
        assert_eq!(full.header("vary"), Some("Accept, Authorization"));
        assert_eq!(full.header("cache-control"), Some("max-age=60"));
        assert_eq!(full.header("x-extra"), Some("1"));
        let status = full.header("cache-status").unwrap();
        assert!(status.starts_with("Edge; hit; ttl=5, credira-gateway; "), "{status}");
    }
    for (path, token, status) in
        [("/v1/calls/call_1", "", 401), ("/nowhere", TOKENS[0], 404), ("/v1/calls/x", TOKENS[0], 400)]
    {
        let refused = gateway.connect().get(path, token, &[]).read();
        assert_eq!(refused.status, status);
        assert_eq!(refused.header("via"), Some("1.1 credira-gateway"));
        assert_eq!(refused.header("vary"), Some("Authorization"));
        assert_eq!(refused.header("cache-control"), Some("no-store"));
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
}

#[test]
fn the_date_is_the_upstreams_else_that_of_receipt_on_hits_too() {
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_dated" => call_reply(
            seen.id(),
            &["Date: Mon, 15 Jan 2024 10:30:00 GMT", "Cache-Control: max-age=99999999999"],
        ),
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = Gateway::plain(&upstream);
    for _ in 0..2 {
        assert_eq!(gateway.get("call_dated").header("date"), Some("Mon, 15 Jan 2024 10:30:00 GMT"));
    }
    let received = gateway.get("call_undated").header("date").unwrap().to_owned();
    assert_eq!(gateway.get("call_undated").header("date"), Some(received.as_str()));
}

#[test]
fn a_range_is_ignored() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    for _ in 0..2 {
        let response = gateway.get_with("call_1", &["Range: bytes=0-9"]);
        assert_eq!((response.status, response.header("content-range")), (200, None));
        assert!(response.body.len() > 1000);
    }
}

#[test]
fn one_connection_serves_many_requests() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    for number in 0..50 {
        let id = format!("call_{}", number % 5);
        let response = client.get(&format!("/v1/calls/{id}"), TOKENS[number % 2], &[]).read();
        assert_eq!(response.json()["data"]["id"], id);
    }
    assert_eq!((upstream.count(), upstream.connections()), (10, 2), "one connection a tenant");
}
