//! One tenant's way to the upstream: asks breaker, budget and permit, lends the key, sends,
//! classifies what came back, and decides whether to try again.
//!
//! Knows nothing of entries or clients: it is asked for a call and gives back an answer or a failure.

mod breaker;
mod budget;
mod connector;
mod failure;
mod fetch;
mod key_ring;
mod leave;
mod names;
mod pause;
mod request;
mod retry;
mod transport;
mod unreachable;

pub use connector::Connector;
pub use failure::Failure;
pub use fetch::{Fetched, Parts, Upstream, Urgency};
pub use key_ring::KeyRing;
pub use request::Ask;
#[cfg(test)]
pub use transport::Broken;
#[cfg(any(test, feature = "bench"))]
pub use transport::{Bounds, Exchanging, Received};
pub use transport::{Connection, Network, Transport};
