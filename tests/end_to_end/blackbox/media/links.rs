//! Where links may lead, and what is sent there.

use super::*;
use crate::support::KEYS;

fn refused(gateway: &Gateway) -> String {
    let response = get(gateway, RECORDING, &[]);
    assert_eq!((response.status, response.code().as_str()), (502, "UPSTREAM_ERROR"));
    response.cache_status().to_owned()
}

// T93, T94.
#[test]
fn a_media_host_gets_neither_key_nor_request_id_nor_trace() {
    let (upstream, host, gateway) = linked(|_, host| format!("http://{host}/x.mp3?signature=s%2Ft"));
    let trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let response = get(&gateway, RECORDING, &["X-Request-Id: mine", trace]);
    assert_eq!((response.status, response.text().as_str()), (200, SOUND));
    let seen = &host.seen()[0];
    assert_eq!(seen.target, "/x.mp3?signature=s%2Ft", "as it was written");
    for name in ["authorization", "x-request-id", "traceparent", "tracestate"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert!(!format!("{seen:?}").contains(KEYS[0]));
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.metric("media_host_requests_total{code=\"200\",tenant=\"alpha\"}"), 1.0);
}

// T92.
#[test]
fn other_links_are_refused_without_a_connection_and_the_log_names_the_host_alone() {
    let trap = Upstream::always(reply("200 OK", &[MPEG], SOUND));
    let port = trap.address().port();
    for link in [
        format!("http://127.0.0.1:{port}/x?signature=canary"),
        format!("http://localhost:{port}/x"),
        format!("http://127.1:{port}/x"),
        format!("http://x@127.0.0.1:{port}/x"),
        "http://169.254.169.254/latest".to_owned(),
        "file:///etc/passwd".to_owned(),
        "//evil.test/x".to_owned(),
    ] {
        let (upstream, host, gateway) = linked(|_, _| link.clone());
        assert_eq!(refused(&gateway), "fwd=bypass; detail=link", "{link}");
        assert_eq!((upstream.count(), host.count(), trap.count()), (1, 0, 0), "{link}");
        let log = gateway.process.err().join("\n");
        assert!(!log.contains("canary") && !log.contains("/latest"), "{log}");
    }
    let (upstream, _, gateway) = linked(|base, _| format!("http://{base}/v1/users/user_1"));
    assert_eq!(refused(&gateway), "fwd=bypass; detail=link", "the key would open the API");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_host_that_is_not_listed_is_reported_once() {
    let (_, _, gateway) = linked(|_, _| "https://media.vendor.test/x?signature=secret".to_owned());
    refused(&gateway);
    refused(&gateway);
    let about = |line: &String| line.contains("media.vendor.test");
    gateway.process.err_line("about the host", |line| line.contains("media.vendor.test"));
    let lines: Vec<_> = gateway.process.err().into_iter().filter(about).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("media.hosts") && !lines[0].contains("secret"));
}

// T93.
#[test]
fn a_redirect_leads_to_a_media_host_without_the_key_and_never_back() {
    let (upstream, host, gateway) = linked(|base, _| format!("http://{base}/first"));
    let (base_at, host_at) = (upstream.address(), host.address());
    let redirect = move |to: String| reply("302 Found", &[&format!("Location: {to}")], "");
    let base_then = move |location: String| {
        move |seen: &Seen| match seen.target.strip_prefix("/v1/calls/") {
            Some(id) => call_reply(&call_with(id, &format!("\"http://{base_at}/first\""), "null")),
            None if seen.target == "/first" => redirect(location.clone()),
            None => reply("200 OK", &[MPEG], "from the base"),
        }
    };
    upstream.now(base_then(format!("http://{host_at}/second?signature=x")));
    assert_eq!(get(&gateway, RECORDING, &[]).text(), SOUND);
    assert_eq!(host.seen()[0].header("authorization"), None);
    upstream.now(base_then("/second".into()));
    assert_eq!(get(&gateway, RECORDING, &[]).text(), "from the base");
    // Back to the upstream, with or without the key.
    upstream.now(base_then(format!("http://{host_at}/second")));
    host.now(move |_| redirect(format!("http://{base_at}/third")));
    assert_eq!(refused(&gateway), "fwd=bypass; fwd-status=302; detail=link");
    assert!(!upstream.seen().iter().any(|seen| seen.target == "/third"));
    // In a loop.
    let before = host.count();
    host.now(move |_| redirect("/second".into()));
    assert_eq!(refused(&gateway), "fwd=bypass; fwd-status=302; detail=link");
    assert_eq!(host.count() - before, 2, "three requests in all");
    for location in
        ["http://evil.test/x", "http://evil.test/x\r\nLocation: http://evil.test/x", "//evil.test/x"]
    {
        upstream.now(base_then(location.into()));
        assert_eq!(refused(&gateway), "fwd=bypass; fwd-status=302; detail=link", "{location}");
    }
}

