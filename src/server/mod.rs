//! Listeners and the life of their connections. Is handed a handler; doesn't know what it serves.

mod accept;
mod accepted;
mod activity;
mod answering;
mod flag_waker;
mod flowing_body;
mod closing;
mod connection;
mod cut_off;
mod drain;
mod frame_filter;
mod huffman;
mod inherited;
mod joined;
mod listener;
mod preface;
mod streams;
mod timer;
mod outgoing_body;
mod path_filter;
mod slots;
mod plain_http;
mod request_body;
mod request_head;
mod socket;
mod socket_file;
mod tls;
mod backlog;
mod watched_io;
mod workers;

pub(crate) use accept::{Server, Serving};
pub(crate) use accepted::Peer;
pub(crate) use answering::{Answering, Caller};
pub(crate) use connection::{Handler, HttpServer};
pub(crate) use cut_off::CutOff;
pub(crate) use drain::{Drain, DrainWatch, Drained};
pub(crate) use inherited::InheritedSockets;
pub(crate) use listener::{Binding, IpFamilies, Listener};
pub(crate) use outgoing_body::{Extent, OutgoingBody};
pub(crate) use request_body::RequestBody;
#[cfg(feature = "fuzz")]
pub(crate) use request_head::HeadFilter;
pub(crate) use slots::ConnectionSlots;
pub(crate) use timer::Timeouts;
pub(crate) use tls::server_config;
pub(crate) use workers::Workers;
