//! HTTP/2's own framing, tested against the same rules as HTTP/1.1.

use std::time::Duration;

use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, frame, get, lookup as head_of,
};
use crate::support::{Config, Gateway, TOKENS, Upstream};

fn connect(gateway: &Gateway) -> Frames {
    Frames::connect(gateway.data, Duration::from_secs(10))
}

/// A lookup of `call_1` with further fields.
fn lookup(fields: &[(&str, &str)]) -> Vec<u8> {
    let authorization = format!("Bearer {}", TOKENS[0]);
    let mut all = vec![(":path", "/v1/calls/call_1")];
    let (pseudo, rest): (Vec<(&str, &str)>, Vec<_>) =
        fields.iter().copied().partition(|(name, _)| name.starts_with(':'));
    all.extend(pseudo);
    all.push(("authorization", &authorization));
    all.extend(rest);
    get(&all)
}

// T28.
#[test]
fn a_request_has_at_most_one_host() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut frames = connect(&gateway);
    let cases: &[(u16, &[(&str, &str)])] = &[
        (200, &[(":authority", "gateway")]),
        (200, &[("host", "gateway")]),
        (200, &[(":authority", "gateway:80"), ("host", "GATEWAY:80")]),
        (200, &[]),
        (400, &[(":authority", "gateway"), ("host", "other")]),
        (400, &[(":authority", "gateway"), ("host", "gateway:81")]),
        (400, &[(":authority", "gateway"), ("host", "gateway"), ("host", "gateway")]),
        (400, &[("host", "gateway"), ("host", "gateway")]),
        (400, &[("host", "a b")]),
        (400, &[(":authority", "user@gateway")]),
    ];
    for (number, (status, fields)) in (0..).zip(cases) {
        let stream = 2 * number + 1;
        assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &lookup(fields)));
        assert_eq!(frames.read_status(stream), Ok(*status), "{fields:?}");
    }
    assert_eq!(upstream.count(), 1);
}

/// `:path` with `/v1/calls/call_1#x` in Huffman code.
const CODED_FRAGMENT: &[u8] =
    &[0x04, 0x80 | 14, 0x63, 0xb8, 0x58, 0x20, 0xe8, 0xa1, 0x0c, 0x10, 0x74, 0x51, 0x10, 0x7f, 0xeb, 0xcf];

// T23.
#[test]
fn a_fragment_is_no_part_of_a_target_on_either_plane() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    for address in [gateway.data, gateway.admin] {
        let mut frames = Frames::connect(address, Duration::from_secs(10));
        let mut stream = 1;
        for path in ["/v1/calls/call_1#x", "/v1/calls/call_1#", "/nowhere#x", "/livez#", "/livez?verbose#x"] {
            assert!(frames.get(stream, path, TOKENS[0]));
            assert_eq!(frames.read_status(stream), Ok(400), "{path}");
            stream += 2;
        }
        let coded = [&get(&[]), CODED_FRAGMENT].concat();
        assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, stream, &coded));
        assert_eq!(frames.read_status(stream), Ok(400), "in Huffman code");
    }
    assert_eq!(gateway.outcomes("hit"), 0.0);
}

#[test]
fn only_data_with_bytes_is_a_body() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "header_read_timeout = \"500ms\"").start(&upstream);
    let mut frames = connect(&gateway);
    let mut status = |stream: u32, data: &[(u8, &[u8])]| {
        let head = head_of("/v1/calls/call_1", TOKENS[0]);
        assert!(frames.send(HEADERS, END_HEADERS, stream, &head));
        for (flags, bytes) in data {
            assert!(frames.send(DATA, *flags, stream, bytes));
        }
        frames.read_status(stream)
    };
    assert_eq!(status(1, &[(END_STREAM, b"")]), Ok(200));
    assert_eq!(status(3, &[(0, b""), (END_STREAM, b"")]), Ok(200));
    assert_eq!(status(5, &[(END_STREAM, b"x")]), Ok(400));
    assert_eq!(status(7, &[(0, b""), (0, b"x")]), Ok(400));
    assert_eq!(status(9, &[]), Ok(400), "a stream that stays open for longer than a head may take");
}

// T58.
#[test]
fn a_burst_before_the_limit_of_streams_is_known_costs_only_its_surplus() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    assert_eq!(gateway.get("call_1").status, 200);
    let mut frames = connect(&gateway);
    let head = head_of("/v1/calls/call_1", TOKENS[0]);
    let burst: Vec<u8> =
        (0..240).flat_map(|number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)).collect();
    assert!(frames.send_bytes(&burst));
    assert!(frames.send(PING, 0, 0, b"the last"));
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 240 {
        let frame = frames.read().expect("the connection lives");
        match frame.kind {
            HEADERS => answered += 1,
            // REFUSED_STREAM.
            RST_STREAM => {
                assert_eq!(frame.payload, 7_u32.to_be_bytes());
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(answered >= 100, "{answered} were answered, {refused} refused");
    assert!(frames.get(481, "/v1/calls/call_1", TOKENS[0]));
    assert_eq!(frames.read_status(481), Ok(200));
}
