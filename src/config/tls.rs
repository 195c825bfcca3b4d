//! TLS material: certificates and keys read from PEM files, and held against each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::certificate::{CertificateInner, Rfc5280};
use x509_cert::der::Decode;

use super::raw::Tls as Files;

/// What a TLS listener shows and asks for.
#[derive(Clone)]
pub struct TlsIdentity {
    files: Arc<Files>,
    /// The certificate chain with its key.
    pub certified: Arc<CertifiedKey>,
    /// The roots of clients' certificates, if clients must have one.
    pub client_roots: Option<Arc<RootCertStore>>,
    /// When the first certificate of the chain ends; `None` if that can't be read.
    pub expiry: Option<Timestamp>,
}

/// Which key of `listen.tls` is wrong, and how.
pub type TlsProblem = (&'static str, String);

impl TlsIdentity {
    /// Reads the files; relative paths start at `folder`.
    pub fn read(files: &Files, folder: &Path) -> Result<Self, TlsProblem> {
        let at = |path: &PathBuf| folder.join(path);
        let chain = certificates(&at(&files.cert)).map_err(|message| ("cert", message))?;
        let key_file = at(&files.key);
        let key = PrivateKeyDer::from_pem_file(&key_file).map_err(|error| {
            ("key", format!("cannot read a private key from {}: {error}", key_file.display()))
        })?;
        let expiry = chain.iter().filter_map(end).min();
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => ("key", "does not belong to the certificate".to_owned()),
            error => ("cert", format!("cannot be used: {error}")),
        })?;
        let client_roots = match &files.client_ca {
            Some(file) => Some(roots(&at(file)).map_err(|message| ("client_ca", message))?.into()),
            None => None,
        };
        let files = Arc::new(Files {
            cert: files.cert.clone(),
            key: files.key.clone(),
            client_ca: files.client_ca.clone(),
        });
        Ok(Self { files, certified: Arc::new(certified), client_roots, expiry })
    }

    /// The paths of its files, as the configuration has them.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let Files { cert, key, client_ca } = &*self.files;
        [Some(cert), Some(key), client_ca.as_ref()].into_iter().flatten().cloned()
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> &Files {
        &self.files
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
pub struct ExtraRoots {
    file: PathBuf,
    /// The roots.
    pub roots: Arc<RootCertStore>,
}

impl ExtraRoots {
    /// Reads the certificates in a file; a relative path starts at `folder`.
    pub fn read(file: &Path, folder: &Path) -> Result<Self, String> {
        Ok(Self { file: file.into(), roots: Arc::new(roots(&folder.join(file))?) })
    }

    /// The path of the file that they were read from, as the configuration has it.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// Equal when they trust the same.
impl PartialEq for ExtraRoots {
    fn eq(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
    }
}

impl Eq for ExtraRoots {}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: rustls_pki_types::pem::Error| {
        format!("cannot read certificates from {}: {error}", file.display())
    };
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err(format!("{} has no certificate", file.display())) } else { Ok(chain) }
}

/// A certificate's `notAfter`. What TLS can use and this can't read is served all the same.
fn end(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = CertificateInner::<Rfc5280>::from_der(certificate).ok()?;
    let seconds = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

fn roots(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added
            .map_err(|error| format!("{} has a certificate that can't be a root: {error}", file.display()))?;
    }
    Ok(roots)
}
