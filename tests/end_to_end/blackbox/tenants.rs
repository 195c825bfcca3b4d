//! Tenants share the process and nothing else.

use std::thread;

use crate::support::{Config, Gateway, KEYS, TOKENS, Upstream, call_reply, reply};

/// An upstream that serves different data to each key; the body names it.
fn two_worlds() -> Upstream {
    Upstream::scripted(|seen| {
        let key = seen.header("authorization").unwrap_or_default().to_owned();
        let marked = crate::support::call(seen.id()).replace("made-up", &key);
        reply("200 OK", &[], &marked)
    })
}

// T01.
#[test]
fn a_call_that_another_tenant_has_cached_is_a_miss() {
    let upstream = Upstream::scripted(|seen| {
        if seen.header("authorization") == Some(&format!("Bearer {}", KEYS[0])) {
            call_reply(seen.id(), &[])
        } else {
            let body =
                r#"{"success":false,"error":{"code":"NOT_FOUND","message":"Call not found"},"meta":{}}"#;
            reply("404 Not Found", &[], body)
        }
    });
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get_as(0, "call_1", &[]).status, 200);
    assert_eq!(gateway.get_as(0, "call_1", &[]).story(), "hit; ttl");
    let other = gateway.get_as(1, "call_1", &[]);
    assert_eq!((other.status, other.code().as_str(), other.header("age")), (404, "NOT_FOUND", None));
    assert_eq!(other.story(), "fwd=uri-miss; fwd-status=404; stored; ttl");
    assert_eq!(upstream.seen()[1].header("authorization").unwrap(), format!("Bearer {}", KEYS[1]));
}

