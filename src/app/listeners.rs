//! The two planes' servers, and what of them a reload can change.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::Semaphore;

use super::open_files::OpenFiles;
use crate::admin::Admin;
use crate::config::{Address, Settings};
use crate::gateway::Gateway;
use crate::server::{
    Drain, Handler, Inherited, Listener, Protocol, Server, Serving, Timeouts, Workers, server_config,
};
use crate::telemetry::Gauge;

/// Connections that the admin listener takes.
pub const ADMIN_CONNECTIONS: usize = 64;

/// The sockets of both planes, bound and not yet served.
pub struct Bound {
    data: Vec<Listener>,
    admin: Option<Listener>,
}

impl Bound {
    /// Opens every socket before any is served, so that a port in use leaves nothing half started.
    pub async fn open(settings: &Settings) -> io::Result<Self> {
        let mut inherited = Inherited::take();
        let mut data = Vec::new();
        for address in &settings.listen.addresses {
            data.push(Listener::open(address, &mut inherited).await?);
        }
        let admin = match &settings.admin.address {
            Some(address) => Some(Listener::open(address, &mut inherited).await?),
            None => None,
        };
        for address in inherited.unused() {
            tracing::warn!(
                address = %address,
                "systemd handed over a socket that is neither in listen.address nor admin.address: it is not served"
            );
        }
        Ok(Self { data, admin })
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<&Address> {
        self.admin.as_ref().map(Listener::address)
    }
}

/// The servers.
pub struct Listeners {
    data: Arc<Server<Gateway>>,
    admin: Arc<Server<Admin>>,
    files: OpenFiles,
    /// Connections that clients may have.
    permitted: AtomicUsize,
}

/// How connections will be served after a reload.
pub struct Prepared {
    data: Serving,
    admin: Serving,
}

impl Listeners {
    /// Servers for both planes.
    pub fn new(
        settings: &Settings,
        gateway: Arc<Gateway>,
        admin: Admin,
        connections: Arc<Gauge>,
        workers: Arc<Workers>,
    ) -> Result<Self, rustls::Error> {
        let Prepared { data, admin: admin_serving } = prepare(settings)?;
        let files = OpenFiles::raised();
        let permitted = files.client_connections(settings);
        Ok(Self {
            files,
            permitted: AtomicUsize::new(permitted),
            data: Arc::new(Server {
                serving: ArcSwap::from_pointee(data),
                permits: Arc::new(Semaphore::new(permitted)),
                workers,
                handler: gateway,
                connections,
            }),
            admin: Arc::new(Server {
                serving: ArcSwap::from_pointee(admin_serving),
                permits: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
                workers: Workers::none(),
                handler: Arc::new(admin),
                connections: Arc::default(),
            }),
        })
    }

    /// Serves the sockets until the drains begin. Returns the data plane's addresses, ports resolved.
    pub fn serve(&self, bound: Bound, drain: &Drain, admin_drain: &Drain) -> Vec<Address> {
        let mut addresses = Vec::new();
        for listener in bound.data {
            tracing::info!(plane = "data", address = %listener.address(), "listening");
            addresses.push(listener.address().clone());
            serve(&self.data, listener, drain);
        }
        if let Some(listener) = bound.admin {
            tracing::info!(plane = "admin", address = %listener.address(), "listening");
            serve(&self.admin, listener, admin_drain);
        }
        addresses
    }

    /// Checks what new settings ask of connections.
    pub fn prepare(&self, settings: &Settings) -> Result<Prepared, rustls::Error> {
        prepare(settings)
    }

    /// Serves new connections so from now on; open ones go on as they began.
    pub fn replace(&self, prepared: Prepared, settings: &Settings) {
        self.data.serving.store(Arc::new(prepared.data));
        self.admin.serving.store(Arc::new(prepared.admin));
        let new = self.files.client_connections(settings);
        // There is one reload at a time.
        let old = self.permitted.swap(new, Ordering::Relaxed);
        if new > old {
            self.data.permits.add_permits(new - old);
        } else {
            // Permits in use are taken back as their connections end.
            let surplus = old - new;
            let taken = self.data.permits.forget_permits(surplus);
            let permits = Arc::clone(&self.data.permits);
            if let (owed @ 1.., Ok(runtime)) = (surplus - taken, tokio::runtime::Handle::try_current()) {
                let owed = u32::try_from(owed).unwrap_or(u32::MAX);
                drop(runtime.spawn(async move {
                    if let Ok(owed) = permits.acquire_many(owed).await {
                        owed.forget();
                    }
                }));
            }
        }
    }
}

fn prepare(settings: &Settings) -> Result<Prepared, rustls::Error> {
    let limits = &settings.limits;
    let timeouts = Timeouts { head: limits.header_read_timeout, idle: limits.idle_timeout };
    let protocol = || Protocol::new(timeouts, limits.max_header_bytes);
    let tls: Option<Arc<ServerConfig>> = match &settings.listen.tls {
        Some(identity) => Some(server_config(identity)?),
        None => None,
    };
    Ok(Prepared {
        data: Serving { protocol: protocol(), tls },
        admin: Serving { protocol: protocol(), tls: None },
    })
}

fn serve<H: Handler>(server: &Arc<Server<H>>, listener: Listener, drain: &Drain) {
    drain.watch().spawn(Arc::clone(server).run(listener, drain.watch()));
}
