//! Single requests outside all limits, for `check --probe`: whether the upstream is reachable, and how it answers to
//! a key.

use bytes::Bytes;
use http::StatusCode;
use tower::{Service, ServiceExt};

use super::connector::{ConnectError, Connector};
use super::error::ExchangeError;
use super::request::{Ask, build};
use super::transport::{ExchangeDeadlines, Network, Transport};
use super::unreachable::Unreachable;
use crate::clock;
use crate::config::{UpstreamKey, UpstreamSettings};
use crate::domain::{CallId, RequestId};
use crate::message::Validators;

/// The upstream, as configured for every tenant.
pub(crate) struct Probe<'a> {
    settings: &'a UpstreamSettings,
    connector: Connector,
}

/// The upstream's answer.
#[derive(Debug)]
pub(crate) struct ProbeAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(settings: &'a UpstreamSettings) -> Result<Self, rustls::Error> {
        Ok(Self { settings, connector: Connector::new(settings)? })
    }

    /// Resolves the upstream's name, connects, and verifies its certificate. The error says why it is unreachable,
    /// and what to do.
    pub(crate) async fn reach(&self) -> Result<(), String> {
        let target = self.settings.base_url.to_string().parse().map_err(|_| "no URL".to_owned())?;
        let mut connector = self.connector.clone();
        let connecting = async { connector.ready().await?.call(target).await };
        connecting.await.map(drop).map_err(|error| {
            let reason = match error {
                ConnectError::Timeout => Unreachable::Silent,
                ConnectError::Failed(cause) => Unreachable::of(&*cause, self.connector.proxy_mode()),
            };
            let (reason, advice) = reason.words();
            format!("{reason}: {advice}")
        })
    }

    /// Requests a call. The error says why there is no answer.
    pub(crate) async fn ask(&self, call: &CallId, key: &UpstreamKey) -> Result<ProbeAnswer, &'static str> {
        let ask = Ask {
            url: self.settings.base_url.call(call),
            validators: Validators::default(),
            request_id: RequestId::from_random(fastrand::u128(..)),
            trace: None,
            passed: None,
        };
        let request = build(&ask, &ask.validators, key).ok_or("no request could be built")?;
        let end = clock::now() + self.settings.total_timeout;
        let deadlines = ExchangeDeadlines { first_byte: self.settings.first_byte_timeout, end };
        let network = Network::new(self.connector.clone(), 1);
        let exchange = async {
            let opened = network.open(request, deadlines).await?;
            let body = opened.body.read(opened.status, self.settings.max_response_bytes, end).await?;
            Ok(ProbeAnswer { status: opened.status, body })
        };
        exchange.await.map_err(words)
    }
}

/// Why there is no answer, phrased for operators.
const fn words(error: ExchangeError) -> &'static str {
    match error {
        ExchangeError::Connect => "no connection",
        ExchangeError::ConnectTimeout => "no connection within upstream.connect_timeout",
        ExchangeError::Timeout => {
            "no response within upstream.first_byte_timeout, or no end of it within upstream.total_timeout"
        }
        ExchangeError::Closed | ExchangeError::Reset => "the connection was closed before the response",
        ExchangeError::ResetInHead | ExchangeError::Truncated(_) => {
            "the connection was closed within the response"
        }
        ExchangeError::Oversized(_) => "the response is larger than upstream.max_response_bytes",
        ExchangeError::InterimFlood | ExchangeError::TooManyFields | ExchangeError::Invalid => {
            "the response is not usable HTTP"
        }
    }
}
