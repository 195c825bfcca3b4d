//! Sockets that clients connect to: bound here, or inherited from systemd.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::inherited::Inherited;
use super::socket_file::SocketFile;
use crate::config::Address;

/// Clients that may wait in the kernel to be accepted, if it allows so many (`somaxconn`).
const QUEUE: u32 = 4096;

/// A bound socket.
pub struct Listener {
    /// The socket file that was made for it. Dropped before the socket: once nobody listens, another
    /// process may have put its own in this place.
    _file: Option<SocketFile>,
    socket: Socket,
    address: Address,
}

pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection, before TLS.
pub type Plain = Either<TcpStream, UnixStream>;

/// An accepted connection that belongs to no runtime, on its way to another one.
pub enum Loose {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Loose {
    /// Takes a connection away from the current runtime.
    pub fn from(stream: Plain) -> io::Result<Self> {
        Ok(match stream {
            Either::Left(stream) => Self::Tcp(stream.into_std()?),
            Either::Right(stream) => Self::Unix(stream.into_std()?),
        })
    }

    /// Gives it to the current runtime.
    pub fn settle(self) -> io::Result<Plain> {
        Ok(match self {
            Self::Tcp(stream) => Either::Left(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Either::Right(UnixStream::from_std(stream)?),
        })
    }
}

/// Who is on the other side: an address, or nobody in particular for a Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

impl Listener {
    /// Takes the inherited socket of this address, else binds one. The error names the address.
    pub async fn open(address: &Address, inherited: &mut Inherited) -> io::Result<Self> {
        if let Some((address, socket)) = inherited.find(address) {
            return Ok(Self { _file: None, socket, address });
        }
        Self::bind(address).await.map_err(|error| {
            let mut message = format!("cannot listen on {address}: {error}");
            for other in inherited.unused() {
                message += &format!("; systemd handed over {other}, which the configuration may mean");
            }
            io::Error::new(error.kind(), message)
        })
    }

    async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(wanted) => {
                let socket = listen_on(*wanted)?;
                let bound = socket.local_addr()?;
                Ok(Self { _file: None, socket: Socket::Tcp(socket), address: Address::Tcp(bound) })
            }
            Address::Unix(path) => {
                let (socket, file) = SocketFile::listen(path).await?;
                let socket = Socket::Unix(UnixListener::from_std(socket)?);
                Ok(Self { _file: Some(file), socket, address: address.clone() })
            }
        }
    }

    /// The address it is bound to, port 0 resolved.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// The next client.
    pub async fn accept(&self) -> io::Result<(Plain, Peer)> {
        match &self.socket {
            Socket::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // Answers are written whole, so Nagle's algorithm could only delay their ends.
                let _ = stream.set_nodelay(true);
                Ok((Either::Left(stream), Peer(Some(peer))))
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Either::Right(stream), Peer(None)))
            }
        }
    }
}

/// As [`TcpListener::bind`], which leaves room for 128 in the queue: a burst of more, or a moment at
/// the cap, would cost those behind them a second or three.
fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}
