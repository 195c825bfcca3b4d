//! Notifies the service manager with `sd_notify(3)`, as systemd's `Type=notify` and `Type=notify-reload` expect.
//! Without a manager, nothing happens.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::server::Workers;

/// How long sending may wait for a manager whose queue is full.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// The shortest interval of keep-alive messages.
const SHORTEST_PULSE: Duration = Duration::from_millis(1);

/// The service manager, if there is one.
#[derive(Debug, Clone)]
pub(super) struct ServiceManager {
    /// Its socket: a path, or an abstract name that begins with `@`.
    socket: Option<Arc<OsStr>>,
    /// The interval within which the manager expects a keep-alive message, if it does.
    watchdog: Option<Duration>,
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reloaded {
    /// The new configuration is in force.
    Done,
    /// It was refused.
    Refused,
}

impl ServiceManager {
    /// The manager named by the environment.
    pub(super) fn of_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let watchdog = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero());
        Self { watchdog: watchdog.filter(|_| socket.is_some()), socket: socket.map(OsString::into) }
    }

    /// Startup is complete.
    pub(super) async fn ready(&self, tenants: usize) {
        self.send_all(|| [NotifyState::Ready.to_string(), status(&serving(tenants))]).await;
    }

    /// A reload begins. [`reloaded`](Self::reloaded) must follow.
    pub(super) async fn reloading(&self) {
        self.send_all(|| {
            let now = NotifyState::monotonic_usec_now();
            // Without this time the manager uses that of the message.
            let now = now.map(|now| now.to_string()).unwrap_or_default();
            [NotifyState::Reloading.to_string(), now, status("Reloading the configuration")]
        })
        .await;
    }

    /// A reload has ended: the gateway serves `tenants` tenants.
    pub(super) async fn reloaded(&self, how: Reloaded, tenants: usize) {
        let end = match how {
            Reloaded::Done => "",
            Reloaded::Refused => "; the last reload was refused, the log says why",
        };
        self.send_all(|| [NotifyState::Ready.to_string(), status(&(serving(tenants) + end))]).await;
    }

    /// Shutdown has begun, and may take this long.
    pub(super) async fn stopping(&self, within: Duration) {
        self.send_all(|| {
            let within = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
            let extended = NotifyState::ExtendTimeoutUsec(within).to_string();
            [NotifyState::Stopping.to_string(), extended, status("Finishing requests in flight")]
        })
        .await;
    }

    /// Sends keep-alive messages, two per interval, while all of `workers` and this thread run tasks.
    pub(super) async fn reassure(self, workers: Arc<Workers>) {
        let Some(patience) = self.watchdog else { return };
        let mut pulse = tokio::time::interval((patience / 2).max(SHORTEST_PULSE));
        loop {
            pulse.tick().await;
            workers.all_run().await;
            self.send_all(|| [NotifyState::Watchdog.to_string()]).await;
        }
    }

    async fn send_all<const LINES: usize>(&self, lines: impl FnOnce() -> [String; LINES]) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send(socket, &lines().join("\n")).await {
            tracing::warn!(
                error = %error.kind(),
                "cannot notify the service manager, which may take this process for one that hangs: check NOTIFY_SOCKET"
            );
        }
    }
}

/// Sends without blocking the thread; the library blocks, and doesn't support abstract names.
async fn send(name: &OsStr, message: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes() {
        [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        _ => socket.connect(name)?,
    }
    let socket = tokio::net::UnixDatagram::from_std(socket)?;
    tokio::time::timeout(SEND_LIMIT, socket.send(message.as_bytes())).await??;
    Ok(())
}

fn status(text: &str) -> String {
    NotifyState::Status(text).to_string()
}

fn serving(tenants: usize) -> String {
    let s = if tenants == 1 { "" } else { "s" };
    format!("Serving {tenants} tenant{s}")
}
