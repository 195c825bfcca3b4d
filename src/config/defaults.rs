//! What a key is when the file doesn't have it.

use super::raw::{
    AccessLog, Admin, Breaker, Cache, CacheControl, Limits, Listen, Log, LogFormat, LogLevel, OneOrMore,
    RateLimitHeaders, Reload, Retry, Shutdown, Upstream,
};
use super::units::{Size, Span};

impl Default for Listen {
    fn default() -> Self {
        Self { address: OneOrMore::One("127.0.0.1:8080".into()), tls: None }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: "127.0.0.1:9090".into(), hosts: Vec::new(), token: None }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            base_url: "https://api.credira.com".into(),
            allow_plaintext: false,
            connect_timeout: Span::seconds(2),
            first_byte_timeout: Span::seconds(5),
            total_timeout: Span::seconds(10),
            max_response_bytes: Size::kib(4 << 10),
            max_connections: 64,
            max_waiting: 1024,
            ca_file: None,
            retry: Retry::default(),
            breaker: Breaker::default(),
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 2, budget_percent: 20 }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failure_percent: 50, min_requests: 20, window: Span::seconds(10), open_for: Span::seconds(5) }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            max_bytes_per_tenant: Size::kib(64 << 10),
            max_entry_bytes: Size::kib(1 << 10),
            cacheable_statuses: vec![Some("completed".into())],
            ttl: Span::seconds(24 * 3600),
            settle_window: Span::seconds(600),
            settle_ttl: Span::seconds(30),
            stale_while_revalidate: Span::seconds(300),
            stale_if_error: Span::seconds(24 * 3600),
            not_found_ttl: Span::seconds(5),
            upstream_cache_control: CacheControl::Honor,
            client_cache_control: CacheControl::Honor,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_in_flight: 4096,
            max_connections: 4096,
            header_read_timeout: Span::seconds(5),
            idle_timeout: Span::seconds(60),
            max_header_bytes: Size::kib(16),
            rate_limit_headers: RateLimitHeaders::Always,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info, access: AccessLog::Errors, call_ids: false }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: Span::seconds(0), drain_timeout: Span::seconds(30) }
    }
}

impl Default for Reload {
    fn default() -> Self {
        Self { poll: Span::seconds(0) }
    }
}
