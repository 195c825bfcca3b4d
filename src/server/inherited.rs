//! Sockets opened by systemd for this process (`sd_listen_fds(3)`).

use std::io;
use std::path::Path;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::socket::Socket;
use crate::config::Address;

/// Sockets of systemd's, found by the address they are bound to. They outlive the process, so that a restart refuses
/// no connection; systemd creates and removes their files.
pub(crate) struct InheritedSockets {
    sockets: Vec<(Address, Socket)>,
}

impl InheritedSockets {
    /// Takes over the sockets meant for this process, and unsets the variables that describe them; none without
    /// systemd.
    pub(crate) fn take() -> Self {
        // Without this check, a stale number from another process would turn arbitrary descriptors of this one into
        // sockets.
        let pid = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse::<u32>().ok());
        if pid != Some(std::process::id()) {
            return Self { sockets: Vec::new() };
        }
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for place in 0..descriptors.len() {
            match adopt(&mut descriptors, place) {
                Ok(socket) => sockets.push(socket),
                Err(error) => tracing::warn!(
                    place,
                    %error,
                    "systemd handed over a descriptor that is no listening TCP or Unix socket: it is not served. Use \
                     ListenStream= with Accept=no"
                ),
            }
        }
        Self { sockets }
    }

    /// The socket that is bound to this address.
    pub(super) fn find(&mut self, address: &Address) -> Option<(Address, Socket)> {
        let place = self.sockets.iter().position(|(bound, _)| bound == address)?;
        Some(self.sockets.swap_remove(place))
    }

    /// The addresses of the sockets that no listener used.
    pub(crate) fn unused(&self) -> impl Iterator<Item = &Address> {
        self.sockets.iter().map(|(address, _)| address)
    }
}

fn adopt(descriptors: &mut ListenFd, place: usize) -> io::Result<(Address, Socket)> {
    if let Ok(Some(socket)) = descriptors.take_tcp_listener(place) {
        return tcp(socket);
    }
    let socket = descriptors.take_unix_listener(place)?;
    unix(socket.ok_or(io::ErrorKind::NotFound)?)
}

fn tcp(socket: std::net::TcpListener) -> io::Result<(Address, Socket)> {
    if !socket_acceptconn(&socket)? {
        return Err(io::ErrorKind::NotConnected.into());
    }
    socket.set_nonblocking(true)?;
    let address = Address::Tcp(socket.local_addr()?);
    Ok((address, Socket::Tcp(tokio::net::TcpListener::from_std(socket)?)))
}

fn unix(socket: std::os::unix::net::UnixListener) -> io::Result<(Address, Socket)> {
    if !socket_acceptconn(&socket)? {
        return Err(io::ErrorKind::NotConnected.into());
    }
    socket.set_nonblocking(true)?;
    let path = socket.local_addr()?.as_pathname().map(Path::to_path_buf).unwrap_or_default();
    Ok((Address::Unix(path), Socket::Unix(tokio::net::UnixListener::from_std(socket)?)))
}
