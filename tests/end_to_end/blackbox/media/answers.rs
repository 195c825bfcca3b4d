//! Answers to requests for media.

use super::*;
use crate::support::KEYS;

#[test]
fn a_recording_is_passed_byte_for_byte_with_the_tenants_own_key() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG, "ETag: \"7\"", "Server: x"], SOUND));
    let gateway = config().start(&upstream);
    let response = get(&gateway, RECORDING, &["X-Request-Id: mine", "Accept: text/html", "Cookie: a=b"]);
    assert_eq!((response.status, response.text().as_str()), (200, SOUND));
    for (name, value) in [
        ("content-type", "audio/mpeg"),
        ("content-length", "33"),
        ("etag", "\"7\""),
        ("cache-control", "private, no-cache"),
        ("content-disposition", "attachment; filename=\"call_1.mp3\""),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("via", "1.1 credira-gateway"),
        ("vary", "Authorization"),
        ("x-request-id", "mine"),
        ("cache-status", "credira-gateway; fwd=bypass; fwd-status=200"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    assert_eq!(response.header("server"), None);
    let seen = &media_requests(&upstream)[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/recordings/call_1.mp3"));
    let authority = upstream.address().to_string();
    for (name, value) in [
        ("authorization", format!("Bearer {}", KEYS[0]).as_str()),
        ("host", authority.as_str()),
        ("accept", "*/*"),
        ("accept-encoding", "identity"),
        ("connection", "close"),
        ("x-request-id", "mine"),
        ("via", "1.1 credira-gateway"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!((seen.header("cookie"), seen.header("range")), (None, None));
}

#[test]
fn what_was_sent_is_counted_once() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway = config().start(&upstream);
    get(&gateway, RECORDING, &[]);
    get(&gateway, RECORDING, &[]);
    let count = |series: &str| gateway.metric(series);
    assert_eq!(ended(&gateway, "whole"), 2.0);
    assert_eq!(count("media_bytes_total{kind=\"recording\",tenant=\"alpha\"}"), 66.0);
    assert_eq!(count("media_streams{tenant=\"alpha\"}"), 0.0);
    assert_eq!(count("requests_total{code=\"200\",route=\"recording\",tenant=\"alpha\"}"), 2.0);
    assert_eq!(count("upstream_requests_total{code=\"200\",tenant=\"alpha\"}"), 3.0);
    assert_eq!(
        (gateway.outcomes("miss"), gateway.outcomes("hit")),
        (1.0, 1.0),
        "the call was looked up twice"
    );
    let text = gateway.admin("/metrics").text();
    assert!(!text.contains("media_streams{tenant=\"beta\"}"), "no series for a tenant without the routes");
}

// T105, T111.
#[test]
fn another_tenant_gets_its_own_refusal() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway = config().start(&upstream);
    assert_eq!(get(&gateway, RECORDING, &[]).status, 200);
    let unknown = |path: &str| {
        let response = gateway.connect().get(path, TOKENS[1], &["X-Request-Id: x"]).read();
        (response.status, response.code())
    };
    assert_eq!(unknown(RECORDING), (404, "NOT_FOUND".to_owned()), "no route of this tenant");
    assert_eq!(upstream.count(), 2);
    let gateway = config().tenant(1, "routes = [\"recording\"]").start(&upstream);
    upstream.now(|_| reply("403 X", &["Content-Type: application/json"], r#"{"success":false}"#));
    let response = gateway.connect().get(RECORDING, TOKENS[1], &[]).read();
    assert_eq!((response.status, response.text().as_str()), (403, r#"{"success":false}"#));
    assert_eq!(media_requests(&upstream).len(), 1, "only the first tenant's");
}

// T97.
#[test]
fn one_range_is_passed_and_its_part_comes_back() {
    let upstream = with_media(|seen| match seen.header("range") {
        Some("bytes=2-6") => reply("206 Partial Content", &[MPEG, "Content-Range: bytes 2-6/33"], "sound"),
        Some(_) => reply("416 X", &["Content-Range: bytes */33"], "<html>"),
        None => reply("200 OK", &[MPEG], SOUND),
    });
    let gateway = config().start(&upstream);
    let response = get(&gateway, RECORDING, &["Range: BYTES=02-6", "If-Range: \"7\""]);
    assert_eq!((response.status, response.text().as_str()), (206, "sound"));
    assert_eq!(response.header("content-range"), Some("bytes 2-6/33"));
    assert_eq!(media_requests(&upstream)[0].header("if-range"), Some("\"7\""));
    let response = get(&gateway, RECORDING, &["Range: bytes=99-"]);
    assert_eq!((response.status, response.code().as_str()), (416, "RANGE_NOT_SATISFIABLE"));
    assert_eq!(response.header("content-range"), Some("bytes */33"));
    let many = format!("Range: bytes={}", "0-,".repeat(1000));
    for ignored in ["Range: bytes=0-1,2-3", "Range: items=0-1", "Range: bytes=5-2", &many] {
        let response = get(&gateway, RECORDING, &[ignored]);
        assert_eq!((response.status, response.text().as_str()), (200, SOUND), "{ignored:.40}");
    }
    assert_eq!(get(&gateway, RECORDING, &["Range: bytes=0-1", "Range: bytes=0-1"]).status, 200);
}

// T98.
#[test]
fn a_part_that_was_not_asked_for_is_502() {
    for (range, status, line) in [
        ("", "206 X", "Content-Range: bytes 0-4/33"),
        ("Range: bytes=2-6", "206 X", "Content-Range: bytes 3-7/33"),
        ("Range: bytes=2-6", "206 X", "Content-Range: bytes 2-7/33"),
        ("Range: bytes=2-6", "206 X", "X-Other: none"),
    ] {
        let upstream = with_media(move |_| reply(status, &[MPEG, line], "sound"));
        let gateway = config().start(&upstream);
        let lines: &[&str] = if range.is_empty() { &[] } else { &[range] };
        let response = get(&gateway, RECORDING, lines);
        assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"), "{range} {line}");
        assert_eq!(response.cache_status(), "fwd=bypass; fwd-status=206; detail=range");
    }
}

#[test]
fn a_head_costs_one_byte_and_tells_the_whole_length() {
    let upstream = with_media(|_| {
        reply("206 Partial Content", &[MPEG, "Content-Range: bytes 0-0/123456", "ETag: \"7\""], "a")
    });
    let gateway = config().start(&upstream);
    let mut client = gateway.connect();
    let head =
        client.request("HEAD", RECORDING, TOKENS[0], &["Range: bytes=5-9"]).read_head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (200, Some("123456")));
    assert_eq!((head.header("content-range"), head.header("etag")), (None, Some("\"7\"")));
    assert_eq!(media_requests(&upstream)[0].header("range"), Some("bytes=0-0"));
    assert_eq!(media_requests(&upstream)[0].method, "GET");
    let next = client.get("/v1/calls/call_1", TOKENS[0], &[]).read();
    assert_eq!(next.status, 200, "the connection goes on");
    assert_eq!(ended(&gateway, "whole"), 0.0, "no body began");
}

#[test]
fn conditions_are_the_upstreams_to_judge() {
    let upstream = with_media(|seen| match seen.header("if-none-match") {
        Some("\"7\"") => reply("304 Not Modified", &["ETag: \"7\""], ""),
        _ => reply("200 OK", &[MPEG, "ETag: \"7\""], SOUND),
    });
    let gateway = config().start(&upstream);
    let response = get(&gateway, RECORDING, &["If-None-Match: \"7\""]);
    assert_eq!((response.status, response.header("etag")), (304, Some("\"7\"")));
    assert_eq!(response.header("content-disposition"), None);
    assert_eq!(get(&gateway, RECORDING, &["If-None-Match: 7"]).status, 200);
    upstream.now({
        let address = upstream.address();
        move |seen| match seen.target.strip_prefix("/v1/calls/") {
            Some(id) => call_reply(&own_links(id, address)),
            None => reply("304 Not Modified", &[], ""),
        }
    });
    assert_eq!(get(&gateway, RECORDING, &[]).status, 502, "a 304 that nobody asked for");
}

// T96, T104.
#[test]
fn only_media_pass_and_no_error_body_does() {
    for (status, lines, expected, detail) in [
        ("200 OK", &["Content-Type: text/html"][..], 502, "media-type"),
        ("200 OK", &["Content-Type: image/svg+xml"], 502, "media-type"),
        ("200 OK", &[], 502, "media-type"),
        ("200 OK", &[MPEG, "Content-Encoding: gzip"], 502, "invalid-body"),
        ("302 Found", &["Location: http://evil.test/"], 502, "link"),
        ("400 X", &[MPEG], 502, "status"),
        ("503 X", &["Retry-After: 7"], 503, ""),
        ("403 X", &[MPEG], 403, ""),
    ] {
        let lines: Vec<_> = lines.to_vec();
        let upstream = with_media(move |_| reply(status, &lines, "<Error><Bucket>secret</Bucket></Error>"));
        let gateway = config().start(&upstream);
        let response = get(&gateway, RECORDING, &[]);
        assert_eq!(response.status, expected, "{status}");
        assert_eq!(response.code(), "UPSTREAM_ERROR");
        assert!(!response.text().contains("secret") && response.header("location").is_none());
        if !detail.is_empty() {
            assert!(response.cache_status().ends_with(&format!("detail={detail}")), "{status} {detail}");
        }
        assert_eq!(response.header("retry-after"), (status == "503 X").then_some("7"));
    }
}

#[test]
fn a_call_without_a_link_is_404_once_settled_and_409_before() {
    let now = "2999-01-01T00:00:00Z";
    for (body, status, code) in [
        (call_with("call_1", "null", "null"), 404, "NOT_FOUND"),
        (call_with("call_1", "\"\"", "null"), 404, "NOT_FOUND"),
        (call_as("call_1", "in_progress", now, "null", "null"), 409, "NOT_READY"),
        (call_as("call_1", "completed", now, "null", "null"), 409, "NOT_READY"),
    ] {
        let upstream = Upstream::always(call_reply(&body));
        let gateway = config().start(&upstream);
        let response = get(&gateway, RECORDING, &[]);
        assert_eq!((response.status, response.code().as_str()), (status, code), "{body}");
        assert_eq!(response.header("retry-after"), (status == 409).then_some("5"));
        assert_eq!(upstream.count(), 1);
    }
    let upstream = Upstream::always(call_reply(&call_with("call_1", "null", "null")));
    let response = get(&config().start(&upstream), TRANSCRIPTION, &[]);
    assert_eq!(response.json()["error"]["message"], "This call has no transcription");
}

#[test]
fn a_recording_that_is_gone_is_404_and_its_call_is_asked_about_again() {
    let upstream = with_media(|_| reply("404 X", &[MPEG], "gone"));
    let gateway = config().start(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!(
        (response.status, response.json()["error"]["message"].as_str()),
        (404, Some("This call has no recording"))
    );
    // The link came from the cache, so the call was revalidated at once.
    let calls = upstream.count();
    assert_eq!(gateway.get("call_1").story(), "fwd=stale; fwd-status=200; stored; ttl");
    assert_eq!(upstream.count(), calls + 1);
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
}

#[test]
fn a_client_that_wants_only_what_is_cached_gets_no_recording() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway = config().start(&upstream);
    gateway.get("call_1");
    let response = get(&gateway, RECORDING, &["Cache-Control: only-if-cached"]);
    assert_eq!((response.status, response.code().as_str()), (504, "NOT_CACHED"));
    assert_eq!(media_requests(&upstream).len(), 0);
}

#[test]
fn a_request_may_wait_until_the_call_is_final() {
    let upstream = Upstream::scripted(|_| Vec::new());
    let address = upstream.address();
    upstream.now(move |seen| match (seen.target.strip_prefix("/v1/calls/"), seen.number) {
        (Some(id), 0) => call_reply(&call_as(id, "in_progress", "2999-01-01T00:00:00Z", "null", "null")),
        (Some(id), _) => call_reply(&own_links(id, address)),
        (None, _) => reply("200 OK", &[MPEG], SOUND),
    });
    let gateway = config().with("wait", "poll_min = \"50ms\"").start(&upstream);
    let response = get(&gateway, RECORDING, &["Prefer: wait=20"]);
    assert_eq!((response.status, response.text().as_str()), (200, SOUND));
    assert_eq!(response.header("preference-applied"), Some("wait=20"));
}

#[test]
fn calls_link_to_what_the_tenant_may_ask_for() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway =
        config().tenant(1, "routes = [\"call\"]").with("media", "link_headers = true").start(&upstream);
    let links = "</v1/calls/call_1/recording>; rel=\"enclosure\"; title=\"recording\", \
                 </v1/calls/call_1/transcription>; rel=\"enclosure\"; title=\"transcription\"";
    for _ in 0..2 {
        assert_eq!(gateway.get("call_1").header("link"), Some(links));
    }
    assert_eq!(gateway.get_as(1, "call_1", &[]).header("link"), None);
    assert_eq!(get(&gateway, RECORDING, &[]).header("link"), None);
}
