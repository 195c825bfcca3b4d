/// How an upstream request ended without a usable response; values of the `code` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamFailure {
    /// No connection.
    Connect,
    /// Out of time.
    Timeout,
    /// The connection broke.
    Reset,
    /// What came was not HTTP, or too much.
    Invalid,
}

impl UpstreamFailure {
    pub(crate) const ALL: [Self; 4] = [Self::Connect, Self::Timeout, Self::Reset, Self::Invalid];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
        }
    }
}
