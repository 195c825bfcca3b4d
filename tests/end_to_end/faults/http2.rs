//! Floods of HTTP/2 frames: each ends its own connection, and nothing else.

use std::time::{Duration, Instant};

use crate::faults::clients::large;
use crate::support::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, field, frame, lookup,
};
use crate::support::{Act, Config, Gate, Gateway, TOKENS, Upstream, call_reply, eventually};

const CACHED: &str = "/v1/calls/call_cached";
/// RFC 9113 section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

fn connect(gateway: &Gateway) -> Frames {
    Frames::connect(gateway.data, Duration::from_secs(10))
}

/// Runs a flood beside another client, which must not be affected, and returns how many frames got through.
fn flood(gateway: &Gateway, mut send: impl FnMut(&mut Frames, u32) -> bool + Send) -> (u32, Frames) {
    gateway.get("call_cached");
    let memory = gateway.process_metric("resident_memory_bytes");
    let mut frames = connect(gateway);
    let most = 20_000;
    let sent = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| (0..most).take_while(|number| send(&mut frames, *number)).count());
        let mut other = gateway.connect();
        let mut slowest = Duration::ZERO;
        while !flooding.is_finished() {
            let start = Instant::now();
            assert_eq!(other.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "{slowest:?} for a hit during the flood");
        flooding.join().unwrap()
    });
    let growth = gateway.process_metric("resident_memory_bytes") - memory;
    assert!(growth < 20e6, "{growth} bytes more");
    (u32::try_from(sent).unwrap(), frames)
}

/// The invariants after a flood.
fn unharmed(gateway: &Gateway) {
    eventually("its connection has ended", || gateway.metric("connections") == 0.0);
    eventually("nothing is in flight", || gateway.metric("requests_in_flight") == 0.0);
    assert_eq!(gateway.get("call_cached").story(), "hit; ttl");
}

#[test]
fn the_frames_of_these_tests_are_valid() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut frames = connect(&gateway);
    for stream in [1, 3, 5] {
        assert!(frames.get(stream, CACHED, TOKENS[0]));
        let head = frames.read_until(HEADERS).unwrap();
        // `:status: 200` has the number 8.
        assert_eq!((head.stream, head.payload[0]), (stream, 0x88));
        assert_eq!(frames.read_until(DATA).unwrap().stream, stream);
    }
    assert!(frames.send(PING, 0, 0, b"12345678"));
    let pong = frames.read_until(PING).unwrap();
    assert_eq!((pong.flags, pong.payload.as_slice()), (ACK, &b"12345678"[..]));
    assert_eq!(gateway.metric("requests_total{code=\"200\",route=\"call\",tenant=\"alpha\"}"), 3.0);
}

// T58.
#[test]
fn rapid_resets_end_the_connection() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let (_, mut frames) = flood(&gateway, |frames, number| {
        let stream = 2 * number + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &lookup(CACHED, TOKENS[0]));
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        frames.send_bytes(&bytes)
    });
    let code = frames.read_goaway();
    // A reset of the whole connection may arrive before the GOAWAY.
    assert!([None, Some(ENHANCE_YOUR_CALM)].contains(&code), "{code:?}");
    drop(frames);
    unharmed(&gateway);
}

// T58.
#[test]
fn resets_that_the_client_provokes_end_the_connection() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    // Room for nothing more in a stream's window is an error of that stream (RFC 9113 section 6.9).
    let (_, mut frames) = flood(&gateway, |frames, number| {
        let stream = 2 * number + 1;
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &lookup(CACHED, TOKENS[0]));
        bytes.extend(frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()));
        frames.send_bytes(&bytes)
    });
    let code = frames.read_goaway();
    assert!(code.is_none_or(|code| code != 0), "{code:?}");
    drop(frames);
    unharmed(&gateway);
}

// T58.
#[test]
fn lookups_that_are_reset_free_their_slots_and_fetch_no_more_than_the_limit() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let gateway = Config::default().with("upstream", "max_waiting = 5\nmax_connections = 2").start(&upstream);
    let mut frames = connect(&gateway);
    let refused = || gateway.metric_or_0("requests_total{code=\"503\",route=\"call\",tenant=\"alpha\"}");
    for number in 0..10_u32 {
        let stream = 2 * number + 1;
        assert!(frames.get(stream, &format!("/v1/calls/call_{number}"), TOKENS[0]));
        if number < 5 {
            eventually("it waits", || gateway.metric("requests_in_flight") == 1.0);
        } else {
            eventually("it is turned away", || refused() == f64::from(number - 4));
        }
        assert!(frames.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        eventually("it is gone", || gateway.metric("requests_in_flight") == 0.0);
    }
    let lookups = gateway.outcomes("miss");
    assert_eq!(lookups, 5.0, "each that was reset is one outcome");
    gate.open();
    eventually("they end", || gateway.metric("cache_entries{tenant=\"alpha\"}") == 5.0);
    assert_eq!(gateway.get("call_new").status, 200);
}

