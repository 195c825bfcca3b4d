//! The servers of both planes, and the parts that a reload can change.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::open_files::{ADMIN_CONNECTIONS, KEPT_FOR_PROBES, OpenFiles};
use crate::admin::AdminHandler;
use crate::config::{Address, Settings, TlsIdentity};
use crate::gateway::Gateway;
use crate::server::{
    Binding, ConnectionSlots, Drain, Handler, HttpServer, InheritedSockets, IpFamilies, Listener, Server,
    Serving, Timeouts, Workers, server_config,
};
use crate::telemetry::{Metrics, Plane};

/// The sockets of both planes, bound but not yet served.
pub(super) struct Bound {
    data: Vec<Listener>,
    admin: Vec<Listener>,
}

impl Bound {
    /// Opens every socket before any is served, so that a port in use leaves nothing half started.
    pub(super) async fn open(settings: &Settings) -> io::Result<Self> {
        let mut inherited = InheritedSockets::take();
        let all: Vec<_> = settings.listen.addresses.iter().chain(&settings.admin.addresses).collect();
        let socket_mode = settings.listen.socket_mode.bits();
        let binding = |address| Binding { families: families(address, &all), socket_mode };
        let mut data = Vec::new();
        for address in &settings.listen.addresses {
            data.push(Listener::open(address, binding(address), &mut inherited).await?);
        }
        let mut admin = Vec::new();
        for address in &settings.admin.addresses {
            admin.push(Listener::open(address, binding(address), &mut inherited).await?);
        }
        for address in inherited.unused() {
            tracing::warn!(
                address = %address,
                "systemd handed over a socket that is neither in listen.address nor admin.address: it is not served"
            );
        }
        Ok(Self { data, admin })
    }

    /// The admin plane's addresses, ports resolved.
    pub(super) fn admin_addresses(&self) -> Vec<Address> {
        self.admin.iter().map(|listener| listener.address().clone()).collect()
    }
}

pub(super) struct Listeners {
    data: Arc<Server<Gateway>>,
    /// For the listeners that only this machine can reach, and for all others.
    local_admin: Arc<Server<AdminHandler>>,
    open_admin: Arc<Server<AdminHandler>>,
    files: OpenFiles,
}

/// How connections will be served after a reload.
pub(super) struct Prepared {
    data: Serving,
    admin: Arc<Serving>,
}

impl Listeners {
    /// Servers for both planes.
    pub(super) fn new(
        settings: &Settings,
        gateway: Arc<Gateway>,
        admin: AdminHandler,
        metrics: &Metrics,
        workers: Arc<Workers>,
    ) -> Result<Self, rustls::Error> {
        let Prepared { data, admin: serving } = prepare(settings)?;
        let files = OpenFiles::raised();
        let clients = files.client_connections(settings);
        let closed = |plane| Arc::clone(metrics.closed_connections(plane));
        let data_places = ConnectionSlots::new(Plane::Data, clients, 0, closed(Plane::Data));
        let admin_closed = closed(Plane::Admin);
        let admin_places =
            ConnectionSlots::new(Plane::Admin, ADMIN_CONNECTIONS, KEPT_FOR_PROBES, admin_closed);
        let admin_server = |handler: AdminHandler| {
            Arc::new(Server {
                serving: ArcSwap::new(Arc::clone(&serving)),
                slots: Arc::clone(&admin_places),
                workers: Workers::none(),
                handler: Arc::new(handler),
                connections: Arc::default(),
            })
        };
        Ok(Self {
            files,
            data: Arc::new(Server {
                serving: ArcSwap::from_pointee(data),
                slots: data_places,
                workers,
                handler: gateway,
                connections: Arc::clone(metrics.connections()),
            }),
            local_admin: admin_server(AdminHandler { is_local: true, ..admin.clone() }),
            open_admin: admin_server(AdminHandler { is_local: false, ..admin }),
        })
    }

    /// Serves the sockets until the drains begin. Returns the data plane's addresses, ports resolved.
    pub(super) fn serve(&self, bound: Bound, drain: &Drain, admin_drain: &Drain) -> Vec<Address> {
        let mut addresses = Vec::new();
        for listener in bound.data {
            tracing::info!(plane = "data", address = %listener.address(), "listening");
            addresses.push(listener.address().clone());
            serve(&self.data, listener, drain);
        }
        for listener in bound.admin {
            tracing::info!(plane = "admin", address = %listener.address(), "listening");
            let server = if listener.address().is_local() { &self.local_admin } else { &self.open_admin };
            serve(server, listener, admin_drain);
        }
        addresses
    }

    /// Checks the connection settings.
    pub(super) fn prepare(&self, settings: &Settings) -> Result<Prepared, rustls::Error> {
        prepare(settings)
    }

    /// Applies them to new connections; open ones are unaffected.
    pub(super) fn replace(&self, prepared: Prepared, settings: &Settings) {
        self.data.serving.store(Arc::new(prepared.data));
        self.local_admin.serving.store(Arc::clone(&prepared.admin));
        self.open_admin.serving.store(prepared.admin);
        self.data.slots.resize(self.files.client_connections(settings));
    }
}

/// Two sockets for all addresses of a port, one per family, exclude each other unless the IPv6 socket leaves IPv4
/// alone.
fn families(address: &Address, all: &[&Address]) -> IpFamilies {
    let port = |address: &Address| match address {
        Address::Tcp(address) => Some(address.port()).filter(|port| *port != 0),
        Address::Unix(_) => None,
    };
    let is_ipv4 = |address: &Address| matches!(address, Address::Tcp(address) if address.is_ipv4());
    let shares_port = |other: &&&Address| is_ipv4(other) && port(other) == port(address);
    match port(address).and_then(|_| all.iter().find(shares_port)) {
        Some(_) => IpFamilies::Ipv6Only,
        None => IpFamilies::Default,
    }
}

fn prepare(settings: &Settings) -> Result<Prepared, rustls::Error> {
    let limits = &settings.limits;
    let timeouts = Timeouts { head: limits.header_read_timeout, idle: limits.idle_timeout };
    let protocol = || HttpServer::new(timeouts, limits.max_header_bytes);
    let tls = |identity: &Option<TlsIdentity>| identity.as_ref().map(server_config).transpose();
    Ok(Prepared {
        data: Serving { protocol: protocol(), tls: tls(&settings.listen.tls)? },
        admin: Arc::new(Serving { protocol: protocol(), tls: tls(&settings.admin.tls)? }),
    })
}

fn serve<H: Handler>(server: &Arc<Server<H>>, listener: Listener, drain: &Drain) {
    drain.watch().spawn(Arc::clone(server).run(listener, drain.watch()));
}
