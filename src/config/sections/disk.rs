//! `[disk]`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::Checker;
use crate::config::secret::{LevelKey, RawSecret, SecretSource};
use crate::config::section::{RestartKey, Section};
use crate::config::units::{Size, Span};

/// A smaller file has no room for its own journal.
pub(super) const LEAST_BYTES: u64 = 8 << 20;

/// A level on disk that outlives the process. Off without a path.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Disk")]
pub(crate) struct RawDisk {
    /// The gateway's own directory, as an absolute path; created with mode 0700 where its parent exists. One file a
    /// tenant, encrypted. Needs a restart.
    path: Option<PathBuf>,
    /// The size of each tenant's file, journal included. At least 8MiB. Lowering it empties the files that are larger.
    pub(crate) max_bytes_per_tenant: Size,
    /// How long a lookup waits for the disk, once. Above 0.
    timeout: Span,
    /// A secret of at least 32 characters, mixed into what encrypts the files. Changing it begins them anew, and needs a
    /// restart.
    key: Option<RawSecret>,
}

impl Default for RawDisk {
    fn default() -> Self {
        Self {
            path: None,
            max_bytes_per_tenant: Size::kib(256 << 10),
            timeout: Duration::from_millis(50).into(),
            key: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskSettings {
    /// `None`: there is no such level.
    pub(crate) path: Option<PathBuf>,
    /// Of tenants without a size of their own.
    max_bytes_per_tenant: u64,
    pub(crate) timeout: Duration,
    pub(crate) key: Option<LevelKey>,
    key_source: Option<SecretSource>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EffectiveDisk {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<PathBuf>,
    max_bytes_per_tenant: Size,
    timeout: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<SecretSource>,
}

impl DiskSettings {
    /// A level in this directory, with the defaults.
    #[cfg(test)]
    pub(crate) fn for_tests(path: &std::path::Path) -> Self {
        let RawDisk { max_bytes_per_tenant, timeout, .. } = RawDisk::default();
        Self {
            path: Some(path.to_owned()),
            max_bytes_per_tenant: max_bytes_per_tenant.bytes(),
            timeout: timeout.get(),
            key: None,
            key_source: None,
        }
    }
}

impl Section for DiskSettings {
    type Raw = RawDisk;
    type Effective = EffectiveDisk;

    const RESTART: &'static [RestartKey<Self>] = &[
        RestartKey { key: "disk.path", differs: |old, new| old.path != new.path },
        RestartKey { key: "disk.key", differs: |old, new| old.key != new.key },
    ];

    fn check(raw: RawDisk, checker: &mut Checker<'_>) -> Option<Self> {
        if raw.path.as_ref().is_some_and(|path| !path.is_absolute()) {
            checker.problem("disk.path", "expected an absolute path such as \"/var/lib/credira-gateway\"");
        }
        if raw.path.is_some() && !cfg!(feature = "disk") {
            checker.problem("disk.path", "this program was built without the disk level");
        }
        if raw.max_bytes_per_tenant.bytes() < LEAST_BYTES {
            checker.problem("disk.max_bytes_per_tenant", "expected a size of at least 8MiB");
        }
        let timeout = checker.positive("disk.timeout", raw.timeout);
        let key = raw.key.as_ref().and_then(|source| checker.level_key("disk.key", source));
        Some(Self {
            path: raw.path,
            max_bytes_per_tenant: raw.max_bytes_per_tenant.bytes(),
            timeout,
            key_source: raw.key.as_ref().map(SecretSource::from),
            key,
        })
    }

    fn show(&self) -> EffectiveDisk {
        EffectiveDisk {
            path: self.path.clone(),
            max_bytes_per_tenant: self.max_bytes_per_tenant.into(),
            timeout: self.timeout.into(),
            key: self.key_source.clone(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.key_source.iter().filter_map(SecretSource::file).collect()
    }
}
