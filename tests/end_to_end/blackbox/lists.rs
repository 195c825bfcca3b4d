//! The list of an invoice's calls: `GET /v1/calls?invoice_id=inv_…`.

use std::thread;
use std::time::Duration;

use crate::support::{
    Act, Client, Config, Gate, Gateway, KEYS, Response, TOKENS, Upstream, call_reply, eventually, reply,
};

const PATH: &str = "/v1/calls?invoice_id=inv_7";
const LIST: &str = r#"{"success":true,"data":[{"id":"call_1","invoice_id":"inv_7"}],"meta":{}}"#;

/// A gateway with lists allowed for both tenants.
fn listing(upstream: &Upstream, cache: &str) -> Gateway {
    let routes = "routes = [\"call\", \"calls\"]";
    Config::default().tenant(0, routes).tenant(1, routes).with("cache", cache).start(upstream)
}

fn list_with(gateway: &Gateway, path: &str, lines: &[&str]) -> Response {
    gateway.connect().get(path, TOKENS[0], lines).read()
}

fn list(gateway: &Gateway) -> Response {
    list_with(gateway, PATH, &[])
}

fn always(body: &'static str) -> Upstream {
    Upstream::always(reply("200 OK", &["Content-Type: application/json"], body))
}

#[test]
fn a_list_is_passed_byte_for_byte_with_the_tenants_own_key() {
    let upstream = always(LIST);
    let gateway = listing(&upstream, "");
    let response = list(&gateway);
    assert_eq!((response.status, response.text().as_str()), (200, LIST));
    assert_eq!(response.story(), "fwd=bypass; fwd-status=200");
    assert_eq!(
        (response.header("via"), response.header("vary")),
        (Some("1.1 credira-gateway"), Some("Authorization"))
    );
    let seen = &upstream.seen()[0];
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", PATH));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {}", KEYS[0]).as_str()));
    // Not stored, and no lookup of a call.
    assert_eq!(list(&gateway).story(), "fwd=bypass; fwd-status=200");
    assert_eq!(upstream.count(), 2);
    assert_eq!(gateway.metric("requests_total{code=\"200\",route=\"calls\",tenant=\"alpha\"}"), 2.0);
    assert_eq!(gateway.outcomes("miss") + gateway.outcomes("bypass") + gateway.outcomes("hit"), 0.0);
    let head = gateway.connect().request("HEAD", PATH, TOKENS[0], &[]).read_head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (200, Some(LIST.len().to_string().as_str())));
}

#[test]
fn false_for_no_calls_is_passed_too() {
    let body = r#"{"success":true,"data":false,"meta":{}}"#;
    let response = list(&listing(&always(body), ""));
    assert_eq!((response.status, response.text().as_str()), (200, body));
}

// T111.
#[test]
fn without_the_route_the_path_does_not_exist() {
    let upstream = always(LIST);
    let gateway = Gateway::plain(&upstream);
    let without_id = |path: &str, method: &str| {
        let response = gateway.connect().request(method, path, TOKENS[0], &["X-Request-Id: same"]).read();
        let mut headers = response.headers.clone();
        headers.retain(|(name, _)| name != "date" && name != "ratelimit");
        let text = response.text();
        let text = text.split("\"timestamp\"").next().unwrap_or_default().to_owned();
        (response.status, headers, text)
    };
    for method in ["GET", "POST"] {
        assert_eq!(without_id(PATH, method), without_id("/v1/nowhere", method), "{method}");
    }
    assert_eq!(without_id(PATH, "GET").0, 404);
    assert_eq!(upstream.count(), 0);
    assert!(!gateway.admin("/metrics").text().contains("route=\"calls\",tenant"), "no series either");
}

// T112.
#[test]
fn any_other_query_is_400_without_an_upstream_request() {
    let upstream = always(LIST);
    let gateway = listing(&upstream, "");
    for query in [
        "",
        "?",
        "?invoice_id=",
        "?invoice_id=inv_7&x=1",
        "?%69nvoice_id=inv_7",
        "?invoice_id[]=inv_7",
        "?invoice_id=inv_7&invoice_id=inv_7",
        "?invoice_id=inv_%37",
    ] {
        let response = list_with(&gateway, &format!("/v1/calls{query}"), &[]);
        assert_eq!((response.status, response.code().as_str()), (400, "INVALID_REQUEST"), "{query}");
    }
    let response = gateway.connect().request("POST", PATH, TOKENS[0], &[]).read();
    assert_eq!((response.status, response.header("allow")), (405, Some("GET, HEAD")));
    let response = list_with(&gateway, PATH, &["Content-Length: 1"]);
    assert_eq!(response.status, 400);
    assert_eq!(upstream.count(), 0);
}

// T113.
#[test]
fn a_list_of_another_invoice_is_a_mix_up() {
    let body = r#"{"success":true,"data":[{"invoice_id":"inv_7"},{"id":"call_2","invoice_id":"inv_8"}]}"#;
    let upstream = always(body);
    let gateway = listing(&upstream, "list_ttl = \"10s\"");
    let response = list(&gateway);
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
    assert_eq!(response.story(), "fwd=bypass; fwd-status=200; detail=identity");
    assert_eq!(gateway.metric("identity_mismatches_total{tenant=\"alpha\"}"), 1.0);
    upstream.now(|_| reply("200 OK", &[], LIST));
    assert_eq!(list(&gateway).status, 200, "nothing was kept");
}

