//! Validation: ours with the upstream, and clients' with us.

use crate::support::{Act, Gateway, TOKENS, Upstream, call, call_reply, reply};

/// A call with a tag that is stale from the start and must be validated.
fn tagged(id: &str, tag: &str) -> Vec<Act> {
    call_reply(id, &["Cache-Control: no-cache", &format!("ETag: {tag}"), "X-Version: 1"])
}

fn stored(acts: Vec<Act>) -> (Upstream, Gateway) {
    let upstream = Upstream::always(acts);
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    (upstream, gateway)
}

#[test]
fn a_304_renews_the_entry_and_updates_its_headers() {
    let (upstream, gateway) = stored(tagged("call_1", "\"v1\""));
    upstream.now(|_| {
        vec![Act::Send(
            b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=100\r\nX-Version: 2\r\n\r\n".to_vec(),
        )]
    });
    let renewed = gateway.get("call_1");
    assert_eq!((renewed.status, renewed.story().as_str()), (200, "fwd=stale; fwd-status=304; stored; ttl"));
    assert_eq!(renewed.json()["data"]["id"], "call_1");
    assert_eq!((renewed.header("x-version"), renewed.header("age")), (Some("2"), Some("0")));
    assert_eq!(upstream.seen()[1].header("if-none-match"), Some("\"v1\""));
    let hit = gateway.get("call_1");
    assert_eq!(
        (hit.story().as_str(), hit.header("x-version"), hit.header("etag")),
        ("hit; ttl", Some("2"), Some("\"v1\""))
    );
    assert_eq!((gateway.outcomes("revalidated"), upstream.count()), (1.0, 2));
}

#[test]
fn last_modified_is_sent_too_and_a_generated_tag_never() {
    let date = "Mon, 15 Jan 2024 10:30:00 GMT";
    let line = format!("Last-Modified: {date}");
    let (upstream, gateway) = stored(call_reply("call_1", &["Cache-Control: no-cache", &line]));
    gateway.get("call_1");
    let seen = upstream.seen();
    assert_eq!((seen[0].header("if-modified-since"), seen[0].header("if-none-match")), (None, None));
    assert_eq!((seen[1].header("if-modified-since"), seen[1].header("if-none-match")), (Some(date), None));

    let (upstream, gateway) = stored(call_reply("call_1", &["Cache-Control: no-cache"]));
    assert!(gateway.get("call_1").header("etag").unwrap().starts_with("W/"));
    let seen = upstream.seen();
    assert_eq!((seen[1].header("if-none-match"), seen[1].header("if-modified-since")), (None, None));
}

#[test]
fn a_changed_tag_replaces_the_entry() {
    let (upstream, gateway) = stored(tagged("call_1", "\"v1\""));
    upstream.now(|seen| call_reply(seen.id(), &["Cache-Control: max-age=60", "ETag: \"v2\""]));
    assert_eq!(gateway.get("call_1").story(), "fwd=stale; fwd-status=200; stored; ttl");
    assert_eq!(gateway.get("call_1").header("etag"), Some("\"v2\""));
    assert_eq!(gateway.metric("cache_evictions_total{cause=\"replaced\",tenant=\"alpha\"}"), 1.0);
}

#[test]
fn an_unsolicited_304_is_502() {
    let upstream = Upstream::always(vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec())]);
    let gateway = Gateway::plain(&upstream);
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert_eq!(response.story(), "fwd=uri-miss; fwd-status=304; detail=status");
}

#[test]
fn a_304_about_another_version_is_followed_by_a_whole_request() {
    let (upstream, gateway) = stored(tagged("call_1", "\"v1\""));
    upstream.now(|seen| match seen.header("if-none-match") {
        Some(_) => vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\nETag: \"v9\"\r\n\r\n".to_vec())],
        None => call_reply(seen.id(), &["Cache-Control: max-age=60", "ETag: \"v9\""]),
    });
    let response = gateway.get("call_1");
    assert_eq!((response.status, response.header("etag")), (200, Some("\"v9\"")));
    assert_eq!(upstream.count(), 3);
}

