//! `[upstream]`.

mod breaker;
mod retry;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use breaker::BreakerSettings;
pub(crate) use retry::RetrySettings;

use self::breaker::RawBreaker;
use self::retry::RawRetry;
use crate::config::base_url::BaseUrl;
use crate::config::checker::Checker;
use crate::config::problem::{ConfigProblem, ValueOrigin};
use crate::config::proxy::{InvalidProxy, Proxy};
use crate::config::section::Section;
use crate::config::tls::ExtraRoots;
use crate::config::units::{Size, Span, count};

/// How the Credira API is reached, and how long it may take.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(crate) struct RawUpstream {
    /// Scheme, host and port. A path is refused: `/v1` is part of the route.
    base_url: String,
    /// Whether `http://` is accepted for a host that isn't loopback. The upstream keys then cross the network
    /// unencrypted.
    allow_plaintext: bool,
    /// How long it may take to open a connection, TLS included. Above 0.
    connect_timeout: Span,
    /// How long the response's head may take once the request is sent. Above 0.
    first_byte_timeout: Span,
    /// How long the whole exchange may take, waiting for a connection and retries included, and so how long
    /// a caller waits at most. Above 0.
    total_timeout: Span,
    /// The largest response that is read, from 1B to 1GiB; a larger one becomes a 502.
    max_response_bytes: Size,
    /// Concurrent requests, and so connections, per tenant: each tenant has its own.
    #[schemars(range(min = 1, max = 65536))]
    max_connections: u32,
    /// Lookups of one tenant that may wait for a fetch; further ones get a 503.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_waiting: u32,
    /// Trust roots beside the public ones, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    /// When a failed request is retried.
    retry: RawRetry,
    /// When requests to a failing upstream stop for a while.
    breaker: RawBreaker,
}

impl Default for RawUpstream {
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
            retry: RawRetry::default(),
            breaker: RawBreaker::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpstreamSettings {
    pub(crate) base_url: BaseUrl,
    pub(crate) allow_plaintext: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) max_response_bytes: usize,
    /// Per tenant.
    pub(crate) max_connections: usize,
    /// Per tenant.
    pub(crate) max_waiting: usize,
    /// Trust roots beside the public ones.
    pub(crate) extra_roots: Option<ExtraRoots>,
    /// The proxy that the environment names for this upstream.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) retry: RetrySettings,
    pub(crate) breaker: BreakerSettings,
}

impl Section for UpstreamSettings {
    type Raw = RawUpstream;
    type Effective = RawUpstream;

    fn check(raw: RawUpstream, checker: &mut Checker<'_>) -> Option<Self> {
        let base_url = checker.take("upstream.base_url", BaseUrl::parse(&raw.base_url));
        let open = base_url.as_ref().is_some_and(|url| url.is_plaintext() && !url.is_loopback());
        if open && raw.allow_plaintext {
            checker.warn("upstream.base_url", "http:// sends the upstream keys unencrypted");
        } else if open {
            let message = "http:// would send the upstream keys unencrypted: use https://, or set \
                           upstream.allow_plaintext = true";
            checker.problem("upstream.base_url", message);
        }
        let ca_file = raw.ca_file.as_ref();
        let extra_roots = ca_file.and_then(|file| ExtraRoots::check("upstream.ca_file", file, checker));
        let proxy = base_url.as_ref().and_then(|url| proxy(url, checker));
        let connect_timeout = checker.positive("upstream.connect_timeout", raw.connect_timeout);
        let first_byte_timeout = checker.positive("upstream.first_byte_timeout", raw.first_byte_timeout);
        let total_timeout = checker.positive("upstream.total_timeout", raw.total_timeout);
        let total = ("upstream.total_timeout", total_timeout);
        checker.warn_longer(("upstream.connect_timeout", connect_timeout), total);
        checker.warn_longer(("upstream.first_byte_timeout", first_byte_timeout), total);
        let max_response_bytes = checker.allocation("upstream.max_response_bytes", raw.max_response_bytes);
        let breaker = BreakerSettings::check(&raw.breaker, checker);
        Some(Self {
            base_url: base_url?,
            allow_plaintext: raw.allow_plaintext,
            connect_timeout,
            first_byte_timeout,
            total_timeout,
            max_response_bytes,
            max_connections: raw.max_connections as usize,
            max_waiting: raw.max_waiting as usize,
            extra_roots,
            proxy,
            retry: RetrySettings::from(&raw.retry),
            breaker,
        })
    }

    fn show(&self) -> RawUpstream {
        RawUpstream {
            base_url: self.base_url.to_string(),
            allow_plaintext: self.allow_plaintext,
            connect_timeout: self.connect_timeout.into(),
            first_byte_timeout: self.first_byte_timeout.into(),
            total_timeout: self.total_timeout.into(),
            max_response_bytes: self.max_response_bytes.into(),
            max_connections: count(self.max_connections),
            max_waiting: count(self.max_waiting),
            ca_file: self.extra_roots.as_ref().map(|roots| roots.file().to_owned()),
            retry: self.retry.show(),
            breaker: self.breaker.show(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.extra_roots.iter().map(|roots| roots.file().to_owned()).collect()
    }
}

/// The proxy that the environment names for this upstream.
fn proxy(url: &BaseUrl, checker: &mut Checker<'_>) -> Option<Proxy> {
    match Proxy::for_upstream(url, checker.secrets.variables) {
        Ok(proxy) => proxy,
        Err(InvalidProxy { variable }) => {
            let message = "expected the URL of an HTTP proxy such as \"http://proxy.internal:3128\"".into();
            checker.note(ConfigProblem {
                origin: ValueOrigin::Variable(variable),
                key: String::new(),
                message,
            });
            None
        }
    }
}