#[test]
fn anything_but_a_list_is_502_and_errors_keep_their_status() {
    let upstream = always("[]");
    let gateway = listing(&upstream, "");
    for body in
        ["[]", "{", r#"{"success":true,"data":{"id":"call_1"}}"#, r#"{"success":true,"data":[],"data":[]}"#]
    {
        upstream.now(move |_| reply("200 OK", &[], body));
        assert_eq!(list(&gateway).status, 502, "{body}");
    }
    let error = r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Invoice not found"}}"#;
    upstream.now(move |_| reply("404 Not Found", &[], error));
    let response = list(&gateway);
    assert_eq!((response.status, response.text().as_str()), (404, error));
    upstream.now(move |_| reply("401 Unauthorized", &[], error));
    assert_eq!((list(&gateway).status, list(&gateway).code().as_str()), (502, "UPSTREAM_ERROR"));
    upstream.now(|_| reply("302 Found", &["Location: /elsewhere"], ""));
    assert_eq!(list(&gateway).status, 502);
}

#[test]
fn concurrent_list_requests_are_one_fetch_and_fill_no_entry() {
    let gate = Gate::default();
    let mut acts = vec![Act::Wait(gate.clone())];
    acts.extend(reply("200 OK", &[], LIST));
    let upstream = Upstream::always(acts);
    let gateway = listing(&upstream, "");
    let herd: Vec<Client> = (0..20)
        .map(|_| {
            let mut client = gateway.connect();
            client.get(PATH, TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("the herd waits", || gateway.metric("requests_in_flight") >= 20.0);
    gate.open();
    let stories: Vec<_> = herd.into_iter().map(|mut client| client.read().story()).collect();
    let followed = stories.iter().filter(|story| *story == "fwd=bypass; fwd-status=200; collapsed").count();
    assert_eq!((followed, upstream.count()), (19, 1));
    upstream.now(|seen| call_reply(seen.id(), &[]));
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
}

#[test]
fn with_a_lifetime_a_list_is_served_again_to_its_own_tenant_until_a_purge() {
    let upstream = always(LIST);
    let gateway = listing(&upstream, "list_ttl = \"10s\"");
    list(&gateway);
    let again = list(&gateway);
    assert_eq!(
        (again.story().as_str(), again.header("age"), again.text().as_str()),
        ("hit; ttl", Some("0"), LIST)
    );
    assert_eq!(list_with(&gateway, PATH, &["Cache-Control: no-cache"]).story(), "fwd=bypass; fwd-status=200");
    let other = gateway.connect().get(PATH, TOKENS[1], &[]).read();
    assert_eq!(other.story(), "fwd=bypass; fwd-status=200");
    assert_eq!(upstream.count(), 3);
    // A purge of any call drops the tenant's lists.
    gateway.delete("/api/v1/cache/alpha/call_9");
    let cached = list_with(&gateway, PATH, &["Cache-Control: only-if-cached"]);
    assert_eq!((cached.status, cached.code().as_str()), (504, "NOT_CACHED"));
    assert_eq!(list(&gateway).story(), "fwd=bypass; fwd-status=200");
    let other = gateway.connect().get(PATH, TOKENS[1], &[]).read();
    assert_eq!(other.story(), "hit; ttl");
    upstream.now(|_| reply("200 OK", &["Cache-Control: no-store"], LIST));
    gateway.delete("/api/v1/cache/alpha");
    list(&gateway);
    assert_eq!(list(&gateway).story(), "fwd=bypass; fwd-status=200");
}

// T107.
#[test]
fn a_purge_during_a_fetch_keeps_the_list_from_being_stored_and_later_requests_fetch_again() {
    let gate = Gate::default();
    let mut acts = vec![Act::Wait(gate.clone())];
    acts.extend(reply("200 OK", &[], LIST));
    let upstream = Upstream::always(acts);
    let gateway = listing(&upstream, "list_ttl = \"10s\"");
    let mut before = gateway.connect();
    before.get(PATH, TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.delete("/api/v1/cache/alpha/call_1");
    let after = thread::scope(|scope| {
        let newcomer = scope.spawn(|| list(&gateway));
        upstream.wait_for(2);
        gate.open();
        newcomer.join().expect("an answer")
    });
    assert_eq!(after.story(), "fwd=bypass; fwd-status=200");
    assert_eq!(before.read().status, 200);
    assert_eq!(list(&gateway).story(), "hit; ttl", "the newcomer's own fetch was stored");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_lifetime_ends() {
    let upstream = always(LIST);
    let gateway = listing(&upstream, "list_ttl = \"10s\"");
    upstream.now(|_| reply("200 OK", &["Cache-Control: max-age=1"], LIST));
    list(&gateway);
    eventually("it is asked for again", || {
        thread::sleep(Duration::from_millis(100));
        list(&gateway).story() == "fwd=bypass; fwd-status=200"
    });
}
