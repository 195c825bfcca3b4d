/// Why an upstream request was followed by another one for the same fetch; the label on a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RepeatReason {
    /// It failed in a way that another attempt may avoid.
    Retry,
    /// 408 or 421 on a reused connection: caused by the connection, not by the call.
    HopStatus,
    /// The upstream had closed the pooled connection before it processed the request.
    ClosedConnection,
    /// 401: the tenant's other key was tried.
    NextKey,
    /// A 304 about another version than the stored one: the whole call was asked for.
    OtherVersion,
    /// An answer about another call on a reused connection.
    MixUp,
}

impl RepeatReason {
    /// Every reason.
    pub(crate) const ALL: [Self; 6] = [
        Self::Retry,
        Self::HopStatus,
        Self::ClosedConnection,
        Self::NextKey,
        Self::OtherVersion,
        Self::MixUp,
    ];

    /// The value of the label `reason`.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::HopStatus => "hop-status",
            Self::ClosedConnection => "closed-connection",
            Self::NextKey => "next-key",
            Self::OtherVersion => "other-version",
            Self::MixUp => "mix-up",
        }
    }
}
