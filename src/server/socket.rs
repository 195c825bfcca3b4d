//! A listening socket of either kind.

use tokio::net::{TcpListener, UnixListener};

pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}
