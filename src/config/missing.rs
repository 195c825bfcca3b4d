//! How missing secrets and certificates are treated: as errors, or skipped.

use std::fmt;

/// How a check treats what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Problem,
    /// For `check --without-secrets`. The settings then hold placeholders and must not be served.
    Skip,
}

/// Proof that something missing was skipped, so that a placeholder may replace it.
pub(crate) struct Skipped(());

impl Missing {
    pub(crate) const fn skipped(self) -> Option<Skipped> {
        match self {
            Self::Problem => None,
            Self::Skip => Some(Skipped(())),
        }
    }
}

/// Why a secret or certificate can't be used; never contains any of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// There is no such file or variable.
    Missing(String),
    Unusable(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Missing(message) | Self::Unusable(message)) = self;
        f.write_str(message)
    }
}

impl From<ReadError> for String {
    fn from(error: ReadError) -> Self {
        error.to_string()
    }
}
