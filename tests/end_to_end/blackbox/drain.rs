//! How the process ends.

use std::time::{Duration, Instant};

use crate::support::{Client, Config, Gate, Gateway, TOKENS, Upstream, eventually};

#[test]
fn sigterm_and_sigint_finish_requests_in_flight_and_exit_with_0() {
    for signal in ["TERM", "INT"] {
        let gate = Gate::default();
        let upstream = Upstream::gated(&gate);
        let mut gateway = Gateway::plain(&upstream);
        let mut idle = gateway.connect();
        let mut waiting: Vec<_> = (0..20)
            .map(|number| {
                let mut client = gateway.connect();
                client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
                client
            })
            .collect();
        upstream.wait_for(20);
        gateway.process.signal(signal);
        gateway.process.err_line("about the drain", |line| line.contains("draining"));
        assert!(idle.is_closed(), "a connection without a request ends at once");
        eventually("readiness is off", || gateway.admin("/readyz").status == 503);
        eventually("no new connection is taken", || std::net::TcpStream::connect(gateway.data).is_err());
        gate.open();
        for client in &mut waiting {
            let response = client.read();
            assert_eq!((response.status, response.header("connection")), (200, Some("close")));
            assert!(response.text().ends_with('\n') || response.text().ends_with('}'), "the whole body");
            assert!(client.is_closed());
        }
        assert_eq!(gateway.process.wait().code(), Some(0), "{signal}");
    }
}

// F26.
#[test]
fn unfinished_requests_get_503_at_the_drain_timeout() {
    let upstream = Upstream::gated(&Gate::default());
    let mut gateway = Config::default().with("shutdown", "drain_timeout = \"300ms\"").start(&upstream);
    let mut stuck = gateway.connect();
    stuck.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    let start = Instant::now();
    gateway.process.signal("TERM");
    let response = stuck.read();
    assert_eq!((response.status, response.code().as_str()), (503, "SHUTTING_DOWN"));
    assert!(response.header("retry-after").is_some());
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!((300..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = Upstream::gated(&Gate::default());
    let mut gateway = Gateway::plain(&upstream);
    let mut stuck = gateway.connect();
    stuck.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    gateway.process.err_line("about the drain", |line| line.contains("draining"));
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_request_that_came_before_the_signal_is_answered() {
    let upstream = Upstream::contract();
    for round in 0..10 {
        let mut gateway = Gateway::plain(&upstream);
        let mut clients: Vec<Client> = (0..10).map(|_| gateway.connect()).collect();
        for client in &mut clients {
            client.get(&format!("/v1/calls/call_{round}"), TOKENS[0], &[]);
        }
        eventually("the requests have arrived", || gateway.metric("connections") >= 10.0);
        gateway.process.signal("TERM");
        for client in &mut clients {
            assert_eq!(client.read().status, 200);
        }
        assert_eq!(gateway.process.wait().code(), Some(0));
    }
}
