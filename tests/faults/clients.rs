//! Clients that are slow, many, or gone: none of them costs another one anything, nor the process more
//! than it may.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Config, Gate, Gateway, TOKENS, Upstream, call, call_reply, eventually, needed, reply,
};

const CACHED: &str = "/v1/calls/call_cached";

/// Limits of connections, beside those of the defaults.
fn limited(lines: &str) -> Config {
    Config::default().with("limits", lines)
}

/// A call whose body is of about so many bytes.
fn large(id: &str, bytes: usize) -> Vec<Act> {
    let filled =
        call(id).replacen("\"data\": {", &format!("\"data\": {{ \"filler\": \"{}\",", "x".repeat(bytes)), 1);
    assert!(filled.len() > bytes, "the body has the expected form");
    reply("200 OK", &["Content-Type: application/json"], &filled)
}

#[test]
fn t54_heads_that_drip_end_at_their_timeout_and_keep_nobody_waiting() {
    let upstream = Upstream::contract();
    let gateway = limited("header_read_timeout = \"600ms\"").start(&upstream);
    let mut other = gateway.connect();
    other.get(CACHED, TOKENS[0], &[]).read();
    let start = Instant::now();
    let mut dripping: Vec<_> = (0..100)
        .map(|number| {
            let mut client = gateway.connect();
            // Some have said nothing at all, some are in their second request.
            if number % 3 == 2 {
                client.get(CACHED, TOKENS[0], &[]).read();
            }
            if number % 3 > 0 {
                client.send("GET /v1/calls/call_1 HTTP/1.1\r\nX-A: ");
            }
            client
        })
        .collect();
    let opened = start.elapsed();
    eventually("those who drip are closed", || {
        for client in &mut dripping {
            client.try_send("a");
        }
        assert_eq!(other.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
        std::thread::sleep(Duration::from_millis(20));
        gateway.metric("connections") <= 1.0
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(550), "{took:?}");
    assert!(took < opened + Duration::from_millis(600) + Duration::from_secs(3), "{took:?}");
    assert_eq!(gateway.metric("requests_in_flight"), 0.0);
}

#[test]
fn t55_a_reader_that_takes_nothing_is_given_up_and_costs_no_copy() {
    let bytes = 900_000;
    let upstream = Upstream::scripted(move |seen| large(seen.id(), bytes));
    let gateway = limited("idle_timeout = \"1s\"").start(&upstream);
    gateway.get("call_cached");
    let before = gateway.process_metric("resident_memory_bytes");
    let clients = 40;
    let start = Instant::now();
    let readers: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = gateway.connect();
            // More than the sockets' own buffers hold.
            for _ in 0..8 {
                client.get(CACHED, TOKENS[0], &[]);
            }
            client
        })
        .collect();
    eventually("the readers are connected", || gateway.metric("connections") >= f64::from(clients));
    let growth = gateway.process_metric("resident_memory_bytes") - before;
    assert!(growth < f64::from(clients) * 300_000.0, "{growth} bytes for {clients} readers");
    assert_eq!(gateway.get("call_cached").status, 200, "others are served");
    eventually("they are given up", || gateway.metric("connections") == 0.0);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    drop(readers);
    assert_eq!(gateway.metric("requests_in_flight"), 0.0);
}

