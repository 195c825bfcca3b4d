//! Why the upstream is unreachable, phrased for operators. The cause's own text may contain data from the peer, so it
//! appears in debug lines only.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::resolver::NoAddress;
use super::tls_failure::TlsFailure;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    Name,
    HopRefused,
    /// No answer within the time limit.
    Silent,
    /// The proxy refused the tunnel.
    Proxy,
    /// The TLS handshake failed.
    Tls(TlsFailure),
    /// This machine is out of file descriptors or ports.
    Machine,
    /// Anything else.
    Network,
}

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Calls,
    /// Recordings and transcriptions, from the upstream or its media hosts.
    Media,
}

/// Whether connections to the upstream use a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyMode {
    /// Directly to the upstream.
    Direct,
    /// Through a `CONNECT` tunnel.
    Tunnel,
}

impl Unreachable {
    /// The meaning of this error on a connection with this proxy mode.
    pub(crate) fn of(error: &(dyn Error + 'static), through: ProxyMode) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(known) = Self::of_one(error) {
                return known;
            }
            cause = inner(error);
        }
        match through {
            ProxyMode::Direct => Self::Network,
            ProxyMode::Tunnel => Self::Proxy,
        }
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<NoAddress>() {
            return Some(Self::Name);
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::Tls(TlsFailure::of(error)));
        }
        let error = error.downcast_ref::<io::Error>()?;
        let used_up = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::HopRefused),
            io::ErrorKind::TimedOut => Some(Self::Silent),
            io::ErrorKind::UnexpectedEof => Some(Self::Tls(TlsFailure::Ended)),
            _ => error.raw_os_error().filter(|number| used_up.contains(number)).map(|_| Self::Machine),
        }
    }

    /// Logs it with advice.
    pub(crate) fn log(self, purpose: Purpose) {
        let (reason, advice) = self.words();
        match purpose {
            Purpose::Calls => tracing::warn!(reason, advice, "upstream connection failed"),
            // Which host it was for is not known here, so there is no advice.
            Purpose::Media => tracing::warn!(reason, "connection for a recording or transcription failed"),
        }
    }

    /// The reason, and the remedy.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("the host name has no address", "check upstream.base_url and the name server"),
            Self::HopRefused => {
                ("connection refused", "check upstream.base_url and whether the upstream is up")
            }
            Self::Silent => (
                "no connection within upstream.connect_timeout",
                "check firewalls, the network and whether the upstream is up",
            ),
            Self::Proxy => (
                "the proxy refused the CONNECT tunnel",
                "check HTTPS_PROXY, its credentials and the proxy's rules",
            ),
            Self::Tls(failure) => failure.words(),
            Self::Machine => (
                "no file descriptors or local ports are left on this machine",
                "raise the limit of open files (ulimit -n, LimitNOFILE=) and find what holds so many connections",
            ),
            Self::Network => ("network error", "the debug log has the exact cause"),
        }
    }
}

/// An error and all its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| inner(*error));
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// The next cause. An I/O error that wraps another hides it from `source`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

#[cfg(test)]
mod tests {
    use rustls::CertificateError;

    use super::*;

    #[test]
    fn a_chain_of_causes_is_written_to_its_end_without_repetitions() {
        let error = io::Error::other(io::Error::from(Errno::MFILE));
        assert_eq!(chain(&error), "Too many open files (os error 24)");
    }

    #[test]
    fn reasons_are_found_however_deep_they_lie() {
        let wrapped =
            |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, reason) in [
            (wrapped(CertificateError::Expired.into()), Unreachable::Tls(TlsFailure::Expired)),
            (wrapped(rustls::Error::General("x".into())), Unreachable::Tls(TlsFailure::Protocol)),
            (io::ErrorKind::UnexpectedEof.into(), Unreachable::Tls(TlsFailure::Ended)),
            (io::ErrorKind::ConnectionRefused.into(), Unreachable::HopRefused),
            (io::ErrorKind::TimedOut.into(), Unreachable::Silent),
            (io::Error::other(NoAddress(io::ErrorKind::NotFound.into())), Unreachable::Name),
            (io::ErrorKind::HostUnreachable.into(), Unreachable::Network),
            (io::Error::other(io::Error::from(Errno::MFILE)), Unreachable::Machine),
            (Errno::ADDRNOTAVAIL.into(), Unreachable::Machine),
        ] {
            assert_eq!(Unreachable::of(&error, ProxyMode::Direct), reason);
        }
        let odd = io::Error::other("tunnel error");
        assert_eq!(Unreachable::of(&odd, ProxyMode::Tunnel), Unreachable::Proxy);
    }
}
