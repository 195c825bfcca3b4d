//! `[shared]`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::checker::{Checker, well_formed};
use crate::config::engine_identity::EngineIdentity;
use crate::config::engine_url::EngineUrl;
use crate::config::secret::{EngineSecret, LevelKey, RawSecret, SecretSource};
use crate::config::section::{RestartKey, Section};
use crate::config::tls::ExtraRoots;
use crate::config::units::Span;

/// A level that a fleet of gateways shares, on Valkey or Redis 6.2 and later. Off without `urls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Shared")]
pub(crate) struct RawShared {
    /// The engine's nodes, as `"rediss://cache.internal:6379"` (TLS), `"redis://127.0.0.1:6379"` or
    /// `"unix:/run/valkey.sock"`; with Sentinel, the sentinels. Needs a restart.
    #[schemars(with = "Vec<String>")]
    urls: Vec<Option<String>>,
    /// How the engine is run. Needs a restart.
    mode: EngineMode,
    /// The name under which the sentinels know the engine. Required with `mode = "sentinel"`.
    sentinel_master: Option<String>,
    /// The engine's user (ACL); without one, `default`.
    user: Option<String>,
    /// The user's password.
    password: Option<RawSecret>,
    /// The user at the sentinels, if they have one.
    sentinel_user: Option<String>,
    /// The password at the sentinels, if they have one.
    sentinel_password: Option<RawSecret>,
    /// The certificates that sign the engine's, PEM, instead of the public ones.
    ca_file: Option<PathBuf>,
    /// The gateway's certificate for the engine, PEM. Requires `client_key`.
    client_cert: Option<PathBuf>,
    /// The certificate's key, PEM.
    client_key: Option<PathBuf>,
    /// A secret of at least 32 characters, the same on every gateway of the fleet: it encrypts entries, and proves what
    /// gateways tell each other. Required. Changing it needs a restart and another `prefix`.
    key: Option<RawSecret>,
    /// Gateways with the same engine, key and prefix are one fleet: 1 to 16 of a-z, 0-9 and `-`. Needs a restart.
    prefix: String,
    /// How long a lookup waits for the engine, once: 1ms to 1s.
    timeout: Span,
    /// Whether calls are kept there.
    cache: bool,
    /// Whether each tenant's `rate_limit` and `upstream_limit` hold for the fleet, not for each gateway.
    limits: bool,
    /// The gateways of the fleet: without having heard of the others, a gateway takes this share of a limit. Default: 1.
    #[schemars(range(min = 1, max = 10_000))]
    expected_gateways: Option<u32>,
    /// Allows an engine without TLS, or without a password, that is not on this machine.
    allow_insecure: bool,
}

/// How the engine is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineMode {
    /// One node, or a name that leads to the one in charge.
    Single,
    /// Sentinels know the node in charge.
    Sentinel,
    /// A cluster.
    Cluster,
}

impl Default for RawShared {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            mode: EngineMode::Single,
            sentinel_master: None,
            user: None,
            password: None,
            sentinel_user: None,
            sentinel_password: None,
            ca_file: None,
            client_cert: None,
            client_key: None,
            key: None,
            prefix: "cg1".into(),
            timeout: Duration::from_millis(20).into(),
            cache: true,
            limits: true,
            expected_gateways: None,
            allow_insecure: false,
        }
    }
}

/// Who the gateway is for a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EngineLogin {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<EngineSecret>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedSettings {
    /// `None`: there is no such level.
    pub(crate) engine: Option<EngineSettings>,
    shown: EffectiveShared,
    files: Vec<PathBuf>,
}

/// The engine, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EngineSettings {
    /// At least one.
    pub(crate) urls: Vec<EngineUrl>,
    pub(crate) mode: EngineMode,
    pub(crate) sentinel_master: String,
    pub(crate) login: EngineLogin,
    pub(crate) sentinel_login: EngineLogin,
    pub(crate) identity: EngineIdentity,
    pub(crate) key: LevelKey,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) cache: bool,
    /// Whether the tenants' limits hold for the fleet.
    pub(crate) limits: bool,
    /// At least 1, if set.
    pub(crate) expected_gateways: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct EffectiveShared {
    urls: Vec<String>,
    mode: EngineMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentinel_master: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<SecretSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentinel_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentinel_password: Option<SecretSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<SecretSource>,
    prefix: String,
    timeout: Span,
    cache: bool,
    limits: bool,
    expected_gateways: u32,
    allow_insecure: bool,
}

impl RawShared {
    fn show(&self, urls: &[EngineUrl]) -> EffectiveShared {
        let source = |secret: &Option<RawSecret>| secret.as_ref().map(SecretSource::from);
        EffectiveShared {
            urls: urls.iter().map(EngineUrl::to_string).collect(),
            mode: self.mode,
            sentinel_master: self.sentinel_master.clone(),
            user: self.user.clone(),
            password: source(&self.password),
            sentinel_user: self.sentinel_user.clone(),
            sentinel_password: source(&self.sentinel_password),
            ca_file: self.ca_file.clone(),
            client_cert: self.client_cert.clone(),
            client_key: self.client_key.clone(),
            key: source(&self.key),
            prefix: self.prefix.clone(),
            timeout: self.timeout,
            cache: self.cache,
            limits: self.limits,
            expected_gateways: self.expected_gateways.unwrap_or(1),
            allow_insecure: self.allow_insecure,
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let secrets = [&self.key, &self.password, &self.sentinel_password];
        let secrets = secrets.into_iter().flatten().filter_map(|secret| SecretSource::from(secret).file());
        let certificates = [&self.ca_file, &self.client_cert, &self.client_key];
        secrets.chain(certificates.into_iter().flatten().cloned()).collect()
    }
}

impl EngineSettings {
    /// The gateways to reckon with before any was heard of.
    pub(crate) fn gateways(&self) -> u32 {
        self.expected_gateways.unwrap_or(1)
    }
}

impl SharedSettings {
    fn differ<T: PartialEq>(old: &Self, new: &Self, of: impl Fn(&EngineSettings) -> T) -> bool {
        old.engine.as_ref().map(&of) != new.engine.as_ref().map(&of)
    }
}

impl Section for SharedSettings {
    type Raw = RawShared;
    type Effective = EffectiveShared;

