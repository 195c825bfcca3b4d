//! The effective configuration as it may be shown. Written from a list of what may be, not by
//! leaving out what may not: a key that nobody thought of is not shown.

use std::path::PathBuf;

use serde::Serialize;

use super::raw::{AccessLog, CacheControl, LogFormat, LogLevel, RateLimitHeaders};
use super::secret::{KeptIn, REDACTED};
use super::settings::{Rate, Settings};
use super::units::{Size, Span};

/// Every key with the value in effect, secrets redacted. Serialises to TOML or JSON in the shape
/// of the file.
#[derive(Debug, Serialize)]
pub struct Shown {
    listen: Listen,
    admin: Admin,
    upstream: Upstream,
    cache: Cache,
    limits: Limits,
    log: Log,
    shutdown: Shutdown,
    reload: Reload,
    tenants: Vec<Tenant>,
}

#[derive(Debug, Serialize)]
struct Listen {
    address: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls>,
}

#[derive(Debug, Serialize)]
struct Tls {
    cert: PathBuf,
    key: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Reload {
    poll: String,
}

#[derive(Debug, Serialize)]
struct Admin {
    address: String,
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<KeptIn>,
}

#[derive(Debug, Serialize)]
struct Upstream {
    base_url: String,
    allow_plaintext: bool,
    connect_timeout: String,
    first_byte_timeout: String,
    total_timeout: String,
    max_response_bytes: String,
    max_connections: usize,
    max_waiting: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    retry: Retry,
    breaker: Breaker,
}

#[derive(Debug, Serialize)]
struct Retry {
    max_attempts: u32,
    budget_percent: u8,
}

#[derive(Debug, Serialize)]
struct Breaker {
    failure_percent: u32,
    min_requests: u32,
    window: String,
    open_for: String,
}

#[derive(Debug, Serialize)]
struct Cache {
    max_bytes_per_tenant: String,
    max_entry_bytes: String,
    cacheable_statuses: Vec<String>,
    ttl: String,
    settle_window: String,
    settle_ttl: String,
    stale_while_revalidate: String,
    stale_if_error: String,
    not_found_ttl: String,
    upstream_cache_control: CacheControl,
    client_cache_control: CacheControl,
}

#[derive(Debug, Serialize)]
struct Limits {
    max_in_flight: usize,
    max_connections: usize,
    header_read_timeout: String,
    idle_timeout: String,
    max_header_bytes: String,
    rate_limit_headers: RateLimitHeaders,
}

#[derive(Debug, Serialize)]
struct Log {
    format: LogFormat,
    level: LogLevel,
    access: AccessLog,
    call_ids: bool,
}

#[derive(Debug, Serialize)]
struct Shutdown {
    grace: String,
    drain_timeout: String,
}

#[derive(Debug, Serialize)]
struct Tenant {
    name: String,
    token_sha256: Vec<&'static str>,
    tokens: Vec<KeptIn>,
    upstream_key: KeptIn,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_key_next: Option<KeptIn>,
    cache_max_bytes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_limit: Option<Limit>,
}

#[derive(Debug, Serialize)]
struct Limit {
    per_second: f64,
    burst: u32,
}

impl Shown {
    /// What may be shown of `settings`.
    pub fn of(settings: &Settings) -> Self {
        let Settings { listen, admin, upstream, cache, limits, log, shutdown, reload_poll, tenants } =
            settings;
        let span = |duration| Span::from(duration).to_string();
        let size = |bytes| Size::from(bytes).to_string();
        Self {
            listen: Listen {
                address: listen.addresses.iter().map(ToString::to_string).collect(),
                tls: listen.tls.as_ref().map(|identity| Tls {
                    cert: identity.files().cert.clone(),
                    key: identity.files().key.clone(),
                    client_ca: identity.files().client_ca.clone(),
                }),
            },
            admin: Admin {
                address: admin.address.as_ref().map(ToString::to_string).unwrap_or_default(),
                hosts: admin.hosts.clone(),
                token: admin.token.as_ref().map(|(_, kept_in)| kept_in.clone()),
            },
            upstream: Upstream {
                base_url: upstream.base_url.to_string(),
                allow_plaintext: upstream.allow_plaintext,
                connect_timeout: span(upstream.connect_timeout),
                first_byte_timeout: span(upstream.first_byte_timeout),
                total_timeout: span(upstream.total_timeout),
                max_response_bytes: size(upstream.max_response_bytes as u64),
                max_connections: upstream.max_connections,
                max_waiting: upstream.max_waiting,
                ca_file: upstream.extra_roots.as_ref().map(|roots| roots.file().to_owned()),
                retry: Retry {
                    max_attempts: upstream.retry.max_attempts,
                    budget_percent: upstream.retry.budget_percent,
                },
                breaker: Breaker {
                    failure_percent: upstream.breaker.failure_percent,
                    min_requests: upstream.breaker.min_requests,
                    window: span(upstream.breaker.window),
                    open_for: span(upstream.breaker.open_for),
                },
            },
            cache: Cache {
                max_bytes_per_tenant: size(cache.max_bytes_per_tenant),
                max_entry_bytes: size(cache.max_entry_bytes as u64),
                cacheable_statuses: cache.cacheable_statuses.clone(),
                ttl: span(cache.ttl),
                settle_window: span(cache.settle_window),
                settle_ttl: span(cache.settle_ttl),
                stale_while_revalidate: span(cache.stale_while_revalidate),
                stale_if_error: span(cache.stale_if_error),
                not_found_ttl: span(cache.not_found_ttl),
                upstream_cache_control: cache.upstream_cache_control,
                client_cache_control: cache.client_cache_control,
            },
            limits: Limits {
                max_in_flight: limits.max_in_flight,
                max_connections: limits.max_connections,
                header_read_timeout: span(limits.header_read_timeout),
                idle_timeout: span(limits.idle_timeout),
                max_header_bytes: size(limits.max_header_bytes as u64),
                rate_limit_headers: limits.rate_limit_headers,
            },
            log: Log { format: log.format, level: log.level, access: log.access, call_ids: log.call_ids },
            shutdown: Shutdown { grace: span(shutdown.grace), drain_timeout: span(shutdown.drain_timeout) },
            reload: Reload { poll: span(reload_poll.unwrap_or_default()) },
            tenants: tenants
                .iter()
                .map(|tenant| Tenant {
                    name: tenant.name.to_string(),
                    token_sha256: vec![REDACTED; tenant.token_hashes.len() - tenant.tokens_kept_in.len()],
                    tokens: tenant.tokens_kept_in.clone(),
                    upstream_key: tenant.upstream_key_kept_in.clone(),
                    upstream_key_next: tenant.upstream_key_next.as_ref().map(|(_, kept_in)| kept_in.clone()),
                    cache_max_bytes: size(tenant.cache_max_bytes),
                    rate_limit: tenant.rate_limit.map(limit),
                    upstream_limit: tenant.upstream_limit.map(limit),
                })
                .collect(),
        }
    }

    /// The configuration as the file would have it, in TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

fn limit(rate: Rate) -> Limit {
    Limit { per_second: 1.0 / rate.interval.as_secs_f64(), burst: rate.burst.get() }
}
