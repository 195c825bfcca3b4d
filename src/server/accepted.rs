//! An accepted connection and its peer.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// An accepted connection, before TLS.
pub(super) type Plain = Either<TcpStream, UnixStream>;

/// An accepted connection on its way from one runtime to another.
pub(super) enum DetachedStream {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl DetachedStream {
    /// Detaches a connection from the current runtime.
    pub(super) fn from(stream: Plain) -> io::Result<Self> {
        Ok(match stream {
            Either::Left(stream) => Self::Tcp(stream.into_std()?),
            Either::Right(stream) => Self::Unix(stream.into_std()?),
        })
    }

    /// Attaches it to the current runtime.
    pub(super) fn settle(self) -> io::Result<Plain> {
        Ok(match self {
            Self::Tcp(stream) => Either::Left(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Either::Right(UnixStream::from_std(stream)?),
        })
    }
}

/// The other side of a connection: its address; none for a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub Option<SocketAddr>);

pub(super) fn tcp(stream: TcpStream) -> Plain {
    // Answers are written in one piece, so Nagle's algorithm could only delay their ends.
    let _ = stream.set_nodelay(true);
    Either::Left(stream)
}
