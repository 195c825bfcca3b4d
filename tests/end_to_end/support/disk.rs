//! A disk level that several gateways use in turn.

use std::path::PathBuf;

use super::gateway::{Config, Gateway};
use super::{Upstream, eventually};

/// A directory in which gateways keep a level.
pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// The level's own directory, which the gateway creates.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("level")
    }

    /// The file of a tenant.
    pub(crate) fn file(&self, tenant: &str) -> PathBuf {
        self.path().join(format!("{tenant}.calls"))
    }

    /// The smallest configuration with this level.
    pub(crate) fn config(&self) -> Config {
        self.config_with("")
    }

    /// The same, with further lines of the section.
    pub(crate) fn config_with(&self, lines: &str) -> Config {
        self.added_to(Config::default()).with("disk", lines)
    }

    /// A configuration with this level added.
    pub(crate) fn added_to(&self, config: Config) -> Config {
        // A busy machine's disk is given time.
        let path = self.path().display().to_string();
        config.with("disk", &format!("path = \"{path}\"\ntimeout = \"10s\""))
    }

    /// Every byte of the level, and of its files' names.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in std::fs::read_dir(self.path()).into_iter().flatten().flatten() {
            bytes.extend_from_slice(entry.file_name().as_encoded_bytes());
            bytes.extend(std::fs::read(entry.path()).unwrap_or_default());
        }
        bytes
    }

    /// The bytes that the level occupies now.
    pub(crate) fn size(&self) -> u64 {
        let entries = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
    }
}

impl Gateway {
    /// The lookups of `alpha` that asked its disk with this result.
    pub(crate) fn recalls(&self, result: &str) -> f64 {
        self.metric(&format!("level_requests_total{{level=\"disk\",result=\"{result}\",tenant=\"alpha\"}}"))
    }

    /// Waits until this many entries of `alpha` were written.
    pub(crate) fn wait_for_written(&self, entries: usize) {
        let series = "level_writes_total{level=\"disk\",result=\"stored\",tenant=\"alpha\"}";
        eventually("entries are written to disk", || self.metric(series) >= entries as f64);
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.wait();
        assert!(status.success(), "{status}");
    }
}

/// Starts a gateway that keeps this level, has it store calls, and stops it.
pub(crate) fn warm(config: &Config, upstream: &Upstream, calls: &[&str]) {
    let gateway = config.clone().start(upstream);
    for id in calls {
        assert_eq!(gateway.get(id).status, 200, "{id}");
    }
    gateway.wait_for_written(calls.len());
    gateway.stop();
}
