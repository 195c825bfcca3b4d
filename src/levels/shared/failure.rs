//! Why the engine of the shared level can't be used. Only kinds: its own messages may contain data.

use std::fmt;

/// Why the engine did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineFailure {
    /// No connection could be made, or it broke.
    Unreachable,
    /// Nothing listens there.
    Refused,
    /// Its host name has no address.
    NoAddress,
    /// There is no Unix socket.
    NoSocket,
    /// The Unix socket may not be used.
    NoAccess,
    /// The sentinels know no such engine.
    UnknownName,
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
    /// Its certificate can't be verified.
    Certificate,
    /// No TLS connection could be made for another reason, such as the client's certificate.
    Tls,
    /// It refused the command, or answered with what is no answer.
    Protocol,
}

impl EngineFailure {
    /// For the log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "no connection, or it was closed: see shared.urls, and whether the port speaks TLS"
            }
            Self::Refused => "connection refused: nothing listens at shared.urls",
            Self::NoAddress => "the host name in shared.urls has no address",
            Self::NoSocket => "there is no Unix socket at the path in shared.urls",
            Self::NoAccess => "this user has no permission for the Unix socket in shared.urls",
            Self::UnknownName => "the sentinels know no primary named shared.sentinel_master",
            Self::Timeout => "no answer in time",
            Self::Rejected => "the engine refuses shared.user or shared.password",
            Self::Forbidden => {
                "shared.user lacks a permission: docs/operations.md has the access-control list that is needed"
            }
            Self::ReadOnly => "the engine is a read-only replica",
            Self::NotReady => "the engine is loading its data, or a part of the cluster is down",
            Self::Full => {
                "the engine takes no writes: it has no memory left, can't save them, or has too few replicas"
            }
            Self::Certificate => {
                "the engine's certificate is not trusted, has expired, or is for another name: see shared.ca_file"
            }
            Self::Tls => {
                "the TLS handshake failed: see whether the port speaks TLS, and asks for shared.client_cert"
            }
            Self::Protocol => "the engine refused a command, or its answer makes no sense",
        }
    }
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
