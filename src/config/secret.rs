//! Secrets: where they are read from, and the types that keep them from being shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::HeaderValue;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::missing::{ReadError, Skipped};
use crate::domain::TokenHash;

/// The largest secret file that is read.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// Where a secret is read from: exactly one of the three. A trailing newline is trimmed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[schemars(rename = "Secret")]
pub(crate) enum RawSecret {
    /// An environment variable.
    Env(String),
    /// A file; a relative path starts at the configuration file's folder.
    File(PathBuf),
    /// The secret itself, for tests and demos; `check` warns about it.
    Value(String),
}

/// Shows where the secret comes from and never the secret.
impl fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "Env({name})"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Value(_) => f.write_str("Value(***)"),
        }
    }
}

/// A tenant's key for the upstream, ready to be sent. It has no `Display`, and the header value is marked
/// sensitive, so that neither logs nor HTTP/2's header compression tables hold it.
#[derive(Clone)]
pub(crate) struct UpstreamKey {
    authorization: HeaderValue,
    identity: TokenHash,
}

impl UpstreamKey {
    /// Takes a key of visible ASCII characters.
    pub(crate) fn new(secret: &SecretString) -> Result<Self, &'static str> {
        let key = secret.expose_secret();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("expected a key of visible ASCII characters");
        }
        let text = SecretString::from(format!("Bearer {key}"));
        let mut authorization =
            HeaderValue::from_str(text.expose_secret()).map_err(|_| "not a header value")?;
        authorization.set_sensitive(true);
        Ok(Self { authorization, identity: TokenHash::of(key.as_bytes()) })
    }

    /// Replaces a key that is missing and was skipped. Such a configuration is never served.
    pub(crate) fn placeholder(_: Skipped) -> Self {
        let authorization = HeaderValue::from_static("Bearer -");
        Self { authorization, identity: TokenHash::of(b"-") }
    }

    /// The value of the upstream request's `Authorization`.
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }
}

/// Keys are equal if their digests are.
impl PartialEq for UpstreamKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for UpstreamKey {}

impl fmt::Debug for UpstreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamKey(***)")
    }
}

/// The fewest characters of a level's key.
const LEAST_LEVEL_KEY: usize = 32;

/// A level's own key, mixed into what seals its entries.
#[derive(Clone)]
pub(crate) struct LevelKey {
    secret: SecretString,
    identity: TokenHash,
}

impl LevelKey {
    /// Takes a key that is long enough.
    pub(crate) fn new(secret: SecretString) -> Result<Self, &'static str> {
        if secret.expose_secret().chars().count() < LEAST_LEVEL_KEY {
            return Err("expected a key of at least 32 characters (`openssl rand -hex 32` makes one)");
        }
        Ok(Self { identity: TokenHash::of(secret.expose_secret().as_bytes()), secret })
    }

    /// The key itself, to derive others from.
    pub(crate) fn expose(&self) -> &[u8] {
        self.secret.expose_secret().as_bytes()
    }

    /// A key of any length.
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self { secret: text.into(), identity: TokenHash::of(text.as_bytes()) }
    }
}

/// Equal where the digests are.
impl PartialEq for LevelKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for LevelKey {}

impl fmt::Debug for LevelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LevelKey(***)")
    }
}

/// What a client of the shared level's engine shows to be let in: a password, or the key of its certificate.
#[derive(Clone)]
pub(crate) struct EngineSecret {
    secret: SecretString,
    identity: TokenHash,
}

impl EngineSecret {
    pub(crate) fn new(secret: SecretString) -> Self {
        Self { identity: TokenHash::of(secret.expose_secret().as_bytes()), secret }
    }

    pub(crate) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }
}

/// Equal where the digests are.
impl PartialEq for EngineSecret {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for EngineSecret {}

impl fmt::Debug for EngineSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EngineSecret(***)")
    }
}

/// Shown in place of a secret.
pub(crate) const REDACTED: &str = "***";

/// Where a secret was read from, which may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    File(PathBuf),
    /// The configuration file itself; holds [`REDACTED`].
    Value(&'static str),
}

impl SecretSource {
    /// The file that it was read from, if there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Env(_) | Self::Value(_) => None,
        }
    }
}

