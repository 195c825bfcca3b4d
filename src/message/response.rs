//! The upstream's response, on its way from the exchange to the cache and to clients.

use std::fmt;

use bytes::Bytes;
use http::header::{AGE, DATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;

use super::date::{format_date, single_date};
use super::fields::{HeaderFields, finish, passed};
use crate::clock::Instant;

/// A complete response of the upstream, as received.
#[derive(Clone)]
pub(crate) struct UpstreamResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Complete: a truncated body is no response.
    pub(crate) body: Bytes,
    pub(crate) times: ExchangeTimes,
}

/// When an exchange happened, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExchangeTimes {
    /// The request was sent.
    pub(crate) sent: Instant,
    /// The response was complete.
    pub(crate) received: Instant,
    /// The same by the wall clock.
    pub(crate) received_at: Timestamp,
}

impl UpstreamResponse {
    /// The response's own `Date`, or the time of receipt where it has none, several, or one that is no date
    /// (RFC 9110 section 6.6.1).
    pub(crate) fn date(&self) -> HeaderValue {
        let own = single_date(&self.headers, &DATE).and(self.headers.get(DATE));
        own.cloned().unwrap_or_else(|| format_date(self.times.received_at))
    }

    /// The response as clients get it when it is passed on without being stored: end-to-end fields and ours, with the
    /// `Age` set by caches behind us.
    pub(crate) fn to_client(&self) -> ClientResponse {
        let mut fields = finish(passed(&self.headers), &self.date());
        fields.extend(self.headers.get(AGE).map(|age| (AGE, age.clone())));
        ClientResponse { status: self.status, fields, body: self.body.clone() }
    }
}

/// Shows neither fields nor body: both are personal data.
impl fmt::Debug for UpstreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamResponse({}, {} bytes)", self.status, self.body.len())
    }
}

/// A response as clients get it, except for the fields that differ between requests.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderFields,
    pub(crate) body: Bytes,
}

impl ClientResponse {
    /// The first field of a name.
    pub(crate) fn field(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.fields.iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }
}

/// Shows neither fields nor body: both are personal data.
impl fmt::Debug for ClientResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientResponse({}, {} bytes)", self.status, self.body.len())
    }
}

/// The upstream's own validators of a stored response: the only part of an entry that is ever sent upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Validators {
    /// For `If-None-Match`.
    pub(crate) etag: Option<HeaderValue>,
    /// For `If-Modified-Since`.
    pub(crate) last_modified: Option<HeaderValue>,
}

impl Validators {
    pub(crate) const fn are_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn debug_output_shows_neither_fields_nor_body() {
        let now = clock::now();
        let times = ExchangeTimes { sent: now, received: now, received_at: Timestamp::UNIX_EPOCH };
        let headers = [(DATE, HeaderValue::from_static("secret"))].into_iter().collect();
        let response =
            UpstreamResponse { status: StatusCode::OK, headers, body: "+1234567890".into(), times };
        assert_eq!(format!("{response:?}"), "UpstreamResponse(200 OK, 11 bytes)");
        assert_eq!(format!("{:?}", response.to_client()), "ClientResponse(200 OK, 11 bytes)");
    }

    #[test]
    fn a_response_without_exactly_one_date_has_the_time_of_receipt() {
        let now = clock::now();
        let times = ExchangeTimes { sent: now, received: now, received_at: Timestamp::UNIX_EPOCH };
        let one = "Mon, 15 Jan 2024 10:30:00 GMT";
        let receipt = "Thu, 01 Jan 1970 00:00:00 GMT";
        for (dates, wanted) in [
            (&[one][..], one),
            (&[], receipt),
            (&["yesterday"], receipt),
            (&[one, one], receipt),
            (&[one, "Tue, 16 Jan 2024 10:30:00 GMT"], receipt),
        ] {
            let headers = dates.iter().map(|date| (DATE, HeaderValue::from_static(date))).collect();
            let response = UpstreamResponse { status: StatusCode::OK, headers, body: Bytes::new(), times };
            let client = response.to_client();
            let dates: Vec<_> = client.fields.iter().filter(|(name, _)| *name == DATE).collect();
            assert_eq!(dates, [&(DATE, HeaderValue::from_static(wanted))], "{wanted}");
        }
    }
}
