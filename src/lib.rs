//! credira-gateway: the sidecar that services ask for voice calls instead of asking the Credira API.
//!
//! A gateway is a set of tenants; a tenant owns everything that concerns it; a request is recognised,
//! admitted, looked up, answered. A module imports only from the modules above it in this list, and a
//! test holds that.

#![cfg_attr(
    not(any(test, all(feature = "disk", feature = "shared"))),
    expect(
        dead_code,
        unused_imports,
        reason = "a program without a level has no use for some of what both of its sides share"
    )
)]

mod domain; // words without I/O
mod clock; // the only place that asks the time
mod message; // HTTP that both sides share: fields, dates, credentials, responses
mod config; // a file's bytes -> checked settings
mod telemetry; // metrics, records of requests, logs, trace context
mod limits; // a limiter and what is left of it: governor's bucket, or leases of a fleet's
mod server; // listeners, the life of a connection, drain
mod cache; // entries, freshness, admission, the store, coalescing
mod levels; // what memory forgets, on disk and in an engine: sealed entries by sealed names
mod fleet; // gateways that share an engine: their log of purges, heartbeats, members
mod upstream; // breaker, budget, key, exchange, retry
mod tenant; // tokens, the directory, what a tenant owns
mod gateway; // the story of a request
mod admin; // metrics, health, purge, and the client that asks for them
mod app; // settings -> a running program
pub mod mock; // the stand-in upstream
pub mod cli; // one file a command

#[cfg(feature = "bench")]
pub use app::bench;
#[cfg(feature = "fuzz")]
pub use app::fuzz;
