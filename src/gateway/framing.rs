//! Refusals that precede all others, for every method: requests whose boundaries two parsers might see differently,
//! and requests for something that no lookup provides.

use http::header::EXPECT;
use http::{HeaderValue, Method, Request, Version};
use http_body::Body;

use super::fields::{Fields, Only};
use crate::domain::{Alphabet, Framing, Refusal};
use crate::message::has_fragment;

/// Checks a request's framing. `bodies` are the methods for which some endpoint accepts a body; whether this
/// request's does is known only after routing.
pub(super) fn check<B: Body>(
    request: &Request<B>,
    fields: &Fields<'_>,
    bodies: &[Method],
) -> Result<(), Refusal> {
    if has_fragment(request.uri()) {
        return Err(Refusal::Framing(Framing::Fragment));
    }
    if !names_one_host(request, fields.host) {
        return Err(Refusal::Framing(Framing::Host));
    }
    if has_body(request, fields) && !bodies.contains(request.method()) {
        return Err(Refusal::Framing(Framing::Body));
    }
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if fields.expects && !request.headers().get_all(EXPECT).iter().all(known) {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// Whether a request has a body.
pub(super) fn has_body<B: Body>(request: &Request<B>, fields: &Fields<'_>) -> bool {
    fields.announces_body || !request.body().is_end_stream()
}

/// Whether the request names its host unambiguously. The HTTP library does not check `Host`.
fn names_one_host<B>(request: &Request<B>, host: Only<'_>) -> bool {
    let authority = request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
    match (host, authority.map(|authority| authority.as_str().as_bytes())) {
        (Only::Several, _) => request.version() == Version::HTTP_10,
        (Only::Absent, None) => request.version() != Version::HTTP_11,
        (Only::Absent, Some(authority)) => is_host(authority),
        (Only::One(host), None) => request.version() == Version::HTTP_10 || is_host(host.as_bytes()),
        // RFC 9113 section 8.3.1.
        (Only::One(host), Some(authority)) => {
            is_host(authority) && host.as_bytes().eq_ignore_ascii_case(authority)
        }
    }
}

/// The characters of `reg-name` and `IPv4address` (RFC 3986 section 3.2.2).
static NAME: Alphabet = Alphabet::alphanumeric_and(b".-_~%!$&'()*+,;=");
/// Those between the brackets of an `IP-literal`.
static LITERAL: Alphabet = Alphabet::alphanumeric_and(b":.-_~!$&'()*+,;=");

/// Whether this is `uri-host [ ":" port ]` with a host that is not empty.
fn is_host(text: &[u8]) -> bool {
    let (alphabet, rest, end) = match text.strip_prefix(b"[") {
        Some(literal) => (&LITERAL, literal, memchr::memchr(b']', literal)),
        None => (&NAME, text, Some(memchr::memchr(b':', text).unwrap_or(text.len()))),
    };
    let Some((host, port)) = end.and_then(|end| rest.split_at_checked(end)) else { return false };
    let port = port.strip_prefix(b"]").unwrap_or(port);
    let is_port = port.strip_prefix(b":").map_or(port.is_empty(), |port| port.iter().all(u8::is_ascii_digit));
    !host.is_empty() && alphabet.spells(host) && is_port
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
        super::check(request, &Fields::read(request.headers()), &[])
    }

    fn checked(version: Version, headers: &[(&'static str, &'static str)]) -> Result<(), Refusal> {
        check(&request(version, headers))
    }

    const HOST_OK: (&str, &str) = ("host", "gateway.internal:8080");

    #[test]
    fn http_1_1_needs_exactly_one_valid_host() {
        let refused = Err(Refusal::Framing(Framing::Host));
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK]), Ok(()));
        for host in ["[::1]:80", "[::1]", "a:", "a:80", "127.0.0.1:80", "a_b.c%20"] {
            assert_eq!(checked(Version::HTTP_11, &[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(checked(Version::HTTP_11, &[]), refused);
        assert_eq!(checked(Version::HTTP_11, &[HOST_OK, HOST_OK]), refused);
        let odd = ["[::1", "::1]", "[]", "[::1]80", "[::1]:x", "a:80:81", "a:x", ":80", "a[b]", "[a]]", "a]"];
        for host in ["", "a b", "a/b", "user@a", "a\"", "a?x", "a#x"].into_iter().chain(odd) {
            let mut bad = request(Version::HTTP_11, &[]);
            bad.headers_mut().insert(HOST, HeaderValue::from_static(host));
            assert_eq!(check(&bad), refused, "{host:?}");
        }
        assert_eq!(checked(Version::HTTP_10, &[]), Ok(()));
        assert_eq!(checked(Version::HTTP_2, &[]), Ok(()));
    }

    #[test]
    fn an_http_2_request_names_no_two_hosts() {
        let refused = Err(Refusal::Framing(Framing::Host));
        for (target, headers, wanted) in [
            ("http://a/", &[][..], Ok(())),
            ("http://a:80/", &[("host", "A:80")], Ok(())),
            ("/", &[("host", "a")], Ok(())),
            ("/", &[("host", "a b")], refused),
            ("/", &[("host", "a"), ("host", "a")], refused),
            ("http://a/", &[("host", "a"), ("host", "a")], refused),
            ("http://a/", &[("host", "b")], refused),
            ("http://a/", &[("host", "a:80")], refused),
            ("http://user@a/", &[], refused),
        ] {
            let mut request = request(Version::HTTP_2, headers);
            *request.uri_mut() = target.parse().unwrap();
            assert_eq!(check(&request), wanted, "{target} {headers:?}");
        }
    }

    #[test]
    fn a_fragment_is_refused_before_anything_else() {
        for (version, target) in [(Version::HTTP_11, "/a^b"), (Version::HTTP_2, "/a%%b")] {
            let mut request = request(version, &[("content-length", "5")]);
            *request.uri_mut() = target.parse().unwrap();
            assert_eq!(check(&request), Err(Refusal::Framing(Framing::Fragment)));
        }
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
    fn a_body_is_judged_later_where_some_endpoint_takes_one_with_this_method() {
        let mut sent = request(Version::HTTP_11, &[HOST_OK, ("content-length", "5")]);
        let check = |request: &Request<Empty<&'static [u8]>>| {
            super::check(request, &Fields::read(request.headers()), &[Method::POST])
        };
        assert_eq!(check(&sent), Err(Refusal::Framing(Framing::Body)), "a GET");
        *sent.method_mut() = Method::POST;
        assert_eq!(check(&sent), Ok(()));
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
