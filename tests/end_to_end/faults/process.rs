//! What happens to the process itself: memory, time, processor, its death, the files it reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::{
    Act, Client, Config, Gateway, Program, TOKENS, Upstream, call_reply, eventually, needed, program, reply,
    write_config,
};

// F19, F20.
#[test]
fn a_full_cache_stays_within_its_bytes_and_the_process_with_it() {
    let body = |id: &str, bytes: usize| {
        format!(
            "{{\"success\":true,\"data\":{{\"id\":\"{id}\",\"status\":\"completed\",\"filler\":\"{}\"}},\"meta\":{{}}}}",
            "x".repeat(bytes)
        )
    };
    // Many small ones, and now and then one of the largest size.
    let upstream = Upstream::scripted(move |seen| {
        let bytes = if seen.number % 100 == 99 { 1_000_000 } else { 32 << 10 };
        reply("200 OK", &["Content-Type: application/json"], &body(seen.id(), bytes))
    });
    let cap: f64 = 8.0 * 1024.0 * 1024.0;
    let gateway = Config::default().with("cache", "max_bytes_per_tenant = \"8MiB\"").start(&upstream);
    gateway.get("call_first");
    let base = gateway.process_metric("resident_memory_bytes");
    let mut client = gateway.connect();
    let calls = 2000;
    for number in 0..calls {
        let answer = client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
        assert_eq!((answer.status, answer.body.len() > 32 << 10), (200, true));
    }
    let bytes = gateway.metric("cache_bytes{tenant=\"alpha\"}");
    let entries = gateway.metric("cache_entries{tenant=\"alpha\"}");
    assert!(bytes <= cap && bytes > cap / 2.0, "{bytes} of {cap}");
    assert!(bytes >= entries * f64::from(32 << 10), "{bytes} for {entries}: bodies count");
    let evicted = gateway.metric("cache_evictions_total{cause=\"size\",tenant=\"alpha\"}");
    // Not all versions of the store count as evicted an entry that was rejected because it is rarely used.
    assert!(evicted + entries <= f64::from(calls) + 1.0 && evicted > 0.0, "{evicted} and {entries}");
    let growth = gateway.process_metric("resident_memory_bytes") - base;
    assert!(growth < cap * 1.3 + 24e6, "{growth} bytes more for a cache of {cap}");
}

// F34.
#[test]
fn steps_of_the_wall_clock_change_no_age_and_do_no_harm() {
    // Of Debian's package `faketime`.
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    if needed("libfaketime", std::fs::metadata(&library)).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    let step = |offset: &str| {
        let next = folder.path().join("next");
        std::fs::write(&next, format!("{offset}\n")).unwrap();
        std::fs::rename(next, &clock).unwrap();
    };
    step("+0");
    let upstream = Upstream::contract();
    let gateway = Config::default()
        .tenant(0, "rate_limit = { per_minute = 1, burst = 100 }")
        .env("LD_PRELOAD", &library)
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start(&upstream);
    let year = |answer: &crate::support::Response| -> i32 {
        let date = answer.json()["meta"]["timestamp"].as_str().unwrap().to_owned();
        date[..4].parse().unwrap()
    };
    let now = year(&gateway.get("nonsense"));
    assert_eq!(gateway.get("call_1").status, 200);
    let hours: &[(&str, i32)] = &[("+1h", 0), ("-1h", 0), ("+87660h", 10), ("-87660h", -10), ("+0", 0)];
    for (number, (offset, years)) in hours.iter().enumerate() {
        step(offset);
        eventually("the process sees the step", || {
            let told = year(&gateway.connect().get("/nowhere", "", &[]).read());
            // The hour may span a new year.
            (told - now - years).abs() <= 1
        });
        let hit = gateway.get("call_1");
        assert_eq!((hit.status, hit.story().as_str()), (200, "hit; ttl"), "{offset}");
        let age: u64 = hit.header("age").unwrap().parse().unwrap();
        assert!(age < 60, "{offset}: {age}");
        assert!(hit.ttl() > 20 * 3600, "{offset}: {}", hit.ttl());
        assert_eq!(gateway.get(&format!("call_new{number}")).status, 200, "{offset}");
        let left = hit.header("ratelimit").unwrap().to_owned();
        let left: u32 = left.split("r=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        // One token a minute is refilled, by any clock but the wall clock.
        assert!(left <= 100 - 2 * (number as u32 + 1) + 1, "{offset}: {left} left");
    }
    assert_eq!(gateway.metric("cache_entries{tenant=\"alpha\"}"), 6.0, "nothing was lost");
}

// F36.
#[test]
fn a_killed_process_begins_anew_with_one_fetch_a_call() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counting, peak) = (Arc::clone(&now), Arc::clone(&most));
    let upstream = Upstream::scripted(move |seen| {
        peak.fetch_max(counting.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        counting.fetch_sub(1, SeqCst);
        call_reply(seen.id(), &[])
    });
    let config = Config::default().with("upstream", "max_connections = 8");
    let ip = format!("127.{}.{}.1", fastrand::u8(16..), fastrand::u8(..));
    let mut first = Gateway::start(&listening(&config, &format!("{ip}:0")), upstream.address());
    let address = first.data;
    assert_eq!(first.get("call_0").status, 200);
    first.process.signal("KILL");
    first.process.wait();
    let again = Gateway::start(&listening(&config, &address.to_string()), upstream.address());
    assert_eq!(again.data, address);
    let listening = Instant::now();
    let before = upstream.count();
    let calls = 40;
    let mut clients: Vec<_> = (0..8 * calls)
        .map(|number| {
            let mut client = again.connect();
            client.get(&format!("/v1/calls/call_{}", number % calls), TOKENS[0], &[]);
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.read().status, 200);
    }
    assert!(listening.elapsed() < Duration::from_secs(5), "{:?}", listening.elapsed());
    assert_eq!(upstream.count() - before, calls, "one fetch a call");
    assert!(most.load(SeqCst) <= 8, "{} at once", most.load(SeqCst));
}

