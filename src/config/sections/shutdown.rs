//! `[shutdown]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::Section;
use crate::config::units::Span;

/// How the process stops.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Shutdown")]
pub(crate) struct RawShutdown {
    /// How long connections are still accepted after SIGTERM. Readiness is already off, and answers announce
    /// that the connection closes.
    grace: Span,
    /// How long requests in progress may take after that; the rest get a 503.
    drain_timeout: Span,
}

impl Default for RawShutdown {
    fn default() -> Self {
        Self { grace: Span::seconds(0), drain_timeout: Span::seconds(30) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShutdownSettings {
    pub(crate) grace: Duration,
    pub(crate) drain_timeout: Duration,
}

impl Section for ShutdownSettings {
    type Raw = RawShutdown;
    type Effective = RawShutdown;

    fn check(raw: RawShutdown, _: &mut Checker<'_>) -> Option<Self> {
        Some(Self { grace: raw.grace.get(), drain_timeout: raw.drain_timeout.get() })
    }

    fn show(&self) -> RawShutdown {
        RawShutdown { grace: self.grace.into(), drain_timeout: self.drain_timeout.into() }
    }
}
