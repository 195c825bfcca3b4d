//! Streams that end early: the client always notices.

use std::time::Duration;

use super::*;
use crate::support::{Gate, eventually};

/// A response that announces more than it sends, followed by these acts.
fn broken(head: &str, then: Vec<Act>) -> Upstream {
    let head = format!("HTTP/1.1 200 OK\r\n{MPEG}\r\n{head}\r\n");
    with_media(move |_| [vec![Act::Send(head.clone().into_bytes())], then.clone()].concat())
}

/// Reads the head, and everything until the connection ends.
fn all_of(gateway: &Gateway) -> (Response, Vec<u8>) {
    let (mut client, head) = begin(gateway);
    assert_eq!(head.status, 200);
    (head, client.read_to_end())
}

// T100.
#[test]
fn a_body_that_breaks_off_breaks_off_for_the_client() {
    for (head, then) in [
        ("Content-Length: 100\r\n", vec![Act::Send(b"short".to_vec()), Act::Close]),
        ("Content-Length: 100\r\n", vec![Act::Send(b"short".to_vec()), Act::Reset]),
        ("Transfer-Encoding: chunked\r\n", vec![Act::Send(b"5\r\nshort\r\n".to_vec()), Act::Close]),
        (
            "Transfer-Encoding: chunked\r\n",
            vec![Act::Send(b"5\r\nshort\r\nZ".to_vec()), Act::Sleep(Duration::from_secs(1))],
        ),
    ] {
        let upstream = broken(head, then);
        let gateway = config().start(&upstream);
        let (response, rest) = all_of(&gateway);
        match response.header("content-length") {
            Some(length) => {
                assert_eq!(length, "100");
                assert_eq!(rest, b"short", "{head}");
            }
            None => assert!(!rest.ends_with(b"0\r\n\r\n"), "no clean end: {rest:?}"),
        }
        eventually("the end is counted", || ended(&gateway, "upstream") == 1.0);
        let line = gateway.process.err_line("about the break", |line| line.contains("\"end\":\"upstream\""));
        assert!(line.contains("\"bytes\":5") && line.contains("\"level\":\"WARN\""), "{line}");
    }
}

// T100.
#[test]
fn what_comes_after_the_announced_length_is_left_where_it_is() {
    let upstream = broken("Content-Length: 5\r\n", vec![Act::Send(b"sound and more".to_vec())]);
    let gateway = config().start(&upstream);
    assert_eq!(get(&gateway, RECORDING, &[]).text(), "sound");
    assert_eq!(get(&gateway, RECORDING, &[]).text(), "sound", "on a connection of its own");
    assert_eq!(ended(&gateway, "whole"), 2.0);
}

// T100.
#[test]
fn an_upstream_that_stalls_is_given_up() {
    let gate = Gate::default();
    let then = vec![Act::Send(b"short".to_vec()), Act::Wait(gate.clone())];
    let upstream = broken("Content-Length: 100\r\n", then);
    let gateway = config().with("media", "idle_timeout = \"300ms\"").start(&upstream);
    let (_, rest) = all_of(&gateway);
    assert_eq!(rest, b"short");
    eventually("the end is counted", || ended(&gateway, "timeout") == 1.0);
    gate.open();
}

#[test]
fn a_head_that_does_not_come_is_504_in_time() {
    let upstream = with_media(|_| vec![Act::Sleep(Duration::from_secs(10))]);
    let gateway = config().with("media", "first_byte_timeout = \"200ms\"").start(&upstream);
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!((response.status, response.code().as_str()), (504, "UPSTREAM_TIMEOUT"));
    let gateway = config()
        .with("media", "hosts = [\"127.0.0.1:1\"]")
        .start(&Upstream::always(call_reply(&call_with("call_1", "\"http://127.0.0.1:1/x\"", "null"))));
    assert_eq!(get(&gateway, RECORDING, &[]).status, 502, "nobody listens there");
    assert_eq!(gateway.metric("media_host_requests_total{code=\"connect\",tenant=\"alpha\"}"), 1.0);
}

// T103.
#[test]
fn more_than_may_be_is_refused_or_cut() {
    let upstream = with_media(|_| reply("200 OK", &[MPEG], SOUND));
    let gateway = config().with("media", "max_bytes = \"32B\"").start(&upstream);
    let response = get(&gateway, RECORDING, &[]);
    assert_eq!(
        (response.status, response.cache_status()),
        (502, "fwd=bypass; fwd-status=200; detail=too-large")
    );
    let endless = vec![Act::Send(b"10\r\n0123456789abcdef\r\n".to_vec()); 10];
    let upstream = broken("Transfer-Encoding: chunked\r\n", endless);
    let gateway = config().with("media", "max_bytes = \"40B\"").start(&upstream);
    let (head, rest) = all_of(&gateway);
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert!(!rest.ends_with(b"0\r\n\r\n"), "no clean end: {rest:?}");
    eventually("the end is counted", || ended(&gateway, "too-large") == 1.0);
    assert!(gateway.metric("media_bytes_total{kind=\"recording\",tenant=\"alpha\"}") <= 40.0);
}

// T98.
#[test]
fn a_part_without_a_length_of_its_own_is_held_to_its_span() {
    let head = format!(
        "HTTP/1.1 206 X\r\n{MPEG}\r\nContent-Range: bytes 0-9/33\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let upstream = with_media(move |_| {
        vec![Act::Send(head.clone().into_bytes()), Act::Send(b"5\r\nshort\r\n0\r\n\r\n".to_vec())]
    });
    let gateway = config().start(&upstream);
    let mut client = gateway.connect();
    let head = client.get(RECORDING, TOKENS[0], &["Range: bytes=0-9"]).read_head().expect("a head");
    assert_eq!((head.status, head.header("content-length")), (206, Some("10")));
    assert_eq!(client.read_to_end(), b"short");
}
