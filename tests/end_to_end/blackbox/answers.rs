//! Upstream answers of every kind, and how they are handled.

use std::time::Duration;

use crate::support::{Act, Gateway, TOKENS, Upstream, call, call_reply, reply};

const JSON: &str = "Content-Type: application/json";

/// The answers to the first and second lookup of one call when the upstream always sends this.
fn answers(acts: Vec<Act>) -> (Gateway, Upstream, [crate::support::Response; 2]) {
    let upstream = Upstream::always(acts);
    let gateway = Gateway::plain(&upstream);
    let both = [gateway.get("call_1"), gateway.get("call_1")];
    (gateway, upstream, both)
}

#[track_caller]
fn refused(acts: Vec<Act>, story: &str) -> (Gateway, Upstream) {
    let (gateway, upstream, both) = answers(acts);
    for response in &both {
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
        assert_eq!(response.story(), story);
    }
    (gateway, upstream)
}

#[track_caller]
fn passed(acts: Vec<Act>, status: u16, story: &str) -> (Gateway, Upstream) {
    let (gateway, upstream, both) = answers(acts);
    for response in &both {
        assert_eq!((response.status, response.story().as_str()), (status, story), "{}", response.text());
    }
    assert_eq!(upstream.count(), 2, "each asks anew");
    assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 0.0);
    (gateway, upstream)
}

fn body_with(from: &str, to: &str) -> Vec<Act> {
    let body = call("call_1");
    assert!(body.contains(from), "{from}");
    reply("200 OK", &[JSON], &body.replacen(from, to, 1))
}

// T04.
#[test]
fn an_answer_about_another_call_is_never_served() {
    for body in [
        body_with("\"id\": \"call_1\"", "\"id\": \"call_2\""),
        body_with("\"id\": \"call_1\"", "\"id\": \"call_1\", \"id\": \"call_1\""),
        body_with("\"meta\": {", "\"data\": {\"id\": \"call_1\"}, \"meta\": {"),
    ] {
        let (gateway, upstream) = refused(body, "fwd=uri-miss; fwd-status=200; detail=identity");
        assert_eq!(gateway.metric("identity_mismatches_total{tenant=\"alpha\"}"), 2.0);
        assert_eq!(gateway.metric("cache_refusals_total{reason=\"identity\",tenant=\"alpha\"}"), 2.0);
        assert_eq!(upstream.connections(), 2, "the connection is never used again");
        gateway
            .process
            .err_line("about the mix-up", |line| line.contains("another call than the one asked for"));
    }
}

// T05.
#[test]
fn bytes_after_a_response_end_the_connection_and_reach_no_client() {
    let upstream = Upstream::scripted(|seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.connection == 0 {
            acts.extend(call_reply("call_other", &[]));
        }
        acts
    });
    let gateway = Gateway::plain(&upstream);
    for id in ["call_1", "call_2", "call_3"] {
        assert_eq!(gateway.get(id).json()["data"]["id"], id);
    }
    assert!(upstream.connections() >= 2);
}

// T40.
#[test]
fn success_other_than_true_is_passed_on_and_not_stored() {
    let acts = body_with("\"success\": true", "\"success\": false");
    passed(acts, 200, "fwd=uri-miss; fwd-status=200; detail=not-success");
    passed(reply("200 OK", &[JSON], "{}"), 200, "fwd=uri-miss; fwd-status=200; detail=not-success");
}

// T41.
#[test]
fn only_the_exact_status_is_final() {
    for status in ["null", "\"Completed\"", "\"completed \"", "[\"completed\"]", "\"in_progress\""] {
        let acts = body_with("\"status\": \"completed\"", &format!("\"status\": {status}"));
        passed(acts, 200, "fwd=uri-miss; fwd-status=200; detail=not-completed");
    }
    let twice =
        body_with("\"status\": \"completed\"", "\"status\": \"completed\", \"status\": \"completed\"");
    passed(twice, 200, "fwd=uri-miss; fwd-status=200; detail=duplicate-keys");
    let twice = body_with("\"success\": true", "\"success\": true, \"success\": true");
    passed(twice, 200, "fwd=uri-miss; fwd-status=200; detail=duplicate-keys");
}

