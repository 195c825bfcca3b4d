//! What is refused before anything else, whatever the method: requests that two readers might cut
//! differently, and those that want something no lookup has.

use http::header::EXPECT;
use http::{HeaderValue, Request, Version};
use http_body::Body;

use super::fields::Fields;
use crate::domain::{Alphabet, Framing, Refusal};

/// Checks a request's framing.
pub fn check<B: Body>(request: &Request<B>, fields: &Fields<'_>) -> Result<(), Refusal> {
    // RFC 9112 section 3.2; the HTTP library doesn't look at `Host` when it parses a request.
    let is_named = || fields.host.one().is_some_and(|host| is_host(host.as_bytes()));
    if request.version() == Version::HTTP_11 && !is_named() {
        return Err(Refusal::Framing(Framing::Host));
    }
    if fields.announces_body || !request.body().is_end_stream() {
        return Err(Refusal::Framing(Framing::Body));
    }
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if fields.expects && !request.headers().get_all(EXPECT).iter().all(known) {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// The characters of `uri-host [ ":" port ]` (RFC 3986 section 3.2).
static HOST: Alphabet = Alphabet::alphanumeric_and(b".-_~:[]%!$&'()*+,;=");

fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && HOST.spells(host)
}

#[cfg(test)]
mod tests {
    use http::header::HOST;
    use http_body_util::{Empty, Full};

    use super::*;

    fn request(version: Version, headers: &[(&'static str, &'static str)]) -> Request<Empty<&'static [u8]>> {
        let mut request = Request::new(Empty::new());
        *request.version_mut() = version;
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    fn check<B: Body>(request: &Request<B>) -> Result<(), Refusal> {
        super::check(request, &Fields::read(request.headers()))
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
