//! Many clients at once: connections and files are bounded, and within the bounds no client is affected.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Client, Config, Gateway, TOKENS, Upstream, eventually, needed};

const CACHED: &str = "/v1/calls/call_cached";

/// A connection on which a lookup was answered.
fn asked(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    assert_eq!(client.get(CACHED, TOKENS[0], &[]).read().status, 200);
    client
}

/// Bytes of memory, and open files.
fn figures(gateway: &Gateway) -> (f64, f64) {
    (gateway.process_metric("resident_memory_bytes"), gateway.process_metric("open_fds"))
}

// T56.
#[test]
fn connections_beyond_the_limit_wait_and_cost_nothing() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "max_connections = 5").start(&upstream);
    let start = Instant::now();
    let mut clients: Vec<_> = (0..300).map(|_| gateway.connect()).collect();
    assert!(start.elapsed() < Duration::from_millis(900), "the queue is long enough: {:?}", start.elapsed());
    for client in &mut clients {
        client.get(CACHED, TOKENS[0], &[]);
    }
    let cpu = gateway.process.cpu_seconds();
    std::thread::sleep(Duration::from_millis(1000));
    let cpu = gateway.process.cpu_seconds() - cpu;
    assert!(cpu < 0.2, "{cpu} s of processor in a second of waiting");
    assert!(gateway.metric("connections") <= 5.0);
    // In the order of their arrival, as slots become free.
    for mut client in clients {
        assert_eq!(client.read().status, 200);
        client.leave();
    }
}

// F22.
#[test]
fn many_idle_connections_are_cheap_and_leave_nothing_behind() {
    let upstream = Upstream::contract();
    // With one arena the allocator's memory does not depend on which thread freed what.
    let gateway = Config::default().env("MALLOC_ARENA_MAX", "1").start(&upstream);
    // The first ones account for shared allocations.
    drop((0..50).map(|_| asked(&gateway)).collect::<Vec<_>>());
    eventually("they are gone", || gateway.metric("connections") == 0.0);
    let (memory, files) = figures(&gateway);
    let count = 600;
    let mut peaks = Vec::new();
    for _ in 0..5 {
        let clients: Vec<_> = (0..count).map(|_| asked(&gateway)).collect();
        assert_eq!(gateway.metric("connections"), f64::from(count));
        peaks.push(figures(&gateway).0);
        assert_eq!(gateway.get("call_new").status, 200);
        drop(clients);
        eventually("they are gone", || gateway.metric("connections") == 0.0);
        eventually("their files are closed", || figures(&gateway).1 <= files + 5.0);
    }
    // 20 KiB in a release; what the compiler has not optimised is larger.
    let each = (peaks[0] - memory) / f64::from(count);
    assert!(each < 28.0 * 1024.0, "{each} bytes a connection");
    // The allocator may keep freed memory, but reuses it.
    assert!(peaks[4] < peaks[1] * 1.15, "{peaks:?}");
}

// F23.
#[test]
fn clients_leave_files_for_hits_and_fills() {
    if needed("prlimit", Command::new("prlimit").arg("--version").output()).is_none() {
        return;
    }
    let upstream = Upstream::contract();
    let gateway = Config::default().under(&["prlimit", "--nofile=256"]).start(&upstream);
    gateway.process.err_line("about the limit", |line| line.contains("limit of open files leaves room"));
    let mut clients: Vec<_> = (0..200).map(|_| gateway.connect()).collect();
    let mut open = clients.remove(0);
    for number in 0..20 {
        assert_eq!(open.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read().status, 200);
        assert_eq!(open.get("/v1/calls/call_0", TOKENS[0], &[]).read().story(), "hit; ttl");
    }
    assert_eq!(gateway.metric("connections"), 128.0, "half of the files");
    assert!(gateway.process_metric("open_fds") < 200.0);
    let mut last = clients.pop().unwrap();
    last.get("/v1/calls/call_0", TOKENS[0], &[]);
    let start = Instant::now();
    drop(clients);
    assert_eq!(last.read().status, 200, "who waited is served");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let log = gateway.process.err().join("\n");
    assert!(!log.contains("cannot accept connections"), "{log}");
}

