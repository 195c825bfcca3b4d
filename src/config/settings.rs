//! The configuration as the program uses it: every value checked, every default filled in, every
//! secret read. Nothing in here can be wrong any more.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use jiff::Timestamp;

use super::proxy::Proxy;
use super::raw::{AccessLog, CacheControl, LogFormat, LogLevel, RateLimitHeaders};
use super::secret::{KeptIn, UpstreamKey};
use super::tls::{ExtraRoots, TlsIdentity};
use crate::domain::{CallId, TenantName, TokenHash};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where callers reach the gateway.
    pub listen: Listen,
    /// Where operators do.
    pub admin: Admin,
    /// The upstream.
    pub upstream: Upstream,
    /// What may be stored, and for how long.
    pub cache: Cache,
    /// What clients may take.
    pub limits: Limits,
    /// Logs.
    pub log: Log,
    /// The end.
    pub shutdown: Shutdown,
    /// How often the files are looked at for changes, if at all.
    pub reload_poll: Option<Duration>,
    /// The callers; at least one.
    pub tenants: Vec<Tenant>,
}

impl Settings {
    /// The files beside the configuration's own that it was read from: secrets and certificates.
    /// Relative paths start at the folder of `file`.
    pub fn files(&self, file: &Path) -> Vec<PathBuf> {
        let folder = file.parent().unwrap_or(Path::new(""));
        let kept = |kept_in: &KeptIn| match kept_in {
            KeptIn::File(path) => Some(path.clone()),
            KeptIn::Env(_) | KeptIn::Value(_) => None,
        };
        let tenants = self.tenants.iter().flat_map(|tenant| {
            let next = tenant.upstream_key_next.as_ref().map(|(_, kept_in)| kept_in);
            tenant.tokens_kept_in.iter().chain([&tenant.upstream_key_kept_in]).chain(next).filter_map(kept)
        });
        let token = self.admin.token.as_ref().and_then(|(_, kept_in)| kept(kept_in));
        let roots = self.upstream.extra_roots.as_ref().map(|roots| roots.file().to_owned());
        let identity = self.listen.tls.iter().flat_map(TlsIdentity::paths);
        tenants.chain(token).chain(roots).chain(identity).map(|path| folder.join(path)).collect()
    }
}

/// Where a listener binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// What is allowed, for messages.
    pub const EXPECTED: &'static str = "an address such as \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/run/credira-gateway.sock\" (a path of at \
         most 107 bytes)";

    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// Where callers reach the gateway.
#[derive(Debug, Clone)]
pub struct Listen {
    /// At least one.
    pub addresses: Vec<Address>,
    /// What TLS needs, if it is spoken.
    pub tls: Option<TlsIdentity>,
}

impl Listen {
    /// When the certificate that clients are shown ends; `None` without TLS.
    pub fn certificate_expiry(&self) -> Option<Timestamp> {
        self.tls.as_ref().and_then(|tls| tls.expiry)
    }
}

/// Where operators reach the gateway, and who they must be.
#[derive(Debug, Clone)]
pub struct Admin {
    /// If anywhere.
    pub address: Option<Address>,
    /// Further `Host` names.
    pub hosts: Vec<String>,
    /// The digest of the token that `/api/` asks for, and where the token was read from.
    pub token: Option<(TokenHash, KeptIn)>,
}

/// What the kernel has room for in a socket's address, less its end.
const MAX_SOCKET_PATH_BYTES: usize = 107;

impl FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.strip_prefix("unix:") {
            Some(path) if (1..=MAX_SOCKET_PATH_BYTES).contains(&path.len()) => Ok(Self::Unix(path.into())),
            Some(_) => Err(()),
            None => text.parse().map(Self::Tcp).map_err(|_| ()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => fmt::Display::fmt(address, f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to reach the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub base_url: BaseUrl,
    /// See [`super::raw::Upstream`] for this and the following.
    pub allow_plaintext: bool,
    /// Until a connection is open.
    pub connect_timeout: Duration,
    /// Until the response's head.
    pub first_byte_timeout: Duration,
    /// Until the end of everything.
    pub total_timeout: Duration,
    /// The largest body, in bytes.
    pub max_response_bytes: usize,
    /// Concurrent requests of a tenant.
    pub max_connections: usize,
    /// Waiting lookups of a tenant.
    pub max_waiting: usize,
    /// Trust roots beside the public ones.
    pub extra_roots: Option<ExtraRoots>,
    /// The proxy in between, if the environment names one for this upstream.
    pub proxy: Option<Proxy>,
    /// Retries.
    pub retry: Retry,
    /// The breaker.
    pub breaker: Breaker,
}

/// When a failed request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts, the first one included; at least 1.
    pub max_attempts: u32,
    /// 0 to 100.
    pub budget_percent: u8,
}

/// When a failing upstream is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// 1 to 100.
    pub failure_percent: u32,
    /// At least 1.
    pub min_requests: u32,
    /// What is counted.
    pub window: Duration,
    /// How long it stays open.
    pub open_for: Duration,
}

