//! A process that is stopped for a while, as by SIGSTOP, a frozen container or a paused machine.

use std::time::Duration;

use crate::support::{Config, Gate, Gateway, TOKENS, Upstream, call, eventually};

/// Twice the limits of these tests.
const STOPPED: Duration = Duration::from_secs(2);

/// Stops the process for a while, in which `meanwhile` happens.
fn stop(gateway: &Gateway, meanwhile: impl FnOnce()) {
    gateway.process.signal("STOP");
    let state = format!("/proc/{}/stat", gateway.process.id());
    eventually("the process is stopped", || std::fs::read_to_string(&state).unwrap().contains(") T "));
    meanwhile();
    // The elapsed time itself is tested: there is no event to wait for.
    std::thread::sleep(STOPPED);
    gateway.process.signal("CONT");
}

// F47.
#[test]
fn heads_begun_before_a_stop_may_be_completed_after_it() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "header_read_timeout = \"1s\"").start(&upstream);
    let mut clients: Vec<_> = (0..20)
        .map(|number| {
            let mut client = gateway.connect();
            if number % 2 == 1 {
                client.get("/v1/calls/call_1", TOKENS[0], &[]).read();
            }
            client.send("GET /v1/calls/call_1 HTTP/1.1\r\nHost: a\r\n");
            client
        })
        .collect();
    eventually("they are connected", || gateway.metric("connections") == 20.0);
    let rest = format!("Authorization: Bearer {}\r\n\r\n", TOKENS[0]);
    stop(&gateway, || {
        for client in &mut clients[..10] {
            client.send(&rest);
        }
    });
    for client in &mut clients[10..] {
        client.send(&rest);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read().status, 200, "{number}");
    }
}

// F47.
#[test]
fn connections_that_were_idle_during_a_stop_are_still_open() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    let mut clients: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    }
    stop(&gateway, || {});
    for client in &mut clients {
        assert_eq!(client.get("/v1/calls/call_1", TOKENS[0], &[]).read().status, 200);
    }
}

// F47.
#[test]
fn a_reader_that_waited_through_a_stop_gets_the_whole_answer() {
    let upstream = Upstream::scripted(|seen| crate::faults::clients::large(seen.id(), 900_000));
    let gateway = Config::default().with("limits", "idle_timeout = \"1s\"").start(&upstream);
    let mut reader = gateway.connect();
    // More than the sockets' own buffers hold.
    for _ in 0..8 {
        reader.get("/v1/calls/call_1", TOKENS[0], &[]);
    }
    let first = reader.read_head().unwrap();
    stop(&gateway, || {});
    // Long enough for a deadline that has passed to be noticed.
    std::thread::sleep(Duration::from_millis(100));
    reader.read_body_of(first);
    for _ in 1..8 {
        let answer = reader.read();
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() > 900_000);
    }
}

// F47.
#[test]
fn a_drain_interrupted_by_a_stop_still_finishes_requests_in_flight() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let mut gateway = Config::default().with("shutdown", "drain_timeout = \"1s\"").start(&upstream);
    let mut client = gateway.connect();
    client.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    gateway.process.err_line("about the drain", |line| line.contains("draining"));
    stop(&gateway, || {});
    gate.open();
    let answer = client.read();
    assert_eq!((answer.status, answer.text()), (200, call("call_1")));
    assert_eq!(gateway.process.wait().code(), Some(0));
}
