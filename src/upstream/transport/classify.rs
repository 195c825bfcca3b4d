//! Interprets the HTTP library's errors and a response's framing for a fetch.

use std::error::Error as _;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper_util::client::legacy::Error;

use super::super::connector::ConnectError;
use super::super::error::ExchangeError;
use super::super::traffic::{Traffic, TrafficSnapshot};
use crate::message::HttpVersion;

/// Whether two parsers may disagree about the end of this response: two lengths, a list of them, a length and a
/// coding, or any coding but a single `chunked` (RFC 9112 sections 6.1 and 6.3).
pub(crate) fn is_ambiguous(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => false,
        (Some(_), Some(_)) => true,
        (Some(length), None) => !length.as_bytes().iter().all(u8::is_ascii_digit) || lengths.next().is_some(),
        (None, Some(coding)) => {
            !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") || codings.next().is_some()
        }
    }
}

/// Why there is no head.
pub(super) fn classify(error: &Error) -> ExchangeError {
    if error.is_connect() {
        let mut cause = error.source();
        while let Some(inner) = cause {
            if let Some(ConnectError::Timeout) = inner.downcast_ref() {
                return ExchangeError::ConnectTimeout;
            }
            cause = inner.source();
        }
        return ExchangeError::Connect;
    }
    let seen = error.connect_info().and_then(|connected| {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove::<Traffic>().map(|traffic| traffic.seen())
    });
    classify_hyper(error.source().and_then(|source| source.downcast_ref::<hyper::Error>()), seen)
}

/// Why there is no head on an open connection on which this was seen.
pub(crate) fn classify_hyper(error: Option<&hyper::Error>, seen: Option<TrafficSnapshot>) -> ExchangeError {
    if seen.is_some_and(|seen| seen.flooded) {
        return ExchangeError::InterimFlood;
    }
    match error {
        Some(http) if http.is_parse_too_large() => ExchangeError::TooManyFields,
        Some(http) if http.is_parse() => ExchangeError::Invalid,
        Some(_) | None => ended(seen),
    }
}

/// What the end of a connection or stream means. An HTTP/2 head arrives as a whole, so no byte of this response has
/// arrived yet, whatever the connection delivered for other streams.
const fn ended(seen: Option<TrafficSnapshot>) -> ExchangeError {
    match seen {
        None | Some(TrafficSnapshot { version: HttpVersion::Http2, .. }) => ExchangeError::Reset,
        Some(TrafficSnapshot { in_this_exchange: true, .. }) => ExchangeError::ResetInHead,
        Some(TrafficSnapshot { in_earlier_ones: true, .. }) => ExchangeError::Closed,
        Some(TrafficSnapshot { in_earlier_ones: false, .. }) => ExchangeError::Reset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_length_or_one_chunked_coding_is_unambiguous_rfc_9112_6() {
        let headers = |lines: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            headers
        };
        for plain in [
            &[][..],
            &[("content-length", "7")],
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "Chunked")],
        ] {
            assert!(!is_ambiguous(&headers(plain)), "{plain:?}");
        }
        for odd in [
            &[("content-length", "7"), ("content-length", "7")][..],
            &[("content-length", "7, 7")],
            &[("content-length", "+7")],
            &[("content-length", "7"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "gzip")],
            &[("transfer-encoding", "identity")],
        ] {
            assert!(is_ambiguous(&headers(odd)), "{odd:?}");
        }
    }
}
