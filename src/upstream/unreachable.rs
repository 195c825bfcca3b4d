//! Why there is no connection to the upstream, in words for operators. The cause's own words may hold
//! what the other side sent, so they are left to debug lines.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustls::CertificateError;

use super::names::NoAddress;
use crate::clock::{self, Instant};

/// Each reason is told at most once in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// It has no address.
    Name,
    /// Nobody listens there.
    Refused,
    /// It didn't answer in time.
    Silent,
    /// The proxy makes no way to it.
    Proxy,
    /// Its certificate is signed by nobody who is trusted.
    UnknownIssuer,
    /// Its certificate's time is over, or has not come.
    Expired,
    /// Its certificate is for others.
    OtherName,
    /// Its certificate is wrong in another way.
    Certificate,
    /// It speaks no TLS, or none that is still spoken.
    Tls,
    /// This machine has no files or ports left.
    Machine,
    /// Anything else.
    Network,
}

/// Whether the way to the upstream leads through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// No.
    Nobody,
    /// Yes.
    Proxy,
}

impl Unreachable {
    /// What this error means on a way through a proxy, or none.
    pub fn of(error: &(dyn Error + 'static), through: Through) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(known) = Self::of_one(error) {
                return known;
            }
            cause = inner(error);
        }
        match through {
            Through::Nobody => Self::Network,
            Through::Proxy => Self::Proxy,
        }
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if error.is::<NoAddress>() {
            return Some(Self::Name);
        }
        if let Some(rustls::Error::InvalidCertificate(error)) = error.downcast_ref() {
            return Some(match error {
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::OtherName
                }
                _ => Self::Certificate,
            });
        }
        if error.is::<rustls::Error>() {
            return Some(Self::Tls);
        }
        let error = error.downcast_ref::<io::Error>()?;
        let used_up = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            io::ErrorKind::TimedOut => Some(Self::Silent),
            _ => error.raw_os_error().filter(|number| used_up.contains(number)).map(|_| Self::Machine),
        }
    }

    /// What happened, and what to do.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Name => ("its name has no address", "check upstream.base_url and the name server"),
            Self::Refused => {
                ("nobody listens there", "check upstream.base_url and whether the upstream is up")
            }
            Self::Silent => (
                "it did not answer within upstream.connect_timeout",
                "check firewalls, the network and whether the upstream is up",
            ),
            Self::Proxy => {
                ("the proxy makes no way to it", "check HTTPS_PROXY, its credentials and its rules")
            }
            Self::UnknownIssuer => (
                "nobody who is trusted vouches for its certificate, so nothing was sent",
                "if its authority is a private one, name it in upstream.ca_file; else somebody may be in between",
            ),
            Self::Expired => (
                "its certificate has expired or is not valid yet, so nothing was sent",
                "check this machine's clock; else tell who runs the upstream",
            ),
            Self::OtherName => (
                "its certificate is for another name, so nothing was sent",
                "check upstream.base_url; else somebody may be in between",
            ),
            Self::Certificate => {
                ("its certificate is not valid, so nothing was sent", "tell who runs the upstream")
            }
            Self::Tls => (
                "it speaks no TLS, or an old one, so nothing was sent",
                "check the scheme and the port of upstream.base_url",
            ),
            Self::Machine => (
                "this machine has no files or local ports left for it",
                "raise the limit of open files (ulimit -n, LimitNOFILE=); find out what holds so many connections",
            ),
            Self::Network => ("the network failed", "the debug log has the system's own words"),
        }
    }
}

/// An error and all its causes, in the words of each.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| inner(*error));
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup();
    words.join(": ")
}

/// The next cause. An I/O error that stands for another hides it from the usual question.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
}

/// Tells why the upstream can't be reached, and doesn't repeat itself.
#[derive(Debug, Clone, Default)]
pub struct Teller(Arc<Mutex<Option<(Unreachable, Instant)>>>);

impl Teller {
    /// Tells it, unless it was told just now.
    pub fn tell(&self, why: Unreachable) {
        if self.is_news(why, clock::now()) {
            let (reason, advice) = why.words();
            tracing::warn!(reason, advice, "cannot connect to the upstream");
        }
    }

    fn is_news(&self, why: Unreachable, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|(before, at)| before == why && now.duration_since(at) < QUIET) {
            return false;
        }
        *told = Some((why, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_a_minute_and_another_at_once() {
        let (teller, now) = (Teller::default(), clock::now());
        assert!(teller.is_news(Unreachable::Refused, now));
        assert!(!teller.is_news(Unreachable::Refused, now + Duration::from_secs(59)));
        assert!(teller.is_news(Unreachable::Name, now + Duration::from_secs(59)));
        assert!(!teller.is_news(Unreachable::Name, now + Duration::from_secs(118)));
        assert!(teller.is_news(Unreachable::Name, now + Duration::from_secs(119)));
    }

    #[test]
    fn a_cause_is_told_to_its_end_and_nothing_twice() {
        let error = io::Error::other(io::Error::from(Errno::MFILE));
        assert_eq!(chain(&error), "Too many open files (os error 24)");
    }

    #[test]
    fn reasons_are_found_however_deep_they_lie() {
        let wrapped =
            |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, reason) in [
            (wrapped(CertificateError::Expired.into()), Unreachable::Expired),
            (wrapped(CertificateError::UnknownIssuer.into()), Unreachable::UnknownIssuer),
            (wrapped(CertificateError::BadSignature.into()), Unreachable::Certificate),
            (wrapped(rustls::Error::General("x".into())), Unreachable::Tls),
            (io::ErrorKind::ConnectionRefused.into(), Unreachable::Refused),
            (io::ErrorKind::TimedOut.into(), Unreachable::Silent),
            (io::Error::other(NoAddress(io::ErrorKind::NotFound.into())), Unreachable::Name),
            (io::ErrorKind::HostUnreachable.into(), Unreachable::Network),
            (io::Error::other(io::Error::from(Errno::MFILE)), Unreachable::Machine),
            (Errno::ADDRNOTAVAIL.into(), Unreachable::Machine),
        ] {
            assert_eq!(Unreachable::of(&error, Through::Nobody), reason);
        }
        let odd = io::Error::other("tunnel error");
        assert_eq!(Unreachable::of(&odd, Through::Proxy), Unreachable::Proxy);
    }
}
