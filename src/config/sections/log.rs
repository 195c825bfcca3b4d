//! `[log]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::{RestartKey, Section};

/// The log on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Log")]
pub(crate) struct LogSettings {
    /// The form of a line.
    pub(crate) format: LogFormat,
    /// The lowest severity that is written. `RUST_LOG` takes precedence.
    pub(crate) level: LogLevel,
    /// Which requests get a line.
    pub(crate) access: AccessLog,
    /// Whether call IDs are written in the clear; otherwise they appear only as a keyed hash.
    pub(crate) call_ids: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: LogLevel::Info, access: AccessLog::Errors, call_ids: false }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// Severities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    /// Nothing.
    Off,
    /// Problems that require action.
    Error,
    /// Problems that deserve attention.
    Warn,
    /// Starts, reloads, drains, and access lines.
    Info,
    /// Each upstream request's end.
    Debug,
    /// Everything.
    Trace,
}

/// Which requests get a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessLog {
    /// Every request.
    All,
    /// Those answered with a status of 400 or more.
    Errors,
    /// None.
    Off,
}

/// The schema checks everything, so one type is the raw section, the settings and what is shown.
impl Section for LogSettings {
    type Raw = Self;
    type Effective = Self;

    const RESTART: &'static [RestartKey<Self>] =
        &[RestartKey { key: "log.format", differs: |old, new| old.format != new.format }];

    fn check(raw: Self, _: &mut Checker<'_>) -> Option<Self> {
        Some(raw)
    }

    fn show(&self) -> Self {
        self.clone()
    }
}
