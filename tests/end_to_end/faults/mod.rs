//! Faults: an upstream that fails in every way, clients that are slow or many or gone, reloads and ends
//! under load, and a storm of all of it. One file a theme, one test a promise.

mod clients;
mod crowds;
mod disk;
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
