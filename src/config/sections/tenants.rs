//! `[[tenants]]`.

use std::collections::HashMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::disk::LEAST_BYTES;
use crate::config::checker::{Checker, well_formed};
use crate::config::rate::{Rate, RawRate};
use crate::config::secret::{REDACTED, RawSecret, SecretSource, UpstreamKey};
use crate::config::section::Section;
use crate::config::units::Size;
use crate::domain::{ROUTES, RouteAccess, RouteLabel, TenantName, TokenHash};

/// The callers, at least one. Tenants share nothing: each has its own tokens, upstream keys, cache and limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Tenants")]
pub(crate) struct RawTenants(#[schemars(with = "Vec<RawTenant>")] Vec<Option<RawTenant>>);

/// One caller.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tenant")]
pub(crate) struct RawTenant {
    /// `[a-z0-9-]{1,63}`; the label on metrics.
    #[schemars(with = "String")]
    name: Option<String>,
    /// SHA-256 digests of the tenant's gateway tokens, 64 hexadecimal digits each. Several allow a rotation
    /// without downtime. `token new` prints a token with its digest.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    token_sha256: Vec<Option<String>>,
    /// Gateway tokens themselves, as secrets of at least 32 characters. At least one of `token_sha256` and
    /// `tokens` is required.
    #[serde(default)]
    #[schemars(with = "Vec<RawSecret>")]
    tokens: Vec<Option<RawSecret>>,
    /// The tenant's API key at the upstream.
    #[schemars(with = "RawSecret")]
    upstream_key: Option<RawSecret>,
    /// Another key of the same account: tried when the upstream answers 401 to `upstream_key`, and used from
    /// then on if it is accepted.
    upstream_key_next: Option<RawSecret>,
    /// What the tenant may ask for: `"call"` (calls by ID), `"calls"` (the list of an invoice's calls), `"recording"`
    /// and `"transcription"` (those of a call). Anything else is no route for it.
    #[serde(default = "call_alone")]
    #[schemars(with = "Vec<String>")]
    routes: Vec<Option<String>>,
    /// The size of this tenant's cache, instead of `cache.max_bytes_per_tenant`. Above 0. Changing it empties
    /// the cache.
    cache_max_bytes: Option<Size>,
    /// The size of this tenant's file on disk, instead of `disk.max_bytes_per_tenant`: at least 8MiB, or `"0B"`, which
    /// keeps nothing of this tenant on disk.
    disk_max_bytes: Option<Size>,
    /// Whether calls of this tenant are kept in the level of `[shared]`, if there is one. Its default is true.
    shared: Option<bool>,
    /// A limit on all requests of the tenant.
    rate_limit: Option<RawRate>,
    /// A limit on the requests sent upstream for the tenant.
    upstream_limit: Option<RawRate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TenantSettings {
    pub(crate) name: TenantName,
    /// Of its tokens; at least one.
    pub(crate) token_hashes: Vec<TokenHash>,
    /// How many of these the file has as digests; the others were read from `tokens_source`.
    digests: usize,
    pub(crate) upstream_key: UpstreamKey,
    upstream_key_source: SecretSource,
    /// The key that is tried next, and where it was read from.
    pub(crate) upstream_key_next: Option<(UpstreamKey, SecretSource)>,
    tokens_source: Vec<SecretSource>,
    pub(crate) routes: RouteAccess,
    pub(crate) cache_max_bytes: u64,
    /// 0: nothing of it is kept on disk.
    pub(crate) disk_max_bytes: u64,
    /// Whether it is kept in the shared level.
    pub(crate) shared: bool,
    pub(crate) rate_limit: Option<Rate>,
    pub(crate) upstream_limit: Option<Rate>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EffectiveTenant {
    name: String,
    token_sha256: Vec<&'static str>,
    tokens: Vec<SecretSource>,
    upstream_key: SecretSource,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_key_next: Option<SecretSource>,
    routes: Vec<&'static str>,
    cache_max_bytes: Size,
    disk_max_bytes: Size,
    shared: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RawRate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_limit: Option<RawRate>,
}

impl Section for Vec<TenantSettings> {
    type Raw = RawTenants;
    type Effective = Vec<EffectiveTenant>;

    fn check(RawTenants(raw): RawTenants, checker: &mut Checker<'_>) -> Option<Self> {
        if raw.is_empty() {
            checker.problem("tenants", "expected at least one [[tenants]] entry");
        }
        let mut names = HashMap::new();
        let mut owners = HashMap::new();
        let mut tenants = Self::with_capacity(raw.len());
        let mut all_right = true;
        for (place, raw) in raw.iter().enumerate() {
            // An entry that isn't a table is a problem already.
            let Some(raw) = raw else { continue };
            let key = format!("tenants[{place}]");
            if let Some(first) = raw.name.clone().and_then(|name| names.insert(name, place)) {
                checker.problem(&format!("{key}.name"), format!("already the name of tenants[{first}]"));
            }
            let Some(tenant) = TenantSettings::check(&key, raw, checker) else {
                all_right = false;
                continue;
            };
            for hash in &tenant.token_hashes {
                if let Some(owner) = owners.insert(*hash, place).filter(|owner| *owner != place) {
                    let message = format!(
                        "token is already assigned to tenants[{owner}]; tokens must be unique across tenants"
                    );
                    checker.problem(&key, message);
                }
            }
            tenants.push(tenant);
        }
        all_right.then_some(tenants)
    }

    fn show(&self) -> Vec<EffectiveTenant> {
        self.iter().map(TenantSettings::show).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.iter().flat_map(TenantSettings::secrets).filter_map(SecretSource::file).collect()
    }
}

impl TenantSettings {
    /// Checks the tenant at `key`.
    fn check(key: &str, raw: &RawTenant, checker: &mut Checker<'_>) -> Option<Self> {
        let name = raw.name.as_ref().and_then(|name| {
            let name = TenantName::parse(name).map_err(|_| "expected [a-z0-9-]{1,63}, and not \"-\" alone");
            checker.take(&format!("{key}.name"), name)
        });
        let (token_hashes, digests) = token_hashes(key, raw, checker);
        let mut upstream_key = |name: &str, source: &Option<RawSecret>| {
            let source = source.as_ref()?;
            checker.upstream_key(&format!("{key}.{name}"), source)
        };
        let current = upstream_key("upstream_key", &raw.upstream_key);
        let upstream_key_next = upstream_key("upstream_key_next", &raw.upstream_key_next);
        let routes = routes(&format!("{key}.routes"), &raw.routes, checker);
        let cache_max_bytes = raw.cache_max_bytes.unwrap_or(checker.inherited.cache_max_bytes).bytes();
        if cache_max_bytes == 0 {
            checker.problem(&format!("{key}.cache_max_bytes"), "expected a size above 0");
        }
        let disk_max_bytes = raw.disk_max_bytes.unwrap_or(checker.inherited.disk_max_bytes).bytes();
        if raw.disk_max_bytes.is_some() && (1..LEAST_BYTES).contains(&disk_max_bytes) {
            checker.problem(&format!("{key}.disk_max_bytes"), "expected a size of at least 8MiB, or \"0B\"");
        }
        let mut rate =
            |name: &str, raw: Option<RawRate>| Rate::check(&format!("{key}.{name}"), raw?, checker);
        let rate_limit = rate("rate_limit", raw.rate_limit);
        let upstream_limit = rate("upstream_limit", raw.upstream_limit);
        let (upstream_key, upstream_key_source) = current?;
        Some(Self {
            name: name?,
            token_hashes,
            digests,
            upstream_key,
            upstream_key_source,
            upstream_key_next,
            tokens_source: raw.tokens.iter().flatten().map(SecretSource::from).collect(),
            routes,
            cache_max_bytes,
            disk_max_bytes,
            shared: raw.shared.unwrap_or(true),
            rate_limit,
            upstream_limit,
        })
    }

    fn secrets(&self) -> impl Iterator<Item = &SecretSource> {
        let next = self.upstream_key_next.as_ref().map(|(_, source)| source);
        self.tokens_source.iter().chain([&self.upstream_key_source]).chain(next)
    }

    fn show(&self) -> EffectiveTenant {
        EffectiveTenant {
            name: self.name.to_string(),
            token_sha256: vec![REDACTED; self.digests],
            tokens: self.tokens_source.clone(),
            upstream_key: self.upstream_key_source.clone(),
            upstream_key_next: self.upstream_key_next.as_ref().map(|(_, source)| source.clone()),
            routes: self.routes.iter().map(RouteLabel::label).collect(),
            cache_max_bytes: self.cache_max_bytes.into(),
            disk_max_bytes: self.disk_max_bytes.into(),
            shared: self.shared,
            rate_limit: self.rate_limit.map(Rate::show),
            upstream_limit: self.upstream_limit.map(Rate::show),
        }
    }
}

/// The routes of a tenant without any of its own.
fn call_alone() -> Vec<Option<String>> {
    vec![Some(RouteLabel::Call.label().to_owned())]
}

/// The routes that a tenant may use.
fn routes(key: &str, raw: &[Option<String>], checker: &mut Checker<'_>) -> RouteAccess {
    if raw.is_empty() {
        checker.problem(key, "expected at least one route");
    }
    let mut access = RouteAccess::NONE;
    for (place, name) in well_formed(raw) {
        match ROUTES.iter().find(|route| route.label.label() == name) {
            Some(route) => access = access.and(route.label),
            None => {
                let known: Vec<_> =
                    ROUTES.iter().map(|route| format!("\"{}\"", route.label.label())).collect();
                checker.problem(&format!("{key}[{place}]"), format!("expected one of {}", known.join(", ")));
            }
        }
    }
    access
}

/// The digests of a tenant's tokens, and how many of them the file has as digests.
fn token_hashes(key: &str, raw: &RawTenant, checker: &mut Checker<'_>) -> (Vec<TokenHash>, usize) {
    let mut hashes = Vec::new();
    for (place, hex) in well_formed(&raw.token_sha256) {
        let hash = TokenHash::from_hex(hex).map_err(|_| "expected 64 hexadecimal digits");
        hashes.extend(checker.take(&format!("{key}.token_sha256[{place}]"), hash));
    }
    let digests = hashes.len();
    for (place, source) in well_formed(&raw.tokens) {
        hashes.extend(checker.token(&format!("{key}.tokens[{place}]"), source));
    }
    if raw.token_sha256.is_empty() && raw.tokens.is_empty() {
        checker.problem(key, "expected at least one token: token_sha256 or tokens");
    }
    (hashes, digests)
}
