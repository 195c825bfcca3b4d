//! Faults: an upstream that fails in every way; slow, numerous and disconnected clients; reloads and shutdowns under
//! load; and a storm of all of these. One file per theme, one test per promise.

mod clients;
mod crowds;
mod disk;
mod engine;
mod drains;
mod exchanges;
mod http2;
mod names;
mod outages;
mod overload;
mod reloads;
mod retries;
mod smuggling;
mod stops;
mod storm;
mod process;
