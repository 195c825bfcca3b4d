//! A hint that a call has changed: `POST /api/v1/cache/{tenant}/{id}/refresh`.

use std::time::Duration;

use crate::support::{
    Client, Config, Gateway, Response, TOKENS, Upstream, call, call_reply, eventually, reply,
};

const ADMIN: &str = "admin-token-0123456789-abcdefghijklm";
const REFRESH: &str = "refresh-token-0123456789-abcdefghijk";

fn post(gateway: &Gateway, id: &str, token: &str) -> Response {
    let path = format!("/api/v1/cache/alpha/{id}/refresh");
    Client::connect(gateway.admin).request("POST", &path, token, &[]).read()
}

#[test]
fn a_stored_call_is_renewed_in_the_background_once_per_shortest_pause() {
    let upstream = Upstream::scripted(|seen| call_reply(seen.id(), &[]));
    let gateway = Config::default().with("wait", "poll_min = \"20s\"\npoll_max = \"30s\"").start(&upstream);
    gateway.get("call_1");
    for _ in 0..5 {
        let answer = post(&gateway, "call_1", "");
        assert_eq!((answer.status, answer.json()["refreshing"].as_bool()), (202, Some(true)));
    }
    eventually("the renewal has landed", || {
        gateway.metric("cache_evictions_total{cause=\"replaced\",tenant=\"alpha\"}") == 1.0
    });
    assert_eq!(upstream.count(), 2, "the lookup's fetch and one renewal");
    assert_eq!(gateway.get("call_1").story(), "hit; ttl");
}

#[test]
fn nothing_is_fetched_for_a_call_that_is_neither_stored_nor_watched() {
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_missing" => reply("404 Not Found", &[], r#"{"success":false,"error":{"code":"NOT_FOUND"}}"#),
        id => call_reply(id, &[]),
    });
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_missing");
    assert_eq!((post(&gateway, "call_2", "").status, post(&gateway, "call_missing", "").status), (202, 202));
    gateway.get("call_3");
    assert_eq!(upstream.count(), 2, "the two lookups");
    let unknown = "/api/v1/cache/nobody/call_1/refresh";
    assert_eq!(Client::connect(gateway.admin).request("POST", unknown, "", &[]).read().status, 404);
    let with_query = "/api/v1/cache/alpha/call_1/refresh?x=1";
    assert_eq!(Client::connect(gateway.admin).request("POST", with_query, "", &[]).read().status, 400);
}

#[test]
fn a_watched_call_is_polled_at_once() {
    let upstream = Upstream::scripted(|seen| {
        reply("200 OK", &[], &call(seen.id()).replace("\"completed\"", "\"in_progress\""))
    });
    let gateway = Config::default().with("wait", "poll_min = \"50ms\"\npoll_max = \"20s\"").start(&upstream);
    let mut client = gateway.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &["Prefer: wait=20"]);
    // By now the pauses are longer than the shortest.
    eventually("it is watched for a while", || {
        let explained = gateway.admin("/api/v1/explain/alpha/call_1").json();
        let steps = explained["decisions"].as_array().cloned().unwrap_or_default();
        let next = steps.iter().find(|step| step["step"] == "watch").cloned().unwrap_or_default();
        next["details"]["next_poll_in_seconds"].as_f64().is_some_and(|seconds| seconds > 0.3)
    });
    upstream.now(|seen| call_reply(seen.id(), &[]));
    let begun = std::time::Instant::now();
    assert_eq!(post(&gateway, "call_1", "").status, 202);
    assert_eq!(client.read().json()["data"]["status"], "completed");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_refresh_token_may_do_nothing_else() {
    let upstream = Upstream::scripted(|seen| call_reply(seen.id(), &[]));
    let tokens = format!("token = {{ value = \"{ADMIN}\" }}\nrefresh_token = {{ value = \"{REFRESH}\" }}");
    let gateway = Config::default().with("admin", &tokens).start(&upstream);
    assert_eq!(
        (post(&gateway, "call_1", REFRESH).status, post(&gateway, "call_1", ADMIN).status),
        (202, 202)
    );
    assert_eq!(post(&gateway, "call_1", TOKENS[0]).status, 401);
    let malformed = post(&gateway, "call-1", REFRESH);
    assert_eq!((malformed.status, malformed.code().as_str()), (400, "INVALID_REQUEST"), "but it may do that");
    for (method, path) in [
        ("GET", "/api/v1/stats"),
        ("GET", "/api/v1/cache/alpha/call_1"),
        ("DELETE", "/api/v1/cache/alpha/call_1"),
        ("GET", "/api/v1/explain/alpha/call_1"),
        ("POST", "/api/v1/reload"),
        ("GET", "/api/v1/nowhere"),
        ("GET", "/api/v1/cache/alpha/call_1/refresh"),
        ("POST", "/api/v1/cache/alpha/refresh"),
        ("POST", "/api/v1/cache/alpha/call_1/call_1/refresh"),
    ] {
        let answer = Client::connect(gateway.admin).request(method, path, REFRESH, &[]).read();
        assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"), "{method} {path}");
    }
    let line = gateway.process.err_line("of a refresh", |line| line.contains("refresh of a call"));
    assert!(line.contains("admin.refresh_token") && !line.contains(REFRESH), "{line}");
}
