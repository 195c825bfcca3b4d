//! From a file's bytes to checked [`Settings`]. The type changes as the configuration becomes trustworthy: text, a
//! [`document::Document`] whose values know their locations, the raw sections as written in the file, and
//! [`Settings`] in which every value is valid.
//!
//! `sections/` has one file per section with everything about it; a new section is one more file and a line of
//! the table in `sections/mod.rs`. All problems of a file are found at once. Doesn't know what the settings are
//! used for.

mod address;
mod admin_access;
mod base_url;
mod checker;
mod document;
mod engine_identity;
mod engine_url;
mod media_host;
mod memory_limit;
mod missing;
mod parse;
mod problem;
mod proxy;
mod rate;
#[cfg(test)]
mod reference;
mod relations;
mod schema;
mod schema_node;
mod secret;
mod section;
mod sections;
mod tls;
mod tree;
mod units;
mod variables;

use std::collections::BTreeMap;
use std::path::Path;

use crate::clock::WallClock;
pub(crate) use address::Address;
pub(crate) use admin_access::AdminAccess;
pub(crate) use base_url::BaseUrl;
pub(crate) use engine_url::EngineUrl;
pub(crate) use media_host::MediaHost;
pub(crate) use memory_limit::cgroup_limit;
pub(crate) use problem::Problems;
pub(crate) use proxy::Proxy;
pub(crate) use rate::Rate;
pub(crate) use schema::SCHEMA;
pub(crate) use secret::{LevelKey, UpstreamKey, read_secret_file};
pub(crate) use sections::{
    AccessLog, BreakerSettings, CacheControl, CacheSettings, DiskSettings, EffectiveConfig, EngineLogin,
    EngineMode, EngineSettings, LogFormat, LogLevel, LogSettings, MediaSettings, RateLimitHeaders, Settings,
    SharedSettings, ShutdownSettings, TenantSettings, UpstreamSettings, WaitSettings, needs_restart,
};
#[cfg(feature = "otlp")]
pub(crate) use tls::ExtraRoots;
pub(crate) use tls::TlsIdentity;

use checker::{Checker, Findings, Machine, TenantDefaults};
use missing::Missing;
use parse::{Parsed, parse, read};
use secret::SecretReader;
use sections::Sections;

/// A usable configuration.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Its risks.
    pub(crate) warnings: Vec<String>,
}

/// The result of a check that may have skipped secrets, so that the configuration can't be served.
#[derive(Debug)]
pub(crate) struct CheckReport {
    pub(crate) effective: EffectiveConfig,
    pub(crate) tenants: usize,
    /// Its risks.
    pub(crate) warnings: Vec<String>,
    /// Secrets and certificates that are missing.
    pub(crate) skipped: Vec<String>,
}

/// Reads and checks a configuration file with the environment's overrides.
pub(crate) fn load(file: &Path, variables: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    load_text(file, read(file)?, variables)
}

/// As [`load`], for a text; `file` names it in messages, and relative paths start at its folder.
pub(crate) fn load_text(
    file: &Path,
    text: String,
    variables: &BTreeMap<String, String>,
) -> Result<Loaded, Problems> {
    let (settings, Findings { warnings, .. }) =
        check_text(file, text, variables, Missing::Problem, this_machine())?;
    Ok(Loaded { settings, warnings })
}

/// As [`load`], but skips secrets and certificates that are missing: for pipelines, which have none.
pub(crate) fn check_without_secrets(
    file: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<CheckReport, Problems> {
    let (settings, Findings { warnings, skipped, .. }) =
        check_text(file, read(file)?, variables, Missing::Skip, this_machine())?;
    Ok(CheckReport {
        effective: EffectiveConfig::of(&settings),
        tenants: settings.tenants.len(),
        warnings,
        skipped,
    })
}

fn this_machine() -> Machine {
    Machine { now: WallClock::system().now(), memory_limit: cgroup_limit() }
}

/// The settings, with placeholders for what was skipped.
fn check_text(
    file: &Path,
    text: String,
    variables: &BTreeMap<String, String>,
    missing: Missing,
    machine: Machine,
) -> Result<(Settings, Findings), Problems> {
    let Parsed { raw, document, mut problems } = parse(file, text, variables)?;
    let secrets = SecretReader { variables, folder: file.parent().unwrap_or(Path::new("")) };
    let inherited = TenantDefaults {
        cache_max_bytes: raw.cache.max_bytes_per_tenant,
        disk_max_bytes: raw.disk.max_bytes_per_tenant,
    };
    let mut checker = Checker::new(&document, &secrets, inherited, machine, missing);
    let sections = Sections::check(raw, &mut checker);
    relations::check(&sections, &mut checker);
    let mut findings = checker.finish();
    problems.append(&mut findings.problems);
    match sections.complete() {
        Some(settings) if problems.is_empty() => Ok((settings, findings)),
        Some(_) | None => Err(document.problems(problems)),
    }
}

/// Reads a duration as the configuration writes them; the error says what is expected.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, &'static str> {
    text.parse::<units::Span>().map(units::Span::get).map_err(|units::Expected(expected)| expected)
}

#[cfg(test)]
mod tests;
