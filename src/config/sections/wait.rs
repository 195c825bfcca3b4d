//! `[wait]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::section::Section;
use crate::config::units::{Span, count};

/// The longest wait that may be configured.
const LONGEST: Duration = Duration::from_secs(300);

/// Lookups that wait until their call is final (`Prefer: wait=N`).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Wait")]
pub(crate) struct RawWait {
    /// The longest `Prefer: wait=N` that is honoured, at most `"5m"`; `"0s"` turns waiting off.
    max: Span,
    /// The shortest pause between two upstream requests for a call that is being waited for. Above 0.
    poll_min: Span,
    /// The longest pause between them; at least `wait.poll_min`.
    poll_max: Span,
    /// Waiting lookups of one tenant; further ones are answered at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_waiting: u32,
    /// Calls of one tenant that are polled at a time; lookups of further ones are answered at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    max_calls: u32,
}

impl Default for RawWait {
    fn default() -> Self {
        Self {
            max: Span::seconds(30),
            poll_min: Span::seconds(1),
            poll_max: Span::seconds(10),
            max_waiting: 256,
            max_calls: 64,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitSettings {
    /// Zero where waiting is off.
    pub(crate) max: Duration,
    pub(crate) poll_min: Duration,
    pub(crate) poll_max: Duration,
    pub(crate) max_waiting: usize,
    pub(crate) max_calls: usize,
}

impl Section for WaitSettings {
    type Raw = RawWait;
    type Effective = RawWait;

    fn check(raw: RawWait, checker: &mut Checker<'_>) -> Option<Self> {
        if raw.max.get() > LONGEST {
            checker.problem("wait.max", "expected a duration of at most \"5m\"");
        }
        let poll_min = checker.positive("wait.poll_min", raw.poll_min);
        if raw.poll_max < raw.poll_min {
            checker.problem("wait.poll_max", format!("expected at least wait.poll_min ({})", raw.poll_min));
        }
        Some(Self {
            max: raw.max.get(),
            poll_min,
            poll_max: raw.poll_max.get(),
            max_waiting: raw.max_waiting as usize,
            max_calls: raw.max_calls as usize,
        })
    }

    fn show(&self) -> RawWait {
        RawWait {
            max: self.max.into(),
            poll_min: self.poll_min.into(),
            poll_max: self.poll_max.into(),
            max_waiting: count(self.max_waiting),
            max_calls: count(self.max_calls),
        }
    }
}