    const RESTART: &'static [RestartKey<Self>] = &[
        RestartKey {
            key: "shared.urls",
            differs: |old, new| Self::differ(old, new, |engine| engine.urls.clone()),
        },
        RestartKey { key: "shared.mode", differs: |old, new| Self::differ(old, new, |engine| engine.mode) },
        RestartKey {
            key: "shared.prefix",
            differs: |old, new| Self::differ(old, new, |engine| engine.prefix.clone()),
        },
        RestartKey {
            key: "shared.key",
            differs: |old, new| Self::differ(old, new, |engine| engine.key.clone()),
        },
    ];

    fn check(raw: RawShared, checker: &mut Checker<'_>) -> Option<Self> {
        let mut urls = Vec::new();
        for (place, text) in well_formed(&raw.urls) {
            urls.extend(checker.take(&format!("shared.urls[{place}]"), EngineUrl::parse(text)));
        }
        if !raw.urls.is_empty() && !cfg!(feature = "shared") {
            checker.problem("shared.urls", "this program was built without the shared level");
        }
        let prefix = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=16).contains(&raw.prefix.len()) || !raw.prefix.bytes().all(prefix) {
            checker.problem("shared.prefix", "expected 1 to 16 of a-z, 0-9 and -");
        }
        let bounds = Duration::from_millis(1)..=Duration::from_secs(1);
        if !bounds.contains(&raw.timeout.get()) {
            checker.problem("shared.timeout", "expected a duration from 1ms to 1s");
        }
        if raw.expected_gateways.is_some_and(|gateways| !(1..=10_000).contains(&gateways)) {
            checker.problem("shared.expected_gateways", "expected 1 to 10000");
        }
        let mut secret = |key: &str, source: &Option<RawSecret>| {
            source.as_ref().and_then(|source| checker.engine_secret(key, source))
        };
        let login =
            EngineLogin { user: raw.user.clone(), password: secret("shared.password", &raw.password) };
        let sentinel_login = EngineLogin {
            user: raw.sentinel_user.clone(),
            password: secret("shared.sentinel_password", &raw.sentinel_password),
        };
        let key = raw.key.as_ref().and_then(|source| checker.level_key("shared.key", source));
        let roots = raw.ca_file.as_ref();
        let roots = roots.and_then(|file| ExtraRoots::check("shared.ca_file", file, checker));
        let pair = (raw.client_cert.as_ref(), raw.client_key.as_ref());
        let identity = EngineIdentity::check(roots.as_ref(), pair, checker);
        if raw.urls.is_empty() {
            return Some(Self { engine: None, shown: raw.show(&urls), files: raw.files() });
        }
        if raw.key.is_none() {
            let message =
                "required: a secret of at least 32 characters, the same on every gateway of the fleet";
            checker.problem("shared.key", message);
        }
        if raw.mode == EngineMode::Sentinel && raw.sentinel_master.is_none() {
            checker.problem("shared.sentinel_master", "required with mode = \"sentinel\"");
        }
        if raw.mode == EngineMode::Single && urls.len() > 1 {
            checker.problem("shared.urls", "expected one URL, or mode = \"sentinel\" or \"cluster\"");
        }
        if raw.mode != EngineMode::Single && urls.iter().any(|url| matches!(url, EngineUrl::Unix(_))) {
            checker.problem("shared.urls", "expected hosts: sentinels and clusters have no Unix sockets");
        }
        let is_open = |url: &EngineUrl| !url.is_private() || (raw.password.is_none() && !url.is_local());
        if let Some(open) = urls.iter().find(|url| is_open(url)) {
            let what = if open.is_private() { "without a password" } else { "without TLS" };
            match raw.allow_insecure {
                true => checker.warn("shared.urls", format!("{open} is used {what}")),
                false => checker.problem(
                    "shared.urls",
                    format!("{open} would be used {what}: use rediss:// and shared.password, or set shared.allow_insecure = true"),
                ),
            }
        }
        let (shown, files) = (raw.show(&urls), raw.files());
        let Some(key) = key else {
            // It is missing, which is a problem, or was passed over, and then nothing is served.
            return Some(Self { engine: None, shown, files });
        };
        let engine = EngineSettings {
            urls,
            mode: raw.mode,
            sentinel_master: raw.sentinel_master.unwrap_or_default(),
            login,
            sentinel_login,
            identity,
            key,
            prefix: raw.prefix,
            timeout: raw.timeout.get(),
            cache: raw.cache,
            limits: raw.limits,
            expected_gateways: raw.expected_gateways,
        };
        Some(Self { engine: Some(engine), shown, files })
    }

    fn show(&self) -> EffectiveShared {
        self.shown.clone()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }
}
