//! The upstream's base URL.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::{Authority, Scheme};

use crate::domain::{CallId, InvoiceId};

/// Scheme, host and port of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
}

impl BaseUrl {
    /// Reads a URL that consists of these three alone.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a URL of scheme, host and port such as \"https://api.credira.com\"";
        let parts = text.parse::<Uri>().map_err(|_| EXPECTED)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(EXPECTED) };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err("expected a URL that starts with https:// or http://");
        }
        if authority.as_str().contains('@') {
            return Err("expected no credentials in the URL: the key belongs in `upstream_key`");
        }
        if authority.host().is_empty() {
            return Err(EXPECTED);
        }
        let has_port = authority.as_str().len() > authority.host().len();
        if has_port && authority.port_u16().is_none_or(|port| port == 0) {
            return Err("expected a port from 1 to 65535");
        }
        let target = parts.path_and_query;
        if target.is_some_and(|target| target.as_str() != "/") || text.contains('#') {
            return Err("expected no path, query or fragment: the path /v1 is part of the route");
        }
        Ok(Self { scheme, authority })
    }

    /// Whether keys would cross the network unencrypted.
    pub(crate) fn is_plaintext(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// Whether the host is certainly this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(self.authority.host())
    }

    /// Whether a URL has the same origin: scheme, host as written in lower case, and port.
    pub(crate) fn is_origin_of(&self, url: &Uri) -> bool {
        let port = url.port_u16().unwrap_or(if url.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 });
        url.scheme() == Some(&self.scheme)
            && url.host().is_some_and(|host| host.eq_ignore_ascii_case(self.authority.host()))
            && port == self.port()
    }

    /// The same text for all ways to write this URL.
    pub(crate) fn normalised(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.authority.host().to_ascii_lowercase(), self.port())
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, by default that of the scheme.
    pub(crate) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_plaintext() { 80 } else { 443 })
    }

    /// The URL of another endpoint, whose path and query have been checked.
    pub(crate) fn endpoint(&self, path_and_query: &str) -> Option<Uri> {
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path_and_query).build().ok()
    }

    /// The URL of the list of an invoice's calls.
    pub(crate) fn calls(&self, invoice: &InvoiceId) -> Option<Uri> {
        self.endpoint(&format!("/v1/calls?invoice_id={}", invoice.as_str()))
    }

    pub(crate) fn call(&self, id: &CallId) -> Option<Uri> {
        self.endpoint(&format!("/v1/calls/{}", id.as_str()))
    }
}

/// Whether a host, as a URL has it, is certainly this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_scheme_host_and_port() {
        for good in
            ["https://api.credira.com", "http://127.0.0.1:8081", "https://[::1]:8443", "https://x.test/"]
        {
            let url = BaseUrl::parse(good).unwrap();
            assert_eq!(url.to_string(), good.trim_end_matches('/'));
        }
        for bad in [
            "",
            "api.credira.com",
            "api.credira.com:443",
            "ftp://api.credira.com",
            "https://",
            "https://a/v1",
            "https://a/?x",
            "https://a?x=1",
            "https://a/#x",
            "https://user:pw@a",
            "https://a:99999",
            "https://a:0",
            "https://a:",
            "http://[::1]:65536",
            "https://key@a",
            "unix:/x",
            "/v1",
        ] {
            assert!(BaseUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, loopback) in [
            ("http://127.0.0.1:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://localhost:1", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
            ("http://api.credira.com", false),
        ] {
            assert_eq!(BaseUrl::parse(url).unwrap().is_loopback(), loopback, "{url}");
        }
    }

    #[test]
    fn the_url_of_a_call_is_the_base_and_the_route() {
        let id = CallId::parse(b"call_7").unwrap();
        let url = BaseUrl::parse("http://127.0.0.1:81").unwrap().call(&id).unwrap();
        assert_eq!(url.to_string(), "http://127.0.0.1:81/v1/calls/call_7");
    }
}