impl From<&RawSecret> for SecretSource {
    fn from(source: &RawSecret) -> Self {
        match source {
            RawSecret::Env(name) => Self::Env(name.clone()),
            RawSecret::File(path) => Self::File(path.clone()),
            RawSecret::Value(_) => Self::Value(REDACTED),
        }
    }
}

/// Reads secrets from where the configuration says.
pub(crate) struct SecretReader<'a> {
    /// The environment.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Where relative paths start.
    pub(crate) folder: &'a Path,
}

impl SecretReader<'_> {
    pub(crate) fn read(&self, source: &RawSecret) -> Result<SecretString, ReadError> {
        let secret = match source {
            RawSecret::Env(name) => match self.variables.get(name) {
                Some(value) => SecretString::from(value.as_str()),
                None => {
                    let message = format!("the environment variable {name} is not set");
                    return Err(ReadError::Missing(message));
                }
            },
            RawSecret::File(path) => {
                let path = self.folder.join(path);
                read_file(&path)?
            }
            RawSecret::Value(value) => SecretString::from(value.as_str()),
        };
        let trimmed = secret.expose_secret().trim_end_matches(['\n', '\r']);
        if trimmed.is_empty() {
            return Err(ReadError::Unusable("the secret is empty".into()));
        }
        Ok(SecretString::from(trimmed))
    }
}

/// Reads a secret from a file, a trailing newline trimmed.
pub(crate) fn read_secret_file(path: &Path) -> Result<SecretString, ReadError> {
    let reader = SecretReader { variables: &BTreeMap::new(), folder: Path::new("") };
    reader.read(&RawSecret::File(path.into()))
}

fn read_file(path: &Path) -> Result<SecretString, ReadError> {
    let failed = |why: &str| format!("cannot read {}: {why}", path.display());
    let of_io = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ReadError::Missing(failed(&error.to_string())),
        _ => ReadError::Unusable(failed(&error.to_string())),
    };
    let mut file = std::fs::File::open(path).map_err(of_io)?;
    let mut text = String::new();
    let read = Read::by_ref(&mut file).take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    let secret = SecretString::from(text);
    match read {
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => {
            Err(ReadError::Unusable(failed(&format!("larger than {} KiB", MAX_FILE_BYTES >> 10))))
        }
        Ok(_) => Ok(secret),
        Err(error) => Err(of_io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(variables: &'a BTreeMap<String, String>, folder: &'a Path) -> SecretReader<'a> {
        SecretReader { variables, folder }
    }

    #[test]
    fn a_trailing_newline_of_a_secret_is_trimmed_from_every_source() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "from-file\r\n").unwrap();
        let variables = BTreeMap::from([("KEY".to_owned(), "from-env\n".to_owned())]);
        let reader = reader(&variables, folder.path());
        let read = |source| reader.read(&source).unwrap().expose_secret().to_owned();
        assert_eq!(read(RawSecret::File("key".into())), "from-file");
        assert_eq!(read(RawSecret::Env("KEY".into())), "from-env");
        assert_eq!(read(RawSecret::Value("inline\n".into())), "inline");
    }

    #[test]
    fn a_missing_secret_is_named_and_an_unusable_one_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("big"), "x".repeat(70_000)).unwrap();
        let variables = BTreeMap::new();
        let reader = reader(&variables, folder.path());
        let error = |source| reader.read(&source).unwrap_err().to_string();
        assert_eq!(error(RawSecret::Env("NO_SUCH".into())), "the environment variable NO_SUCH is not set");
        assert!(error(RawSecret::File("none".into())).contains("none"));
        assert!(error(RawSecret::File("big".into())).contains("larger than 64 KiB"));
        assert_eq!(error(RawSecret::Value("\n".into())), "the secret is empty");
        let spaced = UpstreamKey::new(&SecretString::from("hunter 2")).unwrap_err();
        assert!(!spaced.contains("hunter"));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = UpstreamKey::new(&SecretString::from("hunter2")).unwrap();
        let shown = format!("{key:?} {:?} {:?}", key.authorization(), RawSecret::Value("hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