// T42.
#[test]
fn a_truncated_answer_is_not_served() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"success\": true";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"suc\r\n";
    for bytes in [half, chunked] {
        for end in [Act::Close, Act::Reset] {
            let acts = vec![Act::Send(bytes.into()), end];
            refused(acts, "fwd=uri-miss; fwd-status=200; detail=invalid-body");
        }
    }
    let (gateway, _) =
        refused(vec![Act::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Act::Close], "fwd=uri-miss");
    assert_eq!(gateway.metric("upstream_requests_total{code=\"reset\",tenant=\"alpha\"}"), 2.0);
}

// T44.
#[test]
fn an_answer_with_two_lengths_is_not_served() {
    let body = call("call_1");
    for fields in [
        format!("Content-Length: {0}\r\nTransfer-Encoding: chunked", body.len()),
        format!("Content-Length: {0}\r\nContent-Length: {0}", body.len()),
        format!("Content-Length: {0}\r\nContent-Length: 5", body.len()),
        format!("Content-Length: {0}, {0}", body.len()),
        "Content-Length: five".to_owned(),
        "Content-Length: -5".to_owned(),
        "Content-Length: +5".to_owned(),
    ] {
        let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let payload = if fields.contains("chunked") { &chunked } else { &body };
        let acts =
            vec![Act::Send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{payload}").into_bytes()), Act::Close];
        let upstream = Upstream::always(acts);
        let gateway = Gateway::plain(&upstream);
        let response = gateway.get("call_1");
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"), "{fields}");
        assert_eq!(
            gateway.metric("upstream_requests_total{code=\"invalid\",tenant=\"alpha\"}"),
            1.0,
            "{fields}"
        );
    }
}

// T45.
#[test]
fn an_answer_beyond_the_cap_is_not_read_to_its_end() {
    let huge = format!("{{\"a\": \"{}\"}}", "x".repeat(3 << 20));
    let whole = reply("200 OK", &[JSON], &huge);
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20)).into_bytes();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let endless: Vec<_> =
        std::iter::once(Act::Send(head)).chain((0..64).map(|_| Act::Send(chunk.clone()))).collect();
    for acts in [whole, endless] {
        let upstream = Upstream::always(acts);
        let gateway = crate::support::Config::default()
            .with("upstream", "max_response_bytes = \"2MiB\"")
            .start(&upstream);
        let response = gateway.get("call_1");
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
        assert_eq!(response.story(), "fwd=uri-miss; fwd-status=200; detail=too-large");
    }
}

// T46.
#[test]
fn encoded_bodies_are_refused_and_never_decoded() {
    for encoding in ["gzip", "br", "deflate", "identity, gzip", "x"] {
        let acts = call_reply("call_1", &[&format!("Content-Encoding: {encoding}")]);
        refused(acts, "fwd=uri-miss; fwd-status=200; detail=invalid-body");
    }
    let upstream = Upstream::always(call_reply("call_1", &["Content-Encoding: identity"]));
    assert_eq!(Gateway::plain(&upstream).get("call_1").status, 200);
}

// T47.
#[test]
fn hostile_json_is_refused_without_harm() {
    let deep = format!("{{\"success\":true,\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let keys: String = (0..300_000).map(|n| format!("\"k{n}\":1,")).collect();
    for body in [
        deep,
        "\u{feff}{\"success\":true}".to_owned(),
        format!("{{{keys}"),
        "[]".to_owned(),
        "null".to_owned(),
        "\"call_1\"".to_owned(),
        String::new(),
    ] {
        refused(reply("200 OK", &[JSON], &body), "fwd=uri-miss; fwd-status=200; detail=invalid-body");
    }
    let mut not_utf8 = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec();
    not_utf8.extend_from_slice(b"{\"a\":\"\xff\"}");
    not_utf8.truncate(not_utf8.len().min(38 + 9));
    let upstream = Upstream::always(vec![Act::Send(not_utf8)]);
    assert_eq!(Gateway::plain(&upstream).get("call_1").status, 502);
}

/// A JavaScript client writes this when it truncates a string inside an emoji.
#[test]
fn a_lone_surrogate_in_a_text_is_stored_byte_for_byte() {
    let body = call("call_1").replacen("\"summary\": \"", "\"summary\": \"Thanks \\ud83d ", 1);
    let upstream = Upstream::always(reply("200 OK", &[JSON], &body));
    let gateway = Gateway::plain(&upstream);
    for _ in 0..2 {
        let response = gateway.get("call_1");
        assert_eq!((response.status, response.text()), (200, body.clone()));
    }
    assert_eq!(upstream.count(), 1);
}

