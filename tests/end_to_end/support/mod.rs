//! The one harness: the real program on free ports, a programmable upstream, and a client
//! that sends exactly what a test says.

mod certificates;
mod client;
#[cfg(feature = "otlp")]
mod collector;
mod disk;
mod engine;
mod engine_kinds;
pub(crate) mod frames;
mod gateway;
mod http2;
mod program;
pub(crate) mod proxy;
mod raw;
pub(crate) mod scenes;
mod scripted_engine;
mod upstream;

pub(crate) use certificates::{Authority, Certified, Validity};
pub(crate) use client::{Client, Response};
#[cfg(feature = "otlp")]
pub(crate) use collector::{Collector, Span};
pub(crate) use disk::{Disk, warm};
pub(crate) use engine::Engine;
pub(crate) use engine_kinds::{Sentinel, engine_at, free_address};
pub(crate) use gateway::{Config, Gateway, KEYS, TOKENS, listener, write_config};
pub(crate) use http2::{Http2Upstream, look_up_at_once, runtime};
pub(crate) use program::{Finished, Program, program, program_under};
pub(crate) use raw::{Proxy, Says};
pub(crate) use scripted_engine::{Retort, ScriptedEngine, own_ip};
pub(crate) use upstream::{Act, Gate, Seen, Upstream, call, call_reply, reply};

use std::time::{Duration, Instant};

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds; the message says what was waited for.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that is not in Rust: where it is missing the test is skipped, visibly, but with
/// `CI=true` it must be there.
pub(crate) fn needed<T>(name: &str, started: std::io::Result<T>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(error) if std::env::var("CI").as_deref() == Ok("true") => panic!("{name} is needed: {error}"),
        Err(error) => {
            // Not `eprintln!`, which the test harness would swallow.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("SKIPPED: {name} is not here: {error}\n").as_bytes(),
            );
            None
        }
    }
}
