//! Running streams: their number, their timeouts, and what disconnects, reloads and drains do to them.

use std::time::{Duration, Instant};

use super::*;
use crate::support::{Gate, eventually};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 10\r\n\r\n";

/// An upstream that sends half of a recording, and the rest once the gate is open.
fn halves(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    with_media(move |_| {
        vec![
            Act::Send(format!("{HEAD}first").into_bytes()),
            Act::Wait(gate.clone()),
            Act::Send(b"other".to_vec()),
        ]
    })
}

fn streams(gateway: &Gateway) -> f64 {
    gateway.metric("media_streams{tenant=\"alpha\"}")
}

#[test]
fn what_comes_is_passed_on_at_once_and_outlives_the_idle_timeout() {
    let gate = Gate::default();
    let upstream = halves(&gate);
    let gateway = config().with("limits", "idle_timeout = \"200ms\"").start(&upstream);
    let (mut client, _) = begin(&gateway);
    assert_eq!(client.read_bytes(5), b"first");
    assert_eq!(streams(&gateway), 1.0);
    std::thread::sleep(Duration::from_millis(600));
    gate.open();
    assert_eq!(client.read_bytes(5), b"other");
    assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200, "the connection goes on");
    assert_eq!(streams(&gateway), 0.0);
}

// T102.
#[test]
fn a_request_behind_a_stream_is_answered_after_it() {
    let gate = Gate::default();
    let upstream = halves(&gate);
    let gateway = config().start(&upstream);
    let (mut client, _) = begin(&gateway);
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    gate.open();
    assert_eq!(client.read_bytes(10), b"firstother");
    assert_eq!(client.read().status, 200);
}

// T101.
#[test]
fn one_stream_too_many_is_503_and_lookups_go_on() {
    let gate = Gate::default();
    let upstream = halves(&gate);
    let gateway = config().with("media", "max_streams = 2").start(&upstream);
    let mut clients = [begin(&gateway).0, begin(&gateway).0];
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!((response.status, response.code().as_str()), (503, "OVERLOADED"));
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(gateway.get("call_1").status, 200);
    gate.open();
    for client in &mut clients {
        client.read_bytes(10);
    }
    eventually("there is room again", || get(&gateway, RECORDING, &[]).status == 200);
}

#[test]
fn a_client_that_leaves_ends_the_upstreams_request_at_once() {
    let upstream = with_media(|_| {
        let mut acts = vec![Act::Send(
            format!("HTTP/1.1 200 OK\r\n{MPEG}\r\nContent-Length: 1000000000\r\n\r\n").into_bytes(),
        )];
        acts.extend(vec![Act::Send(vec![b'x'; 1 << 16]); 15_000]);
        acts
    });
    let gateway = config().start(&upstream);
    let (mut client, _) = begin(&gateway);
    client.read_bytes(1 << 20);
    client.leave();
    eventually("the end is counted", || ended(&gateway, "client") == 1.0);
    assert_eq!(streams(&gateway), 0.0);
    eventually("the upstream's connection is closed", || gateway.process_metric("open_fds") < 40.0);
}

// T101.
#[test]
fn a_client_that_takes_nothing_is_cut_off_at_the_total_timeout() {
    let upstream = with_media(|_| {
        vec![
            Act::Send(format!("HTTP/1.1 200 OK\r\n{MPEG}\r\nContent-Length: 100000000\r\n\r\n").into_bytes()),
            Act::Send(vec![b'x'; 100_000_000]),
        ]
    });
    let gateway = config().with("media", "total_timeout = \"500ms\"").start(&upstream);
    let (mut client, _) = begin(&gateway);
    let start = Instant::now();
    eventually("the end is counted", || ended(&gateway, "timeout") == 1.0);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(client.read_to_end().len() < 100_000_000, "it ends short");
}

#[test]
fn a_drain_lets_streams_finish_and_cuts_them_off_at_its_timeout() {
    let gate = Gate::default();
    let upstream = halves(&gate);
    let mut gateway = config().start(&upstream);
    let (mut client, _) = begin(&gateway);
    gateway.process.signal("TERM");
    gateway.process.err_line("about the drain", |line| line.contains("draining"));
    gate.open();
    assert_eq!(client.read_bytes(10), b"firstother");
    assert_eq!(gateway.process.wait().code(), Some(0));

    let gate = Gate::default();
    let upstream = halves(&gate);
    let mut gateway = config().with("shutdown", "drain_timeout = \"300ms\"").start(&upstream);
    let (mut client, _) = begin(&gateway);
    assert_eq!(client.read_bytes(5), b"first");
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(client.read_to_end(), b"", "it ends short");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    gate.open();
}

#[test]
fn a_reload_leaves_streams_alone() {
    let gate = Gate::default();
    let upstream = halves(&gate);
    let gateway = config().with("media", "max_streams = 1").start(&upstream);
    let (mut client, _) = begin(&gateway);
    assert_eq!(gateway.reload(&config().with("media", "max_streams = 1\nidle_timeout = \"1s\"")).status, 200);
    assert_eq!(get(&gateway, RECORDING, &[]).status, 503, "its place is still taken");
    gate.open();
    assert_eq!(client.read_bytes(10), b"firstother");
}

// T95.
#[test]
fn no_link_and_no_media_is_ever_written() {
    let host = Upstream::always(Vec::new());
    let hosts = format!("hosts = [\"{}\"]", host.address());
    let config = config().with("media", &hosts).with("log", "access = \"all\"\nlevel = \"trace\"");
    let base = Upstream::always(call_reply(&call_with(
        "call_1",
        &format!("\"http://{}/canary-path?signature=canary-signature\"", host.address()),
        "null",
    )));
    let loud = config.env("RUST_LOG", "trace").start(&base);
    for acts in [
        reply("200 OK", &[MPEG], "canary-sound"),
        reply("500 X", &[MPEG], "canary-error"),
        reply("302 X", &["Location: http://evil.test/canary-path?canary-signature"], ""),
        vec![
            Act::Send(
                b"HTTP/1.1 200 canary-phrase\r\nContent-Length: 9\r\nContent-Type: audio/x\r\n\r\nx".to_vec(),
            ),
            Act::Close,
        ],
        vec![Act::Send(b"canary-garbage\r\n\r\n".to_vec()), Act::Close],
    ] {
        host.now(move |_| acts.clone());
        let mut client = loud.connect();
        client.get(RECORDING, TOKENS[0], &[]);
        client.read_head().expect("a head");
    }
    let metrics = loud.admin("/metrics").text();
    let explain = loud.admin("/api/v1/explain/alpha/call_1").text();
    let log = loud.process.err().join("\n");
    for canary in ["canary", TOKENS[0], crate::support::KEYS[0]] {
        assert!(!log.contains(canary), "{canary} in\n{log}");
        assert!(!metrics.contains(canary) && !explain.contains(canary), "{canary}");
    }
}
