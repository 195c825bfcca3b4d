//! One HTTP exchange with the upstream in two steps: `open` sends the request and waits for the head of the response,
//! [`ResponseBody::read`] reads the body within bounds. Knows neither keys nor calls.

mod body;
mod classify;
mod network;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::connect::CaptureConnection;

use super::error::ExchangeError;
use super::plan::ConnectionUse;
use crate::clock::Instant;

pub(crate) use body::ResponseBody;
pub(crate) use classify::{classify_hyper, is_ambiguous};
pub(crate) use network::Network;

/// The head of a response whose body has not been read.
pub(crate) struct Opened {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ResponseBody,
    pub(crate) connection: Connection,
}

/// The connection of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    capture: Option<CaptureConnection>,
    /// Whether it had served requests before, so that what it delivers may be the answer to one of those.
    was_reused: bool,
}

impl Connection {
    pub(crate) const fn usage(&self) -> ConnectionUse {
        if self.was_reused { ConnectionUse::Reused } else { ConnectionUse::First }
    }

    /// Keeps the connection from being reused.
    pub(crate) fn poison(&self) {
        if let Some(capture) = &self.capture
            && let Some(connected) = capture.connection_metadata().as_ref()
        {
            connected.poison();
        }
    }
}

/// The time limits of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeDeadlines {
    /// From the request sent to the response's head.
    pub(crate) first_byte: Duration,
    /// The end of the whole exchange.
    pub(crate) end: Instant,
}

/// Sends requests: over the network, or scripted.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request and waits for the head of its response.
    fn open(&self, request: Request<bytes::Bytes>, deadlines: ExchangeDeadlines) -> Opening<'_>;
}

/// An exchange up to its head.
pub(crate) type Opening<'a> = Pin<Box<dyn Future<Output = Result<Opened, ExchangeError>> + Send + 'a>>;

#[cfg(test)]
mod tests;
