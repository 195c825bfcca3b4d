//! The file as it is written, key by key: the one place where a key and its description stand; its
//! default is in [`super::defaults`]. The JSON Schema, the reference, the names of environment overrides
//! and the check for unknown keys are all made from these types.
//!
//! In lists, and in the entries of lists, `None` is what was wrong and is reported already, so that the
//! rest can still be checked.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::units::{Size, Span};

/// Configuration of credira-gateway.
///
/// Every scalar key can be overridden by an environment variable named after its path, with two
/// underscores between levels: `CREDIRA_GATEWAY__CACHE__TTL=1h`. An entry of a list of tables is
/// named by its place, counted from 0: `CREDIRA_GATEWAY__TENANTS__0__CACHE_MAX_BYTES=1GiB`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "credira-gateway")]
pub struct Config {
    /// Where callers reach the gateway.
    pub listen: Listen,
    /// Where operators reach it: metrics, health, the admin API and the dashboard.
    pub admin: Admin,
    /// The Credira API, and how patient to be with it.
    pub upstream: Upstream,
    /// What may be stored, and for how long.
    pub cache: Cache,
    /// What clients may take of the process.
    pub limits: Limits,
    /// Logs, on standard error.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// When the configuration is read again.
    pub reload: Reload,
    /// The callers, each with a token, an upstream key and a world of its own. At least one.
    #[schemars(with = "Vec<Tenant>")]
    pub tenants: Vec<Option<Tenant>>,
}

/// Where callers reach the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// `IP:PORT` or `unix:PATH`, or a list of several. Port 0 takes a free port, which the log names.
    pub address: OneOrMore,
    /// Speaks TLS on all of them. To turn it on or off needs a restart.
    pub tls: Option<Tls>,
}

/// Files of a TLS listener, PEM. They are read again on reload.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, with those between it and its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates whose clients are let in: turns on mutual TLS.
    pub client_ca: Option<PathBuf>,
}

/// One address or a list of them.
#[derive(Debug, Clone, Deserialize, serde::Serialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// A single address.
    One(String),
    /// Several.
    More(#[schemars(with = "Vec<String>")] Vec<Option<String>>),
}

/// Where operators reach the gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// `IP:PORT` or `unix:PATH` of metrics, health, admin API and dashboard; `""` turns them off.
    pub address: String,
    /// Further `Host` names under which `/` and `/api/` may be asked, beside IP addresses and
    /// `localhost`: a browser must not be led here under another name.
    #[schemars(with = "Vec<String>")]
    pub hosts: Vec<Option<String>>,
    /// The bearer token that `/api/` asks for, of at least 32 characters. Without one, `/api/`
    /// answers only where `admin.address` is loopback or a Unix socket.
    pub token: Option<Secret>,
}

/// The Credira API, and how patient to be with it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Scheme, host and port. A path is refused: `/v1` is part of the route.
    pub base_url: String,
    /// Whether `http://` is accepted for a host that isn't loopback. The upstream key then crosses
    /// the network in the clear.
    pub allow_plaintext: bool,
    /// From the start of connecting to an open connection, TLS included. Above 0.
    pub connect_timeout: Span,
    /// From the request sent to the response's head. Above 0.
    pub first_byte_timeout: Span,
    /// The whole exchange, waiting for a connection and retries included; also how long a caller waits.
    /// Above 0.
    pub total_timeout: Span,
    /// The largest answer that is read, from 1B to 1GiB; a larger one is a 502.
    pub max_response_bytes: Size,
    /// Concurrent requests, so at most this many connections. Each tenant has its own.
    #[schemars(range(min = 1, max = 65536))]
    pub max_connections: u32,
    /// Lookups of one tenant that may wait for a fetch; one more is a 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_waiting: u32,
    /// Trust roots beside the public ones, PEM.
    pub ca_file: Option<PathBuf>,
    /// When a failed request is repeated.
    pub retry: Retry,
    /// When a failing upstream is left alone.
    pub breaker: Breaker,
}

/// When a failed upstream request is repeated: refused or reset connections, 502, 503, 504.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts, the first one included.
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// Retries may add at most this share of load, but always one a second.
    #[schemars(range(min = 0, max = 100))]
    pub budget_percent: u32,
}

/// When a failing upstream is left alone for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// The share of failures (no connection, timeout, broken connection, 5xx) that opens it.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: u32,
    /// Below this many requests in the window it stays closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: u32,
    /// The time over which requests are counted. Above 0.
    pub window: Span,
    /// How long it stays open before a probe is let through. Above 0.
    pub open_for: Span,
}