// T58.
#[test]
fn a_head_without_end_ends_the_connection() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let piece = field("x-filler", &"x".repeat(1000));
    let (sent, mut frames) = flood(&gateway, |frames, number| match number {
        0 => frames.send(HEADERS, END_STREAM, 1, &lookup(CACHED, TOKENS[0])),
        _ => frames.send(CONTINUATION, 0, 1, &piece),
    });
    assert!(sent < 20_000, "{sent} frames were taken");
    let _ = frames.read_goaway();
    drop(frames);
    unharmed(&gateway);
}

// T58.
#[test]
fn a_head_beyond_its_limit_is_refused() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let mut frames = connect(&gateway);
    let mut block = lookup(CACHED, TOKENS[0]);
    // Once spelt out into the table, each further mention is one byte: 3 KiB stand for 300.
    block.extend([0x40, 1, b'a', 127, 0x81, 0x07]);
    block.extend(std::iter::repeat_n(b'x', 1024));
    block.extend(std::iter::repeat_n(0xbe, 300));
    assert!(frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &block));
    let answer = frames.read_until(HEADERS);
    // 431 is spelt out behind the number of `:status`.
    let status = answer.map(|head| String::from_utf8_lossy(&head.payload).into_owned());
    assert!(status.is_none_or(|text| !text.starts_with('\u{88}')), "it is not answered as a lookup");
    assert_eq!(upstream.count(), 0);
    drop(frames);
    gateway.get("call_cached");
    unharmed(&gateway);
}

// T58.
#[test]
fn empty_data_frames_do_not_keep_the_process_busy() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let (sent, mut frames) = flood(&gateway, |frames, number| match number {
        0 => frames.send(HEADERS, END_HEADERS, 1, &lookup(CACHED, TOKENS[0])),
        _ => frames.send(DATA, 0, 1, &[]),
    });
    let code = frames.read_goaway();
    assert!(sent < 20_000 || code.is_some(), "{sent} frames were taken, and then {code:?}");
    drop(frames);
    unharmed(&gateway);
}

// T58.
#[test]
fn streams_beyond_the_cap_are_refused_and_the_others_answered() {
    let gate = Gate::default();
    let upstream = Upstream::always([vec![Act::Wait(gate.clone())], call_reply("call_1", &[])].concat());
    let gateway = Gateway::plain(&upstream);
    let mut frames = connect(&gateway);
    for number in 0..110 {
        assert!(frames.get(2 * number + 1, "/v1/calls/call_1", TOKENS[0]));
    }
    let refused: Vec<_> = (0..10).map(|_| frames.read_until(RST_STREAM).unwrap()).collect();
    assert!(
        refused.iter().all(|frame| frame.stream > 200 && frame.payload == 7_u32.to_be_bytes()),
        "{refused:?}"
    );
    eventually("the others wait", || gateway.metric("requests_in_flight") == 100.0);
    gate.open();
    let mut answered = 0;
    // Windows of 64 KiB: room for all.
    assert!(frames.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 24).to_be_bytes()));
    while answered < 100 {
        let head = frames.read_until(HEADERS).expect("an answer");
        assert_eq!(head.payload[0], 0x88);
        answered += 1;
    }
    assert_eq!(upstream.count(), 1);
}

// T58.
#[test]
fn pings_and_settings_with_unread_answers_end_the_connection() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    for (kind, payload) in [(PING, &b"12345678"[..]), (SETTINGS, &[0, 3, 0, 0, 0, 50][..])] {
        let many = frame(kind, 0, 0, payload).repeat(64);
        let (_, frames) = flood(&gateway, |frames, number| number < 2000 && frames.send_bytes(&many));
        // Without reads and requests, it is closed after the idle timeout.
        unharmed_within(&gateway, Duration::from_secs(8));
        drop(frames);
    }
}

fn unharmed_within(gateway: &Gateway, limit: Duration) {
    let start = Instant::now();
    unharmed(gateway);
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

// T54.
#[test]
fn an_idle_http2_connection_ends_at_the_idle_timeout() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    let mut frames = connect(&gateway);
    let start = Instant::now();
    while frames.send(PING, 0, 0, b"12345678") && frames.read_until(PING).is_some() {
        std::thread::sleep(Duration::from_millis(50));
        assert!(start.elapsed() < Duration::from_secs(8), "pings kept it open");
    }
    assert!(start.elapsed() >= Duration::from_millis(700), "{:?}", start.elapsed());
}

