//! How long the upstream may take.

use std::time::{Duration, Instant};

use crate::support::{Act, Config, Gateway, TOKENS, Upstream, call, call_reply, reply};

fn timed(gateway: &Gateway, id: &str) -> (crate::support::Response, Duration) {
    let start = Instant::now();
    let response = gateway.get(id);
    (response, start.elapsed())
}

#[track_caller]
fn times_out(upstream: &Upstream, times: &str, millis: u64) -> Gateway {
    let gateway = Config::default().with("upstream", times).start(upstream);
    let (response, took) = timed(&gateway, "call_1");
    assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    assert_eq!(response.story(), "fwd=uri-miss");
    let took = u64::try_from(took.as_millis()).unwrap();
    assert!(took >= millis && took < millis + 1500, "{took} ms instead of {millis}");
    assert_eq!(gateway.metric("upstream_requests_total{code=\"timeout\",tenant=\"alpha\"}"), 1.0);
    gateway
}

// F03.
#[test]
fn a_head_that_never_comes_is_504_at_first_byte_timeout() {
    let upstream = Upstream::scripted(|seen| match seen.number {
        0 => vec![Act::Sleep(Duration::from_secs(3))],
        _ => call_reply(seen.id(), &[]),
    });
    let gateway = times_out(&upstream, "first_byte_timeout = \"300ms\"\ntotal_timeout = \"5s\"", 300);
    assert_eq!(gateway.get("call_2").status, 200);
    assert_eq!(upstream.connections(), 2, "the silent connection is not used again");
}

// F04.
#[test]
fn a_head_that_drips_is_504_at_its_deadline() {
    let drip: Vec<Act> = "HTTP/1.1 200 OK\r\nX-Slow: "
        .bytes()
        .chain(std::iter::repeat_n(b'x', 500))
        .flat_map(|byte| [Act::Send(vec![byte]), Act::Sleep(Duration::from_millis(20))])
        .collect();
    let upstream = Upstream::always(drip);
    times_out(&upstream, "first_byte_timeout = \"400ms\"\ntotal_timeout = \"5s\"", 400);
}

// F05.
#[test]
fn a_body_that_stalls_or_drips_is_504_at_the_total_timeout_and_not_stored() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n".to_vec();
    let stalls = vec![
        Act::Send(head.clone()),
        Act::Send(b"{\"success\"".to_vec()),
        Act::Sleep(Duration::from_secs(3)),
    ];
    let drips: Vec<Act> = std::iter::once(Act::Send(head))
        .chain((0..500).flat_map(|_| [Act::Send(b" ".to_vec()), Act::Sleep(Duration::from_millis(20))]))
        .collect();
    for acts in [stalls, drips] {
        let upstream = Upstream::always(acts);
        let gateway = times_out(&upstream, "first_byte_timeout = \"5s\"\ntotal_timeout = \"500ms\"", 500);
        assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 0.0);
    }
}

// F02.
#[test]
fn a_connection_that_never_opens_is_504_at_connect_timeout() {
    // A full backlog: the kernel drops what comes after it.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _fill: Vec<_> = (0..8)
        .map(|_| {
            let fill = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            fill.set_nonblocking(true).unwrap();
            let _ = fill.connect(&address.into());
            fill
        })
        .collect();
    let gateway = Gateway::start(&Config::default().with("upstream", "connect_timeout = \"400ms\""), address);
    let (response, took) = timed(&gateway, "call_1");
    assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    assert!((400..2000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn an_answer_in_many_pieces_is_one_answer() {
    let body = call("call_1");
    let mut acts =
        vec![Act::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes())];
    for piece in body.as_bytes().chunks(100) {
        acts.push(Act::Send(piece.to_vec()));
        acts.push(Act::Sleep(Duration::from_millis(2)));
    }
    let chunks: String = body
        .as_bytes()
        .chunks(77)
        .map(|c| format!("{:x}\r\n{}\r\n", c.len(), String::from_utf8_lossy(c)))
        .collect();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n{chunks}0\r\nX-T: 1\r\n\r\n"
    );
    let closed = format!("HTTP/1.0 200 OK\r\n\r\n{body}");
    for acts in
        [acts, vec![Act::Send(chunked.into_bytes())], vec![Act::Send(closed.into_bytes()), Act::Close]]
    {
        let upstream = Upstream::always(acts);
        let gateway = Gateway::plain(&upstream);
        assert_eq!(gateway.get("call_1").text(), body);
        let hit = gateway.get("call_1");
        assert_eq!((hit.story().as_str(), hit.text()), ("hit; ttl", body.clone()));
    }
}

#[test]
fn a_fetch_waits_for_a_free_connection_within_its_deadline() {
    let upstream = Upstream::scripted(|seen| {
        let mut acts = vec![Act::Sleep(Duration::from_millis(200))];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    let gateway = Config::default().with("upstream", "max_connections = 1").start(&upstream);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let gateway = &gateway;
                    move || gateway.get(&format!("call_{n}")).status
                })
            })
            .collect();
        for thread in asking {
            assert_eq!(thread.join().unwrap(), 200);
        }
    });
    assert_eq!((upstream.count(), upstream.connections()), (4, 1));

    let times = "max_connections = 1\ntotal_timeout = \"300ms\"";
    let gateway = Config::default().with("upstream", times).start(&upstream);
    let statuses: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn({
                    let gateway = &gateway;
                    move || gateway.get(&format!("call_{n}")).status
                })
            })
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(statuses.contains(&200) && statuses.contains(&504), "{statuses:?}");
}

#[test]
fn one_slow_tenant_starves_no_other() {
    let upstream = Upstream::scripted(|seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.header("authorization") == Some("Bearer upstream-key-of-alpha") {
            acts.insert(0, Act::Sleep(Duration::from_secs(2)));
        }
        acts
    });
    let gateway = Config::default().with("upstream", "max_connections = 2").start(&upstream);
    let mut slow: Vec<_> = (0..20)
        .map(|n| {
            let mut client = gateway.connect();
            client.get(&format!("/v1/calls/call_{n}"), crate::support::TOKENS[0], &[]);
            client
        })
        .collect();
    upstream.wait_for(2);
    let start = Instant::now();
    assert_eq!(gateway.get_as(1, "call_1", &[]).status, 200);
    assert!(start.elapsed() < Duration::from_secs(1));
    slow.clear();
    let _ = reply;
}

#[test]
fn no_more_connections_are_opened_than_max_connections_however_many_wait() {
    let upstream = Upstream::scripted(|seen| {
        let mut acts = vec![Act::Sleep(Duration::from_millis(5))];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    let gateway = Config::default().with("upstream", "max_connections = 8").start(&upstream);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut client = gateway.connect();
                for m in 0..30 {
                    assert_eq!(
                        client.get(&format!("/v1/calls/call_{n}x{m}"), TOKENS[0], &[]).read().status,
                        200
                    );
                }
            });
        }
    });
    let connections = upstream.connections();
    assert!(upstream.count() == 480 && connections <= 8, "{connections}");
}
