//! Why a TLS handshake with the upstream failed, with a reason and a remedy for each cause that operators encounter.
//! The certificate is verified before the request, and the key in it, is sent.

use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TlsFailure {
    UnknownIssuer,
    /// The server presents an authority's certificate as its own, as created by `openssl req -x509`.
    AuthorityAsServer,
    Expired,
    NotYetValid,
    OtherName,
    Revoked,
    WrongPurpose,
    /// Its key or signature algorithm isn't supported.
    Algorithm,
    /// The certificate is invalid in another way.
    Certificate,
    NoTls,
    OldVersion,
    /// The two sides share no TLS version, cipher suite or signature algorithm.
    NothingInCommon,
    /// The server doesn't know the host name.
    UnknownHost,
    /// The server requires a client certificate.
    ClientCertificate,
    /// The connection ended during the handshake.
    Ended,
    /// Another alert, or another protocol violation.
    Protocol,
}

impl TlsFailure {
    pub(super) fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::of_certificate(error),
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NoTls,
            rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            )
            | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => Self::OldVersion,
            rustls::Error::PeerIncompatible(_)
            | rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
            ) => Self::NothingInCommon,
            rustls::Error::AlertReceived(AlertDescription::UnrecognisedName) => Self::UnknownHost,
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::AccessDenied,
            ) => Self::ClientCertificate,
            _ => Self::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::OtherName
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Algorithm,
            CertificateError::Other(other) => match other.0.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::AuthorityAsServer,
                Some(_) | None => Self::Certificate,
            },
            _ => Self::Certificate,
        }
    }

    /// The reason, and the remedy.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownIssuer => (
                "certificate not issued by a trusted CA; no request was sent",
                "if the upstream has a private CA, name it in upstream.ca_file; else the connection may be \
                 intercepted",
            ),
            Self::AuthorityAsServer => (
                "the server certificate is itself a CA certificate (basicConstraints CA:TRUE), as self-signed \
                 ones often are; no request was sent",
                "issue a server certificate with CA:FALSE and name its issuer in upstream.ca_file",
            ),
            Self::Expired => (
                "certificate has expired; no request was sent",
                "check this machine's clock; else the upstream's operator must renew the certificate",
            ),
            Self::NotYetValid => (
                "certificate is not valid yet; no request was sent",
                "check this machine's clock, which may be behind; else the upstream's operator must correct it",
            ),
            Self::OtherName => (
                "certificate is for another host name; no request was sent",
                "check the host in upstream.base_url; else the connection may be intercepted",
            ),
            Self::Revoked => (
                "certificate was revoked; no request was sent",
                "the upstream's operator must replace the certificate",
            ),
            Self::WrongPurpose => (
                "certificate is not meant for servers; no request was sent",
                "the upstream's operator must issue one with the extended key usage serverAuth",
            ),
            Self::Algorithm => (
                "certificate uses a key or signature algorithm that is not supported; no request was sent",
                "the upstream's operator must use RSA, ECDSA with P-256 or P-384, or Ed25519",
            ),
            Self::Certificate => (
                "certificate is malformed or invalid; no request was sent",
                "the upstream's operator must replace it; the debug log has the exact cause",
            ),
            Self::NoTls => (
                "the port does not speak TLS; no request was sent",
                "check scheme and port of upstream.base_url",
            ),
            Self::OldVersion => (
                "the server speaks no TLS newer than 1.1; no request was sent",
                "the upstream, or the proxy before it, must offer TLS 1.2 or 1.3",
            ),
            Self::NothingInCommon => (
                "server and gateway share no TLS cipher or signature algorithm; no request was sent",
                "the upstream must offer a common cipher suite, and a certificate with RSA, ECDSA P-256 or \
                 P-384, or Ed25519 (P-521 is not supported)",
            ),
            Self::UnknownHost => (
                "the server has no host of this name; no request was sent",
                "check the host in upstream.base_url",
            ),
            Self::ClientCertificate => (
                "the server demands a client certificate, or rejected one; no request was sent",
                "upstream.base_url must be a host that authenticates by API key alone",
            ),
            Self::Ended => (
                "connection closed during the TLS handshake; no request was sent",
                "check scheme and port of upstream.base_url, and firewalls or proxies in between",
            ),
            Self::Protocol => (
                "the TLS handshake failed; no request was sent",
                "check scheme and port of upstream.base_url; the debug log has the exact cause",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::OtherError;

    use super::*;

    #[test]
    fn each_cause_that_rustls_names_has_its_own_reason() {
        let authority = OtherError(Arc::new(webpki::Error::CaUsedAsEndEntity));
        for (error, failure) in [
            (CertificateError::UnknownIssuer.into(), TlsFailure::UnknownIssuer),
            (CertificateError::Other(authority).into(), TlsFailure::AuthorityAsServer),
            (CertificateError::Expired.into(), TlsFailure::Expired),
            (CertificateError::NotValidYet.into(), TlsFailure::NotYetValid),
            (CertificateError::NotValidForName.into(), TlsFailure::OtherName),
            (CertificateError::Revoked.into(), TlsFailure::Revoked),
            (CertificateError::InvalidPurpose.into(), TlsFailure::WrongPurpose),
            (CertificateError::BadSignature.into(), TlsFailure::Certificate),
            (rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), TlsFailure::NoTls),
            (rustls::Error::AlertReceived(AlertDescription::ProtocolVersion), TlsFailure::OldVersion),
            (rustls::Error::AlertReceived(AlertDescription::HandshakeFailure), TlsFailure::NothingInCommon),
            (rustls::Error::AlertReceived(AlertDescription::UnrecognisedName), TlsFailure::UnknownHost),
            (
                rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
                TlsFailure::ClientCertificate,
            ),
            (rustls::Error::General("x".into()), TlsFailure::Protocol),
        ] {
            assert_eq!(TlsFailure::of(&error), failure, "{error:?}");
        }
    }
}
