//! The address of an engine of the shared level.

use std::fmt;
use std::path::PathBuf;

use http::Uri;

use super::base_url::is_loopback;

/// The port of Valkey and Redis.
const PORT: u16 = 6379;

/// Where a node of the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EngineUrl {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16 },
    Unix(PathBuf),
}

impl EngineUrl {
    /// Reads `redis://HOST:PORT`, `rediss://HOST:PORT`, their `valkey` spellings, or `unix:PATH`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected a URL such as \"rediss://cache.internal:6379\" or \"unix:/run/valkey.sock\"";
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(EXPECTED) };
        }
        let parts = text.parse::<Uri>().map_err(|_| EXPECTED)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(EXPECTED) };
        if authority.as_str().contains('@') {
            return Err("expected no credentials in the URL: they belong in shared.user and shared.password");
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = authority.port_u16().filter(|port| *port > 0);
        if authority.host().is_empty() || (has_port && port.is_none()) {
            return Err(EXPECTED);
        }
        if parts.path_and_query.is_some_and(|target| target.as_str() != "/") || text.contains('#') {
            return Err("expected no path, query or fragment: database 0 is used");
        }
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (host, port) = (bare.to_ascii_lowercase(), port.unwrap_or(PORT));
        match scheme.as_str() {
            "redis" | "valkey" => Ok(Self::Tcp { host, port }),
            "rediss" | "valkeys" => Ok(Self::Tls { host, port }),
            _ => Err(EXPECTED),
        }
    }

    /// Whether what is sent there is encrypted, or certainly stays on this machine.
    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Tls { .. } | Self::Unix(_) => true,
            Self::Tcp { host, .. } => is_loopback(host),
        }
    }

    /// Whether it is certainly this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } | Self::Tls { host, .. } => is_loopback(host),
        }
    }
}

/// As the file has it.
impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut authority = |scheme: &str, host: &str, port: u16| {
            let is_ipv6 = host.contains(':');
            let (open, close) = if is_ipv6 { ("[", "]") } else { ("", "") };
            write!(f, "{scheme}://{open}{host}{close}:{port}")
        };
        match self {
            Self::Tcp { host, port } => authority("redis", host, *port),
            Self::Tls { host, port } => authority("rediss", host, *port),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_in_one_form() {
        for (text, shown) in [
            ("redis://Cache.Internal", "redis://cache.internal:6379"),
            ("valkey://127.0.0.1:7000/", "redis://127.0.0.1:7000"),
            ("rediss://[::1]:1", "rediss://[::1]:1"),
            ("valkeys://cache", "rediss://cache:6379"),
            ("unix:/run/valkey.sock", "unix:/run/valkey.sock"),
            ("unix:///run/valkey.sock", "unix:/run/valkey.sock"),
        ] {
            assert_eq!(EngineUrl::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn credentials_databases_and_other_schemes_are_refused() {
        for text in [
            "redis://:secret@cache",
            "redis://cache/2",
            "redis://cache?protocol=3",
            "redis://cache#insecure",
            "http://cache",
            "cache:6379",
            "redis://cache:0",
            "unix:relative.sock",
            "",
        ] {
            let refused = EngineUrl::parse(text).unwrap_err();
            assert!(!refused.contains("secret"), "{text}");
        }
    }

    #[test]
    fn only_tls_and_this_machine_are_private() {
        for (text, is_private, is_local) in [
            ("redis://127.0.0.1", true, true),
            ("redis://localhost", true, true),
            ("redis://10.0.0.1", false, false),
            ("rediss://10.0.0.1", true, false),
            ("unix:/run/v.sock", true, true),
        ] {
            let url = EngineUrl::parse(text).unwrap();
            assert_eq!((url.is_private(), url.is_local()), (is_private, is_local), "{text}");
        }
    }
}
