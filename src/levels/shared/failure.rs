//! Why the engine of the shared level can't be used. Only kinds: its own messages may contain data.

use std::fmt;

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineFailure {
    /// No connection could be made, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The user or password is wrong, or missing.
    Rejected,
    /// The user may not do what is needed.
    Forbidden,
    /// A replica, which takes no writes.
    ReadOnly,
    /// It is starting, or a part of it is out of reach.
    NotReady,
    /// It has no memory left for what is written, or refuses writes because it can't save them.
    Full,
    /// The certificate can't be verified, or the client's is refused.
    Tls,
    /// It refused the command, or answered with what is no answer.
    Protocol,
}

impl EngineFailure {
    /// For the log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection",
            Self::Timeout => "no answer in time",
            Self::Rejected => "the engine refuses shared.user or shared.password",
            Self::Forbidden => {
                "shared.user lacks a permission: docs/operations.md has the access-control list that is needed"
            }
            Self::ReadOnly => "the engine is a read-only replica",
            Self::NotReady => "the engine is loading its data, or a part of the cluster is down",
            Self::Full => "the engine takes no writes: it has no memory left, or can't save them",
            Self::Tls => "the TLS handshake failed: see shared.ca_file and the engine's certificate",
            Self::Protocol => "the engine refused a command, or its answer makes no sense",
        }
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