/// Scheme, host and port of the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
}

impl BaseUrl {
    /// Reads a URL that has nothing but these three.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a URL of scheme, host and port such as \"https://api.credira.com\"";
        let parts = text.parse::<Uri>().map_err(|_| EXPECTED)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(EXPECTED) };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err("expected a URL that starts with https:// or http://");
        }
        if authority.as_str().contains('@') {
            return Err("credentials do not belong into the URL; the key is `upstream_key`");
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

    /// Whether the key would cross the wire in the clear.
    pub fn is_plaintext(&self) -> bool {
        self.scheme == Scheme::HTTP
    }

    /// Whether the host can only be this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Its host.
    #[cfg(feature = "otlp")]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// Its port.
    #[cfg(feature = "otlp")]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_plaintext() { 80 } else { 443 })
    }

    /// The URL of a call.
    pub fn call(&self, id: &CallId) -> Option<Uri> {
        let path = format!("/v1/calls/{}", id.as_str());
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        uri.path_and_query(path).build().ok()
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// What may be stored, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// Bytes a tenant, unless it has its own figure.
    pub max_bytes_per_tenant: u64,
    /// Bytes an entry.
    pub max_entry_bytes: usize,
    /// `data.status` values that may be stored.
    pub cacheable_statuses: Vec<String>,
    /// Freshness of a settled call.
    pub ttl: Duration,
    /// How long a call goes on settling.
    pub settle_window: Duration,
    /// Freshness of a settling call.
    pub settle_ttl: Duration,
    /// Staleness that is served while renewing.
    pub stale_while_revalidate: Duration,
    /// Staleness that is served when the upstream fails.
    pub stale_if_error: Duration,
    /// Freshness of a remembered 404.
    pub not_found_ttl: Duration,
    /// Whether the upstream's directives count.
    pub upstream_cache_control: CacheControl,
    /// Whether clients' directives count.
    pub client_cache_control: CacheControl,
}

#[cfg(test)]
impl Cache {
    /// The policy of a configuration that says nothing of it.
    pub fn for_tests() -> Self {
        let text = format!(
            "[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"{}\"]\nupstream_key = {{ value = \"k\" }}\n",
            "0".repeat(64)
        );
        super::load_text(Path::new("g.toml"), text, &Default::default()).unwrap().settings.cache
    }
}

/// What clients may take of the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Lookups waiting for a fetch.
    pub max_in_flight: usize,
    /// Client connections.
    pub max_connections: usize,
    /// Until a head is complete.
    pub header_read_timeout: Duration,
    /// Until an idle connection is closed.
    pub idle_timeout: Duration,
    /// Bytes of a request head.
    pub max_header_bytes: usize,
    /// When rate-limit headers are sent.
    pub rate_limit_headers: RateLimitHeaders,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Their form.
    pub format: LogFormat,
    /// The least severity.
    pub level: LogLevel,
    /// Which requests get a line.
    pub access: AccessLog,
    /// Whether call IDs appear as they are.
    pub call_ids: bool,
}

/// How the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// For connections that still come.
    pub grace: Duration,
    /// For requests under way.
    pub drain_timeout: Duration,
}

/// One caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: TenantName,
    /// Digests of its tokens; at least one.
    pub token_hashes: Vec<TokenHash>,
    /// Its key.
    pub upstream_key: UpstreamKey,
    /// Where the key was read from.
    pub upstream_key_kept_in: KeptIn,
    /// The key that takes over, and where it was read from.
    pub upstream_key_next: Option<(UpstreamKey, KeptIn)>,
    /// Where the tokens were read from that the file doesn't give as digests.
    pub tokens_kept_in: Vec<KeptIn>,
    /// Bytes of its cache.
    pub cache_max_bytes: u64,
    /// Limit on its requests.
    pub rate_limit: Option<Rate>,
    /// Limit on what goes upstream for it.
    pub upstream_limit: Option<Rate>,
}

/// A bucket of `burst` cells that refills with one cell every `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Time until one more request passes: a nanosecond to a year.
    pub interval: Duration,
    /// How many may come at once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// The `w` of `RateLimit-Policy`: whole seconds from an empty bucket to a full one, rounded up.
    pub fn window_seconds(&self) -> u64 {
        let nanos = self.interval.as_nanos().saturating_mul(u128::from(self.burst.get()));
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
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
    fn a_calls_url_is_the_base_and_the_route() {
        let id = CallId::parse(b"call_7").unwrap();
        let url = BaseUrl::parse("http://127.0.0.1:81").unwrap().call(&id).unwrap();
        assert_eq!(url.to_string(), "http://127.0.0.1:81/v1/calls/call_7");
    }

    #[test]
    fn the_policys_window_is_burst_over_rate_rounded_up() {
        let window = |millis, burst| {
            Rate { interval: Duration::from_millis(millis), burst: NonZeroU32::new(burst).unwrap() }
                .window_seconds()
        };
        assert_eq!(window(10, 200), 2);
        assert_eq!(window(10, 1), 1);
        assert_eq!(window(333, 10), 4);
    }
}
