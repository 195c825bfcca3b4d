//! Sockets that clients connect to: bound here, or inherited from systemd.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use crate::config::Address;

/// Clients that may wait in the kernel to be accepted, if it allows so many (`somaxconn`).
const QUEUE: u32 = 4096;

/// A bound socket.
pub struct Listener {
    socket: Socket,
    address: Address,
    /// The socket file that goes with the listener.
    _file: Option<SocketFile>,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection, before TLS.
pub type Plain = Either<TcpStream, UnixStream>;

/// Who is on the other side: an address, or nobody in particular for a Unix socket.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub Option<SocketAddr>);

/// Removes a socket file that this process made. One that systemd made stays.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sockets that systemd has opened for this process (`sd_listen_fds(3)`), each found by the address it
/// is bound to. They outlive the process, so that a restart refuses no connection.
pub struct Inherited {
    sockets: Vec<(Address, Socket)>,
}

impl Inherited {
    /// Takes them over, whatever they are; none without systemd.
    pub fn take() -> Self {
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..descriptors.len() {
            if let Ok(Some(socket)) = descriptors.take_tcp_listener(place) {
                sockets.extend(tcp(socket).ok());
            } else if let Ok(Some(socket)) = descriptors.take_unix_listener(place) {
                sockets.extend(unix(socket).ok());
            }
        }
        Self { sockets }
    }

    fn find(&mut self, address: &Address) -> Option<(Address, Socket)> {
        let place = self.sockets.iter().position(|(bound, _)| bound == address)?;
        Some(self.sockets.swap_remove(place))
    }

    /// The addresses of those that no listener wanted.
    pub fn unused(&self) -> impl Iterator<Item = &Address> {
        self.sockets.iter().map(|(address, _)| address)
    }
}

fn tcp(socket: std::net::TcpListener) -> io::Result<(Address, Socket)> {
    socket.set_nonblocking(true)?;
    let address = Address::Tcp(socket.local_addr()?);
    Ok((address, Socket::Tcp(TcpListener::from_std(socket)?)))
}

fn unix(socket: std::os::unix::net::UnixListener) -> io::Result<(Address, Socket)> {
    socket.set_nonblocking(true)?;
    let path = socket.local_addr()?.as_pathname().map(Path::to_path_buf).unwrap_or_default();
    Ok((Address::Unix(path), Socket::Unix(UnixListener::from_std(socket)?)))
}

impl Listener {
    /// Takes the inherited socket of this address, else binds one. The error names the address.
    pub async fn open(address: &Address, inherited: &mut Inherited) -> io::Result<Self> {
        if let Some((address, socket)) = inherited.find(address) {
            return Ok(Self { socket, address, _file: None });
        }
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
        match address {
            Address::Tcp(wanted) => {
                let socket = listen_on(*wanted).map_err(named)?;
                let bound = socket.local_addr().map_err(named)?;
                Ok(Self { socket: Socket::Tcp(socket), address: Address::Tcp(bound), _file: None })
            }
            Address::Unix(path) => {
                remove_left_over(path).map_err(named)?;
                let socket = UnixListener::bind(path).map_err(named)?;
                let file = Some(SocketFile(path.clone()));
                Ok(Self { socket: Socket::Unix(socket), address: address.clone(), _file: file })
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

/// Removes a socket file that nobody serves any more, as a process that was killed leaves it; never
/// one that somebody serves, and never a file that is no socket.
fn remove_left_over(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file of this name that is no socket",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody serves this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(path: &Path) -> io::Result<Listener> {
        Listener::open(&Address::Unix(path.into()), &mut Inherited { sockets: Vec::new() }).await
    }

    #[tokio::test]
    async fn a_left_over_socket_file_is_replaced_and_one_that_is_served_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves it");
        let first = open(&path).await.unwrap();
        let second = open(&path).await.err().unwrap();
        assert!(second.to_string().contains("somebody serves"), "{second}");
        drop(first);
        assert!(!path.exists(), "a listener that ends in good order takes its file along");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "precious").unwrap();
        assert!(open(&path).await.err().unwrap().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