#[test]
fn a_dead_link_of_a_cached_call_is_renewed_once() {
    let upstream = Upstream::scripted(|_| Vec::new());
    let address = upstream.address();
    let script = move |generation: usize| {
        move |seen: &Seen| match seen.target.strip_prefix("/v1/calls/") {
            Some(id) => {
                let link = format!("\"http://{address}/x?signature={generation}\"");
                call_reply(&call_with(id, &link, "null"))
            }
            None if seen.target.ends_with(&format!("={generation}")) => reply("200 OK", &[MPEG], SOUND),
            None => reply("403 Forbidden", &["Content-Type: application/xml"], "<Error>expired</Error>"),
        }
    };
    upstream.now(script(1));
    let gateway = config().start(&upstream);
    assert_eq!(get(&gateway, RECORDING, &[]).status, 200);
    upstream.now(script(2));
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!((response.status, response.text().as_str()), (200, SOUND));
    let targets: Vec<_> = upstream.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets[2..], ["/x?signature=1", "/v1/calls/call_1", "/x?signature=2"]);
    assert_eq!(gateway.get("call_1").story(), "hit; ttl", "the call is as it was renewed");
    // A link that stays dead.
    upstream.now(move |seen| match seen.target.strip_prefix("/v1/calls/") {
        Some(id) => call_reply(&call_with(id, &format!("\"http://{address}/x?signature=2\""), "null")),
        None => reply("403 Forbidden", &[], ""),
    });
    let before = upstream.count();
    assert_eq!(get(&gateway, RECORDING, &[]).status, 403);
    assert_eq!(upstream.count() - before, 2, "one attempt, one renewal");
}

#[test]
fn each_request_to_the_upstream_is_paid_for_and_those_to_media_hosts_are_not() {
    let limit = "routes = [\"call\", \"recording\"]\nupstream_limit = { per_second = 0.001, burst = 2 }";
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway = Config::default().tenant(0, limit).start(&upstream);
    assert_eq!(get(&gateway, RECORDING, &[]).status, 200, "the call and its recording");
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!((response.status, response.code().as_str()), (429, "RATE_LIMITED"));
    assert!(response.header("retry-after").is_some());
    assert_eq!(upstream.count(), 2);
    let (upstream, host, _) = linked(|_, host| format!("http://{host}/x"));
    let hosts = format!("hosts = [\"{}\"]", host.address());
    let gateway = Config::default().tenant(0, limit).with("media", &hosts).start(&upstream);
    for _ in 0..5 {
        assert_eq!(get(&gateway, RECORDING, &[]).status, 200);
    }
    assert_eq!((upstream.count(), host.count()), (1, 5));
}

// T96.
#[test]
fn statuses_of_a_media_host_are_its_own_affair() {
    let (_, host, gateway) = linked(|_, host| format!("http://{host}/x"));
    for (theirs, ours, code) in [
        ("401 X", 502, "UPSTREAM_ERROR"),
        ("403 X", 502, "UPSTREAM_ERROR"),
        ("500 X", 502, "UPSTREAM_ERROR"),
        ("429 X", 503, "UPSTREAM_UNAVAILABLE"),
        ("404 X", 404, "NOT_FOUND"),
    ] {
        host.now(move |_| reply(theirs, &["Retry-After: 9"], "<Error>secret</Error>"));
        let response = get(&gateway, RECORDING, &[]);
        assert_eq!((response.status, response.code().as_str()), (ours, code), "{theirs}");
        assert_eq!(response.header("retry-after"), (ours == 503).then_some("9"));
    }
}
