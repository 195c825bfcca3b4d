//! Where a link or redirect may lead, and whether the key goes there: pure.

use http::header::LOCATION;
use http::{HeaderMap, StatusCode};

use super::link::{Link, NoLink};
use crate::config::{BaseUrl, MediaHost};

/// Redirects that are followed.
const MAX_REDIRECTS: u32 = 2;

/// One request on the way to a recording or transcription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) link: Link,
    pub(crate) destination: Destination,
    /// Redirects that led here.
    redirects: u32,
}

/// Whose host a link names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The upstream's own origin: it gets the key.
    Base,
    /// One of `media.hosts`: it never gets a key, a request ID or a trace.
    MediaHost,
}

/// Why a link is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HopRefused {
    /// It is no URL that may be followed.
    NoLink,
    /// Its host, with its port, is not one of `media.hosts`, or is to be reached over http.
    Host(String),
    /// It leads into the API, which the key would open.
    Api,
    /// It leads from a media host back to the upstream.
    Return,
    /// One redirect too many.
    TooMany,
}

impl From<NoLink> for HopRefused {
    fn from(NoLink: NoLink) -> Self {
        Self::NoLink
    }
}

/// What the configuration says of places.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origins<'a> {
    pub(crate) base_url: &'a BaseUrl,
    pub(crate) hosts: &'a [MediaHost],
}

impl Origins<'_> {
    /// The request for a call's link.
    pub(crate) fn first(self, text: &[u8]) -> Result<Hop, HopRefused> {
        let link = Link::parse(text)?;
        let destination = self.destination(&link)?;
        Ok(Hop { link, destination, redirects: 0 })
    }

    /// The request that follows a response with these fields, if it is a redirect.
    pub(crate) fn next(
        self,
        hop: &Hop,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<Option<Hop>, HopRefused> {
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        if hop.redirects >= MAX_REDIRECTS {
            return Err(HopRefused::TooMany);
        }
        let mut locations = headers.get_all(LOCATION).iter();
        let location = locations.next().filter(|_| locations.next().is_none()).ok_or(HopRefused::NoLink)?;
        let link = hop.link.redirected(location.as_bytes())?;
        let destination = self.destination(&link)?;
        if (hop.destination, destination) == (Destination::MediaHost, Destination::Base) {
            return Err(HopRefused::Return);
        }
        Ok(Some(Hop { link, destination, redirects: hop.redirects + 1 }))
    }

    fn destination(self, link: &Link) -> Result<Destination, HopRefused> {
        if self.base_url.is_origin_of(link.uri()) {
            return if link.is_into_api() { Err(HopRefused::Api) } else { Ok(Destination::Base) };
        }
        match self.hosts.iter().any(|host| host.admits(link.uri(), self.base_url)) {
            true => Ok(Destination::MediaHost),
            false => Err(HopRefused::Host(link.host().to_ascii_lowercase())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const BASE: &str = "https://api.example";

    fn with<T>(decide: impl FnOnce(Origins<'_>) -> T) -> T {
        let base_url = BaseUrl::parse(BASE).unwrap();
        let hosts = ["cdn.example", "files.example:8443"].map(|host| MediaHost::parse(host).unwrap());
        decide(Origins { base_url: &base_url, hosts: &hosts })
    }

    fn first(text: &str) -> Result<Hop, HopRefused> {
        with(|origins| origins.first(text.as_bytes()))
    }

    fn next(hop: &Hop, status: u16, locations: &[&str]) -> Result<Option<Hop>, HopRefused> {
        let mut headers = HeaderMap::new();
        for location in locations {
            headers.append(LOCATION, HeaderValue::from_str(location).unwrap());
        }
        with(|origins| origins.next(hop, StatusCode::from_u16(status).unwrap(), &headers))
    }

    // T92, T94.
    #[test]
    fn the_key_goes_to_the_origin_of_base_url_and_nowhere_else() {
        for (text, destination) in [
            ("https://api.example/recordings/1.mp3", Destination::Base),
            ("https://API.example:443/recordings/1.mp3", Destination::Base),
            ("https://cdn.example/1.mp3", Destination::MediaHost),
            ("https://files.example:8443/v1/1.mp3", Destination::MediaHost),
        ] {
            assert_eq!(first(text).unwrap().destination, destination, "{text}");
        }
        for (text, host) in [
            ("http://api.example/1.mp3", "api.example"),
            ("https://api.example:8443/1.mp3", "api.example:8443"),
            ("https://api.example.evil/1.mp3", "api.example.evil"),
            ("https://xapi.example/1.mp3", "xapi.example"),
            ("http://169.254.169.254/latest", "169.254.169.254"),
            ("https://127.0.0.1/1.mp3", "127.0.0.1"),
            ("https://0x7f.1/1.mp3", "0x7f.1"),
            ("http://cdn.example/1.mp3", "cdn.example"),
            ("https://files.example/1.mp3", "files.example"),
            ("https://Evil.example/1.mp3?signature=x", "evil.example"),
        ] {
            assert_eq!(first(text), Err(HopRefused::Host(host.into())), "{text}");
        }
        assert_eq!(first("https://api.example/v1/users/1"), Err(HopRefused::Api));
        assert_eq!(first("https://api.example@evil/x"), Err(HopRefused::NoLink));
    }

    // T93.
    #[test]
    fn a_redirect_is_followed_by_the_same_rules_twice() {
        let base = first("https://api.example/1").unwrap();
        for status in [301, 302, 303, 307, 308] {
            let hop = next(&base, status, &["https://cdn.example/2"]).unwrap().unwrap();
            assert_eq!(hop.destination, Destination::MediaHost);
        }
        for status in [200, 206, 300, 304, 305, 404] {
            assert_eq!(next(&base, status, &["https://cdn.example/2"]), Ok(None), "{status}");
        }
        let second = next(&base, 302, &["/2"]).unwrap().unwrap();
        assert_eq!(second.destination, Destination::Base);
        let third = next(&second, 302, &["https://cdn.example/3"]).unwrap().unwrap();
        assert_eq!(next(&third, 302, &["https://cdn.example/4"]), Err(HopRefused::TooMany));
    }

    // T93.
    #[test]
    fn a_redirect_elsewhere_back_or_by_two_fields_is_refused() {
        let base = first("https://api.example/1").unwrap();
        let host = first("https://cdn.example/1").unwrap();
        assert_eq!(
            next(&base, 302, &["https://evil.example/"]),
            Err(HopRefused::Host("evil.example".into()))
        );
        assert_eq!(next(&base, 302, &["http://cdn.example/"]), Err(HopRefused::Host("cdn.example".into())));
        assert_eq!(next(&base, 302, &["/v1/users"]), Err(HopRefused::Api));
        assert_eq!(next(&host, 302, &["https://api.example/2"]), Err(HopRefused::Return));
        assert_eq!(next(&base, 302, &[]), Err(HopRefused::NoLink));
        assert_eq!(next(&base, 302, &["/2", "/2"]), Err(HopRefused::NoLink));
        assert_eq!(next(&base, 302, &["//evil.example/"]), Err(HopRefused::NoLink));
    }
}
