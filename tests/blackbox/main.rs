//! The real program over real sockets: one file a theme, one test a promise.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::string_slice,
    reason = "a test that fails must stop, and tests may read the clock"
)]

#[expect(dead_code, unused_imports, reason = "one harness for all suites, each of which needs a part of it")]
#[path = "../support/mod.rs"]
mod support;

mod admin;
mod admin_gate;
mod answers;
mod caching;
mod coalescing;
mod commands;
mod deadlines;
mod demands;
mod drain;
mod limits;
mod logs;
mod lookups;
mod names;
mod notify;
mod proxy;
mod purge;
mod refusals;
mod reload;
mod revalidation;
mod sockets;
mod staleness;
mod tenants;
mod tls;
#[cfg(feature = "otlp")]
mod traces;
mod words;
