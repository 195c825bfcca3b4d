//! What is refused before anything else, whatever the method: requests that two readers might cut
//! differently, and those that want something no lookup has.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body::Body;

use crate::domain::{Framing, Refusal};

/// Checks a request's framing.
pub fn check<B: Body>(request: &Request<B>) -> Result<(), Refusal> {
    let headers = request.headers();
    if request.version() == Version::HTTP_11 && !has_one_host(headers) {
        return Err(Refusal::Framing(Framing::Host));
    }
    // The HTTP library lets `Transfer-Encoding` win over `Content-Length` and hides that both were
    // there; so the mere field is refused.
    let announced = headers.get_all(CONTENT_LENGTH).iter().any(|length| length.as_bytes() != b"0");
    if announced || headers.contains_key(TRANSFER_ENCODING) || !request.body().is_end_stream() {
        return Err(Refusal::Framing(Framing::Body));
    }
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(known) { Ok(()) } else { Err(Refusal::Expectation) }
}

/// RFC 9112 section 3.2; the HTTP library doesn't look at `Host` when it parses a request.
fn has_one_host(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let first = hosts.next().filter(|_| hosts.next().is_none());
    first.is_some_and(|host| is_host(host.as_bytes()))
}

/// The characters of `uri-host [ ":" port ]` (RFC 3986 section 3.2), at least one of them.
fn is_host(host: &[u8]) -> bool {
    let allowed = |b: &u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'.' | b'-' | b'_' | b'~' | b':' | b'[' | b']' | b'%')
            || matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
    };
    !host.is_empty() && host.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Empty, Full};

    fn request(version: Version, headers: &[(&'static str, &'static str)]) -> Request<Empty<&'static [u8]>> {
        let mut request = Request::new(Empty::new());
        *request.version_mut() = version;
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn checked(version: Version, headers: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        check(&request(version, headers))
    }

    const HOST_OK: (&str, &str) = ("host", "gateway.internal:8080");

    #[test]
    fn http_1_1_needs_exactly_one_valid_host() {
        let refused = Err(Refusal::Framing(Framing::Host));
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK]), Ok(()));
        assert_eq!(checked(Version::HTTP_11, &[("host", "[::1]:80")]), Ok(()));
        assert_eq!(checked(Version::HTTP_11, &[]), refused);
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, HOST_OK]), refused);
        for host in ["", "a b", "a/b", "user@a", "a\"", "a?x", "a#x"] {
            let mut bad = request(Version::HTTP_11, &[]);
            bad.headers_mut().insert(HOST, HeaderValue::from_static(host));
            assert_eq!(check(&bad), refused, "{host:?}");
        }
        assert_eq!(checked(Version::HTTP_10, &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, &[]), Ok(()));
    }

    #[test]
    fn any_sign_of_a_body_is_refused() {
        let refused = Err(Refusal::Framing(Framing::Body));
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("content-length", "0")]), Ok(()));
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("content-length", "5")]), refused);
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("transfer-encoding", "chunked")]), refused);
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("transfer-encoding", "identity")]), refused);
        let streamed = Request::new(Full::new(&b"x"[..]));
        assert_eq!(
            check(&Request::builder().version(Version::HTTP_2).body(streamed.into_body()).unwrap()),
            refused
        );
    }

    #[test]
    fn the_only_expectation_is_100_continue() {
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("expect", "100-Continue")]), Ok(()));
        for expect in ["200-ok", "", "100-continue, x"] {
            assert_eq!(checked(Version::HTTP_11, &[HOST_OK, ("expect", expect)]), Err(Refusal::Expectation));
        }
        let both = [HOST_OK, ("expect", "x"), ("content-length", "5")];
        assert_eq!(
            checked(Version::HTTP_11, &both),
            Err(Refusal::Framing(Framing::Body)),
            "framing goes first"
        );
    }
}
