//! How waits for a final call end.

/// How a wait ended; the `end` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The call is final.
    Final,
    /// The time was up.
    Time,
    /// The client left.
    Gone,
    /// With an error: one that further waiting would not change, or the last failure.
    Error,
    Drain,
    Reload,
    /// It never began, because the limit of waits was reached.
    Full,
}

impl WaitEnd {
    pub(crate) const ALL: [Self; 7] =
        [Self::Final, Self::Time, Self::Gone, Self::Error, Self::Drain, Self::Reload, Self::Full];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Time => "time",
            Self::Gone => "gone",
            Self::Error => "error",
            Self::Drain => "drain",
            Self::Reload => "reload",
            Self::Full => "full",
        }
    }
}
