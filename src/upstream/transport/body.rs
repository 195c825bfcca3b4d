//! The body of a response that is being received.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::super::error::ExchangeError;
use crate::clock;
use crate::clock::Instant;

/// A body that has not been read.
pub(crate) enum ResponseBody {
    /// Received over a connection.
    Incoming(Incoming),
    /// Of a scripted response.
    #[cfg(any(test, feature = "bench"))]
    Whole(Bytes),
}

impl ResponseBody {
    /// Reads the complete body, at most `max_bytes`, by `deadline`. `status` is the response's.
    pub(crate) async fn read(
        self,
        status: StatusCode,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, ExchangeError> {
        match self {
            Self::Incoming(body) => clock::until(deadline, collect(body, status, max_bytes))
                .await
                .unwrap_or(Err(ExchangeError::Timeout)),
            #[cfg(any(test, feature = "bench"))]
            Self::Whole(body) if body.len() > max_bytes => Err(ExchangeError::Oversized(status)),
            #[cfg(any(test, feature = "bench"))]
            Self::Whole(body) => Ok(body),
        }
    }
}

async fn collect(mut body: Incoming, status: StatusCode, max_bytes: usize) -> Result<Bytes, ExchangeError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(ExchangeError::Oversized(status));
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(_) => return Err(ExchangeError::Truncated(status)),
        };
        let so_far = if rest.is_empty() { first.len() } else { rest.len() };
        if so_far + data.len() > max_bytes {
            return Err(ExchangeError::Oversized(status));
        }
        if so_far == 0 {
            // Nearly every body is a single frame, which needs no copy.
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(announced.max(so_far + data.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
