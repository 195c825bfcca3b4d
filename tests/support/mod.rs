//! The one harness: the real program on free ports, an upstream that does as it is told, and a client
//! that sends exactly what a test says.

mod certificates;
mod client;
#[cfg(feature = "otlp")]
mod collector;
mod gateway;
mod http2;
mod program;
mod raw;
mod upstream;

pub use certificates::{Authority, Certified, Validity};
pub use client::{Client, Response};
#[cfg(feature = "otlp")]
pub use collector::{Collector, Span};
pub use gateway::{Config, Gateway, KEYS, TOKENS, listener, write_config};
pub use http2::{Http2Upstream, look_up_at_once, runtime};
pub use program::{Finished, Program, program, program_under};
pub use raw::{Proxy, Says};
pub use upstream::{Act, Gate, Seen, Upstream, call, call_reply, reply};

use std::time::{Duration, Instant};

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds; the message says what was waited for.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that is not in Rust: where it is missing the test is skipped, visibly, but with
/// `CI=true` it must be there.
pub fn needed<T>(name: &str, started: std::io::Result<T>) -> Option<T> {
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