// T47.
#[test]
fn a_body_of_many_keys_is_passed() {
    let keys: String = (0..200_000).map(|n| format!("\"k{n}\":1,")).collect();
    let body = format!("{{{keys}\"success\":true,\"data\":{{\"id\":\"call_1\",\"status\":\"completed\"}}}}");
    let upstream = Upstream::always(reply("200 OK", &[JSON], &body));
    let gateway = Gateway::plain(&upstream);
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.body.len()), (200, body.len()));
    assert_eq!(response.story(), "fwd=uri-miss; fwd-status=200; detail=too-large");
}

// T48.
#[test]
fn a_redirect_is_not_followed_and_its_target_not_revealed() {
    let evil = Upstream::contract();
    for status in ["301 X", "302 X", "303 X", "307 X", "308 X", "300 X", "305 X"] {
        let location = format!("Location: http://{}/v1/calls/call_1", evil.address());
        let story = format!("fwd=uri-miss; fwd-status={}; detail=status", &status[..3]);
        let (gateway, _) = refused(reply(status, &[&location, "Refresh: 0"], ""), &story);
        let response = gateway.get("call_1");
        assert_eq!((response.header("location"), response.header("refresh")), (None, None));
    }
    assert_eq!(evil.connections(), 0);
}

// T49.
#[test]
fn interim_responses_are_skipped_up_to_sixteen() {
    for (count, status) in [(16, 200), (17, 502)] {
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(count);
        let mut acts = vec![Act::Send(interim)];
        acts.extend(call_reply("call_1", &[]));
        let upstream = Upstream::always(acts);
        assert_eq!(Gateway::plain(&upstream).get("call_1").status, status, "{count} interim responses");
    }

    let endless = vec![
        Act::Send(b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1000)),
        Act::Sleep(Duration::from_millis(5)),
    ];
    let upstream = Upstream::always((0..2000).flat_map(|_| endless.clone()).collect());
    let times = "first_byte_timeout = \"500ms\"\ntotal_timeout = \"700ms\"";
    let gateway = crate::support::Config::default().with("upstream", times).start(&upstream);
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));

    let switching = vec![Act::Send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_vec(),
    )];
    let upstream = Upstream::always(switching);
    assert_eq!(Gateway::plain(&upstream).get("call_1").status, 502);
}

