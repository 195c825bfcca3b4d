//! Streams over HTTP/2: what ends one leaves the others of its connection alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::support::frames::{DATA, END_STREAM, Frames, HEADERS, PING, RST_STREAM};
use crate::support::{Gate, eventually};

/// The error code with which a client cancels a stream (RFC 9113, section 7).
const CANCEL: u32 = 8;

/// A connection, and what was received on each of its streams.
struct Connection {
    frames: Frames,
    bodies: BTreeMap<u32, Vec<u8>>,
    ends: BTreeMap<u32, End>,
    heads: usize,
    pongs: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Reset(u32),
}

impl Connection {
    fn to(gateway: &Gateway) -> Self {
        let frames = Frames::connect(gateway.data, Duration::from_secs(10));
        Self { frames, bodies: BTreeMap::new(), ends: BTreeMap::new(), heads: 0, pongs: 0 }
    }

    /// Asks for a call's recording and reads up to the head of the answer.
    fn begin(&mut self, stream: u32, id: &str) -> u16 {
        assert!(self.frames.get(stream, &format!("/v1/calls/{id}/recording"), TOKENS[0]));
        self.frames.read_status(stream).expect("a head")
    }

    fn reset(&mut self, stream: u32) {
        assert!(self.frames.send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
    }

    fn body(&self, stream: u32) -> &[u8] {
        self.bodies.get(&stream).map_or(b"", Vec::as_slice)
    }

    fn end(&self, stream: u32) -> Option<End> {
        self.ends.get(&stream).copied()
    }

    #[track_caller]
    fn read_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            let frame = self.frames.read().unwrap_or_else(|| panic!("the connection ended before {what}"));
            match frame.kind {
                DATA => {
                    self.bodies.entry(frame.stream).or_default().extend(frame.payload);
                    if frame.flags & END_STREAM != 0 {
                        self.ends.insert(frame.stream, End::Whole);
                    }
                }
                HEADERS => self.heads += 1,
                RST_STREAM => {
                    let code = u32::from_be_bytes(frame.payload.try_into().unwrap());
                    self.ends.insert(frame.stream, End::Reset(code));
                }
                PING => self.pongs += 1,
                _ => {}
            }
        }
    }

    /// Fails unless the connection still answers.
    fn answers(&mut self) {
        let before = self.pongs;
        assert!(self.frames.send(PING, 0, 0, b"anybody?"));
        self.read_until("the ping's answer", |one| one.pongs > before);
    }
}

fn streams(gateway: &Gateway) -> f64 {
    gateway.metric("media_streams{tenant=\"alpha\"}")
}

/// Half of a recording, and what follows once the gate is open.
fn half(gate: &Gate, then: Vec<Act>) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\n{MPEG}\r\nContent-Length: 10\r\n\r\nfirst");
    [vec![Act::Send(head.into_bytes()), Act::Wait(gate.clone())], then].concat()
}

// T101.
#[test]
fn a_reset_by_the_client_frees_the_streams_place_and_ends_the_upstreams_request() {
    let endless = |_: &Seen| {
        let head = format!("HTTP/1.1 200 OK\r\n{MPEG}\r\nContent-Length: 1000000000\r\n\r\n");
        let mut acts = vec![Act::Send(head.into_bytes())];
        acts.extend(vec![Act::Send(vec![b'x'; 1 << 16]); 15_000]);
        acts
    };
    let upstream = with_media(endless);
    let config = config().with("media", "max_streams = 1").with("log", "access = \"all\"");
    let gateway = config.start(&upstream);
    let mut connection = Connection::to(&gateway);
    assert_eq!(connection.begin(1, "call_1"), 200);
    connection.read_until("some of it", |one| one.body(1).len() > 1000);
    assert_eq!(streams(&gateway), 1.0);
    assert_eq!(connection.begin(3, "call_2"), 503, "the only place is taken");
    let idle = gateway.process_metric("open_fds");
    connection.reset(1);
    eventually("the end is counted", || ended(&gateway, "client") == 1.0);
    eventually("its place is free", || streams(&gateway) == 0.0);
    eventually("the upstream's connection is closed", || gateway.process_metric("open_fds") < idle);
    assert_eq!(connection.begin(5, "call_2"), 200, "on the same connection");
    let line = gateway.process.err_line("about the stream", |line| line.contains("\"end\":\"client\""));
    assert!(!line.contains("\"level\":\"WARN\""), "no fault of anyone's: {line}");
    assert_eq!(ended(&gateway, "upstream") + ended(&gateway, "whole"), 0.0);
}

#[test]
fn a_reset_by_the_client_leaves_the_connections_other_streams_alone() {
    let gate = Gate::default();
    let waits = gate.clone();
    let upstream = with_media(move |_| half(&waits, vec![Act::Send(b"other".to_vec())]));
    let gateway = config().start(&upstream);
    let mut connection = Connection::to(&gateway);
    assert_eq!(connection.begin(1, "call_1"), 200);
    assert_eq!(connection.begin(3, "call_2"), 200);
    connection.reset(1);
    eventually("the end is counted", || ended(&gateway, "client") == 1.0);
    assert_eq!(streams(&gateway), 1.0);
    gate.open();
    connection.read_until("the end of the other", |one| one.end(3).is_some());
    assert_eq!(connection.end(3), Some(End::Whole));
    assert!(connection.body(3).ends_with(b"other"));
    eventually("it is counted whole", || ended(&gateway, "whole") == 1.0);
    assert_eq!(ended(&gateway, "client"), 1.0);
}

// T100.
#[test]
fn a_body_that_breaks_off_resets_its_stream_and_no_other() {
    let (breaks, flows) = (Gate::default(), Gate::default());
    let gates = (breaks.clone(), flows.clone());
    let upstream = with_media(move |seen| match seen.target.contains("call_1") {
        true => half(&gates.0, vec![Act::Close]),
        false => half(&gates.1, vec![Act::Send(b"other".to_vec())]),
    });
    let gateway = config().start(&upstream);
    let mut connection = Connection::to(&gateway);
    assert_eq!(connection.begin(1, "call_1"), 200);
    assert_eq!(connection.begin(3, "call_2"), 200);
    breaks.open();
    connection.read_until("the end of the first", |one| one.end(1).is_some());
    assert!(matches!(connection.end(1), Some(End::Reset(code)) if code != 0), "{:?}", connection.end(1));
    assert!(b"first".ends_with(connection.body(1)), "nothing was made up: {:?}", connection.body(1));
    eventually("the break is counted", || ended(&gateway, "upstream") == 1.0);
    assert_eq!((connection.end(3), streams(&gateway)), (None, 1.0));
    connection.answers();
    flows.open();
    connection.read_until("the end of the other", |one| one.end(3).is_some());
    assert_eq!(connection.end(3), Some(End::Whole));
    eventually("it is counted whole", || ended(&gateway, "whole") == 1.0);
    assert_eq!(ended(&gateway, "upstream"), 1.0);
}
