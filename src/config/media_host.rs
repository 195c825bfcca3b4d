//! Hosts that recordings and transcriptions may come from.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

use super::base_url::{BaseUrl, is_loopback};

/// A host, by name or address, and perhaps a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaHost {
    /// In lower case; of an IPv6 address with its brackets.
    host: String,
    port: Option<u16>,
}

impl MediaHost {
    /// Reads `"cdn.example"` or `"cdn.example:8443"`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a host such as \"cdn.example\" or \"cdn.example:8443\"";
        let authority = text.parse::<Authority>().map_err(|_| EXPECTED)?;
        let host = authority.host();
        let is_name =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if !is_name && !address.is_some_and(|address| address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()))
        {
            return Err(EXPECTED);
        }
        let port = match text.get(host.len()..) {
            Some("") => None,
            Some(_) => Some(authority.port_u16().filter(|port| *port > 0).ok_or(EXPECTED)?),
            None => return Err(EXPECTED),
        };
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }

    /// Whether a URL may be followed because it names this host: over https, or over http to this machine itself
    /// where the upstream is reached so, too. Hosts are compared as written, in lower case.
    pub(crate) fn admits(&self, url: &Uri, base_url: &BaseUrl) -> bool {
        let (Some(scheme), Some(host)) = (url.scheme(), url.host()) else { return false };
        let default_port = if *scheme == Scheme::HTTPS {
            443
        } else if *scheme == Scheme::HTTP && base_url.is_plaintext() && is_loopback(&self.host) {
            80
        } else {
            return false;
        };
        let port = url.port_u16().unwrap_or(default_port);
        host.eq_ignore_ascii_case(&self.host) && port == self.port.unwrap_or(default_port)
    }
}

/// As the file has it.
impl fmt::Display for MediaHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in ["cdn.example", "cdn.example:8443", "127.0.0.1:9000", "[::1]", "[::1]:9000"] {
            assert_eq!(MediaHost::parse(good).unwrap().to_string(), good);
        }
        assert_eq!(MediaHost::parse("CDN.Example").unwrap().to_string(), "cdn.example");
        for bad in [
            "",
            "https://cdn.example",
            "cdn.example/x",
            "user@cdn.example",
            "cdn.example:",
            "cdn.example:0",
            "cdn.example:99999",
            "*.example",
            "cdn example",
            "[::1",
            "::1",
            "[x]",
            "b\u{fc}cher.example",
        ] {
            assert!(MediaHost::parse(bad).is_err(), "{bad}");
        }
    }

    // T92, T94.
    #[test]
    fn a_url_is_admitted_by_scheme_host_and_port() {
        let admits = |host: &str, base: &str, url: &str| {
            let base = BaseUrl::parse(base).unwrap();
            MediaHost::parse(host).unwrap().admits(&url.parse().unwrap(), &base)
        };
        let (tls, plain) = ("https://api.example", "http://127.0.0.1:80");
        for (host, base, url) in [
            ("cdn.example", tls, "https://cdn.example/x"),
            ("cdn.example", tls, "https://CDN.example:443/x"),
            ("cdn.example:8443", tls, "https://cdn.example:8443/x"),
            ("127.0.0.1:9000", plain, "http://127.0.0.1:9000/x"),
            ("localhost", plain, "http://localhost/x"),
            ("127.0.0.1:9000", plain, "https://127.0.0.1:9000/x"),
        ] {
            assert!(admits(host, base, url), "{host} {url}");
        }
        for (host, base, url) in [
            ("cdn.example", tls, "http://cdn.example/x"),
            ("cdn.example", plain, "http://cdn.example/x"),
            ("127.0.0.1:9000", tls, "http://127.0.0.1:9000/x"),
            ("cdn.example", tls, "https://cdn.example:8443/x"),
            ("cdn.example:8443", tls, "https://cdn.example/x"),
            ("cdn.example", tls, "https://cdn.example.evil/x"),
            ("cdn.example", tls, "https://evil.cdn.example/x"),
            ("cdn.example", tls, "https://cdn.example./x"),
            ("cdn.example", tls, "ftp://cdn.example/x"),
            ("127.0.0.1:9000", plain, "http://127.1:9000/x"),
        ] {
            assert!(!admits(host, base, url), "{host} {url}");
        }
    }
}