fn listening(config: &Config, address: &str) -> Config {
    config.clone().with("listen", &format!("address = \"{address}\""))
}

// F39.
#[test]
fn a_starved_process_neither_deadlocks_nor_raises_false_alarms() {
    if needed("taskset", Command::new("taskset").arg("--version").output()).is_none() {
        return;
    }
    let upstream = Upstream::scripted(|seen| match seen.id() {
        "call_silent" => vec![Act::Sleep(Duration::from_secs(3))],
        id => call_reply(id, &[]),
    });
    let config = Config::default()
        .with("upstream", "first_byte_timeout = \"500ms\"")
        .with("upstream.breaker", "min_requests = 5")
        .under(&["taskset", "-c", "0"]);
    let gateway = config.start(&upstream);
    let busy = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while busy.load(SeqCst) {
                    std::hint::spin_loop();
                }
            });
        }
        let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut client = gateway.connect();
            let start = Instant::now();
            let mut number = 0;
            while start.elapsed() < Duration::from_millis(1500) {
                number += 1;
                let path = format!("/v1/calls/call_{number}");
                assert_eq!(client.get(&path, TOKENS[0], &[]).read().status, 200);
            }
            let start = Instant::now();
            assert_eq!(client.get("/v1/calls/call_silent", TOKENS[0], &[]).read().status, 504);
            assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
        }));
        busy.store(false, SeqCst);
        if let Err(panic) = work {
            std::panic::resume_unwind(panic);
        }
    });
    assert_eq!(gateway.metric("upstream_breaker_open{tenant=\"alpha\"}"), 0.0);
}

#[test]
fn a_reload_that_hangs_on_a_file_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "upstream-key-of-alpha").unwrap();
    let upstream = Upstream::contract();
    let config = Config::default().tenant(0, &format!("upstream_key = {{ file = \"{}\" }}", key.display()));
    let mut gateway = config.start(&upstream);
    std::fs::remove_file(&key).unwrap();
    // A pipe without a writer.
    let made = needed("mkfifo", Command::new("mkfifo").arg(&key).status());
    if !made.expect("mkfifo").success() {
        return;
    }
    gateway.process.signal("HUP");
    let mut asking = Client::connect(gateway.admin);
    asking.request("POST", "/api/v1/reload", "", &[]);
    for number in 0..20 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 200);
        assert_eq!(gateway.admin("/readyz").status, 200);
    }
    let start = Instant::now();
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A program that is still reading its configuration: a secret comes from a pipe without a writer so far.
fn reading(folder: &Path) -> (Program, PathBuf, tempfile::NamedTempFile) {
    let pipe = folder.join("token");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let config = Config::default().tenant(0, &format!("tokens = [{{ file = \"{}\" }}]", pipe.display()));
    let file = write_config(&config.text(Upstream::contract().address()));
    let process = Program::start(&mut program(&["serve", "--config", file.path().to_str().unwrap()]));
    // The handlers are in place once SIGTERM is caught: bit 14 of the mask.
    let status = format!("/proc/{}/status", process.id());
    eventually("signals are caught", || {
        let status = std::fs::read_to_string(&status).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        u64::from_str_radix(mask, 16).unwrap() & 1 << 14 != 0
    });
    (process, pipe, file)
}

#[test]
fn a_signal_to_end_while_the_configuration_is_read_is_no_failure() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, _pipe, _file) = reading(folder.path());
        process.signal(signal);
        assert_eq!(process.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_signal_to_reload_while_the_configuration_is_read_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let (process, pipe, _file) = reading(folder.path());
    process.signal("HUP");
    // Writing blocks until there is a reader.
    std::fs::write(&pipe, TOKENS[0]).unwrap();
    process.err_line("about the start", |line| line.contains("listening"));
    std::fs::write(&pipe, TOKENS[0]).unwrap();
    process.err_line("about the reload", |line| line.contains("reloaded"));
}
