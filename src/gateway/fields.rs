//! The header fields of a request that matter to the gateway, collected in one pass.
//!
//! Looking up a field costs as much as iterating over four of them, most requests have fewer than ten, and a dozen
//! are needed.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, EXPECT, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, PRAGMA,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::{HeaderMap, HeaderValue};

use crate::message::X_REQUEST_ID;
use crate::telemetry::TRACEPARENT;

/// A field that must occur exactly once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Only<'a> {
    #[default]
    Absent,
    /// Its one value.
    One(&'a HeaderValue),
    /// It occurs more than once.
    Several,
}

impl<'a> Only<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        *self = match self {
            Self::Absent => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }

    /// The value, if there is exactly one.
    pub(super) const fn one(self) -> Option<&'a HeaderValue> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Several => None,
        }
    }
}

/// The collected fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    pub host: Only<'a>,
    pub authorization: Only<'a>,
    /// The first `X-Request-Id`.
    pub request_id: Option<&'a HeaderValue>,
    /// The first `User-Agent`.
    pub user_agent: Option<&'a HeaderValue>,
    /// Whether a body is announced: a `Content-Length` other than a single 0, or any `Transfer-Encoding`.
    pub announces_body: bool,
    has_length: bool,
    /// Whether there is an `Expect`.
    pub expects: bool,
    /// Whether there is an `If-None-Match` or `If-Modified-Since`.
    pub has_conditions: bool,
    /// Whether there is a `Cache-Control` or `Pragma`.
    pub has_directives: bool,
    /// Whether there is a `traceparent`.
    pub is_traced: bool,
}

impl<'a> Fields<'a> {
    /// Iterates over all fields.
    pub(super) fn read(headers: &'a HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                found.host.add(value);
            } else if *name == USER_AGENT {
                found.user_agent = found.user_agent.or(Some(value));
            } else if *name == AUTHORIZATION {
                found.authorization.add(value);
            } else if *name == CONTENT_LENGTH {
                found.announces_body |= found.has_length || value.as_bytes() != b"0";
                found.has_length = true;
            } else if *name == TRANSFER_ENCODING {
                // It takes precedence over `Content-Length` in the HTTP library, which hides that both were present;
                // so its mere presence counts.
                found.announces_body = true;
            } else if *name == EXPECT {
                found.expects = true;
            } else if *name == IF_NONE_MATCH || *name == IF_MODIFIED_SINCE {
                found.has_conditions = true;
            } else if *name == CACHE_CONTROL || *name == PRAGMA {
                found.has_directives = true;
            } else if *name == X_REQUEST_ID {
                found.request_id = found.request_id.or(Some(value));
            } else if *name == TRACEPARENT {
                found.is_traced = true;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_must_stand_once_is_counted_and_what_may_stand_is_noticed() {
        assert_eq!(Fields::read(&HeaderMap::new()), Fields::default());
        let all = headers(&[
            ("host", "a"),
            ("authorization", "x"),
            ("authorization", "x"),
            ("authorization", "x"),
            ("x-request-id", "1"),
            ("x-request-id", "2"),
            ("content-length", "0"),
            ("expect", "x"),
            ("if-modified-since", "x"),
            ("pragma", "x"),
            ("traceparent", "x"),
            ("x-other", "x"),
        ]);
        let fields = Fields::read(&all);
        assert_eq!((fields.host.one().unwrap(), fields.authorization), (&all["host"], Only::Several));
        assert_eq!(fields.request_id.unwrap(), "1");
        assert!(!fields.announces_body && fields.expects && fields.has_conditions);
        assert!(fields.has_directives && fields.is_traced);
        for line in [("content-length", "00"), ("content-length", "7"), ("transfer-encoding", "identity")] {
            assert!(Fields::read(&headers(&[line])).announces_body, "{line:?}");
        }
        assert!(
            Fields::read(&headers(&[("content-length", "0"); 2])).announces_body,
            "two readers, two bodies"
        );
    }
}
