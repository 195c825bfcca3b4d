//! Shared by the checks of all sections: the list of problems and warnings, and the reader of secrets. Knows no
//! section.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::document::Document;
use super::missing::{Missing, ReadError, Skipped};
use super::problem::ConfigProblem;
use super::secret::{EngineSecret, LevelKey, RawSecret, SecretReader, SecretSource, UpstreamKey};
use super::units::{Size, Span};
use crate::domain::{MAX_TOKEN_CHARS, MIN_TOKEN_CHARS, TokenHash, is_token68};

/// The results of a check.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Make the configuration unusable.
    pub(crate) problems: Vec<ConfigProblem>,
    /// Risks of a configuration that can be used.
    pub(crate) warnings: Vec<String>,
    /// Secrets and certificates that are missing and were skipped.
    pub(crate) skipped: Vec<String>,
}

/// Values of other sections that apply to tenants without their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TenantDefaults {
    /// `cache.max_bytes_per_tenant`.
    pub(crate) cache_max_bytes: Size,
    /// `disk.max_bytes_per_tenant`.
    pub(crate) disk_max_bytes: Size,
}

/// The machine that the configuration is checked on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    pub(crate) now: Timestamp,
    /// The memory that this process may use, if it is limited.
    pub(crate) memory_limit: Option<u64>,
}