#[test]
fn idle_connections_end_at_the_idle_timeout() {
    let upstream = Upstream::contract();
    let gateway = limited("idle_timeout = \"800ms\"").start(&upstream);
    let mut idle: Vec<_> = (0..10).map(|_| gateway.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.get(CACHED, TOKENS[0], &[]).read().status, 200);
    }
    let start = Instant::now();
    for client in &mut idle {
        assert!(client.is_closed());
    }
    let took = start.elapsed();
    assert!((500..4000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn t56_connections_beyond_the_cap_wait_and_cost_nothing() {
    let upstream = Upstream::contract();
    let gateway = limited("max_connections = 5").start(&upstream);
    let mut clients: Vec<_> = (0..40).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.get(CACHED, TOKENS[0], &[]);
    }
    for client in &mut clients[..5] {
        assert_eq!(client.read().status, 200);
    }
    assert_eq!(gateway.metric("connections"), 5.0);
    let cpu = gateway.process_metric("cpu_seconds_total");
    std::thread::sleep(Duration::from_millis(1000));
    let cpu = gateway.process_metric("cpu_seconds_total") - cpu;
    assert!(cpu < 0.2, "{cpu} s of processor in a second of waiting");
    assert_eq!(gateway.metric("connections"), 5.0);
    assert_eq!(gateway.metric("requests_total{code=\"200\",route=\"call\",tenant=\"alpha\"}"), 5.0);
    // In the order in which they came, as room is made.
    for client in clients.drain(..5) {
        client.leave();
    }
    for mut client in clients {
        assert_eq!(client.read().status, 200);
        client.leave();
    }
}

#[test]
fn f22_many_idle_connections_are_cheap_and_leave_nothing_behind() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    // The first ones pay for what all share.
    let warm: Vec<_> = (0..50).map(|_| asked(&gateway)).collect();
    drop(warm);
    eventually("they are gone", || gateway.metric("connections") == 0.0);
    let (memory, files) = figures(&gateway);
    let count = 600;
    let clients: Vec<_> = (0..count).map(|_| asked(&gateway)).collect();
    assert_eq!(gateway.metric("connections"), f64::from(count));
    let each = (figures(&gateway).0 - memory) / f64::from(count);
    assert!(each < 20.0 * 1024.0, "{each} bytes a connection");
    assert_eq!(gateway.get("call_new").status, 200);
    drop(clients);
    eventually("they are gone", || gateway.metric("connections") == 0.0);
    eventually("their files are closed", || figures(&gateway).1 <= files + 5.0);
    let after = figures(&gateway).0;
    assert!(after < memory * 1.2 + 4e6, "{memory} bytes before and {after} after");
}

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

