//! Sockets that clients connect to: bound by this process, or inherited from systemd.

use std::io;
use std::net::SocketAddr;

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::either::Either;

use super::accepted::{Peer, Plain, tcp};
use super::closing::{close_tcp, close_unix};
use super::inherited::InheritedSockets;
use super::socket::Socket;
use super::socket_file::SocketFile;
use crate::config::Address;

/// The length of the kernel's queue of clients to be accepted, if it allows that many (`somaxconn`).
const QUEUE: u32 = 4096;

/// A bound socket.
pub(crate) struct Listener {
    /// The socket file created for it. Dropped before the socket: once the socket is closed, another process may have
    /// put its own in this place.
    file: Option<SocketFile>,
    socket: Socket,
    address: Address,
    origin: SocketOrigin,
}

/// Where a socket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SocketOrigin {
    /// Closed with the listener.
    Bound,
    /// Outlives the process, and so does its queue.
    Inherited,
}

/// Which clients an IPv6 socket on all addresses (`[::]`) accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpFamilies {
    /// The system's default, usually those with IPv4, too.
    Default,
    /// Those with IPv6 only, because another listener uses the same port for IPv4.
    Ipv6Only,
}

/// How a socket is bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    pub families: IpFamilies,
    /// The permissions of a Unix socket's file.
    pub socket_mode: u32,
}

impl Listener {
    /// Takes the inherited socket for this address, else binds one. The error names the address.
    pub(crate) async fn open(
        address: &Address,
        binding: Binding,
        inherited: &mut InheritedSockets,
    ) -> io::Result<Self> {
        if let Some((address, socket)) = inherited.find(address) {
            return Ok(Self { file: None, socket, address, origin: SocketOrigin::Inherited });
        }
        Self::bind(address, binding).await.map_err(|error| {
            let mut message = format!("cannot listen on {address}: {error}");
            for other in inherited.unused() {
                message += &format!("; systemd handed over {other}, which the configuration may mean");
            }
            io::Error::new(error.kind(), message)
        })
    }

    async fn bind(address: &Address, Binding { families, socket_mode }: Binding) -> io::Result<Self> {
        let origin = SocketOrigin::Bound;
        match address {
            Address::Tcp(wanted) => {
                let socket = listen_on(*wanted, families)?;
                let bound = socket.local_addr()?;
                Ok(Self { file: None, socket: Socket::Tcp(socket), address: Address::Tcp(bound), origin })
            }
            Address::Unix(path) => {
                let (socket, file) = SocketFile::listen(path, socket_mode).await?;
                let socket = Socket::Unix(UnixListener::from_std(socket)?);
                Ok(Self { file: Some(file), socket, address: address.clone(), origin })
            }
        }
    }

    /// The address it is bound to, port 0 resolved.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    /// Stops listening. Returns the clients that the kernel has accepted by then, whose connections it would reset;
    /// an inherited socket keeps them for the next process.
    pub(crate) async fn close(self) -> Vec<(Plain, Peer)> {
        let Self { file, socket, origin, .. } = self;
        let queued = match (origin, socket) {
            (SocketOrigin::Bound, Socket::Tcp(socket)) => close_tcp(socket).await,
            (SocketOrigin::Bound, Socket::Unix(socket)) => close_unix(socket),
            (SocketOrigin::Inherited, _) => Vec::new(),
        };
        drop(file);
        queued
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<(Plain, Peer)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                Ok((tcp(stream), Peer(Some(peer))))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Either::Right(stream), Peer(None)))
            }
        }
    }
}

/// As [`TcpListener::bind`], which limits the queue to 128: with a larger burst, or a moment without free slots, the
/// clients behind those would wait a second or three.
fn listen_on(address: SocketAddr, families: IpFamilies) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    match families {
        IpFamilies::Ipv6Only if address.is_ipv6() => set_ipv6_v6only(&socket, true)?,
        IpFamilies::Ipv6Only | IpFamilies::Default => {}
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}