#[test]
fn a_304_with_no_store_answers_once_and_removes_the_entry() {
    let (upstream, gateway) = stored(tagged("call_1", "\"v1\""));
    upstream
        .now(|_| vec![Act::Send(b"HTTP/1.1 304 Not Modified\r\nCache-Control: no-store\r\n\r\n".to_vec())]);
    let response = gateway.get("call_1");
    assert_eq!(
        (response.status, response.story().as_str()),
        (200, "fwd=stale; fwd-status=304; detail=no-store")
    );
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
}

#[test]
fn clients_that_have_the_call_get_304_from_the_cache_and_on_a_miss() {
    let upstream = Upstream::scripted(|seen| {
        call_reply(
            seen.id(),
            &[
                "ETag: \"v1\"",
                "Last-Modified: Mon, 15 Jan 2024 10:30:00 GMT",
                "X-Other: 1",
                "Cache-Control: max-age=60",
            ],
        )
    });
    let gateway = Gateway::plain(&upstream);
    for (id, line, status) in [
        ("call_1", "If-None-Match: \"v1\"", 304),
        ("call_1", "If-None-Match: W/\"v1\"", 304),
        ("call_1", "If-None-Match: \"x\", \"v1\"", 304),
        ("call_1", "If-None-Match: *", 304),
        ("call_1", "If-None-Match: \"x\"", 200),
        ("call_1", "If-Modified-Since: Mon, 15 Jan 2024 10:30:00 GMT", 304),
        ("call_1", "If-Modified-Since: Mon, 15 Jan 2024 10:29:00 GMT", 200),
        ("call_1", "If-Modified-Since: nonsense", 200),
        ("call_1", "If-None-Match: \"x\"\r\nIf-Modified-Since: Tue, 16 Jan 2024 10:30:00 GMT", 200),
        ("call_2", "If-None-Match: \"v1\"", 304),
    ] {
        let response = gateway.get_with(id, &[line]);
        assert_eq!(response.status, status, "{id} {line}");
        assert!(upstream.seen().iter().all(|seen| seen.header("if-none-match").is_none()));
        if status == 304 {
            for name in ["etag", "cache-control", "date", "vary", "via", "x-request-id", "cache-status"] {
                assert!(response.header(name).is_some(), "{name}");
            }
            for name in ["content-type", "x-other", "content-length"] {
                assert_eq!(response.header(name), None, "{name}");
            }
        }
    }
    assert_eq!(upstream.count(), 2);
    assert_eq!(gateway.metric("requests_total{code=\"304\",route=\"call\",tenant=\"alpha\"}"), 6.0);
    assert_eq!(gateway.outcomes("hit"), 8.0, "a 304 from the cache is a hit");
}

#[test]
fn a_client_that_polls_gets_304_although_meta_changes() {
    let upstream = Upstream::scripted(|seen| {
        let body = call(seen.id()).replace("req_000000000", &format!("req_{:09}", seen.number));
        reply("200 OK", &["Cache-Control: no-cache"], &body)
    });
    let gateway = Gateway::plain(&upstream);
    let tag = gateway.get("call_1").header("etag").unwrap().to_owned();
    for _ in 0..3 {
        let polled = gateway.get_with("call_1", &[&format!("If-None-Match: {tag}")]);
        assert_eq!((polled.status, polled.story().as_str()), (304, "fwd=stale; fwd-status=200; stored; ttl"));
    }
    assert_eq!(upstream.count(), 4);
}

#[test]
fn a_conditional_head_is_a_304_too() {
    let (_upstream, gateway) = stored(call_reply("call_1", &["ETag: \"v1\""]));
    let mut client = gateway.connect();
    let head = client
        .request("HEAD", "/v1/calls/call_1", TOKENS[0], &["If-None-Match: \"v1\""])
        .read_head()
        .unwrap();
    assert_eq!(head.status, 304);
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
}