/// Collects what the checks find. A check continues after a problem, so that all are reported at once.
pub(crate) struct Checker<'a> {
    document: &'a Document,
    /// Reads secrets; knows the folder in which relative paths start.
    pub(crate) secrets: &'a SecretReader<'a>,
    pub(crate) inherited: TenantDefaults,
    pub(crate) machine: Machine,
    missing: Missing,
    /// The environment variables that the file reads secrets from.
    secret_variables: BTreeSet<String>,
    findings: Findings,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(
        document: &'a Document,
        secrets: &'a SecretReader<'a>,
        inherited: TenantDefaults,
        machine: Machine,
        missing: Missing,
    ) -> Self {
        let (secret_variables, findings) = (BTreeSet::new(), Findings::default());
        Self { document, secrets, inherited, machine, missing, secret_variables, findings }
    }

    pub(crate) fn finish(self) -> Findings {
        self.findings
    }

    /// Notes a problem at `key`, or at the innermost table that contains it.
    pub(crate) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let origin = self.document.origin(key);
        self.note(ConfigProblem { origin, key: key.into(), message: message.into() });
    }

    /// Notes a problem without a key.
    pub(crate) fn note(&mut self, problem: ConfigProblem) {
        self.findings.problems.push(problem);
    }

    /// Notes a risk at `key`, or of an environment variable.
    pub(crate) fn warn(&mut self, key: &str, message: impl AsRef<str>) {
        self.findings.warnings.push(format!("{key}: {}", message.as_ref()));
    }

    /// Notes why a secret or certificate can't be used. `None` where that is a problem.
    pub(crate) fn skip_missing(&mut self, key: &str, error: ReadError) -> Option<Skipped> {
        match (error, self.missing.skipped()) {
            (ReadError::Missing(message), Some(skipped)) => {
                self.findings.skipped.push(format!("{key}: {message}"));
                Some(skipped)
            }
            (ReadError::Missing(message), None) | (ReadError::Unusable(message), _) => {
                self.problem(key, message);
                None
            }
        }
    }

    /// The value; an error is noted under `key`.
    pub(crate) fn take<T, E: Into<String>>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|message| self.problem(key, message)).ok()
    }

    /// A duration above 0.
    pub(crate) fn positive(&mut self, key: &str, span: Span) -> Duration {
        if span.get().is_zero() {
            self.problem(key, "expected a duration above 0");
        }
        span.get()
    }

    /// A size that fits one allocation: 1 byte to 1 GiB.
    pub(crate) fn allocation(&mut self, key: &str, size: Size) -> usize {
        if !(1..=1 << 30).contains(&size.bytes()) {
            self.problem(key, "expected a size from 1B to 1GiB");
        }
        usize::try_from(size.bytes()).unwrap_or(usize::MAX)
    }

    /// Warns if a duration is longer than another one that cuts it short.
    pub(crate) fn warn_longer(&mut self, (key, length): (&str, Duration), (other, limit): (&str, Duration)) {
        if length > limit {
            let [length, limit] = [length, limit].map(Span::from);
            self.warn(key, format!("{length} is longer than {other} ({limit}), so it has no effect"));
        }
    }

    /// An upstream key, and where it was read from.
    pub(crate) fn upstream_key(
        &mut self,
        key: &str,
        source: &RawSecret,
    ) -> Option<(UpstreamKey, SecretSource)> {
        let upstream_key = match self.secret(key, source)? {
            Ok(secret) => self.take(key, UpstreamKey::new(&secret))?,
            Err(skipped) => UpstreamKey::placeholder(skipped),
        };
        Some((upstream_key, SecretSource::from(source)))
    }

    pub(crate) fn level_key(&mut self, key: &str, source: &RawSecret) -> Option<LevelKey> {
        match self.secret(key, source)? {
            Ok(secret) => self.take(key, LevelKey::new(secret)),
            // Such a configuration is never served.
            Err(_skipped) => None,
        }
    }

    /// A password, or a private key, for the engine of the shared level.
    pub(crate) fn engine_secret(&mut self, key: &str, source: &RawSecret) -> Option<EngineSecret> {
        // Without a skipped one, nothing is served.
        self.secret(key, source)?.ok().map(EngineSecret::new)
    }

    /// The digest of a token that is kept as a secret.
    pub(crate) fn token(&mut self, key: &str, source: &RawSecret) -> Option<TokenHash> {
        let token = match self.secret(key, source)? {
            Ok(token) => token,
            // A distinct digest for each key, so that no two count as the same token.
            Err(_skipped) => return Some(TokenHash::of(key.as_bytes())),
        };
        let bytes = token.expose_secret().as_bytes();
        if !(MIN_TOKEN_CHARS..=MAX_TOKEN_CHARS).contains(&bytes.len()) || !is_token68(bytes) {
            let message = format!(
                "expected a token of {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} letters, digits and -._~+/ \
                 (`credira-gateway token new` makes one)"
            );
            self.problem(key, message);
        }
        Some(TokenHash::of(bytes))
    }

    /// The secret, or [`Skipped`] if it is missing. `None` if there is a problem with it.
    fn secret(&mut self, key: &str, source: &RawSecret) -> Option<Result<SecretString, Skipped>> {
        match source {
            RawSecret::Env(name) => {
                self.secret_variables.insert(name.clone());
            }
            RawSecret::File(path) => self.warn_if_everyone_may_read(key, &self.secrets.folder.join(path)),
            RawSecret::Value(_) => {
                let advice = "use { env = \"…\" } or { file = \"…\" } outside of tests";
                self.warn(key, format!("the secret is written in the configuration file itself; {advice}"));
            }
        }
        match self.secrets.read(source) {
            Ok(secret) => Some(Ok(secret)),
            Err(error) => self.skip_missing(key, error).map(Err),
        }
    }

    /// Warns about a secret file that every user of this machine may read.
    pub(crate) fn warn_if_everyone_may_read(&mut self, key: &str, file: &Path) {
        let mode = std::fs::metadata(file).map(|metadata| metadata.permissions().mode() & 0o777);
        if let Ok(mode) = mode
            && mode & 0o004 != 0
        {
            let file = file.display();
            self.warn(
                key,
                format!("{file} has mode {mode:04o}, so every user may read it: chmod o-r {file}"),
            );
        }
    }

    /// Whether the file reads a secret from this environment variable.
    pub(crate) fn reads_secret_from(&self, variable: &str) -> bool {
        self.secret_variables.contains(variable)
    }
}

/// The entries of a list that have the right kind, each with its index. `None` marks one of the wrong kind, which has
/// been reported already.
pub(crate) fn well_formed<T>(list: &[Option<T>]) -> impl Iterator<Item = (usize, &T)> {
    list.iter().enumerate().filter_map(|(place, entry)| entry.as_ref().map(|entry| (place, entry)))
}
