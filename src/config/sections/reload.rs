//! `[reload]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::Section;
use crate::config::units::Span;

/// When the configuration is read again, beside SIGHUP and the admin API.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Reload")]
pub(crate) struct RawReload {
    /// How often the files are checked for changes; `"0s"` turns it off.
    poll: Span,
}

impl Default for RawReload {
    fn default() -> Self {
        Self { poll: Span::seconds(0) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReloadSettings {
    /// How often the files are checked for changes; `None` where they are not.
    pub(crate) poll: Option<Duration>,
}

impl Section for ReloadSettings {
    type Raw = RawReload;
    type Effective = RawReload;

    fn check(raw: RawReload, _: &mut Checker<'_>) -> Option<Self> {
        let poll = raw.poll.get();
        Some(Self { poll: (!poll.is_zero()).then_some(poll) })
    }

    fn show(&self) -> RawReload {
        RawReload { poll: self.poll.unwrap_or_default().into() }
    }
}
