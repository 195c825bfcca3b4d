//! From a file's bytes to checked [`Settings`]. The type changes as the configuration becomes
//! trustworthy: text, a [`document::Document`] whose values know their places, [`raw::Config`] as the
//! file has it, [`Settings`] in which nothing can be wrong.
//!
//! All problems of a file are found at once. Knows nothing of what the settings are used for.

mod check;
mod defaults;
mod document;
mod memory_limit;
mod problem;
mod proxy;
mod raw;
#[cfg(test)]
mod reference;
mod restart;
mod schema;
mod secret;
mod settings;
mod shape;
mod show;
mod tls;
mod units;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::clock::WallClock;
pub use memory_limit::cgroup_limit;
pub use problem::{Origin, Problem, Problems};
pub use proxy::Proxy;
pub use raw::{AccessLog, CacheControl, LogFormat, LogLevel, RateLimitHeaders};
pub use restart::needs_restart;
pub use schema::SCHEMA;
pub use secret::{UpstreamKey, read_secret_file};
pub use settings::{Address, BaseUrl, Breaker, Cache, Log, Rate, Settings, Shutdown, Tenant, Upstream};
pub use show::Shown;
#[cfg(feature = "otlp")]
pub use tls::ExtraRoots;
pub use tls::TlsIdentity;

use document::Document;
use secret::SecretReader;
use shape::Shape;

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What an operator should know about it.
    pub warnings: Vec<String>,
}

/// Reads and checks a configuration file with the environment's overrides.
pub fn load(file: &Path, variables: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    load_text(file, read(file)?, variables)
}

/// As [`load`], for a text that is at hand; `file` names it in messages, and relative secret files
/// start at its folder.
pub fn load_text(
    file: &Path,
    text: String,
    variables: &BTreeMap<String, String>,
) -> Result<Loaded, Problems> {
    let Shaped { raw, document, mut problems } = shaped(file, text, variables)?;
    let secrets = SecretReader { variables, folder: file.parent().unwrap_or(Path::new("")) };
    let (settings, findings) = check::check(raw, &document, &secrets);
    problems.extend(findings.problems);
    match settings {
        Some(settings) if problems.is_empty() => {
            let warnings = findings
                .warnings
                .into_iter()
                .chain(memory_warning(&settings, cgroup_limit()))
                .chain(expiry_warning(&settings))
                .collect();
            Ok(Loaded { settings, warnings })
        }
        _ => Err(document.problems(problems)),
    }
}

/// The address of the admin listener alone; reads no secret. `None` means that it is turned off.
pub fn load_admin_address(
    file: &Path,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Address>, Problems> {
    let Shaped { raw, document, mut problems } = shaped(file, read(file)?, variables)?;
    match check::check_admin(&raw.admin, &document) {
        Ok(address) if problems.is_empty() => Ok(address),
        Ok(_) => Err(document.problems(problems)),
        Err(problem) => {
            problems.push(problem);
            Err(document.problems(problems))
        }
    }
}

fn read(file: &Path) -> Result<String, Problems> {
    let whole = |message: String| {
        Problems::new(file, "", vec![Problem { origin: Origin::Nowhere, key: String::new(), message }])
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| whole(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(whole(format!("larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| whole("not UTF-8 text".into()))
}

/// A file whose keys and kinds of values were held against the schema.
struct Shaped {
    /// What is right, in the file's own types; what is wrong is at its default.
    raw: raw::Config,
    document: Document,
    problems: Vec<Problem>,
}

fn shaped(file: &Path, text: String, variables: &BTreeMap<String, String>) -> Result<Shaped, Problems> {
    let mut document = Document::parse(file, text)?;
    let shape = Shape::of_config();
    let mut problems = document.overlay(variables, &shape);
    let right = shape.check(document.root(), "", &mut problems).unwrap_or_default();
    match serde_json::from_value(right) {
        Ok(raw) => Ok(Shaped { raw, document, problems }),
        Err(error) => {
            // The shapes are made from the same types, so this is a value that no shape describes.
            let message = error.to_string();
            problems.push(Problem { origin: Origin::Nowhere, key: String::new(), message });
            Err(document.problems(problems))
        }
    }
}

/// Reads a duration as the configuration writes them; the error says what is expected.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, &'static str> {
    text.parse::<units::Span>().map(units::Span::get).map_err(|units::Expected(expected)| expected)
}

fn expiry_warning(settings: &Settings) -> Option<String> {
    let expiry = settings.listen.certificate_expiry()?;
    (expiry <= WallClock::system().now())
        .then(|| format!("listen.tls.cert: the certificate expired at {expiry}: clients will refuse it"))
}

fn memory_warning(settings: &Settings, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let caches =
        settings.tenants.iter().fold(0_u64, |sum, tenant| sum.saturating_add(tenant.cache_max_bytes));
    let [caches_text, limit_text] = [caches, limit].map(|bytes| units::Size::from(bytes).to_string());
    (caches > limit).then(|| {
        format!(
            "the tenants' caches may grow to {caches_text} together, and this process runs under a memory limit of \
             {limit_text}: lower cache.max_bytes_per_tenant or raise the limit"
        )
    })
}

#[cfg(test)]
mod tests;
