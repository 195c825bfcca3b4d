//! The accept loop: accepts as many connections as there are slots.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::accepted::{DetachedStream, Peer, Plain};
use super::activity::Activity;
use super::connection::{Handler, HttpServer};
use super::drain::DrainWatch;
use super::listener::Listener;
use super::plain_http;
use super::slots::{ConnectionSlots, FreeSlot};
use super::workers::Workers;
use crate::clock::{self, TimedOut};
use crate::telemetry::{CloseReason, Gauge};

/// How long to wait when the process is out of file descriptors: other connections must close first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A server: listeners that share slots and a handler.
pub(crate) struct Server<H> {
    /// How new connections are served; may be replaced at any time.
    pub serving: ArcSwap<Serving>,
    pub slots: Arc<ConnectionSlots>,
    /// The threads that serve connections.
    pub workers: Arc<Workers>,
    pub handler: Arc<H>,
    /// Open connections.
    pub connections: Arc<Gauge>,
}

/// How connections are served.
pub(crate) struct Serving {
    pub protocol: HttpServer,
    /// For TCP connections; absent without TLS.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Counts a connection while it is open.
struct Open(Arc<Gauge>);

impl Open {
    fn count(connections: &Arc<Gauge>) -> Self {
        connections.raise();
        Self(Arc::clone(connections))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.lower();
    }
}

impl<H: Handler> Server<H> {
    /// Accepts until the drain begins, then takes what the kernel has accepted by then. While all slots are in use,
    /// further clients wait in the kernel's queue.
    pub(crate) async fn run(self: Arc<Self>, listener: Listener, drain: DrainWatch) {
        let mut end = drain.clone();
        let mut in_hand = None;
        tokio::select! {
            biased;
            () = end.due() => {}
            () = self.accept_all(&listener, &mut in_hand, &drain) => {}
        }
        let queued = listener.close().await;
        for (stream, peer) in in_hand.into_iter().chain(queued) {
            let free = self.slots.find().await;
            self.hand_over(stream, peer, free, &drain);
        }
    }

    /// A client that waits for a slot is left in `in_hand`.
    async fn accept_all(
        self: &Arc<Self>,
        listener: &Listener,
        in_hand: &mut Option<(Plain, Peer)>,
        drain: &DrainWatch,
    ) {
        loop {
            match listener.accept().await {
                Ok(client) => {
                    *in_hand = Some(client);
                    let free = self.slots.find().await;
                    if let Some((stream, peer)) = in_hand.take() {
                        self.hand_over(stream, peer, free, drain);
                    }
                }
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "cannot accept connections now; trying again. Raise the limit of open files if this lasts"
                    );
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// Passes a connection to the next thread in turn.
    fn hand_over(self: &Arc<Self>, stream: Plain, peer: Peer, free: FreeSlot, drain: &DrainWatch) {
        let activity = Activity::new(drain.close_signal(), free.kind);
        let slot = self.slots.take(free, &activity);
        let number = slot.number();
        let held = (slot, Open::count(&self.connections));
        let (server, watch) = (Arc::clone(self), drain.clone());
        let task = match self.workers.next() {
            None => drain.spawn(async move {
                let _held = held;
                server.serve(stream, peer, activity, watch).await;
            }),
            Some(worker) => {
                // A socket that can't change runtimes is dropped, like one that the kernel had no space for.
                let Ok(detached) = DetachedStream::from(stream) else { return };
                drain.spawn_on(worker, async move {
                    let _held = held;
                    if let Ok(stream) = detached.settle() {
                        server.serve(stream, peer, activity, watch).await;
                    }
                })
            }
        };
        self.slots.started(number, task);
    }

    async fn serve(&self, stream: Plain, peer: Peer, activity: Arc<Activity>, drain: DrainWatch) {
        let serving = self.serving.load_full();
        let handler = Arc::clone(&self.handler);
        let closed = match (&serving.tls, &stream) {
            // Boxed, so that plaintext connections don't pay for its size.
            (Some(tls), Either::Left(_)) => {
                Box::pin(serving.secure(tls, stream, peer, handler, activity, drain)).await
            }
            // Unix sockets are always plaintext: their clients are on this machine.
            (Some(_), Either::Right(_)) | (None, _) => {
                serving.protocol.serve(stream, peer, handler, activity, drain).await
            }
        };
        if let Some(reason) = closed {
            self.slots.closed().count(reason);
        }
    }
}

impl Serving {
    async fn secure<H: Handler>(
        &self,
        tls: &Arc<ServerConfig>,
        mut stream: Plain,
        peer: Peer,
        handler: Arc<H>,
        activity: Arc<Activity>,
        drain: DrainWatch,
    ) -> Option<CloseReason> {
        let handshake = async {
            if let Either::Left(socket) = &mut stream
                && plain_http::is_spoken(socket).await
            {
                plain_http::refuse(socket).await;
                return Ok(None);
            }
            TlsAcceptor::from(Arc::clone(tls)).accept(stream).await.map(Some)
        };
        match clock::within(self.protocol.head_timeout(), handshake).await {
            Ok(Ok(Some(stream))) => self.protocol.serve(stream, peer, handler, activity, drain).await,
            Ok(Ok(None)) => {
                tracing::debug!("a client spoke HTTP without TLS to a port with TLS");
                None
            }
            // The error may quote the client's bytes; its kind is enough.
            Ok(Err(error)) => {
                tracing::debug!(error = %error.kind(), "a TLS handshake failed");
                None
            }
            Err(TimedOut) => {
                tracing::debug!("a TLS handshake took too long");
                Some(CloseReason::Head)
            }
        }
    }
}

/// Whether accepting failed for one client only, because it has disconnected.
fn is_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use tokio::net::UnixStream;

    use super::*;
    use crate::server::activity::SlotKind;
    use crate::server::{Answering, Caller, Drain, RequestBody, Timeouts};
    use crate::telemetry::Plane;

    struct Empty;

    impl Handler for Empty {
        type Body = Full<Bytes>;

        fn answer(self: &Arc<Self>, _: Peer, _: Request<RequestBody>) -> Answering<Full<Bytes>> {
            Answering::ready(Caller::Unknown, Response::new(Full::default()))
        }
    }

    #[tokio::test]
    async fn a_connections_task_is_small_because_what_is_rare_is_boxed() {
        let timeouts = Timeouts { head: Duration::from_secs(5), idle: Duration::from_secs(60) };
        let serving = Serving { protocol: HttpServer::new(timeouts, 16 << 10), tls: None };
        let server = Server {
            serving: ArcSwap::from_pointee(serving),
            slots: ConnectionSlots::new(Plane::Data, 1, 0, Arc::default()),
            workers: Workers::none(),
            handler: Arc::new(Empty),
            connections: Arc::default(),
        };
        let (stream, _client) = UnixStream::pair().unwrap();
        let drain = Drain::new().watch();
        let activity = Activity::new(drain.close_signal(), SlotKind::Ordinary);
        let task = server.serve(Either::Right(stream), Peer(None), activity, drain);
        assert!(size_of_val(&task) <= 1760, "{} bytes", size_of_val(&task));
    }
}
