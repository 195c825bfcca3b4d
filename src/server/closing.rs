//! How a listener closes without resetting a connection that the kernel has accepted.
//!
//! Closing a listening socket resets the connections in its queue, and a client may connect between finding the queue
//! empty and closing the socket. So the socket first stops taking new clients.

use std::io;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

use super::accepted::{Peer, Plain, tcp};

/// How long handshakes that have already begun may take. A client that starts connecting now gets no reply; when it
/// retries a second later, it finds the port closed, or the next process.
const LAST_HANDSHAKES: Duration = Duration::from_millis(10);

pub(super) async fn close_tcp(socket: TcpListener) -> Vec<(Plain, Peer)> {
    // Where the kernel has no filters, clients that connect in the last moment are reset.
    let _ = SockRef::from(&socket).attach_filter(&no_handshakes());
    let mut clients = Vec::new();
    let accepting = async {
        while let Ok((stream, peer)) = socket.accept().await {
            clients.push((tcp(stream), Peer(Some(peer))));
        }
    };
    // Ends only by timeout or with an error.
    let _ = tokio::time::timeout(LAST_HANDSHAKES, accepting).await;
    let Ok(socket) = socket.into_std() else { return clients };
    let queued: Vec<_> = std::iter::from_fn(|| socket.accept().ok()).collect();
    drop(socket);
    let settled = |(stream, peer): (std::net::TcpStream, _)| {
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((tcp(TcpStream::from_std(stream)?), Peer(Some(peer))))
    };
    clients.extend(queued.into_iter().filter_map(|client| settled(client).ok()));
    clients
}

pub(super) fn close_unix(socket: UnixListener) -> Vec<(Plain, Peer)> {
    // From here on connecting fails, while the queue can still be read.
    let _ = shutdown(&socket, Shutdown::Read);
    let Ok(socket) = socket.into_std() else { return Vec::new() };
    let queued: Vec<_> = std::iter::from_fn(|| socket.accept().ok()).collect();
    drop(socket);
    let settled = |(stream, _): (std::os::unix::net::UnixStream, _)| {
        stream.set_nonblocking(true)?;
        Ok::<_, io::Error>((Either::Right(UnixStream::from_std(stream)?), Peer(None)))
    };
    queued.into_iter().filter_map(|client| settled(client).ok()).collect()
}

/// A classic BPF program that drops packets which begin a handshake: those with the flag SYN, in byte 13 of the TCP
/// header.
fn no_handshakes() -> [SockFilter; 4] {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Answers each client.
    async fn greet(mut clients: Vec<(Plain, Peer)>) -> usize {
        for (stream, _) in &mut clients {
            stream.write_all(b"x").await.unwrap();
        }
        clients.len()
    }

    #[tokio::test]
    async fn the_queue_of_a_tcp_socket_is_served_and_grows_no_more() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut queued: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        SockRef::from(&socket).attach_filter(&no_handshakes()).unwrap();
        let late = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        for client in &mut queued {
            client.write_all(b"data of open connections passes").unwrap();
        }
        assert_eq!(greet(close_tcp(socket).await).await, 50);
        for client in &mut queued {
            client.read_exact(&mut [0]).unwrap();
        }
        let gone = std::net::TcpStream::connect(address);
        assert_eq!(gone.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_queue_of_a_unix_socket_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = UnixListener::bind(&path).unwrap();
        let connect = || std::os::unix::net::UnixStream::connect(&path);
        let mut queued: Vec<_> = (0..50).map(|_| connect().unwrap()).collect();
        assert_eq!(greet(close_unix(socket)).await, 50);
        for client in &mut queued {
            client.read_exact(&mut [0]).unwrap();
        }
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