// T02.
#[test]
fn the_same_call_at_the_same_time_is_two_fetches_with_two_keys_and_two_entries() {
    let upstream = two_worlds();
    let gateway = Gateway::plain(&upstream);
    let bodies: Vec<String> = thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|tenant| {
                scope.spawn({
                    let gateway = &gateway;
                    move || gateway.get_as(tenant, "call_1", &[]).text()
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (tenant, body) in bodies.iter().enumerate() {
        assert!(body.contains(KEYS[tenant]) && !body.contains(KEYS[1 - tenant]));
        let again = gateway.get_as(tenant, "call_1", &[]);
        assert_eq!((again.story().as_str(), &again.text()), ("hit; ttl", body));
    }
    assert_eq!(upstream.count(), 2);
    assert_eq!(gateway.metric("cache_entries{tenant=\"beta\"}"), 1.0);
}

// T03.
#[test]
fn no_two_ids_and_no_two_tenants_share_an_entry() {
    let upstream = two_worlds();
    let gateway = Gateway::plain(&upstream);
    let longest = "x".repeat(64);
    let ids = [
        "call_a",
        "call_A",
        "call_ab",
        "call_a0",
        &format!("call_{longest}"),
        &format!("call_{}", &longest[..63]),
    ];
    for tenant in 0..2 {
        for id in ids {
            let response = gateway.get_as(tenant, id, &[]);
            assert_eq!(response.story(), "fwd=uri-miss; fwd-status=200; stored; ttl", "{id}");
            assert_eq!(response.json()["data"]["id"], id);
        }
    }
    assert_eq!(upstream.count(), 2 * ids.len());
}

// T11.
#[test]
fn one_request_leaks_nothing_into_another() {
    let upstream = Upstream::scripted(|seen| {
        let lines = [
            "Set-Cookie: session=leader",
            "X-Request-Id: upstreams",
            "RateLimit: \"up\";r=1;t=1",
            "RateLimit-Policy: \"up\";q=1;w=1",
            "X-RateLimit-Remaining: 1",
            "X-Kept: yes",
        ];
        call_reply(seen.id(), &lines)
    });
    let gateway =
        Config::default().tenant(0, "rate_limit = { per_second = 100, burst = 200 }").start(&upstream);
    for (id, remaining) in [("first", 199), ("second", 198)] {
        let response = gateway.get_with("call_1", &[&format!("X-Request-Id: {id}")]);
        assert_eq!(response.header("x-request-id"), Some(id));
        assert_eq!(response.header("set-cookie"), None);
        assert_eq!(response.header("x-ratelimit-remaining"), None);
        assert_eq!(response.header("x-kept"), Some("yes"));
        assert_eq!(response.header("ratelimit-policy"), Some("\"tenant\";q=200;w=2"));
        let told = response.header("ratelimit").unwrap();
        assert!(told.starts_with("\"tenant\";r=") && told != "\"up\";r=1;t=1", "{told} {remaining}");
    }
}

// T20, T36.
#[test]
fn the_upstream_sees_exactly_the_tenants_key() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let lines = [
        "X-Api-Key: stolen",
        "Cookie: key=stolen",
        "Connection: authorization, x-api-key, host, x-request-id",
        "Proxy-Authorization: Bearer stolen",
    ];
    assert_eq!(gateway.get_with("call_1", &lines).status, 200);
    let seen = &upstream.seen()[0];
    let credentials: Vec<_> =
        seen.headers.iter().filter(|(name, _)| name.contains("auth") || name.contains("key")).collect();
    assert_eq!(credentials, [&("authorization".to_owned(), format!("Bearer {}", KEYS[0]))]);
    assert!(!format!("{seen:?}").contains("stolen") && !format!("{seen:?}").contains(TOKENS[0]));
}

// T38, T39.
#[test]
fn nothing_else_a_client_sends_reaches_the_upstream() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let header_sets: &[&[&str]] = &[
        &[],
        &["Accept: text/html", "Accept-Encoding: gzip, br", "Accept-Language: de"],
        &["Cache-Control: no-cache", "Pragma: no-cache"],
        &["Range: bytes=0-10", "If-Match: \"x\"", "If-Range: \"x\""],
        &["If-None-Match: \"x\"", "If-Modified-Since: Mon, 15 Jan 2024 10:30:00 GMT"],
        &["X-Forwarded-For: 1.2.3.4", "X-Real-IP: 1.2.3.4", "Forwarded: for=1.2.3.4"],
        &["User-Agent: evil", "Cookie: a=b", "Referer: http://evil.example", "Origin: http://evil.example"],
        &["X-HTTP-Method-Override: DELETE", "TE: trailers", "DNT: 1", "Via: 1.0 evil"],
    ];
    for (place, lines) in header_sets.iter().enumerate() {
        let mut lines = lines.to_vec();
        lines.push("X-Request-Id: same");
        let response = gateway.get_with(&format!("call_{place}"), &lines);
        assert_eq!((response.status, response.body.is_empty()), (200, false), "{lines:?}");
    }
    let requests: Vec<_> = upstream.seen().into_iter().map(|seen| (seen.method, seen.headers)).collect();
    assert_eq!(requests.len(), header_sets.len());
    assert!(requests.windows(2).all(|pair| pair[0] == pair[1]), "{requests:#?}");
    let (method, headers) = &requests[0];
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(method, "GET");
    assert_eq!(
        names,
        ["accept", "accept-encoding", "user-agent", "via", "x-request-id", "authorization", "host"]
    );
    assert!(headers.contains(&("accept-encoding".into(), "identity".into())));
    assert!(headers.contains(&("via".into(), "1.1 credira-gateway".into())));
}

#[test]
fn random_header_sets_change_nothing_upstream() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut client = gateway.connect();
    let names = [
        "Accept",
        "Cache-Control",
        "Pragma",
        "Cookie",
        "Range",
        "If-None-Match",
        "X-Forwarded-Host",
        "Forwarded",
        "Origin",
        "X-Original-URL",
        "Content-Type",
        "User-Agent",
        "TE",
        "Upgrade-Insecure-Requests",
        "X-Api-Version",
        "Accept-Charset",
    ];
    let values =
        ["a", "no-cache", "bytes=0-1", "*/*", "\"x\"", "max-age=0", "http://evil.example", "1", "trailers"];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for number in 0..500 {
        let lines: Vec<String> = (0..random(6))
            .map(|_| format!("{}: {}", names[random(names.len())], values[random(values.len())]))
            .chain(["X-Request-Id: same".to_owned()])
            .collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        client.get(&format!("/v1/calls/call_r{number}"), TOKENS[0], &lines);
        client.read();
    }
    let seen = upstream.seen();
    assert!(seen.len() >= 490, "{}", seen.len());
    assert!(seen.windows(2).all(|pair| pair[0].headers == pair[1].headers));
}

#[test]
fn several_tokens_name_one_tenant() {
    let upstream = Upstream::contract();
    let second = "second-token-of-alpha-0123456789abcd";
    let tokens = format!("tokens = [{{ value = \"{}\" }}, {{ value = \"{second}\" }}]", TOKENS[0]);
    let gateway = Config::default().tenant(0, &tokens).start(&upstream);
    assert_eq!(gateway.get("call_1").story(), "fwd=uri-miss; fwd-status=200; stored; ttl");
    let response = gateway.connect().get("/v1/calls/call_1", second, &[]).read();
    assert_eq!(response.story(), "hit; ttl");
}

// T62.
#[test]
fn one_tenant_that_fills_its_cache_takes_nothing_from_another() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("cache", "max_bytes_per_tenant = \"64KiB\"").start(&upstream);
    gateway.get_as(1, "call_mine", &[]);
    let mut client = gateway.connect();
    for number in 0..300 {
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
    }
    assert_eq!(gateway.get_as(1, "call_mine", &[]).story(), "hit; ttl");
    let bytes = gateway.metric("cache_bytes{tenant=\"alpha\"}");
    assert!(bytes <= 65_536.0, "{bytes}");
    assert!(gateway.metric("cache_evictions_total{cause=\"size\",tenant=\"alpha\"}") > 200.0);
}