// T49.
#[test]
fn a_flood_of_headers_is_refused() {
    let many: String = (0..10_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let acts =
        vec![Act::Send(format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\n{{}}").into_bytes())];
    refused(acts, "fwd=uri-miss");
}

// T50.
#[test]
fn a_page_is_no_answer() {
    let acts = reply("200 OK", &["Content-Type: text/html"], "<html><body>login</body></html>");
    let (gateway, _) = refused(acts, "fwd=uri-miss; fwd-status=200; detail=invalid-body");
    assert!(!gateway.get("call_1").text().contains("login"));
}

// T51.
#[test]
fn addresses_in_a_body_are_never_contacted() {
    let trap = Upstream::contract();
    let recording = format!("http://{}/x.mp3", trap.address());
    let upstream = Upstream::always(body_with("https://api.credira.com/recordings/call_1.mp3", &recording));
    let gateway = Gateway::plain(&upstream);
    assert!(gateway.get("call_1").text().contains(&recording));
    assert_eq!(trap.connections(), 0);
}

// T91.
#[test]
fn a_response_with_no_store_is_not_stored() {
    for (line, why) in [
        ("Cache-Control: no-store", "no-store"),
        ("Cache-Control: max-age=60, No-Store", "no-store"),
        ("Vary: *", "vary"),
        ("Vary: Accept, *", "vary"),
    ] {
        let acts = call_reply("call_1", &[line]);
        let (gateway, _) = passed(acts, 200, &format!("fwd=uri-miss; fwd-status=200; detail={why}"));
        assert_eq!(
            gateway.metric(&format!("cache_refusals_total{{reason=\"{why}\",tenant=\"alpha\"}}")),
            2.0
        );
    }
    let partial = reply("206 Partial Content", &[JSON, "Content-Range: bytes 0-1/2"], &call("call_1"));
    passed(partial, 206, "fwd=uri-miss; fwd-status=206; detail=status");
    let upstream = Upstream::always(call_reply("call_1", &["Set-Cookie: a=b", "Cache-Control: private"]));
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_1");
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
}

#[test]
fn errors_keep_their_status_and_their_body_if_it_is_json() {
    let body = r#"{"success":false,"error":{"code":"SOMETHING","message":"x"},"meta":{}}"#;
    for status in [400, 403, 409, 410, 422, 500, 501] {
        let acts = reply(&format!("{status} X"), &[JSON], body);
        let (gateway, _) = passed(acts, status, &format!("fwd=uri-miss; fwd-status={status}; detail=status"));
        assert_eq!(gateway.get("call_1").text(), body);
    }
    for (status, page) in [(400, "<html>"), (404, "not here"), (500, ""), (503, "[1]")] {
        let upstream = Upstream::always(reply(&format!("{status} X"), &["Content-Type: text/html"], page));
        let response = Gateway::plain(&upstream).get("call_1");
        assert_eq!((response.status, response.code().as_str()), (status, "UPSTREAM_ERROR"), "{page}");
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.story(), format!("fwd=uri-miss; fwd-status={status}; detail=status"));
    }
}

// T21.
#[test]
fn a_rejected_key_is_the_gateways_failure_and_not_the_clients() {
    let body = r#"{"success":false,"error":{"code":"UNAUTHORIZED","message":"Invalid or missing API key"},"meta":{}}"#;
    let acts = reply("401 Unauthorized", &[JSON, "WWW-Authenticate: Bearer realm=\"upstream\""], body);
    let upstream = Upstream::always(acts);
    let gateway = Gateway::plain(&upstream);
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert_eq!(response.json()["error"]["message"], "The upstream rejected this tenant's API key");
    assert_eq!(response.header("www-authenticate"), None);
    assert_eq!(response.story(), "fwd=uri-miss; fwd-status=401; detail=status");
    assert_eq!(gateway.metric("upstream_key_rejections_total{tenant=\"alpha\"}"), 1.0);
    assert_eq!(gateway.metric("upstream_key_rejections_total{tenant=\"beta\"}"), 0.0);
    gateway
        .process
        .err_line("about the key", |line| line.contains("rejected this tenant's API key with 401"));
}

// F13.
#[test]
fn a_tenants_rejected_key_does_not_affect_another() {
    let upstream = Upstream::scripted(|seen| {
        if seen.header("authorization") == Some("Bearer upstream-key-of-alpha") {
            reply("401 X", &[], "{}")
        } else {
            call_reply(seen.id(), &[])
        }
    });
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 502);
    assert_eq!(gateway.get_as(1, "call_1", &[]).status, 200);
}

// F01.
#[test]
fn an_absent_upstream_is_502_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(&crate::support::Config::default(), port);
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert_eq!(response.story(), "fwd=uri-miss");
    assert!(gateway.metric("upstream_requests_total{code=\"connect\",tenant=\"alpha\"}") >= 1.0);
}

// F08.
#[test]
fn a_pooled_connection_that_the_upstream_closes_costs_no_error() {
    let upstream = Upstream::scripted(|seen| {
        let mut acts = call_reply(seen.id(), &[]);
        acts.push(Act::Close);
        acts
    });
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    for number in 0..300 {
        let id = format!("call_{number}");
        assert_eq!(client.get(&format!("/v1/calls/{id}"), TOKENS[0], &[]).read().status, 200, "{id}");
    }
    assert_eq!(gateway.metric("upstream_retries_total{tenant=\"alpha\"}"), 0.0);
}

#[test]
fn a_404_that_is_not_the_apis_own_is_not_remembered() {
    let upstream = Upstream::always(reply("404 Not Found", &[JSON], "{\"message\":\"no route\"}"));
    let gateway = Gateway::plain(&upstream);
    for _ in 0..2 {
        let response = gateway.get("call_1");
        assert_eq!(
            (response.status, response.story().as_str()),
            (404, "fwd=uri-miss; fwd-status=404; detail=status")
        );
    }
    assert_eq!(upstream.count(), 2);
}
