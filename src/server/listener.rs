//! Sockets that clients connect to.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};

use crate::config::Address;

/// A bound socket.
pub struct Listener {
    socket: TcpListener,
    address: Address,
}

/// Who is on the other side.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

impl Listener {
    /// Binds. The error names the address.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        let Address::Tcp(wanted) = address;
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        let socket = TcpListener::bind(wanted).await.map_err(named)?;
        let bound = socket.local_addr().map_err(named)?;
        Ok(Self { socket, address: Address::Tcp(bound) })
    }

    /// The address it is bound to, port 0 resolved.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, peer) = self.socket.accept().await?;
        // Answers are written whole, so Nagle's algorithm could only delay their ends.
        stream.set_nodelay(true)?;
        Ok((stream, Peer(Some(peer))))
    }
}