#[test]
fn f23_clients_leave_files_for_hits_and_fills() {
    if needed("prlimit", Command::new("prlimit").arg("--version").output()).is_none() {
        return;
    }
    let upstream = Upstream::contract();
    let gateway = Config::default().under(&["prlimit", "--nofile=256"]).start(&upstream);
    gateway.process.err_line("about the limit", |line| line.contains("limit of open files leaves room"));
    let mut clients: Vec<_> = (0..300).map(|_| gateway.connect()).collect();
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

#[test]
fn f23_without_a_file_left_it_waits_quietly_and_recovers() {
    let upstream = Upstream::contract();
    let gateway = Gateway::plain(&upstream);
    let limit = |soft: &str| {
        let pid = gateway.process.id().to_string();
        let command = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).output();
        needed("prlimit", command).inspect(|done| assert!(done.status.success(), "{done:?}"))
    };
    let mut open = asked(&gateway);
    let mut admin = Client::connect(gateway.admin);
    let mut cpu = || {
        let text = admin.get("/metrics", "", &[]).read().text();
        let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    cpu();
    if limit("8").is_none() {
        return;
    }
    let mut waiting: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    for client in &mut waiting {
        client.get(CACHED, TOKENS[0], &[]);
    }
    gateway.process.err_line("about the files", |line| line.contains("cannot accept connections now"));
    let before = cpu();
    let start = Instant::now();
    let mut number = 0;
    while start.elapsed() < Duration::from_secs(1) {
        number += 1;
        assert_eq!(open.get(CACHED, TOKENS[0], &[]).read().story(), "hit; ttl");
        let fill = format!("/v1/calls/call_{number}");
        assert_eq!(open.get(&fill, TOKENS[0], &[]).read().status, 200, "by the connection that is open");
        std::thread::sleep(Duration::from_millis(50));
    }
    let spent = cpu() - before;
    assert!(spent < 0.3, "{spent} s of processor in {:?}", start.elapsed());
    limit("1000");
    let start = Instant::now();
    for client in &mut waiting {
        assert_eq!(client.read().status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_client_that_leaves_frees_its_place_and_is_counted_once() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = vec![Act::Wait(waiting.clone())];
        acts.extend(call_reply(seen.id(), &[]));
        acts
    });
    let config = limited("max_in_flight = 10").with("upstream", "max_waiting = 10");
    let gateway = config.start(&upstream);
    for round in 1..=10_u32 {
        let herd: Vec<_> = (0..10)
            .map(|_| {
                let mut client = gateway.connect();
                client.get("/v1/calls/call_1", TOKENS[0], &[]);
                client
            })
            .collect();
        eventually("they wait", || gateway.metric("requests_in_flight") >= 10.0);
        assert_eq!(gateway.get("call_1").code(), "OVERLOADED", "every place is taken");
        herd.into_iter().for_each(Client::leave);
        eventually("they are gone", || gateway.metric("requests_in_flight") == 0.0);
        let counted = gateway.outcomes("miss") + gateway.outcomes("collapsed");
        assert_eq!(counted, f64::from(10 * round), "each is one outcome");
        let left = gateway.metric("requests_total{code=\"499\",route=\"call\",tenant=\"alpha\"}");
        assert_eq!(left, f64::from(10 * round));
    }
    gate.open();
    assert_eq!(gateway.get("call_1").status, 200);
    assert_eq!(upstream.count(), 1);
    assert_eq!(gateway.outcomes("miss"), 1.0, "one led, a hundred followed");
}

#[test]
fn clients_that_ask_and_leave_get_no_more_fetches_going_than_those_who_stay() {
    let gate = Gate::default();
    let waiting = gate.clone();
    let upstream = Upstream::scripted(move |seen| {
        let mut acts = call_reply(seen.id(), &[]);
        if seen.id() != "call_cached" {
            acts.insert(0, Act::Wait(waiting.clone()));
        }
        acts
    });
    let gateway =
        Config::default().with("upstream", "max_waiting = 10\nmax_connections = 2").start(&upstream);
    gateway.get("call_cached");
    for number in 0..10 {
        let mut client = gateway.connect();
        client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]);
        eventually("it waits", || gateway.metric("requests_in_flight") >= 1.0);
        client.leave();
        eventually("it is gone", || gateway.metric("requests_in_flight") == 0.0);
    }
    // Nobody waits, but ten fetches do.
    assert_eq!(gateway.get("call_more").code(), "OVERLOADED");
    assert_eq!(gateway.get("call_cached").story(), "hit; ttl");
    let mut follower = gateway.connect();
    follower.get("/v1/calls/call_1", TOKENS[0], &[]);
    eventually("it follows", || gateway.metric("requests_in_flight") >= 1.0);
    gate.open();
    assert_eq!(follower.read().status, 200, "who follows one of them needs no other");
    eventually("all are stored", || gateway.metric("cache_entries{tenant=\"alpha\"}") >= 11.0);
    assert_eq!(gateway.get("call_more").status, 200);
    assert_eq!(upstream.count(), 12);
    let refused = gateway.metric("requests_total{code=\"503\",route=\"call\",tenant=\"alpha\"}");
    let lookups: f64 = ["hit", "collapsed", "miss"].map(|outcome| gateway.outcomes(outcome)).iter().sum();
    assert_eq!((refused, lookups), (1.0, 14.0), "who was turned away is no lookup");
}

#[test]
fn a_scraper_that_never_reads_keeps_nobody_from_anything() {
    let upstream = Upstream::contract();
    let mut gateway = limited("idle_timeout = \"2s\"").start(&upstream);
    let mut scrapers: Vec<_> = (0..20).map(|_| Client::connect(gateway.admin)).collect();
    for scraper in &mut scrapers {
        scraper.try_send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200));
    }
    for _ in 0..20 {
        assert_eq!(gateway.get("call_1").status, 200);
        assert_eq!(gateway.admin("/metrics").status, 200);
        assert_eq!(gateway.admin("/livez").status, 200);
    }
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0), "nor the process from ending");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn f38_ten_scrapers_under_load_get_whole_answers_and_cost_no_lookup() {
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
