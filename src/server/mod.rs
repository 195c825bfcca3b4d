//! Listeners and the life of their connections. Is handed a handler; doesn't know what it serves.

mod accept;
mod activity;
mod answering;
mod bell;
mod connection;
mod drain;
mod inherited;
mod joined;
mod listener;
mod opening;
mod patience;
mod request_line;
mod socket_file;
mod tls;
mod untaken;
mod watched_io;
mod workers;

pub use accept::{Server, Serving};
pub use answering::Answering;
pub use connection::{Handler, Protocol};
pub use drain::{Drain, Drained};
pub use inherited::Inherited;
pub use listener::{Listener, Peer};
pub use patience::Timeouts;
#[cfg(feature = "fuzz")]
pub use request_line::RequestLines;
pub use tls::server_config;
pub use workers::Workers;
