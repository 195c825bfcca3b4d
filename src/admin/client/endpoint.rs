//! The location of a gateway's admin plane, as specified by an operator.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

use crate::config::Address;

const DEFAULT_PORT: u16 = 9090;

/// The location of an admin plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(super) place: EndpointAddress,
    pub(super) scheme: Scheme,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EndpointAddress {
    Unix(PathBuf),
    /// A host name or address, without brackets.
    Tcp {
        host: String,
        port: u16,
    },
}

/// Whether TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
    /// Not specified: TLS if the configuration says so.
    Unsaid,
}

impl Endpoint {
    /// The accepted forms, for messages.
    pub(crate) const EXPECTED: &'static str = "a host name or address with or without a port (\"localhost:9090\"), an http:// or https:// URL \
         without a path, or \"unix:/run/credira-gateway-admin.sock\"";

    /// The `Host` of requests.
    pub(super) fn host(&self) -> String {
        match &self.place {
            EndpointAddress::Unix(_) => "localhost".into(),
            EndpointAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            EndpointAddress::Tcp { host, port } => format!("{host}:{port}"),
        }
    }

    fn tcp(authority: &str, scheme: Scheme, default_port: u16) -> Result<Self, ()> {
        let authority: Authority = authority.parse().map_err(|_| ())?;
        let text = authority.as_str();
        // `Authority` treats a malformed port as a missing one.
        let port = match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((_, port)) => port.parse().map_err(|_| ())?,
            None => default_port,
        };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || text.contains('@') || port == 0 {
            return Err(());
        }
        Ok(Self { place: EndpointAddress::Tcp { host: bare.into(), port }, scheme })
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        let place = match address {
            Address::Tcp(address) => {
                EndpointAddress::Tcp { host: address.ip().to_string(), port: address.port() }
            }
            Address::Unix(path) => EndpointAddress::Unix(path),
        };
        Self { place, scheme: Scheme::Unsaid }
    }
}

impl FromStr for Endpoint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(address) = text.parse::<Address>() {
            return Ok(address.into());
        }
        if text.starts_with("unix:") {
            return Err(());
        }
        if !text.contains("://") {
            return Self::tcp(text, Scheme::Unsaid, DEFAULT_PORT);
        }
        let url: Uri = text.parse().map_err(|_| ())?;
        if url.path() != "/" || url.query().is_some() || text.contains('#') {
            return Err(());
        }
        let authority = url.authority().ok_or(())?.as_str();
        match url.scheme_str() {
            Some("http") => Self::tcp(authority, Scheme::Http, 80),
            Some("https") => Self::tcp(authority, Scheme::Https, 443),
            Some(_) | None => Err(()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http://",
            Scheme::Https => "https://",
            Scheme::Unsaid => "",
        };
        match &self.place {
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            EndpointAddress::Tcp { .. } => write!(f, "{scheme}{}", self.host()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_urls_and_sockets_are_read() {
        for (text, shown) in [
            ("localhost", "localhost:9090"),
            ("gateway-0.gateway:9191", "gateway-0.gateway:9191"),
            ("127.0.0.1", "127.0.0.1:9090"),
            ("[::1]", "[::1]:9090"),
            ("[::1]:1", "[::1]:1"),
            ("http://gateway.internal", "http://gateway.internal:80"),
            ("https://gateway.internal/", "https://gateway.internal:443"),
            ("https://[::1]:9090", "https://[::1]:9090"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()), Ok(shown.to_owned()));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "http://", "ftp://a", "http://u@a", "u@a", "http://a/b", "http://a?b", "a:b", "a:0", "a b"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(()), "{text:?}");
        }
    }
}
