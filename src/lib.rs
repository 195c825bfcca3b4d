//! credira-gateway: the sidecar that services ask for voice calls instead of asking the Credira API.
//!
//! A gateway is a set of tenants; a tenant owns everything that concerns it; a request is recognised,
//! admitted, looked up, answered. A module imports only from the modules above it in this list, and a
//! test holds that.

mod admin; // metrics, health, and the client that asks them
mod app; // settings -> a running program
mod cache; // entries, freshness, admission, the store, coalescing
pub mod cli;
mod clock; // the only place that asks the time
mod config; // a file's bytes -> checked settings
mod domain; // words without I/O
mod gateway; // the story of a request
mod limits; // one governor limiter and what is left of it
pub mod mock; // the stand-in upstream
mod server; // listeners, the life of a connection, drain
mod telemetry; // metrics, records of requests, logs, trace context
mod tenant; // tokens, the directory, what a tenant owns
mod upstream; // breaker, budget, key, exchange, retry // one file a command
