//! `[listen]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::address::{Address, OneOrMore, SocketMode, first_collision};
use crate::config::checker::Checker;
use crate::config::section::{RestartKey, Section};
use crate::config::tls::{RawTls, TlsIdentity};

/// Where callers reach the gateway.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Listen")]
pub(crate) struct RawListen {
    /// `IP:PORT` or `unix:PATH`, or a list of several. Port 0 takes a free port, which the log names.
    address: OneOrMore,
    /// Serves TLS on the TCP addresses; Unix sockets are always plain. Turning it on or off needs a restart;
    /// the files are read again by every reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<RawTls>,
    /// The permissions of Unix sockets, those of `admin.address` included. Sockets that systemd hands over keep
    /// theirs.
    socket_mode: String,
}

impl Default for RawListen {
    fn default() -> Self {
        Self {
            address: OneOrMore::One("127.0.0.1:8080".into()),
            tls: None,
            socket_mode: SocketMode::default().to_string(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ListenSettings {
    /// At least one.
    pub(crate) addresses: Vec<Address>,
    /// Of the TCP addresses.
    pub(crate) tls: Option<TlsIdentity>,
    /// Of the Unix sockets of both planes.
    pub(crate) socket_mode: SocketMode,
}

impl Section for ListenSettings {
    type Raw = RawListen;
    type Effective = RawListen;

    const RESTART: &'static [RestartKey<Self>] = &[
        RestartKey { key: "listen.address", differs: |old, new| old.addresses != new.addresses },
        RestartKey { key: "listen.tls", differs: |old, new| old.tls.is_some() != new.tls.is_some() },
        RestartKey { key: "listen.socket_mode", differs: |old, new| old.socket_mode != new.socket_mode },
    ];

    fn check(raw: RawListen, checker: &mut Checker<'_>) -> Option<Self> {
        if raw.address.is_empty() {
            checker.problem("listen.address", "expected at least one address");
        }
        let addresses = raw.address.check("listen.address", checker);
        let tls = match raw.tls.map(|files| TlsIdentity::check("listen.tls", files, checker)) {
            Some(identity) => Some(identity?),
            None => None,
        };
        let mode = raw.socket_mode.parse().map_err(|()| format!("expected {}", SocketMode::EXPECTED));
        let socket_mode = checker.take("listen.socket_mode", mode);
        let listen = Self { addresses: addresses?, tls, socket_mode: socket_mode? };
        listen.note_risks(checker);
        Some(listen)
    }

    fn show(&self) -> RawListen {
        RawListen {
            address: self.addresses.as_slice().into(),
            tls: self.tls.as_ref().map(|identity| identity.files().clone()),
            socket_mode: self.socket_mode.to_string(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.tls.iter().flat_map(|tls| tls.files().paths()).collect()
    }
}

impl ListenSettings {
    fn note_risks(&self, checker: &mut Checker<'_>) {
        if first_collision(&self.addresses).is_some() {
            checker.problem("listen.address", "two of these addresses cannot be bound together");
        }
        let open = self.addresses.iter().find(|address| !address.is_local());
        if let (Some(address), None) = (open, &self.tls) {
            let message = format!(
                "{address} serves plain HTTP to other machines, so tokens and calls cross the network \
                 unencrypted: set listen.tls, or listen on loopback or a Unix socket"
            );
            checker.warn("listen.address", message);
        }
        if self.tls.is_some() && self.addresses.iter().all(Address::is_unix) {
            checker
                .warn("listen.tls", "no effect: every address is a Unix socket, and those are always plain");
        }
    }
}
