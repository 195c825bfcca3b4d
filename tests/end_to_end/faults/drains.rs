//! The end of the process, and its replacement, under load.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use crate::support::{
    Act, Client, Config, Gate, Gateway, Program, TOKENS, Upstream, call, call_reply, eventually,
    program_under, write_config,
};

// F25.
#[test]
fn twenty_drains_with_two_hundred_requests_in_flight_lose_no_byte() {
    for round in 0..20 {
        let gate = Gate::default();
        let upstream = Upstream::gated(&gate);
        let mut gateway = Config::default().start(&upstream);
        let mut clients: Vec<_> = (0..200)
            .map(|number| {
                let mut client = gateway.connect();
                client.get(&format!("/v1/calls/call_{}", number % 50), TOKENS[number / 100], &[]);
                client
            })
            .collect();
        eventually("all are in flight", || gateway.metric("requests_in_flight") >= 200.0);
        gateway.process.signal("TERM");
        gateway.process.err_line("about the drain", |line| line.contains("draining"));
        assert_eq!(gateway.admin("/readyz").status, 503, "round {round}");
        gate.open();
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.read();
            assert_eq!(
                (answer.status, answer.header("connection")),
                (200, Some("close")),
                "{round}: {number}"
            );
            assert_eq!(answer.text(), call(&format!("call_{}", number % 50)), "{round}: {number}");
            assert!(client.is_closed(), "{round}: {number}");
        }
        assert_eq!(gateway.process.wait().code(), Some(0), "round {round}");
        assert_eq!(upstream.count(), 100, "one fetch a tenant and call");
    }
}

/// The clients' results.
#[derive(Debug, Default)]
struct Saw {
    answers: AtomicUsize,
    told_to_close: AtomicUsize,
    /// A reused connection was closed instead of answering.
    lost_on_reuse: AtomicUsize,
    /// The same on a new connection.
    lost_when_new: AtomicUsize,
    refused: AtomicUsize,
}

/// Sends requests in a loop, on one connection for as long as the gateway keeps it open or on a new one each time,
/// until a connection is refused or the test ends.
fn keep_asking(address: SocketAddr, keep: bool, stop: &AtomicBool, saw: &Saw) {
    let mut kept = None;
    while !stop.load(SeqCst) {
        let reused = kept.is_some();
        let mut client = match kept.take() {
            Some(client) => client,
            None => match Client::try_connect(address) {
                Some(client) => client,
                None => {
                    saw.refused.fetch_add(1, SeqCst);
                    return;
                }
            },
        };
        let head = format!(
            "GET /v1/calls/call_1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n",
            TOKENS[0]
        );
        let Some(answer) = client.try_send(head).try_read() else {
            let lost = if reused { &saw.lost_on_reuse } else { &saw.lost_when_new };
            lost.fetch_add(1, SeqCst);
            continue;
        };
        assert_eq!(answer.status, 200);
        saw.answers.fetch_add(1, SeqCst);
        if answer.header("connection") == Some("close") {
            saw.told_to_close.fetch_add(1, SeqCst);
        } else if keep {
            kept = Some(client);
        }
    }
}

// F25.
#[test]
fn during_the_grace_clients_are_served_and_connections_announce_their_end() {
    let upstream = Upstream::contract();
    for _ in 0..5 {
        let mut gateway = Config::default().with("shutdown", "grace = \"300ms\"").start(&upstream);
        gateway.get("call_1");
        let (saw, never) = (Saw::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (saw, never) = (&saw, &never);
                let address = gateway.data;
                scope.spawn(move || keep_asking(address, thread % 3 > 0, never, saw));
            }
            eventually("there is load", || saw.answers.load(SeqCst) > 100);
            assert_eq!(saw.told_to_close.load(SeqCst), 0);
            gateway.process.signal("TERM");
            eventually("readiness is off", || gateway.admin("/readyz").status == 503);
            eventually("clients are told, and come again", || saw.told_to_close.load(SeqCst) > 20);
        });
        assert_eq!(gateway.process.wait().code(), Some(0));
        assert_eq!(saw.lost_on_reuse.load(SeqCst), 0, "{saw:?}");
        assert_eq!(saw.refused.load(SeqCst), 6, "each was refused in the end: {saw:?}");
        // The kernel resets a client that connects at the moment in which the socket is closed: only a
        // socket that is shared, as in the next test, prevents that.
        assert!(saw.lost_when_new.load(SeqCst) <= 6, "{saw:?}");
    }
}

/// Starts the program with a listening socket that outlives it, as a service manager does.
fn with_socket(socket: &std::net::TcpListener, config: &str) -> Program {
    let starter = ["sh", "-c", "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<&0 0</dev/null", "sh"]
        .map(str::to_owned);
    let mut command = program_under(&starter, &["serve", "--config", config]);
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    Program::start(&mut command)
}

