//! A tenant's upstream client: transport, the decision whether to repeat a request, key ring, breaker, budget and
//! resolver.
//!
//! Knows nothing of entries or clients: it is passed a URL and a reader of responses, and returns the reader's result
//! for the last one, or why there is none.

mod breaker;
mod client;
mod connector;
mod error;
mod key_ring;
mod media;
mod pause;
mod permit;
mod plan;
mod probe;
mod request;
mod resolver;
mod retry_budget;
mod tls_failure;
mod traffic;
mod transport;
mod unreachable;

pub(crate) use client::{
    Fetched, LinkProspect, MediaError, MediaFetched, MediaParts, OpenMedia, Parts, Upstream, Urgency,
};
pub(crate) use connector::Connector;
#[cfg(test)]
pub(crate) use error::ExchangeError;
pub(crate) use error::FetchError;
pub(crate) use key_ring::KeyRing;
#[cfg(feature = "fuzz")]
pub(crate) use media::Link;
pub(crate) use media::{
    Destination, HeadProblem, MAX_HELD_BYTES, MediaBody, MediaHead, MediaReadError, MediaRequest, Truncated,
    Wanted,
};
pub(crate) use plan::ResponseReading;
pub(crate) use probe::{Probe, ProbeAnswer};
pub(crate) use request::{Ask, Content, IDEMPOTENCY_KEY, PassedThrough};
#[cfg(any(test, feature = "bench"))]
pub(crate) use transport::{Connection, ExchangeDeadlines, Opened, Opening, ResponseBody};
pub(crate) use transport::{Network, Transport};