#[test]
fn an_http2_client_learns_of_the_drain_and_loses_nothing() {
    let gate = Gate::default();
    let upstream = Upstream::always([vec![Act::Wait(gate.clone())], call_reply("call_1", &[])].concat());
    let mut gateway = Gateway::plain(&upstream);
    let mut frames = connect(&gateway);
    assert!(frames.get(1, "/v1/calls/call_1", TOKENS[0]));
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    assert!(frames.read_until(GOAWAY).is_some());
    // The gateway pings its client: everything that the client sent before arrives before the answer.
    let ping = frames.read_until(PING).unwrap();
    assert!(frames.send(PING, ACK, 0, &ping.payload));
    gate.open();
    assert_eq!(frames.read_until(HEADERS).unwrap().payload[0], 0x88);
    assert_eq!(frames.read_until(DATA).unwrap().stream, 1);
    assert_eq!(gateway.process.wait().code(), Some(0));
}

/// Calls of this many bytes where the ID asks for a large one, and ordinary ones.
fn large_calls(bytes: usize) -> Upstream {
    Upstream::scripted(move |seen| match seen.id().starts_with("call_large") {
        true => large(seen.id(), bytes),
        false => call_reply(seen.id(), &[]),
    })
}

// T55.
#[test]
fn an_unread_answer_is_reset_and_its_connection_stays() {
    let upstream = large_calls(900_000);
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    let mut frames = connect(&gateway);
    let start = Instant::now();
    // Room for all of it on the connection, and for its beginning on its stream.
    assert!(frames.send(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes()));
    assert!(frames.get(1, "/v1/calls/call_large", TOKENS[0]));
    let (mut stream, mut reset) = (3, None);
    while reset.is_none() {
        assert!(frames.get(stream, CACHED, TOKENS[0]));
        while let Some(frame) = frames.read() {
            match frame.kind {
                RST_STREAM => reset = Some(frame),
                HEADERS if frame.stream == stream => break,
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        stream += 2;
    }
    // CANCEL.
    let reset = reset.unwrap();
    assert_eq!((reset.stream, reset.payload), (1, 8_u32.to_be_bytes().to_vec()));
    assert!(stream > 20, "{stream}: others were answered meanwhile");
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    drop(frames);
    unharmed(&gateway);
}

// T55.
#[test]
fn an_answer_that_is_read_slowly_is_not_cut_off() {
    let bytes = 200_000;
    let upstream = large_calls(bytes);
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    let mut frames = connect(&gateway);
    let start = Instant::now();
    assert!(frames.send(WINDOW_UPDATE, 0, 0, &10_000_000_u32.to_be_bytes()));
    assert!(frames.get(1, "/v1/calls/call_large", TOKENS[0]));
    let (mut taken, mut window) = (0, 65_535);
    loop {
        let data = frames.read_until(DATA).expect("the connection stays");
        taken += data.payload.len();
        if data.flags & END_STREAM != 0 {
            break;
        }
        if taken == window {
            std::thread::sleep(Duration::from_millis(200));
            window += 16_384;
            assert!(frames.send(WINDOW_UPDATE, 0, 1, &16_384_u32.to_be_bytes()));
        }
    }
    assert!(taken > bytes, "{taken}");
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}: it took longer than that", start.elapsed());
}

// T55.
#[test]
fn memory_for_unread_answers_is_bounded() {
    let (bytes, calls) = (900_000, 30);
    let upstream = large_calls(bytes);
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_cached");
    let mut frames = connect(&gateway);
    // SETTINGS_INITIAL_WINDOW_SIZE: not a byte of any stream.
    assert!(frames.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    for number in 0..calls {
        assert!(frames.get(2 * number + 1, &format!("/v1/calls/call_large{number}"), TOKENS[0]));
    }
    let kept = u32::try_from((16 << 20) / (bytes + 1000)).unwrap();
    for _ in 0..calls - kept {
        let reset = frames.read_until(RST_STREAM).expect("a stream is reset");
        assert_eq!(reset.payload, 2_u32.to_be_bytes(), "INTERNAL_ERROR");
    }
    assert!(frames.send(PING, 0, 0, b"12345678"));
    while let Some(frame) = frames.read() {
        assert_ne!(frame.kind, RST_STREAM, "the others are kept");
        if frame.kind == PING {
            break;
        }
    }
    drop(frames);
    unharmed(&gateway);
}