// F25.
#[test]
fn an_upgrade_on_a_shared_socket_refuses_and_loses_no_request() {
    let upstream = Upstream::contract();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let config = Config::default()
        .with("listen", &format!("address = \"{address}\""))
        .with("shutdown", "grace = \"200ms\"");
    let file = write_config(&config.text(upstream.address()));
    let path = file.path().to_str().unwrap();
    let is_listening =
        |line: &str| line.contains("\"message\":\"listening\"") && line.contains("\"plane\":\"data\"");
    let mut old = with_socket(&socket, path);
    old.err_line("about the listener", is_listening);
    let (saw, over) = (Saw::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (saw, over) = (&saw, &over);
            scope.spawn(move || keep_asking(address, thread % 3 > 0, over, saw));
        }
        for upgrade in 1..=5 {
            let before = saw.answers.load(SeqCst);
            // Every second time there is a short gap without a server, as in a restart.
            let overlaps = upgrade % 2 == 0;
            let mut new = overlaps.then(|| with_socket(&socket, path));
            if let Some(new) = &new {
                new.err_line("about the listener", is_listening);
            }
            eventually("there is load", || saw.answers.load(SeqCst) > before + 100);
            old.signal("TERM");
            assert_eq!(old.wait().code(), Some(0));
            old = new.take().unwrap_or_else(|| with_socket(&socket, path));
            old.err_line("about the listener", is_listening);
        }
        let before = saw.answers.load(SeqCst);
        eventually("the load goes on", || saw.answers.load(SeqCst) > before + 100);
        over.store(true, SeqCst);
    });
    let counts = [&saw.lost_on_reuse, &saw.lost_when_new, &saw.refused].map(|count| count.load(SeqCst));
    assert_eq!(counts, [0, 0, 0], "{saw:?}");
    assert!(saw.told_to_close.load(SeqCst) > 0, "{saw:?}");
}

#[test]
fn a_drain_does_not_wait_for_silent_clients() {
    let upstream = Upstream::contract();
    let mut gateway = Config::default().with("limits", "header_read_timeout = \"1s\"").start(&upstream);
    let mut silent: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    let mut half = gateway.connect();
    half.send("GET /v1/calls/call_1 HTTP/1.1\r\nX-A:");
    let mut idle = gateway.connect();
    idle.get("/v1/calls/call_1", TOKENS[0], &[]).read();
    let start = std::time::Instant::now();
    gateway.process.signal("TERM");
    assert!(silent.iter_mut().all(Client::is_closed) && idle.is_closed() && half.is_closed());
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_the_grace_and_the_drain_at_once() {
    let upstream = Upstream::always(vec![Act::Wait(Gate::default())]);
    for before in ["grace = \"60s\"", "drain_timeout = \"60s\""] {
        let mut gateway = Config::default().with("shutdown", before).start(&upstream);
        let mut stuck = gateway.connect();
        stuck.get("/v1/calls/call_1", TOKENS[0], &[]);
        eventually("it waits", || gateway.metric("requests_in_flight") >= 1.0);
        gateway.process.signal("TERM");
        gateway.process.err_line("about the drain", |line| line.contains("draining"));
        gateway.process.signal("INT");
        let start = std::time::Instant::now();
        let told = stuck.read();
        assert_eq!((told.status, told.code().as_str()), (503, "SHUTTING_DOWN"));
        assert_eq!(gateway.process.wait().code(), Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[test]
fn the_gateway_that_is_drained_still_shows_its_metrics() {
    let gate = Gate::default();
    let upstream = Upstream::always([vec![Act::Wait(gate.clone())], call_reply("call_1", &[])].concat());
    let gateway = Gateway::plain(&upstream);
    let mut waiting = gateway.connect();
    waiting.get("/v1/calls/call_1", TOKENS[0], &[]);
    upstream.wait_for(1);
    gateway.process.signal("TERM");
    eventually("readiness is off", || gateway.admin("/readyz").text() == "draining\n");
    assert_eq!(gateway.metric("requests_in_flight"), 1.0);
    assert_eq!(gateway.admin("/livez").status, 200, "it lives");
    gate.open();
    assert_eq!(waiting.read().status, 200);
}

// F25.
#[test]
fn no_new_connection_is_reset_when_the_process_is_stopped_without_grace() {
    let upstream = Upstream::contract();
    // A refused client retries after a second, so several gateways are stopped at a time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| stop_under_churn(&upstream)));
        }
    });
}

fn stop_under_churn(upstream: &Upstream) {
    let mut gateway = Gateway::plain(upstream);
    gateway.get("call_1");
    let (saw, never) = (Saw::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| keep_asking(gateway.data, false, &never, &saw));
        }
        eventually("there is load", || saw.answers.load(SeqCst) > 100);
        gateway.process.signal("TERM");
    });
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert_eq!(saw.refused.load(SeqCst), 6, "each was refused in the end: {saw:?}");
    assert_eq!(saw.lost_when_new.load(SeqCst), 0, "{saw:?}");
}

// F25.
#[test]
fn clients_in_the_queue_of_a_full_gateway_are_served_before_it_ends() {
    let gate = Gate::default();
    let upstream = Upstream::gated(&gate);
    let mut gateway = Config::default().with("limits", "max_connections = 3").start(&upstream);
    let mut clients: Vec<_> = (0..30)
        .map(|_| {
            let mut client = gateway.connect();
            client.get("/v1/calls/call_1", TOKENS[0], &[]);
            client
        })
        .collect();
    eventually("all places are in use", || gateway.metric("requests_in_flight") == 3.0);
    gateway.process.signal("TERM");
    eventually("the listener is closed", || Client::try_connect(gateway.data).is_none());
    gate.open();
    for client in &mut clients {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.process.wait().code(), Some(0));
}
