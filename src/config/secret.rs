//! Secrets: where they are read from, and the types that keep them from being shown.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::raw::Secret as Source;
use crate::domain::TokenHash;

/// The largest secret file that is read.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A tenant's key for the upstream, ready to be sent. It has no `Display`, and the header value is
/// marked sensitive, so that neither logs nor HTTP/2's header compression tables keep it.
#[derive(Clone)]
pub struct UpstreamKey {
    authorization: HeaderValue,
    identity: TokenHash,
}

impl UpstreamKey {
    /// Takes a key of visible ASCII characters.
    fn new(secret: &SecretString) -> Result<Self, &'static str> {
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

    /// The value of the upstream request's `Authorization`.
    pub fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }
}

/// Two keys are equal when their digests are.
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

/// What is written in place of a secret.
pub const REDACTED: &str = "***";

/// Where a secret is kept, which may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptIn {
    /// This environment variable.
    Env(String),
    /// This file.
    File(PathBuf),
    /// The configuration file; holds [`REDACTED`] in its place.
    Value(&'static str),
}

impl From<&Source> for KeptIn {
    fn from(source: &Source) -> Self {
        match source {
            Source::Env(name) => Self::Env(name.clone()),
            Source::File(path) => Self::File(path.clone()),
            Source::Value(_) => Self::Value(REDACTED),
        }
    }
}

/// Reads secrets from where the configuration says they are.
pub struct SecretReader<'a> {
    /// The environment.
    pub variables: &'a BTreeMap<String, String>,
    /// Where relative paths start.
    pub folder: &'a Path,
}

impl SecretReader<'_> {
    /// Reads a secret; the error says what is wrong without a word of the content.
    pub fn read(&self, source: &Source) -> Result<SecretString, String> {
        let secret = match source {
            Source::Env(name) => match self.variables.get(name) {
                Some(value) => SecretString::from(value.as_str()),
                None => return Err(format!("the environment variable {name} is not set")),
            },
            Source::File(path) => {
                let path = self.folder.join(path);
                read_file(&path).map_err(|why| format!("cannot read {}: {why}", path.display()))?
            }
            Source::Value(value) => SecretString::from(value.as_str()),
        };
        let trimmed = secret.expose_secret().trim_end_matches(['\n', '\r']);
        if trimmed.is_empty() { Err("the secret is empty".into()) } else { Ok(SecretString::from(trimmed)) }
    }

    /// Reads an upstream key.
    pub fn upstream_key(&self, source: &Source) -> Result<UpstreamKey, String> {
        UpstreamKey::new(&self.read(source)?).map_err(String::from)
    }
}

/// Reads a secret from a file, a trailing newline trimmed.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let reader = SecretReader { variables: &BTreeMap::new(), folder: Path::new("") };
    reader.read(&Source::File(path.into()))
}

fn read_file(path: &Path) -> Result<SecretString, String> {
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = Read::by_ref(&mut file).take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    let secret = SecretString::from(text);
    match read {
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => {
            Err(format!("larger than {} KiB", MAX_FILE_BYTES >> 10))
        }
        Ok(_) => Ok(secret),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<'a>(variables: &'a BTreeMap<String, String>, folder: &'a Path) -> SecretReader<'a> {
        SecretReader { variables, folder }
    }

    #[test]
    fn a_trailing_newline_is_trimmed_wherever_the_secret_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "from-file\r\n").unwrap();
        let variables = BTreeMap::from([("KEY".to_owned(), "from-env\n".to_owned())]);
        let reader = reader(&variables, folder.path());
        let read = |source| reader.read(&source).unwrap().expose_secret().to_owned();
        assert_eq!(read(Source::File("key".into())), "from-file");
        assert_eq!(read(Source::Env("KEY".into())), "from-env");
        assert_eq!(read(Source::Value("inline\n".into())), "inline");
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_there_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("big"), "x".repeat(70_000)).unwrap();
        let variables = BTreeMap::new();
        let reader = reader(&variables, folder.path());
        let error = |source| reader.read(&source).unwrap_err();
        assert_eq!(error(Source::Env("NO_SUCH".into())), "the environment variable NO_SUCH is not set");
        assert!(error(Source::File("none".into())).contains("none"));
        assert!(error(Source::File("big".into())).contains("larger than 64 KiB"));
        assert_eq!(error(Source::Value("\n".into())), "the secret is empty");
        let spaced = reader.upstream_key(&Source::Value("hunter 2".into())).unwrap_err();
        assert!(!spaced.contains("hunter"));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let variables = BTreeMap::new();
        let key = reader(&variables, Path::new("")).upstream_key(&Source::Value("hunter2".into())).unwrap();
        let shown = format!("{key:?} {:?} {:?}", key.authorization(), Source::Value("hunter2".into()));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
