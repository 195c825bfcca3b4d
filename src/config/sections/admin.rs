//! `[admin]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::address::{Address, OneOrMore, first_collision};
use crate::config::checker::{Checker, well_formed};
use crate::config::secret::{RawSecret, SecretSource};
use crate::config::section::{RestartKey, Section};
use crate::config::tls::{RawTls, TlsIdentity};
use crate::domain::TokenHash;

/// Where operators reach the gateway: metrics, health, the admin API and the dashboard.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub(crate) struct RawAdmin {
    /// `IP:PORT` or `unix:PATH`, or a list of several; `""` turns the admin plane off.
    address: OneOrMore,
    /// Further `Host` names under which `/` and `/api/` answer, beside IP addresses and `localhost`. Other
    /// names are refused, so that no website can reach the admin plane through an operator's browser.
    #[schemars(with = "Vec<String>")]
    hosts: Vec<Option<String>>,
    /// Serves TLS on the TCP addresses; Unix sockets are always plain. Turning it on or off needs a restart;
    /// the files are read again by every reload.
    tls: Option<RawTls>,
    /// The bearer token for `/api/`, at least 32 characters. Without one, `/api/` answers only on addresses
    /// that are loopback or a Unix socket.
    token: Option<RawSecret>,
    /// Another bearer token, at least 32 characters, that permits nothing but refreshing calls
    /// (`POST /api/v1/cache/{tenant}/{id}/refresh`): for the service that receives the vendor's callbacks.
    refresh_token: Option<RawSecret>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            address: OneOrMore::One("127.0.0.1:9090".into()),
            hosts: Vec::new(),
            tls: None,
            token: None,
            refresh_token: None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct AdminSettings {
    /// Empty where the admin plane is turned off.
    pub(crate) addresses: Vec<Address>,
    /// Further `Host` names, in lower case.
    pub(crate) hosts: Vec<String>,
    /// Of the TCP addresses.
    pub(crate) tls: Option<TlsIdentity>,
    /// The digest of the token that `/api/` asks for, and where the token was read from.
    pub(crate) token: Option<(TokenHash, SecretSource)>,
    /// The same of the token that may do nothing but refresh.
    pub(crate) refresh_token: Option<(TokenHash, SecretSource)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct EffectiveAdmin {
    address: OneOrMore,
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<RawTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<SecretSource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<SecretSource>,
}

impl Section for AdminSettings {
    type Raw = RawAdmin;
    type Effective = EffectiveAdmin;

    const RESTART: &'static [RestartKey<Self>] = &[
        RestartKey { key: "admin.address", differs: |old, new| old.addresses != new.addresses },
        RestartKey { key: "admin.tls", differs: |old, new| old.tls.is_some() != new.tls.is_some() },
    ];

    fn check(raw: RawAdmin, checker: &mut Checker<'_>) -> Option<Self> {
        let addresses = if raw.address.is_empty() {
            Some(Vec::new())
        } else {
            raw.address.check("admin.address", checker)
        };
        for (place, host) in well_formed(&raw.hosts) {
            if host.parse::<http::uri::Authority>().map_or(true, |name| name.host() != host) {
                checker.problem(&format!("admin.hosts[{place}]"), "expected a host name without a port");
            }
        }
        let hosts = raw.hosts.iter().flatten().map(|host| host.to_ascii_lowercase()).collect();
        let token = secret("admin.token", raw.token.as_ref(), checker);
        let refresh_token = secret("admin.refresh_token", raw.refresh_token.as_ref(), checker);
        if let (Some((token, _)), Some((other, _))) = (&token, &refresh_token)
            && token == other
        {
            checker.problem("admin.refresh_token", "expected another token than admin.token");
        }
        let tls = match raw.tls.map(|files| TlsIdentity::check("admin.tls", files, checker)) {
            Some(identity) => Some(identity?),
            None => None,
        };
        let admin = Self { addresses: addresses?, hosts, tls, token, refresh_token };
        admin.note_risks(checker);
        Some(admin)
    }

    fn show(&self) -> EffectiveAdmin {
        EffectiveAdmin {
            address: self.addresses.as_slice().into(),
            hosts: self.hosts.clone(),
            tls: self.tls.as_ref().map(|identity| identity.files().clone()),
            token: self.token.as_ref().map(|(_, source)| source.clone()),
            refresh_token: self.refresh_token.as_ref().map(|(_, source)| source.clone()),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let tokens = self.token.iter().chain(&self.refresh_token);
        let tokens = tokens.filter_map(|(_, source)| source.file());
        tokens.chain(self.tls.iter().flat_map(|tls| tls.files().paths())).collect()
    }
}

/// The digest of a token, and where it was read from.
fn secret(
    key: &str,
    raw: Option<&RawSecret>,
    checker: &mut Checker<'_>,
) -> Option<(TokenHash, SecretSource)> {
    let raw = raw?;
    checker.token(key, raw).map(|hash| (hash, SecretSource::from(raw)))
}

impl AdminSettings {
    fn note_risks(&self, checker: &mut Checker<'_>) {
        if first_collision(&self.addresses).is_some() {
            checker.problem("admin.address", "two of these addresses cannot be bound together");
        }
        if self.tls.is_some() && self.addresses.iter().all(Address::is_unix) {
            checker.warn(
                "admin.tls",
                "no effect: no address is a TCP address, and Unix sockets are always plain",
            );
        }
        let Some(address) = self.addresses.iter().find(|address| !address.is_local()) else { return };
        if self.token.is_none() {
            let message = format!(
                "{address} is open to other machines without admin.token: anyone who reaches it sees the metrics, \
                 and /api/, which the dashboard and the commands use, refuses every request there"
            );
            checker.warn("admin.address", message);
        } else if self.tls.is_none() {
            let message = format!(
                "{address} serves plain HTTP to other machines, so admin.token crosses the network unencrypted: \
                 set admin.tls, or listen on loopback or a Unix socket"
            );
            checker.warn("admin.address", message);
        }
    }
}
