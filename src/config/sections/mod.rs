//! The sections of the configuration file: one file in this folder and one line of the table below for each. A list
//! of tables is a section, too. Everything about the configuration as a whole is generated from the table.

mod admin;
mod cache;
mod disk;
mod limits;
mod listen;
mod log;
mod media;
mod passthrough;
mod reload;
mod shared;
mod shutdown;
mod tenants;
mod upstream;
mod wait;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checker::Checker;
use super::section::Section;

pub(crate) use admin::AdminSettings;
pub(crate) use cache::{CacheControl, CacheSettings};
pub(crate) use disk::DiskSettings;
pub(crate) use limits::{LimitSettings, RateLimitHeaders};
pub(crate) use listen::ListenSettings;
pub(crate) use log::{AccessLog, LogFormat, LogLevel, LogSettings};
pub(crate) use media::MediaSettings;
pub(crate) use passthrough::PassthroughSettings;
pub(crate) use reload::ReloadSettings;
pub(crate) use shared::{EngineLogin, EngineMode, EngineSettings, SharedSettings};
pub(crate) use shutdown::ShutdownSettings;
pub(crate) use tenants::TenantSettings;
pub(crate) use upstream::{BreakerSettings, UpstreamSettings};
pub(crate) use wait::WaitSettings;

macro_rules! sections {
    ($($name:ident: $section:ty,)+) => {
        /// Configuration of credira-gateway.
        ///
        /// Every scalar key can be overridden by an environment variable named after its path, with two
        /// underscores between levels: `CREDIRA_GATEWAY__CACHE__TTL=1h`. An entry of a list of tables is
        /// named by its place, counted from 0: `CREDIRA_GATEWAY__TENANTS__0__CACHE_MAX_BYTES=1GiB`.
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(title = "credira-gateway")]
        pub(crate) struct RawConfig {
            $(pub(crate) $name: <$section as Section>::Raw,)+
        }

        /// A checked configuration: every value valid, every default filled in, every secret read.
        #[derive(Debug, Clone)]
        pub(crate) struct Settings {
            $(pub(crate) $name: $section,)+
        }

        /// The checked sections; `None` is one whose problems leave no settings.
        #[derive(Debug)]
        pub(crate) struct Sections {
            $(pub(crate) $name: Option<$section>,)+
        }

        /// Every key with the value in effect, secrets redacted. Serialises to TOML or JSON in the shape of
        /// the file.
        #[derive(Debug, Serialize)]
        pub(crate) struct EffectiveConfig {
            $($name: <$section as Section>::Effective,)+
        }

        impl Sections {
            /// Checks every section by itself.
            pub(crate) fn check(raw: RawConfig, checker: &mut Checker<'_>) -> Self {
                Self { $($name: Section::check(raw.$name, checker),)+ }
            }

            /// The settings, if every section has its own.
            pub(crate) fn complete(self) -> Option<Settings> {
                Some(Settings { $($name: self.$name?,)+ })
            }
        }

        impl EffectiveConfig {
            /// The part of `settings` that may be shown.
            pub(crate) fn of(settings: &Settings) -> Self {
                Self { $($name: settings.$name.show(),)+ }
            }
        }

        impl Settings {
            /// The files beside `file` itself that the configuration was read from: secrets and
            /// certificates. Relative paths start at the folder of `file`.
            pub(crate) fn files(&self, file: &Path) -> Vec<PathBuf> {
                let folder = file.parent().unwrap_or(Path::new(""));
                let files = [$(self.$name.files(),)+];
                files.iter().flatten().map(|path| folder.join(path)).collect()
            }
        }

        /// The keys that differ and that a running process can't change.
        pub(crate) fn needs_restart(old: &Settings, new: &Settings) -> Vec<&'static str> {
            let mut keys = Vec::new();
            $(for fixed in <$section as Section>::RESTART {
                if (fixed.differs)(&old.$name, &new.$name) {
                    keys.push(fixed.key);
                }
            })+
            keys
        }

        /// The keys that a running process can't change.
        #[cfg(test)]
        pub(crate) fn restart_keys() -> Vec<&'static str> {
            let mut keys = Vec::new();
            $(keys.extend(<$section as Section>::RESTART.iter().map(|fixed| fixed.key));)+
            keys
        }

        /// The names of the sections, in the order of the example.
        #[cfg(test)]
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name),)+];
    };
}

sections! {
    listen: ListenSettings,
    admin: AdminSettings,
    upstream: UpstreamSettings,
    cache: CacheSettings,
    disk: DiskSettings,
    shared: SharedSettings,
    wait: WaitSettings,
    media: MediaSettings,
    limits: LimitSettings,
    log: LogSettings,
    shutdown: ShutdownSettings,
    reload: ReloadSettings,
    tenants: Vec<TenantSettings>,
    passthrough: Vec<PassthroughSettings>,
}

impl Settings {
    /// When the first of the certificates presented to clients expires; `None` without TLS.
    pub(crate) fn certificate_expiry(&self) -> Option<Timestamp> {
        let identities = [&self.listen.tls, &self.admin.tls];
        identities.into_iter().flatten().filter_map(|identity| identity.expiry).min()
    }
}

impl EffectiveConfig {
    /// The configuration as the file would have it, in TOML.
    pub(crate) fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}
