//! The source of the configuration, and the state of its files when they were last read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::config::{self, Loaded, Problems, Settings};

/// The maximum number of attempts to know all of a configuration's files before they are read.
const MOST_READINGS: usize = 3;

/// The file and the environment.
#[derive(Clone)]
pub(crate) struct ConfigSource {
    pub file: PathBuf,
    /// The environment as it was at the start.
    pub variables: BTreeMap<String, String>,
}

/// The files of a configuration at one point in time: its own, secrets and certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    digest: [u8; 32],
}

impl ConfigSource {
    /// The files that these settings were read from.
    pub(super) fn files(&self, settings: &Settings) -> Files {
        Files::look(self.paths(settings))
    }

    /// Loads the configuration. The returned files are those that the new settings name, else `known`, as they were
    /// before loading, so that no later change goes unnoticed.
    pub(super) fn load(&self, known: &Files) -> (Files, Result<Loaded, Problems>) {
        let mut files = known.again();
        for _ in 1..MOST_READINGS {
            let loaded = config::load(&self.file, &self.variables);
            match &loaded {
                Ok(Loaded { settings, .. }) if self.paths(settings) != files.paths => {
                    files = self.files(settings);
                    if !files.paths.iter().all(|path| is_regular(path)) {
                        return (files, loaded);
                    }
                }
                Ok(_) | Err(_) => return (files, loaded),
            }
        }
        (files, config::load(&self.file, &self.variables))
    }

    fn paths(&self, settings: &Settings) -> Vec<PathBuf> {
        let mut paths = settings.files(&self.file);
        paths.push(self.file.clone());
        paths
    }
}

/// Whether a file can be read repeatedly. A pipe yields its content only once.
fn is_regular(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file())
}

fn content(file: &Path) -> Option<Vec<u8>> {
    if is_regular(file) { std::fs::read(file).ok() } else { None }
}

impl Files {
    fn look(paths: Vec<PathBuf>) -> Self {
        let digest = paths.iter().fold(Sha256::new(), |digest, file| {
            let content = content(file).map(|content| Sha256::digest(&content));
            let known = content.as_ref().map_or(&[][..], |content| content.as_slice());
            // A missing file has another digest than an empty one.
            digest.chain_update([u8::from(content.is_some())]).chain_update(known)
        });
        Self { digest: digest.finalize().into(), paths }
    }

    /// The current state of the same files.
    pub(super) fn again(&self) -> Self {
        Self::look(self.paths.clone())
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn a_changed_missing_or_emptied_file_differs_and_a_pipe_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let [file, pipe] = ["file", "pipe"].map(|name| folder.path().join(name));
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let missing = Files::look(vec![file.clone(), pipe]);
        std::fs::write(&file, "").unwrap();
        let empty = missing.again();
        std::fs::write(&file, "x").unwrap();
        let written = missing.again();
        assert!(missing != empty && empty != written && missing != written);
        assert_eq!(written, written.again());
    }

    #[test]
    fn files_are_those_of_the_settings_that_were_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.toml");
        let write = |key: &str| {
            std::fs::write(folder.path().join(key), "k").unwrap();
            let text = format!(
                "[[tenants]]\nname = \"a\"\ntoken_sha256 = [\"{}\"]\nupstream_key = {{ file = \"{key}\" }}\n",
                "0".repeat(64)
            );
            std::fs::write(&file, text).unwrap();
        };
        let source = ConfigSource { file: file.clone(), variables: BTreeMap::new() };
        write("first");
        let (first, loaded) = source.load(&Files::look(vec![file.clone()]));
        assert_eq!(first.paths, [folder.path().join("first"), file.clone()]);
        assert!(loaded.is_ok());
        write("moved");
        let (moved, _) = source.load(&first);
        assert_eq!(moved.paths, [folder.path().join("moved"), file.clone()]);
        std::fs::write(&file, "[cache\n").unwrap();
        let (broken, loaded) = source.load(&moved);
        assert!(loaded.is_err() && broken.paths == moved.paths && broken != moved);
    }
}
