//! Certificates for the engine of the shared level.

use std::fmt;
use std::path::{Path, PathBuf};

use super::checker::Checker;
use super::missing::ReadError;
use super::secret::{EngineSecret, RawSecret};
use super::tls::{ExtraRoots, certificates};

/// The roots that the engine's certificate is verified with, and the gateway's own certificate; PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineIdentity {
    /// The certificates that sign the engine's; without them, the public ones do.
    pub(crate) roots: Option<Vec<u8>>,
    /// The gateway's certificate, and its key.
    pub(crate) client: Option<(Vec<u8>, EngineSecret)>,
}

impl EngineIdentity {
    /// Reads the files of `shared.ca_file`, which was checked, and of `shared.client_cert` and `shared.client_key`.
    pub(super) fn check(
        roots: Option<&ExtraRoots>,
        client: (Option<&PathBuf>, Option<&PathBuf>),
        checker: &mut Checker<'_>,
    ) -> Self {
        let read = |file: &PathBuf| std::fs::read(checker.secrets.folder.join(file)).ok();
        let roots = roots.and_then(|roots| read(&roots.file().to_owned()));
        let client = match client {
            (None, None) => None,
            (Some(cert), Some(key)) => Self::client(cert, key, checker),
            (Some(_), None) => {
                checker.problem("shared.client_key", "required with shared.client_cert");
                None
            }
            (None, Some(_)) => {
                checker.problem("shared.client_cert", "required with shared.client_key");
                None
            }
        };
        Self { roots, client }
    }

    fn client(cert: &Path, key: &Path, checker: &mut Checker<'_>) -> Option<(Vec<u8>, EngineSecret)> {
        let file = checker.secrets.folder.join(cert);
        let chain = certificates(&file).and_then(|_| {
            let unread = |error: std::io::Error| ReadError::Unusable(error.to_string());
            std::fs::read(&file).map_err(unread)
        });
        let chain = match chain {
            Ok(chain) => chain,
            Err(error) => {
                let _skipped = checker.skip_missing("shared.client_cert", error)?;
                return None;
            }
        };
        Some((chain, checker.engine_secret("shared.client_key", &RawSecret::File(key.to_owned()))?))
    }
}

/// Shows no key.
impl fmt::Debug for EngineIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (has_roots, has_client) = (self.roots.is_some(), self.client.is_some());
        write!(f, "EngineIdentity(roots: {has_roots}, client: {has_client})")
    }
}