/// What may be stored, and for how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// The size of each tenant's cache; keys, headers and bookkeeping are counted in. Above 0. To change
    /// it empties the caches that it is the size of.
    pub max_bytes_per_tenant: Size,
    /// The largest answer that is stored, its headers counted in, from 1B to 1GiB.
    pub max_entry_bytes: Size,
    /// The values of `data.status` that may be stored: calls that no longer change. Where a reload takes one away, the caches begin anew.
    #[schemars(with = "Vec<String>")]
    pub cacheable_statuses: Vec<Option<String>>,
    /// How long a settled call is fresh when the upstream doesn't say.
    pub ttl: Span,
    /// A call whose `updated_time` (else `end_time`) is younger than this is still settling.
    pub settle_window: Span,
    /// How long a settling call is fresh. With stale-while-revalidate it is served no more than twice
    /// this long.
    pub settle_ttl: Span,
    /// How long a stale call is served at once while it is renewed in the background.
    pub stale_while_revalidate: Span,
    /// How long a stale call is served when the upstream fails.
    pub stale_if_error: Span,
    /// How long the upstream's word that there is no such call is remembered; `"0s"`: not at all.
    pub not_found_ttl: Span,
    /// Whether the upstream's `Cache-Control`, `Expires` and `Age` count, and go before the policy above.
    pub upstream_cache_control: CacheControl,
    /// Whether clients' `Cache-Control` and `Pragma` count.
    pub client_cache_control: CacheControl,
}

/// Whether somebody's cache headers count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheControl {
    /// They count.
    Honor,
    /// They don't.
    Ignore,
}

/// What clients may take of the process.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Lookups waiting for a fetch, all tenants together; one more is a 503. Hits are not counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_in_flight: u32,
    /// Client connections; further ones wait to be accepted. Fewer, with a warning, where the limit of open
    /// files has no room for so many.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// From the first byte of a request to the end of its head, and from a new connection to its
    /// first request. Above 0.
    pub header_read_timeout: Span,
    /// How long a connection may do nothing, and how long a client may take no byte of an answer. Above
    /// 0.
    pub idle_timeout: Span,
    /// The largest request head, from 8KiB to 1MiB; a larger one, or one of more than 64 fields, is a 431.
    pub max_header_bytes: Size,
    /// When `RateLimit` and `RateLimit-Policy` are sent.
    pub rate_limit_headers: RateLimitHeaders,
}

/// When the rate-limit headers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimitHeaders {
    /// On every answer after the tenant's limit.
    Always,
    /// Only on a 429 of that limit.
    OnRefusal,
    /// Never.
    Off,
}

/// Logs, on standard error.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// The least severity that is written. `RUST_LOG` wins over it.
    pub level: LogLevel,
    /// Which requests get a line.
    pub access: AccessLog,
    /// Whether call IDs are written as they are; else only as a keyed hash.
    pub call_ids: bool,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs a person.
    Error,
    /// What may need one.
    Warn,
    /// What happens once: start, reload, drain; and access lines.
    Info,
    /// Each upstream request's end.
    Debug,
    /// All there is.
    Trace,
}

/// Which requests get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Every request.
    All,
    /// Those answered with a status of 400 or more.
    Errors,
    /// None.
    Off,
}

/// How the process ends.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long connections are still taken after SIGTERM, while readiness already says no and answers
    /// tell their clients that the connection ends.
    pub grace: Span,
    /// How long requests under way may take after SIGTERM.
    pub drain_timeout: Span,
}

/// When the configuration is read again, beside SIGHUP and the admin API.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// How often the files are looked at for changes; `"0s"`: never.
    pub poll: Span,
}

/// One caller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// `[a-z0-9-]{1,63}`; the label on metrics.
    #[schemars(with = "String")]
    pub name: Option<String>,
    /// SHA-256 digests of the tenant's gateway tokens, 64 hexadecimal digits each. Several make a
    /// rotation without downtime. `token new` prints a token with its digest.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub token_sha256: Vec<Option<String>>,
    /// Gateway tokens themselves, as secrets of at least 32 characters.
    #[serde(default)]
    #[schemars(with = "Vec<Secret>")]
    pub tokens: Vec<Option<Secret>>,
    /// The key that the upstream knows this tenant by.
    #[schemars(with = "Secret")]
    pub upstream_key: Option<Secret>,
    /// Another key of the same account: tried when the upstream answers 401 to `upstream_key`, and
    /// used from then on if it works.
    pub upstream_key_next: Option<Secret>,
    /// The size of this tenant's cache, instead of `cache.max_bytes_per_tenant`. Above 0. To change it
    /// empties the cache.
    pub cache_max_bytes: Option<Size>,
    /// A limit on every request of the tenant. Without it there is none.
    pub rate_limit: Option<Rate>,
    /// A limit on what goes upstream for the tenant. Without it there is none.
    pub upstream_limit: Option<Rate>,
}

/// A rate: a bucket of `burst` requests that refills with `per_second` (or `per_minute`).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests per second; may be a fraction.
    pub per_second: Option<f64>,
    /// Requests per minute; instead of `per_second`.
    pub per_minute: Option<f64>,
    /// How many may come at once. Default: one second's worth, at least 1.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub burst: Option<u32>,
}

/// Where a secret is read from: exactly one of the three. A trailing newline is trimmed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Secret {
    /// An environment variable.
    Env(String),
    /// A file; a relative path starts at the configuration file's folder.
    File(PathBuf),
    /// The secret itself. For tests and demos: `check` warns of it.
    Value(String),
}

/// Says where the secret comes from, never what it is.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Env(name) => write!(f, "Env({name})"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Value(_) => f.write_str("Value(***)"),
        }
    }
}
