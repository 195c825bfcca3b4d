//! TLS material: certificates and keys, read from PEM files and checked against each other.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{RootCertStore, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_cert::certificate::{CertificateInner, Rfc5280};
use x509_cert::der::Decode;

use super::checker::Checker;
use super::missing::{ReadError, Skipped};

/// The files of a TLS listener, PEM.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tls")]
pub(crate) struct RawTls {
    /// The certificate, followed by the intermediate ones.
    cert: PathBuf,
    /// Its private key.
    key: PathBuf,
    /// Turns on mutual TLS: clients need a certificate that one of these authorities issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<PathBuf>,
}

impl RawTls {
    /// The paths as the configuration has them.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().cloned()
    }
}

/// The certificate of a TLS listener, and its requirements for clients.
#[derive(Clone)]
pub(crate) struct TlsIdentity {
    files: Arc<RawTls>,
    /// The certificate chain with its key.
    pub(crate) certified: Arc<CertifiedKey>,
    /// The roots of clients' certificates, if clients must have one.
    pub(crate) client_roots: Option<Arc<RootCertStore>>,
    /// When the first certificate of the chain expires; `None` if that can't be read.
    pub(crate) expiry: Option<Timestamp>,
}

/// Which key of the table is wrong, and why.
type TlsProblem = (&'static str, ReadError);

impl TlsIdentity {
    /// Reads the files of the table at `key`.
    pub(crate) fn check(key: &str, files: RawTls, checker: &mut Checker<'_>) -> Option<Self> {
        let folder = checker.secrets.folder;
        checker.warn_if_everyone_may_read(&format!("{key}.key"), &folder.join(&files.key));
        let identity = match Self::read(&files, folder) {
            Ok(identity) => identity,
            Err((name, error)) => {
                let skipped = checker.skip_missing(&format!("{key}.{name}"), error)?;
                Self::placeholder(files, skipped)
            }
        };
        if let Some(expiry) = identity.expiry.filter(|expiry| *expiry <= checker.machine.now) {
            checker.warn(
                &format!("{key}.cert"),
                format!("the certificate expired at {expiry}, so clients refuse it: renew it and reload"),
            );
        }
        Some(identity)
    }

    /// Reads the files; relative paths start at `folder`.
    fn read(files: &RawTls, folder: &Path) -> Result<Self, TlsProblem> {
        let at = |path: &PathBuf| folder.join(path);
        let chain = certificates(&at(&files.cert)).map_err(|error| ("cert", error))?;
        let key_file = at(&files.key);
        let key = PrivateKeyDer::from_pem_file(&key_file)
            .map_err(|error| ("key", pem_error("a private key", &key_file, error)))?;
        let expiry = chain.iter().filter_map(end).min();
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                ("key", ReadError::Unusable("does not belong to the certificate".to_owned()))
            }
            error => ("cert", ReadError::Unusable(format!("cannot be used: {error}"))),
        })?;
        let client_roots = match &files.client_ca {
            Some(file) => Some(roots(&at(file)).map_err(|error| ("client_ca", error))?.into()),
            None => None,
        };
        Ok(Self { files: Arc::new(files.clone()), certified: Arc::new(certified), client_roots, expiry })
    }

    /// Replaces files that are missing and were skipped. Such a configuration is never served.
    fn placeholder(files: RawTls, _: Skipped) -> Self {
        let certified = Arc::new(CertifiedKey::new(Vec::new(), Arc::new(NoKey)));
        Self { files: Arc::new(files), certified, client_roots: None, expiry: None }
    }

    /// The files that it was read from.
    pub(crate) fn files(&self) -> &RawTls {
        &self.files
    }
}

/// Signs nothing.
#[derive(Debug)]
struct NoKey;

impl SigningKey for NoKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        None
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

/// Shows no key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsIdentity({})", self.files.cert.display())
    }
}

/// Trust roots beside the public ones.
#[derive(Debug, Clone)]
pub(crate) struct ExtraRoots {
    file: PathBuf,
    pub(crate) roots: Arc<RootCertStore>,
}

impl ExtraRoots {
    /// Reads the certificates of the file that is named at `key`.
    pub(crate) fn check(key: &str, file: &Path, checker: &mut Checker<'_>) -> Option<Self> {
        match Self::read(file, checker.secrets.folder) {
            Ok(roots) => Some(roots),
            Err(error) => {
                let _skipped = checker.skip_missing(key, error)?;
                Some(Self { file: file.into(), roots: Arc::new(RootCertStore::empty()) })
            }
        }
    }

    /// Reads the certificates in a file; a relative path starts at `folder`.
    pub(crate) fn read(file: &Path, folder: &Path) -> Result<Self, ReadError> {
        Ok(Self { file: file.into(), roots: Arc::new(roots(&folder.join(file))?) })
    }

    /// As the configuration has it.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }
}

/// Equal where they trust the same certificates.
impl PartialEq for ExtraRoots {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
    }
}

impl Eq for ExtraRoots {}

fn pem_error(what: &str, file: &Path, error: pem::Error) -> ReadError {
    let message = format!("cannot read {what} from {}: {error}", file.display());
    match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => ReadError::Missing(message),
        _ => ReadError::Unusable(message),
    }
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ReadError> {
    let failed = |error| pem_error("certificates", file, error);
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() {
        return Err(ReadError::Unusable(format!("{} has no certificate", file.display())));
    }
    Ok(chain)
}

/// A certificate's `notAfter`. `None` for one that TLS accepts although this parser can't read it.
fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = CertificateInner::<Rfc5280>::from_der(certificate).ok()?;
    let seconds = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn roots(file: &Path) -> Result<RootCertStore, ReadError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            let message = format!("{} has a certificate that can't be a root: {error}", file.display());
            ReadError::Unusable(message)
        })?;
    }
    Ok(roots)
}