// F23.
#[test]
fn without_free_file_descriptors_it_waits_quietly_and_recovers() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let limit = |soft: &str| {
        let pid = gateway.process.id().to_string();
        let command = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).output();
        needed("prlimit", command).inspect(|done| assert!(done.status.success(), "{done:?}"))
    };
    let mut open = asked(&gateway);
    if limit("8").is_none() {
        return;
    }
    let mut waiting: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut waiting {
        client.get(CACHED, TOKENS[0], &[]);
    }
    gateway.process.err_line("about the files", |line| line.contains("cannot accept connections now"));
    let before = gateway.process.cpu_seconds();
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_secs(1) {
        number += 1;
        assert_eq!(open.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
        let fill = format!("/v1/calls/call_{number}");
        assert_eq!(open.get(&fill, TOKENS[0], &[]).read().status, 200, "by the connection that is open");
        std::thread::sleep(Duration::from_millis(50));
    }
    let spent = gateway.process.cpu_seconds() - before;
    assert!(spent < 0.3, "{spent} s of processor in {:?}", start.elapsed());
    limit("1000");
    let start = Instant::now();
    for client in &mut waiting {
        assert_eq!(client.read().status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

// F38.
#[test]
fn ten_scrapers_under_load_get_whole_answers_and_cost_no_lookup() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    gateway.get("call_cached");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut scraper = Client::connect(gateway.admin);
                for _ in 0..20 {
                    let scraped = scraper.get("/metrics", "", &[]).read();
                    assert!(scraped.text().contains("credira_gateway_build_info"));
                    assert_eq!(scraper.get("/api/v1/stats", "", &[]).read().status, 200);
                }
            });
        }
        let mut client = gateway.connect();
        for number in 0..300 {
            assert_eq!(client.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
            assert_eq!(client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read().status, 200);
        }
    });
}

/// Connections that make no useful requests, and stay in use for as long as the server allows.
fn crowd(address: std::net::SocketAddr, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = Client::connect(address);
            client.try_send("GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
            client
        })
        .collect()
}

fn closed(gateway: &Gateway, plane: &str, reason: &str) -> f64 {
    gateway.metric(&format!("connections_closed_total{{plane=\"{plane}\",reason=\"{reason}\"}}"))
}

// T56.
#[test]
fn an_authenticated_client_is_served_while_unauthenticated_connections_fill_every_slot() {
    let upstream = Upstream::contract();
    let gateway = Config::default().with("limits", "max_connections = 100").start(&upstream);
    let mut known = asked(&gateway);
    let _crowd = crowd(gateway.data, 100);
    let mut callers = Vec::new();
    for _ in 0..3 {
        let start = Instant::now();
        let mut caller = asked(&gateway);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(caller.get(CACHED, TOKENS[0], &[]).read().status, 200);
        callers.push(caller);
    }
    assert_eq!(known.get(CACHED, TOKENS[0], &[]).read().status, 200, "who has a token goes last");
    assert!(closed(&gateway, "data", "crowded") >= 3.0);
    let warnings =
        gateway.process.err().iter().filter(|line| line.contains("all connections are in use")).count();
    assert_eq!(warnings, 1);
}

// T56.
#[test]
fn probes_and_scrapes_are_answered_while_other_connections_fill_every_slot() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let _idle = crowd(gateway.admin, 70);
    let _silent: Vec<_> = (0..70).map(|_| Client::connect(gateway.admin)).collect();
    for path in ["/livez", "/readyz", "/metrics", "/livez"] {
        let start = Instant::now();
        assert_eq!(gateway.admin(path).status, 200);
        assert!(start.elapsed() < Duration::from_secs(1), "{path}: {:?}", start.elapsed());
    }
    assert!(closed(&gateway, "admin", "crowded") > 0.0);
}

// T56.
#[test]
fn slots_are_reserved_for_probes_while_all_others_are_busy() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    // An answer that is not read keeps its connection busy.
    let scrapes = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(2000);
    let _unread: Vec<_> = (0..64)
        .map(|_| {
            let mut client = Client::connect(gateway.admin);
            client.send(&scrapes);
            client
        })
        .collect();
    eventually("a probe gets a reserved slot, and reports the drain", || {
        Client::connect(gateway.admin).get("/livez", "", &[]).read().header("connection") == Some("close")
    });
    let other = Client::connect(gateway.admin).get("/x", "", &[]).try_read();
    assert_eq!(other, None, "for nothing else");
    assert_eq!(gateway.admin("/metrics").status, 200);
}

#[test]
fn connections_are_closed_for_a_reason_that_is_counted() {
    let upstream = Upstream::contract();
    let limits = "header_read_timeout = \"300ms\"\nidle_timeout = \"60s\"";
    let gateway = Config::default().with("limits", limits).start(&upstream);
    let mut known = asked(&gateway);
    let mut unknown = gateway.connect();
    assert_eq!(unknown.get(CACHED, "no-token", &[]).read().status, 401);
    let mut silent = gateway.connect();
    assert!(silent.is_closed() && unknown.is_closed());
    eventually("both are counted", || {
        closed(&gateway, "data", "head") == 1.0 && closed(&gateway, "data", "idle") == 1.0
    });
    assert_eq!(known.get(CACHED, TOKENS[0], &[]).read().status, 200, "a token gives more time");
}
